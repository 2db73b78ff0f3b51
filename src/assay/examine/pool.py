"""Starting confined workers, and telling why one ended.

With readers and inspectors loaded, the scheduler forks one process (the nursery) before it opens the record, and that
forks each worker from its clean state. So a worker starts in milliseconds, and its memory never holds anything of the
record or of another worker's input.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import signal
import socket
import sqlite3
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from assay.unpack.base import Limits
from assay.unpack.secrets import held

from .protocol import Channel, Closed, Hello, Task, decode_reply
from .sandbox import PR_SET_PDEATHSIG, SandboxUnavailable, _libc, confine
from .worker import Worker, prepare

START_ATTEMPTS = 3


class Order(msgspec.Struct, array_like=True):
    """From the scheduler to the nursery: start a worker (with a record to read, for trees), or ask for a status."""

    record: bytes | None = None
    status_of: int = 0
    required: bool = True
    memory: int = 0
    file_bytes: int = 0


class Started(msgspec.Struct, array_like=True):
    """From the nursery: a worker's process, or the wait status of one that ended."""

    pid: int
    status: int = 0


_order = msgspec.msgpack.Decoder(Order).decode
_started = msgspec.msgpack.Decoder(Started).decode


@dataclass
class WorkerHandle:
    """A worker as the scheduler knows it."""

    pid: int
    channel: Channel
    page: mmap.mmap
    sandbox: dict[str, object]
    task: Task | None = None
    context: object = None
    since: float = field(default_factory=time.monotonic)
    signs: tuple[int, ...] = ()
    """What its page said when last looked at: a worker whose page changes is alive."""
    read_before: int = 0


class Pool:
    """The nursery and its workers.

    Args:
        limits: limits for each worker's life.
        required: refuse to start a worker that cannot be fully confined.
        folder: where compiled expressions are kept for the next run; None for nowhere.
    """

    def __init__(self, limits: Limits, *, required: bool = True, folder: Path | None = None) -> None:
        self.limits = limits
        self.required = required
        prepare(folder)  # before the fork: the scheduler needs the same modules, and they are loaded once
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _nursery(theirs)
        theirs.close()
        self.nursery = Channel(ours)
        self.alive: list[WorkerHandle] = []

    def start(self, record: Path | None = None) -> WorkerHandle:
        """Start a worker.

        Args:
            record: record that it may read (a worker for trees); it reads nothing else then.

        Raises:
            SandboxUnavailable: it could not be confined and `required`, or ended each time that it was tried.
        """
        for _ in range(START_ATTEMPTS):  # a kernel that is out of memory may end one at any time
            with contextlib.suppress(Closed):
                return self._start(record)
        raise SandboxUnavailable("the worker ended while it was being confined")

    def _start(self, record: Path | None) -> WorkerHandle:
        self.nursery.send(
            Order(
                os.fsencode(record) if record else None,
                required=self.required,
                memory=self.limits.memory,
                file_bytes=self.limits.spool_bytes,
            )
        )
        data, (sock, page) = self.nursery.receive()
        channel = Channel(socket.socket(fileno=sock))
        channel.sock.settimeout(60)  # a worker that stops in the middle of a message is as good as dead
        shared = mmap.mmap(page, 4096)
        os.close(page)
        try:
            hello = decode_reply(channel.receive()[0])
        except Closed:
            channel.close()
            shared.close()
            raise
        if not isinstance(hello, Hello) or hello.error is not None:
            channel.close()
            shared.close()
            raise SandboxUnavailable(hello.error if isinstance(hello, Hello) and hello.error else "no answer")
        worker = WorkerHandle(_started(data).pid, channel, shared, hello.sandbox)
        self.alive.append(worker)
        return worker

    def end(self, worker: WorkerHandle, *, kill: bool = False) -> int:
        """End a worker that is dead or should be, and return its wait status."""
        self.alive.remove(worker)
        if kill:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
        worker.channel.close()
        worker.page.close()
        self.nursery.send(Order(status_of=worker.pid))
        return _started(self.nursery.receive()[0]).status

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(Closed):
            for worker in list(self.alive):
                self.end(worker, kill=True)
        self.nursery.close()
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _nursery(sock: socket.socket) -> None:
    """Serve the scheduler's orders; never returns."""
    code = 1
    try:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        channel = Channel(sock)
        os.closerange(3, sock.fileno())
        os.closerange(sock.fileno() + 1, 4096)
        gc.collect()
        gc.freeze()
        while True:
            order = _order(channel.receive()[0])
            if order.status_of:
                channel.send(Started(order.status_of, os.waitpid(order.status_of, 0)[1]))
                continue
            ours, theirs = socket.socketpair()
            page = os.memfd_create("assay-page", os.MFD_CLOEXEC)
            os.ftruncate(page, 4096)
            pid = os.fork()
            if pid == 0:
                ours.close()
                channel.close()
                _worker(Channel(theirs), page, order)
            theirs.close()
            channel.send(Started(pid), [ours.fileno(), page])
            ours.close()
            os.close(page)
    except Closed:
        code = 0
    finally:
        os._exit(code)


def _worker(channel: Channel, page: int, order: Order) -> None:
    """Be a worker; never returns."""
    code = 1
    try:
        shared = mmap.mmap(page, 4096)
        os.close(page)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 2)  # no image writes to the user's terminal
        os.close(null)
        record = None
        if order.record is not None:
            record = sqlite3.connect(f"{Path(os.fsdecode(order.record)).resolve().as_uri()}?mode=ro", uri=True)
            record.execute("PRAGMA temp_store = MEMORY")
            record.execute("PRAGMA trusted_schema = OFF")
            record.execute("SELECT count(*) FROM run").fetchone()  # opens every file it needs, while that is possible
        try:
            force = confine(order.memory, order.file_bytes, required=order.required, threads=bool(held()))
        except SandboxUnavailable as error:
            channel.send(Hello({}, str(error)))
            os._exit(1)
        channel.send(Hello(force))
        Worker(channel, shared, record).serve()
    except Closed:
        code = 0
    finally:
        os._exit(code)
