"""/etc/inittab, of System V init and of BusyBox init: its lines, and the services that they are.

Source: inittab(5) of sysvinit; BusyBox examples/inittab. Fields are id:runlevels:action:process; for BusyBox the id is
a terminal and the runlevels mean nothing.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.service import Directive, Service

from .base import Content, ContentInspector, Tree, TreeInspector
from .secrecy import withhold
from .startup import first_program, program, words

DIALECT = "inittab"

PATH = "/etc/inittab"

AT_BOOT = frozenset({"sysinit", "boot", "bootwait", "wait", "once", "respawn", "respawnlate", "askfirst", "askconsole"})
"""Actions that start a process on the way up; all others wait for an event, or (off) for nothing."""

CONSOLES = frozenset({"getty", "agetty", "mingetty", "mgetty", "askfirst", "sulogin", "login"})


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line: section `id:runlevels` as written, key the action, value the process."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        fields = line.split(":", 3)
        if line[:1] != "#" and len(fields) >= 3:
            name, levels, action = (field.strip() for field in fields[:3])
            process = fields[3].strip() if len(fields) == 4 else ""
            yield Directive(
                dialect=DIALECT, section=f"{name}:{levels}", key=action, value=withhold(process), line=number
            )


def lines(tree: Tree) -> list[Directive]:
    """Return the lines of a tree's inittab; none if it has none."""
    file = tree.lookup(PATH)
    return [line for line in tree.facts(Directive, file) if line.dialect == DIALECT] if file else []


def default_runlevel(found: list[Directive]) -> str | None:
    """Return the runlevel that System V init goes to; None if the inittab does not say, as BusyBox's never does."""
    for line in found:
        if line.key == "initdefault":
            return (line.section or "").partition(":")[2][:1] or None
    return None


def runs_in(line: Directive, level: str | None) -> bool:
    """Tell whether a line counts in a runlevel: it names it, or names none."""
    levels = (line.section or "").partition(":")[2]
    return not levels or line.key in ("sysinit", "boot", "bootwait") or level is None or level in levels


def services(tree: Tree) -> Iterator[Service]:
    """Yield one service a line that names a process.

    `enabled` is false where a program that reads no inittab comes first, and empty where none is seen.
    """
    found = lines(tree)
    first = first_program(tree)
    level = default_runlevel(found)
    for line in found:
        name = (line.section or "").partition(":")[0]
        command = line.value.lstrip("+-@ ")
        if not command or line.key == "initdefault":
            continue
        word = words(command, 1)
        at_boot = line.key in AT_BOOT
        enabled: bool | None
        if not at_boot or first in ("systemd", "openrc-init", "runit-init"):
            enabled = False
        elif first is None or (level is None and (line.section or "").partition(":")[2] and first == "sysvinit"):
            enabled = None
        else:
            enabled = runs_in(line, level)
        base = posixpath.basename(word[0]) if word else ""
        console = base in CONSOLES or line.key.startswith("ask")
        yield Service(
            name=name or base,
            manager="inittab",
            enabled=enabled,
            enabled_by=f"{PATH}:{line.line}" if enabled is not False else None,
            trigger="console" if console and at_boot else "boot" if at_boot else "on-demand",
            user="root",
            user_origin="default",
            command=line.value,
            executable=program(tree, word[0]) if word else None,
            path=PATH,
            line=line.line,
        )


INSPECTOR = ContentInspector(
    name="inittab",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/etc/inittab",),
    wants_path=lambda path: path.endswith("/etc/inittab"),
    max_size=1 << 20,
    text_only=True,
)

SERVICES = TreeInspector(name="inittab-services", version=1, families=(Service,), inspect=services)
