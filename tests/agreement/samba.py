"""Samba: what `testparm -s` prints, which is what differs from the built-in values."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .base import Program, run, write

CONF = "/etc/samba/smb.conf"


def _packaged(root: Path) -> None:
    write(root, CONF, (root / "usr/share/samba/smb.conf").read_text())


def _hardened(root: Path) -> None:
    write(
        root,
        CONF,
        "[global]\n server min protocol = SMB3_11\n server signing = mandatory\n restrict anonymous = 2\n"
        " smb ports = 445\n disable netbios = yes\n[data]\n path = /srv\n writeable = true\n browsable = 0\n",
    )


def _careless(root: Path) -> None:
    write(
        root,
        CONF,
        "[global]\n min protocol = NT1\n map to guest = Bad User\n ntlm auth = yes\n include = /etc/samba/more.conf\n"
        "[pub]\n path = /srv\n public = yes\n Read  Only = no\n",
    )
    write(root, "/etc/samba/more.conf", "lanman auth = yes\n")


def _says(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    section = ""
    for raw in run(root, "/usr/bin/testparm", "-s").splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line.strip("[]").lower()
        elif "=" in line and not line.startswith(("idmap config", "include")):
            key, _, value = line.partition("=")
            found[f"{section}: {key.strip().lower()}"] = value.strip()
    return found


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    """Return what the record says, without what files set to the built-in value: testparm leaves it out, too."""
    sql = "SELECT key, value, scope FROM setting WHERE subsystem = 'samba' AND origin = 'file'"
    return {
        f"{scope or 'global'}: {key}": {"yes": "Yes", "no": "No"}.get(value, value)
        for key, value, scope in record.execute(sql)
        if (key, value) not in BUILT_IN
    }


BUILT_IN = {
    ("workgroup", "WORKGROUP"),
    ("browseable", "Yes"),
    ("read only", "Yes"),
    ("guest ok", "No"),
    ("pam password change", "No"),
}

PROGRAM = Program(
    name="samba",
    packages=("samba-common-bin", "samba"),
    states={"as packaged": _packaged, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="testparm -s",
)
