"""Authenticode: signatures in programs for UEFI and Windows (PE), as secure boot checks them.

The certificate table at the end of the file holds CMS messages; each encloses the hash of the file without its
checksum, the table's own directory entry and the table.

Reference: PE Format, "The Attribute Certificate Table"; Windows Authenticode Portable Executable Signature Format 1.0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from msgspec.structs import replace

from assay.facts.identity import Identity
from assay.facts.sealing import Encryption, Signature
from assay.unpack.base import Malformed

from . import verifying
from .base import Content, ContentInspector
from .cms import Covered, content_info, messages
from .der_format import NotDer
from .verifying import HASHES

CHECKSUM = 64
"""Where the checksum stands in the optional header."""
DIRECTORIES = {0x10B: 96, 0x20B: 112}
"""Where the data directories stand in it, for PE32 and PE32+."""
SECURITY = 4
ENTRY = struct.Struct("<LHH")
SIGNED_DATA = 2
TABLES = 20
MOST = 4 << 20


def inspect(content: Content) -> Iterator[Signature | Encryption | Identity]:
    """Yield the signatures of a PE file.

    Raises:
        Malformed: its certificate table, or a message in it, is broken.
    """
    head = content.head
    (at,) = struct.unpack_from("<L", head, 0x3C)
    optional = at + 24
    magic, size = bytes(head[optional : optional + 2]), len(head)
    start = DIRECTORIES.get(int.from_bytes(magic, "little"), 0)
    entry = optional + start + 8 * SECURITY
    if not start or entry + 8 > size or struct.unpack_from("<L", head, optional + start - 4)[0] <= SECURITY:
        return
    table, length = struct.unpack_from("<2L", head, entry)
    if not table or not length:
        return
    if table < entry + 8 or table + length > content.size:
        raise Malformed(f"a certificate table of {length} bytes at offset {table}, the file has {content.size}")
    checksum = optional + CHECKSUM
    ranges = [(0, checksum), (checksum + 4, entry), (entry + 8, table)]
    if table + length < content.size:
        ranges.append((table + length, content.size))
    image = Covered("image", content.data, ranges)
    where = table
    for _ in range(TABLES):
        if where + ENTRY.size > table + length:
            return
        bytes_, _revision, kind = ENTRY.unpack(bytes(content.data[where : where + ENTRY.size]))
        if not ENTRY.size < bytes_ <= min(table + length - where, MOST):
            raise Malformed(f"a certificate of {bytes_} bytes at offset {where}")
        if kind == SIGNED_DATA:
            message = bytes(content.data[where + ENTRY.size : where + bytes_])
            yield from _message(message, where + ENTRY.size, image)
        where += -(-bytes_ // 8) * 8


def _message(data: bytes, offset: int, image: Covered) -> Iterator[Signature | Encryption | Identity]:
    """Yield the facts of a message, with whether the file has the hash that it encloses."""
    try:
        _, signed = content_info(data)
        enclosed = signed.inside()[2].inside()[1].inside()[0]
        algorithm, stated = enclosed.inside()[1].inside()[:2]
        digest = HASHES.get(algorithm.inside()[0].oid(), "")
    except (NotDer, IndexError) as error:
        raise Malformed(f"the enclosed hash at offset {offset}: {error}") from error
    same = image.digest(digest) == stated.content if digest else None
    for fact in messages(data, offset, "authenticode"):
        if isinstance(fact, Signature):
            yield replace(
                fact,
                covers=image.what,
                covers_offset=0,
                covers_length=image.length,
                message_digest=stated.content.hex(),
                digest_right=False if fact.digest_right is False else same,
            )
        else:
            yield fact


def _wanted(head: bytes) -> bool:
    if len(head) < 0x40 or head[:2] != b"MZ":
        return False
    (at,) = struct.unpack_from("<L", head, 0x3C)
    return head[at : at + 4] == b"PE\0\0"


def prepare() -> None:
    """Load what keys need, before workers are forked and confined."""
    verifying.prepare()


INSPECTOR = ContentInspector(
    name="authenticode",
    version=1,
    families=(Signature, Encryption, Identity),
    inspect=inspect,
    wants_head=_wanted,
    head_begins=(b"MZ",),
    containers=True,
    unseen=("signatures in catalogue files, which name a program by its hash", "nested signatures (a second hash)"),
)
