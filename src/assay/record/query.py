"""Reading a record with SQL, safely: read-only, without attaching, within a time limit."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .store import BROKEN, Record, RecordError

READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
"""What a query may do. Everything else (writing, attaching, pragmas, extensions) is refused by SQLite's authorizer."""

SAFE_PRAGMAS = {"table_info", "table_xinfo", "table_list", "index_list"}


class QueryError(Exception):
    """A query that could not be run; the message is SQLite's own, in one line."""


Guard = Callable[[int, str | None, str | None], bool]
"""Asked for every action (code, first argument, second argument); returns False to refuse it."""


def reader(path: Path, guard: Guard | None = None, seconds: float | None = None) -> sqlite3.Connection:
    """Open a record for reading by SQL that is not ours.

    Args:
        path: the record.
        guard: an additional refusal, such as of reading a table.
        seconds: time after which a running query is stopped; None for no limit.

    Returns:
        A connection on which only reading is possible.

    Raises:
        RecordError: not a record, or a damaged one.
    """
    connection = Record(path).db

    def authorize(action: int, first: str | None, second: str | None, _db: str | None, _by: str | None) -> int:
        allowed = action in READING or (action == sqlite3.SQLITE_PRAGMA and first in SAFE_PRAGMAS)
        if action == sqlite3.SQLITE_FUNCTION and second in ("load_extension", "readfile", "writefile", "edit"):
            allowed = False
        if allowed and guard is not None:
            allowed = guard(action, first, second)
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    try:
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA query_only = ON")
        # SQLite declares these by what the authorizer would take for writing, once a connection, when first used.
        connection.execute("SELECT 1 FROM json_each('[]') UNION ALL SELECT 1 FROM json_tree('[]')").close()
    except BROKEN as error:
        connection.close()
        raise RecordError(f"{path}: is damaged: {error}") from error
    connection.set_authorizer(authorize)
    if seconds is not None:
        deadline = time.monotonic() + seconds
        connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 100_000)
    return connection


def query(path: Path, sql: str, seconds: float | None = None) -> tuple[list[str], Iterator[tuple[object, ...]]]:
    """Run one SELECT on a record.

    Args:
        path: the record.
        sql: the query.
        seconds: time limit.

    Returns:
        Column names, and the rows as an iterator.

    Raises:
        RecordError: not a record.
        QueryError: not a query that may run, or SQLite's own complaint about it.
    """
    connection = reader(path, seconds=seconds)
    try:
        cursor = connection.execute(sql)
    except (*BROKEN, sqlite3.Warning) as error:
        connection.close()
        raise QueryError(_plain(error)) from error
    if cursor.description is None:
        connection.close()
        raise QueryError("the statement returns no rows; only SELECT is possible on a record")
    return [column[0] for column in cursor.description], _rows(connection, cursor)


def _rows(connection: sqlite3.Connection, cursor: sqlite3.Cursor) -> Iterator[tuple[object, ...]]:
    with contextlib.closing(connection):
        try:
            yield from cursor
        except BROKEN as error:
            raise QueryError(_plain(error)) from error


def _plain(error: Exception) -> str:
    text = str(error)
    if text in ("not authorized", "authorization denied", "attempt to write a readonly database"):
        return "only reading is possible on a record (SELECT)"
    if text == "interrupted":
        return "stopped at the time limit"
    return text


__all__ = ["QueryError", "RecordError", "query", "reader"]
