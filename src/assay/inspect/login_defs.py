"""login.defs and useradd's defaults: their lines, and what the shadow suite makes of them.

Source: login.defs(5), useradd(8) of shadow 4.13, and shadow's own reading of the file: the last line of a key holds, a
comment takes a line of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .late import late

DIALECT = "login.defs"

USERADD = "useradd"

MAIN = ("/etc/login.defs", "/usr/etc/login.defs")
"""Where the file is looked for; the second where a distribution keeps its defaults under /usr."""

PROGRAMS = ("useradd", "chage", "chpasswd", "newusers", "pwconv")
"""Programs of the shadow suite by which it is known to be there."""

_LINE = late(r"\s*([A-Za-z_][A-Za-z0-9_]*)[ \t]+[\" \t]*([^\"]*)")
_ASSIGNMENT = late(r"([A-Z_]+)=(.*)")


class Default(NamedTuple):
    """What a key is when no line sets it."""

    key: str
    value: str


DEFAULTS = (
    Default("CREATE_HOME", "no"),
    Default("DEFAULT_HOME", "no"),
    Default("ENV_PATH", "PATH=/bin:/usr/bin"),
    Default("ENV_SUPATH", "PATH=/sbin:/bin:/usr/sbin:/usr/bin"),
    Default("GID_MAX", "60000"),
    Default("GID_MIN", "1000"),
    Default("LOG_OK_LOGINS", "no"),
    Default("LOG_UNKFAIL_ENAB", "no"),
    Default("MD5_CRYPT_ENAB", "no"),
    Default("PASS_MAX_DAYS", "-1"),
    Default("PASS_MIN_DAYS", "-1"),
    Default("PASS_WARN_AGE", "-1"),
    Default("SYS_GID_MIN", "101"),
    Default("SYS_UID_MIN", "101"),
    Default("TTYPERM", "0600"),
    Default("UID_MAX", "60000"),
    Default("UID_MIN", "1000"),
    Default("UMASK", "022"),
    Default("USERGROUPS_ENAB", "no"),
)
"""From the manual page; a key of which it states no default is not in here. For PASS_MIN_DAYS the page says 0, and
useradd writes an empty field as for -1; neither restricts anything."""

USERADD_DEFAULTS = (
    Default("EXPIRE", ""),
    Default("HOME", "/home"),
    Default("INACTIVE", "-1"),
    Default("SKEL", "/etc/skel"),
)


def wants_path(path: str) -> bool:
    """Tell whether a file is one of those that the shadow suite reads."""
    return "/etc/" in path and path.endswith(("/etc/login.defs", "/etc/default/useradd"))


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line: `KEY value` of login.defs, `KEY=value` of useradd's file."""
    for number, line in enumerate(content.text().split("\n"), 1):
        if found := _ASSIGNMENT.match(line):
            yield Directive(dialect=USERADD, key=found[1], value=found[2].strip(), line=number)
        elif found := _LINE.match(line):
            yield Directive(dialect=DIALECT, key=found[1], value=found[2].strip(), line=number)


def _there(tree: Tree) -> str | None:
    """Return the path of a program of the suite; a link to BusyBox is none."""
    for name in PROGRAMS:
        for directory in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
            file = tree.lookup(f"{directory}/{name}")
            if file is not None and file.path.endswith(f"/{name}"):
                return file.path
    return None


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield the values of login.defs (subsystem login.defs) and of useradd's file (subsystem useradd).

    Keys that no line sets get the default of the manual page, unless the file was not readable.
    """
    if _there(tree) is None:
        return
    main = next((file for path in MAIN if (file := tree.lookup(path)) is not None), None)
    yield from _values(tree, DIALECT, main, DEFAULTS, "login.defs(5) of shadow 4.13")
    if any(tree.lookup(f"{directory}/useradd") for directory in ("/usr/sbin", "/sbin")):
        file = tree.lookup("/etc/default/useradd")
        yield from _values(tree, USERADD, file, USERADD_DEFAULTS, "useradd(8) of shadow 4.13")


def _values(
    tree: Tree, subsystem: str, file: TreeFile | None, defaults: tuple[Default, ...], manual: str
) -> Iterator[Setting]:
    won: dict[str, tuple[Directive, list[str]]] = {}
    for line in tree.facts(Directive, file) if file else []:
        if line.dialect == subsystem:
            before = won.get(line.key)
            over = [*before[1], f"{file.path if file else ''}:{before[0].line}"] if before else []
            won[line.key] = line, over[-100:]
    for key, (line, over) in won.items():
        value = line.value
        notes = [f"overrides {', '.join(over)}"] if over else []
        if subsystem == USERADD and key == "INACTIVE" and not re.fullmatch(r"-1|[0-9]+", value):
            notes.append(f"{value or 'an empty value'} is no number: useradd takes -1")
            value = "-1"
        yield Setting(
            subsystem=subsystem,
            key=key,
            value=value,
            origin="file",
            basis="; ".join(notes) or None,
            path=file.path if file else None,
            line=line.line,
        )
    if file is not None and tree.unread(file.path):
        return
    basis = manual if file else f"{manual}; no such file in this tree"
    for default in defaults:
        if default.key not in won:
            yield Setting(subsystem=subsystem, key=default.key, value=default.value, origin="default", basis=basis)


INSPECTOR = ContentInspector(
    name="login-defs",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/etc/login.defs", "/etc/default/useradd"),
    wants_path=wants_path,
    max_size=1 << 20,
)

SETTINGS = TreeInspector(
    name="login-defs-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "keys that a program ignores because PAM decides them: which it is built to read",
        "whether a number is one: shadow takes its default in place of a value that it cannot read",
        "accounts made before, which keep the values of their time",
    ),
)
