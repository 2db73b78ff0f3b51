"""qcow2, the disk images of QEMU: clusters found through two levels of tables, some compressed, with snapshots.

The guest's present disk is the entry `disk`, each snapshot's an entry `snapshot-<id>`; both share clusters. Nothing is
repaired: reference counts are not believed, only claimed as theirs.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import cast

import zstandard
from isal import isal_zlib

from .base import (
    Encrypted,
    Format,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Reference,
    Source,
    UnpackError,
    Unsupported,
    ns,
)
from .virtualdisk import ELSEWHERE, HOLE, Disk, DiskReader, Part, text

MAGIC = b"QFI\xfb"
# version, backing file: offset and length, cluster bits, size, encryption, L1: entries and offset, reference counts:
# offset and clusters, snapshots: number and offset
HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
# incompatible, compatible and autoclear features, log2 of the bits of a reference count, length of the header
HEADER_3 = struct.Struct(">QQQII")
SNAPSHOT = struct.Struct(">QIHHIIQII")

OFFSET = 0x00FFFFFFFFFFFE00
COMPRESSED = 1 << 62
INCOMPATIBLE = {1: "dirty", 2: "corrupt", 4: "external data file", 8: "compression type", 16: "extended L2"}
ENCRYPTION = {0: "none", 1: "AES", 2: "LUKS"}
EXTENSIONS = {0xE2792ACA: "backing_format", 0x44415441: "data_file"}
ISAL_ERROR = cast("type[Exception]", isal_zlib.error)  # its stubs say it is an instance
SNAPSHOTS = 65536  # QEMU, QCOW_MAX_SNAPSHOTS
_HEADER_ROOM = 64 << 10


class Qcow2(DiskReader):
    """An opened qcow2 image."""

    def __init__(self, source: Source, limits: Limits) -> None:
        super().__init__(source, limits)
        self.format = FORMAT
        raw = source.exactly(0, HEADER.size)
        (
            _, version, backing_at, backing_length, bits, size, self.encryption, l1_size, l1_at,
            self.refcounts, self.refcount_clusters, snapshots, self.snapshots_at,
        ) = HEADER.unpack(raw)  # fmt: skip
        features = [0, 0, 0, 4, HEADER.size]
        if version >= 3:
            features = list(HEADER_3.unpack(source.exactly(HEADER.size, HEADER_3.size)))
        self.incompatible, compatible, autoclear, refcount_order, self.header = features
        if version == 1:
            raise Unsupported("qcow version 1")
        if version not in (2, 3) or not 9 <= bits <= 21 or size >= 1 << 60 or self.header > _HEADER_ROOM:
            raise NotThisFormat
        if self.header < HEADER.size + (HEADER_3.size if version == 3 else 0) or l1_at & (1 << bits) - 1:
            raise NotThisFormat
        self.bits = bits
        self.cluster: int = 1 << bits
        self.wide = bool(self.incompatible & 16)
        self.zstd = bool(self.incompatible & 8) and self.header > 104 and source.exactly(104, 1) == b"\1"
        self.tables = [(l1_at, l1_size)]
        self.l2: set[int] = set()
        """L2 tables met while listing."""
        self.disks.append(Disk(b"disk", size))
        self.backing = text(source.pread(backing_at, min(backing_length, 1023))) if backing_at else None
        if self.backing is not None:
            self.others = f"the backing file {self.backing!r}, which is not at hand"
        self.detail = {
            "version": version,
            "size": size,
            "cluster_bytes": self.cluster,
            "encryption": ENCRYPTION.get(self.encryption, str(self.encryption)),
            "compression": "zstd" if self.zstd else "zlib",
            "incompatible_features": " ".join(
                INCOMPATIBLE.get(1 << bit, hex(1 << bit)) for bit in range(64) if self.incompatible >> bit & 1
            ),
            "compatible_features": compatible,
            "autoclear_features": autoclear,
            "refcount_bits": 1 << min(refcount_order, 63),
            "backing_file": self.backing,
            "snapshots": snapshots,
        }
        self._extensions(backing_at)
        if self.encryption:
            self.refusal = Encrypted(f"the disk is encrypted: {self.detail['encryption']}")
        if self.incompatible & 4:
            self.others = f"the external data file {self.detail.get('data_file')!r}, which is not at hand"
        unknown = self.incompatible & ~sum(INCOMPATIBLE)
        if unknown:
            raise Unsupported(f"incompatible features {unknown:#x}")
        self.snapshots_end = self.snapshots_at
        try:
            self._snapshots(snapshots)
        except UnpackError as error:
            lost = snapshots - len(self.disks) + 1
            self.problems.append(Problem(error.reason, f"snapshots: {error}", b"", lost))

    def _extensions(self, backing_at: int) -> None:
        """Read what follows the header: type, length, data, padded to 8 bytes."""
        at = self.header
        end = backing_at if at < backing_at < self.cluster else self.cluster
        while at + 8 <= end:
            kind, length = struct.unpack(">II", self.source.exactly(at, 8))
            if not kind or length > end - at - 8:
                return
            if kind in EXTENSIONS:
                self.detail[EXTENSIONS[kind]] = text(self.source.exactly(at + 8, min(length, 1023)))
            at += 8 + (length + 7 & ~7)

    def _snapshots(self, count: int) -> None:
        if count > SNAPSHOTS:
            raise Malformed(f"{count} snapshots, more than {SNAPSHOTS}")
        at = self.snapshots_at
        for number in range(1, count + 1):
            l1_at, l1_size, id_length, name_length, seconds, nanoseconds, _, state, extra = SNAPSHOT.unpack(
                self.source.exactly(at, SNAPSHOT.size)
            )
            more = self.source.exactly(at + SNAPSHOT.size, min(extra, 16))
            identity = self.source.exactly(at + SNAPSHOT.size + extra, id_length + name_length)
            size = struct.unpack_from(">Q", more, 8)[0] if len(more) == 16 else self.disks[0].size
            if len(more) >= 8:
                state = struct.unpack_from(">Q", more)[0]
            at += SNAPSHOT.size + extra + (id_length + name_length + 7 & ~7)
            self.snapshots_end = at
            if size >= 1 << 60 or l1_at & self.cluster - 1:
                raise Malformed(f"snapshot {number}: a disk of {size} bytes, L1 table at {l1_at}")
            self.tables.append((l1_at, l1_size))
            self.disks.append(Disk(b"snapshot-" + identity[:id_length], size, ns(seconds, nanoseconds)))
            self.detail[f"snapshot {number}"] = (
                f"id={text(identity[:id_length])} name={text(identity[id_length:])} vm_state_bytes={state}"
            )

    # The map

    def _l1(self, number: int) -> tuple[int, ...]:
        at, count = self.tables[number]
        if 8 * count > self.limits.metadata_bytes:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        return struct.unpack(f">{count}Q", self.source.exactly(at, 8 * count))

    def parts(self, number: int) -> Iterator[Part]:
        """See `DiskReader.parts`. What lies beyond the disk's size is the state of the virtual machine."""
        return self._parts(self._l1(number), set(), again=True)

    def listed_parts(self, number: int) -> Iterator[Part]:
        """See `DiskReader.listed_parts`; tables that snapshots share are read once."""
        return self._parts(self._l1(number), self.l2, again=False)

    def _parts(self, tables: tuple[int, ...], met: set[int], *, again: bool) -> Iterator[Part]:
        each = self.cluster // (16 if self.wide else 8)
        unmapped = HOLE if self.backing is None else ELSEWHERE
        for index, word in enumerate(tables):
            start = index * each * self.cluster
            table = word & OFFSET
            if not table:
                yield Part(start, each * self.cluster, unmapped)
                continue
            if table in met:
                if again:
                    raise Malformed(f"the L2 table at {table} is in more than one place")
                continue
            met.add(table)
            raw = self.source.exactly(table, self.cluster)
            if raw.count(0) == len(raw):
                yield Part(start, each * self.cluster, unmapped)
            elif self.wide:
                yield from self._subclusters(start, struct.unpack(f">{2 * each}Q", raw), unmapped)
            else:
                yield from self._clusters(start, struct.unpack(f">{each}Q", raw), unmapped)

    def _clusters(self, start: int, words: tuple[int, ...], unmapped: int) -> Iterator[Part]:
        size = self.cluster
        for place, word in enumerate(words):
            at = word & OFFSET
            if word & COMPRESSED:
                yield self._compressed(start + place * size, word)
            elif word & 1:
                yield Part(start + place * size, size, HOLE)
            elif at:
                yield Part(start + place * size, size, self._data(at))
            else:
                yield Part(start + place * size, size, unmapped)

    def _subclusters(self, start: int, words: tuple[int, ...], unmapped: int) -> Iterator[Part]:
        size = self.cluster // 32
        for word, bitmap in zip(words[::2], words[1::2], strict=True):
            at = word & OFFSET
            if word & COMPRESSED:
                yield self._compressed(start, word)
            elif not bitmap:
                yield Part(start, self.cluster, unmapped)
            elif bitmap == 0xFFFFFFFF:
                yield Part(start, self.cluster, self._data(at))
            else:
                for bit in range(32):
                    place = unmapped
                    if bitmap >> bit & 1:
                        place = self._data(at)
                        place = place + bit * size if place >= 0 else place
                    elif bitmap >> 32 + bit & 1:
                        place = HOLE
                    yield Part(start + bit * size, size, place)
            start += self.cluster

    def _data(self, at: int) -> int:
        if self.incompatible & 4:
            return ELSEWHERE
        if not at or at & self.cluster - 1:
            raise Malformed(f"a cluster at {at}")
        return at

    def _compressed(self, start: int, word: int) -> Part:
        """Return the part of a compressed cluster: offset in the low bits, further sectors in those above."""
        shift = 62 - (self.bits - 8)
        at = word & (1 << shift) - 1
        sectors = (word & COMPRESSED - 1) >> shift
        return Part(start, self.cluster, at, (sectors + 1) * 512 - at % 512)

    def unpacked(self, stored: bytes, length: int) -> bytes:
        """See `DiskReader.unpacked`; raw deflate (RFC 1951) or zstd, anything may follow."""
        try:
            if self.zstd:
                return (
                    zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(io.BytesIO(stored)).read(length)
                )
            return bytes(isal_zlib.decompressobj(-15).decompress(stored, length))
        except (ISAL_ERROR, zstandard.ZstdError) as error:
            raise Malformed(f"compressed cluster: {error}") from None

    def structures(self) -> Iterator[tuple[int, int, str]]:
        """See `DiskReader.structures`."""
        yield 0, self.cluster, "header"
        for at, count in self.tables:
            yield at, self._whole(8 * count), "L1 table"
        for at in self.l2:
            yield at, self.cluster, "L2 table"
        if self.snapshots_end > self.snapshots_at:
            yield self.snapshots_at, self._whole(self.snapshots_end - self.snapshots_at), "snapshot table"
        length = self.refcount_clusters << self.bits
        yield self.refcounts, length, "reference counts"
        table = self.source.pread(self.refcounts, min(length, self.limits.metadata_bytes))
        for (at,) in struct.iter_unpack(">Q", table[: len(table) // 8 * 8]):
            if at & OFFSET:
                yield at & OFFSET, self.cluster, "reference counts"

    def _whole(self, length: int) -> int:
        """Return a length rounded up to clusters, of which every structure has some of its own."""
        return -(-length // self.cluster) * self.cluster


def _open(source: Source, limits: Limits) -> Qcow2:
    return Qcow2(source, limits)


FORMAT = Format(
    name="qcow2",
    title="qcow2 virtual disk (QEMU)",
    open=_open,
    magics=[(0, MAGIC)],
    references=[
        Reference("QEMU, docs/interop/qcow2", "https://www.qemu.org/docs/master/interop/qcow2.html"),
    ],
    limitations=[
        "version 1 of the format",
        "clusters that lie in a backing file or an external data file: they are named, not read",
        "encrypted images (AES, LUKS): named, not read",
        "the state of a virtual machine that a snapshot holds, and dirty bitmaps",
        "reference counts are not held against the tables",
    ],
    smallest=HEADER.size,
)
