"""Vendors' images that are encrypted (or disguised) as a whole: what their headers state is told, nothing is decrypted.

SHRS (D-Link), big endian: char magic[4]; u32 bytes, bytes without padding; u8 iv[16]; SHA-512 of the plain image and
key, of the plain image, of the encrypted image; u8 unused[512]; two signatures of 512 bytes; the image.

encrpted_img (D-Link), big endian: char magic[12]; u32 bytes; the image.

QNAP: the image, encrypted from its beginning on as far as the trailer says; trailer of 74 bytes: char magic[6] =
"icpnas"; u32 encrypted bytes (little endian); char device[16], version[16], date[16], revision[16].

EnGenius, big endian: u32 unknown, vendor, product; char version[20]; u32 bytes; u32 unknown; u8 md5[16]; u8 pad[32];
u32 unknown; u8 magic[7] = 12 34 56 78 'all' and more; u32 length of the model's name and the name; the image, XORed.
"""

from __future__ import annotations

import struct

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import Detail, PartsReader, digest, is_text, text

UNBLOB = Reference("unblob, handlers for archives", "https://unblob.org/handlers/")

SHRS = struct.Struct(">4sLL16s64s64s64s")
SHRS_HEADER = 0x6DC


def _open_shrs(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, SHRS_HEADER)
    if len(head) < SHRS_HEADER or head[:4] != b"SHRS" or any(head[SHRS.size : SHRS.size + 512]):
        raise NotThisFormat
    _, size, used, iv, keyed, plain, encrypted = SHRS.unpack_from(head)
    if not 0 < used <= size or size % 16:
        raise NotThisFormat
    detail: Detail = {
        "iv": iv.hex(),
        "bytes": used,
        "sha512 of plain image and key": keyed.hex(),
        "sha512 of plain image": plain.hex(),
        "signed": any(head[732:]),
    }
    reader = PartsReader(SHRS_FORMAT, source, limits, SHRS_HEADER + size, detail)
    reader.header(0, SHRS_HEADER)
    reader.part(b"image", SHRS_HEADER, size, "encrypted")
    reader.check("sha512", encrypted.hex(), lambda: digest("sha512", source, [(SHRS_HEADER, used)]))
    return reader


def _open_encrpted(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, 16)
    size = int.from_bytes(head[12:], "big")
    if len(head) < 16 or head[:12] != b"encrpted_img" or not size:
        raise NotThisFormat
    reader = PartsReader(ENCRPTED_FORMAT, source, limits, 16 + size, {"bytes": size})
    reader.header(0, 16)
    reader.part(b"image", 16, size, "encrypted")
    return reader


QNAP = struct.Struct("<6sL16s16s16s16s")


def _open_qnap(source: Source, limits: Limits) -> Reader:
    start = source.size - QNAP.size
    tail = source.pread(start, QNAP.size)
    if start <= 0 or not tail.startswith(b"icpnas"):
        raise NotThisFormat
    _, size, *fields = QNAP.unpack(tail)
    if not 0 < size <= start or not all(map(is_text, fields)) or not any(fields[0]):
        raise NotThisFormat
    names = ("device", "version", "date", "revision")
    reader = PartsReader(QNAP_FORMAT, source, limits, source.size, dict(zip(names, map(text, fields), strict=True)))
    reader.part(b"image", 0, size, "encrypted")
    if size < start:
        reader.part(b"rest", size, start - size)
    reader.header(start, QNAP.size, "trailer")
    return reader


ENGENIUS = struct.Struct(">4xLL20sL4x16s32x4x4s8s7LL")
ENGENIUS_MAGIC = b"\x12\x34\x56\x78all"
MODEL = 64


def _open_engenius(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, ENGENIUS.size)
    if len(head) < ENGENIUS.size or head[0x5C:0x63] != ENGENIUS_MAGIC:
        raise NotThisFormat
    vendor, product, version, size, stated, _, region, major, minor, micro, date, _, _, _, length = ENGENIUS.unpack(
        head
    )
    model = source.pread(ENGENIUS.size, min(length, MODEL))
    if not size or length > MODEL or not is_text(model):
        raise NotThisFormat
    start = ENGENIUS.size + length
    detail: Detail = {
        "vendor": f"{vendor:#x}",
        "product": f"{product:#x}",
        "version": text(version) or f"{major}.{minor}.{micro}",
        "date": date,
        "region": text(region),
        "model": text(model),
        "md5": stated.hex(),
    }
    reader = PartsReader(ENGENIUS_FORMAT, source, limits, start + size, detail)
    reader.header(0, start)
    reader.part(b"image", start, size, "encrypted")
    return reader


SHRS_FORMAT = Format(
    name="shrs",
    title="SHRS encrypted firmware image (D-Link)",
    open=_open_shrs,
    magics=[(0, b"SHRS")],
    references=[UNBLOB],
    limitations=["encrypted: the image is named, not read"],
)
ENCRPTED_FORMAT = Format(
    name="encrpted-img",
    title="encrpted_img encrypted firmware image (D-Link)",
    open=_open_encrpted,
    magics=[(0, b"encrpted_img")],
    references=[UNBLOB],
    limitations=["encrypted: the image is named, not read"],
)
QNAP_FORMAT = Format(
    name="qnap",
    title="Encrypted firmware image with a trailer (QNAP)",
    open=_open_qnap,
    magics=[],
    tail=b"icpnas",
    smallest=QNAP.size + 1,
    anywhere=False,
    references=[UNBLOB],
    limitations=["the encrypted beginning is named, not read", "found only where a file ends"],
)
ENGENIUS_FORMAT = Format(
    name="engenius",
    title="Disguised firmware image (EnGenius, Senao)",
    open=_open_engenius,
    magics=[(0x5C, ENGENIUS_MAGIC)],
    references=[UNBLOB],
    limitations=["the image is XORed with a key, named as encrypted and not read", "the MD5 is told and not verified"],
)
