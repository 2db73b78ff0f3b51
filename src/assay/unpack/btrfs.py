"""btrfs, a file system of Linux with subvolumes, snapshots, checksums and compression.

The tree begins at the top-level subvolume; every other subvolume or snapshot is a directory where it is attached. An
entry's locator is [tree, inode number]. A volume whose log of late writes was not replayed is read as it lies, and says
`log_to_replay`.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Iterator

from .base import (
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
)
from .btrfs_structures import (
    DIR_INDEX,
    EXTENT_ITEM,
    EXTENT_TREE,
    FIRST_FREE,
    FS_TREE,
    INODE_ITEM,
    LAST,
    MAGIC,
    METADATA_ITEM,
    ROOT_ITEM,
    ROOT_REF,
    ROOT_TREE,
    SUPERBLOCK,
    SUPERBLOCKS,
    XATTR_ITEM,
    Inode,
    Superblock,
    directory_items,
    parse_inode,
    parse_superblock,
)
from .btrfs_volume import Volume
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
ATTRIBUTES = 1 << 20
"""Most bytes of extended attributes read for one inode."""
SUBVOLUMES = 1000
"""Subvolumes described in `detail`."""
EMPTY = 1 << 200
"""Bit in a number of `walk` for the empty directory that stands in a snapshot where a subvolume was in its original."""
PARTS = ("", "superblock", "trees", "files", "internal file")


class BtrfsReader(Reader):
    """An opened volume."""

    def __init__(self, source: Source, limits: Limits, head: Superblock) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.head = head
        self.detail = head.detail
        self.length = head.total
        self.volume = Volume(source, head, limits)
        self.problems: list[Problem] = []
        try:
            self.volume.load_chunks()
        except UnpackError as error:
            self.problems.append(Problem(error.reason, f"chunk tree: {error}", b"", 0))
        self.attached: dict[tuple[int, int], tuple[int, bytes]] = {}
        """Where a subvolume is attached: (parent tree, tree): (directory, name)."""
        self._parts = bytearray()
        self._listed: set[tuple[int, int]] = set()

    # Listing

    def _subvolumes(self) -> None:
        """Read where subvolumes are attached, and what is known of each."""
        described = 0
        last = (LAST, ROOT_REF, LAST)
        for (number, kind, offset), raw in self.volume.items(ROOT_TREE, (FS_TREE, 0, 0), last, patient=True):
            if kind == ROOT_REF and len(raw) >= 18:
                directory, _, length = struct.unpack_from("<QQH", raw)
                self.attached[number, offset] = directory, raw[18 : 18 + length]
            elif kind == ROOT_ITEM and FIRST_FREE <= number < LAST - 255 and len(raw) >= 279 and described < SUBVOLUMES:
                described += 1
                (flags,) = struct.unpack_from("<Q", raw, 208)
                parent = f" snapshot_of={uuid.UUID(bytes=raw[263:279])}" if any(raw[263:279]) else ""
                access = " read-only" if flags & 1 else ""
                self.detail[f"subvolume {number}"] = f"uuid={uuid.UUID(bytes=raw[247:263])}{parent}{access}"

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in the order of their entries, the root first with an empty path."""
        yield from self.problems
        self._parts = bytearray(min(-(-self.source.size // self.head.sector), self.limits.metadata_bytes))
        self._listed = set()
        try:
            self._subvolumes()
        except UnpackError as error:
            yield Problem(error.reason, f"root tree: {error}", b"", 0)
        yield from walk(FS_TREE << 64 | FIRST_FREE, self._describe, self._children, self.limits)
        if self.head.total > self.source.size:
            text = f"the volume has {self.head.total} bytes on this device, the source has {self.source.size}"
            yield Problem("truncated", text, b"", 0)

    def _inode(self, tree: int, number: int) -> tuple[Inode, dict[str, bytes], Problem | None]:
        """Return an inode and its extended attributes, and what could not be read of these."""
        inode = None
        found: dict[str, bytes] = {}
        room = ATTRIBUTES
        problem = None
        for (_, kind, _), raw in self.volume.items(tree, (number, INODE_ITEM, 0), (number, XATTR_ITEM, LAST)):
            if kind == INODE_ITEM:
                inode = parse_inode(raw)
            elif kind == XATTR_ITEM:
                try:
                    for _, name, value in directory_items(raw):
                        room -= len(name) + len(value)
                        if room < 0:
                            raise Malformed(f"more than {ATTRIBUTES} bytes of extended attributes")
                        found[name.decode("utf-8", "backslashreplace")] = value
                except Malformed as error:
                    problem = Problem("malformed", f"extended attributes: {error}", b"", 0)
        if inode is None:
            raise Malformed(f"there is no inode {number} in tree {tree}")
        return inode, found, problem

    def _describe(self, place: int, path: bytes) -> tuple[Entry, Problem | None]:
        if place & EMPTY:
            return Entry(path=path, type="directory"), None
        tree, number = place >> 64, place & LAST
        inode, attributes, problem = self._inode(tree, number)
        kind = TYPES.get(inode.mode >> 12)
        if kind is None:
            raise Malformed(f"inode {number} has mode {inode.mode:#o}")
        if problem:
            problem.path = path
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
            xattrs=attributes,
        )
        if kind == "regular":
            entry.locator = [tree, number]
            entry.size = inode.size
            if (tree, number) not in self._listed:
                self._listed.add((tree, number))
                self._explain(tree, number, "files")
        elif kind == "symlink":
            try:
                if inode.size > TARGET:
                    raise Malformed(f"{inode.size} bytes")
                entry.link = b"".join(self.volume.data(tree, number, inode))
            except UnpackError as error:
                problem = Problem(error.reason, f"target: {error}", path, 0)
        elif kind in ("chardev", "blockdev"):
            entry.device = inode.device
        return entry, problem

    def _children(self, place: int) -> Iterator[tuple[int, bytes]]:
        if place & EMPTY:
            return
        tree, number = place >> 64, place & LAST
        failure = None
        first, last = (number, DIR_INDEX, 0), (number, DIR_INDEX, LAST)
        for _, raw in self.volume.items(tree, first, last, patient=True):
            try:
                for (target, kind, _), name, _ in directory_items(raw):
                    if kind != ROOT_ITEM:
                        yield tree << 64 | target, name
                    elif self.attached.get((tree, target)) == (number, name):
                        yield target << 64 | FIRST_FREE, name
                    else:  # a snapshot does not hold the subvolumes of its original
                        yield EMPTY | tree << 128 | number << 64 | target, name
            except Malformed as error:
                failure = error
        if failure:
            raise failure

    # Contents

    def _file(self, locator: Locator) -> tuple[int, int, Inode]:
        match locator:
            case [int(tree), int(number)]:
                inode, _, _ = self._inode(tree, number)
                if inode.mode >> 12 != 8:
                    raise Malformed(f"inode {number} in tree {tree} is not a regular file")
                return tree, number, inode
        raise Malformed("not a tree and an inode number")

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB, holes as zeros. See `Reader.open`."""
        yield from guarded(self.volume.data(*self._file(locator)), self.limits, self.source.size)

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies that is one extent, not compressed. See `Reader.span`."""
        try:
            tree, number, inode = self._file(locator)
            extent = next(self.volume.extents(tree, number), None)
            if extent is None or extent.start or extent.kind != 1 or not extent.at or extent.length < inode.size:
                return None
            if extent.compression or extent.encrypted or not inode.size:
                return None
            place = self.volume.places(extent.at + extent.skip, inode.size)[0]
        except UnpackError:
            return None
        return (place, inode.size) if place + inode.size <= self.source.size else None

    # Claims

    def _mark(self, at: int, length: int, part: str) -> None:
        sector = self.head.sector
        first, end = at // sector, min(-(-(at + length) // sector), len(self._parts))
        if first < end:
            self._parts[first:end] = bytes([PARTS.index(part)]) * (end - first)

    def _mark_logical(self, address: int, length: int, part: str) -> None:
        try:
            for place in self.volume.places(address, length):
                self._mark(place, length, part)
        except UnpackError:
            return  # on another device, or opening will say so

    def _explain(self, tree: int, number: int, part: str) -> None:
        """Note which sectors are a file's."""
        try:
            for extent in self.volume.extents(tree, number):
                if extent.kind and extent.at:
                    self._mark_logical(extent.at, extent.stored, part)
        except UnpackError:
            return  # opening the file will say so

    def claims(self) -> list[Claim]:
        """Return what listing has explained, by whole sectors; what is free is not claimed.

        Trees are claimed as the extent tree has them, the ones of no file too.
        """
        volume, node = self.volume, self.head.node
        for number in range(FIRST_FREE, FIRST_FREE + 64):  # caches of free space lie in the root tree
            self._explain(ROOT_TREE, number, "internal file")
        try:
            first, last = (0, EXTENT_ITEM, 0), (LAST, METADATA_ITEM, LAST)
            for (address, kind, length), raw in volume.items(EXTENT_TREE, first, last, patient=True):
                if kind == METADATA_ITEM:
                    self._mark_logical(address, node, "trees")
                elif kind == EXTENT_ITEM and len(raw) >= 24 and raw[16] & 2:
                    self._mark_logical(address, length, "trees")
        except UnpackError:
            pass  # then the nodes that were read have to do
        for address in volume.visited:
            self._mark_logical(address, node, "trees")
        for at in SUPERBLOCKS:
            if at + SUPERBLOCK <= self.source.size and self.source.pread(at + 64, 8) == MAGIC:
                self._mark(at, SUPERBLOCK, "superblock")
        claims = []
        for run in re.finditer(rb"([^\0])\1*", self._parts, re.DOTALL):
            begin = run.start() * self.head.sector
            end = min(run.end() * self.head.sector, self.source.size)
            claims.append(Claim(begin, end - begin, PARTS[run[1][0]]))
        return claims


def _open(source: Source, limits: Limits) -> BtrfsReader:
    failure: UnpackError | None = None
    for at in SUPERBLOCKS:
        try:
            head = parse_superblock(source.pread(at, SUPERBLOCK), at)
        except NotThisFormat:
            if at == SUPERBLOCKS[0]:
                raise
            continue
        except UnpackError as error:
            failure = failure or error
            continue
        return BtrfsReader(source, limits, head)
    assert failure is not None
    raise failure


FORMAT = Format(
    name="btrfs",
    title="btrfs (Linux)",
    open=_open,
    magics=[(SUPERBLOCKS[0] + 64, MAGIC)],
    references=[
        Reference("btrfs, on-disk format", "https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html"),
    ],
    limitations=[
        "volumes on several devices: what lies on others, or in stripes (raid0, 10, 5, 6), is named, not read",
        "zoned volumes, extent tree v2 and raid stripe trees",
        "checksums of type xxhash64 are not verified",
        "the log of late writes is not replayed: a volume that has one is read as it lies",
        "contents that snapshots share are read once for each snapshot",
        "sectors beyond the limit on metadata bytes (one byte for each sector) are not claimed",
    ],
    smallest=SUPERBLOCKS[0] + SUPERBLOCK,
)
