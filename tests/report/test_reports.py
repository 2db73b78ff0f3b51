from __future__ import annotations

import io
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.record import Record, RecordError
from assay.report import render, reports
from assay.report.base import loads, place, quantity, shortened, utc, visible

from .records import hostile, large, realistic


def test_the_registry_has_every_format() -> None:
    assert {name: report.suffix for name, report in reports().items()} == {
        "cyclonedx": ".cdx.json",
        "html": ".html",
        "json": ".json",
        "sarif": ".sarif",
        "terminal": ".txt",
    }


@pytest.mark.parametrize("format", reports())
def test_a_report_is_the_same_for_the_same_record(tmp_path: Path, format: str) -> None:
    record = realistic(tmp_path / "r.assay")
    before = record.read_bytes()
    outs = []
    for _ in range(2):
        stream = io.StringIO()
        render(record, format, stream)
        outs.append(stream.getvalue())
    assert outs[0] == outs[1] != ""
    render(record, format, tmp_path / "out")
    assert (tmp_path / "out").read_text(encoding="utf-8") == outs[0]
    assert record.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "r.assay"]


@pytest.mark.parametrize("format", reports())
def test_hostile_text_and_an_empty_record_give_a_report(tmp_path: Path, format: str) -> None:
    stream = io.StringIO()
    render(hostile(tmp_path / "r.assay"), format, stream)
    stream.getvalue().encode("utf-8")
    Record(tmp_path / "empty.assay", write=True).close()
    render(tmp_path / "empty.assay", format, stream)


@pytest.mark.parametrize("format", reports())
def test_text_that_is_not_utf8_in_a_meddled_record(tmp_path: Path, format: str) -> None:
    record = realistic(tmp_path / "r.assay")
    with Record(record, write=True) as r:
        r.db.execute("UPDATE finding SET message = CAST(x'41ff42' AS TEXT), path = CAST(x'2fc328' AS TEXT)")
        r.db.execute("UPDATE elf SET needed = '[broken', imports = '{\"a\": \"\\ud800\"}'")
        r.db.execute("UPDATE rule SET criteria = '\"text\"'")
    stream = io.StringIO()
    render(record, format, stream)
    stream.getvalue().encode("utf-8")


@pytest.mark.parametrize("format", reports())
def test_failing_leaves_the_old_report(tmp_path: Path, format: str) -> None:
    (tmp_path / "not").write_bytes(b"SQLite format 3\0 but not")
    (tmp_path / "out").write_text("old")
    with pytest.raises(RecordError):
        render(tmp_path / "not", format, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["not", "out"]


@pytest.mark.parametrize("format", reports())
def test_a_damaged_record_gives_a_report_or_says_that_it_is_damaged(tmp_path: Path, format: str) -> None:
    whole = realistic(tmp_path / "r.assay").read_bytes()
    dice = random.Random(7)
    outcomes = set()
    for i in range(40):
        data = bytearray(whole)
        if i % 4 == 0:
            del data[dice.randrange(len(data)) :]
        # The first page holds the table definitions' root; most damage shall reach what comes after.
        for _ in range(dice.choice((1, 20, 300))):
            if len(data) > 8192:
                data[dice.randrange(8192, len(data))] = dice.randrange(256)
        (tmp_path / "d.assay").write_bytes(data)
        try:
            render(tmp_path / "d.assay", format, io.StringIO())
            outcomes.add("report")
        except RecordError:
            outcomes.add("error")
    assert outcomes == {"report", "error"}


def test_an_unknown_format() -> None:
    with pytest.raises(KeyError):
        render(Path("r.assay"), "pdf", io.StringIO())


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return large(tmp_path_factory.mktemp("many") / "r.assay", 8_000)


@pytest.mark.parametrize("format", reports())
def test_many_findings_in_bounded_memory(many: Path, tmp_path: Path, format: str) -> None:
    code = (
        "from pathlib import Path; from assay.report import render\n"
        f"render(Path({str(many)!r}), {format!r}, Path({str(tmp_path / 'out')!r}))\n"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"  # of this program alone
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 80 << 10


@given(st.text())
def test_visible_text_is_printable_and_plain_text_stays(text: str) -> None:
    out = visible(text)
    assert out.isprintable()
    assert visible(out) == out
    if text.isprintable():
        assert out == text


@given(st.text(), st.integers(8, 50))
def test_shortened_text_says_how_much_is_left_out(text: str, limit: int) -> None:
    out = shortened(text, limit)
    assert out.isprintable()
    if len(text) <= limit:
        assert out == visible(text)
    else:
        assert f"[{len(text) - limit} characters]" in out


def test_escapes() -> None:
    text = "a\x00\x1b[2J\n\x7f\x9b\u202e\u200b\u2028\U000e0001é漢"
    assert visible(text) == "a\\x00\\x1b[2J\\x0a\\x7f\\x9b\\u202e\\u200b\\u2028\\U000e0001é漢"


def test_quantities() -> None:
    assert [quantity(n) for n in (None, 0, 16_383, 16_384, 123 << 20, 5 << 40)] == [
        "–",
        "0 B",
        "16,383 B",
        "16.0 KiB",
        "123 MiB",
        "5.0 TiB",
    ]


def test_times_and_places() -> None:
    times = ("2026-03-01T10:00:00Z", "2026-03-01T12:00:00+02:00", "2026-03-01T10:00:00", "yesterday", "", None)
    assert [utc(time) for time in times] == ["2026-03-01T10:00:00Z"] * 3 + [None] * 3
    assert [place("/a", 3, 9), place("/a", None, 255), place("/a", None, None)] == ["/a:3", "/a at offset 0xff", "/a"]


def test_json_columns_of_another_type_give_the_default() -> None:
    assert [loads(text, []) for text in (None, "", "[1]", "{}", "[", '"a"')] == [[], [], [1], [], [], []]
