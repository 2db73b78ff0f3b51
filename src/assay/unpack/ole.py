"""OLE compound files: MSI packages and the older documents of Microsoft Office.

    u8 magic[8]; u8 class[16]; u16 minor, major; u16 0xfffe; u16 shift of a sector, of a small sector; u8[6];
    u32 directory sectors, FAT sectors, first directory sector, transaction; u32 size below which streams are small;
    u32 first sector and number of the small FAT, of the list of FAT sectors; u32 the first 109 FAT sectors
    directory entry, 128 bytes: u16 name[32]; u16 its bytes; u8 type, colour; u32 left, right, child; u8 class[16];
        u32 state; u64 created, modified; u32 first sector; u64 size

Storages are directories, streams files. Each storage's entries are a binary tree. Small streams lie in the root's own
stream. A name of an MSI package's stream has two characters of 64 in each of its own; they are decoded here, and the
mark that it is a table becomes "!".
"""

from __future__ import annotations

import struct
import sys
import uuid
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple

from .base import (
    CHUNK,
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
from .cover import Cover
from .dos import CREATED
from .filetime import filetime

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
HEADER = struct.Struct("<8s16s5H6x9I")
RECORD = struct.Struct("<64sHBBIII16sIQQIQ")
LAST, NONE = 0xFFFFFFFA, 0xFFFFFFFF
"""The highest number of a sector; no entry of the directory."""
SMALL, CUTOFF = 6, 4096
"""Shift of a small sector, and bytes below which a stream lies in these; the format allows no others."""
STORAGE, STREAM, ROOT = 1, 2, 5
DEEPEST = 256
"""Storages inside storages."""
CLASSES = {
    "000c1084-0000-0000-c000-000000000046": "Windows Installer package",
    "000c1086-0000-0000-c000-000000000046": "Windows Installer patch",
    "000c1082-0000-0000-c000-000000000046": "Windows Installer transform",
    "00020906-0000-0000-c000-000000000046": "Word document",
    "00020820-0000-0000-c000-000000000046": "Excel workbook",
    "64818d10-4f9b-11cf-86ea-00aa00b929e8": "PowerPoint presentation",
}
_PACKED = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._"


class Record(NamedTuple):
    """An entry of the directory."""

    name: str
    type: int
    left: int
    right: int
    child: int
    clsid: bytes
    created: int
    modified: int
    first: int
    size: int


def installer_name(name: str) -> str:
    """Return a stream's name as a Windows Installer package means it.

    >>> installer_name("\u4840\u3f7f\u4164\u422f\u4836")
    '!_Tables'
    """
    out = []
    for char in name:
        code = ord(char) - 0x3800
        if 0 <= code < 0x1000:
            out.append(_PACKED[code & 0x3F] + _PACKED[code >> 6])
        elif code == 0x1040:
            out.append("!")
        else:
            out.append(_PACKED[code - 0x1000] if 0x1000 <= code < 0x1040 else char)
    return "".join(out)


class Chain(list[tuple[int, int]]):
    """Stretches of sectors (first, number)."""

    def __init__(self, stretches: Iterable[tuple[int, int]] = ()) -> None:
        super().__init__(stretches)
        self._ends = list(accumulate(number for _, number in self))

    def sector(self, place: int) -> int | None:
        """Return the sector that is at a place in the chain, None if it is not so long."""
        index = bisect_right(self._ends, place)
        return None if index == len(self) else self[index][0] + self[index][1] - (self._ends[index] - place)


class OleReader(Reader):
    """See `Reader`. A locator is the number of an entry of the directory."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        head = source.pread(0, 512)
        if len(head) < 512 or head[:8] != MAGIC:
            raise NotThisFormat
        fields = HEADER.unpack_from(head)
        _, _, minor, major, order, shift, small, *rest = fields
        self.shift: int = shift
        _, self.tables, self.first, _, cutoff, self.first_small, self.smalls, self.first_list, self.lists = rest
        if order != 0xFFFE or (major, shift) not in ((3, 9), (4, 12)) or (small, cutoff) != (SMALL, CUTOFF):
            raise NotThisFormat
        self.listed = struct.unpack_from("<109I", head, 76)
        self.sectors = max(0, (source.size - 1 >> self.shift))
        self.detail = {"version": f"{major}.{minor}", "sector_bytes": 1 << self.shift}
        self.installer = False
        self._table: array[int] | None = None
        self._small: array[int] = array("I")
        self._container = Chain()
        """The stream that holds the small ones."""
        self._directory = Chain()
        self._cover = Cover()

    # Tables

    def _offset(self, sector: int) -> int:
        return sector + 1 << self.shift

    def _load(self) -> array[int]:
        """Return the FAT; read the directory's place and the table of small sectors on the way.

        Raises:
            UnpackError: a table is broken.
        """
        if self._table is not None:
            return self._table
        self._cover.add(0, 1 << self.shift, "header")
        width = (1 << self.shift) // 4
        if self.tables > self.sectors + 1 or self.tables << self.shift > self.limits.metadata_bytes:
            raise Malformed(f"{self.tables} sectors of tables in {self.sectors} sectors")
        numbers = [sector for sector in self.listed if sector <= LAST]
        at, lists = self.first_list, 0
        while at <= LAST and len(numbers) < self.tables:
            lists += 1
            if lists > self.tables:
                raise Malformed("the list of FAT sectors does not end")
            *more, at_next = self._numbers(at, "list of tables")
            numbers += [sector for sector in more if sector <= LAST]
            at = at_next
        table = array("I")
        for sector in numbers[: self.tables]:
            table.extend(self._numbers(sector, "table"))
        if len(table) < self.tables * width:
            raise Malformed(f"{self.tables} sectors of tables are stated, {len(numbers)} listed")
        self._table = table
        self._directory = self._chain(table, self.first, len(table))
        self._claim(self._directory, "directory")
        small = self._chain(table, self.first_small, min(self.smalls, len(table)))
        self._claim(small, "table of small sectors")
        for first, number in small:
            for sector in range(first, first + number):
                self._small.extend(self._numbers(sector, "table of small sectors"))
        root = self._record(0)
        if root is None or root.type != ROOT:
            raise Malformed("the directory does not begin with a root")
        self._container = self._chain(table, root.first, len(table)) if root.size else Chain()
        self._claim(self._container, "small streams")
        clsid = str(uuid.UUID(bytes_le=root.clsid))
        self.detail["class"] = clsid
        self.detail["kind"] = CLASSES.get(clsid)
        self.installer = str(CLASSES.get(clsid)).startswith("Windows Installer")
        return table

    def _numbers(self, sector: int, what: str) -> array[int]:
        found = array("I")
        offset = self._offset(sector)
        found.frombytes(self.source.exactly(offset, 1 << self.shift))
        if sys.byteorder == "big":
            found.byteswap()
        self._cover.add(offset, offset + (1 << self.shift), what)
        return found

    def _claim(self, stretches: Chain, what: str) -> None:
        for first, number in stretches:
            self._cover.add(self._offset(first), self._offset(first + number), what)

    @staticmethod
    def _chain(table: array[int], sector: int, most: int, marks: bytearray | None = None) -> Chain:
        """Return the stretches (first, number) of a chain of at most so many sectors.

        Args:
            table: the next sector of each.
            sector: the first one.
            most: sectors after which the chain ends.
            marks: one byte for each sector, set for those of the chain.

        Raises:
            Malformed: the chain leaves the table, or (with `marks`) comes to a sector that is marked already.
        """
        found: list[tuple[int, int]] = []
        first, number, left = sector, 0, most
        while left and sector <= LAST:
            if sector >= len(table):
                raise Malformed(f"a chain comes to sector {sector} of {len(table)}")
            if marks is not None:
                if marks[sector]:
                    raise Malformed(f"sector {sector} belongs to more than one stream")
                marks[sector] = 1
            if sector != first + number:
                found.append((first, number))
                first, number = sector, 0
            number += 1
            left -= 1
            sector = table[sector]
        if number:
            found.append((first, number))
        return Chain(found)

    def _record(self, index: int) -> Record | None:
        """Return an entry of the directory, None if there is none of that number."""
        offset = self._inside(self._directory, index * RECORD.size)
        raw = b"" if offset is None else self.source.pread(offset, RECORD.size)
        if len(raw) < RECORD.size:
            return None
        name, length, kind, _, left, right, child, clsid, _, created, modified, first, size = RECORD.unpack(raw)
        text = name[: max(0, min(length, 64) - 2) & ~1].decode("utf-16-le", "surrogatepass")
        if self.shift == 9:
            size &= 0xFFFFFFFF  # section 2.6.3: older writers leave anything in the upper half
        return Record(text, kind, left, right, child, clsid, created, modified, first, size)

    def _inside(self, chain: Chain, at: int) -> int | None:
        """Return the offset in the source of a place in a chain, None if it is not so long."""
        sector = chain.sector(at >> self.shift)
        return None if sector is None else self._offset(sector) + (at & (1 << self.shift) - 1)

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. Storages come before what they hold, which is in the order of its tree."""
        table = self._load()
        marks, small_marks = bytearray(len(table)), bytearray(len(self._small))
        seen = {0}
        root = self._record(0)
        stack: list[tuple[int, bytes, int]] = [(root.child if root else NONE, b"", 0)]
        while stack:
            index, folder, depth = stack.pop()
            if index == NONE:
                continue
            if index < 0:  # its left subtree has been listed
                index = -index
            else:
                record = None if index in seen else self._record(index)
                if record is None:
                    yield Problem("malformed", f"no entry {index} in the directory, or again", folder, 0)
                    continue
                seen.add(index)
                if len(seen) > self.limits.entries:
                    raise LimitReached("entries", self.limits.entries)
                stack += [(-index, folder, depth), (record.left, folder, depth)]
                continue
            record = self._record(index)
            assert record is not None  # it was there before
            stack.append((record.right, folder, depth))
            entry = self._entry(record, folder)
            if record.type == STORAGE:
                if depth >= DEEPEST:
                    yield Problem("malformed", f"more than {DEEPEST} storages inside one another", entry.path)
                    continue
                stack.append((record.child, entry.path + b"/", depth + 1))
            elif record.type == STREAM:
                entry.locator, entry.size = index, record.size
                small = self._is_small(record)
                try:
                    chain = self._stretches(record, small_marks if small else marks)
                except Malformed as error:
                    yield Problem("malformed", str(error), entry.path)
                    continue
                if not small:
                    self._claim(chain, "streams")
            else:
                yield Problem("malformed", f"an entry of type {record.type}", entry.path)
                continue
            yield entry

    def _entry(self, record: Record, folder: bytes) -> Entry:
        name = installer_name(record.name) if self.installer else record.name
        path = folder + name.encode("utf-8", "surrogatepass")
        entry = Entry(path, "directory" if record.type == STORAGE else "regular", mtime=filetime(record.modified))
        if (created := filetime(record.created)) is not None:
            entry.xattrs = {CREATED: b"%d" % created}
        return entry

    def _is_small(self, record: Record) -> bool:
        return record.size < CUTOFF

    def _stretches(self, record: Record, marks: bytearray | None = None) -> Chain:
        """Return the stretches of a stream: of sectors, or of small sectors.

        Raises:
            Malformed: its chain is broken.
        """
        if not record.size:
            return Chain()
        shift = SMALL if self._is_small(record) else self.shift
        table = self._small if self._is_small(record) else self._load()
        return self._chain(table, record.first, (record.size - 1 >> shift) + 1, marks)

    # Contents

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`."""
        return guarded(self._read(self._at(locator)), self.limits, self.source.size)

    def _at(self, locator: Locator) -> Record:
        self._load()
        record = self._record(locator) if isinstance(locator, int) and locator > 0 else None
        if record is None or record.type != STREAM:
            raise Malformed(f"no such entry: {locator!r}")
        return record

    def _read(self, record: Record) -> Iterator[bytes]:
        left = record.size
        for offset, length in self._places(record):
            yield from self.source.chunks(offset, min(left, length), CHUNK)
            left -= min(left, length)
        if left:
            raise Truncated(f"the chain ends {left} bytes too early")

    def _places(self, record: Record) -> Iterator[tuple[int, int]]:
        """Yield where in the source a stream's bytes lie, as (offset, length); the last may be more than it has.

        Raises:
            Malformed: a small stream goes on beyond the stream that holds them.
        """
        if not self._is_small(record):
            for first, number in self._stretches(record):
                yield self._offset(first), number << self.shift
            return
        pending: tuple[int, int] | None = None
        for first, number in self._stretches(record):
            for small in range(first, first + number):
                offset = self._inside(self._container, small << SMALL)
                if offset is None:
                    raise Malformed(f"small sector {small} is not there")
                if pending and pending[0] + pending[1] == offset:
                    pending = pending[0], pending[1] + (1 << SMALL)
                    continue
                if pending:
                    yield pending
                pending = offset, 1 << SMALL
        if pending:
            yield pending

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        record = self._at(locator)
        try:
            places = list(self._places(record))
        except Malformed:
            return None
        whole = len(places) == 1 and places[0][1] >= record.size
        return (places[0][0], record.size) if whole and sum(places[0]) <= self.source.size else None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Free sectors are not explained: they may hold what was deleted."""
        return self._cover.claims(self.source, self._cover.end())


FORMAT = Format(
    name="ole",
    title="OLE compound file: MSI package, older Office document",
    open=OleReader,
    magics=((0, MAGIC),),
    references=(
        Reference(
            "[MS-CFB]: Compound File Binary File Format",
            "https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-cfb",
        ),
    ),
    limitations=(
        "entries of the directory that no storage leads to",
        "what the streams mean: the tables of an installer package, the text of a document",
    ),
)
