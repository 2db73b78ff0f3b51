"""LHA archives: made by jlha, and for the levels and fields that it does not write, by a writer of our own."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from assay.unpack import identify, lha
from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    Limits,
    Malformed,
    NotThisFormat,
    Truncated,
    UnpackError,
    Unsupported,
)
from assay.unpack.carved import Carved

from ..support.archives import NOISE, content, contents, stands, tree
from ..support.hostile import mangled, survives
from ..support.sevenzip import listing

TIME = 1_700_000_000


def packed(folder: Path, options: str) -> bytes:
    tool = shutil.which("jlha")
    if tool is None:
        pytest.skip("jlha (jlha-utils) is not installed")
    subprocess.run([tool, options, "made.lzh", "dir"], cwd=folder, check=True, capture_output=True)
    return (folder / "made.lzh").read_bytes()


def data_crc(data: bytes) -> int:
    """The CRC-16, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def old(
    level: int, name: bytes, data: bytes, extended: list[bytes] | None = None, tail: bytes = b"", **more: object
) -> bytes:
    """A member of level 0 or 1; `tail` is what follows the CRC."""
    areas = b""
    parts = extended or []
    for number, part in enumerate(parts):
        following = len(parts[number + 1]) + 2 if number + 1 < len(parts) else 0
        areas += part + struct.pack("<H", following)
    if level == 1:
        tail = b"U" + struct.pack("<H", len(parts[0]) + 2 if parts else 0)
    method = more.get("method", b"-lh0-")
    head = (
        struct.pack("<5sIIIBBB", method, len(data) + len(areas), len(data), 0x586F6B20, 0x21, level, len(name)) + name
    )
    head += struct.pack("<H", data_crc(data)) + tail
    return bytes((len(head), sum(head) & 0xFF)) + head + areas + data


def new(level: int, extended: list[bytes], data: bytes, method: bytes = b"-lh0-") -> bytes:
    """A member of level 2 or 3, with a CRC of the header."""
    letter = "<H" if level == 2 else "<I"
    width = struct.calcsize(letter)
    parts = [b"\0\0\0", *extended]
    areas = struct.pack(letter, len(parts[0]) + width)
    for number, part in enumerate(parts):
        following = len(parts[number + 1]) + width if number + 1 < len(parts) else 0
        areas += part + struct.pack(letter, following)
    body = struct.pack("<5sIIIBBHB", method, len(data), len(data), TIME, 0x20, level, data_crc(data), ord("U"))
    length = 2 + len(body) + len(areas) + (4 if level == 3 else 0)
    head = struct.pack("<H", length) + body if level == 2 else b"\4\0" + body + struct.pack("<I", length)
    at = len(head) + width + 1
    head += areas
    return head[:at] + struct.pack("<H", data_crc(head)) + head[at + 2 :] + data


@pytest.mark.parametrize("options", ["c0", "c1", "c2", "cz1"])
def test_what_the_tool_wrote(tmp_path: Path, options: str) -> None:
    expected = tree(tmp_path)
    data = packed(tmp_path, options)
    found = contents(stands(lha.FORMAT, data))
    assert {path.rstrip(b"/"): body for path, body in found.items()} == expected
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.detail["level"] == int(options[-1])
    list(reader.entries())
    assert reader.claims() == [Claim(0, len(data) - 1, "members"), Claim(len(data) - 1, 1, "end of archive")]
    sizes = listing(tmp_path / "made.lzh", "lzh")
    assert {path.rstrip("/"): size for path, size in sizes.items()} == {
        path.decode(): None if body is None else len(body) for path, body in expected.items()
    }


@pytest.mark.parametrize("method", ["o5", "o6", "o7"])
def test_every_method(tmp_path: Path, method: str) -> None:
    (tmp_path / "dir").write_bytes(b"line of text, " * 30_000)
    data = packed(tmp_path, f"c{method}")
    assert data[2:7] == b"-lh%s-" % method[1:].encode()
    assert contents(stands(lha.FORMAT, data)) == {b"dir": b"line of text, " * 30_000}


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_what_is_stated_is_kept(level: int) -> None:
    body = b"bytes of the file"
    unix = [
        b"\x50" + struct.pack("<H", 0o104755),
        b"\x51" + struct.pack("<HH", 100, 1000),
        b"\x52wheel",
        b"\x53root",
        b"\x54" + struct.pack("<I", TIME),
    ]
    if level == 0:
        member = old(0, b"a/b", body, tail=b"U\0" + struct.pack("<IHHH", TIME, 0o104755, 1000, 100))
    elif level == 1:
        member = old(1, b"b", body, [b"\x02a\xff", *unix])
    else:
        member = new(level, [b"\x01b", b"\x02a\xff", *unix], body)
    ((entry, found),) = stands(lha.FORMAT, member + b"\0")
    assert entry == Entry(
        b"a/b",
        "regular",
        locator=0,
        size=len(body),
        mode=0o4755,
        uid=1000,
        gid=100,
        owner="root" if level else None,
        group="wheel" if level else None,
        mtime=TIME * 10**9,
    )
    assert found == body


def test_what_other_systems_state() -> None:
    windows = b"\x41" + struct.pack(
        "<3Q", *(116_444_736_000_000_000 + TIME * 10_000_000 + number for number in (1, 2, 3))
    )
    link = new(2, [b"\x01link|../else where", b"\x50" + struct.pack("<H", 0o120777)], b"", b"-lhd-")
    folder = new(2, [b"\x02deep\xffer\xff", b"\x50" + struct.pack("<H", 0o40755)], b"", b"-lhd-")
    data = old(0, b"a\\b", b"x") + new(2, [b"\x01file", windows, b"\x40\x21\0"], b"y") + link + folder + b"\0"
    dos, win, symlink, directory = (item for item, _ in stands(lha.FORMAT, data) if isinstance(item, Entry))
    assert (dos.path, dos.mtime, dos.xattrs) == (
        b"a/b",
        1_710_509_100 * 10**9,
        {"dos.attributes": b"read-only archive"},
    )
    when = TIME * 10**9
    assert (win.mtime, win.atime, win.xattrs) == (when + 200, when + 300, {"dos.created": b"%d" % (when + 100)})
    assert (symlink.path, symlink.type, symlink.link) == (b"link", "symlink", b"../else where")
    assert (directory.path, directory.type, directory.mode) == (b"deep/er/", "directory", 0o755)


def test_damage_and_cuts(tmp_path: Path) -> None:
    expected = tree(tmp_path)
    data = bytearray(packed(tmp_path, "c2"))
    at = data.index(NOISE[1000:1100]) if NOISE[1000:1100] in data else len(data) // 2
    data[at] ^= 1
    reader = lha.FORMAT.open(BytesSource(bytes(data)), Limits())
    failed = []
    for item in reader.entries():
        assert isinstance(item, Entry)
        try:
            assert content(reader, item) == expected[item.path.rstrip(b"/")]
        except UnpackError as error:
            failed.append((item.path, error.reason))
    assert len(failed) == 1
    assert failed[0][1] in ("malformed", "truncated")
    cut = lha.FORMAT.open(BytesSource(bytes(data[:-1])), Limits())
    with pytest.raises(Truncated, match="ends without a byte 0"):
        list(cut.entries())
    with pytest.raises(Truncated, match="ends inside"):
        list(lha.FORMAT.open(BytesSource(bytes(data[: at + 10])), Limits()).entries())
    other = lha.FORMAT.open(BytesSource(bytes(data[:-1]) + b"junk" * 30), Limits())
    with pytest.raises(Malformed, match="no header"):
        list(other.entries())


def test_what_is_not_read() -> None:
    reader = lha.FORMAT.open(BytesSource(old(0, b"a", b"xyz", method=b"-lh1-") + b"\0"), Limits())
    with pytest.raises(Unsupported, match="method -lh1-"):
        list(reader.open(0))
    for data in (b"ab-lh5-" + NOISE[:100], b"ab-lh5-" + bytes(100), old(0, b"", b"")):
        with pytest.raises(NotThisFormat):
            lha.FORMAT.open(BytesSource(data), Limits())


def test_one_inside_something_is_found() -> None:
    data = old(0, b"a", NOISE[:500]) + b"\0"
    image = NOISE[:1235] + data + NOISE[:2000]
    found = [
        (item.path, item.size) for item in Carved(BytesSource(image), Limits()).entries() if isinstance(item, Entry)
    ]
    assert (b"0x000004d3.lha", len(data)) in found


def test_whatever_is_broken_is_told(tmp_path: Path) -> None:
    (tmp_path / "dir").write_bytes(b"line of text, " * 3000)
    text = packed(tmp_path, "co5")
    unix = [b"\x01b", b"\x02a\xff", b"\x50" + struct.pack("<H", 0o104755)]
    for data in (text, old(1, b"b", b"x" * 100, unix) + b"\0", new(3, unix, b"y" * 100) + b"\0"):
        for broken in mangled(data, count=120):
            survives(lha.FORMAT, broken)
        for broken in mangled(data, seed=4, count=120, hot=range(22, 60)):
            head = bytearray(broken[:200])
            if len(head) > 1 and 1 < head[0] + 2 <= len(head):
                head[1] = sum(head[2 : 2 + head[0]]) & 0xFF
            survives(lha.FORMAT, bytes(head) + broken[200:])


def test_names_of_owners_in_no_character_set_are_text_still() -> None:
    data = new(2, [b"\x01b", b"\x53r\xfft"], b"") + b"\0"
    (entry,) = lha.FORMAT.open(BytesSource(data), Limits()).entries()
    assert isinstance(entry, Entry)
    assert entry.owner == r"r\xfft"
