"""What the scheduler keeps in mind while it examines: containers, their files, jobs for workers, contents."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Spool:
    """Bytes on disk for contents that are being handed over."""

    total: int = 0


class Handle:
    """An open descriptor, closed when the last user is gone."""

    def __init__(self, fd: int, account: Spool | None = None) -> None:
        self.fd = fd
        self.account = account
        self.counted = 0

    def count(self) -> None:
        """Enter the file's present size into the account of spooled bytes."""
        if self.account is not None:
            size = os.fstat(self.fd).st_size
            self.account.total += size - self.counted
            self.counted = size

    def __del__(self) -> None:
        if self.account is not None:
            self.account.total -= self.counted
        os.close(self.fd)


@dataclass(slots=True)
class Group:
    """Files of a container that are the same bytes by its own account (hard links), or a single one."""

    seq: int
    files: list[int]
    paths: list[str]
    locator: bytes | None
    size: int | None
    only_container: bool = False


@dataclass
class Box:
    """A container being examined. Box number 0 and below: an artefact as it was given, `raw`."""

    id: int
    artefact: int
    path: str
    depth: int
    handle: Handle | None = None
    start: int = 0
    size: int = 0
    folder: Path | None = None
    format: str = "raw"
    parent: Box | None = None
    offset: int | None = None
    """Where it begins in its parent, if it is bytes that the parent does not explain."""
    groups: dict[int, Group] = field(default_factory=dict)
    links: list[tuple[int, int, str, str]] = field(default_factory=list)
    """Hard links by name: position, fact, path, target."""
    bare: set[str] = field(default_factory=set)
    """Paths of entries that have no bytes: a hard link to one of them has none either."""
    known: dict[int, tuple[int, int | None, bool, tuple[object, ...]]] = field(default_factory=dict)
    unfinished: set[int] = field(default_factory=set)
    """Files that an earlier part of the run has read (on), and whose own container it has not finished."""
    relisted: bool = False
    """Its listing is in the record from an earlier part of the run: `known` has each entry by its position."""
    seen: int = 0
    stored: int = 0
    listed: bool = False
    outstanding: int = 0


@dataclass(slots=True)
class Claimed:
    """What the worker of a job has been told to look at a content with."""

    inspectors: set[str]
    heads: frozenset[str]
    """Inspectors that want it for what it is, whatever its path."""


@dataclass
class Job:
    """A task for a worker, not yet or being done."""

    box: Box
    groups: list[Group] | None = None
    roots: list[str] | None = None
    inspectors: list[str] = field(default_factory=list)
    attempts: int = 0
    spool: Handle | None = None
    claims: dict[bytes, Claimed] = field(default_factory=dict)


@dataclass(slots=True)
class ContentState:
    """A distinct content of this record. There may be a million: kept small."""

    id: int
    size: int
    kind: str
    applied: frozenset[str] = frozenset()
    """Inspectors that have been heard on it."""
    added: bool = False
