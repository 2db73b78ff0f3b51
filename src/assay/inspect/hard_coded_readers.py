"""Readers of literals around a trigger: what is assigned, compared, passed, sent or written down as a password.

Each is told where the trigger ends, looks at a few hundred bytes around it, and yields the literals that are plausible.

Reference: `hard_coded_tables`; RFC 7617 (Basic); expect(1); UCI, "UCI system".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from .base import Buffer, Expression
from .hard_coded_tables import (
    AMBIGUOUS,
    DOCUMENT,
    FUNCTIONS,
    KEY_NAME,
    LABEL,
    NAME_LIKE,
    NOT_A_VALUE,
    OPTIONS,
    PASSWORD_NAME,
    PIPES,
    PLACEHOLDER,
    PLAIN_NAME,
    SECRET_NAME,
    STRANGE,
    WORDS,
    compiled,
    is_a_secret,
)
from .known_passwords import entries

LEAST, MOST = 3, 128
"""Characters of a secret."""
BACK = 160
"""Bytes before a literal in which its name stands."""


class Found(NamedTuple):
    """A literal, and why it is taken for a secret."""

    at: int
    secret: bytes
    scheme: str
    subject: str


Reader = Callable[[Buffer, int, bool], Iterator[Found]]
"""Reads around a trigger: the bytes, the trigger's end, whether it is code (else shell or configuration)."""


@cache
def known() -> frozenset[str]:
    """Return the published defaults."""
    return frozenset(entry.password for entry in entries() if "{" not in entry.password)


def plausible(value: str, name: str, *, code: bool, compared: bool = False) -> bool:
    """Tell a secret from a place to put one, a label, a switch, a path or a name.

    Args:
        value: the literal.
        name: what it is assigned to.
        code: it stands in a programming language, where labels and names are literals as well.
        compared: it is compared with the variable, not assigned to it.
    """
    lower = value.lower()
    if not LEAST <= len(value) <= MOST or lower in NOT_A_VALUE or STRANGE.search(value) or PLACEHOLDER.search(value):
        return False
    digits = any(map(str.isdigit, value))
    if not PASSWORD_NAME.search(name):
        if KEY_NAME.search(name):
            random = digits and len(value) >= 12 and len(set(value)) >= 8 and any(map(str.isalpha, value))
            return random and not compared and not (NAME_LIKE.fullmatch(value) and sum(map(str.isdigit, value)) < 4)
        if not SECRET_NAME.search(name):
            return False
        if compared:
            return digits and len(value) >= 6 and not NAME_LIKE.fullmatch(value) and not LABEL.fullmatch(value)
    if LABEL.fullmatch(value):
        return not code and (value in known() or lower in ("passwd", "secret") or digits) and name[:1] != "-"
    if value in known() and not (code and lower in AMBIGUOUS):
        return True
    if digits:
        return not (code and NAME_LIKE.fullmatch(value) and value[-1].isalpha() and len(value) > 16)
    if compared and value.isalpha() and value.islower():
        return len(value) >= 6 and PLAIN_NAME.fullmatch(name) is not None and not (code and lower in AMBIGUOUS)
    if code or compared:
        return not value.isalpha() and not NAME_LIKE.fullmatch(value) and any(map(str.isalpha, value))
    return not (value.isupper() and "_" in value)


_OPERATION = rb"(?P<op>={2,3}!?|=!|>=|=:|=|:|qe(?=[ \t])|\|\||\?\?|:\?)"
_NAME_BEFORE = re.compile(
    rb"[bBrRuUL]?[ \t]{0,8}" + _OPERATION + rb"[ \t]{0,8}[\"'\])}]{0,3}(?P<name>[\w$.-]{1,80})(?P<before>[^\r\n]{0,40})"
)
"""Reversed: what stands before a quoted literal."""
_COMPARING = frozenset((b"==", b"===", b"==!", b"===!", b"=!", b"qe"))


def _quoted(data: Buffer, end: int, code: bool) -> Iterator[Found]:
    at = end - 1
    ahead = bytes(data[at : at + MOST + 8])
    before = bytes(data[max(0, at - 1 - BACK) : at - 1])[::-1]
    close = ahead.find(data[at - 1])
    name = _NAME_BEFORE.match(before)
    if name is None or close < LEAST:
        return
    after = ahead[close + 1 :].lstrip(b" \t")[:2]
    if after[:1] in (b"+", b".", b"%", b"[") and (after[:1] != b"." or code) and after != b".\n":
        return  # a part of a text that is put together
    if name["before"][:2] == b"::":
        return  # a module's name
    subject = name["name"][::-1].decode("utf-8", "replace")
    # A shell compares with a single sign.
    compared = name["op"] in _COMPARING or (subject[:1] == "$" and not code)
    secret = ahead[:close]
    if not is_a_secret(subject) or not plausible(
        secret.decode("utf-8", "replace"), subject, code=code, compared=compared
    ):
        return
    yield Found(at, secret, "comparison" if compared else "assignment", subject)


_REVERSED = re.compile(
    rb"""(["'])(?P<secret>[^"'\\\r\n]{3,128})\1\)?[ \t]{0,4}[!=]==?[ \t]{0,4}"""
    rb"""(?P<name>[\w$.>\[-]{1,60}(?:["'][\w.-]{1,60}["']\])?)(?![\w(.])"""
)


def _reversed(data: Buffer, end: int, code: bool) -> Iterator[Found]:
    """Read "x" == password, the literal first."""
    start = max(0, end - BACK - MOST)
    for match in _REVERSED.finditer(bytes(data[start : end + 80])):
        if match.start("name") < end - start <= match.end():
            subject = re.split(r"[\[\"']", match["name"].decode("utf-8", "replace").rstrip("]\"'"))[-1]
            text = match["secret"].decode("utf-8", "replace")
            if is_a_secret(subject) and plausible(text, subject, code=code, compared=True):
                yield Found(start + match.start("secret"), match["secret"], "comparison", subject)


_BARE_BEFORE = re.compile(
    rb"(?P<gap>[ \t]{0,8})(?P<op>[=:])(?P<space>[ \t]{0,8})[\"']?(?P<name>[\w.-]{1,80})(?P<before>[^\r\n]{0,100})"
)
_BARE = re.compile(rb"[^\s\"'`,;&|<>()]{3,128}")
_LEAD = re.compile(
    rb"(?:.*[;&|]\s*)?(?:(?:export|set|local|readonly|declare|typeset|env|setenv|-|option)(?:\s+-\w+)?\s+"
    rb"|Environment=[\"']?|[\w.]+=\S*\s+)*[\w. -]{0,0}"
)
"""What may stand before an assignment on its line."""
_PARTNER = re.compile(
    rb"(?i)(?<![\w.-])(?:server|host(?:name|addr)?|data source|database|dbname|user(?:name| id)?|uid|login)="
)
_SEPARATED = re.compile(rb"[;&?,]|\s[^\r\n\"']{0,98}[\"']")
"""Reversed: what stands before a part of a connection string, between the signs or spaces of one text."""
_ENVIRONMENT = frozenset(("PGPASSWORD", "MYSQL_PWD", "SSHPASS", "RSYNC_PASSWORD", "LDAP_PASSWORD"))


def _bare(data: Buffer, end: int, code: bool) -> Iterator[Found]:
    at = end - 1
    ahead = bytes(data[at : at + 2 * BACK])
    match = _BARE.match(ahead)
    name = _BARE_BEFORE.match(bytes(data[max(0, at - 2 * BACK) : at])[::-1])
    if match is None or name is None:
        return
    secret, after = match[0], ahead[match.end() :].partition(b"\n")[0].rstrip(b"\r")
    subject = name["name"][::-1].decode("utf-8", "replace")
    before = name["before"][::-1]
    rest = after.strip()
    scheme = "assignment"
    tight = name["op"] == b"=" and not name["gap"] and not name["space"]
    if subject in _ENVIRONMENT and tight:
        code = False
    elif tight and subject[:1] != "-" and _SEPARATED.match(name["before"]) and _PARTNER.search(before + b" " + after):
        scheme = "connection-string"
    elif (
        code
        or not _LEAD.fullmatch(before.lstrip())
        or len(before) >= 100
        or (
            rest and rest[:1] not in (b"#", b",", b'"', b"'") and not (tight and after[:1] in (b" ", b";", b"\t", b"&"))
        )
    ):
        return
    elif name["op"] == b":" and (not name["gap"] or subject.lower() in ("passwd", "shadow")):
        return  # `passwd: files` says where accounts are; after a colon YAML wants a space
    if not is_a_secret(subject) or not plausible(secret.decode("utf-8", "replace"), subject, code=code):
        return
    yield Found(at, secret, scheme, subject)


_WORD_BEFORE = re.compile(
    rb"[\"']?[ \t]{1,8}[\"']?(?P<name>[\w.-]{1,80})[ \t]{0,4}(?P<kind>[\w-]{0,16})[ \t]{0,64}(?:[\r\n]|\Z)"
)


def _directive(data: Buffer, end: int, code: bool) -> Iterator[Found]:
    """Read `requirepass x`, `option password 'x'`: alone on its line."""
    if code:
        return
    at = end - 1
    ahead = bytes(data[at : at + MOST + 8]).partition(b"\n")[0].rstrip()
    name = _WORD_BEFORE.match(bytes(data[max(0, at - BACK) : at])[::-1])
    quote = bytes(data[at - 1 : at])
    secret = ahead[:-1] if quote in (b'"', b"'") and ahead[-1:] == quote else ahead
    if name is None or name["kind"][::-1] not in (b"", b"option", b"enable", b"set", b"neighbor"):
        return
    subject = name["name"][::-1].decode("utf-8", "replace")
    if _BARE.fullmatch(secret):
        text, named = secret.decode("utf-8", "replace"), re.sub(r"requirepass|masterauth", "password", subject)
        if subject == "key" and name["kind"][::-1] == b"option" and len(text) >= 8:
            named = "psk"  # of a wireless network, in UCI
        # A word behind the word `secret` may be a sentence's.
        prose = text[-1] in ".!" or (text.isalpha() and SECRET_NAME.search(named))
        if not prose and is_a_secret(named) and plausible(text, named, code=False):
            yield Found(at, secret, "assignment", subject)


def _default(data: Buffer, end: int, code: bool) -> Iterator[Found]:
    """Read ${PASSWORD:-default}."""
    at = end - 1
    secret, closing, _ = bytes(data[at : at + MOST + 1]).partition(b"}")
    name = re.match(rb"[\"']?[-=]:?([A-Za-z0-9_]{1,80})\{\$", bytes(data[max(0, at - BACK) : at])[::-1])
    if name and closing:
        subject = name[1][::-1].decode()
        secret = secret.strip(b"\"'")
        if plausible(secret.decode("utf-8", "replace"), subject, code=code):
            yield Found(at, secret, "assignment", subject)


_ELEMENT = re.compile(rb">(?:[^<>\r\n]{1,60}\s)?(?P<name>[\w.-]{1,80})(?::\w{1,32})?<")


def _element(data: Buffer, end: int, _code: bool) -> Iterator[Found]:
    """Read <password>x</password>."""
    at = end - 1
    secret, closing, _ = bytes(data[at : at + MOST + 2]).partition(b"</")
    name = _ELEMENT.match(bytes(data[max(0, at - BACK) : at])[::-1])
    if name and closing:
        subject = name["name"][::-1].decode("utf-8", "replace")
        # Translations and web pages have elements with labels: the stricter reading.
        if is_a_secret(subject) and plausible(secret.decode("utf-8", "replace"), subject, code=True):
            yield Found(at, secret, "element", subject)


_LOOKUP = re.compile(
    rb"""(?:getenv|environ\.get|\.get|define|param|option)\(\s{0,4}(["'])(?P<name>[\w.-]{1,80})\1\s{0,4},\s{0,8}(["'])(?P<secret>[^"'\\\r\n]{3,128})\3\s{0,4}[,)]"""
)


def _lookup(data: Buffer, end: int, code: bool) -> Iterator[Found]:
    """Read os.environ.get("PASSWORD", "default") and define("DB_PASSWORD", "x")."""
    start = max(0, end - BACK)
    for match in _LOOKUP.finditer(bytes(data[start : end + MOST + 8])):
        if match.start("secret") == end - 1 - start:
            subject = match["name"].decode("utf-8", "replace")
            if is_a_secret(subject) and plausible(match["secret"].decode("utf-8", "replace"), subject, code=code):
                yield Found(end - 1, match["secret"], "default", subject)


_LITERAL = re.compile(rb"\s{0,8}[bur]?([\"'])([^\"'\\\r\n]{3,128})\1\s{0,8}")


def _function(data: Buffer, end: int, _code: bool) -> Iterator[Found]:
    """Read the arguments of a function that takes a password."""
    name = re.match(rb"\((\w{1,40})", bytes(data[max(0, end - 48) : end])[::-1])
    subject = name[1][::-1].decode("utf-8", "replace") if name else ""
    wanted = FUNCTIONS.get(subject)
    if wanted is None:
        return
    at = end
    window = bytes(data[end : end + 512])
    pieces = re.split(rb"([,()])", window, maxsplit=wanted)
    if len(pieces) <= 2 * wanted - 1 or b"(" in pieces[1 : 2 * wanted : 2] or b")" in pieces[1 : 2 * wanted - 1 : 2]:
        return  # calls among the arguments, or fewer of them
    at += sum(map(len, pieces[: 2 * wanted - 2]))
    literal = _LITERAL.fullmatch(pieces[2 * wanted - 2])
    if literal and plausible(literal[2].decode("utf-8", "replace"), "password", code=True):
        yield Found(at + literal.start(2), literal[2], "argument", subject)


def _options(number: int) -> Reader:
    option = OPTIONS[number]

    def read(data: Buffer, end: int, code: bool) -> Iterator[Found]:
        start = max(0, end - 40)
        window = bytes(data[start : end + 512])
        begin = option.start.search(window[: end - start])
        match = option.exact.match(window, begin.start()) if begin else None
        if match:
            at, secret = start + match.start("secret"), match["secret"]
            if secret[:1] in (b'"', b"'"):
                at, secret = at + 1, secret[1:-1]
            text = secret.decode("utf-8", "replace")
            text = text.replace("\\", "") if not code else text
            if plausible(text, "password", code=False) and not (code and text.isalpha() and text not in known()):
                yield Found(at, secret, "argument", option.name)

    return read


def _pipe(data: Buffer, end: int, _code: bool) -> Iterator[Found]:
    start = max(0, end - 256)
    window = bytes(data[start : end + 1000])
    called = end - start - len(b"passwd")
    echo = max(window.rfind(b"echo", 0, called), window.rfind(b"printf", 0, called))
    if document := DOCUMENT.match(window, max(0, called - 2)):
        for line in re.finditer(rb"[\w.-]+:(?P<secret>\S+)", document["lines"]):
            at = start + document.start("lines") + line.start("secret")
            if plausible(line["secret"].decode("utf-8", "replace"), "password", code=False):
                yield Found(at, line["secret"], "argument", "chpasswd")
        return
    begins = (echo, echo, called, echo)
    for begin, name, shape in ((begin, *shape) for begin, shape in zip(begins, PIPES, strict=True)):
        match = compiled(shape).match(window, begin) if begin >= 0 else None
        if (
            match
            and b"\n" not in match[0]
            and plausible(match["secret"].decode("utf-8", "replace"), "password", code=False)
        ):
            yield Found(start + match.start("secret"), match["secret"], "argument", name)
            return


_SENT = re.compile(rb"(?P<secret>[^\"'\\\s\[]{3,128})(?:\\[rn])*[\"']")
_ASKED = re.compile(rb"(?i)passw(?:or)?d|assword|passphrase")


def _sent(data: Buffer, end: int, _code: bool) -> Iterator[Found]:
    """Read what is sent after a password was asked for."""
    at = end - 1
    literal = _SENT.match(bytes(data[at : at + MOST + 8]))
    before = bytes(data[max(0, at - 320) : at])
    before = before[: before.rfind(b"send")]
    since = before[before.rfind(b"send") + 1 :]
    asked = [match.end() for match in _ASKED.finditer(since)]
    expected = asked and len(since) - asked[-1] < BACK and b"expect" in before
    if literal and expected and plausible(literal["secret"].decode("utf-8", "replace"), "password", code=False):
        yield Found(at, literal["secret"], "expect", "send")


_BASIC = re.compile(rb"[A-Za-z0-9+/]{4,256}={0,2}")


def _basic(data: Buffer, end: int, _code: bool) -> Iterator[Found]:
    at = end - 8
    match = _BASIC.match(bytes(data[at : at + 260]))
    if match is None or len(match[0]) % 4:
        return
    user, colon, secret = base64.b64decode(match[0]).partition(b":")
    try:
        name = user.decode("ascii")
        text = secret.decode("ascii")
    except UnicodeDecodeError:
        return
    if colon and text and (name + text).isprintable():
        yield Found(at, secret, "http-basic", name)


_END = rb"[^\s\"']"
READERS: tuple[tuple[Reader, Expression], ...] = (
    (
        _quoted,
        Expression(
            WORDS + rb"[\"'\])}]{0,3}[ \t]{0,8}(?:[:=!]?={1,2}|=>|:|eq |\|\||\?\?|\?:)[ \t]{0,8}[brul]?[\"']" + _END,
            True,
        ),
    ),
    (_reversed, Expression(rb"[\"']\)?[ \t]{0,4}[!=]==?[ \t]{0,4}(?:[\w$.>\[\"'-]{0,60}[^a-z])?" + WORDS, True)),
    (_bare, Expression(WORDS + rb"[\"']?[ \t]{0,8}[=:][ \t]{0,8}[^\s\"'`=:${}<>(),;]", True)),
    (
        _directive,
        Expression(
            rb"(?:^|\n)[ \t]{0,16}(?:(?:option|set|enable)[ \t]{1,4})?[\w.-]{0,24}"
            rb"(?:passw(?:or)?d|passphrase|secret|requirepass|masterauth|psk|key)[ \t]{1,8}[\"']?[^\s\"'=:]",
            True,
        ),
    ),
    (_default, Expression(rb"\$\{\w{0,40}" + WORDS + rb":?[-=][\"']?[^\s\"'$}]", True)),
    (_element, Expression(WORDS + rb">[^\s<>]", True)),
    (_lookup, Expression(WORDS + rb"[\"']\s{0,2},\s{0,4}[\"']" + _END, True)),
    (_function, Expression(rb"(?:" + "|".join(FUNCTIONS).encode() + rb")\(")),
    (_pipe, Expression(rb"passwd")),
    (_sent, Expression(rb"send(?:line)?(?: -- ?| |\()[\"'][^\s\"']")),
    (_basic, Expression(rb"Basic [A-Za-z0-9+/]{8}")),
    *((_options(number), Expression(option.trigger)) for number, option in enumerate(OPTIONS)),
)
