"""The directory of a ZIP archive: the records that say what is in it and where."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from .base import Source, Unsupported

# Section 4.3.7. signature, version needed, flags, method, time, date, crc-32, compressed, uncompressed, name, extra
LOCAL = struct.Struct("<4s5H3L2H")
# Section 4.3.12. signature, made by (version, host), needed, flags, method, time, date, crc-32, compressed,
# uncompressed, name, extra, comment, disk, internal attributes, external attributes, local header offset
CENTRAL = struct.Struct("<4s2B5H3L5H2L")
# Section 4.3.16. signature, disk, directory's disk, entries here, entries, directory size, directory offset, comment
END = struct.Struct("<4s4H2LH")
# Section 4.3.14, without its extensible part. signature, size, made by, needed, disk, directory's disk, entries here,
# entries, directory size, directory offset
END64 = struct.Struct("<4sQ2H2L4Q")
# Section 4.3.15. signature, disk of the record, offset of the record, disks
LOCATOR64 = struct.Struct("<4sLQL")

ENCRYPTED, DESCRIPTOR, STRONG, MASKED = 1 << 0, 1 << 3, 1 << 6, 1 << 13


class Directory(NamedTuple):
    """Where the central directory lies and what the end record says."""

    start: int
    size: int
    entries: int
    shift: int
    """Bytes before the archive, which its own offsets do not count."""
    end: int
    """End of the archive, comment included."""
    comment: int
    zip64: bool


class Central(NamedTuple):
    """One central directory header."""

    next: int
    host: int
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    attributes: int
    local: int
    name: bytes
    extra: bytes
    time: int
    """As in MS-DOS, without the date."""


def extras(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (header ID, data) of an extra field; a field that runs beyond the end is cut there (section 4.5)."""
    at = 0
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("<2H", data, at)
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length


def wide(extra: bytes, *values: int) -> list[int]:
    """Return sizes and offsets with those that are all ones replaced from the ZIP64 field (section 4.5.3)."""
    out = list(values)
    if 0xFFFFFFFF not in out:
        return out
    for kind, data in extras(extra):
        if kind == 1:
            at = 0
            for index, value in enumerate(out):
                if value == 0xFFFFFFFF and at + 8 <= len(data):
                    out[index] = int.from_bytes(data[at : at + 8], "little")
                    at += 8
            break
    return out


def find_directory(source: Source) -> Directory | None:
    """Find and check the end of central directory record, from the end of the source backwards (section 4.3.6).

    A record whose comment reaches exactly to the end of the source comes first; one with bytes behind it counts only if
    the source starts like an archive.

    Returns:
        The directory's place, or None if there is none that holds together.

    Raises:
        Unsupported: the archive is split over several files.
    """
    start = max(0, source.size - END.size - 0xFFFF)
    tail = source.pread(start, END.size + 0xFFFF)
    exact: list[int] = []
    padded: list[int] = []
    at = tail.rfind(b"PK\5\6")
    while at >= 0 and len(exact) + len(padded) < 64:
        if at + END.size <= len(tail):
            end = at + END.size + int.from_bytes(tail[at + 20 : at + 22], "little")
            (exact if end == len(tail) else padded if end < len(tail) else []).append(at)
        at = tail.rfind(b"PK\5\6", 0, at)
    if padded and source.pread(0, 2) != b"PK":
        padded = []
    for at in exact + padded:
        found = check_end(source, start + at, tail[at : at + END.size])
        if found:
            return found
    return None


def archive_end(source: Source) -> int | None:
    """Return where the archive ends that begins with the source, whatever follows it; None if none begins there."""
    at = 0
    while True:  # local headers, as far as they say how long their data are (section 4.3.7)
        header = source.pread(at, LOCAL.size)
        if len(header) < LOCAL.size or header[:4] != b"PK\3\4":
            break
        _, _, flags, _, _, _, _, compressed, _, name, extra = LOCAL.unpack(header)
        if flags & DESCRIPTOR or compressed == 0xFFFFFFFF:
            break
        at += LOCAL.size + name + extra + compressed
    if header[:2] != b"PK":
        return None
    kept = b""
    for chunk in source.chunks(at):
        block = kept + chunk
        place = block.find(b"PK\5\6")
        while place >= 0:
            end = at - len(kept) + place
            record = source.pread(end, END.size)
            found = check_end(source, end, record) if len(record) == END.size else None
            if found is not None and not found.shift:
                return found.end
            place = block.find(b"PK\5\6", place + 1)
        at += len(chunk)
        kept = block[-3:]
    return None


def check_end(source: Source, at: int, record: bytes) -> Directory | None:
    """Follow an end record at offset `at`, through ZIP64 if need be, to a central directory; see `find_directory`."""
    _, disk, first_disk, here, entries, size, offset, comment = END.unpack(record)
    end, zip64, last = at + END.size + comment, False, at
    locator = source.pread(at - LOCATOR64.size, LOCATOR64.size)
    if locator[:4] == b"PK\6\7" and len(locator) == LOCATOR64.size:
        _, _, stated, _ = LOCATOR64.unpack(locator)
        for place in (stated, at - LOCATOR64.size - END64.size):
            wide_end = source.pread(place, END64.size)
            if wide_end[:4] == b"PK\6\6" and len(wide_end) == END64.size:
                _, _, _, _, disk, first_disk, here, entries, size, offset = END64.unpack(wide_end)
                zip64, last = True, place
                break
    if disk in (0xFFFF, 0xFFFFFFFF):
        disk = 0
    if disk or first_disk not in (0, 0xFFFF) or here != entries:
        if here <= entries and disk < 1000 and source.pread(0, 2) == b"PK":
            raise Unsupported(f"archive split over several files: this is number {disk + 1}")
        return None
    if size < (CENTRAL.size if entries else 0) or size > last:
        return None
    # The directory ends where the end record starts; a stub before the archive shifts it against the stated offset.
    for start in (last - size, offset):
        if 0 <= start <= last - size and (source.pread(start, 4) == b"PK\1\2" if entries else start == last - size):
            shift = start - offset
            return Directory(start, size, entries, max(shift, 0), end, comment, zip64)
    return None


def read_central(data: bytes, at: int) -> Central | None:
    """Return the central directory header at `at` (section 4.3.12), or None if there is none."""
    if data[at : at + 4] != b"PK\1\2" or at + CENTRAL.size > len(data):
        return None
    (_, _, host, _, flags, method, time, _, crc, compressed, size, name, extra, comment, _, _, attributes, local) = (
        CENTRAL.unpack_from(data, at)
    )
    at += CENTRAL.size
    extra_at = at + name
    after = extra_at + extra
    more = data[extra_at:after]
    if compressed == 0xFFFFFFFF or size == 0xFFFFFFFF or local == 0xFFFFFFFF:
        size, compressed, local = wide(more, size, compressed, local)
    return Central(
        after + comment, host, flags, method, crc, compressed, size, attributes, local, data[at:extra_at], more,
        time,
    )  # fmt: skip
