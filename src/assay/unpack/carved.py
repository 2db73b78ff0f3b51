"""Bytes that no format explains as a whole: what is found in them, at any offset.

One pass looks for the magics of all formats at once; what it finds is tried in order of offset, and stands if the
format's reader opens it, lists it and says how far it goes. The first one to begin wins, and of two that begin at the
same byte the one of higher priority; what lies inside it is its own affair. What is left is padding where it is erased
or never written, and otherwise an entry of its own, so that inspectors see those bytes, too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import hyperscan

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
    Source,
    UnpackError,
)

SMALLEST = 16
"""Bytes of a remainder below which it is no entry of its own."""
ERASED = 64 << 10
"""Bytes of padding that part what is around them: an erase block."""
PIECES = 4_096
"""Remainders that become entries; what is left of them stays an unknown region."""
TRIES = 50_000
"""Places at which formats are tried."""
ALIGNED = 512
"""A magic of two bytes counts only at multiples of this: at any offset it is chance."""
DECODED = 4_096
"""Bytes that must come out of a stream that breaks off later: chance does not decode so far."""
_BLOCK = 8 << 20
_ERASED = re.compile(rb"\x00{1024,}|\xff{1024,}")


class Piece(NamedTuple):
    """A part of the bytes: a container, padding, or a remainder."""

    offset: int
    length: int
    what: str
    """Name of the format; for padding the byte, as 0xff; for a remainder empty."""
    padding: bool = False


class Carved(Reader):
    """What is found in bytes that no format explains.

    Args:
        source: the bytes.
        limits: limits for the readers that are tried.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.detail = {}
        self._claims: list[Claim] = []
        self._program = source.pread(0, 4) == b"\x7fELF"  # inspectors see a program whole, so its rest is no entry

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`; each is named by its offset, and by its format if it has one."""
        self._claims = []
        rest = 0
        for piece in pieces(self.source, self.limits):
            if isinstance(piece, Problem):
                yield piece
                continue
            if piece.what:
                self._claims.append(Claim(piece.offset, piece.length, piece.what, piece.padding))
            if piece.padding:
                continue
            if not piece.what:
                rest += 1
                if piece.length < SMALLEST or rest > PIECES or self._program:
                    continue
            name = f"{piece.offset:#010x}.{piece.what or 'bin'}"
            yield Entry(name.encode(), "regular", [piece.offset, piece.length], piece.length)

    def _part(self, locator: Locator) -> tuple[int, int]:
        match locator:
            case [int(offset), int(length)]:
                return offset, length
        raise Malformed("no part of these bytes")

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`."""
        return self.source.chunks(*self._part(locator))

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        return self._part(locator)

    def claims(self) -> list[Claim]:
        """See `Reader.claims`; remainders are not explained."""
        return self._claims


def holds_something(source: Source, limits: Limits) -> bool:
    """Tell whether a container is found in bytes that no format claims as a whole."""
    return any(not isinstance(piece, Problem) and piece.what and not piece.padding for piece in found(source, limits))


def pieces(source: Source, limits: Limits) -> Iterator[Piece | Problem]:
    """Yield all parts of the bytes, in order, without gaps; a problem where looking had to end."""
    at = 0
    for piece in found(source, limits):
        if isinstance(piece, Problem):
            yield piece
            continue
        yield from remainder(source, at, piece.offset)
        yield piece
        at = piece.offset + piece.length
    yield from remainder(source, at, source.size)


def found(source: Source, limits: Limits) -> Iterator[Piece | Problem]:
    """Yield the containers in the bytes, in order of offset; they do not overlap."""
    at = tries = offset = 0
    began = time.process_time()
    try:
        for offset, format in places(source):
            if offset < at:
                continue
            tries += 1
            if tries > TRIES:
                raise LimitReached("tries", TRIES)
            if time.process_time() - began > limits.cpu_seconds / 2:  # what was found by then is not to be lost
                raise LimitReached("cpu_seconds", limits.cpu_seconds / 2)
            length = extent(format, source.window(offset, source.size - offset), limits)
            if length:
                yield Piece(offset, length, format.name)
                at = offset + length
    except LimitReached as error:
        detail = f"looked no further than offset {max(at, offset)} for containers: too much there looks like one"
        yield Problem("limit", detail, entries=0, limit=f"{error.name}={error.value:g}")


def places(source: Source) -> Iterator[tuple[int, Format]]:
    """Yield where formats may begin, in order of offset; at one offset, the format to be tried first comes first.

    Raises:
        LimitReached: too many in one block.
    """
    database, owners, longest = _magics()
    early = max(position for _, position, _ in owners)
    waiting: set[tuple[int, int]] = set()  # (offset, rank): a magic may lie far behind the beginning that it tells of
    by_rank = _ranked()
    for at, block in _blocks(source, longest - 1):
        for number, end in _hits(database, block):
            format, position, length = owners[number]
            start = at + end - length - position
            if end - length >= _BLOCK:
                continue  # the next block has it
            if start >= 0 and (length > 2 or start % ALIGNED == 0) and source.size - start >= format.smallest:
                waiting.add((start, by_rank[format.name]))
        ready = sorted(place for place in waiting if place[0] < at + _BLOCK - early)
        waiting.difference_update(ready)
        for start, rank in ready:
            yield start, _formats()[rank]
    for start, rank in sorted(waiting):
        yield start, _formats()[rank]


def _blocks(source: Source, more: int) -> Iterator[tuple[int, bytes]]:
    """Yield what is no hole in blocks of `_BLOCK` bytes, each with the first `more` bytes of what follows."""
    for offset, length in source.filled(0, source.size):
        for at in range(offset, offset + length, _BLOCK):
            yield at, source.pread(at, min(_BLOCK, offset + length - at) + more)


def _hits(database: hyperscan.Database, block: bytes) -> list[tuple[int, int]]:
    hits: list[tuple[int, int]] = []

    def note(number: int, _start: int, end: int, _flags: int, _context: object) -> bool | None:
        hits.append((number, end))
        return len(hits) > 4 * TRIES or None

    try:
        database.scan(block, match_event_handler=note)
    except hyperscan.ScanTerminated as error:
        raise LimitReached("places", 4 * TRIES) from error
    return hits


def extent(format: Format, source: Source, limits: Limits) -> int | None:
    """Return how many bytes from the beginning of the source are a container of a format; None if it is none.

    A container that breaks off counts if something of it could be listed, a stream if `DECODED` bytes came out.
    """
    out = 0
    try:
        if format.end is not None:
            end = format.end(source)
            if end is None:
                return None
            source = source.window(0, end)
        reader = format.open(source, limits)
        for entry in reader.entries():
            if format.stream and isinstance(entry, Entry) and entry.locator is not None:
                for chunk in reader.open(entry.locator):
                    out += len(chunk)
            elif isinstance(entry, Entry):
                out += 1
        if not out:
            return None  # no more than a magic
        claims = reader.claims()
    except NotThisFormat:
        return None
    except LimitReached:
        return None
    except UnpackError:
        if out < (DECODED if format.stream else 1):
            return None
        claims = reader.claims()
        if format.stream and max((claim.offset + claim.length for claim in claims), default=0) < source.size:
            return None  # it does not break off, something in it is wrong: where it ends cannot be said
    except (ValueError, IndexError, KeyError, ArithmeticError, TypeError, AttributeError):  # a reader's own mistake
        return None
    ends = [claim.offset + claim.length for claim in claims]
    return min(source.size, max([*ends, reader.length or 0])) or None


def remainder(source: Source, start: int, end: int) -> Iterator[Piece]:
    """Yield a part that no container explains: stretches of one repeated byte as padding, and what is between them.

    Between two stretches of other bytes, padding counts from `ERASED` bytes on: programs and tables hold shorter ones.
    """
    kept: list[Piece] = []
    for piece in _runs(source, start, end):
        last = kept[-1] if kept else None
        if last is not None and (last.what, last.padding) == (piece.what, piece.padding):
            kept[-1] = last._replace(length=last.length + piece.length)
        elif len(kept) == 2 and kept[1].padding and kept[1].length < ERASED and not kept[0].padding:
            if piece.padding:
                kept.append(piece)
            else:
                kept = [kept[0]._replace(length=kept[0].length + kept[1].length + piece.length)]
        else:
            kept.append(piece)
        while len(kept) > 2 or (len(kept) == 2 and (kept[0].padding or kept[1].length >= ERASED)):
            yield kept.pop(0)
    yield from kept


def _runs(source: Source, start: int, end: int) -> Iterator[Piece]:
    at = start
    for offset, length in source.filled(start, end - start):
        if offset > at:
            yield Piece(at, offset - at, "0x00", padding=True)
        at = offset
        for chunk in source.chunks(offset, length, CHUNK):
            before = 0
            runs = [(0, len(chunk))] if _is_run(chunk) else [match.span() for match in _ERASED.finditer(chunk)]
            for first, behind in runs:
                if first > before:
                    yield Piece(at + before, first - before, "")
                yield Piece(at + first, behind - first, f"{chunk[first]:#04x}", padding=True)
                before = behind
            if before < len(chunk):
                yield Piece(at + before, len(chunk) - before, "")
            at += len(chunk)
    if at < end:
        yield Piece(at, end - at, "0x00", padding=True)


def _is_run(chunk: bytes) -> bool:
    return chunk[0] in b"\x00\xff" and chunk.count(chunk[:1]) == len(chunk)


@cache
def _formats() -> list[Format]:
    from . import formats

    return [format for format in formats().values() if format.anywhere and format.magics]


@cache
def _ranked() -> dict[str, int]:
    return {format.name: rank for rank, format in enumerate(_formats())}


@cache
def _magics() -> tuple[hyperscan.Database, list[tuple[Format, int, int]], int]:
    """Return the database of all magics; for each the format, its offset and length; and the length of the longest."""
    owners = [(format, offset, magic) for format in _formats() for offset, magic in format.magics]
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[b"".join(b"\\x%02x" % byte for byte in magic) for _, _, magic in owners],
        ids=list(range(len(owners))),
        flags=[hyperscan.HS_FLAG_DOTALL] * len(owners),
    )
    found = [(format, offset, len(magic)) for format, offset, magic in owners]
    return database, found, max(length for _, _, length in found)


def _open(source: Source, limits: Limits) -> Reader:
    return Carved(source, limits)


FORMAT = Format(
    name="carved",
    title="bytes that no format explains as a whole, searched for containers at any offset",
    open=_open,
    magics=(),
    limitations=(
        "formats whose magic is too weak are looked for only where a file begins (their pages say which)",
        "a container whose own header is damaged is not found",
        "a compressed stream that breaks off counts to the end of the bytes that it stands in",
    ),
)
