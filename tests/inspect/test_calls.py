"""Call sites: counts against objdump, on what the machine's compiler makes and on its own programs."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.facts.code import CallSites
from assay.inspect.calls import INSPECTOR
from assay.inspect.calls_tables import classify, is_annex_k
from assay.inspect.elf_program import program
from assay.unpack.base import LimitReached, UnpackError
from tests.inspect.test_elf import without_sections
from tests.support.hostile import mangled
from tests.support.memory_tree import inspect

GCC, OBJDUMP = shutil.which("gcc"), shutil.which("objdump")
needs_tools = pytest.mark.skipif(GCC is None or OBJDUMP is None, reason="needs gcc and objdump")

SOURCE = r"""
#include <stdio.h>
#include <string.h>
#include <stdarg.h>
#include <stdlib.h>
char big[4096];
__attribute__((noinline)) int memcpy_s(void *to, size_t room, const void *from, size_t n)
{ if (n > room) return 1; memcpy(to, from, n); return 0; }
__attribute__((noinline)) char *VOS_StrCpy(char *to, const char *from) { return strcpy(to, from); }
char *tail(char *to, const char *from) { return strcat(to, from); }
char *maybe(char *to, const char *from, int n) { if (n > 7) return strncpy(to, from, n); return to; }
int main(int count, char **words) {
    sprintf(big, "%s-%s", words[0], words[1]);
    snprintf(big + 99, count, "%s", words[2]);
    strcpy(big, words[1]); strcpy(big + 5, words[2]); VOS_StrCpy(big, words[3]);
    memmove(big, big + count, count); memcpy(big, words[1], count);
    memcpy_s(big, 9, words[0], count); memcpy_s(big, 8, words[1], count); memcpy_s(big, 7, words[2], count);
    sscanf(words[1], "%s", big); fgets(big, 9, stdin);
    return puts(tail(big, maybe(big, words[4], count))[0] ? big : words[0]);
}
"""


def sites(data: bytes) -> dict[str, int | None]:
    return {fact.function: fact.sites for fact in facts(data)}


def facts(data: bytes) -> list[CallSites]:
    found = inspect(INSPECTOR, data)
    assert all(isinstance(fact, CallSites) for fact in found)
    return found  # type: ignore[return-value]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("calls")
    (place / "a.c").write_text(SOURCE)
    made: dict[tuple[str, ...], Path] = {}

    def run(*options: str, compiler: str = "gcc") -> Path:
        if shutil.which(compiler) is None:
            pytest.skip(f"needs {compiler}")
        key = (compiler, *options)
        if key not in made:
            target = place / f"{len(made)}.out"
            done = subprocess.run([compiler, "-w", "-o", target, "a.c", *options], cwd=place, capture_output=True)
            if done.returncode:
                pytest.skip(f"{compiler} cannot build with {options}: {done.stderr.decode()[:200]}")
            made[key] = target
        return made[key]

    return run


INSTRUCTION = re.compile(
    r"^ *[0-9a-f]+:\t(?:bnd |addr32 |notrack )*(call|jmp|j[a-z]+) +"
    r"(?:[0-9a-f]+ <([^>@+]+)(?:@[^>+]*)?>|\*0x[0-9a-f]+\(%rip\) +# [0-9a-f]+ <([^>@+]+)(?:@[^>+]*)?>)"
)


def objdump(path: Path) -> Counter[str]:
    """Count calls and jumps as objdump names them; jumps of a function to its own start are loops."""
    out = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True)
    counted: Counter[str] = Counter()
    stubs, function = False, ""
    for line in out.stdout.splitlines():
        if line.startswith("Disassembly"):
            stubs = ".plt" in line
        elif line.endswith(">:"):
            function = line.split("<", 1)[1][:-2]
        elif not stubs and (match := INSTRUCTION.match(line)):
            name = match[2] or match[3]
            if classify(name) and name != function:
                counted[name] += 1
    return counted


OPTIONS = [
    ("-O0",),
    ("-O2",),
    ("-O2", "-D_FORTIFY_SOURCE=2"),
    ("-Os", "-no-pie", "-fcf-protection=none"),
    ("-O2", "-fno-plt"),
    ("-O2", "-fno-plt", "-no-pie"),
    ("-O2", "-fcf-protection", "-Wl,-z,ibtplt"),
    ("-O2", "-Wl,-z,now"),
    ("-O2", "-Wl,-z,lazy"),
    ("-O2", "-shared", "-fPIC"),
    ("-O2", "-fno-builtin", "-Wl,--hash-style=sysv", "-Wl,-z,noseparate-code"),
]


@needs_tools
@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_counts_are_those_of_objdump(build: Any, options: tuple[str, ...]) -> None:
    path = build(*options)
    expected = objdump(path)
    assert sum(expected.values()) > 8
    found = {name: count for name, count in sites(path.read_bytes()).items() if count}
    assert found == dict(expected)


@needs_tools
@pytest.mark.parametrize("options", OPTIONS[:-1], ids=" ".join)
def test_imports_need_no_section_headers(build: Any, options: tuple[str, ...]) -> None:
    data = build(*options).read_bytes()
    whole = {fact.function: fact.sites for fact in facts(data) if fact.imported}
    assert {fact.function: fact.sites for fact in facts(without_sections(data)) if fact.imported} == whole


@needs_tools
def test_whole_facts(build: Any) -> None:
    data = build("-O0", "-fno-builtin").read_bytes()
    found = [
        (f.function, f.family, f.variant, f.sites, f.imported, f.method)
        for f in facts(data)
    ]  # fmt: skip
    prefix = "__isoc99_" if "__isoc99_sscanf" in {f[0] for f in found} else "__isoc23_"
    assert found == [
        ("VOS_StrCpy", "strcpy", "unbounded", 1, False, "symbol"),
        (f"{prefix}sscanf", "scanf", "unbounded", 1, True, "plt"),
        ("fgets", "gets", "bounded", 1, True, "plt"),
        ("memcpy", "memcpy", "bounded", 2, True, "plt"),
        ("memcpy_s", "memcpy", "safe", 3, False, "symbol"),
        ("memmove", "memcpy", "bounded", 1, True, "plt"),
        ("snprintf", "sprintf", "bounded", 1, True, "plt"),
        ("sprintf", "sprintf", "unbounded", 1, True, "plt"),
        ("strcat", "strcat", "unbounded", 1, True, "plt"),
        ("strcpy", "strcpy", "unbounded", 3, True, "plt"),
        ("strncpy", "strcpy", "bounded", 1, True, "plt"),
    ]
    for fact in facts(data):
        assert fact.offset is not None
        assert data[fact.offset] in (0xE8, 0xE9)


@needs_tools
def test_objects_are_counted_by_relocations(build: Any) -> None:
    plain = ("-O0", "-fno-builtin")
    for options in (plain, (*plain, "-fno-plt", "-fPIC"), (*plain, "-mcmodel=kernel", "-fno-pic")):
        found = facts(build("-c", *options).read_bytes())
        assert {f.function: f.sites for f in found if f.imported} == {
            f.function: f.sites for f in facts(build(*plain).read_bytes()) if f.imported
        }
        assert {f.method for f in found if f.sites} == {"relocation"}


@needs_tools
def test_static_binaries_with_symbols(build: Any) -> None:
    path = build("-static", "-O1")
    found = sites(path.read_bytes())
    expected = objdump(path)
    assert found["memcpy_s"] == expected["memcpy_s"] == 3
    assert found["VOS_StrCpy"] == 1
    # memcpy is an indirect function there: objdump names its stubs by address, *ABS*+0x...@plt
    assert (found["memcpy"] or 0) > 100


@needs_tools
def test_programs_of_this_machine() -> None:
    paths = [Path(p) for p in ("/bin/bash", "/usr/bin/ssh") if Path(p).exists()]
    total = 0
    for path in paths:
        data = path.read_bytes()
        expected = objdump(path)
        found = {f.function: f.sites for f in facts(data) if f.imported}
        assert found == {name: expected[name] for name in found}, path
        assert not set(expected) - set(sites(data)), path
        total += sum(expected.values())
    assert not paths or total > 100


CAPSTONE = {
    "arm-linux-gnueabihf-gcc": ("-O2", "-shared", "-fPIC"),
    "aarch64-linux-gnu-gcc": ("-O2", "-shared", "-fPIC"),
    "mipsel-linux-gnu-gcc": ("-O2", "-shared", "-fPIC"),
    "mips-linux-gnu-gcc": ("-O2", "-shared", "-fPIC"),
    "powerpc-linux-gnu-gcc": ("-O2", "-shared", "-fPIC"),
    "powerpc64le-linux-gnu-gcc": ("-O2", "-shared", "-fPIC"),
}


@pytest.mark.parametrize("compiler", CAPSTONE)
def test_other_machines_agree_with_this_one(build: Any, compiler: str) -> None:
    """The same source makes the same calls, whatever the machine."""
    options = ("-O0", "-fno-builtin")
    there = {f.function: f.sites for f in facts(build(*options, compiler=compiler).read_bytes())}
    here = {f.function: f.sites for f in facts(build(*options).read_bytes())}
    assert there == here


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("memcpy", ("memcpy", "bounded")),
        ("__memcpy_chk", ("memcpy", "checked")),
        ("__asan_memcpy", ("memcpy", "checked")),
        ("memcpy_s", ("memcpy", "safe")),
        ("X_MemCpy_S", ("memcpy", "safe")),
        ("strcpy", ("strcpy", "unbounded")),
        ("wcscpy_s", ("strcpy", "safe")),
        ("strlcpy", ("strcpy", "safe")),
        ("strncpy", ("strcpy", "bounded")),
        ("strncat_s", ("strcat", "safe")),
        ("vsprintf", ("sprintf", "unbounded")),
        ("g_snprintf", ("sprintf", "bounded")),
        ("__isoc99_sscanf", ("scanf", "unbounded")),
        ("gets", ("gets", "unbounded")),
        ("gets_s", ("gets", "safe")),
        ("fgets", ("gets", "bounded")),
        ("__fgets_chk", ("gets", "checked")),
        ("fprintf", None),
        ("printf", None),
        ("asprintf", None),
        ("Perl_pp_sprintf", None),
        ("BIO_gets", None),
        ("targets", None),
        ("memcpys", None),
        ("memcpy_avx_unaligned", None),
        ("_ZN3foo6memcpyEv", None),
        ("", None),
    ],
)
def test_names(name: str, expected: tuple[str, str] | None) -> None:
    assert classify(name) == expected


def test_names_whose_second_argument_is_a_size() -> None:
    assert [n for n in ("memcpy_s", "sscanf_s", "VOS_strcpy_s", "strlcpy", "gets_s") if is_annex_k(n)] == [
        "memcpy_s",
        "VOS_strcpy_s",
        "gets_s",
    ]


@given(st.text(max_size=80))
def test_any_name_is_classified(name: str) -> None:
    found = classify(name)
    assert found is None or len(found) == 2


@needs_tools
def test_hostile_bytes_give_facts_in_bounded_time(build: Any) -> None:
    for options in (("-O2",), ("-c", "-O2")):
        whole = build(*options).read_bytes()
        for data in [*mangled(whole, count=250, hot=range(0, 0x400)), *mangled(whole, seed=4, count=250)]:
            begun = time.process_time()
            with contextlib.suppress(UnpackError, LimitReached):
                facts(data)
            assert time.process_time() - begun < 1


@needs_tools
def test_segments_over_the_same_bytes_are_read_once(build: Any) -> None:
    """Sixty executable segments over the whole file do not make sixty times the work."""
    data = bytearray(build("-O2").read_bytes())
    at, count = 64, int.from_bytes(data[56:58], "little")
    for number in range(count):
        entry = at + 56 * number
        if data[entry] == 4:  # notes become more code
            data[entry : entry + 8] = (1).to_bytes(4, "little") + (5).to_bytes(4, "little")
            data[entry + 8 : entry + 16] = bytes(8)
            data[entry + 32 : entry + 40] = len(data).to_bytes(8, "little")
    assert sum(stretch.size for stretch in program(bytes(data)).code) <= len(data)
