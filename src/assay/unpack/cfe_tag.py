"""The image tag of Broadcom's CFE boot loader (bcm963xx), 256 bytes before an image; numbers are decimal text.

Sums are CRC-32 without the last inversion, big endian. Addresses tell the order of root file system and kernel; where
both are the same (OpenWrt), the kernel is first.
"""

from __future__ import annotations

import struct
import zlib

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import Detail, PartsReader, crc32, is_text, text

TAG = 256
SIGNATURE = b"Broadcom Corporatio"
# tag version, company lines 1 and 2, chip, board, byte order, total length, CFE address and length, image start, root
# length, kernel address and length, dual image, inactive, RSA signature, information 1, flash layout
FIELDS = struct.Struct("4s20s14s6s16s2s10s12s10s12s10s12s10s2s2s20s30s4s")


def _number(field: bytes) -> int | None:
    digits = field.split(b"\0", 1)[0].strip()
    if not digits:
        return 0
    return int(digits) if digits.isdigit() else None


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, TAG)
    if len(head) < TAG or head[4:23] != SIGNATURE:
        raise NotThisFormat
    fields = FIELDS.unpack_from(head)
    numbers = [_number(field) for field in fields[6:13]]
    if not all(is_text(field.split(b"\0", 1)[0]) for field in fields[:6]):
        raise NotThisFormat
    total, cfe, cfe_length, start, root_length, kernel, kernel_length = (number or 0 for number in numbers)
    if None in numbers or not total:
        raise NotThisFormat
    image_sum, root_sum, kernel_sum = struct.unpack_from(">3L", head, 216)
    (header_sum,) = struct.unpack_from(">L", head, 236)
    detail: Detail = {
        "version": text(fields[0]),
        "signature": f"{text(fields[1])} {text(fields[2])}".strip(),
        "chip": text(fields[3]),
        "board": text(fields[4]),
        "byte_order": "big" if fields[5][:1] == b"1" else "little",
        "cfe_address": f"{cfe:#010x}",
        "image_start": f"{start:#010x}",
        "kernel_address": f"{kernel:#010x}",
        "information": text(fields[16]),
        "flash_layout": text(fields[17]),
    }
    at = TAG + cfe_length
    if kernel_length and kernel > start:
        places = [(b"rootfs", at, root_length), (b"kernel", at + kernel - start, kernel_length)]
    else:
        places = [(b"kernel", at, kernel_length), (b"rootfs", at + kernel_length, root_length)]
    end = max([TAG + total, *(offset + size for _, offset, size in places if size)])
    reader = PartsReader(FORMAT, source, limits, end, detail)
    reader.header(0, TAG, "tag")
    if cfe_length:
        reader.part(b"cfe", TAG, cfe_length)
    for name, offset, size in places:
        if size:
            reader.part(name, offset, size)
    if end != TAG + total:
        reader.problem(f"the tag declares {total} bytes, its parts end at {end - TAG}")

    def check(what: str, stated: int, offset: int, size: int) -> None:
        if stated:
            reader.check(what, f"{stated:08x}", lambda: f"{crc32(source, offset, size) ^ 0xFFFFFFFF:08x}")

    reader.check("crc32 of tag", f"{header_sum:08x}", lambda: f"{zlib.crc32(head[:236]) ^ 0xFFFFFFFF:08x}")
    check("crc32 of image", image_sum, TAG, total)
    for name, offset, size in places:
        check(f"crc32 of {name.decode()}", kernel_sum if name == b"kernel" else root_sum, offset, size)
    return reader


FORMAT = Format(
    name="cfe-tag",
    title="Firmware image with Broadcom's CFE tag (bcm963xx)",
    open=_open,
    magics=[(4, SIGNATURE)],
    references=[Reference("Linux, include/linux/bcm963xx_tag.h", "https://github.com/torvalds/linux")],
    limitations=[
        "tags with another company's name than Broadcom",
        "sums that some vendors (Alice, Pirelli) make over other stretches are told as wrong",
    ],
)
