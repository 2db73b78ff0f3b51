"""Password hashes, recognised by their shape alone.

Reference: crypt(5) of libxcrypt; for apr1, the password formats of the Apache HTTP Server.
"""

from __future__ import annotations

from .late import late

_ALPHABET = r"[./0-9A-Za-z]"

SHAPES = {
    "md5crypt": rf"\$1\$[^$:\s]{{0,8}}\${_ALPHABET}{{22}}",
    "apr1": rf"\$apr1\$[^$:\s]{{0,8}}\${_ALPHABET}{{22}}",
    "bcrypt": rf"\$2[abxy]\$[0-9]{{2}}\${_ALPHABET}{{53}}",
    "nt": r"\$3\$\$[0-9a-f]{32}",
    "sha256crypt": rf"\$5\$(?:rounds=[1-9][0-9]{{0,8}}\$)?[^$:\s]{{0,16}}\${_ALPHABET}{{43}}",
    "sha512crypt": rf"\$6\$(?:rounds=[1-9][0-9]{{0,8}}\$)?[^$:\s]{{0,16}}\${_ALPHABET}{{86}}",
    "scrypt": rf"\$7\${_ALPHABET}{{11,97}}\${_ALPHABET}{{43}}",
    "yescrypt": rf"\$y\${_ALPHABET}{{1,16}}\${_ALPHABET}{{0,86}}\${_ALPHABET}{{43}}",
    "gost-yescrypt": rf"\$gy\${_ALPHABET}{{1,16}}\${_ALPHABET}{{0,86}}\${_ALPHABET}{{43}}",
    "sunmd5": rf"\$md5(?:,rounds=[1-9][0-9]{{0,9}})?\${_ALPHABET}{{0,8}}\${{1,2}}{_ALPHABET}{{22}}",
}
"""Hashes that name their scheme, as regular expressions of text."""

_FIELD = late(
    "|".join(
        [
            *(f"(?P<{name.replace('-', '_')}>{shape})" for name, shape in SHAPES.items()),
            rf"(?P<bsdicrypt>_{_ALPHABET}{{19}})",
            rf"(?P<descrypt>{_ALPHABET}{{13}})",
            r"(?P<unknown>\$[0-9A-Za-z][0-9A-Za-z,=_-]{0,31}\$[!-9;-~]{8,512})",
        ]
    )
)
_KNOWN = late(r"\$(?:1|apr1|2[abxy]|3|5|6|7|y|gy|md5)[$,]")


def scheme(text: str) -> str | None:
    """Return the scheme of a password field's hash; "unknown" for `$other$...`; None if it has no hash's shape."""
    match = _FIELD.fullmatch(text)
    if match is None or match.lastgroup is None:
        return None
    if match.lastgroup == "unknown" and _KNOWN.match(text):
        return None  # the prefix of a scheme, without its shape: no password can match it
    return match.lastgroup.replace("_", "-")
