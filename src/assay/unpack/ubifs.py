"""UBIFS, the file system of Linux for raw NAND flash; it lies in a volume of UBI, or in an update image for one.

A superblock and two eraseblocks of master nodes lead to the index (see `ubifs_index`), which leads to inodes, names,
extended attributes and blocks of data of 4 KiB, each a node of its own. An entry's locator is its inode number.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from .base import (
    CHUNK,
    Claim,
    Encrypted,
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
    Truncated,
    UnpackError,
    Unsupported,
    guarded,
)
from .stretch import Stretches
from .tree import walk
from .ubifs_index import Index, Place
from .ubifs_structures import (
    ATTRIBUTE,
    ATTRIBUTE_VALUE,
    BLOCK,
    COMPRESSIONS,
    DATA,
    ENCRYPTED,
    ENTRY,
    FLAGS,
    HASHES,
    HEADER,
    INODE,
    MAGIC,
    MASTER_FLAGS,
    NUMBER_MASK,
    PADDING,
    SIGNATURE,
    SUPERBLOCK,
    Inode,
    Superblock,
    block,
    checked,
    inode,
    key,
    name,
    nodes,
    superblock,
)

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
_ATTRIBUTES = 1 << 20
"""Most bytes of extended attributes read for one inode."""
_RUN = 256
"""Data nodes that are read together: at most 1 MiB."""
_ZEROS = bytes(CHUNK)
_VERSION = 5
_SMALLEST, _LARGEST = 15 << 10, 64 << 20
"""Sizes of a logical eraseblock, in bytes."""


class UbifsReader(Reader):
    """An opened UBIFS. It has no count of files, so `declared` is None."""

    def __init__(self, source: Source, limits: Limits, head: Superblock) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.head = head
        self.index = Index(source, head, limits)
        self.detail = self._details()
        self._listed: set[int] = set()

    def _details(self) -> dict[str, str | int | bool | None]:
        head, master = self.head, self.index.master
        flags = " ".join(name for bit, name in FLAGS.items() if head.flags & bit)
        detail: dict[str, str | int | bool | None] = {
            "version": head.version,
            "uuid": str(uuid.UUID(bytes=head.uuid)),
            "flags": flags,
            "compression": COMPRESSIONS[head.compression] if head.compression < len(COMPRESSIONS) else head.compression,
            "key_hash": {0: "r5", 1: "test"}.get(head.key_hash, head.key_hash),
            "min_io_size": head.min_io,
            "leb_size": head.leb_size,
            "lebs": head.leb_count,
            "max_lebs": head.max_leb_count,
            "fanout": head.fanout,
            "reserved_bytes": head.reserve,
            "reserved_uid": head.reserve_uid,
            "reserved_gid": head.reserve_gid,
            "master_nodes": self.index.masters,
            "index_nodes": len(self.index.keys),
            "journal_nodes": self.index.replayed,
        }
        if master:
            detail["commit"] = master.commit
            detail["highest_inode"] = master.highest_inode
            detail["master_flags"] = " ".join(name for bit, name in MASTER_FLAGS.items() if master.flags & bit)
        if head.flags & 0x20:
            detail["hash"] = HASHES[head.hash][0]
            first = self.index.leb(0)
            detail["signature_bytes"] = next(
                (node.length - 64 for node in nodes(first) if node.kind == SIGNATURE), None
            )
        return detail

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in the order of their hashes, the root first with an empty path."""
        self._listed = set()
        yield from self.index.problems
        beyond = sum(1 for where in self.index.places if (where >> 16) + (where & 0xFFFF) > self.source.size)
        if beyond:
            text = f"{beyond} of {len(self.index.places)} nodes of the index lie beyond the end of the source"
            yield Problem("truncated", text, b"", 0)
        yield from walk(_ROOT, self._describe, self._children, self.limits)
        missing = 0
        for at, where in zip(self.index.keys, self.index.places, strict=True):
            if at & 0xFFFFFFFF == INODE and at >> 32 not in self._listed:
                missing += self._is_lost(where)
        if missing:
            yield Problem("malformed", f"{missing} inodes not found in any directory", b"", missing)

    def _is_lost(self, where: Place) -> bool:
        """Tell whether an inode that no directory lists should be: not a deleted one, nor an attribute's value."""
        try:
            found = inode(self.index.node(where, INODE))
            return found.nlink > 0 and not found.flags & ATTRIBUTE_VALUE
        except UnpackError:
            return True

    def _inode(self, number: int) -> Inode:
        for _, where in self.index.range(key(number, INODE), key(number, INODE)):
            return inode(self.index.node(where, INODE))
        raise Malformed(f"inode {number} is not in the index")

    def _describe(self, number: int, path: bytes) -> tuple[Entry, Problem | None]:
        found = self._inode(number)
        kind = _TYPES.get(found.mode >> 12)
        if kind is None:
            raise Malformed(f"inode {number} has mode {found.mode:#o}")
        self._listed.add(number)
        problem = None
        entry = Entry(
            path=path,
            type=kind,
            mode=found.mode & 0o7777,
            uid=found.uid,
            gid=found.gid,
            mtime=found.mtime,
            atime=found.atime,
            ctime=found.ctime,
            inode=number,
            nlink=found.nlink,
        )
        if kind == "regular":
            entry.locator = number
            entry.size = found.size
        elif kind == "symlink":
            if found.flags & ENCRYPTED:
                problem = Problem("encrypted", "the target is encrypted", path, 0)
            else:
                entry.link = found.data
        elif kind in ("chardev", "blockdev"):
            if len(found.data) in (4, 8):
                device = int.from_bytes(found.data, "little")
                entry.device = (device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00)
            else:
                problem = Problem("malformed", f"a device number of {len(found.data)} bytes", path, 0)
        elif kind == "directory" and found.flags & ENCRYPTED:
            problem = Problem("encrypted", "the names in this directory are encrypted", path, 0)
        try:
            entry.xattrs = self._attributes(number)
        except UnpackError as error:
            problem = Problem(error.reason, f"extended attributes: {error}", path, 0)
        return entry, problem

    def _children(self, number: int) -> Iterator[tuple[int, bytes]]:
        failure: UnpackError | None = None
        for _, where in self.index.range(key(number, ENTRY), key(number, ENTRY, NUMBER_MASK)):
            try:
                entry = name(self.index.node(where, ENTRY))
            except UnpackError as error:
                failure = failure or error
                continue
            if entry.inode:
                yield entry.inode, entry.name
        if failure:
            raise failure

    def _attributes(self, number: int) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        room = _ATTRIBUTES
        for _, where in self.index.range(key(number, ATTRIBUTE), key(number, ATTRIBUTE, NUMBER_MASK)):
            entry = name(self.index.node(where, ATTRIBUTE))
            if not entry.inode:
                continue
            value = self._inode(entry.inode).data
            room -= len(entry.name) + len(value)
            if room < 0:
                raise Malformed(f"more than {_ATTRIBUTES} bytes")
            found[entry.name.decode("utf-8", "backslashreplace")] = value
        return found

    # Contents

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB, holes as zeros. See `Reader.open`."""
        if not isinstance(locator, int) or not 0 < locator < 1 << 32:
            raise Malformed("not an inode number")
        found = self._inode(locator)
        if found.mode >> 12 != 8:
            raise Malformed(f"inode {locator} is not a regular file")
        if found.flags & ENCRYPTED:
            raise Encrypted(f"inode {locator}")
        yield from guarded(self._data(locator, found.size), self.limits, self.source.size)

    def _data(self, number: int, size: int) -> Iterator[bytes]:
        position = 0
        for start, raw, lengths in self._runs(number, size):
            yield from _zeros(start - position)
            parts: list[bytes] = []
            position, at = start, 0
            for length in lengths:
                node = raw[at : at + length]
                if len(node) < length:
                    yield b"".join(parts)
                    raise Truncated(f"ends inside block {position // BLOCK + len(parts)}")
                at += length + -length % 8
                try:
                    checked(node, DATA)
                    part = block(node)
                except UnpackError as error:
                    yield b"".join(parts)
                    raise type(error)(f"block {position // BLOCK + len(parts)}: {error}") from None
                parts.append(part.ljust(BLOCK, b"\0"))  # what a block lacks is a hole
            data = b"".join(parts)[: size - start]
            yield data
            position += len(data)
        yield from _zeros(size - position)

    def _runs(self, number: int, size: int) -> Iterator[tuple[int, memoryview, list[int]]]:
        """Yield blocks that follow each other both in the file and in the source.

        Yields:
            Offset in the file, the nodes' bytes, and their lengths; each begins at a multiple of 8.
        """
        end = -(-size // BLOCK)
        if not end:
            return
        first, begin, stop = 0, 0, 0
        lengths: list[int] = []
        last = min(end - 1, NUMBER_MASK)
        for at, where in self.index.range(key(number, DATA), key(number, DATA, last)):
            number_, offset, length = at & NUMBER_MASK, where >> 16, where & 0xFFFF
            if lengths and (number_ != first + len(lengths) or offset != stop + -stop % 8 or len(lengths) == _RUN):
                yield first * BLOCK, memoryview(self.source.pread(begin, stop - begin)), lengths
                lengths = []
            if not lengths:
                first, begin = number_, offset
            lengths.append(length)
            stop = offset + length
        if lengths:
            yield first * BLOCK, memoryview(self.source.pread(begin, stop - begin)), lengths

    # Claims

    def claims(self) -> list[Claim]:
        """Return what the nodes of all areas are; bytes between nodes are padding where they are what UBIFS pads with.

        Nodes of the main area that neither the index nor the journal has are obsolete: older generations, or deleted.
        """
        explained = Stretches()
        head, size = self.head, self.head.leb_size
        used = iter(sorted(self.index.places))
        current = next(used, 0)
        for number in range(min(head.leb_count, -(-self.source.size // size))):
            raw, base = self.index.leb(number), number * size
            part = self._area(number)
            if part == "properties of eraseblocks":
                self._properties(explained, raw, base)
                continue
            at = 0
            for node in nodes(raw):
                self._gap(explained, raw, at, node.at, base)
                what = part
                if part == "nodes" and node.kind <= ATTRIBUTE:
                    where = base + node.at
                    while current and current >> 16 < where:
                        current = next(used, 0)
                    what = "nodes" if current >> 16 == where else "obsolete nodes"
                at = node.at + node.length
                if node.kind != PADDING and not raw[at : at + -at % 8].strip(b"\0\xce\xff"):
                    at = min(at + -at % 8, len(raw))
                explained.add(base + node.at, base + at, what)
                if node.kind == PADDING and node.length >= 28:
                    length = int.from_bytes(raw[node.at + 24 : node.at + 28], "little")
                    if not raw[at : at + length].strip(b"\0") and at + length <= len(raw):
                        explained.add(base + at, base + at + length, "padding")
                        at += length
            self._gap(explained, raw, at, len(raw), base)
        return explained.claims()

    def _area(self, number: int) -> str:
        head = self.head
        for first, what in (
            (head.main, "nodes"),
            (head.main - head.orphan_lebs, "orphans"),
            (3 + head.log_lebs, "properties of eraseblocks"),
            (3, "log"),
            (1, "master nodes"),
        ):
            if number >= first:
                return what
        return "superblock"

    def _gap(self, explained: Stretches, raw: bytes, start: int, end: int, base: int) -> None:
        """Explain bytes between nodes: 0xCE where a padding node does not fit, erased flash."""
        between = raw[start:end]
        if not between.strip(b"\xff") or (len(between) < 32 and not between.strip(b"\xce")):
            explained.add(base + start, base + end, "padding")

    def _properties(self, explained: Stretches, raw: bytes, base: int) -> None:
        """Explain an eraseblock of the tree of properties, whose records have no header; erased flash follows them."""
        end = len(raw.rstrip(b"\xff"))
        end = min(end + -end % self.head.min_io, len(raw))
        explained.add(base, base + end, "properties of eraseblocks")
        explained.add(base + end, base + len(raw), "padding")


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield _ZEROS[:length]
        length -= CHUNK


def _open(source: Source, limits: Limits) -> Reader:
    raw = source.pread(0, HEADER.size)
    if raw[:4] != MAGIC or len(raw) < HEADER.size or raw[20] != SUPERBLOCK or raw[16:20] != b"\0\x10\0\0":
        raise NotThisFormat
    raw = source.pread(0, 4096)
    try:
        checked(raw, SUPERBLOCK)
    except Malformed:
        raise NotThisFormat from None
    head = superblock(raw)
    if head.ro_compat or head.key_format:
        raise Unsupported(f"UBIFS {head.version}, to be read as {head.ro_compat}, key format {head.key_format}")
    if not _SMALLEST <= head.leb_size <= _LARGEST or head.leb_size % 8:
        raise Malformed(f"logical eraseblocks of {head.leb_size} bytes")
    if not 8 <= head.min_io <= head.leb_size or head.min_io & (head.min_io - 1):
        raise Malformed(f"least write of {head.min_io} bytes")
    if not 2 <= head.log_lebs < head.leb_count or head.main >= head.leb_count:
        raise Malformed(f"areas of {head.main} of {head.leb_count} eraseblocks")
    return UbifsReader(source, limits, head)


FORMAT = Format(
    name="ubifs",
    title="UBIFS, file system for raw NAND flash (Linux), lzo, zlib, zstd",
    open=_open,
    magics=[(0, MAGIC)],
    references=[
        Reference("Linux, UBI File System", "https://docs.kernel.org/filesystems/ubifs.html"),
        Reference("Linux MTD, UBIFS white paper", "http://www.linux-mtd.infradead.org/doc/ubifs_whitepaper.pdf"),
        Reference(
            "Linux, UBIFS authentication support", "https://docs.kernel.org/filesystems/ubifs-authentication.html"
        ),
    ],
    limitations=[
        "encrypted files, names and targets are named, not decrypted",
        "the hashes and the signature of an authenticated file system are not verified",
        "where a part of the index is lost, the newest nodes of its keys stand in: deleted files may come back",
        "files deleted while open (orphans) are not listed, obsolete nodes are explained and not listed",
        "sizes of files that were being written when the power went are taken as the inode has them",
        "the tree of properties of eraseblocks is not read",
    ],
)
