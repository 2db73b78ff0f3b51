"""One pass over a content for the expressions of all inspectors.

Hyperscan finds them all at once, at about the speed of reading memory; what each hit means is its inspector's affair.

Reference: Hyperscan developer's guide, "Compiling Patterns", "Scanning for Patterns", "Serialization".
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import hyperscan

from . import inspectors
from .base import NO_HITS, Buffer, ContentInspector, Expression, Hits

MAX_HITS = 50_000
"""Hits of one inspector in one content."""
BLOCK = 32 << 20
"""Bytes scanned at once; the engine counts in 32 bits."""
OVERLAP = 1 << 14
"""No expression matches more bytes than this."""


class Scanner:
    """Looks for the expressions of some inspectors.

    Args:
        expressions: of each inspector, by its key.
        folder: where a compiled database may be kept; None to compile it here and now.
    """

    def __init__(self, expressions: Mapping[str, Sequence[Expression]], folder: Path | None = None) -> None:
        self.expressions = expressions
        self.keys = list(expressions)
        self.owner = [(at, n) for at, key in enumerate(self.keys) for n in range(len(expressions[key]))]
        flat = tuple(expression for key in self.keys for expression in expressions[key])
        self.database = _database(flat, folder) if flat else None

    def scan(self, data: Buffer) -> dict[str, Hits]:
        """Return the hits of each inspector that has any; one that has too many gets the first ones."""
        if self.database is None:
            return {}
        found: list[list[tuple[int, int]]] = [[] for _ in self.keys]
        owner = self.owner
        base = skip = 0

        def note(number: int, _start: int, end: int, _flags: int, _context: object) -> bool | None:
            if end <= skip:
                return None  # the block before has shown it
            at, own = owner[number]
            places = found[at]
            places.append((base + end, own))
            return len(places) > MAX_HITS or None

        size = len(data)
        with memoryview(data) as view:
            while True:
                before = [len(places) for places in found]
                block = view if size <= BLOCK else view[base : base + BLOCK]
                try:
                    self.database.scan(block, match_event_handler=note)  # type: ignore[type-var]  # any buffer
                except hyperscan.ScanTerminated:
                    # One of them has had enough. The others go on without it, from this block on.
                    full = next(at for at, places in enumerate(found) if len(places) > MAX_HITS)
                    hits = {self.keys[full]: Hits(found[full][:MAX_HITS], cut=True)}
                    rest = _without(self, self.keys[full]).scan_from(view, base, skip)
                    for at, key in enumerate(self.keys):
                        more = rest.get(key, NO_HITS)
                        places = found[at][: before[at]] + more.places
                        if at != full and places:
                            hits[key] = Hits(places[:MAX_HITS], more.cut or len(places) > MAX_HITS)
                    return hits
                if base + BLOCK >= size:
                    return {key: Hits(places) for key, places in zip(self.keys, found, strict=True) if places}
                if isinstance(data, mmap.mmap):  # a mapped file must not fill the memory: it can be read again
                    data.madvise(mmap.MADV_DONTNEED, base, BLOCK - OVERLAP)
                base += BLOCK - OVERLAP
                skip = OVERLAP

    def scan_from(self, view: memoryview, base: int, skip: int) -> dict[str, Hits]:
        """Return the hits that end behind `base + skip`, for data from `base` on."""
        return {
            key: Hits([(base + end, own) for end, own in hits.places if end > skip], hits.cut)
            for key, hits in self.scan(view[base:]).items()
        }


def _without(scanner: Scanner, key: str) -> Scanner:
    return _some(scanner, frozenset(scanner.keys) - {key})


@cache
def _some(scanner: Scanner, keys: frozenset[str]) -> Scanner:
    return Scanner({key: expressions for key, expressions in scanner.expressions.items() if key in keys})


@cache
def _database(expressions: tuple[Expression, ...], folder: Path | None) -> hyperscan.Database:
    """Return the compiled expressions: kept from an earlier run, or compiled now and kept."""
    patterns = [expression.pattern for expression in expressions]
    flags = [
        hyperscan.HS_FLAG_DOTALL | (hyperscan.HS_FLAG_CASELESS if expression.caseless else 0)
        for expression in expressions
    ]
    kept = None
    if folder is not None:
        # The engine checks the checksum, its own version and the processor's features of what it loads.
        digest = hashlib.sha256(repr((patterns, flags)).encode()).hexdigest()
        kept = folder / f"expressions-{digest[:16]}.hyperscan"
        with contextlib.suppress(OSError, hyperscan.HyperscanError):
            database = hyperscan.loadb(kept.read_bytes(), hyperscan.HS_MODE_BLOCK)
            database.scratch = hyperscan.Scratch(database)
            return database
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(expressions=patterns, ids=list(range(len(patterns))), flags=flags)
    if kept is not None:
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = kept.with_suffix(f".{os.getpid()}")
            partial.write_bytes(hyperscan.dumpb(database))
            partial.replace(kept)
    return database


def hits(inspector: ContentInspector, data: Buffer) -> Hits:
    """Return where the expressions of one inspector are found."""
    return _alone(inspector.expressions).scan(data).get("", NO_HITS)


@cache
def _alone(expressions: tuple[Expression, ...]) -> Scanner:
    return Scanner({"": expressions})


_scanners: dict[bool, Scanner] = {}


def prepare(folder: Path | None) -> None:
    """Compile the expressions of all inspectors, before workers are forked and confined.

    Args:
        folder: where compiled expressions are kept for the next run; None for nowhere.
    """
    contents = inspectors()[0].values()
    for text in (True, False):
        _scanners[text] = Scanner(
            {
                f"{i.name}@{i.version}": i.expressions
                for i in contents
                if i.expressions and not (i.binary_only if text else i.text_only)
            },
            folder,
        )


def scan(data: Buffer, kind: str) -> dict[str, Hits]:
    """Return the hits in a content, by inspector (name@version); `prepare` has been called before."""
    return _scanners[kind in ("text", "script")].scan(data)
