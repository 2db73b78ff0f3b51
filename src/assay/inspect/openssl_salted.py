"""Files of `openssl enc`, binary or in base64: that they are encrypted with a password is all that they say.

Reference: openssl-enc(1).
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.sealing import Encryption
from assay.unpack.base import BytesSource, Limits, NotThisFormat
from assay.unpack.openssl_enc import ENCODED, FORMAT, MAGIC

from .base import Content, ContentInspector


def inspect(content: Content) -> Iterator[Encryption]:
    """Yield the one fact that there is to tell."""
    try:
        FORMAT.open(BytesSource(content.head), Limits())
    except NotThisFormat:
        return
    length = content.size - 16 if content.head.startswith(MAGIC) else None
    yield Encryption(offset=0, scheme="openssl-enc", needs=["passphrase"], length=length)


INSPECTOR = ContentInspector(
    name="openssl-salted",
    version=1,
    families=(Encryption,),
    inspect=inspect,
    wants_head=lambda head: head.startswith((MAGIC, ENCODED)),
    head_begins=(MAGIC, ENCODED),
    containers=True,
    unseen=("cipher and key derivation, which the file does not state", "files encrypted without a salt"),
)
