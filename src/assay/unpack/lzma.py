"""LZMA alone (.lzma): the older container, without a magic and without a check.

    u8 properties = (pb * 5 + lp) * 9 + lc; u32 dictionary; u64 size (all ones: until the end mark); range coder data

A header is believed if every field is one that encoders write, and the first bytes after it decode.
"""

from __future__ import annotations

import lzma
import struct
from collections.abc import Generator

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source, Truncated
from .stream import StreamReader, decode
from .xz import codec

_TRIAL = 64 << 10
_UNKNOWN = (1 << 64) - 1
_HEADS = [bytes((properties, 0, 0)) for properties in (0x5D, 0x5A, 0x5E, 0x66, 0x6C, 0x6D, 0xB4)]
"""First bytes in use: properties (lc 3, lp 0, pb 2 almost always) and a dictionary of a multiple of 64 KiB."""


def _decoded(source: Source, limits: Limits) -> Generator[bytes, None, int]:
    return (yield from decode(source, 0, codec(lzma.FORMAT_ALONE, limits))).end


def _open(source: Source, limits: Limits) -> Reader:
    try:
        properties, dictionary, size, first = struct.unpack("<BIQB", source.exactly(0, 14))
    except Truncated:
        raise NotThisFormat from None
    lc, lp, pb = properties % 9, properties // 9 % 5, properties // 45
    # Encoders write dictionaries of 2^n or 2^n + 2^(n-1) bytes; the range coder's first byte is always zero.
    power = dictionary & (dictionary - 1) == 0 or (dictionary // 3) & (dictionary // 3 - 1) == 0 == dictionary % 3
    if lc + lp > 4 or pb > 4 or first or not power or dictionary < 1 << 16 or (size >= 1 << 38 and size != _UNKNOWN):
        raise NotThisFormat
    how = codec(lzma.FORMAT_ALONE, limits)
    try:
        decoder = how.new()
        trial = decoder.decompress(source.pread(0, _TRIAL), _TRIAL)
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
        13,
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
    magics=[(0, head) for head in _HEADS],
    references=[
        Reference("The .lzma file format", "https://git.tukaani.org/?p=xz.git;a=blob;f=doc/lzma-file-format.txt"),
    ],
    limitations=[
        "only with properties that encoders use, and dictionaries of 2^n or 2^n + 2^(n-1) bytes from 64 KiB",
        "the format has no check: damage that still decodes is not noticed",
    ],
    priority=-10,
    stream=True,
)
