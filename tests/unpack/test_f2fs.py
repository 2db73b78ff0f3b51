from __future__ import annotations

import os
import random
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import lz4.block
import pytest
import zstandard
from lzallright import LZOCompressor

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Encrypted,
    Entry,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Truncated,
    UnpackError,
    Unsupported,
    Window,
)
from assay.unpack.f2fs import FORMAT, F2fsReader

from ..support.hostile import mangled, survives

TOOLS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
MKFS = shutil.which("mkfs.f2fs", path=TOOLS)
SLOAD = shutil.which("sload.f2fs", path=TOOLS)

pytestmark = pytest.mark.skipif(MKFS is None or SLOAD is None, reason="needs mkfs.f2fs and sload.f2fs")

MIB = 1 << 20
BLOCK = 4096
NOISE = random.Random(8).randbytes(700_000)
LONG = b"".join(b"%07d\n" % number for number in range(1_600_000))  # 12.8 MB: needs indirect nodes
FILES = {
    b"bin/su": b"\x7fELF" + b"su" * 700,
    b"etc/empty": b"",
    b"etc/inline": b"i" * 120,
    b"usr/noise": NOISE,
    b"usr/long": LONG,
    b"usr/caf\xe9": b"latin1",
    b"usr/packed": bytes(16384),
}
# Not here: flexible_inline_xattr, since sload.f2fs writes files by one size of attributes, and then changes it.
LAYOUTS = {
    "plain": (),
    "extra": ("-l", "a label", "-O", "extra_attr,inode_checksum,inode_crtime,compression,sb_checksum,lost_found"),
    "project": ("-O", "extra_attr,project_quota,verity"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tree")
    for name, data in FILES.items():
        path = home / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (home / "many").mkdir()
    for number in range(300):
        (home / "many" / f"a-file-with-a-rather-long-name-{number:04}").touch()
    (home / "bin/su").chmod(0o4755)
    os.link(home / "bin/su", home / "bin/ls")
    (home / "usr/abs").symlink_to("/etc/shadow")
    (home / "usr/target").symlink_to("/" + "x" * 200)
    (home / "dev").mkdir()
    return home


@pytest.fixture(scope="module")
def images(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    home = tmp_path_factory.mktemp("f2fs")
    made: dict[str, bytes] = {}

    def image(name: str) -> bytes:
        if name not in made:
            path = home / name
            with path.open("wb") as file:
                file.truncate(80 * MIB)
            done = subprocess.run([MKFS or "", "-q", "-f", *LAYOUTS[name], path], capture_output=True)
            if done.returncode:
                pytest.skip(f"mkfs.f2fs refuses {name}")
            done = subprocess.run([SLOAD or "", "-P", "-f", tree, path], capture_output=True)
            if done.returncode:
                pytest.skip(f"sload.f2fs fails on {name}")
            made[name] = path.read_bytes()
        return made[name]

    return image


def opened(data: bytes) -> F2fsReader:
    reader = FORMAT.open(BytesSource(data), Limits())
    assert isinstance(reader, F2fsReader)
    return reader


def listed(data: bytes) -> dict[bytes, Entry]:
    found = {}
    for entry in opened(data).entries():
        assert isinstance(entry, Entry), entry
        found[entry.path] = entry
    return found


def number(data: bytes, path: bytes) -> int:
    return listed(data)[path].inode or 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything_is_kept_as_stated(layout: str, images: Callable[[str], bytes], tree: Path) -> None:
    data = images(layout)
    found = listed(data)
    expected: dict[bytes, tuple[object, ...]] = {}
    for path in tree.rglob("*"):
        status = path.lstat()
        kind = {stat.S_IFREG: "regular", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}[
            stat.S_IFMT(status.st_mode)
        ]
        expected[os.fsencode(path.relative_to(tree))] = (
            kind,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            os.fsencode(path.readlink()) if kind == "symlink" else None,
            status.st_size if kind == "regular" else None,
        )
    kept = {name: (e.type, e.mode, e.uid, e.gid, e.link, e.size) for name, e in found.items()}
    assert kept.pop(b"")[0] == "directory"
    kept.pop(b"lost+found", None)
    assert kept == expected
    assert found[b"bin/su"].locator == found[b"bin/ls"].locator
    assert found[b"bin/su"].nlink == 2
    for name, content in FILES.items():
        place = found[name].locator
        assert place is not None
        reader = opened(data)
        chunks = list(reader.open(place))
        assert b"".join(chunks) == content
        assert all(len(chunk) <= MIB for chunk in chunks)
        span = reader.span(place)
        assert span is None or data[span[0] : sum(span)] == content
    assert opened(data).declared == len({entry.inode for entry in found.values()})


def test_header_is_kept(images: Callable[[str], bytes]) -> None:
    reader = identify(BytesSource(images("extra")), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    assert reader.detail["label"] == "a label"
    assert str(reader.detail["features"]).split() == [
        "extra_attr", "inode_checksum", "inode_crtime", "lost_found", "sb_checksum", "compression",
    ]  # fmt: skip
    assert len(str(reader.detail["uuid"])) == 36
    assert reader.detail["whole_checkpoints"] in (1, 2)


@pytest.mark.parametrize("layout", ["plain", "project"])
def test_claims_are_what_the_volume_uses(layout: str, images: Callable[[str], bytes]) -> None:
    """Hold the claims against the number of valid blocks that the checkpoint has."""
    data = images(layout)
    claims = []
    around = b"\x5a" * 1237 + data + b"other" * 9999
    for source in (BytesSource(data), Window(BytesSource(around), 1237, len(around))):
        reader = FORMAT.open(source, Limits())
        assert not any(isinstance(item, Problem) for item in reader.entries())
        claims.append(reader.claims())
    assert claims[0] == claims[1]
    assert max(claim.offset + claim.length for claim in claims[0]) <= len(data)
    valid = int.from_bytes(opened(data).volume.checkpoint[16:24], "little")
    used = sum(claim.length for claim in claims[0] if claim.what in ("nodes", "files and directories"))
    assert used // BLOCK == valid


def changed(data: bytes, node: int, offset: int, value: bytes) -> bytes:
    """Overwrite a part of a node. Checksums of inodes are not looked at."""
    at = opened(data).volume.place(node) * BLOCK + offset
    return data[:at] + value + data[at + len(value) :]


PACKERS: dict[int, Callable[[bytes], bytes]] = {
    0: lambda data: LZOCompressor().compress(data),
    1: lambda data: bytes(lz4.block.compress(data, store_size=False)),
    2: lambda data: zstandard.ZstdCompressor().compress(data),
}


@pytest.mark.parametrize("algorithm", PACKERS)
def test_compressed_clusters(algorithm: int, images: Callable[[str], bytes]) -> None:
    """sload.f2fs may be built without compression, so one cluster is compressed here, and the inode changed."""
    data = images("extra")
    inode = number(data, b"usr/packed")
    raw = opened(data).volume.inode(inode).raw
    extra = int.from_bytes(raw[360:362], "little")
    assert extra >= 36
    (first,) = struct.unpack_from("<I", raw, 360 + extra)
    plain = b"pack me, pack me well. " * 712 + b"12345678"
    packed = PACKERS[algorithm](plain)
    stored = struct.pack("<II16x", len(packed), 0) + packed
    data = data[: first * BLOCK] + stored.ljust(BLOCK, b"\0") + data[(first + 1) * BLOCK :]
    data = changed(data, inode, 80, struct.pack("<I", 4))
    data = changed(data, inode, 392, bytes([algorithm, 2]))
    data = changed(data, inode, 360 + extra, struct.pack("<IIII", 0xFFFFFFFE, first, 0, 0))
    assert b"".join(opened(data).open(inode)) == plain
    assert opened(data).span(inode) is None
    with pytest.raises(Unsupported, match="lzo-rle"):
        list(opened(changed(data, inode, 392, b"\3\2")).open(inode))
    broken = data[: first * BLOCK] + struct.pack("<I", 9000) + data[first * BLOCK + 4 :]
    with pytest.raises(Malformed, match="of a compressed cluster"):
        list(opened(broken).open(inode))


def test_extended_attributes_devices_and_times(images: Callable[[str], bytes]) -> None:
    """sload.f2fs makes none of these as an ordinary user, so they are written into inodes."""
    data = images("extra")
    inode = number(data, b"etc/empty")
    records = struct.pack("<I20x", 0xF2F52011)
    for kind, name, value in ((6, b"capability", b"\1\0\0\2" * 5), (1, b"note", b"hello")):
        record = struct.pack("<BBH", kind, len(name), len(value)) + name + value
        records += record + bytes(-len(record) % 4)
    inline = opened(data).volume.inode(inode).raw[3]
    data = changed(data, inode, 3, bytes([inline | 1]))
    data = changed(data, inode, 4052 - 200, records.ljust(200, b"\0"))
    entry = listed(data)[b"etc/empty"]
    assert entry.xattrs == {"security.capability": b"\1\0\0\2" * 5, "user.note": b"hello"}
    extra = opened(data).volume.inode(inode).extra
    data = changed(data, inode, 0, struct.pack("<H", 0o060660))
    data = changed(data, inode, 360 + extra, struct.pack("<II", 0, 300 & 0xFF | 259 << 8 | (300 & ~0xFF) << 12))
    data = changed(data, inode, 48, struct.pack("<q", -1))
    data = changed(data, inode, 64, struct.pack("<I", 7))
    entry = listed(data)[b"etc/empty"]
    assert (entry.type, entry.device, entry.mtime) == ("blockdev", (259, 300), -1_000_000_000 + 7)


def test_holes_are_zeros(images: Callable[[str], bytes]) -> None:
    data = images("plain")
    inode = number(data, b"usr/noise")
    data = changed(data, inode, 360 + 4 * 10, struct.pack("<II", 0, 0xFFFFFFFF))
    data = changed(data, inode, 16, struct.pack("<Q", 40 * MIB + 5))
    expected = NOISE[:40960] + bytes(8192) + NOISE[49152:]
    out = b"".join(opened(data).open(inode))
    assert out[: len(NOISE)] == expected
    assert len(out) == 40 * MIB + 5
    assert not out[len(NOISE) :].strip(b"\0")


def test_encrypted_files_are_named(images: Callable[[str], bytes]) -> None:
    data = images("plain")
    inode, folder = number(data, b"usr/noise"), number(data, b"dev")
    data = changed(changed(data, inode, 2, b"\x04"), folder, 2, b"\x04")
    items = list(opened(data).entries())
    assert [item for item in items if isinstance(item, Problem)] == [
        Problem("encrypted", "the names in this directory are encrypted", b"dev", 0)
    ]
    with pytest.raises(Encrypted):
        list(opened(data).open(inode))


def test_the_older_checkpoint_and_second_superblock_have_to_do(images: Callable[[str], bytes]) -> None:
    data = images("plain")
    volume = opened(data).volume
    at = volume.checkpoint_at * BLOCK
    other = data[:at] + b"\xff" + data[at + 1 :]
    try:
        older = opened(other)
    except UnpackError as error:
        assert "checkpoint" in str(error)
    else:
        assert older.volume.checkpoint_at != volume.checkpoint_at
        assert older.detail["whole_checkpoints"] == 1
    second = data[:1024] + bytes(4) + data[1028:]
    reader = identify(BytesSource(second), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    assert list(reader.entries()) == list(opened(data).entries())


def test_nodes_met_twice_end(images: Callable[[str], bytes]) -> None:
    data = images("plain")
    inode = number(data, b"usr/long")
    first = opened(data).volume.inode(inode).raw[4052:4056]
    data = changed(data, inode, 4056, first)
    with pytest.raises(Malformed, match="more than one place"):
        list(opened(data).open(inode))


def test_a_broken_node_costs_one_entry(images: Callable[[str], bytes]) -> None:
    data = images("plain")
    whole = listed(data)
    data = changed(data, number(data, b"etc/inline"), 4072, b"\xff\xff")
    items = list(opened(data).entries())
    assert whole.keys() - {item.path for item in items if isinstance(item, Entry)} == {b"etc/inline"}
    assert [(item.reason, item.path) for item in items if isinstance(item, Problem)] == [("malformed", b"etc/inline")]


def test_a_cut_image_lists_what_is_there(images: Callable[[str], bytes]) -> None:
    data = images("plain")
    span = opened(data).span(number(data, b"usr/noise"))
    assert span is not None
    short = data[: span[0] + 300_000]
    items = list(opened(short).entries())
    assert {item.reason for item in items if isinstance(item, Problem)} == {"truncated"}
    with pytest.raises(Truncated):
        list(opened(short).open(number(data, b"usr/noise")))


def test_other_bytes_are_refused(images: Callable[[str], bytes]) -> None:
    for data in (b"", bytes(9000), bytes(1024) + b"\x10\x20\xf5\xf2" + b"\xff" * 9000):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(data), Limits())
    broken = bytearray(images("extra"))
    for at in (1024, 5120):
        broken[at + 130] ^= 1
    with pytest.raises(Malformed, match="checksum of the superblock"):
        FORMAT.open(BytesSource(bytes(broken)), Limits())


def test_damaged_images(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for at in range(20):
        (tree / f"file{at}").write_bytes(NOISE[: at * 3000])
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    subprocess.run([MKFS or "", "-q", "-f", image], check=True, capture_output=True)
    subprocess.run([SLOAD or "", "-f", tree, image], check=True, capture_output=True)
    data = image.read_bytes()
    reader = opened(data)
    list(reader.entries())
    data = data[: max(claim.offset + claim.length for claim in reader.claims())]
    nodes = [reader.volume.place(inode) * BLOCK for inode in (3, 4, 10)]
    for at in (0, reader.volume.checkpoint_at * BLOCK, *nodes):
        for bad in mangled(data[at : at + 8192], seed=at, count=8, hot=range(1024, 2200) if not at else range(4096)):
            copy = bytearray(data)
            copy[at : at + len(bad)] = bad
            survives(FORMAT, bytes(copy))
