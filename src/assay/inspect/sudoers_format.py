"""The grammar of sudoers: one logical line in, what it says out.

Reference: sudoers(5) of sudo 1.9.13, "SUDOERS FILE FORMAT".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .late import late

ALIASES = ("User_Alias", "Runas_Alias", "Host_Alias", "Cmnd_Alias", "Cmd_Alias")

_MARK = late(r'\\.|"(?:\\.|[^"\\])*"|#', re.DOTALL)
_UID = late(r"#-?\d{1,10}(?![A-Za-z])")
_BLANK = late(r"\s*")
# Compiled when a policy is there: most trees have none, and every run loads this module.
_WORD = r'"(?:\\.|[^"\\])+"|%:?#?"(?:\\.|[^"\\])+"|%:(?:\\.|[^\s,!=:()"\\])+|(?:\\.|[^\s,!=:()"\\])+'
_MEMBER = _WORD
_HOST = rf"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:/\d+)?|{_WORD}"
_NAME = r"[A-Z][A-Z0-9_]*"
_DIGEST = r"(sha(?:224|256|384|512))\s*:\s*([A-Za-z0-9+/]+={0,2})\s*(,(?=\s*sha\d))?\s*"
_TAG = r"((?:NO)?(?:PASSWD|EXEC|SETENV|LOG_INPUT|LOG_OUTPUT|MAIL|INTERCEPT)|FOLLOW|NOFOLLOW)\s*:(?!:)\s*"
_OPTION = (
    r"(ROLE|TYPE|PRIVS|LIMITPRIVS|APPARMOR_PROFILE|CWD|CHROOT|TIMEOUT|NOTBEFORE|NOTAFTER)\s*=\s*"
    r'("(?:\\.|[^"\\])*"|(?:\\.|[^\s,:\\])+)\s*'
)
_EXPRESSION = r"\^(?:\\.|[^\\$]|\$(?![\s,:]|$)){0,1024}\$"  # longer ones sudo does not take
_COMMAND = r"(?:ALL|[A-Z][A-Z0-9_]*|list)(?=\s*(?:[,:]|$))|(?:\\.|[^\\,:])+"
_DEFAULT = r'(!*)\s*([a-z_]+)\s*(?:([+-]?=)\s*("(?:\\.|[^"\\])*"|(?:\\.|[^\s,"\\])*))?'


class Member(NamedTuple):
    """One item of a list."""

    negated: bool
    text: str
    options: tuple[str, ...] = ()
    """For a command: its digests, as sha256:VALUE."""


class Spec(NamedTuple):
    """One command of a privilege, with what holds for it."""

    runas: tuple[list[Member], list[Member]] | None
    """Users and groups as whom it may be run; None where nothing is stated."""
    options: tuple[str, ...]
    """Options (CWD=/x) and tags (NOPASSWD) in force; the last of a tag and its opposite stands."""
    command: Member


class Privilege(NamedTuple):
    """Who may run what, on which hosts."""

    users: list[Member]
    hosts: list[Member]
    specs: list[Spec]


class Default(NamedTuple):
    """One parameter of a Defaults line."""

    name: str
    operator: str
    """=, += or -=; empty for a flag."""
    value: str
    """yes or no for a flag."""


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their number, a backslash at the end joining the next; without comments and empty lines."""
    joined: list[str] = []
    start = 1
    for number, raw in enumerate(text.split("\n"), 1):
        start = start if joined else number
        if raw.endswith("\\") and not _comment_ends(raw):
            joined.append(raw[:-1])
            continue
        line = _uncommented("".join([*joined, raw]))
        joined = []
        if line:
            yield start, line
    if joined and (line := _uncommented("".join(joined))):
        yield start, line


def _comment_ends(raw: str) -> bool:
    """Tell whether a line's last backslash stands in a comment, which goes no further than its line."""
    return _cut(raw) < len(raw)


def _cut(line: str) -> int:
    first = len(line) - len(line.lstrip())
    if re.match(r"#include(?:dir)?\s", line[first:]):
        return len(line)
    for found in _MARK.finditer(line):
        if found[0] == "#":
            before = line[max(0, found.start() - 256) : found.start()].rstrip()
            if _UID.match(line, found.start()) and (
                not before or before[-1] in ",!(:=%" or line[found.start() - 1] == "%"
            ):
                continue
            return found.start()
    return len(line)


def _uncommented(line: str) -> str:
    return line[: _cut(line)].strip()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def blank(self) -> None:
        self.at = _BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]  # it matches nothing, too

    def take(self, char: str) -> bool:
        self.blank()
        if self.text.startswith(char, self.at):
            self.at += len(char)
            return True
        return False

    def match(self, pattern: str) -> re.Match[str] | None:
        self.blank()
        found = re.compile(pattern).match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def need(self, pattern: str, what: str) -> str:
        found = self.match(pattern)
        if not found:
            raise ValueError(f"{what} expected at column {self.at + 1}")
        return found[0]

    def negations(self) -> bool:
        negated = False
        while self.take("!"):
            negated = not negated
        return negated

    def members(self, pattern: str, what: str) -> list[Member]:
        found = []
        while True:
            negated = self.negations()
            found.append(Member(negated, unquoted(self.need(pattern, what))))
            if not self.take(","):
                return found

    def command(self) -> Member:
        digests = []
        while digest := self.match(_DIGEST):
            digests.append(f"{digest[1]}:{digest[2]}")
        negated = self.negations()
        if expression := self.match(_EXPRESSION):
            text = expression[0]
            if (rest := self.match(_EXPRESSION)) or (rest := self.match(r"(?:\\.|[^\\,:])+")):
                text += f" {rest[0].strip()}"
            return Member(negated, text, tuple(digests))
        text = self.need(_COMMAND, "command").strip()
        if not text:
            raise ValueError(f"command expected at column {self.at + 1}")
        return Member(negated, re.sub(r"\\([,:=#])", r"\1", text), tuple(digests))

    def end(self) -> None:
        self.blank()
        if self.at < len(self.text):
            raise ValueError(f"unexpected text at column {self.at + 1}")


def unquoted(word: str) -> str:
    """Return a word without its quotes and the backslashes that only protect a character."""
    prefix = word[: word.index('"')] if word.endswith('"') and '"' in word[:-1] else ""
    if prefix or word[:1] == '"':
        return prefix + re.sub(r"\\(.)", r"\1", word[len(prefix) + 1 : -1])
    return re.sub(r"\\([^0-9A-Za-z])", r"\1", word)


def users(text: str) -> list[Member]:
    """Return the users of a list.

    Raises:
        ValueError: it is none.
    """
    scan = _Scanner(text)
    found = scan.members(_MEMBER, "user")
    scan.end()
    return found


def aliases(text: str, kind: str) -> list[tuple[str, list[Member]]]:
    """Return the aliases that a line defines.

    Args:
        text: the line behind its keyword: NAME = item, ... : NAME = item, ...
        kind: the keyword.

    Raises:
        ValueError: the line is not of that form.
    """
    scan, found = _Scanner(text), []
    while True:
        name = scan.need(_NAME, "alias name")
        if not scan.take("="):
            raise ValueError(f"'=' expected at column {scan.at + 1}")
        if kind in ("Cmnd_Alias", "Cmd_Alias"):
            members = [scan.command()]
            while scan.take(","):
                members.append(scan.command())
        else:
            members = scan.members(_HOST if kind == "Host_Alias" else _MEMBER, "item")
        found.append((name, members))
        if not scan.take(":"):
            scan.end()
            return found


def privileges(text: str) -> list[Privilege]:
    """Return what a user specification grants.

    Raises:
        ValueError: the line is not of the form `users hosts = commands : hosts = commands`.
    """
    scan, found = _Scanner(text), []
    users = scan.members(_MEMBER, "user")
    while True:
        hosts = scan.members(_HOST, "host")
        if not scan.take("="):
            raise ValueError(f"'=' expected at column {scan.at + 1}")
        found.append(Privilege(users, hosts, _specs(scan)))
        if not scan.take(":"):
            scan.end()
            return found


def _specs(scan: _Scanner) -> list[Spec]:
    found = []
    runas: tuple[list[Member], list[Member]] | None = None
    options: dict[str, str] = {}
    tags: dict[str, str] = {}
    while True:
        if scan.take("("):
            users = [] if scan.text[scan.at :].lstrip()[:1] in (":", ")") else scan.members(_MEMBER, "user")
            groups = scan.members(_MEMBER, "group") if scan.take(":") and not scan.take(")") else []
            if scan.text[scan.at - 1] != ")" and not scan.take(")"):
                raise ValueError(f"')' expected at column {scan.at + 1}")
            runas = users, groups
        while True:
            if option := scan.match(_OPTION):
                options[option[1]] = f"{option[1]}={unquoted(option[2])}"
            elif tag := scan.match(_TAG):
                tags[tag[1].removeprefix("NO")] = tag[1]
            else:
                break
        command = scan.command()
        found.append(Spec(runas, (*options.values(), *tags.values(), *command.options), command))
        if not scan.take(","):
            return found


def parameters(text: str) -> list[Default]:
    """Return the parameters of a Defaults line.

    Args:
        text: the line behind `Defaults` and what it is bound to.

    Raises:
        ValueError: it is not a list of parameters.
    """
    scan, found = _Scanner(text), []
    while True:
        match = scan.match(_DEFAULT)
        if not match:
            raise ValueError(f"parameter expected at column {scan.at + 1}")
        if match[3]:
            found.append(Default(match[2], match[3], unquoted(match[4])))
        else:
            found.append(Default(match[2], "", "no" if len(match[1]) % 2 else "yes"))
        if not scan.take(","):
            scan.end()
            return found


_BOUND = late(r'(?:"(?:\\.|[^"\\])*"|\\.|\s*,\s*|!\s*|[^\s,"\\])+')


def defaults(line: str) -> tuple[str, str]:
    """Split a Defaults line into what it is bound to (`:bob`, `@host`, `>root`, `!/bin/x`; or nothing) and the rest.

    Raises:
        ValueError: there is nothing behind it.
    """
    rest = line[len("Defaults") :]
    bound = ""
    if rest[:1] in (":", "@", ">", "!"):
        found = _BOUND.match(rest[1:].lstrip())
        if not found:
            raise ValueError("nothing that the Defaults are bound to")
        bound = rest[0] + found[0].strip()
        if bound[0] == ":":
            users(bound[1:])
        rest = rest[1:].lstrip()[found.end() :]
    if not rest.strip():
        raise ValueError("Defaults without a parameter")
    return bound, rest.strip()
