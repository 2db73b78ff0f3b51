"""Containers at any offset: in a flash dump, behind a container, in a program, and ten in each other."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import random
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.unpack.base import BytesSource, Claim, Entry, FileSource, Limits
from assay.unpack.carved import ERASED, FORMAT, PIECES, Carved, remainder
from tests.support.hostile import mangled, survives

from .support import assert_same, examined, rows, unread
from .test_resume import cut_when

Make = Callable[[Path], bytes]
"""Makes a container of what a folder holds."""


def tool(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def by_tool(program: str, *arguments: str) -> Make:
    def make(folder: Path) -> bytes:
        out = folder.with_suffix(".out")
        tool(program, *(a.format(folder=folder, out=out) for a in arguments))
        return out.read_bytes()

    return make


def zipped(folder: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return out.getvalue()


def tarred(folder: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(folder, ".")
    return out.getvalue()


def cpio(folder: Path) -> bytes:
    names = "\n".join(sorted(path.name for path in folder.iterdir()))
    done = subprocess.run(
        ["cpio", "-o", "-H", "newc"], input=names.encode(), cwd=folder, capture_output=True, check=True
    )
    return done.stdout


def ext4(folder: Path) -> bytes:
    out = folder.with_suffix(".out")
    size = sum(path.stat().st_size for path in folder.iterdir()) + (4 << 20)
    tool("mkfs.ext4", "-q", "-d", folder, "-b", "1024", out, f"{size >> 10}k")
    return out.read_bytes()


def uimage(folder: Path) -> bytes:
    kernel, out = folder.with_suffix(".kernel"), folder.with_suffix(".out")
    kernel.write_bytes(gzip.compress(tarred(folder), 1, mtime=0))
    tool("mkimage", "-A", "arm", "-O", "linux", "-T", "kernel", "-C", "gzip", "-n", "test", "-d", kernel, out)
    return out.read_bytes()


LAYERS: dict[str, tuple[str, Make]] = {
    "zip": ("", zipped),
    "squashfs": ("mksquashfs", by_tool("mksquashfs", "{folder}", "{out}", "-quiet", "-noappend", "-no-progress")),
    "cpio": ("cpio", cpio),
    "cramfs": ("mkfs.cramfs", by_tool("mkfs.cramfs", "{folder}", "{out}")),
    "tar.xz": ("", lambda folder: lzma.compress(tarred(folder), preset=1)),
    "jffs2": ("mkfs.jffs2", by_tool("mkfs.jffs2", "-r", "{folder}", "-o", "{out}")),
    "romfs": ("genromfs", by_tool("genromfs", "-d", "{folder}", "-f", "{out}")),
    "uimage": ("mkimage", uimage),
    "erofs": ("mkfs.erofs", by_tool("mkfs.erofs", "--quiet", "{out}", "{folder}")),
    "ext4": ("mkfs.ext4", ext4),
}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def explained(record: Path) -> None:
    """Every byte of every container is in one stretch, and what none explains is a content of its own."""
    for number, size, offset in rows(
        record, "SELECT id, size, parent FROM container WHERE format NOT IN ('directory', 'image')"
    ):
        where = "container = ?" if offset is not None else "coalesce(container, ?) = ?"
        stretches = rows(
            record,
            f'SELECT "offset", length FROM region WHERE {where} ORDER BY "offset"',
            *([number] if offset is not None else [number, number]),
        )
        at = 0
        for start, length in stretches:
            assert start == at, (number, stretches)
            at += length
        assert at == size, (number, stretches)
    loose = rows(
        record,
        """SELECT r.container, r."offset", r.length FROM region AS r LEFT JOIN container AS c ON c.id = r.container
            WHERE r.kind = 'unknown' AND r.length >= 16 AND NOT EXISTS (
              SELECT 1 FROM file AS f JOIN container AS k ON k.id = f.container
               WHERE f.path = printf('/0x%08x.bin', r."offset") AND f.size = r.length AND f.content IS NOT NULL
                 AND (k.id = r.container OR (r.container IS NULL AND k.parent IS NULL)))""",
    )
    assert loose == []


def test_ten_containers_in_each_other_at_odd_offsets(tmp_path: Path) -> None:
    missing = sorted({program for program, _ in LAYERS.values() if program and not shutil.which(program)})
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    rng = random.Random(4)
    inner, planted = b"", []
    for number, (name, (_, make)) in enumerate(LAYERS.items()):
        folder = tmp_path / f"layer-{number}"
        folder.mkdir()
        secret = f"planted in {name} ".encode() * 50 + rng.randbytes(3000)
        planted.append(sha256(secret))
        (folder / "planted.dat").write_bytes(secret)
        if inner:
            (folder / "inner.bin").write_bytes(inner)
        before, after = rng.randbytes(2 * rng.randrange(20, 3000) + 1), rng.randbytes(rng.randrange(17, 999))
        inner = before + make(folder) + b"\xff" * rng.randrange(2048, 9999) + after
    image = tmp_path / "flash.bin"
    image.write_bytes(inner)
    record = tmp_path / "r.assay"
    examined(image, record)
    assert unread(record) == []
    found = {row[0] for row in rows(record, "SELECT c.sha256 FROM file AS f JOIN content AS c ON c.id = f.content")}
    assert [name for name, digest in zip(LAYERS, planted, strict=True) if digest not in found] == []
    explained(record)


def test_a_dump_says_what_it_is_made_of(tmp_path: Path) -> None:
    archive = gzip.compress(b"the kernel" * 500, mtime=0)
    parts = [b"VENDOR" + bytes(range(1, 59)), archive, b"\xff" * 5000, tarred_file("a.txt", b"hello"), b"\1\2\3\4" * 9]
    image, record = tmp_path / "flash.bin", tmp_path / "r.assay"
    image.write_bytes(b"".join(parts))
    examined(image, record)
    at = [sum(map(len, parts[:number])) for number in range(len(parts))]
    assert rows(record, "SELECT path, size FROM file WHERE container = 1 ORDER BY seq") == [
        ("/0x00000000.bin", 64),
        (f"/{at[1]:#010x}.gzip", len(parts[1])),
        (f"/{at[3]:#010x}.tar", len(parts[3])),
        (f"/{at[4]:#010x}.bin", 36),
    ]
    assert rows(record, """SELECT "offset", length, kind, "by" FROM region WHERE container IS NULL""") == [
        (0, 64, "unknown", ""),
        (at[1], len(parts[1]), "explained", "carved: gzip"),
        (at[2], 5000, "padding", "0xff"),
        (at[3], len(parts[3]), "explained", "carved: tar"),
        (at[4], 36, "unknown", ""),
    ]
    explained(record)


def tarred_file(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_what_lies_behind_a_container_is_searched(tmp_path: Path) -> None:
    behind = b"\xff" * 1500 + tarred_file("behind.txt", b"behind") + b"and a trailer of nobody"
    for name, front in {"a.tar": tarred_file("front.txt", b"front"), "b.gz": gzip.compress(b"front", mtime=0)}.items():
        image, record = tmp_path / name, tmp_path / f"{name}.assay"
        image.write_bytes(front + behind)
        examined(image, record)
        offset, size = len(front), len(behind)
        if name == "a.tar":
            assert b"front" in front
        assert ("/behind.txt",) in rows(record, "SELECT path FROM file")
        ((path, start, length),) = rows(record, 'SELECT path, "offset", size FROM container WHERE "offset" IS NOT NULL')
        assert (path, start, length) == (f"/@{start:#x}!", start, len(front) + len(behind) - start)
        assert start <= offset
        assert length <= size
        assert ("and a trailer of nobody",) in [
            (image.read_bytes()[start + at : start + at + n].decode(),)
            for at, n in rows(
                record, """SELECT r."offset", r.length FROM region AS r JOIN container AS c ON c.id = r.container
                            WHERE c."offset" IS NOT NULL AND r.kind = 'unknown'"""
            )
        ]  # fmt: skip
        explained(record)
        accounted = rows(record, """SELECT "offset", length, kind FROM accounted WHERE container IS NULL ORDER BY 1""")
        assert sum(length for _, length, _ in accounted) == len(front) + len(behind)
        assert accounted[-1][1:] == (len("and a trailer of nobody"), "unknown")


def test_a_program_that_holds_an_archive_is_a_program_still(tmp_path: Path) -> None:
    image, record = tmp_path / "installer", tmp_path / "r.assay"
    image.write_bytes(Path("/bin/true").resolve().read_bytes() + tarred_file("payload.txt", b"payload"))
    examined(image, record)
    assert rows(record, "SELECT kind FROM content WHERE id = (SELECT content FROM artefact)") == [("elf",)]
    assert rows(record, "SELECT count(*) FROM elf") == [(1,)]
    assert ("/payload.txt",) in rows(record, "SELECT path FROM file")


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("what", ["on_listing", "on_listed", "on_result"])
def test_a_search_that_was_killed_is_continued(tmp_path: Path, what: str, number: int) -> None:
    image, whole, record = tmp_path / "b.gz", tmp_path / "whole.assay", tmp_path / "r.assay"
    dump = (
        b"x" * 40
        + tarred_file("behind.txt", b"behind")
        + b"\xff" * 2000
        + gzip.compress(b"last" * 99, mtime=0)
        + b"y" * 99
    )
    image.write_bytes(gzip.compress(b"front", mtime=0) + dump)
    examined(image, whole)
    cut_when(image, record, f"examination:Examination.{what}", number)
    examined(image, record)
    assert_same(record, whole)


def test_holes_cost_nothing(tmp_path: Path) -> None:
    image, archive = tmp_path / "disk.bin", tarred_file("deep.txt", b"deep")
    with image.open("wb") as file:
        file.seek(3 << 40)
        file.write(archive)
        file.truncate(4 << 40)
    with image.open("rb") as file:
        (entry,) = Carved(FileSource(file.fileno()), Limits()).entries()
    assert isinstance(entry, Entry)
    assert (entry.path, entry.size) == (f"{3 << 40:#010x}.tar".encode(), 1 << 40)  # with the zeros after it


def test_erased_flash_between_remainders_is_padding() -> None:
    data = b"A" * 100 + b"\xff" * 2000 + b"B" * 100 + bytes(3 << 20) + b"C" * 100 + b"\xff" * 1500
    reader = Carved(BytesSource(data), Limits())
    assert [(e.path, e.size) for e in reader.entries() if isinstance(e, Entry)] == [
        (b"0x00000000.bin", 2200),
        (f"{2200 + (3 << 20):#010x}.bin".encode(), 100),
    ]
    assert reader.claims() == [Claim(2200, 3 << 20, "0x00", True), Claim(2300 + (3 << 20), 1500, "0xff", True)]


@given(
    st.lists(st.tuples(st.sampled_from([b"\0", b"\xff", b"A", b"xyz"]), st.sampled_from([1, 40, 1024, 5000, 70_000])))
)
def test_remainders_have_every_byte_once(runs: list[tuple[bytes, int]]) -> None:
    data = b"".join(byte * number for byte, number in runs)
    at, last = 0, None
    for piece in remainder(BytesSource(data), 0, len(data)):
        assert piece.offset == at
        assert piece.length > 0
        part = data[at : at + piece.length]
        assert not piece.padding or part == bytes([int(piece.what, 16)]) * len(part)
        assert last is None or last.padding or piece.padding
        at, last = at + piece.length, piece
    assert at == len(data)


def test_many_remainders_do_not_become_entries_without_end() -> None:
    data = (b"A" * 20 + b"\xff" * ERASED) * (PIECES + 100)
    assert sum(1 for _ in Carved(BytesSource(data), Limits()).entries()) == PIECES


def test_beginnings_without_end_are_told() -> None:
    data = b"hsqs" * 250_000
    (problem,) = [
        entry for entry in Carved(BytesSource(data), Limits(cpu_seconds=4)).entries() if not isinstance(entry, Entry)
    ]
    assert problem.reason == "limit"
    assert problem.limit is not None


def test_hostile() -> None:
    data = b"x" * 40 + gzip.compress(b"y" * 9000, mtime=0) + tarred_file("a", b"b") + zipfile_of("c", b"d") + b"z" * 40
    for changed in mangled(data, count=150):
        survives(FORMAT, changed, seconds=10.0)


def zipfile_of(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, data)
    return out.getvalue()
