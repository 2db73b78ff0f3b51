"""The same tree in every form of delivery gives the same facts; what a form cannot carry is stated form by form."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assay.examine.sandbox import SandboxUnavailable

from .evidence import (
    ROOT,
    TIME,
    TREE,
    archive,
    bsdtar,
    expected,
    ext4,
    folder,
    needs,
    needs_root,
    run,
    seen,
    squashfs,
)
from .support import assert_accounted, examined, rows, unread

BARE: dict[str, Any] = {"capabilities": None, "xattrs": ()}
"""For forms without extended attributes."""

LINK = ("hardlink", "./bin/su")

NO_NODES = [s for s in TREE if s.type not in ("chardev", "blockdev", "fifo")]


def gnu_cpio(path: Path) -> Path:
    """Write the tree as GNU cpio does (as root)."""
    tree = folder(path.with_suffix(".tree"))
    names = b"".join(b"." + s.raw + b"\0" + (b"./bin/su2\0" if s.path == "/bin/su" else b"") for s in TREE)
    (path.parent / "names").write_bytes(names)
    path.write_bytes(run("cpio", "-0", "-o", "-H", "newc", "--quiet", cwd=tree, stdin=path.parent / "names"))
    return path


def gnu_tar(path: Path) -> Path:
    """Write the tree as GNU tar does (as root)."""
    tree = folder(path.with_suffix(".tree"))
    run("tar", "--xattrs", "--xattrs-include=*", "--format=posix", "--sort=name", "-cf", path, "-C", tree, ".")
    return path


FORMS: dict[str, tuple[Callable[[Path], Path], dict[str, Any], tuple[Any, ...]]] = {
    "pax tar": (archive, {"hard": LINK}, ()),
    "GNU tar format": (lambda p: archive(p, format=tarfile.GNU_FORMAT), {"hard": LINK, **BARE}, ()),
    "GNU tar": (gnu_tar, {"hard": LINK}, (needs("tar"), needs_root)),
    "bsdtar pax": (lambda p: bsdtar(p, "pax"), {"hard": LINK}, (needs("bsdtar"),)),
    "bsdtar gnutar": (lambda p: bsdtar(p, "gnutar"), {"hard": LINK, **BARE}, (needs("bsdtar"),)),
    "bsdtar newc": (lambda p: bsdtar(p, "newc"), {"hard": None, **BARE}, (needs("bsdtar"),)),
    "GNU cpio": (gnu_cpio, BARE, (needs("cpio", "tar"), needs_root)),
    "zip": (lambda p: bsdtar(p, "zip"), {"hard": None, "tree": NO_NODES, **BARE}, (needs("bsdtar"),)),
    "squashfs": (squashfs, {}, (needs("mksquashfs"),)),
    "squashfs zstd": (lambda p: squashfs(p, "-comp", "zstd"), {}, (needs("mksquashfs"),)),
    "ext4": (ext4, {}, (needs("mkfs.ext4", "tar"), needs_root)),
    "directory": (folder, {}, (needs("tar"), needs_root)),
}


@pytest.mark.parametrize("form", [pytest.param(name, marks=marks) for name, (_, _, marks) in FORMS.items()])
def test_every_form_gives_the_same_facts(tmp_path: Path, form: str) -> None:
    build, exceptions, _ = FORMS[form]
    image = build(tmp_path / "image")
    outcome = examined(image, tmp_path / "r.assay")
    assert seen(tmp_path / "r.assay") == expected(**exceptions)
    assert outcome.unread == 0
    assert_accounted(tmp_path / "r.assay")


@pytest.mark.parametrize("tool", [pytest.param(t, marks=needs(t)) for t in ("gzip", "xz", "bzip2", "zstd", "lzma")])
def test_a_compressed_tar_is_the_tar(tmp_path: Path, tool: str) -> None:
    tar = archive(tmp_path / "image.tar")
    (tmp_path / "image").write_bytes(run(tool, "-c", tar))
    outcome = examined(tmp_path / "image", tmp_path / "r.assay")
    ((path,),) = rows(tmp_path / "r.assay", "SELECT path FROM container WHERE format = 'tar'")
    assert seen(tmp_path / "r.assay", path) == expected(hard=LINK)
    assert outcome.unread == 0
    assert_accounted(tmp_path / "r.assay")


@needs("mksquashfs", "mkfs.ext4", "sfdisk", "tar")
@needs_root
def test_partitions_hold_the_tree(tmp_path: Path) -> None:
    for label, part, name in (("dos", squashfs(tmp_path / "s"), "squashfs"), ("gpt", ext4(tmp_path / "e"), "ext")):
        disk = tmp_path / label
        content = part.read_bytes()
        sectors = -(-len(content) // 512)
        with disk.open("wb") as out:
            out.truncate((2048 + sectors + 2048) * 512)
        (tmp_path / "script").write_text(f"label: {label}\nstart=2048, size={sectors}\n")
        run("sfdisk", "--quiet", disk, stdin=tmp_path / "script")
        with disk.open("r+b") as out:
            out.seek(2048 * 512)
            out.write(content)
        record = tmp_path / f"{label}.assay"
        outcome = examined(disk, record)
        ((path,),) = rows(record, "SELECT path FROM container WHERE format = ?", name)
        assert path.count("!") == 1
        assert seen(record, path) == expected()
        assert outcome.unread == 0
        assert_accounted(record)


def test_a_zip_in_a_tar_in_a_gzip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as out:
        out.writestr("deep/file", b"found")
    with tarfile.open(tmp_path / "image.tgz", "w:gz") as out_tar:
        out_tar.add(tmp_path / "inner.zip", "a/inner.zip")
    record = tmp_path / "r.assay"
    outcome = examined(tmp_path / "image.tgz", record)
    assert rows(record, "SELECT format, path, depth, complete FROM container ORDER BY depth") == [
        ("gzip", "", 0, 1), ("tar", "/image.tgz!", 1, 1), ("zip", "/image.tgz!/a/inner.zip!", 2, 1),
    ]  # fmt: skip
    deep = rows(record, "SELECT path FROM place WHERE path GLOB '*deep*'")
    assert deep == [("/image.tgz!/a/inner.zip!/deep/file",)]
    assert outcome.unread == 0


@needs("ar", "xz")
def test_a_debian_package_made_member_by_member(tmp_path: Path) -> None:
    (tmp_path / "debian-binary").write_text("2.0\n")
    archive(tmp_path / "data.tar")
    with tarfile.open(tmp_path / "control.tar.gz", "w:gz") as out:
        (tmp_path / "control").write_text(
            "Package: odd\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\n"
        )
        out.add(tmp_path / "control", "./control")
    run("xz", tmp_path / "data.tar")
    run("ar", "q", "odd.deb", "debian-binary", "control.tar.gz", "data.tar.xz", cwd=tmp_path)
    record = tmp_path / "r.assay"
    outcome = examined(tmp_path / "odd.deb", record)
    ((path,),) = rows(record, "SELECT path FROM container WHERE format = 'tar' AND path GLOB '/data*'")
    assert seen(record, path) == expected(hard=LINK)
    assert rows(record, "SELECT manager, name, version, status FROM package") == [("dpkg", "odd", "1", "delivered")]
    assert outcome.unread == 0
    assert_accounted(record)


RPM_SPEC = """
Name: odd
Version: 1
Release: 1
Summary: Odd
License: MIT
BuildArch: noarch
AutoReqProv: no
%description
Odd.
%install
mkdir -p %{buildroot}/usr/bin
echo -n set-uid > %{buildroot}/usr/bin/su
echo -n ping > %{buildroot}/usr/bin/ping
echo -n locked > %{buildroot}/usr/bin/locked
ln -s /etc/passwd %{buildroot}/usr/bin/absolute
ln %{buildroot}/usr/bin/su %{buildroot}/usr/bin/su2
%files
%attr(4755, root, root) /usr/bin/su
%attr(4755, root, root) /usr/bin/su2
%attr(0755, root, root) %caps(cap_net_raw=ep) /usr/bin/ping
%attr(0000, daemon, games) /usr/bin/locked
/usr/bin/absolute
%dev(c, 1, 3) %attr(0666, root, root) /dev/odd
"""


@needs("rpmbuild")
def test_an_rpm_keeps_modes_owners_links_and_nodes(tmp_path: Path) -> None:
    (tmp_path / "odd.spec").write_text(RPM_SPEC)
    run("rpmbuild", "-bb", "--quiet", "--nodeps", "--define", f"_topdir {tmp_path}/top",
        "--define", "__strip /bin/true", tmp_path / "odd.spec")  # fmt: skip
    (package,) = (tmp_path / "top/RPMS").rglob("*.rpm")
    record = tmp_path / "r.assay"
    outcome = examined(package, record)
    found = rows(
        record,
        """SELECT f.path, type, mode, owner, group_name, link_target, device, capabilities, c.size FROM file AS f
           LEFT JOIN content AS c ON c.id = f.content
           WHERE f.container = (SELECT id FROM container WHERE format = 'cpio')
           ORDER BY f.path""",
    )
    assert [(row[0], *row[1:3], *row[5:7], row[8]) for row in found] == [
        ("/dev/odd", "chardev", 0o666, None, "1:3", None),
        ("/usr/bin/absolute", "symlink", 0o777, "/etc/passwd", None, None),
        ("/usr/bin/locked", "regular", 0o000, None, None, 6),
        ("/usr/bin/ping", "regular", 0o755, None, None, 4),
        ("/usr/bin/su", "regular", 0o4755, None, None, 7),
        ("/usr/bin/su2", "regular", 0o4755, None, None, 7),
    ]
    assert outcome.unread == 0
    assert_accounted(record)


def test_a_directory_as_an_ordinary_user_sees_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/su").write_bytes(b"set-uid")
    (tree / "bin/su").chmod(0o4755)
    os.link(tree / "bin/su", tree / "bin/su2")
    os.mkfifo(tree / "pipe", 0o600)
    (tree / "absolute").symlink_to("/etc/passwd")
    (tree / "escaping").symlink_to("../../../../etc/shadow")
    (tree / "looping").symlink_to("looping")
    (tree / "new\nline").write_bytes(b"two")
    Path(os.fsdecode(os.fsencode(tree) + b"/latin\xe4")).write_bytes(b"latin")
    for path in sorted(tree.rglob("*"), reverse=True):
        os.utime(path, (TIME, TIME), follow_symlinks=False)
    record = tmp_path / "r.assay"
    examined(tree, record)
    assert [(row[0], row[1], row[2], row[6], row[10] is not None) for row in seen(record) if row[5] == TIME] == [
        ("/absolute", "symlink", 0o777, "/etc/passwd", False),
        ("/bin", "directory", 0o777 & ~_umask(), None, False),
        ("/bin/su", "regular", 0o4755, None, True),
        ("/bin/su2", "regular", 0o4755, None, True),
        ("/escaping", "symlink", 0o777, "../../../../etc/shadow", False),
        ("/latin\\xe4", "regular", 0o666 & ~_umask(), None, True),
        ("/looping", "symlink", 0o777, "looping", False),
        ("/new\nline", "regular", 0o666 & ~_umask(), None, True),
        ("/pipe", "fifo", 0o600, None, False),
    ]
    assert unread(record) == []


def _umask() -> int:
    old = os.umask(0)
    os.umask(old)
    return old


AS_NOBODY = """
import os, sys
from pathlib import Path
from assay.examine import examine
# the interpreter may lie where nobody may read: so everything is loaded by a first examination
examine([Path(sys.argv[3])], Path(sys.argv[3] + ".assay"), workers=1)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(examine([Path(sys.argv[1])], Path(sys.argv[2]), workers=1).unread)
"""


def for_nobody(tmp_path: Path) -> Path:
    """Return a folder that belongs to nobody, and let everybody reach it and what lies beside it."""
    for up in [tmp_path, *tmp_path.parents]:
        if up == Path(tempfile.gettempdir()) or up.stat().st_uid != os.geteuid():
            break
        up.chmod(0o755)
    place = tmp_path / "nobody"
    place.mkdir()
    os.chown(place, 65534, 65534)
    return place


def as_nobody(artefact: Path, record: Path) -> subprocess.CompletedProcess[str]:
    """Examine as nobody, in a process of its own."""
    first = record.parent.parent / "first"
    first.mkdir()
    (first / "etc").mkdir()
    (first / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, artefact, record, first], capture_output=True, text=True, timeout=60, cwd="/"
    )


@pytest.mark.skipif(not ROOT, reason="needs root to become nobody; as an ordinary user every other test shows it")
@needs("mksquashfs")
def test_an_unprivileged_user_sees_the_same(tmp_path: Path) -> None:
    image = squashfs(tmp_path / "image.squashfs")
    place = for_nobody(tmp_path)
    done = as_nobody(image, place / "r.assay")
    if SandboxUnavailable.__name__ in done.stderr:
        pytest.skip(f"workers cannot be confined as nobody here: {done.stderr.splitlines()[-1]}")
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    assert seen(place / "r.assay") == expected()


@pytest.mark.skipif(not ROOT, reason="the directory must belong to somebody else")
def test_what_an_unprivileged_user_may_not_read_is_named(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "shut").mkdir(parents=True)
    (tree / "shut/inside").write_text("x")
    (tree / "locked").write_text("x")
    (tree / "open").write_text("x")
    (tree / "locked").chmod(0)
    (tree / "shut").chmod(0o700)
    place = for_nobody(tmp_path)
    done = as_nobody(tree, place / "r.assay")
    if SandboxUnavailable.__name__ in done.stderr:
        pytest.skip(f"workers cannot be confined as nobody here: {done.stderr.splitlines()[-1]}")
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert unread(place / "r.assay") == [
        ("/locked", "entry", "denied", None), ("/shut", "entry", "denied", None),
    ]  # fmt: skip
