"""F2FS, a file system of Linux for flash memory behind a controller (eMMC, UFS, SSD).

An entry's locator is its inode number. The newest checkpoint counts; what was written after it is not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .base import (
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
    UnpackError,
    guarded,
)
from .ext_structures import device
from .f2fs_volume import (
    BLOCK,
    ENCRYPTED,
    FIRST_ADDRESS,
    INLINE_DATA,
    INLINE_NAMES,
    MAGIC,
    NEW,
    PACKED,
    SUPERBLOCKS,
    Inode,
    Superblock,
    Volume,
    parse_superblock,
)
from .tree import walk

TYPES: dict[int, EntryType] = {
    1: "fifo",
    2: "chardev",
    4: "directory",
    6: "blockdev",
    8: "regular",
    10: "symlink",
    12: "socket",
}
TARGET = 65535
"""Most bytes of a symbolic link's target that are read (Linux allows 4095)."""
PARTS = (
    "",
    "superblock",
    "checkpoint",
    "segment information table",
    "node address table",
    "segment summary area",
    "nodes",
    "files and directories",
)


class F2fsReader(Reader):
    """An opened volume. `declared` is the number of inodes that the checkpoint calls valid, less those of quotas."""

    def __init__(self, source: Source, limits: Limits, head: Superblock) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.head = head
        self.detail = head.detail
        self.length = head.blocks * 4096
        self.volume = Volume(source, head, limits)
        self.declared = max(0, self.volume.inodes - len(head.hidden))
        self._parts = bytearray()
        self._listed: set[int] = set()

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in their stored order, the root first with an empty path."""
        blocks = min(self.head.blocks, -(-self.source.size // BLOCK))
        self._parts = bytearray(min(blocks, self.limits.metadata_bytes))
        self._listed = set()
        yield from walk(self.head.root, self._describe, self._children, self.limits)
        if self.head.blocks * BLOCK > self.source.size:
            text = f"superblock declares {self.head.blocks * BLOCK} bytes, the source has {self.source.size}"
            yield Problem("truncated", text, b"", 0)

    def _describe(self, number: int, path: bytes) -> tuple[Entry, Problem | None]:
        inode = self.volume.inode(number)
        kind = TYPES.get(inode.mode >> 12)
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
            atime=inode.atime,
            ctime=inode.ctime,
            inode=number,
            nlink=inode.nlink,
        )
        if kind == "regular":
            entry.locator = number
            entry.size = inode.size
        elif kind == "symlink":
            try:
                entry.link = self._target(inode)
            except UnpackError as error:
                problem = Problem(error.reason, f"target: {error}", path, 0)
        elif kind in ("chardev", "blockdev"):
            entry.device = device(inode.raw[FIRST_ADDRESS + inode.extra : FIRST_ADDRESS + inode.extra + 8])
        elif kind == "directory" and inode.advice & ENCRYPTED:
            problem = Problem("encrypted", "the names in this directory are encrypted", path, 0)
        try:
            entry.xattrs = dict(self.volume.attributes(inode))
        except UnpackError as error:
            problem = Problem(error.reason, str(error), path, 0)
        if number not in self._listed:
            self._listed.add(number)
            self._explain(inode, kind)
        return entry, problem

    def _target(self, inode: Inode) -> bytes:
        if inode.advice & ENCRYPTED:
            raise Encrypted("encrypted")
        if inode.size > TARGET:
            raise Malformed(f"{inode.size} bytes")
        return b"".join(self.volume.data(inode))

    def _children(self, number: int) -> Iterator[tuple[int, bytes]]:
        return self.volume.names(self.volume.inode(number))

    # Contents

    def _file(self, locator: Locator) -> Inode:
        if not isinstance(locator, int):
            raise Malformed("not an inode number")
        inode = self.volume.inode(locator)
        if inode.mode >> 12 != 8:
            raise Malformed(f"inode {locator} is not a regular file")
        if inode.advice & ENCRYPTED:
            raise Encrypted(f"inode {locator}")
        return inode

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB, holes as zeros. See `Reader.open`."""
        yield from guarded(self.volume.data(self._file(locator)), self.limits, self.source.size)

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies whose blocks follow each other. See `Reader.span`."""
        try:
            inode = self._file(locator)
            if inode.inline & INLINE_DATA or not inode.size:
                return None
            start = None
            last = -(-inode.size // BLOCK)
            for logical, words in self.volume.addresses(inode, set()):
                count = min(len(words), last - logical)
                if start is None:
                    start = words[0]
                if start in (0, NEW, PACKED) or words[:count] != tuple(range(start + logical, start + logical + count)):
                    return None
                if logical + count == last:
                    place = start * BLOCK
                    return (place, inode.size) if place + inode.size <= self.source.size else None
        except UnpackError:
            pass
        return None

    # Claims

    def _mark(self, first: int, count: int, part: str) -> None:
        end = min(first + count, len(self._parts))
        if first < end:
            self._parts[first:end] = bytes([PARTS.index(part)]) * (end - first)

    def _explain(self, inode: Inode, kind: str) -> None:
        """Note which blocks are an inode's."""
        nodes: set[int] = {inode.number}
        try:
            if kind in ("regular", "directory", "symlink") and not inode.inline & (INLINE_DATA | INLINE_NAMES):
                for _, words in self.volume.addresses(inode, nodes):
                    for word in words:
                        if word not in (0, NEW, PACKED):
                            self._mark(word, 1, "files and directories")
        except UnpackError:
            pass  # opening the file will say so
        for number in (*nodes, inode.xattr_node):
            try:
                if number:
                    self._mark(self.volume.place(number), 1, "nodes")
            except UnpackError:
                continue

    def claims(self) -> list[Claim]:
        """Return what listing has explained, by whole blocks; blocks of main that are free or lost are not claimed."""
        self._mark(0, 2, "superblock")
        for number in self.head.hidden:
            try:
                self._explain(self.volume.inode(number), "regular")
            except UnpackError:
                continue
        for name, (first, count) in self.head.segments.items():
            if name in PARTS:
                self._mark(first, count, name)
        claims = []
        for run in re.finditer(rb"([^\0])\1*", self._parts, re.DOTALL):
            begin, end = run.start() * BLOCK, min(run.end() * BLOCK, self.source.size)
            claims.append(Claim(begin, end - begin, PARTS[run[1][0]]))
        return claims


def _open(source: Source, limits: Limits) -> F2fsReader:
    failure: Exception | None = None
    for at in SUPERBLOCKS:
        try:
            return F2fsReader(source, limits, parse_superblock(source.pread(at, 3072)))
        except (UnpackError, NotThisFormat) as error:
            # What is wrong with the first copy is told, unless that made no sense at all.
            failure = failure if isinstance(failure, UnpackError) else error
    assert failure is not None
    raise failure


FORMAT = Format(
    name="f2fs",
    title="F2FS (Linux, flash memory)",
    open=_open,
    magics=[(at, MAGIC) for at in SUPERBLOCKS],
    references=[Reference("Linux, Flash-Friendly File System", "https://docs.kernel.org/filesystems/f2fs.html")],
    limitations=[
        "what was written after the last checkpoint (roll-forward recovery) is not read",
        "volumes on several devices, and blocks of other sizes than 4 KiB",
        "files compressed by lzo-rle, and encrypted files, are named, not read",
        "checksums of inodes and of compressed clusters are not verified",
        "POSIX access control lists are kept in the form that the volume has, which is shorter than that of xattr(7)",
        "blocks beyond the limit on metadata bytes (one byte for each block) are not claimed",
    ],
    smallest=SUPERBLOCKS[1] + 3072,
)
