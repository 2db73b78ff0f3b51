"""Accounts of web servers and directories in text files of their own: htpasswd, htdigest, LDIF, UCI.

Reference: htpasswd(1), htdigest(1); RFC 2849 (LDIF), RFC 2307, slapd.conf(5) (rootpw), slapd-config(5) (olcRootPW);
OpenWrt, "UCI defaults" and rpcd (/etc/config/rpcd), uHTTPd realms are named by its own configuration.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from assay.facts.access import KnownPassword, ProductAccount

from .account_entry import Entry, facts
from .base import Content, ContentInspector
from .late import late
from .password_format import Password, read

MAX_BYTES = 16 << 20

_HASHED = rb"\$(?:apr1|1|2[abxy]|5|6|y|7)\$|\{SHA\}|\{SSHA\}|\{CRYPT\}"
_HTPASSWD = late(
    rb"(?:#[^\n]{0,200}\n|\r?\n){0,8}[^\s:#{}\[\]$/\\\"']{1,64}:(?:" + _HASHED + rb")[^:\s]{8,200}\r?(?:\n|\Z)"
)
_HTDIGEST = late(rb"[^\s:#]{1,64}:[^:\n]{1,128}:[0-9a-f]{32}\r?(?:\n|\Z)")
_LDIF = late(rb"(?:#[^\n]{0,200}\n|\r?\n|version: ?1\r?\n){0,32}dn::? ")
_HTPASSWD_LINE = late(rb"([^\s:#][^:\r\n]{0,254}):([^:\r\n]*)(?::[^\r\n]*)?")
_HTDIGEST_LINE = late(rb"([^\s:#][^:\r\n]{0,254}):([^:\r\n]{1,255}):([0-9a-f]{32})")


def _lines(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        yield number, offset, line.rstrip(b"\r")
        offset += len(line) + 1


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def htpasswd(data: bytes) -> Iterator[Entry]:
    """Yield the accounts of a password file of a web server: `name:hash`, further fields left alone."""
    for number, offset, line in _lines(data):
        match = _HTPASSWD_LINE.fullmatch(line)
        if match:
            password = read(_text(match[2]), short=True)
            yield Entry("htpasswd", None, _text(match[1]), password, offset=offset, line=number)


def htdigest(data: bytes) -> Iterator[Entry]:
    """Yield the accounts of a digest file: `name:realm:MD5(name:realm:password)`."""
    for number, offset, line in _lines(data):
        match = _HTDIGEST_LINE.fullmatch(line)
        if match:
            realm, password = _text(match[2]), Password("hash", "htdigest", _text(match[3]))
            yield Entry("htdigest", realm, _text(match[1]), password, offset=offset, line=number, realm=realm)


_PASSWORD_ATTRIBUTES = {"userpassword": "uid", "olcrootpw": "olcrootdn", "rootpw": "rootdn"}


def ldif(data: bytes) -> Iterator[Entry]:
    """Yield the entries that have a password attribute: named by `uid` or `cn`, else by their distinguished name."""
    attributes: dict[str, list[str]] = {}
    places: dict[str, tuple[int, int]] = {}
    held: tuple[int, int, bytes] | None = None
    for number, offset, line in [*_lines(data), (0, len(data), b"")]:
        if line[:1] == b" " and held is not None:
            if len(held[2]) < 65536:
                held = (*held[:2], held[2] + line[1:])
            continue
        if held is not None:
            _attribute(held, attributes, places)
        held = None if line[:1] == b"#" or not line else (number, offset, line)
        if not line:
            yield from _ldif_entry(attributes, places)
            attributes, places = {}, {}


def _attribute(
    held: tuple[int, int, bytes], attributes: dict[str, list[str]], places: dict[str, tuple[int, int]]
) -> None:
    number, offset, line = held
    name, colon, value = line.partition(b":")
    if not colon:
        return
    if value[:1] == b":":
        try:
            value = base64.b64decode(value[1:].strip())
        except ValueError:
            value = value[1:]
    elif value[:1] == b"<":  # the value stands in a file that is named
        return
    key = _text(name).lower().partition(";")[0]
    values = attributes.setdefault(key, [])
    if len(values) < 100:
        values.append(_text(value.lstrip(b" ")))
    places.setdefault(key, (offset, number))


def _ldif_entry(attributes: dict[str, list[str]], places: dict[str, tuple[int, int]]) -> Iterator[Entry]:
    dn = attributes.get("dn", [""])[0]
    for key, naming in _PASSWORD_ATTRIBUTES.items():
        for value in attributes.get(key, ()):
            name = next((attributes[at][0] for at in (naming, "uid", "cn", "samaccountname") if at in attributes), dn)
            groups = attributes.get("memberof")
            yield Entry(
                "ldif",
                dn or None,
                name,
                read(value),
                ", ".join(groups[:20]) if groups else None,
                offset=places[key][0],
                line=places[key][1],
            )


_UCI_LINE = late(r"\s*(config|option|list)\s+(\S+?)(?:\s+(?:'([^']*)'|\"([^\"]*)\"|(\S+)))?\s*(?:#.*)?")


def uci(data: bytes) -> Iterator[Entry]:
    """Yield the sections of a UCI file that have a user's name and a password: rpcd's `login`, and the like.

    A password `$p$name` stands for that of the system account `name`: its state is unknown here.
    """
    section: tuple[str, int, int] | None = None
    values: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for number, offset, line in [*_lines(data), (0, 0, b"config end")]:
        match = _UCI_LINE.fullmatch(_text(line[:4096]))
        if match is None:
            continue
        value = match[3] or match[4] or match[5] or ""
        if match[1] == "option":
            values[match[2]] = value
        elif match[1] == "list":
            lists.setdefault(match[2], []).append(value)
        else:
            name = values.get("username", values.get("user"))
            if section and name is not None and "password" in values:
                text = values["password"]
                rights = [f"{key} {', '.join(lists[key][:20])}" for key in ("read", "write") if key in lists]
                password = Password("unknown") if text.startswith("$p$") else read(text)
                yield Entry(
                    "uci", section[0], name, password, "; ".join(rights) or None, offset=section[2], line=section[1]
                )
            section, values, lists = (match[2], number, offset), {}, {}


def _is_text_store(head: bytes) -> bool:
    first = head[:1]
    if first in b"{[<\x7f/;" or head[:2] == b"#!" or (first not in b"#\r\n" and b":" not in head[:66]):
        return False
    return bool(_HTPASSWD.match(head) or _HTDIGEST.match(head) or _LDIF.match(head))


def _is_named(path: str) -> bool:
    return "htpasswd" in path or "htdigest" in path or path.endswith((".ldif", "/etc/config/rpcd"))


def inspect(content: Content) -> Iterator[ProductAccount | KnownPassword]:
    """Yield the accounts of a store, then which of their passwords are known ones.

    Raises:
        LimitReached, Unsupported: as `account_entry.facts` says.
    """
    data, head = bytes(content.data[:MAX_BYTES]), content.head
    if _LDIF.match(head):
        entries = ldif(data)
    elif _HTDIGEST.match(head):
        entries = htdigest(data)
    elif head.lstrip()[:7] == b"config " or b"\nconfig " in head[:4096]:
        entries = uci(data)
    elif content.kind != "script":
        entries = htpasswd(data)
    else:
        return
    yield from facts(entries, data)


INSPECTOR = ContentInspector(
    name="product-accounts",
    version=1,
    families=(ProductAccount, KnownPassword),
    inspect=inspect,
    path_has=("htpasswd", "htdigest", ".ldif", "/etc/config/rpcd"),
    wants_path=_is_named,
    wants_head=_is_text_store,
    max_size=MAX_BYTES,
    text_only=True,
    unseen=(
        "password files that begin with neither a hash of a usual scheme nor a name that says htpasswd",
        "values of LDIF that stand in another file (attribute:< file:...), and LDIF change records",
    ),
)
