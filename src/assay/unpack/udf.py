"""UDF 1.02 to 2.60, the file system of DVDs, Blu-ray discs and of some large installation media.

A file's locator is the partition and block of its file entry. A disc that has ISO 9660 too is read here, unless that
has Rock Ridge, which tells more of what Unix systems install.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator, Iterator
from contextlib import suppress

from .base import (
    CHUNK,
    Claim,
    Entry,
    EntryType,
    Format,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Reference,
    Source,
    UnpackError,
    guarded,
)
from .dos import CREATED
from .iso9660 import FORMAT as ISO9660
from .tree import walk
from .udf_structures import (
    ALLOCATION,
    ANCHOR,
    CONTINUED,
    FILE_SET,
    RECORDED,
    SPACE_BITMAP,
    SPARSE,
    Extent,
    File,
    device,
    extents,
    field,
    identifiers,
    long_extent,
    moment,
    parse_file,
    tag,
    target,
)
from .udf_volume import Partition, Volume

TYPES: dict[int, EntryType] = {
    4: "directory",
    5: "regular",
    6: "blockdev",
    7: "chardev",
    9: "fifo",
    10: "socket",
    12: "symlink",
    249: "regular",
}
SECTORS = (2048, 512, 4096, 1024)
CONTINUATIONS = 65536
"""Blocks of allocation descriptors read for one file."""
TARGET = 65536
ANCHORS = 600
"""Sectors before and after the end of all else in which copies of the anchor are looked for."""
PARTS = (
    "",
    "file entries",
    "files",
    "directories",
    "free block",
    "space bitmap",
    "file set",
    "partition maps",
    "system streams",
)


class UdfReader(Reader):
    """An opened disc."""

    def __init__(self, source: Source, limits: Limits, volume: Volume, bridge: bool) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.volume = volume
        self.size = volume.block
        logical = volume.logical
        place = long_extent(logical, 248)
        self.file_set = volume.place(place.partition, place.block)
        data = source.pread(self.file_set * self.size, self.size)
        if tag(data, place.block) != FILE_SET:
            raise Malformed(f"no file set descriptor at sector {self.file_set}")
        self.root, self.streams = long_extent(data, 400), long_extent(data, 464)
        revision = int.from_bytes(logical[240:242], "little")
        self.detail = {
            "revision": f"{revision >> 8:x}.{revision & 0xFF:02x}",
            "label": field(logical[84:212]),
            "file_set": field(data[304:336]),
            "block_bytes": self.size,
            "partitions": ", ".join(part.kind for part in volume.partitions),
            "created": moment(data[16:28]),
            "iso9660": bridge,
        }
        self._parts = bytearray()
        self._room = 0
        self._streams = 0

    # Places. A file entry's number has the partition above 32 bits.

    def _entry(self, number: int) -> tuple[File, bytes]:
        partition, block = number >> 32, number & 0xFFFFFFFF
        data = self.source.exactly(self.volume.place(partition, block) * self.size, self.size)
        if tag(data, block) is None:
            raise Malformed(f"no file entry at block {block} of partition {partition}")
        return parse_file(data), data

    def _runs(self, file: File, partition: int, mark: int = 0) -> Iterator[Extent]:
        """Yield a file's extents, continuations followed; with `mark`, note their blocks as that part."""
        left, seen = CONTINUATIONS, set[tuple[int, int]]()
        pending = iter(extents(file.allocation, file.form, partition))
        while True:
            extent = next(pending, None)
            if extent is None:
                return
            if extent.kind != CONTINUED:
                if mark and extent.kind != SPARSE:
                    self._mark(extent.partition, extent.block, -(-extent.length // self.size), mark)
                yield extent
                continue
            place, left = (extent.partition, extent.block), left - 1
            if place in seen or not left:
                raise Malformed("continuations of allocation descriptors are a cycle, or too many")
            seen.add(place)
            data = self.source.exactly(self.volume.place(*place) * self.size, self.size)
            if tag(data) != ALLOCATION:
                raise Malformed(f"no allocation descriptors at block {extent.block}")
            if mark:
                self._mark(extent.partition, extent.block, 1, PARTS.index("file entries"))
            length = int.from_bytes(data[20:24], "little")
            pending = iter(extents(data[24 : 24 + length], file.form, partition))

    def _mark(self, partition: int, block: int, count: int, part: int) -> None:
        """Note blocks as a part; stretches of a metadata partition need not follow each other."""
        try:
            kind = self.volume.partitions[partition].kind
            for index in range(1 if kind == "physical" else min(count, 1 << 16)):
                start = self.volume.place(partition, block + index)
                end = min(start + (count if kind == "physical" else 1), len(self._parts))
                if start < end:
                    self._parts[start:end] = bytes([part]) * (end - start)
        except (UnpackError, IndexError):
            return

    def _data(self, file: File, partition: int, mark: int = 0) -> Iterator[bytes]:
        if file.form == 3:
            if file.size > len(file.allocation):
                raise Malformed(f"{file.size} bytes in a file entry with {len(file.allocation)}")
            yield file.allocation[: file.size]
            return
        if file.form > 3:
            raise Malformed(f"allocation descriptors of form {file.form}")
        left = file.size
        for extent in self._runs(file, partition, mark):
            length = min(left, extent.length)
            if extent.kind != RECORDED:
                yield from _zeros(length)
            elif length:
                yield from self._extent(extent, length)
            left -= length
        if left:
            raise Malformed(f"extents end {left} bytes before the file does")

    def _extent(self, extent: Extent, length: int) -> Iterator[bytes]:
        if self.volume.partitions[min(extent.partition, len(self.volume.partitions) - 1)].kind == "physical":
            yield from self.source.chunks(self.volume.place(extent.partition, extent.block) * self.size, length)
            return
        for at in range(0, length, self.size):  # each block may be elsewhere
            sector = self.volume.place(extent.partition, extent.block + at // self.size)
            yield self.source.exactly(sector * self.size, min(self.size, length - at))

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in their stored order, the root first with an empty path."""
        end = max(part.start + part.length for part in self.volume.partitions)
        self._parts = bytearray(min(end, -(-self.source.size // self.size), self.limits.metadata_bytes))
        self._room = self.source.size
        self._streams = 0
        yield from walk(self.root.partition << 32 | self.root.block, self._describe, self._children, self.limits)
        if self._streams:
            yield Problem("unsupported", f"{self._streams} files have named streams, which are not read", b"", 0)
        written_once = any(part.kind == "virtual" for part in self.volume.partitions)
        if end * self.size > self.source.size and not written_once:
            missing = f"partitions end at {end * self.size}, the source has {self.source.size}"
            yield Problem("truncated", missing, b"", 0)

    def _describe(self, number: int, path: bytes) -> tuple[Entry, Problem | None]:
        file, _ = self._entry(number)
        partition = number >> 32
        kind = TYPES.get(file.type)
        if kind is None:
            raise Malformed(f"a file of type {file.type}")
        self._mark(partition, number & 0xFFFFFFFF, 1, PARTS.index("file entries"))
        entry = Entry(
            path,
            kind,
            mode=file.mode,
            uid=file.uid,
            gid=file.gid,
            mtime=file.mtime,
            atime=file.atime,
            ctime=file.ctime,
            inode=number,
            nlink=file.links,
        )
        if file.created is not None:
            entry.xattrs = {CREATED: b"%d" % file.created}
        self._streams += file.streams
        problem = None
        try:
            if kind == "regular":
                entry.locator, entry.size = number, file.size
                if file.form < 3:
                    for _ in self._runs(file, partition, PARTS.index("files")):
                        pass
            elif kind == "symlink":
                if file.size > TARGET:
                    raise Malformed(f"a target of {file.size} bytes")
                entry.link = target(b"".join(self._data(file, partition, PARTS.index("files"))))
            elif kind in ("chardev", "blockdev"):
                entry.device = device(file.attributes)
        except UnpackError as error:
            problem = Problem(error.reason, str(error), path, 0)
        return entry, problem

    def _children(self, number: int) -> Iterator[tuple[int, bytes]]:
        file, _ = self._entry(number)
        self._room -= file.size
        if self._room < 0:
            raise Malformed("directories share blocks: together they are longer than the disc")
        rest = b""
        for chunk in self._data(file, number >> 32, PARTS.index("directories")):
            data = rest + chunk
            used = yield from self._names(data)
            rest = data[used:]
            if len(rest) > 1 << 17:
                raise Malformed("a directory's entry is too long")
        if rest.strip(b"\0"):
            raise Malformed("a directory's last entry is cut off")

    def _names(self, data: bytes) -> Generator[tuple[int, bytes], None, int]:
        found = identifiers(data)
        while True:
            try:
                place, name = next(found)
            except StopIteration as end:
                return int(end.value)
            yield place.partition << 32 | place.block, name

    # Contents

    def _file(self, locator: Locator) -> tuple[File, int, int]:
        if not isinstance(locator, int) or not 0 <= locator < 1 << 48:
            raise Malformed("not the place of a file entry")
        file, _ = self._entry(locator)
        if TYPES.get(file.type) != "regular":
            raise Malformed(f"block {locator & 0xFFFFFFFF} is not of a regular file")
        return file, locator >> 32, locator & 0xFFFFFFFF

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB, holes as zeros. See `Reader.open`."""
        file, partition, _ = self._file(locator)
        yield from guarded(self._data(file, partition), self.limits, self.source.size)

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies whose extents follow each other. See `Reader.span`."""
        try:
            file, partition, block = self._file(locator)
            if not file.size:
                return None
            if file.form == 3:
                start = self.volume.place(partition, block) * self.size + file.place
                return (start, file.size) if file.size <= len(file.allocation) else None
            start = end = 0
            for extent in self._runs(file, partition):
                at = self.volume.place(extent.partition, extent.block) * self.size
                physical = self.volume.partitions[extent.partition].kind == "physical"
                if extent.kind != RECORDED or not physical or (end and at != end):
                    return None
                start, end = (at if not end else start), at + extent.length
        except UnpackError:
            return None
        return (start, file.size) if end - start >= file.size and start + file.size <= self.source.size else None

    # Claims

    def claims(self) -> list[Claim]:
        """Return what listing has explained, by whole blocks, and free ones; blocks that are lost are not claimed."""
        size = self.size
        if self.file_set < len(self._parts):
            self._parts[self.file_set] = PARTS.index("file set")
        self._mark_streams()
        for partition, part in enumerate(self.volume.partitions):
            if part.kind == "metadata":
                for at in (40, 44, 48):
                    self._mark_file(part, int.from_bytes(part.map[at : at + 4], "little"))
            elif part.kind in ("physical", "sparable"):
                self._free(partition, part)
        claims = [Claim(0, 16 * 2048, "system area"), *self.volume.claims, *self.volume.sparing_tables()]
        recognition = 16 * 2048
        step = max(2048, size)
        while self.source.pread(recognition + 1, 5) in (b"BEA01", b"NSR02", b"NSR03", b"TEA01", b"BOOT2", b"CD001"):
            recognition += step
        claims.append(Claim(16 * 2048, recognition - 16 * 2048, "volume recognition sequence"))
        integrity, place = struct.unpack_from("<II", self.volume.logical, 432)
        claims.append(Claim(place * size, min(integrity, 1 << 20), "integrity sequence"))
        for run in re.finditer(rb"([^\0])\1*", self._parts, re.DOTALL):
            begin, end = run.start() * size, run.end() * size
            claims.append(Claim(begin, end - begin, PARTS[run[1][0]]))
        end = max(claim.offset + claim.length for claim in claims) // size
        begin = max(257, end - ANCHORS)  # copies are in the last sector and 256 before it
        tail = self.source.pread(begin * size, 2 * ANCHORS * size)
        claims += [
            Claim(begin * size + at, size, "anchor")
            for at in range(0, len(tail), size)
            if tag(tail[at : at + size], begin + at // size) == ANCHOR
        ]
        return [
            Claim(claim.offset, min(claim.length, self.source.size - claim.offset), claim.what)
            for claim in claims
            if claim.length and claim.offset < self.source.size
        ]

    def _mark_streams(self) -> None:
        """Note the blocks of the streams that belong to the whole volume (UDF 3.3.7)."""
        if not self.streams.length:
            return
        part = PARTS.index("system streams")
        places = [self.streams]
        with suppress(UnpackError):
            file, _ = self._entry(self.streams.partition << 32 | self.streams.block)
            data = b"".join(self._data(file, self.streams.partition, part)) if file.size < CHUNK else b""
            places += [place for place, _ in identifiers(data)]
        for place in places[1:] + places[:1]:
            self._mark(place.partition, place.block, 1, part)
            with suppress(UnpackError):
                file, _ = self._entry(place.partition << 32 | place.block)
                if file.form < 3:
                    for _ in self._runs(file, place.partition, part):
                        pass

    def _mark_file(self, part: Partition, block: int) -> None:
        """Note a metadata file's entry and what of its blocks was not noted before."""
        data = self.source.pread((part.start + block) * self.size, self.size)
        if block == 0xFFFFFFFF or tag(data, block) is None:
            return
        try:
            file = parse_file(data)
        except UnpackError:
            return
        runs = [(part.start + block, 1)]
        if file.form < 3:
            found = extents(file.allocation, file.form, 0)
            runs += [(part.start + extent.block, -(-extent.length // self.size)) for extent in found]
        for start, count in runs:
            for index in range(start, min(start + count, len(self._parts))):
                self._parts[index] = self._parts[index] or PARTS.index("partition maps")

    def _free(self, partition: int, part: Partition) -> None:
        """Note the blocks that the space bitmap says are free (ECMA-167 4/14.3 and 4/14.12)."""
        length, block = struct.unpack_from("<II", part.header, 8)
        length &= 0x3FFFFFFF
        if not length:
            return
        data = self.source.pread((part.start + block) * self.size, min(length, self.limits.metadata_bytes))
        if len(data) < 24 or int.from_bytes(data[:2], "little") != SPACE_BITMAP:
            return
        self._mark(partition, block, -(-length // self.size), PARTS.index("space bitmap"))
        count = min(int.from_bytes(data[16:20], "little"), part.length, 8 * (len(data) - 24))
        free = b"".join(map(_DIGITS.__getitem__, data[24 : 24 + -(-count // 8)]))[:count]
        for run in re.finditer(b"\x01+", free):
            begin, end = part.start + run.start(), min(part.start + run.end(), len(self._parts))
            for other in re.finditer(rb"\0+", bytes(self._parts[begin:end])):
                first, last = begin + other.start(), begin + other.end()
                self._parts[first:last] = bytes([PARTS.index("free block")]) * (last - first)


_DIGITS = [bytes(byte >> bit & 1 for bit in range(8)) for byte in range(256)]


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield bytes(min(length, CHUNK))
        length -= CHUNK


def _open(source: Source, limits: Limits) -> UdfReader:
    first = source.pread(16 * 2048 + 1, 5)
    if first not in (b"BEA01", b"CD001"):
        raise NotThisFormat
    head = source.pread(16 * 2048, 64 * 2048)
    if not any(head[at + 1 : at + 6] in (b"NSR02", b"NSR03") for at in range(0, len(head), 2048)):
        raise NotThisFormat
    sector = next((size for size in SECTORS if tag(source.pread(256 * size, size), 256) == ANCHOR), None)
    if sector is None:
        if first == b"CD001":
            raise NotThisFormat
        raise Malformed("no anchor in sector 256")
    bridge = first == b"CD001"
    if bridge:
        try:
            if ISO9660.open(source, limits).detail["rock_ridge"]:
                raise NotThisFormat
        except UnpackError:
            pass  # then UDF is the better half
    return UdfReader(source, limits, Volume(source, sector), bridge)


FORMAT = Format(
    name="udf",
    title="UDF 1.02 to 2.60",
    open=_open,
    magics=[(16 * 2048 + 1, b"BEA01"), (16 * 2048 + 1, b"CD001")],
    priority=10,
    references=[
        Reference("OSTA Universal Disk Format 2.60", "http://www.osta.org/specs/pdf/udf260.pdf"),
        Reference(
            "ECMA-167: volume and file structure",
            "https://ecma-international.org/publications-and-standards/standards/ecma-167/",
        ),
    ],
    limitations=[
        "of a disc with ISO 9660 too, one of the two trees is listed: ISO 9660 if it has Rock Ridge, else UDF",
        "named streams and extended attributes other than device numbers are not read; that there are streams is told",
        "discs whose anchor is not in sector 256, and file entries of other strategies than 4, are not read",
        "several sessions are not told apart; a virtual allocation table is looked for at the end of the image",
        "the system area (first 32 KiB) is explained as such, whatever it holds",
    ],
)
