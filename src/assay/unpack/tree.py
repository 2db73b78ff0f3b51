"""Walking a directory tree whose every part is hostile: one walk for all file systems that number their inodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .base import Entry, LimitReached, Limits, Problem, UnpackError

DEPTH = 1024
"""Directories inside directories; what is deeper is not listed and named as a problem."""

PATH = 16384
"""Longest path listed, in bytes (Linux refuses more than 4096 in one call)."""


def walk(
    root: int,
    describe: Callable[[int, bytes], tuple[Entry, Problem | None]],
    children: Callable[[int], Iterator[tuple[int, bytes]]],
    limits: Limits,
) -> Iterator[Entry | Problem]:
    """List a tree in preorder; memory grows with its depth only, besides one number for each directory.

    Args:
        root: the root directory's inode.
        describe: returns the entry of an inode under a path, and what could not be read of it. May raise `UnpackError`.
        children: yields (inode, name) of a directory, without '.' and '..'. May raise `UnpackError`, even after some.
        limits: `entries` is kept to.

    Yields:
        Entries, the root with the empty path first. A `Problem` with `entries` 1 for a name whose inode cannot be read;
        with `entries` 0 for a directory that cannot be read on, or is not entered because it was already (a cycle) or
        is too deep.

    Raises:
        UnpackError: the root cannot be read.
        LimitReached: `entries`.
    """
    first, problem = describe(root, b"")
    yield first
    if problem:
        yield problem
    if first.type != "directory":
        return
    seen = {root}
    listed = 1
    stack = [(b"", children(root))]
    while stack:
        parent, names = stack[-1]
        try:
            inode, name = next(names)
        except StopIteration:
            stack.pop()
            continue
        except UnpackError as error:
            stack.pop()
            yield Problem(error.reason, f"directory: {error}", parent, 0)
            continue
        listed += 1
        if listed > limits.entries:
            raise LimitReached("entries", limits.entries)
        path = parent + b"/" + name if parent else name
        try:
            entry, problem = describe(inode, path)
        except UnpackError as error:
            yield Problem(error.reason, f"inode: {error}", path)
            continue
        yield entry
        if problem:
            yield problem
        if entry.type != "directory":
            continue
        if inode in seen:
            yield Problem("malformed", f"directory inode {inode} was already listed at another place", path, 0)
        elif len(stack) >= DEPTH or len(path) > PATH:
            yield Problem(
                "limit",
                f"directory is more than {DEPTH} deep or its path is longer than {PATH} bytes",
                path,
                0,
                f"directory_depth={DEPTH}",
            )
        else:
            seen.add(inode)
            stack.append((path, children(inode)))
