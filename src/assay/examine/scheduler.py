"""Jobs for confined workers: handing them out, taking answers, and accounting for workers that die.

Nothing that comes from an image is parsed here. What has been learnt is committed in steps of about a second, each
consistent in itself.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from assay.inspect import inspectors
from assay.unpack.base import Limits, Problem

from . import directory
from .examination import Examination
from .ledger import Ledger
from .pool import Pool, WorkerHandle
from .protocol import (
    Answer,
    AskContents,
    AskStored,
    Closed,
    Item,
    Listed,
    Listing,
    ListTask,
    Opened,
    ReadTask,
    Reply,
    Results,
    decode_reply,
)
from .state import Handle, Job
from .worker import PAGE

COMMIT_SECONDS = 1.0


class Progress(Protocol):
    """Told what is going on; several times a second at most."""

    def update(self, done: int, total: int, files: int, files_total: int, what: str) -> None:
        """Take note of bytes and files read, of how many known so far, and of what is being read."""


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Note an interrupt (Ctrl-C) in a list, so that work in hand is brought to a point that can be committed.

    A second one is raised at once; so is the first where this thread or the caller does not leave it to Python.
    """
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    if threading.current_thread() is not threading.main_thread() or (
        signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield noted
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Contradiction(Exception):
    """A worker says what cannot be."""


class Scheduler:
    """Keeps workers busy until an examination has no job left.

    Args:
        examination: what is to be done.
        ledger: where it is written down.
        pool: gives workers.
        limits: limits for tasks.
        progress: told what goes on.
        most: workers at most.
        spool_folder: folder for nameless temporary files; None for the system's.
    """

    def __init__(
        self,
        examination: Examination,
        ledger: Ledger,
        pool: Pool,
        limits: Limits,
        progress: Progress | None,
        *,
        most: int,
        spool_folder: Path | None,
    ) -> None:
        self.examination = examination
        self.ledger = ledger
        self.pool = pool
        self.limits = limits
        self.progress = progress
        self.most = most
        self.spool_folder = spool_folder or Path(tempfile.gettempdir())
        self.workers: list[WorkerHandle] = []
        self.selector = selectors.DefaultSelector()
        self.what = ""

    def start_worker(self) -> WorkerHandle:
        """Start one more worker."""
        worker = self.pool.start()
        self.workers.append(worker)
        self.selector.register(worker.channel, selectors.EVENT_READ, worker)
        return worker

    def loop(self) -> None:
        """Work until nothing is queued and no worker is busy.

        Raises:
            KeyboardInterrupt: interrupted; what has been learnt is committed.
        """
        with interrupts() as interrupted:
            self._loop(interrupted)

    def _loop(self, interrupted: list[int]) -> None:
        committed = shown = time.monotonic()
        while self.examination.jobs or any(worker.task is not None for worker in self.workers):
            if interrupted:
                self.ledger.record.commit()
                raise KeyboardInterrupt
            self.dispatch()
            for key, _ in self.selector.select(timeout=0.25):
                self.serve(key.data)
            moment = time.monotonic()
            for worker in [w for w in self.workers if w.task is not None]:
                signs = PAGE.unpack_from(worker.page)
                if signs != worker.signs:
                    worker.signs, worker.since = signs, moment
                if moment - worker.since > self.limits.wall_seconds:
                    self.bury(worker, wall=True)
            if moment - committed > COMMIT_SECONDS:
                self.ledger.record.commit()
                self.ledger.cache.commit()
                committed = moment
            if self.progress is not None and moment - shown > 0.1:
                self.show()
                shown = moment
        self.ledger.record.commit()
        self.ledger.cache.commit()
        if self.progress is not None:
            self.show()

    def show(self) -> None:
        """Tell the progress display."""
        assert self.progress is not None
        work = self.examination
        running = sum(PAGE.unpack_from(w.page)[2] - w.read_before for w in self.workers if w.task is not None)
        done = min(work.total_bytes, work.done_bytes + running)
        self.progress.update(done, work.total_bytes, work.done_files, work.total_files, self.what)

    def dispatch(self) -> None:
        """Give queued jobs to idle workers, starting workers as needed."""
        while self.examination.jobs:
            worker = next((w for w in self.workers if w.task is None), None)
            if worker is None:
                if len(self.workers) >= self.most:
                    return
                worker = self.start_worker()
            self.send(worker, self.examination.jobs.popleft())

    def send(self, worker: WorkerHandle, job: Job) -> None:
        """Hand a job to a worker."""
        box = job.box
        limit = self.examination.exhausted(box)
        if limit is not None:
            self.examination.give_up(job, limit)
            return
        if job.groups is None:
            assert box.handle is not None
            worker.task = ListTask(box.id, box.start, box.size, self.limits, box.offset is not None)
            fds = [box.handle.fd]
            self.what = box.path or box.format
        else:
            job.spool = Handle(self.spool_file(), self.examination.spool)
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
                        self.ledger.unread_group(
                            box, group, Problem("denied", f"cannot be opened: {error.strerror or error}")
                        )
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
            inline = not self.examination.resumed and box.depth + 1 < self.limits.depth
            worker.task = ReadTask(box.id, box.format, box.start, box.size, items, self.limits, each, inline)
            self.what = box.path + job.groups[0].paths[0] if job.groups else box.path
        worker.context = job
        worker.since = time.monotonic()
        worker.read_before = PAGE.unpack_from(worker.page)[2]
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
        try:
            return os.open(self.spool_folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
            # a file system without nameless files
            fd, name = tempfile.mkstemp(dir=self.spool_folder, prefix=".assay-spool-")
            Path(name).unlink()
            return fd

    def serve(self, worker: WorkerHandle) -> None:
        """Take one message of a worker."""
        job = worker.context
        if not isinstance(job, Job):  # it has nothing to say: it has ended, or must
            self.bury(worker)
            return
        try:
            reply = decode_reply(worker.channel.receive()[0])
        except (Closed, msgspec.DecodeError):
            self.bury(worker)
            return
        worker.since = time.monotonic()
        try:
            self.take(worker, job, reply)
        except (msgspec.DecodeError, Contradiction):
            # it says what cannot be: an image has taken it over, or it is broken
            self.bury(worker)

    def take(self, worker: WorkerHandle, job: Job, reply: Reply) -> None:
        """Act on a worker's message.

        Raises:
            Contradiction: it is no answer to what the worker was told to do, or contradicts itself.
        """
        if isinstance(reply, Opened | Listing | Listed) != (job.groups is None):
            raise Contradiction("an answer to another question")
        if isinstance(reply, AskStored):
            if len(reply.digests) != len(reply.wanted):
                raise Contradiction("digests and wishes differ in number")
            self.say(worker, self.ledger.answer_stored(reply))
        elif isinstance(reply, AskContents):
            self.say(worker, self.ledger.answer_contents(job, reply))
        elif isinstance(reply, Results):
            for result in reply.results:
                self.examination.on_result(job, result)
            if reply.last:
                self.examination.account(job)
                self.release(job)
                worker.task = worker.context = None
                self.examination.finish_job(job.box)
        elif isinstance(reply, Opened):
            self.examination.on_opened(job.box, reply)
        elif isinstance(reply, Listing):
            if any(file.container != job.box.id for file in reply.files):
                raise Contradiction("entries of another container")
            if len(reply.files) != len(reply.locators) or any(
                not 0 <= position < len(reply.files) for position, _, _ in reply.xattrs
            ):
                raise Contradiction("locators or attributes of other entries")
            self.examination.on_listing(job.box, reply)
        elif isinstance(reply, Listed):
            worker.task = worker.context = None
            self.examination.on_listed(job.box, reply)
            self.examination.finish_job(job.box)
        else:
            raise Contradiction("not a message of a reading worker")

    def say(self, worker: WorkerHandle, answer: Answer) -> None:
        """Answer a worker."""
        try:
            worker.channel.send(answer)
        except Closed:
            self.bury(worker)

    def release(self, job: Job) -> None:
        """Let go of what a job had claimed and spooled."""
        self.ledger.release(job)
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
        problem = cause(status, self.limits, wall=wall)
        box = job.box
        if job.groups is None:
            box.listed = False
            self.examination.on_listed(box, Listed([], problem))
        else:
            left = [group for group in job.groups if group.seq in box.groups]
            culprit = box.groups.get(seq) if seq >= 0 else None
            if culprit is not None:
                if step:
                    problem.detail += f" while {list(inspectors()[0])[step - 1]} looked at it"
                self.ledger.unread_group(box, culprit, problem)
                del box.groups[culprit.seq]
                left.remove(culprit)
            elif job.attempts >= 2:
                for group in left:
                    self.ledger.unread_group(box, group, problem)
                    del box.groups[group.seq]
                left = []
            if left:
                self.examination.queue(Job(box, left, attempts=job.attempts + (culprit is None)), first=True)
        self.examination.finish_job(box)


def cause(status: int, limits: Limits, *, wall: bool) -> Problem:
    """Return why a worker ended."""
    if wall:
        limit = f"wall_seconds={limits.wall_seconds}"
        return Problem("limit", "took longer than a task may", limit=limit)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGXCPU:
        limit = f"cpu_seconds={limits.cpu_seconds}"
        return Problem("limit", "used more processor time than a task may", limit=limit)
    name = signal.Signals(number).name if number else f"exit code {os.WEXITSTATUS(status)}"
    return Problem("crash", f"its worker ended with {name}")
