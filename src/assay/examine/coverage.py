"""Which family was looked for, in which tree, by which inspector: what lets a rule tell "none" from "not looked".

A compressed stream holds one content and no names: what was looked at in it counts for the container around it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator

from assay import unpack
from assay.facts.structure import Coverage
from assay.inspect import inspectors
from assay.record import Record

from .trees import roots

Tree = int | None
"""A container; None for artefacts that are no container."""


def write_coverage(record: Record, collector: Callable[[str], int]) -> None:
    """Add coverage facts for every container that lists files, and for artefacts that are no container.

    Args:
        record: the record, with all facts in it.
        collector: gives the collector fact of an inspector, by name@version.
    """
    db = record.db
    record.commit()
    contents, trees = inspectors()
    around = _around(db)
    looked: dict[Tree, Counter[str]] = {}
    for container, inspected, number in db.execute(
        """SELECT f.container, c.inspected, count(DISTINCT c.id) FROM file AS f JOIN content AS c ON c.id = f.content
           GROUP BY f.container, c.inspected
           UNION ALL
           SELECT NULL, c.inspected, count(DISTINCT c.id) FROM artefact AS a JOIN content AS c ON c.id = a.content
           WHERE a.format IS NULL GROUP BY c.inspected"""
    ):
        counter = looked.setdefault(around.get(container or 0), Counter())
        for key in inspected.split():
            counter[key] += number
    failed: Counter[tuple[Tree, str]] = Counter()
    for container, inspector_, number in db.execute(
        "SELECT container, inspector, count(*) FROM unread WHERE scope = 'inspection' GROUP BY 1, 2"
    ):
        failed[around.get(container or 0), inspector_] += number
    found: Counter[tuple[Tree, str, int]] = Counter()
    for family in sorted({family.table() for i in contents.values() for family in i.families}):
        if not db.execute(f'SELECT EXISTS (SELECT 1 FROM "{family}")').fetchone()[0]:  # noqa: S608
            continue  # most are empty, and asking where each fact stands takes a pass over all files
        for container, who, number in db.execute(
            f"""SELECT f.container, x.collector, count(*) FROM "{family}" AS x
                JOIN (SELECT container, content FROM file WHERE content IS NOT NULL
                      UNION SELECT NULL, content FROM artefact WHERE format IS NULL) AS f
                ON f.content = x.content GROUP BY f.container, x.collector"""  # noqa: S608
        ):
            found[around.get(container or 0), family, who] += number
    covered = {row[0] for row in db.execute("SELECT DISTINCT tree FROM coverage")}
    wanted: list[Tree] = [*sorted(set(around.values()))]
    if db.execute("SELECT 1 FROM artefact WHERE format IS NULL LIMIT 1").fetchone():
        wanted.append(None)
    for tree in wanted:
        if tree in covered:
            continue
        for family, key in _content_families():
            number = collector(key)
            record.add(
                Coverage(
                    family=family,
                    collector=number,
                    tree=tree,
                    looked=looked.get(tree, Counter())[key],
                    failed=failed[tree, key],
                    facts=found[tree, family, number],
                )
            )
        if tree is None or not roots(db, tree):
            continue
        for inspector in trees.values():
            number = collector(f"{inspector.name}@{inspector.version}")
            for kind in inspector.families:
                facts = db.execute(
                    f'SELECT count(*) FROM "{kind.table()}" WHERE tree = ? AND collector = ?',  # noqa: S608
                    (tree, number),
                ).fetchone()[0]
                bad = min(1, failed[tree, f"{inspector.name}@{inspector.version}"])
                record.add(
                    Coverage(family=kind.table(), collector=number, tree=tree, looked=1, failed=bad, facts=facts)
                )
    record.commit()


def _content_families() -> Iterator[tuple[str, str]]:
    for inspector in inspectors()[0].values():
        for family in inspector.families:
            yield family.table(), f"{inspector.name}@{inspector.version}"


def _around(db: sqlite3.Connection) -> dict[int, int]:
    """Return for each container that has listed files the nearest one around it (or itself) that is no stream."""
    parents = {
        number: (parent, format) for number, parent, format in db.execute("SELECT id, parent, format FROM container")
    }
    streams = {name for name, format in unpack.formats().items() if format.stream}
    around = {}
    for (number,) in db.execute("SELECT id FROM container WHERE listed > 0"):
        anchor = number
        while parents[anchor][1] in streams and parents[anchor][0] is not None:
            anchor = parents[anchor][0]
        around[number] = anchor
    return around
