"""Which package each file of a tree belongs to."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from functools import cache

from assay.facts.package import Ownership, Package, PackageFiles
from assay.inspect.base import Tree, TreeInspector

DATABASES = (
    "/var/lib/dpkg/",
    "/usr/lib/opkg/",
    "/var/lib/opkg/",
    "/usr/lib/ipkg/",
    "/var/lib/rpm/",
    "/usr/lib/sysimage/rpm/",
    "/usr/share/rpm/",
    "/lib/apk/db/",
    "/usr/lib/apk/db/",
)
LISTS = (
    "*/dpkg/info/*.list",
    "*/dpkg/status.d/*.md5sums",
    "*/[io]pkg/info/*.list",
    "*/apk/db/installed",
    "*/rpm/Packages*",
    "*/rpm/rpmdb.sqlite",
)


def root_of(path: str) -> str:
    """Return the root that a package database's paths count from: '' for the tree's own, else a directory in it."""
    places = [path.find(database) for database in DATABASES]
    return path[: min((place for place in places if place >= 0), default=0)]


def lists(tree: Tree) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (root, package, paths) for each file list of an installed package."""
    for file, package in tree.all(Package):
        if package.files and package.status != "delivered":
            yield root_of(file.path), package.name, package.files
    for file, found in tree.all(PackageFiles):
        # The list's own name says whose it is; dpkg writes NAME:ARCHITECTURE.list where it may have several.
        name = posixpath.basename(file.path).removesuffix(".list").removesuffix(".md5sums").split(":")[0]
        yield root_of(file.path), name, found.files


def inspect(tree: Tree) -> Iterator[Ownership]:
    """Yield the owner of every regular file, for a tree that has a package database with file lists.

    Directories that are links are followed, so that dpkg's /lib/x owns /usr/lib/x where /lib is a link. Of several
    packages that list a file, the first by the path of their list counts. Where a file list could not be read, files
    without an owner are left out: the unread list may have named them.
    """

    @cache
    def real(directory: str) -> str | None:
        found = tree.lookup(directory)
        return None if found is None else found.path.rstrip("/")

    owners: dict[str, str] = {}
    for root, package, paths in lists(tree):
        for path in paths:
            folder, _, name = path.rpartition("/")
            if name in ("", ".", ".."):
                continue
            place = real(f"{root}/{folder.lstrip('/')}")
            if place is not None:
                owners.setdefault(f"{place}/{name}", package)
    if not owners:
        return
    missing = any(tree.unread(file.path) for pattern in LISTS for file in tree.glob(pattern))
    for file in tree.regular():
        owner = owners.get(file.path)
        if owner is not None or not missing:
            yield Ownership(path=file.path, package=owner)


INSPECTOR = TreeInspector(name="ownership", version=1, families=(Ownership,), inspect=inspect)
