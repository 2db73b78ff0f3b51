from __future__ import annotations

import struct
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Entry, Limits, Malformed, NotThisFormat, Truncated, Unsupported
from assay.unpack.vdi import FORMAT

from ..support.disks import MIB, QEMU_IMG, guest, holds, made
from ..support.hostile import mangled, survives

pytestmark = pytest.mark.skipif(QEMU_IMG is None, reason="needs qemu-img")

DISK = guest(5 * MIB) + bytes(3 * MIB)


@pytest.mark.parametrize("options", [(), ("-o", "static=on")])
def test_the_disk_is_what_was_put_in(options: tuple[str, ...], tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "vdi", *options)
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    assert (reader.span(0) is not None) == bool(options)
    list(reader.entries())
    assert {claim.what for claim in reader.claims()} == {"header", "block map", "data"}
    holds(FORMAT, data, [Entry(b"disk", "regular", 0, len(DISK))], {b"disk": DISK}, len(data))


def test_header_is_kept(tmp_path: Path) -> None:
    detail = FORMAT.open(BytesSource(made(tmp_path, DISK, "vdi")), Limits()).detail
    assert len(str(detail.pop("uuid"))) == len(str(detail.pop("last_change"))) == 36
    assert detail == {
        "version": "1.1",
        "type": "dynamic",
        "flags": 0,
        "creator": "<<< QEMU VM Virtual Disk Image >>>",
        "description": "",
        "size": len(DISK),
        "block_bytes": MIB,
        "blocks_allocated": 5,
        "parent": None,
    }


def changed(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def test_a_parent_is_named(tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "vdi")
    child = changed(changed(data, 76, struct.pack("<I", 4)), 64 + HEADER_PARENT, b"\x11" * 16)
    reader = FORMAT.open(BytesSource(child), Limits())
    list(reader.entries())
    assert reader.detail["parent"] == "11111111-1111-1111-1111-111111111111"
    assert reader.detail["disk: bytes elsewhere"] == 3 * MIB
    with pytest.raises(Unsupported, match="the parent disk 1111"):
        list(reader.open(0))


HEADER_PARENT = 392 - 64 + 32
"""Offset of the parent's UUID, from offset 64."""


def test_broken_maps(tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "vdi")
    at = int.from_bytes(data[340:344], "little")
    with pytest.raises(Malformed, match="block 77 of 8"):
        list(FORMAT.open(BytesSource(changed(data, at, struct.pack("<I", 77))), Limits()).open(0))
    zero = FORMAT.open(BytesSource(changed(data, at, struct.pack("<I", 0xFFFFFFFE))), Limits())
    assert b"".join(zero.open(0)) == bytes(MIB) + DISK[MIB:]
    with pytest.raises(Truncated):
        list(FORMAT.open(BytesSource(data[: 4 * MIB]), Limits()).open(0))
    for offset, value in ((68, 2 << 16), (76, 9), (376, 1000), (340, 5), (360, 4096)):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(changed(data, offset, struct.pack("<I", value))), Limits())
    with pytest.raises(Malformed, match="1 blocks"):
        FORMAT.open(BytesSource(changed(data, 384, struct.pack("<I", 1))), Limits())


def test_damaged_images(tmp_path: Path) -> None:
    data = made(tmp_path, guest(3 * MIB), "vdi")
    for bad in mangled(data, count=50, hot=range(64, 600)):
        survives(FORMAT, bad)
