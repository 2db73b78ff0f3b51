"""Passwords in binaries, as compilers hand them to functions; the instructions between; what is no password."""

from __future__ import annotations

import hashlib
import platform
import shutil
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from assay.facts.access import Credential
from assay.inspect.hard_coded_calls import INSPECTOR, _constants_aarch64, _constants_x86
from assay.unpack.base import LimitReached, UnpackError
from tests.support.hostile import mangled
from tests.support.memory_tree import inspect

needs_gcc = pytest.mark.skipif(
    shutil.which("gcc") is None or platform.machine() != "x86_64", reason="needs gcc for x86-64"
)

SOURCE = r"""
#include <string.h>
int mosquitto_username_pw_set(void *, const char *, const char *);
int curl_easy_setopt(void *, int, ...);
int ssh_userauth_password(void *, const char *, const char *);
void *mysql_real_connect(void *, const char *, const char *, const char *, const char *, unsigned, const char *, long);
char *getpass(const char *);
char *crypt(const char *, const char *);
int log_it(const char *);
extern char variable[64];
#ifdef LIBRARY
int mosquitto_username_pw_set(void *m, const char *u, const char *p) { return 0; }
int curl_easy_setopt(void *c, int o, ...) { return 0; }
int ssh_userauth_password(void *s, const char *u, const char *p) { return 0; }
void *mysql_real_connect(void *m, const char *h, const char *u, const char *p, const char *d, unsigned n, const char *s,
                         long f) { return m; }
char *getpass(const char *p) { return variable; }
char *crypt(const char *k, const char *s) { return variable; }
int log_it(const char *t) { return 0; }
char variable[64];
#else

int broker(void *m) { return mosquitto_username_pw_set(m, "gnb", "Br0ker!"); }
int asked(void *m) { return mosquitto_username_pw_set(m, "gnb", variable); }
int place(void *m) { return mosquitto_username_pw_set(m, "gnb", "<password>"); }
void page(void *c) { curl_easy_setopt(c, 10005, "admin:s3cr3t-Pw"); curl_easy_setopt(c, 10002, "http://x/aaaa-1"); }
int shell(void *s, const char *u) { log_it("in"); return ssh_userauth_password(s, u, "oper8or"); }
void *store(void *m) { return mysql_real_connect(m, "localhost", "root", "r00t-mysql", "db", 0, 0, 0); }
int enter(void) { return strcmp(getpass("Password:"), "m4ster-key"); }
int login(const char *u, const char *p) { return !strcmp(u, "admin") && !strcmp(p, "B4ckd00r!"); }
int words(const char *u, const char *p) { return !strcmp(u, "admin") && !strcmp(p, "list"); }
int other(const char *s) { if (!strcmp(s, "admin")) return 1; if (!strcmp(s, "x-Value1")) return 2; return 0; }
int plain(const char *p) { return strcmp(p, "X-Header-9"); }
int main(int n, char **v) { return 0; }
#endif
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    place = tmp_path_factory.mktemp("calls")
    (place / "a.c").write_text(SOURCE)
    options = {
        "O2": ["-O2", "-shared", "-fPIC"],
        "O0": ["-O0", "-shared", "-fPIC"],
        "no-plt": ["-O2", "-shared", "-fPIC", "-fno-plt"],
        "stripped": ["-O2", "-shared", "-fPIC", "-s"],
        "fixed": ["-O2", "-no-pie", "-fno-pie", "-L.", "-lx"],
        "program": ["-O2", "-pie", "-fPIE", "-L.", "-lx"],
    }
    library = ["gcc", "-w", "-DLIBRARY", "-shared", "-fPIC", "-o", "libx.so", "a.c"]
    subprocess.run(library, cwd=place, check=True)
    for name, flags in options.items():
        subprocess.run(["gcc", "-w", "-fno-builtin", "a.c", *flags, "-o", name], cwd=place, check=True)
    return {name: (place / name).read_bytes() for name in options}


HANDED = [
    ("mosquitto_username_pw_set", b"Br0ker!"),
    ("curl_easy_setopt CURLOPT_USERPWD", b"s3cr3t-Pw"),
    ("ssh_userauth_password", b"oper8or"),
    ("mysql_real_connect", b"r00t-mysql"),
]
COMPARED = [("strcmp of getpass", b"m4ster-key"), ("strcmp after admin", b"B4ckd00r!")]


def fact(data: bytes, subject: str, secret: bytes) -> Credential:
    return Credential(
        offset=data.index(secret + b"\0"),
        kind="hard-coded",
        scheme="call",
        fingerprint=hashlib.sha256(secret).hexdigest(),
        subject=subject,
        evidence="call",
    )


def place(item: Credential) -> int:
    return item.offset or 0


@needs_gcc
@pytest.mark.parametrize("how", ["O2", "O0", "no-plt", "stripped", "fixed", "program"])
def test_what_compilers_write(built: dict[str, bytes], how: str) -> None:
    data = built[how]
    assert inspect(INSPECTOR, data) == sorted((fact(data, *item) for item in HANDED + COMPARED), key=place)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("488d3d10000000", {7: 0x1017}),  # lea rdi, [rip + 0x10]
        ("488d3510000000 4889df", {6: 0x1017}),  # mov rdi, rbx
        ("488d0510000000 4889c2 b800000000", {2: 0x1017, 0: 0}),  # lea rax; mov rdx, rax; mov eax, 0
        ("be15270000 488b7d08", {6: 10005}),  # mov esi, 10005; mov rdi, [rbp + 8]
        ("488d3510000000 488b7424 08", {}),  # mov rsi, [rsp + 8]
        ("488d3510000000 31f6", {}),  # xor esi, esi
        ("488d3510000000 85c0 7405", {6: 0x1017}),  # test eax, eax; je
        ("488d3510000000 e800000000", None),  # call
        ("488d3510000000 c3", None),  # ret
        ("488d3510000000 ff", None),
        ("488d35100000", None),  # cut off
    ],
)
def test_x86(code: str, expected: dict[int, int] | None) -> None:
    assert _constants_x86(bytes.fromhex(code), 0, 0x1000) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([0x90000002, 0x91004042], {2: 0x1010}),  # adrp x2, 0x1000; add x2, x2, #0x10
        ([0xB0000001, 0x91000021, 0xAA1303E0], {1: 0x2000}),  # adrp x1, +1; add x1, x1, #0; mov x0, x19
        ([0x90000002, 0x91004042, 0xAA0203E3], {2: 0x1010, 3: 0x1010}),  # mov x3, x2
        ([0x5284E2A1], {1: 10005}),  # mov w1, #10005
        ([0x90000002, 0x91004042, 0xF9400062], {}),  # ldr x2, [x3]
        ([0x90000002, 0x91004042, 0x94000010], {}),  # bl
        ([0x90000002, 0x35000060, 0x91004042], {2: 0x1010}),  # cbnz w0
        ([0x90000002, 0x91004042, 0xA9400861], {}),  # ldp x1, x2, [x3]
    ],
)
def test_aarch64(words: list[int], expected: dict[int, int]) -> None:
    assert _constants_aarch64(struct.pack(f"<{len(words)}I", *words), 0x1000) == expected


def test_aarch64_without_a_straight_way() -> None:
    code = struct.pack("<3I", 0x14000003, 0x90000002, 0x91004042)  # b; adrp; add
    assert _constants_aarch64(code, 0x1000) == {2: 0x1010}
    assert _constants_aarch64(code, 0x1000, straight=True) == {}


def outcome(data: bytes) -> None:
    with suppress(UnpackError, LimitReached):
        inspect(INSPECTOR, data, "elf")


@needs_gcc
def test_broken_input(built: dict[str, bytes]) -> None:
    for seed, data in enumerate((built["O2"], built["fixed"])):
        begun = time.process_time()
        for broken in mangled(data, seed=seed, count=150):
            outcome(broken)
        assert time.process_time() - begun < 6


def test_programs_without_such_functions() -> None:
    assert inspect(INSPECTOR, b"\x7fELF" + bytes(100), "elf") == []
    true = Path("/bin/true")
    if true.exists():
        assert inspect(INSPECTOR, true.read_bytes()) == []
