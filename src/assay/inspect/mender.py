"""Mender's artifacts: `manifest` (digests), and `header-info` in the header.

Source: Mender documentation, "Artifact format" versions 2 and 3. A signature is in a file beside it (manifest.sig).
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator

from assay.facts.manifest import ManifestEntry, PackageStatement

from .base import Content, ContentInspector
from .late import late

MOST = 20_000
"""Files of one manifest that are told."""

_LINE = late(r"([0-9a-f]{64})  ([^\n]{1,1000})")


def inspect(content: Content) -> Iterator[PackageStatement | ManifestEntry]:
    """Yield what a manifest or a header-info states.

    Raises:
        ValueError: a header-info is no JSON, or a manifest has more files than are told.
    """
    text = content.text(4 << 20)
    if text.lstrip().startswith("{"):
        yield from _header(text)
        return
    rows = [(number, row) for number, row in enumerate(text.split("\n"), 1) if row]
    found = [(number, _LINE.fullmatch(row)) for number, row in rows[: MOST + 1]]
    names = {match[2] for _, match in found if match}
    if len(names) < 2 or "version" not in names or None in (match for _, match in found):
        return  # a manifest of something else
    for number, match in found[:MOST]:
        assert match is not None
        yield ManifestEntry(kind="mender", name=match[2], algorithm="sha256", digest=match[1], line=number)
    if len(found) > MOST:
        raise ValueError(f"more than {MOST} files in a manifest")


def _header(text: str) -> Iterator[PackageStatement]:
    try:
        root = json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    if not isinstance(root, dict):
        return
    provides, depends = _mapping(root.get("artifact_provides")), _mapping(root.get("artifact_depends"))
    name = provides.get("artifact_name", root.get("artifact_name"))
    devices = depends.get("device_type", root.get("device_types_compatible"))
    kinds = root.get("payloads", root.get("updates"))
    if not isinstance(name, str):
        return
    types = (
        [str(one.get("type"))[:100] for one in kinds[:20] if isinstance(one, dict)] if isinstance(kinds, list) else []
    )
    yield PackageStatement(
        kind="mender",
        name=name[:500],
        format=" ".join(types) or None,
        compatible=[str(one)[:200] for one in devices[:100]] if isinstance(devices, list) else [],
        line=text.count("\n", 0, max(0, text.find('"artifact_name"'))) + 1,
    )


def _mapping(found: object) -> dict[str, object]:
    return found if isinstance(found, dict) else {}


INSPECTOR = ContentInspector(
    name="mender",
    version=1,
    families=(PackageStatement, ManifestEntry),
    inspect=inspect,
    wants_path=lambda path: posixpath.basename(path) in ("manifest", "header-info"),
    max_size=4 << 20,
    text_only=True,
    unseen=("artifacts of version 1", "the signature beside a manifest", "meta-data and type-info of payloads"),
)
