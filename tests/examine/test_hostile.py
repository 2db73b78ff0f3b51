"""Damaged, lying and overgrown artefacts: whatever they are, they end in bounded time, and nothing is lost silently."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import resource
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.unpack.base import Limits
from tests.support.hostile import mangled

from .evidence import archive, bsdtar, ext4, needs, needs_root, run, squashfs
from .support import assay, assert_accounted, contents, examined, rows, unread

LIMITS = Limits(cpu_seconds=5, wall_seconds=20, memory=512 << 20)


def cost(image: Path, record: Path, **limits: int) -> tuple[float, int, list[tuple[object, ...]]]:
    """Examine in a process of its own; return its CPU seconds and its largest process in bytes, workers included."""
    script = """
import resource, sys
from pathlib import Path
from assay.examine import examine
from assay.unpack.base import Limits
examine([Path(sys.argv[1])], Path(sys.argv[2]), workers=2, limits=Limits(**eval(sys.argv[3])))
usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
# of this program alone: ru_maxrss of a process begins with that of the one that started it
own = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
print(sum(u.ru_utime + u.ru_stime for u in usages), max(own, usages[1].ru_maxrss) * 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, image, record, repr(limits)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    seconds, memory = done.stdout.split()
    return float(seconds), int(memory), unread(record)


# -- damage ------------------------------------------------------------------------------------------------------------


@needs("mksquashfs")
def test_damaged_data_of_a_squashfs_costs_the_files_that_it_is_of(tmp_path: Path) -> None:
    chance = random.Random(3)
    tree = tmp_path / "tree"
    for i in range(120):
        (tree / f"d{i % 5}").mkdir(parents=True, exist_ok=True)
        (tree / f"d{i % 5}/{i}").write_bytes(chance.randbytes(3_000).hex().encode() * 5)
    image = tmp_path / "image"
    run("mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress", "-no-fragments", "-no-duplicates")
    whole, record = tmp_path / "whole.assay", tmp_path / "r.assay"
    examined(image, whole)
    ((_, before),) = rows(whole, "SELECT declared, listed FROM container")
    data = bytearray(image.read_bytes())
    for at in range(5_000, 250_000, 20_000):
        data[at] ^= 0xFF
    image.write_bytes(data)
    done = assay("examine", image, "-o", record, "--no-judge", "--no-report", "--json", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    good, found = contents(whole), contents(record)
    assert found.keys() == good.keys()
    assert len(good) == 120
    lost = {path for path, digest in found.items() if digest is None}
    assert {path: found[path] for path in found if path not in lost} == {p: good[p] for p in good if p not in lost}
    assert 5 <= len(lost) <= 13
    assert unread(record) == [(path, "entry", "malformed", None) for path in sorted(lost)]
    assert rows(record, "SELECT listed, complete FROM container") == [(before, 1)]
    assert_accounted(record)


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for i in range(30):
            out.writestr(f"d/{i}.txt", f"file {i}\n" * 50)
    return path


def compressed(tool: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def build(path: Path) -> Path:
        path.write_bytes(tool(archive(path.with_suffix(".t")).read_bytes()))
        return path

    return build


def deb(path: Path) -> Path:
    parts = path.parent / "parts"
    parts.mkdir()
    (parts / "debian-binary").write_text("2.0\n")
    (parts / "control").write_text("Package: odd\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\n")
    run("tar", "-czf", "control.tar.gz", "control", cwd=parts)
    archive(parts / "data.tar")
    run("xz", "data.tar", cwd=parts)
    run("ar", "q", path, "debian-binary", "control.tar.gz", "data.tar.xz", cwd=parts)
    return path


FORMATS: dict[str, tuple[Callable[[Path], Path], tuple[pytest.MarkDecorator, ...]]] = {
    "tar": (archive, ()),
    "zip": (zipped, ()),
    "gzip": (compressed(lambda data: gzip.compress(data, mtime=0)), ()),
    "bzip2": (compressed(bz2.compress), ()),
    "squashfs": (squashfs, (needs("mksquashfs"),)),
    "cpio": (lambda path: bsdtar(path, "newc"), (needs("bsdtar"),)),
    "ext4": (ext4, (needs("mkfs.ext4", "tar"), needs_root)),
    "deb": (deb, (needs("ar", "xz", "tar"),)),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks) for name, (_, marks) in FORMATS.items()])
def test_damaged_artefacts_end_and_are_accounted_for(tmp_path: Path, name: str) -> None:
    data = FORMATS[name][0](tmp_path / "image").read_bytes()
    tree = tmp_path / "tree"
    tree.mkdir()
    for number, broken in enumerate(mangled(data, seed=11, count=40, hot=range(min(len(data), 8_000)))):
        (tree / f"{number:02}").write_bytes(broken)
    for number, broken in enumerate(mangled(data, seed=12, count=20)):
        (tree / f"all{number:02}").write_bytes(broken)
    record = tmp_path / "r.assay"
    begun = time.monotonic()
    examined(tree, record, limits=LIMITS)
    assert time.monotonic() - begun < 30
    assert_accounted(record)
    assert [row for row in unread(record) if row[2] == "crash"] == []
    # what is said to be unknown or explained adds up to the bytes that are there
    sums = rows(
        record,
        """SELECT k.path, k.size, sum(r.length) FROM container AS k JOIN region AS r ON r.container = k.id
           GROUP BY k.id HAVING sum(r.length) != k.size""",
    )
    assert sums == []


@pytest.mark.parametrize("data", [b"", b"\0", b"\0" * 5_000_000, b"\xff" * 100, os.urandom(3_000_000), b"#!/bin/sh\n"])
def test_artefacts_that_are_nothing_in_particular(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "image").write_bytes(data)
    record = tmp_path / "r.assay"
    outcome = examined(tmp_path / "image", record)
    assert (outcome.containers, outcome.files, outcome.contents, outcome.unread) == (0, 0, 1, 0)
    assert rows(record, "SELECT ifnull(sum(length), 0) FROM region") == [(len(data),)]
    assert rows(record, "SELECT size, format FROM artefact") == [(len(data), None)]


# -- too much ----------------------------------------------------------------------------------------------------------


def test_a_gzip_bomb_is_stopped_and_named(tmp_path: Path) -> None:
    image = tmp_path / "bomb.gz"
    million = bytes(1 << 20)
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(million) + packer.flush(zlib.Z_FULL_FLUSH)  # stands for itself, so it can be repeated
    check = 0
    for _ in range(1_500):
        check = zlib.crc32(million, check)
    tail = b"\3\0" + struct.pack("<II", check, 1_500 << 20)
    image.write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\3" + packed * 1_500 + tail)
    assert 1_000_000 < image.stat().st_size < 2_000_000
    seconds, memory, named = cost(image, tmp_path / "r.assay")
    assert named == [("/data", "entry", "limit", "ratio=250")]
    assert seconds < 10
    assert memory < 300 << 20


def test_thirty_gzips_in_each_other(tmp_path: Path) -> None:
    data = b"the innermost"
    for _ in range(30):
        data = gzip.compress(data, mtime=0)
    image = tmp_path / "image.gz"
    image.write_bytes(data)
    record = tmp_path / "r.assay"
    examined(image, record)
    ((path, scope, reason, limit),) = unread(record)
    assert (scope, reason, limit, path.count("!")) == ("entry", "limit", "depth=16", 15)
    assert rows(record, "SELECT count(*), max(depth) FROM container") == [(16, 15)]
    deep = tmp_path / "deep.assay"
    assert examined(image, deep, limits=Limits(depth=40)).unread == 0
    assert rows(deep, "SELECT count(*) FROM content WHERE size = 13") == [(1,)]


def test_a_hundred_zips_in_each_other(tmp_path: Path) -> None:
    data = b"the innermost"
    for _ in range(100):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive_:
            archive_.writestr("inner", data)
        data = out.getvalue()
    (tmp_path / "image.zip").write_bytes(data)
    examined(tmp_path / "image.zip", tmp_path / "r.assay")
    assert [row[1:] for row in unread(tmp_path / "r.assay")] == [("entry", "limit", "depth=16")]
    assert examined(tmp_path / "image.zip", tmp_path / "deep.assay", limits=Limits(depth=200)).containers == 100


def test_a_zip_of_ten_thousand_entries(tmp_path: Path) -> None:
    image = tmp_path / "image.zip"
    with zipfile.ZipFile(image, "w") as out:
        for i in range(10_000):
            out.writestr(f"{i % 100}/{i}", b"%d" % i)
    seconds, memory, named = cost(image, tmp_path / "r.assay")
    assert named == []
    assert rows(tmp_path / "r.assay", "SELECT declared, listed FROM container") == [(10_000, 10_000)]
    assert rows(tmp_path / "r.assay", "SELECT count(*) FROM content") == [(10_001,)]
    assert seconds < 10
    assert memory < 300 << 20


def test_a_zip_whose_entries_are_all_the_same_bytes(tmp_path: Path) -> None:
    """Each entry of the central directory points at one great local file: 5 MB become 5 GB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as one:
        one.writestr("x" * 8, os.urandom(1_000) * 5_000)
    data = out.getvalue()
    end = data.rindex(b"PK\5\6")
    start = struct.unpack_from("<I", data, end + 16)[0]
    central = bytearray(data[start:end])
    entries = []
    for i in range(1_000):
        central[46:54] = b"%08d" % i
        entries.append(bytes(central))
    body = b"".join(entries)
    tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1_000, 1_000, len(body), start, 0)
    image = tmp_path / "image.zip"
    image.write_bytes(data[:start] + body + tail)
    seconds, memory, named = cost(image, tmp_path / "r.assay")
    assert len(named) >= 999
    assert {row[2] for row in named} == {"overlap", "malformed"}  # one has another name in its local header
    assert seconds < 10
    assert memory < 300 << 20
    assert_accounted(tmp_path / "r.assay")


@pytest.mark.parametrize("data", [b"", b"at the start"])
def test_a_file_that_is_a_hole_of_four_terabytes(tmp_path: Path, data: bytes) -> None:
    image = tmp_path / "image"
    try:
        with image.open("wb") as out:
            out.write(data)
            out.truncate(4 << 40)
    except OSError as error:
        pytest.skip(f"this file system has no such holes: {error}")
    seconds, memory, named = cost(image, tmp_path / "r.assay")
    assert named == [("", "entry", "limit", "ratio=250")]
    assert seconds < 10
    assert memory < 300 << 20
    (tmp_path / "tree").mkdir()
    image.rename(tmp_path / "tree/image")
    (tmp_path / "tree/other").write_text("other")
    seconds, _, named = cost(tmp_path / "tree", tmp_path / "r2.assay")
    assert named == [("/image", "entry", "limit", "ratio=250")]
    assert seconds < 10
    assert_accounted(tmp_path / "r2.assay")


@needs("mkfs.ext4")
def test_a_file_in_a_file_system_that_claims_four_terabytes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "real").write_text("real")
    with (tree / "huge").open("wb") as out:
        out.truncate(4 << 40)
    image = tmp_path / "image"
    run("mkfs.ext4", "-q", "-d", tree, "-b", "4096", image, "8M")
    seconds, memory, named = cost(image, tmp_path / "r.assay")
    assert [(row[0], row[1], row[2]) for row in named] == [("/huge", "entry", "limit")]
    assert contents(tmp_path / "r.assay")["/real"] is not None
    assert seconds < 20
    assert memory < 300 << 20


@needs("mkfs.ext4")
def test_a_sparse_disk_image_is_read_for_what_it_holds(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "real").write_text("real")
    image = tmp_path / "image"
    with image.open("wb") as out:
        out.truncate(16 << 30)
    run("mkfs.ext4", "-q", "-d", tree, "-E", "lazy_itable_init=1,lazy_journal_init=1", "-O", "^has_journal", image)
    seconds, memory, named = cost(image, tmp_path / "r.assay")
    assert named == [("", "entry", "limit", "ratio=250")]
    assert contents(tmp_path / "r.assay")["/real"] is not None
    assert rows(tmp_path / "r.assay", "SELECT sum(length) FROM region") == [(16 << 30,)]
    assert seconds < 20
    assert memory < 300 << 20
    assert rows(tmp_path / "r.assay", "SELECT format, complete FROM container") == [("ext", 1)]


@needs("mkfs.ext4")
def test_links_in_loops(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/passwd").symlink_to("shadow")
    (tree / "etc/shadow").symlink_to("passwd")
    (tree / "etc/group").symlink_to("/etc/group")
    (tree / "etc/up").symlink_to("up/up/up/up")
    (tree / "a").symlink_to("b/b/b")
    (tree / "b").symlink_to("a/a/a")
    for i in range(30):
        (tree / f"l{i}").symlink_to(f"l{i + 1}/../l{i + 1}")
    (tree / "etc/systemd/system").mkdir(parents=True)
    (tree / "etc/systemd/system/x.service").symlink_to("../../../l0")
    begun = time.process_time()
    examined(tree, tmp_path / "r.assay", limits=LIMITS)
    assert time.process_time() - begun < 10
    assert rows(tmp_path / "r.assay", "SELECT detail FROM unread") == [
        ("accounts: /etc/passwd is there, but could not be read or leads out of the tree",),
        ("entrances: builds on accounts, which did not finish",),
    ]


def test_a_folder_of_many_archives_needs_few_descriptors(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for i in range(900):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive_:
            entry = tarfile.TarInfo(f"file{i}")
            entry.size = 4
            archive_.addfile(entry, io.BytesIO(b"%04d" % i))
        (tree / f"{i}.tar").write_bytes(out.getvalue())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        outcome = examined(tree, tmp_path / "r.assay", workers=4)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (outcome.unread, outcome.containers) == (0, 901)
