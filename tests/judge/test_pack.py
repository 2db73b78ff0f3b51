from __future__ import annotations

import contextlib
import random
import re
import shutil
import textwrap
from pathlib import Path

import pytest

from assay.judge import PackError, available_packs, judge, load_pack
from assay.judge.pack import HOME

from .conftest import HEAD, MakePack
from .release import write

SQL = "SELECT id FROM file"


def errors(folder: Path) -> list[str]:
    with pytest.raises(PackError) as caught:
        load_pack(folder)
    return [line.removeprefix(f"{folder}/") for line in str(caught.value).splitlines()]


def test_our_packs_load_by_name() -> None:
    assert list(available_packs()) == ["3gpp-33.117-18.1", "beyond-scas"]
    for name in available_packs():
        pack = load_pack(name)
        assert pack.name == name
        assert [rule.name for rule in pack.rules] == [f"{name}/{rule.id}" for rule in pack.rules]


def test_rules_are_in_the_order_of_their_numbers(make_pack: MakePack) -> None:
    pack = load_pack(make_pack({"4.3.2.10-b": [], "4.3.2.9-a": [], "4.3.10-c": [], "4.3.3.1-d": [], "zero": []}))
    assert [rule.id for rule in pack.rules] == ["4.3.2.9-a", "4.3.2.10-b", "4.3.3.1-d", "4.3.10-c", "zero"]


def test_every_error_of_every_file_in_one_go(make_pack: MakePack) -> None:
    folder = make_pack(
        {
            "a": [('severity = "high"', 'severity = "awful"\ncolour = "red"'), ('check = "Looks."\n', "")],
            "b": [('["national-security"]', '["world-peace", "privacy"]'), ('classes = ["S"]', 'classes = "S"')],
            "c": [('id = "c"', 'id = "other"'), ('power = "decide"', 'power = "decide-with-D"')],
            "d": [("FROM file WHERE", "FROM files WHERE"), (SQL, "SELECT count( FROM file")],
            "e": [("'file:' || id AS evidence", "uid AS owner"), ("none = ", "never = ")],
            "f": "id = [",
            "g": [('id = "g"', 'id = "g"\nclause = "4.1"'), ("'file:' || id AS evidence", "'file:' || id AS proof")],
            "h": [("references", "reads = [7]\nreferences"), ('limits = "Sees little."', 'limits = " "')],
        }
    )
    keys = "id, title, clause, test_case, document, criteria, classes, power, severity, check, limits, remedy, "
    keys += "references, families, reads, observers, applies, looked, findings, undecided, missing"
    criteria = "economic-security, human-rights, intellectual-property, national-security, privacy"
    assert errors(folder) == [
        f"a.toml: colour: unknown key; possible are {keys}",
        "a.toml: severity: 'awful' is none of critical, high, info, low, medium",
        "a.toml: check: is missing",
        f"b.toml: criteria: 'world-peace' is none of {criteria}",
        "b.toml: classes: has to be a list of texts",
        "c.toml: id: 'other' is not the file's name 'c'",
        "c.toml: missing: needed for power decide-with-D",
        "c.toml: missing: D is needed for power decide-with-D",
        'd.toml: applies.sql: near "FROM": syntax error',
        "d.toml: findings.sql: no such table: files",
        "e.toml: applies.never: unknown key; possible are sql, noun, none",
        "e.toml: applies.none: is missing",
        "f.toml: Invalid value (at end of document)",
        "g.toml: clause: the file's name does not begin with '4.1'",
        "g.toml: findings.sql: lacks the column evidence",
        "h.toml: limits: is empty",
        "h.toml: reads: has to hold texts that are not empty",
    ]


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT value FROM identity", "reads identity: a rule may not know who made or supplied a thing"),
        ("SELECT 1 FROM Identity", "reads identity: a rule may not know who made or supplied a thing"),
        ("SELECT id FROM file WHERE id IN (SELECT id FROM identity)", "reads identity: a rule may not know who made "),
        ("SELECT * FROM latest_verdict", "reads verdict: a rule judges facts, not earlier runs and verdicts"),
        ("SELECT count(*) FROM identity", "reads identity: a rule may not know who made or supplied a thing"),
        ("SELECT options FROM run", "reads run: a rule judges facts, not earlier runs and verdicts"),
        ("SELECT data FROM dbstat", "vtable constructor failed: dbstat"),
        ("SELECT sql FROM sqlite_master", "uses sqlite_master, which a rule may not"),
        ("SELECT random()", "uses random(), which a rule may not"),
        ("SELECT 1); DELETE FROM file; SELECT (1", 'near ";": syntax error'),
        ("DELETE FROM file RETURNING id", 'near "DELETE": syntax error'),
    ],
)
def test_sql_that_a_rule_may_not_use(make_pack: MakePack, sql: str, why: str) -> None:
    (error,) = errors(make_pack({"a": [(f'sql = "{SQL}"', f'sql = "{sql}"')]}))
    assert error.startswith(f"a.toml: applies.sql: {why}") or "no such column" in error, error


def test_shared_queries_are_checked_and_count_for_the_digest(make_pack: MakePack) -> None:
    shared = "[shared]\n" + 'big = "SELECT * FROM file WHERE size > 9"\nbigger = "SELECT * FROM big WHERE size > 99"\n'
    use = [(f'sql = "{SQL}"', 'sql = "SELECT id FROM bigger"')]
    before = load_pack(make_pack({"a": use, "b": []}, HEAD + shared)).rules
    after = load_pack(make_pack({"a": use, "b": []}, HEAD + shared.replace('> 9"', '> 8"'))).rules
    assert [rule.shared.keys() for rule in before] == [{"big", "bigger"}, set()]
    assert before[0].digest != after[0].digest
    assert before[1].digest == after[1].digest
    bad = HEAD + '[shared]\nfile = "SELECT 1"\nwho = "SELECT * FROM identity"\n'
    assert errors(make_pack({"a": []}, bad)) == [
        "pack.toml: shared.file: has to be a new name of letters, digits and _",
        "pack.toml: shared.who: reads identity: a rule may not know who made or supplied a thing",
    ]


def test_no_pack_and_no_rules(tmp_path: Path, make_pack: MakePack) -> None:
    with pytest.raises(PackError) as caught:
        load_pack("no-such-pack")
    assert str(caught.value) == (
        "no-such-pack: no such pack; there are 3gpp-33.117-18.1, beyond-scas, or give a folder that has a pack.toml"
    )
    assert errors(make_pack({})) == [f"{tmp_path / 'trial'}: has no rules"]


def test_files_that_are_no_text_or_too_large(make_pack: MakePack) -> None:
    folder = make_pack({"a": []})
    (folder / "b.toml").write_bytes(b"\xff\xfe")
    (folder / "c.toml").write_bytes(b"#" * (2 << 20))
    (folder / "d.toml").write_text("a = " + "[" * 20_000)
    found = errors(folder)
    assert [line.split(":")[0] for line in found] == ["b.toml", "c.toml", "d.toml"]


@pytest.mark.parametrize("name", list(available_packs()))
def test_rule_files_cut_anywhere_are_refused_or_whole(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    shutil.copytree(HOME / name, folder)
    rules = sorted(path for path in folder.glob("*.toml") if path.name != "pack.toml")
    whole = rules[0].read_bytes()
    for path in rules[1:]:
        path.unlink()
    for cut in range(0, len(whole), 211):
        rules[0].write_bytes(whole[:cut])
        with pytest.raises(PackError):
            load_pack(folder)


@pytest.mark.parametrize("name", list(available_packs()))
def test_rule_files_with_bytes_changed_are_refused_or_whole(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    shutil.copytree(HOME / name, folder)
    chance = random.Random(33117)
    files = sorted(folder.glob("*.toml"))
    for _ in range(20):
        path = chance.choice(files)
        whole = path.read_bytes()
        broken = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        path.write_bytes(broken)
        with contextlib.suppress(PackError):
            load_pack(folder)
        path.write_bytes(whole)
    assert load_pack(folder).rules


def test_the_example_of_the_how_to_works(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/how-to/write-a-rule.md").read_text()
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        lines = textwrap.dedent(block)
        (tmp_path / lines.split()[1].removeprefix("mypack/")).write_text(lines)
    owned, given = {"/bin/su": (0o4755, 0, 0, b"su")}, {"/bin/su": (0o4775, 0, 0, b"su")}
    got = []
    for number, tree in enumerate((owned, given)):
        (judged,) = judge(write(tmp_path / f"{number}.assay", [tree]), [tmp_path])
        got.append((judged.rule.name, judged.verdict, judged.reason))
    assert got == [
        ("mypack/no-passwordless-su", "pass", "1 set-uid files named su looked at, nothing found."),
        ("mypack/no-passwordless-su", "fail", "1 set-uid files named su looked at, 1 found."),
    ]
