"""Accounts in databases: SQLite files, and dumps in SQL.

A table counts if it has a column named as an account's name and one named as its password (`account_entry`). A SQLite
file is opened in memory by SQLite itself, with the schema untrusted and all work limited; nothing of it is executed but
the reading of plain tables.

Reference: sqlite.org, "Database File Format", "Defense Against The Dark Arts", sqlite3_deserialize; mysqldump, pg_dump
(COPY), sqlite3 .dump.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from itertools import islice

from assay.facts.access import KnownPassword, ProductAccount
from assay.unpack.base import LimitReached, Malformed

from .account_entry import (
    CONNECTION,
    MAX_ACCOUNTS,
    PASSWORD,
    SURE_USER,
    USER,
    WEAK_PASSWORD,
    Entry,
    enabled,
    facts,
    holds_users,
    pick,
    plain,
    role,
)
from .base import Content, ContentInspector
from .late import late
from .password_format import Password, read

MAX_DATABASE = 64 << 20
"""Bytes of a database that is opened: it is held in memory."""
MAX_SQL = 32 << 20
CPU_SECONDS = 2.0
MAX_TABLES = 2_000
MAX_COLUMNS = 500
MAX_CELL = 1 << 16


def columns_of(table: str, columns: Sequence[str]) -> tuple[int, int] | None:
    """Return which columns are the account's name and its password; None if this is no table of accounts."""
    names = [plain(column) for column in columns]
    present: dict[str, object] = dict.fromkeys(names)
    user, secret = pick(present, USER), pick(present, PASSWORD)
    if user is None or secret is None or not CONNECTION.isdisjoint(names):
        return None
    if (secret in WEAK_PASSWORD or user not in SURE_USER) and not holds_users(table):
        return None
    return names.index(user), names.index(secret)


def entry(
    store: str, table: str, columns: Sequence[str], row: Sequence[object], line: int | None = None
) -> Entry | None:
    """Return a row of a table of accounts as an entry; None if it has not as many values as the table has columns."""
    where = columns_of(table, columns)
    if where is None or len(row) != len(columns):
        return None
    fields: dict[str, object] = {}
    for column, value in zip(columns, row, strict=True):
        fields.setdefault(plain(column), value)
    name, secret = row[where[0]], row[where[1]]
    password = Password("absent") if secret is None else read(_text(secret))
    return Entry(store, table, "" if name is None else _text(name), password, role(fields), enabled(fields), line=line)


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def quoted(name: str) -> str:
    """Return an identifier as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def inspect_sqlite(content: Content) -> Iterator[ProductAccount | KnownPassword]:
    """Yield the accounts in the tables of a database, and which passwords are known ones.

    Raises:
        LimitReached: the database is too long, or asks for too much work; accounts before stand.
        Malformed: SQLite cannot read it.
        Unsupported: as `account_entry.facts` says.
    """
    if content.size > MAX_DATABASE:
        raise LimitReached("sqlite_bytes", MAX_DATABASE)
    data = bytes(content.data)
    yield from facts(_sqlite(data), data)


def _sqlite(data: bytes) -> Iterator[Entry]:
    if len(data) < 512:
        raise Malformed("shorter than a page of a database")
    database = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
    try:
        ends = time.process_time() + CPU_SECONDS
        database.set_progress_handler(lambda: time.process_time() > ends, 10_000)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 16 << 20)
        database.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, 2000)
        database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        database.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
        # Version numbers 1: a database that keeps a write-ahead log beside it cannot be opened in memory otherwise.
        database.deserialize(data[:18] + b"\1\1" + data[20:])
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON", "mmap_size=0", "cache_size=-8192"):
            database.execute(f"PRAGMA {pragma}")
        yield from _tables(database)
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise LimitReached("sqlite_cpu_seconds", CPU_SECONDS) from None
        raise Malformed(f"SQLite: {error}") from None
    except (sqlite3.DatabaseError, UnicodeError) as error:  # a message of SQLite's may quote any bytes
        raise Malformed(f"SQLite: {error}") from None
    finally:
        database.close()


def _tables(database: sqlite3.Connection) -> Iterator[Entry]:
    found = database.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY rootpage"
    ).fetchmany(MAX_TABLES + 1)
    for (table,) in found[:MAX_TABLES]:
        columns = [
            name
            for name, kind in database.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (table,))
            if kind == 0 and isinstance(name, str)
        ][:MAX_COLUMNS]
        where = columns_of(table, columns)
        if where is None:
            continue
        wanted = [column for at, column in enumerate(columns) if at in where or _tells(column)]
        # A cell that is longer than any name or hash comes as nothing: it is no password either.
        cells = ", ".join(
            f"CASE WHEN length(CAST({quoted(column)} AS BLOB)) <= {MAX_CELL} THEN {quoted(column)} END"
            for column in wanted
        )
        rows = database.execute(f"SELECT {cells} FROM main.{quoted(table)} LIMIT {MAX_ACCOUNTS + 1}")  # noqa: S608
        for row in rows:
            account = entry("sqlite", table, wanted, row)
            if account is not None:
                yield account
    if len(found) > MAX_TABLES:
        raise LimitReached("sqlite_tables", MAX_TABLES)


def _tells(column: str) -> bool:
    fields: dict[str, object] = {plain(column): "1"}
    return role(fields) is not None or enabled(fields) is not None


_NAME = r"(?:[`\"\[]?[\w$]{1,128}[`\"\]]?\.)?[`\"\[]?([\w$]{1,128})[`\"\]]?"
_STATEMENT = late(
    rf"\b(?:INSERT\s+(?:OR\s+\w+\s+|IGNORE\s+)?INTO\s+{_NAME}\s*(?:\(([^()]{{1,8192}})\)\s*)?VALUES\b"
    rf"|REPLACE\s+INTO\s+{_NAME}\s*(?:\(([^()]{{1,8192}})\)\s*)?VALUES\b"
    rf"|COPY\s+{_NAME}\s*\(([^()]{{1,8192}})\)\s+FROM\s+stdin\b[^\n]{{0,256}}\n"
    rf"|CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}\s*\()",
    re.IGNORECASE,
)
_VALUE = late(
    r"\s*(?:[NnEe]?'((?:[^'\\]++|\\.|'')*+)'|\"((?:[^\"\\]++|\\.)*+)\"|(NULL)\b|([^\s,()']{1,512}+(?:\([^()']{0,512}\))?))\s*([,)])",
    re.IGNORECASE | re.DOTALL,
)
_COLUMN = late(r"\s*[`\"\[]?([\w$]{1,128})")
_BRACKET = late(r"[(),]|'[^']{0,1024}+'")
_SPACE = late(r"\s*")
_CONSTRAINTS = {"primary", "unique", "key", "constraint", "foreign", "check", "index", "fulltext"}


def sql(text: str) -> Iterator[Entry]:
    """Yield the accounts that INSERT, REPLACE and COPY put into tables."""
    tables: dict[str, int] = {}
    at = counted = 0
    line = 1
    while match := _STATEMENT.search(text, at):
        at = match.end()
        groups = match.groups()
        if groups[6] is not None:
            if len(tables) < MAX_TABLES:
                tables.setdefault(groups[6].lower(), at)
            continue
        table = groups[0] or groups[2] or groups[4]
        written = groups[1] or groups[3] or groups[5]
        if written is not None:
            columns = [name.strip().strip('`"[]') for name in written.split(",")][:MAX_COLUMNS]
        else:
            columns = _created(text, tables[table.lower()]) if table.lower() in tables else []
        if columns_of(table, columns) is None:
            continue
        for start, row in _copied(text, at) if groups[4] else _inserted(text, at):
            line += text.count("\n", counted, start)
            at = counted = start
            account = entry("sql", table, columns, row, line)
            if account is not None:
                yield account


def _created(text: str, at: int) -> list[str]:
    """Return the columns of a CREATE TABLE, which opens at a place: parts between commas outside brackets."""
    starts, depth = [at], 1
    for match in islice(_BRACKET.finditer(text, at, at + 65536), 2_000):
        depth += (match[0] == "(") - (match[0] == ")")
        if not depth:
            break
        if match[0] == "," and depth == 1:
            starts.append(match.end())
    names = [found[1] for start in starts[:MAX_COLUMNS] if (found := _COLUMN.match(text, start))]
    return [name for name in names if name.lower() not in _CONSTRAINTS]


def _inserted(text: str, at: int) -> Iterator[tuple[int, list[object]]]:
    """Yield the rows (place, values) of VALUES (...), (...)."""
    while (start := _skip(text, at)) < len(text) and text[start] == "(":
        row: list[object] = []
        at = start + 1
        while match := _VALUE.match(text, at):
            at = match.end()
            if match[1] is not None:
                row.append(match[1].replace("''", "'").replace("\\'", "'").replace("\\\\", "\\"))
            else:
                row.append(match[2] if match[2] is not None else None if match[3] else match[4])
            if match[5] == ")" or len(row) > MAX_COLUMNS:
                break
        else:
            return
        yield start, row
        at = _skip(text, at)
        if at >= len(text) or text[at] != ",":
            return
        at += 1


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _copied(text: str, at: int) -> Iterator[tuple[int, list[object]]]:
    """Yield the rows (place, values) of COPY ... FROM stdin, up to its end mark."""
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end]
        if line == "\\.":
            return
        yield at, [None if value == "\\N" else value for value in line.split("\t")[:MAX_COLUMNS]]
        at = end + 1


def inspect_sql(content: Content) -> Iterator[ProductAccount | KnownPassword]:
    """Yield the accounts that a dump or seed puts into tables, and which passwords are known ones.

    Raises:
        LimitReached, Unsupported: as `account_entry.facts` says.
    """
    data = bytes(content.data[:MAX_SQL])
    lower = data.lower()
    if (b"pass" in lower or b"pwd" in lower or b"hash" in lower) and (b" into" in lower or b"copy" in lower):
        yield from facts(sql(content.text(MAX_SQL)), data)
    if content.size > MAX_SQL:
        raise LimitReached("sql_bytes", MAX_SQL)


FAMILIES = (ProductAccount, KnownPassword)

SQLITE = ContentInspector(
    name="product-accounts-sqlite",
    version=1,
    families=FAMILIES,
    inspect=inspect_sqlite,
    head_begins=(b"SQLite format 3",),
    wants_head=lambda head: head.startswith(b"SQLite format 3\0"),
    binary_only=True,
    unseen=(
        "rows that stand only in a write-ahead log or journal beside the database, and rows deleted but still there",
        "encrypted databases; tables whose columns go by other names than those of the table; virtual tables and views",
    ),
)

SQL = ContentInspector(
    name="product-accounts-sql",
    version=1,
    families=FAMILIES,
    inspect=inspect_sql,
    path_has=(".sql", ".dump"),
    head_begins=(b"--", b"PRAGMA"),
    wants_path=lambda path: path.endswith((".sql", ".dump")),
    wants_head=lambda head: head.startswith((b"-- MySQL dump", b"-- MariaDB dump", b"--\n-- PostgreSQL database dump",
                                             b"PRAGMA foreign_keys=OFF;")),
    text_only=True,
    unseen=("values that SQL computes (functions, variables), UPDATE, and CREATE USER of the database itself",),
)  # fmt: skip
