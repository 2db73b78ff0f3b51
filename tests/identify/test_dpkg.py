from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.facts.identity import Identity
from assay.facts.package import Package, PackageFiles
from assay.identify import dpkg

from ..support.hostile import bounded, mangled
from ..support.memory_tree import MemoryTree, inspect

STATUS = """Package: libwidget1
Status: install ok installed
Priority: optional
Maintainer: Someone <someone@example.org>
Architecture: arm64
Multi-Arch: same
Source: widget (1.2-3)
Version: 1:1.2-3+b1
Depends: libc6 (>= 2.34), default-mta | mail-transport-agent, libfoo:any,
 libbar (<< 2)
Pre-Depends: dpkg (>= 1.17)
Description: a widget
 Package: notapackage
 .
 More.
Homepage: https://example.org/widget

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 3
Origin: Example Vendor

Package: forgotten
Status: purge ok not-installed
Architecture: all

Package: half
Status: install reinstreq half-installed
Architecture: all
Version: 0.1~rc1
Source: whole

Package: pending
Status: install ok triggers-awaited
Architecture: all
Version: 9
Triggers-Awaited: half
"""


def test_status_database() -> None:
    assert inspect(dpkg.STATUS, STATUS.encode()) == [
        Package(
            manager="dpkg",
            name="libwidget1",
            version="1:1.2-3+b1",
            architecture="arm64",
            source_name="widget",
            source_version="1.2-3",
            depends=["dpkg", "libc6", "default-mta", "mail-transport-agent", "libfoo", "libbar"],
            line=1,
        ),
        Identity(
            subject="package:libwidget1", attribute="maintainer", value="Someone <someone@example.org>", line=4
        ),
        Identity(subject="package:libwidget1", attribute="homepage", value="https://example.org/widget", line=16),
        Package(
            manager="dpkg", name="gone", version="3", architecture="all", source_name="gone", source_version="3",
            status="removed", line=18,
        ),
        Identity(subject="package:gone", attribute="vendor", value="Example Vendor", line=22),
        Package(
            manager="dpkg", name="half", version="0.1~rc1", architecture="all", source_name="whole",
            source_version="0.1~rc1", status="incomplete", line=28,
        ),
        Package(
            manager="dpkg", name="pending", version="9", architecture="all", source_name="pending", source_version="9",
            line=34,
        ),
    ]  # fmt: skip


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="dpkg-query is not installed")
def test_as_dpkg_query_reads_it(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(STATUS)
    (tmp_path / "info").mkdir()
    form = "${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\t${db:Status-Status}\n"
    said = subprocess.run(
        ["dpkg-query", f"--admindir={tmp_path}", "-W", f"-f={form}"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    states = {"config-files": "removed", "half-installed": "incomplete", "triggers-awaited": "installed"}
    expected = {
        (*rest, states.get(state, state))
        for *rest, state in (line.split("\t") for line in said)
        if state != "not-installed"
    }
    found = [fact for fact in inspect(dpkg.STATUS, STATUS.encode()) if isinstance(fact, Package)]
    assert {
        (p.name, p.version, p.architecture, p.source_name, p.source_version, p.status) for p in found
    } == expected  # fmt: skip


def test_paths_that_are_wanted() -> None:
    control = b"Package: a\nVersion: 1\n"
    tree = MemoryTree(
        {
            "/var/lib/dpkg/status": (0o644, 0, 0, STATUS.encode()),
            "/rootfs/var/lib/dpkg/status.d/base": (0o644, 0, 0, control),
            "/var/lib/dpkg/status.d/base.md5sums": (0o644, 0, 0, b"0" * 32 + b"  usr/bin/x\nrubbish\n"),
            "/var/lib/dpkg/info/a:arm64.list": (0o644, 0, 0, b"/.\n/usr\n/usr/bin/caf\xe9\n"),
            "/var/lib/dpkg/info/a.md5sums": (0o644, 0, 0, b"1" * 32 + b"  usr/bin/y\n"),
            "/control": (0o644, 0, 0, b"Package: b\nVersion: 2\n"),
            "/etc/status": (0o644, 0, 0, b"Package: c\n"),
        },
        [dpkg.STATUS, dpkg.CONTROL, dpkg.LISTS, dpkg.SUMS],
    )
    assert not tree.failures
    assert {(file.path, p.name, p.status) for file, p in tree.all(Package) if p.line == 1} == {
        ("/var/lib/dpkg/status", "libwidget1", "installed"),
        ("/rootfs/var/lib/dpkg/status.d/base", "a", "installed"),
        ("/control", "b", "delivered"),
    }
    assert [(file.path, fact) for file, fact in tree.all(PackageFiles)] == [
        ("/var/lib/dpkg/info/a:arm64.list", PackageFiles(manager="dpkg", files=["/.", "/usr", "/usr/bin/caf\\xe9"])),
        ("/var/lib/dpkg/status.d/base.md5sums", PackageFiles(manager="dpkg", files=["/usr/bin/x"])),
    ]


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")
def test_control_file_of_a_package(tmp_path: Path) -> None:
    (tmp_path / "p/DEBIAN").mkdir(parents=True)
    (tmp_path / "p/DEBIAN/control").write_text(
        "Package: tool\nVersion: 2.0-1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n"
    )
    subprocess.run(["dpkg-deb", "-b", "p", "t.deb"], cwd=tmp_path, check=True, capture_output=True)
    control = subprocess.run(
        ["dpkg-deb", "-I", "t.deb", "control"], cwd=tmp_path, check=True, capture_output=True
    ).stdout
    assert inspect(dpkg.CONTROL, control) == [
        Package(
            manager="dpkg", name="tool", version="2.0-1", architecture="all", source_name="tool",
            source_version="2.0-1", status="delivered", line=1,
        ),
        Identity(subject="package:tool", attribute="maintainer", value="A <a@example.org>", line=4),
    ]  # fmt: skip


def test_large_database_is_quick() -> None:
    data = b"".join(STATUS.replace("Package: ", f"Package: p{n}-").encode() + b"\n" for n in range(3000))[: 3 << 20]
    # about 0.1 s on an idle machine
    bounded(lambda: inspect(dpkg.STATUS, data), 1)


def test_damage_gives_facts_or_none() -> None:
    for broken in mangled(STATUS.encode(), count=300):
        for inspector in (dpkg.STATUS, dpkg.CONTROL, dpkg.LISTS, dpkg.SUMS):
            inspect(inspector, broken)
    hostile = [
        b"Package:" * 100_000,
        b"\n" * 1_000_000,
        b"Package: a\n" + b" x\n" * 300_000,
        b"Depends: " + b"a," * 300_000,
    ]
    for data in hostile:
        bounded(lambda data=data: inspect(dpkg.STATUS, data), 2)


LINES = [
    "",
    "",
    "Package: a",
    "package:b",
    "Maintainer: x",
    "HOMEPAGE: y",
    " more",
    "Status: a b installed",
    "junk",
    ":",
]


@given(st.lists(st.sampled_from(LINES), max_size=15))
def test_line_numbers_are_right(lines: list[str]) -> None:
    text = "\n".join(lines)
    for fact in inspect(dpkg.STATUS, text.encode()):
        assert fact.line is not None
        assert lines[fact.line - 1].lower().startswith(("package", *dict(dpkg.MAKERS)))
