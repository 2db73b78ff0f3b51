"""The lines of Apache HTTP Server configurations, .htaccess files, and the variables that its start script sets.

Source: httpd.apache.org 2.4, "Configuration Files" (lines, continuation, comments, sections); ap_cfg_getline and
ap_build_config of the server; `envvars` as apachectl reads it (assignments only). What the lines come to:
`apache_settings`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.service import Directive

from .base import Content, ContentInspector
from .blocks import DEPTH, MOST, is_foreign, is_secret, section
from .late import late
from .secrecy import WITHHELD, withhold

DIALECT = "apache"
ENVIRONMENT = "apache-envvars"

NAMED = frozenset({"setenv", "define", "setenvif", "dbdparams"})
"""Directives that give a value to a name, which may say that it is secret."""

_PATH = late(r"\.(?:conf|load|htaccess)$|/envvars$|/(?:sites|conf|mods)-(?:available|enabled)/[^/]+$|/conf\.d/[^/]+$")
_SECTION = late(r"<\s*+([A-Za-z][\w.-]*+)\s*+(.*?)\s*>$", re.DOTALL)
_WORD = late(r""""((?:[^"\\]|\\.)*+)"|'((?:[^'\\]|\\.)*+)'|(\S+)""", re.DOTALL)
_ASSIGNMENT = late(r"""\s*(?:export\s+)?([A-Za-z_]\w*)=("[^"]*"|'[^']*'|[^\s;'"]*)\s*(?:;.*|\#.*)?$""")
_ESCAPE = late(r"""\\(["'])""")


def wants_path(path: str) -> bool:
    """Tell whether a file is a configuration of the server, or is usually included by one."""
    if "/apache" in path or "/httpd/" in path:
        return _PATH.search(path) is not None and not is_foreign(path)
    return "/.htaccess" in path and path.endswith("/.htaccess")


def words(value: str, most: int = 64) -> list[str]:
    """Return the arguments of a directive, without their quotes; at most `most`."""
    found = []
    for match in _WORD.finditer(value):
        quoted = match[1] if match[1] is not None else match[2]
        found.append(match[3] if quoted is None else _ESCAPE.sub(r"\1", quoted))
        if len(found) == most:
            break
    return found


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line; a section's opening as key `<name`, what stands in it with its way as section.

    Raises:
        ValueError: the text is not a configuration from some line on; what stands before it has been yielded.
    """
    text = content.text()
    if text.startswith("#!") or "\nexport APACHE_" in text:
        yield from _environment(text)
        return
    sections: list[tuple[str, str | None]] = []
    joined, start, made = "", 1, 0
    for number, raw in enumerate(text.split("\n"), 1):
        start = start if joined else number
        if raw.endswith(("\\", "\\\r")):
            joined += raw.rstrip("\r")[:-1]
            continue
        line, joined = (joined + raw).strip(), ""
        if not line or line[0] == "#":
            continue
        outer = sections[-1][1] if sections else None
        if line.startswith("</"):
            name = line[2:].rstrip("> \t").lower()
            if not sections or sections[-1][0] != name:
                raise ValueError(f"line {start}: </{name[:40]}> without its beginning")
            sections.pop()
            continue
        opened = None
        if line[0] == "<":
            if (opened := _SECTION.match(line)) is None:
                raise ValueError(f"line {start}: a section without '>'")
            key, value = f"<{opened[1].lower()}", withhold(opened[2])
        elif line[0].isalpha() or line[0] == "_":
            key, _, value = line.partition(" ") if "\t" not in line else line.replace("\t", " ").partition(" ")
            key, value = key.lower(), _value(key.lower(), value.strip())
        else:
            raise ValueError(f"line {start}: not a directive")
        made += 1
        if made > MOST:
            raise ValueError(f"line {start}: more than {MOST} directives")
        yield Directive(dialect=DIALECT, section=outer, key=key, value=value, line=start)
        if opened:
            if len(sections) >= DEPTH:
                raise ValueError(f"line {start}: more than {DEPTH} sections in sections")
            sections.append((key[1:], section(outer, key, value, start)))
    if sections or joined:
        raise ValueError("the file ends within a section or line")


def _value(key: str, value: str) -> str:
    if is_secret(key) and key != "sslpassphrasedialog":
        return WITHHELD
    if key in NAMED or key in ("header", "requestheader"):
        for match in _WORD.finditer(value):
            if is_secret(match[0].strip("\"'")) and value[match.end() :].strip():
                return f"{value[: match.end()]} {WITHHELD}"
    return withhold(value)


def _environment(text: str) -> Iterator[Directive]:
    for number, line in enumerate(text.split("\n")[:MOST], 1):
        if match := _ASSIGNMENT.match(line):
            value = WITHHELD if is_secret(match[1]) else withhold(match[2].strip("\"'"))
            yield Directive(dialect=ENVIRONMENT, key=match[1], value=value, line=number)


INSPECTOR = ContentInspector(
    name="apache-config",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/apache", "/httpd/", "/.htaccess"),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=(
        "configurations whose path does not name apache or httpd, even where one that is read includes them",
        "what the start script's shell commands do beyond assignments",
    ),
)
