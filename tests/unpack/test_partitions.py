"""MBR and GUID partition tables."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.unpack import gpt, identify, mbr
from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    FileSource,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Truncated,
)

from ..support.hostile import mangled, survives

needs_sfdisk = pytest.mark.skipif(not shutil.which("sfdisk"), reason="sfdisk is not installed")
needs_sgdisk = pytest.mark.skipif(not shutil.which("sgdisk"), reason="sgdisk is not installed")
needs_fdisk = pytest.mark.skipif(not shutil.which("fdisk"), reason="fdisk is not installed")
MIB = 1 << 20


def disk(path: Path, script: str, size: int = 8 * MIB) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    command = ["sfdisk", "-q", "--no-tell-kernel", "--no-reread", path]
    subprocess.run(command, input=script.encode(), check=True, capture_output=True)
    return path


def disk_4k(path: Path, answers: str) -> bytes:
    """Return a disk with sectors of 4096 bytes; the answers are fdisk's, separated by spaces ('-' for none)."""
    path.write_bytes(bytes(8 * MIB))
    text = answers.replace("-", "").replace(" ", "\n") + "\nw\n"
    subprocess.run(["fdisk", "-b", "4096", path], input=text.encode(), check=True, capture_output=True)
    return path.read_bytes()


def part(number: int, start: int, size: int) -> Entry:
    return Entry(b"%d" % number, "regular", [start, size], size)


GPT = """label: gpt
label-id: 11111111-2222-3333-4444-555555555555
start=2048, size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=boot_a, uuid=AAAAAAAA-0000-0000-0000-000000000001
start=6144, size=1000, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=größe, uuid=AAAAAAAA-0000-0000-0000-000000000002
"""


@needs_sfdisk
def test_gpt(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk", GPT)
    with image.open("r+b") as file:
        file.seek(MIB)
        file.write(b"first partition")
    data = image.read_bytes()
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is gpt.FORMAT
    assert list(reader.entries()) == [
        part(1, MIB, MIB),
        part(2, 3 * MIB, 1000 * 512),
    ]
    assert reader.declared == 2
    assert reader.detail == {
        "sector_bytes": 512,
        "disk_guid": "11111111-2222-3333-4444-555555555555",
        "primary": "ok",
        "backup": "ok",
        "copies_agree": True,
        "read_from": "primary",
        "1": "name=boot_a type=c12a7328-f81f-11d2-ba4b-00a0c93ec93b unique=aaaaaaaa-0000-0000-0000-000000000001 "
        "attributes=0x0000000000000000",
        "2": "name=größe type=0fc63daf-8483-4772-8e79-3d69d8477de4 unique=aaaaaaaa-0000-0000-0000-000000000002 "
        "attributes=0x0000000000000000",
    }
    table = 128 * 128
    assert reader.claims() == [
        Claim(0, 512, "protective MBR"),
        Claim(512, 512, "header"),
        Claim(1024, table, "partition entries"),
        Claim(8 * MIB - 512, 512, "header"),
        Claim(8 * MIB - 512 - table, table, "partition entries"),
        Claim(MIB, MIB, "partition 1"),
        Claim(3 * MIB, 512_000, "partition 2"),
    ]
    fresh = gpt.FORMAT.open(BytesSource(data), Limits())
    assert b"".join(fresh.open([MIB, MIB])) == b"first partition" + bytes(MIB - 15)
    assert fresh.span([MIB, MIB]) == (MIB, MIB)


@needs_sgdisk
def test_gpt_of_another_tool_with_attributes_and_overlap(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(4 * MIB)
    subprocess.run(
        ["sgdisk", "-a", "1", "-n", "3:100:199", "-n", "7:200:299", "-A", "3:set:2", "-c", "7:data", image],
        check=True, capture_output=True,
    )  # fmt: skip
    data = bytearray(image.read_bytes())
    at = 1024 + 6 * 128 + 32
    data[at : at + 8] = struct.pack("<Q", 150)
    reader = gpt.FORMAT.open(BytesSource(bytes(data)), Limits())
    assert reader.detail["primary"] == "CRC-32 of the entries differs"
    assert reader.detail["read_from"] == "backup"
    assert list(reader.entries()) == [part(3, 51_200, 51_200), part(7, 102_400, 51_200)]
    assert str(reader.detail["3"]).endswith("attributes=0x0000000000000004")
    # without the backup, the broken copy is all there is
    alone = gpt.FORMAT.open(BytesSource(bytes(data[: 2 * MIB])), Limits())
    assert (alone.detail["backup"], alone.detail["copies_agree"]) == ("missing", None)
    assert list(alone.entries()) == [
        part(3, 51_200, 51_200),
        part(7, 76_800, 76_800),
        Problem("overlap", "overlaps partition 3", b"7", entries=0),
    ]


@needs_sfdisk
def test_gpt_from_its_backup_alone(tmp_path: Path) -> None:
    data = bytearray(disk(tmp_path / "disk", GPT).read_bytes())
    data[512:1024] = bytes(512)
    reader = identify(BytesSource(bytes(data)), Limits())
    assert reader is not None
    assert (reader.detail["primary"], reader.detail["backup"]) == ("missing", "ok")
    assert list(reader.entries()) == [part(1, MIB, MIB), part(2, 3 * MIB, 512_000)]
    data[-512:] = bytes(512)
    assert identify(BytesSource(bytes(data)), Limits()) is None  # only the protective partition is left


@needs_sfdisk
def test_cut_gpt_disk(tmp_path: Path) -> None:
    data = disk(tmp_path / "disk", GPT).read_bytes()[: 2 * MIB - 100]
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert list(reader.entries()) == [part(1, MIB, MIB), part(2, 3 * MIB, 512_000)]
    with pytest.raises(Truncated):
        list(reader.open([MIB, MIB]))
    assert reader.claims()[-1] == Claim(MIB, MIB - 100, "partition 1")


def test_gpt_that_cannot_be_read() -> None:
    with pytest.raises(Malformed, match="neither copy"):
        identify(BytesSource(bytes(512) + b"EFI PART" + bytes(5000)), Limits())


MBR = """label: dos
label-id: 0x12345678
start=2048, size=2048, type=c, bootable
start=4096, size=8192, type=f
5 : size=100, type=83
6 : size=200, type=82
7 : size=100, type=83
"""


@needs_sfdisk
def test_mbr_with_logical_partitions(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk", MBR)
    with image.open("rb") as file:
        reader = identify(FileSource(file.fileno()), Limits())
        assert reader is not None
        assert reader.format is mbr.FORMAT
        said = json.loads(subprocess.run(["sfdisk", "-J", image], check=True, capture_output=True).stdout)
        expected = [
            part(int(row["node"].removeprefix(str(image))), row["start"] * 512, row["size"] * 512)
            for row in said["partitiontable"]["partitions"]
        ]
        assert [entry.path for entry in expected] == [b"1", b"2", b"5", b"6", b"7"]
        assert list(reader.entries()) == [expected[0], *expected[2:]]
        assert reader.detail == {
            "sector_bytes": 512,
            "disk_signature": "12345678",
            "1": "type=0x0c active",
            "2": "type=0x0f extended",
            "5": "type=0x83",
            "6": "type=0x82",
            "7": "type=0x83",
        }
        records = [claim.offset for claim in reader.claims() if claim.what == "extended boot record"]
        assert len(records) == 3
        assert records[0] == 2 * MIB


@needs_fdisk
def test_gpt_with_large_sectors(tmp_path: Path) -> None:
    reader = identify(BytesSource(disk_4k(tmp_path / "disk", "g n 1 256 511 n 5 768 892")), Limits())
    assert reader is not None
    assert list(reader.entries()) == [part(1, MIB, MIB), part(5, 3 * MIB, 512_000)]
    assert (reader.detail["sector_bytes"], reader.detail["primary"], reader.detail["backup"]) == (4096, "ok", "ok")


@needs_fdisk
def test_mbr_with_large_sectors(tmp_path: Path) -> None:
    data = disk_4k(tmp_path / "disk", "o n p 1 256 511 n e 2 512 1535 n l 800 899")
    reader = mbr.FORMAT.open(BytesSource(data), Limits())
    assert list(reader.entries()) == [part(1, MIB, MIB), part(5, 800 * 4096, 409_600)]
    assert reader.detail["sector_bytes"] == 4096


def boot(*entries: tuple[int, int, int, int]) -> bytes:
    raw = b"".join(struct.pack("<B3xB3xLL", *entry) for entry in entries)
    return bytes(446) + raw.ljust(64, b"\0") + b"\x55\xaa"


def test_chain_that_bites_its_tail_and_one_that_breaks() -> None:
    ring = boot((0, 5, 1, 9)) + boot((0, 0x83, 1, 1), (0, 5, 2, 2)) + bytes(512)
    ring += boot((0, 0x83, 1, 1), (0, 5, 0, 2)) + bytes(512 * 8)
    reader = mbr.FORMAT.open(BytesSource(ring), Limits())
    assert list(reader.entries()) == [
        Problem("malformed", "chain of logical partitions returns to sector 1"),
        part(5, 1024, 512),
        part(6, 2048, 512),
    ]
    broken = boot((0, 5, 1, 9)) + boot((0, 0x83, 1, 99), (0, 5, 2, 2)) + bytes(512 * 8)
    assert list(mbr.FORMAT.open(BytesSource(broken), Limits()).entries()) == [
        Problem("malformed", "logical partition 5 at sector 2 is beyond the end"),
        Problem("malformed", "no extended boot record at sector 3"),
    ]


def refused() -> Iterator[tuple[str, bytes]]:
    rest = bytes(4096 * 8)
    yield "signature only", boot() + rest
    yield "no signature", boot((0, 0x83, 1, 2))[:510] + b"\0\0" + rest
    yield "status", boot((1, 0x83, 1, 2)) + rest
    yield "beyond the end", boot((0, 0x83, 1, 9999)) + rest
    yield "starts at 0", boot((0, 0x83, 0, 2)) + rest
    yield "overlap", boot((0, 0x83, 1, 3), (0, 0x83, 3, 2)) + rest
    yield "empty with type", boot((0, 0x83, 1, 0)) + rest
    yield "type 0 with range", boot((0, 0x83, 1, 2), (0, 0, 5, 1)) + rest
    yield "protective", boot((0, 0xEE, 1, 9)) + rest
    fat = b"\xeb\x3c\x90MSDOS5.0\0\x02\x04" + bytes(7) + b"\xf8"
    yield "FAT", fat + boot((0, 0x83, 1, 2))[len(fat) :] + rest
    yield "NTFS", b"\xeb\x52\x90NTFS    " + boot((0, 0x83, 1, 2))[11:] + rest
    yield "short", boot((0, 0x83, 1, 2))[:-1]


@pytest.mark.parametrize(("why", "data"), list(refused()), ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_no_mbr(why: str, data: bytes) -> None:
    with pytest.raises(NotThisFormat):
        mbr.FORMAT.open(BytesSource(data), Limits())


@pytest.mark.skipif(not shutil.which("mkfs.vfat"), reason="mkfs.vfat is not installed")
def test_a_real_fat_file_system_is_no_mbr(tmp_path: Path) -> None:
    image = tmp_path / "fat"
    subprocess.run(["mkfs.vfat", "-C", image, "2048"], check=True, capture_output=True)
    with pytest.raises(NotThisFormat):
        mbr.FORMAT.open(BytesSource(image.read_bytes()), Limits())


@needs_sfdisk
def test_broken_tables_are_survived(tmp_path: Path) -> None:
    small = "label: gpt\nfirst-lba: 34\nstart=40, size=8\nstart=48, size=8\n"
    data = disk(tmp_path / "gpt", small, size=100 * 1024).read_bytes()
    for broken in mangled(data, count=200, hot=range(440, 1400)):
        survives(gpt.FORMAT, broken)
        survives(mbr.FORMAT, broken)
    chain = (
        "label: dos\nstart=1, size=1, type=c\nstart=2, size=90, type=f\nstart=10, size=5, type=83\nstart=20, size=5\n"
    )
    data = disk(tmp_path / "mbr", chain, size=100 * 1024).read_bytes()
    for seed, hot in enumerate((range(440, 512), range(1024 + 440, 1024 + 512))):
        for broken in mangled(data, count=150, seed=seed, hot=hot):
            survives(mbr.FORMAT, broken)


def test_thousands_of_entries_and_names_that_are_no_text() -> None:
    entries = b"".join(
        uuid.UUID(int=n + 1).bytes_le * 2 + struct.pack("<3Q", 5000 + n, 5000 + n, 0) + b"\0\xd8" * 36
        for n in range(4096)
    )
    fields = (b"EFI PART", 65536, 92, 0, 0, 1, 0, 0, 0, bytes(16), 2, 4096, 128, zlib.crc32(entries))
    header = gpt.HEADER.pack(*fields)
    header = header[:16] + struct.pack("<L", zlib.crc32(header)) + header[20:]
    data = bytes(512) + header.ljust(512, b"\0") + entries + bytes(8 * MIB)
    reader = gpt.FORMAT.open(BytesSource(data), Limits())
    assert reader.detail["primary"] == "ok"
    assert len(list(reader.entries())) == 4096
