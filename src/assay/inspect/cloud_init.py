"""cloud-init: the accounts, passwords and keys that a machine is given at first boot, and what else its files set.

Source: cloud-init 24.4 documentation, "User-data formats", modules Users and Groups, Set Passwords, SSH; cloud.cfg(5).
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from assay.facts import ContentFact
from assay.facts.access import Credential, KnownPassword, ProductAccount
from assay.facts.service import Directive

from . import yaml_format, yaml_values
from .account_entry import Entry, facts
from .base import Content, ContentInspector
from .password_format import Password, read
from .secrecy import WITHHELD, withhold
from .ssh_format import describe
from .workload_secrets import says_secret
from .yaml_values import at, flag, items, line, mapping, scalar

DIALECT = "cloud-init"
_SECRET_KEYS = {"passwd", "hashed_passwd", "plain_text_passwd", "password", "list"}
"""Keys of accounts whose values are secrets; `list` is that of chpasswd."""


def inspect(content: Content) -> Iterator[ContentFact]:
    """Yield each value as a directive (secrets withheld), the accounts with the state of their passwords, and the keys.

    Raises:
        ValueError: the text is not YAML: a template of Jinja, perhaps.
        LimitReached, Unsupported: as `account_entry.facts` says.
    """
    data = bytes(content.data)
    roots = []
    for document in yaml_format.documents(content.text()):
        for path, node, number in yaml_format.flatten(document):
            names = [part for part in path if isinstance(part, str)]
            last = names[-1] if names else ""
            hidden = last in _SECRET_KEYS or says_secret(last) or "authorized" in last or "ssh_keys" in names
            key = yaml_format.dotted(path)
            value = WITHHELD if hidden and node.value else withhold(node.value[:1000])
            yield Directive(dialect=DIALECT, key=key[:300], value=value, line=number)
        roots.append(yaml_values.value(document))
    for root in roots:
        yield from _keys(root)
    yield from facts((entry for root in roots for entry in _accounts(root)), data)


def _accounts(root: object) -> Iterator[Entry]:
    default = mapping(at(root, "system_info", "default_user"))
    top = scalar(at(root, "password"))
    if default or top is not None:
        password = read(top) if top is not None else _password(default)
        yield _entry(default, scalar(default.get("name")) or "", password, line(at(root, "password")) or line(default))
    for user in items(at(root, "users")):
        if isinstance(user, dict):
            yield _entry(user, scalar(user.get("name")) or "", _password(user), line(user))
    change = at(root, "chpasswd")
    for user in items(at(change, "users")):
        text = scalar(at(user, "password"))
        generated = (scalar(at(user, "type")) or "").upper() == "RANDOM"
        password = Password("unknown") if generated or text is None else read(text)
        yield Entry("cloud-init", "chpasswd", scalar(at(user, "name")) or "", password, line=line(user))
    listed = at(change, "list")
    lines = listed if isinstance(listed, list) else (scalar(listed) or "").splitlines()
    for number, entry in enumerate(lines):
        name, colon, text = (scalar(entry) or "").partition(":")
        if colon:
            password = Password("unknown") if text in ("R", "RANDOM") else read(text)
            # A block of text begins on the line of its mark; its lines follow.
            place = line(entry) if isinstance(listed, list) else (line(listed) or 0) + 1 + number
            yield Entry("cloud-init", "chpasswd", name, password, line=place)


def _password(user: dict[str, Any]) -> Password:
    """Return the state of the password of a user's own keys."""
    for key in ("hashed_passwd", "passwd", "plain_text_passwd"):
        text = scalar(user.get(key))
        if text is not None:
            found = Password("clear", None, text) if key == "plain_text_passwd" and text else read(text)
            return found._replace(state="locked") if flag(user.get("lock_passwd")) and found.text else found
    return Password("absent")


def _entry(user: dict[str, Any], name: str, password: Password, place: int | None) -> Entry:
    groups = user.get("groups")
    rights = [text for item in items(groups) if (text := scalar(item))] or [text for text in [scalar(groups)] if text]
    sudo = user.get("sudo")
    rights += [f"sudo {text}" for item in [sudo, *items(sudo)] if (text := scalar(item))]
    return Entry("cloud-init", "users", name, password, ", ".join(rights)[:300] or None, line=place)


def _keys(root: object) -> Iterator[Credential]:
    holders = [("", root), ("", at(root, "system_info", "default_user"))]
    holders += [(scalar(at(user, "name")) or "", user) for user in items(at(root, "users"))]
    for name, holder in holders:
        for key in ("ssh_authorized_keys", "ssh-authorized-keys"):
            for entry in items(at(holder, key)):
                found = _key(scalar(entry) or "", name, line(entry))
                if found is not None:
                    yield found


def _key(text: str, name: str, place: int | None) -> Credential | None:
    words = text.split()
    for kind, encoded in pairwise(words):
        if not kind.startswith(("ssh-", "ecdsa-", "sk-")):
            continue
        try:
            blob = binascii.a2b_base64(encoded)
        except binascii.Error:
            continue
        key = describe(blob)
        if key is not None:
            return Credential(
                kind="authorized-key",
                scheme=key.scheme,
                fingerprint=hashlib.sha256(blob).hexdigest(),
                bits=key.bits,
                subject=name or None,
                line=place,
            )
    return None


def prepare() -> None:
    """Load what parsing needs, before workers are forked and confined."""
    yaml_format.prepare()


def _is_named(path: str) -> bool:
    return "/cloud" in path and (
        path.endswith("/etc/cloud/cloud.cfg")
        or "/etc/cloud/cloud.cfg.d/" in path
        or ("/var/lib/cloud/" in path and "user-data" in path)
    )


INSPECTOR = ContentInspector(
    name="cloud-init",
    version=1,
    families=(Directive, Credential, ProductAccount, KnownPassword),
    inspect=inspect,
    path_has=("/cloud",),
    head_begins=(b"#cloud-config", b"## template: jinja"),
    wants_path=_is_named,
    wants_head=lambda head: head.startswith((b"#cloud-config", b"## template: jinja\n#cloud-config")),
    max_size=yaml_format.MAX_TEXT,
    text_only=True,
    unseen=(
        "data that a cloud gives at boot, keys fetched by ssh_import_id, and files named by include",
        "how several files merge: each is told as it stands; multi-part and compressed user data",
    ),
)
