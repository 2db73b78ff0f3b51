"""The lines of nginx configurations: main files and what they usually include.

Source: ngx_conf_file.c (how words, quotes, comments and blocks are read) of nginx 1.0 to 1.28; nginx.org, beginner's
guide, "Configuration File's Structure". Contents of map, geo, types and Lua blocks are data or code, and are passed
over. What the lines come to: `nginx_settings`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.service import Directive

from .base import Content, ContentInspector
from .blocks import DEPTH, MOST, is_foreign, is_secret, section
from .late import late
from .secrecy import WITHHELD, withhold

DIALECT = "nginx"

DATA = frozenset({"charset_map", "geo", "map", "match", "split_clients", "types"})
"""Blocks whose lines are values, not directives."""

NAMED = frozenset({"add_header", "env", "fastcgi_param", "grpc_set_header", "proxy_set_header", "scgi_param", "set"})
"""Directives that give a value to a name, which may say that it is secret."""

_TOKEN = late(
    r"""(?P<gap>(?:\s++|\#[^\n]*+)++)|(?P<mark>[;{}])|(?P<quoted>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')"""
    r"""|(?P<bare>(?!["'])(?:\\.|\$\{|[^\s;{\\])++)""",
    re.DOTALL,
)
_LUA = late(r"""--\[\[.*?\]\]|--[^\n]*+|\[\[.*?\]\]|"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+'|[{}]""", re.DOTALL)
_PATH = late(
    r"\.(?:conf|conf\.default|conf\.template|inc|locations?|template|upstreams?|vhost)$|_params$"
    r"|/(?:conf\.d|modules-(?:available|enabled)|sites-(?:available|enabled)|snippets|vhosts?(?:\.d)?)/[^/]+$"
)
_ESCAPE = late(r"""\\(["'\\trn])""")
_ESCAPED = {"t": "\t", "r": "\r", "n": "\n"}


def wants_path(path: str) -> bool:
    """Tell whether a file is a configuration of nginx, or of a server made of it, or is usually included by one."""
    return ("nginx" in path or "/openresty/" in path) and _PATH.search(path) is not None and not is_foreign(path)


def words(value: str, most: int = 64) -> list[str]:
    """Return the arguments of a directive, without their quotes; at most `most`."""
    found: list[str] = []
    for match in _TOKEN.finditer(value):
        kind, text = match.lastgroup, match[0]
        if kind != "gap":
            text = text[1:-1] if kind == "quoted" else text
            found.append(_ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]), text))
            if len(found) == most:
                break
    return found


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line or block, in order; a block's section is what stands in `blocks`.

    Raises:
        ValueError: the text is not a configuration from some line on; what stands before it has been yielded.
    """
    text = content.text().removeprefix("\ufeff")
    sections: list[str | None] = [None]
    tokens: list[str] = []
    line = start = 1
    at = counted = skip = made = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        line, counted = line + text.count("\n", counted, at), at
        if match is None:
            raise ValueError(f"line {line}: a quoted text or an escape has no end")
        kind, token = match.lastgroup, match[0]
        at = match.end()
        if kind == "gap":
            continue
        if kind != "mark":
            start = start if tokens else line
            tokens.append(token)
            continue
        if token == "}":  # noqa: S105 - not a password
            if tokens or len(sections) == 1:
                raise ValueError(f"line {line}: unexpected '}}'")
            sections.pop()
            skip -= skip > 0
            continue
        if not tokens:
            raise ValueError(f"line {line}: unexpected '{token}'")
        key, outer = tokens[0], sections[-1]
        value = _value(key, tokens[1:])
        tokens = []
        if not skip:
            made += 1
            if made > MOST:
                raise ValueError(f"line {line}: more than {MOST} directives")
            yield Directive(dialect=DIALECT, section=outer, key=key, value=value, line=start)
        if token == "{":  # noqa: S105
            if len(sections) > DEPTH:
                raise ValueError(f"line {line}: more than {DEPTH} blocks in blocks")
            if key.endswith("_by_lua_block"):
                at = _lua_end(text, at, line)
                continue
            skip += skip > 0 or key in DATA
            sections.append(section(outer, key, value, start))
    if tokens or len(sections) > 1:
        raise ValueError(f"line {line}: the file ends within a directive or block")


def _value(key: str, arguments: list[str]) -> str:
    if key in NAMED and len(arguments) > 1:
        if "$" not in arguments[1] and is_secret(arguments[0].lstrip("$").strip("\"'")):
            arguments = [arguments[0], WITHHELD, *arguments[2:]]
    elif key == "secure_link_secret":
        arguments = [WITHHELD]
    return withhold(" ".join(arguments))


def _lua_end(text: str, at: int, line: int) -> int:
    """Return where a block of Lua code ends, which began before `at`."""
    depth = 1
    for match in _LUA.finditer(text, at):
        depth += (match[0] == "{") - (match[0] == "}")
        if not depth:
            return match.end()
    raise ValueError(f"line {line}: a block of Lua code has no end")


INSPECTOR = ContentInspector(
    name="nginx-config",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("nginx", "/openresty/"),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=(
        "configurations whose path does not name nginx, even where one that is read includes them",
        "what Lua, Perl and JavaScript code in a configuration does",
        "contents of map, geo, split_clients and types blocks",
    ),
)
