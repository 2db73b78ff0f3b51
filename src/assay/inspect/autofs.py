"""The automounter: what is mounted when somebody looks there, removable media among it.

Source: auto.master(5), autofs(5), autofs.conf(5) of autofs 5.1.8.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .dropins import Reader, joined
from .late import late
from .secrecy import withhold

DIALECT = "autofs"
MASTER = "/etc/auto.master"

_PATH = late(r"/etc/(?:auto\.[^/]+|auto\.master\.d/[^/]+\.autofs|autofs/[^/]+|autofs\.conf)$")
_MAP = late(r"(?:(?:file|program|exec)(?:,\w+)?:)?(/.*)")


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line: its first word (mount point, key, or + and a map) as key, the rest as value."""
    if content.kind == "script":
        return  # a program that prints entries: what it would print is not to be seen
    for number, line in joined(content.text()):
        key, _, value = line.replace("\t", " ").partition(" ")
        if line[0] == "[":
            continue
        if line[0] == "+" and (included := line[1:].strip()):
            yield Directive(dialect=DIALECT, key="+", value=included, line=number)
        else:
            yield Directive(dialect=DIALECT, key=key, value=withhold(" ".join(value.split())), line=number)


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield one setting a mount: `PATH`, its value options and location; a direct map's keys are paths themselves.

    A map that is not a file of the tree (of a network service, or made by a program) is `PATH map`.
    """
    reader = Reader(tree, DIALECT)
    if reader.file("/usr/sbin/automount", "/sbin/automount") is None:
        return
    master = reader.file(MASTER)
    seen: set[str] = set()
    for file, line in _master(reader, master) if master else ():
        if line.key != "/-":
            if line.key in seen:
                continue  # the first line for an indirect mount point counts
            seen.add(line.key)
        name, _, options = line.value.partition(" ")
        found = _MAP.fullmatch(name)
        maps = reader.file(found[1]) if found else reader.file(f"/etc/{name}") if name[:1].isalpha() else None
        entries = reader.lines(maps) if maps else []
        if maps is None or not entries:
            yield Setting(
                subsystem=DIALECT,
                key=f"{line.key} map",
                value=line.value,
                origin="file",
                path=file.path,
                line=line.line,
            )
            continue
        for entry in entries:
            if entry.key == "+":
                continue
            target = entry.key if line.key == "/-" else posixpath.join(line.key, entry.key)
            yield Setting(
                subsystem=DIALECT,
                key=target,
                value=f"{options} {entry.value}".strip(),
                origin="file",
                basis=f"map of {file.path}:{line.line}",
                path=maps.path,
                line=entry.line,
            )


def _master(reader: Reader, first: TreeFile) -> Iterator[tuple[TreeFile, Directive]]:
    """Yield the lines of the master map, with those of the maps that it includes in place; each map once."""
    read = {first.path}
    stack = [iter([(first, line) for line in reader.lines(first)])]
    while stack:
        place = next(stack[-1], None)
        if place is None:
            stack.pop()
        elif place[1].key != "+":
            yield place
        else:
            included = _included(reader, place[1].value)
            new = [file for file in included if file.path not in read]
            read.update(file.path for file in new)
            stack.append(iter([(file, line) for file in new for line in reader.lines(file)]))


def _included(reader: Reader, name: str) -> list[TreeFile]:
    words = name.removeprefix("dir:").split() or [""]
    if name.startswith("dir:"):
        return reader.matching(f"{words[0]}/*.autofs")
    file = reader.file(words[0] if words[0].startswith("/") else f"/etc/{words[0]}")
    return [file] if file is not None else []


INSPECTOR = ContentInspector(
    name="autofs",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/etc/auto",),
    wants_path=lambda path: "/etc/auto" in path and _PATH.search(path) is not None,
    max_size=1 << 20,
    text_only=True,
    unseen=("maps kept under other names than /etc/auto* and /etc/autofs/*",),
)

SETTINGS = TreeInspector(
    name="autofs-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=("maps that a program prints or a network service (NIS, LDAP) holds", "amd-format maps of autofs.conf"),
)
