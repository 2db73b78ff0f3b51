"""The OpenSSH server's configuration: lines of its files, and the settings that they come to.

Source: sshd_config(5) of OpenSSH 7.0 to 10.0, and sshd's own reading of the file (first value wins, Include in place,
Match blocks to the next Match or the end of their file).

A server without its main file in the tree is configured elsewhere: nothing is said of it, not even built-in defaults.

Not seen: options on sshd's command line (-o), and values in files that the tree does not hold.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

import msgspec

from assay.facts.package import Package
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .late import late
from .sshd_defaults import FIRST, LAST, Version, defaults

DIALECT = "sshd_config"

MAIN = ("/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config")
"""Compiled-in place of the main file; the second where a distribution keeps its defaults under /usr."""

EVERYONE = "Match all"
"""The Match line under which settings hold always, and win over those before any Match."""

FILE = 100
"""What opening a file or a directory counts for in lines."""

DEPTH = 16
"""Include levels that sshd itself allows (servconf.c)."""

LARGEST = 1 << 20
"""Bytes of the largest file that is looked at."""

WORK = 1_000_000
"""Lines and directory entries looked at for one configuration: includes of includes may not multiply without end."""

ALIASES = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "hostdsakey": "hostkey",
    "hostbasedacceptedkeytypes": "hostbasedacceptedalgorithms",
    "keepalive": "tcpkeepalive",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
}

REPEATED = frozenset(
    {
        "acceptenv",
        "allowgroups",
        "allowusers",
        "denygroups",
        "denyusers",
        "hostcertificate",
        "hostkey",
        "listenaddress",
        "persourcepenalties",
        "port",
        "setenv",
        "subsystem",
    }
)
"""Keywords whose every line counts."""

NAMED = frozenset({"setenv", "subsystem"})
"""Repeated keywords where the first line of each name counts."""

VALUES = {"without-password": "prohibit-password"}
"""Words that sshd takes for another."""

LISTS = frozenset(
    {
        "casignaturealgorithms",
        "ciphers",
        "hostbasedacceptedalgorithms",
        "hostkeyalgorithms",
        "kexalgorithms",
        "macs",
        "pubkeyacceptedalgorithms",
    }
)
"""Lists of algorithms: a leading + adds to the built-in list, - takes what matches from it, ^ puts to its head."""

SECONDS = frozenset({"clientaliveinterval", "logingracetime"})
"""Times, which sshd holds in seconds (sshd_config(5), TIME FORMATS)."""

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TIME = late(r"(\d{1,9})([smhdwSMHDW]?)")

_LINE = late(r"\s*([A-Za-z][A-Za-z0-9]*)(?:\s*=\s*|\s+|$)(.*)")
_COMMENT = late(r"""((?:[^\s"#]\S*|"[^"]*"\S*|\s)*)""")
_VERSION = late(r"(?:\d+:)?(\d{1,4})\.(\d{1,4})")


def wants_path(path: str) -> bool:
    """Tell whether a file is, or is usually included by, a server configuration."""
    return "/ssh" in path and (
        path.endswith("/sshd_config")
        or "/sshd_config.d/" in path
        or (path.endswith(".conf") and path.startswith("/etc/ssh/"))
    )


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line, a Match line included; what follows a Match has it as section."""
    section = None
    for number, line in enumerate(content.text().split("\n"), 1):
        if found := _LINE.match(line):
            key = found[1].lower()
            comment = _COMMENT.match(found[2])
            value = (comment[1] if comment else "").strip()
            if value[:1] == '"' == value[-1:] and value.count('"') == 2:
                value = value[1:-1]
            if key == "match":
                section = f"Match {' '.join(value.split())}"
                yield Directive(dialect=DIALECT, key=key, value=value, line=number)
            else:
                yield Directive(dialect=DIALECT, section=section, key=key, value=value, line=number)


class Reading:
    """One configuration as sshd reads it: the main file with everything it includes."""

    def __init__(self, tree: Tree, main: TreeFile) -> None:
        self.tree = tree
        self.work = 0
        self.certain = True
        """No file was met so far that is there but could not be read."""
        self.settings: dict[tuple[str, str, str], Setting] = {}
        """By scope, key and, for a repeated keyword, value; in order of first appearance."""
        self.overridden: dict[tuple[str, str, str], list[str]] = {}
        self._read(main, "", 0)
        self._everyone()

    def _read(self, file: TreeFile, outer: str, depth: int) -> None:
        if depth > DEPTH or self.work > WORK:
            self.certain = False
            return
        target = self.tree.lookup(file.path)
        if target is None or self.tree.unread(target.path):
            self.certain = False
            return
        lines = [line for line in self.tree.facts(Directive, file) if line.dialect == DIALECT]
        self.work += len(lines) + FILE
        if (
            not lines
            and target.size
            and (target.size > LARGEST or not (wants_path(target.path) or wants_path(file.path)))
        ):
            self.certain = False  # nobody looked at it
        for line in lines:
            if line.key == "match":
                continue
            inner = line.section if not outer or (line.section or "").lower() != EVERYONE.lower() else None
            scope = " and ".join(part for part in (outer, inner) if part)
            if line.key == "include":
                for pattern in line.value.replace('"', " ").split():
                    if self.work > WORK:
                        self.certain = False
                        return
                    for included in self._matches(posixpath.join("/etc/ssh", pattern)):
                        self._read(included, scope, depth + 1)
            else:
                self._set(file, line, scope)

    def _everyone(self) -> None:
        """Move what stands under `Match all` to where it holds: everywhere, in place of what was there."""
        always = [place for place in self.settings if place[0].lower() == EVERYONE.lower()]
        first = {place[1]: place for place in reversed(always)}
        for place in [place for place in self.settings if not place[0] and place[1] in first]:
            gone = self.settings.pop(place)
            self.overridden.setdefault(first[place[1]], []).append(f"{gone.path}:{gone.line}")
        for place in always:
            new = ("", *place[1:])
            self.settings[new] = msgspec.structs.replace(self.settings.pop(place), scope="")
            self.overridden[new] = self.overridden.pop(place, [])

    def _matches(self, pattern: str) -> list[TreeFile]:
        """Return the files that glob(7) finds for an absolute pattern, by path."""
        found = [""]
        *directories, name = [part for part in pattern.split("/") if part not in ("", ".")] or [""]
        for part in directories:
            if any(char in part for char in "*?["):
                found = [entry.path for path in found for entry in self._listed(path, part)]
            else:
                found = [f"{path}/{part}" for path in found]
        return sorted((entry for path in found for entry in self._listed(path, name)), key=lambda entry: entry.path)

    def _listed(self, path: str, pattern: str) -> list[TreeFile]:
        entries = self.tree.listdir(path or "/") if self.work <= WORK else []
        self.work += len(entries) + FILE
        return [entry for entry in entries if _glob(posixpath.basename(entry.path), pattern)]

    def _set(self, file: TreeFile, line: Directive, scope: str) -> None:
        key = ALIASES.get(line.key, line.key)
        value = VALUES.get(line.value.lower(), line.value)
        value = value.lower() if value.lower() in ("yes", "no") else value
        value = value if '"' in value else " ".join(value.split())
        value = _seconds(value) if key in SECONDS else value
        which = ""
        if key in REPEATED:
            which = value.split(None, 1)[0].partition("=")[0] if key in NAMED and value else value
        place = scope, key, which
        if place in self.settings:
            self.overridden.setdefault(place, []).append(f"{file.path}:{line.line}")
        elif self.certain or key in REPEATED:
            self.settings[place] = Setting(
                subsystem="sshd", key=key, value=value, origin="file", scope=scope, path=file.path, line=line.line
            )


def _glob(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) and name.startswith(".") <= pattern.startswith(".")


def _seconds(value: str) -> str:
    """Return a time in seconds; what is none as it is."""
    parts = _TIME.findall(value)
    if not parts or "".join(map("".join, parts)) != value:
        return value
    return str(sum(int(number) * _UNITS[unit.lower()] for number, unit in parts))


def changed(built_in: str, change: str) -> str:
    """Return a list of algorithms with a change (+, - or ^ and names or patterns) made to it."""
    names, given = built_in.split(","), change[1:].split(",")
    if change[0] == "-":
        return ",".join(name for name in names if not any(fnmatchcase(name, pattern) for pattern in given))
    if change[0] == "+":
        return ",".join([*names, *(name for name in given if name not in names)])
    return ",".join([*given, *(name for name in names if name not in given)])


def _whole(setting: Setting, built_in: dict[str, str]) -> Setting:
    """Return a setting with the whole list of algorithms, where it is written as a change and the version is known."""
    if setting.key not in LISTS or setting.value[:1] not in ("+", "-", "^") or len(setting.value) > 4096:
        return setting
    if setting.key not in built_in or (setting.value[0] != "-" and any(char in setting.value for char in "*?")):
        return setting
    return msgspec.structs.replace(
        setting,
        value=changed(built_in[setting.key], setting.value),
        basis="; ".join(part for part in (f"{setting.value} to the built-in list", setting.basis) if part),
    )


def _version(tree: Tree) -> Version | None:
    """Return the server's version as a package database states it; None if none or several do."""
    found: set[Version] = set()
    for _, package in tree.all(Package):
        if package.name in ("openssh-server", "openssh") and package.status == "installed":
            match = _VERSION.match(package.version)
            if match:
                found.add((int(match[1]), int(match[2])))
    return found.pop() if len(found) == 1 else None


def _defaults(tree: Tree, reading: Reading, scope: str) -> Iterator[Setting]:
    version = _version(tree)
    if version is None:
        basis = f"sshd_config(5); version unknown, the same in OpenSSH {_text(FIRST)} to {_text(LAST)}"
    else:
        basis = f"sshd_config(5) of OpenSSH {_text(version)} as published; version from the package database"
    stated = {key: setting.value for (of, key, _), setting in reading.settings.items() if not of}
    for default in defaults(version):
        if default.key not in stated:
            yield Setting(
                subsystem="sshd", key=default.key, value=default.value, origin="default", scope=scope, basis=basis
            )
    if "listenaddress" not in stated:
        family = stated.get("addressfamily", "any").lower()
        for address, of in (("0.0.0.0", "inet"), ("::", "inet6")):  # noqa: S104 - what sshd does, not what we do
            if family in ("any", of):
                yield Setting(
                    subsystem="sshd", key="listenaddress", value=address, origin="default", scope=scope, basis=basis
                )


def _text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def _is_sample(path: str) -> bool:
    return path.startswith(("/usr/share/", "/usr/lib/", "/var/lib/"))


def settings(tree: Tree) -> Iterable[Setting]:
    """Yield the effective settings of every sshd configuration of a tree.

    The main file's settings hold always (scope empty) or under their Match line. Another sshd_config holds only for a
    server started with it, and has the scope `sshd -f PATH`. Keywords that no file sets get their built-in default,
    unless a file that could set them was not readable. Without a main file nothing is known of the server: sshd does
    not start without one, so it comes from elsewhere.
    """
    main = next((file for path in MAIN if (file := tree.lookup(path)) is not None), None)
    others = [
        file
        for file in tree.glob("*/sshd_config")
        if file.type != "directory" and file.path not in MAIN and not _is_sample(file.path)
    ]
    if main is not None:
        others = [file for file in others if (real := tree.lookup(file.path)) is not None and real.id != main.id]
    built_in = {default.key: default.value for default in defaults(_version(tree))}
    for file in [main, *others]:
        if file is None:
            continue
        reading = Reading(tree, file)
        outer = "" if file is main else f"sshd -f {file.path}"
        for place, setting in reading.settings.items():
            scope = " and ".join(part for part in (outer, setting.scope) if part)
            over = reading.overridden.get(place)
            basis = f"overrides {', '.join(over[:100])}" if over else None
            yield _whole(msgspec.structs.replace(setting, scope=scope, basis=basis), built_in)
        if reading.certain:
            yield from _defaults(tree, reading, outer)


INSPECTOR = ContentInspector(
    name="sshd-config",
    version=3,
    families=(Directive,),
    inspect=inspect,
    path_has=("/ssh",),
    wants_path=wants_path,
    max_size=LARGEST,
    unseen=("configurations of other servers (Dropbear has none; libssh keeps its own)",),
)

SETTINGS = TreeInspector(
    name="sshd-settings",
    version=3,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "options on sshd's command line (-o), and values in files that the tree does not hold",
        "a server whose main file is not in its tree: nothing is said of it",
        "defaults that a distribution has changed: those of the published release are stated",
        "options that are built in or not (GSSAPI, Kerberos), and default paths (PidFile, ModuliFile, XAuthLocation)",
        "what Match lines come to for one connection: the settings of each stand under its own line",
    ),
)
