"""Members of Linux software RAID (MD): the data that one member has on its own.

Superblocks of version 1 stand 4 KiB behind the start (1.2), at the start (1.1) or near the end (1.0); those of version
0.90 near the end, in the byte order of the machine. A mirror's member, and the only member of a linear or striped
array, hold the whole of the array's data, which is the entry `data`.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from typing import NamedTuple

from .base import Format, Limits, Malformed, NotThisFormat, Reference, Source, ns
from .virtualdisk import ELSEWHERE, SECTOR, Disk, DiskReader, Part, text

MAGIC = b"\xfc\x4e\x2b\xa9"
OLD = 4096
"""Bytes of a superblock of version 0.90."""
# magic, major version, features, -, array: UUID, name, time, level, layout, size; chunk, devices, bitmap
NEW_ARRAY = struct.Struct("<4sIII16s32sQiIQIIi")
# From offset 128: offset and size of the data, offset of this superblock, -, number of this device, -, its UUID
NEW_DEVICE = struct.Struct("<QQQQII16s")
LEVELS = {-4: "multipath", -1: "linear", 0: "raid0", 1: "raid1", 4: "raid4", 5: "raid5", 6: "raid6", 10: "raid10"}
SPARE, FAULTY, JOURNAL = 0xFFFF, 0xFFFE, 0xFFFD
ROLES = {SPARE: "spare", FAULTY: "faulty", JOURNAL: "journal"}
Detail = dict[str, str | int | bool | None]


class Member(NamedTuple):
    """What a superblock says of the device that it stands on."""

    at: int
    length: int
    start: int
    """Offset of the data, in bytes."""
    size: int
    whole: bool
    """The data of this member are those of the array."""
    bitmap: int
    """Offset of the bitmap of writes, or 0."""
    detail: Detail


def read_new(source: Source, at: int) -> Member | None:
    """Return what a superblock of version 1 at an offset says; None if there is none."""
    raw = source.pread(at, 4096)
    if len(raw) < 1024 or raw[:8] != MAGIC + b"\1\0\0\0":
        return None
    (
        _, _, features, _, identity, name, created, level, layout, size, chunk, devices, bitmap
    ) = NEW_ARRAY.unpack_from(raw)  # fmt: skip
    start, length, here, _, number, _, device = NEW_DEVICE.unpack_from(raw, 128)
    updated, events, _, stated, most = struct.unpack_from("<QQQII", raw, 192)
    end = 256 + 2 * most
    if here * SECTOR != at or end > len(raw) or _sum(raw[:216] + bytes(4) + raw[220:end], "<") != stated:
        return None
    role = struct.unpack_from("<H", raw, 256 + 2 * number)[0] if number < most else SPARE
    active = role not in ROLES
    detail = _detail(level, layout, chunk, devices, active)
    detail |= {
        "version": "1.1" if at == 0 else "1.2" if at == 4096 else "1.0",
        "uuid": str(uuid.UUID(bytes=identity)),
        "name": text(name.split(b"\0")[0]),
        "device_uuid": str(uuid.UUID(bytes=device)),
        "role": ROLES.get(role, str(role)),
        "features": features,
        "created": _time(created),
        "updated": _time(updated),
        "events": events,
        "reshaping": bool(features & 4),
    }
    whole = _whole(level, devices, active) and not features & 4
    used = size if level == 1 and size else length
    place = at + bitmap * SECTOR if features & 1 else 0
    return Member(at, end, start * SECTOR, min(used, length) * SECTOR, whole, place, detail)


def read_old(source: Source, at: int) -> Member | None:
    """Return what a superblock of version 0.90 at an offset says; None if there is none."""
    raw = source.pread(at, OLD)
    order = "<" if raw[:4] == MAGIC else ">"
    if len(raw) < OLD or raw[:4] not in (MAGIC, MAGIC[::-1]):
        return None
    words = struct.unpack(f"{order}1024I", raw)
    if words[1:3] != (0, 90) or _sum(raw[:152] + bytes(4) + raw[156:], order) != words[38]:
        return None
    level, size, devices = words[7] - (words[7] >> 31 << 32), words[8] * 1024, words[10]
    state = words[992 + 4]
    active = bool(state & 2)
    identity = struct.pack(">4I", words[5], *words[13:16])
    detail = _detail(level, words[64], words[65] // SECTOR, devices, active)
    detail |= {
        "version": "0.90",
        "byte_order": "little" if order == "<" else "big",
        "uuid": str(uuid.UUID(bytes=identity)),
        "role": str(words[992 + 3]) if active else "faulty" if state & 1 else "spare",
        "created": ns(words[6]),
        "updated": ns(words[32]),
        "events": words[39] | words[40] << 32 if order == "<" else words[40] | words[39] << 32,
    }
    # The size is that of every member in an array with redundancy; else the member goes up to its superblock.
    used = size if size and level > 0 else at
    if used > at:
        return None
    return Member(at, OLD, 0, used, _whole(level, devices, active), 0, detail)


def _sum(raw: bytes, order: str) -> int:
    """Return the sum of 32-bit words (and of a last 16-bit one), its carries added once more."""
    total: int = sum(struct.unpack_from(f"{order}{len(raw) // 4}I", raw))
    if len(raw) % 4:
        total += struct.unpack_from(f"{order}H", raw, len(raw) - 2)[0]
    return (total & 0xFFFFFFFF) + (total >> 32) & 0xFFFFFFFF


def _detail(level: int, layout: int, chunk: int, devices: int, active: bool) -> Detail:
    return {
        "level": LEVELS.get(level, str(level)),
        "layout": layout,
        "chunk_bytes": chunk * SECTOR,
        "devices": devices,
        "active": active,
    }


def _whole(level: int, devices: int, active: bool) -> bool:
    return active and (level == 1 or (level in (-4, -1, 0) and devices == 1))


def _time(word: int) -> int:
    """Return a time of 40 bits of seconds and 24 of microseconds."""
    return ns(word & (1 << 40) - 1, (word >> 40) * 1000)


class Md(DiskReader):
    """An opened member."""

    def __init__(self, source: Source, limits: Limits, member: Member) -> None:
        super().__init__(source, limits)
        self.format = FORMAT
        self.member = member
        self.detail = member.detail
        if member.start + member.size > 1 << 60:
            raise Malformed(f"{member.size} bytes of data at {member.start}")
        level, role = self.detail["level"], self.detail["role"]
        self.others = f"the other members of the array ({level}, {self.detail['devices']} devices, role {role})"
        self.disks.append(Disk(b"data", member.size))

    def parts(self, number: int) -> Iterator[Part]:  # noqa: ARG002 - there is one disk
        """See `DiskReader.parts`."""
        yield Part(0, self.member.size, self.member.start if self.member.whole else ELSEWHERE)

    def structures(self) -> Iterator[tuple[int, int, str]]:
        """See `DiskReader.structures`."""
        yield self.member.at, self.member.length, "superblock"
        raw = self.source.pread(self.member.bitmap, 256) if self.member.bitmap > 0 else b""
        if raw[:4] == b"bitm" and len(raw) == 256:
            size, chunk = struct.unpack_from("<Q", raw, 40)[0], struct.unpack_from("<I", raw, 52)[0]
            if chunk:
                bits = -(-size * SECTOR // chunk)
                yield self.member.bitmap, 256 + min(-(-bits // 8), 1 << 24), "bitmap of writes"


def _open(source: Source, limits: Limits) -> Md:
    for at in (4096, 0):
        if (member := read_new(source, at)) is not None:
            return Md(source, limits, member)
    # 1.0: at least 8 KiB before the end, on 4 KiB. 0.90: the last whole 64 KiB before the last 64 KiB.
    end = source.size // SECTOR * SECTOR
    late = (end - 8192) // 4096 * 4096
    if late > 0 and (member := read_new(source, late)) is not None:
        return Md(source, limits, member)
    old = source.size // 65536 * 65536 - 65536
    if old > 0 and (member := read_old(source, old)) is not None:
        return Md(source, limits, member)
    raise NotThisFormat


FORMAT = Format(
    name="md",
    title="member of Linux software RAID (MD)",
    open=_open,
    magics=[(0, MAGIC), (4096, MAGIC)],
    references=[
        Reference("Linux RAID, superblock formats", "https://raid.wiki.kernel.org/index.php/RAID_superblock_formats"),
        Reference("Linux, include/uapi/linux/raid/md_p.h", "https://docs.kernel.org/admin-guide/md.html"),
    ],
    limitations=[
        "arrays whose data lie on several members are named, not read",
        "versions 0.90 and 1.0 stand near the end, so only where they end the source are they found",
        "containers of other metadata (DDF, IMSM), journals and reshaping",
    ],
    priority=10,  # with versions 0.90 and 1.0 a member begins as the array does: with its file system
    tail=MAGIC,
    smallest=8192,
)
