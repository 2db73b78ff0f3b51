"""Whether a tree starts an Internet super-server at boot: its services depend on it."""

from __future__ import annotations

import posixpath

from assay.facts.service import Service

from .base import Tree
from .late import late
from .starting import services
from .startup import words

_ORDER = late(r"^S\d\d")


def started(tree: Tree, names: frozenset[str]) -> tuple[bool | None, str | None]:
    """Tell whether one of the programs starts at boot.

    Args:
        tree: the tree.
        names: names that the program goes by, as units, scripts or commands.

    Returns:
        Whether it starts (None: nothing in the tree says how it would), and the service that starts it.
    """
    found = [row for row in services(tree) if _concerns(row, names)]
    for wanted in (True, None):
        for row in found:
            if row.enabled is wanted:
                return wanted, row.name
    return (False, None) if found else (None, None)


def _concerns(row: Service, names: frozenset[str]) -> bool:
    if _ORDER.sub("", row.name).removesuffix(".service").removesuffix(".socket") in names:
        return True
    # busybox inetd: the program may be the second word.
    return any(posixpath.basename(word) in names for word in words(row.command or "", 2))
