"""Credentials written into scripts and configuration: literals assigned, compared, passed or sent as passwords.

Hyperscan finds where a name that says so, or a program that takes one, stands before a literal; what stands around it
decides. In scripts only quoted literals count; in shell scripts and configuration, bare words too. Places to put a
password (${X}, <password>, ****), comments, documentation, labels and names are none; defaults are. A fact tells the
place, the name and the fingerprint, never the secret. What binaries hold is seen by `hard_coded_calls`.

Reference: `hard_coded_tables` for names, programs and functions; ftp's .netrc (GNU inetutils), PostgreSQL "The Password
File"; RFC 7617 (Basic); expect(1).
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect
from collections.abc import Iterator

from assay.facts.access import Credential
from assay.unpack.base import LimitReached

from . import dockerfile
from .base import Buffer, Content, ContentInspector, numbered
from .hard_coded_readers import READERS, Found, known
from .scan import MAX_HITS

MAX_FACTS = 2_000
MAX_CANDIDATES = 5_000
"""Literals that are looked at for whether they stand in a comment."""
REMARKS = 1 << 13
"""Bytes before a place in which the start of a comment is looked for."""


def prepare() -> None:
    """Load the list of known defaults, before workers are forked and confined."""
    known()


_COMMENT = re.compile(rb"#|//|\*|/\*|;|--|<!--|(?i:rem )|>>>|\.\.\.|%|\\\"|dnl ")
_REMARK = re.compile(rb"\s(?:#|//)\s|^(?:#|//)")


class Remarks:
    """Tells what stands in a comment or documentation.

    Args:
        data: the content.
    """

    def __init__(self, data: Buffer) -> None:
        self.data = data
        self.quotes: dict[bytes, list[int]] = {}

    def has(self, at: int) -> bool:
        """Tell whether a place is in a comment: of its line, a block of C's kind, a docstring or POD."""
        before = b"\n" + bytes(self.data[max(0, at - REMARKS) : at])
        line = before[before.rfind(b"\n") + 1 :]
        if _COMMENT.match(line.lstrip()) or _REMARK.search(line):
            return True
        opened = before.rfind(b"/*")
        if opened > before.rfind(b"*/") and before[max(0, opened - 1) : opened] in (
            b"",
            b" ",
            b"\n",
            b"\t",
            b";",
            b"{",
        ):
            return True
        pod = max(
            before.rfind(word) for word in (b"\n=head", b"\n=over", b"\n=item", b"\n=pod", b"\n=begin", b"\n=back")
        )
        if pod > before.rfind(b"\n=cut") or before.rfind(b"<!--") > before.rfind(b"-->"):
            return True
        return any(bisect(self._places(mark), at) % 2 for mark in (b'"""', b"'''"))

    def _places(self, mark: bytes) -> list[int]:
        found = self.quotes.get(mark)
        if found is None:
            found = self.quotes[mark] = [m.start() for m in re.finditer(mark, self.data)]
        return found


def _inspect(content: Content, *, code: bool) -> Iterator[Credential]:
    found: dict[int, Found] = {}
    remarks = Remarks(content.data)
    cut = content.hits.cut
    left = MAX_CANDIDATES
    for end, number in content.hits.places:
        for item in READERS[number][0](content.data, end, code):
            left -= 1
            if item.at not in found and not remarks.has(item.at):
                found[item.at] = item
        if len(found) >= MAX_FACTS or left <= 0:
            cut = True
            break
    yield from numbered(content, (_fact(item) for _, item in sorted(found.items())))
    if cut:
        raise LimitReached("hard-coded credentials", MAX_FACTS if len(found) >= MAX_FACTS else MAX_HITS)


def _fact(item: Found) -> Credential:
    return Credential(
        offset=item.at,
        kind="hard-coded",
        scheme=item.scheme,
        fingerprint=hashlib.sha256(item.secret).hexdigest(),
        subject=item.subject,
        evidence="pattern",
    )


def in_code(content: Content) -> Iterator[Credential]:
    """Yield the credentials of a script, where only quoted literals count, in order of place.

    Raises:
        LimitReached: more candidates or credentials than one content may have; the first ones stand.
    """
    if not _SHELLS.match(content.head):
        yield from _inspect(content, code=True)


def in_lines(content: Content) -> Iterator[Credential]:
    """Yield the credentials of a shell script or configuration, in order of place. Raises what `in_code` raises."""
    if content.head[:2] != b"#!" or _SHELLS.match(content.head):
        yield from _inspect(content, code=False)


_NETRC = re.compile(
    rb"(?<!\S)(?:machine\s{1,8}(?P<machine>\S{1,255})|default)\s{1,8}login\s{1,8}\S{1,128}\s{1,8}password\s{1,8}"
    rb"(?P<secret>[^\s#]\S{0,255})"
)
_PGPASS = re.compile(
    rb"^(?P<subject>(?:[^#:\\\r\n]|\\.)(?:[^:\\\r\n]|\\.){0,254}(?::(?:[^:\\\r\n]|\\.){1,255}){3}):(?P<secret>[^\r\n]{1,255})",
    re.MULTILINE,
)


def in_stores(content: Content) -> Iterator[Credential]:
    """Yield the passwords of .netrc and .pgpass, in order of place.

    Raises:
        LimitReached: more than one file may have.
    """
    data = bytes(content.data[: 1 << 20])
    netrc = b"login" in data and b"password" in data
    found = []
    for match in (_NETRC if netrc else _PGPASS).finditer(data):
        if netrc:
            subject = (match["machine"] or b"default").decode("utf-8", "backslashreplace")
        else:
            subject = match["subject"].decode("utf-8", "backslashreplace")
        secret = match["secret"]
        found.append(Found(match.start("secret"), secret, "netrc" if netrc else "pgpass", subject))
        if len(found) >= MAX_FACTS:
            break
    yield from numbered(content, map(_fact, found))
    if len(found) >= MAX_FACTS or content.size > len(data):
        raise LimitReached("hard-coded credentials", MAX_FACTS)


CODE_ENDINGS = frozenset(
    "py pl pm php inc lua js mjs tcl exp rb jsp asp ts html htm groovy ps1 sql".split()  # noqa: SIM905 - a list of words
)
LINE_ENDINGS = frozenset(
    "sh conf cfg cnf ini env properties yaml yml json xml toml service config rc bat".split()  # noqa: SIM905 - the same
)
_PAPERS = re.compile(
    r"/(?:docs?|man|help|info|locales?|i18n|l10n|lang|langs|languages?|translations?|licen[sc]es|javadoc|gtk-doc|bash-completion"
    r"|completions|zsh|fish|vim|nvim|emacs|highlight|mime|schemas?)/|(?i:changelog|readme|/news)[^/]*$"
)
_SHELLS = re.compile(rb"#![^\n]{0,80}\b(?:ba|da|a|k|z)?sh\b")


def _is_code(path: str) -> bool:
    return path[path.rfind(".") + 1 :] in CODE_ENDINGS and not _PAPERS.search(path)


def _has_lines(path: str) -> bool:
    ending = path[path.rfind(".") + 1 :]
    wanted = (
        ending in LINE_ENDINGS or ("/etc/" in path and ending not in CODE_ENDINGS) or dockerfile.is_dockerfile(path)
    )
    return wanted and not _PAPERS.search(path)


_EXPRESSIONS = tuple(expression for _, expression in READERS)
_UNSEEN = (
    "secrets with a space or a backslash in them, of fewer than three characters, or put together from parts",
    "in scripts, passwords that are a plain word and no published default: they cannot be told from labels; but where "
    "a variable is named as nothing but a password, what it is compared with is one",
    "keys and tokens under a name that says so, but of fewer than twelve characters or without a digit",
    "comments and documentation, manuals, translations; names in other languages than English",
    "passwords that are encoded, encrypted or computed (a Basic header is decoded)",
    "scripts without an interpreter line and an ending that says what they are",
)

CODE = ContentInspector(
    name="hard-coded-code",
    version=2,
    families=(Credential,),
    inspect=in_code,
    head_begins=(b"#!",),
    wants_path=_is_code,
    wants_head=lambda head: head[:2] == b"#!" and not _SHELLS.match(head),
    text_only=True,
    only_hits=True,
    expressions=_EXPRESSIONS,
    unseen=_UNSEEN,
)
LINES = ContentInspector(
    name="hard-coded-lines",
    version=2,
    families=(Credential,),
    inspect=in_lines,
    head_begins=(b"#!",),
    wants_path=_has_lines,
    wants_head=lambda head: head[:2] == b"#!" and _SHELLS.match(head) is not None,
    text_only=True,
    only_hits=True,
    expressions=_EXPRESSIONS,
    unseen=_UNSEEN,
)
STORES = ContentInspector(
    name="hard-coded-stores",
    version=1,
    families=(Credential,),
    inspect=in_stores,
    path_has=("netrc", "/.pgpass", "/.authinfo"),
    wants_path=lambda path: path.endswith(("/.netrc", "/_netrc", "/.pgpass", "/.authinfo")),
    unseen=("password files under other names",),
)
