from __future__ import annotations

import lzma
import os
import random
import shutil
import stat
import struct
import subprocess
import zlib
from contextlib import suppress
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
    NotThisFormat,
    Problem,
    Reader,
    UnpackError,
    Unsupported,
    Window,
)
from assay.unpack.jffs2 import FORMAT

from ..support.hostile import bounded, mangled, survives

TOOLS = "/usr/sbin:/sbin:/usr/bin:/bin"
MKFS, SUMTOOL, READER = (shutil.which(name, path=TOOLS) for name in ("mkfs.jffs2", "sumtool", "jffs2reader"))
needs_mkfs = pytest.mark.skipif(MKFS is None, reason="mkfs.jffs2 is not installed")

NOISE = random.Random(6).randbytes(70_001)
FILES = {
    b"bin/su": b"\x7fELF" + b"su" * 9000,
    b"etc/empty": b"",
    b"etc/short": b"short",
    b"etc/caf\xe9": b"latin1",
    b"etc/line\nbreak": b"newline",
    b"etc/rtime": b"".join(bytes([n]) * 200 for n in range(60)) + b"ab" * 900,
    b"usr/noise": NOISE,
    b"usr/text": b"the quick brown fox " * 5000,
}
DEVICES = """/dev d 750 12 13 - - - - -
/dev/console c 600 0 5 5 1 0 0 -
/dev/disk b 660 0 6 8 17 0 0 -
/dev/whiteout c 0 0 0 0 0 0 0 -
/dev/pipe p 622 0 0 - - - - -
/bin/su f 4755 1234 60000 - - - - -
/tmp d 1777 0 0 - - - - -
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tree")
    for name, data in FILES.items():
        path = home / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (home / "many").mkdir()
    for number in range(150):
        (home / "many" / f"a-file-with-a-rather-long-name-{number:04}").touch()
    (home / "usr/abs").symlink_to("/etc/shadow")
    (home / "usr/escape").symlink_to("../../../../etc/passwd")
    (home / "usr/long").symlink_to("/" + "x" * 200)
    (home / "tmp").mkdir()
    for path in [*home.rglob("*"), home]:
        os.utime(path, ns=(1_000_000_000, 77_000_000_000), follow_symlinks=False)
    return home


def mkfs(tree: Path, folder: Path, *options: str) -> bytes:
    (folder / "devices").write_text(DEVICES)
    command = [MKFS or "", "-D", str(folder / "devices"), "-r", str(tree), "-o", str(folder / "image"), *options]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "image").read_bytes()


@pytest.fixture(scope="module")
def image(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return mkfs(tree, tmp_path_factory.mktemp("image"), "-l", "-p")


def opened(data: bytes, limits: Limits | None = None) -> Reader:
    reader = identify(BytesSource(data), limits or Limits())
    assert reader is not None
    assert reader.format is FORMAT
    return reader


def listed(data: bytes) -> dict[bytes, Entry]:
    return {item.path: item for item in opened(data).entries() if isinstance(item, Entry)}


def problems(data: bytes) -> list[Problem]:
    return [item for item in opened(data).entries() if isinstance(item, Problem)]


def body(data: bytes, entry: Entry) -> bytes:
    assert entry.locator is not None
    return b"".join(opened(data).open(entry.locator))


@needs_mkfs
@pytest.mark.parametrize(
    "options",
    [
        ("-l",),
        ("-b", "-e", "16KiB", "-n"),
        ("-l", "-m", "none"),
        ("-b", "-X", "lzo", "-x", "zlib", "-x", "rtime"),
        ("-b", "-x", "zlib"),
        ("-l", "-s", "65536", "-e", "256KiB"),
        ("-b", "-c", "20", "-p", "-X", "lzo", "-m", "size"),
    ],
)
def test_everything_is_kept_as_stated(options: tuple[str, ...], tree: Path, tmp_path: Path) -> None:
    data = mkfs(tree, tmp_path, *options)
    assert problems(data) == []
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
            status.st_uid & 0xFFFF,
            status.st_gid & 0xFFFF,
            os.fsencode(path.readlink()) if kind == "symlink" else None,
            status.st_size if kind == "regular" else None,
            None,
        )
    expected[b"bin/su"] = ("regular", 0o4755, 1234, 60000, None, len(FILES[b"bin/su"]), None)
    expected[b"tmp"] = ("directory", 0o1777, 0, 0, None, None, None)
    expected[b"dev"] = ("directory", 0o750, 12, 13, None, None, None)
    expected[b"dev/console"] = ("chardev", 0o600, 0, 5, None, None, (5, 1))
    expected[b"dev/disk"] = ("blockdev", 0o660, 0, 6, None, None, (8, 17))
    expected[b"dev/whiteout"] = ("chardev", 0, 0, 0, None, None, (0, 0))
    expected[b"dev/pipe"] = ("fifo", 0o622, 0, 0, None, None, None)
    root = found.pop(b"")
    assert (root.type, root.mode) == ("directory", None)
    kept = {path: (e.type, e.mode, e.uid, e.gid, e.link, e.size, e.device) for path, e in found.items()}
    assert kept == expected
    assert found[b"etc/short"].mtime == 77 * 10**9
    for name, content in FILES.items():
        assert body(data, found[name]) == content
    reader = opened(data)
    assert reader.detail["byte_order"] == ("little" if "-l" in options else "big")
    assert sum(claim.length for claim in reader.claims()) == len(data)
    wanted = (
        {"none"} if "none" in options else {"lzo"} if "rtime" in options else {"rtime"} if "-x" in options else {"zlib"}
    )
    assert wanted <= set(str(reader.detail["compression"]).split())


@needs_mkfs
@pytest.mark.skipif(READER is None, reason="jffs2reader is not installed")
def test_jffs2reader_reads_the_same(image: bytes, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(image)
    seen = set()
    for name in FILES:
        done = subprocess.run([READER or "", "-f", name, tmp_path / "image"], capture_output=True)
        # It does not find what is in the first directory, whose entry has version 0, and reads the first page right.
        if done.returncode == 0:
            assert done.stdout[:4096] == body(image, listed(image)[name])[:4096], name
            seen.add(name)
    assert len(seen) > 2


@needs_mkfs
@pytest.mark.skipif(SUMTOOL is None, reason="sumtool is not installed")
@pytest.mark.parametrize("order", ["-l", "-b"])
def test_summaries(order: str, tree: Path, tmp_path: Path) -> None:
    data = mkfs(tree, tmp_path, order, "-p")
    command = [SUMTOOL or "", order, "-p", "-i", str(tmp_path / "image"), "-o", str(tmp_path / "summed")]
    subprocess.run(command, check=True, capture_output=True)
    summed = (tmp_path / "summed").read_bytes()
    assert listed(summed) == listed(data)
    reader = opened(summed)
    assert problems(summed) == []
    assert reader.detail["summaries"] == len(summed) // 65536 - 1
    assert reader.detail["erase_size"] == 65536
    assert sum(claim.length for claim in reader.claims()) == len(summed)
    assert {claim.what for claim in reader.claims()} >= {"nodes", "summary", "clean marker"}


@needs_mkfs
def test_inside_something_bigger_it_claims_its_own_extent(image: bytes, tree: Path, tmp_path: Path) -> None:
    other = mkfs(tree, tmp_path, "-b", "-p")
    for after in (
        b"\xde\xad\xc0\xde" + bytes(90_000),
        NOISE,
        bytes(400_000),
        b"hsqs" + NOISE * 5 + image,
        other,
        image,
    ):
        whole = b"\x5a" * 332 + image + after
        reader = FORMAT.open(Window(BytesSource(whole), 332, len(whole)), Limits())
        assert list(reader.entries()) == list(opened(image).entries())
        claims = reader.claims()
        assert claims == opened(image).claims()
        assert max(claim.offset + claim.length for claim in claims) == len(image)
    # Erased blocks after it may be its own, but nothing says so.
    reader = opened(image + b"\xff" * 300_000 + NOISE)
    assert max(claim.offset + claim.length for claim in reader.claims()) == len(image)


# What a kernel writes over time no tool here makes: an independent writer, from the structures in linux/jffs2.h.


def crc(data: bytes) -> int:
    return zlib.crc32(data, 0xFFFFFFFF) ^ 0xFFFFFFFF


def node(kind: int, rest: bytes, order: str = "<") -> bytes:
    """Return a node from what follows its header."""
    head = struct.pack(f"{order}HHL", 0x1985, kind, 12 + len(rest))
    raw = head + struct.pack(f"{order}L", crc(head)) + rest
    return raw + b"\xff" * (-len(raw) % 4)


def entry(parent: int, version: int, number: int, name: bytes, order: str = "<") -> bytes:
    raw = node(0xE001, struct.pack(f"{order}LLLLBB2xLL", parent, version, number, 9, len(name), 8, 0, crc(name)) + name)
    if order == ">":
        raw = node(
            0xE001, struct.pack(">LLLLBB2xLL", parent, version, number, 9, len(name), 8, 0, crc(name)) + name, ">"
        )
    return raw[:32] + struct.pack(f"{order}L", crc(raw[:32])) + raw[36:]


def inode(
    number: int,
    version: int,
    data: bytes = b"",
    *,
    at: int = 0,
    size: int = 0,
    mode: int = 0o100644,
    how: int = 0,
    decoded: int | None = None,
    order: str = "<",
) -> bytes:
    length = len(data) if decoded is None else decoded
    fixed = (number, version, mode, 1, 2, size, 3, 4, 5, at, len(data), length, how, how, 0, crc(data), 0)
    raw = node(0xE002, struct.pack(f"{order}LLLHHLLLLLLLBBHLL", *fixed) + data, order)
    return raw[:64] + struct.pack(f"{order}L", crc(raw[:60])) + raw[68:]


def test_the_newest_version_counts() -> None:
    data = b"".join(
        [
            entry(1, 1, 10, b"file"),
            inode(10, 1, b"a" * 4000, at=0, size=4000),
            inode(10, 3, b"b" * 100, at=1000, size=9000),
            inode(10, 2, b"X" * 3000, at=500, size=4000),
            inode(10, 4, b"c" * 4, at=8000, size=9000),
            inode(10, 5, b"", at=100, size=9000, how=1, decoded=50),
            # Removed, and made again under another number; renamed; cut.
            entry(1, 2, 11, b"gone"),
            inode(11, 1, b"x", size=1),
            entry(1, 3, 0, b"gone"),
            entry(1, 4, 12, b"again"),
            inode(12, 1, b"old", size=3),
            entry(1, 5, 0, b"again"),
            entry(1, 6, 13, b"again"),
            inode(13, 2, b"", size=2),
            inode(13, 1, b"new", size=3),
            # Two names for one file, the first of them not the older one in place.
            entry(1, 8, 14, b"link"),
            entry(1, 7, 14, b"name"),
            inode(14, 1, b"linked", size=6),
            inode(14, 1, b"linked", size=6),
        ]
    )
    found = listed(data)
    assert list(found) == [b"", b"file", b"again", b"name", b"link"]
    content = bytearray(b"a" * 4000 + bytes(5000))
    content[500:3500] = b"X" * 3000
    content[1000:1100] = b"b" * 100
    content[100:150] = bytes(50)
    content[8000:8004] = b"cccc"
    assert body(data, found[b"file"]) == content
    assert body(data, found[b"again"]) == b"ne"
    assert found[b"name"].locator == found[b"link"].locator
    entry_ = found[b"file"]
    assert (entry_.uid, entry_.gid, entry_.atime, entry_.mtime, entry_.ctime) == (1, 2, 3 * 10**9, 4 * 10**9, 5 * 10**9)
    reader = opened(data)
    assert problems(data) == []
    list(reader.entries())
    assert reader.detail["unlinked_inodes"] == 2
    assert reader.claims() == [Claim(0, len(data), "nodes")]


@pytest.mark.parametrize("order", ["<", ">"])
def test_devices_and_extended_attributes(order: str) -> None:
    def attribute(number: int, version: int, prefix: int, name: bytes, value: bytes) -> bytes:
        data = name + b"\0" + value
        fixed = struct.pack(f"{order}LLBBHLL", number, version, prefix, len(name), len(value), crc(data), 0)
        raw = node(0xE008, fixed + data, order)
        return raw[:28] + struct.pack(f"{order}L", crc(raw[:28])) + raw[32:]

    def reference(owner: int, number: int, sequence: int) -> bytes:
        raw = node(0xE009, struct.pack(f"{order}LLLL", owner, number, sequence, 0), order)
        return raw[:24] + struct.pack(f"{order}L", crc(raw[:24]))

    new = (259 & 0xFFF) << 8 | 300 & 0xFF | (300 & ~0xFF) << 12
    data = b"".join(
        [
            entry(1, 1, 2, b"old", order),
            inode(2, 1, struct.pack(f"{order}H", 5 << 8 | 1), mode=0o020600, order=order),
            entry(1, 2, 3, b"new", order),
            inode(3, 1, struct.pack(f"{order}L", new), mode=0o060660, order=order),
            entry(1, 3, 4, b"odd", order),
            inode(4, 1, b"123", mode=0o020600, order=order),
            attribute(1, 1, 1, b"note", b"first"),
            attribute(1, 2, 1, b"note", b"second"),
            attribute(2, 1, 2, b"capability", b"\1\0\0\2" + bytes(16)),
            attribute(3, 1, 3, b"", b"acl"),
            attribute(4, 1, 5, b"overlay.opaque", b"y"),
            reference(2, 1, 2),
            reference(3, 1, 2),
            reference(3, 2, 4),
            reference(3, 3, 6),
            reference(3, 4, 8),
            reference(3, 4, 9),
            reference(4, 9, 2),
        ]
    )
    found = listed(data)
    assert found[b"old"].device == (5, 1)
    assert found[b"new"].device == (259, 300)
    assert found[b"old"].xattrs == {"user.note": b"second"}
    assert found[b"new"].xattrs == {
        "user.note": b"second",
        "security.capability": b"\1\0\0\2" + bytes(16),
        "system.posix_acl_access": b"acl",
    }
    assert [problem.detail for problem in problems(data)] == ["extended attributes: attribute 9 has no node"]
    assert found[b"odd"].device is None


def test_compressions_that_mkfs_does_not_write() -> None:
    text = b"lzma as OpenWrt patches it " * 150
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 8192, "lc": 0, "lp": 0, "pb": 0}]
    packed = lzma.compress(text, lzma.FORMAT_RAW, filters=filters)
    data = entry(1, 1, 2, b"lzma") + inode(2, 1, packed, how=8, decoded=len(text), size=len(text))
    data += entry(1, 2, 3, b"rubin") + inode(3, 1, b"?" * 40, how=3, decoded=90, size=90)
    data += entry(1, 3, 4, b"wrong") + inode(4, 1, b"?" * 40, how=6, decoded=90, size=90)
    data += entry(1, 4, 5, b"length") + inode(5, 1, zlib.compress(b"abc"), how=6, decoded=90, size=90)
    found = listed(data)
    assert body(data, found[b"lzma"]) == text
    with pytest.raises(Unsupported, match="compression rubinmips"):
        body(data, found[b"rubin"])
    with pytest.raises(Malformed, match="zlib"):
        body(data, found[b"wrong"])
    with pytest.raises(Malformed, match="decodes into 3 bytes, declares 90"):
        body(data, found[b"length"])
    assert opened(data).detail["compression"] == "rubinmips zlib lzma"


@needs_mkfs
def test_broken_nodes_cost_themselves_only(image: bytes) -> None:
    found = listed(image)
    noise = found[b"usr/noise"].inode
    places = [at for at in range(0, len(image), 4) if image[at : at + 4] == b"\x85\x19\x02\xe0"]
    mine = [at for at in places if image[at + 12 : at + 16] == struct.pack("<L", noise)]
    at = mine[4]
    data = bytearray(image)
    data[at + 68 + 9] ^= 1
    out = b""
    with pytest.raises(Malformed, match=f"the data of the node at offset {at} differs"):
        for chunk in opened(bytes(data)).open(noise or 0):
            out += chunk
    assert NOISE.startswith(out)
    assert len(out) == struct.unpack_from("<L", image, at + 44)[0]
    data = bytearray(image)
    data[at + 30] ^= 1  # the fields
    assert [problem.detail for problem in problems(bytes(data))] == [
        f"1 nodes have a wrong CRC, the first one is at offset {at}"
    ]
    data = bytearray(image)
    data[at + 5] ^= 1  # the header
    assert [problem.detail for problem in problems(bytes(data))] == [
        f"1 stretches hold neither nodes nor erased flash, the first one at offset {at}"
    ]
    assert listed(bytes(data)) == found
    data = bytearray(image)
    data[at + 3] &= 0xDF  # taken back in place, as on NOR flash
    assert problems(bytes(data)) == []
    assert opened(bytes(data)).detail["obsolete_nodes"] == 1
    assert any(claim.what == "obsolete nodes" for claim in opened(bytes(data)).claims())


@needs_mkfs
def test_cut_anywhere_yields_what_is_whole(image: bytes) -> None:
    whole = listed(image)
    for size in range(400, len(image), 9_973):
        cut = image[:size]
        found = listed(cut)
        for path in found:
            assert path == b"" or found[path] == whole[path] or path not in whole
        for path, content in FILES.items():
            if path in found:
                with suppress(UnpackError):
                    read = body(cut, found[path])
                    assert all(have in (want, 0) for have, want in zip(read, content, strict=True))


def test_only_looks_like_it() -> None:
    good = entry(1, 1, 2, b"x")
    for data in (
        b"",
        good[:11],
        good[:30],
        b"\x85\x19\x01\xe0" + bytes(100),
        node(0xE001, bytes(40)),
        node(0x2003, b"")[:8],
    ):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(data), Limits())
    assert list(listed(good)) == [b""]
    assert [problem.path for problem in problems(good)] == [b"x"]
    empty = node(0x2003, b"").ljust(65536, b"\xff") * 3
    assert list(listed(empty)) == [b""]
    assert sum(claim.length for claim in opened(empty).claims()) == len(empty)
    reader = opened(good)
    for locator in (None, "x", [0], 1, 2, -1):
        with pytest.raises(Malformed):
            list(reader.open(locator))  # type: ignore[arg-type]


def test_limits_and_loops() -> None:
    data = b"".join(entry(1, n, 2, b"%d" % n) for n in range(1, 60))
    with pytest.raises(LimitReached):
        FORMAT.open(BytesSource(data), Limits(metadata_bytes=10_000))
    loop = entry(1, 1, 2, b"sub") + inode(2, 1, mode=0o040755) + entry(2, 1, 2, b"self") + entry(2, 2, 1, b"root")
    assert [problem.detail for problem in problems(loop)] == [
        "directory inode 2 was already listed at another place",
        "directory inode 1 was already listed at another place",
    ]
    bomb = entry(1, 1, 2, b"big") + inode(2, 1, b"", how=1, decoded=0xFFFFFFFF, size=0xFFFFFFFF)
    with pytest.raises(LimitReached):
        for chunk in opened(bomb, Limits(ratio_from=1 << 20)).open(2):
            assert len(chunk) <= 1 << 20


def test_hostile() -> None:
    text = zlib.compress(b"text " * 300)
    data = node(0x2003, b"") + entry(1, 1, 2, b"dir") + inode(2, 1, mode=0o040755) + entry(2, 1, 3, b"file")
    data += inode(3, 1, text, how=6, decoded=1500, size=1500) + inode(3, 2, b"x" * 40, at=30, size=1500)
    data += entry(1, 2, 4, b"link") + inode(4, 1, b"dir/file", mode=0o120777) + b"\xff" * 400
    data += inode(3, 3, b"ab\0c\1", how=2, decoded=4, at=7, size=1500)
    for broken in mangled(data, count=1000):
        survives(FORMAT, broken)
    chance = random.Random(2)
    places = [at for at in range(0, len(data), 4) if data[at : at + 2] == b"\x85\x19"]
    for _ in range(600):
        fuzzed = bytearray(data)
        for at in chance.sample(places, 3):  # with right sums, so that the damage is believed
            kind = fuzzed[at + 2]
            fixed, place = {1: (32, 32), 2: (60, 64)}.get(kind, (12, 0))
            spot = at + chance.randrange(12, max(13, fixed))
            fuzzed[spot] = chance.choice((0, 1, 255, chance.randrange(256)))
            if place:
                fuzzed[at + place : at + place + 4] = struct.pack("<L", crc(bytes(fuzzed[at : at + fixed])))
        survives(FORMAT, bytes(fuzzed))


def test_endless_looking_inputs_end() -> None:
    start = entry(1, 1, 2, b"x")
    bounded(lambda: survives(FORMAT, start + b"\x85\x19" * (1 << 20)), 3)
    bounded(lambda: survives(FORMAT, start + b"\xff" * (8 << 20)), 2)
    bounded(lambda: survives(FORMAT, start + (b"\xff" * 5 + b"\0" * 7) * (1 << 18)), 3)
    overlapping = b"".join(inode(2, n, b"12", at=n * 7 % 1999, size=2000) for n in range(1, 8000))
    bounded(lambda: survives(FORMAT, start + overlapping), 3)
