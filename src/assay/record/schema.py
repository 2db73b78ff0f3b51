"""The record's tables, made from the fact families, and the words that describe them."""

from __future__ import annotations

import types
import typing
from functools import cache

from assay.facts import ContentFact, Fact, TreeFact, columns, families

from .views import VIEWS

APPLICATION_ID = 0x41534159
"""'ASAY', in the SQLite header of every record (PRAGMA application_id)."""

VERSION = 1
"""Version of the tables (PRAGMA user_version)."""

SQL_TYPES = {int: "INTEGER", bool: "INTEGER", str: "TEXT", bytes: "BLOB", float: "REAL", list: "TEXT", dict: "TEXT"}

MAYBE = ("content", "file")
"""Implied columns that may be empty: a statement about the release itself, a built-in default."""


def sql_type(kind: object) -> tuple[str, bool]:
    """Return the SQLite type of a column's Python type, and whether it may be NULL.

    Raises:
        TypeError: a type that has no column type.
    """
    nullable = False
    if isinstance(kind, types.UnionType):
        options = [k for k in typing.get_args(kind) if k is not type(None)]
        nullable = len(options) < len(typing.get_args(kind))
        if len(options) != 1:
            raise TypeError(f"no column type for {kind}")
        kind = options[0]
    base = typing.get_origin(kind) or kind
    if base not in SQL_TYPES:
        raise TypeError(f"no column type for {kind}")
    return SQL_TYPES[typing.cast(type, base)], nullable


@cache
def implied(family: type[Fact]) -> tuple[str, ...]:
    """Return the columns that a table has besides its id and the declared ones."""
    if issubclass(family, ContentFact):
        return ("content", "collector")
    if issubclass(family, TreeFact):
        return ("tree", "file", "collector")
    return ()


@cache
def ddl() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (statements that create tables and views, statements that create indices).

    Indices come apart so that a writer can make them at the end, which is faster than keeping them while filling.
    """
    tables, indices = [], []
    for name, family in families().items():
        lines = ["id INTEGER PRIMARY KEY"]
        lines += [f'"{column}" INTEGER{"" if column in MAYBE else " NOT NULL"}' for column in implied(family)]
        for column, kind, _, _ in columns(family):
            declared, nullable = sql_type(kind)
            lines.append(f'"{column}" {declared}{"" if nullable else " NOT NULL"}')
        tables.append(f'CREATE TABLE "{name}" ({", ".join(lines)})')
        wanted = [c for c in implied(family) if c in ("content", "tree")] + list(family.index)
        for group in wanted:
            parts = [part.strip() for part in group.split(",")]
            listed = ", ".join(f'"{part}"' for part in parts)
            indices.append(f'CREATE INDEX "{name}_{"_".join(parts)}" ON "{name}" ({listed})')
    tables += [f'CREATE VIEW "{name}" AS {select}' for name, (_, select) in VIEWS.items()]
    return tuple(tables), tuple(indices)


IMPLIED_TEXT = {
    "id": "the fact's number in its family",
    "content": "content that the fact is about; empty if it is about the release itself",
    "tree": "container whose tree the fact is about",
    "file": "file that proves it; empty for a built-in default",
    "collector": "who observed it",
}


def describe() -> list[dict[str, object]]:
    """Return every family with its columns, as `assay schema` and the reference page show it.

    Returns:
        One dict a family: name, about (record, content, tree, view), text, source, columns; each column a dict with
        name, type (SQLite), null (bool), unit (str or None), text.
    """
    out: list[dict[str, object]] = []
    for name, family in families().items():
        about = "content" if issubclass(family, ContentFact) else "tree" if issubclass(family, TreeFact) else "record"
        listed: list[dict[str, object]] = [
            {"name": c, "type": "INTEGER", "null": c in MAYBE, "unit": None, "text": IMPLIED_TEXT[c]}
            for c in ("id", *implied(family))
        ]
        for column, kind, text, unit in columns(family):
            declared, nullable = sql_type(kind)
            listed.append({"name": column, "type": declared, "null": nullable, "unit": unit, "text": text})
        text = " ".join((family.__doc__ or "").split())
        out.append({"name": name, "about": about, "text": text, "source": family.source, "columns": listed})
    for name, (text, select) in VIEWS.items():
        out.append({"name": name, "about": "view", "text": text, "source": " ".join(select.split()), "columns": []})
    return out
