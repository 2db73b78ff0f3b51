"""lzip, lzop and compress: streams that the standard library does not write, so their own tools do."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from assay.unpack import compress, identify, lzip, lzop
from assay.unpack.base import (
    CHUNK,
    BytesSource,
    Claim,
    Entry,
    Format,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Truncated,
    UnpackError,
    Unsupported,
)

from ..support.hostile import bounded, mangled, survives

CHANCE = random.Random(7)
WORDS = [b"%d" % CHANCE.randrange(1 << 30) for _ in range(300)]
RAW = CHANCE.randbytes(40_000) + b" ".join(CHANCE.choice(WORDS) for _ in range(60_000)) + bytes(300_000)

TOOLS = {"lzip": ["lzip", "-c"], "lzop": ["lzop", "-c"], "compress": ["compress", "-cf"]}
FORMATS = {"lzip": lzip.FORMAT, "lzop": lzop.FORMAT, "compress": compress.FORMAT}
every = pytest.mark.parametrize("name", TOOLS)
checked = pytest.mark.parametrize("name", ["lzip", "lzop"])


def packed(name: str, raw: bytes, *options: str) -> bytes:
    tool = shutil.which(TOOLS[name][0])
    if tool is None:
        pytest.skip(f"{name} is not installed")
    return subprocess.run([tool, *TOOLS[name][1:], *options], input=raw, check=True, capture_output=True).stdout


def content(format: Format, data: bytes, limits: Limits | None = None) -> tuple[bytes, UnpackError | None, int | None]:
    """Return what comes out, the error that ended it, and how much was used."""
    reader = format.open(BytesSource(data), limits or Limits())
    out = []
    try:
        for chunk in reader.open(0):
            assert 0 < len(chunk) <= CHUNK
            out.append(chunk)
    except UnpackError as error:
        return b"".join(out), error, reader.consumed
    return b"".join(out), None, reader.consumed


@every
@pytest.mark.parametrize("raw", [b"", b"x", b"xx", b"x" * 5_000_000, RAW], ids=["empty", "one", "two", "long", "mixed"])
def test_what_the_tool_wrote(name: str, raw: bytes) -> None:
    data = packed(name, raw)
    if name == "compress" and not raw:
        data = b"\x1f\x9d\x90"
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMATS[name]
    assert [entry.path for entry in reader.entries() if isinstance(entry, Entry)] == [b"data"]
    assert content(FORMATS[name], data) == (raw, None, len(data))
    assert b"".join(reader.open(0)) == raw
    assert reader.claims() == [Claim(0, len(data), "stream")]


@pytest.mark.parametrize("bits", range(10, 17))
def test_all_widths_of_codes(bits: int) -> None:
    data = packed("compress", RAW, "-b", str(bits))
    assert data[2] & 31 == bits
    assert content(compress.FORMAT, data)[0] == RAW
    again = RAW + CHANCE.randbytes(300_000) + RAW  # what makes the tool clear its table
    assert content(compress.FORMAT, packed("compress", again, "-b", str(bits)))[0] == again


@pytest.mark.parametrize("option", ["-1", "-3", "-9", "-F", "--crc32", "--no-checksum"])
def test_all_kinds_of_lzop(option: str) -> None:
    assert content(lzop.FORMAT, packed("lzop", RAW, option))[:2] == (RAW, None)


def test_lzop_keeps_name_and_time(tmp_path: Path) -> None:
    if not shutil.which("lzop"):
        pytest.skip("lzop is not installed")
    path = tmp_path / "a name"
    path.write_bytes(b"hello")
    path.chmod(0o640)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    subprocess.run(["lzop", "-9", path], check=True)
    reader = lzop.FORMAT.open(BytesSource((tmp_path / "a name.lzo").read_bytes()), Limits())
    assert list(reader.entries()) == [Entry(b"a name", "regular", locator=0, mtime=1_600_000_000 * 10**9)]
    assert reader.detail["method"] == "lzo1x_999"
    assert reader.detail["mode"] == 0o100640


@checked
def test_members_in_a_row_and_what_follows(name: str) -> None:
    one, two = packed(name, RAW), packed(name, b"second")
    assert content(FORMATS[name], one + two) == (RAW + b"second", None, len(one + two))
    for after in (b"junk", b"\0" * 100, one[:3], b"\x89LZO\0\r\n\x1a\nnot a header" + b"\0" * 100, b"LZIP\x01\xff"):
        assert content(FORMATS[name], one + after) == (RAW, None, len(one))


@checked
def test_cut_anywhere_gives_what_came_before_and_says_so(name: str) -> None:
    data = packed(name, RAW)
    for size in range(60, len(data), len(data) // 50):
        out, error, used = content(FORMATS[name], data[:size])
        assert isinstance(error, Truncated), (size, error)
        assert used is None
        assert RAW.startswith(out)


@checked
def test_damage_is_noticed(name: str) -> None:
    data = packed(name, RAW)
    for at in range(70, len(data), len(data) // 5):
        broken = bytearray(data)
        broken[at] ^= 0x10
        out, error, _ = content(FORMATS[name], bytes(broken))
        assert isinstance(error, UnpackError), at
        assert error.reason in ("malformed", "truncated")
        assert RAW.startswith(out) or name == "lzip"  # its only check is at the end


def test_lzip_trailer() -> None:
    data = packed("lzip", b"hello")
    for at, said in ((-20, "CRC-32"), (-12, "lengths"), (-8, "lengths")):
        broken = bytearray(data)
        broken[at] ^= 1
        out, error, _ = content(lzip.FORMAT, bytes(broken))
        assert isinstance(error, Malformed)
        assert said in str(error)
        assert out == b"hello"


def test_what_cannot_be_read_is_said() -> None:
    old = bytearray(packed("lzip", b"hello"))
    old[4] = 0
    with pytest.raises(Unsupported):
        lzip.FORMAT.open(BytesSource(bytes(old)), Limits())
    big = bytearray(packed("lzip", b"hello"))
    big[5] = 29
    assert isinstance(content(lzip.FORMAT, bytes(big), Limits(memory=64 << 20))[1], LimitReached)
    header = bytearray(packed("lzop", b"hello"))
    header[15] = 9  # method
    end = 9 + 25 + header[33]
    struct.pack_into(">I", header, end, zlib.adler32(bytes(header[9:end])))
    out, error, _ = content(lzop.FORMAT, bytes(header))
    assert (out, repr(error)) == (b"", repr(Unsupported("method 9")))
    header[20] ^= 1
    with pytest.raises(Malformed, match="checksum"):
        lzop.FORMAT.open(BytesSource(bytes(header)), Limits())


@pytest.mark.parametrize(
    ("format", "data"),
    [
        (lzip.FORMAT, b"LZIP is a compressor"),
        (lzip.FORMAT, b"LZIP\x01\x0b\0"),
        (lzip.FORMAT, b"LZIP\x01\x14\x01"),
        (lzop.FORMAT, b"\x89LZO\r\n\x1a\n\0"),
        (compress.FORMAT, b"\x1f\x9d\x88abc"),
        (compress.FORMAT, b"\x1f\x9d\xf0abc"),
        (compress.FORMAT, b"\x1f\x9d\x90" + b"\xff" * 100),
        (compress.FORMAT, b"\x1f\x9d\x90" + random.Random(3).randbytes(600)),
    ],
)
def test_only_looks_like_it(format: Format, data: bytes) -> None:
    with pytest.raises(NotThisFormat):
        format.open(BytesSource(data), Limits())


def test_two_bytes_are_not_looked_for_everywhere() -> None:
    assert not compress.FORMAT.anywhere


@every
def test_every_kind_of_bomb_stops(name: str) -> None:
    data = packed(name, bytes(16 << 20))

    def work() -> None:
        limits = Limits(ratio=20, ratio_from=1 << 20)
        out, error, _ = content(FORMATS[name], data, limits)
        assert isinstance(error, LimitReached)
        assert len(out) <= max(2 * CHUNK, 20 * len(data))

    bounded(work, 3)
    assert isinstance(content(FORMATS[name], data, Limits(entry_bytes=2 << 20))[1], LimitReached)


@every
def test_hostile(name: str) -> None:
    small = CHANCE.randbytes(600) + b"some words, some more words\n" * 200
    data = packed(name, small)
    for broken in mangled(data * 2, count=120):
        survives(FORMATS[name], broken)
    for broken in mangled(data, count=80, seed=2, hot=range(min(60, len(data)))):
        survives(FORMATS[name], broken)
