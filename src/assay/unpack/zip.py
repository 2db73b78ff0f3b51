"""ZIP archives: also jar, wheel, apk, docx and self-extracting programs.

The central directory says what the archive holds. Each entry's local header is compared with it, because tools differ
in which of the two they believe; a difference is reported beside the entry. Entries that share bytes of the archive
(D. Fifield, "A better zip bomb", 2019) are reported instead of listed, except the first.
"""

from __future__ import annotations

import hashlib
import stat
import struct
from array import array
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

from .base import (
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
    ns,
)
from .secrets import Secret, held
from .zipcrypt import Seal, opened, seal
from .zipdata import AES, STORED, decode
from .zipdirectory import (
    DESCRIPTOR,
    ENCRYPTED,
    LOCAL,
    MASKED,
    STRONG,
    Central,
    Directory,
    archive_end,
    extras,
    find_directory,
    read_central,
    wide,
)

UNIX, DARWIN = 3, 19
TYPES: dict[int, EntryType] = {
    stat.S_IFREG: "regular",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "chardev",
    stat.S_IFBLK: "blockdev",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
FAR = 1 << 63  # offsets from here on fit no source
LINK = 1 << 16  # no system takes a longer link target
DESCRIPTORS = (12, 16, 20, 24)  # section 4.3.9: with or without signature, with 4- or 8-byte sizes


TRIES = 8
"""Entries on which all passwords are tried to find the one that opens the archive."""

MOST = 1 << 20
"""Bytes of an entry that is read while listing, to find the password that opens the archive."""
PROOF = 16
"""Bytes of an entry below which its CRC-32 does not prove a password right."""

SMALL = 4096
"""Bytes below which decompressing costs no more than the digest of the stored form."""


class Zip(Reader):
    """See `Reader`."""

    def __init__(self, source: Source, limits: Limits, directory: Directory | None) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.directory = directory
        self.detail = {}
        self._claims: list[Claim] = []
        self._secret: Secret | None = None
        self._tries = 0
        if directory:
            self.declared = directory.entries
            self.detail = {
                "zip64": directory.zip64,
                "comment_bytes": directory.comment,
                "bytes_before_archive": directory.shift,
            }

    def _local(self, central: Central, offset: int) -> tuple[int, bytes, list[str]]:
        """Return where an entry's bytes start, its local extra field, and how its local header differs."""
        want = LOCAL.size + len(central.name) + 64
        data = self.source.pread(offset, want)
        if data[:4] != b"PK\3\4" or len(data) < LOCAL.size:
            raise Malformed(f"no local header at offset {offset}")
        _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = LOCAL.unpack_from(data)
        length = LOCAL.size + name_length + extra_length
        if length > want:
            data = self.source.pread(offset, length)
        name = data[LOCAL.size : LOCAL.size + name_length]
        extra = data[LOCAL.size + name_length : length]
        differs = []
        if name != central.name and not (flags & MASKED):
            differs.append(f"name {name[:256]!r}")
        if method != central.method:
            differs.append(f"method {method} instead of {central.method}")
        if (flags ^ central.flags) & ENCRYPTED:
            differs.append("encryption flag")
        if not flags & (DESCRIPTOR | MASKED):
            if size == 0xFFFFFFFF or compressed == 0xFFFFFFFF:
                size, compressed = wide(extra, size, compressed)
            if size != central.size:
                differs.append(f"size {size} instead of {central.size}")
            if compressed != central.compressed:
                differs.append(f"compressed size {compressed} instead of {central.compressed}")
            if crc != central.crc:
                differs.append(f"CRC-32 {crc:08x} instead of {central.crc:08x}")
        return offset + length, extra, differs

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`.

        Raises:
            LimitReached: `metadata_bytes` (the central directory) or `entries`.
            Malformed: the central directory breaks off.
            Truncated: there is no central directory.
        """
        directory = self.directory
        if directory is None:
            raise Truncated("no end of central directory record")
        if directory.size > self.limits.metadata_bytes:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        data = self.source.exactly(directory.start, directory.size)
        starts, ends, notes, failure = self._survey(data)
        overlaps = self._sweep(starts, ends)
        at = 0
        for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
            central = read_central(data, at)
            assert central is not None  # the survey has read the same bytes
            at = central.next
            if not end:
                yield Problem("malformed", notes[index], central.name)
            elif index in overlaps:
                yield Problem("overlap", f"its bytes overlap those of another entry: {overlaps[index]}", central.name)
            else:
                yield self._entry(central, end - central.compressed, start)
                if index in notes:
                    yield Problem("malformed", f"local header differs: {notes[index]}", central.name, entries=0)
        if failure:
            raise failure

    def _survey(self, data: bytes) -> tuple[array[int], array[int], dict[int, str], UnpackError | None]:
        """Return where each entry starts and ends, notes on it, and what stopped the walk; end 0: no local header."""
        assert self.directory is not None
        shift, limit = self.directory.shift, self.limits.entries
        starts, ends = array("Q"), array("Q")
        notes: dict[int, str] = {}
        at, size = 0, len(data)
        while at < size:
            if len(starts) >= limit:
                return starts, ends, notes, LimitReached("entries", limit)
            central = read_central(data, at)
            if central is None or central.next > size:
                if data[at : at + 4] == b"PK\5\5":  # a digital signature (section 4.3.13) ends the directory
                    break
                return starts, ends, notes, Malformed(f"central directory breaks off at offset {at}")
            at = central.next
            begin, end = central.local + shift, 0
            try:
                found, _, differs = self._local(central, begin)
                end = found + central.compressed
                if end >= FAR or central.size >= FAR:
                    raise Malformed(f"compressed size {central.compressed}, size {central.size}")
                if differs:
                    notes[len(starts)] = ", ".join(differs)
            except Malformed as error:
                notes[len(starts)] = str(error)
                begin = end = 0
            starts.append(begin)
            ends.append(end)
        return starts, ends, notes, None

    def _sweep(self, starts: array[int], ends: array[int]) -> dict[int, str]:
        """Return which entries lie over an earlier one or over the directory; collect claims on the way."""
        assert self.directory is not None
        overlaps: dict[int, str] = {}
        claims = []
        run, top, first = 0, 0, ""
        for index in sorted((i for i, end in enumerate(ends) if end), key=starts.__getitem__):
            start, end = starts[index], ends[index]
            if start < top:
                overlaps[index] = f"offsets {start} to {end}, {first}"
                continue
            if self.directory.start < end and start < self.directory.start + self.directory.size:
                overlaps[index] = f"offsets {start} to {end}, the central directory"
                continue
            if start - top not in DESCRIPTORS and start != top:
                claims.append(Claim(run, top - run, "entries"))
                run = start
            top, first = end, f"entry {index + 1} at offset {start}"
        if self.directory.start - top in DESCRIPTORS:
            top = self.directory.start
        claims.append(Claim(run, top - run, "entries"))
        claims.append(Claim(self.directory.start, self.directory.end - self.directory.start, "central directory"))
        size = self.source.size  # an entry may state that it goes on beyond the archive
        claims = [Claim(claim.offset, min(claim.length, size - claim.offset), claim.what) for claim in claims]
        self._claims = [claim for claim in claims if claim.length > 0]
        return overlaps

    def _entry(self, central: Central, data: int, local: int) -> Entry | Problem:
        mode = central.attributes >> 16
        kind = TYPES.get(stat.S_IFMT(mode))
        # Some archivers on Unix name FAT as the host and still set the upper half (as Info-ZIP's UnZip knows).
        if not kind and (central.host not in (UNIX, DARWIN) or not mode):
            mode = -1
        if not kind:
            kind = "directory" if central.name.endswith(b"/") else "regular"
        uid = gid = mtime = atime = None
        if central.extra:
            for number, value in extras(self._local(central, local)[1]):
                if number == 0x5455 and value:  # extended timestamp: only the local field holds all of them
                    times = iter(struct.unpack_from(f"<{(len(value) - 1) // 4}l", value, 1))
                    mtime, atime = (next(times, None) if value[0] & bit else None for bit in (1, 2))
                elif number == 0x7875 and value[:1] == b"\1" and len(value) >= 3:  # Info-ZIP's Unix owner
                    width = value[1]
                    rest = value[2 + width :]
                    uid = int.from_bytes(value[2 : 2 + width][:4], "little")
                    gid = int.from_bytes(rest[1 : 1 + rest[0]][:4], "little") if rest else None
        entry = Entry(
            path=central.name,
            type=kind,
            mode=mode & 0o7777 if mode >= 0 else None,
            uid=uid,
            gid=gid,
            mtime=None if mtime is None else ns(mtime),
            atime=None if atime is None else ns(atime),
        )
        locator: list[int | bytes | str | None] = [
            data,
            central.compressed,
            central.size,
            central.crc,
            central.method,
            central.flags & (ENCRYPTED | STRONG),
        ]
        if central.flags & (ENCRYPTED | STRONG) or central.method == AES:
            locator += seal(central)
            self._try(locator)
        if kind == "regular":
            entry.size = central.size
            entry.locator = locator
        elif kind == "symlink":
            if central.size > LINK:
                return Problem("malformed", f"symbolic link of {central.size} bytes", central.name)
            try:
                entry.link = b"".join(self.open(locator))
            except UnpackError as error:
                return Problem(error.reason, f"target of a symbolic link: {error}", central.name)
        return entry

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. The CRC-32 is checked at the end.

        Raises:
            Encrypted: the entry is encrypted, and no secret opens it.
            UnpackError: see `zipdata.decode`.
        """
        data, compressed, size, crc, method, _, *sealed = _numbers(locator)
        if data + compressed > self.source.size:
            raise Truncated(
                f"ends at offset {self.source.size}, {data + compressed - self.source.size} bytes too early"
            )
        window = self.source.window(data, compressed)
        if not sealed:
            return decode(window, method, size, crc, self.limits)
        secret, chunks = opened(window, Seal(*sealed), size, crc, self.limits, self._secret)
        if size >= PROOF:
            self._secret = secret
        return chunks

    def _try(self, locator: Locator) -> None:
        """Find out which password opens the archive: it is told of the whole, and tried first on each entry."""
        if self._secret is None and self._tries < TRIES and held() and PROOF <= _numbers(locator)[2] <= MOST:
            self._tries += 1
            with suppress(UnpackError):
                self.open(locator)
                self.detail["opened"] = f"with {cast(Secret, self._secret).name}"

    def stored(self, locator: Locator) -> bytes | None:
        """See `Reader.stored`. None for what is small, stored without compression, or encrypted."""
        data, compressed, size, crc, method, flags, *_ = _numbers(locator)
        if flags or method in (STORED, AES) or size < SMALL:
            return None
        digest = hashlib.sha256(struct.pack("<HLQ", method, crc, size))
        try:
            for chunk in self.source.chunks(data, compressed):
                digest.update(chunk)
        except Truncated:
            return None
        return digest.digest()

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        data, compressed, size, _, method, flags, *_ = _numbers(locator)
        return (data, size) if method == STORED and not flags and compressed == size else None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`."""
        return self._claims


def _numbers(locator: Locator) -> list[int]:
    return cast("list[int]", locator)  # as `entries` made it


def open_zip(source: Source, limits: Limits) -> Reader:
    """Claim a ZIP archive; see `Format.open`. One that has no directory is claimed if it starts like an archive."""
    directory = find_directory(source)
    if directory is None:
        head = source.pread(0, LOCAL.size)
        if head[:4] != b"PK\3\4" or len(head) < LOCAL.size:
            raise NotThisFormat
        _, needed, _, method, _, _, _, _, _, name, _ = LOCAL.unpack(head)
        if needed & 0xFF > 63 or method > 99 or not name:
            raise NotThisFormat
    return Zip(source, limits, directory)


FORMAT = Format(
    name="zip",
    title="ZIP archive (also jar, wheel, Android package, self-extracting program)",
    open=open_zip,
    magics=((0, b"PK\3\4"), (0, b"PK\5\6")),
    tail=b"PK\x05\x06",
    end=archive_end,
    references=(
        Reference("APPNOTE.TXT, .ZIP File Format Specification 6.3.10", "https://support.pkware.com/pkzip/appnote"),
        Reference("Info-ZIP extra field list (extrafld.txt)", "https://infozip.sourceforge.net/"),
        Reference("D. Fifield: A better zip bomb", "https://www.bamsoftware.com/hacks/zipbomb/"),
    ),
    limitations=(
        "split archives",
        "encrypted entries without their password; PKWARE's strong encryption",
        "methods other than stored, deflate, bzip2, LZMA, zstd and XZ (deflate64, PPMd, ...)",
        "MS-DOS times, which have no time zone: only Unix times are given",
        "an archive whose central directory is lost is named as truncated, its entries are not searched for",
    ),
)
