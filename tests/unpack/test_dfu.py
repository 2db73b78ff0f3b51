"""USB DFU files: the suffix that dfu-suffix adds, and DfuSe files written by hand from UM0391."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Claim, Entry, Limits, NotThisFormat, Problem, Reader, Window
from assay.unpack.dfu import FORMAT

from ..support.hostile import mangled, survives

needs_dfu = pytest.mark.skipif(not shutil.which("dfu-suffix"), reason="dfu-suffix (dfu-util) is not installed")
NOISE = random.Random(3).randbytes(100_001)


def suffixed(data: bytes, version: int = 0x011A) -> bytes:
    data += struct.pack("<4H3sB", 0x2200, 0xDF11, 0x0483, version, b"UFD", 16)
    return data + struct.pack("<I", zlib.crc32(data) ^ 0xFFFFFFFF)


def dfuse(*targets: dict[int, bytes]) -> bytes:
    body = b""
    for number, elements in enumerate(targets):
        inside = b"".join(struct.pack("<II", address, len(data)) + data for address, data in elements.items())
        body += struct.pack("<6sBI255sII", b"Target", number, 1, b"Flash", len(inside), len(elements)) + inside
    return suffixed(struct.pack("<5sBIB", b"DfuSe", 1, 11 + len(body), len(targets)) + body)


def contents(reader: Reader) -> dict[bytes, bytes]:
    out = {}
    for entry in reader.entries():
        assert isinstance(entry, Entry)
        assert entry.locator is not None
        out[entry.path] = b"".join(reader.open(entry.locator))
    return out


@needs_dfu
def test_a_suffix(tmp_path: Path) -> None:
    file = tmp_path / "x.dfu"
    file.write_bytes(NOISE)
    subprocess.run(
        ["dfu-suffix", "-v", "0483", "-p", "df11", "-d", "2200", "-a", str(file)], check=True, capture_output=True
    )
    data = file.read_bytes()
    assert data == suffixed(NOISE, 0x0100)
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    assert contents(reader) == {b"firmware": NOISE}
    assert reader.detail == {
        "dfu_version": "0x0100",
        "usb_vendor": "0x0483",
        "usb_product": "0xdf11",
        "usb_release": "0x2200",
        "crc_right": True,
    }
    assert reader.claims() == [Claim(len(NOISE), 16, "suffix"), Claim(0, len(NOISE), "firmware")]


def test_dfuse() -> None:
    data = dfuse({0x08000000: NOISE[:5000], 0x08010000: b"more"}, {0x1FFF0000: b"options"})
    for source in (BytesSource(data), Window(BytesSource(b"q" * 9 + data + b"q" * 99), 9, 1 << 40)):
        reader = FORMAT.open(source, Limits())
        assert contents(reader) == {
            b"target-0/0x08000000.bin": NOISE[:5000],
            b"target-0/0x08010000.bin": b"more",
            b"target-1/0x1fff0000.bin": b"options",
        }
        assert reader.detail["crc_right"] is True
        assert reader.detail["target_0"] == "alternate=0 name=Flash bytes=5020"
        assert sum(claim.length for claim in reader.claims()) == len(data)
        assert max(claim.offset + claim.length for claim in reader.claims()) == len(data)


def test_damage_is_told() -> None:
    data = bytearray(suffixed(NOISE))
    data[5] ^= 1
    entry, problem = FORMAT.open(BytesSource(bytes(data)), Limits()).entries()
    assert isinstance(entry, Entry)
    assert isinstance(problem, Problem)
    data = bytearray(dfuse({1: b"one"}, {2: b"two"}))
    at = data.index(b"Target", 50)
    data[at] ^= 1
    reader = FORMAT.open(BytesSource(bytes(data)), Limits())
    assert [item.path for item in reader.entries() if isinstance(item, Entry)] == [b"target-0/0x00000001.bin"]
    assert len([item for item in reader.entries() if isinstance(item, Problem)]) == 2
    cut = dfuse({1: NOISE[:1000]})[:900]
    first, entry = FORMAT.open(BytesSource(cut), Limits()).entries()
    assert first == Problem("truncated", "the file ends before its suffix", entries=0)


def test_only_looks_like_it() -> None:
    for data in (b"DfuSe\x01", b"DfuSe\x01" + NOISE, NOISE, suffixed(NOISE, 0x7777), suffixed(b"")):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(data), Limits())


def test_hostile() -> None:
    data = dfuse({0x08000000: NOISE[:50], 0x08010000: b"more"}, {0x1FFF0000: b"options"})
    for broken in (*mangled(data, count=400), *mangled(suffixed(NOISE[:100]), count=200)):
        survives(FORMAT, broken)
