"""tar: headers and data in blocks of 512 bytes, from v7 to pax; read by own code for the sake of evidence.

The standard library's reader ends the listing, without a word, at the first damaged header, and makes text of names.
Here a damaged header is a `Problem` and listing goes on at the next block that is a header; names, link targets and
extended attributes stay bytes; bytes that hide in the padding between entries are left unclaimed.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    UnpackError,
    guarded,
)
from .stream import zeros
from .stretch import Stretches
from .tar_header import (
    BLOCK,
    Attributes,
    Header,
    Sparse,
    decimal,
    fits,
    merge,
    number,
    old_sparse,
    parse,
    pax_sparse,
    text,
    time,
    xattrs,
)

_EXTENSION = 16 << 20
"""Bytes that the extended header or long name of one entry may have."""
_RESUME = 1 << 30
"""Bytes after a damaged header in which the next one is looked for."""
_HOLE = bytes(CHUNK)
_PATH, _LINK = b"GNU long name", b"GNU long link"
"""Keywords, not to be met in records, under which long names of GNU headers are kept."""
_TYPES: dict[bytes, EntryType] = {
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "chardev",
    b"4": "blockdev",
    b"5": "directory",
    b"6": "fifo",
    b"D": "directory",
}


def _find(source: Source, offset: int, length: int) -> int | None:
    """Return the offset of the first block that is a header, of those from `offset` on."""
    end = min(source.size, offset + length)
    while offset < end:
        data = source.pread(offset, CHUNK)
        for at in range(0, len(data) - BLOCK + 1, BLOCK):
            if data[at + 148] in b" 01234567" and parse(data[at : at + BLOCK]):
                return offset + at
        offset += CHUNK
    return None


class TarReader(Reader):
    """A tar archive."""

    def __init__(self, source: Source, limits: Limits, detail: dict[str, str | int | bool | None]) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.detail = detail
        self._explained = Stretches()

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. Sets `detail["end_mark"]`: the archive ends with the two blocks that mark its end."""
        self._explained = Stretches()
        self.detail["end_mark"] = False
        everywhere: Attributes = {}
        repeated = 0
        here: Attributes = {}
        group = at = 0
        block = self.source.pread(0, BLOCK)
        while block:
            header = parse(block)
            if header is None:
                if here:
                    yield Problem("malformed", f"the extended header at offset {group} belongs to no entry")
                problem, resume = self._gap(at, block)
                if problem:
                    yield problem
                if resume is None:
                    return
                here = {}
                group = at = resume
                block = self.source.pread(at, BLOCK)
                continue
            data = at + BLOCK
            if header.type in b"xXgLK":
                end = data + header.size
                if end > self.source.size:
                    raise Truncated(f"ends inside the extended header at offset {at}")
                try:
                    self._extend(header, data, here, everywhere)
                except LimitReached as error:
                    yield Problem("limit", f"the extended header at offset {at} is left out", limit=str(error))
                except Malformed as error:
                    yield Problem("malformed", f"{error}, at offset {at}")
            else:
                if everywhere:
                    # A few long records could be given to any number of entries.
                    repeated += sum(map(len, everywhere.values()))
                    if repeated > self.limits.metadata_bytes:
                        raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
                found, end = self._member(header, data, {**everywhere, **here} if everywhere else here)
                if found is not None:
                    yield found
                here = {}
                if end > self.source.size:
                    self._explained.add(at, self.source.size, "members")
                    missing = end - self.source.size
                    raise Truncated(f"ends inside the data of the entry at offset {at}, {missing} bytes too early")
            padding = -end % BLOCK
            block = self.source.pread(end, padding + BLOCK)
            clean = not block[:padding].strip(b"\0")
            self._explained.add(at, min(end + padding, self.source.size) if clean else end, "members")
            block = block[padding:]
            at = end + padding
            if not here:
                group = at
        if here:
            raise Truncated(f"ends after the extended header at offset {group}")

    def _gap(self, at: int, block: bytes) -> tuple[Problem | None, int | None]:
        """Return what to say of a block that is no header, and where listing goes on, if it does.

        Archives may be joined, so zero blocks end the listing only if no header follows them. One zero block alone
        ends nothing: a header that was wiped looks like this.
        """
        if not block.strip(b"\0"):
            run = zeros(self.source, at)
            after = at + run - run % BLOCK
            follows = parse(self.source.pread(after, BLOCK)) is not None
            ends = at + run == self.source.size
            if follows or ends or run >= 2 * BLOCK:
                self.detail["end_mark"] = not follows and run >= 2 * BLOCK
                self._explained.add(at, at + run if ends else after, "end of archive")
                return None, after if follows else None
        if len(block) < BLOCK:
            raise Truncated(f"ends inside the header at offset {at}")
        resume = _find(self.source, at + BLOCK, _RESUME)
        on = "nothing after it is listed" if resume is None else f"listing goes on at offset {resume}"
        return Problem("malformed", f"no header at offset {at}, {on}"), resume

    def _extend(self, header: Header, offset: int, here: Attributes, everywhere: Attributes) -> None:
        most = min(_EXTENSION, self.limits.metadata_bytes)
        if header.size > most:
            raise LimitReached("metadata_bytes", most)
        data = self.source.exactly(offset, header.size)
        if header.type == b"L":
            here[_PATH] = data.rstrip(b"\0")
        elif header.type == b"K":
            here[_LINK] = data.rstrip(b"\0")
        elif header.type == b"g":
            merge(everywhere, data)
            if sum(map(len, everywhere)) + sum(map(len, everywhere.values())) > most:
                everywhere.clear()
                raise LimitReached("metadata_bytes", most)
        else:
            merge(here, data)

    def _member(self, header: Header, data: int, attributes: Attributes) -> tuple[Entry | Problem | None, int]:
        """Return what the header at hand declares, and the offset at which its data end."""
        size = header.size
        if b"size" in attributes:
            stated = decimal(attributes[b"size"])
            size = size if stated is None else stated
        name = attributes.get(b"GNU.sparse.name") or attributes.get(b"path") or attributes.get(_PATH) or header.name
        kind: EntryType = _TYPES.get(header.type, "regular")
        if kind == "regular" and not size and name.endswith(b"/"):
            kind = "directory"  # as v7 writes it
        if size and header.type in b"123456":
            # These have no data, say some writers who still give a size; others write data (pax -o linkdata).
            after = self.source.pread(data, BLOCK)
            if not after.strip(b"\0") or parse(after):
                size = 0
        if header.type == b"V":
            self.detail["label"] = name.decode("utf-8", "backslashreplace")
            return None, data + size
        if header.type == b"M":
            start = number(header.block[369:381])
            return Problem("unsupported", f"goes on from another volume, at its byte {start}", name), data + size

        entry = Entry(
            name,
            kind,
            mode=None if header.mode is None else header.mode & 0o7777,
            uid=header.uid,
            gid=header.gid,
            owner=text(header.owner),
            group=text(header.group),
            mtime=None if header.mtime is None else fits(header.mtime * 1_000_000_000),
        )
        end = data + size
        try:
            if kind == "regular":
                end = self._bytes(entry, header, data, size, attributes)
            elif kind == "hardlink" and size:
                entry.locator, entry.size = [data, size], size
            if attributes:
                _override(entry, attributes)
        except UnpackError as error:
            limit = str(error) if error.reason == "limit" else None
            return Problem(error.reason, str(error), name, limit=limit), end
        if kind in ("symlink", "hardlink"):
            entry.link = attributes.get(b"linkpath") or attributes.get(_LINK) or header.link
        elif kind in ("chardev", "blockdev"):
            entry.device = (number(header.major) or 0, number(header.minor) or 0)
        if header.variant == "gnu":
            entry.atime = entry.atime or _seconds(header.block[345:357])
            entry.ctime = entry.ctime or _seconds(header.block[357:369])
        return entry, end

    def _bytes(self, entry: Entry, header: Header, data: int, size: int, attributes: Attributes) -> int:
        """Fill in size and locator of a regular file; return the offset at which its data end."""
        sparse = None
        end = data + size
        if header.type == b"S":
            real, stretches, start = old_sparse(header, self.source, data, self.limits)
            end = start + size
            sparse = real, stretches, start
        elif b"GNU.sparse.size" in attributes or b"GNU.sparse.realsize" in attributes:
            sparse = pax_sparse(attributes, self.source, data, size, self.limits)
        if sparse is None:
            entry.size, entry.locator = size, [data, size]
            return end
        real, stretches, start = sparse
        if start + sum(stretches[1::2]) > end:
            raise Malformed(f"a sparse file's map has more data than the {end - start} bytes stored")
        entry.size, entry.locator = real, [start, end - start, real, *stretches]
        return end

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. A locator is offset and stored length; then, if sparse, the size and the map."""
        match locator:
            case [int(offset), int(stored)]:
                return guarded(self.source.chunks(offset, stored), self.limits, stored)
            case [int(offset), int(stored), int(real), *rest]:
                stretches = [number for number in rest if isinstance(number, int)]
                return guarded(self._sparse(offset, real, stretches), self.limits, stored)
        raise Malformed(f"no such entry: {locator!r}")

    def _sparse(self, start: int, real: int, stretches: Sparse) -> Iterator[bytes]:
        at = 0
        for offset, length in zip([*stretches[::2], real], [*stretches[1::2], 0], strict=True):
            while at < offset:
                hole = _HOLE if offset - at >= CHUNK else bytes(offset - at)
                at += len(hole)
                yield hole
            yield from self.source.chunks(start, length)
            start += length
            at += length

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        match locator:
            case [int(offset), int(length)]:
                return offset, length
        return None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Headers, data and zero padding of neighbours are one stretch, "members"."""
        return self._explained.claims()


def _seconds(field: bytes) -> int | None:
    seconds = number(field) if field[0] else None
    return fits(seconds * 1_000_000_000) if seconds else None


def _override(entry: Entry, attributes: Attributes) -> None:
    """Put what extended header records say in place of what the header block says."""
    for keyword, value in attributes.items():
        if keyword == b"mtime":
            entry.mtime = time(value)
        elif keyword == b"atime":
            entry.atime = time(value)
        elif keyword == b"ctime":
            entry.ctime = time(value)
        elif keyword == b"uid":
            entry.uid = decimal(value)
        elif keyword == b"gid":
            entry.gid = decimal(value)
        elif keyword == b"uname":
            entry.owner = text(value)
        elif keyword == b"gname":
            entry.group = text(value)
        elif keyword == b"SCHILY.nlink":
            entry.nlink = decimal(value)
    entry.xattrs = xattrs(attributes)


def _open(source: Source, limits: Limits) -> Reader:
    block = source.pread(0, BLOCK)
    header = parse(block)
    if header is None:
        if block[257:262] != b"ustar" or _find(source, BLOCK, CHUNK) is None:
            raise NotThisFormat
        return TarReader(source, limits, {"variant": None})
    return TarReader(source, limits, {"variant": "pax" if header.type in b"xg" else header.variant})


FORMAT = Format(
    name="tar",
    title="tar archive: v7, ustar, GNU, star, pax",
    open=_open,
    magics=[(257, b"ustar")],
    references=[
        Reference(
            "POSIX.1-2017, pax: Interchange Format",
            "https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13",
        ),
        Reference(
            "GNU tar manual: Tar Internals", "https://www.gnu.org/software/tar/manual/html_node/Tar-Internals.html"
        ),
        Reference("star(4): extended headers", "https://codeberg.org/schilytools/schilytools"),
    ],
    limitations=[
        "entries that go on from another volume are named, not read",
        "after a damaged header, entries of an archive inside the archive may be listed as its own",
    ],
    smallest=512,
    tail=b"",  # a v7 header has no magic: its checksum decides, so every source is tried
)
