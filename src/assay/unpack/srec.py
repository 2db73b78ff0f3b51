"""Motorola S-records: firmware as text.

A line is "S", a digit, and bytes in hexadecimal: length of what follows, address, data, the complement of their sum.
0: a header; 1, 2, 3: data, with addresses of 2, 3, 4 bytes; 5, 6: how many of them there were; 7, 8, 9: where to start,
with addresses of 4, 3, 2 bytes, the end.
"""

from __future__ import annotations

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .hex_records import HexReader, Kind, Record, begins

_KINDS: dict[bytes, tuple[Kind, int]] = {
    b"S0": ("header", 2),
    b"S1": ("data", 2),
    b"S2": ("data", 3),
    b"S3": ("data", 4),
    b"S5": ("count", 2),
    b"S6": ("count", 3),
    b"S7": ("last", 4),
    b"S8": ("last", 3),
    b"S9": ("last", 2),
}


def parse(line: bytes) -> Record:
    """Return the record of a line.

    Raises:
        ValueError: the line is none, or its sum is wrong.
    """
    if line[:2] not in _KINDS:
        raise ValueError("no record")
    kind, width = _KINDS[line[:2]]
    raw = bytes.fromhex(line[2:].decode("ascii"))
    if len(raw) < width + 2 or len(raw) != raw[0] + 1:
        raise ValueError("its length is wrong")
    if sum(raw) & 0xFF != 0xFF:
        raise ValueError("its sum is wrong")
    return kind, int.from_bytes(raw[1 : 1 + width], "big"), raw[1 + width : -1]


def _open(source: Source, limits: Limits) -> Reader:
    if not begins(source, parse):
        raise NotThisFormat
    return HexReader(FORMAT, source, limits, parse)


FORMAT = Format(
    name="srec",
    title="Motorola S-records",
    open=_open,
    magics=[(0, magic) for magic in (b"S0", b"S1", b"S2", b"S3")],
    references=[Reference("srec_motorola(5)", "https://manpages.debian.org/bookworm/srecord/srec_motorola.5.en.html")],
    smallest=10,
    anywhere=False,
)
