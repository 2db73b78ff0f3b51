"""Expressions that are compiled at their first use.

A run loads all inspectors and uses a few on its files; compiling the expressions of all would take it a tenth of a
second before it has read a byte.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class Late:
    """Stands for a compiled expression: what is asked of it first makes it, and is kept."""

    def __init__(self, pattern: Any, flags: int) -> None:  # noqa: ANN401 - text or bytes
        self._source = pattern, flags

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever re.Pattern has
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(re.compile(*self._source), name)
        self.__dict__[name] = found  # from now on, it is found without this call
        return found


def late(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return what `re.compile` returns, or will: an error in the expression shows at its first use."""
    return cast("re.Pattern[AnyStr]", Late(pattern, flags))
