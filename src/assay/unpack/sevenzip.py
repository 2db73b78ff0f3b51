"""7z archives, also those at the end of self-extracting programs.

The header is read here; folders (streams that are decoded together) are decoded by libarchive, each given as an archive
of its own, so that any of them is reached without those before it. A file of a solid archive is a part of a folder's
result: reading in the order of the listing costs one pass.
"""

from __future__ import annotations

import hashlib
import stat
import struct
import zlib
from collections.abc import Iterator

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
    guarded,
)
from .cover import Cover
from .dos import ATTRIBUTES, CREATED, attribute_words
from .filetime import filetime
from .forward import Forward
from .libarchive import Joined, first
from .sevenzip_structures import MAGIC, START, File, Folder, StartHeader, Streams, header, packed_header, start_header
from .zip import TYPES

UNIX = 0x8000
"""Bit of the attributes that says that their upper half is a mode."""
LINK = 1 << 16
"""No system takes a longer target of a symbolic link."""
ANTI = "7z.anti"
"""Extended attribute of an entry that says that the file is to be deleted."""


class SevenZip(Reader):
    """See `Reader`. A locator is the number of a folder, and offset, length and CRC-32 of a part of its result."""

    def __init__(self, source: Source, limits: Limits, start: StartHeader) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.start = start
        self.detail = {"version": start.version}
        self._read: tuple[Streams, list[File]] | None = None
        self._cover = Cover()
        self._forward: tuple[int, Forward] | None = None

    def _header(self) -> tuple[Streams, list[File]]:
        """Return the header, unpacked.

        Raises:
            UnpackError: it cannot be read; `Encrypted`: without the password.
        """
        if self._read is None:
            self._cover.add(0, START, "signature header")
            if self.start.size > self.limits.metadata_bytes:
                raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
            data = self.source.exactly(self.start.offset, self.start.size)
            if zlib.crc32(data) != self.start.crc:
                raise Malformed("the header has a wrong CRC-32")
            self._cover.add(self.start.offset, self.start.offset + self.start.size, "header")
            for _ in range(4):  # the format sets no bound; its own tool packs a header once
                packed = packed_header(data) if data else None
                if packed is None:
                    break
                self._explain(packed, "packed header")
                folder = packed.folders[0]
                self.detail["header"] = _words(folder)
                size = packed.sizes[0][folder.main]
                if size > self.limits.metadata_bytes:
                    raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
                data = b"".join(self._decoded(packed, 0))
                if len(data) != size or packed.digests[0] not in (None, zlib.crc32(data)):
                    raise Malformed("the unpacked header has a wrong length or CRC-32")
            self._read = header(data) if data else (Streams(), [])
            self._explain(self._read[0], "packed streams")
        return self._read

    def _explain(self, streams: Streams, what: str) -> None:
        """Explain packed streams, which lie between the two headers."""
        end = streams.start + sum(streams.packed)
        if end > self.start.offset:
            raise Malformed(f"{what} up to offset {end}, where the header at {self.start.offset} lies")
        self._cover.add(streams.start, end, what)

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. The target of a symbolic link is its contents, so it is decoded here."""
        try:
            streams, files = self._header()
        except Encrypted as error:
            yield Problem("encrypted", f"the header: {error}")
            return
        self.declared = len(files)
        methods = dict.fromkeys(_words(folder) for folder in streams.folders)
        self.detail["methods"] = ", ".join(list(methods)[:16])
        self.detail["folders"] = len(streams.folders)
        self.detail["solid"] = any(len(parts) > 1 for parts in streams.parts)
        for file in files:
            try:
                yield self._entry(file)
            except UnpackError as error:
                yield Problem(error.reason, f"target of a symbolic link: {error}", file.name)

    def _entry(self, file: File) -> Entry:
        entry = Entry(
            file.name,
            "directory" if file.folder else "regular",
            mtime=filetime(file.modified),
            atime=filetime(file.accessed),
        )
        attributes = file.attributes
        if attributes is not None:
            if attributes & UNIX:
                mode = attributes >> 16
                entry.type = TYPES.get(stat.S_IFMT(mode), entry.type)
                entry.mode = stat.S_IMODE(mode)
            if words := attribute_words(attributes & 0x7FFF):
                entry.xattrs = {ATTRIBUTES: words}
        if (created := filetime(file.created)) is not None:
            entry.xattrs = {**entry.xattrs, CREATED: b"%d" % created}
        if file.anti:
            entry.xattrs = {**entry.xattrs, ANTI: b"1"}
        locator: Locator = list(file.where) if file.where else b""
        size = file.where[2] if file.where else 0
        if entry.type == "regular":
            entry.locator, entry.size = locator, size
        elif entry.type == "symlink":
            if size > LINK:
                raise Malformed(f"{size} bytes")
            entry.link = b"".join(self.open(locator))
        return entry

    def _packed(self, streams: Streams, index: int) -> tuple[int, list[int]]:
        """Return the offset of a folder's first packed stream and the lengths of all of them."""
        start, before = streams.places[index]
        return start, streams.packed[before : before + streams.folders[index].packed]

    def _decoded(self, streams: Streams, index: int) -> Iterator[bytes]:
        """Return the result of a folder.

        Raises:
            UnpackError: it is encrypted, or its packed streams are not all there.
        """
        folder = streams.folders[index]
        start, lengths = self._packed(streams, index)
        if any(coder.method == "AES" for coder in folder.coders):
            raise Encrypted("AES-256")
        memory = max(_memory(coder.method, coder.properties) for coder in folder.coders)
        if memory > self.limits.memory // 2:
            raise LimitReached("memory", self.limits.memory)
        if [coder.method for coder in folder.coders] == ["copy"]:
            return self.source.chunks(start, lengths[0])
        window = self.source.window(start, sum(lengths))
        alone = Joined(_alone(window, folder, lengths, streams.sizes[index]))
        return first(alone, "7zip", self.limits, self.source.size)

    def _part(self, locator: Locator) -> tuple[Streams, int, int, int, int | None]:
        streams = self._header()[0]
        match locator:
            case [int(folder), int(offset), int(length), int() | None as crc] if 0 <= folder < len(streams.folders):
                return streams, folder, offset, length, crc
        raise Malformed(f"no such entry: {locator!r}")

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. The CRC-32 is checked at the end."""
        if locator == b"":
            return iter(())
        streams, folder, offset, length, crc = self._part(locator)
        if self._forward is None or self._forward[0] != folder:
            self._forward = folder, Forward(lambda: self._decoded(streams, folder))
        return guarded(_checked(self._forward[1].read(offset, length), crc), self.limits, self.source.size)

    def stored(self, locator: Locator) -> bytes | None:
        """See `Reader.stored`. None for a file that is not alone in its folder, and for what is encrypted."""
        if locator == b"":
            return None
        streams, index, _, length, _ = self._part(locator)
        folder = streams.folders[index]
        if len(streams.parts[index]) != 1 or any(coder.method in ("copy", "AES") for coder in folder.coders):
            return None
        start, lengths = self._packed(streams, index)
        digest = hashlib.sha256(struct.pack(f"<Q{len(lengths)}Q", length, *lengths) + folder.raw)
        try:
            for chunk in self.source.chunks(start, sum(lengths)):
                digest.update(chunk)
        except Truncated:
            return None
        return digest.digest()

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        if locator == b"":
            return None
        streams, index, offset, length, _ = self._part(locator)
        start, lengths = self._packed(streams, index)
        plain = [coder.method for coder in streams.folders[index].coders] == ["copy"]
        return (start + offset, length) if plain and offset + length <= lengths[0] else None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`."""
        return self._cover.claims(self.source, self._cover.end())


def _checked(chunks: Iterator[bytes], stated: int | None) -> Iterator[bytes]:
    crc = 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
        yield chunk
    if stated not in (None, crc):
        raise Malformed(f"CRC-32 {crc:08x}, the header says {stated:08x}")


def _words(folder: Folder) -> str:
    return "+".join(coder.method for coder in folder.coders)


def _memory(method: str, properties: bytes) -> int:
    """Return the bytes that a method asks for before it decodes anything."""
    if method == "LZMA2" and properties:
        return (2 | properties[0] & 1) << (properties[0] // 2 + 11)
    if method in ("LZMA", "PPMd") and len(properties) >= 5:
        return int.from_bytes(properties[1:5], "little")
    return 0


def _number(value: int) -> bytes:
    return b"\xff" + value.to_bytes(8, "little")


def _alone(packed: Source, folder: Folder, lengths: list[int], sizes: list[int]) -> list[Source | bytes]:
    """Return an archive that holds a folder and nothing else, its result as one file."""
    tail = b"".join(
        [
            b"\x01\x04\x06\0" + _number(len(lengths)) + b"\x09",
            *(_number(length) for length in lengths),
            b"\0\x07\x0b\x01\0" + folder.raw + b"\x0c",
            *(_number(size) for size in sizes),
            b"\0\x08\0\0\x05\x01\x11\x05\0x\0\0\0\0\0",
        ]
    )
    start = struct.pack("<QQI", packed.size, len(tail), zlib.crc32(tail))
    return [MAGIC + b"\0\4" + struct.pack("<I", zlib.crc32(start)) + start, packed, tail]


def _open(source: Source, limits: Limits) -> Reader:
    start = start_header(source.pread(0, START))
    if start is None:
        raise NotThisFormat
    return SevenZip(source, limits, start)


FORMAT = Format(
    name="7z",
    title="7z archive",
    open=_open,
    magics=((0, MAGIC),),
    references=(
        Reference("7zFormat.txt and Methods.txt, LZMA SDK", "https://www.7-zip.org/sdk.html"),
        Reference("libarchive", "https://www.libarchive.org/"),
    ),
    limitations=(
        "a branch filter over PPMd, which libarchive takes for damage",
        "encrypted archives",
        "archives in several volumes: only the header of the last part says what they hold",
        "methods that libarchive does not decode (brotli, LZ4, deflate64, AES, ...)",
        "a signature header whose checksum is wrong is not recognised",
    ),
)
