"""Accounts: the lines of passwd, shadow, group and gshadow, and what they make together.

Lines are read as the C library reads them: comments and blank lines do not count, missing last fields are empty, a line
without a number where one must be is no entry. A NIS line ('+', '-name', '+@netgroup') is kept as an entry, but is no
account: the accounts it stands for are elsewhere.

Reference: passwd(5), shadow(5), group(5), gshadow(5); glibc nss/nss_files.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

from assay.facts.access import Account, AccountEntry, Credential
from assay.unpack.base import LimitReached, Unsupported

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .crypt_format import scheme
from .late import late

MAX_BYTES = 16 << 20
MAX_GROUPS = 1 << 20
"""Group names on all accounts of a tree together."""

NO_LOGIN = {"nologin", "false", "sync", "halt", "shutdown"}

_NUMBER = late(r"\s*[+-]?[0-9]{1,18}\s*")


class Field(NamedTuple):
    """A password field: its state and scheme as in `AccountEntry`, and the hash's text."""

    state: str
    scheme: str | None = None
    locked: bool = False
    hash: str = ""


def read_field(text: str) -> Field:
    """Tell what a password field says, without keeping more of it than its hash."""
    if not text:
        return Field("empty")
    bare = text.lstrip("!*")
    locked = bare != text
    found = scheme(bare)
    if found:
        return Field("hash", found, locked, bare)
    if locked:
        return Field("locked")
    return Field("elsewhere" if text == "x" else "invalid")


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _entries(
    database: str, content: Content, extra: Callable[[list[str]], dict[str, object] | None]
) -> Iterator[AccountEntry | Credential]:
    """Yield an entry for each line of which `extra` makes columns, and a credential for each hash.

    Raises:
        LimitReached: the content is longer than `MAX_BYTES`; what is before has been read.
    """
    offset = 0
    for number, raw in enumerate(io.BytesIO(bytes(content.data[:MAX_BYTES])), 1):
        start, offset = offset, offset + len(raw)
        line = raw.rstrip(b"\n").decode("utf-8", "backslashreplace")
        fields = line.split(":")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        columns = extra(fields)
        if columns is None:
            continue
        password = read_field(fields[1]) if len(fields) > 1 else Field("none")
        entry: dict[str, object] = {"database": database, "name": fields[0], "offset": start, "line": number}
        entry |= {"password": password.state, "scheme": password.scheme, "locked": password.locked}
        yield AccountEntry(**(entry | columns))  # type: ignore[arg-type]  # the columns of one database
        if password.hash:
            yield Credential(
                kind="password-hash",
                scheme=password.scheme or "unknown",
                fingerprint=hashlib.sha256(password.hash.encode()).hexdigest(),
                subject=fields[0],
                evidence="field",
                offset=start + raw.find(password.hash.encode(), raw.find(b":")),
                line=number,
            )
    if content.size > MAX_BYTES:
        raise LimitReached("account_database_bytes", MAX_BYTES)


def _is_nis(fields: list[str]) -> bool:
    return fields[0][:1] in ("+", "-")


def _at(fields: list[str], index: int) -> str | None:
    return fields[index] if index < len(fields) else None


def _passwd(fields: list[str]) -> dict[str, object] | None:
    uid, gid = _number(_at(fields, 2) or ""), _number(_at(fields, 3) or "")
    if (uid is None or gid is None) and not _is_nis(fields):
        return None
    return {"uid": uid, "gid": gid, "home": _at(fields, 5), "shell": _at(fields, 6)}


def _shadow(fields: list[str]) -> dict[str, object] | None:
    if len(fields) < 2 and not _is_nis(fields):
        return None
    return {
        "last_change": _number(_at(fields, 2) or ""),
        "max_days": _number(_at(fields, 4) or ""),
        "expires": _number(_at(fields, 7) or ""),
    }


def _members(fields: list[str]) -> list[str]:
    return [name for name in (_at(fields, 3) or "").split(",") if name]


def _group(fields: list[str]) -> dict[str, object] | None:
    gid = _number(_at(fields, 2) or "")
    if gid is None and not _is_nis(fields):
        return None
    return {"gid": gid, "members": _members(fields)}


def _gshadow(fields: list[str]) -> dict[str, object] | None:
    return {"members": _members(fields)} if len(fields) > 1 or _is_nis(fields) else None


_PASSWD_LINE = late(rb"[A-Za-z_][\w.-]{0,31}:[^:\s]{0,512}:\d{1,10}:\d{1,10}:[^:\n]{0,512}:/[^:\n]{0,512}:[^:\s]")
_SHADOW_LINE = late(rb"[A-Za-z_][\w.-]{0,31}:[^:\s]{0,512}(?::\d{0,10}){6}:[^:\n]{0,32}(?:\n|\Z)")


def is_passwd(head: bytes) -> bool:
    """Tell whether a content begins with a line of passwd, whatever its name: backups and templates count."""
    return _PASSWD_LINE.match(head) is not None


def is_shadow(head: bytes) -> bool:
    """Tell whether a content begins with a line of shadow, whatever its name."""
    return _SHADOW_LINE.match(head) is not None


def _inspector(
    name: str,
    extra: Callable[[list[str]], dict[str, object] | None],
    wants_head: Callable[[bytes], bool] | None = None,
) -> ContentInspector:
    ends = (f"/etc/{name}", f"/etc/{name}-")
    return ContentInspector(
        name=name,
        version=1,
        families=(AccountEntry, Credential),
        inspect=lambda content: _entries(name, content, extra),
        path_has=ends[:1],
        wants_path=lambda path: path.endswith(ends),
        wants_head=wants_head,
    )


PASSWD = _inspector("passwd", _passwd, is_passwd)
SHADOW = _inspector("shadow", _shadow, is_shadow)
GROUP = _inspector("group", _group)
GSHADOW = _inspector("gshadow", _gshadow)


def accounts(tree: Tree) -> Iterator[Account]:
    """Yield the accounts of a tree: every line of /etc/passwd, then names that only /etc/shadow has.

    Raises:
        Unsupported: /etc/passwd is there, but its lines are not: a link out of the tree, or an unread file.
        LimitReached: groups of all accounts together; the accounts before stand.
    """
    passwd_file, entries = _database(tree, "passwd")
    shadow_file, shadow_entries = _database(tree, "shadow")
    shadow_unknown = tree.unread("/etc/shadow") or (shadow_file is None and tree.get("/etc/shadow") is not None)
    shadow: dict[str, AccountEntry] = {}
    for entry in shadow_entries:
        shadow.setdefault(entry.name, entry)  # the C library takes the first
    groups: dict[str, list[str]] = {}
    for entry in _database(tree, "group")[1]:
        for member in dict.fromkeys(entry.members):
            groups.setdefault(member, []).append(entry.name)
    left = MAX_GROUPS
    seen = set()
    keys: dict[tuple[str | None, bool], int] = {}
    for entry in entries:
        if _is_nis([entry.name]):
            continue
        seen.add(entry.name)
        left -= len(groups.get(entry.name, ()))
        if left < 0:
            raise LimitReached("account_groups", MAX_GROUPS)
        shell = entry.shell or "/bin/sh"
        place = (entry.home, entry.uid == 0)
        if place not in keys:
            keys[place] = _keys(tree, *place)
        password, scheme_, proof = _password(entry, shadow.get(entry.name), shadow_unknown)
        yield Account(
            path="/etc/passwd",
            line=entry.line,
            name=entry.name,
            uid=entry.uid,
            gid=entry.gid,
            home=entry.home,
            shell=shell,
            login_shell=shell.rsplit("/", 1)[-1] not in NO_LOGIN,
            shell_exists=_exists(tree, shell),
            password=password,
            scheme=scheme_,
            groups=groups.get(entry.name, []),
            authorized_keys=keys[place],
            shadow_path="/etc/shadow" if proof else None,
            shadow_line=proof.line if proof else None,
        )
    for entry in shadow_entries:
        if entry.name not in seen and not _is_nis([entry.name]):
            yield Account(
                path="/etc/shadow",
                line=entry.line,
                name=entry.name,
                uid=None,
                gid=None,
                home=None,
                shell=None,
                login_shell=False,
                shell_exists=None,
                password=_own(entry),
                scheme=entry.scheme,
                groups=[],
                shadow_path="/etc/shadow",
                shadow_line=entry.line,
            )
    lost = tree.get("/etc/passwd") is not None and (passwd_file is None or passwd_file.content is None)
    if lost or tree.unread("/etc/passwd"):
        raise Unsupported("/etc/passwd is there, but could not be read or leads out of the tree")


def _database(tree: Tree, name: str) -> tuple[TreeFile | None, list[AccountEntry]]:
    file = tree.lookup(f"/etc/{name}")
    if file is None:
        return None, []
    return file, [entry for entry in tree.facts(AccountEntry, file) if entry.database == name]


def _own(entry: AccountEntry) -> str:
    """Return the state of a field of shadow itself, where no further place can hold the hash."""
    if entry.password == "hash" and entry.locked:  # noqa: S105 - a state, not a password
        return "locked"
    return "invalid" if entry.password in ("elsewhere", "none") else entry.password


def _password(
    entry: AccountEntry, shadow: AccountEntry | None, unknown: bool
) -> tuple[str, str | None, AccountEntry | None]:
    """Return (state, scheme, the shadow entry that says so) of an account in passwd.

    'x' sends to shadow. So does a single '*' for some login programs, hence a shadow entry counts there too; a '*'
    without one is a locked account.
    """
    elsewhere = entry.password == "elsewhere"  # noqa: S105 - a state, not a password
    starred = entry.password == "locked"  # noqa: S105 - a state, not a password
    if elsewhere or (starred and shadow is not None):
        if shadow is not None:
            return _own(shadow), shadow.scheme, shadow
        return ("unknown" if unknown else "missing"), None, None
    return _own(entry), entry.scheme, None


def _exists(tree: Tree, shell: str) -> bool | None:
    """Tell whether a shell is a file of the tree; None if its directory is not in the tree either."""
    if not shell.startswith("/"):
        return None
    file = tree.lookup(shell)
    if file is not None:
        return file.type in ("regular", "hardlink")
    return False if tree.lookup(shell.rsplit("/", 1)[0] or "/") is not None else None


def _keys(tree: Tree, home: str | None, root: bool) -> int:
    places = []
    if home and home.startswith("/"):
        home = home.rstrip("/")
        places += [f"{home}/.ssh/authorized_keys", f"{home}/.ssh/authorized_keys2"]
    if root:
        places.append("/etc/dropbear/authorized_keys")
    files = [file for file in map(tree.lookup, places) if file is not None]
    by_content = {file.content: file for file in files if file.content is not None}
    return sum(
        sum(1 for fact in tree.facts(Credential, file) if fact.kind == "authorized-key") for file in by_content.values()
    )


ACCOUNTS = TreeInspector(name="accounts", version=1, families=(Account,), inspect=accounts)
