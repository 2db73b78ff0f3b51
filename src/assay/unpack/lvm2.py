"""LVM2, the logical volumes of Linux: a label, a volume group described in text, and extents of physical volumes.

Each logical volume is one entry. What a volume group has on other physical volumes is named, not read.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from .base import Format, Limits, Malformed, NotThisFormat, Reference, Source, Truncated, UnpackError, Unsupported
from .virtualdisk import ELSEWHERE, HOLE, SECTOR, Disk, DiskReader, Part

LABEL = b"LABELONE"
TYPE = b"LVM2 001"
AREA = b" LVM2 x[5A%r0N*>"
AREA_HEADER = SECTOR
LONGEST = 16 << 20
"""Most bytes of the text of a volume group (LVM makes areas of 1 MiB)."""
WORDS = re.compile(r'\s+|#[^\n]*|"((?:[^"\\]|\\.)*)"|(-?\d+(?:\.\d+)?)|([\w.+/-]+)|([{}\[\]=,])', re.DOTALL)
DEPTH = 16
DESCRIBED = 1000
"""Volumes described in `detail`."""

Value = str | int | list[str | int]
Section = dict[str, "Value | Section"]


def checksum(data: bytes) -> int:
    """Return LVM's checksum: CRC-32 begun with its own value, not inverted at the end."""
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def parse(words: str) -> Section:
    """Return the sections, fields and lists of the text of a volume group.

    Raises:
        Malformed: it breaks the grammar.
    """
    top: Section = {}
    stack = [top]
    parts = _split(words)
    for kind, word in parts:
        if word == "}" and kind == "mark" and len(stack) > 1:
            stack.pop()
            continue
        if kind != "name":
            raise Malformed(f"metadata: {word!r} in place of a name")
        _, mark = next(parts, ("", "the end"))
        if mark == "{" and len(stack) < DEPTH:
            inner: Section = {}
            stack[-1][word] = inner
            stack.append(inner)
        elif mark == "=":
            stack[-1][word] = _value(parts)
        else:
            raise Malformed(f"metadata: {mark!r} after {word!r}")
    if len(stack) > 1:
        raise Malformed("metadata: a section has no end")
    return top


def _split(words: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(words):
        found = WORDS.match(words, at)
        if found is None:
            raise Malformed(f"metadata: {words[at : at + 20]!r}")
        at = found.end()
        if found[1] is not None:
            yield "string", re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL)
        elif found[2] is not None and not re.match(r"[\w.+/-]", words[at : at + 1]):
            yield "number", found[2]
        elif found[2] is not None:  # a name may begin with a digit
            more = re.compile(r"[\w.+/-]+").match(words, at)
            assert more is not None
            at = more.end()
            yield "name", found[2] + more[0]
        elif found[3] is not None:
            yield "name", found[3]
        elif found[4] is not None:
            yield "mark", found[4]


def _value(parts: Iterator[tuple[str, str]]) -> Value:
    kind, word = next(parts, ("", "the end"))
    if word != "[" or kind != "mark":
        return _scalar(kind, word)
    found: list[str | int] = []
    for kind, word in parts:
        if kind == "mark" and word == "]":
            return found
        if kind != "mark":
            found.append(_scalar(kind, word))
        elif word != ",":
            raise Malformed(f"metadata: {word!r} in a list")
    raise Malformed("metadata: a list has no end")


def _scalar(kind: str, word: str) -> str | int:
    if kind == "number" and len(word) < 20 and "." not in word:
        return int(word)
    if kind in ("string", "number"):
        return word
    raise Malformed(f"metadata: {word!r} in place of a value")


def section(parent: Section, name: str) -> Section:
    """Return a section of a section, empty if there is none."""
    found = parent.get(name)
    return found if isinstance(found, dict) else {}


def number(parent: Section, name: str) -> int:
    """Return a field that is a number from 0 to 2^62.

    Raises:
        Malformed: it is not.
    """
    found = parent.get(name)
    if not isinstance(found, int) or not 0 <= found < 1 << 62:
        raise Malformed(f"metadata: {name} is {found!r}")
    return found


def words_of(parent: Section, name: str) -> list[str | int]:
    """Return a field that is a list, empty if there is none."""
    found = parent.get(name)
    return found if isinstance(found, list) else []


class Lvm2(DiskReader):
    """An opened physical volume."""

    def __init__(self, source: Source, limits: Limits, label: int, raw: bytes) -> None:
        super().__init__(source, limits)
        self.format = FORMAT
        self.label = label
        (header,) = struct.unpack_from("<I", raw, 20)
        if not 32 <= header <= SECTOR - 40:
            raise Malformed(f"the header of the physical volume stands at {header} of a sector")
        identity, self.size = struct.unpack_from("<32sQ", raw, header)
        self.identity = identity.decode("ascii", "backslashreplace")
        areas = struct.iter_unpack("<QQ", raw[header + 40 : header + 40 + (SECTOR - header - 40) // 16 * 16])
        lists: list[list[tuple[int, int]]] = [[], []]
        for one in lists:
            for area in areas:
                if not area[0]:
                    break
                one.append(area)
        self.metadata = lists[1]
        self.detail = {"physical_volume": _dashed(self.identity), "device_bytes": self.size}
        self.others = "other physical volumes"
        self.group = self._group()
        self.names: list[str] = []
        self.volumes: dict[str, Section] = {}
        if self.group:
            self._describe()

    # Metadata

    def _group(self) -> Section:
        """Return the section of the volume group with the highest sequence number; empty if there is no group."""
        best: Section = {}
        failure: UnpackError | None = None
        for start, size in self.metadata:
            try:
                found = self._area(start, size)
            except UnpackError as error:
                failure = failure or error
                continue
            for name, group in found.items():
                if isinstance(group, dict) and _sequence(group) > _sequence(best):
                    best = group
                    self.detail["volume_group"] = name
        if failure and not best:
            raise failure
        self.detail["metadata_areas"] = len(self.metadata)
        return best

    def _area(self, start: int, size: int) -> Section:
        raw = self.source.exactly(start, AREA_HEADER)
        stated, magic, version, at, length = struct.unpack_from("<I16sIQQ", raw)
        if magic != AREA or checksum(raw[4:]) != stated or version != 1 or at != start or length > size or not length:
            raise Malformed(f"the header of the metadata area at {start} breaks the format")
        offset, used, stated, flags = struct.unpack_from("<QQII", raw, 40)
        if not used or flags & 1:
            return {}
        if used > min(LONGEST, length - AREA_HEADER) or not AREA_HEADER <= offset < length:
            raise Malformed(f"metadata of {used} bytes at {offset} in an area of {length}")
        # The area is a ring behind its header.
        first = min(used, length - offset)
        words = self.source.exactly(start + offset, first) + self.source.exactly(start + AREA_HEADER, used - first)
        if checksum(words) != stated:
            raise Malformed(f"the checksum of the metadata at {start + offset} differs")
        return parse(words.rstrip(b"\0").decode("utf-8", "backslashreplace"))

    def _describe(self) -> None:
        self.extent = number(self.group, "extent_size") * SECTOR
        if not self.extent:
            raise Malformed("extents of no size")
        self.physical: str | None = None
        self.first = 0
        missing: list[str] = []
        for name, physical in section(self.group, "physical_volumes").items():
            if not isinstance(physical, dict):
                continue
            if str(physical.get("id", "")).replace("-", "") == self.identity:
                self.physical = name
                self.first = number(physical, "pe_start") * SECTOR
                self.extents = number(physical, "pe_count")
            elif len(missing) < DESCRIBED:
                missing.append(f"{name} ({physical.get('id')})")
        if self.physical is None:
            raise Malformed(f"the volume group has no physical volume {_dashed(self.identity)}")
        if missing:
            self.others = f"other physical volumes: {', '.join(missing[:4])}"
        self.detail |= {
            "volume_group_id": str(self.group.get("id")),
            "sequence_number": _sequence(self.group),
            "extent_bytes": self.extent,
            "physical_volumes": len(section(self.group, "physical_volumes")),
        }
        for name, volume in section(self.group, "logical_volumes").items():
            if isinstance(volume, dict):
                self.volumes[name] = volume
        legs = {str(leg) for volume in self.volumes.values() for leg in self._legs(volume)}
        for name, volume in self.volumes.items():
            kinds = sorted({str(segment.get("type")) for segment in _segments(volume)})
            hidden = "VISIBLE" not in words_of(volume, "status")
            if len(self.names) < DESCRIBED:
                self.detail[f"logical volume {name}"] = (
                    f"id={volume.get('id')} type={','.join(kinds)} created={volume.get('creation_time')}"
                    + " hidden" * hidden
                )
            if name not in legs:
                self.names.append(name)
                self.disks.append(Disk(name.encode("utf-8", "backslashreplace"), self._length(volume)))

    def _length(self, volume: Section) -> int:
        extents = 0
        for part in _segments(volume):
            try:
                extents = max(extents, number(part, "start_extent") + number(part, "extent_count"))
            except Malformed:
                continue  # opening the volume will say so
        return extents * self.extent

    def _legs(self, volume: Section) -> list[str]:
        """Return the logical volumes of which a mirror consists."""
        found = []
        for part in _segments(volume):
            if part.get("type") == "mirror":
                found += [str(name) for name in words_of(part, "mirrors")[::2]]
            elif part.get("type") == "raid1":
                found += [str(name) for name in words_of(part, "raids")]
        return found

    # The map

    def parts(self, number: int) -> Iterator[Part]:
        """See `DiskReader.parts`."""
        return self._parts(self.names[number], 0, fine=True)

    def listed_parts(self, number: int) -> Iterator[Part]:
        """See `DiskReader.listed_parts`; stripes are not taken apart."""
        for leg in self._legs(self.volumes[self.names[number]]):
            if leg in self.volumes:
                for part in self._parts(leg, 1, fine=False):
                    if part.at >= 0:
                        self.sectors.mark(part.at, part.length, "data")
        yield from self._parts(self.names[number], 0, fine=False)

    def _parts(self, name: str, depth: int, *, fine: bool) -> Iterator[Part]:
        volume = self.volumes.get(name)
        if volume is None or depth > 2:
            raise Malformed(f"logical volume {name!r}: not there, or a part of itself")
        segments = sorted(
            ((number(part, "start_extent"), part) for part in _segments(volume)), key=lambda item: item[0]
        )
        position = 0
        for start, part in segments:
            count, kind = number(part, "extent_count"), part.get("type")
            if start != position:
                raise Malformed(f"a segment begins at extent {start} in place of {position}")
            position += count
            if kind == "striped":
                yield from self._stripes(part, start, count, fine=fine)
            elif kind in ("mirror", "raid1") and (leg := self._here(volume, depth)) is not None:
                if len(segments) > 1:
                    raise Unsupported(f"a {kind} of several segments")
                yield from self._parts(leg, depth + 1, fine=fine)
            elif kind in ("mirror", "raid1"):
                yield Part(start * self.extent, count * self.extent, ELSEWHERE)
            elif kind == "zero":
                yield Part(start * self.extent, count * self.extent, HOLE)
            else:
                raise Unsupported(f"a segment of type {kind}")

    def _here(self, volume: Section, depth: int) -> str | None:
        """Return the first leg of a mirror that is on this physical volume as a whole."""
        metadata = {str(name) for part in _segments(volume) for name in words_of(part, "raids")[::2]}
        for leg in self._legs(volume):
            if leg in metadata or leg not in self.volumes:
                continue
            if all(part.at >= 0 for part in self._parts(leg, depth + 1, fine=False)):
                return leg
        return None

    def _stripes(self, part: Section, start: int, count: int, *, fine: bool) -> Iterator[Part]:
        """Yield a segment of one or more stripes, each a stretch of a physical volume."""
        places = words_of(part, "stripes")
        stripes = len(places) // 2
        if not stripes or number(part, "stripe_count") != stripes or count % stripes:
            raise Malformed(f"a segment of {count} extents in {stripes} stripes")
        each = count // stripes * self.extent
        begins = [self._place(str(places[2 * at]), places[2 * at + 1], each) for at in range(stripes)]
        at = start * self.extent
        if stripes == 1 or not fine:
            for begin in begins:
                yield Part(at, each, begin)
                at += each
            return
        size = number(part, "stripe_size") * SECTOR
        if not size or each % size:
            raise Malformed(f"stripes of {size} bytes")
        for row in range(0, each, size):
            for begin in begins:
                if begin >= 0 and begin + row > self.source.size:
                    raise Truncated(f"a stripe at offset {begin + row}, the source has {self.source.size}")
                yield Part(at, size, begin + row if begin >= 0 else begin)
                at += size

    def _place(self, physical: str, extent: str | int, length: int) -> int:
        if not isinstance(extent, int) or extent < 0:
            raise Malformed(f"a stripe at extent {extent!r}")
        if physical != self.physical:
            return ELSEWHERE
        if extent * self.extent + length > self.extents * self.extent:
            raise Malformed(f"{length} bytes from extent {extent} on, of {self.extents} extents")
        return self.first + extent * self.extent

    def structures(self) -> Iterator[tuple[int, int, str]]:
        """See `DiskReader.structures`."""
        yield self.label, SECTOR, "label"
        for start, size in self.metadata:
            yield start, size, "metadata area"


def _segments(volume: Section) -> list[Section]:
    return [part for name, part in volume.items() if name.startswith("segment") and isinstance(part, dict)]


def _sequence(group: Section) -> int:
    found = group.get("seqno")
    return found if isinstance(found, int) else -1


def _dashed(identity: str) -> str:
    """Return an identifier as LVM prints it."""
    ends = (6, 10, 14, 18, 22, 26, 32)
    return "-".join(identity[begin:end] for begin, end in zip((0, *ends), ends, strict=False))


def _open(source: Source, limits: Limits) -> Lvm2:
    for at in range(0, 4 * SECTOR, SECTOR):
        raw = source.pread(at, SECTOR)
        if raw[:8] != LABEL or len(raw) < SECTOR or raw[24:32] != TYPE:
            continue
        sector, stated = struct.unpack_from("<QI", raw, 8)
        if sector * SECTOR == at and checksum(raw[20:]) == stated:
            return Lvm2(source, limits, at, raw)
    raise NotThisFormat


FORMAT = Format(
    name="lvm2",
    title="LVM2 physical volume (Linux)",
    open=_open,
    magics=[(at, LABEL) for at in range(0, 4 * SECTOR, SECTOR)],
    references=[
        Reference(
            "libvslvm, Logical Volume Manager (LVM) format",
            "https://github.com/libyal/libvslvm/blob/main/documentation/Logical%20Volume%20Manager%20(LVM)%20format.asciidoc",
        ),
        Reference("LVM2, lib/format_text/layout.h", "https://sourceware.org/git/?p=lvm2.git"),
    ],
    limitations=[
        "what lies on other physical volumes is named, not read",
        "of segments, only linear, striped, zero, mirror and raid1 (from a leg that is whole here) are read; thin, "
        "cache, snapshot, VDO and other RAID are named",
        "LVM1",
    ],
    smallest=4 * SECTOR,
)
