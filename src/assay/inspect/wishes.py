"""Which inspectors want a content: asked about every file, so each inspector is asked only where it may say yes."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from functools import cache

import hyperscan

from .base import ContentInspector


class Wishes:
    """What a set of inspectors want to see.

    Args:
        inspectors: by key.
    """

    def __init__(self, inspectors: Mapping[str, ContentInspector]) -> None:
        self._inspectors = inspectors
        self._order = {key: at for at, key in enumerate(inspectors)}
        self._sizes = sorted({i.max_size for i in inspectors.values() if i.max_size is not None})
        self._groups: dict[tuple[bool, bool, int], _Group] = {}
        named = {key: i.path_has for key, i in inspectors.items() if i.wants_path is not None}
        self._always = frozenset(key for key, texts in named.items() if not texts)
        holders: dict[str, list[str]] = {}
        for key, texts in named.items():
            for text in texts:
                holders.setdefault(text, []).append(key)
        self._holders = list(holders.values())
        self._texts = _database(tuple(holders)) if holders else None

    def by_path(self, paths: list[str]) -> list[str]:
        """Return the inspectors that want a content because of its paths.

        Args:
            paths: each from '/', in the containers that the content lies in.
        """
        found: set[str] = set()
        for path in paths:
            held = self._held(path)
            asked = self._always.union(*(self._holders[number] for number in held)) if held else self._always
            for key in asked - found:
                wants = self._inspectors[key].wants_path
                assert wants is not None
                if wants(path):
                    found.add(key)
        return sorted(found, key=self._order.__getitem__) if len(found) > 1 else list(found)

    def _held(self, path: str) -> list[int]:
        held: list[int] = []

        def note(number: int, _start: int, _end: int, _flags: int, _context: object) -> None:
            held.append(number)

        if self._texts is not None:
            self._texts.scan(path.encode("utf-8", "surrogatepass"), match_event_handler=note)
        return held

    def fitting(
        self, by_path: list[str], head: bytes, size: int, *, text: bool, claimed: bool
    ) -> tuple[list[str], list[str]]:
        """Return the inspectors that want a content and look at its size and kind.

        Args:
            by_path: those that want it because of its paths.
            head: its first bytes.
            size: in bytes.
            text: it is a text or script.
            claimed: a container format claims it.

        Returns:
            Those that want it because of its paths, and those that want it for what it is.
        """
        key = (text, claimed, bisect_left(self._sizes, size))
        group = self._groups.get(key)
        if group is None:
            fits = {
                name: i
                for name, i in self._inspectors.items()
                if (i.max_size is None or size <= i.max_size)
                and not (i.binary_only if text else i.text_only)
                and (i.containers or not claimed)
            }
            group = self._groups[key] = _Group(fits)
        return [name for name in by_path if name in group.fits], group.by_head(head)


class _Group:
    """Inspectors that look at contents of one size and kind."""

    def __init__(self, fits: Mapping[str, ContentInspector]) -> None:
        self.fits = fits
        by_head = {key: i for key, i in fits.items() if i.wants_head is not None}
        # One that names neither paths nor heads wants every content.
        self.every = [key for key, i in fits.items() if i.wants_path is None and i.wants_head is None]
        self.always = [(key, i.wants_head) for key, i in by_head.items() if i.wants_head and not i.head_begins]
        self.some = [(key, i.head_begins, i.wants_head) for key, i in by_head.items() if i.wants_head and i.head_begins]
        begins = sorted({begin for _, texts, _ in self.some for begin in texts})
        self.begins = re.compile(b"|".join(map(re.escape, begins)) if begins else rb"(?!)")

    def by_head(self, head: bytes) -> list[str]:
        found = self.every + [key for key, wants in self.always if wants(head)]
        if self.begins.match(head):
            found += [key for key, begins, wants in self.some if head.startswith(begins) and wants(head)]
        return found


@cache
def _database(texts: tuple[str, ...]) -> hyperscan.Database:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[re.escape(text).encode() for text in texts],
        ids=list(range(len(texts))),
        flags=[hyperscan.HS_FLAG_SINGLEMATCH] * len(texts),
    )
    return database
