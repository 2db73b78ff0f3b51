"""Files in a tree that serve building, testing or finding faults: by name, and by what ELF headers say.

A file is told once, as the first kind that fits; what its name says is told even if its content says nothing.

Reference: `leftovers_tables`; core(5); System V ABI, chapter 4 (ET_CORE, ET_REL).
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.binary import Elf
from assay.facts.code import Leftover
from assay.unpack.base import LimitReached

from .base import Tree, TreeInspector
from .leftovers_tables import (
    BACKUPS,
    BUILD_ENDINGS,
    BUILD_FILES,
    COMPILER,
    DEBUG_SYMBOLS,
    DEBUGGER,
    OBJECT_FILES,
    PROGRAM,
    REPOSITORY,
    ROOT_OF_DEBUG,
    SAMPLE,
    SAMPLES,
    SOURCE_CODE,
    SOURCE_CONTROL,
    TEST,
)

MAX_FACTS = 50_000


def inspect(tree: Tree) -> Iterator[Leftover]:
    """Yield the files, by path.

    Raises:
        LimitReached: there are more than are told; the first ones have been yielded.
    """
    found: dict[str, Leftover] = {}
    for file, elf in tree.all(Elf):
        kind = (
            "core-file"
            if elf.role == "core"
            else "object-file"
            if elf.role == "object"
            else "debug-symbols"
            if elf.debug and elf.role != "module"
            else None
        )
        if kind is not None:
            found[file.path] = Leftover(path=file.path, kind=kind, evidence="elf")
    for file in tree.regular():
        path = file.path
        if path not in found and (kind := kind_of(path)) is not None:
            found[path] = Leftover(path=path, kind=kind)
    for number, path in enumerate(sorted(found)):
        if number >= MAX_FACTS:
            raise LimitReached("leftovers", MAX_FACTS)
        yield found[path]


def kind_of(path: str) -> str | None:
    """Return what a file serves, by its path from '/'; None if the name says nothing."""
    name = path[path.rfind("/") + 1 :]
    if name in SOURCE_CONTROL or REPOSITORY.search(path):
        return "source-control"
    if "/.git/" in path or "/.svn/" in path or "/.hg/" in path:
        return None  # told by the repository's own file
    if name.endswith(BACKUPS) and len(name) > 1:
        return "editor-backup"
    if name.endswith(DEBUG_SYMBOLS) or any(part in path for part in ROOT_OF_DEBUG):
        return "debug-symbols"
    if name in BUILD_FILES or name.endswith(BUILD_ENDINGS):
        return "build-system"
    if name.endswith(SAMPLES):
        return "sample"
    if TEST.search(path):
        return "test"
    if SAMPLE.search(path):
        return "sample"
    if name.endswith(SOURCE_CODE):
        return "source-code"
    if name.endswith(OBJECT_FILES):
        return "object-file"
    if DEBUGGER.match(name) and PROGRAM.search(path):
        return "debugger"
    if COMPILER.match(name) and PROGRAM.search(path):
        return "compiler"
    return None


INSPECTOR = TreeInspector(
    name="leftovers",
    version=1,
    families=(Leftover,),
    inspect=inspect,
    unseen=(
        "source code of languages that are run from it (Python, shell, ...): it is there to run",
        "tools that are parts of another program (BusyBox) or have been renamed",
        "files whose name says one thing and whose content is another, other than ELF files",
    ),
)
