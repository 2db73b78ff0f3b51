"""genisoimage makes bridge discs with files; mkudffs makes empty discs of all kinds, into which a small writer from the
specification puts files where a test needs them."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from binascii import crc_hqx
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Entry, Limits, Malformed, NotThisFormat, Problem, Reader, Window
from assay.unpack.udf import FORMAT
from assay.unpack.udf_structures import device, moment, tag, target, text

from ..support.hostile import mangled, survives
from ..support.sevenzip import listing

TOOLS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
GENISOIMAGE = shutil.which("genisoimage")
MKUDFFS = shutil.which("mkudffs", path=TOOLS)
pytestmark = pytest.mark.skipif(None in (GENISOIMAGE, MKUDFFS), reason="needs genisoimage and mkudffs (udftools)")

NOISE = random.Random(9).randbytes(300_001)
FILES = {
    b"bin/su": b"su" * 700,
    b"etc/empty": b"",
    b"etc/gr\xc3\xb6\xc3\x9fer \xce\xa9": b"beyond ASCII",
    b"noise": NOISE,
} | {b"many/a file with a long name %03d" % n: b"%d" % n for n in range(100)}


def sealed(body: bytes, kind: int, location: int) -> bytes:
    """Return a descriptor with its tag (ECMA-167 3/7.2)."""
    head = struct.pack("<HHBBHHHI", kind, 3, 0, 0, 1, crc_hqx(body, 0), len(body), location)
    return head[:4] + bytes([sum(head) & 0xFF]) + head[5:] + body


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    home = tmp_path_factory.mktemp("udf")
    for name, data in FILES.items():
        path = home / "tree" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    command = [GENISOIMAGE or "", "-quiet", "-udf", "-J", "-joliet-long", "-input-charset", "utf-8", "-V", "UPDATE"]
    subprocess.run([*command, "-o", home / "image", home / "tree"], check=True, capture_output=True, timeout=30)
    return (home / "image").read_bytes()


@pytest.fixture(scope="module")
def pure(bridge: bytes) -> bytes:
    """The same without ISO 9660."""
    data = bytearray(bridge)
    for sector in range(16, 32):
        data[sector * 2048 : (sector + 1) * 2048] = bytes(2048)
    for sector, name in ((16, b"BEA01"), (17, b"NSR02"), (18, b"TEA01")):
        data[sector * 2048 + 1 : sector * 2048 + 7] = name + b"\1"
    return bytes(data)


def opened(data: bytes) -> Reader:
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    return reader


def listed(reader: Reader) -> dict[bytes, Entry]:
    found = {}
    for item in reader.entries():
        assert isinstance(item, Entry), item
        assert item.path not in found
        found[item.path] = item
    return found


def contents(reader: Reader, entries: dict[bytes, Entry]) -> dict[bytes, bytes]:
    return {name: b"".join(reader.open(entry.locator)) for name, entry in entries.items() if entry.locator is not None}


def test_everything_is_listed_and_read(bridge: bytes, pure: bytes) -> None:
    for image in (bridge, pure):
        reader = opened(image)
        found = listed(reader)
        assert contents(opened(image), found) == FILES
        assert {name for name, entry in found.items() if entry.type == "directory"} == {b"", b"bin", b"etc", b"many"}
        assert {found[name].mtime for name in FILES} == {1_600_000_000 * 10**9}
        span = opened(image).span(found[b"noise"].locator or 0)
        assert span is not None
        assert image[span[0] : sum(span)] == NOISE
        assert (reader.detail["label"], reader.detail["revision"]) == ("UPDATE", "1.02")
        assert reader.detail["iso9660"] is (image is bridge)


def test_the_same_as_7z(pure: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(pure)
    ours = {name.decode(): entry.size for name, entry in listed(opened(pure)).items() if name}
    assert ours == listing(path, "udf")


def test_rock_ridge_is_preferred(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"data")
    command = [GENISOIMAGE or "", "-quiet", "-udf", "-R", "-o", tmp_path / "image", tmp_path / "tree"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    reader = identify(BytesSource((tmp_path / "image").read_bytes()), Limits())
    assert reader is not None
    assert reader.format.name == "iso9660"


def test_inside_something_larger(pure: bytes) -> None:
    whole = b"\xaa" * 12_345 + pure + b"\xbb" * 100_000
    reader = FORMAT.open(Window(BytesSource(whole), 12_345, len(whole)), Limits())
    found = listed(reader)
    assert found == listed(opened(pure))
    assert contents(reader, found) == FILES
    end = max(claim.offset + claim.length for claim in reader.claims())
    assert end <= len(pure)
    assert not pure[end:].strip(b"\0")


MEDIA = {
    "hd": ("--media-type=hd", "--blocksize=512", "physical"),
    "hd-1.02": ("--media-type=hd", "--udfrev=1.02", "--blocksize=4096", "physical"),
    "dvdram": ("--media-type=dvdram", "--blocksize=2048", "physical"),
    "cdrw": ("--media-type=cdrw", "--blocksize=2048", "sparable"),
    "cdr": ("--media-type=cdr", "--blocksize=2048", "physical, virtual"),
}


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    home = tmp_path_factory.mktemp("discs")
    found = {}
    for name, (*options, _) in MEDIA.items():
        path = home / name
        subprocess.run(["truncate", "-s", "8M", path], check=True)
        command = [MKUDFFS or "", "--label=UPDATE", *options, path]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        data = path.read_bytes()
        # A disc written once ends with its virtual allocation table.
        found[name] = data if name != "cdr" else data[: -(-len(data.rstrip(b"\0")) // 2048) * 2048]
    return found


@pytest.mark.parametrize("name", MEDIA)
def test_empty_discs_of_all_kinds(discs: dict[str, bytes], name: str) -> None:
    data = discs[name]
    reader = opened(data)
    found = listed(reader)
    assert found.keys() <= {b"", b"lost+found"}
    assert found[b""].type == "directory"
    assert reader.detail["partitions"] == MEDIA[name][-1]
    assert reader.detail["label"] == "UPDATE"
    covered = bytearray(len(data))
    for claim in reader.claims():
        covered[claim.offset : claim.offset + claim.length] = b"\1" * claim.length
    unknown = bytes(byte for byte, known in zip(data, covered, strict=True) if not known)
    assert not unknown.strip(b"\0")


def with_links(data: bytes) -> bytes:
    """Put a symbolic link, a device and a set-uid file into the root of an empty disc of 512-byte blocks."""
    out = bytearray(data)
    reader = opened(data)
    number = next(iter(listed(reader).values())).inode or 0
    start = reader.volume.place(0, 0)  # type: ignore[attr-defined]
    root = (start + number) * 512
    free = next(claim for claim in reader.claims() if claim.what == "free block").offset // 512 - start
    component = b"".join(bytes([kind, len(name), 0, 0]) + name for kind, name in ((3, b""), (4, b""), (5, b"\x08etc")))
    attribute = sealed(struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF), 262, free + 1)
    attribute += struct.pack("<IB3xIIII", 12, 1, 24, 0, 259, 300)
    files = {
        "link": (12, 3, component, b"", 0),
        "nvme": (6, 0, b"", attribute, 0),
        "su": (5, 0, b"set-uid", b"", 0x40),
    }
    fids = b""
    for index, (name, (kind, _, body, attributes, flags)) in enumerate(files.items()):
        block = free + index
        icb = struct.pack("<IHHHBB6sH", 0, 4, 0, 1, 0, kind, bytes(6), 3 | flags)
        entry = icb + struct.pack("<IIIHBBIQQ", 1234, 70000, 0x14A5, 1, 0, 0, 0, len(body), 0)
        entry += bytes(36) + struct.pack("<I", 1) + bytes(16 + 32) + struct.pack("<Q", 99 + index)
        entry += struct.pack("<II", len(attributes), len(body)) + attributes + body
        place = (start + block) * 512
        out[place : place + 512] = sealed(entry, 261, block).ljust(512, b"\0")
        ident = b"\x08" + name.encode()
        fid = struct.pack("<HBB", 1, 0, len(ident)) + struct.pack("<IIH6x", 512, block, 0) + b"\0\0" + ident
        fid += bytes(-(16 + len(fid)) % 4)
        fids += sealed(fid, 257, 0)
    extended = tag(data[root : root + 512]) == 266
    sizes = 208 if extended else 168
    attributes_length, length = struct.unpack_from("<II", out, root + sizes)
    begin = root + sizes + 8 + attributes_length
    assert out[root + 34] & 7 == 3
    out[begin + length : begin + length + len(fids)] = fids
    struct.pack_into("<I", out, root + sizes + 4, length + len(fids))
    struct.pack_into("<Q", out, root + 56, length + len(fids))
    crc_length = begin + length + len(fids) - root - 16
    body = bytes(out[root + 16 : root + 16 + crc_length])
    location = struct.unpack_from("<I", out, root + 12)[0]
    out[root : root + 16 + crc_length] = sealed(body, 266 if extended else 261, location)
    return bytes(out)


def test_links_devices_and_rights(discs: dict[str, bytes]) -> None:
    data = discs["hd"]
    found = listed(opened(with_links(data)))
    kept = {name: (e.type, e.mode, e.uid, e.gid, e.link, e.device) for name, e in found.items()}
    rights = 0o555  # read and execute for all, as 0x14A5 says
    assert kept[b"link"] == ("symlink", rights, 1234, 70000, b".././etc", None)
    assert kept[b"nvme"] == ("blockdev", rights, 1234, 70000, None, (259, 300))
    assert kept[b"su"] == ("regular", 0o4000 | rights, 1234, 70000, None, None)
    reader = opened(with_links(data))
    assert b"".join(reader.open(found[b"su"].locator or 0)) == b"set-uid"
    span = reader.span(found[b"su"].locator or 0)
    assert span is not None
    assert with_links(data)[span[0] : sum(span)] == b"set-uid"


def test_a_cut_disc_lists_what_is_there(pure: bytes) -> None:
    cut = pure[: len(pure) - 400_000]
    items = list(opened(cut).entries())
    assert {item.path for item in items if isinstance(item, Entry)} >= {b"", b"bin", b"etc"}
    assert [item.reason for item in items if isinstance(item, Problem)].count("truncated") >= 1


def test_small_parts() -> None:
    stamp = struct.pack("<HH8B", 0x1000 | 120, 2020, 9, 13, 14, 26, 40, 50, 1, 2)
    assert moment(stamp) == 1_600_000_000 * 10**9 + 500_102_000
    assert moment(bytes(12)) is None
    assert text(b"\x08caf\xe9") == "café".encode()
    assert text("\x10Ω".encode("utf-16-be")[1:]) == "Ω".encode()
    assert target(bytes([2, 0, 0, 0, 5, 4, 0, 0]) + b"\x08etc") == b"/etc"
    assert device(bytes(100)) is None
    assert tag(sealed(b"body", 5, 7), 7) == 5
    assert tag(sealed(b"body", 5, 7), 8) is None
    assert tag(bytes(512)) is None


def test_not_a_disc() -> None:
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(bytes(100_000)), Limits())
    head = bytes(32769) + b"BEA01" + bytes(2043) + b"NSR02"
    with pytest.raises(Malformed, match="no anchor"):
        FORMAT.open(BytesSource(head + bytes(700_000)), Limits())


def test_damaged_discs(pure: bytes, discs: dict[str, bytes]) -> None:
    reader = opened(pure)
    listed(reader)
    entries = next(claim for claim in reader.claims() if claim.what == "file entries").offset
    for hot in (range(32 * 2048, 40 * 2048), range(entries, entries + 20_000)):
        for broken in mangled(pure, seed=hot.start, count=40, hot=hot):
            survives(FORMAT, broken)
    for name in ("cdrw", "cdr"):
        used = bytes(discs[name]).rstrip(b"\0")
        for broken in mangled(discs[name], seed=5, count=20, hot=range(len(used) - 100_000, len(used))):
            survives(FORMAT, broken)
