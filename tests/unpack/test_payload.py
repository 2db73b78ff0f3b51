"""Android update payloads, written by hand from update_metadata.proto: no distribution has a tool that makes them."""

from __future__ import annotations

import bz2
import hashlib
import lzma
import random
import struct

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    LimitReached,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Reader,
    Truncated,
    Unsupported,
    Window,
)
from assay.unpack.payload import FORMAT

from ..support.hostile import mangled, survives

NOISE = random.Random(5).randbytes(1 << 16)
Step = tuple[int, bytes, list[tuple[int, int]]]
"""(type, stored bytes, extents)"""


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def payload(parts: dict[str, tuple[bytes, list[Step]]], *, signature: bytes = b"signed") -> bytes:
    blobs, partitions = b"", b""
    for name, (image, steps) in parts.items():
        said = field(1, name.encode()) + field(7, field(1, len(image)) + field(2, hashlib.sha256(image).digest()))
        for kind, data, extents in steps:
            operation = field(1, kind)
            if data:
                operation += field(2, len(blobs)) + field(3, len(data)) + field(8, hashlib.sha256(data).digest())
            for start, count in extents:
                operation += field(6, field(1, start) + field(2, count))
            said += field(8, operation)
            blobs += data
        partitions += field(13, said)
    manifest = (
        field(3, 4096) + field(4, len(blobs)) + field(5, 9) + field(12, 0) + partitions + field(14, 1_700_000_000)
    )
    return (
        struct.pack(">4sQQI", b"CrAU", 2, len(manifest), len(signature)) + manifest + signature + blobs + b"signature"
    )


SYSTEM = NOISE[:8192] + bytes(8192) + NOISE[8192:16384] + NOISE[:4096]
STEPS: list[Step] = [
    (8, lzma.compress(SYSTEM[16384:24576]), [(4, 2)]),
    (0, SYSTEM[:8192], [(0, 2)]),
    (6, b"", [(2, 1), (3, 1)]),
    (1, bz2.compress(SYSTEM[24576:]), [(6, 1)]),
]
GOOD = payload({"system": (SYSTEM, STEPS), "boot": (NOISE[:4096], [(0, NOISE[:4096], [(0, 1)])])})


def contents(reader: Reader) -> dict[bytes, bytes]:
    out = {}
    for entry in reader.entries():
        assert isinstance(entry, Entry)
        assert entry.locator is not None
        out[entry.path] = b"".join(reader.open(entry.locator))
        assert entry.size == len(out[entry.path])
    return out


def test_a_full_update() -> None:
    for source in (BytesSource(GOOD), Window(BytesSource(b"p" * 31 + GOOD + b"p" * 999), 31, 1 << 40)):
        reader = identify(source, Limits())
        assert reader is not None
        assert reader.format is FORMAT
        assert contents(reader) == {b"system.img": SYSTEM, b"boot.img": NOISE[:4096]}
        assert reader.declared == 2
        assert reader.detail == {
            "version": 2,
            "minor_version": 0,
            "manifest_signature_bytes": 6,
            "time": 1_700_000_000_000_000_000,
            "block_bytes": 4096,
            "full": True,
        }
        claims = reader.claims()
        assert sum(claim.length for claim in claims) == len(GOOD)
        assert claims[-1] == Claim(len(GOOD) - 9, 9, "signatures")


def test_what_is_not_right() -> None:
    delta = FORMAT.open(BytesSource(payload({"x": (SYSTEM, [(4, b"", [(0, 1)])])})), Limits())
    assert delta.detail["full"] is False
    cases: list[tuple[bytes, list[Step], type[Exception], str]] = [
        (SYSTEM, [(4, b"", [(0, 1)])], Unsupported, "SOURCE_COPY"),
        (SYSTEM, [(0, b"x", [(0, 1), (2, 1)])], Unsupported, "2 extents"),
        (SYSTEM, [(77, b"x", [(0, 1)])], Unsupported, "type 77"),
        (SYSTEM, [(0, NOISE[:4096], [(0, 1)]), (0, NOISE[:4096], [(0, 1)])], Malformed, "two operations"),
        (SYSTEM, [(0, NOISE[:4097], [(0, 1)])], Malformed, "more than the 4096"),
        (SYSTEM, [(0, NOISE[:4096], [(0, 1)])], Malformed, "another SHA-256 than the manifest"),
        (SYSTEM, [(8, NOISE[:40], [(0, 1)])], Malformed, "liblzma"),
        (SYSTEM, [(6, b"", [(0, 1 << 50)])], LimitReached, "ratio"),
        (SYSTEM, [(6, b"", [(1 << 50, 1)])], LimitReached, "ratio"),
    ]
    for image, steps, error, match in cases:
        reader = FORMAT.open(BytesSource(payload({"x": (image, steps)})), Limits())
        with pytest.raises(error, match=match):
            for _ in reader.open(0):
                pass
    short = payload({"x": (b"abc" + bytes(4093), [(0, b"abc", [(0, 1)])])})
    assert b"".join(FORMAT.open(BytesSource(short), Limits()).open(0)) == b"abc" + bytes(4093)
    changed = bytearray(GOOD)
    changed[-20] ^= 1
    reader = FORMAT.open(BytesSource(bytes(changed)), Limits())
    assert b"".join(reader.open(0)) == SYSTEM
    with pytest.raises(Malformed, match="operation at offset"):
        list(reader.open(1))
    with pytest.raises(Truncated):
        list(FORMAT.open(BytesSource(GOOD[:-100]), Limits()).open(1))
    with pytest.raises(Truncated):
        FORMAT.open(BytesSource(GOOD[:100]), Limits())
    with pytest.raises(LimitReached):
        FORMAT.open(BytesSource(GOOD), Limits(metadata_bytes=1600))
    locators: list[Locator] = [2, -1, "x", [0]]
    for locator in locators:
        with pytest.raises(Malformed):
            FORMAT.open(BytesSource(GOOD), Limits()).open(locator)


def test_only_the_magic() -> None:
    for data in (b"CrAU", b"CrAU" + NOISE, struct.pack(">4sQQI", b"CrAU", 2, 100, 0) + NOISE):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(data), Limits())


def test_hostile() -> None:
    for broken in (*mangled(GOOD, count=200), *mangled(GOOD, count=600, hot=range(500))):
        survives(FORMAT, broken)
