"""What the formats of virtual machines' disks have in common: a map from the guest's disk to stretches of a file."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .base import (
    CHUNK,
    Claim,
    Entry,
    Limits,
    Locator,
    Malformed,
    Problem,
    Reader,
    Source,
    UnpackError,
    Unsupported,
    guarded,
)

ZEROS = bytes(CHUNK)
SECTOR = 512
_BATCH = 256 << 10
"""Bytes gathered from short parts before they are handed on."""

HOLE = -1
"""In place of an offset: the part is zeros and lies nowhere."""
ELSEWHERE = -2
"""In place of an offset: the part lies in another file (a backing file, a parent disk)."""


class Part(NamedTuple):
    """A part of the guest's disk."""

    start: int
    """Offset in the guest's disk, in bytes."""
    length: int
    at: int
    """Offset in the source, or `HOLE`, or `ELSEWHERE`."""
    packed: int = 0
    """Bytes that it takes in the source where it is compressed, 0 where it lies there as it is."""


class Disk(NamedTuple):
    """One state of the guest's disk: its present one, or a snapshot."""

    path: bytes
    size: int
    mtime: int | None = None


def merged(parts: Iterable[Part]) -> Iterator[Part]:
    """Put together neighbours that lie behind one another in the source, or are both holes."""
    start = length = at = 0
    for part in parts:
        if part.packed or not length:
            pass
        elif part.start == start + length and part.at == (at + length if at >= 0 else at):
            length += part.length
            continue
        if length:
            yield Part(start, length, at)
            length = 0
        if part.packed:
            yield part
        else:
            start, length, at = part.start, part.length, part.at
    if length:
        yield Part(start, length, at)


class Sectors:
    """What each sector of a file is, one byte for each; grows with what is really marked.

    Args:
        source: the file.
        limits: `metadata_bytes` bounds the sectors known; what lies behind is not claimed.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        self._size = source.size
        self._most = min(-(-source.size // SECTOR), limits.metadata_bytes)
        self._parts = bytearray()
        self._names: list[str] = [""]

    def mark(self, start: int, length: int, what: str) -> None:
        """Say what the bytes of a stretch are; it counts in whole sectors."""
        first, end = start // SECTOR, min(-(-(start + length) // SECTOR), self._most)
        if start < 0 or first >= end:
            return
        if what not in self._names:
            self._names.append(what)
        if end > len(self._parts):
            self._parts.extend(bytes(end - len(self._parts)))
        self._parts[first:end] = bytes([self._names.index(what)]) * (end - first)

    def claims(self) -> list[Claim]:
        """Return the stretches marked, in order."""
        found = []
        for run in re.finditer(rb"([^\0])\1*", self._parts, re.DOTALL):
            begin, end = run.start() * SECTOR, min(run.end() * SECTOR, self._size)
            found.append(Claim(begin, end - begin, self._names[run[1][0]]))
        return found


class DiskReader(Reader):
    """Lists each state of a disk as one regular entry. Subclasses know the map.

    A subclass sets `format`, `detail` and `disks`; `others` says in which other file parts may lie. What it finds wrong
    before any map is read goes to `problems`; `refusal` is raised in place of any bytes.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self.detail = {}
        self.disks: list[Disk] = []
        self.problems: list[Problem] = []
        self.others = "another file"
        self.refusal: UnpackError | None = None
        self.sectors = Sectors(source, limits)

    @abstractmethod
    def parts(self, number: int) -> Iterator[Part]:
        """Yield the map of one of `disks`, in ascending order; what is left out is a hole.

        Raises:
            UnpackError: the map cannot be read (on).
        """

    def listed_parts(self, number: int) -> Iterator[Part]:
        """Yield the same for claims; may leave out what was yielded for an earlier one of `disks`."""
        return self.parts(number)

    @abstractmethod
    def structures(self) -> Iterator[tuple[int, int, str]]:
        """Yield (offset, length, what) of all that is not the guest's data; for claims, after listing."""

    def unpacked(self, stored: bytes, length: int) -> bytes:  # noqa: ARG002 - where nothing is compressed
        """Return the bytes of a compressed part, at most `length`; see `Part.packed`.

        Raises:
            Malformed: they do not decode.
        """
        raise Malformed("a compressed part")

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. The whole map is read, for claims; what is wrong with it, opening tells."""
        for number, disk in enumerate(self.disks):
            yield Entry(disk.path, "regular", locator=number, size=disk.size, mtime=disk.mtime)
            self._examine(number, disk)
        yield from self.problems

    def _examine(self, number: int, disk: Disk) -> None:
        """Note for claims where a disk's bytes lie, and count what lies elsewhere."""
        elsewhere = 0
        try:
            for part in merged(self.listed_parts(number)):
                if part.at >= 0:
                    what = "compressed data" if part.packed else "data"
                    self.sectors.mark(part.at, part.packed or part.length, what)
                elif part.at == ELSEWHERE:
                    elsewhere += max(0, min(part.length, disk.size - part.start))
        except UnpackError:
            pass  # opening the disk will say so
        if elsewhere:
            self.detail[f"{text(disk.path)}: bytes elsewhere"] = elsewhere

    def _disk(self, locator: Locator) -> tuple[int, Disk]:
        if not isinstance(locator, int) or not 0 <= locator < len(self.disks):
            raise Malformed(f"no such disk: {locator!r}")
        return locator, self.disks[locator]

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield the guest's disk in pieces of at most 1 MiB, holes as zeros. See `Reader.open`."""
        disk = self._disk(locator)
        if self.refusal:
            raise self.refusal
        return guarded(self._gathered(*disk), self.limits, self.source.size)

    def _gathered(self, number: int, disk: Disk) -> Iterator[bytes]:
        held: list[bytes] = []
        size = 0
        try:
            for piece in self._pieces(number, disk):
                if size + len(piece) > CHUNK:
                    yield held[0] if len(held) == 1 else b"".join(held)
                    held, size = [], 0
                held.append(piece)
                size += len(piece)
                if size >= _BATCH:
                    yield held[0] if len(held) == 1 else b"".join(held)
                    held, size = [], 0
        except UnpackError:
            yield from held
            raise
        yield b"".join(held)

    def _pieces(self, number: int, disk: Disk) -> Iterator[bytes]:
        position = 0
        for part in merged(self.parts(number)):
            length = min(part.length, disk.size - part.start)
            if length <= 0:
                break
            yield from _zeros(part.start - position)
            position = part.start + length
            if part.at == HOLE:
                yield from _zeros(length)
            elif part.at == ELSEWHERE:
                place = f"from offset {part.start} on, {part.length} bytes of the disk lie in {self.others}"
                raise Unsupported(place)
            elif part.packed:
                stored = self.source.pread(part.at, part.packed)
                data = self.unpacked(stored, part.length)
                if len(data) != part.length:
                    raise Malformed(f"{len(data)} bytes come out of the part at {part.start} of {part.length} bytes")
                yield from (data[at : min(at + CHUNK, length)] for at in range(0, length, CHUNK))
            else:
                yield from self.source.chunks(part.at, length)
        yield from _zeros(disk.size - position)

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a disk lies that is one stretch of the source. See `Reader.span`."""
        try:
            number, disk = self._disk(locator)
            if self.refusal:
                return None
            first = next(merged(self.parts(number)), None)
        except UnpackError:
            return None
        if first is None or first.at < 0 or first.packed or first.start or first.length < disk.size:
            return None
        return (first.at, disk.size) if first.at + disk.size <= self.source.size else None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`; in whole sectors of 512 bytes."""
        for start, length, what in self.structures():
            self.sectors.mark(start, length, what)
        return self.sectors.claims()


def text(raw: bytes) -> str:
    """Return a name that a header has, for `Reader.detail`."""
    return raw.decode("utf-8", "backslashreplace")


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield ZEROS[:length]
        length -= CHUNK
