"""An ext2, ext3 or ext4 volume: groups, inodes, block maps, contents of files and directories.

The volume is cut in groups of blocks; a descriptor of each group says where its part of the inode table lies. Inode n
is record (n - 1) of that table. A file's blocks are found through a tree of extents, or through direct and indirect
block numbers, both rooted in 60 bytes of the inode; a short file or directory may lie in the inode itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .base import CHUNK, LimitReached, Limits, Malformed, Source, Truncated
from .ext_structures import (
    EA_INODE,
    EXTENTS,
    INLINE,
    INLINE_DATA,
    XATTR_MAGIC,
    Inode,
    Superblock,
    attribute_records,
    directory_records,
    parse_inode,
)

Run = tuple[int, int, int, bool]
"""First block in the file, number of blocks, first block in the volume, and whether they have been written."""

ZEROS = bytes(CHUNK)


class Volume:
    """An ext file system, read in place.

    Args:
        source: the image.
        head: its superblock.
        limits: `metadata_bytes` bounds the group descriptors and, in one listing, values of attributes kept in inodes
            of their own.
    """

    def __init__(self, source: Source, head: Superblock, limits: Limits) -> None:
        self.source = source
        self.head = head
        self.limits = limits
        # Both numbers are claims; neither may be believed beyond the other.
        by_blocks = -(-(head.blocks - head.first_block) // head.group_blocks)
        self.groups = min(by_blocks, -(-head.inodes // head.group_inodes))
        self.descriptors = self._descriptors()
        self.values_room = limits.metadata_bytes
        self.directory_room = 0
        self.value_inodes: set[int] = set()
        """Inodes found to hold the value of an extended attribute."""

    # Groups

    def has_superblock(self, group: int) -> bool:
        """Tell whether a group begins with a copy of superblock and descriptors."""
        head = self.head
        if group == 0:
            return True
        if head.compat & 0x200:
            return group in head.backups
        if group == 1 or not head.ro_compat & 0x1:
            return True
        for base in (3, 5, 7):
            power = base
            while power < group:
                power *= base
            if power == group:
                return True
        return False

    def group_start(self, group: int) -> int:
        """Return the first block of a group."""
        return self.head.first_block + group * self.head.group_blocks

    def descriptor_blocks(self) -> Iterator[tuple[int, int]]:
        """Yield (first block, blocks) of the group descriptors in use, in order."""
        head = self.head
        each = head.block_size // head.descriptor_size
        total = -(-self.groups // each)
        plain = min(total, head.first_meta_group) if head.incompat & 0x10 else total
        # With 1 KiB blocks and first block 0 (bigalloc) the superblock is in block 1 all the same.
        first = 2 if head.block_size == 1024 and head.first_block == 0 else head.first_block + 1
        if plain:
            yield first, plain
        for index in range(plain, total):
            group = index * each
            yield self.group_start(group) + self.has_superblock(group) if group else first, 1

    def _descriptors(self) -> bytes:
        size = self.head.block_size
        room = min(self.limits.metadata_bytes, self.groups * self.head.descriptor_size)
        parts = []
        for first, count in self.descriptor_blocks():
            part = self.source.pread(first * size, min(count * size, room))
            parts.append(part)
            room -= len(part)
            if len(part) < size or room <= 0:
                break
        return b"".join(parts)

    def group(self, group: int) -> tuple[int, int, int, int]:
        """Return block bitmap, inode bitmap, inode table (block numbers) and number of free inodes of a group.

        Raises:
            Truncated: its descriptor is not there.
        """
        size = self.head.descriptor_size
        record = self.descriptors[group * size : (group + 1) * size]
        if len(record) < size:
            raise Truncated(f"descriptor of group {group} of {self.groups} is missing")
        blocks, inodes, table, _, free = struct.unpack_from("<IIIHH", record)
        if size >= 64:
            high = struct.unpack_from("<IIIHH", record, 32)
            return blocks | high[0] << 32, inodes | high[1] << 32, table | high[2] << 32, free | high[4] << 16
        return blocks, inodes, table, free

    def free_inodes(self) -> int:
        """Return the number of inodes that the group descriptors call free.

        Raises:
            Truncated: a descriptor is not there.
        """
        if len(self.descriptors) < self.groups * self.head.descriptor_size:
            raise Truncated("not all group descriptors are there")
        return sum(self.group(group)[3] for group in range(self.groups))

    # Inodes

    def inode(self, number: int) -> Inode:
        """Return an inode by its number, from 1.

        Raises:
            Malformed: there is no such inode, or it is not in use.
            Truncated: it lies beyond the source.
        """
        head = self.head
        if not 0 < number <= head.inodes:
            raise Malformed(f"inode {number} of {head.inodes}")
        group, index = divmod(number - 1, head.group_inodes)
        if group >= self.groups:
            raise Malformed(f"inode {number} would be in group {group} of {self.groups}")
        table = self.group(group)[2]
        raw = self.source.exactly(table * head.block_size + index * head.inode_size, head.inode_size)
        inode = parse_inode(number, raw, self.head)
        if not inode.mode:
            raise Malformed(f"inode {number} is not in use")
        return inode

    # Block maps

    def runs(self, inode: Inode, nodes: set[int]) -> Iterator[Run]:
        """Yield the stretches of blocks that an inode maps, in ascending order of file blocks.

        Args:
            inode: one whose data are not inline.
            nodes: blocks of maps met so far; the map's own are added. A map block belongs to one place of one file.

        Raises:
            Malformed: the map breaks its rules, or meets one of `nodes`.
            Truncated: a map block lies beyond the source.
        """
        return self._extents(inode.map, nodes) if inode.flags & EXTENTS else self._pointers(inode.map, nodes)

    def _map_block(self, block: int, nodes: set[int]) -> bytes:
        if block in nodes:
            raise Malformed(f"block {block} is in more than one place of a block map")
        if not 0 < block < self.head.blocks:
            raise Malformed(f"map block {block} of {self.head.blocks}")
        nodes.add(block)
        return self.source.exactly(block * self.head.block_size, self.head.block_size)

    def _extents(self, root: bytes, nodes: set[int]) -> Iterator[Run]:
        stack: list[tuple[int, Iterator[tuple[int, ...]]]] = []
        node = root
        expected = logical = 0
        while True:
            magic, count, _, depth = struct.unpack_from("<HHHH", node)
            if magic != 0xF30A or count * 12 + 12 > len(node) or (depth != expected if stack else depth > 5):
                raise Malformed("extent tree: a node breaks the format")
            records = struct.iter_unpack("<IHHI", node[12 : 12 + 12 * count])
            if depth:
                stack.append((depth, records))
            else:
                for first, word, high, low in records:
                    written = word <= 32768
                    length = word if written else word - 32768
                    if first < logical:
                        raise Malformed(f"extent tree: file block {first} after {logical}")
                    logical = first + length
                    if length:
                        yield first, length, self._valid(high << 32 | low, length), written
            while stack:
                depth, records = stack[-1]
                record = next(records, None)
                if record is not None:
                    # An index record is (file block, low 32 bits, high 16 bits, unused) over the same 12 bytes.
                    _, low0, low1, rest = record
                    node = self._map_block(low0 | low1 << 16 | (rest & 0xFFFF) << 32, nodes)
                    expected = depth - 1
                    break
                stack.pop()
            else:
                return

    def _valid(self, block: int, count: int) -> int:
        if not 0 < block <= self.head.blocks - count:
            raise Malformed(f"blocks {block} to {block + count - 1} of {self.head.blocks}")
        return block

    def _pointers(self, root: bytes, nodes: set[int]) -> Iterator[Run]:
        """Yield runs from 12 direct pointers and one each of single, double and triple indirect."""
        begin = length = target = 0
        for logical, pointers in self._pointer_blocks(root, nodes):
            if not any(pointers):
                continue
            for at, block in enumerate(pointers, logical):
                if not block:
                    continue
                if block == target + length and at == begin + length:
                    length += 1
                    continue
                if length:
                    yield begin, length, self._valid(target, length), True
                begin, length, target = at, 1, block
        if length:
            yield begin, length, self._valid(target, length), True

    def _pointer_blocks(self, root: bytes, nodes: set[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
        each = self.head.block_size // 4
        numbers = struct.unpack("<15I", root)
        yield 0, numbers[:12]
        logical = 12
        stack = [(numbers[12], 1), (numbers[13], 2), (numbers[14], 3)][::-1]
        while stack:
            block, level = stack.pop()
            if not block:
                logical += each**level
                continue
            pointers = struct.unpack(f"<{each}I", self._map_block(block, nodes))
            if level == 1:
                yield logical, pointers
                logical += each
            else:
                stack += [(pointer, level - 1) for pointer in reversed(pointers)]

    # Contents

    def data(self, inode: Inode) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB; what is not mapped or not written is zeros.

        Raises:
            UnpackError: the map or the data cannot be read.
        """
        if inode.flags & INLINE_DATA:
            yield self.inline(inode)
            return
        size = self.head.block_size
        position = 0
        for logical, count, block, written in self.runs(inode, set()):
            start = logical * size
            if start >= inode.size:
                break
            yield from _zeros(start - position)
            position = min(start + count * size, inode.size)
            if written:
                yield from self.source.chunks(block * size, position - start)
            else:
                yield from _zeros(position - start)
        yield from _zeros(inode.size - position)

    def inline(self, inode: Inode) -> bytes:
        """Return data kept in the inode: the 60 bytes of its map, then an extended attribute.

        Raises:
            Malformed: there are fewer bytes than the inode's size.
        """
        data = inode.map
        if inode.size > len(data):
            data += dict(self._tail_attributes(inode)).get(INLINE, b"")
        if inode.size > len(data):
            raise Malformed(f"{len(data)} bytes of inline data instead of {inode.size}")
        return data[: inode.size]

    def names(self, inode: Inode) -> Iterator[tuple[int, bytes]]:
        """Yield (inode number, name) of what a directory lists, without '.' and '..'.

        A block that breaks the format ends there, and the next one is read.

        Raises:
            UnpackError: at the end if a block broke the format; or the directory cannot be read on.
        """
        typed = bool(self.head.incompat & 0x2)
        if inode.flags & INLINE_DATA:
            data = self.inline(inode)
            failure = yield from directory_records(data[4:60], typed)
            failure = (yield from directory_records(data[60:], typed)) or failure
        else:
            failure = None
            size = self.head.block_size
            for logical, count, block, written in self.runs(inode, set()):
                length = min(count * size, inode.size - logical * size)
                if length <= 0:
                    break
                if not written:
                    continue
                self.directory_room -= length
                if self.directory_room < 0:
                    raise Malformed("directories share blocks: together they are longer than the volume")
                for chunk in self.source.chunks(block * size, length):
                    for at in range(0, len(chunk), size):
                        failure = (yield from directory_records(chunk[at : at + size], typed)) or failure
        if failure:
            raise Malformed(failure)

    # Extended attributes

    def attributes(self, inode: Inode) -> Iterator[tuple[str, bytes]]:
        """Yield (name, value) of an inode's extended attributes, as stored.

        Raises:
            UnpackError: they cannot be read on.
            LimitReached: `metadata_bytes`, for values in inodes of their own.
        """
        for name, value in self._tail_attributes(inode):
            if name != INLINE:
                yield name, value
        if inode.attributes:
            size = self.head.block_size
            block = self.source.exactly(self._valid(inode.attributes, 1) * size, size)
            if int.from_bytes(block[:4], "little") != XATTR_MAGIC:
                raise Malformed(f"attribute block {inode.attributes} has no magic")
            yield from attribute_records(block, 32, 0, self._value)

    def _tail_attributes(self, inode: Inode) -> Iterator[tuple[str, bytes]]:
        if int.from_bytes(inode.tail[:4], "little") == XATTR_MAGIC:
            yield from attribute_records(inode.tail, 4, 4, self._value)

    def _value(self, number: int, size: int) -> bytes:
        """Return the value of an attribute that is kept in an inode of its own."""
        self.values_room -= size
        if self.values_room < 0:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        inode = self.inode(number)
        if not inode.flags & EA_INODE or inode.size != size:
            raise Malformed(f"inode {number} does not hold a value of {size} bytes")
        self.value_inodes.add(number)
        return b"".join(self.data(inode))


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield ZEROS[:length]
        length -= CHUNK
