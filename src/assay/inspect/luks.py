"""LUKS volumes: cipher, and for each key slot in use how costly it is to try a passphrase.

Reference: LUKS1 On-Disk Format Specification 1.2.3, LUKS2 On-Disk Format Specification 1.1.1.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.sealing import Encryption
from assay.unpack.base import BytesSource, NotThisFormat
from assay.unpack.luks_structures import MAGIC, Header, Slot, read_header

from .base import Content, ContentInspector


def inspect(content: Content) -> Iterator[Encryption]:
    """Yield a fact for each key slot in use; one without a slot if there is none.

    Raises:
        UnpackError: the header is broken.
    """
    try:
        header = read_header(BytesSource(bytes(content.data[: 16 << 20])))
    except NotThisFormat:
        return
    for slot in header.slots:
        yield fact(header, slot)
    if not header.slots:
        yield fact(header, None)


def fact(header: Header, slot: Slot | None) -> Encryption:
    """Return what the header states of a key slot, or of none."""
    cipher, _, mode = header.encryption.partition("-")
    kdf = slot.kdf if slot else None
    return Encryption(
        offset=slot.offset if slot and header.version == 1 else 0,
        scheme=f"luks{header.version}",
        cipher=cipher or None,
        mode=mode or None,
        key_bits=8 * header.key_bytes if header.key_bytes else None,
        kdf=kdf.type if kdf else None,
        kdf_hash=kdf.hash if kdf else None,
        iterations=(kdf.time if kdf.iterations is None else kdf.iterations) if kdf else None,
        memory=kdf.memory if kdf else None,
        lanes=kdf.cpus if kdf else None,
        slot=slot.number if slot else None,
        slots=len(header.slots),
        needs=["passphrase"] if slot else ["volume key"],
    )


INSPECTOR = ContentInspector(
    name="luks",
    version=1,
    families=(Encryption,),
    inspect=inspect,
    wants_head=lambda head: head.startswith(MAGIC),
    head_begins=(MAGIC,),
    containers=True,
    unseen=("headers that stand anywhere but where a file or partition begins",),
)
