"""xinetd.conf and the files of xinetd.d: their lines, and the services that they are.

Source: xinetd.conf(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.service import Directive, Service

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .secrecy import withhold
from .startup import program
from .superserver import started

DIALECT = "xinetd"

MAIN = "/etc/xinetd.conf"

NAMES = frozenset({"xinetd"})

FILES = 1000

Block = list[tuple[TreeFile, Directive]]


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an attribute, with its service (or `defaults`) as section.

    Each block begins with a directive whose key is `service` or `defaults`, for several blocks may have one name. The
    operators `+=` and `-=` stand at the head of the value.
    """
    section: str | None = None
    inside = False
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        first, _, rest = line.partition(" ") if " " in line else line.partition("\t")
        opens = line.endswith("{")
        if not inside and first in ("service", "defaults", "defaults{"):
            section = rest.rstrip("{").strip() if first == "service" else "defaults"
            yield Directive(dialect=DIALECT, section=section, key=first.rstrip("{"), value=section, line=number)
            inside = opens
        elif line == "{":
            inside = section is not None
        elif line == "}":
            section, inside = None, False
        elif inside and "=" in line:
            key, _, value = line.partition("=")
            sign = key[-1:] if key[-1:] in "+-" else ""
            value = f"{sign}= {value.strip()}" if sign else value.strip()
            if key.rstrip("+- \t") == "env":
                value = f"{value.partition('=')[0]}="
            yield Directive(
                dialect=DIALECT, section=section, key=key.rstrip("+- \t").lower(), value=withhold(value), line=number
            )
        elif not inside and first in ("include", "includedir"):
            yield Directive(dialect=DIALECT, key=first, value=rest.strip(), line=number)


def _files(tree: Tree) -> list[TreeFile]:
    """Return the main file and what it includes; of a directory the names without dot or tilde, in order."""
    main = tree.lookup(MAIN)
    if main is None:
        # Without a main file nothing includes the directory; a package may still deliver into it.
        return _directory(tree, "/etc/xinetd.d")
    found = [main]
    for line in tree.facts(Directive, main):
        if line.dialect == DIALECT and line.key == "includedir":
            found += _directory(tree, line.value)
        elif line.dialect == DIALECT and line.key == "include" and (file := tree.lookup(line.value)):
            found.append(file)
        if len(found) > FILES:
            break
    return found[:FILES]


def _directory(tree: Tree, path: str) -> list[TreeFile]:
    return [
        file
        for file in tree.listdir(path)
        if file.type in ("regular", "hardlink", "symlink")
        and "." not in (name := file.path.rpartition("/")[2])
        and not name.endswith("~")
    ]


def _blocks(tree: Tree) -> tuple[list[Block], Block]:
    """Return the service blocks, and all lines of the defaults."""
    blocks: list[Block] = []
    defaults: Block = []
    for file in _files(tree):
        for line in tree.facts(Directive, file):
            if line.dialect == DIALECT and line.section is not None:
                if line.section == "defaults" and line.key != "service":
                    defaults.append((file, line))
                elif line.key == "service":
                    blocks.append([(file, line)])
                elif blocks:
                    blocks[-1].append((file, line))
    return blocks, defaults


def services(tree: Tree) -> Iterator[Service]:
    """Yield one service a block; enabled if the configuration does not disable it and the tree starts xinetd."""
    blocks, defaults = _blocks(tree)
    only = _names(defaults, "enabled")
    never = _names(defaults, "disabled")
    runs, by = started(tree, NAMES) if blocks else (None, None)
    for block in blocks:
        file, head = block[0]
        values = {line.key: line for _, line in block[1:]}
        identity = values["id"].value if "id" in values else head.value
        disabled = "disable" in values and values["disable"].value.lower() == "yes"
        disabled = disabled or identity in never or (bool(only) and identity not in only)
        enabled = False if disabled else runs
        user = values.get("user")
        group = values.get("group")
        server = values.get("server")
        arguments = values.get("server_args")
        internal = "INTERNAL" in values["type"].value.upper().split() if "type" in values else False
        yield Service(
            name=identity,
            manager="xinetd",
            enabled=enabled,
            enabled_by=f"{file.path}:{head.line}, {by}" if enabled and by else None,
            trigger="socket",
            user=user.value if user else "root" if internal else None,
            user_origin="directive" if user else "default" if internal else None,
            group_name=group.value if group else None,
            command=f"{server.value} {arguments.value if arguments else ''}".rstrip() if server else None,
            executable=program(tree, server.value) if server else None,
            path=file.path,
            line=head.line,
        )


def _names(defaults: Block, key: str) -> set[str]:
    return {name for _, line in defaults if line.key == key for name in line.value.lstrip("+-= ").split()}


INSPECTOR = ContentInspector(
    name="xinetd",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/xinetd.",),
    wants_path=lambda path: "/xinetd." in path and (path.endswith("/xinetd.conf") or "/xinetd.d/" in path),
    max_size=1 << 20,
    text_only=True,
)

SERVICES = TreeInspector(name="xinetd-services", version=1, families=(Service,), inspect=services)
