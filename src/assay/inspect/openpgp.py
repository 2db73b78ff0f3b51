"""OpenPGP messages and signatures, binary or armoured: to whom something is encrypted, and by which key it is signed.

Reference: RFC 9580; section 6 for armour, section 7 for signed text.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from datetime import UTC, datetime

from assay.facts.sealing import Encryption, Signature
from assay.unpack.base import LimitReached, Malformed

from .base import Content, ContentInspector, numbered
from .late import late
from .openpgp_format import (
    AEAD,
    AEAD_DATA,
    PKESK,
    PUBLIC_KEY,
    SECRET_KEY,
    SED,
    SEIPD,
    SIGNATURE,
    SKESK,
    SYMMETRIC,
    TAGS,
    Kdf,
    NotPackets,
    Packet,
    packets,
    passphrase,
    recipient,
    signature,
)

MAX_SIZE = 64 << 20
ARMOUR = late(
    rb"-----BEGIN PGP (MESSAGE|SIGNATURE)-----[ \t]*\r?\n(?:[^\r\n]{1,200}\r?\n){0,20}[ \t]*\r?\n"
    rb"([A-Za-z0-9+/\s]+={0,2})\s*(?:=[A-Za-z0-9+/]{4}\s*)?-----END PGP \1-----"
)
SIGNED_TEXT = b"-----BEGIN PGP SIGNED MESSAGE-----"
MOST = 1_000
BEGINNINGS = tuple(bytes([tag << 2 | 0x80 | form]) for tag in (PKESK, SIGNATURE, SKESK) for form in range(3)) + tuple(
    bytes([0xC0 | tag]) for tag in (PKESK, SIGNATURE, SKESK)
)


def facts(
    data: bytes, offset: int | None, format: str = "openpgp", covers: str = ""
) -> Iterator[Encryption | Signature]:
    """Yield what packets state.

    Args:
        data: the packets.
        offset: where they stand in the content; None to say where each packet stands in them.
        format: what is told of signatures.
        covers: what signatures cover that stand in the same content.

    Raises:
        Malformed: they break off; what came before stands.
        LimitReached: more signatures than are told.
    """
    needs: list[str] = []
    cipher: int | None = None
    kdf: Kdf | None = None
    keys = False
    found = 0
    try:
        for packet in packets(data):
            place = packet.offset if offset is None else offset
            if packet.tag in (PUBLIC_KEY, SECRET_KEY):
                keys = True
            elif packet.tag == PKESK:
                key = recipient(packet.body)
                anyone = key is None or not key.strip("0")
                needs.append("private key of openpgp:unknown" if anyone else f"private key of openpgp:{key}")
            elif packet.tag == SKESK:
                needs.append("passphrase")
                if (stated := passphrase(packet.body)) is not None:
                    cipher, kdf = stated
            elif packet.tag in (SED, SEIPD, AEAD_DATA):
                yield _encryption(packet, place, needs, cipher, kdf)
                needs = []
            elif packet.tag == SIGNATURE and not keys:
                told = signature(packet.body)
                if told is None:
                    continue
                found += 1
                if found > MOST:
                    raise LimitReached("signatures", MOST)
                time = None
                if told.created is not None:
                    time = datetime.fromtimestamp(told.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                yield Signature(
                    offset=place, format=format, kind=told.kind, algorithm=told.algorithm, digest=told.hash,
                    key_id=told.signer, signed_at=time, covers=covers, detached=not covers,
                )  # fmt: skip
    except NotPackets as error:
        raise Malformed(f"OpenPGP: {error}") from error


def _encryption(packet: Packet, place: int, needs: list[str], cipher: int | None, kdf: Kdf | None) -> Encryption:
    body, mode = packet.body, "cfb"
    if (packet.tag == SEIPD and body[:1] == b"\2") or packet.tag == AEAD_DATA:
        cipher = body[1] if len(body) > 2 else None
        mode = AEAD.get(body[2], str(body[2])) if len(body) > 2 else "unknown"
    name, bits = SYMMETRIC.get(cipher or 0, (None, None))
    return Encryption(
        offset=place,
        scheme="openpgp",
        cipher=name,
        mode=mode,
        key_bits=bits,
        kdf=kdf.name if kdf else None,
        kdf_hash=kdf.hash if kdf else None,
        iterations=kdf.iterations if kdf else None,
        memory=kdf.memory if kdf else None,
        lanes=kdf.lanes if kdf else None,
        slots=len(needs) or None,
        needs=list(dict.fromkeys(needs)),
        length=packet.length,
    )


def inspect(content: Content) -> Iterator[Encryption | Signature]:
    """Yield what messages and signatures state; those on keys, which stand in key rings, are left out.

    Raises:
        Malformed: they break off.
        LimitReached: more of them than are told.
    """
    data = bytes(content.data[:MAX_SIZE])
    if not data.startswith(b"-----"):
        yield from facts(data, None)
        return
    yield from numbered(content, _armoured(data))


def _armoured(data: bytes) -> Iterator[Encryption | Signature]:
    covers = "text before it" if SIGNED_TEXT in data[:4096] else ""
    for match in ARMOUR.finditer(data):
        try:
            binary = binascii.a2b_base64(match[2])
        except binascii.Error as error:
            raise Malformed(f"armour at offset {match.start()}: {error}") from error
        yield from facts(binary, match.start(), covers=covers if match[1] == b"SIGNATURE" else "")


def _wanted(head: bytes) -> bool:
    """Tell whether bytes begin with a packet that is whole in itself, and another one behind it, or nothing."""
    if head.startswith(b"-----"):
        return head.startswith(b"-----BEGIN PGP ")
    try:
        first = next(packets(head), None)
    except NotPackets:
        return False
    if first is None or first.length is None:
        return False
    if first.end < len(head) and not (head[first.end] & 0x80 and _tag(head[first.end]) in TAGS):
        return False
    if first.tag == PKESK:
        return recipient(first.body) is not None
    return (passphrase(first.body) if first.tag == SKESK else signature(first.body)) is not None


def _tag(byte: int) -> int:
    return byte & 0x3F if byte & 0x40 else byte >> 2 & 0xF


INSPECTOR = ContentInspector(
    name="openpgp",
    version=1,
    families=(Encryption, Signature),
    inspect=inspect,
    wants_head=_wanted,
    head_begins=(b"-----BEGIN PGP ", *BEGINNINGS),
    max_size=MAX_SIZE,
    unseen=(
        "public keys, and signatures on them",
        "whether a signature is right: none is verified",
        "what stands inside of what is encrypted or compressed",
        "armour in the middle of other text, and packets in the middle of other data",
    ),
)
