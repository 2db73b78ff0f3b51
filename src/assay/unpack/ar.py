"""ar: the archive of static libraries and of .deb packages.

    char magic[8] = "!<arch>" LF, or "!<thin>" LF
    char name[16], date[12], uid[6], gid[6], mode[8] (octal), size[10], end[2] = "`" LF; data, padded to 2 bytes

Names: System V and GNU end them with "/", and keep long ones in a member "//" to which "/123" refers; BSD writes
"#1/17" and puts 17 bytes of name before the data. A thin archive keeps names only; the bytes are in files beside it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from .base import (
    CHUNK,
    Claim,
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
    Unsupported,
    guarded,
)
from .stretch import Stretches

_ARCH, _THIN = b"!<arch>\n", b"!<thin>\n"
_FIELDS = struct.Struct("16s12s6s6s8s10s2s")
_END = b"`\n"
_REFERENCE = re.compile(rb"/(\d+)(?::\d+)? */?")
"""Into the name table; in a thin archive also into an archive in it. GNU ar may leave a "/" at the field's end."""
_NAME_END = re.compile(rb"[\n\0]")
_NAME = 4096
"""Bytes that a name may have."""
_RESUME = 1 << 30
"""Bytes after a damaged header in which the next one is looked for."""
_TRIED = 1 << 16
"""Places that look like a header which are tried there."""
_TABLES = {
    b"/": "symbol table",
    b"/SYM64/": "symbol table",
    b"//": "name table",
    b"__.SYMDEF": "symbol table",
    b"__.SYMDEF SORTED": "symbol table",
    b"__.SYMDEF_64": "symbol table",
}
"""Members that are part of the format, not entries."""


class _Header(NamedTuple):
    name: bytes
    date: int | None
    uid: int | None
    gid: int | None
    mode: int | None
    size: int


def _number(field: bytes, base: int = 10) -> int | None:
    text = field.rstrip(b" ")
    if not text:
        return None
    if not text.isdigit():
        raise ValueError
    return int(text, base)


def _parse(block: bytes) -> _Header | None:
    if len(block) < _FIELDS.size or block[58:60] != _END:
        return None
    name, date, uid, gid, mode, size, _ = _FIELDS.unpack(block)
    try:
        length = _number(size)
        if length is None:
            return None
        return _Header(name.rstrip(b" "), _number(date), _number(uid), _number(gid), _number(mode, 8), length)
    except ValueError:
        return None


class ArReader(Reader):
    """An ar archive."""

    def __init__(self, source: Source, limits: Limits, *, thin: bool) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.thin = thin
        self.detail = {"thin": thin}
        first = _parse(source.pread(8, _FIELDS.size))
        if first and first.name.rstrip(b"/") == b"debian-binary":
            version = source.pread(8 + _FIELDS.size, min(first.size, 16)).split(b"\n")[0]
            self.detail |= {"package": "deb", "version": version.decode("utf-8", "backslashreplace")}
        self._explained = Stretches()
        self._named = 0

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. Symbol and name tables are claimed; they are not entries."""
        self._explained = Stretches()
        self._explained.add(0, 8, "members")
        self._named = 0
        names = 0, 0
        at = 8
        while at < self.source.size:
            block = self.source.pread(at, _FIELDS.size)
            header = _parse(block)
            if header is None:
                resume = self._find(at + 2)
                if resume is None and len(block) < _FIELDS.size:
                    raise Truncated(f"ends inside the header at offset {at}")
                on = "nothing after it is listed" if resume is None else f"listing goes on at offset {resume}"
                yield Problem("malformed", f"no header at offset {at}, {on}")
                if resume is None:
                    return
                at = resume
                continue
            data = at + _FIELDS.size
            table = _TABLES.get(header.name)
            stored = 0 if self.thin and not table else header.size
            end = data + stored
            if table is None:
                found, table = self._entry(header, data, names)
                if found is not None:
                    yield found
            elif header.name == b"//":
                names = data, min(end, self.source.size) - data
            if end > self.source.size:
                self._explained.add(at, self.source.size, table or "members")
                missing = end - self.source.size
                raise Truncated(f"ends inside the data of the member at offset {at}, {missing} bytes too early")
            after = end + (end & 1)
            clean = after == end or self.source.pread(end, 1) in (b"", b"\n", b"\0", b" ")
            if not clean and _parse(self.source.pread(end, _FIELDS.size)):
                after, clean = end, True  # written without padding
            self._explained.add(at, min(after, self.source.size) if clean else end, table or "members")
            at = after

    def _entry(self, header: _Header, data: int, names: tuple[int, int]) -> tuple[Entry | Problem | None, str | None]:
        """Return the entry of a member, or what part of the format it is after all."""
        name, size = header.name, header.size
        if name.startswith(b"#1/") and name[3:].isdigit():
            length = int(name[3:])
            if length > min(size, _NAME):
                return Problem(
                    "malformed", f"a name of {length} bytes in a member of {size}, before offset {data}"
                ), None
            name = self.source.pread(data, length).rstrip(b"\0")
            data, size = data + length, size - length
            if name in _TABLES:
                return None, _TABLES[name]
        elif refers := _REFERENCE.fullmatch(name):
            start, length = names
            offset = int(refers[1])
            text = self.source.pread(start + offset, min(_NAME, length - offset))
            end = _NAME_END.search(text)
            if not end or not end.start():
                return Problem("malformed", f"the name table has no name at {offset}", name), None
            name = text[: end.start()].removesuffix(b"/")
            self._named += len(name)
            if self._named > self.limits.metadata_bytes:  # one long name may be referred to again and again
                raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        else:
            name = name.removesuffix(b"/")
        return Entry(
            name,
            "regular",
            locator=[None, size] if self.thin else [data, size],
            size=size,
            mode=None if header.mode is None else header.mode & 0o7777,
            uid=header.uid,
            gid=header.gid,
            mtime=None if header.date is None else header.date * 1_000_000_000,
        ), None

    def _find(self, offset: int) -> int | None:
        """Return the offset of the next header."""
        end = min(self.source.size, offset + _RESUME)
        tried = 0
        while offset < end:
            data = self.source.pread(offset, CHUNK)
            at = data.find(_END, 58)
            while at >= 0 and tried < _TRIED:
                tried += 1
                if _parse(data[at - 58 : at + 2]):
                    return offset + at - 58
                at = data.find(_END, at + 1)
            offset += CHUNK - 60
        return None

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. A locator is offset and length; a thin archive has no offsets."""
        match locator:
            case [int(offset), int(length)]:
                return guarded(self.source.chunks(offset, length), self.limits, self.source.size)
            case [None, int()]:
                raise Unsupported("a thin archive keeps the bytes in a file beside it")
        raise Malformed(f"no such entry: {locator!r}")

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        match locator:
            case [int(offset), int(length)]:
                return offset, length
        return None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Headers, data and padding of neighbours are one stretch, "members"."""
        return self._explained.claims()


def _open(source: Source, limits: Limits) -> Reader:
    magic = source.pread(0, 8)
    if magic not in (_ARCH, _THIN):
        raise NotThisFormat
    return ArReader(source, limits, thin=magic == _THIN)


FORMAT = Format(
    name="ar",
    title="ar archive: static libraries, .deb packages",
    open=_open,
    magics=[(0, _ARCH), (0, _THIN)],
    references=[
        Reference("ar(5)", "https://man.freebsd.org/cgi/man.cgi?query=ar&sektion=5"),
        Reference("deb(5)", "https://man7.org/linux/man-pages/man5/deb.5.html"),
    ],
    limitations=["the bytes of a thin archive's members are in files beside it"],
)
