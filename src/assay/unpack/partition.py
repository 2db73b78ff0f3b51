"""What partition tables have in common: each partition is one entry, a window on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .base import Claim, Entry, Locator, Problem, Reader, Source


class Partition(NamedTuple):
    """One partition, in bytes from the start of the disk."""

    number: int
    start: int
    size: int


class PartitionReader(Reader):
    """Lists partitions by their number. Subclasses fill `partitions`, `tables` and `problems`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.detail = {}
        self.partitions: list[Partition] = []
        self.tables: list[Claim] = []
        self.problems: list[Problem] = []

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. A partition that overlaps an earlier one is listed and named as a problem besides."""
        yield from self.problems
        overlaps = self._overlaps()
        for part in self.partitions:
            path = b"%d" % part.number
            yield Entry(path=path, type="regular", locator=[part.start, part.size], size=part.size)
            if part.number in overlaps:
                yield Problem("overlap", f"overlaps partition {overlaps[part.number]}", path, entries=0)

    def _overlaps(self) -> dict[int, int]:
        out: dict[int, int] = {}
        top, last = 0, 0
        for part in sorted(self.partitions, key=lambda part: (part.start, part.number)):
            if part.start < top:
                out[part.number] = last
            if part.start + part.size > top:
                top, last = part.start + part.size, part.number
        return out

    def malformed(self, detail: str, number: int | None = None) -> None:
        """Keep a problem: with a partition, or (if there is no number) with the table."""
        self.problems.append(Problem("malformed", detail, b"" if number is None else b"%d" % number))

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`."""
        return self.source.chunks(*place(locator))

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        return place(locator)

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Only what the source has."""
        size = self.source.size
        return self.tables + [
            Claim(part.start, min(part.size, size - part.start), f"partition {part.number}")
            for part in self.partitions
            if part.start < size
        ]


def place(locator: Locator) -> tuple[int, int]:
    """Return (offset, length) of a locator."""
    assert isinstance(locator, list)
    offset, length = locator
    assert isinstance(offset, int)
    assert isinstance(length, int)
    return offset, length
