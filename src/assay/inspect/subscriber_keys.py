"""Keys of subscribers (K, OP, OPc) in configurations, seeds and scripts: 128 bits in hexadecimal beside an identity.

Looked at: any text. Two forms are found: a name of such a key with its value (`opc: ...`, `"permanentKeyValue": "..."`)
in a text that speaks of subscribers near it; and a line of a table in which 14 or 15 digits stand before one or two
values of 32 hexadecimal digits (INSERT, CSV), in a text that speaks of authentication. The facts hold fingerprints, and
neither keys nor identities. Source: 3GPP TS 35.206 (OP, OPc), TS 33.102 6.3 (K), TS 23.003 2.2 (IMSI); names as in
Open5GS, free5GC, OpenAirInterface, srsRAN, UERANSIM, Osmocom and PyHSS.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from assay.facts.access import Credential
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector, Expression, numbered
from .late import late
from .scan import MAX_HITS

MAX_FACTS = 10_000
"""Keys from one content."""
NEAR = 2048
"""Bytes on either side in which a text has to speak of subscribers."""
LINE = 4096
"""Bytes of a line that are looked at."""
HEADER = 8192
"""Bytes before a row in which its table's columns may be named."""

SCHEMES = {
    "k": "K",
    "ki": "K",
    "key": "K",
    "usim_key": "K",
    "usim_ki": "K",
    "permanentkey": "K",
    "permanentkeyvalue": "K",
    "encpermanentkey": "K",
    "op": "OP",
    "opvalue": "OP",
    "op_key": "OP",
    "operator_key": "OP",
    "opc": "OPc",
    "opcvalue": "OPc",
    "opc_key": "OPc",
    "encopckey": "OPc",
    "enctopckey": "OPc",
}
"""Names of keys in lower case, and what they are."""

_NAMES = "|".join(sorted(SCHEMES, key=len, reverse=True))
_VALUE = r"[0-9a-f]{2}(?:[ ]?[0-9a-f]{2}){15}"

_NAMED = late(
    rf"(?<![\w-])(?P<name>{_NAMES})[\"']?\s{{0,16}}(?::|=>?|,)\s{{0,16}}[\"']?(?:0x)?(?P<key>{_VALUE})(?![0-9a-f])",
    re.IGNORECASE,
)
_ABOUT = late(rb"\bimsi|\bsupi|usim|msisdn|milenage|permanent.?key", re.IGNORECASE)
USUAL = frozenset({"k", "ki", "key", "op", "opc", "op_key", "opc_key"})
"""Names that are also used for other things: the text has to speak of subscribers."""
_ROW = late(r"(?<!\d)\d{14,15}(?!\d)")
_HEXADECIMAL = late(r"(?<![0-9A-Za-z])(?:0x)?([0-9A-Fa-f]{32})(?![0-9A-Za-z])")
_AUTHENTICATION = late(rb"milenage|\bopc\b|\bauc|5g_aka|permanent.?key|\bimsi\b|\busers\b|\bxor\b")
"""In small letters."""
_WORDS = (b"milenage", b"opc", b"auc", b"5g_aka", b"permanent", b"imsi", b"users", b"xor")
"""One of them is in whatever that finds."""
_COLUMNS = late(r"INSERT\s+INTO\s+[`\"\w.]+\s*\(([^()]{1,2000})\)\s*VALUES", re.IGNORECASE)
_FIELD = late(r"'(?:[^'\\]|''|\\.)*+'|\"(?:[^\"\\]|\\.)*+\"|[^\s,()'\"]+")

EXPRESSIONS = (
    Expression(
        rb"(?:permanent_?key(?:value)?|opc?(?:value|_key|key)?|operator_key|usim_ki?|\bki?|\bkey)[\"']?\s{0,16}"
        rb"(?::|=>?|,)\s{0,16}[\"']?(?:0x)?[0-9a-f]{2} ?[0-9a-f]{2}",
        caseless=True,
    ),
    # Both stand alone: in a long text of hexadecimal digits, nothing does.
    Expression(
        rb"(?:^|[^0-9A-Za-z])[0-9]{14,15}[^0-9A-Za-z\n](?:[^\n]{0,160}[^0-9A-Za-z\n])?(?:0x)?[0-9A-Fa-f]{32}"
        rb"(?:[^0-9A-Za-z]|$)"
    ),
)
NAME, TABLE = range(2)


def inspect(content: Content) -> Iterator[Credential]:
    """Yield the keys found, in order of place.

    Raises:
        LimitReached: more places or keys than one content may have; the first ones stand.
    """
    places, cut = content.hits
    found: dict[int, Credential] = {}
    lines: set[int] = set()
    for end, expression in places:
        if expression == NAME:
            _named(content, end, found)
        else:
            window = max(0, end - 1 - LINE)
            begins = bytes(content.data[window : end - 1]).rfind(b"\n")
            # Of a longer line, a piece that is the same for all places in it that are near each other.
            start = window + begins + 1 if begins >= 0 else window // (LINE // 2) * (LINE // 2)
            if start not in lines:
                lines.add(start)
                _row(content, start, found)
        if len(found) >= MAX_FACTS:
            cut = True
            break
    yield from numbered(content, [found[at] for at in sorted(found)])
    if cut:
        raise LimitReached("subscriber keys", MAX_FACTS if len(found) >= MAX_FACTS else MAX_HITS)


def _named(content: Content, end: int, found: dict[int, Credential]) -> None:
    start = max(0, end - 96)
    text = bytes(content.data[start : end + 64]).decode("latin-1")
    for match in _NAMED.finditer(text):
        at = start + match.start("key")
        if at <= end < start + match.end() + 1 and at not in found:
            around = bytes(content.data[max(0, at - NEAR) : at]) + bytes(content.data[start + match.end() : at + NEAR])
            name = match["name"].lower()
            if name not in USUAL or _ABOUT.search(around):
                found[at] = _credential(at, match["key"], SCHEMES[name], "field")


def _row(content: Content, start: int, found: dict[int, Credential]) -> None:
    raw = bytes(content.data[start : start + 2 * LINE])
    line = raw.partition(b"\n")[0].decode("latin-1")
    identity = _ROW.search(line)
    keys = [match for match in _HEXADECIMAL.finditer(line) if identity and match.start() > identity.end()]
    before = bytes(content.data[max(0, start - HEADER) : start])
    if not keys or not (_authenticates(raw.partition(b"\n")[0]) or _authenticates(before)):
        return
    names = _columns(before.decode("latin-1") + line)
    for match in keys:
        at = start + match.start(1)
        scheme = "milenage"
        if names:
            row = line.rfind("(", 0, match.start()) + 1
            position = len(_FIELD.findall(line[row : match.start()].removesuffix("0x")))
            scheme = SCHEMES.get(names[position], "") if position < len(names) else ""
        if scheme and at not in found:
            found[at] = _credential(at, match[1], scheme, "pattern")


def _authenticates(text: bytes) -> bool:
    """Tell whether a text speaks of authentication."""
    small = text.lower()
    return any(word in small for word in _WORDS) and _AUTHENTICATION.search(small) is not None


def _columns(text: str) -> list[str]:
    """Return the columns of the last INSERT of a text (Latin-1) that names them, in lower case."""
    small = text.lower()
    at = small.rfind("insert")
    while at >= 0:
        if found := _COLUMNS.match(text, at):
            return [name.strip(" `\"'\n\t").lower() for name in found[1].split(",")]
        at = small.rfind("insert", 0, at)
    return []


def _credential(at: int, key: str, scheme: str, evidence: str) -> Credential:
    return Credential(
        offset=at,
        kind="subscriber-key",
        scheme=scheme,
        fingerprint=hashlib.sha256(key.encode()).hexdigest(),
        bits=128,
        encrypted=False,
        evidence=evidence,
    )


INSPECTOR = ContentInspector(
    name="subscriber-keys",
    version=1,
    families=(Credential,),
    inspect=inspect,
    text_only=True,
    only_hits=True,
    expressions=EXPRESSIONS,
    unseen=(
        "keys in databases and dumps that are no text (MongoDB, SQLite, MySQL)",
        "keys of 256 bits, and keys in other notations than hexadecimal (base64)",
        "keys that are encrypted under a transport key: they look the same, and are shown as they stand",
    ),
)
