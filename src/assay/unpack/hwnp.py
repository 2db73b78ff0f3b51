"""HWNP: upgrade packages of Huawei's optical terminals and gateways, little endian (but for the first length).

char magic[4] = "HWNP"; u32 bytes of the package less 76 (big endian); u32 crc of all from offset 12; u32 bytes of
the header; u32 crc of the header from offset 20; u32 items; u8 unknown[2]; u16 bytes of the product list;
u32 bytes of an item; u32 reserved; product list; items

item: u32 number, crc, offset, bytes; char path[256], section[16], version[64]; u32 policy, reserved
"""

from __future__ import annotations

import struct
import zlib

from .base import Format, LimitReached, Limits, NotThisFormat, Reader, Reference, Source
from .parts import Detail, PartsReader, crc32, text

MAGIC = b"HWNP"
FIXED = struct.Struct("<4s5L2xH2L")
ITEM = struct.Struct("<4L256s16s64sL4x")
ITEMS = 1024


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, FIXED.size)
    if len(head) < FIXED.size or head[:4] != MAGIC:
        raise NotThisFormat
    _, swapped, whole_crc, header_bytes, header_crc, count, listed, item_bytes, _ = FIXED.unpack(head)
    table = FIXED.size + listed
    if item_bytes != ITEM.size or not 0 < count <= ITEMS:
        raise NotThisFormat
    if count > limits.entries:
        raise LimitReached("entries", limits.entries)
    products = source.exactly(FIXED.size, listed)
    items = source.pread(table, count * ITEM.size)
    start = table + count * ITEM.size
    length = int.from_bytes(swapped.to_bytes(4, "little"), "big") + 76
    detail: Detail = {"products": text(products), "items": count, "header_bytes": header_bytes}
    reader = PartsReader(FORMAT, source, limits, start, detail)
    reader.declared = count
    reader.header(0, table)
    reader.header(table, len(items), "items")
    for number, crc, offset, size, path, section, version, policy in ITEM.iter_unpack(
        items[: len(items) // ITEM.size * ITEM.size]
    ):
        name = path.split(b"\0", 1)[0]
        if offset < start:
            reader.problem(f"item {number} begins at {offset}, inside the header", name, entries=1)
            continue
        reader.part(name, offset, size)
        reader.end = max(reader.end, offset + size)
        shown = f"{text(section)} {text(version)} policy={policy}"
        reader.detail[f"item {number}"] = " ".join(shown.split())
        reader.check(
            f"crc32 of item {number}",
            f"{crc:08x}",
            lambda offset=offset, size=size: f"{crc32(source, offset, size):08x}",  # type: ignore[misc]
        )
    header = zlib.crc32(items, zlib.crc32(products, zlib.crc32(head[20:])))
    if header != header_crc and not reader.parts:
        raise NotThisFormat
    reader.check("crc32 of header", f"{header_crc:08x}", lambda: f"{header:08x}")
    reader.check("crc32", f"{whole_crc:08x}", lambda: f"{crc32(source, 12, reader.end - 12):08x}")
    if length != reader.end:
        reader.problem(f"the header declares {length} bytes, its items end at {reader.end}")
    return reader


FORMAT = Format(
    name="hwnp",
    title="HWNP upgrade package (Huawei)",
    open=_open,
    magics=[(0, MAGIC)],
    references=[Reference("HuaweiFirmwareTool, huawei_header.h", "https://github.com/0xuserpag3/HuaweiFirmwareTool")],
    limitations=["a signature item is listed like any other, and not verified"],
)
