"""Alpine packages: the database of installed ones, and the .PKGINFO of a package."""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts import ContentFact
from assay.facts.identity import Identity
from assay.facts.package import Package
from assay.inspect.base import Content, ContentInspector
from assay.unpack.base import Malformed

LIMIT = 256 << 20
MOST_PATHS = 128 << 20  # characters of all directories, repeated for each of their files
MAKERS = {"m": "maintainer", "U": "homepage"}
NEEDED = re.compile(r"(?<!\S)([^\s!<>=~]+)")
# apk-package(5): key of .PKGINFO and the letter of the same field in the database
PKGINFO = {
    "pkgname": "P",
    "pkgver": "V",
    "arch": "A",
    "origin": "o",
    "license": "L",
    "maintainer": "m",
    "url": "U",
    "depend": "D",
}


def facts(fields: dict[str, str], lines: dict[str, int], files: list[str], state: str) -> Iterator[ContentFact]:
    """Yield the package of one entry, given its fields by letter, and who made it; nothing if it has no name."""
    name = fields.get("P")
    if not name:
        return
    yield Package(
        manager="apk",
        name=name,
        version=fields.get("V", ""),
        architecture=fields.get("A") or None,
        source_name=fields.get("o") or name,
        source_version=fields.get("V", ""),
        status=state,
        licence=fields.get("L") or None,
        depends=list(dict.fromkeys(NEEDED.findall(fields.get("D", "")))),
        files=files,
        line=min(lines.values()),
    )
    for letter, attribute in MAKERS.items():
        if fields.get(letter):
            yield Identity(subject=f"package:{name}", attribute=attribute, value=fields[letter], line=lines[letter])


def inspect_installed(content: Content) -> Iterator[ContentFact]:
    """Yield the packages of a database of installed packages, with their files (apk-tools, doc/apk-installed.5).

    Raises:
        Malformed: the paths are many times as long as the database: one long directory for very many names.
    """
    fields: dict[str, str] = {}
    lines: dict[str, int] = {}
    files: list[str] = []
    folder, length = "/", 0
    for number, line in enumerate(content.text(LIMIT).split("\n"), 1):
        letter, colon, value = line.partition(":")
        if letter == "R":
            length += len(folder)
            if length > MOST_PATHS:
                raise Malformed(f"paths of more than {MOST_PATHS} characters")
            files.append(folder + value)
        elif letter == "F":
            folder = f"/{value}/" if value else "/"
        elif colon:
            if letter not in fields:
                fields[letter], lines[letter] = value.strip(), number
        elif not line.strip():
            yield from facts(fields, lines, files, "installed")
            fields, lines, files, folder = {}, {}, [], "/"
    yield from facts(fields, lines, files, "installed")


def inspect_pkginfo(content: Content) -> Iterator[ContentFact]:
    """Yield the package that a .PKGINFO describes; nothing for Arch Linux, whose files have a pkgbase."""
    fields: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(content.text().split("\n"), 1):
        key, equals, value = line.partition(" = ")
        if key == "pkgbase":
            return
        letter = PKGINFO.get(key)
        if equals and letter == "D":
            fields[letter] = f"{fields.get(letter, '')} {value.strip()}"
        elif equals and letter and letter not in fields:
            fields[letter], lines[letter] = value.strip(), number
    yield from facts(fields, lines, [], "delivered")


INSTALLED = ContentInspector(
    name="apk-installed",
    version=1,
    families=(Package, Identity),
    inspect=inspect_installed,
    path_has=("/lib/apk/db/installed",),
    wants_path=lambda path: path.endswith("/lib/apk/db/installed"),
    max_size=LIMIT,
)

DELIVERED = ContentInspector(
    name="apk-pkginfo",
    version=1,
    families=(Package, Identity),
    inspect=inspect_pkginfo,
    path_has=("/.PKGINFO",),
    wants_path=lambda path: path == "/.PKGINFO",
    max_size=1 << 20,
    text_only=True,
)
