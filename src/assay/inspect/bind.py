"""BIND's named: who may ask, recursion, transfers, and where it listens.

Looks at named.conf and what it includes. Source: BIND 9 Administrator Reference Manual, 9.11 to 9.20.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.access import Credential
from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .braces import Statement, statements
from .effective import Default, Effective, configured
from .late import late
from .shared_secret import credential, mark
from .starting import ANY, served

DIALECT = "named"

MAIN = ("/etc/bind/named.conf", "/etc/named.conf", "/etc/named/named.conf")

PACKAGES = ("bind9", "bind")

DEFAULTS = (
    Default("allow-notify", "{ none; }", (9, 18)),
    Default("allow-query", "{ any; }"),
    Default("allow-transfer", "{ any; }", (), (9, 20)),
    Default("allow-transfer", "{ none; }", (9, 20)),
    Default("allow-update", "{ none; }", (9, 18)),
    Default("dnssec-validation", "auto", (9, 14)),
    Default("recursion", "yes"),
)

LISTS = frozenset(
    {
        "acl",
        "allow-new-zones",
        "allow-notify",
        "allow-query",
        "allow-query-cache",
        "allow-query-cache-on",
        "allow-query-on",
        "allow-recursion",
        "allow-recursion-on",
        "allow-transfer",
        "allow-update",
        "allow-update-forwarding",
        "also-notify",
        "blackhole",
        "dns64",
        "forwarders",
        "inet",
        "keys",
        "listen-on",
        "listen-on-v6",
        "masters",
        "match-clients",
        "match-destinations",
        "no-case-compress",
        "primaries",
        "sortlist",
        "update-policy",
    }
)
"""Statements whose braces hold a list, not statements."""

REPEATED = ("inet", "listen-on", "listen-on-v6", "zone")

ADDRESS = late(r"[0-9a-fA-F.:]+(?:%\w+)?")

_PORT = late(r"\bport (\d{1,5})\b")
_PATH = late(r"/etc/(?:(?:bind|named)/(?:[^/]*\.(?:conf|key|zones)|named\.conf[^/]*)|(?:named|rndc)\.[^/]*)$")


def wants_path(path: str) -> bool:
    """Tell whether a file is, or is usually included by, a configuration of named."""
    return ("/named" in path or "/bind/" in path or "/rndc." in path) and _PATH.search(path) is not None


def inspect(content: Content) -> Iterator[Directive | Credential]:
    """Yield one directive a statement: key its first word, value the rest, section the blocks around it.

    A list in braces is part of the value. Secrets of keys are fingerprints.

    Raises:
        ValueError: the text cannot be read on at some line.
    """
    head: Statement | None = None
    held: list[str] = []
    for statement in statements(content.text()):
        if head is not None:
            if len(statement.path) > len(head.path):
                held.append(" ".join(statement.words))
                continue
            yield _list(head, held)
            head = None
        if statement.block and statement.words and statement.words[0].lower() in LISTS:
            head, held = statement, []
        elif len(statement.words) > statement.block:  # not the bare head of a block
            key, *rest = statement.words
            key = key.lower()
            if key == "secret" and rest:
                owner = statement.path[-1].removeprefix("key ") if statement.path else None
                yield credential(rest[0], "shared-key", "tsig", statement.line, owner)
                rest[0] = mark(rest[0])
            yield Directive(
                dialect=DIALECT, section=_section(statement), key=key, value=" ".join(rest), line=statement.line
            )
    if head is not None:
        yield _list(head, held)


def _section(statement: Statement) -> str | None:
    return " / ".join(statement.path) or None


def _list(head: Statement, held: list[str]) -> Directive:
    value = f"{' '.join(head.words[1:])} {{ {' '.join(f'{each};' for each in held)} }}".strip()
    return Directive(
        dialect=DIALECT, section=_section(head), key=head.words[0].lower(), value=value.replace("{  }", "{ }"),
        line=head.line,
    )  # fmt: skip


def read(tree: Tree) -> Effective:
    """Return the configuration as named reads it; the scope is the view or zone, empty for options."""
    reading = Effective(tree, "named", DIALECT, wants=wants_path)
    main = next((file for path in MAIN if (file := tree.lookup(path))), None)
    if main is not None:
        _read(reading, main, "", 0)
    return reading


def _read(reading: Effective, file: TreeFile, outer: str, depth: int) -> None:
    for line in reading.lines(file, depth):
        scope = " / ".join(filter(None, (outer, line.section)))
        if line.key == "include":
            directory = reading.value("directory") or "/"
            path = line.value if line.value.startswith("/") else f"{directory}/{line.value}"
            for found in reading.matches(path):
                _read(reading, found, scope, depth + 1)
            continue
        which = line.value if line.key in REPEATED or not line.section else None
        if scope.partition(" ")[0] in ("key", "logging", "trust-anchors", "managed-keys", "trusted-keys"):
            which = f"{scope} {line.value}"
        inside = scope.removeprefix("options").removeprefix(" / ")
        reading.put(line.key, line.value, file, line.line, scope=inside, which=which)


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield what files set, the defaults of options, and the sockets."""
    if not configured(tree, "named", beside=MAIN) or not any(tree.lookup(path) for path in MAIN):
        return
    reading = read(tree)
    yield from reading.settings()
    yield from reading.defaults(DEFAULTS, "BIND 9 Administrator Reference Manual", PACKAGES)
    stated = [reading.value(key) for key in ("allow-recursion", "allow-query-cache", "allow-query")]
    if reading.certain and not any(stated) and reading.value("recursion") not in ("no", "false", "0"):
        yield Setting(
            subsystem="named", key="allow-recursion", value="{ localnets; localhost; }", origin="default",
            basis="BIND 9 Administrator Reference Manual; no statement that it follows is set",
        )  # fmt: skip
    yield from served(tree, ("named",), _listeners(reading))


def _listeners(reading: Effective) -> Iterator[Listener]:
    general = reading.value("port")
    main = int(general) if general and general.isdecimal() else 53
    for key, version in (("listen-on", 0), ("listen-on-v6", 1)):
        stated: list[Setting | None] = [*reading.every(key)]
        if not stated and reading.certain:
            stated = [None]
        for setting in stated:
            before, _, inside = (setting.value if setting else "{ any; }").partition("{")
            tls = " tls " in f" {before}" and "tls none" not in before
            port = _PORT.search(before)
            number = int(port[1]) if port else 443 if tls and "http " in before else 853 if tls else main
            for element in inside.rstrip("} ").split(";"):
                text = element.strip()
                if not text or text == "none" or text.startswith("!"):
                    continue
                address = ANY[version][0] if text == "any" else text if ADDRESS.fullmatch(text) else ""
                for protocol in ("tcp",) if tls or "http " in before else ("udp", "tcp"):
                    yield Listener(
                        program="named", protocol=protocol, address=address, port=number, purpose="dns", tls=tls,
                        origin="file" if setting else "default",
                        path=setting.path if setting else None, line=setting.line if setting else None,
                    )  # fmt: skip
    for scope, purpose, default in (("controls", "rndc", 953), ("statistics-channels", "statistics", 80)):
        for setting in reading.every("inet", scope):
            address = setting.value.split(None, 1)[0]
            port = _PORT.search(setting.value)
            yield Listener(
                program="named", protocol="tcp", address="0.0.0.0" if address == "*" else address,  # noqa: S104
                port=int(port[1]) if port else default, purpose=purpose, tls=False,
                path=setting.path, line=setting.line,
            )  # fmt: skip


INSPECTOR = ContentInspector(
    name="bind",
    version=1,
    families=(Directive, Credential),
    inspect=inspect,
    path_has=("/named", "/bind/", "/rndc."),
    wants_path=wants_path,
    max_size=4 << 20,
    text_only=True,
    unseen=("Zones' contents.",),
)

SETTINGS = TreeInspector(
    name="bind-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "Command line: another main file (-c), -4, -6, -p.",
        "The control channel that named opens by itself on 127.0.0.1 port 953 where it finds an rndc.key.",
        "Addresses that names of access lists stand for (localhost, localnets, acl): the address is left empty.",
    ),
)
