"""U-Boot legacy images made by mkimage, and broken ones."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Claim, Entry, Limits, NotThisFormat, Problem, Truncated, Window
from assay.unpack.uimage import FORMAT

from ..support.hostile import mangled, survives

needs_mkimage = pytest.mark.skipif(not shutil.which("mkimage"), reason="mkimage is not installed")
NOISE = random.Random(4).randbytes(5001)
SCRIPT = b"setenv bootargs console=ttyS0\nbootm\n"


def mkimage(folder: Path, *parts: bytes, **options: str) -> bytes:
    names = []
    for number, data in enumerate(parts):
        file = folder / f"part{number}"
        file.write_bytes(data)
        names.append(str(file))
    stated = {
        "A": "arm",
        "O": "linux",
        "T": "kernel",
        "C": "gzip",
        "a": "8000",
        "e": "8040",
        "n": "Linux-6.1",
    } | options
    arguments = [word for key, value in stated.items() for word in (f"-{key}", value)]
    out = folder / "image"
    subprocess.run(
        ["mkimage", *arguments, "-d", ":".join(names), out],
        check=True,
        capture_output=True,
        env={"SOURCE_DATE_EPOCH": "1700000000", "PATH": "/usr/bin:/bin"},
    )
    return out.read_bytes()


def header(data: bytes, *, kind: int = 2, crc: int | None = None, right: bool = True) -> bytes:
    """Return an image written by hand: the layout of include/image.h."""
    crc = zlib.crc32(data) if crc is None else crc
    head = struct.pack(">7I4B32s", 0x27051956, 0, 5, len(data), 0, 0, crc, 5, 2, kind, 0, b"hand-made")
    stated = zlib.crc32(head) if right else 1
    return head[:4] + struct.pack(">I", stated) + head[8:] + data


@needs_mkimage
def test_a_kernel_as_mkimage_writes_and_lists_it(tmp_path: Path) -> None:
    data = mkimage(tmp_path, NOISE)
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    assert list(reader.entries()) == [Entry(b"kernel", "regular", locator=[64, 5001], size=5001)]
    assert reader.detail == {
        "name": "Linux-6.1",
        "os": "linux",
        "arch": "arm",
        "type": "kernel",
        "compression": "gzip",
        "time": 1_700_000_000_000_000_000,
        "load": "0x00008000",
        "entry": "0x00008040",
        "header_crc_right": True,
        "data_crc_right": True,
    }
    assert reader.claims() == [Claim(0, 64, "header"), Claim(64, 5001, "kernel")]
    fresh = FORMAT.open(BytesSource(data), Limits())
    assert b"".join(fresh.open([64, 5001])) == NOISE
    assert fresh.span([64, 5001]) == (64, 5001)
    said = subprocess.run(["mkimage", "-l", tmp_path / "image"], check=True, capture_output=True, text=True).stdout
    assert "ARM Linux Kernel Image (gzip compressed)" in said
    assert "Data Size:    5001 Bytes" in said


@needs_mkimage
def test_several_parts_and_a_script_inside_a_bigger_file(tmp_path: Path) -> None:
    parts = [NOISE, b"ramdisk", NOISE[:1003]]
    data = mkimage(tmp_path, *parts, T="multi", C="none")
    source = Window(BytesSource(b"x" * 1234 + data + b"\x7f" * 999), 1234, 1 << 40)
    reader = FORMAT.open(source, Limits())
    found = list(reader.entries())
    assert [entry.path for entry in found] == [b"multi-0", b"multi-1", b"multi-2"]
    assert [b"".join(reader.open(entry.locator)) for entry in found if isinstance(entry, Entry)] == parts  # type: ignore[arg-type]
    assert reader.declared == 3
    assert reader.detail["data_crc_right"] is True
    assert sum(claim.length for claim in reader.claims()) == len(data)
    assert max(claim.offset + claim.length for claim in reader.claims()) == len(data)
    assert [claim.length for claim in reader.claims() if claim.what == "padding"] == [3, 1]
    for number, part in enumerate(parts):
        out = tmp_path / f"out{number}"
        command = ["dumpimage", "-T", "multi", "-p", str(number), "-o", str(out), str(tmp_path / "image")]
        subprocess.run(command, check=True, capture_output=True)
        assert out.read_bytes() == part

    reader = FORMAT.open(BytesSource(mkimage(tmp_path, SCRIPT, T="script", C="none")), Limits())
    (script,) = reader.entries()
    assert isinstance(script, Entry)
    assert script.path == b"script-0"
    assert script.locator is not None
    assert b"".join(reader.open(script.locator)) == SCRIPT


def test_wrong_sums_are_told_and_the_bytes_are_there() -> None:
    found = list(FORMAT.open(BytesSource(header(b"payload", crc=7)), Limits()).entries())
    wrong = f"the data have CRC-32 {zlib.crc32(b'payload'):#010x}, the header says 0x00000007"
    entry = Entry(b"kernel", "regular", locator=[64, 7], size=7)
    assert found == [Problem("malformed", wrong, entries=0), entry]
    reader = FORMAT.open(BytesSource(header(b"payload", right=False)), Limits())
    wrong = "the header has another CRC-32 than it states"
    assert list(reader.entries()) == [Problem("malformed", wrong, entries=0), entry]
    assert reader.detail["header_crc_right"] is False


def test_cut_short() -> None:
    reader = FORMAT.open(BytesSource(header(NOISE)[:3000]), Limits())
    (entry,) = reader.entries()
    assert isinstance(entry, Entry)
    assert reader.detail["data_crc_right"] is None
    assert reader.claims()[-1] == Claim(64, 2936, "kernel")
    out = []
    with pytest.raises(Truncated):
        for chunk in reader.open(entry.locator):  # type: ignore[arg-type]
            out.append(chunk)  # noqa: PERF402 - what came before the error counts
    assert b"".join(out) == NOISE[:2936]


def test_tables_that_do_not_fit() -> None:
    data = struct.pack(">4I", 4, 100, 4, 0) + b"abcdefgh"
    reader = FORMAT.open(BytesSource(header(data, kind=4)), Limits())
    assert list(reader.entries()) == [
        Problem("malformed", "part 1 goes on beyond the image's data", b"multi-1"),
        Entry(b"multi-0", "regular", locator=[80, 4], size=4),
        Entry(b"multi-2", "regular", locator=[84, 4], size=4),
    ]
    reader = FORMAT.open(BytesSource(header(b"\0\0\0\1" * 9, kind=4)), Limits())
    assert list(reader.entries()) == [
        Problem("malformed", "the table of parts has no end", entries=0),
        Entry(b"multi", "regular", locator=[64, 36], size=36),
    ]


def test_only_the_magic() -> None:
    for data in (b"\x27\x05\x19\x56", b"\x27\x05\x19\x56" + NOISE, header(b"", right=False)):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(data), Limits())


def test_hostile() -> None:
    data = header(struct.pack(">4I", 40, 7, 100, 0) + NOISE[:152], kind=4)
    for broken in (*mangled(data, count=500), *mangled(data, count=500, hot=range(88))):
        survives(FORMAT, broken)
