"""NTFS, read by libfsntfs (LGPL).

The library reads directories, attribute lists, sparse and compressed data; what is listed, how it is named and which
bytes are explained is decided here. A file's locator is its number in the master file table and the name of a stream.

Alternate data streams are entries of their own, `path:stream`: they are contents like those of files, and may be large.
The volume's own files ($MFT, $LogFile, ...) are explained, not listed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

import pyfsntfs

from .base import (
    CHUNK,
    Claim,
    Encrypted,
    Entry,
    Format,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Reference,
    Source,
    UnpackError,
    guarded,
)
from .dos import ATTRIBUTES, CREATED, attribute_words
from .filelike import SourceFile
from .tree import walk

ROOT, RESERVED = 5, 16
"""The root directory's number, and numbers below which all others are the volume's own."""
ENCRYPTED = 0x4000
REPARSE_POINT = 0x400
SECURITY = "system.ntfs_acl"
"""The security descriptor, under the name that the Linux drivers give it."""
EPOCH = 116_444_736_000_000_000
"""1970-01-01 in units of 100 ns since 1601-01-01."""
ERRORS = (OSError, ValueError, OverflowError, TypeError, MemoryError, RuntimeError, SystemError)
"""What the library raises on broken structures."""
PARTS = {0x80: "files", 0x20: "attribute lists", 0x90: "directories", 0xA0: "directories", 0xB0: "bitmaps"}
OWN = (
    "master file table",
    "master file table, copy",
    "journal",
    "volume",
    "attribute definitions",
    "root directory",
    "cluster bitmap",
    "boot sector",
    "bad clusters",
    "security descriptors",
    "upper case table",
    "extensions",
)
"""The volume's own files by their number."""
EXTENSIONS = 11
"""The directory of further files of the volume's own."""
NAMES = ["", "free cluster", *sorted({*PARTS.values(), *OWN, "internal files", "other attributes"})]


def filetime(value: int | None) -> int | None:
    """Return nanoseconds since 1970-01-01 UTC of a count of 100 ns since 1601-01-01, None for 0."""
    return (value - EPOCH) * 100 if value else None


class NtfsReader(Reader):
    """An opened NTFS volume.

    Args:
        source: exactly the volume.
        limits: limits in force.
        cluster: bytes of a cluster.
        size: bytes that the boot sector declares.
    """

    def __init__(self, source: Source, limits: Limits, cluster: int, size: int) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.cluster = cluster
        self.size = size
        self.volume: Any = pyfsntfs.volume()  # the library has no types
        try:
            self.volume.open_file_object(SourceFile(source))
            self.record_bytes: int = self.volume.mft_entry_size
            self.detail = {
                "label": self.volume.name,
                "serial": f"{self.volume.serial_number:016x}",
                "cluster_bytes": cluster,
                "record_bytes": self.record_bytes,
                "records": self.volume.number_of_file_entries,
            }
        except ERRORS as error:
            raise Malformed(f"the volume cannot be opened: {_first(error)}") from None
        self._pending: Any = None
        self._directories: dict[int, Any] = {}
        self._listed: set[int] = set()
        self._streams: list[Entry] = []

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in their stored order, the root first with an empty path."""
        self._listed, self._directories, self._streams = set(), {}, []
        try:
            self._pending = self.volume.get_root_directory()
        except ERRORS as error:
            raise Malformed(f"root directory: {_first(error)}") from None
        for item in walk(ROOT, self._describe, self._children, self.limits):
            yield item
            if isinstance(item, Entry):
                streams, self._streams = self._streams, []
                yield from streams
        if self.source.size < self.size:
            text = f"boot sector declares {self.size} bytes, the source has {self.source.size}"
            yield Problem("truncated", text, b"", 0)

    def _describe(self, number: int, path: bytes) -> tuple[Entry, Problem | None]:
        found, self._pending = self._pending, None
        try:
            return self._entry(found, number, path)
        except ERRORS as error:
            raise Malformed(_first(error)) from None

    def _entry(self, found: Any, number: int, path: bytes) -> tuple[Entry, Problem | None]:  # noqa: ANN401 - see volume
        flags = found.file_attribute_flags or 0
        problem = None
        entry = Entry(
            path,
            "directory" if found.has_directory_entries_index() else "regular",
            mtime=filetime(found.get_modification_time_as_integer()),
            atime=filetime(found.get_access_time_as_integer()),
            ctime=filetime(found.get_entry_modification_time_as_integer()),
            inode=number,
        )
        if flags & REPARSE_POINT:
            target = found.symbolic_link_target
            if target is None:
                problem = Problem("unsupported", "a reparse point that is no symbolic link", path, 0)
            else:
                entry.type, entry.link = "symlink", target.encode("utf-8", "surrogatepass")
        if entry.type == "regular":
            entry.locator, entry.size = [number, None], found.size
        if words := attribute_words(flags):
            entry.xattrs = {ATTRIBUTES: words}
        created = filetime(found.get_creation_time_as_integer())
        if created is not None:
            entry.xattrs = entry.xattrs | {CREATED: b"%d" % created}
        if security := found.security_descriptor_data:
            entry.xattrs = entry.xattrs | {SECURITY: security}
        self._listed.add(number)
        if entry.type == "directory":
            self._directories[number] = found
        for stream in found.alternate_data_streams:
            name = stream.name.encode("utf-8", "surrogatepass")
            locator: Locator = [number, name]
            self._streams.append(Entry(path + b":" + name, "regular", locator, stream.size, mtime=entry.mtime))
        return entry, problem

    def _children(self, number: int) -> Iterator[tuple[int, bytes]]:
        directory = self._directories.pop(number)
        fault = None
        try:
            count = directory.number_of_sub_file_entries
        except ERRORS as error:
            raise Malformed(_first(error)) from None
        for index in range(count):
            try:
                child = directory.get_sub_file_entry(index)
                at, name = child.file_reference & 0xFFFFFFFFFFFF, child.name.encode("utf-8", "surrogatepass")
            except (*ERRORS, AttributeError) as error:
                fault = f"entry {index}: {_first(error)}"
                continue
            if at < RESERVED:
                continue
            self._pending = child
            yield at, name
        if fault:
            raise Malformed(fault)

    # Contents

    def _stream(self, locator: Locator) -> tuple[Any, bytes]:
        match locator:
            case [int(number), None | bytes() as name] if 0 <= number < 1 << 48:
                found = self.volume.get_file_entry(number)
                if (found.file_attribute_flags or 0) & ENCRYPTED:
                    raise Encrypted(f"file {number} is encrypted (EFS)")
                if name is None:
                    return found, b""
                for stream in found.alternate_data_streams:
                    if stream.name.encode("utf-8", "surrogatepass") == name:
                        return stream, name
                raise Malformed(f"file {number} has no such stream")
        raise Malformed("not a file's number and the name of a stream")

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB, holes as zeros. See `Reader.open`."""
        yield from guarded(self._read(locator), self.limits, self.source.size)

    def _read(self, locator: Locator) -> Iterator[bytes]:
        try:
            found, _ = self._stream(locator)
            left = found.size
            found.seek_offset(0, 0)
            while left > 0:
                data = found.read_buffer(min(left, CHUNK))
                if not data:
                    break
                left -= len(data)
                yield data
        except ERRORS as error:
            raise Malformed(_first(error)) from None
        if left:
            raise Malformed(f"ends {left} bytes too early")

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies that is one plain stretch of clusters. See `Reader.span`."""
        try:
            found, _ = self._stream(locator)
            size = found.size
            # Compressed files have extents too, of what they are compressed to.
            if found.number_of_extents != 1 or not size or (self._flags(locator) & 0xE00):
                return None
            start, length, flags = found.get_extent(0)
        except (*ERRORS, UnpackError):
            return None
        whole = not flags and start > 0 and length >= size and start + size <= self.source.size
        return (start, size) if whole else None

    def _flags(self, locator: Locator) -> int:
        number = locator[0] if isinstance(locator, list) else None
        return self.volume.get_file_entry(number).file_attribute_flags or 0

    # Claims

    def claims(self) -> list[Claim]:
        """Return the clusters of what was listed and of the volume's own files, and free ones.

        Clusters in use by files that no directory lists are not claimed.
        """
        size, total = self.cluster, self.source.size
        parts = self._free(min(-(-total // size), self.limits.metadata_bytes))
        for kind, first, count in self._runs():
            end = min(first + count, len(parts))
            if 0 <= first < end:
                parts[first:end] = bytes([NAMES.index(kind)]) * (end - first)
        claims = []
        for run in re.finditer(rb"([^\0])\1*", parts, re.DOTALL):
            begin, end = run.start() * size, min(run.end() * size, total)
            claims.append(Claim(begin, end - begin, NAMES[run[1][0]]))
        sector = int.from_bytes(self.source.pread(11, 2), "little")
        last = self.size - sector
        if self.source.pread(last, sector) == self.source.pread(0, sector):
            claims.append(Claim(last, sector, "boot sector, copy"))
        return claims

    def _free(self, count: int) -> bytearray:
        """Return a byte for each cluster, 1 where $Bitmap says that it is free: the place of that part in `NAMES`."""
        try:
            bitmap = b"".join(self._internal(6, -(-count // 8)))
        except UnpackError:
            return bytearray(count)
        # Each byte of the bitmap becomes eight digits, the lowest bit first.
        return bytearray(b"".join(map(_DIGITS.__getitem__, bitmap))[:count].ljust(count, b"\0"))

    def _internal(self, number: int, most: int) -> Iterator[bytes]:
        """Yield the first bytes of one of the volume's own files."""
        try:
            found = self.volume.get_file_entry(number)
            left = min(most, found.size)
            found.seek_offset(0, 0)
            while left > 0 and (data := found.read_buffer(min(left, CHUNK))):
                left -= len(data)
                yield data
        except ERRORS as error:
            raise Malformed(_first(error)) from None

    def _runs(self) -> Iterator[tuple[str, int, int]]:
        """Yield (part, first cluster, clusters) of all records of the master file table that count."""
        number = 0
        rest = b""
        size = self.record_bytes
        try:
            for chunk in self._internal(0, self.limits.metadata_bytes):
                data = rest + chunk
                whole = len(data) // size * size
                for at in range(0, whole, size):
                    if data[at : at + 4] == b"FILE" and data[at + 22] & 1:
                        yield from self._record(number, data[at : at + size])
                    number += 1
                rest = data[whole:]
        except UnpackError:
            return

    def _record(self, number: int, record: bytes) -> Iterator[tuple[str, int, int]]:
        owner = int.from_bytes(record[32:38], "little") or number
        runs: list[tuple[str, int, int]] = []
        internal = owner < RESERVED
        for kind, attribute in _attributes(_repaired(record)):
            if attribute[8] and len(attribute) >= 64:
                pairs = mapping_pairs(attribute[int.from_bytes(attribute[32:34], "little") :])
                runs += [(PARTS.get(kind, "other attributes"), first, count) for first, count in pairs]
            elif kind == 0x30 and len(attribute) >= 30:
                parent = int.from_bytes(attribute[20:22], "little")
                internal |= int.from_bytes(attribute[parent : parent + 6], "little") == EXTENSIONS
        if internal:
            own = OWN[owner] if owner < len(OWN) else "internal files"
            runs = [(own, first, count) for _, first, count in runs]
        elif owner not in self._listed:
            return
        yield from runs


_DIGITS = [bytes(not byte >> bit & 1 for bit in range(8)) for byte in range(256)]


def _attributes(record: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, bytes) of the attributes of a record of the master file table, as far as they make sense."""
    at = int.from_bytes(record[20:22], "little")
    while at + 24 <= len(record):
        kind, length = struct.unpack_from("<II", record, at)
        if kind == 0xFFFFFFFF or length < 24 or at + length > len(record):
            return
        yield kind, record[at : at + length]
        at += length


def _repaired(record: bytes) -> bytes:
    """Return a record with the last two bytes of each sector put back from its update sequence array."""
    offset, count = struct.unpack_from("<HH", record, 4)
    out = bytearray(record)
    for index in range(1, count):
        end = index * 512
        if offset + 2 * index + 2 > len(record) or end > len(record):
            break
        out[end - 2 : end] = record[offset + 2 * index : offset + 2 * index + 2]
    return bytes(out)


def mapping_pairs(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (first cluster, clusters) of a run list, holes left out; it ends where it breaks the format."""
    at = cluster = 0
    while at < len(data) and data[at]:
        lengths, offsets = data[at] & 15, data[at] >> 4
        at += 1
        count = int.from_bytes(data[at : at + lengths], "little", signed=True)
        at += lengths
        if count <= 0 or lengths > 8 or offsets > 8 or at + offsets > len(data):
            return
        if offsets:
            cluster += int.from_bytes(data[at : at + offsets], "little", signed=True)
            at += offsets
            if cluster < 0:
                return
            yield cluster, count


def _first(error: BaseException) -> str:
    """Return the first sentence of the library's message, which goes on with its internals."""
    text = str(error) or type(error).__name__
    return text.split(". ")[0].removeprefix("pyfsntfs_")[:200]


def _open(source: Source, limits: Limits) -> NtfsReader:
    raw = source.pread(0, 512)
    if len(raw) < 512 or raw[3:11] != b"NTFS    ":
        raise NotThisFormat
    sector, per_cluster = struct.unpack_from("<HB", raw, 11)
    sectors, table = struct.unpack_from("<QQ", raw, 40)
    clusters = per_cluster if per_cluster <= 128 else 1 << (256 - per_cluster) if per_cluster >= 240 else 0
    if sector not in (256, 512, 1024, 2048, 4096) or not clusters or clusters & (clusters - 1):
        raise NotThisFormat
    cluster, size = sector * clusters, (sectors + 1) * sector
    if cluster > 2 << 20 or size > 1 << 63 or not sectors or not 0 < table * cluster < size:
        raise NotThisFormat
    if source.pread(table * cluster, 4) not in (b"FILE", b"BAAD", b""):
        raise Malformed(f"no master file table at cluster {table}")
    return NtfsReader(source.window(0, size), limits, cluster, size)


FORMAT = Format(
    name="ntfs",
    title="NTFS",
    open=_open,
    magics=[(3, b"NTFS    ")],
    references=[
        Reference(
            "libfsntfs: New Technologies File System (NTFS)",
            "https://github.com/libyal/libfsntfs/blob/main/documentation/New%20Technologies%20File%20System%20(NTFS).asciidoc",
        ),
        Reference("Linux, NTFS3", "https://docs.kernel.org/filesystems/ntfs3.html"),
    ],
    limitations=[
        "the number of a file's names is not told; names of one file have one number",
        "files encrypted with EFS and reparse points that are no symbolic links are named, not read",
        "the journal is not replayed; deleted files are not listed, their bytes may lie in free clusters",
        "the last cluster of a file is explained as a whole, also what follows the file's end",
        "streams of a directory's index and the volume's own files are not listed",
    ],
)
