"""gzip: DEFLATE data with the name and time of the file that was compressed.

A member is a header, raw DEFLATE data, then CRC-32 and length (mod 2^32) of what was compressed, little-endian:

    u8 id[2] = 1f 8b; u8 method = 8; u8 flags; u32 mtime; u8 extra_flags; u8 os;
    [u16 length; extra]  flags & 4;  [name, NUL]  flags & 8;  [comment, NUL]  flags & 16;  [u16 header crc]  flags & 2

Members that follow one another without a gap are one stream (RFC 1952, section 2.2).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator
from typing import NamedTuple

from isal import igzip_lib

from .base import Format, Limits, Malformed, NotThisFormat, Reader, Reference, Source, Truncated, ns
from .stream import Codec, StreamReader, decode

_TEXT = 64 << 10
"""Bytes that a name or comment may have."""

_CODEC = Codec(
    # The decoder computes the CRC while it decodes; header and trailer are read here, so that a wrong trailer is told
    # from wrong data and costs no byte that was decoded.
    new=lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP_NO_HDR),
    errors=(igzip_lib.error,),  # type: ignore[arg-type]  # its stubs call the class an instance
)


class _Header(NamedTuple):
    length: int
    mtime: int | None
    level: int
    system: int
    name: bytes
    comment: bytes


def _text(source: Source, offset: int) -> bytes:
    for most in (256, _TEXT):
        text, end, _ = source.pread(offset, most).partition(b"\0")
        if end:
            return text
    raise Malformed(f"the name or comment at offset {offset} has no end")


def _header(source: Source, offset: int) -> _Header:
    fixed = source.exactly(offset, 10)
    if fixed[:3] != b"\x1f\x8b\x08" or fixed[3] & 0xE0:
        raise NotThisFormat
    flags = fixed[3]
    at = offset + 10
    if flags & 4:
        at += 2 + int.from_bytes(source.exactly(at, 2), "little")
    texts = [b"", b""]
    for i, flag in enumerate((8, 16)):
        if flags & flag:
            texts[i] = _text(source, at)
            at += len(texts[i]) + 1
    if flags & 2:
        stated = int.from_bytes(source.exactly(at, 2), "little")
        if zlib.crc32(source.exactly(offset, at - offset)) & 0xFFFF != stated:
            raise Malformed(f"the header at offset {offset} has a wrong CRC")
        at += 2
    if (source.exactly(at, 1)[0] >> 1) & 3 == 3:
        raise NotThisFormat  # DEFLATE block type 3 does not exist
    mtime = int.from_bytes(fixed[4:8], "little")
    return _Header(at - offset, ns(mtime) if mtime else None, fixed[8], fixed[9], texts[0], texts[1])


def _decoded(source: Source, limits: Limits) -> Generator[bytes, None, int]:  # noqa: ARG001 - needs no memory to speak of
    offset = 0
    while True:
        try:
            header = _header(source, offset)
        except (NotThisFormat, Malformed, Truncated):
            if offset == 0:
                raise
            return offset  # what follows the last member is not part of the stream
        member = yield from decode(source, offset + header.length, _CODEC)
        crc, size = struct.unpack("<II", source.exactly(member.end, 8))
        if crc != member.decoder.crc:  # type: ignore[attr-defined]  # this decoder has it, others do not
            raise Malformed(f"the data of the member at offset {offset} have another CRC-32 than it states")
        if size != member.size & 0xFFFFFFFF:
            raise Malformed(f"the data of the member at offset {offset} have another length than it states")
        offset = member.end + 8


def _open(source: Source, limits: Limits) -> Reader:
    header = _header(source, 0)
    detail: dict[str, str | int | bool | None] = {"system": header.system, "extra_flags": header.level}
    if header.comment:
        detail["comment"] = header.comment.decode("latin-1")
    return StreamReader(
        FORMAT, source, limits, header.length, _decoded, detail=detail, name=header.name or b"data", mtime=header.mtime
    )


FORMAT = Format(
    name="gzip",
    title="gzip compressed stream, one or more members",
    open=_open,
    magics=[(0, b"\x1f\x8b\x08")],
    references=[
        Reference("RFC 1952: GZIP file format specification", "https://www.rfc-editor.org/rfc/rfc1952"),
        Reference("RFC 1951: DEFLATE compressed data format", "https://www.rfc-editor.org/rfc/rfc1951"),
    ],
    stream=True,
)
