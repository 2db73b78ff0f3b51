"""Container images: the layers of an image put on each other, as a runtime would, into one tree of facts.

Nothing is read again: the merged tree's files are the layers' files, by the same contents. The layers stay as they are,
with what they delete.

Sources: OCI image-spec layer.md ("Applying changesets", "Whiteouts"); docker image save format 1.2.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from assay.facts.structure import Container, File
from assay.record import Record

MOST_STREAMS = 4
"""Compressed streams around a layer's tar that are looked through."""


def compose_images(record: Record) -> None:
    """Add a container of format `image`, with its files, for each image whose layers are in the record."""
    record.commit()
    manifests = record.db.execute(
        """SELECT DISTINCT f.container, m.format, m.name, m.layers FROM image_manifest AS m
           JOIN file AS f ON f.content = m.content ORDER BY f.container, m.format DESC, m.id"""
    ).fetchall()
    done = {
        (parent, msgspec.json.decode(detail).get("layers"))
        for parent, detail in record.db.execute("SELECT parent, detail FROM container WHERE format = 'image'")
    }
    for archive, format, name, packed in manifests:
        layers = [_tar(record.db, archive, path) for path in msgspec.json.decode(packed)]
        key = ",".join(str(layer) for layer in layers)
        if not layers or None in layers or (archive, key) in done:
            continue
        done.add((archive, key))
        _merge(record, archive, [layer for layer in layers if layer is not None], format, name, key)
    record.commit()


def _tar(db: sqlite3.Connection, archive: int, path: str) -> int | None:
    """Return the container that a layer's archive is, looking through its compression."""
    row = db.execute(
        """SELECT c.id, c.format FROM file AS f JOIN container AS c ON c.file = f.id
           WHERE f.container = ? AND f.path = ?""",
        (archive, path if path.startswith("/") else "/" + path),
    ).fetchone()
    for _ in range(MOST_STREAMS):
        if row is None:
            return None
        inner = db.execute(
            """SELECT c.id, c.format FROM file AS f JOIN container AS c ON c.file = f.id
               WHERE f.container = ? AND (SELECT count(*) FROM file WHERE container = ?) = 1""",
            (row[0], row[0]),
        ).fetchone()
        if row[1] == "tar" or inner is None:
            return int(row[0])
        row = inner
    return None


def _merge(record: Record, archive: int, layers: list[int], format: str, name: str, key: str) -> None:
    """Add one merged image."""
    merged: dict[str, File] = {}
    for layer in layers:
        added: dict[str, File] = {}
        for file in record.facts(File, "container = ?", (layer,)):
            if file.whiteout is None or file.type == "directory":
                added[file.path] = file
        files, folders = set(), set()
        for path, kind in record.db.execute(
            "SELECT path, whiteout FROM file WHERE container = ? AND whiteout IS NOT NULL", (layer,)
        ):
            folder, _, base = path.rpartition("/")
            if kind == "opaque":
                folders.add(folder if base == ".wh..wh..opq" else path)
            else:
                files.add(f"{folder}/{base.removeprefix('.wh.')}")
        # a file in the place of a directory takes the whole of it away
        replaced = {path for path, file in added.items() if file.type != "directory" and path in merged}
        if files or folders or replaced:
            merged = {path: file for path, file in merged.items() if path not in files}
            below = _below(merged, files | folders | replaced)
            merged = {path: file for path, file in merged.items() if path.rpartition("/")[0] not in below}
        merged |= added
    artefact, parent_path, depth = record.db.execute(
        "SELECT artefact, path, depth FROM container WHERE id = ?", (archive,)
    ).fetchone()
    number = record.add(
        Container(
            artefact=artefact,
            parent=archive,
            file=None,
            format="image",
            path=f"{parent_path}image:{name}!",
            depth=depth + 1,
            size=None,
            listed=len(merged),
            detail={"manifest": format, "layers": key},
            complete=True,
        )
    )
    for seq, path in enumerate(sorted(merged)):
        record.add(msgspec.structs.replace(merged[path], container=number, seq=seq))


def _below(paths: Iterable[str], tops: set[str]) -> set[str]:
    """Return the folders of paths that are one of `tops` or lie in one; each folder is looked at once."""
    inside = {"": "" in tops}
    for path in paths:
        chain = []
        folder = path.rpartition("/")[0]
        while folder not in inside:
            chain.append(folder)
            folder = folder.rpartition("/")[0]
        for folder in reversed(chain):
            inside[folder] = folder in tops or inside[folder.rpartition("/")[0]]
    return {folder for folder, gone in inside.items() if gone}
