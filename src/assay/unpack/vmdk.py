"""VMDK, the disk images of VMware: sparse extents (monolithicSparse, streamOptimized, parts of a split disk).

An extent maps grains (64 KiB as a rule) through a directory of tables of sector numbers. A streamOptimized extent has
compressed grains, each behind a marker that says which it is; its directory stands at the end.

A descriptor (text) says what the disk consists of. Alone in a file it holds no bytes of the disk: the extents that it
names are told.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import cast

from isal import isal_zlib

from .base import (
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
    Unsupported,
)
from .virtualdisk import ELSEWHERE, HOLE, SECTOR, Disk, DiskReader, Part

MAGIC = b"KDMV"
DESCRIPTOR = b"# Disk DescriptorFile"
# magic, version, flags, capacity, grain size, descriptor: offset and size, entries of a grain table, redundant grain
# directory, grain directory, overhead, unclean shutdown, 4 characters of line ends, compression. Sizes are in sectors.
HEADER = struct.Struct("<4sII4QI3QB4sH")
MARKER = struct.Struct(
    "<QII"
)  # sector, or sectors that follow; bytes of a compressed grain; type, where there are none
LINE_ENDS = b"\n \r\n"
AT_END = 0xFFFFFFFFFFFFFFFF

REDUNDANT, ZERO_GRAINS, COMPRESSED, MARKERS = 2, 4, 1 << 16, 1 << 17
END_OF_STREAM, TABLE, DIRECTORY, FOOTER = range(4)
ISAL_ERROR = cast("type[Exception]", isal_zlib.error)  # its stubs say it is an instance
TEXT = 64 << 10
"""Most bytes of a descriptor that are read (20 sectors are usual)."""
EXTENT = re.compile(
    r'^\s*(?P<access>RW|RDONLY|NOACCESS)\s+(?P<sectors>\d+)\s+(?P<kind>\w+)(?:\s+"(?P<file>[^"\n]*)"(?:\s+(?P<at>\d+))?)?',
    re.MULTILINE,
)
FIELD = re.compile(r'^\s*([A-Za-z][\w.]*)\s*=\s*"?([^"\r\n]*)"?\s*$', re.MULTILINE)
KEPT = {
    "version": "descriptor_version", "CID": "content_id", "parentCID": "parent_content_id", "createType": "create_type",
    "parentFileNameHint": "parent_file", "ddb.adapterType": "adapter", "ddb.uuid": "uuid", "ddb.toolsVersion": "tools",
    "ddb.virtualHWVersion": "virtual_hardware", "ddb.longContentID": "long_content_id",
}  # fmt: skip
Detail = dict[str, str | int | bool | None]


def described(raw: bytes) -> tuple[Detail, list[re.Match[str]]]:
    """Return the fields of a descriptor worth keeping, and its extents."""
    words = raw.split(b"\0")[0].decode("utf-8", "backslashreplace")
    detail: Detail = {KEPT[name]: value for name, value in FIELD.findall(words) if name in KEPT}
    extents = list(EXTENT.finditer(words))
    for number, extent in enumerate(extents[:1000], 1):
        detail[f"extent {number}"] = extent[0].strip()
    return detail, extents


class Vmdk(DiskReader):
    """An opened sparse extent."""

    def __init__(self, source: Source, limits: Limits) -> None:
        super().__init__(source, limits)
        self.format = FORMAT
        raw = source.exactly(0, HEADER.size)
        (
            _, version, self.flags, capacity, grain, self.text_at, self.text_size, self.each,
            self.redundant, self.directory, self.overhead, unclean, ends, compression,
        ) = HEADER.unpack(raw)  # fmt: skip
        if not 1 <= version <= 3 or grain & grain - 1 or not 1 <= grain <= 8192 or not 1 <= self.each <= 1 << 16:
            raise NotThisFormat
        if (self.flags & 1 and ends != LINE_ENDS) or capacity >= 1 << 50:
            raise NotThisFormat
        self.grain = grain * SECTOR
        self.capacity = capacity * SECTOR
        self.disks.append(Disk(b"disk", self.capacity))
        self.detail = {
            "version": version,
            "size": self.capacity,
            "grain_bytes": self.grain,
            "compression": "deflate" if self.flags & COMPRESSED else "none",
            "markers": bool(self.flags & MARKERS),
            "unclean_shutdown": bool(unclean),
        }
        if self.flags & COMPRESSED and compression != 1:
            raise Unsupported(f"compression {compression}")
        self.parent = False
        if self.text_at and self.text_size:
            detail, _ = described(source.pread(self.text_at * SECTOR, min(self.text_size * SECTOR, TEXT)))
            self.detail |= detail
            self.parent = str(detail.get("parent_content_id", "ffffffff")).lower() != "ffffffff"
            self.others = f"the parent disk {detail.get('parent_file')!r}, which is not at hand"
        self.footer_at: int | None = None
        self.tables: dict[int, None] = {}
        """Grain tables met while listing, by offset."""
        self.stream: list[tuple[int, int, str]] | None = None
        """What lies where in a stream of markers, once it has been gone through."""

    # The map

    def _footer(self) -> None:
        """Find the directory of a stream, in the footer; that stands before the last marker."""
        if self.directory != AT_END or self.footer_at is not None:
            return
        at = self.source.size - 2 * SECTOR
        if not self._is_footer(at):
            at = next((start for start, _, what in self._stream() if what == "footer"), -1) + SECTOR
        if not self._is_footer(at):
            raise Truncated("the grain directory should stand at the end, and no footer is there")
        self.footer_at = at
        self.directory = HEADER.unpack_from(self.source.exactly(at, SECTOR))[9]

    def _is_footer(self, at: int) -> bool:
        if at < SECTOR:
            return False
        raw = self.source.pread(at - SECTOR, 2 * SECTOR)
        if len(raw) < 2 * SECTOR or MARKER.unpack_from(raw)[1:] != (0, FOOTER):
            return False
        head = HEADER.unpack_from(raw, SECTOR)
        return head[0] == MAGIC and head[3] * SECTOR == self.capacity and head[9] not in (0, AT_END)

    def _stream(self) -> list[tuple[int, int, str]]:
        """Return (offset, length, what) of all that stands between the header and the end-of-stream marker."""
        if self.stream is not None:
            return self.stream
        self.stream = []
        names = {TABLE: "grain table", DIRECTORY: "grain directory", FOOTER: "footer"}
        at = self.overhead * SECTOR
        room = self.limits.metadata_bytes // 64
        while len(raw := self.source.pread(at, MARKER.size)) == MARKER.size and len(self.stream) < room:
            value, size, kind = MARKER.unpack(raw)
            if size:
                length, what = 12 + size, "compressed data"
                if value * SECTOR >= self.capacity or size > 2 * self.grain:
                    break
            elif kind == END_OF_STREAM:
                self.stream.append((at, SECTOR, "end of stream"))
                break
            elif kind in names and value <= 1 << 31:
                length, what = SECTOR + value * SECTOR, names[kind]
            else:
                break
            length = -(-length // SECTOR) * SECTOR
            self.stream.append((at, length, what))
            at += length
        return self.stream

    def parts(self, number: int) -> Iterator[Part]:  # noqa: ARG002 - there is one disk
        """See `DiskReader.parts`."""
        self._footer()
        covered = self.each * self.grain
        count = -(-self.capacity // covered)
        if 4 * count > self.limits.metadata_bytes:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        directory = struct.unpack(f"<{count}I", self.source.exactly(self.directory * SECTOR, 4 * count))
        unmapped = ELSEWHERE if self.parent else HOLE
        met: set[int] = set()
        for index, sector in enumerate(directory):
            if not sector:
                yield Part(index * covered, covered, unmapped)
                continue
            if sector in met:
                raise Malformed(f"the grain table at sector {sector} is in more than one place")
            met.add(sector)
            raw = self.source.exactly(sector * SECTOR, 4 * self.each)
            self.tables[sector * SECTOR] = None
            if raw.count(0) == len(raw):
                yield Part(index * covered, covered, unmapped)
            else:
                yield from self._grains(index * covered, struct.unpack(f"<{self.each}I", raw), unmapped)

    def _grains(self, start: int, table: tuple[int, ...], unmapped: int) -> Iterator[Part]:
        size, packed, zero = self.grain, self.flags & COMPRESSED, bool(self.flags & ZERO_GRAINS)
        for place, sector in enumerate(table):
            at = start + place * size
            if at >= self.capacity:
                return
            if not sector:
                yield Part(at, size, unmapped)
            elif sector == 1 and zero:
                yield Part(at, size, HOLE)
            elif packed:
                head = self.source.exactly(sector * SECTOR, 12)
                lba, length = struct.unpack("<QI", head) if self.flags & MARKERS else (at // SECTOR, head[0])
                if not self.flags & MARKERS:
                    length = int.from_bytes(head[:4], "little")
                if lba * SECTOR != at or not 0 < length <= 2 * size:
                    raise Malformed(f"the grain at sector {sector} is marked as {length} bytes of sector {lba}")
                begin = 12 if self.flags & MARKERS else 4
                yield Part(at, size, sector * SECTOR + begin, length)
            else:
                yield Part(at, size, sector * SECTOR)

    def unpacked(self, stored: bytes, length: int) -> bytes:
        """See `DiskReader.unpacked`; zlib (RFC 1950). The last grain may be shorter than the others."""
        try:
            out = bytes(isal_zlib.decompressobj().decompress(stored, length))
        except ISAL_ERROR:
            try:  # ISA-L is stricter than zlib about some headers
                out = zlib.decompressobj().decompress(stored, length)
            except zlib.error as error:
                raise Malformed(f"compressed grain: {error}") from None
        return out + bytes(length - len(out)) if len(out) == self.capacity % self.grain else out

    def structures(self) -> Iterator[tuple[int, int, str]]:
        """See `DiskReader.structures`."""
        yield 0, SECTOR, "header"
        yield self.text_at * SECTOR, self.text_size * SECTOR, "descriptor"
        count = -(-self.capacity // (self.each * self.grain))
        places = [(self.directory, "grain directory")] if self.directory != AT_END else []
        if self.flags & REDUNDANT:
            places.append((self.redundant, "redundant grain directory"))
        for sector, what in places:
            yield sector * SECTOR, 4 * count, what
            if what.startswith("redundant"):
                raw = self.source.pread(sector * SECTOR, min(4 * count, self.limits.metadata_bytes))
                for (table,) in struct.iter_unpack("<I", raw[: len(raw) // 4 * 4]):
                    if table:
                        yield table * SECTOR, 4 * self.each, "redundant grain table"
        for table in self.tables:
            yield table, 4 * self.each, "grain table"
        if self.flags & MARKERS:
            yield from self._stream()


class Descriptor(Reader):
    """A descriptor alone in a file. The extents that it names are problems, since they lie in other files."""

    def __init__(self, source: Source) -> None:
        self.format = FORMAT
        raw = source.pread(0, TEXT)
        self.end = re.match(rb"[\t\n\r\x20-\x7e\x80-\xff]*", raw).end()  # type: ignore[union-attr] # matches anything
        self.detail, self.extents = described(raw[: self.end])
        if "create_type" not in self.detail or not self.extents:
            raise NotThisFormat
        self.declared = len(self.extents)

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`; there is a problem for every extent."""
        for extent in self.extents:
            name = (extent["file"] or "").encode()
            yield Problem("unsupported", f"{extent['sectors']} sectors ({extent['kind']}) lie in another file", name)

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`; there is nothing to open."""
        raise Malformed(f"no such entry in a descriptor: {locator!r}")

    def claims(self) -> list[Claim]:
        """See `Reader.claims`."""
        return [Claim(0, self.end, "descriptor")]


def _open(source: Source, limits: Limits) -> Reader:
    return Vmdk(source, limits) if source.pread(0, 4) == MAGIC else Descriptor(source)


FORMAT = Format(
    name="vmdk",
    title="VMDK virtual disk (VMware)",
    open=_open,
    magics=[(0, MAGIC), (0, DESCRIPTOR)],
    references=[
        Reference("VMware, Virtual Disk Format 5.0", "https://www.vmware.com/app/vmdk/?src=vmdk"),
        Reference(
            "libvmdk, VMware Virtual Disk (VMDK) format",
            "https://github.com/libyal/libvmdk/blob/main/documentation/VMWare%20Virtual%20Disk%20Format%20(VMDK).asciidoc",
        ),
    ],
    limitations=[
        "extents in other files (monolithicFlat and the like, parents): they are named, not read",
        "the parts of a split disk are each an entry of their own file",
        "sparse extents of ESX (COWD, SESparse)",
        "changed block tracking and other change sets",
    ],
    smallest=len(DESCRIPTOR),
)
