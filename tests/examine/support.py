"""Examining in tests, and a record as plain values that two examinations of the same release must share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from assay.examine import Outcome, examine
from assay.examine.listing import canonical
from assay.facts import ContentFact, TreeFact, families
from assay.folders import cache_folder
from assay.record import Record
from assay.record.schema import implied
from assay.unpack.base import Limits

ASSAY = Path(sys.executable).with_name("assay")

JUDGED = ("run", "collector", "rule", "verdict", "finding", "evidence")
"""Families that are not about the release: when and by whom it was examined, and what was thought of it."""

Row = Mapping[str, Any]


def examined(path: Path | Iterable[Path], record: Path, **options: Any) -> Outcome:
    """Examine, without a cache and with two workers unless told otherwise."""
    paths = [path] if isinstance(path, Path) else list(path)
    return examine(paths, record, **{"workers": 2, **options})


def assay(*arguments: object, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the real command in a folder, with a cache of its own."""
    home = cwd.with_name(f"{cwd.name}-cache")
    cache = home / "assay"
    cache.mkdir(parents=True, exist_ok=True)
    for kept in [*cache_folder().glob("*.hyperscan"), *cache_folder().glob("*.jinja")]:  # compiled once for all tests
        if not (cache / kept.name).exists():
            shutil.copyfile(kept, cache / kept.name)
    environment = {**os.environ, "XDG_CACHE_HOME": str(home), "COLUMNS": "100", **options.pop("env", {})}
    return subprocess.run(
        [ASSAY, *map(str, arguments)],
        cwd=cwd, env=environment, capture_output=True, text=True, errors="surrogateescape", timeout=120, **options,
    )  # fmt: skip


def rows(record: Path, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Return the rows of a query on a record."""
    with Record(record) as opened:
        return opened.db.execute(sql, parameters).fetchall()


def unread(record: Path) -> list[tuple[Any, ...]]:
    """Return what a record names as unread: place, scope, reason, limit."""
    return rows(record, 'SELECT path, scope, reason, "limit" FROM unread ORDER BY path, scope, detail')


def contents(record: Path) -> dict[str, str | None]:
    """Return the SHA-256 of every regular file and hard link by its full path; None if it was not read."""
    return dict(
        rows(
            record,
            """SELECT k.path || f.path, c.sha256 FROM file AS f JOIN container AS k ON k.id = f.container
               LEFT JOIN content AS c ON c.id = f.content WHERE f.type IN ('regular', 'hardlink')""",
        )
    )


def dump(record: Path) -> dict[str, list[str]]:
    """Return every fact on a release as text, sorted, with natural keys in the place of numbers."""
    with Record(record) as opened:
        db = opened.db
        keys: dict[str, dict[int | None, str]] = {
            "content": dict(db.execute("SELECT id, sha256 FROM content")),
            "container": {
                n: f"{a}:{f}:{p}" for n, a, f, p in db.execute("SELECT id, artefact, format, path FROM container")
            },
            "collector": {n: f"{name}@{v}" for n, name, v in db.execute("SELECT id, name, version FROM collector")},
        }
        keys["file"] = {
            n: f"{keys['container'][c]}{p}#{seq}"
            for n, c, p, seq in db.execute("SELECT id, container, path, seq FROM file")
        }
        refers = {"content": "content", "container": "container", "parent": "container", "tree": "container",
                  "file": "file", "collector": "collector"}  # fmt: skip
        out = {}
        for name, family in families().items():
            if name in JUDGED:
                continue
            cursor = db.execute(f'SELECT * FROM "{name}"')
            names = [column[0] for column in cursor.description]
            lines = []
            for values in cursor:
                row = dict(zip(names, values, strict=True))
                if name != "artefact":
                    del row["id"]
                for column, family_of in refers.items():
                    # a reference that leads nowhere is a KeyError here
                    if row.get(column) is not None and not (name == "file" and column == "file"):
                        row[column] = keys[family_of][row[column]]
                if name == "container" and '"layers"' in row["detail"]:
                    detail = json.loads(row["detail"])
                    row["detail"] = [keys["container"][int(n)] for n in detail["layers"].split(",")]
                lines.append(repr(row))
            assert issubclass(family, ContentFact | TreeFact) == bool(implied(family))
            out[name] = sorted(lines)
        return out


def assert_same(one: Path, other: Path) -> None:
    """Fail with the first facts that only one of two records holds."""
    left, right = dump(one), dump(other)
    for name in left:
        if left[name] != right[name]:
            gone = [line for line in left[name] if line not in set(right[name])][:5]
            new = [line for line in right[name] if line not in set(left[name])][:5]
            raise AssertionError(
                f"{name}: {len(left[name])} and {len(right[name])} rows; only left {gone}; only right {new}"
            )


def assert_accounted(record: Path) -> None:
    """Fail unless every entry that a container lists has been read, named as unread, or has no bytes of its own."""
    files = rows(
        record,
        """SELECT f.id, f.container, k.path || f.path, f.path, type, link_target, content,
                  f.id IN (SELECT file FROM unread WHERE file IS NOT NULL AND scope = 'entry')
             FROM file AS f JOIN container AS k ON k.id = f.container WHERE k.format != 'image' ORDER BY f.id""",
    )
    bare = set()
    lost = []
    for _, container, place, path, type_, target, content, named in files:
        if type_ not in ("regular", "hardlink"):
            bare.add((container, path))
        elif content is None and not named:
            if type_ == "hardlink" and (container, canonical(os.fsencode(target))[0]) in bare:
                bare.add((container, path))
            else:
                lost.append(place)
    assert lost == []
    miscounted = rows(
        record,
        """SELECT path, format, listed, (SELECT count(*) FROM file WHERE container = k.id) FROM container AS k
           WHERE listed IS NOT (SELECT count(*) FROM file WHERE container = k.id) OR NOT complete""",
    )
    assert miscounted == []
    short = rows(
        record,
        """SELECT path, format, declared, listed FROM container AS k WHERE declared > listed +
           (SELECT ifnull(sum(entries), 0) FROM unread WHERE container = k.id AND file IS NULL)
           AND NOT EXISTS (SELECT 1 FROM unread WHERE container = k.id AND scope = 'rest')""",
    )
    assert short == []


SMALL = Limits(cpu_seconds=2, wall_seconds=20, memory=256 << 20)
