"""What an inspector or a reader may do to its worker costs one entry; what a worker may do to the machine is nothing.

Inspectors and formats that misbehave are put in by the tests: workers are forked from this process and inherit them.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from assay import inspect, unpack
from assay.examine import SandboxUnavailable, sandbox
from assay.examine.scheduler import Scheduler
from assay.facts import ContentFact, TreeFact
from assay.facts.service import Directive, Setting
from assay.inspect.base import Content, ContentInspector, Tree, TreeInspector
from assay.record import Record
from assay.unpack.base import Entry, Format, Limits, Problem, Reader, Source

from .support import assert_accounted, examined, rows, unread

LIMITS = Limits(cpu_seconds=1, wall_seconds=60, memory=512 << 20)
WAITING = Limits(cpu_seconds=60, wall_seconds=2, memory=512 << 20)
"""For what waits rather than works: on a busy machine, little CPU time can take long."""

Look = Callable[[Content], Iterable[ContentFact]]


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Put in an inspector, a tree inspector or a format for one test."""
    contents, trees = (dict(found) for found in inspect.inspectors())
    formats = dict(unpack.formats())
    monkeypatch.setattr(inspect, "inspectors", lambda: (contents, trees))
    for name in ("worker", "coverage", "tree_stage", "scheduler"):
        monkeypatch.setattr(f"assay.examine.{name}.inspectors", lambda: (contents, trees))
    monkeypatch.setattr(unpack, "formats", lambda: formats)
    unpack._by_magic.cache_clear()

    def put(thing: object) -> None:
        if isinstance(thing, ContentInspector):
            contents[thing.name] = thing
        elif isinstance(thing, TreeInspector):
            trees[thing.name] = thing
        else:
            assert isinstance(thing, Format)
            formats[thing.name] = thing
            unpack._by_magic.cache_clear()

    yield put  # type: ignore[misc]
    unpack._by_magic.cache_clear()


def inspector(look: Look, name: str = "odd") -> ContentInspector:
    return ContentInspector(name, 1, [Directive], look, wants_head=lambda head: head.startswith(b"ODD"))


def release(folder: Path, files: int = 40) -> Path:
    """Write a directory in which one file is looked at by the odd inspector."""
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True)
    for i in range(files):
        (tree / f"etc/{i:03}").write_text(f"file {i}\n")
    (tree / "etc/020").write_bytes(b"ODD and more")
    (tree / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    return tree


def segfault(_: Content) -> Iterator[ContentFact]:
    yield Directive(dialect="odd", section=None, key="before", value="1")
    ctypes.string_at(0)


def spin(_: Content) -> Iterable[ContentFact]:
    while True:
        pass


def sleep(_: Content) -> Iterable[ContentFact]:
    time.sleep(3600)
    return ()


def leave(_: Content) -> Iterable[ContentFact]:
    os._exit(7)


def eat(_: Content) -> Iterable[ContentFact]:
    held = []
    while True:
        held.append(bytearray(16 << 20))


def eat_for_good(_: Content) -> Iterable[ContentFact]:
    held = []
    while True:
        try:
            held.append(bytearray(16 << 20))
        except MemoryError:
            os._exit(1)


def recurse(content: Content) -> Iterable[ContentFact]:
    return recurse(content)


def fail(_: Content) -> Iterator[ContentFact]:
    yield Directive(dialect="odd", section=None, key="before", value="1")
    raise ValueError("two\nlines \x1b[2J")


@pytest.mark.parametrize(
    ("look", "reason", "limit", "detail", "scope"),
    [
        (segfault, "crash", None, "its worker ended with SIGSEGV while odd looked at it", "entry"),
        (spin, "limit", "cpu_seconds=1",
         "used more processor time than a task may while odd looked at it", "entry"),
        (sleep, "limit", "wall_seconds=2", "took longer than a task may while odd looked at it",
         "entry"),
        (leave, "crash", None, "its worker ended with exit code 7 while odd looked at it", "entry"),
        (eat_for_good, "crash", None, "its worker ended with exit code 1 while odd looked at it",
         "entry"),
        (eat, "limit", "memory", "odd@1: needs more memory than a worker may use", "inspection"),
        (recurse, "limit", "recursion", "odd@1: nested too deeply for its reader", "inspection"),
        (fail, "malformed", None, "odd@1: ValueError: two lines \x1b[2J", "inspection"),
    ],
)  # fmt: skip
def test_an_inspector_costs_its_entry(
    tmp_path: Path, add: Callable[[object], None], look: Look, reason: str, limit: str | None, detail: str, scope: str
) -> None:
    add(inspector(look))
    record = tmp_path / "r.assay"
    outcome = examined(release(tmp_path), record, limits=WAITING if look is sleep else LIMITS)
    assert rows(record, 'SELECT path, scope, reason, "limit", detail FROM unread') == [
        ("/etc/020", scope, reason, limit, detail)
    ]
    assert outcome.unread == 1
    assert_accounted(record)
    lost = rows(record, "SELECT path FROM file WHERE type = 'regular' AND content IS NULL")
    assert lost == ([("/etc/020",)] if scope == "entry" else [])
    assert rows(record, "SELECT name FROM account") == [("root",)]
    kept = rows(record, "SELECT key FROM directive WHERE dialect = 'odd'")
    assert kept == ([("before",)] if look is fail else [])


class Odd(Reader):
    """A container of three files, one of which does harm; or which does harm when listed or opened."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.detail = {}
        self.format = ODD

    def entries(self) -> Iterator[Entry | Problem]:
        yield Entry(b"a", "regular", locator=0, size=1)
        if self.source.pread(4, 4) == b"list":
            os._exit(9)
        if self.source.pread(4, 4) == b"many":
            for i in range(10**9):
                yield Entry(b"%d" % i, "regular", locator=0, size=1)
        yield Entry(b"b", "regular", locator=1, size=1)
        yield Entry(b"c", "regular", locator=2, size=1)

    def open(self, locator: object) -> Iterator[bytes]:
        if locator == 1 and self.source.pread(4, 4) == b"read":
            ctypes.string_at(0)
        if locator == 1 and self.source.pread(4, 4) == b"long":
            while True:
                yield b"x" * 100_000
        yield b"x"


def _open(source: Source, _: Limits) -> Reader:
    if source.pread(4, 4) == b"open":
        ctypes.string_at(0)
    return Odd(source)


ODD = Format("odd", "", _open, [(0, b"ODD ")])


@pytest.mark.parametrize(
    ("harm", "expected", "listed"),
    [
        (b"none", [], 3),
        (b"read", [("/etc/020!/b", "entry", "crash", None)], 3),
        (b"list", [("/etc/020!", "rest", "crash", None)], 1),
        (b"open", [("/etc/020", "entry", "crash", None)], None),
        (b"many", [("/etc/020!", "rest", "limit", "entries=5000")], 5000),
        (b"long", [("/etc/020!/b", "entry", "limit", "entry_bytes=10000000")], 3),
    ],
)
def test_a_reader_costs_its_entry(
    tmp_path: Path, add: Callable[[object], None], harm: bytes, expected: list[object], listed: int | None
) -> None:
    add(ODD)
    tree = release(tmp_path)
    (tree / "etc/020").write_bytes(b"ODD " + harm)
    record = tmp_path / "r.assay"
    limits = msgspec.structs.replace(LIMITS, cpu_seconds=5, entries=5000, entry_bytes=10_000_000)
    examined(tree, record, limits=limits)
    found = unread(record)
    if harm == b"list":  # the first batch of a listing may or may not have been sent
        listed = rows(record, "SELECT listed FROM container WHERE format = 'odd'")[0][0]
    assert found == expected
    assert_accounted(record)
    shown = rows(record, "SELECT listed FROM container WHERE format = 'odd'")
    assert shown == ([] if listed is None else [(listed,)])


def odd_tree(look: Callable[[], None]) -> TreeInspector:
    def run(_: Tree) -> Iterator[TreeFact]:
        yield Setting(path="/etc/020", subsystem="odd", key="a", value="b", origin="file")
        look()

    return TreeInspector("odd", 1, [Setting], run)


def fault() -> None:
    ctypes.string_at(0)


def spin_on() -> None:
    while True:
        pass


def wait() -> None:
    time.sleep(3600)


@pytest.mark.parametrize(
    ("look", "reason", "limit", "detail"),
    [
        (fault, "crash", None, "odd: its worker ended with SIGSEGV"),
        (spin_on, "limit", "cpu_seconds=1", "odd: used more processor time than a task may"),
        (wait, "limit", "wall_seconds=2", "odd: took longer than a task may"),
    ],
)
def test_a_tree_inspector_costs_its_facts(
    tmp_path: Path, add: Callable[[object], None], look: Callable[[], None], reason: str, limit: str, detail: str
) -> None:
    add(odd_tree(look))
    record = tmp_path / "r.assay"
    examined(release(tmp_path), record, limits=WAITING if look is wait else LIMITS)
    assert rows(record, 'SELECT scope, reason, "limit", detail FROM unread') == [("inspection", reason, limit, detail)]
    assert rows(record, "SELECT name FROM account") == [("root",)]
    assert rows(record, "SELECT count(*) FROM setting WHERE subsystem = 'odd'") == [(0,)]
    assert rows(record, "SELECT looked, failed, facts FROM coverage AS v JOIN collector AS c ON c.id = v.collector "
                        "WHERE c.name = 'odd'") == [(1, 1, 0)]  # fmt: skip
    by = "SELECT c.name FROM account AS a LEFT JOIN collector AS c ON c.id = a.collector"
    assert rows(record, by) == [("accounts",)]
    assert_accounted(record)


def test_workers_that_are_killed_from_outside_do_not_end_the_examination(tmp_path: Path) -> None:
    """As by a kernel that is out of memory: whichever worker it is, at work or idle, the release is accounted for."""
    tree = release(tmp_path, files=400)
    for i in range(6):
        (tree / f"big{i}").write_bytes(os.urandom(20_000_000))
    stop = threading.Event()
    killed = []

    def killer() -> None:
        while not stop.is_set() and len(killed) < 6:
            for pid in workers():
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.05)

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        examined(tree, tmp_path / "r.assay")
    finally:
        stop.set()
        thread.join()
    assert_accounted(tmp_path / "r.assay")
    # What needed a file that was lost (accounts without /etc/passwd) says so for itself.
    assert {row[2] for row in unread(tmp_path / "r.assay") if row[1] != "inspection"} <= {"crash"}


def test_an_idle_worker_that_is_killed_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Scheduler.loop

    def loop(self: Scheduler) -> None:
        for _ in range(2):
            os.kill(self.start_worker().pid, signal.SIGKILL)
        time.sleep(0.1)
        real(self)

    monkeypatch.setattr(Scheduler, "loop", loop)
    outcome = examined(release(tmp_path), tmp_path / "r.assay")
    assert outcome.unread == 0
    assert_accounted(tmp_path / "r.assay")


def workers() -> list[int]:
    """Return the grandchildren of this process: the nursery's workers."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(status.parent.name)] = int(fields[1])
    return [pid for pid, parent in parents.items() if parents.get(parent) == os.getpid()]


# -- the sandbox -------------------------------------------------------------------------------------------------------

LIBC = ctypes.CDLL(None, use_errno=True)


def _libc(name: str, *arguments: object) -> None:
    if getattr(LIBC, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def attempts(place: Path) -> dict[str, Callable[[], object]]:
    """Return what a worker must not be able to do."""
    parent = os.getpid()
    return {
        "open": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "open relative": lambda: os.open("x", os.O_RDONLY),
        "create": lambda: os.open(place / "new", os.O_CREAT | os.O_WRONLY),
        "list": lambda: os.listdir("/"),  # noqa: PTH208
        "stat": lambda: os.stat("/etc/passwd"),  # noqa: PTH116
        "access": lambda: _libc("access", b"/etc/passwd", 0),
        "readlink": lambda: os.readlink("/proc/self/exe"),  # noqa: PTH115
        "unlink": lambda: os.unlink(place / "there"),  # noqa: PTH108
        "rename": lambda: os.rename(place / "there", place / "gone"),  # noqa: PTH104
        "mkdir": lambda: os.mkdir(place / "dir"),  # noqa: PTH102
        "symlink": lambda: os.symlink("a", place / "link"),  # noqa: PTH211
        "chmod": lambda: os.chmod(place / "there", 0o777),  # noqa: PTH101
        "chdir": lambda: os.chdir("/"),
        "internet": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
        "datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "pair": socket.socketpair,
        "fork": os.fork,
        "thread": lambda: threading.Thread(target=print).start(),
        "execute": lambda: os.execv("/bin/true", ["true"]),
        "kill": lambda: os.kill(parent, 0),
        "kill all": lambda: os.kill(-1, 0),
        "trace": lambda: _libc("ptrace", 16, parent, 0, 0),
        "read memory": lambda: _libc("process_vm_readv", parent, None, 0, None, 0, 0),
        "map code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
        "make code": lambda: _libc("mprotect", ctypes.c_void_p(0), 0, 5),
        "new memory file": lambda: os.memfd_create("x"),
        "namespace": lambda: _libc("unshare", 0x10000000),
        "mount": lambda: _libc("mount", b"none", b"/", b"tmpfs", 0, None),
        "priority": lambda: os.nice(-5),
        "others' limits": lambda: __import__("resource").prlimit(parent, 7, (10, 10)),
        "keyring": lambda: _libc("syscall", 250, 0, -3, 1),
        "bpf": lambda: _libc("syscall", 321, 0, None, 0),
        "ring": lambda: _libc("syscall", 425, 1, None),
    }


def test_a_worker_can_do_nothing_to_the_machine(tmp_path: Path, add: Callable[[object], None]) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "there").write_text("x")
    tried = attempts(place)

    def look(_: Content) -> Iterator[ContentFact]:
        for name, attempt in tried.items():
            try:
                attempt()
                value = "done"
            except Exception as error:
                value = type(error).__name__
            yield Directive(dialect="tried", section=None, key=name, value=value)

    add(inspector(look))
    record = tmp_path / "r.assay"
    examined(release(tmp_path), record, limits=LIMITS)
    found = dict(rows(record, "SELECT key, value FROM directive WHERE dialect = 'tried'"))
    assert sorted(found) == sorted(tried)
    assert {name: value for name, value in found.items() if value == "done"} == {}
    assert [path.name for path in place.iterdir()] == ["there"]
    ((force,),) = rows(record, "SELECT sandbox FROM run")
    force = msgspec.json.decode(force)
    assert sorted(force) == ["landlock", "limits", "namespaces", "no_new_privs", "seccomp"]
    assert force["limits"] == {"core": 0, "data": 512 << 20, "fsize": LIMITS.spool_bytes, "nofile": 1024}


@pytest.mark.parametrize("layer", ["_namespaces", "_landlock", "_seccomp"])
def test_without_a_layer_there_is_no_examination_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    def absent() -> None:
        raise SandboxUnavailable(f"{layer} is not to be had")

    monkeypatch.setattr(sandbox, layer, absent)
    tree, record = release(tmp_path), tmp_path / "r.assay"
    with pytest.raises(SandboxUnavailable, match=f"{layer} is not to be had"):
        examined(tree, record)
    assert not record.exists()
    examined(tree, record, sandbox=False)
    ((force,),) = rows(record, "SELECT sandbox FROM run")
    assert msgspec.json.decode(force)["missing"] == [f"{layer} is not to be had"]
    assert_accounted(record)


def test_what_is_spooled_has_a_limit(tmp_path: Path) -> None:
    import gzip

    image = tmp_path / "image.gz"
    image.write_bytes(gzip.compress(bytes(range(256)) * 400_000))
    record = tmp_path / "r.assay"
    examined(image, record, limits=Limits(spool_bytes=1 << 20))
    assert unread(record) == [("/data", "entry", "limit", "spool_bytes=1048576")]
    assert_accounted(record)
    with Record(record) as opened:
        assert opened.db.execute("SELECT count(*) FROM content").fetchone() == (1,)


def test_a_spool_on_a_file_system_without_nameless_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import gzip

    real = os.open

    def refuse(path: object, flags: int, *more: object, **others: object) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported", path)
        return real(path, flags, *more, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    (tmp_path / "image.gz").write_bytes(gzip.compress(b"x" * 3_000_000))
    spool = tmp_path / "spool"
    spool.mkdir()
    outcome = examined(tmp_path / "image.gz", tmp_path / "r.assay", spool=spool)
    assert (outcome.unread, outcome.contents) == (0, 2)
    assert list(spool.iterdir()) == []


def test_a_file_that_goes_away_while_it_is_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.examine import directory

    tree = release(tmp_path)
    (tree / "etc/archive.tar").write_bytes(b"".join(_tar()))
    real, opened = directory.open_file, []

    def gone(root: Path, path: bytes) -> int:
        if path in (b"etc/001", b"etc/archive.tar"):
            opened.append(path)
            if path == b"etc/001" or opened.count(path) > 1:
                raise FileNotFoundError(2, "No such file or directory")
        return real(root, path)

    monkeypatch.setattr(directory, "open_file", gone)
    record = tmp_path / "r.assay"
    examined(tree, record)
    assert unread(record) == [("/etc/001", "entry", "denied", None), ("/etc/archive.tar", "entry", "denied", None)]


def _tar() -> Iterator[bytes]:
    import tarfile

    entry = tarfile.TarInfo("inside")
    yield entry.tobuf() + bytes(1024)
