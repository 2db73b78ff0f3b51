from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import subprocess
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
    Truncated,
    UnpackError,
)
from assay.unpack.cpio import FORMAT

from ..support.hostile import bounded, mangled, survives
from ..support.hostile_tree import BODY, SECOND, archive, needs_bsdtar, tree

needs_cpio = pytest.mark.skipif(not shutil.which("cpio"), reason="cpio is not installed")


def opened(data: bytes, limits: Limits | None = None) -> Reader:
    return FORMAT.open(BytesSource(data), limits or Limits())


def listing(data: bytes) -> tuple[list[Entry | Problem], UnpackError | None]:
    found = []
    try:
        for item in opened(data).entries():
            found.append(item)  # noqa: PERF402 - what came before an error stands
    except UnpackError as error:
        return found, error
    return found, None


def body(data: bytes, entry: Entry | Problem) -> bytes:
    assert isinstance(entry, Entry)
    assert entry.locator is not None
    return b"".join(opened(data).open(entry.locator))


def newc(name: bytes, content: bytes = b"", *, mode: int = 0o100644, crc: bool = False, **fields: int) -> bytes:
    numbers = {"ino": 0, "mode": mode, "uid": 0, "gid": 0, "nlink": 1, "mtime": 1, "size": len(content), "major": 0}
    numbers |= {"minor": 0, "rmajor": 0, "rminor": 0, "namesize": len(name) + 1, "check": sum(content) * crc}
    numbers |= fields
    head = (b"070702" if crc else b"070701") + b"".join(b"%08X" % number for number in numbers.values()) + name + b"\0"
    head += bytes(-len(head) % 4)
    return head + content + bytes(-len(content) % 4)


TRAILER = newc(b"TRAILER!!!", mode=0)


@needs_bsdtar
@pytest.mark.parametrize("format", ["newc", "odc"])
def test_nothing_of_the_tree_is_lost(format: str, tmp_path: Path) -> None:
    expected = tree()
    data = archive(tmp_path, format, expected)
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    found = list(reader.entries())
    assert found == list(reader.entries())
    for want, have in zip(expected, found, strict=True):
        assert isinstance(have, Entry)
        if want.type == "regular":
            assert body(data, have) == BODY
            want.locator, want.size = have.locator, len(BODY)
        if format == "odc" and want.device:
            want.device = have.device  # bsdtar writes its own dev_t there; cpio(1) is the oracle below
        want.nlink = have.nlink
        assert have == want
    assert sum(claim.length for claim in reader.claims()) == len(data)
    assert reader.detail == {"variant": format, "archives": 1}


@needs_cpio
@needs_bsdtar
def test_cpio_lists_the_same(tmp_path: Path) -> None:
    entries = [
        entry for entry in tree() if entry.path.isascii() and b"\n" not in entry.path and b"odd" not in entry.path
    ]
    data = archive(tmp_path, "newc", entries)
    done = subprocess.run(
        ["cpio", "-itvn", "--quiet"], input=data, env={"TZ": "UTC", "LC_ALL": "C"} | os.environ, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    lines = [re.sub(r" +", " ", line.decode()) for line in done.stdout.split(b"\n") if line]
    assert lines == [line(entry) for entry in listing(data)[0]]


def line(entry: Entry | Problem) -> str:
    """Return an entry as `cpio -itvn` has it, blanks squeezed."""
    assert isinstance(entry, Entry)
    kind = {"regular": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO}
    kind |= {"chardev": stat.S_IFCHR, "blockdev": stat.S_IFBLK}
    assert entry.mode is not None
    mode = stat.filemode(kind[entry.type] | entry.mode)
    size = f"{entry.device[0]}, {entry.device[1]}" if entry.device else str(entry.size or len(entry.link or b""))
    link = f" -> {entry.link.decode()}" if entry.link else ""
    return f"{mode} {entry.nlink} {entry.uid} {entry.gid} {size} Jan 1 1970 {entry.path.decode()}{link}"


@needs_cpio
@pytest.mark.parametrize("format", ["newc", "crc", "odc", "bin", "bin-swapped"])
def test_what_cpio_makes_of_files(format: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_bytes(b"shared between links")
    os.link(root / "a", root / "b")
    os.link(root / "a", root / "c")
    (root / "d").write_bytes(b"\xff" * 70_001)
    (root / "d").chmod(0o4750)
    (root / "e").symlink_to("../d")
    (root / "empty").write_bytes(b"")
    os.mkfifo(root / "pipe", 0o600)
    (root / "sub").mkdir()
    for file in root.iterdir():
        os.utime(file, ns=(0, SECOND * 7), follow_symlinks=False)
    names = sorted(file.name for file in root.iterdir())
    command = ["cpio", "-o", "--quiet", "-H", format.removesuffix("-swapped")]
    done = subprocess.run(command, cwd=root, input="\n".join(names).encode(), check=True, capture_output=True)
    data = done.stdout
    if format == "bin-swapped":
        data = swapped(data)
    reader = opened(data)
    found = sorted(reader.entries(), key=lambda entry: entry.path)  # GNU cpio writes links when it has met them all
    assert [entry.path.decode() for entry in found] == names
    kinds = {stat.S_IFREG: "regular", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo", stat.S_IFDIR: "directory"}
    for entry in found:
        assert isinstance(entry, Entry)
        file = root / entry.path.decode()
        state = file.lstat()
        assert entry.type == kinds[stat.S_IFMT(state.st_mode)]
        kept = (entry.mode, entry.uid, entry.gid, entry.mtime, entry.nlink)
        assert kept == (stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid, SECOND * 7, state.st_nlink)
        if entry.type == "regular":
            assert entry.size == state.st_size
            assert body(data, entry) == file.read_bytes()
        elif entry.type == "symlink":
            assert entry.link == b"../d"
    links = [entry for entry in found[:3] if isinstance(entry, Entry)]
    assert len({entry.inode for entry in links}) == 1
    assert links[0].inode is not None
    if format in ("newc", "crc"):
        assert links[0].locator == links[1].locator == links[2].locator
    assert sum(claim.length for claim in reader.claims()) == len(data)
    span = opened(data).span(links[0].locator or 0)
    assert span is None if format == "crc" else data[span[0] : sum(span)] == b"shared between links"  # type: ignore[index,arg-type]


def swapped(data: bytes) -> bytes:
    """Return an old binary archive with its headers in the other byte order."""
    out, at = bytearray(data), 0
    while True:
        fields = struct.unpack_from("<13H", data, at)
        struct.pack_into(">13H", out, at, *fields)
        namesize, size = fields[10], fields[11] << 16 | fields[12]
        name = data[at + 26 : at + 26 + namesize]
        at += 26 + namesize + namesize % 2 + size + size % 2
        if name == b"TRAILER!!!\0":
            return bytes(out)


def test_hard_links_across_devices_and_archives() -> None:
    first = newc(b"a", ino=5, nlink=2) + newc(b"other", b"OTHER", ino=5, nlink=2, minor=9)
    first += newc(b"b", b"bytes", ino=5, nlink=2) + newc(b"empty1", ino=6, nlink=2) + newc(b"empty2", ino=6, nlink=2)
    data = first + TRAILER + newc(b"again", ino=5, nlink=2) + newc(b"c", b"second", ino=5, nlink=2) + TRAILER
    found, error = listing(data)
    assert error is None
    assert [
        (entry.path, entry.inode, entry.size, body(data, entry)) for entry in found if isinstance(entry, Entry)
    ] == [
        (b"a", 5, 5, b"bytes"),
        (b"other", None, 5, b"OTHER"),
        (b"b", 5, 5, b"bytes"),
        (b"empty1", 6, 0, b""),
        (b"empty2", 6, 0, b""),
        (b"again", None, 6, b"second"),
        (b"c", None, 6, b"second"),
    ]


def test_hard_link_whose_bytes_cannot_be_reached_is_not_called_empty() -> None:
    data = newc(b"a", ino=5, nlink=2) + b"damage" * 20 + newc(b"b", b"bytes", ino=5, nlink=2) + TRAILER
    found, error = listing(data)
    assert error is None
    a, problem, b = found
    assert isinstance(a, Entry)
    assert (a.path, a.size, problem.path, body(data, b)) == (b"a", None, b"", b"bytes")
    with pytest.raises(Malformed, match="later hard link"):
        body(data, a)


def test_archives_in_a_row_as_in_an_initramfs() -> None:
    early = newc(b"kernel/x86/microcode", b"\x01\x02\x03") + TRAILER
    early += bytes(-len(early) % 512)
    main = newc(b"init", b"#!") + TRAILER
    packed = b"\x1f\x8b\x08 a compressed archive"
    data = early + main + bytes(64) + packed
    reader = opened(data)
    assert [entry.path for entry in reader.entries()] == [b"kernel/x86/microcode", b"init"]
    assert reader.detail == {"variant": "newc", "archives": 2}
    end = len(data) - len(packed)
    claims = reader.claims()
    assert [claim.what for claim in claims] == ["members", "padding", "members", "padding"]
    assert [claim.offset for claim in claims[1:]] == [claim.offset + claim.length for claim in claims[:-1]]
    assert claims[-1].offset + claims[-1].length == end
    reader = opened(data[:end])
    assert len(list(reader.entries())) == 2
    assert sum(claim.length for claim in reader.claims()) == end


def test_wrong_sum_is_found_after_the_bytes() -> None:
    content = b"\xff" * 3_000_000
    data = newc(b"x", content, crc=True) + TRAILER
    ((entry,), _) = listing(data)
    assert body(data, entry) == content
    wrong = data.replace(b"%08X" % sum(content), b"%08X" % (sum(content) + 1))
    ((entry,), _) = listing(wrong)
    out = []
    with pytest.raises(Malformed, match="add up"):
        for chunk in opened(wrong).open(entry.locator):  # type: ignore[union-attr,arg-type]
            out.append(chunk)  # noqa: PERF402 - what came before the error counts
    assert b"".join(out) == content


def test_listing_goes_on_after_a_damaged_header() -> None:
    members = [newc(b"file%d" % number, bytes([65 + number]) * 1000) for number in range(4)]
    data = bytearray(b"".join(members) + TRAILER)
    start = len(members[0])
    data[start] ^= 1
    found, error = listing(bytes(data))
    assert error is None
    resume = start + len(members[1])
    assert [entry.path for entry in found] == [b"file0", b"", b"file2", b"file3"]
    assert found[1] == Problem("malformed", f"no header at offset {start}, listing goes on at offset {resume}")
    reader = opened(bytes(data))
    list(reader.entries())
    assert reader.claims() == [Claim(0, start, "members"), Claim(resume, len(data) - resume, "members")]


def test_padding_that_hides_something_is_not_claimed() -> None:
    data = newc(b"ab", b"12345").replace(b"12345\0\0\0", b"12345xyz") + newc(b"c", b"1") + TRAILER
    reader = opened(data)
    assert [entry.path for entry in reader.entries()] == [b"ab", b"c"]
    assert reader.claims() == [Claim(0, 121, "members"), Claim(124, len(data) - 124, "members")]


def test_cut_short_says_so() -> None:
    data = newc(b"a", b"1" * 500) + newc(b"b", b"2" * 500)
    for size, names in ((300, [b"a"]), (612, [b"a"]), (650, [b"a"]), (800, [b"a", b"b"]), (len(data), [b"a", b"b"])):
        found, error = listing(data[:size])
        assert [entry.path for entry in found] == names
        assert isinstance(error, Truncated)
    link = newc(b"l", b"t" * 50, mode=0o120777)
    found, error = listing(link[:130])
    assert found == []
    assert isinstance(error, Truncated)


def test_only_looks_like_it() -> None:
    binary = struct.pack("<13H", 0o070707, 0, 0, 0o100644, 0, 0, 1, 0, 0, 0, 2, 0, 0) + b"x\0"
    for data in (
        b"070701" + b"x" * 200,
        b"070707" + b"9" * 200,
        b"\xc7\x71" + bytes(100),
        binary + b"no header here, and so it is none",
        newc(b"x", namesize=0),
        newc(b"x", namesize=1 << 30),
        newc(b"x", mode=0o170000),
    ):
        with pytest.raises(NotThisFormat):
            opened(data)
    assert [entry.path for entry in listing(binary + binary)[0]] == [b"x", b"x"]


def test_table_of_hard_links_has_a_limit() -> None:
    data = b"".join(newc(b"%d" % n, b"x" * (n > 0), ino=n, nlink=2) for n in range(20)) + TRAILER
    with pytest.raises(LimitReached):
        list(opened(data, Limits(metadata_bytes=1024)).entries())
    assert len(listing(data)[0]) == 20


def test_locators_that_are_none() -> None:
    reader = opened(newc(b"x", b"y") + TRAILER)
    for locator in (None, "x", [], [1], ["a", "b"], [5, None, 7]):
        with pytest.raises(Malformed):
            list(reader.open(locator))  # type: ignore[arg-type]


def test_hostile() -> None:
    data = newc(b"a", ino=1, nlink=2) + newc(b"dir", mode=0o40755) + newc(b"b", b"x" * 90, ino=1, nlink=2)
    data += (
        newc(b"l", b"target", mode=0o120777)
        + newc(b"sum", b"abc", crc=True)
        + TRAILER
        + bytes(32)
        + newc(b"z")
        + TRAILER
    )
    for broken in mangled(data, count=2000):
        survives(FORMAT, broken)
    header = struct.Struct("<13H")
    binary = header.pack(0o070707, 1, 2, 0o100644, 0, 0, 2, 0, 0, 9, 2, 0, 5) + b"x\0" + b"12345\0"
    binary += header.pack(0o070707, 0, 0, 0, 0, 0, 1, 0, 0, 0, 11, 0, 0) + b"TRAILER!!!\0\0"
    odc = (
        b"070707"
        + b"000001" * 3
        + b"100644"[:0]
        + b"000001" * 4
        + b"00000000001"
        + b"000002"
        + b"00000000003"
        + b"x\0abc"
    )
    for broken in (*mangled(binary * 2, count=300), *mangled(odc * 3, count=300)):
        survives(FORMAT, broken)


def test_an_archive_cut_in_the_padding_of_a_member_claims_no_more_than_there_is() -> None:
    data = newc(b"x", b"y")
    reader = opened(data[:-2])
    with pytest.raises(Truncated):
        list(reader.entries())
    assert reader.claims() == [Claim(0, len(data) - 2, "members")]


def test_endless_looking_inputs_end() -> None:
    start = newc(b"x", b"y")
    bounded(lambda: survives(FORMAT, start + b"070701" * (1 << 20)), 3)
    bounded(lambda: survives(FORMAT, start + b"0" * (4 << 20)), 3)
    bounded(lambda: survives(FORMAT, start + TRAILER + bytes(8 << 20)), 2)
