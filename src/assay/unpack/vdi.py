"""VDI, the disk images of VirtualBox: one table of blocks (1 MiB as a rule)."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator

from .base import Format, LimitReached, Limits, Malformed, NotThisFormat, Reference, Source, Unsupported
from .virtualdisk import ELSEWHERE, HOLE, SECTOR, Disk, DiskReader, Part, text

SIGNATURE = b"\x7f\x10\xda\xbe"
# From offset 64: signature, version, header size, type, flags, description, offsets of block map and data, cylinders,
# heads, sectors, sector size, unused, disk size, block size, extra bytes before a block, blocks, blocks allocated,
# UUIDs: of the image, its last change, its parent, the parent's last change
HEADER = struct.Struct("<4sIIII256s7IQIIII16s16s16s16s")
TYPES = {1: "dynamic", 2: "fixed", 3: "undo", 4: "differencing"}
UNALLOCATED, ZERO = 0xFFFFFFFF, 0xFFFFFFFE


class Vdi(DiskReader):
    """An opened VDI image."""

    def __init__(self, source: Source, limits: Limits) -> None:
        super().__init__(source, limits)
        self.format = FORMAT
        (
            _, version, header, kind, flags, description, self.map_at, self.data_at, _, _, _, sector, _,
            size, self.block, self.extra, self.blocks, allocated, image, changed, parent, _,
        ) = HEADER.unpack(source.exactly(64, HEADER.size))  # fmt: skip
        if version >> 16 == 0:
            raise Unsupported("version 0 of the format")
        if version >> 16 != 1 or kind not in TYPES or header < HEADER.size - 24 or sector not in (0, SECTOR):
            raise NotThisFormat
        if self.block < SECTOR or self.block & self.block - 1 or self.map_at < 512 or self.data_at < self.map_at:
            raise NotThisFormat
        if size > self.blocks * self.block:
            raise Malformed(f"{self.blocks} blocks of {self.block} bytes for a disk of {size} bytes")
        self.size = size
        self.parent = any(parent) or kind in (3, 4)
        self.others = f"the parent disk {uuid.UUID(bytes_le=parent)}, which is not at hand"
        self.disks.append(Disk(b"disk", size))
        self.detail = {
            "version": f"{version >> 16}.{version & 0xFFFF}",
            "type": TYPES[kind],
            "flags": flags,
            "creator": text(source.pread(0, 64).split(b"\n")[0].rstrip(b"\0")),
            "description": text(description.split(b"\0")[0]),
            "size": size,
            "block_bytes": self.block,
            "blocks_allocated": allocated,
            "uuid": str(uuid.UUID(bytes_le=image)),
            "last_change": str(uuid.UUID(bytes_le=changed)),
            "parent": str(uuid.UUID(bytes_le=parent)) if any(parent) else None,
        }

    def parts(self, number: int) -> Iterator[Part]:  # noqa: ARG002 - there is one disk
        """See `DiskReader.parts`."""
        if 4 * self.blocks > self.limits.metadata_bytes:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        raw = self.source.exactly(self.map_at, 4 * self.blocks)
        unmapped = ELSEWHERE if self.parent else HOLE
        for index, (block,) in enumerate(struct.iter_unpack("<I", raw)):
            start = index * self.block
            if block == UNALLOCATED:
                yield Part(start, self.block, unmapped)
            elif block == ZERO:
                yield Part(start, self.block, HOLE)
            elif block >= self.blocks:
                raise Malformed(f"block {index} is said to be block {block} of {self.blocks} in the file")
            else:
                yield Part(start, self.block, self.data_at + block * (self.block + self.extra) + self.extra)

    def structures(self) -> Iterator[tuple[int, int, str]]:
        """See `DiskReader.structures`."""
        yield 0, SECTOR, "header"
        yield self.map_at, 4 * self.blocks, "block map"


def _open(source: Source, limits: Limits) -> Vdi:
    return Vdi(source, limits)


FORMAT = Format(
    name="vdi",
    title="VDI virtual disk (VirtualBox)",
    open=_open,
    magics=[(64, SIGNATURE)],
    references=[
        Reference(
            "VirtualBox, VDICore.h",
            "https://www.virtualbox.org/browser/vbox/trunk/src/VBox/Storage/VDICore.h",
        ),
    ],
    limitations=["version 0 of the format", "blocks that lie in a parent disk: they are named, not read"],
    smallest=64 + HEADER.size,
)
