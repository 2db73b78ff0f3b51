"""A directory on this machine as a container: names and attributes as the kernel tells them, bytes by descriptor.

The scheduler itself lists it (no byte of a file is parsed for that) and hands workers open descriptors, so that workers
need no file system at all. Nothing is followed: not a symbolic link, not a mount point's other side by name.

Sources: POSIX.1-2017 sys/stat.h; listxattr(2), openat(2).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from assay.unpack.base import Entry, EntryType, Problem

TYPES: dict[int, EntryType] = {
    stat.S_IFREG: "regular",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "chardev",
    stat.S_IFBLK: "blockdev",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def entries(root: Path) -> Iterator[Entry | Problem]:
    """List everything below a directory, parents first, names in byte order; the root itself comes first as '/'."""
    base = os.fsencode(root)
    yield _entry(base, b"")
    stack = [b""]
    while stack:
        folder = stack.pop()
        try:
            names = sorted(os.listdir(os.path.join(base, folder) if folder else base))  # noqa: PTH118, PTH208 - bytes
        except OSError as error:
            yield Problem("denied", f"cannot be listed: {error.strerror}", folder)
            continue
        below = []
        for name in names:
            path = folder + b"/" + name if folder else name
            try:
                entry = _entry(base, path)
            except OSError as error:
                yield Problem("denied", f"cannot be looked at: {error.strerror}", path)
                continue
            yield entry
            if entry.type == "directory":
                below.append(path)
        stack += reversed(below)


def _entry(base: bytes, path: bytes) -> Entry:
    full = os.path.join(base, path) if path else base  # noqa: PTH118 - bytes
    status = os.lstat(full)
    kind = TYPES[stat.S_IFMT(status.st_mode)]
    xattrs = {}
    try:
        for name in os.listxattr(full, follow_symlinks=False):
            xattrs[name] = os.getxattr(full, name, follow_symlinks=False)
    except OSError:  # a file system without attributes, or one that does not show them to this user
        pass
    return Entry(
        path=path or b"/",
        type=kind,
        locator=path if kind == "regular" else None,
        size=status.st_size if kind == "regular" else None,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=status.st_mtime_ns,
        atime=None,  # reading changes it: not evidence
        ctime=status.st_ctime_ns,
        link=os.readlink(full) if kind == "symlink" else None,  # noqa: PTH115 - bytes
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in ("chardev", "blockdev") else None,
        inode=status.st_ino,
        nlink=status.st_nlink,
        xattrs=xattrs,
    )


def open_file(root: Path, path: bytes) -> int:
    """Open a file below a directory for reading, without following a link, and return its descriptor.

    Raises:
        OSError: it cannot be opened, or is no regular file (any more).
    """
    full = os.path.join(os.fsencode(root), path)  # noqa: PTH118 - bytes
    fd = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("is not a regular file any more")
    return fd
