"""Certificates: made by the real tool, found in every form in which they are kept, compared by digests of names."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from assay.facts.crypto import Certificate
from assay.facts.identity import Identity
from assay.inspect.certificates import INSPECTOR
from assay.unpack.base import Encrypted, LimitReached
from tests.support.hostile import mangled
from tests.support.memory_tree import inspect

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
pytestmark = needs_openssl


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root certificate, one that it issued, and both in every form."""
    folder = tmp_path_factory.mktemp("certificates")
    openssl(
        folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "root.key", "-out", "root.pem", "-days",
        "3650", "-subj", "/O=Example Networks/CN=Root", "-set_serial", "0x1234",
        "-addext", "keyUsage=keyCertSign,cRLSign",
    )  # fmt: skip
    openssl(
        folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "leaf.key",
        "-out", "leaf.csr", "-subj", "/CN=amf.example.org",
    )  # fmt: skip
    (folder / "ext").write_text(
        "basicConstraints=CA:FALSE\nsubjectAltName=DNS:a.example.org,DNS:b.example.org,IP:192.0.2.1\n"
        "extendedKeyUsage=serverAuth,clientAuth\n"
    )
    openssl(
        folder, "x509", "-req", "-in", "leaf.csr", "-CA", "root.pem", "-CAkey", "root.key", "-set_serial", "7",
        "-days", "30", "-sha384", "-extfile", "ext", "-out", "leaf.pem",
    )  # fmt: skip
    openssl(folder, "x509", "-in", "root.pem", "-outform", "DER", "-out", "root.der")
    openssl(folder, "x509", "-in", "root.pem", "-trustout", "-addtrust", "serverAuth", "-out", "trusted.pem")
    openssl(folder, "crl2pkcs7", "-nocrl", "-certfile", "root.pem", "-certfile", "leaf.pem", "-out", "both.p7b")
    for name, password in (("open.p12", ""), ("locked.p12", "secret")):
        openssl(
            folder, "pkcs12", "-export", "-in", "leaf.pem", "-inkey", "leaf.key", "-certfile", "root.pem", "-out", name,
            "-passout", f"pass:{password}",
        )  # fmt: skip
    return folder


def split(found: list[object]) -> tuple[list[Certificate], list[Identity]]:
    return [f for f in found if isinstance(f, Certificate)], [f for f in found if isinstance(f, Identity)]


def test_what_is_said_of_a_certificate(made: Path) -> None:
    text = b"# roots\n" + (made / "root.pem").read_bytes() + (made / "leaf.pem").read_bytes()
    (root, leaf), names = split(list(inspect(INSPECTOR, text)))
    loaded = x509.load_pem_x509_certificate((made / "root.pem").read_bytes())
    assert (root.offset, root.line, root.key, root.bits, root.hash, root.ca) == (8, 2, "RSA", 2048, "sha256", True)
    assert root.fingerprint == loaded.fingerprint(loaded.signature_hash_algorithm).hex()  # type: ignore[arg-type]
    assert (root.signature, root.serial, root.self_issued, root.self_signed) == (
        "sha256WithRSAEncryption", "1234", True, True,
    )  # fmt: skip
    assert root.usage == ["key_cert_sign", "crl_sign"]
    assert (leaf.key, leaf.bits, leaf.curve, leaf.hash, leaf.ca) == ("EC", 256, "secp256r1", "sha384", False)
    assert (leaf.names, leaf.usage) == (3, ["serverAuth", "clientAuth"])
    assert leaf.issuer_digest == root.subject_digest != leaf.subject_digest
    assert (leaf.self_issued, leaf.self_signed) == (False, False)
    assert leaf.line == 2 + (made / "root.pem").read_text().count("\n")
    assert [(name.attribute, name.value) for name in names] == [
        ("subject", "CN=Root,O=Example Networks"),
        ("issuer", "CN=Root,O=Example Networks"),
        ("subject", "CN=amf.example.org"),
        ("issuer", "CN=Root,O=Example Networks"),
    ]


def test_a_certificate_has_the_fingerprint_of_its_key(made: Path) -> None:
    from assay.inspect.credentials import INSPECTOR as CREDENTIALS

    ((leaf,), _) = split(list(inspect(INSPECTOR, (made / "leaf.pem").read_bytes())))
    (key,) = inspect(CREDENTIALS, (made / "leaf.key").read_bytes())
    assert leaf.key_fingerprint == key.fingerprint  # type: ignore[attr-defined]
    public = x509.load_pem_x509_certificate((made / "leaf.pem").read_bytes()).public_key()
    assert len(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)) == 91


@pytest.mark.parametrize(
    ("name", "before", "store", "count"),
    [
        ("root.der", b"", "der", 1),
        ("root.der", b"\x7fELF" + bytes(3001), "der", 1),
        ("root.der", b"\xfe\xed\xfe\xed" + bytes(40), "jks", 1),
        ("trusted.pem", b"", "pem", 1),
        ("both.p7b", b"", "pkcs7", 2),
        ("open.p12", b"", "pkcs12", 2),
    ],
)
def test_where_certificates_are_kept(made: Path, name: str, before: bytes, store: str, count: int) -> None:
    plain, _ = split(list(inspect(INSPECTOR, b"".join((made / n).read_bytes() for n in ("root.pem", "leaf.pem")))))
    found, _ = split(list(inspect(INSPECTOR, before + (made / name).read_bytes())))
    assert {fact.store for fact in found} == {store}
    assert {fact.fingerprint for fact in found} == {fact.fingerprint for fact in plain[:count]}
    assert {fact.offset for fact in found} == {len(before)}


def test_a_locked_store_is_said_to_be_locked(made: Path) -> None:
    with pytest.raises(Encrypted):
        inspect(INSPECTOR, (made / "locked.p12").read_bytes())


def test_every_root_of_this_system_is_read() -> None:
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if not bundle.exists():
        pytest.skip("no /etc/ssl/certs/ca-certificates.crt")
    found, _ = split(list(inspect(INSPECTOR, bundle.read_bytes())))
    assert len(found) == bundle.read_text().count("BEGIN CERTIFICATE")
    assert {fact.self_issued for fact in found} <= {True, False}


@pytest.mark.parametrize(
    "unit",
    [b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN PKCS7-----\nMIIB",
     b"\x30\x82\xff\xff\x30\x82\xff\xf0\xa0\x03\x02\x01\x02\x02"],
)  # fmt: skip
def test_repeated_beginnings_stay_cheap(unit: bytes) -> None:
    begun = time.process_time()
    with contextlib.suppress(LimitReached):
        assert split(list(inspect(INSPECTOR, unit * (1_000_000 // len(unit))))) == ([], [])
    assert time.process_time() - begun < 6


def test_broken_ones_end_well(made: Path) -> None:
    for seed, name in enumerate(("root.der", "root.pem", "both.p7b", "open.p12")):
        for variant in mangled((made / name).read_bytes(), seed=seed, count=60):
            try:
                inspect(INSPECTOR, variant)
            except Encrypted:
                assert name == "open.p12"


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    with contextlib.suppress(Encrypted):
        inspect(INSPECTOR, data)
