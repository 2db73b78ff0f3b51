"""What is mounted, with which options: /etc/fstab and systemd's mount units together.

Source: fstab(5), mount(8) of util-linux 2.38; systemd.mount(5), systemd.automount(5), systemd-fstab-generator(8);
systemd's src/shared/mount-setup.c.

systemd turns each line of fstab into a unit that ranks below those in /etc and above those in /usr/lib. Each mount
point has the keys `PATH source`, `PATH type`, `PATH options` (as written) and `PATH flags`: what the options come to
for ro/rw, suid/nosuid, dev/nodev and exec/noexec.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from assay.facts.service import Setting

from .base import Tree, TreeInspector
from .boot_links import started
from .dropins import Reader
from .fstab import DIALECT, unescape
from .secrecy import withhold
from .startup import first_program
from .systemd_units import Units

SUBSYSTEM = "mount"

_PAIRS = (("rw", "ro"), ("suid", "nosuid"), ("dev", "nodev"), ("exec", "noexec"))
_FLAGS = {word: (number, word) for number, pair in enumerate(_PAIRS) for word in pair}
_IMPLIED = {
    "user": ("nosuid", "nodev", "noexec"),
    "users": ("nosuid", "nodev", "noexec"),
    "owner": ("nosuid", "nodev"),
    "group": ("nosuid", "nodev"),
    "defaults": ("rw", "suid", "dev", "exec"),
}
"""Options that stand for others, which later ones may take back (mount(8))."""

KERNEL = {
    "/proc": ("proc", "proc", "nosuid,noexec,nodev"),
    "/sys": ("sysfs", "sysfs", "nosuid,noexec,nodev"),
    "/dev/shm": ("tmpfs", "tmpfs", "mode=1777,nosuid,nodev,strictatime"),  # noqa: S108 - a mount point
}
"""What systemd mounts before it reads any file, with the options that all versions since 215 use."""


def flags(options: str) -> str:
    """Return what options come to: of each of ro/rw, suid/nosuid, dev/nodev, exec/noexec the one that holds."""
    state = [pair[0] for pair in _PAIRS]
    for option in options.split(","):
        for word in (*_IMPLIED.get(option.partition("=")[0], ()), option):
            if word in _FLAGS:
                number, state[number] = _FLAGS[word][0], word
    return ",".join(state)


class Mount(NamedTuple):
    """One file system to be mounted."""

    target: str
    source: str
    type: str
    options: str
    scope: str
    origin: str
    basis: str | None
    path: str | None
    line: int | None

    def settings(self) -> Iterator[Setting]:
        """Yield its settings."""
        for key, value in (
            ("source", self.source),
            ("type", self.type),
            ("options", self.options),
            ("flags", flags(self.options)),
        ):
            yield Setting(
                subsystem=SUBSYSTEM,
                key=f"{self.target} {key}",
                value=value,
                origin=self.origin,
                scope=self.scope,
                basis=self.basis,
                path=self.path,
                line=self.line,
            )


def _table(reader: Reader) -> Iterator[Mount]:
    """Yield the lines of /etc/fstab. Lines for one mount point are mounted over each other, the last on top."""
    file = reader.file("/etc/fstab")
    for line in reader.lines(file) if file else ():
        if line.key != "mount":
            continue
        fields = line.value.split()
        options = unescape(fields[3]) if len(fields) > 3 else "defaults"
        scope = "on request (noauto)" if "noauto" in options.split(",") else ""
        if "x-systemd.automount" in options.split(","):
            scope = "on first access (x-systemd.automount)"
        target = line.section or fields[1]
        target = posixpath.normpath(target) if target.startswith("/") else target
        yield Mount(
            target,
            unescape(fields[0]),
            fields[2],
            options,
            scope,
            "file",
            None,
            "/etc/fstab",
            line.line,
        )


def _units(tree: Tree, units: Units) -> Iterator[tuple[Mount, bool]]:
    """Yield the mount units, and whether each ranks above fstab."""
    for name in sorted(name for name in units.files if name.endswith(".mount")):
        unit = units.load(name)
        if unit is None or unit.masked or not unit.complete or unit.name != name:
            continue
        where, what = unit.last("Mount", "Where"), unit.last("Mount", "What")
        if where is None or what is None:
            continue
        where, what = unit.expand(where) or where, unit.expand(what) or what
        line = next((line.line for file, line in unit.lines if line.key == "Where" and file is unit.fragment), None)
        on, shown = started(tree, units, name)
        scope = "" if on else f"once {name} is started"
        automount = name.removesuffix(".mount") + ".automount"
        if not on and started(tree, units, automount)[0]:
            scope = f"on first access ({automount})"
        yield (
            Mount(
                posixpath.normpath(where),
                what,
                unit.last("Mount", "Type") or "auto",
                withhold(unit.last("Mount", "Options") or "defaults"),
                scope,
                "file",
                f"started by {shown}" if on else None,
                unit.fragment.path,
                line,
            ),
            unit.fragment.path.startswith(("/etc/", "/run/")),
        )


def _hidden(units: Units, target: str) -> bool:
    """Tell whether the unit of a mount point (systemd.unit(5), string escaping) is masked or not readable."""
    kept = [
        char if char.isalnum() or char in ":_." else f"\\x{ord(char):02x}"
        for char in target.strip("/").replace("/", "\0")
    ]
    unit = units.load("".join(kept).replace("\\x00", "-") + ".mount")
    return unit is not None and (unit.masked or not unit.complete) and unit.fragment.path.startswith(("/etc/", "/run/"))


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield the settings of every mount point, by mount point.

    Of a mount point that both fstab and a unit name, the one that ranks higher counts under systemd. Where fstab is
    there but could not be read, units that it could replace are left out.
    """
    reader = Reader(tree, DIALECT)
    table = list(_table(reader))
    found: list[Mount] = []
    systemd = first_program(tree) == "systemd"
    units = Units(tree) if systemd else None
    above: set[str] = set()
    if units is not None:
        for mount, over in _units(tree, units):
            if over:
                above.add(mount.target)
                found.append(mount)
            elif reader.certain and mount.target not in {line.target for line in table}:
                found.append(mount)
    last = {mount.target: mount.line for mount in table}
    for mount in table:
        if mount.target in above or (units is not None and _hidden(units, mount.target)):
            continue  # a unit of the same name stands before the one that is made of the line
        on_top = last[mount.target]
        covered = mount.line != on_top and mount.target.startswith("/")
        found.append(mount._replace(basis=f"covered by line {on_top}" if covered else mount.basis))
    if units is not None and reader.certain:
        stated = {mount.target for mount in found}
        for target, (source, kind, options) in KERNEL.items():
            if target not in stated:
                basis = "systemd's own, before any file is read (src/shared/mount-setup.c)"
                found.append(Mount(target, source, kind, options, "", "default", basis, None, None))
    for mount in sorted(found, key=lambda mount: (mount.target, mount.line or 0)):
        yield from mount.settings()


SETTINGS = TreeInspector(
    name="mount-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "file systems that an initial RAM disk or a script mounts, and root= of the kernel's command line",
        "units that systemd's other generators write at boot (EFI and GPT automatic mounts)",
        "options that a file system remembers itself (tune2fs -o)",
    ),
)
