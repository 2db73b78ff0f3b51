"""XFS, the file system of many Linux servers and of the disks of network functions, versions 4 and 5.

An entry's locator is its inode number. The journal is not replayed.
"""

from __future__ import annotations

import re
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress

from .base import (
    CHUNK,
    Claim,
    Entry,
    EntryType,
    Format,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Reference,
    Source,
    UnpackError,
    Unsupported,
    guarded,
)
from .tree import walk
from .xfs_structures import (
    BTREE,
    DEVICE,
    EXTENTS,
    INCOMPATIBLE,
    LOCAL,
    REMOTE,
    Inode,
    Superblock,
    attribute_leaf,
    directory_block,
    extent_records,
    parse_inode,
    parse_superblock,
    short_attributes,
    short_directory,
)

Run = tuple[int, int, int, bool]

TYPES: dict[int, EntryType] = {
    stat.S_IFREG: "regular",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "chardev",
    stat.S_IFBLK: "blockdev",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
REALTIME = 1
TARGET = 1024
"""Longest target of a symbolic link (chapter 19)."""
VALUE = 65536
ATTRIBUTES = 1 << 20
"""Most bytes of extended attributes read for one inode."""
LEAVES = 1 << 35
"""Bytes of a directory from which on it has its index in place of entries (chapter 17)."""
PARTS = (
    "",
    "allocation group headers",
    "free block",
    "inodes",
    "allocation trees",
    "files and directories",
    "files, allocated and not written",
    "internal file",
    "journal",
)
CREATED = "xfs.created"
"""Extended attribute in which the time of creation is given: nanoseconds since 1970-01-01 UTC, in decimal."""


class XfsReader(Reader):
    """An opened XFS volume. `declared` is the number of inodes in use less those that no directory lists."""

    def __init__(self, source: Source, limits: Limits, head: Superblock) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.head = head
        self.declared = max(0, head.used - len(head.internal)) or None
        features = [name for bit, name in INCOMPATIBLE.items() if head.incompatible & bit]
        self.detail = {
            "version": head.version,
            "block_size": head.block,
            "blocks": head.blocks,
            "inode_size": head.inode,
            "groups": head.groups,
            "features": ", ".join(features),
            "uuid": head.uuid.hex(),
            "label": head.label.rstrip(b"\0").decode("utf-8", "backslashreplace"),
        }
        self._listed: set[int] = set()
        self._parts = bytearray()
        self._nodes: set[int] = set()
        self._room = 0

    # Places

    def _block(self, number: int) -> int:
        """Return where a block is: its number has the allocation group above `group_bits`."""
        group, within = number >> self.head.group_bits, number & (1 << self.head.group_bits) - 1
        linear = group * self.head.group_blocks + within
        if group >= self.head.groups or within >= self.head.group_blocks or linear >= self.head.blocks:
            raise Malformed(f"block {number} of {self.head.blocks}")
        return linear

    def _inode(self, number: int) -> Inode:
        head = self.head
        block, index = number >> head.inode_bits, number & (1 << head.inode_bits) - 1
        place = self._block(block) * head.block + index * head.inode
        return parse_inode(number, self.source.exactly(place, head.inode))

    def _runs(self, inode: Inode, nodes: set[int], attributes: bool = False) -> Iterator[Run]:
        """Yield (file block, blocks, linear block, if it was written) of a fork.

        Args:
            inode: the inode.
            nodes: blocks of trees met so far; the fork's own are added. One that is met again is an error.
            attributes: the attribute fork, not that of the data.
        """
        format, fork = (inode.format, inode.fork) if not attributes else (inode.attribute_format, inode.attribute_fork)
        count = inode.attribute_extents if attributes else inode.extents
        if format == EXTENTS:
            if 16 * count > len(fork):
                raise Malformed(f"inode {inode.number}: {count} extents in {len(fork)} bytes")
            leaves: Iterator[bytes] = iter([fork[: 16 * count]])
        elif format == BTREE:
            leaves = self._leaves(fork, nodes)
        else:
            return
        expected = 0
        for leaf in leaves:
            for logical, number, block, written in extent_records(leaf):
                if logical < expected or not number:
                    raise Malformed(f"inode {inode.number}: file block {logical} after {expected}")
                expected = logical + number
                linear = self._block(block)
                self._block(block + number - 1)
                yield logical, number, linear, written

    def _leaves(self, root: bytes, nodes: set[int]) -> Iterator[bytes]:
        """Yield the records of each leaf of a tree of extents, in order (chapter 16.2)."""
        level, count = struct.unpack_from(">HH", root)
        header = 72 if self.head.version == 5 else 24
        size = self.head.block
        room = (len(root) - 4) // 16
        if not 0 < level < 10 or count > room:
            raise Malformed(f"the root of a tree of extents has level {level} and {count} entries")
        at = 4 + 8 * room
        stack = [(level - 1, iter(struct.unpack_from(f">{count}Q", root, at)))]
        while stack:
            level, pointers = stack[-1]
            pointer = next(pointers, None)
            if pointer is None:
                stack.pop()
                continue
            linear = self._block(pointer)
            if linear in nodes:
                raise Malformed(f"block {pointer} is in more than one place of a tree")
            nodes.add(linear)
            data = self.source.exactly(linear * size, size)
            magic, found, count = struct.unpack_from(">4sHH", data)
            if magic not in (b"BMAP", b"BMA3") or found != level or header + 16 * count > size:
                raise Malformed(f"block {pointer} is no node of level {level} of a tree of extents")
            if level:
                at = header + (size - header) // 16 * 8
                stack.append((level - 1, iter(struct.unpack_from(f">{count}Q", data, at))))
            else:
                yield data[header : header + 16 * count]

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in their stored order, the root first with an empty path."""
        head = self.head
        self._parts = bytearray(min(head.blocks, -(-self.source.size // head.block), self.limits.metadata_bytes))
        self._listed, self._nodes, self._room = set(), set(), self.source.size
        lost = 0
        for item in walk(head.root, self._describe, self._children, self.limits):
            if isinstance(item, Problem):
                lost += item.entries
            yield item
        size = head.blocks * head.block
        if size > self.source.size:
            text = f"superblock declares {size} bytes, the source has {self.source.size}"
            yield Problem("truncated", text, b"", 0)
        missing = (self.declared or 0) - len(self._listed) - lost
        if missing > 0:
            text = f"{missing} of {self.declared} inodes in use not found in any directory"
            yield Problem("malformed", text, b"", missing)

    def _describe(self, number: int, path: bytes) -> tuple[Entry, Problem | None]:
        inode = self._inode(number)
        kind = TYPES.get(stat.S_IFMT(inode.mode))
        if kind is None:
            raise Malformed(f"inode {number} has mode {inode.mode:#o}")
        entry = Entry(
            path,
            kind,
            mode=stat.S_IMODE(inode.mode),
            uid=inode.uid,
            gid=inode.gid,
            mtime=inode.mtime,
            atime=inode.atime,
            ctime=inode.ctime,
            inode=number,
            nlink=inode.nlink,
        )
        problem = None
        if kind == "regular":
            entry.locator, entry.size = number, inode.size
        elif kind == "symlink":
            try:
                entry.link = self._target(inode)
            except UnpackError as error:
                problem = Problem(error.reason, f"target: {error}", path, 0)
        elif kind in ("chardev", "blockdev") and inode.format == DEVICE:
            device = int.from_bytes(inode.fork[:4], "big")
            entry.device = device >> 18, device & 0x3FFFF
        try:
            entry.xattrs = self._attributes(inode)
        except UnpackError as error:
            problem = Problem(error.reason, f"extended attributes: {error}", path, 0)
        if inode.created is not None:
            entry.xattrs = entry.xattrs | {CREATED: b"%d" % inode.created}
        if number not in self._listed:
            self._listed.add(number)
            self._explain(inode, "files and directories")
        return entry, problem

    def _children(self, number: int) -> Iterator[tuple[int, bytes]]:
        inode = self._inode(number)
        head = self.head
        if inode.format == LOCAL:
            yield from short_directory(inode.fork, head.typed)
            return
        step = head.directory // head.block
        fault: Malformed | None = None
        data, start = b"", 0
        for logical, count, block, written in self._runs(inode, set()):
            if logical * head.block >= LEAVES or not written:
                break
            self._room -= count * head.block
            if self._room < 0:
                raise Malformed("directories share blocks: together they are longer than the volume")
            if start + len(data) // head.block != logical:
                data, start = b"", logical
            for chunk in self.source.chunks(block * head.block, count * head.block):
                data += chunk
                whole = len(data) // head.directory * head.directory
                for at in range(0, whole, head.directory):
                    try:
                        yield from directory_block(data[at : at + head.directory], head.typed)
                    except Malformed as error:
                        fault = error
                data, start = data[whole:], start + whole // head.directory * step
        if fault:
            raise fault

    # Extended attributes

    def _attributes(self, inode: Inode) -> dict[str, bytes]:
        if inode.attribute_format == LOCAL:
            return dict(short_attributes(inode.attribute_fork))
        if not inode.attribute_fork or inode.attribute_format not in (EXTENTS, BTREE):
            return {}
        blocks: dict[int, int] = {}
        for logical, count, block, _ in self._runs(inode, set(), attributes=True):
            for index in range(count):
                blocks[logical + index] = block + index
                if len(blocks) * self.head.block > 8 * ATTRIBUTES:
                    raise Malformed("too many blocks of attributes")
        found: dict[str, bytes] = {}
        room = ATTRIBUTES
        for data in self._attribute_leaves(blocks):
            for name, value, place in attribute_leaf(data):
                found[name] = self._remote(blocks, *place) if place else value
                room -= len(name) + len(found[name])
                if room < 0:
                    raise Malformed(f"more than {ATTRIBUTES} bytes of extended attributes")
        return found

    def _fork_block(self, blocks: dict[int, int], number: int) -> bytes:
        if number not in blocks:
            raise Malformed(f"block {number} of the attributes is not there")
        return self.source.exactly(blocks[number] * self.head.block, self.head.block)

    def _attribute_leaves(self, blocks: dict[int, int]) -> Iterator[bytes]:
        """Yield the leaves of the attributes' index: down the first branch, then from one to the next."""
        number = 0
        seen: set[int] = set()
        while blocks:
            if number in seen:
                raise Malformed("the index of attributes is a cycle")
            seen.add(number)
            data = self._fork_block(blocks, number)
            magic = data[8:10]
            if magic in (b"\xfe\xbe", b"\x3e\xbe"):
                number = int.from_bytes(data[(64 if magic[0] == 0x3E else 16) + 4 :][:4], "big")
                continue
            if magic not in (b"\xfb\xee", b"\x3b\xee"):
                raise Malformed(f"block {number} of the attributes has the magic {magic.hex()}")
            yield data
            number = int.from_bytes(data[:4], "big")
            if not number:
                return

    def _remote(self, blocks: dict[int, int], first: int, length: int) -> bytes:
        if length > VALUE:
            raise Malformed(f"a value of {length} bytes")
        value = b""
        skip = REMOTE if self.head.version == 5 else 0
        while len(value) < length:
            data = self._fork_block(blocks, first)
            if skip and data[:4] != b"XARM":
                raise Malformed("a block of a value has no magic")
            value += data[skip : skip + length - len(value)]
            first += 1
        return value

    # Contents

    def _target(self, inode: Inode) -> bytes:
        if inode.size > TARGET:
            raise Malformed(f"{inode.size} bytes")
        if inode.format == LOCAL:
            return inode.fork[: inode.size]
        target = b""
        for _, count, block, _ in self._runs(inode, set()):
            for index in range(count):
                if len(target) < inode.size:
                    data = self.source.exactly((block + index) * self.head.block, self.head.block)
                    skip = REMOTE if data[:4] == b"XSLM" else 0  # mkfs.xfs has written targets without a header
                    target += data[skip : skip + inode.size - len(target)]
        if len(target) < inode.size:
            raise Malformed(f"{len(target)} bytes instead of {inode.size}")
        return target

    def _file(self, locator: Locator) -> Inode:
        if not isinstance(locator, int) or not 0 <= locator < 1 << 64:
            raise Malformed("not an inode number")
        inode = self._inode(locator)
        if not stat.S_ISREG(inode.mode) or inode.format not in (EXTENTS, BTREE):
            raise Malformed(f"inode {locator} is not a regular file")
        if inode.flags & REALTIME:
            raise Unsupported(f"inode {locator} lies in the realtime section, which is another device")
        return inode

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB, holes as zeros. See `Reader.open`."""
        yield from guarded(self._data(self._file(locator)), self.limits, self.source.size)

    def _data(self, inode: Inode) -> Iterator[bytes]:
        size, position = self.head.block, 0
        for logical, count, block, written in self._runs(inode, set()):
            start = logical * size
            if start >= inode.size:
                break
            yield from _zeros(start - position)
            position = min(start + count * size, inode.size)
            yield from self.source.chunks(block * size, position - start) if written else _zeros(position - start)
        yield from _zeros(inode.size - position)

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies that is one stretch of written blocks. See `Reader.span`."""
        try:
            inode = self._file(locator)
            logical, count, block, written = next(self._runs(inode, set()), (1, 0, 0, False))
        except UnpackError:
            return None
        start = block * self.head.block
        whole = not logical and written and inode.size and count * self.head.block >= inode.size
        return (start, inode.size) if whole and start + inode.size <= self.source.size else None

    # Claims

    def _mark(self, first: int, count: int, part: str) -> None:
        end = min(first + count, len(self._parts))
        if first < end:
            self._parts[first:end] = bytes([PARTS.index(part)]) * (end - first)

    def _explain(self, inode: Inode, part: str) -> None:
        """Note which blocks are an inode's."""
        for attributes in (False, True):
            if attributes and not inode.attribute_fork:
                continue
            try:
                for _, count, block, written in self._runs(inode, self._nodes, attributes):
                    self._mark(block, count, part if written else "files, allocated and not written")
            except UnpackError:
                continue  # opening the file will say so

    def claims(self) -> list[Claim]:
        """Return what listing has explained, by whole blocks, and free blocks; blocks that are lost are not claimed."""
        head = self.head
        for number in head.internal:
            try:
                self._explain(self._inode(number), "internal file")
            except UnpackError:
                continue
        for block in self._nodes:
            self._mark(block, 1, "files and directories")
        for group in range(min(head.groups, -(-len(self._parts) // head.group_blocks))):
            self._explain_group(group)
        log, count = head.log
        if log:
            with suppress(UnpackError):
                self._mark(self._block(log), count, "journal")
        claims = []
        for run in re.finditer(rb"([^\0])\1*", self._parts, re.DOTALL):
            begin, end = run.start() * head.block, min(run.end() * head.block, self.source.size)
            claims.append(Claim(begin, end - begin, PARTS[run[1][0]]))
        return claims

    def _explain_group(self, group: int) -> None:
        """Note an allocation group's own blocks: headers, free space, inodes, and its trees (chapter 13)."""
        head = self.head
        start = group * head.group_blocks
        raw = self.source.pread(start * head.block, 4 * head.sector)
        self._mark(start, -(-4 * head.sector // head.block), "allocation group headers")
        free, inodes = raw[head.sector : 2 * head.sector], raw[2 * head.sector : 3 * head.sector]
        if len(raw) < 4 * head.sector or free[:4] != b"XAGF" or inodes[:4] != b"XAGI":
            return
        word = struct.Struct(">I").unpack_from
        for at, level, key in ((20, 32, 8), (24, 36, 40), (88, 92, 4)) if head.version == 5 else ((20, 32, 8),):
            for _ in self._tree(group, word(free, at)[0], word(free, level)[0], key):
                pass
        if head.version == 5:
            for _ in self._tree(group, word(inodes, 328)[0], word(inodes, 332)[0], 4):
                pass
        for leaf in self._tree(group, word(free, 16)[0], word(free, 28)[0], 8):
            for first, count in struct.iter_unpack(">II", leaf[: len(leaf) // 8 * 8]):
                if first + count <= head.group_blocks:
                    self._mark(start + first, count, "free block")
        for leaf in self._tree(group, word(inodes, 20)[0], word(inodes, 24)[0], 4):
            for number, holes in struct.iter_unpack(">IH10x", leaf[: len(leaf) // 16 * 16]):
                if number >> head.inode_bits < head.group_blocks:
                    self._explain_inodes(start, number, holes if head.incompatible & 2 else 0)
        spare = struct.unpack(f">{head.sector // 4}I", raw[3 * head.sector :])[9 if head.version == 5 else 0 :]
        first, _, count = struct.unpack_from(">III", free, 40)
        for index in range(min(count, len(spare))):
            self._mark(start + min(spare[(first + index) % len(spare)], head.group_blocks - 1), 1, "allocation trees")

    def _explain_inodes(self, start: int, number: int, holes: int) -> None:
        """Note a chunk of 64 inodes; each bit of `holes` stands for four that are not there."""
        for bit in range(16):
            if not holes >> bit & 1:
                first = number + 4 * bit >> self.head.inode_bits
                self._mark(start + first, max(1, 4 >> self.head.inode_bits), "inodes")

    def _tree(self, group: int, root: int, levels: int, key: int) -> Iterator[bytes]:
        """Yield the records of each leaf of a group's tree, and note its blocks. What breaks the format is left out.

        Args:
            group: the allocation group.
            root: block in the group.
            levels: of the tree.
            key: bytes of a key.
        """
        head = self.head
        header = 56 if head.version == 5 else 16
        seen: set[int] = set()
        stack = [(root, levels - 1)]
        while stack:
            block, level = stack.pop()
            linear = group * head.group_blocks + block
            if block in seen or not 0 < block < head.group_blocks or not 0 <= level < 10 or linear >= head.blocks:
                continue
            seen.add(block)
            data = self.source.pread(linear * head.block, head.block)
            if len(data) < head.block or int.from_bytes(data[4:6], "big") != level:
                continue
            self._mark(linear, 1, "allocation trees")
            count = int.from_bytes(data[6:8], "big")
            if level:
                at = header + (head.block - header) // (key + 4) * key
                count = min(count, (head.block - at) // 4)
                stack += [(pointer, level - 1) for pointer in struct.unpack_from(f">{count}I", data, at)]
            else:
                record = {8: 8, 40: 24}.get(key, 0)  # of trees with keys of 4 bytes, only that of inodes is read
                yield data[header : header + count * (record or 16)]


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield bytes(min(length, CHUNK))
        length -= CHUNK


def _open(source: Source, limits: Limits) -> XfsReader:
    head = parse_superblock(source.pread(0, 512))
    if head is None:
        raise NotThisFormat
    if head.version < 4:
        raise Unsupported(f"version {head.version}")
    if head.incompatible & ~sum(INCOMPATIBLE):
        raise Unsupported(f"incompatible features {head.incompatible & ~sum(INCOMPATIBLE):#x}")
    return XfsReader(source, limits, head)


FORMAT = Format(
    name="xfs",
    title="XFS (Linux), versions 4 and 5",
    open=_open,
    magics=[(0, b"XFSB")],
    references=[
        Reference(
            "XFS Algorithms & Data Structures, 3rd edition",
            "https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf",
        ),
    ],
    limitations=[
        "checksums are not verified",
        "the journal is not replayed: a volume that was not unmounted is read as it lies",
        "files of the realtime section and directories of metadata (metadir) are named, not read",
        "copies of the superblock are not used when the first one is broken",
        "POSIX access control lists are kept in XFS's own form, as trusted.SGI_ACL_FILE and SGI_ACL_DEFAULT",
        "deleted files are not listed; their bytes may lie in what is explained as free blocks",
        "the last block of a file is explained as a whole, also what follows the file's end",
    ],
)
