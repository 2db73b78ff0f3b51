from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Truncated,
    Unsupported,
    Window,
)
from assay.unpack.vmdk import FORMAT

from ..support.disks import MIB, QEMU_IMG, contents, guest, holds, made, qemu
from ..support.hostile import mangled, survives

pytestmark = pytest.mark.skipif(QEMU_IMG is None, reason="needs qemu-img")

DISK = guest(5 * MIB)
DISK_ENTRY = [Entry(b"disk", "regular", 0, len(DISK))]


@pytest.mark.parametrize(
    "options",
    [
        "subformat=monolithicSparse",
        "subformat=monolithicSparse,compat6",
        "subformat=streamOptimized",
        "subformat=monolithicSparse,zeroed_grain=on",
    ],
)
def test_the_disk_is_what_was_put_in(options: str, tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "vmdk", "-o", options)
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    assert reader.detail["size"] == len(DISK)
    assert reader.detail["create_type"] == options.partition("=")[2].partition(",")[0]
    assert reader.detail["parent_content_id"] == "ffffffff"
    list(reader.entries())
    end = max(claim.offset + claim.length for claim in reader.claims())
    assert len(data) - 65536 < end <= len(data)
    assert not any(data[end:])
    holds(FORMAT, data, DISK_ENTRY, {b"disk": DISK}, end)


def test_extents_of_a_split_disk_are_parts(tmp_path: Path) -> None:
    made(tmp_path, DISK, "vmdk", "-o", "subformat=twoGbMaxExtentSparse")
    part = (tmp_path / "image-s001.vmdk").read_bytes()
    assert contents(FORMAT.open(BytesSource(part), Limits())) == DISK
    descriptor = (tmp_path / "image.vmdk").read_bytes()
    reader = identify(BytesSource(descriptor), Limits())
    assert reader is not None
    assert list(reader.entries()) == [
        Problem("unsupported", f"{len(DISK) // 512} sectors (SPARSE) lie in another file", b"image-s001.vmdk")
    ]


def test_a_descriptor_alone_names_what_is_missing(tmp_path: Path) -> None:
    made(tmp_path, DISK, "vmdk", "-o", "subformat=monolithicFlat")
    data = (tmp_path / "image.vmdk").read_bytes()
    text = data.rstrip(b"\0")
    for source in (BytesSource(text), Window(BytesSource(b"abc" + text + b"\0\0other"), 3, 1 << 20)):
        reader = FORMAT.open(source, Limits())
        assert reader.declared == 1
        assert reader.detail["create_type"] == "monolithicFlat"
        assert reader.detail["extent 1"] == f'RW {len(DISK) // 512} FLAT "image-flat.vmdk" 0'
        text_of = f"{len(DISK) // 512} sectors (FLAT) lie in another file"
        assert list(reader.entries()) == [Problem("unsupported", text_of, b"image-flat.vmdk")]
        assert reader.claims() == [Claim(0, len(text), "descriptor")]
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(b"# Disk DescriptorFile\nand no more"), Limits())


def test_a_parent_is_named(tmp_path: Path) -> None:
    made(tmp_path, DISK, "vmdk")
    top = tmp_path / "top.vmdk"
    qemu("create", "-f", "vmdk", "-F", "vmdk", "-b", tmp_path / "image.vmdk", top)
    reader = FORMAT.open(BytesSource(top.read_bytes()), Limits())
    assert [item.path for item in reader.entries() if isinstance(item, Entry)] == [b"disk"]
    assert reader.detail["disk: bytes elsewhere"] == len(DISK)
    with pytest.raises(Unsupported, match="the parent disk"):
        list(reader.open(0))


def streamed(disk: bytes, *, footer: bool = True) -> bytes:
    """Return a streamOptimized extent with its directory at the end, as VMware's tools write it (qemu-img does not).

    From "Virtual Disk Format 5.0": header with gdOffset -1, compressed grains behind markers, grain tables and grain
    directory behind metadata markers, then footer and end-of-stream marker.
    """
    grain, each = 128, 512
    head = [b"KDMV", 3, 0x30001, len(disk) // 512, grain, 1, 1, each, 0, (1 << 64) - 1, 128, 0, b"\n \r\n", 1]
    layout = struct.Struct("<4sIIQQQQIQQQB4sH")
    text = b'# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="streamOptimized"\n'
    out = bytearray(layout.pack(*head).ljust(512, b"\0") + text.ljust(512, b"\0"))
    out += bytes(128 * 512 - len(out))
    directory = []
    for first in range(0, len(disk), grain * each * 512):
        table = []
        for at in range(first, first + grain * each * 512, grain * 512):
            piece = disk[at : at + grain * 512]
            if not any(piece):
                table.append(0)
                continue
            table.append(len(out) // 512)
            packed = zlib.compress(piece)
            out += struct.pack("<QI", at // 512, len(packed)) + packed
            out += bytes(-len(out) % 512)
        out += struct.pack("<QII", each * 4 // 512, 0, 1).ljust(512, b"\0")
        directory.append(len(out) // 512)
        out += struct.pack(f"<{each}I", *table)
    out += struct.pack("<QII", 1, 0, 2).ljust(512, b"\0")
    head[9] = len(out) // 512
    out += struct.pack(f"<{len(directory)}I", *directory).ljust(512, b"\0")
    if footer:
        out += struct.pack("<QII", 1, 0, 3).ljust(512, b"\0") + layout.pack(*head).ljust(512, b"\0")
        out += bytes(512)
    return bytes(out)


def test_a_stream_with_its_directory_at_the_end() -> None:
    disk = DISK[:-512] + b"odd end" + bytes(505)  # the last grain is short
    data = streamed(disk[: len(disk) - 5 * 512])
    disk = disk[: len(disk) - 5 * 512]
    holds(FORMAT, data, [Entry(b"disk", "regular", 0, len(disk))], {b"disk": disk}, len(data))
    reader = FORMAT.open(BytesSource(data), Limits())
    list(reader.entries())
    whats = {claim.what for claim in reader.claims()}
    assert whats >= {"header", "descriptor", "compressed data", "grain table", "grain directory", "footer"}
    assert reader.detail["compression"] == "deflate"


def test_a_stream_without_its_footer_is_truncated() -> None:
    reader = FORMAT.open(BytesSource(streamed(DISK, footer=False)), Limits())
    assert list(reader.entries()) == DISK_ENTRY
    with pytest.raises(Truncated, match="no footer"):
        list(reader.open(0))


def test_a_grain_with_the_marker_of_another_is_refused(tmp_path: Path) -> None:
    data = bytearray(streamed(DISK))
    data[65536] ^= 1
    with pytest.raises(Malformed, match="is marked as"):
        list(FORMAT.open(BytesSource(bytes(data)), Limits()).open(0))


def test_a_giant_is_stopped(tmp_path: Path) -> None:
    image = tmp_path / "huge"
    qemu("create", "-f", "vmdk", image, "1T")
    data = image.read_bytes()
    reader = FORMAT.open(BytesSource(data), Limits(ratio=2, ratio_from=MIB))
    with pytest.raises(LimitReached, match="ratio"):
        list(reader.open(0))
    with pytest.raises(LimitReached, match="metadata"):
        list(FORMAT.open(BytesSource(data), Limits(metadata_bytes=1000)).open(0))


@pytest.mark.parametrize(
    ("offset", "value"), [(4, 9), (20, 3), (20, 1 << 20), (12, 0xFFFFFFFF_FFFFFFFF), (44, 0), (73, 0)]
)
def test_impossible_headers(offset: int, value: int) -> None:
    data = bytearray(streamed(DISK[:MIB]))
    length = 1 if offset == 73 else 4 if offset in (4, 44) else 8
    data[offset : offset + length] = value.to_bytes(length, "little")
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(bytes(data)), Limits())


def test_damaged_images(tmp_path: Path) -> None:
    plain = made(tmp_path, guest(3 * MIB), "vmdk")
    for data in (plain, streamed(guest(3 * MIB))):
        for hot in (range(1024), range(len(data))):
            for bad in mangled(data, seed=hot.stop, count=16, hot=hot):
                survives(FORMAT, bad)
