"""Signatures against keys at hand: those that the same content carries, and those that the user gave.

What comes out is which key verifies a signature. Whose that key is, and whether anyone should trust it, is not asked.
"""

from __future__ import annotations

import hashlib
import warnings
from typing import Any, NamedTuple

from assay.unpack.secrets import held

HASHES = {
    "1.2.840.113549.2.5": "md5",
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.8": "sha3-256",
    "2.16.840.1.101.3.4.2.9": "sha3-384",
    "2.16.840.1.101.3.4.2.10": "sha3-512",
}
"""Object identifiers of hashes (RFC 8017 appendix B.1, NIST CSOR)."""
MOST_KEYS = 200


class Key(NamedTuple):
    """A public key."""

    public: Any
    """As `cryptography` has it."""
    fingerprint: str
    """SHA-256 of SubjectPublicKeyInfo."""
    place: str
    """same content, or given."""
    issuer: bytes = b""
    serial: int = 0
    certificate: str | None = None
    """SHA-256 of its certificate, if it came in one."""
    identifier: bytes = b""
    """Subject key identifier: of its certificate, or by method 1 of RFC 5280, section 4.2.1.2."""


def prepare() -> None:
    """Load what keys need, before workers are forked and confined."""
    import cryptography.hazmat.primitives.asymmetric.ec
    import cryptography.hazmat.primitives.asymmetric.padding
    import cryptography.hazmat.primitives.serialization
    import cryptography.x509  # noqa: F401 - loaded, not used


def public_key(key: Any, place: str) -> Key:  # noqa: ANN401 - of any algorithm
    """Return a public key with its fingerprint."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509 import SubjectKeyIdentifier

    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    identifier = SubjectKeyIdentifier.from_public_key(key).digest
    return Key(key, hashlib.sha256(info).hexdigest(), place, identifier=identifier)


def from_certificate(der: bytes, place: str) -> Key | None:
    """Return the key of a certificate in DER; None if it cannot be read."""
    from cryptography import x509

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on certificates that bend the rules
        try:
            certificate = x509.load_der_x509_certificate(der)
            found = public_key(certificate.public_key(), place)._replace(
                issuer=certificate.issuer.public_bytes(),
                serial=certificate.serial_number,
                certificate=hashlib.sha256(der).hexdigest(),
            )
        except Exception:  # the reader raises errors of many kinds on hostile ones
            return None
        try:
            extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except Exception:  # it has none, or they are malformed
            return found
        return found._replace(identifier=extension.value.digest)


def given() -> list[Key]:
    """Return the public keys that the user gave: in certificates, alone, or belonging to private keys."""
    found: list[Key] = []
    for data in held().keys:
        found += _load(data)
    return found[:MOST_KEYS]


def _load(data: bytes) -> list[Key]:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization as form

    if b"-----BEGIN CERTIFICATE-----" in data or data[:1] == b"\x30":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded = (
                    x509.load_pem_x509_certificates(data)
                    if data[:1] != b"\x30"
                    else [x509.load_der_x509_certificate(data)]
                )
            ders = [certificate.public_bytes(form.Encoding.DER) for certificate in loaded]
            return [key for key in (from_certificate(der, "given") for der in ders) if key is not None]
        except Exception:  # noqa: S110 - then it is a key
            pass
    for load in (form.load_pem_public_key, form.load_der_public_key):
        try:
            return [public_key(load(data), "given")]
        except Exception:  # noqa: S112 - then it is in another form, or no key at all
            continue
    for read in (form.load_pem_private_key, form.load_der_private_key):
        try:
            return [public_key(read(data, None).public_key(), "given")]
        except Exception:  # noqa: S112 - as above
            continue
    return []


def verifies(
    key: Key, signature: bytes, data: bytes, digest: str, *, pss: bool = False, hashed: bool = False
) -> bool | None:
    """Tell whether a key verifies a signature.

    Args:
        key: the key.
        signature: the signature's value.
        data: what is signed, or its hash.
        digest: name of the hash, as in hashlib.
        pss: an RSA signature is RSASSA-PSS.
        hashed: `data` is a hash.

    Returns:
        None if that cannot be computed: another kind of key, an unknown hash.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    kinds: dict[str, type[Any]] = {
        "md5": hashes.MD5, "sha1": hashes.SHA1, "sha224": hashes.SHA224, "sha256": hashes.SHA256,
        "sha384": hashes.SHA384, "sha512": hashes.SHA512, "sha3-256": hashes.SHA3_256, "sha3-384": hashes.SHA3_384,
        "sha3-512": hashes.SHA3_512,
    }  # fmt: skip
    public: Any = key.public
    try:
        if isinstance(public, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            if hashed:
                return None
            public.verify(signature, data)
            return True
        if digest not in kinds:
            return None
        kind = kinds[digest]()
        algorithm = Prehashed(kind) if hashed else kind
        if isinstance(public, rsa.RSAPublicKey):
            scheme = padding.PSS(padding.MGF1(kind), padding.PSS.AUTO) if pss else padding.PKCS1v15()
            public.verify(signature, data, scheme, algorithm)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, data, ec.ECDSA(algorithm))
        elif isinstance(public, dsa.DSAPublicKey):
            public.verify(signature, data, algorithm)
        else:
            return None
    except InvalidSignature:
        return False
    except Exception:  # a key or hash that cannot be computed here
        return None
    return True
