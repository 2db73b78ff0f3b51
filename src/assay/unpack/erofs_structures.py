"""The records of EROFS as they lie on disk, all little endian: superblock, inode, directory block, attributes."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from typing import NamedTuple

from .base import Malformed, Unsupported, ns

MAGIC = 0xE0F5E1E2
OFFSET = 1024
"""Where the superblock is."""
SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQBxxxI")

COMPAT = {0x1: "sb_chksum", 0x2: "mtime", 0x4: "xattr_filter", 0x8: "shared_ea_in_metabox", 0x10: "plain_xattr_pfx"}
COMPAT |= {0x20: "ishare_xattrs"}
INCOMPAT = {0x1: "zero_padding", 0x2: "compr_cfgs", 0x4: "chunked_file", 0x8: "device_table", 0x10: "ztailpacking"}
INCOMPAT |= {0x20: "fragments", 0x40: "xattr_prefixes", 0x80: "48bit", 0x100: "metabox"}

PLAIN, INDEXED, INLINE, COMPACT, CHUNKS = range(5)
"""How an inode's data lie: in blocks, compressed with full indexes, in blocks and a tail after the inode, compressed
with compact indexes, in chunks."""
LAYOUTS = ("flat", "compressed", "flat with inline tail", "compressed, compact", "chunks")

PREFIXES = {
    1: "user.",
    2: "system.posix_acl_access",
    3: "system.posix_acl_default",
    4: "trusted.",
    5: "lustre.",
    6: "security.",
}

Detail = dict[str, str | int | bool | None]


class Superblock(NamedTuple):
    """What reading needs of the superblock."""

    block_bits: int
    length: int
    """Bytes of the superblock with its extensions."""
    root: int
    inodes: int
    epoch: int
    nanoseconds: int
    blocks: int
    meta: int
    """Byte offset that inode numbers count from."""
    shared: int
    """Byte offset of the shared extended attributes."""
    compat: int
    incompat: int
    algorithms: int
    """Bits of the compression algorithms, where they have configurations; else the distance that LZ4 looks back."""
    devices: int
    prefix_count: int
    prefix_start: int
    packed: int

    @property
    def block_size(self) -> int:
        """Bytes in a block."""
        return 1 << self.block_bits


class Inode(NamedTuple):
    """An inode, its numbers put together from their parts."""

    number: int
    at: int
    """Byte offset of its record."""
    end: int
    """Byte offset after its record and extended attributes: where indexes or a tail follow."""
    layout: int
    mode: int
    nlink: int
    size: int
    start: int
    """First block, or device number, or form of the chunks."""
    uid: int
    gid: int
    mtime: int
    attributes: int
    """Bytes of extended attributes after the record."""


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some data as EROFS has it: begun with all ones, not inverted at the end."""
    table = _table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc


_TABLE: list[int] = []


def _table() -> list[int]:
    if not _TABLE:
        for byte in range(256):
            for _ in range(8):
                byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # noqa: PLW2901 - the polynomial, reflected
            _TABLE.append(byte)
    return _TABLE


def parse_superblock(raw: bytes) -> tuple[Superblock, Detail] | None:
    """Return the superblock and its fields worth keeping as evidence, or None if it makes no sense as one.

    Args:
        raw: the bytes at `OFFSET`, 144 or more of them unless the source is shorter.

    Raises:
        Unsupported: it needs a feature that is not known here.
    """
    if len(raw) < SUPERBLOCK.size:
        return None
    (
        magic, checksum, compat, block_bits, slots, half, inodes, epoch, nanoseconds, blocks, meta, shared, uuid, label,
        incompat, algorithms, devices, _, directory_bits, prefix_count, prefix_start, packed, _, built,
    ) = SUPERBLOCK.unpack_from(raw)  # fmt: skip
    if magic != MAGIC or not 9 <= block_bits <= 16 or directory_bits or nanoseconds >= 1_000_000_000 or not inodes:
        return None
    root = half
    wide = incompat & 0x80
    if wide and len(raw) >= 120 and incompat < 1 << 16:
        blocks |= half << 32
        root = int.from_bytes(raw[112:120], "little")
    if blocks << block_bits < OFFSET + SUPERBLOCK.size or meta > blocks:
        return None
    if unknown := incompat & ~sum(INCOMPAT):
        raise Unsupported(f"incompatible features {unknown:#x}")
    if incompat & 0x100:
        raise Unsupported("inodes in a metabox")
    head = Superblock(
        block_bits, 128 + 16 * slots, root, inodes, epoch, nanoseconds, blocks, meta << block_bits,
        shared << block_bits, compat, incompat, algorithms, devices if incompat & 0x8 else 0,
        prefix_count if incompat & 0x40 else 0, prefix_start * 4, packed if incompat & 0x20 else 0,
    )  # fmt: skip
    detail: Detail = {
        "block_size": 1 << block_bits,
        "blocks": blocks,
        "inodes": inodes,
        "features": " ".join(
            [name for bit, name in COMPAT.items() if compat & bit]
            + [name for bit, name in INCOMPAT.items() if incompat & bit]
        ),
        "uuid": uuid.hex(),
        "label": label.rstrip(b"\0").decode("utf-8", "backslashreplace"),
        "built": ns(epoch + (built if wide else 0), nanoseconds),
        "checksum": checksum if compat & 0x1 else None,
        "extra_devices": head.devices,
    }
    return head, detail


def parse_inode(number: int, at: int, raw: bytes, head: Superblock) -> Inode:
    """Return an inode from its record (64 bytes; a compact one has 32).

    Raises:
        Malformed: its form is unknown.
    """
    form, attributes, mode, low = struct.unpack_from("<HHHH", raw)
    if form >> 5 or form >> 1 & 7 >= len(LAYOUTS):
        raise Malformed(f"inode {number} has form {form:#x}")
    if form & 1:
        size, start, _, uid, gid, seconds, nanoseconds, nlink = struct.unpack_from("<QIIIIqII", raw, 8)
        mtime, length, high = ns(seconds, nanoseconds), 64, low
    else:
        size, later, start, _, uid, gid = struct.unpack_from("<IIIIHH", raw, 8)
        mtime, length = ns(head.epoch + later, head.nanoseconds), 32
        nlink, high = (1, low) if form & 0x10 and mode >> 12 != 4 else (low, 0)
    if head.incompat & 0x80 and form >> 1 & 7 in (PLAIN, INLINE) and mode >> 12 in (4, 8, 10):
        start |= high << 32
    inline = 12 + 4 * (attributes - 1) if attributes else 0
    return Inode(
        number, at, at + length + inline, form >> 1 & 7, mode, nlink, size, start, uid, gid, mtime, inline
    )  # fmt: skip


def directory_records(block: bytes) -> Generator[tuple[int, bytes], None, str | None]:
    """Yield (inode number, name) of one directory block, without '.' and '..'; return what was wrong with it, or None.

    The block begins with records of 12 bytes (u64 inode, u16 offset of the name, u8 type, u8); the first name follows
    the last record, so its offset tells how many there are.
    """
    if len(block) < 12:
        return f"a block of {len(block)} bytes"
    first = int.from_bytes(block[8:10], "little")
    if first % 12 or not 12 <= first < len(block):
        return f"the first name is at {first} of {len(block)}"
    records = [(nid, offset) for nid, offset, _, _ in struct.iter_unpack("<QHBB", block[:first])]
    ends = [offset for _, offset in records[1:]] + [len(block)]
    for (nid, offset), end in zip(records, ends, strict=True):
        if not first <= offset < end <= len(block):
            return f"a name from {offset} to {end} of {len(block)}"
        name = block[offset:end].partition(b"\0")[0]
        if not name or b"/" in name:
            return f"the name {name!r}"
        if name not in (b".", b".."):
            yield nid, name
    return None


def attribute_record(data: bytes, at: int, prefixes: list[tuple[int, bytes]]) -> tuple[str, bytes, int]:
    """Return name and value of the extended attribute at a place in some data, and where the next one is.

    Args:
        data: what holds the record.
        at: where it begins.
        prefixes: long prefixes: (index of the short prefix, what follows it).

    Raises:
        Malformed: it is cut off, or its prefix is unknown.
    """
    if at + 4 > len(data):
        raise Malformed("extended attributes: a record is cut off")
    length, index, size = struct.unpack_from("<BBH", data, at)
    end = at + 4 + length + size
    if end > len(data):
        raise Malformed("extended attributes: a name or value is cut off")
    name = data[at + 4 : at + 4 + length]
    if index & 0x80:
        if index & 0x7F >= len(prefixes):
            raise Malformed(f"extended attributes: there is no prefix {index & 0x7F}")
        index, infix = prefixes[index & 0x7F]
        name = infix + name
    text = PREFIXES.get(index, f"{index}.") + name.decode("utf-8", "backslashreplace")
    return text, data[at + 4 + length : end], end + -(end - at) % 4


def long_prefixes(data: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    """Yield (index of the short prefix, what follows it) of the long prefixes: u16 length, u8 index, text; on 4 bytes.

    Raises:
        Malformed: they are cut off.
    """
    at = 0
    for _ in range(count):
        length = int.from_bytes(data[at : at + 2], "little")
        record = data[at + 2 : at + 2 + length]
        if not length or len(record) < length:
            raise Malformed("the prefixes of extended attributes are cut off")
        yield record[0], record[1:]
        at += 2 + length
        at += -at % 4
