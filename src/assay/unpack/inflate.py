"""Small deflated blocks, as flash file systems have them, decoded by the fastest library that takes them."""

from __future__ import annotations

import zlib
from typing import cast

from isal import igzip_lib

_ISAL_ERROR = cast("type[Exception]", igzip_lib.error)  # its stubs say it is an instance


def inflate(data: bytes, size: int, *, raw: bool) -> bytes:
    """Return at most `size` bytes of a deflated block; fewer if it has fewer.

    Args:
        data: the block.
        size: most bytes that may come out.
        raw: without the header and the sum of zlib (RFC 1950).

    Raises:
        zlib.error: it does not decode.
    """
    try:
        out: bytes = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_DEFLATE if raw else igzip_lib.DECOMP_ZLIB).decompress(
            data, size
        )
    except _ISAL_ERROR:
        # ISA-L is stricter than zlib about some headers; zlib has the last word.
        return zlib.decompressobj(-15 if raw else 15).decompress(data, size)
    return out
