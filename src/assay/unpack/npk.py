"""NPK: packages of MikroTik's RouterOS, little endian.

    u32 magic = 1e f1 d0 ba; u32 bytes that follow; parts: u16 type; u32 bytes; the part

A part of type 4 is a zlib stream of files: u8 permissions, type; u8 owner[6]; u32 mtime; u8 version[4]; u32 ctime;
u32 unknown; u32 bytes; u16 bytes of the name; name; content. Its files are listed beside the parts, under their names.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Iterator

from .base import (
    CHUNK,
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
    ns,
)
from .parts import Detail, PartsReader, text

MAGIC = b"\x1e\xf1\xd0\xba"
PART = struct.Struct("<HL")
PARTS = 4096
NAME = struct.Struct("<16s4sL")
FILE = struct.Struct("<BB6sL4sLLLH")
TYPES = {
    1: b"name-info",
    2: b"description",
    3: b"dependencies",
    4: b"files",
    7: b"install-script",
    8: b"uninstall-script",
    9: b"signature",
    16: b"architecture",
    17: b"conflicts",
    18: b"package-info",
    19: b"features",
    20: b"package-features",
    21: b"squashfs",
    22: b"null",
    23: b"git-commit",
    24: b"channel",
    25: b"header",
}
FILES, SQUASHFS = 4, 21
BUILDS = {97: "alpha", 98: "beta", 99: "rc", 102: "final"}
DIRECTORY, REGULAR = 0x41, 0x81
"""The high byte of a mode, which the file's type is."""


class NpkReader(PartsReader):
    """An NPK package: its parts, and the files of its containers."""

    containers: list[tuple[int, int]]

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`."""
        yield from super().entries()
        for offset, size in self.containers:
            try:
                yield from self._files(offset, size)
            except UnpackError as error:
                yield Problem(error.reason, f"file container at offset {offset}: {error}", b"", 1)

    def _decoded(self, offset: int, size: int) -> Iterator[bytes]:
        decoder = zlib.decompressobj()
        for piece in self.source.chunks(offset, size, 1 << 16):
            data = piece
            while data and not decoder.eof:
                try:
                    out = decoder.decompress(data, CHUNK)
                except zlib.error as error:
                    raise Malformed(f"zlib: {error}") from None
                data = decoder.unconsumed_tail
                if out:
                    yield out
        if not decoder.eof:
            raise Truncated("the zlib stream does not end")

    def _files(self, offset: int, size: int) -> Iterator[Entry]:
        stream = guarded(self._decoded(offset, size), self.limits, size)
        take = _taker(stream)
        next(take)
        at = listed = 0
        while True:
            head = take.send((FILE.size, True))
            if not head:
                return
            if len(head) < FILE.size:
                raise Truncated(f"ends inside the header at offset {at} of the stream")
            permissions, kind, _, mtime, _, ctime, _, length, name_length = FILE.unpack(head)
            name = take.send((name_length, True))
            if len(name) < name_length:
                raise Truncated(f"ends inside the name at offset {at} of the stream")
            at += FILE.size + name_length
            listed += 1
            if listed > self.limits.entries:
                raise LimitReached("entries", self.limits.entries)
            mode = (kind << 8 | permissions) & 0o7777
            if kind & 0xF0 == DIRECTORY & 0xF0:
                yield Entry(name, "directory", mode=mode, mtime=ns(mtime), ctime=ns(ctime))
            elif kind & 0xF0 == 0xA0:
                target = take.send((min(length, 65536), True))
                yield Entry(name, "symlink", mode=mode, mtime=ns(mtime), ctime=ns(ctime), link=target)
                at += len(target)
                length -= len(target)
            else:
                place: Locator = [offset, size, at, length]
                yield Entry(name, "regular", place, length, mode=mode, mtime=ns(mtime), ctime=ns(ctime))
            take.send((length, False))
            at += length

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. A file of a container is reached by decoding what is before it."""
        match locator:
            case [int(offset), int(size), int(at), int(length)] if (offset, size) in self.containers and at >= 0:
                return guarded(self._slice(offset, size, at, length), self.limits, size)
        return super().open(locator)

    def _slice(self, offset: int, size: int, at: int, length: int) -> Iterator[bytes]:
        end, here = at + length, 0
        if at >= end:
            return
        for chunk in self._decoded(offset, size):
            if here + len(chunk) > at:
                yield chunk[max(0, at - here) : end - here]
            here += len(chunk)
            if here >= end:
                return
        raise Truncated(f"the stream ends {end - here} bytes too early")


def _taker(stream: Iterator[bytes]) -> Generator[bytes, tuple[int, bool], None]:
    """Give so many bytes of a stream as are asked for (fewer at its end), or pass over them."""
    held = b""
    wanted, keep = yield b""
    while True:
        out = bytearray()
        while wanted:
            if not held:
                held = next(stream, b"")
                if not held:
                    break
            piece, held = held[:wanted], held[wanted:]
            wanted -= len(piece)
            if keep:
                out += piece
        wanted, keep = yield bytes(out)


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, 8)
    if len(head) < 8 or head[:4] != MAGIC:
        raise NotThisFormat
    end = 8 + int.from_bytes(head[4:], "little")
    detail: Detail = {"length": end}
    reader = NpkReader(FORMAT, source, limits, end, detail)
    reader.containers = []
    reader.header(0, 8)
    at = 8
    while at < end:
        head = source.pread(at, PART.size)
        if len(head) < PART.size:
            reader.problem(f"the parts end at offset {source.size}", reason="truncated", entries=1)
            break
        kind, size = PART.unpack(head)
        data = at + PART.size
        if kind > 0xFF or data + size > end:
            if not reader.parts:
                raise NotThisFormat
            reader.problem(f"no part at offset {at}", entries=1)
            break
        if len(reader.parts) >= PARTS:
            raise LimitReached("parts", PARTS)
        reader.header(at, PART.size, "part header")
        reader.part(b"%d-%s" % (len(reader.parts), TYPES.get(kind, b"type-%d" % kind)), data, size)
        if kind == FILES:
            reader.containers.append((data, size))
        elif kind == 1 and size >= NAME.size:
            name, version, built = NAME.unpack(source.pread(data, NAME.size).ljust(NAME.size, b"\0"))
            revision, build, minor, major = version
            detail |= {
                "name": text(name),
                "version": f"{major}.{minor}.{revision & 0x7F} {BUILDS.get(build, str(build))}",
                "built": ns(built),
            }
        elif kind in (16, 24) and size <= 64:
            detail[TYPES[kind].decode()] = text(source.pread(data, size))
        elif kind == 9:
            detail["signed"] = True
        at = data + size
    return reader


FORMAT = Format(
    name="npk",
    title="NPK package (MikroTik RouterOS)",
    open=_open,
    magics=[(0, MAGIC)],
    references=[
        Reference("OpenWrt firmware-utils, npk_pack_kernel", "https://git.openwrt.org/project/firmware-utils.git")
    ],
    limitations=[
        "the signature is listed and not verified",
        "owners of a container's files, which are not known well enough",
        "the bytes of a file container are decoded anew for each file",
    ],
)
