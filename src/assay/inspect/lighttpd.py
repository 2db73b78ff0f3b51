"""The lines of lighttpd configurations: assignments, conditions, includes.

Source: redmine.lighttpd.net, "Configuration"; configfile.c and configparser.y of lighttpd 1.4.20 to 1.4.79. What the
lines come to: `lighttpd_settings`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.service import Directive

from .base import Content, ContentInspector
from .blocks import DEPTH, MOST, is_foreign, is_secret, section
from .late import late
from .secrecy import WITHHELD, withhold

DIALECT = "lighttpd"

TOKEN = late(
    r"""(?P<gap>(?:[ \t\r]++|\#[^\n]*+)++)|(?P<end>\n)|(?P<text>"(?:[^"\\]|\\.)*+"|'[^'\n]*+')"""
    r"""|(?P<mark>=>|\+=|:=|==|!=|=~|!~|=\^|=\$|[={}(),+\[\]])|(?P<word>\$?[A-Za-z0-9_.:/*-]++)""",
    re.DOTALL,
)
_PATH = late(r"\.(?:conf|inc)$")
_KEYS = late(r'("[^"]*")\s*=>\s*("(?:[^"\\]|\\.)*")')


def wants_path(path: str) -> bool:
    """Tell whether a file is a configuration of the server, or is usually included by one."""
    return "lighttpd" in path and _PATH.search(path) is not None and not is_foreign(path)


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an assignment, include or block.

    The key of an assignment that appends (+=) or replaces (:=) is followed by its sign; a block's key is its condition,
    `else` before it where it stands so, or `global`. Values are as written, in one line.

    Raises:
        ValueError: the text is not a configuration from some line on; what stands before it has been yielded.
    """
    text = content.text()
    outer: list[str | None] = [None]
    at, line, made, depth = 0, 1, 0, 0
    tokens: list[str] = []
    start = 1
    while at <= len(text):
        match = TOKEN.match(text, at) if at < len(text) else None
        if match is None and at < len(text):
            raise ValueError(f"line {line}: not a configuration: {text[at : at + 20]!r}")
        kind, piece = (match.lastgroup, match[0]) if match else ("end", "\n")
        at = match.end() if match else at + 1
        here, line = line, line + piece.count("\n") * (match is not None)
        if kind == "gap":
            continue
        if kind != "end" and piece not in "{}":
            start = start if tokens else here
            tokens.append(piece)
            depth += (piece in "([") - (piece in ")]")
            continue
        if (piece == "}" and tokens and not depth) or (kind == "end" and tokens and depth <= 0 and _whole(tokens)):
            made += 1
            if made > MOST:
                raise ValueError(f"line {here}: more than {MOST} directives")
            yield _directive(tokens, outer[-1], start)
            tokens = []
        if piece == "{":
            if len(outer) > DEPTH or not tokens or depth:
                raise ValueError(f"line {here}: unexpected '{{'")
            key, value = _condition(tokens, start)
            made += 1
            yield Directive(dialect=DIALECT, section=outer[-1], key=key, value=value, line=start)
            outer.append(section(outer[-1], key, value, start))
            tokens = []
        elif piece == "}":
            if len(outer) == 1 or tokens:
                raise ValueError(f"line {here}: unexpected '}}'")
            outer.pop()
    if len(outer) > 1 or tokens:
        raise ValueError(f"line {line}: the file ends within a block or value")


def _whole(tokens: list[str]) -> bool:
    """Tell whether a line's end ends a directive: not behind an operator, nor where a block has to follow."""
    if tokens[0] in ("else", "elseif", "elsif", "global") or tokens[0].startswith("$"):
        return False
    return tokens[-1] not in ("=", "+=", ":=", "+", "=>", ",") and len(tokens) > 1


def _condition(tokens: list[str], line: int) -> tuple[str, str]:
    if tokens in (["global"], ["else"]):
        return tokens[0], ""
    text = " ".join(tokens).replace(" [ ", "[").replace(" ]", "]")
    sign = next((n for n, token in enumerate(tokens) if token in ("==", "!=", "=~", "!~", "=^", "=$")), None)
    if sign is None or "$" not in text:
        raise ValueError(f"line {line}: not a condition: {text[:60]}")
    return " ".join(tokens[:sign]).replace(" [ ", "[").replace(" ]", "]"), " ".join(tokens[sign:])


def _directive(tokens: list[str], outer: str | None, line: int) -> Directive:
    key, *rest = tokens
    if key in ("include", "include_shell"):
        value = " ".join(rest)
    elif len(rest) > 1 and rest[0] in ("=", "+=", ":="):
        value = " ".join(rest[1:]).replace("( ", "(").replace(" )", ")").replace(" ,", ",")
        if is_secret(key):
            value = WITHHELD
        value = _KEYS.sub(lambda m: f'{m[1]} => "{WITHHELD}"' if is_secret(m[1].strip('"')) else m[0], value)
        key = key if rest[0] == "=" else f"{key} {rest[0]}"
    else:
        raise ValueError(f"line {line}: not a directive: {key[:60]}")
    return Directive(dialect=DIALECT, section=outer, key=key, value=withhold(value), line=line)


INSPECTOR = ContentInspector(
    name="lighttpd-config",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("lighttpd",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=("configurations whose path does not name lighttpd, even where one that is read includes them",),
)
