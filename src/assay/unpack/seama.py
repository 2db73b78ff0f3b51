"""Seama and its seal: firmware of D-Link and other makers on Alpha Networks' platform; both byte orders.

    u32 magic = 5e a3 a4 17; u16 reserved; u16 bytes of meta; u32 bytes of image; if there is an image: u8 md5[16];
    meta: strings "name=value", each ended by NUL, filled up with NULs; image

A header without an image seals those that follow it. In flash, an image stands alone.
"""

from __future__ import annotations

import struct

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import PartsReader, digest

MAGICS = {b"\x5e\xa3\xa4\x17": ">", b"\x17\xa4\xa3\x5e": "<"}
IMAGES = 64


def _meta(data: bytes) -> str | None:
    fields = [field for field in data.split(b"\0") if field]
    if not all(field.isascii() and field.decode("ascii").isprintable() and b"=" in field for field in fields):
        return None
    return " ".join(field.decode("ascii") for field in fields)


def _open(source: Source, limits: Limits) -> Reader:
    order = MAGICS.get(source.pread(0, 4))
    if order is None:
        raise NotThisFormat
    fixed = struct.Struct(f"{order}4sHHL")
    reader = PartsReader(FORMAT, source, limits, 0, {"byte_order": "big" if order == ">" else "little"})
    at = count = 0
    while count < IMAGES:
        head = source.pread(at, fixed.size + 16)
        if len(head) < fixed.size or MAGICS.get(head[:4]) != order:
            break
        _, reserved, described, size = fixed.unpack_from(head)
        whole = fixed.size + (16 if size else 0)
        meta = _meta(source.pread(at + whole, described))
        if meta is None or reserved or (not size and at):
            break
        reader.header(at, whole + described, "header" if size else "seal")
        reader.detail[f"meta {count}" if size else "seal"] = meta
        at += whole + described
        if size:
            start, stated = at, head[fixed.size :].hex()
            reader.part(b"image%d" % count, at, size)
            reader.check(
                f"md5 {count}",
                stated,
                lambda start=start, size=size: digest("md5", source, [(start, size)]),  # type: ignore[misc]
            )
            at += size
            count += 1
    if not reader.headers or (not count and not reader.detail.get("seal")):
        raise NotThisFormat
    if not count:
        reader.problem("a seal and no image", entries=1)
    reader.end = at
    return reader


FORMAT = Format(
    name="seama",
    title="Seama firmware image (Alpha Networks, D-Link)",
    open=_open,
    magics=[(0, magic) for magic in MAGICS],
    references=[Reference("OpenWrt firmware-utils, oseama", "https://git.openwrt.org/project/firmware-utils.git")],
)
