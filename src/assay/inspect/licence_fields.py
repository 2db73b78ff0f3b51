"""Licences as databases state them: Debian's copyright files, Python, npm, Cargo and Maven packages.

Source: Debian, "Machine-readable debian/copyright file" 1.0; Python core metadata 2.4; npm, "package.json"; The Cargo
Book, "The Manifest Format"; Maven, "POM Reference". Packages of dpkg, opkg, rpm and apk state theirs in `package`.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator

from assay.facts.licence import Licence

from .base import Content, ContentInspector
from .late import late
from .licence_tables import CLASSIFIERS, named
from .licence_texts import read_table

MAX_FACTS = 5_000
MAX_STATED = 200

_DEP5 = late(r"Format(?:-Specification)?:\s*\S*(?:copyright-format|dep-?5)", re.IGNORECASE)
_FIELD = late(r"([A-Za-z][A-Za-z-]*):[ \t]*(.*)")
_POM = late(r"<license>\s*(?:<!--.*?-->\s*)?(?:<url>[^<]{0,300}</url>\s*)?<name>\s*([^<]{1,300}?)\s*</name>", re.DOTALL)
_SECTION = late(r"\s*\[([^\[\]]{1,100})\]")
_STRING = late(r"""\s*(name|license)\s*=\s*["']([^"'\\]{1,300})["']""")
_NAMES = ("METADATA", "PKG-INFO", "package.json", "Cargo.toml", "pom.xml", "copyright")


def wants_path(path: str) -> bool:
    """Tell whether a path is that of a package's description."""
    return path.endswith(_NAMES) or path.endswith(".pom")


def prepare() -> None:
    """Read the table of licences, before workers are forked and confined."""
    read_table()


def inspect(content: Content) -> Iterator[Licence]:
    """Yield the licences of a package's description.

    Raises:
        ValueError: it is JSON that cannot be read.
    """
    text = content.text(4 << 20)
    start = text.lstrip("\ufeff \t\r\n")[:4096]
    if _DEP5.match(start):
        yield from _debian(text)
    elif re.match(r"Metadata-Version:", start):
        yield from _python(text)
    elif start.startswith("{"):
        yield from _npm(text)
    elif re.search(r"^\[(?:package|workspace)[\].]", start, re.MULTILINE):
        yield from _cargo(text)
    elif "<project" in start:
        for found in _POM.finditer(text):
            yield _fact(found[1], text.count("\n", 0, found.start(1)) + 1)


def _fact(stated: str, line: int | None, scope: str | None = None) -> Licence:
    stated = " ".join(stated.split())[:MAX_STATED]
    scope = None if scope is None else " ".join(scope.split())[:MAX_STATED]
    return Licence(expression=named(stated), evidence="field", stated=stated, scope=scope, line=line)


def _paragraphs(text: str) -> Iterator[dict[str, tuple[str, int]]]:
    """Yield each paragraph's fields, names in lower case, with (value, line); an indented line continues a value."""
    fields: dict[str, tuple[str, int]] = {}
    last = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, ""
        elif line[0] in " \t":
            if last and len(fields[last][0]) < 4 * MAX_STATED:
                fields[last] = (f"{fields[last][0]}\n{line.strip()}", fields[last][1])
        elif found := _FIELD.match(line):
            last = found[1].lower()
            fields[last] = (found[2], number)
    if fields:
        yield fields


def _debian(text: str) -> Iterator[Licence]:
    """Yield the licence of each Files paragraph, and of the header; stand-alone paragraphs only give texts."""
    for number, fields in enumerate(_paragraphs(text)):
        if "license" in fields and ("files" in fields or "format" in fields) and number < MAX_FACTS:
            stated, line = fields["license"]
            if first := stated.split("\n", 1)[0].strip():
                yield _fact(first, line, fields["files"][0] if "files" in fields else None)


def _python(text: str) -> Iterator[Licence]:
    head = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    name = None
    for line, row in enumerate(head.split("\n"), 1):
        found = _FIELD.match(row)
        if found is None:
            continue
        key, value = found[1].lower(), found[2].strip()
        if key == "name":
            name = value
        elif key in ("license-expression", "license") and value and value.upper() != "UNKNOWN":
            yield _fact(value, line, name)
        elif key == "classifier" and value.startswith("License :: "):
            last = value.rpartition(" :: ")[2]
            if last in CLASSIFIERS:
                yield Licence(
                    expression=CLASSIFIERS[last], evidence="field", stated=value[:MAX_STATED], scope=name, line=line
                )


def _npm(text: str) -> Iterator[Licence]:
    try:
        package = json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    if not isinstance(package, dict):
        return
    name = package.get("name") if isinstance(package.get("name"), str) else None
    stated = package.get("license", package.get("licenses"))
    for one in stated[:100] if isinstance(stated, list) else [stated]:
        value = one.get("type") if isinstance(one, dict) else one
        if isinstance(value, str) and value.strip() and not value.upper().startswith("SEE LICENSE"):
            yield _fact(value, None, name)


def _cargo(text: str) -> Iterator[Licence]:
    """Yield the licence of the package; the keys that matter are plain strings on a line of their own."""
    section, name = "", None
    for line, row in enumerate(text.split("\n"), 1):
        if found := _SECTION.match(row):
            section = found[1]
        elif section == "package" and (found := _STRING.match(row)):
            if found[1] == "name":
                name = found[2]
            else:
                yield _fact(found[2].replace("/", " OR "), line, name)


def _is_description(path: str) -> bool:
    name = posixpath.basename(path)
    return name in _NAMES or name.endswith(".pom")


INSPECTOR = ContentInspector(
    name="licence-fields",
    version=1,
    families=(Licence,),
    inspect=inspect,
    path_has=(*_NAMES, ".pom"),
    wants_path=lambda path: wants_path(path) and _is_description(path),
    max_size=4 << 20,
    text_only=True,
    unseen=(
        "files that a field only points to (license-files, licenseUrl, SEE LICENSE IN ...)",
        "copyright files of Debian that are not in the machine-readable form: their notices and texts are seen instead",
    ),
)
