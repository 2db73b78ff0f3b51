"""ntpd, of NTP and of NTPsec: servers, restrictions, keys, and where it listens.

Looks at ntp.conf and what it includes, and at key files. Source: ntp.conf(5), ntp.keys(5) of NTP 4.2.8 and NTPsec 1.2.
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
from .shared_secret import credential
from .starting import ANY, served

DIALECT = "ntp"

MAIN = ("/etc/ntpsec/ntp.conf", "/etc/ntp.conf", "/etc/ntp/ntp.conf")

REPEATED = frozenset(
    {
        "broadcast",
        "broadcastclient",
        "disable",
        "enable",
        "fudge",
        "interface",
        "manycastclient",
        "manycastserver",
        "multicastclient",
        "nic",
        "nts",
        "peer",
        "pool",
        "refclock",
        "restrict",
        "server",
        "setvar",
        "tinker",
        "tos",
        "trustedkey",
        "unpeer",
    }
)

_COMMENT = late(r"(?:^|\s)#.*")
_KEY = late(r"\s*(\d{1,10})\s+([A-Za-z][\w-]*)\s+(\S+)")


def wants_path(path: str) -> bool:
    """Tell whether a file is, or is usually included by, a configuration of ntpd."""
    return (
        "ntp" in path
        and "/etc/" in path
        and (path.endswith("/ntp.conf") or ("/ntp.d/" in path and path.endswith(".conf")))
    )


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line: key its first word in lower case."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        words = _COMMENT.sub("", raw).split()
        if words:
            yield Directive(dialect=DIALECT, key=words[0].lower(), value=" ".join(words[1:]), line=number)


def inspect_keys(content: Content) -> Iterator[Credential]:
    """Yield one credential a symmetric key, as ntpd and chronyd keep them: subject its number."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        if found := _KEY.match(raw):
            yield credential(found[3], "shared-key", f"ntp {found[2]}", number, found[1])


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield what files set, and the sockets: ntpd listens on all addresses unless `interface` lines say otherwise."""
    main = next((file for path in MAIN if (file := tree.lookup(path))), None)
    if main is None or not configured(tree, "ntpd", beside=MAIN):
        return
    reading = Effective(tree, "ntpd", DIALECT, wants=wants_path)
    _read(reading, main, 0)
    yield from reading.settings()
    yield from served(tree, ("ntpd",), _listeners(reading))


def _read(reading: Effective, file: TreeFile, depth: int) -> None:
    for line in reading.lines(file, depth):
        if line.key == "includefile":
            path = line.value if line.value.startswith("/") else f"{file.path.rpartition('/')[0]}/{line.value}"
            for found in reading.matches(path):
                # NTPsec takes a directory's files, by name
                inside = reading.directory(found.path, (".conf",)) if found.type == "directory" else [found]
                for each in inside:
                    _read(reading, each, depth + 1)
        else:
            reading.put(line.key, line.value, file, line.line, which=line.value if line.key in REPEATED else None)


def _listeners(reading: Effective) -> Iterator[Listener]:
    lines = [*reading.every("interface"), *reading.every("nic")]
    if not lines and reading.certain:
        for address, _ in ANY:
            yield Listener(
                program="ntpd", protocol="udp", address=address, port=123, purpose="ntp", tls=False, origin="default"
            )
    for setting in lines:
        verb, _, what = setting.value.partition(" ")
        if verb != "listen" or not what:
            continue
        known = {"ipv4": [ANY[0][0]], "ipv6": [ANY[1][0]], "all": [a for a, _ in ANY], "wildcard": [a for a, _ in ANY]}
        is_address = re.fullmatch(r"[0-9a-fA-F.:]+", what) is not None and not what.isalpha()
        for address in known.get(what, [what if is_address else ""]):
            yield Listener(
                program="ntpd", protocol="udp", address=address, port=123, purpose="ntp", tls=False,
                interface=None if is_address or what in known else what, path=setting.path, line=setting.line,
            )  # fmt: skip


INSPECTOR = ContentInspector(
    name="ntp",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("ntp",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
)

KEYS = ContentInspector(
    name="ntp-keys",
    version=1,
    families=(Credential,),
    inspect=inspect_keys,
    path_has=("/ntp", "/chrony.keys"),
    wants_path=lambda path: path.endswith(("/ntp.keys", "/chrony.keys", "/etc/ntp/keys")),
    max_size=1 << 20,
    text_only=True,
)

SETTINGS = TreeInspector(
    name="ntpd-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "Options of the command line (-c, -I, -L) and servers that a network hands out.",
        "BusyBox' ntpd, which reads `server` lines of the same file.",
        "Defaults of enable and disable, which differ between NTP and NTPsec.",
    ),
)
