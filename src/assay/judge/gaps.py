"""What nobody could look at, as far as one rule is concerned: the difference between "none" and "not looked"."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence

from assay.facts import ContentFact, TreeFact, families

NAMED = 3
"""Gaps that a verdict names; the others are counted."""

TREES = ", ".join(f"'{name}'" for name, family in families().items() if issubclass(family, TreeFact))
"""Families that are looked for in root file systems, and only there."""

ROOTS = f"SELECT tree FROM coverage WHERE family IN ({TREES})"  # noqa: S608 - names of our own
"""Containers that hold a root file system."""

UNREAD = f"""
    SELECT count(*) OVER (), path, scope, reason FROM unread AS u
     WHERE scope = 'rest' OR file IS NULL
        OR (scope = 'entry' AND (container IS NULL OR container NOT IN ({ROOTS})))
        OR (({{reads}}) AND (scope = 'entry' OR {{inspectors}}))
     ORDER BY path, scope, reason LIMIT {NAMED}"""  # noqa: S608
"""Unread places that matter to a rule: what could hold anything (the rest of a container; an entry that lies outside a
root file system and may be a container itself), and files that the rule reads."""

OBSERVERS = """substr(detail, 1, instr(detail, ':') - 1) IN
    (SELECT k.name FROM coverage AS v JOIN collector AS k ON k.id = v.collector WHERE v.family IN (SELECT value FROM
     json_each(?)))"""
"""An inspector that failed (it stands before the colon) is one that looks for what the rule needs."""


def gaps(db: sqlite3.Connection, wanted: Sequence[str], reads: Sequence[str]) -> tuple[int, list[str]]:
    """Return how many gaps a record has for a rule, and the first of them in words.

    Args:
        db: the record.
        wanted: families that the rule needs.
        reads: GLOB patterns of the paths that it rests on; each matches at the end of a path.
    """
    found = [*_containers(db), *(gap for family in wanted for gap in _family(db, family))]
    condition = " OR ".join(["path GLOB ?"] * len(reads))
    values = [pattern if pattern.startswith("*") else f"*{pattern}" for pattern in reads]
    # What is known of a tree is drawn from facts of all kinds: there, the failure of any inspector counts.
    observers = "1"
    if not any(issubclass(families()[family], TreeFact) for family in wanted):
        observers = OBSERVERS
        values.append(json.dumps(list(wanted)))
    rows = db.execute(UNREAD.format(reads=condition, inspectors=observers), values).fetchall()
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
            f"""SELECT path FROM container WHERE id IN ({ROOTS})
                   AND id NOT IN (SELECT tree FROM coverage WHERE family = ? AND tree IS NOT NULL) ORDER BY path""",  # noqa: S608
            (name,),
        )
        for (path,) in rows:
            yield f"nobody looked for the facts '{name}' in {path or 'the artefact'}"
