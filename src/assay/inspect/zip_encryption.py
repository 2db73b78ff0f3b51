"""Encrypted entries of ZIP archives, counted by how they are encrypted.

Reference: APPNOTE.TXT 6.3.10, sections 4.4.4 and 6.1; WinZip, AES Encryption Information (AE-1, AE-2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from assay.facts.sealing import Encryption
from assay.unpack.base import BytesSource
from assay.unpack.zipcrypt import ITERATIONS, Seal, seal
from assay.unpack.zipdata import AES
from assay.unpack.zipdirectory import ENCRYPTED, find_directory, read_central

from .base import Content, ContentInspector

MOST = 64 << 20
"""Bytes of a central directory that are looked at."""


def inspect(content: Content) -> Iterator[Encryption]:
    """Yield a fact for each way in which entries are encrypted.

    Raises:
        Unsupported: the archive is split over several files.
    """
    with memoryview(content.data) as data:
        directory = find_directory(BytesSource(data))
    if directory is None:
        return
    found: Counter[int] = Counter()
    raw = bytes(content.data[directory.start : directory.start + min(directory.size, MOST)])
    at = 0
    while (central := read_central(raw, at)) is not None:
        at = central.next
        if central.flags & ENCRYPTED or central.method == AES:
            found[seal(central).strength] += 1
    for strength, entries in sorted(found.items()):
        known = strength > 0
        yield Encryption(
            offset=directory.start,
            scheme=Seal(strength, 0, 0).scheme,
            cipher="aes" if known else "pkware" if not strength else None,
            mode="ctr" if known else None,
            key_bits=64 + 64 * strength if known else 96 if not strength else None,
            kdf="pbkdf2" if known else None,
            kdf_hash="sha1" if known else None,
            iterations=ITERATIONS if known else None,
            needs=["passphrase"] if strength >= 0 else ["unknown"],
            entries=entries,
        )


INSPECTOR = ContentInspector(
    name="zip-encryption",
    version=1,
    families=(Encryption,),
    inspect=inspect,
    wants_head=lambda head: head.startswith(b"PK\3\4"),
    head_begins=(b"PK\3\4",),
    containers=True,
    unseen=("archives behind other bytes (self-extracting programs)",),
)
