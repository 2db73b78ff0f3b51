"""cpio: one header, name and data after another, up to an entry named TRAILER!!!; the format of initramfs and rpm.

    newc 070701, crc 070702: 13 fields of 8 hexadecimal digits: ino mode uid gid nlink mtime filesize devmajor devminor
        rdevmajor rdevminor namesize check; name and data are padded to 4 bytes
    odc 070707: octal: dev[6] ino[6] mode[6] uid[6] gid[6] nlink[6] rdev[6] mtime[11] namesize[6] filesize[11]
    old binary, 0o070707 in either byte order: u16 dev ino mode uid gid nlink rdev mtime[2] namesize filesize[2], the
        pairs high word first; name and data are padded to 2 bytes

newc keeps the bytes of hard links with the last of them. The earlier ones get its locator here.
"""

from __future__ import annotations

import re
import struct
from binascii import unhexlify
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .base import (
    CHUNK,
    Claim,
    Entry,
    EntryType,
    Format,
    LimitReached,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Reference,
    Source,
    Truncated,
    guarded,
)
from .stream import zeros
from .stretch import Stretches, byte_sum

_NAME = 1 << 20
"""Bytes that a name or the target of a symbolic link may have."""
_RESUME = 1 << 30
"""Bytes after a damaged header in which the next one is looked for."""
_LINK_BYTES = 256
"""What is reckoned for one entry in the table of hard links."""
_TRAILER = b"TRAILER!!!"
_BINARY, _LONGEST = 26, 110
"""Lengths of the binary headers, and of the longest ones."""
_TYPES: dict[int, EntryType] = {
    0o10: "regular",
    0o04: "directory",
    0o12: "symlink",
    0o02: "chardev",
    0o06: "blockdev",
    0o01: "fifo",
    0o14: "socket",
}


class _Header(NamedTuple):
    ino: int
    mode: int
    uid: int
    gid: int
    nlink: int
    mtime: int
    size: int
    dev: tuple[int, int]
    rdev: tuple[int, int]
    namesize: int
    check: int


_NEWC = struct.Struct(">13I")


def _newc(fixed: bytes) -> _Header:
    ino, mode, uid, gid, nlink, mtime, size, major, minor, rmajor, rminor, namesize, check = _NEWC.unpack(
        unhexlify(fixed[6:])
    )
    return _Header(ino, mode, uid, gid, nlink, mtime, size, (major, minor), (rmajor, rminor), namesize, check)


def _odc(fixed: bytes) -> _Header:
    if not fixed.isdigit():  # int() would also take blanks and signs
        raise ValueError
    dev, ino, mode, uid, gid, nlink, rdev = (int(fixed[at : at + 6], 8) for at in range(6, 48, 6))
    mtime, namesize, size = int(fixed[48:59], 8), int(fixed[59:65], 8), int(fixed[65:76], 8)
    return _Header(ino, mode, uid, gid, nlink, mtime, size, (0, dev), (rdev >> 8, rdev & 0xFF), namesize, 0)


def _binary(order: str) -> Callable[[bytes], _Header]:
    layout = struct.Struct(order + "13H")

    def parse(fixed: bytes) -> _Header:
        _, dev, ino, mode, uid, gid, nlink, rdev, mhigh, mlow, namesize, high, low = layout.unpack(fixed)
        size, mtime = high << 16 | low, mhigh << 16 | mlow
        return _Header(ino, mode, uid, gid, nlink, mtime, size, (0, dev), (rdev >> 8, rdev & 0xFF), namesize, 0)

    return parse


class _Variant(NamedTuple):
    name: str
    length: int
    align: int
    parse: Callable[[bytes], _Header]


_VARIANTS = {
    b"070701": _Variant("newc", 110, 4, _newc),
    b"070702": _Variant("crc", 110, 4, _newc),
    b"070707": _Variant("odc", 76, 1, _odc),
    b"\xc7\x71": _Variant("binary, little-endian", _BINARY, 2, _binary("<")),
    b"\x71\xc7": _Variant("binary, big-endian", _BINARY, 2, _binary(">")),
}
_TEXT = re.compile(rb"07070[12][0-9A-Fa-f]{104}|070707[0-7]{70}")
_TRIED = 1 << 16
"""Places that look like a header which are tried after a damaged one."""
_LOST = "lost"
"""Locator of a hard link whose bytes come with a later link that cannot be reached."""


class _Member(NamedTuple):
    variant: _Variant
    header: _Header
    name: bytes
    start: int
    data: int
    end: int
    """Of the data, without padding."""
    after: int


def _member(source: Source, offset: int) -> _Member | None:
    """Return the entry whose header is at `offset`, or None if there is no header.

    Raises:
        Truncated: the source ends inside it.
    """
    head = source.pread(offset, _LONGEST + 146)  # most names fit: one read instead of two
    variant = _VARIANTS.get(head[:6]) or _VARIANTS.get(head[:2])
    if variant is None:
        return None
    if len(head) < variant.length:
        raise Truncated(f"ends inside the header at offset {offset}")
    try:
        header = variant.parse(head[: variant.length])
    except ValueError:
        return None
    named = variant.length + header.namesize
    if not 1 <= header.namesize <= _NAME:
        return None
    if len(head) < named:
        head = source.exactly(offset, named)
    if head[named - 1]:
        return None
    name = head[variant.length : named].rstrip(b"\0")
    if header.mode >> 12 not in _TYPES and (header.mode or name != _TRAILER):
        return None
    data = offset + named + -named % variant.align
    end = data + header.size
    return _Member(variant, header, name, offset, data, end, end + -(end - offset) % variant.align)


class CpioReader(Reader):
    """One or more cpio archives, one after the other."""

    def __init__(self, source: Source, limits: Limits, variant: str) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.detail = {"variant": variant}
        self._explained = Stretches()

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. Sets `detail["archives"]`: how many there are. What follows the last is not claimed."""
        self._explained = Stretches()
        at = archive = 0
        first: tuple[int, int] | None = None
        shared: dict[tuple[int, int, int], _Member] | None = None
        whole = True
        while True:
            member = _member(self.source, at)
            if member is None:
                if at == self.source.size:
                    raise Truncated("ends without TRAILER!!!")
                resume = self._find(at + 1)
                on = "nothing after it is listed" if resume is None else f"listing goes on at offset {resume}"
                yield Problem("malformed", f"no header at offset {at}, {on}")
                if resume is None:
                    return
                at, shared = resume, None
                continue
            if member.name == _TRAILER:
                archive += 1
                self.detail["archives"] = archive
                following = self._trailer(member)
                if following is None:
                    return
                at, shared = following, None
                continue
            header = member.header
            first = first or header.dev
            holder: _Member | None = member
            if header.nlink > 1 and not header.size and header.mode >> 12 == 0o10 and member.variant.length == _LONGEST:
                if shared is None:
                    shared, whole = self._links(member)
                holder = shared.get((*header.dev, header.ino), member if whole else None)
            if member.end <= self.source.size or header.mode >> 12 != 0o12:
                yield self._entry(member, holder, inode=archive == 0 and header.dev == first)
            if member.end > self.source.size:
                self._explained.add(at, self.source.size, "members")
                missing = member.end - self.source.size
                raise Truncated(f"ends inside the data of the entry at offset {at}, {missing} bytes too early")
            self._claim(member)
            at = min(member.after, self.source.size)

    def _entry(self, member: _Member, holder: _Member | None, *, inode: bool) -> Entry | Problem:
        """Return the entry; `holder` has its bytes, None if that is not known.

        Equal inode numbers are to mean hard links, so they are given for one archive and one device only.
        """
        header = member.header
        kind = _TYPES[header.mode >> 12]
        entry = Entry(
            member.name,
            kind,
            mode=header.mode & 0o7777,
            uid=header.uid,
            gid=header.gid,
            mtime=header.mtime * 1_000_000_000,
            nlink=header.nlink,
            inode=header.ino if inode and header.nlink > 1 else None,
        )
        if kind == "regular" and holder is None:
            entry.locator = _LOST
        elif kind == "regular" and holder:
            entry.size = holder.header.size
            entry.locator = [holder.data, entry.size]
            if holder.variant.name == "crc":
                entry.locator.append(holder.header.check)
        elif kind == "symlink":
            if header.size > _NAME:
                return Problem("malformed", f"the target of a symbolic link has {header.size} bytes", member.name)
            entry.link = self.source.pread(member.data, header.size)
        elif kind in ("chardev", "blockdev"):
            entry.device = header.rdev
        return entry

    def _links(self, member: _Member | None) -> tuple[dict[tuple[int, int, int], _Member], bool]:
        """Return the entries, from `member` on, that hold bytes of hard links, and if all the archive was seen."""
        found: dict[tuple[int, int, int], _Member] = {}
        most = self.limits.metadata_bytes // _LINK_BYTES
        while member is not None:
            if member.name == _TRAILER:
                return found, True
            header = member.header
            if header.nlink > 1 and header.size and header.mode >> 12 == 0o10:
                found[(*header.dev, header.ino)] = member
                if len(found) > most:
                    raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
            try:
                member = _member(self.source, member.after)
            except Truncated:
                break
        return found, False

    def _trailer(self, member: _Member) -> int | None:
        """Explain the end of an archive, and return where the next one starts, if one follows."""
        end = min(member.after, self.source.size)
        run = zeros(self.source, end)
        self._explained.add(member.start, end, "members")
        self._explained.add(end, end + run, "padding")
        try:
            following = _member(self.source, end + run)
        except Truncated:
            return None
        # Two bytes, the magic of the binary variants, are too little to go on.
        return following.start if following and following.variant.length != _BINARY else None

    def _claim(self, member: _Member) -> None:
        header_end = member.start + member.variant.length + member.header.namesize
        clean = not self.source.pread(member.end, member.after - member.end).strip(b"\0")
        if self.source.pread(header_end, member.data - header_end).strip(b"\0"):
            self._explained.add(member.start, header_end, "members")
            self._explained.add(member.data, min(member.after, self.source.size) if clean else member.end, "members")
        else:
            self._explained.add(member.start, min(member.after, self.source.size) if clean else member.end, "members")

    def _find(self, offset: int) -> int | None:
        """Return the offset of the next header, of the kinds that have text magics."""
        end = min(self.source.size, offset + _RESUME)
        tried = 0
        while offset < end:
            data = self.source.pread(offset, CHUNK)
            found = _TEXT.search(data)
            while found and tried < _TRIED:
                tried += 1
                try:
                    if _member(self.source, offset + found.start()):
                        return offset + found.start()
                except Truncated:
                    pass
                found = _TEXT.search(data, found.start() + 1)
            offset += CHUNK - _LONGEST
        return None

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. A locator is offset, length and, in the crc variant, the sum of all bytes."""
        match locator:
            case [int(offset), int(length)]:
                chunks = self.source.chunks(offset, length)
            case [int(offset), int(length), int(check)]:
                chunks = self._summed(offset, length, check)
            case str(lost) if lost == _LOST:
                raise Malformed("the bytes come with a later hard link, which cannot be reached")
            case _:
                raise Malformed(f"no such entry: {locator!r}")
        return guarded(chunks, self.limits, self.source.size)

    def _summed(self, offset: int, length: int, check: int) -> Iterator[bytes]:
        total = 0
        for chunk in self.source.chunks(offset, length):
            total += byte_sum(chunk)
            yield chunk
        if total & 0xFFFFFFFF != check:
            raise Malformed(f"the bytes add up to {total & 0xFFFFFFFF:#x}, the header says {check:#x}")

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`. Bytes that a sum protects are read through `open`, which checks it."""
        match locator:
            case [int(offset), int(length)]:
                return offset, length
        return None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Headers, data and zero padding of neighbours are one stretch, "members"."""
        return self._explained.claims()


def _open(source: Source, limits: Limits) -> Reader:
    member = _member(source, 0)
    if member is None:
        raise NotThisFormat
    if member.variant.length == _BINARY and member.name != _TRAILER:
        # Two bytes are no magic: the next entry has to be one as well.
        following = _member(source, member.after) if member.after < source.size else None
        if following is None:
            raise NotThisFormat
    return CpioReader(source, limits, member.variant.name)


FORMAT = Format(
    name="cpio",
    title="cpio archive: newc, crc, odc, old binary",
    open=_open,
    magics=[(0, magic) for magic in _VARIANTS],
    references=[
        Reference("cpio(5)", "https://man.freebsd.org/cgi/man.cgi?query=cpio&sektion=5"),
        Reference(
            "Linux: initramfs buffer format", "https://docs.kernel.org/driver-api/early-userspace/buffer-format.html"
        ),
        Reference(
            "POSIX.1-2017, pax: cpio Interchange Format",
            "https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_14",
        ),
    ],
    limitations=["after a damaged header, listing goes on at the next header with a text magic, not at a binary one"],
)
