"""/etc/inetd.conf: its lines, and the services that they are.

Source: inetd.conf(5); fields are service, socket type, protocol, wait or nowait, user[.group], server, arguments.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.service import Directive, Service

from .base import Content, ContentInspector, Tree, TreeInspector
from .late import late
from .secrecy import withhold
from .startup import program
from .superserver import started

DIALECT = "inetd"

PATH = "/etc/inetd.conf"

NAMES = frozenset({"inetd", "openbsd-inetd", "inetutils-inetd", "rlinetd"})

_SEPARATOR = late(r"[.:/]")


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a service: key its name (behind an address, if one is given), value the rest."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        fields = line.split(None, 1)
        if len(fields) == 2 and line[0] != "#":
            yield Directive(dialect=DIALECT, key=fields[0], value=withhold(fields[1]), line=number)


def services(tree: Tree) -> Iterator[Service]:
    """Yield one service a line; enabled if the tree starts inetd."""
    file = tree.lookup(PATH)
    if file is None:
        return
    lines = [line for line in tree.facts(Directive, file) if line.dialect == DIALECT]
    runs, by = started(tree, NAMES) if lines else (None, None)
    for line in lines:
        fields = line.value.split(None, 4)
        if len(fields) < 5:
            continue
        _, protocol, _, account, command = fields
        user, _, group = _SEPARATOR.sub(":", account, count=1).partition(":")
        yield Service(
            name=f"{line.key}/{protocol}",
            manager="inetd",
            enabled=runs,
            enabled_by=f"{PATH}:{line.line}, {by}" if by else None,
            trigger="socket",
            user=user,
            user_origin="line",
            group_name=group or None,
            command=command,
            executable=_program(tree, command),
            path=PATH,
            line=line.line,
        )


def _program(tree: Tree, command: str) -> str | None:
    """Return the server's program: behind a TCP wrapper, the wrapped one."""
    server, *arguments = command.split(None, 2)
    if posixpath.basename(server) == "tcpd" and arguments:
        return program(tree, arguments[0])
    return None if server == "internal" else program(tree, server)


INSPECTOR = ContentInspector(
    name="inetd",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/etc/inetd.conf",),
    wants_path=lambda path: path.endswith("/etc/inetd.conf"),
    max_size=1 << 20,
    text_only=True,
)

SERVICES = TreeInspector(name="inetd-services", version=1, families=(Service,), inspect=services)
