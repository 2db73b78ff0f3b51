"""A run that is killed, interrupted or crashes is continued, and the record is the same as that of a run in one go."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from assay.examine import ExamineError

from .support import ASSAY, assay, assert_accounted, assert_same, examined, rows


def release(path: Path, *, files: int) -> Path:
    """Write a release with nested containers, hard links, damage, and text of many kinds, as one tar."""
    chance = random.Random(7)
    with tarfile.open(path, "w") as out:

        def add(name: str, data: bytes = b"", type: bytes = tarfile.REGTYPE, link: str = "") -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname, entry.mode = type, len(data), link, 0o4755
            out.addfile(entry, io.BytesIO(data))

        add("etc/passwd", b"root:x:0:0::/root:/bin/sh\nguest::1000:1000::/:/bin/sh\n")
        add("etc/ssh/sshd_config", b"PermitRootLogin yes\n")
        add("etc/inittab", b"::respawn:/sbin/telnetd -F\n")
        tool = Path("/bin/ls").read_bytes()
        for i in range(files):
            add(f"usr/share/{i % 7}/{i}.txt", chance.randbytes(30_000).hex().encode())
            if i % 10 == 0:
                add(f"usr/bin/tool{i}", tool + str(i).encode())
                add(f"usr/bin/link{i}", b"", tarfile.LNKTYPE, f"usr/bin/tool{i}")
            if i % 40 == 0:
                add(f"opt/{i}.txt.gz", gzip.compress(chance.randbytes(2_000), mtime=0))
                add(f"opt/{i}.big.gz", gzip.compress(chance.randbytes(1_500_000), 1, mtime=0))
                inner = io.BytesIO()
                with zipfile.ZipFile(inner, "w") as archive:
                    for j in range(60):
                        archive.writestr(f"{j}/passwd", f"user{i}-{j}:x:{j}:0::/:/bin/sh\n" * 50)
                add(f"opt/{i}.zip", inner.getvalue())
                add(f"opt/{i}.cut.gz", gzip.compress(chance.randbytes(5_000))[:3_000])
                add(f"opt/{i}.cut.zip", inner.getvalue()[:-200])
    return path


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(tmp_path_factory.mktemp("release") / "release.tar", files=350)


@pytest.fixture(scope="module")
def whole(big: Path) -> Path:
    record = big.with_name("whole.assay")
    examined(big, record)
    return record


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    image = release(tmp_path_factory.mktemp("little") / "release.tar", files=50)
    examined(image, image.with_name("whole.assay"))
    return image, image.with_name("whole.assay")


def start(image: Path, record: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [ASSAY, "examine", image, "-o", record, "--no-judge", "--no-report", "--no-cache", "--workers", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def alive(group: int) -> bool:
    """Tell whether a process of a group still runs."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            return True
    return False


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a file is there, or the process has ended."""
    deadline = time.monotonic() + 60
    while process.poll() is None and not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_cut_short_is_continued(tmp_path: Path, big: Path, whole: Path, how: signal.Signals) -> None:
    chance = random.Random(how)
    record = tmp_path / "r.assay"
    cuts = 0
    for cut in range(3):
        process = start(big, record)
        wait_for(Path(f"{record}-wal"), process)  # before that, it is Python that starts and is interrupted
        time.sleep(chance.uniform(0, 0.3) if cut else 0.02)
        os.killpg(process.pid, how) if how == signal.SIGINT else process.send_signal(how)
        _, errors = process.communicate(timeout=60)
        deadline = time.monotonic() + 5
        while alive(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not alive(process.pid)
        done = [row[0] for row in rows(record, "SELECT finished FROM run")] if record.exists() else [None]
        if done != [None]:  # it was too late: the process may even have ended already
            break
        cuts += 1
        if how == signal.SIGINT:
            assert process.returncode == 130, errors
            assert errors == f"assay: interrupted; the same command continues {record}\n"
        else:
            assert process.returncode == -signal.SIGKILL
    assert cuts
    if done == [None]:
        process = start(big, record)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 3, errors
    assert_accounted(record)
    assert_same(record, whole)
    assert rows(record, "SELECT count(*) FROM run") == [(1,)]


def cut_when(image: Path, record: Path, what: str, number: int) -> None:
    """Examine, and kill the process the n-th time that it is about to call a method."""
    script = f"""
import os, sys
from pathlib import Path
import assay.examine.{what.partition(":")[0]} as module
name = {what.partition(":")[2]!r}
holder = module
for part in name.split(".")[:-1]:
    holder = getattr(holder, part)
last = name.split(".")[-1]
real, calls = getattr(holder, last), []
def cut(*args, **more):
    calls.append(1)
    if len(calls) == {number}:
        args[0].ledger.record.commit() if hasattr(args[0], "ledger") else None
        os.kill(os.getpid(), 9)
    return real(*args, **more)
setattr(holder, last, cut)
from assay.examine import examine
examine([Path({str(image)!r})], Path({str(record)!r}), workers=2)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("examination:Examination.on_listing", 1),
        ("examination:Examination.on_listing", 2),
        ("examination:Examination.on_listed", 1),
        ("examination:Examination.on_listed", 9),
        ("examination:Examination.on_result", 1),
        ("examination:Examination.on_result", 100),
        ("examination:Examination.on_result", 150),
        ("main:compose_images", 1),
        ("main:TreeStage.run", 1),
        ("main:write_coverage", 1),
    ],
)
def test_killed_at_a_given_point(tmp_path: Path, little: tuple[Path, Path], what: str, number: int) -> None:
    image, whole = little
    record = tmp_path / "r.assay"
    cut_when(image, record, what, number)
    outcome = examined(image, record)
    assert outcome.resumed
    assert_accounted(record)
    assert_same(record, whole)


def test_killed_while_the_artefact_itself_is_incomplete(tmp_path: Path) -> None:
    image = tmp_path / "cut.gz"
    image.write_bytes(gzip.compress(release(tmp_path / "release.tar", files=45).read_bytes(), 1)[:-1000])
    whole, record = tmp_path / "whole.assay", tmp_path / "r.assay"
    examined(image, whole)
    for number in (2, 20):
        cut_when(image, record, "examination:Examination.on_result", number)
    examined(image, record)
    assert_same(record, whole)


def test_a_directory_is_continued_and_its_changes_are_noticed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with tarfile.open(release(tmp_path / "release.tar", files=45)) as archive:
        archive.extractall(tree, filter="data")
    whole, record = tmp_path / "whole.assay", tmp_path / "r.assay"
    examined(tree, whole)
    cut_when(tree, record, "examination:Examination.on_result", 30)
    for suffix in ("", "-wal"):
        shutil.copy(f"{record}{suffix}", tmp_path / f"changed.assay{suffix}")
    examined(tree, record)
    assert_same(record, whole)
    (tree / "etc/another").write_text("x")
    with pytest.raises(ExamineError, match="changed since"):
        examined(tree, tmp_path / "changed.assay")


def test_an_artefact_that_has_changed_is_not_continued(tmp_path: Path) -> None:
    image = release(tmp_path / "release.tar", files=45)
    record = tmp_path / "r.assay"
    cut_when(image, record, "examination:Examination.on_result", 30)
    with image.open("ab") as out:
        out.write(b"more")
    done = assay("examine", image, "-o", record, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"assay: {record}: holds an unfinished examination of other artefacts (or they have changed since); "
        "choose another name with -o, or remove it\n"
    )


def test_a_finished_record_is_replaced_only_if_asked(tmp_path: Path) -> None:
    (tmp_path / "fw.bin").write_text("one")
    assert assay("examine", "fw.bin", cwd=tmp_path).returncode == 0
    done = assay("examine", "fw.bin", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "assay: fw.assay: holds a finished examination; --replace makes it anew, -o chooses another name, "
        "`assay judge` and `assay report` work on it as it is\n"
    )
    (tmp_path / "fw.bin").write_text("two, longer")
    assert assay("examine", "fw.bin", "--replace", cwd=tmp_path).returncode == 0
    assert rows(tmp_path / "fw.assay", "SELECT size FROM artefact") == [(11,)]
