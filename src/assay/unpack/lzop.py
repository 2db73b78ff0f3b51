"""lzop: LZO data in blocks, with the name, mode and time of the file that was compressed; all numbers big endian.

    u8 magic[9]; u16 version; u16 library; [u16 version needed]; u8 method; [u8 level]; u32 flags; [u32 filter];
    u32 mode; u32 mtime; [u32 mtime, high part]; u8 length; name; u32 checksum of the header;
    [u32 length; extra field; u32 checksum]
    block: u32 length, 0 at the end; u32 stored length; checksums of the data; [checksums of the stored data]; data

What stands in brackets depends on version and flags. A block that LZO does not make shorter is stored as it is.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator
from typing import NamedTuple

from lzallright import InputNotConsumed, LZOCompressor, LZOError

from .base import (
    CHUNK,
    Format,
    Limits,
    Malformed,
    NotThisFormat,
    Reader,
    Reference,
    Source,
    Truncated,
    Unsupported,
    ns,
)
from .stream import StreamReader

_MAGIC = b"\x89LZO\0\r\n\x1a\n"
_ADLER_DATA, _ADLER_STORED, _EXTRA, _CRC_DATA, _CRC_STORED = 0x1, 0x2, 0x40, 0x100, 0x200
_FILTER, _CRC_HEADER = 0x800, 0x1000
_METHODS = {1: "lzo1x_1", 2: "lzo1x_1_15", 3: "lzo1x_999"}
_BLOCK = 64 << 20
"""Most bytes of a block, by the format's own tool."""


class _Header(NamedTuple):
    end: int
    version: int
    method: int
    level: int
    flags: int
    filter: int
    mode: int
    mtime: int
    name: bytes


def _header(source: Source, offset: int) -> _Header:
    """Return the header at an offset.

    Raises:
        NotThisFormat: there is none.
        Malformed: its checksum is wrong.
        Truncated: the source ends inside it.
    """
    if source.pread(offset, 9) != _MAGIC:
        raise NotThisFormat
    raw = source.pread(offset + 9, 1024)
    try:
        version, _ = struct.unpack_from(">HH", raw)
        at = 4
        new = version >= 0x0940
        at += 2 if new else 0
        method = raw[at]
        level = raw[at + 1] if new else 0
        at += 2 if new else 1
        (flags,) = struct.unpack_from(">I", raw, at)
        at += 4
        filter = 0
        if flags & _FILTER:
            (filter,) = struct.unpack_from(">I", raw, at)
            at += 4
        mode, mtime = struct.unpack_from(">II", raw, at)
        at += 8
        if new:
            mtime |= struct.unpack_from(">I", raw, at)[0] << 32
            at += 4
        length = raw[at]
        name = raw[at + 1 : at + 1 + length]
        at += 1 + length
        (stated,) = struct.unpack_from(">I", raw, at)
    except (struct.error, IndexError):
        raise Truncated(f"the source ends inside the header at offset {offset}") from None
    check = zlib.crc32(raw[:at]) if flags & _CRC_HEADER else zlib.adler32(raw[:at])
    if check != stated:
        raise Malformed(f"the header at offset {offset} has a wrong checksum")
    end = offset + 9 + at + 4
    if flags & _EXTRA:
        extra = int.from_bytes(source.exactly(end, 4), "big")
        end += 8 + extra
    return _Header(end, version, method, level, flags, filter, mode, mtime, name)


def _blocks(source: Source, header: _Header) -> Generator[bytes, None, int]:
    """Yield the bytes of the blocks and return where they end."""
    if header.method not in _METHODS:
        raise Unsupported(f"method {header.method}")
    if header.filter:
        raise Unsupported(f"filter {header.filter}")
    flags = header.flags
    at = header.end
    while length := int.from_bytes(source.exactly(at, 4), "big"):
        begin = at
        stored = int.from_bytes(source.exactly(at + 4, 4), "big")
        if length > _BLOCK or not 0 < stored <= length:
            raise Malformed(f"the block at offset {begin} has {length} bytes, {stored} stored")
        at += 8
        sums = []
        for flag, function, packed in (
            (_ADLER_DATA, zlib.adler32, False),
            (_CRC_DATA, zlib.crc32, False),
            (_ADLER_STORED, zlib.adler32, True),
            (_CRC_STORED, zlib.crc32, True),
        ):
            if flags & flag and (not packed or stored < length):
                sums.append((function, packed, int.from_bytes(source.exactly(at, 4), "big")))
                at += 4
        raw = source.exactly(at, stored)
        data = raw
        for function, packed, stated in sums:
            if packed and function(raw) != stated:
                raise Malformed(f"the block at offset {begin} has a wrong checksum of its stored data")
        if stored < length:
            try:
                # LZO1X expands at most 255 times, so what comes out is bounded by what is stored.
                data = LZOCompressor.decompress(raw, length)
            except (LZOError, InputNotConsumed) as error:
                raise Malformed(f"the block at offset {begin}: LZO: {error}") from error
        if len(data) != length:
            raise Malformed(f"the block at offset {begin} gives {len(data)} bytes instead of {length}")
        for function, packed, stated in sums:
            if not packed and function(data) != stated:
                raise Malformed(f"the block at offset {begin} has a wrong checksum of its data")
        for piece in range(0, length, CHUNK):
            yield data[piece : piece + CHUNK]
        at += stored
    return at + 4


def _decoded(source: Source, limits: Limits) -> Generator[bytes, None, int]:  # noqa: ARG001 - needs a block's memory
    end = yield from _blocks(source, _header(source, 0))
    while True:
        try:
            header = _header(source, end)
        except (NotThisFormat, Malformed, Truncated):
            return end  # what follows the last member is not part of the stream
        end = yield from _blocks(source, header)


def _open(source: Source, limits: Limits) -> Reader:
    header = _header(source, 0)
    return StreamReader(
        FORMAT,
        source,
        limits,
        header.end,
        _decoded,
        detail={
            "version": f"{header.version:#06x}",
            "method": _METHODS.get(header.method, str(header.method)),
            "level": header.level,
            "flags": f"{header.flags:#x}",
            "mode": header.mode,
        },
        name=header.name or b"data",
        mtime=ns(header.mtime) if header.mtime else None,
    )


FORMAT = Format(
    name="lzop",
    title="lzop compressed stream, one or more members",
    open=_open,
    magics=[(0, _MAGIC)],
    references=[Reference("lzop", "https://www.lzop.org/")],
    limitations=[
        "only the methods of LZO1X, without filters",
        "the names of members after the first are not kept: their bytes follow those of the first",
    ],
    stream=True,
)
