"""CRC-32C (Castagnoli), the checksum of btrfs, EROFS, VHDX, XFS and ext4.

The standard library has no CRC-32C. Byte by byte in Python it would run at some megabytes a second, so many stretches
of the data ("lanes") are taken forward at once: the four bytes of all registers lie in four planes, a plane goes
through a table by one `bytes.translate`, and planes are added as long integers.
"""

from __future__ import annotations

import struct

_POLYNOMIAL = 0x82F63B78
_ALL = 0xFFFFFFFF
_LANE = 128
"""Bytes of a lane when one sum is wanted; must be a multiple of 4."""


def _table() -> list[int]:
    table = []
    for value in range(256):
        register = value
        for _ in range(8):
            register = register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)
        table.append(register)
    return table


_TABLE = _table()


def _advanced(register: int, count: int) -> int:
    """Return a register after `count` zero bytes."""
    for _ in range(count):
        register = register >> 8 ^ _TABLE[register & 255]
    return register


def _steps() -> list[list[bytes]]:
    """Return, for each of four message bytes, the planes of what its values add to the register after all four."""
    tables = []
    for byte in range(4):
        values = [_advanced(_TABLE[value], 3 - byte) for value in range(256)]
        tables.append([bytes(value >> 8 * plane & 255 for value in values) for plane in range(4)])
    return tables


_STEPS = _steps()
_OVER_LANE = [[_advanced(value << 8 * byte, _LANE) for value in range(256)] for byte in range(4)]
"""What each byte of a register becomes over one lane of zeros."""


def _lanes(data: bytes | memoryview, size: int, register: int) -> tuple[int, ...]:
    """Return the registers of all whole lanes of `size` bytes (a multiple of 4), each begun with `register`."""
    count = len(data) // size
    whole = bytes(data[: count * size])
    state = int.from_bytes(b"".join(bytes([register >> 8 * plane & 255]) * count for plane in range(4)), "little")
    number = int.from_bytes
    for at in range(0, size, 4):
        row = b"".join([whole[at + byte :: size] for byte in range(4)])
        planes = (state ^ number(row, "little")).to_bytes(4 * count, "little")
        state = 0
        for byte, tables in enumerate(_STEPS):
            part = planes[byte * count : (byte + 1) * count]
            state ^= number(b"".join([part.translate(table) for table in tables]), "little")
    planes = state.to_bytes(4 * count, "little")
    out = bytearray(4 * count)
    for plane in range(4):
        out[plane::4] = planes[plane * count : (plane + 1) * count]
    return struct.unpack(f"<{count}I", out)


def crc32c(data: bytes | memoryview, value: int = 0) -> int:
    """Return the CRC-32C of bytes, in the manner of `zlib.crc32`.

    Args:
        data: the bytes.
        value: the sum of the bytes before, to go on from.

    Source: RFC 3720, appendix B.4 (check values).
    """
    register = value ^ _ALL
    at = 0
    if len(data) >= 4 * _LANE:
        first, second, third, fourth = _OVER_LANE
        for lane in _lanes(data, _LANE, 0):
            register = (
                first[register & 255]
                ^ second[register >> 8 & 255]
                ^ third[register >> 16 & 255]
                ^ fourth[register >> 24]
                ^ lane
            )
        at = len(data) // _LANE * _LANE
    table = _TABLE
    for byte in data[at:]:
        register = register >> 8 ^ table[(register ^ byte) & 255]
    return register ^ _ALL


def crc32c_blocks(data: bytes | memoryview, size: int) -> list[int]:
    """Return the CRC-32C of each whole block of `size` bytes (a multiple of 4)."""
    return [register ^ _ALL for register in _lanes(data, size, _ALL)] if len(data) >= size else []
