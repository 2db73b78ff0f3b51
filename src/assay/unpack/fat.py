"""FAT12, FAT16 and FAT32 with long names: boot partitions (EFI, Raspberry Pi), memory cards, update media, floppies.

A file's locator is its first cluster and its size. Names are the long ones in UTF-8; a file without one has its short
name in the bytes of the volume's own code page, which the volume does not tell.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

from .base import (
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
    Truncated,
    UnpackError,
)
from .clusters import Chain, follow
from .dos import ATTRIBUTES, CREATED, DIRECTORY, attribute_words, dos_time
from .fat_structures import NAMES, Geometry, LongName, Record, is_sane, parse_boot, records
from .tree import walk

PARTS = ("", "files and directories", "free cluster", "bad cluster")
"""What a cluster is, by the byte that stands for it while claims are drawn up."""
BITS = {16: "H", 32: "I"}
DIRECTORY_BYTES = 65536 * 32
"""Longest directory (Microsoft's limit on its records)."""


class FatReader(Reader):
    """An opened FAT volume."""

    def __init__(self, source: Source, limits: Limits, head: Geometry) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.head = head
        self.detail = {
            "version": f"FAT{head.bits}",
            "oem": head.oem.decode("ascii", "backslashreplace").rstrip(),
            "sector_bytes": head.sector,
            "cluster_bytes": head.cluster,
            "clusters": head.clusters,
            "tables": head.tables,
            "serial": None if head.serial is None else f"{head.serial:08x}",
            "boot_label": head.label.decode("ascii", "backslashreplace"),
        }
        self._pending: Record | None = None
        self._parts = bytearray()

    # Clusters

    @cached_property
    def table(self) -> array[int]:
        """The file allocation table: as many entries as there are clusters, and the two reserved ones."""
        head = self.head
        count = head.clusters + 2
        length = (count * head.bits + 7) // 8
        if length > self.limits.metadata_bytes:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        raw = self.source.pread(head.reserved + head.active * head.table, length)
        if head.bits == 12:
            raw = raw[: len(raw) // 3 * 3] + (raw[len(raw) // 3 * 3 :] + bytes(3))[:3]
            triples = struct.iter_unpack("<HB", raw)
            out = array("H", (value for low, high in triples for value in (low & 0xFFF, low >> 12 | high << 4)))
            return out[:count]
        out = array(BITS[head.bits])
        out.frombytes(raw[: len(raw) // out.itemsize * out.itemsize])
        if sys.byteorder == "big":
            out.byteswap()
        return out

    def _chain(self, first: int, most: int, mark: int = 0) -> Chain:
        top, bits = min(len(self.table), self.head.clusters + 2), min(28, self.head.bits)
        return follow(self.table, top, (1 << bits) - 1, first, most, self._parts if mark else None, mark)

    def _place(self, cluster: int) -> int:
        return self.head.data + (cluster - 2) * self.head.cluster

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in their stored order, the root first with an empty path."""
        head = self.head
        self._parts = bytearray(min(head.clusters + 2, self.limits.metadata_bytes))
        yield from walk(0, self._describe, self._children, self.limits)
        if self.source.size < head.end:
            text = f"boot sector declares {head.end} bytes, the source has {self.source.size}"
            yield Problem("truncated", text, b"", 0)
        for number in range(head.tables):
            if number != head.active and not self._same(number):
                yield Problem("malformed", f"file allocation table {number} differs from the one in use", b"", 0)

    def _same(self, number: int) -> bool:
        head = self.head
        first, second = head.reserved + head.active * head.table, head.reserved + number * head.table
        pairs = zip(self.source.chunks(first, head.table), self.source.chunks(second, head.table), strict=True)
        try:
            return all(one == other for one, other in pairs)
        except Truncated:
            return True  # what is missing was told

    def _describe(self, cluster: int, path: bytes) -> tuple[Entry, Problem | None]:
        record, self._pending = self._pending, None
        if record is None:
            return Entry(path, "directory"), None
        if not is_sane(record):
            raise Malformed(f"a directory record with attributes {record.attributes:#x} that is none")
        faults = [record.fault] if record.fault else []
        entry = Entry(path, "regular", mtime=dos_time(*record.written), atime=dos_time(record.accessed))
        if record.attributes & DIRECTORY:
            entry.type = "directory"
        else:
            entry.locator, entry.size = [cluster, record.size], record.size
            fault = self._explain(cluster, record.size)
            faults += [fault] if fault else []
        words, created = attribute_words(record.attributes), dos_time(*record.created)
        if words:
            entry.xattrs = {ATTRIBUTES: words}
        if created is not None:
            entry.xattrs = entry.xattrs | {CREATED: b"%d" % created}
        return entry, Problem("malformed", "; ".join(faults), path, 0) if faults else None

    def _explain(self, cluster: int, size: int) -> str | None:
        """Mark a file's clusters; return what is wrong with its chain."""
        needed = -(-size // self.head.cluster)
        if not needed:
            return f"an empty file has cluster {cluster}" if cluster else None
        if not self._parts:
            return None
        chain = self._chain(cluster, self.head.clusters, 1)
        found = sum(number for _, number in chain)
        if chain.fault:
            return chain.fault
        return None if found == needed else f"{found} clusters for a file that needs {needed}"

    def _children(self, cluster: int) -> Iterator[tuple[int, bytes]]:
        long = LongName()
        for data in self._directory(cluster):
            for record in records(data, long):
                if record is None:
                    return
                if isinstance(record, bytes):
                    if not cluster and "label" not in self.detail:
                        self.detail["label"] = record.decode("ascii", "backslashreplace")
                    continue
                self._pending = record
                yield record.cluster, record.name

    def _directory(self, cluster: int) -> Iterator[bytes]:
        head = self.head
        if not cluster and not head.root:
            yield from self.source.chunks(head.root_at, head.root_bytes)
            return
        chain = self._chain(cluster or head.root, DIRECTORY_BYTES // head.cluster or 1, 1)
        for first, number in chain:
            yield from self.source.chunks(self._place(first), number * head.cluster)
        if chain.fault or not chain:
            raise Malformed(chain.fault or f"no cluster {cluster}")

    # Contents

    def _file(self, locator: Locator) -> tuple[int, int]:
        match locator:
            case [int(cluster), int(size)] if 0 <= size < 1 << 32:
                return cluster, size
        raise Malformed("not a cluster and a size")

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB. See `Reader.open`."""
        cluster, left = self._file(locator)
        needed = -(-left // self.head.cluster)
        if not needed:
            return
        chain = self._chain(cluster, min(needed, self.head.clusters))
        for first, number in chain:
            length = min(left, number * self.head.cluster)
            yield from self.source.chunks(self._place(first), length)
            left -= length
        if left:
            raise Malformed(chain.fault or f"the chain of clusters ends {left} bytes before the file does")

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies whose clusters follow each other. See `Reader.span`."""
        cluster, size = self._file(locator)
        needed = -(-size // self.head.cluster)
        try:
            chain = self._chain(cluster, needed) if 0 < needed <= self.head.clusters else []
        except UnpackError:
            return None
        if len(chain) != 1 or chain[0][1] != needed:
            return None
        start = self._place(cluster)
        return (start, size) if start + size <= self.source.size else None

    # Claims

    def claims(self) -> list[Claim]:
        """Return the volume's parts and its clusters by their use; clusters in use that no name leads to are not
        claimed.
        """
        head = self.head
        special = {head.information: "file system information", head.backup: "boot sector, copy"}
        claims = []
        at = 0
        for offset, what in sorted((special | {0: "boot sector"}).items()):
            claims += [Claim(at, offset - at, "reserved"), Claim(offset, head.sector, what)]
            at = offset + head.sector
        claims.append(Claim(at, head.reserved - at, "reserved"))
        for number in range(head.tables):
            what = "file allocation table" + ("" if number == head.active else ", copy")
            claims.append(Claim(head.reserved + number * head.table, head.table, what))
        claims.append(Claim(head.root_at, head.root_bytes, "root directory"))
        end = head.data + head.clusters * head.cluster
        claims.append(Claim(end, head.end - end, "padding"))
        self._mark_unused()
        claims += [
            Claim(self._place(run.start()), (run.end() - run.start()) * head.cluster, PARTS[run[1][0]])
            for run in re.finditer(rb"([^\0])\1*", self._parts, re.DOTALL)
        ]
        size = self.source.size
        return [
            Claim(claim.offset, min(claim.length, size - claim.offset), claim.what)
            for claim in claims
            if claim.length and claim.offset < size
        ]

    def _mark_unused(self) -> None:
        mask, parts = (1 << min(28, self.head.bits)) - 1, self._parts
        bad = mask - 8
        for cluster, value in enumerate(self.table[: len(parts)]):
            if not value & mask:
                if cluster > 1 and not parts[cluster]:
                    parts[cluster] = 2
            elif value & mask == bad and cluster > 1 and not parts[cluster]:
                parts[cluster] = 3


def _open(source: Source, limits: Limits) -> FatReader:
    raw = source.pread(0, 512)
    head = parse_boot(raw)
    if head is None:
        raise NotThisFormat
    media = source.pread(head.reserved + head.active * head.table, 1)
    if media and media[0] != head.media:
        if raw[510:512] != b"\x55\xaa" or not NAMES & {raw[54:62], raw[82:90]}:
            raise NotThisFormat
        raise Malformed(f"file allocation table begins with {media[0]:#x} instead of the media byte {head.media:#x}")
    return FatReader(source, limits, head)


FORMAT = Format(
    name="fat",
    title="FAT12, FAT16, FAT32",
    open=_open,
    magics=[(54, b"FAT12   "), (54, b"FAT16   "), (54, b"FAT     "), (82, b"FAT32   ")],
    references=[
        Reference(
            "Microsoft FAT specification 1.03",
            "https://download.microsoft.com/download/1/6/1/161ba512-40e2-4cc9-843a-923143f3456c/fatgen103.doc",
        ),
        Reference(
            "ECMA-107: volume and file structure of disk cartridges",
            "https://ecma-international.org/publications-and-standards/standards/ecma-107/",
        ),
    ],
    limitations=[
        "times have no time zone and are read as UTC; times of access are days",
        "short names are in the bytes of a code page that the volume does not tell",
        "deleted files are not listed; their bytes may lie in what is explained as free clusters",
        "the last cluster of a file is explained as a whole, also what follows the file's end",
        "sectors of 128 and 256 bytes, and boot sectors that do not begin with a jump, are not recognised",
        "copies of the file allocation table are compared, not used when the first one is broken",
    ],
)
PLAIN = replace(
    FORMAT,
    name="fat-plain",
    title="FAT12, FAT16, FAT32 without a type name in the boot sector",
    magics=[(510, b"\x55\xaa")],
    anywhere=False,
    limitations=["read as FAT; looked for only where a file or partition begins", *FORMAT.limitations],
)
