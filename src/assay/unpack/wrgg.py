"""WRGG and WRG: firmware headers of routers by Alpha Networks and Cameo (D-Link and others).

char signature[32]; u32 magic = 0x20080321 (WRGG) or 0x20040220 (WRG); u32 magic2;
WRGG only: char version[16], model[16]; u32 flag[2], reserved[2]; char build[16];
u32 size; u32 offset (in flash); char device[32]; u8 md5[16] (of offset, device and the image)
"""

from __future__ import annotations

import struct

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import Detail, PartsReader, digest, is_text, text

WRGG, WRG = 0x20080321, 0x20040220


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, 160)
    if len(head) < 160:
        raise NotThisFormat
    for order in "<>":
        (magic,) = struct.unpack_from(f"{order}L", head, 32)
        if magic in (WRGG, WRG):
            break
    else:
        raise NotThisFormat
    at = 40 if magic == WRG else 104
    size, flash, device, stated = struct.unpack_from(f"{order}LL32s16s", head, at)
    signature = head[:32]
    if not is_text(signature) or not is_text(device) or not signature[0] or not size:
        raise NotThisFormat
    detail: Detail = {
        "kind": "wrgg03" if magic == WRGG else "wrg",
        "byte_order": "little" if order == "<" else "big",
        "signature": text(signature),
        "device": text(device),
        "flash_offset": flash,
    }
    if magic == WRGG:
        detail |= {"version": text(head[40:56]), "model": text(head[56:72]), "build": text(head[88:104])}
    start = at + 56
    reader = PartsReader(FORMAT, source, limits, start + size, detail)
    reader.header(0, start)
    reader.part(b"image", start, size)
    reader.check("md5", stated.hex(), lambda: digest("md5", source, [head[at + 4 : at + 8], device, (start, size)]))
    return reader


FORMAT = Format(
    name="wrgg",
    title="WRGG and WRG firmware image (Alpha Networks, D-Link)",
    open=_open,
    magics=[(32, struct.pack(order + "L", magic)) for order in "<>" for magic in (WRGG, WRG)],
    references=[
        Reference("OpenWrt, mtdsplit_wrgg.c and mtd/src/wrgg.c", "https://git.openwrt.org/openwrt/openwrt.git")
    ],
)
