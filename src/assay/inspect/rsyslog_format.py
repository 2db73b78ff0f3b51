"""The statements of an rsyslog configuration: RainerScript objects, selector lines, directives with a dollar sign.

Source: rsyslog's own description of its configuration formats (basic, advanced, obsolete legacy) for version 8.

Every statement becomes one `Statement`. An action that a selector line states in the old way is given the parameters
that an `action()` object would have; its name is `line-action`, for old directives before it apply to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .late import late

DEPTH = 60
"""Blocks in blocks; rsyslog itself recurses."""

PIECE = 4000
"""Characters of a condition that are kept."""


class Statement(NamedTuple):
    """One statement."""

    name: str
    """module, input, action, global, ...; line-action; $directive; stop, call; in lower case."""
    parameters: dict[str, str]
    """Names in lower case; elements of an array joined by commas. A directive has one, named `value`."""
    scope: str
    """Rule set and conditions that it stands in."""
    line: int


_BLANK = late(r"(?:\s+|#[^\n]*|/\*.*?\*/)+", re.DOTALL)
_OBJECT = late(
    r"(module|input|action|global|template|include|main_queue|parser|timezone|lookup_table|dyn_stats|percentile_stats|"
    r"ruleset|ratelimit)\s*\(",
    re.IGNORECASE,
)
_PARAMETER = late(r"([A-Za-z][\w.\-]*)\s*=\s*")
_STRING = late(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|`([^`]*)`', re.DOTALL)
_BARE = late(r"""[^\s()\[\]{},#"'`]+""")
_DIRECTIVE = late(r"\$([A-Za-z]\w*)[ \t]*([^\n]*)")
_WORD = late(r"[A-Za-z_]+")
_TO_THEN = late(r"""((?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?!\bthen\b)[^"'])*)\bthen\b""", re.DOTALL)
_TO_END = late(r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^"';])*;""", re.DOTALL)
_PRI = late(r"(?:[*\w,]+\.[!=]*[*\w]+)(?:;[ \t]*[*\w,]+\.[!=]*[*\w]+)*;?(?=\s|[/|@?:~-])")
_PROPERTY = late(r':[$\w.!-]+,[ \t]*!?\w+,?[ \t]*(?:"(?:[^"\\\n]|\\.)*")?')
_REST = late(r"(?:[^\\\n]|\\(?!\n)|\\\n)*")
_BSD = late(r"[!+-][^\s/{][^\n]*")

Scope = tuple[str, bool]
"""A condition, and whether it ends with the next statement rather than with a brace."""


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements of a file in order.

    Raises:
        ValueError: a place where no statement begins, or one that does not end; those before it have been yielded.
    """
    return _Parser(text).run()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.scopes: list[Scope] = []
        self.selector = ""
        self.ended = ""
        self.counted = 0
        self.lines = 1

    def line(self, at: int) -> int:
        self.lines += self.text.count("\n", self.counted, at)
        self.counted = at
        return self.lines

    def fail(self, what: str, at: int) -> ValueError:
        return ValueError(f"line {self.text.count(chr(10), 0, at) + 1}: {what}")

    def blank(self) -> None:
        if match := _BLANK.match(self.text, self.at):
            self.at = match.end()
        if self.text.startswith("/*", self.at):
            raise self.fail("a comment does not end", self.at)

    def scope(self) -> str:
        return " and ".join(text for text, _ in self.scopes if text)

    def done(self) -> None:
        """Close the conditions that held for one statement."""
        while self.scopes and self.scopes[-1][1]:
            self.ended = self.scopes.pop()[0]

    def push(self, text: str, *, once: bool) -> None:
        if len(self.scopes) >= DEPTH:
            raise self.fail(f"more than {DEPTH} blocks in blocks", self.at)
        self.scopes.append((" ".join(text[:PIECE].split()), once))

    def run(self) -> Iterator[Statement]:
        text = self.text
        while True:
            self.blank()
            if self.at >= len(text):
                if any(not once for _, once in self.scopes):
                    raise self.fail("a block does not end", self.at)
                return
            start, char = self.at, text[self.at]
            if char == "{":
                # The braces of a condition: it holds to the closing one.
                if self.scopes and self.scopes[-1][1]:
                    self.scopes[-1] = (self.scopes[-1][0], False)
                else:
                    self.push("", once=False)
                self.at += 1
            elif char == "}":
                if not self.scopes or self.scopes[-1][1]:
                    raise self.fail("a closing brace without a block", start)
                self.ended = self.scopes.pop()[0]
                self.at += 1
                self.done_after_block()
            elif char == "$" and (match := _DIRECTIVE.match(text, start)):
                self.at = match.end()
                value = match[2].split(" #", 1)[0].strip()
                yield Statement(f"${match[1].lower()}", {"value": value}, self.scope(), self.line(start))
            elif match := _OBJECT.match(text, start):
                yield from self.object(match)
            elif char == "&":
                self.at += 1
                self.push(self.selector, once=True)
                yield from self.action()
            elif match := _PRI.match(text, start) or _PROPERTY.match(text, start):
                self.at = match.end()
                self.selector = match[0]
                self.push(self.selector, once=True)
                yield from self.action()
            elif match := _WORD.match(text, start):
                yield from self.word(match)
            elif match := _BSD.match(text, start):
                self.at = match.end()
            else:
                yield from self.action()

    def done_after_block(self) -> None:
        """Close what a block belonged to, unless an `else` follows."""
        while self.scopes and self.scopes[-1][1]:
            self.scopes.pop()

    def word(self, match: re.Match[str]) -> Iterator[Statement]:
        text, start, word = self.text, match.start(), match[0].lower()
        if word == "if":
            found = _TO_THEN.match(text, match.end())
            if found is None:
                raise self.fail("an `if` without `then`", start)
            self.at = found.end()
            self.push(f"if {found[1].strip()}", once=True)
        elif word == "else":
            self.at = match.end()
            self.push(f"else of {self.ended}", once=True)
        elif word in ("set", "unset", "reset"):
            found = _TO_END.match(text, match.end())
            if found is None:
                raise self.fail(f"a `{word}` does not end", start)
            self.at = found.end()
            self.done()
        elif word == "foreach":
            end = text.find("do", match.end())
            if end < 0:
                raise self.fail("a `foreach` without `do`", start)
            self.push(text[start:end], once=True)
            self.at = end + 2
        elif word in ("stop", "continue", "call", "call_indirect", "reload_lookup_table"):
            rest = _REST.match(text, match.end())
            value = re.split(r"[#}]", rest[0], maxsplit=1)[0] if rest else ""
            self.at = match.end() + len(value)
            yield Statement(word, {"value": value.strip(" ;\t")}, self.scope(), self.line(start))
            self.done()
        else:
            yield from self.action()

    def action(self) -> Iterator[Statement]:
        """Read what follows a selector: an object or block (left to the loop), or an action in the old way."""
        text = self.text
        while text.startswith((" ", "\t", "\\\n"), self.at):
            self.at += 2 if text[self.at] == "\\" else 1
        start = self.at
        word = _WORD.match(text, start)
        if text.startswith("{", start) or _OBJECT.match(text, start):
            return
        if word and word[0].lower() in ("stop", "call", "if", "set", "unset", "foreach", "continue", "call_indirect"):
            return
        rest = _REST.match(text, start)
        assert rest is not None
        self.at = max(rest.end(), start + 1)
        told = rest[0].replace("\\\n", "").split(" #", 1)[0].strip()
        yield Statement("line-action", _old(told), self.scope(), self.line(start))
        self.done()

    def object(self, match: re.Match[str]) -> Iterator[Statement]:
        name, start = match[1].lower(), match.start()
        self.at = match.end()
        parameters: dict[str, str] = {}
        while True:
            self.blank()
            if self.text.startswith(")", self.at):
                self.at += 1
                break
            found = _PARAMETER.match(self.text, self.at)
            if found is None:
                raise self.fail(f"{name}(): a parameter was expected", self.at)
            self.at = found.end()
            parameters[found[1].lower()] = self.value(name)
        number = self.line(start)
        if name == "ruleset":
            yield Statement(name, parameters, self.scope(), number)
            self.push(f"ruleset {parameters.get('name', '')}", once=True)
            return
        yield Statement(name, parameters, self.scope(), number)
        if name == "template":
            self.blank()
            if self.text.startswith("{", self.at):
                self.skip()
        self.done()

    def value(self, name: str) -> str:
        if match := _STRING.match(self.text, self.at):
            self.at = match.end()
            if match[3] is not None:
                return f"`{match[3]}`"
            return re.sub(r"\\(.)", r"\1", match[1] if match[1] is not None else match[2], flags=re.DOTALL)
        if self.text.startswith("[", self.at):
            self.at += 1
            found: list[str] = []
            while True:
                self.blank()
                if self.text.startswith("]", self.at):
                    self.at += 1
                    return ",".join(found)
                if self.text.startswith(",", self.at):
                    self.at += 1
                else:
                    found.append(self.element(name))
        if match := _BARE.match(self.text, self.at):
            self.at = match.end()
            return match[0]
        raise self.fail(f"{name}(): a value was expected", self.at)

    def element(self, name: str) -> str:
        if self.text.startswith("[", self.at):
            raise self.fail(f"{name}(): an array in an array", self.at)
        return self.value(name)

    def skip(self) -> None:
        """Pass over a template's list of properties and constants."""
        depth = 0
        while self.at < len(self.text):
            self.blank()
            if match := _STRING.match(self.text, self.at):
                self.at = match.end()
                continue
            char = self.text[self.at : self.at + 1]
            depth += (char == "{") - (char == "}")
            self.at += 1
            if depth == 0:
                return
        raise self.fail("a template does not end", self.at)


_FORWARD = late(r"(@@?)(?:\(([^)]*)\))?(\[[^\]]*\]|[^:;\s]*)(?::([^;\s]*))?")


def _old(told: str) -> dict[str, str]:
    """Return an action that a selector line states, as parameters."""
    if found := _FORWARD.match(told):
        protocol = "tcp" if found[1] == "@@" else "udp"
        options = {"options": found[2]} if found[2] else {}
        return {
            "type": "omfwd",
            "target": found[3].strip("[]"),
            "port": found[4] or "514",
            "protocol": protocol,
        } | options
    if told[:1] in ("/", "-"):
        return {"type": "omfile", "file": told.lstrip("-").split(";", 1)[0].strip()}
    if told[:1] == "?":
        return {"type": "omfile", "dynafile": told[1:].split(";", 1)[0].strip()}
    if told[:1] == "|":
        return {"type": "ompipe", "pipe": told[1:].split(";", 1)[0].strip()}
    if told[:1] == "^":
        return {"type": "omprog", "binary": told[1:].split(";", 1)[0].strip()}
    if told == "~":
        return {"type": "discard"}
    if told[:1] == ":":
        kind, _, rest = told[1:].partition(":")
        # Behind a database's name stand its account and password.
        return {"type": kind.lower(), "value": rest.split(",", 1)[0] if kind.lower() != "omusrmsg" else rest}
    if told[:1] == ">":
        return {"type": "ommysql", "value": told[1:].split(",", 1)[0]}
    return {"type": "omusrmsg", "users": told[:PIECE]}
