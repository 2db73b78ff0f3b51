"""What every manager of services needs to know of a tree: which program starts first, and where programs lie."""

from __future__ import annotations

import posixpath

from .base import Tree
from .late import late

FIRST = ("/sbin/init", "/usr/sbin/init", "/etc/init", "/bin/init", "/init", "/linuxrc")
"""Where the kernel looks for the first program (init/main.c), and where initial RAM disks and BusyBox keep it."""

SYSTEMD = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")

SEARCH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where a program that is named without a directory is looked for (systemd.service(5), DEFAULT_PATH)."""

_WORD = late(r"""\s*(?:"([^"]*)"|'([^']*)'|(\S+))""")


def first_program(tree: Tree) -> str | None:
    """Return the kind of program that the kernel starts first.

    Returns:
        systemd, procd, busybox, sysvinit, or the program's own name; None if the tree has none (an application
        container, a package). A tree with no init but with systemd itself counts as systemd.
    """
    for path in FIRST:
        if (file := tree.lookup(path)) is not None:
            name = posixpath.basename(file.path)
        elif (link := tree.get(path)) is not None and link.link_target:
            # The program may lie in another part of the release; the link still says which it is.
            name = posixpath.basename(link.link_target)
        else:
            continue
        if tree.lookup("/sbin/procd") is not None:
            return "procd"
        return "sysvinit" if name == "init" and tree.lookup("/etc/inittab") is not None else name
    return "systemd" if any(tree.lookup(path) for path in SYSTEMD) else None


def words(command: str, most: int = 64) -> list[str]:
    """Split a command line at white space, quotes respected; at most `most` words."""
    found = []
    for match in _WORD.finditer(command):
        found.append(next(group for group in match.groups() if group is not None))
        if len(found) == most:
            break
    return found


def program(tree: Tree, name: str) -> str | None:
    """Return the path of a program in the tree, links resolved; None if it is not there.

    Args:
        tree: the tree.
        name: an absolute path, or a name to be searched in the usual directories.
    """
    if not name or "\0" in name:
        return None
    places = (name,) if name.startswith("/") else () if "/" in name else (f"{place}/{name}" for place in SEARCH)
    for place in places:
        file = tree.lookup(place)
        if file is not None and file.type in ("regular", "hardlink"):
            return file.path
    return None
