"""Which bytes of a source are explained, which are padding, and which nobody can say anything about."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from assay.unpack.base import CHUNK, Claim, Source

from .protocol import Stretch

SAMPLE = 1 << 20
"""Bytes of a gap from which its entropy is computed: pieces spread evenly over it."""

MOST = 4_000
"""Stretches kept one by one; beyond, touching ones of any part become one."""


def cover(source: Source, claims: Iterable[Claim], format: str) -> list[Stretch]:
    """Return the whole source as stretches in order: what claims explain, and the gaps between them.

    Args:
        source: the bytes.
        claims: what the format explains, in any order, overlapping or not.
        format: the format's name.
    """
    out: list[Stretch] = []
    at = 0
    for claim in sorted(claims, key=lambda c: (c.offset, -c.length)):
        start, end = max(claim.offset, at), min(claim.offset + claim.length, source.size)
        if end <= start:
            continue
        if start > at:
            out.append(gap(source, at, start - at))
        kind, by = ("padding", claim.what) if claim.padding else ("explained", f"{format}: {claim.what}")
        last = out[-1] if out else None
        if last is not None and last.kind == kind and (last.by == by or (kind == "explained" and len(out) > MOST)):
            last.length += end - start
        else:
            out.append(Stretch(start, end - start, kind, by))
        at = end
    if at < source.size:
        out.append(gap(source, at, source.size - at))
    return out


def gap(source: Source, offset: int, length: int) -> Stretch:
    """Return what a stretch is that no format explains: padding of one repeated byte, or unknown with its entropy."""
    first = source.pread(offset, 1)
    parts = source.filled(offset, length) if first == b"\0" else iter([(offset, length)])
    if first in (b"\0", b"\xff") and all(
        chunk.count(first) == len(chunk) for at, size in parts for chunk in source.chunks(at, size, CHUNK)
    ):
        return Stretch(offset, length, "padding", f"0x{first[0]:02x}")
    return Stretch(offset, length, "unknown", "", entropy(source, offset, length))


def entropy(source: Source, offset: int, length: int) -> float:
    """Return the Shannon entropy of a stretch, in bits per byte, from an even sample of at most 1 MiB."""
    counts: Counter[int] = Counter()
    if length <= SAMPLE:
        counts.update(source.pread(offset, length))
    else:
        piece, pieces = 16_384, SAMPLE // 16_384
        step = (length - piece) // (pieces - 1)
        for i in range(pieces):
            counts.update(source.pread(offset + i * step, piece))
    total = counts.total()
    if not total:
        return 0.0
    return round(-sum(n / total * math.log2(n / total) for n in counts.values()), 3)
