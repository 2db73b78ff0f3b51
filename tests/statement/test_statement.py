"""Statements: what a supplier declares, read, added to a record, and held against what was found."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.record import reader
from assay.statement import StatementError, read, template
from assay.statement.lines import line_of
from tests.examine.support import assay, rows

STATEMENT = """\
assay_statement = 1
product = "Core"
version = "4.2"
supplier = "Example Networks"
date = 2026-10-01
complete = ["account", "service"]

[[account]]
name = "root"
purpose = "console"

[[account]]
name = "operator"
purpose = "operation and maintenance"
change_password = true

[[port]]
protocol = "tcp"
port = 22
purpose = "maintenance"
service = "ssh.service"
tls = true

[[service]]
name = "telemetry.service"
purpose = "none"

[[escalation]]
mechanism = "setuid"
what = "/usr/bin/su"
purpose = "maintenance"

[[support]]
name = "release 4"
until = 2031-12-31
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small root file system."""
    root = tmp_path / "root"
    for folder in ("etc/systemd/system/multi-user.target.wants", "usr/bin", "usr/lib/systemd/system", "sbin"):
        (root / folder).mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nhidden:x:7:7::/:/bin/sh\n")
    (root / "etc/shadow").write_text("root:*:1::::::\nhidden:*:1::::::\n")
    (root / "usr/lib/systemd/system/telemetry.service").write_text("[Service]\nExecStart=/usr/bin/telemetry\n")
    wanted = root / "etc/systemd/system/multi-user.target.wants/telemetry.service"
    wanted.symlink_to("/usr/lib/systemd/system/telemetry.service")
    (root / "usr/lib/systemd/system/multi-user.target").write_text("[Unit]\nDescription=Multi-User\n")
    (root / "usr/lib/systemd/system/default.target").symlink_to("multi-user.target")
    (root / "sbin/init").symlink_to("/usr/lib/systemd/systemd")
    (root / "usr/lib/systemd/systemd").write_bytes(b"")
    (root / "usr/bin/su").write_bytes(b"#!/bin/sh\n")
    (root / "usr/bin/su").chmod(0o4755)
    return root


def test_declared_is_held_against_found(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "statement.toml").write_text(STATEMENT)
    done = assay(
        "examine", tree, "-o", "r.assay", "--statement", "statement.toml", "--quiet", "--no-report", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    record = tmp_path / "r.assay"
    assert sorted(rows(record, "SELECT topic, key, state, family FROM declared_found")) == [
        ("account", "os/hidden", "found only", "account"),
        ("account", "os/operator", "declared only", None),
        ("account", "os/root", "both", "account"),
        ("escalation", "setuid:/usr/bin/su", "both", "file"),
        ("port", "tcp/22", "declared only", None),
        ("service", "telemetry", "both", "service"),
        ("support", "release 4", "declared only", None),
    ]
    assert rows(record, "SELECT format, version, dated, topics FROM statement") == [
        ("assay-toml", "1", "2026-10-01", '["account","service"]')
    ]
    # who states it is where no rule can read it
    assert rows(record, "SELECT attribute, value FROM identity WHERE subject = 'statement:1' ORDER BY id") == [
        ("supplier", "Example Networks"), ("name", "Core"), ("version", "4.2"),
    ]  # fmt: skip
    assert [json.loads(v) for (v,) in rows(record, "SELECT value FROM declared WHERE topic = 'port'")] == [
        {"protocol": "tcp", "port": 22, "purpose": "maintenance", "service": "ssh.service", "tls": True}
    ]


def test_a_statement_is_added_later_and_once(tmp_path: Path, tree: Path) -> None:
    assert assay("examine", tree, "-o", "r.assay", "-q", "--no-report", "--no-judge", cwd=tmp_path).returncode == 0
    before = rows(tmp_path / "r.assay", "SELECT count(*), max(id) FROM file")
    (tmp_path / "statement.toml").write_text(STATEMENT)
    assert assay("statement", "add", "r.assay", "statement.toml", cwd=tmp_path).stdout == "r.assay: declared: 6\n"
    again = assay("statement", "add", "r.assay", "statement.toml", cwd=tmp_path)
    assert again.stdout == "r.assay: has this statement already\n"
    assert rows(tmp_path / "r.assay", "SELECT count(*) FROM statement") == [(1,)]
    assert rows(tmp_path / "r.assay", "SELECT count(*), max(id) FROM file") == before
    missing = assay("statement", "add", "none.assay", "statement.toml", cwd=tmp_path)
    assert (missing.returncode, missing.stderr) == (2, "assay: none.assay: no such record; `assay examine` makes one\n")


def test_a_template_can_be_read_and_names_what_was_found(tmp_path: Path, tree: Path) -> None:
    assert assay("statement", "new", "empty.toml", cwd=tmp_path).returncode == 0
    assert read(tmp_path / "empty.toml").declared == []
    there = assay("statement", "new", "empty.toml", cwd=tmp_path)
    assert there.stderr == "assay: empty.toml: is there already; choose another name, or remove it\n"
    assert assay("examine", tree, "-o", "r.assay", "-q", "--no-report", "--no-judge", cwd=tmp_path).returncode == 0
    assert assay("statement", "new", "filled.toml", "--record", "r.assay", cwd=tmp_path).returncode == 0
    filled = tmp_path / "filled.toml"
    with pytest.raises(StatementError, match=r"filled\.toml:\d+: the purpose of account os/hidden is empty"):
        read(filled)
    filled.write_text(filled.read_text().replace('purpose = ""', 'purpose = "maintenance"'))
    declared = {(topic, key) for topic, key, _, _ in read(tmp_path / "filled.toml").declared}
    with reader(tmp_path / "r.assay") as db:
        found = set(db.execute("SELECT DISTINCT topic, key FROM found WHERE topic != 'sbom'").fetchall())
    assert declared == found >= {("account", "os/root"), ("escalation", "setuid:/usr/bin/su"), ("service", "telemetry")}


def uncommented(text: str) -> str:
    """Return a template with its examples switched on."""
    lines = text.splitlines()
    return "\n".join(line[2:] if line.startswith(("# [[", "# ")) and ("= " in line or "[[" in line) else line
                     for line in lines)  # fmt: skip


def test_the_examples_of_the_template_are_valid(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(uncommented(template()))
    topics = {topic for topic, *_ in read(tmp_path / "s.toml").declared}
    assert topics == {"port", "account", "service", "software", "role", "escalation", "egress", "support"}


CYCLONEDX = {
    "bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"timestamp": "2026-10-01T00:00:00Z"},
    "components": [
        {"type": "library", "name": "zlib", "version": "1.3", "purl": "pkg:deb/debian/zlib1g@1.3",
         "licenses": [{"license": {"id": "Zlib"}}, {"expression": "MIT OR BSD-3-Clause"}],
         "components": [{"type": "file", "name": "inner"}]},
    ],
}  # fmt: skip
SPDX = {
    "spdxVersion": "SPDX-2.3", "creationInfo": {"created": "2026-10-01T00:00:00Z"},
    "packages": [
        {"name": "zlib", "versionInfo": "1.3", "licenseDeclared": "Zlib",
         "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:generic/zlib@1.3"}]},
        {"name": "other", "licenseDeclared": "NOASSERTION"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "form", "declared"),
    [
        (CYCLONEDX, ("cyclonedx", "1.6", "2026-10-01T00:00:00Z"), [
            ("sbom", "zlib@1.3", {"name": "zlib", "version": "1.3", "purl": "pkg:deb/debian/zlib1g@1.3",
                                  "type": "library", "licences": ["Zlib", "MIT OR BSD-3-Clause"]}, "/components/0"),
            ("sbom", "inner", {"name": "inner", "type": "file"}, "/components/0/components/0"),
        ]),
        (SPDX, ("spdx", "SPDX-2.3", "2026-10-01T00:00:00Z"), [
            ("sbom", "zlib@1.3", {"name": "zlib", "version": "1.3", "purl": "pkg:generic/zlib@1.3",
                                  "licences": ["Zlib"]}, "/packages/0"),
            ("sbom", "other", {"name": "other"}, "/packages/1"),
        ]),
    ],
)  # fmt: skip
def test_sboms(tmp_path: Path, content: dict[str, Any], form: tuple[str, str, str], declared: list[Any]) -> None:
    (tmp_path / "sbom.json").write_text(json.dumps(content))
    found = read(tmp_path / "sbom.json")
    assert (found.format, found.version, found.dated) == form
    assert found.declared == declared


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is neither a statement (assay_statement = 1) nor CycloneDX nor SPDX in JSON; "
             "`assay statement new` writes a template"),
        ("<bom/>", "is not TOML: Invalid statement (at line 1, column 1); XML and tag-value forms are not read, "
                   "convert it to JSON"),
        ("{", "is not JSON: Input data was truncated"),
        ("assay_statement = 2", ":1: Invalid enum value 2 - at `$.assay_statement`"),
        ("assay_statement = 1\n[[port]]\nprotocol = 'tcp'\nport = 70000\npurpose = ''",
         ":4: Expected `int` <= 65535 - at `$.port[0].port`"),
        ("assay_statement = 1\n[[port]]\nprot = 'tcp'", ":3: Object contains unknown field `prot` - at `$.port[0]`"),
        ("assay_statement = 1\n[[role]]\nname = 'a'\npurpose = ' '\n",
         ":4: the purpose of role a is empty; say what it is for, or strike the entry"),
        ("assay_statement = 1\n[[role]]\nname = 'a'\npurpose = 'x'\n\n[[role]]\npurpose = 'y'\nname = 'a'\n",
         ":6: role a is declared twice, on line 2 before"),
        ('{"assay_statement": 1,\n "role": [\n  {"name": "a", "purpose": "x"},\n  {"name": "a", "purpose": "y"}]}',
         ":4: role a is declared twice, on line 3 before"),
        ('{"assay_statement": 1,\n "role": [\n  {"name": "a",\n   "purpose": 1}]}',
         ":4: Expected `str`, got `int` - at `$.role[0].purpose`"),
        ('{"assay_statement": 1,\n "role": [}', "is not JSON: JSON is malformed: invalid character (byte 33) (line 2)"),
    ],
)  # fmt: skip
def test_what_is_no_statement_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s").write_text(text)
    message = message if message[0] == ":" else f": {message}"
    done = assay("statement", "check", "s", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"assay: s{message}\n")
    # and before hours of work
    examined = assay("examine", tmp_path, "-o", "r.assay", "--statement", "s", cwd=tmp_path)
    assert (examined.returncode, examined.stderr) == (2, f"assay: s{message}\n")


def test_lines_of_places() -> None:
    toml = b'a = 1\n[[port]]\nx = """\n[[port]]\n"""\ny = 2\n  [[ port ]]\n"y" = 3\n[other]\ny = 4\n'
    cases: dict[tuple[str | int, ...], int | None] = {
        ("a",): 1, ("port", 0): 2, ("port", 0, "y"): 6, ("port", 1): 7, ("port", 1, "y"): 8, ("port", 1, "z"): 7,
        ("other",): 9, ("none",): None, (): None, ("port", 9, "y"): None,
    }  # fmt: skip
    assert {steps: line_of(toml, steps) for steps in cases} == cases
    text = b'{"a":\n [{"b": [1,\n 2]},\n {"b": 3, "}": "]"}],\n "c": {"d": 1}}'
    wanted: dict[tuple[str | int, ...], int | None] = {
        ("a",): 1, ("a", 0): 2, ("a", 0, "b", 1): 3, ("a", 1): 4, ("a", 1, "b"): 4, ("a", 1, "z"): 4, ("c", "d"): 5,
        ("z",): None,
    }  # fmt: skip
    assert {steps: line_of(text, steps) for steps in wanted} == wanted


@given(st.text("{}[]\",:=.\n'#ab1", max_size=80))
def test_lines_of_any_text(text: str) -> None:
    for data in (text.encode(), b"{" + text.encode()):
        line_of(data, ("a", 0, "b"))


DIFFERENT = """\
assay_statement = 1
port = [{protocol = "udp", port = 2222, purpose = "x"}, {protocol = "tcp", port = 21, purpose = "files", tls = true}]
service = [{name = "telemetry", purpose = "x", user = "nobody"}]
account = [{name = "root", purpose = "x", login = true}, {name = "hidden", purpose = "x", login = false}]
software = [{name = "none", version = "1"}]
"""


def test_what_both_state_is_compared(tmp_path: Path, tree: Path) -> None:
    (tree / "etc/ssh").mkdir()
    (tree / "etc/ssh/sshd_config").write_text("Port 2222\n")
    (tree / "etc/vsftpd.conf").write_text("listen=YES\n")
    (tmp_path / "s.toml").write_text(DIFFERENT)
    done = assay("examine", tree, "-o", "r.assay", "--statement", "s.toml", "-q", "--no-report", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    sql = "SELECT DISTINCT topic, key, state, differs FROM declared_found WHERE declared > 0"
    assert sorted(rows(tmp_path / "r.assay", sql)) == [
        ("account", "os/hidden", "both", None),
        ("account", "os/root", "both", "login: declared yes, found no"),
        ("port", "tcp/21", "both", "tls: declared yes, found no; purpose: declared files, found ftp"),
        ("port", "udp/2222", "declared only", "protocol: declared udp, found tcp"),
        ("service", "telemetry", "both", "user: declared nobody, found root"),
        ("software", "none", "declared only", None),
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(st.sampled_from(["components", "packages", "metadata", "port", "complete"]), json_values, st.booleans())
def test_any_json(tmp_path_factory: pytest.TempPathFactory, field: str, value: Any, spdx: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    head = {"spdxVersion": "SPDX-2.3"} if spdx else {"bomFormat": "CycloneDX", "assay_statement": 1}
    path.write_text(json.dumps({**head, field: value}))
    try:
        read(path)
    except StatementError as error:
        assert "\n" not in str(error)


def test_deep_nesting_ends(tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text("assay_statement = 1\nport = " + "[" * 100_000)
    with pytest.raises(StatementError, match="is not TOML"):
        read(tmp_path / "deep.toml")
    assert tomllib.loads("a = 1") == {"a": 1}
