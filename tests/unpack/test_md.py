"""MD. Its tool makes arrays of block devices only, so a small writer makes members here; mdadm reads what it made."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Claim, Entry, Limits, NotThisFormat, Truncated, Unsupported, Window
from assay.unpack.md import FORMAT, Md

from ..support.hostile import mangled, survives

MDADM = shutil.which("mdadm", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
MIB = 1 << 20
DATA = random.Random(6).randbytes(MIB)


def folded(raw: bytes, order: str = "<") -> int:
    total = sum(int.from_bytes(raw[at : at + 4], "little" if order == "<" else "big") for at in range(0, len(raw), 4))
    return (total & 0xFFFFFFFF) + (total >> 32) & 0xFFFFFFFF


def new(at: int, start: int, *, level: int = 1, devices: int = 2, role: int = 0, features: int = 0) -> bytes:
    """Return a superblock of version 1 (linux/raid/md_p.h)."""
    sectors = len(DATA) // 512
    raw = b"\xfc\x4e\x2b\xa9" + struct.pack("<III", 1, features, 0) + b"\x11" * 16 + b"host:0".ljust(32, b"\0")
    raw += struct.pack("<QiIQIIi", 1700000000 | 5 << 40, level, 0, sectors, 0, devices, 8)
    raw = raw.ljust(128, b"\0")
    raw += struct.pack("<QQQQII", start // 512, sectors, at // 512, 0, 0, 0) + b"\x22" * 16
    raw = raw.ljust(192, b"\0") + struct.pack("<QQQII", 1700000001, 17, (1 << 64) - 1, 0, 128)
    raw = raw.ljust(256, b"\0") + struct.pack("<128H", role, 1, *[0xFFFF] * 126)
    return raw[:216] + struct.pack("<I", folded(raw)) + raw[220:]


def old(order: str, *, level: int = 1, devices: int = 2, state: int = 6) -> bytes:
    """Return a superblock of version 0.90."""
    words = [0] * 1024
    words[:11] = [0xA92B4EFC, 0, 90, 0, 0, 0x11111111, 1700000000, level & 0xFFFFFFFF, len(DATA) // 1024, 2, devices]
    words[13:16] = [0x22222222] * 3
    words[32:34] = [1700000001, 1]
    words[39 if order == "<" else 40] = 17
    words[992:997] = [0, 8, 1, 1, state]
    words[38] = folded(struct.pack(f"{order}1024I", *words), order)
    return struct.pack(f"{order}1024I", *words)


def member(version: str, **options: int) -> bytes:
    if version == "1.2":
        return bytes(4096) + new(4096, 65536, **options).ljust(61440, b"\0") + DATA
    if version == "1.1":
        return new(0, 65536, **options).ljust(65536, b"\0") + DATA
    if version == "1.0":
        return DATA + bytes(4096) + new(MIB + 4096, 0, **options).ljust(8192, b"\0")
    return DATA + old("<" if version == "0.90" else ">", **options).ljust(65536, b"\0")


START = {"1.2": 65536, "1.1": 65536, "1.0": 0, "0.90": 0, "0.90 big": 0}
PLACE = {"1.2": (4096, 512), "1.1": (0, 512), "1.0": (MIB + 4096, 512), "0.90": (MIB, 4096), "0.90 big": (MIB, 4096)}


@pytest.mark.parametrize("version", START)
def test_a_mirror_s_member_has_all_data(version: str) -> None:
    data = member(version)
    around = b"\x5a" * 1237 + data
    if START[version]:
        around += b"other" * 9999
    for source in (BytesSource(data), Window(BytesSource(around), 1237, len(around))):
        reader = identify(source, Limits())
        assert isinstance(reader, Md)
        assert list(reader.entries()) == [Entry(b"data", "regular", 0, MIB)]
        assert reader.detail["version"] == version.removesuffix(" big")
        assert reader.detail["level"] == "raid1"
        assert b"".join(FORMAT.open(source, Limits()).open(0)) == DATA
        assert reader.span(0) == (START[version], MIB)
        claims = [Claim(*PLACE[version], "superblock"), Claim(START[version], MIB, "data")]
        assert reader.claims() == sorted(claims, key=lambda claim: claim.offset)


@pytest.mark.skipif(MDADM is None, reason="needs mdadm")
@pytest.mark.parametrize("version", ["1.2", "1.1", "1.0", "0.90"])
def test_the_tool_reads_what_is_written_here(version: str, tmp_path: Path) -> None:
    (tmp_path / "member").write_bytes(member(version))
    done = subprocess.run(
        [MDADM or "", "--examine", "-e", version.partition(".")[0], tmp_path / "member"], capture_output=True, text=True
    )
    if "Magic : a92b4efc" not in done.stdout:
        pytest.skip(f"mdadm does not read files here: {done.stderr[:200]}")
    assert "Raid Level : raid1" in done.stdout
    assert "- correct" in done.stdout


def test_header_is_kept() -> None:
    assert FORMAT.open(BytesSource(member("1.2")), Limits()).detail == {
        "version": "1.2",
        "level": "raid1",
        "layout": 0,
        "chunk_bytes": 0,
        "devices": 2,
        "active": True,
        "uuid": "11111111-1111-1111-1111-111111111111",
        "name": "host:0",
        "device_uuid": "22222222-2222-2222-2222-222222222222",
        "role": "0",
        "features": 0,
        "created": 1700000000_000005000,
        "updated": 1700000001 * 10**9,
        "events": 17,
        "reshaping": False,
    }
    for version in ("0.90", "0.90 big"):
        detail = FORMAT.open(BytesSource(member(version)), Limits()).detail
        assert (detail["uuid"], detail["role"]) == ("11111111-2222-2222-2222-222222222222", "1")
        assert (detail["events"], detail["created"]) == (17, 1700000000 * 10**9)
        assert detail["byte_order"] == ("big" if "big" in version else "little")


@pytest.mark.parametrize("version", ["1.2", "0.90"])
def test_what_lies_on_several_members_is_named(version: str) -> None:
    for level, name in ((5, "raid5"), (0, "raid0"), (10, "raid10")):
        reader = FORMAT.open(BytesSource(member(version, level=level)), Limits())
        assert len(list(reader.entries())) == 1
        with pytest.raises(Unsupported, match=rf"other members of the array \({name}, 2 devices, role [01]\)"):
            list(reader.open(0))
        assert [claim.what for claim in reader.claims()] == ["superblock"]
    one = FORMAT.open(BytesSource(member(version, level=0, devices=1)), Limits())
    assert b"".join(one.open(0))[:MIB] == DATA
    spare = {"role": 0xFFFF} if version == "1.2" else {"state": 0}
    reader = FORMAT.open(BytesSource(member(version, **spare)), Limits())
    assert reader.detail["role"] == "spare"
    with pytest.raises(Unsupported):
        list(reader.open(0))


def test_cut_and_broken_members() -> None:
    with pytest.raises(Truncated):
        list(FORMAT.open(BytesSource(member("1.2")[:MIB]), Limits()).open(0))
    for version in START:
        at = PLACE[version][0]
        data = member(version)
        for bad in (at + 100, at + 133, at + 3):
            with pytest.raises(NotThisFormat):
                FORMAT.open(BytesSource(data[:bad] + b"\xee" + data[bad + 1 :]), Limits())
    for data in (b"", b"\xfc\x4e\x2b\xa9", bytes(100_000), b"\xfc\x4e\x2b\xa9" * 50_000):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(data), Limits())


def test_a_superblock_of_a_bigger_device_is_not_this_one_s() -> None:
    """Version 1.0 says where it stands: at the end of the last partition it is not the whole disk's."""
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(bytes(65536) + member("1.0")), Limits())


def test_damaged_members() -> None:
    for version in START:
        data = member(version)
        at = PLACE[version][0]
        for bad in mangled(data, count=16, hot=range(at, at + 512)):
            survives(FORMAT, bad)
            if version == "1.2" and len(bad) > 8192:
                raw = bad[4096:4608]
                raw = raw[:216] + bytes(4) + raw[220:]
                survives(FORMAT, bad[:4312] + struct.pack("<I", folded(raw)) + bad[4316:])
