"""CSAR packages of network functions: `TOSCA.meta`, and the manifest with names, digests and signature.

Source: ETSI GS NFV-SOL 004 V4.3.1, clauses 4.1.2 (TOSCA.meta), 4.3.2 (manifest), 5.3 (signature in CMS). O-RAN
application packages have the same structure with metadata of their own (application_name and so on).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.manifest import ManifestEntry, PackageStatement

from .base import Content, ContentInspector
from .late import late

MOST = 20_000
"""Files of one manifest that are told."""
LENGTH = 500
"""Characters kept of a value."""

_FIELD = late(r"\s*([A-Za-z][A-Za-z0-9_-]*)\s*:[ \t]*(.*?)\s*$")
_SUBJECTS = {
    "vnf": "csar",
    "pnfd": "csar",
    "pnf": "csar",
    "nsd": "csar",
    "ns": "csar",
    "application": "oran",
    "app": "oran",
}
_NAMES = ("product_name", "name", "product_info_name")
_VERSIONS = ("package_version", "archive_version", "version", "file_structure_version", "software_version")
_PROVIDERS = ("provider_id", "provider", "designer")


def inspect(content: Content) -> Iterator[PackageStatement | ManifestEntry]:
    """Yield what a TOSCA.meta or a manifest states.

    Raises:
        ValueError: a manifest has more files than are told.
    """
    text = content.text(8 << 20)
    if re.match(r"\ufeff?\s*TOSCA-Meta-(?:File-)?Version\s*:", text):
        yield from _meta(text)
    elif re.match(r"\ufeff?(?:\s*#[^\n]*\n)*\s*metadata\s*:", text) or re.search(r"^Source\s*:", text, re.MULTILINE):
        yield from _manifest(text)


def _meta(text: str) -> Iterator[PackageStatement]:
    fields: dict[str, str] = {}
    for row in text.split("\n")[:1000]:
        if found := _FIELD.match(row):
            fields.setdefault(found[1].lower(), found[2][:LENGTH])
    yield PackageStatement(
        kind="csar",
        format=fields.get("csar-version") or None,
        created=fields.get("created-by") or None,
        line=1,
    )


def _manifest(text: str) -> Iterator[PackageStatement | ManifestEntry]:
    body, mark, _ = text.partition("-----BEGIN CMS-----")
    signature = "cms" if mark else None
    metadata: dict[str, tuple[str, int]] = {}
    blocks: list[dict[str, tuple[str, int]]] = []
    within = False
    for number, row in enumerate(body.split("\n"), 1):
        found = _FIELD.match(row)
        if found is None:
            continue
        key, value = found[1].lower(), found[2].strip("\"'")[:LENGTH]
        if key == "metadata" and not value:
            within = True
        elif key == "source":
            within = False
            blocks.append({key: (value, number)})
        elif key in ("algorithm", "hash", "signature", "certificate") and blocks and not within:
            blocks[-1].setdefault(key, (value, number))
        elif within and value:
            metadata.setdefault(key, (value, number))
    kind = "csar"
    if metadata:
        yield (about := _about(metadata, signature))
        kind = about.kind
    for block in blocks[:MOST]:
        name, line = block["source"]
        digest = block.get("hash", ("", 0))[0].lower()
        algorithm = re.sub(r"[^a-z0-9]", "", block.get("algorithm", ("", 0))[0].lower())
        own = "file" if "signature" in block else None
        yield ManifestEntry(
            kind=kind,
            name=name,
            algorithm=(algorithm or None) if digest else None,
            digest=digest or None,
            signature=signature or own,
            line=line,
        )
    if len(blocks) > MOST:
        raise ValueError(f"more than {MOST} files in a manifest")


def _about(metadata: dict[str, tuple[str, int]], signature: str | None) -> PackageStatement:
    kind = next((_SUBJECTS[key.split("_")[0]] for key in metadata if key.split("_")[0] in _SUBJECTS), "csar")

    def first(endings: tuple[str, ...]) -> str | None:
        for ending in endings:
            for key, (value, _) in metadata.items():
                subject, _, rest = key.partition("_")
                if rest == ending and subject in _SUBJECTS:
                    return value
        return None

    return PackageStatement(
        kind=kind,
        name=first(_NAMES),
        version=first(_VERSIONS),
        provider=first(_PROVIDERS),
        format=metadata.get("entry_definition_type", (None, 0))[0],
        created=first(("release_date_time",)),
        compatible=[],
        signature=signature,
        line=min(line for _, line in metadata.values()),
    )


INSPECTOR = ContentInspector(
    name="sol004",
    version=1,
    families=(PackageStatement, ManifestEntry),
    inspect=inspect,
    wants_path=lambda path: path.endswith((".mf", "/TOSCA-Metadata/TOSCA.meta")),
    max_size=8 << 20,
    text_only=True,
    unseen=("signatures are told, not verified", "signatures and certificates in files beside the manifest"),
)
