"""Options of services as distributions keep them: /etc/default/NAME, /etc/sysconfig/NAME, /etc/conf.d/NAME.

Source: systemd.exec(5), "EnvironmentFile="; Debian Policy 9.3.2. Also OpenWrt's /etc/config/NAME (UCI: `config TYPE
NAME`, `option KEY VALUE`, `list KEY VALUE`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.service import Directive

from .base import Content, ContentInspector, Tree, TreeFile
from .late import late
from .secrecy import WITHHELD, withhold

DIALECT = "environment"

UCI = "uci"

PLACES = ("/etc/default/", "/etc/sysconfig/", "/etc/conf.d/")

_ASSIGNMENT = late(r"""(?:export\s+)?([A-Za-z_]\w*)=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S*))""")
_SECRET = late(r"passw|passphrase|secret|token|api_?key|(?:^|_)(?:pass|psk|key)$", re.IGNORECASE)
_UCI = late(r"""(config|option|list)\s+(\S+)(?:\s+(?:'([^']*)'|"([^"]*)"|(\S+)))?""")


def wants_path(path: str) -> bool:
    """Tell whether a path is one of the places' files."""
    return path.startswith("/etc/") and path.startswith((*PLACES, "/etc/config/")) and path.count("/") == 3


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an assignment; of UCI files one an option, section its type and name."""
    section: str | None = None
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        if found := _ASSIGNMENT.match(line):
            value = next((group for group in found.groups()[1:] if group is not None), "")
            value = _shown(found[1], value)
            yield Directive(dialect=DIALECT, key=found[1], value=value, line=number)
        elif found := _UCI.match(line):
            value = next((group for group in found.groups()[2:] if group is not None), "")
            key = found[2].strip("\"'")
            if found[1] == "config":
                section = f"{key} {value}".strip()
                yield Directive(dialect=UCI, section=section, key="config", value=section, line=number)
            else:
                yield Directive(dialect=UCI, section=section, key=key, value=_shown(key, value), line=number)


def _shown(name: str, value: str) -> str:
    """Return a value without secrets; a switch is none, whatever its name."""
    if value.lower() in ("", "0", "1", "on", "off", "yes", "no", "true", "false"):
        return value
    return WITHHELD if _SECRET.search(name) else withhold(value)


def variables(tree: Tree, name: str) -> dict[str, tuple[str, TreeFile, int | None]]:
    """Return the variables that the files of a service set: value, file, line; the last one wins.

    Args:
        tree: the tree.
        name: of the file, as dropbear.
    """
    found: dict[str, tuple[str, TreeFile, int | None]] = {}
    for place in PLACES:
        file = tree.lookup(f"{place}{name}")
        if file is not None and file.type != "directory":
            for line in tree.facts(Directive, file):
                if line.dialect == DIALECT:
                    found[line.key] = line.value, file, line.line
    return found


INSPECTOR = ContentInspector(
    name="environment-file",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/etc/",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=("What a shell would make of a value: variables in it, commands, lines behind a condition.",),
)
