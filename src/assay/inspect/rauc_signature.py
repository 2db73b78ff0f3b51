"""The signature at the end of a RAUC bundle, held against the payload before it.

Reference: RAUC documentation, "Reference: bundle formats": plain bundles are signed detached, verity bundles sign a
manifest with the root hash, crypt bundles encrypt that.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.identity import Identity
from assay.facts.sealing import Encryption, Signature
from assay.unpack.base import BytesSource, Limits, NotThisFormat
from assay.unpack.parts import PartsReader
from assay.unpack.rauc import FORMAT, SQUASHFS

from . import verifying
from .base import Content, ContentInspector
from .cms import Covered, messages


def inspect(content: Content) -> Iterator[Signature | Encryption | Identity]:
    """Yield the signature of a bundle; nothing of a squashfs that is none.

    Raises:
        UnpackError: its CMS message is broken.
    """
    try:
        reader = FORMAT.open(BytesSource(memoryview(content.data)), Limits())
    except NotThisFormat:
        return
    assert isinstance(reader, PartsReader)
    payload, signature = reader.parts[:2]
    plain = reader.detail["bundle"] == "plain"
    covered = Covered("payload", content.data, [(0, payload.size)]) if plain else None
    message = bytes(content.data[signature.offset : signature.offset + signature.size])
    yield from messages(message, signature.offset, covered=covered)


def prepare() -> None:
    """Load what keys need, before workers are forked and confined."""
    verifying.prepare()


INSPECTOR = ContentInspector(
    name="rauc-signature",
    version=1,
    families=(Signature, Encryption, Identity),
    inspect=inspect,
    wants_head=lambda head: head.startswith(SQUASHFS),
    head_begins=(SQUASHFS,),
    containers=True,
    unseen=("crypt bundles", "the hash tree of a verity bundle is not computed"),
)
