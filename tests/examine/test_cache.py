"""With a cache of facts a release costs what has changed in it, and gives the same record; a bad cache does no harm."""

from __future__ import annotations

import gzip
import lzma
import random
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.unpack.base import Limits

from .evidence import ROOT, needs, run
from .support import assert_same, examined
from .test_resume import release


@needs("mksquashfs")
@pytest.mark.parametrize("form", ["tar", "squashfs"])
def test_a_second_examination_gives_the_same_record(tmp_path: Path, form: str) -> None:
    image = release(tmp_path / "release.tar", files=60)
    later = tmp_path / "later.tar"
    with tarfile.open(image) as old, tarfile.open(later, "w") as new:
        for number, entry in enumerate(old):
            data = old.extractfile(entry)
            if entry.isreg() and data is not None and number % 20 == 0:
                changed = data.read().replace(b"root", b"r00t") + b"changed\n"
                entry.size = len(changed)
                (tmp_path / "body").write_bytes(changed)
                with (tmp_path / "body").open("rb") as body:
                    new.addfile(entry, body)
            else:
                new.addfile(entry, data)
    if form == "squashfs":
        for path in (image, later):
            run("mksquashfs", "-", path.with_suffix(".img"), "-tar", "-noappend", "-quiet", "-no-progress", stdin=path)
        image, later = image.with_suffix(".img"), later.with_suffix(".img")
    cache = tmp_path / "cache"
    for path, name in ((image, "first"), (image, "second"), (later, "later")):
        without, cached = tmp_path / f"{name}-without.assay", tmp_path / f"{name}.assay"
        examined(path, without)
        outcome = examined(path, cached, cache=cache)
        assert_same(without, cached)
        if name == "first":
            assert outcome.cached == 0
        else:
            share = outcome.cached / outcome.contents
            assert share > (0.9 if name == "second" else 0.8)
    # the release that the record is of must not matter either: the same contents under other paths
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/notes").write_text("root:x:0:0::/root:/bin/sh\nguest::1000:1000::/:/bin/sh\n")
    (tree / "etc/passwd").write_text("PermitRootLogin yes\n")
    examined(tree, tmp_path / "moved-without.assay")
    examined(tree, tmp_path / "moved.assay", cache=cache)
    assert_same(tmp_path / "moved-without.assay", tmp_path / "moved.assay")


@needs("mksquashfs")
def test_what_came_out_of_small_streams_is_known_too(tmp_path: Path) -> None:
    tree = tmp_path / "tree/usr/share/doc"
    tree.mkdir(parents=True)
    for number in range(20):
        text = random.Random(number).randbytes(1_000).hex().encode()
        (tree / f"page{number}.gz").write_bytes(gzip.compress(text))
    (tree / "again.xz").write_bytes(lzma.compress(random.Random(99).randbytes(1_000).hex().encode()))
    (tree / "stream-in-stream.gz").write_bytes(gzip.compress(gzip.compress(b"inside inside; " * 90)))
    (tree / "truncated.gz").write_bytes(gzip.compress(random.Random(3).randbytes(3_000))[:-900])
    image = tmp_path / "release.img"
    run("mksquashfs", tmp_path / "tree", image, "-noappend", "-quiet", "-no-progress")
    for name, limits in (("deep", Limits()), ("flat", Limits(depth=1))):
        cache = tmp_path / "cache"
        examined(image, tmp_path / f"{name}-without.assay", limits=limits)
        examined(image, tmp_path / f"{name}-first.assay", limits=limits, cache=cache)
        outcome = examined(image, tmp_path / f"{name}.assay", limits=limits, cache=cache)
        assert_same(tmp_path / f"{name}-without.assay", tmp_path / f"{name}.assay")
        if name == "deep":
            # all but the image itself, and what a stream within a stream and a broken one are
            assert outcome.cached >= 2 * 21


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a release, its record, and the cache that examining it has filled."""
    folder = tmp_path_factory.mktemp("good")
    examined(release(folder / "release.tar", files=30), folder / "whole.assay", cache=folder / "cache")
    return folder


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(100_000))


def noise_within(path: Path) -> None:
    data = bytearray(path.read_bytes())
    chance = random.Random(2)
    for _ in range(200):
        at = chance.randrange(4_096, len(data) - 64)
        data[at : at + 64] = chance.randbytes(64)
    path.write_bytes(data)


def other_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.executescript("CREATE TABLE content (a); CREATE TABLE stored (b); CREATE TABLE facts (c)")
    db.close()


def other_facts(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE facts SET facts = x'c1c1c1'")
    db.close()


def other_types(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE facts SET facts = 7")
        db.execute("UPDATE content SET size = 'many', kind = NULL")
    db.close()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "harm", [empty, cut, noise, noise_within, other_tables, other_facts, other_types, folder], ids=lambda f: f.__name__
)
def test_a_broken_cache_changes_nothing(tmp_path: Path, good: Path, harm: Callable[[Path], None]) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(good / "cache", cache)
    (file,) = cache.glob("facts-*.sqlite")
    harm(file)
    for name in ("r.assay", "again.assay"):
        examined(good / "release.tar", tmp_path / name, cache=cache)
        assert_same(good / "whole.assay", tmp_path / name)


def test_a_cache_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    image = release(tmp_path / "release.tar", files=20)
    examined(image, tmp_path / "whole.assay")
    (tmp_path / "file").write_text("not a folder")
    examined(image, tmp_path / "r.assay", cache=tmp_path / "file")
    assert_same(tmp_path / "whole.assay", tmp_path / "r.assay")
    examined(image, tmp_path / "r2.assay", cache=tmp_path / "file/below")
    assert_same(tmp_path / "whole.assay", tmp_path / "r2.assay")
    if ROOT:
        return
    shut = tmp_path / "shut"
    shut.mkdir()
    shut.chmod(0o500)
    examined(image, tmp_path / "r3.assay", cache=shut)
    assert_same(tmp_path / "whole.assay", tmp_path / "r3.assay")
