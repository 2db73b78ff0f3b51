"""The tables of a squashfs image: inodes, directories, owners, fragments, extended attributes.

Tables are cut in metadata blocks of 8 KiB, each stored alone after a 16-bit length. An inode is named by a reference:
the position of its metadata block in the inode table, shifted left by 16, plus the offset in the decoded block.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from .base import LimitReached, Limits, Malformed, Source, UnpackError, Unsupported
from .squashfs_blocks import COMPRESSORS, METADATA, Compressor, Metadata, others, told
from .squashfs_inodes import LAYOUTS, NONE32, TYPES, Inode, number
from .squashfs_superblock import FLAGS, NONE64, Order, Superblock

PLAIN = 1 << 24
"""Bit of a block's size word: stored as it is."""
XATTRS = 1 << 20
"""Most bytes of extended attributes read for one inode (Linux allows 64 KiB in a value and in a list of names)."""
PREFIXES = ("user.", "trusted.", "security.")
PROOF = 1000
"""Most names of the root directory that are looked at to tell whether a compressor is the right one."""


class Tables:
    """All tables of one image, decoded where they are asked for.

    Args:
        source: the image.
        head: its superblock.
        compressor: how its blocks are stored.
        limits: a quarter of `metadata_bytes` is kept of each table at most.
        lengths: byte order of the metadata blocks' lengths; AVM's big-endian images have them in little endian.
    """

    def __init__(
        self, source: Source, head: Superblock, compressor: Compressor, limits: Limits, lengths: Order | None = None
    ) -> None:
        self.source = source
        self.head = head
        self.compressor = compressor
        self.limits = limits
        self.lengths: Order = lengths or head.order
        self.layout = LAYOUTS[head.major]
        self.room = limits.metadata_bytes // 4
        self.inodes = self._blocks(head.inode_table)
        self.directories = self._blocks(head.directory_table)
        self.lookups = self._blocks(0)
        self.options = self._blocks(0)
        self.pairs: Metadata | None = None
        self._pointer = struct.Struct(head.order + ("I" if head.major < 3 else "Q"))
        self._fragment = struct.Struct(head.order + ("II" if head.major < 3 else "QI4x"))
        self._attributes: dict[int, dict[str, bytes]] = {}
        self._attributes_room = self.room

    def _blocks(self, base: int) -> Metadata:
        length, checked = self.lengths + "H", self.head.checked
        return Metadata(self.source, base, self.compressor, self.room, length, checked=checked)

    def option_fields(self) -> dict[str, str | int]:
        """Return the fields of the compressor options block; none if there is no such block or it cannot be read."""
        if self.head.major < 4 or not self.head.flags & FLAGS["compressor-options"]:
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
        inode = self.layout.inode(self.head.order, self.inodes.read, reference >> 16, reference & 0xFFFF)
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
        layout, order = self.layout, self.head.order
        if inode.size <= layout.dots:
            return
        header, row = struct.Struct(order + layout.run), struct.Struct(order + layout.row)
        head, before = header.size, row.size
        mask = 0x1FFF if layout.bits else 0xFFFF
        shift = 3 if layout.bits and order == ">" else 0
        data, at, left, block = b"", 0, 0, 0
        for piece in self.directories.pieces(inode.start, inode.offset, inode.size - layout.dots):
            data, at = data[at:] + piece, 0
            while True:
                if not left:
                    if len(data) - at < head:
                        break
                    left, block = header.unpack_from(data, at)
                    if isinstance(block, bytes):
                        block = number(order, block)
                    at += head
                    left += 1
                    if left > 256:
                        raise Malformed(f"a run of {left} names, at most 256 are allowed")
                if len(data) - at < before:
                    break
                offset, length = row.unpack_from(data, at)
                end = at + before + 1 + length
                if end > len(data):
                    if length > 255:
                        raise Malformed(f"a name of {length + 1} bytes")
                    break
                yield block << 16 | offset >> shift & mask, data[at + before : end]
                at = end
                left -= 1
        if left or at != len(data):
            raise Malformed("the listing ends in the middle of an entry")

    def words(self, reference: int, inode: Inode) -> Iterator[tuple[int, ...]]:
        """Yield a file's block list in portions of up to 2048 size words."""
        rest = b""
        offset = (reference & 0xFFFF) + inode.rest
        order, form = self.head.order, self.layout.word
        width = struct.calcsize(order + form)
        for piece in self.inodes.pieces(reference >> 16, offset, width * inode.blocks):
            data = rest + piece
            count = len(data) // width
            rest = data[width * count :]
            words = struct.unpack_from(f"{order}{count}{form}", data)
            if width == 2:  # the highest bit marks what is stored as it is; alone, a block of 32 KiB
                words = tuple((word & 0x7FFF or word) | (word >> 15) * PLAIN for word in words)
            for word in words:
                if word & ~PLAIN > self.head.block_size:
                    raise Malformed(f"a stored block of {word & ~PLAIN} bytes, blocks have {self.head.block_size}")
            yield words

    def owners(self) -> tuple[list[int], list[int]]:
        """Return the user and the group numbers that inodes refer to by index; from version 4 on they are one list.

        Raises:
            UnpackError: the table cannot be read.
        """
        head = self.head
        if head.major < 4:
            return self._plain(head.id_table, head.ids), self._plain(head.group_table, head.groups)
        data = b"".join(self._lookup(head.id_table, first, 4, 2048) for first in range(0, head.ids, 2048))
        found = [number for (number,) in struct.iter_unpack(head.order + "I", data)][: head.ids]
        return found, found

    def _plain(self, table: int, count: int) -> list[int]:
        return list(struct.unpack(f"{self.head.order}{count}I", self.source.exactly(table, 4 * count))) if count else []

    def _lookup(self, table: int, index: int, size: int, count: int = 1) -> bytes:
        """Return records of a table reached through a list of block positions; fewer than `count` at a block's end."""
        block, offset = divmod(index * size, METADATA)
        pointer = self._pointer
        (start,) = pointer.unpack(self.source.exactly(table + pointer.size * block, pointer.size))
        data = self.lookups.block(start)[0][offset : offset + size * count]
        if len(data) < size:
            raise Malformed(f"table at offset {table} ends before record {index}")
        return data[: len(data) // size * size]

    def fragment(self, index: int) -> tuple[int, int]:
        """Return position and size word of a fragment block."""
        if index >= self.head.fragments:
            raise Malformed(f"fragment {index} of {self.head.fragments}")
        record = self._fragment
        start, word = record.unpack(self._lookup(self.head.fragment_table, index, record.size))
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
        table, order = self.head.xattr_table, self.head.order
        if table == NONE64:
            raise Malformed("the image has no table of them")
        if self.pairs is None:
            (base,) = struct.unpack(order + "Q", self.source.exactly(table, 8))
            self.pairs = self._blocks(base)
        where, count, _ = struct.unpack(order + "QII", self._lookup(table + 16, index, 16))
        start, offset = where >> 16, where & 0xFFFF
        found = {}
        room = XATTRS
        for _ in range(count):
            kind, start, offset, name = self._counted(start, offset, order + "HH")
            _, start, offset, value = self._counted(start, offset, order + "I")
            if kind & 0x100:
                if len(value) != 8:
                    raise Malformed(f"a reference of {len(value)} bytes to a value")
                (where,) = struct.unpack(order + "Q", value)
                _, _, _, value = self._counted(where >> 16, where & 0xFFFF, order + "I")
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
        record = self._fragment
        step = METADATA // record.size
        for first in range(0, min(self.head.fragments, self.limits.metadata_bytes // record.size), step):
            try:
                records = self._lookup(self.head.fragment_table, first, record.size, step)
            except UnpackError:
                return
            for start, word in record.iter_unpack(records):
                yield start, start + (word & ~PLAIN)

    def spans(self) -> dict[str, list[tuple[int, int]]]:
        """Return (begin, end) of the parts of each table: those decoded, or that the table's list of blocks names."""
        head = self.head
        parts = {
            "superblock": [(0, head.size)],
            "compressor options": self.options.spans(),
            "inode table": self.inodes.spans(),
            "directory table": self.directories.spans(),
            "fragment table": self._table(head.fragment_table, self._fragment.size * head.fragments),
            "export table": self._table(head.export_table, 8 * head.inodes),
        }
        if head.major < 4:
            parts["uid table"] = [(head.id_table, head.id_table + 4 * head.ids)]
            parts["gid table"] = [(head.group_table, head.group_table + 4 * head.groups)]
            return parts
        parts["id table"] = self._table(head.id_table, 4 * head.ids)
        record = self.source.pread(head.xattr_table, 16)
        if len(record) == 16:
            _, count, _ = struct.unpack(head.order + "QII", record)
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
        pointer, header = self._pointer, 3 if self.head.checked else 2
        positions = self.source.pread(table, pointer.size * count)
        positions = positions[: len(positions) // pointer.size * pointer.size]
        spans = [(table, table + len(positions))]
        for (start,) in pointer.iter_unpack(positions):
            word = self.source.pread(start, 2)
            stored = number(self.lengths, word) & 0x7FFF
            if len(word) == 2 and stored <= METADATA:
                spans.append((start, start + header + stored))
        return spans

    def sample(self) -> bytes:
        """Return a compressed block as it is stored, of those that `proved` decodes; empty if there is none."""
        for table, start in ((self.inodes, self.head.root >> 16), (self.inodes, 0), (self.directories, 0)):
            try:
                stored, compressed = table.stored(start)
            except UnpackError:
                continue
            if compressed:
                return bytes(stored)
        return b""

    def proved(self, *, names: bool) -> bool:
        """Tell whether the compressor explains the tables: inodes decode, and if `names` so does the root directory."""
        inodes = self.head.directory_table - self.head.inode_table
        try:
            root = self.inode(self.head.root)
            self.inode(0)
            listed = islice(self.names(self.head.root), PROOF if names else 0)
            sound = all(at >> 16 < inodes and b"/" not in name and b"\0" not in name for at, name in listed)
        except UnpackError:
            return False
        foreign = (self.inodes.first or self.directories.first) == self.compressor.guest
        return TYPES[root.kind] == "directory" and sound and not foreign


def find(source: Source, head: Superblock, limits: Limits) -> tuple[Tables, bool]:
    """Return the tables of an image by the first compressor that explains them, and whether any does.

    What the superblock tells is believed if inodes decode, any other only if the names in the root directory do too.

    Raises:
        Unsupported: none does, and the superblock names one that does not exist.
    """
    orders: list[Order] = [">", "<"] if head.order == ">" and head.major == 4 else [head.order]
    first = told(head.compressor)
    for order in orders:
        tables = Tables(source, head, first or COMPRESSORS[1], limits, order)
        if first and tables.proved(names=False):
            return tables, True
        if sample := tables.sample():
            for compressor in others(first, sample):
                tables = Tables(source, head, compressor, limits, order)
                if tables.proved(names=True):
                    return tables, True
    if first is None:
        raise Unsupported(f"compressor {head.compressor}")
    return Tables(source, head, first, limits, orders[0]), False
