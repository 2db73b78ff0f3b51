"""SquashFS images of versions 1 to 4 in both byte orders, which no tool makes any more.

An independent writer from the C structures of squashfs-tools: every structure is a row of bit fields, filled from the
lowest bit in little endian and from the highest in big endian, whole integers among them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

NONE = 0xFFFFFFFF
NONE64 = 0xFFFFFFFFFFFFFFFF
KINDS = {"directory": 1, "regular": 2, "symlink": 3, "blockdev": 4, "chardev": 5, "fifo": 6, "socket": 7}


@dataclass
class Node:
    """One file of a tree."""

    name: bytes
    kind: str = "regular"
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 1_700_000_000
    data: bytes = b""
    """Contents, or the target of a symbolic link."""
    device: tuple[int, int] = (0, 0)
    children: list[Node] = field(default_factory=list)
    extended: bool = False
    """Written as the version's extended form."""


def bits(order: str, *fields: tuple[int, int]) -> bytes:
    """Return (value, bits) fields one after the other, as a compiler of that byte order lays them out."""
    total = position = 0
    for value, width in fields:
        assert 0 <= value < 1 << width, (value, width)
        total = total | value << position if order == "<" else total << width | value
        position += width
    assert position % 8 == 0
    return total.to_bytes(position // 8, "little" if order == "<" else "big")


class _Table:
    """Metadata blocks."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.out = b""
        self.pending = b""

    def add(self, data: bytes) -> tuple[int, int]:
        place = len(self.out), len(self.pending)
        self.pending += data
        while len(self.pending) >= 8192:
            self.flush()
        return place

    def flush(self) -> None:
        block, self.pending = self.pending[:8192], self.pending[8192:]
        if block:
            image = self.image
            stored = b"" if image.plain else image.compress(block)
            word = len(stored)
            if image.plain or len(stored) >= len(block):
                stored, word = block, 0x8000 | len(block)
            self.out += bits(image.lengths, (word, 16)) + (b"\xff" if image.checked else b"") + stored

    def done(self) -> bytes:
        while self.pending:
            self.flush()
        return self.out


@dataclass
class Image:
    """How to write an image.

    Args:
        version: (major, minor).
        order: "<" or ">".
        compress: makes a block.
        compressor: number told by a superblock of version 4.
        magic: in place of the byte order's own.
        lengths: byte order of the lengths of metadata blocks, if another.
        plain: metadata are stored as they are.
    """

    version: tuple[int, int]
    order: str
    compress: Callable[[bytes], bytes] = zlib.compress
    block_size: int = 4096
    compressor: int = 1
    magic: bytes = b""
    lengths: str = ""
    checked: bool = False
    fragments: bool = True
    exported: bool = False
    plain: bool = False
    mtime: int | None = 1_600_000_000
    """None: the bytes used, as AVM writes it."""

    def write(self, root: Node) -> bytes:
        """Return the image, padded to 4 KiB."""
        self.major = self.version[0]
        self.lengths = self.lengths or self.order
        self.head = {1: 51, 2: 63, 3: 119, 4: 96}[self.major]
        self.body = b""
        self.inodes, self.directories = _Table(self), _Table(self)
        self.fragment_list: list[tuple[int, int]] = []
        self.tails = b""
        self.references: list[tuple[int, int]] = []
        nodes = _all(root)
        self.users = sorted({node.uid for node in nodes} | ({node.gid for node in nodes} if self.major == 4 else set()))
        self.groups = sorted({node.gid for node in nodes if node.gid != node.uid})
        self.numbers = {id(node): number for number, node in enumerate(reversed(nodes), 1)}
        self.places: dict[int, tuple[int, int, int]] = {}
        self.words: dict[int, list[tuple[int, bool]]] = {}
        for node in reversed(nodes):
            if node.kind == "regular":
                self.places[id(node)] = self._contents(node)
        self._end_fragment()
        block, offset = self._inode(root)
        return self._tables(len(nodes), block << 16 | offset)

    # Data

    def _contents(self, node: Node) -> tuple[int, int, int]:
        """Write the blocks of a file; return where they begin, its fragment and the offset in it."""
        start = self.head + len(self.body)
        words = self.words[id(node)] = []
        cut = len(node.data)
        fragment, offset = NONE, 0
        if self.fragments and self.major > 1 and cut % self.block_size:
            cut -= cut % self.block_size
            tail = node.data[cut:]
            if len(self.tails) + len(tail) > self.block_size:
                self._end_fragment()
            fragment, offset = len(self.fragment_list), len(self.tails)
            self.tails += tail
        for at in range(0, cut, self.block_size):
            block = node.data[at : at + self.block_size]
            if self.major > 2 and not block.strip(b"\0"):
                words.append((0, False))
            else:
                words.append(self._block(block))
        return start, fragment, offset

    def _block(self, block: bytes) -> tuple[int, bool]:
        stored = self.compress(block)
        plain = len(stored) >= len(block)
        self.body += block if plain else stored
        return len(block) if plain else len(stored), plain

    def _end_fragment(self) -> None:
        if self.tails:
            start = self.head + len(self.body)
            length, plain = self._block(self.tails)
            self.fragment_list.append((start, length | plain << 24))
            self.tails = b""

    # Inodes

    def _inode(self, node: Node) -> tuple[int, int]:
        listing = self._listing(node) if node.kind == "directory" else b""
        place = self.directories.add(listing) if listing else (0, 0)
        write = {1: self._first, 2: self._second, 3: self._third, 4: self._fourth}[self.major]
        found = self.inodes.add(write(node, len(listing), place))
        self.references.append((self.numbers[id(node)], found[0] << 16 | found[1]))
        return found

    def _listing(self, node: Node) -> bytes:
        rows = [(child, *self._inode(child)) for child in sorted(node.children, key=lambda child: child.name)]
        out = b""
        while rows:
            block, base = rows[0][1], self.numbers[id(rows[0][0])]
            run: list[tuple[Node, int, int]] = []
            while rows and rows[0][1] == block and len(run) < 256:
                run.append(rows.pop(0))
            count = len(run) - 1
            if self.major < 3:
                out += bits(self.order, (count, 8), (block, 24))
            elif self.major == 3:
                out += bits(self.order, (count, 8), (block, 32), (base, 32))
            else:
                out += bits(self.order, (count, 32), (block, 32), (base, 32))
            for child, _, offset in run:
                kind, length = KINDS[child.kind], len(child.name) - 1
                delta = (self.numbers[id(child)] - base) & 0xFFFF
                if self.major < 3:
                    out += bits(self.order, (offset, 13), (kind, 3), (length, 8))
                elif self.major == 3:
                    out += bits(self.order, (offset, 13), (kind, 3), (length, 8), (delta, 16))
                else:
                    out += bits(self.order, (offset, 16), (delta, 16), (kind, 16), (length, 16))
                out += child.name
        return out

    def _owner(self, node: Node) -> tuple[int, int]:
        same = 15 if self.major == 1 else 255
        return self.users.index(node.uid), same if node.gid == node.uid else self.groups.index(node.gid)

    def _words(self, node: Node) -> bytes:
        words = self.words[id(node)]
        if self.major == 1:
            return b"".join(bits(self.order, (length | plain << 15, 16)) for length, plain in words)
        return b"".join(bits(self.order, (length | plain << 24, 32)) for length, plain in words)

    def _rdev(self, node: Node) -> int:
        return node.device[0] << 8 | node.device[1]

    def _links(self, node: Node) -> int:
        return 2 + sum(child.kind == "directory" for child in node.children) if node.kind == "directory" else 1

    def _first(self, node: Node, size: int, place: tuple[int, int]) -> bytes:
        kind, (user, group) = KINDS[node.kind], self._owner(node)
        upper, lower = divmod(user, 16)
        base = [(kind + 5 * upper, 4), (node.mode, 12), (lower, 4), (group, 4)]
        match node.kind:
            case "fifo" | "socket":
                return bits(self.order, (0, 4), *base[1:], (kind, 4), (upper, 4))
            case "regular":
                start, _, _ = self.places[id(node)]
                more = [(node.mtime, 32), (start, 32), (len(node.data), 32)]
                return bits(self.order, *base, *more) + self._words(node)
            case _:
                return self._rest(node, base, size, place)

    def _rest(self, node: Node, base: list[tuple[int, int]], size: int, place: tuple[int, int]) -> bytes:
        match node.kind:
            case "directory":
                extended = node.extended and self.major > 1
                more = [(size, 27 if extended else 19), (place[1], 13), (node.mtime, 32), (place[0], 24)]
                return bits(self.order, *base, *more, *([(0, 16)] if extended else []))
            case "symlink":
                return bits(self.order, *base, (len(node.data), 16)) + node.data
            case "fifo" | "socket":
                return bits(self.order, *base)
            case _:
                return bits(self.order, *base, (self._rdev(node), 16))

    def _second(self, node: Node, size: int, place: tuple[int, int]) -> bytes:
        kind, (user, group) = KINDS[node.kind], self._owner(node)
        base = [(kind + 7 * (node.extended and kind == 1), 4), (node.mode, 12), (user, 8), (group, 8)]
        if node.kind != "regular":
            return self._rest(node, base, size, place)
        start, fragment, offset = self.places[id(node)]
        more = [(node.mtime, 32), (start, 32), (fragment, 32), (offset, 32), (len(node.data), 32)]
        return bits(self.order, *base, *more) + self._words(node)

    def _third(self, node: Node, size: int, place: tuple[int, int]) -> bytes:
        kind, (user, group) = KINDS[node.kind], self._owner(node)
        extended = node.extended and kind < 3
        base = [(kind + 7 * extended, 4), (node.mode, 12), (user, 8), (group, 8), (node.mtime, 32)]
        base.append((self.numbers[id(node)], 32))
        links = (self._links(node), 32)
        match node.kind:
            case "regular":
                start, fragment, offset = self.places[id(node)]
                more = [(start, 64), (fragment, 32), (offset, 32), (len(node.data), 64 if extended else 32)]
                return bits(self.order, *base, *([links] if extended else []), *more) + self._words(node)
            case "directory":
                more = [(size + 3, 27 if extended else 19), (place[1], 13), (place[0], 32)]
                return bits(self.order, *base, links, *more, *([(0, 16)] if extended else []), (1, 32))
            case "symlink":
                return bits(self.order, *base, links, (len(node.data), 16)) + node.data
            case "fifo" | "socket":
                return bits(self.order, *base, links)
            case _:
                return bits(self.order, *base, links, (self._rdev(node), 16))

    def _fourth(self, node: Node, size: int, place: tuple[int, int]) -> bytes:
        kind = KINDS[node.kind]
        user, group = self.users.index(node.uid), self.users.index(node.gid)
        base = [(kind + 7 * node.extended, 16), (node.mode, 16), (user, 16), (group, 16), (node.mtime, 32)]
        base.append((self.numbers[id(node)], 32))
        links, xattr = (self._links(node), 32), [(NONE, 32)] * node.extended
        match node.kind:
            case "regular":
                start, fragment, offset = self.places[id(node)]
                length = len(node.data)
                more = [(start, 32), (fragment, 32), (offset, 32), (length, 32)]
                if node.extended:
                    more = [(start, 64), (length, 64), (0, 64), links, (fragment, 32), (offset, 32)]
                return bits(self.order, *base, *more, *xattr) + self._words(node)
            case "directory":
                more = [(place[0], 32), links, (size + 3, 16), (place[1], 16), (1, 32)]
                if node.extended:
                    more = [links, (size + 3, 32), (place[0], 32), (1, 32), (0, 16), (place[1], 16)]
                return bits(self.order, *base, *more, *xattr)
            case "symlink":
                return bits(self.order, *base, links, (len(node.data), 32)) + node.data + bits(self.order, *xattr)
            case "fifo" | "socket":
                return bits(self.order, *base, links, *xattr)
            case _:
                return bits(self.order, *base, links, (self._rdev(node), 32), *xattr)

    # Tables

    def _indexed(self, records: Sequence[bytes], width: int) -> int:
        """Write records in metadata blocks and the list of their positions; return where that lies."""
        positions = []
        data = b"".join(records)
        for at in range(0, len(data), 8192):
            table = _Table(self)
            table.add(data[at : at + 8192])
            positions.append(self.head + len(self.body))
            self.body += table.done()
        start = self.head + len(self.body)
        self.body += b"".join(bits(self.order, (position, width)) for position in positions)
        return start

    def _tables(self, count: int, root: int) -> bytes:
        order, major = self.order, self.major
        inode_table = self.head + len(self.body)
        self.body += self.inodes.done()
        directory_table = self.head + len(self.body)
        self.body += self.directories.done()
        fragment_table = lookup = NONE64
        if major == 2:
            records = [bits(order, (start, 32), (word, 32)) for start, word in self.fragment_list]
            fragment_table = self._indexed(records, 32)
        elif major > 2:
            records = [bits(order, (start, 64), (word, 32), (0, 32)) for start, word in self.fragment_list]
            fragment_table = self._indexed(records, 64)
            if self.exported:
                lookup = self._indexed([bits(order, (place, 64)) for _, place in sorted(self.references)], 64)
        if major == 4:
            id_table = self._indexed([bits(order, (user, 32)) for user in self.users], 64)
            groups = 0
        else:
            id_table = self.head + len(self.body)
            self.body += b"".join(bits(order, (user, 32)) for user in self.users)
            groups = self.head + len(self.body) if self.groups else 0
            self.body += b"".join(bits(order, (group, 32)) for group in self.groups)
        used = self.head + len(self.body)
        flags = 0x4 * self.checked | 0x80 * self.exported | 0x10 * (not self.fragments)
        log = self.block_size.bit_length() - 1
        magic = self.magic or (b"hsqs" if order == "<" else b"sqsh")
        mtime = used if self.mtime is None else self.mtime
        version = [(self.version[0], 16), (self.version[1], 16)]
        if major == 4:
            head = bits(
                order, (count, 32), (mtime, 32), (self.block_size, 32), (len(self.fragment_list), 32),
                (self.compressor, 16), (log, 16), (flags | 0x200, 16), (len(self.users), 16), *version,
                *((value, 64) for value in (root, used, id_table, NONE64, inode_table, directory_table)),
                (fragment_table, 64), (lookup, 64),
            )  # fmt: skip
        else:
            # The 32-bit fields of version 3 are what old readers see: nothing of use.
            early = (used, id_table, groups, inode_table, directory_table) if major < 3 else (0, 0, 0, 0, 0)
            head = bits(
                order, (count, 32), *((value, 32) for value in early), *version,
                (self.block_size if major == 1 else 0, 16), (log, 16), (flags, 8), (len(self.users), 8),
                (len(self.groups), 8), (mtime, 32), (root, 64),
            )  # fmt: skip
            if major > 1:
                head += bits(order, (self.block_size, 32), (len(self.fragment_list), 32))
                head += bits(order, (fragment_table if major == 2 else 0, 32))
            if major > 2:
                more = (used, id_table, groups, inode_table, directory_table, fragment_table, lookup)
                head += bits(order, *((value, 64) for value in more))
        image = magic + head + self.body
        assert len(image) == used
        return image + bytes(-used % 4096)


def _all(node: Node) -> list[Node]:
    return [node, *(found for child in node.children for found in _all(child))]
