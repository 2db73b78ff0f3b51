"""Signatures of Alpine packages and indexes: RSA over the gzip member that follows the signature's own.

Reference: apk-tools, doc/apk-package.5 (v2): .SIGN.RSA.NAME is over SHA-1, .SIGN.RSA256.NAME over SHA-256.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator

from assay.facts.identity import Identity
from assay.facts.sealing import Signature
from assay.unpack.base import Malformed

from . import verifying
from .base import Content, ContentInspector

KINDS = {".SIGN.RSA.": "sha1", ".SIGN.RSA256.": "sha256", ".SIGN.RSA512.": "sha512"}
MOST = 16 << 20
"""Bytes of one member, compressed and not."""
STEP = 64 << 10
VALUE = 4096


def inspect(content: Content) -> Iterator[Signature | Identity]:
    """Yield the signature of a package or index.

    Raises:
        Malformed: what begins like a signature breaks off.
    """
    plain, end = _member(content, 0, VALUE * 4)
    name = plain[:100].split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    kind = next((prefix for prefix in KINDS if name.startswith(prefix)), None)
    if kind is None:
        return
    try:
        header = tarfile.TarInfo.frombuf(plain[:512], "utf-8", "backslashreplace")
    except tarfile.HeaderError as error:
        raise Malformed(f"the signature's header: {error}") from error
    value = plain[512 : 512 + header.size]
    if not 0 < header.size <= VALUE or len(value) != header.size or end is None:
        raise Malformed(f"a signature of {header.size} bytes")
    digest = KINDS[kind]
    _, stop = _member(content, end, 0)
    right, used = None, None
    if stop is not None:
        running = hashlib.new(digest, bytes(content.data[end:stop]), usedforsecurity=False)
        for key in verifying.given():
            result = verifying.verifies(key, value, running.digest(), digest, hashed=True)
            if result is not None and (right is None or result):
                right, used = result, key
            if right:
                break
    yield Signature(
        offset=0,
        format="apk",
        algorithm="rsa",
        digest=digest,
        covers="control data, which state the digest of the rest",
        covers_offset=end,
        covers_length=None if stop is None else stop - end,
        verified=right,
        verified_with=used.fingerprint if used else None,
        key_place=used.place if used else None,
    )
    yield Identity(offset=0, subject="signature:apk", attribute="key-name", value=name.removeprefix(kind)[:500])


def _member(content: Content, start: int, keep: int) -> tuple[bytes, int | None]:
    """Return the first bytes of a gzip member, and where it ends; None if that is not within `MOST`."""
    decoder = zlib.decompressobj(31)
    kept, out, at = b"", 0, start
    while not decoder.eof and out <= MOST and at - start <= MOST:
        piece = bytes(content.data[at : at + STEP])
        if not piece:
            return kept, None
        at += len(piece)
        while piece:
            try:
                plain = decoder.decompress(piece, STEP)
            except zlib.error as error:
                raise Malformed(f"gzip: {error}") from error
            kept += plain[: max(0, keep - len(kept))]
            out += len(plain)
            piece = decoder.unconsumed_tail if out <= MOST else b""
    return kept, at - len(decoder.unused_data) if decoder.eof else None


def _begins(head: bytes) -> bool:
    """Tell whether bytes are gzip whose first bytes name a signature."""
    try:
        return zlib.decompressobj(31).decompress(head[:STEP], 16).startswith(b".SIGN.")
    except zlib.error:
        return False


def prepare() -> None:
    """Load what keys need, before workers are forked and confined."""
    verifying.prepare()


INSPECTOR = ContentInspector(
    name="apk-signature",
    version=1,
    families=(Signature, Identity),
    inspect=inspect,
    wants_head=_begins,
    head_begins=(b"\x1f\x8b\x08",),
    containers=True,
    unseen=("keys in /etc/apk/keys: only keys given are tried", "packages of apk v3 (ADB)", "Android packages"),
)
