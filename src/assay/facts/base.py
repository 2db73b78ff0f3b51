"""What a fact is: one typed row, declared once as a class.

From the class come the SQLite table (`assay.record.schema`), the wire form between worker and scheduler (msgspec),
the output of `assay schema` and the reference page. A family is added by writing its class in one of the modules beside this
one; nothing else has to be edited.

Three kinds of family, by what a row is about:

- `RecordFact`: the examination itself (artefacts, containers, files, unread places, coverage).
- `ContentFact`: one distinct content (by SHA-256), whatever paths hold it. True wherever the same bytes appear, so it is
  observed once and cached. The table has the columns `content` and `collector` besides the declared ones.
- `TreeFact`: one root file system (a container's whole tree), derived from content facts and from files. The table has
  the columns `tree` (the container), `file` (the file that proves it, if any) and `collector`.
"""

import re
from functools import cache
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta


def doc(text: str, *, unit: str | None = None) -> Meta:
    """Describe a column: what it holds, and its unit where it is a quantity.

    Used as `Annotated[int, doc("...", unit="bytes")]`.
    """
    return Meta(description=text, extra={"unit": unit} if unit else None)


class Fact(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Base of all families. Subclass one of the three below, not this."""

    source: ClassVar[str] = ""
    """The standard or format document that defines what the columns mean."""

    index: ClassVar[tuple[str, ...]] = ()
    """Columns (or comma-separated groups of columns) worth an index."""

    @classmethod
    def table(cls) -> str:
        """Return the family's name: the class name in snake_case, which is also the table's name."""
        return _table(cls)


@cache
def _table(family: type[Fact]) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", family.__name__).lower()


class RecordFact(Fact, frozen=True, kw_only=True, array_like=True):
    """A fact about the examination: its columns are all declared."""


class ContentFact(Fact, frozen=True, kw_only=True, array_like=True):
    """A fact about one distinct content, with the place inside it."""

    offset: Annotated[int | None, doc("where in the content, from its first byte", unit="bytes")] = None
    line: Annotated[int | None, doc("line number in a text, from 1")] = None


class TreeFact(Fact, frozen=True, kw_only=True, array_like=True):
    """A fact about one root file system, with the file and line that prove it."""

    path: Annotated[str | None, doc("path in the tree of the file that proves it; empty for a built-in default")] = None
    line: Annotated[int | None, doc("line number in that file, from 1")] = None


@cache
def columns(family: type[Fact]) -> tuple[tuple[str, Any, str, str | None], ...]:
    """Return the declared columns of a family as (name, type, description, unit), in order."""
    out = []
    for field in msgspec.structs.fields(family):
        kind = field.type
        text, unit = "", None
        for meta in getattr(kind, "__metadata__", ()):
            text = meta.description or text
            unit = (meta.extra or {}).get("unit", unit)
        base = getattr(kind, "__origin__", kind) if hasattr(kind, "__metadata__") else kind
        out.append((field.name, base, text, unit))
    return tuple(out)
