"""The records of ISO 9660 as they lie on disc: volume descriptors, directory records, Rock Ridge, El Torito.

Numbers are stored in both byte orders, one after the other; the little-endian one is read. Sections are those of
ECMA-119 (4th edition), SUSP 1.12, RRIP 1.12 and El Torito 1.0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from .base import Malformed, Source
from .timestamps import timestamp

SECTOR = 2048
DIRECTORY, ASSOCIATED, MORE = 0x02, 0x04, 0x80
AREA = 1 << 16
"""Most bytes of system use of one record, its continuations included."""
CONTINUATIONS = 64
JOLIET = (b"%/@", b"%/C", b"%/E")


class Record(msgspec.Struct):
    """A directory record (section 9.1)."""

    block: int
    size: int
    time: bytes
    flags: int
    interleaved: bool
    name: bytes
    system_use: bytes


def record(data: bytes, at: int) -> Record | None:
    """Return the directory record at an offset, or None if there is none that makes sense."""
    if at + 34 > len(data):
        return None
    length, extended, block, size, time, flags, unit, gap, _, name_length = struct.unpack_from(
        "<BBI4xI4x7sBBB4sB", data, at
    )
    use = 33 + name_length + (name_length & 1 ^ 1)
    if length < 33 + name_length or at + length > len(data) or not name_length:
        return None
    return Record(
        block + extended,
        size,
        time,
        flags,
        bool(unit or gap),
        data[at + 33 : at + 33 + name_length],
        data[at + use : at + length],
    )


def short_time(raw: bytes) -> int | None:
    """Return a time of 7 bytes (section 9.1.5) in nanoseconds since 1970, or None."""
    year, month, day, hour, minute, second, east = struct.unpack("<6Bb", raw)
    return timestamp(1900 + year, month, day, hour, minute, second, east=15 * east)


def long_time(raw: bytes) -> int | None:
    """Return a time of 16 digits and a byte (section 8.4.26.1) in nanoseconds since 1970, or None."""
    digits = raw[:16]
    if len(raw) != 17 or not digits.isdigit():
        return None
    east = int.from_bytes(raw[16:], "little", signed=True)
    parts = [int(digits[:4]), *(int(digits[at : at + 2]) for at in range(4, 14, 2))]
    return timestamp(*parts[:6], nanosecond=int(digits[14:]) * 10_000_000, east=15 * east)


class Descriptor(NamedTuple):
    """A primary or supplementary volume descriptor (section 8.4)."""

    raw: bytes
    blocks: int
    block: int
    path_tables: tuple[int, tuple[int, ...]]
    """Bytes of the path table, and the blocks where its copies are."""
    root: Record
    joliet: bool


def descriptor(raw: bytes) -> Descriptor | None:
    """Return a primary or supplementary volume descriptor from its sector, or None if it makes no sense."""
    blocks, big = struct.unpack_from("<I", raw, 80)[0], struct.unpack_from(">I", raw, 84)[0]
    block, big_block = struct.unpack_from("<H", raw, 128)[0], struct.unpack_from(">H", raw, 130)[0]
    root = record(raw[156:190], 0)
    if root is None or block != big_block or block not in (512, 1024, 2048) or not root.flags & DIRECTORY:
        return None
    tables = (*struct.unpack_from("<II", raw, 140), *struct.unpack_from(">II", raw, 148))
    size = struct.unpack_from("<I", raw, 132)[0]
    joliet = raw[0] == 2 and raw[88:91] in JOLIET
    return Descriptor(raw, blocks if blocks == big else max(blocks, 1), block, (size, tables), root, joliet)


def susp(source: Source, block: int, data: bytes, skip: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (signature, payload) of the system use entries of a record, continuations followed (SUSP section 5).

    Args:
        source: the disc.
        block: bytes of a logical block.
        data: system use of the record.
        skip: bytes before the first entry.

    Raises:
        Malformed: continuations are too many or too long.
    """
    at, left, room = skip, CONTINUATIONS, AREA
    while True:
        following = None
        while at + 4 <= len(data):
            signature, length = data[at : at + 2], data[at + 2]
            if length < 4 or at + length > len(data) or signature == b"ST":
                break
            payload = data[at + 4 : at + length]
            if signature == b"CE" and len(payload) >= 24:
                following = struct.unpack_from("<I4xI4xI", payload)
            else:
                yield signature, payload
            at += length
        if following is None:
            return
        place, offset, length = following
        left, room = left - 1, room - length
        if left < 0 or room < 0:
            raise Malformed("continuations of system use are a cycle, or too long")
        data, at = source.exactly(place * block + offset, length), 0


class RockRidge(msgspec.Struct):
    """What Rock Ridge says of a file."""

    name: bytes | None = None
    mode: int | None = None
    nlink: int | None = None
    uid: int | None = None
    gid: int | None = None
    inode: int | None = None
    device: tuple[int, int] | None = None
    link: bytes | None = None
    child: int | None = None
    """Block where a directory is that was moved because it was too deep."""
    moved: bool = False
    """It is listed here only because it was moved; its place is elsewhere."""
    mtime: int | None = None
    atime: int | None = None
    ctime: int | None = None
    created: int | None = None
    zisofs: tuple[int, int] | None = None
    """Logarithm of the block size, and size before compression."""
    unknown: tuple[bytes, ...] = ()


_KNOWN = {b"SP", b"ER", b"RR", b"PD", b"PL", b"ES", b"PX"}


def rock_ridge(entries: Iterator[tuple[bytes, bytes]]) -> RockRidge:
    """Return what the system use entries of a record say (RRIP section 4.1).

    Raises:
        Malformed: an entry is too short.
    """
    out = RockRidge()
    target = SymbolicLink()
    try:
        for signature, data in entries:
            if signature == b"PX":
                out.mode, out.nlink, out.uid, out.gid = struct.unpack_from("<I4xI4xI4xI", data)
                if len(data) >= 40:
                    out.inode = struct.unpack_from("<I", data, 32)[0]
            elif signature == b"NM":
                if data[0] & 6 == 0:
                    out.name = (out.name or b"") + data[1:]
            elif signature == b"SL":
                target.add(data[1:])
            elif signature == b"PN":
                out.device = device(*struct.unpack_from("<I4xI", data))
            elif signature == b"TF":
                _times(out, data)
            elif signature == b"CL":
                out.child = struct.unpack_from("<I", data)[0]
            elif signature == b"RE":
                out.moved = True
            elif signature == b"ZF" and data[:2] == b"pz":
                out.zisofs = data[3], struct.unpack_from("<I", data, 4)[0]
            elif signature not in _KNOWN and signature not in out.unknown:
                out.unknown += (signature,)
    except (struct.error, IndexError):
        raise Malformed("a Rock Ridge entry is too short") from None
    out.link = target.path
    return out


class SymbolicLink:
    """Puts a target together from the components of SL entries (RRIP section 4.1.3)."""

    def __init__(self) -> None:
        self.path: bytes | None = None
        self._joined = True

    def add(self, data: bytes) -> None:
        """Take the components of one entry."""
        path = self.path or b""
        at = 0
        while at + 2 <= len(data):
            flags, length = data[at], data[at + 1]
            if flags & 8:
                path, self._joined = b"/", True
            else:
                part = b"." if flags & 2 else b".." if flags & 4 else data[at + 2 : at + 2 + length]
                path += part if self._joined else b"/" + part
                self._joined = bool(flags & 1)
            at += 2 + length
        self.path = path


def device(high: int, low: int) -> tuple[int, int]:
    """Return major and minor: each in a word of its own, or both in the low one (as in dev_t of Linux)."""
    if high or low < 256:
        return high, low
    return low >> 8 & 0xFFF, low & 0xFF | low >> 12 & 0xFFF00


def _times(out: RockRidge, data: bytes) -> None:
    size, parse = (17, long_time) if data[0] & 0x80 else (7, short_time)
    at = 1
    for bit, name in enumerate(("created", "mtime", "atime", "ctime")):
        if data[0] >> bit & 1:
            if at + size > len(data):
                raise Malformed("a Rock Ridge entry is too short")
            setattr(out, name, parse(data[at : at + size]))
            at += size


class BootImage(NamedTuple):
    """An entry of the boot catalogue (El Torito, section 2)."""

    platform: int
    bootable: bool
    media: int
    sectors: int
    """Of 512 bytes, loaded at first; there may be more."""
    block: int


PLATFORMS = {0: "x86", 1: "powerpc", 2: "mac", 0xEF: "efi"}
FLOPPIES = {1: 1_228_800, 2: 1_474_560, 3: 2_949_120}
"""Bytes of the emulated floppy, by media type."""


def boot_catalogue(raw: bytes) -> list[BootImage] | None:
    """Return the boot images that a catalogue lists, or None if it is none.

    Args:
        raw: the catalogue; entries end where it does.
    """
    if len(raw) < 64 or raw[0] != 1 or raw[30:32] != b"\x55\xaa" or sum(struct.unpack("<16H", raw[:32])) & 0xFFFF:
        return None
    platform, found = raw[1], []
    expected = 1
    for at in range(32, len(raw) - 31, 32):
        first = raw[at]
        if first in (0x90, 0x91):
            platform, expected = raw[at + 1], int.from_bytes(raw[at + 2 : at + 4], "little")
        elif first == 0x44:
            continue
        elif expected and first in (0, 0x88):
            media, sectors, block = struct.unpack_from("<xBxxxxHI", raw, at)
            if block:
                found.append(BootImage(platform, first == 0x88, media & 15, sectors, block))
            expected -= 1
        else:
            break
    return found
