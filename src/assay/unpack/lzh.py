"""Data compressed by LHA's methods, which ARJ uses too; libarchive decodes them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .base import Limits, Malformed, Source, Unsupported
from .libarchive import Joined, first

METHODS = (b"-lh0-", b"-lz4-", b"-lh5-", b"-lh6-", b"-lh7-")
"""Methods that libarchive decodes; the first two are not compressed."""


def decoded(packed: Source, method: bytes, size: int, crc: int | None, limits: Limits) -> Iterator[bytes]:
    """Yield what data decode to.

    Args:
        packed: the data, no more.
        method: one of `METHODS`.
        size: bytes that come out.
        crc: CRC-16 of these; None if it is not known.
        limits: limits in force.

    Raises:
        Malformed: length or CRC-16 are not as stated.
        UnpackError: libarchive cannot decode the data.
    """
    if method not in METHODS:
        raise Unsupported(f"method {method.decode('ascii', 'backslashreplace')}")
    if max(size, packed.size) > 0xFFFFFFFF:
        raise Unsupported("a file of more than 4 GiB")
    if not size:
        return
    # A header of level 0 with a name of one byte; without a CRC-16, libarchive checks none.
    head = method + struct.pack("<IIIBBB", packed.size, size, 0x21 << 16, 0x20, 0, 1) + b"x"
    if crc is not None:
        head += struct.pack("<H", crc)
    alone = Joined([bytes((len(head), sum(head) & 0xFF)) + head, packed, b"\0"])
    out = 0
    for chunk in first(alone, "lha", limits, packed.size):
        out += len(chunk)
        yield chunk
    if out != size:
        raise Malformed(f"gives {out} bytes instead of {size}")
