"""Published code in binaries, told by texts that only it holds: what was linked in or copied, whatever names it has.

Source: `known_code_tables` for projects, marks and licences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.licence import KnownCode
from assay.unpack.base import LimitReached, UnpackError

from .base import Content, ContentInspector, Expression
from .elf_format import DT_SONAME, ElfFile
from .known_code_tables import PROJECTS
from .scan import MAX_HITS

MAX_NOTICES = 500
"""Places of the word copyright that are looked at in one content."""

_MARKS = [(number, mark) for number, project in enumerate(PROJECTS) for mark in project.marks]
EXPRESSIONS = (*(Expression(mark.encode()) for _, mark in _MARKS), Expression(rb"copyright", caseless=True))
_COPYRIGHT = len(_MARKS)
MAX_MARK = 80
TRANSLATIONS = (b"\xde\x12\x04\x95", b"\x95\x04\x12\xde")
"""Beginnings of gettext's catalogues, which hold messages of a program and not the program."""


def inspect(content: Content) -> Iterator[KnownCode]:
    """Yield one fact a project.

    Raises:
        LimitReached: more places than one content may have; what the first ones show stands.
    """
    places, cut = content.hits
    if not places or content.head[:4] in TRANSLATIONS:
        return
    marks: dict[int, dict[int, int]] = {}
    for end, number in places:
        if number != _COPYRIGHT:
            marks.setdefault(_MARKS[number][0], {}).setdefault(number, end)
    found = {number: seen for number, seen in marks.items() if len(seen) >= PROJECTS[number].needs}
    if found:
        soname = _soname(content)
        notices = [content.string(end, 200)[1] for end, number in places if number == _COPYRIGHT][:MAX_NOTICES]
        for number, seen in sorted(found.items(), key=lambda item: min(item[1].values())):
            project = PROJECTS[number]
            texts = [_text(content, end, _MARKS[mark][1]) for mark, end in seen.items()]
            owner = re.compile(rf"\b{re.escape(project.owner or project.name)}\b".encode(), re.IGNORECASE)
            yield KnownCode(
                offset=min(seen.values()) - len(texts[0]),
                project=project.name,
                expression=project.expression,
                role="is" if project.program or (project.soname and soname.startswith(project.soname)) else "contains",
                marks=[text.decode("ascii", "backslashreplace") for text in texts],
                notice=any(owner.search(line) for line in notices),
            )
    if cut:
        raise LimitReached("marks", MAX_HITS)


def _text(content: Content, end: int, mark: str) -> bytes:
    """Return the text of a mark that ends at a place."""
    before = bytes(content.data[max(0, end - 160) : end])
    found = None
    for found in re.finditer(mark.encode(), before):  # noqa: B007 - the last one is wanted
        pass
    return (found[0] if found else before[-20:])[:MAX_MARK]


def _soname(content: Content) -> str:
    if content.kind != "elf":
        return ""
    try:
        return next(iter(ElfFile(content.data).texts(DT_SONAME)), "")
    except (UnpackError, ValueError):
        return ""


INSPECTOR = ContentInspector(
    name="known-code",
    version=1,
    families=(KnownCode,),
    inspect=inspect,
    binary_only=True,
    only_hits=True,
    expressions=EXPRESSIONS,
    unseen=(
        "projects that are not in its table, and parts of projects that hold none of the marks",
        "code whose texts were removed, changed, compressed or encrypted",
        "which version and so which licence of a project, where the marks do not tell: the expression is the usual one",
    ),
)
