"""A record: adding, numbering, continuing, reading only, and what a damaged or hostile file can do."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from assay.facts import ContentFact, TreeFact, columns, families
from assay.facts.access import AccountEntry
from assay.facts.service import Setting
from assay.facts.structure import Artefact, Collector, Container, Content, File, Run, Xattr
from assay.record import QueryError, Record, RecordError, query
from assay.record.query import reader
from assay.record.schema import APPLICATION_ID, VERSION, ddl
from assay.record.views import VIEWS
from tests.examine.support import assay
from tests.facts.test_families import sample


def filled(path: Path) -> Path:
    """Write a small record."""
    with Record(path, write=True) as record:
        run = record.add(Run(command="examine", version="0", started="2026-01-01T00:00:00Z", finished="2026-01-01"))
        who = record.add(Collector(name="passwd", version=1, run=run))
        artefact = record.add(Artefact(sha256="0" * 64, size=1))
        content = record.add(Content(sha256="1" * 64, size=5, kind="text"))
        box = record.add(Container(artefact=artefact, parent=None, file=None, format="tar", path="", depth=0, size=1))
        for seq in range(50):
            file = record.add(
                File(container=box, seq=seq, path=f"/etc/{seq}", raw_path=None, type="regular", content=content)
            )
            record.add(Xattr(file=file, name="user.a", value=bytes([seq])))
        record.add(AccountEntry(database="passwd", name="root", members=["a", "b"], locked=True), content, who)
        record.add(Setting(path="/etc/1", subsystem="sshd", key="k", value="v", origin="file"), box, 2, who)
        record.index()
    return path


@pytest.mark.parametrize("name", families())
def test_every_fact_comes_back_as_it_went_in(tmp_path: Path, name: str) -> None:
    family = families()[name]
    extra = (1, 2) if issubclass(family, ContentFact) else (1, None, 2) if issubclass(family, TreeFact) else ()
    full = family(**{column: sample(kind) for column, kind, *_ in columns(family)})
    bare = family(**{
        column: None if "None" in str(kind) else sample(kind) for column, kind, *_ in columns(family)
    })  # fmt: skip
    with Record(tmp_path / "r.assay", write=True) as record:
        assert [record.add(fact, *extra) for fact in (full, bare, full)] == [1, 2, 3]
        assert record.pending == 3
    with Record(tmp_path / "r.assay") as record:
        assert list(record.facts(family)) == [full, bare, full]
        assert list(record.facts(family, "id = ?", [2])) == [bare]


def test_numbers_are_given_before_facts_are_added_and_go_on(tmp_path: Path) -> None:
    path = tmp_path / "r.assay"
    fact = Content(sha256="1" * 64, size=5, kind="text")
    with Record(path, write=True) as record:
        first, second = record.reserve(Content), record.reserve(Content)
        third = record.add(fact)
        record.add(fact, number=second)
        record.add(fact, number=first)
        assert (first, second, third) == (1, 2, 3)
    with Record(path, write=True) as record:
        assert record.add(fact) == 4
        record.rollback()
        assert record.add(fact) == 4
        record.commit()
        assert record.add(fact) == 5
        record.flush()
        record.rollback()
    with Record(path) as record:
        assert [row[0] for row in record.db.execute("SELECT id FROM content")] == [1, 2, 3, 4]


def test_rows_are_completed(tmp_path: Path) -> None:
    with Record(tmp_path / "r.assay", write=True) as record:
        number = record.add(Artefact(sha256=None, size=None))
        record.update(Artefact, number, sha256="2" * 64, size=7)
        run = record.add(Run(command="x", version="0", started="now"))
        record.update(Run, run, sandbox={"a": [1]})
        record.commit()
        assert list(record.facts(Artefact)) == [Artefact(sha256="2" * 64, size=7)]
        assert next(iter(record.facts(Run))).sandbox == {"a": [1]}


def test_an_exception_leaves_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "r.assay"
    fact = Content(sha256="1" * 64, size=5, kind="text")
    with pytest.raises(ZeroDivisionError), Record(path, write=True) as record:
        record.add(fact)
        record.commit()
        record.add(fact)
        record.flush()
        raise ZeroDivisionError
    with Record(path) as record:
        assert len(list(record.facts(Content))) == 1


def test_the_file(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.assay")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.assay"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")}
        indices = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    db.close()
    assert names - indices == {*families(), *VIEWS}
    assert len(indices) == len(ddl()[1])


def test_one_writes_while_others_read(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.assay")
    with Record(path, write=True) as record:
        with pytest.raises(RecordError, match="another process is writing"):
            Record(path, write=True)
        record.add(Content(sha256="3" * 64, size=1, kind="text"))
        record.flush()
        with Record(path) as other:
            assert len(list(other.facts(Content))) == 1
        record.commit()
        with Record(path) as other:
            assert len(list(other.facts(Content))) == 2


def test_reading_does_not_write(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.assay")
    before, when = path.read_bytes(), path.stat().st_mtime_ns
    with Record(path) as record, pytest.raises(sqlite3.OperationalError, match="readonly"):
        record.db.execute("DELETE FROM file")
    for view in VIEWS:
        assert query(path, f"SELECT * FROM {view}")[0]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, when)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.assay"]


def test_a_record_on_read_only_ground(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir()
    path = filled(tmp_path / "shut/r.assay")
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        assert list(query(path, "SELECT count(*) FROM file")[1]) == [(50,)]
    finally:
        path.parent.chmod(0o700)


REFUSED = [
    "INSERT INTO xattr VALUES (1000, 1, 'a', x'')", "UPDATE file SET path = ''", "DELETE FROM file",
    "REPLACE INTO xattr VALUES (1, 1, 'a', x'')", "DROP TABLE file", "DROP VIEW symbol", "CREATE TABLE a (b)",
    "CREATE TEMP TABLE a (b)", "CREATE INDEX a ON file (path)", "CREATE VIEW a AS SELECT 1",
    "CREATE TEMP VIEW a AS SELECT 1", "CREATE TRIGGER a AFTER INSERT ON file BEGIN SELECT 1; END",
    "ALTER TABLE file ADD COLUMN a", "REINDEX", "ANALYZE",
    "ATTACH ':memory:' AS a", "DETACH main", "VACUUM", "VACUUM INTO '{folder}/new'", "BEGIN", "COMMIT", "SAVEPOINT a",
    "PRAGMA query_only = OFF", "PRAGMA writable_schema = ON", "PRAGMA user_version = 7", "PRAGMA journal_mode = DELETE",
    "PRAGMA temp_store_directory = '/tmp'", "SELECT load_extension('x')", "SELECT writefile('{folder}/new', 'x')",
    "SELECT readfile('/etc/passwd')", "SELECT edit('x')", "SELECT fts3_tokenizer('a', x'00')",
    "CREATE VIRTUAL TABLE a USING fts5(b)", "EXPLAIN DELETE FROM file",
    "WITH a AS (SELECT 1) DELETE FROM file", "DELETE FROM file RETURNING path", "SELECT * FROM pragma_database_list",
]  # fmt: skip


@pytest.mark.parametrize("sql", REFUSED)
def test_a_query_can_only_read(tmp_path: Path, sql: str) -> None:
    path = filled(tmp_path / "r.assay")
    before = path.read_bytes()
    with pytest.raises(QueryError):
        list(query(path, sql.format(folder=tmp_path))[1])
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.assay"]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM file", [(50,)]),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT sum(i) FROM n", [(6,)]),
        ("SELECT j.value FROM account_entry, json_each(members) AS j", [("a",), ("b",)]),
        ("SELECT path FROM file WHERE path REGEXP 'x'", None),
        ("PRAGMA table_info(absent)", []),
        ("VALUES (1, 2)", [(1, 2)]),
        ("SELECT 1 /* ; */; -- the end", [(1,)]),
        ("SELECT path FROM place ORDER BY path LIMIT 1", [("/etc/0",)]),
    ],
)
def test_what_a_query_can_do(tmp_path: Path, sql: str, expected: list[Any] | None) -> None:
    path = filled(tmp_path / "r.assay")
    if expected is None:
        with pytest.raises(QueryError):
            query(path, sql)
    else:
        assert list(query(path, sql)[1]) == expected


def test_a_guard_can_refuse_a_table(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.assay")

    def guard(action: int, first: str | None, _: str | None) -> bool:
        return not (action == sqlite3.SQLITE_READ and first == "account_entry")

    connection = reader(path, guard=guard)
    assert connection.execute("SELECT count(*) FROM file").fetchone() == (50,)
    for sql in (
        "SELECT name FROM account_entry", "SELECT count(*) FROM account_entry", "SELECT 1 FROM account_entry",
        "SELECT * FROM (SELECT name AS n FROM account_entry)", "SELECT 1 WHERE EXISTS (SELECT name FROM account_entry)",
        "SELECT path FROM file ORDER BY (SELECT name FROM account_entry)",
    ):  # fmt: skip
        with pytest.raises(sqlite3.DatabaseError):
            connection.execute(sql).fetchall()
    connection.close()


def test_a_query_has_a_time_limit(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.assay")
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with pytest.raises(QueryError, match="stopped at the time limit"):
        list(query(path, endless, seconds=0.1)[1])


def hostile_schema(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE file (a, b' WHERE name = 'file'")
    db.close()


def hostile_view(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(
            "ALTER TABLE file RENAME TO f; CREATE VIEW file AS WITH RECURSIVE n(i) AS"
            " (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id, i AS container, '/x' AS path FROM n LIMIT 10"
        )
    db.close()


def hostile_trigger(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TRIGGER t AFTER INSERT ON run BEGIN DELETE FROM file; END")
    db.close()


def other_values(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE file SET path = CAST(x'ff1b5b32' AS TEXT), seq = 'text', mode = 9e999, mtime = x'00'")
        db.execute("UPDATE account_entry SET members = '{]', locked = 'maybe'")
        db.execute("UPDATE run SET options = 'not JSON', sandbox = NULL WHERE 0")
        db.execute("UPDATE run SET options = 'not JSON', started = x'ff', finished = 7")
    db.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


HARM = [hostile_schema, hostile_view, hostile_trigger, other_values, newer]


@pytest.mark.parametrize("harm", HARM, ids=lambda f: f.__name__)
@pytest.mark.parametrize("verb", [["query"], ["judge"], ["report", "-o", "-"], ["report", "--format", "terminal"],
                                  ["report", "--format", "json", "-o", "-"], ["report", "--format", "sarif", "-o", "-"],
                                  ["report", "--format", "cyclonedx", "-o", "-"]], ids=" ".join)  # fmt: skip
def test_verbs_on_a_record_that_somebody_has_meddled_with(tmp_path: Path, harm: Any, verb: list[str]) -> None:
    harm(filled(tmp_path / "r.assay"))
    name, *options = verb
    more = ["SELECT * FROM file"] if name == "query" else []
    done = assay(name, "r.assay", *options, *more, cwd=tmp_path)
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.stderr.startswith("assay: ")
        assert len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stdout


def test_damaged_records_are_named_or_read(tmp_path: Path) -> None:
    data = filled(tmp_path / "good.assay").read_bytes()
    chance = random.Random(5)
    outcomes = set()
    for number in range(60):
        broken = bytearray(data[: chance.randrange(1, len(data))] if number % 3 == 0 else data)
        for _ in range(0 if number % 3 == 0 else chance.choice((1, 5, 50))):
            at = chance.randrange(len(broken))
            broken[at : at + 8] = chance.randbytes(8)
        path = tmp_path / f"{number}.assay"
        path.write_bytes(broken[: len(data)])
        try:
            for name in (*families(), *VIEWS):
                list(query(path, f'SELECT * FROM "{name}"')[1])
            outcomes.add("read")
        except (RecordError, QueryError) as error:
            outcomes.add(type(error).__name__)
            assert "\n" not in str(error)
    assert {"read", "RecordError"} <= outcomes <= {"read", "RecordError", "QueryError"}


@pytest.mark.parametrize("data", [b"", b"x", b"SQLite format 3\0", os.urandom(10_000)])
def test_what_is_no_record(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "r.assay"
    path.write_bytes(data)
    with pytest.raises(RecordError, match=r"r\.assay"):
        Record(path)
    if data:
        for _ in range(2):  # the first leaves no lock behind
            with pytest.raises(RecordError, match=r"r\.assay: (is not an Assay record|cannot be opened as a record)"):
                Record(path, write=True)
        assert path.read_bytes() == data


def test_what_is_not_there_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such record"):
        Record(tmp_path / "absent")
    with pytest.raises(RecordError, match="no such record"):
        Record(tmp_path)
    with pytest.raises(RecordError):
        Record(tmp_path, write=True)
    with pytest.raises(RecordError):
        Record(tmp_path / "absent/r.assay", write=True)
