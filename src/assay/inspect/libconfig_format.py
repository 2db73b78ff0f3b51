"""libconfig files (groups, lists, arrays of scalars) as a flat list of scalars with their places.

Parsed without recursion, and with line numbers, which Python readers of the format do not keep. Reference: manual of
libconfig 1.7, "Configuration Files" and its grammar; a missing semicolon is accepted as there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .late import late

MAX_DEPTH = 64
"""Groups and lists inside each other."""
MAX_SCALARS = 50_000
MAX_PATH = 256
"""Characters of a path: each scalar has one, so that long names may not multiply."""

_TOKEN = late(
    r"""(?P<line>\n)|(?P<blank>[ \t\r\f\v]+|\#[^\n]*|//[^\n]*)|"(?P<string>(?:[^"\\]|\\.)*+)"|(?P<word>[\w.+*-]+)"""
    r"""|(?P<include>@include)|(?P<mark>.)""",
    re.DOTALL,
)
_CLOSES = {"}": "{", ")": "(", "]": "["}


def scalars(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield (path, scalar, line) in the order of the text; a path is `gNBs[0].plmn_list[0].mcc`.

    Strings come without quotes, numbers and booleans as written. An include is the path `@include` with its file name.

    Raises:
        ValueError: the text is not of this format, or has more than a limit allows; scalars before have been yielded.
    """
    opened: list[tuple[str, str, int]] = []
    """Groups and lists around: mark, path, position of the next element."""
    name: str | None = None
    held: str | None = None
    """A name that waits for its '=' or ':'."""
    at, line, count = 0, 1, 0
    including = False
    while at < len(text):
        if text.startswith("/*", at):
            close = text.find("*/", at + 2)
            if close < 0:
                raise ValueError(f"comment at line {line} does not end")
            line += text.count("\n", at, close)
            at = close + 2
            continue
        match = _TOKEN.match(text, at)
        assert match is not None  # any character is a mark
        at, kind, found = match.end(), match.lastgroup, match[0]
        here = line
        line += found.count("\n")
        if kind in ("line", "blank"):
            continue
        if kind == "include":
            including = True
        elif kind == "mark" and found in "=:":
            if held is None:
                raise ValueError(f"'{found}' without a name at line {here}")
            name, held = held, None
        elif kind == "mark" and found in ";,":
            if held is not None:
                raise ValueError(f"'{held[:40]}' at line {here} has no value")
            name = None
        elif kind == "mark" and found in "{([":
            if held is not None or len(opened) >= MAX_DEPTH:
                raise ValueError(f"'{found}' not expected, or more than {MAX_DEPTH} levels, at line {here}")
            opened.append((found, _path(opened, name), 0))
            name = None
        elif kind == "mark" and found in "})]":
            if not opened or opened.pop()[0] != _CLOSES[found]:
                raise ValueError(f"'{found}' not expected at line {here}")
            name = None
        elif kind == "mark":
            raise ValueError(f"{found!r} not expected at line {here}")
        else:
            value = re.sub(r'\\(["\\])', r"\1", match["string"]) if kind == "string" else found
            if including:
                including = False
                yield "@include", value, here
            elif name is not None or (opened and opened[-1][0] != "{"):
                count += 1
                if count > MAX_SCALARS:
                    raise ValueError(f"more than {MAX_SCALARS} values")
                yield _path(opened, name), value, here
                name = None
            elif kind == "word" and held is None:
                held = found[: MAX_PATH + 1]
            else:
                raise ValueError(f"value without a name at line {here}")
    if opened or held is not None or name is not None:
        raise ValueError("the text ends inside a setting")


def _path(opened: list[tuple[str, str, int]], name: str | None) -> str:
    """Return the path of what comes next, and count it if it is an element."""
    if not opened:
        return (name or "")[:MAX_PATH]
    mark, path, position = opened[-1]
    if len(path) + len(name or "") > MAX_PATH:
        raise ValueError(f"a setting's path has more than {MAX_PATH} characters")
    if mark == "{":
        return f"{path}.{name}" if path else name or ""
    opened[-1] = mark, path, position + 1
    return f"{path}[{position}]"
