"""Flattened device trees: the tree of nodes and properties that a .dtb, and a FIT image, consist of.

Devicetree Specification, chapter 5. All numbers are big-endian:

    u32 magic = d00dfeed, totalsize, off_dt_struct, off_dt_strings, off_mem_rsvmap, version, last_comp_version;
    u32 boot_cpuid_phys (version 2), size_dt_strings (3), size_dt_struct (17)
    structure: u32 1, name NUL, padding to 4: a node begins; 2: it ends; 4: nothing; 9: the end
               u32 3, length, name's offset in the strings; value; padding to 4: a property

Values are not read before they are asked for, so that a tree with a kernel in it costs no more than one without.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .base import LimitReached, Limits, Malformed, NotThisFormat, Source, Truncated

MAGIC = b"\xd0\x0d\xfe\xed"
_HEADER = struct.Struct(">10I")
_DEPTH = 64
_NAME = 256
"""Bytes of a node's name; the specification allows 31, and what tools write is not much longer."""
_STRINGS = 1 << 20
"""Bytes of all names of properties together."""
_ITEM = 400
"""What is reckoned for one node or property in memory, in bytes."""
_READ = 16 << 10


class Node:
    """One node.

    Args:
        source: what its values lie in.
        path: from the root, with '/' before each name; empty for the root itself.
    """

    __slots__ = ("children", "path", "source", "values")

    def __init__(self, source: Source, path: str) -> None:
        self.source = source
        self.path = path
        self.children: dict[str, Node] = {}
        self.values: dict[str, tuple[int, int]] = {}
        """Offset and length of each property's value in the source."""

    @property
    def name(self) -> str:
        """The node's own name, with its unit address."""
        return self.path.rpartition("/")[2]

    def __contains__(self, property: str) -> bool:
        return property in self.values

    def raw(self, property: str, most: int = 4096) -> bytes | None:
        """Return a value's bytes, at most so many; None if there is no such property."""
        place = self.values.get(property)
        return None if place is None else self.source.pread(place[0], min(place[1], most))

    def text(self, property: str) -> str | None:
        """Return a value as text: several strings are joined by ", "; None if there is no such property."""
        raw = self.raw(property)
        return None if raw is None else ", ".join(raw.decode("utf-8", "backslashreplace").rstrip("\0").split("\0"))

    def number(self, property: str) -> int | None:
        """Return a value of one or two cells as a number; None if it is no such value, or not there."""
        raw = self.raw(property)
        return int.from_bytes(raw, "big") if raw is not None and len(raw) in (4, 8) else None

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it, in the tree's order."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack += reversed(node.children.values())

    def find(self, path: str) -> Node | None:
        """Return the node at a path below this one, such as "images/kernel-1"; None if there is none."""
        node: Node | None = self
        for name in path.split("/"):
            node = node.children.get(name) if node else None
        return node


class DeviceTree:
    """A parsed tree.

    Args:
        source: it begins at its first byte, and may go on beyond its end.
        limits: `metadata_bytes` is kept to.

    Raises:
        NotThisFormat: the header is none.
        Malformed: the structure is broken.
        Truncated: the source ends before the tree does.
        LimitReached: there are more nodes and properties than fit in `metadata_bytes`.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        raw = source.pread(0, _HEADER.size)
        if len(raw) < _HEADER.size or raw[:4] != MAGIC:
            raise NotThisFormat
        _, self.size, start, strings, reserved, self.version, oldest, _, names, length = _HEADER.unpack(raw)
        if not 2 <= oldest <= self.version or oldest > 17 or self.version > 255:
            raise NotThisFormat
        if self.version < 17:
            length = max(0, (strings if strings > start else self.size) - start)
        if self.version < 3:
            names = max(0, self.size - strings)
        begin = _HEADER.size if self.version >= 17 else 28
        if not all(begin <= at and at + part <= self.size for at, part in ((start, length), (strings, names))):
            raise NotThisFormat
        if start % 4 or reserved > self.size or source.pread(start, 4) not in (b"\0\0\0\1", b"\0\0\0\4", b""):
            raise NotThisFormat
        if self.size > source.size:
            raise Truncated(f"the device tree has {self.size} bytes, the source {source.size}")
        if names > _STRINGS:
            raise Malformed(f"the names of properties have {names} bytes")
        self._source = source.window(0, self.size)
        self._names = source.exactly(strings, names)
        self._known: dict[int, str] = {}
        self._left = limits.metadata_bytes // _ITEM
        self._limit = limits.metadata_bytes
        self.root = self._parse(start, start + length)

    def _parse(self, at: int, end: int) -> Node:
        """Return the root of the tree whose structure lies between two offsets."""
        word = struct.Struct(">3I")
        base, block = at, b""
        stack: list[Node] = []
        root: Node | None = None
        while True:
            if at + 12 + _NAME > base + len(block):
                base, block = at, self._source.pread(at, min(_READ, end - at) + 12)
            inside = at - base
            if at + 4 > end:
                raise Malformed(f"the structure has no end mark before offset {end}")
            token, size, name = word.unpack_from(block.ljust(inside + 12, b"\0"), inside)
            if token == 3 and stack:
                self._count()
                if size > end - at - 12:
                    raise Malformed(f"the property at offset {at} has {size} bytes, its tree has {end - at - 12}")
                stack[-1].values.setdefault(self._name(name), (at + 12, size))
                at += 12 + size + -size % 4
            elif token == 1 and (root is None or stack):
                text, closed, _ = block[inside + 4 : inside + 4 + _NAME].partition(b"\0")
                if not closed or len(stack) >= _DEPTH:
                    raise Malformed(f"the node at offset {at} has no name, or is more than {_DEPTH} deep")
                node = Node(self._source, self._path(stack, text))
                self._count(1 + len(node.path) // _ITEM)
                if stack:
                    stack[-1].children.setdefault(node.name, node)
                root = root or node
                stack.append(node)
                at += 4 + len(text) + 1 + -(len(text) + 1) % 4
            elif token == 2 and stack:
                stack.pop()
                at += 4
            elif token == 4:
                at += 4
            elif token == 9 and root is not None and not stack:
                return root
            else:
                raise Malformed(f"the structure has a token {token} at offset {at}")

    @staticmethod
    def _path(stack: list[Node], name: bytes) -> str:
        return f"{stack[-1].path}/{name.decode('utf-8', 'backslashreplace')}" if stack else ""

    def _count(self, items: int = 1) -> None:
        self._left -= items
        if self._left < 0:
            raise LimitReached("metadata_bytes", self._limit)

    def _name(self, at: int) -> str:
        found = self._known.get(at)
        if found is None:
            name, end, _ = self._names[at : at + _NAME].partition(b"\0")
            if not end:
                raise Malformed(f"a property's name at offset {at} of the names has no end")
            found = self._known[at] = name.decode("utf-8", "backslashreplace")
        return found
