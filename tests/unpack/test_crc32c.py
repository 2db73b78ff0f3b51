from __future__ import annotations

import random

import pytest

from assay.unpack.crc32c import crc32c, crc32c_blocks


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_published_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


def slowly(data: bytes, value: int = 0) -> int:
    """Compute the sum bit by bit, from the definition."""
    register = value ^ 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize("size", [1, 127, 511, 512, 513, 4096, 4099, 16384])
def test_lanes_are_put_together(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert crc32c(data) == slowly(data)
    assert crc32c(memoryview(data)[size // 3 :], crc32c(data[: size // 3])) == slowly(data)


def test_blocks_have_sums_of_their_own() -> None:
    data = random.Random(1).randbytes(5 * 1024 + 100)
    assert crc32c_blocks(data, 1024) == [slowly(data[at : at + 1024]) for at in range(0, 5 * 1024, 1024)]
    assert crc32c_blocks(data[:100], 1024) == []
