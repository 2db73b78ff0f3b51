"""What starts a program: for the facts on what it listens on."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator
from itertools import chain
from weakref import WeakKeyDictionary

import msgspec

from assay.facts.network import Listener
from assay.facts.service import Service
from assay.unpack.base import LimitReached

from . import inittab, systemd_services, sysv
from .base import Tree
from .effective import brings
from .startup import words

_found: WeakKeyDictionary[Tree, list[Service]] = WeakKeyDictionary()


def services(tree: Tree) -> list[Service]:
    """Return the services that start programs of their own, not through a super-server; worked out once for a tree.

    None where the units of a tree pass every bound: their own inspector says so.
    """
    found = _found.get(tree)
    if found is None:
        try:
            found = [*systemd_services.services(tree), *sysv.services(tree), *inittab.services(tree)]
        except LimitReached:
            found = []
        _found[tree] = found
    return found


def starter(tree: Tree, programs: Collection[str]) -> Service | None:
    """Return the service that starts one of the programs; of several, one that starts at boot.

    Args:
        tree: the tree.
        programs: file names of the program.
    """
    best: Service | None = None
    for row in services(tree):
        if _starts(row, programs):
            if row.enabled:
                return row
            if best is None or (best.enabled is False and row.enabled is None):
                best = row
    return best


def _starts(row: Service, programs: Collection[str]) -> bool:
    if row.executable is not None and posixpath.basename(row.executable) in programs:
        return True
    return any(posixpath.basename(word) in programs for word in words(row.command or "", 1))


def served(tree: Tree, programs: Collection[str], listeners: Iterator[Listener]) -> Iterator[Listener]:
    """Yield listeners with the service that starts their program, whether it starts at boot, and is there."""
    first = next(listeners, None)
    if first is None:
        return
    row = starter(tree, programs)
    name, enabled = (row.name, row.enabled) if row else (None, None)
    installed = bool(row and row.executable) or brings(tree, programs)
    for listener in chain((first,), listeners):
        yield msgspec.structs.replace(listener, service=name, enabled=enabled, installed=installed)


ANY = (("0.0.0.0", 4), ("::", 6))  # noqa: S104 - what programs bind, not what we do
"""Addresses of a program that listens on all, by IP version."""
