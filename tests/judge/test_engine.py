from __future__ import annotations

import time
from pathlib import Path

import pytest

from assay.facts.identity import Identity
from assay.facts.structure import File, Run, Unread
from assay.facts.verdict import Evidence, Finding, Rule, Verdict
from assay.inspect import inspectors
from assay.judge import Judged, JudgeError, available_packs, digest, judge, load_pack
from assay.record import Record, RecordError

from .conftest import HEAD, MakePack
from .release import write

TREE = {"/etc/telnet.conf": (0o644, 0, 0, b"x"), "/usr/sbin/telnetd": (0o755, 0, 0, b"y"), "/etc/x": (0o644, 0, 0, b"")}
CLEAN = {"/etc/x": (0o644, 0, 0, b""), "/usr/x": (0o644, 0, 0, b"y")}


def unread(**values: object) -> Unread:
    told = {"artefact": 1, "container": 1, "file": 1, "path": "/etc/passwd", "scope": "entry", "reason": "malformed"}
    return Unread(**{**told, **values})  # type: ignore[arg-type]


def short(judged: list[Judged]) -> list[tuple[str, str, tuple[str, ...], int]]:
    return [(one.rule.id, one.verdict, one.missing, one.findings) for one in judged]


def test_a_run_is_added_with_rule_verdict_findings_and_evidence(tmp_path: Path, make_pack: MakePack) -> None:
    path = write(tmp_path / "r.assay", [TREE])
    (judged,) = judge(path, [make_pack({"telnet": []})])
    assert short([judged]) == [("telnet", "fail", (), 2)]
    with Record(path) as record:
        run = list(record.facts(Run))[-1]
        assert (run.command, run.finished is not None, run.options) == (
            "judge",
            True,
            {"packs": ["trial"], "seconds": 60.0},
        )
        (rule,) = record.facts(Rule)
        assert (rule.run, rule.pack, rule.name, rule.digest, rule.title, rule.document, rule.severity) == (
            2, "trial", "trial/telnet", judged.rule.digest, "No telnet", "Trial 1", "high",
        )  # fmt: skip
        assert list(record.facts(Verdict)) == [
            Verdict(run=2, rule=1, verdict="fail", reason="3 files looked at, 2 found.", looked=3, findings=2)
        ]
        ids = dict(record.db.execute("SELECT path, id FROM file"))
        config, server = ids["/etc/telnet.conf"], ids["/usr/sbin/telnetd"]
        assert list(record.facts(Finding)) == [
            Finding(verdict=1, message="A file: /etc/telnet.conf", path="/etc/telnet.conf", tree=1, file=config),
            Finding(verdict=1, message="A file: /usr/sbin/telnetd", path="/usr/sbin/telnetd", tree=1, file=server),
        ]
        assert list(record.facts(Evidence)) == [
            Evidence(finding=1, family="file", fact=config),
            Evidence(finding=2, family="file", fact=server),
        ]


def test_judging_again_adds_and_rewrites_nothing(tmp_path: Path, make_pack: MakePack) -> None:
    path = write(tmp_path / "r.assay", [TREE])
    pack = make_pack({"telnet": []})
    tables = ("run", "rule", "verdict", "finding", "evidence", "file", "coverage")
    judge(path, [pack])
    with Record(path) as record:
        before = {table: record.db.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    judge(path, [pack])
    with Record(path) as record:
        after = {table: record.db.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
        grown = {table: len(after[table]) - len(before[table]) for table in tables}
    assert {table: after[table][: len(before[table])] for table in tables} == before
    assert grown == {"run": 1, "rule": 1, "verdict": 1, "finding": 2, "evidence": 2, "file": 0, "coverage": 0}
    assert digest(path, 2) == digest(path, 3)


@pytest.mark.parametrize(
    ("gap", "verdict", "reason"),
    [
        ({}, "pass", "2 files looked at, nothing found."),
        (
            {"unread": [unread()]},
            "undetermined",
            "2 files looked at, nothing found. Not seen: /etc/passwd was not read (malformed).",
        ),
        (
            {"unread": [unread(path=f"/etc/{i}", reason="limit") for i in range(9)]},
            "undetermined",
            "2 files looked at, nothing found. Not seen: /etc/0 was not read (limit); /etc/1 was not read (limit); "
            "/etc/2 was not read (limit); 6 more.",
        ),
        ({"unread": [unread(path="/usr/share/doc", scope="inspection")]}, "pass", "2 files looked at, nothing found."),
        ({"unread": [unread(path="/usr/share/doc/a.gz")]}, "pass", "2 files looked at, nothing found."),
        (
            {"unread": [unread(path="/usr/a.zip!", scope="rest", reason="truncated")]},
            "undetermined",
            "2 files looked at, nothing found. Not seen: the rest of /usr/a.zip! was not read (truncated).",
        ),
        (
            {"unread": [unread(path="rootfs.bin", container=7, reason="encrypted")]},
            "undetermined",
            "2 files looked at, nothing found. Not seen: rootfs.bin was not read (encrypted).",
        ),
        (
            {"unread": [unread(path="", container=None, file=None, scope="rest", reason="unsupported")]},
            "undetermined",
            "2 files looked at, nothing found. Not seen: the rest of the artefact was not read (unsupported).",
        ),
        (
            {"incomplete": [0]},
            "undetermined",
            "2 files looked at, nothing found. Not seen: the artefact was not listed to its end.",
        ),
        (
            {"without": ["setting"]},
            "undetermined",
            "2 files looked at, nothing found. Not seen: nobody looked for the facts 'setting'.",
        ),
    ],
)
def test_what_was_not_seen_is_undetermined(
    tmp_path: Path, make_pack: MakePack, gap: dict[str, list[object]], verdict: str, reason: str
) -> None:
    path = write(tmp_path / "r.assay", [CLEAN], **gap)  # type: ignore[arg-type]
    pack = make_pack({"a": [('families = ["file"]', 'families = ["file", "setting"]\nreads = ["/etc/*"]')]})
    (judged,) = judge(path, [pack])
    missing = ("S",) if verdict == "undetermined" else ()
    assert (judged.verdict, judged.missing, judged.reason) == (verdict, missing, reason)


def test_a_gap_keeps_not_applicable_away_but_not_a_finding(tmp_path: Path, make_pack: MakePack) -> None:
    pack = make_pack(
        {"a": [], "b": [("SELECT id FROM file", "SELECT id FROM file WHERE 0"), ("*telnet*", "*nothing*")]}
    )
    seen = write(tmp_path / "seen.assay", [TREE])
    partly = write(tmp_path / "partly.assay", [TREE], unread=[unread(scope="rest")])
    assert short(judge(seen, [pack])) == [("a", "fail", (), 2), ("b", "not-applicable", (), 0)]
    assert short(judge(partly, [pack])) == [("a", "fail", (), 2), ("b", "undetermined", ("S",), 0)]


def test_an_empty_record_is_undetermined(tmp_path: Path) -> None:
    path = tmp_path / "empty.assay"
    Record(path, write=True).close()
    judged = judge(path, ["3gpp-33.117-18.1", "beyond-scas"])
    assert {(one.verdict, one.missing) for one in judged} == {("undetermined", ("S",))}


def test_a_tree_that_one_family_was_not_looked_for_in(tmp_path: Path, make_pack: MakePack) -> None:
    path = write(tmp_path / "r.assay", [CLEAN, CLEAN])
    with Record(path, write=True) as record:
        record.begin()
        record.db.execute("DELETE FROM coverage WHERE family = 'account' AND tree = 2")
    (judged,) = judge(path, [make_pack({"a": [('families = ["file"]', 'families = ["account"]')]})])
    assert (judged.verdict, judged.missing) == ("undetermined", ("S",))
    assert judged.reason.endswith("Not seen: nobody looked for the facts 'account' in /part1!.")


def test_a_collector_that_failed(tmp_path: Path, make_pack: MakePack) -> None:
    path = write(tmp_path / "r.assay", [CLEAN])
    with Record(path, write=True) as record:
        record.begin()
        record.db.execute("UPDATE coverage SET failed = 2 WHERE family = 'account'")
    (judged,) = judge(path, [make_pack({"a": [('families = ["file"]', 'families = ["account"]')]})])
    assert judged.reason.endswith("Not seen: looking for the facts 'account' failed in 2 places.")


def test_undecided_names_its_reasons_and_how_to_get_the_rest(tmp_path: Path, make_pack: MakePack) -> None:
    path = write(tmp_path / "r.assay", [CLEAN])
    sql = "SELECT 'path ' || path AS reason FROM file WHERE type = 'regular'"
    more = f'[undecided]\nsql = "{sql}"\n[missing]\nL = "Ask it."\n'
    (judged,) = judge(path, [make_pack({"a": [("[findings]", more + "[findings]")]})])
    assert (judged.verdict, judged.missing) == ("undetermined", ("L",))
    assert judged.reason == (
        "2 files looked at, nothing found. Undecided: path /etc/x; path /usr/x. Missing L: Ask it."
    )


def test_identity_is_closed_also_where_the_check_was_passed(tmp_path: Path, make_pack: MakePack) -> None:
    path = write(tmp_path / "r.assay", [TREE])
    with Record(path, write=True) as record:
        record.add(Identity(subject="artefact:1", attribute="vendor", value="Somebody"), 1, 1)
        record.begin()
        record.commit()
        record.db.execute("DROP VIEW place")
        record.db.execute(
            "CREATE VIEW place AS SELECT content, id AS file, id AS container, value AS path FROM identity"
        )
    pack = make_pack({"sly": [("SELECT id FROM file", "SELECT path FROM place")]})
    with pytest.raises(JudgeError) as caught:
        judge(path, [pack])
    assert str(caught.value) == (
        "trial/sly: applies.sql: reads identity: a rule may not know who made or supplied a thing"
    )
    with Record(path) as record:
        assert [run.command for run in record.facts(Run)] == ["examine"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("'file:' || id AS evidence", "'file' AS evidence"), "evidence 'file' is not family:id"),
        (("'file:' || id AS evidence", "'files:1' AS evidence"), "evidence 'files:1' is not family:id"),
        (("'file:' || id AS evidence", "NULL AS evidence"), "evidence '' is not family:id"),
        (("'A file: ' || path AS message", "7 AS message"), "Expected `str`, got `int` - at `$[1]`"),
        (("container AS tree", "path AS tree"), "Expected `int | null`, got `str` - at `$[5]`"),
    ],
)
def test_findings_that_cannot_be_written_name_the_rule(
    tmp_path: Path, make_pack: MakePack, change: tuple[str, str], why: str
) -> None:
    path = write(tmp_path / "r.assay", [TREE])
    with pytest.raises(JudgeError) as caught:
        judge(path, [make_pack({"fine": [], "wrong": [change]})])
    assert str(caught.value) == f"trial/wrong: findings.sql: {why}"
    with Record(path) as record:
        assert not list(record.facts(Verdict))


def test_a_rule_that_never_ends_is_stopped_and_undetermined(tmp_path: Path, make_pack: MakePack) -> None:
    path = write(tmp_path / "r.assay", [TREE])
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    pack = make_pack({"a": [("SELECT id FROM file", endless)], "b": []})
    started = time.monotonic()
    judged = judge(path, [pack], seconds=0.2)
    assert time.monotonic() - started < 5
    assert short(judged) == [("a", "undetermined", ("S",), 0), ("b", "fail", (), 2)]
    assert judged[0].reason == "0 files looked at, nothing found. Not seen: the rule reached its time limit of 0.2 s."


def test_fifty_thousand_findings_in_a_stable_order(tmp_path: Path, make_pack: MakePack) -> None:
    path = write(tmp_path / "r.assay", [CLEAN])
    with Record(path, write=True) as record:
        for i in range(50_000):
            name = f"/telnet/{(i * 7919) % 50_000:05}"
            record.add(File(container=1, seq=i + 9, path=name, raw_path=None, type="regular", mode=0o644, size=1))
    pack = make_pack({"telnet": []})
    started = time.process_time()
    (judged,) = judge(path, [pack])
    spent = time.process_time() - started
    assert judged.findings == 50_000
    with Record(path) as record:
        paths = [name for (name,) in record.db.execute("SELECT path FROM finding ORDER BY id")]
        assert record.db.execute("SELECT count(*) FROM evidence").fetchone() == (50_000,)
    assert paths == sorted(paths)
    assert spent < 10


def test_no_record_is_made_by_judging(tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        judge(tmp_path / "none.assay", ["beyond-scas"])
    assert not (tmp_path / "none.assay").exists()
    (tmp_path / "text").write_text("not a record")
    with pytest.raises(RecordError):
        judge(tmp_path / "text", ["beyond-scas"])
    assert (tmp_path / "text").read_text() == "not a record"


def test_a_record_in_use_is_refused(tmp_path: Path, make_pack: MakePack) -> None:
    path = write(tmp_path / "r.assay", [TREE])
    with Record(path, write=True), pytest.raises(RecordError, match="another process is writing"):
        judge(path, [make_pack({"a": []})])


def test_a_pack_cannot_be_asked_for_twice(tmp_path: Path, make_pack: MakePack) -> None:
    path = write(tmp_path / "r.assay", [TREE])
    pack = make_pack({"a": []})
    other = make_pack({"a": []}, HEAD, name="copy")
    with pytest.raises(JudgeError, match="the pack trial is asked for twice"):
        judge(path, [pack, other])


def test_digest_needs_a_run_that_judged(tmp_path: Path) -> None:
    path = write(tmp_path / "r.assay", [TREE])
    with pytest.raises(JudgeError, match="run 1 judged nothing"):
        digest(path, 1)


def test_the_failure_of_another_inspector_is_no_gap(tmp_path: Path, make_pack: MakePack) -> None:
    path = write(tmp_path / "r.assay", [CLEAN])
    with Record(path, write=True) as record:
        record.begin()
        file, place, container, artefact = record.db.execute(
            "SELECT f.id, c.path || f.path, c.id, c.artefact FROM file AS f JOIN container AS c ON c.id = f.container"
        ).fetchone()
        for inspector in ("known-passwords@1", "passwd@1"):
            record.add(
                Unread(
                    artefact=artefact, container=container, file=file, path=place, scope="inspection",
                    reason="limit", inspector=inspector,
                )
            )  # fmt: skip
    rests = 'families = ["account"]\nobservers = ["{}"]'
    verdicts = {
        observer: judge(path, [make_pack({"a": [('families = ["file"]', rests.format(observer))]})])[0].reason
        for observer in ("passwd", "sshd-config")
    }
    assert verdicts["passwd"].endswith(f"Not seen: {place} was not read (limit).")
    assert "was not read" not in verdicts["sshd-config"]


def test_the_inspectors_that_rules_rest_on_exist() -> None:
    contents, trees = inspectors()
    named = {name for pack in available_packs() for rule in load_pack(pack).rules for name in rule.observers}
    assert named <= {*contents, *trees}
