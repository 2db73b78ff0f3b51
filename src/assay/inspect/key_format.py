"""Private keys: what is behind a header or prefix that looks like one. The key itself is never returned.

Each reader takes bytes that begin where a key may begin, and returns None if there is none. Where the key can be read,
its fingerprint is SHA-256 of the SubjectPublicKeyInfo, so that the same key is recognised in every format.

Reference: RFC 7468 (PEM), RFC 1421 section 4.6 (encryption headers), RFC 8017 appendix A.1.2 (PKCS #1), RFC 5958
(PKCS #8), RFC 5915 (EC), OpenSSH PROTOCOL.key, RFC 4716, RFC 9580 section 6 (PGP armour), PuTTY manual appendix C,
Dropbear signkey.c (its host key files).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import warnings
from typing import TYPE_CHECKING, NamedTuple

from .late import late
from .ssh_format import SCHEMES, describe, strings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

WINDOW = 64 << 10
"""Bytes in which a key is looked for; an RSA key of 16384 bits takes 13 KiB as PEM."""

MAX_DER = 16 << 10


class Key(NamedTuple):
    """A private key found, in the columns of a credential; `length` is how many bytes it takes."""

    length: int
    scheme: str
    fingerprint: str
    bits: int | None = None
    encrypted: bool | None = None
    subject: str | None = None
    evidence: str = "parsed"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Public halves


def _of_public(key: PublicKeyTypes) -> tuple[str, str, int | None]:
    """Return (scheme, fingerprint, bits)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    kind = type(key).__name__.removesuffix("PublicKey")
    scheme = {"EllipticCurve": "EC"}.get(kind, kind)
    bits = getattr(key, "key_size", {"Ed25519": 256, "X25519": 256, "Ed448": 448, "X448": 448}.get(kind))
    return scheme, _sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)), bits


def _of_private(key: PrivateKeyTypes) -> tuple[str, str, int | None]:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(key, RSAPrivateKey):
        numbers = key.private_numbers()
        if numbers.p * numbers.q != numbers.public_numbers.n:
            raise ValueError("not the factors of the modulus")
    return _of_public(key.public_key())


def _of_blob(blob: bytes) -> tuple[str, str, int | None] | None:
    """Return (scheme, fingerprint, bits) of an SSH public key blob, None if it cannot be read."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import dsa
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    known = describe(blob)
    if known is None:
        return None
    try:
        if known.scheme == "DSA":
            p, q, g, y = (int.from_bytes(field, "big") for field in strings(blob, 5)[0][1:])
            parameters = dsa.DSAParameterNumbers(p, q, g)
            return _of_public(dsa.DSAPublicNumbers(y, parameters).public_key())
        text = known.name.encode() + b" " + base64.b64encode(blob)
        return _of_public(load_ssh_public_key(text))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return known.scheme, _sha256(blob), known.bits


# DER

_DH = (b"\x2a\x86\x48\x86\xf7\x0d\x01\x03\x01", b"\x2a\x86\x48\xce\x3e\x02\x01")
_RAW = late(rb"\x06\x03\x2b\x65[\x6e-\x71]\x04")
_DSA = b"\x2a\x86\x48\xce\x38\x04\x01"


def _der_length(data: bytes) -> int | None:
    """Return the length of the SEQUENCE that data begins with, header and all; None if it does not."""
    if len(data) < 2 or data[0] != 0x30:
        return None
    if data[1] < 0x80:
        return 2 + data[1]
    size = data[1] & 0x7F
    if not 1 <= size <= 2:
        return None
    return 2 + size + int.from_bytes(data[2 : 2 + size], "big")


def _load_der(der: bytes) -> tuple[str, str, int | None] | None:
    """Return (scheme, fingerprint, bits) of an unencrypted DER key, None if it cannot be read.

    A public key that has to be computed costs an exponentiation with numbers from the input. Diffie-Hellman keys are
    not loaded for that reason, DSA keys only up to the size of 3072 bits that FIPS 186-4 allows.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    head = der[:48]
    if len(der) > MAX_DER or any(oid in head for oid in _DH) or (_DSA in head and len(der) > 1200):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _of_private(load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def read_der(data: bytes) -> Key | None:
    """Read a PKCS #1, PKCS #8 or SEC 1 structure in DER."""
    length = _der_length(data)
    if length is None or length > len(data):
        return None
    der = data[:length]
    # Any 32 bytes are an X25519 or Ed25519 key; a program that has the prefix as a constant goes on with other data.
    if length < 0x60 and _RAW.search(der) and len(set(der[-32:])) < 20:
        return None
    found = _load_der(der)
    return Key(length, *found, encrypted=False) if found else None


_PBES2 = late(rb"\x30(?:\x82..|\x81.|.)\x30(?:\x81.|.)\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d", re.DOTALL)


def read_encrypted_der(data: bytes) -> Key | None:
    """Read EncryptedPrivateKeyInfo with PBES2: a SEQUENCE of the algorithm and one OCTET STRING that fills the rest."""
    length = _der_length(data)
    if length is None or length > min(len(data), MAX_DER) or not _PBES2.match(data):
        return None
    outer = 2 if data[1] < 0x80 else 2 + (data[1] & 0x7F)
    inner = _der_length(data[outer:length])
    if inner is None or outer + inner + 2 > length or data[outer + inner] != 0x04:
        return None
    string = b"\x30" + data[outer + inner + 1 : length]  # the same length rules
    if _der_length(string) != len(string):
        return None
    return Key(length, "PKCS8", _sha256(data[:length]), encrypted=True)


# PEM and its relatives

PEM_HEADER = (
    rb"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----"
)
_PEM_HEADER = late(PEM_HEADER)
_BASE64 = late(rb"[A-Za-z0-9+/]{32,}={0,2}")
_HEADERS = late(rb"(?:\s*[A-Za-z][A-Za-z0-9-]{1,63}: [^\n]{0,1024}\n)*")
_NOISE = b" \t\r\n\"'\\,;#*>|"
"""What stands around the lines of a key that is quoted in source code, JSON or a comment."""

_LABELS = {
    "RSA": "RSA",
    "EC": "EC",
    "DSA": "DSA",
    "OPENSSH": "OpenSSH",
    "PGP": "PGP",
    "ENCRYPTED": "PKCS8",
    "SSH2": "SSH2",
}


def read_pem(data: bytes) -> Key | None:
    """Read a key in PEM, OpenSSH's own, SSH2 or PGP armour; a header without a body of base64 is none."""
    header = _PEM_HEADER.match(data)
    if header is None:
        return None
    label = header[0].strip(b"- ").removeprefix(b"BEGIN ")
    # No body holds dashes, so what comes first after the header is its end, or there is none.
    stop = data.find(b"----", header.end())
    end = stop >= 0 and data.startswith((b"-----END " + label, b"---- END " + label), stop)
    lines = data[header.end() : stop if stop >= 0 else None].replace(b"\\r", b"").replace(b"\\n", b"\n")
    if end:
        length = min(stop + len(header[0]) - 2, len(data))  # END is two letters shorter than BEGIN
    # Without an end, what follows the base64 is not the key's.
    headers = _HEADERS.match(lines.lstrip(b"\r\n"))
    stated = headers[0] if headers else b""
    coded = lines.lstrip(b"\r\n")[len(stated) :]
    if label.startswith(b"PGP"):
        coded = re.sub(rb"\n=[A-Za-z0-9+/]{4}\s*\Z", b"", coded)  # the checksum of the armour
    packed = coded.translate(None, _NOISE)
    whole = _BASE64.fullmatch(packed) if end else _BASE64.match(packed)
    if whole is None or (not end and len(whole[0]) < 64):
        return None
    if not end:
        length = header.end() + len(whole[0])
    word = label.decode().split(" ")[0]
    scheme = _LABELS.get(word, "unknown")
    encrypted = b"ENCRYPTED" in stated or word in ("ENCRYPTED", "SSH2")
    unread = Key(
        length,
        scheme,
        _sha256(data[:length]),
        # RFC 7468, section 10: this label is for keys in the clear; so are the older ones without a Proc-Type header
        encrypted=True if encrypted else False if label == b"PRIVATE KEY" or word in ("RSA", "EC", "DSA") else None,
        evidence="pem-header",
    )
    if encrypted or not end or word == "PGP":
        return unread
    try:
        raw = binascii.a2b_base64(whole[0])
    except binascii.Error:
        return unread
    if raw.startswith(_OPENSSH):
        return _read_openssh(raw, length) or unread
    found = _load_der(raw)
    return Key(length, *found, encrypted=False) if found else unread


_OPENSSH = b"openssh-key-v1\0"


def _read_openssh(raw: bytes, length: int) -> Key | None:
    # cipher, kdf, kdf options, number of keys (uint32), public key blobs; they are in clear even if the rest is not.
    head, offset = strings(raw, 3, len(_OPENSSH))
    blobs, _ = strings(raw, 1, offset + 4)
    public = _of_blob(blobs[0]) if len(head) == 3 and blobs else None
    return Key(length, *public, encrypted=head[0] != b"none") if public else None


PUTTY_HEADER = rb"PuTTY-User-Key-File-[123]: "
_PUTTY = late(
    PUTTY_HEADER
    + rb"[a-z0-9@.-]{4,64}\r?\nEncryption: (?P<cipher>[a-z0-9-]{2,32})\r?\nComment: (?P<comment>[^\r\n]{0,512})"
    rb"\r?\nPublic-Lines: [0-9]{1,4}\r?\n(?P<public>[A-Za-z0-9+/=\r\n]+)\r?\n"
    rb"(?:(?:Key-Derivation|Argon2-[A-Za-z]{4,12}): [^\r\n]{0,256}\r?\n){0,5}Private-Lines: "
)


def read_putty(data: bytes) -> Key | None:
    """Read a PuTTY private key file."""
    match = _PUTTY.match(data)
    if match is None:
        return None
    try:
        public = _of_blob(binascii.a2b_base64(match["public"]))
    except binascii.Error:
        return None
    if public is None:
        return None
    comment = match["comment"].decode("utf-8", "backslashreplace") or None
    return Key(match.end(), *public, encrypted=match["cipher"] != b"none", subject=comment)


# Dropbear

DROPBEAR_HEADER = rb"\x00\x00\x00(?:\x07ssh-(?:rsa|dss)|\x0bssh-ed25519|\x13ecdsa-sha2-nistp(?:256|384|521))\x00\x00"


def read_dropbear(data: bytes) -> Key | None:
    """Read a Dropbear host key: the public blob followed by the private numbers, which must belong to it."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    (name, *fields), end = strings(data, 6) if len(data) > 4 else ([b""], 0)
    numbers = [int.from_bytes(field, "big") for field in fields if len(field) <= 2048]
    kind = SCHEMES.get(name.decode("ascii", "replace"))
    public = 0  # strings of the public blob
    try:
        if kind == "RSA" and len(numbers) == 5 and numbers[1] > 1 and numbers[1] == numbers[3] * numbers[4]:
            public = 3
        elif kind == "DSA" and len(numbers) == 5:
            p, q, g, y, x = numbers
            if p.bit_length() <= 3072 and 0 < x < q < p and q.bit_length() <= 256 and pow(g, x, p) == y:
                public = 5
        elif kind == "Ed25519" and fields and len(fields[0]) == 64:
            seed, point = fields[0][:32], fields[0][32:]
            if ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() == point:
                blob = data[: 4 + len(name)] + len(point).to_bytes(4, "big") + point
                found = _of_blob(blob)
                return Key(strings(data, 2)[1], *found, encrypted=False) if found else None
        elif kind == "EC" and len(numbers) >= 3:
            curve = {"256": ec.SECP256R1(), "384": ec.SECP384R1(), "521": ec.SECP521R1()}[name.decode()[-3:]]
            derived = ec.derive_private_key(numbers[2], curve).public_key().public_numbers()
            if fields[1] == b"\x04" + b"".join(
                number.to_bytes((curve.key_size + 7) // 8, "big") for number in (derived.x, derived.y)
            ):
                public = 3
    except ValueError:
        return None
    if not public:
        return None
    found = _of_blob(data[: strings(data, public)[1]])
    length = strings(data, 4)[1] if kind == "EC" else end
    return Key(length, *found, encrypted=False) if found else None
