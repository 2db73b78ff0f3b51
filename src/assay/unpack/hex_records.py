"""What Intel HEX and Motorola S-records have in common: lines of hexadecimal digits, each with an address and a sum.

Records whose addresses follow each other are one segment, wherever in the file they stand. A segment's locator is a
list of stretches of the file, (start, end) one after another: the data of the records in them are its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from .base import CHUNK, Claim, Entry, Format, LimitReached, Limits, Locator, Malformed, Problem, Reader, Source

Kind = Literal["data", "segment", "base", "start", "header", "count", "end", "last"]
"""`end` ends the file; so does `last`, which says where to start besides."""
Record = tuple[Kind, int, bytes]
"""Kind, address (or what else the record states as a number), data."""

LINE = 1024
"""Bytes of one line, at most; the longest record has 525."""
_TOLD = 100
"""Wrong lines that are told one by one."""
_RUNS = 1 << 16
"""Runs of records whose addresses follow each other."""


class _Run(NamedTuple):
    address: int
    size: int
    start: int
    end: int


class _Line(NamedTuple):
    number: int
    start: int
    end: int
    """Of the line end, too."""
    text: bytes


def lines(source: Source, start: int, end: int) -> Iterator[_Line]:
    """Yield the lines of a stretch; the last one is longer than `LINE` if something else than a text goes on there."""
    number, rest = 0, b""
    at = start
    while at < end:
        block = source.pread(at, min(CHUNK, end - at))
        if not block:
            break
        begin = at - len(rest)
        at += len(block)
        *whole, rest = (rest + block).split(b"\n")
        for text in whole:
            number += 1
            yield _Line(number, begin, begin + len(text) + 1, text)
            begin += len(text) + 1
        if len(rest) > LINE:
            yield _Line(number + 1, begin, at, rest)
            return
    if rest:
        yield _Line(number + 1, at - len(rest), at, rest)


class HexReader(Reader):
    """See `Reader`. Lists a segment by its address: `0x08000000.bin`.

    Args:
        format: the format that claims the source.
        source: the bytes.
        limits: limits in force.
        parse: returns the record of a line; ValueError says what is wrong with it.
    """

    def __init__(self, format: Format, source: Source, limits: Limits, parse: Callable[[bytes], Record]) -> None:
        self.format = format
        self.source = source
        self.limits = limits
        self.parse = parse
        self.detail = {}
        self._end = 0

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. A wrong line is left out of its segment, which becomes two, and told."""
        runs: list[_Run] = []
        base = wrong = records = begin = until = 0
        first = following = -1
        ended = False
        for line in lines(self.source, 0, self.source.size):
            if len(line.text) > LINE:
                yield Problem("malformed", f"line {line.number} at offset {line.start} is no text", b"", 0)
                break
            text = line.text.strip()
            if not text:
                self._end = line.end
                continue
            try:
                kind, number, data = self.parse(text)
            except ValueError as error:
                wrong += 1
                if wrong <= _TOLD:
                    yield Problem("malformed", f"line {line.number}: {error}", b"", 0)
                continue
            self._end = line.end
            if kind == "data":
                records += 1
                address = base + number
                if address != following:
                    if first >= 0:
                        runs.append(_Run(first, following - first, begin, until))
                    if len(runs) > _RUNS:
                        raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
                    first, begin = address, line.start
                following, until = address + len(data), line.end
            elif kind in ("segment", "base"):
                base = number
            elif kind == "count":
                ended = number == records  # the last record, if the file does not say where to start
                if not ended:
                    said = f"line {line.number} counts {number} records, there are {records}"
                    yield Problem("malformed", said, b"", 0)
            elif kind in ("start", "last"):
                self.detail["start"] = f"{number:#x}"
            elif kind == "header":
                self.detail["header"] = data.decode("ascii", "backslashreplace").rstrip("\0")
            if kind in ("end", "last"):
                ended = True
                break
        if first >= 0:
            runs.append(_Run(first, following - first, begin, until))
        if wrong > _TOLD:
            yield Problem("malformed", f"{wrong - _TOLD} more lines are wrong", b"", 0)
        if not ended:
            yield Problem("truncated", "the file ends without the record that ends it", b"", 0)
        self.detail["records"] = records
        yield from _segments(runs)

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`."""
        match locator:
            case [*places] if places and len(places) % 2 == 0 and all(isinstance(place, int) for place in places):
                return self._data([place for place in places if isinstance(place, int)])
        raise Malformed(f"no such entry: {locator!r}")

    def _data(self, places: list[int]) -> Iterator[bytes]:
        out = bytearray()
        for start, end in zip(places[::2], places[1::2], strict=True):
            for line in lines(self.source, start, end):
                text = line.text.strip()
                if not text:
                    continue
                try:
                    kind, _, data = self.parse(text)
                except ValueError:
                    continue
                if kind == "data":
                    out += data
                if len(out) >= CHUNK - LINE:
                    yield bytes(out)
                    out.clear()
        if out:
            yield bytes(out)

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Up to the record that ends the file, or the last one that is right."""
        return [Claim(0, self._end, "records")]


def _segments(runs: list[_Run]) -> Iterator[Entry | Problem]:
    """Yield the segments, by address: runs that follow each other are one."""
    top = -1
    pending: list[_Run] = []
    for run in sorted(runs):
        if pending and run.address == top:
            pending.append(run)
            top += run.size
            continue
        if pending:
            yield _entry(pending)
        if run.address < top:
            path = b"0x%08x.bin" % run.address
            yield Problem("overlap", f"{run.size} bytes at {run.address:#x} overlap others", path, 0)
        pending = [run]
        top = max(top, run.address + run.size)
    if pending:
        yield _entry(pending)


def _entry(runs: list[_Run]) -> Entry:
    size = sum(run.size for run in runs)
    places: list[int | bytes | str | None] = [place for run in runs for place in (run.start, run.end)]
    return Entry(b"0x%08x.bin" % runs[0].address, "regular", locator=places, size=size)


def begins(source: Source, parse: Callable[[bytes], Record]) -> bool:
    """Tell whether a source begins with a line that is a record, and one of the next is another, if there are any."""
    found = []
    for line in lines(source, 0, min(source.size, 4 * LINE)):
        try:
            parse(line.text.strip())
        except ValueError:
            found.append(False)
        else:
            found.append(True)
        if not found[0] or len(found) == 4:
            break
    return bool(found) and found[0] and (len(found) == 1 or any(found[1:]))
