"""Signatures of RPM package files: OpenPGP packets in the signature header.

Reference: RPM documentation, "Signatures": tags RSA, DSA and OPENPGP cover the header, PGP and GPG header and payload.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator

from msgspec.structs import replace

from assay.facts.sealing import Encryption, Signature
from assay.unpack.base import BytesSource, Limits, Malformed
from assay.unpack.rpmheader import SIG_DSA, SIG_GPG, SIG_OPENPGP, SIG_PGP, SIG_RSA, read_header

from .base import Content, ContentInspector
from .openpgp import facts

LEAD = 96
MAGIC = b"\xed\xab\xee\xdb"
WHOLE = (SIG_PGP, SIG_GPG)


def inspect(content: Content) -> Iterator[Signature | Encryption]:
    """Yield the signatures of a package file.

    Raises:
        UnpackError: a header or a signature cannot be read.
    """
    source = BytesSource(memoryview(content.data))
    limits = Limits()
    header, end = read_header(source, LEAD, limits)
    start = end + -end % 8
    _, stop = read_header(source, start, limits)
    found = [(tag, bytes(header.numbers(tag))) for tag in (SIG_RSA, SIG_DSA, SIG_PGP, SIG_GPG) if tag in header]
    try:
        found += [(SIG_OPENPGP, binascii.a2b_base64(text)) for text in header.texts(SIG_OPENPGP)]
    except binascii.Error as error:
        raise Malformed(f"an OpenPGP signature: {error}") from error
    for tag, value in found:
        whole = tag in WHOLE
        for fact in facts(value, LEAD, "rpm", "header and payload" if whole else "header"):
            if isinstance(fact, Signature):
                yield replace(fact, covers_offset=start, covers_length=(source.size if whole else stop) - start)


INSPECTOR = ContentInspector(
    name="rpm-signature",
    version=1,
    families=(Signature, Encryption),
    inspect=inspect,
    wants_head=lambda head: head.startswith(MAGIC),
    head_begins=(MAGIC,),
    containers=True,
    unseen=("whether a signature is right: none is verified", "signatures on single files (IMA, fs-verity)"),
)
