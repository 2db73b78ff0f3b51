"""romfs, the smallest read-only file system of Linux: headers, names and bytes, one after another; all big endian.

    superblock: u8 magic[8] = "-rom1fs-"; u32 size; u32 checksum; name, padded with NUL to 16 bytes; the first header
    header, on 16 bytes: u32 next | type; u32 spec; u32 size; u32 checksum; name, padded likewise; the file's bytes
        type, the lowest 3 bits: 0 hard link (spec: the header meant), 1 directory (spec: its first header), 2 regular,
        3 symbolic link, 4 block and 5 character device (spec: major, minor, 16 bits each), 6 socket, 7 fifo;
        bit 3: executable; the rest is the next header's offset in the same directory, 0 at the end

The words that a checksum protects (a header with its name; the first 512 bytes of the image) add up to zero. A header's
offset stands for its file: names that are hard links have the same one as inode number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from .base import (
    Claim,
    Entry,
    EntryType,
    Format,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Reference,
    Source,
    Truncated,
    guarded,
)
from .cover import Cover
from .tree import walk

_MAGIC = b"-rom1fs-"
_NAME = 4096
"""Most bytes of a name; Linux takes 127."""
_TARGET = 65535
_LINKS = 16
"""Hard links to hard links that are followed; tools make none."""
_HARD, _DIRECTORY = 0, 1
_TYPES: tuple[EntryType, ...] = (
    "hardlink", "directory", "regular", "symlink", "blockdev", "chardev", "socket", "fifo",
)  # fmt: skip
_MODES = (0, 0o644, 0o644, 0o777, 0o600, 0o600, 0o644, 0o644)
"""Permissions by type: the format has only a bit for "executable", the rest is its definition."""


class _Header(NamedTuple):
    offset: int
    next: int
    type: int
    executable: bool
    spec: int
    size: int
    name: bytes
    data: int
    """Offset of the file's bytes."""
    sound: bool
    """Whether the checksum is right."""


def _sums_to_zero(data: bytes) -> bool:
    words: tuple[int, ...] = struct.unpack(f">{len(data) // 4}I", data[: len(data) & ~3])
    return sum(words) & 0xFFFFFFFF == 0


def _padded_name(source: Source, offset: int) -> tuple[bytes, int]:
    """Return the name at an offset and where its padding to 16 bytes ends.

    Raises:
        Malformed: it has no end.
    """
    for most in (64, _NAME):
        name, found, _ = source.pread(offset, most).partition(b"\0")
        if found:
            return name, offset + (len(name) + 16 & ~15)
    if offset + _NAME > source.size:
        raise Truncated(f"the name at offset {offset} goes on beyond the end of the source")
    raise Malformed(f"the name at offset {offset} has no end")


class RomfsReader(Reader):
    """An opened romfs."""

    def __init__(self, source: Source, limits: Limits, size: int, label: bytes, first: int) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.size = size
        self.first = first
        self.detail = {"size": size, "label": label.decode("utf-8", "backslashreplace")}
        self._cover = Cover()

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in their stored order, the root first with an empty path."""
        self._cover = Cover()
        self._cover.add(0, self.first, "superblock")
        yield from walk(0, self._describe, self._children, self.limits)
        if self.size > self.source.size:
            text = f"superblock declares {self.size} bytes, the source has {self.source.size}"
            yield Problem("truncated", text, b"", 0)
        elif not _sums_to_zero(self.source.pread(0, min(512, self.size))):
            yield Problem("malformed", "the checksum of the first 512 bytes is wrong", b"", 0)

    def _header(self, offset: int) -> _Header:
        if offset & 15 or not self.first <= offset < self.size:
            raise Malformed(f"a header at offset {offset} of {self.size}")
        following, spec, size, _ = struct.unpack(">IIII", self.source.exactly(offset, 16))
        name, data = _padded_name(self.source, offset + 16)
        sound = _sums_to_zero(self.source.pread(offset, data - offset))
        return _Header(offset, following & ~15, following & 7, bool(following & 8), spec, size, name, data, sound)

    def _describe(self, number: int, path: bytes) -> tuple[Entry, Problem | None]:
        if number == 0:  # the root has no header: the first one is in it
            return Entry(b"", "directory", mode=0o755, uid=0, gid=0), None
        named = header = self._header(number)
        for _ in range(_LINKS):
            if header.type != _HARD:
                break
            header = self._header(header.spec & ~15)
        else:
            raise Malformed(f"more than {_LINKS} hard links to hard links from offset {number} on")
        kind = _TYPES[header.type]
        mode = _MODES[header.type] | (0o111 if header.executable else 0)
        entry = Entry(path, kind, mode=mode, uid=0, gid=0, inode=header.offset)
        problem = None
        if header.type == _DIRECTORY and named is not header:
            raise Malformed(f"the header at offset {number} is a hard link to a directory")
        if kind == "regular":
            entry.size = header.size
            entry.locator = header.offset
        elif kind in ("chardev", "blockdev"):
            entry.device = (header.spec >> 16, header.spec & 0xFFFF)
        elif kind == "symlink":
            if header.size <= _TARGET and header.data + header.size <= min(self.size, self.source.size):
                entry.link = self.source.pread(header.data, header.size)
            else:
                problem = Problem("malformed", f"target: {header.size} bytes at offset {header.data}", path, 0)
        self._cover.add(named.offset, named.data, "headers")
        if kind in ("regular", "symlink"):
            end = header.data + header.size
            if end > self.size:
                problem = Problem("malformed", f"{header.size} bytes at offset {header.data} of {self.size}", path, 0)
            else:
                self._cover.add(header.data, end, "data")
        if not (named.sound and header.sound):
            problem = Problem("malformed", f"the header at offset {number} has a wrong checksum", path, 0)
        return entry, problem

    def _children(self, number: int) -> Iterator[tuple[int, bytes]]:
        offset = self._header(number).spec & ~15 if number else self.first
        seen = set()
        while offset:
            if offset in seen:
                raise Malformed(f"the headers of the directory come back to offset {offset}")
            seen.add(offset)
            header = self._header(offset)
            if header.name in (b".", b".."):
                self._cover.add(header.offset, header.data, "headers")
            elif header.name and b"/" not in header.name:
                yield offset, header.name
            else:
                raise Malformed(f"the header at offset {offset} has the name {header.name!r}")
            offset = header.next

    # Contents

    def _place(self, locator: Locator) -> tuple[int, int]:
        if not isinstance(locator, int):
            raise Malformed("not a header's offset")
        header = self._header(locator)
        if _TYPES[header.type] != "regular":
            raise Malformed(f"the header at offset {locator} is not that of a regular file")
        return header.data, header.size

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. A locator is the offset of the file's header."""
        offset, length = self._place(locator)
        whole = min(length, self.size - offset)
        yield from guarded(self.source.chunks(offset, whole), self.limits, self.source.size)
        if whole < length:
            raise Malformed(f"{length} bytes at offset {offset}, the image has {self.size}")

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        try:
            offset, length = self._place(locator)
        except (Malformed, Truncated):
            return None
        return (offset, length) if offset + length <= min(self.size, self.source.size) else None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Images are filled up with zeros to 1 KiB, which their size does not count."""
        found = self._cover.claims(self.source, self.size)
        fill = self.source.pread(self.size, -self.size % 1024)
        if fill and not fill.strip(b"\0") and len(fill) == -self.size % 1024:
            found.append(Claim(self.size, len(fill), "padding"))
        return found


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, 512)
    if len(head) < 32 or head[:8] != _MAGIC:
        raise NotThisFormat
    size = int.from_bytes(head[8:12], "big")
    try:
        label, first = _padded_name(source, 16)
    except (Malformed, Truncated):
        raise NotThisFormat from None
    if size < first:
        raise NotThisFormat
    if not _sums_to_zero(head[: min(512, size)]):
        # Text that speaks of the magic has no size and no first header either.
        following = source.pread(first, 16)
        if size > 1 << 30 or len(following) < 16 or int.from_bytes(following[:4], "big") & ~15 > size:
            raise NotThisFormat
    return RomfsReader(source, limits, size, label, first)


FORMAT = Format(
    name="romfs",
    title="romfs (Linux)",
    open=_open,
    magics=[(0, _MAGIC)],
    references=[Reference("Linux, ROMFS - ROM File System", "https://docs.kernel.org/filesystems/romfs.html")],
    limitations=[
        "the format keeps a bit for executable files, but no owner, permissions and times: mode and owner are those "
        "that its definition gives to each type",
        "the first 512 bytes and the headers have checksums, files have none",
    ],
    smallest=32,
)
