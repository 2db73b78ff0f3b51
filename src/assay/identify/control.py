"""Control files: paragraphs of `Field: value` lines, as dpkg and opkg write them (deb-control(5), RFC 822 style)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from assay.facts.identity import Identity
from assay.inspect.base import Content

LIMIT = 256 << 20
"""Bytes of a control file that are read; a status file of a whole distribution has some 60 MB."""

RELATION = re.compile(r"(?:^|[,|])\s*([^\s,|(:\[]+)")
SOURCE = re.compile(r"(\S+)(?:\s+\(([^)]*)\))?")


@cache
def _pattern(wanted: frozenset[str]) -> re.Pattern[str]:
    """Return what finds wanted fields with their continuation lines; the leading line feed makes the search quick."""
    fields = "|".join(sorted(map(re.escape, wanted)))
    return re.compile(rf"\n({fields}):([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE | re.ASCII)


class Paragraph:
    """The wanted fields of one paragraph. A name that stands there twice counts the first time."""

    def __init__(self, text: str, first: int, fields: list[tuple[str, str]]) -> None:
        self.text = text
        self.first = first
        self.fields = {name.lower(): (value, name) for name, value in reversed(fields)}

    def __contains__(self, field: str) -> bool:
        return field in self.fields

    def get(self, field: str) -> str | None:
        """Return a field's value, continuation lines joined by a space; None if it is absent or empty."""
        found = self.fields.get(field)
        if found is None:
            return None
        value = found[0]
        if "\n" in value:
            value = " ".join(part.strip() for part in value.split("\n"))
        return value.strip() or None

    def line(self, field: str) -> int:
        """Return the line number of a field that is there, from 1."""
        return self.first + self.text.count("\n", 0, self.text.index(f"\n{self.fields[field][1]}:"))


def paragraphs(content: Content, wanted: frozenset[str]) -> Iterator[Paragraph]:
    """Yield the paragraphs of a control file that have any of the wanted fields (names in lower case)."""
    find = _pattern(wanted).findall
    first = 1
    for block in content.text(LIMIT).split("\n\n"):
        text = f"\n{block}"
        fields = find(text)
        if fields:
            yield Paragraph(text, first, fields)
        first += text.count("\n") + 1


def names(*relations: str | None) -> list[str]:
    """Return the package names in dependency fields, each once; every alternative of `a | b` counts as a name."""
    out: dict[str, None] = {}
    for relation in relations:
        if relation:
            out.update(dict.fromkeys(RELATION.findall(relation)))
    return list(out)


def source(paragraph: Paragraph, name: str, version: str) -> tuple[str, str]:
    """Return name and version of the source package: those of the binary package where the field leaves them out."""
    match = SOURCE.match(paragraph.get("source") or "")
    return (match[1], match[2] or version) if match else (name, version)


def identity(paragraph: Paragraph, name: str, fields: Iterable[tuple[str, str]]) -> Iterator[Identity]:
    """Yield what a paragraph says on who made the package, for (field, attribute) pairs."""
    for field, attribute in fields:
        value = paragraph.get(field)
        if value:
            yield Identity(subject=f"package:{name}", attribute=attribute, value=value, line=paragraph.line(field))


def listed(content: Content) -> list[str]:
    """Return the paths of a file list, one a line, without empty lines."""
    return [line for line in content.text(LIMIT).split("\n") if line]
