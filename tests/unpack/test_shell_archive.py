from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Encrypted, Entry, Limits, Malformed, NotThisFormat, Problem, Window
from assay.unpack.shell_archive import FORMAT

from ..support.hostile import bounded, mangled, survives

needs_makeself = pytest.mark.skipif(not shutil.which("makeself"), reason="makeself is not installed")


def tree(folder: Path) -> Path:
    root = folder / "root"
    root.mkdir()
    (root / "setup.sh").write_text("#!/bin/sh\necho installing\n")
    (root / "setup.sh").chmod(0o755)
    (root / "data").write_bytes(bytes(range(256)) * 300)
    return root


def makeself(folder: Path, *options: str) -> bytes:
    out = folder / "out.run"
    command = ["makeself", *options, str(tree(folder)), str(out), "Base station 5.1", "./setup.sh"]
    subprocess.run(command, check=True, capture_output=True)
    return out.read_bytes()


def parts(data: bytes) -> tuple[Entry, Entry]:
    script, archive = FORMAT.open(BytesSource(data), Limits()).entries()
    assert isinstance(script, Entry)
    assert isinstance(archive, Entry)
    return script, archive


@needs_makeself
@pytest.mark.parametrize("options", [("--gzip",), ("--xz",), ("--nocomp",), ("--base64",), ("--bzip2", "--sha256")])
def test_makeself(options: tuple[str, ...], tmp_path: Path) -> None:
    data = makeself(tmp_path, *options)
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    assert reader.detail["kind"] == "makeself"
    assert reader.detail["label"] == "Base station 5.1"
    assert reader.detail["script"] == "./setup.sh"
    assert ("sha256" in reader.detail) == ("--sha256" in options)
    script, archive = parts(data)
    text = b"".join(reader.open(script.locator or 0))
    assert text.startswith(b"#!/bin/sh\n# This script was generated using Makeself")
    assert text.isascii()
    assert identify(BytesSource(text), Limits()) is None
    packed = b"".join(reader.open(archive.locator or 0))
    with tarfile.open(fileobj=io.BytesIO(packed)) as inside:
        assert {name.removeprefix("./") for name in inside.getnames()} - {"."} == {"data", "setup.sh"}
    assert sum(claim.length for claim in reader.claims()) == len(data)
    bigger = BytesSource(bytes(91) + data + b"and more of it")
    again = FORMAT.open(Window(bigger, 91, bigger.size), Limits())
    assert list(again.entries()) == list(reader.entries())
    assert again.claims() == reader.claims()


@needs_makeself
def test_makeself_wrong_and_sealed(tmp_path: Path) -> None:
    data = makeself(tmp_path, "--gzip", "--sha256")
    broken = bytearray(data)
    broken[-9] ^= 1
    found = list(FORMAT.open(BytesSource(bytes(broken)), Limits()).entries())
    assert [item.detail.split(":")[0] for item in found if isinstance(item, Problem)] == ["md5", "sha256"]
    found = list(FORMAT.open(BytesSource(data[:-50]), Limits()).entries())
    assert [item.reason for item in found if isinstance(item, Problem)] == ["truncated"]
    shutil.rmtree(tmp_path / "root")
    sealed = makeself(tmp_path, "--ssl-encrypt", "--ssl-passwd", "x")
    _, archive = parts(sealed)
    with pytest.raises(Encrypted):
        list(FORMAT.open(BytesSource(sealed), Limits()).open(archive.locator or 0))
    for one in mangled(data[:30_000], count=100, hot=range(3000)):
        survives(FORMAT, one)


SCRIPTS = {
    "tail": '#!/bin/bash\nset -e\ntail -n +5 "$0" | tar xz -C /opt\n/opt/install\n',
    "marker": "#!/bin/bash\nLINE=$(awk '/^__ARCHIVE_BELOW__/ {print NR + 1}' $0)\ntail -n+$LINE $0 | tar xz\nexit 0\n\n"
    "__ARCHIVE_BELOW__\n",
    "exit": "#!/bin/sh\nsed -e '1,/^exit$/d' \"$0\" | tar xzf -\nexit\n",
    "variable": '#!/bin/sh\nSKIP=5\nN=`expr $SKIP + 0`\ntail -n +$N "$0" | tar xz\n',
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_other_scripts(kind: str, tmp_path: Path) -> None:
    done = subprocess.run(["tar", "cz", "-C", tree(tmp_path), "."], check=True, capture_output=True)
    text = SCRIPTS[kind].encode()
    data = text + done.stdout
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    script, archive = parts(data)
    assert b"".join(reader.open(script.locator or 0)) == text
    assert identify(BytesSource(text), Limits()) is None
    assert b"".join(reader.open(archive.locator or 0)) == done.stdout
    assert reader.detail["archive"] == "gzip"
    for one in mangled(data, count=80, hot=range(len(text) + 20)):
        survives(FORMAT, one)


def test_ordinary_scripts_are_left_alone() -> None:
    for text in (
        b"#!/bin/sh\necho hello\nexit 0\n",
        b"#!/bin/sh\ntail -n +2 /proc/mounts\nfoo\nbar\nexit 0\nPK\x03\x04 is a magic in a text\n",
        b"#!/bin/sh\nexit 0\n\x1f\x8bno gzip at all",
        b"#!/usr/bin/perl\nprint <DATA>;\n__DATA__\nsome\ntext\n",
        b'#!/bin/sh\n# This script was generated using Makeself 2.4\nskip="7"\n',
        b"#!/bin/sh\ntail -n +1 $1 | tail -n +0\nexit 0\n",
        b"#!",
    ):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(text), Limits())
    with pytest.raises(Malformed):
        list(FORMAT.open(BytesSource(SCRIPTS["exit"].encode() + b"\x1f\x8b\x08" + bytes(99)), Limits()).open(["x"]))


def test_long_scripts_cost_little() -> None:
    source = BytesSource(b"#!/bin/sh\n" + b"exit 0\n__ARCHIVE__\ntail -n +9\nskip=4\n" * 200_000)

    def attempt() -> None:
        with pytest.raises(NotThisFormat):
            FORMAT.open(source, Limits())

    bounded(attempt, 1)
