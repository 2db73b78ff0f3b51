"""freeDiameter: identity, ports, TLS and peers of a Diameter node, also where core functions embed it.

Looked at: freeDiameter.conf, *_fd.conf, and *.conf under a directory named freeDiameter. Source: the commented
configuration that comes with freeDiameter 1.2.1 to 1.5.0, and the configuration that 1.2.1 prints as it starts.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .late import late
from .mobile_function import installed, is_sample, port
from .secrecy import withhold

DIALECT = "freediameter"
MAIN = "/etc/freeDiameter/freeDiameter.conf"

FILES = 100
"""Files of one configuration, its includes counted each time."""
WORK = 20_000
"""Statements of one configuration, likewise."""

REPEATED = frozenset({"ListenOn", "LoadExtension", "ConnectPeer"})

FLAGS = ("No_SCTP", "No_TCP", "No_IP", "No_IPv6", "NoRelay", "Prefer_TCP", "TLS_old_method")
"""Words that stand alone; where one is absent its opposite holds."""

DEFAULTS = {
    "Port": "3868",
    "SecPort": "5868",
    "TcTimer": "30",
    "TwTimer": "30",
    "AppServThreads": "4",
    "SCTP_streams": "30",
    "TLS_Prio": "NORMAL",
    "TLS_DH_Bits": "1024",
} | dict.fromkeys(FLAGS, "no")
"""As freeDiameter 1.2.1 prints them."""

_TOKEN = late(
    r"""(?P<line>\n)|(?P<blank>[ \t\r\f\v]+|\#[^\n]*)|"(?P<string>(?:[^"\\\n]|\\.)*+)\""""
    r"""|(?P<word>[^\s"{}=;:,\#]+)|(?P<mark>.)"""
)
_OWN = late(
    r"^[ \t]*(?:Identity|Realm|(?:Sec)?Port|ListenOn|T[cw]Timer|TLS_\w+|LoadExtension|ConnectPeer|No_?\w+|Prefer_TCP)"
    r"\s*[=;]",
    re.MULTILINE,
)
"""A statement of the daemon's language: extensions keep files in other languages beside it."""


def wants_path(path: str) -> bool:
    """Tell whether a file is named as a configuration of freeDiameter."""
    return path.endswith(".conf") and ("/freeDiameter" in path or path.endswith("_fd.conf"))


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a statement; what stands in the braces of a ConnectPeer has it as section.

    Words that stand alone (No_SCTP) have the value yes. Several values are separated by a comma and a blank; the
    configuration of an extension follows its name after a colon.

    Raises:
        ValueError: a string or a statement does not end; statements before it have been yielded.
    """
    text = content.text()
    if _OWN.search(text) is None:
        return
    line, started = 1, 1
    section: str | None = None
    words: list[str] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "line":
            line += 1
        elif kind == "mark" and match[0] in ";{}":
            if words:
                yield _directive(section, words, started)
            if match[0] == "{":
                section = (
                    f"ConnectPeer {words[2][:200]}" if words[:2] == ["ConnectPeer", "="] and words[2:] else "unknown"
                )
            elif match[0] == "}":
                section = None
            words = []
        elif kind == "mark" and match[0] == '"':
            raise ValueError(f"string at line {line} does not end")
        elif kind in ("string", "word", "mark"):
            if not words:
                started = line
                if kind == "string":
                    raise ValueError(f"a value without a name at line {line}")
            words.append(match[kind])
            if words[0] == "include" and len(words) == 2:
                yield Directive(dialect=DIALECT, section=section, key="include", value=words[1], line=started)
                words = []
    if words:
        raise ValueError(f"statement at line {started} does not end")


def _directive(section: str | None, words: list[str], line: int) -> Directive:
    value = "".join(f"{word} " if word == "," else f" {word} " if word == ":" else word for word in words[2:])
    return Directive(
        dialect=DIALECT, section=section, key=words[0], value=withhold(value) if words[1:] else "yes", line=line
    )


class Configuration:
    """One configuration with what it includes."""

    def __init__(self, tree: Tree, main: TreeFile) -> None:
        self.tree = tree
        self.main = main
        self.certain = True
        self.files: list[str] = []
        self.reading: list[str] = []
        self.work = 0
        self.lines: dict[tuple[str, str, str], tuple[TreeFile, Directive]] = {}
        """By section, key and, for a repeated one, value."""
        self._read(main)

    def _read(self, file: TreeFile) -> None:
        if file.path in self.reading or len(self.files) >= FILES or self.work > WORK:
            self.certain = False
            return
        if self.tree.unread(file.path):
            self.certain = False
        self.files.append(file.path)
        self.reading.append(file.path)
        for line in self.tree.facts(Directive, file):
            if line.dialect != DIALECT:
                continue
            self.work += 1
            if line.key == "include":
                self._include(line.value)
            else:
                where = line.section or "", line.key, line.value if line.key in REPEATED else ""
                self.lines.pop(where, None)
                self.lines[where] = file, line
        self.reading.pop()

    def _include(self, pattern: str) -> None:
        directory, name = posixpath.split(pattern)
        if not directory.startswith("/"):
            self.certain = False  # it depends on the directory in which the daemon is started
            return
        found = [file for file in self.tree.listdir(directory) if fnmatchcase(posixpath.basename(file.path), name)]
        if not found and "*" not in name:
            self.certain = False
        for file in found:
            target = self.tree.lookup(file.path)
            if target is not None:
                self._read(target)

    def value(self, key: str) -> str:
        """Return a statement's value outside of peers, its default if it is not there."""
        found = self.lines.get(("", key, ""))
        return found[1].value if found else DEFAULTS.get(key, "")


def observe(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield settings and listeners of each configuration that no other includes and that names an identity."""
    files: dict[str, TreeFile] = {}
    for file, directive in tree.all(Directive):
        if directive.dialect == DIALECT and not is_sample(file.path):
            files.setdefault(file.path, file)
    read = {path: Configuration(tree, file) for path, file in files.items()}
    included = {path for one in read.values() for path in one.files if path != one.main.path}
    version = installed(tree, "freediameterd", "freediameter")
    basis = "freeDiameter 1.2.1 as it prints them" + (
        f"; package version {version}" if version else "; version unknown"
    )
    for path, one in read.items():
        # Extensions have configurations of their own, in other languages, beside it.
        if path not in included and ("", "Identity", "") in one.lines:
            scope = "" if path == MAIN else f"configuration {path}"
            yield from _settings(one, scope, basis)
            yield from _listeners(one)


def _settings(one: Configuration, scope: str, basis: str) -> Iterator[Setting]:
    for (section, key, _), (file, line) in one.lines.items():
        yield Setting(
            subsystem="freediameter", key=f"{section} {key}" if section else key, value=line.value, origin="file",
            scope=scope, path=file.path, line=line.line,
        )  # fmt: skip
    if one.certain:
        for key, value in DEFAULTS.items():
            if ("", key, "") not in one.lines:
                yield Setting(
                    subsystem="freediameter", key=key, value=value, origin="default", scope=scope, basis=basis
                )


def _listeners(one: Configuration) -> Iterator[Listener]:
    protocols = [name for name, flag in (("tcp", "No_TCP"), ("sctp", "No_SCTP")) if one.value(flag) != "yes"]
    stated = [
        (line.value, file.path, line.line) for (_, key, _), (file, line) in one.lines.items() if key == "ListenOn"
    ]
    if not one.certain and not stated:
        return
    inside = one.value("TLS_old_method") == "yes"  # TLS begins after the first messages, on the same port
    for key, tls in (("Port", None if inside else False), ("SecPort", True)):
        number = port(one.value(key))
        own = one.lines.get(("", key, ""))
        if not number:
            continue  # 0 closes it
        everywhere = ("::" if one.value("No_IPv6") != "yes" else "0.0.0.0", one.main.path, own[1].line if own else None)  # noqa: S104
        for address, path, line in stated or [everywhere]:
            for protocol in protocols:
                yield Listener(
                    program="freediameter", protocol=protocol, address=address, port=number, purpose="diameter",
                    tls=tls, origin="file" if stated or own else "default", path=path, line=line,
                )  # fmt: skip


INSPECTOR = ContentInspector(
    name="freediameter",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/freeDiameter", "_fd.conf"),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=("configurations of extensions, which have languages of their own",),
)

SETTINGS = TreeInspector(
    name="freediameter-settings",
    version=1,
    families=(Setting, Listener),
    inspect=observe,
    unseen=(
        "which configuration an embedding function reads, where its own configuration does not lie in this tree",
        "whether a peer that connects may do so without TLS: extensions decide (acl_wl)",
    ),
)
