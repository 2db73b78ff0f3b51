"""What a container states and a record cannot hold: told, and in no one's way."""

from __future__ import annotations

import struct
from pathlib import Path

from assay.examine.listing import fitted, stated
from assay.record import Record
from assay.unpack.base import Entry, Problem

from ..unpack.test_md import member
from ..unpack.test_yaffs import FILE, Image
from .support import examined, rows, unread


def test_numbers_that_fit_are_left_alone() -> None:
    entry = Entry(b"x", "regular", 1, (1 << 63) - 1, 0o644, 0, 0, mtime=-(1 << 63), inode=5)
    assert fitted(entry) is None
    assert (entry.size, entry.mtime) == ((1 << 63) - 1, -(1 << 63))


def test_numbers_that_do_not_fit_are_told() -> None:
    entry = Entry(b"x", "regular", 1, -1, mtime=1 << 63, ctime=-(1 << 63) - 1, uid=7)
    said = f"states size -1, mtime {1 << 63}, ctime {-(1 << 63) - 1}, beyond what a record can hold"
    assert fitted(entry) == Problem("malformed", said, b"x", 0)
    assert entry == Entry(b"x", "regular", 1, uid=7)
    assert stated({"a": 1 << 70, "b": True, "c": None, "d": -5}) == {"a": str(1 << 70), "b": True, "c": None, "d": -5}


def test_a_size_beyond_a_record_costs_no_examination(tmp_path: Path) -> None:
    image = Image()
    image.header(257, FILE, 1, b"vast", 0o100644, size=0xFFFFFFFE)
    image.data = image.data[:496] + struct.pack("<I", 0xFFFFFFF0) + image.data[500:]  # the high part of the size
    image.file(258, 1, b"whole", b"as it was")
    (tmp_path / "image").write_bytes(image.data)
    examined(tmp_path / "image", tmp_path / "record")
    sizes = dict(rows(tmp_path / "record", "SELECT path, size FROM file WHERE type = 'regular' AND container = 1"))
    assert sizes["/whole"] == 9
    assert all(size is None or 0 <= size < 1 << 63 for size in sizes.values())
    with Record(tmp_path / "record") as record:
        said = record.db.execute("SELECT detail FROM unread WHERE path = '/vast'").fetchall()
    assert (f"states size {0xFFFFFFF0FFFFFFFE}, beyond what a record can hold",) in said


def test_a_time_beyond_a_record_costs_no_examination(tmp_path: Path) -> None:
    data = bytearray(member("1.1"))
    struct.pack_into("<Q", data, 64, (1 << 39) - 1)
    total = sum(struct.unpack("<128I", data[:512])) - struct.unpack_from("<I", data, 216)[0]
    struct.pack_into("<I", data, 216, (total & 0xFFFFFFFF) + (total >> 32) & 0xFFFFFFFF)
    (tmp_path / "image").write_bytes(data)
    examined(tmp_path / "image", tmp_path / "record")
    assert rows(tmp_path / "record", "SELECT detail ->> 'created' FROM container WHERE format = 'md'") == [
        (str(((1 << 39) - 1) * 10**9),)
    ]
    assert not unread(tmp_path / "record")
