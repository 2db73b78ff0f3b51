"""LZ4 streams, as the lz4 tool writes them."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess

import lz4.frame
import pytest

from assay.unpack import identify, lz4_frame
from assay.unpack.base import (
    CHUNK,
    BytesSource,
    Claim,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Truncated,
    UnpackError,
    Unsupported,
    Window,
)
from assay.unpack.carved import Carved

from ..support.hostile import bounded, mangled, survives

CHANCE = random.Random(7)
RAW = CHANCE.randbytes(40_000) + b"".join(b"line %d\n" % number for number in range(60_000)) + bytes(300_000)
BIG = b"".join(b"line %d of something longer\n" % number for number in range(700_000))
"""More than two blocks of the older kind."""


def packed(raw: bytes, *options: str) -> bytes:
    tool = shutil.which("lz4")
    if tool is None:
        pytest.skip("lz4 is not installed")
    return subprocess.run([tool, "-c", *options], input=raw, check=True, capture_output=True).stdout


def read(data: bytes, limits: Limits | None = None) -> tuple[bytes, UnpackError | None, int | None]:
    """What comes out, the error that ended it, and how much was used."""
    reader = lz4_frame.FORMAT.open(BytesSource(data), limits or Limits())
    out = []
    try:
        for chunk in reader.open(0):
            assert 0 < len(chunk) <= CHUNK
            out.append(chunk)
    except UnpackError as error:
        return b"".join(out), error, reader.consumed
    return b"".join(out), None, reader.consumed


@pytest.mark.parametrize("raw", [b"", b"x", b"x" * 5_000_000, RAW], ids=["empty", "one", "long", "mixed"])
@pytest.mark.parametrize(
    "options", [("-1",), ("-9", "-BX"), ("-B4", "-BD"), ("--no-frame-crc",), ("--content-size",), ("-l",)]
)
def test_what_the_tool_wrote(raw: bytes, options: tuple[str, ...]) -> None:
    data = packed(raw, *options)
    if options == ("-l",) and not raw:
        pytest.skip("an empty stream of the older kind is its magic alone")
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is lz4_frame.FORMAT
    assert read(data) == (raw, None, len(data))
    bigger = Window(BytesSource(RAW[:1001] + data + b"\xff" * 100), 1001, 1 << 40)
    inside = lz4_frame.FORMAT.open(bigger, Limits())
    assert inside.claims() == [Claim(0, inside.claims()[0].length, "header")]
    assert b"".join(inside.open(0)) == raw
    assert inside.claims() == [Claim(0, len(data), "stream")]


def test_what_the_header_says() -> None:
    reader = lz4_frame.FORMAT.open(BytesSource(lz4.frame.compress(RAW, block_checksum=True, store_size=True)), Limits())
    assert reader.detail == {
        "variant": "frame",
        "independent_blocks": False,
        "block_checksums": True,
        "content_checksum": False,
        "content_bytes": len(RAW),
    }
    assert reader.claims() == [Claim(0, 15, "header")]


def test_the_older_kind_ends_where_its_blocks_do() -> None:
    data = packed(BIG, "-l")
    assert len(BIG) > 16 << 20
    for after in (b"", b"\0\0\0\0", b"\xff" * 20, struct.pack("<I", len(BIG)), b"\x10\0\0\0" + RAW[:100]):
        assert read(data + after) == (BIG, None, len(data))
    assert read(data + packed(b"second", "-l")) == (BIG + b"second", None, len(data) + len(packed(b"second", "-l")))
    whole = packed(bytes(8 << 20), "-l")
    assert read(whole + bytes(16)) == (bytes(8 << 20), None, len(whole))


def test_frames_in_a_row() -> None:
    one, two = packed(RAW), packed(b"second")
    skipped = b"\x5a\x2a\x4d\x18" + struct.pack("<I", 5) + b"hello"
    assert read(one + skipped * 2 + two) == (RAW + b"second", None, len(one + skipped * 2 + two))
    for after in (b"junk", bytes(100), one[:3], skipped, b"\x04\x22\x4d\x18" + bytes(30)):
        assert read(one + after) == (RAW, None, len(one))


@pytest.mark.parametrize("option", ["-B4", "-l"])
def test_cuts_and_damage(option: str) -> None:
    raw = BIG if option == "-l" else RAW
    data = packed(raw, option)
    for size in range(100, len(data), len(data) // 20):
        out, error, used = read(data[:size])
        assert isinstance(error, Truncated)
        assert raw.startswith(out)
        assert used is None
    broken = bytearray(packed(RAW, "-BX"))
    broken[20_000] ^= 1
    _, error, _ = read(bytes(broken))
    assert isinstance(error, Malformed)


def test_what_is_not_read() -> None:
    frame = lz4.frame.compress(RAW)
    with pytest.raises(NotThisFormat):
        lz4_frame.FORMAT.open(BytesSource(frame[:6] + b"\0" + frame[7:]), Limits())
    for length in (0, 0xFFFFFFFF, 9 << 20):
        with pytest.raises(NotThisFormat):
            lz4_frame.FORMAT.open(BytesSource(b"\x02\x21\x4c\x18" + struct.pack("<I", length) + bytes(90)), Limits())
    # magic, version and dictionary flags, block size, dictionary number, checksum (of XXH32, found by trying)
    heads = (b"\x04\x22\x4d\x18\x61\x40" + b"dict" + bytes((check,)) + bytes(20) for check in range(256))
    seen = 0
    for head in heads:
        try:
            lz4_frame.FORMAT.open(BytesSource(head), Limits())
        except Unsupported:
            seen += 1
        except NotThisFormat:
            pass
    assert seen == 1


def test_a_bomb_is_stopped() -> None:
    data = packed(bytes(64 << 20), "-l")
    _, error, _ = read(data, Limits(ratio=10, ratio_from=1 << 20))
    assert isinstance(error, LimitReached)


def test_one_in_a_kernel_is_found() -> None:
    data = packed(RAW, "-l")
    image = CHANCE.randbytes(5001) + data + struct.pack("<I", len(RAW)) + CHANCE.randbytes(3000)
    found = [(item.path, item.size) for item in Carved(BytesSource(image), Limits()).entries() if hasattr(item, "size")]
    assert (b"0x00001389.lz4", len(data)) in found


def test_whatever_is_broken_is_told() -> None:
    raw = RAW[39_000:60_000]
    for options in ((), ("-BX",), ("-l",)):
        data = packed(raw, *options)
        for broken in mangled(data, count=100):
            survives(lz4_frame.FORMAT, broken)
        for broken in mangled(data, count=100, hot=range(16)):
            survives(lz4_frame.FORMAT, broken)
    empty = b"\x50\x2a\x4d\x18" + bytes(4)
    bounded(lambda: survives(lz4_frame.FORMAT, packed(b"x") + empty * 300_000), 2.0)
