"""An ELF file as code that calls: symbols with their places, slots of the GOT, and the bytes that may be executed.

What the loader uses decides, as in `elf_format`: code is what PT_LOAD maps executable, names come from the dynamic
segment, and from .symtab where it was left. Section headers are used for objects, which have nothing else.

Reference: System V ABI, chapters 4 and 5; the processor supplements, for the types of relocations.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from struct import Struct
from typing import NamedTuple, TypeVar

from assay.unpack.base import UnpackError

from .base import Buffer
from .elf_format import (
    DT_PLTGOT,
    ET_CORE,
    ET_REL,
    PF_X,
    SHT_NOBITS,
    SHT_SYMTAB,
    ElfFile,
    Section,
)

T = TypeVar("T")

STT_FUNC, STT_IFUNC = 2, 10
SHF_EXECINSTR = 4
SHT_RELA, SHT_REL = 4, 9
DT_MIPS_LOCAL_GOTNO, DT_MIPS_GOTSYM = 0x7000000A, 0x70000013
MIPS_GP = 0x7FF0
"""$gp points so far behind the start of the GOT (MIPS ABI supplement, "Global Offset Table")."""

EM_386, EM_MIPS, EM_PPC, EM_PPC64, EM_ARM, EM_X86_64, EM_AARCH64 = 3, 8, 20, 21, 40, 62, 183

# Relocation types: a slot of the GOT holds a symbol's address; of the PLT; an indirect function's (address in addend).
SLOTS = {
    EM_X86_64: (6, 7, 37),
    EM_386: (6, 7, 42),
    EM_ARM: (21, 22, 160),
    EM_AARCH64: (1025, 1026, 1032),
    EM_PPC: (20, 21, 248),
    EM_PPC64: (20, 21, 248),
    EM_MIPS: (126, 127, 128),
}

MAX_FOUND = 20_000
"""Symbols that one question may find."""
MAX_TRIES = 200_000
"""Places in the names at which one question may look."""
MAX_NAME = 512


class Symbol(NamedTuple):
    """A symbol: value and size in bytes, kind as STT_*, section 0 if it is defined elsewhere."""

    name: str
    value: int
    size: int
    kind: int
    section: int
    number: int
    other: int
    place: int | None
    """Offset of the name in the file, where it is known."""

    @property
    def defined(self) -> bool:
        """Whether this object defines it."""
        return self.section != 0


class Stretch(NamedTuple):
    """Bytes of the file that are mapped executable."""

    offset: int
    address: int
    size: int


class Table:
    """A symbol table that answers questions about a few names without going through all.

    Args:
        elf: whose byte order and class it has.
        raw: Elf32_Sym or Elf64_Sym entries.
        strings: their names, one character for each byte.
        place: offset of the strings in the file.
    """

    def __init__(self, elf: ElfFile, raw: bytes, strings: str, place: int | None) -> None:
        self.raw, self.strings, self.place = raw, strings, place
        self.cut = False
        """There were more names of interest than are looked at."""
        self.struct = Struct(elf.order + ("IBBHQQ" if elf.wide else "IIIBBH"))
        self.wide = elf.wide
        size = self.struct.size
        self.names = elf.words(raw[: len(raw) // size * size], "I")[:: size // 4]

    @cached_property
    def _lower(self) -> str:
        return self.strings.lower()

    @cached_property
    def _offsets(self) -> frozenset[int]:
        return frozenset(self.names)

    def row(self, index: int, name: str = "") -> Symbol:
        """Return a symbol by its number."""
        at = self.struct.size * index
        if self.wide:
            offset, info, other, section, value, size = self.struct.unpack_from(self.raw, at)
        else:
            offset, value, size, info, other, section = self.struct.unpack_from(self.raw, at)
        return Symbol(
            name or self.name(offset), value, size, info & 15, section, index, other,
            None if self.place is None else self.place + offset,
        )  # fmt: skip

    def name(self, offset: int) -> str:
        """Return a name by its offset, at most so long as any that are asked for."""
        end = self.strings.find("\0", offset, offset + MAX_NAME)
        return self.strings[offset:end] if end >= 0 else ""

    def place_of(self, name: str) -> int | None:
        """Return the offset in the file of the first symbol name that is exactly this, None where there is none."""
        at = self.strings.find(name + "\0")
        while at >= 0 and at not in self._offsets:
            at = self.strings.find(name + "\0", at + 1)
        return None if at < 0 or self.place is None else self.place + at

    def find(self, hints: Iterable[str], classify: Callable[[str], T | None]) -> list[tuple[Symbol, T]]:
        """Return the symbols whose name is of interest, in the table's order.

        Args:
            hints: lower-case parts, one of which each name of interest has.
            classify: what a name is; None if it is of no interest.
        """
        lower, strings, offsets = self._lower, self.strings, self._offsets
        wanted: dict[int, T] = {}
        tries = MAX_TRIES
        for hint in hints:
            at = lower.find(hint)
            while at >= 0:
                tries -= 1
                if tries < 0 or len(wanted) >= MAX_FOUND:
                    self.cut = True
                    break
                # Linkers let a name begin inside a longer one, so any start before the hint may be a symbol's.
                start = max(strings.rfind("\0", max(0, at - 64), at) + 1, at - 64, 0)
                end = strings.find("\0", at, at + MAX_NAME)
                if end >= 0:
                    for offset in range(start, at + 1):
                        if offset in offsets and offset not in wanted:
                            what = classify(strings[offset:end])
                            if what is not None:
                                wanted[offset] = what
                at = lower.find(hint, at + 1)
        if not wanted:
            return []
        rows = [index for index, offset in enumerate(self.names) if offset in wanted][:MAX_FOUND]
        return [(self.row(index), wanted[self.names[index]]) for index in rows]


class Program:
    """A parsed ELF file with what is needed to find calls in it.

    Args:
        data: all bytes.

    Raises:
        UnpackError: the ELF header cannot be read.
    """

    def __init__(self, data: Buffer) -> None:
        self.elf = ElfFile(data)
        self.data = data
        self.machine = self.elf.machine

    @cached_property
    def dynamic(self) -> Table:
        """The dynamic symbol table; empty if there is none."""
        elf = self.elf
        raw = elf.dynamic_table()
        found = elf.place(elf.value(5) or 0)  # DT_STRTAB
        return Table(elf, raw, elf.strings if raw else "", found[0] if found else None)

    @cached_property
    def static(self) -> Table:
        """The symbols of .symtab; empty if it was stripped."""
        elf = self.elf
        for section in elf.sections or ():
            if section.type == SHT_SYMTAB and section.size:
                strings = elf.symbol_strings(section)
                place = elf.sections[section.link].offset if strings and elf.sections else None
                return Table(elf, elf.contents(section, 64 << 20), strings, place)
        return Table(elf, b"", "", None)

    @cached_property
    def names(self) -> tuple[frozenset[str], frozenset[str]]:
        """Names of (undefined, defined) global symbols: dynamic ones, and those of .symtab in what has no others."""
        elf = self.elf
        symbols = elf.dynamic_symbols() if elf.dynamic else None
        if symbols is None or not (symbols.undefined or symbols.defined):
            symbols = elf.section_symbols()
        return frozenset(symbols.undefined), frozenset(symbols.defined)

    @cached_property
    def code(self) -> list[Stretch]:
        """What is mapped executable, each byte of the file once, by offset."""
        elf = self.elf
        if elf.type == ET_CORE or any(
            s.flags & SHF_EXECINSTR and s.type == SHT_NOBITS and s.name == ".text" for s in elf.sections or ()
        ):
            return []  # a core file, or debug information that was split off: the code is elsewhere
        found: list[Stretch] = []
        end = 0
        for segment in sorted((s for s in elf.loads if s.flags & PF_X), key=lambda s: s.offset):
            start = max(segment.offset, end)
            size = min(segment.offset + segment.filesz, elf.size) - start
            if size > 0:
                found.append(Stretch(start, segment.vaddr + start - segment.offset, size))
                end = start + size
        return found

    def offset(self, address: int) -> int | None:
        """Return where in the file a virtual address lies."""
        found = self.elf.place(address)
        return found[0] if found else None

    def word(self, address: int) -> int | None:
        """Return the word (32 or 64 bits) that stands at a virtual address in the file."""
        found = self.elf.place(address)
        size = 8 if self.elf.wide else 4
        if found is None or found[1] < size:
            return None
        raw = bytes(self.data[found[0] : found[0] + size])
        return int.from_bytes(raw, "little" if self.elf.little else "big") if len(raw) == size else None

    @cached_property
    def symbol_shift(self) -> int:
        """Bits of r_info below the symbol's number."""
        return 32 if self.elf.wide else 8

    def slots(self, symbols: dict[int, str], indirect: dict[int, str]) -> tuple[dict[int, str], dict[int, str]]:
        """Return the names by the address of their slot: (slots of the PLT, other slots of the GOT).

        Args:
            symbols: names by number in the dynamic symbol table.
            indirect: names of indirect functions (STT_GNU_IFUNC) by address.
        """
        plt: dict[int, str] = {}
        got: dict[int, str] = {}
        types = SLOTS.get(self.machine)
        if types is None:
            return plt, got
        data, jump, irelative = types
        shift = self.symbol_shift
        mask = (1 << (32 if self.elf.wide else 8)) - 1
        for places, infos, addends in self._relocations():
            for number, info in enumerate(infos):
                if info <= mask and info != irelative:
                    continue  # it names no symbol
                name = symbols.get(info >> shift)
                if name is not None:
                    kind = info & mask
                    if kind == jump:
                        plt[places[number]] = name
                    elif kind == data:
                        got[places[number]] = name
                elif indirect and info & mask == irelative:
                    target = addends[number] if addends else self.word(places[number])
                    if target in indirect:
                        plt[places[number]] = indirect[target]
        if self.machine == EM_MIPS and not self.elf.wide:
            base, local, first = (self.elf.value(tag) for tag in (DT_PLTGOT, DT_MIPS_LOCAL_GOTNO, DT_MIPS_GOTSYM))
            if base is not None and local is not None and first is not None:
                got |= {base + 4 * (local + index - first): name for index, name in symbols.items() if index >= first}
        return plt, got

    def _relocations(self) -> Iterator[tuple[array[int], array[int], array[int]]]:
        """Yield r_offset, r_info and r_addend of what the loader relocates, or a static program itself at its start."""
        for _, *columns in self.elf.relocations():
            yield columns[0], columns[1], columns[2]
        if not self.elf.dynamic:
            for section in (self.elf.section(name) for name in (".rela.plt", ".rel.plt", ".rela.dyn", ".rel.dyn")):
                if section is not None and section.type in (SHT_RELA, SHT_REL):
                    raw = self.elf.contents(section, section.size)
                    yield self.elf.relocation_columns(raw, section.type == SHT_RELA)

    def object_relocations(self) -> Iterator[tuple[Section, list[int], list[int]]]:
        """Yield, for an object or kernel module, (executable section, r_offset, r_info) of each relocation section."""
        sections = self.elf.sections or []
        left = self.elf.size
        if self.elf.type != ET_REL:
            return
        for section in sections:
            if section.type not in (SHT_RELA, SHT_REL) or section.info >= len(sections) or section.size > left:
                continue
            target = sections[section.info]
            if target.flags & SHF_EXECINSTR and target.type != SHT_NOBITS:
                left -= section.size
                raw = self.elf.contents(section, section.size)
                places, infos, _ = self.elf.relocation_columns(raw, section.type == SHT_RELA)
                yield target, list(places), list(infos)


_last: list[Program] = []


def program(data: Buffer) -> Program | None:
    """Return the parsed file; the last one is kept, because several inspectors ask for the same in turn.

    None if its header cannot be read: the inspector `elf` says so, once for all.
    """
    if not _last or _last[0].data is not data:
        try:
            _last[:] = [Program(data)]
        except UnpackError:
            return None
    return _last[0]
