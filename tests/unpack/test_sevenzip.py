"""7z archives, made by 7-Zip and by bsdtar."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from assay.unpack import identify, libarchive, sevenzip
from assay.unpack.base import (
    BytesSource,
    Encrypted,
    Entry,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Truncated,
    UnpackError,
    Unsupported,
)
from assay.unpack.carved import Carved
from assay.unpack.libarchive import Joined

from ..support.archives import content, contents, stands, tree
from ..support.hostile import mangled, survives
from ..support.sevenzip import listing


def packed(folder: Path, *options: str) -> bytes:
    tool = shutil.which("7z")
    if tool is None:
        pytest.skip("7z is not installed")
    archive = folder / "made.7z"
    subprocess.run([tool, "a", "-mx=1", *options, archive, "dir"], cwd=folder, check=True, capture_output=True)
    return archive.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sevenzip")
    tree(path)
    shutil.copy("/bin/true", path / "dir" / "program.exe")
    (path / "dir" / "ümläut ☃").write_bytes(b"name")
    return path


@pytest.mark.parametrize(
    ("options", "methods"),
    [
        ((), "LZMA2, LZMA2+BCJ-x86"),
        (("-ms=off", "-mhc=off"), "LZMA2, LZMA2+BCJ-x86"),
        (("-m0=LZMA",), "LZMA, LZMA+BCJ-x86"),
        (("-m0=BCJ2", "-m1=LZMA"), "LZMA+BCJ2"),
        (("-m0=PPMd", "-mf=off"), "PPMd"),
        (("-m0=copy", "-mf=off"), "copy"),
        (("-m0=BZip2", "-mf=off"), "bzip2"),
        (("-m0=Deflate", "-mf=off"), "deflate"),
        (("-m0=Delta:4", "-m1=LZMA"), "LZMA+delta"),
    ],
)
def test_every_method(folder: Path, tmp_path: Path, options: tuple[str, ...], methods: str) -> None:
    shutil.copytree(folder / "dir", tmp_path / "dir")
    data = packed(tmp_path, *options)
    expected = {
        str(path.relative_to(tmp_path)).encode(): None if path.is_dir() else path.read_bytes()
        for path in (tmp_path / "dir", *(tmp_path / "dir").rglob("*"))
    }
    assert contents(stands(sevenzip.FORMAT, data)) == expected
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    sizes = {item.path.decode(): item.size for item in reader.entries() if isinstance(item, Entry)}
    assert sizes == listing(tmp_path / "made.7z")
    assert reader.declared == len(expected)
    assert reader.detail["methods"] == methods


def test_what_is_stated_is_kept(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir(mode=0o750)
    script = tmp_path / "dir" / "script"
    script.write_bytes(b"#!/bin/sh\n")
    script.chmod(0o4711)
    (tmp_path / "dir" / "link").symlink_to("../else where")
    data = packed(tmp_path, "-snl", "-mtm=on")
    found = {item.path: item for item, _ in stands(sevenzip.FORMAT, data) if isinstance(item, Entry)}
    assert found[b"dir"].mode == 0o750
    assert found[b"dir/script"].mode == 0o4711
    assert (found[b"dir/link"].type, found[b"dir/link"].link) == ("symlink", b"../else where")
    assert abs((found[b"dir/script"].mtime or 0) - script.stat().st_mtime_ns) < 1000


def test_what_libarchive_writes(tmp_path: Path) -> None:
    tool = shutil.which("bsdtar")
    if tool is None:
        pytest.skip("bsdtar is not installed")
    expected = tree(tmp_path)
    subprocess.run([tool, "-cf", "made.7z", "--format=7zip", "dir"], cwd=tmp_path, check=True)
    found = contents(stands(sevenzip.FORMAT, (tmp_path / "made.7z").read_bytes()))
    assert {path.rstrip(b"/"): data for path, data in found.items()} == expected


def test_files_that_are_alone_are_recognised_by_their_stored_form(folder: Path) -> None:
    reader = sevenzip.FORMAT.open(BytesSource(packed(folder, "-ms=off")), Limits())
    digests = [reader.stored(item.locator) for item in reader.entries() if isinstance(item, Entry) and item.locator]
    assert len(set(digests)) == len(digests)
    assert all(digests)


def test_encryption_is_told(tmp_path: Path) -> None:
    tree(tmp_path)
    hidden = packed(tmp_path, "-psecret", "-mhe=on")
    assert stands(sevenzip.FORMAT, hidden) == [(Problem("encrypted", "the header: AES-256"), None)]
    (tmp_path / "made.7z").unlink()
    data = packed(tmp_path, "-psecret")
    reader = sevenzip.FORMAT.open(BytesSource(data), Limits())
    for item in reader.entries():
        assert isinstance(item, Entry)
        if item.size:
            assert item.locator is not None
            with pytest.raises(Encrypted, match="AES-256"):
                list(reader.open(item.locator))


def test_damage_costs_what_it_hits(tmp_path: Path) -> None:
    tree(tmp_path)
    data = bytearray(packed(tmp_path, "-ms=off", "-m0=copy"))
    reader = sevenzip.FORMAT.open(BytesSource(bytes(data)), Limits())
    noise = next(item for item in reader.entries() if isinstance(item, Entry) and item.path.endswith(b"noise"))
    assert noise.locator is not None
    span = reader.span(noise.locator)
    assert span is not None
    data[span[0] + 100] ^= 1
    reader = sevenzip.FORMAT.open(BytesSource(bytes(data)), Limits())
    for item in reader.entries():
        assert isinstance(item, Entry)
        if item.path == noise.path:
            with pytest.raises(Malformed, match="CRC-32"):
                content(reader, item)
        else:
            content(reader, item)


def test_broken_headers(folder: Path) -> None:
    data = packed(folder)
    for cut in (0, 5, 31):
        with pytest.raises(NotThisFormat):
            sevenzip.FORMAT.open(BytesSource(data[:cut]), Limits())
    with pytest.raises(Truncated):
        list(sevenzip.FORMAT.open(BytesSource(data[:-1]), Limits()).entries())
    with pytest.raises(Malformed, match="the header has a wrong CRC-32"):
        list(sevenzip.FORMAT.open(BytesSource(data[:-1] + b"\1"), Limits()).entries())
    with pytest.raises(LimitReached, match="metadata_bytes"):
        list(sevenzip.FORMAT.open(BytesSource(data), Limits(metadata_bytes=10)).entries())


def test_limits(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "zeros").write_bytes(bytes(30 << 20))
    data = packed(tmp_path)
    reader = sevenzip.FORMAT.open(BytesSource(data), Limits(ratio=10, ratio_from=1 << 20))
    *_, entry = reader.entries()
    assert isinstance(entry, Entry)
    with pytest.raises(LimitReached, match="ratio"):
        content(reader, entry)
    with pytest.raises(LimitReached, match="memory"):
        content(sevenzip.FORMAT.open(BytesSource(data), Limits(memory=1 << 16)), entry)


def test_without_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed(folder, "-mhc=off")
    monkeypatch.setattr(libarchive, "_library", None)
    reader = sevenzip.FORMAT.open(BytesSource(data), Limits())
    entry = next(item for item in reader.entries() if isinstance(item, Entry) and item.size)
    assert entry.locator is not None
    with pytest.raises(Unsupported, match=r"needs libarchive\.so\.13 \(Debian package libarchive13\)"):
        list(reader.open(entry.locator))


def test_a_self_extracting_program_is_found(folder: Path) -> None:
    data = packed(folder)
    program = Path("/bin/true").read_bytes()
    found = [item.path for item in Carved(BytesSource(program + data), Limits()).entries() if isinstance(item, Entry)]
    assert b"%#010x.7z" % len(program) in found


def test_whatever_is_broken_is_told(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    for number in range(5):
        (tmp_path / "dir" / f"{number}").write_bytes(b"line %d\n" % number * 1000)
    data = packed(tmp_path, "-mhc=off")
    start = int.from_bytes(data[12:20], "little") + 32
    for broken in mangled(data, count=300, hot=range(start, len(data))):
        body = broken[start:]
        head = broken[12:20] + len(body).to_bytes(8, "little") + zlib.crc32(body).to_bytes(4, "little")
        survives(sevenzip.FORMAT, broken[:8] + zlib.crc32(head).to_bytes(4, "little") + head + broken[32:])
    (tmp_path / "made.7z").unlink()
    data = packed(tmp_path, "-m0=PPMd")
    for broken in mangled(data, seed=3, count=100):
        survives(sevenzip.FORMAT, broken)


def test_joined_sources() -> None:
    joined = Joined([b"abc", BytesSource(b"defg"), b"", b"hi"])
    assert joined.size == 9
    for start in range(11):
        for length in range(11):
            assert joined.pread(start, length) == b"abcdefghi"[start : start + length]


def test_the_library_explains_itself() -> None:
    with pytest.raises(UnpackError):
        list(libarchive.first(BytesSource(b"nothing of the kind" * 100), "7zip", Limits(), 1))


def test_an_archive_of_nothing() -> None:
    start = bytes(20)
    data = b"7z\xbc\xaf\x27\x1c\0\4" + zlib.crc32(start).to_bytes(4, "little") + start
    assert stands(sevenzip.FORMAT, data) == []
