"""Kamailio: the configuration script with what it includes, and the TLS profiles that it names.

Looked at: *.cfg in directories whose name begins with kamailio, and scripts that begin with #!KAMAILIO. Source: "Core
Cookbook" of Kamailio 5.6 (parameters and their defaults) and the documentation of its modules tls and ctl.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .kamailio_script import DIALECT, statements
from .late import late
from .mobile_function import installed, is_sample, port
from .secrecy import withhold

TLS_DIALECT = "kamailio-tls"
MAIN = "/etc/kamailio/kamailio.cfg"
TLS_FILE = "/etc/kamailio/tls.cfg"

MARKS = (b"#!KAMAILIO", b"#!OPENSER", b"#!SER", b"#!MAXCOMPAT")
"""First line of a script that says which flavour it is."""

DEPTH = 10
"""Files that include each other (core/cfg.lex, MAX_INCLUDE_DEPTH)."""
WORK = 20_000
"""Statements of one configuration, its includes counted each time."""
SUBSTITUTIONS = 100
"""Texts that are replaced inside values (#!substdef)."""

REPEATED = frozenset({"listen", "socket", "alias", "loadmodule", "loadmodulex", "route", "loadpath", "mpath"})

DEFAULTS = {
    "children": "8",
    "debug": "0",
    "disable_core_dump": "no",
    "disable_tcp": "no",
    "enable_tls": "no",
    "fork": "yes",
    "log_facility": "LOG_DAEMON",
    "log_stderror": "no",
    "port": "5060",
    "server_signature": "yes",
}
"""Core parameters as the cookbook of 5.6 gives their defaults."""

_SOCKET = late(r"(?:(udp|tcp|tls|sctp|ws|wss):)?(\[[^\]]*\]|[^\s:;/]+)(?::(\d+))?", re.IGNORECASE)
_BIND = late(r"bind\s*=\s*([^;\s]+)")
_TRUE = frozenset({"yes", "true", "on", "1"})


def wants_path(path: str) -> bool:
    """Tell whether a file lies where Kamailio's configuration lies; its documentation has scraps of scripts."""
    return path.endswith(".cfg") and "/kamailio" in path and "/share/doc/" not in path


def wants_head(head: bytes) -> bool:
    """Tell whether a content says that it is a script for Kamailio."""
    return head.startswith(MARKS)


def inspect(content: Content) -> Iterator[Directive]:
    """Yield the statements of a script, or the lines of a file of TLS profiles with their profile as section."""
    text = content.text()
    if not content.head.startswith(MARKS) and re.search(r"^\[(?:server|client):[^\]\n]*\]", text, re.MULTILINE):
        yield from _profiles(text)
    else:
        yield from statements(text)


def _profiles(text: str) -> Iterator[Directive]:
    section = None
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1][:200]
        elif "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            value = withhold(value.strip().strip('"'))
            yield Directive(dialect=TLS_DIALECT, section=section, key=key.strip(), value=value, line=number)


class Script:
    """One configuration as Kamailio takes it: conditions decided, includes in place."""

    def __init__(self, tree: Tree, main: TreeFile) -> None:
        self.tree = tree
        self.main = main
        self.defined: dict[str, str] = {}
        self.substituted: dict[str, str] = {}
        self.certain = True
        """Every file that is part of it could be read."""
        self.work = 0
        self.files: set[str] = set()
        self.reading: list[str] = []
        self.lines: dict[tuple[str, str], tuple[TreeFile, Directive, str]] = {}
        """By key and, for a repeated one, value: where it stands, and the value with what is defined in place."""
        self.overridden: dict[tuple[str, str], list[str]] = {}
        self._read(main, 0)

    def _read(self, file: TreeFile, depth: int) -> None:
        target = self.tree.lookup(file.path)
        if target is None or self.tree.unread(target.path) or depth > DEPTH:
            self.certain = False
        self.files.add(file.path)
        self.reading.append(file.path)
        for line in self.tree.facts(Directive, file):
            self.work += 1
            if self.work > WORK:
                self.certain = False
                return
            if line.dialect != DIALECT or not self._holds(line.section):
                continue
            if line.key in ("include_file", "import_file"):
                self._include(line, depth)
            elif line.key in ("define", "trydef", "redefine", "substdef"):
                self._define(line)
            else:
                self._set(file, line)
        self.reading.pop()

    def _include(self, line: Directive, depth: int) -> None:
        path = posixpath.join(posixpath.dirname(self.main.path), self._filled(line.value))
        file = self.tree.lookup(path)
        if file is not None and depth < DEPTH and file.path not in self.reading:
            self._read(file, depth + 1)
        elif line.key == "include_file" or file is not None or self.tree.unread(path):
            self.certain = False

    def _define(self, line: Directive) -> None:
        name, _, value = line.value.partition(" ")
        if line.key == "substdef" and len(self.substituted) < SUBSTITUTIONS:
            self.substituted[name] = value
        if line.key == "redefine" or name not in self.defined:
            self.defined[name] = self._filled(value)

    def _holds(self, section: str | None) -> bool:
        """Tell whether all conditions hold; what may be defined on the command line counts as not defined."""
        for condition in section.split(" and ") if section else ():
            if condition.startswith(("exp ", "not exp ")):
                self.certain = False  # an expression, which is not evaluated here
                return False
            if (condition.removeprefix("not ") in self.defined) == condition.startswith("not "):
                return False
        return True

    def _filled(self, value: str) -> str:
        for name, text in self.substituted.items():
            value = value.replace(name, text)[:4096]
        if value in self.defined:
            return self.defined[value]
        return ":".join(self.defined.get(part, part) for part in value.split(":")) if ":" in value else value

    def _set(self, file: TreeFile, line: Directive) -> None:
        value = self._filled(line.value)
        where = line.key, value if line.key in REPEATED else ""
        if where in self.lines:
            before, gone, _ = self.lines.pop(where)
            self.overridden.setdefault(where, []).append(f"{before.path}:{gone.line}")
        self.lines[where] = file, line, value

    def value(self, key: str) -> str:
        """Return the value of a parameter that is set once, its default if there is none; else nothing."""
        found = self.lines.get((key, ""))
        return found[2] if found else DEFAULTS.get(key, "")

    def loaded(self, module: str) -> bool:
        """Tell whether a module is loaded."""
        return any(
            key.startswith("loadmodule") and module in (value, value.removesuffix(".so")) for key, value in self.lines
        )


def observe(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield settings and listeners of each script that no other includes."""
    files: dict[str, TreeFile] = {}
    for file, directive in tree.all(Directive):
        if directive.dialect == DIALECT and not is_sample(file.path):
            files.setdefault(file.path, file)
    scripts = {path: Script(tree, file) for path, file in files.items()}
    included = {path for script in scripts.values() for path in script.files if path != script.main.path}
    version = installed(tree, "kamailio")
    basis = "Core Cookbook of Kamailio 5.6" + (f"; package version {version}" if version else "; version unknown")
    for path, script in scripts.items():
        if path not in included:
            scope = "" if path == MAIN else f"kamailio -f {path}"
            yield from _settings(script, scope, basis)
            yield from _listeners(script)
            if script.loaded("tls"):
                yield from _tls(tree, script, scope)


def _settings(script: Script, scope: str, basis: str) -> Iterator[Setting]:
    for where, (file, line, value) in script.lines.items():
        over = script.overridden.get(where)
        yield Setting(
            subsystem="kamailio", key=line.key, value=value, origin="file", scope=scope, path=file.path, line=line.line,
            basis=f"overrides {', '.join(over[:100])}" if over else None,
        )  # fmt: skip
    if script.certain:
        for key, value in DEFAULTS.items():
            if (key, "") not in script.lines:
                yield Setting(
                    subsystem="kamailio", key=key, value=value, origin="default", scope=scope, basis=basis
                )  # fmt: skip


def _listeners(script: Script) -> Iterator[Listener]:
    udp_only = script.value("disable_tcp").lower() in _TRUE
    tls = script.value("enable_tls").lower() in _TRUE and script.loaded("tls")
    usual = ["udp", *(() if udp_only else ("tcp",)), *(("tls",) if tls and not udp_only else ())]
    found = [(where, place) for where, place in script.lines.items() if where[0] in ("listen", "socket")]
    for _, (file, line, value) in found:
        bound = _BIND.search(value)
        match = _SOCKET.match(bound[1] if bound else value)
        if match is None:
            continue
        protocols = [match[1].lower()] if match[1] else usual
        for protocol in protocols:
            number = port(match[3] or "", 5061 if protocol in ("tls", "wss") else port(script.value("port")))
            yield _listener(protocol, match[2].strip("[]"), number, file.path, line.line)
    if not found and script.certain:
        for protocol in usual:
            number = 5061 if protocol == "tls" else port(script.value("port"))
            yield _listener(protocol, "0.0.0.0", number, script.main.path, None)  # noqa: S104 - what it does
    for (key, _), (file, line, value) in script.lines.items():
        if key == "modparam ctl binrpc" and script.loaded("ctl"):
            kind, _, rest = value.partition(":")
            if kind in ("unix", "unixs", "unixd"):
                yield Listener(
                    program="kamailio", protocol="unix", address=rest, purpose="admin", path=file.path, line=line.line
                )
            elif (match := _SOCKET.match(value)) is not None:
                number = port(match[3] or "", 2049)
                yield _listener((match[1] or "udp").lower(), match[2], number, file.path, line.line, "admin")


def _listener(
    protocol: str, address: str, number: int | None, path: str, line: int | None, purpose: str = "sip"
) -> Listener:
    return Listener(
        program="kamailio",
        protocol=protocol if protocol in ("udp", "sctp") else "tcp",
        address="" if _is_interface(address) else address,
        port=number,
        interface=address if _is_interface(address) else None,
        purpose=purpose,
        tls=protocol in ("tls", "wss"),
        origin="file" if line else "default",
        path=path,
        line=line,
    )


def _is_interface(address: str) -> bool:
    return "." not in address and ":" not in address and address not in ("", "localhost", "*")


def _tls(tree: Tree, script: Script, scope: str) -> Iterator[Setting]:
    """Yield the lines of the TLS profiles that the script's tls module reads."""
    path = script.value("modparam tls config") or TLS_FILE
    file = tree.lookup(posixpath.join(posixpath.dirname(script.main.path), path))
    for line in tree.facts(Directive, file) if file is not None else ():
        if line.dialect == TLS_DIALECT and file is not None:
            yield Setting(
                subsystem="kamailio", key=f"tls {line.key}", value=line.value, origin="file",
                path=file.path, line=line.line,
                scope=" and ".join(part for part in (scope, f"[{line.section}]" if line.section else "") if part),
            )  # fmt: skip


INSPECTOR = ContentInspector(
    name="kamailio",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/kamailio",),
    head_begins=(b"#!",),
    wants_path=wants_path,
    wants_head=wants_head,
    max_size=1 << 20,
    text_only=True,
    unseen=("what the routing blocks do", "parameters that a routing block or a remote call changes while it runs"),
)

SETTINGS = TreeInspector(
    name="kamailio-settings",
    version=1,
    families=(Setting, Listener),
    inspect=observe,
    unseen=(
        "options on the command line (-A, -l, -m, --modparam), also those of /etc/default/kamailio",
        "conditions by expression (#!ifexp): the script's defaults are then not told",
        "defaults of module parameters",
    ),
)
