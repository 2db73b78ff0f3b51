"""systemd-journald: its files in the order in which `systemd-analyze cat-config` shows them."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from .base import Program, run, write


def _packaged(root: Path) -> None:
    pass


def _hardened(root: Path) -> None:
    write(root, "/etc/systemd/journald.conf", "[Journal]\nStorage=persistent\nSeal=yes\nForwardToSyslog=yes\n")
    write(root, "/etc/systemd/journald.conf.d/50-a.conf", "[Journal]\nMaxRetentionSec=1year\nStorage=volatile\n")
    write(root, "/usr/lib/systemd/journald.conf.d/50-a.conf", "[Journal]\nSeal=no\n")
    write(root, "/usr/lib/systemd/journald.conf.d/60-b.conf", "[Journal]\nStorage=persistent\n")


def _careless(root: Path) -> None:
    write(root, "/etc/systemd/journald.conf", "[Journal]\nStorage=none\nRateLimitBurst=0\n")
    write(root, "/usr/lib/systemd/journald.conf.d/10-x.conf", "# c\n[Journal]\nSystemMaxUse = 1M\nStorage=volatile\n")
    write(root, "/run/systemd/journald.conf.d/10-y.conf", "[Journal]\nRateLimitBurst=5\n[Other]\nSeal=no\n")


def _says(root: Path) -> dict[str, str]:
    text = re.sub(
        r"\x1b(?:\[[0-9;]*m|\]8;[^\x1b]*\x1b\\)",
        "",
        run(root, "/usr/bin/systemd-analyze", "cat-config", "systemd/journald.conf"),
    )
    found: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Journal]" and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key.strip()] = value.strip()
    return found


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    return dict(
        record.execute("SELECT key, value FROM setting WHERE subsystem = 'journald' AND origin = 'file'").fetchall()
    )


PROGRAM = Program(
    name="systemd-journald",
    packages=("systemd",),
    states={"as packaged": _packaged, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="systemd-analyze cat-config systemd/journald.conf",
)
