"""RAR archives of both generations (1.5 to 4, and 5), also those in self-extracting programs.

Headers are read here; what is compressed is decoded by libarchive, each file given as an archive of its own, or, in a
solid archive, after the files that its bytes depend on: reading in the order of the listing costs one pass.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from bisect import bisect_left
from collections.abc import Generator, Iterator

from .base import (
    Claim,
    Encrypted,
    Entry,
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
    Unsupported,
    guarded,
)
from .dos import ATTRIBUTES, CREATED, attribute_words
from .libarchive import Archive, Joined
from .rar_headers import (
    BEGIN,
    CRYPT,
    FILE,
    FINISH,
    MAGIC4,
    MAGIC5,
    OLD_SERVICE,
    SERVICE,
    Block,
    Member,
    archive5,
    block4,
    block5,
    member4,
    member5,
    owner4,
)
from .stretch import Stretches

LINK = 1 << 16
"""No system takes a longer target of a symbolic link."""
VOLUME, SOLID4, ENCRYPTED4 = 1, 8, 0x80
"""Flags of an archive of RAR 4."""
END4, END5 = bytes.fromhex("c43d7b00400700"), bytes.fromhex("1d77565103050400")
"""Blocks that end an archive. Without one, libarchive takes the last file for cut short."""
EARLIER = "rar.version"
"""Extended attribute of an earlier version of a file: its number."""


class RarReader(Reader):
    """See `Reader`. A locator is the offset of a file's header."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.new = source.pread(0, 8) == MAGIC5
        self.first = len(MAGIC5 if self.new else MAGIC4)
        if source.pread(0, self.first) != (MAGIC5 if self.new else MAGIC4):
            raise NotThisFormat
        try:
            block = self._block(self.first)
        except Truncated:
            block = None
        if block is None or block.kind not in (BEGIN, CRYPT):
            raise NotThisFormat
        self.main = block
        self.encrypted = block.kind == CRYPT
        self.detail = {"version": "5" if self.new else "4 or older"}
        if block.kind == BEGIN:
            flags, number = archive5(block) if self.new else (block.flags, None)
            self.encrypted = not self.new and bool(flags & ENCRYPTED4)
            self.detail |= {
                "volume": bool(flags & VOLUME),
                "volume_number": number,
                "solid": bool(flags & (4 if self.new else SOLID4)),
            }
        self._explained = Stretches()
        self._members: list[int] = []
        """Offsets of all files, in order; for each, the place of the first that its bytes depend on; where all end."""
        self._starts: list[int] = []
        self._end = 0
        self._solid: tuple[object, Archive] | None = None
        """Who reads from the archive that is open."""
        self._reached = -1
        """The file, by its place in `_members`, that the open archive comes to next."""

    def _block(self, at: int) -> Block | None:
        return block5(self.source, at) if self.new else block4(self.source, at)

    def _member(self, block: Block) -> Member:
        return member5(block) if self.new else member4(block)

    def _blocks(self) -> Iterator[Block]:
        """Yield all blocks, from the archive's header on.

        Raises:
            UnpackError: one is broken, or the end is missing.
        """
        at, count, modern = self.first, 0, self.new
        while True:
            block = self._block(at)
            if block is None:
                if at >= self.source.size and modern:
                    raise Truncated("ends without an end of archive block")
                if modern:
                    raise Malformed(f"no block at offset {at}, nothing after it is listed")
                return  # before RAR 3, archives have no end block
            modern = modern or (block.kind == FILE and self._member(block).version >= 29)
            yield block
            if block.kind == FINISH:
                return
            count += 1
            if count > 4 * self.limits.entries:
                raise LimitReached("entries", self.limits.entries)
            at = block.end

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. The target of a symbolic link may be its contents: it is decoded here.

        Times of RAR 4 have no time zone and are read as UTC.
        """
        self._explained = Stretches()
        self._explained.add(0, self.first, "signature")
        if self.encrypted:
            self._explained.add(self.first, self.main.end, "blocks")
            yield Problem("encrypted", "the headers")
            return
        held: Entry | Problem | None = None
        names: dict[bytes, tuple[Locator, int | None]] = {}
        for block in self._blocks():
            end = min(block.end, self.source.size)
            self._explained.add(block.start, end, "blocks")
            if block.kind in (SERVICE, OLD_SERVICE):
                if not self.new and isinstance(held, Entry) and (owner := owner4(block, self.source)):
                    held.owner, held.group = owner
                if block.kind == SERVICE:
                    held = yield from self._service(block, held)
            elif held is not None:
                yield held
                held = None
            if block.kind == FILE:
                try:
                    member = self._member(block)
                except Malformed as error:
                    yield Problem("malformed", f"file header at offset {block.start}: {error}")
                    continue
                held = self._entry(member, names)
            if block.kind == FINISH and self._more(block):
                yield Problem("unsupported", "the archive goes on in the next volume", entries=0)
            if end < block.end:
                if held is not None:
                    yield held
                raise Truncated(f"ends inside the block at offset {block.start}, {block.end - end} bytes too early")
        if held is not None:
            yield held

    def _more(self, block: Block) -> bool:
        return bool((block.header[block.body] if self.new and block.body < len(block.header) else block.flags) & 1)

    def _service(
        self, block: Block, held: Entry | Problem | None
    ) -> Generator[Entry | Problem, None, Entry | Problem | None]:
        """Take what a service block says of the file before it; return that file, yield what cannot be read."""
        try:
            service = self._member(block)
        except Malformed as error:
            yield Problem("malformed", f"service header at offset {block.start}: {error}", entries=0)
            return held
        if service.name == b"CMT":
            self.detail["comment"] = True
        elif service.name == b"STM":
            if held is not None:
                yield held
            yield Problem("unsupported", "an alternate data stream", held.path if held else b"")
            return None
        return held

    def _entry(self, member: Member, names: dict[bytes, tuple[Locator, int | None]]) -> Entry | Problem:
        path = member.name
        if member.before or member.after:
            where = "begin in the volume before" if member.before else "go on in the next volume"
            return Problem("unsupported", f"its bytes {where}", path)
        entry = Entry(
            path,
            member.type,
            mode=member.mode,
            mtime=member.mtime,
            atime=member.atime,
            owner=member.owner,
            group=member.group,
            uid=member.uid,
            gid=member.gid,
            link=member.link,
        )
        if words := attribute_words(member.attributes):
            entry.xattrs = {ATTRIBUTES: words}
        if member.created is not None:
            entry.xattrs = {**entry.xattrs, CREATED: b"%d" % member.created}
        if member.version_of is not None:
            entry.xattrs = {**entry.xattrs, EARLIER: b"%d" % member.version_of}
        if member.copy is not None:
            entry.locator, entry.size = names.get(member.copy, (None, None))
            if entry.locator is None:
                return Problem("malformed", f"a copy of {member.copy!r}, which there is not", path)
        elif member.type == "regular":
            entry.locator, entry.size = member.block.start, member.size
            names[path] = entry.locator, entry.size
        elif member.type == "symlink" and member.link is None:
            if (member.size or 0) > LINK:
                return Problem("malformed", f"a symbolic link of {member.size} bytes", path)
            try:
                entry.link = b"".join(self._decoded(member))
            except UnpackError as error:
                return Problem(error.reason, f"target of a symbolic link: {error}", path)
        return entry

    def _at(self, locator: Locator) -> Member:
        if isinstance(locator, int) and locator >= self.first:
            block = self._block(locator)
            if block is not None and block.kind == FILE:
                return self._member(block)
        raise Malformed(f"no such entry: {locator!r}")

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. CRC-32, or BLAKE2, is checked at the end."""
        return self._decoded(self._at(locator))

    def _decoded(self, member: Member) -> Iterator[bytes]:
        if member.encrypted:
            raise Encrypted("the file")
        block = member.block
        if block.end > self.source.size:
            raise Truncated(f"ends {block.end - self.source.size} bytes beyond the end of the source")
        if member.size == 0:
            return iter(())
        if member.stored and member.size not in (None, block.length):
            raise Malformed(f"{block.length} bytes are stored, of {member.size}")
        if member.stored and member.blake is None:
            chunks = self.source.chunks(block.data, block.length)
        else:
            if not self.new and member.version not in (29, 36):
                raise Unsupported(f"compression of RAR {member.version / 10}")
            if member.dictionary > self.limits.memory // 2:
                raise LimitReached("memory", self.limits.memory)
            chunks = self._through(member)
        return guarded(_checked(chunks, member), self.limits, self.source.size)

    def _place(self, member: Member) -> tuple[int, int]:
        """Return the places, among the files, of a member and of the one that decoding has to begin with."""
        if not self._members:
            with contextlib.suppress(UnpackError):  # it is told by the listing
                for block in self._blocks():
                    if block.kind == FILE:
                        alone = not self._members or not self._member(block).solid
                        self._starts.append(len(self._members) if alone else self._starts[-1])
                        self._members.append(block.start)
                        self._end = min(block.end, self.source.size)
        place = bisect_left(self._members, member.block.start)
        if place == len(self._members):
            raise Malformed("a file of a solid archive that lies behind damage")
        return place, self._starts[place]

    def _archive(self, start: int, end: int) -> Archive:
        """Open what lies between two offsets as an archive, with the archive's own header before it, and an end."""
        head = self.source.window(0, self.main.end)
        window = self.source.window(start, end - start)
        return Archive(Joined([head, window, END5 if self.new else END4]), "rar5" if self.new else "rar")

    def _through(self, member: Member) -> Iterator[bytes]:
        """Yield what libarchive makes of a member."""
        if not member.solid and not self.detail.get("solid"):
            archive = self._archive(member.block.start, member.block.end)
            if archive.next():
                yield from archive.data()
            archive.close()
            return
        me = object()
        done = 0
        while True:
            seen, archive = 0, self._reach(member, me)
            for chunk in archive.data():
                seen += len(chunk)
                if seen > done:
                    yield chunk[max(0, len(chunk) - (seen - done)) :]
                    done = seen
                if self._solid is None or self._solid[0] is not me:
                    break  # another file has been asked for: the archive stands elsewhere now
            else:
                return

    def _reach(self, member: Member, who: object) -> Archive:
        """Return the solid archive, standing at a member."""
        place, start = self._place(member)
        if self._solid is None or not start <= self._reached <= place:
            self._solid = who, self._archive(self._members[start], self._end)
            self._reached = start
        archive = self._solid[1]
        self._solid = who, archive
        try:
            while self._reached <= place:
                self._reached += 1
                if not archive.next():
                    raise Malformed("libarchive: finds no more files")
        except UnpackError:
            self._solid = None
            raise
        return archive

    def stored(self, locator: Locator) -> bytes | None:
        """See `Reader.stored`. None for what is stored as it is, encrypted, or in a solid archive."""
        member = self._at(locator)
        if member.stored or member.encrypted or member.solid or member.crc is None:
            return None
        head = (self.new, member.version, member.method, member.crc, member.size, member.dictionary)
        digest = hashlib.sha256(repr(head).encode())
        try:
            for chunk in self.source.chunks(member.block.data, member.block.length):
                digest.update(chunk)
        except Truncated:
            return None
        return digest.digest()

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        member = self._at(locator)
        whole = member.stored and not member.encrypted and member.size == member.block.length
        return (member.block.data, member.block.length) if whole else None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Headers and data of neighbours are one stretch, "blocks"."""
        return self._explained.claims()


def _checked(chunks: Iterator[bytes], member: Member) -> Iterator[bytes]:
    crc = size = 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
        size += len(chunk)
        yield chunk
    if member.size not in (None, size):
        raise Malformed(f"gives {size} bytes instead of {member.size}")
    if member.crc not in (None, crc):
        raise Malformed(f"CRC-32 {crc:08x}, the header says {member.crc:08x}")


FORMAT = Format(
    name="rar",
    title="RAR archive, versions 1.5 to 5",
    open=RarReader,
    magics=((0, MAGIC4), (0, MAGIC5)),
    references=(
        Reference("RAR 5.0 archive format", "https://www.rarlab.com/technote.htm"),
        Reference("libarchive", "https://www.libarchive.org/"),
    ),
    limitations=(
        "encrypted archives and files",
        "files that begin in an earlier volume or go on in the next one",
        "files compressed by RAR before version 2.9, and in solid archives before version 5",
        "alternate data streams and access control lists of Windows",
        "times of versions before 5 have no time zone: they are read as UTC",
        "after a damaged header nothing is listed",
    ),
)
