"""Algorithms of JSON web tokens that code and configuration name, where the words around show that tokens are meant.

Reference: RFC 7515 section 4.1.1 ("alg"), RFC 7518 section 3.1, RFC 8037 (EdDSA), RFC 8812 (ES256K).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.crypto import TokenAlgorithm
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector, Expression, numbered
from .late import late

MAX_FACTS = 2_000
BEFORE = 200
"""Bytes before an algorithm in which the word that gives it its meaning is looked for."""

_NAMED = rb"(?:[HRPE]S(?:256|384|512)|ES256K|EdDSA)"
_KEY = rb"""alg(?:orithms?)?['"]?\s{0,4}[:=]\s{0,4}"""
_CONTEXT = late(
    rb"(?<![A-Za-z])((?:[A-Za-z_.-]{0,40}[_.-])?(?:algs?|algorithms?|(?:jws|jwt|jwk|jose)[A-Za-z]{0,24})"
    rb"(?:[_.-][A-Za-z_.-]{0,24})?)(?![A-Za-z])",
    re.IGNORECASE,
)
_ALGORITHM = late(rb"""['"=:\s\[,](""" + _NAMED + rb"""|none)\Z""", re.IGNORECASE)

ENDINGS = (
    ".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".properties", ".xml", ".env",
    ".py", ".js", ".mjs", ".ts", ".go", ".java", ".lua", ".php", ".rb", ".sh",
)  # fmt: skip


def inspect(content: Content) -> Iterator[TokenAlgorithm]:
    """Yield each place.

    Raises:
        LimitReached: there are more places than are told.
    """
    found: list[TokenAlgorithm] = []
    for end, _ in content.hits.places:
        begin = max(0, end - BEFORE)
        window = bytes(content.data[begin:end]).rstrip(b"'\"")
        algorithm = _ALGORITHM.search(window)
        if algorithm is None:
            continue
        # The key on this line, or the last one of a list that goes over several.
        near = window[max(window.rfind(b";", 0, algorithm.start()), window.rfind(b"}", 0, algorithm.start())) + 1 :]
        contexts = [m for m in _CONTEXT.finditer(near) if m.end() <= len(near) - len(algorithm[1])]
        if not contexts:
            continue
        name = algorithm[1].decode("ascii")
        found.append(
            TokenAlgorithm(
                offset=begin + algorithm.start(1),
                algorithm="none" if name.lower() == "none" else name,
                context=contexts[-1][1].decode("ascii", "backslashreplace"),
            )
        )
        if len(found) > MAX_FACTS:
            break
    yield from numbered(content, found[:MAX_FACTS])
    if content.hits.cut or len(found) > MAX_FACTS:
        raise LimitReached("token algorithms", MAX_FACTS)


INSPECTOR = ContentInspector(
    name="token_algorithms",
    version=1,
    families=(TokenAlgorithm,),
    inspect=inspect,
    path_has=(".",),
    head_begins=(b"#!",),
    text_only=True,
    max_size=16 << 20,
    wants_head=lambda head: head[:2] == b"#!",
    wants_path=lambda path: path.endswith(ENDINGS),
    only_hits=True,
    expressions=(
        Expression(rb"""['"]""" + _NAMED + rb"""['"]"""),
        Expression(_KEY + rb"(?:none|" + _NAMED + rb")(?:\s|$)", caseless=True),
        Expression(_KEY + rb"""['"]none['"]""", caseless=True),
        Expression(_KEY + rb"""[\[(][^\])]{0,80}['"]none['"]""", caseless=True),
    ),
    unseen=("algorithms that a library allows when none is named", "names that are put together at run time"),
)
