"""Services that systemd would start: the units of a tree, and what reaches each from the default target.

Source: systemd.unit(5), systemd.service(5), systemd.socket(5), systemd.timer(5), systemd.path(5), systemd.exec(5),
systemd.preset(5), systemd.special(7), D-Bus specification (service activation).

Enabled means reachable: a chain of Wants=, Requires=, BindsTo=, Upholds= and of links leads from default.target to the
unit, or to a socket, timer, path or bus name that starts it. [Install] alone enables nothing. Not seen: units that
generators write at boot (fstab, getty on serial consoles), udev's SYSTEMD_WANTS, conditions, the kernel command line.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from assay.facts.service import Directive, Service
from assay.unpack.base import LimitReached

from .base import Tree, TreeFile, TreeInspector
from .startup import SYSTEMD, program, words
from .systemd import DIALECT, PRESET
from .systemd_units import Unit, Units, is_instance, template

DEPENDENCIES = ("Wants", "Requires", "BindsTo", "Upholds")

TRIGGERS = {
    ".socket": ("socket", "Socket", "Service"),
    ".timer": ("timer", "Timer", "Unit"),
    ".path": ("path", "Path", "Unit"),
}

DEFAULT_TARGETS = ("default.target", "graphical.target", "multi-user.target")

EDGES = 1_000_000
"""Dependencies that are followed: templates make names without end."""

PRESETS = (
    "/etc/systemd/system-preset",
    "/run/systemd/system-preset",
    "/usr/local/lib/systemd/system-preset",
    "/usr/lib/systemd/system-preset",
    "/lib/systemd/system-preset",
)

BUS = ("/usr/local/share/dbus-1/system-services", "/usr/share/dbus-1/system-services", "/lib/dbus-1/system-services")


class Reached(NamedTuple):
    """How a unit comes to start."""

    trigger: str
    by: str


def reach(units: Units) -> dict[str, Reached]:
    """Return how each unit, by its own name, comes to start at boot, or once something happens that boot waits for."""
    found: dict[str, Reached] = {}
    target = next((name for name in DEFAULT_TARGETS if units.load(name)), None)
    if target is None:
        # a tree without systemd's own units (packages, a layer): the links that boot would follow are there to see
        for absent in DEFAULT_TARGETS:
            for name, link in units.pulled.get(absent, {}).items():
                _follow(units, found, name, Reached("boot", link.path))
    else:
        _follow(units, found, target, Reached("boot", units.files[target].path if target in units.files else target))
    done: set[str] = set()
    bus: list[tuple[str, str]] | None = None
    while pending := [name for name in found if name not in done]:
        done.update(pending)
        for name in pending:
            kind = name[name.rfind(".") :]
            if kind in TRIGGERS and (unit := units.load(name)) is not None:
                trigger, section, key = TRIGGERS[kind]
                _follow(units, found, triggered(unit, section, key), Reached(trigger, name))
        if bus is None and any(units.own_name(f"dbus{suffix}") in found for suffix in (".service", ".socket")):
            bus = _bus(units.tree)
            for service, path in bus:
                _follow(units, found, service, Reached("dbus", path))
    for device, links in units.pulled.items():
        if device.endswith(".device"):
            for name, link in links.items():
                _follow(units, found, name, Reached("device", link.path))
    return found


def triggered(unit: Unit, section: str, key: str) -> str:
    """Return the name of the unit that a socket, timer or path unit starts; empty if it cannot be told."""
    stem, _, _ = unit.name.rpartition(".")
    if name := unit.last(section, key):
        return unit.expand(name) or ""
    # A socket that accepts by itself starts one instance a connection.
    return f"{stem.partition('@')[0]}@.service" if unit.true("Socket", "Accept") else f"{stem}.service"


def _follow(units: Units, found: dict[str, Reached], start: str, how: Reached) -> None:
    queue = deque([(start, how)])
    edges = 0
    while queue:
        name, how = queue.popleft()
        edges += 1
        if edges + len(queue) > EDGES:
            raise LimitReached("edges", EDGES)
        unit = units.load(name)
        if unit is None or unit.masked or unit.name in found:
            continue
        found[unit.name] = how
        starts = how.trigger
        if starts in ("boot", "dependency"):
            starts = "boot" if unit.name.endswith(".target") else "dependency"
        for alias in (unit.name, *units.aliases.get(unit.name, ()), *_templates(unit.name)):
            for dependency, link in units.pulled.get(alias, {}).items():
                if not units.masks(link):
                    queue.append((_filled(dependency, unit), Reached(starts, link.path)))
        for key in DEPENDENCIES:
            for _, line in unit.every("Unit", key, resets=False):
                names = unit.expand(line.value)
                queue.extend((each, Reached(starts, unit.name)) for each in (names or "").split())
        queue.extend((each, Reached(starts, unit.name)) for each in _implied(unit))


def _templates(name: str) -> tuple[str, ...]:
    return (template(name),) if is_instance(name) else ()


def _filled(name: str, unit: Unit) -> str:
    """Give a template that a template pulls in the same instance."""
    if "@." in name and is_instance(unit.name):
        return name.replace("@.", f"@{unit.name.partition('@')[2].rpartition('.')[0]}.", 1)
    return name


def _implied(unit: Unit) -> Iterator[str]:
    """Yield the units that a unit requires without naming them."""
    kind = unit.name[unit.name.rfind(".") :]
    if kind in (".service", ".socket", ".timer", ".path"):
        default = unit.last("Unit", "DefaultDependencies")
        if default is None or unit.true("Unit", "DefaultDependencies"):
            yield "sysinit.target"
    if kind == ".service":
        if unit.last("Service", "Type") == "dbus" or unit.last("Service", "BusName"):
            yield "dbus.socket"
        for _, line in unit.every("Service", "Sockets"):
            yield from (unit.expand(line.value) or "").split()


def _bus(tree: Tree) -> list[tuple[str, str]]:
    """Return (unit, path of the activation file) for the bus names that systemd starts services for."""
    found: dict[str, tuple[str, str]] = {}
    for place in BUS:
        for file in tree.listdir(place):
            name = posixpath.basename(file.path)
            if name.endswith(".service") and name not in found:
                for line in tree.facts(Directive, file):
                    if line.dialect == DIALECT and line.key == "SystemdService":
                        found[name] = line.value, file.path
    return list(found.values())


def _presets(tree: Tree) -> list[tuple[str, list[str], str]]:
    """Return (enable, disable or ignore; patterns; place) in the order in which the first match decides."""
    files: dict[str, TreeFile] = {}
    for place in PRESETS:
        for file in tree.listdir(place):
            if file.path.endswith(".preset"):
                files.setdefault(posixpath.basename(file.path), file)
    return [
        (line.key, line.value.split()[:1], f"{files[name].path}:{line.line}")
        for name in sorted(files)
        for line in tree.facts(Directive, files[name])
        if line.dialect == PRESET
    ]


def services(tree: Tree) -> Iterator[Service]:
    """Yield every service unit of the system manager, and every instance that something starts.

    Where the tree has no systemd or no default target, `enabled` is empty for all but masked units: what would start
    them is not to be seen. `enabled_by` still names the link that boot would follow.

    Raises:
        LimitReached: the units hold more lines, or pull in more units, than any real system's.
    """
    units = Units(tree)
    reached = reach(units)
    manager = any(tree.lookup(path) is not None for path in SYSTEMD) and units.load("default.target") is not None
    presets = None if units.configured else _presets(tree)
    names = {units.own_name(name) for name in units.files} | set(reached)
    for name in sorted(name for name in names if name.endswith(".service")):
        unit = units.load(name)
        if unit is None:
            continue
        how = reached.get(name)
        enabled = None if not manager or (how and how.trigger == "device") else how is not None
        by = how.by if how else None
        if unit.masked:
            enabled = False
        elif enabled is False and presets is not None and _installable(unit):
            enabled, by = _preset(name, presets)
        yield _row(tree, unit, enabled=enabled, by=by, trigger=how.trigger if how else "on-demand")


def _installable(unit: Unit) -> bool:
    return any(unit.every("Install", key) for key in ("WantedBy", "RequiredBy", "UpheldBy", "Alias"))


def _preset(name: str, presets: list[tuple[str, list[str], str]]) -> tuple[bool | None, str | None]:
    """Return what the first boot would do where nothing is enabled yet: it cannot be told whether there will be one."""
    names = [name, template(name)] if is_instance(name) else [name]
    for verb, patterns, place in presets:
        if any(fnmatchcase(each, pattern) for each in names for pattern in patterns):
            return (None, f"preset enable, {place}") if verb == "enable" else (False, None)
    return None, "preset enable, by systemd's own default"


def _row(tree: Tree, unit: Unit, *, enabled: bool | None, by: str | None, trigger: str) -> Service:
    starts = unit.every("Service", "ExecStart")
    first = starts[0] if starts else None
    user, origin = _user(unit)
    group = unit.last("Service", "Group")
    command = starts[0][1].value if starts else ""
    word = words(command, 1)
    return Service(
        name=unit.name,
        manager="systemd",
        enabled=enabled,
        enabled_by=by,
        trigger=trigger,
        user=user,
        user_origin=origin,
        group_name=unit.expand(group) if group else None,
        command=" ; ".join(line.value for _, line in starts) or None,
        executable=program(tree, unit.expand(word[0].lstrip("@-:+!|")) or "") if word else None,
        path=unit.fragment.path,
        line=first[1].line if first and first[0].path == unit.fragment.path else None,
    )


def _user(unit: Unit) -> tuple[str | None, str | None]:
    if unit.masked or not unit.complete:
        return None, None
    if user := unit.last("Service", "User"):
        return unit.expand(user), "directive"
    if unit.true("Service", "DynamicUser"):
        return unit.name.rpartition(".")[0].partition("@")[0], "directive"
    return "root", "default"


SERVICES = TreeInspector(name="systemd-services", version=2, families=(Service,), inspect=services)
