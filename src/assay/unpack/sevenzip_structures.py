"""The header of a 7z archive: what is packed, how, and what the files are (7zFormat.txt of the LZMA SDK).

    u8 signature[6]; u8 major, minor; u32 crc32 of the following 20 bytes
    u64 offset of the header from here; u64 its length; u32 its crc32

The header is a tree of properties, each introduced by a number of one byte; it may be packed itself. Numbers have one
to nine bytes: the ones that lead the first byte say how many follow.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .base import Malformed, Truncated, Unsupported

MAGIC = b"7z\xbc\xaf\x27\x1c"
START = 32
"""Bytes of the signature header; offsets of packed streams count from its end."""
END, HEADER, PROPERTIES, ADDITIONAL, MAIN, FILES, PACK, UNPACK, SUBSTREAMS, SIZES, DIGESTS = range(11)
FOLDER, UNPACK_SIZES, NUM_STREAMS, EMPTY_STREAM, EMPTY_FILE, ANTI, NAMES = range(0x0B, 0x12)
CREATED, ACCESSED, MODIFIED, ATTRIBUTES = range(0x12, 0x16)
ENCODED = 0x17
MOST_CODERS = 32

METHODS = {
    b"\0": "copy",
    b"\3": "delta",
    b"\4": "BCJ-x86",
    b"\5": "PPC",
    b"\6": "IA64",
    b"\7": "ARM",
    b"\x08": "ARMT",
    b"\x09": "SPARC",
    b"\x0a": "ARM64",
    b"\x0b": "RISCV",
    b"\x21": "LZMA2",
    b"\3\1\1": "LZMA",
    b"\3\3\1\3": "BCJ-x86",
    b"\3\3\1\x1b": "BCJ2",
    b"\3\3\2\5": "PPC",
    b"\3\3\4\1": "IA64",
    b"\3\3\5\1": "ARM",
    b"\3\3\7\1": "ARMT",
    b"\3\3\x08\5": "SPARC",
    b"\3\4\1": "PPMd",
    b"\4\1\x08": "deflate",
    b"\4\1\x09": "deflate64",
    b"\4\2\2": "bzip2",
    b"\4\xf7\x11\1": "zstd",
    b"\4\xf7\x11\2": "brotli",
    b"\4\xf7\x11\4": "lz4",
    b"\6\xf1\7\1": "AES",
}
"""Names of methods by their number."""


class StartHeader(NamedTuple):
    """The signature header."""

    version: str
    offset: int
    """Of the header, from the start of the archive."""
    size: int
    crc: int


class Coder(NamedTuple):
    """One step of decoding."""

    method: str
    properties: bytes


class Folder(NamedTuple):
    """Streams that are decoded together: what "solid" means."""

    raw: bytes
    """The folder's own record."""
    coders: list[Coder]
    packed: int
    """Packed streams that go in."""
    outs: int
    main: int
    """Which of the outputs is the result."""


@dataclass
class Streams:
    """What is packed (main streams info, or that of the header itself)."""

    start: int = 0
    """Of the first packed stream, from the start of the archive."""
    packed: list[int] = field(default_factory=list)
    """Lengths of the packed streams, which follow one another."""
    folders: list[Folder] = field(default_factory=list)
    sizes: list[list[int]] = field(default_factory=list)
    """Lengths of each folder's outputs."""
    digests: list[int | None] = field(default_factory=list)
    """CRC-32 of each folder's result."""
    parts: list[list[tuple[int, int | None]]] = field(default_factory=list)
    """Length and CRC-32 of the files in each folder."""
    places: list[tuple[int, int]] = field(default_factory=list)
    """Offset and number of the first packed stream of each folder."""


class File(NamedTuple):
    """One file."""

    name: bytes
    folder: bool
    anti: bool
    """It says that the file is to be deleted."""
    created: int | None
    accessed: int | None
    modified: int | None
    attributes: int | None
    where: tuple[int, int, int, int | None] | None
    """Number of the folder that holds its bytes, their offset in its result, length and CRC-32; None if it has none."""


def start_header(raw: bytes) -> StartHeader | None:
    """Return the signature header, None if there is none.

    Args:
        raw: the first 32 bytes.
    """
    if len(raw) < START or raw[:6] != MAGIC:
        return None
    major, minor, check, offset, size, crc = struct.unpack_from("<BBIQQI", raw, 6)
    if zlib.crc32(raw[12:START]) != check or major:
        return None
    return StartHeader(f"{major}.{minor}", START + offset, size, crc)


class _Cursor:
    """A header, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise Truncated(f"the header ends at {len(self.data)}, {length} bytes are to follow offset {self.at}")
        self.at += length
        return self.data[self.at - length : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        first, mask, value = self.byte(), 0x80, 0
        for index in range(8):
            if not first & mask:
                return value | (first & mask - 1) << 8 * index
            value |= self.byte() << 8 * index
            mask >>= 1
        return value

    def amount(self) -> int:
        """Return a number of things that the header lists: there cannot be more than it has bits."""
        value = self.number()
        if value > 8 * len(self.data):
            raise Malformed(f"a header of {len(self.data)} bytes announces {value} things")
        return value

    def bits(self, amount: int) -> list[bool]:
        raw = int.from_bytes(self.take((amount + 7) // 8), "big")
        width = (amount + 7) // 8 * 8
        return [char == "1" for char in f"{raw:0{width}b}"[:amount]] if amount else []

    def defined(self, amount: int) -> list[bool]:
        return [True] * amount if self.byte() else self.bits(amount)

    def digests(self, amount: int) -> list[int | None]:
        defined = self.defined(amount)
        numbers = iter(struct.unpack(f"<{sum(defined)}I", self.take(4 * sum(defined))))
        return [next(numbers) if there else None for there in defined]

    def inside(self) -> None:
        if self.byte():
            raise Unsupported("parts of the header are kept in a stream of their own")


def _folder(cursor: _Cursor) -> Folder:
    begin = cursor.at
    coders = []
    ins = outs = 0
    number = cursor.number()
    if not 0 < number <= MOST_CODERS:
        raise Malformed(f"a folder of {number} coders")
    for _ in range(number):
        flags = cursor.byte()
        if flags & 0xC0:
            raise Unsupported(f"a coder with flags {flags:#x}")
        method = cursor.take(flags & 15)
        more_in = more_out = 1
        if flags & 0x10:
            more_in, more_out = cursor.number(), cursor.number()
        if not 0 < more_in <= MOST_CODERS or more_out != 1:
            raise Unsupported(f"a coder with {more_in} inputs and {more_out} outputs")
        ins += more_in
        outs += more_out
        properties = cursor.take(cursor.number()) if flags & 0x20 else b""
        coders.append(Coder(METHODS.get(method, method.hex()), properties))
    bound = [(cursor.number(), cursor.number()) for _ in range(outs - 1)]
    packed = ins - len(bound)
    if packed < 1:
        raise Malformed("a folder into which nothing goes")
    if packed > 1:
        for _ in range(packed):
            cursor.number()
    free = set(range(outs)) - {out for _, out in bound}
    if len(free) != 1:
        raise Malformed("a folder without a single result")
    return Folder(cursor.data[begin : cursor.at], coders, packed, outs, free.pop())


def _pack(cursor: _Cursor, found: Streams) -> None:
    found.start = START + cursor.number()
    number = cursor.amount()
    while (kind := cursor.number()) != END:
        if kind == SIZES:
            found.packed = [cursor.number() for _ in range(number)]
        elif kind == DIGESTS:
            cursor.digests(number)
        else:
            raise Malformed(f"property {kind} among the packed streams")
    if len(found.packed) != number:
        raise Malformed("packed streams without lengths")


def _unpack(cursor: _Cursor, found: Streams) -> None:
    if cursor.number() != FOLDER:
        raise Malformed("no folders where they are to be")
    number = cursor.amount()
    cursor.inside()
    found.folders = [_folder(cursor) for _ in range(number)]
    found.digests = [None] * number
    while (kind := cursor.number()) != END:
        if kind == UNPACK_SIZES:
            found.sizes = [[cursor.number() for _ in range(folder.outs)] for folder in found.folders]
        elif kind == DIGESTS:
            found.digests = cursor.digests(number)
        else:
            raise Malformed(f"property {kind} among the folders")
    if len(found.sizes) != number:
        raise Malformed("folders without lengths")


def _substreams(cursor: _Cursor, found: Streams) -> None:
    numbers = [1] * len(found.folders)
    totals = [sizes[folder.main] for folder, sizes in zip(found.folders, found.sizes, strict=True)]
    kind = cursor.number()
    if kind == NUM_STREAMS:
        numbers = [cursor.amount() for _ in numbers]
        if sum(numbers) > 8 * len(cursor.data):
            raise Malformed(f"a header of {len(cursor.data)} bytes announces {sum(numbers)} streams")
        kind = cursor.number()
    lengths = []
    for number, total in zip(numbers, totals, strict=True):
        these = [cursor.number() for _ in range(number - 1)] if kind == SIZES else []
        if number and (len(these) != number - 1 or sum(these) > total):
            raise Malformed(f"{number} files in a folder of {total} bytes, whose lengths do not fit")
        lengths.append([*these, total - sum(these)] if number else [])
    if kind == SIZES:
        kind = cursor.number()
    alone = [
        number == 1 and digest is not None for number, digest in zip(numbers, found.digests, strict=True)
    ]  # their digests have been told with the folders
    unknown = sum(number for number, known in zip(numbers, alone, strict=True) if not known)
    digests: Iterator[int | None] = iter([None] * unknown)
    while kind != END:
        if kind != DIGESTS:
            raise Malformed(f"property {kind} among the files' streams")
        digests = iter(cursor.digests(unknown))
        kind = cursor.number()
    found.parts = [
        [(length, found.digests[index] if known else next(digests)) for length in these]
        for index, (these, known) in enumerate(zip(lengths, alone, strict=True))
    ]


def _streams(cursor: _Cursor) -> Streams:
    found = Streams()
    while (kind := cursor.number()) != END:
        if kind == PACK:
            _pack(cursor, found)
        elif kind == UNPACK:
            _unpack(cursor, found)
        elif kind == SUBSTREAMS:
            _substreams(cursor, found)
        else:
            raise Malformed(f"property {kind} among the streams")
    if not found.parts:
        found.parts = [
            [(sizes[folder.main], digest)]
            for folder, sizes, digest in zip(found.folders, found.sizes, found.digests, strict=True)
        ]
    at, number = found.start, 0
    for folder in found.folders:
        found.places.append((at, number))
        at += sum(found.packed[number : number + folder.packed])
        number += folder.packed
    if number > len(found.packed):
        raise Malformed("folders need more packed streams than there are")
    return found


def packed_header(data: bytes) -> Streams | None:
    """Return where the packed header of a header is, None if the header is not packed.

    Raises:
        UnpackError: the header is broken.
    """
    cursor = _Cursor(data)
    if cursor.number() != ENCODED:
        return None
    found = _streams(cursor)
    if len(found.folders) != 1:
        raise Malformed(f"the header is packed in {len(found.folders)} folders")
    return found


def header(data: bytes) -> tuple[Streams, list[File]]:
    """Return what an unpacked header says.

    Raises:
        UnpackError: the header is broken.
    """
    cursor = _Cursor(data)
    kind = cursor.number()
    if kind != HEADER:
        raise Malformed(f"property {kind} instead of the header")
    streams, files = Streams(), []
    while (kind := cursor.number()) != END:
        if kind == PROPERTIES:
            while cursor.number() != END:
                cursor.take(cursor.number())
        elif kind == ADDITIONAL:
            _streams(cursor)
        elif kind == MAIN:
            streams = _streams(cursor)
        elif kind == FILES:
            files = _files(cursor, streams)
        else:
            raise Malformed(f"property {kind} in the header")
    return streams, files


def _files(cursor: _Cursor, streams: Streams) -> list[File]:
    number = cursor.amount()
    empty, names = [False] * number, []
    flags: dict[int, list[bool]] = {}
    values: dict[int, list[int | None]] = {}
    while (kind := cursor.number()) != END:
        part = _Cursor(cursor.take(cursor.number()))
        if kind == EMPTY_STREAM:
            empty = part.bits(number)
        elif kind in (EMPTY_FILE, ANTI):
            flags[kind] = part.bits(sum(empty))
        elif kind == NAMES:
            part.inside()
            names = _names(part.data[1:])
        elif kind in (CREATED, ACCESSED, MODIFIED, ATTRIBUTES):
            defined = part.defined(number)
            part.inside()
            width, letter = (4, "I") if kind == ATTRIBUTES else (8, "Q")
            numbers = iter(struct.unpack(f"<{sum(defined)}{letter}", part.take(width * sum(defined))))
            values[kind] = [next(numbers) if there else None for there in defined]
    if len(names) != number:
        raise Malformed(f"{number} files, {len(names)} names")
    bare, anti = flags.get(EMPTY_FILE, []), flags.get(ANTI, [])
    times = [values.get(kind, [None] * number) for kind in (CREATED, ACCESSED, MODIFIED, ATTRIBUTES)]
    places, files, hollow = _places(streams), [], 0
    for name, without, created, accessed, modified, attributes in zip(names, empty, *times, strict=True):
        where, folder, deletes = None, False, False
        if without:
            folder = not (hollow < len(bare) and bare[hollow])
            deletes = hollow < len(anti) and anti[hollow]
            hollow += 1
        else:
            where = next(places, None)
            if where is None:
                raise Malformed("more files with bytes than streams")
        files.append(File(name, folder, deletes, created, accessed, modified, attributes, where))
    return files


def _places(streams: Streams) -> Iterator[tuple[int, int, int, int | None]]:
    for index, parts in enumerate(streams.parts):
        offset = 0
        for length, crc in parts:
            yield index, offset, length, crc
            offset += length


def _names(data: bytes) -> list[bytes]:
    """Return the names, each ended by a character 0, in UTF-8; surrogates without a partner stay what they are."""
    if len(data) & 1 or data[-2:] not in (b"", b"\0\0"):
        raise Malformed("the names break off")
    text = data.decode("utf-16-le", "surrogatepass")
    return [name.encode("utf-8", "surrogatepass") for name in text.split("\0")[:-1]]
