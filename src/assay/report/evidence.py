"""Findings with the facts behind them, streamed out of a record."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from assay.facts import columns, families
from assay.record.schema import implied, sql_type

from .base import loads

FINDINGS = """
    SELECT f.id, c.rule, f.message, f.path, f.line, f."offset", f.tree, f.file, e.family, e.fact
      FROM finding AS f JOIN current AS c ON c.verdict = f.verdict LEFT JOIN evidence AS e ON e.finding = f.id
     ORDER BY f.id, e.id"""


@cache
def fields(family: str) -> tuple[str, ...]:
    """Return the columns of a family's table, as `fact` yields them.

    Raises:
        KeyError: there is no such family.
    """
    declared = families()[family]
    return ("id", *implied(declared), *(name for name, _, _, _ in columns(declared)))


@cache
def _decoders(family: str) -> tuple[tuple[int, Any], ...]:
    declared = families()[family]
    start = 1 + len(implied(declared))
    found: list[tuple[int, Any]] = []
    for i, (_, kind, _, _) in enumerate(columns(declared), start):
        if "bool" in str(kind):
            found.append((i, None))
        elif sql_type(kind)[0] == "TEXT" and ("list" in str(kind) or "dict" in str(kind)):
            found.append((i, [] if "list" in str(kind) else {}))
    return tuple(found)


def decoded(family: str, row: tuple[Any, ...]) -> list[Any]:
    """Return a row of a family's table with JSON columns as lists or dicts and truth values as bool."""
    values = list(row)
    for i, default in _decoders(family):
        if values[i] is not None:
            values[i] = bool(values[i]) if default is None else loads(values[i], default)
    return values


@cache
def selection(family: str) -> str:
    """Return the SELECT of all of a family's columns.

    Raises:
        KeyError: there is no such family.
    """
    listed = ", ".join(f'"{name}"' for name in fields(family))
    return f'SELECT {listed} FROM "{family}"'  # noqa: S608 - names come from the classes


def fact(db: sqlite3.Connection, family: str, number: int) -> dict[str, Any] | None:
    """Return a fact with all its columns by name, or None if the record has no such fact or family."""
    if family not in families():
        return None
    row = db.execute(f"{selection(family)} WHERE id = ?", (number,)).fetchone()
    return None if row is None else dict(zip(fields(family), decoded(family, row), strict=True))


def findings(db: sqlite3.Connection) -> Iterator[tuple[tuple[Any, ...], list[tuple[str, int]]]]:
    """Yield the findings of the newest verdicts, in the order of their ids.

    Yields:
        (id, rule, message, path, line, offset, tree, file) and the (family, id) pairs of the facts behind it.
    """
    for _, rows in groupby(db.execute(FINDINGS), itemgetter(0)):
        facts: list[tuple[str, int]] = []
        first: tuple[Any, ...] = ()
        for row in rows:
            first = first or row[:8]
            if row[8] is not None:
                facts.append((row[8], row[9]))
        yield first, facts
