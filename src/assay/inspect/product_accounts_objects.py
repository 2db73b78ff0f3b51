"""Accounts in seeds and exports: objects of JSON, YAML and BSON (mongodump) that have an account's name and a password.

What counts as an account: an item of a list or collection with both fields, where the list is named as one of accounts
or the item also has a role, a state or a hash; an entry of a mapping so named, under its own name as key, with a hash,
or with a password and a role or state. An item with a host, a port or a database beside it is a login elsewhere, not an
account. Django fixtures (model, fields) are such lists.

Reference: RFC 8259; YAML 1.1; bsonspec.org 1.1; mongodump; Django, "Fixtures". The names are those of `account_entry`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from assay.facts.access import KnownPassword, ProductAccount
from assay.unpack.base import LimitReached, Malformed, Truncated

from . import yaml_format, yaml_values
from .account_entry import (
    CONNECTION,
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

MAX_BYTES = 8 << 20
MAX_NODES = 1_000_000
"""Values of a content that are looked at."""
MAX_BSON = 64 << 20
MAX_DOCUMENT = 16 << 20
"""Longest BSON document that MongoDB takes (MongoDB limits)."""


class Place(NamedTuple):
    """A value on its way through the objects."""

    value: Any
    key: str
    """Key that leads to it, or to the nearest list around it."""
    holder: str
    """Key of the mapping around it."""
    item: bool
    """It is an item of a list or a collection."""


def accounts(store: str, root: object, collection: bool = False) -> Iterator[Entry]:
    """Yield the accounts among the objects under a root, in order.

    Args:
        store: name of the store in the entries.
        root: a dict, list or scalar.
        collection: the root itself is an item of a collection.

    Raises:
        LimitReached: more values than are looked at.
    """
    todo = [Place(root, "", "", collection)]
    count = 0
    while todo:
        here = todo.pop()
        count += 1
        if count > MAX_NODES:
            raise LimitReached("object_values", MAX_NODES)
        if isinstance(here.value, list):
            todo += [Place(value, here.key, here.holder, True) for value in reversed(here.value)]
        elif isinstance(here.value, dict):
            entry = _account(store, here, collection)
            if entry is not None:
                yield entry
                continue
            todo += [
                Place(value, str(key), here.key, False)
                for key, value in reversed(here.value.items())
                if isinstance(value, (dict, list)) or (isinstance(value, str) and holds_users(here.key))
            ]
        elif isinstance(here.value, str) and not here.item and holds_users(here.holder):
            password = read(here.value)
            if password.state == "hash":
                yield Entry(store, here.holder, here.key, password, line=yaml_values.line(here.value))


def _account(store: str, here: Place, collection: bool) -> Entry | None:
    value: dict[object, Any] = here.value
    fields: dict[str, object] = {}
    names: dict[str, str] = {}
    if len(value) > 200:
        return None
    container = here.key
    if isinstance(value.get("model"), str) and isinstance(value.get("fields"), dict):
        container, value = value["model"], value["fields"]
    for key, field in value.items():
        if isinstance(key, str) and plain(key) not in fields:
            fields[plain(key)] = field
            names[plain(key)] = key
    secret, user = pick(fields, PASSWORD), pick(fields, USER)
    if secret is None or not CONNECTION.isdisjoint(fields):
        return None
    text = fields[secret]
    if text is not None and not isinstance(text, str):
        return None
    password = Password("absent") if text is None else read(text)
    states = role(fields) is not None or enabled(fields) is not None
    if here.item and user is not None:
        name = fields[user]
        if not isinstance(name, (str, int)) or isinstance(name, bool) or (text is None and not states):
            return None
        if secret in WEAK_PASSWORD and user not in SURE_USER:
            return None
        if not (collection or states or password.state == "hash" or holds_users(container)):
            return None
    elif user is None and not here.item and holds_users(here.holder) and (states or password.state == "hash"):
        name, container = here.key, here.holder
    else:
        return None
    at = yaml_values.line(fields[user]) if user is not None else yaml_values.line(text)
    return Entry(store, container or None, str(name), password, role(fields), enabled(fields), line=at)


_WORDS = (b"pass", b"pwd", b"hash", b'pw"', b"pw:")
_VALUE = late(rb"""[\w"-]{0,24}["']?[ \t]*:[ \t]*(?:["']|null|[^\s"'{\[])""")
_HASHES = (b"$1$", b"$2a$", b"$2b$", b"$2y$", b"$5$", b"$6$", b"$y$", b"$apr1$", b"pbkdf2", b"{ssha}", b"$argon2")
_USERS = (b"user", b"login", b"account", b"admin", b"operator", b"mail")


def may_hold(data: bytes) -> bool:
    """Tell whether a text has fields of both kinds, the password's with a text; cheap, before it is parsed."""
    lower = data.lower()
    return any(word in lower for word in _USERS) and (
        any(word in lower for word in _HASHES) or any(_has_value(lower, word) for word in _WORDS)
    )


def _has_value(lower: bytes, word: bytes) -> bool:
    at = lower.find(word)
    while at >= 0:
        if _VALUE.match(lower, at + min(len(word), 2)):
            return True
        at = lower.find(word, at + 1)
    return False


def inspect_json(content: Content) -> Iterator[ProductAccount | KnownPassword]:
    """Yield the accounts of a JSON text, or of one with an object on each line, and which passwords are known ones.

    Raises:
        msgspec.DecodeError: it is not JSON.
        LimitReached, Unsupported: as `account_entry.facts` says.
    """
    data = bytes(content.data)
    if not may_hold(data):
        return
    yield from facts(_placed(data, _json(data)), data)


def _json(data: bytes) -> Iterator[Entry]:
    try:
        yield from accounts("json", msgspec.json.decode(data))
    except msgspec.DecodeError:
        lines = [line for line in data.split(b"\n") if line.strip()]
        if len(lines) < 2 or any(line[:1] != b"{" for line in lines):
            raise
        for line in lines:
            yield from accounts("json", msgspec.json.decode(line), collection=True)


def _placed(data: bytes, entries: Iterator[Entry]) -> Iterator[Entry]:
    """Yield entries, which come in the order of the text, with the place where each name stands."""
    at, line, counted = 0, 1, 0
    for entry in entries:
        found = data.find(json.dumps(entry.name, ensure_ascii=False).encode("utf-8", "surrogateescape"), at)
        if found < 0:
            yield entry
            continue
        line += data.count(b"\n", counted, found)
        at, counted = found + 1, found
        yield entry._replace(offset=found, line=line)


def inspect_yaml(content: Content) -> Iterator[ProductAccount | KnownPassword]:
    """Yield the accounts of a YAML text, and which passwords are known ones. Templates are not YAML, and passed over.

    Raises:
        ValueError: it is not YAML, or is beyond the limits of `yaml_format`.
        LimitReached, Unsupported: as `account_entry.facts` says.
    """
    data = bytes(content.data)
    if not may_hold(data) or b"{{" in data or b"{%" in data or data.startswith(b"#cloud-config"):
        return
    yield from facts(_yaml(content.text()), data)


def _yaml(text: str) -> Iterator[Entry]:
    for document in yaml_format.documents(text):
        yield from accounts("yaml", yaml_values.value(document))


def inspect_bson(content: Content) -> Iterator[ProductAccount | KnownPassword]:
    """Yield the accounts of a dumped collection, and which passwords are known ones; the place is the document's.

    Raises:
        Malformed, Truncated: a document is not as its length or its elements say; those before stand.
        LimitReached, Unsupported: as `account_entry.facts` says.
    """
    data = bytes(content.data[:MAX_BSON])
    yield from facts(_bson(data), data)
    if content.size > MAX_BSON:
        raise LimitReached("bson_bytes", MAX_BSON)


def _bson(data: bytes) -> Iterator[Entry]:
    import bson

    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little", signed=True)
        if not 5 <= length <= MAX_DOCUMENT:
            raise Malformed(f"document of {length} bytes at offset {at}")
        if at + length > len(data):
            if len(data) == MAX_BSON:
                return
            raise Truncated(f"document at offset {at} ends after the content")
        try:
            document = bson.decode(data[at : at + length])
        except (bson.InvalidBSON, RecursionError, ValueError, OverflowError) as error:
            raise Malformed(f"document at offset {at}: {type(error).__name__}: {error}") from None
        for entry in accounts("bson", document, collection=True):
            yield entry._replace(offset=at)
        at += length


def prepare() -> None:
    """Load what parsing needs, before workers are forked and confined."""
    import bson

    bson.decode(bson.encode({"a": ["b"]}))
    yaml_format.prepare()


FAMILIES = (ProductAccount, KnownPassword)
UNSEEN = (
    "accounts whose fields go by other names than those of the table, and lists of two columns without names",
    "objects that stand alone (one user and password in a configuration), which may be a login elsewhere",
)

JSON = ContentInspector(
    name="product-accounts-json",
    version=1,
    families=FAMILIES,
    inspect=inspect_json,
    path_has=(".json",),
    wants_path=lambda path: path.endswith((".json", ".json.in", ".json.default")),
    max_size=MAX_BYTES,
    text_only=True,
    unseen=(*UNSEEN, f"texts of more than {MAX_BYTES >> 20} MiB"),
)

YAML = ContentInspector(
    name="product-accounts-yaml",
    version=1,
    families=FAMILIES,
    inspect=inspect_yaml,
    path_has=(".y",),
    wants_path=lambda path: path.endswith((".yaml", ".yml")),
    max_size=yaml_format.MAX_TEXT,
    text_only=True,
    unseen=(*UNSEEN, "templates ({{ }}, {% %})"),
)

BSON = ContentInspector(
    name="product-accounts-bson",
    version=1,
    families=FAMILIES,
    inspect=inspect_bson,
    path_has=(".bson",),
    wants_path=lambda path: path.endswith(".bson"),
    binary_only=True,
    unseen=(*UNSEEN, "collections in MongoDB's own storage files (WiredTiger), and dumps in one archive"),
)
