"""CHK: firmware of Netgear's routers, big endian.

u8 magic[4] = 2a 23 24 5e; u32 header bytes; u8 region, version[7]; u32 sums of kernel and root file system;
u32 bytes of kernel and root file system; u32 sum of both; u32 sum of the header (taken with this field zero);
char board[header bytes - 40]
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import accumulate
from zlib import adler32

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import Detail, PartsReader, is_text, text

MAGIC = b"*#$^"
FIXED = struct.Struct(">4sLB7s6L")
BOARD = 64
BLOCK = 22
"""Bytes whose Adler-32 holds both sums, as they are: they stay below its modulus, 65521."""


def netgear_sum(chunks: Iterable[bytes]) -> str:
    """Return the sum of bytes and the sum of its intermediate results (32 bits each, folded to 16), in hexadecimal."""
    low = high = 0
    for chunk in chunks:
        blocks = [adler32(chunk[at : at + BLOCK]) for at in range(0, len(chunk), BLOCK)]
        lows = [(block & 0xFFFF) - 1 for block in blocks]
        before = list(accumulate(lows, initial=low))
        low = before.pop()
        high += BLOCK * sum(before) - (-len(chunk) % BLOCK) * before[-1]  # the last block may be shorter
        high += sum(block >> 16 for block in blocks) - len(chunk)
    return f"{_fold(high):04x}{_fold(low):04x}"


def _fold(value: int) -> int:
    value &= 0xFFFFFFFF
    value = (value & 0xFFFF) + (value >> 16)
    return (value + (value >> 16)) & 0xFFFF


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, FIXED.size)
    if len(head) < FIXED.size:
        raise NotThisFormat
    magic, length, region, version, kernel_sum, root_sum, kernel, root, image_sum, head_sum = FIXED.unpack(head)
    board = source.pread(FIXED.size, length - FIXED.size) if FIXED.size < length <= FIXED.size + BOARD else b"\0"
    if magic != MAGIC or not board.strip(b"\0") or not is_text(board) or not kernel:
        raise NotThisFormat
    detail: Detail = {"board": text(board), "region": region, "version": ".".join(map(str, version))}
    reader = PartsReader(FORMAT, source, limits, length + kernel + root, detail)
    reader.header(0, length)
    blank = head[:36] + bytes(4) + board
    reader.check("sum of header", f"{head_sum:08x}", lambda: netgear_sum([blank]))
    reader.part(b"kernel", length, kernel)
    reader.check("sum of kernel", f"{kernel_sum:08x}", lambda: netgear_sum(source.chunks(length, kernel)))
    if root:
        reader.part(b"rootfs", length + kernel, root)
        reader.check("sum of rootfs", f"{root_sum:08x}", lambda: netgear_sum(source.chunks(length + kernel, root)))
        reader.check("sum of image", f"{image_sum:08x}", lambda: netgear_sum(source.chunks(length, kernel + root)))
    return reader


FORMAT = Format(
    name="chk",
    title="CHK firmware image (Netgear)",
    open=_open,
    magics=[(0, MAGIC)],
    references=[
        Reference("OpenWrt firmware-utils, mkchkimg", "https://git.openwrt.org/project/firmware-utils.git"),
        Reference("unblob, Netgear CHK", "https://unblob.org/handlers/"),
    ],
)
