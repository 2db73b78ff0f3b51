from __future__ import annotations

import os
import random
import shutil
import stat
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from lzallright import LZOCompressor

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Encrypted,
    Entry,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Problem,
    Truncated,
    UnpackError,
    Unsupported,
    Window,
)
from assay.unpack.btrfs import FORMAT, BtrfsReader
from assay.unpack.crc32c import crc32c

from ..support.hostile import bounded, mangled, survives

TOOLS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
MKFS = shutil.which("mkfs.btrfs", path=TOOLS)
BTRFS = shutil.which("btrfs", path=TOOLS)

pytestmark = pytest.mark.skipif(MKFS is None or BTRFS is None, reason="needs mkfs.btrfs and btrfs")

NODE = 4096
MIB = 1 << 20
NOISE = random.Random(8).randbytes(700_000)
TEXT = b"text that packs well, again and again. " * 4000
FILES = {
    b"bin/su": b"\x7fELF" + b"su" * 700,
    b"etc/empty": b"",
    b"etc/inline": b"i" * 120,
    b"usr/noise": NOISE,
    b"usr/text": TEXT,
    b"usr/line\nbreak": b"newline",
    b"usr/caf\xe9": b"latin1",
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
        (home / "many" / f"a-file-with-a-rather-long-name-{number:04}").write_bytes(b"%d" % number)
    (home / "bin/su").chmod(0o4755)
    os.link(home / "bin/su", home / "bin/ls")
    (home / "usr/abs").symlink_to("/etc/shadow")
    (home / "usr/long").symlink_to("/" + "x" * 200)
    os.mkfifo(home / "pipe", 0o622)
    (home / "dev").mkdir()
    os.setxattr(home / "bin/su", "user.note", b"hello")
    return home


def mkfs(image: Path, tree: Path, *options: str) -> bytes:
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    done = subprocess.run(
        [MKFS or "", "-q", "-f", "-n", str(NODE), "--shrink", "-r", tree, *options, image], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"mkfs.btrfs refuses: {done.stderr.decode(errors='replace')[:200]}")
    return image.read_bytes()


LAYOUTS = {
    "dup": ("-L", "a label"),
    "single": ("-m", "single"),
    "mixed": ("--mixed",),
    "sha256": ("--csum", "sha256"),
    "blake2": ("--csum", "blake2"),
    "xxhash": ("--csum", "xxhash"),
    "holes": ("-O", "^no-holes", "-R", "^free-space-tree"),
}


@pytest.fixture(scope="module")
def images(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    home = tmp_path_factory.mktemp("btrfs")
    made: dict[str, bytes] = {}

    def image(name: str) -> bytes:
        if name not in made:
            made[name] = mkfs(home / name, tree, *LAYOUTS[name])
        return made[name]

    return image


def opened(data: bytes, limits: Limits | None = None) -> BtrfsReader:
    reader = FORMAT.open(BytesSource(data), limits or Limits())
    assert isinstance(reader, BtrfsReader)
    return reader


def listed(data: bytes) -> dict[bytes, Entry]:
    found = {}
    for entry in opened(data).entries():
        assert isinstance(entry, Entry), entry
        found[entry.path] = entry
    return found


def locator(data: bytes, path: bytes) -> Locator:
    found = listed(data)[path].locator
    assert found is not None
    return found


def read(data: bytes, path: bytes) -> bytes:
    return b"".join(opened(data).open(locator(data, path)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything_is_kept_as_stated(layout: str, images: Callable[[str], bytes], tree: Path) -> None:
    data = images(layout)
    found = listed(data)
    expected: dict[bytes, tuple[object, ...]] = {}
    for path in [tree, *tree.rglob("*")]:
        status = path.lstat()
        kind = {stat.S_IFREG: "regular", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}[
            stat.S_IFMT(status.st_mode)
        ]
        expected[os.fsencode(path.relative_to(tree)) if path != tree else b""] = (
            kind,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            os.fsencode(path.readlink()) if kind == "symlink" else None,
            status.st_size if kind == "regular" else None,
            int(status.st_mtime) * 10**9,  # mkfs keeps whole seconds
        )
    kept = {name: (e.type, e.mode, e.uid, e.gid, e.link, e.size, e.mtime) for name, e in found.items()}
    # Some versions of mkfs do not take the root directory's own mode.
    assert kept.pop(b"")[0] == expected.pop(b"")[0] == "directory"
    assert {name: value[:6] for name, value in kept.items()} == {name: value[:6] for name, value in expected.items()}
    assert [name for name in kept if kept[name] != expected[name]] == []
    assert found[b"bin/su"].locator == found[b"bin/ls"].locator
    assert found[b"bin/su"].nlink == 2
    assert {name: entry.xattrs for name, entry in found.items() if entry.xattrs} == {
        b"bin/su": {"user.note": b"hello"},
        b"bin/ls": {"user.note": b"hello"},
    }
    for name, content in (FILES | {b"many/a-file-with-a-rather-long-name-0123": b"123"}).items():
        reader = opened(data)
        place = found[name].locator
        assert place is not None
        chunks = list(reader.open(place))
        assert b"".join(chunks) == content
        assert all(len(chunk) <= MIB for chunk in chunks)
        span = reader.span(place)
        assert span is None or data[span[0] : sum(span)] == content
    reader = opened(data)
    assert reader.span(found[b"usr/noise"].locator or 0) is not None


def test_header_is_kept(images: Callable[[str], bytes]) -> None:
    reader = identify(BytesSource(images("dup")), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    kept = {name: reader.detail[name] for name in ("label", "node_bytes", "sector_bytes", "checksum", "devices")}
    assert kept == {"label": "a label", "node_bytes": 4096, "sector_bytes": 4096, "checksum": "crc32c", "devices": 1}
    assert len(str(reader.detail["uuid"])) == 36
    assert (reader.detail["log_to_replay"], reader.detail["superblock"]) == (False, 65536)


@pytest.mark.parametrize("layout", ["dup", "mixed", "holes"])
def test_claims_are_what_the_volume_uses(layout: str, images: Callable[[str], bytes]) -> None:
    """Hold the claims against the number of bytes that the superblock says are in use."""
    data = images(layout)
    before = b"\x5a" * 1237
    claims = []
    for source in (BytesSource(data), Window(BytesSource(before + data + b"other" * 9999), len(before), 1 << 40)):
        reader = FORMAT.open(source, Limits())
        items = list(reader.entries())
        assert not any(isinstance(item, Problem) for item in items)
        claims.append(reader.claims())
    assert claims[0] == claims[1]
    assert max(claim.offset + claim.length for claim in claims[0]) <= len(data)
    used = opened(data).detail["used_bytes"]
    sums = {what: sum(claim.length for claim in claims[0] if claim.what == what) for what in ("trees", "files")}
    copies = 1 if layout == "mixed" and sums["trees"] + sums["files"] <= int(str(used)) else 2
    assert sums["trees"] // copies + sums["files"] == used


class Leaf:
    """A leaf taken apart, to be changed and put together again, with its checksum.

    It stands in for what only a mounted file system could write: snapshots, compressed extents, holes.
    """

    def __init__(self, image: bytearray, address: int, places: list[int]) -> None:
        self.image = image
        self.places = places
        raw = image[places[0] : places[0] + NODE]
        assert raw[48:56] == address.to_bytes(8, "little")
        assert raw[100] == 0
        self.head = bytes(raw[:101])
        self.items = {}
        for at in range(int.from_bytes(raw[96:100], "little")):
            number, kind, offset, begin, size = struct.unpack_from("<QBQII", raw, 101 + 25 * at)
            self.items[number, kind, offset] = bytes(raw[101 + begin : 101 + begin + size])

    def write(self) -> None:
        out = bytearray(NODE)
        out[:101] = self.head
        out[96:100] = len(self.items).to_bytes(4, "little")
        end = NODE - 101
        for at, (key, data) in enumerate(sorted(self.items.items())):
            end -= len(data)
            assert end >= 25 * len(self.items)
            struct.pack_into("<QBQII", out, 101 + 25 * at, *key, end, len(data))
            out[101 + end : 101 + end + len(data)] = data
        out[:4] = crc32c(bytes(out[32:])).to_bytes(4, "little")
        for place in self.places:
            self.image[place : place + NODE] = out


def leaf(image: bytearray, tree: int, key: tuple[int, int, int]) -> Leaf:
    """Return the leaf of a tree that has a key, or into which it would go."""
    volume = opened(bytes(image)).volume
    address, level = volume.root(tree)
    while level:
        _, keys, values, _ = volume.node(address, level)
        address, level = values[max(at for at, first in enumerate(keys) if first <= key or not at)][0], level - 1
    return Leaf(image, address, volume.places(address, NODE))


def places(image: bytearray, address: int) -> int:
    return int(opened(bytes(image)).volume.places(address, 4096)[0])


def small(folder: Path, files: dict[str, bytes]) -> bytearray:
    tree = folder / "small"
    for name, data in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return bytearray(mkfs(folder / "image", tree, "-m", "single"))


def restored(folder: Path, image: bytes) -> dict[bytes, bytes]:
    """Return what `btrfs restore` reads from an image."""
    (folder / "changed").write_bytes(image)
    out = folder / "restored"
    out.mkdir()
    subprocess.run([BTRFS or "", "restore", "-i", folder / "changed", out], check=True, capture_output=True)
    return {os.fsencode(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def lzo(data: bytes) -> bytes:
    out = bytearray(4)
    for at in range(0, len(data), 4096):
        if 4096 - len(out) % 4096 < 4:
            out += bytes(4096 - len(out) % 4096)
        segment = LZOCompressor().compress(data[at : at + 4096])
        out += struct.pack("<I", len(segment)) + segment
    out[:4] = len(out).to_bytes(4, "little")
    return bytes(out)


PACKERS: dict[int, Callable[[bytes], bytes]] = {
    1: zlib.compress,
    2: lzo,
    3: lambda data: zstandard.ZstdCompressor().compress(data),
}


def hidden_sums(image: bytearray, number: int) -> None:
    """Give an inode the flag that its data have no checksums."""
    part = leaf(image, 5, (number, 1, 0))
    item = bytearray(part.items[number, 1, 0])
    item[64] |= 1
    part.items[number, 1, 0] = bytes(item)
    part.write()


@pytest.mark.parametrize("compression", PACKERS)
def test_compressed_extents(compression: int, tmp_path: Path) -> None:
    plain = bytes(random.Random(3).choices(b"abcdef ", k=131072))
    inline = b"short and packed " * 60
    image = small(tmp_path, {"file": plain, "inline": b"x" * len(inline)})
    found = listed(bytes(image))
    number = found[b"file"].inode or 0
    part = leaf(image, 5, (number, 108, 0))
    packed = PACKERS[compression](plain)
    assert len(packed) < 122880
    stored = -(-len(packed) // 4096) * 4096
    item = part.items[number, 108, 0]
    (address,) = struct.unpack_from("<Q", item, 21)
    part.items[number, 108, 0] = (
        item[:16] + bytes([compression]) + item[17:21] + struct.pack("<QQQQ", address, stored, 0, 131072)
    )
    small_one = found[b"inline"].inode or 0
    packed_inline = PACKERS[compression](inline)
    item = part.items[small_one, 108, 0]
    part.items[small_one, 108, 0] = (
        item[:8] + struct.pack("<QB", len(inline), compression) + item[17:21] + packed_inline
    )
    part.write()
    place = places(image, address)
    image[place : place + stored] = packed.ljust(stored, b"\0")
    hidden_sums(image, number)
    data = bytes(image)
    assert read(data, b"file") == plain
    assert read(data, b"inline") == inline
    assert restored(tmp_path, data) == {b"file": plain, b"inline": inline}
    assert opened(data).span(found[b"file"].locator or 0) is None
    image[place + 8 : place + 3000] = b"\xff" * 2992
    with pytest.raises(Malformed):
        read(bytes(image), b"file")


def test_extents_may_be_cut_shared_holes_and_not_written(tmp_path: Path) -> None:
    plain = random.Random(3).randbytes(131072)
    image = small(tmp_path, {"file": plain})
    number = listed(bytes(image))[b"file"].inode or 0
    part = leaf(image, 5, (number, 108, 0))
    item = part.items.pop((number, 108, 0))
    (address,) = struct.unpack_from("<Q", item, 21)

    def extent(kind: int, at: int, stored: int, skip: int, length: int) -> bytes:
        return item[:8] + struct.pack("<QBBHBQQQQ", stored, 0, 0, 0, kind, at, stored, skip, length)

    part.items[number, 108, 0] = extent(1, address, 131072, 8192, 4096)
    part.items[number, 108, 4096] = extent(1, 0, 0, 0, 8192)
    part.items[number, 108, 20480] = extent(2, address, 131072, 0, 4096)
    part.items[number, 108, 24576] = extent(1, address, 131072, 65536, 16384)
    inode = bytearray(part.items[number, 1, 0])
    inode[16:24] = (50_000).to_bytes(8, "little")
    part.items[number, 1, 0] = bytes(inode)
    part.write()
    data = bytes(image)
    expected = plain[8192:12288] + bytes(20480) + plain[65536:81920] + bytes(50_000 - 40960)
    assert read(data, b"file") == expected
    assert restored(tmp_path, data) == {b"file": expected}
    part.items[number, 108, 8192] = extent(1, address, 131072, 0, 4096)
    part.write()
    with pytest.raises(Malformed, match="which an earlier one covers"):
        read(bytes(image), b"file")
    part.items[number, 108, 0] = item[:17] + b"\1" + item[18:]
    part.write()
    with pytest.raises(Encrypted):
        read(bytes(image), b"file")


def test_snapshots_and_subvolumes_are_directories(tmp_path: Path) -> None:
    image = small(tmp_path, {"file": NOISE, "kept/other": b"other"})
    found = listed(bytes(image))
    roots = leaf(image, 1, (300, 132, 0))
    original = next(data for key, data in roots.items.items() if key[:2] == (5, 132))
    item = bytearray(original)
    item[208:216] = (1).to_bytes(8, "little")
    item[247:263] = b"\x11" * 16
    item[263:279] = b"\x22" * 16
    del roots.items[9, 132, 0], roots.items[10, 132, 0]  # room for what is added: UUID and free space trees
    roots.items[300, 132, 7] = bytes(item)
    roots.items[5, 156, 300] = struct.pack("<QQH", found[b"kept"].inode, 9, 4) + b"snap"
    roots.items[300, 144, 5] = roots.items[5, 156, 300]
    roots.write()
    part = leaf(image, 5, (found[b"kept"].inode or 0, 96, 9))
    part.items[found[b"kept"].inode or 0, 96, 9] = struct.pack("<QBQQHHB", 300, 132, LAST, 7, 0, 4, 2) + b"snap"
    part.write()
    data = bytes(image)
    reader = opened(data)
    items = [item for item in reader.entries() if isinstance(item, Entry)]
    assert [(item.path, item.type, item.locator, item.mode) for item in items] == [
        (b"", "directory", None, found[b""].mode),
        *((item.path, item.type, item.locator, item.mode) for item in items[1:]),
    ]
    assert {item.path for item in items} == {
        b"", b"file", b"kept", b"kept/other", b"kept/snap", b"kept/snap/file", b"kept/snap/kept",
        b"kept/snap/kept/other", b"kept/snap/kept/snap",
    }  # fmt: skip
    by_path = {item.path: item for item in items}
    assert by_path[b"kept/snap/kept/snap"].mode is None  # it is not in the snapshot, which has an empty directory
    assert read(data, b"kept/snap/file") == NOISE
    assert by_path[b"kept/snap/file"].locator == [300, found[b"file"].inode]
    assert reader.detail["subvolume 300"] == (
        "uuid=11111111-1111-1111-1111-111111111111 snapshot_of=22222222-2222-2222-2222-222222222222 read-only"
    )


LAST = (1 << 64) - 1


def test_data_are_held_against_their_checksums(images: Callable[[str], bytes]) -> None:
    for layout in ("dup", "sha256", "blake2"):
        data = bytearray(images(layout))
        span = opened(bytes(data)).span(locator(bytes(data), b"usr/noise"))
        assert span is not None
        data[span[0] + 300_001] ^= 1
        out = b""
        with pytest.raises(Malformed, match="checksum of the sector"):
            for chunk in opened(bytes(data)).open(locator(bytes(data), b"usr/noise")):
                out += chunk
        assert out == NOISE[: 300_001 // 4096 * 4096]


def test_the_other_copy_of_a_node_has_to_do(images: Callable[[str], bytes]) -> None:
    data = bytearray(images("dup"))
    whole = listed(bytes(data))
    volume = opened(bytes(data)).volume
    one, two = volume.places(volume.root(5)[0], NODE)
    data[one + 200] ^= 1
    assert listed(bytes(data)) == whole
    data[two + 200] ^= 1
    with pytest.raises(Malformed, match="checksum of the node"):
        listed(bytes(data))


def test_a_broken_leaf_costs_what_is_in_it(images: Callable[[str], bytes]) -> None:
    data = bytearray(images("single"))
    whole = listed(bytes(data))
    number = whole[b"usr/noise"].inode or 0
    broken = leaf(data, 5, (number, 1, 0))
    data[broken.places[0] + 4000] ^= 1
    items = list(opened(bytes(data)).entries())
    entries = {item.path for item in items if isinstance(item, Entry)}
    problems = [item for item in items if isinstance(item, Problem)]
    assert 0 < len(entries) < len(whole)
    assert {item.reason for item in problems} == {"malformed"}
    assert all("checksum of the node" in item.detail for item in problems)


def test_a_second_superblock_has_to_do(tmp_path: Path, tree: Path) -> None:
    with (tmp_path / "image").open("wb") as file:
        file.truncate(130 * MIB)
    subprocess.run([MKFS or "", "-q", "-f", "-r", tree, tmp_path / "image"], check=True, capture_output=True)
    data = bytearray((tmp_path / "image").read_bytes())
    data[65536 + 130] ^= 1
    reader = opened(bytes(data))
    assert reader.detail["superblock"] == 64 * MIB
    assert len(listed(bytes(data))) > 300
    data[64 * MIB + 130] ^= 1
    with pytest.raises(Malformed, match="superblock at 65536"):
        opened(bytes(data))


def test_a_cut_image_lists_what_is_there(images: Callable[[str], bytes]) -> None:
    data = images("single")
    whole = listed(data)
    reader = opened(data)
    spans = {name: reader.span(entry.locator) for name, entry in whole.items() if entry.locator is not None}
    last = max((span, name) for name, span in spans.items() if span)[1]
    short = data[: (spans[last] or (0, 0))[0] + 100_000]
    items: list[Entry | Problem] = []
    try:
        items.extend(opened(short).entries())
    except UnpackError as error:
        assert error.reason == "truncated"  # the trees lay behind
        return
    assert {item.reason for item in items if isinstance(item, Problem)} == {"truncated"}
    with pytest.raises(Truncated):
        list(opened(short).open(whole[last].locator or 0))


def test_what_lies_on_other_devices_is_named(tmp_path: Path) -> None:
    parts = [tmp_path / "one", tmp_path / "two"]
    for part in parts:
        with part.open("wb") as file:
            file.truncate(256 * MIB)
    subprocess.run([MKFS or "", "-q", "-f", "-m", "raid1", "-d", "raid0", *parts], check=True, capture_output=True)
    data = parts[0].read_bytes()
    reader = opened(data)
    assert [item.path for item in reader.entries() if isinstance(item, Entry)] == [b""]
    assert reader.detail["devices"] == 2
    volume = reader.volume
    with pytest.raises(Unsupported, match=r"stripes on 2 devices \(raid0\)"):
        volume.places(next(chunk for chunk in volume.chunks if chunk.kind & 1).start, 4096)


def test_other_bytes_are_refused() -> None:
    for data in (b"", bytes(70_000), bytes(65536 + 64) + b"_BHRfS_M" + b"\xff" * 5000):
        with pytest.raises(NotThisFormat):
            opened(data)


def resummed(data: bytearray, at: int) -> None:
    size = 4096
    data[at : at + 4] = crc32c(bytes(data[at + 32 : at + size])).to_bytes(4, "little")


def test_damaged_images(tmp_path: Path) -> None:
    """Checksums find nearly all damage, so they are put right after most of it."""
    data = bytes(
        small(tmp_path, {"file": NOISE[:60_000], "kept/other": b"other", **{f"f{n}": b"x" for n in range(30)}})
    )
    volume = opened(data).volume
    nodes = [volume.places(volume.root(tree)[0], NODE)[0] for tree in (1, 3, 5, 7, 2)]
    reader = opened(data)
    list(reader.entries())
    end = max(claim.offset + claim.length for claim in reader.claims())
    cut = data[:end]
    for at in [65536, *nodes]:
        for bad in mangled(cut[at : at + 4096], seed=at, count=8, hot=range(32, 1000 if at == 65536 else 4096)):
            image = bytearray(cut)
            image[at : at + len(bad)] = bad
            survives(FORMAT, bytes(image))
            resummed(image, at)
            survives(FORMAT, bytes(image))


def test_a_node_that_names_itself_ends(tmp_path: Path) -> None:
    image = small(tmp_path, {"file": b"x"})
    volume = opened(bytes(image)).volume
    address, _ = volume.root(5)
    (place,) = volume.places(address, NODE)
    roots = leaf(image, 1, (5, 132, 0))
    key = next(key for key in roots.items if key[:2] == (5, 132))
    item = bytearray(roots.items[key])
    item[238] = 5
    roots.items[key] = bytes(item)
    roots.write()
    node = bytearray(image[place : place + NODE])
    node[96:101] = struct.pack("<IB", 100, 5)
    for at in range(100):
        struct.pack_into("<QBQQQ", node, 101 + 33 * at, 256, 1, at, address, 1)
    image[place : place + NODE] = node
    resummed(image, place)
    bounded(lambda: survives(FORMAT, bytes(image)), 1.0)
    with pytest.raises(Malformed, match="has level 5 in place of 4"):
        listed(bytes(image))
