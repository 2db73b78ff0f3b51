"""The part of Go's template language that charts are written in, read: texts and actions, blocks, pipelines.

Conditions, loops, `with`, variables, named templates (`define`, `template`, `block`), white space trimmed by dashes.

Source: Go text/template, "Actions", "Pipelines", "Variables", "Nested template definitions".
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .helm_values import NotRendered, Value

MAX_NESTED = 30
"""Templates, blocks and parentheses in one another."""
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)|(?P<close>-?\}\})|(?P<comment>/\*.*?\*/)|(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<raw>`[^`]*`)
    |(?P<number>[+-]?\d+(?:\.\d+)?(?![\w.]))|(?P<assign>:?=)|(?P<mark>[|(),])|(?P<variable>\$\w*)
    |(?P<field>\.[A-Za-z_]\w*)|(?P<dot>\.)|(?P<word>[A-Za-z_]\w*)""",
    re.DOTALL | re.VERBOSE,
)
_OPEN = re.compile(r"\{\{(-(?=[ \t\r\n]))?")


class Token(NamedTuple):
    """A piece of an action."""

    kind: str
    text: str
    spaced: bool
    """White space stands before it."""


class Operand(NamedTuple):
    """Something that has a value: a constant, the dot, a variable, a function, a pipeline; and fields of it."""

    kind: str
    value: Value
    fields: tuple[str, ...] = ()


Command = list[Operand]
"""A value, or a function with its arguments."""


class Pipeline(NamedTuple):
    """Commands, each of which gets the value of the one before as its last argument; and the variables that are set."""

    commands: list[Command]
    names: tuple[str, ...] = ()
    declares: bool = True
    """Sets new variables; else those that are there."""


@dataclass
class Statement:
    """A piece of a template: text, or an action with what it encloses."""

    kind: str
    line: int
    text: str = ""
    pipeline: Pipeline | None = None
    body: list[Statement] = field(default_factory=list)
    other: list[Statement] = field(default_factory=list)


class _Actions:
    """The text of a template as a sequence of texts and actions."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.line = 1
        self.trim = False
        self.action = ""

    def next(self) -> tuple[str, list[Token] | None]:
        """Return the text up to the next action, and the action; None at the end."""
        opened = _OPEN.search(self.source, self.at)
        text = self.source[self.at : opened.start() if opened else len(self.source)]
        kept = text.lstrip(" \t\r\n") if self.trim else text
        self.line += text.count("\n")
        if opened is None:
            self.at = len(self.source)
            return kept, None
        if opened[1]:
            kept = kept.rstrip(" \t\r\n")
        tokens: list[Token] = []
        at, spaced = opened.end(), False
        while True:
            found = _TOKEN.match(self.source, at)
            if found is None:
                raise NotRendered(f"line {self.line}: {self.source[opened.start() : at + 20]!r} is not read")
            at = found.end()
            kind = found.lastgroup or ""
            if kind == "close":
                self.trim = found[0][0] == "-"
                if self.trim and not spaced:
                    raise NotRendered(f"line {self.line}: no blank before -}}}}")
                break
            if kind not in ("space", "comment"):
                tokens.append(Token(kind, found[0], spaced))
            spaced = kind == "space"
        self.action = self.source[opened.start() : at]
        self.at = at
        return kept, tokens


class Templates:
    """Named templates of a chart and its subcharts."""

    def __init__(self) -> None:
        self.named: dict[str, list[Statement]] = {}

    def read(self, source: str) -> list[Statement]:
        """Read a template; what it defines is kept under its name.

        Raises:
            NotRendered: it is not of the language, or nested too deep.
        """
        actions = _Actions(source)
        body, end, _ = self._body(actions, 0)
        if end:
            raise NotRendered(f"line {actions.line}: {end} without a beginning")
        return body

    def _body(self, actions: _Actions, depth: int) -> tuple[list[Statement], str, list[Token]]:
        """Read statements up to `end`, `else` or the end; return them, which it was, and what stands behind it."""
        if depth > MAX_NESTED:
            raise NotRendered(f"line {actions.line}: nested deeper than {MAX_NESTED}")
        found: list[Statement] = []
        while True:
            text, tokens = actions.next()
            if text:
                found.append(Statement("text", actions.line, text))
            if tokens is None:
                return found, "", []
            line = actions.line
            actions.line += actions.action.count("\n")
            if not tokens:
                continue  # a comment
            word = tokens[0].text if tokens[0].kind == "word" else ""
            try:
                if word in ("end", "else"):
                    return found, word, tokens[1:]
                if word in ("if", "range", "with", "define", "block"):
                    statement = self._block(actions, word, tokens[1:], line, depth)
                    if statement is not None:
                        found.append(statement)
                elif word in ("break", "continue"):
                    found.append(Statement(word, line))
                elif word == "template":
                    found.append(_template(tokens[1:], line))
                else:
                    found.append(Statement("action", line, pipeline=_Parser(tokens).whole()))
            except NotRendered as error:
                raise on_line(error, line) from None

    def _block(self, actions: _Actions, word: str, tokens: list[Token], line: int, depth: int) -> Statement | None:
        if word in ("define", "block"):
            name = _constant(tokens[0]) if tokens else ""
            body, end, _ = self._body(actions, depth + 1)
            if end != "end":
                raise NotRendered(f"{word} without end")
            self.named[name] = body
            return _template(tokens, line) if word == "block" else None
        statement = Statement(word, line, pipeline=_Parser(tokens).whole())
        statement.body, end, behind = self._body(actions, depth + 1)
        if end == "else" and behind and behind[0].text in ("if", "with"):
            inner = self._block(actions, behind[0].text, behind[1:], actions.line, depth + 1)
            statement.other = [inner] if inner else []
            return statement
        if end == "else":
            statement.other, end, _ = self._body(actions, depth + 1)
        if end != "end":
            raise NotRendered(f"{word} without end")
        return statement


def on_line(error: NotRendered, line: int) -> NotRendered:
    """Return an error that names the innermost line that it happened on."""
    return error if str(error).startswith("line ") else NotRendered(f"line {line}: {error}")


def _constant(token: Token) -> Value:
    if token.kind == "raw":
        return token.text[1:-1]
    if token.kind != "text":
        raise NotRendered("a text is wanted")
    try:
        return json.loads(token.text, strict=False)
    except ValueError:
        raise NotRendered(f"the text {token.text[:40]} is not read") from None


def _template(tokens: list[Token], line: int) -> Statement:
    if not tokens:
        raise NotRendered("template without a name")
    pipeline = _Parser(tokens[1:]).whole() if len(tokens) > 1 else None
    return Statement("template", line, _constant(tokens[0]), pipeline)


class _Parser:
    """Reads the tokens of one pipeline."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def whole(self) -> Pipeline:
        """Return the pipeline, with the variables that it sets."""
        names: list[str] = []
        count = 0
        while count < len(self.tokens) and self.tokens[count].kind == "variable":
            names.append(self.tokens[count].text)
            count += 1
            if count < len(self.tokens) and self.tokens[count].text == ",":
                count += 1
        if names and count < len(self.tokens) and self.tokens[count].kind == "assign":
            self.at = count + 1
            declares = self.tokens[count].text == ":="
        else:
            names, declares = [], True
        commands = self._pipeline(0)
        if self.at < len(self.tokens):
            raise NotRendered(f"{self.tokens[self.at].text} is not expected")
        return Pipeline(commands, tuple(names), declares)

    def _pipeline(self, depth: int) -> list[Command]:
        if depth > MAX_NESTED:
            raise NotRendered(f"nested deeper than {MAX_NESTED}")
        commands: list[Command] = [[]]
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.text == ")" and token.kind == "mark":
                break
            self.at += 1
            if token.text == "|" and token.kind == "mark":
                commands.append([])
            else:
                commands[-1].append(self._operand(token, depth))
        if not all(commands):
            raise NotRendered("a value is missing")
        return commands

    def _operand(self, token: Token, depth: int) -> Operand:
        kind, text = token.kind, token.text
        if kind == "mark" and text == "(":
            inner = self._pipeline(depth + 1)
            if self.at >= len(self.tokens):
                raise NotRendered("a parenthesis is not closed")
            self.at += 1
            return Operand("pipeline", inner, self._fields())
        if kind in ("text", "raw"):
            return Operand("constant", _constant(token))
        if kind == "number":
            return Operand("constant", float(text) if "." in text else int(text[:30]))
        if kind == "variable":
            return Operand("variable", text, self._fields())
        if kind == "field":
            return Operand("dot", None, (text[1:], *self._fields()))
        if kind == "dot":
            return Operand("dot", None)
        if kind == "word":
            constants = {"true": True, "false": False, "nil": None}
            return Operand("constant", constants[text]) if text in constants else Operand("function", text)
        raise NotRendered(f"{text} is not expected")

    def _fields(self) -> tuple[str, ...]:
        found = []
        while self.at < len(self.tokens) and self.tokens[self.at].kind == "field" and not self.tokens[self.at].spaced:
            found.append(self.tokens[self.at].text[1:])
            self.at += 1
        return tuple(found)
