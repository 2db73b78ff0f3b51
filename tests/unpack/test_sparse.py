"""Android sparse images: what img2simg makes, read as simg2img reads it, and kinds of chunks that it does not write."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
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
    Window,
)
from assay.unpack.sparse import FORMAT

from ..support.hostile import bounded, mangled, survives

needs_simg = pytest.mark.skipif(
    not (shutil.which("img2simg") and shutil.which("simg2img")), reason="needs img2simg (android-sdk-libsparse-utils)"
)
NOISE = random.Random(6).randbytes(1 << 16)


def chunk(kind: int, blocks: int, data: bytes = b"") -> bytes:
    return struct.pack("<2H2I", kind, 0, blocks, 12 + len(data)) + data


def sparse(*chunks: bytes, blocks: int, count: int | None = None) -> bytes:
    return struct.pack("<I4H4I", 0xED26FF3A, 1, 0, 28, 12, 4096, blocks, count or len(chunks), 0) + b"".join(chunks)


def read(data: bytes, limits: Limits | None = None) -> bytes:
    return b"".join(FORMAT.open(BytesSource(data), limits or Limits()).open(0))


@needs_simg
def test_what_img2simg_makes(tmp_path: Path) -> None:
    raw = NOISE + bytes(3 << 20) + b"\x07\0\0\0" * 4096 + NOISE[:8192] + bytes(4096)
    (tmp_path / "raw").write_bytes(raw)
    subprocess.run(["img2simg", "raw", "sparse"], cwd=tmp_path, check=True)
    subprocess.run(["simg2img", "sparse", "back"], cwd=tmp_path, check=True)
    data = (tmp_path / "sparse").read_bytes()
    assert len(data) < len(raw) // 10
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    assert list(reader.entries()) == [Entry(b"image", "regular", locator=0, size=len(raw))]
    assert read(data) == (tmp_path / "back").read_bytes() == raw
    assert reader.detail == {
        "version": "1.0",
        "block_bytes": 4096,
        "blocks": len(raw) // 4096,
        "chunks": reader.detail["chunks"],
        "crc32": None,
        "raw_bytes": len(NOISE) + 8192,
        "fill_bytes": len(raw) - len(NOISE) - 8192,
        "hole_bytes": 0,
    }
    inside = FORMAT.open(Window(BytesSource(b"z" * 11 + data + b"z" * 5000), 11, 1 << 40), Limits())
    assert len(list(inside.entries())) == 1
    assert b"".join(inside.open(0)) == raw
    assert inside.claims() == reader.claims() == [Claim(0, 28, "header"), Claim(28, len(data) - 28, "chunks")]


def test_holes_and_checksums() -> None:
    raw = NOISE[:8192] + b"abcd" * 1024 + bytes(8192)
    crc = struct.pack("<I", zlib.crc32(raw))
    good = sparse(
        chunk(0xCAC1, 2, NOISE[:8192]), chunk(0xCAC2, 1, b"abcd"), chunk(0xCAC3, 2), chunk(0xCAC4, 0, crc), blocks=5
    )
    assert read(good) == raw
    reader = FORMAT.open(BytesSource(good), Limits())
    assert len(list(reader.entries())) == 1
    assert (reader.detail["raw_bytes"], reader.detail["fill_bytes"], reader.detail["hole_bytes"]) == (8192, 4096, 8192)
    wrong = good[:-1] + bytes([good[-1] ^ 1])
    out = []
    with pytest.raises(Malformed, match="CRC-32"):
        for piece in FORMAT.open(BytesSource(wrong), Limits()).open(0):
            out.append(piece)  # noqa: PERF402 - what came before the error counts
    assert b"".join(out) == raw


def test_broken_chunks() -> None:
    for data, error in (
        (sparse(chunk(0xCAC3, 1), chunk(0xCAC5, 1), blocks=2), Malformed),
        (sparse(chunk(0xCAC1, 2, NOISE[:4096]), blocks=2), Malformed),
        (sparse(chunk(0xCAC3, 3), blocks=2), Malformed),
        (sparse(chunk(0xCAC3, 1), blocks=2), Malformed),
        (sparse(chunk(0xCAC3, 1), blocks=2, count=5), Truncated),
        (sparse(chunk(0xCAC1, 2, NOISE[:8192]), blocks=2)[:-100], Truncated),
    ):
        entry, problem = FORMAT.open(BytesSource(data), Limits()).entries()
        assert isinstance(entry, Entry)
        assert isinstance(problem, Problem)
        assert problem.entries == 0
        with pytest.raises(error):
            read(data)
    cut = sparse(chunk(0xCAC1, 2, NOISE[:8192]), blocks=2)[:-100]
    reader = FORMAT.open(BytesSource(cut), Limits())
    out = []
    with pytest.raises(Truncated):
        for piece in reader.open(0):
            out.append(piece)  # noqa: PERF402 - what came before the error counts
    assert b"".join(out) == NOISE[: 8192 - 100]
    assert sum(claim.length for claim in reader.claims()) == len(cut)


def test_nothing_costs_what_it_claims() -> None:
    bomb = sparse(chunk(0xCAC3, (1 << 32) - 1), blocks=(1 << 32) - 1)
    with pytest.raises(LimitReached):
        bounded(lambda: [len(piece) for piece in FORMAT.open(BytesSource(bomb), Limits()).open(0)], 2)
    empty = sparse(*[chunk(0xCAC3, 0)] * 100_000, blocks=0)
    bounded(lambda: list(FORMAT.open(BytesSource(empty), Limits()).entries()), 2)
    with pytest.raises(Malformed):
        FORMAT.open(BytesSource(empty), Limits()).open(1)


def test_a_header_longer_than_the_image_claims_no_more_than_there_is() -> None:
    data = bytearray(sparse(chunk(0xCAC1, 1, NOISE[:300]), blocks=1))
    struct.pack_into("<H", data, 8, 1052)
    reader = FORMAT.open(BytesSource(bytes(data)), Limits())
    assert sum(claim.length for claim in reader.claims()) == len(data)


def test_only_the_magic() -> None:
    for data in (b"\x3a\xff\x26\xed", b"\x3a\xff\x26\xed" + NOISE):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(data), Limits())


def test_hostile() -> None:
    crc = struct.pack("<I", 1)
    data = sparse(
        chunk(0xCAC1, 1, NOISE[:4096]), chunk(0xCAC2, 1, b"abcd"), chunk(0xCAC4, 0, crc), chunk(0xCAC3, 2), blocks=4
    )
    hot = range(4136, len(data))
    for broken in (*mangled(data, count=300, hot=range(40)), *mangled(data, count=300, hot=hot)):
        survives(FORMAT, broken)
