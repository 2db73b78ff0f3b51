"""Configuration files of systemd's own daemons: the main file and its drop-ins, merged.

Source: systemd-system.conf(5), journald.conf(5), timesyncd.conf(5), resolved.conf(5), "Configuration Directories and
Precedence". The first main file of the directories counts; drop-ins of all directories apply after it by file name, a
name in an earlier directory hiding the same name in a later one; the last assignment of a key wins.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection

from .base import Tree, TreeFile
from .effective import Effective
from .systemd import DIALECT, wants_path

DIRECTORIES = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd")


def merged(tree: Tree, name: str, subsystem: str, section: str, lists: Collection[str] = ()) -> Effective:
    """Return what the files of one daemon come to.

    Args:
        tree: the tree.
        name: of its main file, as journald.conf.
        subsystem: of the settings.
        section: the only section that counts.
        lists: keys whose assignments add up, until an empty one.
    """
    reading = Effective(tree, subsystem, DIALECT, wants=wants_path)
    main = next((file for place in DIRECTORIES if (file := tree.lookup(f"{place}/{name}"))), None)
    dropins: dict[str, TreeFile] = {}
    seen = set()
    for place in DIRECTORIES:
        directory = tree.lookup(f"{place}/{name}.d")
        if directory is None or directory.path in seen:
            continue
        seen.add(directory.path)
        for file in reading.directory(directory.path, (".conf",)):
            dropins.setdefault(posixpath.basename(file.path), file)
    for file in [*([main] if main else []), *(dropins[key] for key in sorted(dropins))]:
        if file.link_target == "/dev/null":
            continue
        for line in reading.lines(file):
            if line.section != section:
                continue
            if line.key not in lists:
                if line.value:
                    reading.put(line.key, line.value, file, line.line)
            elif line.value:
                for word in line.value.split():
                    reading.put(line.key, word, file, line.line, which=word)
            else:
                reading.clear(line.key)
    return reading
