"""EROFS, the enhanced read-only file system of Linux: Android's system partitions, container images, firmware.

A superblock at offset 1024 says where inodes are counted from: inode n is 32 n bytes after that, so a number is a place
and an entry's locator. What follows an inode are extended attributes, then the end of a short file or directory, the
list of its chunks, or the indexes of its compressed clusters. Ends of compressed files may lie in one packed inode.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

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
    Truncated,
    UnpackError,
    Unsupported,
    guarded,
)
from .cover import Cover
from .erofs_clusters import FRAGMENT, HOLE, NAMES, Clusters, Extent, decode
from .erofs_structures import (
    CHUNKS,
    COMPACT,
    INDEXED,
    INLINE,
    OFFSET,
    PLAIN,
    Detail,
    Inode,
    Superblock,
    attribute_record,
    crc32c,
    directory_records,
    long_prefixes,
    parse_inode,
    parse_superblock,
)
from .tree import walk

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
_ATTRIBUTES = 1 << 20
"""Most bytes of extended attributes read for one inode."""
_MAP = 128
"""What is reckoned for one extent of the packed inode, in bytes."""
_ZEROS = bytes(CHUNK)


class ErofsReader(Reader):
    """An opened EROFS. `declared` is the superblock's count of inodes, the root directory among them.

    Names that are hard links of each other share one inode, so more entries than `declared` may be listed.
    """

    def __init__(self, source: Source, limits: Limits, head: Superblock, detail: Detail) -> None:
        self.format = FORMAT
        # What lies beyond the image, in a bigger source, is not the image's.
        self.source = source.window(0, head.blocks << head.block_bits)
        self.limits = limits
        self.head = head
        self.detail = detail
        self.declared = head.inodes
        self.size = head.blocks << head.block_bits
        if head.incompat & 0x2:
            names = [name for bit, name in enumerate(NAMES) if head.algorithms >> bit & 1]
            self.detail["compression"] = " ".join(names)
        self._prefixes: list[tuple[int, bytes]] | None = None
        self._packed: tuple[Inode, list[Extent]] | None = None
        self._decoded: dict[int, bytes] = {}
        # What listing leaves behind: for itself, and for claims.
        self._cover = Cover()
        self._listed: set[int] = set()
        self._directory_room = 0
        self._maps_room = 0

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in their stored order, the root first with an empty path."""
        head = self.head
        self._cover = Cover()
        self._listed = set()
        # Neither directories in blocks nor lists of chunks and clusters overlap in a sound image.
        self._maps_room = self.source.size
        self._directory_room = self.source.size + self.limits.metadata_bytes
        self._cover.add(0, OFFSET, "boot code" if self.source.pread(0, OFFSET).strip(b"\0") else "padding")
        self._cover.add(OFFSET, OFFSET + head.length, "superblock")
        if head.incompat & 0x2:
            self._cover.add(OFFSET + head.length, self._configurations(), "superblock")
        if problem := self._checked():
            yield problem
        if head.packed:
            try:
                self._explain(self._inode(head.packed), "packed inode")
            except UnpackError as error:
                yield Problem(error.reason, f"packed inode: {error}", b"", 0)
        lost = 0
        for item in walk(head.root, self._describe, self._children, self.limits):
            if isinstance(item, Problem):
                lost += item.entries
            yield item
        missing = head.inodes - len(self._listed) - bool(head.packed) - lost
        if self.size > self.source.size:
            text = f"superblock declares {self.size} bytes, the source has {self.source.size}"
            yield Problem("truncated", text, b"", max(0, missing))
        elif missing > 0:
            yield Problem("malformed", f"{missing} of {head.inodes} inodes not found in any directory", b"", missing)

    def _configurations(self) -> int:
        """Return where the configurations of compression algorithms end: u16 length and data for each."""
        at = OFFSET + self.head.length
        for bit in range(16):
            if self.head.algorithms >> bit & 1:
                at += 2 + int.from_bytes(self.source.pread(at, 2), "little")
        return at

    def _checked(self) -> Problem | None:
        if not self.head.compat & 0x1:
            return None
        length = max(self.head.block_size - OFFSET, self.head.length) if self.head.block_size > OFFSET else None
        block = self.source.pread(OFFSET, length or self.head.block_size)
        stated = int.from_bytes(block[4:8], "little")
        if (found := crc32c(block[:4] + bytes(4) + block[8:])) == stated:
            return None
        return Problem("malformed", f"the superblock has the CRC-32C {found:08x} and says {stated:08x}", b"", 0)

    def _inode(self, number: int) -> Inode:
        at = self.head.meta + number * 32
        if at >= self.size:
            raise Malformed(f"inode {number} would be at offset {at} of {self.size}")
        raw = self.source.pread(at, 64)
        if len(raw) < 32 or (raw[0] & 1 and len(raw) < 64):
            raise Truncated(f"inode {number} at offset {at}, the source has {self.source.size}")
        return parse_inode(number, at, raw, self.head)

    def _describe(self, number: int, path: bytes) -> tuple[Entry, Problem | None]:
        inode = self._inode(number)
        kind = _TYPES.get(inode.mode >> 12)
        if kind is None:
            raise Malformed(f"inode {number} has mode {inode.mode:#o}")
        problem = None
        entry = Entry(
            path=path,
            type=kind,
            mode=inode.mode & 0o7777,
            uid=inode.uid,
            gid=inode.gid,
            mtime=inode.mtime,
            inode=number,
            nlink=inode.nlink,
        )
        if kind == "regular":
            entry.locator = number
            entry.size = inode.size
        elif kind == "symlink":
            try:
                if inode.size > _TARGET:
                    raise Malformed(f"{inode.size} bytes")
                entry.link = b"".join(self._contents(inode))
            except UnpackError as error:
                problem = Problem(error.reason, f"target: {error}", path, 0)
        elif kind in ("chardev", "blockdev"):
            entry.device = (inode.start >> 8 & 0xFFF, inode.start & 0xFF | inode.start >> 12 & 0xFFF00)
        try:
            for name, value in self._attributes(inode):
                entry.xattrs[name] = value
        except UnpackError as error:
            problem = Problem(error.reason, f"extended attributes: {error}", path, 0)
        if number not in self._listed:
            self._listed.add(number)
            self._explain(inode, "data" if kind != "directory" else "directories")
        return entry, problem

    def _attributes(self, inode: Inode) -> Iterator[tuple[str, bytes]]:
        """Yield (name, value): those in the inode, then those that it shares with others."""
        if not inode.attributes:
            return
        # u32 filter of names; u8 number of shared ones; u8[7]; u32 places of shared ones, in units of 4 bytes; records
        raw = self.source.exactly(inode.end - inode.attributes, inode.attributes)
        prefixes = self._long_prefixes()
        shared = raw[4]
        at = 12 + 4 * shared
        if at > len(raw):
            raise Malformed(f"{shared} shared ones in {len(raw)} bytes")
        room = _ATTRIBUTES
        while at + 4 <= len(raw) and raw[at : at + 4] != bytes(4):
            name, value, at = attribute_record(raw, at, prefixes)
            room -= len(name) + len(value)
            yield name, value
        for (place,) in struct.iter_unpack("<I", raw[12 : 12 + 4 * shared]):
            offset = self.head.shared + 4 * place
            fixed = self.source.exactly(offset, 4)
            record = self.source.pread(offset, 4 + fixed[0] + int.from_bytes(fixed[2:4], "little"))
            name, value, end = attribute_record(record, 0, prefixes)
            self._cover.add(offset, offset + end, "shared extended attributes")
            room -= len(name) + len(value)
            if room < 0:
                raise Malformed(f"more than {_ATTRIBUTES} bytes")
            yield name, value

    def _long_prefixes(self) -> list[tuple[int, bytes]]:
        if self._prefixes is None:
            head = self.head
            data = b""
            most = head.prefix_count * 272
            if head.prefix_count and head.packed and not head.compat & 0x10:
                data = b"".join(self._part(head.prefix_start, most))
            elif head.prefix_count:
                data = self.source.pread(head.prefix_start, most)
            self._prefixes = list(long_prefixes(data, head.prefix_count))
            if data and not (head.packed and not head.compat & 0x10):
                used = sum(4 + len(infix) & ~3 for _, infix in self._prefixes)
                self._cover.add(head.prefix_start, head.prefix_start + used, "prefixes of extended attributes")
        return self._prefixes

    def _children(self, number: int) -> Iterator[tuple[int, bytes]]:
        inode = self._inode(number)
        self._directory_room -= inode.size
        if self._directory_room < 0:
            raise Malformed("directories share blocks: together they are longer than the image")
        size = self.head.block_size
        failure = None
        rest = b""
        for chunk in self._contents(inode):
            data = rest + chunk
            whole = len(data) // size * size
            for at in range(0, whole, size):
                failure = (yield from directory_records(data[at : at + size])) or failure
            rest = data[whole:]
        if rest:
            failure = (yield from directory_records(rest)) or failure
        if failure:
            raise Malformed(failure)

    # Contents

    def _contents(self, inode: Inode) -> Iterator[bytes]:
        """Yield the bytes of an inode in pieces of at most 1 MiB.

        Raises:
            UnpackError: they cannot be read on; what came before was right.
        """
        if not inode.size:
            return
        if inode.layout in (PLAIN, INLINE):
            for offset, length in self._flat(inode):
                yield from self.source.chunks(offset, length)
        elif inode.layout == CHUNKS:
            for where, length in self._chunks(inode):
                yield from self.source.chunks(where, length) if where is not None else _blank(length)
        else:
            for extent in Clusters(self.source, self.head, inode).extents():
                if extent.form == FRAGMENT:
                    yield from self._part(extent.offset, extent.length)
                elif extent.form == HOLE:
                    yield from _blank(extent.length)
                else:
                    data = decode(extent, self.source.pread(extent.offset, extent.stored), self.head)
                    for at in range(0, len(data), CHUNK):
                        yield data[at : at + CHUNK]

    def _flat(self, inode: Inode) -> Iterator[tuple[int, int]]:
        """Yield (offset, length): the blocks, then the tail that follows the inode."""
        blocks = inode.size
        if inode.layout == INLINE:
            blocks = (inode.size - 1) // self.head.block_size * self.head.block_size
        start = inode.start << self.head.block_bits
        if blocks:
            if start + blocks > self.size:
                raise self._elsewhere(f"{blocks} bytes at block {inode.start} of {self.head.blocks}")
            yield start, blocks
        if blocks < inode.size:
            if inode.end % self.head.block_size + inode.size - blocks > self.head.block_size:
                raise Malformed(f"the tail of inode {inode.number} goes on in another block")
            yield inode.end, inode.size - blocks

    def _elsewhere(self, text: str) -> UnpackError:
        """Return the error for blocks that are not in the image: there may be other devices that have them."""
        return Unsupported(f"on another device: {text}") if self.head.devices else Malformed(text)

    def _chunks(self, inode: Inode) -> Iterator[tuple[int | None, int]]:
        """Yield (offset, or None for a hole, length), neighbours as one."""
        size = self.head.block_size << (inode.start & 0x1F)
        wide = inode.start & 0x40 and self.head.incompat & 0x80
        hole = (1 << 48) - 1 if wide else (1 << 32) - 1
        # u32 block; or u16 high part, u16 device, u32 block
        record = 8 if inode.start & 0x20 else 4
        layout = "<HHI" if record == 8 else "<I"
        at = inode.end + -inode.end % record
        left = inode.size
        pending: tuple[int | None, int] | None = None
        while left:
            count = min(-(-left // size), CHUNK // 16)
            for fields in struct.iter_unpack(layout, self.source.exactly(at, count * record)):
                length = min(size, left)
                left -= length
                block = fields[-1] | (fields[0] << 32 if wide and record == 8 else 0)
                where = None if block == hole or fields[-1] == (1 << 32) - 1 else block << self.head.block_bits
                if where is not None and record == 8 and fields[1]:
                    raise Unsupported(f"on another device: chunk at block {block} of device {fields[1]}")
                if where is not None and where + length > self.size:
                    raise self._elsewhere(f"a chunk at block {block} of {self.head.blocks}")
                if pending and (
                    pending[0] + pending[1] == where if pending[0] is not None and where is not None else False
                ):
                    pending = pending[0], pending[1] + length
                    continue
                if pending:
                    yield pending
                pending = where, length
            at += count * record
        if pending:
            yield pending

    def _part(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a part of the packed inode, which holds ends of files."""
        inode, extents = self._packed_map()
        if offset + length > inode.size:
            raise Malformed(f"{length} bytes at {offset} of {inode.size} in the packed inode")
        end = offset + length
        low, high = 0, len(extents)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if extents[middle].start <= offset else (low, middle)
        for number in range(low, len(extents)):
            extent = extents[number]
            if extent.start >= end:
                break
            begin, stop = max(offset, extent.start), min(end, extent.start + extent.length)
            if extent.form == HOLE:
                yield from _blank(stop - begin)
            elif inode.layout in (PLAIN, INLINE):
                yield from self.source.chunks(extent.offset + begin - extent.start, stop - begin)
            else:
                data = self._decoded.pop(number, None)
                if data is None:
                    data = decode(extent, self.source.pread(extent.offset, extent.stored), self.head)
                    while self._decoded and len(self._decoded) * len(data) > 8 * CHUNK:
                        del self._decoded[next(iter(self._decoded))]
                self._decoded[number] = data
                for at in range(begin - extent.start, stop - extent.start, CHUNK):
                    yield data[at : min(at + CHUNK, stop - extent.start)]

    def _packed_map(self) -> tuple[Inode, list[Extent]]:
        if self._packed is None:
            if not self.head.packed:
                raise Malformed("there is no packed inode")
            inode = self._inode(self.head.packed)
            extents = []
            if inode.layout in (PLAIN, INLINE):
                position = 0
                for offset, length in self._flat(inode) if inode.size else ():
                    extents.append(Extent(position, length, 0, offset, length))
                    position += length
            elif inode.layout == CHUNKS:
                raise Unsupported("a packed inode in chunks")
            else:
                for extent in Clusters(self.source, self.head, inode).extents():
                    if extent.form == FRAGMENT:
                        raise Malformed("the packed inode is in itself")
                    extents.append(extent)
                    if len(extents) * _MAP > self.limits.metadata_bytes:
                        raise Malformed("the packed inode has too many extents to be kept")
            self._packed = inode, extents
        return self._packed

    def _file(self, locator: Locator) -> Inode:
        if not isinstance(locator, int) or locator < 0:
            raise Malformed("not an inode number")
        inode = self._inode(locator)
        if inode.mode >> 12 != 8:
            raise Malformed(f"inode {locator} is not a regular file")
        return inode

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB, holes as zeros. See `Reader.open`."""
        yield from guarded(self._contents(self._file(locator)), self.limits, self.source.size)

    def stored(self, locator: Locator) -> bytes | None:
        """Return SHA-256 over the stored clusters of a compressed file, and how they are cut. See `Reader.stored`."""
        try:
            inode = self._file(locator)
            if inode.layout not in (INDEXED, COMPACT) or not inode.size:
                return None
            digest = hashlib.sha256(struct.pack("<IIQ", self.head.block_size, self.head.incompat & 1, inode.size))
            for extent in Clusters(self.source, self.head, inode).extents():
                if extent.form == FRAGMENT:
                    return None
                digest.update(struct.pack("<QQII", extent.start, extent.length, extent.form, extent.stored))
                digest.update(self.source.exactly(extent.offset, extent.stored))
        except UnpackError:
            return None
        return digest.digest()

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies that is not compressed and in one piece. See `Reader.span`."""
        try:
            inode = self._file(locator)
            if not inode.size or inode.layout in (INDEXED, COMPACT):
                return None
            parts = self._flat(inode) if inode.layout != CHUNKS else self._chunks(inode)
            offset, length = next(parts)
        except UnpackError:
            return None
        whole = offset is not None and length == inode.size and offset + length <= self.source.size
        return (offset, length) if whole and offset is not None else None

    # Claims

    def _explain(self, inode: Inode, part: str) -> None:
        """Note where an inode lies, and what it refers to by whole blocks."""
        self._cover.add(inode.at, inode.end, "inodes")
        if inode.mode >> 12 not in (4, 8, 10) or not inode.size:
            return
        try:
            if inode.layout in (INDEXED, COMPACT):
                clusters = Clusters(self.source, self.head, inode)
                tail = clusters.end()
                self._maps_room -= tail - inode.end
                if self._maps_room < 0:
                    return
                self._cover.add(inode.end, tail, "inodes")
                for extent in clusters.extents():
                    if extent.form in (FRAGMENT, HOLE):
                        continue
                    self._cover.add(extent.offset, extent.offset + extent.stored, part)
                return
            if inode.layout == CHUNKS:
                record = 8 if inode.start & 0x20 else 4
                count = -(-inode.size // (self.head.block_size << (inode.start & 0x1F)))
                start = inode.end + -inode.end % record
                self._maps_room -= count * record
                if self._maps_room < 0:
                    return
                self._cover.add(inode.end, start + count * record, "inodes")
                parts = [(where, length) for where, length in self._chunks(inode) if where is not None]
            else:
                parts = list(self._flat(inode))
            for offset, length in parts:
                whole = offset + length if offset == inode.end else offset + length + -length % self.head.block_size
                self._cover.add(offset, whole, part)
        except UnpackError:
            return  # opening the file will say so

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Blocks of files are claimed whole, also what follows the file's end in the last."""
        return self._cover.claims(self.source, self.size)


def _blank(length: int) -> Iterator[bytes]:
    while length > 0:
        yield _ZEROS[:length]
        length -= CHUNK


def _open(source: Source, limits: Limits) -> Reader:
    parsed = parse_superblock(source.pread(OFFSET, 144))
    if parsed is None:
        raise NotThisFormat
    reader = ErofsReader(source, limits, *parsed)
    head = parsed[0]
    at = head.meta + head.root * 32
    mode = source.pread(at + 4, 2)
    if at + 32 > reader.size or (len(mode) == 2 and int.from_bytes(mode, "little") >> 12 != 4):
        raise NotThisFormat
    return reader


FORMAT = Format(
    name="erofs",
    title="EROFS (Linux), lz4, MicroLZMA, DEFLATE, Zstandard",
    open=_open,
    magics=[(OFFSET, b"\xe2\xe1\xf5\xe0")],
    references=[
        Reference("Linux, EROFS - Enhanced Read-Only File System", "https://docs.kernel.org/filesystems/erofs.html"),
        Reference("EROFS documentation, On-disk Format", "https://erofs.docs.kernel.org/en/latest/ondisk/index.html"),
    ],
    limitations=[
        "files with parts on other devices are named, not read",
        "inodes in a metabox are named, not read",
        "POSIX access control lists are kept in the form that the image has",
        "the superblock's checksum is verified; the format has none for anything else",
    ],
    smallest=OFFSET + 128,
)
