"""Build traces and leftovers."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from assay.facts.code import BuildTrace, Leftover
from assay.inspect import build_traces, elf, leftovers
from assay.unpack.base import LimitReached, UnpackError
from tests.support.hostile import mangled
from tests.support.memory_tree import MemoryTree, inspect

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

SOURCE = r"""
#include <assert.h>
#include <stdio.h>
const char *banner = "Linux version 5.10.1 (builder@host-7) (arm-gcc 9.3, ld 2.34) #1 SMP Thu Mar 4 10:11:12 UTC 2021";
const char *made = "Jan  2 2024 11:12:13";
const char *run = "/home/operator/data";
const char *key = "/root/.ssh/known";
const char *lost = "/build/product-7/src/start.c";
int main(int n, char **w) { assert(n > 1); puts(made); puts(banner); puts(run); puts(key); puts(lost); return 0; }
"""


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("traces")
    (place / "a.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O1", "-o", "a", "a.c"], cwd=place, check=True)
    return (place / "a").read_bytes()


@needs_gcc
def test_traces(binary: bytes) -> None:
    found = inspect(build_traces.INSPECTOR, binary)
    assert all(isinstance(f, BuildTrace) for f in found)
    told = {(f.kind, f.value) for f in found}  # type: ignore[attr-defined]
    assert {
        ("assert", "__assert_fail"),
        ("build-date", "Thu Mar 4 10:11:12 UTC 2021"),
        ("build-date", "Jan  2 2024 11:12:13"),
        ("build-host", "builder@host-7"),
        ("build-path", "/build/product-7/src"),
        ("compiler", "arm-gcc 9.3, ld 2.34"),
        ("source-file", "a.c"),
    } <= told
    assert not [value for kind, value in told if "operator" in value or ".ssh" in value]
    assert all(f.offset is not None for f in found)


@needs_gcc
def test_dwarf_and_remains_of_testing(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int main(int n, char **w) { return n; }")
    options = ["-g", "--coverage", "-fdebug-prefix-map=" + str(tmp_path) + "=/home/someone/product"]
    done = subprocess.run(["gcc", *options, "-o", "a", "a.c"], cwd=tmp_path, capture_output=True)
    if done.returncode:
        pytest.skip("this compiler cannot measure coverage")
    kinds = {(f.kind, f.value) for f in inspect(build_traces.INSPECTOR, (tmp_path / "a").read_bytes())}  # type: ignore[attr-defined]
    assert ("build-path", "/home/someone/product") in kinds
    assert [value for kind, value in kinds if kind == "coverage" and value.endswith(".gcda")]
    assert [value for kind, value in kinds if kind == "compiler" and value.startswith("GNU C")]


@needs_gcc
def test_hostile_bytes(binary: bytes) -> None:
    for data in mangled(binary, count=200, hot=range(0, 0x800)):
        begun = time.process_time()
        with suppress(UnpackError, LimitReached):
            inspect(build_traces.INSPECTOR, data)
        assert time.process_time() - begun < 1


@needs_gcc
def test_a_tree(tmp_path: Path, binary: bytes) -> None:
    (tmp_path / "b.c").write_text("int x(void) { return 1; }")
    subprocess.run(["gcc", "-c", "-o", "b.o", "b.c"], cwd=tmp_path, check=True)
    names = {
        "/opt/x/.git/HEAD": "source-control",
        "/opt/x/.git/objects/aa/bb": None,
        "/opt/x/main.c": "source-code",
        "/opt/x/Makefile": "build-system",
        "/opt/x/tests/run": "test",
        "/opt/x/examples/a.conf": "sample",
        "/etc/passwd~": "editor-backup",
        "/etc/ssh/sshd_config.dpkg-old": "editor-backup",
        "/etc/config": None,
        "/etc/cc": None,
        "/usr/bin/test": None,
        "/usr/bin/gcc-12": "compiler",
        "/usr/bin/x86_64-linux-gnu-ld": "compiler",
        "/usr/bin/gdbserver": "debugger",
        "/usr/sbin/strace": "debugger",
        "/usr/bin/ascii": None,
        "/usr/lib/debug/.build-id/00/11.debug": "debug-symbols",
        "/opt/x/lib.a": "object-file",
    }
    files: dict[str, tuple[int, int, int, bytes | str | None]] = {
        path: (0o644, 0, 0, b"text of " + path.encode()) for path in names
    }
    files["/opt/x/piece"] = (0o644, 0, 0, (tmp_path / "b.o").read_bytes())
    files["/opt/x/run"] = (0o755, 0, 0, binary)
    found = list(leftovers.INSPECTOR.inspect(MemoryTree(files, [elf.INSPECTOR])))
    expected = [Leftover(path=path, kind=kind) for path, kind in names.items() if kind]
    expected.append(Leftover(path="/opt/x/piece", kind="object-file", evidence="elf"))
    assert found == sorted(expected, key=lambda fact: fact.path or "")
