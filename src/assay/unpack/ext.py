"""ext2, ext3 and ext4, the file systems of Linux disks and of many firmware images and virtual machines.

An entry's locator is its inode number. Nothing is replayed or repaired: a volume whose journal holds changes that were
not yet written in place is read as it lies, and says `needs_recovery`.
"""

from __future__ import annotations

import re
import struct
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
    Truncated,
    UnpackError,
    Unsupported,
    guarded,
)
from .ext_structures import (
    COMPRESSED,
    ENCRYPTED,
    INLINE_DATA,
    ROOT,
    Detail,
    Inode,
    Superblock,
    device,
    is_short,
    parse_superblock,
)
from .ext_volume import Volume
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
PARTS = (
    "",
    "group descriptors",
    "reserved group descriptors",
    "block bitmap",
    "inode bitmap",
    "inode table",
    "files and directories",
    "files, allocated and not written",
    "journal",
    "internal file",
    "multiple mount protection",
)
"""What a block is, by the byte that stands for it while claims are drawn up."""


class ExtReader(Reader):
    """An opened ext volume. `declared` is the number of inodes in use that a directory should list, by arithmetic.

    That is: all inodes, less those that the group descriptors call free, less the reserved ones (1 to `first_ino` - 1)
    except the root directory, less the orphan file and the project quota. Inodes that hold values of attributes are
    among them; they cannot be told before listing. Names that are hard links of each other share one inode, so more
    entries than `declared` may be listed. When fewer distinct inodes are found than are in use, listing ends with a
    `Problem` that has the number missing: inodes deleted while open, or lost.
    """

    def __init__(self, source: Source, limits: Limits, head: Superblock, detail: Detail) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.head = head
        self.detail = detail
        self.length = head.blocks * head.block_size
        self.volume = Volume(source, head, limits)
        self.declared = self._declared()
        # What listing leaves for claims: the part that each block is, and the block maps met.
        self._parts = bytearray()
        self._nodes: set[int] = set()
        self._listed: set[int] = set()

    def _declared(self) -> int | None:
        try:
            used = self.head.inodes - self.volume.free_inodes()
        except Truncated:
            return None
        declared = used - (self.head.first_inode - 1) + 1 - len(self.head.hidden)
        return declared if declared > 0 else None

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in their stored order, the root first with an empty path."""
        volume, size = self.volume, self.head.block_size
        blocks = min(self.head.blocks, -(-self.source.size // size))
        self._parts = bytearray(min(blocks, self.limits.metadata_bytes))
        self._nodes = set()
        self._listed = set()
        volume.value_inodes = set()
        volume.values_room = self.limits.metadata_bytes
        volume.directory_room = self.source.size
        lost = 0
        for item in walk(ROOT, self._describe, self._children, self.limits):
            if isinstance(item, Problem):
                lost += item.entries
            yield item
        if self.head.blocks * size > self.source.size:
            text = f"superblock declares {self.head.blocks * size} bytes, the source has {self.source.size}"
            yield Problem("truncated", text, b"", 0)
        if self.declared is None:
            yield Problem("malformed", "group descriptors do not tell how many inodes are in use", b"", 0)
            return
        missing = self.declared - len(self._listed | volume.value_inodes) - lost
        if missing > 0:
            text = f"{missing} of {self.declared} inodes in use not found in any directory"
            yield Problem("malformed", text, b"", missing)

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
            entry.device = device(inode.map)
        elif kind == "directory" and inode.flags & ENCRYPTED:
            problem = Problem("encrypted", "the names in this directory are encrypted", path, 0)
        try:
            entry.xattrs = self._attributes(inode)
        except UnpackError as error:
            problem = Problem(error.reason, str(error), path, 0)
        if number not in self._listed:
            self._listed.add(number)
            self._explain(inode, kind)
        return entry, problem

    def _target(self, inode: Inode) -> bytes:
        if inode.flags & ENCRYPTED:
            raise Encrypted("encrypted")
        if inode.size > TARGET:
            raise Malformed(f"{inode.size} bytes")
        if is_short(inode):
            return inode.map[: inode.size]
        return b"".join(self.volume.data(inode))

    def _attributes(self, inode: Inode) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        room = ATTRIBUTES
        for name, value in self.volume.attributes(inode):
            room -= len(name) + len(value)
            if room < 0:
                raise Malformed(f"more than {ATTRIBUTES} bytes of extended attributes")
            found[name] = value
        return found

    def _children(self, number: int) -> Iterator[tuple[int, bytes]]:
        return self.volume.names(self.volume.inode(number))

    # Contents

    def _file(self, locator: Locator) -> Inode:
        if not isinstance(locator, int):
            raise Malformed("not an inode number")
        inode = self.volume.inode(locator)
        if inode.mode >> 12 != 8:
            raise Malformed(f"inode {locator} is not a regular file")
        if inode.flags & ENCRYPTED:
            raise Encrypted(f"inode {locator}")
        if inode.flags & COMPRESSED and self.head.incompat & 0x1:
            raise Unsupported(f"inode {locator} is compressed")
        return inode

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB, holes as zeros. See `Reader.open`."""
        yield from guarded(self.volume.data(self._file(locator)), self.limits, self.source.size)

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies that is one stretch of written blocks. See `Reader.span`."""
        try:
            inode = self._file(locator)
            if inode.flags & INLINE_DATA or not inode.size:
                return None
            logical, count, block, written = next(self.volume.runs(inode, set()), (1, 0, 0, False))
        except UnpackError:
            return None
        start, size = block * self.head.block_size, self.head.block_size
        whole = logical == 0 and written and count * size >= inode.size and start + inode.size <= self.source.size
        return (start, inode.size) if whole else None

    # Claims

    def _mark(self, first: int, count: int, part: str) -> None:
        end = min(first + count, len(self._parts))
        if first < end:
            self._parts[first:end] = bytes([PARTS.index(part)]) * (end - first)

    def _explain(self, inode: Inode, kind: str) -> None:
        """Note which blocks are an inode's."""
        if inode.attributes:
            self._mark(inode.attributes, 1, "files and directories")
        mapped = kind in ("regular", "directory", "symlink", "journal", "internal file")
        if not mapped or inode.flags & INLINE_DATA or (kind == "symlink" and is_short(inode)):
            return
        part = "files and directories" if kind in TYPES.values() else kind
        try:
            for _, count, block, written in self.volume.runs(inode, self._nodes):
                self._mark(block, count, part if written else "files, allocated and not written")
        except UnpackError:
            return  # opening the file will say so

    def _explain_hidden(self) -> None:
        """Note the blocks of inodes that no directory lists: journal, quotas, values of attributes; and of all maps."""
        internal = dict.fromkeys((*range(1, self.head.first_inode), *self.head.hidden), "internal file")
        for number, part in (internal | {self.head.journal: "journal"}).items():
            if number and number not in self._listed:
                try:
                    self._explain(self.volume.inode(number), part)
                except UnpackError:
                    continue
        for number in self.volume.value_inodes:
            try:
                for _, count, block, _ in self.volume.runs(self.volume.inode(number), self._nodes):
                    self._mark(block, count, "files and directories")
            except UnpackError:
                continue
        for block in self._nodes:
            self._mark(block, 1, "files and directories")

    def _explain_groups(self) -> list[Claim]:
        """Note the blocks of groups' own structures; return claims for the superblocks, which are not whole blocks."""
        volume, head, size = self.volume, self.head, self.head.block_size
        claims = [Claim(1024, 1024, "superblock")]
        tables = list(volume.descriptor_blocks())
        plain = tables[0] if tables and not (head.incompat & 0x10 and head.first_meta_group == 0) else None
        for first, count in tables:
            self._mark(first, count, "group descriptors")
        each = size // head.descriptor_size
        for group in range(min(volume.groups, -(-len(self._parts) // head.group_blocks))):
            start = volume.group_start(group)
            if volume.has_superblock(group):
                if group:
                    claims.append(Claim(start * size, 1024, "superblock, copy"))
                if plain:
                    copy = plain[0] + start - head.first_block
                    self._mark(copy, plain[1], "group descriptors")
                    self._mark(copy + plain[1], head.reserved_descriptors, "reserved group descriptors")
            if head.incompat & 0x10 and group // each >= head.first_meta_group and group % each in (1, each - 1):
                self._mark(start + volume.has_superblock(group), 1, "group descriptors")
            try:
                blocks, inodes, table, _ = volume.group(group)
            except Truncated:
                continue
            self._mark(blocks, 1, "block bitmap")
            self._mark(inodes, 1, "inode bitmap")
            self._mark(table, -(-head.group_inodes * head.inode_size // size), "inode table")
        if head.incompat & 0x100:
            self._mark(head.mmp, 1, "multiple mount protection")
        return [claim for claim in claims if claim.offset < self.source.size]

    def claims(self) -> list[Claim]:
        """Return what listing has explained, by whole blocks; blocks that are free or lost are not claimed."""
        self._explain_hidden()
        claims = self._explain_groups()
        size = self.head.block_size
        for run in re.finditer(rb"([^\0])\1*", self._parts, re.DOTALL):
            begin, end = run.start() * size, min(run.end() * size, self.source.size)
            claims.append(Claim(begin, end - begin, PARTS[run[1][0]]))
        return claims


def _open(source: Source, limits: Limits) -> ExtReader:
    parsed = parse_superblock(source.pread(1024, 1024))
    if parsed is None:
        raise NotThisFormat
    return ExtReader(source, limits, *parsed)


FORMAT = Format(
    name="ext",
    title="ext2, ext3, ext4 (Linux)",
    open=_open,
    # With state (valid, errors, orphans, in fast commit) and what to do on errors, it is long enough for any offset.
    magics=[
        (1080, b"\x53\xef"),
        *((1080, b"\x53\xef" + struct.pack("<3H", state, errors, 0)) for state in range(8) for errors in range(4)),
    ],
    references=[
        Reference("Linux, ext4 Data Structures and Algorithms", "https://docs.kernel.org/filesystems/ext4/index.html"),
    ],
    limitations=[
        "metadata checksums are not verified",
        "the journal is not replayed: a volume that needs recovery is read as it lies",
        "copies of the superblock are not used when the first one is broken",
        "files compressed with e2compr and encrypted files are named, not read",
        "POSIX access control lists are kept in the form that the volume has, which is shorter than that of xattr(7)",
        "the last block of a file is explained as a whole, also what follows the file's end",
        "blocks beyond the limit on metadata bytes (one byte for each block) are not claimed",
    ],
)
