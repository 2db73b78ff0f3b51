"""sudo: the lines of sudoers, the means to act as somebody else that they give, and its Defaults.

Source: sudoers(5) of sudo 1.9.13: files are read in order with their includes in place; of parameters the last value
holds, of the entries that match a person and a command the last.
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

import msgspec

from assay.facts.access import Escalation
from assay.facts.package import Package
from assay.facts.service import Directive, Setting
from assay.unpack.base import LimitReached

from . import sudoers_format as grammar
from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .late import late
from .secrecy import withhold
from .sudoers_defaults import DPKG, Version, defaults
from .sudoers_format import Default, Member, Privilege

DIALECT = "sudoers"

MAIN = ("/etc/sudoers", "/usr/etc/sudoers", "/usr/local/etc/sudoers")
"""Compiled-in places, the first that is there."""

DEPTH = 128
"""Levels of inclusion that sudo allows."""

WORK = 100_000
"""Lines looked at for one tree."""

MOST = 20_000
"""Escalations told of one tree: aliases of aliases may not multiply without end."""

EXCEPTIONS = 100
"""Items of a list that one fact tells of."""

LETTERS = 16 << 20
"""Characters of all escalations of one tree."""

Excluded = list[tuple[int, str]]
"""What a list takes out again, with its position, in order."""

_INCLUDE = late(r"[@#](include(?:dir)?)\s+(.+)")
_TAG = late(r"(\b(?:NO)?PASSWD\s*:)")
_VERSION = late(r"(?:\d+:)?(\d{1,4})\.(\d{1,4})\.(\d{1,4})")
_NAMES = {"Cmd_Alias": "Cmnd_Alias"}


def wants_path(path: str) -> bool:
    """Tell whether a file is, or is usually included by, sudo's policy."""
    return "/sudoers" in path and (path.endswith("/etc/sudoers") or "/etc/sudoers." in path)


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line: key the keyword, or `privilege`; section what Defaults are bound to.

    Raises:
        ValueError: a line is not of the grammar; the others have been read.
    """
    wrong = ""
    for number, line in grammar.logical_lines(content.text()):
        try:
            key, section, value = _split(line)
        except ValueError as error:
            wrong = wrong or f"line {number}: {error}"
            continue
        yield Directive(dialect=DIALECT, section=section, key=key, value=value, line=number)
    if wrong:
        raise ValueError(wrong)


def _split(line: str) -> tuple[str, str | None, str]:
    """Return keyword, section and value of a line, having tried that it can be read."""
    if include := _INCLUDE.match(line):
        return f"@{include[1]}", None, grammar.unquoted(include[2].strip())
    word = re.match(r"[A-Za-z_]*", line)[0]  # type: ignore[index]  # it matches nothing, too
    if word in grammar.ALIASES:
        rest = line[len(word) :].strip()
        grammar.aliases(rest, word)
        return _NAMES.get(word, word), None, _withheld(rest)
    if word == "Defaults" and line[8:9] in ("", " ", "\t", ":", "@", ">", "!"):
        bound, rest = grammar.defaults(line)
        grammar.parameters(rest)
        return word, bound or None, withhold(rest)
    grammar.privileges(line)
    return "privilege", None, _withheld(line)


def _withheld(text: str) -> str:
    """Withhold secrets of commands; the tags PASSWD: and NOPASSWD: name none."""
    return "".join(part if _TAG.fullmatch(part) else withhold(part) for part in _TAG.split(text))


class Line(NamedTuple):
    """A line where it stands."""

    file: TreeFile
    directive: Directive


class Policy:
    """Everything that sudo reads, in order."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.lines: list[Line] = []
        self.aliases: dict[tuple[str, str], list[Member]] = {}
        self.certain = True
        """No file was met that is there but could not be read."""
        self.unseen = ""
        """An included file that nobody looked at."""
        self.cut = False
        self.runas_default = "root"
        self.exempt: str | None = None
        """The group whose members are asked for no password."""
        self.authenticate: dict[str, bool] = {}
        """Whether a password is asked for, by what the Defaults are bound to."""
        self.bound: dict[str, tuple[frozenset[str], bool]] = {}
        """Of those bound to users: their names, and whether all are names of single users."""
        main = next((file for path in MAIN if (file := tree.lookup(path)) is not None), None)
        if main is not None:
            self._read(main, 0)
        for _, line in self.lines:
            if line.key.endswith("_Alias"):
                for name, members in grammar.aliases(line.value, line.key):
                    self.aliases.setdefault((line.key, name), members)
            elif line.key == "Defaults":
                for parameter in grammar.parameters(line.value):
                    self._default(line.section or "", parameter)
        for bound in [bound for bound in self.authenticate if bound[:1] == ":"][:EXCEPTIONS]:
            names = frozenset(member.text for member in self.expanded("User_Alias", grammar.users(bound[1:])))
            self.bound[bound] = names, all(_is_user(name) for name in names)

    def _default(self, bound: str, parameter: Default) -> None:
        if parameter.name == "authenticate":
            self.authenticate.pop(bound, None)
            self.authenticate[bound] = parameter.value == "yes"
        elif parameter.name == "runas_default" and not bound:
            self.runas_default = parameter.value
        elif parameter.name == "exempt_group" and not bound:
            self.exempt = parameter.value if parameter.operator else None

    def _read(self, file: TreeFile, depth: int) -> None:
        target = self.tree.lookup(file.path)
        if depth > DEPTH or len(self.lines) > WORK or target is None:
            self.cut = self.cut or target is not None
            self.certain = False
            return
        if not wants_path(target.path):
            self.unseen = self.unseen or target.path
            self.certain = False
            return
        self.certain = self.certain and not self.tree.unread(target.path)
        for line in self.tree.facts(Directive, file):
            if line.dialect != DIALECT:
                continue
            self.lines.append(Line(file, line))
            if not line.key.startswith("@") or len(self.lines) > WORK:
                continue
            path = posixpath.join(posixpath.dirname(file.path), line.value)
            if "%h" in path:
                self.certain = False  # the name of a host that nobody knows
            elif line.key == "@include":
                included = self.tree.lookup(path)
                if included is not None and included.type != "directory":
                    self._read(included, depth + 1)
            else:
                for entry in self.tree.listdir(path):
                    name = posixpath.basename(entry.path)
                    if not name.endswith("~") and "." not in name and entry.type != "directory":
                        self._read(entry, depth + 1)

    def expanded(self, kind: str, members: list[Member], seen: tuple[str, ...] = ()) -> Iterator[Member]:
        """Yield the members of a list in order, aliases replaced by what they stand for; at most `MOST`."""
        left = MOST
        stack = [(iter(members), False, seen)]
        while stack and left > 0:
            items, negated, seen = stack[-1]
            item = next(items, None)
            if item is None:
                stack.pop()
                continue
            left -= 1
            inner = self.aliases.get((kind, item.text)) if item.text not in seen else None
            if inner is not None:
                stack.append((iter(inner), negated != item.negated, (*seen, item.text)))
            else:
                yield item._replace(negated=negated != item.negated)
        if left <= 0:
            self.cut = True

    def split(self, kind: str, members: list[Member]) -> tuple[list[tuple[int, Member]], list[tuple[int, str]]]:
        """Return the members of a list that are in it, and those that are taken out, each with its position."""
        found = list(enumerate(self.expanded(kind, members)))
        return [(n, m) for n, m in found if not m.negated], [(n, m.text) for n, m in found if m.negated]

    def asks(self, who: str, options: tuple[str, ...]) -> bool | None:
        """Tell whether a privilege asks for a password; None if it depends on more than the line says."""
        if who in ("root", "#0") or "NOPASSWD" in options:
            return False
        if "PASSWD" in options:
            return True if self.exempt is None else None
        asks = self.authenticate.get("", True if self.certain else None)
        for bound, value in islice(self.authenticate.items(), EXCEPTIONS):
            if not bound or value == asks:
                continue
            names, single = self.bound.get(bound, (frozenset(), False))
            asks = value if who in names or "ALL" in names else asks if single and _is_user(who) else None
        if len(self.authenticate) > EXCEPTIONS:
            return None
        if asks and self.exempt is not None:
            return False if who == f"%{self.exempt}" else None
        return asks


def _is_user(name: str) -> bool:
    """Tell whether a member of a list is the name of one user."""
    return name[:1] not in ("%", "+", "#") and name != "ALL"


def _there(tree: Tree) -> bool:
    return any(file.type in ("regular", "hardlink", "symlink") for file in tree.glob("*/bin/sudo"))


def _package(tree: Tree) -> tuple[Version | None, bool]:
    """Return sudo's version as the package database states it, and whether that is dpkg's."""
    for _, package in tree.all(Package):
        if package.name in ("sudo", "sudo-ldap") and package.status == "installed":
            match = _VERSION.match(package.version)
            version = (int(match[1]), int(match[2]), int(match[3])) if match else None
            return version, package.manager == "dpkg"
    return None, False


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield the Defaults: what holds always with an empty scope, else with what they are bound to as scope.

    Lists that are added to are told in full, the members separated by a blank. Parameters that no line sets get their
    built-in value, unless a line that could set them was not read, or sudo is not in the tree.

    Raises:
        ValueError: a file is included that nobody looked at.
        LimitReached: there are more lines than are looked at.
    """
    policy = Policy(tree)
    found: dict[tuple[str, str], Setting] = {}
    for file, line in policy.lines:
        if line.key != "Defaults":
            continue
        scope = f"Defaults{line.section}" if line.section else ""
        for parameter in grammar.parameters(line.value):
            place = scope, parameter.name
            before = found.get(place)
            value, basis = parameter.value, None
            if before is not None:
                basis = f"overrides {before.path}:{before.line}"
                if parameter.operator in ("+=", "-="):
                    names = before.value.split()
                    added = value.split()
                    kept = [n for n in names if n not in added]
                    value = " ".join([*kept, *added] if parameter.operator == "+=" else kept)
                    basis = f"with {before.path}:{before.line}"
            elif parameter.operator in ("+=", "-="):
                basis = f"{parameter.operator} to the built-in list"
            found[place] = Setting(
                subsystem="sudoers",
                key=parameter.name,
                value=value,
                origin="file",
                scope=scope,
                basis=basis,
                path=file.path,
                line=line.line,
            )
    yield from found.values()
    if policy.certain and _there(tree):
        version, dpkg = _package(tree)
        known = (
            f"of sudo {'.'.join(map(str, version))}" if version else "of sudo; version unknown, the same in 1.8 and 1.9"
        )
        for default in defaults(version, dpkg):
            if ("", default.name) not in found:
                of = "as in Debian's package" if default in DPKG else "as published"
                yield Setting(
                    subsystem="sudoers",
                    key=default.name,
                    value=default.value,
                    origin="default",
                    basis=f"sudoers(5) {known}, {of}",
                )
    _finish(policy)


def _finish(policy: Policy) -> None:
    if policy.cut:
        raise LimitReached("sudoers_lines", WORK)
    if policy.unseen:
        raise ValueError(f"{policy.unseen} is included by sudoers and was not looked at")


def escalations(tree: Tree) -> Iterator[Escalation]:
    """Yield what each privilege gives: one escalation for each user, account to act as, and command.

    The policy stands whether sudo is there or not: `installed` tells. Aliases are replaced by what they stand for. What
    a later item of the same list takes out again stands in `excepting`, with its list before it (user, target, host,
    command).

    Raises:
        LimitReached: there are more than are told.
    """
    policy = Policy(tree)
    installed = _there(tree)
    count = letters = 0
    for file, line in policy.lines:
        if line.key != "privilege":
            continue
        for privilege in grammar.privileges(line.value):
            for means in _means(policy, privilege, file, line):
                count += 1
                letters += len(means.who) + len(means.target) + len(means.command) + len(means.condition or "")
                letters += sum(map(len, means.options)) + sum(map(len, means.excepting))
                if count > MOST or letters > LETTERS:
                    raise LimitReached("sudo_escalations", MOST)
                yield msgspec.structs.replace(means, installed=installed)
    if policy.cut:
        raise LimitReached("sudoers_lines", WORK)


def _means(policy: Policy, privilege: Privilege, file: TreeFile, line: Directive) -> Iterator[Escalation]:
    users, no_users = policy.split("User_Alias", privilege.users)
    hosts, no_hosts = policy.split("Host_Alias", privilege.hosts)
    named = [host.text for _, host in hosts[:EXCEPTIONS]]
    commands = [
        (spec, command)
        for spec in privilege.specs
        for command in islice(policy.expanded("Cmnd_Alias", [spec.command]), MOST)
    ][:MOST]
    excluded = [(at, command.text) for at, (_, command) in enumerate(commands) if command.negated]
    for at, (spec, command) in enumerate(commands):
        if command.negated:
            continue
        targets: list[tuple[int, str]] = []
        no_targets: Excluded = []
        group = None
        if spec.runas is None:
            targets = [(0, policy.runas_default)]
        else:
            found, no_targets = policy.split("Runas_Alias", spec.runas[0])
            targets = [(number, member.text) for number, member in found] or [(0, "")]
            groups, _ = policy.split("Runas_Alias", spec.runas[1])
            group = ", ".join(member.text for _, member in groups[:EXCEPTIONS]) or None
        options = list(dict.fromkeys([*spec.options, *command.options]))[:EXCEPTIONS]
        for user_at, user in users:
            for target_at, target in targets:
                out = [
                    *_later("user", no_users, user_at),
                    *_later("target", no_targets, target_at),
                    *_later("host", no_hosts, -1),
                    *_later("command", excluded, at),
                ]
                yield Escalation(
                    mechanism="sudo",
                    who=user.text,
                    target=target,
                    command=command.text,
                    password=policy.asks(user.text, spec.options),
                    target_group=group,
                    condition=None if "ALL" in named else f"on {', '.join(named)}",
                    options=options,
                    excepting=out[:EXCEPTIONS],
                    path=file.path,
                    line=line.line,
                )


def _later(what: str, excluded: Excluded, position: int) -> list[str]:
    """Return what is taken out behind a position: the last item that matches holds."""
    first = bisect_right(excluded, position, key=itemgetter(0))
    return [f"{what} {name}" for _, name in excluded[first : first + EXCEPTIONS]]


INSPECTOR = ContentInspector(
    name="sudoers",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/sudoers",),
    wants_path=wants_path,
    max_size=1 << 20,
    unseen=("policies of LDAP, SSSD or another plugin (sudo.conf, nsswitch.conf)",),
)

SETTINGS = TreeInspector(
    name="sudoers-settings",
    version=2,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "what a distribution built in other than published (lists of environment variables, secure_path, editor)",
        "files included by a host's name (%h), or from outside /etc/sudoers.d",
    ),
)

ESCALATIONS = TreeInspector(
    name="sudoers-escalations",
    version=2,
    families=(Escalation,),
    inspect=escalations,
    unseen=(
        "which of several entries that match a person and a command holds: sudo takes the last",
        "who is in a netgroup, or in a group that only the network knows",
        "a password that the PAM stack of sudo does not ask for",
    ),
)
