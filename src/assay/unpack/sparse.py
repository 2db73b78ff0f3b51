"""Android sparse images: a raw image with what it does not need left out, as factory images come in.

All numbers are little-endian:

    u32 magic = ed26ff3a; u16 major = 1, minor, header size, chunk header size; u32 block size, blocks, chunks, CRC-32
    chunk: u16 type, reserved; u32 blocks, total size (with this header); then
        cac1 raw: the blocks; cac2 fill: u32 repeated; cac3 don't care: nothing; cac4: u32 CRC-32 of the image so far
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from .base import (
    CHUNK,
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
    guarded,
)

MAGIC = b"\x3a\xff\x26\xed"
_HEADER = struct.Struct("<4s4H4I")
_CHUNK = struct.Struct("<2H2I")
_RAW, _FILL, _HOLE, _CRC = 0xCAC1, 0xCAC2, 0xCAC3, 0xCAC4
_AHEAD = 4096
"""Bytes read at once: chunks without data lie next to each other."""


class SparseReader(Reader):
    """See `Reader`. Lists one entry, the raw image; what is not stored is zeros."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        head = source.pread(0, _HEADER.size)
        if len(head) < _HEADER.size:
            raise NotThisFormat
        _, major, minor, self._first, self._step, self._block, blocks, self._count, crc = _HEADER.unpack(head)
        if major != 1 or not 28 <= self._first <= 4096 or not 12 <= self._step <= 4096:
            raise NotThisFormat
        if self._block % 4 or not 4 <= self._block <= 1 << 26:
            raise NotThisFormat
        self._size = blocks * self._block
        self._end = self._first
        self.detail = {
            "version": f"{major}.{minor}",
            "block_bytes": self._block,
            "blocks": blocks,
            "chunks": self._count,
            "crc32": f"{crc:#010x}" if crc else None,
        }

    def _chunks(self) -> Iterator[tuple[int, int, int]]:
        """Yield type, offset of the data, and bytes of the image, of each chunk.

        Raises:
            Malformed: a chunk is none, or its size is not what it holds.
            Truncated: the source ends inside one.
        """
        at, total = self._first, 0
        base, block = 0, b""
        for number in range(self._count):
            if not base <= at <= base + len(block) - _CHUNK.size:
                base, block = at, self.source.pread(at, _AHEAD)
            if len(block) < _CHUNK.size:
                raise Truncated(f"ends at chunk {number} of {self._count}")
            kind, _, blocks, stored = _CHUNK.unpack_from(block, at - base)
            size = blocks * self._block
            held = {_RAW: size, _FILL: 4, _HOLE: 0, _CRC: 4}.get(kind)
            if held is None or stored != self._step + held:
                raise Malformed(f"chunk {number}, at offset {at}, has type {kind:#06x} and {stored} bytes")
            size = 0 if kind == _CRC else size
            total += size
            if total > self._size:
                raise Malformed(f"chunk {number}, at offset {at}, goes on beyond the image's {self._size} bytes")
            yield kind, at + self._step, size
            at += stored
            self._end = max(self._end, at)
            if at > self.source.size:
                raise Truncated(f"ends inside chunk {number} of {self._count}")
        if total != self._size:
            raise Malformed(f"the chunks have {total} bytes, the header says {self._size}")

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. Walks all chunks, to know where the last one ends."""
        yield Entry(b"image", "regular", locator=0, size=self._size)
        counts = dict.fromkeys((_RAW, _FILL, _HOLE, _CRC), 0)
        try:
            for kind, _, size in self._chunks():
                counts[kind] += size or 1
        except (Malformed, Truncated) as error:
            yield Problem(error.reason, str(error), b"image", 0)
        self.detail |= {"raw_bytes": counts[_RAW], "fill_bytes": counts[_FILL], "hole_bytes": counts[_HOLE]}

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. A CRC-32 among the chunks is checked where it stands."""
        if locator != 0:
            raise Malformed(f"no such entry: {locator!r}")
        return guarded(self._bytes(), self.limits, self.source.size)

    def _bytes(self) -> Iterator[bytes]:
        sums = any(kind == _CRC for kind, _, _ in self._quiet())
        crc = 0
        for kind, at, size in self._chunks():
            if kind == _CRC:
                stated = int.from_bytes(self.source.exactly(at, 4), "little")
                if crc != stated:
                    raise Malformed(f"the image has CRC-32 {crc:#010x}, the chunk at offset {at} says {stated:#010x}")
                continue
            for piece in self.source.chunks(at, size) if kind == _RAW else self._repeated(kind, at, size):
                if sums:
                    crc = zlib.crc32(piece, crc)
                yield piece

    def _quiet(self) -> Iterator[tuple[int, int, int]]:
        try:
            yield from self._chunks()
        except (Malformed, Truncated):
            return  # told when the bytes are read

    def _repeated(self, kind: int, at: int, size: int) -> Iterator[bytes]:
        word = self.source.exactly(at, 4) if kind == _FILL else bytes(4)
        piece = word * (min(size, CHUNK) // 4)
        while size > 0:
            yield piece if size >= len(piece) else piece[:size]
            size -= len(piece)

    def claims(self) -> list[Claim]:
        """See `Reader.claims`."""
        end = min(self._end, self.source.size)
        first = min(self._first, self.source.size)
        return [Claim(0, first, "header"), Claim(first, max(0, end - first), "chunks")]


def _open(source: Source, limits: Limits) -> Reader:
    return SparseReader(source, limits)


FORMAT = Format(
    name="android-sparse",
    title="Android sparse image",
    open=_open,
    magics=[(0, MAGIC)],
    references=[
        Reference(
            "Android: libsparse/sparse_format.h",
            "https://android.googlesource.com/platform/system/core/+/refs/heads/main/libsparse/sparse_format.h",
        ),
    ],
    limitations=["the CRC-32 in the header, which hardly any tool writes, is told and not checked"],
)
