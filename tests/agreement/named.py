"""BIND's named: the options that `named-checkconf -p` prints."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from .base import Program, run, write

MAIN = "/etc/bind/named.conf"


def _packaged(root: Path) -> None:
    (root / "var/cache/bind").mkdir(parents=True, exist_ok=True)


def _hardened(root: Path) -> None:
    _packaged(root)
    write(
        root,
        MAIN,
        'options { directory "/var/cache/bind"; recursion no; allow-query { 192.0.2.0/24; localhost; };\n'
        '  allow-transfer { none; }; version "none"; listen-on port 5353 { 192.0.2.1; }; listen-on-v6 { none; }; };\n',
    )


def _careless(root: Path) -> None:
    _packaged(root)
    write(
        root,
        MAIN,
        'options {\n directory "/var/cache/bind"; # c\n include "/etc/bind/more.conf"; dnssec-validation no; };\n',
    )
    write(root, "/etc/bind/more.conf", "recursion yes; /* c */ allow-recursion { any; };\nallow-transfer { any; };\n")


def _spelled(value: str) -> str:
    return re.sub(r"\s+", " ", value.replace('"', "").replace("/32;", ";")).strip()


def _says(root: Path) -> dict[str, str]:
    text = run(root, "/usr/bin/named-checkconf", "-p")
    options = re.search(r"^options \{\n(.*?)^\};", text, re.MULTILINE | re.DOTALL)
    found = {}
    for match in re.finditer(
        r"^\t([\w-]+)([^{;]*(?:\{.*?^\t\})?);", options[1] if options else "", re.MULTILINE | re.DOTALL
    ):
        found[match[1]] = _spelled(match[2])
    return found


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    sql = """SELECT key, value FROM setting WHERE subsystem = 'named' AND origin = 'file' AND scope = ''
             AND key NOT IN ('zone', 'key', 'acl')"""
    return {key: _spelled(value) for key, value in record.execute(sql)}


PROGRAM = Program(
    name="named",
    packages=("bind9", "bind9-utils"),
    states={"as packaged": _packaged, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="named-checkconf -p",
)
