"""The blocks of RAR archives, of both generations (technote.txt of RAR 4, "RAR 5.0 archive format").

RAR 1.5 to 4, little endian:

    u16 crc, the lower half of the CRC-32 of the rest of the header; u8 type; u16 flags, size of the header;
        [u32 size of the data]; what depends on the type; data
    file: u32 packed; u32 size; u8 host; u32 crc32, time; u8 version, method; u16 length of the name; u32 attributes;
        [u32 packed, size: upper halves]; name; [u8 salt[8]]; [times]

RAR 5; numbers (vint) have 7 bits in each byte, the lowest first, bit 7 says that there is more:

    u32 crc32 of the header; vint size of the header from here, type, flags, [size of the extra area], [of the data];
        what depends on the type; extra area: records of vint size, type, and what depends on it; data
    file: vint flags, size, attributes, [u32 time], [u32 crc32], compression, host, length of the name; name
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .base import EntryType, Malformed, Source, Truncated
from .dos import dos_time
from .filetime import filetime

MAGIC4 = b"Rar!\x1a\7\0"
MAGIC5 = b"Rar!\x1a\7\1\0"
OWNER = 1 << 12
"""Most bytes of the names of an owner and a group."""
MOST = 2 << 20
"""Most bytes of a header of RAR 5."""
BEGIN, FILE, SERVICE, OLD_SERVICE, CRYPT, FINISH, OTHER = range(7)
HOSTS4 = ("MS-DOS", "OS/2", "Windows", "Unix", "Mac OS", "BeOS")
HOSTS5 = ("Windows", "Unix")
_TYPES4 = {0x73: BEGIN, 0x74: FILE, 0x75: OTHER, 0x76: OTHER, 0x77: OLD_SERVICE, 0x78: OTHER, 0x79: OTHER}
_TYPES4 |= {0x7A: SERVICE, 0x7B: FINISH}
_TYPES5 = {1: BEGIN, 2: FILE, 3: SERVICE, 4: CRYPT, 5: FINISH}
_FILE4 = struct.Struct("<7xIIBIIBBHI")
_STORED4, _STORED5 = 0x30, 0
_UNIX_TYPES: dict[int, EntryType] = {
    stat.S_IFREG: "regular",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "chardev",
    stat.S_IFBLK: "blockdev",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


class Block(NamedTuple):
    """A block, without its data."""

    start: int
    kind: int
    flags: int
    header: bytes
    data: int
    """Offset of the data."""
    length: int
    """Bytes of the data."""
    body: int = 0
    """RAR 5: where in the header that begins which depends on the type."""
    extra: int = 0
    """RAR 5: bytes of the extra area, at the header's end."""

    @property
    def end(self) -> int:
        """Offset of the next block."""
        return self.data + self.length


@dataclass
class Member:
    """A file, or something else that has data: a service block."""

    block: Block
    name: bytes
    size: int | None
    crc: int | None
    version: int
    method: int
    stored: bool
    solid: bool
    """Its bytes can only be decoded after those of the members before it."""
    encrypted: bool
    before: bool
    """It begins in the volume before; `after`: it goes on in the next one."""
    after: bool
    host: str
    type: EntryType = "regular"
    mode: int | None = None
    attributes: int = 0
    """Those of Windows."""
    mtime: int | None = None
    atime: int | None = None
    created: int | None = None
    owner: str | None = None
    group: str | None = None
    uid: int | None = None
    gid: int | None = None
    link: bytes | None = None
    copy: bytes | None = None
    """The member that it is a copy of; its own bytes are none."""
    blake: bytes | None = None
    dictionary: int = 0
    """Bytes that decoding needs."""
    version_of: int | None = None
    """Number of an earlier version of the file."""


def block4(source: Source, at: int) -> Block | None:
    """Return the block of RAR 4 at an offset, None if there is none.

    Raises:
        Truncated: the source ends inside its header.
    """
    head = source.pread(at, 11)
    if len(head) < 7:
        return None
    check, kind, flags, size = struct.unpack_from("<HBHH", head)
    if kind not in _TYPES4 or size < 7:
        return None
    header = source.exactly(at, size)
    length = 0
    if flags & 0x8000 or kind == 0x74:
        if size < 11:
            return None
        (length,) = struct.unpack_from("<I", header, 7)
    if kind in (0x74, 0x7A):
        if size < _FILE4.size:
            return None
        if flags & 0x100 and size >= _FILE4.size + 8:
            length |= struct.unpack_from("<I", header, _FILE4.size)[0] << 32
    covered = header
    if kind == 0x73 and flags & 2:  # a comment inside the header is not covered
        covered = header[:13]
    elif kind in (0x75, 0x79):  # nor are old comments and signatures
        covered = header[:13] if kind == 0x75 else header
    elif kind == 0x77 and length <= OWNER:  # here the data are covered, too
        covered = header + source.pread(at + size, length)
    elif kind == 0x74 and flags & 8:
        covered = header[: _name4(header, flags)[1]]
    if zlib.crc32(covered[2:]) & 0xFFFF != check and not (kind == 0x76 or (kind == 0x79 and size == 7)):
        return None
    return Block(at, _TYPES4[kind], flags, header, at + size, length)


def _name4(header: bytes, flags: int) -> tuple[bytes, int]:
    """Return a file's name as it is stored, and where it ends."""
    at = _FILE4.size + (8 if flags & 0x100 else 0)
    end = at + _FILE4.unpack_from(header)[7]
    return header[at:end], end


def member4(block: Block) -> Member:
    """Return the file that a block of RAR 4 is about.

    Raises:
        Malformed: the header breaks off.
    """
    header, flags = block.header, block.flags
    _, size, host, crc, time, version, method, _, attributes = _FILE4.unpack_from(header)
    name, at = _name4(header, flags)
    if at > len(header):
        raise Malformed("a name that goes on beyond its header")
    if flags & 0x100:
        size |= struct.unpack_from("<I", header, _FILE4.size + 4)[0] << 32
    folder = flags & 0xE0 == 0xE0
    system = HOSTS4[host] if host < len(HOSTS4) else str(host)
    member = Member(
        block,
        _unicode4(name) if flags & 0x200 else name.replace(b"\\", b"/"),
        size if size != 0x7FFFFFFF_FFFFFFFF else None,
        crc,
        version,
        method,
        method == _STORED4,
        bool(flags & 0x10),
        bool(flags & 4),
        bool(flags & 1),
        bool(flags & 2),
        system,
        "directory" if folder else "regular",
        mtime=dos_time(time >> 16, time & 0xFFFF),
        dictionary=0 if folder else 0x10000 << (flags >> 5 & 7),
    )
    if system in ("Unix", "BeOS"):
        member.mode = attributes & 0o7777
        member.type = _UNIX_TYPES.get(attributes & 0o170000, member.type)
    else:
        member.attributes = attributes & 0xFFFF
        if attributes & 0x10:
            member.type = "directory"
    if flags & 0x400:
        at += 8
    if flags & 0x1000:
        _times4(member, header[at:], time)
    return member


def owner4(block: Block, source: Source) -> tuple[str, str] | None:
    """Return the owner and the group of the file before a service block of RAR 4; None if it does not say."""
    if block.kind == OLD_SERVICE:
        if block.header[11:13] != b"\x01\x01" or len(block.header) < 18 or block.length > OWNER:
            return None
        length = int.from_bytes(block.header[14:16], "little")
        data = source.pread(block.data, block.length)
        names = [data[:length], data[length:]]
    else:
        name, at = _name4(block.header, block.flags)
        if name != b"UOW":
            return None
        names = [*block.header[at:].split(b"\0"), b""]
    return names[0].decode("utf-8", "backslashreplace"), names[1].decode("utf-8", "backslashreplace")


def _times4(member: Member, data: bytes, time: int) -> None:
    """Take the precise times of a file: for each a nibble says how precise it is, and if it is there."""
    if len(data) < 2:
        return
    flags, at = int.from_bytes(data[:2], "little"), 2
    for index, field_name in enumerate(("mtime", "created", "atime")):
        nibble = flags >> 12 - 4 * index & 15
        if not nibble & 8:
            continue
        if index:
            if at + 4 > len(data):
                return
            time = int.from_bytes(data[at : at + 4], "little")
            at += 4
        length = nibble & 3
        part = int.from_bytes(data[at : at + length], "little") << 8 * (3 - length)
        at += length
        moment = dos_time(time >> 16, time & 0xFFFF)
        if moment is not None:
            setattr(member, field_name, moment + (1_000_000_000 if nibble & 4 else 0) + part * 100)


def _unicode4(stored: bytes) -> bytes:
    """Return a name in UTF-8: it is stored so, or as bytes, a zero, and what makes UTF-16 of them."""
    plain, zero, packed = stored.partition(b"\0")
    if not zero or not packed:
        return plain.replace(b"\\", b"/")
    high, at, out = packed[0], 1, bytearray()
    flags = bits = 0
    while at < len(packed) and len(out) <= 2 * len(stored) * 16:
        if not bits:
            flags, bits = packed[at], 8
            at += 1
        bits -= 2
        what = flags >> bits & 3
        rest = packed[at : at + 2]
        place = len(out) // 2
        if what == 3 and rest:
            length, at = (rest[0] & 0x7F) + 2, at + 1
            more = packed[at] if rest[0] & 0x80 and at < len(packed) else 0
            at += 1 if rest[0] & 0x80 else 0
            for byte in plain[place : place + length]:
                out += bytes((byte + more & 0xFF, high)) if rest[0] & 0x80 else bytes((byte, 0))
            continue
        width = 2 if what == 2 else 1
        if len(rest) < width:
            break
        out += rest if what == 2 else bytes((rest[0], high if what else 0))
        at += width
    return bytes(out).decode("utf-16-le", "surrogatepass").replace("\\", "/").encode("utf-8", "surrogatepass")


class _Numbers:
    """A header of RAR 5, read from front to back."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def vint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            if self.at >= len(self.data):
                break
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise Malformed("a number that does not end")

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise Malformed("a header that breaks off")
        self.at += length
        return self.data[self.at - length : self.at]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")


def block5(source: Source, at: int) -> Block | None:
    """Return the block of RAR 5 at an offset, None if there is none.

    Raises:
        Truncated: the source ends inside its header.
    """
    head = source.pread(at, 4 + 3)
    if len(head) < 7:
        return None
    numbers = _Numbers(head, 4)
    try:
        size = numbers.vint()
    except Malformed:
        return None
    if not 2 <= size <= MOST:
        return None
    begin = numbers.at
    if at + begin + size > source.size:
        raise Truncated(f"the source ends inside the block at offset {at}")
    header = source.exactly(at, begin + size)
    if zlib.crc32(header[4:]) != int.from_bytes(header[:4], "little"):
        return None
    numbers = _Numbers(header, begin)
    try:
        kind, flags = numbers.vint(), numbers.vint()
        extra = numbers.vint() if flags & 1 else 0
        length = numbers.vint() if flags & 2 else 0
    except Malformed:
        return None
    if extra > size:
        return None
    return Block(at, _TYPES5.get(kind, OTHER), flags, header, at + len(header), length, numbers.at, extra)


def archive5(block: Block) -> tuple[int, int | None]:
    """Return the flags of an archive of RAR 5, and the number of the volume."""
    numbers = _Numbers(block.header, block.body)
    flags = numbers.vint()
    return flags, numbers.vint() if flags & 2 else None


def member5(block: Block) -> Member:
    """Return the file that a block of RAR 5 is about.

    Raises:
        Malformed: the header breaks off.
    """
    numbers = _Numbers(block.header[: len(block.header) - block.extra], block.body)
    flags, size, attributes = numbers.vint(), numbers.vint(), numbers.vint()
    mtime = numbers.u32() * 1_000_000_000 if flags & 2 else None
    crc = numbers.u32() if flags & 4 else None
    compression, host = numbers.vint(), numbers.vint()
    name = numbers.take(numbers.vint())
    system = HOSTS5[host] if host < len(HOSTS5) else str(host)
    method = compression >> 7 & 7
    member = Member(
        block,
        name,
        None if flags & 8 else size,
        crc,
        compression & 0x3F,
        method,
        method == _STORED5,
        bool(compression & 0x40),
        False,
        bool(block.flags & 8),
        bool(block.flags & 0x10),
        system,
        "directory" if flags & 1 else "regular",
        mtime=mtime,
        dictionary=0 if flags & 1 else 0x20000 << (compression >> 10 & 15),
    )
    if system == "Unix":
        member.mode = attributes & 0o7777
        member.type = _UNIX_TYPES.get(attributes & 0o170000, member.type)
    else:
        member.attributes = attributes & 0xFFFF
    for kind, record in _records(block):
        _extra5(member, kind, record)
    return member


def _records(block: Block) -> Iterator[tuple[int, _Numbers]]:
    numbers = _Numbers(block.header, len(block.header) - block.extra)
    while numbers.at < len(block.header):
        size = numbers.vint()
        record = _Numbers(numbers.take(size))
        yield record.vint(), record


def _extra5(member: Member, kind: int, record: _Numbers) -> None:
    if kind == 1:
        member.encrypted = True
    elif kind == 2:
        if record.vint() == 0:
            member.blake = record.take(32)
    elif kind == 3:
        _times5(member, record)
    elif kind == 4:
        record.vint()
        member.version_of = record.vint()
    elif kind == 5:
        redirection = record.vint()
        record.vint()
        target = record.take(record.vint())
        if redirection == 5:
            member.copy = target
        else:
            member.type = "hardlink" if redirection == 4 else "symlink"
            member.link = target
    elif kind == 6:
        flags = record.vint()
        if flags & 1:
            member.owner = record.take(record.vint()).decode("utf-8", "backslashreplace")
        if flags & 2:
            member.group = record.take(record.vint()).decode("utf-8", "backslashreplace")
        member.uid = record.vint() if flags & 4 else None
        member.gid = record.vint() if flags & 8 else None


def _times5(member: Member, record: _Numbers) -> None:
    flags = record.vint()
    names = [name for bit, name in ((2, "mtime"), (4, "created"), (8, "atime")) if flags & bit]
    if flags & 1:
        seconds = [record.u32() for _ in names]
        parts = [record.u32() & 0x3FFFFFFF for _ in names] if flags & 0x10 else [0] * len(names)
        values = [second * 1_000_000_000 + part for second, part in zip(seconds, parts, strict=True)]
    else:
        values = [filetime(int.from_bytes(record.take(8), "little")) or 0 for _ in names]
    for name, value in zip(names, values, strict=True):
        setattr(member, name, value)
