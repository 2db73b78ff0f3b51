"""From a reader's entries to `file` facts: how names, links and attributes are written down."""

from __future__ import annotations

import struct

from assay.facts.structure import File
from assay.unpack.base import Entry, Problem

Detail = dict[str, str | int | bool | None]

FAR = 1 << 63
"""Numbers from here on, and times before its negative, fit no record: SQLite's integers have 64 bits with a sign."""
NUMBERS = ("size", "mtime", "atime", "ctime", "inode", "nlink", "mode", "uid", "gid")

CAPABILITIES = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
]
"""Names by bit number: include/uapi/linux/capability.h."""


def text(raw: bytes) -> str:
    """Return bytes as text: UTF-8, other bytes as backslash escapes."""
    return raw.decode("utf-8", "backslashreplace")


def canonical(raw: bytes) -> tuple[str, bytes | None]:
    """Return an entry's name as a path for comparing, and its raw bytes where the path alone would not tell them.

    >>> canonical(b"etc/passwd")
    ('/etc/passwd', None)
    >>> canonical(b"./etc//passwd")
    ('/etc/passwd', b'./etc//passwd')
    >>> canonical(b"/../etc/passwd")
    ('../etc/passwd', b'/../etc/passwd')
    """
    path = text(raw)
    if b"//" in raw or b"." in raw[:1] or b"/." in raw or raw[:1] == b"/" or raw[-1:] == b"/":
        parts = [part for part in path.split("/") if part not in ("", ".")]
        path = path.lstrip("/") if ".." in parts else "/" + "/".join(parts)
    else:
        path = "/" + path
    return path, None if path[1:].encode("utf-8", "surrogatepass") == raw else raw


def capabilities(value: bytes) -> str:
    """Return a security.capability attribute as getcap(8) would show it, or as hexadecimal if it is not one.

    Source: struct vfs_cap_data in include/uapi/linux/capability.h; cap_to_text(3).
    """
    if len(value) not in (12, 20, 24):
        return value.hex()
    magic, permitted, inheritable = struct.unpack_from("<III", value)
    if len(value) >= 20:
        high_permitted, high_inheritable = struct.unpack_from("<II", value, 12)
        permitted |= high_permitted << 32
        inheritable |= high_inheritable << 32
    flags: dict[str, list[str]] = {}
    for bit in range(64):
        sets = ("e" if magic & 1 and permitted >> bit & 1 else "") + ("i" if inheritable >> bit & 1 else "")
        sets += "p" if permitted >> bit & 1 else ""
        if sets:
            flags.setdefault(sets, []).append(f"cap_{CAPABILITIES[bit]}" if bit < len(CAPABILITIES) else str(bit))
    return " ".join(f"{','.join(names)}={sets}" for sets, names in flags.items())


def whiteout(entry: Entry, path: str) -> str | None:
    """Return what an entry deletes from the layers below it, or None.

    Sources: Documentation/filesystems/overlayfs.rst (character device 0:0, trusted.overlay.opaque); OCI image-spec
    layer.md (.wh. prefix, .wh..wh..opq).
    """
    name = path.rpartition("/")[2]
    if name == ".wh..wh..opq":
        return "opaque"
    if name.startswith(".wh."):
        return "file"
    if entry.type == "chardev" and entry.device is not None and tuple(entry.device) == (0, 0):
        return "file"
    if entry.type == "directory" and any(
        entry.xattrs.get(key) == b"y" for key in ("trusted.overlay.opaque", "user.overlay.opaque")
    ):
        return "opaque"
    return None


def stated(detail: Detail) -> Detail:
    """Return header fields with the numbers that a record cannot hold as text."""
    return {
        key: str(value) if isinstance(value, int) and not -FAR <= value < FAR else value
        for key, value in detail.items()
    }


def fitted(entry: Entry) -> Problem | None:
    """Take numbers out of an entry that a record cannot hold: sizes of 2**64 - 1, times after the year 2262.

    Args:
        entry: changed in place.

    Returns:
        what the container states there, or None if all numbers fit.
    """
    # Spelled out, since this is done for every file of a release.
    values = (
        entry.size or 0, entry.mtime or 0, entry.atime or 0, entry.ctime or 0, entry.inode or 0, entry.nlink or 0,
        entry.mode or 0, entry.uid or 0, entry.gid or 0,
    )  # fmt: skip
    if min(values) >= -FAR and max(values) < FAR and values[0] >= 0:
        return None
    said = []
    for name, value in zip(NUMBERS, values, strict=True):
        if not -FAR <= value < FAR or (name == "size" and value < 0):
            setattr(entry, name, None)
            said.append(f"{name} {value}")
    return Problem("malformed", f"states {', '.join(said)}, beyond what a record can hold", entry.path, 0)


def file_fact(container: int, seq: int, entry: Entry) -> File:
    """Return the `file` fact of an entry.

    Args:
        container: container that lists it.
        seq: its position there.
        entry: the entry.
    """
    path, raw = canonical(entry.path)
    capability = entry.xattrs.get("security.capability") if entry.xattrs else None
    return File(
        container=container,
        seq=seq,
        path=path,
        raw_path=raw,
        type=entry.type,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        owner=entry.owner,
        group_name=entry.group,
        size=entry.size,
        mtime=entry.mtime,
        atime=entry.atime,
        ctime=entry.ctime,
        link_target=text(entry.link) if entry.link is not None else None,
        device=f"{entry.device[0]}:{entry.device[1]}" if entry.device is not None else None,
        inode=entry.inode,
        nlink=entry.nlink,
        capabilities=capabilities(capability) if capability is not None else None,
        whiteout=whiteout(entry, path),
    )
