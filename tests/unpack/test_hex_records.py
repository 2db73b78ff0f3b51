"""Intel HEX and S-records as srec_cat writes them, and broken ones."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from assay.unpack import identify, ihex, srec
from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    Format,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Window,
)

from ..support.hostile import bounded, mangled, survives

needs_srecord = pytest.mark.skipif(not shutil.which("srec_cat"), reason="srec_cat (srecord) is not installed")
ONE = random.Random(1).randbytes(200_003)
TWO = random.Random(2).randbytes(777)


def srec_cat(folder: Path, format: str, *, at: int = 0x08000000) -> bytes:
    (folder / "one").write_bytes(ONE)
    (folder / "two").write_bytes(TWO)
    command = ["srec_cat", "one", "-binary", "-offset", hex(at), "two", "-binary", "-offset", hex(at + 0x40000)]
    subprocess.run([*command, "-o", "out", format], cwd=folder, check=True, capture_output=True)
    return (folder / "out").read_bytes()


def contents(reader: Reader) -> dict[bytes, bytes]:
    out = {}
    for entry in reader.entries():
        if isinstance(entry, Entry):
            assert entry.locator is not None
            out[entry.path] = b"".join(reader.open(entry.locator))
            assert entry.size == len(out[entry.path])
    return out


@needs_srecord
@pytest.mark.parametrize(("option", "format"), [("-intel", ihex.FORMAT), ("-motorola", srec.FORMAT)])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_what_srec_cat_writes(option: str, format: Format, ends: bytes, tmp_path: Path) -> None:
    data = srec_cat(tmp_path, option).replace(b"\r\n", b"\n").replace(b"\n", ends)
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is format
    assert contents(reader) == {b"0x08000000.bin": ONE, b"0x08040000.bin": TWO}
    assert not [item for item in reader.entries() if isinstance(item, Problem)]
    assert reader.claims() == [Claim(0, len(data), "records")]
    source = Window(BytesSource(b"?" * 7 + data + b"\0\xffsomething else\n" * 9), 7, 1 << 40)
    inside = format.open(source, Limits())
    assert contents(inside) == contents(reader)
    assert inside.claims() == [Claim(0, len(data), "records")]


@needs_srecord
@pytest.mark.parametrize("at", [0, 0xF000, 0xFFF00])
def test_addresses_of_all_widths(at: int, tmp_path: Path) -> None:
    names = {b"0x%08x.bin" % at: ONE, b"0x%08x.bin" % (at + 0x40000): TWO}
    for option, format in (("-intel", ihex.FORMAT), ("-motorola", srec.FORMAT)):
        assert contents(format.open(BytesSource(srec_cat(tmp_path, option, at=at)), Limits())) == names


def line(address: int, data: bytes, kind: int = 0) -> bytes:
    raw = bytes((len(data),)) + address.to_bytes(2, "big") + bytes((kind,)) + data
    return b":" + raw.hex().upper().encode() + b"%02X\n" % (-sum(raw) & 0xFF)


END = b":00000001FF\n"


def test_segments_in_any_order_and_start_addresses() -> None:
    data = line(0x20, b"cccc") + line(0x10, b"a" * 16) + line(0, b"\x10\0", 2) + line(0x24, b"far") + b"\n"
    data += line(0, b"\0\0", 4) + line(0x24, b"dd") + line(0, b"\x08\0\x01\x31", 5) + END + b"behind"
    reader = ihex.FORMAT.open(BytesSource(data), Limits())
    assert contents(reader) == {b"0x00000010.bin": b"a" * 16 + b"ccccdd", b"0x00010024.bin": b"far"}
    assert reader.detail == {"start": "0x8000131", "records": 4}
    assert reader.claims() == [Claim(0, len(data) - 6, "records")]


def test_wrong_lines_are_told_and_cost_one_line() -> None:
    bad = line(16, b"b" * 16)
    data = (
        line(0, b"a" * 16)
        + bad[:-3]
        + b"00\n"
        + line(32, b"c" * 16)
        + b"; a remark\n"
        + line(48, b"d")
        + line(40, b"x")
    )
    reader = ihex.FORMAT.open(BytesSource(data), Limits())
    assert [item for item in reader.entries() if isinstance(item, Problem)] == [
        Problem("malformed", "line 2: its sum is wrong", b"", 0),
        Problem("malformed", "line 4: no record", b"", 0),
        Problem("truncated", "the file ends without the record that ends it", b"", 0),
        Problem("overlap", "1 bytes at 0x28 overlap others", b"0x00000028.bin", 0),
    ]
    assert contents(reader) == {
        b"0x00000000.bin": b"a" * 16,
        b"0x00000020.bin": b"c" * 16 + b"d",
        b"0x00000028.bin": b"x",
    }
    counted = b"S1051000AABB85\nS5030002FA\nS9030000FC\n"
    (problem, entry) = srec.FORMAT.open(BytesSource(counted), Limits()).entries()
    assert problem == Problem("malformed", "line 2 counts 2 records, there are 1", b"", 0)
    assert entry == Entry(b"0x00001000.bin", "regular", locator=[0, 15], size=2)


def test_only_looks_like_it() -> None:
    for data in (b": remark\nmore\n", b":10 is ten\n", b":00\n", line(0, b"a") + b"no record", b":0000000000" * 500):
        with pytest.raises(NotThisFormat):
            ihex.FORMAT.open(BytesSource(data), Limits())
    for data in (b"S1 is a station\n", b"S1\n", b"S0030000FC\nS1"):
        with pytest.raises(NotThisFormat):
            srec.FORMAT.open(BytesSource(data), Limits())
    reader = ihex.FORMAT.open(BytesSource(END), Limits())
    for locator in ([1], [], "x", ["a", "b"]):
        with pytest.raises(Malformed):
            reader.open(locator)  # type: ignore[arg-type]


def test_big_and_endless_inputs() -> None:
    many = b"".join(line(address & 0xFFFF, b"0123456789abcdef") for address in range(0, 1 << 20, 16)) + END
    begun = time.process_time()
    contents(ihex.FORMAT.open(BytesSource(many), Limits()))
    assert time.process_time() - begun < 3
    bounded(lambda: survives(ihex.FORMAT, END * 1 + b"x" * (8 << 20)), 2)
    bounded(lambda: survives(ihex.FORMAT, line(0, b"a") + line(1, b"b") + b"\0" * (8 << 20)), 2)
    bounded(lambda: survives(ihex.FORMAT, line(0, b"a") * 2 + b"\n" * (1 << 18), seconds=4), 4)


def test_hostile() -> None:
    data = line(0, b"a" * 16) + line(16, b"b" * 16) + line(0, b"\x10\0", 4) + line(0, b"c") + END
    for broken in mangled(data, count=500):
        survives(ihex.FORMAT, broken)
    data = b"S00600004844521B\nS1051000AABB85\nS5030001FB\nS9030000FC\n"
    for broken in mangled(data, count=500):
        survives(srec.FORMAT, broken)
