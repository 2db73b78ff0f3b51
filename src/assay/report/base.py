"""What every report has in common: one format of the same judged record.

A report is one module (or package) in `assay.report` that defines `REPORT`; nothing else is edited. It reads the record
and nothing besides, streams, and treats every text in it as data from a hostile image.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import msgspec

from assay.record import Record

SEVERITIES = ("critical", "high", "medium", "low", "info")
VERDICTS = ("fail", "undetermined", "pass", "not-applicable")
CLASSES = {
    "S": (
        "static image",
        "what was not seen here: what is listed as unread, or a root file system if there is none",
    ),
    "C": ("configuration", "the configuration of the unit as deployed, exported"),
    "L": ("live unit", "a running unit to test against"),
    "D": ("statement", "a statement or documentation from whoever supplies it"),
    "P": ("capture", "a capture of the traffic of a running unit"),
}
"""Evidence classes: letter to (name, what provides it)."""


@dataclass(frozen=True)
class Report:
    """One format."""

    name: str
    """As given to `render`: html, sarif, ..."""
    title: str
    """One line for lists of formats."""
    suffix: str
    """File suffix with its dot."""
    write: Callable[[Path, TextIO], None]
    """Writes the report on a record (path) to a text stream. Raises `RecordError` if it is not a record."""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a record for a report: read-only, one consistent state, with what reports select from.

    Text that is not UTF-8 (a record that another tool has written to) comes with backslash escapes. The temporary table
    `current` has the newest verdict of each rule: columns verdict, rule, rank (of severity, 0 is the worst).

    Raises:
        RecordError: not a record.
    """
    with Record(path) as record:
        db = record.db
        db.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("BEGIN")
        db.execute(
            """CREATE TEMP TABLE current (verdict INTEGER PRIMARY KEY, rule INTEGER, rank INTEGER)""",
        )
        db.execute(
            """INSERT INTO current
               SELECT max(v.id), v.rule, CASE r.severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2
                                                         WHEN 'low' THEN 3 ELSE 4 END
                 FROM verdict AS v JOIN rule AS r ON r.id = v.rule GROUP BY r.name"""
        )
        yield db


def loads(text: str | None, default: Any) -> Any:  # noqa: ANN401 - whatever JSON the column holds
    """Return a JSON column's value, or the default if it is empty or not JSON of the default's type."""
    try:
        value = msgspec.json.decode(text or "null")
    except msgspec.DecodeError:
        return default
    return value if isinstance(value, type(default)) else default


def dumps(value: object) -> str:
    """Return a value as compact JSON; bytes become base64."""
    return msgspec.json.encode(value).decode()


def utc(text: str | None) -> str | None:
    """Return an ISO 8601 time in UTC as RFC 3339 with a Z, or None if the text is no such time."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat().removesuffix("+00:00") + "Z"


def place(path: str, line: int | None, offset: int | None) -> str:
    """Return a place as text: the path, then the line, or else the offset."""
    if line is not None:
        return f"{path}:{line}"
    return path if offset is None else f"{path} at offset {offset:#x}"


def visible(text: str) -> str:
    r"""Return a text with everything that a screen would not show as itself made visible.

    Control characters (so also terminal escapes and newlines), bidirectional overrides, zero-width and other format
    characters, unassigned and private ones become \xNN, \uNNNN or \UNNNNNNNN.
    """
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else _escape(ord(c)) for c in text])


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(text: str, limit: int) -> str:
    """Return a text made visible, and if longer than `limit` characters, without its middle (which says so)."""
    if len(text) <= limit:
        return visible(text)
    tail = limit * 2 // 3
    return f"{visible(text[: limit - tail])}…[{len(text) - limit} characters]…{visible(text[-tail:])}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it has to be: '1 file', '12,345 files'."""
    plural = noun[:-1] + "ies" if noun.endswith("ry") else noun + ("es" if noun.endswith("ch") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def quantity(size: int | None) -> str:
    """Return a number of bytes for people: '12,345 B', '11.8 MiB'."""
    if size is None:
        return "–"
    if size < 1 << 14:
        return f"{size:,} B"
    value, unit = float(size), "B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):  # noqa: B007 - the last unit is the one that fits
        value /= 1024
        if value < 1000:
            break
    return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"


__all__ = [
    "CLASSES",
    "SEVERITIES",
    "VERDICTS",
    "Report",
    "counted",
    "dumps",
    "loads",
    "opened",
    "place",
    "quantity",
    "shortened",
    "utc",
    "visible",
]
