"""What boot images have in common: a header, and a few named parts that lie in place behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .base import Claim, Entry, Format, Locator, Malformed, Problem, Reader, Source

PADDING = 1 << 20
"""Bytes of padding between two parts, at most: what is more is left unexplained."""

Detail = dict[str, str | int | bool | None]


class Part(NamedTuple):
    """One named part, in bytes from the start of the source."""

    path: bytes
    offset: int
    size: int


class BootImageReader(Reader):
    """Lists parts in the order they are added in.

    Subclasses fill `structure` (claims on what is no part), `parts`, `problems` (told before the parts) and `detail`;
    `check` says what is wrong with the bytes of a part. A part that goes on beyond the source's end is listed; what is
    missing is told when it is opened.
    """

    def __init__(self, format: Format, source: Source) -> None:
        self.format = format
        self.source = source
        self.detail: Detail = {}
        self.structure: list[Claim] = []
        self.parts: list[Part] = []
        self.problems: list[Problem] = []

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. A part whose checksum is wrong is listed, and told besides."""
        yield from self.problems
        for part in self.parts:
            yield Entry(path=part.path, type="regular", locator=[part.offset, part.size], size=part.size)
            yield from self.check(part)

    def malformed(self, detail: str, path: bytes = b"", entries: int = 0) -> None:
        """Keep a problem, with a part or with the whole."""
        self.problems.append(Problem("malformed", detail, path, entries))

    def check(self, part: Part) -> Iterator[Problem]:  # noqa: ARG002 - a default that knows no checksums
        """Yield what is wrong with a part's bytes, each with `entries` 0: the part itself is listed."""
        yield from ()

    def whole(self, part: Part) -> bool:
        """Tell whether the source has all bytes of a part."""
        return part.offset + part.size <= self.source.size

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`."""
        return self.source.chunks(*place(locator))

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        return place(locator)

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Only what the source has; a part's name says what it is."""
        size = self.source.size
        parts = [
            Claim(part.offset, part.size, part.path.decode("utf-8", "backslashreplace"))
            for part in self.parts
            if part.size
        ]
        return [
            Claim(claim.offset, min(claim.length, size - claim.offset), claim.what)
            for claim in self.structure + parts
            if claim.offset < size
        ]

    def pad(self, end: int) -> None:
        """Claim the zeros between parts and structure, up to `end`, as padding; other bytes there stay unexplained."""
        at = 0
        stretches = [(claim.offset, claim.offset + claim.length) for claim in self.structure]
        stretches += [(part.offset, part.offset + part.size) for part in self.parts if part.size]
        end = min(end, self.source.size)
        for start, stop in [*sorted(stretches), (end, end)]:
            if 0 < start - at <= PADDING and not self.source.pread(at, start - at).strip(b"\0"):
                self.structure.append(Claim(at, start - at, "padding"))
            at = max(at, stop)


def place(locator: Locator) -> tuple[int, int]:
    """Return (offset, length) of a locator.

    Raises:
        Malformed: it is none of a part.
    """
    match locator:
        case [int(offset), int(length)] if offset >= 0 and length >= 0:
            return offset, length
    raise Malformed(f"no such entry: {locator!r}")


def text(data: bytes) -> str:
    """Return the text of a field that ends at its first NUL."""
    return data.partition(b"\0")[0].decode("utf-8", "backslashreplace")
