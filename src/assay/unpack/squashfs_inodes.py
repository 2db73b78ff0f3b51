"""Inodes and directories of squashfs, as each version writes them.

Versions 1 to 3 are C structures with bit fields, which a compiler fills from the lowest bit on in little endian and
from the highest in big endian. Version 4 has whole integers only. A directory is a series of runs: a header with the
number of names less one and the metadata block that their inodes lie in, then that many names.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from .base import EntryType, Malformed

NONE32 = 0xFFFFFFFF
SAME = -1
"""A group that is the user's number."""
TARGET = 65535
"""Most bytes of a symbolic link's target that are read (Linux allows 4095)."""
TYPES: dict[int, EntryType] = {
    1: "directory",
    2: "regular",
    3: "symlink",
    4: "blockdev",
    5: "chardev",
    6: "fifo",
    7: "socket",
}

Read = Callable[[int, int, int], bytes]
"""Returns bytes of the inode table: position of the metadata block, offset counted from it, length."""


class Inode(msgspec.Struct):
    """What all inode types have, and what some have."""

    kind: int
    """As in `TYPES`; the extended forms are folded in."""
    mode: int
    uid: int
    """Place in the table of users."""
    gid: int
    """Place in the table of groups, or `SAME`."""
    mtime: int | None = None
    number: int | None = None
    nlink: int | None = None
    size: int = 0
    start: int = 0
    """First data block (absolute), or directory block (in its table)."""
    fragment: int = NONE32
    offset: int = 0
    """In the fragment block, or in the directory block."""
    device: int = 0
    xattr: int = NONE32
    blocks: int = 0
    """Words in the block list."""
    rest: int = 0
    """Bytes from the inode's start to what follows its fixed part: block list or link target."""


@dataclass(frozen=True)
class Layout:
    """How one version writes inodes and directories. Formats are of `struct`, without the byte order."""

    inode: Callable[[str, Read, int, int], Inode]
    """(byte order, read, metadata block, offset) to the inode there, `blocks` not set."""
    run: str
    """Header of a run: names less one, metadata block of their inodes (a number, or three bytes)."""
    row: str
    """What precedes a name: offset of its inode (with the type in three more bits before version 4), its length - 1."""
    bits: bool
    """The offset has 13 bits only."""
    dots: int
    """Bytes that a directory's size counts for '.' and '..', which are not stored."""
    word: str
    """Entry of a block list."""


def _split(order: str, data: bytes, first: int) -> tuple[int, int]:
    """Return two bit fields that fill `data` together, of which the first declared has `first` bits."""
    if order == "<":
        value = int.from_bytes(data, "little")
        return value & (1 << first) - 1, value >> first
    value = int.from_bytes(data, "big")
    second = 8 * len(data) - first
    return value >> second, value & (1 << second) - 1


def number(order: str, data: bytes) -> int:
    """Return an integer of any length in the byte order."""
    return int.from_bytes(data, "little" if order == "<" else "big")


def _first(order: str, read: Read, start: int, offset: int) -> Inode:
    head = read(start, offset, 4)
    kind, mode = _split(order, head[:2], 4)
    uid, gid = _split(order, head[2:3], 4)
    # Five types for each sixteen users: the type tells the upper part of the user's place. Pipes and sockets are of
    # type 0 and have both in a byte of their own.
    if kind == 0:
        kind, upper = _split(order, head[3:4], 4)
        if kind not in (6, 7):
            raise Malformed(f"type {kind} of a pipe or socket")
    else:
        upper, kind = divmod(kind - 1, 5)
        kind += 1
    inode = Inode(kind, mode, 16 * upper + uid, SAME if gid == 15 else gid)
    if kind == 2:
        inode.mtime, inode.start, inode.size = struct.unpack(order + "III", read(start, offset + 3, 12))
        inode.rest = 15
    else:
        _common(inode, order, read, start, offset + 3)
        inode.rest = 5
    return inode


def _second(order: str, read: Read, start: int, offset: int) -> Inode:
    head = read(start, offset, 4)
    kind, mode = _split(order, head[:2], 4)
    inode = Inode(kind, mode, head[2], SAME if head[3] == 255 else head[3])
    if kind == 2:
        inode.mtime, inode.start, inode.fragment, inode.offset, inode.size = struct.unpack(
            order + "IIIII", read(start, offset + 4, 20)
        )
        inode.rest = 24
    else:
        _common(inode, order, read, start, offset + 4)
        inode.rest = 6
    return inode


def _common(inode: Inode, order: str, read: Read, start: int, offset: int) -> None:
    """Read on in what versions 1 and 2 have alike: all but regular files."""
    match inode.kind:
        case 1 | 8:
            bits, size = (19, 4) if inode.kind == 1 else (27, 5)
            data = read(start, offset, size + 7)
            inode.size, inode.offset = _split(order, data[:size], bits)
            inode.mtime = number(order, data[size : size + 4])
            inode.start = number(order, data[size + 4 :])
            inode.kind = 1
        case 3:
            inode.size = number(order, read(start, offset, 2))
        case 4 | 5:
            inode.device = number(order, read(start, offset, 2))
        case 6 | 7:
            pass
        case kind:
            raise Malformed(f"inode of type {kind}")


def _third(order: str, read: Read, start: int, offset: int) -> Inode:
    head = read(start, offset, 12)
    kind, mode = _split(order, head[:2], 4)
    mtime, serial = struct.unpack_from(order + "II", head, 4)
    inode = Inode(kind, mode, head[2], SAME if head[3] == 255 else head[3], mtime, serial)
    at = offset + 12
    if kind == 2:
        inode.start, inode.fragment, inode.offset, inode.size = struct.unpack(order + "QIII", read(start, at, 20))
        inode.nlink = 1
        inode.rest = 32
        return inode
    data = read(start, at, {1: 16, 3: 6, 4: 6, 5: 6, 6: 4, 7: 4, 8: 19, 9: 28}.get(kind, 4))
    inode.nlink = number(order, data[:4])
    match kind:
        case 1 | 8:
            bits, end = (19, 8) if kind == 1 else (27, 9)
            inode.size, inode.offset = _split(order, data[4:end], bits)
            inode.start = number(order, data[end : end + 4])
            inode.kind = 1
        case 9:
            inode.start, inode.fragment, inode.offset, inode.size = struct.unpack_from(order + "QIIQ", data, 4)
            inode.kind, inode.rest = 2, 40
        case 3:
            inode.size, inode.rest = number(order, data[4:]), 18
        case 4 | 5:
            inode.device = number(order, data[4:])
        case 6 | 7:
            pass
        case _:
            raise Malformed(f"inode of type {kind}")
    return inode


def _fourth(order: str, read: Read, start: int, offset: int) -> Inode:
    inode = Inode(*struct.unpack(order + "HHHHII", read(start, offset, 16)))
    inode.nlink = 1
    kind = inode.kind
    offset += 16
    match kind:
        case 2:
            inode.start, inode.fragment, inode.offset, inode.size = struct.unpack(
                order + "IIII", read(start, offset, 16)
            )
            inode.rest = 32
        case 1:
            inode.start, inode.nlink, inode.size, inode.offset = struct.unpack(order + "IIHH", read(start, offset, 12))
        case 3 | 10:
            inode.nlink, inode.size = struct.unpack(order + "II", read(start, offset, 8))
            inode.rest = 24
            if inode.size > TARGET:
                raise Malformed(f"symbolic link of {inode.size} bytes")
            if kind == 10:
                inode.xattr = number(order, read(start, offset + 8 + inode.size, 4))
        case 4 | 5:
            inode.nlink, inode.device = struct.unpack(order + "II", read(start, offset, 8))
        case 6 | 7:
            inode.nlink = number(order, read(start, offset, 4))
        case 8:
            inode.nlink, inode.size, inode.start, _, _, inode.offset, inode.xattr = struct.unpack(
                order + "IIIIHHI", read(start, offset, 24)
            )
        case 9:
            inode.start, inode.size, _, inode.nlink, inode.fragment, inode.offset, inode.xattr = struct.unpack(
                order + "QQQIIII", read(start, offset, 40)
            )
            inode.rest = 56
        case 11 | 12:
            inode.nlink, inode.device, inode.xattr = struct.unpack(order + "III", read(start, offset, 12))
        case 13 | 14:
            inode.nlink, inode.xattr = struct.unpack(order + "II", read(start, offset, 8))
        case _:
            raise Malformed(f"inode of type {kind}")
    if kind > 7:
        inode.kind -= 7
    return inode


LAYOUTS = {
    1: Layout(_first, "B3s", "HB", bits=True, dots=0, word="H"),
    2: Layout(_second, "B3s", "HB", bits=True, dots=0, word="I"),
    3: Layout(_third, "BI4x", "HB2x", bits=True, dots=3, word="I"),
    4: Layout(_fourth, "II4x", "H4xH", bits=False, dots=3, word="I"),
}
"""By major version."""
