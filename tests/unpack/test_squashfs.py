from __future__ import annotations

import io
import os
import random
import shutil
import stat
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    LimitReached,
    Limits,
    Malformed,
    Problem,
    Reader,
    Truncated,
    UnpackError,
    Unsupported,
)
from assay.unpack.squashfs import FORMAT

from ..support.hostile import bounded, mangled, survives

pytestmark = pytest.mark.skipif(shutil.which("mksquashfs") is None, reason="needs mksquashfs 4.5 or later")

COMPRESSORS = ("gzip", "lzma", "lzo", "xz", "lz4", "zstd")
TIME = 1_700_000_000
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
WORDS = random.Random(5).randbytes(3000) + b"the quick brown fox " * 20_000
NOISE = random.Random(6).randbytes(300_000)

FILES = {
    b"bin/su": b"\x7fELF" + b"su" * 700,
    b"etc/secret": b"not for everyone",
    b"etc/empty": b"",
    b"usr/words": WORDS,
    b"usr/noise": NOISE,
    b"usr/hole": b"begin" + bytes(1 << 20) + b"end",
    b"usr/line\nbreak": b"newline",
    b"usr/caf\xe9": b"latin1",
    b"usr/ping": b"ping",
}


def tree_tar() -> bytes:
    """Return a tar of a tree with everything that a root file system may hold and an ordinary user cannot create."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:

        def add(name: bytes, kind: bytes, mode: int, data: bytes = b"", **more: object) -> None:
            item = tarfile.TarInfo(os.fsdecode(name))
            item.type, item.mode, item.mtime, item.size = kind, mode, TIME, len(data)
            for key, value in more.items():
                setattr(item, key, value)
            archive.addfile(item, io.BytesIO(data))

        for name in (b"bin", b"dev", b"etc", b"usr", b"usr/deep", b"usr/deep/er"):
            add(name, tarfile.DIRTYPE, 0o755)
        add(b"tmp", tarfile.DIRTYPE, 0o1777)
        for name, data in FILES.items():
            mode = {b"bin/su": 0o4755, b"etc/secret": 0}.get(name, 0o644)
            uid, gid = (1234, 5678) if name == b"etc/secret" else (0, 0)
            headers = {}
            if name == b"usr/ping":
                headers = {
                    "SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1"),
                    "SCHILY.xattr.user.note": "n",
                }
            if name == b"usr/words":
                headers = {"SCHILY.xattr.user.note": "n"}
            if name == b"usr/noise":
                headers = {"SCHILY.xattr.user.long": "v" * 5000, "SCHILY.xattr.trusted.x": "t"}
            if name == b"usr/hole":  # a value that is already stored is referred to
                headers = {"SCHILY.xattr.user.long": "v" * 5000}
            add(name, tarfile.REGTYPE, mode, data, uid=uid, gid=gid, pax_headers=headers)
        add(b"bin/ls", tarfile.LNKTYPE, 0o755, linkname="bin/su")
        add(b"usr/abs", tarfile.SYMTYPE, 0o777, linkname="/etc/shadow")
        add(b"usr/escape", tarfile.SYMTYPE, 0o777, linkname="../../../../etc/passwd")
        add(b"usr/loop", tarfile.SYMTYPE, 0o777, linkname="loop")
        add(b"dev/console", tarfile.CHRTYPE, 0o600, devmajor=5, devminor=1)
        add(b"dev/nvme", tarfile.BLKTYPE, 0o660, gid=6, devmajor=259, devminor=300)
        add(b"dev/pipe", tarfile.FIFOTYPE, 0o622)
    return buffer.getvalue()


def from_tar(path: Path, tar: bytes, *options: str) -> bytes:
    path.unlink(missing_ok=True)
    command = ["mksquashfs", "-", path, "-tar", "-no-progress", *options]
    subprocess.run(command, input=tar, check=True, capture_output=True)
    return path.read_bytes()


def mksquashfs(path: Path, tree: Path, *options: str) -> bytes:
    command = ["mksquashfs", tree, path, "-no-progress", "-noappend", *options]
    subprocess.run(command, check=True, capture_output=True)
    return path.read_bytes()


def opened(data: bytes, limits: Limits | None = None) -> Reader:
    reader = identify(BytesSource(data), limits or Limits())
    assert reader is not None
    assert reader.format is FORMAT
    return reader


def listed(data: bytes) -> dict[bytes, Entry]:
    found = {}
    for entry in opened(data).entries():
        assert isinstance(entry, Entry), entry
        found[entry.path] = entry
    return found


def contents(data: bytes) -> dict[bytes, bytes | str]:
    """Return each regular file's bytes by a fresh reader, or why they could not be read."""
    found: dict[bytes, bytes | str] = {}
    for entry in opened(data).entries():
        if isinstance(entry, Entry) and entry.locator is not None:
            try:
                found[entry.path] = b"".join(opened(data).open(entry.locator))
            except UnpackError as error:
                found[entry.path] = error.reason
    return found


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tree in every compressor."""
    home = tmp_path_factory.mktemp("squashfs")
    tar = tree_tar()
    return {name: from_tar(home / name, tar, "-comp", name) for name in COMPRESSORS}


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_everything_is_kept_as_stated(images: dict[str, bytes], compressor: str) -> None:
    found = listed(images[compressor])
    linked = found[b"bin/su"]
    assert linked.locator == found[b"bin/ls"].locator
    assert linked.inode == found[b"bin/ls"].inode
    kept = {
        name: (e.type, e.mode, e.uid, e.gid, e.nlink, e.size, e.link, e.device, e.xattrs) for name, e in found.items()
    }
    capability = {"security.capability": CAPABILITY, "user.note": b"n"}
    assert kept.pop(b"")[0] == "directory"
    long = b"v" * 5000
    assert kept == {
        b"bin": ("directory", 0o755, 0, 0, 2, None, None, None, {}),
        b"bin/ls": ("regular", 0o4755, 0, 0, 2, 1404, None, None, {}),
        b"bin/su": ("regular", 0o4755, 0, 0, 2, 1404, None, None, {}),
        b"dev": ("directory", 0o755, 0, 0, 2, None, None, None, {}),
        b"dev/console": ("chardev", 0o600, 0, 0, 1, None, None, (5, 1), {}),
        b"dev/nvme": ("blockdev", 0o660, 0, 6, 1, None, None, (259, 300), {}),
        b"dev/pipe": ("fifo", 0o622, 0, 0, 1, None, None, None, {}),
        b"etc": ("directory", 0o755, 0, 0, 2, None, None, None, {}),
        b"etc/empty": ("regular", 0o644, 0, 0, 1, 0, None, None, {}),
        b"etc/secret": ("regular", 0, 1234, 5678, 1, 16, None, None, {}),
        b"tmp": ("directory", 0o1777, 0, 0, 2, None, None, None, {}),
        b"usr": ("directory", 0o755, 0, 0, 3, None, None, None, {}),
        b"usr/abs": ("symlink", 0o777, 0, 0, 1, None, b"/etc/shadow", None, {}),
        b"usr/caf\xe9": ("regular", 0o644, 0, 0, 1, 6, None, None, {}),
        b"usr/deep": ("directory", 0o755, 0, 0, 3, None, None, None, {}),
        b"usr/deep/er": ("directory", 0o755, 0, 0, 2, None, None, None, {}),
        b"usr/escape": ("symlink", 0o777, 0, 0, 1, None, b"../../../../etc/passwd", None, {}),
        b"usr/hole": ("regular", 0o644, 0, 0, 1, (1 << 20) + 8, None, None, {"user.long": long}),
        b"usr/line\nbreak": ("regular", 0o644, 0, 0, 1, 7, None, None, {}),
        b"usr/loop": ("symlink", 0o777, 0, 0, 1, None, b"loop", None, {}),
        b"usr/noise": ("regular", 0o644, 0, 0, 1, 300_000, None, None, {"user.long": long, "trusted.x": b"t"}),
        b"usr/ping": ("regular", 0o644, 0, 0, 1, 4, None, None, capability),
        b"usr/words": ("regular", 0o644, 0, 0, 1, len(WORDS), None, None, {"user.note": b"n"}),
    }
    assert {e.mtime for name, e in found.items() if name} == {TIME * 10**9}
    assert opened(images[compressor]).declared == len(found) - 1  # bin/ls is bin/su


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_contents_need_no_listing(images: dict[str, bytes], compressor: str) -> None:
    assert contents(images[compressor]) == FILES | {b"bin/ls": FILES[b"bin/su"]}


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_header_is_kept(images: dict[str, bytes], compressor: str) -> None:
    detail = opened(images[compressor]).detail
    assert (detail["version"], detail["compression"], detail["block_size"]) == ("4.0", compressor, 131072)


def test_listing_order_is_stable_and_directories_come_first(images: dict[str, bytes]) -> None:
    reader = opened(images["gzip"])
    first, again = list(reader.entries()), list(reader.entries())
    assert first == again
    seen: set[bytes] = set()
    for entry in first:
        assert not entry.path or entry.path.rpartition(b"/")[0] in seen
        seen.add(entry.path)


@pytest.mark.parametrize(
    "options",
    [
        ("-comp", "xz", "-Xbcj", "x86,arm,armthumb,powerpc", "-Xdict-size", "100%"),
        ("-comp", "gzip", "-Xcompression-level", "1", "-Xwindow-size", "8", "-Xstrategy", "default,filtered,fixed"),
        ("-comp", "lz4", "-Xhc"),
        ("-comp", "lzo", "-Xalgorithm", "lzo1x_1_11"),
        ("-comp", "zstd", "-Xcompression-level", "19"),
        ("-noI", "-noD", "-noF", "-noX"),
        ("-no-fragments",),
        ("-always-use-fragments",),
        ("-b", "4096"),
        ("-b", "1048576", "-comp", "xz"),
        ("-no-exports", "-nopad"),
        ("-no-sparse", "-no-duplicates"),
    ],
)
def test_every_layout(tmp_path: Path, options: tuple[str, ...]) -> None:
    data = from_tar(tmp_path / "image", tree_tar(), *options)
    assert contents(data) == FILES | {b"bin/ls": FILES[b"bin/su"]}
    assert explained(data) == len(data)


def test_options_are_kept(tmp_path: Path) -> None:
    data = from_tar(
        tmp_path / "image", tree_tar(), "-comp", "xz", "-Xbcj", "x86,arm", "-Xdict-size", "8192", "-b", "8192"
    )
    detail = opened(data).detail
    assert (detail["option_dictionary_size"], detail["option_filters"]) == (8192, "x86 arm")


def explained(data: bytes) -> int:
    """Return how many bytes from the start on are claimed without a gap."""
    reader = opened(data)
    list(reader.entries())
    end = 0
    for claim in sorted(reader.claims(), key=lambda claim: claim.offset):
        if claim.offset > end:
            break
        end = max(end, claim.offset + claim.length)
    return end


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_claims_cover_the_image_and_its_padding(images: dict[str, bytes], compressor: str) -> None:
    assert explained(images[compressor]) == len(images[compressor])


def test_claims_leave_what_follows(images: dict[str, bytes]) -> None:
    data = images["gzip"]
    used = int.from_bytes(data[40:48], "little")
    assert explained(data + b"appended") == len(data)
    assert explained(data[:used] + b"hidden in the padding") == used


def test_claims_leave_blocks_that_no_file_has(tmp_path: Path) -> None:
    data = bytearray(from_tar(tmp_path / "image", tree_tar(), "-noI", "-no-fragments", "-no-duplicates"))
    entry = listed(bytes(data))[b"usr/noise"]
    span = opened(bytes(data)).span(entry.locator or 0)
    assert span is not None
    # the inode of usr/noise: make its size 0, so that its blocks become nobody's
    at = data.index(struct.pack("<QQ", span[0], 300_000))
    data[at + 8 : at + 16] = bytes(8)
    reader = opened(bytes(data))
    list(reader.entries())
    claimed = [claim for claim in reader.claims() if claim.offset < span[0] + span[1] <= claim.offset + claim.length]
    assert claimed == []


def test_a_real_tree_with_a_socket(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    expected: dict[bytes, bytes] = {}
    chance = random.Random(3)
    for number in range(900):  # several metadata blocks and runs of 256 names
        data = chance.randbytes(20) * chance.choice((1, 40, 700))
        (tree / f"file-{number:05}").write_bytes(data)
        expected[f"file-{number:05}".encode()] = data
    (tree / "big").write_bytes(WORDS * 10)
    expected[b"big"] = WORDS * 10
    (tree / "file-00007").chmod(0o6711)
    pseudo = (
        "-p",
        "socket i 600 0 0 s",
        "-p",
        "dev d 755 0 0",
        "-p",
        "dev/sda b 640 0 6 8 0",
        "-p",
        "secret f 000 1234 5678 echo hush",
    )
    data = mksquashfs(tmp_path / "image", tree, "-comp", "gzip", *pseudo)
    found = listed(data)
    assert contents(data) == expected | {b"secret": b"hush\n"}
    assert (found[b"secret"].mode, found[b"secret"].uid, found[b"secret"].gid) == (0, 1234, 5678)
    assert (found[b"dev/sda"].type, found[b"dev/sda"].device) == ("blockdev", (8, 0))
    assert found[b"socket"].type == "socket"
    assert found[b"file-00007"].mode == 0o6711
    for name in expected:
        status = (tree / os.fsdecode(name)).stat()
        assert (found[name].mode, found[name].uid) == (stat.S_IMODE(status.st_mode), status.st_uid)
    assert opened(data).declared == len(found)


def test_spans_lie_in_the_source(tmp_path: Path) -> None:
    data = from_tar(tmp_path / "image", tree_tar(), "-noD", "-noF")
    reader, spans = opened(data), {}
    for name, entry in listed(data).items():
        if entry.locator is not None:
            span = reader.span(entry.locator)
            if span:
                assert data[span[0] : sum(span)] == FILES[b"bin/su" if name == b"bin/ls" else name]
                spans[name] = span
    assert set(spans) >= {b"usr/caf\xe9", b"etc/secret"}
    assert b"usr/hole" not in spans


def test_stored_digests_tell_contents_apart_and_need_no_decoding(tmp_path: Path, images: dict[str, bytes]) -> None:
    def digests(data: bytes) -> dict[bytes, bytes]:
        reader = opened(data)
        found = {name: reader.stored(e.locator) for name, e in listed(data).items() if e.locator is not None}
        return {name: digest for name, digest in found.items() if digest}

    one = digests(images["xz"])
    assert one[b"bin/su"] == one[b"bin/ls"]
    assert len(set(one.values())) == len(FILES)
    same = digests(from_tar(tmp_path / "same", tree_tar(), "-comp", "xz", "-all-time", "1", "-noI"))
    assert same == one
    other = digests(images["gzip"])
    assert {name for name in one if one[name] == other[name]} == set()


def test_versions_that_do_not_exist_are_named() -> None:
    def head(magic: bytes, form: str, major: int, minor: int) -> bytes:
        return (magic + bytes(24) + struct.pack(form, major, minor)).ljust(4096, b"\0")

    for data, text in (
        (head(b"sqsh", ">HH", 3, 7), "squashfs 3.7, big endian"),
        (head(b"hsqs", "<HH", 4, 1), "squashfs 4.1"),
        (head(b"hsqs", "<HH", 1, 1), "squashfs 1.1"),
    ):
        with pytest.raises(Unsupported, match=f"^{text}$"):
            identify(BytesSource(data), Limits())
    for data in (head(b"sqsh", ">HH", 0, 0), head(b"hsqs", "<HH", 99, 0), b"hsqs", b"hsqs" + bytes(90)):
        assert identify(BytesSource(data), Limits()) is None


@pytest.mark.parametrize(
    ("offset", "form", "value", "error"),
    [
        (22, "<H", 31, Malformed),  # block_log
        (12, "<I", 0x80000000, Malformed),  # block_size
        (40, "<Q", 5, Malformed),  # bytes_used
    ],
)
def test_impossible_superblocks(images: dict[str, bytes], offset: int, form: str, value: int, error: type) -> None:
    data = bytearray(images["gzip"])
    struct.pack_into(form, data, offset, value)
    with pytest.raises(error):
        identify(BytesSource(bytes(data)), Limits())


@pytest.mark.parametrize("offset", [4, 16, 26, 32, 40, 48, 56, 64, 72, 80, 88])
@pytest.mark.parametrize("value", [0, 0xFFFFFFFFFFFFFFFF, 0x7FFFFFFF, 97])
def test_extreme_superblock_fields(images: dict[str, bytes], offset: int, value: int) -> None:
    data = bytearray(images["gzip"])
    width = {4: 4, 16: 4, 26: 2}.get(offset, 8)
    data[offset : offset + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
    survives(FORMAT, bytes(data))


def test_fewer_inodes_than_declared_are_counted(images: dict[str, bytes]) -> None:
    data = bytearray(images["gzip"])
    count = int.from_bytes(data[4:8], "little")
    struct.pack_into("<I", data, 4, 0xFFFFFFFF)
    missing = 0xFFFFFFFF - count
    assert [item for item in opened(bytes(data)).entries() if isinstance(item, Problem)] == [
        Problem("malformed", f"{missing} of {0xFFFFFFFF} inodes not found in any directory", b"", missing)
    ]


def test_truncated_images_list_what_is_there(tmp_path: Path, images: dict[str, bytes]) -> None:
    data = images["gzip"]
    used = int.from_bytes(data[40:48], "little")
    # Only the last bytes are gone: attributes' table or owners, nothing that listing needs.
    items = list(opened(data[: used - 3]).entries())
    problems = [item for item in items if isinstance(item, Problem)]
    assert problems[-1] == Problem(
        "truncated", f"superblock declares {used} bytes, the source has {used - 3}; 0 inodes not found", b"", 0
    )
    assert len([item for item in items if isinstance(item, Entry)]) == len(listed(data))
    with pytest.raises(Truncated):
        list(opened(data[: used // 2]).entries())
    # Data blocks are gone where a window's size lies: files before the cut are read, later ones are truncated.
    broken = bytearray(data)
    start = int.from_bytes(data[64:72], "little")
    broken[start - 60_000 : start] = bytes(60_000)
    reasons = {value for value in contents(bytes(broken)).values() if isinstance(value, str)}
    assert reasons == {"malformed"}


def metadata(payload: bytes) -> bytes:
    """Return metadata blocks, stored as they are."""
    parts = [payload[at : at + 8192] for at in range(0, len(payload), 8192)]
    return b"".join(struct.pack("<H", 0x8000 | len(part)) + part for part in parts)


def crafted(inodes: bytes, directories: bytes, root: int, *, count: int = 3, data: bytes = b"", size: int = 0) -> bytes:
    """Return an image made of raw tables; owner 0 only, no fragments."""
    inode_table = 96 + len(data)
    body = data + metadata(inodes)
    directory_table = 96 + len(body)
    body += metadata(directories)
    ids = 96 + len(body)
    body += metadata(bytes(4))
    id_table = 96 + len(body)
    body += struct.pack("<Q", ids)
    none = 0xFFFFFFFFFFFFFFFF
    head = struct.pack(
        "<4s4I6H8Q", b"hsqs", count, TIME, 1 << 17, 0, 1, 17, 0x213, 1, 4, 0, root, size or 96 + len(body),
        id_table, none, inode_table, directory_table, none, none,
    )  # fmt: skip
    return head + body


def directory_inode(number: int, size: int, offset: int = 0) -> bytes:
    return struct.pack("<HHHHIIIIHHI", 1, 0o755, 0, 0, TIME, number, 0, 2, size + 3, offset, 1)


def names(*entries: tuple[int, bytes]) -> bytes:
    """Return one run of directory entries: (offset of the inode in block 0, name)."""
    rows = b"".join(struct.pack("<HhHH", at, 0, 1, len(name) - 1) + name for at, name in entries)
    return struct.pack("<III", len(entries) - 1, 0, 1) + rows


def test_cycles_end() -> None:
    listing = names((0, b"self"), (32, b"child"))
    inner = names((0, b"up"))
    image = crafted(
        directory_inode(1, len(listing)) + directory_inode(2, len(inner), len(listing)), listing + inner, 0, count=2
    )
    items = list(opened(image).entries())
    assert [item.path for item in items if isinstance(item, Entry)] == [b"", b"self", b"child", b"child/up"]
    again = "directory inode 0 was already listed at another place"
    assert [item for item in items if isinstance(item, Problem)] == [
        Problem("malformed", again, b"self", 0),
        Problem("malformed", again, b"child/up", 0),
    ]


def test_depth_is_bounded() -> None:
    # Every 32 bytes an inode of a directory whose one entry is the next: 3000 deep, names of 200 bytes.
    count = 3000
    listing = b""
    inodes = b""
    for number in range(count):
        at = (number + 1) * 32
        start = at // 8192 * 8194
        row = struct.pack("<III", 0, start, 1) + struct.pack("<HhHH", at % 8192, 0, 1, 199) + b"n" * 200
        place = len(listing)
        block, offset = place // 8192 * 8194, place % 8192
        inodes += struct.pack("<HHHHIIIIHHI", 1, 0o755, 0, 0, TIME, number + 1, block, 2, len(row) + 3, offset, 1)
        listing += row
    image = crafted(inodes, listing, 0, count=count)
    items: list[Entry | Problem] = []
    bounded(lambda: items.extend(opened(image).entries()), 1.0)
    assert [item.reason for item in items if isinstance(item, Problem)] == ["limit", "malformed"]
    assert max(len(item.path) for item in items) < 17_000


def test_entries_are_limited(images: dict[str, bytes]) -> None:
    reader = opened(images["gzip"], Limits(entries=10))
    with pytest.raises(LimitReached, match="entries 10"):
        list(reader.entries())


def test_a_sparse_giant_is_not_made_real() -> None:
    # one file of 2^40 bytes, its block list cut off: zeros come lazily and stop at a limit or at the end of the table
    file = struct.pack("<HHHHIIQQQIIII", 9, 0o644, 0, 0, TIME, 2, 96, 1 << 40, 0, 1, 0xFFFFFFFF, 0, 0xFFFFFFFF)
    listing = names((32, b"giant"))
    image = crafted(directory_inode(1, len(listing)) + file + bytes(1 << 20), listing, 0)
    entry = next(e for e in opened(image).entries() if isinstance(e, Entry) and e.path == b"giant")
    assert entry.size == 1 << 40
    with pytest.raises(LimitReached, match="ratio"):
        for chunk in opened(image, Limits(ratio_from=64 << 20, ratio=100)).open(entry.locator or 0):
            assert len(chunk) <= 1 << 20


def test_attribute_loops_end(images: dict[str, bytes]) -> None:
    # Every attribute refers to itself as its own value, as often as a 32-bit count allows.
    base = sqfs_with_attributes(struct.pack("<HH1sIQ", 0x100, 1, b"a", 8, 5), count=0xFFFFFFFF)
    items: list[Entry | Problem] = []
    bounded(lambda: items.extend(opened(base).entries()), 2.0)
    assert [type(item) for item in items] == [Entry, Problem]
    survives(FORMAT, base)


def sqfs_with_attributes(pairs: bytes, count: int) -> bytes:
    directory = struct.pack("<HHHHIIIIIIHHI", 8, 0o755, 0, 0, TIME, 1, 2, 3, 0, 1, 0, 0, 0)
    image = bytearray(crafted(directory, bytes(16), 0, count=1))
    start = len(image)
    image += metadata(pairs)
    records = len(image)
    image += metadata(struct.pack("<QII", 0, count, len(pairs)))
    table = len(image)
    image += struct.pack("<QIIQ", start, 1, 0, records)
    struct.pack_into("<Q", image, 40, len(image))
    struct.pack_into("<Q", image, 56, table)
    return bytes(image)


def test_attributes_in_and_out_of_line() -> None:
    pairs = struct.pack("<HH1sI2s", 2, 1, b"a", 2, b"xy") + struct.pack("<HH1sIQ", 0x101, 1, b"b", 8, 5)
    (root,) = opened(sqfs_with_attributes(pairs, 2)).entries()
    assert isinstance(root, Entry)
    assert root.xattrs == {"security.a": b"xy", "trusted.b": b"xy"}


def test_a_reference_to_a_value_has_eight_bytes() -> None:
    for length in (0, 7, 9):
        image = sqfs_with_attributes(struct.pack("<HH1sI", 0x100, 1, b"a", length) + bytes(length), 1)
        assert [type(item) for item in opened(image).entries()] == [Entry, Problem]


def test_claims_name_the_parts(tmp_path: Path) -> None:
    file = struct.pack("<HHHHIIIIII", 2, 0o644, 0, 0, TIME, 2, 96, 0xFFFFFFFF, 0, 5) + struct.pack("<I", 1 << 24 | 5)
    listing = names((32, b"five"))
    image = crafted(directory_inode(1, len(listing)) + file, listing, 0, count=2, data=b"12345gap")
    reader = opened(image)
    items = list(reader.entries())
    assert not [item for item in items if isinstance(item, Problem)]
    assert b"".join(reader.open(32)) == b"12345"
    assert reader.span(32) == (96, 5)
    end = len(image)
    assert sorted(reader.claims(), key=lambda claim: claim.offset) == [
        Claim(0, 96, "superblock"),
        Claim(96, 5, "data"),
        Claim(104, 70, "inode table"),
        Claim(174, 2 + len(listing), "directory table"),
        Claim(end - 14, 14, "id table"),
    ]


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_damaged_images(images: dict[str, bytes], compressor: str) -> None:
    data = images[compressor]
    tables = int.from_bytes(data[64:72], "little")
    for broken in mangled(data, seed=11, count=40, hot=range(tables, len(data) - 3000)):
        survives(FORMAT, broken)
    for broken in mangled(data, seed=12, count=12):
        survives(FORMAT, broken)


def test_damaged_tables_that_decode(tmp_path: Path) -> None:
    data = from_tar(tmp_path / "image", tree_tar(), "-noI", "-noX", "-noF", "-noD", "-b", "4096")
    tables = int.from_bytes(data[64:72], "little")
    for broken in mangled(data, seed=13, count=200, hot=range(tables, len(data) - 3000)):
        survives(FORMAT, broken)


def test_damage_costs_what_is_damaged(images: dict[str, bytes]) -> None:
    """Flip one byte of every data block of a large file: all others are read, and this one says why it is not."""
    data = bytearray(images["xz"])
    span = int.from_bytes(data[64:72], "little")
    for at in range(1000, span - 50_000, 30_000):
        data[at] ^= 0x55
    found = contents(bytes(data))
    lost = {name for name, value in found.items() if value == "malformed"}
    assert found.keys() == FILES.keys() | {b"bin/ls"}
    assert lost
    # Noise is stored as it is, and the format has no checksum that could tell.
    assert all(found[name] == FILES[name] for name in FILES.keys() - lost - {b"usr/noise"})
