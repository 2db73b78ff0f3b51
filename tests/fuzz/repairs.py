"""Checksums made right again, so that mutations reach what lies behind them.

Each function yields patches for a mutated image, from the specification of its format. Only what was touched is
repaired where an image has many sums.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence

from assay.unpack.base import Source
from assay.unpack.crc32c import crc32c

from .mutate import Patch, Repair


def _tar(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    for at in {at - at % 512 for at in touched}:
        block = bytearray(image.pread(at, 512))
        if len(block) == 512 and block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            yield at + 148, b"%06o\0 " % sum(block)


def _gpt(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    head = bytearray(image.pread(512, 92))
    if len(head) < 92:
        return
    table, count, step = struct.unpack_from("<QII", head, 72)
    if count * step <= 1 << 20:
        struct.pack_into("<I", head, 88, zlib.crc32(image.pread(table * 512, count * step)))
    struct.pack_into("<I", head, 16, 0)
    struct.pack_into("<I", head, 16, zlib.crc32(head))
    yield 512, bytes(head)


def _uimage(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    whole = bytearray(image.pread(0, image.size))
    if len(whole) >= 64:
        size = struct.unpack_from(">I", whole, 12)[0]
        struct.pack_into(">I", whole, 24, zlib.crc32(whole[64 : 64 + size]))
        whole[4:8] = bytes(4)
        yield 24, bytes(whole[24:28])
        yield 4, struct.pack(">I", zlib.crc32(whole[:64]))


def _inverted(data: bytes) -> int:
    return zlib.crc32(data) ^ 0xFFFFFFFF


def _ubi(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    for block in {at - at % 16384 for at in touched}:
        for at in (block, block + 512):
            head = image.pread(at, 64)
            if head[:3] == b"UBI" and len(head) == 64:
                yield at + 60, struct.pack(">I", _inverted(head[:60]))
        if image.pread(block + 520, 4) != b"\x7f\xff\xef\xff":
            continue
        table = image.pread(block + 1024, 15360)  # the layout volume
        for at in range(0, len(table) - 171, 172):
            if table[at : at + 168].strip(b"\0"):
                yield block + 1024 + at + 168, struct.pack(">I", _inverted(table[at : at + 168]))


def _nodes(
    image: Source, touched: Sequence[int], magic: bytes, step: int, length: struct.Struct
) -> Iterator[tuple[int, bytes]]:
    """Yield nodes (offset, bytes) that lie over what was touched: the nearest magic before it."""
    seen = set()
    for at in touched:
        start = max(0, at - 4200)
        near = image.pread(start, at - start + 64)
        found = near.rfind(magic, 0, at - start + len(magic))
        while found >= 0 and (start + found) % step:
            found = near.rfind(magic, 0, found)
        if found >= 0 and start + found not in seen:
            seen.add(start + found)
            head = image.pread(start + found, 24)
            if len(head) == 24:
                yield start + found, image.pread(start + found, min(length.unpack_from(head)[0], 1 << 16))


def _ubifs(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    for at, node in _nodes(image, touched, b"\x31\x18\x10\x06", 8, struct.Struct("<16xI")):
        if len(node) >= 24:
            yield at + 4, struct.pack("<I", _inverted(node[8:]))


def _jffs2(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    def crc(data: bytes) -> int:
        return zlib.crc32(data, 0xFFFFFFFF) ^ 0xFFFFFFFF

    for magic, order in ((b"\x85\x19", "<"), (b"\x19\x85", ">")):
        for at, node in _nodes(image, touched, magic, 4, struct.Struct(order + "4xI")):
            kind = struct.unpack_from(order + "H", node, 2)[0] if len(node) >= 12 else 0
            if not kind:
                continue
            head = node[:8] + struct.pack(order + "I", crc(node[:8]))
            yield at, head
            if kind == 0xE001 and len(node) >= 40:
                yield at + 32, struct.pack(order + "II", crc(head + node[12:32]), crc(node[40 : 40 + node[28]]))
            elif kind == 0xE002 and len(node) >= 68:
                size = struct.unpack_from(order + "I", node, 48)[0]
                yield at + 60, struct.pack(order + "II", crc(node[68 : 68 + size]), crc(head + node[12:60]))


def _btrfs(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    for block in {at - at % 4096 for at in touched} | {65536}:
        data = image.pread(block, 4096)
        if len(data) == 4096:
            yield block, struct.pack("<I", crc32c(data[32:]))


def _vhd(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    for at, field, length in ((0, 64, 512), (512, 36, 1024), (image.size - 512, 64, 512)):
        raw = bytearray(image.pread(at, length))
        if bytes(raw[:8]) in (b"conectix", b"cxsparse") and len(raw) == length:
            raw[field : field + 4] = bytes(4)
            yield at + field, struct.pack(">I", ~sum(raw) & 0xFFFFFFFF)


def _vhdx(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    for at, length in ((65536, 4096), (131072, 4096), (196608, 65536), (262144, 65536)):
        if any(at <= place < at + length for place in touched):
            raw = image.pread(at, length)
            if len(raw) == length:
                yield at + 4, struct.pack("<I", crc32c(raw[:4] + bytes(4) + raw[8:]))


def _lvm_crc(data: bytes) -> int:
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def _lvm2(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    label = image.pread(512, 512)
    if len(label) == 512:
        yield 528, struct.pack("<I", _lvm_crc(label[20:]))
    head = bytearray(image.pread(4096, 512))
    if len(head) == 512:
        offset, size = struct.unpack_from("<QQ", head, 40)
        if offset + size < 1 << 20:
            struct.pack_into("<I", head, 56, _lvm_crc(image.pread(4096 + offset, size)))
        struct.pack_into("<I", head, 0, _lvm_crc(bytes(head[4:])))
        yield 4096, bytes(head)


def _romfs(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    def repaired(start: int, length: int, field: int) -> Iterator[Patch]:
        raw = bytearray(image.pread(start, min(length, 4096)))
        if len(raw) >= field + 4:
            raw[field : field + 4] = bytes(4)
            raw += bytes(-len(raw) % 4)
            total = sum(struct.unpack(f">{len(raw) // 4}I", raw))
            yield start + field, struct.pack(">I", -total & 0xFFFFFFFF)

    for at in {at - at % 16 for at in touched if at > 32}:
        name = image.pread(at + 16, 256)
        yield from repaired(at, 16 + (name.find(b"\0") + 16 & ~15), 12)
    size = image.pread(8, 4)
    yield from repaired(0, min(512, int.from_bytes(size, "big") or 512), 12)


def _cramfs(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    head = image.pread(0, 64)
    if len(head) == 64:
        order = "<" if head[0] == 0x45 else ">"
        size = min(struct.unpack_from(order + "I", head, 4)[0], 1 << 20)
        raw = image.pread(0, size)
        yield 32, struct.pack(order + "I", zlib.crc32(raw[:32] + bytes(4) + raw[36:]))


def _trx(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    head = image.pread(0, 12)
    if len(head) == 12:
        yield 8, struct.pack("<I", _inverted(image.pread(12, struct.unpack_from("<I", head, 4)[0] - 12)))


def _ihex(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    yield from _lines(image, touched, 1, lambda raw: -sum(raw) & 0xFF)


def _srec(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    yield from _lines(image, touched, 2, lambda raw: ~sum(raw) & 0xFF)


def _lines(image: Source, touched: Sequence[int], skip: int, sum_of: Callable[[bytes], int]) -> Iterator[Patch]:
    for at in touched:
        start = max(0, at - 600)
        near = image.pread(start, 1200)
        begin = near.rfind(b"\n", 0, at - start) + 1
        line = near[begin : near.find(b"\n", begin)].rstrip()
        try:
            raw = bytes.fromhex(line[skip:].decode())
        except ValueError:
            continue
        if raw:
            yield start + begin + len(line) - 2, b"%02X" % sum_of(raw[:-1])


def _super(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    for at in (4096, 8192):
        raw = bytearray(image.pread(at, 52))
        if len(raw) == 52:
            raw[8:40] = bytes(32)
            yield at + 8, hashlib.sha256(raw).digest()
    for at in range(12288, 12288 + 4 * 4096, 4096):
        head = bytearray(image.pread(at, 256))
        if len(head) == 256:
            size, tables = struct.unpack_from("<I", head, 8)[0], struct.unpack_from("<I", head, 44)[0]
            if size in (128, 256) and tables <= 4096:
                head[48:80] = hashlib.sha256(image.pread(at + size, tables)).digest()
                head[12:44] = bytes(32)
                head[12:44] = hashlib.sha256(head[:size]).digest()
                yield at, bytes(head[:size])


def _exfat(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    boot = image.pread(0, 512)
    if len(boot) < 512:
        return
    sector = 1 << min(boot[108], 12)
    if any(at < 12 * sector for at in touched):
        total = 0
        for at, byte in enumerate(image.pread(0, 11 * sector)):
            if at not in (106, 107, 112):
                total = ((total & 1) << 31 | total >> 1) + byte & 0xFFFFFFFF
        yield 11 * sector, struct.pack("<I", total) * (sector // 4)
    for at in {at - at % 32 for at in touched if at >= 12 * sector}:
        for start in range(at, max(at - 32 * 4, 0), -32):
            head = image.pread(start, 32)
            if head[:1] == b"\x85":
                raw = image.pread(start, 32 * (head[1] + 1))
                total = 0
                for place, byte in enumerate(raw):
                    if place not in (2, 3):
                        total = ((total & 1) << 15 | total >> 1) + byte & 0xFFFF
                yield start + 2, struct.pack("<H", total)
                break


def _dfu(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    if image.size >= 16:
        yield image.size - 4, struct.pack("<I", _inverted(image.pread(0, image.size - 4)))


def _erofs(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    raw = image.pread(1024, 4096 - 1024)
    if len(raw) == 3072:
        yield 1028, struct.pack("<I", crc32c(raw[:4] + bytes(4) + raw[8:]) ^ 0xFFFFFFFF)


def _cfe(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    head = image.pread(0, 236)
    if len(head) == 236:
        yield 236, struct.pack(">I", _inverted(head))


def _npk(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    size = image.size - 8
    if size > 0:
        yield 4, struct.pack("<L", size)


def _md(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    for at in (0, 4096, (1 << 20) + 4096):
        raw = bytearray(image.pread(at, 256 + 256))
        if raw[:4] == b"\xfc\x4e\x2b\xa9" and len(raw) == 512:
            raw[216:220] = bytes(4)
            size = 256 + 2 * min(struct.unpack_from("<I", raw, 220)[0], 128)
            total = sum(struct.unpack(f"<{size // 4}I", raw[: size - size % 4]))
            yield at + 216, struct.pack("<I", (total & 0xFFFFFFFF) + (total >> 32) & 0xFFFFFFFF)


def _udf(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    for at in {at - at % 2048 for at in touched}:
        raw = bytearray(image.pread(at, 2048))
        if len(raw) == 2048 and any(raw[:16]):
            size = struct.unpack_from("<H", raw, 10)[0]
            struct.pack_into("<H", raw, 8, _crc16(raw[16 : 16 + min(size, 2032)]))
            raw[4] = (sum(raw[:4]) + sum(raw[5:16])) & 0xFF
            yield at, bytes(raw[:16])


def _crc16(data: bytes | bytearray) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def _7z(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    head = bytearray(image.pread(0, 32))
    if len(head) == 32:
        offset, size = struct.unpack_from("<QQ", head, 12)
        if size <= 1 << 20:
            struct.pack_into("<I", head, 28, zlib.crc32(image.pread(32 + offset, size)))
        struct.pack_into("<I", head, 8, zlib.crc32(head[12:]))
        yield 8, bytes(head[8:])


def _rar(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    whole = image.pread(0, min(image.size, 1 << 20))
    if whole[:8] == b"Rar!\x1a\7\1\0":
        at = 8
        while at + 8 < len(whole):
            size, head = _vint(whole, at + 4)
            end = head + size
            yield at, struct.pack("<I", zlib.crc32(whole[at + 4 : end]))
            kind_end = _vint(whole, head)[1]
            flags, place = _vint(whole, kind_end)
            if flags & 1:
                place = _vint(whole, place)[1]
            at = end + (_vint(whole, place)[0] if flags & 2 else 0)
    else:
        at = 7
        while at + 7 <= len(whole):
            flags, size = struct.unpack_from("<HH", whole, at + 3)
            yield at, struct.pack("<H", zlib.crc32(whole[at + 2 : at + size]) & 0xFFFF)
            at += max(size, 7) + (int.from_bytes(whole[at + 7 : at + 11], "little") if flags & 0x8000 else 0)


def _vint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, and where it ends."""
    number = shift = 0
    while at < len(data) and shift < 70:
        number |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            break
    return number, at


def _arj(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    whole = image.pread(0, min(image.size, 1 << 20))
    at = 0
    while whole[at : at + 2] == b"\x60\xea":
        size = int.from_bytes(whole[at + 2 : at + 4], "little")
        end = at + 4 + size
        if not size or end + 6 > len(whole):
            break
        yield end, struct.pack("<I", zlib.crc32(whole[at + 4 : end]))
        packed = int.from_bytes(whole[at + 16 : at + 20], "little") if at else 0
        at = end + 6 + packed


def _lha(image: Source, touched: Sequence[int]) -> Iterator[Patch]:
    whole = image.pread(0, min(image.size, 1 << 20))
    at = 0
    while at + 22 < len(whole) and whole[at + 20] < 2:
        size = whole[at]
        yield at + 1, bytes((sum(whole[at + 2 : at + 2 + size]) & 0xFF,))
        at += 2 + size + int.from_bytes(whole[at + 7 : at + 11], "little")


REPAIRS: dict[str, Repair] = {
    "7z": _7z,
    "android-super": _super,
    "arj": _arj,
    "btrfs": _btrfs,
    "cfe-tag": _cfe,
    "cramfs": _cramfs,
    "dfu": _dfu,
    "erofs": _erofs,
    "exfat": _exfat,
    "gpt": _gpt,
    "ihex": _ihex,
    "jffs2": _jffs2,
    "lha": _lha,
    "lvm2": _lvm2,
    "md": _md,
    "npk": _npk,
    "rar": _rar,
    "romfs": _romfs,
    "srec": _srec,
    "tar": _tar,
    "trx": _trx,
    "ubi": _ubi,
    "ubifs": _ubifs,
    "udf": _udf,
    "uimage": _uimage,
    "vhd": _vhd,
    "vhdx": _vhdx,
}
"""By format; a format that is not here has no sum that its reader insists on, or seeds without one."""
