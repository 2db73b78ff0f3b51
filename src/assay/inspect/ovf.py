"""OVF packages (virtual appliances): the descriptor's product section, and the manifest's digests.

Source: DMTF DSP0243 2.1.1, clauses 5.1 (manifest: `SHA256(file)= digest`) and 9.5 (ProductSection). The descriptor is
searched, not parsed as XML: nothing of it can refer to anything else.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from assay.facts.manifest import ManifestEntry, PackageStatement

from .base import Content, ContentInspector
from .late import late

MOST = 20_000
"""Files of one manifest that are told."""

_DIGEST = late(r"(SHA-?(?:1|256|384|512)|MD5)\s*\(([^()\n]{1,500})\)\s*=\s*([0-9A-Fa-f]{32,128})\s*$")
_SECTION = late(r"<(?:\w+:)?ProductSection\b[^>]{0,2000}>(.{0,65536}?)</(?:\w+:)?ProductSection>", re.DOTALL)
_FIELD = late(r"<(?:\w+:)?(Product|Vendor|Version|FullVersion)\b[^>]{0,500}>([^<]{0,500})<")
_ENVELOPE = late(r"<(?:\w+:)?Envelope\b[^>]{0,4000}\bxmlns(?::\w+)?=[\"'][^\"']{0,200}/ovf/envelope/(\d)")


def inspect(content: Content) -> Iterator[PackageStatement | ManifestEntry]:
    """Yield what a descriptor or a manifest states.

    Raises:
        ValueError: a manifest has more files than are told.
    """
    text = content.text(8 << 20)
    if envelope := _ENVELOPE.search(text[:16384]):
        section = _SECTION.search(text)
        fields = {found[1]: html.unescape(found[2]).strip() for found in _FIELD.finditer(section[1])} if section else {}
        yield PackageStatement(
            kind="ovf",
            name=fields.get("Product") or None,
            version=fields.get("FullVersion") or fields.get("Version") or None,
            provider=fields.get("Vendor") or None,
            format=envelope[1],
            line=text.count("\n", 0, section.start() if section else envelope.start()) + 1,
        )
        return
    told = 0
    for number, row in enumerate(text.split("\n"), 1):
        if found := _DIGEST.match(row):
            told += 1
            if told > MOST:
                raise ValueError(f"more than {MOST} files in a manifest")
            yield ManifestEntry(
                kind="ovf",
                name=found[2].strip(),
                algorithm=found[1].lower().replace("-", ""),
                digest=found[3].lower(),
                line=number,
            )


INSPECTOR = ContentInspector(
    name="ovf",
    version=1,
    families=(PackageStatement, ManifestEntry),
    inspect=inspect,
    wants_path=lambda path: path.endswith((".ovf", ".mf")),
    max_size=8 << 20,
    text_only=True,
    unseen=("the certificate file beside a manifest", "product sections after the first"),
)
