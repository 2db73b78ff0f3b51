"""Android dynamic partitions: the super partition, whose metadata say which extents each logical partition has.

All numbers are little-endian, sectors have 512 bytes. The geometry stands at 4096 and again at 8192; the metadata slots
follow, and a second copy of all of them:

    "gDla" u32 size; u8 SHA-256 of these bytes with zeros here[32]; u32 metadata size at most, slots, block size
    "0PLA" u16 major, minor; u32 header size; u8 SHA-256[32]; u32 tables size; u8 SHA-256 of the tables[32];
        {u32 offset, entries, entry size} of partitions, extents, groups, block devices; 1.2: u32 flags
    partition: char name[36]; u32 attributes, first extent, extents, group
    extent: u64 sectors; u32 type (0 linear, 1 zero); u64 first sector; u32 block device
    group: char name[36]; u32 flags; u64 size at most
    block device: u64 first sector; u32 alignment, offset of it; u64 size; char name[36]; u32 flags
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
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
    Unsupported,
    guarded,
)
from .boot_image import text

MAGIC = b"gDla"
_RESERVED, _GEOMETRY = 4096, 4096
_LAYOUT = struct.Struct("<4sI32s3I")
_HEADER = struct.Struct("<4s2HI32sI32s12I")
_PARTITION = struct.Struct("<36s4I")
_EXTENT = struct.Struct("<QIQI")
_GROUP = struct.Struct("<36sIQ")
_DEVICE = struct.Struct("<QIIQ36sI")
_ATTRIBUTES = {1: "readonly", 2: "slot-suffixed", 4: "updated", 8: "disabled"}
_MOST = 1 << 20
"""Bytes of one metadata slot; 64 KiB is usual."""
_SLOTS = 8
_ENTRIES = 4096
"""Partitions of one slot."""


class Extent(NamedTuple):
    """A stretch of a logical partition."""

    offset: int | None
    """In the source; None for zeros."""
    length: int


class Logical(NamedTuple):
    """A logical partition."""

    name: str
    extents: tuple[Extent, ...]
    said: str
    foreign: bool
    """Some of it lies on another block device."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        return sum(extent.length for extent in self.extents)


class Slot(NamedTuple):
    """One metadata slot that can be read."""

    offset: int
    length: int
    version: str
    partitions: list[Logical]
    groups: list[str]
    devices: list[str]


def _geometry(source: Source, at: int) -> tuple[int, int, int] | None:
    """Return metadata size, slots, and block size of a copy of the geometry whose checksum holds."""
    raw = source.pread(at, _GEOMETRY)
    if len(raw) < _LAYOUT.size or raw[:4] != MAGIC:
        return None
    _, size, stated, most, slots, block = _LAYOUT.unpack_from(raw)
    if not _LAYOUT.size <= size <= len(raw):
        return None
    if hashlib.sha256(raw[:8] + bytes(32) + raw[40:size]).digest() != stated:
        return None
    if not 1 <= slots <= _SLOTS or not _HEADER.size <= most <= _MOST or most % 512:
        return None
    return most, slots, block


def _slot(source: Source, at: int, most: int) -> Slot | str:
    """Return the metadata at an offset, or what is wrong with them."""
    raw = source.pread(at, most)
    if len(raw) < _HEADER.size:
        return "missing"
    _, major, minor, size, header_sum, tables, tables_sum, *places = _HEADER.unpack_from(raw)
    if raw[:4] != b"0PLA":
        return "missing" if not any(raw[:4]) else "no metadata"
    if major != 10 or not _HEADER.size <= size <= size + tables <= len(raw):
        return f"version {major}.{minor}, {size} and {tables} bytes"
    if hashlib.sha256(raw[:12] + bytes(32) + raw[44:size]).digest() != header_sum:
        return "SHA-256 of the header differs"
    body = raw[size : size + tables]
    if hashlib.sha256(body).digest() != tables_sum:
        return "SHA-256 of the tables differs"
    rows = []
    for layout, first in zip((_PARTITION, _EXTENT, _GROUP, _DEVICE), range(0, 12, 3), strict=True):
        start, count, step = places[first : first + 3]
        if step < layout.size or start + count * step > tables:
            return f"a table of {count} entries of {step} bytes at {start} does not fit"
        rows.append([layout.unpack_from(body, start + number * step) for number in range(count)])
    partitions, extents, groups, devices = rows
    named = [text(row[0]) for row in groups]
    found = []
    if len(partitions) > _ENTRIES or sum(row[3] for row in partitions) > len(extents):
        return f"{len(partitions)} partitions have more extents than the {len(extents)} that there are"
    for name, attributes, first, count, group in partitions:
        if first + count > len(extents):
            return f"partition {text(name)} has extents {first} to {first + count} of {len(extents)}"
        own = extents[first : first + count]
        flags = ", ".join(flag for bit, flag in _ATTRIBUTES.items() if attributes & bit)
        said = f"group={named[group] if group < len(named) else group} attributes={flags}"
        places_of = tuple(Extent(None if kind else start * 512, sectors * 512) for sectors, kind, start, _ in own)
        found.append(Logical(text(name), places_of, said, any(not kind and device for _, kind, _, device in own)))
    return Slot(
        at,
        size + tables,
        f"{major}.{minor}",
        found,
        [f"{text(name)}: at most {most_bytes} bytes" for name, _, most_bytes in groups],
        [f"{text(row[4])}: {row[3]} bytes" for row in devices],
    )


class SuperReader(Reader):
    """See `Reader`. Lists the partitions of the first slot, and of the others those that lie at other places.

    A locator is the slot's number and the partition's place in it.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        copies = [_geometry(source, _RESERVED), _geometry(source, _RESERVED + _GEOMETRY)]
        found = copies[0] or copies[1]
        if found is None:
            raise NotThisFormat
        most, slots, block = found
        if 2 * most * slots > limits.metadata_bytes:
            raise LimitReached("metadata_bytes", limits.metadata_bytes)
        self.detail = {
            "geometry": "ok" if copies[0] else "damaged",
            "geometry_backup": "ok" if copies[1] else "damaged",
            "block_bytes": block,
            "slots": slots,
        }
        start = _RESERVED + 2 * _GEOMETRY
        self._slots: dict[int, Slot] = {}
        self._tables = [Claim(_RESERVED, 2 * _GEOMETRY, "geometry"), Claim(start, 2 * slots * most, "metadata")]
        self._problems = []
        for number in range(slots):
            state = ""
            for copy, name in enumerate(("primary", "backup")):
                slot = _slot(source, start + (copy * slots + number) * most, most)
                state += f"{name} {slot if isinstance(slot, str) else 'ok'}, "
                if isinstance(slot, Slot):
                    self._slots.setdefault(number, slot)
            self.detail[f"slot_{number}"] = state.removesuffix(", ")
            if number not in self._slots and "missing, backup missing" not in state:
                self._problems.append(Problem("malformed", f"slot {number}: {self.detail[f'slot_{number}']}"))
        if not self._slots:
            raise Malformed("no copy of the metadata can be read")
        first = self._slots[min(self._slots)]
        self.detail["version"] = first.version
        for number, said in enumerate(first.groups[:100]):
            self.detail[f"group_{number}"] = said
        for number, said in enumerate(first.devices[:100]):
            self.detail[f"device_{number}"] = said

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`."""
        yield from self._problems
        seen: set[tuple[str, tuple[Extent, ...]]] = set()
        leading = min(self._slots)
        for number, slot in self._slots.items():
            for place, logical in enumerate(slot.partitions):
                if (logical.name, logical.extents) in seen:
                    continue
                seen.add((logical.name, logical.extents))
                path = logical.name if number == leading else f"slot {number}/{logical.name}"
                if len(seen) <= 500:
                    self.detail[f"partition {path}"] = logical.said
                if logical.foreign:
                    yield Problem("unsupported", "lies on another block device than this one", path.encode())
                else:
                    yield Entry(path.encode(), "regular", locator=[number, place], size=logical.size)

    def _logical(self, locator: Locator) -> Logical:
        match locator:
            case [int(number), int(place)] if number in self._slots and 0 <= place < len(
                self._slots[number].partitions
            ):
                return self._slots[number].partitions[place]
        raise Malformed(f"no such entry: {locator!r}")

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`."""
        logical = self._logical(locator)
        if logical.foreign:
            raise Unsupported("lies on another block device than this one")
        return guarded(self._bytes(logical), self.limits, self.source.size)

    def _bytes(self, logical: Logical) -> Iterator[bytes]:
        for offset, length in logical.extents:
            if offset is not None:
                yield from self.source.chunks(offset, length)
                continue
            zeros = bytes(min(CHUNK, length))
            for at in range(0, length, CHUNK):
                yield zeros[: length - at]

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`. A partition of one extent, or of extents that follow each other, lies as it is."""
        extents = self._logical(locator).extents
        if not extents or extents[0].offset is None:
            return None
        end = extents[0].offset
        for offset, length in extents:
            if offset != end:
                return None
            end += length
        return extents[0].offset, end - extents[0].offset

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Only what the source has."""
        size = self.source.size
        found = self._tables + [
            Claim(offset, length, f"partition {logical.name}")
            for slot in self._slots.values()
            for logical in slot.partitions
            if not logical.foreign
            for offset, length in logical.extents
            if offset is not None
        ]
        return [
            Claim(claim.offset, min(claim.length, size - claim.offset), claim.what)
            for claim in found
            if claim.offset < size
        ]


def _open(source: Source, limits: Limits) -> Reader:
    return SuperReader(source, limits)


FORMAT = Format(
    name="android-super",
    title="Android super partition: dynamic (logical) partitions",
    open=_open,
    magics=[(_RESERVED, MAGIC), (_RESERVED + _GEOMETRY, MAGIC)],
    references=[
        Reference(
            "Android: liblp/include/liblp/metadata_format.h",
            "https://android.googlesource.com/platform/system/core/+/refs/heads/main/fs_mgr/liblp/include/liblp/metadata_format.h",
        ),
    ],
    limitations=[
        "partitions on more than one block device (devices that were upgraded to dynamic partitions)",
        "super_empty.img, which holds metadata only",
        "snapshots of an update that has begun (copy-on-write)",
    ],
    smallest=_RESERVED + 2 * _GEOMETRY,
)
