"""ARJ archives, made by arj."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from assay.unpack import arj, identify
from assay.unpack.base import (
    BytesSource,
    Claim,
    Encrypted,
    Entry,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Truncated,
    UnpackError,
    Unsupported,
)

from ..support.archives import NOISE, content, contents, stands, tree
from ..support.hostile import mangled, survives
from ..support.sevenzip import listing


def packed(folder: Path, *options: str, name: str = "made.arj", what: str = "dir") -> bytes:
    tool = shutil.which("arj")
    if tool is None:
        pytest.skip("arj is not installed")
    subprocess.run([tool, "a", "-r", "-y", *options, name, what], cwd=folder, check=True, capture_output=True)
    return (folder / name).read_bytes()


def header(kind: int, name: bytes, data: bytes = b"", **more: int) -> bytes:
    """A header as a system other than Unix writes it, with the data."""
    fixed = struct.pack(
        "<8B4I2H2B",
        30,
        11,
        1,
        more.get("host", 0),
        more.get("flags", 0),
        more.get("method", 0),
        kind,
        0,
        0x586F6B20,
        len(data),
        len(data),
        zlib.crc32(data),
        0,
        0x21,
        0,
        0,
    )
    raw = fixed + name + b"\0\0"
    return b"\x60\xea" + struct.pack("<H", len(raw)) + raw + struct.pack("<IH", zlib.crc32(raw), 0) + data


END = b"\x60\xea\0\0"


@pytest.mark.parametrize("method", [0, 1, 2, 3])
def test_every_method(tmp_path: Path, method: int) -> None:
    expected = tree(tmp_path)
    data = packed(tmp_path, f"-m{method}")
    found = contents(stands(arj.FORMAT, data))
    assert {path: body for path, body in found.items() if body is not None} == {
        path: body for path, body in expected.items() if body is not None
    }
    assert {path.encode(): size for path, size in listing(tmp_path / "made.arj", "arj").items()} == {
        path: None if body is None else len(body) for path, body in found.items()
    }
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.detail == {"host": "Unix", "name": "made.arj", "volume": False}
    list(reader.entries())
    assert reader.claims() == [Claim(0, len(data), "headers and files")]


def test_what_is_stated_is_kept(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    script = tmp_path / "dir" / "a_script"
    script.write_bytes(b"#!/bin/sh\n")
    script.chmod(0o4711)
    os.utime(script, (1_600_000_001, 1_600_000_003))
    (tmp_path / "dir" / "hard").hardlink_to(script)
    (tmp_path / "dir" / "link").symlink_to("../else where")
    (tmp_path / "dir" / "long").symlink_to("x" * 100)
    os.mkfifo(tmp_path / "dir" / "pipe")
    data = packed(tmp_path, "-2s", "-2o1", "-hbfu")
    found = {item.path: item for item, _ in stands(arj.FORMAT, data) if isinstance(item, Entry)}
    kept = [entry for entry in found.values() if entry.type == "regular" and entry.path != b"dir"]
    hard = [entry for entry in found.values() if entry.type == "hardlink"]
    assert {kept[0].path, hard[0].path} == {b"dir/a_script", b"dir/hard"}
    assert hard[0].link == kept[0].path
    assert (kept[0].mode, kept[0].uid, kept[0].gid) == (0o4711, os.getuid(), os.getgid())
    assert (kept[0].mtime, kept[0].size) == (1_600_000_003 * 10**9, 10)
    assert (found[b"dir/link"].type, found[b"dir/link"].link) == ("symlink", b"../else where")
    assert found[b"dir/long"].link == b"x" * 100
    assert found[b"dir/pipe"].type == "fifo"


def test_owners_by_name_and_devices(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "file").write_bytes(b"x")
    entries = arj.FORMAT.open(BytesSource(packed(tmp_path, "-2o2")), Limits()).entries()
    file = next(item for item in entries if isinstance(item, Entry) and item.type == "regular")
    assert file.owner is not None
    assert file.group is not None
    device = arj.FORMAT.open(BytesSource(packed(tmp_path, "-hbu", name="d.arj", what="/dev/null")), Limits())
    (null,) = device.entries()
    assert isinstance(null, Entry)
    assert (null.type, null.device) == ("chardev", (1, 3))


def test_what_other_systems_state() -> None:
    data = header(2, b"x.arj") + header(0, b"a\\b", b"bytes") + header(3, b"dir") + header(4, b"LABEL") + END
    assert [item for item, _ in stands(arj.FORMAT, data)] == [
        Entry(
            b"a/b",
            "regular",
            locator=len(header(2, b"x.arj")),
            size=5,
            mtime=1_710_509_100 * 10**9,
            xattrs={"dos.attributes": b"read-only archive"},
        ),
        Entry(
            b"dir",
            "directory",
            mtime=1_710_509_100 * 10**9,
            xattrs={"dos.attributes": b"read-only archive"},
        ),
    ]
    reader = arj.FORMAT.open(BytesSource(data), Limits())
    list(reader.entries())
    assert reader.detail == {"host": "MS-DOS", "name": "x.arj", "volume": False, "label": "LABEL"}


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "dir").write_bytes(NOISE[:1000] * 100)
    reader = arj.FORMAT.open(BytesSource(packed(tmp_path, "-m4")), Limits())
    (entry,) = reader.entries()
    assert isinstance(entry, Entry)
    with pytest.raises(Unsupported, match="method 4"):
        content(reader, entry)
    reader = arj.FORMAT.open(BytesSource(packed(tmp_path, "-gsecret", name="g.arj")), Limits())
    (entry,) = reader.entries()
    assert isinstance(entry, Entry)
    with pytest.raises(Encrypted):
        content(reader, entry)
    one = packed(tmp_path, "-v60k", "-m0", name="v.arj")
    assert [item for item, _ in stands(arj.FORMAT, one)] == [
        Problem("unsupported", "its bytes go on in the next volume", b"dir")
    ]
    two = (tmp_path / "v.a01").read_bytes()
    assert [item for item, _ in stands(arj.FORMAT, two)] == [
        Problem("unsupported", "its bytes begin in the volume before", b"dir")
    ]


def test_damage_and_cuts(tmp_path: Path) -> None:
    tree(tmp_path)
    data = bytearray(packed(tmp_path, "-m1"))
    with pytest.raises(NotThisFormat):
        arj.FORMAT.open(BytesSource(bytes(data[:20])), Limits())
    with pytest.raises(Truncated, match="without an end"):
        list(arj.FORMAT.open(BytesSource(bytes(data[:-4])), Limits()).entries())
    with pytest.raises(Malformed, match="no header"):
        list(arj.FORMAT.open(BytesSource(bytes(data[:-4]) + b"junk"), Limits()).entries())
    data[len(data) // 2] ^= 1
    reader = arj.FORMAT.open(BytesSource(bytes(data)), Limits())
    failed = []
    for item in reader.entries():
        assert isinstance(item, Entry)
        try:
            content(reader, item)
        except UnpackError as error:
            failed.append(error.reason)
    assert len(failed) == 1
    assert identify(BytesSource(b"\x60\xea" + NOISE[:3000]), Limits()) is None


def test_whatever_is_broken_is_told(tmp_path: Path) -> None:
    (tmp_path / "dir").write_bytes(b"line of text, " * 3000)
    data = packed(tmp_path, "-m1", "-2o2")
    for broken in mangled(data, count=200):
        survives(arj.FORMAT, broken)
    first = len(header(2, b"x.arj"))
    small = header(2, b"x.arj") + header(0, b"name", NOISE[:64], method=1) + END
    for broken in mangled(small, seed=2, count=300, hot=range(first, first + 50)):
        length = int.from_bytes(broken[first + 2 : first + 4], "little")
        raw = broken[first + 4 : first + 4 + length]
        fixed = broken[: first + 4] + raw + struct.pack("<I", zlib.crc32(raw)) + broken[first + 8 + length :]
        survives(arj.FORMAT, fixed)
