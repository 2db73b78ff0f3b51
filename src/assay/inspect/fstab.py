"""File system tables: what is to be mounted where, line by line.

Source: fstab(5) of util-linux 2.38; a line that libmount would pass over is kept as such.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.service import Directive

from .base import Content, ContentInspector
from .late import late
from .secrecy import withhold

DIALECT = "fstab"

INVALID = "invalid"
"""Key of a line with fewer than three fields, which mount(8) passes over with a warning."""

_PATH = late(r"(?<![^\s,])(?:cred(?:entials)?|keyfile|key)=/[^\s,]*")
_OCTAL = late(r"\\([0-7]{3})")


def unescape(field: str) -> str:
    r"""Return a field with its octal escapes resolved (\040 is a blank)."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8) & 0xFF), field) if "\\" in field else field


def _withhold(line: str) -> str:
    """Withhold secrets of a line, but not the path of a file that holds them."""
    kept, position = [], 0
    for path in _PATH.finditer(line):
        kept += [withhold(line[position : path.start()]), path[0]]
        position = path.end()
    return "".join([*kept, withhold(line[position:])])


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line: section the mount point (escapes resolved), key "mount", value the whole line."""
    for number, line in enumerate(content.text().split("\n"), 1):
        fields = line.split()
        if not fields or fields[0][0] == "#":
            continue
        value = _withhold(" ".join(fields))
        if len(fields) < 3:
            yield Directive(dialect=DIALECT, key=INVALID, value=value, line=number)
        else:
            yield Directive(dialect=DIALECT, section=unescape(fields[1]), key="mount", value=value, line=number)


INSPECTOR = ContentInspector(
    name="fstab",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/fstab",),
    wants_path=lambda path: path.endswith("/fstab"),
    max_size=1 << 20,
    text_only=True,
    unseen=(
        "file systems that a script mounts, and what `mount` is told on a command line",
        "OpenWrt's /etc/config/fstab, which is written in another language",
    ),
)
