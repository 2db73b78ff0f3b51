"""Android super partitions, written by hand from metadata_format.h: lpmake is in no distribution."""

from __future__ import annotations

import hashlib
import random
import struct

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Entry,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Truncated,
    Window,
)
from assay.unpack.super import FORMAT

from ..support.hostile import mangled, survives

NOISE = random.Random(8).randbytes(1 << 20)
MOST = 4096
Extents = list[tuple[int, int, int]]
"""(sectors, type, first sector)"""


def geometry(slots: int = 2) -> bytes:
    body = struct.pack("<3I", MOST, slots, 4096)
    digest = hashlib.sha256(b"gDla" + struct.pack("<I", 52) + bytes(32) + body).digest()
    return (b"gDla" + struct.pack("<I", 52) + digest + body).ljust(4096, b"\0")


def metadata(partitions: dict[str, Extents], *, minor: int = 2, device: int = 0) -> bytes:
    rows, extents = b"", b""
    number = 0
    for name, own in partitions.items():
        rows += struct.pack("<36s4I", name.encode(), 1, number, len(own), 0)
        for sectors, kind, first in own:
            extents += struct.pack("<QIQI", sectors, kind, first, device)
            number += 1
    groups = struct.pack("<36sIQ", b"default", 0, 1 << 30)
    devices = struct.pack("<QIIQ36sI", 2048, 4096, 0, 1 << 20, b"super", 0)
    tables = rows + extents + groups + devices
    at, places = 0, b""
    for data, step in ((rows, 52), (extents, 24), (groups, 48), (devices, 64)):
        places += struct.pack("<3I", at, len(data) // step, step)
        at += len(data)
    size = 256 if minor >= 2 else 128
    head = struct.pack("<4s2HI", b"0PLA", 10, minor, size)
    tail = struct.pack("<I32s", len(tables), hashlib.sha256(tables).digest()) + places
    tail = tail.ljust(size - 44, b"\0")
    return (head + hashlib.sha256(head + bytes(32) + tail).digest() + tail + tables).ljust(MOST, b"\0")


A: dict[str, Extents] = {
    "system_a": [(64, 0, 512), (8, 1, 0), (16, 0, 640)],
    "vendor_a": [(32, 0, 576), (32, 0, 608)],
    "system_b": [],
}
B: dict[str, Extents] = {**A, "system_b": [(64, 0, 700)]}


def disk(first: bytes | None = None, second: bytes | None = None) -> bytes:
    slots = (first or metadata(A)) + (second or metadata(A))
    data = bytearray(NOISE)
    data[: 4096 * 3] = bytes(4096) + geometry() * 2
    data[12288 : 12288 + 4 * MOST] = slots * 2
    return bytes(data)


def contents(reader: Reader) -> dict[bytes, bytes]:
    out = {}
    for entry in reader.entries():
        assert isinstance(entry, Entry)
        assert entry.locator is not None
        out[entry.path] = b"".join(reader.open(entry.locator))
        assert entry.size == len(out[entry.path])
    return out


def sectors(first: int, count: int) -> bytes:
    return NOISE[first * 512 : (first + count) * 512]


SYSTEM = sectors(512, 64) + bytes(4096) + sectors(640, 16)


def test_partitions() -> None:
    data = disk()
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    assert contents(reader) == {b"system_a": SYSTEM, b"vendor_a": sectors(576, 64), b"system_b": b""}
    assert reader.detail == {
        "geometry": "ok",
        "geometry_backup": "ok",
        "block_bytes": 4096,
        "slots": 2,
        "slot_0": "primary ok, backup ok",
        "slot_1": "primary ok, backup ok",
        "version": "10.2",
        "group_0": "default: at most 1073741824 bytes",
        "device_0": "super: 1048576 bytes",
        "partition system_a": "group=default attributes=readonly",
        "partition vendor_a": "group=default attributes=readonly",
        "partition system_b": "group=default attributes=readonly",
    }
    assert reader.span([0, 0]) is None
    assert reader.span([0, 1]) == (576 * 512, 64 * 512)
    assert reader.span([0, 2]) is None
    assert max(claim.offset + claim.length for claim in reader.claims()) == 656 * 512
    inside = FORMAT.open(Window(BytesSource(b"s" * 100 + data), 100, len(data)), Limits())
    assert contents(inside) == contents(reader)
    assert contents(FORMAT.open(BytesSource(disk(metadata(A, minor=0))), Limits())) == contents(reader)


def test_slots_that_differ_and_copies_that_are_damaged() -> None:
    reader = FORMAT.open(BytesSource(disk(second=metadata(B))), Limits())
    assert contents(reader)[b"slot 1/system_b"] == sectors(700, 64)
    assert len(contents(reader)) == 4
    data = bytearray(disk())
    data[12288 + 50] ^= 1
    data[12288 + MOST + 300] ^= 1
    data[4096 + 8] ^= 1
    reader = FORMAT.open(BytesSource(bytes(data)), Limits())
    assert contents(reader)[b"system_a"] == SYSTEM
    assert reader.detail["geometry"] == "damaged"
    assert reader.detail["slot_0"] == "primary SHA-256 of the header differs, backup ok"
    assert reader.detail["slot_1"] == "primary SHA-256 of the tables differs, backup ok"
    data[12288 + 3 * MOST + 300] ^= 1
    first, *rest = FORMAT.open(BytesSource(bytes(data)), Limits()).entries()
    assert isinstance(first, Problem)
    assert len(rest) == 3
    data[12288 + 2 * MOST] ^= 1
    with pytest.raises(Malformed):
        FORMAT.open(BytesSource(bytes(data)), Limits())


def test_what_cannot_be_read() -> None:
    found = list(FORMAT.open(BytesSource(disk(metadata(A, device=1))), Limits()).entries())
    assert [type(item) for item in found[:3]] == [Problem, Problem, Entry]
    far = metadata({"far": [(1 << 40, 0, 1 << 20)]})
    reader = FORMAT.open(BytesSource(disk(far, far)), Limits())
    with pytest.raises(Truncated):
        list(reader.open([0, 0]))
    zeros = metadata({"zeros": [(1 << 50, 1, 0)]})
    reader = FORMAT.open(BytesSource(disk(zeros, zeros)), Limits())
    with pytest.raises(LimitReached):
        for _ in reader.open([0, 0]):
            pass
    for locator in ([0, 9], [7, 0], "x", [0, -1]):
        with pytest.raises(Malformed):
            reader.open(locator)  # type: ignore[arg-type]
    for data in (bytes(4096) + b"gDla", bytes(4096) + b"gDla" + NOISE):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(data), Limits())


def test_hostile() -> None:
    data = disk()[:400_000]
    for broken in mangled(data, count=150, hot=range(4096, 4160)):
        survives(FORMAT, broken)
    for broken in mangled(data, count=200, hot=range(12288, 12288 + MOST)):
        survives(FORMAT, broken)
    chance = random.Random(1)
    for _ in range(300):  # with sums that are right
        changed = bytearray(metadata(A))
        for _ in range(3):
            changed[chance.choice((*range(80, 128), *range(256, 700)))] = chance.choice((0, 1, 255, 128))
        size, tables = struct.unpack_from("<I32xI", changed, 8)
        changed[48:80] = hashlib.sha256(changed[256 : 256 + tables]).digest()
        changed[12:44] = hashlib.sha256(changed[:12] + bytes(32) + changed[44:size]).digest()
        survives(FORMAT, disk(bytes(changed), bytes(changed)))
