"""Branches in code whose instructions are words of 32 bits: found by their upper halves, natively.

A branch holds its distance in its lower bits. The upper half of one that leads from somewhere in a piece of code to one
of a few targets has only a few values, so that nearly all other instructions are passed over by a search for bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache


def uppers(
    spans: Iterable[tuple[int, int]], address: int, size: int, shift: int, bits: int, opcodes: Iterable[int]
) -> frozenset[int]:
    """Return the upper halves of relative branches in a piece that can lead to a span.

    Args:
        spans: (lowest, highest) address of groups of targets.
        address: of the first instruction of the piece.
        size: of the piece, in bytes.
        shift: bits by which the distance is shifted right in the instruction.
        bits: of the distance in the instruction.
        opcodes: upper halves with a distance of zero.
    """
    mask = (1 << bits - 16) - 1
    found: set[int] = set()
    for low, high in spans:
        first, last = (low - address - size - 8) >> shift + 16, (high - address + 8) >> shift + 16
        if last - first <= mask:
            found.update(upper & mask for upper in range(first, last + 1))
        else:
            found.update(range(mask + 1))
    return frozenset(opcode | upper for opcode in opcodes for upper in found)


@lru_cache(256)
def _searches(halves: frozenset[int]) -> list[re.Pattern[bytes]]:
    highs: dict[int, set[int]] = {}
    for half in halves:
        highs.setdefault(half & 0xFF, set()).add(half >> 8)
    lows: dict[bytes, set[int]] = {}
    for low, values in highs.items():
        lows.setdefault(bytes(sorted(values)), set()).add(low)
    # One literal is searched for much faster than a class of bytes.
    return [
        re.compile(_class(firsts) + b"(?=" + _class(seconds) + b")")
        for seconds, group in lows.items()
        for firsts in ([bytes([low]) for low in sorted(group)] if len(group) < 4 else [bytes(sorted(group))])
    ]


def _class(values: bytes) -> bytes:
    inner = b"".join(b"\\x%02x" % value for value in values)
    return inner if len(values) == 1 else b"[" + inner + b"]"


def with_upper(code: bytes, little: bool, halves: frozenset[int]) -> Iterator[int]:
    """Yield the numbers of the words whose upper half is one of these; not in order.

    Args:
        code: a whole number of words.
        little: byte order of the code.
        halves: upper halves.
    """
    if not halves:
        return
    pairs = bytearray(len(code) // 2)
    pairs[::2], pairs[1::2] = (code[2::4], code[3::4]) if little else (code[1::4], code[::4])
    for search in _searches(halves):
        for match in search.finditer(pairs):
            at = match.start()
            if not at & 1:
                yield at >> 1


def positions(code: bytes, little: bool, word: int) -> Iterator[int]:
    """Yield the numbers of the words that are exactly this."""
    wanted = word.to_bytes(4, "little" if little else "big")
    at = code.find(wanted)
    while at >= 0:
        if not at & 3:
            yield at >> 2
        at = code.find(wanted, at + 1)
