"""The records of XFS as they lie on disk: superblock, inode, extents, directory blocks, extended attributes.

All numbers are big-endian. Chapters are those of "XFS Algorithms & Data Structures", 3rd edition.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from .base import Malformed, ns

INCOMPATIBLE = {0x1: "ftype", 0x2: "sparse inodes", 0x4: "meta uuid", 0x8: "bigtime", 0x10: "needs repair"}
INCOMPATIBLE |= {0x20: "nrext64", 0x40: "exchange-range", 0x80: "parent"}
NONE = (1 << 64) - 1
"""An inode or block number that stands for nothing."""
DEVICE, LOCAL, EXTENTS, BTREE = range(4)
NAMESPACES = {0: "user.", 2: "trusted.", 4: "security."}
REMOTE = 56
"""Bytes of the header of each block of a symbolic link's target or an attribute's value, in version 5."""


class Superblock(msgspec.Struct, frozen=True, kw_only=True):
    """The superblock's fields that reading needs (chapter 13.1)."""

    block: int
    blocks: int
    uuid: bytes
    log: tuple[int, int]
    root: int
    internal: tuple[int, ...]
    """Inodes that no directory lists: of the realtime section, and quotas."""
    group_blocks: int
    groups: int
    version: int
    sector: int
    inode: int
    label: bytes
    inode_bits: int
    """Bits of an inode number for its place in a block."""
    group_bits: int
    """Bits of a block number for its place in an allocation group."""
    used: int
    directory: int
    """Bytes of a block of a directory."""
    typed: bool
    """Directory entries have a byte for the type."""
    incompatible: int


def parse_superblock(raw: bytes) -> Superblock | None:
    """Return the superblock, or None if it makes no sense as one."""
    if len(raw) < 512 or raw[:4] != b"XFSB":
        return None
    block, blocks = struct.unpack_from(">IQ", raw, 4)
    log, root, bitmap, summary = struct.unpack_from(">4Q", raw, 48)
    group_blocks, groups = struct.unpack_from(">II", raw, 84)
    log_blocks, versions, sector, inode, per_block = struct.unpack_from(">IHHHH", raw, 96)
    block_log, sector_log, inode_log, per_block_log, group_log = raw[120:125]
    inodes, free = struct.unpack_from(">QQ", raw, 128)
    quotas = struct.unpack_from(">QQ", raw, 160)
    version, wide = versions & 15, raw[192]
    features, incompatible = struct.unpack_from(">I12xI", raw, 200)
    project = struct.unpack_from(">Q", raw, 232)[0]
    if version not in (1, 2, 3, 4, 5) or not 9 <= block_log <= 16 or block != 1 << block_log:
        return None
    if not 9 <= sector_log <= 15 or sector != 1 << sector_log or not 8 <= inode_log <= 11 or inode != 1 << inode_log:
        return None
    if inode > block or per_block != block // inode or 1 << per_block_log != per_block:
        return None
    if (
        not group_blocks
        or not groups
        or not 0 < group_log < 32
        or not 1 << group_log - 1 < group_blocks <= 1 << group_log
    ):
        return None
    if not (groups - 1) * group_blocks < blocks <= groups * group_blocks or block_log + wide > 16 or blocks >> 56:
        return None
    internal = {bitmap, summary, *quotas, project if version == 5 else 0} - {0, NONE}
    return Superblock(
        block=block,
        blocks=blocks,
        uuid=raw[32:48],
        log=(log, log_blocks),
        root=root,
        internal=tuple(sorted(internal)),
        group_blocks=group_blocks,
        groups=groups,
        version=version,
        sector=sector,
        inode=inode,
        label=raw[108:120],
        inode_bits=per_block_log,
        group_bits=group_log,
        used=max(0, inodes - free),
        directory=block << wide,
        typed=bool(incompatible & 1) if version == 5 else bool(versions & 0x8000 and features & 0x200),
        incompatible=incompatible if version == 5 else 0,
    )


class Inode(NamedTuple):
    """An inode (chapter 15) with its two forks."""

    number: int
    mode: int
    version: int
    uid: int
    gid: int
    nlink: int
    atime: int
    mtime: int
    ctime: int
    created: int | None
    size: int
    flags: int
    format: int
    extents: int
    fork: bytes
    attribute_format: int
    attribute_extents: int
    attribute_fork: bytes


def parse_inode(number: int, raw: bytes) -> Inode:
    """Return an inode from its record.

    Raises:
        Malformed: it is none.
    """
    if raw[:2] != b"IN" or not 1 <= raw[4] <= 3:
        raise Malformed(f"inode {number} has no magic")
    mode, version, format, old_links, uid, gid, links = struct.unpack_from(">HBBHIII", raw, 2)
    size = struct.unpack_from(">Q", raw, 56)[0]
    count, attributes, offset, attribute_format = struct.unpack_from(">IHBb", raw, 76)
    start, created, flags2 = 100, None, 0
    if version == 3:
        start = 176
        flags2 = struct.unpack_from(">Q", raw, 120)[0]
        if struct.unpack_from(">Q", raw, 152)[0] != number:
            raise Malformed(f"inode {number} says that it is another")
        created = _time(raw, 144, flags2)
    if flags2 & 0x10:
        count, attributes = struct.unpack_from(">Q", raw, 24)[0], count
    middle = start + 8 * offset if offset else len(raw)
    return Inode(
        number,
        mode,
        version,
        uid,
        gid,
        old_links if version == 1 else links,
        _time(raw, 32, flags2),
        _time(raw, 40, flags2),
        _time(raw, 48, flags2),
        created,
        size,
        struct.unpack_from(">H", raw, 90)[0],
        format,
        count,
        raw[start:middle],
        attribute_format,
        attributes,
        raw[middle:],
    )


def _time(raw: bytes, at: int, flags: int) -> int:
    if flags & 8:  # bigtime: nanoseconds since the first second of 32 bits with a sign
        return int(struct.unpack_from(">Q", raw, at)[0]) - (1_000_000_000 << 31)
    return ns(*struct.unpack_from(">iI", raw, at))


def extent_records(data: bytes) -> Iterator[tuple[int, int, int, bool]]:
    """Yield (file block, blocks, volume block, if it was written) of packed extents (chapter 16.1)."""
    for high, low in struct.iter_unpack(">QQ", data[: len(data) // 16 * 16]):
        yield (high & (1 << 63) - 1) >> 9, low & 0x1FFFFF, (high & 0x1FF) << 43 | low >> 21, not high >> 63


def short_directory(data: bytes, typed: bool) -> Iterator[tuple[int, bytes]]:
    """Yield (inode, name) of a directory that lies in its inode (chapter 17.1).

    Raises:
        Malformed: it is cut off.
    """
    if len(data) < 6:
        raise Malformed("a directory in its inode is cut off")
    count, wide = data[0], 8 if data[1] else 4
    at = 2 + wide
    for _ in range(count or data[1]):
        end = at + 3 + (data[at] if at < len(data) else 0) + typed + wide
        if end > len(data):
            raise Malformed("a directory in its inode is cut off")
        yield int.from_bytes(data[end - wide : end], "big"), data[at + 3 : end - wide - typed]
        at = end


def directory_block(data: bytes, typed: bool) -> Iterator[tuple[int, bytes]]:
    """Yield (inode, name) of one block of a directory (chapters 17.2 and 17.3), without '.' and '..'.

    Raises:
        Malformed: it breaks the format; what came before was right.
    """
    magic, end = data[:4], len(data)
    if magic not in (b"XD2B", b"XD2D", b"XDB3", b"XDD3"):
        raise Malformed(f"a directory's block has the magic {magic.hex()}")
    at = 64 if magic[3:] == b"3" else 16
    if magic[2:3] == b"B" or magic == b"XD2B":
        end -= 8 + 8 * int.from_bytes(data[-8:-4], "big")
    while at < end:
        if data[at : at + 2] == b"\xff\xff":
            length = int.from_bytes(data[at + 2 : at + 4], "big")
        else:
            size = data[at + 8] if at + 9 <= end else 0
            length = 8 + 1 + size + typed + 2 + 7 & ~7
            if not size or at + length > end:
                raise Malformed(f"a directory's entry at {at} of {end} with a name of {size}")
            name = data[at + 9 : at + 9 + size]
            if name not in (b".", b".."):
                yield int.from_bytes(data[at : at + 8], "big"), name
        if length < 8 or length & 7:
            raise Malformed(f"unused bytes of a directory: {length} at {at} of {end}")
        at += length


def attribute_name(flags: int, raw: bytes) -> str:
    """Return an attribute's name with its namespace."""
    return NAMESPACES.get(flags & 0x7E, f"{flags & 0x7E:#x}.") + raw.decode("utf-8", "backslashreplace")


def short_attributes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (name, value) of attributes that lie in the inode (chapter 18.1).

    Raises:
        Malformed: they are cut off.
    """
    at = 4
    for _ in range(data[2] if len(data) > 4 else 0):
        if at + 3 > len(data) or at + 3 + data[at] + data[at + 1] > len(data):
            raise Malformed("attributes in the inode are cut off")
        middle = at + 3 + data[at]
        yield attribute_name(data[at + 2], data[at + 3 : middle]), data[middle : middle + data[at + 1]]
        at = middle + data[at + 1]


def attribute_leaf(data: bytes) -> Iterator[tuple[str, bytes, tuple[int, int] | None]]:
    """Yield (name, value, None) or (name, nothing, (block, length) of the value) of a leaf (chapter 18.2).

    Raises:
        Malformed: it breaks the format.
    """
    at, start = (56, 80) if data[8:10] == b"\x3b\xee" else (12, 32)
    count = int.from_bytes(data[at : at + 2], "big")
    if start + 8 * count > len(data):
        raise Malformed(f"{count} attributes in a block")
    for index in range(count):
        place, flags = struct.unpack_from(">4xHB", data, start + 8 * index)
        if flags & 0x80:  # being written
            continue
        if place + 9 > len(data):
            raise Malformed("an attribute is cut off")
        if flags & 1:
            length, size = struct.unpack_from(">HB", data, place)
            name = place + 3
            if name + size + length > len(data):
                raise Malformed("an attribute is cut off")
            yield attribute_name(flags, data[name : name + size]), data[name + size : name + size + length], None
        else:
            block, length, size = struct.unpack_from(">IIB", data, place)
            yield attribute_name(flags, data[place + 9 : place + 9 + size]), b"", (block, length)
