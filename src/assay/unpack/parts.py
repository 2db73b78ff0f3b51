"""What firmware headers of vendors have in common: a header says where its parts lie, and states sums over them.

A subclass is seldom needed: a format's `open` makes a `PartsReader` and tells it the header, the parts and the sums.
Sums are computed while listing, not while opening, so that a chance match costs one header. A wrong sum is a `Problem`
and loses no entry.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .base import (
    CHUNK,
    Claim,
    Encrypted,
    Entry,
    Format,
    Limits,
    Locator,
    Malformed,
    Problem,
    Reader,
    Reason,
    Source,
    Truncated,
    UnpackError,
    guarded,
)
from .stretch import byte_sum

Detail = dict[str, str | int | bool | None]

_UNPRINTABLE = re.compile(r"[^ -~]")
_UNIFORM = (0x00, 0xFF)


class Part(NamedTuple):
    """A stretch of the image that the header names."""

    name: bytes
    offset: int
    size: int
    coding: str | None = None
    """What its bytes are in: base64, or encrypted; None if they are as they are."""


class Sum(NamedTuple):
    """A sum that a header states."""

    what: str
    stated: str
    compute: Callable[[], str]


class PartsReader(Reader):
    """An image of a header and parts.

    Args:
        format: the format that claims the source.
        source: the bytes.
        limits: limits in force.
        end: where the image ends, by its own structure; in bytes from the start of the source. May lie beyond it.
        detail: see `Reader.detail`.
    """

    def __init__(self, format: Format, source: Source, limits: Limits, end: int, detail: Detail) -> None:
        self.format = format
        self.source = source
        self.limits = limits
        self.end = end
        self.detail = detail
        self.parts: list[Part] = []
        self.inside: list[Part] = []
        self.headers: list[Claim] = []
        self.problems: list[Problem] = []
        self.sums: list[Sum] = []

    # What a format's `open` tells

    def header(self, offset: int, length: int, what: str = "header") -> None:
        """Note a stretch that belongs to the format itself."""
        self.headers.append(Claim(offset, length, what))

    def part(self, name: bytes, offset: int, size: int, coding: str | None = None) -> None:
        """Note a part; one of no bytes is listed, too."""
        self.parts.append(Part(name, offset, size, coding))

    def inner(self, name: bytes, offset: int, size: int) -> None:
        """Note an entry that lies inside a part."""
        self.inside.append(Part(name, offset, size))

    def check(self, what: str, stated: str, compute: Callable[[], str]) -> None:
        """Note a sum (lower-case hexadecimal), to be computed while listing."""
        self.detail[what] = stated
        self.sums.append(Sum(what, stated, compute))

    def problem(self, detail: str, path: bytes = b"", *, reason: Reason = "malformed", entries: int = 0) -> None:
        """Note what was wrong with the header."""
        self.problems.append(Problem(reason, detail, path, entries))

    # Reader

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. A part that runs beyond the source is listed; opening it gives what is there."""
        top, last = 0, b""
        for part in self.parts + self.inside:
            locator: Locator = [part.offset, part.size, part.coding]
            yield Entry(part.name, "regular", locator, None if part.coding == "base64" else part.size)
        for part in sorted(self.parts, key=lambda part: part.offset):
            if part.offset < top and part.size:
                yield Problem("overlap", f"overlaps {last.decode('utf-8', 'backslashreplace')}", part.name, 0)
            if part.offset + part.size > top:
                top, last = part.offset + part.size, part.name
        yield from self.problems
        if self.end > self.source.size:
            text = f"the header declares {self.end} bytes, the source has {self.source.size}"
            yield Problem("truncated", text, b"", 0)
            return  # no sum over bytes that are not there
        for what, stated, compute in self.sums:
            try:
                found = compute()
            except UnpackError as error:
                yield Problem(error.reason, f"{what} cannot be checked: {error}", b"", 0)
                continue
            if found != stated:
                yield Problem("malformed", f"{what}: the header states {stated}, the bytes have {found}", b"", 0)

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`."""
        match locator:
            case [int(offset), int(length), None] if offset >= 0 and length >= 0:
                return guarded(self.source.chunks(offset, length), self.limits, self.source.size)
            case [int(offset), int(length), "base64"] if offset >= 0 and length >= 0:
                return guarded(self._base64(offset, length), self.limits, self.source.size)
            case [int(), int(), "encrypted"]:
                raise Encrypted("encrypted or disguised by its maker; nothing is decrypted here")
        raise Malformed(f"no such part: {locator!r}")

    def _base64(self, offset: int, length: int) -> Iterator[bytes]:
        held = b""
        for chunk in self.source.chunks(offset, length):
            held += chunk.translate(None, b" \t\r\n")
            whole = len(held) & ~3
            try:
                out = binascii.a2b_base64(held[:whole], strict_mode=True)
            except binascii.Error as error:
                raise Malformed(f"base64: {error}") from None
            held = held[whole:]
            if out:
                yield out
        if held:
            raise Truncated(f"base64 ends inside a group of {len(held)} characters")

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        match locator:
            case [int(offset), int(length), None] if 0 <= offset <= offset + length <= self.source.size:
                return offset, length
        return None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. What lies between parts is claimed if it is all zeros or all ones: padding."""
        found = self.headers + [Claim(p.offset, p.size, p.name.decode("utf-8", "backslashreplace")) for p in self.parts]
        found = sorted((claim for claim in found if claim.length), key=lambda claim: claim.offset)
        at, gaps = 0, []
        for claim in [*found, Claim(self.end, 0, "")]:
            if at < claim.offset <= self.source.size and is_padding(self.source, at, claim.offset - at):
                gaps.append(Claim(at, claim.offset - at, "padding"))
            at = max(at, claim.offset + claim.length)
        size = self.source.size
        return [
            Claim(claim.offset, min(claim.length, size - claim.offset), claim.what)
            for claim in found + gaps
            if claim.offset < size
        ]


def is_padding(source: Source, offset: int, length: int) -> bool:
    """Tell whether all bytes of a stretch are zeros, or all are ones."""
    first = source.pread(offset, 1)
    if not first or first[0] not in _UNIFORM:
        return False
    return all(not chunk.strip(first) for chunk in source.chunks(offset, length))


def text(field: bytes) -> str:
    """Return a field of characters, up to its first NUL, unprintable ones escaped."""
    return _UNPRINTABLE.sub(
        lambda found: f"\\x{ord(found[0]):02x}", field.split(b"\0", 1)[0].decode("latin-1").rstrip()
    )


def is_text(field: bytes) -> bool:
    """Tell whether a field is printable ASCII, filled with NULs."""
    name = field.rstrip(b"\0")
    return b"\0" not in name and name.isascii() and (not name or name.decode("ascii").isprintable())


def crc32(source: Source, offset: int, length: int, start: int = 0) -> int:
    """Return the CRC-32 (as in zlib) of a stretch, continuing `start`."""
    for chunk in source.chunks(offset, length):
        start = zlib.crc32(chunk, start)
    return start


def digest(algorithm: str, source: Source, pieces: Sequence[bytes | tuple[int, int]]) -> str:
    """Return the digest of bytes and stretches (offset, length) of a source, one after another, in hexadecimal."""
    state = hashlib.new(algorithm, usedforsecurity=False)
    for piece in pieces:
        if isinstance(piece, bytes):
            state.update(piece)
        else:
            for chunk in source.chunks(*piece):
                state.update(chunk)
    return state.hexdigest()


def words(source: Source, offset: int, length: int, order: str) -> int:
    """Return the sum, modulo 2**16, of 16-bit words ("little" or "big"); an odd byte at the end counts as the first
    byte of a word.
    """
    first = second = 0
    for chunk in source.chunks(offset, length, CHUNK):  # of even length, but for the last one
        first += byte_sum(chunk[::2])
        second += byte_sum(chunk[1::2])
    low, high = (first, second) if order == "little" else (second, first)
    return (low + (high << 8)) & 0xFFFF
