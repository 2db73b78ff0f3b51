"""Secrets given to an examination: what they open is read, and they stand nowhere afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from assay.examine import ExamineError
from assay.record import Record
from assay.unpack.secrets import Secrets, held

from .support import assay, assert_accounted, examined, rows, unread

pytestmark = pytest.mark.skipif(shutil.which("zip") is None, reason="zip is not installed")

PASSWORD = b"Kq7-unlikely-anywhere"
KEY = b"another-that-is-nowhere-Zx9"
LOCKED = [("/secret.conf", "entry", "encrypted", None)]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    place = tmp_path / "made"
    place.mkdir()
    (place / "secret.conf").write_text("PermitRootLogin no\n" * 200)
    subprocess.run(["zip", "-q", "-P", PASSWORD, "../release.zip", "secret.conf"], cwd=place, check=True)
    return tmp_path / "release.zip"


def holds(folder: Path, secret: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_nothing_keeps_a_secret(release: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    secrets = tmp_path / "secrets"
    secrets.write_bytes(b"wrong\r\n\n" + PASSWORD + b"\n")
    (tmp_path / "key").write_bytes(KEY)
    done = assay(
        "examine", release, "--password-file", secrets, "--key", tmp_path / "key", "--report", "html", "--report",
        "json", cwd=work,
    )  # fmt: skip
    record = work / "release.assay"
    assert (done.returncode, done.stderr) == (0, "")
    assert unread(record) == []
    ((detail,),) = rows(record, "SELECT detail FROM container")
    assert json.loads(detail)["opened"] == "with password 2 of 2"
    ((options,),) = rows(record, "SELECT options FROM run WHERE command = 'examine'")
    assert json.loads(options)["secrets"] == {"passwords": 2, "keys": 1}
    for secret in (PASSWORD, KEY):
        assert holds(work, secret) == holds(tmp_path / "work-cache", secret) == []
        assert secret.decode() not in done.stdout + done.stderr
    assert PASSWORD.decode() not in repr(Secrets((PASSWORD,), (KEY,)).named_passwords()) + repr(Secrets((PASSWORD,)))


def test_a_cache_tells_no_run_what_another_opened(release: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for number, secrets in enumerate([Secrets(), Secrets((PASSWORD,)), Secrets(), Secrets((b"wrong",))]):
        record = tmp_path / f"{number}.assay"
        outcome = examined(release, record, cache=cache, secrets=secrets)
        assert unread(record) == ([] if secrets.passwords == (PASSWORD,) else LOCKED)
        assert outcome.unread == (secrets.passwords != (PASSWORD,))
        assert_accounted(record)
    assert held().counts() == {}


def test_a_run_is_continued_with_as_many_secrets(release: Path, tmp_path: Path) -> None:
    record = tmp_path / "r.assay"
    examined(release, record, secrets=Secrets((PASSWORD,)))
    with Record(record, write=True) as opened:  # as if it had been killed at the end
        opened.db.execute("UPDATE run SET finished = NULL")
        opened.db.execute("UPDATE container SET complete = 0")
        opened.commit()
    for secrets in (Secrets(), Secrets((PASSWORD, b"more")), Secrets((), (PASSWORD,))):
        with pytest.raises(ExamineError, match="with 1 passwords and 0 keys; give the same"):
            examined(release, record, secrets=secrets)
    assert examined(release, record, secrets=Secrets((PASSWORD,))).resumed
    assert unread(record) == []


def test_a_worker_with_secrets_is_told_of(release: Path, tmp_path: Path) -> None:
    for secrets, threads in ((Secrets(), None), (Secrets((PASSWORD,)), True)):
        record = tmp_path / f"{threads}.assay"
        examined(release, record, secrets=secrets)
        ((force,),) = rows(record, "SELECT sandbox FROM run")
        assert msgspec.json.decode(force).get("threads") == threads


def test_files_of_secrets_that_cannot_be_read(release: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "large").write_bytes(bytes((1 << 20) + 1))
    for option, name, text in (
        ("--key", "none", "cannot be read"),
        ("--password-file", "none", "cannot be read"),
        ("--key", "large", "is larger than 1048576 bytes"),
    ):
        done = assay("examine", release, option, tmp_path / name, cwd=work)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert text in done.stderr
    assert list(work.iterdir()) == []
