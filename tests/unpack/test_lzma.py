"""LZMA alone as firmware has it; what it shares with other streams is in test_streams."""

from __future__ import annotations

import lzma
import random
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

from assay.unpack import candidates
from assay.unpack.base import BytesSource, Claim, LimitReached, Limits, NotThisFormat, Reader, Window
from assay.unpack.lzma import FORMAT

from ..support.hostile import mangled, survives

CHANCE = random.Random(9)
RAW = CHANCE.randbytes(3000) + b"the quick brown fox " * 20_000 + CHANCE.randbytes(3000)
UNKNOWN = (1 << 64) - 1
DICTIONARIES = [size for power in range(12, 31) for size in (1 << power, 3 << power - 1)]


def packed(data: bytes, dictionary: int = 1 << 16, **properties: int) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, **properties}]
    return lzma.compress(data, lzma.FORMAT_ALONE, filters=filters)


def stated(data: bytes, *, dictionary: int | None = None, size: int = UNKNOWN) -> bytes:
    """Return a stream with other numbers in its header."""
    stands = int.from_bytes(data[1:5], "little") if dictionary is None else dictionary
    return data[:1] + struct.pack("<IQ", stands, size) + data[13:]


def opened(data: bytes, limits: Limits | None = None) -> Reader:
    return FORMAT.open(BytesSource(data), limits or Limits())


@pytest.mark.parametrize("size", [UNKNOWN, len(RAW)])
@pytest.mark.parametrize("dictionary", DICTIONARIES)
def test_every_dictionary_and_bytes_after_the_stream(dictionary: int, size: int) -> None:
    data = stated(packed(RAW), dictionary=dictionary, size=size)
    dump = b"\xff" * 333 + data + b"\0\0\0" + b"\xffwhat follows" * 9000
    assert FORMAT in candidates(data[:64])
    reader = FORMAT.open(Window(BytesSource(dump), 333, len(dump)), Limits())
    assert b"".join(reader.open(0)) == RAW
    assert reader.consumed == len(data)
    assert reader.claims() == [Claim(0, len(data), "stream"), Claim(len(data), 3, "padding")]
    known = None if size == UNKNOWN else size
    assert reader.detail == {"lc": 3, "lp": 0, "pb": 2, "dictionary": dictionary, "size": known}


@pytest.mark.parametrize(
    ("lc", "lp", "pb"), [(3, 0, 2), (0, 0, 2), (4, 0, 2), (3, 1, 2), (0, 2, 2), (1, 2, 2), (0, 0, 4)]
)
def test_properties_in_use(lc: int, lp: int, pb: int) -> None:
    data = packed(RAW, lc=lc, lp=lp, pb=pb)
    assert FORMAT in candidates(data[:64])
    assert b"".join(opened(data).open(0)) == RAW


@pytest.mark.skipif(shutil.which("7z") is None, reason="needs 7-Zip")
@pytest.mark.parametrize("follows", [b"", b"\0" * 9, b"\xff" * 9, bytes(range(1, 100))])
def test_a_known_size_without_an_end_mark(tmp_path: Path, follows: bytes) -> None:
    """As the LZMA SDK writes it; 7-Zip's archives hold such data from offset 32 on."""
    command = ["7z", "a", "-m0=lzma:d=64k:lc=3:lp=0:pb=2:eos=off", "-mhc=off", "-sidata", str(tmp_path / "x.7z")]
    subprocess.run(command, input=RAW, check=True, capture_output=True)
    archive = (tmp_path / "x.7z").read_bytes()
    data = archive[32 : 32 + int.from_bytes(archive[12:20], "little")]
    data = struct.pack("<BIQ", 0x5D, 1 << 16, len(RAW)) + data
    reader = opened(data + follows)
    assert b"".join(reader.open(0)) == RAW
    assert reader.consumed == len(data)


def test_a_dictionary_is_no_larger_than_what_it_holds() -> None:
    small = Limits(memory=32 << 20)
    for size in (UNKNOWN, len(RAW)):
        data = stated(packed(RAW), dictionary=3 << 29, size=size)
        reader = opened(data, small)
        assert b"".join(reader.open(0)) == RAW
        assert reader.detail["dictionary"] == 3 << 29


def test_data_that_need_the_whole_dictionary_reach_the_limit() -> None:
    noise = random.Random(4).randbytes(400_000)
    data = packed(noise + noise, dictionary=1 << 20)
    assert len(data) < 500_000
    out = bytearray()
    with pytest.raises(LimitReached, match="memory"):
        for chunk in opened(data, Limits(memory=17 << 20)).open(0):
            out += chunk
    assert out == (noise + noise)[: len(out)]
    assert len(out) >= 1 << 18
    assert b"".join(opened(data).open(0)) == noise + noise


@pytest.mark.parametrize(
    "data",
    [
        b"\xe1" + packed(RAW)[1:],  # properties of 225
        stated(packed(RAW), dictionary=(1 << 16) + 1),
        stated(packed(RAW), size=1 << 38),
        stated(packed(RAW), size=0),
        packed(RAW)[:13] + b"\1" + packed(RAW)[14:],  # the range coder's first byte
        packed(RAW)[:13] + bytes(5000),
        packed(RAW)[:17],
    ],
)
def test_headers_that_no_encoder_writes(data: bytes) -> None:
    with pytest.raises(NotThisFormat):
        opened(data)


def test_chance_matches_are_cheap() -> None:
    chance = random.Random(2)
    passed = 0
    begun = time.process_time()
    for number in range(400):
        head = struct.pack("<BIQB", 0x5D, DICTIONARIES[number % len(DICTIONARIES)], UNKNOWN, 0)
        try:
            opened(head + chance.randbytes(20_000))
            passed += 1
        except NotThisFormat:
            pass
    assert time.process_time() - begun < 1
    assert passed == 0


def test_damaged_streams() -> None:
    whole = packed(RAW[:20_000])
    for data in (whole, stated(whole, size=20_000), stated(whole, dictionary=3 << 29)):
        for broken in mangled(data, seed=5, count=40):
            survives(FORMAT, broken)
