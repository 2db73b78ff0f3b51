"""The records of btrfs as they lie on disk: superblock, chunks, nodes of trees, inodes, extents of files.

Everything but the superblock lives in B-trees of nodes at logical addresses; the chunk tree says where a logical
address lies on which device. A node's items are ordered by (object, type, offset).
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .base import Malformed, NotThisFormat, Unsupported, ns
from .crc32c import crc32c

MAGIC = b"_BHRfS_M"
SUPERBLOCKS = (64 << 10, 64 << 20, 256 << 30)
SUPERBLOCK = 4096

NODE = struct.Struct(
    "<16sQQ16sQQIB"
)  # from offset 32: fsid, bytenr, flags, chunk tree, generation, owner, items, level
NODE_HEAD = 101
ITEM = struct.Struct("<QBQII")
POINTER = struct.Struct("<QBQQQ")
CHUNK_ITEM = struct.Struct("<4Q3I2H")
STRIPE = struct.Struct("<QQ16s")
INODE = struct.Struct("<5Q4I3Q32xQIQIQIQI")
DIRECTORY = struct.Struct("<QBQQHHB")
EXTENT = struct.Struct("<QQBBHB")
EXTENT_PLACE = struct.Struct("<4Q")

INODE_ITEM, XATTR_ITEM, DIR_INDEX, EXTENT_DATA = 1, 24, 96, 108
EXTENT_CSUM, ROOT_ITEM, ROOT_REF, EXTENT_ITEM, METADATA_ITEM, CHUNK_KEY = 128, 132, 156, 168, 169, 228
ROOT_TREE, EXTENT_TREE, CHUNK_TREE, FS_TREE, CSUM_TREE = 1, 2, 3, 5, 7
CSUM_OBJECT = 0xFFFFFFFFFFFFFFF6
FIRST_CHUNK = FIRST_FREE = 256
LAST = 0xFFFFFFFFFFFFFFFF

RAID0, RAID1, DUP, RAID10, RAID5, RAID6, RAID1C3, RAID1C4 = (8 << bit for bit in range(8))
PROFILES = {
    RAID0: "raid0", RAID1: "raid1", DUP: "dup", RAID10: "raid10", RAID5: "raid5", RAID6: "raid6",
    RAID1C3: "raid1c3", RAID1C4: "raid1c4",
}  # fmt: skip
STRIPED = RAID0 | RAID10 | RAID5 | RAID6
NO_DATA_SUM = 1
"""Flag of an inode: its data have no checksums."""

INCOMPATIBLE = {
    0x1: "mixed_backref", 0x2: "default_subvol", 0x4: "mixed_groups", 0x8: "compress_lzo", 0x10: "compress_zstd",
    0x20: "big_metadata", 0x40: "extended_iref", 0x80: "raid56", 0x100: "skinny_metadata", 0x200: "no_holes",
    0x400: "metadata_uuid", 0x800: "raid1c34", 0x1000: "zoned", 0x2000: "extent_tree_v2", 0x4000: "raid_stripe_tree",
    0x10000: "simple_quota",
}  # fmt: skip
UNREAD = 0x2000 | 0x4000 | 0x1000

Key = tuple[int, int, int]
Detail = dict[str, str | int | bool | None]


class Checksum(NamedTuple):
    """A type of checksum."""

    name: str
    size: int
    of: Callable[[bytes], bytes] | None
    """Computes it; None where no library does."""


CHECKSUMS = {
    0: Checksum("crc32c", 4, lambda data: crc32c(data).to_bytes(4, "little")),
    1: Checksum("xxhash64", 8, None),
    2: Checksum("sha256", 32, lambda data: hashlib.sha256(data).digest()),
    3: Checksum("blake2b", 32, lambda data: hashlib.blake2b(data, digest_size=32).digest()),
}


class Superblock(NamedTuple):
    """The superblock's fields that reading needs."""

    at: int
    generation: int
    root: int
    root_level: int
    chunk_root: int
    chunk_level: int
    sector: int
    node: int
    checksum: Checksum
    device: int
    total: int
    """Bytes of this device that the volume has."""
    identity: bytes
    """The UUID that nodes have."""
    chunks: bytes
    detail: Detail


class Chunk(NamedTuple):
    """A stretch of logical addresses, and where it lies."""

    start: int
    length: int
    kind: int
    places: tuple[int, ...]
    """Offsets of its copies on this device."""
    devices: int
    """Stripes on all devices."""


class Inode(NamedTuple):
    """An inode item's fields."""

    size: int
    nlink: int
    uid: int
    gid: int
    mode: int
    device: tuple[int, int]
    flags: int
    atime: int
    ctime: int
    mtime: int


class Extent(NamedTuple):
    """An extent of a file."""

    start: int
    """Offset in the file."""
    decoded: int
    """Bytes that come out of the whole of it."""
    compression: int
    encrypted: bool
    kind: int
    """0 inline, 1 regular, 2 allocated and not written."""
    data: bytes
    """Of an inline extent."""
    at: int
    """Logical address; 0 for a hole."""
    stored: int
    skip: int
    """Decoded bytes before those of the file."""
    length: int


def parse_superblock(raw: bytes, at: int) -> Superblock:
    """Return a superblock (4096 bytes) that stands at an offset.

    Raises:
        NotThisFormat: it makes no sense as one.
        Malformed: its checksum differs.
        Unsupported: it needs what is not known here.
    """
    if len(raw) < SUPERBLOCK or raw[64:72] != MAGIC:
        raise NotThisFormat
    words = struct.unpack_from("<QQ8s9Q", raw, 48)
    bytenr, generation, root, chunk_root, log = words[0], words[3], words[4], words[5], words[6]
    total, used, devices = struct.unpack_from("<QQ8xQ", raw, 112)
    sector, node, _, _, array = struct.unpack_from("<5I", raw, 144)
    compatible, reading, incompatible, kind, level, chunk_level, _ = struct.unpack_from("<QQQHBBB", raw, 172)
    device, device_bytes = struct.unpack_from("<QQ", raw, 201)
    if not 512 <= sector <= node <= 65536 or sector & sector - 1 or node & node - 1 or array > 2048 or bytenr != at:
        raise NotThisFormat
    if level > 8 or chunk_level > 8 or kind not in CHECKSUMS:
        raise NotThisFormat
    checksum = CHECKSUMS[kind]
    if checksum.of is not None and checksum.of(raw[32:]) != raw[: checksum.size]:
        raise Malformed(f"the checksum of the superblock at {at} differs")
    if incompatible & UNREAD or incompatible & ~sum(INCOMPATIBLE):
        names = " ".join(_features(incompatible & (UNREAD | ~sum(INCOMPATIBLE))))
        raise Unsupported(f"incompatible features {names}")
    fsid = raw[32:48]
    detail: Detail = {
        "label": raw[299:555].split(b"\0")[0].decode("utf-8", "backslashreplace"),
        "uuid": str(uuid.UUID(bytes=fsid)),
        "generation": generation,
        "total_bytes": total,
        "used_bytes": used,
        "devices": devices,
        "device": device,
        "device_bytes": device_bytes,
        "device_uuid": str(uuid.UUID(bytes=raw[267:283])),
        "sector_bytes": sector,
        "node_bytes": node,
        "checksum": checksum.name,
        "incompatible_features": " ".join(_features(incompatible)),
        "compatible_features": compatible,
        "read_compatible_features": reading,
        "log_to_replay": bool(log),
        "superblock": at,
    }
    identity = raw[571:587] if incompatible & 0x400 else fsid
    return Superblock(
        at, generation, root, level, chunk_root, chunk_level, sector, node, checksum, device, device_bytes, identity,
        raw[811 : 811 + array], detail,
    )  # fmt: skip


def parse_chunk(start: int, raw: bytes, device: int) -> tuple[Chunk, int]:
    """Return a chunk from its item, and the item's length.

    Raises:
        Malformed: it is cut off, or empty.
    """
    if len(raw) < CHUNK_ITEM.size:
        raise Malformed("a chunk is cut off")
    length, _, _, kind, _, _, _, stripes, _ = CHUNK_ITEM.unpack_from(raw)
    size = CHUNK_ITEM.size + stripes * STRIPE.size
    if len(raw) < size or not stripes or not length:
        raise Malformed("a chunk is cut off, or empty")
    places = tuple(offset for number, offset, _ in STRIPE.iter_unpack(raw[CHUNK_ITEM.size : size]) if number == device)
    return Chunk(start, length, kind, places, stripes), size


def parse_inode(raw: bytes) -> Inode:
    """Return an inode from its item.

    Raises:
        Malformed: it is cut off.
    """
    if len(raw) < INODE.size:
        raise Malformed("an inode is cut off")
    (
        _, _, size, _, _, nlink, uid, gid, mode, device, flags, _,
        atime, atime_ns, ctime, ctime_ns, mtime, mtime_ns, _, _,
    ) = INODE.unpack_from(raw)  # fmt: skip
    return Inode(
        size, nlink, uid, gid, mode, (device >> 20 & 0xFFF, device & 0xFFFFF), flags,
        _time(atime, atime_ns), _time(ctime, ctime_ns), _time(mtime, mtime_ns),
    )  # fmt: skip


def parse_extent(start: int, raw: bytes) -> Extent:
    """Return an extent of a file from its item.

    Raises:
        Malformed: it is cut off, or of no known type.
    """
    if len(raw) < EXTENT.size:
        raise Malformed("an extent is cut off")
    _, decoded, compression, encryption, other, kind = EXTENT.unpack_from(raw)
    hidden = bool(encryption or other)
    if kind == 0:
        return Extent(start, decoded, compression, hidden, 0, raw[EXTENT.size :], 0, 0, 0, decoded)
    if kind > 2 or len(raw) < EXTENT.size + EXTENT_PLACE.size:
        raise Malformed(f"an extent of type {kind} in {len(raw)} bytes")
    return Extent(start, decoded, compression, hidden, kind, b"", *EXTENT_PLACE.unpack_from(raw, EXTENT.size))


def directory_items(raw: bytes) -> Iterator[tuple[Key, bytes, bytes]]:
    """Yield (location, name, data) of the entries in one item: a name in a directory, or extended attributes.

    Raises:
        Malformed: an entry is cut off.
    """
    at = 0
    while at < len(raw):
        if at + DIRECTORY.size > len(raw):
            raise Malformed("a directory item is cut off")
        number, kind, offset, _, data, name, _ = DIRECTORY.unpack_from(raw, at)
        at += DIRECTORY.size
        if at + name + data > len(raw):
            raise Malformed("a directory item is cut off")
        yield (number, kind, offset), raw[at : at + name], raw[at + name : at + name + data]
        at += name + data


def _time(seconds: int, nanoseconds: int) -> int:
    return ns(seconds - (1 << 64) if seconds >> 63 else seconds, nanoseconds)


def _features(bits: int) -> list[str]:
    return [INCOMPATIBLE.get(1 << bit, hex(1 << bit)) for bit in range(64) if bits >> bit & 1]
