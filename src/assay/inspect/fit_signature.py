"""Signatures in FIT images: on single images, and on configurations, with the nodes that they cover.

Reference: U-Boot documentation, "U-Boot FIT Signature Verification".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.identity import Identity
from assay.facts.sealing import Signature
from assay.unpack.base import BytesSource, Limits, NotThisFormat
from assay.unpack.fdt import MAGIC, DeviceTree, Node

from .base import Content, ContentInspector

MOST = 1_000
ALGORITHM = re.compile(r"(\w+),([a-z]+)\w*")


def inspect(content: Content) -> Iterator[Signature | Identity]:
    """Yield the signatures of a FIT image; nothing of any other device tree.

    Raises:
        UnpackError: the tree is broken.
    """
    try:
        root = DeviceTree(BytesSource(memoryview(content.data)), Limits()).root
    except NotThisFormat:
        return
    signed: list[tuple[str, Node]] = []
    for where in ("images", "configurations"):
        above = root.children.get(where)
        for holder in above.children.values() if above else ():
            signed += [(where, node) for node in holder.children.values() if node.name.startswith("signature")]
    for where, node in signed[:MOST]:
        yield from _facts(where, node)


def _facts(where: str, node: Node) -> Iterator[Signature | Identity]:
    offset = node.values.get("value", (0, 0))[0]
    stated = node.text("algo") or ""
    match = ALGORITHM.fullmatch(stated)
    holder = node.path.split("/")[-2]
    covers = f"image {holder}" if where == "images" else f"configuration {holder}"
    nodes = (node.text("hashed-nodes") or "")[:500]
    yield Signature(
        offset=offset,
        format="fit",
        kind="image" if where == "images" else "configuration",
        algorithm=match[2] if match else stated[:50] or None,
        digest=match[1] if match else None,
        covers=f"{covers}: {nodes}" if nodes else covers,
    )
    name = node.text("key-name-hint")
    if name:
        yield Identity(offset=offset, subject="signature:fit", attribute="key-name", value=name[:500])


INSPECTOR = ContentInspector(
    name="fit-signature",
    version=1,
    families=(Signature, Identity),
    inspect=inspect,
    wants_head=lambda head: head.startswith(MAGIC),
    head_begins=(MAGIC,),
    containers=True,
    unseen=("whether a signature is right: its key is in the boot loader, and none is verified",),
)
