from __future__ import annotations

import contextlib
import shutil
import sqlite3
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from assay.facts.identity import Identity
from assay.facts.package import Package
from assay.identify import rpm, rpmdb
from assay.inspect.base import Content
from assay.unpack.base import BytesSource, Limits, Malformed, UnpackError
from assay.unpack.rpmheader import NAME, Header, read_header

from ..support.hostile import bounded, mangled
from ..support.memory_tree import MemoryTree, inspect
from ..support.rpms import build, needs_rpmbuild

FIELDS = {
    "manager": "rpm",
    "name": "widget",
    "version": "2:1.4-7",
    "architecture": "aarch64",
    "source_name": "widget",
    "source_version": "1.4-7",
    "licence": "MIT and BSD",
    "depends": ["/bin/sh", "libfoo"],
    "files": ["/etc/widget.conf", "/usr/bin/link", "/usr/bin/widget"],
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build(tmp_path_factory.mktemp("rpm"))


@pytest.fixture(scope="module")
def blobs(packages: list[Path]) -> list[bytes]:
    """Headers as a database keeps them: without magic."""
    out = []
    for package in packages:
        source = BytesSource(package.read_bytes())
        _, end = read_header(source, 96, Limits())
        start = end + -end % 8
        _, end = read_header(source, start, Limits())
        out.append(source.pread(start + 8, end - start - 8))
    return out


def check(facts: list[object], status: str) -> None:
    """Compare facts with what the spec file says, leaving offsets aside."""
    found = [fact for fact in facts if isinstance(fact, Package)]
    (widget,) = (package for package in found if package.name == "widget")
    assert widget == Package(**FIELDS, status=status, offset=widget.offset)  # type: ignore[arg-type]
    makers = {(f.attribute, f.value) for f in facts if isinstance(f, Identity) and f.subject == "package:widget"}
    assert makers == {
        ("vendor", "Example Vendor"),
        ("packager", "Someone <someone@example.org>"),
        ("build-host", "builder.example.org"),
        ("homepage", "https://example.org/widget"),
    }
    if status == "installed":
        assert sorted(package.name for package in found) == ["widget", "widget-doc"]


@needs_rpmbuild
def test_package_file(packages: list[Path]) -> None:
    data = packages[0].read_bytes()
    tree = MemoryTree({"/repo/w.rpm": (0o644, 0, 0, data)}, [rpm.FILE], kinds={"/repo/w.rpm": "rpm"})
    file = tree.get("/repo/w.rpm")
    assert file is not None
    facts = [*tree.facts(Package, file), *tree.facts(Identity, file)]
    check(list(facts), "delivered")
    offset = facts[0].offset
    assert offset is not None
    assert data[offset : offset + 4] == b"\x8e\xad\xe8\x01"


@needs_rpmbuild
def test_files_as_rpm_lists_them(packages: list[Path]) -> None:
    for package in packages:
        said = subprocess.run(["rpm", "-qpl", package], check=True, capture_output=True, text=True).stdout.split()
        (fact,) = (fact for fact in inspect(rpm.FILE, package.read_bytes()) if isinstance(fact, Package))
        assert fact.files == said


@needs_rpmbuild
def test_sqlite_database(packages: list[Path], tmp_path: Path) -> None:
    subprocess.run(
        ["rpm", "-i", "--justdb", "--nodeps", "--noscripts", "--nosignature", "--ignorearch", "--dbpath", tmp_path]
        + [str(package) for package in packages],
        check=True, capture_output=True,
    )  # fmt: skip
    data = (tmp_path / "rpmdb.sqlite").read_bytes()
    assert data[18:20] == b"\2\2"
    check(list(inspect(rpm.SQLITE, data)), "installed")
    for broken in mangled(data[:60_000], count=60, hot=range(9000)):
        outcome(rpm.SQLITE.inspect, broken)


def outcome(work: Callable[[Content], Iterable[object]], data: bytes) -> None:
    """Run an inspector on damaged input: facts or an error about the input."""
    with contextlib.suppress(UnpackError):
        list(work(Content(data, data[:4096], "data")))


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TABLE x (blob)",
        "CREATE VIEW Packages AS SELECT 1 AS hnum, zeroblob(1000000000) AS blob",
        "CREATE VIEW Packages AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n blob FROM r",
        "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob AS (zeroblob(100000000)))",
        "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob TEXT)",
    ],
)
def test_databases_that_are_traps(schema: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute(schema)
        if "hnum INTEGER" in schema:
            connection.execute("INSERT INTO Packages (hnum) VALUES (1)")
    connection.close()
    data = (tmp_path / "db").read_bytes()
    with pytest.raises(Malformed):
        bounded(lambda: list(rpmdb.sqlite_values(data)), 1)


@needs_rpmbuild
@pytest.mark.skipif(
    not shutil.which("perl") or bool(subprocess.run(["perl", "-MDB_File", "-e1"], capture_output=True).returncode),
    reason="perl has no DB_File to write a Berkeley DB with",
)
@pytest.mark.parametrize("order", [1234, 4321])
def test_berkeley_database(blobs: list[bytes], tmp_path: Path, order: int) -> None:
    path = tmp_path / "Packages"
    for number, blob in enumerate(blobs, 1):
        (tmp_path / f"blob{number}").write_bytes(blob)
    script = """
        use DB_File; use Fcntl;
        my ($path, $order, @blobs) = @ARGV;
        my $kind = DB_File::HASHINFO->new; $kind->{bsize} = 512; $kind->{lorder} = $order;
        tie my %db, 'DB_File', $path, O_RDWR|O_CREAT, 0644, $kind or die $!;
        $db{pack 'L', 0} = pack 'L', 2;
        my $n = 0;
        for (@blobs) { open my $f, '<:raw', $_ or die; local $/; $db{pack 'L', ++$n} = <$f>; }
        untie %db;
    """
    names = [str(tmp_path / f"blob{number}") for number in range(1, len(blobs) + 1)]
    subprocess.run(["perl", "-e", script, str(path), str(order), *names], check=True)
    data = path.read_bytes()
    assert sorted(value for _, value in rpmdb.berkeley_values(BytesSource(data))) == sorted(blobs)
    check(list(inspect(rpm.BERKELEY, data)), "installed")
    for broken in mangled(data, count=200):
        outcome(rpm.BERKELEY.inspect, broken)


def ndb(blobs: list[bytes]) -> bytes:
    """Return a Packages.db as rpm's lib/backend/ndb/rpmpkg.c lays it out."""
    slots, body, block = b"", b"", 4096 // 16
    for number, blob in enumerate(blobs, 1):
        size = 16 + len(blob) + -len(blob) % 16 + 16
        raw = struct.pack("<4s3I", b"BlbS", number, 1, len(blob)) + blob
        raw = raw.ljust(size - 12, b"\0") + struct.pack("<2I4s", zlib.adler32(blob), len(blob), b"BlbE")
        slots += struct.pack("<4s3I", b"Slot", number, block + len(body) // 16, len(raw) // 16)
        body += raw
    free = struct.pack("<4s3I", b"Slot", 0, 0, 0) * ((4096 - 32 - len(slots)) // 16)
    return struct.pack("<4s4I12x", b"RpmP", 0, 1, 1, len(blobs) + 1) + slots + free + body


@needs_rpmbuild
def test_ndb_database(blobs: list[bytes]) -> None:
    data = ndb(blobs)
    check(list(inspect(rpm.NDB, data)), "installed")
    for broken in mangled(data, count=200, hot=range(200)):
        outcome(rpm.NDB.inspect, broken)


@needs_rpmbuild
def test_broken_package_files(packages: list[Path]) -> None:
    for broken in mangled(packages[0].read_bytes(), count=300, hot=range(4400, 6400)):
        outcome(rpm.FILE.inspect, broken)


def test_one_long_directory_for_many_names_is_refused() -> None:
    folder, count = b"/" + b"d" * 100_000 + b"/\0", 10_000
    bases, places = b"x\0" * count, bytes(4 * count)
    index = struct.pack(">12I", 1116, 4, 0, count, 1117, 8, len(places), count, 1118, 8, len(places) + len(bases), 1)
    with pytest.raises(Malformed, match="paths of more than"):
        Header(index, places + bases + folder).files()


def test_ring_of_overflow_pages() -> None:
    meta = bytearray(512)
    meta[12:16] = struct.pack("<I", 0x061561)
    meta[20:24] = struct.pack("<I", 512)
    page = bytearray(512)
    struct.pack_into("<3I2HBB", page, 8, 1, 0, 0, 2, 0, 0, 13)
    struct.pack_into("<2H", page, 26, 500, 480)
    struct.pack_into("<B3x2I", page, 480, 3, 2, 1 << 20)
    ring = bytearray(512)
    struct.pack_into("<3I2HBB", ring, 8, 2, 0, 2, 0, 100, 0, 7)
    with pytest.raises(Malformed, match="overflow page 2 is used twice"):
        list(rpmdb.berkeley_values(BytesSource(bytes(meta + page + ring))))


def test_keys_that_rpm_keeps_as_packages_are_left_out() -> None:
    store = b"gpg-pubkey\0"
    header = Header(struct.pack(">4I", NAME, 6, 0, 1), store)
    assert list(rpm.facts(header, "installed", None)) == []
