"""sysctl: the assignments that systemd-sysctl reads, in its order, as it prints the files."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from .base import Program, run, write


def _hardened(root: Path) -> None:
    write(
        root,
        "/etc/sysctl.d/90-hardening.conf",
        "kernel.kptr_restrict = 2\nkernel.dmesg_restrict=1\nnet/ipv4/conf/all/rp_filter = 1\n"
        "net.ipv4.conf.default.rp_filter=1\n; old\n# older\n-net.ipv4.tcp_syncookies = 1\nfs.suid_dumpable=0\n",
    )
    write(root, "/usr/lib/sysctl.d/99-late.conf", "fs.suid_dumpable = 2\nkernel.kptr_restrict=0\n")
    write(root, "/etc/sysctl.d/99-late.conf", "kernel.core_pattern = |/bin/false\n")


def _careless(root: Path) -> None:
    write(root, "/etc/sysctl.conf", "net.ipv4.ip_forward=1\nkernel.randomize_va_space = 0\nkernel.sysrq = 1\n")
    link = root / "etc/sysctl.d/99-sysctl.conf"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to("../sysctl.conf")
    write(root, "/run/sysctl.d/50-run.conf", "kernel.sysrq=0\nnet.ipv4.conf.eth0/5.rp_filter = 0\n")
    write(root, "/etc/sysctl.d/zz.conf", "kernel.sysrq = 176\n")


def _says(root: Path) -> dict[str, str]:
    shown = run(root, "/lib/systemd/systemd-sysctl", "--cat-config", "--no-pager")
    found: dict[str, str] = {}
    for line in re.sub(r"\x1b(?:\[[\d;]*m|\][^\x07\x1b]*(?:\x07|\x1b\\))", "", shown).splitlines():
        key, equals, value = line.strip().partition("=")
        key = key.strip().lstrip("-")
        if equals and key[:1] not in ("#", ";", ""):
            first = min((key.find(char) for char in "./" if char in key), default=-1)
            swap = first >= 0 and key[first] == "/"
            found[key.translate(str.maketrans("./", "/.")) if swap else key] = value.strip()
    return found


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    rows = record.execute(
        "SELECT key, value FROM setting WHERE subsystem = 'sysctl' AND origin = 'file' "
        "AND coalesce(basis, '') NOT LIKE 'pattern %'"
    )
    return dict(rows)


PROGRAM = Program(
    name="sysctl",
    packages=("systemd", "procps"),
    states={"as packaged": lambda _: None, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="systemd-sysctl --cat-config, the last assignment of each key",
)
