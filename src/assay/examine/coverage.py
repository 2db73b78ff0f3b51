"""Which family was looked for, in which tree, by which inspector: what lets a rule tell "none" from "not looked"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from assay.facts.structure import Coverage
from assay.inspect import inspectors
from assay.record import Record

from .trees import roots


def write_coverage(record: Record, collector: Callable[[str], int]) -> None:
    """Add coverage facts for every container that lists files.

    Args:
        record: the record, with all facts in it.
        collector: gives the collector fact of an inspector, by name@version.
    """
    db = record.db
    record.commit()
    contents, trees = inspectors()
    families = sorted({family.table() for i in contents.values() for family in i.families})
    looked: dict[int, Counter[str]] = {}
    for container, inspected, number in db.execute(
        """SELECT f.container, c.inspected, count(DISTINCT c.id) FROM file AS f JOIN content AS c ON c.id = f.content
           GROUP BY f.container, c.inspected"""
    ):
        counter = looked.setdefault(container, Counter())
        for key in inspected.split():
            counter[key] += number
    failed: dict[tuple[int, str], int] = Counter()
    for container, detail, number in db.execute(
        """SELECT container, substr(detail, 1, instr(detail, ':') - 1), count(*) FROM unread
           WHERE scope = 'inspection' AND container IS NOT NULL GROUP BY 1, 2"""
    ):
        failed[container, detail] += number
    found: dict[tuple[int, str, int], int] = {}
    for family in families:
        for container, who, number in db.execute(
            f"""SELECT f.container, x.collector, count(*) FROM "{family}" AS x
                JOIN (SELECT DISTINCT container, content FROM file WHERE content IS NOT NULL) AS f
                ON f.content = x.content GROUP BY f.container, x.collector"""  # noqa: S608
        ):
            found[container, family, who] = number
    listing = [row[0] for row in db.execute("SELECT id FROM container WHERE listed > 0 ORDER BY id")]
    covered = {row[0] for row in db.execute("SELECT DISTINCT tree FROM coverage")}
    for container in listing:
        if container in covered:
            continue
        for inspector in contents.values():
            key = f"{inspector.name}@{inspector.version}"
            for kind in inspector.families:
                number = collector(key)
                record.add(
                    Coverage(
                        family=kind.table(),
                        collector=number,
                        tree=container,
                        looked=looked.get(container, Counter())[key],
                        failed=failed.get((container, key), 0),
                        facts=found.get((container, kind.table(), number), 0),
                    )
                )
        if not roots(db, container):
            continue
        for tree_inspector in trees.values():
            key = f"{tree_inspector.name}@{tree_inspector.version}"
            for tree_family in tree_inspector.families:
                number = collector(key)
                facts = db.execute(
                    f'SELECT count(*) FROM "{tree_family.table()}" WHERE tree = ? AND collector = ?',  # noqa: S608
                    (container, number),
                ).fetchone()[0]
                bad = failed.get((container, tree_inspector.name), 0)
                record.add(
                    Coverage(
                        family=tree_family.table(),
                        collector=number,
                        tree=container,
                        looked=1,
                        failed=min(1, bad),
                        facts=facts,
                    )
                )
    record.commit()
