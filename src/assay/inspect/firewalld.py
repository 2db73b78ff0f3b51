"""firewalld: zones, policies and services as its files define them.

Source: firewalld.conf(5), firewalld.zone(5), firewalld.policy(5), firewalld.service(5), firewalld.direct(5) of 1.3.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from xml.parsers import expat

from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .boot_links import started
from .dropins import Reader
from .systemd_units import Units

DIALECT = "firewalld"

MAIN = "/etc/firewalld/firewalld.conf"
FOLDERS = {
    "zone": ("/etc/firewalld/zones", "/usr/lib/firewalld/zones", "/lib/firewalld/zones"),
    "policy": ("/etc/firewalld/policies", "/usr/lib/firewalld/policies", "/lib/firewalld/policies"),
}
"""Directories, the ones that win first."""

DEFAULTS = {"DefaultZone": "public", "Lockdown": "no", "IPv6_rpfilter": "yes", "LogDenied": "off"}
"""From firewalld.conf(5) of 1.3."""

TARGET = {"zone": "default", "policy": "CONTINUE"}
"""Target where none is written: a zone rejects what it does not take, but for ICMP (firewalld.zone(5))."""

ELEMENTS = 50_000
DEPTH = 16


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an assignment of firewalld.conf, or one for each element of an XML file.

    Of an element, the key is its path below the root (rule/accept), the value its attributes as NAME=VALUE.

    Raises:
        ValueError: the XML is not well-formed, declares entities, or is larger than any real file; what stands before
            has been yielded.
    """
    head = content.head.lstrip()[:1]
    if head != b"<":
        for number, line in enumerate(content.text().split("\n"), 1):
            key, equals, value = line.strip().partition("=")
            if equals and key[0:1] not in ("#", ""):
                yield Directive(dialect=DIALECT, key=key.strip(), value=value.strip(), line=number)
        return
    found: list[Directive] = []
    path: list[str] = []
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        path.append(name)
        if len(path) > DEPTH or len(found) >= ELEMENTS:
            raise ValueError("more or deeper elements than firewalld has")
        value = " ".join(f"{key}={value}" for key, value in attributes.items())
        below = path[1:] or path
        found.append(
            Directive(
                dialect=DIALECT,
                section=path[0],
                key="/".join(below),
                value=value,
                line=parser.CurrentLineNumber,
            )
        )

    def end(_name: str) -> None:
        path.pop()

    def refuse(*_: object) -> None:
        raise ValueError("the file declares entities")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.EntityDeclHandler = refuse
    error: str | None = None
    try:
        parser.Parse(bytes(content.data), True)
    except (expat.ExpatError, ValueError) as why:
        error = f"line {parser.CurrentLineNumber}: {why}"
    yield from found
    if error is not None:
        raise ValueError(error)


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield keywords of firewalld.conf with defaults, and `zone NAME KEY` for each zone, `policy NAME KEY` likewise.

    KEY is target, or an element (service, port, interface, source, masquerade, forward, rule, ...); of elements that
    stand more than once, each is a setting of its own. A rule's value has its parts one after another.
    """
    reader = Reader(tree, DIALECT)
    main = reader.file(MAIN)
    if main is None and reader.file("/usr/sbin/firewalld", "/sbin/firewalld") is None:
        return
    stated: dict[str, Directive] = {}
    for line in reader.lines(main) if main else ():
        if line.section is None:
            stated[line.key] = line
    for key, line in stated.items():
        yield Setting(subsystem=DIALECT, key=key, value=line.value, origin="file", path=MAIN, line=line.line)
    if reader.certain:
        for key, value in DEFAULTS.items():
            if key not in stated:
                basis = "firewalld.conf(5) of firewalld 1.3"
                yield Setting(subsystem=DIALECT, key=key, value=value, origin="default", basis=basis)
    for kind, folders in FOLDERS.items():
        for file in reader.merged(folders, ".xml"):
            lines = [line for line in reader.lines(file) if line.section == kind]
            name = posixpath.basename(file.path).removesuffix(".xml")
            yield from (
                Setting(
                    subsystem=DIALECT,
                    key=f"{kind} {name} {key}",
                    value=value,
                    origin=origin,
                    basis=None if origin == "file" else f"firewalld.{kind}(5): no target is written",
                    path=file.path,
                    line=line,
                )
                for key, value, origin, line in _parts(kind, lines)
            )
    on, shown = started(tree, Units(tree), "firewalld.service")
    if on is not None:
        yield Setting(subsystem=DIALECT, key="started", value="yes" if on else "no", origin="file", basis=shown)


def _parts(kind: str, lines: list[Directive]) -> Iterator[tuple[str, str, str, int | None]]:
    """Yield (key, value, origin, line) of a zone or policy, a rule with all its parts in one value."""
    if not lines:
        return
    root = dict(part.partition("=")[::2] for part in lines[0].value.split())
    if "target" in root:
        yield "target", root["target"], "file", lines[0].line
    else:
        yield "target", TARGET[kind], "default", lines[0].line
    rule: tuple[int | None, list[str]] | None = None
    for line in [*lines[1:], None]:
        if line is not None and line.key.startswith("rule/") and rule is not None:
            rule[1].append(f"{line.key[5:]} {line.value}".strip())
            continue
        if rule is not None:
            yield "rule", "; ".join(part for part in rule[1] if part), "file", rule[0]
            rule = None
        if line is None or line.key in ("short", "description"):
            continue
        if line.key == "rule":
            rule = line.line, [line.value]
        else:
            yield line.key, line.value or "yes", "file", line.line


INSPECTOR = ContentInspector(
    name="firewalld",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/firewalld/",),
    wants_path=lambda path: "/firewalld/" in path and path.endswith((".xml", "/firewalld.conf")),
    max_size=4 << 20,
    text_only=True,
    unseen=("rules of the running daemon that were not made permanent",),
)

SETTINGS = TreeInspector(
    name="firewalld-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=("what a service's name stands for: its file's lines are directives of dialect firewalld", "direct rules"),
)
