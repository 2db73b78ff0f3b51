"""Device trees and FIT images: what the boot loader and the kernel are told by them.

Source: Devicetree Specification 0.4, sections 3.6 (/chosen) and 5 (the flattened form); U-Boot:
doc/device-tree-bindings/config.txt, doc/usage/fit/signature.rst (/signature, and configurations of a FIT); Linux:
Documentation/devicetree/bindings/mtd/partitions/fixed-partitions.yaml; Android: /firmware/android (fstab, vbmeta).

A directive is one property: its node's path is the section. Who made the board (/model, /compatible) is an identity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts import ContentFact
from assay.facts.identity import Identity
from assay.facts.service import Directive
from assay.unpack.base import BytesSource, LimitReached, Limits, NotThisFormat
from assay.unpack.fdt import MAGIC, DeviceTree, Node

from .base import Content, ContentInspector
from .late import late
from .secrecy import withhold

DIALECT = "device-tree"

MOST = 4096
"""Properties told of one tree, and bytes of one value."""

_TEXTS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (late(r"/chosen"), ("bootargs", "bootargs-ext", "stdout-path", "linux,stdout-path")),
    (late(r"/config"), ("bootcmd",)),
    (late(r"/signature"), ("required-mode",)),
    (late(r"/signature/[^/]+"), ("required", "algo", "key-name-hint")),
    (late(r"/firmware/android/vbmeta"), ("parts",)),
    (late(r"/firmware/android/fstab/[^/]+"), ("dev", "type", "mnt_flags", "fsmgr_flags")),
    (late(r"/images/[^/]+"), ("type", "arch", "os", "compression")),
    (late(r"/images/[^/]+/(?:hash|signature|cipher)[^/]*"), ("algo", "key-name-hint", "padding", "sign-images")),
    (late(r"/configurations"), ("default",)),
    (late(r"/configurations/[^/]+"), ("kernel", "fdt", "ramdisk", "loadables", "firmware", "fpga")),
    (late(r"/configurations/[^/]+/signature[^/]*"), ("algo", "key-name-hint", "padding", "sign-images")),
)
"""Nodes, by their whole path, and their properties that are texts."""

_NUMBERS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (late(r"/config"), ("bootdelay", "bootsecure", "load-environment", "silent-console")),
    (late(r"/signature/[^/]+"), ("rsa,num-bits", "ecdsa,num-bits")),
    (late(r"/images/[^/]+"), ("load", "entry")),
)

_PRESENT = ((late(r"/chosen"), ("rng-seed", "kaslr-seed")),)
"""Properties whose value is a secret: that they are there, and how long they are, is told."""

_PARTITION = late(r"/.*/partitions?(?:@[^/]*)?/partition@[^/]+|/.*flash@[^/]*/partition@[^/]+")
"""A partition of a flash memory, by the names that its bindings prescribe."""


def inspect(content: Content) -> Iterator[ContentFact]:
    """Yield the properties that say how the machine is started, with the offset of each value.

    Raises:
        UnpackError: the tree is broken; NotThisFormat is no failure, since the magic is a constant in boot loaders.
        LimitReached: there are more properties of these kinds than any real tree has.
    """
    try:
        tree = DeviceTree(BytesSource(content.data), Limits())
    except NotThisFormat:
        return
    for name, attribute in (("model", "name"), ("compatible", "label")):
        if value := tree.root.text(name):
            yield Identity(subject=DIALECT, attribute=attribute, value=value, offset=tree.root.values[name][0])
    told = 0
    for node in tree.root.walk():
        for key, value in _said(node):
            told += 1
            if told > MOST:
                raise LimitReached("properties", MOST)
            shown = withhold(f"{key}={value}")[len(key) + 1 :]
            yield Directive(dialect=DIALECT, section=node.path or "/", key=key, value=shown, offset=node.values[key][0])


def _said(node: Node) -> Iterator[tuple[str, str]]:
    """Yield what a node says, as (property, value)."""
    for path, names in _TEXTS:
        if path.fullmatch(node.path):
            yield from ((name, node.text(name) or "") for name in names if name in node)
    for path, names in _NUMBERS:
        if path.fullmatch(node.path):
            for name in names:
                if name in node:
                    number = node.number(name)
                    yield name, (node.raw(name) or b"").hex() if number is None else str(number)
    for path, names in _PRESENT:
        if path.fullmatch(node.path):
            yield from ((name, f"{node.values[name][1]} bytes") for name in names if name in node)
    if _PARTITION.fullmatch(node.path):
        yield from ((name, node.text(name) or "") for name in ("label", "read-only") if name in node)
        if "reg" in node:
            yield "reg", (node.raw("reg", 64) or b"").hex(" ", 4)


INSPECTOR = ContentInspector(
    name="device-tree",
    version=1,
    families=(Directive, Identity),
    inspect=inspect,
    head_begins=(MAGIC,),
    wants_head=lambda head: head.startswith(MAGIC),
    max_size=1 << 30,
    containers=True,
    unseen=(
        "a device tree behind other bytes, as in a boot loader, unless a container format or carving has found it",
        "overlays (.dtbo) are not applied",
        "what a boot loader changes in the tree before it starts the kernel",
    ),
)
