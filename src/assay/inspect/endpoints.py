"""Addresses of something outside, in any content: URLs, host names, IP and mail addresses. Nothing is called.

The engine finds where a shape can be; the text around that place decides. A dot between letters is seldom a host, and
four numbers are as often a version: a bare name or address counts only with evidence beside its shape (its ending, what
announces it, that it is the whole of a text). Each value is told once a content, where it stands first, with a count.

Source: RFC 3986 (URLs), RFC 1123 section 2.1 (host names), RFC 4291 (IPv6); `endpoints_tables` for lists.
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from socket import AF_INET, inet_pton
from typing import NamedTuple

from assay.facts.network import Endpoint
from assay.unpack.base import LimitReached

from .base import Buffer, Content, ContentInspector, Expression, numbered
from .endpoints_tables import (
    ALGORITHMS,
    ANNOUNCE,
    COMMENT,
    COMMON,
    HEADS,
    IMPORTS,
    KEYED,
    LOCAL_ENDINGS,
    MAN,
    MEMBERS,
    NAMESPACE_BEFORE,
    NOT_NETWORK,
    SCHEMES,
    SCOPES,
    STEMS,
    SUFFIXES,
    UNIT_ENDINGS,
    WELL_KNOWN,
    WORDS_BEFORE,
    is_address_before,
    is_version_before,
    pattern,
    read_suffixes,
    shown_by,
    suffix_of,
)
from .late import late
from .scan import MAX_HITS

MAX_FACTS = 5_000
"""Different values from one content."""
MAX_VALUE = 300
MAX_CONTEXT = 60
BEFORE, AFTER = 256, 512
"""Bytes looked at around a place."""

URL, HOST, KEYED_HOST, IPV4, IPV6, MAIL = range(6)

EXPRESSIONS = (
    Expression(rb":\\?/\\?/[a-z0-9\[%${<*]", caseless=True),
    Expression(rb"[a-z0-9]\.(?:" + "|".join(SUFFIXES).encode() + rb")(?:[^a-z0-9_-]|$)", caseless=True),
    Expression(rb"(?:" + ANNOUNCE.encode() + rb")[\"']?[ \t]{0,3}[=: \t][ \t]{0,3}[\"']?[a-z0-9]", caseless=True),
    Expression(rb"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"),
    Expression(rb"(?:[23][0-9a-f]{3}|f[cde][0-9a-f]{2}|ff0[0-9a-f]):[0-9a-f]{0,4}:", caseless=True),
    Expression(rb"[a-z0-9]@[a-z0-9-]{2,63}\.[a-z0-9]", caseless=True),
)

_SENTENCE = late(rb"^[ \t*-]{0,12}[A-Za-z(\"'][^=;{}<>]{0,60}\b[a-z]{2,} [a-z]+ [a-z]+")
_CODE = late(rb"^\s*[\w.-]+\s*[=:]\s*\S+\s*$|[{};]\s*$|^\s*[#;!]|^\s*[<\[]")

# Backwards from a place; bounded, so that time stays linear whatever is there.
_PRINTABLE_BACK = late(rb"[ -~\t\x80-\xff]*")
_SCHEME_BACK = late(rb"[A-Za-z0-9+.-]{1,20}")
_NAME_BACK = late(rb"[A-Za-z0-9.-]{1,253}")
_MAIL_BACK = late(rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_QUAD_BACK = late(rb"[0-9.]{1,15}")
_SIX_BACK = late(rb"[0-9A-Fa-f:]{1,39}")

_AUTHORITY = late(rb"[^/?#]*")
_URL = late(rb"(?:[^\x00-\x20\"'<>\\^`{|}\x7f]|\{[\w.:!-]{0,40}\}|<[\w -]{1,30}>(?=[/:.\w]))+")
_TROFF = late(rb"\\([-&:/%|^]|\(hy)")
_NAME = late(rb"[A-Za-z0-9.-]{0,253}")
_QUAD = late(rb"[0-9.]{1,15}")
_SIX = late(rb"[0-9A-Fa-f:]{0,39}(?:\.\d{1,3}){0,3}")
_DER_TAG = late(rb"\.(?:[a-z]{2,6}|p7c)(0[^/.]{0,2})\Z")
_PREFIX = late(rb"/\d{1,2}(?!\d)")
_PORT = late(rb":(\d{2,5})(?![\d.:])")
_TEMPLATE = late(r"%[-0-9.*l]*[sdiux@]|\$|\{|<|\*|%\(")
_LABELS = late(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
_VALUE_END = late(rb"[\x00\n\r\t ,;\"')\]]")

_STRONG = frozenset(COMMON.split())
_ENDINGS = frozenset(SUFFIXES)
_AFTER_WORD = _ENDINGS | frozenset(KEYED.split())


class Place(NamedTuple):
    """A candidate that holds."""

    start: int
    end: int
    kind: str
    value: str
    scheme: str | None = None
    host: str | None = None
    port: int | None = None


@dataclass
class Found:
    """A value: its fact without the count, and how often it was seen."""

    fact: Endpoint
    count: int = 1


def prepare() -> None:
    """Read the list of public suffixes, before workers are forked and confined."""
    read_suffixes()


def inspect(content: Content) -> Iterator[Endpoint]:
    """Yield each value once, in order of its first place.

    Raises:
        LimitReached: more candidates or values than one content may have; the first ones stand.
    """
    places, cut = content.hits
    if not places:
        return
    readers = (_url, _host, _keyed_host, _quad, _six, _mail)
    data, taken = content.data, 0
    about = partial(_read_by_people, content.head[:4096], content.kind)
    found: dict[tuple[str, str], Found] = {}
    for end, number in places:
        if end <= taken + 1:  # inside the last one; a host's ending is told one character late
            continue
        place = readers[number](data, end, content.kind)
        if place is None:
            continue
        taken = place.end
        key = place.kind, place.value
        if known := found.get(key):
            known.count += 1
            continue
        fact = _describe(data, place, about)
        if fact is not None:
            found[key] = Found(fact)
            if len(found) >= MAX_FACTS:
                cut = True
                break
    # Counts are only known at the end; the facts are in order of place already.
    yield from numbered(content, (_counted(one) for one in found.values()))
    if cut:
        raise LimitReached("endpoints", MAX_FACTS if len(found) >= MAX_FACTS else MAX_HITS)


def _counted(found: Found) -> Endpoint:
    fact = found.fact
    if found.count == 1:
        return fact
    return Endpoint(
        offset=fact.offset, kind=fact.kind, value=fact.value, scheme=fact.scheme, host=fact.host, port=fact.port,
        domain=fact.domain, suffix=fact.suffix, scope=fact.scope, purpose=fact.purpose, context=fact.context,
        count=found.count,
    )  # fmt: skip


@lru_cache(1)
def _read_by_people(head: bytes, kind: str) -> str | None:
    """Return what kind of documentation a content is, None if it does not begin as one."""
    if MAN.match(head):
        return "manual page"
    found = next((name for name, shape in HEADS if shape.match(head)), None)
    return found or ("prose" if kind == "text" and _is_prose(head) else None)


def _is_prose(head: bytes) -> bool:
    """Tell sentences from settings and code: three words in a row on every third line, assignments on few."""
    lines = [line for line in head.split(b"\n")[:-1] if line and not line.isspace()][:80]
    if len(lines) < 6 or sum(map(bool, map(_CODE.search, lines))) * 8 > len(lines):
        return False
    return sum(map(bool, map(_SENTENCE.search, lines))) * 3 >= len(lines)


# -- shapes ------------------------------------------------------------------------------------------------------------


def _back(shape: re.Pattern[bytes], data: Buffer, at: int, most: int) -> bytes:
    """Return the text of a shape that ends at a place."""
    before = bytes(data[max(0, at - most) : at])[::-1]
    match = shape.match(before)
    return match[0][::-1] if match else b""


def _url(data: Buffer, end: int, kind: str) -> Place | None:
    first = end - 1
    mark = bytes(data[first - 5 : first]) if first >= 5 else bytes(data[:first])
    colon = first - len(mark) + mark.rfind(b":")
    scheme = _back(_SCHEME_BACK, data, colon, 20)
    name = scheme.decode().lower().lstrip("+.-0123456789")
    if not name or name in NOT_NETWORK:
        return None
    window = bytes(data[first : first + AFTER])
    match = _URL.match(window)
    if match is None:
        return None
    raw = match[0]
    length = len(raw)
    if (link := raw.find(b"](")) > 0:  # Markdown: the next address stands in the brackets
        raw, length = raw[:link], link
    if b"\\" in window[length : length + 2] and kind in ("text", "script"):
        # troff writes \- for a hyphen and \: where a line may break; JSON writes \/ for a slash.
        plain = _TROFF.sub(
            lambda found: b"-" if found[1] in (b"-", b"(hy") else b"/" if found[1] == b"/" else b"", window
        )
        match = _URL.match(plain)
        assert match is not None
        raw = match[0]
        length = min(len(window), len(raw) + 2 * window[: len(raw) + 16].count(b"\\"))
    raw = _trimmed(raw)
    authority = _AUTHORITY.match(raw)[0]  # type: ignore[index]  # it matches an empty text, too
    path = raw[len(authority) :].split(b"?", 1)[0].split(b"#", 1)[0]
    where = authority.rpartition(b"@")[2]
    host, port, template = _split(where)
    if host is None:
        return None
    if kind not in ("text", "script") and (tag := _DER_TAG.search(path or where)):
        # In a certificate, the next element follows without a break; its tag is the character 0.
        if path:
            path = path[: tag.start(1)]
        elif not template and suffix_of(host.lower())[0] is None:
            where = where[: tag.start(1)]
            host, port, template = _split(where)
            if host is None:
                return None
    known = name in SCHEMES
    if not known:
        # "c", "xhttp": what stands before may belong to the text. Take the longest known scheme that ends there.
        known_end = next(
            (name[cut:] for cut in range(1, len(name) - 2) if name[cut:] in ("http", "https", "ftp")), None
        )
        name, known = known_end or name, known_end is not None
    if not template and not _is_host(host, known):
        return None
    if kind not in ("text", "script") and not template and not _is_likely(host.lower(), window[length : length + 1]):
        return None
    if template and not (known and (len(name) > 2)):
        return None
    value = f"{name}://{where.decode('utf-8', 'backslashreplace')}{path.decode('utf-8', 'backslashreplace')}"
    return Place(colon - len(scheme), first + length, "url", value[:MAX_VALUE], name, host.lower(), port)


def _trimmed(raw: bytes) -> bytes:
    """Return a URL without the punctuation of the sentence that it stands in."""
    while raw:
        last = raw[-1:]
        if last.isalnum() or last == b"/":
            break
        if (
            last in b".,;:!?'*_~"
            or (last == b")" and raw.count(b"(") < raw.count(b")"))
            or (last == b"]" and raw.count(b"[") < raw.count(b"]"))
        ):
            raw = raw[:-1]
        else:
            break
    return raw


@lru_cache(1 << 13)
def _split(authority: bytes) -> tuple[str | None, int | None, bool]:
    """Return (host, port, whether the host is a template) of an authority without user information."""
    where = authority.decode("utf-8", "backslashreplace")
    if where.startswith("["):
        host, _, rest = where[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else ""
    else:
        host, _, port = where.partition(":") if not where.startswith("%(") else (where, "", "")
    if not host:
        return None, None, False
    number = int(port) if port.isdecimal() and port.isascii() and 0 < int(port[:6]) < 65536 else None
    return host, number, _TEMPLATE.search(host) is not None


def _is_likely(host: str, after: bytes) -> bool:
    """Tell whether a host in a binary is more than the words of a compressor's dictionary, or of a template."""
    if ":" in host or host.replace(".", "").isdecimal() or suffix_of(host)[1] is not None:
        return True
    if "." not in host:
        return len(host) >= 3 and after != b" "
    return host.rpartition(".")[2] in LOCAL_ENDINGS


@lru_cache(1 << 13)
def _is_host(host: str, known: bool) -> bool:
    name = host.lower()
    if ":" in name:
        try:
            ipaddress.IPv6Address(name.partition("%")[0])
        except ValueError:
            return False
        return True
    if not name.isascii():
        return known and "\\x" not in name
    if not _LABELS.fullmatch(name):
        return False
    last = name.rstrip(".").rpartition(".")[2]
    if last.isdecimal():
        return _address(name) is not None
    return known or suffix_of(name)[0] is not None


def _host(data: Buffer, end: int, kind: str) -> Place | None:
    """Return the bare host name whose ending was found, if it can be nothing else."""
    # The engine stopped behind the character after the ending, or at the end of the data.
    at = end - 1
    tail = bytes(data[at:end])
    if tail.isalnum():
        at = end
    name = _back(_NAME_BACK, data, at, 253)
    start = at - len(name)
    text = name.decode().lstrip(".-")
    start += len(name) - len(text)
    if text[1:5] == "www." and text[0].isdecimal():  # in a certificate, the length of a text stands before it
        text, start = text[1:], start + 1
    before, after = bytes(data[max(0, start - 40) : start]), bytes(data[at : at + 8])
    if after[:1] in (b".", b"-", b"_") and after[1:2].isalnum():
        return None
    if not _is_bare(text) or after[:1] in (b"(", b"@", b"_", b"\\") or before[-1:] in _JOINED:
        return None
    if after[:4] == b" at " or (_MAIL_IN_WORDS.search(before[-16:]) and after[:1] in _MAIL_ENDS):
        return None
    if after[:1] == b":" and not after[1:2].isdigit() and after[1:2] not in (b"", b"/", b" ", b"\n", b"\r", b"\0"):
        return None  # the name of something in a namespace: example.org:version
    if before[-1:] >= b"\x80" or (before[-1:] == b"." and before[-2:] != b"*."):
        return None
    labels = text.split(".")
    quoted = _is_whole(before, after)
    if after[:1] == b"/" and (text in IMPORTS or not quoted):
        return None
    if labels[-1] not in _STRONG:
        if not quoted or len(labels) < 3 or kind == "script":
            return None
    elif kind in ("text", "script"):
        if len(labels) == 2 and kind == "script" and not quoted:
            return None
        if before[-1:] not in _OPENING:
            return None
    elif not quoted or (len(labels) == 2 and labels[-1] == "net"):  # NAME.net is also a program for .NET
        return None
    return _named(data, start, at, text)


_MAIL_ENDS = (b">", b"<", b"*", b")", b"]", b",", b'"', b"", b"\n")
_JOINED = tuple(bytes([c]) for c in b"/\\@$%_}{)&#:+~^|")
_MAIL_IN_WORDS = late(rb"\b(?:at|AT)[\])]?\s{1,12}\Z")
"""Before the host of a mail address that was written so that programs do not find it."""
_BEFORE_SIX = tuple(bytes([c]) for c in (*range(32), *b" \"'`(<[,;=/|"))
_AFTER_SIX = tuple(bytes([c]) for c in b" \"'`)]>,;/%#|.")
_OPENING = (b"", *(bytes([c]) for c in b" \t\n\r\"'`(<[,;=*\0."))


@lru_cache(1 << 14)
def _is_bare(text: str) -> bool:
    """Tell whether a name has the form of a public host as it is usually written, not of a member or a package."""
    labels = text.split(".")
    if len(labels) < 2 or text != text.lower() or not _LABELS.fullmatch(text) or "_" in text:
        return False
    owner = labels[-2]
    if len(owner) < 3 and not (len(labels) > 2 and len(owner) >= 2):
        return False
    if (len(labels) == 2 and labels[0] in MEMBERS) or owner.isdecimal():
        return False
    if labels[0] in ("com", "org", "net", "edu", "gov", "io") and len(labels) > 2:  # named backwards: com.example.net
        return False
    domain, suffix = suffix_of(text)
    return domain is not None and suffix is not None


def _is_whole(before: bytes, after: bytes) -> bool:
    """Tell whether a value stands alone: as a text of its own, or in quotation marks."""
    first, last = before[-1:], after[:1]
    if first in (b'"', b"'", b"<", b"`"):
        return last in (b'"', b"'", b">", b"`", b":", b"/")
    if first == b"" or first < b" " or before[-2:] == b"*.":
        return last in (b"", b"\0", b"\n", b"\r", b":", b"/") or last < b" "
    return False


def _keyed_host(data: Buffer, end: int, kind: str) -> Place | None:
    """Return the host name that stands after a word that announces one."""
    start = end - 1
    match = _NAME.match(bytes(data[start : start + 256]))
    assert match is not None
    text = match[0].decode().rstrip(".-")
    at = start + len(text)
    after = bytes(data[at : at + 8])
    labels = text.split(".")
    if len(labels) < 2 or labels[-1] not in _AFTER_WORD or (after[:1] and after[:1] in b"(_[@$%{\\-/"):
        return None
    line = bytes(data[max(0, start - 4) : start])
    assigned = b"=" in line or b":" in line
    if labels[-1] in ("local", "lan", "localdomain"):
        if not assigned or labels[0] in MEMBERS or not _LABELS.fullmatch(text) or kind == "script":
            return None
    elif (
        not _is_bare(text)
        or (not assigned and labels[-1] not in _STRONG and len(labels) < 3)
        or (kind == "script" and len(labels) == 2 and line[-1:] not in (b'"', b"'"))
    ):
        return None
    return _named(data, start, at, text)


def _named(data: Buffer, start: int, at: int, text: str) -> Place:
    match = _PORT.match(bytes(data[at : at + 8]))
    port = int(match[1]) if match and 0 < int(match[1]) < 65536 else None
    value = text if port is None else f"{text}:{port}"
    return Place(start, at + (len(match[0]) if match and port else 0), "host", value[:MAX_VALUE], None, text, port)


def _address(text: str) -> int | None:
    """Return an IPv4 address as a number; None if it is none. No part of one begins with a zero."""
    try:
        return int.from_bytes(inet_pton(AF_INET, text), "big")
    except (OSError, ValueError):
        return None


def _quad(data: Buffer, end: int, kind: str) -> Place | None:
    """Return the IPv4 address around a place, if it is no version, number of a section, mask or nothing."""
    head = _back(_QUAD_BACK, data, end, 15)
    match = _QUAD.match(bytes(data[end : end + 4]))
    text = (head + (match[0] if match else b"")).decode()
    start, at = end - len(head), end + (len(match[0]) if match else 0)
    if text.endswith("."):
        text, at = text[:-1], at - 1
    number = _address(text)
    if number is None:
        return None
    if number >> 24 == 0 or ((~number & 0xFFFFFFFF) + 1) & (~number & 0xFFFFFFFF) == 0:
        return None  # "this network", or a mask
    before = _back(_PRINTABLE_BACK, data, start, 48)
    after = bytes(data[at : at + 12])
    if before[-1:].isalnum() or before[-1:] in (b"_", b"-", b".", b"+", b"~", b"^", b"/", b"\\", b"%", b"$"):
        return None
    if (after[:1].isalnum() or after[:1] in (b"_", b"-", b"+", b"~", b"%")) or (
        after[:1] == b"." and after[1:2].isalnum()
    ):
        return None
    line = before.decode("latin-1")
    if is_version_before(line):
        return None
    port = _PORT.match(after)
    prefix = _PREFIX.match(after)
    words = is_address_before(line)
    a, b = number >> 24, number >> 16 & 0xFF
    typical = (
        (a, b) in ((192, 168), (169, 254)) or (a == 172 and 16 <= b < 32) or text.startswith(("127.0.0.", "127.0.1."))
    )
    evident = (
        words
        or port is not None
        or (prefix is not None and kind != "elf")
        or typical
        or (224 <= a < 240 and (b == 0 or words))
        or (text in WELL_KNOWN and _is_whole(before or b"", after))
        or (_is_whole(bytes(data[start - 1 : start]), after) and min(a, max(number >> 8 & 0xFF, number & 0xFF, b)) > 9)
    )
    if not evident:
        return None
    value = text + (port[0].decode() if port else prefix[0].decode() if prefix else "")
    number_of_port = int(port[1]) if port and int(port[1]) < 65536 else None
    return Place(start, at, "ipv4", value, None, text, number_of_port)


def _six(data: Buffer, end: int, _kind: str) -> Place | None:
    """Return the IPv6 address around a place; it has to be whole, and to hold a digit."""
    head = _back(_SIX_BACK, data, end, 39)
    match = _SIX.match(bytes(data[end : end + 48]))
    text = (head + (match[0] if match else b"")).decode()
    start, at = end - len(head), end + len(text) - len(head)
    before, after = bytes(data[max(0, start - 1) : start]), bytes(data[at : at + 4])
    if before.isalnum() or before in (b"_", b"-", b".", b":", b"@") or after[:1].isalnum() or after[:1] in (b"_", b":"):
        return None
    if not any(char.isdecimal() for char in text) or text.count(":") < 2:
        return None
    if (before and before not in _BEFORE_SIX) or (after[:1] >= b" " and after[:1] not in _AFTER_SIX):
        return None  # a table of characters: 2668::=?
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    prefix = re.match(rb"/\d{1,3}(?!\d)", after)
    return Place(start, at, "ipv6", text.lower() + (prefix[0].decode() if prefix else ""), None, str(address), None)


def _mail(data: Buffer, end: int, kind: str) -> Place | None:
    """Return the mail address around an at sign."""
    begin = max(0, end - 136)
    window = bytes(data[begin : end + 192])
    sign = window.rfind(b"@", 0, end - begin)
    after_sign = _NAME.match(window, sign + 1)
    before_sign = _MAIL_BACK.match(window[max(0, sign - 64) : sign][::-1])
    if after_sign is None or before_sign is None:
        return None
    host = after_sign[0].decode().rstrip(".-")
    local = before_sign[0][::-1].decode().lstrip(".'/=`*+-!&|{}~#?^$%")
    start, at = sign - len(local), sign + 1 + len(host)
    before, after = window[start - 1 : start] if start > 0 else b"", window[at : at + 1]
    if before in (b":", b"/") or after in (b":", b"_", b"@", b"("):
        return None  # user information of a URL, the host of a copy by ssh, a call
    if not _is_mail(local, host, kind in ("text", "script"), before == b"<"):
        return None
    return Place(begin + start, begin + at, "mail", f"{local}@{host}"[:MAX_VALUE], None, host.lower(), None)


@lru_cache(1 << 14)
def _is_mail(local: str, host: str, text: bool, bracketed: bool) -> bool:
    name = host.lower()
    if not local or "." not in host or "/" in local or "=" in local or not _LABELS.fullmatch(name):
        return False
    ending = name.rpartition(".")[2]
    if ending.isdecimal() or name in ALGORITHMS or (ending in UNIT_ENDINGS and not bracketed):
        return False
    if not text and (len(local) < 2 or ending not in _ENDINGS or host != name):
        return False
    domain = suffix_of(name)[0]
    return domain is not None and len(domain.partition(".")[0]) >= 2


# -- what is told of them ----------------------------------------------------------------------------------------------


def _describe(data: Buffer, place: Place, about: Callable[[], str | None]) -> Endpoint | None:
    assert place.host is not None
    host, domain, suffix, scope = _about(place.host, place.kind in ("ipv4", "ipv6"))
    purpose, context = _purpose(_back(_PRINTABLE_BACK, data, place.start, BEFORE), place.value, about)
    return Endpoint(
        offset=place.start,
        kind=place.kind,
        value=place.value,
        scheme=place.scheme,
        host=host,
        port=place.port,
        domain=domain,
        suffix=suffix,
        scope=scope,
        purpose=purpose,
        context=None if context is None else context.strip()[:MAX_CONTEXT] or None,
    )


@lru_cache(1 << 13)
def _about(host: str, address: bool) -> tuple[str | None, str | None, str | None, str]:
    """Return (host, registrable domain, public suffix, scope) of a host; of a template, without what is filled in."""
    if address or ":" in host or host.replace(".", "").isdecimal():
        return host, None, None, _scope(host)
    name = host.rstrip(".")
    cut = -1
    if _TEMPLATE.search(name):
        cut = max(match.end() for match in _TEMPLATE.finditer(name))
    whole = name if cut < 0 else name[name.find(".", cut) + 1 :] if "." in name[cut:] else ""
    if cut >= 0 and not (whole and _LABELS.fullmatch(whole) and suffix_of(whole)[0]):
        return None, None, None, "unknown"
    domain, suffix = suffix_of(whole)
    return host, domain, suffix, _scope_of_name(whole, domain, suffix)


_DOCUMENTED = ipaddress.ip_network("2001:db8::/32")


def _scope(text: str) -> str:
    number = _address(text)
    if number is not None:
        return SCOPES[bisect(SCOPES, (number, "~")) - 1][1]
    try:
        address = ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        return "unknown"
    if address.is_loopback:
        return "loopback"
    if address.is_multicast:
        return "multicast"
    if address in _DOCUMENTED:
        return "documentation"
    if address.is_link_local:
        return "link-local"
    if address.is_unspecified or address.is_reserved:
        return "reserved"
    return "private" if address.is_private else "global"


def _scope_of_name(name: str, domain: str | None, suffix: str | None) -> str:
    ending = name.rpartition(".")[2]
    if ending == "localhost" or name == "localhost.localdomain":
        return "loopback"
    if ending in ("example", "test", "invalid") or (domain or "").partition(".")[0] == "example":
        return "documentation"
    return "local" if suffix is None or "." not in name else "global"


def _purpose(before: bytes, value: str, about: Callable[[], str | None]) -> tuple[str | None, str | None]:
    """Return (purpose, what shows it).

    Args:
        before: the line before the address.
        value: the address.
        about: says what kind of documentation it stands in, if any.
    """
    line = before.decode("utf-8", "backslashreplace")
    of_value = shown_by(value)
    if "namespace" in of_value:
        return "namespace", of_value["namespace"]
    if found := NAMESPACE_BEFORE.search(line):
        return "namespace", found[0]
    if "certificate" in of_value:
        return "certificate", of_value["certificate"]
    if (documentation := about()) is not None:
        return "documentation", documentation
    near = line[-100:]
    # Capital letters are made small here, once and length for length: the engine is much slower where it has to.
    small = before.lower().decode("utf-8", "backslashreplace")[-100:]
    of_line = any(map(small.__contains__, STEMS))
    if of_line or of_value:
        for purpose, words in WORDS_BEFORE:
            if of_line and (found := pattern(words).search(small)):
                return purpose, near[found.start() : found.end()]
            if purpose in of_value:
                return purpose, of_value[purpose]
    if COMMENT.match(line):
        return "documentation", line
    key = line.strip()
    return None, key if key.endswith(("=", ":", '"', "'")) else None


INSPECTOR = ContentInspector(
    name="endpoints",
    version=1,
    families=(Endpoint,),
    inspect=inspect,
    only_hits=True,
    expressions=EXPRESSIONS,
    unseen=(
        "addresses that are put together at run time, encrypted, compressed or in UTF-16",
        "bare host names in endings that are mostly file or member names (.so, .py, .sh, .io without quotes, ...)",
        "bare IPv4 addresses that nothing tells from a version: no word, port, prefix or private range beside them",
        "whether anything ever calls the address; purpose is what the words beside it say",
    ),
)
