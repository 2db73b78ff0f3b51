"""Credentials: keys made by real tools in every format, tokens by shape, and what only looks like a secret."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import shutil
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from assay.facts.access import Credential
from assay.inspect import authorized_keys, credentials, scan
from assay.unpack.base import LimitReached
from tests.support.hostile import mangled
from tests.support.memory_tree import content_of, inspect

KEYS: dict[str, PrivateKeyTypes] = {
    "RSA": rsa.generate_private_key(65537, 1024),
    "EC": ec.generate_private_key(ec.SECP256R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "DSA": dsa.generate_private_key(1024),
}
BITS = {"RSA": 1024, "EC": 256, "Ed25519": 256, "DSA": 1024, "X25519": 256, "Ed448": 456}


def fingerprint(key: PrivateKeyTypes) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def parsed(scheme: str, /, **more: object) -> Credential:
    columns: dict[str, object] = {
        "kind": "private-key",
        "scheme": scheme,
        "bits": BITS[scheme],
        "encrypted": False,
        "evidence": "parsed",
        "offset": 0,
        "line": 1,
    }
    columns |= {"fingerprint": fingerprint(KEYS[scheme])} if scheme in KEYS else {}
    return Credential(**(columns | more))


def find(data: bytes, kind: str | None = None) -> list[Credential]:
    found = inspect(credentials.INSPECTOR, data, kind)
    assert all(isinstance(fact, Credential) for fact in found)
    return found  # type: ignore[return-value]


PLAIN = [
    (Encoding.PEM, PrivateFormat.PKCS8),
    (Encoding.PEM, PrivateFormat.TraditionalOpenSSL),
    (Encoding.DER, PrivateFormat.PKCS8),
    (Encoding.DER, PrivateFormat.TraditionalOpenSSL),
]


@pytest.mark.parametrize("scheme", KEYS)
@pytest.mark.parametrize(("encoding", "format"), PLAIN)
def test_keys_in_every_format(scheme: str, encoding: Encoding, format: PrivateFormat) -> None:
    if scheme == "Ed25519" and format is PrivateFormat.TraditionalOpenSSL:
        pytest.skip("has no traditional format")
    data = KEYS[scheme].private_bytes(encoding, format, NoEncryption())
    if encoding is Encoding.PEM:
        assert find(data) == [parsed(scheme)]
        assert find(b"x = 1\n\n" + data, "text") == [parsed(scheme, offset=7, line=3)]
        quoted = b'{"key": "' + data.replace(b"\n", b"\\n") + b'"}'
        assert find(quoted) == [parsed(scheme, offset=9)]
        indented = data.replace(b"\n", b"\n    ")
        assert find(indented) == [parsed(scheme)]
    else:
        assert find(data, "data") == [parsed(scheme, line=None)]
    assert find(b"\x7fELF" + bytes(100) + data + bytes(100), "elf") == [parsed(scheme, offset=104, line=None)]


@pytest.mark.parametrize("scheme", ["RSA", "EC", "Ed25519"])
def test_openssh_keys(scheme: str) -> None:
    key = KEYS[scheme]
    if scheme == "RSA":
        key = rsa.generate_private_key(65537, 2048)
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    expected = {"fingerprint": fingerprint(key), "bits": key.key_size if scheme == "RSA" else 256}  # type: ignore[union-attr]
    assert find(plain) == [parsed(scheme, **expected)]


def test_openssh_keys_of_ssh_keygen(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs ssh-keygen")
    for phrase in ("", "secret"):
        path = tmp_path / f"key{phrase}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-C", "me", "-f", path], check=True)
        (found,) = find(path.read_bytes())
        assert (found.scheme, found.bits, found.encrypted, found.evidence) == (
            "Ed25519",
            256,
            bool(phrase),
            "parsed",
        )
        public = path.with_suffix(".pub").read_bytes()
        (entry,) = inspect(authorized_keys.INSPECTOR, public)
        shown = subprocess.run(["ssh-keygen", "-l", "-f", path], capture_output=True, text=True).stdout.split()[1]
        assert isinstance(entry, Credential)
        assert entry.fingerprint is not None
        assert base64.b64encode(bytes.fromhex(entry.fingerprint)).decode().rstrip("=") == shown.removeprefix("SHA256:")


def test_encrypted_keys() -> None:
    lock = BestAvailableEncryption(b"secret")
    pem = KEYS["RSA"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
    exact = hashlib.sha256(pem.rstrip(b"\n")).hexdigest()
    assert find(pem) == [
        parsed("RSA", scheme="PKCS8", bits=None, encrypted=True, evidence="pem-header", fingerprint=exact)
    ]
    der = KEYS["RSA"].private_bytes(Encoding.DER, PrivateFormat.PKCS8, lock)
    assert find(b"ab" + der, "data") == [
        parsed(
            "RSA",
            scheme="PKCS8",
            bits=None,
            encrypted=True,
            fingerprint=hashlib.sha256(der).hexdigest(),
            offset=2,
            line=None,
        )
    ]
    pem = KEYS["EC"].private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, lock)
    assert b"Proc-Type: 4,ENCRYPTED" in pem
    (found,) = find(pem)
    assert (found.scheme, found.encrypted, found.evidence) == ("EC", True, "pem-header")


def test_other_curves() -> None:
    for key, scheme in ((x25519.X25519PrivateKey.generate(), "X25519"), (ed448.Ed448PrivateKey.generate(), "Ed448")):
        for encoding in (Encoding.PEM, Encoding.DER):
            (found,) = find(key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption()))
            assert (found.scheme, found.fingerprint) == (scheme, fingerprint(key))


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def mpint(value: int) -> bytes:
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def dropbear(scheme: str) -> bytes:
    key = KEYS[scheme]
    if isinstance(key, rsa.RSAPrivateKey):
        n = key.private_numbers()
        public = n.public_numbers
        return string(b"ssh-rsa") + b"".join(map(mpint, (public.e, public.n, n.d, n.p, n.q)))
    if isinstance(key, dsa.DSAPrivateKey):
        x = key.private_numbers()
        q = x.public_numbers.parameter_numbers
        return string(b"ssh-dss") + b"".join(map(mpint, (q.p, q.q, q.g, x.public_numbers.y, x.x)))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        scalar = mpint(key.private_numbers().private_value)
        return string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(point) + scalar
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return string(b"ssh-ed25519") + string(key.private_bytes_raw() + key.public_key().public_bytes_raw())


@pytest.mark.parametrize("scheme", KEYS)
def test_dropbear_host_keys(scheme: str) -> None:
    data = dropbear(scheme)
    assert find(data, "data") == [parsed(scheme, line=None)]
    broken = bytearray(data)
    broken[-3] ^= 1
    assert find(bytes(broken), "data") == []
    assert find(data[:60], "data") == []


@pytest.mark.parametrize(("cipher", "encrypted"), [("none", False), ("aes256-cbc", True)])
def test_putty_keys(cipher: str, encrypted: bool) -> None:
    public = KEYS["Ed25519"].public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1].decode()
    argon = "Key-Derivation: Argon2id\r\nArgon2-Memory: 8192\r\nArgon2-Passes: 13\r\n" if encrypted else ""
    text = (
        f"PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: {cipher}\r\nComment: me\r\nPublic-Lines: 2\r\n"
        f"{public[:64]}\r\n{public[64:]}\r\n{argon}Private-Lines: 1\r\nAAAA\r\nPrivate-MAC: 00\r\n"
    )
    assert find(text.encode()) == [parsed("Ed25519", encrypted=encrypted, subject="me")]


@pytest.mark.parametrize(
    ("label", "headers", "tail", "scheme", "encrypted"),
    [
        ("-----{} PGP PRIVATE KEY BLOCK-----", "Comment: a\n\n", "=ab12\n", "PGP", None),
        ("---- {} SSH2 ENCRYPTED PRIVATE KEY ----", 'Comment: "a"\n', "", "SSH2", True),
        ("-----{} PRIVATE KEY-----", "", "", "unknown", False),  # its label says that it is in the clear
    ],
)
def test_armour_that_is_not_parsed(label: str, headers: str, tail: str, scheme: str, encrypted: bool | None) -> None:
    text = f"{label.format('BEGIN')}\n{headers}{A}{A}\n{Z}{Z}\n{tail}{label.format('END')}"
    expected = Credential(
        offset=0,
        line=1,
        kind="private-key",
        scheme=scheme,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        encrypted=encrypted,
        evidence="pem-header",
    )
    assert find(f"{text}\nmore".encode()) == [expected]


def test_a_header_is_not_a_key() -> None:
    for body in (b"\0", b"\n", b"\n...\n-----END RSA PRIVATE KEY-----", b"\n-----END RSA PRIVATE KEY-----\n", b""):
        assert find(b"text -----BEGIN RSA PRIVATE KEY-----" + body) == []
    begun = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"MIIB" * 15
    assert find(begun) == []
    assert [(f.evidence, f.bits) for f in find(begun + b"MIIB")] == [("pem-header", None)]


def test_certificates_and_public_keys_are_not_private_keys() -> None:
    for key in KEYS.values():
        for encoding in (Encoding.PEM, Encoding.DER):
            assert find(key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)) == []


A, Z = "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z", "Zy8xWv7uTs6rQp5oNm4lKj3iHg2fEd1c"
HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
TOKENS = [
    ("aws-access-key-id", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("github", "gh" + "p_" + A + "abcd"),
    ("github-fine-grained", "github" + "_pat_" + A[:22] + "_" + (A + Z)[:59]),
    ("gitlab", "gl" + "pat-" + A[:20]),
    ("slack", "xox" + "b-123456789012-123456789012-" + A[:24]),
    ("google-api-key", "AI" + "za" + A + "_-5"),
    ("stripe", "sk" + "_live_" + A[:24]),
    ("npm", "np" + "m_" + A + "0123"),
    ("pypi", "py" + "pi-AgEIcHlwaS5vcmc" + A + Z),
    ("telegram-bot", "123456789:A" + "A" + A + "x"),
    ("sendgrid", "S" + "G." + A[:22] + "." + (A + Z)[:43]),
    ("jwt", f"{HEADER}.{HEADER}.{A}"),
]


@pytest.mark.parametrize(("scheme", "token"), TOKENS)
def test_tokens(scheme: str, token: str) -> None:
    expected = Credential(
        offset=9,
        line=2,
        kind="token",
        scheme=scheme,
        fingerprint=hashlib.sha256(token.encode()).hexdigest(),
        evidence="pattern",
    )
    assert find(f'first\nx="{token}"\n'.encode(), "text") == [expected]
    (inside,) = find(b"\x7fELF\0" + token.encode() + b"\0", "elf")
    assert (inside.fingerprint, inside.offset, inside.line) == (expected.fingerprint, 5, None)
    if scheme not in ("gitlab", "stripe", "pypi", "jwt", "slack"):
        assert find(f"{token}x".encode()) == []
    assert find(f"x{token}".encode()) == []


def test_parts_of_a_text_as_secrets() -> None:
    secret = (A + Z + A)[:86] + "=="
    assert find(f"AccountName=a;AccountKey={secret};End".encode()) == [
        Credential(
            offset=25,
            line=1,
            kind="token",
            scheme="azure-storage",
            fingerprint=hashlib.sha256(secret.encode()).hexdigest(),
            evidence="pattern",
        )
    ]
    assert find(b"url = ftp://admin:s3cr:et@10.0.0.1/x") == [
        Credential(
            offset=18,
            line=1,
            kind="token",
            scheme="url-credentials",
            fingerprint=hashlib.sha256(b"s3cr:et").hexdigest(),
            subject="admin",
            evidence="pattern",
        )
    ]
    for template in ("%s:%s", "${USER}:x", "user:<password>", "a:$(cat x)", "{0}:{1}", "user:..."):
        assert find(f"http://{template}@host/".encode()) == []
    assert find(b"http://host:8080/@x http://[::1]:80/ mailto:a:b@c") == []


def test_rows_of_x_are_not_tokens() -> None:
    assert find(("gh" + "p_" + "x" * 36).encode()) == []
    assert find(f"eyJ{'x' * 20}.eyJ{'x' * 20}.{'x' * 20}".encode()) == []


def test_password_hashes() -> None:
    value = "$6$saltsalt$" + (A + Z + A)[:86]
    digest = hashlib.sha256(value.encode()).hexdigest()
    expected = Credential(
        offset=6,
        line=1,
        kind="password-hash",
        scheme="sha512crypt",
        fingerprint=digest,
        subject="admin",
        evidence="pattern",
    )
    assert find(f"admin:{value}\n".encode()) == [expected]
    assert find(f"PW={value}\n".encode()) == [msgspec.structs.replace(expected, offset=3, subject=None)]
    assert find(f"PW={value}x\n".encode()) == []
    assert find(f"root:{value}:19000:0:99999:7:::\n".encode()) == [], "the inspector of shadow has that one"


def test_no_fact_holds_its_secret() -> None:
    secrets = [token for _, token in TOKENS] + ["s3cr:et", "$6$saltsalt$" + (A + Z + A)[:86]]
    text = "\n".join(secrets).replace("s3cr:et", "ftp://admin:s3cr:et@10.0.0.1/x")
    found = find(text.encode() + b"\n" + KEYS["RSA"].private_bytes(*PLAIN[0], NoEncryption()))
    assert len(found) == len(secrets) + 1
    told = msgspec.json.encode(found).decode()
    assert not [secret for secret in secrets if secret in told]


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    token = TOKENS[0][1].encode()
    monkeypatch.setattr(credentials, "MAX_FACTS", 5)
    kept: list[Credential] = []
    with pytest.raises(LimitReached):
        kept.extend(credentials.INSPECTOR.inspect(content_of(credentials.INSPECTOR, b" ".join([token] * 20))))
    assert len(kept) == 5
    monkeypatch.setattr(scan, "MAX_HITS", 3)
    with pytest.raises(LimitReached):
        find(b" ".join([token] * 20))


@pytest.mark.parametrize(
    "unit",
    [
        b"-----BEGIN RSA PRIVATE KEY-----",
        b"-----BEGIN RSA PRIVATE KEY-----\nMIIB",
        b"eyJ" + b"a" * 9 + b".",
        b"PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nComment: \nPublic-Lines: 1\nA\nK: \n",
        b"\0\0\0\x07ssh-rsa\0\0\0\1\3",
        b"\x30\x82\x20\x10\x02\x01\x00\x02\x82",
        b"a://b:c@",
        b"$6$",
        b"AccountKey=" + b"A" * 80,
        b"K: v\n",
    ],
)
def test_repeated_beginnings_stay_cheap(unit: bytes) -> None:
    begun = time.process_time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "MAX_HITS", 2_000)
        with contextlib.suppress(LimitReached):
            find(unit * (400_000 // len(unit)))
    assert time.process_time() - begun < 2


def test_broken_keys_end_well() -> None:
    whole = [KEYS[scheme].private_bytes(*form, NoEncryption()) for scheme in ("RSA", "EC", "DSA") for form in PLAIN]
    whole += [dropbear(scheme) for scheme in KEYS]
    for number, data in enumerate(whole):
        for variant in mangled(data, seed=number, count=60):
            begun = time.process_time()
            find(variant)
            assert time.process_time() - begun < 1


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    find(data)
    inspect(authorized_keys.INSPECTOR, data, "text")


def test_authorized_keys() -> None:
    wants = authorized_keys.INSPECTOR.wants_path
    assert wants is not None
    assert [wants(path) for path in ("/root/.ssh/authorized_keys", "/home/a/.ssh/authorized_keys2", "/a.pub")] == [
        True,
        True,
        False,
    ]
    key = rsa.generate_private_key(65537, 1024).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    blob = base64.b64decode(key.split()[1])
    text = (
        b"# " + key + b" commented\n"
        b'from="10.0.0.0/8",command="echo ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB " ' + key + b" a b\n"
        b"ssh-rsa AAAA broken\nssh-ed25519 " + key.split()[1] + b" wrong\n" + key
    )
    common = {"kind": "authorized-key", "scheme": "RSA", "bits": 1024, "fingerprint": hashlib.sha256(blob).hexdigest()}
    assert inspect(authorized_keys.INSPECTOR, text) == [
        Credential(**common, subject="a b", offset=text.index(key, text.index(b"command")), line=2),
        Credential(**common, offset=text.rindex(key), line=5),
    ]
