"""LZMA alone (.lzma): the older container, without a magic and without a check.

    u8 properties = (pb * 5 + lp) * 9 + lc; u32 dictionary; u64 size (all ones: until the end mark); range coder data

A header is believed if every field is one that encoders write, and the first bytes after it decode.
"""

from __future__ import annotations

import lzma
import struct
from collections.abc import Generator

from .base import Format, LimitReached, Limits, Malformed, NotThisFormat, Reader, Reference, Source, Truncated
from .stream import StreamReader, decode
from .xz import codec

_TRIAL = 64 << 10
_OVERHEAD = 4 << 20
"""Bytes that a decoder needs besides its dictionary, at most."""
_UNKNOWN = (1 << 64) - 1
_HEADER = struct.Struct("<BIQ")
_PROPERTIES = (0x5D, 0x5A, 0x5E, 0x66, 0x6C, 0x6D, 0xB4)
"""Properties in use: lc 3, lp 0, pb 2 almost always."""
_DICTIONARIES = frozenset(size for power in range(12, 31) for size in (1 << power, 3 << power - 1))
"""Dictionaries that encoders write, in bytes: 2^n and 2^n + 2^(n-1)."""


class _Headed(Source):
    """A stream under another header."""

    def __init__(self, base: Source, header: bytes) -> None:
        self.base = base
        self.size = base.size
        self.header = header

    def pread(self, offset: int, length: int) -> bytes:
        data = self.base.pread(offset, length)
        return self.header[offset : offset + len(data)] + data[max(0, len(self.header) - offset) :]


def _headed(source: Source, limits: Limits) -> tuple[Source, int]:
    """Return the stream with a dictionary that fits into a quarter of the memory, and its size if that cuts it.

    A header may ask for more memory than its data ever need: they refer to no more than what has come out.
    """
    properties, dictionary, size = _HEADER.unpack(source.exactly(0, _HEADER.size))
    room = max(4096, limits.memory // 4 - _OVERHEAD)
    room = 1 << room.bit_length() - 1
    needed = 1 << (min(dictionary, max(4096, size)) - 1).bit_length()
    cut = room if needed > room else 0
    return _Headed(source, _HEADER.pack(properties, cut or min(dictionary, needed), size)), cut


def _decoded(source: Source, limits: Limits) -> Generator[bytes, None, int]:
    headed, cut = _headed(source, limits)
    chunks = decode(headed, 0, codec(lzma.FORMAT_ALONE, limits))
    out = 0
    try:
        while True:
            chunk = next(chunks)
            out += len(chunk)
            yield chunk
    except StopIteration as ended:
        end: int = ended.value.end
        return end
    except Malformed:
        if cut and out >= cut:  # they refer to what the cut dictionary does not hold any more
            raise LimitReached("memory", limits.memory) from None
        raise


def _open(source: Source, limits: Limits) -> Reader:
    try:
        head = source.exactly(0, _HEADER.size + 5)
    except Truncated:
        raise NotThisFormat from None
    properties, dictionary, size = _HEADER.unpack_from(head)
    lc, lp, pb = properties % 9, properties // 9 % 5, properties // 45
    # The range coder's first byte is always zero. All five are only if nothing but zero bytes follow, each coded by
    # itself; no encoder does that, and regions of zeros would decode for ever.
    code = head[_HEADER.size :]
    if lc + lp > 4 or pb > 4 or dictionary not in _DICTIONARIES or code[0] or not any(code):
        raise NotThisFormat
    if not size or (size >= 1 << 38 and size != _UNKNOWN):
        raise NotThisFormat
    how = codec(lzma.FORMAT_ALONE, limits)
    headed, _ = _headed(source, limits)
    try:
        decoder = how.new()
        trial = decoder.decompress(headed.pread(0, _TRIAL), _TRIAL)
    except how.errors as error:
        if (told := how.explain(error)).reason == "limit":
            raise told from error
        raise NotThisFormat from error
    if not trial and not decoder.eof:
        raise NotThisFormat
    return StreamReader(
        FORMAT,
        source,
        limits,
        _HEADER.size,
        _decoded,
        detail={
            "lc": lc,
            "lp": lp,
            "pb": pb,
            "dictionary": dictionary,
            "size": None if size == _UNKNOWN else size,
        },
    )


FORMAT = Format(
    name="lzma",
    title="LZMA alone, the container before xz",
    open=_open,
    magics=[(0, struct.pack("<BI", first, size)) for first in _PROPERTIES for size in sorted(_DICTIONARIES)],
    references=[
        Reference("The .lzma file format", "https://git.tukaani.org/?p=xz.git;a=blob;f=doc/lzma-file-format.txt"),
    ],
    limitations=[
        "only with properties that encoders use, and dictionaries of 2^n or 2^n + 2^(n-1) bytes from 4 KiB to 1.5 GiB",
        "a stream whose header gives a length of zero is not taken for one",
        "the format has no check: damage that still decodes is not noticed",
    ],
    version=2,
    priority=-10,
    stream=True,
)
