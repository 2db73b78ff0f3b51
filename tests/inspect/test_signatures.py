"""Signatures and enveloped data, made by openssl and osslsigncode; kernel modules are signed by hand as documented."""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given as for_any
from hypothesis import strategies as st

from assay.facts import ContentFact
from assay.facts.identity import Identity
from assay.facts.sealing import Encryption, Signature
from assay.inspect import authenticode, cms, module_signature
from assay.inspect.base import ContentInspector
from assay.inspect.der_format import NotDer, read
from assay.unpack.base import UnpackError
from assay.unpack.secrets import Secrets, holding
from tests.support.hostile import mangled
from tests.support.memory_tree import inspect

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
MESSAGE = b"what is signed\n" * 100


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signatures")
    (folder / "message").write_bytes(MESSAGE)
    for name, key in (("rsa", ["rsa:2048"]), ("ec", ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])):
        openssl(
            folder, "req", "-x509", "-newkey", *key, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem",
            "-days", "3650", "-subj", f"/O=Example/CN={name}", "-set_serial", "0x77", "-addext",
            "extendedKeyUsage=codeSigning",
        )  # fmt: skip
    openssl(folder, "x509", "-in", "rsa.pem", "-pubkey", "-noout", "-out", "rsa.pub")
    return folder


def signed(folder: Path, *options: str, who: str = "rsa") -> bytes:
    openssl(
        folder, "cms", "-sign", "-binary", "-in", "message", "-signer", f"{who}.pem", "-inkey", f"{who}.key",
        "-outform", "DER", "-out", "out", *options,
    )  # fmt: skip
    return (folder / "out").read_bytes()


def fingerprint(folder: Path, who: str) -> tuple[str, str]:
    """Return the digests of a certificate and of its key."""
    certificate = x509.load_pem_x509_certificate((folder / f"{who}.pem").read_bytes())
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(), hashlib.sha256(info).hexdigest()


def only(found: list[ContentFact]) -> Signature:
    (signature,) = [fact for fact in found if isinstance(fact, Signature)]
    return signature


def test_a_signature_that_encloses_what_it_covers(made: Path) -> None:
    data = signed(made, "-nodetach")
    found = inspect(cms.INSPECTOR, data)
    fact = only(found)
    certificate, key = fingerprint(made, "rsa")
    assert (fact.format, fact.kind, fact.algorithm, fact.digest) == ("cms", "data", "rsa", "sha256")
    assert (fact.serial, fact.certificate, fact.key_id) == ("77", certificate, None)
    assert (fact.covers, fact.detached, fact.verified, fact.digest_right) == ("enclosed data", False, True, True)
    assert (fact.verified_with, fact.key_place) == (key, "same content")
    assert fact.message_digest == hashlib.sha256(MESSAGE).hexdigest()
    assert fact.covers_offset is not None
    assert data[fact.covers_offset :][: fact.covers_length] == MESSAGE
    assert fact.signed_at is not None
    assert fact.signed_at.startswith("20")
    assert [each.value for each in found if isinstance(each, Identity)] == ["CN=rsa,O=Example"]


@pytest.mark.parametrize(
    ("options", "who", "algorithm", "digest"),
    [
        (["-md", "sha512"], "rsa", "rsa", "sha512"),
        (["-md", "sha384"], "ec", "ecdsa", "sha384"),
        (["-md", "sha256", "-keyopt", "rsa_padding_mode:pss"], "rsa", "rsa-pss", "sha256"),
        (["-noattr"], "ec", "ecdsa", "sha256"),
        (["-keyid"], "rsa", "rsa", "sha256"),
    ],
)
def test_every_kind_of_signature_is_verified(
    made: Path, options: list[str], who: str, algorithm: str, digest: str
) -> None:
    fact = only(inspect(cms.INSPECTOR, signed(made, "-nodetach", *options, who=who)))
    assert (fact.algorithm, fact.digest, fact.verified) == (algorithm, digest, True)
    assert fact.digest_right is (None if "-noattr" in options else True)
    assert (fact.key_id is not None) == ("-keyid" in options)


def test_a_detached_signature_states_the_digest_of_what_it_covers(made: Path) -> None:
    data = signed(made)
    fact = only(inspect(cms.INSPECTOR, data))
    assert (fact.detached, fact.covers, fact.verified, fact.digest_right) == (True, "", True, None)
    assert fact.message_digest == hashlib.sha256(MESSAGE).hexdigest()
    openssl(made, "cms", "-cmsout", "-in", "out", "-inform", "DER", "-outform", "PEM", "-out", "out.pem")
    pem = only(inspect(cms.INSPECTOR, b"# note\n" + (made / "out.pem").read_bytes()))
    assert (pem.offset, pem.message_digest, pem.verified) == (7, fact.message_digest, True)


@pytest.mark.parametrize("name", ["rsa.pem", "rsa.pub", "rsa.key"])
def test_a_given_key_verifies(made: Path, name: str) -> None:
    data = signed(made, "-nocerts", "-nodetach")
    assert only(inspect(cms.INSPECTOR, data)).verified is None
    with holding(Secrets((), (b"no key", (made / name).read_bytes()))):
        fact = only(inspect(cms.INSPECTOR, data))
    assert (fact.verified, fact.verified_with, fact.key_place) == (True, fingerprint(made, "rsa")[1], "given")


def test_a_key_in_the_message_comes_before_one_given(made: Path) -> None:
    with holding(Secrets((), ((made / "rsa.pem").read_bytes(),))):
        assert only(inspect(cms.INSPECTOR, signed(made, "-nodetach"))).key_place == "same content"


def test_what_was_changed_is_told(made: Path) -> None:
    data = signed(made, "-nodetach")
    fact = only(inspect(cms.INSPECTOR, data.replace(MESSAGE, MESSAGE[:-3] + b"er\n")))
    assert (fact.verified, fact.digest_right) == (True, False)
    value = bytearray(data)
    value[-5] ^= 1
    assert only(inspect(cms.INSPECTOR, bytes(value))).verified is False
    plain = signed(made, "-nodetach", "-noattr")
    assert only(inspect(cms.INSPECTOR, plain.replace(MESSAGE, MESSAGE[:-3] + b"er\n"))).verified is False


def test_for_whom_something_is_encrypted(made: Path) -> None:
    def enveloped(*options: str) -> Encryption:
        openssl(made, "cms", "-encrypt", "-binary", "-in", "message", "-outform", "DER", "-out", "env", *options)
        (fact,) = inspect(cms.INSPECTOR, (made / "env").read_bytes())
        assert isinstance(fact, Encryption)
        return fact

    fact = enveloped("-aes256", "rsa.pem", "ec.pem")
    assert (fact.scheme, fact.cipher, fact.mode, fact.key_bits) == ("cms", "aes", "cbc", 256)
    assert fact.needs == ["private key of serial:77", "private key of serial:77"]
    fact = enveloped("-aes-128-cbc", "-pwri_password", "x")
    assert (fact.cipher, fact.mode, fact.key_bits, fact.needs) == ("aes", "cbc", 128, ["passphrase"])
    fact = enveloped("-aes128", "-secretkey", "00" * 16, "-secretkeyid", "c0ffee")
    assert fact.needs == ["symmetric key c0ffee"]


def module(data: bytes, signature: bytes, kind: int = 2, hash: int = 0) -> bytes:
    """As Documentation/admin-guide/module-signing.rst and module_signature.h have it."""
    trailer = struct.pack(">5B3xL", int(kind == 1), hash, kind, 0, 0, len(signature))
    return data + signature + trailer + b"~Module signature appended~\n"


def test_a_kernel_module(made: Path) -> None:
    data = module(MESSAGE, signed(made, "-noattr", "-nocerts", "-md", "sha512"))
    fact = only(inspect(module_signature.INSPECTOR, data))
    assert (fact.format, fact.digest, fact.serial, fact.verified) == ("module", "sha512", "77", None)
    assert (fact.covers, fact.covers_offset, fact.covers_length, fact.offset) == (
        "bytes before it", 0, len(MESSAGE), len(MESSAGE),
    )  # fmt: skip
    with holding(Secrets((), ((made / "rsa.pem").read_bytes(),))):
        assert only(inspect(module_signature.INSPECTOR, data)).verified is True
        assert only(inspect(module_signature.INSPECTOR, b"W" + data[1:])).verified is False
        # the form before Linux 4.3: PKCS #1, with the length before it
        openssl(made, "dgst", "-sha256", "-sign", "rsa.key", "-out", "raw", "message")
        raw = (made / "raw").read_bytes()
        old = module(MESSAGE, len(raw).to_bytes(2, "big") + raw, kind=1, hash=4)
        fact = only(inspect(module_signature.INSPECTOR, old))
        assert (fact.kind, fact.algorithm, fact.digest, fact.verified) == ("x509", "rsa", "sha256", True)
    assert inspect(module_signature.INSPECTOR, data + b"x") == []
    assert inspect(module_signature.INSPECTOR, b"~Module signature appended~\n") == []


def program() -> bytes:
    """Return the smallest PE32+ program for EFI that tools accept: headers, and one section."""
    dos = b"MZ" + bytes(58) + struct.pack("<L", 64)
    coff = struct.pack("<4sHHLLLHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, 240, 0x22)
    optional = struct.pack(
        "<HBBLLLLLQLLHHHHHHLLLLHHQQQQLL", 0x20B, 14, 0, 512, 0, 0, 4096, 4096, 0, 4096, 512, 0, 0, 0, 0, 0, 0, 0,
        8192, 512, 0, 10, 0, 0, 0, 0, 0, 0, 16,
    ) + bytes(128)  # fmt: skip
    section = struct.pack("<8sLLLLLLHHL", b".text", 512, 4096, 512, 512, 0, 0, 0, 0, 0x60000020)
    return (dos + coff + optional + section).ljust(512, b"\0") + bytes(range(256)) * 2


@pytest.mark.skipif(shutil.which("osslsigncode") is None, reason="osslsigncode is not installed")
def test_a_program_for_secure_boot(made: Path) -> None:
    (made / "a.efi").write_bytes(program())
    assert inspect(authenticode.INSPECTOR, program()) == []
    (made / "signed.efi").unlink(missing_ok=True)
    subprocess.run(
        ["osslsigncode", "sign", "-certs", "rsa.pem", "-key", "rsa.key", "-h", "sha256", "-in", "a.efi", "-out",
         "signed.efi"], cwd=made, check=True, capture_output=True,
    )  # fmt: skip
    data = (made / "signed.efi").read_bytes()
    fact = only(inspect(authenticode.INSPECTOR, data))
    assert (fact.format, fact.kind, fact.digest) == ("authenticode", "SpcIndirectDataContent", "sha256")
    assert (fact.verified, fact.digest_right, fact.verified_with) == (True, True, fingerprint(made, "rsa")[1])
    assert authenticode.INSPECTOR.wants_head is not None
    assert authenticode.INSPECTOR.wants_head(data)
    changed = bytearray(data)
    changed[600] ^= 1
    fact = only(inspect(authenticode.INSPECTOR, bytes(changed)))
    assert (fact.verified, fact.digest_right) == (True, False)


@pytest.mark.parametrize("inspector", [cms.INSPECTOR, module_signature.INSPECTOR, authenticode.INSPECTOR])
def test_hostile_messages(made: Path, inspector: ContentInspector) -> None:
    good = signed(made, "-nodetach")
    if inspector is module_signature.INSPECTOR:
        good = module(MESSAGE, signed(made))
    if inspector is authenticode.INSPECTOR:
        good = program()
        good += struct.pack("<LHH", 8 + len(signed(made, "-nodetach")), 0x200, 2) + signed(made, "-nodetach")
        good = good[:232] + struct.pack("<2L", 1024, len(good) - 1024) + good[240:]
    for broken in mangled(good, count=400):
        if inspector.wants_head is not None and not inspector.wants_head(broken):
            continue
        try:
            inspect(inspector, broken)
        except UnpackError:
            continue


@for_any(st.binary(max_size=200))
def test_der_is_read_or_refused(data: bytes) -> None:
    try:
        value = read(data)
        assert value.end <= len(data)
        for inner in value.inside():
            assert value.start <= inner.at < inner.end <= value.end
            inner.oid()
    except NotDer:
        pass
