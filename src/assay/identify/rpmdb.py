"""The values of RPM's databases: one header a package, in an SQLite, a Berkeley DB or an ndb file."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator

from assay.inspect.base import Buffer
from assay.unpack.base import Malformed, Source, Truncated

MOST = 256 << 20
"""Longest header, in bytes, as rpm limits it."""

SQLITE_MAGIC = b"SQLite format 3\0"
STEPS = 200_000_000  # instructions of SQLite's machine; 50,000 packages take well under a million
READS = frozenset([sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_PRAGMA])


def sqlite_values(data: Buffer) -> Iterator[tuple[int | None, bytes]]:
    """Yield (None, header) for each package of an rpmdb.sqlite (rpm, lib/backend/sqlite.c).

    The database is held in memory and opened without trust: no view, trigger, function or virtual table of its own is
    run, and work and length of values are limited.

    Raises:
        Malformed: it is no such database, or it is damaged.
    """
    if bytes(data[:16]) != SQLITE_MAGIC:
        raise Malformed("no SQLite database")
    copy = bytearray(data)
    copy[18:20] = b"\1\1"  # a log (WAL) cannot be used in memory; what it might hold is not in this file
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(copy)
        del copy
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_VDBE_OP, 100_000)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA query_only = ON")
        steps = iter(range(STEPS // 100_000))
        connection.set_progress_handler(lambda: next(steps, None) is None, 100_000)
        connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in READS else sqlite3.SQLITE_DENY)
        kinds = connection.execute("SELECT type, sql FROM sqlite_schema WHERE name = 'Packages'").fetchall()
        if [kind for kind, _ in kinds] != ["table"] or "virtual" in str(kinds[0][1]).lower():
            raise Malformed("no table of packages")
        columns = {row[1]: row[6] for row in connection.execute("PRAGMA table_xinfo(Packages)")}
        if columns.get("blob") != 0:  # a generated column could make much out of nothing
            raise Malformed("no column of headers")
        for (value,) in connection.execute("SELECT blob FROM Packages"):
            if not isinstance(value, bytes):
                raise Malformed("a package is not a blob")
            yield None, value
    except sqlite3.Error as error:
        raise Malformed(f"SQLite: {error}") from error
    finally:
        connection.close()


# Berkeley DB, dbinc/db_page.h. A page: struct { uint32 lsn[2], pgno, prev, next; uint16 entries, hf_offset;
# uint8 level, type; }, then an array of 16-bit offsets of items, which fill the page from its end.
HASH_MAGIC = 0x061561
PAGE_HEADER = 26
PAGE_OVERFLOW, PAGES_HASH = 7, (2, 13)
ITEM_INLINE, ITEM_OVERFLOW = 1, 3


def berkeley_values(source: Source) -> Iterator[tuple[int | None, bytes]]:
    """Yield (offset, header) for each package of a Packages file, a Berkeley DB hash, in page order.

    Every overflow page is used once at most, so a ring of pages ends the reading.

    Raises:
        Malformed: it is no such database, or it is damaged.
        Truncated: a page is missing.
    """
    meta = source.exactly(0, 72)
    order = next((o for o in "<>" if struct.unpack_from(f"{o}I", meta, 12)[0] == HASH_MAGIC), None)
    if order is None:
        raise Malformed("no Berkeley DB hash")
    (size,) = struct.unpack_from(f"{order}I", meta, 20)
    if meta[24]:
        raise Malformed(f"encrypted with algorithm {meta[24]}")
    if size not in {1 << n for n in range(9, 17)}:
        raise Malformed(f"page size {size}")
    head = struct.Struct(f"{order}3I2HBB")
    used: set[int] = set()
    for start in range(size, source.size, size):
        page = source.pread(start, size)
        if len(page) < PAGE_HEADER or page[25] not in PAGES_HASH:
            continue
        entries = head.unpack_from(page, 8)[3]
        if PAGE_HEADER + 2 * entries > len(page):
            raise Malformed(f"page at offset {start} has {entries} items")
        index = struct.unpack_from(f"{order}{entries}H", page, PAGE_HEADER)
        inline = 0
        for number in range(1, entries, 2):  # keys are at even places, values at odd ones
            at = index[number]
            if at + 12 <= len(page) and page[at] == ITEM_OVERFLOW:
                first, length = struct.unpack_from(f"{order}2I", page, at + 4)
                yield first * size, _overflow(source, head, size, first, length, used)
            elif at < len(page) and page[at] == ITEM_INLINE:
                value = page[at + 1 : index[number - 1]]
                inline += len(value)
                if inline > size:
                    raise Malformed(f"items of the page at offset {start} share bytes")
                if len(value) > 8:  # the shorter one is rpm's counter of packages, under key 0
                    yield start + at + 1, value


def _overflow(source: Source, head: struct.Struct, size: int, number: int, length: int, used: set[int]) -> bytes:
    if length > MOST:
        raise Malformed(f"a value of {length} bytes")
    pieces = []
    left = length
    while left > 0:
        if number in used or not number:
            raise Malformed(f"overflow page {number} is used twice or is page 0")
        used.add(number)
        page = source.exactly(number * size, size)
        _, _, following, _, filled, _, kind = head.unpack_from(page, 8)
        if kind != PAGE_OVERFLOW or not 0 < filled <= size - PAGE_HEADER:
            raise Malformed(f"page {number} is not an overflow page")
        pieces.append(page[PAGE_HEADER : PAGE_HEADER + min(filled, left)])
        left -= filled
        number = following
    return b"".join(pieces)


# rpm, lib/backend/ndb/rpmpkg.c. All numbers little-endian.
NDB_HEADER = struct.Struct("<4s4I")  # magic, version, generation, pages of slots, next package
NDB_SLOT = struct.Struct("<4s3I")  # magic, package, offset and length in blocks
NDB_BLOB = struct.Struct("<4s3I")  # magic, package, generation, length in bytes
NDB_PAGE, NDB_BLOCK = 4096, 16


def ndb_values(source: Source) -> Iterator[tuple[int | None, bytes]]:
    """Yield (offset, header) for each package of a Packages.db, in the order of its slots.

    Raises:
        Malformed: it is no such database, or it is damaged.
        Truncated: the file ends too early.
    """
    magic, version, _, pages, _ = NDB_HEADER.unpack(source.exactly(0, NDB_HEADER.size))
    if magic != b"RpmP" or version != 0:
        raise Malformed("no ndb database of packages")
    if pages * NDB_PAGE > source.size:
        raise Truncated(f"{pages} pages of slots")
    read = 0
    for start in range(32, pages * NDB_PAGE, NDB_SLOT.size):
        slot, number, block, blocks = NDB_SLOT.unpack(source.exactly(start, NDB_SLOT.size))
        if slot != b"Slot":
            raise Malformed(f"no slot at offset {start}")
        if not block:
            continue
        offset = block * NDB_BLOCK
        head, there, _, length = NDB_BLOB.unpack(source.exactly(offset, NDB_BLOB.size))
        if head != b"BlbS" or there != number or NDB_BLOB.size + length > blocks * NDB_BLOCK:
            raise Malformed(f"no value of package {number} at offset {offset}")
        read += length
        if read > source.size:
            raise Malformed("values share bytes")
        yield offset + NDB_BLOB.size, source.exactly(offset + NDB_BLOB.size, length)
