"""Encrypted disks of QEMU: the LUKS header that a qcow2 image carries, or the older cipher of its own.

Reference: QEMU, docs/interop/qcow2.txt: "crypt_method", "Full disk encryption header pointer".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from msgspec.structs import replace

from assay.facts.sealing import Encryption
from assay.unpack.base import BytesSource, Malformed, NotThisFormat
from assay.unpack.luks_structures import read_header

from .base import Content, ContentInspector
from .luks import fact

MAGIC = b"QFI\xfb"
METHOD_AT, LENGTH_AT = 32, 100
AES, LUKS = 1, 2
POINTER = 0x0537BE77
MOST = 16 << 20


def inspect(content: Content) -> Iterator[Encryption]:
    """Yield how a disk is encrypted, for each key slot in use; nothing of one that is not.

    Raises:
        UnpackError: the LUKS header is broken, or not there.
    """
    head = content.head
    method = int.from_bytes(head[METHOD_AT : METHOD_AT + 4], "big")
    if method == AES:
        yield Encryption(
            offset=METHOD_AT, scheme="qcow2-aes", cipher="aes", mode="cbc-plain64", key_bits=128, needs=["passphrase"]
        )
    if method != LUKS:
        return
    at, size = int.from_bytes(head[LENGTH_AT : LENGTH_AT + 4], "big"), len(head)
    while at + 8 <= size:
        kind, length = struct.unpack_from(">2L", head, at)
        if kind == POINTER and length == 16 and at + 24 <= size:
            start, stretch = struct.unpack_from(">2Q", head, at + 8)
            try:
                header = read_header(BytesSource(bytes(content.data[start : start + min(stretch, MOST)])))
            except NotThisFormat as error:
                raise Malformed(f"no LUKS header at offset {start}, where it should be") from error
            for slot in header.slots or (None,):
                found = fact(header, slot)
                yield replace(found, scheme="qcow2-luks", offset=start + (found.offset or 0))
            return
        if not kind:
            break
        at += 8 + (length + 7 & ~7)
    raise Malformed("it is encrypted by LUKS, and says not where its header is")


INSPECTOR = ContentInspector(
    name="qcow2-encryption",
    version=1,
    families=(Encryption,),
    inspect=inspect,
    wants_head=lambda head: head.startswith(MAGIC),
    head_begins=(MAGIC,),
    containers=True,
)
