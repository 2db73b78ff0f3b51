"""VHDX, the disk images of Hyper-V: headers and region tables twice, metadata, and a table of blocks.

A disk whose log holds changes that were not yet written in place is read as it lies, and says `log_to_replay`.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator

from .base import Format, LimitReached, Limits, Malformed, NotThisFormat, Reference, Source, Truncated, Unsupported
from .crc32c import crc32c
from .virtualdisk import ELSEWHERE, HOLE, Disk, DiskReader, Part

MAGIC = b"vhdxfile"
KIB64, MIB = 64 << 10, 1 << 20
# Clause 2.2.2: signature, checksum, sequence number, GUIDs: of the last write to the file, to its data, of the log; log
# version, version, length and offset of the log
HEADER = struct.Struct("<4sIQ16s16s16sHHIQ")
BAT = "2dc27766-f623-4200-9d64-115e9bfd4a08"
METADATA = "8b7ca206-4790-4b9a-b8fe-575f050f886e"
FILE_PARAMETERS = "caa16737-fa36-4d43-b3b6-33f0aa44e76b"
DISK_SIZE = "2fa54224-cd1b-4876-b211-5dbed83bf4b8"
DISK_ID = "beca12ab-b2e6-4523-93ef-c309e000c746"
LOGICAL_SECTOR = "8141bf1d-a96f-4709-ba47-f233a8faab5f"
PHYSICAL_SECTOR = "cda348c7-445d-4471-9cc9-e9885251c556"
PARENT_LOCATOR = "a8d35f2d-b30b-454d-abf7-d3d84834ab0c"
NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, PRESENT, PARTLY = 0, 1, 2, 3, 6, 7


def _summed(raw: bytes, signature: bytes) -> bool:
    """Tell whether a structure has its signature and its CRC-32C, which counts as zero itself."""
    stated = int.from_bytes(raw[4:8], "little")
    return raw[:4] == signature and crc32c(raw[:4] + bytes(4) + raw[8:]) == stated


class Vhdx(DiskReader):
    """An opened VHDX."""

    def __init__(self, source: Source, limits: Limits) -> None:
        super().__init__(source, limits)
        self.format = FORMAT
        headers = []
        for at in (KIB64, 2 * KIB64):
            raw = source.pread(at, 4096)
            if len(raw) == 4096 and _summed(raw, b"head"):
                headers.append(HEADER.unpack_from(raw))
        if not headers:
            if source.size < 3 * KIB64:
                raise Truncated(f"ends at {source.size}, before its headers")
            if source.pread(KIB64, 4) != b"head" and source.pread(2 * KIB64, 4) != b"head":
                raise NotThisFormat
            raise Malformed("the checksums of both headers differ")
        _, _, sequence, file_id, data_id, log, _, version, self.log_length, self.log_at = max(
            headers, key=lambda header: int(header[2])
        )
        if version != 1:
            raise Unsupported(f"version {version}")
        self.regions = self._regions()
        items = self._metadata()
        self.block, flags = struct.unpack_from("<II", items[FILE_PARAMETERS])
        self.size, self.sector = (
            int.from_bytes(items[DISK_SIZE][:8], "little"),
            int.from_bytes(items[LOGICAL_SECTOR][:4], "little"),
        )
        if not MIB <= self.block <= 256 * MIB or self.block & self.block - 1 or self.sector not in (512, 4096):
            raise Malformed(f"blocks of {self.block} bytes, sectors of {self.sector} bytes")
        if self.size > 1 << 50:
            raise Malformed(f"a disk of {self.size} bytes")
        self.parent = bool(flags & 2)
        self.ratio = (1 << 23) * self.sector // self.block
        self.disks.append(Disk(b"disk", self.size))
        self.detail = {
            "version": version,
            "creator": source.pread(8, 512).decode("utf-16-le", "backslashreplace").split("\0")[0],
            "size": self.size,
            "block_bytes": self.block,
            "logical_sector_bytes": self.sector,
            "physical_sector_bytes": int.from_bytes(items.get(PHYSICAL_SECTOR, b"")[:4], "little") or None,
            "disk_id": _guid(items[DISK_ID]) if DISK_ID in items else None,
            "file_write_id": _guid(file_id),
            "data_write_id": _guid(data_id),
            "fixed": bool(flags & 1),
            "differencing": self.parent,
            "valid_headers": len(headers),
            "sequence_number": sequence,
            "log_to_replay": any(log),
        }
        if self.parent:
            self._locators(items.get(PARENT_LOCATOR, b""))
            self.others = f"the parent disk {self.detail.get('parent relative_path')!r}, which is not at hand"

    def _regions(self) -> dict[str, tuple[int, int]]:
        """Return (offset, length) of each region, from the first of two region tables that is whole."""
        for at in (3 * KIB64, 4 * KIB64):
            raw = self.source.pread(at, KIB64)
            count = int.from_bytes(raw[8:12], "little")
            if len(raw) == KIB64 and count <= 2047 and _summed(raw, b"regi"):
                found = {}
                for number in range(count):
                    kind, offset, length, required = struct.unpack_from("<16sQII", raw, 16 + 32 * number)
                    found[_guid(kind)] = offset, length
                    if required and _guid(kind) not in (BAT, METADATA):
                        raise Unsupported(f"a required region {_guid(kind)}")
                if BAT in found and METADATA in found:
                    return found
        raise Malformed("no region table is whole")

    def _metadata(self) -> dict[str, bytes]:
        start, length = self.regions[METADATA]
        raw = self.source.exactly(start, KIB64)
        count = int.from_bytes(raw[10:12], "little")
        if raw[:8] != b"metadata" or count > 2047:
            raise Malformed(f"no metadata table at {start}")
        items = {}
        for number in range(count):
            kind, offset, size, flags = struct.unpack_from("<16sIII", raw, 32 + 32 * number)
            known = (FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL_SECTOR, PHYSICAL_SECTOR, PARENT_LOCATOR)
            if _guid(kind) not in known:
                if flags & 4:
                    raise Unsupported(f"a required item of metadata {_guid(kind)}")
                continue
            if size > MIB or offset + size > length:
                raise Malformed(f"an item of metadata of {size} bytes at {offset} of {length}")
            items[_guid(kind)] = self.source.exactly(start + offset, size)
        for needed, size in ((FILE_PARAMETERS, 8), (DISK_SIZE, 8), (LOGICAL_SECTOR, 4)):
            if len(items.get(needed, b"")) < size:
                raise Malformed(f"metadata without the item {needed}")
        return items

    def _locators(self, raw: bytes) -> None:
        """Keep what is said of the parent: pairs of UTF-16 strings (clause 2.6.2.6)."""
        if len(raw) < 20:
            return
        for number in range(min(int.from_bytes(raw[18:20], "little"), (len(raw) - 20) // 12, 64)):
            key_at, value_at, key_length, value_length = struct.unpack_from("<IIHH", raw, 20 + 12 * number)
            key = raw[key_at : key_at + key_length].decode("utf-16-le", "backslashreplace")
            self.detail[f"parent {key}"] = raw[value_at : value_at + value_length].decode(
                "utf-16-le", "backslashreplace"
            )

    # The map

    def _table(self) -> tuple[int, ...]:
        """Return the table of blocks; after every `ratio` payload blocks it has one entry for a sector bitmap."""
        blocks = -(-self.size // self.block)
        chunks = -(-blocks // self.ratio)
        count = chunks * (self.ratio + 1) if self.parent else blocks + max(0, blocks - 1) // self.ratio
        start, length = self.regions[BAT]
        if 8 * count > self.limits.metadata_bytes:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        if 8 * count > length:
            raise Malformed(f"a block table of {length} bytes for {blocks} blocks")
        return struct.unpack(f"<{count}Q", self.source.exactly(start, 8 * count))

    def parts(self, number: int) -> Iterator[Part]:  # noqa: ARG002 - there is one disk
        """See `DiskReader.parts`."""
        start = 0
        table = self._table()
        for index, word in enumerate(table):
            chunk, place = divmod(index, self.ratio + 1)
            if place == self.ratio:
                continue
            state, at = word & 7, word >> 20 << 20
            if state in (PRESENT, PARTLY) and at < MIB:
                raise Malformed(f"a block at {at}")
            if state == PRESENT:
                yield Part(start, self.block, at)
            elif state == PARTLY and self.parent:
                bitmap = (chunk + 1) * (self.ratio + 1) - 1
                yield from self._sectors(start, at, table[bitmap], place)
            elif state == NOT_PRESENT and self.parent:
                yield Part(start, self.block, ELSEWHERE)
            elif state in (NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED):
                yield Part(start, self.block, HOLE)
            else:
                raise Malformed(f"a block in state {state}")
            start += self.block
            if start >= self.size:
                return

    def _sectors(self, start: int, at: int, bitmap: int, place: int) -> Iterator[Part]:
        """Yield the sectors of a block that is partly in a differencing disk."""
        count = self.block // self.sector
        if bitmap & 7 != PRESENT:
            raise Malformed(f"a sector bitmap in state {bitmap & 7}")
        bits = self.source.exactly((bitmap >> 20 << 20) + place * count // 8, count // 8)
        for sector in range(count):
            here = bits[sector >> 3] >> (sector & 7) & 1
            yield Part(start + sector * self.sector, self.sector, at + sector * self.sector if here else ELSEWHERE)

    def structures(self) -> Iterator[tuple[int, int, str]]:
        """See `DiskReader.structures`. The first MiB belongs to the format as a whole (clause 2.1)."""
        yield 0, KIB64, "file identifier"
        yield KIB64, 2 * KIB64, "headers"
        yield 3 * KIB64, 2 * KIB64, "region tables"
        yield 5 * KIB64, MIB - 5 * KIB64, "reserved"
        yield self.log_at, self.log_length, "log"
        for name, what in ((BAT, "block table"), (METADATA, "metadata")):
            yield *self.regions[name], what
        if self.parent:
            for word in self._table()[self.ratio :: self.ratio + 1]:
                if word & 7 == PRESENT:
                    yield word >> 20 << 20, MIB, "sector bitmap"


def _guid(raw: bytes) -> str:
    return str(uuid.UUID(bytes_le=bytes(raw[:16]))) if len(raw) >= 16 else ""


def _open(source: Source, limits: Limits) -> Vhdx:
    return Vhdx(source, limits)


FORMAT = Format(
    name="vhdx",
    title="VHDX virtual disk (Hyper-V)",
    open=_open,
    magics=[(0, MAGIC)],
    references=[
        Reference(
            "[MS-VHDX]: Virtual Hard Disk v2 (VHDX) File Format",
            "https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-vhdx/",
        ),
    ],
    limitations=[
        "the log is not replayed: a disk that needs it is read as it lies",
        "blocks that lie in a parent disk: they are named, not read",
    ],
    smallest=MIB,
)
