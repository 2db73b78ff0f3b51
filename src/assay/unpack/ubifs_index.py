"""Where the nodes of a UBIFS are: its index, what its journal adds, a search of all nodes where the index is broken.

The index is a B-tree, written with each commit, from keys to places of nodes. What was written since is in the journal:
the log names the eraseblocks that are part of it, and their nodes, in the order of their sequence numbers, are applied
over the index. A part of the index that cannot be read is made good by the newest nodes of its keys that are found in
the main area; files whose removal has left no trace may come back by that.
"""

from __future__ import annotations

import heapq
import itertools
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .base import LimitReached, Limits, Malformed, Problem, Source, UnpackError
from .ubifs_structures import (
    ATTRIBUTE,
    BLOCK,
    COMMIT,
    DATA,
    ENTRY,
    HEADER,
    IN_GROUP,
    INDEX,
    INODE,
    LAST_KEY,
    LONGEST,
    MASTER,
    NUMBER_MASK,
    REFERENCE,
    TRUNCATION,
    Master,
    Node,
    Superblock,
    checked,
    inode,
    key,
    master,
    name,
    node_key,
    nodes,
    truncation,
)

_LEVELS = 64
"""Most levels of an index: with the least fanout (3) more would need more nodes than there can be."""
_OPERATION = 400
"""What is reckoned for one node of the journal in memory, in bytes."""

Place = int
"""Offset in the source << 16 | length."""


def place(offset: int, length: int) -> Place:
    """Return a place."""
    return offset << 16 | length


class Index:
    """Places of nodes by key, in ascending order; names whose hashes are equal share a key.

    Args:
        source: the image.
        head: its superblock.
        limits: `metadata_bytes` bounds what is kept.
    """

    def __init__(self, source: Source, head: Superblock, limits: Limits) -> None:
        self.source = source
        self.head = head
        self.limits = limits
        self.keys = array("Q")
        self.places = array("Q")
        self.problems: list[Problem] = []
        self.replayed = 0
        """Nodes of the journal."""
        self.master, self.masters = self._masters()
        lost = self._load()
        if lost:
            self._search(lost)
        if self.master:
            self._replay(self.master)

    # Nodes

    def node(self, where: Place, kind: int) -> bytes:
        """Return a node, checked.

        Raises:
            Malformed: there is no such node.
            Truncated: it lies beyond the source.
        """
        raw = self.source.exactly(where >> 16, where & 0xFFFF)
        try:
            checked(raw, kind)
        except Malformed as error:
            raise Malformed(f"{self.named(where)}: {error}") from None
        return raw

    def named(self, where: Place) -> str:
        """Return a place in words."""
        leb, offset = divmod(where >> 16, self.head.leb_size)
        return f"LEB {leb}:{offset}"

    def leb(self, number: int, offset: int = 0) -> bytes:
        """Return a logical eraseblock from an offset on, as far as it is there."""
        return self.source.pread(number * self.head.leb_size + offset, self.head.leb_size - offset)

    def range(self, low: int, high: int) -> Iterator[tuple[int, Place]]:
        """Yield (key, place) of all keys from `low` to `high`, both included."""
        for position in range(bisect_left(self.keys, low), bisect_right(self.keys, high)):
            yield self.keys[position], self.places[position]

    # Master nodes and index

    def _masters(self) -> tuple[Master | None, int]:
        """Return the newest master node of the two eraseblocks that have them, and how many have it."""
        newest: dict[int, list[Master]] = {}
        for number in (1, 2):
            raw = self.leb(number)
            found = [node for node in nodes(raw) if node.kind == MASTER and node.length == 512]
            if found:
                last = max(found, key=lambda node: node.sequence)
                decoded = master(raw[last.at : last.at + last.length])
                newest.setdefault(decoded.commit, []).append(decoded)
        if not newest:
            return None, 0
        commit = max(newest)
        return newest[commit][0], len(newest[commit])

    def _load(self) -> list[tuple[int, int]]:
        """Read the index; return the ranges of keys whose part of it is lost."""
        if self.master is None:
            text = "no master node, so no index: the newest nodes found of all keys stand in"
            self.problems.append(Problem("malformed", text, b"", 0))
            return [(0, LAST_KEY)]
        head = self.master
        lost: list[tuple[int, int]] = []
        reason = ""
        room = self.limits.metadata_bytes // 16
        layout = struct.Struct(f"<IIIII{self.head.hash_bytes}x")
        seen: set[int] = set()
        root = (head.root_leb, head.root_offset, head.root_length, 0, LAST_KEY, -1)
        stack: list[tuple[int, ...]] = [root]
        last = -1
        while stack:
            leb, offset, length, low, high, level = stack.pop()
            try:
                found, branches = self._branches(layout, leb, offset, length, level, seen)
            except UnpackError as error:
                lost.append((low, high))
                reason = reason or str(error)
                continue
            keys = [number << 32 | word for _, _, _, number, word in branches]
            if any(after < before for before, after in itertools.pairwise(keys)) or (keys and keys[0] < last):
                lost.append((low, high))
                reason = reason or f"keys of the index node at LEB {leb}:{offset} are out of order"
                continue
            if found:
                # The first branch of a node also has what is less than its key.
                ends = [*(max(before - 1, low) for before in keys[1:]), high]
                starts = [low, *keys[1:]]
                for branch, start, end in reversed(list(zip(branches, starts, ends, strict=True))):
                    stack.append((*branch[:3], start, end, found - 1))
                continue
            if len(self.keys) + len(keys) > room:
                raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
            size = self.head.leb_size
            for at, (number, start, bytes_, _, _) in zip(keys, branches, strict=True):
                if number < self.head.leb_count and start < size and HEADER.size <= bytes_ <= LONGEST:
                    self.keys.append(at)
                    self.places.append(place(number * size + start, bytes_))
                    last = at
                else:
                    lost.append((at, at))
                    reason = reason or f"the index names LEB {number}:{start} with {bytes_} bytes"
        if lost:
            text = f"{len(lost)} parts of the index lost: {reason}; the newest nodes found of its keys stand in"
            self.problems.append(Problem("malformed", text, b"", 0))
        return lost

    def _branches(
        self, layout: struct.Struct, leb: int, offset: int, length: int, level: int, seen: set[int]
    ) -> tuple[int, list[tuple[int, ...]]]:
        """Return an index node's level and branches: LEB, offset, length, and the two words of the key."""
        if leb >= self.head.leb_count or not 28 <= length <= 0xFFFF or offset + length > self.head.leb_size:
            raise Malformed(f"index node at LEB {leb}:{offset} of {length} bytes")
        where = place(leb * self.head.leb_size + offset, length)
        if where >> 16 in seen:
            raise Malformed(f"index node at {self.named(where)} is in more than one place of the index")
        seen.add(where >> 16)
        raw = self.node(where, INDEX)
        count, found = struct.unpack_from("<HH", raw, 24)
        if count * layout.size > length - 28 or found >= _LEVELS or (found != level and level >= 0) or not count:
            # A file system never had less than the root directory in its index.
            raise Malformed(f"index node at {self.named(where)} has {count} branches at level {found}")
        return found, list(layout.iter_unpack(raw[28 : 28 + count * layout.size]))

    # Journal

    def _replay(self, head: Master) -> None:
        try:
            buds = self._log(head)
        except Malformed as error:
            text = f"the log: {error}; what was written after the last commit is missing"
            self.problems.append(Problem("malformed", text, b"", 0))
            return
        operations: list[_Operation] = []
        for number, offset in buds.items():
            raw = self.leb(number, offset)
            found = list(nodes(raw))
            while found and found[-1].group == IN_GROUP:
                found.pop()  # the power went before the group was whole: it counts as never written
            self._collect(operations, raw, found, number * self.head.leb_size + offset)
        self.replayed = len(operations)
        if operations:
            _Changes(self).apply(operations)

    def _log(self, head: Master) -> dict[int, int]:
        """Return the eraseblocks of the journal: number, and offset from which on they belong to it."""
        buds: dict[int, int] = {}
        start = 0
        for step in range(self.head.log_lebs):
            number = 3 + (head.log - 3 + step) % self.head.log_lebs
            raw = self.leb(number)
            found = list(nodes(raw))
            if not step:
                if not found or found[0].kind != COMMIT or found[0].length < 32:
                    raise Malformed(f"LEB {number} does not begin with the start of a commit")
                (commit,) = struct.unpack_from("<Q", raw, found[0].at + 24)
                if commit != head.commit:
                    raise Malformed(f"it is of commit {commit}, the master node is of {head.commit}")
                start = found[0].sequence
            if not found or found[0].sequence < start:
                break
            for node in found:
                if node.kind == REFERENCE and node.length == 64 and node.sequence >= start:
                    leb, offset = struct.unpack_from("<II", raw, node.at + 24)
                    if self.head.main <= leb < self.head.leb_count and offset <= self.head.leb_size and not offset % 8:
                        buds.setdefault(leb, offset)
        return buds

    def _collect(self, operations: list[_Operation], raw: bytes, found: Iterable[Node], base: int) -> None:
        """Add the nodes of one eraseblock, `raw`, that change the index."""
        view = memoryview(raw)
        for node in found:
            if node.kind <= TRUNCATION and node.length <= LONGEST:
                try:
                    where = place(base + node.at, node.length)
                    operations.append(_operation(view[node.at : node.at + node.length], where, node))
                except Malformed:
                    continue  # nothing that could be applied
        if len(operations) * _OPERATION > self.limits.metadata_bytes:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)

    # Search

    def _search(self, lost: list[tuple[int, int]]) -> None:
        """Fill ranges of keys from all nodes of the main area."""
        operations: list[_Operation] = []
        size = self.head.leb_size
        for number in range(self.head.main, min(self.head.leb_count, -(-self.source.size // size))):
            raw = self.leb(number)
            self._collect(operations, raw, nodes(raw), number * size)
        kept = self.keys, self.places
        self.keys, self.places = array("Q"), array("Q")
        _Changes(self).apply(operations)
        found = [pair for low, high in lost for pair in self.range(low, high)]
        self.merge(zip(*kept, strict=True), sorted(set(found)))

    def merge(self, *parts: Iterable[tuple[int, Place]]) -> None:
        """Make this the index of what several ascending series of (key, place) have."""
        keys, places = array("Q"), array("Q")
        for at, where in heapq.merge(*parts):
            keys.append(at)
            places.append(where)
        self.keys, self.places = keys, places


class _Operation(NamedTuple):
    """A node that changes the index."""

    sequence: int
    where: Place
    kind: int
    key: int
    name: bytes
    """Of entries: their keys are hashes, which names can share."""
    removes: bool
    size: int
    """Of truncations: the new size."""


def _operation(raw: memoryview, where: Place, node: Node) -> _Operation:
    """Decode a node.

    Raises:
        Malformed: its CRC is right and its fields are not.
    """
    if node.kind == TRUNCATION:
        number, size = truncation(raw)
        return _Operation(node.sequence, where, node.kind, key(number, DATA), b"", removes=True, size=size)
    if node.kind in (ENTRY, ATTRIBUTE):
        entry = name(raw)
        return _Operation(node.sequence, where, node.kind, entry.key, entry.name, removes=not entry.inode, size=0)
    removes = node.kind == INODE and not inode(bytes(raw)).nlink
    return _Operation(node.sequence, where, node.kind, node_key(raw), b"", removes=removes, size=0)


class _Changes:
    """What nodes, in the order in which they were written, do to an index."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.dropped: set[int] = set()
        """Positions in the index that are no more."""
        self.added: dict[int, dict[int, list[tuple[bytes, Place]]]] = {}
        """By inode and key: name and place."""

    def apply(self, operations: list[_Operation]) -> None:
        """Apply nodes."""
        operations.sort()
        last = {operation.key >> 32: operation for operation in operations}
        for operation in operations:
            number = operation.key >> 32
            if operation.kind == TRUNCATION:
                first = -(-operation.size // BLOCK)
                if first <= NUMBER_MASK:
                    self._remove(key(number, DATA, first), key(number, DATA, NUMBER_MASK))
            elif operation.kind == INODE and operation.removes:
                # A file without a name (O_TMPFILE) that was given one later.
                if last[number].removes:
                    self._remove_inode(number)
            else:
                self._replace(operation)
        index = self.index
        base = (
            pair
            for position, pair in enumerate(zip(index.keys, index.places, strict=True))
            if position not in self.dropped
        )
        new = sorted(
            (at, where) for keys in self.added.values() for at, several in keys.items() for _, where in several
        )
        index.merge(base, new)

    def _positions(self, low: int, high: int) -> Iterator[int]:
        keys = self.index.keys
        for position in range(bisect_left(keys, low), bisect_right(keys, high)):
            if position not in self.dropped:
                yield position

    def _replace(self, operation: _Operation) -> None:
        """Put a node in the place of the one with its key, and its name if it has one."""
        at = operation.key
        for position in list(self._positions(at, at)):
            if not operation.name or self._name(self.index.places[position], operation.kind) == operation.name:
                self.dropped.add(position)
        keys = self.added.setdefault(at >> 32, {})
        several = [other for other in keys.get(at, ()) if other[0] != operation.name]
        if not operation.removes:
            several.append((operation.name, operation.where))
        keys[at] = several

    def _name(self, where: Place, kind: int) -> bytes | None:
        try:
            return name(self.index.node(where, kind)).name
        except UnpackError:
            return None

    def _remove(self, low: int, high: int) -> None:
        self.dropped.update(self._positions(low, high))
        keys = self.added.get(low >> 32, {})
        for at in [at for at in keys if low <= at <= high]:
            del keys[at]

    def _remove_inode(self, number: int) -> None:
        """Remove an inode and all that is its own; its extended attributes are inodes as well."""
        low, high = key(number, ATTRIBUTE), key(number, ATTRIBUTE, NUMBER_MASK)
        entries = [self.index.places[position] for position in self._positions(low, high)]
        entries += [
            where for at, several in self.added.get(number, {}).items() if low <= at <= high for _, where in several
        ]
        for where in entries:
            try:
                value = name(self.index.node(where, ATTRIBUTE)).inode
            except UnpackError:
                continue
            self._remove(key(value, INODE), key(value, 7, NUMBER_MASK))
        self._remove(key(number, INODE), key(number, 7, NUMBER_MASK))
