"""What is encrypted and how, of files made by gpg, cryptsetup, zip, 7-Zip and openssl."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from assay.facts.sealing import Encryption, Signature
from assay.inspect import luks, openpgp, openssl_salted, qcow2_encryption, zip_encryption
from assay.inspect.base import ContentInspector
from assay.unpack.base import UnpackError
from tests.support.hostile import mangled
from tests.support.memory_tree import inspect

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
PLAIN = b"what is in it\n" * 1000


def run(folder: Path, *command: str, data: bytes | None = None) -> bytes:
    program = shutil.which(command[0], path=PATH)
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([program, *command[1:]], cwd=folder, input=data, capture_output=True)
    if done.returncode:
        pytest.skip(f"{command[0]}: {done.stderr.decode()[-200:]}")
    return done.stdout


@pytest.fixture(scope="module")
def pgp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a key ring: an RSA key that signs and its subkey that encrypts, and an Ed25519 key."""
    folder = tmp_path_factory.mktemp("pgp", numbered=False)
    folder.chmod(0o700)
    for name, kind in (("Rsa", "rsa2048"), ("Ed", "ed25519")):
        gpg(folder, "--passphrase", "", "--quick-gen-key", f"{name} <{name}@example.org>", kind, "sign", "never")
    for line in gpg(folder, "--with-colons", "--fingerprint", "Rsa").splitlines():
        if line.startswith(b"fpr:"):
            gpg(folder, "--passphrase", "", "--quick-add-key", line.split(b":")[9].decode(), "rsa2048", "encr", "never")
            break
    (folder / "plain").write_bytes(PLAIN)
    yield folder
    run(folder, "gpgconf", "--homedir", str(folder), "--kill", "all")  # its agent would stay


def gpg(folder: Path, *arguments: str) -> bytes:
    return run(folder, "gpg", "--homedir", str(folder), "--batch", "--yes", "--pinentry-mode", "loopback", *arguments)


def identifiers(folder: Path, name: str) -> tuple[str, str]:
    """Return the fingerprint of the key that signs, and the identifier of the last subkey."""
    lines = [line.split(b":") for line in gpg(folder, "--with-colons", "--fingerprint", name).splitlines()]
    prints = [line[9].decode().lower() for line in lines if line[0] == b"fpr"]
    return prints[0], [line[4].decode().lower() for line in lines if line[0] in (b"pub", b"sub")][-1]


@pytest.mark.parametrize("armour", [[], ["--armor"]])
def test_for_whom_an_openpgp_message_is(pgp: Path, armour: list[str]) -> None:
    data = gpg(pgp, *armour, "--trust-model", "always", "-e", "-r", "Rsa", "-o", "-", "plain")
    assert openpgp.INSPECTOR.wants_head is not None
    assert openpgp.INSPECTOR.wants_head(data)
    (fact,) = inspect(openpgp.INSPECTOR, data)
    assert isinstance(fact, Encryption)
    _, key = identifiers(pgp, "Rsa")
    assert (fact.scheme, fact.needs, fact.slots, fact.mode) == ("openpgp", [f"private key of openpgp:{key}"], 1, "cfb")


def test_a_passphrase_and_what_it_costs_to_try_one(pgp: Path) -> None:
    data = gpg(
        pgp, "--passphrase", "x", "--cipher-algo", "AES256", "--s2k-digest-algo", "SHA512", "--s2k-count", "65011712",
        "-c", "-o", "-", "plain",
    )  # fmt: skip
    (fact,) = inspect(openpgp.INSPECTOR, data)
    assert isinstance(fact, Encryption)
    assert (fact.cipher, fact.key_bits, fact.kdf, fact.kdf_hash, fact.iterations, fact.needs) == (
        "aes", 256, "s2k-iterated", "sha512", 65011712, ["passphrase"],
    )  # fmt: skip


@pytest.mark.parametrize("armour", [[], ["--armor"]])
@pytest.mark.parametrize(("name", "algorithm"), [("Rsa", "rsa"), ("Ed", "eddsa")])
def test_a_detached_signature(pgp: Path, armour: list[str], name: str, algorithm: str) -> None:
    data = gpg(pgp, *armour, "-u", name, "--digest-algo", "SHA512", "-b", "-o", "-", "plain")
    assert openpgp.INSPECTOR.wants_head is not None
    assert openpgp.INSPECTOR.wants_head(data)
    (fact,) = inspect(openpgp.INSPECTOR, data)
    assert isinstance(fact, Signature)
    assert (fact.format, fact.kind, fact.algorithm, fact.digest, fact.detached) == (
        "openpgp", "binary", algorithm, "sha512", True,
    )  # fmt: skip
    assert (fact.key_id, fact.verified) == (identifiers(pgp, name)[0], None)
    assert fact.signed_at is not None


def test_signed_text_and_keys(pgp: Path) -> None:
    data = gpg(pgp, "-u", "Ed", "--clearsign", "-o", "-", "plain")
    (fact,) = inspect(openpgp.INSPECTOR, data)
    assert isinstance(fact, Signature)
    assert (fact.kind, fact.covers, fact.detached, fact.line) == ("text", "text before it", False, 1004)
    for armour in ([], ["--armor"]):
        assert inspect(openpgp.INSPECTOR, gpg(pgp, *armour, "--export", "Rsa")) == []


def test_luks_and_its_key_slots(tmp_path: Path) -> None:
    (tmp_path / "phrase").write_bytes(b"x")
    for name in ("one", "two"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(17 << 20)
    common = ("cryptsetup", "-q", "luksFormat", "--key-file", "phrase")
    run(tmp_path, *common, "--type", "luks1", "--pbkdf-force-iterations", "1234", "--hash", "sha512", "one")
    run(
        tmp_path, *common, "--type", "luks2", "--pbkdf", "argon2id", "--pbkdf-force-iterations", "4", "--pbkdf-memory",
        "1024", "--pbkdf-parallel", "1", "two",
    )  # fmt: skip
    run(
        tmp_path, "cryptsetup", "-q", "luksAddKey", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "2000",
        "--key-file", "phrase", "--new-key-slot", "3", "two", "phrase",
    )  # fmt: skip
    assert inspect(luks.INSPECTOR, (tmp_path / "one").read_bytes(), "luks") == [
        Encryption(
            offset=4096, scheme="luks1", cipher="aes", mode="xts-plain64", key_bits=512, kdf="pbkdf2",
            kdf_hash="sha512", iterations=1234, slot=0, slots=1, needs=["passphrase"],
        )
    ]  # fmt: skip
    same = {"offset": 0, "scheme": "luks2", "cipher": "aes", "mode": "xts-plain64", "key_bits": 512, "slots": 2}
    assert inspect(luks.INSPECTOR, (tmp_path / "two").read_bytes(), "luks") == [
        Encryption(**same, kdf="argon2id", iterations=4, memory=1024, lanes=1, slot=0, needs=["passphrase"]),
        Encryption(**same, kdf="pbkdf2", kdf_hash="sha256", iterations=2000, slot=3, needs=["passphrase"]),
    ]


def test_a_disk_of_qemu(tmp_path: Path) -> None:
    secret = ("--object", "secret,id=s,data=x", "-f", "qcow2", "-o")
    run(
        tmp_path,
        "qemu-img",
        "create",
        *secret,
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
        "a",
        "1M",
    )
    data = (tmp_path / "a").read_bytes()
    (found,) = inspect(qcow2_encryption.INSPECTOR, data, "qcow2")
    assert isinstance(found, Encryption)
    assert (found.scheme, found.cipher, found.mode, found.key_bits, found.kdf, found.kdf_hash, found.slots) == (
        "qcow2-luks", "aes", "xts-plain64", 512, "pbkdf2", "sha256", 1,
    )  # fmt: skip
    run(tmp_path, "qemu-img", "create", "-f", "qcow2", "b", "1M")
    assert inspect(qcow2_encryption.INSPECTOR, (tmp_path / "b").read_bytes(), "qcow2") == []
    for broken in mangled(data, count=200, hot=range(600)):
        with contextlib.suppress(UnpackError):
            inspect(qcow2_encryption.INSPECTOR, broken, "qcow2")


def test_entries_of_archives(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(PLAIN)
    (tmp_path / "b").write_bytes(PLAIN)
    run(tmp_path, "zip", "-q", "-P", "x", "old.zip", "a")
    run(tmp_path, "zip", "-q", "plain.zip", "b")
    (old,) = inspect(zip_encryption.INSPECTOR, (tmp_path / "old.zip").read_bytes(), "zip")
    assert isinstance(old, Encryption)
    assert (old.scheme, old.entries, old.kdf, old.needs) == ("zip-crypto", 1, None, ["passphrase"])
    assert inspect(zip_encryption.INSPECTOR, (tmp_path / "plain.zip").read_bytes(), "zip") == []
    run(tmp_path, "7z", "a", "-bd", "-px", "-mem=AES256", "old.zip", "b")
    traditional, new = inspect(zip_encryption.INSPECTOR, (tmp_path / "old.zip").read_bytes(), "zip")
    assert isinstance(new, Encryption)
    assert traditional.scheme == "zip-crypto"  # type: ignore[attr-defined]
    assert (new.scheme, new.cipher, new.key_bits, new.kdf, new.iterations, new.entries) == (
        "zip-aes", "aes", 256, "pbkdf2", 1000, 1,
    )  # fmt: skip


@pytest.mark.parametrize("options", [[], ["-a"]])
def test_files_of_openssl_enc(tmp_path: Path, options: list[str]) -> None:
    data = run(tmp_path, "openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-pass", "pass:x", *options, data=PLAIN)
    length = None if options else len(data) - 16
    fact = Encryption(offset=0, scheme="openssl-enc", needs=["passphrase"], length=length)
    assert inspect(openssl_salted.INSPECTOR, data) == [fact]
    assert inspect(openssl_salted.INSPECTOR, b"U2FsdGVkX1 is how it begins") == []


@for_any(st.binary(max_size=300), st.sampled_from(openpgp.BEGINNINGS))
def test_packets_are_read_or_refused(data: bytes, begin: bytes) -> None:
    assert openpgp.INSPECTOR.wants_head is not None
    openpgp.INSPECTOR.wants_head(begin + data)
    with contextlib.suppress(UnpackError):
        inspect(openpgp.INSPECTOR, begin + data)


@pytest.mark.parametrize("inspector", [openpgp.INSPECTOR, luks.INSPECTOR, zip_encryption.INSPECTOR])
def test_hostile_contents(tmp_path: Path, pgp: Path, inspector: ContentInspector) -> None:
    if inspector is openpgp.INSPECTOR:
        good = gpg(pgp, "-u", "Ed", "-b", "-o", "-", "plain") + gpg(pgp, "--passphrase", "x", "-c", "-o", "-", "plain")
    elif inspector is luks.INSPECTOR:
        (tmp_path / "phrase").write_bytes(b"x")
        with (tmp_path / "one").open("wb") as file:
            file.truncate(17 << 20)
        run(tmp_path, "cryptsetup", "-q", "luksFormat", "--key-file", "phrase", "--pbkdf", "pbkdf2",
            "--pbkdf-force-iterations", "1000", "one")  # fmt: skip
        good = (tmp_path / "one").read_bytes()[: 64 << 10]
    else:
        (tmp_path / "a").write_bytes(PLAIN)
        run(tmp_path, "zip", "-q", "-P", "x", "old.zip", "a")
        good = (tmp_path / "old.zip").read_bytes()
    for broken in mangled(good, count=300):
        if inspector.wants_head is not None and not inspector.wants_head(broken):
            continue
        try:
            inspect(inspector, broken)
        except UnpackError:
            continue
