from __future__ import annotations

import struct
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Entry, Limits, Malformed, NotThisFormat, Truncated, UnpackError, Unsupported
from assay.unpack.crc32c import crc32c
from assay.unpack.vhdx import FORMAT

from ..support.disks import MIB, QEMU_IMG, guest, holds, made
from ..support.hostile import mangled, survives

pytestmark = pytest.mark.skipif(QEMU_IMG is None, reason="needs qemu-img")

DISK = guest(5 * MIB) + bytes(3 * MIB)


@pytest.mark.parametrize("options", ["subformat=dynamic,block_size=1M", "subformat=fixed", "subformat=dynamic"])
def test_the_disk_is_what_was_put_in(options: str, tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "vhdx", "-o", options)
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    list(reader.entries())
    assert {claim.what for claim in reader.claims()} == {
        "file identifier", "headers", "region tables", "reserved", "log", "block table", "metadata", "data",
    }  # fmt: skip
    rest = bytearray(data)
    for claim in reader.claims():
        rest[claim.offset : claim.offset + claim.length] = bytes(claim.length)
    assert not rest.strip(b"\0")  # qemu-img leaves room before the first block
    holds(FORMAT, data, [Entry(b"disk", "regular", 0, len(DISK))], {b"disk": DISK}, len(data))


def test_header_is_kept(tmp_path: Path) -> None:
    detail = FORMAT.open(BytesSource(made(tmp_path, DISK, "vhdx")), Limits()).detail
    for name in ("disk_id", "file_write_id", "data_write_id"):
        assert len(str(detail.pop(name))) == 36
    assert str(detail.pop("creator")).startswith("QEMU")
    assert isinstance(detail.pop("sequence_number"), int)
    assert detail == {
        "version": 1,
        "size": len(DISK),
        "block_bytes": 8 * MIB,
        "logical_sector_bytes": 512,
        "physical_sector_bytes": 512,
        "fixed": False,
        "differencing": False,
        "valid_headers": 2,
        "log_to_replay": False,
    }


def table_of(data: bytes) -> int:
    """Return the offset of the block table, from the first region table."""
    for at in range(3 * 65536 + 16, 3 * 65536 + 16 + 64, 32):
        if data[at : at + 4] == b"\x66\x77\xc2\x2d":
            return int.from_bytes(data[at + 16 : at + 24], "little")
    raise AssertionError


def changed(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def test_states_of_blocks(tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "vhdx", "-o", "block_size=1M")
    table = table_of(data)
    for state in (0, 1, 2, 3):
        reader = FORMAT.open(BytesSource(changed(data, table, struct.pack("<Q", state))), Limits())
        assert b"".join(reader.open(0)) == bytes(MIB) + DISK[MIB:]
    for state in (4, 5, 7):
        reader = FORMAT.open(BytesSource(changed(data, table, struct.pack("<Q", state | 4 << 20))), Limits())
        with pytest.raises(Malformed, match=f"state {state}"):
            list(reader.open(0))


def test_a_differencing_disk_has_the_sectors_of_its_bitmap(tmp_path: Path) -> None:
    """No tool here makes one, so a dynamic disk is changed: parameters, a block partly here, a bitmap."""
    data = made(tmp_path, DISK, "vhdx", "-o", "block_size=32M")
    table = table_of(data)
    parameters = data.index(struct.pack("<II", 32 * MIB, 0), data.index(b"metadata"))
    data = changed(data, parameters + 4, struct.pack("<I", 2))
    (word,) = struct.unpack_from("<Q", data, table)
    data = changed(data, table, struct.pack("<Q", word | 7))
    ratio = (1 << 23) * 512 // (32 * MIB)
    data += bytes(-len(data) % MIB)
    data = changed(data, table + 8 * ratio, struct.pack("<Q", len(data) | 6))
    bitmap = bytearray(b"\xff" * MIB)
    bitmap[1] = 0b1111_1011
    reader = FORMAT.open(BytesSource(data + bytes(bitmap)), Limits())
    list(reader.entries())
    assert reader.detail["differencing"] is True
    assert reader.detail["disk: bytes elsewhere"] == 512
    with pytest.raises(Unsupported, match="from offset 5120 on, 512 bytes"):
        list(reader.open(0))
    whole = FORMAT.open(BytesSource(data + b"\xff" * MIB), Limits())
    assert b"".join(whole.open(0)) == DISK
    assert "sector bitmap" in {claim.what for claim in (list(whole.entries()), whole.claims())[1]}


def test_checksums(tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "vhdx")
    one = FORMAT.open(BytesSource(changed(data, 65536 + 20, b"\xff\xff")), Limits())
    assert one.detail["valid_headers"] == 1
    assert b"".join(one.open(0)) == DISK
    with pytest.raises(Malformed, match="both headers"):
        FORMAT.open(BytesSource(changed(changed(data, 65536 + 20, b"\xff\xff"), 131072 + 20, b"\xff\xff")), Limits())
    other = changed(data, 3 * 65536 + 40, b"\xff")  # the second region table has to do
    assert b"".join(FORMAT.open(BytesSource(other), Limits()).open(0)) == DISK
    with pytest.raises(Malformed, match="region table"):
        FORMAT.open(BytesSource(changed(other, 4 * 65536 + 40, b"\xff")), Limits())
    log = bytearray(data[65536 : 65536 + 4096])
    for at in (65536, 131072):
        log = bytearray(data[at : at + 4096])
        log[48:64] = b"\x22" * 16
        log[4:8] = bytes(4)
        log[4:8] = crc32c(bytes(log)).to_bytes(4, "little")
        data = changed(data, at, bytes(log))
    assert FORMAT.open(BytesSource(data), Limits()).detail["log_to_replay"] is True


def test_cut_images(tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "vhdx", "-o", "block_size=1M")
    with pytest.raises(Truncated):
        FORMAT.open(BytesSource(data[:70]), Limits())
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(data[:70] + bytes(1 << 20)), Limits())
    reader = FORMAT.open(BytesSource(data[: len(data) - 1000]), Limits())
    list(reader.entries())
    with pytest.raises(Truncated):
        list(reader.open(0))


def test_damaged_images(tmp_path: Path) -> None:
    data = made(tmp_path, guest(3 * MIB), "vhdx", "-o", "block_size=1M,log_size=1M")
    table = table_of(data)
    metadata = data.index(b"metadata")
    for hot in (range(table, table + 64), range(metadata, metadata + 300), range(65536, 70000)):
        for bad in mangled(data, seed=hot.start, count=14, hot=hot):
            survives(FORMAT, bad)
    with pytest.raises((NotThisFormat, UnpackError)):
        FORMAT.open(BytesSource(b"vhdxfile" + b"\xff" * MIB), Limits())
