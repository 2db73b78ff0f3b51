"""The main job's scheduler: artefacts in, facts in the record.

It parses nothing that comes from an image. It hands descriptors to confined workers, writes down what they report, and
keeps account: every entry that a container lists ends as read, or as an `unread` fact with its reason. Everything is
committed in steps of about a second, each consistent in itself; a killed run is continued from there.
"""

from __future__ import annotations

import os
import selectors
import signal
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from assay import __version__, unpack
from assay.facts import TreeFact, families
from assay.facts.identity import Identity
from assay.facts.structure import Artefact, Collector, Container, Content, File, Region, Run, Unread, Xattr
from assay.inspect import inspectors
from assay.record import Record
from assay.unpack.base import FileSource, Limits, Problem, Reason

from . import directory
from .cache import FactCache
from .coverage import write_coverage
from .images import compose_images
from .listing import canonical, file_fact
from .pool import Pool, WorkerHandle
from .protocol import (
    MAX_FDS,
    Answer,
    AskContents,
    AskStored,
    Closed,
    Item,
    Known,
    Listed,
    Listing,
    ListTask,
    Opened,
    ReadTask,
    Result,
    Results,
    Stretch,
    TreeFacts,
    TreeTask,
    decode_facts,
    decode_reply,
    encode,
)
from .stretches import gap
from .trees import roots
from .worker import PAGE

BATCH_BYTES = 8 << 20
BATCH_ITEMS = 128
COMMIT_SECONDS = 1.0


class ExamineError(Exception):
    """The examination cannot be done (on); one line that says what, where, and what to do."""


class Progress(Protocol):
    """Told what is going on; several times a second at most."""

    def update(self, done: int, total: int, files: int, files_total: int, what: str) -> None:
        """Take note of bytes and files read, of how many known so far, and of what is being read."""


class Handle:
    """An open descriptor, closed when the last user is gone."""

    def __init__(self, fd: int, account: _Spool | None = None) -> None:
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


@dataclass
class _Spool:
    """Bytes on disk for contents that are being handed over."""

    total: int = 0


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
    groups: dict[int, Group] = field(default_factory=dict)
    links: list[tuple[int, str, str]] = field(default_factory=list)
    known: dict[int, tuple[int, int | None, bool]] = field(default_factory=dict)
    seen: int = 0
    stored: int = 0
    listed: bool = False
    outstanding: int = 0


@dataclass
class Job:
    """A task for a worker, not yet or being done."""

    box: Box
    groups: list[Group] | None = None
    roots: list[str] | None = None
    inspectors: list[str] = field(default_factory=list)
    attempts: int = 0
    spool: Handle | None = None
    claims: list[bytes] = field(default_factory=list)


@dataclass
class ContentState:
    """A distinct content of this record."""

    id: int
    size: int
    kind: str
    applied: set[str] = field(default_factory=set)
    claimed: set[str] = field(default_factory=set)
    heads: set[str] = field(default_factory=set)
    added: bool = False


@dataclass(frozen=True)
class Outcome:
    """How an examination ended."""

    record: Path
    artefacts: int
    containers: int
    files: int
    contents: int
    bytes_read: int
    unread: int
    """Entries that could not be read."""
    cached: int
    """Contents whose facts came from the cache."""
    seconds: float
    resumed: bool


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Examination:
    """One run over artefacts into a record. Use `examine`."""

    def __init__(
        self,
        record: Record,
        pool: Pool,
        cache: FactCache,
        limits: Limits,
        progress: Progress | None,
        *,
        run: int,
        workers: int,
        spool_folder: Path | None,
    ) -> None:
        self.record = record
        self.pool = pool
        self.cache = cache
        self.limits = limits
        self.progress = progress
        self.run = run
        self.most = workers
        self.spool_folder = spool_folder
        self.spool = _Spool()
        self.jobs: deque[Job] = deque()
        self.workers: list[WorkerHandle] = []
        self.selector = selectors.DefaultSelector()
        self.contents: dict[bytes, ContentState] = {}
        self.collectors: dict[str, int] = {}
        self.formats = unpack.formats()
        self.done_bytes = self.total_bytes = self.done_files = self.total_files = self.cached = 0
        self.what = ""
        self.fact_names = [name for name in families() if hasattr(decode_facts(encode({})), name)]
        for number, sha, size, kind, inspected in record.db.execute(
            "SELECT id, sha256, size, kind, inspected FROM content"
        ):
            self.contents[bytes.fromhex(sha)] = ContentState(number, size, kind, set(inspected.split()), added=True)

    # -- artefacts -----------------------------------------------------------------------------------------------------

    def give(self, number: int, path: Path, prefix: str) -> None:
        """Take up an artefact: list a directory, or queue a file to be hashed, recognised and opened.

        Args:
            number: the artefact's fact.
            path: where it lies.
            prefix: container path that its entries get.
        """
        if path.is_dir():
            box = self.open_box(Box(0, number, prefix, 0, folder=path, format="directory"), file=None)
            if box is not None:
                self.list_folder(box)
            return
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        box = Box(-number, number, prefix, 0, handle=Handle(fd), size=os.fstat(fd).st_size)
        content = self.record.db.execute("SELECT content FROM artefact WHERE id = ?", (number,)).fetchone()[0]
        self.total_bytes += box.size
        box.groups[0] = Group(0, [], [path.name], encode(0), box.size, only_container=content is not None)
        box.listed = True
        self.queue_reads(box, [box.groups[0]])

    def list_folder(self, box: Box) -> None:
        """List a directory artefact."""
        assert box.folder is not None
        batch = Listing([], [], [], [])
        for seq, entry in enumerate(directory.entries(box.folder)):
            if isinstance(entry, Problem):
                batch.problems.append(entry)
                continue
            batch.xattrs += [(len(batch.files), name, value) for name, value in entry.xattrs.items()]
            batch.files.append(file_fact(box.id, seq, entry))
            batch.locators.append(None if entry.locator is None else entry.path)
            if len(batch.files) >= 1000:
                self.on_listing(box, batch)
                batch = Listing([], [], [], [])
        self.on_listing(box, batch)
        self.on_listed(box, Listed([]))

    def open_box(self, box: Box, file: int | None) -> Box | None:
        """Enter a container into the record and return it, or None if an earlier run has completed it.

        Args:
            box: the container; its id is given here.
            file: the file that it is; None for an artefact.
        """
        row = self.record.db.execute(
            "SELECT id, complete, listed FROM container WHERE artefact = ? AND file IS ? AND format != 'image'",
            (box.artefact, file),
        ).fetchone()
        if row is not None:
            box.id, complete, listed = row
            if complete:
                return None
            if listed is None:  # killed while listing: list it again
                self.record.commit()
                for table in (
                    "xattr WHERE file IN (SELECT id FROM file WHERE container = ?)",
                    "unread WHERE container = ?",
                    "region WHERE container = ?",
                    "file WHERE container = ?",
                ):
                    self.record.db.execute(f"DELETE FROM {table}", (box.id,))  # noqa: S608
            else:
                sql = """SELECT seq, id, content, id IN (SELECT file FROM unread WHERE scope = 'entry')
                         FROM file WHERE container = ?"""
                box.known = {r[0]: (r[1], r[2], bool(r[3])) for r in self.record.db.execute(sql, (box.id,))}
            return box
        box.id = self.record.add(
            Container(
                artefact=box.artefact,
                parent=box.parent.id if box.parent is not None and box.parent.id > 0 else None,
                file=file,
                format=box.format,
                path=box.path,
                depth=box.depth,
                size=None if box.folder is not None else box.size,
            )
        )
        return box

    # -- listing -------------------------------------------------------------------------------------------------------

    def on_opened(self, box: Box, opened: Opened) -> None:
        """Note that a reader has claimed a container."""
        box.format = opened.format
        values: dict[str, object] = {"format": opened.format, "detail": opened.detail}
        if opened.declared is not None:
            values["declared"] = opened.declared
        self.record.update(Container, box.id, **values)

    def on_listing(self, box: Box, listing: Listing) -> None:
        """Enter some entries of a container."""
        numbers = []
        for fact, locator in zip(listing.files, listing.locators, strict=True):
            known = box.known.get(fact.seq)
            if known is not None:
                number, content, unread = known
            else:
                number, content, unread = self.record.add(fact), None, False
            numbers.append(number)
            box.seen += 1
            if fact.type == "hardlink":
                box.links.append((number, fact.path, fact.link_target or ""))
            elif fact.type == "regular" and not unread:
                box.stored += fact.size or 0
                again = content is not None and self.is_container(content, number)
                if content is None or again:
                    shared = fact.nlink != 1 and fact.nlink is not None
                    key = -1 - fact.seq if not shared else hash(("shared", locator))
                    group = box.groups.get(key)
                    if group is not None and group.locator == locator:
                        group.files.append(number)
                        group.paths.append(fact.path)
                    else:
                        box.groups[key] = Group(fact.seq, [number], [fact.path], locator, fact.size, again)
        if not box.known:
            for position, name, value in listing.xattrs:
                self.record.add(Xattr(file=numbers[position], name=name, value=value))
            for problem in listing.problems:
                path = canonical(problem.path)[0] if problem.path else ""
                self.unread(box, problem, path=path)

    def is_container(self, content: int, file: int) -> bool:
        """Tell whether a file read in an earlier run is a container that is not complete."""
        kind = self.record.db.execute("SELECT kind FROM content WHERE id = ?", (content,)).fetchone()[0]
        if kind not in self.formats:
            return False
        row = self.record.db.execute("SELECT complete FROM container WHERE file = ?", (file,)).fetchone()
        return row is None or not row[0]

    def on_listed(self, box: Box, listed: Listed) -> None:
        """End a container's listing and queue its files."""
        if not box.known:
            if listed.error is not None:
                self.unread(box, listed.error, scope="rest")
            self.regions(box, listed.stretches)
            self.record.update(Container, box.id, listed=box.seen, stored=box.stored)
        groups = sorted(box.groups.values(), key=lambda group: group.seq)
        box.groups = {group.seq: group for group in groups}
        if box.links:
            by_path = {path: group for group in groups for path in group.paths}
            for number, path, target in box.links:
                group = by_path.get(canonical(os.fsencode(target))[0])
                if group is not None:
                    group.files.append(number)
                    group.paths.append(path)
                elif not box.known:
                    missing = Problem("malformed", f"hard link to a file that the container does not list: {target}")
                    self.unread(box, missing, path=path, file=number)
            box.links.clear()
        box.listed = True
        self.total_files += len(groups)
        self.total_bytes += sum(group.size or 0 for group in groups)
        for group in groups:
            if group.locator is None:
                self.unread_group(box, group, Problem("unsupported", "the container does not say where its bytes are"))
                del box.groups[group.seq]
        self.queue_reads(box, [group for group in groups if group.locator is not None])
        self.finish_box(box)

    def queue_reads(self, box: Box, groups: Sequence[Group]) -> None:
        """Queue files in batches that keep neighbours together."""
        batch: list[Group] = []
        weight = 0
        most = MAX_FDS - 10 if box.folder is not None else BATCH_ITEMS
        for group in groups:
            size = BATCH_BYTES if group.size is None else group.size
            if batch and (weight + size > BATCH_BYTES or len(batch) >= most):
                self.queue(Job(box, batch))
                batch, weight = [], 0
            batch.append(group)
            weight += size
        if batch:
            self.queue(Job(box, batch))

    def queue(self, job: Job, *, first: bool = False) -> None:
        """Queue a job; `first` for containers inside others, so that their spooled bytes are soon let go."""
        job.box.outstanding += 1
        if first:
            self.jobs.appendleft(job)
        else:
            self.jobs.append(job)

    def finish_job(self, box: Box) -> None:
        """One job of a container is over."""
        box.outstanding -= 1
        self.finish_box(box)

    def finish_box(self, box: Box | None) -> None:
        """Mark a container complete if nothing of it is outstanding, and so on outwards."""
        while box is not None and box.listed and box.outstanding == 0:
            box.handle = None
            box.listed = False  # only once
            if box.id > 0:
                self.record.update(Container, box.id, complete=1)
            box = box.parent
            if box is not None:
                box.outstanding -= 1

    # -- results -------------------------------------------------------------------------------------------------------

    def on_result(self, job: Job, result: Result) -> None:
        """One file has been read, or not."""
        box = job.box
        group = box.groups.pop(result.seq, None)
        if group is None:
            return
        self.done_files += max(1, len(group.files))
        self.done_bytes += group.size if group.size is not None else result.size
        if result.problem is not None:
            self.unread_group(box, group, result.problem)
        if result.sha256 is not None and not group.only_container:
            state = self.content(result.sha256, result.size, result.kind)
            self.apply(box, group, state, result)
            if box.id <= 0:
                values = {"sha256": result.sha256.hex(), "content": state.id}
                self.record.update(Artefact, box.artefact, **values)
                if result.nested is None:
                    self.regions(box, [self.whole(box, result.kind)])
            for number in group.files:
                self.record.update(File, number, content=state.id)
        self.regions(box, result.stretches)
        if result.nested is not None:
            self.enter(job, group, result)

    def whole(self, box: Box, kind: str) -> Stretch:
        """Return what the bytes of an artefact are that no container format claims."""
        if kind in ("elf", "text", "script") or box.handle is None or not box.size:
            return Stretch(0, box.size, "explained", kind)
        return gap(FileSource(box.handle.fd), 0, box.size)

    def content(self, sha256: bytes, size: int, kind: str) -> ContentState:
        """Return the state of a content, new or known."""
        state = self.contents.get(sha256)
        if state is None:
            state = self.contents[sha256] = ContentState(self.record.reserve(Content), size, kind)
        return state

    def ensure(self, sha256: bytes, state: ContentState) -> None:
        """Enter a content into the record, or complete which inspectors have seen it."""
        inspected = " ".join(sorted(state.applied))
        if not state.added:
            fact = Content(sha256=sha256.hex(), size=state.size, kind=state.kind, inspected=inspected)
            self.record.add(fact, number=state.id)
            state.added = True
        else:
            self.record.update(Content, state.id, inspected=inspected)

    def apply(self, box: Box, group: Group, state: ContentState, result: Result) -> None:
        """Write down what inspectors found in a content."""
        assert result.sha256 is not None
        failed = False
        for inspection in result.inspections:
            if inspection.inspector in state.applied:
                continue
            state.applied.add(inspection.inspector)
            self.facts(state, inspection.inspector, inspection.facts)
            if inspection.error is None:
                by_head = inspection.inspector in state.heads
                self.cache.add_facts(result.sha256, inspection.inspector, by_head, inspection.facts)
            else:
                failed = True
                problem = Problem("malformed", f"{inspection.inspector}: {inspection.error}", entries=0)
                self.unread_group(box, group, problem, scope="inspection")
        if result.inspections or not state.added:
            self.ensure(result.sha256, state)
        if not failed and (result.inspections or result.stored is not None):
            self.cache.add(result.sha256, result.size, result.kind, result.stored)

    def facts(self, state: ContentState, inspector: str, packed: bytes) -> None:
        """Add an inspector's facts on a content."""
        facts = decode_facts(packed)
        collector = self.collector(inspector)
        for name in self.fact_names:
            for fact in getattr(facts, name):
                self.record.add(fact, state.id, collector)

    def collector(self, key: str) -> int:
        """Return the collector fact of an inspector in this run."""
        number = self.collectors.get(key)
        if number is None:
            name, _, version = key.partition("@")
            number = self.record.add(Collector(name=name, version=int(version), run=self.run))
            self.collectors[key] = number
        return number

    def enter(self, job: Job, group: Group, result: Result) -> None:
        """Queue a file that is a container, to be opened in turn."""
        assert result.nested is not None
        box = job.box
        in_spool, start, size = result.nested
        raw = box.id <= 0
        depth = 0 if raw else box.depth + 1
        if depth >= self.limits.depth:
            text = f"is a container ({result.kind}) {depth} deep; not opened"
            problem = Problem("limit", text, entries=0, limit=f"depth={self.limits.depth}")
            self.unread_group(box, group, problem)
            return
        handle = box.handle
        if in_spool:
            handle = job.spool
            assert handle is not None
            handle.count()
            if self.spool.total > self.limits.spool_bytes:
                limit = f"spool_bytes={self.limits.spool_bytes}"
                self.unread_group(box, group, Problem("limit", "no room to spool it", entries=0, limit=limit))
                return
        elif box.folder is not None:
            assert group.locator is not None
            handle = Handle(directory.open_file(box.folder, group.locator))
        path = box.path if raw else f"{box.path}{group.paths[0]}!"
        child = Box(
            0, box.artefact, path, depth, handle=handle, start=start, size=size, format=result.kind,
            parent=None if raw else box,
        )  # fmt: skip
        if raw:
            self.record.update(Artefact, box.artefact, format=result.kind)
        opened = self.open_box(child, group.files[0] if group.files else None)
        if opened is not None:
            box.outstanding += not raw
            self.queue(Job(opened), first=True)

    # -- what could not be read ----------------------------------------------------------------------------------------

    def unread(
        self, box: Box, problem: Problem, *, scope: str = "entry", path: str = "", file: int | None = None
    ) -> None:
        """Add an `unread` fact."""
        self.record.add(
            Unread(
                artefact=box.artefact,
                container=box.id if box.id > 0 else None,
                file=file,
                path=box.path + path,
                scope=scope,
                reason=problem.reason,
                limit=problem.limit,
                detail=problem.detail,
                entries=problem.entries,
            )
        )

    def unread_group(self, box: Box, group: Group, problem: Problem, scope: str = "entry") -> None:
        """Add an `unread` fact for each file of a group."""
        if not group.files:
            self.unread(box, problem, scope=scope)
        for number, path in zip(group.files, group.paths, strict=True):
            self.unread(box, problem, scope=scope, path=path, file=number)

    def regions(self, box: Box, stretches: Iterable[Stretch]) -> None:
        """Add what explains the bytes of a container, or of the artefact if it is one."""
        nested = box.id if box.id > 0 and box.parent is not None else None
        for s in stretches:
            self.record.add(
                Region(
                    artefact=box.artefact, container=nested, offset=s.offset, length=s.length, kind=s.kind, by=s.by,
                    entropy=s.entropy,
                )
            )  # fmt: skip

    # -- questions of workers ------------------------------------------------------------------------------------------

    def answer_stored(self, question: AskStored) -> Answer:
        """Recognise contents by their stored form."""
        answers: list[Known | None] = []
        for digest, wanted in zip(question.digests, question.wanted, strict=True):
            row = self.cache.by_stored(digest) if digest is not None else None
            if row is None or row[2] in self.formats:
                answers.append(None)
                continue
            sha256, size, kind = row
            cached = self.cache.facts(sha256)
            if any(key not in cached for key in wanted):
                answers.append(None)
                continue
            state = self.content(sha256, size, kind)
            self.from_cache(sha256, state, {k: v for k, v in cached.items() if v[0] or k in wanted})
            answers.append(Known(sha256, size, kind, []))
        return Answer(answers)

    def from_cache(self, sha256: bytes, state: ContentState, cached: dict[str, tuple[bool, bytes]]) -> None:
        """Add facts that an earlier run has found."""
        fresh = {key: facts for key, (_, facts) in cached.items() if key not in state.applied}
        if fresh or not state.added:
            self.cached += not state.added
            for key, packed in fresh.items():
                state.applied.add(key)
                self.facts(state, key, packed)
            self.ensure(sha256, state)

    def answer_contents(self, job: Job, question: AskContents) -> Answer:
        """Say which inspectors must still look at contents."""
        answers: list[Known | None] = []
        for sha256, size, kind, by_path, by_head in question.contents:
            state = self.content(sha256, size, kind)
            state.heads.update(by_head)
            wanted = {*by_path, *by_head}
            todo = wanted - state.applied - state.claimed
            if todo or not wanted:
                cached = self.cache.facts(sha256)
                hits = {key: cached[key] for key in todo if key in cached}
                if hits:
                    self.from_cache(sha256, state, hits)
                    todo -= hits.keys()
            if todo:
                state.claimed |= todo
                job.claims.append(sha256)
            answers.append(Known(sha256, size, kind, sorted(todo)))
        return Answer(answers)

    # -- the loop ------------------------------------------------------------------------------------------------------

    def loop(self) -> None:
        """Work until nothing is queued and no worker is busy."""
        committed = shown = time.monotonic()
        while self.jobs or any(worker.task is not None for worker in self.workers):
            self.dispatch()
            for key, _ in self.selector.select(timeout=0.25):
                self.serve(key.data)
            moment = time.monotonic()
            for worker in [w for w in self.workers if w.task is not None]:
                if moment - worker.since > self.limits.wall_seconds:
                    self.bury(worker, wall=True)
            if moment - committed > COMMIT_SECONDS:
                self.record.commit()
                self.cache.commit()
                committed = moment
            if self.progress is not None and moment - shown > 0.1:
                self.show()
                shown = moment
        self.record.commit()
        self.cache.commit()
        if self.progress is not None:
            self.show()

    def show(self) -> None:
        """Tell the progress display."""
        assert self.progress is not None
        running = sum(PAGE.unpack_from(w.page)[2] for w in self.workers if w.task is not None)
        _ = running
        self.progress.update(self.done_bytes, self.total_bytes, self.done_files, self.total_files, self.what)

    def dispatch(self) -> None:
        """Give queued jobs to idle workers, starting workers as needed."""
        while self.jobs:
            worker = next((w for w in self.workers if w.task is None), None)
            if worker is None:
                if len(self.workers) >= self.most:
                    return
                worker = self.pool.start()
                self.workers.append(worker)
                self.selector.register(worker.channel, selectors.EVENT_READ, worker)
            self.send(worker, self.jobs.popleft())

    def send(self, worker: WorkerHandle, job: Job) -> None:
        """Hand a job to a worker."""
        box = job.box
        if job.groups is None:
            assert box.handle is not None
            worker.task = ListTask(box.id, box.start, box.size, self.limits)
            fds = [box.handle.fd]
            self.what = box.path or box.format
        else:
            if self.done_bytes > self.limits.output_bytes:
                limit = f"output_bytes={self.limits.output_bytes}"
                for group in job.groups:
                    self.unread_group(box, group, Problem("limit", "total output reached its limit", limit=limit))
                    box.groups.pop(group.seq, None)
                self.finish_job(box)
                return
            job.spool = Handle(self.spool_file(), self.spool)
            fds = [job.spool.fd]
            opened: list[int] = []
            if box.folder is not None:
                readable = []
                for group in job.groups:
                    assert group.locator is not None
                    try:
                        opened.append(directory.open_file(box.folder, group.locator))
                        readable.append(group)
                    except OSError as error:
                        reason: Reason = "denied"
                        self.unread_group(box, group, Problem(reason, f"cannot be opened: {error.strerror or error}"))
                        box.groups.pop(group.seq, None)
                job.groups = readable
                fds += opened
            else:
                assert box.handle is not None
                fds.append(box.handle.fd)
            each = box.folder is not None
            items = [
                Item(g.seq, g.paths[:64], None if each else g.locator, g.size, g.only_container) for g in job.groups
            ]
            worker.task = ReadTask(box.id, box.format, box.start, box.size, items, self.limits, each)
            self.what = box.path + job.groups[0].paths[0] if job.groups else box.path
        worker.context = job
        worker.since = time.monotonic()
        try:
            worker.channel.send(worker.task, fds)
        except Closed:
            self.bury(worker)
        finally:
            if job.groups is not None:
                for fd in opened:
                    os.close(fd)

    def spool_file(self) -> int:
        """Return a new nameless file for bytes that must be handed over, gone when its last descriptor closes."""
        folder = self.spool_folder or Path(tempfile.gettempdir())
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def serve(self, worker: WorkerHandle) -> None:
        """Take one message of a worker."""
        job = worker.context
        assert isinstance(job, Job)
        try:
            reply = decode_reply(worker.channel.receive()[0])
        except (Closed, msgspec.DecodeError):
            self.bury(worker)
            return
        worker.since = time.monotonic()
        if isinstance(reply, AskStored):
            self.say(worker, self.answer_stored(reply))
        elif isinstance(reply, AskContents):
            self.say(worker, self.answer_contents(job, reply))
        elif isinstance(reply, Results):
            for result in reply.results:
                self.on_result(job, result)
            if reply.last:
                self.release(job)
                worker.task = worker.context = None
                self.finish_job(job.box)
        elif isinstance(reply, Opened):
            self.on_opened(job.box, reply)
        elif isinstance(reply, Listing):
            self.on_listing(job.box, reply)
        elif isinstance(reply, Listed):
            worker.task = worker.context = None
            self.on_listed(job.box, reply)
            self.finish_job(job.box)
        else:
            self.bury(worker)

    def say(self, worker: WorkerHandle, answer: Answer) -> None:
        """Answer a worker."""
        try:
            worker.channel.send(answer)
        except Closed:
            self.bury(worker)

    def release(self, job: Job) -> None:
        """Let go of what a job had claimed for its worker."""
        for sha256 in job.claims:
            self.contents[sha256].claimed.clear()
        job.claims.clear()
        job.spool = None

    def bury(self, worker: WorkerHandle, *, wall: bool = False) -> None:
        """Account for the item that a dead worker (or one that must die) was at; queue the rest of its batch again."""
        seq, step, _ = PAGE.unpack_from(worker.page)
        self.selector.unregister(worker.channel)
        self.workers.remove(worker)
        status = self.pool.end(worker, kill=True)
        job = worker.context
        if not isinstance(job, Job):
            return
        self.release(job)
        problem = self.cause(status, wall)
        box = job.box
        if job.groups is None:
            box.listed = False
            self.on_listed(box, Listed([], problem))
        else:
            left = [group for group in job.groups if group.seq in box.groups]
            culprit = box.groups.get(seq) if seq >= 0 else None
            if culprit is not None:
                if step:
                    problem.detail += f" while inspector {step} of its list looked at it"
                self.unread_group(box, culprit, problem)
                del box.groups[culprit.seq]
                left.remove(culprit)
            elif job.attempts >= 2:
                for group in left:
                    self.unread_group(box, group, problem)
                    del box.groups[group.seq]
                left = []
            if left:
                self.queue(Job(box, left, attempts=job.attempts + (culprit is None)), first=True)
        self.finish_job(box)

    def cause(self, status: int, wall: bool) -> Problem:
        """Return why a worker ended."""
        if wall:
            limit = f"wall_seconds={self.limits.wall_seconds}"
            return Problem("limit", "took longer than a task may", limit=limit)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if number == signal.SIGXCPU:
            limit = f"cpu_seconds={self.limits.cpu_seconds}"
            return Problem("limit", "used more processor time than a task may", limit=limit)
        if number == signal.SIGXFSZ:
            limit = f"spool_bytes={self.limits.spool_bytes}"
            return Problem("limit", "wrote more than a spool may hold", limit=limit)
        name = signal.Signals(number).name if number else f"exit code {os.WEXITSTATUS(status)}"
        return Problem("crash", f"its worker ended with {name}")

    # -- trees ---------------------------------------------------------------------------------------------------------

    def trees(self) -> None:
        """Run the tree inspectors on every root file system of the record."""
        self.record.index()
        known = {row[0] for row in self.record.db.execute("SELECT DISTINCT tree FROM coverage WHERE tree IS NOT NULL")}
        jobs: deque[Job] = deque()
        names = list(inspectors()[1])
        for number, artefact, path in self.record.db.execute(
            "SELECT id, artefact, path FROM container WHERE listed > 0 ORDER BY id"
        ).fetchall():
            if number not in known:
                found = roots(self.record.db, number)
                if found:
                    jobs.append(Job(Box(number, artefact, path, 0), roots=found, inspectors=names))
        self.record.commit()
        worker: WorkerHandle | None = None
        while jobs:
            job = jobs.popleft()
            if worker is None:
                worker = self.pool.start(self.record.path)
            worker.context = job
            assert job.roots is not None
            self.what = f"tree {job.box.path or '/'}"
            if self.progress is not None:
                self.show()
            task = TreeTask(job.box.id, job.roots, job.inspectors)
            try:
                worker.channel.send(task)
                self.tree_facts(worker, job)
                self.record.commit()
            except (Closed, msgspec.DecodeError, TimeoutError):
                _, step, _ = PAGE.unpack_from(worker.page)
                problem = self.cause(self.pool.end(worker, kill=True), wall=False)
                worker = None
                self.record.rollback()
                culprit = job.inspectors[(step - 1) % len(job.inspectors)] if step else job.inspectors[0]
                self.unread(
                    job.box, Problem(problem.reason, f"{culprit}: {problem.detail}", entries=0), scope="inspection"
                )
                left = [name for name in job.inspectors if name != culprit]
                if left:
                    jobs.appendleft(Job(job.box, roots=job.roots, inspectors=left))
        if worker is not None:
            self.pool.end(worker, kill=True)

    def tree_facts(self, worker: WorkerHandle, job: Job) -> None:
        """Take the facts on one container's trees."""
        sql = "SELECT path, id FROM file WHERE container = ? ORDER BY seq"
        files: dict[str, int] = dict(self.record.db.execute(sql, (job.box.id,)).fetchall())
        while True:
            reply = decode_reply(worker.channel.receive()[0])
            if not isinstance(reply, TreeFacts):
                raise Closed("not a tree worker's answer")
            if reply.last:
                return
            facts = decode_facts(reply.facts)
            collector = self.collector(f"{reply.inspector}@{reply.version}")
            for name in self.fact_names:
                for fact in getattr(facts, name):
                    assert isinstance(fact, TreeFact)
                    self.record.add(fact, job.box.id, files.get(fact.path or ""), collector)
            if reply.error is not None:
                problem = Problem("malformed", f"{reply.inspector}: {reply.error}", entries=0)
                self.unread(job.box, problem, scope="inspection")


def examine(
    paths: Sequence[Path],
    output: Path,
    *,
    limits: Limits | None = None,
    workers: int | None = None,
    sandbox: bool = True,
    cache: Path | None = None,
    spool: Path | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Examine artefacts into a record; continue a record whose examination of the same artefacts was cut short.

    Args:
        paths: artefacts: files or directories.
        output: the record to make or to continue.
        limits: limits on the work; kept in the record.
        workers: worker processes; by default one for each processor.
        sandbox: refuse to work unless workers can be fully confined.
        cache: folder of the fact cache; None for no cache.
        spool: folder for nameless temporary files; by default the system's.
        progress: told what goes on.

    Returns:
        Counts of what was read and what was not.

    Raises:
        ExamineError: an artefact cannot be read, or the record holds a finished or another examination.
        RecordError: the record cannot be written.
        SandboxUnavailable: workers cannot be confined, and `sandbox`.
        KeyboardInterrupt: interrupted; the record can be continued.
    """
    limits = limits or Limits()
    started = time.monotonic()
    given: list[list[object]] = []
    for path in paths:
        try:
            status = path.stat()
            if not path.is_dir():
                with path.open("rb"):
                    pass
        except OSError as error:
            raise ExamineError(f"{path}: cannot be read: {error.strerror}") from error
        if not (path.is_dir() or path.is_file()):
            raise ExamineError(f"{path}: is neither a file nor a directory")
        given.append([str(path.resolve()), status.st_size if path.is_file() else None, status.st_mtime_ns])
    fresh = not output.exists()
    pool = Pool(limits, required=sandbox)
    examination = None
    try:
        with Record(output, write=True) as record:
            run, numbers, resumed = _begin(record, given, limits)
            facts = FactCache(cache)
            examination = Examination(
                record, pool, facts, limits, progress,
                run=run, workers=workers or os.cpu_count() or 1, spool_folder=spool,
            )  # fmt: skip
            try:
                first = pool.start()
                examination.workers.append(first)
                examination.selector.register(first.channel, selectors.EVENT_READ, first)
                record.update(Run, run, sandbox=first.sandbox)
                for number, path in zip(numbers, paths, strict=True):
                    examination.give(number, path, "" if len(paths) == 1 else f"[{number}]")
                examination.loop()
                compose_images(record)
                examination.trees()
                write_coverage(record, examination.collector)
                record.update(Run, run, finished=now())
            except BaseException:
                # what was read so far is whole in itself: keep it, the next run goes on from there
                record.commit()
                raise
            finally:
                facts.close()
            return _outcome(record, examination, started, resumed)
    except BaseException:
        if fresh and output.exists() and (examination is None or not examination.contents):
            output.unlink()
        raise
    finally:
        pool.close()


def _begin(record: Record, given: list[list[object]], limits: Limits) -> tuple[int, list[int], bool]:
    """Enter the run and its artefacts, or find those of the run to be continued."""
    old = record.db.execute(
        "SELECT id, finished, options FROM run WHERE command = 'examine' ORDER BY id DESC LIMIT 1"
    ).fetchone()
    if old is not None:
        number, finished, options = old
        if finished is not None:
            raise ExamineError(
                f"{record.path}: holds a finished examination; choose another name with -o, or remove it"
            )
        if msgspec.json.decode(options).get("artefacts") != given:
            raise ExamineError(
                f"{record.path}: holds an unfinished examination of other artefacts (or they have changed since); "
                "choose another name with -o, or remove it"
            )
        numbers = [row[0] for row in record.db.execute("SELECT id FROM artefact ORDER BY id")]
        return number, numbers, True
    options = {"artefacts": given, "limits": msgspec.structs.asdict(limits)}
    run = record.add(Run(command="examine", version=__version__, started=now(), options=options))
    collector = record.add(Collector(name="examine", version=1, run=run))
    numbers = []
    for path, size, _ in given:
        assert isinstance(size, int | None)
        number = record.add(Artefact(sha256=None, size=size, format="directory" if size is None else None))
        name = Path(str(path)).name
        record.add(Identity(subject=f"artefact:{number}", attribute="name", value=name), None, collector)
        numbers.append(number)
    record.commit()
    return run, numbers, False


def _outcome(record: Record, examination: Examination, started: float, resumed: bool) -> Outcome:
    def count(sql: str) -> int:
        return int(record.db.execute(sql).fetchone()[0] or 0)

    record.commit()
    return Outcome(
        record=record.path,
        artefacts=count("SELECT count(*) FROM artefact"),
        containers=count("SELECT count(*) FROM container"),
        files=count("SELECT count(*) FROM file"),
        contents=count("SELECT count(*) FROM content"),
        bytes_read=examination.done_bytes,
        unread=count("SELECT sum(max(entries, 1)) FROM unread"),
        cached=examination.cached,
        seconds=time.monotonic() - started,
        resumed=resumed,
    )
