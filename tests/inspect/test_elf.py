"""ELF facts: real binaries by the machine's compiler, own minimal files for other architectures, LIEF as oracle."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from assay.facts.binary import Elf
from assay.inspect.base import Content
from assay.inspect.elf import INSPECTOR
from assay.unpack.base import UnpackError
from tests.support.hostile import mangled

GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="needs gcc")

SOURCE = r"""
#include <stdio.h>
#include <string.h>
int entry(const char *from) { char to[64]; strcpy(to, from); return printf("%s\n%d\n", to, to[9]); }
int main(int count, char **words) { return entry(words[count - 1]); }
"""


def elf(data: bytes) -> Elf:
    assert INSPECTOR.wants_head is not None
    assert INSPECTOR.wants_head(data[:4096])
    (fact,) = INSPECTOR.inspect(Content(data, data[:4096], "elf"))
    assert isinstance(fact, Elf)
    return fact


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if GCC is None:
        pytest.skip("needs gcc")
    place = tmp_path_factory.mktemp("elf")
    (place / "a.c").write_text(SOURCE)
    made: dict[tuple[str, ...], bytes] = {}

    def run(*options: str) -> bytes:
        if options not in made:
            done = subprocess.run([GCC, "-w", "-o", "a.out", "a.c", *options], cwd=place, capture_output=True)
            if done.returncode:
                pytest.skip(f"gcc cannot build with {options}: {done.stderr.decode()[:200]}")
            made[options] = (place / "a.out").read_bytes()
        return made[options]

    return run


def without_sections(data: bytes) -> bytes:
    """Take the section headers away, as vendors' strippers do: e_shoff, e_shnum and e_shstrndx become 0."""
    broken = bytearray(data)
    if data[4] == 2:
        broken[0x28:0x30] = bytes(8)
        broken[0x3C:0x40] = bytes(4)
    else:
        broken[0x20:0x24] = bytes(4)
        broken[0x30:0x34] = bytes(4)
    return bytes(broken)


HARD = ("-O2", "-fstack-protector-all", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-pie", "-fPIE")
HARD += ("-Wl,-z,relro,-z,now", "-Wl,--build-id=0x00112233", "-Wl,-rpath,/opt/lib,--enable-new-dtags")
SOFT = ("-O1", "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-no-pie", "-z", "norelro", "-z", "execstack")
SOFT += ("-Wl,-rpath,/opt/old,--disable-new-dtags", "-Wl,--build-id=none")


def columns(fact: Elf, *names: str) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in names}


@needs_gcc
def test_hardened(build: Any) -> None:
    fact = elf(build(*HARD))
    assert columns(fact, "type", "role", "static", "pie", "nx", "relro", "canary", "rpath", "runpath", "soname") == {
        "type": "DYN",
        "role": "executable",
        "static": False,
        "pie": True,
        "nx": True,
        "relro": "full",
        "canary": True,
        "rpath": None,
        "runpath": "/opt/lib",
        "soname": None,
    }
    assert fact.needed == ["libc.so.6"]
    assert fact.build_id == "00112233"
    assert {"__strcpy_chk", "__printf_chk", "__stack_chk_fail"} <= set(fact.imports)
    assert (fact.fortify_checked, fact.fortify_unchecked) == (2, 0)
    assert (fact.sections, fact.stripped, fact.debug) == (True, False, False)
    assert fact.interpreter is not None
    assert any(text.startswith("GCC: ") for text in fact.compiler)
    assert fact.problems == []


@needs_gcc
def test_soft(build: Any) -> None:
    fact = elf(build(*SOFT))
    assert columns(fact, "type", "role", "pie", "nx", "relro", "canary", "rpath", "runpath", "build_id") == {
        "type": "EXEC",
        "role": "executable",
        "pie": False,
        "nx": False,
        "relro": "none",
        "canary": False,
        "rpath": "/opt/old",
        "runpath": None,
        "build_id": None,
    }
    assert (fact.fortify_checked, fact.fortify_unchecked) == (0, 2)
    assert elf(build(*SOFT, "-g")).debug is True
    assert elf(build(*SOFT, "-s")).stripped is True


@needs_gcc
def test_lazy_binding_is_partial_relro(build: Any) -> None:
    assert elf(build("-Wl,-z,relro,-z,lazy")).relro == "partial"


@needs_gcc
def test_static(build: Any) -> None:
    fact = elf(build("-static", "-no-pie", "-fstack-protector-all"))
    assert columns(fact, "static", "pie", "canary", "imports", "needed", "fortify_checked") == {
        "static": True,
        "pie": False,
        "canary": True,
        "imports": [],
        "needed": [],
        "fortify_checked": None,
    }
    assert elf(build("-static", "-no-pie", "-fstack-protector-all", "-s")).canary is None


@needs_gcc
def test_static_pie(build: Any) -> None:
    assert columns(elf(build("-static-pie")), "role", "static", "pie") == {
        "role": "executable",
        "static": True,
        "pie": True,
    }


@needs_gcc
def test_library(build: Any) -> None:
    fact = elf(build("-shared", "-fPIC", "-Wl,-soname,libthing.so.1"))
    assert columns(fact, "role", "static", "pie", "soname") == {
        "role": "library",
        "static": None,
        "pie": None,
        "soname": "libthing.so.1",
    }
    assert {"entry", "main"} <= set(fact.exports)


@needs_gcc
def test_object(build: Any) -> None:
    fact = elf(build("-c", "-O1", "-fno-stack-protector"))
    assert columns(fact, "type", "role", "static", "pie", "nx", "relro", "canary") == {
        "type": "REL",
        "role": "object",
        "static": None,
        "pie": None,
        "nx": None,
        "relro": None,
        "canary": None,
    }
    assert sorted(fact.exports) == ["entry", "main"]
    assert "strcpy" in fact.imports


@needs_gcc
def test_module(tmp_path: Path) -> None:
    (tmp_path / "m.c").write_text('__attribute__((section(".modinfo"))) const char a[] = "license=GPL"; int printk();')
    subprocess.run(["gcc", "-c", "m.c", "-o", "m.ko"], cwd=tmp_path, check=True)
    assert elf((tmp_path / "m.ko").read_bytes()).role == "module"


@needs_gcc
@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
@pytest.mark.parametrize("options", [HARD, SOFT, ("-shared", "-fPIC", "-Wl,-z,lazy")])
def test_nothing_the_loader_uses_is_lost_without_sections(build: Any, options: tuple[str, ...], style: str) -> None:
    data = build(*options, f"-Wl,--hash-style={style}")
    whole, bare = elf(data), elf(without_sections(data))
    told_by_sections = {"sections", "stripped", "compiler"}
    for name in set(Elf.__struct_fields__) - told_by_sections:
        assert getattr(bare, name) == getattr(whole, name), name
    assert (bare.sections, bare.stripped, bare.problems) == (False, None, [])


def test_real_files_agree_with_lief() -> None:
    lief = pytest.importorskip("lief")
    lief.logging.disable()
    paths = []
    for place in ("/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/sbin"):
        for path in sorted(Path(place).glob("*"))[:: 7 if place == "/usr/bin" else 11]:
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 2_000_000:
                with path.open("rb") as file:
                    if file.read(4) == b"\x7fELF":
                        paths.append(path)
    if not paths:
        pytest.skip("needs ELF files in /usr")
    for path in paths[:60]:
        data = path.read_bytes()
        for ours in (elf(data), elf(without_sections(data))):
            if ours.type not in ("EXEC", "DYN"):
                continue
            assert _ours(ours) == _theirs(lief, data), path


def _ours(fact: Elf) -> dict[str, Any]:
    return {
        "needed": fact.needed,
        "imports": set(fact.imports),
        "exports": set(fact.exports),
        "versions": sorted(fact.versions),
        "nx": bool(fact.nx),
        "pie": bool(fact.pie),
        "relro": fact.relro or "none",
        "canary": bool(fact.canary),
        "interpreter": fact.interpreter,
        "soname": fact.soname,
        "problems": fact.problems,
    }


def _theirs(lief: Any, data: bytes) -> dict[str, Any]:
    binary = lief.ELF.parse(list(data))
    tag = lief.ELF.DynamicEntry.TAG
    visible = [s for s in binary.dynamic_symbols if s.name and s.binding != lief.ELF.Symbol.BINDING.LOCAL]
    imports = {str(s.name) for s in visible if s.shndx == 0}
    flags, flags_1 = binary.get(tag.FLAGS), binary.get(tag.FLAGS_1)
    now = (binary.get(tag.BIND_NOW), flags and flags.value & 8, flags_1 and flags_1.value & 1)
    relro = "none" if not binary.has(lief.ELF.Segment.TYPE.GNU_RELRO) else "full" if any(now) else "partial"
    soname = binary.get(tag.SONAME)
    return {
        "needed": [str(name) for name in binary.libraries],
        "imports": imports,
        "exports": {str(s.name) for s in visible if s.shndx != 0},
        "versions": sorted(
            f"{need.name}:{version.name}"
            for need in binary.symbols_version_requirement
            for version in need.get_auxiliary_symbols()
        ),
        "nx": binary.has_nx,
        "pie": binary.is_pie and soname is None,
        "relro": relro,
        "canary": bool(imports & {"__stack_chk_fail", "__stack_chk_guard"}),
        "interpreter": str(binary.interpreter) if binary.has_interpreter else None,
        "soname": str(soname.name) if soname else None,
        "problems": [],
    }


def minimal(wide: bool, order: str, machine: int, *, stack: int | None = 6, hashed: bool = True) -> bytes:
    """Make a dynamic executable that has no section headers.

    Args:
        wide: 64-bit.
        order: '<' or '>'.
        machine: e_machine.
        stack: flags of PT_GNU_STACK; None for no such header.
        hashed: give a DT_HASH; else MIPS has DT_MIPS_SYMTABNO only.
    """
    base, word = 0x10000, "Q" if wide else "I"
    strings = b"\0libc.so.0\0strcpy\0__stack_chk_fail\0run\0local\0"
    symbols = [(0, 0, 0), (11, 0x12, 0), (18, 0x22, 0), (35, 0x12, 5), (39, 0x02, 5)]
    symtab = b"".join(
        struct.pack(order + ("IBBHQQ" if wide else "IIIBBH"), *((n, i, 0, x, 0, 0) if wide else (n, 0, 0, i, 0, x)))
        for n, i, x in symbols
    )
    headers = 3 if stack is not None else 2
    start = (64 + 56 * headers) if wide else (52 + 32 * headers)
    at_symbols = start + len(strings) + (-(start + len(strings)) % 8)
    at_hash = at_symbols + len(symtab)
    table = struct.pack(order + "II", 1, len(symbols)) + struct.pack(order + "6I", 1, *range(len(symbols)))
    at_dynamic = at_hash + len(table) + (-(at_hash + len(table)) % 8)
    entries = [(1, 1), (5, base + start), (10, len(strings)), (6, base + at_symbols), (24, 0)]
    entries += [(4, base + at_hash)] if hashed else [(0x70000011, len(symbols))]
    dynamic = b"".join(struct.pack(order + 2 * word, *entry) for entry in [*entries, (0, 0)])
    size = at_dynamic + len(dynamic)

    def segment(kind: int, flags: int, offset: int, length: int) -> bytes:
        if wide:
            row = (kind, flags, offset, base + offset, base + offset, length, length, 8)
            return struct.pack(order + "IIQQQQQQ", *row)
        row = (kind, offset, base + offset, base + offset, length, length, flags, 4)
        return struct.pack(order + "8I", *row)

    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    head = ident + struct.pack(
        order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"),
        *(2, machine, 1, base, 64 if wide else 52, 0, 0, 64 if wide else 52, 56 if wide else 32, headers, 0, 0, 0),
    )
    head += segment(1, 5, 0, size) + segment(2, 6, at_dynamic, len(dynamic))
    if stack is not None:
        head += segment(0x6474E551, stack, 0, 0)
    out = (head + strings).ljust(at_symbols, b"\0") + symtab + table
    return out.ljust(at_dynamic, b"\0") + dynamic


@pytest.mark.parametrize(
    ("wide", "order", "machine", "name", "hashed"),
    [
        (False, ">", 8, "mips", True),
        (False, "<", 8, "mips", False),
        (False, ">", 20, "ppc", True),
        (True, ">", 21, "ppc64", True),
        (False, "<", 40, "arm", True),
        (True, "<", 183, "aarch64", True),
        (True, ">", 60000, "EM_60000", True),
    ],
)
def test_other_architectures(wide: bool, order: str, machine: int, name: str, hashed: bool) -> None:
    assert elf(minimal(wide, order, machine, hashed=hashed)) == Elf(
        bits=64 if wide else 32,
        endian="little" if order == "<" else "big",
        machine=name,
        type="EXEC",
        role="executable",
        osabi=0,
        static=False,
        pie=False,
        nx=True,
        relro="none",
        canary=True,
        needed=["libc.so.0"],
        imports=["strcpy", "__stack_chk_fail"],
        exports=["run"],
    )


def test_absent_stack_header_is_the_default_of_the_architecture() -> None:
    assert elf(minimal(False, ">", 8, stack=None)).nx is False
    assert elf(minimal(False, "<", 3, stack=7)).nx is False
    assert elf(minimal(True, "<", 183, stack=None)).nx is None


def test_truncated_files_keep_what_can_be_read() -> None:
    data = minimal(True, "<", 62)
    for length in range(64, len(data)):
        fact = elf(data[:length])
        assert fact.machine == "x86_64"
        assert fact.problems
    for length in range(4, 64):
        with pytest.raises(UnpackError):
            elf(data[:length])


def test_go_build_information() -> None:
    data = minimal(True, "<", 62)
    info = b"\xff Go buildinf:\x08\x02" + bytes(16) + b"\x08go1.22.1"
    writable = bytearray(data + info)
    writable[64 + 56 + 4] = 6  # the PT_DYNAMIC header becomes a writable PT_LOAD over the end
    writable[64 + 56] = 1
    writable[64 + 56 + 8 : 64 + 56 + 16] = len(data).to_bytes(8, "little")
    writable[64 + 56 + 32 : 64 + 56 + 40] = len(info).to_bytes(8, "little")
    fact = elf(bytes(writable))
    assert (fact.compiler, fact.canary) == (["go1.22.1"], None)


def test_rust_without_sections() -> None:
    data = minimal(True, "<", 62) + b"\0/rustc/" + b"0a" * 20 + b"/library/core/src/fmt/mod.rs\0"
    assert elf(data).compiler == ["/rustc/" + "0a" * 20]


@needs_gcc
def test_hostile_bytes_give_facts_in_bounded_time(build: Any) -> None:
    whole = build(*HARD)
    variants = [
        *mangled(whole, count=300, hot=range(0, 0x1000)),
        *mangled(without_sections(whole), seed=2, count=300, hot=range(0, 0x1000)),
        *mangled(minimal(False, ">", 8), seed=3, count=600),
    ]
    for data in variants:
        begun = time.process_time()
        try:
            list(INSPECTOR.inspect(Content(data, data[:4096], "elf")))
        except UnpackError:
            assert len(data) < 64 or data[:4] != b"\x7fELF" or data[4] not in (1, 2) or data[5] not in (1, 2)
        assert time.process_time() - begun < 1


def test_tables_that_name_one_long_string_are_bounded() -> None:
    """A million symbols, each with the same name of a megabyte, would be a terabyte of text."""
    data = bytearray(minimal(True, "<", 62))
    count = 1 << 18
    strings = b"\0" + b"A" * (1 << 20) + b"\0"
    symtab = struct.pack("<IBBHQQ", 1, 0x12, 0, 0, 0, 0) * count
    grown = bytes(data) + strings + symtab
    patched = bytearray(grown)
    size = len(grown)
    patched[64 + 32 : 64 + 48] = struct.pack("<QQ", size, size)  # PT_LOAD covers all
    at = data.rindex(struct.pack("<QQ", 24, 0)) - 4 * 16
    table = [(1, 1), (5, 0x10000 + len(data)), (10, len(strings)), (6, 0x10000 + len(data) + len(strings)), (24, 0)]
    for number, entry in enumerate(table):
        patched[at + 16 * number : at + 16 * number + 16] = struct.pack("<QQ", *entry)
    hash_at = data.rindex(struct.pack("<II", 1, 5))
    patched[hash_at + 4 : hash_at + 8] = struct.pack("<I", count)
    begun = time.process_time()
    fact = elf(bytes(patched))
    assert time.process_time() - begun < 2
    assert fact.problems == ["dynamic symbols: names are longer than 67108864 bytes together"]
