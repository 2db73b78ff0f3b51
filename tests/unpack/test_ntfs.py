from __future__ import annotations

import os
import random
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Encrypted, Entry, Limits, Malformed, NotThisFormat, Problem, Reader, Window
from assay.unpack.ntfs import FORMAT, filetime, mapping_pairs

from ..support.hostile import mangled, survives
from ..support.sevenzip import listing

TOOLS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
MKNTFS = shutil.which("mkntfs", path=TOOLS)
NTFSCP = shutil.which("ntfscp", path=TOOLS)
NTFSLS = shutil.which("ntfsls", path=TOOLS)
pytestmark = pytest.mark.skipif(None in (MKNTFS, NTFSCP), reason="needs mkntfs and ntfscp (ntfs-3g)")

NOISE = random.Random(4).randbytes(300_001)
FILES = {
    b"small": b"resident in its record",
    b"empty": b"",
    b"noise": NOISE,
    "größer – Ω \U0001f600.txt".encode(): b"beyond ASCII",
} | {b"file-%03d" % n: b"%d" % n for n in range(60)}
STREAMS = {b"small:Zone.Identifier": b"[ZoneTransfer]\r\nZoneId=3\r\n", b"noise:hidden": NOISE[:70_000]}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    home = tmp_path_factory.mktemp("ntfs")
    path = home / "image"
    subprocess.run(["truncate", "-s", "8M", path], check=True)
    subprocess.run([MKNTFS or "", "-q", "-F", "-L", "UPDATE", path], check=True, capture_output=True, timeout=30)
    settings = os.environ | {"LC_ALL": "C.UTF-8"}
    for name, data in FILES.items():
        (home / "data").write_bytes(data)
        command = [NTFSCP or "", "-q", path, home / "data", os.fsdecode(name)]
        subprocess.run(command, check=True, capture_output=True, timeout=30, env=settings)
    for name, data in STREAMS.items():
        (home / "data").write_bytes(data)
        base, _, stream = os.fsdecode(name).partition(":")
        command = [NTFSCP or "", "-q", "-N", stream, path, home / "data", base]
        subprocess.run(command, check=True, capture_output=True, timeout=30, env=settings)
    return path.read_bytes()


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


def test_everything_is_listed_and_read(image: bytes) -> None:
    found = listed(opened(image))
    assert found.keys() == FILES.keys() | STREAMS.keys() | {b""}
    assert contents(opened(image), found) == FILES | STREAMS
    assert {found[name].size == len(data) for name, data in (FILES | STREAMS).items()} == {True}
    assert found[b""].type == "directory"
    assert found[b"small"].xattrs["dos.attributes"] == b"archive"
    assert found[b"small"].xattrs["system.ntfs_acl"][:4] == b"\1\0\4\x80"
    assert found[b"small"].mtime is not None
    assert found[b"small"].mtime % 100 == 0
    assert opened(image).span(found[b"small"].locator or 0) is None
    span = opened(image).span(found[b"noise"].locator or 0)
    assert span is not None
    assert image[span[0] : sum(span)] == NOISE
    assert (opened(image).detail["label"], opened(image).detail["cluster_bytes"]) == ("UPDATE", 4096)


def test_the_same_as_7z(image: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(image)
    theirs = {
        name: size for name, size in listing(path, "ntfs").items() if not name.startswith(("[SYSTEM]", "[UNKNOWN]"))
    }
    ours = {name.decode(): entry.size for name, entry in listed(opened(image)).items() if name and b":" not in name}
    assert ours == theirs


def test_inside_something_larger(image: bytes) -> None:
    whole = b"\xaa" * 12_345 + image + b"\xbb" * 100_000
    reader = FORMAT.open(Window(BytesSource(whole), 12_345, len(whole)), Limits())
    found = listed(reader)
    assert found == listed(opened(image))
    assert contents(reader, found) == FILES | STREAMS
    covered = bytearray(len(whole))
    for claim in reader.claims():
        covered[claim.offset : claim.offset + claim.length] = b"\1" * claim.length
    assert len(covered.rstrip(b"\0")) == len(image)
    assert covered.count(1) >= len(image) - 4096  # the last cluster is no whole one


def test_parts_are_those_of_the_bitmap(image: bytes) -> None:
    reader = opened(image)
    listed(reader)
    parts = {claim.what for claim in reader.claims()}
    assert parts == {
        "boot sector", "boot sector, copy", "master file table", "master file table, copy", "journal",
        "attribute definitions", "cluster bitmap", "upper case table", "files", "free cluster", "root directory",
        "security descriptors",
    }  # fmt: skip


def test_what_is_not_listed_is_not_explained(image: bytes) -> None:
    reader = opened(image)
    span = reader.span(listed(reader)[b"noise"].locator or 0)
    assert span is not None
    reader = opened(image)  # nothing is listed
    assert not any(claim.offset <= span[0] < claim.offset + claim.length for claim in reader.claims())


def test_encrypted_files_are_named(image: bytes) -> None:
    data = bytearray(image)
    entry = listed(opened(image))[b"noise"]
    record = next(
        match.start()
        for match in re.finditer(b"FILE0", image)
        if struct.unpack_from("<I", image, match.start() + 44)[0] == entry.inode
    )
    flags = record + struct.unpack_from("<H", data, record + 20)[0] + 24 + 32
    data[flags + 1] |= 0x40
    entry = listed(opened(bytes(data)))[b"noise"]
    assert b"encrypted" in entry.xattrs["dos.attributes"]
    with pytest.raises(Encrypted):
        list(opened(bytes(data)).open(entry.locator or 0))
    with pytest.raises(Malformed):
        list(opened(bytes(data)).open([0, b"nothing"]))


def test_a_cut_volume_lists_what_is_there(image: bytes) -> None:
    cut = image[: len(image) // 2]
    items = list(opened(cut).entries())
    text = f"boot sector declares {len(image)} bytes, the source has {len(cut)}"
    assert Problem("truncated", text, b"", 0) in items


def test_small_parts() -> None:
    assert filetime(0) is None
    assert filetime(116_444_736_000_000_001) == 100
    assert list(mapping_pairs(bytes.fromhex("21183456 0110 11 05 ff 00".replace(" ", "")))) == [
        (0x5634, 0x18),
        (0x5633, 5),
    ]
    assert list(mapping_pairs(b"\xff" * 20)) == []


def test_not_a_volume(image: bytes) -> None:
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(b"\xeb\x52\x90NTFS    " + bytes(5000)), Limits())
    broken = bytearray(image)
    table = struct.unpack_from("<Q", image, 48)[0] * 4096
    broken[table : table + 4] = b"none"
    with pytest.raises(Malformed, match="no master file table"):
        FORMAT.open(BytesSource(bytes(broken)), Limits())


def test_damaged_volumes(image: bytes) -> None:
    table = struct.unpack_from("<Q", image, 48)[0] * 4096
    for hot in (range(90), range(table, table + 16 * 1024), range(table + 65_536, table + 80_000)):
        for broken in mangled(image, seed=hot.start, count=30, hot=hot):
            survives(FORMAT, broken)
