from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.ar import FORMAT
from assay.unpack.base import (
    BytesSource,
    Claim,
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

from ..support.hostile import bounded, mangled, survives

MAGIC = b"!<arch>\n"
SECOND = 1_000_000_000


def opened(data: bytes) -> Reader:
    return FORMAT.open(BytesSource(data), Limits())


def listing(data: bytes) -> tuple[list[Entry | Problem], UnpackError | None]:
    found = []
    try:
        for item in opened(data).entries():
            found.append(item)  # noqa: PERF402 - what came before an error stands
    except UnpackError as error:
        return found, error
    return found, None


def body(data: bytes, entry: Entry | Problem) -> bytes:
    assert isinstance(entry, Entry)
    assert entry.locator is not None
    return b"".join(opened(data).open(entry.locator))


def member(
    name: bytes, content: bytes = b"", *, date: bytes = b"1", mode: bytes = b"100644", pad: bytes = b"\n"
) -> bytes:
    head = name.ljust(16) + date.ljust(12) + b"1234".ljust(6) + b"5678".ljust(6) + mode.ljust(8)
    return head + b"%-10d`\n" % len(content) + content + pad * (len(content) % 2)


@pytest.mark.skipif(not shutil.which("ar") or not shutil.which("gcc"), reason="ar or gcc is not installed")
def test_what_ar_makes(tmp_path: Path) -> None:
    names = ["odd", "a" * 15, "b" * 16, "c" * 200, "with space"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(b"x" * (number + 1))
        (tmp_path / name).chmod(0o4751)
    (tmp_path / "f.c").write_text("int f(void) { return 1; }\n")
    subprocess.run(["gcc", "-c", "f.c"], cwd=tmp_path, check=True)
    names.append("f.o")
    subprocess.run(["ar", "crU", "lib.a", *names], cwd=tmp_path, check=True, capture_output=True)
    data = (tmp_path / "lib.a").read_bytes()
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    found = list(reader.entries())
    assert found == list(reader.entries())
    for name, entry in zip(names, found, strict=True):
        assert isinstance(entry, Entry)
        state = (tmp_path / name).stat()
        assert entry == Entry(
            name.encode(),
            "regular",
            locator=entry.locator,
            size=state.st_size,
            mode=state.st_mode & 0o7777,
            uid=state.st_uid,
            gid=state.st_gid,
            mtime=int(state.st_mtime) * SECOND,
        )
        assert body(data, entry) == (tmp_path / name).read_bytes()
        offset, length = opened(data).span(entry.locator)  # type: ignore[arg-type,misc]
        assert data[offset : offset + length] == (tmp_path / name).read_bytes()
    assert sum(claim.length for claim in reader.claims()) == len(data)
    assert [claim.what for claim in reader.claims()] == ["members", "symbol table", "name table", "members"]
    assert reader.detail == {"thin": False}

    subprocess.run(["ar", "crUT", "thin.a", *names], cwd=tmp_path, check=True, capture_output=True)
    data = (tmp_path / "thin.a").read_bytes()
    reader = opened(data)
    found = list(reader.entries())
    assert [entry.path.decode() for entry in found] == names
    assert reader.detail == {"thin": True}
    assert sum(claim.length for claim in reader.claims()) == len(data)
    with pytest.raises(Unsupported):
        body(data, found[0])
    assert reader.span([None, 1]) is None


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")
def test_debian_package(tmp_path: Path) -> None:
    (tmp_path / "p/DEBIAN").mkdir(parents=True)
    (tmp_path / "p/DEBIAN/control").write_text(
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: M <m@example.org>\nDescription: d\n"
    )
    (tmp_path / "p/DEBIAN").chmod(0o755)
    subprocess.run(["dpkg-deb", "-Zxz", "-b", "p", "p.deb"], cwd=tmp_path, check=True, capture_output=True)
    data = (tmp_path / "p.deb").read_bytes()
    reader = opened(data)
    found = list(reader.entries())
    assert [entry.path for entry in found] == [b"debian-binary", b"control.tar.xz", b"data.tar.xz"]
    assert reader.detail == {"thin": False, "package": "deb", "version": "2.0"}
    assert reader.claims() == [Claim(0, len(data), "members")]
    assert body(data, found[0]) == b"2.0\n"


def test_bsd_names() -> None:
    data = MAGIC + member(b"#1/20", b"__.SYMDEF SORTED\0\0\0\0table") + member(b"#1/12", b"a name \xe4\0\0\0\0 bytes")
    data += member(b"short", b"1")
    found, error = listing(data)
    assert error is None
    common = {"mode": 0o644, "uid": 1234, "gid": 5678, "mtime": SECOND}
    assert found == [
        Entry(b"a name \xe4", "regular", locator=[166, 6], size=6, **common),  # type: ignore[arg-type]
        Entry(b"short", "regular", locator=[232, 1], size=1, **common),  # type: ignore[arg-type]
    ]
    assert [body(data, entry) for entry in found] == [b" bytes", b"1"]


def test_fields_left_blank() -> None:
    data = MAGIC + member(b"x/", b"1", date=b"", mode=b"")
    assert listing(data)[0] == [Entry(b"x", "regular", locator=[68, 1], size=1, uid=1234, gid=5678)]


def test_names_that_are_not_in_the_table() -> None:
    data = MAGIC + member(b"//", b"name/\nother") + member(b"/0", b"1") + member(b"/6", b"2") + member(b"/99999", b"3")
    data += member(b"#1/50", b"short") + member(b"/5", b"4")
    found, error = listing(data)
    assert error is None
    assert [entry.path for entry in found] == [b"name", b"/6", b"/99999", b"", b"/5"]
    assert [type(entry) for entry in found] == [Entry, Problem, Problem, Problem, Problem]


@pytest.mark.parametrize("pad", [b"\n", b"\0", b" ", b"", b"Z"])
def test_padding(pad: bytes) -> None:
    data = MAGIC + member(b"a/", b"1", pad=pad) + member(b"b/", b"22")
    reader = opened(data)
    assert [entry.path for entry in reader.entries()] == [b"a", b"b"]
    length = sum(claim.length for claim in reader.claims())
    assert length == len(data) - (pad == b"Z")


def test_listing_goes_on_after_a_damaged_header() -> None:
    data = bytearray(MAGIC + member(b"a/", b"11") + member(b"b/", b"22") + member(b"c/", b"33"))
    data[70 + 58] = 0
    found, error = listing(bytes(data))
    assert error is None
    assert found[1] == Problem("malformed", "no header at offset 70, listing goes on at offset 132")
    assert [entry.path for entry in found] == [b"a", b"", b"c"]
    data[8 + 58] = 0
    assert [entry.path for entry in listing(bytes(data))[0]] == [b"", b"c"]


def test_cut_short_says_so() -> None:
    data = MAGIC + member(b"a/", b"1" * 100)
    for size, count in ((30, 0), (100, 1), (167, 1)):
        found, error = listing(data[:size])
        assert len(found) == count
        assert isinstance(error, Truncated)
    assert listing(MAGIC) == ([], None)
    with pytest.raises(NotThisFormat):
        opened(MAGIC[:7])


def test_locators_that_are_none() -> None:
    for locator in (None, "x", [], [1], ["a", "b"], [5, None, 7]):
        with pytest.raises(Malformed):
            list(opened(MAGIC).open(locator))  # type: ignore[arg-type]


def test_hostile() -> None:
    data = MAGIC + member(b"/", b"\0\0\0\0") + member(b"//", b"a long long name/\n") + member(b"/0", b"content")
    data += member(b"#1/3", b"abcdef") + member(b"debian-binary", b"2.0\n")
    for broken in mangled(data, count=600):
        survives(FORMAT, broken)
    bounded(lambda: survives(FORMAT, MAGIC + b"`\n" * (4 << 20)), 2)
    bounded(lambda: survives(FORMAT, MAGIC + member(b"//", b"x" * 60_000) + member(b"/0") * 3000), 3)
    many = MAGIC + member(b"//", b"x" * 4000 + b"/\n") + member(b"/0") * 300
    with pytest.raises(LimitReached):
        list(FORMAT.open(BytesSource(many), Limits(metadata_bytes=1 << 20)).entries())
