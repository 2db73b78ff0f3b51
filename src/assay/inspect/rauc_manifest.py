"""RAUC's manifest of an update bundle: `manifest.raucm`, in groups of `key=value`.

Source: RAUC, Reference, "Manifest": groups update, bundle, image.SLOT with filename, sha256 and size.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.manifest import ManifestEntry, PackageStatement

from .base import Content, ContentInspector
from .late import late

MOST = 1_000
"""Groups of one manifest that are read."""

_GROUP = late(r"\[([^\[\]\n]{1,200})\]\s*$")
_KEY = late(r"([A-Za-z0-9_.-]{1,100})\s*=\s*(.{0,500}?)\s*$")


def inspect(content: Content) -> Iterator[PackageStatement | ManifestEntry]:
    """Yield what a manifest states.

    Raises:
        ValueError: it has more groups than are read.
    """
    groups: list[tuple[str, int, dict[str, tuple[str, int]]]] = []
    for number, row in enumerate(content.text(1 << 20).split("\n"), 1):
        if found := _GROUP.match(row):
            groups.append((found[1], number, {}))
        elif groups and len(groups) <= MOST and (found := _KEY.match(row)):
            groups[-1][2].setdefault(found[1], (found[2], number))
    about = {name: fields for name, _, fields in groups if name in ("update", "bundle")}
    update = about.get("update", {})
    if update:
        yield PackageStatement(
            kind="rauc",
            name=update.get("description", (None, 0))[0],
            version=update.get("version", (None, 0))[0],
            format=about.get("bundle", {}).get("format", (None, 0))[0],
            created=update.get("build", (None, 0))[0],
            compatible=[update["compatible"][0]] if "compatible" in update else [],
            line=min(line for _, line in update.values()),
        )
    for name, number, fields in groups[:MOST]:
        if name.startswith("image.") and "filename" in fields:
            digest = fields.get("sha256", ("", 0))[0].lower()
            size = fields.get("size", ("", 0))[0]
            yield ManifestEntry(
                kind="rauc",
                name=fields["filename"][0],
                algorithm="sha256" if digest else None,
                digest=digest or None,
                size=int(size) if size.isdecimal() and len(size) < 19 else None,
                line=number,
            )
    if len(groups) > MOST:
        raise ValueError(f"more than {MOST} groups in a manifest")


INSPECTOR = ContentInspector(
    name="rauc-manifest",
    version=1,
    families=(PackageStatement, ManifestEntry),
    inspect=inspect,
    wants_path=lambda path: path.endswith("/manifest.raucm"),
    max_size=1 << 20,
    text_only=True,
    unseen=("hooks and adaptive methods of a manifest",),
)
