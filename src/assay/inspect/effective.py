"""The settings of one program, as the files that it reads come to them: includes, merging, defaults.

Each program's inspector walks its own files in its own order; here is what they have in common, with the bounds that a
hostile tree needs. A file that is there but could not be read makes everything uncertain that it could have changed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from assay.facts.package import Package
from assay.facts.service import Directive, Setting

from .base import Tree, TreeFile
from .late import late
from .startup import SEARCH

WORK = 100_000
"""Lines and directory entries looked at for one program: includes of includes may not multiply without end."""

FILE = 50
"""What opening a file or a directory counts for in lines."""

DEPTH = 20
"""Include levels that are followed."""

OVERRIDDEN = 20
"""Places that a `basis` names."""

Version = tuple[int, ...]

_VERSION = late(r"(?:\d+:)?v?(\d{1,5})(?:\.(\d{1,5}))?(?:\.(\d{1,5}))?")


class Default(NamedTuple):
    """What a key is when no file sets it."""

    key: str
    value: str
    since: Version = ()
    """First version of which it is stated; empty for any."""
    until: Version | None = None
    """First version of which it is no longer stated."""


class Effective:
    """Collects the settings of one program.

    Args:
        tree: the tree.
        subsystem: name of the settings.
        dialect: of the directives that count.
        wants: tells by its path whether a file was parsed; one that was not counts as one that could not be read.
        first: the first value of a key wins, not the last.
    """

    def __init__(
        self,
        tree: Tree,
        subsystem: str,
        dialect: str,
        *,
        wants: Callable[[str], bool] | None = None,
        first: bool = False,
    ) -> None:
        self.tree = tree
        self.subsystem = subsystem
        self.dialect = dialect
        self.wants = wants
        self.first = first
        self.certain = True
        """No file was met so far that is there but could not be read."""
        self.work = 0
        self._won: dict[tuple[str, str, str | None], Setting] = {}
        self._over: dict[tuple[str, str, str | None], list[str]] = {}

    def lines(self, file: TreeFile, depth: int = 0) -> list[Directive]:
        """Return the directives of a file; none, and no certainty any more, if it cannot be read or there are too many.

        Args:
            file: the file, or a link to it.
            depth: how many includes led to it.
        """
        target = self.tree.lookup(file.path)
        if target is None and file.type == "symlink":
            self.lose()  # what it leads to may lie in another part of the release
            return []
        if target is None or target.type == "directory":
            return []
        if depth > DEPTH or self.work > WORK or self.tree.unread(target.path):
            self.lose()
            if depth > DEPTH or self.work > WORK:
                return []
        found = [line for line in self.tree.facts(Directive, file) if line.dialect == self.dialect]
        self.work += len(found) + FILE
        if not found and target.size and self.wants and not (self.wants(target.path) or self.wants(file.path)):
            self.lose()
        return found

    def lose(self) -> None:
        """Note that a file could not be read here: what it may have overridden is not known any more."""
        self.certain = False
        if not self.first:
            for place in [place for place in self._won if place[2] is None]:
                del self._won[place]

    def matches(self, pattern: str) -> list[TreeFile]:
        """Return the files that glob(7) finds for an absolute pattern, by path; directories, too."""
        found = [""]
        *directories, name = [part for part in pattern.split("/") if part not in ("", ".")] or [""]
        if not any(char in pattern for char in "*?["):
            file = self.tree.lookup(pattern)
            link = self.tree.get(pattern) if file is None else None
            return [file] if file else [link] if link else []
        for part in directories:
            if any(char in part for char in "*?["):
                found = [entry.path for path in found for entry in self._listed(path, part)]
            else:
                found = [f"{path}/{part}" for path in found]
        return sorted((entry for path in found for entry in self._listed(path, name)), key=lambda entry: entry.path)

    def directory(self, path: str, suffixes: Sequence[str] = ("",)) -> list[TreeFile]:
        """Return the files directly in a directory, by name, whose names end so and do not begin with a dot."""
        return [
            entry
            for entry in self._listed(path, "*")
            if entry.type != "directory" and entry.path.endswith(tuple(suffixes))
        ]

    def _listed(self, path: str, pattern: str) -> list[TreeFile]:
        if self.work > WORK:
            self.lose()
            return []
        entries = self.tree.listdir(path or "/")
        self.work += len(entries) + FILE
        return sorted(
            (
                entry
                for entry in entries
                if fnmatchcase(name := posixpath.basename(entry.path), pattern)
                and name.startswith(".") <= pattern.startswith(".")
            ),
            key=lambda entry: entry.path,
        )

    def put(
        self, key: str, value: str, file: TreeFile, line: int | None, *, scope: str = "", which: str | None = None
    ) -> None:
        """Take a value that a line sets.

        Args:
            key: the setting.
            value: its value.
            file: where it is set.
            line: line there.
            scope: condition under which it holds.
            which: for keys of which every line counts: what tells this one from the others; often the value.
        """
        place = scope, key, which
        if place in self._won:
            if self.first or self._won[place].value == value:
                self._over.setdefault(place, []).append(f"{file.path}:{line}")
                return
            gone = self._won.pop(place)
            self._over.setdefault(place, []).append(f"{gone.path}:{gone.line}")
        elif self.first and which is None and not self.certain:
            return
        self._won[place] = Setting(
            subsystem=self.subsystem, key=key, value=value, origin="file", scope=scope, path=file.path, line=line
        )

    def builtin(
        self, key: str, value: str, file: TreeFile, line: int | None, *, scope: str, which: str, basis: str
    ) -> None:
        """Take a default of something that a line makes: an action without a mode, say."""
        self._won[scope, key, which] = Setting(
            subsystem=self.subsystem,
            key=key,
            value=value,
            origin="default",
            scope=scope,
            basis=basis,
            path=file.path,
            line=line,
        )

    def clear(self, key: str, scope: str = "") -> None:
        """Forget every value of a key."""
        for place in [place for place in self._won if place[:2] == (scope, key)]:
            del self._won[place]

    def value(self, key: str, scope: str = "") -> str | None:
        """Return the value of a key that files set; None if none does."""
        setting = self._won.get((scope, key, None))
        return setting.value if setting else None

    def every(self, key: str, scope: str = "") -> list[Setting]:
        """Return the settings of a key, in order."""
        return [setting for place, setting in self._won.items() if place[:2] == (scope, key)]

    def scopes(self) -> list[str]:
        """Return the scopes in which something is set, in order."""
        return list(dict.fromkeys(place[0] for place in self._won))

    def settings(self) -> Iterator[Setting]:
        """Yield what files set."""
        for place, setting in self._won.items():
            over = self._over.get(place)
            basis = f"overrides {', '.join(over[:OVERRIDDEN])}" if over and place[2] is None else None
            yield msgspec.structs.replace(setting, basis=basis) if basis else setting

    def defaults(self, table: Iterable[Default], manual: str, packages: Collection[str] = ()) -> Iterator[Setting]:
        """Yield the built-in defaults of keys that no file sets; none if a file that could set them was not read.

        Args:
            table: the defaults.
            manual: whose defaults they are, for the basis.
            packages: names of packages whose version is the program's.
        """
        if not self.certain:
            return
        known, basis = stated(self.tree, table, manual, packages)
        set_here = {place[1] for place in self._won if not place[0]}
        for default in known:
            if default.key not in set_here:
                yield Setting(
                    subsystem=self.subsystem, key=default.key, value=default.value, origin="default", basis=basis
                )


def stated(tree: Tree, table: Iterable[Default], manual: str, packages: Collection[str]) -> tuple[list[Default], str]:
    """Return the defaults that hold in this tree's version of a program, and on what that rests.

    Where the version is not known, those that hold in every version.
    """
    found = version(tree, packages)
    if found is None:
        basis = f"{manual}; version unknown, the same in all versions of the table"
        return [default for default in table if not default.since and default.until is None], basis
    text = ".".join(map(str, found))
    return (
        [d for d in table if d.since <= found and (d.until is None or found < d.until)],
        f"{manual}, as published; version {text} from the package database",
    )


_packages: WeakKeyDictionary[Tree, dict[str, set[str]]] = WeakKeyDictionary()


def version(tree: Tree, names: Collection[str]) -> Version | None:
    """Return the version of installed packages as their database states it; None if none or several do."""
    versions = _packages.get(tree)
    if versions is None:
        versions = {}
        for _, package in tree.all(Package):
            if package.status == "installed":
                versions.setdefault(package.name, set()).add(package.version)
        _packages[tree] = versions
    found = set()
    for name in names:
        for text in versions.get(name, ()):
            if match := _VERSION.match(text):
                found.add(tuple(int(part) for part in match.groups() if part is not None))
    return found.pop() if len(found) == 1 else None


def present(tree: Tree, *names: str, beside: Sequence[str] = ()) -> bool:
    """Tell whether a tree brings a program: in the usual directories, or in others if it has its configuration.

    An applet of BusyBox is not the program whose name it has.

    Args:
        tree: the tree.
        names: names of the program, or absolute paths.
        beside: configuration files; if one is there, the program is looked for everywhere.
    """
    for name in names:
        for path in (name,) if name.startswith("/") else (f"{place}/{name}" for place in SEARCH):
            entry = tree.lookup(path) or tree.get(path)
            if entry is not None and _is_program(entry):
                return True
    if any(tree.lookup(path) for path in beside):
        for name in names:
            if not name.startswith("/") and any(
                _is_program(tree.lookup(entry.path) or entry) and "/share/" not in entry.path
                for entry in tree.glob(f"*bin/{name}")
            ):
                return True
    return False


def configured(tree: Tree, *names: str, beside: Sequence[str]) -> bool:
    """Tell whether a tree brings a program, or its configuration: the program may lie in another part of the release.

    Where only an applet of BusyBox has the name, the configuration is not taken for the program's.

    Args:
        tree: the tree.
        names: names of the program.
        beside: configuration files.
    """
    if present(tree, *names, beside=beside):
        return True
    if any(tree.lookup(f"{place}/{name}") for place in SEARCH for name in names):
        return False
    return any(tree.lookup(path) for path in beside)


def brings(tree: Tree, names: Collection[str]) -> bool:
    """Tell whether a tree has a program under one of these names, in any directory for programs or their helpers."""
    return present(tree, *names) or any(
        _is_program(tree.lookup(entry.path) or entry)
        for name in names
        for pattern in (f"*bin/{name}", f"*/lib*/{name}")
        for entry in tree.glob(pattern)
    )


def _is_program(entry: TreeFile) -> bool:
    last = posixpath.basename(entry.link_target or entry.path)
    return entry.type in ("regular", "hardlink", "symlink") and last not in ("busybox", "toybox", "null")
