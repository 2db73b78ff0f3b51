"""The Kamailio configuration script as statements: what stands outside of routing blocks, and under which conditions.

Source: "Core Cookbook" of Kamailio 5.6 (config file elements, core keywords, preprocessor directives) and core/cfg.lex.
Routing blocks are named and skipped. Secrets are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from assay.facts.service import Directive

from .late import late
from .secrecy import WITHHELD, withhold

DIALECT = "kamailio"

CONDITIONS = 64
"""Conditions inside each other."""
CONDITION = 200
"""Characters of one: each statement under it has them."""

_TOKEN = late(
    r"""(?P<variable>\$\w*\((?:[^()\n]|\((?:[^()\n]|\([^()\n]*+\))*+\))*+\))"""
    r"""|(?P<line>\n)|(?P<blank>[ \t\r\f\v]+)|(?P<pre>[#!]!(?:[^\n\\]|\\\n|\\.|\\\Z)*)|(?P<comment>\#[^\n]*|//[^\n]*)"""
    r"""|(?P<string>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')|(?P<word>(?:[^\s"'{}();=,\#/]|/(?![/*]))+)|(?P<mark>.)""",
    re.DOTALL,
)
_SECRET = late(r"(?:^|[ ._])(?:\w*password|\w*passwd|\w*secret|\w*auth_key)$", re.IGNORECASE)
_NAME = late(r"[A-Za-z_][\w.]*")
_ROUTE = late(r"(?:\w+_)?route(?:\[.*)?", re.DOTALL)
_SUBSTDEF = late(r"""["'](\W)(\w+)\1(.*)\1\w*["']""", re.DOTALL)

FILES = ("include_file", "import_file", "loadmodule", "loadmodulex", "loadpath", "mpath")


class Token(NamedTuple):
    """A word, string (its text, without quotes) or mark."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a script, blanks and comments left out; line ends are tokens.

    Raises:
        ValueError: a string or a comment does not end; tokens before it have been yielded.
    """
    at, line, end = 0, 1, len(text)
    while at < end:
        if text.startswith("/*", at):
            close = text.find("*/", at + 2)
            if close < 0:
                raise ValueError(f"comment at line {line} does not end")
            line += text.count("\n", at, close)
            at = close + 2
            continue
        match = _TOKEN.match(text, at)
        assert match is not None  # any character is a mark
        kind, found = match.lastgroup or "", match[0]
        if kind == "mark" and found in "\"'":
            raise ValueError(f"string at line {line} does not end")
        if kind == "string":
            yield Token(kind, re.sub(r"\\(.)", r"\1", found[1:-1], flags=re.DOTALL), line)
        elif kind not in ("blank", "comment", "variable"):
            yield Token(kind, found, line)
        line += found.count("\n")
        at = match.end()


def statements(text: str) -> Iterator[Directive]:
    """Yield one directive a statement; the conditions it stands under, joined by ' and ', are its section.

    Keys are: a global parameter's name; `modparam MODULE PARAMETER`; loadmodule, include_file and the like; define,
    trydef, redefine, substdef with name and value; and route with the block's name.

    Raises:
        ValueError: a string, comment or block does not end, or too many conditions stand inside each other.
    """
    conditions: list[str] = []
    depths: list[int] = []
    """Of each condition, how many blocks it stands in."""
    pending: list[Token] = []
    depth = parentheses = 0
    opened = 0
    for token in tokens(text):
        if token.kind == "pre":
            before = len(conditions)
            yield from _preprocess(token, conditions)
            if len(conditions) > before:
                depths.append(depth)
            elif len(conditions) < before:
                depths.pop()
            elif depths and token.text[2:].strip() == "else":
                depth = depths[-1]  # of two ways to begin a block, one is taken
        elif depth:
            depth += {"{": 1, "}": -1}.get(token.text, 0) if token.kind == "mark" else 0
            if pending and depth:
                pending.append(token)
            elif pending:
                yield from _statement(pending, conditions)
                pending = []
        elif token.kind == "mark" and token.text == "{":
            depth, opened = 1, token.line
            if pending and pending[-1].text == "=":
                continue  # a structure: what is in it is the value
            if pending and _ROUTE.fullmatch(pending[0].text):
                name = "".join(part.text for part in pending)
                yield Directive(
                    dialect=DIALECT, section=_section(conditions), key="route", value=name, line=pending[0].line
                )
            pending = []
        elif token.kind == "line":
            waits = pending and (pending[-1].text in ("=", ",") or _ROUTE.fullmatch(pending[0].text))
            if pending and not parentheses and not waits and pending[-1].text not in FILES:
                yield from _statement(pending, conditions)
                pending = []
        else:
            parentheses = max(0, parentheses + {"(": 1, ")": -1}.get(token.text, 0))
            if token.text != ";" or parentheses:
                pending.append(token)
            elif pending:
                yield from _statement(pending, conditions)
                pending = []
    yield from _statement(pending, conditions)
    if depth:
        raise ValueError(f"block at line {opened} does not end")


def _section(conditions: list[str]) -> str | None:
    return " and ".join(conditions) or None


def _preprocess(token: Token, conditions: list[str]) -> Iterator[Directive]:
    word, _, rest = token.text[2:].strip().partition(" ")
    rest = rest.strip()
    if word in ("ifdef", "ifndef", "ifexp"):
        if len(conditions) >= CONDITIONS or len(rest) > CONDITION:
            raise ValueError(f"too many conditions inside each other, or too long ones, at line {token.line}")
        conditions.append(f"{'not ' if word == 'ifndef' else 'exp ' if word == 'ifexp' else ''}{rest}")
    elif word == "else" and conditions:
        last = conditions.pop()
        conditions.append(last[4:] if last.startswith("not ") else f"not {last}")
    elif word == "endif" and conditions:
        conditions.pop()
    elif word in ("define", "def", "trydef", "trydefine", "redefine", "redef", "substdef", "substdefs"):
        key = {"def": "define", "trydefine": "trydef", "redef": "redefine", "substdefs": "substdef"}.get(word, word)
        if key == "substdef":
            match = _SUBSTDEF.match(rest)
            if match is None:
                return
            name, value = match[2], match[3]
        else:
            name, _, value = rest.partition(" ")
            value = value.strip()
            if value[:1] in "\"'" and value[-1:] == value[:1]:
                value = value[1:-1]
        value = WITHHELD if value and _SECRET.search(name) else withhold(value)
        yield Directive(
            dialect=DIALECT, section=_section(conditions), key=key, value=f"{name} {value}".strip(), line=token.line
        )


def _statement(pending: list[Token], conditions: list[str]) -> Iterator[Directive]:
    if not pending:
        return
    first, section = pending[0], _section(conditions)
    if first.text in ("modparam", "modparamx"):
        values = [part.text for part in pending[1:] if part.kind in ("string", "word")]
        if len(values) >= 3:
            for module in values[0].split("|"):
                key = f"modparam {module} {values[1]}"
                yield _directive(section, key, " ".join(values[2:]), first.line)
    elif first.text in FILES:
        names = [part.text for part in pending[1:] if part.kind in ("string", "word")]
        if names:
            yield Directive(dialect=DIALECT, section=section, key=first.text, value=names[0], line=first.line)
    elif len(pending) > 2 and pending[1].text == "=" and _NAME.fullmatch(first.text):
        said = pending[2:3] if "." in first.text else pending[2:]
        value = said[0].text + "".join(
            f" {part.text}" if part.kind in ("word", "string") else part.text for part in said[1:]
        )
        yield _directive(section, first.text, value, first.line)


def _directive(section: str | None, key: str, value: str, line: int) -> Directive:
    value = WITHHELD if value and _SECRET.search(key) else withhold(value)
    return Directive(dialect=DIALECT, section=section, key=key, value=value, line=line)
