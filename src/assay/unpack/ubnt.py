"""UBNT: firmware of Ubiquiti's devices, big endian.

header: char magic[4] = "UBNT" (or "OPEN"); char version[256]; u32 crc of these; u32 pad
parts: char magic[4] = "PART"; char name[16]; u8 pad[12]; u32 memory address, index, flash address, entry address,
    bytes of data, bytes of the partition; data; u32 crc of header and data; u32 pad
end: char magic[4] = "END."; u32 crc of all before; u32 pad, or "ENDS"; u8 signature[256] (RSA); u32 pad
"""

from __future__ import annotations

import struct
import zlib

from .base import Format, LimitReached, Limits, NotThisFormat, Reader, Reference, Source
from .parts import PartsReader, crc32, text

MAGICS = (b"UBNT", b"OPEN")
HEADER = 268
PART = struct.Struct(">4s16s12s6L")
SIGNATURE = 256
PARTS = 256


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, HEADER)
    if len(head) < HEADER or head[:4] not in MAGICS:
        raise NotThisFormat
    if zlib.crc32(head[:260]) != int.from_bytes(head[260:264], "big"):
        raise NotThisFormat
    reader = PartsReader(FORMAT, source, limits, HEADER, {"kind": head[:4].decode(), "version": text(head[4:260])})
    reader.header(0, HEADER)
    at = HEADER
    while (head := source.pread(at, PART.size))[:4] == b"PART" and len(head) == PART.size:
        if len(reader.parts) >= PARTS:
            raise LimitReached("parts", PARTS)
        _, name, _, memory, index, flash, entry, size, room = PART.unpack(head)
        data, after = at + PART.size, at + PART.size + size
        reader.header(at, PART.size, "part header")
        reader.part(name.split(b"\0", 1)[0], data, size)
        reader.header(after, 8, "part sum")
        reader.detail[f"part {len(reader.parts) - 1}"] = (
            f"index={index} memory={memory:#x} flash={flash:#x} entry={entry:#x} room={room:#x}"
        )
        stated = source.pread(after, 4)
        if len(stated) == 4:
            reader.check(
                f"crc32 of part {len(reader.parts) - 1}",
                stated.hex(),
                lambda at=at, length=PART.size + size: f"{crc32(source, at, length):08x}",  # type: ignore[misc]
            )
        at = after + 8
    last = source.pread(at, 12)
    if last[:4] == b"END.":
        reader.header(at, 12, "end")
        if len(last) == 12:
            reader.check("crc32", last[4:8].hex(), lambda length=at: f"{crc32(source, 0, length):08x}")  # type: ignore[misc]
        at += 12
    elif last[:4] == b"ENDS":
        reader.header(at, 4, "end")
        reader.part(b"signature", at + 4, SIGNATURE)
        reader.header(at + 4 + SIGNATURE, 4, "end")
        reader.detail["signed"] = True
        at += 8 + SIGNATURE
    elif at < source.size:
        reader.problem(f"neither a part nor an end at offset {at}", entries=1)
    reader.end = at
    if at >= source.size and last[:3] != b"END":
        reader.problem(f"ends at offset {source.size} without an end", reason="truncated", entries=1)
    return reader


FORMAT = Format(
    name="ubnt",
    title="UBNT firmware image (Ubiquiti)",
    open=_open,
    magics=[(0, magic) for magic in MAGICS],
    references=[Reference("OpenWrt firmware-utils, mkfwimage", "https://git.openwrt.org/project/firmware-utils.git")],
    limitations=["the signature of a signed image is listed and not verified"],
)
