"""chronyd: time sources, who may ask it, and what it listens on.

Looks at chrony.conf, what it includes (`include`, `confdir`, `sourcedir`), and chrony.keys. Source: chrony.conf(5) of
chrony 3.0 to 4.6.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .effective import Default, Effective, configured
from .late import late
from .starting import ANY, served

DIALECT = "chrony"

MAIN = ("/etc/chrony/chrony.conf", "/etc/chrony.conf")
"""Where distributions build the main file in; the first that is there."""

PACKAGES = ("chrony",)

REPEATED = frozenset(
    {
        "allow",
        "bindacqaddress",
        "bindaddress",
        "bindcmdaddress",
        "broadcast",
        "cmdallow",
        "cmddeny",
        "deny",
        "hwtimestamp",
        "log",
        "ntsservercert",
        "ntsserverkey",
        "ntstrustedcerts",
        "peer",
        "pool",
        "refclock",
        "server",
    }
)
"""Directives whose every line counts."""

BOUND = ("bindacqaddress", "bindaddress", "bindcmdaddress")
"""Directives that count once for each kind of address."""

DEFAULTS = (
    Default("authselectmode", "mix", (4, 0)),
    Default("clientloglimit", "524288"),
    Default("cmdport", "323"),
    Default("leapsecmode", "system"),
    Default("maxclockerror", "1"),
    Default("maxdistance", "3"),
    Default("maxjitter", "1"),
    Default("minsources", "1"),
    Default("ntsport", "4460", (4, 0)),
    Default("port", "123"),
    Default("reselectdist", "0.0001"),
    Default("stratumweight", "0.001"),
)

_PATH = late(r"/etc/chrony(?:\.conf|[./](?:.*/)?[^/]*\.(?:conf|sources))$")
_SPACE = late(r"\s+")


def wants_path(path: str) -> bool:
    """Tell whether a file is, or is usually included by, a configuration of chronyd."""
    return "/chrony" in path and _PATH.search(path) is not None


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line: key its keyword in lower case, value the words behind it."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if line and line[0] not in "!;#%":
            key, *rest = _SPACE.split(line, maxsplit=1)
            yield Directive(
                dialect=DIALECT, key=key.lower(), value=_SPACE.sub(" ", rest[0]) if rest else "", line=number
            )


def read(tree: Tree) -> Effective | None:
    """Return the configuration as chronyd reads it; None without a main file, for then it does not start."""
    reading = Effective(tree, "chrony", DIALECT, wants=wants_path)
    main = next((file for path in MAIN if (file := tree.lookup(path) or tree.get(path))), None)
    if main is None:
        return None
    _read(reading, main, 0)
    return reading


def _read(reading: Effective, file: TreeFile, depth: int) -> None:
    for line in reading.lines(file, depth):
        if line.key == "include":
            for included in reading.matches(line.value):
                _read(reading, included, depth + 1)
        elif line.key in ("confdir", "sourcedir"):
            suffix = ".conf" if line.key == "confdir" else ".sources"
            named: dict[str, TreeFile] = {}
            for directory in line.value.split():
                for found in reading.directory(directory, (suffix,)):
                    named.setdefault(posixpath.basename(found.path), found)
            for name in sorted(named):
                _read(reading, named[name], depth + 1)
        else:
            which = line.value if line.key in REPEATED else None
            if line.key in BOUND:
                which = "6" if ":" in line.value else "/" if line.value.startswith("/") else "4"
            reading.put(line.key, line.value, file, line.line, which=which)


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield the effective settings, and the sockets that they open."""
    if not configured(tree, "chronyd", beside=MAIN):
        return
    reading = read(tree)
    if reading is None:
        return
    yield from reading.settings()
    yield from reading.defaults(DEFAULTS, "chrony.conf(5)", PACKAGES)
    yield from served(tree, ("chronyd",), _listeners(reading))


def _port(reading: Effective, key: str, default: int) -> tuple[int | None, Setting | None]:
    stated = reading.every(key)
    if stated:
        return (int(stated[0].value) if stated[0].value.isdecimal() else None), stated[0]
    return (default if reading.certain else None), None


def _listeners(reading: Effective) -> Iterator[Listener]:
    for key, default, opens, binds, purpose, protocol, tls, every in (
        # The server's port opens only once somebody may ask, or a peer or broadcast is configured.
        ("port", 123, ("allow", "peer", "broadcast"), "bindaddress", "ntp", "udp", False, ANY),
        ("cmdport", 323, (), "bindcmdaddress", "command", "udp", False, (("127.0.0.1", 4), ("::1", 6))),
        ("ntsport", 4460, ("ntsserverkey",), "bindaddress", "nts-ke", "tcp", True, ANY),
    ):
        port, stated = _port(reading, key, default)
        why = [setting for opener in opens for setting in reading.every(opener)]
        if not port or (opens and not why):
            continue
        proof = stated or (why[0] if why else None)
        bound = [(setting.value, setting) for setting in reading.every(binds) if not setting.value.startswith("/")]
        stated_versions = {6 if ":" in address else 4 for address, _ in bound}
        addresses = bound + [(address, proof) for address, of in every if of not in stated_versions]
        for address, setting in addresses:
            shown = setting or proof
            yield Listener(
                program="chronyd", protocol=protocol, address=address, port=port, purpose=purpose, tls=tls,
                origin="file" if shown else "default",
                path=shown.path if shown else None, line=shown.line if shown else None,
            )  # fmt: skip


INSPECTOR = ContentInspector(
    name="chrony",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/chrony",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=("Which later `allow` or `deny` wins for an address: lines stand as written.",),
)

SETTINGS = TreeInspector(
    name="chrony-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "Options of the command line (-f, -x, directives given there), and a main file built in at another place.",
        "The command socket (/run/chrony/chronyd.sock): its place is built in.",
        "Sources that a network hands out (DHCP) into a sourcedir under /run.",
    ),
)
