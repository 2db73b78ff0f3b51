"""A record: one SQLite file with all facts on one release.

One process writes; any number read. Rows are numbered by the writer, so that facts can refer to each other before they
reach the disk, and are flushed in batches inside one transaction each: a killed run leaves a consistent prefix.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import compress, repeat
from operator import is_not
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from assay.facts import Fact, columns

from .schema import APPLICATION_ID, VERSION, ddl, implied

F = TypeVar("F", bound=Fact)


def now() -> str:
    """Return the time as records hold it: ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite says of a damaged file; its message may quote bytes from it, which Python then cannot decode."""


class RecordError(Exception):
    """A record that cannot be opened, written or read; the message says which and what to do."""


@cache
def _to_row(family: type[Fact]) -> Callable[[Fact], tuple[Any, ...]]:
    """Return the function that turns a fact into its declared columns, as SQLite takes them."""
    declared = columns(family)
    as_json = [i for i, (_, kind, _, _) in enumerate(declared) if _is_json(kind)]
    as_int = [i for i, (_, kind, _, _) in enumerate(declared) if "bool" in str(kind)]
    encode = msgspec.json.encode

    def row(fact: Fact) -> tuple[Any, ...]:
        values = list(msgspec.structs.astuple(fact))
        for i in as_json:
            values[i] = encode(values[i]).decode()
        for i in as_int:
            if values[i] is not None:
                values[i] = int(values[i])
        return tuple(values)

    return row if as_json or as_int else msgspec.structs.astuple


@cache
def _insert(family: type[Fact], present: tuple[bool, ...]) -> str:
    """Return the INSERT statement for rows whose columns are present (not NULL) as given.

    The sqlite3 module is slow to bind None (it looks for an adapter each time): rows are grouped by which columns they
    have, and the others are left out of the statement. Five times faster on rows of `file`.
    """
    names = ["id", *implied(family), *(name for name, _, _, _ in columns(family))]
    used = [f'"{name}"' for name, there in zip(names, present, strict=True) if there]
    return f'INSERT INTO "{family.table()}" ({", ".join(used)}) VALUES ({",".join("?" * len(used))})'  # noqa: S608


def _is_json(kind: object) -> bool:
    return "list[" in str(kind) or "dict[" in str(kind)


def select(family: type[F]) -> tuple[str, Callable[[tuple[Any, ...]], F]]:
    """Return the SELECT of a family's declared columns, and a function from its rows to facts."""
    declared = columns(family)
    listed = ", ".join(f'"{name}"' for name, _, _, _ in declared)
    names = [name for name, _, _, _ in declared]
    as_json = {name for name, kind, _, _ in declared if _is_json(kind)}
    as_bool = {name for name, kind, _, _ in declared if "bool" in str(kind)}

    def make(row: tuple[Any, ...]) -> F:
        values = dict(zip(names, row, strict=True))
        for name in as_json:
            values[name] = msgspec.json.decode(values[name])
        for name in as_bool:
            values[name] = None if values[name] is None else bool(values[name])
        return family(**values)

    return f'SELECT {listed} FROM "{family.table()}"', make  # noqa: S608


class Record:
    """An open record.

    Args:
        path: the file.
        write: open for adding; creates the file if it does not exist. Without it, the file is opened read-only.

    Raises:
        RecordError: not a record, made by a newer version, being written by another process, or not readable.
    """

    def __init__(self, path: Path, *, write: bool = False) -> None:
        self.path = path
        self.write = write
        self._lock: int | None = None
        self._rows: defaultdict[tuple[type[Fact], tuple[bool, ...]], list[tuple[Any, ...]]] = defaultdict(list)
        self._next: dict[type[Fact], int] = {}
        self._updates: dict[tuple[type[Fact], tuple[str, ...]], list[tuple[Any, ...]]] = {}
        self._pending = 0
        new = write and not path.exists()
        if not write and not path.is_file():
            raise RecordError(f"{path}: no such record")
        try:
            if write:
                self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mode = "rw" if write else "ro"
            self.db = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None)
            self.db.execute("PRAGMA trusted_schema = OFF")
            if new or (write and path.stat().st_size == 0):
                self._create()
            else:
                self._check()
            if write:
                self.db.execute("PRAGMA journal_mode = WAL")
                self.db.execute("PRAGMA synchronous = NORMAL")
        except BlockingIOError as error:
            self._abandon()
            raise RecordError(f"{path}: another process is writing this record; wait for it to end") from error
        except (*BROKEN, OSError) as error:
            self._abandon()
            raise RecordError(f"{path}: cannot be opened as a record: {error}") from error
        except RecordError:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Let go of a file that turned out to be no record."""
        if hasattr(self, "db"):
            self.db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _create(self) -> None:
        self.db.execute("PRAGMA page_size = 8192")
        self.db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self.db.execute("BEGIN")
        for statement in ddl()[0]:
            self.db.execute(statement)
        self.db.execute(f"PRAGMA user_version = {VERSION}")
        self.db.execute("COMMIT")

    def _check(self) -> None:
        application = self.db.execute("PRAGMA application_id").fetchone()[0]
        version = self.db.execute("PRAGMA user_version").fetchone()[0]
        if application != APPLICATION_ID:
            raise RecordError(f"{self.path}: is not an Assay record")
        if version != VERSION:
            raise RecordError(f"{self.path}: was written with record version {version}, this Assay reads {VERSION}")

    # -- adding --------------------------------------------------------------------------------------------------------

    def reserve(self, family: type[Fact]) -> int:
        """Return an id for a fact that will be added later, with `number`."""
        number = self._next.get(family)
        if number is None:
            number = 1 + (self.db.execute(f'SELECT max(id) FROM "{family.table()}"').fetchone()[0] or 0)  # noqa: S608
        self._next[family] = number + 1
        return number

    def add(self, fact: Fact, *implied_values: int | None, number: int | None = None) -> int:
        """Add a fact and return its id.

        Args:
            fact: the fact.
            implied_values: for a content fact (content, collector); for a tree fact (tree, file, collector).
            number: an id that `reserve` gave.
        """
        family = type(fact)
        if number is None:
            number = self.reserve(family)
        values = (number, *implied_values, *_to_row(family)(fact))
        present = tuple(map(is_not, values, repeat(None)))
        self._rows[family, present].append(tuple(compress(values, present)))
        self._pending += 1
        return number

    @property
    def pending(self) -> int:
        """Rows added but not yet on disk."""
        return self._pending

    def update(self, family: type[Fact], number: int, **values: object) -> None:
        """Complete a row of the run in progress (a content found, a container finished).

        Only for columns that were empty: what has been observed is never rewritten.
        """
        encoded = (msgspec.json.encode(v).decode() if isinstance(v, dict | list) else v for v in values.values())
        self._updates.setdefault((family, tuple(values)), []).append((*encoded, number))
        self._pending += 1

    def begin(self) -> None:
        """Begin a transaction unless one is open."""
        if not self.db.in_transaction:
            self.db.execute("BEGIN IMMEDIATE")

    def flush(self) -> None:
        """Hand pending rows to SQLite, inside the open transaction."""
        if not self._pending:
            return
        self.begin()
        for (family, present), rows in self._rows.items():
            self.db.executemany(_insert(family, present), rows)
        self._rows.clear()
        for (family, names), changes in self._updates.items():
            assigned = ", ".join(f'"{name}" = ?' for name in names)
            self.db.executemany(f'UPDATE "{family.table()}" SET {assigned} WHERE id = ?', changes)  # noqa: S608
        self._updates.clear()
        self._pending = 0

    def commit(self) -> None:
        """Put everything added so far on disk."""
        self.flush()
        if self.db.in_transaction:
            self.db.execute("COMMIT")

    def index(self) -> None:
        """Make the indices that readers rely on. Called when filling is done: filling without them is much faster."""
        self.commit()
        for statement in ddl()[1]:
            self.db.execute(statement.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS", 1))

    def rollback(self) -> None:
        """Forget what has been added since the last commit."""
        self._next.clear()
        self._rows.clear()
        self._updates.clear()
        self._pending = 0
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")

    def close(self) -> None:
        """Commit and close; a written record becomes one file again, without its write-ahead log."""
        if self.write:
            self.commit()
            self.db.execute("PRAGMA optimize")
            self.db.execute("PRAGMA journal_mode = DELETE")
        self.db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Record:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and self.write:
            self.rollback()
        self.close()

    # -- reading -------------------------------------------------------------------------------------------------------

    def facts(self, family: type[F], where: str = "1", parameters: Iterable[object] = ()) -> Iterator[F]:
        """Return facts of a family as typed objects, in the order of their ids.

        Args:
            family: the family's class.
            where: an SQL condition on the table's columns.
            parameters: values for its placeholders.
        """
        sql, make = select(family)
        return (make(row) for row in self.db.execute(f"{sql} WHERE {where} ORDER BY id", tuple(parameters)))
