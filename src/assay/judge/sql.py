"""What a rule's SQL may do, and how it is put around with the pack's shared queries.

A rule reads facts. It does not read who made a thing (`identity`), what the judge said before, or how and when the
record was made: the same facts then give the same verdicts, whoever delivers them and whenever they are judged.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from functools import cache

from assay.facts import families
from assay.record.schema import ddl
from assay.record.views import VIEWS

CLOSED = frozenset({"identity", "run", "rule", "verdict", "finding", "evidence", "latest_verdict"})
"""Tables and views that no rule may read."""

OPEN = (frozenset(families()) | frozenset(VIEWS) | {"json_each", "json_tree"}) - CLOSED
"""Tables and views that a rule may read."""

UNSTABLE = frozenset({"random", "randomblob", "changes", "total_changes", "last_insert_rowid", "load_extension"})
"""Functions whose result does not follow from the record."""


class JudgeError(Exception):
    """The judge could not do its work; the message names the rule or the record, and what to do."""


class Guard:
    """SQLite's question on every action, answered; remembers what it refused."""

    def __init__(self) -> None:
        self.refused: str | None = None
        """Table or function that was refused last."""

    def __call__(self, action: int, first: str | None, second: str | None) -> bool:
        """Tell whether an action (an SQLITE_* code and its two arguments) is allowed."""
        if action == sqlite3.SQLITE_READ:
            # Where no column is read, as in count(*), the name may also be one that the query gave itself (WITH).
            table = (first or "").lower()
            if table in CLOSED or (second and table not in OPEN):
                self.refused = first
                return False
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in UNSTABLE:
            self.refused = f"{second}()"
            return False
        return True

    def explain(self, error: sqlite3.Error) -> str:
        """Return one line on why SQLite refused a rule's query."""
        refused, self.refused = self.refused, None
        if refused is None:
            return "not a SELECT over facts" if str(error) == "not authorized" else str(error)
        if refused.lower() == "identity":
            return "reads identity: a rule may not know who made or supplied a thing"
        if refused.lower() in CLOSED:
            return f"reads {refused}: a rule judges facts, not earlier runs and verdicts"
        return f"uses {refused}, which a rule may not"


def compose(sql: str, shared: Mapping[str, str]) -> str:
    """Return a query as something to select from: in brackets, with the shared queries that it names in front.

    Args:
        sql: the rule's SELECT.
        shared: the pack's shared SELECTs by name, each one using only those before it.
    """
    used = {name: text for name, text in shared.items() if name in needed(sql, shared)}
    with_ = ", ".join(f'"{name}" AS ({text.strip()}\n)' for name, text in used.items())
    return f"({'WITH ' + with_ if with_ else ''} SELECT * FROM ({sql.strip()}\n))"  # noqa: S608 - guarded, see Guard


def needed(sql: str, shared: Mapping[str, str]) -> set[str]:
    """Return the names of the shared queries that a query uses, directly or through others."""
    found: set[str] = set()
    todo = [sql]
    while todo:
        new = (_words(todo.pop()) & shared.keys()) - found
        found |= new
        todo += [shared[name] for name in new]
    return found


@cache
def _words(sql: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", sql))


@cache
def _empty() -> tuple[sqlite3.Connection, Guard]:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    for statement in ddl()[0]:
        database.execute(statement)
    database.execute(
        "SELECT 1 FROM json_each('[]') UNION ALL SELECT 1 FROM json_tree('[]')"
    ).close()  # see record.reader
    guard = Guard()
    reading = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)

    def authorize(action: int, first: str | None, second: str | None, _db: str | None, _by: str | None) -> int:
        return sqlite3.SQLITE_OK if action in reading and guard(action, first, second) else sqlite3.SQLITE_DENY

    database.set_authorizer(authorize)
    return database, guard


def check(sql: str, shared: Mapping[str, str], required: frozenset[str], allowed: frozenset[str]) -> str | None:
    """Try a query on an empty record.

    Args:
        sql: the query.
        shared: the pack's shared queries.
        required: columns that it must have.
        allowed: all columns that it may have; empty for any.

    Returns:
        What is wrong, in one line; None if it can be run.
    """
    database, guard = _empty()
    try:
        cursor = database.execute(f"SELECT * FROM {compose(sql, shared)} LIMIT 0")  # noqa: S608
    except (sqlite3.Error, sqlite3.Warning) as error:
        return guard.explain(error) if isinstance(error, sqlite3.Error) else str(error)
    names = [column[0] for column in cursor.description]
    if lacking := sorted(required - set(names)):
        return f"lacks the column {', '.join(lacking)}"
    if allowed and (other := sorted(set(names) - allowed)):
        return f"has the unknown column {', '.join(other)}"
    return None
