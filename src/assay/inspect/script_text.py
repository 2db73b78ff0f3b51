"""What of a script is code: strings, comments, documentation and the page around it are told apart, by language.

A light lexer for each language, no parser: one expression finds where strings and comments begin and end, and for
shells a stack follows substitutions. Offsets stay: what is no code is blanked in place. Where a lexer can mistake
quotes (Perl), a string that would run on for too long is none.

Reference: the lexical chapters of the manuals of PHP, Python (2.4), Perl (perlop, perlpod), Lua (3.1), POSIX sh (2.2,
2.7.4), ECMAScript (12), Java (3); HTML's script element; Jakarta Pages (1.3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from .late import late

MAX_BYTES = 2 << 20
"""Bytes of a script that are looked at."""

MAX_DOCUMENTS = 500
"""Here-documents of a script whose end is looked for."""


class Kind(IntEnum):
    """What a place of a script is."""

    CODE = 0
    TEXT = 1
    """Of a string, a comment, documentation or the page around the script."""
    FILLED = 2
    """Of a string that variables are filled into."""


class Part(NamedTuple):
    """A stretch that is not code."""

    start: int
    end: int
    kind: Kind = Kind.TEXT


class ScriptText:
    """A script whose strings and comments are known.

    Args:
        data: the script; what lies behind `MAX_BYTES` is not looked at.
        language: php, python, perl, lua, sh, java or javascript.
    """

    def __init__(self, data: bytes, language: str) -> None:
        data = data[:MAX_BYTES]
        kinds = bytearray(len(data))
        plain = bytearray(data)
        for start, end, kind in PARTS[language](data):
            kinds[start:end] = bytes((kind,)) * (end - start)
            plain[start:end] = data[start:end].translate(_BLANK)
        self.plain = bytes(plain)
        """The code; what is none is blanks, quotes and line ends stay."""
        self._kinds = bytes(kinds)

    def kind(self, at: int) -> Kind:
        """Return what a place is; text, if it was not looked at."""
        return Kind(self._kinds[at]) if 0 <= at < len(self._kinds) else Kind.TEXT


_BLANK = bytes(char if char == ord("\n") else ord(" ") for char in range(256))

# Of each expression: `skip` is code that only looks otherwise, `text` none at all, `filled` a string that variables are
# filled into, `here` and `now` name the end of a here-document, filled or not.
_SKIP = rb"(?P<skip>\\.)|"
_LINED = rb"""'(?P<text1>[^'\\\n]*(?:\\.[^'\\\n]*)*)'|"(?P<text2>[^"\\\n]*(?:\\.[^"\\\n]*)*)\""""
_REMARKS = rb"(?P<text>/\*.*?(?:\*/|\Z)|//[^\n]*)|"

_PHP_OPEN = late(rb"<\?(?:php\b|=|(?=\s))", re.IGNORECASE)
_PHP = late(
    rb"(?P<close>\?>)|" + _SKIP + rb"(?P<text>/\*.*?(?:\*/|\Z)|(?://|\#(?!\[))[^\n?]*(?:\?(?!>)[^\n?]*)*)|"
    rb"<<<[ \t]{0,8}(?:'(?P<now>\w{1,80})'|\"?(?P<here>\w{1,80})\"?)(?=\r?\n)|"
    rb"'(?P<text1>[^'\\]*(?:\\.[^'\\]*)*)'|"
    rb"\"(?P<filled>[^\"\\]*(?:\\.[^\"\\]*)*)\"|`(?P<filled1>[^`\\]*(?:\\.[^`\\]*)*)`",
    re.DOTALL,
)
_PERL = late(
    _SKIP + rb"(?P<text>(?:(?<=\n)|\A)=[a-z].*?(?:\n=cut[^\n]*|\Z)|(?<![$@%\w{/])\#[^\n]*|\n__(?:END|DATA)__\s.*)|"
    rb"(?P<pattern>[=!]~\s{0,4}(?:m|qr)?/[^/\\\n]{0,500}(?:\\.[^/\\\n]{0,500}){0,50}/|"
    rb"(?<![$@%\w>&{-])(?:s|tr|y)(?P<d>[/\#|!])(?:(?!(?P=d))[^\n\\]|\\.){0,300}(?P=d)(?:(?!(?P=d))[^\n\\]|\\.){0,300}(?P=d))|"
    rb"<<~?(?:'(?P<now>\w{1,80})'|\"(?P<now1>\w{1,80})\"|(?P<now2>[A-Za-z_]\w{0,79}))|"
    rb"\bqw?(?P<text1>\{[^{}]{0,2000}\}|\([^()]{0,2000}\))|"
    rb"\bq[qx](?:\{(?P<filled>[^{}]{0,2000})\}|\((?P<filled3>[^()]{0,2000})\))|"
    rb"'(?P<text2>[^'\\]{0,2000}(?:\\.[^'\\]{0,2000}){0,200})'|"
    rb"\"(?P<filled1>[^\"\\]{0,2000}(?:\\.[^\"\\]{0,2000}){0,200})\"|`(?P<filled2>[^`\\]{0,2000}(?:\\.[^`\\]{0,2000}){0,200})`",
    re.DOTALL,
)
_PYTHON = late(
    _SKIP + rb"(?P<text>\#[^\n]*)|\b[fF][rR]?(?P<mark>\"\"\"|''')(?P<format>(?:\\.|[^\\])*?)(?:(?P=mark)|\Z)|"
    rb"(?P<mark1>\"\"\"|''')(?P<text3>(?:\\.|[^\\])*?)(?:(?P=mark1)|\Z)|"
    rb"""\b(?:[rR]?[fF]|[fF][rR])(?:'(?P<format1>[^'\\\n]*(?:\\.[^'\\\n]*)*)'|"(?P<format2>[^"\\\n]*(?:\\.[^"\\\n]*)*)")|"""
    + _LINED,
    re.DOTALL,
)
_LUA = late(
    _SKIP + rb"(?P<text>--\[(?P<level>=*)\[.*?(?:\](?P=level)\]|\Z)|--[^\n]*)|"
    rb"\[(?P<equals>=*)\[(?P<text3>.*?)(?:\](?P=equals)\]|\Z)|" + _LINED,
    re.DOTALL,
)
_JAVA = late(_SKIP + _REMARKS + rb"\"\"\"(?P<text3>.*?)(?:\"\"\"|\Z)|" + _LINED, re.DOTALL)
_JAVASCRIPT = late(
    _SKIP + _REMARKS + rb"(?:(?<=[=(,:;!&|?{}\[\n])|(?<=return))[ \t]{0,8}/"
    rb"(?P<text3>(?!\*)(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.){0,100}\]){1,500})/|"
    rb"`(?P<template>[^`\\]*(?:\\.[^`\\]*)*)`|" + _LINED,
    re.DOTALL,
)
_SHELL = late(
    rb"(?P<skip>\\.)|\$'(?P<text2>[^'\\]*(?:\\.[^'\\]*)*)'|'(?P<text1>[^']*)'|(?P<open>\()|(?P<shut>\))|(?P<quote>\")|"
    rb"(?P<tick>`)|(?P<text>(?:(?<=[\s;&|(`])|\A)\#[^\n]*)|"
    rb"(?<!<)<<-?[ \t]{0,8}(?P<bare>['\"\\]?)(?P<now>[A-Za-z_]\w{0,79})",
    re.DOTALL,
)
_QUOTED = late(rb"(?P<skip>\\.)|(?P<quote>\")|\$(?P<open>\()|(?P<tick>`)", re.DOTALL)

_SCRIPT = late(rb"<script\b[^>]{0,500}>(.*?)(?:</script|\Z)", re.IGNORECASE | re.DOTALL)
_PAGE = late(rb"<%(?!--|@)(.*?)(?:%>|\Z)", re.DOTALL)
_FILLED_IN = {
    "format": late(rb"\{\{|\{([^{}]{0,500})\}"),
    "template": late(rb"\$\{((?:[^{}]|\{[^{}]{0,200}\}){0,500})\}"),
}
"""What is code in a string, by the name of its group without a number."""


class _Documents:
    """The ends of here-documents."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.left = MAX_DOCUMENTS
        self.start = self.end = -1
        """The body of the one whose line is being read; none yet if both are -1."""

    def begins(self, at: int, word: bytes) -> Part | None:
        """Take a here-document that is announced before a place; return its body, None if it has no end."""
        self.left -= 1
        line = self.data.find(b"\n", at)
        if self.left < 0 or line < 0:
            return None
        begin = self.end if self.start == line else line
        found = re.compile(rb"\n[ \t]*" + re.escape(word) + rb"\b").search(self.data, begin)
        if found is None:
            return None
        self.start, self.end = line, found.end()
        return Part(begin, found.end())

    def behind(self, at: int) -> int | None:
        """Return where a body ends that begins before a place; the place lies in it, or behind."""
        if 0 <= self.start <= at < self.end:
            return self.end
        return None


def _parts(pattern: re.Pattern[bytes], data: bytes, at: int = 0, end: int | None = None) -> Iterator[Part]:
    """Yield what is no code between two places; ends at a group `close`, if the expression has one."""
    documents = _Documents(data)
    end = len(data) if end is None else end
    while found := pattern.search(data, at, end):
        behind = documents.behind(found.start())
        if behind is not None:
            at = behind
            continue
        at = found.end()
        group = found.lastgroup or ""
        name = group.rstrip("0123456789")
        if name == "close":
            yield Part(found.start(), at, Kind.CODE)
            return
        if name in ("now", "here"):
            body = documents.begins(at, found[group])
            if body is not None:
                yield body._replace(kind=Kind.FILLED if name == "here" else Kind.TEXT)
        elif name in ("text", "filled"):
            yield Part(found.start(group), found.end(group), Kind.FILLED if name == "filled" else Kind.TEXT)
        elif name in _FILLED_IN:
            begin = found.start(group)
            for inner in _FILLED_IN[name].finditer(data, begin, found.end(group)):
                if inner[1] is not None:
                    yield Part(begin, inner.start(1))
                    begin = inner.end(1)
            yield Part(begin, found.end(group))


def _php(data: bytes) -> Iterator[Part]:
    at = 0
    while opened := _PHP_OPEN.search(data, at):
        yield Part(at, opened.start())
        at = len(data)
        for part in _parts(_PHP, data, opened.end()):
            if part.kind is Kind.CODE:
                at = part.end
            else:
                yield part
    yield Part(at, len(data))


def _shell(data: bytes) -> Iterator[Part]:
    documents = _Documents(data)
    inside: list[str] = []
    at = 0
    while True:
        quoted = bool(inside) and inside[-1] == "quote"
        found = (_QUOTED if quoted else _SHELL).search(data, at)
        if quoted:
            yield Part(at, found.start() if found else len(data), Kind.FILLED)
        if found is None:
            return
        behind = None if quoted else documents.behind(found.start())
        if behind is not None:
            at = behind
            continue
        at = found.end()
        group = found.lastgroup or ""
        if group in ("quote", "tick") and inside[-1:] == [group]:
            inside.pop()
        elif group in ("quote", "tick", "open"):
            inside.append(group)
        elif group == "shut":
            if inside[-1:] == ["open"]:
                inside.pop()
        elif group == "skip":
            if quoted:
                yield Part(found.start(), at, Kind.FILLED)
        elif group == "now":
            body = documents.begins(at, found[group])
            if body is not None:
                yield body
        else:
            yield Part(found.start(group), found.end(group))


def _within(blocks: re.Pattern[bytes], pattern: re.Pattern[bytes], data: bytes) -> Iterator[Part]:
    """Yield what is no code of a page that holds it in blocks."""
    at = 0
    for block in blocks.finditer(data):
        yield Part(at, block.start(1))
        yield from _parts(pattern, data, *block.span(1))
        at = block.end(1)
    yield Part(at, len(data))


def _java(data: bytes) -> Iterator[Part]:
    yield from _within(_PAGE, _JAVA, data) if b"<%" in data else _parts(_JAVA, data)


def _javascript(data: bytes) -> Iterator[Part]:
    yield from _within(_SCRIPT, _JAVASCRIPT, data) if data.lstrip()[:1] == b"<" else _parts(_JAVASCRIPT, data)


PARTS: dict[str, Callable[[bytes], Iterator[Part]]] = {
    "php": _php,
    "python": lambda data: _parts(_PYTHON, data),
    "perl": lambda data: _parts(_PERL, data),
    "lua": lambda data: _parts(_LUA, data),
    "sh": _shell,
    "java": _java,
    "javascript": _javascript,
}
"""By language: what of a script is no code, in order."""
