"""What settings that are spread over files and directories have in common: which files count, and what they say."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from assay.facts.service import Directive
from assay.unpack.base import LimitReached

from .base import Tree, TreeFile

LINES = 1_000_000
"""Lines that are looked at for one program: many names may lead to one and the same content."""

FILE = 50
"""What a file or a directory counts for in lines."""

_REGULAR = ("regular", "hardlink")


class Reader:
    """The configuration of one program: its files in a tree, and their lines.

    Args:
        tree: the tree.
        dialect: whose directives to return.
    """

    def __init__(self, tree: Tree, dialect: str) -> None:
        self.tree = tree
        self.dialect = dialect
        self.certain = True
        """No file was met so far that is there but could not be read."""
        self._left = LINES

    def _spend(self, lines: int) -> None:
        self._left -= lines
        if self._left < 0:
            raise LimitReached("lines", LINES)

    def lines(self, file: TreeFile) -> list[Directive]:
        """Return the lines of a file, links followed.

        Raises:
            LimitReached: there are more than any real configuration has.
        """
        target = self.tree.lookup(file.path)
        if target is None or self.tree.unread(target.path):
            self.certain = False
            return []
        found = [line for line in self.tree.facts(Directive, target) if line.dialect == self.dialect]
        self._spend(len(found) + FILE)
        return found

    def file(self, *paths: str) -> TreeFile | None:
        """Return the first of some absolute paths that is a file, its links followed."""
        for path in paths:
            found = self.tree.lookup(path)
            if found is not None and found.type in _REGULAR:
                return found
        return None

    def merged(self, directories: Iterable[str], suffix: str) -> list[TreeFile]:
        """Return the files of directories by file name; a name in an earlier directory hides it in a later one.

        An empty file and a link to /dev/null hide like any other, and have no lines.
        """
        named: dict[str, TreeFile] = {}
        seen = set()
        for path in directories:
            directory = self.tree.lookup(path)
            if directory is None or directory.type != "directory" or directory.path in seen:
                continue
            seen.add(directory.path)
            for file in self._listed(directory.path):
                if file.path.endswith(suffix) and file.type in (*_REGULAR, "symlink"):
                    named.setdefault(posixpath.basename(file.path), file)
        return [named[name] for name in sorted(named) if not is_masked(named[name])]

    def matching(self, pattern: str) -> list[TreeFile]:
        """Return the files that glob(7) finds for an absolute pattern, by path."""
        found = [""]
        *directories, name = [part for part in pattern.split("/") if part not in ("", ".")] or [""]
        for part in directories:
            if any(char in part for char in "*?["):
                found = [entry.path for path in found for entry in self._listed(path or "/") if _glob(entry, part)]
            else:
                found = [f"{path}/{part}" for path in found]
        entries = (entry for path in found for entry in self._listed(path or "/") if _glob(entry, name))
        return sorted((entry for entry in entries if entry.type in (*_REGULAR, "symlink")), key=lambda file: file.path)

    def _listed(self, path: str) -> list[TreeFile]:
        entries = self.tree.listdir(path)
        self._spend(len(entries) + FILE)
        return entries


def is_masked(file: TreeFile) -> bool:
    """Tell whether an entry is a link to /dev/null: it hides its name, and says nothing."""
    return file.type == "symlink" and posixpath.normpath(file.link_target or "").endswith("/dev/null")


def _glob(file: TreeFile, pattern: str) -> bool:
    name = posixpath.basename(file.path)
    return fnmatchcase(name, pattern) and name.startswith(".") <= pattern.startswith(".")


def joined(text: str, *, comment: str = "#") -> Iterator[tuple[int, str]]:
    """Yield (number of the first line, text) with lines joined that end in a backslash; no comments, no empty lines."""
    parts: list[str] = []
    first = 0
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.removesuffix("\r")
        if not parts:
            first = number
            if line.lstrip()[:1] in ("", *comment):
                continue
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        whole = "".join([*parts, line]).strip()
        parts = []
        if whole:
            yield first, whole
    if whole := "".join(parts).strip():
        yield first, whole
