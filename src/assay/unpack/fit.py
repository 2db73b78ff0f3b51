"""FIT, U-Boot's image tree: kernels, device trees, RAM disks and firmware in one device tree, with their hashes.

An image is a node of /images; its bytes are the value of `data`, or lie outside of the tree: `data-position` counts
from its first byte, `data-offset` from its end (rounded up to 4), both with `data-size`. Hashes are over the bytes as
they are stored. /configurations say which images are started together, and hold the signatures over them.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from .base import Claim, Entry, Format, Limits, NotThisFormat, Problem, Reader, Reference, Source
from .boot_image import BootImageReader, Part
from .fdt import MAGIC, DeviceTree, Node

SHOWN = 200
"""Characters of one property, and images and configurations, that are told in the detail."""
_HASHES = 16
"""Hashes of one image that are checked."""
_DETAILS = 1000
"""Lines of the detail."""
_TIMES = 4
"""Images may share bytes; so many times the source is read for their hashes, at most."""


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self.crc = 0

    def update(self, data: bytes, /) -> None:
        self.crc = zlib.crc32(data, self.crc)

    def digest(self) -> bytes:
        return self.crc.to_bytes(4, "big")


HASHES: dict[str, Callable[[], _Hash]] = {
    "crc32": _Crc32,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
}


class Fit(BootImageReader):
    """See `Reader`. Lists the images by the names of their nodes."""

    def __init__(self, source: Source, tree: DeviceTree, images: Node) -> None:
        super().__init__(FORMAT, source)
        root = tree.root
        self._nodes: dict[bytes, Node] = {}
        self._left = 0
        self.declared = len(images.children)
        configurations = root.children.get("configurations")
        self.detail = {
            "version": tree.version,
            "description": root.text("description"),
            "time": (root.number("timestamp") or 0) * 1_000_000_000 or None,
            "default": configurations.text("default") if configurations else None,
        }
        for number, node in enumerate(images.children.values()):
            path = node.name.encode()
            part = _place(node, path, tree.size)
            if number < SHOWN:
                self.detail[f"image {node.name}"] = _shown(node)
            if isinstance(part, Problem):
                self.problems.append(part)
                continue
            self.parts.append(part)
            self._nodes[path] = node
            if "cipher" in node.children:
                said = node.children["cipher"].text("algo")
                self.problems.append(Problem("encrypted", f"the image's bytes are encrypted ({said})", path, 0))
        for node, _ in zip(configurations.children.values() if configurations else (), range(SHOWN), strict=False):
            self.detail[f"configuration {node.name}"] = _shown(node)
        self._explain(tree.size)

    def _explain(self, size: int) -> None:
        """Claim the tree around the images in it, and the padding between those that lie behind it."""
        at = 0
        for part in sorted(self.parts, key=lambda part: part.offset):
            if part.offset < size and part.size:
                if part.offset > at:
                    self.structure.append(Claim(at, part.offset - at, "device tree"))
                at = max(at, part.offset + part.size)
        if at < size:
            self.structure.append(Claim(at, size - at, "device tree"))
        self.pad(max([size, *(part.offset + part.size for part in self.parts)]))

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`."""
        self._left = _TIMES * self.source.size
        yield from super().entries()

    def check(self, part: Part) -> Iterator[Problem]:
        """Yield the hashes that differ; `detail["hash IMAGE/NODE"]` says of each if it is right."""
        stated = []
        nodes = (node for node in self._nodes[part.path].children.values() if re.match("hash([@-]|$)", node.name))
        for node, _ in zip(nodes, range(_HASHES), strict=False):
            algorithm = node.text("algo") or ""
            stated.append((node, algorithm, HASHES[algorithm]() if algorithm in HASHES else None))
        self._left -= part.size
        checked = self.whole(part) and self._left >= 0
        if checked and any(running for _, _, running in stated):
            for chunk in self.source.chunks(part.offset, part.size):
                for _, _, running in stated:
                    if running:
                        running.update(chunk)
        for node, algorithm, running in stated:
            state = "not checked"
            if running and checked:
                state = "right" if running.digest() == node.raw("value") else "wrong"
                if state == "wrong":
                    yield Problem("malformed", f"{node.name}: the data have another {algorithm}", part.path, 0)
            if len(self.detail) < _DETAILS:
                self.detail[f"hash {part.path.decode()}/{node.name}"] = f"{algorithm} {state}"


def _place(node: Node, path: bytes, size: int) -> Part | Problem:
    """Return where the bytes of an image lie; `size` is the tree's."""
    if "data" in node:
        return Part(path, *node.values["data"])
    length, position, offset = (node.number(f"data-{what}") for what in ("size", "position", "offset"))
    if length is None or (position is None and offset is None):
        return Problem("malformed", "the image has no data", path)
    start = position if position is not None else size + -size % 4 + (offset or 0)
    if start + length >= 1 << 63:
        return Problem("malformed", f"the image has {length} bytes at offset {start}", path)
    return Part(path, start, length)


def _shown(node: Node) -> str:
    """Return the properties of a node and of its hashes and signatures on one line, without bytes."""
    said = []
    for at in node.walk():
        below = at.path[len(node.path) + 1 :]
        for name in at.values:
            if name not in ("data", "value", "iv", "hashed-nodes", "hashed-strings"):
                number = at.number(name) if name in _NUMBERS else None
                text = f"{number:#x}" if number is not None else (at.text(name) or "")[:SHOWN]
                said.append(f"{below + '/' if below else ''}{name}={text if text.isprintable() else '?'}")
        if len(said) > SHOWN:
            break
    return ", ".join(said[:SHOWN])[:4096]


_NUMBERS = ("load", "entry", "timestamp", "data-size", "data-offset", "data-position", "data-size-unciphered")


def _open(source: Source, limits: Limits) -> Reader:
    tree = DeviceTree(source, limits)
    images = tree.root.children.get("images")
    if images is None or not images.children:
        raise NotThisFormat  # a device tree that describes hardware
    return Fit(source, tree, images)


FORMAT = Format(
    name="fit",
    title="FIT, U-Boot's flattened image tree",
    open=_open,
    magics=[(0, MAGIC)],
    references=[
        Reference("Flat Image Tree specification", "https://fitspec.osfw.foundation/"),
        Reference("Devicetree Specification 0.4, chapter 5", "https://www.devicetree.org/specifications/"),
    ],
    limitations=[
        "signatures are named, not verified: the keys are in the boot loader",
        "hashes other than CRC-32, MD5, SHA-1 and SHA-2 are not checked",
        "a device tree whose end is missing: the names of its properties stand there",
    ],
)
