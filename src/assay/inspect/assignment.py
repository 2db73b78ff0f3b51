"""Assignments as a shell reads them, in files that shells read (/etc/default/*, /etc/sysconfig/*).

Source: POSIX.1-2017 shell command language, 2.2 quoting and 2.9.1 simple commands. Nothing is run: what needs a command
or a variable that is not set in the same files stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .dropins import joined
from .late import late

_ASSIGNMENT = late(r"\s*(?:export\s+)?([A-Za-z_]\w{0,255})(\+?)=(.*)", re.DOTALL)
_PIECE = late(
    r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|(`[^`]*`|\$\([^()]*\)|[^\s'"\\;&|#`$]+|[`$]|(?<=\S)#)""", re.DOTALL
)
_ESCAPED = late(r'\\([$`"\\])')
_VARIABLE = late(r"\$(?:\{(\w+)\}|(\w+))")

LONGEST = 1 << 16
"""Characters that a value may grow to by the variables in it."""


def assignments(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, name, value as the shell would unquote it, variables as written); `name+=` keeps its plus sign."""
    for number, line in joined(text):
        found = _ASSIGNMENT.match(line)
        if found is None:
            continue
        rest, position, value = found[3], 0, []
        while piece := _PIECE.match(rest, position):
            single, double, escaped, bare = piece.groups()
            if double is not None:
                value.append(_ESCAPED.sub(r"\1", double) if "\\" in double else double)
            else:
                value.append(single if single is not None else escaped if escaped is not None else bare)
            position = piece.end()
        yield number, found[1] + found[2], "".join(value)


def fill(value: str, known: Mapping[str, str]) -> str:
    """Return a value with the variables filled in that are known."""
    if "$" not in value:
        return value
    filled = _VARIABLE.sub(lambda match: known.get(match[1] or match[2], match[0]), value)
    return filled if len(filled) <= LONGEST else value
