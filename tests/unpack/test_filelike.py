from __future__ import annotations

import io
import os

import pytest

from assay.unpack.base import BytesSource, Window
from assay.unpack.filelike import SourceFile

DATA = bytes(range(256)) * 4


def test_it_reads_as_a_file_does() -> None:
    file, model = SourceFile(Window(BytesSource(b"xx" + DATA + b"yy"), 2, len(DATA))), io.BytesIO(DATA)
    assert (file.readable(), file.seekable(), file.get_size()) == (True, True, len(DATA))
    for offset, whence, size in [(0, 0, 10), (5, 1, 3), (-7, 2, 100), (2000, 0, 1), (1000, 0, -1), (3, 0, None)]:
        assert file.seek(offset, whence) == model.seek(offset, whence)
        assert file.read(size) == model.read(size)
        if offset != 2000:
            assert file.tell() == model.tell()


def test_no_read_is_larger_than_allowed() -> None:
    file = SourceFile(BytesSource(DATA), most=16)
    assert file.read(1 << 60) == DATA[:16]
    assert file.read() == DATA[16:32]


def test_no_position_before_the_start() -> None:
    with pytest.raises(ValueError, match="position -1"):
        SourceFile(BytesSource(DATA)).seek(-1, os.SEEK_SET)
