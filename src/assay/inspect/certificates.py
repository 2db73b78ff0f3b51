"""X.509 certificates in any content: as PEM, as DER (alone, in a program, in a key store), in PKCS #7 and PKCS #12.

Who a certificate names goes to `identity`, where no rule can read it; the fact has digests of the names, so that chains
can be followed. A certificate in DER is found by the beginning that every certificate of version 3 has.

Reference: RFC 5280 (certificates), RFC 7468 sections 5 and 8 (PEM), RFC 5652 section 5 (PKCS #7 as SignedData), RFC
7292 (PKCS #12); JKS is read as far as its certificates stand in it as DER, which they do.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from assay.facts.crypto import Certificate
from assay.facts.identity import Identity
from assay.unpack.base import Encrypted, LimitReached

from .base import Content, ContentInspector, Expression, numbered
from .late import late

if TYPE_CHECKING:
    from cryptography import x509

MAX_CERTIFICATES = 5_000
"""Certificates in one content; a bundle of root certificates has some 150."""
MAX_DER = 64 << 10
"""Bytes of one certificate."""
MAX_PKCS12 = 16 << 20

PEM = late(rb"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE|PKCS7|CMS)-----([A-Za-z0-9+/=\s]{1,262144}?)-----END \1-----")
WINDOWS = (32 << 10, 256 << 10)
"""Bytes in which a certificate, and a PKCS #7 bundle, ends as PEM."""
PKCS7_DATA = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
JKS = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")

EXPRESSIONS = (
    Expression(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----"),
    Expression(rb"-----BEGIN (?:PKCS7|CMS)-----"),
    # SEQUENCE { SEQUENCE { [0] { INTEGER 2 }, INTEGER serial
    Expression(rb"\x30\x82..\x30(?:\x81.|\x82..)\xa0\x03\x02\x01\x02\x02"),
    # PFX: SEQUENCE { INTEGER 3, SEQUENCE { OID pkcs7-data
    Expression(rb"^\x30.{1,5}\x02\x01\x03\x30.{1,5}\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"),
)
PFX = 3
DER = late(EXPRESSIONS[2].pattern, re.DOTALL)
DER_BEGINNINGS = (14, 13)
"""How far before the end of the last expression a certificate begins: with a long and a short inner length."""

KEYS = {"EllipticCurve": "EC", "RSA": "RSA", "DSA": "DSA", "Ed25519": "Ed25519", "Ed448": "Ed448", "DH": "DH"}


def prepare() -> None:
    """Load what certificates need, before workers are forked and confined."""
    import cryptography.hazmat.primitives.serialization.pkcs12
    import cryptography.x509  # noqa: F401 - loaded, not used


def inspect(content: Content) -> Iterator[Certificate | Identity]:
    """Yield each certificate, in order of place, and whom it names.

    Raises:
        Encrypted: a PKCS #12 file that opens with no empty passphrase.
        LimitReached: more certificates, or beginnings of some, than one content may have; the first ones stand.
    """
    if _is_pkcs12(content.head):
        for fact, names in _pkcs12(content):
            yield fact
            yield from names
        return
    found: list[tuple[Certificate, list[Identity]]] = []
    taken = 0
    cut = content.hits.cut
    store = "jks" if content.head[:4] in JKS else "der"
    for end, number in content.hits.places:
        if end <= taken or number == PFX:
            continue
        if number == 2:
            here = [certificate for start in DER_BEGINNINGS if (certificate := _der_at(content, end - start))]
            found += [_fact(certificate, offset, store) for certificate, offset in here[:1]]
            if here:
                taken = here[0][1] + len(_der(here[0][0]))
        else:
            window = max(0, end - 64)
            at = window + bytes(content.data[window:end]).rfind(b"-----BEGIN ")
            match = PEM.match(bytes(content.data[at : at + WINDOWS[number]]))
            if match is None:
                continue
            taken = at + match.end()
            kind = "pkcs7" if match[1] in (b"PKCS7", b"CMS") else "pem"
            found += [_fact(certificate, at, kind) for certificate in _from_pem(kind, match[2])]
        if len(found) >= MAX_CERTIFICATES:
            cut = True
            break
    facts = [fact for fact, _ in found]
    for fact, (_, names) in zip(numbered(content, facts), found, strict=True):
        yield fact
        for name in names:
            yield replace(name, line=fact.line)
    if cut:
        raise LimitReached("certificates", MAX_CERTIFICATES)


def _is_pkcs12(head: bytes) -> bool:
    """Tell whether a content begins as a PFX: SEQUENCE { INTEGER 3, SEQUENCE { OID pkcs7-data."""
    return head[:1] == b"\x30" and b"\x02\x01\x03\x30" in head[:10] and PKCS7_DATA in head[:40]


def _pkcs12(content: Content) -> Iterator[tuple[Certificate, list[Identity]]]:
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    data = bytes(content.data[:MAX_PKCS12])
    for passphrase in (None, b""):
        try:
            opened = load_pkcs12(data, passphrase)
        except ValueError:
            continue
        entries = [*([opened.cert] if opened.cert else []), *opened.additional_certs]
        for entry in entries:
            yield _fact(entry.certificate, 0, "pkcs12")
        return
    raise Encrypted("PKCS #12 whose passphrase is not empty, or which is damaged")


def _der_at(content: Content, start: int) -> tuple[x509.Certificate, int] | None:
    """Return the certificate in DER that begins at a place, and the place."""
    if start < 0 or content.data[start : start + 2] != b"\x30\x82":
        return None
    length = int.from_bytes(content.data[start + 2 : start + 4], "big") + 4
    certificate = _load(bytes(content.data[start : start + length])) if length <= MAX_DER else None
    return None if certificate is None else (certificate, start)


def _from_pem(kind: str, text: bytes) -> list[x509.Certificate]:
    try:
        der = base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return []
    if kind == "pkcs7":
        # Its certificates stand in it as they are; a reader of the whole takes longer to load than all others.
        found = []
        end = 0
        for match in DER.finditer(der):
            if match.start() >= end:
                length = int.from_bytes(der[match.start() + 2 : match.start() + 4], "big") + 4
                certificate = _load(der[match.start() : match.start() + length])
                if certificate is not None:
                    found.append(certificate)
                    end = match.start() + length
        return found
    if der[:2] == b"\x30\x82":  # a trusted certificate has OpenSSL's own data behind it
        der = der[: int.from_bytes(der[2:4], "big") + 4]
    certificate = _load(der)
    return [] if certificate is None else [certificate]


def _load(der: bytes) -> x509.Certificate | None:
    from cryptography.x509 import load_der_x509_certificate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on certificates that bend the rules: they are read, which is what counts
        try:
            return load_der_x509_certificate(der)
        except Exception:  # no certificate; the reader raises errors of many kinds on hostile ones
            return None


def _der(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def _fact(certificate: x509.Certificate, offset: int, store: str) -> tuple[Certificate, list[Identity]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        der = _der(certificate)
        fingerprint = hashlib.sha256(der).hexdigest()
        key, bits, curve, key_fingerprint = _key(certificate)
        subject, issuer = _name(certificate, "subject"), _name(certificate, "issuer")
        ca, names, usage = _extensions(certificate)
        fact = Certificate(
            offset=offset,
            fingerprint=fingerprint,
            key_fingerprint=key_fingerprint,
            key=key,
            bits=bits,
            curve=curve,
            signature=_signature(certificate),
            hash=_hash(certificate),
            not_before=_time(certificate, "not_valid_before_utc"),
            not_after=_time(certificate, "not_valid_after_utc"),
            ca=ca,
            self_issued=subject[0] == issuer[0],
            self_signed=_self_signed(certificate) if subject[0] == issuer[0] else False,
            subject_digest=hashlib.sha256(subject[0]).hexdigest(),
            issuer_digest=hashlib.sha256(issuer[0]).hexdigest(),
            serial=format(certificate.serial_number, "x"),
            names=names,
            usage=usage,
            store=store,
        )
    about = f"certificate:{fingerprint[:16]}"
    stated = (("subject", subject[1]), ("issuer", issuer[1]))
    return fact, [Identity(offset=offset, subject=about, attribute=a, value=text[:500]) for a, text in stated if text]


def _key(certificate: x509.Certificate) -> tuple[str, int | None, str | None, str]:
    """Return (kind, bits, curve, fingerprint) of its key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = certificate.public_key()
        info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # an algorithm or curve that the library does not know
        return "unknown", None, None, ""
    kind = type(key).__name__.removesuffix("PublicKey").lstrip("_")
    curve = getattr(key, "curve", None)
    return (
        KEYS.get(kind, kind),
        getattr(key, "key_size", {"Ed25519": 256, "Ed448": 456}.get(kind)),
        curve.name if curve is not None else None,
        hashlib.sha256(info).hexdigest(),
    )


def _name(certificate: x509.Certificate, which: str) -> tuple[bytes, str]:
    """Return a name in DER and in the form of RFC 4514; empty if it cannot be read."""
    try:
        name = getattr(certificate, which)
        return name.public_bytes(), name.rfc4514_string()
    except Exception:  # text in a form that the standard does not have
        return b"", ""


def _signature(certificate: x509.Certificate) -> str:
    oid = certificate.signature_algorithm_oid
    name = getattr(oid, "_name", "")
    return name if name and name != "Unknown OID" else oid.dotted_string


def _hash(certificate: x509.Certificate) -> str | None:
    try:
        algorithm = certificate.signature_hash_algorithm
    except Exception:  # unknown to the library
        return None
    return algorithm.name if algorithm is not None else None


def _time(certificate: x509.Certificate, which: str) -> str | None:
    try:
        return str(getattr(certificate, which).strftime("%Y-%m-%dT%H:%M:%SZ"))
    except Exception:  # no date that there is
        return None


def _extensions(certificate: x509.Certificate) -> tuple[bool, int, list[str]]:
    """Return (is a CA, number of alternative names, usages)."""
    from cryptography import x509

    try:
        extensions = certificate.extensions
    except Exception:  # one of them is malformed, and the library then gives none
        return False, 0, []
    ca, names, usage = False, 0, list[str]()
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            ca = value.ca
        elif isinstance(value, x509.SubjectAlternativeName):
            names = len(list(value))
        elif isinstance(value, x509.KeyUsage):
            usage += [n for n in USAGES if getattr(value, n)]
        elif isinstance(value, x509.ExtendedKeyUsage):
            usage += [getattr(oid, "_name", oid.dotted_string) for oid in value]
    return ca, names, usage


USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


def _self_signed(certificate: x509.Certificate) -> bool | None:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(certificate)
    except InvalidSignature:
        return False
    except Exception:  # an algorithm that it does not check in certificates any more, SHA-1 for one
        return _verified(certificate)
    return True


def _verified(certificate: x509.Certificate) -> bool | None:
    """Tell whether an RSA certificate's own key verifies it, whatever the hash; None if that cannot be computed."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        key, algorithm = certificate.public_key(), certificate.signature_hash_algorithm
        if not isinstance(key, RSAPublicKey) or algorithm is None:
            return None
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    except Exception:  # a key or hash that cannot be computed here
        return None
    return True


INSPECTOR = ContentInspector(
    name="certificates",
    version=1,
    families=(Certificate, Identity),
    inspect=inspect,
    only_hits=True,
    expressions=EXPRESSIONS,
    unseen=(
        "certificates of version 1 and 2 in DER inside other data (as PEM they are seen)",
        "PKCS #12 files with a passphrase, and private keys in Java key stores",
        "certificates in DER longer than 64 KiB, or shorter than 256 bytes",
    ),
)
