"""What the readers of account stores have in common: an entry, the names that its fields go by, and its facts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from assay.facts.access import KnownPassword, ProductAccount
from assay.unpack.base import LimitReached

from .crypt_format import SHAPES
from .known_passwords import Secret, known
from .late import late
from .password_format import Password

MAX_ACCOUNTS = 10_000
"""Accounts from one content."""


class Entry(NamedTuple):
    """An account as its store has it."""

    store: str
    container: str | None
    name: str
    password: Password
    role: str | None = None
    enabled: bool | None = None
    offset: int | None = None
    line: int | None = None
    realm: str = ""


def facts(entries: Iterable[Entry], data: bytes) -> Iterator[ProductAccount | KnownPassword]:
    """Yield an account for each entry, then which of their passwords are known ones.

    Hashes that stand as they are in the content and name their scheme as crypt(3) does are left to the inspector
    `known-passwords`, which sees them there.

    Args:
        entries: of one content.
        data: the content's bytes.

    Raises:
        LimitReached: more accounts than one content may have, or more hashes than there is time to try.
        Unsupported: hashes that cannot be computed here. Whatever the entries raise, once all before it is yielded.
    """
    secrets: list[Secret] = []
    failure: Exception | None = None
    count = 0
    try:
        for entry in entries:
            if count >= MAX_ACCOUNTS:
                raise LimitReached("product_accounts", MAX_ACCOUNTS)
            count += 1
            state, scheme, text = entry.password
            yield ProductAccount(
                store=entry.store,
                container=entry.container,
                name=entry.name[:300],
                role=entry.role[:300] if entry.role else None,
                password=state,
                scheme=scheme,
                fingerprint=None if text is None else fingerprint(text),
                enabled=entry.enabled,
                offset=entry.offset,
                line=entry.line,
            )
            if text and (
                state == "clear"
                or (state == "hash" and not (scheme in SHAPES and text.encode("utf-8", "surrogateescape") in data))
            ):
                secrets.append(Secret(entry.name, scheme or "clear", text, entry.offset, entry.line, entry.realm))
    except (Exception, MemoryError) as error:
        failure = error
    yield from known(secrets)
    if failure is not None:
        raise failure


def fingerprint(text: str) -> str:
    """Return the SHA-256 of an exact secret."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


USER = (
    "username", "login", "loginname", "userlogin", "userid", "user", "uname", "account", "accountname", "uid",
    "adminname", "email", "mail", "emailaddress", "name",
)  # fmt: skip
"""Names of the field that names an account, the surest first."""
SURE_USER = frozenset(USER[:11])
PASSWORD = (
    "password", "passwd", "passwordhash", "hashedpassword", "encryptedpassword", "cryptedpassword", "passworddigest",
    "passwordenc", "pwhash", "userpassword", "userpass", "userpasswd", "pwd", "pass", "pw", "hash",
)  # fmt: skip
"""Names of the field that holds its password or hash."""
WEAK_PASSWORD = frozenset({"hash", "pass", "pw"})
"""These count only beside a sure name of an account: files and builds have names and hashes, too."""
ROLE = (
    "role", "roles", "group", "groups", "privilege", "privileges", "usertype", "userrole", "permissions", "level",
    "isadmin", "issuperuser", "admin", "superuser", "isstaff",
)  # fmt: skip
ENABLED = ("enabled", "active", "isactive", "isenabled")
DISABLED = ("disabled", "locked", "islocked", "isdisabled")
CONNECTION = frozenset({"host", "hostname", "url", "uri", "server", "port", "database", "dbname", "endpoint", "dsn"})
"""Fields of a client's login elsewhere, which is no account of this product."""

_OTHER = late(r"[^a-z0-9]+")
_USERS = late(r"(?:users?|accounts?|admins?|administrators?|operators?|logins?|superusers?)\Z")
_TRUE, _FALSE = {"1", "true", "yes", "on", "t", "y"}, {"0", "false", "no", "off", "f", "n"}


def plain(name: str) -> str:
    """Return a field's name as it is compared: lower case, letters and digits only."""
    return _OTHER.sub("", name[:128].lower())


def holds_users(name: str) -> bool:
    """Tell whether a table, collection or key is named as one of accounts."""
    return _USERS.search(plain(name)) is not None


def pick(fields: dict[str, object], names: tuple[str, ...]) -> str | None:
    """Return the first of some plain names that is a field."""
    return next((name for name in names if name in fields), None)


def truth(value: object) -> bool | None:
    """Return what a value says as yes or no; None if it is neither."""
    if isinstance(value, (bool, int)):
        return bool(value)
    text = str(value).strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None


def enabled(fields: dict[str, object]) -> bool | None:
    """Return whether an account's fields (by plain name) say that it is active."""
    yes, no = pick(fields, ENABLED), pick(fields, DISABLED)
    if yes is not None and (said := truth(fields[yes])) is not None:
        return said
    if no is not None and (said := truth(fields[no])) is not None:
        return not said
    return None


def role(fields: dict[str, object]) -> str | None:
    """Return the role that an account's fields (by plain name) state, as written."""
    name = pick(fields, ROLE)
    if name is None:
        return None
    value = fields[name]
    if value is None or value == "":
        return None
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value[:20] if isinstance(item, (str, int)))[:300] or None
    if isinstance(value, dict):
        return None
    said = truth(value)
    return f"{name}={value}" if said is not None and name not in ROLE[:4] else str(value)[:300]
