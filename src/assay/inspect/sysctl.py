"""Kernel parameters: lines of sysctl files, and the values that they come to at boot.

Source: sysctl.conf(5), sysctl(8) of procps-ng, sysctl.d(5), systemd-sysctl.service(8).

Both readers take the files of the directories in order of file name, a name in an earlier directory hiding the same
name in a later one, and the last value of a key wins. They differ in /etc/sysctl.conf: procps reads it last;
systemd-sysctl reads it only where a link in a directory (usually 99-sysctl.conf) leads to it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from fnmatch import fnmatchcase

from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .late import late
from .startup import first_program
from .sysctl_defaults import DEFAULTS, kernel_defaults

DIALECT = "sysctl"

DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")

PATTERNS = 1000
"""Patterns that are looked at: each is tried on every key of the defaults table."""

_PATH = late(r"/sysctl\.d/[^/]+\.conf$|/sysctl\.conf$")
_SWAP = str.maketrans("./", "/.")


def dotted(key: str) -> str:
    """Return a key with dots between its parts, as sysctl(8) prints it.

    A key whose first separator is a slash is a path, in which dots belong to names: net/ipv4/conf/eth0.5/rp_filter is
    net.ipv4.conf.eth0/5.rp_filter.
    """
    slash, dot = key.find("/"), key.find(".")
    return key.translate(_SWAP) if slash >= 0 and (dot < 0 or slash < dot) else key


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an assignment.

    A leading '-' (errors ignored) is dropped; before a key without a value, which it takes out of patterns, it stays.
    """
    for number, line in enumerate(content.text().split("\n"), 1):
        key, equals, value = line.strip().partition("=")
        if not key or key[0] in "#;" or not (equals or key[0] == "-"):
            continue
        name = dotted(key.lstrip("-").strip())
        if name:
            yield Directive(dialect=DIALECT, key=name if equals else f"-{name}", value=value.strip(), line=number)


def files(tree: Tree, manager: str | None) -> list[TreeFile]:
    """Return the files that are read at boot, in order."""
    named: dict[str, TreeFile] = {}
    seen = set()
    for path in DIRECTORIES:
        directory = tree.lookup(path)
        if directory is None or directory.path in seen:
            continue
        seen.add(directory.path)
        for file in tree.listdir(path):
            name = posixpath.basename(file.path)
            if name.endswith(".conf") and file.type in ("regular", "hardlink", "symlink"):
                named.setdefault(name, file)
    found = [named[name] for name in sorted(named)]
    last = tree.lookup("/etc/sysctl.conf") if manager != "systemd" else None
    return [*found, last] if last else found


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield the values that hold once the files are applied, then the kernel's defaults for keys that no file sets.

    A pattern (net.ipv4.conf.*.rp_filter) is a setting of its own, and counts for each key of the defaults table that it
    matches and that no file sets by name. Defaults appear only for a tree that brings a kernel or starts as one.
    """
    manager = first_program(tree)
    won: dict[str, tuple[TreeFile, Directive]] = {}
    over: dict[str, list[str]] = {}
    excluded = set()
    unread = False
    for file in files(tree, manager):
        target = tree.lookup(file.path)
        unread = unread or (target is not None and tree.unread(target.path))
        for line in tree.facts(Directive, file):
            if line.dialect != DIALECT:
                continue
            if line.key.startswith("-"):
                excluded.add(line.key[1:])
                continue
            if line.key in won:
                before, where = won.pop(line.key)
                over.setdefault(line.key, []).append(f"{before.path}:{where.line}")
            won[line.key] = file, line
    patterns = [(key, place) for key, place in won.items() if any(char in key for char in "*?[")][-PATTERNS:]
    for key in list(DEFAULTS):
        if key not in won and key not in excluded:
            for pattern, place in patterns:
                if _matches(key, pattern):
                    won[key] = place
    for key in sorted(won):
        file, line = won[key]
        notes = []
        if line.key != key:
            notes.append(f"pattern {line.key}")
        if key in over:
            notes.append(f"overrides {', '.join(over[key][:100])}")
        yield Setting(
            subsystem="sysctl",
            key=key,
            value=line.value,
            origin="file",
            basis="; ".join(notes) or None,
            path=file.path,
            line=line.line,
        )
    if unread:
        return
    if manager or any(tree.glob(glob) for glob in ("/lib/modules/*", "/usr/lib/modules/*", "/boot/*[vI]m*[zg]*")):
        yield from (setting for setting in kernel_defaults(tree) if setting.key not in won)


def _matches(key: str, pattern: str) -> bool:
    """Match part by part: a star does not cross a dot."""
    parts, globs = key.split("."), pattern.split(".")
    return len(parts) == len(globs) and all(map(fnmatchcase, parts, globs))


INSPECTOR = ContentInspector(
    name="sysctl",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/sysctl.",),
    wants_path=lambda path: "/sysctl." in path and _PATH.search(path) is not None,
    max_size=1 << 20,
    text_only=True,
    unseen=("parameters that a program or script writes to /proc/sys itself",),
)

SETTINGS = TreeInspector(
    name="sysctl-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "parameters on the kernel's command line (sysctl.KEY=VALUE): see subsystem kernel-cmdline",
        "parameters that programs set later (ufw with its own file, network managers, container engines)",
        "defaults of parameters that security rules do not look at",
    ),
)
