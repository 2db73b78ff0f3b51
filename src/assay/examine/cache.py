"""Facts of contents seen before, on this machine: what an inspector said of a content does not change.

The key is the content's SHA-256 and the inspector; a second key, the digest of a content's stored (compressed) form,
recognises a file without decompressing it. The cache holds facts, never contents or secrets. It belongs to one version
of the inspectors and fact families: its file is named by a digest of their sources, so no stale fact survives a change.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from assay import unpack

from .protocol import NOTHING, Inner, decode_facts, decode_inner, encode

SMALL = 512
"""Contents up to this size are not kept: inspecting them costs no more than looking them up, in bytes."""

MAX_BYTES = 4 << 30
"""A cache larger than this is started anew."""


def generation() -> str:
    """Return a digest of everything that facts depend on: the sources of families, readers and inspectors."""
    digest = hashlib.sha256()
    for name in ("assay.facts", "assay.unpack", "assay.inspect", "assay.identify", "assay.examine"):
        for folder in importlib.import_module(name).__path__:
            for source in sorted(Path(folder).glob("*.py")):
                digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


class FactCache:
    """The cache, or nothing: a cache that cannot be used is left alone and everything is inspected.

    Args:
        folder: where its file lies; None for no cache.
    """

    def __init__(self, folder: Path | None) -> None:
        self.db: sqlite3.Connection | None = None
        self._stored: list[tuple[bytes, bytes]] = []
        self._contents: list[tuple[bytes, int, str]] = []
        self._facts: list[tuple[bytes, str, int, bytes]] = []
        self._inners: list[tuple[bytes, bytes]] = []
        self.formats = unpack.formats()
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / f"facts-{generation()}.sqlite"
            for old in folder.glob("facts-*.sqlite*"):
                if not old.name.startswith(path.name):
                    old.unlink(missing_ok=True)
            if path.exists() and path.stat().st_size > MAX_BYTES:
                path.unlink()
            self.path = path
            self.db = sqlite3.connect(path, isolation_level=None, timeout=10)
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = OFF")
            self.db.executescript(
                """CREATE TABLE IF NOT EXISTS content (sha256 BLOB PRIMARY KEY, size INTEGER, kind TEXT) WITHOUT ROWID;
                   CREATE TABLE IF NOT EXISTS stored (digest BLOB PRIMARY KEY, sha256 BLOB) WITHOUT ROWID;
                   CREATE TABLE IF NOT EXISTS facts (sha256 BLOB, inspector TEXT, by_head INTEGER, facts BLOB,
                                                     PRIMARY KEY (sha256, inspector)) WITHOUT ROWID;
                   CREATE TABLE IF NOT EXISTS inner (sha256 BLOB PRIMARY KEY, inner BLOB) WITHOUT ROWID;"""
            )
        except sqlite3.Error:
            self._give_up()
        except OSError:
            pass

    def by_stored(self, digests: Collection[bytes]) -> dict[bytes, tuple[bytes, int, str]]:
        """Return (SHA-256, size, kind) of the contents whose stored forms have these digests, by digest."""
        rows = self._select(
            "SELECT s.digest, sha256, c.size, c.kind FROM stored AS s JOIN content AS c USING (sha256) WHERE s.digest",
            digests,
        )
        if any(len(sha256) != 32 or type(size) is not int or type(kind) is not str for _, sha256, size, kind in rows):
            self._give_up()
            return {}
        return {digest: (sha256, size, kind) for digest, sha256, size, kind in rows}

    def facts(self, contents: Collection[bytes]) -> dict[bytes, dict[str, tuple[bool, bytes]]]:
        """Return what is known of contents, by SHA-256 and inspector: wanted for what it is, and the packed facts.

        Whoever relies on `by_stored` asks `usable` after this: facts that are missing for damage are not none.
        """
        found: dict[bytes, dict[str, tuple[bool, bytes]]] = {}
        rows = self._select("SELECT sha256, inspector, by_head, facts FROM facts WHERE sha256", contents)
        for sha256, inspector, by_head, facts in rows:
            try:
                if facts != NOTHING:
                    decode_facts(facts)
            except (TypeError, ValueError):
                self._give_up()
                return {}
            found.setdefault(sha256, {})[inspector] = (bool(by_head), facts)
        return found

    def inner(self, contents: Collection[bytes]) -> dict[bytes, Inner]:
        """Return what came out of small compressed streams, by the SHA-256 of the stream."""
        found: dict[bytes, Inner] = {}
        for sha256, packed in self._select("SELECT sha256, inner FROM inner WHERE sha256", contents):
            try:
                found[sha256] = decode_inner(packed)
            except (TypeError, ValueError):
                self._give_up()
                return {}
        return found

    @property
    def usable(self) -> bool:
        """Tell whether the cache has answered everything so far."""
        return self.db is not None

    def _give_up(self) -> None:
        """Use the cache no more: it is damaged, and is removed so that the next run begins a new one."""
        if self.db is not None:
            self.db.close()
            self.db = None
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _select(self, query: str, keys: Collection[bytes]) -> list[tuple[Any, ...]]:
        """Return the rows for many keys at once: one statement costs as much as a row."""
        if self.db is None or not keys:
            return []
        try:
            return self.db.execute(f"{query} IN ({','.join('?' * len(keys))})", tuple(keys)).fetchall()
        except sqlite3.Error:
            self._give_up()
            return []

    def add(self, sha256: bytes, size: int, kind: str, stored: bytes | None) -> None:
        """Keep a content of which every inspector that wanted it has been heard."""
        if self.db is None:
            return
        self._contents.append((sha256, size, kind))
        if stored is not None:
            self._stored.append((stored, sha256))

    def add_facts(self, sha256: bytes, inspector: str, by_head: bool, facts: bytes) -> None:
        """Keep what an inspector said of a content."""
        if self.db is not None:
            self._facts.append((sha256, inspector, int(by_head), facts))

    def add_inner(self, sha256: bytes, inner: Inner) -> None:
        """Keep what came out of a small compressed stream, if that could be read and is no container again."""
        result = inner.result
        if (
            self.db is not None
            and result.sha256 is not None
            and result.problem is None
            and result.kind not in self.formats
            and result.nested is None
        ):
            bare = replace(result, stored=None, inspections=[])
            self._inners.append((sha256, encode(replace(inner, result=bare))))

    def commit(self) -> None:
        """Write what has been kept."""
        if self.db is not None and (self._contents or self._facts or self._stored):
            try:
                self.db.execute("BEGIN IMMEDIATE")
                self.db.executemany("INSERT OR REPLACE INTO content VALUES (?,?,?)", self._contents)
                self.db.executemany("INSERT OR REPLACE INTO stored VALUES (?,?)", self._stored)
                self.db.executemany("INSERT OR REPLACE INTO facts VALUES (?,?,?,?)", self._facts)
                self.db.executemany("INSERT OR REPLACE INTO inner VALUES (?,?)", self._inners)
                self.db.execute("COMMIT")
            except sqlite3.Error:
                with contextlib.suppress(sqlite3.Error):
                    self.db.execute("ROLLBACK")
        self._contents.clear()
        self._stored.clear()
        self._facts.clear()
        self._inners.clear()

    def close(self) -> None:
        """Write and close."""
        self.commit()
        if self.db is not None:
            self.db.close()
            self.db = None
