"""The packet filter that nftables loads at boot: every chain with its hook, policy and rules, includes followed.

Source: nft(8) of nftables 1.0; nftables.service of Debian, Fedora and Alpine.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from assay.facts.service import Directive, Setting
from assay.unpack.base import LimitReached

from .base import Tree, TreeFile, TreeInspector
from .boot_links import started
from .dropins import Reader
from .late import late
from .nftables import DIALECT, VERBS, named
from .systemd_units import Units

SUBSYSTEM = "nftables"

MAIN = ("/etc/nftables.conf", "/etc/sysconfig/nftables.conf", "/etc/nftables.nft", "/var/lib/nftables/rules-save")

DEPTH = 16
"""Includes of includes (MAX_INCLUDE_DEPTH)."""

RULES = 1000
"""Rules that the value of one chain shows."""

WORK = 1 << 20
"""Characters of variables that are filled in."""

_FILE = late(r"(?:^|\s)(?:-f|--file)[\s=]+([^\s;'\"]+)")
_VARIABLE = late(r"\$(\w+)")


@dataclass
class Chain:
    """A chain, or another named object of a table."""

    file: TreeFile
    line: int | None
    hook: str | None = None
    policy: str | None = None
    rules: list[str] = field(default_factory=list)

    def setting(self, key: str) -> Setting:
        """Return it as a setting: hook and policy in the first line of the value, then a line for each rule."""
        basis = []
        first = []
        if self.hook is not None:
            first = [f"type {self.hook}; policy {self.policy or 'accept'}"]
            if self.policy is None:
                basis.append("no policy is stated: nft(8) accepts")
        if len(self.rules) > RULES:
            basis.append(f"the first {RULES} of {len(self.rules)} rules")
        return Setting(
            subsystem=SUBSYSTEM,
            key=key,
            value="\n".join([*first, *self.rules[:RULES]]),
            origin="file",
            basis="; ".join(basis) or None,
            path=self.file.path,
            line=self.line,
        )


class Ruleset:
    """What nft would load: the statements of a file and its includes, applied in order."""

    def __init__(self, reader: Reader, main: TreeFile) -> None:
        self.reader = reader
        self.chains: dict[str, Chain] = {}
        self.variables: dict[str, str] = {}
        self.missing: str | None = None
        self.unclear: str | None = None
        self._filled = 0
        self._read(main, None, 0)

    def _read(self, file: TreeFile, inside: str | None, depth: int) -> None:
        if depth > DEPTH:
            self.missing = self.missing or file.path
            return
        certain, self.reader.certain = self.reader.certain, True
        lines = self.reader.lines(file)
        if not self.reader.certain:
            self.missing = self.missing or file.path
        self.reader.certain = self.reader.certain and certain
        for line in lines:
            section = " ".join(part for part in (inside, line.section) if part) or None
            if line.key == "include":
                self._include(line.value.strip("\"'"), section, depth)
            else:
                self._apply(file, line, section)

    def _include(self, pattern: str, section: str | None, depth: int) -> None:
        found = self.reader.matching(posixpath.join("/" if pattern.startswith("./") else "/etc", pattern))
        if not found and not any(char in pattern for char in "*?["):
            self.missing = self.missing or pattern
        for file in found:
            self._read(file, section, depth + 1)

    def _fill(self, text: str) -> str:
        if "$" not in text:
            return text

        def value(match: re.Match[str]) -> str:
            known = self.variables.get(match[1], match[0])
            self._filled += len(known)
            if self._filled > WORK:
                raise LimitReached("characters of variables", WORK)
            return known

        return _VARIABLE.sub(value, text)

    def _apply(self, file: TreeFile, line: Directive, section: str | None) -> None:
        key, value = line.key, self._fill(line.value)
        if key in ("define", "redefine"):
            name, _, stands = value.partition("=")
            self.variables[name.strip()] = stands.strip()
        elif section is not None:
            self._inside(file, line, section, key, value)
        elif key in ("table", "set", "map"):
            pass  # a block's opening: what stands in it follows with its section
        elif key == "chain":
            self.chains.setdefault(value, Chain(file, line.line))
        else:
            words = value.split()
            verb, words = (key, words) if key not in VERBS else (words[0] if words else "", words[1:])
            self._command(file, line, "add" if key in VERBS else key, verb, words)

    def _inside(self, file: TreeFile, line: Directive, section: str, key: str, value: str) -> None:
        depth = len(section.split())
        if depth == 2:
            if key == "chain":
                self.chains.setdefault(f"{section} {value}", Chain(file, line.line))
            elif key in ("set", "map"):
                self.chains.setdefault(f"{section} {key} {value}", Chain(file, line.line))
            return
        chain = self.chains.setdefault(section, Chain(file, line.line))
        if depth > 3:
            if key in ("elements", "type", "typeof", "flags"):
                chain.rules.append(f"{key} {value}")
        elif key == "type":
            chain.hook = value
        elif key == "policy":
            chain.policy = value
        elif key == "rule":
            chain.rules.append(value)

    def _command(self, file: TreeFile, line: Directive, action: str, what: str, words: list[str]) -> None:
        if action in ("flush", "delete", "destroy"):
            self._remove(action, words)
        elif what == "chain":
            self.chains.setdefault(named(words, 2)[0], Chain(file, line.line))
        elif action == "insert" or what == "rule" or action == "add":
            words = words[1:] if action == "insert" and words[:1] == ["rule"] else words
            if what not in ("rule", "insert"):
                return  # tables, sets, elements: they do not change chains
            name, rule = named(words, 2)
            if rule[:1] and rule[0] in ("position", "handle", "index"):
                self.unclear = self.unclear or f"{file.path}:{line.line}"
                return
            rules = self.chains.setdefault(name, Chain(file, line.line)).rules
            rules.insert(0 if action == "insert" else len(rules), " ".join(rule))
        elif action == "replace":
            self.unclear = self.unclear or f"{file.path}:{line.line}"

    def _remove(self, action: str, words: list[str]) -> None:
        what = words[0] if words else ""
        if what == "ruleset":
            family = f"{words[1]} " if len(words) > 1 else ""
            self.chains = {name: chain for name, chain in self.chains.items() if not name.startswith(family)}
        elif what == "table":
            prefix = named(words[1:], 1)[0] + " "
            for name in [name for name in self.chains if name.startswith(prefix)]:
                if action == "flush":
                    self.chains[name].rules.clear()
                else:
                    del self.chains[name]
        elif what in ("chain", "set", "map"):
            name = named(words[1:], 2)[0]
            if what != "chain":
                table, _, own = name.rpartition(" ")
                name = f"{table} {what} {own}"
            if action == "flush" and name in self.chains:
                self.chains[name].rules.clear()
            else:
                self.chains.pop(name, None)
        elif what == "rule":
            self.unclear = self.unclear or "delete rule"


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield one setting for each chain, `FAMILY TABLE CHAIN`, and each named set, `FAMILY TABLE set NAME`.

    `started` tells whether nftables.service loads them at boot, where links show it.

    Raises:
        ValueError: an included file is not in the tree or could not be read, or a rule is addressed by its handle: what
            would be loaded cannot be told.
    """
    reader = Reader(tree, DIALECT)
    units = Units(tree)
    unit = units.load("nftables.service")
    stated = unit.every("Service", "ExecStart") if unit is not None else []
    paths = [found[1] for _, line in stated for found in _FILE.finditer(line.value)]
    main = reader.file(*paths, *MAIN)
    if main is None:
        return
    ruleset = Ruleset(reader, main)
    if ruleset.missing or ruleset.unclear:
        why = f"{ruleset.missing} is not there or not readable" if ruleset.missing else f"{ruleset.unclear}: by handle"
        raise ValueError(f"{main.path}: what nft would load cannot be told: {why}")
    for key, chain in ruleset.chains.items():
        yield chain.setting(key)
    on, shown = started(tree, units, "nftables.service")
    if on is not None:
        yield Setting(
            subsystem=SUBSYSTEM, key="started", value="yes" if on else "no", origin="file", basis=shown, path=main.path
        )


SETTINGS = TreeInspector(
    name="nftables-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "rules that other programs load (firewalld, ufw, kube-proxy, scripts)",
        "a rule set of another name that no nftables.service names",
    ),
)
