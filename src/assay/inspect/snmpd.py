"""Net-SNMP's agent: who may read and write by community or user, at which level, from where, and where it listens.

Looks at snmpd.conf, snmpd.local.conf, what they include, and the persistent file. Source: snmpd.conf(5),
snmp_config(5), snmpd.examples(5), usmUser lines as the agent writes them, of Net-SNMP 5.4 to 5.9.

Communities and pass phrases appear as fingerprints only. `read` and `write` are settings of their own, whichever
directive grants them: who, from where, at which level.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.access import Credential
from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .effective import Effective, configured
from .late import late
from .shared_secret import credential, mark
from .starting import served

DIALECT = "snmpd"

FILES = (
    "/etc/snmp/snmpd.conf",
    "/etc/snmp/snmpd.local.conf",
    "/usr/share/snmp/snmpd.conf",
    "/usr/share/snmp/snmpd.local.conf",
    "/usr/lib/snmp/snmpd.conf",
    "/usr/lib/snmp/snmpd.local.conf",
)
"""Files that are read where SNMPCONFPATH does not say otherwise; every one that is there."""

PERSISTENT = ("/var/lib/snmp/snmpd.conf", "/var/net-snmp/snmpd.conf", "/var/lib/net-snmp/snmpd.conf")

COMMUNITIES = {
    "rocommunity": "read",
    "rocommunity6": "read",
    "rwcommunity": "write",
    "rwcommunity6": "write",
}

USERS = {"rouser": "read", "rwuser": "write"}

LEVELS = {"noauth": "noAuthNoPriv", "auth": "authNoPriv", "priv": "authPriv"}

SINKS = ("trapsink", "trap2sink", "informsink")

SESSION_SECRETS = frozenset({"-A", "-X", "-c", "-Z", "-3m", "-3M", "-3k", "-3K"})
"""Options of a session (trapsess, proxy) behind which a secret stands."""

REPEATED = frozenset(
    {
        "access",
        "agentaddress",
        "authaccess",
        "authcommunity",
        "authgroup",
        "authuser",
        "com2sec",
        "com2sec6",
        "com2secunix",
        "createuser",
        "exec",
        "extend",
        "extendfix",
        "group",
        "informsink",
        "pass",
        "pass_persist",
        "proxy",
        "rocommunity",
        "rocommunity6",
        "rouser",
        "rwcommunity",
        "rwcommunity6",
        "rwuser",
        "setaccess",
        "smuxpeer",
        "trap2sink",
        "trapsess",
        "trapsink",
        "usmuser",
        "view",
    }
)

_WORD = late(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|(#.*)|(\S+))""")


def wants_path(path: str) -> bool:
    """Tell whether a file is, or is usually included by, a configuration of the agent."""
    return "snmp/" in path and (
        path.endswith(("/snmpd.conf", "/snmpd.local.conf")) or ("/snmpd.conf.d/" in path and path.endswith(".conf"))
    )


def inspect(content: Content) -> Iterator[Directive | Credential]:
    """Yield one directive a line, key in lower case, secrets as fingerprints; and a credential for each secret."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        key, *rest = line.split(None, 1)
        key = key.lower()
        words = _words(rest[0]) if rest else []
        for at, kind, scheme, subject in _secrets(key, words):
            yield credential(words[at], kind, scheme, number, subject)
            words[at] = mark(words[at])
        yield Directive(dialect=DIALECT, key=key, value=" ".join(map(_quoted, words)), line=number)


def _words(text: str) -> list[str]:
    """Split as the agent does: quotes respected, up to a word that begins with '#'."""
    found = []
    for match in _WORD.finditer(text):
        if match[3] is not None:
            break
        found.append(next(group for group in match.groups() if group is not None))
    return found


def _quoted(word: str) -> str:
    return f'"{word}"' if not word or " " in word else word


def _secrets(key: str, words: list[str]) -> list[tuple[int, str, str, str | None]]:
    """Return where secrets stand: position, kind, scheme, whose."""
    if key in COMMUNITIES:
        return [(0, "community", f"snmp {COMMUNITIES[key]}", words[1] if len(words) > 1 else None)] if words else []
    if key in ("com2sec", "com2sec6", "com2secunix"):
        at = 2 if words[:1] == ["-Cn"] else 0
        return [(at + 2, "community", "snmp", words[at])] if len(words) > at + 2 else []
    if key == "authcommunity":
        return [(1, "community", "snmp", words[2] if len(words) > 2 else None)] if len(words) > 1 else []
    if key in SINKS:
        return [(1, "community", "snmp trap", words[0])] if len(words) > 1 else []
    if key == "trapcommunity":
        return [(0, "community", "snmp trap", None)] if words else []
    if key == "createuser":
        at = 2 if words[:1] == ["-e"] else 0
        found: list[tuple[int, str, str, str | None]] = []
        place = at + 1
        for scheme in ("auth", "priv"):
            algorithm = words[place] if place < len(words) else ""
            place += 2 if words[place + 1 : place + 2] in (["-m"], ["-l"]) else 1  # a key instead of a pass phrase
            if place < len(words):
                found.append((place, "passphrase", f"usm {scheme} {algorithm}", words[at]))
            place += 1
        return found
    if key == "usmuser":
        # status, storage, engine, name, security name, clone, auth protocol, auth key, priv protocol, priv key, public
        return [
            (place, "shared-key", f"usm {scheme} key", words[3])
            for place, scheme in ((7, "auth"), (9, "priv"))
            if place < len(words) and words[place] not in ('""', "")
        ]
    if key in ("trapsess", "proxy"):
        return [
            (at + 1, "community" if word == "-c" else "passphrase", f"snmp {key}", None)
            for at, word in enumerate(words[:-1])
            if word in SESSION_SECRETS
        ]
    return []


def read(tree: Tree) -> Effective:
    """Return what the agent's files come to."""
    reading = Effective(tree, "snmpd", DIALECT, wants=wants_path)
    for path in (*FILES, *PERSISTENT):
        file = tree.lookup(path)
        if file is not None:
            _read(reading, file, 0)
    return reading


def _read(reading: Effective, file: TreeFile, depth: int) -> None:
    for line in reading.lines(file, depth):
        key = "agentaddress" if line.key == "agentaddresses" else line.key
        if key == "includedir":
            for found in reading.directory(line.value, (".conf",)):
                _read(reading, found, depth + 1)
        elif key == "includefile":
            path = line.value if line.value.startswith("/") else f"{file.path.rpartition('/')[0]}/{line.value}"
            for found in reading.matches(path):
                _read(reading, found, depth + 1)
        elif key.startswith("["):
            continue
        else:
            reading.put(key, line.value, file, line.line, which=line.value if key in REPEATED else None)
            _grant(reading, key, line, file)


def _grant(reading: Effective, key: str, line: Directive, file: TreeFile) -> None:
    words = _words(line.value)
    if key in COMMUNITIES and words:
        source = words[1] if len(words) > 1 else "default"
        of = " ".join(words[2:]) or "everything"
        told = f"community {words[0]} from {source}, level noAuthNoPriv, of {of}"
        reading.put(COMMUNITIES[key], told, file, line.line, which=told)
    elif key in USERS and words:
        at = 2 if words[0] == "-s" else 0
        if at < len(words):
            level = LEVELS.get(words[at + 1].lower(), words[at + 1]) if len(words) > at + 1 else "authNoPriv"
            of = " ".join(words[at + 2 :]) or "everything"
            told = f"user {words[at]}, level {level}, of {of}"
            reading.put(USERS[key], told, file, line.line, which=told)


_ADDRESS = late(
    r"(?:(?P<transport>udp|udp6|udpv6|udpipv6|tcp|tcp6|tcpv6|tcpipv6|dtlsudp|dtlsudp6|tlstcp|tlstcp6|ssh|unix|ipx|alias|"
    r"dtls|tls):)?(?P<rest>.*)",
    re.IGNORECASE,
)


def _listener(text: str) -> tuple[str, str, int | None, bool] | None:
    """Return protocol, address, port and whether TLS is in front, of one listening address."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    transport, rest = (match["transport"] or "").lower(), match["rest"]
    if transport == "unix" or (not transport and rest.startswith("/")):
        return "unix", rest, None, False
    if transport in ("ipx", "alias"):
        return None
    tls = "tls" in transport or transport == "ssh"
    protocol = "tcp" if transport.startswith(("tcp", "tls", "ssh")) else "udp"
    version6 = transport.endswith("6") or rest.startswith("[")
    port: int | None = 161 if not tls else 10161 if transport != "ssh" else 22
    if rest.isdecimal():
        address, port = "", int(rest)
    elif rest.startswith("["):
        address, _, stated = rest[1:].partition("]")
        port = int(stated[1:]) if stated[1:].isdecimal() else port
    elif version6 and rest.count(":") > 1:
        address = rest
    else:
        address, colon, stated = rest.partition(":")
        if colon:
            port = int(stated) if stated.isdecimal() else None
    return protocol, address or ("::" if version6 else "0.0.0.0"), port, tls  # noqa: S104 - what it binds


def _listeners(reading: Effective) -> Iterator[Listener]:
    stated = reading.every("agentaddress")
    if not stated and not reading.certain:
        return
    places: list[tuple[str, Setting | None]] = [
        (text.strip(), setting) for setting in stated for text in setting.value.split(",")
    ]
    for text, setting in (places or [("udp:161", None)])[:256]:
        found = _listener(text)
        if found is not None:
            protocol, address, port, tls = found
            yield Listener(
                program="snmpd", protocol=protocol, address=address, port=port, purpose="snmp", tls=tls,
                origin="file" if setting else "default",
                path=setting.path if setting else None, line=setting.line if setting else None,
            )  # fmt: skip


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield what files set, and the sockets."""
    if not configured(tree, "snmpd", beside=FILES):
        return
    if not any(tree.lookup(path) for path in FILES):
        return  # configured elsewhere: where it listens is not known
    reading = read(tree)
    yield from reading.settings()
    yield from served(tree, ("snmpd",), _listeners(reading))


INSPECTOR = ContentInspector(
    name="snmpd",
    version=1,
    families=(Directive, Credential),
    inspect=inspect,
    path_has=("snmp/",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=("Secrets in commands that the agent runs (exec, extend, pass): only their lines are seen.",),
)

SETTINGS = TreeInspector(
    name="snmpd-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "Command line: listening addresses and files (-c, -C) that a unit or start script names.",
        "BusyBox' and vendors' own agents; snmp.conf, which clients and the agent share.",
        "Access by com2sec, group, view and access lines: they stand as written, not joined.",
    ),
)
