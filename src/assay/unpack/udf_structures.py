"""The records of UDF as they lie on disc: tags, volume descriptors, file entries, allocation descriptors, names.

Sections are those of ECMA-167 (3rd edition) and OSTA UDF 2.60. Numbers are little-endian.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from collections.abc import Generator, Iterator

import msgspec

from .base import Malformed
from .timestamps import timestamp

ANCHOR, POINTER, PARTITION, LOGICAL, TERMINATOR = 2, 3, 5, 6, 8
FILE_SET, FILE_IDENTIFIER, ALLOCATION, FILE, SPACE_BITMAP, EXTENDED_FILE = 256, 257, 258, 261, 264, 266
RECORDED, ALLOCATED, SPARSE, CONTINUED = range(4)


def tag(data: bytes, location: int | None = None) -> int | None:
    """Return the identifier of a descriptor whose tag is sound (ECMA-167 3/7.2), or None.

    Args:
        data: the descriptor.
        location: block that the tag is to name; None if that does not matter.
    """
    if len(data) < 16 or (sum(data[:4]) + sum(data[5:16])) & 0xFF != data[4]:
        return None
    kind, crc, length, place = struct.unpack_from("<H6xHHI", data)
    if not kind or (location is not None and place != location):
        return None
    if length and (16 + length > len(data) or crc_hqx(data[16 : 16 + length], 0) != crc):
        return None
    return int(kind)


def moment(raw: bytes) -> int | None:
    """Return a time (ECMA-167 1/7.3) in nanoseconds since 1970, or None if there is no such time."""
    zone, year, month, day, hour, minute, second, centi, hundreds, micro = struct.unpack("<HH8B", raw)
    east = (zone & 0xFFF) - (zone << 1 & 0x1000)
    fraction = (centi * 10_000 + hundreds * 100 + micro) * 1000
    return timestamp(
        year, month, day, hour, minute, second, nanosecond=fraction, east=east if -1440 <= east <= 1440 else 0
    )


def text(raw: bytes) -> bytes:
    """Return a name in OSTA's compressed Unicode (UDF 2.1.1) as UTF-8."""
    if raw[:1] == b"\x08":
        return raw[1:].decode("latin-1").encode()
    if raw[:1] == b"\x10":
        wide = raw[1 : len(raw) - (len(raw) - 1) % 2]
        return wide.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")
    return raw


def field(raw: bytes) -> str:
    """Return a text field of a fixed length (UDF 2.1.3); its last byte is the length."""
    return text(raw[: raw[-1]]).decode("utf-8", "backslashreplace") if raw[-1] else ""


class Extent(msgspec.Struct, frozen=True):
    """Where a part of a file is."""

    length: int
    kind: int
    block: int
    partition: int


def long_extent(raw: bytes, at: int) -> Extent:
    """Return a long allocation descriptor (ECMA-167 4/14.14.2)."""
    length, block, partition = struct.unpack_from("<IIH", raw, at)
    return Extent(length & 0x3FFFFFFF, length >> 30, block, partition)


class File(msgspec.Struct):
    """A file entry or an extended one (ECMA-167 4/14.9 and 4/14.17)."""

    type: int
    form: int
    """Of the allocation descriptors: 0 short, 1 long, 2 extended, 3 the data themselves."""
    mode: int
    uid: int | None
    gid: int | None
    links: int
    size: int
    atime: int | None
    mtime: int | None
    ctime: int | None
    created: int | None
    unique: int
    streams: bool
    attributes: bytes
    allocation: bytes
    place: int
    """Offset of `allocation` in the block."""


def parse_file(raw: bytes) -> File:
    """Return a file entry from its block.

    Raises:
        Malformed: it is none.
    """
    kind = tag(raw)
    if kind not in (FILE, EXTENDED_FILE):
        raise Malformed(f"no file entry but a descriptor {kind}")
    flags = int.from_bytes(raw[34:36], "little")
    strategy = int.from_bytes(raw[20:22], "little")
    uid, gid, permissions, links, size = struct.unpack_from("<IIIH6xQ", raw, 36)
    if strategy != 4:
        raise Malformed(f"strategy {strategy}")
    if kind == FILE:
        times, created, at, unique, streams = (72, 84, 96), None, 168, 160, False
    else:
        times, created, at, unique, streams = (80, 92, 116), moment(raw[104:116]), 208, 200, any(raw[152:156])
    attributes, allocation = struct.unpack_from("<II", raw, at)
    start = at + 8 + attributes
    if start + allocation > len(raw):
        raise Malformed("a file entry is longer than its block")
    # Five bits each for others, group and owner; the lower three are those of Unix.
    mode = permissions & 7 | (permissions >> 5 & 7) << 3 | (permissions >> 10 & 7) << 6
    mode |= (flags >> 6 & 1) << 11 | (flags >> 7 & 1) << 10 | (flags >> 8 & 1) << 9
    none = 0xFFFFFFFF
    return File(
        raw[27],
        flags & 7,
        mode,
        None if uid == none else uid,
        None if gid == none else gid,
        links,
        size,
        moment(raw[times[0] : times[0] + 12]),
        moment(raw[times[1] : times[1] + 12]),
        moment(raw[times[2] : times[2] + 12]),
        created,
        int.from_bytes(raw[unique : unique + 8], "little"),
        streams,
        raw[at + 8 : start],
        raw[start : start + allocation],
        start,
    )


def extents(data: bytes, form: int, partition: int) -> Iterator[Extent]:
    """Yield allocation descriptors up to the first of no length.

    Args:
        data: the descriptors.
        form: see `File.form`.
        partition: the one that short descriptors mean.
    """
    size = (8, 16, 20)[form]
    for at in range(0, len(data) - size + 1, size):
        if form == 1:
            extent = long_extent(data, at)
        else:
            length = int.from_bytes(data[at : at + 4], "little")
            block = int.from_bytes(data[at + (4 if form == 0 else 12) :][:4], "little")
            part = partition if form == 0 else int.from_bytes(data[at + 16 : at + 18], "little")
            extent = Extent(length & 0x3FFFFFFF, length >> 30, block, part)
        if not extent.length:
            return
        yield extent


def identifiers(data: bytes) -> Generator[tuple[Extent, bytes], None, int]:
    """Yield (place, name) of what a directory's bytes list (ECMA-167 4/14.4), without deleted ones and the parent.

    Returns:
        How many bytes whole entries have.

    Raises:
        Malformed: an entry has no sound tag.
    """
    at = 0
    while at + 38 <= len(data):
        characteristics, length = data[at + 18], data[at + 19]
        private = int.from_bytes(data[at + 36 : at + 38], "little")
        end = at + (38 + private + length + 3 & ~3)
        if end > len(data):
            break
        if tag(data[at:end]) != FILE_IDENTIFIER:
            raise Malformed("a directory's entry has no sound tag")
        if not characteristics & 0x0C:
            name = at + 38 + private
            yield long_extent(data, at + 20), text(data[name : name + length])
        at = end
    return at


def device(attributes: bytes) -> tuple[int, int] | None:
    """Return major and minor from the extended attribute for them (ECMA-167 4/14.10.7)."""
    at = 24
    while at + 12 <= len(attributes):
        kind, length = struct.unpack_from("<I4xI", attributes, at)
        if length < 12:
            return None
        if kind == 12 and at + 24 <= len(attributes):
            major, minor = struct.unpack_from("<II", attributes, at + 16)
            return major, minor
        at += length
    return None


def target(data: bytes) -> bytes:
    """Return a symbolic link's target from its path components (ECMA-167 4/14.16)."""
    parts: list[bytes] = []
    at = 0
    root = False
    while at + 4 <= len(data):
        kind, length = data[at], data[at + 1]
        if kind in (1, 2):
            root, parts = True, []
        else:
            parts.append({3: b"..", 4: b"."}.get(kind) or text(data[at + 4 : at + 4 + length]))
        at += 4 + length
    return (b"/" if root else b"") + b"/".join(parts)
