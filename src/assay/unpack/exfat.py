"""exFAT, the format of large memory cards and of update media.

A file's locator is its first cluster, its size, how much of it was written, and if its clusters just follow each other.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from .base import (
    CHUNK,
    Claim,
    Entry,
    Format,
    LimitReached,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Reference,
    Source,
    UnpackError,
)
from .clusters import Chain, follow
from .dos import ATTRIBUTES, CREATED, DIRECTORY, attribute_words, dos_time
from .tree import walk

PARTS = ("", "files and directories", "allocation bitmap", "up-case table", "free cluster")
"""What a cluster is, by the byte that stands for it while claims are drawn up."""
MASK = 0xFFFFFFFF
DIRECTORY_BYTES = 256 << 20
"""Longest directory (section 6.1 of the specification)."""
NO_CHAIN = 2
"""Flag: the clusters follow each other, and the file allocation table does not tell of them."""
BITS = [bytes(PARTS.index("free cluster") * (not byte >> bit & 1) for bit in range(8)) for byte in range(256)]


class Geometry(NamedTuple):
    """The boot sector's fields (section 3.1): offsets and lengths in bytes."""

    end: int
    table: int
    table_bytes: int
    tables: int
    heap: int
    clusters: int
    root: int
    serial: int
    revision: int
    flags: int
    sector: int
    cluster: int

    @property
    def active(self) -> int:
        """Where the file allocation table in use is."""
        return self.table + (self.table_bytes if self.flags & 1 and self.tables > 1 else 0)


class Record(NamedTuple):
    """A file or directory: a set of directory entries (sections 7.4, 7.6 and 7.7)."""

    name: bytes
    attributes: int
    cluster: int
    size: int
    valid: int
    contiguous: bool
    created: int | None
    modified: int | None
    accessed: int | None
    fault: str | None


def boot_checksum(data: bytes) -> int:
    """Return the checksum over the boot sectors (section 3.4); two fields that change do not count."""
    total = 0
    for byte in data[:106] + data[108:112] + data[113:]:
        total = ((total >> 1 | total << 31) + byte) & MASK
    return total


def set_checksum(data: bytes) -> int:
    """Return the checksum over a set of directory entries (section 6.3.3)."""
    total = 0
    for byte in data[:2] + data[4:]:
        total = ((total >> 1 | total << 15) + byte) & 0xFFFF
    return total


def moment(word: int, hundredths: int, zone: int) -> int | None:
    """Return a time (section 7.4.8) in nanoseconds since 1970, or None if there is no such time.

    Args:
        word: date and time of MS-DOS.
        hundredths: of a second, added to it.
        zone: quarters of an hour by which the clock was ahead of UTC, 7 bits, if bit 7 is set; else read as UTC.
    """
    time = dos_time(word >> 16, word & 0xFFFF, hundredths)
    quarters = (zone & 0x7F) - (zone << 1 & 0x80) if zone & 0x80 else 0
    return None if time is None else time - quarters * 900_000_000_000


def parse_set(data: bytes) -> Record:
    """Return what a set of directory entries says.

    Raises:
        Malformed: it is not a set for a file.
    """
    if len(data) < 96 or data[32] != 0xC0:
        raise Malformed("a file's directory entries are not whole")
    checksum, attributes = struct.unpack_from("<HH", data, 2)
    created, modified, accessed, tens, tens_modified, *zones = struct.unpack_from("<III5B", data, 8)
    flags, length, valid, cluster, size = struct.unpack_from("<xBxB4xQ4xIQ", data, 32)
    names = b"".join(data[at + 2 : at + 32] for at in range(64, len(data), 32) if data[at] == 0xC1)
    if len(names) < 2 * length or not length:
        raise Malformed(f"a name of {length} characters in {len(names) // 2}")
    return Record(
        names[: 2 * length].decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass"),
        attributes,
        cluster,
        size,
        valid,
        bool(flags & NO_CHAIN),
        moment(created, tens, zones[0]),
        moment(modified, tens_modified, zones[1]),
        moment(accessed, 0, zones[2]),
        None if set_checksum(data) == checksum else "the checksum of its directory entries differs",
    )


class ExfatReader(Reader):
    """An opened exFAT volume."""

    def __init__(self, source: Source, limits: Limits, head: Geometry) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.head = head
        boot = source.pread(0, 12 * head.sector)
        expected = boot[11 * head.sector : 11 * head.sector + 4]
        self.sound = boot_checksum(boot[: 11 * head.sector]).to_bytes(4, "little") == expected
        self.detail = {
            "revision": f"{head.revision >> 8}.{head.revision & 0xFF:02}",
            "serial": f"{head.serial:08x}",
            "sector_bytes": head.sector,
            "cluster_bytes": head.cluster,
            "clusters": head.clusters,
            "state": "not clean" if head.flags & 2 else "clean",
            "boot_checksum": "ok" if self.sound else "differs",
        }
        self._pending: Record | None = None
        self._directories: dict[int, Record] = {}
        self._parts = bytearray()
        self._bitmap: tuple[int, int] | None = None

    @cached_property
    def table(self) -> array[int]:
        """The file allocation table."""
        length = 4 * (self.head.clusters + 2)
        if length > self.limits.metadata_bytes:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        raw = self.source.pread(self.head.active, length)
        out = array("I")
        out.frombytes(raw[: len(raw) // 4 * 4])
        if sys.byteorder == "big":
            out.byteswap()
        return out

    def _chain(self, first: int, size: int, contiguous: bool, mark: int = 0) -> Chain:
        """Return the clusters of `size` bytes; with `mark`, mark them, and end where one was marked before."""
        needed = min(-(-size // self.head.cluster), self.head.clusters)
        if not contiguous:
            top = min(len(self.table), self.head.clusters + 2)
            return follow(self.table, top, MASK, first, needed, self._parts if mark else None, mark)
        chain = Chain()
        end = min(first + needed, self.head.clusters + 2)
        if first < 2 or end < first + needed:
            chain.fault = f"clusters {first} to {first + needed - 1} of {self.head.clusters + 2}"
        if mark and any(self._parts[first:end]):
            chain.fault = f"a cluster from {first} on is also of another file or place"
            return chain
        if mark:
            self._parts[first:end] = bytes([mark]) * (end - first)
        if 2 <= first < end:
            chain.append((first, end - first))
        return chain

    def _place(self, cluster: int) -> int:
        return self.head.heap + (cluster - 2) * self.head.cluster

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in their stored order, the root first with an empty path."""
        head = self.head
        self._parts = bytearray(head.clusters + 2 if head.clusters + 2 <= self.limits.metadata_bytes else 0)
        if not self._parts:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        self._bitmap = None
        self._directories = {head.root: Record(b"", DIRECTORY, head.root, DIRECTORY_BYTES, 0, False, *[None] * 4)}
        yield from walk(head.root, self._describe, self._children, self.limits)
        if not self.sound:
            yield Problem("malformed", "the checksum of the boot sectors differs", b"", 0)
        if self.source.size < head.end:
            text = f"boot sector declares {head.end} bytes, the source has {self.source.size}"
            yield Problem("truncated", text, b"", 0)

    def _describe(self, cluster: int, path: bytes) -> tuple[Entry, Problem | None]:
        record, self._pending = self._pending, None
        if record is None:
            return Entry(path, "directory"), None
        faults = [record.fault] if record.fault else []
        entry = Entry(path, "regular", mtime=record.modified, atime=record.accessed)
        if record.attributes & DIRECTORY:
            entry.type = "directory"
            self._directories[cluster] = record
        else:
            entry.size = record.size
            entry.locator = [record.cluster, record.size, record.valid, int(record.contiguous)]
            if record.valid > record.size:
                faults.append(f"{record.valid} bytes written of {record.size}")
            if record.size:
                chain = self._chain(record.cluster, record.size, record.contiguous, 1)
                faults += [self._fault(chain, record.size)] if self._fault(chain, record.size) else []
        if words := attribute_words(record.attributes):
            entry.xattrs = {ATTRIBUTES: words}
        if record.created is not None:
            entry.xattrs = entry.xattrs | {CREATED: b"%d" % record.created}
        return entry, Problem("malformed", "; ".join(faults), path, 0) if faults else None

    def _fault(self, chain: Chain, size: int) -> str:
        found = sum(number for _, number in chain)
        needed = -(-size // self.head.cluster)
        return chain.fault or ("" if found == needed else f"{found} clusters for a file that needs {needed}")

    def _children(self, cluster: int) -> Iterator[tuple[int, bytes]]:
        record = self._directories.pop(cluster)
        root = cluster == self.head.root
        chain = self._chain(cluster, record.size, record.contiguous, 1)
        pending, wanted, fault = b"", 0, chain.fault
        for first, number in chain:
            for chunk in self.source.chunks(self._place(first), number * self.head.cluster):
                for at in range(0, len(chunk), 32):
                    kind = chunk[at]
                    if wanted:
                        if kind & 0xC0 == 0xC0:
                            pending += chunk[at : at + 32]
                            wanted -= 1
                            if not wanted:
                                try:
                                    self._pending = parse_set(pending)
                                except Malformed as error:
                                    fault = str(error)
                                    continue
                                yield self._pending.cluster, self._pending.name
                            continue
                        fault, wanted = "a file's directory entries are not whole", 0
                    if kind == 0x85:
                        pending, wanted = chunk[at : at + 32], min(chunk[at + 1], 18)
                    elif not kind:
                        if fault:
                            raise Malformed(fault)
                        return
                    elif root and kind in (0x81, 0x82, 0x83):
                        self._special(kind, chunk[at : at + 32])
        if fault:
            raise Malformed(fault)

    def _special(self, kind: int, raw: bytes) -> None:
        """Take note of the root's own entries: allocation bitmap, up-case table, label (sections 7.1 to 7.3)."""
        first, size = struct.unpack_from("<IQ", raw, 20)
        if kind == 0x83:
            self.detail["label"] = raw[2 : 2 + 2 * min(raw[1], 11)].decode("utf-16-le", "backslashreplace")
        elif kind == 0x82:
            self._chain(first, size, False, PARTS.index("up-case table"))
        else:
            chain = self._chain(first, size, False, PARTS.index("allocation bitmap"))
            if len(chain) == 1 and raw[1] & 1 == self.head.flags & 1:
                self._bitmap = self._place(first), size

    # Contents

    def _file(self, locator: Locator) -> tuple[int, int, int, bool]:
        match locator:
            case [int(cluster), int(size), int(valid), int(contiguous)] if size >= 0:
                return cluster, size, min(valid, size), bool(contiguous)
        raise Malformed("not a cluster, a size, the part written, and how clusters follow each other")

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB; what was never written is zeros. See `Reader.open`."""
        cluster, size, left, contiguous = self._file(locator)
        unwritten = size - left
        chain = self._chain(cluster, size, contiguous) if size else Chain()
        for first, number in chain:
            length = min(left, number * self.head.cluster)
            yield from self.source.chunks(self._place(first), length)
            left -= length
        if left or (size and self._fault(chain, size)):
            raise Malformed(chain.fault or f"the chain of clusters ends {left} bytes before the file does")
        while unwritten > 0:
            yield bytes(min(unwritten, CHUNK))
            unwritten -= CHUNK

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies whose clusters follow each other. See `Reader.span`."""
        try:
            cluster, size, valid, contiguous = self._file(locator)
            chain = self._chain(cluster, size, contiguous) if size else Chain()
        except UnpackError:
            return None
        if len(chain) != 1 or self._fault(chain, size) or valid != size:
            return None
        start = self._place(cluster)
        return (start, size) if start + size <= self.source.size else None

    # Claims

    def claims(self) -> list[Claim]:
        """Return the volume's parts and its clusters by their use; clusters in use that no name leads to are not
        claimed.
        """
        head, parts = self.head, bytearray(self._parts)
        boot = 12 * head.sector
        heap_end = head.heap + head.clusters * head.cluster
        tables_end = head.table + head.tables * head.table_bytes
        claims = [
            Claim(0, boot, "boot sectors"),
            Claim(boot, boot, "boot sectors, copy"),
            Claim(2 * boot, head.table - 2 * boot, "padding"),
            Claim(head.table, tables_end - head.table, "file allocation table"),
            Claim(tables_end, head.heap - tables_end, "padding"),
            Claim(heap_end, head.end - heap_end, "padding"),
        ]
        if self._bitmap:
            at, size = self._bitmap
            raw = self.source.pread(at, min(size, -(-head.clusters // 8)))
            free = b"".join(map(BITS.__getitem__, raw))[: head.clusters]
            for run in re.finditer(rb"\0+", parts[2 : 2 + len(free)]):
                parts[2 + run.start() : 2 + run.end()] = free[run.start() : run.end()]
        claims += [
            Claim(self._place(run.start()), (run.end() - run.start()) * head.cluster, PARTS[run[1][0]])
            for run in re.finditer(rb"([^\0])\1*", parts, re.DOTALL)
        ]
        size = self.source.size
        return [
            Claim(claim.offset, min(claim.length, size - claim.offset), claim.what)
            for claim in claims
            if claim.length > 0 and claim.offset < size
        ]


def _open(source: Source, limits: Limits) -> ExfatReader:
    raw = source.pread(0, 512)
    if len(raw) < 512 or raw[3:11] != b"EXFAT   " or raw[510:] != b"\x55\xaa" or any(raw[11:64]):
        raise NotThisFormat
    sectors, table, table_sectors, heap, clusters, root, serial, revision, flags, shift, more, tables = (
        struct.unpack_from("<QIIIIIIHHBBB", raw, 72)
    )
    if not 9 <= shift <= 12 or more > 25 - shift or tables not in (1, 2) or not 2 <= root < clusters + 2:
        raise NotThisFormat
    total = (heap << shift) + (clusters << shift + more)
    if table < 24 or heap < table + tables * table_sectors or table_sectors << shift < 4 * (clusters + 2):
        raise NotThisFormat
    if total > sectors << shift or sectors >= 1 << 54:
        raise NotThisFormat
    head = Geometry(
        sectors << shift, table << shift, table_sectors << shift, tables, heap << shift, clusters, root, serial,
        revision, flags, 1 << shift, 1 << shift + more,
    )  # fmt: skip
    return ExfatReader(source, limits, head)


FORMAT = Format(
    name="exfat",
    title="exFAT",
    open=_open,
    magics=[(3, b"EXFAT   ")],
    references=[
        Reference(
            "exFAT file system specification", "https://learn.microsoft.com/windows/win32/fileio/exfat-specification"
        ),
    ],
    limitations=[
        "times without a time zone are read as UTC",
        "deleted files are not listed; their bytes may lie in what is explained as free clusters",
        "the last cluster of a file is explained as a whole, also what follows the file's end",
        "the copy of the boot sectors is not used when the first ones are broken",
        "the up-case table and the hashes of names are not checked; vendors' own directory entries are passed over",
    ],
)
