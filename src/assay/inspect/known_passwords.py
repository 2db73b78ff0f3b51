"""Known passwords: hashes and clear passwords that are entries of a published list of defaults.

The list is `known_passwords.tsv` beside this module, which names the source of each entry. A hash is tried with every
entry as far as the time for one content goes: the likeliest entries first, each on all hashes before the next.
This inspector looks at hashes that name their scheme wherever they stand, and at the fields of passwd and shadow; the
other passwords of a store of accounts are tried by the inspector that reads the store.

Source: known_passwords.tsv; crypt(5).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from assay.facts.access import KnownPassword
from assay.unpack.base import LimitReached, Unsupported

from . import password_check
from .accounts import is_passwd, is_shadow, read_field
from .base import Content, ContentInspector, Expression
from .crypt_format import SHAPES
from .late import late
from .password_check import MOST_MILLISECONDS, fits, milliseconds
from .scan import MAX_HITS

CPU_SECONDS = 2.0
"""Time for the hashes of one content."""
PROGRAM_CPU_SECONDS = 0.5
"""The same for a program: what stands in one is seldom the hash of an account (sshd has one for unknown users)."""
MAX_SECRETS = 200
"""Hashes of one content that are tried; the same hash counts once."""
LIST = Path(__file__).with_name("known_passwords.tsv")
ORIGIN = "known_passwords.tsv 2026-11"


class Secret(NamedTuple):
    """A hash or clear password, and where it stands."""

    account: str
    scheme: str
    """`clear`, or as `crypt_format` and `password_format` name it."""
    text: str
    offset: int | None = None
    line: int | None = None
    realm: str = ""


class NotTried(LimitReached):
    """Not every hash was tried with every entry of the list."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__("known_password_cpu_seconds", seconds)
        self.args = (f"{self.args[0]}: {what}",)


class Entry(NamedTuple):
    """An entry of the list."""

    account: str
    password: str
    line: int


@cache
def entries() -> tuple[Entry, ...]:
    """Return the list, in order."""
    found = []
    for number, line in enumerate(LIST.read_text("utf-8").splitlines(), 1):
        if not line.startswith("#"):
            account, password, _source = line.split("\t")
            found.append(Entry(account, password, number))
    return tuple(found)


@lru_cache(maxsize=256)
def candidates(account: str) -> tuple[tuple[str, int], ...]:
    """Return what is tried on an account, likeliest first: (password, line of the list), each password once."""
    own = [entry for entry in entries() if entry.account == account or "{" in entry.password or not entry.password]
    found: dict[str, int] = {}
    for entry in (*own, *entries()):
        password = entry.password.replace("{account}", account)
        if password or entry.password == "":
            found.setdefault(password, entry.line)
    return tuple(found.items())


def prepare() -> None:
    """Load the list and crypt(3), before workers are forked and confined."""
    entries()
    password_check.prepare()


def known(secrets: Iterable[Secret], seconds: float | None = None) -> Iterator[KnownPassword]:
    """Yield the secrets that are entries of the list.

    Args:
        secrets: what may be an entry.
        seconds: processor time for all of them; CPU_SECONDS unless told.

    Raises:
        NotTried: time or number did not allow to try every hash with every entry; says how far it went.
        Unsupported: hashes of a scheme that cannot be computed here; names the schemes.
    """
    seconds = CPU_SECONDS if seconds is None else seconds
    hashes: list[Secret] = []
    seen: set[Secret] = set()
    dear: set[str] = set()
    unable: set[str] = set()
    dropped = 0
    for secret in secrets:
        if secret in seen:
            continue
        if len(hashes) < MAX_SECRETS:
            seen.add(secret)
        if secret.scheme == "clear":
            line = dict(candidates(secret.account)).get(secret.text)
            if line is not None and secret.text:
                yield _fact(secret, line, empty=False)
            continue
        cost = milliseconds(secret.scheme, secret.text)
        if cost is None:
            unable.add(secret.scheme)
        elif cost > MOST_MILLISECONDS:
            dear.add(secret.scheme)
        elif len(hashes) >= MAX_SECRETS:
            dropped += 1
        else:
            hashes.append(secret)
    most = max((len(candidates(secret.account)) for secret in hashes), default=0)
    rank = 0
    ends = time.process_time() + seconds
    while hashes and rank < most and time.process_time() < ends:
        left = []
        for secret in hashes:
            tried = candidates(secret.account)
            if rank < len(tried):
                password, line = tried[rank]
                if fits(secret.scheme, secret.text, password, secret.account, secret.realm):
                    yield _fact(secret, line, empty=not password)
                    continue
            left.append(secret)
        hashes = left
        rank += 1
    missing = []
    if hashes and rank < most:
        missing.append(f"{len(hashes)} hashes tried with the first {rank} of {most} passwords")
    if dropped:
        missing.append(f"{dropped} hashes not tried")
    if dear:
        missing.append(f"too slow to compute, not tried: {', '.join(sorted(dear))}")
    unsupported = f"cannot be computed here, not tried: {', '.join(sorted(unable))}"
    if missing:
        raise NotTried("; ".join([*missing, *([unsupported] if unable else [])]), seconds)
    if unable:
        raise Unsupported(unsupported)


def _fact(secret: Secret, line: int, *, empty: bool) -> KnownPassword:
    return KnownPassword(
        account=secret.account,
        scheme=secret.scheme,
        fingerprint=hashlib.sha256(secret.text.encode("utf-8", "surrogateescape")).hexdigest(),
        origin=ORIGIN,
        entry=line,
        empty=empty,
        offset=secret.offset,
        line=secret.line,
    )


_TRIGGERS = list(SHAPES.items())
_EXACT = [late(shape.encode() + rb"(?![./0-9A-Za-z$])", re.ASCII) for _, shape in _TRIGGERS]
_OWNER = late(rb"(?<![\w.@-])([\w.@-]{1,64}):!?\Z", re.ASCII)
REACH = 512
_LINE = late(rb"^([\w.@+-]{1,64}):([^:\s]{1,256})(?::|$)", re.MULTILINE | re.ASCII)


def _fields(data: bytes) -> Iterator[Secret]:
    """Yield the hashes in the second fields of lines, traditional ones too; a lock before one is left out."""
    line, position = 1, 0
    for match in _LINE.finditer(data):
        field = read_field(match[2].decode("ascii", "replace"))
        if field.scheme is None:
            continue
        line += data.count(b"\n", position, match.start())
        position = match.start()
        yield Secret(match[1].decode(), field.scheme, field.hash, match.start(2) + field.locked, line)


def _hashes(content: Content) -> Iterator[Secret]:
    """Yield the hashes that stand anywhere in the content."""
    data = content.data
    line, position = 1, 0
    for end, number in content.hits.places:
        start = max(0, end - REACH)
        for match in _EXACT[number].finditer(bytes(data[start : end + 64])):
            if match.end() != end - start:
                continue
            at = start + match.start()
            owner = _OWNER.search(bytes(data[max(0, at - 67) : at]))
            if content.kind in ("text", "script"):
                while position < at:
                    step = min(at - position, 1 << 20)
                    line += bytes(data[position : position + step]).count(b"\n")
                    position += step
            yield Secret(
                owner[1].decode() if owner else "",
                _TRIGGERS[number][0],
                match[0].decode(),
                at,
                line if content.kind in ("text", "script") else None,
            )


def inspect(content: Content) -> Iterator[KnownPassword]:
    """Yield the hashes of a content that are those of known passwords. Raises what `known` raises."""
    head = content.head
    if is_passwd(head) or is_shadow(head):
        yield from known(_fields(bytes(content.data[: 16 << 20])))
    elif content.hits.places:
        seconds = PROGRAM_CPU_SECONDS if content.kind == "elf" else CPU_SECONDS
        yield from known(_hashes(content), seconds)
        if content.hits.cut:
            raise NotTried(f"hashes after the first {MAX_HITS} not looked at", seconds)


INSPECTOR = ContentInspector(
    name="known-passwords",
    version=1,
    families=(KnownPassword,),
    inspect=inspect,
    expressions=tuple(Expression(shape.encode()) for _, shape in _TRIGGERS),
    unseen=(
        "passwords that are not on the list; schemes and costs that are not tried are named as unread",
        "traditional thirteen-character hashes outside account databases and password files: they have no shape",
    ),
)
