"""YAFFS1 and YAFFS2, log-structured file systems of NAND flash, as images that keep the spare bytes of each page.

A chunk is a page of data and its spare bytes, in which tags say what it is: chunk 0 of an object is its header, chunk n
the nth piece of its bytes. Nothing is overwritten: what was written last counts, told by sequence numbers of blocks
(YAFFS2) or serial numbers of two bits (YAFFS1). There is no superblock, so sizes of page and spare bytes, where tags
lie and the byte order are found from the first chunks, and an image ends where chunks with good tags end.

    YAFFS2 tags: u32 sequence; u32 object; u32 chunk; u32 bytes; a header may have the parent in `chunk` (bit 31 set)
        and the type in the upper 4 bits of `object`
    YAFFS1 tags, 8 bytes among 16 spare ones: chunk:20 serial:2 bytes:10 object:18 ecc:12 bytes:2
    header: u32 type; u32 parent; u16 ffff; u8 name[256]; u8[2]; u32 mode, uid, gid, atime, mtime, ctime, size,
        equivalent; u8 alias[160]; u32 device; u32[6]; u32[2]; u32 size's high part; u32; i32 shadows; u32 shrink;
        then, in the rest of the page, extended attributes: i32 length of the record; name, NUL, value
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
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
    ns,
)
from .cover import Cover
from .tree import walk

_HEADER = 512
_FIELDS = "II2x256s2xIIIIIIIi160sI24x8xI4xiI"
_FILE, _SYMLINK, _DIRECTORY, _HARDLINK, _SPECIAL = range(1, 6)
_TYPES: dict[int, EntryType] = {1: "fifo", 2: "chardev", 6: "blockdev", 12: "socket"}
_ROOT, _LOST, _UNLINKED, _DELETED, _SUMMARY = 1, 2, 3, 4, 16
_FIRST, _LAST, _CHECKPOINT = 0x1000, 0xEFFFFF00, 0x21
"""Sequence numbers in use, and the one of blocks that hold a copy of what is in memory."""
_PAGES = (2048, 4096, 512, 1024, 8192, 16384)
_SPARES = (64, 128, 16, 32, 112, 208, 218, 224, 232, 256, 384, 400, 436, 448, 512, 640, 744, 1024, 1280, 1664)
_PLACES = (0, 2, 1, 4, 8, 3, 6)
"""Where in the spare bytes tags are tried: after the mark of a bad block, or at once."""
_TRIAL = 24
"""Chunks looked at to tell layouts apart."""
_AHEAD = 256
"""Chunks without good tags that are passed if good ones follow: a bad block."""
_KEPT = 160
"""What is reckoned for one chunk in memory, in bytes."""
_MOST_OBJECT = 0xFFFFFF


class _Layout(NamedTuple):
    order: str
    page: int
    """Bytes of data in a chunk."""
    spare: int
    place: int
    """Of the tags in the spare bytes; -1 for YAFFS1."""

    @property
    def stride(self) -> int:
        """Bytes from one chunk to the next."""
        return self.page + self.spare


class _Tags(NamedTuple):
    rank: int
    """Sequence number, or serial number and a bit for pages marked as deleted."""
    object: int
    chunk: int
    length: int


class _Header(NamedTuple):
    type: int
    parent: int
    name: bytes
    mode: int
    uid: int
    gid: int
    atime: int
    mtime: int
    ctime: int
    size: int
    equivalent: int
    alias: bytes
    device: int
    shadows: int
    shrink: bool


class _Object:
    """What is known of one object once all chunks have been seen."""

    __slots__ = ("chunks", "header", "place", "serials", "size")

    def __init__(self) -> None:
        self.header: _Header | None = None
        self.place = 0
        """The chunk that the header is in."""
        self.size = 0
        self.chunks: dict[int, int] = {}
        """Where each piece of the bytes is."""
        self.serials: dict[int, int] = {}


def _header(raw: bytes, order: str) -> _Header | None:
    """Return an object's header, or None if it makes no sense as one."""
    (
        type, parent, name, mode, uid, gid, atime, mtime, ctime, low, equivalent, alias, device, high, shadows, shrink,
    ) = struct.unpack_from(order + _FIELDS, raw)  # fmt: skip
    if not _FILE <= type <= _SPECIAL or not 0 < parent <= _MOST_OBJECT or b"\0" not in name:
        return None
    name = name.partition(b"\0")[0]
    if b"/" in name or raw[8:10] not in (b"\xff\xff", b"\0\0"):
        return None
    if type != _HARDLINK and mode >> 12 not in {_FILE: (8, 0), _DIRECTORY: (4, 0), _SYMLINK: (10, 0)}.get(type, _TYPES):
        return None
    size = low | (high << 32 if high != 0xFFFFFFFF else 0) if type == _FILE else 0
    return _Header(
        type, parent, name, mode, uid, gid, atime, mtime, ctime, size, equivalent, alias.partition(b"\0")[0], device,
        shadows if 0 < shadows <= _MOST_OBJECT else 0, shrink == 1,
    )  # fmt: skip


def _tags(spare: bytes, layout: _Layout) -> _Tags | None:
    """Return the tags in a chunk's spare bytes, or None if they are not valid."""
    if layout.place < 0:
        raw = spare[:4] + spare[6:8] + spare[11:13]
        first, second = struct.unpack(layout.order + "II", raw)
        if layout.order == "<":
            chunk, serial, length = first & 0xFFFFF, first >> 20 & 3, first >> 22
            number, length = second & 0x3FFFF, length | second >> 30 << 10
        else:
            chunk, serial, length = first >> 12, first >> 10 & 3, first & 0x3FF
            number, length = second >> 14, length | (second & 3) << 10
        if not number or (chunk and not 0 < length <= layout.page):
            return None
        deleted = spare[4].bit_count() < 7
        return _Tags(serial | deleted << 2, number, chunk, length)
    sequence, number, chunk, length = struct.unpack_from(layout.order + "4I", spare, layout.place)
    if sequence == _CHECKPOINT:
        return _Tags(sequence, number, chunk, length)
    if not _FIRST <= sequence <= _LAST:
        return None
    if chunk & 0x80000000:
        number, chunk, length = number & 0xFFFFFFF, 0, 0
    if not 0 < number <= _MOST_OBJECT or (chunk and length > layout.page) or chunk > 0xFFFFFFF:
        return None
    return _Tags(sequence, number, chunk, length)


def _fits(source: Source, layout: _Layout) -> int:
    """Return how many more of the first chunks are as a layout has them than are not; 0 if that proves nothing."""
    good = bad = 0
    expected: tuple[int, int] | None = None
    for index in range(_TRIAL):
        raw = source.pread(index * layout.stride, layout.stride)
        if len(raw) < layout.stride:
            break
        if raw.count(0xFF) == len(raw):
            continue
        tags = _tags(raw[layout.page :], layout)
        fits = tags is not None
        if tags and tags.chunk:
            # Pieces of a file mostly follow its header; then it is known how long the last one is.
            if expected and tags.object == expected[0] and tags.length < layout.page:
                fits = (tags.chunk - 1) * layout.page + tags.length == expected[1]
        elif tags and not (layout.place >= 0 and tags.rank == _CHECKPOINT):
            header = _header(raw, layout.order)
            fits = header is not None
            expected = (tags.object, header.size) if header and header.type == _FILE else None
        good += fits
        bad += not fits
    # One chunk proves nothing in the middle of other data: in tables of programs such numbers come by chance.
    return max(0, good - bad) if good > 1 or source.size <= layout.stride else 0


def _find_layout(source: Source) -> _Layout | None:
    """Return the layout that most of the first chunks have."""
    head = source.pread(0, _HEADER)
    order, first = next(((order, header) for order in "<>" if (header := _header(head, order))), (None, None))
    if order is None or first is None or min(first.name, default=32) < 32:  # numbers in a row, no name
        return None
    best: tuple[int, _Layout] | None = None
    for page in _PAGES:
        # Where tags of the first chunk do not fit, sizes of spare bytes need not be tried.
        spare = source.pread(page, 32)
        layouts = [
            _Layout(order, page, length, place)
            for place in _PLACES
            if len(spare) >= place + 16 and _first(spare, order, page, place)
            for length in _SPARES
            if length >= place + 16
        ]
        if page == 512 and len(spare) >= 16 and _first(spare, order, page, -1):
            layouts.append(_Layout(order, page, 16, -1))
        # In-band tags: the last 16 bytes of the page itself.
        if _first(source.pread(page - 16, 16), order, page - 16, 0):
            layouts.append(_Layout(order, page - 16, 16, 0))
        for layout in layouts:
            good = _fits(source, layout)
            if good and (best is None or good > best[0]):
                best = good, layout
    return best[1] if best else None


def _first(spare: bytes, order: str, page: int, place: int) -> bool:
    tags = _tags(spare, _Layout(order, page, 0, place)) if len(spare) >= 16 else None
    return tags is not None and tags.chunk == 0 and (place >= 0 or spare[4:6] == b"\xff\xff")


class YaffsReader(Reader):
    """An opened YAFFS image.

    A locator is a file's size and where its bytes are: pairs of first chunk, or -1 for a hole, and number of chunks.
    """

    def __init__(self, source: Source, limits: Limits, layout: _Layout) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.layout = layout
        self.detail = {
            "version": "YAFFS1" if layout.place < 0 else "YAFFS2",
            "byte_order": "little" if layout.order == "<" else "big",
            "page": layout.page,
            "spare": layout.spare,
            "tags_at": layout.place if layout.place >= 0 else None,
        }
        self._objects: dict[int, _Object] = {}
        self._children_of: dict[int, list[int]] = {}
        self._listed: set[int] = set()
        self._cover = Cover()

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, the root first with an empty path. Objects that were deleted are not listed.

        Sets `detail["deleted"]`: how many of them still have chunks in the image.
        """
        self._objects, self._children_of, self._listed, self._cover = {}, {}, set(), Cover()
        yield from self._scan()
        deleted = 0
        for number, item in self._objects.items():
            if item.header is None:
                continue
            if item.header.parent in (_UNLINKED, _DELETED):
                deleted += 1
                self._listed.add(number)
            elif number != _ROOT:
                self._children_of.setdefault(item.header.parent, []).append(number)
        self.detail["deleted"] = deleted
        lost = 0
        for found in walk(_ROOT, self._describe, self._children, self.limits):
            if isinstance(found, Problem):
                lost += found.entries
            yield found
        special = {_ROOT, _LOST, _UNLINKED, _DELETED, _SUMMARY}
        missing = len(self._objects.keys() - self._listed - special) - lost
        if missing > 0:
            yield Problem("malformed", f"{missing} objects have no header, or are in no directory", b"", missing)

    def _scan(self) -> Iterator[Problem]:
        """Read the tags of all chunks, and put objects together as they were written."""
        page, stride = self.layout.page, self.layout.stride
        newest: list[tuple[int, int, _Tags, _Header | None]] = []
        bad: list[int] = []
        # Erased chunks after bad ones are the image's only if good ones follow.
        erased: list[tuple[int, int]] = []
        room = self.limits.metadata_bytes // _KEPT
        sorted_ = True
        for index, raw in self._chunks():
            if raw.count(0xFF, page) == self.layout.spare and raw.count(0xFF) == stride:
                if bad and erased and erased[-1][1] == index:
                    erased[-1] = erased[-1][0], index + 1
                else:
                    erased.append((index, index + 1))
                if not bad:
                    self._cover.add(index * stride, (index + 1) * stride, "erased")
                    erased = []
                continue
            tags = _tags(raw[page:], self.layout)
            header = _header(raw, self.layout.order) if tags and not tags.chunk else None
            if tags is None or (not tags.chunk and header is None and tags.rank != _CHECKPOINT):
                bad.append(index)
                if len(bad) >= _AHEAD:
                    break
                continue
            if bad:
                yield Problem(
                    "malformed", f"{len(bad)} chunks from offset {bad[0] * stride} on have no good tags", b"", 0
                )
                for start, end in erased:
                    self._cover.add(start * stride, end * stride, "erased")
                bad, erased = [], []
            what = "data" if tags.chunk else "headers"
            if self.layout.place >= 0 and (tags.rank == _CHECKPOINT or tags.object == _SUMMARY):
                what = "checkpoint" if tags.rank == _CHECKPOINT else "summary"
            self._cover.add(index * stride, (index + 1) * stride, what)
            if what in ("checkpoint", "summary"):
                continue
            if newest and tags.rank < newest[-1][0]:
                sorted_ = False
            newest.append((tags.rank, index, tags, header))
            if len(newest) > room:
                raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        if self.layout.place < 0:
            for _, index, tags, header in newest:
                self._place_serial(index, tags, header)
            return
        if not sorted_:
            newest.sort(key=lambda item: item[0])
        for _, index, tags, header in newest:
            self._place(index, tags, header)

    def _chunks(self) -> Iterator[tuple[int, bytes]]:
        stride = self.layout.stride
        each = max(1, CHUNK // stride)
        index = 0
        while block := self.source.pread(index * stride, each * stride):
            for at in range(0, len(block) - stride + 1, stride):
                yield index, block[at : at + stride]
                index += 1
            if len(block) < each * stride:
                return

    def _place(self, index: int, tags: _Tags, header: _Header | None) -> None:
        item = self._objects.setdefault(tags.object, _Object())
        if header:
            self._renew(item, index, header)
            if header.size < item.size or header.shrink:
                pieces = -(-header.size // self.layout.page)
                if len(item.chunks) > pieces or header.shrink:
                    item.chunks = {piece: at for piece, at in item.chunks.items() if piece <= pieces}
            item.size = header.size
        else:
            item.chunks[tags.chunk] = index
            item.size = max(item.size, (tags.chunk - 1) * self.layout.page + tags.length)

    def _place_serial(self, index: int, tags: _Tags, header: _Header | None) -> None:
        if tags.rank & 4:  # the page is marked as deleted
            return
        item = self._objects.setdefault(tags.object, _Object())
        before = item.serials.get(tags.chunk)
        if before is not None and (before + 1) & 3 != tags.rank & 3:
            return  # the one that was seen is the newer one
        item.serials[tags.chunk] = tags.rank & 3
        if header:
            self._renew(item, index, header)
            item.size = max(item.size, header.size)
        else:
            item.chunks[tags.chunk] = index

    def _renew(self, item: _Object, index: int, header: _Header) -> None:
        item.header, item.place = header, index
        if header.shadows:
            self._objects.pop(header.shadows, None)

    def _describe(self, number: int, path: bytes) -> tuple[Entry, Problem | None]:
        named = self._objects.get(number)
        header = named.header if named else None
        if named is None or header is None:
            if number == _ROOT:  # tools do not write a header for the root
                return Entry(b"", "directory", inode=_ROOT), None
            raise Malformed(f"object {number} has no header")
        own, item = number, named
        if header.type == _HARDLINK:
            target = self._objects.get(header.equivalent)
            if target is None or target.header is None or target.header.type in (_HARDLINK, _DIRECTORY):
                raise Malformed(f"object {number} is a hard link to object {header.equivalent}")
            number, item, header = header.equivalent, target, target.header
        if not header.name and number != _ROOT:
            raise Malformed(f"object {number} has no name")
        kind: EntryType = "directory"
        if header.type == _SPECIAL:
            kind = _TYPES[header.mode >> 12]
        elif header.type != _DIRECTORY:
            kind = "regular" if header.type == _FILE else "symlink"
        entry = Entry(
            path,
            kind,
            mode=header.mode & 0o7777,
            uid=header.uid,
            gid=header.gid,
            mtime=ns(header.mtime),
            atime=ns(header.atime),
            ctime=ns(header.ctime),
            inode=number,
        )
        problem = None
        if kind == "regular":
            entry.size = item.size
            entry.locator = self._locator(item)
            pieces = -(-item.size // self.layout.page)
            if self.layout.place < 0 and len(item.chunks) < pieces:
                problem = Problem("malformed", f"{len(item.chunks)} of {pieces} chunks are there", path, 0)
        elif kind == "symlink":
            entry.link = header.alias
        elif kind in ("chardev", "blockdev"):
            entry.device = (header.device >> 8 & 0xFFF, header.device & 0xFF | header.device >> 12 & 0xFFF00)
        self._listed.add(own)
        raw = self.source.pread(item.place * self.layout.stride + _HEADER, self.layout.page - _HEADER)
        entry.xattrs = dict(_attributes(raw, self.layout.order)) if self.layout.place >= 0 else {}
        return entry, problem

    def _locator(self, item: _Object) -> list[int | bytes | str | None]:
        """Return size and runs of chunks; what lies beyond the last piece, or between pieces, is a hole."""
        found: list[int | bytes | str | None] = [item.size]
        pieces = -(-item.size // self.layout.page)
        following, run = 1, (-1, 0)
        for piece in sorted(item.chunks):
            if piece > pieces:
                break
            if piece > following:
                found += [*run] if run[1] else []
                run = (-1, piece - following)
            at = item.chunks[piece]
            if run[0] >= 0 and run[0] + run[1] == at:
                run = run[0], run[1] + 1
            else:
                found += [*run] if run[1] else []
                run = at, 1
            following = piece + 1
        found += [*run] if run[1] else []
        if following <= pieces:
            found += [-1, pieces - following + 1]
        return found

    def _children(self, number: int) -> Iterator[tuple[int, bytes]]:
        for child in self._children_of.get(number, ()):
            header = self._objects[child].header
            if header:
                yield child, header.name

    # Contents

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB, holes as zeros. See `Reader.open`."""
        yield from guarded(self._contents(*_runs(locator)), self.limits, self.source.size)

    def _contents(self, size: int, runs: list[tuple[int, int]]) -> Iterator[bytes]:
        page, stride = self.layout.page, self.layout.stride
        each = max(1, (CHUNK - stride) // stride)
        left = size
        for first, count in runs:
            for start in range(0, count, each):
                if not left:
                    return
                number = min(each, count - start)
                if first < 0:
                    data = bytes(min(number * page, left))
                else:
                    raw = memoryview(self.source.pread((first + start) * stride, number * stride))
                    data = b"".join([raw[at : at + page] for at in range(0, len(raw), stride)])[:left]
                yield data
                left -= len(data)
                if left and len(data) < number * page:
                    raise Truncated(f"a chunk beyond the source's {self.source.size} bytes")
        if left:
            raise Malformed(f"chunks for {size - left} of {size} bytes")

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies that fits in one chunk. See `Reader.span`."""
        try:
            size, runs = _runs(locator)
        except Malformed:
            return None
        start = runs[0][0] * self.layout.stride if runs else -1
        return (
            (start, size) if start >= 0 and 0 < size <= self.layout.page and start + size <= self.source.size else None
        )

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Chunks are claimed with their spare bytes, also those that count no more."""
        return self._cover.claims(self.source, self._cover.end())


def _runs(locator: Locator) -> tuple[int, list[tuple[int, int]]]:
    if not isinstance(locator, list) or len(locator) % 2 == 0:
        raise Malformed(f"no such entry: {locator!r}")
    numbers = [number for number in locator if isinstance(number, int)]
    if len(numbers) < len(locator) or any(number < -1 for number in numbers):
        raise Malformed(f"no such entry: {locator!r}")
    return numbers[0], list(zip(numbers[1::2], numbers[2::2], strict=True))


def _attributes(raw: bytes, order: str) -> Iterator[tuple[str, bytes]]:
    """Yield (name, value) of the extended attributes after a header."""
    at = 0
    while at + 4 <= len(raw):
        (length,) = struct.unpack_from(order + "i", raw, at)
        if length <= 5 or at + length > len(raw):
            return
        name, nul, value = raw[at + 4 : at + length].partition(b"\0")
        if not name or not nul or not name.isascii():
            return
        yield name.decode("ascii"), value
        at += length


def _open(source: Source, limits: Limits) -> Reader:
    layout = _find_layout(source)
    if layout is None:
        raise NotThisFormat
    return YaffsReader(source, limits, layout)


FORMAT = Format(
    name="yaffs",
    title="YAFFS1 and YAFFS2, with spare bytes or in-band tags",
    open=_open,
    magics=[
        (0, struct.pack(order + "II", type, _ROOT) + b"\xff\xff")
        for order in "<>"
        for type in range(_FILE, _SPECIAL + 1)
    ],
    references=[
        Reference("How YAFFS Works", "https://yaffs.net/documents/how-yaffs-works"),
        Reference("YAFFS 2 Specification", "https://yaffs.net/yaffs-2-specification"),
    ],
    limitations=[
        "images begin with the header of an object in the root directory, as tools write them; a dump of a device that "
        "begins with another chunk is not recognised",
        "tags are read where they lie together at one of a few places in the spare bytes; other layouts are not "
        "recognised",
        "error-correcting codes are not used: bits that flipped are read as they are",
        "what belongs to deleted objects is counted, not listed",
        "the end of an image is where chunks with good tags end, and erased ones after them",
    ],
    smallest=528,
)
