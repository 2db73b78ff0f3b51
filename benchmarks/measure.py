"""Run a program and measure what it and everything that it starts use.

CPU seconds are user and system time from wait4(2), of the program and of every descendant: this process makes itself
the reaper of orphans (prctl(2), PR_SET_CHILD_SUBREAPER), so that none escapes the account. Memory is sampled ten times
a second: the sum over all descendants of PSS (proc(5), smaps_rollup), in which a page shared by n processes counts 1/n
in each; a peak between two samples is missed, so the largest resident set of any one process (ru_maxrss) stands beside
it. The kernel carries ru_maxrss over from the process that starts another, so who measures has to stay small itself.
Only the standard library is used.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.02
SAMPLE_SECONDS = 0.1
MIB = 1 << 20


@dataclass(frozen=True)
class Usage:
    """What one run used."""

    cpu: float
    """User and system time of all processes, in seconds."""
    wall: float
    """Elapsed time, in seconds."""
    memory: int
    """Largest sampled sum of PSS over all processes, in bytes."""
    resident: int
    """Largest resident set of one process, in bytes."""
    code: int
    """Exit code; negative: the signal that ended it."""
    cut: bool
    """The time limit ended it."""


def descendants() -> set[int]:
    """Return the process ids of everything that this process has started, directly or not."""
    found: set[int] = set()
    left = [os.getpid()]
    while left:
        tasks = Path(f"/proc/{left.pop()}/task")
        with contextlib.suppress(OSError):  # It ends while it is looked at.
            for task in tasks.iterdir():
                new = {int(pid) for pid in (task / "children").read_text().split()} - found
                found |= new
                left += new
    return found


def memory_of(pids: set[int]) -> int:
    """Return the sum of PSS in bytes; for a process that may not be looked into, its resident set."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(rollup.partition("\nPss:")[2].split(maxsplit=1)[0]) << 10
        except (OSError, IndexError):
            try:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            except (OSError, IndexError):
                continue
    return total


def run(
    command: Sequence[str | Path], output: Path, *, limit: float, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Usage:
    """Run a command to its end or to a time limit.

    Args:
        command: program and arguments.
        output: file that gets its standard output and error.
        limit: seconds after which it and all that it started are killed.
        env: variables added to the environment.
        cwd: its working directory.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    start, peak, cut = time.monotonic(), 0, False
    cpu, resident, code = 0.0, 0, None
    with output.open("wb") as out:
        process = subprocess.Popen(
            [*map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        )
    wall, sampled = 0.0, 0.0
    while True:
        try:
            pid, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid:
            cpu += used.ru_utime + used.ru_stime
            resident = max(resident, used.ru_maxrss << 10)
            if pid == process.pid:
                code = process.returncode = os.waitstatus_to_exitcode(status)
                wall = time.monotonic() - start
            continue
        now = time.monotonic()
        cut = cut or now - start > limit
        if cut or code is not None:  # What outlives the program is ended with it.
            for child in descendants():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        elif now - sampled >= SAMPLE_SECONDS:
            sampled, peak = now, max(peak, memory_of(descendants()))
        time.sleep(POLL_SECONDS)
    return Usage(cpu, wall, peak, resident, -1 if code is None else code, cut)


def tree_bytes(root: Path) -> tuple[int, int]:
    """Return (files, bytes) of the regular files under a folder; hard links to one file count once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            known = os.lstat(Path(folder, name))
            if stat.S_ISREG(known.st_mode) and (known.st_dev, known.st_ino) not in seen:
                seen.add((known.st_dev, known.st_ino))
                total += known.st_size
    return len(seen), total


def machine() -> str:
    """Describe this machine in one line: processor, cores, memory, kernel, Python."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") / (1 << 30)
    cores = len(os.sched_getaffinity(0))
    python = platform.python_version()
    return f"{model}, {cores} cores, {memory:.0f} GiB memory, Linux {platform.release()}, Python {python}"
