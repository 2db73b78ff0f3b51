"""Osmocom programs (osmo-msc, osmo-hlr, osmo-sgsn, ...): VTY configurations, nested by indentation.

Looked at: osmo-*.cfg. Source: the common chapters "The Osmocom VTY Interface" and "Configuration" of the Osmocom user
manuals, and libosmocore's vty/command.c (a line that is indented more than its predecessor stands in the node that the
predecessor opens; '!' and '#' begin comments). A command's leading words are the key, what follows is the value.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .late import late
from .mobile_function import complete, installed, is_sample, port
from .osmocom_tables import COMMON, PHRASES, PROGRAMS, SINGLE, Default, Opened, Program
from .secrecy import WITHHELD

DIALECT = "osmocom-vty"

DEPTH = 32
"""Nodes around a node."""
SECTION = 512
"""Characters of the nodes around a command: each command has them."""

_NAME = late(r"(osmo-[a-z-]+?)(?:[._-](?!cfg$).*)?\.cfg")
_WORD = late(r"[a-z][a-z_-]*")
_SECRET = late(r"(?:^| )(?:enable )?(?:password|oap-k|oap-opc|shared-secret|secret|psk|passphrase|ki)$")


def wants_path(path: str) -> bool:
    """Tell whether a file is named as a configuration of an Osmocom program."""
    return path.endswith(".cfg") and "/osmo-" in path


def command(line: str) -> tuple[str, str]:
    """Return key and value of a command: `bind ip 127.0.0.1` is (bind ip, 127.0.0.1); `no login` is (login, no)."""
    words = line.split()
    negated = words[0] == "no" and len(words) > 1
    if negated:
        words = words[1:]
    text = " ".join(words)
    count = next((phrase.count(" ") + 1 for phrase in PHRASES if f"{text} ".startswith(f"{phrase} ")), 0)
    if not count:
        count = next((at for at, word in enumerate(words) if not _WORD.fullmatch(word)), len(words))
        if count == len(words) > 1 and not negated:
            count -= 1  # the last word is what was chosen: `authentication required`
    key, value = " ".join(words[: max(count, 1)]), " ".join(words[max(count, 1) :])
    if _SECRET.search(key) and value:
        value = WITHHELD
    return key, ("no" if not value else f"no {value}") if negated else value


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a command; the nodes around it, joined by ' / ', are its section.

    Raises:
        ValueError: more nodes inside each other than any program has.
    """
    nodes: list[tuple[int, str]] = []
    section: str | None = None
    last: tuple[int, str] | None = None
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if not line or line[0] in "!#":
            continue
        indent = len(raw) - len(raw.lstrip())
        if last is not None and indent > last[0]:
            nodes.append(last)
            section = " / ".join(name for _, name in nodes)
            if len(nodes) > DEPTH or len(section) > SECTION:
                raise ValueError(f"too many nodes inside each other, or too long names, at line {number}")
        while nodes and indent <= nodes[-1][0]:
            nodes.pop()
            section = " / ".join(name for _, name in nodes) or None
        key, value = command(line)
        yield Directive(dialect=DIALECT, section=section, key=key, value=value, line=number)
        last = indent, f"{key} {value}".strip()


class Configuration:
    """One file as its program takes it."""

    def __init__(self, tree: Tree, name: str, file: TreeFile) -> None:
        self.name = name
        self.file = file
        self.scope = "" if file.path == f"/etc/osmocom/{name}.cfg" else f"configuration {file.path}"
        self.known = PROGRAMS.get(name)
        self.whole = complete(tree, file)
        version = installed(tree, name)
        self.basis = f"{self.known.release} as published" if self.known else ""
        self.basis += f"; package version {version}" if version else "; version unknown"
        self.lines: dict[tuple[str, str, int], Directive] = {}
        self.overridden: dict[tuple[str, str, int], list[str]] = {}
        for line in tree.facts(Directive, file):
            if line.dialect != DIALECT:
                continue
            once = line.key in SINGLE and " / listen " not in (line.section or "")  # which may have several addresses
            where = line.section or "", line.key, 0 if once else line.line or 0
            if where in self.lines:
                self.overridden.setdefault(where, []).append(f"{file.path}:{self.lines.pop(where).line}")
            self.lines[where] = line

    def get(self, section: str, key: str) -> Directive | None:
        """Return the line that holds for a command of which one holds."""
        return self.lines.get((section, key, 0))

    def settings(self) -> Iterator[Setting]:
        """Yield what the file says, then what the program does where it says nothing."""
        nodes = {line.section for line in self.lines.values()}
        for where, line in self.lines.items():
            if " / ".join(part for part in (line.section, f"{line.key} {line.value}".strip()) if part) in nodes:
                continue  # it only opens the node that others stand in
            over = self.overridden.get(where)
            yield Setting(
                subsystem=self.name,
                key=f"{line.section} / {line.key}" if line.section else line.key,
                value=line.value,
                origin="file",
                scope=self.scope,
                basis=f"overrides {', '.join(over[:100])}" if over else None,
                path=self.file.path,
                line=line.line,
            )
        if self.known is None or not self.whole:
            return
        for default in (*(COMMON if self.known.vty else ()), *self.known.defaults):
            if self._absent(default):
                yield Setting(
                    subsystem=self.name,
                    key=f"{default.section} / {default.key}",
                    value=default.value,
                    origin="default",
                    scope=self.scope,
                    basis=self.basis,
                )

    def _absent(self, default: Default) -> bool:
        return self.get(default.section, default.key) is None

    def listeners(self) -> Iterator[Listener]:
        """Yield the servers that the program opens."""
        if self.known is None:
            return
        yield from self._management(self.known)
        for server in self.known.servers:
            yield from self._opened(server)
        for (section, key, _), line in self.lines.items():
            if self.name == "osmo-ggsn" and key == "gtp bind-ip" and self._started(section):
                for number, purpose in ((2123, "gtp-c"), (2152, "gtp-u"), (3386, "gtp-0")):
                    yield self._listener("udp", line.value, number, purpose, line)
            elif key == "listen" and section.startswith("ns / bind udp "):
                address, _, text = line.value.partition(" ")
                yield self._listener("udp", address, port(text), "gb", line)
            elif key == "listen m3ua":
                yield from self._m3ua(f"{section} / {key} {line.value}", line)

    def _started(self, section: str) -> bool:
        """Tell whether a GGSN is not left in the state in which it begins, shut down."""
        states = [at.value for (of, key, _), at in self.lines.items() if of == section and key == "shutdown ggsn"]
        return states[-1:] == ["no"]

    def _m3ua(self, inside: str, line: Directive) -> Iterator[Listener]:
        number = port(line.value.partition(" ")[0])
        addresses = [at for (section, key, _), at in self.lines.items() if section == inside and key == "local-ip"]
        for at in addresses:
            yield self._listener("sctp", at.value, number, "m3ua", at)
        if not addresses and self.whole:
            yield self._listener("sctp", "::", number, "m3ua", line)

    def _management(self, known: Program) -> Iterator[Listener]:
        for section, number, purpose in (("line vty", known.vty, "vty"), ("ctrl", known.ctrl, "ctrl")):
            if number is None:
                continue
            bind = self.get(section, "bind")
            address, _, other = (bind.value if bind else "127.0.0.1").partition(" ")
            if bind is not None or self.whole:
                yield self._listener("tcp", address, port(other, number), purpose, bind, tls=False)

    def _opened(self, server: Opened) -> Iterator[Listener]:
        address = self.get(server.section, server.address)
        number = self.get(server.section, server.port) if server.port else None
        if address is None and (server.default_address is None or not self.whole):
            return
        at, _, after = (address.value if address else server.default_address or "").partition(" ")
        opened = port(number.value if number else after, server.default_port)
        yield self._listener(server.protocol, at, opened, server.purpose, address or number)

    def _listener(
        self,
        protocol: str,
        address: str,
        number: int | None,
        purpose: str,
        at: Directive | None,
        tls: bool | None = None,
    ) -> Listener:
        return Listener(
            program=self.name,
            protocol=protocol,
            address=address,
            port=number,
            purpose=purpose,
            tls=tls,
            origin="file" if at else "default",
            path=self.file.path,
            line=at.line if at else None,
        )


def observe(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield settings and listeners of each configuration, samples left out."""
    for file in tree.glob("*/osmo-*.cfg"):
        match = _NAME.fullmatch(posixpath.basename(file.path))
        if match is None or file.type == "directory" or is_sample(file.path) or tree.lookup(file.path) is None:
            continue
        configuration = Configuration(tree, match[1], file)
        if configuration.lines or (configuration.whole and configuration.known):
            yield from configuration.settings()
            yield from configuration.listeners()


INSPECTOR = ContentInspector(
    name="osmocom",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/osmo-",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=("configurations that are not named osmo-PROGRAM.cfg", "the subscribers of osmo-hlr, which are in SQLite"),
)

SETTINGS = TreeInspector(
    name="osmocom-settings",
    version=1,
    families=(Setting, Listener),
    inspect=observe,
    unseen=(
        "which configuration a program is started with (-c): every osmo-PROGRAM.cfg is taken for one",
        "defaults of releases other than those of Debian 12",
        "which commands a program refuses: all of the file is taken as accepted",
    ),
)
