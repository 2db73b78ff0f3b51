"""The confined process: opens containers, reads entries, runs inspectors, and tells the scheduler what it saw.

It decides nothing about the record. Whatever goes wrong with an input becomes a `Problem`; what cannot be caught (a
crash in native code, the CPU or memory limit) ends the process, and the scheduler learns from the shared page which
item it was.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import mmap
import os
import resource
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from assay import unpack
from assay.facts.base import Fact
from assay.inspect import HOMES, inspectors, scan
from assay.inspect.base import NO_HITS, Buffer, Content, ContentInspector, Hits
from assay.inspect.wishes import Wishes
from assay.unpack.base import (
    BytesSource,
    Entry,
    FileSource,
    Format,
    LimitReached,
    Limits,
    Locator,
    Problem,
    Reader,
    Source,
    UnpackError,
    Window,
    guarded,
)
from assay.unpack.carved import SMALLEST, Carved, holds_something

from .listing import FAR, file_fact, fitted, stated
from .protocol import (
    NOTHING,
    Answer,
    AskContents,
    AskStored,
    Channel,
    Inner,
    Inspection,
    Item,
    Known,
    Listed,
    Listing,
    ListTask,
    Opened,
    ReadTask,
    Result,
    Results,
    TreeFacts,
    TreeTask,
    decode_answer,
    decode_task,
    encode,
)
from .sandbox import cpu_budget
from .stretches import cover
from .trees import RecordTree

IN_MEMORY = 8 << 20
"""Contents up to this size are held in memory; larger ones are mapped from where they lie or from the spool."""

LARGE = 4 << 20
"""Contents above this size have a CPU budget of their own; smaller ones share that of their batch."""

INLINE = 1 << 20
"""Compressed streams up to this size are read within the task that reads the file."""

SIGN_OF_LIFE = 64 << 20
"""Bytes after which a reading that goes on says so, and is given a new CPU budget."""

LISTING_BATCH = 1_000
RESULT_BYTES = 8 << 20
PAGE = struct.Struct("=qqq")
"""Shared page: item being worked on (or -1), step (0 reading, else the n-th of all inspectors), bytes read so far."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What writing to a spool ends with: a full disk, or the limit on a spool (Python ignores SIGXFSZ)."""

TEXTS = ("text", "script")

unpacked = msgspec.msgpack.Decoder().decode

ENCODINGS = ("ascii", "latin_1", "cp437", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "idna", "punycode")
"""Codecs that readers may ask for: a confined process cannot load them any more."""


def prepare(folder: Path | None = None) -> None:
    """Load and compile everything that workers need, before they are forked and confined.

    Args:
        folder: where compiled expressions are kept for the next run; None for nowhere.
    """
    for encoding in ENCODINGS:
        importlib.import_module(f"encodings.{encoding}")
    unpack.formats()
    unpack.candidates(b"")
    for found in inspectors():
        for inspector in found.values():
            module = importlib.import_module(inspector.inspect.__module__)
            if hasattr(module, "prepare") and module.__name__.startswith(HOMES):
                module.prepare()
    scan.prepare(folder)


SEARCHED = ("data", "elf")
"""Kinds of contents that are searched for containers, if they are none."""


def kind_of(head: bytes, size: int) -> str:
    """Return what a content is at first sight: empty, elf, script, text or data."""
    if not size:
        return "empty"
    if head[:4] == b"\x7fELF":
        return "elf"
    start = head[:4096]
    if b"\0" in start or ERASED in start:
        return "data"
    if start.translate(None, TEXT_BYTES):
        return "data"
    return "script" if start[:2] == b"#!" else "text"


TEXT_BYTES = bytes([7, 8, 9, 10, 11, 12, 13, 27, *range(32, 127), *range(128, 256)])
"""Bytes of texts in ASCII, UTF-8 or an 8-bit encoding."""


ERASED = b"\xff" * 16
"""What no text has: erased flash. A dump may begin with much of it."""


class Raw(Reader):
    """Bytes that are their own only entry: an artefact as it was given. Its holes count as compression."""

    format = Format("raw", "", lambda source, limits: Raw(source, limits), ())  # noqa: PLW0108 - not there yet

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self.detail = {}

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader`; not used."""
        return iter(())

    def open(self, locator: Locator) -> Iterator[bytes]:  # noqa: ARG002 - there is one entry
        """See `Reader`."""
        size = self.source.size
        if size <= self.limits.ratio_from:
            return self.source.chunks()
        there = 0
        for _, length in self.source.filled(0, size):
            there += length
            if there * self.limits.ratio >= size:
                break
        return guarded(self.source.chunks(), self.limits, there)

    def span(self, locator: Locator) -> tuple[int, int] | None:  # noqa: ARG002 - there is one entry
        """See `Reader`."""
        return 0, self.source.size


@dataclass
class Held:
    """An item between reading and reporting."""

    item: Item
    result: Result
    by_path: list[str] = field(default_factory=list)
    inside: int | None = None
    """For what came out of a small stream: the item that the stream is."""
    stream: Inner | None = None
    """For what came out of a small stream: how it is reported."""
    head: bytes = b""
    data: Buffer = b""
    source: Source = field(default_factory=lambda: BytesSource(b""))
    where: tuple[bool, int] | None = None
    """Where its bytes lie in a file: (in the spool, offset)."""

    @property
    def blame(self) -> int:
        """The item of the batch that a death of the worker is put down to."""
        return self.item.seq if self.inside is None else self.inside


def problem(error: BaseException, path: bytes = b"") -> Problem:
    """Return what went wrong as a problem, whatever was raised."""
    if isinstance(error, LimitReached):
        return Problem("limit", f"stopped by the limit {error}", path, limit=f"{error.name}={error.value:.15g}")
    if isinstance(error, UnpackError):
        return Problem(error.reason, one_line(error), path)
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        limit = f"spool_bytes={resource.getrlimit(resource.RLIMIT_FSIZE)[0]}" if error.errno == errno.EFBIG else "disk"
        return Problem("limit", f"no room to spool it: {error.strerror}", path, limit=limit)
    if isinstance(error, MemoryError):
        return Problem("limit", "needs more memory than a worker may use", path, limit="memory")
    if isinstance(error, RecursionError):
        return Problem("limit", "nested too deeply for its reader", path, limit="recursion")
    return Problem("malformed", one_line(error), path)


def one_line(error: BaseException) -> str:
    """Return an error as one line of at most 300 characters."""
    text = str(error) if isinstance(error, UnpackError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]


def opened(reader: Reader) -> Opened:
    """Return what is told of a container that a reader has claimed."""
    declared = reader.declared if reader.declared is not None and reader.declared < FAR else None
    return Opened(reader.format.name, reader.format.version, declared, stated(reader.detail), reader.format.stream)


class Worker:
    """Serves tasks until the scheduler hangs up.

    Args:
        channel: socket to the scheduler.
        page: shared memory of at least 24 bytes, written by this worker only.
        record: connection to the record, for tree tasks; None for workers that read images.
    """

    def __init__(self, channel: Channel, page: mmap.mmap, record: Any = None) -> None:  # noqa: ANN401 - see trees
        self.channel = channel
        self.page = page
        self.record = record
        self.read_bytes = 0
        self.spool = -1
        self.readers: dict[int, tuple[int, Reader]] = {}
        contents, self.tree_inspectors = inspectors()
        self.inspectors: dict[str, ContentInspector] = {f"{i.name}@{i.version}": i for i in contents.values()}
        self.searching = {key for key, i in self.inspectors.items() if i.expressions}
        self.only_hits = {key for key, i in self.inspectors.items() if i.only_hits}
        self.steps = {key: step for step, key in enumerate(self.inspectors, 1)}
        self.wishes = Wishes(self.inspectors)

    def serve(self) -> None:
        """Serve tasks.

        Raises:
            Closed: the scheduler has hung up.
        """
        while True:
            data, fds = self.channel.receive()
            task = decode_task(data)
            self.mark(-1)
            if isinstance(task, ListTask):
                self.open_container(task, fds[0])
            elif isinstance(task, ReadTask):
                self.read_files(task, fds)
            else:
                self.inspect_trees(task)

    def mark(self, item: int, step: int = 0) -> None:
        """Tell the scheduler, through shared memory, what is being worked on."""
        PAGE.pack_into(self.page, 0, item, step, self.read_bytes)

    # -- listing -------------------------------------------------------------------------------------------------------

    def open_container(self, task: ListTask, fd: int) -> None:
        """Open and list a container."""
        limits = task.limits
        cpu_budget(limits.cpu_seconds)
        source: Source = Window(FileSource(fd), task.start, task.size)
        try:
            reader = None if task.rest else unpack.identify(source, limits)
            if reader is None and (task.rest or holds_something(source, limits)):
                reader = Carved(source, limits)
        except (Exception, MemoryError) as error:
            self.channel.send(Listed([], problem(error)))
            os.close(fd)
            return
        if reader is None:
            self.channel.send(Listed([], Problem("unsupported", "no format claims it")))
            os.close(fd)
            return
        self.keep(task.container, fd, reader)
        self.channel.send(opened(reader))
        failure = self.send_entries(task.container, reader, limits)
        try:
            stretches = [] if reader.format.stream else cover(source, reader.claims(), reader.format.name)
        except (Exception, MemoryError) as error:
            stretches, failure = [], failure or problem(error)
        self.channel.send(Listed(stretches, failure, stated(reader.detail)))

    def send_entries(self, container: int, reader: Reader, limits: Limits) -> Problem | None:
        """Send a container's entries in batches; return what ended the listing early, if anything did."""
        batch = Listing([], [], [], [])
        seq = 0
        failure = None
        try:
            for entry in reader.entries():
                if isinstance(entry, Problem):
                    batch.problems.append(entry)
                else:
                    if seq >= limits.entries:
                        raise LimitReached("entries", limits.entries)
                    if (unfit := fitted(entry)) is not None:
                        batch.problems.append(unfit)
                    for name, value in entry.xattrs.items():
                        batch.xattrs.append((len(batch.files), name, value))
                    batch.files.append(file_fact(container, seq, entry))
                    batch.locators.append(None if entry.locator is None else encode(entry.locator))
                    seq += 1
                if len(batch.files) + len(batch.problems) >= LISTING_BATCH:
                    self.channel.send(batch)
                    batch = Listing([], [], [], [])
        except (Exception, MemoryError) as error:
            failure = problem(error)
        self.channel.send(batch)
        return failure

    def keep(self, container: int, fd: int, reader: Reader) -> None:
        """Keep an opened container for the tasks that follow, closing the oldest."""
        self.readers[container] = (fd, reader)
        while len(self.readers) > 4:
            old = next(iter(self.readers))
            os.close(self.readers.pop(old)[0])

    def reader(self, task: ReadTask, fd: int) -> Reader:
        """Return the reader of a task's container, opening it if this worker has not."""
        if task.container in self.readers:
            os.close(fd)
            return self.readers[task.container][1]
        source = Window(FileSource(fd), task.start, task.size)
        reader = (
            Raw(source, task.limits)
            if task.format == "raw"
            else unpack.formats()[task.format].open(source, task.limits)
        )
        self.keep(task.container, fd, reader)
        return reader

    # -- reading -------------------------------------------------------------------------------------------------------

    def read_files(self, task: ReadTask, fds: list[int]) -> None:
        """Read a batch of files: known ones are recognised, the others inspected."""
        spool, *rest = fds
        self.spool = spool
        cpu_budget(task.limits.cpu_seconds)
        held: list[Held] = []
        self.inner: list[Held] = []
        try:
            readers: list[Reader]
            if task.each:
                readers = [Raw(FileSource(fd), task.limits) for fd in rest]
            else:
                readers = [self.reader(task, rest[0])] * len(task.items)
        except (Exception, MemoryError) as error:
            self.channel.send(Results([Result(item.seq, problem=problem(error)) for item in task.items], last=True))
            os.close(spool)
            return
        by_path = [self.wishes.by_path(item.paths) for item in task.items]
        stored = self.ask_stored(task, readers, by_path)
        for item, reader, wanted, (digest, known) in zip(task.items, readers, by_path, stored, strict=True):
            h = Held(item, Result(item.seq, stored=digest), wanted)
            held.append(h)
            self.take(task, h, reader, known)
        outer = list(held)
        held += self.inner
        self.inspect(task, held)
        results: list[Result] = []
        weight = 0
        for h in outer:
            results.append(h.result)
            weight += _weight(h.result)
            if weight > RESULT_BYTES:
                self.channel.send(Results(results, last=False))
                results, weight = [], 0
        self.channel.send(Results(results, last=True))
        self.mark(-1)
        for h in held:
            if isinstance(h.data, mmap.mmap):
                h.source = BytesSource(b"")
                h.data.close()
        os.close(spool)
        if task.each:
            for fd in rest:
                os.close(fd)

    def ask(self, question: AskStored | AskContents) -> Answer:
        """Ask the scheduler, and wait."""
        self.channel.send(question)
        return decode_answer(self.channel.receive()[0])

    def ask_stored(
        self, task: ReadTask, readers: list[Reader], by_path: list[list[str]]
    ) -> list[tuple[bytes | None, Known | None]]:
        """Recognise files by their stored form, before anything is decompressed."""
        digests: list[bytes | None] = []
        for item, reader in zip(task.items, readers, strict=True):
            self.mark(item.seq)
            try:
                digest = None if item.only_container or item.locator is None else reader.stored(unpacked(item.locator))
            except (Exception, MemoryError):
                digest = None
            digests.append(digest)
        if not any(digests):
            return [(None, None)] * len(digests)
        return list(zip(digests, self.ask(AskStored(digests, by_path, task.inline)).known, strict=True))

    def take(self, task: ReadTask, h: Held, reader: Reader, known: Known | None) -> None:
        """Read one item: its hash, its kind, and its bytes where an inspector can look at them."""
        item, result = h.item, h.result
        if known is not None:
            result.sha256, result.size, result.kind, result.inner = known.sha256, known.size, known.kind, known.inner
            result.stored = None
            self.read_bytes += known.size
            return
        self.mark(item.seq)
        if item.size is None or item.size > LARGE:
            cpu_budget(task.limits.cpu_seconds)
        source = None
        if reader.format.stream:
            source = Window(FileSource(self.readers[task.container][0]), task.start, task.size)
        self.fetch(task, h, reader, source)

    def fetch(self, task: ReadTask, h: Held, reader: Reader, stream: Source | None) -> None:
        """Read an item's bytes and find out what they are; of a stream, say also what of it was used."""
        try:
            self.load(task, h, reader, self.spool)
        except (Exception, MemoryError) as error:
            h.result.problem = problem(error)
            h.result.sha256 = None
        if stream is not None:
            h.result.stretches = cover(stream, reader.claims(), reader.format.name)
        if h.head:
            self.recognise(task, h)

    def load(self, task: ReadTask, h: Held, reader: Reader, spool: int) -> None:
        """Fill in a held item's bytes and hash. What had been read when an error is raised stays."""
        locator = 0 if h.item.locator is None else unpacked(h.item.locator)
        span = reader.span(locator)
        digest = hashlib.sha256()
        chunks: list[bytes] = []
        size = 0
        at: int | None = None
        in_place = span is not None and span[1] > IN_MEMORY
        try:
            for chunk in reader.open(locator):
                if size + len(chunk) > task.limits.entry_bytes:
                    raise LimitReached("entry_bytes", task.limits.entry_bytes)
                digest.update(chunk)
                if size < unpack.HEAD:
                    h.head += chunk[: unpack.HEAD - size]
                if size // SIGN_OF_LIFE != (size + len(chunk)) // SIGN_OF_LIFE:
                    self.mark(h.blame)
                    cpu_budget(task.limits.cpu_seconds)  # what moves on may go on: its length has limits of its own
                size += len(chunk)
                self.read_bytes += len(chunk)
                if in_place:
                    continue
                chunks.append(chunk)
                if size > IN_MEMORY:
                    if at is None:
                        at = _spool_end(spool)
                    for piece in chunks:
                        _write(spool, piece)
                    chunks.clear()
            h.result.sha256 = digest.digest()
        finally:
            h.result.size = size
            if in_place and span is not None:
                fd = reader.source.fd if isinstance(reader, Raw) and isinstance(reader.source, FileSource) else None
                start = span[0] if fd is not None else task.start + span[0]
                fd = self.readers[task.container][0] if fd is None else fd
                h.where = (False, start)
                h.source = Window(FileSource(fd), start, span[1])
                if start % mmap.ALLOCATIONGRANULARITY == 0 and size:
                    h.data = mmap.mmap(fd, size, prot=mmap.PROT_READ, offset=start)
                elif size:
                    at = _copy(Window(FileSource(fd), start, size), spool)
                    h.data = mmap.mmap(spool, size, prot=mmap.PROT_READ, offset=at)
            elif at is not None:
                for piece in chunks:
                    _write(spool, piece)
                h.where = (True, at)
                h.source = Window(FileSource(spool), at, size)
                h.data = mmap.mmap(spool, size, prot=mmap.PROT_READ, offset=at)
            else:
                h.data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                h.source = BytesSource(h.data)
                h.where = (False, task.start + span[0]) if span is not None and not task.each else None
                if task.each and h.inside is None:
                    h.where = (False, 0)

    def recognise(self, task: ReadTask, h: Held) -> None:
        """Find out whether an item is a container, and put its bytes where they can be handed over."""
        result = h.result
        result.kind = kind_of(h.head, result.size)
        reader = None
        try:
            reader = unpack.identify(h.source, task.limits, h.head)
            name = reader.format.name if reader is not None else None
        except UnpackError as error:
            name = getattr(error, "format", None)
        except (Exception, MemoryError):
            found = unpack.candidates(h.head)
            name = found[0].name if found else None
        if name is None and result.kind in SEARCHED and task.format != "carved":
            try:
                name = "carved" if holds_something(h.source, task.limits) else None
            except (Exception, MemoryError) as error:
                result.problem = result.problem or problem(error)
        if name is None:
            return
        if result.kind != "elf" or name != "carved":  # a program that holds containers is a program first
            result.kind = name
        if (
            reader is not None
            and reader.format.stream
            and self.may_inline(task, h)
            and self.read_stream(task, h, reader)
        ):
            return
        if h.where is None:
            h.where = (True, self.spool_bytes(h))
        result.nested = (*h.where, h.source.size)

    def may_inline(self, task: ReadTask, h: Held) -> bool:
        """Tell whether a stream is small enough, and not inside another, to be read at once."""
        return task.inline and h.inside is None and not h.item.only_container and h.result.size <= INLINE

    def read_stream(self, task: ReadTask, h: Held, reader: Reader) -> bool:
        """Read a small stream together with the file that it is: thousands of them are common in documentation.

        Returns:
            Whether it is done: bytes behind the stream must be searched, and it is opened for that like any container.
        """
        (entry,) = reader.entries()
        assert isinstance(entry, Entry)
        file = file_fact(0, 0, entry)
        item = Item(0, [file.path], None if entry.locator is None else encode(entry.locator), entry.size)
        inner = Held(item, Result(0), self.wishes.by_path(item.paths), inside=h.item.seq)
        self.fetch(task, inner, reader, h.source)
        if any(s.kind == "unknown" and s.length >= SMALLEST for s in inner.result.stretches):
            return False
        h.result.inner = inner.stream = Inner(opened(reader), file, inner.result)
        self.inner.append(inner)
        return True

    def spool_bytes(self, h: Held) -> int:
        """Write a content that is in memory to the spool of this task, and return its offset there."""
        at = _spool_end(self.spool)
        _write(self.spool, h.data)
        return at

    # -- inspecting ----------------------------------------------------------------------------------------------------

    def inspect(self, task: ReadTask, held: list[Held]) -> None:
        """Run on each new content the inspectors that want it and have not seen it."""
        new = [h for h in held if h.head and h.result.sha256 is not None and not h.item.only_container]
        empty = [h for h in held if not h.head and h.result.sha256 is not None and not h.result.kind]
        for h in empty:
            h.result.kind = "empty"
        if not new:
            return
        question = AskContents([])
        for h in new:
            result = h.result
            by_path, by_head = self.wishes.fitting(
                h.by_path,
                h.head,
                result.size,
                text=result.kind in TEXTS,
                claimed=result.kind != "elf" and (result.nested is not None or result.inner is not None),
            )
            question.contents.append((result.sha256 or b"", result.size, result.kind, by_path, by_head))
            if h.stream is not None:
                h.stream.wanted = by_path + by_head
        for h, known in zip(new, self.ask(question).known, strict=True):
            if known is None:
                continue
            hits: dict[str, Hits] = {}
            if not self.searching.isdisjoint(known.run):
                self.mark(h.blame)
                hits = scan.scan(h.data, h.result.kind)
            for key in known.run:
                if key in self.only_hits and key not in hits:
                    h.result.inspections.append(Inspection(key, NOTHING))
                    continue
                content = Content(h.data, h.head, h.result.kind, hits.get(key, NO_HITS))
                self.mark(h.blame, self.steps[key])
                if content.size > LARGE:
                    cpu_budget(task.limits.cpu_seconds)
                h.result.inspections.append(self.run(key, content))
                if isinstance(h.data, mmap.mmap):
                    h.data.madvise(mmap.MADV_DONTNEED)  # the next inspector reads it again; memory stays small

    def run(self, key: str, content: Content) -> Inspection:
        """Run one inspector; an error keeps the facts that came before it."""
        inspector = self.inspectors[key]
        facts: dict[str, list[Fact]] = {}
        error = None
        try:
            for fact in inspector.inspect(content):
                if type(fact) not in inspector.families:
                    raise TypeError(f"{type(fact).__name__} is not among its families")
                facts.setdefault(fact.table(), []).append(fact)
        except (Exception, MemoryError) as raised:
            error = problem(raised)
        return Inspection(key, encode(facts) if facts else NOTHING, error)

    # -- trees ---------------------------------------------------------------------------------------------------------

    def inspect_trees(self, task: TreeTask) -> None:
        """Run every tree inspector on every root of a container."""
        steps = count(1)
        for root in task.roots:
            tree = RecordTree(self.record, task.container, root)
            failed: set[str] = set(self.tree_inspectors) - set(task.inspectors)
            for name in task.inspectors:
                inspector = self.tree_inspectors[name]
                self.mark(0, next(steps))
                cpu_budget(task.cpu_seconds)
                facts: dict[str, list[Fact]] = {family.table(): [] for family in inspector.families}
                error = None
                try:
                    for fact in inspector.inspect(tree):
                        tree.found.setdefault(type(fact), []).append(fact)
                        prefixed = fact.path
                        if root and prefixed is not None:
                            fact = msgspec.structs.replace(fact, path=root + prefixed)  # noqa: PLW2901
                        facts[fact.table()].append(fact)
                except (Exception, MemoryError) as raised:
                    error = problem(raised)
                lost = sorted(failed.intersection(inspector.after))
                if lost and error is None:
                    error = Problem("unsupported", f"builds on {', '.join(lost)}, which did not finish")
                if error is not None:
                    failed.add(name)
                packed = encode({name: rows for name, rows in facts.items() if rows})
                self.channel.send(TreeFacts(inspector.name, inspector.version, packed, error, last=False))
        self.channel.send(TreeFacts("", 0, encode({}), None, last=True))


def _weight(result: Result) -> int:
    """Return about how many bytes a result takes in a message."""
    inside = _weight(result.inner.result) if result.inner is not None else 0
    return sum(len(inspection.facts) for inspection in result.inspections) + 200 + inside


def _write(fd: int, data: Any) -> None:  # noqa: ANN401 - any buffer
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _spool_end(spool: int) -> int:
    """Go to the end of a spool, on a boundary from which it can be mapped, and return its offset."""
    at = -(-os.fstat(spool).st_size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
    os.lseek(spool, at, os.SEEK_SET)
    return at


def _copy(source: Source, spool: int) -> int:
    at = _spool_end(spool)
    for chunk in source.chunks():
        _write(spool, chunk)
    return at
