"""TP-Link's firmware headers of 512 bytes, versions 1 to 3, big endian.

Version 1 (and one form of 2) begins with u32 version, char vendor[24]; the other form of 2, and 3, with u32 version
(its bytes the other way round), char firmware version[48], and has marks 55 aa at offset 0x8c and a5 at 0x90. Both have
an MD5 over the whole image, in which a known constant stands where the sum is written.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import Detail, PartsReader, digest, is_text, text

HEADER = 512
NAMED = struct.Struct(">L24s36s3L16s")
PLAIN = struct.Struct(">L48s3L16s")
# after the MD5: u32 unknown, u8 md5[16] of unknown purpose, u32 unknown; then load address, entry point, length of the
# image; offset and length of kernel, root file system and boot loader
LAYOUT = struct.Struct(">24x9L")
NAMED_VENDORS = (b"TP-LINK", b"OpenWrt")


class Kind(NamedTuple):
    """What the two kinds of header differ in."""

    md5: int
    """Offset of the sum."""
    salt: str
    """What stands there while the sum is made."""
    boot_salt: str
    """The same, for an image with a boot loader."""


VENDOR = Kind(76, "dcd73aa5c39598fbddf9e7f40eae4738", "8cef335bd5c5cefaa79c28dab2e90f42")
MARKED = Kind(64, "dcd73aa5c39598fbdcf9e7f40eae4737", "8cef335fd5c5cefaac9c28dab2e90f42")


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, HEADER)
    if len(head) < HEADER:
        raise NotThisFormat
    detail: Detail
    if head[4:11] in NAMED_VENDORS and head[:4] in (b"\1\0\0\0", b"\2\0\0\0"):
        kind = VENDOR
        _, vendor, version, hardware, revision, region, stated = NAMED.unpack_from(head)
        release = struct.unpack_from(">3H", head, 152)
        detail = {
            "version": head[0],
            "vendor": text(vendor),
            "image_version": text(version),
            "hardware": f"{hardware:#010x}",
            "hardware_revision": revision,
            "region": region,
            "firmware_version": ".".join(map(str, release)),
        }
    elif head[:4] in (b"\2\0\0\0", b"\3\0\0\0") and head[0x8C:0x8E] == b"\x55\xaa" and head[0x90] == 0xA5:
        kind = MARKED
        _, version, hardware, revision, addition, stated = PLAIN.unpack_from(head)
        version = version.split(b"\xff", 1)[0]  # the rest of the field may be erased flash
        detail = {
            "version": head[0],
            "image_version": text(version),
            "hardware": f"{hardware:#010x}",
            "hardware_revision": revision,
            "hardware_addition": addition,
            "firmware_version": f"{head[0x91]}.{head[0x92]}.{head[0x93]}-{head[0x8E]}.{head[0x8F]}",
        }
    else:
        raise NotThisFormat
    load, entry, length, *places = LAYOUT.unpack_from(head, kind.md5 + 16)
    parts = [
        (name, places[2 * n], places[2 * n + 1])
        for n, name in enumerate((b"kernel", b"rootfs", b"bootloader"))
        if places[2 * n + 1]
    ]
    if not is_text(version.split(b"\0", 1)[0]) or not parts or any(offset < HEADER for _, offset, _ in parts):
        raise NotThisFormat
    detail |= {"load_address": f"{load:#010x}", "entry_point": f"{entry:#010x}", "length": length}
    used = max(offset + size for _, offset, size in parts)
    # An image may be cut to what is used: then the length is that of the flash, and its end is not stated.
    end = length if used <= length <= source.size else used
    reader = PartsReader(FORMAT, source, limits, end, detail)
    reader.header(0, HEADER)
    for part in parts:
        reader.part(*part)
    if any(stated):
        salt = bytes.fromhex(kind.boot_salt if places[5] else kind.salt)
        before, after = head[: kind.md5], kind.md5 + 16

        def compute() -> str:
            found = ""
            for until in dict.fromkeys((end, source.size)):
                found = digest("md5", source, [before, salt, (after, until - after)])
                if found == stated.hex():
                    reader.end = until
                    break
            return found

        reader.check("md5", stated.hex(), compute)
    return reader


FORMAT = Format(
    name="tplink",
    title="TP-Link firmware image with a header of version 1, 2 or 3",
    open=_open,
    magics=[(0, version + vendor) for version in (b"\1\0\0\0", b"\2\0\0\0") for vendor in NAMED_VENDORS]
    + [(0, b"\2\0\0\0"), (0, b"\3\0\0\0")],
    references=[
        Reference(
            "OpenWrt firmware-utils, mktplinkfw and mktplinkfw2", "https://git.openwrt.org/project/firmware-utils.git"
        )
    ],
    limitations=[
        "headers of version 1 with another vendor's name than TP-LINK or OpenWrt",
        "the second MD5 (a signature's digest) is not verified",
        "not looked for inside other data",
    ],
    smallest=HEADER,
    anywhere=False,
)
