"""Trees of text files and programs for the tests of daemons' settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from assay.facts.network import Listener
from assay.facts.package import Package
from assay.facts.service import Setting
from assay.inspect import environment_file, systemd
from assay.inspect.base import ContentInspector, TreeInspector
from tests.support.memory_tree import MemoryTree

PROGRAM = "\x7fELF"


def package(name: str, version: str) -> ContentInspector:
    """Return an inspector that sees one installed package in the file /var/lib/dpkg/status."""
    return ContentInspector(
        name="test-package",
        version=1,
        families=(Package,),
        inspect=lambda _: [Package(manager="dpkg", name=name, version=version)],
        wants_path=lambda path: path == "/var/lib/dpkg/status",
    )


def tree(
    files: dict[str, str],
    *inspectors: ContentInspector,
    programs: Iterable[str] = (),
    installed: tuple[str, str] | None = None,
    unread: Iterable[str] = (),
) -> MemoryTree:
    """Return a tree; a text that begins with '-> ' is a link, None a directory."""
    specs: dict[str, Any] = {
        path: (0o777, 0, 0, text[3:]) if text.startswith("-> ") else (0o644, 0, 0, text.encode())
        for path, text in files.items()
    }
    specs |= {path: (0o755, 0, 0, PROGRAM.encode()) for path in programs}
    every = [*inspectors, systemd.INSPECTOR, environment_file.INSPECTOR]
    if installed:
        every.append(package(*installed))
        specs["/var/lib/dpkg/status"] = (0o644, 0, 0, b"status")
    return MemoryTree(specs, every, unread=unread)


def rows(inspector: TreeInspector, found: MemoryTree, *, defaults: bool = False) -> list[tuple[str, ...]]:
    """Return settings as (key, value, scope, place); without built-in ones unless asked for."""
    return [
        (row.key, row.value, row.scope, f"{row.path}:{row.line}" if row.path else "-")
        for row in inspector.inspect(found)
        if isinstance(row, Setting) and (defaults or row.origin == "file")
    ]


def built_in(inspector: TreeInspector, found: MemoryTree) -> dict[str, str]:
    """Return the built-in settings that are no part of a statement."""
    return {
        row.key: row.value
        for row in inspector.inspect(found)
        if isinstance(row, Setting) and row.origin == "default" and row.path is None
    }


def sockets(inspector: TreeInspector, found: MemoryTree) -> list[str]:
    """Return listeners as 'protocol address:port purpose [tls] [interface]'."""
    return [
        " ".join(
            filter(
                None,
                (
                    row.protocol,
                    f"{row.address}:{row.port}",
                    row.purpose,
                    "tls" if row.tls else "",
                    row.interface,
                ),
            )
        )
        for row in inspector.inspect(found)
        if isinstance(row, Listener)
    ]
