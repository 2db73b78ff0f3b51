"""chronyd: its configuration as `chronyd -p` prints it, files included."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .base import Program, run, write

MAIN = "/etc/chrony/chrony.conf"

SEVERAL = ("allow", "cmdallow", "pool", "server", "log", "bindcmdaddress")
"""Directives that the states give several lines of."""


def _packaged(root: Path) -> None:
    write(root, MAIN, (root / "usr/share/chrony/chrony.conf").read_text())


def _hardened(root: Path) -> None:
    write(root, MAIN, "! c\nserver a.example nts iburst\nCMDPORT 0\nport 0\nconfdir /etc/chrony/b /etc/chrony/a\n")
    write(root, "/etc/chrony/a/10.conf", "maxdistance 9\n")
    write(root, "/etc/chrony/b/10.conf", "maxdistance 2\nminsources 3\n")
    write(root, "/etc/chrony/a/20.conf", "minsources 4\ninclude /etc/chrony/more/*\n")
    write(root, "/etc/chrony/more/x.conf", "authselectmode require\n")


def _careless(root: Path) -> None:
    write(
        root,
        MAIN,
        "pool p.example\nserver  a.example\tiburst\nallow\ncmdallow all\nbindcmdaddress 0.0.0.0\nmakestep 1 -1\n"
        "sourcedir /etc/chrony/sources.d\nlog tracking\nlog measurements\nlocal stratum 8\nlocal stratum 10\n",
    )
    write(root, "/etc/chrony/sources.d/x.sources", "server b.example\n")


def _keyed(lines: list[tuple[str, str]]) -> dict[str, str]:
    return {f"{key} {value}" if key in SEVERAL else key: value for key, value in lines}


def _says(root: Path) -> dict[str, str]:
    said = run(root, "/usr/sbin/chronyd", "-p", "-f", MAIN)
    found = [line.split(None, 1) for line in said.splitlines() if line.strip()]
    return _keyed(
        [(words[0].lower(), " ".join(words[1:])) for words in found if words[0] not in ("confdir", "sourcedir")]
    )


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    # Sources of a sourcedir are read later, and not printed.
    sql = """SELECT key, value FROM setting WHERE subsystem = 'chrony' AND origin = 'file'
             AND path NOT LIKE '%.sources' ORDER BY id"""
    return _keyed(record.execute(sql).fetchall())


PROGRAM = Program(
    name="chronyd",
    packages=("chrony",),
    states={"as packaged": _packaged, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="chronyd -p",
)
