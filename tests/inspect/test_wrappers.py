"""Wrappers named as safe variants: what their code does with the size of the target."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from assay.inspect.wrappers import INSPECTOR, _uses_aarch64, _uses_x86
from assay.unpack.base import LimitReached, UnpackError
from tests.support.hostile import mangled
from tests.support.memory_tree import inspect

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

SOURCE = r"""
#include <string.h>
typedef unsigned long z;
#define S __attribute__((noinline))
S int memcpy_s(void *d, z n, const void *s, z m) { if (m > n) return 1; memcpy(d, s, m); return 0; }
S void *X_MemCpy_S(void *d, z n, const void *s, z m) { return memcpy(d, s, m); }
S char *strcpy_s(char *d, z n, const char *s) { return strcpy(d, s); }
S char *helper(char *d) { return strcpy_s(d, 4, "abc"); }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    place = tmp_path_factory.mktemp("wrappers")
    (place / "a.c").write_text(SOURCE)
    for level in ("-O2", "-O0"):
        subprocess.run(["gcc", "-w", level, "-shared", "-fPIC", "-o", f"a{level}", "a.c"], cwd=place, check=True)
    return {level: (place / f"a{level}").read_bytes() for level in ("-O2", "-O0")}


def told(data: bytes) -> list[tuple[str, list[str], bool | None]]:
    return [(f.name, f.calls, f.uses_size) for f in inspect(INSPECTOR, data)]  # type: ignore[attr-defined]


@needs_gcc
def test_a_wrapper_that_ignores_the_size_is_told_from_one_that_checks(library: dict[str, bytes]) -> None:
    if Path("/lib64/ld-linux-x86-64.so.2").exists():
        assert told(library["-O2"]) == [
            ("memcpy_s", ["memcpy"], True),
            ("X_MemCpy_S", ["memcpy"], False),
            ("strcpy_s", ["strcpy"], False),
        ]


@needs_gcc
def test_unoptimised_code_is_not_judged(library: dict[str, bytes]) -> None:
    assert told(library["-O0"]) == [
        ("memcpy_s", ["memcpy"], None),
        ("X_MemCpy_S", ["memcpy"], None),
        ("strcpy_s", ["strcpy"], None),
    ]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("4839ce", True),  # cmp rsi, rcx
        ("f30f1efa 53 4885f6", True),  # endbr64; push rbx; test rsi, rsi
        ("4889d6", False),  # mov rsi, rdx
        ("31f6", False),  # xor esi, esi
        ("4889f5", None),  # mov rbp, rsi: kept for later
        ("56", None),  # push rsi
        ("488975e8", None),  # mov [rbp - 0x18], rsi
        ("e800000000", None),  # call
        ("c3", None),
        ("", None),
    ],
)
def test_x86(code: str, expected: bool | None) -> None:
    assert _uses_x86(bytes.fromhex(code)) is expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((0xEB03003F,), True),  # cmp x1, x3
        ((0xD503245F, 0xB4000061), True),  # bti c; cbz x1
        ((0xAA0203E1,), False),  # mov x1, x2
        ((0xAA0303E2, 0xAA0203E1), False),  # mov x2, x3; mov x1, x2
        ((0xAA0103F3,), None),  # mov x19, x1
        ((0x94000000,), None),  # bl
        ((), None),
    ],
)
def test_aarch64(words: tuple[int, ...], expected: bool | None) -> None:
    assert _uses_aarch64(b"".join(word.to_bytes(4, "little") for word in words)) is expected


@needs_gcc
def test_hostile_bytes(library: dict[str, bytes]) -> None:
    for data in mangled(library["-O2"], count=200):
        begun = time.process_time()
        with suppress(UnpackError, LimitReached):
            told(data)
        assert time.process_time() - begun < 1
