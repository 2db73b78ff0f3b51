"""Audit rules: the file that augenrules merges, line by line in order."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .base import Program, run, write

RULES = "/etc/audit/rules.d"


def _packaged(root: Path) -> None:
    (root / "usr/bin/awk").unlink(missing_ok=True)
    (root / "usr/bin/awk").symlink_to("mawk")


def _hardened(root: Path) -> None:
    _packaged(root)
    write(root, f"{RULES}/10-base.rules", "-D\n-b 9000\n-f 2\n--loginuid-immutable\n-w /etc/passwd -p wa -k identity\n")
    write(root, f"{RULES}/9-first.rules", "# c\n-a always,exit -F arch=b64 -S execve -k exec\n-e 1\n")
    write(root, f"{RULES}/99-last.rules", "-e 2\n")


def _careless(root: Path) -> None:
    _packaged(root)
    write(root, f"{RULES}/audit.rules", "-D\n-e 0\n-b 64\n-f 0\n-b 65\n")
    write(root, f"{RULES}/1.rules", "-a never,task\n-e 2\n")
    write(root, f"{RULES}/x.txt", "-w /no\n")


def _numbered(lines: list[str]) -> dict[str, str]:
    return {str(number): " ".join(line.split()) for number, line in enumerate(lines, 1)}


def _says(root: Path) -> dict[str, str]:
    run(root, "/sbin/augenrules")
    text = (root / "etc/audit/audit.rules").read_text()
    return _numbered([line for line in text.splitlines() if line and not line.startswith("#")])


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    rows = record.execute("SELECT key, value FROM setting WHERE subsystem = 'audit.rules' ORDER BY id").fetchall()
    return _numbered([value if key == "rule" else f"{key} {value}" for key, value in rows])


PROGRAM = Program(
    name="audit rules",
    packages=("auditd", "mawk", "bash", "coreutils", "grep", "diffutils"),
    states={"as packaged": _packaged, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="augenrules, and the file that it writes",
)
