"""Where the blocks of a UDF disc are: its volume descriptors and the ways in which partitions map blocks.

A partition is a stretch of sectors (physical); or has a table of its blocks (virtual, on discs written once); or moves
broken packets elsewhere (sparable); or is a file of another one (metadata).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from .base import Claim, Malformed, Source, Unsupported
from .udf_structures import EXTENDED_FILE, FILE, LOGICAL, PARTITION, POINTER, TERMINATOR, File, extents, parse_file, tag

DESCRIPTORS = 512
"""Blocks of the volume descriptor sequence read."""
Table = list[int] | dict[int, int] | list[tuple[int, int]]
"""Of a virtual partition the sector of each block; of a sparable one that of packets that moved; of a metadata one
stretches (first block, blocks)."""


class Partition(NamedTuple):
    """A partition as the logical volume maps it."""

    kind: str
    """physical, virtual, sparable or metadata."""
    start: int
    """First sector."""
    length: int
    map: bytes
    header: bytes


class Volume:
    """The descriptors of a logical volume, and where its blocks are.

    Args:
        source: the disc.
        sector: its bytes in a sector.
    """

    def __init__(self, source: Source, sector: int) -> None:
        self.source = source
        self.sector = sector
        self.logical = b""
        self.claims: list[Claim] = []
        self._physical: dict[int, bytes] = {}
        anchor = source.pread(256 * sector, sector)
        self.claims.append(Claim(256 * sector, sector, "anchor"))
        for at in (16, 24):
            length, place = struct.unpack_from("<II", anchor, at)
            self._descriptors(length, place, keep=not self.logical)
        if not self.logical:
            raise Malformed("no logical volume descriptor")
        self.block = int.from_bytes(self.logical[212:216], "little")
        if self.block != sector:
            raise Malformed(f"logical blocks of {self.block} bytes on sectors of {sector}")
        self.partitions = list(self._maps())
        self._tables: dict[int, Table] = {}

    def _descriptors(self, length: int, place: int, keep: bool) -> None:
        left = DESCRIPTORS
        seen: set[int] = set()
        while length and left and place not in seen:
            seen.add(place)
            end = place + length // self.sector
            begin, following = place, (0, 0)
            while place < end and left:
                left -= 1
                data = self.source.pread(place * self.sector, self.sector)
                kind = tag(data, place)
                place += 1
                if kind == LOGICAL and keep:
                    self.logical = data
                elif kind == PARTITION and keep:
                    self._physical[int.from_bytes(data[22:24], "little")] = data
                elif kind == POINTER:
                    following = struct.unpack_from("<II", data, 20)
                if kind in (None, TERMINATOR):
                    break
            self.claims.append(Claim(begin * self.sector, (end - begin) * self.sector, "volume descriptors"))
            length, place = following

    def _maps(self) -> Iterator[Partition]:
        length, count = struct.unpack_from("<II", self.logical, 264)
        at = 440
        for _ in range(min(count, 64)):
            raw = self.logical[at : at + max(2, self.logical[at + 1] if at + 1 < len(self.logical) else 2)]
            if at + len(raw) > min(440 + length, len(self.logical)):
                raise Malformed("partition maps are cut off")
            if raw[:2] == b"\1\6":
                kind, number = "physical", int.from_bytes(raw[4:6], "little")
            elif raw[:2] == b"\2\x40":
                kind, number = raw[5:28].rstrip(b"\0").decode("ascii", "replace"), int.from_bytes(raw[38:40], "little")
                kind = {"*UDF Virtual Partition": "virtual", "*UDF Sparable Partition": "sparable",
                        "*UDF Metadata Partition": "metadata"}.get(kind, kind)  # fmt: skip
            else:
                raise Malformed(f"a partition map {raw[:2].hex()}")
            if number not in self._physical:
                raise Malformed(f"partition {number} is not described")
            data = self._physical[number]
            start, count = struct.unpack_from("<II", data, 188)
            yield Partition(kind, start, count, raw, data[56:184])
            at += len(raw)

    # Blocks

    def place(self, partition: int, block: int) -> int:
        """Return the sector of a block.

        Raises:
            Malformed: there is no such block.
            Unsupported: the partition is of an unknown kind.
        """
        if partition >= len(self.partitions):
            raise Malformed(f"partition {partition} of {len(self.partitions)}")
        part = self.partitions[partition]
        if part.kind in ("virtual", "metadata"):
            block = self._mapped(partition, block)
        elif part.kind == "sparable":
            table = self._table(partition)
            packet = int.from_bytes(part.map[40:42], "little") or 32
            moved = table.get(block // packet * packet) if isinstance(table, dict) else None
            if moved is not None:
                return moved + block % packet
        elif part.kind != "physical":
            raise Unsupported(f"a partition of kind {part.kind}")
        if block >= part.length:
            raise Malformed(f"block {block} of {part.length} of partition {partition}")
        return part.start + block

    def _mapped(self, partition: int, block: int) -> int:
        table = self._table(partition)
        if isinstance(table, list) and self.partitions[partition].kind == "virtual":
            if block < len(table) and isinstance(found := table[block], int) and found != 0xFFFFFFFF:
                return found
        elif isinstance(table, list):
            for item in table:
                if isinstance(item, tuple):
                    first, count = item
                    if block < count:
                        return first + block
                    block -= count
        raise Malformed(f"block {block} of partition {partition} is not mapped")

    def _table(self, partition: int) -> Table:
        if partition not in self._tables:
            self._tables[partition] = []  # it may not need itself
            part = self.partitions[partition]
            if part.kind == "virtual":
                self._tables[partition] = self._virtual(part)
            elif part.kind == "metadata":
                self._tables[partition] = self._metadata(part)
            else:
                self._tables[partition] = self._sparing(part)
        return self._tables[partition]

    def _virtual(self, part: Partition) -> list[int]:
        """Return the virtual allocation table (UDF 2.2.11); its file entry is in the last block written."""
        last = min(self.source.size // self.sector, part.start + part.length) - 1
        for sector in range(last, max(part.start, last - 64), -1):
            data = self.source.pread(sector * self.sector, self.sector)
            if tag(data, sector - part.start) not in (FILE, EXTENDED_FILE):
                continue
            file = parse_file(data)
            if file.type not in (0, 248) or file.form > 3 or file.size > 64 << 20:
                continue
            table = self._physical_data(file, part)
            places = [(sector, self.sector)]
            if file.form != 3:
                found = extents(file.allocation, file.form, 0)
                places += [(part.start + extent.block, extent.length) for extent in found]
            self.claims += [Claim(at * self.sector, size, "virtual allocation table") for at, size in places]
            # UDF 2.00 has a header; 1.50 a trailer of 36 bytes, the type being 0.
            skip = int.from_bytes(table[:2], "little") if file.type == 248 else 0
            end = len(table) if file.type == 248 else len(table) - 36
            body = table[skip:end]
            return list(struct.unpack(f"<{len(body) // 4}I", body[: len(body) // 4 * 4]))
        raise Malformed("no virtual allocation table")

    def _physical_data(self, file: File, part: Partition) -> bytes:
        if file.form == 3:
            return file.allocation
        out = b""
        for extent in extents(file.allocation, file.form, 0):
            out += self.source.exactly((part.start + extent.block) * self.sector, min(extent.length, 64 << 20))
        return out[: file.size]

    def _metadata(self, part: Partition) -> list[tuple[int, int]]:
        """Return the stretches of the metadata file (UDF 2.2.10), or of its mirror."""
        for at in (40, 44):
            block = int.from_bytes(part.map[at : at + 4], "little")
            data = self.source.pread((part.start + block) * self.sector, self.sector)
            if tag(data, block) in (FILE, EXTENDED_FILE):
                file = parse_file(data)
                found = extents(file.allocation, file.form, 0) if file.form < 3 else iter(())
                return [(extent.block, extent.length // self.block) for extent in found]
        raise Malformed("neither the metadata file nor its mirror is there")

    def _sparing(self, part: Partition) -> dict[int, int]:
        """Return where packets were moved to (UDF 2.2.12)."""
        for at in range(48, 48 + 4 * min(part.map[42], 4), 4):
            sector = int.from_bytes(part.map[at : at + 4], "little")
            size = min(int.from_bytes(part.map[44:48], "little"), 1 << 20)
            data = self.source.pread(sector * self.sector, size)
            if data[21:39] == b"*UDF Sparing Table":
                count = min(int.from_bytes(data[48:50], "little"), (len(data) - 56) // 8)
                pairs = struct.iter_unpack("<II", data[56 : 56 + 8 * count])
                return {old: new for old, new in pairs if old < 0xFFFFFFF0}
        return {}

    def sparing_tables(self) -> list[Claim]:
        """Return where the tables of packets that moved are."""
        return [
            Claim(int.from_bytes(part.map[at : at + 4], "little") * self.sector, size, "sparing table")
            for part in self.partitions
            if part.kind == "sparable"
            for size in [min(int.from_bytes(part.map[44:48], "little"), 1 << 20)]
            for at in range(48, 48 + 4 * min(part.map[42], 4), 4)
        ]
