"""Executable code: what the ELF headers and the dynamic segment state."""

from typing import Annotated, ClassVar

from .base import ContentFact, doc


class Elf(ContentFact, frozen=True, kw_only=True, array_like=True):
    """An ELF file, read from program headers and PT_DYNAMIC; section headers only where they exist."""

    source: ClassVar = "System V ABI, chapters 4 and 5; GNU extensions PT_GNU_STACK, PT_GNU_RELRO, DT_FLAGS_1"

    bits: Annotated[int, doc("32 or 64", unit="bits")]
    endian: Annotated[str, doc("little or big")]
    machine: Annotated[str, doc("architecture as in EM_*: x86_64, aarch64, arm, mips, ppc, ...; or EM_number")]
    type: Annotated[str, doc("REL, EXEC, DYN, CORE")]
    role: Annotated[str, doc("executable, library, module (kernel), object, core")]
    osabi: Annotated[int, doc("EI_OSABI")]
    static: Annotated[
        bool | None, doc("executable without interpreter and needed libraries (static-pie too); empty for others")
    ] = None
    pie: Annotated[bool | None, doc("position-independent executable; empty for libraries and objects")] = None
    nx: Annotated[bool | None, doc("PT_GNU_STACK present and not executable; empty for objects")] = None
    relro: Annotated[
        str | None, doc("none, partial, full; empty for objects and statically linked files without segments")
    ] = None
    canary: Annotated[
        bool | None,
        doc("refers to __stack_chk_fail or __stack_chk_guard; empty if symbols cannot show it (static, no libc)"),
    ] = None
    fortify_checked: Annotated[int | None, doc("imported functions that are checked variants (*_chk)")] = None
    fortify_unchecked: Annotated[
        int | None, doc("imported functions that have a checked variant which was not used")
    ] = None
    rpath: Annotated[str | None, doc("DT_RPATH")] = None
    runpath: Annotated[str | None, doc("DT_RUNPATH")] = None
    stripped: Annotated[bool | None, doc("no .symtab; empty if there are no section headers to tell")] = None
    sections: Annotated[bool, doc("has readable section headers")] = False
    debug: Annotated[bool, doc("carries .debug_* or .zdebug_* sections")] = False
    build_id: Annotated[str | None, doc("NT_GNU_BUILD_ID, hexadecimal")] = None
    interpreter: Annotated[str | None, doc("PT_INTERP")] = None
    soname: Annotated[str | None, doc("DT_SONAME")] = None
    needed: Annotated[list[str], doc("DT_NEEDED, as JSON array")] = []
    imports: Annotated[list[str], doc("undefined dynamic symbols, as JSON array; rows in view symbol")] = []
    exports: Annotated[list[str], doc("defined global dynamic symbols, as JSON array; rows in view symbol")] = []
    versions: Annotated[list[str], doc("symbol versions needed, as library:version, JSON array")] = []
    compiler: Annotated[list[str], doc("distinct texts of .comment and of Go or Rust build notes, as JSON array")] = []
    problems: Annotated[list[str], doc("parts that could not be read, one line each, as JSON array")] = []
