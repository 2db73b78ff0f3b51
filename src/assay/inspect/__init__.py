"""Inspectors, one file each: a content or a tree in, facts out. See `base` for the contract."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from graphlib import TopologicalSorter

from .base import ContentInspector, TreeInspector

HOMES = ("assay.inspect", "assay.identify")


@cache
def inspectors() -> tuple[dict[str, ContentInspector], dict[str, TreeInspector]]:
    """Return all content inspectors and all tree inspectors, each by name; those of trees in the order they run in.

    Raises:
        ValueError: two modules define the same name, or tree inspectors want to run after each other.
    """
    contents: dict[str, ContentInspector] = {}
    trees: dict[str, TreeInspector] = {}
    for home in HOMES:
        package = importlib.import_module(home)
        for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
            loaded = importlib.import_module(f"{home}.{module}")
            for value in vars(loaded).values():
                if isinstance(value, ContentInspector):
                    if contents.setdefault(value.name, value) is not value:
                        raise ValueError(f"inspector {value.name} is defined twice")
                elif isinstance(value, TreeInspector) and trees.setdefault(value.name, value) is not value:
                    raise ValueError(f"inspector {value.name} is defined twice")
    wanted = {name: inspector.after for name, inspector in trees.items()}
    return contents, {name: trees[name] for name in TopologicalSorter(wanted).static_order()}
