"""Calls in ARM code: AArch64, A32 and T32 (Thumb).

Every word that decodes as a branch to a wanted address is one. Stripped 32-bit code does not tell which of its parts
are Thumb: both readings are tried at each place, and the exact target decides.

Reference: Arm Architecture Reference Manual, "B, BL" (A64), "B", "BL, BLX (immediate)" (A32, T32); ELF for the Arm
Architecture, "Procedure Linkage Table"; stubs as GNU ld and lld write them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import TypeVar

from .calls_words import uppers, with_upper

T = TypeVar("T")

_WORD = Struct("<I").unpack_from
_HALVES = Struct("<HH").unpack_from

Spans = Sequence[tuple[int, int]]

_FROM_THUMB = (b"\x78\x47\xc0\x46", b"\x78\x47\xfd\xe7")
"""bx pc, then nop or a branch to itself: where Thumb code enters a stub."""

_A32_BRANCHES = tuple(condition << 12 | link for condition in range(16) for link in (0xA00, 0xB00))


def direct64(code: bytes, address: int, targets: Mapping[int, T], spans: Spans) -> Iterator[tuple[int, T]]:
    """Yield (position, callee) of each B and BL to a target.

    Args:
        code: a whole number of instructions.
        address: virtual address of the first, a multiple of 4.
        targets: what is called, by address.
        spans: (lowest, highest) address of groups of targets.
    """
    found = targets.get
    for number in with_upper(code, True, uppers(spans, address, len(code), 2, 26, (0x1400, 0x9400))):
        at = 4 * number
        distance = (_WORD(code, at)[0] & 0x3FF_FFFF ^ 0x200_0000) - 0x200_0000
        callee = found(address + at + 4 * distance)
        if callee is not None:
            yield at, callee


def stubs64(code: bytes, address: int, slots: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    """Yield (position, name) of each stub: [bti c] adrp x16; ldr x17, [x16, ...]; add x16, x16, ...; br x17."""
    at = code.find(b"\x20\x02\x1f\xd6")
    while at >= 0:
        if at % 4 == 0 and at >= 12:
            page, load = _WORD(code, at - 12)[0], _WORD(code, at - 8)[0]
            if page & 0x9F00_001F == 0x9000_0010 and load & 0xFFC0_03FF == 0xF940_0211:
                distance = (((page >> 5 & 0x7_FFFF) << 2 | page >> 29 & 3) ^ 0x10_0000) - 0x10_0000
                slot = (address + at - 12 & ~0xFFF) + (distance << 12) + (load >> 10 & 0xFFF) * 8
                name = slots.get(slot)
                if name is not None:
                    yield at - 12, name
                    if at >= 16 and code[at - 16 : at - 12] == b"\x5f\x24\x03\xd5":
                        yield at - 16, name
        at = code.find(b"\x20\x02\x1f\xd6", at + 4)


def direct32(code: bytes, size: int, address: int, targets: Mapping[int, T], spans: Spans) -> Iterator[tuple[int, T]]:
    """Yield (position, callee) of each branch to a target in A32 and T32.

    Args:
        code: bytes, with two more than `size` where there are any, for a Thumb branch across the end.
        size: branches may begin before this; a multiple of 4.
        address: virtual address of the first byte, a multiple of 4.
        targets: what is called, by address without the bit that marks Thumb.
        spans: (lowest, highest) address of groups of targets.
    """
    found = targets.get
    for number in with_upper(code[:size], True, uppers(spans, address, size, 2, 24, _A32_BRANCHES)):
        at = 4 * number
        word = _WORD(code, at)[0]
        distance = (word & 0xFF_FFFF ^ 0x80_0000) - 0x80_0000
        target = address + at + 8 + 4 * distance
        callee = found(target + (word >> 23 & 2) if word >= 0xF000_0000 else target)
        if callee is not None:
            yield at, callee
    for at in _thumb(code, size, address, spans):
        first, second = _HALVES(code, at)
        sign = first >> 10 & 1
        distance = -sign << 24 | (~(second >> 13 ^ sign) & 1) << 23 | (~(second >> 11 ^ sign) & 1) << 22
        distance |= (first & 0x3FF) << 12 | (second & 0x7FF) << 1
        base = address + at + 4
        if second & 0xD000 == 0xC000:  # BLX, to A32
            base &= ~3
            distance &= ~3
        elif second & 0xD000 == 0x8000:  # B with a condition has another form
            continue
        callee = found(base + distance)
        if callee is not None:
            yield at, callee


def _thumb(code: bytes, size: int, address: int, spans: Spans) -> Iterator[int]:
    """Yield the positions of halves that can be the first of a branch to a span: 11110, sign, upper ten bits."""
    firsts: dict[int, set[int]] = {}
    for low, high in spans:
        for page in range((low - address - size - 8) >> 12, ((high - address + 8) >> 12) + 1):
            if -0x1000 <= page < 0x1000:
                half = 0xF000 | (0x400 if page < 0 else 0) | page & 0x3FF
                firsts.setdefault(half >> 8, set()).add(half & 0xFF)
    for high, lows in sorted(firsts.items()):
        for match in _thumb_search(high, bytes(sorted(lows))).finditer(code):
            at = match.start() - 1
            if not at & 1 and at < size and at + 4 <= len(code):
                yield at


@lru_cache(256)
def _thumb_search(high: int, lows: bytes) -> re.Pattern[bytes]:
    members = b"".join(b"\\x%02x" % low for low in lows)
    return re.compile(b"\\x%02x(?<=[%b].)(?=.[\\x90-\\x9f\\xb0-\\xff])" % (high, members), re.DOTALL)


def stubs32(code: bytes, address: int, slots: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    """Yield (position, name) of each stub: additions to ip from pc, then ldr pc, [ip, ...]!; or the same in Thumb."""
    at = code.find(b"\xbc\xe5")
    while at >= 0:
        load = at - 2
        if load % 4 == 0 and load >= 8 and code[load + 1] & 0xF0 == 0xF0:
            offset = _WORD(code, load)[0] & 0xFFF
            for start in range(load - 4, max(load - 20, -4), -4):
                word = _WORD(code, start)[0]
                rotation = 2 * (word >> 8 & 0xF)
                value = word & 0xFF
                offset += (value >> rotation | value << (32 - rotation)) & 0xFFFF_FFFF
                if word & 0xFFFF_F000 == 0xE28F_C000:  # add ip, pc, #...
                    name = slots.get((address + start + 8 + offset) & 0xFFFF_FFFF)
                    if name is not None:
                        yield start, name
                        if code[max(start - 4, 0) : start] in _FROM_THUMB:
                            yield start - 4, name
                    break
                if word & 0xFFFF_F000 != 0xE28C_C000:  # add ip, ip, #...
                    break
        at = code.find(b"\xbc\xe5", at + 2)
    at = code.find(b"\xfc\x44\xdc\xf8\x00\xf0")  # add ip, pc; ldr.w pc, [ip]
    while at >= 0:
        if at >= 8 and at % 2 == 0:
            low = _immediate(_HALVES(code, at - 8), 0xF240)
            high = _immediate(_HALVES(code, at - 4), 0xF2C0)
            if low is not None and high is not None:
                name = slots.get((high << 16 | low) + address + at + 4 & 0xFFFF_FFFF)
                if name is not None:
                    yield at - 8, name
        at = code.find(b"\xfc\x44\xdc\xf8\x00\xf0", at + 2)


def _immediate(halves: tuple[int, int], opcode: int) -> int | None:
    """Return the 16 bits that movw or movt puts in ip; None if it is another instruction."""
    first, second = halves
    if first & 0xFBF0 != opcode or second & 0x8F00 != 0x0C00:
        return None
    return (first & 0xF) << 12 | (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
