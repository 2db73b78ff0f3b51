"""A btrfs volume on one device: logical addresses, trees, contents of files."""

from __future__ import annotations

import io
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import zstandard
from lzallright import LZOCompressor, LZOError

from .base import CHUNK, Encrypted, Limits, Malformed, Source, Truncated, UnpackError, Unsupported
from .btrfs_structures import (
    CHUNK_KEY,
    CHUNK_TREE,
    CSUM_OBJECT,
    CSUM_TREE,
    EXTENT_CSUM,
    EXTENT_DATA,
    FIRST_CHUNK,
    ITEM,
    LAST,
    NO_DATA_SUM,
    NODE,
    NODE_HEAD,
    POINTER,
    PROFILES,
    ROOT_ITEM,
    ROOT_TREE,
    STRIPED,
    Chunk,
    Extent,
    Inode,
    Key,
    Superblock,
    parse_chunk,
    parse_extent,
)
from .crc32c import crc32c_blocks

ZEROS = bytes(CHUNK)
LONGEST = 1 << 20
"""Most bytes of one compressed extent, stored or decoded (Linux makes 128 KiB at most)."""
COMPRESSIONS = {0: "none", 1: "zlib", 2: "lzo", 3: "zstd"}

Node = tuple[int, list[Key], list[tuple[int, int]], bytes]
"""Level, keys, and for each key: logical address and generation of a child, or place and length of a leaf's item."""


class Volume:
    """A volume, read in place.

    Args:
        source: the device.
        head: its superblock.
        limits: an eighth of `metadata_bytes` bounds the nodes kept.
    """

    def __init__(self, source: Source, head: Superblock, limits: Limits) -> None:
        self.source = source
        self.head = head
        self.limits = limits
        self.nodes: dict[int, Node] = {}
        self.room = max(16, limits.metadata_bytes // 8 // head.node)
        self.visited: set[int] = set()
        """Logical addresses of nodes read."""
        self.chunks: list[Chunk] = []
        self.starts: list[int] = []
        self._chunk_array()
        self.roots: dict[int, tuple[int, int]] = {
            ROOT_TREE: (head.root, head.root_level),
            CHUNK_TREE: (head.chunk_root, head.chunk_level),
        }

    # Addresses

    def _chunk_array(self) -> None:
        raw, at = self.head.chunks, 0
        while at + 17 <= len(raw):
            _, kind, start = struct.unpack_from("<QBQ", raw, at)
            if kind != CHUNK_KEY:
                raise Malformed(f"the superblock's array of chunks has a key of type {kind}")
            chunk, length = parse_chunk(start, raw[at + 17 :], self.head.device)
            self._add(chunk)
            at += 17 + length

    def _add(self, chunk: Chunk) -> None:
        at = bisect_left(self.starts, chunk.start)
        if at < len(self.starts) and self.starts[at] == chunk.start:
            self.chunks[at] = chunk
        else:
            self.starts.insert(at, chunk.start)
            self.chunks.insert(at, chunk)

    def load_chunks(self) -> None:
        """Read the chunk tree.

        Raises:
            UnpackError: a part of it cannot be read; the others were.
        """
        first, last = (FIRST_CHUNK, CHUNK_KEY, 0), (FIRST_CHUNK, CHUNK_KEY, LAST)
        for (_, _, start), raw in self.items(CHUNK_TREE, first, last, patient=True):
            self._add(parse_chunk(start, raw, self.head.device)[0])

    def places(self, address: int, length: int) -> list[int]:
        """Return the offsets at which the copies of a logical stretch lie on this device.

        Raises:
            Malformed: no chunk has it as a whole.
            Unsupported: it lies on another device, or in stripes.
        """
        index = bisect_right(self.starts, address) - 1
        chunk = self.chunks[index] if index >= 0 else None
        if chunk is None or address + length > chunk.start + chunk.length:
            raise Malformed(f"no chunk has logical address {address} and the {length} bytes from there")
        if chunk.kind & STRIPED and chunk.devices > 1:
            names = " ".join(name for bit, name in PROFILES.items() if chunk.kind & bit)
            raise Unsupported(f"logical address {address} lies in stripes on {chunk.devices} devices ({names})")
        if not chunk.places:
            raise Unsupported(f"logical address {address} lies on another device")
        return [place + address - chunk.start for place in chunk.places]

    # Trees

    def node(self, address: int, level: int) -> Node:
        """Return a node of a tree, from the first of its copies that is whole.

        Raises:
            Malformed: no copy has the right checksum and contents.
            Truncated: all copies lie beyond the source.
            Unsupported: it is not on this device.
        """
        found = self.nodes.get(address)
        if found is None:
            failure: UnpackError | None = None
            for place in self.places(address, self.head.node):
                try:
                    found = self._parsed(address, self.source.exactly(place, self.head.node))
                    break
                except UnpackError as error:
                    failure = failure or error
            if found is None:
                assert failure is not None
                raise failure
            if len(self.nodes) >= self.room:
                del self.nodes[next(iter(self.nodes))]
            self.nodes[address] = found
            self.visited.add(address)
        if found[0] != level:
            raise Malformed(f"the node at {address} has level {found[0]} in place of {level}")
        return found

    def _parsed(self, address: int, raw: bytes) -> Node:
        checksum = self.head.checksum
        if checksum.of is not None and checksum.of(raw[32:]) != raw[: checksum.size]:
            raise Malformed(f"the checksum of the node at {address} differs")
        identity, at, _, _, _, _, count, level = NODE.unpack_from(raw, 32)
        if identity != self.head.identity or at != address or level > 8:
            raise Malformed(f"the node at {address} says that it is at {at}, of level {level}, or of another volume")
        record = POINTER if level else ITEM
        end = NODE_HEAD + count * record.size
        if end > len(raw):
            raise Malformed(f"the node at {address} has {count} items")
        keys: list[Key] = []
        values: list[tuple[int, int]] = []
        for number, kind, offset, first, second in record.iter_unpack(raw[NODE_HEAD:end]):
            keys.append((number, kind, offset))
            values.append((first, second))
        if any(map(_not_before, keys, keys[1:])):
            raise Malformed(f"the keys of the node at {address} are not in order")
        if not level and any(first + NODE_HEAD < end or first + size + NODE_HEAD > len(raw) for first, size in values):
            raise Malformed(f"an item of the leaf at {address} lies outside of it")
        return level, keys, values, b"" if level else raw

    def items(self, tree: int, low: Key, high: Key, *, patient: bool = False) -> Iterator[tuple[Key, bytes]]:
        """Yield (key, data) of a tree's items from `low` to `high`, both included.

        Args:
            tree: its number; see `roots`.
            low: first key.
            high: last key.
            patient: go on behind a node that cannot be read, and raise at the end.

        Raises:
            UnpackError: a node cannot be read.
        """
        address, level = self.root(tree)
        stack: list[tuple[int, int, Key | None]] = [(address, level, None)]
        failure: UnpackError | None = None
        while stack:
            address, level, first = stack.pop()
            try:
                _, keys, values, raw = self.node(address, level)
                # A pointer's key is its child's first one. Since keys ascend, no node can be met twice.
                if first is not None and (not keys or keys[0] != first):
                    raise Malformed(f"the node at {address} does not begin with the key that leads to it")
            except UnpackError as error:
                if not patient:
                    raise
                failure = failure or error
                continue
            if level:
                begin = max(0, bisect_right(keys, low) - 1)
                end = bisect_right(keys, high)
                stack += [(values[at][0], level - 1, keys[at]) for at in range(end - 1, begin - 1, -1)]
            else:
                for at in range(bisect_left(keys, low), len(keys)):
                    if keys[at] > high:
                        return
                    begin, size = values[at]
                    yield keys[at], raw[NODE_HEAD + begin : NODE_HEAD + begin + size]
        if failure:
            raise failure

    def root(self, tree: int) -> tuple[int, int]:
        """Return logical address and level of a tree's root.

        Raises:
            Malformed: there is no such tree.
            UnpackError: the root tree cannot be read.
        """
        found = self.roots.get(tree)
        if found is None:
            for _, raw in self.items(ROOT_TREE, (tree, ROOT_ITEM, 0), (tree, ROOT_ITEM, LAST)):
                if len(raw) >= 239 and raw[238] <= 8:
                    found = self.roots[tree] = struct.unpack_from("<Q", raw, 176)[0], raw[238]
            if found is None:
                raise Malformed(f"there is no tree {tree}")
        return found

    # Contents

    def extents(self, tree: int, number: int) -> Iterator[Extent]:
        """Yield the extents of a file, in order.

        Raises:
            UnpackError: they cannot be read on.
        """
        for (_, _, start), raw in self.items(tree, (number, EXTENT_DATA, 0), (number, EXTENT_DATA, LAST)):
            yield parse_extent(start, raw)

    def data(self, tree: int, number: int, inode: Inode) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB; holes and what is not written are zeros.

        Raises:
            UnpackError: an extent or its data cannot be read, or do not have their checksum.
        """
        position = 0
        for extent in self.extents(tree, number):
            if extent.start >= inode.size:
                break
            if extent.start < position:
                raise Malformed(f"an extent at {extent.start}, which an earlier one covers up to {position}")
            yield from _zeros(extent.start - position)
            length = min(extent.length, inode.size - extent.start)
            position = extent.start + length
            yield from self._extent(extent, length, checked=not inode.flags & NO_DATA_SUM)
        yield from _zeros(inode.size - position)

    def _extent(self, extent: Extent, length: int, *, checked: bool) -> Iterator[bytes]:
        if extent.encrypted:
            raise Encrypted(f"the extent at {extent.start} of the file")
        if extent.kind == 2 or (extent.kind == 1 and not extent.at):
            yield from _zeros(length)
        elif not extent.compression and extent.kind == 0:
            if len(extent.data) < length:
                raise Malformed(f"{len(extent.data)} bytes of inline data instead of {length}")
            yield extent.data[:length]
        elif not extent.compression:
            yield from self._stored(extent.at + extent.skip, length, checked=checked)
        else:
            if max(extent.decoded, extent.stored, len(extent.data)) > LONGEST:
                raise Malformed(f"a compressed extent of {extent.stored} bytes stored, {extent.decoded} decoded")
            stored = extent.data
            if extent.kind:
                stored = b"".join(self._stored(extent.at, extent.stored, checked=checked))
            out = self.decoded(extent.compression, stored, extent.decoded)
            part = out[extent.skip : extent.skip + length]
            if len(part) < length:
                raise Malformed(f"{len(out)} bytes come out of a compressed extent of {extent.decoded}")
            yield part

    def decoded(self, compression: int, stored: bytes, size: int) -> bytes:
        """Return the bytes of a compressed extent, at most `size`.

        Raises:
            Malformed: it does not decode.
            Unsupported: the compression is not known.
        """
        try:
            if compression == 1:
                return zlib.decompressobj().decompress(stored, size)
            if compression == 2:
                return self._lzo(stored, size)
            if compression == 3:
                decoder = zstandard.ZstdDecompressor(max_window_size=1 << 24)
                return decoder.stream_reader(io.BytesIO(stored)).read(size)
        except (zlib.error, LZOError, zstandard.ZstdError, struct.error) as error:
            raise Malformed(f"{COMPRESSIONS[compression]}: {error}") from None
        raise Unsupported(f"compression {compression}")

    def _lzo(self, stored: bytes, size: int) -> bytes:
        """Decode LZO: length of all, then segments with their length; no length crosses the end of a sector."""
        sector = self.head.sector
        (total,) = struct.unpack_from("<I", stored)
        at, out, count = 4, [], 0
        while at < min(total, len(stored)) and count < size:
            if sector - at % sector < 4:
                at += sector - at % sector
            (length,) = struct.unpack_from("<I", stored, at)
            if at + 4 + length > len(stored):
                raise Malformed(f"lzo: a segment of {length} bytes at {at} of {len(stored)}")
            out.append(LZOCompressor.decompress(stored[at + 4 : at + 4 + length], sector))
            count += len(out[-1])
            at += 4 + length
        return b"".join(out)[:size]

    def _stored(self, address: int, length: int, *, checked: bool) -> Iterator[bytes]:
        """Yield bytes at a logical address, by whole sectors held against their checksums where there are some."""
        sector = self.head.sector
        places = self.places(address, length)
        for at in range(0, length, CHUNK):
            wanted = min(CHUNK, length - at)
            whole = -(-wanted // sector) * sector
            sums = self._sums(address + at, whole // sector) if checked else {}
            data = self.source.pread(places[0] + at, whole)
            bad = self._first_bad(data, sums)
            for place in places[1:]:
                if bad is None and len(data) >= wanted:
                    break
                other = self.source.pread(place + at, whole)
                worse = self._first_bad(other, sums)
                if worse is None and len(other) >= len(data):
                    data, bad = other, None
            if bad is not None:
                yield data[: bad * sector]
                raise Malformed(f"the checksum of the sector at logical address {address + at + bad * sector} differs")
            yield data[:wanted]
            if len(data) < wanted:
                raise Truncated(f"needs {length} bytes at offset {places[0]}, the source has {self.source.size}")

    def _first_bad(self, data: bytes, sums: dict[int, bytes]) -> int | None:
        """Return the first whole sector of data that does not have its checksum."""
        sector, checksum = self.head.sector, self.head.checksum
        if not sums or checksum.of is None:
            return None
        if checksum.name == "crc32c":
            have = [value.to_bytes(4, "little") for value in crc32c_blocks(data, sector)]
        else:
            have = [checksum.of(data[at : at + sector]) for at in range(0, len(data) // sector * sector, sector)]
        return next((index for index, value in enumerate(have) if sums.get(index, value) != value), None)

    def _sums(self, address: int, count: int) -> dict[int, bytes]:
        """Return the checksums of sectors from a logical address on, by the sector's index."""
        sector, size = self.head.sector, self.head.checksum.size
        reach = self.head.node // size * sector  # what one item covers at most
        found = {}
        low = (CSUM_OBJECT, EXTENT_CSUM, max(0, address - reach))
        try:
            for (_, _, start), raw in self.items(
                CSUM_TREE, low, (CSUM_OBJECT, EXTENT_CSUM, address + count * sector - 1)
            ):
                shift = (start - address) // sector
                for index in range(max(0, -shift), min(len(raw) // size, count - shift)):
                    found[index + shift] = raw[index * size : (index + 1) * size]
        except UnpackError:
            return found  # data that cannot be checked are read all the same
        return found


def _not_before(one: Key, other: Key) -> bool:
    return one >= other


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield ZEROS[:length]
        length -= CHUNK
