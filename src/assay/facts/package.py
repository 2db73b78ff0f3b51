"""Installed and delivered packages."""

from typing import Annotated, ClassVar

from .base import ContentFact, TreeFact, doc


class Package(ContentFact, frozen=True, kw_only=True, array_like=True):
    """One package as its package manager's database, or the package file itself, states it."""

    source: ClassVar = "deb-control(5), rpm header tags, apk-package(5), opkg control; names after package-url types"
    index: ClassVar = ("name",)

    manager: Annotated[str, doc("dpkg, rpm, apk, opkg")]
    name: Annotated[str, doc("binary package")]
    version: Annotated[str, doc("full version with epoch and revision, as the manager writes it")]
    architecture: Annotated[str | None, doc("as the manager writes it")] = None
    source_name: Annotated[str | None, doc("source package")] = None
    source_version: Annotated[str | None, doc("version of the source package")] = None
    status: Annotated[
        str, doc("installed, removed (configuration left), incomplete, or delivered (a package file)")
    ] = "installed"
    licence: Annotated[str | None, doc("licence text or identifier where the database has it")] = None
    depends: Annotated[list[str], doc("packages it declares to need, as JSON array of names")] = []
    files: Annotated[
        list[str], doc("paths that it says are its own, as JSON array, where the same database lists them")
    ] = []


class PackageFiles(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A file list kept apart from the package entry, as dpkg's info/NAME.list; the package is named by the file's own name."""

    source: ClassVar = "dpkg(1), opkg info/*.list"

    manager: Annotated[str, doc("dpkg, opkg")]
    files: Annotated[list[str], doc("paths, as JSON array")] = []


class Ownership(TreeFact, frozen=True, kw_only=True, array_like=True):
    """A regular file of a tree that has a package database, and the package that owns it."""

    index: ClassVar = ("file",)

    package: Annotated[str | None, doc("binary package that lists the file; empty if none does")] = None
