"""An in-memory `Tree`: what a tree inspector sees, without a record.

    tree = MemoryTree(
        {
            "/etc/passwd": (0o644, 0, 0, b"root:x:0:0::/root:/bin/sh\\n"),  # bytes: a regular file
            "/bin": (0o777, 0, 0, "usr/bin"),  # str: a symbolic link
            "/root": (0o700, 0, 0, None),  # None: a directory
            "/dev/null": (stat.S_IFCHR | 0o666, 0, 0, None),  # file-type bits in the mode: that type
        },
        [accounts.PASSWD],
    )

Parent directories that are not given are made (0755, 0:0). Each distinct content is inspected once, by every inspector
that wants it, as `assay.inspect.base.ContentInspector` says. An inspector that raises is kept in `failures`, and its
files are `unread`, as in an examination.
"""

from __future__ import annotations

import posixpath
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from assay.facts import ContentFact, TreeFact
from assay.inspect.base import NO_HITS, Content, ContentInspector, TreeFile, TreeInspector
from assay.inspect.scan import hits
from assay.unpack import HEAD

C = TypeVar("C", bound=ContentFact)
T = TypeVar("T", bound=TreeFact)

Spec = tuple[int, int, int, bytes | str | None]

TYPES = {
    stat.S_IFREG: "regular",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "chardev",
    stat.S_IFBLK: "blockdev",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def kind_of(data: bytes) -> str:
    """Return elf, script, text, data or empty. Containers have to be named by the test (`kinds`)."""
    if data.startswith(b"\x7fELF"):
        return "elf"
    if data.startswith(b"#!"):
        return "script"
    if not data:
        return "empty"
    return "data" if b"\0" in data[:4096] else "text"


def wanted(inspector: ContentInspector, content: Content, paths: Iterable[str]) -> bool:
    """Tell whether an inspector wants a content that stands at these paths."""
    if inspector.max_size is not None and content.size > inspector.max_size:
        return False
    if inspector.text_only and content.kind not in ("text", "script"):
        return False
    if inspector.binary_only and content.kind in ("text", "script"):
        return False
    if content.kind not in ("elf", "script", "text", "data", "empty") and not inspector.containers:
        return False
    if inspector.wants_path is None and inspector.wants_head is None:
        return True
    if inspector.wants_head is not None and inspector.wants_head(content.head):
        return True
    return inspector.wants_path is not None and any(map(inspector.wants_path, paths))


def inspect(inspector: ContentInspector, data: bytes, kind: str | None = None) -> list[ContentFact]:
    """Return what an inspector observes in a content, without asking whether it wants it. Raises what it raises."""
    return list(inspector.inspect(content_of(inspector, data, kind)))


def content_of(inspector: ContentInspector, data: bytes, kind: str | None = None) -> Content:
    """Return a content as an inspector is shown it."""
    found = hits(inspector, data) if inspector.expressions else NO_HITS
    return Content(data, data[:HEAD], kind or kind_of(data), found)


class MemoryTree:
    """See the module. Implements `assay.inspect.base.Tree`."""

    def __init__(
        self,
        files: Mapping[str, Spec],
        inspectors: Iterable[ContentInspector] = (),
        *,
        kinds: Mapping[str, str] | None = None,
        unread: Iterable[str] = (),
        trees: Iterable[TreeInspector] = (),
    ) -> None:
        """Build the tree and inspect its contents.

        Args:
            files: mode, uid, gid and bytes, link target or None, by absolute path.
            inspectors: content inspectors to run.
            kinds: kind of the content at a path, where it is a container's format.
            unread: paths whose bytes count as not readable: no content, no facts.
            trees: tree inspectors whose facts are `derived`.
        """
        self._unread = set(unread)
        self._trees = list(trees)
        self.failures: list[tuple[str, str, Exception]] = []
        self._entries: dict[str, TreeFile] = {}
        self._children: dict[str, list[TreeFile]] = {}
        self._facts: dict[int, dict[type[ContentFact], list[ContentFact]]] = {}
        specs: dict[str, Spec] = {"/": (0o755, 0, 0, None), **files}
        for path in files:
            parent = posixpath.dirname(path)
            while parent not in specs:
                specs[parent] = (0o755, 0, 0, None)
                parent = posixpath.dirname(parent)
        contents: dict[bytes, tuple[int, list[str]]] = {}
        for number, path in enumerate(sorted(specs), 1):
            mode, uid, gid, what = specs[path]
            content = None
            if isinstance(what, bytes) and path not in self._unread:
                content, paths = contents.setdefault(what, (len(contents) + 1, []))
                paths.append(path)
            implied = {bytes: stat.S_IFREG, str: stat.S_IFLNK, type(None): stat.S_IFDIR}[type(what)]
            self._entries[path] = file = TreeFile(
                id=number,
                path=path,
                type=TYPES[stat.S_IFMT(mode) or implied],
                mode=stat.S_IMODE(mode),
                uid=uid,
                gid=gid,
                size=len(what) if isinstance(what, bytes) else None,
                link_target=what if isinstance(what, str) else None,
                content=content,
            )
            if path != "/":
                self._children.setdefault(posixpath.dirname(path), []).append(file)
        for data, (content, paths) in contents.items():
            kind = next((kinds[path] for path in paths if path in kinds), None) if kinds else None
            self._inspect(content, data, kind, paths, list(inspectors))
        self._paths = sqlite3.connect(":memory:")
        self._paths.execute("CREATE TABLE file (path TEXT PRIMARY KEY)")
        self._paths.executemany("INSERT INTO file VALUES (?)", ((path,) for path in self._entries))

    def _inspect(
        self, number: int, data: bytes, kind: str | None, paths: list[str], inspectors: list[ContentInspector]
    ) -> None:
        facts: dict[type[ContentFact], list[ContentFact]] = {}
        for inspector in inspectors:
            content = content_of(inspector, data, kind)
            if not wanted(inspector, content, paths):
                continue
            try:
                for fact in inspector.inspect(content):
                    assert type(fact) in inspector.families, f"{inspector.name} yields undeclared {type(fact)}"
                    facts.setdefault(type(fact), []).append(fact)
            except AssertionError:
                raise
            except Exception as error:
                if not inspector.expressions:
                    self._unread.update(paths)
                self.failures += [(path, inspector.name, error) for path in paths]
        for found in facts.values():
            found.sort(key=lambda fact: (fact.offset or 0, fact.line or 0))
        self._facts[number] = facts

    def __del__(self) -> None:
        if hasattr(self, "_paths"):
            self._paths.close()

    def lookup(self, path: str) -> TreeFile | None:
        """See `Tree.lookup`."""
        todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        here, links = "/", 0
        while todo:
            part = todo.pop()
            if part == "..":
                here = posixpath.dirname(here)
                continue
            entry = self._entries.get(posixpath.join(here, part))
            if entry is None:
                return None
            if entry.link_target is not None:
                links += 1
                if links > 40:
                    return None
                if entry.link_target.startswith("/"):
                    here = "/"
                todo += [part for part in reversed(entry.link_target.split("/")) if part not in ("", ".")]
            elif todo and entry.type != "directory":
                return None
            else:
                here = entry.path
        return self._entries[here]

    def get(self, path: str) -> TreeFile | None:
        """See `Tree.get`."""
        return self._entries.get(path)

    def glob(self, pattern: str) -> list[TreeFile]:
        """See `Tree.glob`."""
        rows = self._paths.execute("SELECT path FROM file WHERE path GLOB ? ORDER BY path", (pattern,))
        return [self._entries[path] for (path,) in rows]

    def listdir(self, path: str) -> list[TreeFile]:
        """See `Tree.listdir`."""
        directory = self.lookup(path)
        return list(self._children.get(directory.path, ())) if directory else []

    def facts(self, family: type[C], file: TreeFile) -> list[C]:
        """See `Tree.facts`."""
        target = self.lookup(file.path) if file.type == "symlink" else file
        if target is None or target.content is None:
            return []
        found: list[Any] = self._facts[target.content].get(family, [])
        return list(found)

    def all(self, family: type[C]) -> Iterator[tuple[TreeFile, C]]:
        """See `Tree.all`."""
        for file in self._entries.values():
            if file.content is not None:
                for fact in self.facts(family, file):
                    yield file, fact

    def regular(self) -> Iterator[TreeFile]:
        """See `Tree.regular`."""
        return (file for file in self._entries.values() if file.type in ("regular", "hardlink"))

    def derived(self, family: type[T]) -> list[T]:
        """See `Tree.derived`."""
        return [fact for inspector in self._trees for fact in inspector.inspect(self) if isinstance(fact, family)]

    def unread(self, path: str) -> bool:
        """See `Tree.unread`."""
        return path in self._entries and path in self._unread
