from __future__ import annotations

import io
import lzma
import os
import shutil
import stat
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Claim,
    Encrypted,
    Entry,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Truncated,
    UnpackError,
    Unsupported,
)
from assay.unpack.zip import FORMAT

from ..support.hostile import bounded, mangled, survives


def opened(data: bytes, limits: Limits | None = None) -> Reader:
    reader = identify(BytesSource(data), limits or Limits())
    assert reader is not None
    assert reader.format is FORMAT
    return reader


def contents(data: bytes) -> dict[bytes, bytes | str]:
    """Return each entry's bytes, or why they could not be read."""
    reader, out = opened(data), {}
    for entry in reader.entries():
        assert isinstance(entry, Entry), entry
        if entry.locator is not None:
            try:
                out[entry.path] = b"".join(opened(data).open(entry.locator))
            except UnpackError as error:
                out[entry.path] = f"{error.reason}: {error}"
    return out


def made(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return buffer.getvalue()


FILES = {"a.txt": b"alpha " * 100, "sub/b.bin": bytes(range(256)) * 40, "empty": b""}
EXPECTED = {name.encode(): data for name, data in FILES.items()}


@pytest.mark.skipif(not shutil.which("zip"), reason="zip is not installed")
def test_unix_metadata_as_info_zip_writes_it(tmp_path: Path) -> None:
    (tmp_path / "tree/dir").mkdir(parents=True)
    su = tmp_path / "tree/dir/su"
    su.write_bytes(b"\x7fELF" + b"x" * 1000)
    hidden = tmp_path / "tree/hidden"
    hidden.write_bytes(b"")
    hidden.chmod(0)
    (tmp_path / "tree/link").symlink_to("../../etc/passwd")
    (tmp_path / "tree/dir").chmod(0o1777)
    for path in (su, hidden, tmp_path / "tree/dir"):
        os.utime(path, (1_600_000_001, 1_500_000_003))
    if os.geteuid() == 0:
        os.chown(su, 1234, 70000)
    su.chmod(0o4755)  # after chown, which clears it
    owner = su.stat()
    subprocess.run(["zip", "-qry", "../t.zip", "."], cwd=tmp_path / "tree", check=True)
    data = (tmp_path / "t.zip").read_bytes()
    found = {entry.path: entry for entry in opened(data).entries() if isinstance(entry, Entry)}
    if os.geteuid() == 0:
        assert found.keys() == {b"dir/", b"dir/su", b"hidden", b"link"}
        assert (found[b"hidden"].mode, found[b"hidden"].size) == (0, 0)
    entry = found[b"dir/su"]
    assert (entry.type, entry.mode, entry.uid, entry.gid, entry.size) == (
        "regular", 0o4755, owner.st_uid, owner.st_gid, 1004,
    )  # fmt: skip
    assert (entry.mtime, entry.atime) == (1_500_000_003 * 10**9, 1_600_000_001 * 10**9)
    assert (found[b"dir/"].type, found[b"dir/"].mode) == ("directory", 0o1777)
    assert (found[b"link"].type, found[b"link"].link, found[b"link"].locator) == ("symlink", b"../../etc/passwd", None)
    assert contents(data)[b"dir/su"] == su.read_bytes()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods(method: int) -> None:
    assert contents(made(FILES, method)) == EXPECTED


@pytest.mark.skipif(not shutil.which("7z"), reason="7z is not installed")
@pytest.mark.parametrize(("method", "number"), [("Deflate64", 9), ("PPMd", 98)])
def test_other_methods_are_named(tmp_path: Path, method: str, number: int) -> None:
    (tmp_path / "a").write_bytes(bytes(range(200)) * 300)
    subprocess.run(
        ["7z", "a", "-tzip", f"-mm={method}", "t.zip", "a"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL
    )
    (text,) = contents((tmp_path / "t.zip").read_bytes()).values()
    assert isinstance(text, str)
    assert text.startswith(f"unsupported: compression method {number} (")


@pytest.mark.parametrize(("method", "packed"), [(93, "zstd"), (95, "xz")])
def test_zstd_and_xz(method: int, packed: str) -> None:
    plain = b"the same again " * 5000
    raw = zstandard.compress(plain) if packed == "zstd" else lzma.compress(plain)
    assert contents(handmade([(b"a", raw, method, plain)])) == {b"a": plain}
    broken = raw[:-20] + bytes(20)
    (text,) = contents(handmade([(b"a", broken, method, plain)])).values()
    assert isinstance(text, str)
    assert text.startswith("malformed: ")


def handmade(
    entries: list[tuple[bytes, bytes, int, bytes]], *, local_name: bytes | None = None, local_size: int | None = None
) -> bytes:
    """Return an archive of (name, compressed bytes, method, plain bytes), whose local headers may lie."""
    body, directory = b"", b""
    for name, raw, method, plain in entries:
        offset, crc = len(body), zlib.crc32(plain)
        there = name if local_name is None else local_name
        size = len(plain) if local_size is None else local_size
        body += struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, method, 0, 0, crc, len(raw), size, len(there), 0)
        body += there + raw
        directory += struct.pack(
            "<4s2B5H3L5H2L", b"PK\1\2", 20, 0, 20, 0, method, 0, 0, crc, len(raw), len(plain), len(name), 0, 0, 0, 0, 0,
            offset,
        ) + name  # fmt: skip
    return body + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(entries), len(entries), len(directory), len(body), 0)  # fmt: skip  # noqa: E501


def test_raw_names_and_no_invented_metadata() -> None:
    names = [b"caf\x82.txt", "größe".encode(), b"..\\up", b"../../etc/x", b"/abs", b"a//b/"]
    data = handmade([(name, b"", 0, b"") for name in names])
    assert list(opened(data).entries()) == [
        *(Entry(name, "regular", [30 + len(name) + sum(30 + len(n) for n in names[:i]), 0, 0, 0, 0, 0], 0)
          for i, name in enumerate(names[:-1])),
        Entry(b"a//b/", "directory"),
    ]  # fmt: skip


def test_local_header_is_compared() -> None:
    data = handmade([(b"good", b"xyz", 0, b"xyz")], local_name=b"evil", local_size=4)
    assert list(opened(data).entries()) == [
        Entry(b"good", "regular", [34, 3, 3, zlib.crc32(b"xyz"), 0, 0], 3),
        Problem(
            "malformed", "local header differs: name b'evil', size 4 instead of 3", b"good", entries=0
        ),
    ]  # fmt: skip


def test_stream_written_archive_with_descriptors_is_fully_claimed() -> None:
    class Unseekable(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += bytes(data)
            return len(data)

    sink = Unseekable()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    assert contents(sink.data) == EXPECTED
    reader = opened(sink.data)
    assert reader.declared == len(list(reader.entries())) == 3
    middle = reader.claims()[0].length
    assert reader.claims() == [
        Claim(0, middle, "entries"),
        Claim(middle, len(sink.data) - middle, "central directory"),
    ]


def test_stub_before_and_padding_behind() -> None:
    data = made(FILES)
    stub = b"\x7fELF" + bytes(5000)
    reader = opened(stub + data)
    assert {entry.path for entry in reader.entries()} == EXPECTED.keys()
    assert reader.detail == {"zip64": False, "comment_bytes": 0, "bytes_before_archive": 5004}
    assert min(claim.offset for claim in reader.claims()) == 5004
    assert contents(stub + data) == EXPECTED
    assert contents(data + bytes(300)) == EXPECTED
    assert identify(BytesSource(stub + data + bytes(300)), Limits()) is None


def test_comment_that_contains_an_end_record() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"b")
        archive.comment = b"x" * 30000 + b"PK\5\6" + bytes(18) + b"y" * 30000
    assert contents(buffer.getvalue()) == {b"a": b"b"}


def test_zip64() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("big", "w", force_zip64=True) as file:
        file.write(b"z" * 1000)
    data = buffer.getvalue()
    assert contents(data) == {b"big": b"z" * 1000}
    # The same archive with a ZIP64 end record, and sizes and offset of the directory only there.
    at = data.index(b"PK\5\6")
    size, offset = struct.unpack_from("<2L", data, at + 12)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    wide = data[:at] + end64 + locator + end
    reader = opened(wide)
    assert (reader.declared, reader.detail["zip64"]) == (1, True)
    assert contents(wide) == contents(b"stub" + wide) == {b"big": b"z" * 1000}


def test_twenty_thousand_entries_are_listed_soon() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(20_000):
            archive.writestr(zipfile.ZipInfo(f"f{number}"), b"")
    reader = opened(buffer.getvalue())
    assert reader.declared == 20_000
    found: list[Entry | Problem] = []
    bounded(lambda: found.extend(reader.entries()), 2)
    assert len(found) == 20_000


@pytest.mark.skipif(not shutil.which("zip"), reason="zip is not installed")
def test_encrypted(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"secret" * 100)
    subprocess.run(["zip", "-q", "-P", "x", "t.zip", "a"], cwd=tmp_path, check=True)
    data = (tmp_path / "t.zip").read_bytes()
    (entry,) = opened(data).entries()
    assert isinstance(entry, Entry)
    assert entry.locator is not None
    with pytest.raises(Encrypted, match="traditional encryption"):
        b"".join(opened(data).open(entry.locator))
    assert opened(data).stored(entry.locator) is None


def test_corrupt_data_is_found_at_the_end() -> None:
    data = bytearray(made({"a": b"hello world"}, zipfile.ZIP_STORED))
    data[data.index(b"world")] ^= 1
    (entry,) = opened(bytes(data)).entries()
    assert isinstance(entry, Entry)
    assert entry.locator is not None
    chunks = opened(bytes(data)).open(entry.locator)
    assert next(chunks) == b"hello vorld"
    with pytest.raises(Malformed, match=r"CRC-32 is [0-9a-f]{8}, the directory says 0d4a1185"):
        next(chunks)


def test_stored_form_and_span() -> None:
    packed, plain = made({"a": b"x" * 4999}), made({"a": b"x" * 4999}, zipfile.ZIP_STORED)
    (one,), (two,) = opened(packed).entries(), opened(plain).entries()
    assert isinstance(one, Entry)
    assert isinstance(two, Entry)
    assert one.locator is not None
    assert two.locator is not None
    moved = b"stub" + packed
    (three,) = opened(moved).entries()
    assert isinstance(three, Entry)
    assert three.locator is not None
    assert opened(packed).stored(one.locator) == opened(moved).stored(three.locator) is not None
    assert opened(plain).stored(two.locator) is None
    assert opened(packed).span(one.locator) is None
    assert opened(plain).span(two.locator) == (31, 4999)
    (small,) = opened(made({"a": b"x" * 999})).entries()
    assert isinstance(small, Entry)
    assert small.locator is not None
    assert opened(made({"a": b"x" * 999})).stored(small.locator) is None


def overlapping(count: int) -> bytes:
    """Return an archive all of whose entries name the same local header and bytes."""
    kernel = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = kernel.compress(bytes(1 << 20)) + kernel.flush()
    whole = handmade([(b"A", raw, 8, bytes(1 << 20))])
    at = whole.index(b"PK\1\2")
    record = whole[at : whole.index(b"PK\5\6")]
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(record) * count, at, 0)
    return whole[:at] + record * count + end


def test_overlapping_entries_are_named_and_the_first_is_listed() -> None:
    found = list(opened(overlapping(3)).entries())
    assert found == [
        Entry(b"A", "regular", [31, 1033, 1 << 20, zlib.crc32(bytes(1 << 20)), 8, 0], 1 << 20),
        *[
            Problem(
                "overlap",
                "its bytes overlap those of another entry: offsets 0 to 1064, entry 1 at offset 0",
                b"A",
            )
        ] * 2,
    ]  # fmt: skip


def test_overlap_bomb_of_sixty_thousand_entries_ends_soon() -> None:
    data = overlapping(60_000)
    found: list[Entry | Problem] = []
    bounded(lambda: found.extend(opened(data).entries()), 3)
    assert [type(item) for item in found].count(Entry) == 1
    assert {item.reason for item in found if isinstance(item, Problem)} == {"overlap"}
    assert len(found) == 60_000


def test_quoted_overlap() -> None:
    """Each entry's stored bytes hold the next one's local header (Fifield's second construction)."""
    inner = handmade([(b"inner", b"bytes", 0, b"bytes")])
    quoted = inner[: inner.index(b"PK\1\2")]
    outer = handmade([(b"outer", quoted, 0, quoted)])
    cut = outer.index(b"PK\1\2", len(quoted))
    start = bytearray(inner[inner.index(b"PK\1\2") : inner.index(b"PK\5\6")])
    start[42:46] = struct.pack("<L", 35)
    directory = outer[outer.rindex(b"PK\1\2") : outer.index(b"PK\5\6")] + bytes(start)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(directory), cut, 0)
    kinds = [(type(item), item.path) for item in opened(outer[:cut] + directory + end).entries()]
    assert kinds == [(Entry, b"outer"), (Problem, b"inner")]


def test_output_is_held_to_the_limits() -> None:
    data = made({"bomb": bytes(8 << 20)})
    limits = Limits(ratio=100, ratio_from=1 << 20)
    (entry,) = opened(data, limits).entries()
    assert isinstance(entry, Entry)
    assert entry.locator is not None
    with pytest.raises(LimitReached, match="ratio 100"):
        for _ in opened(data, limits).open(entry.locator):
            pass
    with pytest.raises(LimitReached, match="entries 2"):
        list(opened(made(FILES), Limits(entries=2)).entries())
    with pytest.raises(LimitReached, match="metadata_bytes 10"):
        list(opened(made(FILES), Limits(metadata_bytes=10)).entries())


def test_lzma_dictionary_of_four_gigabytes_costs_nothing() -> None:
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20}]
    raw = lzma.compress(b"abc" * 1000, lzma.FORMAT_RAW, filters=filters)
    data = handmade([(b"a", b"\x09\x14\5\0" + b"\x5d\xff\xff\xff\xff" + raw, 14, b"abc" * 1000)])
    assert contents(data) == {b"a": b"abc" * 1000}


def test_windows_larger_than_the_memory_are_a_limit() -> None:
    plain = b"abc" * 1000
    xz = lzma.compress(plain, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 64 << 20}])
    window = zstandard.ZstdCompressionParameters(window_log=27)
    frame = zstandard.ZstdCompressor(compression_params=window).compressobj()
    zstd = frame.compress(plain) + frame.flush()
    for raw, method in ((xz, 95), (zstd, 93)):
        data = handmade([(b"a", raw, method, plain)])
        (entry,) = opened(data).entries()
        assert isinstance(entry, Entry)
        assert entry.locator is not None
        with pytest.raises(LimitReached, match="memory 3"):
            list(opened(data, Limits(memory=32 << 20)).open(entry.locator))


def test_what_is_left_of_a_cut_archive() -> None:
    data = made(FILES)
    with pytest.raises(Truncated, match="no end of central directory record"):
        list(opened(data[:-30]).entries())
    gone = data.replace(b"PK\3\4", b"PX\3\4", 1)[: data.index(b"PK\1\2")] + data[data.index(b"PK\1\2") :]
    found = list(opened(b"stub" + gone).entries())
    assert found[0] == Problem("malformed", "no local header at offset 4", b"a.txt")
    assert [item.path for item in found[1:] if isinstance(item, Entry)] == [b"sub/b.bin", b"empty"]


def test_directory_that_breaks_off() -> None:
    data = bytearray(made(FILES))
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    data[second : second + 4] = b"XXXX"
    listing = opened(bytes(data)).entries()
    first = next(listing)
    assert isinstance(first, Entry)
    assert first.path == b"a.txt"
    with pytest.raises(Malformed, match="central directory breaks off at offset"):
        next(listing)


def test_split_archive() -> None:
    data = bytearray(made(FILES))
    at = data.index(b"PK\5\6")
    data[at + 4 : at + 8] = b"\1\0\1\0"
    with pytest.raises(Unsupported, match="split over several files: this is number 2"):
        identify(BytesSource(bytes(data)), Limits())


def test_other_sources_are_refused() -> None:
    for data in (b"", b"PK\3\4", b"PK\5\6", b"PK\3\4" + b"\xff" * 100, bytes(100_000), b"PK\5\6" * 30_000):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(data), Limits())
    assert list(opened(b"PK\5\6" + bytes(18)).entries()) == []


def test_broken_archives_are_survived() -> None:
    for method in (0, 8, 12, 14):
        data = made({"a": b"x" * 3000, "b": os.urandom(50)}, method)
        hot = range(data.index(b"PK\1\2"), len(data))
        for broken in mangled(data, seed=method, count=150, hot=hot if method else None):
            survives(FORMAT, broken)
    for broken in mangled(made(FILES), count=200):
        survives(FORMAT, broken)


@given(
    st.dictionaries(st.binary(min_size=1, max_size=20).filter(lambda n: not n.endswith(b"/")), st.binary(), max_size=5)
)
def test_any_names_and_bytes_come_back(files: dict[bytes, bytes]) -> None:
    data = handmade([(name, plain, 0, plain) for name, plain in files.items()])
    assert contents(data) == files


def test_a_directory_behind_its_end_record_is_none() -> None:
    data = made({"a": b"x" * 300})
    at, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    moved = data[:at] + data[end : end + 16] + struct.pack("<LH", len(data) - end + at, end - at) + data[at:end]
    with pytest.raises(Truncated):
        list(opened(moved).entries())


def test_an_entry_beyond_the_archive_claims_no_more_than_there_is() -> None:
    stated = bytearray(made({"a": b"x"}, zipfile.ZIP_STORED))
    central = stated.index(b"PK\1\2")
    at = len(stated)
    stated[central + 42 : central + 46] = struct.pack("<L", at)
    end = stated.index(b"PK\5\6")
    stated[end + 20 : end + 22] = struct.pack("<H", 31)
    stated += stated[:26] + struct.pack("<HH", 1, 0xFFFF) + b"a"
    reader = opened(bytes(stated))
    list(reader.entries())
    assert all(claim.offset + claim.length <= len(stated) for claim in reader.claims())


def test_modes_need_a_host_that_has_them() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, system, attributes in (
            ("unix", 3, (stat.S_IFREG | 0o4711) << 16),
            ("dos", 0, 0x20),
            ("dos-with-unix", 0, (stat.S_IFREG | 0o640) << 16),
            ("unset", 3, 0),
            ("fifo", 3, (stat.S_IFIFO | 0o600) << 16),
        ):
            info = zipfile.ZipInfo(name)
            info.create_system = system
            info.external_attr = attributes
            archive.writestr(info, b"" if name != "unset" else b"x")
    found = [(e.path, e.type, e.mode) for e in opened(buffer.getvalue()).entries() if isinstance(e, Entry)]
    assert found == [
        (b"unix", "regular", 0o4711),
        (b"dos", "regular", None),
        (b"dos-with-unix", "regular", 0o640),
        (b"unset", "regular", 0o600),
        (b"fifo", "fifo", 0o600),
    ]
