from __future__ import annotations

import io
import os
import re
import shutil
import stat
import struct
import subprocess
import tarfile
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
    UnpackError,
)
from assay.unpack.tar import FORMAT, TarReader
from assay.unpack.tar_header import merge

from ..support.hostile import bounded, mangled, survives
from ..support.hostile_tree import BODY, LONG, SECOND, archive, needs_bsdtar, tree

needs_tar = pytest.mark.skipif(
    not shutil.which("tar") or b"GNU" not in subprocess.run(["tar", "--version"], capture_output=True).stdout,
    reason="GNU tar is not installed",
)


def opened(data: bytes, limits: Limits | None = None) -> TarReader:
    reader = FORMAT.open(BytesSource(data), limits or Limits())
    assert isinstance(reader, TarReader)
    return reader


def listing(data: bytes) -> tuple[list[Entry | Problem], UnpackError | None]:
    reader, found = opened(data), []
    try:
        for item in reader.entries():
            found.append(item)  # noqa: PERF402 - what came before an error stands
    except UnpackError as error:
        return found, error
    return found, None


def body(data: bytes, entry: Entry | Problem) -> bytes:
    assert isinstance(entry, Entry)
    assert entry.locator is not None
    return b"".join(opened(data).open(entry.locator))


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def packed(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.USTAR_FORMAT, **more: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, errors="surrogateescape", **more) as tar:  # type: ignore[call-overload]
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def rechecked(data: bytes, at: int = 0) -> bytes:
    """Return the archive with the checksum of the header at an offset made right again."""
    block = bytearray(data[at : at + 512])
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return data[:at] + bytes(block) + data[at + 512 :]


@needs_bsdtar
@pytest.mark.parametrize("format", ["v7tar", "ustar", "gnutar", "pax"])
def test_nothing_of_the_tree_is_lost(format: str, tmp_path: Path) -> None:
    expected = [entry for entry in tree() if not (format == "v7tar" and entry.device) and entry.type != "fifo"]
    if format == "v7tar":
        expected = [entry for entry in expected if len(entry.path) < 100]
    elif format == "ustar":
        expected = [entry for entry in expected if len(entry.path) < 300]
    else:
        expected.append(next(entry for entry in tree() if entry.type == "fifo"))
    data = archive(tmp_path, format, expected)
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    found = list(reader.entries())
    assert found == list(reader.entries())
    for want, have in zip(expected, found, strict=True):
        assert isinstance(have, Entry)
        if want.type == "directory":
            want.path += b"/"
        if want.type == "regular":
            assert have.locator is not None
            span = reader.span(have.locator)
            assert span is not None
            offset, length = span
            assert data[offset : offset + length] == BODY == b"".join(opened(data).open(have.locator))
            want.locator, want.size = have.locator, len(BODY)
        assert have == want
    # What is left of the file after the claims is nothing.
    assert sum(claim.length for claim in reader.claims()) == len(data)
    assert [claim.what for claim in reader.claims()] == ["members", "end of archive"]
    assert reader.detail["end_mark"] is True


@needs_tar
@needs_bsdtar
@pytest.mark.parametrize("format", ["gnutar", "pax"])
def test_gnu_tar_lists_the_same(format: str, tmp_path: Path) -> None:
    data = archive(tmp_path, format, tree())
    (tmp_path / "a.tar").write_bytes(data)
    command = ["tar", "-tvP", "--full-time", "--numeric-owner", "--quoting-style=escape", "-f", tmp_path / "a.tar"]
    done = subprocess.run(command, env={"TZ": "UTC", "LC_ALL": "C", "PATH": os.environ["PATH"]}, capture_output=True)
    assert done.returncode == 0, done.stderr
    found, error = listing(data)
    assert error is None
    assert [re.sub(r" +", " ", line) for line in done.stdout.decode("ascii").splitlines()] == [*map(line, found)]


def line(entry: Entry | Problem) -> str:
    """Return an entry as `tar -tv` has it, blanks squeezed."""
    assert isinstance(entry, Entry)
    kind = {"regular": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK, "hardlink": stat.S_IFREG}
    kind |= {"chardev": stat.S_IFCHR, "blockdev": stat.S_IFBLK, "fifo": stat.S_IFIFO}
    assert entry.mode is not None
    mode = stat.filemode(kind[entry.type] | entry.mode)
    if entry.type == "hardlink":
        mode = "h" + mode[1:]
    size = f"{entry.device[0]},{entry.device[1]}" if entry.device else str(entry.size or 0)
    link = {"symlink": " -> ", "hardlink": " link to "}.get(entry.type, "")
    moment = "2001-09-09 01:46:40" if entry.mtime == SECOND * SECOND else "1970-01-01 00:00:01"
    assert entry.mtime in (SECOND, SECOND * SECOND)
    return f"{mode} {entry.uid}/{entry.gid} {size} {moment} {escaped(entry.path)}{link}{escaped(entry.link or b'')}"


def escaped(name: bytes) -> str:
    names = {0x0A: "\\n", 0x5C: "\\\\"}
    return "".join(names.get(b) or (chr(b) if 0x20 <= b < 0x7F else f"\\{b:03o}") for b in name)


@needs_tar
@pytest.mark.parametrize("format", ["v7", "oldgnu", "gnu", "ustar", "pax"])
def test_what_gnu_tar_makes_of_files(format: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_bytes(b"first")
    os.link(root / "a", root / "b")
    (root / ("n" * 99)).write_bytes(b"long")
    if format in ("oldgnu", "gnu", "pax"):
        (root / ("m" * 120)).write_bytes(b"longer")
        (root / "to").symlink_to("t" * 300)
        os.link(root / ("m" * 120), root / ("o" * 150))
    (root / "a").chmod(0o4711)
    for file in root.iterdir():
        os.utime(file, ns=(SECOND, SECOND * 7 + 123_456_789), follow_symlinks=False)
    names = sorted(file.name for file in root.iterdir())
    command = ["tar", f"--format={format}", "-cf", "-", "--owner=op:1234", "--group=staff:5678", *names]
    data = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout
    found, error = listing(data)
    assert error is None
    assert [entry.path.decode() for entry in found] == names
    mtime = SECOND * 7 + (123_456_789 if format == "pax" else 0)
    for entry in found:
        assert isinstance(entry, Entry)
        file = root / entry.path.decode()
        kept = (entry.mode, entry.uid, entry.gid, entry.mtime)
        assert kept == (stat.S_IMODE(file.lstat().st_mode), 1234, 5678, mtime)
        assert (entry.owner, entry.group) == ((None, None) if format == "v7" else ("op", "staff"))
        if entry.type == "regular":
            assert body(data, entry) == file.read_bytes()
        elif entry.type == "symlink":
            assert entry.link == b"t" * 300
    links = {entry.path[:1]: entry.link for entry in found if isinstance(entry, Entry) and entry.type == "hardlink"}
    assert links == {b"b": b"a"} | ({b"o": b"m" * 120} if "m" * 120 in names else {})


@needs_tar
@pytest.mark.parametrize(
    "options", [["gnu"], ["oldgnu"], *(["pax", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))]
)
@pytest.mark.parametrize("stretches", [0, 1, 3, 40])
def test_sparse(options: list[str], stretches: int, tmp_path: Path) -> None:
    with (tmp_path / "holes").open("wb") as file:
        for number in range(stretches):
            file.seek(number * 65536 + 8192)
            file.write(bytes([65 + number % 26]) * 5000)
        file.truncate(stretches * 65536 + 20_000)
    (tmp_path / "after").write_bytes(b"after")
    command = ["tar", "--sparse", f"--format={options[0]}", *options[1:], "-cf", "-", "holes", "after"]
    data = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout
    if len(data) > 20_000 + stretches * 30_000:
        pytest.skip("the file system of the temporary directory has no holes")
    reader = opened(data)
    holes, after = reader.entries()
    assert (holes.path, after.path) == (b"holes", b"after")
    assert body(data, holes) == (tmp_path / "holes").read_bytes()
    assert body(data, after) == b"after"
    assert isinstance(holes, Entry)
    assert holes.size == stretches * 65536 + 20_000
    assert holes.locator is not None
    assert reader.span(holes.locator) is None
    assert sum(claim.length for claim in reader.claims()) == len(data)


def test_sparse_of_terabytes_is_not_made() -> None:
    pax = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "big",
        "GNU.sparse.realsize": str(1 << 62),
    }
    data = packed(
        member("GNUSparseFile.0/big", (b"1\n%d\n4\n" % (1 << 61)).ljust(512, b"\0") + b"data", pax_headers=pax),
        format=tarfile.PAX_FORMAT,
    )
    ((entry,), error) = listing(data)
    assert error is None
    assert isinstance(entry, Entry)
    assert (entry.path, entry.size, entry.locator) == (b"big", 1 << 62, [2048, 4, 1 << 62, 1 << 61, 4])

    def work() -> None:
        with pytest.raises(LimitReached):
            for chunk in opened(data, Limits(ratio_from=8 << 20)).open(entry.locator or 0):
                assert not chunk.strip(b"\0")

    bounded(work, 2)


@pytest.mark.parametrize(
    ("map", "size"),
    [
        ("5,10,0,3", "100"),
        ("90,20", "100"),
        ("0,-5", "100"),
        ("0,10,5,10", "100"),
        ("1", "10"),
        ("x,1", "10"),
        ("0,99", "99"),
    ],
)
def test_sparse_maps_that_lie(map: str, size: str) -> None:
    pax = {"GNU.sparse.size": size, "GNU.sparse.map": map}
    data = packed(member("bad", b"data", pax_headers=pax), member("next", b"x"), format=tarfile.PAX_FORMAT)
    (bad, following), error = listing(data)
    assert error is None
    assert isinstance(bad, Problem)
    assert (bad.reason, bad.path) == ("malformed", b"bad")
    assert body(data, following) == b"x"


def test_extended_attributes_are_raw() -> None:
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    assert capability.decode("utf-8", "surrogateescape")
    records = {
        "SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.user.raw": b"\xff=\n\0x".decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.user.empty": "",
        "LIBARCHIVE.xattr.user.a%25b": "YWJj",
        "LIBARCHIVE.xattr.user.bad": "!",
        "RHT.security.selinux": "system_u:object_r:bin_t:s0",
        "SCHILY.acl.access": "user::rwx",
        "SCHILY.nlink": "3",
        "mtime": "-1.5",
        "atime": "1350244992.023960108",
        "ctime": "7",
        "uid": "4294967294",
        "uname": "n\xe4me",
        "path": b"l\xe4tin/\xe4".decode("utf-8", "surrogateescape"),
    }
    data = packed(member("x", b"data", gid=9, pax_headers=records), format=tarfile.PAX_FORMAT)
    ((entry,), error) = listing(data)
    assert error is None
    assert isinstance(entry, Entry)
    assert entry == Entry(
        b"l\xe4tin/\xe4",
        "regular",
        locator=entry.locator,
        size=4,
        mode=0o644,
        uid=4294967294,
        gid=9,
        owner="n\xe4me",
        mtime=-1_500_000_000,
        atime=1350244992023960108,
        ctime=7_000_000_000,
        nlink=3,
        xattrs={
            "security.capability": capability,
            "user.raw": b"\xff=\n\0x",
            "user.empty": b"",
            "user.a%b": b"abc",
            "LIBARCHIVE.xattr.user.bad": b"!",
            "security.selinux": b"system_u:object_r:bin_t:s0",
            "SCHILY.acl.access": b"user::rwx",
        },
    )
    assert opened(data).detail == {"variant": "pax"}


@needs_tar
def test_extended_attributes_as_gnu_tar_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    try:
        os.setxattr(tmp_path / "f", "user.note", b"\0\xffraw\n")
    except OSError:
        pytest.skip("the file system of the temporary directory has no extended attributes")
    expected = {"user.note": b"\0\xffraw\n"}
    try:
        capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
        os.setxattr(tmp_path / "f", "security.capability", capability)
        expected["security.capability"] = capability
    except OSError:
        pass  # only root may
    command = ["tar", "--format=pax", "--xattrs", "--xattrs-include=*", "-cf", "-", "f"]
    data = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout
    ((entry,), _) = listing(data)
    assert isinstance(entry, Entry)
    assert entry.xattrs == expected


def test_global_records_hold_until_replaced() -> None:
    data = packed(
        member("a", b"1"), member("b", b"2"), format=tarfile.PAX_FORMAT, pax_headers={"gname": "all", "mtime": "5"}
    )
    (a, b), error = listing(data)
    assert error is None
    assert isinstance(a, Entry)
    assert isinstance(b, Entry)
    assert (a.group, a.mtime, b.group, b.mtime) == ("all", 5 * SECOND, "all", 5 * SECOND)


def test_numbers_in_base_256() -> None:
    data = packed(member("x", uid=1 << 40, gid=-2, mtime=-77, mode=0o104755), format=tarfile.GNU_FORMAT)
    ((entry,), _) = listing(data)
    assert isinstance(entry, Entry)
    assert (entry.uid, entry.gid, entry.mtime, entry.mode) == (1 << 40, -2, -77 * SECOND, 0o4755)
    wide = bytearray(data)
    wide[136:148] = b"\x80" + b"\xff" * 11
    wide[108:116] = b"12 mice\0"
    ((entry,), _) = listing(rechecked(bytes(wide)))
    assert isinstance(entry, Entry)
    assert (entry.uid, entry.mtime) == (None, None)


def test_joined_archives_and_zero_blocks_in_the_middle() -> None:
    one, two = packed(member("one", b"1")), packed(member("two", b"2"))
    reader = opened(one + two)
    assert [entry.path for entry in reader.entries()] == [b"one", b"two"]
    assert reader.claims() == [
        Claim(0, 1024, "members"),
        Claim(1024, len(one) - 1024, "end of archive"),
        Claim(len(one), 1024, "members"),
        Claim(len(one) + 1024, len(two) - 1024, "end of archive"),
    ]
    single = one[:1024] + bytes(512) + two
    assert [entry.path for entry in listing(single)[0]] == [b"one", b"two"]
    assert opened(one[:1024]).detail == {"variant": "ustar"}


def test_end_and_what_follows() -> None:
    one = packed(member("one", b"1"))
    reader = opened(one[:1024])
    assert [entry.path for entry in reader.entries()] == [b"one"]
    assert reader.detail == {"variant": "ustar", "end_mark": False}
    reader = opened(one + b"something else" * 100)
    assert [entry.path for entry in reader.entries()] == [b"one"]
    assert reader.claims() == [Claim(0, 1024, "members"), Claim(1024, len(one) - 1024, "end of archive")]
    assert reader.detail == {"variant": "ustar", "end_mark": True}


def test_padding_that_hides_something_is_not_claimed() -> None:
    data = bytearray(packed(member("one", b"1"), member("two", b"22")))
    data[600:606] = b"hidden"
    reader = opened(bytes(data))
    assert [entry.path for entry in reader.entries()] == [b"one", b"two"]
    assert reader.claims()[:2] == [Claim(0, 513, "members"), Claim(1024, 1024, "members")]


def test_listing_goes_on_after_a_damaged_header() -> None:
    members = [member(f"file{number}", bytes([65 + number]) * 2000) for number in range(5)]
    data = packed(*members)
    for damage in (b"\xff", bytes(512), b"no header at all" * 32):
        broken = bytearray(data)
        broken[2560 : 2560 + len(damage)] = damage
        found, error = listing(bytes(broken))
        assert error is None
        assert [entry.path for entry in found] == [b"file0", b"", b"file2", b"file3", b"file4"]
        assert found[1] == Problem("malformed", "no header at offset 2560, listing goes on at offset 5120")
        assert body(bytes(broken), found[2]) == b"C" * 2000
    broken = bytearray(data)
    broken[0] ^= 0xFF
    found, _ = listing(bytes(broken))
    assert [entry.path for entry in found] == [b"", b"file1", b"file2", b"file3", b"file4"]
    broken[2560] = broken[5120] = broken[7680] = broken[10240] = 0xFF
    with pytest.raises(NotThisFormat):
        opened(bytes(broken))


def test_cut_short_says_so() -> None:
    data = packed(member("a", b"1" * 600), member("b", b"2" * 600))
    found, error = listing(data[: 1536 + 512 + 100])
    assert [entry.path for entry in found] == [b"a", b"b"]
    assert isinstance(error, Truncated)
    assert body(data[: 1536 + 512 + 100], found[0]) == b"1" * 600
    with pytest.raises(Truncated):
        body(data[: 1536 + 512 + 100], found[1])
    found, error = listing(data[: 1536 + 100])
    assert [entry.path for entry in found] == [b"a"]
    assert isinstance(error, Truncated)
    long = packed(member("n" * 300, b"x"), format=tarfile.GNU_FORMAT)
    assert isinstance(listing(long[:700])[1], Truncated)
    assert isinstance(listing(long[:1024])[1], Truncated)


def test_hard_link_with_data_and_one_that_only_says_so() -> None:
    link = member("link", b"", type=tarfile.LNKTYPE, linkname="file")
    data = packed(member("file", b"x" * 600), link, member("last", b"y"))
    at = 1536
    lied = rechecked(data[: at + 124] + b"00000001130\0" + data[at + 136 :], at)
    found, error = listing(lied)
    assert error is None
    assert [entry.path for entry in found] == [b"file", b"link", b"last"]
    real = lied[: at + 512] + b"z" * 600 + bytes(424) + lied[at + 512 :]
    found, error = listing(real)
    assert error is None
    assert [entry.path for entry in found] == [b"file", b"link", b"last"]
    assert isinstance(found[1], Entry)
    assert (found[1].type, found[1].link, body(real, found[1])) == ("hardlink", b"file", b"z" * 600)
    assert body(real, found[2]) == b"y"


def test_v7_is_known_by_its_checksum_alone() -> None:
    block = bytearray(512)
    block[0:4] = b"dir/"
    block[100:148] = b"0000755\0" + b"0000001\0" + b"0000002\0" + b"00000000000\0" + b"00000000001\0"
    data = rechecked(bytes(block)) + bytes(1024)
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert list(reader.entries()) == [Entry(b"dir/", "directory", mode=0o755, uid=1, gid=2, mtime=SECOND)]
    assert reader.detail == {"variant": "v7", "end_mark": True}
    signed = bytearray(data)
    signed[1] = 0xE4
    signed = bytearray(rechecked(bytes(signed)))
    signed[148:154] = b"%06o" % (int(bytes(signed[148:154]), 8) - 256)
    assert [entry.path for entry in listing(bytes(signed))[0]] == [b"d\xe4r/"]
    with pytest.raises(NotThisFormat):
        opened(b"0" * 512)
    with pytest.raises(NotThisFormat):
        opened(bytes(10240))


def test_labels_and_continuations() -> None:
    label = member("Volume 1", b"", type=b"V")
    rest = member("part", b"rest", type=b"M")
    data = packed(label, rest, member("last"), format=tarfile.GNU_FORMAT)
    reader = opened(data)
    found = list(reader.entries())
    assert found[0] == Problem("unsupported", "goes on from another volume, at its byte None", b"part")
    assert found[1].path == b"last"
    assert reader.detail["label"] == "Volume 1"


def test_extended_headers_that_are_wrong_or_too_large() -> None:
    info, _ = member("x", pax_headers={"comment": "c" * 100})
    data = packed((info, b""), format=tarfile.PAX_FORMAT)
    at = data.index(b"comment") - 4
    found, error = listing(data[:at] + b"999" + data[at + 3 :])
    assert error is None
    assert [type(item) for item in found] == [Problem, Entry]
    assert found[1].path == b"x"
    reader = opened(data, Limits(metadata_bytes=64))
    found = list(reader.entries())
    assert isinstance(found[0], Problem)
    assert (found[0].reason, found[0].limit) == ("limit", "metadata_bytes 64")
    assert found[1].path == b"x"
    many = packed(*[member("x")] * 50, format=tarfile.PAX_FORMAT, pax_headers={"comment": "c" * 9000})
    with pytest.raises(LimitReached):
        list(opened(many, Limits(metadata_bytes=400_000)).entries())
    found, _ = listing(data[:1024] + bytes(1024))
    assert found == [Problem("malformed", "the extended header at offset 0 belongs to no entry")]


@pytest.mark.parametrize(
    "bad",
    [
        b"0 a=b\n",
        b"path=ab\n",
        b"p=b" * 9 + b"\n",
        b"x a=b\n",
        b"11 path=ab\nx a=b\n",
        b"1 a=b\n",
        b"99 a=b\n",
        b" a=b\n",
        b"6 ab\n\n",
    ],
)
def test_records_that_do_not_go_on_end(bad: bytes) -> None:
    attributes: dict[bytes, bytes] = {}

    def work() -> None:
        with pytest.raises(Malformed):
            merge(attributes, bad)

    bounded(work, 1)
    assert attributes == ({b"path": b"ab"} if bad.startswith(b"11 ") else {})


def test_locators_that_are_none() -> None:
    reader = opened(packed(member("x", b"y")))
    for locator in (None, "x", [], [1], ["a", "b"], [5, None, 7]):
        with pytest.raises(Malformed):
            list(reader.open(locator))  # type: ignore[arg-type]


def test_hostile() -> None:
    pax = {"GNU.sparse.size": "9000", "GNU.sparse.map": "10,20,8000,5", "SCHILY.xattr.user.x": "v", "mtime": "1.5"}
    pax_one = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": "900"}
    data = packed(
        member("a" * 200, b"1" * 700),
        member("holes", b"d" * 25, pax_headers=pax),
        member("holes1", b"1\n100\n4\n".ljust(512, b"\0") + b"data", pax_headers=pax_one),
        member("link", type=tarfile.SYMTYPE, linkname="l" * 200),
        member("dev", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        format=tarfile.PAX_FORMAT,
        pax_headers={"comment": "x"},
    )
    gnu = packed(member("b" * 200, b"1" * 700), member("b"), format=tarfile.GNU_FORMAT)
    for broken in mangled(data, count=2000, seed=99):
        survives(FORMAT, broken)
    for start in range(0, len(data) - 1024, 512):  # header fields with the checksum made right again
        for broken in mangled(data, count=12, seed=start, hot=range(start, start + 512)):
            if len(broken) >= start + 512:
                survives(FORMAT, rechecked(broken, start))
    old = bytearray(rechecked(gnu))
    old[156] = ord("S")
    for broken in mangled(bytes(old), count=100, hot=range(386, 512)):
        survives(FORMAT, rechecked(broken) if len(broken) > 512 else broken)


def test_endless_looking_inputs_end() -> None:
    block = packed(member("x"))[:512]
    bounded(lambda: survives(FORMAT, block + b"0" * (8 << 20)), 3)
    bounded(lambda: survives(FORMAT, block + bytes(8 << 20)), 2)
    bounded(lambda: survives(FORMAT, block + (b"\xff" * 147 + b" 1").ljust(512, b"\xff") * (2 << 11)), 3)


def test_long_names_are_whole() -> None:
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        ((entry,), _) = listing(packed(member("./" + LONG.decode() * 3), format=format))
        assert entry.path == b"./" + LONG * 3
