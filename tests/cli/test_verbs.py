"""The real command: its help, exit codes, messages, and what it prints for people and for machines."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from assay.cli import cli
from assay.facts import columns, families
from assay.record.views import VIEWS
from assay.unpack.base import Limits
from tests.examine.support import ASSAY, assay, rows

VERBS = cli.list_commands(click.Context(cli))
ODD = "esc\x1b]0;owned\x07\x1b[2Jnew\nline\u202etxt<script>alert(1)<script>"
"""A name that would do harm on a terminal or in a page."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an examined and judged release (`fw`, `fw.assay`, `fw.html`)."""
    folder = tmp_path_factory.mktemp("cli")
    tree = folder / "fw"
    (tree / "etc/ssh").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "etc/passwd").write_text("root::0:0::/root:/bin/sh\n")
    (tree / "etc/ssh/sshd_config").write_text("PermitRootLogin yes\n")
    (tree / "usr/bin/telnetd").write_bytes(Path("/bin/ls").read_bytes())
    (tree / "usr/bin/telnetd").chmod(0o4755)
    (tree / f"usr/bin/{ODD}").write_text("#!/bin/sh\n")
    (tree / f"usr/bin/{ODD}").chmod(0o4777)
    assert assay("examine", "fw", "-q", cwd=folder).returncode == 0
    return folder


def options(verb: str) -> list[click.Parameter]:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    return command.params


def test_every_verb_and_option_is_documented(tmp_path: Path) -> None:
    done = assay("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    listed = {
        line.split()[0]: line.split(None, 1)[1:] for line in done.stdout.split("Commands:")[1].splitlines() if line
    }
    assert sorted(listed) == VERBS
    assert all(text for text in listed.values())
    for verb in VERBS:
        done = assay(verb, "--help", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), verb
        for option in options(verb):
            if isinstance(option, click.Option):
                assert option.help, (verb, option.name)
                assert all(name in done.stdout for name in option.opts), (verb, option.name)
    assert "Exit codes" in assay("--help", cwd=tmp_path).stdout


def test_help_loads_little() -> None:
    script = "import sys; sys.argv = ['assay', '--help']\nfrom assay.cli import main\ntry: main()\n" \
             "except SystemExit: pass\nprint(sorted(m for m in sys.modules), file=sys.stderr)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("Usage: assay")
    for heavy in ("rich", "hyperscan", "cryptography", "jinja2", "pyseccomp", "isal", "zstandard", "lzallright"):
        assert repr(heavy) not in done.stderr, heavy


def test_no_arguments_show_the_help(tmp_path: Path) -> None:
    done = assay(cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage: assay" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


WRONG = {
    "no such file": (["examine", "absent.bin"], "assay: absent.bin: cannot be read: No such file or directory"),
    "a device": (["examine", "/dev/null"], "assay: /dev/null: is neither a file nor a directory"),
    "no such folder": (
        ["examine", "fw", "-o", "absent/x.assay"],
        "assay: absent: no such folder; make it, or choose another with -o",
    ),
    "record is no record": (["query", "text", "SELECT 1"], "assay: text: cannot be opened as a record"),
    "record is a database": (["query", "other.sqlite", "SELECT 1"], "assay: other.sqlite: is not an Assay record"),
    "record is a folder": (["judge", "fw"], "assay: fw: no such record"),
    "record is absent": (["report", "absent.assay"], "assay: absent.assay: no such record"),
    "output is no record": (["examine", "fw", "-o", "text"], "assay: text: cannot be opened as a record"),
    "output is a database": (["examine", "fw", "-o", "other.sqlite"], "assay: other.sqlite: is not an Assay record"),
    "output is a folder": (["examine", "text", "-o", "fw"], "assay: fw: "),
    "no such pack": (["judge", "fw.assay", "--pack", "absent"], "assay: "),
    "no such pack when examining": (["examine", "text", "--pack", "absent"], "assay: "),
    "no such limit": (["examine", "fw", "--limit", "speed=3"], "assay: --limit speed=3: no such limit; there are"),
    "no number": (["examine", "fw", "--limit", "depth=many"], "assay: --limit depth=many: needs a whole number"),
    "no such report": (["examine", "fw", "--report", "pdf"], "assay: --report pdf: no such format; there are "),
    "no such form": (["report", "fw.assay", "--format", "pdf"], "assay: --format pdf: no such format; there are "),
    "no such family": (["schema", "absent"], "assay: absent: no such family; there are "),
    "bad SQL": (["query", "fw.assay", "SELEC 1"], 'assay: near "SELEC": syntax error'),
    "no such table": (["query", "fw.assay", "SELECT * FROM absent"], "assay: no such table: absent"),
    "no rows": (["query", "fw.assay", ""], "assay: the statement returns no rows; only SELECT is possible on a record"),
    "two statements": (["query", "fw.assay", "SELECT 1; SELECT 2"], "assay: You can only execute one statement"),
    "endless": (
        ["query", "fw.assay", "--seconds", "0.2",
         "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"],
        "assay: stopped at the time limit",
    ),
    "writing": (["query", "fw.assay", "DELETE FROM file"], "assay: only reading is possible on a record (SELECT)"),
    "writing by CTE": (
        ["query", "fw.assay", "WITH a AS (SELECT 1) INSERT INTO xattr SELECT 1, 1, '', ''"],
        "assay: only reading is possible on a record (SELECT)",
    ),
    "dropping": (["query", "fw.assay", "DROP TABLE file"], "assay: only reading is possible on a record (SELECT)"),
    "attaching": (["query", "fw.assay", "ATTACH 'new.db' AS n"], "assay: only reading is possible on a record"),
    "vacuum": (["query", "fw.assay", "VACUUM INTO 'new.db'"], "assay: only reading is possible on a record (SELECT)"),
    "pragma": (["query", "fw.assay", "PRAGMA writable_schema = ON"], "assay: only reading is possible on a record"),
    "extension": (["query", "fw.assay", "SELECT load_extension('x')"], "assay: "),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_done_is_said_in_one_line(place: Path, case: str) -> None:
    arguments, message = WRONG[case]
    (place / "text").write_text("not a record, but some text that is longer than the header of a database " * 20)
    if not (place / "other.sqlite").exists():
        import sqlite3

        with sqlite3.connect(place / "other.sqlite") as db:
            db.execute("CREATE TABLE a (b)")
        db.close()
    before = (place / "fw.assay").read_bytes()
    names = sorted(path.name for path in place.iterdir())
    done = assay(*arguments, cwd=place)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(message), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert (place / "fw.assay").read_bytes() == before
    assert sorted(path.name for path in place.iterdir()) == names


@pytest.mark.parametrize("arguments", [["absent"], ["examine"], ["examine", "fw", "--absent"], ["query", "fw.assay"]])
def test_wrong_usage_shows_how(place: Path, arguments: list[str]) -> None:
    done = assay(*arguments, cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage:" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreadable_artefact(tmp_path: Path) -> None:
    (tmp_path / "fw").write_text("x")
    (tmp_path / "fw").chmod(0)
    if os.access(tmp_path / "fw", os.R_OK):
        pytest.skip("this user may read everything")
    done = assay("examine", "fw", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "assay: fw: cannot be read: Permission denied\n")


def test_exit_codes(place: Path, tmp_path: Path) -> None:
    assert assay("judge", "fw.assay", cwd=place).returncode == 0
    assert assay("judge", "fw.assay", "--fail-on", "critical", cwd=place).returncode in (0, 1)
    assert assay("judge", "fw.assay", "--fail-on", "info", cwd=place).returncode == 1
    assert assay("judge", "fw.assay", "--fail-on", "undetermined", cwd=place).returncode == 1
    options = ["--no-report", "-q", "--fail-on", "info"]
    assert assay("examine", place / "fw", "-o", tmp_path / "a.assay", *options, cwd=tmp_path).returncode == 1
    (tmp_path / "cut.gz").write_bytes(bytes.fromhex("1f8b0800000000000003") + b"x" * 50)
    assert assay("examine", "cut.gz", "--no-report", "-q", cwd=tmp_path).returncode == 3
    (tmp_path / "plain").write_text("plain")
    assert assay("examine", "plain", "--no-report", "-q", cwd=tmp_path).returncode == 0


def test_piped_output_is_quiet_and_plain(place: Path, tmp_path: Path) -> None:
    done = assay("examine", place / "fw", "-o", tmp_path / "a.assay", "--no-report", cwd=tmp_path)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert f"record  {tmp_path / 'a.assay'}" in done.stdout
    done = assay("examine", place / "fw", "-o", tmp_path / "b.assay", "-q", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("", "")
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".html") == ["b.html"]


def on_terminal(*arguments: object, cwd: Path, interrupt: float = 0) -> tuple[int, str]:
    """Run the command on a terminal; return its exit code and what it showed."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.environ.update(TERM="xterm-256color", XDG_CACHE_HOME=str(cwd / "cache"), COLUMNS="100", LINES="40")
        os.execv(ASSAY, ["assay", *map(str, arguments)])
    shown = b""
    started = time.monotonic()
    while True:
        ready, _, _ = select.select([fd], [], [], 0.05)
        if interrupt and time.monotonic() - started > interrupt and b"files" in shown:
            os.write(fd, b"\x03")
            interrupt = 0
        if ready:
            try:
                data = os.read(fd, 65536)
            except OSError:
                break
            if not data:
                break
            shown += data
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(errors="replace")


def test_a_terminal_sees_progress(tmp_path: Path) -> None:
    tree = tmp_path / "fw"
    tree.mkdir()
    for i in range(300):
        (tree / f"{i}{ODD[:40]}").write_bytes(os.urandom(200_000))
    code, shown = on_terminal("examine", "fw", "--no-report", "--no-judge", cwd=tmp_path)
    assert code == 0, shown
    assert "301/301 files" in shown or "300/300 files" in shown
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown


def test_ctrl_c_on_a_terminal(tmp_path: Path) -> None:
    tree = tmp_path / "fw"
    tree.mkdir()
    for i in range(600):
        (tree / f"{i}").write_bytes(os.urandom(300_000))
    code, shown = on_terminal("examine", "fw", "--no-report", "--no-judge", cwd=tmp_path, interrupt=0.1)
    if code == 0:
        pytest.skip("it was done before it could be interrupted")
    assert code == 130, shown
    assert "assay: interrupted; the same command continues fw.assay" in shown
    assert "Traceback" not in shown
    assert assay("examine", "fw", "--no-report", "--no-judge", "-q", cwd=tmp_path).returncode == 0
    assert rows(tmp_path / "fw.assay", "SELECT count(*) FROM file WHERE content IS NOT NULL") == [(600,)]


def test_terminate_leaves_a_record_that_can_be_continued(tmp_path: Path) -> None:
    tree = tmp_path / "fw"
    tree.mkdir()
    for i in range(200):
        (tree / f"{i}").write_bytes(os.urandom(300_000))
    process = subprocess.Popen([ASSAY, "examine", "fw", "--no-report", "--no-judge", "--no-cache", "-q"], cwd=tmp_path)
    time.sleep(0.8)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    assert assay("examine", "fw", "--no-report", "-q", "--replace", cwd=tmp_path).returncode == 0
    assert rows(tmp_path / "fw.assay", "SELECT count(*) FROM file WHERE content IS NOT NULL") == [(200,)]


def test_json_output(place: Path, tmp_path: Path) -> None:
    done = assay("examine", place / "fw", "-o", tmp_path / "a.assay", "--json", "--report", "json", cwd=tmp_path)
    summary = json.loads(done.stdout)
    assert (summary["artefacts"], summary["unread"], summary["resumed"]) == (1, 0, False)
    assert summary["record"] == str(tmp_path / "a.assay")
    assert summary["reports"] == [str(tmp_path / "a.json")]
    assert {v["verdict"] for v in summary["verdicts"]} <= {"pass", "fail", "not-applicable", "undetermined"}
    json.loads((tmp_path / "a.json").read_text())
    judged = json.loads(assay("judge", "fw.assay", "--json", cwd=place).stdout)
    assert {row["rule"] for row in judged} == {row["rule"] for row in summary["verdicts"]}
    limits = json.loads(assay("limits", "--json", cwd=place).stdout)
    assert [row["name"] for row in limits] == list(Limits.__struct_fields__)
    assert all(row["text"] and row["default"] == getattr(Limits(), row["name"]) for row in limits)
    text = assay("limits", cwd=place).stdout
    assert all(name in text for name in Limits.__struct_fields__)


def test_schema_covers_every_family_and_column(place: Path) -> None:
    listed = {family["name"]: family for family in json.loads(assay("schema", "--json", cwd=place).stdout)}
    assert sorted(listed) == sorted([*families(), *VIEWS])
    text = assay("schema", cwd=place).stdout
    for name, family in families().items():
        shown = {column["name"]: column for column in listed[name]["columns"]}
        stored = {
            row[0]: row[1] for row in rows(place / "fw.assay", "SELECT name, type FROM pragma_table_info(?)", name)
        }
        assert {column: value["type"] for column, value in shown.items()} == stored
        assert {column for column, *_ in columns(family)} <= set(shown)
        assert all(column["text"] for column in shown.values()), name
        assert f"## {name}\n" in text
        assert all(f"| {column} |" in text for column in shown)
    one = assay("schema", "file", cwd=place).stdout
    assert "## file" in one
    assert "## elf" not in one


ODD_FILE = "SELECT path, mode FROM file WHERE path GLOB '*esc*'"


def test_query_as_table_json_and_csv(place: Path) -> None:
    table = assay("query", "fw.assay", ODD_FILE, cwd=place).stdout
    head, line = table.splitlines()
    assert head == "path\tmode"
    assert line == ("/usr/bin/esc\\x1b]0;owned\\x07\\x1b[2Jnew\\x0aline\\u202etxt<script>alert(1)<script>\t2559")
    as_json = json.loads(assay("query", "fw.assay", ODD_FILE, "--json", cwd=place).stdout)
    assert as_json == [{"path": f"/usr/bin/{ODD}", "mode": 0o4777}]
    assert json.loads(assay("query", "fw.assay", ODD_FILE, "--format", "json", cwd=place).stdout) == as_json
    as_csv = assay("query", "fw.assay", ODD_FILE, "--format", "csv", cwd=place).stdout
    assert list(csv.reader(io.StringIO(as_csv))) == [["path", "mode"], [f"/usr/bin/{ODD}", str(0o4777)]]
    assert assay("query", "fw.assay", "SELECT 1 AS a WHERE 0", "--json", cwd=place).stdout == "[]\n"
    assert assay("query", "fw.assay", "SELECT x'00ff' AS a, NULL AS b, 1.5 AS c", cwd=place).stdout == (
        "a\tb\tc\n00ff\t\t1.5\n"
    )
    code, shown = on_terminal("query", "fw.assay", ODD_FILE, cwd=place)
    assert code == 0
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown


def test_a_name_does_no_harm_in_reports(place: Path) -> None:
    for form in ("terminal", "html", "json", "sarif", "cyclonedx"):
        done = assay("report", "fw.assay", "--format", form, "-o", "-", cwd=place)
        assert (done.returncode, done.stderr) == (0, ""), form
        assert "\x1b" not in done.stdout, form
        assert "<script>alert(1)<script>" not in done.stdout or form in ("terminal", "json", "sarif", "cyclonedx"), form
        assert "\u202e" not in done.stdout or form in ("json", "sarif", "cyclonedx"), form
    code, shown = on_terminal("report", "fw.assay", "--format", "terminal", cwd=place)
    assert code == 0
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown


def test_reports_go_where_they_are_sent(place: Path, tmp_path: Path) -> None:
    done = assay("report", place / "fw.assay", "-o", tmp_path / "x.html", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'x.html'}\n")
    assert (tmp_path / "x.html").read_text() == (place / "fw.html").read_text() or (tmp_path / "x.html").stat().st_size
    done = assay("report", place / "fw.assay", "-o", tmp_path / "absent/x.html", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_pipe_is_no_fault(place: Path) -> None:
    command = f"{ASSAY} query fw.assay 'SELECT * FROM file, file AS b, file AS c' | head -1"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=place, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("id\tcontainer\t")


def test_two_examinations_do_not_write_one_record(tmp_path: Path) -> None:
    from assay.record import Record

    (tmp_path / "fw").write_text("x")
    with Record(tmp_path / "fw.assay", write=True):
        done = assay("examine", "fw", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "assay: fw.assay: another process is writing this record; wait for it to end\n"
