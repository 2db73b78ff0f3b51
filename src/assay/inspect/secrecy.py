"""Keep secrets of command lines and assignments out of the facts."""

from __future__ import annotations

import re

from .late import late

WITHHELD = "[withheld]"

_NAME = r"(?:passw(?:or)?d|passphrase|secret|token|api[-_]?key|credentials?|(?<![^\W_])(?:pass|pw|psk))"
_VALUE = r"""("[^"]*"|'[^']*'|[^\s"',;]+)"""

_HINT = late(r"pass|pw|secret|token|key|psk|credential|://|user(?:add|mod) ", re.IGNORECASE)

# Repetition is bounded and anchored at a word's start, so that time stays linear on any input.
_SECRETS = (
    late(rf"((?<!\S)--?[\w-]{{0,64}}?{_NAME}[\s=]+){_VALUE}", re.IGNORECASE),
    late(rf"((?<![\w.-])[\w.-]{{0,64}}?{_NAME}\s{{0,4}}[=:]\s{{0,4}}){_VALUE}", re.IGNORECASE),
    late(r"(://[^\s/:@]{0,256}:)([^\s/@]{1,256})(?=@)"),
    late(
        r"(\b(?:echo|printf)\s{1,4}(?:-\w{1,3}\s{1,4})?[\"']?[\w.-]{1,32}:)([^\s\"'|]{1,128})(?=[^|\n]{0,40}\|[^|\n]{0,60}chpasswd)"
    ),
    late(r"(\bprintf\s{1,4}\S{1,20}\s{1,4}\S{1,34}\s{1,4})([^\s|]{1,128})(?=\s{0,4}\|[^|\n]{0,60}chpasswd)"),
    late(rf"(\buser(?:add|mod)\s[^\n;|&]{{0,200}}?(?<!\S)-p\s{{1,4}})(?![$`]){_VALUE}"),
    late(
        rf"(\bopenssl\s{{1,4}}passwd\s{{1,4}}(?:-salt\s{{1,4}}\S{{1,40}}\s{{1,4}}|-\S{{1,20}}\s{{1,4}}){{0,6}})(?!-){_VALUE}"
    ),
)


def withhold(text: str) -> str:
    """Return the text with what stands as a secret's value replaced by a mark.

    A value stands as a secret after an option or variable named as one (--password x, API_TOKEN=x), between user and
    host of an address (scheme://user:x@host), and where a command is given it that sets passwords (echo user:x |
    chpasswd, usermod -p x, openssl passwd x).
    """
    if _HINT.search(text) is None:
        return text
    for pattern in _SECRETS:
        text = pattern.sub(rf"\1{WITHHELD}", text)
    return text
