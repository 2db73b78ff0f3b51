"""Intel HEX: firmware of microcontrollers as text.

A line is ":" and bytes in hexadecimal: length, address (2), type, data, and a sum that makes all bytes add up to 0.
Types: 0 data, 1 the end, 2 a segment (address / 16), 3 CS:IP to start at, 4 upper half of the addresses, 5 address to
start at.
"""

from __future__ import annotations

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .hex_records import HexReader, Kind, Record, begins

_KINDS: tuple[Kind, ...] = ("data", "end", "segment", "start", "base", "start")
_LENGTHS = (None, 0, 2, 4, 2, 4)


def parse(line: bytes) -> Record:
    """Return the record of a line.

    Raises:
        ValueError: the line is none, or its sum is wrong.
    """
    if line[:1] != b":":
        raise ValueError("no record")
    raw = bytes.fromhex(line[1:].decode("ascii"))
    if len(raw) < 5 or len(raw) != raw[0] + 5 or raw[3] >= len(_KINDS):
        raise ValueError("its length or type is wrong")
    if sum(raw) & 0xFF:
        raise ValueError("its sum is wrong")
    kind = raw[3]
    if kind == 0:
        return "data", raw[1] << 8 | raw[2], raw[4:-1]
    if raw[0] != _LENGTHS[kind]:
        raise ValueError("its length or type is wrong")
    number = int.from_bytes(raw[4:-1], "big")
    return _KINDS[kind], number << {2: 4, 4: 16}.get(kind, 0), raw[4:-1]


def _open(source: Source, limits: Limits) -> Reader:
    if not begins(source, parse):
        raise NotThisFormat
    return HexReader(FORMAT, source, limits, parse)


FORMAT = Format(
    name="ihex",
    title="Intel HEX",
    open=_open,
    magics=[(0, b":" + digit) for digit in (b"0", b"1", b"2", b"4", b"8", b"F", b"f")],
    references=[
        Reference(
            "Intel Hexadecimal Object File Format Specification, revision A",
            "https://archive.org/details/IntelHEXStandard",
        ),
    ],
    limitations=["data that wrap around inside a segment of 64 KiB are listed behind its end"],
    smallest=11,
    anywhere=False,
)
