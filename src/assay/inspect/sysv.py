"""Services that start scripts make: System V runlevels, BusyBox's rcS, OpenWrt's procd, OpenRC, and rc.local.

Source: Linux Standard Base 5.0 Core, 22; update-rc.d(8); systemd-sysv-generator(8); systemd-rc-local-generator(8);
BusyBox init (default actions without an inittab); OpenWrt /etc/rc.common; OpenRC runlevels.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from fnmatch import fnmatchcase

from assay.facts.service import Directive, Service

from . import inittab
from .base import Tree, TreeFile, TreeInspector
from .initscript import DIALECT
from .late import late
from .startup import first_program, program, words
from .systemd_units import Units

HELPERS = frozenset({"README", "functions", "functions.sh", "skeleton", "rc", "rcS", "rcK"})
"""Files of /etc/init.d that are not services."""

RELIABLE = frozenset({"start-stop-daemon", "procd", "daemon", "openrc"})
"""Commands whose account is that of the service; others (su, sudo) may serve one step of a script."""

PROGRAMS = ("DAEMON", "PROG", "prog", "exec", "daemon", "command")

GENERATORS = ("/usr/lib/systemd/system-generators", "/lib/systemd/system-generators")

LOCAL = ("/etc/rc.local", "/etc/rc.d/rc.local")

_START = late(r"S\d\d(.+)")
_LEVEL = late(r"/rc(?:\.d/rc)?\s+([0-9S])\b")
_SYSINIT = late(r"/rcS\b|/rc\.sysinit\b")


class Scripts:
    """The start scripts of a tree, and what starts them."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.first = first_program(tree)
        self.inittab = inittab.lines(tree)
        directory = tree.lookup("/etc/init.d") or tree.lookup("/etc/rc.d/init.d")
        self.scripts = {
            posixpath.basename(file.path): file
            for file in (tree.listdir(directory.path) if directory else ())
            if file.type in ("regular", "hardlink", "symlink") and not posixpath.basename(file.path).startswith(".")
        }
        self.by_path = {
            target.path: name for name, file in self.scripts.items() if (target := tree.lookup(file.path)) is not None
        }
        self.lines = {
            name: [line for line in tree.facts(Directive, file) if line.dialect == DIALECT]
            for name, file in self.scripts.items()
        }

    def links(self, directory: str) -> dict[str, str]:
        """Return the start links of a directory: script name and path of the link."""
        found: dict[str, str] = {}
        for link in self.tree.listdir(directory):
            if match := _START.fullmatch(posixpath.basename(link.path)):
                target = self.tree.lookup(link.path)
                name = self.by_path.get(target.path) if target else None
                found.setdefault(name or match[1], link.path)
        return found

    def linked(self) -> dict[str, dict[str, str]]:
        """Return the start links of each runlevel (S, 1 to 5)."""
        found = {}
        for level in "S12345":
            found[level] = self.links(f"/etc/rc{level}.d") or self.links(f"/etc/rc.d/rc{level}.d")
        return found

    def levels(self) -> set[str] | None:
        """Return the runlevels that boot goes through; None if that cannot be told."""
        if self.first == "systemd":
            return set("2345")
        default = inittab.default_runlevel(self.inittab)
        found = set()
        for line in self.inittab:
            if line.key in inittab.AT_BOOT and inittab.runs_in(line, default):
                if match := _LEVEL.search(line.value):
                    found.add(match[1])
                elif _SYSINIT.search(line.value):
                    found.add("S")
        if default:
            found.add(default)
        return found if found and self.first else None

    def rcs(self) -> tuple[bool | None, str | None]:
        """Tell whether /etc/init.d/rcS runs at boot, and by what."""
        for line in self.inittab:
            if line.key == "sysinit" and "/rcS" in line.value:
                enabled = None if self.first is None else self.first != "systemd"
                return enabled, f"{inittab.PATH}:{line.line}" if enabled is not False else None
        if self.first == "busybox" and self.tree.lookup(inittab.PATH) is None:
            return True, "BusyBox init's own default"
        return (None if self.first is None else False), None


def services(tree: Tree) -> Iterator[Service]:
    """Yield every start script, whether something starts it, and rc.local.

    Where no first program is seen, `enabled` is empty for scripts that have a start link and false for those without.
    """
    scripts = Scripts(tree)
    started: dict[str, tuple[bool | None, str | None]] = {}
    managers: dict[str, str] = {}
    _by_runlevel(scripts, started)
    if scripts.first == "procd" or tree.lookup("/etc/rc.common") is not None:
        for name, link in scripts.links("/etc/rc.d").items():
            started[name] = (True if scripts.first == "procd" else None if scripts.first is None else False), link
        managers = dict.fromkeys(scripts.scripts, "rc")
    _by_openrc(scripts, started, managers)
    _by_rcs(scripts, started, managers)
    for name in sorted(scripts.scripts):
        if name == "rcS":
            yield _row(scripts, name, "rc", *scripts.rcs())
        elif name not in HELPERS and not name.endswith((".dpkg-dist", ".dpkg-old", ".dpkg-new", "~")):
            yield _row(scripts, name, managers.get(name, "sysv"), *started.get(name, (False, None)))
    yield from _local(scripts, started)


def _by_runlevel(scripts: Scripts, started: dict[str, tuple[bool | None, str | None]]) -> None:
    linked, levels = scripts.linked(), scripts.levels()
    units = Units(scripts.tree) if scripts.first == "systemd" else None
    generator = any(scripts.tree.lookup(f"{place}/systemd-sysv-generator") for place in GENERATORS)
    for level, links in linked.items():
        for name, link in links.items():
            enabled: bool | None = levels is None or level in levels
            if levels is None:
                enabled = None
            elif units is not None:
                native = f"{name.removesuffix('.sh')}.service"
                enabled = enabled and generator and units.own_name(native) not in units.files
            before = started.get(name)
            if before is None or (enabled and not before[0]) or (enabled is None and before[0] is False):
                started[name] = enabled, link if enabled is not False else None


def _by_openrc(scripts: Scripts, started: dict[str, tuple[bool | None, str | None]], managers: dict[str, str]) -> None:
    runs = scripts.first == "openrc-init" or any("openrc" in line.value for line in scripts.inittab)
    for level in ("sysinit", "boot", "default"):
        for link in scripts.tree.listdir(f"/etc/runlevels/{level}"):
            name = posixpath.basename(link.path)
            started.setdefault(name, (True if runs else None if scripts.first is None else False, link.path))
    for name, lines in scripts.lines.items():
        if any(line.key == "interpreter" and "openrc-run" in line.value for line in lines):
            managers[name] = "openrc"


def _by_rcs(scripts: Scripts, started: dict[str, tuple[bool | None, str | None]], managers: dict[str, str]) -> None:
    enabled, _ = scripts.rcs()
    runs = {line.value: line for line in reversed(scripts.lines.get("rcS", ())) if line.key == "runs"}
    for pattern, line in runs.items():
        if pattern.startswith("/etc/init.d/"):
            for name in scripts.scripts:
                if fnmatchcase(f"/etc/init.d/{name}", pattern):
                    managers[name] = "rc"
                    by = f"{scripts.scripts['rcS'].path}:{line.line}" if enabled is not False else None
                    started[name] = enabled, by


def _row(scripts: Scripts, name: str, manager: str, enabled: bool | None, by: str | None) -> Service:
    file, lines = scripts.scripts[name], scripts.lines[name]
    if _not_executable(scripts.tree, file):
        enabled, by = False, None
    user, group, origin, line = _account(scripts.tree, file, lines)
    return Service(
        name=name,
        manager=manager,
        enabled=enabled,
        enabled_by=by if enabled is not False else None,
        trigger="boot" if enabled is not False else "on-demand",
        user=user,
        user_origin=origin,
        group_name=group,
        command=f"{file.path} start" if name != "rcS" else file.path,
        executable=_program(scripts.tree, lines),
        path=file.path,
        line=line,
    )


def _not_executable(tree: Tree, file: TreeFile) -> bool:
    target = tree.lookup(file.path)
    return target is not None and target.mode is not None and not target.mode & 0o111


def _account(
    tree: Tree, file: TreeFile, lines: list[Directive]
) -> tuple[str | None, str | None, str | None, int | None]:
    """Return account, group, where the account is stated, and the line: root if nothing in the script changes it."""
    target = tree.lookup(file.path)
    if target is None or tree.unread(target.path):
        return None, None, None, None
    hints = [line for line in lines if line.key == "user-hint"]
    if not hints:
        return "root", None, "default", None
    stated = {line.value for line in hints if line.section in RELIABLE}
    if len(stated) != 1 or any(char in next(iter(stated)) for char in "$`\"'"):
        return None, None, None, hints[0].line
    user, _, group = stated.pop().replace(".", ":", 1).partition(":")
    line = next(hint.line for hint in hints if hint.section in RELIABLE)
    return "root" if user == "0" else user, group or None, "line", line


def _program(tree: Tree, lines: list[Directive]) -> str | None:
    """Return the one program that the script's plain lines name; None if they name none or several."""
    named = {
        path
        for line in lines
        if line.key in PROGRAMS and (word := words(line.value, 1)) and "$" not in word[0]
        if word[0].startswith("/") and (path := program(tree, word[0]))
    }
    return named.pop() if len(named) == 1 else None


def _local(scripts: Scripts, started: dict[str, tuple[bool | None, str | None]]) -> Iterator[Service]:
    for path in LOCAL:
        file = scripts.tree.lookup(path)
        if file is None or file.type not in ("regular", "hardlink"):
            continue
        enabled: bool | None = None
        by = None
        if scripts.first == "systemd":
            enabled = any(scripts.tree.lookup(f"{place}/systemd-rc-local-generator") for place in GENERATORS)
            by = "systemd-rc-local-generator" if enabled else None
        else:
            for name, (starts, _) in started.items():
                if starts and any(line.key == "runs" and line.value == path for line in scripts.lines.get(name, ())):
                    enabled, by = True, scripts.scripts[name].path
        if file.mode is not None and not file.mode & 0o111 and scripts.first == "systemd":
            enabled, by = False, None
        yield Service(
            name="rc.local",
            manager="rc",
            enabled=enabled,
            enabled_by=by,
            trigger="boot" if enabled is not False else "on-demand",
            user="root",
            user_origin="default",
            command=path,
            executable=None,
            path=path,
        )
        return


SERVICES = TreeInspector(name="sysv-services", version=1, families=(Service,), inspect=services)
