"""gzip, bzip2, xz, LZMA alone and Zstandard."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from assay.unpack import bzip2, identify, stream, xz, zstd
from assay.unpack import gzip as gz
from assay.unpack import lzma as alone
from assay.unpack.base import (
    CHUNK,
    BytesSource,
    Claim,
    Entry,
    FileSource,
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

RAW = random.Random(7).randbytes(40_000) + b"the quick brown fox\n" * 20_000


@dataclass(frozen=True)
class Kind:
    format: Format
    command: list[str]
    compress: Callable[[bytes], bytes]
    header: int
    concatenates: bool = True


KINDS = [
    Kind(gz.FORMAT, ["gzip", "-nc"], lambda data: gzip.compress(data, mtime=0), 10),
    Kind(bzip2.FORMAT, ["bzip2", "-c"], bz2.compress, 4),
    Kind(xz.FORMAT, ["xz", "-c"], lzma.compress, 12),
    Kind(alone.FORMAT, ["xz", "--format=lzma", "-c"], lambda d: lzma.compress(d, lzma.FORMAT_ALONE), 13, False),
    Kind(zstd.FORMAT, ["zstd", "-qc"], zstandard.ZstdCompressor(write_checksum=True).compress, 0),
]
every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.format.name)
joined = pytest.mark.parametrize("kind", [k for k in KINDS if k.concatenates], ids=lambda kind: kind.format.name)


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
def test_what_the_tool_wrote(kind: Kind, tmp_path: Path) -> None:
    if not shutil.which(kind.command[0]):
        pytest.skip(f"{kind.command[0]} is not installed")
    (tmp_path / "raw").write_bytes(RAW)
    (tmp_path / "packed").write_bytes(
        subprocess.run([*kind.command, tmp_path / "raw"], check=True, capture_output=True).stdout
    )
    size = (tmp_path / "packed").stat().st_size
    with (tmp_path / "packed").open("rb") as file:
        reader = identify(FileSource(file.fileno()), Limits())
        assert reader is not None
        assert reader.format is kind.format
        assert reader.format.stream
        assert list(reader.entries()) == [Entry(b"data", "regular", locator=0)] == list(reader.entries())
        assert (reader.consumed, reader.declared) == (None, None)
        (header,) = reader.claims()
        assert header.offset == 0
        assert header.length >= kind.header
        assert b"".join(reader.open(0)) == RAW == b"".join(reader.open(0))
        assert reader.consumed == size
        assert reader.claims() == [Claim(0, size, "stream")]
    with pytest.raises(Malformed):
        list(reader.open(1))


@every
@pytest.mark.parametrize("raw", [b"", b"x"])
def test_small(kind: Kind, raw: bytes) -> None:
    packed = kind.compress(raw)
    assert content(kind.format, packed) == (raw, None, len(packed))


@joined
def test_members_in_a_row_are_one_stream(kind: Kind) -> None:
    packed = kind.compress(RAW) + kind.compress(b"") + kind.compress(b"second")
    assert content(kind.format, packed) == (RAW + b"second", None, len(packed))


@every
@pytest.mark.parametrize("after", [b"\0\0junk", b"junk", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ", b"\x28\xb5\x2f\xfe"])
def test_what_follows_is_left_alone(kind: Kind, after: bytes) -> None:
    packed = kind.compress(RAW)
    reader = kind.format.open(BytesSource(packed + after), Limits())
    assert b"".join(reader.open(0)) == RAW
    assert reader.consumed == len(packed)
    padding = len(after) - len(after.lstrip(b"\0"))
    assert reader.claims() == [Claim(0, len(packed), "stream")] + (
        [Claim(len(packed), padding, "padding")] * (padding > 0)
    )


@every
def test_zero_padding_is_claimed_as_such(kind: Kind) -> None:
    packed = kind.compress(b"x" * 100)
    reader = kind.format.open(BytesSource(packed + bytes(3 * CHUNK)), Limits())
    assert b"".join(reader.open(0)) == b"x" * 100
    assert reader.claims() == [Claim(0, len(packed), "stream"), Claim(len(packed), 3 * CHUNK, "padding")]


def test_xz_streams_may_have_padding_between_and_others_not() -> None:
    for kind in KINDS:
        one = kind.compress(b"one")
        out, error, used = content(kind.format, one + bytes(8) + kind.compress(b"two"))
        assert error is None
        whole = kind.format is xz.FORMAT
        assert out == (b"onetwo" if whole else b"one")
        assert (used == len(one)) is not whole
    odd = lzma.compress(b"one") + bytes(7)
    assert content(xz.FORMAT, odd + lzma.compress(b"two")) == (b"one", None, len(odd) - 7)


@every
def test_cut_anywhere_gives_what_came_before_and_says_so(kind: Kind) -> None:
    packed = kind.compress(RAW)
    for size in {*range(14, len(packed), len(packed) // 40), *range(len(packed) - 12, len(packed))}:
        try:
            out, error, used = content(kind.format, packed[:size])
        except UnpackError as at_once:
            assert isinstance(at_once, Truncated | Malformed)
            continue
        except NotThisFormat:
            assert kind.format is alone.FORMAT
            continue
        assert isinstance(error, Truncated), (size, error)
        assert used is None
        assert RAW.startswith(out)
        if kind.format in (gz.FORMAT, alone.FORMAT, xz.FORMAT) and size > 20_000:
            assert len(out) > size // 2


def test_a_wrong_check_costs_at_most_the_last_byte() -> None:
    for kind in (KINDS[0], KINDS[2], KINDS[4]):
        packed = bytearray(kind.compress(RAW))
        index = 12 + (int.from_bytes(packed[-8:-4], "little") + 1) * 4  # of xz: footer and what it says of the index
        packed[{"gzip": -6, "xz": -index - 1, "zstd": -2}[kind.format.name]] ^= 0x40
        out, error, used = content(kind.format, bytes(packed))
        assert out == (RAW[:-1] if kind.format is xz.FORMAT else RAW)
        assert isinstance(error, Malformed)
        assert used is None
    good, bad = bz2.compress(RAW), bytearray(bz2.compress(b"second"))
    bad[-12] ^= 1
    out, error, _ = content(bzip2.FORMAT, good + bytes(bad))
    assert out.startswith(RAW)
    assert isinstance(error, Malformed)


def test_damage_in_the_middle_costs_nothing_before_it() -> None:
    packed = bytearray(gzip.compress(RAW))
    packed[20_000] ^= 0xFF
    whole = zlib.decompressobj(31)
    expected = whole.decompress(bytes(packed[:20_000]))
    out, error, _ = content(gz.FORMAT, bytes(packed))
    assert isinstance(error, Malformed)
    assert out.startswith(expected)


def test_gzip_header(tmp_path: Path) -> None:
    body = gzip.compress(RAW, mtime=0)[10:]
    fixed = b"\x1f\x8b\x08" + bytes([2 | 4 | 8 | 16]) + struct.pack("<IBB", 1_600_000_000, 2, 3)
    header = fixed + b"\x04\x00abcd" + b"../n\xe4me\n\0" + b"a note\0"
    header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
    reader = gz.FORMAT.open(BytesSource(header + body), Limits())
    assert list(reader.entries()) == [
        Entry(b"../n\xe4me\n", "regular", locator=0, mtime=1_600_000_000 * 10**9),
    ]
    assert reader.detail == {"system": 3, "extra_flags": 2, "comment": "a note"}
    assert reader.claims() == [Claim(0, len(header), "header")]
    assert b"".join(reader.open(0)) == RAW
    wrong = bytearray(header)
    wrong[-1] ^= 1
    with pytest.raises(Malformed, match="wrong CRC"):
        gz.FORMAT.open(BytesSource(bytes(wrong) + body), Limits())
    with pytest.raises(Malformed, match="no end"):
        gz.FORMAT.open(BytesSource(fixed[:3] + b"\x08" + fixed[4:] + b"n" * 100_000), Limits())


@pytest.mark.parametrize(
    ("format", "data"),
    [
        (gz.FORMAT, b"\x1f\x8b\x08\xe0" + bytes(20)),
        (gz.FORMAT, b"\x1f\x8b\x08\x00" + bytes(6) + b"\x07" + bytes(9)),
        (bzip2.FORMAT, b"BZh9 is a text"),
        (bzip2.FORMAT, b"BZh0" + bytes.fromhex("314159265359")),
        (alone.FORMAT, b"\x5d\0\0\x80\0" + b"\xff" * 8 + b"\x01" + bytes(100)),
        (alone.FORMAT, b"\x5d\0\0\x81\0" + b"\xff" * 8 + bytes(100)),
        (alone.FORMAT, b"\x5d\0\0\x80\0" + b"\xff" * 7 + b"\x7f" + bytes(100)),
        (alone.FORMAT, b"\x5d\0\0\x80\0" + b"\xff" * 8 + b"\0" + random.Random(3).randbytes(200_000)),
        (zstd.FORMAT, b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"abcd" + b"nothing"),
    ],
)
def test_only_looks_like_it(format: Format, data: bytes) -> None:
    with pytest.raises(NotThisFormat):
        format.open(BytesSource(data), Limits())


def test_lzma_with_known_size_and_without() -> None:
    known = bytearray(lzma.compress(RAW, lzma.FORMAT_ALONE))
    reader = alone.FORMAT.open(BytesSource(bytes(known)), Limits())
    assert reader.detail == {"lc": 3, "lp": 0, "pb": 2, "dictionary": 1 << 23, "size": None}
    known[5:13] = struct.pack("<Q", len(RAW))
    reader = alone.FORMAT.open(BytesSource(bytes(known)), Limits())
    assert reader.detail["size"] == len(RAW)
    assert b"".join(reader.open(0)) == RAW


def test_zstd_frames() -> None:
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(RAW)
    skippable = b"\x5f\x2a\x4d\x18" + struct.pack("<I", 5) + b"12345"
    packed = skippable + frame + skippable + frame + skippable
    reader = zstd.FORMAT.open(BytesSource(packed), Limits())
    assert b"".join(reader.open(0)) == RAW + RAW
    assert reader.consumed == len(packed)
    assert reader.detail["size"] == len(RAW)
    assert reader.detail["check"] is True
    cut = packed[:-1]
    assert content(zstd.FORMAT, cut)[1:] == (None, len(packed) - len(skippable))


def test_zstd_dictionary_is_not_read() -> None:
    dictionary = zstandard.ZstdCompressionDict(b"the quick brown fox" * 50, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    frame = bytearray(zstandard.ZstdCompressor(dict_data=dictionary).compress(b"the quick"))
    frame[4] = frame[4] & 0xFC | 1
    frame.insert(5 + (not frame[4] & 0x20), 77)
    out, error, _ = content(zstd.FORMAT, bytes(frame))
    assert (out, repr(error)) == (b"", repr(Unsupported("the frame at offset 0 needs dictionary 77")))


def test_dictionaries_and_windows_ask_for_no_more_than_their_share() -> None:
    limits = Limits(memory=64 << 20)
    big = lzma.compress(b"x", preset=9)  # a dictionary of 64 MiB
    huge = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    ).compressobj()
    frames = [(xz.FORMAT, big), (zstd.FORMAT, huge.compress(b"x") + huge.flush())]
    for format, packed in frames:
        out, error, used = content(format, packed, limits)
        assert (out, repr(error), used) == (b"", repr(LimitReached("memory", 64 << 20)), None)
        assert content(format, packed) == (b"x", None, len(packed))
    packed = lzma.compress(b"x", lzma.FORMAT_ALONE, preset=9)
    assert content(alone.FORMAT, packed, limits) == (b"x", None, len(packed))  # needs no more than it holds
    single = b"\x28\xb5\x2f\xfd" + b"\xe0" + struct.pack("<Q", 1 << 40) + b"\x01\0\0"
    assert isinstance(content(zstd.FORMAT, single)[1], LimitReached)


def test_bomb_stops_at_the_ratio_and_costs_little() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    mebibyte = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    bomb = b"\x1f\x8b\x08" + bytes(7) + mebibyte * 1500
    assert 1_400_000 < len(bomb) < 1_600_000

    def work() -> None:
        size, error = 0, None
        try:
            for chunk in gz.FORMAT.open(BytesSource(bomb), Limits()).open(0):
                size += len(chunk)
        except LimitReached as reached:
            error = reached
        assert error is not None
        assert error.name == "ratio"
        assert size <= 250 * len(bomb)

    bounded(work, 3)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.format.name)
def test_every_kind_of_bomb_stops(kind: Kind) -> None:
    limits = Limits(ratio=20, ratio_from=1 << 20)
    out, error, _ = content(kind.format, kind.compress(bytes(8 << 20)), limits)
    assert isinstance(error, LimitReached)
    assert len(out) <= CHUNK
    few = Limits(entry_bytes=1 << 20)
    assert isinstance(content(kind.format, kind.compress(bytes(8 << 20)), few)[1], LimitReached)


def test_zstd_block_by_block_when_every_block_is_a_bomb() -> None:
    block = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"z"
    frame = b"\x28\xb5\x2f\xfd" + b"\x00\x58" + block * 5000 + b"\x01\0\0"
    out, error, _ = content(zstd.FORMAT, frame, Limits(ratio_from=4 << 20, ratio=100))
    assert isinstance(error, LimitReached)
    assert set(out) == {ord("z")}


@every
def test_hostile(kind: Kind) -> None:
    small = random.Random(5).randbytes(600) + b"some words, some more words\n" * 200
    packed = kind.compress(small)
    for broken in mangled(packed * (2 if kind.concatenates else 1), count=120):
        survives(kind.format, broken)
    for broken in mangled(packed, count=80, seed=2, hot=range(24)):
        survives(kind.format, broken)


@every
@given(raw=st.binary(max_size=3000), piece=st.integers(1, 700))
def test_any_bytes_in_any_pieces(kind: Kind, raw: bytes, piece: int) -> None:
    before, stream.PIECE = stream.PIECE, piece
    try:
        packed = kind.compress(raw)
        assert content(kind.format, packed + b"!") == (raw, None, len(packed))
    finally:
        stream.PIECE = before
