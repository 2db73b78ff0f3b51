from __future__ import annotations

import struct
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    Limits,
    Malformed,
    NotThisFormat,
    Truncated,
    Unsupported,
    Window,
)
from assay.unpack.vhd import FORMAT

from ..support.disks import MIB, QEMU_IMG, contents, guest, holds, made
from ..support.hostile import mangled, survives

pytestmark = pytest.mark.skipif(QEMU_IMG is None, reason="needs qemu-img")

DISK = guest(5 * MIB) + bytes(3 * MIB)
DISK_ENTRY = [Entry(b"disk", "regular", 0, len(DISK))]


def vhd(folder: Path, kind: str, disk: bytes = DISK) -> bytes:
    return made(folder, disk, "vpc", "-o", f"subformat={kind},force_size=on")


def test_a_dynamic_disk_is_what_was_put_in(tmp_path: Path) -> None:
    data = vhd(tmp_path, "dynamic")
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    list(reader.entries())
    assert {claim.what for claim in reader.claims()} == {
        "footer, copy", "dynamic disk header", "block table", "sector bitmap", "data", "footer",
    }  # fmt: skip
    assert sum(claim.length for claim in reader.claims()) == len(data)
    holds(FORMAT, data, DISK_ENTRY, {b"disk": DISK}, len(data))


def test_a_fixed_disk_is_known_by_its_footer(tmp_path: Path) -> None:
    # A partition table comes first in most disks: the footer has to win over it.
    disk = DISK[:446] + bytes(4) + b"\x83\0\0\0" + struct.pack("<II", 8, 100) + bytes(48) + b"\x55\xaa" + DISK[512:]
    data = vhd(tmp_path, "fixed", disk)
    for before in (b"", b"\x5a" * 1237):
        around = before + data
        source = Window(BytesSource(around), len(before), len(data))
        reader = identify(source, Limits())
        assert reader is not None
        assert reader.format is FORMAT
        assert list(reader.entries()) == DISK_ENTRY
        assert contents(reader) == disk
        assert reader.span(0) == (0, len(disk))
        assert reader.claims() == [Claim(0, len(disk), "data"), Claim(len(disk), 512, "footer")]
    # other bytes before it are not the disk's
    reader = FORMAT.open(BytesSource(bytes(1024) + data), Limits())
    assert contents(reader) == disk
    list(reader.entries())
    assert reader.claims()[0] == Claim(1024, len(disk), "data")
    with pytest.raises(Truncated, match="before its footer"):
        FORMAT.open(BytesSource(data[512:]), Limits())


def test_header_is_kept(tmp_path: Path) -> None:
    detail = FORMAT.open(BytesSource(vhd(tmp_path, "dynamic")), Limits()).detail
    assert len(str(detail.pop("uuid"))) == 36
    created = detail.pop("created")
    assert isinstance(created, int)
    assert created > 1_500_000_000 * 10**9
    geometry = detail.pop("geometry")
    assert str(geometry).count("/") == 2
    assert detail == {
        "type": "dynamic",
        "features": 2,
        "size": len(DISK),
        "original_size": len(DISK),
        "creator": detail["creator"],
        "saved_state": False,
        "block_bytes": 2 * MIB,
    }
    assert str(detail["creator"]).startswith("qem")


def resummed(data: bytes, at: int, field: int, length: int) -> bytes:
    """Put the right checksum into a structure."""
    raw = bytearray(data[at : at + length])
    raw[field : field + 4] = bytes(4)
    raw[field : field + 4] = (~sum(raw) & 0xFFFFFFFF).to_bytes(4, "big")
    return data[:at] + bytes(raw) + data[at + length :]


def differencing(data: bytes, name: str) -> bytes:
    """Return a dynamic disk made a differencing one (no tool here makes them): type, parent's name, one bitmap."""
    data = resummed(data[:60] + struct.pack(">I", 4) + data[64:], 0, 64, 512)
    (header,) = struct.unpack_from(">Q", data, 16)
    wide = name.encode("utf-16-be").ljust(512, b"\0")
    return resummed(data[: header + 64] + wide + data[header + 576 :], header, 36, 1024)


def test_a_differencing_disk_names_its_parent(tmp_path: Path) -> None:
    data = differencing(vhd(tmp_path, "dynamic"), "C:\\base.vhd")
    reader = FORMAT.open(BytesSource(data), Limits())
    list(reader.entries())
    assert (reader.detail["type"], reader.detail["parent_file"]) == ("differencing", "C:\\base.vhd")
    out = b""
    with pytest.raises(Unsupported, match=r"the parent disk 'C:\\\\base.vhd'"):
        for chunk in reader.open(0):
            out += chunk
    assert out == DISK[: len(out)]
    assert len(out) == 6 * MIB  # three blocks of 2 MiB, whose bitmaps are all ones
    (header,) = struct.unpack_from(">Q", data, 16)
    (table,) = struct.unpack_from(">Q", data, header + 16)
    (block,) = struct.unpack_from(">I", data, table)
    holed = bytearray(data)
    holed[block * 512] = 0b1011_1111
    reader = FORMAT.open(BytesSource(bytes(holed)), Limits())
    with pytest.raises(Unsupported, match="from offset 512 on, 512 bytes"):
        list(reader.open(0))


def test_broken_structures(tmp_path: Path) -> None:
    data = vhd(tmp_path, "dynamic")
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(data[:40] + b"\1" + data[41 : 3 * MIB]), Limits())
    (header,) = struct.unpack_from(">Q", data, 16)
    with pytest.raises(Malformed, match="dynamic disk header"):
        FORMAT.open(BytesSource(data[:header] + bytes(8) + data[header + 8 :]), Limits())
    with pytest.raises(Unsupported, match="type 7"):
        FORMAT.open(BytesSource(resummed(data[:60] + struct.pack(">I", 7) + data[64:], 0, 64, 512)), Limits())
    for field, value, text in ((28, 1, "1 blocks"), (32, 1000, "blocks of 1000")):
        bad = data[: header + field] + struct.pack(">I", value) + data[header + field + 4 :]
        with pytest.raises(Malformed, match=text):
            FORMAT.open(BytesSource(resummed(bad, header, 36, 1024)), Limits())
    with pytest.raises(Truncated):
        list(FORMAT.open(BytesSource(data[: 2 * MIB]), Limits()).open(0))


def test_damaged_images(tmp_path: Path) -> None:
    data = vhd(tmp_path, "dynamic", guest(3 * MIB))
    for bad in mangled(data, count=40, hot=range(3000)):
        survives(FORMAT, bad)
    for field in range(512 + 16, 512 + 40, 4):
        for value in (0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 1 << 20):
            bad = data[:field] + struct.pack(">I", value) + data[field + 4 :]
            survives(FORMAT, resummed(bad, 512, 36, 1024))
    fixed = vhd(tmp_path, "fixed", guest(3 * MIB))
    for bad in mangled(fixed, count=20, hot=range(len(fixed) - 512, len(fixed))):
        survives(FORMAT, bad)
