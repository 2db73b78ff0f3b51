"""rsyslogd: where it writes and forwards, in the order of the merged configuration that `rsyslogd -N1 -o` writes."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from .base import Program, run, write

MAIN = "/etc/rsyslog.conf"


def _accounts(root: Path) -> None:
    write(root, "/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
    write(root, "/etc/group", "root:x:0:\nadm:x:4:\n")


def _packaged(root: Path) -> None:
    _accounts(root)
    (root / "tmp").mkdir(exist_ok=True)


def _hardened(root: Path) -> None:
    _packaged(root)
    write(
        root,
        MAIN,
        'module(load="imuxsock")\ninclude(file="/etc/rsyslog.d/*.conf")\n'
        '*.* action(type="omfwd" target="log.example" port="6514" protocol="tcp"\n  queue.type="LinkedList")\n'
        'if $programname == \'sshd\' then {\n  action(type="omfile" file="/var/log/sshd" fileCreateMode="0600")\n'
        "  stop\n}\n",
    )
    write(root, "/etc/rsyslog.d/10.conf", "auth.* /var/log/auth\n& /var/log/second\n")
    write(root, "/etc/rsyslog.d/20.conf", "mail.*;kern.none -/var/log/mail\n")


def _careless(root: Path) -> None:
    _packaged(root)
    write(
        root,
        MAIN,
        '$ModLoad imuxsock\n$FileCreateMode 0666\ninclude(file="/etc/rsyslog.d/a.conf")\n*.* @192.0.2.1:5514\n',
    )
    write(root, "/etc/rsyslog.d/a.conf", '*.info /var/log/info # c\n:msg, contains, "x" ~\n*.* @@192.0.2.2\n')


_PLACE = re.compile(
    r"""(?:^[^\s"#]+|^:[^"]*"[^"]*"|^&)\s+-?(/[^\s;]+|@@?[^\s;:]+)|\b(?:file|target)="([^"]*)\"""", re.MULTILINE
)


def _says(root: Path) -> dict[str, str]:
    run(root, "/usr/sbin/rsyslogd", "-N1", "-o", "/tmp/merged")
    text = (root / "tmp/merged").read_text()
    text = re.sub(r"^(?:#|\$|include\().*$", "", text, flags=re.MULTILINE)
    places = [(match[1] or match[2]).lstrip("@") for match in _PLACE.finditer(text)]
    return {str(number): place for number, place in enumerate(places, 1)}


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    sql = """SELECT value FROM setting WHERE subsystem = 'rsyslog' AND key IN ('omfile.file', 'omfwd.target')
             ORDER BY id"""
    return {str(number): value for number, (value,) in enumerate(record.execute(sql), 1)}


PROGRAM = Program(
    name="rsyslogd",
    packages=("rsyslog",),
    states={"as packaged": _packaged, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="rsyslogd -N1 -o FILE",
)
