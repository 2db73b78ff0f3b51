"""SquashFS as vendors and earlier kernels wrote it: versions 1 to 3, big endian, other magics, LZMA in other frames.

The images come from an independent writer, see `tests.support.squashfs_images`; unsquashfs and 7-Zip are held against
them wherever they read them.
"""

from __future__ import annotations

import lzma
import random
import re
import shutil
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Unsupported,
    Window,
)
from assay.unpack.squashfs import FORMAT

from ..support.hostile import bounded, mangled, survives
from ..support.squashfs_images import Image, Node

CHANCE = random.Random(1)
NOISE = CHANCE.randbytes(9000)
VERSIONS = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (4, 0))
EVERY = [(version, order) for version in VERSIONS for order in "<>"]

TREE = Node(
    b"",
    "directory",
    0o755,
    children=[
        Node(b"big", data=NOISE + b"word " * 9000),
        Node(
            b"dev",
            "directory",
            0o755,
            children=[
                Node(b"console", "chardev", 0o600, device=(5, 1)),
                Node(b"pipe", "fifo", 0o622, uid=1017),
                Node(b"sda", "blockdev", 0o660, gid=6, device=(8, 17)),
                Node(b"sock", "socket", 0o777),
            ],
        ),
        Node(b"empty", data=b""),
        Node(b"exact", data=NOISE[:4096]),
        Node(b"hole", data=b"a" * 4096 + bytes(40960) + b"end"),
        Node(b"link", "symlink", 0o777, data=b"../../etc/shadow"),
        Node(
            b"many",
            "directory",
            0o711,
            children=[Node(b"f%04d" % number, data=CHANCE.randbytes(number % 40)) for number in range(600)],
        ),
        Node(b"nothing", "directory", 0o755),
        Node(b"su", mode=0o4755, data=b"su" * 40, extended=True),
        *[Node(b"user%02d" % n, uid=1000 + n, gid=2000 + n % 3, data=b"u%d" % n) for n in range(18)],
        Node(b"wide", "directory", 0o1777, extended=True, children=[Node(b"caf\xe9", data=b"x" * 5000)]),
    ],
)
SMALL = Node(
    b"",
    "directory",
    0o755,
    children=[
        Node(b"big", data=b"word " * 3000 + NOISE[:300]),
        Node(b"etc", "directory", 0o755, children=[Node(b"conf%02d" % n, data=b"conf %d\n" % n) for n in range(40)]),
    ],
)


UNSQUASHFS = re.compile(rb"([-dlbcps])[-rwxsStT]{9} (\d+/\d+) +(\d+(?:, *\d+)?) \S+ \S+ (.*?)(?: -> (.*))?$")


def flat(node: Node, path: bytes = b"") -> Iterator[tuple[bytes, Node]]:
    yield path, node
    for child in sorted(node.children, key=lambda child: child.name):
        yield from flat(child, path + b"/" + child.name if path else child.name)


def opened(data: bytes) -> Reader:
    return FORMAT.open(BytesSource(data), Limits())


def contents(data: bytes, tree: Node) -> None:
    """Read every file by a reader that listed nothing, and hold it against the tree."""
    nodes = dict(flat(tree))
    found = [item for item in opened(data).entries() if isinstance(item, Entry)]
    assert [entry.path for entry in found] == list(nodes)
    reader = opened(data)
    for entry in reversed(found):
        if entry.locator is not None:
            assert b"".join(reader.open(entry.locator)) == nodes[entry.path].data


def claimed(reader: Reader) -> tuple[int, list[Claim]]:
    """Return the end of what is claimed without a gap from the start, and all claims."""
    list(reader.entries())
    claims, end = sorted(reader.claims(), key=lambda claim: claim.offset), 0
    for claim in claims:
        assert claim.offset <= end, claim
        end = max(end, claim.offset + claim.length)
    return end, claims


@pytest.fixture(scope="module")
def images() -> dict[tuple[tuple[int, int], str], bytes]:
    return {
        (version, order): Image(version, order, exported=version in ((3, 1), (4, 0))).write(TREE)
        for version, order in EVERY
    }


@pytest.mark.parametrize(("version", "order"), EVERY)
def test_everything_is_kept_as_stated(
    images: dict[tuple[tuple[int, int], str], bytes], version: tuple[int, int], order: str
) -> None:
    reader = opened(images[version, order])
    found = list(reader.entries())
    major = version[0]
    for item, (path, node) in zip(found, flat(TREE), strict=True):
        assert isinstance(item, Entry), item
        regular, device = node.kind == "regular", node.kind in ("chardev", "blockdev")
        dated = major > 2 or node.kind in ("regular", "directory")
        assert (item.path, item.type, item.mode, item.uid, item.gid, item.size, item.link, item.device) == (
            path,
            node.kind,
            node.mode,
            node.uid,
            node.gid,
            len(node.data) if regular else None,
            node.data if node.kind == "symlink" else None,
            node.device if device else None,
        )
        assert item.mtime == (node.mtime * 10**9 if dated else None)
        folders = sum(child.kind == "directory" for child in node.children)
        assert item.nlink == (None if major < 3 else 2 + folders if node.kind == "directory" else 1)
        assert (item.inode is None) == (major < 3)
    assert reader.declared == len(found)
    detail = reader.detail
    assert (detail["version"], detail["byte_order"]) == ("{}.{}".format(*version), {"<": "little", ">": "big"}[order])
    assert (detail["compression"], detail["block_size"]) == ("gzip", 4096)
    assert "magic" not in detail
    assert "compression_told" not in detail


@pytest.mark.parametrize(("version", "order"), EVERY)
def test_contents_need_no_listing(
    images: dict[tuple[tuple[int, int], str], bytes], version: tuple[int, int], order: str
) -> None:
    contents(images[version, order], TREE)


@pytest.mark.parametrize(("version", "order"), EVERY)
def test_an_image_inside_a_flash_dump_is_claimed_exactly(
    images: dict[tuple[tuple[int, int], str], bytes], version: tuple[int, int], order: str
) -> None:
    data = images[version, order]
    dump = b"\xff" * 12_345 + data + b"hsqs and other things" * 5000
    source = Window(BytesSource(dump), 12_345, len(dump))
    inside = FORMAT.open(source, Limits())
    assert list(inside.entries()) == list(opened(data).entries())
    end, claims = claimed(inside)
    assert end == len(data)
    names = {"superblock", "data", "inode table", "directory table", "padding"}
    names |= {"fragment table"} if version[0] > 1 else set()
    names |= {"id table"} if version[0] == 4 else {"uid table", "gid table"}
    names |= {"export table"} if version in ((3, 1), (4, 0)) else set()
    assert {claim.what for claim in claims} == names


def test_padding_may_be_shorter() -> None:
    data = Image((3, 0), "<").write(TREE)
    used = int.from_bytes(data[63:71], "little")
    assert -used % 4096 > 1024  # or the tree must change for this test to tell the two apart
    assert claimed(opened(data[: used + -used % 1024] + b"what follows"))[0] == used + -used % 1024


@pytest.mark.skipif(shutil.which("unsquashfs") is None, reason="needs unsquashfs 4.4 or later")
@pytest.mark.parametrize(("version", "order"), [pair for pair in EVERY if pair != ((4, 0), ">")])
def test_unsquashfs_lists_the_same(
    tmp_path: Path, images: dict[tuple[tuple[int, int], str], bytes], version: tuple[int, int], order: str
) -> None:
    image = tmp_path / "image"
    image.write_bytes(images[version, order])
    told = subprocess.run(["unsquashfs", "-lln", "-d", "", image], check=True, capture_output=True).stdout
    theirs = [found.groups() for line in told.splitlines() if (found := UNSQUASHFS.match(line))]
    letters = {"regular": b"-", "symlink": b"l", "blockdev": b"b", "chardev": b"c", "fifo": b"p"}
    ours = []
    for item in opened(images[version, order]).entries():
        assert isinstance(item, Entry)
        size = b"%d,%3d" % item.device if item.device else b"%d" % (item.size or 0)
        ours.append((
            letters.get(item.type, item.type[:1].encode()),
            f"{item.uid}/{item.gid}".encode(),
            None if item.type in ("directory", "symlink") else size,
            b"/" + item.path if item.path else b"",
            item.link,
        ))  # fmt: skip
    assert [(kind, owner, None if kind in b"dl" else size, *rest) for kind, owner, size, *rest in theirs] == ours


def extracted(image: Path, target: Path) -> dict[bytes, bytes]:
    """Return the regular files that 7-Zip finds in an image."""
    command = ["7z", "x", "-y", f"-o{target}", str(image)]
    subprocess.run(command, check=False, capture_output=True)
    found = {}
    for path in target.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found[str(path.relative_to(target)).encode("utf-8", "surrogateescape")] = path.read_bytes()
    return found


@pytest.mark.skipif(shutil.which("7z") is None, reason="needs 7-Zip 22 or later")
@pytest.mark.parametrize(("version", "order"), [pair for pair in EVERY if pair != ((4, 0), ">")])
def test_7zip_reads_the_same(tmp_path: Path, version: tuple[int, int], order: str) -> None:
    (tmp_path / "image").write_bytes(Image(version, order).write(SMALL))
    wanted = {path: node.data for path, node in flat(SMALL) if node.kind == "regular"}
    assert extracted(tmp_path / "image", tmp_path / "out") == wanted


def test_big_endian_version_4_of_avm() -> None:
    """Everything is big endian but the lengths of metadata blocks, and the time is no time."""
    image = Image((4, 0), ">", compress=lzma.compress, compressor=4, lengths="<", mtime=None)
    data = image.write(TREE)
    contents(data, TREE)
    detail = opened(data).detail
    assert (detail["byte_order"], detail["compression"], detail["mtime"]) == ("big", "xz", None)
    assert claimed(opened(data))[0] == len(data)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [(1, 0), (2, 1), (3, 0)])
def test_check_bytes(version: tuple[int, int], order: str) -> None:
    data = Image(version, order, checked=True).write(TREE)
    contents(data, TREE)
    reader = opened(data)
    assert claimed(reader)[0] == len(data)
    assert reader.detail["flags"] == "check-bytes"
    broken = bytearray(data)
    inodes = next(claim for claim in reader.claims() if claim.what == "inode table")
    broken[inodes.offset + 2] = 0
    assert [item.reason for item in opened(bytes(broken)).entries() if isinstance(item, Problem)]


def test_version_1_stores_blocks_of_32_kib_as_they_are() -> None:
    """Their length does not fit the 15 bits that it has."""
    noise = random.Random(3).randbytes(100_000)
    tree = Node(b"", "directory", 0o755, children=[Node(b"noise", data=noise)])
    data = Image((1, 0), ">", block_size=32768).write(tree)
    contents(data, tree)
    (entry,) = (item for item in opened(data).entries() if isinstance(item, Entry) and item.path)
    assert opened(data).span(entry.locator or 0) == (51, 100_000)
    assert data[51:][:100_000] == noise


# Compressors


def stream(data: bytes, lc: int = 3, lp: int = 0, pb: int = 2) -> bytes:
    """Return LZMA data with an end mark and without a header."""
    filters = [{"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": 1 << 16}]
    return lzma.compress(data, lzma.FORMAT_ALONE, filters=filters)[13:]


def renamed(data: bytes) -> bytes:
    packed = lzma.compress(data)
    return b"VENDOR" + packed[6:-2] + b"VE"


FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "lzma": lambda data: struct.pack("<BIQ", 0x5D, 1 << 16, len(data)) + stream(data),
    "lzma, header without length": lambda data: struct.pack("<BI", 0x6C, 1 << 16) + stream(data, 0, 2, 2),
    "lzma, header with a length of 32 bits": lambda data: struct.pack("<BII", 0x5D, 1 << 16, len(data)) + stream(data),
    "lzma, length before properties": lambda data: struct.pack("<IBI", len(data), 0x5D, 1 << 16) + stream(data),
    "lzma, properties in three bytes of four": lambda data: b"\1\2\3?" + stream(data, 1, 2, 3),
    "lzma, properties in the first byte": lambda data: b"\x5d" + stream(data),
    "lzma, properties in the first byte of four": lambda data: b"\x5d???" + stream(data),
    "lzma, no header, lc 3 lp 0 pb 2": stream,
    "lzma, no header at offset 4, lc 1 lp 2 pb 0": lambda data: b"????" + stream(data, 1, 2, 0),
    "xz, another magic": renamed,
}


@pytest.mark.parametrize("version", [(1, 0), (2, 1), (3, 0), (4, 0)])
@pytest.mark.parametrize("frame", FRAMES)
def test_lzma_in_every_frame(version: tuple[int, int], frame: str) -> None:
    data = Image(version, "<", compress=FRAMES[frame], magic=b"shsq").write(SMALL)
    contents(data, SMALL)
    reader = opened(data)
    detail = reader.detail
    assert (detail["compression"], detail["compression_told"], detail["magic"]) == (frame, "gzip", "shsq")
    assert claimed(reader)[0] == len(data)


@pytest.mark.skipif(shutil.which("7z") is None, reason="needs 7-Zip 22 or later")
@pytest.mark.parametrize("headed", [True, False])
def test_lzma_without_an_end_mark(tmp_path: Path, headed: bool) -> None:
    """What vendors write; made by 7-Zip, whose own archives hold such data from offset 32 on."""

    def compress(data: bytes) -> bytes:
        archive = tmp_path / "block.7z"
        archive.unlink(missing_ok=True)
        command = ["7z", "a", "-m0=lzma:d=64k:lc=3:lp=0:pb=2:eos=off", "-mhc=off", "-siblock", str(archive)]
        subprocess.run(command, input=data, check=True, capture_output=True)
        packed = archive.read_bytes()
        packed = packed[32 : 32 + int.from_bytes(packed[12:20], "little")]
        return struct.pack("<BIQ", 0x5D, 1 << 16, len(data)) + packed if headed else packed

    data = Image((3, 0), "<", compress=compress, magic=b"shsq", block_size=16384).write(SMALL)
    contents(data, SMALL)
    assert opened(data).detail["compression"] == ("lzma" if headed else "lzma, no header, lc 3 lp 0 pb 2")


@pytest.mark.skipif(shutil.which("7z") is None, reason="needs 7-Zip 22 or later")
@pytest.mark.parametrize(("frame", "magic"), [("lzma", b"shsq"), ("lzma, no header, lc 3 lp 0 pb 2", b"hsqs")])
def test_7zip_reads_the_same_lzma(tmp_path: Path, frame: str, magic: bytes) -> None:
    (tmp_path / "image").write_bytes(Image((3, 0), "<", compress=FRAMES[frame], magic=magic).write(SMALL))
    wanted = {path: node.data for path, node in flat(SMALL) if node.kind == "regular"}
    assert extracted(tmp_path / "image", tmp_path / "out") == wanted


@pytest.mark.parametrize("first", [0, 1])
def test_blocks_of_two_kinds(first: int) -> None:
    """The LZMA patches choose for each block; its first byte tells."""
    count = first

    def compress(data: bytes) -> bytes:
        nonlocal count
        count += 1
        return FRAMES["lzma"](data) if count % 2 else zlib.compress(data)

    for version in ((2, 0), (3, 1)):
        data = Image(version, ">", compress=compress, magic=b"qshs").write(TREE)
        contents(data, TREE)


@pytest.mark.parametrize(
    ("magic", "order"),
    [(b"hsqt", "<"), (b"tqsh", ">"), (b"zlqs", "<"), (b"sqlz", ">"), (b"shsq", "<"), (b"qshs", ">"), (b"sqsh", "<")],
)
def test_the_version_tells_the_byte_order_not_the_magic(magic: bytes, order: str) -> None:
    data = Image((3, 0), order, magic=magic).write(SMALL)
    contents(data, SMALL)
    assert opened(data).detail.get("magic") == (None if magic == b"sqsh" else magic.decode())


@pytest.mark.skipif(shutil.which("mksquashfs") is None, reason="needs mksquashfs 4.5 or later")
@pytest.mark.parametrize("used", ["gzip", "lzma", "lzo", "xz", "lz4", "zstd"])
def test_a_compressor_told_wrongly(tmp_path: Path, used: str) -> None:
    for path, node in flat(SMALL):
        place = tmp_path / "tree" / path.decode()
        place.mkdir() if node.kind == "directory" else place.write_bytes(node.data)
    command = [
        "mksquashfs",
        str(tmp_path / "tree"),
        str(tmp_path / "image"),
        "-no-progress",
        "-noappend",
        "-comp",
        used,
    ]
    subprocess.run(command, check=True, capture_output=True)
    right = (tmp_path / "image").read_bytes()
    contents(right, SMALL)
    assert "compression_told" not in opened(right).detail
    for told in (0, 1, 2, 3, 4, 5, 6, 7):
        data = right[:20] + struct.pack("<H", told) + right[22:]
        contents(data, SMALL)
        assert opened(data).detail["compression"] == used


def test_a_compressor_that_nothing_shows_is_not_guessed(tmp_path: Path) -> None:
    image = bytearray(Image((4, 0), "<", compressor=9).write(SMALL))
    start = int.from_bytes(image[64:72], "little")
    image[start + 2 : start + 40] = bytes(38)
    with pytest.raises(Unsupported, match="compressor 9"):
        opened(bytes(image))
    image[20] = 1
    reader = opened(bytes(image))
    assert (reader.detail["compression"], reader.detail["compression_proved"]) == ("gzip", False)


# Stored forms


def test_stored_digests_tell_contents_apart() -> None:
    def digests(image: Image) -> dict[bytes, bytes]:
        data = image.write(SMALL)
        reader = opened(data)
        listed = [item for item in reader.entries() if isinstance(item, Entry) and item.locator is not None]
        found = {item.path: reader.stored(item.locator) for item in listed if item.locator is not None}
        assert None not in found.values()
        return {path: digest for path, digest in found.items() if digest}

    one = digests(Image((3, 0), "<"))
    assert len(set(one.values())) == len(one) == 41
    assert digests(Image((3, 1), ">", exported=True, magic=b"sqlz")) == one  # the same blocks in another byte order
    other = digests(Image((3, 0), "<", compress=FRAMES["lzma, header without length"]))
    assert not set(one.values()) & set(other.values())


# Damage


@pytest.mark.parametrize(("version", "order"), EVERY)
def test_damage_costs_what_is_damaged(
    images: dict[tuple[tuple[int, int], str], bytes], version: tuple[int, int], order: str
) -> None:
    data = bytearray(images[version, order])
    nodes = dict(flat(TREE))
    reader = opened(bytes(data))
    found = [item for item in reader.entries() if isinstance(item, Entry)]
    tables = min(claim.offset for claim in reader.claims() if claim.what == "inode table")
    for at in range(10_000, tables, 200):  # the noise before is stored as it is
        data[at] ^= 0x55
    reader = opened(bytes(data))
    assert list(reader.entries()) == found
    lost = set()
    for entry in found:
        if entry.locator is not None:
            try:
                content = b"".join(reader.open(entry.locator))
            except Malformed:
                lost.add(entry.path)
            else:
                # Noise is stored as it is, and the format has no check that could tell.
                assert content == nodes[entry.path].data or len(content) <= 4096
    assert b"big" in lost
    assert len(lost) < len(found)


@pytest.mark.parametrize(("version", "order"), EVERY)
def test_a_damaged_directory_costs_its_names(version: tuple[int, int], order: str) -> None:
    data = bytearray(Image(version, order).write(TREE))
    reader = opened(bytes(data))
    whole = list(reader.entries())
    table = next(claim for claim in reader.claims() if claim.what == "directory table")
    data[table.offset + 20] ^= 0x55
    items = list(opened(bytes(data)).entries())
    problems = [item for item in items if isinstance(item, Problem)]
    entries = [item for item in items if isinstance(item, Entry)]
    assert problems
    assert all(entry in whole for entry in entries)
    assert len(entries) + problems[-1].entries == len(whole)


@pytest.mark.parametrize(("version", "order"), EVERY)
def test_damaged_images(version: tuple[int, int], order: str) -> None:
    data = Image(version, order, exported=version == (3, 1)).write(SMALL)
    for broken in mangled(data, seed=11, count=20):
        survives(FORMAT, broken)
    for broken in mangled(data, seed=12, count=30, hot=range(200)):
        survives(FORMAT, broken)
    plain = Image(version, order, plain=True).write(SMALL)
    for broken in mangled(plain, seed=13, count=60, hot=range(1000, len(plain) - 1000)):
        survives(FORMAT, broken)


@pytest.mark.parametrize("frame", FRAMES)
def test_damaged_lzma(frame: str) -> None:
    data = Image((3, 0), "<", compress=FRAMES[frame]).write(SMALL)
    for broken in mangled(data, seed=21, count=20):
        survives(FORMAT, broken)


def test_chance_matches_are_cheap() -> None:
    chance = random.Random(5)
    begun = time.process_time()
    for order, magic in ((order, magic) for order in "<>" for magic in (b"hsqs", b"sqsh", b"shsq", b"sqlz")):
        for major in (1, 2, 3, 4, 5):
            data = bytearray(magic + chance.randbytes(20_000))
            data[28:32] = struct.pack(order + "HH", major, 0)
            with pytest.raises((NotThisFormat, Malformed)):
                opened(bytes(data))
    assert time.process_time() - begun < 0.2


def test_an_image_that_no_compressor_explains_is_told_soon() -> None:
    data = bytearray(Image((3, 0), "<").write(TREE))
    inodes = int.from_bytes(data[87:95], "little")
    # A block of 4000 bytes, zero in all places where LZMA data may begin, so that each of 900 frames is tried.
    data[inodes : inodes + 2] = struct.pack("<H", 4000)
    data[inodes + 2 : inodes + 14] = bytes(12)
    data[43:51] = bytes(8)
    bounded(lambda: opened(bytes(data)), 1.0)
