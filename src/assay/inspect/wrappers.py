"""Functions that a binary defines under the name of a safe variant (*_s), and whether their code looks at the size.

The second argument of these functions is the size of the target. Whether it is read is told where the first
instructions show it beyond doubt: they compare or test its register, or overwrite it unread. Everything else (the
argument is put on the stack, the code begins otherwise, another machine) leaves the column empty.

Reference: ISO C11, Annex K.3.7; System V ABI, AMD64 supplement 3.2.3 (rsi); Procedure Call Standard for the Arm 64-bit
Architecture (x1); HCSEC Oversight Board annual report 2019, 3.38.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import iter_unpack

from assay.facts.code import Wrapper
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector
from .calls import CALL_RELOCATIONS, Counts, Piece, direct, stubs
from .calls_tables import HINTS, is_annex_k
from .calls_x86 import spans
from .elf_format import ET_DYN, ET_EXEC
from .elf_program import EM_AARCH64, EM_ARM, EM_MIPS, EM_X86_64, STT_FUNC, Program, Symbol, program

MAX_WRAPPERS = 500
MAX_CODE = 1 << 16
"""Bytes of one function that are looked at."""
FIRST = 32
"""Instructions at the start of a function that are looked at for its size argument."""

RSI = 6


def inspect(content: Content) -> Iterator[Wrapper]:
    """Yield the functions, by place.

    Raises:
        LimitReached: there are more such functions than are looked at.
    """
    it = program(content.data)
    if it is None or it.elf.type not in (ET_EXEC, ET_DYN) or not it.code:
        return
    found: dict[int, Symbol] = {}
    for table in (it.dynamic, it.static):
        for symbol, _ in table.find(HINTS, lambda name: is_annex_k(name) or None):
            if symbol.defined and symbol.kind == STT_FUNC and symbol.value:
                found.setdefault(symbol.value & ~1 if it.machine == EM_ARM else symbol.value, symbol)
    if not found:
        return
    callees = _callees(it)
    groups = spans(callees)
    for address, symbol in sorted(found.items())[:MAX_WRAPPERS]:
        place = it.offset(address)
        if place is None:
            continue
        size = min(symbol.size, MAX_CODE)
        code = bytes(it.data[place : place + size])
        calls: set[str] = set()
        if callees and len(code) == size:
            piece = Piece(code + bytes(8), size, place, address, 0)
            calls = {name for _, (name, _) in direct(it, piece, callees, groups)} - {symbol.name}
        yield Wrapper(
            offset=place, name=symbol.name, calls=sorted(calls), uses_size=_uses(it.machine, code), size=symbol.size
        )
    if len(found) > MAX_WRAPPERS:
        raise LimitReached("wrappers", MAX_WRAPPERS)


def _callees(it: Program) -> dict[int, tuple[str, str]]:
    """Return everything with a name that can be called."""
    if it.machine not in CALL_RELOCATIONS or (it.machine == EM_MIPS and it.elf.wide):
        return {}
    callees: dict[int, tuple[str, str]] = {}
    imports: dict[int, str] = {}
    for table in (it.static, it.dynamic):
        for number in range(len(table.names)):
            symbol = table.row(number)
            if table is it.dynamic and symbol.name:
                imports[number] = symbol.name
            if symbol.defined and symbol.kind == STT_FUNC and symbol.value:
                callees[symbol.value & ~1 if it.machine == EM_ARM else symbol.value] = symbol.name, "symbol"
    plt, got = it.slots(imports, {})
    callees |= {address: (name, "plt") for address, name in stubs(it, plt | got, Counts()).items()}
    return callees


def _uses(machine: int, code: bytes) -> bool | None:
    if machine == EM_X86_64:
        return _uses_x86(code)
    return _uses_aarch64(code) if machine == EM_AARCH64 else None


def _uses_aarch64(code: bytes) -> bool | None:
    """Tell whether x1 is compared or tested (True) or overwritten unread (False) before the first branch."""
    for (word,) in iter_unpack("<I", code[: len(code) // 4 * 4][: 4 * FIRST]):
        rd, rn, rm = word & 31, word >> 5 & 31, word >> 16 & 31
        if word & 0x7F20_001F == 0x6B00_001F:  # cmp, registers
            if 1 in (rn, rm):
                return True
        elif word & 0x7F80_001F == 0x7100_001F:  # cmp, immediate
            if rn == 1:
                return True
        elif word & 0x7E00_0000 == 0x3400_0000:  # cbz, cbnz
            return True if rd == 1 else None
        elif word & 0x7FE0_FFE0 == 0x2A00_03E0:  # mov, register
            if rm == 1:
                return None
            if rd == 1:
                return False
        elif word not in {3573752927, 3573752639}:  # bti c, paciasp
            return None
    return None


def _uses_x86(code: bytes) -> bool | None:
    """Tell whether rsi is compared or tested (True) or overwritten unread (False) by the first instructions."""
    at = 4 if code[:4] == b"\xf3\x0f\x1e\xfa" else 0
    for _ in range(FIRST):
        rex = code[at] if at < len(code) and 0x40 <= code[at] <= 0x4F else 0
        at += 1 if rex else 0
        if at + 2 > len(code):
            return None
        opcode, modrm = code[at], code[at + 1]
        if 0x50 <= opcode <= 0x57:  # push
            if opcode - 0x50 == RSI and not rex & 1:
                return None
            at += 1
            continue
        source, target = modrm >> 3 & 7 | (rex & 4) << 1, modrm & 7 | (rex & 1) << 3
        if opcode == 0x83 and modrm == 0xEC:  # sub $..., %rsp
            at += 3
            continue
        if modrm < 0xC0:
            return None
        if opcode in (0x39, 0x3B, 0x85):  # cmp, test
            if RSI in (source, target):
                return True
        elif opcode in (0x89, 0x8B):  # mov
            if opcode == 0x8B:
                source, target = target, source
            if source == RSI:
                return None
            if target == RSI:
                return False
        elif opcode == 0x31 and source == target:  # xor, to zero
            if target == RSI:
                return False
        else:
            return None
        at += 2
    return None


INSPECTOR = ContentInspector(
    name="wrappers",
    version=1,
    families=(Wrapper,),
    inspect=inspect,
    head_begins=(b"\x7fELF",),
    wants_head=lambda head: head[:4] == b"\x7fELF",
    containers=True,
    unseen=(
        "functions without a symbol, and those that the compiler has put in line",
        "what is done with the size after it was read; objects and kernel modules",
        "the use of the size in code for other machines than x86-64 and AArch64, or built without optimisation",
    ),
)
