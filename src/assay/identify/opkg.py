"""OpenWrt and Yocto packages: opkg's status, control files and file lists, and the control file of a package."""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts import ContentFact
from assay.facts.identity import Identity
from assay.facts.package import Package, PackageFiles
from assay.inspect.base import Content, ContentInspector

from .control import LIMIT, Paragraph, identity, listed, names, paragraphs
from .dpkg import OPKG_FIELDS

MAKERS = (("maintainer", "maintainer"), ("homepage", "homepage"), ("url", "homepage"))
FIELDS = OPKG_FIELDS | frozenset(
    ["package", "version", "architecture", "source", "status", "depends", *(field for field, _ in MAKERS)]
)
# opkg, libopkg/pkg.c: the third word of Status.
STATES = {
    "installed": "installed",
    "config-files": "removed",
    "half-installed": "incomplete",
    "unpacked": "incomplete",
    "half-configured": "incomplete",
    "post-inst-failed": "incomplete",
    "removal-failed": "incomplete",
}
INFO = re.compile(r"/(?:opkg|ipkg)/info/[^/]+$")


def package(paragraph: Paragraph, state: str) -> Package | None:
    """Return the package of a paragraph, or None if it names none.

    `Source` is the place of the recipe in its feed (feeds/packages/net/curl) or the recipe's file; the source package's
    name is `SourceName`, or the last part of that place.
    """
    name = paragraph.get("package")
    if name is None:
        return None
    place = (paragraph.get("source") or "").split()
    return Package(
        manager="opkg",
        name=name,
        version=paragraph.get("version") or "",
        architecture=paragraph.get("architecture"),
        source_name=paragraph.get("sourcename") or (place[0].rstrip("/").rsplit("/", 1)[-1] if place else None),
        status=state,
        licence=paragraph.get("license"),
        depends=names(paragraph.get("depends")),
        line=paragraph.line("package"),
    )


def inspect_status(content: Content) -> Iterator[ContentFact]:
    """Yield the packages of a status database, or of an info/NAME.control, which has no Status field."""
    for paragraph in paragraphs(content, FIELDS):
        words = (paragraph.get("status") or "install user installed").split()
        state = STATES.get(words[-1])
        found = package(paragraph, state) if state else None
        if found:
            yield found
            yield from identity(paragraph, found.name, MAKERS)


def inspect_control(content: Content) -> Iterator[ContentFact]:
    """Yield the package that the control file of an .ipk describes; nothing for a Debian package."""
    for paragraph in paragraphs(content, FIELDS):
        if not any(field in paragraph for field in OPKG_FIELDS) and "/" not in (paragraph.get("source") or ""):
            continue
        found = package(paragraph, "delivered")
        if found:
            yield found
            yield from identity(paragraph, found.name, MAKERS)


def inspect_list(content: Content) -> Iterator[ContentFact]:
    """Yield the paths of an info/NAME.list; Yocto's opkg writes mode and link target behind a tab."""
    yield PackageFiles(manager="opkg", files=[line.split("\t", 1)[0] for line in listed(content)])


STATUS = ContentInspector(
    name="opkg-status",
    version=1,
    families=(Package, Identity),
    inspect=inspect_status,
    path_has=("pkg/",),
    wants_path=lambda path: (
        path.endswith(("/opkg/status", "/ipkg/status")) or (path.endswith(".control") and bool(INFO.search(path)))
    ),
    max_size=LIMIT,
)

CONTROL = ContentInspector(
    name="opkg-control",
    version=1,
    families=(Package, Identity),
    inspect=inspect_control,
    path_has=("/control",),
    wants_path=lambda path: path == "/control",
    max_size=1 << 20,
    text_only=True,
)

LISTS = ContentInspector(
    name="opkg-list",
    version=1,
    families=(PackageFiles,),
    inspect=inspect_list,
    path_has=("pkg/info/",),
    wants_path=lambda path: path.endswith(".list") and bool(INFO.search(path)),
    max_size=LIMIT,
)
