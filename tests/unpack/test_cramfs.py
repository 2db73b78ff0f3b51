from __future__ import annotations

import os
import random
import shutil
import stat
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Truncated,
    UnpackError,
    Unsupported,
    Window,
)
from assay.unpack.cramfs import FORMAT

from ..support.hostile import bounded, mangled, survives

TOOLS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
MKFS = shutil.which("mkfs.cramfs", path=TOOLS)
FSCK = shutil.which("fsck.cramfs", path=TOOLS)
SWAP = shutil.which("cramfsswap", path=TOOLS)

needs_tool = pytest.mark.skipif(MKFS is None, reason="mkfs.cramfs (util-linux-extra) is not installed")

NOISE = random.Random(3).randbytes(30_001)
WORDS = b"".join(b"line %d of the configuration\n" % number for number in range(4000))
FILES = {
    b"bin/su": b"\x7fELF" + b"su" * 700,
    b"bin/copy": b"\x7fELF" + b"su" * 700,
    b"etc/empty": b"",
    b"etc/noise": NOISE,
    b"etc/words": WORDS,
    b"etc/page": b"p" * 4096,
    b"etc/hole": bytes(20_000) + b"end",
    b"etc/caf\xe9 \n": b"latin1",
}
LAYOUTS = {
    "plain": ("-N", "little"),
    "big endian": ("-N", "big"),
    "holes": ("-z",),
    "boot code": ("-p",),
    "blocks of 8 KiB": ("-b", "8192"),
    "blocks of 64 KiB": ("-b", "65536"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tree")
    for name, data in FILES.items():
        path = home / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (home / "bin/su").chmod(0o4755)
    (home / "etc/link").symlink_to("../../../etc/shadow")
    (home / "none").mkdir()
    (home / "none").chmod(0o1777)
    os.mkfifo(home / "pipe")
    return home


@pytest.fixture(scope="module")
def images(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    home = tmp_path_factory.mktemp("cramfs")
    found = {}
    for name, options in LAYOUTS.items():
        subprocess.run(
            [MKFS or "", "-e", "7", "-n", "volume", *options, tree, home / "image"], check=True, capture_output=True
        )
        found[name] = (home / "image").read_bytes()
        if FSCK and "-z" not in options and "-b" not in options:
            subprocess.run([FSCK, home / "image"], check=True, capture_output=True)
    return found


@pytest.fixture(params=LAYOUTS)
def image(request: pytest.FixtureRequest, images: dict[str, bytes]) -> bytes:
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
        expected[os.fsencode(path.relative_to(tree)) if path != tree else b""] = (
            kind,
            stat.S_IMODE(status.st_mode),
            status.st_uid & 0xFFFF,
            status.st_gid & 0xFF,
            os.fsencode(path.readlink()) if kind == "symlink" else None,
            status.st_size if kind == "regular" else None,
        )
    reader = opened(image)
    found = listed(reader)
    assert {name: (e.type, e.mode, e.uid, e.gid, e.link, e.size) for name, e in found.items()} == expected
    assert reader.declared == len(found)
    assert (reader.detail["edition"], reader.detail["label"]) == (7, "volume")
    # files of the same bytes share them
    assert found[b"bin/su"].locator == found[b"bin/copy"].locator


@needs_tool
def test_contents_need_no_listing(image: bytes) -> None:
    found = listed(opened(image))
    for name, data in FILES.items():
        locator = found[name].locator
        assert locator is not None
        assert b"".join(opened(image).open(locator)) == data
    with pytest.raises(Malformed):
        list(opened(image).open("else"))


@needs_tool
def test_extent_is_exact_wherever_it_lies(image: bytes) -> None:
    alone = opened(image)
    whole = listed(alone)
    assert sorted(claim.offset for claim in alone.claims())[0] == 0
    assert sum(claim.length for claim in alone.claims()) == len(image)
    bigger = BytesSource(b"\xff" * 1237 + image + b"\xa5" * 5000)
    reader = FORMAT.open(Window(bigger, 1237, bigger.size - 1237), Limits())
    assert listed(reader) == whole
    assert reader.claims() == alone.claims()


@needs_tool
def test_boot_code_belongs_to_the_image(images: dict[str, bytes]) -> None:
    data = images["boot code"]
    assert opened(data).detail["boot_bytes"] == 512
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(data[512:]), Limits())


@needs_tool
@pytest.mark.skipif(SWAP is None, reason="cramfsswap is not installed")
def test_swapped_by_the_tool(images: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(images["plain"])
    subprocess.run([SWAP or "", tmp_path / "in", tmp_path / "out"], check=True, capture_output=True)
    swapped = (tmp_path / "out").read_bytes()
    assert opened(swapped).detail["byte_order"] == "big"
    assert listed(opened(swapped)) == listed(opened(images["plain"]))


@needs_tool
def test_a_wrong_crc_is_told_and_the_rest_is_read(images: dict[str, bytes]) -> None:
    data = bytearray(images["plain"])
    words = listed(opened(bytes(data)))[b"etc/words"].locator
    assert isinstance(words, list)
    offset = words[0]
    assert isinstance(offset, int)
    last = 4 * -(-len(WORDS) // 4096)
    (at,) = struct.unpack_from("<I", data, offset + last - 8)
    data[at + 9] ^= 0xFF
    (problem,) = problems(bytes(data))
    assert (problem.reason, problem.entries) == ("malformed", 0)
    assert "CRC" in problem.detail
    out = []
    with pytest.raises(Malformed, match="block"):
        for chunk in opened(bytes(data)).open(words):
            out.append(chunk)  # noqa: PERF402 - what came before the damage counts
    assert b"".join(out) == WORDS[: len(WORDS) // 4096 * 4096]


@needs_tool
def test_cut_images_give_what_is_whole(images: dict[str, bytes]) -> None:
    data = images["plain"]
    cut = data[: len(data) * 2 // 3]
    reader = opened(cut)
    found = list(reader.entries())
    assert [item for item in found if isinstance(item, Problem)] == [
        Problem("truncated", f"superblock declares {len(data)} bytes, the source has {len(cut)}", b"", 0)
    ]
    whole = lost = 0
    for item in found:
        if isinstance(item, Entry) and item.locator is not None:
            try:
                assert b"".join(reader.open(item.locator)) == FILES[item.path]
                whole += 1
            except Truncated:
                lost += 1
    assert whole
    assert lost
    assert all(claim.offset + claim.length <= len(cut) for claim in reader.claims())


def written(flags: int = 0, files: dict[bytes, tuple[int, int, bytes]] | None = None, order: str = "<") -> bytes:
    """Return an image written from the format's description: {name: (mode, size, pointers and blocks)} in the root."""
    files = files or {}

    def inode(mode: int, size: int, name: int, offset: int) -> bytes:
        if order == "<":
            return struct.pack("<III", mode | 5 << 16, size | 7 << 24, name // 4 | offset // 4 << 6)
        return struct.pack(">III", mode << 16 | 5, size << 8 | 7, name // 4 << 26 | offset // 4)

    names = {name: name + bytes(-len(name) % 4) for name in files}
    length = sum(12 + len(name) for name in names.values())
    at = 76 + length
    directory = data = b""
    for name, (mode, size, stored) in files.items():
        directory += inode(mode, size, len(names[name]), at if stored else 0) + names[name]
        stored += bytes(-len(stored) % 4)  # noqa: PLW2901
        data += stored
        at += len(stored)
    root = inode(0o040755, length, 0, 76)
    body = root + directory + data
    info = [0, 1, 2, len(files) + 1] if flags & 1 else [0] * 4
    head = struct.pack(order + "IIII16s", 0x28CD3D45, 64 + len(body), flags, 0, b"Compressed ROMFS")
    image = head + struct.pack(order + "IIII16s", *info, b"written") + body
    if flags & 1:
        image = image[:32] + struct.pack(order + "I", zlib.crc32(image)) + image[36:]
    return image


@pytest.mark.parametrize("order", ["<", ">"])
def test_devices_and_the_first_version(order: str) -> None:
    image = written(0, {b"tty": (0o020620, 5 << 8 | 1, b""), b"sda": (0o060660, 8 << 8 | 17, b"")}, order)
    reader = opened(image + b"something else")
    assert listed(reader) == {
        b"": Entry(b"", "directory", mode=0o755, uid=5, gid=7),
        b"tty": Entry(b"tty", "chardev", mode=0o620, uid=5, gid=7, device=(5, 1)),
        b"sda": Entry(b"sda", "blockdev", mode=0o660, uid=5, gid=7, device=(8, 17)),
    }
    assert reader.declared is None
    assert reader.claims() == [Claim(0, 76, "superblock"), Claim(76, len(image) - 76, "directories")]


@pytest.mark.parametrize("order", ["<", ">"])
def test_extended_block_pointers(order: str) -> None:
    """Uncompressed and direct blocks, which execution in place needs; no tool here makes them."""
    first, second, third = (bytes([byte]) * 4096 for byte in b"abc")
    packed = zlib.compress(second)
    start = 76 + 12 + 4  # where the only file's pointers are
    blocks = start + 12
    # 0: not compressed, direct; 1: compressed, direct, its length before it; 2: not compressed, ends at the pointer
    body = first + struct.pack(order + "H", len(packed)) + packed
    body += bytes(-len(body) % 4)
    last_start = blocks + 4096 + 2 + len(packed)
    body = body[: last_start - blocks] + third[:100]
    pointers = [1 << 31 | 1 << 30 | blocks // 4, 1 << 30 | (blocks + 4096) // 4, 1 << 31 | (last_start + 100)]
    stored = struct.pack(order + "III", *pointers) + body
    image = written(0x801, {b"xip": (0o100755, 8292, stored)}, order)
    entry = listed(opened(image))[b"xip"]
    assert b"".join(opened(image).open(entry.locator or 0)) == first + second + third[:100]
    assert opened(image).span(entry.locator or 0) is None
    plain = struct.pack(order + "I", 1 << 31 | (start + 4 + 50)) + b"z" * 50
    image = written(0x801, {b"raw": (0o100755, 50, plain)}, order)
    entry = listed(opened(image))[b"raw"]
    assert opened(image).span(entry.locator or 0) == (start + 4, 50)
    assert b"".join(opened(image).open(entry.locator or 0)) == b"z" * 50


def test_flags_and_signatures() -> None:
    image = bytearray(written(1))
    wrong = bytes(image[:16]) + b"Vendor's ROM FS!" + bytes(image[32:])
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(wrong), Limits())
    flagged = bytearray(wrong)
    struct.pack_into("<I", flagged, 8, 0x201)
    assert opened(bytes(flagged)).detail["flags"] == "fsid_v2 wrong_signature"
    struct.pack_into("<I", image, 8, 0x10001)
    with pytest.raises(Unsupported):
        FORMAT.open(BytesSource(bytes(image)), Limits())


def test_a_directory_that_holds_itself_ends() -> None:
    image = bytearray(written(1, {b"loop": (0o040755, 16, b"")}))
    struct.pack_into("<I", image, 76 + 8, 1 | 76 // 4 << 6)
    found = list(opened(bytes(image)).entries())
    assert [item.path for item in found if isinstance(item, Entry)] == [b"", b"loop", b"loop/loop"]
    assert any(isinstance(item, Problem) and "already" in item.detail for item in found)


@needs_tool
@pytest.mark.parametrize("name", ["plain", "big endian", "blocks of 64 KiB"])
def test_hostile(images: dict[str, bytes], name: str) -> None:
    for hot in (range(76), range(76, 400), range(400, len(images[name]))):
        for broken in mangled(images[name], seed=hot.start, count=60, hot=hot):
            survives(FORMAT, broken)


def test_many_files_of_one_table_cost_little() -> None:
    files = {b"%04d" % number: (0o100644, (1 << 24) - 1, b"") for number in range(4000)}
    image = bytearray(written(1, files))
    for number in range(4000):
        struct.pack_into("<I", image, 76 + 16 * number + 8, 1 | (76 + 16 * number) // 4 << 6)

    def work() -> None:
        for item in opened(bytes(image)).entries():
            if isinstance(item, Entry) and item.locator is not None:
                try:
                    list(opened(bytes(image)).open(item.locator))
                except UnpackError:
                    continue

    bounded(work, 15)
