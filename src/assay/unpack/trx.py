"""TRX: the firmware header of Broadcom's routers (Linksys, Netgear, Asus, Buffalo and others), little endian.

char magic[4] = "HDR0"; u32 length (with the header); u32 crc (of all that follows it); u16 flags; u16 version;
u32 offsets[3] (version 1) or [4] (version 2)
"""

from __future__ import annotations

import struct
from itertools import pairwise

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import Detail, PartsReader, crc32

MAGIC = b"HDR0"
FIXED = struct.Struct("<4sLLHH")
OFFSETS = {1: 3, 2: 4}


def _sum(source: Source, length: int) -> str:
    return f"{crc32(source, 12, length - 12) ^ 0xFFFFFFFF:08x}"


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, 32)
    if len(head) < 32 or head[:4] != MAGIC:
        raise NotThisFormat
    _, length, stated, flags, version = FIXED.unpack_from(head)
    if version not in OFFSETS:
        raise NotThisFormat
    size = FIXED.size + 4 * OFFSETS[version]
    offsets = struct.unpack_from(f"<{OFFSETS[version]}L", head, FIXED.size)
    starts = [offset for offset in offsets if offset]
    if length <= size:
        raise NotThisFormat
    detail: Detail = {"version": version, "flags": flags, "length": length}
    reader = PartsReader(FORMAT, source, limits, length, detail)
    reader.header(0, size)
    if starts and starts[0] >= size and starts[-1] < length and all(a < b for a, b in pairwise(starts)):
        for number, (start, end) in enumerate(pairwise([*starts, length])):
            reader.part(b"part%d" % number, start, end - start)
    elif length == source.size and _sum(source, length) == f"{stated:08x}":
        # Some vendors keep versions and names where the offsets should be: only the sum tells that it is an image. It
        # is made for a whole file only, not for each place in a bigger one that looks like a header.
        reader.part(b"image", size, length - size)
        reader.problem(f"the header's offsets are no offsets: {', '.join(f'{offset:#x}' for offset in offsets)}")
    else:
        raise NotThisFormat
    reader.check("crc32", f"{stated:08x}", lambda: _sum(source, length))
    return reader


FORMAT = Format(
    name="trx",
    title="TRX firmware image (Broadcom)",
    open=_open,
    magics=[(0, MAGIC)],
    references=[
        Reference("OpenWrt wiki, TRX firmware format", "https://openwrt.org/docs/techref/header"),
        Reference("Linux, drivers/mtd/parsers/parser_trx.c", "https://github.com/torvalds/linux"),
    ],
    limitations=[
        "fields that vendors keep in place of the offsets (product names, versions) are told as they are, and such an "
        "image is recognised only as a whole file",
        "a trailer that a vendor adds after the image",
    ],
)
