"""lzip: LZMA data in members, each with a CRC and both lengths; members that follow one another are one stream.

    u8 magic[4] = "LZIP"; u8 version = 1; u8 dictionary; LZMA data (lc 3, lp 0, pb 2) with an end mark;
    u32 CRC-32 of what was compressed; u64 its length; u64 length of the member

The dictionary has 2^n bytes, n in the lower 5 bits, less as many sixteenths of them as the upper 3 bits say.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Generator

from .base import (
    Format,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Reader,
    Reference,
    Source,
    Truncated,
    Unsupported,
)
from .stream import Codec, Member, StreamReader, decode

_MAGIC = b"LZIP"
_HEADER, _TRAILER = 6, 20


def _dictionary(source: Source, offset: int) -> int:
    """Return the bytes of the dictionary that the member at `offset` needs.

    Raises:
        NotThisFormat: there is no member.
        Unsupported: its version is not known.
    """
    header = source.pread(offset, _HEADER + 1)
    if header[:4] != _MAGIC or len(header) < _HEADER or header[4] > 1:
        raise NotThisFormat
    power, parts = header[5] & 31, header[5] >> 5
    # The range coder's first byte is always zero.
    if not 12 <= power <= 29 or header[6:] not in (b"\0", b""):
        raise NotThisFormat
    if header[4] == 0:
        raise Unsupported("version 0, of before 2009")
    return (1 << power) - parts * (1 << power - 4)


def _member(source: Source, offset: int, limits: Limits) -> Generator[bytes, None, int]:
    """Yield the bytes of a member, check them and return where it ends."""
    dictionary = _dictionary(source, offset)
    if dictionary > limits.memory // 4:
        raise LimitReached("memory", limits.memory)
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": 3, "lp": 0, "pb": 2}]
    codec = Codec(
        new=lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters),
        errors=(lzma.LZMAError, MemoryError),
        explain=lambda error: Malformed(f"liblzma: {error}"),
    )
    crc = 0
    chunks = decode(source, offset + _HEADER, codec)
    while True:
        try:
            chunk = next(chunks)
        except StopIteration as stop:
            member: Member = stop.value
            break
        crc = zlib.crc32(chunk, crc)
        yield chunk
    stated, size, length = struct.unpack("<IQQ", source.exactly(member.end, _TRAILER))
    if stated != crc:
        raise Malformed(f"the data of the member at offset {offset} have another CRC-32 than it states")
    if size != member.size or length != member.end + _TRAILER - offset:
        raise Malformed(f"the member at offset {offset} has other lengths than it states")
    return member.end + _TRAILER


def _decoded(source: Source, limits: Limits) -> Generator[bytes, None, int]:
    offset = yield from _member(source, 0, limits)
    while True:
        try:
            _dictionary(source, offset)
        except (NotThisFormat, Unsupported):
            return offset
        offset = yield from _member(source, offset, limits)


def _open(source: Source, limits: Limits) -> Reader:
    dictionary = _dictionary(source, 0)
    if source.size < _HEADER + 1:
        raise Truncated("the source ends inside the first member's header")
    return StreamReader(FORMAT, source, limits, _HEADER, _decoded, detail={"version": 1, "dictionary": dictionary})


FORMAT = Format(
    name="lzip",
    title="lzip compressed stream, one or more members",
    open=_open,
    magics=[(0, _MAGIC)],
    references=[Reference("Lzip file format", "https://www.nongnu.org/lzip/manual/lzip_manual.html#File-format")],
    limitations=["version 0, which has not been written since 2009, is named, not read"],
    stream=True,
)
