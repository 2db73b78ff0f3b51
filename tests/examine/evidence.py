"""A tree with what extraction tools lose, delivered in every form by real tools, and the facts it has to give."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .support import rows

ROOT = os.geteuid() == 0
TIME = 1_600_000_000
NET_RAW = b"\x01\x00\x00\x02" + (1 << 13).to_bytes(4, "little") + bytes(12)
"""struct vfs_cap_data, revision 2: cap_net_raw, permitted and effective."""


def needs(*tools: str) -> pytest.MarkDecorator:
    """Skip a test where a program is not installed."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


needs_root = pytest.mark.skipif(not ROOT, reason="only root can make device nodes and foreign owners in a directory")


class Seen(NamedTuple):
    """What every form of delivery has to say of an entry."""

    path: str
    raw: bytes
    type: str
    mode: int
    uid: int
    gid: int
    body: bytes | None = None
    link: str | None = None
    device: str | None = None
    capabilities: str | None = None
    whiteout: str | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the bytes."""
        return None if self.body is None else hashlib.sha256(self.body).hexdigest()


def _seen(path: str, type: str, mode: int, uid: int = 0, gid: int = 0, **more: Any) -> Seen:
    raw = more.pop("raw", path.encode())
    return Seen(path, raw, type, mode, uid, gid, **more)


TREE = [
    _seen("/bin", "directory", 0o755),
    _seen("/bin/ping", "regular", 0o755, body=b"ping", capabilities="cap_net_raw=ep",
          xattrs=(("security.capability", NET_RAW),)),
    _seen("/bin/su", "regular", 0o4755, body=b"set-uid"),
    _seen("/bin/wall", "regular", 0o2755, 0, 5, body=b"set-gid"),
    _seen("/dev", "directory", 0o755),
    _seen("/dev/null", "chardev", 0o666, device="1:3"),
    _seen("/dev/sdz", "blockdev", 0o660, 0, 6, device="8:400"),
    _seen("/etc", "directory", 0o755),
    _seen("/etc/absolute", "symlink", 0o777, link="/etc/passwd"),
    _seen("/etc/escaping", "symlink", 0o777, link="../../../../etc/shadow"),
    _seen("/etc/locked", "regular", 0o000, 1234, 5678, body=b"mode 000"),
    _seen("/etc/looping", "symlink", 0o777, link="looping"),
    _seen("/etc/noted", "regular", 0o640, 65534, 100_000, body=b"", xattrs=(("user.note", b"a\0b"),)),
    _seen("/gone", "chardev", 0o000, device="0:0", whiteout="file"),
    _seen("/pipe", "fifo", 0o600, 7, 8),
    _seen("/tmp", "directory", 0o1777),
    _seen("/tmp/esc\x1b]0;owned\x07", "regular", 0o644, body=b"title"),
    _seen("/tmp/latin\\xe4", "regular", 0o644, body=b"latin", raw=b"/tmp/latin\xe4"),
    _seen("/tmp/new\nline", "regular", 0o644, body=b"two lines"),
    _seen("/tmp/<script>alert(1)<script>", "regular", 0o644, body=b"markup"),
    _seen("/tmp/\u202efdp.exe", "regular", 0o644, body=b"override"),
]  # fmt: skip
TREE.sort(key=lambda seen: seen.raw)

HARD = "/bin/su2"
"""A second name of /bin/su."""

LITERAL = "/tmp/latin\\xe4"


def archive(path: Path, *, format: int = tarfile.PAX_FORMAT, dot: bool = True, hard: bool = True) -> Path:
    """Write the tree, and the second name of /bin/su, as a tar."""
    with tarfile.open(path, "w", format=format, encoding="utf-8", errors="surrogateescape") as out:
        for seen in TREE:
            entry = tarfile.TarInfo(os.fsdecode((b"." if dot else b"") + seen.raw))
            entry.mode, entry.uid, entry.gid, entry.mtime = seen.mode, seen.uid, seen.gid, TIME
            entry.type = {
                "regular": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE,
                "chardev": tarfile.CHRTYPE, "blockdev": tarfile.BLKTYPE, "fifo": tarfile.FIFOTYPE,
            }[seen.type]  # fmt: skip
            entry.size = len(seen.body or b"")
            entry.linkname = seen.link or ""
            if seen.device:
                entry.devmajor, entry.devminor = map(int, seen.device.split(":"))
            if format == tarfile.PAX_FORMAT:
                entry.pax_headers = {f"SCHILY.xattr.{name}": value.decode() for name, value in seen.xattrs}
            out.addfile(entry, io.BytesIO(seen.body or b""))
            if hard and seen.path == "/bin/su":
                prefix = "." if dot else ""
                link = tarfile.TarInfo(prefix + HARD)
                link.type, link.linkname = tarfile.LNKTYPE, prefix + "/bin/su"
                link.mode, link.mtime = seen.mode, TIME
                out.addfile(link)
    return path


def run(*command: object, cwd: Path | None = None, stdin: Path | None = None) -> bytes:
    """Run a tool; fail with what it says."""
    source = stdin.open("rb") if stdin else subprocess.DEVNULL
    try:
        done = subprocess.run([os.fspath(c) if isinstance(c, Path) else str(c) for c in command], cwd=cwd,
                              stdin=source, capture_output=True, timeout=60)  # fmt: skip
    finally:
        if not isinstance(source, int):
            source.close()
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def folder(path: Path) -> Path:
    """Unpack the tree with GNU tar (as root)."""
    path.mkdir()
    path.chmod(0o755)
    tar = archive(path.with_suffix(".tar"))
    run("tar", "--xattrs", "--xattrs-include=*", "--same-owner", "-xpf", tar, "-C", path)
    os.utime(path, (TIME, TIME))
    return path


def bsdtar(path: Path, form: str) -> Path:
    """Write the tree in a format of bsdtar's."""
    tar = archive(path.with_suffix(".from.tar"), hard=form not in ("newc", "zip"))  # it writes them without a type
    path.write_bytes(run("bsdtar", "-P", f"--format={form}", "-cf", "-", f"@{tar}"))
    return path


def squashfs(path: Path, *options: str) -> Path:
    """Write the tree as squashfs."""
    tar = archive(path.with_suffix(".tar"), dot=False)
    run("mksquashfs", "-", path, "-tar", "-noappend", "-no-progress", "-quiet", *options, stdin=tar)
    return path


def ext4(path: Path) -> Path:
    """Write the tree as ext4 (as root)."""
    source = folder(path.with_suffix(".tree"))
    run("mkfs.ext4", "-q", "-d", source, "-b", "1024", path, "2M")
    return path


def seen(record: Path, container: str = "") -> list[tuple[Any, ...]]:
    """Return what a record says of a container's entries, as rows like those of `expected`."""
    xattrs: dict[int, list[tuple[str, bytes]]] = {}
    for file, name, value in rows(record, "SELECT file, name, value FROM xattr ORDER BY file, name"):
        xattrs.setdefault(file, []).append((name, value))
    found = [
        (*row[1:], tuple(xattrs.get(row[0], ())))
        for row in rows(
            record,
            """SELECT f.id, f.path, f.type, mode, uid, gid, mtime / 1000000000, link_target, device, capabilities,
                      whiteout, c.sha256
                 FROM file AS f JOIN container AS k ON k.id = f.container LEFT JOIN content AS c ON c.id = f.content
                WHERE k.path = ? AND f.path NOT IN ('/', '/lost+found') """,
            container,
        )
    ]
    return sorted(found, key=lambda row: row[0])


def expected(
    *, tree: Iterable[Seen] = TREE, hard: tuple[str, str | None] | None = ("regular", None), **same: Any
) -> list[tuple[Any, ...]]:
    """Return the rows that a form of delivery has to give.

    Args:
        tree: entries that the form can carry.
        hard: type and link target of the second name of /bin/su; None if the form cannot carry it.
        same: columns that the form cannot carry, with the value in their place.
    """
    out = []
    for s in tree:
        row = {
            "path": s.path, "type": s.type, "mode": s.mode, "uid": s.uid, "gid": s.gid, "mtime": TIME,
            "link": s.link, "device": s.device, "capabilities": s.capabilities, "whiteout": s.whiteout,
            "sha256": s.sha256, "xattrs": s.xattrs,
        }  # fmt: skip
        out.append(tuple({**row, **same}.values()))
        if hard is not None and s.path == "/bin/su":
            out.append(tuple({**row, "path": HARD, "type": hard[0], "link": hard[1], **same}.values()))
    return sorted(out, key=lambda row: row[0])
