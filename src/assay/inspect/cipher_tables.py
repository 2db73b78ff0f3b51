"""Constants of algorithms in binaries: tables that no program has but to compute the algorithm.

What is found is the constant. Whether it belongs to a known library tells `crypto_library` on the same content.

Reference: the standards named in `cipher_tables_data`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from assay.facts.crypto import CipherTable
from assay.unpack.base import LimitReached, UnpackError

from .base import Content, ContentInspector, Expression
from .cipher_tables_data import CONSTANTS, Constant
from .elf_format import ET_REL
from .elf_program import STT_FUNC, Program, program
from .scan import MAX_HITS

STT_OBJECT = 1
MAX_FACTS = 2_000
MAX_LENGTH = 256
"""Bytes that a constant takes at most, gaps included."""


class Form(NamedTuple):
    """A constant as it stands in memory."""

    constant: Constant
    endian: str | None
    pattern: bytes
    length: int | None
    """Its length, where it has no gaps."""


def _forms(constant: Constant) -> Iterator[Form]:
    """Yield the byte orders of a constant."""
    elements = [bytes.fromhex(value) for value in constant.values.split()]
    if constant.width == 8:
        yield Form(constant, None, _escaped(elements[0]), len(elements[0]))
        return
    orders = [("big", elements), ("little", [element[::-1] for element in elements])]
    if constant.number:  # also kept with the least significant word, or byte, first
        orders.append(("little", [b"".join(elements)[::-1]]))
    for endian, parts in orders:
        gap = b".{0,%d}" % constant.gap if constant.gap and len(parts) > 1 else b""
        yield Form(
            constant, endian, gap.join(map(_escaped, parts)), None if gap else sum(len(part) for part in parts)
        )  # fmt: skip


def _escaped(raw: bytes) -> bytes:
    return ("\\x" + raw.hex("*").replace("*", "\\x")).encode()


FORMS = [form for constant in CONSTANTS for form in _forms(constant)]


@cache
def _exact(form: Form) -> re.Pattern[bytes]:
    return re.compile(form.pattern, re.DOTALL)


def inspect(content: Content) -> Iterator[CipherTable]:
    """Yield what is found, in order of place.

    Raises:
        LimitReached: there are more constants than are told.
    """
    places, cut = content.hits
    if not places:
        return
    found: dict[tuple[int, Constant], Form] = {}
    for end, number in places:
        form = FORMS[number]
        start = end - form.length if form.length is not None else _start(content, end, form)
        # Other than in a program, a table may stand anywhere; what a compiler places is aligned.
        if start is not None and not (content.kind == "elf" and form.length and start % (form.constant.width // 8)):
            found.setdefault((start, form.constant), form)
    symbols = _symbols(content)
    last: dict[Constant, int] = {}
    for (start, constant), form in sorted(found.items(), key=lambda item: item[0][0])[:MAX_FACTS]:
        if (start + 1, constant) in found:
            continue  # elements of two equal bytes or with zeros read the same from the byte before
        if start - last.get(constant, -MAX_LENGTH) < 64:
            continue  # a table for vector instructions holds each row twice
        last[constant] = start
        yield CipherTable(
            offset=start,
            algorithm=constant.algorithm,
            constant=constant.name,
            width=constant.width,
            endian=form.endian,
            function=symbols(start),
        )
    if cut or len(found) > MAX_FACTS:
        raise LimitReached("constants", MAX_HITS if cut else MAX_FACTS)


def _start(content: Content, end: int, form: Form) -> int | None:
    """Return where a constant with gaps begins, as late as it can."""
    begin = max(0, end - MAX_LENGTH)
    window = bytes(content.data[begin:end])
    first = form.pattern[: form.pattern.index(b".")]
    latest = None
    for match in re.finditer(first, window, re.DOTALL):
        exact = _exact(form).match(window, match.start())
        # Gaps as wide as the elements: the upper or lower halves of a table of longer ones.
        if exact and len(exact[0]) != (2 * len(form.constant.values.split()) - 1) * form.constant.width // 8:
            latest = begin + match.start()
    return latest


class _Symbols:
    """Names of places of a file."""

    def __init__(self, it: Program) -> None:
        found = []
        sections = it.elf.sections or []
        table = it.static if it.static.names else it.dynamic
        for number in range(len(table.names)):
            symbol = table.row(number, "?")
            if symbol.kind not in (STT_FUNC, STT_OBJECT) or not symbol.size or not symbol.defined:
                continue
            if it.elf.type == ET_REL:
                offset = sections[symbol.section].offset + symbol.value if symbol.section < len(sections) else None
            else:
                offset = it.offset(symbol.value)
            if offset is not None:
                found.append((offset, symbol.size, number))
        found.sort()
        self.rows, self.table = found, table
        self.starts = [row[0] for row in found]

    def __call__(self, place: int) -> str | None:
        at = bisect_right(self.starts, place) - 1
        for offset, size, number in reversed(self.rows[max(0, at - 7) : at + 1]):
            if place < offset + size:
                return self.table.name(self.table.names[number])[:300] or None
        return None


def _symbols(content: Content) -> Callable[[int], str | None]:
    it = program(content.data) if content.kind == "elf" else None
    if it is not None:
        with suppress(UnpackError):
            return _Symbols(it)
    return lambda _: None


INSPECTOR = ContentInspector(
    name="cipher_tables",
    version=1,
    families=(CipherTable,),
    inspect=inspect,
    binary_only=True,
    only_hits=True,
    expressions=tuple(Expression(form.pattern) for form in FORMS),
    unseen=(
        "algorithms without a table: RC4, AES by the processor's own instructions or bit by bit, HMAC, MILENAGE",
        "constants that are computed at run time, split between instructions, packed or encrypted",
    ),
)
