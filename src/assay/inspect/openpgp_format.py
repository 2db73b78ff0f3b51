"""OpenPGP packets: headers, and the fields of those that say how something is encrypted or signed.

Reference: RFC 9580, sections 4 (packets), 5.1 to 5.3, 5.2 (signatures), 5.13, 3.7.1 (string-to-key), 9 (algorithms).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

PUBLIC = {1: "rsa", 2: "rsa", 3: "rsa", 16: "elgamal", 17: "dsa", 18: "ecdh", 19: "ecdsa", 22: "eddsa", 25: "x25519",
          26: "x448", 27: "ed25519", 28: "ed448"}  # fmt: skip
SYMMETRIC = {1: ("idea", 128), 2: ("des-ede3", 192), 3: ("cast5", 128), 4: ("blowfish", 128), 7: ("aes", 128),
             8: ("aes", 192), 9: ("aes", 256), 10: ("twofish", 256), 11: ("camellia", 128), 12: ("camellia", 192),
             13: ("camellia", 256)}  # fmt: skip
HASHES = {1: "md5", 2: "sha1", 3: "ripemd160", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224", 12: "sha3-256",
          14: "sha3-512"}  # fmt: skip
AEAD = {1: "eax", 2: "ocb", 3: "gcm"}
KINDS = {0: "binary", 1: "text", 2: "standalone", 0x10: "certification", 0x11: "certification", 0x12: "certification",
         0x13: "certification", 0x18: "subkey binding", 0x19: "primary key binding", 0x1F: "direct key",
         0x20: "key revocation", 0x28: "subkey revocation", 0x30: "certification revocation", 0x40: "timestamp",
         0x50: "confirmation"}  # fmt: skip
PKESK, SIGNATURE, SKESK, SECRET_KEY, PUBLIC_KEY, COMPRESSED, SED, SEIPD, AEAD_DATA = 1, 2, 3, 5, 6, 8, 9, 18, 20
TAGS = frozenset((*range(1, 15), 17, 18, 19, 20, 21))
MOST = 100_000
BODY = 64 << 10
"""Bytes of a packet that are looked at."""
CREATED, ISSUER, FINGERPRINT = 2, 16, 33


class NotPackets(ValueError):
    """Bytes that are no packets, or break off."""


class Packet(NamedTuple):
    """One packet."""

    tag: int
    offset: int
    body: bytes
    """The first bytes of it, up to `BODY`."""
    length: int | None
    """Of its body; None if it goes to the end or comes in parts."""
    end: int


class Kdf(NamedTuple):
    """A string-to-key specifier."""

    name: str
    hash: str | None
    iterations: int | None
    memory: int | None = None
    lanes: int | None = None


class Stated(NamedTuple):
    """A signature packet."""

    kind: str
    algorithm: str
    hash: str
    signer: str | None
    created: int | None


def packets(data: bytes) -> Iterator[Packet]:
    """Yield packets.

    Raises:
        NotPackets: what follows is none; those before stand.
    """
    at, size = 0, len(data)
    for _ in range(MOST):
        if at >= size:
            return
        packet = _packet(data, at, size)
        yield packet
        at = packet.end
    raise NotPackets(f"more than {MOST} packets")


def _packet(data: bytes, at: int, size: int) -> Packet:
    first = data[at]
    if not first & 0x80:
        raise NotPackets(f"no packet at offset {at}")
    if first & 0x40:
        tag, start = first & 0x3F, at + 1
        lengths: int | None = None
        here = start
        while True:  # parts of a body, the last of them with a whole length
            length, here, partial = _length(data, here, size)
            if lengths is None:
                start = here
                lengths = length
            if here + length > size:
                raise NotPackets(f"a packet at offset {at} is cut off")
            here += length
            if not partial:
                break
            lengths = -1
        if tag not in TAGS:
            raise NotPackets(f"a packet of type {tag} at offset {at}")
        whole = lengths if lengths != -1 else None
        return Packet(tag, at, data[start : start + min(BODY, here - start)], whole, here)
    tag, form = first >> 2 & 0xF, first & 3
    if tag not in TAGS:
        raise NotPackets(f"a packet of type {tag} at offset {at}")
    start = at + 1 + (0 if form == 3 else 1 << form)
    if start > size:
        raise NotPackets(f"a packet at offset {at} is cut off")
    end = size if form == 3 else start + int.from_bytes(data[at + 1 : start], "big")
    if end > size:
        raise NotPackets(f"a packet at offset {at} is cut off")
    return Packet(tag, at, data[start : min(end, start + BODY)], None if form == 3 else end - start, end)


def _length(data: bytes, at: int, size: int) -> tuple[int, int, bool]:
    """Return (length, where the body begins, whether more parts follow)."""
    if at >= size:
        raise NotPackets(f"a length at offset {at} is cut off")
    first = data[at]
    if first < 192:
        return first, at + 1, False
    if first < 224 and at + 2 <= size:
        return (first - 192 << 8) + data[at + 1] + 192, at + 2, False
    if first < 255:
        if first < 224:
            raise NotPackets(f"a length at offset {at} is cut off")
        return 1 << (first & 0x1F), at + 1, True
    if at + 5 > size:
        raise NotPackets(f"a length at offset {at} is cut off")
    return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5, False


def recipient(body: bytes) -> str | None:
    """Return the key identifier or fingerprint that a session key is encrypted to; None if this is no such packet."""
    if len(body) > 10 and body[0] == 3 and body[9] in PUBLIC:
        return body[1:9].hex()
    if len(body) > 3 and body[0] == 6 and body[1] in (0, 21, 33) and len(body) > 2 + body[1]:
        return body[3 : 2 + body[1]].hex()
    return None


def passphrase(body: bytes) -> tuple[int, Kdf] | None:
    """Return (cipher, key derivation) of a packet that holds a session key under a passphrase; None if it is none."""
    at = {4: 2, 5: 3, 6: 5}.get(body[0] if body else 0)
    if at is None or len(body) < at + 2:
        return None
    cipher = body[2] if body[0] == 6 else body[1]
    kdf = string_to_key(body[at:])
    return (cipher, kdf) if kdf is not None and cipher in SYMMETRIC else None


def string_to_key(data: bytes) -> Kdf | None:
    """Return how a passphrase becomes a key (section 3.7.1); None if the specifier is unknown."""
    kind = data[0]
    if kind == 4 and len(data) >= 20:
        return Kdf("argon2id", None, data[17], 1 << min(data[19], 40), data[18])
    if data[1] not in HASHES:
        return None
    hash = HASHES[data[1]]
    if kind == 0:
        return Kdf("s2k-simple", hash, None)
    if kind == 1 and len(data) >= 10:
        return Kdf("s2k-salted", hash, None)
    if kind == 3 and len(data) >= 11:
        return Kdf("s2k-iterated", hash, (16 + (data[10] & 15)) << ((data[10] >> 4) + 6))
    return None


def signature(body: bytes) -> Stated | None:
    """Return what a signature packet states (section 5.2); None if it is none, or of another version."""
    version = body[0] if body else 0
    if version == 3 and len(body) >= 19 and body[1] == 5:
        kind, public, hash = body[2], body[15], body[16]
        signer, created = body[7:15].hex(), int.from_bytes(body[3:7], "big")
    elif version in (4, 6) and len(body) >= 10:
        kind, public, hash = body[1:4]
        width = 2 if version == 4 else 4
        signer, created = "", None
        at = 4
        for _ in range(2):  # hashed, then unhashed subpackets
            end = at + width + int.from_bytes(body[at : at + width], "big")
            for number, value in _subpackets(body[at + width : end]):
                if number == CREATED and len(value) == 4 and created is None:
                    created = int.from_bytes(value, "big")
                elif number == FINGERPRINT and len(value) > 8:
                    signer = value[1:].hex()
                elif number == ISSUER and len(value) == 8:
                    signer = signer or value.hex()
            at = end
    else:
        return None
    if kind not in KINDS or public not in PUBLIC or hash not in HASHES:
        return None
    return Stated(KINDS[kind], PUBLIC[public], HASHES[hash], signer or None, created)


def _subpackets(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 1 < len(data):
        first = data[at]
        if first < 192:
            length, start = first, at + 1
        elif first < 255:
            length, start = (first - 192 << 8) + data[at + 1] + 192, at + 2
        else:
            length, start = int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
        if not length or start + length > len(data):
            return
        yield data[start] & 0x7F, data[start + 1 : start + length]
        at = start + length
