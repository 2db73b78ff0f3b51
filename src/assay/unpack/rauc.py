"""RAUC update bundles: a squashfs, for the verity format its hash tree, a CMS signature, and the signature's length.

    squashfs, padded to 4096 bytes; hash tree of dm-verity (SHA-256, blocks of 4096 bytes); CMS in DER; u64 its length
    (big endian)

A plain bundle has its manifest in the squashfs, a verity bundle in the signed data. The payload of a crypt bundle is
encrypted, and its CMS is enveloped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import Detail, PartsReader

SQUASHFS = b"hsqs"
BLOCK = 4096
DIGEST = 32
MOST = 8 << 20  # bytes of a signature with its certificates
TRAILER = struct.Struct(">Q")
PKCS7 = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"  # an object identifier, all but its last byte
SIGNED, ENVELOPED = 2, 3


class Value(NamedTuple):
    """A DER value: its tag, and where its content lies."""

    tag: int
    start: int
    end: int


def _der(data: bytes, at: int, end: int) -> Value | None:
    """Return the DER value (X.690, definite length) at a place, or None if there is none that fits."""
    if at + 2 > end:
        return None
    tag, length, start = data[at], data[at + 1], at + 2
    if length == 0x80 or length > 0x84 or tag & 0x1F == 0x1F:
        return None
    if length > 0x80:
        start += length - 0x80
        length = int.from_bytes(data[at + 2 : start], "big")
    return Value(tag, start, start + length) if start + length <= end and start <= end else None


def _inside(data: bytes, value: Value) -> Iterator[Value]:
    at = value.start
    while found := _der(data, at, value.end):
        yield found
        at = found.end


class Signature(NamedTuple):
    """A CMS message."""

    kind: int
    manifest: tuple[int, int] | None
    """(offset, length) of the data inside it."""


def _signature(data: bytes) -> Signature | None:
    """Return what bytes are that should be one CMS message: ContentInfo of RFC 5652, clauses 3, 5.1 and 6.1."""
    whole = _der(data, 0, len(data))
    if whole is None or whole.tag != 0x30 or whole.end != len(data):
        return None
    if data[whole.start : whole.start + len(PKCS7)] != PKCS7:
        return None
    kind = data[whole.start + len(PKCS7)]
    if kind not in (SIGNED, ENVELOPED):
        return None
    manifest = None
    if kind == SIGNED:
        for explicit in _inside(data, whole):
            for message in _inside(data, explicit) if explicit.tag == 0xA0 else ():
                for part in _inside(data, message):
                    # encapContentInfo is the sequence that begins with an object identifier
                    if part.tag == 0x30 and data[part.start : part.start + 1] == b"\x06":
                        for wrapped in _inside(data, part):
                            octets = _der(data, wrapped.start, wrapped.end) if wrapped.tag == 0xA0 else None
                            if octets is not None and octets.tag == 0x04:
                                manifest = octets.start, octets.end - octets.start
    return Signature(kind, manifest)


def _tree(size: int) -> int:
    """Return the bytes of dm-verity's hash tree over so many bytes."""
    blocks, total = size // BLOCK, 0
    while blocks > 1:
        blocks = -(-blocks * DIGEST // BLOCK)
        total += blocks
    return total * BLOCK


def _at(source: Source, at: int) -> tuple[bytes, Signature] | None:
    """Return the signature that begins at a place and is followed by its length."""
    head = source.pread(at, 32)
    if head[:1] != b"\x30" or PKCS7 not in head:
        return None
    outer = _der(head, 0, 1 << 62)
    length = outer.end if outer else 0
    if not 0 < length <= MOST:
        return None
    data = source.pread(at, length + TRAILER.size)
    if len(data) != length + TRAILER.size or TRAILER.unpack_from(data, length)[0] != length:
        return None
    found = _signature(data[:length])
    return (data[:length], found) if found else None


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, 96)
    places: list[tuple[int, int]] = []  # of the signature, and where the squashfs ends
    if head[:4] == SQUASHFS and len(head) == 96:
        used = int.from_bytes(head[40:48], "little")
        payload = -(-used // BLOCK) * BLOCK
        places = [(payload, payload), (payload + _tree(payload), payload)]
    if source.size > TRAILER.size:
        (length,) = TRAILER.unpack(source.pread(source.size - TRAILER.size, TRAILER.size))
        if 0 < length <= MOST and length + TRAILER.size < source.size:
            at = source.size - TRAILER.size - length
            places.append((at, min(places[0][1], at) if places else at))
    for at, payload in places:  # noqa: B007 - the place that was right is used below
        if found := _at(source, at):
            break
    else:
        raise NotThisFormat
    data, signature = found
    sealed = head[:4] != SQUASHFS
    if sealed and signature.kind != ENVELOPED:
        raise NotThisFormat
    between = at - payload
    layout = "crypt" if sealed else "plain" if not between else "verity" if between == _tree(payload) else None
    detail: Detail = {"bundle": layout, "payload_bytes": payload, "signature_bytes": len(data)}
    reader = PartsReader(FORMAT, source, limits, at + len(data) + TRAILER.size, detail)
    reader.part(b"bundle.squashfs", 0, payload, "encrypted" if sealed else None)
    if layout == "verity":
        reader.header(payload, between, "hash tree")
    reader.part(b"signature.cms", at, len(data))
    reader.header(at + len(data), TRAILER.size, "length of the signature")
    if signature.manifest:
        start, length = signature.manifest
        reader.inner(b"manifest.raucm", at + start, length)
    return reader


FORMAT = Format(
    name="rauc",
    title="RAUC update bundle: plain, verity, crypt",
    open=_open,
    magics=[(0, SQUASHFS)],
    tail=PKCS7,
    priority=10,  # it begins as the squashfs that it holds
    references=[
        Reference("RAUC, Reference: bundle formats", "https://rauc.readthedocs.io/en/latest/reference.html"),
        Reference("RFC 5652, Cryptographic Message Syntax", "https://www.rfc-editor.org/rfc/rfc5652"),
    ],
    limitations=[
        "the signature is listed and not verified, the hash tree neither",
        "a crypt bundle's payload is named as encrypted, and it is recognised only where a file ends",
        "a signature in BER of indefinite length",
    ],
)
