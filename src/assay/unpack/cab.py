"""Microsoft cabinets: installers, drivers and the contents of MSI packages.

    "MSCF"; u32 0; u32 size of the cabinet; u32 0; u32 offset of the files; u32 0; u8 minor, major; u16 folders, files,
        flags, set, number in it; [u16 reserved in the header; u8 in each folder, in each block; reserved bytes];
        [name of the previous cabinet, of its disk]; [name of the next one, of its disk]
    folder: u32 offset of the first block; u16 blocks, compression; [reserved bytes]
    file: u32 size, offset in the folder; u16 folder, date, time, attributes; name, ended by 0
    block: u32 checksum; u16 stored size, size; [reserved bytes]; data

A folder is one compressed stream, of which files are parts. MSZIP is deflate in blocks of 32 KiB, each with the one
before as its dictionary. LZX is decoded by libarchive.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from .base import (
    Claim,
    Entry,
    Format,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Reference,
    Source,
    Truncated,
    UnpackError,
    Unsupported,
    guarded,
)
from .cover import Cover
from .dos import ATTRIBUTES, attribute_words, dos_time
from .forward import Forward
from .libarchive import Joined, first

MAGIC = b"MSCF\0\0\0\0"
HEADER = struct.Struct("<4s5I2B5H")
FOLDER = struct.Struct("<IHH")
FILE = struct.Struct("<IIHHHH")
BLOCK = struct.Struct("<IHH")
PREVIOUS, NEXT, RESERVE = 1, 2, 4
FROM_PREVIOUS, TO_NEXT, FROM_PREVIOUS_TO_NEXT = 0xFFFD, 0xFFFE, 0xFFFF
PLAIN, MSZIP, QUANTUM, LZX = range(4)
METHODS = ("none", "MSZIP", "Quantum", "LZX")
UNCOMPRESSED = 1 << 15
"""Most bytes that a block gives."""
STORED = UNCOMPRESSED + 6144
"""Most bytes that a block takes; section 2.6 sets less, tools take more."""
SIGNED = 20
"""Reserved bytes in the header of a signed cabinet."""


class Folder(NamedTuple):
    """A compressed stream."""

    offset: int
    blocks: int
    method: int
    """Compression in the lower 4 bits, its parameters above."""

    @property
    def words(self) -> str:
        """The compression, as text."""
        kind = self.method & 15
        name = METHODS[kind] if kind < len(METHODS) else f"method {kind}"
        return f"{name}:{self.method >> 8 & 31}" if kind in (QUANTUM, LZX) else name


class Block(NamedTuple):
    """A block of a folder."""

    start: int
    data: int
    stored: int
    size: int
    checksum: int
    sizes: bytes
    """The sizes and the reserved bytes, which the checksum covers."""

    @property
    def end(self) -> int:
        """Offset of what follows."""
        return self.data + self.stored


def checksum(data: bytes, seed: int) -> int:
    """Return the checksum of a block ([MS-CAB] section 3.1): all words of four bytes, added without carry."""
    whole = len(data) & ~3
    rest = int.from_bytes(data[whole:], "big")
    width, value = whole // 4, int.from_bytes(data[:whole], "little")
    while width > 1:  # one half is added to the other, natively
        half = (width + 1) // 2
        value = value >> 32 * half ^ value & (1 << 32 * half) - 1
        width = half
    return seed ^ value ^ rest


class CabReader(Reader):
    """See `Reader`. A locator is the number of a folder, and offset and length of a part of what it gives."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        head = source.pread(0, HEADER.size)
        if len(head) < HEADER.size:
            raise NotThisFormat
        magic, _, self.size, _, self.files, _, minor, major, folders, files, flags, set_, number = HEADER.unpack(head)
        if magic + head[4:8] != MAGIC or major != 1 or flags & ~7 or not HEADER.size <= self.files <= self.size:
            raise NotThisFormat
        self.declared = files
        at = HEADER.size
        header = folder = self.reserved = 0
        self.signature = (0, 0)
        if flags & RESERVE:
            header, folder, self.reserved = struct.unpack("<HBB", source.exactly(at, 4))
            if header == SIGNED:
                self.signature = struct.unpack("<II", source.exactly(at + 8, 8))
            at += 4 + header
        neighbours = []
        for flag in (PREVIOUS, PREVIOUS, NEXT, NEXT):
            name = source.pread(at, 256).partition(b"\0")[0] if flags & flag else None
            at += 0 if name is None else len(name) + 1
            neighbours.append(None if name is None else name.decode("utf-8", "backslashreplace"))
        self.tables = at + folders * (FOLDER.size + folder)
        if self.tables > self.files:
            raise NotThisFormat
        raw = source.exactly(at, self.tables - at)
        self.folders = [Folder(*FOLDER.unpack_from(raw, index * (FOLDER.size + folder))) for index in range(folders)]
        self.detail = {
            "version": f"{major}.{minor}",
            "compression": ", ".join(dict.fromkeys(folder.words for folder in self.folders)),
            "set": set_,
            "number_in_set": number,
            "previous_cabinet": neighbours[0],
            "next_cabinet": neighbours[2],
            "signature_bytes": self.signature[1] or None,
        }
        self._ends: dict[int, int] | None = None
        self._cover = Cover()
        self._forward: tuple[int, Forward] | None = None

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. Directories are told by the names of files only; times are read as UTC."""
        self._cover = Cover()
        self._cover.add(0, self.tables, "header")
        for place, offset, size, entry in self._listed():
            if place >= FROM_PREVIOUS:
                where = {FROM_PREVIOUS: "begin in the previous", TO_NEXT: "go on in the next"}
                text = f"its bytes {where.get(place, 'begin in the previous and go on in the next')} cabinet"
                yield Problem("unsupported", text, entry.path)
            elif place >= len(self.folders):
                yield Problem("malformed", f"it is in folder {place} of {len(self.folders)}", entry.path)
            else:
                entry.locator = [place, offset, size]
                yield entry
        left = self.size // BLOCK.size  # there are no more blocks, unless folders share them
        for index, folder in enumerate(self.folders):
            at = folder.offset
            try:
                for block in self._blocks(folder):
                    at = block.end
                    left -= 1
                    if left < 0:
                        raise Malformed("folders share blocks")
            except UnpackError as error:
                yield Problem(error.reason, f"folder {index}: {error}", entries=0)
            self._cover.add(folder.offset, at, "blocks")
        start, length = self.signature
        if length and start == self.size and start + length <= self.source.size:
            self._cover.add(start, start + length, "signature")

    def _listed(self) -> Iterator[tuple[int, int, int, Entry]]:
        """Yield the folder, the offset and length in it, and the entry of each file.

        Raises:
            UnpackError: the table of files breaks off.
        """
        at = self.files
        held, base = b"", at
        for number in range(self.declared or 0):
            if len(held) - (at - base) < FILE.size + 257:
                held, base = self.source.pread(at, 1 << 16), at
            if len(held) - (at - base) < FILE.size + 1:
                raise Truncated(f"the source ends inside file {number} of {self.declared}")
            size, offset, folder, date, time, attributes = FILE.unpack_from(held, at - base)
            begin = at - base + FILE.size
            end = held.find(b"\0", begin, begin + 257)
            if end < 0:
                raise Malformed(f"file {number} of {self.declared} has no name")
            entry = Entry(held[begin:end].replace(b"\\", b"/"), "regular", size=size, mtime=dos_time(date, time))
            if words := attribute_words(attributes & 0x27):
                entry.xattrs = {ATTRIBUTES: words}
            self._cover.add(at, base + end + 1, "files")
            at = base + end + 1
            yield folder, offset, size, entry

    def _blocks(self, folder: Folder) -> Iterator[Block]:
        """Yield the blocks of a folder.

        Raises:
            UnpackError: one is not there, or not one.
        """
        at = folder.offset
        width = BLOCK.size + self.reserved
        for number in range(folder.blocks):
            head = self.source.exactly(at, width)
            total, stored, size = BLOCK.unpack_from(head)
            block = Block(at, at + width, stored, size, total, head[4:])
            if stored > STORED or size > UNCOMPRESSED:
                raise Malformed(f"block {number} at offset {at} has {stored} bytes that give {size}")
            if block.end > min(self.size, self.source.size):
                raise Truncated(f"block {number} at offset {at} ends beyond the cabinet")
            yield block
            at = block.end

    def _decoded(self, index: int) -> Iterator[bytes]:
        folder = self.folders[index]
        kind = folder.method & 15
        if kind in (PLAIN, MSZIP):
            return self._own(folder, inflate=kind == MSZIP)
        if kind == LZX:
            return first(self._alone(index), "cab", self.limits, self.source.size)
        raise Unsupported(f"compression {folder.words}")

    def _own(self, folder: Folder, *, inflate: bool) -> Iterator[bytes]:
        """Yield what a folder gives that is stored, or compressed with MSZIP."""
        before = b""
        for block in self._blocks(folder):
            data = self.source.exactly(block.data, block.stored)
            if block.checksum:
                total = checksum(data, 0)
                # Tools differ in whether the reserved bytes count.
                if block.checksum not in {checksum(sizes, total) for sizes in (block.sizes, block.sizes[:4])}:
                    raise Malformed(f"the block at offset {block.start} has a wrong checksum")
            if inflate:
                if data[:2] != b"CK":
                    raise Malformed(f"the block at offset {block.start} is not of MSZIP")
                decoder = zlib.decompressobj(-15, zdict=before)
                try:
                    data = decoder.decompress(data[2:], UNCOMPRESSED + 1)
                except zlib.error as error:
                    raise Malformed(f"the block at offset {block.start}: {error}") from error
                before = data
            if len(data) != block.size:
                raise Malformed(f"the block at offset {block.start} gives {len(data)} bytes instead of {block.size}")
            if data:
                yield data

    def _alone(self, index: int) -> Source:
        """Return a cabinet with one folder, and all that this gives as one file."""
        if self._ends is None:
            self._ends = {}
            for number, offset, size, _ in self._listed():
                self._ends[number] = max(self._ends.get(number, 0), offset + size)
        folder = self.folders[index]
        files = HEADER.size + 4 + FOLDER.size
        data = files + FILE.size + 2
        blocks = self.source.window(folder.offset, self.size - folder.offset)
        total = min(0xFFFFFFFF, data + blocks.size)
        head = HEADER.pack(b"MSCF", 0, total, 0, files, 0, 3, 1, 1, 1, RESERVE, 0, 0)
        head += struct.pack("<HBB", 0, 0, self.reserved) + FOLDER.pack(data, folder.blocks, folder.method)
        head += FILE.pack(min(self._ends.get(index, 0), 0xFFFFFFFF), 0, 0, 0x21, 0, 0) + b"x\0"
        return Joined([head, blocks])

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. Blocks are held against their checksums, where they have one."""
        match locator:
            case [int(folder), int(offset), int(length)] if 0 <= folder < len(self.folders):
                if self._forward is None or self._forward[0] != folder:
                    self._forward = folder, Forward(lambda: self._decoded(folder))
                return guarded(self._forward[1].read(offset, length), self.limits, self.source.size)
        raise Malformed(f"no such entry: {locator!r}")

    def claims(self) -> list[Claim]:
        """See `Reader.claims`; the signature of a signed cabinet follows it."""
        return self._cover.claims(self.source, max(self.size, self._cover.end()))


FORMAT = Format(
    name="cab",
    title="Microsoft cabinet",
    open=CabReader,
    magics=((0, MAGIC),),
    references=(
        Reference(
            "[MS-CAB]: Cabinet File Format",
            "https://learn.microsoft.com/en-us/openspecs/exchange_server_protocols/ms-cab",
        ),
        Reference("[MS-PATCH]: LZX DELTA Compression and Decompression", "https://learn.microsoft.com/openspecs"),
    ),
    limitations=(
        "files that begin in the previous cabinet of a set, or go on in the next one",
        "Quantum compression",
        "the signature of a signed cabinet is explained, not checked",
        "times have no time zone: they are read as UTC",
    ),
)
