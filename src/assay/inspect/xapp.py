"""Descriptors of applications for O-RAN's near-real-time controller (xApps): name, version, and who made them.

Source: O-RAN Software Community, xApp onboarder, "xApp descriptor" (config-file.json).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from assay.facts.manifest import PackageStatement

from .base import Content, ContentInspector


def inspect(content: Content) -> Iterator[PackageStatement]:
    """Yield what a descriptor states.

    Raises:
        ValueError: it is no JSON.
    """
    text = content.text(1 << 20)
    try:
        root = json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    if not isinstance(root, dict) or not isinstance(root.get("containers"), list):
        return

    def stated(*names: str) -> str | None:
        return next((found[:500] for name in names if isinstance(found := root.get(name), str)), None)

    name = stated("xapp_name")
    if name is not None:
        yield PackageStatement(
            kind="oran",
            name=name,
            version=stated("version", "xapp_version"),
            provider=stated("vendor", "provider"),
            format="xapp",
            line=text.count("\n", 0, max(0, text.find('"xapp_name"'))) + 1,
        )


INSPECTOR = ContentInspector(
    name="xapp",
    version=1,
    families=(PackageStatement,),
    inspect=inspect,
    wants_head=lambda head: b'"xapp_name"' in head[:8192] and head.lstrip()[:1] == b"{",
    max_size=1 << 20,
    text_only=True,
    unseen=("descriptors whose name comes after their first 8 KiB", "what an xApp's schema says of its settings"),
)
