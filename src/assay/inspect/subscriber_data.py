"""Places where a subscriber's or device's identity is written or kept: formats of logs, columns, identities in clear.

A format is a text that names an identity and has a place for it behind the name. An identity in clear is a number that
can be one (mobile country code, check digit, length) and stands behind its name. Of a number, only a hash is told.

Source: 3GPP TS 23.003 (IMSI 2.2, SUPI 2.2A, SUCI 2.2B, IMEI 6.2, GPSI 28.8, PEI 6.4), ITU-T E.164, E.212 and E.118.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache

from assay.facts.privacy import SubscriberSink
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector, Expression, numbered
from .late import late
from .scan import MAX_HITS
from .secrecy import withhold

MAX_FACTS = 2_000
MAX_TEXT = 200
REACH = 160
"""Bytes before the end of a trigger in which its name stands."""

NAMES = {
    "imsi": "imsi",
    "supi": "supi",
    "suci": "suci",
    "msisdn": "msisdn",
    "gpsi": "gpsi",
    "imeisv": "imei",
    "imei": "imei",
    "pei": "pei",
    "iccid": "iccid",
    "guti": "guti",
    "tmsi": "tmsi",
    "userlocation": "location",
    "uelocation": "location",
    "subscriberlocation": "location",
    "ki": "ki",
    "opc": "opc",
}
_WORDS = r"(?:imsi|supi|suci|msisdn|gpsi|imei(?:sv)?|iccid|guti|tmsi|(?:user|ue|subscriber)[ _-]?location)"
_SHORT = r"\b(?:pei|ki|opc)"
"""Words that are too short to stand inside others."""

# A place: of printf, of Python and Rust, of Go templates, shells and Perl.
_PLACE = (
    r"(?:%[-+ #0-9.*]{0,6}[hlqjzt]{0,2}[sdiuxXlpcv]|%\([a-z_]{1,40}\)s|\{[A-Za-z0-9_.:!?#<>()-]{0,40}\}|\$\{?[A-Za-z_])"
)
_BETWEEN = r"[^\n\x00%{$A-Za-z]{1,12}"
_COLUMN = (
    r"(?:_?(?:id|number|value|hash))?[\"'`\]]?[ \t]{1,12}"
    r"(?:varchar|char|text|int|bigint|blob|decimal|numeric|string|uuid|bytea)"
)

FORMAT, SHORT_FORMAT, COLUMN, SCHEMA, NUMBER = range(5)
EXPRESSIONS = (
    Expression(f"{_WORDS}{_BETWEEN}{_PLACE}".encode(), caseless=True),
    Expression(f"{_SHORT}[ =:\\[('\"]{{1,4}}(?:%[-0-9.]{{0,4}}[sx]|\\{{[a-z_]{{0,20}}\\}})".encode(), caseless=True),
    Expression(f"(?:{_WORDS}|{_SHORT}){_COLUMN}".encode(), caseless=True),
    Expression(_WORDS.encode() + rb"[\"']? ?: ?\{[ \r\n\t]{0,24}[\"']?type[\"']? ?: ?[\"']?(?:String|Number)"),
    Expression(f"{_WORDS}[^\\n\\x000-9]{{0,12}}[0-9]{{8}}".encode(), caseless=True),
)  # fmt: skip

# For text in small letters; each way begins with a letter, so that other places are passed over quickly.
_ANY = late(rf"({_WORDS}|(?:pei(?<=\bpei)|ki(?<=\bki)|opc(?<=\bopc)))".encode())
_TABLE = late(rb"create\s+table|alter\s+table", re.IGNORECASE)
_QUERY = late(
    rb"^\W*(?:select\s.+\sfrom\s|insert\s+(?:or\s+\w+\s+)?into\s|update\s.+\sset\s|delete\s+from\s|\$?where\s)|\bwhere\s",
    re.IGNORECASE,
)
_METRIC = late(rb"^[a-z_:]+\{[^}]*=\\?\"|# (?:HELP|TYPE) ", re.IGNORECASE)
_DIGITS = late(r"\d{5,}")
_NUMBER = late(rb"[0-9]{8,22}(?![0-9A-Za-z])")
_TIME = late(rb"\d\d:\d\d:\d\d|\b(?:DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|FATAL)\b")

_CODES = (
    "202 204 206 208 212-214 216 218-222 226 228 230-232 234 235 238 240 242 244 246-248 250 255 257 259 260 262 "
    "266 268 270 272 274 276 278 280 282-284 286 288-290 292-295 297 302 308 310-316 330 332 334 338 340 342 344 "
    "346 348 350 352 354 356 358 360 362-366 368 370 372 374 376 400-402 404-406 410 412-420 422 424-432 434 "
    "436-438 440 441 450 452 454-457 460 461 466 467 470 472 502 505 510 514 515 520 525 528 530 536-537 539-555 "
    "602-650 651-655 657 659 702 704 706 708 710 712 714 716 722 724 730 732 734 736 738 740 742 744 746 748 750 "
    "901"
)
MCC = frozenset(
    code
    for first, _, last in (part.partition("-") for part in _CODES.split())
    for code in range(int(first), int(last or first) + 1)
)
"""Mobile country codes in use (ITU-T E.212 list); 001 and 999, which belong to no one, are test networks."""


def inspect(content: Content) -> Iterator[SubscriberSink]:
    """Yield each format, column and number once, in order of place.

    Raises:
        LimitReached: more places or sinks than one content may have; the first ones stand.
    """
    places, cut = content.hits
    found: dict[tuple[str, str, str], SubscriberSink] = {}
    for end, number in places:
        fact = _number(content, end) if number == NUMBER else _format(content, end, number)
        if fact is not None:
            found.setdefault((fact.identifier, fact.sink, fact.fingerprint or fact.text), fact)
            if len(found) >= MAX_FACTS:
                cut = True
                break
    yield from numbered(content, sorted(found.values(), key=lambda fact: fact.offset or 0))
    if cut:
        raise LimitReached("subscriber data", MAX_FACTS if len(found) >= MAX_FACTS else MAX_HITS)


def _named(content: Content, end: int) -> tuple[int, str, bytes] | None:
    """Return (place, identifier, character before) of the last identity's name before a place."""
    start = max(0, end - REACH)
    before = bytes(content.data[start:end])
    last = None
    for last in _ANY.finditer(before.lower()):  # noqa: B007 - the last one is wanted
        pass
    if last is None:
        return None
    word = re.sub(r"[ _-]", "", last[1].decode())
    return start + last.start(), NAMES[word], before[max(0, last.start() - 1) : last.start()]


def _format(content: Content, end: int, number: int) -> SubscriberSink | None:
    named = _named(content, end)
    if named is None:
        return None
    start, identifier, first = named
    if number == SHORT_FORMAT and (first.isalnum() or first in (b"_", b"-", b".")):
        return None
    at, raw = content.string(end, MAX_TEXT * 2)
    if at > start:
        return None
    evidence = "script" if content.kind == "script" else "string"
    if number in (COLUMN, SCHEMA):
        if number == COLUMN and not _TABLE.search(bytes(content.data[max(0, start - 2_000) : start])):
            return None
        sink, evidence = "database-column", "schema"
        begin, stop = start - at, end - at + 8
    else:
        sink = "query" if _QUERY.search(raw) else "metric" if _METRIC.search(raw) else "log-format"
        begin, stop = max(0, min(start - at - MAX_TEXT // 2, len(raw) - MAX_TEXT)), len(raw)
    return SubscriberSink(
        offset=start,
        identifier=identifier,
        sink=sink,
        text=_shown(raw[begin : min(stop, begin + MAX_TEXT)]),
        evidence=evidence,
    )


@lru_cache(256)
def _shown(raw: bytes) -> str:
    return _DIGITS.sub("#", withhold(raw.decode("utf-8", "backslashreplace"))).strip()[:MAX_TEXT]


def _number(content: Content, end: int) -> SubscriberSink | None:
    """Return the identity in clear that begins eight digits before a place, if it can be one."""
    match = _NUMBER.match(bytes(content.data[end - 8 : end + 16]))
    named = _named(content, end - 8)
    if match is None or named is None:
        return None
    start, identifier, first = named
    digits = match[0].decode()
    if first.isalnum() and not first.islower():
        return None
    kind = identifier if identifier not in ("supi", "suci") else "imsi"
    if not _VALID.get(kind, _never)(digits):
        return None
    at, raw = content.string(end, MAX_TEXT)
    log = content.kind in ("text", "script") and _TIME.search(raw) is not None
    begin = max(0, min(start - at - MAX_TEXT // 2, len(raw) - MAX_TEXT))
    return SubscriberSink(
        offset=end - 8,
        identifier=identifier,
        sink="log-sample" if log else "file",
        text=_shown(raw[begin : begin + MAX_TEXT]),
        evidence="log" if log else "script" if content.kind == "script" else "string",
        fingerprint=hashlib.sha256(digits.encode()).hexdigest(),
    )


def _never(_digits: str) -> bool:
    return False


def _is_imsi(digits: str) -> bool:
    return len(digits) in (14, 15) and int(digits[:3]) in MCC and _is_varied(digits)


def _is_imei(digits: str) -> bool:
    return (len(digits) == 15 and _luhn(digits) and _is_varied(digits)) or (len(digits) == 16 and _is_varied(digits))


def _is_msisdn(digits: str) -> bool:
    return 8 <= len(digits) <= 15 and digits[0] != "0" and _is_varied(digits)


def _is_iccid(digits: str) -> bool:
    return len(digits) in (19, 20) and digits.startswith("89") and _luhn(digits)


def _is_varied(digits: str) -> bool:
    """Tell a number from an example like 1111111111 or 1234567890."""
    return len(set(digits[-8:])) >= 2 and digits not in "0123456789012345678901234567890"


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


_VALID = {"imsi": _is_imsi, "imei": _is_imei, "msisdn": _is_msisdn, "gpsi": _is_msisdn, "iccid": _is_iccid}

INSPECTOR = ContentInspector(
    name="subscriber-data",
    version=1,
    families=(SubscriberSink,),
    inspect=inspect,
    only_hits=True,
    expressions=EXPRESSIONS,
    unseen=(
        "formats that do not name the identity in the same text, and identities put together from parts",
        "whether a format is written to a log, a terminal or a message, and at which level",
        "numbers that no name stands before; identities of the test networks 001 and 999; packed (BCD) identities",
        "formats that read an identity (scanf) look like those that write one",
    ),
)
