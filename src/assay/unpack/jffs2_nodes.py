"""The layout of JFFS2 nodes, and their compressions.

Everything on the medium is a node, at a multiple of 4, in the byte order of the machine. CRC-32 starts from zero and is
not inverted at the end.

    header:  u16 magic 0x1985, type; u32 length, CRC of these 8 bytes
    entry:   u32 parent, version, inode (0: removed), time; u8 length, type; 2 unused; u32 CRC of the node, of the name
    inode:   u32 inode, version, mode; u16 uid, gid; u32 size, atime, mtime, ctime, offset, stored, decoded;
             u8 compression, wanted; u16 flags; u32 CRC of the data, of the node
    xattr:   u32 id, version; u8 prefix, length of the name; u16 length of the value; u32 CRC of the data, of the node
    xref:    u32 inode, id, sequence, CRC of the node
    summary: u32 entries, size of a clean marker, padding, CRC of the entries, of the node
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from lzallright import LZOCompressor, LZOError

from .base import Malformed, Unsupported
from .inflate import inflate

HEADER = 12
ACCURATE = 0x2000
"""Part of every type; taken away, in place, from a node that is obsolete."""
ENTRY, INODE, CLEAN, PADDING, SUMMARY, XATTR, XREF = 0xE001, 0xE002, 0x2003, 0x2004, 0x2006, 0xE008, 0xE009
FIXED = {ENTRY: 40, INODE: 68, CLEAN: 12, PADDING: 12, SUMMARY: 32, XATTR: 32, XREF: 28}
"""Bytes of each type before what varies."""
LONGEST = 16 << 20
"""Most bytes of one node: it lies in one eraseblock."""
MOST = 1 << 20
"""Most bytes that one node decodes into: it is one page of memory."""
PREFIXES = {1: "user.", 2: "security.", 3: "system.posix_acl_access", 4: "system.posix_acl_default", 5: "trusted."}
_CHECKED = {ENTRY: (32, 32), INODE: (60, 64), SUMMARY: (24, 28), XATTR: (28, 28), XREF: (24, 24)}
"""By type: how many bytes the CRC of the node covers, and where it is. Other types have none."""


class Inode(NamedTuple):
    """The fields of an inode node; times in seconds."""

    number: int
    version: int
    mode: int
    uid: int
    gid: int
    size: int
    atime: int
    mtime: int
    ctime: int
    offset: int
    stored: int
    decoded: int
    compression: int
    wanted: int
    flags: int
    data_crc: int
    node_crc: int


class Layout:
    """The structures in one byte order."""

    def __init__(self, order: str) -> None:
        self.magic = struct.pack(f"{order}H", 0x1985)
        self.header = struct.Struct(f"{order}HHLL")
        self.entry = struct.Struct(f"{order}12xLLLLBB2xLL")
        self.inode = struct.Struct(f"{order}12xLLLHHLLLLLLLBBHLL")
        self.xattr = struct.Struct(f"{order}12xLLBBHLL")
        self.xref = struct.Struct(f"{order}12xLLLL")
        self.word = struct.Struct(f"{order}L")

    def intact(self, raw: bytes | memoryview, kind: int) -> bool:
        """Tell whether the fixed part of a node, `raw` from its header on, has its CRC."""
        if kind not in _CHECKED:
            return True
        covered, place = _CHECKED[kind]
        return len(raw) >= FIXED[kind] and crc(raw[:covered]) == self.word.unpack_from(raw, place)[0]


LITTLE, BIG = Layout("<"), Layout(">")


def crc(data: bytes | memoryview, start: int = 0) -> int:
    """Return the CRC-32 as JFFS2 has it."""
    return zlib.crc32(data, start ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def header(data: bytes, at: int, layout: Layout) -> tuple[int, int] | None:
    """Return type and length from the header of a node at an offset in `data`, or None if there is none.

    The type of an obsolete node lacks `ACCURATE`; its CRC is that of before.
    """
    if data[at : at + 2] != layout.magic or at + HEADER > len(data):
        return None
    _, kind, length, check = layout.header.unpack_from(data, at)
    raw = data[at : at + 8] if kind & ACCURATE else layout.header.pack(0x1985, kind | ACCURATE, length, 0)[:8]
    if crc(raw) != check or not FIXED.get(kind | ACCURATE, HEADER) <= length <= LONGEST:
        return None
    return kind, length


def _rtime(data: bytes, size: int) -> bytes:
    """Decode pairs of a byte and how many follow it as they did when it was last seen."""
    out = bytearray()
    seen = [0] * 256
    for value, repeat in zip(data[::2], data[1::2], strict=False):
        out.append(value)
        back, seen[value] = seen[value], len(out)
        if repeat:
            piece = out[back : back + repeat]
            out += (piece * (repeat // len(piece) + 1))[:repeat] if len(piece) < repeat else piece
        if len(out) >= size:
            break
    return bytes(out[:size])


def _zlib(data: bytes, size: int) -> bytes:
    return inflate(data, size, raw=False)


def _lzo(data: bytes, size: int) -> bytes:
    return LZOCompressor.decompress(data, size)


def _lzma(data: bytes, size: int) -> bytes:
    # OpenWrt's: neither header nor end mark, always with these properties.
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 0, "lp": 0, "pb": 0}]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters).decompress(data, size)


COMPRESSIONS = {
    0: "none",
    1: "zero",
    2: "rtime",
    3: "rubinmips",
    4: "copy",
    5: "dynrubin",
    6: "zlib",
    7: "lzo",
    8: "lzma",
}
_DECODERS: dict[int, Callable[[bytes, int], bytes]] = {
    0: lambda data, _: data,
    2: _rtime,
    6: _zlib,
    7: _lzo,
    8: _lzma,
}


def decoded(data: bytes, node: Inode) -> bytes:
    """Return what the data of an inode node decode into; not for those that only say zeros.

    Raises:
        Malformed: they do not decode, or not into as many bytes as declared.
        Unsupported: a compression that is not read.
    """
    if node.decoded > MOST:
        raise Malformed(f"a node of {node.decoded} bytes")
    decoder = _DECODERS.get(node.compression)
    if decoder is None:
        raise Unsupported(f"compression {COMPRESSIONS.get(node.compression, node.compression)}")
    try:
        out = decoder(data, node.decoded)
    except (zlib.error, lzma.LZMAError, LZOError, EOFError) as error:
        raise Malformed(f"{COMPRESSIONS[node.compression]}: {error}") from None
    if len(out) != node.decoded:
        raise Malformed(f"decodes into {len(out)} bytes, declares {node.decoded}")
    return out
