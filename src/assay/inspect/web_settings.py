"""What all web servers have in common: the effective settings of a server and its locations, in words of no dialect.

Every server's own keywords stand under its own subsystem (nginx, apache, lighttpd, ...). What they come to stands once
more under the subsystem `web`, for every server in the same words, so that a question needs no dialect; the scope then
begins with the program's name. What concerns TLS stands under `tls`: see `tls_settings`.

| key | value |
| --- | --- |
| user, group | account that requests are served as |
| document-root | directory that is served |
| directory-listing | on, off |
| server-header | what a response says of the server: version (name and version), name, none, text: ... |
| server-signature | pages made by the server (errors, listings) say what it is: on, off |
| scripts | what runs programs or scripts: the kind, and what it is for (cgi /usr/lib/cgi-bin/, fastcgi unix:/run/x) |
| ssi, ssi-exec | server-side includes, and commands in them: on, off |
| webdav | on, off, or the methods allowed |
| methods | request methods allowed, where they are limited; a leading `not` where those named are refused |
| trace | the TRACE method: on, off |
| status-page | what shows the server's state: module or path |
| authentication | none, or the scheme and realm |
| user-file | file, socket or directory that users are looked up in (the place only) |
| body-limit | greatest request body, bytes or as written; 0 or none where there is no limit |
| header NAME | a response header that is set (name in lower case) |

A location has a row only where it differs from what it stands in; an empty value says that what holds outside of it is
not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from assay.facts.package import Package
from assay.facts.service import Setting
from assay.unpack.base import LimitReached

from .base import Tree
from .late import late

MOST = 50_000
"""Settings of one server program in one tree."""

Version = tuple[int, ...]

_VERSION = late(r"(?:\d+:)?(\d{1,5})\.(\d{1,5})(?:\.(\d{1,5}))?")


class Item(NamedTuple):
    """A value, and where it is stated: a place in a file, or whose default it is."""

    value: str
    path: str | None = None
    line: int | None = None
    basis: str | None = None


Values = dict[str, list[Item]]
"""The items of each key, in order."""


class Rows:
    """Makes settings of values, and ends when there are too many.

    Args:
        program: subsystem of the dialect's own keywords.
        most: how many settings to make.
    """

    def __init__(self, program: str, most: int = MOST) -> None:
        self.program = program
        self.most = self.left = most

    def own(self, scope: str, values: Mapping[str, list[Item]], outer: Mapping[str, list[Item]]) -> Iterator[Setting]:
        """Yield settings in the dialect's keywords, where they differ from those outside.

        Raises:
            LimitReached: there are more settings than one program may have.
        """
        yield from self._rows(self.program, scope, values, outer)

    def common(
        self, scope: str, values: Mapping[str, list[Item]], outer: Mapping[str, list[Item]]
    ) -> Iterator[Setting]:
        """Yield settings under `web` and `tls` (keys that begin with `tls `), where they differ from those outside.

        Args:
            scope: server and location.
            values: what holds.
            outer: what holds in the block around it.

        Raises:
            LimitReached: as `own`.
        """
        whole = f"{self.program} {scope}".rstrip()
        tls = {key[4:]: items for key, items in values.items() if key.startswith("tls ")}
        web = {key: items for key, items in values.items() if not key.startswith("tls ")}
        yield from self._rows("web", whole, web, outer)
        yield from self._rows("tls", whole, tls, {key[4:]: v for key, v in outer.items() if key.startswith("tls ")})

    def _rows(
        self, subsystem: str, scope: str, values: Mapping[str, list[Item]], outer: Mapping[str, list[Item]]
    ) -> Iterator[Setting]:
        for key, items in values.items():
            if items == outer.get(key):
                continue
            for item in items:
                self.left -= 1 + (len(item.value) >> 8)  # a long value that holds in many places counts for more
                if self.left < 0:
                    raise LimitReached(f"settings of {self.program}", self.most)
                yield Setting(
                    subsystem=subsystem,
                    key=key,
                    value=item.value,
                    origin="file" if item.path else "default",
                    scope=scope,
                    basis=item.basis,
                    path=item.path,
                    line=item.line,
                )


class Names:
    """Gives every server and location a name of its own: the second of a name is told by its place."""

    def __init__(self) -> None:
        self.given: set[str] = set()

    def name(self, wanted: str, path: str | None, line: int | None) -> str:
        """Return the name, with the place added if it has been given before."""
        wanted = wanted if len(wanted) <= 400 else f"{wanted[:400]}..."
        if wanted in self.given:
            wanted = f"{wanted} ({path}:{line})"
        self.given.add(wanted)
        return wanted


def version(tree: Tree, packages: frozenset[str]) -> Version | None:
    """Return a program's version as a package database states it; None if none or several do."""
    found = set()
    for _, package in tree.all(Package):
        if package.name in packages and package.status == "installed" and (match := _VERSION.match(package.version)):
            found.add(tuple(int(part or 0) for part in match.groups()))
    return found.pop() if len(found) == 1 else None


class Default(NamedTuple):
    """What a keyword is when no file sets it."""

    key: str
    value: str
    since: Version = ()
    """First version of which the value is stated here."""
    until: Version | None = None
    """First version of which it is no longer stated; None if it holds in the newest."""


def defaults(table: tuple[Default, ...], of: Version | None, first: Version, last: Version, manual: str) -> Values:
    """Return the defaults that hold in a version, or, where it is not known, those that hold in all of the table.

    A version outside the table gives none: what is not known is not claimed.

    Args:
        table: keywords and values.
        of: the program's version, None if unknown.
        first: oldest version that the table speaks of.
        last: newest version that the table speaks of.
        manual: name of the manual, for the basis.
    """
    span = f"{'.'.join(map(str, first))} to {'.'.join(map(str, last))}"
    if of is not None and first <= of <= last:
        basis = f"{manual}, {'.'.join(map(str, of))}; version from the package database"
        chosen = [row for row in table if row.since <= of and (row.until is None or of < row.until)]
    elif of is None:
        basis = f"{manual}; version unknown, the same in {span}"
        chosen = [row for row in table if not row.since and row.until is None]
    else:
        return {}
    return {row.key: [Item(row.value, basis=basis)] for row in chosen}


def size(text: str) -> str:
    """Return a size of a configuration (8k, 1m, 2G) as bytes; as it is, if it is none."""
    match = re.fullmatch(r"(\d{1,12})([kKmMgG]?)", text)
    if match is None:
        return text
    return str(int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2].lower()])
