from __future__ import annotations

from assay.facts.package import Ownership, Package, PackageFiles
from assay.identify import apk, dpkg, ownership
from assay.inspect.base import ContentInspector

from ..support.hostile import bounded
from ..support.memory_tree import MemoryTree, Spec

DPKG = [dpkg.STATUS, dpkg.LISTS, dpkg.SUMS]


def owners(tree: MemoryTree) -> dict[str, str | None]:
    facts = list(ownership.INSPECTOR.inspect(tree))
    assert all(isinstance(fact, Ownership) for fact in facts)
    return {fact.path: fact.package for fact in facts if isinstance(fact, Ownership) and fact.path}


def file(data: bytes = b"") -> Spec:
    return 0o644, 0, 0, data


def link(target: str) -> Spec:
    return 0o777, 0, 0, target


def test_directories_that_are_links() -> None:
    tree = MemoryTree(
        {
            "/lib": link("usr/lib"),
            "/bin": link("/usr/bin"),
            "/usr/lib/libx.so.1": file(b"x"),
            "/usr/lib/libx.so": link("libx.so.1"),
            "/usr/bin/tool": file(b"t"),
            "/usr/bin/stray": file(b"s"),
            "/top": file(b"top"),
            "/var/lib/dpkg/info/libx:arm64.list": file(b"/.\n/lib\n/lib/libx.so.1\n/lib/libx.so\n"),
            "/var/lib/dpkg/info/tool.list": file(b"/.\n/bin/tool\n/top\n/gone/x\n/bin/..\n"),
        },
        DPKG,
    )
    assert owners(tree) == {
        "/top": "tool",
        "/usr/bin/stray": None,
        "/usr/bin/tool": "tool",
        "/usr/lib/libx.so.1": "libx",
        "/var/lib/dpkg/info/libx:arm64.list": None,
        "/var/lib/dpkg/info/tool.list": None,
    }


def test_tree_without_file_lists_says_nothing() -> None:
    assert owners(MemoryTree({"/usr/bin/x": file(b"x")}, DPKG)) == {}
    status = {"/var/lib/dpkg/status": file(b"Package: a\nStatus: install ok installed\nVersion: 1\n"), "/x": file()}
    assert owners(MemoryTree(status, DPKG)) == {}


def test_list_that_could_not_be_read_leaves_owners_open() -> None:
    files = {
        "/a": file(b"1"),
        "/b": file(b"2"),
        "/var/lib/dpkg/info/a.list": file(b"/a\n"),
        "/var/lib/dpkg/info/b.list": file(b"/b\n"),
    }
    tree = MemoryTree(files, DPKG, unread=["/var/lib/dpkg/info/b.list"])
    assert owners(tree) == {"/a": "a"}


def test_database_inside_a_directory_and_packages_that_are_only_delivered() -> None:
    def yields(content: object) -> list[Package]:
        return [Package(manager="rpm", name="p", version="1", status="delivered", files=["/etc/conf"])]

    rpm = ContentInspector("x", 1, [Package], yields, wants_path=lambda path: path.endswith(".rpm"))
    tree = MemoryTree(
        {
            "/etc/conf": file(b"outer"),
            "/p.rpm": file(b"rpm"),
            "/srv/root/lib/apk/db/installed": file(b"P:inner\nV:1\nF:etc\nR:conf\n"),
            "/srv/root/etc/conf": file(b"inner"),
        },
        [apk.INSTALLED, rpm],
    )
    assert owners(tree) == {
        "/etc/conf": None,
        "/p.rpm": None,
        "/srv/root/etc/conf": "inner",
        "/srv/root/lib/apk/db/installed": None,
    }


def test_twenty_thousand_files() -> None:
    paths = [f"/usr/share/d{n % 1000}/sub/f{n}" for n in range(20_000)]
    files = {path: file() for path in paths}
    files |= {
        f"/var/lib/dpkg/info/p{n}.list": file("\n".join(paths[n::200]).encode()) for n in range(200)
    }  # fmt: skip
    tree = MemoryTree(files, DPKG)
    found: list[object] = []
    bounded(lambda: found.extend(ownership.INSPECTOR.inspect(tree)), 3)
    assert len(found) == 20_200
    assert sum(len(fact.files) for _, fact in tree.all(PackageFiles)) == 20_000
