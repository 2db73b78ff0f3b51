"""bzip2: blocks of up to 900 kB, each with a CRC, in one or more streams that follow one another without a gap."""

from __future__ import annotations

import bz2
from collections.abc import Generator

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .stream import Codec, StreamReader, decode

_BLOCK = bytes.fromhex("314159265359")
_END = bytes.fromhex("177245385090")
_CODEC = Codec(new=bz2.BZ2Decompressor, errors=(OSError, ValueError))


def _starts(source: Source, offset: int) -> bool:
    head = source.pread(offset, 10)
    return head[:3] == b"BZh" and b"1" <= head[3:4] <= b"9" and head[4:] in (_BLOCK, _END)


def _decoded(source: Source, limits: Limits) -> Generator[bytes, None, int]:  # noqa: ARG001 - a decoder needs 4 MB at most
    offset = 0
    while offset == 0 or _starts(source, offset):
        offset = (yield from decode(source, offset, _CODEC)).end
    return offset


def _open(source: Source, limits: Limits) -> Reader:
    if not _starts(source, 0):
        raise NotThisFormat
    return StreamReader(FORMAT, source, limits, 4, _decoded, detail={"block_size": int(source.pread(3, 1)) * 100_000})


FORMAT = Format(
    name="bzip2",
    title="bzip2 compressed stream",
    open=_open,
    magics=[(0, b"BZh")],
    references=[Reference("bzip2 and libbzip2 manual", "https://sourceware.org/bzip2/manual/manual.html")],
    stream=True,
)
