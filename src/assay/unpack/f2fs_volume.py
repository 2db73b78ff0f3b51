"""An F2FS volume: superblock, checkpoint, node address table, nodes, contents of files.

All numbers are little-endian, blocks have 4 KiB. Two packs of checkpoints take turns; the newest whole one counts. It
says which of the two copies of each block of the node address table (NAT) is valid, and holds late changes of it in a
journal. The NAT gives the block of a node by its number: inodes, and the nodes that hold block addresses of files.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import lz4.block
import zstandard
from lzallright import LZOCompressor, LZOError

from .base import CHUNK, Limits, Malformed, NotThisFormat, Source, Truncated, UnpackError, Unsupported, ns

MAGIC = b"\x10\x20\xf5\xf2"
BLOCK = 4096
SUPERBLOCKS = (1024, BLOCK + 1024)
FEATURES = (
    "encrypt", "blkzoned", "atomic_write", "extra_attr", "project_quota", "inode_checksum", "flexible_inline_xattr",
    "quota_ino", "inode_crtime", "lost_found", "verity", "sb_checksum", "casefold", "compression", "ro", "device_alias",
)  # fmt: skip
FLEXIBLE_XATTR = 0x40
NAT_ENTRY = struct.Struct("<BII")
NAT_EACH = BLOCK // NAT_ENTRY.size
JOURNAL = struct.Struct("<IBII")
INODE = struct.Struct("<HBBIIIQQ3Q3I4xIIII")
ADDRESSES, EACH = 923, 1018
"""Block addresses in an inode without extras, and in a node that holds nothing else."""
FIRST_ADDRESS, NODES, FOOTER = 360, 4052, 4072
INLINE_XATTR, INLINE_DATA, INLINE_NAMES, EXTRA = 1, 2, 4, 0x20
ENCRYPTED = 4  # advice, not flags
COMPRESSED = 4  # flags
NEW, PACKED = 0xFFFFFFFF, 0xFFFFFFFE
XATTR_MAGIC = 0xF2F52011
XATTR_NAMES = {
    1: "user.", 2: "system.posix_acl_access", 3: "system.posix_acl_default", 4: "trusted.", 5: "lustre.",
    6: "security.", 7: "system.advise", 9: "encryption.", 11: "verity.",
}  # fmt: skip
ZEROS = bytes(CHUNK)
COMPRESSIONS = {0: "lzo", 1: "lz4", 2: "zstd", 3: "lzo-rle"}

Detail = dict[str, str | int | bool | None]


class Superblock(NamedTuple):
    """The superblock's fields that reading needs."""

    blocks: int
    per_segment: int
    segments: dict[str, tuple[int, int]]
    """First block and blocks of each area."""
    root: int
    payload: int
    features: int
    hidden: tuple[int, ...]
    """Inodes that no directory lists: quotas."""
    detail: Detail


class Inode(NamedTuple):
    """An inode's fields, and the block that it is."""

    number: int
    mode: int
    advice: int
    inline: int
    uid: int
    gid: int
    nlink: int
    size: int
    atime: int
    ctime: int
    mtime: int
    xattr_node: int
    flags: int
    extra: int
    """Bytes of extra fields before the block addresses."""
    xattr_words: int
    """Words kept for extended attributes behind the block addresses."""
    compression: int
    cluster: int
    """Blocks that are compressed together, where the file is compressed; else 1."""
    raw: bytes


def checksum(data: bytes) -> int:
    """Return F2FS's checksum: CRC-32 begun with the magic, not inverted at the end."""
    return zlib.crc32(data, 0xF2F52010 ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def parse_superblock(raw: bytes) -> Superblock:
    """Return a superblock (3072 bytes).

    Raises:
        NotThisFormat: it makes no sense as one.
        Malformed: its areas contradict each other, or its checksum differs.
        Unsupported: blocks are not of 4 KiB, or the volume has several devices.
    """
    if len(raw) < 3072 or raw[:4] != MAGIC:
        raise NotThisFormat
    major, minor, sector, sectors, block, log_segment, _, _, checksum_at, blocks = struct.unpack_from("<HH7IQ", raw, 4)
    counts = struct.unpack_from("<7I", raw, 44)
    places = struct.unpack_from("<6I", raw, 72)
    (root,) = struct.unpack_from("<I", raw, 96)
    if sector + sectors != block or not 12 <= block <= 16 or log_segment != 9 or not blocks or root < 3:
        raise NotThisFormat
    if block != 12:
        raise Unsupported(f"blocks of {1 << block} bytes")
    (payload,) = struct.unpack_from("<I", raw, 1664)
    (features,) = struct.unpack_from("<I", raw, 2180)
    if features & 0x800 and checksum_at == 3068 and checksum(raw[:3068]) != int.from_bytes(raw[3068:3072], "little"):
        raise Malformed("the checksum of the superblock differs")
    if raw[2201 + 68 : 2201 + 68 + 1].strip(b"\0"):
        raise Unsupported("a volume on several devices")
    per = 1 << log_segment
    names = ("checkpoint", "segment information table", "node address table", "segment summary area", "main")
    segments = {name: (places[at + 1], counts[at + 2] * per) for at, name in enumerate(names)}
    last = places[0]
    for first, length in segments.values():
        if first < last:
            raise Malformed("the areas of the superblock overlap")
        last = first + length
    detail: Detail = {
        "version": f"{major}.{minor}",
        "label": raw[124:1148].decode("utf-16-le", "backslashreplace").split("\0")[0],
        "uuid": str(uuid.UUID(bytes=raw[108:124])),
        "blocks": blocks,
        "features": " ".join(name for bit, name in enumerate(FEATURES) if features >> bit & 1),
        "made_by": raw[1924:2180].split(b"\0")[0].decode("utf-8", "backslashreplace").strip(),
        "written_by": raw[1668:1924].split(b"\0")[0].decode("utf-8", "backslashreplace").strip(),
    }
    hidden = tuple(number for number in struct.unpack_from("<3I", raw, 2745) if number)
    return Superblock(blocks, per, segments, root, payload, features, hidden, detail)


class Volume:
    """A volume, read in place.

    Args:
        source: the image.
        head: its superblock.
        limits: for the reader.

    Raises:
        UnpackError: no checkpoint is whole.
    """

    def __init__(self, source: Source, head: Superblock, limits: Limits) -> None:
        self.source = source
        self.head = head
        self.limits = limits
        self.checkpoint_at, self.checkpoint = self._checkpoint()
        words = struct.unpack_from("<10I", self.checkpoint, 132)
        self.flags, self.pack_blocks, self.summary_at = words[:3]
        self.inodes, sit_bytes, nat_bytes = words[4], words[6], words[7]
        at = 192 + (4 if self.flags & 0x400 else 0 if head.payload else sit_bytes)
        self.nat_bitmap = self.checkpoint[at : at + nat_bytes]
        self.journal = self._journal()
        self.nat: dict[int, bytes] = {}

    def block(self, number: int) -> bytes:
        """Return a block by its number.

        Raises:
            Malformed: the volume has no such block.
            Truncated: the source has not.
        """
        if not 0 < number < self.head.blocks:
            raise Malformed(f"block {number} of {self.head.blocks}")
        return self.source.exactly(number * BLOCK, BLOCK)

    def _checkpoint(self) -> tuple[int, bytes]:
        """Return the newest whole checkpoint, and the block where its pack begins."""
        found: list[tuple[int, int, bytes]] = []
        failure: UnpackError | None = None
        start = self.head.segments["checkpoint"][0]
        for at in (start, start + self.head.per_segment):
            try:
                first = self._checkpoint_block(at)
                (total,) = struct.unpack_from("<I", first, 136)
                if not 1 < total <= self.head.per_segment or self._checkpoint_block(at + total - 1)[:8] != first[:8]:
                    raise Malformed(f"the checkpoint at block {at} has two versions")
                found.append((int.from_bytes(first[:8], "little"), at, first))
            except UnpackError as error:
                failure = failure or error
        if not found:
            assert failure is not None
            raise failure
        # Of two with the same version the first one counts, as for Linux.
        version, place, first = max(found, key=lambda pack: pack[0])
        self.head.detail["checkpoint_version"] = version
        self.head.detail["whole_checkpoints"] = len(found)
        return place, first

    def _checkpoint_block(self, at: int) -> bytes:
        raw = self.block(at)
        (place,) = struct.unpack_from("<I", raw, 164)
        if not 192 <= place <= BLOCK - 4 or place % 4:
            raise Malformed(f"the checkpoint at block {at} has its checksum at {place}")
        if checksum(raw[:place]) != int.from_bytes(raw[place : place + 4], "little"):
            raise Malformed(f"the checksum of the checkpoint at block {at} differs")
        return raw

    def _journal(self) -> dict[int, int]:
        """Return late changes of the NAT: block by node. They stand behind the summaries of the hot data segment."""
        if self.flags & 4:  # compact summaries
            at, offset = self.checkpoint_at + self.summary_at, 0
        else:
            at, offset = self.checkpoint_at + self.pack_blocks - (7 if self.flags & 1 else 4), 3584
        raw = self.block(at)
        count = int.from_bytes(raw[offset : offset + 2], "little")
        entries = raw[offset + 2 : offset + 2 + min(count, 38) * JOURNAL.size]
        return {node: block for node, _, _, block in JOURNAL.iter_unpack(entries)}

    def node(self, number: int) -> bytes:
        """Return the block of a node by the node's number.

        Raises:
            UnpackError: there is no such node, or it cannot be read.
        """
        raw = self.block(self.place(number))
        if int.from_bytes(raw[FOOTER : FOOTER + 4], "little") != number:
            raise Malformed(f"node {number} is another one by its footer")
        return raw

    def place(self, number: int) -> int:
        """Return the block number of a node.

        Raises:
            UnpackError: there is no such node.
        """
        found = self.journal.get(number)
        if found is None:
            index, entry = divmod(number, NAT_EACH)
            start, blocks = self.head.segments["node address table"]
            if index >= blocks // 2:
                raise Malformed(f"node {number} of {blocks // 2 * NAT_EACH}")
            if index not in self.nat:
                per = self.head.per_segment
                at = start + index // per * per * 2 + index % per
                if index >> 3 < len(self.nat_bitmap) and self.nat_bitmap[index >> 3] & 0x80 >> (index & 7):
                    at += per
                if len(self.nat) >= 1024:
                    del self.nat[next(iter(self.nat))]
                self.nat[index] = self.block(at)
            _, _, found = NAT_ENTRY.unpack_from(self.nat[index], entry * NAT_ENTRY.size)
        if found in (0, NEW):
            raise Malformed(f"node {number} is not in use")
        return found

    def inode(self, number: int) -> Inode:
        """Return an inode by its number.

        Raises:
            UnpackError: it cannot be read.
        """
        raw = self.node(number)
        (
            mode, advice, inline, uid, gid, nlink, size, _, atime, ctime, mtime,
            atime_ns, ctime_ns, mtime_ns, _, xattr_node, flags, _,
        ) = INODE.unpack_from(raw)  # fmt: skip
        if int.from_bytes(raw[FOOTER + 4 : FOOTER + 8], "little") != number:
            raise Malformed(f"node {number} is not an inode")
        extra, words = struct.unpack_from("<HH", raw, FIRST_ADDRESS) if inline & EXTRA else (0, 0)
        if not (self.head.features & FLEXIBLE_XATTR and inline & EXTRA):
            words = 50 if inline & (INLINE_XATTR | INLINE_NAMES) else 0
        if extra % 4 or extra // 4 + words + 1 > ADDRESSES:
            raise Malformed(f"inode {number} has {extra} bytes of extra fields, {words} words of attributes")
        algorithm, log = (raw[392], raw[393]) if extra >= 36 and flags & COMPRESSED else (0, 0)
        if log > 8:
            raise Malformed(f"inode {number} has clusters of 2^{log} blocks")
        return Inode(
            number, mode, advice, inline, uid, gid, nlink, size, _time(atime, atime_ns), _time(ctime, ctime_ns),
            _time(mtime, mtime_ns), xattr_node, flags, extra, words, algorithm, 1 << log, raw,
        )  # fmt: skip

    def inline(self, inode: Inode) -> bytes:
        """Return the part of an inode that holds data or names in place of block addresses."""
        return inode.raw[FIRST_ADDRESS + inode.extra + 4 : FIRST_ADDRESS + 4 * (ADDRESSES - inode.xattr_words)]

    def addresses(self, inode: Inode, nodes: set[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield (first block of the file, block addresses) a node at a time, in order, without holes of whole nodes.

        Args:
            inode: one whose data are not inline.
            nodes: node numbers met so far; the file's own are added.

        Raises:
            UnpackError: a node cannot be read, or is met twice.
        """
        first = ADDRESSES - inode.extra // 4 - inode.xattr_words
        first, each = first // inode.cluster * inode.cluster, EACH // inode.cluster * inode.cluster
        yield 0, struct.unpack_from(f"<{first}I", inode.raw, FIRST_ADDRESS + inode.extra)
        roots = struct.unpack_from("<5I", inode.raw, NODES)
        stack = [(roots[4], 2), (roots[3], 1), (roots[2], 1), (roots[1], 0), (roots[0], 0)]
        logical = first
        last = -(-inode.size // BLOCK)
        while stack and logical < last:
            number, level = stack.pop()
            if not number:
                logical += each * EACH**level
                continue
            if number in nodes:
                raise Malformed(f"node {number} is in more than one place")
            nodes.add(number)
            raw = self.node(number)
            if int.from_bytes(raw[FOOTER + 4 : FOOTER + 8], "little") != inode.number:
                raise Malformed(f"node {number} belongs to another inode than {inode.number}")
            words = struct.unpack_from(f"<{EACH}I", raw)
            if level:
                stack += [(word, level - 1) for word in reversed(words)]
            else:
                yield logical, words[:each]
                logical += each

    def data(self, inode: Inode) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB; holes and what is not written are zeros.

        Raises:
            UnpackError: the addresses or the data cannot be read.
        """
        if inode.inline & INLINE_DATA:
            data = self.inline(inode)
            if inode.size > len(data):
                raise Malformed(f"{len(data)} bytes of inline data instead of {inode.size}")
            yield data[: inode.size]
            return
        position = 0
        for logical, words in self.addresses(inode, set()):
            if logical * BLOCK >= inode.size:
                break
            yield from _zeros(logical * BLOCK - position)
            position = min((logical + len(words)) * BLOCK, inode.size)
            room = position - logical * BLOCK
            packed = inode.cluster > 1 and PACKED in words
            for piece in self._clusters(inode, words) if packed else self._blocks(words):
                yield piece[:room]
                room -= len(piece)
                if room <= 0:
                    break
        yield from _zeros(inode.size - position)

    def _blocks(self, words: tuple[int, ...]) -> Iterator[bytes]:
        at, most = 0, CHUNK // BLOCK
        while at < len(words):
            first, count = words[at], 1
            if first in (0, NEW):
                while count < most and at + count < len(words) and words[at + count] in (0, NEW):
                    count += 1
                yield ZEROS[: count * BLOCK]
            else:
                while count < most and at + count < len(words) and words[at + count] == first + count:
                    count += 1
                if first + count > self.head.blocks:
                    raise Malformed(f"block {first + count - 1} of {self.head.blocks}")
                data = self.source.pread(first * BLOCK, count * BLOCK)
                yield data
                if len(data) < count * BLOCK:
                    raise Truncated(f"needs block {first + count - 1}, the source has {self.source.size} bytes")
            at += count

    def _clusters(self, inode: Inode, words: tuple[int, ...]) -> Iterator[bytes]:
        for at in range(0, len(words), inode.cluster):
            cluster = words[at : at + inode.cluster]
            if cluster[0] != PACKED:
                yield from self._blocks(cluster)
                continue
            stored = b"".join(self._blocks(tuple(word for word in cluster[1:] if word not in (0, NEW))))
            yield self._unpacked(inode, stored)

    def _unpacked(self, inode: Inode, stored: bytes) -> bytes:
        """Return a cluster's bytes. Before the compressed ones stand their length, a checksum and 16 bytes reserved."""
        size = inode.cluster * BLOCK
        length = int.from_bytes(stored[:4], "little")
        data = stored[24 : 24 + length]
        name = COMPRESSIONS.get(inode.compression, str(inode.compression))
        if len(data) < length:
            raise Malformed(f"{len(data)} bytes of a compressed cluster of {length}")
        try:
            if name == "lz4":
                out: bytes = lz4.block.decompress(data, uncompressed_size=size)
            elif name == "zstd":
                with zstandard.ZstdDecompressor(max_window_size=1 << 24).stream_reader(data) as reader:
                    out = reader.read(size)
            elif name == "lzo":
                out = LZOCompressor.decompress(data, size)
            else:
                raise Unsupported(f"inode {inode.number} is compressed by {name}")
        except (lz4.block.LZ4BlockError, zstandard.ZstdError, LZOError) as error:
            raise Malformed(f"{name}: {error}") from None
        if len(out) != size:
            raise Malformed(f"{len(out)} bytes come out of a cluster of {size}")
        return out

    def names(self, inode: Inode) -> Iterator[tuple[int, bytes]]:
        """Yield (inode number, name) of what a directory lists, without '.' and '..'.

        Raises:
            UnpackError: at the end if a name broke the format; or the directory cannot be read on.
        """
        if inode.inline & INLINE_NAMES:
            yield from _records(self.inline(inode))
            return
        failure: UnpackError | None = None
        for _, words in self.addresses(inode, set()):
            for word in words:
                if word not in (0, NEW):
                    try:
                        yield from _records(self.block(word))
                    except UnpackError as error:
                        failure = failure or error
        if failure:
            raise failure

    def attributes(self, inode: Inode) -> Iterator[tuple[str, bytes]]:
        """Yield (name, value) of extended attributes; they lie behind the block addresses, and in a node of their own.

        Raises:
            UnpackError: they cannot be read on.
        """
        raw = b""
        if inode.inline & INLINE_XATTR:
            raw = inode.raw[FIRST_ADDRESS + 4 * (ADDRESSES - inode.xattr_words) : NODES]
        if inode.xattr_node:
            raw += self.node(inode.xattr_node)[:FOOTER]
        if len(raw) < 24 or int.from_bytes(raw[:4], "little") != XATTR_MAGIC:
            return
        at = 24
        while at + 4 <= len(raw) and any(raw[at : at + 4]):
            kind, length, size = struct.unpack_from("<BBH", raw, at)
            name, value = raw[at + 4 : at + 4 + length], raw[at + 4 + length : at + 4 + length + size]
            if len(value) < size:
                raise Malformed("extended attributes: a value is cut off")
            at += 4 + (length + size + 3 & ~3)
            yield XATTR_NAMES.get(kind, f"{kind}.") + name.decode("utf-8", "backslashreplace"), value


def _records(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (inode number, name) from a block of names: bitmap, records of 11 bytes, slots of 8 bytes for names."""
    count = len(raw) * 8 // ((11 + 8) * 8 + 1)
    bitmap = -(-count // 8)
    slots = len(raw) - 8 * count
    records = slots - 11 * count
    bits = int.from_bytes(raw[:bitmap], "little")
    at = 0
    while at < count:
        if not bits >> at & 1:
            at += 1
            continue
        _, inode, length, _ = struct.unpack_from("<IIHB", raw, records + 11 * at)
        taken = -(-length // 8)
        if at + taken > count:
            raise Malformed(f"a name of {length} bytes in slot {at} of {count}")
        name = raw[slots + 8 * at : slots + 8 * at + length]
        if length and name not in (b".", b".."):
            yield inode, name
        at += max(1, taken)


def _time(seconds: int, nanoseconds: int) -> int:
    return ns(seconds - (1 << 64) if seconds >> 63 else seconds, nanoseconds)


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield ZEROS[:length]
        length -= CHUNK
