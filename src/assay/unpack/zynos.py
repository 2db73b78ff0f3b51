"""ZyNOS: objects of ZyXEL's firmware ("ROMBIN"), big endian.

    u32 load address; u16 unknown; char magic[3] = "SIG"; u8 type; u32 bytes, bytes compressed; u8 flags; u8 unknown;
    u16 sum, sum of the compressed bytes; char version[15]; u32 address of the memory map; u8 unknown[5]

Sums are those of the Internet (ones' complement of 16-bit words, not inverted).
"""

from __future__ import annotations

import struct

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import Detail, PartsReader, is_text, text

FIXED = struct.Struct(">L2x3sBLLBxHH15sL5x")
TYPES = {
    1: "ROMIMG",
    2: "ROMBOOT",
    3: "BOOTEXT",
    4: "ROMBIN",
    5: "ROMDIR",
    7: "ROMMAP",
    0x80: "RAM",
    0x81: "RAMCODE",
    0x82: "RAMBOOT",
}
COMPRESSED, ORIGINAL_SUM, COMPRESSED_SUM = 0x80, 0x40, 0x20


def _sum(source: Source, offset: int, length: int) -> str:
    # Ones' complement addition of words is addition modulo 65535, which big numbers do natively.
    total = 0
    for chunk in source.chunks(offset, length, 1 << 16):
        total += int.from_bytes(chunk + bytes(len(chunk) % 2), "big") % 0xFFFF
    return f"{(total - 1) % 0xFFFF + 1 if total else 0:04x}"


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, FIXED.size)
    if len(head) < FIXED.size or head[6:9] != b"SIG":
        raise NotThisFormat
    address, _, kind, size, packed, flags, plain_sum, packed_sum, version, map_address = FIXED.unpack(head)
    stored = packed if flags & COMPRESSED else size
    if kind not in TYPES or not is_text(version) or not 0 < stored <= source.size - FIXED.size:
        raise NotThisFormat
    detail: Detail = {
        "type": TYPES[kind],
        "version": text(version),
        "load_address": f"{address:#010x}",
        "map_address": f"{map_address:#010x}",
        "compressed": bool(flags & COMPRESSED),
        "bytes": size,
    }
    reader = PartsReader(FORMAT, source, limits, FIXED.size + stored, detail)
    reader.header(0, FIXED.size)
    reader.part(TYPES[kind].lower().encode(), FIXED.size, stored)
    if flags & COMPRESSED and flags & COMPRESSED_SUM:
        reader.check("sum", f"{packed_sum:04x}", lambda: _sum(source, FIXED.size, stored))
    elif not flags & COMPRESSED and flags & ORIGINAL_SUM:
        reader.check("sum", f"{plain_sum:04x}", lambda: _sum(source, FIXED.size, stored))
    return reader


FORMAT = Format(
    name="zynos",
    title="ZyNOS object (ZyXEL)",
    open=_open,
    magics=[(6, b"SIG")],
    references=[
        Reference("OpenWrt firmware-utils, zynos.h", "https://git.openwrt.org/project/firmware-utils.git"),
        Reference("ZyXEL firmware image format, K. Waschk", "http://www.ixo.de/info/zyxel_uclinux"),
    ],
    limitations=["the memory map table is not read", "the sum of uncompressed bytes of a compressed object"],
    smallest=FIXED.size,
    anywhere=False,
)
