"""Files of `openssl enc`, made by it, opened with the password."""

from __future__ import annotations

import gzip
import random
import shutil
import subprocess

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Claim, Encrypted, Entry, Limits, NotThisFormat
from assay.unpack.openssl_enc import FORMAT
from assay.unpack.secrets import Secrets, holding

from ..support.hostile import mangled, survives

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
WORDS = b"".join(b"line %d of a text\n" % number for number in range(70_000))


def openssl(plain: bytes, *options: str) -> bytes:
    command = ["openssl", "enc", "-pass", "pass:right", *options]
    done = subprocess.run(command, input=plain, capture_output=True)
    if done.returncode:
        pytest.skip(f"openssl does not know {options}")
    return done.stdout


def read(data: bytes, *passwords: bytes, keys: tuple[bytes, ...] = ()) -> tuple[object, bytes]:
    with holding(Secrets(passwords, keys)):
        reader = identify(BytesSource(data), Limits())
        assert reader is not None
        assert reader.format is FORMAT
        assert list(reader.entries()) == [Entry(b"data", "regular", 0)]
        return reader.detail.get("opened"), b"".join(FORMAT.open(BytesSource(data), Limits()).open(0))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-aes-256-cbc", "-pbkdf2"], "aes-256-cbc, PBKDF2 with sha256, 10000 iterations"),
        (["-aes-256-cbc", "-pbkdf2", "-a"], "aes-256-cbc, PBKDF2 with sha256, 10000 iterations"),
        (["-aes-128-cbc", "-md", "md5"], "aes-128-cbc, one round of md5"),
        (["-aes-192-cbc"], "aes-192-cbc, one round of sha256"),
        (["-des-ede3-cbc", "-md", "sha1"], "des-ede3-cbc, one round of sha1"),
        (["-aes-256-ctr", "-pbkdf2", "-iter", "100000"], "aes-256-ctr, PBKDF2 with sha256, 100000 iterations"),
    ],
)
@pytest.mark.parametrize("plain", [WORDS, gzip.compress(WORDS), b"sixteen and more"], ids=["text", "gzip", "short"])
def test_it_opens_with_its_password(options: list[str], told: str, plain: bytes) -> None:
    data = openssl(plain, *options)
    assert read(data, b"wrong", b"right") == (f"with password 2 of 2, taken to be {told}", plain)
    assert read(data, keys=(b"right\n",)) == (f"with key 1 of 1, taken to be {told}", plain)
    for passwords, text in (((), "no secret was given"), ((b"wrong",), "no secret opens it")):
        with pytest.raises(Encrypted, match=text):
            read(data, *passwords)


def test_what_is_not_recognised_is_not_claimed_to_be_open() -> None:
    data = openssl(random.Random(4).randbytes(5000), "-aes-256-cbc", "-pbkdf2")
    with pytest.raises(Encrypted, match="no secret opens it"):
        read(data, b"right")


def test_its_extent() -> None:
    data = openssl(WORDS, "-aes-256-cbc")
    reader = FORMAT.open(BytesSource(data), Limits())
    assert reader.claims() == [Claim(0, 16, "header"), Claim(16, len(data) - 16, "encrypted data")]
    assert reader.detail == {"encoding": "binary", "salt": data[8:16].hex()}
    encoded = openssl(WORDS, "-aes-256-cbc", "-a")
    assert FORMAT.open(BytesSource(encoded), Limits()).claims()[0].length == len(encoded)
    for other in (b"Salted__", b"Salted__12345678", b"U2FsdGVkX1 is how it begins", b"U2FsdGVkX1", b""):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(other), Limits())


def test_hostile_files() -> None:
    with holding(Secrets((b"right",))):
        for options in (["-aes-256-cbc"], ["-aes-256-cbc", "-a"]):
            for broken in mangled(openssl(WORDS[:5000], *options), count=8):
                survives(FORMAT, broken)


def test_hostile_files_without_secrets() -> None:
    for options in (["-aes-256-cbc"], ["-aes-256-cbc", "-a"]):
        for broken in mangled(openssl(WORDS[:5000], *options), count=100):
            survives(FORMAT, broken)
