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

PARSED = ("directive", "account_entry", "package", "package_files", "image_manifest")
"""Families of contents that facts on trees are drawn from."""

UNREAD = f"""
    SELECT count(*) OVER (), path, scope, reason FROM unread AS u
     WHERE scope = 'rest' OR (file IS NULL AND scope != 'inspection')
        OR (scope = 'entry' AND (container IS NULL OR container NOT IN ({ROOTS})))
        OR (scope = 'entry' AND ({{reads}}))
        OR (scope = 'inspection' AND (file IS NULL OR {{reads}}) AND {{observers}})
     ORDER BY path, scope, reason LIMIT {NAMED}"""  # noqa: S608
"""Unread places that matter to a rule: what could hold anything (the rest of a container; an entry that lies outside a
root file system and may be a container itself), files that the rule reads, and inspectors that it rests on."""

NAME = "substr(u.inspector, 1, instr(u.inspector, '@') - 1)"
OBSERVERS = f"{NAME} IN (SELECT value FROM json_each(?))"  # noqa: S608 - a name of our own
FAMILIES = f"""{NAME} IN (SELECT k.name FROM coverage AS v JOIN collector AS k ON k.id = v.collector
                           WHERE v.family IN (SELECT value FROM json_each(?)))"""  # noqa: S608


def gaps(
    db: sqlite3.Connection, wanted: Sequence[str], reads: Sequence[str], observers: Sequence[str] = ()
) -> tuple[int, list[str]]:
    """Return how many gaps a record has for a rule, and the first of them in words.

    Args:
        db: the record.
        wanted: families that the rule needs.
        reads: GLOB patterns of the paths that it rests on; each matches at the end of a path.
        observers: inspectors that it rests on; all that look for its families if none is named.
    """
    found = [*_containers(db), *(gap for family in wanted for gap in _family(db, family, observers))]
    condition = " OR ".join(["path GLOB ?"] * len(reads))
    values = [pattern if pattern.startswith("*") else f"*{pattern}" for pattern in reads]
    trees = any(issubclass(families()[family], TreeFact) for family in wanted)
    rests = json.dumps(list(observers) or [*wanted, *(PARSED if trees else ())])
    sql = UNREAD.format(reads=condition, observers=OBSERVERS if observers else FAMILIES)
    rows = db.execute(sql, [*values, *values, rests]).fetchall()
    unread = [f"{_rest(scope)}{path or 'the artefact'} was not read ({reason})" for _, path, scope, reason in rows]
    return len(found) + (rows[0][0] if rows else 0), [*found, *unread][:NAMED]


def _rest(scope: str) -> str:
    return "the rest of " if scope == "rest" else ""


def _containers(db: sqlite3.Connection) -> Iterator[str]:
    count, path = db.execute("SELECT count(*), min(path) FROM container WHERE NOT complete").fetchone()
    if count:
        yield f"{path or 'the artefact'} was not listed to its end" + (f" (one of {count})" if count > 1 else "")


def _family(db: sqlite3.Connection, name: str, observers: Sequence[str]) -> Iterator[str]:
    family = families()[name]
    if not issubclass(family, ContentFact | TreeFact):
        if not db.execute("SELECT EXISTS (SELECT 1 FROM container)").fetchone()[0]:
            yield "nothing was unpacked"
        return
    looked, failed = db.execute(
        """SELECT count(*), sum(v.failed * (? = '[]' OR k.name IN (SELECT value FROM json_each(?))))
             FROM coverage AS v JOIN collector AS k ON k.id = v.collector WHERE v.family = ?""",
        (json.dumps(list(observers)), json.dumps(list(observers)), name),
    ).fetchone()
    if not looked:
        yield f"nobody looked for the facts '{name}'"
    elif failed and issubclass(family, TreeFact):  # in contents it counts where the rule reads: see UNREAD
        yield f"looking for the facts '{name}' failed in {failed} places"
    if looked and issubclass(family, TreeFact):
        rows = db.execute(
            f"""SELECT path FROM container WHERE id IN ({ROOTS})
                   AND id NOT IN (SELECT tree FROM coverage WHERE family = ? AND tree IS NOT NULL) ORDER BY path""",  # noqa: S608
            (name,),
        )
        for (path,) in rows:
            yield f"nobody looked for the facts '{name}' in {path or 'the artefact'}"
