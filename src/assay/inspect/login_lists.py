"""Lists that decide who logs in where and with how much: limits, access, terminals of root, shells.

Source: limits.conf(5), pam_limits(8), access.conf(5), pam_access(8), securetty(5), pam_securetty(8), shells(5) of
Linux-PAM 1.5.2. Files of limits.d are read in order of name after limits.conf, and the last line of a domain, type and
item holds; of access.conf the first line that matches. A list holds only for services whose PAM stack has its module.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.service import Directive, Setting
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .pam import Stacks, together

LIMITS, ACCESS, SECURETTY, SHELLS = "limits.conf", "access.conf", "securetty", "shells"


VARIANTS = 20
"""Different arguments with which one module stands: a list is told once for each."""


def wants_path(path: str) -> bool:
    """Tell whether a file is one of the lists."""
    if "/etc/s" not in path:
        return False
    if "/etc/security/" not in path:
        return path.endswith(("/etc/securetty", "/etc/shells"))
    return path.endswith(("/etc/security/limits.conf", "/etc/security/access.conf")) or (
        path.endswith(".conf") and ("/etc/security/limits.d/" in path or "/etc/security/access.d/" in path)
    )


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line; its form tells which list it is of.

    Limits: section the domain, key TYPE/ITEM, value the value. Access: key + or -, value `users : origins`. Else: key
    `tty` or `shell`, value the name or path.

    Raises:
        ValueError: a line is of none of these forms; the others have been read.
    """
    wrong = 0
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        fields = line.split()
        access = [part.strip() for part in line.split(":", 2)]
        if len(access) == 3 and access[0] in ("+", "-"):
            yield Directive(dialect=ACCESS, key=access[0], value=f"{access[1]} : {access[2]}", line=number)
        elif len(fields) == 4 and fields[1] in ("soft", "hard", "-"):
            key = f"{fields[1]}/{fields[2].lower()}"
            yield Directive(dialect=LIMITS, section=fields[0], key=key, value=fields[3], line=number)
        elif len(fields) == 2 and fields[1] == "-":
            yield Directive(dialect=LIMITS, section=fields[0], key="-", value="unlimited", line=number)
        elif len(fields) == 1 and line.startswith("/"):
            yield Directive(dialect=SHELLS, key="shell", value=line, line=number)
        elif len(fields) == 1:
            yield Directive(dialect=SECURETTY, key="tty", value=line, line=number)
        else:
            wrong = wrong or number
    if wrong:
        raise ValueError(f"line {wrong}: neither limit, rule of access, terminal nor shell")


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield the lists that hold: subsystem limits.conf (key DOMAIN/TYPE/ITEM), access.conf (NN), securetty, shells.

    The scope names the services (SERVICE/TYPE) whose stack has the module that reads the list; without one, the list
    yields nothing. /etc/shells is read by chsh and others without PAM, and has no scope.

    Raises:
        LimitReached: a module stands with more different arguments than are told.
    """
    stacks = Stacks(tree)
    modules: dict[str, list[tuple[str, list[str]]]] = {}
    if stacks.there:
        for service, kind, entries, _ in stacks.reported():
            for entry in entries:
                modules.setdefault(entry.module, []).append((f"{service}/{kind}", entry.arguments))
    for scope, arguments in _scopes(modules.get("pam_limits", [])):
        conf = _argument(arguments, "conf=")
        paths = [conf] if conf else ["/etc/security/limits.conf", *_directory(tree, "/etc/security/limits.d")]
        won: dict[str, tuple[TreeFile, Directive, list[str]]] = {}
        for file, line in _lines(tree, paths, LIMITS):
            key = f"{line.section}/{line.key}"
            over = [*won[key][2], f"{won[key][0].path}:{won[key][1].line}"][-100:] if key in won else []
            won[key] = file, line, over
        for key, (file, line, over) in won.items():
            basis = f"overrides {', '.join(over)}" if over else None
            yield _setting(LIMITS, key, file, line, scope, basis)
    for scope, arguments in _scopes(modules.get("pam_access", [])):
        paths = [_argument(arguments, "accessfile=") or "/etc/security/access.conf"]
        for number, (file, line) in enumerate(_lines(tree, paths, ACCESS), 1):
            yield _setting(ACCESS, f"{number:02}", file, line, scope, None, f"{line.key} : {line.value}")
    for scope, _ in _scopes(modules.get("pam_securetty", [])):
        for file, line in _lines(tree, ["/etc/securetty"], SECURETTY):
            yield _setting(SECURETTY, "tty", file, line, scope, None)
    for file, line in _lines(tree, ["/etc/shells"], SHELLS):
        yield _setting(SHELLS, "shell", file, line, "", None)


def _scopes(standing: list[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the services that run a module with the same arguments together."""
    by: dict[tuple[str, ...], dict[str, None]] = {}
    for place, arguments in standing:
        by.setdefault(tuple(arguments), {})[place] = None
    for number, (key, places) in enumerate(by.items()):
        if number == VARIANTS:
            raise LimitReached("pam_module_variants", VARIANTS)
        yield together(places), list(key)


def _argument(arguments: list[str], name: str) -> str:
    return next((argument[len(name) :] for argument in arguments if argument.startswith(name)), "")


def _directory(tree: Tree, path: str) -> list[str]:
    return sorted(file.path for file in tree.listdir(path) if posixpath.basename(file.path).endswith(".conf"))


def _lines(tree: Tree, paths: list[str], dialect: str) -> Iterator[tuple[TreeFile, Directive]]:
    for path in paths:
        file = tree.lookup(path)
        for line in tree.facts(Directive, file) if file else []:
            if line.dialect == dialect:
                yield file, line  # type: ignore[misc]  # without a file there are no lines


def _setting(
    subsystem: str, key: str, file: TreeFile, line: Directive, scope: str, basis: str | None, value: str | None = None
) -> Setting:
    return Setting(
        subsystem=subsystem,
        key=key,
        value=line.value if value is None else value,
        origin="file",
        scope=scope,
        basis=basis,
        path=file.path,
        line=line.line,
    )


INSPECTOR = ContentInspector(
    name="login-lists",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/etc/s",),
    wants_path=wants_path,
    max_size=1 << 20,
)

SETTINGS = TreeInspector(
    name="login-lists-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "limits of a service manager (LimitNOFILE=), and limits of the kernel where no line sets them",
        "lists that an argument names outside their usual place",
        "which line holds for a person: for limits that of the user before the group's before '*'",
    ),
)
