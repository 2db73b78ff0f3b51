from __future__ import annotations

import io
from pathlib import Path

import pytest

from assay.record import Record
from assay.report import render

from .records import hostile, large, realistic

EXPECTED = """\
rtr-2.1.0.img
  rtr-2.1.0.img  gpt  8.0 MiB  sha256 6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d

Completeness
  2 containers (1 unfinished), 14 entries declared, 13 of them listed
  9 listed in all; 7 of 9 regular files read, 2 entries unread, 0 failed inspections; 8 distinct contents, 8.8 MiB
  artefact 1: 62.9 % of its bytes explained, 23.0 % padding, 12.5 % unknown

Verdicts by criterion
  criterion          fail  undetermined  pass  not-applicable  findings
  economic-security     0             1     1               0         0
  national-security     3             0     0               0         4
  privacy               1             0     0               1         1

Findings: 4 (1 critical, 1 high, 2 medium, 0 low, 0 info)
  severity  rule                        finding                                    place
  critical  3gpp-33.117-18.1/4.3.3.1.1  PermitRootLogin is yes                     /rootfs!/etc/ssh/sshd_config:33
  high      3gpp-33.117-18.1/4.2.3.2.3  Private key RSA, 2048 bits, not encrypted  /rootfs!/etc/ssh/ssh_host_rsa_key:1
  medium    3gpp-33.117-18.1/hardening  No RELRO, no PIE                           /rootfs!/bin/busybox
  medium    3gpp-33.117-18.1/hardening  Stack is executable                        /rootfs!/usr/bin/httpd

What it shows
  Credentials 1 · What starts 1 · Settings 1
  not looked for: Ways in, Ways out, Calls, People's data, Rights, Certificates, Cryptography, Licences, Workloads, Leftovers, Declared and found

What was not seen
  1.0 MiB in 1 stretch that no format explains
  reason     scope  entries  for example            detail
  malformed  entry        1  /rootfs!/opt/data.bin  xz: data are corrupt at offset 131072
  truncated  rest         1  /rootfs!               inode table ends early
  1 verdict undetermined for want of L (live unit): needs a running unit to test against
  1 verdict undetermined for want of P (capture): needs a capture of the traffic of a running unit

Where it is
  record  RECORD
"""  # noqa: E501 - as it is printed


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown(record: Path, stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    render(record, "terminal", stream)
    return stream.getvalue()


def test_plain_where_it_is_not_a_terminal(tmp_path: Path) -> None:
    record = realistic(tmp_path / "r.assay")
    assert shown(record).replace(str(record), "RECORD") == EXPECTED


def test_tables_with_colours_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = shown(realistic(tmp_path / "r.assay"), Terminal())
    assert "\x1b[1;31mcritical\x1b[0m" in out
    assert "──" in out


def test_nothing_in_a_record_reaches_a_terminal_as_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = hostile(tmp_path / "r.assay")
    plain = shown(record)
    assert all(line.isprintable() for line in plain.split("\n"))
    assert "nul\\x00bell\\x07esc\\x1b[2Jdel\\x7f" in plain
    assert "c1\\x9b31m next\\x85line" in plain
    assert "line\\x0abreak\\x0d\\x09tab" in plain
    assert "[red]markup[/red] :warning: %s {0}" in plain
    assert max(map(len, plain.split("\n"))) < 1_000
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "10000")
    rich = shown(record, Terminal())
    assert "[2Jdel" in rich
    assert not {"\x00", "\x07", "\x1b[2J", "\x7f", "\x9b", "\r", "\t", "\u202e", "\x1b[31m"} & set(rich)
    assert "\x1b[2J" not in rich


def test_a_stream_that_knows_only_ascii(tmp_path: Path) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    render(hostile(tmp_path / "r.assay"), "terminal", stream)
    stream.flush()
    assert b"\\xfcn\\xefc\\xf6d\\xe9 \\u6f22\\u5b57 \\U0001f389" in raw.getvalue()


def test_a_record_that_was_never_judged_or_finished(tmp_path: Path) -> None:
    record = tmp_path / "r.assay"
    realistic(record)
    with Record(record, write=True) as r:
        r.db.execute("DELETE FROM verdict")
        r.db.execute("UPDATE run SET finished = NULL, sandbox = '{}'")
        r.db.execute("UPDATE run SET finished = '2026-03-01T00:00:00Z' WHERE id = 1")
    out = shown(record)
    assert "  Not judged: no rule has run on this record.\n" in out
    assert "  run 1 (examine) worked without a sandbox\n" in out
    assert "  run 2 (judge) has not finished: the record is a part of what it would be\n" in out


def test_only_the_worst_are_listed(tmp_path: Path) -> None:
    out = shown(large(tmp_path / "r.assay", 600))
    assert "Findings: 604 (121 critical, 121 high, 122 medium, 120 low, 120 info)\n" in out
    assert "  and 594 more in the record\n" in out
