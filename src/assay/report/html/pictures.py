"""What the page's pictures show, as plain numbers: the template draws them."""

from __future__ import annotations

from dataclasses import dataclass, field
from sqlite3 import Connection

from assay.report.base import quantity, shortened
from assay.report.summary import Summary

BINS = 720
"""Steps of a byte map from its left end to its right end."""
HUES = 6
NESTED = 8
"""Containers whose own map is drawn, the largest."""
UNKNOWN = 8
"""Unknown stretches listed below a map, the longest."""


@dataclass
class Stretch:
    """A part of a byte map in one colour."""

    x: int
    width: int
    style: str
    tip: str


@dataclass
class ByteMap:
    """The bytes of an artefact or container from first to last."""

    title: str
    size: int
    stretches: list[Stretch] = field(default_factory=list)
    legend: list[tuple[str, str, int]] = field(default_factory=list)
    """(style, label, bytes), the most bytes at the front."""
    unknown: list[tuple[int, int, float | None]] = field(default_factory=list)
    """(offset, length, entropy) of the longest unknown stretches."""


def byte_maps(db: Connection, summary: Summary) -> list[ByteMap]:
    """Return the map of every artefact (the first hundred), then of the largest containers that have regions."""
    maps = [
        byte_map(
            db,
            artefact.name or f"artefact {artefact.id}",
            artefact.size,
            "container IS NULL AND artefact = ?",
            artefact.id,
        )
        for artefact in summary.artefacts[:100]
        if artefact.size
    ]
    nested = db.execute(
        f"""SELECT c.id, c.path, c.size FROM container AS c
             WHERE c.size > 0 AND c.parent IS NOT NULL AND c."offset" IS NULL AND c.id IN (SELECT container FROM region)
             ORDER BY c.size DESC, c.id LIMIT {NESTED}"""  # noqa: S608
    ).fetchall()
    maps += [byte_map(db, path, size, "container = ?", number) for number, path, size in nested]
    return [drawn for drawn in maps if drawn.stretches]


def byte_map(db: Connection, title: str, size: int, where: str, number: int) -> ByteMap:
    """Return one map. Each step shows what most of its bytes are, so the work is bounded by regions and steps.

    Args:
        db: the record.
        title: what the map is of.
        size: its length in bytes.
        where: SQL condition that selects its regions.
        number: the condition's parameter.
    """
    out = ByteMap(shortened(title, 160), size)
    best: list[tuple[float, str, str]] = [(0.0, "", "")] * BINS
    totals: dict[tuple[str, str], int] = {}
    step = size / BINS
    for offset, length, kind, by in db.execute(
        f'SELECT "offset", length, kind, "by" FROM accounted WHERE {where} ORDER BY "offset"',  # noqa: S608
        (number,),
    ):
        named = by.removeprefix("carved: ").split(maxsplit=1)
        label = (named or ["explained"])[0].rstrip(":") if kind == "explained" else kind
        start, end = max(0, offset), min(size, offset + length)
        if start >= end:
            continue
        totals[kind, label] = totals.get((kind, label), 0) + end - start
        for i in range(int(start / step), min(BINS, int((end - 1) / step) + 1)):
            covered = min(end, (i + 1) * step) - max(start, i * step)
            if covered > best[i][0]:
                best[i] = (covered, kind, label)
    styles: dict[tuple[str, str], str] = {}
    for key, count in sorted(totals.items(), key=lambda item: -item[1]):
        kind, label = key
        hue = sum(style.startswith("hue") for style in styles.values())
        styles[key] = f"hue{min(hue, HUES - 1)}" if kind == "explained" else kind if kind == "padding" else "unknown"
        if len(out.legend) < 12:
            out.legend.append((styles[key], shortened(label, 40), count))
    first = 0
    for i in range(1, BINS + 1):
        if i < BINS and best[i][1:] == best[first][1:]:
            continue
        _, kind, label = best[first]
        if kind:
            start = int(first * step)
            length = quantity(int((i - first) * step))
            tip = f"{shortened(label, 40)}: {length} from offset {start:,} (0x{start:x})"
            out.stretches.append(Stretch(first, i - first, styles[kind, label], tip))
        first = i
    out.unknown = db.execute(
        f"""SELECT "offset", length, entropy FROM accounted WHERE {where} AND kind = 'unknown'
             ORDER BY length DESC, "offset" LIMIT {UNKNOWN}""",  # noqa: S608
        (number,),
    ).fetchall()
    return out
