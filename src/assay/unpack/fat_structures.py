"""The records of FAT file systems as they lie on disk: boot sector, directory records, long names.

Sections are those of the Microsoft FAT specification (2005), which has the layout of EFI FAT32 1.03 with FAT12 and 16.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from .dos import DIRECTORY, LABEL

# Section 3.1. jump, OEM name, bytes per sector, sectors per cluster, reserved sectors, FATs, root records, sectors (16
# bits), media, sectors per FAT, sectors per track, heads, hidden sectors, sectors (32 bits)
BOOT = struct.Struct("<3s8sHBHBHHBHHHII")
# Section 6. name, attributes, case, hundredths of creation, its time and date, date of access, cluster (high half),
# time and date of writing, cluster (low half), size
RECORD = struct.Struct("<11s3B7HI")
# Section 7. order, 5 characters, attributes, type, sum of the short name, 6 characters, zero, 2 characters
LONG = struct.Struct("<B10s3B12sH4s")
LONG_ATTRIBUTES = 0x0F
NAMES = {b"FAT12   ", b"FAT16   ", b"FAT32   ", b"FAT     "}


class Geometry(msgspec.Struct, frozen=True, kw_only=True):
    """A volume's parts: offsets and lengths are in bytes from its start."""

    bits: int
    """12, 16 or 32: the size of an entry of the file allocation table."""
    oem: bytes
    sector: int
    cluster: int
    reserved: int
    tables: int
    table: int
    """Length of one file allocation table."""
    active: int
    """The table that counts; the others are copies."""
    root: int
    """First cluster of the root directory; 0 if it has a place of its own before the clusters."""
    root_bytes: int
    data: int
    """Where cluster 2 is."""
    clusters: int
    end: int
    media: int
    information: int
    """Offset of the file system information sector, 0 if there is none."""
    backup: int
    """Offset of the copy of the boot sector, 0 if there is none."""
    serial: int | None
    label: bytes

    @property
    def root_at(self) -> int:
        """Where the root directory of FAT12 and FAT16 is."""
        return self.reserved + self.tables * self.table


def parse_boot(raw: bytes) -> Geometry | None:
    """Return a volume's geometry from its first 512 bytes, or None if they are no FAT boot sector."""
    if len(raw) < 512:
        return None
    (jump, oem, sector, per_cluster, reserved, tables, root_records, sectors, media, table, _, _, _, more) = (
        BOOT.unpack_from(raw)
    )
    if not (jump[0] == 0xE9 or (jump[0] == 0xEB and jump[2] in (0x90, 0x00))) or (media != 0xF0 and media < 0xF8):
        return None
    if sector not in (512, 1024, 2048, 4096) or not per_cluster or per_cluster & (per_cluster - 1):
        return None
    if not reserved or not 1 <= tables <= 4 or not (sectors or more):
        return None
    wide = table == 0
    if wide:
        table, flags, version, root, information, backup = struct.unpack_from("<IHHIHH", raw, 36)
        if version or root < 2 or root_records:
            return None
    else:
        flags = root = information = backup = 0
        if not root_records or root_records * 32 % sector:
            return None
    first = reserved + tables * table + root_records * 32 // sector
    total = sectors or more
    clusters = (total - first) // per_cluster
    if not table or first > total or clusters < 1:
        return None
    bits = 32 if wide else 16 if clusters > 4084 else 12
    clusters = min(clusters, table * sector * 8 // bits - 2)  # what the table has room for
    if clusters < 1 or clusters > 0x0FFFFFF5 or root > clusters + 1:
        return None
    extended = 64 if wide else 36
    known = raw[extended + 2] in (0x28, 0x29)
    return Geometry(
        bits=bits,
        oem=oem,
        sector=sector,
        cluster=sector * per_cluster,
        reserved=reserved * sector,
        tables=tables,
        table=table * sector,
        active=flags & 15 if flags & 0x80 and flags & 15 < tables else 0,
        root=root,
        root_bytes=root_records * 32,
        data=first * sector,
        clusters=clusters,
        end=total * sector,
        media=media,
        information=information * sector if information < reserved else 0,
        backup=backup * sector if backup < reserved else 0,
        serial=int.from_bytes(raw[extended + 3 : extended + 7], "little") if known else None,
        label=raw[extended + 7 : extended + 18].rstrip(b" \0") if raw[extended + 2] == 0x29 else b"",
    )


class Record(NamedTuple):
    """One file or directory as its directory has it."""

    name: bytes
    """The long name in UTF-8, or the short one in the volume's own code page."""
    attributes: int
    cluster: int
    size: int
    created: tuple[int, int, int]
    """Date, time and hundredths of a second; see `dos_time`."""
    written: tuple[int, int]
    accessed: int
    fault: str | None


def short_name(raw: bytes, case: int = 0) -> bytes:
    """Return the name of 8 and 3 characters as it is shown, from the 11 bytes of a record.

    Args:
        raw: the bytes.
        case: bit 3 says that the first part is in lower case, bit 4 the second (Windows NT).

    >>> short_name(b"README  TXT", 0x10)
    b'README.txt'
    """
    base, rest = raw[:8].rstrip(b" "), raw[8:].rstrip(b" ")
    if base[:1] == b"\x05":
        base = b"\xe5" + base[1:]
    if case & 8:
        base = base.lower()
    if case & 16:
        rest = rest.lower()
    return base + b"." + rest if rest else base


def checksum(raw: bytes) -> int:
    """Return the sum over a short name that its long name's records carry (section 7.2)."""
    total = 0
    for byte in raw:
        total = ((total >> 1 | total << 7) + byte) & 0xFF
    return total


class LongName:
    """Puts together the long name whose records come before that of the short name."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._left = 0
        self._sum = -1
        self._fault = False

    def add(self, raw: bytes) -> None:
        """Take the next record."""
        order, first, _, _, total, second, _, third = LONG.unpack(raw)
        number = order & 0x3F
        if order & 0x40 and 1 <= number <= 20:
            self._fault = self._fault or bool(self._parts)
            self._parts, self._left, self._sum = [], number, total
        if number != self._left or not number or total != self._sum:
            self._parts, self._left, self._fault = [], 0, True
            return
        self._parts.append(first + second + third)
        self._left -= 1

    def take(self, short: bytes) -> tuple[bytes | None, bool]:
        """Return the name that belongs to a short one, if one does, and if there were records that do not fit."""
        parts, whole = self._parts, not self._left
        fault = self._fault or bool(parts)
        fitting = bool(parts) and whole and self._sum == checksum(short)
        if fitting:
            fault = self._fault
        self.__init__()  # type: ignore[misc]  # as new
        if not fitting:
            return None, fault
        text = b"".join(reversed(parts)).decode("utf-16-le", "surrogatepass").split("\0")[0]
        return text.encode("utf-8", "surrogatepass") or None, fault


def records(data: bytes, long: LongName) -> Iterator[Record | bytes | None]:
    """Yield what a part of a directory holds, without deleted records and '.' and '..'.

    Args:
        data: whole records of 32 bytes.
        long: carries a name over from the part before.

    Yields:
        Files and directories; the volume's label as bytes; None at the end of the directory.
    """
    for at in range(0, len(data) - 31, 32):
        first = data[at]
        if not first:
            yield None
            return
        if first == 0xE5:
            continue
        if data[at + 11] & 0x3F == LONG_ATTRIBUTES:
            long.add(data[at : at + 32])
            continue
        (raw, attributes, case, hundredths, time, date, accessed, high, wtime, wdate, low, size) = RECORD.unpack_from(
            data, at
        )
        name, stray = long.take(raw)
        if attributes & LABEL:
            yield raw.rstrip(b" ")
            continue
        if raw in (b".          ", b"..         ") and attributes & DIRECTORY:
            continue
        fault = "records of a long name do not belong to it" if stray else None
        yield Record(
            name or short_name(raw, case),
            attributes,
            high << 16 | low,
            size,
            (date, time, hundredths),
            (wdate, wtime),
            accessed,
            fault,
        )


def is_sane(record: Record) -> bool:
    """Tell whether a record can be one: garbage mostly has control characters in its name or unknown attributes."""
    return not record.attributes & 0xC0 and bool(record.name) and min(record.name) >= 32
