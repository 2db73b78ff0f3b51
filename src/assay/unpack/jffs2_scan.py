"""The nodes of a JFFS2, read from the first to the last.

The file system begins with its first node and ends with its last: what is neither a node nor erased flash is passed
over if a node follows soon. Where a node contradicts one before it (another content with the same number and version)
or its beginning comes again, another file system has begun, and this one ends with the gap or the clean marker before.
"""

from __future__ import annotations

from collections import Counter

from .base import CHUNK, LimitReached, Limits, Problem, Source
from .jffs2_nodes import (
    ACCURATE,
    CLEAN,
    ENTRY,
    FIXED,
    HEADER,
    INODE,
    PADDING,
    SUMMARY,
    XATTR,
    XREF,
    Inode,
    Layout,
    crc,
    header,
)
from .stretch import Stretches

_NODE_BYTES = 250
"""What is reckoned for one node in memory."""
_LOST = 256 << 10
"""Bytes of anything else after which the file system is over."""
_SAME = 4096
"""Bytes that a second copy of a file system has to have in common with the first; single nodes may be moved as are."""
_PRELUDE = 8
"""Nodes of another file system that may pass before the first that contradicts: it begins with the gap before them."""
_PARTS = {CLEAN: "clean marker", PADDING: "padding", SUMMARY: "summary"}


class Scan:
    """All nodes of one file system.

    Args:
        source: begins with a node.
        layout: the byte order.
        limits: `metadata_bytes` bounds what is kept.
    """

    def __init__(self, source: Source, layout: Layout, limits: Limits) -> None:
        self.source = source
        self.layout = layout
        self.limits = limits
        end = self._run(source.size)
        if end < source.size:
            self._run(end)

    def _reset(self) -> None:
        self.inodes: dict[int, dict[int, int]] = {}
        """Offsets of inode nodes by inode and version."""
        self.names: dict[int, dict[bytes, tuple[int, int]]] = {}
        """Version and inode by parent and name."""
        self.checks: dict[tuple[int, int, int], int] = {}
        """CRC of nodes by type, inode and version: it tells copies of a node from nodes of another file system."""
        self.xattrs: dict[int, tuple[int, int]] = {}
        """Version and offset by id."""
        self.xrefs: dict[int, dict[int, int]] = {}
        """Sequence by inode and id."""
        self.explained = Stretches()
        self.counts: Counter[str] = Counter()
        self.compressions: set[int] = set()
        self.marks: list[int] = []
        """Where eraseblocks begin: at clean markers and after summaries."""
        self.problems: list[Problem] = []
        self.broken: list[int] = []
        self.end = 0

    def _run(self, size: int) -> int:
        """Read nodes up to `size`; return where the file system ends, which is before that if another one has begun."""
        self._reset()
        at = base = border = since = start = 0
        data = b""
        between: list[tuple[int, int, str]] = []
        lost: list[int] = []
        while at + HEADER <= size:
            if base + len(data) < min(at + FIXED[INODE] + 256, self.source.size):
                base, data = at, self.source.pread(at, CHUNK)
            found = header(data, at - base, self.layout)
            if found is None:
                border, since, start = self.end, 0, 0
                following = self._after(at, size)
                if following is None:
                    break
                between.append((at, *following))
                at = following[0]
                continue
            kind, length = found
            if at + length > size:
                text = f"the node at offset {at} has {length} bytes, {at + length - size} of them are missing"
                self.problems.append(Problem("truncated", text, b"", 0))
                break
            what = self._node(at, kind, length, memoryview(data)[at - base : at - base + length])
            if what is None:
                return border if border and since <= _PRELUDE else at
            if kind == CLEAN:
                border, since, start = at, 0, at
            else:
                if border and not since and self._repeats(start or at):
                    return border
                since += 1
            for begin, end, part in between:
                if part:
                    self.explained.add(begin, end, part)
                else:
                    lost.append(begin)
            between.clear()
            end = min(at + length + -length % 4, size)
            self.explained.add(at, end, what)
            at = self.end = end
        if lost:
            text = f"{len(lost)} stretches hold neither nodes nor erased flash, the first one at offset {lost[0]}"
            self.problems.append(Problem("malformed", text, b"", 0))
        if self.broken:
            text = f"{len(self.broken)} nodes have a wrong CRC, the first one is at offset {self.broken[0]}"
            self.problems.append(Problem("malformed", text, b"", 0))
        return size

    def _repeats(self, at: int) -> bool:
        """Tell whether a copy of this file system begins at an offset: a second bank, with all the same nodes."""
        return self.source.pread(at, min(_SAME, at)) == self.source.pread(0, min(_SAME, at))

    def _after(self, at: int, size: int) -> tuple[int, str] | None:
        """Return where what is not a node ends, and what it is, or None if it does not end.

        What is neither erased nor zeros is "", and ends with the next node.
        """
        first = self.source.pread(at, 4)
        if first in (b"\xff" * 4, bytes(4)):
            end, step = at, 1024  # most runs end soon, with the eraseblock
            while data := self.source.pread(end, min(step, size - end)):
                step = min(4 * step, CHUNK)
                rest = len(data.lstrip(first[:1]))
                end += len(data) - rest
                if rest:
                    return (end - end % 4, "erased" if first[0] else "padding")
                if not first[0] and end - at > _LOST:
                    break
            return None
        data = self.source.pread(at + 4, min(_LOST, size - at - 4))
        found = data.find(self.layout.magic)
        while found >= 0:
            if found % 4 == 0 and header(data, found, self.layout):
                return at + 4 + found, ""
            found = data.find(self.layout.magic, found + 1)
        return None

    def _node(self, at: int, kind: int, length: int, raw: memoryview) -> str | None:
        """Take a node in; return what it is, or None if it contradicts an earlier one."""
        if not kind & ACCURATE:
            self.counts["obsolete"] += 1
            return "obsolete nodes"
        if not self.layout.intact(raw, kind):
            self.broken.append(at)
            return "broken nodes"
        self.counts["nodes"] += 1
        if self.counts["nodes"] * _NODE_BYTES > self.limits.metadata_bytes:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        if kind == INODE:
            return self._inode(at, length, raw)
        if kind == ENTRY:
            return self._entry(at, length, raw)
        if kind == XATTR:
            number, version, *_ = self.layout.xattr.unpack_from(raw)
            if number not in self.xattrs or version >= self.xattrs[number][0]:
                self.xattrs[number] = version, at
        elif kind == XREF:
            owner, number, sequence, _ = self.layout.xref.unpack_from(raw)
            known = self.xrefs.setdefault(owner, {})
            known[number] = max(known.get(number, 0), sequence)
        elif kind == CLEAN:
            self.counts["clean_markers"] += 1
            self.marks.append(at)
        elif kind == SUMMARY:
            self.counts["summaries"] += 1
            self.marks.append(at + length)
        elif kind != PADDING:
            self.counts["unknown"] += 1
        return _PARTS.get(kind, "nodes")

    def _contradicts(self, kind: int, number: int, version: int, check: int) -> bool:
        return self.checks.setdefault((kind, number, version), check) != check

    def _inode(self, at: int, length: int, raw: memoryview) -> str | None:
        node = Inode(*self.layout.inode.unpack_from(raw))
        if FIXED[INODE] + node.stored > length:
            self.broken.append(at)
            return "broken nodes"
        if self._contradicts(INODE, node.number, node.version, node.node_crc):
            return None
        self.compressions.add(node.compression)
        self.inodes.setdefault(node.number, {})[node.version] = at
        return "nodes"

    def _entry(self, at: int, length: int, raw: memoryview) -> str | None:
        parent, version, number, _, size, _, check, name_check = self.layout.entry.unpack_from(raw)
        name = bytes(raw[FIXED[ENTRY] : FIXED[ENTRY] + size])
        if FIXED[ENTRY] + size > length or not name or crc(name) != name_check:
            self.broken.append(at)
            return "broken nodes"
        if self._contradicts(ENTRY, parent, version, check):
            return None
        names = self.names.setdefault(parent, {})
        if name not in names or version >= names[name][0]:
            names[name] = version, number
        return "nodes"
