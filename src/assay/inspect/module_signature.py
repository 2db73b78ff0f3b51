r"""Signatures that stand behind Linux kernel modules (and kernels), over all bytes before them.

    module; name of the signer, key identifier, signature; u8 algorithm, hash, type, name's length, identifier's length,
    pad[3]; u32 signature's length (big endian); "~Module signature appended~\n"

Type 2, in use since Linux 4.3, is a CMS message and states no name and no identifier; type 1 was RSA by PKCS #1.

Reference: Linux, include/linux/module_signature.h and Documentation/admin-guide/module-signing.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from assay.facts.identity import Identity
from assay.facts.sealing import Encryption, Signature
from assay.unpack.base import Malformed

from . import verifying
from .base import Content, ContentInspector, Expression
from .cms import Covered, messages

MARK = b"~Module signature appended~\n"
TRAILER = struct.Struct(">5B3xL")
X509, CMS = 1, 2
HASHES = {1: "md5", 2: "sha1", 4: "sha256", 5: "sha384", 6: "sha512", 7: "sha224"}
MOST = 1 << 20


def inspect(content: Content) -> Iterator[Signature | Encryption | Identity]:
    """Yield the signature at the end of a module.

    Raises:
        Malformed: its trailer contradicts itself, or the CMS message is broken.
    """
    at = content.size - len(MARK) - TRAILER.size
    if at < 0 or bytes(content.data[-len(MARK) :]) != MARK:
        return
    algorithm, hash, kind, name, identifier, length = TRAILER.unpack(bytes(content.data[at : at + TRAILER.size]))
    start = at - length
    end = start - name - identifier
    if not 0 < length <= MOST or end < 0:
        raise Malformed(f"a signature of {length} bytes in {content.size}")
    covered = Covered("bytes before it", content.data, [(0, end)])
    if kind == CMS:
        yield from messages(bytes(content.data[start:at]), start, "module", covered)
        return
    digest = HASHES.get(hash, str(hash))
    value = bytes(content.data[start:at])
    if kind == X509 and length > 2 and int.from_bytes(value[:2], "big") == length - 2:
        value = value[2:]
    right, used = None, None
    computed = covered.digest(digest)
    for key in verifying.given() if computed is not None else ():
        result = verifying.verifies(key, value, computed or b"", digest, hashed=True)
        if result is not None and (right is None or result):
            right, used = result, key
        if right:
            break
    yield Signature(
        offset=start,
        format="module",
        kind={0: "openpgp", X509: "x509"}.get(kind, str(kind)),
        algorithm={0: "dsa", 1: "rsa"}.get(algorithm, str(algorithm)),
        digest=digest,
        key_id=bytes(content.data[start - identifier : start]).hex() or None,
        covers=covered.what,
        covers_offset=0,
        covers_length=end,
        verified=right,
        verified_with=used.fingerprint if used else None,
        key_place=used.place if used else None,
    )


def prepare() -> None:
    """Load what keys need, before workers are forked and confined."""
    verifying.prepare()


INSPECTOR = ContentInspector(
    name="module-signature",
    version=1,
    families=(Signature, Encryption, Identity),
    inspect=inspect,
    binary_only=True,
    only_hits=True,
    expressions=(Expression(rb"~Module signature appended~\x0a"),),
    unseen=(
        "keys that are built into a kernel: only a certificate in the signature and keys given are tried",
        "a signature that other bytes follow",
    ),
)
