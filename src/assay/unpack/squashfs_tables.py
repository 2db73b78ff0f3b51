"""The tables of a squashfs image: superblock, inodes, directories, owners, fragments, extended attributes.

Tables are cut in metadata blocks of 8 KiB, each stored alone after a 16-bit length. An inode is named by a reference:
the position of its metadata block in the inode table, shifted left by 16, plus the offset in the decoded block.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from .base import EntryType, LimitReached, Limits, Malformed, Source, UnpackError
from .squashfs_blocks import METADATA, Compressor, Metadata

SUPERBLOCK = struct.Struct("<4s4I6H8Q")
NONE32 = 0xFFFFFFFF
NONE64 = 0xFFFFFFFFFFFFFFFF
PLAIN = 1 << 24
"""Bit of a block's size word: stored as it is."""
TARGET = 65535
"""Most bytes of a symbolic link's target that are read (Linux allows 4095)."""
XATTRS = 1 << 20
"""Most bytes of extended attributes read for one inode (Linux allows 64 KiB in a value and in a list of names)."""
TYPES: dict[int, EntryType] = {
    1: "directory",
    2: "regular",
    3: "symlink",
    4: "blockdev",
    5: "chardev",
    6: "fifo",
    7: "socket",
}
FLAGS = {
    "uncompressed-inodes": 0x1,
    "uncompressed-data": 0x2,
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
PREFIXES = ("user.", "trusted.", "security.")


class Superblock(msgspec.Struct):
    """The superblock after its magic, in the order of its fields."""

    inodes: int
    mtime: int
    block_size: int
    fragments: int
    compressor: int
    block_log: int
    flags: int
    ids: int
    major: int
    minor: int
    root: int
    bytes_used: int
    id_table: int
    xattr_table: int
    inode_table: int
    directory_table: int
    fragment_table: int
    export_table: int


class Inode(msgspec.Struct):
    """What all inode types have, and what some have."""

    kind: int
    """1 to 7, as in `TYPES`; 8 to 14 are the extended forms of these and are folded in."""
    mode: int
    uid: int
    gid: int
    mtime: int
    number: int
    nlink: int = 1
    size: int = 0
    start: int = 0
    """First data block (absolute), or directory block (in its table)."""
    fragment: int = NONE32
    offset: int = 0
    """In the fragment block, or in the directory block."""
    device: int = 0
    xattr: int = NONE32
    blocks: int = 0
    """Words in the block list."""
    rest: int = 0
    """Bytes from the inode's start to what follows its fixed part: block list or link target."""


class Tables:
    """All tables of one image, decoded where they are asked for.

    Args:
        source: the image.
        head: its superblock.
        compressor: how its blocks are stored.
        limits: a quarter of `metadata_bytes` is kept of each table at most.
    """

    def __init__(self, source: Source, head: Superblock, compressor: Compressor, limits: Limits) -> None:
        self.source = source
        self.head = head
        self.compressor = compressor
        self.limits = limits
        self.room = limits.metadata_bytes // 4
        self.inodes = Metadata(source, head.inode_table, compressor, self.room)
        self.directories = Metadata(source, head.directory_table, compressor, self.room)
        self.lookups = Metadata(source, 0, compressor, self.room)
        self.options = Metadata(source, 0, compressor, 0)
        self.pairs: Metadata | None = None
        self._attributes: dict[int, dict[str, bytes]] = {}
        self._attributes_room = self.room

    def option_fields(self) -> dict[str, str | int]:
        """Return the fields of the compressor options block; none if there is no such block or it cannot be read."""
        if not self.head.flags & FLAGS["compressor-options"]:
            return {}
        try:
            return {
                f"option_{name}": value for name, value in self.compressor.options(self.options.block(96)[0]).items()
            }
        except UnpackError:
            return {}

    def inode(self, reference: int) -> Inode:
        """Return the inode at a reference.

        Raises:
            UnpackError: there is none that can be read.
        """
        start, offset = reference >> 16, reference & 0xFFFF
        read = self.inodes.read
        kind, mode, uid, gid, mtime, number = struct.unpack("<HHHHII", read(start, offset, 16))
        inode = Inode(kind, mode, uid, gid, mtime, number)
        offset += 16
        match kind:
            case 2:
                inode.start, inode.fragment, inode.offset, inode.size = struct.unpack("<IIII", read(start, offset, 16))
                inode.rest = 32
            case 1:
                inode.start, inode.nlink, inode.size, inode.offset = struct.unpack("<IIHH", read(start, offset, 12))
            case 3 | 10:
                inode.nlink, inode.size = struct.unpack("<II", read(start, offset, 8))
                inode.rest = 24
                if inode.size > TARGET:
                    raise Malformed(f"symbolic link of {inode.size} bytes")
                if kind == 10:
                    (inode.xattr,) = struct.unpack("<I", read(start, offset + 8 + inode.size, 4))
            case 4 | 5:
                inode.nlink, inode.device = struct.unpack("<II", read(start, offset, 8))
            case 6 | 7:
                (inode.nlink,) = struct.unpack("<I", read(start, offset, 4))
            case 8:
                inode.nlink, inode.size, inode.start, _, _, inode.offset, inode.xattr = struct.unpack(
                    "<IIIIHHI", read(start, offset, 24)
                )
            case 9:
                inode.start, inode.size, _, inode.nlink, inode.fragment, inode.offset, inode.xattr = struct.unpack(
                    "<QQQIIII", read(start, offset, 40)
                )
                inode.rest = 56
            case 11 | 12:
                inode.nlink, inode.device, inode.xattr = struct.unpack("<III", read(start, offset, 12))
            case 13 | 14:
                inode.nlink, inode.xattr = struct.unpack("<II", read(start, offset, 8))
            case _:
                raise Malformed(f"type {kind} at reference {reference:#x}")
        if kind > 7:
            inode.kind -= 7
        if inode.kind == 2:
            whole, tail = divmod(inode.size, self.head.block_size)
            inode.blocks = whole + (tail > 0 and inode.fragment == NONE32)
        return inode

    def names(self, reference: int) -> Iterator[tuple[int, bytes]]:
        """Yield (reference, name) of what a directory lists.

        Raises:
            UnpackError: the listing cannot be read on.
        """
        inode = self.inode(reference)
        if inode.size <= 3:  # the size counts '.' and '..' as three bytes
            return
        data, at, left, block = b"", 0, 0, 0
        for piece in self.directories.pieces(inode.start, inode.offset, inode.size - 3):
            data, at = data[at:] + piece, 0
            while True:
                if not left:
                    if len(data) - at < 12:
                        break
                    left, block, _ = struct.unpack_from("<III", data, at)
                    at += 12
                    left += 1
                    if left > 256:
                        raise Malformed(f"a run of {left} names, at most 256 are allowed")
                if len(data) - at < 8:
                    break
                offset, _, _, length = struct.unpack_from("<HhHH", data, at)
                end = at + 9 + length
                if end > len(data):
                    if length > 255:
                        raise Malformed(f"a name of {length + 1} bytes")
                    break
                yield block << 16 | offset, data[at + 8 : end]
                at = end
                left -= 1
        if left or at != len(data):
            raise Malformed("the listing ends in the middle of an entry")

    def words(self, reference: int, inode: Inode) -> Iterator[tuple[int, ...]]:
        """Yield a file's block list in portions of up to 2048 size words."""
        rest = b""
        offset = (reference & 0xFFFF) + inode.rest
        for piece in self.inodes.pieces(reference >> 16, offset, 4 * inode.blocks):
            data = rest + piece
            count = len(data) // 4
            rest = data[4 * count :]
            words = struct.unpack_from(f"<{count}I", data)
            for word in words:
                if word & ~PLAIN > self.head.block_size:
                    raise Malformed(f"a stored block of {word & ~PLAIN} bytes, blocks have {self.head.block_size}")
            yield words

    def owners(self) -> list[int]:
        """Return the user and group numbers that inodes refer to by index.

        Raises:
            UnpackError: the table cannot be read.
        """
        data = b"".join(self._lookup(self.head.id_table, first, 4, 2048) for first in range(0, self.head.ids, 2048))
        return [number for (number,) in struct.iter_unpack("<I", data)][: self.head.ids]

    def _lookup(self, table: int, index: int, size: int, count: int = 1) -> bytes:
        """Return records of a table reached through a list of block positions; fewer than `count` at a block's end."""
        block, offset = divmod(index * size, METADATA)
        (start,) = struct.unpack("<Q", self.source.exactly(table + 8 * block, 8))
        data = self.lookups.block(start)[0][offset : offset + size * count]
        if len(data) < size:
            raise Malformed(f"table at offset {table} ends before record {index}")
        return data[: len(data) // size * size]

    def fragment(self, index: int) -> tuple[int, int]:
        """Return position and size word of a fragment block."""
        if index >= self.head.fragments:
            raise Malformed(f"fragment {index} of {self.head.fragments}")
        start, word, _ = struct.unpack("<QII", self._lookup(self.head.fragment_table, index, 16))
        if not 0 < word & ~PLAIN <= self.head.block_size:
            raise Malformed(f"fragment {index} is stored in {word & ~PLAIN} bytes")
        return start, word

    def attributes(self, index: int) -> dict[str, bytes]:
        """Return the extended attributes that an inode refers to by index.

        Raises:
            UnpackError: they cannot be read.
            LimitReached: `metadata_bytes`, counted over all that were read.
        """
        found = self._attributes.get(index)
        if found is not None:
            return found
        if self._attributes_room < 0:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        table = self.head.xattr_table
        if table == NONE64:
            raise Malformed("the image has no table of them")
        if self.pairs is None:
            (base,) = struct.unpack("<Q", self.source.exactly(table, 8))
            self.pairs = Metadata(self.source, base, self.compressor, self.room)
        where, count, _ = struct.unpack("<QII", self._lookup(table + 16, index, 16))
        start, offset = where >> 16, where & 0xFFFF
        found = {}
        room = XATTRS
        for _ in range(count):
            kind, start, offset, name = self._counted(start, offset, "<HH")
            _, start, offset, value = self._counted(start, offset, "<I")
            if kind & 0x100:
                if len(value) != 8:
                    raise Malformed(f"a reference of {len(value)} bytes to a value")
                (where,) = struct.unpack("<Q", value)
                _, _, _, value = self._counted(where >> 16, where & 0xFFFF, "<I")
            spent = 16 + len(name) + len(value)
            self._attributes_room -= spent
            room -= spent
            if room < 0:
                raise Malformed(f"more than {XATTRS} bytes of them")
            if kind & 0xFF >= len(PREFIXES):
                raise Malformed(f"namespace {kind & 0xFF}")
            found[PREFIXES[kind & 0xFF] + name.decode("utf-8", "backslashreplace")] = value
        self._attributes[index] = found
        return found

    def _counted(self, start: int, offset: int, layout: str) -> tuple[int, int, int, bytes]:
        """Return the first number of a record that ends in its length, the place after it, and its bytes."""
        assert self.pairs is not None
        start, offset = self.pairs.seek(start, offset)
        size = struct.calcsize(layout)
        *kind, length = struct.unpack(layout, self.pairs.read(start, offset, size))
        if length > XATTRS:
            raise Malformed(f"an attribute of {length} bytes")
        return kind[0] if kind else 0, start, offset + size + length, self.pairs.read(start, offset + size, length)

    def fragments(self) -> Iterator[tuple[int, int]]:
        """Yield (begin, end) of the fragment blocks, as far as their table can be read."""
        for first in range(0, min(self.head.fragments, self.limits.metadata_bytes // 16), 512):
            try:
                records = self._lookup(self.head.fragment_table, first, 16, 512)
            except UnpackError:
                return
            for start, word, _ in struct.iter_unpack("<QII", records):
                yield start, start + (word & ~PLAIN)

    def spans(self) -> dict[str, list[tuple[int, int]]]:
        """Return (begin, end) of the parts of each table: those decoded, or that the table's list of blocks names."""
        head = self.head
        parts = {
            "superblock": [(0, SUPERBLOCK.size)],
            "compressor options": self.options.spans(),
            "inode table": self.inodes.spans(),
            "directory table": self.directories.spans(),
            "fragment table": self._table(head.fragment_table, 16 * head.fragments),
            "export table": self._table(head.export_table, 8 * head.inodes),
            "id table": self._table(head.id_table, 4 * head.ids),
        }
        record = self.source.pread(head.xattr_table, 16)
        if len(record) == 16:
            _, count, _ = struct.unpack("<QII", record)
            parts["xattr table"] = [
                (head.xattr_table, head.xattr_table + 16),
                *self._table(head.xattr_table + 16, 16 * count),
                *(self.pairs.spans() if self.pairs else ()),
            ]
        return parts

    def _table(self, table: int, length: int) -> list[tuple[int, int]]:
        """Return the stretches of a list of block positions and of the blocks, without decoding them."""
        if table == NONE64:
            return []
        count = min(-(-length // METADATA), self.limits.metadata_bytes // METADATA)
        positions = self.source.pread(table, 8 * count)
        positions = positions[: len(positions) // 8 * 8]
        spans = [(table, table + len(positions))]
        for (start,) in struct.iter_unpack("<Q", positions):
            word = self.source.pread(start, 2)
            stored = int.from_bytes(word, "little") & 0x7FFF
            if len(word) == 2 and stored <= METADATA:
                spans.append((start, start + 2 + stored))
        return spans
