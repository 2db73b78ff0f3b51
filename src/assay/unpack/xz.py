"""xz: LZMA2 data in blocks, with a check on each and an index; streams may follow one another, with zeros between.

u8 magic[6] = fd '7zXZ' 00; u8 flags[2] = 00, check; u32 crc32 of flags
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Generator

from .base import Format, LimitReached, Limits, Malformed, Reader, Reference, Source, UnpackError, Unsupported
from .stream import Codec, StreamReader, decode, zeros

_MAGIC = b"\xfd7zXZ\0"
_CHECKS = {0: "none", 1: "CRC-32", 4: "CRC-64", 10: "SHA-256"}


def codec(container: int, limits: Limits) -> Codec:
    """Return how liblzma decodes a container (`lzma.FORMAT_XZ` or `FORMAT_ALONE`) within a quarter of the memory.

    The dictionary's size comes from the header, so it is the input that asks for memory.
    """

    def explain(error: Exception) -> UnpackError:
        text = str(error)
        if isinstance(error, MemoryError) or "Memory usage" in text:
            return LimitReached("memory", limits.memory)
        if "nsupported" in text:
            return Unsupported(f"liblzma: {text}")
        return Malformed(f"liblzma: {text}")

    return Codec(
        new=lambda: lzma.LZMADecompressor(container, memlimit=limits.memory // 4),
        errors=(lzma.LZMAError, MemoryError),
        explain=explain,
    )


def _decoded(source: Source, limits: Limits) -> Generator[bytes, None, int]:
    end = offset = 0
    how = codec(lzma.FORMAT_XZ, limits)
    while end == 0 or source.pread(offset, 6) == _MAGIC:
        end = (yield from decode(source, offset, how)).end
        padding = zeros(source, end)
        if padding % 4:  # section 2.2: stream padding comes in fours, so what follows is something else
            break
        offset = end + padding
    return end


def _open(source: Source, limits: Limits) -> Reader:
    head = source.exactly(0, 12)
    if zlib.crc32(head[6:8]) != int.from_bytes(head[8:], "little"):
        raise Malformed("the stream header has a wrong CRC-32")
    if head[6] or head[7] & 0xF0:
        raise Unsupported(f"stream flags {head[6:8].hex()}")
    check = head[7]
    return StreamReader(FORMAT, source, limits, 12, _decoded, detail={"check": _CHECKS.get(check, str(check))})


FORMAT = Format(
    name="xz",
    title="xz compressed stream",
    open=_open,
    magics=[(0, _MAGIC)],
    references=[Reference("The .xz file format", "https://tukaani.org/xz/xz-file-format.txt")],
    stream=True,
)
