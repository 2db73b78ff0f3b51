"""The vocabulary of facts. Every family is a class in one of this package's modules."""

import importlib
import pkgutil
from functools import cache

from .base import ContentFact, Fact, RecordFact, TreeFact, columns, doc

__all__ = ["ContentFact", "Fact", "RecordFact", "TreeFact", "columns", "doc", "families"]


@cache
def families() -> dict[str, type[Fact]]:
    """Return every family by name, in the order in which modules and classes are declared.

    Raises:
        ValueError: two classes have the same family name.
    """
    found: dict[str, type[Fact]] = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        for value in vars(loaded).values():
            if (
                isinstance(value, type)
                and issubclass(value, Fact)
                and value.__module__ == loaded.__name__
                and value not in (Fact, RecordFact, ContentFact, TreeFact)
            ):
                if value.table() in found:
                    raise ValueError(f"family {value.table()} is declared twice")
                found[value.table()] = value
    return found
