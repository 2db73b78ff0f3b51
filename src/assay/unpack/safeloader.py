"""SafeLoader: TP-Link's firmware images with a table of partitions in text.

    u32 bytes of the image (big endian); u8 md5[16] (of a known constant and all that follows);
    vendor information up to 0x1014; at 0x1014 the table, lines `fwup-ptn NAME base 0xBASE size 0xSIZE`, ended by NUL

A partition's base counts from the table.
"""

from __future__ import annotations

import re

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import PartsReader, digest

TABLE = 0x1014
TABLE_SIZE = 2048
SALT = bytes.fromhex("7a2b15ed9b98596de504ab44ac2a9f4e")
LINE = re.compile(rb"fwup-ptn ([\x21-\x7e]{1,64}) base 0x([0-9a-fA-F]{1,8}) size 0x([0-9a-fA-F]{1,8})[\t\r\n ]*")
TEXTS = (b"support-list", b"soft-version", b"product-info")
TEXT = 4096


def _open(source: Source, limits: Limits) -> Reader:
    table = source.pread(TABLE, TABLE_SIZE).split(b"\0", 1)[0]
    head = source.pread(0, 20)
    found = []
    at = 0
    while line := LINE.match(table, at):
        found.append((line[1], TABLE + int(line[2], 16), int(line[3], 16)))
        at = line.end()
    size = int.from_bytes(head[:4], "big")
    if not found or size < TABLE + at:
        raise NotThisFormat
    reader = PartsReader(FORMAT, source, limits, size, {"length": size})
    reader.header(0, 20)
    reader.header(20, TABLE - 20, "vendor information")
    reader.header(TABLE, at + 1, "partition table")
    if at < len(table):
        reader.problem(f"the partition table has something else at offset {at}", entries=1)
    for name, offset, length in found:
        if offset + length > size:
            reader.problem(f"ends at {offset + length}, beyond the image's {size} bytes", name)
        reader.part(name, offset, length)
        if name in TEXTS and 8 < length <= TEXT:
            body = source.pread(offset, length)[8:].strip(b"\0\r\n")  # after u32 length, u32 zero
            if body.isascii() and body.replace(b"\n", b"").replace(b"\r", b"").decode("ascii").isprintable():
                reader.detail[name.decode("ascii")] = body.decode("ascii")
    reader.check("md5", head[4:].hex(), lambda: digest("md5", source, [SALT, (20, size - 20)]))
    return reader


FORMAT = Format(
    name="safeloader",
    title="SafeLoader firmware image (TP-Link)",
    open=_open,
    magics=[(TABLE, b"fwup-ptn ")],
    references=[
        Reference("OpenWrt firmware-utils, tplink-safeloader", "https://git.openwrt.org/project/firmware-utils.git")
    ],
    limitations=["the signature in the vendor information is not read", "the table of later devices' flash layout"],
)
