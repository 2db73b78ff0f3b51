from __future__ import annotations

from assay.facts.identity import Identity
from assay.facts.package import Package, PackageFiles
from assay.identify import apk, dpkg, opkg

from ..support.hostile import mangled
from ..support.memory_tree import MemoryTree, inspect

OPKG_CONTROL = b"""Package: curl
Version: 8.5.0-1
Depends: libc, libcurl4 (= 8.5.0)
Source: feeds/packages/net/curl
SourceName: curl
License: MIT
Section: net
SourceDateEpoch: 1700000000
Maintainer: Someone <someone@example.org>
Architecture: aarch64_cortex-a53
Description: a client
"""

OPKG_STATUS = b"""Package: curl
Version: 8.5.0-1
Depends: libc, libcurl4
Status: install user installed
Architecture: aarch64_cortex-a53
Installed-Time: 1700000000

Package: libc
Version: 1.2.4-4
Status: unknown ok not-installed
Architecture: aarch64_cortex-a53
"""


def curl(**changed: object) -> Package:
    fields: dict[str, object] = {
        "manager": "opkg",
        "name": "curl",
        "version": "8.5.0-1",
        "architecture": "aarch64_cortex-a53",
        "depends": ["libc", "libcurl4"],
        "line": 1,
    }
    return Package(**{**fields, **changed})  # type: ignore[arg-type]


def test_opkg() -> None:
    maker = Identity(subject="package:curl", attribute="maintainer", value="Someone <someone@example.org>", line=9)
    assert inspect(opkg.STATUS, OPKG_STATUS) == [curl()]
    assert inspect(opkg.STATUS, OPKG_CONTROL) == [curl(source_name="curl", licence="MIT"), maker]
    tree = MemoryTree(
        {
            "/usr/lib/opkg/status": (0o644, 0, 0, OPKG_STATUS),
            "/overlay/var/lib/opkg/status": (0o644, 0, 0, OPKG_STATUS),
            "/usr/lib/opkg/info/curl.control": (0o644, 0, 0, OPKG_CONTROL),
            "/usr/lib/opkg/info/curl.list": (0o644, 0, 0, b"/usr/bin/curl\n/usr/bin/link\t0777\tcurl\n"),
        },
        [opkg.STATUS, opkg.LISTS, opkg.CONTROL, dpkg.CONTROL],
    )
    assert not tree.failures
    assert [file.path for file, _ in tree.all(Package)] == [
        "/overlay/var/lib/opkg/status",
        "/usr/lib/opkg/info/curl.control",
        "/usr/lib/opkg/status",
    ]
    assert [fact for _, fact in tree.all(PackageFiles)] == [
        PackageFiles(manager="opkg", files=["/usr/bin/curl", "/usr/bin/link"])
    ]


def test_control_files_of_both_families_are_told_apart() -> None:
    debian = b"Package: a\nVersion: 1\nArchitecture: all\n"
    assert [len(inspect(inspector.CONTROL, OPKG_CONTROL)) for inspector in (dpkg, opkg)] == [0, 2]
    assert [len(inspect(inspector.CONTROL, debian)) for inspector in (dpkg, opkg)] == [1, 0]
    assert inspect(opkg.CONTROL, b"Package: b\nVersion: 1\nSource: package/libs/b\n") == [
        Package(manager="opkg", name="b", version="1", source_name="b", status="delivered", line=1)
    ]


APK = b"""C:Q1p78yvTLG094tHE1+dToJGbmYzQE=
P:busybox
V:1.36.1-r5
A:x86_64
S:507831
I:962560
T:Size optimized toolbox
U:https://busybox.net/
L:GPL-2.0-only
o:busybox
m:Someone <someone@example.org>
t:1700000000
c:1dbf7a793afae640ea643a055b6dd4f430ac116b
D:so:libc.musl-x86_64.so.1 musl>=1.2 !old /bin/sh
p:cmd:busybox=1.36.1-r5
F:bin
R:busybox
a:0:0:755
Z:Q1pcfTfDNEbNKQc2s1tia7da05M8Q=
F:etc
F:etc/busybox-paths.d
R:busybox
F:
R:init

P:ssl_client
V:1.36.1-r5
A:x86_64
o:busybox
"""


def test_apk_database() -> None:
    assert inspect(apk.INSTALLED, APK) == [
        Package(
            manager="apk",
            name="busybox",
            version="1.36.1-r5",
            architecture="x86_64",
            source_name="busybox",
            source_version="1.36.1-r5",
            licence="GPL-2.0-only",
            depends=["so:libc.musl-x86_64.so.1", "musl", "/bin/sh"],
            files=["/bin/busybox", "/etc/busybox-paths.d/busybox", "/init"],
            line=1,
        ),
        Identity(subject="package:busybox", attribute="maintainer", value="Someone <someone@example.org>", line=11),
        Identity(subject="package:busybox", attribute="homepage", value="https://busybox.net/", line=8),
        Package(
            manager="apk",
            name="ssl_client",
            version="1.36.1-r5",
            architecture="x86_64",
            source_name="busybox",
            source_version="1.36.1-r5",
            line=26,
        ),
    ]


def test_apk_package() -> None:
    info = b"# made by abuild\npkgname = a\npkgver = 1-r0\narch = noarch\ndepend = b\ndepend = c>1\nlicense = MIT\n"
    assert inspect(apk.DELIVERED, info) == [
        Package(
            manager="apk",
            name="a",
            version="1-r0",
            architecture="noarch",
            source_name="a",
            source_version="1-r0",
            status="delivered",
            licence="MIT",
            depends=["b", "c"],
            line=2,
        )
    ]
    assert inspect(apk.DELIVERED, b"pkgbase = a\n" + info) == []


def test_damage_gives_facts_or_none() -> None:
    for broken in mangled(APK, count=200):
        inspect(apk.INSTALLED, broken)
        inspect(apk.DELIVERED, broken)
    for broken in mangled(OPKG_STATUS, count=200):
        inspect(opkg.STATUS, broken)
