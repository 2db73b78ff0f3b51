"""What FAT, exFAT and NTFS have in common: the attributes of a file, and times in the form of MS-DOS."""

from __future__ import annotations

from functools import lru_cache

from .timestamps import timestamp

ATTRIBUTES = "dos.attributes"
"""Extended attribute in which readers give a file's attributes, as words."""
CREATED = "dos.created"
"""Extended attribute in which readers give the time of creation: nanoseconds since 1970-01-01 UTC, in decimal."""

READ_ONLY, HIDDEN, SYSTEM, LABEL, DIRECTORY, ARCHIVE = (1 << bit for bit in range(6))
WORDS = {
    READ_ONLY: "read-only",
    HIDDEN: "hidden",
    SYSTEM: "system",
    ARCHIVE: "archive",
    0x100: "temporary",
    0x200: "sparse",
    0x400: "reparse-point",
    0x800: "compressed",
    0x1000: "offline",
    0x2000: "not-indexed",
    0x4000: "encrypted",
}
"""Bits of a file's attributes that say more than its type ([MS-FSCC] section 2.6)."""


@lru_cache(4096)
def attribute_words(bits: int) -> bytes:
    """Return attributes as words, those that only repeat an entry's type left out.

    >>> attribute_words(0x23)
    b'read-only hidden archive'
    """
    return " ".join(word for bit, word in WORDS.items() if bits & bit).encode()


@lru_cache(4096)
def dos_time(date: int, time: int = 0, hundredths: int = 0) -> int | None:
    """Return a time in nanoseconds since 1970-01-01, read as UTC, or None if there is no such time.

    Args:
        date: bits 0-4 day, 5-8 month, 9-15 years since 1980.
        time: bits 0-4 two seconds, 5-10 minute, 11-15 hour.
        hundredths: of a second, 0 to 199.
    """
    if hundredths > 199:
        hundredths = 0
    return timestamp(
        1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2,
        nanosecond=hundredths * 10_000_000,
    )  # fmt: skip
