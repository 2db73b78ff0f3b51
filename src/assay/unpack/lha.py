"""LHA (LZH) archives, with headers of level 0 to 3; a byte 0 ends an archive.

    level 0: u8 size of what follows the checksum; u8 checksum; u8 method[5]; u32 packed, size, time of MS-DOS;
        u8 attributes, level, length of the name; name; u16 crc; [u8 system; ...]
    level 1: the same; u16 crc; u8 system; ...; extended headers, whose lengths count as packed bytes
    level 2: u16 size of the header; u8 method[5]; u32 packed, size, time of Unix; u8 0x20, level; u16 crc; u8 system;
        extended headers
    level 3: as level 2, with u16 4 at its start; u8 system; u32 size of the header; extended headers

An extended header is u16 (in level 3 u32) length of it, u8 type and data; its length stands before it, at the end of
what comes before, and is 0 if none follows. Directories are parted by 0xff.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from .base import (
    Claim,
    Entry,
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
    guarded,
)
from .dos import ATTRIBUTES, CREATED, attribute_words, dos_time
from .filetime import filetime
from .lzh import METHODS, decoded
from .stretch import Stretches
from .zip import TYPES

KNOWN = (*(b"-lh%c-" % char for char in b"0123456789adsx"), *(b"-lz%c-" % char for char in b"s458"), b"-pm0-", b"-pm1-")
FOLDER = b"-lhd-"
MOST = 1 << 20
"""Most bytes of a header of level 3."""
BASE = struct.Struct("<5sIIIBB")


@cache
def _table() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)  # noqa: PLW2901
        found.append(value)
    return tuple(found)


def crc16(data: bytes) -> int:
    """Return the CRC-16 of a header, as LHA computes it (polynomial 0x8005, reflected)."""
    table, crc = _table(), 0
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc


@dataclass
class Member:
    """One header."""

    start: int
    data: int
    packed: int
    size: int
    method: bytes
    crc: int | None
    level: int
    name: bytes
    system: int = 0
    mode: int | None = None
    attributes: int = 0
    mtime: int | None = None
    extended: dict[int, bytes] = field(default_factory=dict)
    checked: int = 0
    """Where in the header its own CRC-16 is; 0 if it has none."""


def read_member(source: Source, start: int) -> Member | None:
    """Return the member whose header is at an offset, None if there is none.

    Raises:
        Truncated: the source ends inside the header.
    """
    head = source.pread(start, 24)
    if len(head) < 22 or head[2:7] not in KNOWN or head[20] > 3:
        return None
    method, packed, size, time, attributes, level = BASE.unpack_from(head, 2)
    if level < 2:
        return _old(source, start, head)
    if level == 2:
        length, base, width = int.from_bytes(head[:2], "little"), 24, 2
    else:
        if head[:2] != b"\4\0":
            return None
        length, base, width = int.from_bytes(source.exactly(start + 24, 4), "little"), 28, 4
    if not base + width <= length <= MOST or attributes not in (0x20, 0):
        return None
    raw = source.exactly(start, length)
    member = Member(
        start, start + length, packed, size, method, int.from_bytes(raw[21:23], "little"), level, b"", raw[23]
    )
    member.mtime = time * 1_000_000_000
    if not _extended(member, raw, base, width):
        return None
    at = member.checked
    if at and crc16(raw[:at] + b"\0\0" + raw[at + 2 :]) != int.from_bytes(raw[at : at + 2], "little"):
        return None
    return member


def _old(source: Source, start: int, head: bytes) -> Member | None:
    """Return a member of level 0 or 1."""
    method, packed, size, time, attributes, level = BASE.unpack_from(head, 2)
    length = head[0] + 2
    raw = source.exactly(start, length)
    if length < 22 or sum(raw[2:]) & 0xFF != raw[1]:
        return None
    at = 22 + raw[21]
    if at > length:
        return None
    member = Member(start, start + length, packed, size, method, None, level, raw[22:at])
    member.attributes = attributes
    member.mtime = dos_time(time >> 16, time & 0xFFFF)
    if at + 2 <= length:
        member.crc = int.from_bytes(raw[at : at + 2], "little")
    member.system = raw[at + 2] if at + 2 < length else 0
    if level == 0 and member.system == ord("U") and length >= at + 14:
        mtime, mode, uid, gid = struct.unpack_from("<IHHH", raw, at + 4)
        member.mtime = mtime * 1_000_000_000
        member.extended = {0x50: struct.pack("<H", mode), 0x51: struct.pack("<HH", gid, uid)}
    if level == 1:
        if length < at + 5:
            return None
        follows = int.from_bytes(raw[-2:], "little")
        area = b""
        while follows:
            if follows < 3 or len(area) + follows > min(packed, MOST):
                return None
            area += source.exactly(member.data + len(area), follows)
            follows = int.from_bytes(area[-2:], "little")
        if not _extended(member, raw[-2:] + area, 0, 2):
            return None
        member.data += len(area)
        member.packed -= len(area)
    return member


def _extended(member: Member, raw: bytes, at: int, width: int) -> bool:
    """Take the extended headers; return False if they are not in order."""
    while True:
        length = int.from_bytes(raw[at : at + width], "little")
        at += width
        if not length:
            return True
        if length < width + 1 or at + length > len(raw):
            return False
        if raw[at] == 0:
            member.checked = member.checked or at + 1
        member.extended.setdefault(raw[at], raw[at + 1 : at + length - width])
        at += length - width


def _entry(member: Member) -> Entry:
    """Return what a header says."""
    more = member.extended
    name = more.get(1, member.name)
    if folder := more.get(2):
        name = folder + (b"" if folder.endswith(b"\xff") else b"\xff") + name
    name = name.replace(b"\xff", b"/")
    if member.system != ord("U"):
        name = name.replace(b"\\", b"/")
    entry = Entry(name, "directory" if member.method == FOLDER else "regular", mtime=member.mtime)
    attributes = member.attributes
    if len(more.get(0x40, b"")) >= 2:
        attributes = int.from_bytes(more[0x40][:2], "little")
    if member.system != ord("U") and (words := attribute_words(attributes & 0x27)):
        entry.xattrs = {ATTRIBUTES: words}
    if len(more.get(0x41, b"")) >= 24:
        created, entry.mtime, entry.atime = (filetime(value) for value in struct.unpack_from("<3Q", more[0x41]))
        if created is not None:
            entry.xattrs = {**entry.xattrs, CREATED: b"%d" % created}
    if len(more.get(0x54, b"")) >= 4:
        entry.mtime = int.from_bytes(more[0x54][:4], "little") * 1_000_000_000
    if len(more.get(0x50, b"")) >= 2:
        mode = int.from_bytes(more[0x50][:2], "little")
        entry.mode = mode & 0o7777
        entry.type = TYPES.get(mode & 0o170000, entry.type)
        if entry.type == "symlink":
            entry.path, _, entry.link = name.partition(b"|")
    if len(more.get(0x51, b"")) >= 4:
        entry.gid, entry.uid = struct.unpack_from("<HH", more[0x51])
    if 0x52 in more:
        entry.group = more[0x52].decode("utf-8", "backslashreplace")
    if 0x53 in more:
        entry.owner = more[0x53].decode("utf-8", "backslashreplace")
    return entry


class LhaReader(Reader):
    """See `Reader`. A locator is the offset of a header."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        try:
            member = read_member(source, 0)
        except Truncated:
            member = None
        if member is None or not _entry(member).path:
            raise NotThisFormat
        self.detail = {"level": member.level, "system": chr(member.system) if 32 <= member.system < 127 else None}
        self._explained = Stretches()

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. Times of level 0 and 1 have no time zone, and are read as UTC."""
        self._explained = Stretches()
        at = count = 0
        while True:
            if self.source.pread(at, 1) == b"\0":
                self._explained.add(at, at + 1, "end of archive")
                return
            member = read_member(self.source, at)
            if member is None:
                if at >= self.source.size:
                    raise Truncated("ends without a byte 0")
                raise Malformed(f"no header at offset {at}, nothing after it is listed")
            count += 1
            if count > self.limits.entries:
                raise LimitReached("entries", self.limits.entries)
            end = member.data + member.packed
            self._explained.add(at, min(end, self.source.size), "members")
            entry = _entry(member)
            if entry.type == "regular":
                entry.locator, entry.size = at, member.size
            yield entry
            if end > self.source.size:
                raise Truncated(f"ends inside the member at offset {at}, {end - self.source.size} bytes too early")
            at = end

    def _at(self, locator: Locator) -> Member:
        member = read_member(self.source, locator) if isinstance(locator, int) and locator >= 0 else None
        if member is None:
            raise Malformed(f"no such entry: {locator!r}")
        return member

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. The CRC-16 is checked at the end."""
        member = self._at(locator)
        window = self.source.window(member.data, member.packed)
        if window.size < member.packed:
            raise Truncated(f"ends {member.packed - window.size} bytes beyond the end of the source")
        return guarded(
            decoded(window, member.method, member.size, member.crc, self.limits), self.limits, self.source.size
        )

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        member = self._at(locator)
        plain = member.method in METHODS[:2] and member.packed == member.size
        return (member.data, member.size) if plain else None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Headers and data of neighbours are one stretch, "members"."""
        return self._explained.claims()


FORMAT = Format(
    name="lha",
    title="LHA (LZH) archive",
    open=LhaReader,
    magics=tuple((2, method) for method in KNOWN),
    references=(
        Reference("LHa for UNIX: header.doc", "https://github.com/jca02266/lha/blob/master/header.doc.md"),
        Reference("libarchive", "https://www.libarchive.org/"),
    ),
    limitations=(
        "methods other than lh0, lz4, lh5, lh6 and lh7",
        "files of more than 4 GiB",
        "times of level 0 and 1 have no time zone: they are read as UTC",
        "names are given as they are, in whatever character set",
    ),
)
