"""ISC dhcpd: authority, updates of names, OMAPI, and where it listens.

Looks at dhcpd.conf, dhcpd6.conf and what they include. Source: dhcpd.conf(5), dhcp-options(5) of ISC DHCP 4.1 to 4.4.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.access import Credential
from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .braces import statements
from .effective import Default, Effective, configured
from .environment_file import variables
from .shared_secret import credential, mark
from .starting import ANY, served

DIALECT = "dhcpd"

MAIN = (
    ("/etc/dhcp/dhcpd.conf", "", 67),
    ("/etc/dhcpd.conf", "", 67),
    ("/etc/dhcp/dhcpd6.conf", "dhcpd -6", 547),
    ("/etc/dhcpd6.conf", "dhcpd -6", 547),
)

PACKAGES = ("isc-dhcp-server", "dhcp-server", "dhcp")

DEFAULTS = (Default("authoritative", "no"), Default("ddns-update-style", "none", (4, 3)))


def inspect(content: Content) -> Iterator[Directive | Credential]:
    """Yield one directive a statement: key its first word, value the rest, section the blocks around it.

    Raises:
        ValueError: the text cannot be read on at some line.
    """
    for statement in statements(content.text()):
        if statement.words:
            key, *rest = statement.words
            if key == "secret" and rest:
                yield credential(
                    rest[0], "shared-key", "tsig", statement.line, statement.path[-1] if statement.path else None
                )
                rest[0] = mark(rest[0])
            if key == "option" and rest:
                key, rest = f"option {rest[0]}", rest[1:]
            yield Directive(
                dialect=DIALECT, section=" / ".join(statement.path) or None, key=key, value=" ".join(rest),
                line=statement.line,
            )  # fmt: skip


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield what files set, scope the blocks around it, and the socket, for each interface that is named."""
    if not configured(tree, "dhcpd", beside=[path for path, _, _ in MAIN]):
        return
    for path, scope, port in MAIN:
        main = tree.lookup(path)
        if main is None:
            continue
        reading = Effective(tree, "dhcpd", DIALECT, wants=INSPECTOR.wants_path)
        _read(reading, main, scope, 0)
        yield from reading.settings()
        if not scope:
            yield from reading.defaults(DEFAULTS, "dhcpd.conf(5)", PACKAGES)
        yield from served(tree, ("dhcpd",), _listeners(reading, scope, port))


def _read(reading: Effective, file: TreeFile, outer: str, depth: int) -> None:
    for line in reading.lines(file, depth):
        scope = " / ".join(filter(None, (outer, line.section)))
        if line.key == "include":
            for found in reading.matches(line.value):
                _read(reading, found, scope, depth + 1)
        elif line.key == "not" and line.value == "authoritative":
            reading.put("authoritative", "no", file, line.line, scope=scope)
        elif line.key == "authoritative":
            reading.put("authoritative", "yes", file, line.line, scope=scope)
        else:
            which = f"{file.path}:{line.line}" if line.key in ("range", "pool", "host", "if", "else", "allow") else None
            reading.put(line.key, line.value, file, line.line, scope=scope, which=which)


def _listeners(reading: Effective, scope: str, port: int) -> Iterator[Listener]:
    known = variables(reading.tree, "isc-dhcp-server") | variables(reading.tree, "dhcpd")
    name = "INTERFACESv6" if scope else "INTERFACESv4"
    value, file, line = known.get(name) or known.get("INTERFACES") or known.get("DHCPDARGS") or ("", None, None)
    stated = reading.value("local-port", scope) or str(port)
    if known and not value and any(known.get(other, ("",))[0] for other in ("INTERFACESv4", "INTERFACESv6")):
        return  # started for the other version only
    named: list[str | None] = [word for word in value.split() if not word.startswith("-")]
    for interface in named[:64] or [None]:
        yield Listener(
            program="dhcpd", protocol="udp", address=ANY[bool(scope)][0], interface=interface,
            port=int(stated) if stated.isdecimal() else None, purpose="dhcp", tls=False,
            origin="file" if interface else "default", path=file.path if file else None, line=line,
        )  # fmt: skip
    for setting in reading.every("omapi-port", scope):
        yield Listener(
            program="dhcpd", protocol="tcp", address=ANY[0][0],
            port=int(setting.value) if setting.value.isdecimal() else None, purpose="omapi", tls=False,
            path=setting.path, line=setting.line,
        )  # fmt: skip


INSPECTOR = ContentInspector(
    name="dhcpd",
    version=1,
    families=(Directive, Credential),
    inspect=inspect,
    path_has=("/etc/dhcp",),
    wants_path=lambda path: path.endswith(".conf") and "/etc/dhcp" in path and "dhclient" not in path,
    max_size=4 << 20,
    text_only=True,
)

SETTINGS = TreeInspector(
    name="dhcpd-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=("Options of the command line; BusyBox' udhcpd, Kea.",),
)
