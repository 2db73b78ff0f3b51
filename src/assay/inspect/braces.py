"""Configurations made of statements that end with a semicolon or hold others in braces.

As named.conf, dhcpd.conf and syslog-ng.conf are written: words, strings, `{ ... }`, comments with #, // and /* */.
Sources: BIND 9 Administrator Reference Manual, "Configuration Reference"; dhcpd.conf(5); syslog-ng.conf(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .late import late

DEPTH = 60
"""Braces in braces."""

WORDS = 10_000
"""Words of one statement."""


class Statement(NamedTuple):
    """One statement, or the head of a block."""

    words: list[str]
    """Strings without their quotes."""
    path: tuple[str, ...]
    """Heads of the blocks around it, outermost first, words joined by blanks."""
    line: int
    block: bool
    """It is the head of a block; what stands in it follows."""


_TOKEN = late(
    r"\s+|#[^\n]*|//[^\n]*|/\*.*?\*/"
    r'|"((?:[^"\\]|\\.)*)"|([{};])|((?:[^\s{};"/#]|/(?![/*]))+)',
    re.DOTALL,
)


def statements(text: str, *, joined: bool = False) -> Iterator[Statement]:
    """Yield the statements of a file in order, blocks before what they hold.

    Args:
        text: the file.
        joined: as syslog-ng writes it: strings keep their quotes, a line that begins with `@` is a statement, and
            braces inside parentheses do not open a block.

    Raises:
        ValueError: a comment, string or block does not end, or one ends that did not begin.
    """
    path: list[str] = []
    words: list[str] = []
    at, line, begun = 0, 1, 1
    size = len(text)
    depth = 0
    while at < size:
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"line {line}: a comment or string does not end")
        at = match.end()
        number = line
        line += match[0].count("\n")
        word = match[3] if match[1] is None else match[0] if joined else match[1]
        if word is not None:
            if joined and not words and word[0] == "@":
                end = text.find("\n", match.start())
                at = end if end >= 0 else size
                yield Statement(text[match.start() : at].split(), tuple(path), number, block=False)
                continue
            if not words:
                begun = number
            if len(words) < WORDS:
                words.append(word)
            if joined and match[3] is not None:
                depth += word.count("(") - word.count(")")
            continue
        mark = match[2]
        if mark is None or (joined and depth > 0):
            continue
        if mark == "{":
            if len(path) >= DEPTH:
                raise ValueError(f"line {number}: more than {DEPTH} braces in braces")
            yield Statement(words, tuple(path), begun if words else number, block=True)
            path.append(" ".join(words))
        elif words:
            yield Statement(words, tuple(path), begun, block=False)
        if mark == "}":
            if not path:
                raise ValueError(f"line {number}: a closing brace without a block")
            path.pop()
        words = []
        depth = 0
    if path or words:
        raise ValueError(f"line {line}: a statement does not end")
