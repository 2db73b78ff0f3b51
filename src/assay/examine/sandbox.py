"""Confinement of the workers that touch bytes from an image.

Four layers, none of which needs root: a user namespace with its own (empty) network, IPC and UTS namespaces; Landlock
with no rule at all, so that no file can be opened, made or changed and no TCP port used; a seccomp filter that allows
only what reading given descriptors and computing needs; and resource limits. A worker sees what it is handed over its
socket, and nothing else.

Sources: landlock(7), seccomp(2), user_namespaces(7), getrlimit(2), prctl(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
from collections.abc import Callable

import pyseccomp

_libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = 0x04000000, 0x08000000, 0x10000000, 0x40000000
LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
LANDLOCK_CREATE_RULESET_VERSION = 1

FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Landlock ABI to the number of file-system access rights it knows (LANDLOCK_ACCESS_FS_*); later ABIs know 16."""

SYSCALLS = """
read readv pread64 write writev pwrite64 lseek ftruncate close dup fstat fcntl
sendmsg recvmsg sendto recvfrom shutdown poll ppoll select pselect6
munmap mremap madvise brk membarrier
rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall
exit exit_group futex sched_yield sched_getaffinity rseq set_robust_list
getpid gettid getuid geteuid getgid getegid getrandom getrusage setrlimit getrlimit
clock_gettime clock_getres gettimeofday time times nanosleep clock_nanosleep sysinfo uname
"""


class SandboxUnavailable(Exception):
    """A layer is not to be had here; the message names it and the reason."""


def _check(result: int, what: str) -> int:
    if result < 0:
        raise SandboxUnavailable(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def _namespaces() -> str:
    flags = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
    _check(_libc.unshare(flags), "user namespace")
    return "user, network, ipc, uts"


def _landlock() -> int:
    abi = _check(_libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION), "landlock")
    files = (1 << FILE_RIGHTS.get(abi, 16)) - 1
    network = 0b11 if abi >= 4 else 0
    scopes = 0b11 if abi >= 6 else 0
    attributes = struct.pack("=QQQ", files, network, scopes)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _check(
        _libc.syscall(LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0), "landlock ruleset"
    )
    try:
        _check(_libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock")
    finally:
        os.close(ruleset)
    return abi


def _seccomp(*, threads: bool = False) -> int:
    allowed = 0
    try:
        rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
        for name in SYSCALLS.split():
            try:
                rules.add_rule(pyseccomp.ALLOW, name)
                allowed += 1
            except (OSError, ValueError):  # a name that this architecture does not have
                continue
        # stat of an open descriptor only: with a path it would tell which files exist
        at_empty_path = 0x1000
        rules.add_rule(
            pyseccomp.ALLOW, "newfstatat", pyseccomp.Arg(3, pyseccomp.MASKED_EQ, at_empty_path, at_empty_path)
        )
        # no new code: memory never becomes executable
        prot_exec = 4
        for name in ("mmap", "mprotect"):
            rules.add_rule(pyseccomp.ALLOW, name, pyseccomp.Arg(2, pyseccomp.MASKED_EQ, prot_exec, 0))
        # limits of the process itself only
        rules.add_rule(pyseccomp.ALLOW, "prlimit64", pyseccomp.Arg(0, pyseccomp.EQ, 0))
        if threads:
            # of the process itself, never another process; what the newer call makes cannot be told, so it is not there
            clone_thread = 0x00010100  # CLONE_THREAD, CLONE_VM
            rules.add_rule(pyseccomp.ALLOW, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, clone_thread, clone_thread))
            rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
        rules.load()
    except OSError as error:
        raise SandboxUnavailable(f"seccomp: {error.strerror}") from error
    return allowed


def limits(memory: int, file_bytes: int) -> dict[str, int]:
    """Set the resource limits that hold for a worker's whole life; CPU time is limited task by task.

    Args:
        memory: private writable memory, in bytes (RLIMIT_DATA).
        file_bytes: largest offset written in a spool file, in bytes (RLIMIT_FSIZE).
    """
    wanted = {
        "data": (resource.RLIMIT_DATA, memory),
        "fsize": (resource.RLIMIT_FSIZE, file_bytes),
        "core": (resource.RLIMIT_CORE, 0),
        "nofile": (resource.RLIMIT_NOFILE, 1024),
    }
    force = {}
    for name, (which, value) in wanted.items():
        hard = resource.getrlimit(which)[1]
        force[name] = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (force[name], force[name]))
    return force


def cpu_budget(seconds: int) -> None:
    """Let the calling process use so many CPU seconds from now; beyond, the kernel ends it with SIGXCPU."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def confine(memory: int, file_bytes: int, *, required: bool = True, threads: bool = False) -> dict[str, object]:
    """Confine the calling process, for good.

    Args:
        memory: private writable memory, in bytes.
        file_bytes: largest spool file, in bytes.
        required: raise if a layer is missing; otherwise apply what is there.
        threads: allow threads, which the derivation of keys by Argon2 takes.

    Returns:
        What is in force, as kept in the record: namespaces, landlock (ABI), seccomp (allowed calls), limits; and under
        `missing` the layers that could not be had.

    Raises:
        SandboxUnavailable: a layer is missing and `required`.
    """
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    force: dict[str, object] = {"no_new_privs": True}
    missing: list[str] = []
    layers: dict[str, Callable[[], object]] = {
        "namespaces": _namespaces,
        "landlock": _landlock,
        "limits": lambda: limits(memory, file_bytes),
        "seccomp": (lambda: _seccomp(threads=True)) if threads else _seccomp,
    }
    for name, layer in layers.items():
        try:
            force[name] = layer()
        except SandboxUnavailable as error:
            if required:
                raise
            missing.append(str(error))
        if name == "namespaces":  # after it, since a change of credentials clears this
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if threads:
        force["threads"] = True
    if missing:
        force["missing"] = missing
    return force
