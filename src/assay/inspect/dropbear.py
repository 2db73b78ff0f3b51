"""Dropbear's SSH server: its options, which are all on its command line, and where it listens.

Looks at /etc/default/dropbear (Debian), /etc/config/dropbear (OpenWrt), and the command of the service that starts it.
Source: dropbear(8) of 2014.63 to 2024.86; OpenWrt's dropbear.init.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Tree, TreeFile, TreeInspector
from .effective import configured
from .environment_file import UCI, variables
from .late import late
from .starting import ANY, served, starter
from .startup import words

NAMES = ("dropbear",)

OPTIONS = {
    "s": ("passwordauth", "no"),
    "g": ("rootpasswordauth", "no"),
    "w": ("rootlogin", "no"),
    "a": ("gatewayports", "yes"),
    "j": ("localforwarding", "no"),
    "k": ("remoteforwarding", "no"),
    "B": ("blankpasswords", "yes"),
    "E": ("log", "stderr"),
    "R": ("createhostkeys", "yes"),
    "m": ("motd", "no"),
    "z": ("qos", "no"),
    "t": ("twofactor", "yes"),
}

WITH_VALUE = {
    "b": "banner",
    "r": "hostkey",
    "d": "dsskey",
    "W": "receivewindow",
    "K": "keepalive",
    "I": "idletimeout",
    "T": "maxauthtries",
    "P": "pidfile",
    "l": "interface",
    "c": "forcedcommand",
    "G": "onlygroup",
    "D": "authorizedkeysdir",
}

DEFAULTS = {
    "passwordauth": "yes",
    "rootpasswordauth": "yes",
    "rootlogin": "yes",
    "gatewayports": "no",
    "localforwarding": "yes",
    "remoteforwarding": "yes",
    "blankpasswords": "no",
    "port": "22",
}

UCI_OPTIONS = {
    "passwordauth": "passwordauth",
    "rootpasswordauth": "rootpasswordauth",
    "rootlogin": "rootlogin",
    "gatewayports": "gatewayports",
    "port": "port",
    "interface": "interface",
    "bannerfile": "banner",
    "enable": "enable",
    "maxauthtries": "maxauthtries",
}

Place = tuple[TreeFile, int | None]

_VARIABLE = late(r"[$`]")


def options(command: list[str]) -> list[tuple[str, str]]:
    """Return (key, value) of the options on a command line; those that are not known are left out."""
    found = []
    rest = iter(command)
    for word in rest:
        if not word.startswith("-") or word == "-":
            continue
        for at, char in enumerate(word[1:], 2):
            if char in OPTIONS:
                found.append(OPTIONS[char])
                continue
            if char in WITH_VALUE or char == "p":
                value = word[at:] or next(rest, "")
                found.append((WITH_VALUE.get(char, "port"), value))
            break
    return found


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield the options that hold, with dropbear's defaults for what none states, and the sockets.

    Without a file or a service that says how it is started, only a caller's options would tell: nothing is said then.
    OpenWrt starts one server for each section; its name is the scope.
    """
    if not configured(tree, "dropbear", beside=("/etc/default/dropbear", "/etc/config/dropbear")):
        return
    for scope, stated, place in _servers(tree):
        rows = {key: value for key, value in stated if key != "port"}
        for key, value in rows.items():
            yield Setting(
                subsystem="dropbear",
                key=key,
                value=value,
                origin="file",
                scope=scope,
                path=place[0].path,
                line=place[1],
            )
        ports = [value for key, value in stated if key == "port" and value]
        for value in ports:
            yield Setting(
                subsystem="dropbear", key="port", value=value, origin="file", scope=scope, path=place[0].path,
                line=place[1],
            )  # fmt: skip
        for key, value in DEFAULTS.items():
            if key not in rows and not (key == "port" and ports):
                yield Setting(
                    subsystem="dropbear", key=key, value=value, origin="default", scope=scope, basis="dropbear(8)"
                )
        if rows.get("enable", "1").lower() not in ("0", "off", "no", "false"):
            yield from served(tree, NAMES, _listeners(ports, rows.get("interface"), place))


def _servers(tree: Tree) -> Iterator[tuple[str, list[tuple[str, str]], Place]]:
    """Yield each server that the tree would start: scope, what is stated, where."""
    file = tree.lookup("/etc/config/dropbear")
    if file is not None and tree.lookup("/etc/init.d/dropbear") is not None:
        sections: dict[str, tuple[list[tuple[str, str]], Place]] = {}
        count = 0
        for line in tree.facts(Directive, file):
            if line.dialect == UCI and line.key == "config":
                count += 1
                sections[f"{line.value} #{count}"] = [], (file, line.line)
            elif line.dialect == UCI and sections:
                key = UCI_OPTIONS.get(line.key.lower())
                if key is not None:
                    value = {"on": "yes", "off": "no", "1": "yes", "0": "no"}.get(line.value.lower(), line.value)
                    if key in ("port", "maxauthtries"):
                        value = line.value
                    next(reversed(sections.values()))[0].append((key, value))
        if tree.unread(file.path):
            return
        for name, (stated, place) in sections.items():
            yield name, stated, place
        return
    known = variables(tree, "dropbear")
    row = starter(tree, NAMES)
    if known:
        stated = []
        places = [(file, line) for _, file, line in known.values()]
        if known.get("DROPBEAR_PORT"):
            stated.append(("port", known["DROPBEAR_PORT"][0]))
        for name, key in (("DROPBEAR_BANNER", "banner"), ("DROPBEAR_RECEIVE_WINDOW", "receivewindow")):
            if name in known and known[name][0]:
                stated.append((key, known[name][0]))
        for name in ("DROPBEAR_EXTRA_ARGS", "DROPBEAR_ARGS", "OPTIONS", "ARGS"):
            if name in known:
                places = [(known[name][1], known[name][2])]
                stated += options(words(known[name][0]))
        yield "", stated, places[0]
    elif row is not None and row.command and not _VARIABLE.search(row.command) and row.path:
        unit = tree.lookup(row.path)
        if unit is not None:
            yield "", options(words(row.command)[1:]), (unit, row.line)


def _listeners(ports: list[str], interface: str | None, place: Place) -> Iterator[Listener]:
    for text in ports or ["22"]:
        address, colon, port = text.rpartition(":")
        for each in [address.strip("[]")] if colon and address else [any_address for any_address, _ in ANY]:
            yield Listener(
                program="dropbear", protocol="tcp", address=each if interface is None else "",
                port=int(port) if port.isdecimal() else None, interface=interface, purpose="ssh", tls=True,
                origin="file" if ports else "default", path=place[0].path, line=place[1],
            )  # fmt: skip


SETTINGS = TreeInspector(
    name="dropbear-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "Start scripts that put the command line together; limits and options chosen when building.",
        "Debian's dropbear-initramfs: its options lie in the initial RAM disk.",
    ),
)
