"""Configurations with blocks inside blocks: how a block is kept as directives, and made again from them.

A block's opening line is a directive like another; what stands in it has the way to it as `section`, outermost first:
`http > server > location /x`. The same way may occur twice (two servers of a file): what follows belongs to the one
that was opened last, so the order of a file's directives is all that is needed to build the tree again.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from fnmatch import fnmatchcase

from assay.facts.service import Directive
from assay.unpack.base import LimitReached

from .base import ContentInspector, Tree, TreeFile
from .late import late
from .secrecy import WITHHELD, withhold

DEPTH = 32
"""Blocks in blocks, and includes in includes."""

MOST = 50_000
"""Directives of one file; and directives and directory entries of one configuration with all that it includes."""

LONGEST = 400
"""Characters of a section. A longer one is cut, and named by the line of its last block."""


_FOREIGN = late(
    r"/(?:tmpfiles\.d|sysusers\.d|sysctl\.d|fail2ban|r?syslog(?:-ng)?(?:\.d)?|logrotate\.d|limits\.d|supervisor[^/]*|init"
    r"|modprobe\.d|collectd[^/]*|telegraf[^/]*|monit[^/]*|munin|zabbix[^/]*|[^/]*\.service\.d|vim[^/]*|doc|dbus-1|selinux"
    r"|security|ld\.so\.conf\.d|filebeat|logstash|ufw|firewalld|apparmor[^/]*)/"
)


def is_foreign(path: str) -> bool:
    """Tell whether a file named after a server is another program's, about that server."""
    return _FOREIGN.search(path) is not None


class Node:
    """A directive with what stands in its block."""

    __slots__ = ("children", "key", "line", "note", "path", "value")

    def __init__(self, key: str, value: str, path: str | None, line: int | None, note: str | None = None) -> None:
        self.key = key
        self.value = value
        self.path = path
        self.line = line
        self.note = note
        """A condition that could not be tried, under which it stands."""
        self.children: list[Node] = []


def section(outer: str | None, key: str, value: str, line: int | None) -> str:
    """Return the section of what stands in a block, from the block's own section and directive."""
    opening = f"{key} {value}" if value else key
    text = f"{outer} > {opening}" if outer else opening
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... (line {line})"


def nodes(tree: Tree, file: TreeFile, dialect: str) -> list[Node]:
    """Return the directives of a file as its outermost blocks and lines."""
    top: list[Node] = []
    opened: dict[str, Node] = {}
    for fact in tree.facts(Directive, file):
        if fact.dialect != dialect:
            continue
        node = Node(fact.key, fact.value, file.path, fact.line)
        opened[section(fact.section, fact.key, fact.value, fact.line)] = node
        if fact.section is None:
            top.append(node)
        elif fact.section in opened:
            opened[fact.section].children.append(node)
    return top


class Budget:
    """How much of a configuration may be looked at: includes of includes may not multiply without end."""

    def __init__(self, most: int = MOST) -> None:
        self.most = self.left = most

    def spend(self, count: int) -> None:
        """Take a number of directives or directory entries.

        Raises:
            LimitReached: there are not so many left.
        """
        self.left -= count
        if self.left < 0:
            raise LimitReached("directives of a configuration", self.most)


def opened(
    tree: Tree, file: TreeFile, by: Node | None, dialect: str, parser: ContentInspector, budget: Budget, name: str
) -> tuple[list[Node], str | None]:
    """Return the blocks and lines of a file of a configuration, and in one line why they are not all, if they are not.

    Args:
        tree: the tree.
        file: the main file, or one that is included.
        by: what includes it; None for the main file.
        dialect: of its directives.
        parser: the inspector that has read such files: one that it did not want has no directives.
        budget: what the configuration may still cost.
        name: of the program, for that line.
    """
    target = tree.lookup(file.path)
    why = None
    if target is None or target.type not in ("regular", "hardlink"):
        why = "is not a file of this tree"
    elif by is not None and not _parsed(target, parser):
        why = f"was not read: by its place and size it is no {name} configuration"
    elif tree.unread(target.path):
        why = "could not be read as a whole"
    if why is not None:
        why = f"{by.path}:{by.line}: {file.path} {why}" if by else f"{file.path} {why}"
    found = nodes(tree, file, dialect)
    budget.spend(len(found) + 1)
    return found, why


def _parsed(file: TreeFile, parser: ContentInspector) -> bool:
    wanted = parser.wants_path is not None and parser.wants_path(file.path)
    return wanted and (file.size or 0) <= (parser.max_size or 0)


def is_secret(name: str) -> bool:
    """Tell whether a name says that its value is secret."""
    return name.lower() in ("authorization", "proxy-authorization") or WITHHELD in withhold(f"{name}=x")


def is_pattern(path: str) -> bool:
    """Tell whether a path is a pattern of glob(7)."""
    return any(char in path for char in "*?[")


def matches(tree: Tree, pattern: str, budget: Budget) -> Iterator[TreeFile]:
    """Yield the entries that glob(3) finds for an absolute pattern, by path."""
    found = [""]
    *directories, name = [part for part in pattern.split("/") if part not in ("", ".")] or [""]
    for part in directories:
        if is_pattern(part):
            found = [entry.path for path in found for entry in _listed(tree, path, part, budget)]
        else:
            found = [f"{path}/{part}" for path in found]
    for path in found:
        yield from sorted(_listed(tree, path, name, budget), key=lambda entry: entry.path)


def _listed(tree: Tree, path: str, pattern: str, budget: Budget) -> list[TreeFile]:
    if not is_pattern(pattern):
        budget.spend(1)
        # the entry itself, not what a link leads to: a site is named by its link
        directory = tree.lookup(path or "/")
        entry = tree.get(posixpath.join(directory.path, pattern)) if directory else None
        return [entry] if entry else []
    entries = tree.listdir(path or "/")
    budget.spend(len(entries) + 1)
    return [
        entry
        for entry in entries
        if (name := posixpath.basename(entry.path)).startswith(".") <= pattern.startswith(".")
        and fnmatchcase(name, pattern)
    ]
