"""Net-SNMP's agent: the lines that its parser is given, as `snmpd -Dread_config:parser` shows them."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from assay.inspect.shared_secret import mark

from .base import Program, run, write

CONF = "/etc/snmp/snmpd.conf"


def _packaged(root: Path) -> None:
    pass


def _hardened(root: Path) -> None:
    write(
        root,
        CONF,
        "agentaddress 127.0.0.1:1161\nrouser monitor priv .1.3.6.1.2.1\n"
        "createUser monitor SHA-256 authsecret AES privsecret\n"
        "includeDir /etc/snmp/snmpd.conf.d\nsysServices 72\n",
    )
    write(root, "/etc/snmp/snmpd.conf.d/x.conf", "sysLocation  here\n")


def _careless(root: Path) -> None:
    write(
        root,
        CONF,
        'agentAddress udp:127.0.0.1:1161\nrocommunity public\nrwcommunity "pri vate" 10.0.0.0/8\nrouser a noauth\n',
    )


def _says(root: Path) -> dict[str, str]:
    shell = "timeout 5 /usr/sbin/snmpd -f -Lo -Dread_config:parser 2>&1"
    said = run(root, "/bin/sh", "-c", shell, ok=(0, 1, 124))
    (root / "var/lib/snmp/snmpd.conf").unlink(missing_ok=True)  # what it has written itself
    lines = re.findall(r"Found a parser\.  Calling it: (\S+) / (.*)", said)
    return {
        f"{key.lower()} {_marked(value)}": "yes" for key, value in lines if key.lower() not in ("mibs", "includedir")
    }


def _marked(value: str) -> str:
    """Return a line with the states' secrets as the record has them."""
    for secret in ('"pri vate"', "public", "authsecret", "privsecret"):
        value = value.replace(secret, mark(secret.strip('"')))
    return " ".join(value.split())


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    rows = record.execute("SELECT key, value FROM setting WHERE subsystem = 'snmpd' AND key NOT IN ('read', 'write')")
    return {f"{key} {value}": "yes" for key, value in rows}


PROGRAM = Program(
    name="snmpd",
    packages=("snmpd", "coreutils", "dash"),
    states={"as packaged": _packaged, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="snmpd -f -Dread_config:parser",
)
