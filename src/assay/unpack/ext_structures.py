"""The records of ext2, ext3 and ext4 as they lie on disk: superblock, inode, directory entry, extended attribute."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator

import msgspec

from .base import Malformed, Unsupported, ns

COMPAT = {0x4: "has_journal", 0x8: "ext_attr", 0x10: "resize_inode", 0x20: "dir_index", 0x200: "sparse_super2"}
COMPAT |= {0x400: "fast_commit", 0x800: "stable_inodes", 0x1000: "orphan_file"}
INCOMPAT = {0x1: "compression", 0x2: "filetype", 0x4: "needs_recovery", 0x8: "journal_dev", 0x10: "meta_bg"}
INCOMPAT |= {0x40: "extents", 0x80: "64bit", 0x100: "mmp", 0x200: "flex_bg", 0x400: "ea_inode", 0x1000: "dirdata"}
INCOMPAT |= {0x2000: "csum_seed", 0x4000: "large_dir", 0x8000: "inline_data", 0x10000: "encrypt", 0x20000: "casefold"}
RO_COMPAT = {0x1: "sparse_super", 0x2: "large_file", 0x8: "huge_file", 0x10: "uninit_bg", 0x20: "dir_nlink"}
RO_COMPAT |= {0x40: "extra_isize", 0x80: "snapshot", 0x100: "quota", 0x200: "bigalloc", 0x400: "metadata_csum"}
RO_COMPAT |= {0x1000: "read-only", 0x2000: "project", 0x4000: "shared_blocks", 0x8000: "verity"}
RO_COMPAT |= {0x10000: "orphan_present"}

EXTENTS = 0x80000
INLINE_DATA = 0x10000000
ENCRYPTED = 0x800
COMPRESSED = 0x200
EA_INODE = 0x200000

XATTR_MAGIC = 0xEA020000
XATTR_NAMES = {
    1: "user.",
    2: "system.posix_acl_access",
    3: "system.posix_acl_default",
    4: "trusted.",
    5: "lustre.",
    6: "security.",
    7: "system.",
    8: "system.richacl",
    9: "encryption.",
    10: "gnu.",
}
INLINE = "system.data"
"""The attribute that continues the data of a file or directory kept in its inode."""
VALUE = 65536
"""Longest value of an extended attribute, in bytes (Linux, XATTR_SIZE_MAX)."""

ROOT = 2

INODE = struct.Struct("<HHIiiiIHHIII60sIIIIHHHHHH")
EXTRA = struct.Struct("<HHIII")

Detail = dict[str, str | int | bool | None]


class Superblock(msgspec.Struct, kw_only=True):
    """The superblock's fields that reading needs."""

    inodes: int
    blocks: int
    first_block: int
    block_size: int
    group_blocks: int
    group_inodes: int
    first_inode: int
    inode_size: int
    descriptor_size: int
    compat: int
    incompat: int
    ro_compat: int
    reserved_descriptors: int
    first_meta_group: int
    backups: tuple[int, int]
    journal: int
    mmp: int
    hidden: tuple[int, ...]
    """Inodes outside the reserved ones that no directory lists: orphan file, project quota."""


class Inode(msgspec.Struct):
    """An inode, its numbers put together from their parts."""

    number: int
    mode: int
    uid: int
    gid: int
    size: int
    nlink: int
    flags: int
    attributes: int
    """Block of extended attributes, or 0."""
    atime: int
    ctime: int
    mtime: int
    map: bytes
    """The 60 bytes that hold the root of the block map, a short target, inline data or a device number."""
    tail: bytes
    """What follows the fields in the inode: extended attributes, or nothing."""


def parse_superblock(raw: bytes) -> tuple[Superblock, Detail] | None:
    """Return the superblock and its fields worth keeping as evidence, or None if it makes no sense as one.

    Raises:
        Unsupported: it needs a feature that is not known here, or says that there are no files.
        Malformed: its fields contradict each other.
    """
    if len(raw) < 1024 or raw[56:58] != b"\x53\xef":
        return None

    def word(offset: int) -> int:
        return int.from_bytes(raw[offset : offset + 4], "little")

    def half(offset: int) -> int:
        return int.from_bytes(raw[offset : offset + 2], "little")

    revision = word(76)
    compat, incompat, ro_compat = (word(92), word(96), word(100)) if revision else (0, 0, 0)
    block_log = word(24)
    # The magic has two bytes only, so a superblock that makes no sense is not taken for a broken one.
    if block_log > 6 or revision > 1 or not word(40) or not word(32) or word(0) < 10 or half(58) > 0x7:
        return None
    wide = incompat & 0x80
    head = Superblock(
        inodes=word(0),
        blocks=word(4) | (word(336) << 32 if wide else 0),
        first_block=word(20),
        block_size=1024 << block_log,
        group_blocks=word(32),
        group_inodes=word(40),
        first_inode=word(84) if revision else 11,
        inode_size=half(88) if revision else 128,
        descriptor_size=half(254) if wide else 32,
        compat=compat,
        incompat=incompat,
        ro_compat=ro_compat,
        reserved_descriptors=half(206) if compat & 0x10 else 0,
        first_meta_group=word(260),
        backups=(word(588), word(592)),
        journal=word(224) if compat & 0x4 else 0,
        mmp=word(360) | word(364) << 32,
        hidden=tuple(
            number
            for number in (word(640) if compat & 0x1000 else 0, word(620) if ro_compat & 0x2000 else 0)
            if number >= word(84)
        ),
    )
    if incompat & 0x8:
        raise Unsupported("an external journal: it holds no files")
    unknown = incompat & ~sum(INCOMPAT)
    if unknown:
        raise Unsupported(f"incompatible features {unknown:#x}")
    sizes = (head.inode_size, head.descriptor_size)
    if any(size & size - 1 or size > head.block_size for size in sizes) or sizes[0] < 128 or sizes[1] < 32:
        raise Malformed(f"inodes of {sizes[0]} bytes, group descriptors of {sizes[1]}")
    if head.first_block >= head.blocks or head.group_inodes > 8 * head.block_size or not 1 < head.first_inode < 1 << 16:
        raise Malformed(f"first block {head.first_block} of {head.blocks}, first inode {head.first_inode}")
    extents = incompat & (0x40 | 0x80 | 0x200 | 0x8000) or ro_compat & (0x8 | 0x10 | 0x20 | 0x40 | 0x400)
    detail: Detail = {
        "version": "ext4" if extents else "ext3" if head.journal else "ext2",
        "revision": revision,
        "block_size": head.block_size,
        "blocks": head.blocks,
        "inodes": head.inodes,
        "inode_size": head.inode_size,
        "features": " ".join(
            _features(compat, COMPAT) + _features(incompat, INCOMPAT) + _features(ro_compat, RO_COMPAT)
        ),
        "uuid": raw[104:120].hex(),
        "label": _text(raw[120:136]),
        "last_mounted": _text(raw[136:200]),
        "created": ns(word(264)),
        "written": ns(word(48)),
        "mounted": ns(word(44)),
        "state": "clean" if half(58) & 1 else "not clean",
        "errors": bool(half(58) & 2),
        "needs_recovery": bool(incompat & 0x4),
    }
    return head, detail


def parse_inode(number: int, raw: bytes, head: Superblock) -> Inode:
    """Return an inode from its record (`inode_size` bytes)."""
    (
        mode, uid, size, atime, ctime, mtime, _, gid, nlink, _, flags, _, blocks, _, acl, size_high, _,
        _, acl_high, uid_high, gid_high, _, _,
    ) = INODE.unpack_from(raw)  # fmt: skip
    times = [atime, ctime, mtime]
    nanoseconds = [0, 0, 0]
    tail = b""
    if len(raw) >= INODE.size + EXTRA.size:
        extra, _, *more = EXTRA.unpack_from(raw, INODE.size)
        # Each field counts only if the inode says that its own part is long enough.
        for at, (place, value) in enumerate(((1, more[0]), (2, more[1]), (0, more[2]))):
            if extra >= 8 + 4 * at:
                times[place] += (value & 3) << 32
                nanoseconds[place] = value >> 2
        tail = raw[INODE.size + extra :]
    if mode >> 12 == 8 or head.incompat & 0x4000:
        size |= size_high << 32
    return Inode(
        number,
        mode,
        uid | uid_high << 16,
        gid | gid_high << 16,
        size,
        nlink,
        flags,
        acl | acl_high << 32,
        ns(times[0], nanoseconds[0]),
        ns(times[1], nanoseconds[1]),
        ns(times[2], nanoseconds[2]),
        blocks,
        tail,
    )


def directory_records(data: bytes, typed: bool) -> Generator[tuple[int, bytes], None, str | None]:
    """Yield (inode number, name) of one directory block, without '.' and '..'; return what was wrong with it, or None.

    Args:
        data: the block.
        typed: records have a type byte (feature `filetype`) in place of the upper half of the name's length.
    """
    layout = "<IHBB" if typed else "<IHH"
    unpack = struct.Struct(layout).unpack_from
    at, end = 0, len(data)
    while at + 8 <= end:
        inode, length, name_length, *_ = unpack(data, at)
        if end >= 65536 and length in (0, 65535):
            length = end
        elif end >= 65536:
            length = length & 0xFFFC | (length & 3) << 16
        if length < 8 + name_length or length & 3 or at + length > end:
            return f"a record of {length} bytes with a name of {name_length} at {at} of {end}"
        if inode:
            name = data[at + 8 : at + 8 + name_length]
            if name not in (b".", b".."):
                yield inode, name
        at += length
    return None


def attribute_records(
    data: bytes, at: int, base: int, elsewhere: Callable[[int, int], bytes]
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, value) of extended attributes.

    Args:
        data: an attribute block, or the part of an inode from the attributes' magic on.
        at: where the first record is.
        base: what offsets of values count from.
        elsewhere: returns a value that lies in an inode of its own, by the inode's number and the value's length.

    Raises:
        Malformed: a record breaks the format; those before it were right.
    """
    while any(data[at : at + 4]):
        if at + 16 > len(data):
            raise Malformed("extended attributes: a record is cut off")
        length, index, offset, inode, size, _ = struct.unpack_from("<BBHIII", data, at)
        name = data[at + 16 : at + 16 + length]
        at += 16 + (length + 3 & ~3)
        if at > len(data):
            raise Malformed("extended attributes: a name is cut off")
        if size > VALUE:
            raise Malformed(f"extended attributes: a value of {size} bytes")
        value = elsewhere(inode, size) if inode else data[base + offset : base + offset + size]
        if len(value) != size:
            raise Malformed("extended attributes: a value is cut off")
        prefix = XATTR_NAMES.get(index, f"{index}.")
        yield prefix + name.decode("utf-8", "backslashreplace"), value


def is_short(inode: Inode) -> bool:
    """Tell whether a symbolic link's target lies in the inode in place of its block map."""
    return inode.size < 60 and not inode.flags & (EXTENTS | INLINE_DATA)


def device(numbers: bytes) -> tuple[int, int]:
    """Return major and minor: 8 bits each in the first word, or 12 and 20 in the second (Linux, new_decode_dev)."""
    old, new = struct.unpack_from("<II", numbers)
    if old:
        return old >> 8 & 0xFF, old & 0xFF
    return new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "backslashreplace")


def _features(bits: int, names: dict[int, str]) -> list[str]:
    return [names.get(1 << bit, f"{1 << bit:#x}") for bit in range(32) if bits >> bit & 1]
