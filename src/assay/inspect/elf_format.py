"""The structure of an ELF file, as far as facts need it. A pure parser: bytes in, tables out, no judgement.

What the loader uses comes first: program headers, PT_DYNAMIC, and the tables that the dynamic segment points at, found
through the PT_LOAD mapping. Section headers are read where they exist; nothing depends on them in an executable or
library, because vendors strip them. Every size is cut to the bytes that are there, and every loop has a bound.

Reference: System V Application Binary Interface, chapters 4 and 5 (gABI); its processor supplements for MIPS, s390x and
Alpha; Linux Standard Base 5.0, chapter 10 (symbol versions); DT_GNU_HASH as in binutils and glibc.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from assay.unpack.base import Malformed, Truncated

from .base import Buffer

ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
EM_MIPS, EM_S390, EM_ALPHA = 8, 22, 0x9026
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
PT_GNU_STACK, PT_GNU_RELRO = 0x6474E551, 0x6474E552
PF_X, PF_W = 1, 2
SHT_SYMTAB, SHT_NOTE, SHT_NOBITS, SHT_DYNSYM = 2, 7, 8, 11
DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_STRSZ = 1, 4, 5, 6, 7, 8, 10
DT_SONAME, DT_RPATH, DT_REL, DT_RELSZ, DT_PLTREL, DT_DEBUG, DT_JMPREL = 14, 15, 17, 18, 20, 21, 23
DT_PLTRELSZ, DT_PLTGOT, DT_BIND_NOW, DT_RUNPATH, DT_FLAGS = 2, 3, 24, 29, 30
DT_GNU_HASH, DT_FLAGS_1, DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFEF5, 0x6FFFFFFB, 0x6FFFFFFE, 0x6FFFFFFF
DT_MIPS_SYMTABNO = 0x70000011

MAX_SYMBOLS = 1 << 20
MAX_SECTIONS = 1 << 17
MAX_DYNAMIC = 1 << 16
MAX_VERSIONS = 1 << 16
"""More cannot be numbered: a version index has 16 bits."""
MAX_NAMES = 64 << 20
"""Bytes of all names taken from one file: tables may name one long string a million times."""
MAX_STRINGS = 256 << 20
MAX_NOTES = 1 << 20
MAX_TABLE = 1 << 20
"""Bytes of a table that does not state its own length."""


class Segment(NamedTuple):
    """A program header: type and flags as PT_* and PF_*, the rest in bytes."""

    type: int
    flags: int
    offset: int
    vaddr: int
    filesz: int
    align: int


class Section(NamedTuple):
    """A section header: type as SHT_*, flags as SHF_*, the rest in bytes; link (often info) is a section's number."""

    name: str
    type: int
    addr: int
    offset: int
    size: int
    link: int
    flags: int = 0
    info: int = 0


class Layout(NamedTuple):
    """How one class and byte order lays out its structures."""

    header: Struct
    segment: Struct
    section: Struct
    dynamic: Struct
    symbol: Struct
    word: str
    """Type code of a relocation's fields."""
    swapped: bool


def _layout(wide: bool, order: str) -> Layout:
    # Elf32_Sym and Elf64_Sym are read as (st_name, st_info, st_shndx) alone; the pad codes skip the rest.
    codes = (
        ("HHIQQQIHHHHHH", "IIQQQQQQ", "IIQQQQII16x", "QQ", "IBxH16x", "Q")
        if wide
        else ("HHIIIIIHHHHHH", "IIIIIIII", "IIIIIIII8x", "II", "I8xBxH", "I")
    )
    header, segment, section, dynamic, symbol, word = codes
    swapped = (order == ">") != (sys.byteorder == "big")
    return Layout(
        Struct(order + header),
        Struct(order + segment),
        Struct(order + section),
        Struct(order + dynamic),
        Struct(order + symbol),
        word,
        swapped,
    )


LAYOUTS = {(class_, data): _layout(class_ == 2, order) for class_ in (1, 2) for data, order in ((1, "<"), (2, ">"))}


def _clean(name: str) -> str:
    if name.isascii():
        return name
    return name.encode("ascii", "surrogateescape").decode("utf-8", "backslashreplace")


class Symbols(NamedTuple):
    """Global and weak symbol names of one table, each once, in the table's order."""

    undefined: list[str]
    defined: list[str]


class ElfFile:
    """A parsed ELF file.

    Args:
        data: all bytes.

    Raises:
        Truncated: the file ends inside the ELF header.
        Malformed: not an ELF header, or an unknown class or byte order.
    """

    def __init__(self, data: Buffer) -> None:
        self.data = data
        self.size = len(data)
        self.problems: list[str] = []
        """What could not be read, one line each."""
        ident = bytes(data[:64])
        if ident[:4] != b"\x7fELF":
            raise Malformed("no ELF magic")
        layout = LAYOUTS.get((ident[4], ident[5])) if len(ident) > 5 else None
        if layout is None:
            raise Malformed(f"unknown ELF class or byte order {ident[4:6].hex()}")
        if len(ident) < 16 + layout.header.size:
            raise Truncated(f"the file ends inside the ELF header, after {len(ident)} bytes")
        self.layout = layout
        self.wide, self.little = ident[4] == 2, ident[5] == 1
        self.order = "<" if self.little else ">"
        self.osabi = ident[7]
        (self.type, self.machine, _, _, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, shstrndx) = (
            layout.header.unpack_from(ident, 16)
        )
        self._names_left = MAX_NAMES
        self._by_name: dict[str, Section] | None = None
        self.sections = self._sections(shoff, shentsize, shnum, shstrndx)
        """None if there are no readable section headers."""
        if phnum == 0xFFFF and self._phnum:
            phnum = self._phnum
        self.segments = self._segments(phoff, phentsize, phnum)
        self.loads = [segment for segment in self.segments if segment.type == PT_LOAD]
        self.interpreter = self._interpreter()
        self.dynamic = self._dynamic()
        """Values by tag, in order; empty if there is no dynamic segment that could be read."""
        self._strings: str | None = None

    # Bytes and names

    def piece(self, offset: int, size: int, what: str) -> bytes:
        """Return bytes of the file, as many as are there; a shortfall is noted under the name `what`."""
        there = max(0, min(size, self.size - offset))
        if there < size:
            self.problems.append(f"{what}: {size - there} of {size} bytes lie beyond the end of the file")
        return bytes(self.data[offset : offset + there])

    def place(self, address: int) -> tuple[int, int] | None:
        """Return (offset, bytes from there to the end of its segment's file part) of a virtual address, or None."""
        for segment in self.loads:
            inside = address - segment.vaddr
            if 0 <= inside < segment.filesz:
                return segment.offset + inside, segment.filesz - inside
        return None

    def _mapped(self, address: int, size: int | None, what: str) -> bytes:
        """Return `size` bytes at a virtual address, or up to MAX_TABLE that its segment has."""
        found = self.place(address)
        if found is None:
            self.problems.append(f"{what}: address {address:#x} is in no segment")
            return b""
        offset, room = found
        if size is None:
            return bytes(self.data[offset : offset + min(room, MAX_TABLE)])
        if size > room:
            self.problems.append(f"{what}: {size - room} of {size} bytes lie beyond their segment")
        return self.piece(offset, min(size, room), what)

    def _table(self, raw: bytes, what: str) -> str:
        """Return a string table cut behind its last terminator, so that every name in it has an end.

        One character stands for each byte, so that offsets stay; `_clean` makes text of a name with other than ASCII.
        """
        if raw and raw[-1]:
            self.problems.append(f"{what}: not terminated")
            raw = raw[: raw.rfind(0) + 1]
        return raw.decode("ascii", "surrogateescape")

    def _name(self, table: str, offset: int) -> str | None:
        end = table.find("\0", offset)
        if end < 0 or end - offset > self._names_left:
            return None
        self._names_left -= end - offset
        return _clean(table[offset:end])

    # Headers

    def _sections(self, offset: int, entry: int, count: int, strings: int) -> list[Section] | None:
        struct = self.layout.section
        self._phnum = 0
        if not offset:
            return None
        first = bytes(self.data[offset : offset + struct.size])
        if entry != struct.size or len(first) != entry:
            self.problems.append(f"section headers at offset {offset:#x}: not readable")
            return None
        # gABI, "Extended numbering": counts that do not fit stand in section 0 (sh_size, sh_link, sh_info).
        head = struct.unpack(first)
        count = count or head[5]
        strings = head[6] if strings == 0xFFFF else strings
        self._phnum = head[7]
        if count > MAX_SECTIONS:
            self.problems.append(f"section headers: {MAX_SECTIONS} of {count} read")
            count = MAX_SECTIONS
        if not count:
            return None
        raw = self.piece(offset, count * entry, "section headers")
        rows = list(struct.iter_unpack(raw[: len(raw) // entry * entry]))
        names = ""
        if 0 < strings < len(rows):
            row = rows[strings]
            names = self._table(self.piece(row[4], min(row[5], MAX_STRINGS), "section names"), "section names")
        return [
            Section(self._name(names, row[0]) or "", row[1], row[3], row[4], row[5], row[6], row[2], row[7])
            for row in rows
        ]

    def _segments(self, offset: int, entry: int, count: int) -> list[Segment]:
        struct = self.layout.segment
        if not offset or not count:
            return []
        if entry != struct.size:
            self.problems.append(f"program headers: entries of {entry} bytes instead of {struct.size}")
            return []
        raw = self.piece(offset, count * entry, "program headers")
        rows = struct.iter_unpack(raw[: len(raw) // entry * entry])
        # Elf32_Phdr keeps p_flags after p_memsz, Elf64_Phdr after p_type.
        found = (
            [Segment(row[0], row[1], row[2], row[3], row[5], row[7]) for row in rows]
            if self.wide
            else [Segment(row[0], row[6], row[1], row[2], row[4], row[7]) for row in rows]
        )
        lost = max((s.offset + s.filesz for s in found if s.type == PT_LOAD and s.filesz), default=0) - self.size
        if lost > 0:
            self.problems.append(f"segments: {lost} bytes lie beyond the end of the file")
        return found

    def segment(self, kind: int) -> Segment | None:
        """Return the first program header of a type (PT_*)."""
        for segment in self.segments:
            if segment.type == kind:
                return segment
        return None

    def section(self, name: str) -> Section | None:
        """Return the first section with this name."""
        if self._by_name is None:
            self._by_name = {section.name: section for section in reversed(self.sections or [])}
        return self._by_name.get(name)

    def contents(self, section: Section, limit: int) -> bytes:
        """Return a section's bytes, at most `limit`; none for SHT_NOBITS."""
        if section.type == SHT_NOBITS:
            return b""
        return self.piece(section.offset, min(section.size, limit), f"section {section.name}")

    def _interpreter(self) -> str | None:
        segment = self.segment(PT_INTERP)
        if segment is None or not segment.filesz:
            return None
        raw = self.piece(segment.offset, min(segment.filesz, 4096), "interpreter")
        return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace") or None

    def _dynamic(self) -> dict[int, list[int]]:
        entries: dict[int, list[int]] = {}
        segment = self.segment(PT_DYNAMIC)
        if segment is None:
            return entries
        for section in self.sections or ():
            if section.type == SHT_NOBITS and section.addr == segment.vaddr and section.name == ".dynamic":
                self.problems.append("dynamic segment: not in this file, which holds debug information only")
                return entries
        struct = self.layout.dynamic
        raw = self.piece(segment.offset, min(segment.filesz, MAX_DYNAMIC * struct.size), "dynamic segment")
        for tag, value in struct.iter_unpack(raw[: len(raw) // struct.size * struct.size]):
            if not tag:
                return entries
            entries.setdefault(tag, []).append(value)
        if raw or not segment.filesz:
            self.problems.append("dynamic segment: does not end with DT_NULL")
        return entries

    # What the dynamic segment points at

    def value(self, tag: int) -> int | None:
        """Return a dynamic tag's value, the last one if it is repeated (as the loader takes it)."""
        values = self.dynamic.get(tag)
        return values[-1] if values else None

    @property
    def strings(self) -> str:
        """The dynamic string table."""
        if self._strings is None:
            address, size = self.value(DT_STRTAB), self.value(DT_STRSZ)
            self._strings = (
                ""
                if address is None
                else self._table(
                    self._mapped(address, min(size or 0, MAX_STRINGS), "dynamic strings"), "dynamic strings"
                )
            )
        return self._strings

    def texts(self, tag: int) -> list[str]:
        """Return the strings that the entries of a tag point at; one that cannot be read is noted."""
        found = []
        for offset in self.dynamic.get(tag, ()):
            text = self._name(self.strings, offset)
            if text is None:
                self.problems.append(f"dynamic tag {tag}: no string at {offset:#x}")
                break
            found.append(text)
        return found

    def dynamic_symbols(self) -> Symbols:
        """Return the names in the dynamic symbol table."""
        return self._symbols(self.dynamic_table(), self.strings, "dynamic symbols")

    def dynamic_table(self) -> bytes:
        """Return the dynamic symbol table (Elf32_Sym or Elf64_Sym), cut to what may be read of it."""
        address = self.value(DT_SYMTAB)
        if address is None:
            return b""
        size = self.layout.symbol.size
        return self._mapped(address, min(self._symbol_count(address), MAX_SYMBOLS + 1) * size, "dynamic symbols")

    def relocations(self) -> Iterator[tuple[bool, array[int], array[int], array[int]]]:
        """Yield the dynamic relocations: whether of the PLT, r_offset, r_info, and r_addend (empty in Elf_Rel)."""
        plt = DT_RELA if self.value(DT_PLTREL) == DT_RELA else DT_REL
        for start, length, form in (
            (DT_JMPREL, DT_PLTRELSZ, plt),
            (DT_RELA, DT_RELASZ, DT_RELA),
            (DT_REL, DT_RELSZ, DT_REL),
        ):
            address, size = self.value(start), self.value(length)
            if address is not None and size:
                raw = self._mapped(address, min(size, MAX_STRINGS), "relocations")
                yield start == DT_JMPREL, *self.relocation_columns(raw, form == DT_RELA)

    def relocation_columns(self, raw: bytes, addends: bool) -> tuple[array[int], array[int], array[int]]:
        """Return r_offset, r_info and r_addend (unsigned; empty in Elf_Rel) of a relocation table."""
        fields = 3 if addends else 2
        words = self.words(raw[: len(raw) // fields * fields], self.layout.word)
        whole = len(words) // fields * fields
        return words[:whole:fields], words[1:whole:fields], words[2:whole:fields] if addends else words[:0]

    def section_symbols(self) -> Symbols:
        """Return the names in .symtab, which is where an object or kernel module keeps them."""
        for section in self.sections or ():
            if section.type == SHT_SYMTAB:
                table = self.contents(section, (MAX_SYMBOLS + 1) * self.layout.symbol.size)
                return self._symbols(table, self.symbol_strings(section), "symbols")
        return Symbols([], [])

    def symbol_strings(self, section: Section) -> str:
        """Return the string table of a symbol section."""
        if self.sections is None or section.link >= len(self.sections):
            self.problems.append(f"section {section.name}: no string table")
            return ""
        return self._table(self.contents(self.sections[section.link], MAX_STRINGS), "symbol names")

    def _symbols(self, table: bytes, strings: str, what: str) -> Symbols:
        undefined: dict[str, None] = {}
        defined: dict[str, None] = {}
        find = strings.find
        left, bad, size = self._names_left, 0, self.layout.symbol.size
        if len(table) > MAX_SYMBOLS * size:
            self.problems.append(f"{what}: the first {MAX_SYMBOLS} read")
        for offset, info, index in self.layout.symbol.iter_unpack(table[: min(len(table) // size, MAX_SYMBOLS) * size]):
            if info < 0x10 or not offset:  # STB_LOCAL, or without a name
                continue
            end = find("\0", offset)
            if end < 0:
                bad += 1
                continue
            left -= end - offset
            if left < 0:
                self.problems.append(f"{what}: names are longer than {MAX_NAMES} bytes together")
                break
            if index:
                defined[strings[offset:end]] = None
            else:
                undefined[strings[offset:end]] = None
        if bad:
            self.problems.append(f"{what}: {bad} names lie outside the string table")
        self._names_left = max(left, 0)
        if not strings.isascii():
            return Symbols([_clean(name) for name in undefined if name], [_clean(name) for name in defined if name])
        undefined.pop("", None)
        defined.pop("", None)
        return Symbols(list(undefined), list(defined))

    def _symbol_count(self, symtab: int) -> int:
        """Return the number of dynamic symbols, which the dynamic segment does not state itself."""
        count = self.value(DT_MIPS_SYMTABNO) if self.machine == EM_MIPS else None
        if count is not None:
            return count
        address = self.value(DT_HASH)
        if address is not None:
            # nbucket, nchain; nchain is the number of symbols. s390x and Alpha have 64-bit words here.
            word = 8 if self.wide and self.machine in (EM_S390, EM_ALPHA) else 4
            raw = self._mapped(address, 2 * word, "DT_HASH")
            if len(raw) == 2 * word:
                return int.from_bytes(raw[word:], "little" if self.little else "big")
        for section in self.sections or ():
            if section.type == SHT_DYNSYM and section.addr == symtab:
                return section.size // self.layout.symbol.size
        address = self.value(DT_GNU_HASH)
        hashed, listed = self._gnu_hashed(address) if address is not None else (0, False)
        # Symbols in the hash table come last. If it lists none, only what relocations refer to is known to be there.
        return hashed if listed else max(hashed, self._relocated())

    def _gnu_hashed(self, address: int) -> tuple[int, bool]:
        """Return (end of the symbols that DT_GNU_HASH speaks of, whether it lists any)."""
        found = self.place(address)
        head = self.words(self._mapped(address, 16, "DT_GNU_HASH"), "I")
        if found is None or len(head) < 4:
            return 0, False
        offset, room = found
        buckets, first, bloom = head[0], head[1], head[2]
        start = 16 + bloom * (8 if self.wide else 4)
        chains = start + 4 * buckets
        if chains > min(room, self.size - offset):
            self.problems.append("DT_GNU_HASH: longer than its segment")
            return 0, False
        last = max(self.words(bytes(self.data[offset + start : offset + chains]), "I"), default=0)
        if last < first:
            return first, False
        position = offset + chains + 4 * (last - first)
        while True:
            chain = self.words(bytes(self.data[position : min(position + 4096, offset + room)]), "I")
            for value in chain:
                last += 1
                if value & 1:  # the end of a bucket's chain
                    return last, True
            if len(chain) < 1024:
                self.problems.append("DT_GNU_HASH: its last chain has no end")
                return last, True
            position += 4096

    def _relocated(self) -> int:
        """Return one more than the highest symbol that relocations refer to."""
        highest = -1
        plt = DT_RELA if self.value(DT_PLTREL) == DT_RELA else DT_REL
        for start, length, form in (
            (DT_RELA, DT_RELASZ, DT_RELA),
            (DT_REL, DT_RELSZ, DT_REL),
            (DT_JMPREL, DT_PLTRELSZ, plt),
        ):
            address, size = self.value(start), self.value(length)
            if address is None or not size:
                continue
            fields = 3 if form == DT_RELA else 2
            words = self.words(self._mapped(address, min(size, MAX_STRINGS), "relocations"), self.layout.word)
            information = words[1::fields]  # r_offset, r_info, and r_addend in DT_RELA
            if information:
                highest = max(highest, max(information) >> (32 if self.wide else 8))
        return highest + 1

    def words(self, raw: bytes, code: str) -> array[int]:
        """Return bytes as numbers in the file's byte order: type code I (32 bits) or Q (64 bits)."""
        words = array(code)
        if words.itemsize != (8 if code == "Q" else 4):
            raise AssertionError("array type codes have other sizes here")
        words.frombytes(raw[: len(raw) // words.itemsize * words.itemsize])
        if self.layout.swapped:
            words.byteswap()
        return words

    def versions_needed(self) -> list[str]:
        """Return the symbol versions needed, as library:version, from DT_VERNEED (Elf_Verneed and Elf_Vernaux)."""
        address, count = self.value(DT_VERNEED), self.value(DT_VERNEEDNUM) or 0
        if address is None:
            return []
        raw = self._mapped(address, None, "DT_VERNEED")
        need, aux = Struct(self.order + "2xHIII"), Struct(self.order + "8xII")
        found: list[str] = []
        position = steps = 0
        for _ in range(min(count, MAX_VERSIONS)):
            if position + 16 > len(raw):
                self.problems.append("DT_VERNEED: ends early")
                break
            entries, file, first, following = need.unpack_from(raw, position)
            library = self._name(self.strings, file)
            inner = position + first
            for _ in range(entries):
                steps += 1
                if inner + 16 > len(raw) or steps > MAX_VERSIONS:
                    self.problems.append("DT_VERNEED: ends early")
                    return found
                name_at, more = aux.unpack_from(raw, inner)
                name = self._name(self.strings, name_at)
                if name is not None and library is not None:
                    found.append(f"{library}:{name}")
                if not more:
                    break
                inner += more
            if not following:
                break
            position += following
        return found

    def notes(self) -> Iterator[tuple[bytes, int, bytes]]:
        """Yield (name, type, descriptor) of each note, from segments, or from sections where there are none."""
        places = [(s.offset, s.filesz, s.align) for s in self.segments if s.type == PT_NOTE]
        if not places:
            places = [(s.offset, s.size, 4) for s in self.sections or () if s.type == SHT_NOTE]
        struct = Struct(self.order + "III")
        left = MAX_NOTES
        for offset, size, align in places[:64]:
            raw = self.piece(offset, min(size, left), "notes")
            left -= len(raw)
            step = 8 if align == 8 else 4  # gABI leaves padding open; 8 stands in .note.gnu.property segments
            position = 0
            while position + 12 <= len(raw):
                namesz, descsz, kind = struct.unpack_from(raw, position)
                start = position + 12
                descriptor = -(-(start + namesz) // step) * step
                end = descriptor + descsz
                if end > len(raw):
                    if size <= MAX_NOTES:
                        self.problems.append(f"notes at offset {offset:#x}: an entry is longer than its segment")
                    break
                yield raw[start : start + namesz].rstrip(b"\0"), kind, raw[descriptor:end]
                position = -(-end // step) * step
