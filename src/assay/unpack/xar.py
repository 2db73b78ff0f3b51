"""xar archives: packages of macOS, and what some firmware of Apple's and others' tools comes in.

    "xar!"; u16 length of the header, version = 1; u64 length of the table of contents, and unpacked; u32 kind of its
    checksum; the table, XML packed by zlib; the heap: the table's checksum, a signature, the files' bytes

All numbers are big endian. The table names each file, in the tree in which it lies, with what a Unix system keeps of
it, and where in the heap its bytes are, how they are packed and what they add up to.
"""

from __future__ import annotations

import base64
import bz2
import hashlib
import lzma
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

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
    Unsupported,
    guarded,
)
from .cover import Cover
from .stream import Codec, Decoder, decode
from .timestamps import timestamp

MAGIC = b"xar!"
HEADER = struct.Struct(">4sHHQQI")
DEEPEST = 256
"""Directories inside directories, and elements inside elements."""
XATTR = 1 << 20
"""Most bytes of an extended attribute."""
SUMS = ("sha1", "md5", "sha256", "sha512")
TYPES: dict[str, EntryType] = {
    "file": "regular",
    "directory": "directory",
    "symlink": "symlink",
    "hardlink": "hardlink",
    "character special": "chardev",
    "block special": "blockdev",
    "fifo": "fifo",
    "socket": "socket",
}
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d*)?Z?")


class _Zlib:
    """zlib's decoder, in the shape of the others."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj()
        self._full = False

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._full

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        out = self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)
        self._full = len(out) == max_length
        return out


def _codec(style: str, limits: Limits) -> Codec:
    """Return how a part of the heap is decoded, by its media type.

    Raises:
        Unsupported: it is one that is not known.
    """
    new: dict[str, Callable[[], Decoder]] = {
        "application/x-gzip": _Zlib,
        "application/x-bzip2": bz2.BZ2Decompressor,
        "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=limits.memory // 4),
        "application/x-xz": lambda: lzma.LZMADecompressor(memlimit=limits.memory // 4),
    }
    if style not in new:
        raise Unsupported(f"encoding {style!r}")
    return Codec(new[style], (zlib.error, lzma.LZMAError, OSError, ValueError, MemoryError))


@dataclass
class Part:
    """Bytes in the heap."""

    offset: int = 0
    length: int = 0
    size: int = 0
    encoding: str = "application/octet-stream"
    sum: str = ""
    """Kind and value of the checksum over the decoded bytes: sha1:..."""


@dataclass
class File:
    """One file."""

    parent: File | None
    depth: int
    fields: dict[str, str] = field(default_factory=dict)
    """Text of elements by their path, and attributes as path@name."""
    data: Part | None = None
    attributes: list[tuple[dict[str, str], Part]] = field(default_factory=list)

    def path(self) -> bytes:
        """Return the name with those of the directories around it."""
        names = []
        at: File | None = self
        while at is not None:
            name = at.fields.get("name", "")
            encoded = at.fields.get("name@enctype") == "base64"
            names.append(_decoded_name(name) if encoded else name.encode("utf-8", "surrogatepass"))
            at = at.parent
        return b"/".join(reversed(names))


def _decoded_name(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except ValueError:
        return text.encode()


class Table:
    """The table of contents, taken in as the XML parser comes along.

    Args:
        limits: limits in force.
    """

    def __init__(self, limits: Limits) -> None:
        self.files: list[File] = []
        self.fields: dict[str, str] = {}
        """Of the archive itself, as in `File`."""
        self._limits = limits
        self._file: File | None = None
        self._path: list[str] = []
        """Elements that are open, from the innermost file on."""
        self._outer: list[list[str]] = []
        self._text: list[str] = []
        parser = expat.ParserCreate(encoding="utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = self._doctype
        self.parse = parser.Parse

    def _doctype(self, *_: object) -> None:
        raise Malformed("the table of contents has a document type, with which entities could be defined")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._text.clear()
        if len(self._path) + len(self._outer) > DEEPEST:
            raise Malformed(f"more than {DEEPEST} elements inside one another")
        if name == "file":
            if len(self.files) >= self._limits.entries:
                raise LimitReached("entries", self._limits.entries)
            self._file = File(self._file, self._file.depth + 1 if self._file else 0)
            self._outer.append(self._path)
            self._path = []
            self.files.append(self._file)
            self._file.fields["@id"] = attributes.get("id", "")
            return
        self._path.append(name)
        if self._file is not None and self._path == ["ea"]:
            self._file.attributes.append(({}, Part()))
        path = "/".join(self._path)
        for key, value in attributes.items():
            self._put(f"{path}@{key}", value)

    def _end(self, name: str) -> None:
        if name == "file" and not self._path and self._file is not None:
            self._file = self._file.parent
            self._path = self._outer.pop()
        else:
            if text := "".join(self._text).strip():
                self._put("/".join(self._path), text)
            self._path.pop()
        self._text.clear()

    def _put(self, path: str, value: str) -> None:
        if self._file is None:
            self.fields.setdefault(path, value)
            return
        first, _, rest = path.partition("/")
        if first == "data":
            self._file.data = self._file.data or Part()
            _fill(self._file.data, rest, value)
        elif first == "ea" and self._file.attributes:
            names, part = self._file.attributes[-1]
            names[rest] = value
            _fill(part, rest, value)
        else:
            self._file.fields.setdefault(path, value)


def _fill(part: Part, name: str, value: str) -> None:
    if name in ("offset", "length", "size") and value.isascii() and value.isdigit():
        setattr(part, name, int(value[:20]))
    elif name == "encoding@style":
        part.encoding = value
    elif name in ("extracted-checksum@style", "unarchived-checksum@style"):
        part.sum = value.lower().replace("-", "") + part.sum[part.sum.find(":") :] if ":" in part.sum else value.lower()
    elif name in ("extracted-checksum", "unarchived-checksum"):
        part.sum = f"{part.sum.partition(':')[0]}:{value.lower()}"


class XarReader(Reader):
    """See `Reader`. A locator is offset in the heap, length, decoded length, encoding, and checksum."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        head = source.pread(0, HEADER.size + 1)
        if len(head) <= HEADER.size:
            raise NotThisFormat
        magic, self.header, version, self.packed, self.unpacked, kind = HEADER.unpack_from(head)
        if magic != MAGIC or not HEADER.size <= self.header <= 128 or version > 1 or not self.packed or kind > 4:
            raise NotThisFormat
        if source.pread(self.header, 1) not in (b"\x78", b""):
            raise NotThisFormat
        self.heap = self.header + self.packed
        self.detail = {"version": version}
        self._cover = Cover()

    def _table(self) -> Table:
        """Return the table of contents.

        Raises:
            UnpackError: it cannot be read.
        """
        for length in (self.packed, self.unpacked):
            if length > self.limits.metadata_bytes:
                raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        packed = self.source.exactly(self.header, self.packed)
        table = Table(self.limits)
        decoder = zlib.decompressobj()
        try:
            size, data = 0, packed
            while not decoder.eof and (out := decoder.decompress(data, CHUNK)):
                size += len(out)
                if size > self.unpacked:
                    raise Malformed(f"the table of contents has more than the {self.unpacked} bytes that it states")
                table.parse(out)
                data = decoder.unconsumed_tail
            table.parse(b"", True)
        except (zlib.error, expat.ExpatError, UnicodeError) as error:
            raise Malformed(f"the table of contents: {error}") from None
        return table

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. Extended attributes lie in the heap: they are decoded here."""
        self._cover = Cover()
        self._cover.add(0, self.header, "header")
        table = self._table()
        self._cover.add(self.header, self.heap, "table of contents")
        self.declared = len(table.files)
        yield from self._archive(table.fields)
        by_number = {file.fields["@id"]: file for file in table.files}
        for file in table.files:
            path = file.path()
            entry = self._entry(file, path)
            if entry.type == "hardlink":
                target = by_number.get(file.fields.get("type@link", ""))
                if target is None:
                    yield Problem("malformed", "a hard link to a file that there is not", path)
                    continue
                entry.link = target.path()
            for names, part in file.attributes:
                name = names.get("name", "")
                try:
                    if part.size > XATTR:
                        raise Unsupported(f"{part.size} bytes")
                    entry.xattrs = {**entry.xattrs, name: b"".join(self.open(_locator(part)))}
                    self._explain(part, "extended attributes")
                except UnpackError as error:
                    yield Problem(error.reason, f"extended attribute {name!r}: {error}", path, entries=0)
            if entry.type == "regular" and file.data is not None:
                self._explain(file.data, "files")
            yield entry

    def _explain(self, part: Part, what: str) -> None:
        self._cover.add(self.heap + part.offset, self.heap + part.offset + part.length, what)

    def _archive(self, fields: dict[str, str]) -> Iterator[Problem]:
        """Take what the table says of the archive itself, and hold the table against its checksum."""
        self.detail["created"] = fields.get("xar/toc/creation-time")
        style = fields.get("xar/toc/checksum@style", "").lower()
        self.detail["checksum"] = style or None
        parts = {}
        for what in ("checksum", "signature", "x-signature"):
            texts = (fields.get(f"xar/toc/{what}/offset", ""), fields.get(f"xar/toc/{what}/size", ""))
            if all(text.isascii() and text.isdigit() for text in texts):
                parts[what] = int(texts[0][:20]), int(texts[1][:20])
                start = self.heap + parts[what][0]
                self._cover.add(start, start + parts[what][1], what.removeprefix("x-"))
        if "signature" in parts:
            self.detail["signature"] = fields.get("xar/toc/signature@style", "")
        if style in SUMS and "checksum" in parts:
            offset, size = parts["checksum"]
            digest = hashlib.new(style, usedforsecurity=False)
            for chunk in self.source.chunks(self.header, self.packed):
                digest.update(chunk)
            if self.source.pread(self.heap + offset, min(size, 64)) != digest.digest():
                yield Problem("malformed", f"the table of contents has another {style} than is stated", entries=0)

    def _entry(self, file: File, path: bytes) -> Entry:
        fields = file.fields
        entry = Entry(path, TYPES.get(fields.get("type", "file"), "regular"))
        if fields.get("type@link") == "original":  # the one of the hard links that has the bytes
            entry.type = "regular"
        entry.mode = _number(fields.get("mode"), 8)
        if entry.mode is not None:
            entry.mode &= 0o7777
        entry.uid, entry.gid = _number(fields.get("uid")), _number(fields.get("gid"))
        entry.owner, entry.group = fields.get("user"), fields.get("group")
        entry.mtime, entry.atime, entry.ctime = (_time(fields.get(name)) for name in ("mtime", "atime", "ctime"))
        if entry.type == "regular":
            part = file.data or Part()
            entry.locator, entry.size = _locator(part), part.size
        elif entry.type == "symlink":
            entry.link = fields.get("link", "").encode("utf-8", "surrogatepass")
        elif entry.type in ("chardev", "blockdev"):
            major, minor = (_number(fields.get(f"device/{name}")) for name in ("major", "minor"))
            entry.device = None if major is None or minor is None else (major, minor)
        return entry

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. The checksum over the decoded bytes is checked at the end."""
        match locator:
            case [int(offset), int(length), int(size), str(encoding), str(total)]:
                part = Part(offset, length, size, encoding, total)
                return guarded(self._checked(part), self.limits, self.source.size)
        raise Malformed(f"no such entry: {locator!r}")

    def _checked(self, part: Part) -> Iterator[bytes]:
        if not part.length and not part.size:
            return
        start = self.heap + part.offset
        if start + part.length > self.source.size:
            raise Truncated(f"ends {start + part.length - self.source.size} bytes beyond the end of the source")
        if part.encoding == "application/octet-stream":
            chunks: Iterator[bytes] = self.source.chunks(start, part.length)
        else:
            chunks = decode(self.source.window(start, part.length), 0, _codec(part.encoding, self.limits))
        kind, _, stated = part.sum.partition(":")
        digest = hashlib.new(kind, usedforsecurity=False) if kind in SUMS and stated else None
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if digest:
                digest.update(chunk)
            yield chunk
        if size != part.size:
            raise Malformed(f"gives {size} bytes instead of {part.size}")
        if digest and digest.hexdigest() != stated:
            raise Malformed(f"the bytes have another {kind} than is stated")

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        match locator:
            case [int(offset), int(length), int(size), "application/octet-stream", str()] if length == size:
                return self.heap + offset, length
        return None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`."""
        return self._cover.claims(self.source, self._cover.end())


def _locator(part: Part) -> Locator:
    return [part.offset, part.length, part.size, part.encoding, part.sum]


def _number(text: str | None, base: int = 10) -> int | None:
    try:
        return int(text[:20], base) if text else None
    except ValueError:
        return None


def _time(text: str | None) -> int | None:
    found = _TIME.fullmatch(text or "")
    if not found:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups())
    return timestamp(year, month, day, hour, minute, second)


FORMAT = Format(
    name="xar",
    title="xar archive (packages of macOS)",
    open=XarReader,
    magics=((0, MAGIC),),
    references=(Reference("xar file format", "https://github.com/apple-oss-distributions/xar"),),
    limitations=(
        "the signature is named, not checked",
        "of the checksums of a file only the one over its decoded bytes is checked",
    ),
)
