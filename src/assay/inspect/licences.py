"""Licences that a content states: SPDX tags, whole texts, notices that name a licence, licences of kernel modules.

Source: SPDX specification 2.3 Annexes D and E; `licence_texts` for which text is which licence; `licence_tables`.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.licence import Licence
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector, Expression, numbered
from .late import late
from .licence_tables import (
    GNU_ELSEWHERE,
    GNU_FAMILY,
    GNU_FOUND,
    GNU_LATER,
    GNU_ONLY,
    GNU_SHORT,
    MODULES,
    NOASSERTION,
    expression,
    notices,
)
from .licence_texts import match, places, read_table
from .scan import MAX_HITS

MAX_FACTS = 2_000
SPARSE, DENSE = 1_500, 600
"""Bytes for each word of a licence, at most: where one of warranty is among them, and where none is."""
ZONE = 1_500
"""Bytes around a word of a licence that are looked at for its text."""
JOIN = 6_000
"""Bytes without a word of a licence inside a licence's text, at most."""
SLACK = 4_000
"""Bytes before and behind a licence's text where a notice that names it belongs to it: its title, how to apply it."""
MAX_ZONES = 4 << 20
"""Bytes looked at in one content, together."""
PIECE = 256 << 10
"""Bytes looked at in one piece; no licence of the list is longer."""
NEAR = 700
"""Bytes looked at behind the name of a licence for its version."""

_GAP = rb"[\s*#;/|\"\\]{1,16}"

PHRASES = (
    "general public licen[sc]e",
    "licen[sc]e [al]?gplv[123]",
    "under the apache licen",
    "(?:mozilla|eclipse) public licen",
    "boost software licen",
    "(?:mit|x11|bsd|bsd-style) licen",
    "proprietary and confiden",
    "confidential and propriet",
)
"""Words of notices; between two of them, a line may end and a comment sign stand."""

TAG, WARRANTY, WORD, NOTICE, MODULE = range(5)
EXPRESSIONS = (
    Expression(rb"SPDX-License-Identifier:"),
    Expression(rb"warrant(?:y|ies)", caseless=True),
    Expression(rb"(?:licen[sc]e|distribut|permitted)", caseless=True),
    Expression(b"(?:" + "|".join(PHRASES).encode().replace(b" ", _GAP) + b")", caseless=True),
    Expression(rb"\x00license="),
)

_TAG = late(rb"[ \t]*([^\r\n\x00]{1,300})")
_COMMENT_END = late(r"\s*(?:\*/|-->|#\}|\"\"\"|\*\)|[\"';].*$|\\n.*$|</?\w+>?.*$)\s*$")
_SPACES = b'\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0*#;/|"\\'
"""White space and comment signs."""
_TO_SPACE = bytes.maketrans(_SPACES, b" " * len(_SPACES))


def prepare() -> None:
    """Read the table of licences, before workers are forked and confined."""
    read_table()


def inspect(content: Content) -> Iterator[Licence]:
    """Yield what is stated, in order of place; a notice that is part of a licence's text is not told again.

    Raises:
        LimitReached: more places or statements than one content may have; the first ones stand.
    """
    hits, cut = content.hits
    if not hits:
        return
    found: dict[tuple[str, str], Licence] = {}
    texts: list[tuple[int, int, str]] = []
    if content.kind in ("text", "script"):
        cut |= _texts(content, hits, found, texts)
    for end, number in hits:
        if number in (WARRANTY, WORD) or any(start <= end <= stop for start, stop, _ in texts):
            continue
        fact = (_tag if number == TAG else _module if number == MODULE else _notice)(content, end)
        if fact is not None and not (number == NOTICE and _belongs(fact, end, texts)):
            found.setdefault((fact.expression, fact.evidence), fact)
            if len(found) >= MAX_FACTS:
                cut = True
                break
    yield from numbered(content, sorted(found.values(), key=lambda fact: fact.offset or 0))
    if cut:
        raise LimitReached("licences", MAX_HITS)


def _belongs(fact: Licence, end: int, texts: list[tuple[int, int, str]]) -> bool:
    """Tell whether a notice is part of a licence's text: its title, or the example of how to apply it."""
    family = fact.expression.partition("-")[0]
    return any(start - SLACK <= end <= stop + SLACK and family == name for start, stop, name in texts)


def _texts(
    content: Content,
    hits: list[tuple[int, int]],
    found: dict[tuple[str, str], Licence],
    texts: list[tuple[int, int, str]],
) -> bool:
    """Find licence texts where their words are dense; return whether some place was not looked at."""
    left = MAX_ZONES
    for start, stop in _zones(hits, content.size):
        for at in range(start, stop, PIECE):
            piece = bytes(content.data[at : min(stop, at + PIECE + ZONE)])
            left -= len(piece)
            if left < 0:
                return True
            matches = match(piece)
            words = places(piece) if matches else []
            for licence in matches:
                begin, end = words[licence.first][0], words[licence.last][1]
                texts.append((at + begin, at + end, licence.expression.partition("-")[0]))
                found.setdefault(
                    (licence.expression, "text"),
                    Licence(offset=at + begin, expression=licence.expression, evidence="text", match=licence.share),
                )
    return False


def _zones(hits: list[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Yield stretches with a word of warranty (no licence is without) and others of a licence, not overlapping."""
    start = stop = -1
    warranties = words = 0
    for end, number in [
        *((end, number) for end, number in hits if number in (WARRANTY, WORD)),
        (size + JOIN * 2, WORD),
    ]:
        if start < 0 or end - JOIN > stop:
            near = words * (SPARSE if warranties else DENSE) >= stop - start
            if start >= 0 and near and words >= (3 if warranties else 10):
                yield start, min(stop, size)
            start, warranties, words = max(0, end - ZONE), 0, 0
        stop = end + ZONE
        words += 1
        warranties += number == WARRANTY


def _tag(content: Content, end: int) -> Licence | None:
    found = _TAG.match(bytes(content.data[end : end + 302]))
    if found is None:
        return None
    text = _COMMENT_END.sub("", found[1].decode("utf-8", "backslashreplace")).strip()
    if not text or (text[0] in "<$%{[(`" and text[0] != "("):
        return None  # a place to put one
    known = expression(text)
    at = end - len("SPDX-License-Identifier:")
    if known is None:
        return Licence(offset=at, expression=NOASSERTION, evidence="tag", stated=text[:200]) if text.isascii() else None
    return Licence(offset=at, expression=known, evidence="tag")


def _module(content: Content, end: int) -> Licence | None:
    """Return what a kernel module states in its .modinfo."""
    if content.kind != "elf":
        return None
    raw = bytes(content.data[end : end + 64]).split(b"\0", 1)[0]
    text = raw.decode("ascii", "replace")
    known = MODULES.get(text)
    if known is None:
        return None
    return Licence(offset=end - 8, expression=known, evidence="field", stated=text, scope="kernel module")


def _notice(content: Content, end: int) -> Licence | None:
    start = max(0, end - 60)
    before, after = bytes(content.data[start:end]), bytes(content.data[end : end + NEAR])
    start += before.rfind(b"\0") + 1
    raw = before[before.rfind(b"\0") + 1 :] + after.split(b"\0", 1)[0]
    spaced = raw.translate(_TO_SPACE).lower()
    first, last = b" " * (spaced[:1] == b" "), b" " * (spaced[-1:] == b" " and not spaced.isspace())
    text = (first + b" ".join(spaced.split()) + last).decode("latin-1")
    at = start
    for name, shape in notices():
        if shape.search(text[:140]):
            return Licence(offset=at, expression=name, evidence="notice")
    if short := GNU_SHORT.search(text[:100]):
        family = f"{(short[1] or '').upper()}GPL"
        return _gnu(at, family, short[2], short[3], later=bool(short[4]))
    if family_found := GNU_FAMILY.search(text):
        family = {"lesser ": "LGPL", "library ": "LGPL", "affero ": "AGPL"}.get(family_found[1] or "", "GPL")
        behind = text[family_found.end() : family_found.end() + 320]
        if GNU_ELSEWHERE.search(text[: family_found.start()]) or GNU_FOUND.match(behind):
            return None
        if other := GNU_FAMILY.search(behind):
            behind = behind[: other.start()]
        if later := GNU_LATER.search(behind):
            return _gnu(at, family, later[1] or later[3], later[2] or later[4], later=True)
        if only := GNU_ONLY.search(behind):
            return _gnu(at, family, only[1] or only[3], only[2] or only[4], later=False)
    return None


def _gnu(at: int, family: str, major: str, minor: str | None, *, later: bool) -> Licence | None:
    name = expression(f"{family}-{major}.{minor or 0}{'+' if later else ''}")
    if name is None or name.startswith("LicenseRef-"):
        return None
    return Licence(offset=at, expression=name, evidence="notice")


INSPECTOR = ContentInspector(
    name="licences",
    version=1,
    families=(Licence,),
    inspect=inspect,
    only_hits=True,
    expressions=EXPRESSIONS,
    unseen=(
        "licence texts in binary contents, in other languages than the list's, and of fewer than about 24 words",
        "which of several near variants a text is, where they differ in a sentence that it has changed",
        "whether the content is used under the licence that it names: a text may be kept for another reason",
    ),
)
