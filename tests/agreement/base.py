"""How a program is asked: one module beside this one for each, with `PROGRAM = Program(...)`; nothing else is edited.

The root file system is made of Debian packages (`root.build`), unpacked without running anything of them. Each state of
a program is that root with some files edited: what an administrator, or a careless vendor, would have done.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """A program that can tell its own effective settings."""

    name: str
    """As in the table of agreement."""
    packages: tuple[str, ...]
    """Debian packages that it needs; their library dependencies are added."""
    states: Mapping[str, Callable[[Path], None]]
    """By name ("as packaged", "hardened", "careless", ...): edits the root file system given, in place."""
    says: Callable[[Path], dict[str, str]]
    """What the program itself says of the root given, key by key: run it with `run`."""
    ours: Callable[[sqlite3.Connection], dict[str, str]]
    """What a record of that root says, in the same keys and spelling: SQL on `setting`, `listener`, ..."""
    how: str
    """The command that was asked, for the table: `sshd -T`."""


def run(root: Path, *command: str, stdin: str = "", ok: tuple[int, ...] = (0,)) -> str:
    """Run a program of a root file system inside it, without a network; return its standard output.

    Args:
        root: the root file system.
        command: program (absolute path in the root) and arguments.
        stdin: what it is given to read.
        ok: exit codes that are no error.

    Raises:
        RuntimeError: it ended otherwise, with what it wrote.
    """
    namespaces = ["--net", "--pid", "--fork"]
    namespaces += [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(
        ["unshare", *namespaces, f"--root={root}", "--wd=/", *command],
        input=stdin, capture_output=True, text=True, errors="surrogateescape", timeout=60, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/root"},
    )  # fmt: skip
    if done.returncode not in ok:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip() or done.stdout}")
    return done.stdout


def write(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    """Write a file of a root file system, replacing it (links too)."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_text(text)
    target.chmod(mode)
