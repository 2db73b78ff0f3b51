"""fstab: mount points as libmount reads them, told by `findmnt --fstab`."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from .base import Program, run, write


def _empty(root: Path) -> None:
    write(root, "/etc/fstab", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n")


def _hardened(root: Path) -> None:
    write(
        root,
        "/etc/fstab",
        "UUID=0a1b2c3d-0000-4000-8000-000000000001 / ext4 errors=remount-ro 0 1\n"
        "tmpfs\t/tmp\ttmpfs\tnosuid,nodev,noexec,size=64m\t0 0\n"
        "/dev/mapper/var /var/log/ ext4 nosuid,nodev,noexec\n"
        "LABEL=my\\040data /srv/my\\040data xfs ro,nosuid 0 2\n"
        "/dev/sda2 none swap sw 0 0\n",
    )


def _careless(root: Path) -> None:
    write(
        root,
        "/etc/fstab",
        "/dev/sda1 / ext4 defaults 0 1\n/dev/sdb1 /media/usb auto user,noauto 0 0\nbroken\n"
        "# //server/x /mnt cifs\n//server/share /mnt cifs credentials=/etc/c,uid=0 0 0\nproc /proc proc defaults\n",
    )


def _says(root: Path) -> dict[str, str]:
    columns = "SOURCE,TARGET,FSTYPE,OPTIONS"
    shown = run(root, "/bin/findmnt", "--tab-file", "/etc/fstab", "--json", "--list", "-o", columns, ok=(0, 1))
    found: dict[str, str] = {}
    for mount in json.loads(shown)["filesystems"] if shown.strip() else []:
        target = mount["target"].rstrip("/") or "/"  # systemd and mount(8) take no notice of a slash at the end
        found |= {
            f"{target} source": mount["source"],
            f"{target} type": mount["fstype"],
            f"{target} options": mount["options"],
        }
    return found


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    rows = record.execute(
        "SELECT key, value FROM setting WHERE subsystem = 'mount' AND path = '/etc/fstab' AND key NOT LIKE '% flags'"
    )
    return dict(rows)


PROGRAM = Program(
    name="fstab",
    packages=("util-linux", "mount"),
    states={"empty": _empty, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="findmnt --tab-file /etc/fstab --json --list",
)
