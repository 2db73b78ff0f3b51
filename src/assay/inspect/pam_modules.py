"""What the PAM modules that judge and hash passwords, and lock accounts, come to: arguments, files, defaults.

Source: the manual pages named in `pam_tables`. Arguments override the module's file; pwquality reads
/etc/security/pwquality.conf.d/*.conf before pwquality.conf, the last value holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from assay.facts.package import Package
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .late import late
from .pam import Entry, Stacks, together
from .pam_tables import HASHES, MODULES, UNIX, UNIX_MINLEN_DPKG, Module, Option, Version

DIALECT = "pam-module"

LOGIN_DEFS = "/etc/login.defs"

_FILES = frozenset({"pwquality.conf", "faillock.conf", "pwhistory.conf"})
_LINE = late(r"\s*([^\s=#]+)(?:\s*=\s*|\s+|$)([^#]*)")
_VERSION = late(r"(?:\d+:)?(\d{1,4})\.(\d{1,4})")


def wants_path(path: str) -> bool:
    """Tell whether a file is one that a module reads its options from."""
    if "/etc/security/" not in path or not path.endswith(".conf"):
        return False
    name = path.rpartition("/etc/security/")[2]
    return name in _FILES or name.startswith("pwquality.conf.d/")


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line `name = value`; a name alone has an empty value."""
    for number, line in enumerate(content.text().split("\n"), 1):
        if found := _LINE.match(line):
            yield Directive(dialect=DIALECT, key=found[1].lower(), value=found[2].strip(), line=number)


class Value(NamedTuple):
    """A value and where it stands."""

    value: str
    path: str
    line: int | None
    over: str = ""


class _Reader:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.packages: dict[str, tuple[str, str]] | None = None
        self.confs: dict[tuple[str, ...], tuple[dict[str, Value], bool]] = {}

    def version(self, names: Sequence[str]) -> tuple[Version | None, bool]:
        """Return the version of the first of these packages that is installed, and whether dpkg says so."""
        if self.packages is None:
            wanted = {name for module in MODULES.values() for name in module.packages}
            self.packages = {
                package.name: (package.version, package.manager)
                for _, package in self.tree.all(Package)
                if package.name in wanted and package.status == "installed"
            }
        for name in names:
            if name in self.packages:
                version, manager = self.packages[name]
                found = _VERSION.match(version)
                return (int(found[1]), int(found[2])) if found else None, manager == "dpkg"
        return None, False

    def conf(self, module: Module, arguments: dict[str, str]) -> tuple[dict[str, Value], bool]:
        """Return what a module's files set, and whether all of them were read."""
        paths = [arguments.get("conf") or module.conf or ""]
        if module.folder:
            directory = self.tree.listdir(module.folder)
            paths[:0] = sorted(file.path for file in directory if file.path.endswith(".conf"))
        if tuple(paths) not in self.confs:
            self.confs[tuple(paths)] = self._read([file for path in paths if path and (file := self.tree.lookup(path))])
        return self.confs[tuple(paths)]

    def _read(self, files: list[TreeFile]) -> tuple[dict[str, Value], bool]:
        found: dict[str, Value] = {}
        certain = True
        for file in files:
            certain = certain and wants_path(file.path) and not self.tree.unread(file.path)
            for line in self.tree.facts(Directive, file):
                if line.dialect == DIALECT:
                    before = found.get(line.key)
                    over = f"{before.path}:{before.line}" if before else ""
                    found[line.key] = Value(line.value, file.path, line.line, over)
        return found, certain

    def encryption(self) -> Value | None:
        """Return what login.defs says of the hash, as libpam reads it."""
        file = self.tree.lookup(LOGIN_DEFS)
        for line in self.tree.facts(Directive, file) if file else []:
            if line.dialect == "login.defs" and line.key == "ENCRYPT_METHOD":
                return Value(line.value.split("#")[0].strip().lower(), file.path if file else "", line.line)
        return None


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield the options in force of each line on which such a module stands; scope SERVICE/TYPE of all such services.

    pam_cracklib speaks under the subsystem pwquality and pam_tally2 under faillock, whose options theirs are; `basis`
    names the module.
    """
    stacks = Stacks(tree)
    if not stacks.there:
        return
    places: dict[tuple[str, int | None], tuple[Entry, str, dict[str, None]]] = {}
    for service, kind, entries, _ in stacks.reported():
        for entry in entries:
            if entry.module in MODULES and kind in MODULES[entry.module].kinds:
                place = places.setdefault((entry.file.path, entry.line.line), (entry, kind, {}))
                place[2][f"{service}/{kind}"] = None
    reader = _Reader(tree)
    for entry, kind, scopes in places.values():
        yield from _module(reader, entry, kind, together(scopes))


def _module(reader: _Reader, entry: Entry, kind: str, scope: str) -> Iterator[Setting]:
    module = MODULES[entry.module]
    version, dpkg = reader.version(module.packages)
    arguments: dict[str, str] = {}
    for argument in entry.arguments:
        name, equals, value = argument.partition("=")
        arguments[name.lower()] = value if equals else "yes"
    if entry.module == "pam_unix" and "nullok_secure" in arguments:
        arguments.setdefault("nullok", "secure")
    conf: dict[str, Value] = {}
    certain = True
    if module.conf and (version is None or module.conf_since is None or version >= module.conf_since):
        conf, certain = reader.conf(module, arguments)
    options = [*module.options, *(UNIX[kind] if entry.module == "pam_unix" else ())]
    standing = f"{entry.module} at {entry.file.path}:{entry.line.line}"

    def setting(key: str, value: str, basis: str, at: Value | None, origin: str = "file") -> Setting:
        return Setting(
            subsystem=module.subsystem,
            key=key,
            value=value,
            origin=origin,
            scope=scope,
            basis=basis,
            path=at.path if at else None,
            line=at.line if at else None,
        )

    here = Value("", entry.file.path, entry.line.line)
    done: dict[str, str] = {}
    for name in dict.fromkeys(option.name for option in options):
        of = [option for option in options if option.name == name]
        root = arguments.get("root_unlock_time") or conf.get("root_unlock_time")
        if name == "even_deny_root" and root and name not in arguments and name not in conf:
            at = root if isinstance(root, Value) else here
            yield setting(name, "yes", f"implied by root_unlock_time, for {standing}", at)
            continue
        if name in arguments:
            over = f", overrides {conf[name].path}:{conf[name].line}" if name in conf else ""
            value, note = _bounded(arguments[name], of[0])
            yield setting(name, value, f"argument of {entry.module}{over}{note}", here)
        elif name in conf:
            over = f", overrides {conf[name].over}" if conf[name].over else ""
            value, note = _bounded(conf[name].value or "yes", of[0])
            yield setting(name, value, f"for {standing}{over}{note}", conf[name])
        elif certain and (value := _default(of, version, done, name, entry.module, dpkg) or ""):
            known = f"{version[0]}.{version[1]}" if version else "version unknown"
            yield setting(name, value, f"{module.manual} ({known}), for {standing}", None, "default")
        else:
            continue
        done[name] = value
    if entry.module == "pam_unix" and kind == "password":
        chosen = [argument.lower() for argument in entry.arguments if argument.lower() in HASHES]
        if chosen:
            yield setting("hash", chosen[-1], "argument of pam_unix", here)
        elif method := reader.encryption():
            yield setting("hash", method.value, f"ENCRYPT_METHOD, for {standing}", method)


def _bounded(value: str, option: Option) -> tuple[str, str]:
    """Return the number that the module makes of a value, and what is to be said of that."""
    if re.fullmatch(r"-?\d{1,9}", value):
        if option.least is not None and int(value) < option.least:
            return str(option.least), f"; {value} is raised to the least that is taken"
        if option.most is not None and int(value) > option.most:
            return str(option.most), f"; {value} is lowered to the most that is taken"
    return value, ""


def _default(
    options: list[Option], version: Version | None, done: dict[str, str], name: str, module: str, dpkg: bool
) -> str | None:
    if module == "pam_faillock" and name == "root_unlock_time":
        return done.get("unlock_time")
    if module == "pam_unix" and name == "minlen":
        return UNIX_MINLEN_DPKG if dpkg else None
    for option in options:
        if option.since is None and option.until is None:
            return option.default
        if version and (option.since or version) <= version and (option.until is None or version < option.until):
            return option.default
    return None


INSPECTOR = ContentInspector(
    name="pam-module-files",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/etc/security/",),
    wants_path=wants_path,
    max_size=1 << 20,
    unseen=("files that an argument conf= names outside /etc/security",),
)

SETTINGS = TreeInspector(
    name="pam-module-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "modules other than pam_pwquality, pam_cracklib, pam_faillock, pam_tally2, pam_pwhistory and pam_unix",
        "whether the stack reaches the module: jumps and `sufficient` lines before it",
        "defaults that a distribution patched, other than Debian's minlen of pam_unix",
        "the hash that libcrypt takes where neither an argument nor ENCRYPT_METHOD names one",
    ),
)
