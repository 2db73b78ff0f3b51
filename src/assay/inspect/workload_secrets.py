"""Secrets that workloads carry in the clear: environment variables, Secret objects, build arguments."""

from __future__ import annotations

import hashlib
import re

from assay.facts.access import Credential

from .known_passwords import Secret
from .late import late
from .password_format import read

_NAME = late(
    r"passw(?:or)?d|passphrase|secret|token|api[-_.]?key|private[-_.]?key|access[-_.]?key|credential"
    r"|(?:^|[-_.])(?:pass|pwd|psk|pw)(?:$|[-_.])",
    re.IGNORECASE,
)
_POINTER = late(
    r"(?i:[-_.](?:file|path|dir|name|ref|url|uri|host|port|length|len|type|policy|expir\w*|ttl|age|timeout|enabled|count"
    r"|issuer|algorithm|id|username|user|store|backend|class|namespace|key))$|(?:File|Path|Name|Ref|Type|Policy|Enabled)$"
    r"|(?i:existing|pull)[-_]?(?i:secrets?)$"
)
"""Names that say where a secret lies, or how secrets are made, rather than hold one."""
_PLACEHOLDER = late(r"[${}<>]|%\(|\A(?:true|false|yes|no|null|none)?\Z|\A/[\w.-]+(?:/[\w.-]+)+\Z", re.IGNORECASE)


def says_secret(name: str) -> bool:
    """Tell whether a variable's or key's name says that its value is a secret, rather than where one lies."""
    if _NAME.search(name) is None:
        return False
    return not _POINTER.search(name) or name.lower().endswith(("_key", "-key", ".key"))


def is_literal(value: str) -> bool:
    """Tell a value from a place to put one (${PASSWORD}, <password>), the path of one, a switch or nothing."""
    return not _PLACEHOLDER.search(value)


def credential(scheme: str, subject: str, value: str | bytes, line: int | None) -> Credential:
    """Return a secret that stands in the clear.

    Args:
        scheme: what carries it: environment, kubernetes-secret, ...
        subject: name of the variable, or of the object and key.
        value: the secret.
        line: of the place.
    """
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    return Credential(
        kind="secret",
        scheme=scheme,
        fingerprint=hashlib.sha256(data).hexdigest(),
        subject=subject[:300],
        evidence="field",
        line=line,
    )


def tried(account: str, value: str, line: int | None) -> Secret | None:
    """Return a clear value as a password to look for on the list; None if it is none that could be there."""
    return Secret(account, "clear", value, None, line) if read(value).state == "clear" else None
