"""The superblock of squashfs, in every version and byte order.

Versions 1 to 3 share their first 51 bytes; version 2 adds 12, version 3 another 56, and repeats in 64 bits what the
first part has in 32. Version 4 begins anew, with 96 bytes. The version lies at offset 28 in all of them, and tells the
byte order better than the magic, which vendors change.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from .base import Malformed, NotThisFormat, Unsupported

NONE64 = 0xFFFFFFFFFFFFFFFF
MAGICS = (b"hsqs", b"sqsh", b"shsq", b"qshs", b"hsqt", b"tqsh", b"zlqs", b"sqlz")
"""The kernel's two, and those of vendors in both byte orders: of LZMA patches and Broadcom, of DD-WRT, of others."""
HEAD = 119
"""Bytes of the longest superblock."""
_VERSIONS = {(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (4, 0)}
_OLD = "4s6I4H3BIQ"
_SECOND = _OLD + "3I"
_THIRD = _SECOND + "7Q"
_FOURTH = "4s4I6H8Q"

Order = Literal["<", ">"]

FLAGS = {
    "uncompressed-inodes": 0x1,
    "uncompressed-data": 0x2,
    "check-bytes": 0x4,
    "uncompressed-fragments": 0x8,
    "no-fragments": 0x10,
    "always-fragments": 0x20,
    "duplicates": 0x40,
    "exportable": 0x80,
    "uncompressed-xattrs": 0x100,
    "no-xattrs": 0x200,
    "compressor-options": 0x400,
    "uncompressed-ids": 0x800,
}


class Superblock(msgspec.Struct, kw_only=True):
    """What the superblocks of all versions state; positions are absolute, `NONE64` where there is no such table."""

    order: Order
    magic: bytes
    size: int
    """Bytes of the superblock itself."""
    major: int
    minor: int
    inodes: int
    mtime: int
    block_size: int
    block_log: int
    flags: int
    root: int
    bytes_used: int
    inode_table: int
    directory_table: int
    id_table: int
    """Version 4: of users and groups, in metadata blocks; before: of users, as it is."""
    ids: int
    group_table: int = NONE64
    groups: int = 0
    fragments: int = 0
    fragment_table: int = NONE64
    export_table: int = NONE64
    xattr_table: int = NONE64
    compressor: int | None = None
    """Number of the compressor; None before version 4, which knows zlib only."""

    @property
    def checked(self) -> bool:
        """A check byte follows the length of each metadata block (versions 1 to 3 only)."""
        return self.major < 4 and self.flags & FLAGS["check-bytes"] > 0

    @property
    def timed(self) -> bool:
        """The time is one: AVM's big-endian images repeat the bytes used in its place."""
        return not (self.major == 4 and self.order == ">" and self.mtime == self.bytes_used)


def parse(data: bytes) -> Superblock:
    """Return the superblock in the first bytes (`HEAD` of them, fewer at the end of the source).

    Raises:
        NotThisFormat: there is none.
        Unsupported: of a version that does not exist.
        Malformed: sizes that no version allows.
    """
    if len(data) < 51 or data[:4] not in MAGICS:
        raise NotThisFormat
    order: Order = "<" if 1 <= int.from_bytes(data[28:30], "little") <= 4 else ">"
    major, minor = struct.unpack_from(order + "HH", data, 28)
    if not 1 <= major <= 4:
        raise NotThisFormat
    if (major, minor) not in _VERSIONS:
        raise Unsupported(f"squashfs {major}.{minor}{', big endian' if order == '>' else ''}")
    if len(data) < struct.calcsize(order + {1: _OLD, 2: _SECOND, 3: _THIRD, 4: _FOURTH}[major]):
        raise NotThisFormat
    head = _fourth(order, data) if major == 4 else _old(order, major, data)
    # Version 1 has no block list entry for more than 32 KiB; none since has had blocks of more than 1 MiB.
    if not (12 if major == 4 else 9) <= head.block_log <= 20 or head.block_size != 1 << head.block_log:
        raise Malformed(f"block size {head.block_size}, its logarithm {head.block_log}")
    if head.bytes_used < head.size:
        raise Malformed(f"{head.bytes_used} bytes used")
    return head


def _fourth(order: Order, data: bytes) -> Superblock:
    (magic, inodes, mtime, block_size, fragments, compressor, block_log, flags, ids, major, minor, root, bytes_used,
     id_table, xattr_table, inode_table, directory_table, fragment_table, export_table) = struct.unpack_from(
        order + _FOURTH, data
    )  # fmt: skip
    return Superblock(
        order=order, magic=magic, size=96, major=major, minor=minor, inodes=inodes, mtime=mtime, block_size=block_size,
        block_log=block_log, flags=flags, root=root, bytes_used=bytes_used, inode_table=inode_table,
        directory_table=directory_table, id_table=id_table, ids=ids, fragments=fragments, fragment_table=fragment_table,
        export_table=export_table, xattr_table=xattr_table, compressor=compressor,
    )  # fmt: skip


def _old(order: Order, major: int, data: bytes) -> Superblock:
    (magic, inodes, bytes_used, user_table, group_table, inode_table, directory_table, _, minor, block_size, block_log,
     flags, users, groups, mtime, root) = struct.unpack_from(order + _OLD, data)  # fmt: skip
    head = Superblock(
        order=order, magic=magic, size=51, major=major, minor=minor, inodes=inodes, mtime=mtime, block_size=block_size,
        block_log=block_log, flags=flags, root=root, bytes_used=bytes_used, inode_table=inode_table,
        directory_table=directory_table, id_table=user_table, ids=users, group_table=group_table, groups=groups,
    )  # fmt: skip
    if major == 1:
        return head
    head.size = 63
    head.block_size, head.fragments, head.fragment_table = struct.unpack_from(order + "3I", data, 51)
    if major == 2:
        return head
    head.size = 119
    (head.bytes_used, head.id_table, head.group_table, head.inode_table, head.directory_table, head.fragment_table,
     lookup) = struct.unpack_from(order + "7Q", data, 63)  # fmt: skip
    if flags & FLAGS["exportable"]:
        head.export_table = lookup
    return head
