"""Unit files, their drop-ins, presets and D-Bus activation files: what is written in them, line by line.

Source: systemd.syntax(7), systemd.unit(5), systemd.preset(5), D-Bus specification (service description files).
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.service import Directive

from .base import Content, ContentInspector
from .late import late
from .secrecy import withhold

DIALECT = "systemd"

PRESET = "systemd-preset"

UNITS = (".service", ".socket", ".timer", ".path", ".target", ".mount", ".automount", ".swap", ".slice", ".scope")

_SUFFIXES = frozenset(unit[1:] for unit in UNITS)

NAMES_ONLY = frozenset({"Environment", "SetCredential", "SetCredentialEncrypted"})
"""Keys whose values hold arbitrary data of the vendor's, often secrets: only the names are kept."""

_PRESET = late(r"(enable|disable|ignore)\s+(\S.*)")
_NAME = late(r"""(?:^|(?<=[\s"']))([\w.-]{1,256})(?==|:)""")


def wants_path(path: str) -> bool:
    """Tell whether a path looks like a unit, a drop-in, a preset or a D-Bus service."""
    suffix = path.rpartition(".")[2]
    return suffix in _SUFFIXES or (suffix in ("conf", "preset") and "/systemd/" in path)


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an assignment, empty ones (which reset) included; a preset line as dialect systemd-preset."""
    section = None
    for number, line in _lines(content.text()):
        if line[0] == "[" and line[-1] == "]":
            section = line[1:-1]
        elif section is None:
            if found := _PRESET.fullmatch(line):
                yield Directive(dialect=PRESET, key=found[1], value=found[2], line=number)
        else:
            key, equals, value = line.partition("=")
            key, value = key.rstrip(), value.lstrip()
            if not equals or not key:
                continue
            value = " ".join(f"{name}=" for name in _NAME.findall(value)) if key in NAMES_ONLY else withhold(value)
            yield Directive(dialect=DIALECT, section=section, key=key, value=value, line=number)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number of the first line, text) with continued lines joined, without comments and empty lines."""
    parts: list[str] = []
    first = 0
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = raw.strip()
        if not parts:
            first = number
        if line[:1] in ("#", ";") or not (line or parts):
            continue
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        if whole := " ".join([*parts, line]).strip():
            yield first, whole
        parts = []
    if parts and (whole := " ".join(parts).strip()):
        yield first, whole


INSPECTOR = ContentInspector(
    name="systemd",
    version=1,
    families=(Directive,),
    inspect=inspect,
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
)
