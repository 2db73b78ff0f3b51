"""The signature of a vbmeta image of Android Verified Boot, by the key that it carries.

Reference: Android Verified Boot 2.0, "The VBMeta struct".
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.sealing import Signature
from assay.unpack.avb import MAGIC, read_vbmeta
from assay.unpack.base import BytesSource, NotThisFormat

from . import verifying
from .base import Content, ContentInspector


def inspect(content: Content) -> Iterator[Signature]:
    """Yield the signature of a vbmeta image; nothing if it has none.

    Raises:
        UnpackError: it is broken.
    """
    data = bytes(content.data[: 4 << 20])
    try:
        vbmeta = read_vbmeta(BytesSource(data), 0)
    except NotThisFormat:
        return
    stated = vbmeta.detail.get("avb_algorithm")
    if not isinstance(stated, str) or stated == "none":
        return
    digest, _, algorithm = stated.partition("_")
    fingerprint = _fingerprint(data[vbmeta.key[0] : sum(vbmeta.key)]) if vbmeta.key else None
    verified = str(vbmeta.detail.get("avb_signature", "")).startswith("right") if fingerprint else None
    yield Signature(
        offset=0,
        format="avb",
        algorithm="rsa" if algorithm.startswith("RSA") else algorithm,
        digest=digest.lower(),
        key_id=None if vbmeta.key is None else str(vbmeta.detail.get("avb_public_key_sha1")),
        covers="header and descriptors, which state digests of partitions",
        covers_offset=0,
        covers_length=vbmeta.size,
        verified=verified,
        verified_with=fingerprint,
        key_place="same content" if fingerprint else None,
    )


def _fingerprint(key: bytes) -> str | None:
    """Return the fingerprint of a public key as vbmeta images have it; None if it is none."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    bits = int.from_bytes(key[:4], "big")
    if not 1024 <= bits <= 16384 or len(key) < 8 + bits // 8:
        return None
    try:
        public = RSAPublicNumbers(65537, int.from_bytes(key[8 : 8 + bits // 8], "big")).public_key()
    except ValueError:
        return None
    return verifying.public_key(public, "same content").fingerprint


def prepare() -> None:
    """Load what keys need, before workers are forked and confined."""
    verifying.prepare()


INSPECTOR = ContentInspector(
    name="avb-signature",
    version=1,
    families=(Signature,),
    inspect=inspect,
    wants_head=lambda head: head.startswith(MAGIC),
    head_begins=(MAGIC,),
    containers=True,
    unseen=("vbmeta images that stand behind a partition's image (their container's detail tells of them)",),
)
