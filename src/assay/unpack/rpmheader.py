"""The tag store that RPM package files and RPM databases are made of. `assay.identify.rpm` reads it too.

Layout, all numbers big-endian (RPM documentation, "RPM V4 package format"):

    char    magic[4];       8E AD E8 01; absent in a database
    char    reserved[4];    absent in a database
    uint32  entries, bytes;
    struct  { uint32 tag, type, offset, count; } index[entries];
    char    store[bytes];
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import NamedTuple

from .base import LimitReached, Limits, Malformed, Source, Truncated

MAGIC = b"\x8e\xad\xe8\x01"
MOST_ENTRIES = 0xFFFF  # as rpm itself limits it
MOST_PATHS = 128 << 20  # characters of all directories, repeated for each of their files
STRING, STRINGS, TRANSLATED = 6, 8, 9
WIDTHS = {1: "B", 2: "B", 3: "H", 4: "I", 5: "Q", 7: "B"}

# Tags that are read: main header, then signature header (their numbers overlap).
NAME, VERSION, RELEASE, EPOCH = 1000, 1001, 1002, 1003
BUILDHOST, DISTRIBUTION, VENDOR, LICENSE, PACKAGER, URL = 1007, 1010, 1011, 1014, 1015, 1020
ARCH, OLDFILENAMES, SOURCERPM, REQUIRENAME = 1022, 1027, 1044, 1049
DIRINDEXES, BASENAMES, DIRNAMES = 1116, 1117, 1118
PAYLOADFORMAT, PAYLOADCOMPRESSOR, PAYLOADFLAGS = 1124, 1125, 1126
LONGFILESIZES, FILEDIGESTALGO, PAYLOADDIGESTALGO = 5008, 5011, 5093
SIG_SIZE, SIG_PGP, SIG_MD5, SIG_GPG = 1000, 1002, 1004, 1005
SIG_DSA, SIG_RSA, SIG_SHA1, SIG_LONGSIZE, SIG_SHA256 = 267, 268, 269, 270, 273
SIG_FILES, SIG_OPENPGP, SIG_SHA3 = 274, 278, 279


class Value(NamedTuple):
    """One entry of the index."""

    type: int
    offset: int
    items: int


class Header:
    """A parsed header: values are decoded when asked for, and never reach beyond the store."""

    def __init__(self, index: bytes, store: bytes) -> None:
        self.store = store
        self.index: dict[int, Value] = {}
        numbers = struct.unpack(f">{len(index) // 4}I", index)
        for at in range(0, len(numbers), 4):
            self.index.setdefault(numbers[at], Value(*numbers[at + 1 : at + 4]))
        # Where an array of texts can end at the latest, without looking through all of the store for every tag.
        self._bounds = sorted({value.offset for value in self.index.values()})

    def __contains__(self, tag: int) -> bool:
        return tag in self.index

    def texts(self, tag: int) -> list[str]:
        """Return the strings of a tag: none if it is absent or not text; other bytes than UTF-8 as escapes."""
        value = self.index.get(tag)
        if value is None or value.type not in (STRING, STRINGS, TRANSLATED) or value.offset >= len(self.store):
            return []
        count = 1 if value.type == STRING else value.items
        after = _first_above(self._bounds, value.offset, len(self.store))
        pieces = self.store[value.offset : after].split(b"\0", count)
        return [piece.decode("utf-8", "backslashreplace") for piece in pieces[:count]]

    def text(self, tag: int) -> str | None:
        """Return the (first) string of a tag, or None."""
        found = self.texts(tag)
        return found[0] if found else None

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the integers of a tag (the bytes of a binary one): none if it is absent or runs out of the store."""
        value = self.index.get(tag)
        if value is None or value.type not in WIDTHS:
            return ()
        form = f">{value.items}{WIDTHS[value.type]}"
        if value.offset + value.items * struct.calcsize(f">{WIDTHS[value.type]}") > len(self.store):
            return ()
        return struct.unpack_from(form, self.store, value.offset)

    def number(self, tag: int) -> int | None:
        """Return the (first) integer of a tag, or None."""
        found = self.numbers(tag)
        return found[0] if found else None

    def files(self) -> list[str]:
        """Return the paths of the package's files, in the header's order.

        Raises:
            Malformed: the paths are many times as long as the header: one long directory for very many names.
        """
        bases, places, directories = self.texts(BASENAMES), self.numbers(DIRINDEXES), self.texts(DIRNAMES)
        if not bases:
            return self.texts(OLDFILENAMES)
        known = len(directories)
        lengths = list(map(len, directories))
        if sum(lengths[place] for place in places if place < known) > MOST_PATHS:
            raise Malformed(f"paths of more than {MOST_PATHS} characters")
        return [directories[d] + base for base, d in zip(bases, places, strict=False) if d < known]


def _first_above(bounds: list[int], offset: int, end: int) -> int:
    at = bisect_right(bounds, offset)
    return min(bounds[at], end) if at < len(bounds) else end


def read_header(source: Source, offset: int, limits: Limits, *, magic: bool = True) -> tuple[Header, int]:
    """Read a header.

    Args:
        source: a package file or a database's value.
        offset: where the header starts.
        limits: `metadata_bytes` is kept to.
        magic: it starts with the eight bytes of magic; a database leaves them out.

    Returns:
        The header and the offset behind it.

    Raises:
        Malformed: there is no header, or its numbers are impossible.
        Truncated: the source ends before the header does.
        LimitReached: `metadata_bytes`.
    """
    if magic:
        if source.exactly(offset, 8)[:4] != MAGIC:
            raise Malformed(f"no header at offset {offset}")
        offset += 8
    entries, size = struct.unpack(">2I", source.exactly(offset, 8))
    if not 0 < entries <= MOST_ENTRIES:
        raise Malformed(f"header at offset {offset} has {entries} entries")
    offset += 8
    end = offset + 16 * entries + size
    if end > source.size:
        raise Truncated(f"header ends at offset {end}, the source at {source.size}")
    if size > limits.metadata_bytes:
        raise LimitReached("metadata_bytes", limits.metadata_bytes)
    return Header(source.exactly(offset, 16 * entries), source.exactly(offset + 16 * entries, size)), end
