"""GUID partition tables. Both copies are checked; the first one whose checksums hold is believed."""

from __future__ import annotations

import struct
import uuid
import zlib
from typing import NamedTuple

from .base import Claim, Format, LimitReached, Limits, Malformed, NotThisFormat, Reader, Reference, Source
from .partition import Partition, PartitionReader

SIGNATURE = b"EFI PART"
# Table 5-5. signature, revision, header size, CRC-32, reserved, this LBA, other LBA, first usable, last usable, disk
# GUID, LBA of the entries, entries, entry size, CRC-32 of the entries
HEADER = struct.Struct("<8s4L4Q16sQ3L")
# Table 5-6. type, unique GUID, first LBA, last LBA, attributes, name
ENTRY = struct.Struct("<16s16s3Q72s")
SECTORS = (512, 4096)
UNUSED = bytes(16)
MOST_ENTRIES = 16384  # of the size of an entry array; 128 is usual


class Copy(NamedTuple):
    """One of the two copies of header and entries."""

    at: int
    header_size: int
    this: int
    other: int
    disk: bytes
    entries_at: int
    entry_size: int
    entries: bytes
    state: str
    """ok, or what is wrong."""


def read_copy(source: Source, at: int, sector: int, limits: Limits) -> Copy | None:
    """Read the header at offset `at`, and its entries; None if there is no header.

    Raises:
        LimitReached: `metadata_bytes`.
    """
    raw = source.pread(at, sector)
    if raw[:8] != SIGNATURE or len(raw) < HEADER.size:
        return None
    _, _, size, crc, _, this, other, _, _, disk, entries_lba, count, entry_size, entries_crc = HEADER.unpack_from(raw)
    wrong = []
    if not HEADER.size <= size <= sector:
        wrong.append(f"header size {size}")
    elif zlib.crc32(raw[:16] + bytes(4) + raw[20:size]) != crc:
        wrong.append("header CRC-32 differs")
    if this * sector != at:
        wrong.append(f"says that it is at LBA {this}")
    entries = b""
    if entry_size < ENTRY.size or entry_size % 8 or not 0 < count <= MOST_ENTRIES:
        wrong.append(f"{count} entries of {entry_size} bytes")
    else:
        if count * entry_size > limits.metadata_bytes:
            raise LimitReached("metadata_bytes", limits.metadata_bytes)
        entries = source.pread(entries_lba * sector, count * entry_size)
        if len(entries) < count * entry_size:
            wrong.append("entries are beyond the end")
        elif zlib.crc32(entries) != entries_crc:
            wrong.append("CRC-32 of the entries differs")
    state = ", ".join(wrong) or "ok"
    return Copy(at, size, this, other, disk, entries_lba * sector, entry_size, entries, state)


class Gpt(PartitionReader):
    """See `Reader`."""

    def __init__(self, source: Source, sector: int, primary: Copy | None, backup: Copy | None) -> None:
        super().__init__(source)
        self.format = FORMAT
        copies = [copy for copy in (primary, backup) if copy and copy.entries]
        best = next((copy for copy in copies if copy.state == "ok"), copies[0] if copies else None)
        if best is None:
            raise Malformed("neither copy of the table can be read")
        self.detail = {
            "sector_bytes": sector,
            "disk_guid": str(uuid.UUID(bytes_le=best.disk)),
            "primary": primary.state if primary else "missing",
            "backup": backup.state if backup else "missing",
            "copies_agree": primary.entries == backup.entries if primary and backup else None,
            "read_from": "primary" if best is primary else "backup",
        }
        if source.pread(510, 2) == b"\x55\xaa":
            self.tables.append(Claim(0, 512, "protective MBR"))
        for copy in copies:
            self.tables += [
                Claim(copy.at, min(sector, source.size - copy.at), "header"),
                Claim(copy.entries_at, len(copy.entries), "partition entries"),
            ]
        for number, at in enumerate(range(0, len(best.entries) - ENTRY.size + 1, best.entry_size), 1):
            kind, unique, first, last, attributes, name = ENTRY.unpack_from(best.entries, at)
            if kind == UNUSED:
                continue
            size = (last + 1 - first) * sector
            label = name.decode("utf-16-le", "backslashreplace").split("\0")[0]
            self.detail[str(number)] = (
                f"name={label} type={uuid.UUID(bytes_le=kind)} unique={uuid.UUID(bytes_le=unique)} "
                f"attributes={attributes:#018x}"
            )
            if size <= 0 or first * sector >= 1 << 63 or size >= 1 << 63:
                self.malformed(f"first LBA {first}, last LBA {last}", number)
            else:
                self.partitions.append(Partition(number, first * sector, size))
        self.declared = len(self.partitions) + len(self.problems)


def protective(sector: bytes) -> bool:
    """Tell whether a boot sector has a protective partition (section 5.2.3)."""
    return sector[510:512] == b"\x55\xaa" and any(sector[450 + 16 * n] == 0xEE for n in range(4))


def open_gpt(source: Source, limits: Limits) -> Reader:
    """Claim a disk with a GUID partition table; see `Format.open`. The backup copy alone is enough."""
    head = source.pread(0, 8192)
    if len(head) < 1024:
        raise NotThisFormat
    for sector in SECTORS:
        primary = read_copy(source, sector, sector, limits) if head[sector : sector + 8] == SIGNATURE else None
        if primary is None and not protective(head):
            continue
        last = source.size // sector * sector - sector
        backup = None
        # Where the primary points to; behind it, if the image was cut or grown, the last sector.
        places = {primary.other * sector: None, last: None} if primary else {last: None}
        for at in places:
            backup = backup or (read_copy(source, at, sector, limits) if at > sector else None)
        if primary is None and (backup is None or backup.state != "ok"):
            continue
        return Gpt(source, sector, primary, backup)
    raise NotThisFormat


FORMAT = Format(
    name="gpt",
    title="GUID partition table",
    open=open_gpt,
    magics=((512, SIGNATURE), (4096, SIGNATURE), (510, b"\x55\xaa")),
    references=(
        Reference(
            "UEFI Specification 2.10, chapter 5", "https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html"
        ),
    ),
    limitations=("a disk that has lost both its primary table and its protective MBR",),
)
