"""JFFS2, the log of nodes that Linux keeps on raw flash: no superblock, no index, the newest version of a node counts.

All nodes are read at opening (see `jffs2_scan`). An entry's locator is its inode number.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

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
    guarded,
    ns,
)
from .jffs2_nodes import (
    ACCURATE,
    BIG,
    COMPRESSIONS,
    ENTRY,
    FIXED,
    INODE,
    LITTLE,
    LONGEST,
    PREFIXES,
    XATTR,
    Inode,
    Layout,
    crc,
    decoded,
    header,
)
from .jffs2_scan import Scan
from .tree import walk

_ROOT = 1
_TYPES: dict[int, EntryType] = {
    1: "fifo",
    2: "chardev",
    4: "directory",
    6: "blockdev",
    8: "regular",
    10: "symlink",
    12: "socket",
}
_TARGET = 65535
_REMOVED = 0xFFFFFFFF
"""Version of an extended attribute that is no more."""
_ATTRIBUTES = 1 << 20
_ZEROS = bytes(CHUNK)


class _Fragment(NamedTuple):
    """A part of a file that one node has."""

    start: int
    end: int
    node: Inode
    at: int
    """Offset of the node in the source."""


class Jffs2Reader(Reader):
    """An opened JFFS2. It has no count of files, so `declared` is None."""

    def __init__(self, source: Source, limits: Limits, layout: Layout) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.layout = layout
        self.scan = Scan(source, layout, limits)
        counts = self.scan.counts
        # Deleted files have nodes and no name until the flash is needed, so they are told, and not a problem.
        named = {number for names in self.scan.names.values() for _, number in names.values()}
        self.erase_size = math.gcd(*self.scan.marks)
        self.detail = {
            "byte_order": "little" if layout is LITTLE else "big",
            "nodes": counts["nodes"],
            "obsolete_nodes": counts["obsolete"],
            "clean_markers": counts["clean_markers"],
            "summaries": counts["summaries"],
            "unknown_nodes": counts["unknown"],
            "erase_size": self.erase_size or None,
            "compression": " ".join(COMPRESSIONS.get(n, str(n)) for n in sorted(self.scan.compressions)),
            "inodes": len(self.scan.inodes),
            "unlinked_inodes": len(self.scan.inodes.keys() - named - {_ROOT}),
        }

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in the order of their versions, the root first with an empty path."""
        yield from self.scan.problems
        yield from walk(_ROOT, self._describe, self._children, self.limits)

    def _node(self, at: int) -> Inode:
        return Inode(*self.layout.inode.unpack_from(self.source.exactly(at, FIXED[INODE])))

    def _latest(self, number: int) -> tuple[Inode, int]:
        """Return the newest node of an inode, and its offset.

        Raises:
            Malformed: there is none.
        """
        versions = self.scan.inodes.get(number)
        if not versions:
            raise Malformed(f"inode {number} has no node")
        at = versions[max(versions)]
        return self._node(at), at

    def _data(self, node: Inode, at: int) -> bytes:
        """Return what a node's data decode into, checked."""
        raw = self.source.exactly(at + FIXED[INODE], node.stored)
        if crc(raw) != node.data_crc:
            raise Malformed(f"the CRC-32 of the data of the node at offset {at} differs")
        try:
            return decoded(raw, node)
        except UnpackError as error:
            raise type(error)(f"the node at offset {at}: {error}") from None

    def _describe(self, number: int, path: bytes) -> tuple[Entry, Problem | None]:
        if number == _ROOT and number not in self.scan.inodes:
            return Entry(path=path, type="directory", inode=number), None  # as mkfs.jffs2 leaves it
        node, at = self._latest(number)
        kind = _TYPES.get(node.mode >> 12)
        if kind is None:
            raise Malformed(f"inode {number} has mode {node.mode:#o}")
        problem = None
        entry = Entry(
            path=path,
            type=kind,
            mode=node.mode & 0o7777,
            uid=node.uid,
            gid=node.gid,
            mtime=ns(node.mtime),
            atime=ns(node.atime),
            ctime=ns(node.ctime),
            inode=number,
        )
        try:
            if kind == "regular":
                entry.locator = number
                entry.size = node.size
            elif kind == "symlink":
                if node.decoded > _TARGET:
                    raise Malformed(f"{node.decoded} bytes")
                entry.link = self._data(node, at)
            elif kind in ("chardev", "blockdev"):
                entry.device = self._device(self._data(node, at))
        except UnpackError as error:
            problem = Problem(error.reason, f"{'target' if kind == 'symlink' else 'device'}: {error}", path, 0)
        try:
            entry.xattrs = self._attributes(number)
        except UnpackError as error:
            problem = Problem(error.reason, f"extended attributes: {error}", path, 0)
        return entry, problem

    def _device(self, data: bytes) -> tuple[int, int]:
        number = int.from_bytes(data, "little" if self.layout is LITTLE else "big")
        if len(data) == 2:
            return number >> 8, number & 0xFF
        if len(data) != 4:
            raise Malformed(f"{len(data)} bytes")
        return number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00

    def _children(self, number: int) -> Iterator[tuple[int, bytes]]:
        for name, (_, inode) in sorted(self.scan.names.get(number, {}).items(), key=lambda item: item[1][0]):
            if inode:
                yield inode, name

    def _attributes(self, number: int) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        room = _ATTRIBUTES
        for attribute, sequence in self.scan.xrefs.get(number, {}).items():
            version, at = self.scan.xattrs.get(attribute, (_REMOVED, 0))
            if sequence & 1:
                continue  # the lowest bit takes the reference back
            if version == _REMOVED:
                raise Malformed(f"attribute {attribute} has no node")
            fixed = self.source.exactly(at, FIXED[XATTR])
            _, _, prefix, name_length, length, check, _ = self.layout.xattr.unpack_from(fixed)
            data = self.source.exactly(at + FIXED[XATTR], name_length + 1 + length)
            room -= len(data)
            if room < 0:
                raise Malformed(f"more than {_ATTRIBUTES} bytes")
            if crc(data) != check:
                raise Malformed(f"the CRC-32 of attribute {attribute} differs")
            if prefix not in PREFIXES:
                raise Malformed(f"attribute {attribute} has prefix {prefix}")
            name = data[:name_length].decode("utf-8", "backslashreplace")
            # Access control lists are all of their name.
            found[PREFIXES[prefix] + (name if PREFIXES[prefix][-1] == "." else "")] = data[name_length + 1 :]
        return found

    # Contents

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB, what no node has as zeros. See `Reader.open`."""
        if not isinstance(locator, int):
            raise Malformed("not an inode number")
        node, _ = self._latest(locator)
        if node.mode >> 12 != 8:
            raise Malformed(f"inode {locator} is not a regular file")
        yield from guarded(self._contents(locator, node.size), self.limits, self.source.size)

    def _contents(self, number: int, size: int) -> Iterator[bytes]:
        position = 0
        parts: list[bytes] = []
        held = 0
        for fragment in self._fragments(number, size):
            try:
                if fragment.start > position:
                    yield b"".join(parts)
                    parts, held = [], 0
                    yield from _zeros(fragment.start - position)
                node = fragment.node
                if node.compression == 1:
                    yield b"".join(parts)
                    parts, held = [], 0
                    yield from _zeros(fragment.end - fragment.start)
                else:
                    data = self._data(node, fragment.at)
                    parts.append(data[fragment.start - node.offset : fragment.end - node.offset])
                    held += fragment.end - fragment.start
            except UnpackError:
                yield b"".join(parts)
                raise
            if held >= CHUNK:
                yield b"".join(parts)
                parts, held = [], 0
            position = fragment.end
        yield b"".join(parts)
        yield from _zeros(size - position)

    def _fragments(self, number: int, size: int) -> list[_Fragment]:
        """Return which node has which part of a file: the newest of those that wrote it."""
        versions = self.scan.inodes[number]
        taken: list[_Fragment] = []
        for version in sorted(versions, reverse=True):
            at = versions[version]
            node = self._node(at)
            start, end = node.offset, min(node.offset + node.decoded, size)
            if start < end:
                _insert(taken, _Fragment(start, end, node, at))
        return taken

    # Claims

    def claims(self) -> list[Claim]:
        """Return the nodes, and what lies between them; what is erased after the last is padding up to its eraseblock.

        Where no node tells the size of an eraseblock, that padding is claimed only if it ends the source.
        """
        claims = self.scan.explained.claims()
        start, size = self.scan.end, self.source.size
        end = min(start + -start % self.erase_size, size) if self.erase_size else size
        if self.erase_size or end - start <= LONGEST:
            data = self.source.pread(start, end - start)
            if data and not data.strip(b"\xff"):
                claims.append(Claim(start, len(data), "padding"))
        return claims


def _insert(taken: list[_Fragment], fragment: _Fragment) -> None:
    """Add what of a part is not taken yet; `taken` stays in order and without overlaps."""
    start, end = fragment.start, fragment.end
    at = bisect_right(taken, start, key=lambda other: other.end)
    while start < end:
        if at == len(taken) or end <= taken[at].start:
            taken.insert(at, fragment._replace(start=start))
            return
        if start < taken[at].start:
            taken.insert(at, fragment._replace(start=start, end=taken[at].start))
            at += 1
        start = taken[at].end
        at += 1


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield _ZEROS[:length]
        length -= CHUNK


def _open(source: Source, limits: Limits) -> Reader:
    raw = source.pread(0, FIXED[INODE])
    layout = LITTLE if raw[:2] == LITTLE.magic else BIG
    found = header(raw, 0, layout)
    if found is None or found[0] | ACCURATE not in FIXED or found[1] > source.size:
        raise NotThisFormat
    if found[0] & ACCURATE and not layout.intact(raw, found[0]):
        raise NotThisFormat
    if found[0] == ENTRY and not raw[28]:
        raise NotThisFormat  # a CRC that is not inverted also holds for a header and zeros
    return Jffs2Reader(source, limits, layout)


def _magics() -> list[tuple[int, bytes]]:
    return [
        (0, layout.header.pack(0x1985, state, 0, 0)[:4])
        for layout in (LITTLE, BIG)
        for kind in FIXED
        for state in (kind, kind & ~ACCURATE)
    ]


FORMAT = Format(
    name="jffs2",
    title="JFFS2, file system for raw flash (Linux), either byte order, rtime, zlib, lzo, lzma",
    open=_open,
    magics=_magics(),
    references=[
        Reference("JFFS: The Journalling Flash File System", "https://sourceware.org/jffs2/jffs2.pdf"),
        Reference(
            "Linux, uapi/linux/jffs2.h", "https://github.com/torvalds/linux/blob/master/include/uapi/linux/jffs2.h"
        ),
    ],
    limitations=[
        "files compressed with rubinmips or dynrubin are named, not read: systems swapped the two numbers",
        "lzma is read as OpenWrt writes it",
        "names and data that were deleted and still lie on the flash are explained, not listed",
        "two file systems with no gap between them, and nothing in common that differs, are read as one",
        "flash dumps with out-of-band data between pages are not read; take them out first",
        "summaries are not used: all nodes are read",
        "the older format with the magic 0x1984 is not read",
    ],
)
