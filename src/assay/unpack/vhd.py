"""VHD, the disk images of Virtual PC, Hyper-V and Azure: a disk followed by a footer, or blocks behind a table."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator

from .base import Format, LimitReached, Limits, Malformed, NotThisFormat, Reference, Source, Truncated, Unsupported, ns
from .stretch import byte_sum
from .virtualdisk import ELSEWHERE, HOLE, SECTOR, Disk, DiskReader, Part, text

COOKIE = b"conectix"
# cookie, features, version, offset of the dynamic header, time, creator: application, version, system; size: original
# and current; cylinders, heads, sectors; type, checksum, UUID, saved state
FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII16sB")
# cookie, next, offset of the block table, version, entries, block size, checksum, parent: UUID, time, reserved, name
DYNAMIC = struct.Struct(">8sQQIIII16sII512s")
TYPES = {2: "fixed", 3: "dynamic", 4: "differencing"}
UNUSED = 0xFFFFFFFF
EPOCH = 946_684_800
"""Times count in seconds from 2000-01-01."""


def checked(raw: bytes, at: int) -> bool:
    """Tell whether a structure has its checksum, at offset `at`: the complement of the sum of all other bytes."""
    stated = int.from_bytes(raw[at : at + 4], "big")
    return byte_sum(raw[:at]) + byte_sum(raw[at + 4 :]) ^ 0xFFFFFFFF == stated


def is_footer(raw: bytes) -> bool:
    """Tell whether 512 bytes are a footer or its copy."""
    return len(raw) == SECTOR and raw[:8] == COOKIE and checked(raw, 64)


class Vhd(DiskReader):
    """An opened VHD. `at` is where its footer, or the copy of it, was found."""

    def __init__(self, source: Source, limits: Limits, at: int) -> None:
        super().__init__(source, limits)
        self.format = FORMAT
        self.footer_at = at
        self.footer = source.exactly(at, SECTOR)
        (
            _, features, version, self.dynamic_at, time, application, app_version, system, original, self.size,
            cylinders, heads, sectors, kind, _, identity, saved,
        ) = FOOTER.unpack_from(self.footer)  # fmt: skip
        if version >> 16 != 1 or kind not in TYPES:
            raise Unsupported(f"version {version:#x}, type {kind}")
        self.kind = TYPES[kind]
        self.disks.append(Disk(b"disk", self.size))
        self.detail = {
            "type": self.kind,
            "features": features,
            "size": self.size,
            "original_size": original,
            "created": ns(EPOCH + time),
            "creator": f"{text(application)} {app_version >> 16}.{app_version & 0xFFFF} {text(system)}".strip(),
            "geometry": f"{cylinders}/{heads}/{sectors}",
            "uuid": str(uuid.UUID(bytes=identity)),
            "saved_state": bool(saved),
        }
        if self.kind == "fixed":
            if self.size > at:
                raise Truncated(f"the disk has {self.size} bytes, before its footer are {at}")
        else:
            self._dynamic()

    def _dynamic(self) -> None:
        raw = self.source.exactly(self.dynamic_at, 1024)
        if raw[:8] != b"cxsparse" or not checked(raw, 36):
            raise Malformed(f"no dynamic disk header at {self.dynamic_at}, or its checksum differs")
        _, _, self.table_at, _, self.count, self.block, _, parent, time, _, name = DYNAMIC.unpack_from(raw)
        if self.block < SECTOR or self.block & self.block - 1 or self.block > 1 << 30:
            raise Malformed(f"blocks of {self.block} bytes")
        if self.size > self.count * self.block:
            raise Malformed(f"{self.count} blocks of {self.block} bytes for a disk of {self.size} bytes")
        self.table_bytes = -(-4 * self.count // SECTOR) * SECTOR
        self.count = -(-self.size // self.block)  # entries for more than the disk are not looked at
        self.bitmap = -(-self.block // (SECTOR * 8 * SECTOR)) * SECTOR
        self.detail["block_bytes"] = self.block
        self.locators = []
        if self.kind == "differencing":
            wide = name.decode("utf-16-be", "backslashreplace").split("\0")[0]
            self.others = f"the parent disk {wide!r}, which is not at hand"
            self.detail |= {
                "parent": str(uuid.UUID(bytes=parent)),
                "parent_file": wide,
                "parent_time": ns(EPOCH + time),
            }
            for at in range(576, 768, 24):
                code, _, length, _, offset = struct.unpack_from(">4sIIIQ", raw, at)
                if any(code):
                    self.locators.append((offset, length))

    def parts(self, number: int) -> Iterator[Part]:  # noqa: ARG002 - there is one disk
        """See `DiskReader.parts`. Before each block stands a bitmap; only a differencing disk gives it a meaning."""
        if self.kind == "fixed":
            yield Part(0, self.size, self.footer_at - self.size)
            return
        if 4 * self.count > self.limits.metadata_bytes:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        raw = self.source.exactly(self.table_at, 4 * self.count)
        differs = self.kind == "differencing"
        for index, (sector,) in enumerate(struct.iter_unpack(">I", raw)):
            start, at = index * self.block, sector * SECTOR + self.bitmap
            if sector == UNUSED:
                yield Part(start, self.block, ELSEWHERE if differs else HOLE)
            elif differs:
                yield from self._sectors(start, at)
            else:
                yield Part(start, self.block, at)

    def _sectors(self, start: int, at: int) -> Iterator[Part]:
        """Yield the sectors of a block of a differencing disk: a bit that is set says that the sector is here."""
        bits = self.source.exactly(at - self.bitmap, self.bitmap)
        for sector in range(self.block // SECTOR):
            here = bits[sector >> 3] & 0x80 >> (sector & 7)
            yield Part(start + sector * SECTOR, SECTOR, at + sector * SECTOR if here else ELSEWHERE)

    def structures(self) -> Iterator[tuple[int, int, str]]:
        """See `DiskReader.structures`."""
        if self.kind == "fixed":
            yield self.footer_at, SECTOR, "footer"
            return
        yield 0, SECTOR, "footer, copy"
        yield self.dynamic_at, 1024, "dynamic disk header"
        yield self.table_at, self.table_bytes, "block table"
        for at, length in self.locators:
            yield at, length, "parent locator"
        raw = self.source.pread(self.table_at, min(4 * self.count, self.limits.metadata_bytes))
        for (sector,) in struct.iter_unpack(">I", raw[: len(raw) // 4 * 4]):
            if sector != UNUSED:
                yield sector * SECTOR, self.bitmap, "sector bitmap"
        yield from ((at, SECTOR, "footer") for at in self._footers())

    def _footers(self) -> list[int]:
        """Return where the footer of a dynamic disk is: behind the last of everything, if there."""
        found = self.sectors.claims()
        end = max((claim.offset + claim.length for claim in found), default=0)
        return [end] if is_footer(self.source.pread(end, SECTOR)) else []


def _open(source: Source, limits: Limits) -> Vhd:
    if is_footer(source.pread(0, SECTOR)):
        return Vhd(source, limits, 0)
    at = source.size - SECTOR
    if at < 0 or not is_footer(source.pread(at, SECTOR)):
        raise NotThisFormat
    return Vhd(source, limits, at)


FORMAT = Format(
    name="vhd",
    title="VHD virtual disk (Virtual PC, Hyper-V)",
    open=_open,
    magics=[(0, COOKIE)],
    references=[
        Reference(
            "Microsoft, Virtual Hard Disk Image Format Specification",
            "https://learn.microsoft.com/en-us/windows/win32/vstor/about-vhd",
        ),
    ],
    limitations=[
        "a fixed disk is found by its footer, so only where that ends the source",
        "blocks that lie in a parent disk: they are named, not read",
        "a dynamic disk whose copy of the footer at the start is broken",
    ],
    priority=10,  # a fixed disk begins as the guest's disk does, with a partition table as a rule
    tail=COOKIE,
    smallest=SECTOR,
)
