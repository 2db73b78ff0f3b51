"""Debian packages: the status database, its file lists, and the control file of a package."""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts import ContentFact
from assay.facts.identity import Identity
from assay.facts.package import Package, PackageFiles
from assay.inspect.base import Content, ContentInspector

from .control import LIMIT, Paragraph, identity, listed, names, paragraphs, source

MAKERS = (("maintainer", "maintainer"), ("homepage", "homepage"), ("origin", "vendor"), ("vendor", "vendor"))
FIELDS = frozenset(
    ["package", "version", "architecture", "source", "status", "depends", "pre-depends"]
    + [field for field, _ in MAKERS]
)
# Fields by which opkg's control files (.ipk) differ from Debian's, which have none of them.
OPKG_FIELDS = frozenset(["license", "licensefiles", "sourcename", "sourcedateepoch"])
# dpkg(1), package states. Triggers are pending work for others: all of the package itself is in place.
STATES = {
    "installed": "installed",
    "triggers-pending": "installed",
    "triggers-awaited": "installed",
    "config-files": "removed",
    "half-installed": "incomplete",
    "unpacked": "incomplete",
    "half-configured": "incomplete",
}
LIST = re.compile(r"/dpkg/info/[^/]+\.list$")
STATUS_D = re.compile(r"/dpkg/status\.d/[^/]+$")
MD5SUM = re.compile(r"[0-9a-f]{32} [ *](.+)")


def package(paragraph: Paragraph, state: str) -> Package | None:
    """Return the package of a paragraph, or None if it names none."""
    name = paragraph.get("package")
    if name is None:
        return None
    version = paragraph.get("version") or ""
    source_name, source_version = source(paragraph, name, version)
    return Package(
        manager="dpkg",
        name=name,
        version=version,
        architecture=paragraph.get("architecture"),
        source_name=source_name,
        source_version=source_version,
        status=state,
        depends=names(paragraph.get("pre-depends"), paragraph.get("depends")),
        line=paragraph.line("package"),
    )


def inspect_status(content: Content) -> Iterator[ContentFact]:
    """Yield the packages of a status database (or of a part of it that has no Status field, as in status.d).

    A package that dpkg only remembers (not-installed) is left out.
    """
    for paragraph in paragraphs(content, FIELDS):
        words = (paragraph.get("status") or "install ok installed").split()
        state = STATES.get(words[-1])
        found = package(paragraph, state) if state else None
        if found:
            yield found
            yield from identity(paragraph, found.name, MAKERS)


def inspect_control(content: Content) -> Iterator[ContentFact]:
    """Yield the package that the control file of a package file describes; nothing for an opkg package."""
    for paragraph in paragraphs(content, FIELDS | OPKG_FIELDS):
        if any(field in paragraph for field in OPKG_FIELDS) or "/" in (paragraph.get("source") or ""):
            continue
        found = package(paragraph, "delivered")
        if found:
            yield found
            yield from identity(paragraph, found.name, MAKERS)


def inspect_list(content: Content) -> Iterator[ContentFact]:
    """Yield the paths of an info/NAME.list."""
    yield PackageFiles(manager="dpkg", files=listed(content))


def inspect_sums(content: Content) -> Iterator[ContentFact]:
    """Yield the paths of a status.d/NAME.md5sums: what images without dpkg have in place of a list."""
    sums = (MD5SUM.match(line) for line in content.text(LIMIT).split("\n"))
    yield PackageFiles(manager="dpkg", files=["/" + match[1].removeprefix("./") for match in sums if match])


STATUS = ContentInspector(
    name="dpkg-status",
    version=1,
    families=(Package, Identity),
    inspect=inspect_status,
    path_has=("/dpkg/status",),
    wants_path=lambda path: (
        path.endswith("/dpkg/status")
        or ("/dpkg/status.d/" in path and not path.endswith(".md5sums") and bool(STATUS_D.search(path)))
    ),
    max_size=LIMIT,
)

CONTROL = ContentInspector(
    name="dpkg-control",
    version=1,
    families=(Package, Identity),
    inspect=inspect_control,
    path_has=("/control",),
    wants_path=lambda path: path == "/control",
    max_size=1 << 20,
    text_only=True,
)

LISTS = ContentInspector(
    name="dpkg-list",
    version=1,
    families=(PackageFiles,),
    inspect=inspect_list,
    path_has=("/dpkg/info/",),
    wants_path=lambda path: path.endswith(".list") and bool(LIST.search(path)),
    max_size=LIMIT,
)

SUMS = ContentInspector(
    name="dpkg-md5sums",
    version=1,
    families=(PackageFiles,),
    inspect=inspect_sums,
    path_has=("/dpkg/status.d/",),
    wants_path=lambda path: path.endswith(".md5sums") and bool(STATUS_D.search(path)),
    max_size=LIMIT,
)
