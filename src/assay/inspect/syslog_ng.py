"""syslog-ng: sources, destinations with protocol and TLS, file modes, and what it listens on.

Looks at syslog-ng.conf and what it includes by `@include`. Source: syslog-ng.conf(5) and the administration guide of
syslog-ng 3.x and 4.x (options, network(), syslog(), tcp(), udp(), file(), tls()).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.access import Credential
from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .braces import statements
from .effective import Default, Effective, configured
from .late import late
from .shared_secret import credential, mark
from .starting import ANY, served

DIALECT = "syslog-ng"

MAIN = ("/etc/syslog-ng/syslog-ng.conf", "/etc/syslog-ng.conf")

PACKAGES = ("syslog-ng-core", "syslog-ng")

DEFAULTS = (
    Default("options.create-dirs", "no"),
    Default("options.keep-hostname", "no"),
    Default("options.perm", "0600"),
)

DRIVERS = {
    # driver: protocol, port, whether it may have transport()
    "network": ("tcp", 514),
    "syslog": ("tcp", 601),
    "tcp": ("tcp", 514),
    "tcp6": ("tcp", 514),
    "udp": ("udp", 514),
    "udp6": ("udp", 514),
}

SHARED = ("/usr/share/syslog-ng/include", "/usr/share/syslog-ng/include/scl")
"""Where files that are included without a directory lie, behind the main file's own directory."""

_CALL = late(r"([a-z][\w-]*)\s*\((.*)\)\s*", re.DOTALL | re.IGNORECASE)
_PASSWORD = late(r"""(\b[\w-]*(?:password|passphrase|secret|token)\s*\(\s*)(?:"((?:[^"\\]|\\.)*)"|([^)\s"]+))""", re.I)
_ARGUMENT = late(r"""([a-z][\w-]*)\s*\(\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^()"]*?))\s*\)""", re.IGNORECASE)
_FIRST = late(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)')""")


def wants_path(path: str) -> bool:
    """Tell whether a file is, or is usually included by, a configuration of syslog-ng."""
    return "/etc/syslog-ng" in path and path.endswith(".conf")


def inspect(content: Content) -> Iterator[Directive | Credential]:
    """Yield one directive a statement: key the driver or option, value its arguments, section the block it stands in.

    Raises:
        ValueError: the text cannot be read on at some line.
    """
    for statement in statements(content.text(), joined=True):
        if statement.block or not statement.words:
            continue
        section = " ".join(statement.path).replace('"', "") or None
        whole = " ".join(statement.words).replace('( "', '("').replace('" )', '")')
        for match in list(_PASSWORD.finditer(whole))[:100]:
            secret = match[2] if match[2] is not None else match[3]
            yield credential(secret, "passphrase", "syslog-ng", statement.line)
        whole = _PASSWORD.sub(lambda m: m[1] + mark(m[2] if m[2] is not None else m[3]), whole)
        call = _CALL.fullmatch(whole)
        if call is None:
            key, _, value = whole.partition(" ")
            yield Directive(dialect=DIALECT, section=section, key=key.lower(), value=value, line=statement.line)
        else:
            yield Directive(
                dialect=DIALECT, section=section, key=_name(call[1]), value=call[2].strip(), line=statement.line
            )


def _name(name: str) -> str:
    return name.lower().replace("_", "-")


def arguments(value: str) -> dict[str, str]:
    """Return the named arguments of a driver, those inside tls() with `tls.` before; the first unnamed one as ``."""
    found: dict[str, str] = {}
    if first := _FIRST.match(value):
        found[""] = first[1] if first[1] is not None else first[2]
    inside = re.search(r"\btls\s*\(", value)
    for match in _ARGUMENT.finditer(value):
        name = _name(match[1])
        text = next((group for group in match.groups()[1:] if group is not None), "")
        if inside and match.start() > inside.start() and (name.endswith(("-file", "-dir")) or name in TLS):
            name = f"tls.{name}"
        found.setdefault(name, text.strip())
    if inside:
        found["tls"] = "yes"
    return found


TLS = frozenset({"peer-verify", "ssl-options", "ssl-version", "cipher-suite", "trusted-dn", "trusted-keys", "sni"})


def read(tree: Tree) -> Effective:
    """Return the configuration as syslog-ng reads it: includes in place, the last value of an option wins."""
    reading = Effective(tree, "syslog-ng", DIALECT, wants=wants_path)
    main = next((file for path in MAIN if (file := tree.lookup(path))), None)
    if main is not None:
        _read(reading, main, main.path.rpartition("/")[0], 0)
    return reading


def _read(reading: Effective, file: TreeFile, base: str, depth: int) -> None:
    for line in reading.lines(file, depth):
        if line.key == "@include":
            name = line.value.strip("\"' ")
            if name == "scl.conf":
                continue  # the programs' own collection: it defines drivers, and sets nothing
            for place in ("",) if name.startswith("/") else (base, *SHARED):
                found = reading.matches(f"{place}/{name}" if place else name)
                for each in found:
                    inside = reading.directory(each.path, (".conf",)) if each.type == "directory" else [each]
                    for part in inside:
                        _read(reading, part, base, depth + 1)
                if found:
                    break
        elif line.key.startswith("@"):
            reading.put(line.key, line.value.lstrip(": "), file, line.line)
        elif line.section == "options":
            reading.put(f"options.{line.key}", line.value.strip('"'), file, line.line)
        elif line.section and line.section.partition(" ")[0] in ("source", "destination"):
            which = f"{file.path}:{line.line}:{line.key}:{line.value}"
            reading.put(line.key, line.value, file, line.line, scope=line.section, which=which)
            kind = line.section.partition(" ")[0]
            for key, value in _effective(line.key, arguments(line.value)).items():
                reading.put(f"{kind}.{line.key}.{key}", value, file, line.line, scope=line.section, which=which)


def _effective(driver: str, stated: dict[str, str]) -> dict[str, str]:
    """Return what a network driver comes to: address, port, transport, TLS."""
    if driver not in DRIVERS:
        return {}
    protocol, port = DRIVERS[driver]
    transport = stated.get("transport", protocol).lower()
    if transport in ("udp", "tcp", "tls") and driver == "syslog":
        port = {"udp": 514, "tcp": 601, "tls": 6514}[transport]
    tls = transport.endswith("tls") or (driver == "tcp" and "tls" in stated)
    return {
        "address": stated.get("") or stated.get("ip") or stated.get("localip") or "",
        "port": stated.get("port") or stated.get("localport") or stated.get("destport") or str(port),
        "transport": transport,
        "tls": "yes" if tls else "no",
        "peer-verify": stated.get("tls.peer-verify", "required-trusted") if tls else "",
        "ip-protocol": stated.get("ip-protocol", "6" if driver.endswith("6") else "4"),
    }


def _listeners(reading: Effective) -> Iterator[Listener]:
    for scope in reading.scopes():
        if not scope.startswith("source "):
            continue
        for driver in DRIVERS:
            for setting in reading.every(driver, scope):
                found = _effective(driver, arguments(setting.value))
                version6 = found["ip-protocol"] == "6"
                tls: bool | None = found["tls"] == "yes"
                if found["transport"].startswith("proxied") or found["transport"] == "auto":
                    tls = None
                yield Listener(
                    program="syslog-ng", protocol="udp" if found["transport"] == "udp" else "tcp",
                    address=found["address"] or ANY[version6][0],
                    port=int(found["port"]) if found["port"].isdecimal() else None,
                    purpose="syslog", tls=tls, path=setting.path, line=setting.line,
                )  # fmt: skip


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield what the files come to, and the sockets of the sources."""
    if not configured(tree, "syslog-ng", beside=MAIN):
        return
    if not any(tree.lookup(path) for path in MAIN):
        return  # configured elsewhere: what holds is not known
    reading = read(tree)
    yield from (setting for setting in reading.settings() if setting.value or "." not in setting.key)
    yield from reading.defaults(DEFAULTS, "syslog-ng administration guide", PACKAGES)
    yield from served(tree, ("syslog-ng",), _listeners(reading))


INSPECTOR = ContentInspector(
    name="syslog-ng",
    version=1,
    families=(Directive, Credential),
    inspect=inspect,
    path_has=("/etc/syslog-ng",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=("Definitions (@define, block): values in backticks stand as written.",),
)

SETTINGS = TreeInspector(
    name="syslog-ng-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "Which log path joins which source and destination; sources that no log path uses open no socket.",
        "Drivers that blocks define (system(), default-network-drivers()).",
    ),
)
