"""HDR1 and HDR2: firmware of Xiaomi's routers, little endian.

char magic[4] = "HDR1" or "HDR2"; u32 offset of the signature; u32 crc of all from offset 12;
HDR1: u16 unused; u16 device; HDR2: u32 unused; char device[8], region[8]; u64 unused[2];
u32 offsets[8] of blobs; each: u32 magic = 0xbabe; u32 flash offset; u32 bytes; u16 type, unused; char name[32]
signature: u32 bytes; u32 unused[3]; the signature (RSA)
"""

from __future__ import annotations

import struct

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import Detail, PartsReader, crc32, is_text, text

BLOB = struct.Struct("<3L2H32s")
BLOB_MAGIC = 0xBABE
SIGNATURE = 272  # header and a signature of 2048 bits


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, 80)
    if len(head) < 80 or head[:4] not in (b"HDR1", b"HDR2"):
        raise NotThisFormat
    signature, stated = struct.unpack_from("<LL", head, 4)
    detail: Detail = {"kind": head[:4].decode()}
    if head[3:4] == b"1":
        fixed = 48
        detail["device"] = f"{int.from_bytes(head[14:16], 'little'):#06x}"
    else:
        fixed = 80
        detail |= {"device": text(head[16:24]), "region": text(head[24:32])}
    offsets = [offset for offset in struct.unpack_from("<8L", head, fixed - 32) if offset]
    if not offsets or signature < fixed or any(not fixed <= offset < signature for offset in offsets):
        raise NotThisFormat
    reader = PartsReader(FORMAT, source, limits, signature + SIGNATURE, detail)
    reader.header(0, fixed)
    for number, offset in enumerate(offsets):
        blob = source.pread(offset, BLOB.size)
        if len(blob) < BLOB.size:
            reader.problem(f"the header of blob {number} at offset {offset} is cut", reason="truncated", entries=1)
            continue
        magic, flash, size, kind, _, name = BLOB.unpack(blob)
        if magic != BLOB_MAGIC or not is_text(name.split(b"\0", 1)[0]):
            if not number:
                raise NotThisFormat
            reader.problem(f"no blob {number} at offset {offset}", entries=1)
            continue
        reader.header(offset, BLOB.size, "blob header")
        reader.part(name.split(b"\0", 1)[0] or b"blob%d" % number, offset + BLOB.size, size)
        detail[f"blob {number}"] = f"type={kind:#06x} flash={flash:#010x}"
    length = int.from_bytes(source.pread(signature, 4), "little")
    detail["signature_bytes"] = length
    if length <= SIGNATURE - 16:
        reader.header(signature, 16, "signature header")
        if length:
            reader.part(b"signature", signature + 16, length)
    else:
        reader.problem(f"a signature of {length} bytes")
    reader.check("crc32", f"{stated:08x}", lambda: f"{crc32(source, 12, reader.end - 12) ^ 0xFFFFFFFF:08x}")
    return reader


FORMAT = Format(
    name="xiaomi",
    title="HDR1 and HDR2 firmware image (Xiaomi)",
    open=_open,
    magics=[(0, b"HDR1"), (0, b"HDR2")],
    references=[
        Reference("OpenWrt firmware-utils, xiaomifw", "https://git.openwrt.org/project/firmware-utils.git"),
        Reference("unblob, Xiaomi HDR", "https://unblob.org/handlers/"),
    ],
    limitations=["the signature is listed and not verified", "signatures of more than 2048 bits"],
)
