"""MBR (DOS) partition tables with their chain of logical partitions.

The signature is two bytes that many other things carry too (boot sectors of file systems, boot loaders), so a table is
claimed only if all of it makes sense.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import NamedTuple

from .base import Claim, Format, Limits, NotThisFormat, Problem, Reader, Reference, Source
from .partition import Partition, PartitionReader

SIGNATURE = b"\x55\xaa"
SLOT = struct.Struct("<B3xB3xLL")  # status, CHS of the first sector, type, CHS of the last, first LBA, sectors
EXTENDED = (0x05, 0x0F, 0x85)
PROTECTIVE = 0xEE
LOGICAL = 1024  # logical partitions followed; Linux stops at 252
SECTORS = (512, 4096)


class Slot(NamedTuple):
    """One of a table's four entries."""

    status: int
    type: int
    first: int
    sectors: int


def slots(sector: bytes) -> list[Slot] | None:
    """Return the four entries of a boot sector, or None if it cannot be a partition table."""
    if sector[510:512] != SIGNATURE:
        return None
    out = []
    for at in range(446, 510, 16):
        slot = Slot(*SLOT.unpack_from(sector, at))
        if slot.status not in (0, 0x80):
            return None
        if (slot.type == 0 or slot.sectors == 0) and any(sector[at : at + 16]):
            return None
        out.append(slot)
    return out


def is_boot_sector(sector: bytes) -> bool:
    """Tell whether it is the first sector of a FAT, exFAT or NTFS file system.

    Their BIOS parameter block (Microsoft FAT specification 1.03, section 3.1) lies where an MBR has code: a jump,
    sector size, sectors per cluster and media byte make sense together only there. exFAT and NTFS have their name at
    offset 3.
    """
    if sector[3:11] in (b"EXFAT   ", b"NTFS    "):
        return True
    size, cluster, media = int.from_bytes(sector[11:13], "little"), sector[13], sector[21]
    return (
        sector[0] in (0xEB, 0xE9)
        and size in (512, 1024, 2048, 4096)
        and cluster > 0
        and cluster & (cluster - 1) == 0
        and (media == 0xF0 or media >= 0xF8)
    )


class Mbr(PartitionReader):
    """See `Reader`."""

    def __init__(self, source: Source, boot: bytes, table: list[Slot], sector: int) -> None:
        super().__init__(source)
        self.format = FORMAT
        self.detail = {"sector_bytes": sector, "disk_signature": f"{int.from_bytes(boot[440:444], 'little'):08x}"}
        self.sector = sector
        self.tables.append(Claim(0, 512, "boot sector"))
        number = 5
        for index, slot in enumerate(table, 1):
            if slot.type in EXTENDED:
                self.detail[str(index)] = f"type={slot.type:#04x} extended"
                number = self._chain(slot, number)
            elif slot.type:
                self._add(index, slot, slot.first)
        self.partitions.sort()

    def _add(self, number: int, slot: Slot, first: int) -> None:
        self.detail[str(number)] = f"type={slot.type:#04x}" + (" active" if slot.status else "")
        self.partitions.append(Partition(number, first * self.sector, slot.sectors * self.sector))

    def _chain(self, extended: Slot, number: int) -> int:
        """Follow the chain of extended boot records; each has one logical partition and the way to the next record."""
        at, seen = extended.first, set[int]()
        while True:
            if at in seen:
                self.malformed(f"chain of logical partitions returns to sector {at}")
                return number
            if len(seen) == LOGICAL:
                self.problems.append(
                    Problem("limit", f"more than {LOGICAL} logical partitions", limit=f"logical {LOGICAL}")
                )
                return number
            seen.add(at)
            table = slots(self.source.pread(at * self.sector, 512))
            if table is None:
                self.malformed(f"no extended boot record at sector {at}")
                return number
            self.tables.append(Claim(at * self.sector, 512, "extended boot record"))
            following = None
            for slot in table:
                if slot.type in EXTENDED:
                    following = extended.first + slot.first if following is None else following
                elif slot.type:
                    first = at + slot.first
                    if (first + slot.sectors) * self.sector > self.source.size:
                        self.malformed(f"logical partition {number} at sector {first} is beyond the end")
                    else:
                        self._add(number, slot, first)
                    number += 1
                    if number > LOGICAL + 5:
                        return number
            if following is None:
                return number
            at = following


def open_mbr(source: Source, limits: Limits) -> Reader:  # noqa: ARG001 - four entries need no limits
    """Claim a disk with an MBR partition table; see `Format.open`."""
    boot = source.pread(0, 512)
    if len(boot) < 512 or is_boot_sector(boot):
        raise NotThisFormat
    table = slots(boot)
    used = sorted((slot for slot in table or () if slot.type), key=lambda slot: slot.first)
    if not table or not used or used[0].first == 0 or used[0].type == PROTECTIVE:
        raise NotThisFormat
    if any(a.first + a.sectors > b.first for a, b in pairwise(used)):
        raise NotThisFormat
    sectors = [n for n in SECTORS if (used[-1].first + used[-1].sectors) * n <= source.size]
    if not sectors:
        raise NotThisFormat
    # Only an extended partition shows which sector size is meant: its boot record is where the table says.
    first = next((slot.first for slot in used if slot.type in EXTENDED), None)
    right = [n for n in sectors if first is not None and slots(source.pread(first * n, 512)) is not None]
    return Mbr(source, boot, table, (right or sectors)[0])


FORMAT = Format(
    name="mbr",
    title="MBR (DOS) partition table",
    open=open_mbr,
    magics=((510, SIGNATURE),),
    priority=-10,
    anywhere=False,
    references=(
        Reference(
            "UEFI Specification 2.10, section 5.2 (legacy master boot record)",
            "https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html",
        ),
        Reference(
            "Microsoft FAT specification 1.03 (what is not an MBR)",
            "https://download.microsoft.com/download/1/6/1/161ba512-40e2-4cc9-843a-923143f3456c/fatgen103.doc",
        ),
    ),
    limitations=(
        "sectors of 4096 bytes are recognised only where there is an extended partition",
        "a table any of whose primary partitions runs beyond the image",
        "a table in the boot sector of a FAT, exFAT or NTFS file system",
    ),
)
