"""Certificates, algorithms, and the libraries that bring them."""

from typing import Annotated, ClassVar

from .base import ContentFact, doc


class Certificate(ContentFact, frozen=True, kw_only=True, array_like=True):
    """An X.509 certificate. Who it names is in `identity`; here the names are only compared."""

    source: ClassVar = "RFC 5280, RFC 7468"
    index: ClassVar = ("fingerprint", "key_fingerprint")

    fingerprint: Annotated[str, doc("SHA-256 of the certificate in DER")]
    key_fingerprint: Annotated[
        str, doc("SHA-256 of SubjectPublicKeyInfo: equal to that of a private key that belongs to it")
    ]
    key: Annotated[str, doc("RSA, EC, Ed25519, Ed448, DSA, DH, unknown")]
    bits: Annotated[int | None, doc("key size", unit="bits")] = None
    curve: Annotated[str | None, doc("named curve")] = None
    signature: Annotated[str, doc("signature algorithm, as sha256WithRSAEncryption or its object identifier")]
    hash: Annotated[str | None, doc("hash of the signature: md5, sha1, sha256, ...")] = None
    not_before: Annotated[str | None, doc("ISO 8601, UTC")] = None
    not_after: Annotated[str | None, doc("ISO 8601, UTC")] = None
    ca: Annotated[bool, doc("basic constraints say CA")] = False
    self_issued: Annotated[bool, doc("subject and issuer are the same name")] = False
    self_signed: Annotated[bool | None, doc("its own key verifies it; empty if that could not be tried")] = None
    subject_digest: Annotated[str, doc("SHA-256 of the subject name in DER: the issuer_digest of what it issued")]
    issuer_digest: Annotated[str, doc("SHA-256 of the issuer name in DER")]
    serial: Annotated[str, doc("serial number, hexadecimal")]
    names: Annotated[int, doc("how many subject alternative names it has")] = 0
    usage: Annotated[list[str], doc("key usage and extended key usage, as JSON array")] = []
    store: Annotated[str, doc("pem, der, pkcs7, pkcs12, jks")] = "pem"


class CipherTable(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A constant table or initial value of an algorithm, found in a content: code that implements it is there."""

    source: ClassVar = "the standard of the algorithm, named in the inspector's table"
    index: ClassVar = ("algorithm",)

    algorithm: Annotated[
        str, doc("AES, DES, RC4 (none: it has no table), MD5, SHA-1, SHA-256, SNOW-3G, ZUC, KASUMI, MILENAGE, ...")
    ]
    constant: Annotated[str, doc("which constant: S-box, T-table, initial value, round constants")]
    width: Annotated[int, doc("size of one element", unit="bits")] = 8
    endian: Annotated[str | None, doc("little or big, for elements wider than a byte")] = None
    function: Annotated[str | None, doc("symbol that the place belongs to, where symbols tell")] = None


class CryptoLibrary(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A library for cryptography or TLS that a binary is, contains or uses, and what of it shows."""

    source: ClassVar = "version texts and exported symbols of each library, in the inspector's table"

    library: Annotated[
        str,
        doc(
            "openssl, libressl, boringssl, gnutls, mbedtls, wolfssl, nss, libgcrypt, go-crypto, rustls, libsodium, ..."
        ),
    ]
    version: Annotated[str | None, doc("as its own text states it")] = None
    role: Annotated[str, doc("is (exports it), contains (linked in), uses (imports it)")]
    protocols: Annotated[list[str], doc("TLS versions that exported or imported symbols show, as JSON array")] = []
    weak: Annotated[
        list[str],
        doc("functions of MD4, MD5, SHA-1, RC4, DES, export ciphers, SSLv2/3 that it exports or calls, as JSON array"),
    ] = []


class RandomSource(ContentFact, frozen=True, kw_only=True, array_like=True):
    """Where a binary or script takes random numbers from."""

    source: ClassVar = "rand(3), random(7), getrandom(2); library manuals"

    name: Annotated[str, doc("rand, srand, random, drand48, getrandom, /dev/urandom, RAND_bytes, mt19937, ...")]
    kind: Annotated[
        str,
        doc(
            "predictable (a formula from a seed), system (the kernel), library (a cryptographic generator), seed (sets a seed)"
        ),
    ]
    evidence: Annotated[str, doc("import, string, constant, script")] = "import"


class TokenAlgorithm(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A JSON web token algorithm that code or configuration names."""

    source: ClassVar = "RFC 7518 section 3.1, RFC 8725"

    algorithm: Annotated[str, doc("none, HS256, RS256, ES256, EdDSA, ...")]
    context: Annotated[str, doc("key, call or list that it stands in")] = ""
