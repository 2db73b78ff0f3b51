from __future__ import annotations

import lzma
import os
import random
import shutil
import stat
import struct
import subprocess
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import lz4.block
import pytest
import zstandard

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Entry,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    UnpackError,
    Unsupported,
    Window,
)
from assay.unpack.erofs import FORMAT
from assay.unpack.erofs_structures import crc32c

from ..support.hostile import mangled, survives

TOOLS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
MKFS = shutil.which("mkfs.erofs", path=TOOLS)
FSCK = shutil.which("fsck.erofs", path=TOOLS)
needs_tool = pytest.mark.skipif(MKFS is None, reason="mkfs.erofs (erofs-utils) is not installed")

CHANCE = random.Random(11)
NOISE = CHANCE.randbytes(50_001)
WORDS = b"".join(b"line %d of %d lines of text\n" % (number, CHANCE.randrange(1 << 20)) for number in range(20_000))
FILES = {
    b"bin/su": b"\x7fELF" + b"su" * 700,
    b"etc/empty": b"",
    b"etc/noise": NOISE,
    b"etc/words": WORDS,
    b"etc/again": WORDS[100_000:300_000] + NOISE[:7000] + WORDS[:90_000],
    b"etc/page": b"p" * 4096,
    b"etc/zeros": bytes(1 << 20),
    b"etc/mixed": WORDS[:9000] + NOISE[:13_000] + WORDS[9000:40_000] + NOISE[13_000:20_000],
    b"etc/caf\xe9 \n": b"latin1",
}
LAYOUTS = {
    "plain": (),
    "extended": ("-Eforce-inode-extended",),
    "no inline data": ("-Enoinline_data",),
    "chunks": ("--chunksize=8192",),
    "chunk indexes": ("--chunksize=4096", "-Eforce-chunk-indexes"),
    "lz4": ("-zlz4",),
    "lz4hc, big clusters": ("-zlz4hc", "-C65536"),
    "legacy": ("-zlz4", "-Elegacy-compress"),
    "legacy, big clusters": ("-zlz4hc", "-Elegacy-compress", "-C65536"),
    "tail packing": ("-zlz4hc", "-Eztailpacking"),
    "fragments": ("-zlz4hc", "-Efragments", "-C65536"),
    "all fragments": ("-zlz4hc", "-Eall-fragments", "-C16384"),
    "dedupe": ("-zlz4hc", "-Eall-fragments,dedupe", "-C65536"),
    "dedupe, tail packing": ("-zlz4hc", "-Ededupe,ztailpacking"),
    "fragments, tail packing": ("-zlz4hc", "-Efragments,ztailpacking", "-C32768"),
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
    (home / "etc/link").symlink_to("../../../etc/shadow")
    (home / "none").mkdir()
    (home / "none").chmod(0o1777)
    os.mkfifo(home / "pipe")
    os.utime(home / "etc/words", ns=(1, 1_600_000_000_123_456_789))
    try:
        os.setxattr(home / "bin/su", "user.note", b"hello")
        os.setxattr(home / "etc/words", "user.note", b"hello")
        os.setxattr(home / "etc/words", "user.own", b"only here")
    except OSError:
        pass  # the temporary directory's file system has no such attributes
    return home


@pytest.fixture(scope="module")
def images(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    home = tmp_path_factory.mktemp("erofs")
    found = {}
    for name, options in LAYOUTS.items():
        image = home / "image"
        image.unlink(missing_ok=True)
        command: list[str | Path] = [MKFS or "", "-x1", *options, image, tree]
        if subprocess.run(command, capture_output=True).returncode == 0:  # an older tool may not know an option
            found[name] = image.read_bytes()
            if FSCK:
                subprocess.run([FSCK, image], check=True, capture_output=True)
    return found


@pytest.fixture(params=LAYOUTS)
def image(request: pytest.FixtureRequest, images: dict[str, bytes]) -> bytes:
    if request.param not in images:
        pytest.skip(f"this mkfs.erofs cannot make {request.param}")
    return images[request.param]


def opened(data: bytes) -> Reader:
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    return reader


def listed(reader: Reader) -> dict[bytes, Entry]:
    found = {}
    for entry in reader.entries():
        assert isinstance(entry, Entry), entry
        found[entry.path] = entry
    return found


def problems(data: bytes) -> list[Problem]:
    return [item for item in opened(data).entries() if isinstance(item, Problem)]


@needs_tool
def test_everything_is_kept_as_stated(image: bytes, tree: Path) -> None:
    expected = {}
    for path in [tree, *tree.rglob("*")]:
        status = path.lstat()
        kind = {stat.S_IFREG: "regular", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}[
            stat.S_IFMT(status.st_mode)
        ]
        xattrs = {name: os.getxattr(path, name) for name in os.listxattr(path, follow_symlinks=False)}
        expected[os.fsencode(path.relative_to(tree)) if path != tree else b""] = (
            kind,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            os.fsencode(path.readlink()) if kind == "symlink" else None,
            status.st_size if kind == "regular" else None,
            status.st_nlink,
            status.st_mtime_ns,
            xattrs,
        )
    reader = opened(image)
    found = listed(reader)
    kept = {n: (e.type, e.mode, e.uid, e.gid, e.link, e.size, e.nlink, e.mtime, e.xattrs) for n, e in found.items()}
    assert kept == expected
    assert found[b"bin/su"].inode == found[b"bin/ls"].inode
    assert found[b"bin/su"].locator == found[b"bin/ls"].locator


@needs_tool
def test_contents_need_no_listing(image: bytes) -> None:
    found = listed(opened(image))
    digests: dict[bytes, bytes] = {}
    for name, data in FILES.items():
        locator = found[name].locator
        assert locator is not None
        chunks = list(opened(image).open(locator))
        assert b"".join(chunks) == data
        assert all(len(chunk) <= 1 << 20 for chunk in chunks)
        span = opened(image).span(locator)
        assert span is None or image[span[0] : sum(span)] == data
        if digest := opened(image).stored(locator):
            assert digests.setdefault(digest, data) == data
    for wrong in ("else", -1, 1 << 70, found[b"etc"].inode or 0):
        with pytest.raises(Malformed):
            list(opened(image).open(wrong))


@needs_tool
def test_extent_is_exact_wherever_it_lies(image: bytes) -> None:
    alone = opened(image)
    whole = listed(alone)
    claimed = bytearray(len(image))
    for claim in alone.claims():
        assert claim.offset + claim.length <= len(image)
        claimed[claim.offset : claim.offset + claim.length] = b"\1" * claim.length
    assert claimed.count(0) == 0
    bigger = BytesSource(b"\xff" * 1237 + image + b"\xa5" * 5000)
    reader = FORMAT.open(Window(bigger, 1237, bigger.size - 1237), Limits())
    assert listed(reader) == whole
    assert reader.claims() == alone.claims()


@needs_tool
def test_long_prefixes(tree: Path, tmp_path: Path) -> None:
    if "user.note" not in os.listxattr(tree / "bin/su"):
        pytest.skip("the temporary directory's file system has no extended attributes")
    for options in ((), ("-zlz4hc", "-Efragments")):
        image = tmp_path / f"image{len(options)}"
        command: list[str | Path] = [MKFS or "", "-x1", "--xattr-prefix=user.no", *options, image, tree]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("this mkfs.erofs knows no prefixes")
        assert listed(opened(image.read_bytes()))[b"etc/words"].xattrs == {
            "user.note": b"hello",
            "user.own": b"only here",
        }


@needs_tool
def test_a_wrong_checksum_is_told_and_the_rest_is_read(images: dict[str, bytes]) -> None:
    data = bytearray(images["plain"])
    data[1024 + 64] ^= 1
    (problem,) = problems(bytes(data))
    assert "CRC-32C" in problem.detail
    assert problem.entries == 0


@needs_tool
def test_cut_images_give_what_is_whole(images: dict[str, bytes]) -> None:
    for name in ("plain", "lz4"):
        data = images[name]
        cut = data[: len(data) * 2 // 3]
        reader = opened(cut)
        items = list(reader.entries())
        assert isinstance(items[-1], Problem)
        assert items[-1].reason == "truncated"
        whole = lost = 0
        for item in items:
            if isinstance(item, Entry) and item.locator is not None:
                try:
                    out = b"".join(reader.open(item.locator))
                except UnpackError as error:
                    lost += 1
                    assert error.reason == "truncated"
                else:
                    whole += 1
                    assert out == FILES.get(item.path.replace(b"bin/ls", b"bin/su"), b"")
        assert whole
        assert all(claim.offset + claim.length <= len(cut) for claim in reader.claims())


@needs_tool
def test_other_devices_are_told(tree: Path, tmp_path: Path) -> None:
    blob, image = tmp_path / "blob", tmp_path / "image"
    blob.touch()
    command: list[str | Path] = [MKFS or "", "-x1", "--chunksize=4096", f"--blobdev={blob}", image, tree]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this mkfs.erofs knows no other devices")
    reader = opened(image.read_bytes())
    assert reader.detail["extra_devices"] == 1
    with pytest.raises(Unsupported, match="another device"):
        list(reader.open(listed(reader)[b"etc/words"].locator or 0))


# What no tool here makes, written from the format's description.

BLOCK = 4096


def written(inodes: list[tuple[int, int, int, bytes]], blocks: bytes, incompat: int, algorithms: int = 0) -> bytes:
    """Return an image with one directory, of files f0, f1, ...: (layout, size, word, what follows the inode)."""
    names = [b".", b"..", *(b"f%d" % number for number in range(len(inodes)))]
    places = [64]  # inode numbers: each has 1 KiB here
    places += [64 + 32 * (number + 1) for number in range(len(inodes))]
    offset = 12 * len(names)
    records = text = b""
    for nid, name in zip([64, 64, *places[1:]], names, strict=True):
        records += struct.pack("<QHBB", nid, offset + len(text), 0, 0)
        text += name
    directory = records + text
    image = bytearray(8 * BLOCK) + blocks
    rows = [(2, 0o040755, len(directory), 0, directory)]
    rows += [(layout, 0o100644, size, word, after) for layout, size, word, after in inodes]
    for nid, (layout, mode, size, word, after) in zip(places, rows, strict=True):
        record = struct.pack("<HHHHIIIIHHI", layout << 1, 0, mode, 1, size, 0, word, nid, 1, 2, 0) + after
        assert len(record) <= 1024
        image[nid * 32 : nid * 32 + len(record)] = record
    wide = incompat & 0x80
    head = struct.pack(
        "<IIIBBHQQIIII", 0xE0F5E1E2, 0, 1, 12, 1, 0 if wide else 64, len(rows), 9, 0, len(image) // BLOCK, 0, 0
    )
    head += bytes(16) + b"written".ljust(16, b"\0") + struct.pack("<IHHHBBIQ", incompat, algorithms, 0, 0, 0, 0, 0, 0)
    head += struct.pack("<BxxxIQ", 0, 0, 64 if wide else 0)
    image[1024 : 1024 + len(head)] = head
    # configurations of algorithms
    image[1024 + 144 : 1024 + 144 + 16] = struct.pack("<HIH8s", 14, 1 << 20, 0, b"")
    struct.pack_into("<I", image, 1028, crc32c(bytes(image[1024:BLOCK])))
    return bytes(image)


def micro_lzma(data: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 3, "lp": 0, "pb": 2}]
    raw = lzma.compress(data, lzma.FORMAT_RAW, filters=filters)
    return bytes([~0x5D & 0xFF]) + raw[1:]


def deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15)
    return encoder.compress(data) + encoder.flush()


def lz4_block(data: bytes) -> bytes:
    packed: bytes = lz4.block.compress(data, store_size=False)
    return packed


ALGORITHMS: list[Callable[[bytes], bytes]] = [lz4_block, micro_lzma, deflate, zstandard.ZstdCompressor().compress]


@pytest.mark.parametrize("algorithm", range(4))
def test_algorithms_in_indexed_clusters(algorithm: int) -> None:
    text = b"".join(b"%d bottles\n" % number for number in range(4000))[: 9 * BLOCK + 77]
    cuts = [0, 3 * BLOCK + 500, 7 * BLOCK, len(text)]
    blocks = b""
    heads = {}
    for begin, end in pairwise(cuts):
        packed = ALGORITHMS[algorithm](text[begin:end])
        stored = packed.rjust(-(-len(packed) // BLOCK) * BLOCK, b"\0")
        heads[begin // BLOCK] = begin % BLOCK, 8 + len(blocks) // BLOCK, len(stored) // BLOCK
        blocks += stored
    header = struct.pack("<IHBB", 0, 2, algorithm, 0)
    indexes = b""
    last = 0
    for number in range(-(-len(text) // BLOCK)):
        if number in heads:
            last = number
            indexes += struct.pack("<HHI", 1, heads[number][0], heads[number][1])
        elif number == last + 1:
            indexes += struct.pack("<HHHH", 2, 0, 0x800 | heads[last][2], 1)
        else:
            indexes += struct.pack("<HHHH", 2, 0, number - last, 1)
    image = written([(1, len(text), 0, header + bytes(8) + indexes)], blocks, 0x3, 1 << algorithm)
    reader = opened(image)
    entry = listed(reader)[b"f0"]
    assert b"".join(reader.open(entry.locator or 0)) == text
    assert reader.detail["compression"] == ("lz4", "lzma", "deflate", "zstd")[algorithm]
    assert sum(claim.length for claim in reader.claims() if claim.what == "data") == len(blocks)
    for broken in mangled(image, count=60, hot=range(8 * BLOCK, len(image))):
        survives(FORMAT, broken)


@pytest.mark.parametrize("record", [4, 8, 16, 32])
def test_tables_of_extents(record: int) -> None:
    """Extents of images with 48-bit addresses: the short records have them at equal distances."""
    text = b"".join(b"%d bottles\n" % number for number in range(4000))[: 3 * 16384 + 77]
    each = 16384
    packed = [
        deflate(text[0:each]),
        text[each : 2 * each],
        deflate(text[2 * each : 3 * each]),
        deflate(text[3 * each :]),
    ]
    blocks = b"".join(packed)
    offset = 8 * BLOCK
    records = b""
    start = 0
    for number, stored in enumerate(packed):
        word = len(stored) | (0 if number == 1 else 3) << 28
        fields = struct.pack("<IIIII", word, offset, 0, start, 0).ljust(32, b"\0")
        records += fields[:record]
        offset += len(stored)
        start += each
    if record == 4:
        records = struct.pack("<Q", 8 * BLOCK) + records
    advice = 1 | {4: 0, 8: 1, 16: 2, 32: 3}[record] << 1
    count = len(packed) if record > 8 else 2 << 40
    header = struct.pack("<IHH", count & 0xFFFFFFFF, advice, count >> 32)  # the count's place has the clusters' size
    # The header follows an inode of 32 bytes on 1 KiB, so it ends at 40.
    after = header + bytes(-40 % record) + records
    blocks += bytes(-len(blocks) % BLOCK)
    image = written([(1, len(text), 0, after)], blocks, 0x83)
    reader = opened(image)
    entry = listed(reader)[b"f0"]
    assert b"".join(reader.open(entry.locator or 0)) == text
    for broken in mangled(image, count=60, hot=range(3072, 3072 + 200)):
        survives(FORMAT, broken)


def test_devices_and_holes() -> None:
    chunks = struct.pack("<II", 0xFFFFFFFF, 8)
    image = bytearray(written([(4, 5000, 0, chunks), (0, 0, 259 << 8 | 44 | 1 << 20, b"")], b"d" * BLOCK, 0x4))
    reader = opened(bytes(image))
    entry = listed(reader)[b"f0"]
    assert b"".join(reader.open(entry.locator or 0)) == bytes(4096) + b"d" * 904
    nid = listed(reader)[b"f1"].inode or 0
    struct.pack_into("<H", image, nid * 32 + 4, 0o060660)
    struct.pack_into("<I", image, 1028, crc32c(bytes(image[1024:1028] + bytes(4) + image[1032:BLOCK])))
    assert listed(opened(bytes(image)))[b"f1"].device == (259, 300)


def test_long_prefixes_of_names() -> None:
    """An inode with extended attributes of its own, one with a long prefix, and a table of prefixes."""
    records = b"".join(
        struct.pack("<BBH", len(name), index, len(value)) + name + value + bytes(-(len(name) + len(value)) % 4)
        for name, index, value in ((b"note", 1, b"hello"), (b"selinux", 6, b"label"), (b"x", 0x81, b"long"))
    )
    image = bytearray(written([(0, 0, 0, bytes(12) + records)], bytes(BLOCK), 0x40))
    struct.pack_into("<H", image, 96 * 32 + 2, 1 + len(records) // 4)
    prefixes = b"".join(
        struct.pack("<HB", 1 + len(infix), index) + infix + bytes(-(3 + len(infix)) % 4)
        for index, infix in ((1, b"a."), (4, b"overlay."))
    )
    image[8 * BLOCK : 8 * BLOCK + len(prefixes)] = prefixes
    struct.pack_into("<BI", image, 1024 + 91, 2, 8 * BLOCK // 4)
    struct.pack_into("<I", image, 1028, crc32c(bytes(image[1024:1028]) + bytes(4) + bytes(image[1032:BLOCK])))
    reader = opened(bytes(image))
    assert listed(reader)[b"f0"].xattrs == {
        "user.note": b"hello",
        "security.selinux": b"label",
        "trusted.overlay.x": b"long",
    }
    assert any(claim.what == "prefixes of extended attributes" for claim in reader.claims())


def test_impossible_superblocks() -> None:
    good = written([], b"", 0)
    assert listed(opened(good)).keys() == {b""}
    for offset, value, error in (
        (12, b"\x20", NotThisFormat),  # blocks of 4 GiB
        (14, b"\xff\xff", NotThisFormat),  # root
        (36, b"\0\0\0\0", NotThisFormat),  # blocks
        (80, b"\0\0\1\0", Unsupported),  # a feature to come
        (80, b"\0\1\0\0", Unsupported),  # a metabox
        (90, b"\1", NotThisFormat),
    ):
        bad = bytearray(good)
        bad[1024 + offset : 1024 + offset + len(value)] = value
        with pytest.raises(error):
            FORMAT.open(BytesSource(bytes(bad)), Limits())


@needs_tool
@pytest.mark.parametrize("name", ["plain", "legacy", "dedupe", "fragments, tail packing"])
def test_hostile(images: dict[str, bytes], name: str) -> None:
    if name not in images:
        pytest.skip(f"this mkfs.erofs cannot make {name}")
    data = images[name]
    inodes = sorted((c.offset, c.length) for c in claims(data) if c.what in ("inodes", "directories"))
    hot = [range(1024, 1200), range(inodes[0][0], inodes[-1][0] + 64), range(len(data))]
    for where in hot:
        for broken in mangled(data, seed=where.stop, count=16, hot=where):
            survives(FORMAT, broken, seconds=4)


def claims(data: bytes) -> list:  # type: ignore[type-arg]
    reader = opened(data)
    list(reader.entries())
    return reader.claims()
