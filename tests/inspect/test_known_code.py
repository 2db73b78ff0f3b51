"""Known code: marks alone, together and in real libraries; a translation of a program is not the program."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.facts.licence import KnownCode
from assay.inspect import known_code, scan
from assay.inspect.known_code_tables import PROJECTS
from assay.inspect.licence_tables import expression
from assay.unpack.base import LimitReached
from tests.support.hostile import mangled
from tests.support.memory_tree import inspect

ZLIB = b" inflate 1.2.13 Copyright 1995-2022 Mark Adler "
GMP = b"GNU MP: Cannot allocate memory (size=%lu)"


def find(data: bytes, kind: str = "data") -> list[KnownCode]:
    return inspect(known_code.INSPECTOR, data, kind)  # type: ignore[return-value]


def test_marks_in_a_binary() -> None:
    data = b"\0\1" + ZLIB + b"\0\0" + GMP + b"\0"
    assert find(data) == [
        KnownCode(
            offset=3,
            project="zlib",
            expression="Zlib",
            marks=["inflate 1.2.13 Copyright 1995-"],
            notice=True,
        ),
        KnownCode(
            offset=data.index(b"GNU MP"),
            project="gmp",
            expression="LGPL-3.0-or-later OR GPL-2.0-or-later",
            marks=["GNU MP: Cannot allocate memory"],
        ),
    ]
    assert find(b"\xde\x12\x04\x95" + data) == []


def test_some_marks_only_count_together() -> None:
    version, path = b"OpenSSL 1.1.1n  15 Mar 2022\0", b"crypto/rsa/rsa_lib.c\0"
    assert find(version) == find(path) == []
    (fact,) = find(path + version)
    assert (fact.project, fact.expression, fact.marks) == (
        "openssl",
        "OpenSSL",
        ["crypto/rsa/rsa_lib.c", "OpenSSL 1.1.1n  15 Mar 2022"],
    )
    assert [fact.expression for fact in find(b"OpenSSL 3.0.11 19 Sep 2023\0" + path)] == ["Apache-2.0"]


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_a_library_and_what_contains_it(tmp_path: Path) -> None:
    source = tmp_path / "a.c"
    source.write_text(f'const char a[] = "{ZLIB.decode()}"; int main(void) {{ return a[0]; }}\n')
    library, program = tmp_path / "libz.so.1", tmp_path / "program"
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,-soname,libz.so.1", "-o", library, source], check=True)
    subprocess.run(["gcc", "-o", program, source], check=True)
    assert [(fact.project, fact.role) for fact in find(library.read_bytes(), "elf")] == [("zlib", "is")]
    assert [(fact.project, fact.role) for fact in find(program.read_bytes(), "elf")] == [("zlib", "contains")]


def test_every_expression_is_one() -> None:
    for project in PROJECTS:
        assert expression(project.expression) == project.expression
        assert project.needs <= len(project.marks)
        for mark in project.marks:
            re.compile(mark)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_HITS", 5)
    with pytest.raises(LimitReached):
        find(GMP * 10)


def test_broken_contents_end_well() -> None:
    for variant in mangled(b"\x7fELF" + ZLIB + GMP * 3 + b"Copyright Mark Adler", count=200):
        find(variant, "elf")


@settings(deadline=None)  # the first call compiles the expressions
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    find(GMP + data + ZLIB, "elf")
