"""The bytes of a ZIP archive's entries: decompression by method, checked against the directory."""

from __future__ import annotations

import bz2
import lzma
import struct
from collections.abc import Iterator
from typing import IO, Protocol, cast

import zstandard
from isal import igzip_lib, isal_zlib

from .base import CHUNK, LimitReached, Limits, Malformed, Source, Unsupported, guarded

STORED, DEFLATE, BZIP2, LZMA, ZSTD, XZ, AES = 0, 8, 12, 14, 93, 95, 99
METHODS = {
    1: "shrink",
    2: "reduce",
    3: "reduce",
    4: "reduce",
    5: "reduce",
    6: "implode",
    9: "deflate64",
    10: "PKWARE DCL implode",
    16: "IBM z/OS CMPSC",
    18: "IBM TERSE",
    19: "IBM LZ77 z",
    20: "zstd (withdrawn number)",
    94: "MP3",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
}
CORRUPT: tuple[type[Exception], ...] = (
    cast(type[Exception], igzip_lib.error),
    lzma.LZMAError,
    zstandard.ZstdError,
    OSError,  # what bz2 raises
    ValueError,
    EOFError,
)
INPUT = 1 << 16  # a smaller piece costs more calls, a larger one more copying of what is left over in it


class Decompressor(Protocol):
    """What the bz2, lzma and igzip decompressors have in common."""

    @property
    def eof(self) -> bool: ...  # noqa: D102
    @property
    def needs_input(self) -> bool: ...  # noqa: D102
    @property
    def unused_data(self) -> bytes: ...  # noqa: D102
    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...  # noqa: D102


def decode(source: Source, method: int, size: int, crc: int | None, limits: Limits) -> Iterator[bytes]:
    """Yield the bytes of an entry.

    Args:
        source: the compressed bytes, no more.
        method: compression method (section 4.4.5).
        size: length that the directory declares, in bytes.
        crc: CRC-32 that the directory declares; None if it declares none.
        limits: limits in force.

    Raises:
        Unsupported: the method is one that is not read.
        Malformed: the data is corrupt, or length or CRC-32 are not as declared.
        Truncated: the source ends before.
        LimitReached: `ratio`, `entry_bytes`, or `memory` for a dictionary.
    """
    if method == STORED:
        chunks = source.chunks()
    elif method == ZSTD:
        chunks = _zstd(source, limits)
    elif method in (DEFLATE, BZIP2, LZMA, XZ):
        chunks = _inflate(method, source.chunks(size=INPUT), size, limits)
    else:
        raise Unsupported(f"compression method {method} ({METHODS.get(method, 'unknown')})")
    yield from _checked(guarded(chunks, limits, source.size), size, crc, limits)


def _checked(chunks: Iterator[bytes], size: int, crc: int | None, limits: Limits) -> Iterator[bytes]:
    """Pass chunks on and check their length and CRC-32 against the central directory."""
    seen = check = 0
    try:
        for chunk in chunks:
            seen += len(chunk)
            if seen > size:
                raise Malformed(f"more bytes than the {size} that are declared")
            check = isal_zlib.crc32(chunk, check)
            yield chunk
    except CORRUPT as error:
        if "memory" in str(error).lower():  # the window or dictionary that the data asks for is larger than allowed
            raise LimitReached("memory", limits.memory) from error
        raise Malformed(f"compressed data is corrupt after {seen} bytes: {error}") from error
    if seen != size:
        raise Malformed(f"{seen} bytes instead of the {size} that are declared")
    if crc is not None and check != crc:
        raise Malformed(f"CRC-32 is {check:08x}, the directory says {crc:08x}")


def _inflate(method: int, raw: Iterator[bytes], size: int, limits: Limits) -> Iterator[bytes]:
    first = b""
    decoder: Decompressor
    if method == DEFLATE:
        decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
    elif method == BZIP2:
        decoder = bz2.BZ2Decompressor()
    elif method == XZ:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=limits.memory // 2)
    else:
        # Section 5.8.8: version, length of properties, then as in an LZMA file: lc/lp/pb and dictionary size.
        first = next(raw, b"")
        if first[2:4] != b"\5\0" or len(first) < 9:
            raise Malformed("LZMA properties are not 5 bytes long")
        packed, dictionary = struct.unpack_from("<BL", first, 4)
        if packed >= 225:
            raise Malformed("LZMA properties are out of range")
        # A distance cannot reach back further than the output does, so a larger dictionary is never used.
        dictionary = max(4096, min(dictionary, size))
        if dictionary > limits.memory // 2:
            raise LimitReached("memory", limits.memory)
        options = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary}
        options |= {"lc": packed % 9, "lp": packed // 9 % 5, "pb": packed // 45}
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[options])
        first = first[9:]
    while not decoder.eof:
        chunk = first
        if decoder.needs_input and not chunk:
            chunk = next(raw, b"")
            if not chunk:
                # A raw LZMA stream may end without a marker when its size is known.
                if method == LZMA:
                    return
                raise Malformed("compressed data ends too early")
        first = b""
        out = decoder.decompress(chunk, CHUNK)
        if out:
            yield out
        elif not (chunk or decoder.needs_input or decoder.eof):
            raise Malformed("the decoder makes no progress")
    if decoder.unused_data or next(raw, b""):
        raise Malformed("bytes follow the end of the compressed data")


class _Pipe:
    """A source as a file, for a decoder that reads for itself."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.at = 0

    def read(self, size: int) -> bytes:
        data = self.source.pread(self.at, size)
        self.at += len(data)
        return data


def _zstd(source: Source, limits: Limits) -> Iterator[bytes]:
    decoder = zstandard.ZstdDecompressor(max_window_size=limits.memory // 4)
    pipe = cast(IO[bytes], _Pipe(source))
    with decoder.stream_reader(pipe, read_size=INPUT, read_across_frames=True) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk
