"""LZMA in squashfs: a dozen vendors put it there before the format had it, each in another frame.

The stream is always the same: range coder data that begin with a zero byte, as a rule without an end mark. What
precedes them differs: the header of an .lzma file, a part of it, the three properties as bytes, or nothing, so that
only the vendor's kernel knows the properties. Frames are tried in the order of `frames` until one gives a tree.
"""

from __future__ import annotations

import lzma
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .base import Malformed

MEMORY = 16 << 20
"""Most memory for one decoder, in bytes: the dictionary is never larger than a block."""


@dataclass(frozen=True)
class Frame:
    """How a block begins, before its range coder data.

    Args:
        name: as it is kept in the record.
        data: offset of the range coder data.
        properties: offset of the properties (one byte: (pb * 5 + lp) * 9 + lc), or their value if it is not stored.
        stored: they are stored.
        size: offset of the decoded length (u32), None if it is not stored.
        apart: three bytes at `properties` hold lc, lp and pb, instead of one.
    """

    name: str
    data: int
    properties: int
    stored: bool = True
    size: int | None = None
    apart: bool = False

    def decode(self, block: bytes | memoryview, limit: int) -> bytes:
        """Return the bytes of a block, at most one more than `limit`.

        Without a stored length the block is taken to have `limit` bytes; if it has fewer and no end mark, some zeros
        may follow them, for nothing in it tells where it ends.

        Raises:
            Malformed: this is not its frame.
            lzma.LZMAError: its data do not decode.
        """
        if len(block) < self.data + 5 or block[self.data]:
            raise Malformed("no LZMA data in this frame")
        properties = block[self.properties] if self.stored else self.properties
        if self.apart:
            lc, lp, pb = block[self.properties : self.properties + 3]
            properties = _byte(lc, lp, pb) if lc < 9 and lp < 5 and pb < 5 else 255
        if properties >= 225:
            raise Malformed(f"LZMA properties {properties}")
        size = limit if self.size is None else int.from_bytes(block[self.size : self.size + 4], "little")
        if size > limit:
            raise Malformed(f"LZMA data of {size} bytes, at most {limit} are allowed")
        dictionary = max(4096, 1 << (limit - 1).bit_length())
        body = bytes(block[self.data :])
        try:
            out, _ = _alone(properties, dictionary, size, body, limit)
        except lzma.LZMAError:
            # An end mark before `limit` bytes, or one that the library refuses where the length is known.
            out, ended = _alone(properties, dictionary, (1 << 64) - 1, body, limit)
            if not ended:
                raise
        if self.size is not None and len(out) < size:
            raise Malformed(f"LZMA data end after {len(out)} of {size} bytes")
        return out


def _alone(properties: int, dictionary: int, size: int, body: bytes, limit: int) -> tuple[bytes, bool]:
    """Return what comes out, at most one byte more than `limit`, and whether the data have come to their end."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, MEMORY)
    return decoder.decompress(struct.pack("<BIQ", properties, dictionary, size) + body, limit + 1), decoder.eof


def _byte(lc: int, lp: int, pb: int) -> int:
    return (pb * 5 + lp) * 9 + lc


STANDARD = Frame("lzma", data=13, properties=0, size=5)
"""The header of an .lzma file, as mksquashfs 4 writes it."""


def frames() -> Iterator[Frame]:
    """Yield the frames to try: those in use first, then every combination of properties at every small offset.

    Properties with lc + lp above 4 are left out, for liblzma does not decode them.
    """
    yield STANDARD
    yield Frame("lzma, header without length", data=5, properties=0)
    yield Frame("lzma, header with a length of 32 bits", data=9, properties=0, size=5)
    yield Frame("lzma, length before properties", data=9, properties=4, size=0)
    yield Frame("lzma, properties in three bytes of four", data=4, properties=0, apart=True)
    yield Frame("lzma, properties in the first byte", data=1, properties=0)
    yield Frame("lzma, properties in the first byte of four", data=4, properties=0)
    yield _bare(0, 3, 0, 2)
    for offset in range(11):
        for lc in range(5):
            for lp in range(5 - lc):
                for pb in range(5):
                    if (offset, lc, lp, pb) != (0, 3, 0, 2):
                        yield _bare(offset, lc, lp, pb)


def _bare(offset: int, lc: int, lp: int, pb: int) -> Frame:
    skipped = f" at offset {offset}" if offset else ""
    return Frame(f"lzma, no header{skipped}, lc {lc} lp {lp} pb {pb}", offset, _byte(lc, lp, pb), stored=False)
