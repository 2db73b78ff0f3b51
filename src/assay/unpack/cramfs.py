"""cramfs, the compressed ROM file system: small images, blocks of one page, each compressed alone with zlib.

    superblock, 76 bytes, at offset 0 or after 512 bytes for boot code; every word in the byte order of the machine:
        u32 magic = 28cd3d45; u32 size; u32 flags; u32 future; u8 signature[16] = "Compressed ROMFS";
        u32 crc; u32 edition; u32 blocks; u32 files; u8 name[16]; inode root
    inode, 12 bytes of bit fields, the first in the low bits (little endian) or in the high bits (big endian):
        mode:16 uid:16; size:24 gid:8; namelen:6 offset:26, both in words of 4 bytes; the name follows, padded with NUL
    directory: inodes with their names, one after another
    regular file and symbolic link: u32 pointers, one for each block: where the block ends, from the image's start; then
        the blocks. With extended pointers, bit 31 says "not compressed" and bit 30 "points to where the block starts".

The block's size is that of the machine's pages and is not stated: it is found from the pointers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, cast

from isal import igzip_lib

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
from .tree import walk

_MAGIC = 0x28CD3D45
_SUPERBLOCK = 76
_BOOT = 512
_FLAGS = {0x1: "fsid_v2", 0x2: "sorted_dirs", 0x100: "holes", 0x200: "wrong_signature", 0x400: "shifted_root_offset"}
_FLAGS |= {0x800: "ext_block_pointers"}
_KNOWN = 0xFF | sum(_FLAGS) & ~0xFF
"""The lowest 8 flags do not change how an image is read, whatever they will mean."""
_PLAIN, _DIRECT = 1 << 31, 1 << 30
_BLOCKS = (4096, 8192, 16384, 32768, 65536, 2048, 1024, 512)
"""Sizes of blocks tried: those of pages, then the ones that odd tools use."""
_TARGET = 65535
"""Most bytes of a symbolic link's target that are read."""
_LARGEST = 1 << 28
_ISAL_ERROR = cast("type[Exception]", igzip_lib.error)  # its stubs say it is an instance
_TYPES: dict[int, EntryType] = {
    0o10: "regular",
    0o04: "directory",
    0o12: "symlink",
    0o02: "chardev",
    0o06: "blockdev",
    0o01: "fifo",
    0o14: "socket",
}


class _Inode(NamedTuple):
    mode: int
    uid: int
    size: int
    gid: int
    name: int
    """Bytes that the name has, with its padding."""
    offset: int


def _inode(order: str, raw: bytes) -> _Inode:
    first, second, third = struct.unpack(order + "III", raw)
    if order == "<":
        mode, uid, size, gid, name, at = (
            first & 0xFFFF, first >> 16, second & 0xFFFFFF, second >> 24, third & 0x3F, third >> 6
        )  # fmt: skip
    else:
        mode, uid, size, gid, name, at = (
            first >> 16, first & 0xFFFF, second >> 8, second & 0xFF, third >> 26, third & 0x3FFFFFF
        )  # fmt: skip
    return _Inode(mode, uid, size, gid, name * 4, at * 4)


class _Superblock(NamedTuple):
    order: str
    start: int
    """Where it lies; offsets count from the image's start all the same."""
    size: int
    flags: int
    crc: int
    edition: int
    blocks: int
    files: int
    name: bytes

    @property
    def counted(self) -> bool:
        """Whether size, CRC and numbers of blocks and files are stated."""
        return bool(self.flags & 1)


class CramfsReader(Reader):
    """An opened cramfs. `declared` is the number of inodes, the root directory among them, where it is stated."""

    def __init__(self, source: Source, limits: Limits, head: _Superblock) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.head = head
        self.declared = head.files if head.counted else None
        self.detail = {
            "byte_order": "little" if head.order == "<" else "big",
            "size": head.size if head.counted else None,
            "flags": " ".join(name for bit, name in _FLAGS.items() if head.flags & bit),
            "crc": head.crc if head.counted else None,
            "edition": head.edition if head.counted else None,
            "blocks": head.blocks if head.counted else None,
            "files": head.files if head.counted else None,
            "label": head.name.rstrip(b"\0").decode("utf-8", "backslashreplace"),
            "boot_bytes": head.start,
        }
        self._cover = Cover()
        # What lies beyond the image, in a bigger source, is not the image's.
        self.end = head.size if head.counted else min(_LARGEST, source.size)
        self._tables_room = 0

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in their stored order, the root first with an empty path."""
        self._cover = Cover()
        self._tables_room = self.end
        self._cover.add(self.head.start, self.head.start + _SUPERBLOCK, "superblock")
        if self.head.start:
            self._cover.add(0, self.head.start, "boot code")
        listed = lost = 0
        for item in walk(self.head.start + 64, self._describe, self._children, self.limits):
            if isinstance(item, Problem):
                lost += item.entries
            else:
                listed += 1
            yield item
        if not self.head.counted:
            return
        if self.head.size > self.source.size:
            text = f"superblock declares {self.head.size} bytes, the source has {self.source.size}"
            yield Problem("truncated", text, b"", 0)
        elif (crc := self._crc()) != self.head.crc:
            yield Problem(
                "malformed", f"the image has the CRC {crc:08x}, its superblock says {self.head.crc:08x}", b"", 0
            )
        missing = self.head.files - listed - lost
        if missing > 0:
            text = f"{missing} of {self.head.files} files not found in any directory"
            yield Problem("malformed", text, b"", missing)

    def _crc(self) -> int:
        """Return the CRC of the image from its superblock on, its own field taken as zeros."""
        start = self.head.start
        crc = zlib.crc32(self.source.pread(start, 32) + bytes(4))
        for chunk in self.source.chunks(start + 36, self.head.size - start - 36):
            crc = zlib.crc32(chunk, crc)
        return crc

    def _describe(self, number: int, path: bytes) -> tuple[Entry, Problem | None]:
        inode = self._inode(number)
        kind = _TYPES.get(inode.mode >> 12)
        if kind is None:
            raise Malformed(f"the inode at offset {number} has mode {inode.mode:#o}")
        entry = Entry(path, kind, mode=inode.mode & 0o7777, uid=inode.uid, gid=inode.gid)
        problem = None
        if kind in ("chardev", "blockdev"):
            entry.device = (inode.size >> 8 & 0xFF, inode.size & 0xFF)
        elif kind == "regular":
            entry.size = inode.size
            entry.locator = [inode.offset, inode.size]
            self._explain(inode)
        elif kind == "symlink":
            try:
                if inode.size > _TARGET:
                    raise Malformed(f"{inode.size} bytes")
                entry.link = b"".join(self._contents(inode.offset, inode.size))
            except UnpackError as error:
                problem = Problem(error.reason, f"target: {error}", path, 0)
            self._explain(inode)
        return entry, problem

    def _inode(self, offset: int) -> _Inode:
        raw = self.source.exactly(offset, 12)
        return _inode(self.head.order, raw)

    def _children(self, number: int) -> Iterator[tuple[int, bytes]]:
        directory = self._inode(number)
        end = directory.offset + directory.size
        if not directory.size:
            return
        if end > self.end:
            raise Malformed(f"{directory.size} bytes at offset {directory.offset} of {self.end}")
        self._cover.add(directory.offset, end, "directories")
        at = directory.offset
        while at < end:
            record = self.source.exactly(at, min(12 + 252, end - at))
            inode = _inode(self.head.order, record[:12]) if len(record) >= 12 else None
            if inode is None or not inode.name or at + 12 + inode.name > end:
                raise Malformed(f"the inode at offset {at} breaks the directory that ends at {end}")
            name = record[12 : 12 + inode.name].rstrip(b"\0")
            if not name:
                raise Malformed(f"the inode at offset {at} has no name")
            yield at, name
            at += 12 + inode.name

    def _explain(self, inode: _Inode) -> None:
        """Note where a file lies. All tables of pointers together fit the image, or they overlap and lie."""
        self._tables_room -= inode.size >> 10
        if not inode.size or self._tables_room < 0:
            return
        try:
            blocks = self._blocks(inode.offset, inode.size)
        except UnpackError:
            return  # opening the file will say so
        count = -(-inode.size // blocks[0])
        self._cover.add(inode.offset, inode.offset + 4 * count, "data")
        for start, length, _ in blocks[1]:
            self._cover.add(start, start + length, "data")

    # Contents

    def _blocks(self, offset: int, size: int) -> tuple[int, list[tuple[int, int, bool]]]:
        """Return the size of a file's blocks, and for each one (offset, stored length, compressed); length 0 is a hole.

        Raises:
            Malformed: with no size of blocks do the pointers make sense.
            Truncated: they lie beyond the source.
        """
        failure: UnpackError | None = None
        for block in _BLOCKS:
            try:
                return block, self._pointers(offset, size, block)
            except UnpackError as error:
                failure = failure or error
            if block >= size and block >= 4096:
                break  # one block: a bigger one reads the same
        assert failure is not None
        raise failure

    def _pointers(self, offset: int, size: int, block: int) -> list[tuple[int, int, bool]]:
        count = -(-size // block)
        start = offset + 4 * count
        table = self.source.pread(offset, 4 * count)
        if len(table) < 4 * count:
            raise Truncated(f"block pointers at offset {offset}, the source has {self.source.size}")
        extended = self.head.flags & 0x800
        found = []
        checked = False
        for index, (word,) in enumerate(struct.iter_unpack(self.head.order + "I", table)):
            pointer = word & ~(_PLAIN | _DIRECT) if extended else word
            plain = bool(extended and word & _PLAIN)
            if extended and word & _DIRECT:
                start = pointer * 4
                if plain:
                    length = min(block, size - index * block)
                    found.append((start, length, False))
                else:
                    length = int.from_bytes(self.source.pread(start, 2), "little" if self.head.order == "<" else "big")
                    start += 2
                    found.append((start, length, True))
                following = start + length
            else:
                length = pointer - start
                found.append((start, length, not plain))
                following = pointer
            if not 0 <= length <= (block if plain else 2 * block):
                raise Malformed(f"block {index} at offset {start} has {length} bytes")
            if following > self.end:
                raise Malformed(f"block {index} ends at offset {following} of {self.end}")
            if length and not plain and not checked:
                # The first two bytes of a zlib stream tell it from a pointer: block sizes are told apart by that.
                first = int.from_bytes(self.source.pread(start, 2), "big")
                if first % 31 or first >> 8 & 15 != 8:
                    raise Malformed(f"block {index} at offset {start} is not zlib data")
                checked = True
            start = following
        return found

    def _contents(self, offset: int, size: int) -> Iterator[bytes]:
        if not size:
            return
        block, pointers = self._blocks(offset, size)
        window, base = b"", 0
        parts: list[bytes] = []
        failure = None
        for index, (start, length, compressed) in enumerate(pointers):
            expected = min(block, size - index * block)
            if not base <= start <= start + length <= base + len(window):
                window, base = self.source.pread(start, CHUNK), start
            try:
                if length:
                    parts.append(_decoded(window[start - base : start - base + length], length, compressed, expected))
                else:
                    parts.append(bytes(expected))
            except UnpackError as error:
                failure = type(error)(f"block {index} at offset {start}: {error}")
                break
            if len(parts) * block >= CHUNK:
                yield b"".join(parts)
                parts = []
        if parts:
            yield b"".join(parts)
        if failure:
            raise failure

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. A locator is where the block pointers are and the file's size: files of equal bytes may
        share them.
        """
        yield from guarded(self._contents(*_place(locator)), self.limits, self.source.size)

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies whose blocks are not compressed and follow each other. See `Reader.span`."""
        try:
            offset, size = _place(locator)
            blocks = self._blocks(offset, size)[1] if size else []
        except UnpackError:
            return None
        for before, after in pairwise(blocks):
            if before[0] + before[1] != after[0]:
                return None
        whole = blocks and not any(compressed or not length for _, length, compressed in blocks)
        return (blocks[0][0], size) if whole and sum(length for _, length, _ in blocks) >= size else None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Where the image does not state its size, it ends with its last file."""
        return self._cover.claims(self.source, self.end if self.head.counted else self._cover.end())


def _decoded(stored: bytes, length: int, compressed: bool, expected: int) -> bytes:
    """Return the bytes of a stored block, `expected` many."""
    if len(stored) < length:
        raise Truncated(f"{length} bytes, the source has {len(stored)} of them")
    data = stored
    if compressed:
        try:
            # A stored block has at most two blocks' length, so what comes out is bounded too.
            data = igzip_lib.decompress(stored, flag=igzip_lib.DECOMP_ZLIB)
        except _ISAL_ERROR as error:
            raise Malformed(f"zlib: {error}") from None
    if len(data) != expected:
        raise Malformed(f"{len(data)} bytes instead of {expected}")
    return data


def _place(locator: Locator) -> tuple[int, int]:
    match locator:
        case [int(offset), int(size)] if 0 <= offset < _LARGEST and 0 <= size < 1 << 24:
            return offset, size
    raise Malformed(f"no such entry: {locator!r}")


def _open(source: Source, limits: Limits) -> Reader:
    for start in (0, _BOOT):
        raw = source.pread(start, _SUPERBLOCK)
        order = {b"\x45\x3d\xcd\x28": "<", b"\x28\xcd\x3d\x45": ">"}.get(raw[:4])
        if order and len(raw) == _SUPERBLOCK:
            break
    else:
        raise NotThisFormat
    _, size, flags, _, signature, crc, edition, blocks, files, name = struct.unpack(order + "IIII16sIIII16s", raw[:64])
    if signature != b"Compressed ROMFS" and not flags & 0x200:
        raise NotThisFormat
    root = _inode(order, raw[64:])
    if root.mode >> 12 != 0o04:
        raise NotThisFormat
    # The image of a superblock that follows boot code begins there, so it is not opened at the superblock.
    if start == 0 and root.offset == _BOOT + _SUPERBLOCK and not flags & 0x800:
        raise NotThisFormat
    if flags & ~_KNOWN:
        raise Unsupported(f"flags {flags & ~_KNOWN:#x}")
    if flags & 1 and not start + _SUPERBLOCK <= size <= _LARGEST:
        raise Malformed(f"the image has {size} bytes by its superblock")
    if root.offset and not flags & 0x400 and root.offset != start + _SUPERBLOCK:
        raise Malformed(f"the root directory is at offset {root.offset}")
    return CramfsReader(source, limits, _Superblock(order, start, size, flags, crc, edition, blocks, files, name))


FORMAT = Format(
    name="cramfs",
    title="cramfs (Linux), either byte order",
    open=_open,
    magics=[(start, struct.pack(order + "I", _MAGIC)) for start in (0, _BOOT) for order in "<>"],
    references=[
        Reference(
            "Linux, Cramfs: cram a filesystem onto a small ROM", "https://docs.kernel.org/filesystems/cramfs.html"
        ),
        Reference(
            "Linux, cramfs_fs.h",
            "https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/include/uapi/linux/cramfs_fs.h",
        ),
    ],
    limitations=[
        "the format keeps no times and only 8 bits of the group",
        "images compressed with anything but zlib (vendors' variants) are listed, their files cannot be opened",
    ],
    smallest=_SUPERBLOCK,
)
