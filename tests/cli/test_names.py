"""Where the command writes: never over or into what it examines, and under names as odd as the release's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.examine.support import assay, rows


@pytest.mark.parametrize(
    ("artefact", "options"),
    [
        ("index.html", []),
        ("page.json", ["--report", "json"]),
        ("old.assay", ["--no-report", "--replace"]),
        ("fw.bin", ["-o", "fw.bin"]),
        ("fw.bin", ["-o", "link.assay"]),
    ],
)
def test_what_is_examined_is_never_written_over(tmp_path: Path, artefact: str, options: list[str]) -> None:
    (tmp_path / artefact).write_text("evidence")
    (tmp_path / "link.assay").symlink_to("fw.bin")
    done = assay("examine", artefact, *options, cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "choose another place with -o" in done.stderr
    assert (tmp_path / artefact).read_text() == "evidence"


def test_a_record_is_not_replaced_where_it_is_the_artefact(tmp_path: Path) -> None:
    (tmp_path / "fw.bin").write_text("evidence")
    assert assay("examine", "fw.bin", "--no-report", cwd=tmp_path).returncode == 0
    before = (tmp_path / "fw.assay").read_bytes()
    assert assay("examine", "fw.assay", "--no-report", "--replace", cwd=tmp_path).returncode == 2
    assert (tmp_path / "fw.assay").read_bytes() == before


def test_a_record_does_not_lie_in_the_directory_that_it_is_about(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = assay("examine", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "choose another place with -o" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_release_whose_name_is_not_utf8(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/fw\xff"))
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/passwd").write_text("root::0:0::/:/bin/sh\n")
    done = assay("examine", os.fsdecode(b"fw\xff"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = Path(os.fsdecode(os.fsencode(tmp_path) + b"/fw\xff.assay"))
    assert rows(record, "SELECT value FROM identity") == [("fw\\xff",)]
    assert rows(record, "SELECT name, password FROM account") == [("root", "empty")]
