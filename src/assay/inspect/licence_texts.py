"""Which licence of the SPDX License List a text is.

The table holds, for each licence, an even sample of the hashes of its five-word sequences: no text. The share of the
sample that is found in a content estimates the share of the licence that stands there.

Source: SPDX License List (its version is in the table's first line; published under CC0-1.0); SPDX specification 2.3
Annex B (matching: case, white space, punctuation and places to fill in do not count).
"""

from __future__ import annotations

import binascii
import re
import sys
from array import array
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, chain, count, repeat
from operator import add
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from .late import late

PATH = Path(__file__).with_name("licence_texts.tsv")
SEQUENCE = 5
SHARE = 0.8
"""Of a licence that has to stand in a text."""

SLACK = 40
"""Words that may stand in between besides: names, a comment."""
COMMON = frozenset(
    {"MIT", "ISC", "Zlib", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "X11", "BSL-1.0", "OpenSSL", "curl", "Libpng"}
)
RARE_WEIGHT = 0.8
"""Of a licence that is not among these: their names vary most, and rare ones differ from them by little."""
SHARPNESS = 12
"""How much more a full match weighs than a long one."""

_WORD = late(rb"[a-z0-9]+")


@dataclass(frozen=True)
class Known:
    """A licence of the list."""

    names: tuple[str, ...]
    """Identifiers that have this text: GPL-2.0-only and GPL-2.0-or-later have the same."""
    size: int
    """Sequences in the whole text."""
    sample: int
    """Sequences in the sample."""


class Index(NamedTuple):
    """The table."""

    licences: list[Known]
    samples: list[array[int]]
    """The sampled hashes of each licence."""
    owner: dict[int, int]
    """Every hash, and the number of the last licence that has it."""
    others: dict[int, list[int]]
    """The other licences of the hashes that several have. Lists for all would take twice as long to make."""


class Match(NamedTuple):
    """A licence found in a text."""

    expression: str
    share: float
    first: int
    """Number of the first word that stands there, from 0."""
    last: int


def words(text: bytes) -> list[bytes]:
    """Return the words of a text in lower case."""
    return _WORD.findall(text.lower())


def sequences(text: bytes) -> list[int]:
    """Return the hash of each sequence of five words of a text."""
    found = words(text)
    joined = b" ".join(found) + b" "
    starts = list(map(add, accumulate(map(len, found), initial=0), count()))
    return list(map(crc32, map(joined.__getitem__, map(slice, starts, starts[SEQUENCE:]))))


@cache
def read_table() -> bytes:
    """Return the table as it is on disk; called before a worker is confined."""
    return PATH.read_bytes()


@cache
def identifiers() -> dict[str, str]:
    """Return all identifiers of the list, by their lower-case form."""
    rows = (line.split("\t", 2)[1] for line in read_table().decode().splitlines()[1:])
    return {name.lower(): name for names in rows for name in names.split()}


@cache
def index() -> Index:
    """Return the table, put in order at the first need."""
    found = Index([], [], {}, {})
    for number, line in enumerate(read_table().decode().splitlines()[1:]):
        kept, _, size, code = line.split("\t")
        sample = array("I", binascii.a2b_base64(code))
        if sys.byteorder == "big":
            sample.byteswap()
        found.licences.append(Known(tuple(kept.split()), int(size), len(sample)))
        found.samples.append(sample)
        for value in found.owner.keys() & sample:
            found.others.setdefault(value, []).append(found.owner[value])
        found.owner.update(zip(sample, repeat(number)))
    return found


def match(text: bytes) -> list[Match]:
    """Return the licences whose text stands in a text, the surest first.

    A licence has to stand in one piece: what is scattered over half as many words again does not count. What stands
    mostly in the piece of a surer one is not told.
    """
    licences, samples, owner, others = index()
    hashes = sequences(text)
    there = owner.keys() & hashes
    shared = chain.from_iterable(map(others.__getitem__, others.keys() & there))
    counts = Counter(chain(map(owner.__getitem__, there), shared))
    likely = [number for number, count in counts.items() if count >= SHARE * licences[number].sample]
    if not likely:
        return []
    seen = [(at, value) for at, value in enumerate(hashes) if value in there]
    pieces = []
    for number in likely:
        licence, sample = licences[number], frozenset(samples[number])
        piece = _densest([place for place in seen if place[1] in sample], licence.size + licence.size // 2 + SLACK)
        share = len({value for _, value in piece}) / licence.sample
        if share >= SHARE:
            weight = share**SHARPNESS * licence.size * (RARE_WEIGHT if COMMON.isdisjoint(licence.names) else 1)
            pieces.append((-weight, number, share, piece))
    taken = bytearray(len(text) // 2 + SEQUENCE)  # by number of word
    matches = []
    for _, number, share, piece in sorted(pieces):
        if 2 * sum(taken[at] for at, _ in piece) < len(piece):
            first, last = piece[0][0], piece[-1][0] + 1
            taken[first:last] = b"\1" * (last - first)
            matches.append(Match(" OR ".join(licences[number].names), round(share, 2), first, last + SEQUENCE - 2))
    return matches


def _densest(places: list[tuple[int, int]], span: int) -> list[tuple[int, int]]:
    """Return the places in the stretch of so many words that holds most different hashes."""
    counts: dict[int, int] = {}
    best = first = start = end = 0
    for last, (at, value) in enumerate(places):
        counts[value] = counts.get(value, 0) + 1
        while places[first][0] < at - span:
            gone = places[first][1]
            counts[gone] -= 1
            if not counts[gone]:
                del counts[gone]
            first += 1
        if len(counts) > best:
            best, start, end = len(counts), first, last + 1
    return places[start:end]


def places(text: bytes) -> list[tuple[int, int]]:
    """Return where each word of a text begins and ends."""
    return list(map(re.Match.span, _WORD.finditer(text.lower())))
