"""The system units of a tree as systemd would load them: search path, aliases, masks, templates and drop-ins.

Source: systemd.unit(5).
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from functools import cached_property

from assay.facts.service import Directive
from assay.unpack.base import LimitReached

from .base import Tree, TreeFile
from .systemd import DIALECT, UNITS

SEARCH = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""Unit directories, the ones that win first."""

PULLS = ("wants", "requires", "upholds")

NAME_MAX = 255
"""Characters of a unit's name (unit-name.h); templates that pull in templates could make them grow without end."""

LINES = 2_000_000
"""Lines held for all units together: names for one and the same content may be many."""

FILE = 50
"""What a file counts for in lines, for a drop-in may hold for every unit."""

SPECIFIERS = 256
"""Specifiers in one value that are resolved."""

HOPS = 16
"""Aliases of aliases that are followed."""


@dataclass
class Unit:
    """One unit under its own name."""

    name: str
    fragment: TreeFile
    """Its file, or the link that masks it."""
    masked: bool
    lines: list[tuple[TreeFile, Directive]] = field(default_factory=list)
    """Directives of its file and its drop-ins, in the order in which they apply."""
    complete: bool = True
    """All of its files could be read."""

    def last(self, section: str, key: str) -> str | None:
        """Return a single-value setting: the last one written; None if it is unset or reset."""
        value = None
        for _, line in self.lines:
            if line.key == key and line.section == section:
                value = line.value
        return value or None

    def every(self, section: str, key: str, *, resets: bool = True) -> list[tuple[TreeFile, Directive]]:
        """Return the lines of a list setting; an empty assignment clears what came before if `resets`."""
        found: list[tuple[TreeFile, Directive]] = []
        for place in self.lines:
            if place[1].key == key and place[1].section == section:
                if place[1].value:
                    found.append(place)
                elif resets:
                    found.clear()
        return found

    def true(self, section: str, key: str) -> bool:
        """Return a boolean setting, false if it is unset."""
        return (self.last(section, key) or "").lower() in ("1", "yes", "y", "true", "t", "on")

    def expand(self, text: str) -> str | None:
        """Return text with the specifiers of the unit's name resolved; None if it has others, or too many."""
        if "%" not in text:
            return text
        if text.count("%") > SPECIFIERS:
            return None
        stem, _, _ = self.name.rpartition(".")
        prefix, _, instance = stem.partition("@")
        known = {
            "n": self.name,
            "N": stem,
            "p": prefix,
            "P": prefix.replace("-", "/"),
            "i": instance,
            "I": instance.replace("-", "/"),
            "j": prefix.rpartition("-")[2],
            "%": "%",
        }
        out = []
        pieces = iter(text.split("%"))
        out.append(next(pieces))
        for piece in pieces:
            if not piece:  # "%%"
                out.append("%" + next(pieces, ""))
            elif piece[0] in known:
                out.append(known[piece[0]] + piece[1:])
            else:
                return None
        return "".join(out)


def is_instance(name: str) -> bool:
    """Tell whether a unit name is a template's instance (a@b.service, not a@.service)."""
    at = name.find("@")
    return at > 0 and not name.startswith("@.", at)


def template(name: str) -> str:
    """Return the template's name of an instance's."""
    return f"{name.partition('@')[0]}@.{name.rpartition('.')[2]}"


class Units:
    """All unit files of a tree, by name; loads a unit when it is asked for."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.files: dict[str, TreeFile] = {}
        """Unit file, or link, that wins for each name."""
        self.pulled: dict[str, dict[str, TreeFile]] = {}
        """By unit: the units that its .wants, .requires and .upholds directories name, and the link."""
        self.configured = False
        """There is at least one such link under /etc: somebody has chosen what is enabled."""
        self._dropins: dict[str, dict[str, TreeFile]] = {}
        self._loaded: dict[str, Unit | None] = {}
        self._held = 0
        seen = set()
        for place in SEARCH:
            directory = tree.lookup(place)
            if directory is None or directory.type != "directory" or directory.path in seen:
                continue
            seen.add(directory.path)
            for file in tree.listdir(place):
                self._add(file, etc=directory.path.startswith("/etc/"))

    def _add(self, file: TreeFile, *, etc: bool) -> None:
        name = posixpath.basename(file.path)
        stem, _, suffix = name.rpartition(".")
        if name.endswith(UNITS):
            if file.type in ("regular", "hardlink", "symlink"):
                self.files.setdefault(name, file)
        elif suffix in PULLS:
            named = self.pulled.setdefault(stem, {})
            for link in self.tree.listdir(file.path):
                named.setdefault(posixpath.basename(link.path), link)
                self.configured = self.configured or (etc and link.type == "symlink")
        elif suffix == "d":
            named = self._dropins.setdefault(stem, {})
            for dropin in self.tree.listdir(file.path):
                if dropin.path.endswith(".conf"):
                    named.setdefault(posixpath.basename(dropin.path), dropin)

    def masks(self, file: TreeFile) -> bool:
        """Tell whether a file masks its name: a link to /dev/null, or an empty file."""
        if file.type == "symlink":
            if file.link_target is not None and posixpath.normpath(file.link_target).endswith("/dev/null"):
                return True
            target = self.tree.lookup(file.path)
            return target is not None and target.type == "regular" and target.size == 0
        return file.size == 0

    def own_name(self, name: str) -> str:
        """Return the name that a unit has by itself: where the chain of aliases ends."""
        for _ in range(HOPS):
            file = self.files.get(name)
            if file is None and is_instance(name):
                file = self.files.get(template(name))
            if file is None or file.type != "symlink" or file.link_target is None or self.masks(file):
                return name
            target = posixpath.basename(file.link_target)
            if target == posixpath.basename(file.path) or not target.endswith(UNITS):
                return name  # a unit file kept elsewhere and linked in under its own name
            if is_instance(name) and target.partition("@")[2].startswith("."):
                target = target.replace("@.", f"@{name.partition('@')[2].rpartition('.')[0]}.", 1)
            if target not in self.files and template(target) not in self.files:
                return name
            name = target
        return name

    @cached_property
    def aliases(self) -> dict[str, list[str]]:
        """Return the further names of each unit that has any."""
        found: dict[str, list[str]] = {}
        for name in sorted(self.files):
            if (own := self.own_name(name)) != name:
                found.setdefault(own, []).append(name)
        return found

    def load(self, name: str) -> Unit | None:
        """Return the unit of a name or alias; None if the tree has none."""
        name = self.own_name(name)
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Unit | None:
        file = self.files.get(name) or (self.files.get(template(name)) if is_instance(name) else None)
        if file is None or len(name) > NAME_MAX:
            return None
        unit = Unit(name, file, masked=self.masks(file))
        if unit.masked:
            return unit
        for part in [file, *self._dropins_of(name)]:
            target = self.tree.lookup(part.path)
            if target is None or self.tree.unread(target.path):
                unit.complete = False
                continue
            lines = [(part, line) for line in self.tree.facts(Directive, part) if line.dialect == DIALECT]
            unit.lines += lines
            self._held += len(lines) + FILE
            if self._held > LINES:
                raise LimitReached("lines", LINES)
        return unit

    def _dropins_of(self, name: str) -> list[TreeFile]:
        """Return drop-ins in the order in which they apply; one for a longer name hides one for a shorter."""
        names = [name.rpartition(".")[2]]
        for whole in (name, *self.aliases.get(name, ())):
            stem, _, suffix = whole.rpartition(".")
            prefix, at, instance = stem.partition("@")
            dashes = [position for position, char in enumerate(prefix) if char == "-"][:HOPS]
            names += [f"{prefix[: dash + 1]}.{suffix}" for dash in dashes if dash + 1 < len(prefix)]
            names += [f"{prefix}@.{suffix}"] if at and instance else []
            names.append(whole)
        found: dict[str, TreeFile] = {}
        for each in names:
            found |= self._dropins.get(each, {})
        return [found[name] for name in sorted(found) if not self.masks(found[name])]
