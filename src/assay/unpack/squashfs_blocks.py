"""The stored blocks of squashfs: its six compressors, vendors' changes to them, and metadata blocks.

Each compressor is one function that takes the stored bytes and the most bytes that may come out, and never allocates
much more than that whatever the stored bytes claim. What does not decode raises `Malformed`.
"""

from __future__ import annotations

import lzma
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import lz4.block
import zstandard
from isal import igzip_lib
from lzallright import LZOCompressor, LZOError

from . import squashfs_lzma
from .base import Malformed, Source, Truncated, UnpackError

Decode = Callable[[bytes | memoryview, int], bytes]

ISAL_ERROR = cast("type[Exception]", igzip_lib.error)  # its stubs say it is an instance
ZLIB_FIRST = b"\x78"
LZMA_FIRST = b"\x5d"
METADATA = 8192
"""Bytes in a decoded metadata block."""
XZ_MEMORY = 96 << 20
"""Most memory for one xz decoder, in bytes: what a 64 MiB dictionary needs; squashfs dictionaries are block-sized."""


def _gzip(data: bytes | memoryview, limit: int) -> bytes:
    try:
        decoder = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_ZLIB)
        out: bytes = decoder.decompress(data, limit + 1)
        if decoder.eof:
            return out
    except ISAL_ERROR:
        pass
    if data[:1] == LZMA_FIRST:  # no zlib stream begins so: images of the LZMA patches have blocks of both kinds
        return squashfs_lzma.STANDARD.decode(data, limit)
    # ISA-L is stricter than zlib about some headers; zlib has the last word.
    other = zlib.decompressobj()
    out = other.decompress(data, limit + 1)
    if not other.eof and len(out) <= limit:
        raise Malformed("the zlib stream ends early")
    return out


def _xz(data: bytes | memoryview, limit: int) -> bytes:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY)
    out = decoder.decompress(data, limit + 1)
    if not decoder.eof and len(out) <= limit:
        raise Malformed("the xz stream ends early")
    return out


def _xz_renamed(data: bytes | memoryview, limit: int) -> bytes:
    return _xz(b"\xfd7zXZ\0" + data[6:-2] + b"YZ", limit)


def _lzo(data: bytes | memoryview, limit: int) -> bytes:
    # LZO1X expands at most 255 times and a stored block is never longer than a block, so the output is bounded.
    return LZOCompressor.decompress(data, limit)


def _lz4(data: bytes | memoryview, limit: int) -> bytes:
    out: bytes = lz4.block.decompress(data, uncompressed_size=limit)
    return out


class _Zstd(threading.local):
    """One decoder for each thread: making one costs more than decoding a small block, and none may be shared."""

    def __init__(self) -> None:
        self.decoder = zstandard.ZstdDecompressor(max_window_size=1 << 27)


_ZSTD = _Zstd()


def _zstd(data: bytes | memoryview, limit: int) -> bytes:
    # The library allocates what the frame header declares.
    if zstandard.frame_content_size(data) > limit:
        raise Malformed("a zstd frame declares more than a block")
    return _ZSTD.decoder.decompress(data, max_output_size=limit)


@dataclass(frozen=True)
class Compressor:
    """One of the format's compressors."""

    name: str
    decode: Decode
    options: Callable[[bytes], dict[str, str | int]]
    """Decode the compressor options block (may be of the wrong length)."""
    guest: bytes = b"\0\0"
    """First byte of blocks of another compressor, which it takes too because images have both."""


def _fields(layout: str, *names: str) -> Callable[[bytes], dict[str, str | int]]:
    def decode(data: bytes) -> dict[str, str | int]:
        form = struct.Struct(layout)
        return dict(zip(names, form.unpack(data[: form.size]), strict=True)) if len(data) >= form.size else {}

    return decode


def _framed(frame: squashfs_lzma.Frame) -> Compressor:
    if not frame.stored or frame.properties:
        return Compressor(frame.name, frame.decode, _fields("<"))

    def decode(data: bytes | memoryview, limit: int) -> bytes:
        # As properties this byte would ask for more literal contexts than liblzma has.
        return _gzip(data, limit) if data[:1] == ZLIB_FIRST else frame.decode(data, limit)

    return Compressor(frame.name, decode, _fields("<"), ZLIB_FIRST)


BCJ = ("x86", "powerpc", "ia64", "arm", "armthumb", "sparc", "arm64", "riscv")


def _xz_options(data: bytes) -> dict[str, str | int]:
    if len(data) < 8:
        return {}
    dictionary, bits = struct.unpack_from("<II", data)
    names = [name for bit, name in enumerate(BCJ) if bits >> bit & 1]
    return {"dictionary_size": dictionary, "filters": " ".join(names)}


LZO_ALGORITHMS = ("lzo1x_1", "lzo1x_1_11", "lzo1x_1_12", "lzo1x_1_15", "lzo1x_999")


def _lzo_options(data: bytes) -> dict[str, str | int]:
    options = _fields("<II", "algorithm", "level")(data)
    number = options.get("algorithm")
    if isinstance(number, int) and number < len(LZO_ALGORITHMS):
        options["algorithm"] = LZO_ALGORITHMS[number]
    return options


COMPRESSORS = {
    1: Compressor("gzip", _gzip, _fields("<IHH", "level", "window", "strategies"), LZMA_FIRST),
    2: _framed(squashfs_lzma.STANDARD),
    3: Compressor("lzo", _lzo, _lzo_options),
    4: Compressor("xz", _xz, _xz_options),
    5: Compressor("lz4", _lz4, _fields("<II", "lz4_version", "flags")),
    6: Compressor("zstd", _zstd, _fields("<I", "level")),
}
"""Compressors by the superblock's id."""


def told(number: int | None) -> Compressor | None:
    """Return the compressor of the superblock's number, None if there is none; without a number it is zlib."""
    return COMPRESSORS.get(1 if number is None else number)


def others(first: Compressor | None, sample: bytes) -> Iterator[Compressor]:
    """Yield the compressors to try on an image where what its superblock tells is wrong, vendors' own last.

    Args:
        first: what the superblock tells.
        sample: a stored block, compressed; LZMA is not tried where it cannot begin in it.
    """
    for other in COMPRESSORS.values():
        if other is not first:
            yield other
    yield Compressor("xz, another magic", _xz_renamed, _fields("<"))
    for frame in squashfs_lzma.frames():
        if frame is not squashfs_lzma.STANDARD and sample[frame.data : frame.data + 1] == b"\0":
            yield _framed(frame)


_ERRORS = (zlib.error, lzma.LZMAError, LZOError, lz4.block.LZ4BlockError, zstandard.ZstdError, EOFError, ValueError)


def decode(compressor: Compressor, data: bytes | memoryview, limit: int) -> bytes:
    """Return a stored block's bytes.

    Args:
        compressor: how it is stored.
        data: the stored bytes, no more than a block has.
        limit: most bytes that may come out; exactly as many, where that is known.

    Raises:
        Malformed: it does not decode, or into more than `limit`.
    """
    try:
        out = compressor.decode(data, limit)
    except _ERRORS as error:
        raise Malformed(f"{compressor.name}: {error}") from None
    if len(out) > limit:
        raise Malformed(f"a block decodes into more than {limit} bytes")
    return out


class Metadata:
    """Metadata blocks of one table, decoded when they are asked for.

    Args:
        source: the image.
        base: what positions count from.
        compressor: how blocks are stored.
        room: decoded bytes that may be kept.
        length: format of a block's length word.
        checked: a check byte follows it.
    """

    def __init__(
        self, source: Source, base: int, compressor: Compressor, room: int, length: str = "<H", *, checked: bool = False
    ) -> None:
        self.source = source
        self.base = base
        self.compressor = compressor
        self.length = struct.Struct(length)
        self.header = 3 if checked else 2
        self.room = max(2, room // METADATA)
        self.cache: dict[int, tuple[bytes, int]] = {}
        self.failed: dict[int, tuple[type[UnpackError], str]] = {}
        self.extents: dict[int, int] = {}
        """Stored length of each block that decoded, by absolute offset."""
        self.first = b""
        """First byte of the first compressed block that decoded."""

    def block(self, start: int) -> tuple[bytes, int]:
        """Return the decoded block at a position and the position of the next one.

        Raises:
            Malformed: it does not decode, or is empty.
            Truncated: it lies beyond the source.
        """
        found = self.cache.get(start)
        if found is not None:
            return found
        if start in self.failed:
            kind, text = self.failed[start]
            raise kind(text)
        try:
            found = self._read(start)
        except UnpackError as error:
            if len(self.failed) < self.room:
                self.failed[start] = type(error), str(error)
            raise
        if len(self.cache) >= self.room:
            del self.cache[next(iter(self.cache))]
        self.cache[start] = found
        return found

    def stored(self, start: int) -> tuple[memoryview, bool]:
        """Return the stored bytes of the block at a position, and whether they are compressed.

        Raises:
            Malformed: its length is none that a block has.
            Truncated: it lies beyond the source.
        """
        offset = self.base + start
        header = self.header
        stored = self.source.pread(offset, METADATA + header)
        if len(stored) < header:
            raise Truncated(f"metadata block at offset {offset}, the source has {self.source.size}")
        (word,) = self.length.unpack_from(stored)
        length = word & 0x7FFF
        if not 0 < length <= METADATA:
            raise Malformed(f"metadata block at offset {offset} of {length} bytes")
        if header > 2 and stored[2] != 0xFF:
            raise Malformed(f"metadata block at offset {offset}: check byte {stored[2]:#x}")
        if len(stored) < header + length:
            raise Truncated(f"metadata block at offset {offset} of {length} bytes, the source has {self.source.size}")
        return memoryview(stored)[header : header + length], not word & 0x8000

    def _read(self, start: int) -> tuple[bytes, int]:
        offset = self.base + start
        stored, compressed = self.stored(start)
        length = self.header + len(stored)
        try:
            data = decode(self.compressor, stored, METADATA) if compressed else bytes(stored)
        except Malformed as error:
            raise Malformed(f"metadata block at offset {offset}: {error}") from None
        if compressed and not self.first:
            self.first = bytes(stored[:1])
        if not data:
            raise Malformed(f"metadata block at offset {offset} is empty")
        self.extents[offset] = length
        return data, start + length

    def pieces(self, start: int, offset: int, length: int) -> Iterator[bytes]:
        """Yield `length` bytes from an offset counted from the block at `start`, block by block.

        Raises:
            UnpackError: a block on the way cannot be read.
        """
        while length > 0:
            data, start = self.block(start)
            if offset >= len(data):
                offset -= len(data)
                continue
            piece = data[offset : offset + length]
            offset = 0
            length -= len(piece)
            yield piece

    def seek(self, start: int, offset: int) -> tuple[int, int]:
        """Return the same place counted from the block that it lies in."""
        while True:
            data, following = self.block(start)
            if offset < len(data):
                return start, offset
            start, offset = following, offset - len(data)

    def spans(self) -> list[tuple[int, int]]:
        """Return (begin, end) of every block that decoded, as stored."""
        return [(offset, offset + length) for offset, length in self.extents.items()]

    def read(self, start: int, offset: int, length: int) -> bytes:
        """Return `length` bytes, as `pieces`; the caller bounds `length`."""
        found = self.cache.get(start)
        if found is not None:
            piece = found[0][offset : offset + length]
            if len(piece) == length:
                return piece
        return b"".join(self.pieces(start, offset, length))
