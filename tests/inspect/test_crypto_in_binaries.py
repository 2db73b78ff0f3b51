"""Constants, libraries, random numbers and token algorithms: in real libraries, in small files, and in broken ones."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from assay.facts.crypto import CipherTable, CryptoLibrary, RandomSource, TokenAlgorithm
from assay.inspect import cipher_tables, crypto_library, random_sources, token_algorithms
from assay.inspect.cipher_tables_data import CONSTANTS
from assay.unpack.base import LimitReached, UnpackError
from tests.support.hostile import mangled
from tests.support.memory_tree import inspect

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

NOISE = random.Random(5).randbytes(1 << 20)


@pytest.mark.parametrize("constant", CONSTANTS, ids=lambda c: f"{c.algorithm}-{c.name}-{c.width}")
def test_each_constant_is_found_in_each_byte_order(constant: Any) -> None:
    elements = [bytes.fromhex(value) for value in constant.values.split()]
    orders = [elements] if constant.width == 8 else [elements, [element[::-1] for element in elements]]
    for parts in orders:
        data = b"\0" * 64 + b"".join(parts) + b"\xaa" * 64
        found = inspect(cipher_tables.INSPECTOR, data, "data")
        assert (64, constant.algorithm, constant.name) in [
            (f.offset, f.algorithm, f.constant)  # type: ignore[attr-defined]
            for f in found
        ]


def test_constants_in_instructions() -> None:
    """movl $0x67452301, (%rdi); movl $0xefcdab89, 4(%rdi); ..."""
    words = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
    code = b"".join(b"\xc7\x47" + bytes([4 * n]) + word.to_bytes(4, "little") for n, word in enumerate(words))
    assert inspect(cipher_tables.INSPECTOR, b"\x90" * 32 + code + b"\xc3", "data") == [
        CipherTable(
            offset=35,
            algorithm="MD5",
            constant="initial value, also of MD4, SHA-1 and RIPEMD-160",
            width=32,
            endian="little",
        )
    ]


def test_halves_of_longer_words_are_not_another_hash() -> None:
    words = ("cbbb9d5dc1059ed8", "629a292a367cd507", "9159015a3070dd17", "152fecd8f70e5939")
    data = b"".join(bytes.fromhex(word)[::-1] for word in words)
    assert [f.algorithm for f in inspect(cipher_tables.INSPECTOR, data, "data")] == ["SHA-384"]  # type: ignore[attr-defined]


def test_noise_has_no_constants() -> None:
    assert inspect(cipher_tables.INSPECTOR, NOISE, "data") == []


@needs_gcc
def test_symbols_name_the_place(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(
        "const unsigned int zuc_d[] = {0x44d7, 0x26bc, 0x626b, 0x135e}; int main(){ return zuc_d[1]; }"
    )
    subprocess.run(["gcc", "-O0", "-o", "a", "a.c"], cwd=tmp_path, check=True)
    subprocess.run(["gcc", "-O0", "-c", "-o", "a.o", "a.c"], cwd=tmp_path, check=True)
    for name in ("a", "a.o"):
        data = (tmp_path / name).read_bytes()
        assert inspect(cipher_tables.INSPECTOR, data) == [
            CipherTable(
                offset=data.index(b"\xd7\x44\0\0\xbc\x26\0\0"),
                algorithm="ZUC",
                constant="D",
                width=32,
                endian="little",
                function="zuc_d",
            )
        ]


def shared_library(name: str) -> bytes:
    for place in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"):
        path = Path(place) / name
        if path.exists():
            return path.read_bytes()
    pytest.skip(f"needs {name}")


def test_libcrypto_is_openssl() -> None:
    data = shared_library("libcrypto.so.3")
    (fact,) = inspect(crypto_library.INSPECTOR, data)
    assert isinstance(fact, CryptoLibrary)
    assert (fact.library, fact.role, fact.protocols) == ("openssl", "is", [])
    assert fact.version is not None
    assert f"OpenSSL {fact.version} ".encode() in data
    assert {"MD5_Init", "EVP_md5", "DES_ecb_encrypt"} <= set(fact.weak)
    algorithms = {f.algorithm for f in inspect(cipher_tables.INSPECTOR, data)}  # type: ignore[attr-defined]
    assert {"AES", "SHA-256", "SHA-512", "ChaCha20", "P-256"} <= algorithms


def test_libssl_shows_protocols() -> None:
    fact = inspect(crypto_library.INSPECTOR, shared_library("libssl.so.3"))[0]
    assert isinstance(fact, CryptoLibrary)
    assert (fact.library, fact.role) == ("openssl", "is")
    assert {"TLSv1.2", "TLSv1.3"} <= set(fact.protocols)


@needs_gcc
def test_roles(tmp_path: Path) -> None:
    (tmp_path / "uses.c").write_text(
        "void *MD5_Init(void *); void *SSLv3_method(); void *f(void *a) { return MD5_Init(SSLv3_method()); }"
    )
    (tmp_path / "has.c").write_text(
        'const char *v = "OpenSSL 1.0.2k  26 Jan 2017"; const char *w = "OpenSSL 0.9.8 or later";'
    )
    for name in ("uses", "has"):
        subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", name, f"{name}.c"], cwd=tmp_path, check=True)
    assert inspect(crypto_library.INSPECTOR, (tmp_path / "uses").read_bytes()) == [
        CryptoLibrary(library="openssl", role="uses", protocols=["SSLv3"], weak=["MD5_Init", "SSLv3_method"])
    ]
    data = (tmp_path / "has").read_bytes()
    assert inspect(crypto_library.INSPECTOR, data) == [
        CryptoLibrary(offset=data.index(b"OpenSSL 1.0.2k"), library="openssl", version="1.0.2k", role="contains")
    ]


@needs_gcc
def test_imported_generators(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(
        '#include <stdlib.h>\n#include <fcntl.h>\nint f(){ srand(1); return rand() + open("/dev/urandom", 0); }'
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "a", "a.c"], cwd=tmp_path, check=True)
    data = (tmp_path / "a").read_bytes()
    found = inspect(random_sources.INSPECTOR, data)
    assert [(f.name, f.kind, f.evidence) for f in found] == [  # type: ignore[attr-defined]
        ("rand", "predictable", "import"),
        ("srand", "seed", "import"),
        ("/dev/urandom", "system", "string"),
    ]
    for fact in found:
        assert fact.offset is not None
        assert data[fact.offset :].startswith(fact.name.encode())  # type: ignore[attr-defined]


def test_generators_in_scripts() -> None:
    text = b"#!/usr/bin/python3\nimport random\n# random.random()\nx = random.random()\nos.urandom(8)\n"
    assert inspect(random_sources.INSPECTOR, text) == [
        RandomSource(
            offset=text.index(b"= random") + 2, line=4, name="random.random", kind="predictable", evidence="script"
        ),
        RandomSource(offset=text.index(b"os.ura"), line=5, name="os.urandom", kind="system", evidence="script"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"alg": "none"}', [("none", "alg")]),
        (b'jwt.decode(token, key, algorithms=["HS256", "RS256"])', [("HS256", "algorithms"), ("RS256", "algorithms")]),
        (b'algorithms: ["ES256", "none"]', [("ES256", "algorithms"), ("none", "algorithms")]),
        (b"jwt-algorithm: ES256\n", [("ES256", "jwt-algorithm")]),
        (b'colour = "none"; size = "RS256"', []),
        (b'display: "none"', []),
        (b'"algebra": "HS256"', []),
    ],
)
def test_token_algorithms(text: bytes, expected: list[tuple[str, str]]) -> None:
    found = inspect(token_algorithms.INSPECTOR, text)
    assert [(f.algorithm, f.context) for f in found if isinstance(f, TokenAlgorithm)] == expected
    assert all(f.line == 1 for f in found)


def test_hostile_bytes() -> None:
    data = shared_library("libssl.so.3")
    text = b'{"alg": "HS256", "algorithms": ["none", "ES256"]}\n#!/bin/sh\necho $RANDOM; Math.random()\n' * 40
    for inspector, whole, count in (
        (cipher_tables.INSPECTOR, data, 20),
        (crypto_library.INSPECTOR, data, 60),
        (random_sources.INSPECTOR, data, 60),
        (random_sources.INSPECTOR, text, 60),
        (token_algorithms.INSPECTOR, text, 60),
    ):
        for broken in mangled(whole, count=count, hot=range(0, 0x1000) if whole is data else None):
            begun = time.process_time()
            with suppress(UnpackError, LimitReached):
                inspect(inspector, broken)
            assert time.process_time() - begun < 2
