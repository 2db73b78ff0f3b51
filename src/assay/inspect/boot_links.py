"""Whether a unit or script is started at boot, as far as links alone show it.

Source: systemd.unit(5), .wants and .requires directories; LSB init script links. The whole question, with dependencies,
is answered by the inspectors of services.
"""

from __future__ import annotations

import posixpath

from .base import Tree
from .systemd_units import Units

TARGETS = (
    "default.target",
    "multi-user.target",
    "graphical.target",
    "basic.target",
    "sysinit.target",
    "local-fs.target",
    "local-fs-pre.target",
    "remote-fs.target",
    "network.target",
    "network-pre.target",
    "network-online.target",
)
"""Targets that every start reaches, or all that have something that wants the network."""

LEVELS = "S2345"
"""Run levels of a start that is no rescue."""


def started(tree: Tree, units: Units, *names: str) -> tuple[bool | None, str]:
    """Tell whether one of some units or init scripts is started.

    Args:
        tree: the tree.
        units: its systemd units.
        names: as iptables.service (also for the script iptables), tmp.mount.

    Returns:
        True, False, or None if the tree does not show it; and what shows it, for people to look at.
    """
    off: str | None = None
    for name in names:
        unit = units.load(name)
        if unit is not None and unit.masked:
            off = off or f"{unit.fragment.path} masks it"
            continue
        if unit is not None:
            for target in TARGETS:
                for alias in (unit.name, *units.aliases.get(unit.name, ())):
                    link = units.pulled.get(target, {}).get(alias)
                    if link is not None and not units.masks(link):
                        return True, link.path
            if units.configured:
                off = off or f"no link starts {unit.fragment.path}"
        script = name.removesuffix(".service")
        for level in LEVELS:
            for link in tree.listdir(f"/etc/rc{level}.d"):
                start = posixpath.basename(link.path)
                if start[0] == "S" and start[1:3].isdigit() and start[3:] == script:
                    return True, link.path
    return (None, "") if off is None else (False, off)
