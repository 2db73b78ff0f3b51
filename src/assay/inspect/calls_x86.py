"""Calls in x86 code, 32 and 64 bits: found by their opcodes and their exact targets, without disassembling the rest.

A call is `e8`, a jump `e9` or `0f 80` to `0f 8f`, each followed by a distance of four bytes. What stands in the code by
chance and leads to exactly a wanted address counts as well; there are 2^32 distances and a few dozen addresses.

Reference: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, CALL, JMP, Jcc; System V ABI, AMD64
supplement, "Procedure Linkage Table"; i386 supplement, the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain, compress, repeat
from operator import add
from struct import Struct
from typing import TypeVar

from .late import late

T = TypeVar("T")

_REL = Struct("<i").unpack_from
_ABS = Struct("<I").unpack_from

_END = re.Match.end

_OPCODES = ((b"\xe8", 1), (b"\xe9", 1), (rb"\x0f[\x80-\x8f]", 2))
_ENDBR = (b"\xf3\x0f\x1e\xfa", b"\xf3\x0f\x1e\xfb")

_SLOTS64 = tuple(re.compile(rb"\x%02x(?<=\xff.)" % mode, re.DOTALL) for mode in (0x15, 0x25))
"""The second byte is rarer than the first, and one byte as it is is found much faster than a class."""
_SLOT32 = late(rb"\xff(?=[\x15\x25\x90-\x97\xa0-\xa7]...)", re.DOTALL)

# What follows the jump of a stub: push and jump to the first stub, or padding.
_STUB_END = late(
    rb"\x68....\xe9|\x66\x90|\x66?\x0f\x1f\x44\x00\x00|\x66\x66|\x90\x90|\xcc\xcc|\x0f\x1f\x40\x00", re.DOTALL
)


@lru_cache(1024)
def _search(opcode: bytes, uppers: tuple[tuple[int, int, int], ...]) -> re.Pattern[bytes]:
    """Return a search for an opcode and the upper half of its distance: (highest byte, first and last of the next)."""
    ways = b"|".join(b"[\\x%02x-\\x%02x]\\x%02x" % (first, last, high) for high, first, last in uppers)
    return re.compile(opcode + b"(?=..(?:" + ways + b"))", re.DOTALL)


def direct(
    code: bytes, size: int, address: int, targets: Mapping[int, T], spans: Iterable[tuple[int, int]], wide: bool
) -> Iterator[tuple[int, T]]:
    """Yield (position, name) of each call and jump to a target.

    Args:
        code: bytes, with a few more than `size`, so that an instruction at the end is whole.
        size: calls may begin before this.
        address: virtual address of the first byte.
        targets: what is called, by address.
        spans: groups of their addresses, from `spans`.
        wide: 64-bit code; in 32-bit code addresses wrap.
    """
    # Only the upper half of the distance is left to the search, which knows literals and classes.
    highs: dict[int, set[int]] = {}
    for low, high in spans:
        first, last = (low - address - size - 6) >> 16, (high - address) >> 16
        for upper in range(first, last + 1):
            if not wide or -0x8000 <= upper <= 0x7FFF:
                highs.setdefault(upper >> 8 & 0xFF, set()).add(upper & 0xFF)
    if not highs:
        return
    key = tuple((high, min(lows), max(lows)) for high, lows in sorted(highs.items()))
    # Targets by what a distance and its position add up to. In 32 bits that may be twice: addresses wrap.
    half, mask = 1 << 31, (1 << (64 if wide else 32)) - 1
    callees = {(target - address - 4 + half & mask) - half: callee for target, callee in targets.items()}
    if not wide:
        callees |= {at + (1 << 32): callee for at, callee in callees.items() if at + half < len(code)}
    for opcode, length in _OPCODES:
        # Nothing is done in Python for each place that may be one: most are none.
        places = list(map(_END, _search(opcode, key).finditer(code)))
        sums = list(map(add, places, chain.from_iterable(map(_REL, repeat(code), places))))
        for at, total in compress(zip(places, sums, strict=True), map(callees.__contains__, sums)):
            if at - length < size:
                yield at - length, callees[total]


def spans(targets: Iterable[int]) -> list[tuple[int, int]]:
    """Return the (lowest, highest) address of each group of targets that lie close together."""
    found: list[tuple[int, int]] = []
    for address in sorted(targets):
        if found and address - found[-1][0] < 1 << 15:
            found[-1] = found[-1][0], address
        else:
            found.append((address, address))
    return found


def indirect(
    code: bytes, size: int, address: int, slots: Mapping[int, str], wide: bool, got: int | None
) -> Iterator[tuple[int, str, int | None]]:
    """Yield (position, name, entry) of each call or jump through a slot of the GOT.

    Args:
        code: as in `direct`.
        size: as in `direct`.
        address: as in `direct`.
        slots: names by the slot's address.
        wide: 64-bit code, where slots are addressed from the instruction's end.
        got: DT_PLTGOT, from which 32-bit position-independent code addresses slots.

    A jump that looks like a stub has as `entry` the position at which one enters it; all others have None.
    """
    found = slots.get
    for at in _indirections(code, wide):
        if at >= size or at + 6 > len(code):
            continue
        mode = code[at + 1]
        if wide:
            name = found(address + at + 6 + _REL(code, at + 2)[0])
        elif mode in (0x15, 0x25):
            name = found(_ABS(code, at + 2)[0])
        else:
            name = None if got is None else found((got + _ABS(code, at + 2)[0]) & 0xFFFF_FFFF)
        if name is None:
            continue
        if mode == 0x15 or 0x90 <= mode <= 0x97:
            yield at, name, None
        else:
            yield at, name, _entry(code, at, address)


def _indirections(code: bytes, wide: bool) -> Iterator[int]:
    """Yield the positions of what looks like a call or jump through memory; of 64-bit code, first all the calls."""
    if not wide:
        return map(re.Match.start, _SLOT32.finditer(code))
    return (match.start() - 1 for search in _SLOTS64 for match in search.finditer(code))


def _entry(code: bytes, at: int, address: int) -> int | None:
    """Return where a stub begins that jumps at this position; None if it is no stub."""
    start = at - 1 if at and code[at - 1] == 0xF2 else at  # bnd
    if code[start - 6 : start - 4] == b"\x41\xbb":  # mov $index, %r11d, as one linker has it before the jump
        start -= 6
    if code[start - 4 : start] in _ENDBR:
        start -= 4
    if (address + start) % 8 == 0 and (start != at or _STUB_END.match(code, at + 6) or at + 6 == len(code)):
        return start
    return None
