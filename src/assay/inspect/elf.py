"""ELF files: what the loader, the linker and the compiler left in them."""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.binary import Elf

from .base import Content, ContentInspector
from .elf_format import (
    DT_BIND_NOW,
    DT_DEBUG,
    DT_FLAGS,
    DT_FLAGS_1,
    DT_NEEDED,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    ET_CORE,
    ET_DYN,
    ET_EXEC,
    ET_REL,
    PF_W,
    PF_X,
    PT_DYNAMIC,
    PT_GNU_RELRO,
    PT_GNU_STACK,
    PT_INTERP,
    PT_LOAD,
    SHT_SYMTAB,
    ElfFile,
    Symbols,
)
from .late import late

TYPES = {1: "REL", 2: "EXEC", 3: "DYN", 4: "CORE"}

# e_machine, in the words that kernels and distributions use for an architecture.
# gABI, "e_machine"; https://www.sco.com/developers/gabi/latest/ch4.eheader.html
MACHINES = {
    2: "sparc",
    3: "i386",
    4: "m68k",
    8: "mips",
    10: "mips_rs3_le",
    15: "parisc",
    18: "sparc32plus",
    20: "ppc",
    21: "ppc64",
    22: "s390",
    40: "arm",
    42: "sh",
    43: "sparcv9",
    44: "tricore",
    45: "arc",
    50: "ia64",
    58: "starcore",
    62: "x86_64",
    75: "vax",
    76: "cris",
    83: "avr",
    88: "m32r",
    92: "openrisc",
    93: "arc_compact",
    94: "xtensa",
    106: "blackfin",
    113: "nios2",
    140: "ti_c6000",
    164: "hexagon",
    167: "nds32",
    183: "aarch64",
    185: "avr32",
    187: "tile64",
    188: "tilepro",
    189: "microblaze",
    191: "tilegx",
    195: "arcv2",
    224: "amdgpu",
    243: "riscv",
    247: "bpf",
    252: "csky",
    258: "loongarch",
    0x9026: "alpha",
}

# Without PT_GNU_STACK the kernel falls back to the architecture's default: an executable stack where executables older
# than that header needed it (Linux elf_read_implies_exec; for x86-64 until 5.8), but not on these.
STACK_NEVER_EXECUTABLE = {21, 50, 183, 243, 258}

DF_BIND_NOW = 0x8
DF_1_NOW, DF_1_PIE = 0x1, 0x0800_0000

# GCC and Clang (__stack_chk_*), the Intel compiler (__intel_*).
CANARIES = ("__stack_chk_fail", "__stack_chk_guard", "__stack_chk_fail_local", "__intel_security_cookie")

# The C libraries by DT_SONAME: glibc, Bionic and musl, musl in Alpine, uClibc.
LIBC = late(r"libc\.so(\.\d+)?|libc\.musl-.*|ld-musl-.*|libuClibc.*|ld-uClibc.*")

# Functions for which glibc has a checked variant __NAME_chk: directory debug/ and the headers bits/*2.h, as of 2.42.
# open, openat and mq_open (variants __NAME_2) are left out: a compiler that sees constant flags calls the plain one.
FORTIFIED_NAMES = """
memcpy memmove mempcpy memset explicit_bzero strcpy stpcpy strncpy stpncpy strcat strncat strlcpy strlcat
wmemcpy wmemmove wmempcpy wmemset wcscpy wcpcpy wcsncpy wcpncpy wcscat wcsncat wcslcpy wcslcat
sprintf snprintf vsprintf vsnprintf printf fprintf vprintf vfprintf dprintf vdprintf asprintf vasprintf
obstack_printf obstack_vprintf swprintf vswprintf wprintf fwprintf vwprintf vfwprintf syslog vsyslog
gets fgets fgets_unlocked fgetws fgetws_unlocked fread fread_unlocked read pread pread64 recv recvfrom
readlink readlinkat getcwd getwd realpath confstr getgroups ttyname_r ptsname_r getlogin_r gethostname
getdomainname mbstowcs wcstombs mbsrtowcs wcsrtombs mbsnrtowcs wcsnrtombs wcrtomb wctomb
poll ppoll longjmp _longjmp siglongjmp inet_ntop inet_pton
"""
FORTIFIED = frozenset(FORTIFIED_NAMES.split())
CHECKED = frozenset({f"__{name}_chk" for name in FORTIFIED} | {"__fdelt_chk"})  # FD_SET has no plain function

RUST = late(rb"/rustc/[0-9a-f]{40}(?=/)")
GO_MAGIC = b"\xff Go buildinf:"


def inspect(content: Content) -> Iterator[Elf]:
    """Yield one `Elf` fact.

    Raises:
        UnpackError: the ELF header itself cannot be read.
    """
    elf = ElfFile(content.data)
    loadable = elf.type in (ET_EXEC, ET_DYN)
    soname = next(iter(elf.texts(DT_SONAME)), None)
    rpath, runpath = next(iter(elf.texts(DT_RPATH)), None), next(iter(elf.texts(DT_RUNPATH)), None)
    needed = elf.texts(DT_NEEDED)
    versions = elf.versions_needed()
    # Symbols come last: a table made to use up what names may take must not hide the rest.
    symbols = elf.section_symbols() if elf.type == ET_REL else elf.dynamic_symbols()
    role = _role(elf, symbols, soname)
    checked, unchecked = _fortify(elf, symbols, needed, versions)
    stack = elf.segment(PT_GNU_STACK)
    build_id, compiler = _origin(elf, content)
    named = None if elf.sections is None else [section.name for section in elf.sections]
    dynamic = elf.segment(PT_DYNAMIC) is not None
    yield Elf(
        bits=64 if elf.wide else 32,
        endian="little" if elf.little else "big",
        machine=MACHINES.get(elf.machine, f"EM_{elf.machine}"),
        type=TYPES.get(elf.type, f"ET_{elf.type}"),
        role=role,
        osabi=elf.osabi,
        static=_static(elf, role, dynamic),
        pie=elf.type == ET_DYN if role == "executable" else None,
        nx=_nx(elf.machine, stack.flags if stack else None) if loadable and elf.segments else None,
        relro=_relro(elf, dynamic) if loadable and elf.segments else None,
        canary=_canary(elf, symbols, needed),
        fortify_checked=checked,
        fortify_unchecked=unchecked,
        rpath=rpath,
        runpath=runpath,
        stripped=None if elf.sections is None else all(s.type != SHT_SYMTAB for s in elf.sections),
        sections=elf.sections is not None,
        debug=bool(named) and any(name.startswith((".debug_", ".zdebug_")) for name in named or ()),
        build_id=build_id,
        interpreter=elf.interpreter,
        soname=soname,
        needed=needed,
        imports=symbols.undefined,
        exports=symbols.defined,
        versions=versions,
        compiler=compiler,
        problems=list(dict.fromkeys(elf.problems)),
    )


def _role(elf: ElfFile, symbols: Symbols, soname: str | None) -> str:
    if elf.type == ET_CORE:
        return "core"
    if elf.type == ET_REL:
        module = elf.section(".modinfo") or elf.section(".gnu.linkonce.this_module")
        return "module" if module or "__this_module" in symbols.defined else "object"
    if elf.type == ET_DYN and not (elf.value(DT_FLAGS_1) or 0) & DF_1_PIE:
        # Linkers give DT_DEBUG and an interpreter to executables only; libc.so.6, which can be run, has a soname.
        if soname is None and (elf.segment(PT_INTERP) or DT_DEBUG in elf.dynamic):
            return "executable"
        return "library"
    return "executable"


def _static(elf: ElfFile, role: str, dynamic: bool) -> bool | None:
    if role != "executable":
        return None
    if elf.segment(PT_INTERP) or elf.dynamic.get(DT_NEEDED):
        return False
    # A static position-independent executable has a dynamic segment, to relocate itself.
    return None if not elf.segments or (dynamic and not elf.dynamic) else True


def _nx(machine: int, flags: int | None) -> bool | None:
    if flags is not None:
        return not flags & PF_X
    return None if machine in STACK_NEVER_EXECUTABLE else False


def _relro(elf: ElfFile, dynamic: bool) -> str | None:
    if elf.segment(PT_GNU_RELRO) is None:
        return "none" if dynamic else None
    now = (
        DT_BIND_NOW in elf.dynamic
        or (elf.value(DT_FLAGS) or 0) & DF_BIND_NOW
        or (elf.value(DT_FLAGS_1) or 0) & DF_1_NOW
    )
    if not now and dynamic and not elf.dynamic:
        return None  # the segment is there but could not be read
    return "full" if now else "partial"


def _canary(elf: ElfFile, symbols: Symbols, needed: list[str]) -> bool | None:
    if any(name in CANARIES for name in symbols.undefined):
        return True
    if elf.type == ET_EXEC and not elf.dynamic:
        for section in elf.sections or ():
            if section.type == SHT_SYMTAB:
                names = "\0" + elf.symbol_strings(section)
                return any(f"\0{name}\0" in names for name in CANARIES) or None
    # A library that defines the symbol does not show whether its own code uses it.
    defines = any(name in CANARIES for name in symbols.defined)
    return False if not defines and any(LIBC.fullmatch(name) for name in needed) else None


def _fortify(elf: ElfFile, symbols: Symbols, needed: list[str], versions: list[str]) -> tuple[int | None, int | None]:
    """Count checked and unchecked imports; (None, None) for what is not linked against glibc, which alone has them."""
    if elf.type == ET_REL or not ("libc.so.6" in needed or any(":GLIBC_" in version for version in versions)):
        return None, None
    imports = set(symbols.undefined)
    return len(imports & CHECKED), len(imports & FORTIFIED)


def _origin(elf: ElfFile, content: Content) -> tuple[str | None, list[str]]:
    """Return (build id, texts of the compilers)."""
    build_id = None
    go = False
    if elf.type != ET_CORE:
        for name, kind, descriptor in elf.notes():
            if kind == 3 and name == b"GNU" and build_id is None:  # NT_GNU_BUILD_ID
                build_id = descriptor.hex()
            elif kind == 4 and name == b"Go":
                go = True
    texts: dict[str, None] = {}
    comment = elf.section(".comment")
    if comment:
        for text in elf.contents(comment, 1 << 16).split(b"\0"):
            if text:
                texts[text.decode("utf-8", "backslashreplace")] = None
    version = _go_version(elf, content)
    if version or go:
        texts[version or "Go"] = None
    if elf.type in (ET_EXEC, ET_DYN) and not any(text.startswith("rustc ") for text in texts):
        # String literals, and the paths among them, are in .rodata; without sections, anywhere.
        rodata = elf.section(".rodata")
        place = (rodata.offset, rodata.offset + rodata.size) if rodata else (0, content.size)
        found = RUST.search(memoryview(content.data)[slice(*place)])
        if found:
            texts[found.group().decode()] = None
    return build_id, list(texts)


def _go_version(elf: ElfFile, content: Content) -> str | None:
    """Return the Go version from the build information: the text itself since Go 1.18, "Go" for the older form.

    Source: Go, debug/buildinfo. Flag 2 in byte 15 means that length-prefixed strings follow at byte 32.
    """
    section = elf.section(".go.buildinfo")
    if section:
        start, room = section.offset, section.size
    elif elf.sections is None:
        data = next((s for s in elf.segments if s.type == PT_LOAD and s.flags & (PF_W | PF_X) == PF_W), None)
        if data is None:
            return None
        start, room = data.offset, data.filesz
    else:
        return None
    raw = bytes(content.data[start : start + min(room, 1 << 16)])
    at = raw.find(GO_MAGIC)
    if at < 0:
        return None
    if len(raw) > at + 33 and raw[at + 15] & 2:
        length = raw[at + 32]
        text = raw[at + 33 : at + 33 + length]
        if length < 0x80 and len(text) == length and text.isascii():
            return text.decode() or "Go"
    return "Go"


INSPECTOR = ContentInspector(
    name="elf",
    version=1,
    families=(Elf,),
    inspect=inspect,
    head_begins=(b"\x7fELF",),
    wants_head=lambda head: head[:4] == b"\x7fELF",
    containers=True,  # a self-extracting program is still a program
)
