"""Root file systems made of Debian packages: unpacked, configured as their scripts would in the least, nothing run."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tools.support import ROOT, load

demo = load("tools/demo_release.py")

HOME = ROOT / "build/agreement"

BASE = ("base-files", "base-passwd", "libc-bin", "dash", "bash", "coreutils", "sed", "grep", "mawk", "util-linux")
"""What programs and their start scripts lean on."""

LEFT_OUT = (
    "adduser", "apt", "cdebconf", "debconf", "debianutils", "dpkg", "init-system-helpers", "passwd", "perl",
    "perl-base", "perl-modules-5.36", "procps", "python3", "python3-minimal", "sensible-utils", "systemd", "tar",
    "ucf", "udev",
)  # fmt: skip
"""Needed to install, not to run."""

USERS = ("sshd", "_chrony", "messagebus", "Debian-snmp", "dnsmasq", "syslog", "bind", "kamailio", "osmocom")
"""Accounts that packages make when they are installed."""


class Unavailable(Exception):
    """A root file system cannot be made or entered here; the message says why."""


def build(packages: Collection[str]) -> Path:
    """Return a root file system with some packages and what they need; made once, in build/agreement.

    Raises:
        Unavailable: the packages are not to be had, or this system lets nobody enter a root of their own.
    """
    if shutil.which("unshare") is None:
        raise Unavailable("no unshare (package util-linux)")
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:  # several processes run tests, and fetch into one folder
        fcntl.flock(lock, fcntl.LOCK_EX)
        base, common = _made(BASE)
        root, _ = _made(tuple(sorted({*BASE, *packages})), base, common)
    try:
        _enter(root)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"a root file system cannot be entered here: {error}") from error
    return root


def _made(wanted: tuple[str, ...], base: Path | None = None, common: Collection[str] = ()) -> tuple[Path, list[str]]:
    """Return a root file system and the names of the package files in it.

    Args:
        wanted: packages.
        base: a root file system to begin with, of which files are shared (hard links).
        common: names of the package files in that.
    """
    root = HOME / f"root-{hashlib.sha256(' '.join(wanted).encode()).hexdigest()[:12]}"
    listed = root.with_suffix(".txt")
    if not listed.exists():
        partial = root.with_suffix(".partial")
        for old in (partial, root):
            shutil.rmtree(old, ignore_errors=True)
        try:
            _, files = demo.obtain(
                HOME / "packages", lambda: demo.resolve(wanted, lambda entry: entry.name not in LEFT_OUT)
            )
        except demo.Missing as missing:
            raise Unavailable(str(missing)) from missing
        if base is not None:
            subprocess.run(["cp", "-al", str(base), str(partial)], check=True)
        partial.mkdir(exist_ok=True)
        status = partial / "var/lib/dpkg/status"
        known = status.read_text() if status.exists() else ""
        status.unlink(missing_ok=True)
        # tar puts a new file in the place of an old one, and so changes none that is shared.
        with subprocess.Popen(["tar", "-x", "-p", "-C", str(partial)], stdin=subprocess.PIPE) as tar:
            assert tar.stdin is not None
            merger = demo.Merger(tar.stdin)
            for file in files:
                if file.name not in common:
                    merger.add(file)
            merger.finish()
        text = status.read_text()
        status.unlink()
        status.write_text(f"{known}\n{text}" if known else text)
        if base is None:
            _furnish(partial)
        partial.rename(root)
        listed.write_text("".join(f"{file.name}\n" for file in files))
    return root, listed.read_text().split()


def _furnish(root: Path) -> None:
    """Add what is there once a system is installed and runs: accounts, devices."""
    _accounts(root)
    (root / "dev").mkdir(exist_ok=True)
    for device in ("null", "urandom", "random"):  # a file will do for reading, and needs no rights
        (root / "dev" / device).write_bytes(b"" if device == "null" else os.urandom(4096))


def _enter(root: Path) -> None:
    namespaces = ["--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    command = ["unshare", *namespaces, f"--root={root}", "/bin/true"]
    subprocess.run(command, check=True, capture_output=True, timeout=20)


def _accounts(root: Path) -> None:
    """Write the account files that base-passwd, and the packages' scripts, make."""
    passwd = (root / "usr/share/base-passwd/passwd.master").read_text()
    group = (root / "usr/share/base-passwd/group.master").read_text()
    for number, name in enumerate(USERS, 101):
        passwd += f"{name}:*:{number}:65534::/nonexistent:/usr/sbin/nologin\n"
        group += f"{name}:*:{number}:\n"
    (root / "etc/passwd").write_text(passwd.replace(":*:", ":x:"))
    (root / "etc/group").write_text(group.replace(":*:", ":x:"))
    (root / "etc/shadow").write_text("".join(f"{line.split(':')[0]}:*:19000::::::\n" for line in passwd.splitlines()))
    (root / "etc/shadow").chmod(0o640)


@contextmanager
def copy(root: Path, place: Path) -> Iterator[Path]:
    """Give a copy of a root file system whose /etc, /var and /run may be edited; other files are replaced, not edited.

    Args:
        root: what `build` returned.
        place: where the copy is made, on the same file system or another.
    """
    try:
        subprocess.run(["cp", "-al", str(root), str(place)], check=True, capture_output=True)
    except subprocess.CalledProcessError:  # another file system
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run(["cp", "-a", str(root), str(place)], check=True, capture_output=True)
    else:
        for name in ("etc", "var", "run"):
            if (root / name).is_dir() and not (root / name).is_symlink():
                shutil.rmtree(place / name)
                subprocess.run(["cp", "-a", str(root / name), str(place / name)], check=True, capture_output=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
