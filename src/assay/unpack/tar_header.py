"""What a tar header states: the 512-byte block, extended header records, and the maps of sparse files.

    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100]      (v7)
    char magic[8] = "ustar" 00 "00", owner[32], group[32], major[8], minor[8], prefix[155]          (ustar, pax)
    char magic[8] = "ustar  " 00, ..., at 345: atime[12], ctime[12], offset[12], longnames[4], unused[1],
        sparse[4][24], extended, realsize[12]                                                       (GNU)

Numbers are octal text; GNU and star also write them in base 256, marked by the top bit of the first byte.
"""

from __future__ import annotations

import re
import struct
from base64 import b64decode
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes
from zlib import adler32

from .base import LimitReached, Limits, Malformed, Source

BLOCK = 512
REGIONS = 1 << 18
"""Stretches of data that a sparse file may have."""

_FIELDS = struct.Struct("100s8s8s8s12s12s8x1s100s8s32s32s8s8s155s12x")
_DECIMAL = re.compile(rb"(-?)(\d{1,19})(?:\.(\d*))?")
_INT64 = 1 << 63
_ASCII = bytes(range(128))

Attributes = dict[bytes, bytes]
"""Records of extended headers by keyword; values are raw."""

Sparse = list[int]
"""Offset and length of each stretch of data, flat, in the file's order."""


class Header(NamedTuple):
    """A header block whose checksum is right. Numbers that are not readable are None."""

    block: bytes
    name: bytes
    mode: int | None
    uid: int | None
    gid: int | None
    size: int
    mtime: int | None
    type: bytes
    link: bytes
    variant: str
    owner: bytes
    group: bytes
    major: bytes
    minor: bytes


@lru_cache(8192)  # the same owners, modes and times come again and again
def number(field: bytes) -> int | None:
    """Return the number in a field, or None if there is none or it does not fit 64 bits."""
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        if field[0] & 0x40:
            value -= 1 << bits
        return fits(value)
    try:
        return int(field.partition(b"\0")[0], 8)
    except ValueError:
        return None


def decimal(value: bytes) -> int | None:
    """Return the number in a record's value, or None if it is not one or negative."""
    return fits(int(value)) if value.isdigit() and len(value) < 20 else None


def time(value: bytes) -> int | None:
    """Return a record's time (seconds with a fraction) in nanoseconds, or None if it is not one or does not fit."""
    found = _DECIMAL.fullmatch(value)
    if not found:
        return None
    sign, seconds, fraction = found.groups(b"")
    value_ns = int(seconds) * 1_000_000_000 + int((fraction + b"000000000")[:9])
    return fits(-value_ns if sign else value_ns)


def fits(value: int) -> int | None:
    """Return a number if it fits 64 bits (a time in nanoseconds: years 1677 to 2262), else None."""
    return value if -_INT64 <= value < _INT64 else None


@lru_cache(1024)
def text(value: bytes) -> str | None:
    """Return an owner's or group's name, or None if it is empty."""
    return value.decode("utf-8", "backslashreplace") or None


def _checks(block: bytes) -> bool:
    field = block[148:156]
    try:
        stated = int(field.partition(b"\0")[0], 8)
    except ValueError:
        return False
    # An Adler-32's low half is one more than the sum of the bytes; of half a block it is exact, and native.
    total = (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2 - sum(field) + 8 * 32
    # Some old writers added up signed characters.
    return total == stated or total - 256 * len(block.translate(None, _ASCII)) == stated


def parse(block: bytes) -> Header | None:
    """Return what a block of 512 bytes states, or None if it is not a header."""
    if len(block) != BLOCK or block[148] not in b" 01234567" or not _checks(block):
        return None
    name, mode, uid, gid, size, mtime, kind, link, magic, owner, group, major, minor, prefix = _FIELDS.unpack(block)
    length = number(size) if size.strip(b"\0 ") else 0
    if length is None or length < 0:
        return None
    name = name.partition(b"\0")[0]
    variant = "v7"
    if magic == b"ustar  \0":
        variant = "gnu"
    elif magic[:5] == b"ustar":
        variant = "ustar"
        if block[508:512] == b"tar\0":
            variant, prefix = "star", prefix[:131]  # star keeps atime and ctime in the rest
        if prefix[0]:
            name = prefix.partition(b"\0")[0] + b"/" + name
    elif not name or kind not in b"\x0001234567DKLMNSVgx":
        return None
    if variant == "v7":
        owner = group = b""
    return Header(
        block,
        name,
        number(mode),
        number(uid),
        number(gid),
        length,
        number(mtime),
        kind,
        link.partition(b"\0")[0],
        variant,
        owner.partition(b"\0")[0],
        group.partition(b"\0")[0],
        major,
        minor,
    )


def records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keyword and value of each record of an extended header: "length keyword=value" and a newline.

    Raises:
        Malformed: a record is not of this form; those before stand.
    """
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > at else b""
        end = at + int(digits) if digits.isdigit() else 0
        # A record that ends before its own keyword would be read again for ever.
        if not at < space < end <= len(data) or data[end - 1] != 0x0A:
            raise Malformed(f"an extended header has a wrong record at its byte {at}")
        keyword, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals:
            raise Malformed(f"an extended header has a wrong record at its byte {at}")
        yield keyword, value
        at = end


def merge(attributes: Attributes, data: bytes) -> None:
    """Add an extended header's records to `attributes`. An empty value takes a keyword back, as POSIX has it.

    The map of a sparse file in format 0.0, one record for each number, becomes one value, as in format 0.1.

    Raises:
        Malformed: see `records`; what came before has been added.
    """
    numbers = []
    try:
        for keyword, value in records(data):
            if keyword in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                numbers.append(value)
            elif value or b".xattr." in keyword:
                attributes[keyword] = value
            else:
                attributes.pop(keyword, None)
    finally:
        if numbers:
            attributes[b"GNU.sparse.map"] = b",".join(numbers)


def xattrs(attributes: Attributes) -> dict[str, bytes]:
    """Return the extended attributes that records keep, by full name.

    star and GNU tar keep raw values, libarchive keeps base64 under an encoded name (and the raw value too). Access
    control lists and SELinux labels have keywords of their own; the lists are text and stay under their keyword, as
    does base64 that is none.
    """
    found: dict[str, bytes] = {}
    for keyword, value in attributes.items():
        if keyword.startswith(b"SCHILY.xattr."):
            found[keyword[13:].decode("utf-8", "backslashreplace")] = value
        elif keyword.startswith(b"LIBARCHIVE.xattr."):
            name = unquote_to_bytes(keyword[17:]).decode("utf-8", "backslashreplace")
            try:
                found.setdefault(name, b64decode(value + b"=" * (-len(value) % 4), validate=True))
            except ValueError:
                found[keyword.decode("utf-8", "backslashreplace")] = value
        elif keyword == b"RHT.security.selinux":
            found.setdefault("security.selinux", value)
        elif keyword.startswith(b"SCHILY.acl."):
            found[keyword.decode("utf-8", "backslashreplace")] = value
    return found


def _paired(numbers: list[int | None], real: int) -> Sparse:
    """Return a map whose stretches are in order and inside the file.

    Raises:
        Malformed: they are not.
    """
    out: Sparse = []
    end = 0
    if len(numbers) % 2:
        raise Malformed("a sparse file's map has an offset without a length")
    for offset, length in zip(numbers[::2], numbers[1::2], strict=True):
        if offset is None or length is None or length < 0 or not end <= offset <= offset + length <= real:
            raise Malformed(f"a sparse file's map has data at offset {offset}, length {length}, in a file of {real}")
        end = offset + length
        if length:
            out += (offset, length)
    return out


def _room(count: int, limits: Limits) -> None:
    if count > REGIONS:
        raise LimitReached("metadata_bytes", limits.metadata_bytes)


def old_sparse(header: Header, source: Source, offset: int, limits: Limits) -> tuple[int, Sparse, int]:
    """Return size, map and offset of the data of an old GNU sparse file (type S) whose header ends at `offset`.

    Raises:
        UnpackError: the map is wrong, too long, or goes on beyond the source.
    """
    real = number(header.block[483:495])
    fields, more = header.block[386:482], header.block[482]
    numbers: list[int | None] = []
    while True:
        for at in range(0, len(fields), 24):
            if not fields[at + 12]:
                break
            numbers += (number(fields[at : at + 12]), number(fields[at + 12 : at + 24]))
        if not more:
            break
        _room(len(numbers), limits)
        block = source.exactly(offset, BLOCK)
        fields, more = block[:504], block[504]
        offset += BLOCK
    if real is None or real < 0:
        raise Malformed("a sparse file has no size")
    return real, _paired(numbers, real), offset


def pax_sparse(
    attributes: Attributes, source: Source, offset: int, length: int, limits: Limits
) -> tuple[int, Sparse, int] | None:
    """Return size, map and offset of the data of a sparse file in one of GNU's pax formats, or None if it is none.

    Args:
        attributes: the entry's records.
        source: the archive.
        offset: where the entry's bytes start; format 1.0 has the map before the data.
        length: how many there are.
        limits: limits in force.

    Raises:
        UnpackError: the map is wrong, too long, or goes on beyond the entry.
    """
    stated = attributes.get(b"GNU.sparse.realsize") or attributes.get(b"GNU.sparse.size")
    if stated is None:
        return None
    real = decimal(stated)
    if real is None:
        raise Malformed("a sparse file has no size")
    if attributes.get(b"GNU.sparse.major") != b"1":
        values = attributes.get(b"GNU.sparse.map", b"").split(b",", REGIONS * 2 + 1)
        _room(len(values) // 2, limits)
        return real, _paired([decimal(value) for value in values if value], real), offset
    first = source.pread(offset, min(length, 24)).partition(b"\n")[0]
    count = decimal(first)
    if count is None:
        raise Malformed("a sparse file's map does not begin with a count")
    _room(count, limits)
    lines = source.pread(offset, min(length, len(first) + 1 + count * 2 * 20)).split(b"\n", count * 2 + 1)
    if len(lines) != count * 2 + 2:
        raise Malformed(f"a sparse file's map has fewer than {count} pairs")
    used = sum(map(len, lines[:-1])) + len(lines) - 1
    start = offset + used + -used % BLOCK
    return real, _paired([decimal(line) for line in lines[1:-1]], real), start
