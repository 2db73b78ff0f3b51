"""The demo release: packages become a root file system as dpkg would describe it, with the packages' own owners."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from .support import load

demo = load("tools/demo_release.py")

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")

CONTROL = """\
Package: {name}
Version: 1:2.0-3
Architecture: arm64
Maintainer: A Person <a@example.org>
Depends: libone (>= 1) | libother, libtwo
Section: net
Multi-Arch: {multi}
Description: one line
 A longer text.
 .
 Its second paragraph.
"""


def build(folder: Path, name: str, multi: str, files: dict[str, bytes], conffiles: str = "") -> Path:
    """Make a .deb with dpkg-deb; files belong to root."""
    root = folder / name
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN").chmod(0o755)
    (root / "DEBIAN/control").write_text(CONTROL.format(name=name, multi=multi))
    if conffiles:
        (root / "DEBIAN/conffiles").write_text(conffiles)
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
        (root / path).chmod(0o755 if path.startswith("usr/bin/") else 0o640)
    out = folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", root, out], check=True, capture_output=True)
    return out


def packages(folder: Path) -> list[Path]:
    first = build(
        folder, "one", "foreign", {"etc/one.conf": b"key value\n", "usr/bin/one": b"#!/bin/sh\n"}, "/etc/one.conf\n"
    )
    return [first, build(folder, "libtwo", "same", {"usr/lib/libtwo.so.2": b"\x7fELF"})]


STATUS = """\
Package: one
Status: install ok installed
Version: 1:2.0-3
Architecture: arm64
Maintainer: A Person <a@example.org>
Depends: libone (>= 1) | libother, libtwo
Section: net
Multi-Arch: foreign
Conffiles:
 /etc/one.conf 47054b247a71b8c7ac47ab94e61998be
Description: one line
 A longer text.
 .
 Its second paragraph.

Package: libtwo
Status: install ok installed
Version: 1:2.0-3
Architecture: arm64
Maintainer: A Person <a@example.org>
Depends: libone (>= 1) | libother, libtwo
Section: net
Multi-Arch: same
Description: one line
 A longer text.
 .
 Its second paragraph.
"""


@needs_dpkg
def test_packages_merge_into_one_tree_with_dpkg_s_database(tmp_path: Path) -> None:
    out = io.BytesIO()
    merger = demo.Merger(out)
    for package in packages(tmp_path):
        merger.add(package)
    merger.finish()
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        members = archive.getmembers()
        text = {m.name: content.read().decode() for m in members if m.isfile() and (content := archive.extractfile(m))}
    assert [(m.name, oct(m.mode), m.uid, m.gid) for m in members if m.isfile()] == [
        ("etc/one.conf", "0o640", 0, 0),
        ("usr/bin/one", "0o755", 0, 0),
        ("usr/lib/libtwo.so.2", "0o640", 0, 0),
        ("var/lib/dpkg/status", "0o644", 0, 0),
        ("var/lib/dpkg/info/libtwo:arm64.list", "0o644", 0, 0),
        ("var/lib/dpkg/info/one.conffiles", "0o644", 0, 0),
        ("var/lib/dpkg/info/one.list", "0o644", 0, 0),
    ]
    directories = [m.name for m in members if m.isdir()]
    assert len(directories) == len(set(directories))
    assert text["var/lib/dpkg/status"] == STATUS
    assert text["var/lib/dpkg/info/one.list"] == "/.\n/etc\n/etc/one.conf\n/usr\n/usr/bin\n/usr/bin/one\n"


@needs_dpkg
@pytest.mark.skipif(
    (found := shutil.which("mksquashfs")) is None or not demo.reads_tar(found), reason="no mksquashfs 4.5 or later"
)
def test_the_same_packages_give_the_same_image(tmp_path: Path) -> None:
    made = packages(tmp_path)
    images = [tmp_path / "first.squashfs", tmp_path / "second.squashfs"]
    for image in images:
        demo.pack(made, image, "mksquashfs")
    assert images[0].read_bytes() == images[1].read_bytes()


def test_of_alternatives_the_first_is_followed() -> None:
    assert demo.first_choices("libone (>= 1) | libother, libtwo:any, g++-12 (= 1)") == ("libone", "libtwo", "g++-12")


def test_control_stanzas_keep_their_continuation_lines() -> None:
    text = "Package: a\nConffiles:\n /etc/a 0\n /etc/b 1\nDescription: short\n long\n\n\nPackage: b\n"
    assert list(demo.stanzas(text)) == [
        {"Package": "a", "Conffiles": "\n /etc/a 0\n /etc/b 1", "Description": "short\n long"},
        {"Package": "b"},
    ]


def test_libraries_are_told_by_their_section() -> None:
    sections = ["libs", "oldlibs", "universe/libs", "net", "libdevel", "python"]
    assert [demo.Available("n", "1", s, 0, "", ()).library for s in sections] == [True, True, True, False, False, False]


def test_without_the_daemons_the_message_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.subprocess, "run", lambda *a, **_: subprocess.CompletedProcess(a, 100, "", ""))
    with pytest.raises(demo.Missing, match=r"osmo-msc.*: run 'apt-get update'"):
        demo.resolve()
