"""SWUpdate's sw-description: version, hardware, and the images, files and scripts with their digests.

Source: SWUpdate documentation, "SWUpdate: syntax and tags with the default parser". It is in the syntax of libconfig or
in JSON. A signature is in a file beside it (sw-description.sig).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from assay.facts.manifest import ManifestEntry, PackageStatement

from .base import Content, ContentInspector
from .libconfig_format import scalars

MOST = 20_000
"""Values that are looked at."""


def inspect(content: Content) -> Iterator[PackageStatement | ManifestEntry]:
    """Yield what a sw-description states.

    Raises:
        ValueError: it cannot be read on; what came before stands.
    """
    text = content.text(4 << 20)
    found = _json(text) if text.lstrip().startswith("{") else scalars(text)
    groups: dict[str, dict[str, tuple[str, int | None]]] = {}
    about: dict[str, tuple[str, int | None]] = {}
    hardware: list[str] = []
    error: ValueError | None = None
    try:
        for path, value, line in found:
            if not path.startswith("software."):
                continue
            group, _, key = path.rpartition(".")
            if "hardware-compatibility[" in path:
                if value not in hardware and len(hardware) < 100:
                    hardware.append(value[:200])
            elif group == "software":
                about.setdefault(key, (value[:500], line))
            elif "[" in group.rpartition(".")[2] and key in ("filename", "sha256", "size", "encrypted", "name"):
                groups.setdefault(group, {}).setdefault(key, (value[:500], line))
    except ValueError as raised:
        error = raised
    if about or hardware or groups:
        yield PackageStatement(
            kind="swupdate",
            name=about.get("name", about.get("description", (None, 0)))[0],
            version=about.get("version", (None, 0))[0],
            compatible=hardware,
            line=about.get("version", (None, None))[1],
        )
    for fields in groups.values():
        if "filename" in fields:
            name, line = fields["filename"]
            digest = fields.get("sha256", ("", 0))[0].lower()
            yield ManifestEntry(
                kind="swupdate", name=name, algorithm="sha256" if digest else None, digest=digest or None, line=line
            )
    if error is not None:
        raise error


def _json(text: str) -> Iterator[tuple[str, str, int | None]]:
    """Yield (path, scalar, no line) of a JSON text, as of libconfig."""
    try:
        root = json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    pending: list[tuple[str, object]] = [("", root)]
    count = 0
    while pending:
        path, value = pending.pop()
        count += 1
        if count > MOST or len(path) > 1000:
            raise ValueError(f"more than {MOST} values, or a path of more than 1000 characters")
        if isinstance(value, dict):
            pending += [(f"{path}.{key}" if path else str(key), inner) for key, inner in reversed(value.items())]
        elif isinstance(value, list):
            pending += [(f"{path}[{n}]", value[n]) for n in reversed(range(len(value)))]
        elif value is not None:
            yield path, value if isinstance(value, str) else json.dumps(value), None


INSPECTOR = ContentInspector(
    name="swupdate",
    version=1,
    families=(PackageStatement, ManifestEntry),
    inspect=inspect,
    wants_path=lambda path: path.endswith("/sw-description"),
    max_size=4 << 20,
    text_only=True,
    unseen=("files that a description includes", "links from one section to another (ref)"),
)
