"""Root file systems as the record holds them: where they begin, and how inspectors see them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from typing import TypeVar

from assay.facts import ContentFact, TreeFact
from assay.inspect import inspectors
from assay.inspect.base import TreeFile
from assay.record.store import select

C = TypeVar("C", bound=ContentFact)
T = TypeVar("T", bound=TreeFact)

MOST_LINKS = 40
"""Symbolic links followed in one lookup, as in the Linux kernel."""

MOST_ROOTS = 64
"""Root file systems looked for in one container."""

TOP = {"bin", "sbin", "lib", "lib64", "usr", "var", "opt", "home", "root", "boot", "dev", "proc", "sys", "init"}
"""Names beside `etc` (or `usr`) by which the root of a file system is known: FHS 3.0, chapter 3."""


def roots(record: sqlite3.Connection, container: int) -> list[str]:
    """Return the paths in a container at which a root file system begins: '' for the container's own root.

    A place is a root if it holds `etc` or `usr`, and at least one other of the names that the Filesystem Hierarchy
    Standard puts at a root; the container's own root is one if it holds any of them. `/usr` and `/usr/local` are not.
    """
    names: dict[str, set[str]] = {}
    rows = record.execute(
        """SELECT path FROM file WHERE container = ?1 AND (path GLOB '*/etc/*' OR path GLOB '*/usr/*' OR
           path GLOB '*/etc' OR path GLOB '*/usr' OR path GLOB '/*' AND path NOT GLOB '/*/*/*')""",
        (container,),
    )
    for (path,) in rows:
        parts = path.split("/")
        for i, part in enumerate(parts[1:9], 1):
            if part in TOP or part == "etc":
                names.setdefault("/".join(parts[:i]), set()).add(part)
    found: list[str] = []
    for prefix in sorted(names, key=lambda p: (p.count("/"), p)):
        seen = names[prefix]
        main = seen & {"etc", "usr"}
        inner = any(prefix.startswith(outer + "/") and _is_system(prefix[len(outer) :]) for outer in found)
        if not inner and (main and len(seen) > 1 if prefix else seen):
            found.append(prefix)
    return found[:MOST_ROOTS]


def _is_system(path: str) -> bool:
    return path in ("/usr", "/usr/local", "/usr/share", "/var", "/opt", "/etc")


class RecordTree:
    """A `Tree` (see `assay.inspect.base`) over a record.

    Args:
        record: open connection.
        container: container that holds the tree.
        root: path at which the tree begins; '' for the container's root.
    """

    def __init__(self, record: sqlite3.Connection, container: int, root: str = "") -> None:
        self.record = record
        self.container = container
        self.root = root
        self.files: dict[str, TreeFile] = {}
        self.children: dict[str, list[TreeFile]] = {}
        self.hidden: set[str] = set()
        self.resolved: dict[str, str | None] = {}
        self.found: dict[type[TreeFact], list[TreeFact]] = {}
        listed = "id, path, type, mode, uid, gid, size, link_target, content"
        for row in record.execute(
            f"SELECT {listed} FROM file WHERE container = ? AND path >= ? AND path < ? ORDER BY path, seq",  # noqa: S608
            (container, root + "/", root + "0"),
        ):
            path = row[1][len(root) :]
            self.files[path] = TreeFile(row[0], path, *row[2:])  # of equal paths the last stands, as when unpacked
        for path in list(self.files):
            self._parents(path)
        for path, file in self.files.items():
            if path != "/":
                self.children.setdefault(path.rpartition("/")[0] or "/", []).append(file)

    def _parents(self, path: str) -> None:
        """Make the directories that a container implies without listing them."""
        parent = path.rpartition("/")[0]
        while parent and parent not in self.files:
            self.files[parent] = TreeFile(0, parent, "directory", None, None, None, None, None, None)
            parent = parent.rpartition("/")[0]

    def _resolve(self, path: str, links: int = 0) -> str | None:
        if path in self.resolved:
            return self.resolved[path]
        at = ""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for i, part in enumerate(parts):
            if part == "..":
                at = at.rpartition("/")[0]
                continue
            file = self.files.get(f"{at}/{part}")
            if file is None:
                self.resolved[path] = None
                return None
            if file.type == "symlink":
                target = file.link_target or ""
                rest = "/".join(parts[i + 1 :])
                joined = f"{target}/{rest}" if target.startswith("/") else f"{at}/{target}/{rest}"
                found = self._resolve(joined, links + 1) if links < MOST_LINKS else None
                if links < MOST_LINKS:
                    self.resolved[path] = found
                return found
            at = file.path
        return at or "/"

    def derived(self, family: type[T]) -> list[T]:
        """See `assay.inspect.base.Tree`."""
        return [fact for fact in self.found.get(family, ()) if isinstance(fact, family)]

    def lookup(self, path: str) -> TreeFile | None:
        """See `assay.inspect.base.Tree`."""
        found = self._resolve(path)
        return None if found is None else self.files.get(found)

    def get(self, path: str) -> TreeFile | None:
        """See `assay.inspect.base.Tree`."""
        return self.files.get(path)

    def glob(self, pattern: str) -> list[TreeFile]:
        """See `assay.inspect.base.Tree`."""
        rows = self.record.execute(
            "SELECT DISTINCT path FROM file WHERE container = ? AND path GLOB ? ORDER BY path",
            (self.container, glob_escape(self.root) + pattern),
        )
        return [self.files[path] for (full,) in rows if (path := full[len(self.root) :]) in self.files]

    def listdir(self, path: str) -> list[TreeFile]:
        """See `assay.inspect.base.Tree`."""
        found = self._resolve(path)
        return [] if found is None else sorted(self.children.get(found, ()), key=lambda file: file.path)

    def facts(self, family: type[C], file: TreeFile) -> list[C]:
        """See `assay.inspect.base.Tree`."""
        target = self.lookup(file.path) if file.type in ("symlink", "hardlink") and file.content is None else file
        if target is None or target.content is None:
            return []
        sql, make = select(family)
        rows = self.record.execute(f"{sql} WHERE content = ? ORDER BY offset, line, id", (target.content,))
        return [make(row) for row in rows]

    def all(self, family: type[C]) -> Iterator[tuple[TreeFile, C]]:
        """See `assay.inspect.base.Tree`."""
        rows = self.record.execute(
            f"""SELECT DISTINCT f.path FROM file AS f WHERE f.container = ? AND f.content IN
                (SELECT content FROM "{family.table()}") ORDER BY f.path""",  # noqa: S608
            (self.container,),
        ).fetchall()
        for (full,) in rows:
            file = self.files.get(full[len(self.root) :]) if full.startswith(self.root + "/") else None
            if file is not None:
                for fact in self.facts(family, file):
                    yield file, fact

    def regular(self) -> Iterator[TreeFile]:
        """See `assay.inspect.base.Tree`."""
        return (file for path, file in sorted(self.files.items()) if file.type in ("regular", "hardlink"))

    def unread(self, path: str) -> bool:
        """See `assay.inspect.base.Tree`."""
        file = self.lookup(path)
        if file is None:
            return False
        failed = self.record.execute("SELECT inspector FROM unread WHERE file = ?", (file.id,))
        if any(inspector not in searching() for (inspector,) in failed):
            return True
        return file.type == "regular" and file.content is None


@cache
def searching() -> frozenset[str]:
    """Return the inspectors that look for something in any content, and parse no file: name@version.

    What they could not finish says nothing on what a parser of the same file has found.
    """
    return frozenset(f"{i.name}@{i.version}" for i in inspectors()[0].values() if i.expressions)


def glob_escape(path: str) -> str:
    """Return a path as an SQLite GLOB pattern that matches just it."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)
