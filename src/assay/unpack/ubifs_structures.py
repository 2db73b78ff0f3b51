"""The layout of UBIFS nodes, and their compression.

Everything on the medium is a node: a header of 24 bytes, then what its type has. All numbers are little endian. The
CRC-32 is without the final inversion and covers what follows it, up to the node's length. Nodes lie at multiples of 8.

    header: u32 magic, CRC; u64 sequence; u32 length; u8 type, group; 2 unused
    key:    u32 inode; u32 type << 29 | hash of the name, or number of the 4 KiB block; 8 unused (none in the index)
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import zstandard
from lzallright import LZOCompressor, LZOError

from .base import Malformed, Unsupported
from .inflate import inflate

MAGIC = b"\x31\x18\x10\x06"
HEADER = struct.Struct("<4sIQIBB2x")
INODE, DATA, ENTRY, ATTRIBUTE, TRUNCATION, PADDING, SUPERBLOCK, MASTER, REFERENCE, INDEX, COMMIT = range(11)
SIGNATURE = 13
LONGEST = 160 + 4096
"""Most bytes of a node with a key: an inode with a block of data."""
BLOCK = 4096
TYPE_SHIFT = 29
NUMBER_MASK = (1 << TYPE_SHIFT) - 1
LAST_KEY = (1 << 64) - 1
IN_GROUP = 1
ATTRIBUTE_VALUE = 0x20
"""Flag of an inode that is the value of an extended attribute."""
ENCRYPTED = 0x40
"""Flag of an inode whose data, target or names are encrypted (fscrypt)."""

_SUPERBLOCK = struct.Struct("<24x2xBBIIIIIQIIIIIIIHxxIIQI16sI128xH")
_MASTER = struct.Struct("<24xQQIIIIIIIIQQQQQQIIIIIIIIIIII")
_INODE = struct.Struct("<40xQQqqqIIIIIIIIIII4xIH26x")
_ENTRY = struct.Struct("<24xII8xQxBHI")
_DATA = struct.Struct("<24xII8xIHH")
_TRUNCATION = struct.Struct("<24xI12xQQ")
FLAGS = {
    0x02: "big_lpt",
    0x04: "space_fixup",
    0x08: "double_hash",
    0x10: "encryption",
    0x20: "authentication",
}
MASTER_FLAGS = {1: "dirty", 2: "no_orphans", 4: "recovery"}
COMPRESSIONS = ("none", "lzo", "zlib", "zstd")
HASHES = {
    1: ("md5", 16),
    2: ("sha1", 20),
    3: ("rmd160", 20),
    4: ("sha256", 32),
    5: ("sha384", 48),
    6: ("sha512", 64),
    7: ("sha224", 28),
    17: ("sm3", 32),
    18: ("streebog256", 32),
    19: ("streebog512", 64),
}
"""Names and lengths of hashes, by their number in the superblock."""


class Superblock(NamedTuple):
    """The fields of the superblock node; sizes in bytes, areas in logical eraseblocks."""

    key_hash: int
    key_format: int
    flags: int
    min_io: int
    leb_size: int
    leb_count: int
    max_leb_count: int
    max_bud_bytes: int
    log_lebs: int
    lpt_lebs: int
    orphan_lebs: int
    heads: int
    fanout: int
    lsave: int
    version: int
    compression: int
    reserve_uid: int
    reserve_gid: int
    reserve: int
    granularity: int
    uuid: bytes
    ro_compat: int
    hash: int

    @property
    def main(self) -> int:
        """The first logical eraseblock of the main area: superblock, two of master nodes, then the areas."""
        return 3 + self.log_lebs + self.lpt_lebs + self.orphan_lebs

    @property
    def hash_bytes(self) -> int:
        """Bytes of the hash in each branch of the index.

        Raises:
            Unsupported: an unknown hash.
        """
        if not self.flags & 0x20:
            return 0
        if self.hash not in HASHES:
            raise Unsupported(f"hash {self.hash}")
        return HASHES[self.hash][1]


class Master(NamedTuple):
    """The fields of a master node."""

    highest_inode: int
    commit: int
    flags: int
    log: int
    root_leb: int
    root_offset: int
    root_length: int
    gc_leb: int
    index_leb: int
    index_offset: int
    index_size: int
    free: int
    dirty: int
    used: int
    dead: int
    dark: int
    lpt_leb: int
    lpt_offset: int
    lpt_head_leb: int
    lpt_head_offset: int
    ltab_leb: int
    ltab_offset: int
    lsave_leb: int
    lsave_offset: int
    lscan_leb: int
    empty_lebs: int
    index_lebs: int
    leb_count: int


class Inode(NamedTuple):
    """The fields of an inode node; times in nanoseconds."""

    size: int
    atime: int
    ctime: int
    mtime: int
    nlink: int
    uid: int
    gid: int
    mode: int
    flags: int
    data: bytes
    """What is kept in the inode: a target, a device number, the value of an extended attribute."""


class Name(NamedTuple):
    """A directory entry, or the entry of an extended attribute. Inode 0: the name was removed."""

    key: int
    inode: int
    name: bytes


class Node(NamedTuple):
    """Where a whole node lies in a stretch of bytes."""

    at: int
    length: int
    kind: int
    group: int
    sequence: int


def checked(raw: bytes | memoryview, kind: int) -> None:
    """Check that `raw` is one whole node of a type.

    Raises:
        Malformed: it is not, or its CRC differs.
    """
    if len(raw) < HEADER.size:
        raise Malformed("no node")
    magic, crc, _, length, type, _ = HEADER.unpack_from(raw)
    if magic != MAGIC or type != kind or length != len(raw):
        raise Malformed(f"no node of type {kind} and {len(raw)} bytes")
    if zlib.crc32(raw[8:]) ^ 0xFFFFFFFF != crc:
        raise Malformed("the CRC-32 of the node differs")


def nodes(data: bytes) -> Iterator[Node]:
    """Yield the whole nodes of a logical eraseblock, or the part of it; what is none is skipped.

    Args:
        data: from a multiple of 8 on.
    """
    at = 0
    view = memoryview(data)
    while at + HEADER.size <= len(data):
        magic, crc, sequence, length, kind, group = HEADER.unpack_from(data, at)
        whole = magic == MAGIC and HEADER.size <= length <= len(data) - at
        if whole and zlib.crc32(view[at + 8 : at + length]) ^ 0xFFFFFFFF == crc:
            yield Node(at, length, kind, group, sequence)
            at += length + -length % 8
            continue
        at = data.find(MAGIC, at + 1)
        while at % 8 and at > 0:
            at = data.find(MAGIC, at + 1)
        if at < 0:
            return


def superblock(raw: bytes) -> Superblock:
    """Decode a checked superblock node."""
    return Superblock(*_SUPERBLOCK.unpack_from(raw))


def master(raw: bytes) -> Master:
    """Decode a checked master node."""
    return Master(*_MASTER.unpack_from(raw))


def inode(raw: bytes) -> Inode:
    """Decode a checked inode node.

    Raises:
        Malformed: its data do not fill it.
    """
    if len(raw) < _INODE.size:
        raise Malformed("inode node too short")
    _, size, atime, ctime, mtime, atime_ns, ctime_ns, mtime_ns, nlink, uid, gid, mode, flags, length, *_ = (
        _INODE.unpack_from(raw)
    )
    if length > len(raw) - _INODE.size:
        raise Malformed(f"inode with {length} bytes of data in a node of {len(raw)}")
    second = 1_000_000_000
    times = (atime * second + atime_ns, ctime * second + ctime_ns, mtime * second + mtime_ns)
    return Inode(size, *times, nlink, uid, gid, mode, flags, raw[_INODE.size : _INODE.size + length])


def name(raw: bytes | memoryview) -> Name:
    """Decode a checked node of a directory entry or of the entry of an extended attribute.

    Raises:
        Malformed: the name does not fill it.
    """
    if len(raw) < _ENTRY.size:
        raise Malformed("entry node too short")
    owner, word, number, kind, length, _ = _ENTRY.unpack_from(raw)
    if not 0 < length <= 255 or len(raw) != _ENTRY.size + length + 1 or raw[-1] or kind > 6:
        raise Malformed(f"entry node of {len(raw)} bytes with a name of {length}")
    return Name(owner << 32 | word, number, bytes(raw[_ENTRY.size : -1]))


def truncation(raw: bytes | memoryview) -> tuple[int, int]:
    """Return inode and new size from a checked truncation node."""
    if len(raw) < _TRUNCATION.size:
        raise Malformed("truncation node too short")
    number, _, size = _TRUNCATION.unpack_from(raw)
    return number, size


def node_key(raw: bytes | memoryview) -> int:
    """Return the key of a node that has one: inode << 32 | type << 29 | hash or block."""
    if len(raw) < 32:
        raise Malformed("node too short for a key")
    number, word = struct.unpack_from("<II", raw, 24)
    return int(number << 32 | word)


def key(inode: int, kind: int, number: int = 0) -> int:
    """Return a key."""
    return inode << 32 | kind << TYPE_SHIFT | number


class _Zstd(threading.local):
    """One decoder for each thread: none may be shared."""

    def __init__(self) -> None:
        self.decoder = zstandard.ZstdDecompressor(max_window_size=1 << 20)


_ZSTD = _Zstd()


def block(raw: bytes | memoryview) -> bytes:
    """Return the bytes of a checked data node, at most 4096.

    Raises:
        Malformed: they do not decode.
        Unsupported: an unknown compression.
    """
    if len(raw) < _DATA.size:
        raise Malformed("data node too short")
    _, _, size, compression, _ = _DATA.unpack_from(raw)
    stored = bytes(raw[_DATA.size :])
    if size > BLOCK:
        raise Malformed(f"data node of {size} bytes")
    try:
        if compression == 0:
            out = stored
        elif compression == 1:
            out = LZOCompressor.decompress(stored, BLOCK)
        elif compression == 2:
            out = inflate(stored, BLOCK + 1, raw=True)
        elif compression == 3:
            # The library allocates what the frame header declares.
            if zstandard.frame_content_size(stored) > BLOCK:
                raise Malformed("a zstd frame declares more than a block")
            out = _ZSTD.decoder.decompress(stored, max_output_size=BLOCK)
        else:
            raise Unsupported(f"compression {compression}")
    except (LZOError, zlib.error, zstandard.ZstdError) as error:
        raise Malformed(f"{COMPRESSIONS[compression]}: {error}") from None
    if len(out) != size:
        raise Malformed(f"data node decodes into {len(out)} bytes, it declares {size}")
    return out
