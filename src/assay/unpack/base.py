"""What every format reader has in common: bytes in, entries out.

A format is one module in this package that defines `FORMAT`, a `Format`. Its `open` function claims a source by
validating the structure (not only the magic) and returns a `Reader`. A reader lists entries without reading their
bytes, opens each one by its locator, in any order and in another process than the one that listed it, and says which
bytes of the source it explains.

Readers run in a confined worker. They read in place, lazily; they never write, never follow a name, and never change
what the container states. On bad structure they raise `Malformed`; whatever else they raise is caught by the caller and
costs the same one entry.
"""

from __future__ import annotations

import errno
import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

Locator = list[int | bytes | str | None] | int | bytes | str
"""How a reader finds an entry's bytes again: anything msgpack can carry."""

EntryType = Literal["regular", "directory", "symlink", "hardlink", "chardev", "blockdev", "fifo", "socket"]

Reason = Literal["malformed", "truncated", "encrypted", "unsupported", "overlap", "limit", "crash", "denied"]

CHUNK = 1 << 20


class UnpackError(Exception):
    """Base of what a reader raises about its input."""

    reason: Reason = "malformed"
    format: str | None = None
    """The format that claimed the source, once `identify` knows."""


class Malformed(UnpackError):
    """The structure contradicts itself or its specification."""


class Truncated(UnpackError):
    """The source ends before the structure does."""

    reason: Reason = "truncated"


class Unsupported(UnpackError):
    """A valid variant that this reader does not read (say which)."""

    reason: Reason = "unsupported"


class Encrypted(UnpackError):
    """The bytes are encrypted."""

    reason: Reason = "encrypted"


class LimitReached(UnpackError):
    """A limit stopped the reading.

    Args:
        name: the limit's field in `Limits`.
        value: the value in force.
    """

    reason: Reason = "limit"

    def __init__(self, name: str, value: float) -> None:
        super().__init__(f"{name} {value:.15g}")
        self.name = name
        self.value = value


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on one examination; kept in the record."""

    depth: int = 16
    """Containers inside containers."""
    entries: int = 2_000_000
    """Entries listed from one container."""
    ratio: int = 250
    """Bytes out per byte in, once `ratio_from` bytes have come out of one entry."""
    ratio_from: int = 256 << 20
    """Output of one entry below which the ratio is not looked at, in bytes."""
    entry_bytes: int = 64 << 30
    """Bytes read from one entry."""
    output_bytes: int = 1 << 40
    """Bytes read from all entries of an artefact together."""
    output_from: int = 4 << 30
    """Bytes read from all entries of an artefact below which `ratio` is not looked at for the whole of it, in bytes."""
    spool_bytes: int = 64 << 30
    """Bytes on disk for contents that must be spooled."""
    cpu_seconds: int = 120
    """CPU seconds of one task (a listing, one entry or one batch of small entries)."""
    wall_seconds: int = 600
    """Wall-clock seconds of one task."""
    memory: int = 1 << 30
    """Private memory of one worker, in bytes."""
    metadata_bytes: int = 256 << 20
    """Decompressed metadata (inode and directory tables, headers) that a reader may hold, in bytes."""


class Source(ABC):
    """Random access to a fixed number of bytes."""

    size: int

    @abstractmethod
    def pread(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes at `offset`: fewer only at the end, none beyond it. Never raises on range."""

    def exactly(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes at `offset`.

        Raises:
            Truncated: the source ends before.
        """
        data = self.pread(offset, length)
        if len(data) != length:
            raise Truncated(f"needs {length} bytes at offset {offset}, the source has {self.size}")
        return data

    def chunks(self, offset: int = 0, length: int | None = None, size: int = CHUNK) -> Iterator[bytes]:
        """Yield the bytes from `offset` in pieces of `size`.

        Raises:
            Truncated: the source ends before `length` bytes.
        """
        end = self.size if length is None else offset + length
        while offset < end:
            data = self.pread(offset, min(size, end - offset))
            if not data:
                raise Truncated(f"ends at offset {self.size}, {end - offset} bytes too early")
            yield data
            offset += len(data)

    def filled(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Yield the stretches (offset, length) of a part that may hold other bytes than zeros: all but known holes."""
        if length > 0:
            yield offset, length

    def window(self, offset: int, length: int) -> Source:
        """Return a source over a part of this one; what lies beyond this source's end is not there."""
        return Window(self, offset, length)


class FileSource(Source):
    """An open file, read with pread(2). The descriptor stays the caller's."""

    def __init__(self, fd: int, size: int | None = None) -> None:
        self.fd = fd
        self.size = os.fstat(fd).st_size if size is None else size

    def pread(self, offset: int, length: int) -> bytes:
        """See `Source.pread`."""
        length = min(length, self.size - offset)
        if length <= 0 or offset < 0:
            return b""
        data = os.pread(self.fd, length, offset)
        while len(data) < length:
            more = os.pread(self.fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def filled(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """See `Source.filled`; lseek(2), SEEK_DATA."""
        end = min(offset + length, self.size)
        while offset < end:
            try:
                start = os.lseek(self.fd, offset, os.SEEK_DATA)
                stop = min(os.lseek(self.fd, start, os.SEEK_HOLE), end)
            except OSError as error:
                if error.errno != errno.ENXIO:  # no data follows
                    yield offset, end - offset
                return
            if start >= end:
                return
            yield start, stop - start
            offset = max(stop, offset + 1)


class BytesSource(Source):
    """Bytes in memory, or a memory map."""

    def __init__(self, data: bytes | memoryview | mmap.mmap) -> None:
        self.data = memoryview(data)
        self.size = len(self.data)

    def pread(self, offset: int, length: int) -> bytes:
        """See `Source.pread`."""
        if offset < 0 or length <= 0:
            return b""
        return bytes(self.data[offset : offset + length])


class Window(Source):
    """A part of another source."""

    def __init__(self, base: Source, offset: int, length: int) -> None:
        if isinstance(base, Window):
            length = min(length, base.size - offset)
            offset += base.start
            base = base.base
        self.base: Source = base
        self.start: int = offset
        self.size = max(0, min(length, base.size - offset)) if offset >= 0 else 0

    def pread(self, offset: int, length: int) -> bytes:
        """See `Source.pread`."""
        length = min(length, self.size - offset)
        if length <= 0 or offset < 0:
            return b""
        return self.base.pread(self.start + offset, length)

    def filled(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """See `Source.filled`."""
        for at, number in self.base.filled(self.start + offset, min(length, self.size - offset)):
            yield at - self.start, number


class Entry(msgspec.Struct, array_like=True):
    """One entry, exactly as the container states it."""

    path: bytes
    """The name's raw bytes, with whatever leading './' or '/' the container gave it."""
    type: EntryType
    locator: Locator | None = None
    """For a regular file: how `Reader.open` finds its bytes. Equal locators in one container are the same bytes."""
    size: int | None = None
    """Declared length of the bytes; None if the container does not say."""
    mode: int | None = None
    """Permission bits, 0o7777."""
    uid: int | None = None
    gid: int | None = None
    owner: str | None = None
    group: str | None = None
    mtime: int | None = None
    """Nanoseconds since 1970-01-01 UTC; also atime and ctime."""
    atime: int | None = None
    ctime: int | None = None
    link: bytes | None = None
    """Raw target of a symbolic link, or the path that a hard link names."""
    device: tuple[int, int] | None = None
    inode: int | None = None
    nlink: int | None = None
    xattrs: dict[str, bytes] = {}


class Problem(msgspec.Struct, array_like=True):
    """Something in a container that its reader could not list."""

    reason: Reason
    detail: str
    """One line: what was wrong, where."""
    path: bytes = b""
    """The entry, if its name is known."""
    entries: int = 1
    """Entries lost, where the container says how many."""
    limit: str | None = None


class Claim(msgspec.Struct, array_like=True):
    """A stretch of the source that the format explains."""

    offset: int
    length: int
    what: str
    """The part, in the format's own words: superblock, inode table, data, padding, ..."""
    padding: bool = False
    """One repeated byte outside of all structure, and `what` is that byte (0x00, 0xff): erased or never written."""


class Reader(ABC):
    """An opened container."""

    format: Format
    declared: int | None = None
    """Entries that the container's own header declares; None if the format has no such count."""
    detail: dict[str, str | int | bool | None]
    """Header fields worth keeping as evidence: version, compression, label, times."""
    length: int | None = None
    """Bytes that the container takes by its own header, where what `claims` explains may end before (free blocks)."""
    consumed: int | None = None
    """For stream formats: bytes from the start of the source that decoding used, known once an `open` is exhausted.

    Padding after the stream does not count. `claims` called after that covers what was used, and the padding; called
    before, it covers no more than the header, since only decoding finds where a stream ends.
    """

    @abstractmethod
    def entries(self) -> Iterator[Entry | Problem]:
        """List what the container holds, in its own order, the same at every call.

        An entry that cannot be listed is a `Problem`, and listing goes on where it can. A directory precedes what it
        holds where the format allows.

        Raises:
            UnpackError: listing cannot go on; what came before stands.
        """

    @abstractmethod
    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield the bytes of a regular file. Works on a fresh reader that has listed nothing.

        Raises:
            UnpackError: the bytes cannot be read (on); what came before was right.
        """

    def stored(self, locator: Locator) -> bytes | None:  # noqa: ARG002 - a default that knows nothing of locators
        """Return a digest of the stored (compressed) form of an entry's bytes, or None.

        Equal digests must mean equal bytes. It lets a release that shares stored blocks with an earlier one be
        recognised without decompressing: hash the raw blocks together with everything that decoding depends on.
        """
        return None

    def span(self, locator: Locator) -> tuple[int, int] | None:  # noqa: ARG002 - a default that knows nothing of locators
        """Return (offset, length) in the source if the entry's bytes lie there as they are, else None."""
        return None

    def claims(self) -> list[Claim]:
        """Return the stretches of the source that listing has explained. Called after `entries` is exhausted.

        Stretches may touch and overlap; the caller merges them. What no claim covers becomes an unknown region.
        """
        return []


@dataclass(frozen=True)
class Reference:
    """Where a format is specified."""

    title: str
    url: str


@dataclass(frozen=True)
class Format:
    """A container format: one module of this package, listed in docs/reference/formats."""

    name: str
    """Short name, as in facts: squashfs, tar, zip."""
    title: str
    """One line for the reference page."""
    open: Callable[[Source, Limits], Reader]
    """Claim a source. Raises `NotThisFormat` if it is something else, `UnpackError` if it is this format but broken."""
    magics: Sequence[tuple[int, bytes]]
    """(offset, bytes) pairs of which one must match before `open` is tried."""
    references: Sequence[Reference] = ()
    limitations: Sequence[str] = ()
    """What this reader does not read; empty means all of the format."""
    version: int = 1
    """Raised whenever what the reader yields could change."""
    priority: int = 0
    """Higher is tried first, where one source can be two formats."""
    stream: bool = False
    """A compressed stream: one entry, no names of its own."""
    tail: bytes | None = None
    """Bytes near the end by which the format is known too: `open` is tried on every source that may hold them."""
    smallest: int = 0
    """Sources of fewer bytes are not of this format."""
    end: Callable[[Source], int | None] | None = None
    """For a format that is read from its end: returns where a container that begins with the source ends, or None."""
    anywhere: bool = True
    """Looked for at every offset of bytes that nothing else explains, not only where a file begins. Not for a format
    whose magic is too weak for that: shorter than three bytes, or common in other data."""


class NotThisFormat(Exception):
    """The source only looked like this format."""


def ns(seconds: float, nanoseconds: int = 0) -> int:
    """Return a time in nanoseconds from seconds and a nanosecond part."""
    return int(seconds) * 1_000_000_000 + nanoseconds


def guarded(chunks: Iterator[bytes], limits: Limits, source_bytes: int) -> Iterator[bytes]:
    """Pass chunks on until an entry's output breaks the limits on ratio or size.

    Args:
        chunks: an entry's bytes.
        limits: limits in force.
        source_bytes: compressed bytes that they come from.

    Raises:
        LimitReached: `ratio` or `entry_bytes`.
    """
    out = 0
    for chunk in chunks:
        out += len(chunk)
        if out > limits.entry_bytes:
            raise LimitReached("entry_bytes", limits.entry_bytes)
        if out > limits.ratio_from and out > limits.ratio * max(1, source_bytes):
            raise LimitReached("ratio", limits.ratio)
        yield chunk
