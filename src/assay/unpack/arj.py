"""ARJ archives.

    u16 0xea60; u16 size of the basic header, 0 at the end of the archive; basic header; u32 its CRC-32;
    extended headers: u16 size, 0 if there is no more; u8 tag, ...; u32 CRC-32; data
    basic header: u8 size of the fixed part, version, version needed, host, flags, method, type, reserved; u32 time,
        packed, size, CRC-32; u16 offset in the name, mode; u8 chapter, chapter; [u32 offset in the file that is
        split; u32 access time, creation time, size]; name; comment

The first header is that of the archive. Methods 1 to 3 are those of LHA, with another window.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from .base import (
    Claim,
    Encrypted,
    Entry,
    EntryType,
    Format,
    LimitReached,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Reference,
    Source,
    Truncated,
    Unsupported,
    guarded,
)
from .dos import ATTRIBUTES, attribute_words, dos_time
from .lzh import decoded
from .stretch import Stretches

MAGIC = b"\x60\xea"
FIXED = struct.Struct("<8B4I2H2B")
LONGEST = 2600
"""Most bytes of a basic header."""
EXTENDED = 16
"""Most extended headers of a file."""
GARBLED, VOLUME, CONTINUED, SLASHES = 0x01, 0x04, 0x08, 0x10
HOSTS = ("MS-DOS", "PRIMOS", "Unix", "AMIGA", "Mac OS", "OS/2", "Apple GS", "Atari ST", "NeXT", "VAX VMS", "Windows 95")
UNIX_HOSTS = (2, 8)
BINARY, TEXT, MAIN, FOLDER, LABEL, CHAPTER, SPECIAL = range(7)
SPECIALS: tuple[EntryType, ...] = ("fifo", "hardlink", "symlink", "blockdev", "chardev")


class Header(NamedTuple):
    """A header with those that extend it."""

    start: int
    data: int
    host: int
    flags: int
    method: int
    type: int
    time: int
    packed: int
    size: int
    crc: int
    mode: int
    accessed: int | None
    name: bytes
    extended: dict[bytes, bytes]


def read_header(source: Source, start: int) -> Header | None:
    """Return the header at an offset, None if there is none.

    Raises:
        Truncated: the source ends inside it.
    """
    head = source.pread(start, 4 + LONGEST + 4)
    if len(head) < 4 or head[:2] != MAGIC:
        return None
    (length,) = struct.unpack_from("<H", head, 2)
    if not FIXED.size <= length <= LONGEST:
        return None
    if len(head) < 8 + length:
        raise Truncated(f"the source ends inside the header at offset {start}")
    raw = head[4 : 4 + length]
    if zlib.crc32(raw) != int.from_bytes(head[4 + length : 8 + length], "little"):
        return None
    fixed, _, _, host, flags, method, kind, _, time, packed, size, crc, _, mode, _, _ = FIXED.unpack_from(raw)
    if not FIXED.size <= fixed < length:
        return None
    name = raw[fixed:].partition(b"\0")[0]
    accessed = int.from_bytes(raw[34:38], "little") if fixed >= 46 else None
    at, extended = start + 8 + length, {}
    for _ in range(EXTENDED):
        number = int.from_bytes(source.exactly(at, 2), "little")
        at += 2
        if not number:
            break
        part = source.exactly(at, number + 4)
        if zlib.crc32(part[:-4]) != int.from_bytes(part[-4:], "little"):
            return None
        extended[part[:1]] = part[2:-4]
        at += number + 4
    else:
        return None
    return Header(start, at, host, flags, method, kind, time, packed, size, crc, mode, accessed, name, extended)


class ArjReader(Reader):
    """See `Reader`. A locator is the offset of a header."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        try:
            main = read_header(source, 0)
        except Truncated:
            main = None
        if main is None or main.type != MAIN:
            raise NotThisFormat
        self.first = main.data
        self.detail = {
            "host": HOSTS[main.host] if main.host < len(HOSTS) else str(main.host),
            "name": main.name.decode("utf-8", "backslashreplace"),
            "volume": bool(main.flags & VOLUME),
        }
        self._explained = Stretches()

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. Times of systems other than Unix have no time zone, and are read as UTC."""
        self._explained = Stretches()
        self._explained.add(0, self.first, "headers and files")
        at = self.first
        for _ in range(self.limits.entries + 1):
            if self.source.pread(at, 4) == MAGIC + b"\0\0":
                self._explained.add(at, at + 4, "headers and files")
                return
            header = read_header(self.source, at)
            if header is None:
                if at >= self.source.size:
                    raise Truncated("ends without an end of archive header")
                raise Malformed(f"no header at offset {at}, nothing after it is listed")
            end = header.data + header.packed
            self._explained.add(at, min(end, self.source.size), "headers and files")
            if header.type in (BINARY, TEXT, FOLDER, SPECIAL):
                yield self._entry(header)
            elif header.type == LABEL:
                self.detail["label"] = header.name.decode("utf-8", "backslashreplace")
            if end > self.source.size:
                raise Truncated(f"ends inside the file at offset {at}, {end - self.source.size} bytes too early")
            at = end
        raise LimitReached("entries", self.limits.entries)

    def _entry(self, header: Header) -> Entry | Problem:
        name = header.name if header.flags & SLASHES else header.name.replace(b"\\", b"/")
        entry = Entry(name, "directory" if header.type == FOLDER else "regular")
        if header.host in UNIX_HOSTS:
            entry.mtime = header.time * 1_000_000_000
            entry.atime = header.accessed * 1_000_000_000 if header.accessed else None
            entry.mode = header.mode & 0o7777
        else:
            entry.mtime = dos_time(header.time >> 16, header.time & 0xFFFF)
            if words := attribute_words(header.mode & 0x27):
                entry.xattrs = {ATTRIBUTES: words}
        if owner := header.extended.get(b"O"):
            names = owner[1 : 1 + owner[0]].split(b"\0")
            entry.owner = names[0].decode("utf-8", "backslashreplace")
            entry.group = names[1].decode("utf-8", "backslashreplace") if len(names) > 1 else None
        if len(numbers := header.extended.get(b"o", b"")) >= 9:
            entry.uid, entry.gid = struct.unpack_from("<II", numbers, 1)
        if header.type == SPECIAL:
            return _special(entry, header.extended.get(b"U", b""))
        if header.flags & (VOLUME | CONTINUED):
            where = "begin in the volume before" if header.flags & CONTINUED else "go on in the next volume"
            return Problem("unsupported", f"its bytes {where}", name)
        if header.type != FOLDER:
            entry.locator, entry.size = header.start, header.size
        return entry

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. The CRC-32 is checked at the end."""
        header = self._at(locator)
        if header.flags & GARBLED:
            raise Encrypted("garbled with a password")
        window = self.source.window(header.data, header.packed)
        if window.size < header.packed:
            raise Truncated(f"ends {header.packed - window.size} bytes beyond the end of the source")
        if header.method == 0:
            chunks: Iterator[bytes] = window.chunks()
        elif header.method in (1, 2, 3):
            # Their window of 26 KiB lies within that of lh7, and the codes are the same.
            chunks = decoded(window, b"-lh7-", header.size, None, self.limits)
        else:
            raise Unsupported(f"method {header.method}")
        return guarded(_checked(chunks, header), self.limits, self.source.size)

    def _at(self, locator: Locator) -> Header:
        header = read_header(self.source, locator) if isinstance(locator, int) and locator > 0 else None
        if header is None:
            raise Malformed(f"no such entry: {locator!r}")
        return header

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        header = self._at(locator)
        plain = header.method == 0 and not header.flags & GARBLED and header.packed == header.size
        return (header.data, header.size) if plain else None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`."""
        return self._explained.claims()


def _special(entry: Entry, data: bytes) -> Entry | Problem:
    """Complete an entry that is no regular file: 3 bits type, 5 bits length, 31: in two bytes of its own; data."""
    kind, length = (data[0] >> 5, data[0] & 31) if data else (7, 0)
    rest = data[1:]
    if length == 31:
        length, rest = int.from_bytes(rest[:2], "little"), rest[2:]
    if kind >= len(SPECIALS) or len(rest) < length:
        return Problem("malformed", "a special file of no known type", entry.path)
    entry.type = SPECIALS[kind]
    if entry.type in ("hardlink", "symlink"):
        entry.link = rest[:length]
    elif entry.type in ("blockdev", "chardev") and length >= 4:
        number = int.from_bytes(rest[:4], "little")
        entry.device = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    return entry


def _checked(chunks: Iterator[bytes], header: Header) -> Iterator[bytes]:
    crc = size = 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
        size += len(chunk)
        yield chunk
    if (size, crc) != (header.size, header.crc):
        raise Malformed(f"gives {size} bytes with CRC-32 {crc:08x}, the header says {header.size} and {header.crc:08x}")


FORMAT = Format(
    name="arj",
    title="ARJ archive",
    open=ArjReader,
    magics=((0, MAGIC),),
    references=(Reference("ARJ archive format (technote of ARJ)", "https://arj.sourceforge.net/"),),
    limitations=(
        "method 4, chapters, and files that are garbled",
        "files that begin in an earlier volume or go on in the next one",
        "times of systems other than Unix have no time zone: they are read as UTC",
    ),
    anywhere=False,
)
