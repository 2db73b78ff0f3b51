"""What nobody could look at, as far as one rule is concerned: the difference between "none" and "not looked"."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from assay.facts import ContentFact, TreeFact, families

NAMED = 3
"""Gaps that a verdict names; the others are counted."""

UNREAD = """
    SELECT count(*) OVER (), path, scope, reason FROM unread AS u
     WHERE scope = 'rest' OR file IS NULL
        OR (scope = 'entry'
            AND (container IS NULL OR container NOT IN (SELECT tree FROM coverage WHERE tree IS NOT NULL)))
        OR {reads}
     ORDER BY path, scope, reason LIMIT {most}"""
"""Unread places that matter to a rule: what could hold anything (the rest of a container; an entry that lies outside a
root file system and may be a container itself), and files that the rule reads."""


def gaps(db: sqlite3.Connection, wanted: Sequence[str], reads: Sequence[str]) -> tuple[int, list[str]]:
    """Return how many gaps a record has for a rule, and the first of them in words.

    Args:
        db: the record.
        wanted: families that the rule needs.
        reads: GLOB patterns of the paths that it rests on; each matches at the end of a path.
    """
    found = [*_containers(db), *(gap for family in wanted for gap in _family(db, family))]
    condition = " OR ".join(["path GLOB ?"] * len(reads)) or "0"
    sql = UNREAD.format(reads=condition, most=NAMED)
    rows = db.execute(sql, [pattern if pattern.startswith("*") else f"*{pattern}" for pattern in reads]).fetchall()
    unread = [f"{_rest(scope)}{path or 'the artefact'} was not read ({reason})" for _, path, scope, reason in rows]
    return len(found) + (rows[0][0] if rows else 0), [*found, *unread][:NAMED]


def _rest(scope: str) -> str:
    return "the rest of " if scope == "rest" else ""


def _containers(db: sqlite3.Connection) -> Iterator[str]:
    count, path = db.execute("SELECT count(*), min(path) FROM container WHERE NOT complete").fetchone()
    if count:
        yield f"{path or 'the artefact'} was not listed to its end" + (f" (one of {count})" if count > 1 else "")


def _family(db: sqlite3.Connection, name: str) -> Iterator[str]:
    family = families()[name]
    if not issubclass(family, ContentFact | TreeFact):
        if not db.execute("SELECT EXISTS (SELECT 1 FROM container)").fetchone()[0]:
            yield "nothing was unpacked"
        return
    looked, failed = db.execute("SELECT count(*), sum(failed) FROM coverage WHERE family = ?", (name,)).fetchone()
    if not looked:
        yield f"nobody looked for the facts '{name}'"
    elif failed:
        yield f"looking for the facts '{name}' failed in {failed} places"
    if looked and issubclass(family, TreeFact):
        rows = db.execute(
            """SELECT c.path FROM container AS c
                WHERE c.id IN (SELECT tree FROM coverage WHERE tree IS NOT NULL)
                  AND c.id NOT IN (SELECT tree FROM coverage WHERE family = ? AND tree IS NOT NULL) ORDER BY c.path""",
            (name,),
        )
        for (path,) in rows:
            yield f"nobody looked for the facts '{name}' in {path or 'the artefact'}"
