"""CMS messages: who signed and by which key that verifies, and for whom something is encrypted; DER and PEM.

What a detached signature covers is in another file: its value is verified over the attributes that it signs, which
state the digest of that file.

Reference: RFC 5652 (CMS), RFC 5083 (AuthEnvelopedData), RFC 8933 (digest algorithms); RFC 7468 section 8, 9 (PEM).
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from assay.facts.identity import Identity
from assay.facts.sealing import Encryption, Signature
from assay.unpack.base import CHUNK, Malformed

from . import verifying
from .base import Buffer, Content, ContentInspector
from .der_format import OCTETS, SEQUENCE, SET, NotDer, Value, read
from .late import late
from .verifying import HASHES, Key, verifies

MAX_SIZE = 64 << 20
CMS = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"
AUTH = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17"
SIGNED, ENVELOPED, ENCRYPTED = "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.3", "1.2.840.113549.1.7.6"
AUTHENTICATED = "1.2.840.113549.1.9.16.1.23"
MESSAGE_DIGEST, SIGNING_TIME = "1.2.840.113549.1.9.4", "1.2.840.113549.1.9.5"
KINDS = {"1.2.840.113549.1.7.1": "data", "1.3.6.1.4.1.311.2.1.4": "SpcIndirectDataContent"}
ALGORITHMS = {
    "1.2.840.113549.1.1.1": "rsa",
    "1.2.840.113549.1.1.10": "rsa-pss",
    "1.2.840.10045.2.1": "ecdsa",
    "1.2.840.10040.4.1": "dsa",
    "1.3.101.112": "ed25519",
    "1.3.101.113": "ed448",
}
COMBINED = {
    "1.2.840.113549.1.1.": (
        "rsa", {"4": "md5", "5": "sha1", "11": "sha256", "12": "sha384", "13": "sha512", "14": "sha224"},
    ),
    "1.2.840.10045.4.": ("ecdsa", {"1": "sha1", "3.1": "sha224", "3.2": "sha256", "3.3": "sha384", "3.4": "sha512"}),
    "1.2.840.10040.4.": ("dsa", {"3": "sha1"}),
}  # fmt: skip
CIPHERS = {
    "2.16.840.1.101.3.4.1.2": ("aes", "cbc", 128),
    "2.16.840.1.101.3.4.1.22": ("aes", "cbc", 192),
    "2.16.840.1.101.3.4.1.42": ("aes", "cbc", 256),
    "2.16.840.1.101.3.4.1.6": ("aes", "gcm", 128),
    "2.16.840.1.101.3.4.1.26": ("aes", "gcm", 192),
    "2.16.840.1.101.3.4.1.46": ("aes", "gcm", 256),
    "1.2.840.113549.3.7": ("des-ede3", "cbc", 192),
    "1.2.840.113549.3.2": ("rc2", "cbc", None),
    "1.3.14.3.2.7": ("des", "cbc", 64),
}
PEM = late(rb"-----BEGIN (CMS|PKCS7|PKCS #7 SIGNED DATA)-----([A-Za-z0-9+/=\s]+)-----END \1-----")
SIGNERS, RECIPIENTS, CERTIFICATES = 100, 1000, 200


class Covered(NamedTuple):
    """What a signature covers, where that is at hand."""

    what: str
    data: Buffer
    ranges: list[tuple[int, int]]
    """(start, end) in the data."""
    base: int = 0
    """Where the data begin in the content."""

    @property
    def offset(self) -> int:
        """Where it begins in the content."""
        return self.base + self.ranges[0][0]

    @property
    def length(self) -> int:
        """Bytes of it."""
        return sum(end - start for start, end in self.ranges)

    def pieces(self) -> Iterator[bytes]:
        """Yield it in pieces."""
        for start, end in self.ranges:
            for at in range(start, end, CHUNK):
                yield bytes(self.data[at : min(at + CHUNK, end)])

    def digest(self, name: str) -> bytes | None:
        """Return the digest of it, by the name of a hash; None for a hash that is not known here."""
        try:
            running = hashlib.new(name.replace("sha3-", "sha3_"), usedforsecurity=False)
        except ValueError:
            return None
        for piece in self.pieces():
            running.update(piece)
        return running.digest()


def oid_of(value: Value) -> str:
    """Return the identifier of an AlgorithmIdentifier."""
    return value.expect(SEQUENCE).inside()[0].oid()


def content_info(data: bytes) -> tuple[str, Value]:
    """Return the type and the content of a ContentInfo.

    Raises:
        NotDer: it is none.
    """
    kind, explicit = read(data).expect(SEQUENCE).inside()[:2]
    return kind.oid(), explicit.expect(0xA0).inside()[0]


def messages(
    data: bytes, offset: int, format: str = "cms", covered: Covered | None = None
) -> Iterator[Signature | Encryption | Identity]:
    """Yield what a CMS message states.

    Args:
        data: the message in DER; what follows it is not looked at.
        offset: where it stands in the content.
        format: what is told of its signatures.
        covered: what a detached signature covers.

    Raises:
        Malformed: it is broken; what came before stands.
    """
    try:
        kind, value = content_info(data)
        if kind == SIGNED:
            yield from _signed(value, offset, format, covered)
        elif kind in (ENVELOPED, AUTHENTICATED, ENCRYPTED):
            yield _enveloped(value, offset, kind, len(data))
    except (NotDer, ValueError, IndexError) as error:
        raise Malformed(f"CMS message at offset {offset}: {error}") from error


def _signed(value: Value, offset: int, format: str, covered: Covered | None) -> Iterator[Signature | Identity]:
    parts = value.expect(SEQUENCE).inside()
    kind, *enclosed = parts[2].expect(SEQUENCE).inside()
    certificates: list[Key] = []
    for part in parts[3:]:
        if part.tag == 0xA0:
            found = [verifying.from_certificate(each.raw, "same content") for each in part.inside()[:CERTIFICATES]]
            certificates += [key for key in found if key is not None]
    if enclosed:
        inner = enclosed[0].expect(0xA0).inside()[0]
        # As PKCS #7 1.5 has it, what is enclosed may be any value: its content is what is hashed.
        covered = Covered("enclosed data", inner.data, [(inner.start, inner.end)], offset)
    keys = [*certificates, *verifying.given()]
    for signer in parts[-1].expect(SET).inside()[:SIGNERS]:
        yield from _signer(signer, kind.oid(), keys, offset, format, covered)


def _signer(
    signer: Value, kind: str, keys: list[Key], offset: int, format: str, covered: Covered | None
) -> Iterator[Signature | Identity]:
    parts = signer.expect(SEQUENCE).inside()
    sid, hash = parts[1], oid_of(parts[2])
    digest = HASHES.get(hash, hash)
    rest = parts[3:]
    attributes = rest.pop(0) if rest[0].tag == 0xA0 else None
    algorithm, digest_of_it = _algorithm(oid_of(rest[0]))
    value = rest[1].expect(OCTETS).content
    issuer, serial, identifier = _sid(sid)
    stated, time = _attributes(attributes)
    named = [
        key
        for key in keys
        if (identifier and key.identifier == identifier) or (issuer and (key.issuer, key.serial) == (issuer, serial))
    ]
    tried = named or [key for key in keys if key.place == "given" and not key.issuer]
    computed = covered.digest(digest) if covered is not None else None
    right, used = None, None
    for key in tried:
        result = None
        if attributes is not None:
            # It is signed as a SET (section 5.4), and stands here with another tag.
            result = verifies(
                key, value, b"\x31" + attributes.raw[1:], digest_of_it or digest, pss=algorithm == "rsa-pss"
            )
        elif covered is not None and algorithm in ("ed25519", "ed448"):
            result = verifies(key, value, b"".join(covered.pieces()), digest)
        elif computed is not None:
            result = verifies(key, value, computed, digest_of_it or digest, pss=algorithm == "rsa-pss", hashed=True)
        if result is not None and (right is None or result):
            right, used = result, key
        if right:
            break
    yield Signature(
        offset=offset,
        format=format,
        kind=KINDS.get(kind, kind),
        algorithm=algorithm,
        digest=digest,
        key_id=identifier.hex() or None,
        issuer_digest=hashlib.sha256(issuer).hexdigest() if issuer else None,
        serial=f"{serial:x}" if issuer else None,
        certificate=next((key.certificate for key in named if key.place == "same content"), None),
        signed_at=time,
        message_digest=stated.hex() if stated else None,
        covers=covered.what if covered else "",
        covers_offset=covered.offset if covered else None,
        covers_length=covered.length if covered else None,
        detached=covered is None,
        verified=right,
        digest_right=computed == stated if computed is not None and stated else None,
        verified_with=used.fingerprint if used else None,
        key_place=used.place if used else None,
    )
    if issuer and (text := _name(issuer)):
        yield Identity(offset=offset, subject=f"signature:{serial:x}"[:80], attribute="issuer", value=text[:500])


def _algorithm(oid: str) -> tuple[str, str | None]:
    """Return (algorithm, hash if the identifier says it)."""
    for prefix, (name, hashes) in COMBINED.items():
        if oid.startswith(prefix) and oid[len(prefix) :] in hashes:
            return name, hashes[oid[len(prefix) :]]
    return ALGORITHMS.get(oid, oid), None


def _sid(value: Value) -> tuple[bytes, int, bytes]:
    """Return (issuer in DER, serial number, subject key identifier) of a signer or recipient."""
    if value.tag in (0x80, 0xA0):
        return b"", 0, value.content if value.tag == 0x80 else value.inside()[0].content
    issuer, serial = value.expect(SEQUENCE).inside()[:2]
    return issuer.raw, serial.number(), b""


def _attributes(value: Value | None) -> tuple[bytes, str | None]:
    """Return (message digest, time of signing) of the signed attributes."""
    digest, time = b"", None
    for attribute in value.inside() if value is not None else ():
        kind, values = attribute.expect(SEQUENCE).inside()[:2]
        (first, *_) = values.expect(SET).inside()
        if kind.oid() == MESSAGE_DIGEST:
            digest = first.content
        elif kind.oid() == SIGNING_TIME:
            time = _time(first)
    return digest, time


def _time(value: Value) -> str | None:
    text = value.content.decode("latin-1")
    if value.tag == 0x17:
        text = ("20" if text < "5" else "19") + text
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z", text)
    return "{}-{}-{}T{}:{}:{}Z".format(*match.groups()) if match else None


def _name(der: bytes) -> str:
    """Return a name in the form of RFC 4514; empty if it cannot be read."""
    out = []
    try:
        for step in read(der).inside():
            for pair in step.inside():
                kind, value = pair.inside()[:2]
                name = {"2.5.4.3": "CN", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.6": "C"}.get(kind.oid(), kind.oid())
                out.append(f"{name}={value.content.decode('utf-8', 'backslashreplace')}")
    except ValueError:
        return ""
    return ",".join(reversed(out))


def _enveloped(value: Value, offset: int, kind: str, length: int) -> Encryption:
    needs: list[str] = []
    cipher: tuple[str, str | None, int | None] = "unknown", None, None
    for part in value.expect(SEQUENCE).inside()[1:]:
        if part.tag == SET and kind != ENCRYPTED and not needs:
            for recipient in part.inside()[:RECIPIENTS]:
                needs += _recipient(recipient)
        elif part.tag == SEQUENCE:
            oid = oid_of(part.inside()[1])
            cipher = CIPHERS.get(oid, (oid, None, None))
    return Encryption(
        offset=offset, scheme="cms", cipher=cipher[0], mode=cipher[1], key_bits=cipher[2], needs=needs, length=length
    )


def _recipient(value: Value) -> list[str]:
    """Return what opens a message for one recipient (section 6.2)."""
    parts = value.inside()
    if value.tag == SEQUENCE:
        return [_private(parts[1])]
    if value.tag == 0xA1:  # key agreement: one for each encrypted key
        return [_private(each.inside()[0]) for each in parts[-1].inside()[:RECIPIENTS]]
    if value.tag == 0xA2:
        return [f"symmetric key {parts[1].inside()[0].content.hex()}"]
    return ["passphrase"] if value.tag == 0xA3 else ["unknown"]


def _private(sid: Value) -> str:
    issuer, serial, identifier = _sid(sid)
    return f"private key of serial:{serial:x}" if issuer else f"private key of skid:{identifier.hex()}"


def _wanted(head: bytes) -> bool:
    start = head[:32]
    return (start[:1] == b"\x30" and (CMS in start or AUTH in start)) or start.startswith(
        (b"-----BEGIN CMS-----", b"-----BEGIN PKCS")
    )


def inspect(content: Content) -> Iterator[Signature | Encryption | Identity]:
    """Yield the signatures of a CMS message, or for whom it is encrypted.

    Raises:
        Malformed: it is broken.
    """
    data = bytes(content.data[:MAX_SIZE])
    if data[:1] == b"\x30":
        yield from messages(data, 0)
        return
    for match in PEM.finditer(data):
        try:
            der = binascii.a2b_base64(match[2])
        except binascii.Error as error:
            raise Malformed(f"PEM at offset {match.start()}: {error}") from error
        for fact in messages(der, 0):
            # Places in what base64 stands for are no places here.
            more = {"covers_offset": None} if isinstance(fact, Signature) else {}
            yield replace(fact, offset=match.start(), **more)


def prepare() -> None:
    """Load what keys need, before workers are forked and confined."""
    verifying.prepare()


INSPECTOR = ContentInspector(
    name="cms",
    version=1,
    families=(Signature, Encryption, Identity),
    inspect=inspect,
    wants_head=_wanted,
    head_begins=(b"\x30", b"-----BEGIN "),
    max_size=MAX_SIZE,
    unseen=(
        "messages in BER of indefinite length, and S/MIME",
        "what a detached signature covers: its digest is told, and the signature verified over that",
        "keys elsewhere in the release: only those in the message and those given are tried",
        "time stamps, counter-signatures and whether a certificate is valid",
    ),
)
