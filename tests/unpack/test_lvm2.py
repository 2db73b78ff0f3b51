"""LVM2. Its tools make volumes on block devices only, so a small writer makes them here; pvck reads what it made."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
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
    UnpackError,
    Unsupported,
    Window,
)
from assay.unpack.lvm2 import FORMAT, Lvm2, parse

from ..support.hostile import mangled, survives

PVCK = shutil.which("pvck", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
EXTENT = 64 << 10
MIB = 1 << 20
DATA = random.Random(4).randbytes(16 * EXTENT)
HERE, THERE = "a" * 32, "b" * 32


def crc(data: bytes) -> int:
    """Compute the checksum bit by bit, from its definition in LVM's sources."""
    register = 0xF597A6CF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return register


def dashed(text: str) -> str:
    return "-".join(text[a:b] for a, b in ((0, 6), (6, 10), (10, 14), (14, 18), (18, 22), (22, 26), (26, 32)))


def volume(name: str, *segments: str, status: str = '"READ", "WRITE", "VISIBLE"') -> str:
    parts = "".join(f"segment{at} {{\n{text}\n}}\n" for at, text in enumerate(segments, 1))
    return (
        f'{name} {{\nid = "{dashed(name[0] * 32)}"\nstatus = [{status}]\nflags = []\n'
        f"creation_time = 1700000000\t# a time\nsegment_count = {len(segments)}\n{parts}}}\n"
    )


def striped(start: int, count: int, *stripes: tuple[str, int], size: int = 128) -> str:
    places = ", ".join(f'"{name}", {extent}' for name, extent in stripes)
    extra = f"stripe_size = {size}\n" if len(stripes) > 1 else ""
    return (
        f'start_extent = {start}\nextent_count = {count}\ntype = "striped"\nstripe_count = {len(stripes)}\n{extra}'
        f"stripes = [\n{places}\n]"
    )


def group(*volumes: str) -> str:
    return (
        f'vg-00 {{\nid = "{dashed("v" * 32)}"\nseqno = 7\nformat = "lvm2" # informational\nstatus = ["RESIZEABLE"]\n'
        f"flags = []\nextent_size = {EXTENT // 512}\nmax_lv = 0\nmetadata_copies = 0\n\nphysical_volumes {{\n"
        f'pv0 {{\nid = "{dashed(HERE)}"\ndevice = "/dev/\\"odd\\""\npe_start = 2048\npe_count = 16\n}}\n'
        f'pv1 {{\nid = "{dashed(THERE)}"\npe_start = 2048\npe_count = 16\n}}\n}}\n\nlogical_volumes {{\n'
        + "\n".join(volumes)
        + '}\n}\n# Generated\ncontents = "Text Format Volume Group"\nversion = 1\ncreation_time = 1700000000\n'
    )


def physical(text: str, *, ring: int = 0) -> bytes:
    """Return a physical volume: label in the second sector, a metadata area at 4 KiB, data at 1 MiB.

    `ring` puts the text at that offset in its area, so that it goes on behind the area's header.
    """
    image = bytearray(MIB) + DATA
    at, size = 4096, MIB - 4096
    raw = text.encode() + b"\0"
    offset = ring or 512
    first = min(len(raw), size - offset)
    image[at + offset : at + offset + first] = raw[:first]
    image[at + 512 : at + 512 + len(raw) - first] = raw[first:] or image[at + 512 : at + 512]
    head = struct.pack("<16sIQQ", b" LVM2 x[5A%r0N*>", 1, at, size)
    head = (head + struct.pack("<QQII", offset, len(raw), crc(raw), 0)).ljust(508, b"\0")
    image[at : at + 512] = struct.pack("<I", crc(head)) + head
    label = struct.pack("<I8s", 32, b"LVM2 001") + HERE.encode() + struct.pack("<Q", len(image))
    label += struct.pack("<QQQQQQQQ", MIB, 0, 0, 0, at, size, 0, 0) + struct.pack("<II", 2, 1)
    label = label.ljust(492, b"\0")
    image[512:1024] = struct.pack("<8sQI", b"LABELONE", 1, crc(label)) + label
    return bytes(image)


def extents(first: int, count: int) -> bytes:
    return DATA[first * EXTENT : (first + count) * EXTENT]


VOLUMES = (
    volume("root", striped(0, 2, ("pv0", 3)), striped(2, 1, ("pv0", 0))),
    volume("9swap", striped(0, 4, ("pv0", 6), ("pv0", 9), size=32)),
    volume("far", striped(0, 1, ("pv0", 1)), striped(1, 3, ("pv1", 0))),
    volume("thin", 'start_extent = 0\nextent_count = 2\ntype = "thin"\nthin_pool = "pool"\ntransaction_id = 1'),
    volume(
        "mirrored",
        'start_extent = 0\nextent_count = 1\ntype = "raid1"\nregion_size = 1024\ndevice_count = 2\n'
        'raids = ["m_rmeta_0", "m_rimage_0", "m_rmeta_1", "m_rimage_1"]',
    ),
    volume("m_rmeta_0", striped(0, 1, ("pv1", 5)), status='"READ"'),
    volume("m_rimage_0", striped(0, 1, ("pv1", 6)), status='"READ"'),
    volume("m_rmeta_1", striped(0, 1, ("pv0", 12)), status='"READ"'),
    volume("m_rimage_1", striped(0, 1, ("pv0", 13)), status='"READ"'),
    volume("nothing", 'start_extent = 0\nextent_count = 2\ntype = "zero"'),
)
IMAGE = physical(group(*VOLUMES))


def stripes() -> bytes:
    one, other, size = extents(6, 2), extents(9, 2), 32 * 512
    return b"".join(one[at : at + size] + other[at : at + size] for at in range(0, len(one), size))


@pytest.mark.skipif(PVCK is None, reason="needs pvck")
def test_the_tool_reads_what_is_written_here(tmp_path: Path) -> None:
    (tmp_path / "pv").write_bytes(IMAGE)
    done = subprocess.run([PVCK or "", "--dump", "metadata", tmp_path / "pv"], capture_output=True, text=True)
    if done.returncode and "vg-00" not in done.stdout:
        pytest.skip(f"pvck does not read files here: {done.stderr[:200]}")
    assert "logical_volumes" in done.stdout
    headers = subprocess.run([PVCK or "", "--dump", "headers", tmp_path / "pv"], capture_output=True, text=True).stdout
    assert "CHECK" not in headers, headers


@pytest.mark.parametrize("ring", [0, MIB - 4096 - 1000])
def test_every_logical_volume_is_an_entry(ring: int) -> None:
    image = physical(group(*VOLUMES), ring=ring)
    around = b"\x5a" * 1237 + image + b"other" * 9999
    for source in (BytesSource(image), Window(BytesSource(around), 1237, len(around))):
        reader = identify(source, Limits())
        assert isinstance(reader, Lvm2)
        assert list(reader.entries()) == [
            Entry(b"root", "regular", 0, 3 * EXTENT),
            Entry(b"9swap", "regular", 1, 4 * EXTENT),
            Entry(b"far", "regular", 2, 4 * EXTENT),
            Entry(b"thin", "regular", 3, 2 * EXTENT),
            Entry(b"mirrored", "regular", 4, EXTENT),
            Entry(b"nothing", "regular", 5, 2 * EXTENT),
        ]
        assert reader.claims() == [
            Claim(512, 512, "label"),
            Claim(4096, MIB - 4096, "metadata area"),
            *(Claim(MIB + EXTENT * first, EXTENT * count, "data") for first, count in ((0, 2), (3, 2), (6, 2), (9, 2))),
            Claim(MIB + EXTENT * 12, EXTENT * 2, "data"),
        ]
        fresh = FORMAT.open(source, Limits())
        assert b"".join(fresh.open(0)) == extents(3, 2) + extents(0, 1)
        assert b"".join(fresh.open(1)) == stripes()
        assert b"".join(fresh.open(4)) == extents(13, 1)
        assert b"".join(fresh.open(5)) == bytes(2 * EXTENT)
        assert fresh.span(4) == (MIB + 13 * EXTENT, EXTENT)
        assert fresh.span(0) is None


def test_what_is_not_here_is_named() -> None:
    reader = FORMAT.open(BytesSource(IMAGE), Limits())
    list(reader.entries())
    assert reader.detail["far: bytes elsewhere"] == 3 * EXTENT
    with pytest.raises(Unsupported, match="other physical volumes: pv1 "):
        list(reader.open(2))
    with pytest.raises(Unsupported, match="a segment of type thin"):
        list(reader.open(3))


def test_header_is_kept() -> None:
    detail = FORMAT.open(BytesSource(IMAGE), Limits()).detail
    assert detail["logical volume root"] == f"id={dashed('r' * 32)} type=striped created=1700000000"
    assert str(detail["logical volume m_rmeta_0"]).endswith("hidden")
    assert {name: value for name, value in detail.items() if not name.startswith("logical")} == {
        "physical_volume": dashed(HERE),
        "device_bytes": len(IMAGE),
        "volume_group": "vg-00",
        "metadata_areas": 1,
        "volume_group_id": dashed("v" * 32),
        "sequence_number": 7,
        "extent_bytes": EXTENT,
        "physical_volumes": 2,
    }


@pytest.mark.parametrize(
    "text",
    [
        "a {", "a = ", "a = [1, 2", "}", "a b", "{", "a = [ { ]", 'a = "open', "a = $", "a { b = = }",
        "a {" * 40 + "}" * 40, "\\",
    ],
)  # fmt: skip
def test_broken_texts(text: str) -> None:
    with pytest.raises(Malformed):
        parse(text)


def test_texts() -> None:
    assert parse('a { b = -1 c="x \\"y\\" \\\\" 9d { } }\nlist = ["a", 2, 0.5]') == {
        "a": {"b": -1, "c": 'x "y" \\', "9d": {}},
        "list": ["a", 2, "0.5"],
    }


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("extent_count = 2", "extent_count = 200", "of 16 extents"),
        ("start_extent = 2", "start_extent = 5", "begins at extent 5"),
        ("stripe_count = 1", "stripe_count = 2", "in 1 stripes"),
        ('"pv0", 3', '"pv0", "x"', "at extent 'x'"),
        ("extent_count = 2", "extent_count = -2", "extent_count is -2"),
    ],
)
def test_maps_that_break_the_format(old: str, new: str, match: str) -> None:
    reader = FORMAT.open(BytesSource(physical(group(VOLUMES[0].replace(old, new, 1)))), Limits())
    assert [item.path for item in reader.entries() if isinstance(item, Entry)] == [b"root"]
    with pytest.raises(Malformed, match=match):
        list(reader.open(0))


def test_a_mirror_of_itself_ends() -> None:
    text = 'start_extent = 0\nextent_count = 1\ntype = "mirror"\nmirrors = ["loop", 0, "other", 0]'
    reader = FORMAT.open(BytesSource(physical(group(volume("loop", text), volume("top", text)))), Limits())
    list(reader.entries())
    with pytest.raises(UnpackError):
        list(reader.open(0))


def test_cut_and_empty_volumes() -> None:
    with pytest.raises(Truncated):
        list(FORMAT.open(BytesSource(IMAGE[: MIB + 3 * EXTENT]), Limits()).open(0))
    with pytest.raises(Truncated):
        FORMAT.open(BytesSource(IMAGE[:4100]), Limits())
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(IMAGE[:600] + b"x" + IMAGE[601:]), Limits())
    with pytest.raises(Malformed, match="checksum of the metadata"):
        FORMAT.open(BytesSource(IMAGE.replace(b"seqno", b"sEqno")), Limits())
    empty = physical("")
    head = bytearray(empty[4096:4608])
    head[48:56] = bytes(8)
    head[:4] = struct.pack("<I", crc(bytes(head[4:])))
    reader = FORMAT.open(BytesSource(empty[:4096] + head + empty[4608:]), Limits())
    assert list(reader.entries()) == []
    assert [claim.what for claim in reader.claims()] == ["label", "metadata area"]


def test_damaged_texts() -> None:
    text = group(*VOLUMES).encode()
    for bad in mangled(text, count=60):
        survives(FORMAT, physical(bad.decode("latin-1")))
