"""What a password field of an application says: nothing, a password in the clear, or a hash of a known shape.

Wider than `crypt_format`, whose schemes are those of operating systems. A hexadecimal text as long as a digest names no
scheme; it is told by its length (hex-128), for nothing more was seen.

Reference: htpasswd(1); RFC 2307 and OpenLDAP, slapd.conf(5), for {SCHEME}; Django, "Password management"; Werkzeug,
security.generate_password_hash; PostgreSQL and MySQL manuals, password hashes; PHC string format.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .crypt_format import scheme as crypt_scheme
from .late import late


class Password(NamedTuple):
    """A password field."""

    state: str
    """As in `ProductAccount.password`: empty, clear, hash, locked, unknown."""
    scheme: str | None = None
    text: str | None = None
    """The exact secret, without a prefix that says it is in the clear; None where there is none."""


_BRACED = late(r"\{([A-Za-z0-9_.-]{2,32})\}(.*)", re.DOTALL)
_CLEAR = {"cleartext", "clear", "plain", "noop"}
_SHAPES = (
    ("pbkdf2", late(r"pbkdf2[_:](?:sha1|sha256|sha512)[$:][0-9]{1,9}\$[^$\s]{0,128}\$[A-Za-z0-9+/=]{16,256}")),
    ("pbkdf2", late(r"\$pbkdf2(?:-sha256|-sha512)?\$[0-9]{1,9}\$[A-Za-z0-9./]{0,128}\$[A-Za-z0-9./]{16,256}")),
    ("scrypt-phc", late(r"scrypt:[0-9]{1,9}:[0-9]{1,4}:[0-9]{1,4}\$[^$\s]{0,128}\$[0-9a-f]{32,256}")),
    ("argon2", late(r"(?:argon2)?\$argon2(?:id|i|d)\$[!-~]{16,512}")),
    ("bcrypt-sha256", late(r"bcrypt(?:_sha256)?\$\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}")),
    ("phpass", late(r"\$[PH]\$[./0-9A-Za-z]{31}")),
    ("scram", late(r"SCRAM-SHA-(?:1|256|512)\$[0-9]{1,9}:[!-~]{16,512}")),
    ("salted-hex", late(r"(?:md5|sha1|sha256|sha512)\$[^$\s]{0,64}\$[0-9a-f]{32,128}")),
    ("mysql41", late(r"\*[0-9A-F]{40}")),
    ("postgres-md5", late(r"md5[0-9a-f]{32}")),
)
_HEX = late(r"(?:[0-9a-f]+|[0-9A-F]+)")
_DIGEST_LENGTHS = {32, 40, 56, 64, 96, 128}
_LONG = late(r"[A-Za-z0-9+/=_-]{40,}")
_LOCKED = late(r"[!*]{1,2}(?:LK\*?|NP\*?|disabled)?|![A-Za-z0-9]{40}")
_TEMPLATE = late(r"[${}<>]|%[({sd]|\A(.)\1{3,}\Z|\A\.\.\.\Z")


def read(text: str, *, short: bool = False) -> Password:
    """Tell what a field holds.

    Args:
        text: the field, as it stands.
        short: also take thirteen characters for a traditional hash (crypt(3)): in a file that holds hashes only.
    """
    if not text:
        return Password("empty")
    if _LOCKED.fullmatch(text):
        return Password("locked")
    found = crypt_scheme(text)
    if found is not None and (short or found not in ("descrypt", "bsdicrypt")):
        return Password("hash", found, text)
    braced = _BRACED.fullmatch(text)
    if braced and braced[2]:
        name = braced[1].lower()
        if name in _CLEAR:
            return Password("clear", None, braced[2])
        if name == "crypt":
            return Password("hash", crypt_scheme(braced[2]) or "unknown", braced[2])
        return Password("hash", f"ldap-{name}", text)
    for name, shape in _SHAPES:
        if shape.fullmatch(text):
            return Password("hash", name, text)
    if len(text) in _DIGEST_LENGTHS and _HEX.fullmatch(text):
        return Password("hash", f"hex-{len(text) * 4}", text)
    if len(text) >= 40 and (text[0] == "$" or _LONG.fullmatch(text) or _HEX.fullmatch(text)):
        return Password("unknown", None, text)
    if _TEMPLATE.search(text) or len(text) > 256:
        return Password("unknown")  # a place to put a password: ${PASSWORD}, <password>, ****
    return Password("clear", None, text)
