"""Calls in MIPS (32 bits) and Power (32 and 64 bits) code.

MIPS position-independent code calls through a slot that it loads relative to $gp: `lw $t9, slot($gp)`, then `jalr $t9`
within the next instructions. Where the compiler keeps the address in another register for several calls, each
`move $t9, register` that leads to a jump is one call, until the register is loaded anew.

Reference: MIPS ABI supplement, "Global Offset Table", "Function Calls"; MIPS32 Instruction Set, JAL, JALR, LW; Power
ABI supplements (32-bit SVR4, secure PLT; 64-bit ELF V1, V2), "Procedure Linkage Table"; Power ISA, "Branch".
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from .calls_words import positions, uppers, with_upper

T = TypeVar("T")

Spans = Sequence[tuple[int, int]]

T9, GP = 25, 28
REACH = 64
"""Instructions between the loading of $t9 and the jump."""
HELD = 4096
"""Instructions over which an address is followed in another register."""

_JALR_T9, _JR_T9, _JALR_HB, _JR_HB = 0x0320F809, 0x03200008, 0x0320FC09, 0x03200408
_MOVE_T9 = {0x0000C825 | rs << 21 for rs in range(32)} | {0x0000C821 | rs << 21 for rs in range(32)}


def direct_mips(
    code: bytes,
    words: array[int],
    little: bool,
    address: int,
    targets: Mapping[int, T],
    spans: Spans,  # noqa: ARG001 - jumps are absolute
) -> Iterator[tuple[int, T]]:
    """Yield (position, callee) of each J, JAL, B and BAL to a target.

    Args:
        code: the instructions as they stand.
        words: the instructions as numbers.
        little: byte order of the code.
        address: virtual address of the first.
        targets: what is called, by address.
        spans: (lowest, highest) address of groups of targets.
    """
    found = targets.get
    halves = {jump | target >> 18 & 0x3FF for target in targets for jump in (0x0800, 0x0C00)} | {0x0411, 0x1000}
    for number in with_upper(code, little, frozenset(halves)):
        word, place = words[number], address + 4 * number + 4
        if 2 <= word >> 26 <= 3:
            callee = found(place & 0xF000_0000 | (word & 0x3FF_FFFF) << 2)
        else:  # bal, b
            callee = found(place + 4 * ((word & 0xFFFF ^ 0x8000) - 0x8000))
        if callee is not None:
            yield 4 * number, callee


def stubs_mips(code: bytes, words: array[int], little: bool, slots: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    """Yield (position, name) of each stub: lui rX; lw $t9, ...(rX); then jr $t9 within two."""
    loads = frozenset(0x8C00 | base << 5 | T9 for base in (15, 24, 25))
    for number in with_upper(code, little, loads):
        word, high = words[number], words[number - 1] if number else 0
        if high >> 16 == 0x3C00 | word >> 21 & 31:
            name = slots.get(((high & 0xFFFF) << 16) + (word & 0xFFFF ^ 0x8000) - 0x8000 & 0xFFFF_FFFF)
            if name is not None and not {_JR_T9, _JR_HB}.isdisjoint(words[number + 1 : number + 3]):
                yield 4 * number - 4, name


def indirect_mips(
    code: bytes, words: array[int], little: bool, slots: Mapping[int, str], gp: int
) -> Iterator[tuple[int, str]]:
    """Yield (position, name) of each jump to what was loaded from a slot of the GOT.

    Args:
        code: the instructions as they stand.
        words: the instructions as numbers.
        little: byte order of the code.
        slots: names by the slot's address.
        gp: what $gp holds.
    """
    loads: dict[int, str] = {}
    for slot, name in slots.items():
        distance = slot - gp
        if -0x8000 <= distance < 0x8000:
            for register in range(1, 32):
                loads[0x8C000000 | GP << 21 | register << 16 | distance & 0xFFFF] = name
    for number in with_upper(code, little, frozenset(load >> 16 for load in loads)):
        word = words[number]
        if word not in loads:
            continue
        register = word >> 16 & 31
        for at in _held(words, number + 1, register) if register != T9 else _jump(words, number + 1):
            yield 4 * at, loads[word]


def _jump(words: array[int], start: int) -> list[int]:
    """Return where $t9 is jumped to, if that is before it is written again; else nothing."""
    for number in range(start, min(start + REACH, len(words))):
        word = words[number]
        if word in (_JALR_T9, _JR_T9, _JALR_HB, _JR_HB):
            return [number]
        if (word >> 16 & 31 == T9 and word >> 26 in (0x23, 0x0F, 0x09)) or word in _MOVE_T9:
            return []
    return []


def _held(words: array[int], start: int, register: int) -> Iterator[int]:
    moves = (0x0000C825 | register << 21, 0x0000C821 | register << 21)
    for number in range(start, min(start + HELD, len(words))):
        word = words[number]
        if word in moves:
            yield from _jump(words, number + 1)
        elif word >> 26 == 0x23 and word >> 16 & 31 == register:
            if word >> 21 & 31 == 29:
                continue  # given back at one of the function's ends; the code of other paths may follow
            return
        elif word >> 16 == 0x3C1C:  # lui $gp: the next function begins
            return


def direct_ppc(
    code: bytes, words: array[int], little: bool, address: int, targets: Mapping[int, T], spans: Spans
) -> Iterator[tuple[int, T]]:
    """Yield (position, callee) of each b and bl to a target. See `direct_mips` for the arguments."""
    found = targets.get
    for number in with_upper(code, little, uppers(spans, address, len(code), 0, 26, (0x4800,))):
        word = words[number]
        if not word & 2:
            distance = (word & 0x3FF_FFFC ^ 0x200_0000) - 0x200_0000
            callee = found(address + 4 * number + distance)
            if callee is not None:
                yield 4 * number, callee


def bases_ppc64(code: bytes, words: array[int], little: bool, address: int) -> list[int]:
    """Return what r2 may hold: the addresses that functions compute when they are entered, most frequent first."""
    found: Counter[int] = Counter()
    for number in with_upper(code, little, frozenset((0x3842,))):  # addi r2, r2, low
        low = (words[number] & 0xFFFF ^ 0x8000) - 0x8000
        before = words[number - 1] if number else 0
        high = (before & 0xFFFF ^ 0x8000) - 0x8000 << 16
        if before >> 16 == 0x3C4C:  # addis r2, r12, high; r12 is the address of this instruction
            found[address + 4 * number - 4 + high + low] += 1
        elif before >> 16 == 0x3C40:  # lis r2, high
            found[high + low] += 1
    return [base for base, _ in found.most_common(16)]


def stubs_ppc(
    code: bytes, words: array[int], little: bool, slots: Mapping[int, str], bases: Iterable[int], wide: bool
) -> Iterator[tuple[int, str]]:
    """Yield (position, name) of each stub that loads a slot, moves it to CTR and branches there.

    Args:
        code: the instructions as they stand.
        words: the instructions as numbers.
        little: byte order of the code.
        slots: names by the slot's address.
        bases: what the base register (r30; r2 in 64-bit code) may hold.
        wide: 64-bit code.
    """
    known, absolute = tuple(bases), (0,)
    move = 0x7D8903A6 if wide else 0x7D6903A6  # mtctr r12; mtctr r11
    for number in positions(code, little, move):
        high = low = None
        candidates = known
        first = number
        for at in range(number - 1, max(number - 5, -1), -1):
            other = words[at]
            kind = other >> 26
            if low is None and kind in (32, 58) and other >> 21 & 31 == (12 if wide else 11):
                low = (other & (0xFFFC if wide else 0xFFFF) ^ 0x8000) - 0x8000
                first = at
                if other >> 16 & 31 in (2, 30):
                    high = 0
                    break
            elif low is not None and kind == 15:  # addis, lis
                high = ((other & 0xFFFF ^ 0x8000) - 0x8000) << 16
                if not other >> 16 & 31:
                    candidates = absolute
                first = at
                break
        if low is None or high is None:
            continue
        for base in candidates:
            name = slots.get((base + high + low) & (0xFFFF_FFFF_FFFF_FFFF if wide else 0xFFFF_FFFF))
            if name is not None:
                if first and words[first - 1] in (0xF8410018, 0xF8410028):  # std r2, 24(r1) or 40(r1)
                    yield 4 * (first - 1), name
                yield 4 * first, name
                break
