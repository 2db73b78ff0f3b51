"""Compressed files of EROFS: which stored cluster gives which bytes of a file, and how it is decoded.

A file is cut in logical clusters (mostly of a block). An index for each one says if an extent begins in it (and where,
and in which block its stored cluster is) or if an earlier one goes on. Full indexes have 8 bytes. Compact ones are put
in packs, two in 8 bytes or sixteen in 32, with one block number for all of them. Images with 48-bit addresses may have
a table of extents instead. The last extent may lie after the indexes (tail packing) or in the packed inode (fragment).
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import lz4.block
import zstandard

from .base import Malformed, Source, Truncated, Unsupported
from .erofs_structures import COMPACT, Inode, Superblock

LONGEST_STORED = 1 << 20
LONGEST = 12 << 20
"""Most bytes of a stored cluster, and of what it decodes into, by the format's definition."""
TABLE = 64 << 10
"""Bytes of indexes read together."""

LZ4, LZMA, DEFLATE, ZSTD, SHIFTED, INTERLACED, FRAGMENT, HOLE = range(8)
NAMES = ("lz4", "lzma", "deflate", "zstd")

EXTENTS, BIG1, BIG2, TAIL, ROTATED, FRAGMENTED = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
"""What the map header advises. The first bit means packs of 2-byte indexes where they are compact."""


class Extent(NamedTuple):
    """A stretch of a file, and what it is decoded from."""

    start: int
    """Offset in the file."""
    length: int
    form: int
    """Algorithm, or `SHIFTED`, `INTERLACED` (not compressed), `FRAGMENT`, `HOLE`."""
    offset: int
    """Byte offset of the stored cluster in the image; of a fragment, in the packed inode."""
    stored: int


class _Head(NamedTuple):
    start: int
    kind: int
    block: int
    blocks: int
    """Blocks of the stored cluster, 0 if its index does not say."""


class Clusters:
    """The map of one compressed file.

    Args:
        source: the image.
        head: its superblock.
        inode: the file's.

    Raises:
        Malformed: the map header contradicts itself.
        Truncated: it is not there.
    """

    def __init__(self, source: Source, head: Superblock, inode: Inode) -> None:
        self.source = source
        self.head = head
        self.inode = inode
        self.advice: int
        at = inode.end + -inode.end % 8
        raw = source.exactly(at, 8)
        self.indexes = at + 8
        fragment: int
        algorithms: int
        bits: int
        fragment, self.advice, algorithms, bits = struct.unpack("<IHBB", raw)
        self.whole: int | None = None
        """Offset in the packed inode, if the whole file is there."""
        if bits & 0x80 and not (inode.layout != COMPACT and self.advice & EXTENTS):
            self.whole = int.from_bytes(raw, "little") ^ 1 << 63
            return
        self.fragment = fragment
        self.tail = fragment >> 16 if self.advice & TAIL else 0
        self.algorithms = algorithms & 15, algorithms >> 4
        self.bits = head.block_bits + (bits & 15)
        self.count = fragment | (algorithms | bits << 8) << 32

    def extents(self) -> Iterator[Extent]:
        """Yield the extents of the file in order, all of it covered.

        Raises:
            Malformed: the indexes break the format.
            Truncated: they are not there.
        """
        size = self.inode.size
        if self.whole is not None:
            yield Extent(0, size, FRAGMENT, self.whole, 0)
            return
        if self.inode.layout != COMPACT and self.advice & EXTENTS:
            yield from self._table()
            return
        position = 0
        head: _Head | None = None
        for following in self._heads():
            if following.start >= size:
                break
            if head is None:
                if following.start:
                    raise Malformed(f"the first extent begins at {following.start}")
            else:
                if following.start <= head.start:
                    raise Malformed(f"an extent at {following.start} after one at {head.start}")
                yield self._extent(head, following.start - head.start)
                position = following.start
            head = following
        if head is None:
            raise Malformed("no extent begins at the file's beginning")
        yield self._last(head, size - position)

    # The indexes, one for each logical cluster

    def _heads(self) -> Iterator[_Head]:
        """Yield the indexes at which an extent begins."""
        head: _Head | None = None
        big = {1: self.advice & BIG1, 3: self.advice & BIG2}
        for number, (kind, value, block, blocks) in enumerate(self._words()):
            if kind == 2:
                if blocks and head and not head.blocks and big.get(head.kind):
                    head = head._replace(blocks=blocks)
                continue
            if head:
                yield head
            if value >= 1 << self.bits:
                raise Malformed(f"index {number}: an extent begins at {value} in a cluster of {1 << self.bits}")
            head = _Head((number << self.bits) + value, kind, block, 0)
        if head:
            yield head

    def _words(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield (kind, offset in the cluster, block, blocks of the extent that goes on) of each index."""
        count = -(-self.inode.size // (1 << self.bits))
        if self.inode.layout != COMPACT:
            # u16 advice, the lowest 2 bits the kind; u16 offset; u32 block, or two u16: distances to the heads
            yield from self._full(count)
            return
        total = -(-self.inode.size // self.head.block_size)
        first = min(-self.indexes % 32 // 4, total)
        short = (total - first) // 16 * 16 if self.advice & 1 else 0
        at = self.indexes
        left = count
        if short and self.bits != 12:
            raise Unsupported(f"2-byte indexes for clusters of {1 << self.bits} bytes")
        if self.bits > 14:
            raise Unsupported(f"4-byte indexes for clusters of {1 << self.bits} bytes")
        for number, width, each in ((first, 4, 2), (short, 2, 16), (total - first - short, 4, 2)):
            for piece in self._pieces(at, number, width * each, each):
                for word in self._packs(piece, width, each):
                    if not left:
                        return
                    left -= 1
                    yield word
            at += number * width

    def _pieces(self, at: int, number: int, length: int, each: int) -> Iterator[bytes]:
        """Yield whole packs of `length` bytes that hold `number` indexes, `each` in a pack."""
        packs = -(-number // each)
        most = TABLE // length
        while packs:
            take = min(packs, most)
            yield self.source.exactly(at, take * length)
            at += take * length
            packs -= take

    def _full(self, count: int) -> Iterator[tuple[int, int, int, int]]:
        for piece in self._pieces(self.indexes + 8, count, 8, 1):
            for advice, offset, low, high in struct.iter_unpack("<HHHH", piece):
                kind = advice & 3
                if kind == 2:
                    yield 2, 0, 0, low & 0x7FF if low & 0x800 else 0
                else:
                    yield kind, offset, low | high << 16, 0

    def _packs(self, piece: bytes, width: int, each: int) -> Iterator[tuple[int, int, int, int]]:
        """Decode compact indexes: in each pack `each` times (value, 2 bits of kind), then u32, the block before."""
        length = width * each
        field = (length - 4) * 8 // each
        low = self.bits
        mask = (1 << low) - 1
        big = self.advice & BIG1
        for at in range(0, len(piece), length):
            bits = int.from_bytes(piece[at : at + length - 4], "little")
            block = int.from_bytes(piece[at + length - 4 : at + length], "little")
            # With clusters of one block, the first head of a pack is one block after `block`. With bigger ones it is
            # at `block`, and each cluster counts with the blocks that its second index says, or with one.
            pending = not big
            for index in range(each):
                word = bits >> index * field
                value, kind = word & mask, word >> low & 3
                if kind != 2:
                    block += pending
                    pending = True
                    yield kind, value, block, 0
                elif value & 0x800 and big:
                    blocks = value & 0x7FF
                    block += blocks
                    pending = False
                    yield 2, 0, 0, blocks
                else:
                    yield 2, 0, 0, 0

    def _extent(self, head: _Head, length: int) -> Extent:
        stored = head.blocks << self.head.block_bits or 1 << self.bits
        if length > LONGEST or stored > LONGEST_STORED:
            raise Malformed(f"an extent of {length} bytes from {stored} stored ones")
        plain = INTERLACED if self.advice & ROTATED else SHIFTED
        form = self.algorithms[head.kind == 3] if head.kind else plain
        return Extent(head.start, length, form, head.block << self.head.block_bits, stored)

    def _last(self, head: _Head, length: int) -> Extent:
        extent = self._extent(head, min(length, LONGEST))
        if self.advice & FRAGMENTED:
            high = head.block << 32 if self.inode.layout != COMPACT else 0
            return Extent(head.start, length, FRAGMENT, self.fragment | high, 0)
        if length > LONGEST:
            raise Malformed(f"an extent of {length} bytes")
        return extent._replace(offset=self.end(), stored=self.tail) if self.tail else extent

    def end(self) -> int:
        """Return the byte offset after the indexes, where a packed tail begins."""
        size = self.inode.size
        if self.whole is not None:
            return self.indexes
        if self.inode.layout != COMPACT:
            if self.advice & EXTENTS:
                record = self._record()
                start = self.indexes + -self.indexes % record
                fixed = -(-size // (1 << self.bits)) * record + 8 * (record == 4)
                return start + (fixed if record <= 8 else self.count * record)
            return self.indexes + 8 + 8 * -(-size // (1 << self.bits))
        total = -(-size // self.head.block_size)
        first = min(-self.indexes % 32 // 4, total)
        short = (total - first) // 16 * 16 if self.advice & 1 else 0
        rest = total - first - short
        at = self.indexes + 4 * first + 2 * short
        # A pack counts as a whole, also where the file ends in the middle of it.
        return at + (rest + rest % 2) * 4 if rest else at + 4 * (first % 2 if not short else 0)

    # The table of extents

    def _record(self) -> int:
        return 4 << (self.advice >> 1 & 3)

    def _table(self) -> Iterator[Extent]:
        """Decode u32 stored length and form, u32 offset, u32 offset's high part, u32 start, u32 start's high part."""
        size, record = self.inode.size, self._record()
        at = self.indexes + -self.indexes % record
        count = self.count if record > 8 else -(-size // (1 << self.bits))
        offset = 0
        if record == 4:
            offset = int.from_bytes(self.source.exactly(at, 8), "little")
            at += 8
        previous: tuple[int, int, int] | None = None
        number = 0
        for piece in self._pieces(at, count, record, 1):
            for where in range(0, len(piece), record):
                words = struct.unpack_from(f"<{record // 4}I", piece, where)
                start = number << self.bits
                if record >= 8:
                    offset = words[1]
                if record >= 16:
                    offset |= words[2] << 32
                    start = words[3] | (words[4] << 32 if record == 32 else 0)
                if previous is None and start:
                    raise Malformed(f"the first extent begins at {start}")
                if start >= size or (previous and start <= previous[0]):
                    raise Malformed(f"an extent at {start} of {size}, out of order")
                if previous:
                    yield self._recorded(*previous, start - previous[0], last=False)
                previous = start, words[0], offset
                if record == 4:
                    offset += words[0] & 0x1FFFFF
                number += 1
        if previous is None:
            raise Malformed("no extents")
        yield self._recorded(*previous, size - previous[0], last=True)

    def _recorded(self, start: int, word: int, offset: int, length: int, *, last: bool) -> Extent:
        if last and self.advice & FRAGMENTED:
            return Extent(start, length, FRAGMENT, word | (offset << 32 if self._record() > 4 else 0), 0)
        stored, form = word & 0x1FFFFF, word >> 28
        if not stored:
            return Extent(start, length, HOLE, 0, 0)
        if length > LONGEST or stored > LONGEST_STORED:
            raise Malformed(f"an extent of {length} bytes from {stored} stored ones")
        if form:
            return Extent(start, length, form - 1, offset, stored)
        rotated = self.advice & ROTATED and not offset % self.head.block_size
        return Extent(start, length, INTERLACED if rotated else SHIFTED, offset, stored)


# Decoding

_ERRORS = (zlib.error, lzma.LZMAError, lz4.block.LZ4BlockError, zstandard.ZstdError, MemoryError, ValueError)


def decode(extent: Extent, stored: bytes, head: Superblock) -> bytes:
    """Return an extent's bytes.

    Args:
        extent: one that has a stored cluster.
        stored: the cluster.
        head: the superblock.

    Raises:
        Truncated: the cluster is not whole.
        Unsupported: the algorithm is not known.
        Malformed: it does not decode, or into less than the extent's length.
    """
    if len(stored) < extent.stored:
        raise Truncated(f"a cluster of {extent.stored} bytes at offset {extent.offset}, {len(stored)} are there")
    length = extent.length
    if extent.form == SHIFTED:
        data = stored[:length]
    elif extent.form == INTERLACED:
        begin = extent.start % head.block_size
        data = stored[begin : head.block_size][:length]
        data += stored[: length - len(data)]
    elif extent.form < len(_DECODERS):
        # The stored bytes stand at the end of the cluster, after zeros; old images have them at its beginning.
        aligned = bool(head.incompat & 1) or extent.form != LZ4
        packed = stored.lstrip(b"\0") if aligned else stored
        try:
            data = _DECODERS[extent.form](packed, length, aligned)
        except _ERRORS as error:
            raise Malformed(f"cluster at offset {extent.offset}: {NAMES[extent.form]}: {error}") from None
    else:
        raise Unsupported(f"compression algorithm {extent.form}")
    if len(data) != length:
        raise Malformed(f"cluster at offset {extent.offset} gives {len(data)} bytes instead of {length}")
    return data


def _lz4(packed: bytes, length: int, aligned: bool) -> bytes:
    room = length
    if not aligned:
        packed, room = _lz4_cut(packed, length)
    while True:
        # An extent may use only the beginning of what its cluster decodes into, which no field tells beforehand.
        try:
            data: bytes = lz4.block.decompress(packed, uncompressed_size=room)
            return data[:length]
        except lz4.block.LZ4BlockError:
            if room >= LONGEST or not aligned:
                raise
            room = min(LONGEST, max(room * 4, 1 << 16))


def _lz4_cut(packed: bytes, length: int) -> tuple[bytes, int]:
    """Return LZ4 data that end where `length` bytes are out, and the room that decoding them needs.

    Data that stand at the beginning of their cluster have no end of their own. A sequence is a byte with the numbers of
    literals and of bytes to repeat, the literals, and how far back the repeated bytes are. The last one has literals
    only; decoders want some of them, and some room after them, so 16 more are put there.
    """
    at = out = 0

    def number(nibble: int) -> int:
        nonlocal at
        if nibble == 15:
            while packed[at] == 255:
                nibble += 255
                at += 1
            nibble += packed[at]
            at += 1
        return nibble

    begin, last = 0, b""
    try:
        while out < length:
            begin = at
            token = packed[at]
            at += 1
            literals = number(token >> 4)
            at += literals
            out += literals
            if out >= length:
                last = packed[at - literals : at]
                break
            at += 2
            out += number(token & 15) + 4
            begin = at
    except IndexError:
        raise Malformed("lz4: the data end before the extent does") from None
    last += bytes(16)
    runs, rest = divmod(len(last) - 15, 255)
    return packed[:begin] + b"\xf0" + b"\xff" * runs + bytes([rest]) + last, out + 80


def _lzma(packed: bytes, length: int, aligned: bool) -> bytes:  # noqa: ARG001 - all decoders are called alike
    # MicroLZMA: the properties, inverted, in the place of the range coder's first byte, which is always zero.
    properties = ~packed[0] & 0xFF if packed else 255
    if properties >= 225 or properties % 9 + properties // 9 % 5 > 4:
        raise Malformed(f"lzma: properties {properties}")
    filters = [
        {
            "id": lzma.FILTER_LZMA1,
            "dict_size": 8 << 20,
            "lc": properties % 9,
            "lp": properties // 9 % 5,
            "pb": properties // 45,
        }
    ]
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    return decoder.decompress(b"\0" + packed[1:], length)


def _deflate(packed: bytes, length: int, aligned: bool) -> bytes:  # noqa: ARG001 - all decoders are called alike
    return zlib.decompressobj(-15).decompress(packed, length)


def _zstd(packed: bytes, length: int, aligned: bool) -> bytes:  # noqa: ARG001 - all decoders are called alike
    with zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(packed) as reader:
        return reader.read(length)


_DECODERS = (_lz4, _lzma, _deflate, _zstd)
