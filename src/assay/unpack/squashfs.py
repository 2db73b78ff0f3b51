"""SquashFS 1 to 4 in both byte orders, as kernels and vendors write it; the root file system of most firmware images.

A superblock is followed by compressor options, data blocks, fragment blocks (tails of files put together), and tables:
inodes, directories, fragments, export, owners, extended attributes. Tables are cut in metadata blocks of 8 KiB, each
compressed alone after a 16-bit length. An inode is named by a reference: the position of its metadata block in the
inode table, shifted left by 16, plus the offset in the decoded block. That reference is an entry's locator.

Versions 1 to 3 know zlib only, and version 4 names its compressor, but vendors put LZMA in all of them and do not say
so: the compressor is the one that explains the tables.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

from .base import (
    CHUNK,
    Claim,
    Entry,
    Format,
    Limits,
    Locator,
    Malformed,
    Problem,
    Reader,
    Reference,
    Source,
    Truncated,
    UnpackError,
    guarded,
    ns,
)
from .squashfs_blocks import decode, told
from .squashfs_inodes import NONE32, SAME, TYPES, Inode
from .squashfs_superblock import FLAGS, HEAD, MAGICS, parse
from .squashfs_tables import PLAIN, Tables, find
from .tree import walk

FRAGMENTS = 8 << 20
"""Bytes of decoded fragment blocks kept: small files that follow each other share them."""


class SquashfsReader(Reader):
    """An opened squashfs. `declared` is the superblock's count of inodes, the root directory among them.

    Names that are hard links of each other share one inode, so more entries than `declared` may be listed. When fewer
    distinct inodes are found than declared, listing ends with a `Problem` that has the number missing.
    """

    def __init__(self, source: Source, limits: Limits, tables: Tables, *, proved: bool) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.tables = tables
        self.head = head = tables.head
        self.compressor = tables.compressor
        self.declared = head.inodes
        self.detail = {
            "version": f"{head.major}.{head.minor}",
            "byte_order": "little" if head.order == "<" else "big",
            "compression": self.compressor.name,
            "block_size": head.block_size,
            "bytes_used": head.bytes_used,
            "inodes": head.inodes,
            "fragments": head.fragments,
            "mtime": ns(head.mtime) if head.timed else None,
            "flags": " ".join(name for name, bit in FLAGS.items() if head.flags & bit),
        }
        if head.magic not in MAGICS[:2]:
            self.detail["magic"] = head.magic.decode()
        named = told(head.compressor)
        if self.compressor is not named:
            self.detail["compression_told"] = named.name if named else str(head.compressor)
        if not proved:
            self.detail["compression_proved"] = False
        self.detail |= tables.option_fields()
        self._zeros = bytes(head.block_size)
        self._fragments: dict[int, bytes] = {}
        self._fragment_digests: dict[int, bytes] = {}
        # What listing leaves behind: for itself, and for claims.
        self._users: list[int] = []
        self._groups: list[int] = []
        self._listed: set[int] = set()
        self._extents: list[tuple[int, int]] = []
        self._lists_room = 0

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in their stored order, the root first with an empty path."""
        self._listed = set()
        self._extents = []
        self._lists_room = self.limits.metadata_bytes
        try:
            self._users, self._groups = self.tables.owners()
        except UnpackError as error:
            self._users = self._groups = []
            yield Problem(error.reason, f"owner table: {error}", b"", 0)
        lost = 0
        for item in walk(self.head.root, self._describe, self.tables.names, self.limits):
            if isinstance(item, Problem):
                lost += item.entries
            yield item
        truncated = self.head.bytes_used > self.source.size
        missing = self.head.inodes - len(self._listed) - lost
        if truncated:
            yield Problem(
                "truncated",
                f"superblock declares {self.head.bytes_used} bytes, the source has {self.source.size}; "
                f"{max(0, missing)} inodes not found",
                b"",
                max(0, missing),
            )
        elif missing > 0:
            yield Problem(
                "malformed", f"{missing} of {self.head.inodes} inodes not found in any directory", b"", missing
            )

    def _describe(self, reference: int, path: bytes) -> tuple[Entry, Problem | None]:
        inode = self.tables.inode(reference)
        kind = TYPES[inode.kind]
        problem = None
        uid = self._users[inode.uid] if inode.uid < len(self._users) else None
        gid = uid if inode.gid == SAME else self._groups[inode.gid] if inode.gid < len(self._groups) else None
        entry = Entry(
            path=path,
            type=kind,
            mode=inode.mode & 0o7777,
            uid=uid,
            gid=gid,
            mtime=None if inode.mtime is None else ns(inode.mtime),
            inode=inode.number,
            nlink=inode.nlink,
        )
        if kind == "regular":
            entry.locator = reference
            entry.size = inode.size
        elif kind == "symlink":
            entry.link = self.tables.inodes.read(reference >> 16, (reference & 0xFFFF) + inode.rest, inode.size)
        elif kind in ("chardev", "blockdev"):
            device = inode.device
            entry.device = (device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00)
        if self._users and (uid is None or gid is None):
            problem = Problem("malformed", f"owner {inode.uid} or group {inode.gid} is not in the owner table", path, 0)
        if inode.xattr != NONE32:
            try:
                entry.xattrs = self.tables.attributes(inode.xattr)
            except UnpackError as error:
                problem = Problem(error.reason, f"extended attributes: {error}", path, 0)
        if reference not in self._listed:
            self._listed.add(reference)
            if kind == "regular":
                self._explain(reference, inode)
        return entry, problem

    def _explain(self, reference: int, inode: Inode) -> None:
        """Note where a file's full blocks lie. All block lists together fit the inode table, so longer ones lie."""
        self._lists_room -= 4 * inode.blocks
        if self._lists_room < 0:
            return
        try:
            stored = sum(word & ~PLAIN for words in self.tables.words(reference, inode) for word in words)
        except UnpackError:
            return  # opening the file will say so
        if not stored:
            return
        if self._extents and self._extents[-1][1] == inode.start:
            self._extents[-1] = (self._extents[-1][0], inode.start + stored)
        else:
            self._extents.append((inode.start, inode.start + stored))

    # Contents

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes, a block at a time. See `Reader.open`."""
        reference, inode = self._file(locator)
        if inode.blocks:
            yield from guarded(self._contents(reference, inode), self.limits, self.source.size)
        elif inode.size:
            yield self._tail(inode)

    def _file(self, locator: Locator) -> tuple[int, Inode]:
        if not isinstance(locator, int) or not 0 <= locator < 1 << 64:
            raise Malformed("not a reference")
        inode = self.tables.inode(locator)
        if TYPES[inode.kind] != "regular":
            raise Malformed(f"reference {locator:#x} is not a regular file")
        return locator, inode

    def _contents(self, reference: int, inode: Inode) -> Iterator[bytes]:
        position, left = inode.start, inode.size
        for words in self.tables.words(reference, inode):
            for raw, run in self._runs(position, words):
                at = 0
                for word in run:
                    expected = min(self.head.block_size, left)
                    yield self._block(raw[at : at + (word & ~PLAIN)], word, expected, position + at)
                    at += word & ~PLAIN
                    left -= expected
                position += at
        if left:
            yield self._tail(inode)

    def _runs(self, position: int, words: tuple[int, ...]) -> Iterator[tuple[memoryview, tuple[int, ...]]]:
        """Yield blocks that are read together: their stored bytes and their size words."""
        first = length = 0
        for index, word in enumerate(words):
            stored = word & ~PLAIN
            if length and length + stored > CHUNK:
                yield memoryview(self.source.pread(position, length)), words[first:index]
                position += length
                first, length = index, 0
            length += stored
        yield memoryview(self.source.pread(position, length)), words[first:]

    def _block(self, stored: memoryview, word: int, expected: int, offset: int) -> bytes:
        """Return a block of exactly `expected` bytes; a block that is not stored at all is zeros."""
        if not word & ~PLAIN:
            return self._zeros[:expected]
        if len(stored) < word & ~PLAIN:
            raise Truncated(f"block at offset {offset} of {word & ~PLAIN} bytes, the source has {self.source.size}")
        try:
            data = bytes(stored) if word & PLAIN else decode(self.compressor, stored, expected)
        except Malformed as error:
            raise Malformed(f"block at offset {offset}: {error}") from None
        if len(data) != expected:
            raise Malformed(f"block at offset {offset} has {len(data)} bytes instead of {expected}")
        return data

    def _tail(self, inode: Inode) -> bytes:
        data = self._fragments.pop(inode.fragment, None)
        if data is None:
            start, word = self.tables.fragment(inode.fragment)
            stored = self.source.exactly(start, word & ~PLAIN)
            try:
                data = stored if word & PLAIN else decode(self.compressor, stored, self.head.block_size)
            except Malformed as error:
                raise Malformed(f"fragment at offset {start}: {error}") from None
            if len(self._fragments) >= max(2, FRAGMENTS // self.head.block_size):
                del self._fragments[next(iter(self._fragments))]
        self._fragments[inode.fragment] = data
        length = inode.size % self.head.block_size
        tail = data[inode.offset : inode.offset + length]
        if len(tail) != length:
            raise Malformed(f"a tail of {length} bytes at {inode.offset} in a fragment of {len(data)}")
        return tail

    def stored(self, locator: Locator) -> bytes | None:
        """Return SHA-256 over the stored blocks and all that decoding them depends on. See `Reader.stored`.

        A fragment block is hashed once and its digest mixed in, because hundreds of small files may share it.
        """
        try:
            reference, inode = self._file(locator)
            digest = hashlib.sha256(self.compressor.name.encode())
            digest.update(struct.pack("<IQ", self.head.block_size, inode.size))
            position = inode.start
            for words in self.tables.words(reference, inode):
                digest.update(struct.pack(f"<{len(words)}I", *words))
                length = sum(word & ~PLAIN for word in words)
                for data in self.source.chunks(position, length):
                    digest.update(data)
                position += length
            if inode.size and inode.size > inode.blocks * self.head.block_size:
                digest.update(self._fragment_digest(inode.fragment) + struct.pack("<I", inode.offset))
        except UnpackError:
            return None
        return digest.digest()

    def _fragment_digest(self, index: int) -> bytes:
        found = self._fragment_digests.get(index)
        if found is None:
            start, word = self.tables.fragment(index)
            found = hashlib.sha256(struct.pack("<I", word) + self.source.exactly(start, word & ~PLAIN)).digest()
            if len(self._fragment_digests) < 65536:
                self._fragment_digests[index] = found
        return found

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies that is stored as it is. See `Reader.span`."""
        try:
            reference, inode = self._file(locator)
            if inode.blocks * self.head.block_size >= inode.size:
                left = inode.size
                for words in self.tables.words(reference, inode):
                    for word in words:
                        length = min(left, self.head.block_size)
                        if word != length | PLAIN:
                            return None
                        left -= length
                return inode.start, inode.size
            if not inode.blocks:
                start, word = self.tables.fragment(inode.fragment)
                if word & PLAIN and inode.offset + inode.size <= word & ~PLAIN:
                    return start + inode.offset, inode.size
        except UnpackError:
            pass
        return None

    # Claims

    def claims(self) -> list[Claim]:
        """Return what listing has explained: blocks that files refer to, tables as far as they were decoded."""
        head = self.head
        parts = {"data": [*self._extents, *self.tables.fragments()], **self.tables.spans()}
        end = min(head.bytes_used, self.source.size)
        claims = [claim for what, spans in parts.items() for claim in _merged(what, spans, end)]
        for unit in (4096, 1024):  # mksquashfs pads to the one, some vendors' tools to the other
            padding = -head.bytes_used % unit
            if padding and self.source.pread(head.bytes_used, padding) == bytes(padding):
                claims.append(Claim(head.bytes_used, padding, "padding"))
                break
        return claims


def _merged(what: str, spans: Iterable[tuple[int, int]], limit: int) -> Iterator[Claim]:
    """Yield claims for (begin, end) stretches, those that touch as one, none beyond `limit`."""
    begin = end = 0
    for start, stop in sorted(spans):
        if start > end:
            if end > begin:
                yield Claim(begin, end - begin, what)
            begin = start
            end = start
        end = max(end, min(stop, limit))
    if end > begin:
        yield Claim(begin, end - begin, what)


def _open(source: Source, limits: Limits) -> SquashfsReader:
    tables, proved = find(source, parse(source.pread(0, HEAD)), limits)
    return SquashfsReader(source, limits, tables, proved=proved)


FORMAT = Format(
    name="squashfs",
    title="SquashFS 1 to 4, both byte orders, gzip, lzma, lzo, xz, lz4, zstd, vendors' LZMA",
    open=_open,
    magics=[(0, magic) for magic in MAGICS],
    references=[
        Reference("Linux, Squashfs 4.0 Filesystem", "https://docs.kernel.org/filesystems/squashfs.html"),
        Reference("Squashfs Binary Format", "https://dr-emann.github.io/squashfs/squashfs.html"),
        Reference(
            "squashfs-tools, layouts of versions 1 to 3",
            "https://github.com/plougher/squashfs-tools/blob/master/squashfs-tools/squashfs_compat.h",
        ),
        Reference(
            "Freetz-NG, AVM's big-endian version 4",
            "https://github.com/Freetz-NG/freetz-ng/blob/master/docs/wiki/60_Development/squashfs4-be.en.md",
        ),
    ],
    limitations=[
        "LZMA with lc + lp above 4 is not decoded, nor LZMA whose properties change from block to block unless each "
        "block begins with them",
        "LZMA blocks without a length have no check: damage in them is not always noticed",
        "where the tables are not compressed, the compressor is the one that the superblock tells",
        "files are found by their names only: what a damaged directory listed is lost, and counted",
        "the export table is not held against the inode table",
    ],
    version=2,
)
