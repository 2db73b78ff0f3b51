"""A tree with what extraction tools lose, as archives made without root, and as the entries a reader has to give."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from assay.unpack.base import Entry, EntryType

needs_bsdtar = pytest.mark.skipif(not shutil.which("bsdtar"), reason="bsdtar is not installed")

BODY = b"hello\n"
SECOND = 1_000_000_000
LONG = b"./" + b"d" * 150 + b"/" + b"f" * 149

_TYPES = {
    "regular": "file",
    "directory": "dir",
    "symlink": "link",
    "chardev": "char",
    "blockdev": "block",
    "fifo": "fifo",
}


def _entry(path: bytes, type: EntryType, mode: int, uid: int = 0, gid: int = 0, **more: object) -> Entry:
    entry = Entry(path, type, mode=mode, uid=uid, gid=gid, mtime=SECOND)
    for name, value in more.items():
        setattr(entry, name, value)
    return entry


def tree() -> list[Entry]:
    """Return the entries; locators and sizes are the archive's to give."""
    return [
        _entry(b"./bin", "directory", 0o755),
        _entry(b"./bin/su", "regular", 0o4755, 1234, 5678),
        _entry(b"./bin/mail", "regular", 0o2755, 8, 12),
        _entry(b"./tmp", "directory", 0o1777),
        _entry(b"./locked", "regular", 0o000, 1, 2),
        _entry(b"./pipe", "fifo", 0o600),
        _entry(b"./null", "chardev", 0o666, device=(1, 3)),
        _entry(b"./disk", "blockdev", 0o660, 0, 6, device=(8, 17)),
        _entry(b"./absolute", "symlink", 0o777, link=b"/etc/passwd"),
        _entry(b"./escaping", "symlink", 0o777, link=b"../../../../etc/shadow"),
        _entry(b"./looping", "symlink", 0o777, link=b"looping"),
        _entry(b"./odd\xe4link", "symlink", 0o777, link=b"t\xe4rget\n"),
        _entry(b"./new\nline", "regular", 0o644),
        _entry(b"./esc\x1b[2J", "regular", 0o644),
        _entry(b"./latin\xe4", "regular", 0o644),
        _entry(b"../climb", "regular", 0o644),
        _entry(b"/absolute/file", "regular", 0o644),
        _entry(LONG, "regular", 0o644),
    ]


def _escaped(name: bytes) -> str:
    out = "".join(chr(byte) if 0x20 < byte < 0x7F and byte != 0x5C else f"\\{byte:03o}" for byte in name)
    return out.replace("/", "\\057", 1) if out.startswith("/") else out


def archive(directory: Path, format: str, entries: list[Entry]) -> bytes:
    """Return an archive of the entries, in a format of bsdtar's; every regular file holds `BODY`."""
    body = directory / "body"
    body.write_bytes(BODY)
    lines = ["#mtree"]
    for entry in entries:
        line = f"{_escaped(entry.path)} type={_TYPES[entry.type]} mode={entry.mode:04o} uid={entry.uid} gid={entry.gid}"
        line += f" time={(entry.mtime or 0) // SECOND}.{(entry.mtime or 0) % SECOND}"
        if entry.link:
            line += f" link={_escaped(entry.link)}"
        if entry.device:
            line += f" device=native,{entry.device[0]},{entry.device[1]}"
        if entry.type == "regular":
            line += f" contents={body}"
        lines.append(line)
    spec = directory / "spec"
    spec.write_text("\n".join(lines) + "\n")
    empty = directory / "empty"
    empty.mkdir(exist_ok=True)
    done = subprocess.run(
        ["bsdtar", "-P", f"--format={format}", "-cf", "-", f"@{spec}"], cwd=empty, capture_output=True, check=False
    )
    assert done.stdout, done.stderr
    return done.stdout
