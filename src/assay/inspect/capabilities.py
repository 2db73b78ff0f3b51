"""Functions on people's traffic, whereabouts or person that a content shows by name. Lawful use is not excluded.

A distinct term stands for itself; a short one (X1, ADMF, TDF) counts only with another term of its kind near. In ELF
files, names among the dynamic symbols and needed libraries are told from other text.

Source: `capabilities_tables`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache

from assay.facts.privacy import Capability
from assay.unpack.base import LimitReached, UnpackError

from .base import Content, ContentInspector, Expression, numbered
from .capabilities_tables import TERMS
from .elf_format import DT_NEEDED, ElfFile
from .late import late
from .scan import MAX_HITS
from .secrecy import withhold

NEAR = 400
"""Bytes between two terms that support each other, at most."""
MAX_TEXT = 200
MAX_TRIED = 1_000
"""Places of one short term that are looked at in one content."""

EXPRESSIONS = tuple(Expression(term.text.encode("latin-1"), term.caseless) for term in TERMS)
_DIGITS = late(r"\d{9,}")


@cache
def _exact(number: int) -> re.Pattern[bytes]:
    """Return the expression of a term that ends where the search ends. Most are never needed, and compiling costs."""
    term = TERMS[number]
    return re.compile(term.text.encode("latin-1") + rb"\Z", re.IGNORECASE if term.caseless else 0)


def _is_text(content: Content, end: int) -> bool:
    """Tell whether a place is in a text of six characters or more: shorter ones are as often code."""
    return content.kind in ("text", "script") or len(content.string(end, 16)[1]) >= 6


def inspect(content: Content) -> Iterator[Capability]:
    """Yield one fact a term, in order of first place.

    Raises:
        LimitReached: more places than one content may have; what the first ones show stands.
    """
    hits, cut = content.hits
    if not hits:
        return
    places = [(end, number) for end, number in hits if _stands(content, end, number)]
    by_kind: dict[str, list[tuple[int, int]]] = {}
    for end, number in places:
        by_kind.setdefault(TERMS[number].kind, []).append((end, number))
    counts: dict[int, list[int]] = {}
    tried: dict[int, int] = {}
    for end, number in places:
        term = TERMS[number]
        if not term.alone:
            tried[number] = tried.get(number, 0) + 1
            if tried[number] > MAX_TRIED or not (
                _supported(by_kind[term.kind], end, number) and _is_text(content, end)
            ):
                continue
        counts.setdefault(number, []).append(end)
    if counts:
        names = _names(content)
        yield from numbered(content, [_fact(content, number, ends, names) for number, ends in counts.items()])
    if cut:
        raise LimitReached("capabilities", MAX_HITS)


def _stands(content: Content, end: int, number: int) -> bool:
    """Tell whether a term is a word or a name, not a piece of one."""
    term = TERMS[number]
    before = bytes(content.data[max(0, end - 64) : end])
    match = _exact(number).search(before)
    if match is None:
        return False
    first = before[max(0, match.start() - 1) : match.start()]
    if term.caseless or term.open:
        if first.isalnum() and not (match[0][:1].isupper() and first.islower()):
            return False
    elif first.isalnum() or first in (b"_", b"-", b"%", b"\\", b"/"):
        return False
    after = bytes(content.data[end : end + 1])
    return term.open or not (after.isalnum() or after in (b"_", b"-"))


def _supported(places: list[tuple[int, int]], end: int, number: int) -> bool:
    """Tell whether another term of the same kind stands near that is not itself two or three letters."""
    at = bisect_left(places, (end - NEAR, -1))
    while at < len(places) and places[at][0] <= end + NEAR:
        other = TERMS[places[at][1]]
        if places[at][1] != number and (other.alone or len(other.name or other.text) > 3):
            return True
        at += 1
    return False


def _names(content: Content) -> dict[str, str]:
    """Return what the dynamic symbols and needed libraries of an ELF file are, by name."""
    if content.kind != "elf":
        return {}
    try:
        elf = ElfFile(content.data)
        symbols = elf.dynamic_symbols()
        names = dict.fromkeys(symbols.defined, "symbol") | dict.fromkeys(symbols.undefined, "import")
        return names | dict.fromkeys(elf.texts(DT_NEEDED), "needed")
    except (UnpackError, ValueError):
        return {}


def _fact(content: Content, number: int, ends: list[int], names: dict[str, str]) -> Capability:
    term = TERMS[number]
    at, raw = content.string(ends[0], MAX_TEXT)
    match = _exact(number).search(bytes(content.data[max(0, ends[0] - 64) : ends[0]]))
    start = ends[0] - (len(match[0]) if match else 0)
    if at > start:  # a term that is not ASCII
        raw = bytes(content.data[start : ends[0]])
        at = start
    begin = max(0, min(start - at - MAX_TEXT // 2, len(raw) - MAX_TEXT))
    text = raw[begin : begin + MAX_TEXT].decode("utf-8", "backslashreplace").strip()
    return Capability(
        offset=start,
        kind=term.kind,
        interface=term.interface,
        term=term.name or term.text,
        text=_DIGITS.sub("#", withhold(text)),
        evidence=names.get(raw.decode("utf-8", "replace").strip(), "string"),
        count=len(ends),
    )


INSPECTOR = ContentInspector(
    name="capabilities",
    version=1,
    families=(Capability,),
    inspect=inspect,
    only_hits=True,
    expressions=EXPRESSIONS,
    unseen=(
        "functions whose names were removed or changed, and products that are not in its table",
        "whether a function is used, licensed or switched on; documentation that names it is seen alike",
        "short terms (X1, ADMF, TDF, LCS) that stand without another of their kind near",
    ),
)
