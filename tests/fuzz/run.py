"""Runs the fuzzer: a child process for each format, restarted where an input kills it.

A child works in an empty folder, may write no file (RLIMIT_FSIZE), may not grow beyond `MEMORY` (RLIMIT_AS), and says
in shared memory at which input it is, so that the one that killed it is known. Inputs are numbered, and the number
decides the input: a finding is made again from it.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import resource
import select
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assay.unpack import formats
from assay.unpack.base import Format, NotThisFormat, UnpackError

from .attempt import LIMITS, Finding, attempt, limited
from .mutate import Mutant, Repair, Seed, mutant
from .repairs import REPAIRS
from .seeds import Absent, seeds

MEMORY = 1 << 30
"""Address space beyond what a child begins with."""
GROWTH = 384 << 20
"""Resident memory beyond what a child begins with, in bytes: more is a finding."""
STUCK = 30.0
"""Seconds of the clock at one input after which a child is killed: native code heeds no signal."""
RESTARTS = 50

_STATE = struct.Struct("=5Qd2Q")
"""number, other, refused, read, is done, CPU seconds, memory grown by, number of the largest"""


@dataclass
class Result:
    """What came of the inputs of one format."""

    format: str
    seeds: int = 0
    absent: list[str] = field(default_factory=list)
    """Seeds that could not be made, and why."""
    inputs: int = 0
    other: int = 0
    refused: int = 0
    read: int = 0
    cpu: float = 0.0
    memory: int = 0
    """Largest growth of resident memory of a child, in bytes."""
    findings: list[tuple[str, str, int, str, int]] = field(default_factory=list)
    """(kind, place, number of the first such input, what was said, how many), each kind and place once."""


class Case:
    """A format, its seeds, and the inputs that numbers stand for."""

    def __init__(self, format: Format, made: Iterable[tuple[str, bytes | Absent]], seed: int = 1) -> None:
        self.format = format
        self.seed = seed
        self.seeds: list[Seed] = []
        self.absent: list[str] = []
        for name, data in made:
            if isinstance(data, Absent):
                self.absent.append(" ".join(f"{name}: {data}".split()))
                continue
            try:
                self.seeds.append(Seed.of(format, name, data, LIMITS))
            except (NotThisFormat, UnpackError) as error:
                self.absent.append(f"{name}: the reader does not read it: {type(error).__name__} {error}")
        self.repair: Repair | None = REPAIRS.get(format.name)

    def input(self, number: int) -> Mutant:
        """Return an input by its number."""
        chance = random.Random(f"{self.seed}/{self.format.name}/{number}")
        return mutant(chance.choice(self.seeds), self.seeds, chance, self.repair)


def fuzz(case: Case, inputs: int, seconds: float, result: Result | None = None) -> Result:
    """Give a format so many inputs, or as many as fit in so many seconds.

    Args:
        case: the format and its seeds.
        inputs: how many, with those of `result`.
        seconds: of the clock.
        result: of an earlier run, to go on from.
    """
    result = result or Result(case.format.name)
    result.seeds, result.absent = len(case.seeds), case.absent
    if not case.seeds:
        return result
    end, number, last = time.monotonic() + seconds, result.inputs, inputs
    for _ in range(RESTARTS):
        if number >= last or time.monotonic() >= end:
            break
        number = _one_child(case, number, last, end, result)
    return result


def _one_child(case: Case, number: int, last: int, end: float, result: Result) -> int:
    """Run a child until it is done or dies; return the number to go on with."""
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    _STATE.pack_into(shared, 0, number, 0, 0, 0, 0, 0.0, 0, 0)
    reading, writing = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        code = 1
        try:
            _child(case, number, last, end, shared, writing)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    at, since, killed, said = number, time.monotonic(), False, b""
    while True:
        ready, _, _ = select.select([reading], [], [], 1.0)
        if ready:
            data = os.read(reading, 1 << 16)
            if not data:
                break
            said += data
        now = _STATE.unpack_from(shared)[0]
        if now != at:
            at, since = now, time.monotonic()
        elif time.monotonic() - since > STUCK and not killed:
            killed = True
            os.kill(pid, signal.SIGKILL)
    os.close(reading)
    _, status, used = os.wait4(pid, 0)
    now, other, refused, read, done, _, memory, largest = _STATE.unpack_from(shared)
    shared.close()
    result.other, result.refused, result.read = result.other + other, result.refused + refused, result.read + read
    result.inputs += now - number + (not done)
    result.cpu += used.ru_utime + used.ru_stime
    result.memory = max(result.memory, memory)
    for line in said.splitlines():
        with contextlib.suppress(ValueError):  # the last line of one that died
            which, kind, place, text = json.loads(line)
            _note(result, which, Finding(kind, place, text))
    if memory > GROWTH:
        _note(result, largest, Finding("memory", "?", f"grew by {memory >> 20} MiB"))
    if done:
        return int(now)
    code = os.waitstatus_to_exitcode(status)
    kind = "stuck" if killed else signal.Signals(-code).name if code < 0 else f"exit {code}"
    _note(result, now, Finding(kind, "?", "the process died"))
    return int(now) + 1


def _note(result: Result, number: int, finding: Finding) -> None:
    for index, (kind, place, first, said, count) in enumerate(result.findings):
        if (kind, place) == (finding.kind, finding.place):
            result.findings[index] = (kind, place, first, said, count + 1)
            return
    result.findings.append((finding.kind, finding.place, number, finding.said, 1))


def _child(case: Case, number: int, last: int, end: float, shared: mmap.mmap, pipe: int) -> None:
    with tempfile.TemporaryDirectory(prefix="assay-fuzz-cwd-") as folder:
        os.chdir(folder)
        _confine()
        limited()
        counts = {"other": 0, "refused": 0, "read": 0}
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        peak = largest = 0
        while number < last and time.monotonic() < end:
            _STATE.pack_into(shared, 0, number, *counts.values(), 0, 0.0, peak, largest)
            outcome, finding = attempt(case.format, case.input(number))
            counts[outcome] += 1
            if finding is not None:
                line = json.dumps([number, finding.kind, finding.place, finding.said]).encode() + b"\n"
                os.write(pipe, line)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - start
            if grown > peak:
                peak, largest = grown, number
            number += 1
        if os.listdir(folder):  # noqa: PTH208 - a name is enough
            os.write(pipe, json.dumps([number - 1, "wrote a file", "?", ""]).encode() + b"\n")
        _STATE.pack_into(shared, 0, number, *counts.values(), 1, 0.0, peak, largest)
        os.chdir("/")


def _confine() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * mmap.PAGESIZE + MEMORY,) * 2)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def campaign(
    names: Sequence[str],
    inputs: int,
    seconds: float,
    folder: Path,
    *,
    seed: int = 1,
    earlier: Mapping[str, Result] | None = None,
) -> Iterator[tuple[Case, Result]]:
    """Fuzz formats one after the other; what one does not use of the time, the others have.

    Args:
        names: of formats; empty means all.
        inputs: for each format.
        seconds: of the clock, for all together.
        folder: empty, for the making of seeds.
        seed: of the random choices.
        earlier: results to go on from, by format.
    """
    known = formats()
    wanted = [known[name] for name in names or known]
    end = time.monotonic() + seconds
    for index, format in enumerate(wanted):
        case = Case(format, seeds(format.name, folder), seed)
        share = max(0.0, end - time.monotonic()) / (len(wanted) - index)
        yield case, fuzz(case, inputs, share, (earlier or {}).get(format.name))


def kept(case: Case, result: Result, folder: Path) -> Iterable[Path]:
    """Write the first input of each finding to a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, place, number, _, _ in result.findings:
        name = f"{result.format}-{kind}-{place}-{number}".replace("?", "unknown").replace(":", "-").replace(" ", "-")
        source = case.input(number)
        with (folder / name).open("wb") as file:
            file.truncate(source.size)
            for at in range(0, source.size, 1 << 20):
                data = source.pread(at, 1 << 20)
                if data.strip(b"\0"):
                    file.seek(at)
                    file.write(data)
        yield folder / name
