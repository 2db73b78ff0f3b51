"""Android Verified Boot: the vbmeta structure, which says what a partition must hash to, signed; and the footer to it.

All numbers are big-endian. A vbmeta image is a header of 256 bytes, an authentication block (hash and signature over
header and auxiliary block), and an auxiliary block (descriptors and the public key). It is a partition of its own, or
lies behind an image, found by a footer in the last 64 bytes of the partition:

    "AVBf" u32 major, minor; u64 original image size, vbmeta offset, vbmeta size; u8 reserved[28]
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA512

from .base import Claim, Format, Limits, Malformed, NotThisFormat, Reader, Reference, Source, Truncated, UnpackError
from .boot_image import BootImageReader, Detail, Part, text

MAGIC, FOOTER_MAGIC = b"AVB0", b"AVBf"
# magic, required version, sizes of both blocks, algorithm; offset and size of hash, signature, key, key's metadata and
# descriptors; rollback index, flags, location of the rollback index, release
_HEADER = struct.Struct(">4s2L2QL10QQ2L47sx80x")
_FOOTER = struct.Struct(">4s2L3Q28x")
_ALGORITHMS = {
    0: "none",
    1: "SHA256_RSA2048",
    2: "SHA256_RSA4096",
    3: "SHA256_RSA8192",
    4: "SHA512_RSA2048",
    5: "SHA512_RSA4096",
    6: "SHA512_RSA8192",
}
_FLAGS = {1: "hashtree disabled", 2: "verification disabled"}
_BLOCK = 1 << 20
"""Bytes of one block; a real vbmeta image has 64 KiB in all."""
_DESCRIPTORS = 256


class Hash(NamedTuple):
    """What a hash descriptor states of the image that the footer belongs to."""

    partition: str
    image_size: int
    algorithm: str
    salt: bytes
    digest: bytes


class Vbmeta(NamedTuple):
    """A vbmeta image."""

    size: int
    detail: Detail
    hashes: list[Hash]
    key: tuple[int, int] | None
    """Offset and length of the public key."""
    problem: str | None
    """What is wrong with the signature or the descriptors."""


class Footer(NamedTuple):
    """Where a partition's image ends, and its vbmeta image lies."""

    image_size: int
    offset: int
    size: int


def read_footer(source: Source) -> Footer | None:
    """Return the footer in the last 64 bytes, or None if there is none that fits."""
    raw = source.pread(source.size - _FOOTER.size, _FOOTER.size)
    if raw[:4] != FOOTER_MAGIC or len(raw) < _FOOTER.size:
        return None
    _, major, _, image, offset, size = _FOOTER.unpack(raw)
    if major != 1 or not image <= offset <= offset + size <= source.size - _FOOTER.size:
        return None
    return Footer(image, offset, size)


def read_vbmeta(source: Source, at: int) -> Vbmeta:
    """Return what the vbmeta image at an offset states.

    Raises:
        NotThisFormat: there is none.
        Truncated: the source ends inside it.
        Malformed: its parts do not fit in it.
    """
    raw = source.pread(at, 256)
    if len(raw) < 256 or raw[:4] != MAGIC:
        raise NotThisFormat
    _, major, minor, auth, aux, algorithm, *parts, rollback, flags, location, release = _HEADER.unpack(raw)
    if major != 1 or auth % 64 or aux % 64 or auth > _BLOCK or aux > _BLOCK or algorithm not in _ALGORITHMS:
        raise NotThisFormat
    (hash_at, hash_size), (sign_at, sign_size), (key_at, key_size), _, (said_at, said_size) = zip(
        parts[::2], parts[1::2], strict=True
    )
    fits = (
        (hash_at + hash_size, auth),
        (sign_at + sign_size, auth),
        (key_at + key_size, aux),
        (said_at + said_size, aux),
    )
    if any(end > block for end, block in fits):
        raise Malformed("a part of the vbmeta image lies outside of its block")
    block = source.pread(at + 256 + auth, aux)
    if len(block) < aux:
        raise Truncated(f"the vbmeta image has {256 + auth + aux} bytes, the source ends before")
    authentication = source.exactly(at + 256, auth)
    detail: Detail = {
        "avb_version": f"{major}.{minor}",
        "avb_algorithm": _ALGORITHMS[algorithm],
        "avb_flags": ", ".join(name for bit, name in _FLAGS.items() if flags & bit),
        "avb_rollback_index": rollback,
        "avb_rollback_index_location": location,
        "avb_release": text(release),
    }
    key = block[key_at : key_at + key_size]
    if key:
        detail["avb_public_key_sha1"] = hashlib.sha1(key, usedforsecurity=False).hexdigest()
    problem = None
    if algorithm:
        new, kind = (hashlib.sha256, SHA256()) if algorithm < 4 else (hashlib.sha512, SHA512())
        digest = new(raw + block).digest()
        right = authentication[hash_at : hash_at + hash_size] == digest
        signed = right and _verified(key, authentication[sign_at : sign_at + sign_size], digest, kind)
        detail["avb_signature"] = "right for the key in it" if signed else "wrong"
        if not signed:
            problem = "the signature of the vbmeta image is wrong" if right else "the hash of the vbmeta image is wrong"
    hashes, broken = _descriptors(block[said_at : said_at + said_size], detail)
    place = (at + 256 + auth + key_at, key_size) if key else None
    return Vbmeta(256 + auth + aux, detail, hashes, place, problem or broken)


def _verified(key: bytes, signature: bytes, digest: bytes, kind: SHA256 | SHA512) -> bool:
    """Tell whether a signature is right. The key: u32 bits, n0inv; modulus; a helper value. Its exponent is 65537."""
    bits = int.from_bytes(key[:4], "big")
    if bits not in (2048, 4096, 8192) or len(key) != 8 + bits // 4:
        return False
    try:
        numbers = rsa.RSAPublicNumbers(65537, int.from_bytes(key[8 : 8 + bits // 8], "big"))
        numbers.public_key().verify(signature, digest, padding.PKCS1v15(), Prehashed(kind))
    except (InvalidSignature, ValueError):
        return False
    return True


def _descriptors(data: bytes, detail: Detail) -> tuple[list[Hash], str | None]:
    """Tell all descriptors in the detail; return the hashes, and what was wrong."""
    hashes: list[Hash] = []
    at = number = 0
    while at < len(data):
        if at + 16 > len(data) or number >= _DESCRIPTORS:
            return hashes, f"descriptors end at number {number}"
        tag, length = struct.unpack_from(">2Q", data, at)
        if length > len(data) - at - 16:
            return hashes, f"descriptor {number} goes on beyond its block"
        body = data[at + 16 : at + 16 + length]
        try:
            said = _descriptor(tag, body, hashes)
        except struct.error:
            return hashes, f"descriptor {number} is too short"
        detail[f"avb_descriptor_{number}"] = said[:1000]
        at += 16 + length
        number += 1
    return hashes, None


def _descriptor(tag: int, body: bytes, hashes: list[Hash]) -> str:
    def cut(at: int, *sizes: int) -> Iterator[bytes]:
        for size in sizes:
            yield body[at : at + size]
            at += size

    if tag == 0:
        key_size, value_size = struct.unpack_from(">2Q", body)
        key, _, value = cut(16, key_size, 1, value_size)
        return f"property {_shown(key)}={_shown(value)}"
    if tag == 1:
        size, kind, names, salts, digests, flags = struct.unpack_from(">4xQ44x32s4L", body)
        name, _, digest = cut(164, names, salts, digests)
        return f"hashtree {_shown(name)}: {size} bytes, {text(kind)}, root {digest.hex()}, flags {flags}"
    if tag == 2:
        size, kind, names, salts, digests, flags = struct.unpack_from(">Q32s4L", body)
        name, salt, digest = cut(116, names, salts, digests)
        hashes.append(Hash(_shown(name), size, text(kind), salt, digest))
        return f"hash {_shown(name)}: {size} bytes, {text(kind)}, {digest.hex()}, flags {flags}"
    if tag == 3:
        flags, length = struct.unpack_from(">2L", body)
        return f"kernel command line: {_shown(body[8 : 8 + length])}, flags {flags}"
    if tag == 4:
        location, names, keys = struct.unpack_from(">3L", body)
        name, key = cut(76, names, keys)
        sha1 = hashlib.sha1(key, usedforsecurity=False).hexdigest()
        return f"chain {_shown(name)}: rollback index location {location}, public key SHA-1 {sha1}"
    return f"descriptor of type {tag}, {len(body)} bytes"


def _shown(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def attach(reader: BootImageReader) -> Hash | None:
    """Tell in a reader's detail what footer and vbmeta image behind its image state, and claim both.

    Returns:
        What the image must hash to, if that is stated.
    """
    source = reader.source
    footer = read_footer(source)
    if footer is None:
        return None
    reader.structure.append(Claim(source.size - _FOOTER.size, _FOOTER.size, "AVB footer"))
    try:
        vbmeta = read_vbmeta(source, footer.offset)
    except (NotThisFormat, UnpackError) as error:
        reader.malformed(f"the footer points to no vbmeta image at offset {footer.offset} {error}".strip())
        return None
    reader.structure.append(Claim(footer.offset, vbmeta.size, "vbmeta"))
    reader.detail |= vbmeta.detail
    if vbmeta.problem:
        reader.malformed(vbmeta.problem)
    return vbmeta.hashes[0] if vbmeta.hashes else None


def hash_right(source: Source, stated: Hash) -> bool | None:
    """Tell whether the image hashes to what is stated; None if the source ends before, or for an unknown algorithm."""
    if stated.algorithm not in ("sha1", "sha256", "sha512") or stated.image_size > source.size:
        return None
    running = hashlib.new(stated.algorithm, stated.salt, usedforsecurity=False)
    for chunk in source.chunks(0, stated.image_size):
        running.update(chunk)
    return running.digest() == stated.digest


class AvbReader(BootImageReader):
    """See `Reader`. Lists the public key; everything else is in the detail."""

    def __init__(self, source: Source) -> None:
        super().__init__(FORMAT, source)
        vbmeta = read_vbmeta(source, 0)
        self.detail = vbmeta.detail
        if vbmeta.key:
            start, length = vbmeta.key
            self.parts.append(Part(b"public_key", start, length))
            self.structure.append(Claim(0, start, "vbmeta"))
            self.structure.append(Claim(start + length, vbmeta.size - start - length, "vbmeta"))
        else:
            self.structure.append(Claim(0, vbmeta.size, "vbmeta"))
        if vbmeta.problem:
            self.malformed(vbmeta.problem)


def _open(source: Source, limits: Limits) -> Reader:  # noqa: ARG001 - both blocks are small
    return AvbReader(source)


FORMAT = Format(
    name="avb",
    title="Android Verified Boot: vbmeta image",
    open=_open,
    magics=[(0, MAGIC)],
    references=[
        Reference(
            "Android Verified Boot 2.0",
            "https://android.googlesource.com/platform/external/avb/+/refs/heads/main/README.md",
        ),
    ],
    limitations=["the key that a device trusts is in the device: a signature is checked with the key beside it"],
    smallest=256,
)
