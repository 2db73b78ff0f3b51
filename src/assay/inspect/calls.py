"""Direct calls of the functions that copy memory and text, counted in the code of a binary, function by function.

How it is counted. Names come from the dynamic symbols, and from .symtab where it was left. For an imported function the
relocations tell the slot that will hold its address, and the code of the PLT (found by its shape, without section
headers) the stub that jumps through the slot; calls and tail jumps to the stub are counted, and calls through the slot.
For a function that is defined here, calls and jumps to its address. In objects and kernel modules, the relocations of
call instructions. Code is what the loader maps executable.

How exact it is. No code is disassembled: an instruction is taken for a call if its bytes say so and it leads to
exactly a wanted address. On real programs for x86, AArch64, Thumb and little-endian 64-bit Power the counts of imported
functions are those of a disassembler; A32, 32-bit or big-endian Power and big-endian MIPS were not tried on real ones.
Three things can differ: bytes that are a call by chance (there are 2^24 to 2^32 distances and a few dozen addresses);
an address that is held in a register or a table, which is no direct call; what a compiler has put in line, which is no
call any more. On MIPS every call goes through a register: a jump whose register was loaded on another path is missed
(about 5 of 100), so that counts there are lower bounds.

Reference: HCSEC Oversight Board annual report 2019, 3.36: direct invocations of "memcpy-like", "strcpy-like" and
"sprintf-like" functions, safe and unsafe; `calls_tables` for the names.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from assay.facts.code import CallSites
from assay.unpack.base import LimitReached

from . import calls_arm, calls_risc, calls_x86
from .base import Content, ContentInspector
from .calls_tables import HINTS, classify
from .elf_format import DT_PLTGOT, ET_CORE, ET_DYN, ET_EXEC, ET_REL
from .elf_program import (
    EM_386,
    EM_AARCH64,
    EM_ARM,
    EM_MIPS,
    EM_PPC,
    EM_PPC64,
    EM_X86_64,
    MIPS_GP,
    STT_FUNC,
    STT_IFUNC,
    Program,
    Symbol,
    program,
)

CHUNK, WORDS, LARGE = 1 << 17, 1 << 19, 8 << 20
"""Bytes of code looked at together: with x86, distances within a small piece have few upper halves."""
LEAD = 64
"""Bytes of the piece before, so that a stub across the border is seen."""
MAX_TARGETS = 4096
DT_PPC_GOT = 0x70000000

# Relocations of call and jump instructions in objects, by machine.
CALL_RELOCATIONS = {
    EM_X86_64: frozenset((2, 4)),  # PC32, PLT32
    EM_386: frozenset((2, 4)),  # PC32, PLT32
    EM_ARM: frozenset((1, 10, 27, 28, 29, 30)),  # PC24, THM_CALL, PLT32, CALL, JUMP24, THM_JUMP24
    EM_AARCH64: frozenset((282, 283)),  # JUMP26, CALL26
    EM_MIPS: frozenset((4, 11)),  # 26, CALL16
    EM_PPC: frozenset((10, 18, 23)),  # REL24, PLTREL24, LOCAL24PC
    EM_PPC64: frozenset((10, 116)),  # REL24, REL24_NOTOC
}
X86_SLOT_RELOCATIONS = {EM_X86_64: frozenset((9, 41)), EM_386: frozenset((3, 43))}  # GOTPCREL(X); GOT32(X)


class Counts:
    """Sites by function."""

    def __init__(self) -> None:
        self.sites: Counter[str] = Counter()
        self.first: dict[str, int] = {}
        self.methods: dict[str, set[str]] = {}

    def add(self, name: str, offset: int, method: str) -> None:
        """Count a site at an offset of the file."""
        self.sites[name] += 1
        if offset < self.first.get(name, offset + 1):
            self.first[name] = offset
        self.methods.setdefault(name, set()).add(method)


def inspect(content: Content) -> Iterator[CallSites]:
    """Yield the functions by name: all imported ones, and those defined here that are called.

    Raises:
        LimitReached: more functions of these names than are looked for.
    """
    it = program(content.data)
    if it is None or it.elf.type == ET_CORE:
        return
    tables = [it.static] if it.elf.type == ET_REL else [it.dynamic, it.static]
    found = [(symbol, at) for at, table in enumerate(tables) for symbol, _ in table.find(HINTS, classify)]
    if not found:
        return
    counts: Counts | None
    if it.elf.type == ET_REL:
        counts = _object(it, {symbol.number: symbol.name for symbol, _ in found})
    else:
        counts = _linked(it, found)
    places: dict[str, int | None] = {}
    imported: dict[str, bool] = {}
    for symbol, table in found:
        name = symbol.name
        if table and not symbol.defined:
            continue  # what .symtab says of imports is said by the dynamic symbols; its names have versions attached
        imported[name] = imported.get(name, True) and not symbol.defined
        places.setdefault(name, symbol.place)
    for name in sorted(imported):
        sites = None if counts is None else counts.sites[name]
        if not imported[name] and not sites:
            continue
        family, variant = classify(name) or ("", "")
        yield CallSites(
            offset=places[name] if counts is None else counts.first.get(name, places[name]),
            function=name,
            family=family,
            variant=variant,
            sites=sites,
            imported=imported[name],
            method="+".join(sorted(counts.methods[name])) if counts and sites else "none",
        )
    if any(table.cut for table in tables):
        raise LimitReached("functions", MAX_TARGETS)


def _object(it: Program, names: dict[int, str]) -> Counts | None:
    """Count the relocations of call instructions."""
    calls = CALL_RELOCATIONS.get(it.machine)
    if calls is None:
        return None
    counts = Counts()
    slots = X86_SLOT_RELOCATIONS.get(it.machine, frozenset())
    shift = it.symbol_shift
    mask = (1 << shift) - 1
    for section, places, infos in it.object_relocations():
        for place, info in zip(places, infos, strict=True):
            name = names.get(info >> shift)
            kind = info & mask
            if name is None or not (kind in calls or kind in slots):
                continue
            at = section.offset + place
            if it.machine in (EM_X86_64, EM_386):
                before = bytes(it.data[max(0, at - 2) : at])
                at -= 1
                if kind in calls:
                    if before[-1:] not in (b"\xe8", b"\xe9") and not (
                        before[:1] == b"\x0f" and 0x80 <= before[1] <= 0x8F
                    ):
                        continue  # the address is taken, or data refer to it
                elif before[:1] != b"\xff" or before[1] not in (0x15, 0x25, *range(0x90, 0x98), *range(0xA0, 0xA8)):
                    continue
            counts.add(name, at, "relocation")
    return counts


def _linked(it: Program, found: list[tuple[Symbol, int]]) -> Counts | None:
    """Count the calls in what is ready to run; None if its code cannot be read."""
    elf = it.elf
    if it.machine not in CALL_RELOCATIONS or not it.code or elf.type not in (ET_EXEC, ET_DYN):
        return None
    if (it.machine in (EM_ARM, EM_AARCH64) and not elf.little) or (it.machine == EM_MIPS and elf.wide):
        return None
    dynamic = {symbol.number: symbol.name for symbol, table in found if table == 0}
    targets: dict[int, str] = {}
    indirect: dict[int, str] = {}
    # Of several names for one place the plainest is taken: memcpy before __memcpy_generic.
    for symbol, _ in sorted(found, key=lambda item: (item[0].name.count("_"), item[0].name), reverse=True):
        if symbol.defined and symbol.value and symbol.kind in (STT_FUNC, STT_IFUNC, 0):
            (indirect if symbol.kind == STT_IFUNC else targets).update(dict.fromkeys(_entries(it, symbol), symbol.name))
    plt, got = it.slots(dynamic, indirect)
    if len(targets) + len(plt) + len(got) > MAX_TARGETS:
        raise LimitReached("functions", MAX_TARGETS)
    counts = Counts()
    callees = {address: (name, "symbol") for address, name in targets.items()}
    if it.machine == EM_PPC and elf.value(DT_PPC_GOT) is None:
        callees |= {slot: (name, "plt") for slot, name in plt.items()}  # the loader writes the stubs there
    if plt or got:
        entries = stubs(it, plt | got, counts)
        callees |= {address: (name, "plt") for address, name in entries.items()}
    spans = calls_x86.spans(callees)
    for piece in _pieces(it, CHUNK if it.machine in (EM_X86_64, EM_386, EM_ARM) else WORDS) if callees else ():
        for at, (name, method) in direct(it, piece, callees, spans):
            counts.add(name, piece.offset + at, method)
    return counts


class Piece(NamedTuple):
    """Some code: `size` bytes in which calls may begin, and a few more in which they may end."""

    code: bytes
    size: int
    offset: int
    address: int
    lead: int
    """Bytes at the start that the piece before has shown."""


def _pieces(it: Program, most: int, lead: int = 0) -> Iterator[Piece]:
    for offset, address, size in it.code:
        skew = -address % 4 if it.machine not in (EM_X86_64, EM_386) else 0
        for start in range(skew, size, most):
            before = min(lead, start - skew)
            begin, end = offset + start - before, offset + min(start + most, size)
            code = bytes(it.data[begin : min(end + 16, offset + size)])
            yield Piece(code, end - begin, begin, address + start - before, before)


def _words(it: Program, piece: Piece) -> tuple[bytes, array[int], bool]:
    """Return the instructions of a piece as they stand and as numbers, and their byte order."""
    whole = piece.code[: piece.size & ~3]
    return whole, it.elf.words(whole, "I"), it.elf.little


def direct(
    it: Program, piece: Piece, callees: dict[int, tuple[str, str]], spans: list[tuple[int, int]]
) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield (position in the piece, callee) of each call and jump to a callee.

    Args:
        it: the program.
        piece: some of its code.
        callees: (name, method) by address.
        spans: groups of their addresses, from `calls_x86.spans`.
    """
    machine, code, size, address = it.machine, piece.code, piece.size, piece.address
    if machine in (EM_X86_64, EM_386):
        return calls_x86.direct(code, size, address, callees, spans, machine == EM_X86_64)
    if machine == EM_AARCH64:
        return calls_arm.direct64(code[: size & ~3], address, callees, spans)
    if machine == EM_ARM:
        return calls_arm.direct32(code, size & ~3, address, callees, spans)
    find = calls_risc.direct_mips if machine == EM_MIPS else calls_risc.direct_ppc
    return find(*_words(it, piece), address, callees, spans)


def stubs(it: Program, slots: dict[int, str], counts: Counts) -> dict[int, str]:
    """Return the names by the address of their stub; count the calls that go through a slot without one."""
    machine, entries = it.machine, dict[int, str]()
    got = it.elf.value(DT_PLTGOT)
    for piece in _pieces(it, LARGE, LEAD):
        address = piece.address
        if machine in (EM_X86_64, EM_386):
            wide = machine == EM_X86_64
            for at, name, entry in calls_x86.indirect(piece.code, piece.size, address, slots, wide, got):
                if entry is not None:
                    entries[address + entry] = entries[address + at] = name
                elif at >= piece.lead:
                    counts.add(name, piece.offset + at, "got")
            continue
        found: Iterator[tuple[int, str]]
        if machine == EM_AARCH64:
            found = calls_arm.stubs64(piece.code, address, slots)
        elif machine == EM_ARM:
            found = calls_arm.stubs32(piece.code, address, slots)
        else:
            words = _words(it, piece)
            if machine == EM_MIPS:
                for at, name in calls_risc.indirect_mips(*words, slots, (got or 0) + MIPS_GP):
                    if at >= piece.lead:
                        counts.add(name, piece.offset + at, "got")
                found = calls_risc.stubs_mips(*words, slots)
            else:
                wide = machine == EM_PPC64
                bases = calls_risc.bases_ppc64(*words, address) if wide else _bases_ppc(it)
                found = calls_risc.stubs_ppc(*words, slots, bases, wide)
        entries.update((address + at, name) for at, name in found)
    return entries


def _bases_ppc(it: Program) -> list[int]:
    """Return what r30 may hold in 32-bit Power code: the GOT, or the middle of a .got2 where sections tell."""
    section = it.elf.section(".got2")
    return [base for base in (it.elf.value(DT_PPC_GOT), section and section.addr + 0x8000) if base]


def _entries(it: Program, symbol: Symbol) -> list[int]:
    """Return the addresses at which a function is entered."""
    value = symbol.value
    if it.machine == EM_ARM:
        return [value & ~1]
    if it.machine == EM_PPC64:
        if it.elf.little:  # ELF V2: the local entry is behind the setting of r2
            return [value, value + (1 << (symbol.other >> 5) & ~3)]
        code = it.word(value)  # ELF V1: the symbol is a descriptor
        return [value] if code is None else [value, code]
    return [value]


INSPECTOR = ContentInspector(
    name="calls",
    version=1,
    families=(CallSites,),
    inspect=inspect,
    head_begins=(b"\x7fELF",),
    wants_head=lambda head: head[:4] == b"\x7fELF",
    containers=True,
    unseen=(
        "on MIPS, about 5 of 100 calls: those whose address was loaded on another path",
        "calls through a pointer, in a register (except on MIPS) or a table",
        "copies that the compiler has put in line",
        "calls inside a binary without symbols to functions that were linked into it",
        "machines other than x86, ARM, 32-bit MIPS and Power; code that is compressed or made at run time",
    ),
)
