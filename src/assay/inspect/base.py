"""What every inspector has in common.

A content inspector sees one distinct content and yields facts about it; it runs in a confined worker, once per content.
A tree inspector sees one root file system through facts already in the record (files, and the content facts of each)
and yields facts about the tree. Neither sees who made the thing, and neither calls anything good or bad.

An inspector is one module in `assay.inspect` or `assay.identify` that defines `INSPECTOR`; nothing else is edited.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from assay.facts import ContentFact, TreeFact

Buffer = bytes | mmap.mmap | memoryview
"""What a content's bytes come as: any object with len(), slicing and the buffer protocol."""

C = TypeVar("C", bound=ContentFact)
T = TypeVar("T", bound=TreeFact)

_PRINTABLE = re.compile(rb"[ -~\t]*")


class Expression(NamedTuple):
    """Something to find in contents: a trigger whose end is told, cheap enough to try on every byte.

    All inspectors' expressions are looked for in one pass. Write one that ends at a definite place (`://[a-z]`, not
    `://[a-z]+`, which matches again at each letter), and look at the bytes around the place for the exact text.
    """

    pattern: bytes
    """In Hyperscan's syntax (a subset of PCRE); `.` also matches a line end."""
    caseless: bool = False
    """Letters match in either case (ASCII)."""


class Hits(NamedTuple):
    """Where an inspector's expressions were found in a content."""

    places: list[tuple[int, int]]
    """(offset of the end, position of the expression in the inspector's sequence), in order of offset."""
    cut: bool = False
    """There were more, and they were not looked for: the inspector says so after its facts (`raise LimitReached`)."""


NO_HITS = Hits([])


@dataclass(frozen=True)
class Content:
    """A content as an inspector sees it."""

    data: Buffer
    """All bytes. Slice it; for a large content it is a memory map, so do not copy the whole."""
    head: bytes
    """The first bytes, at least 4096 if there are so many."""
    kind: str
    """elf, script, text, data, or the name of the container format."""
    hits: Hits = NO_HITS
    """Where the inspector's own expressions were found."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    def text(self, limit: int = 16 << 20) -> str:
        r"""Return the content as text: UTF-8, other bytes as backslash escapes; at most `limit` bytes."""
        return bytes(self.data[:limit]).decode("utf-8", "backslashreplace")

    def string(self, at: int, most: int = 512) -> tuple[int, bytes]:
        """Return the printable text (ASCII 32 to 126, tab) around a place: its offset, and its bytes.

        Args:
            at: an offset inside the text, or at its end.
            most: how many bytes to look at, at most, on either side.
        """
        before = bytes(self.data[max(0, at - most) : at])
        after = bytes(self.data[at : at + most])
        # Backwards from the place: a search for what ends there would begin anew at every byte.
        start = len(before) - len(_PRINTABLE.match(before[::-1])[0])  # type: ignore[index]  # it matches an empty text, too
        end = len(_PRINTABLE.match(after)[0])  # type: ignore[index]
        return at - len(before) + start, before[start:] + after[:end]


@dataclass(frozen=True)
class ContentInspector:
    """Looks at one content."""

    name: str
    version: int
    """Raised whenever the facts could change: it invalidates the cache."""
    families: Sequence[type[ContentFact]]
    """Families that it looks for; coverage is recorded for each."""
    inspect: Callable[[Content], Iterable[ContentFact]]
    """Yields facts. May raise anything: facts yielded before stand, and an `unread` fact names the failure."""
    wants_path: Callable[[str], bool] | None = None
    """Wants a content because of a path that it has in a container (from '/')."""
    path_has: tuple[str, ...] = ()
    """Texts of which each path that `wants_path` wants holds one: it is not asked about others. Empty: about all."""
    wants_head: Callable[[bytes], bool] | None = None
    """Wants a content because of its first bytes (up to 68 KiB)."""
    head_begins: tuple[bytes, ...] = ()
    """Bytes of which each content that `wants_head` wants begins with one: it is not asked about the others."""
    max_size: int | None = None
    """Contents larger than this are not of the inspected kind and are not looked at."""
    text_only: bool = False
    """Wants only contents of kind text or script."""
    binary_only: bool = False
    """Wants no contents of kind text or script."""
    expressions: tuple[Expression, ...] = ()
    """Looked for in every content that it wants, in one pass with those of all other inspectors: `Content.hits`."""
    only_hits: bool = False
    """It has nothing to say on a content without a hit, and is not run on one."""
    unseen: tuple[str, ...] = ()
    """What it cannot see, a line each, for the reference page."""
    containers: bool = False
    """Also wants contents that a container format claims (a package file with its own header, say)."""


def numbered(content: Content, facts: Iterable[C]) -> Iterator[C]:
    """Yield facts, which come in order of offset; in a text with their line numbers."""
    if content.kind not in ("text", "script"):
        yield from facts
        return
    line, position = 1, 0
    for fact in facts:
        assert fact.offset is not None
        while position < fact.offset:
            step = min(fact.offset - position, 1 << 20)
            line += bytes(content.data[position : position + step]).count(b"\n")
            position += step
        yield msgspec.structs.replace(fact, line=line)


class TreeFile(msgspec.Struct, frozen=True):
    """A file of a tree."""

    id: int
    path: str
    type: str
    mode: int | None
    uid: int | None
    gid: int | None
    size: int | None
    link_target: str | None
    content: int | None


class Tree(Protocol):
    """One root file system, through the record."""

    def lookup(self, path: str) -> TreeFile | None:
        """Return the file at an absolute path, following symbolic links inside the tree; None if there is none.

        Links are resolved as chroot would: '..' stops at the root, absolute targets start there, loops give None.
        """

    def get(self, path: str) -> TreeFile | None:
        """Return the entry at exactly this path, a link itself if it is one."""

    def glob(self, pattern: str) -> list[TreeFile]:
        """Return files (and links) whose path matches an SQLite GLOB pattern, by path. '*' also matches '/'."""

    def listdir(self, path: str) -> list[TreeFile]:
        """Return the entries directly in a directory (links to it followed), by name."""

    def facts(self, family: type[C], file: TreeFile) -> list[C]:
        """Return the content facts of a family on a file (links followed), by place."""

    def all(self, family: type[C]) -> Iterator[tuple[TreeFile, C]]:
        """Return all content facts of a family on files of this tree, by path and place."""

    def regular(self) -> Iterator[TreeFile]:
        """Return all regular files (and hard links), by path."""

    def unread(self, path: str) -> bool:
        """Tell whether the file at this path is there but could not be read, or not parsed.

        The failure of an inspector that searches any content (one with `expressions`) does not count.
        """

    def derived(self, family: type[T]) -> list[T]:
        """Return the tree facts of a family on this tree, of inspectors that have run (see `TreeInspector.after`)."""


@dataclass(frozen=True)
class TreeInspector:
    """Looks at one tree."""

    name: str
    version: int
    families: Sequence[type[TreeFact]]
    inspect: Callable[[Tree], Iterable[TreeFact]]
    after: Sequence[str] = ()
    """Names of tree inspectors whose facts it wants to see through `Tree.derived`: they run before it."""
    unseen: tuple[str, ...] = ()
    """What it cannot see, a line each, for the reference page."""
