"""What a new account and a new login get: `useradd`, `useradd -D` and `bash --login`, each asked in the root itself."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from .base import Program, run, write

PLACE = "/tmp/agreement"
FILES = ("passwd", "shadow", "group", "login.defs", "default/useradd")
ACCOUNT = ("PASS_MIN_DAYS", "PASS_MAX_DAYS", "PASS_WARN_AGE")
"""Fields 3 to 5 of shadow(5), of an account just made."""


def packaged(root: Path) -> None:
    """What the scripts of the packages copy into place."""
    shutil.copy(root / "usr/share/base-files/profile", root / "etc/profile")


def hardened(root: Path) -> None:
    """Passwords that age, homes of one's own, idle shells that end."""
    packaged(root)
    write(
        root,
        "/etc/login.defs",
        "# site\nPASS_MAX_DAYS\t365\nPASS_MAX_DAYS   90\n PASS_MIN_DAYS 7\nPASS_WARN_AGE\t14\nUID_MIN \t 5000\n"
        'HOME_MODE "0700"\nUMASK 077\n',
    )
    write(root, "/etc/default/useradd", "SHELL=/bin/bash\nINACTIVE=30\nHOME=/srv/home\n#SKEL=/nowhere\n")
    write(root, "/etc/profile.d/tmout.sh", "# idle\nTMOUT=600\nreadonly TMOUT\nexport TMOUT\numask 027\n")


def careless(root: Path) -> None:
    """A file without values, and comments where none may stand."""
    write(root, "/etc/login.defs", "#PASS_MAX_DAYS 90\nUMASK 000\nUID_MIN 2000\n")
    write(root, "/etc/default/useradd", "INACTIVE=-1\nINACTIVE=\nSHELL=/bin/sh\nEXPIRE=\n")
    write(root, "/etc/profile", "umask 0000 # for all\nif [ 1 = 2 ]; then\n  TMOUT=5\nfi\n")


def says(root: Path) -> dict[str, str]:
    """Make an account in a copy of the account files, show useradd's defaults, and log in."""
    place = root / PLACE.lstrip("/")
    try:
        for name in FILES:
            (place / "etc" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / "etc" / name, place / "etc" / name)
        run(root, "/usr/sbin/useradd", "--prefix", PLACE, "--no-user-group", "--no-create-home", "probe")
        shadow = next(x for x in (place / "etc/shadow").read_text().splitlines() if x.startswith("probe:")).split(":")
        passwd = next(x for x in (place / "etc/passwd").read_text().splitlines() if x.startswith("probe:")).split(":")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    found = dict(zip(ACCOUNT, shadow[3:6], strict=True)) | {"UID_MIN": passwd[2]}
    for line in run(root, "/usr/sbin/useradd", "-D").splitlines():
        name, _, value = line.partition("=")
        if name in ("HOME", "INACTIVE", "EXPIRE", "SHELL", "SKEL"):
            found[f"useradd {name}"] = value
    shell = run(root, "/bin/bash", "--login", "-c", "umask; echo ${TMOUT-unset}").splitlines()
    return found | {"umask": shell[-2], "TMOUT": shell[-1]}


def ours(db: sqlite3.Connection) -> dict[str, str]:
    """Return what the record says, in the same words."""
    found = dict(
        db.execute(
            "SELECT key, value FROM setting WHERE subsystem = 'login.defs' AND key IN (?, ?, ?, 'UID_MIN')", ACCOUNT
        ).fetchall()
    )
    for name in ("PASS_MAX_DAYS", "PASS_WARN_AGE", "PASS_MIN_DAYS"):  # shadow(5): -1 is an empty field
        found[name] = "" if found[name] == "-1" else found[name]
    found |= {
        f"useradd {key}": value
        for key, value in db.execute("SELECT key, value FROM setting WHERE subsystem = 'useradd'")
    }
    login = dict(
        db.execute("SELECT key, value FROM setting WHERE subsystem = 'profile' AND scope = 'login shells'").fetchall()
    )
    # The mask of a process that nobody set is the one that this program was started with.
    return found | {"umask": login.get("umask", "022").rjust(4, "0"), "TMOUT": login.get("TMOUT", "unset")}


PROGRAM = Program(
    name="login",
    packages=("login", "passwd", "base-files"),
    states={"as packaged": packaged, "careless": careless, "hardened": hardened},
    says=says,
    ours=ours,
    how="useradd --prefix; useradd -D; bash --login",
)
