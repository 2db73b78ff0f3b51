"""Encrypted ZIP entries, made by zip(1) and 7-Zip, opened with their passwords."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Encrypted, Entry, Limits, Malformed, Problem, UnpackError
from assay.unpack.secrets import Secrets, holding
from assay.unpack.zip import FORMAT

from ..support.hostile import mangled, survives

WORDS = b"".join(b"line %d of a text that compresses\n" % number for number in range(20_000))
FILES = {"words.txt": WORDS, "empty": b"", "noise": random.Random(1).randbytes(50_000), "short": b"x"}
ENGINES = {
    "zip": ["zip", "-q", "-r", "-P", "right", "out.zip", "."],
    "zip-stored": ["zip", "-q", "-0", "-r", "-P", "right", "out.zip", "."],
    "7z-traditional": ["7z", "a", "-bd", "-pright", "-mem=ZipCrypto", "out.zip", "."],
    "7z-aes128": ["7z", "a", "-bd", "-pright", "-mem=AES128", "out.zip", "."],
    "7z-aes192": ["7z", "a", "-bd", "-pright", "-mem=AES192", "-mm=BZip2", "out.zip", "."],
    "7z-aes256": ["7z", "a", "-bd", "-pright", "-mem=AES256", "-mm=LZMA", "out.zip", "."],
    "7z-stored": ["7z", "a", "-bd", "-pright", "-mem=AES256", "-mx=0", "out.zip", "."],
}


def made(folder: Path, engine: str) -> bytes:
    command = ENGINES[engine]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "out.zip").read_bytes()


def listed(data: bytes) -> tuple[dict[str, Entry], list[Problem], object]:
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    found = list(reader.entries())
    entries = {each.path.decode(): each for each in found if isinstance(each, Entry)}
    return entries, [each for each in found if isinstance(each, Problem)], reader.detail.get("opened")


@pytest.mark.parametrize("engine", ENGINES)
def test_an_archive_opens_with_its_password(tmp_path: Path, engine: str) -> None:
    data = made(tmp_path, engine)
    with holding(Secrets((b"wrong", b"worse", b"right"))):
        entries, problems, opened = listed(data)
        assert (problems, opened) == ([], "with password 3 of 3")
        reader = FORMAT.open(BytesSource(data), Limits())
        assert {name: b"".join(reader.open(entry.locator)) for name, entry in entries.items() if entry.locator} == FILES
        assert {reader.span(entry.locator) for entry in entries.values() if entry.size and entry.locator} == {None}
    for secrets, told in ((Secrets(), "no secret was given"), (Secrets((b"wrong",)), "no secret opens it")):
        with holding(secrets):
            entries, problems, opened = listed(data)
            reader = FORMAT.open(BytesSource(data), Limits())
            assert (len(entries), problems, opened) == (4, [], None)
            for name in ("words.txt", "noise"):
                with pytest.raises(Encrypted, match=told):
                    list(reader.open(entries[name].locator or 0))


def test_a_password_that_only_seems_to_fit_is_told_apart(tmp_path: Path) -> None:
    """One byte checks a traditional password: of 2000 wrong ones, some eight get by it."""
    data = made(tmp_path, "zip")
    with holding(Secrets(tuple(b"wrong %d" % number for number in range(2000)))):
        entries, _, opened = listed(data)
        reader = FORMAT.open(BytesSource(data), Limits())
        with pytest.raises(Encrypted):
            list(reader.open(entries["short"].locator or 0))
    assert opened is None


@pytest.mark.parametrize("engine", ["zip", "7z-aes256"])
def test_damage_is_damage(tmp_path: Path, engine: str) -> None:
    data = made(tmp_path, engine)
    with holding(Secrets((b"right",))):
        entries, _, _ = listed(data)
        locator = entries["noise"].locator
        assert isinstance(locator, list)
        assert isinstance(locator[0], int)
        broken = bytearray(data)
        broken[locator[0] + 40_000] ^= 1
        reader = FORMAT.open(BytesSource(bytes(broken)), Limits())
        list(reader.open(entries["words.txt"].locator or 0))  # by this, the password is known to be right
        with pytest.raises(Malformed):
            list(reader.open(locator))


def test_hostile_archives(tmp_path: Path) -> None:
    for engine in ("zip", "7z-aes128"):
        folder = tmp_path / engine
        folder.mkdir()
        data = made(folder, engine)
        listed(data)
        with holding(Secrets((b"right", b"other"))):
            for broken in mangled(data, count=40, hot=range(len(data) - 800, len(data))):
                try:
                    survives(FORMAT, broken, seconds=5)
                except UnpackError:
                    continue
