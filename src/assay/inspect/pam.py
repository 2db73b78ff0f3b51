"""PAM: the lines of its configuration, and the stack of modules that they come to for each service.

Source: pam.conf(5), pam.d(5), pam(8) of Linux-PAM 1.5.2; `@include` as Debian patches it in. A service's file is looked
for in /etc/pam.d, then in the vendor's directories; where there is such a directory, /etc/pam.conf is not read. A
service without a line of a type gets the lines of that type of the service `other`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from assay.facts.service import Directive, Setting
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .late import late
from .secrecy import withhold

DIALECT = "pam"

TYPES = ("auth", "account", "password", "session")

DIRECTORIES = ("/etc/pam.d", "/usr/lib/pam.d", "/usr/etc/pam.d")
"""Where a service's file is looked for, in order; the last is the vendor's directory of some distributions."""

CONF = "/etc/pam.conf"

OTHER = "other"

DEPTH = 16
"""Levels of inclusion that libpam allows (PAM_SUBSTACK_MAX_LEVEL)."""

WORK = 200_000
"""Lines looked at for one tree: inclusions of inclusions may not multiply without end."""

SERVICES = 200
"""Services that a scope names."""

SHARED = late(
    r"common-.*|system-.*|base-.*|.*-auth|postlogin|password-auth(?:-.*)?|(?:auth|account|password|session)-include"
)
"""Names of files that distributions make to be included: no program asks for a service of that name."""

_WORDS = late(r"\[(?:\\.?|[^\]\\])*\]?|\S+")


class Entry(NamedTuple):
    """A module in a stack."""

    file: TreeFile
    line: Directive
    value: str
    """Control, module and arguments, separated by one blank."""
    substack: str
    """The file whose stack ends with `done` and `die` of this entry; empty for the service's own."""
    via: str
    """Where the file was included, PATH:LINE; empty for the service's own."""
    note: str
    """What is to be said of an inclusion that cannot be followed; empty for a module."""

    @property
    def module(self) -> str:
        """The module's name without directory and .so; empty for an inclusion that cannot be followed."""
        found = words(self.value)
        return posixpath.basename(found[1]).removesuffix(".so") if len(found) > 1 and not self.note else ""

    @property
    def arguments(self) -> list[str]:
        """The module's arguments; brackets around one that holds blanks are taken off."""
        return [w[1:-1].replace("\\]", "]") if w[0] == "[" and w[-1] == "]" else w for w in words(self.value)[2:]]


def words(text: str) -> list[str]:
    """Split as libpam does: at blanks, except inside brackets."""
    return _WORDS.findall(text)


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their number: comments cut off at the first '#', and a backslash at the end joining the next."""
    joined, start = "", 0
    for number, raw in enumerate(text.split("\n"), 1):
        line, comment, _ = raw.partition("#")
        if not line.strip():
            continue  # as libpam does, even between a line and its continuation
        start = start or number
        stripped = line.rstrip()
        if stripped.endswith("\\") and not comment:
            joined += stripped[:-1] + " "
            continue
        yield start, joined + stripped
        joined, start = "", 0
    if start:
        yield start, joined


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line: key the type (with its '-') or @include, value the rest; section pam.conf's service.

    Raises:
        ValueError: a line has no known type; the others have been read.
    """
    wrong = 0
    for number, line in logical_lines(content.text()):
        found = words(line)
        if not found:
            continue
        section = None
        if _type(found[0]) is None and len(found) > 1 and _type(found[1]) is not None:
            section = found.pop(0).lower()
        if (key := _type(found[0])) is None:
            wrong = wrong or number
            continue
        yield Directive(dialect=DIALECT, section=section, key=key, value=withhold(" ".join(found[1:])), line=number)
    if wrong:
        raise ValueError(f"line {wrong}: no module type that PAM knows")


def _type(word: str) -> str | None:
    lower = word.lower()
    return lower if lower.removeprefix("-") in TYPES or lower == "@include" else None


class Stacks:
    """The services of a tree, and their stacks as libpam builds them."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.work = 0
        self.cut = False
        """There was more to include than is followed."""
        self.files: dict[str, TreeFile] = {}
        """Service files by name."""
        self.included: set[str] = set()
        self.known: dict[str, list[Directive] | None] = {}
        directories = [path for path in DIRECTORIES if (at := tree.lookup(path)) is not None and at.type == "directory"]
        for path in directories:
            for file in tree.listdir(path):
                name = posixpath.basename(file.path)
                target = tree.lookup(file.path)
                if target is not None and target.type in ("regular", "hardlink") and _is_service(name):
                    self.files.setdefault(name, file)
        self.conf = None if directories else tree.lookup(CONF)
        if self.conf is not None:
            self.services = sorted({line.section for line in self.lines(self.conf) or [] if line.section})
        else:
            for file in self.files.values():
                for line in self.lines(file) or []:
                    found = words(line.value)
                    if line.key == "@include":
                        self.included.update(found[:1])
                    elif found and found[0].lower() in ("include", "substack"):
                        self.included.update(found[1:2])
            self.services = sorted(self.files)
        self.stacks = {name: self._stack(name) for name in self.services}

    @property
    def there(self) -> bool:
        """Whether the tree has libpam: without it, no line counts."""
        return bool(self.tree.glob("*/libpam.so*"))

    def lines(self, file: TreeFile) -> list[Directive] | None:
        """Return a file's lines; None if it could not be read."""
        if file.path not in self.known:
            target = self.tree.lookup(file.path)
            readable = target is not None and not self.tree.unread(target.path)
            found = [line for line in self.tree.facts(Directive, file) if line.dialect == DIALECT] if readable else None
            self.known[file.path] = found
        return self.known[file.path]

    def reported(self) -> Iterator[tuple[str, str, list[Entry], bool]]:
        """Yield service, type, its entries in order, and whether they are those of `other`.

        Files that are only included are no services. A service of which a file was not read gets no lines of `other`.
        """
        other = self.stacks.get(OTHER, {})
        told = 0
        for service, stack in self.stacks.items():
            if service in self.included and SHARED.fullmatch(service):
                continue
            whole = stack is not None and not any(e.note for entries in stack.values() for e in entries)
            for kind in TYPES:
                if stack and stack[kind]:
                    yield service, kind, stack[kind], False
                elif whole and other and other[kind] and service != OTHER:
                    told += sum(1 + len(entry.value) // 100 for entry in other[kind])
                    if told > WORK:
                        self.cut = True
                        return
                    yield service, kind, other[kind], True

    def _stack(self, service: str) -> dict[str, list[Entry]] | None:
        stack: dict[str, list[Entry]] = {kind: [] for kind in TYPES}
        file = self.conf or self.files[service]
        lines = self.lines(file)
        if lines is None:
            return None
        if self.conf is not None:
            lines = [line for line in lines if line.section == service]
        self._add(stack, file, lines, None, "", "", 0)
        return stack

    def _add(
        self,
        stack: dict[str, list[Entry]],
        file: TreeFile,
        lines: list[Directive],
        only: str | None,
        substack: str,
        via: str,
        depth: int,
    ) -> None:
        for line in lines:
            self.work += 1 + len(line.value) // 100
            if self.work > WORK:
                self.cut = True
                return
            kind = line.key.removeprefix("-")
            found = words(line.value)
            if kind == "@include":
                control, name = "@include", found[0] if found else ""
            else:
                if only is not None and kind != only:
                    continue
                control, name = (found[0].lower(), found[1]) if len(found) > 1 else ("", "")
            if control not in ("@include", "include", "substack"):
                rest = [control if control in _CONTROLS else found[0] if found else "", *found[1:]]
                stack[kind].append(Entry(file, line, " ".join(rest), substack, via, ""))
                continue
            wanted = only if kind == "@include" else kind
            included = self._find(name)
            inner = None if included is None else self.lines(included)
            if included is None or inner is None or depth + 1 >= DEPTH:
                note = f"{name or 'nothing'} is not in this tree" if included is None else f"{name} was not read"
                note = "too many levels of inclusion" if depth + 1 >= DEPTH else note
                for each in TYPES if wanted is None else (wanted,):
                    stack[each].append(Entry(file, line, f"{control} {name}", substack, via, note))
                continue
            below = name if control == "substack" else substack
            self._add(stack, included, inner, wanted, below, f"{file.path}:{line.line}", depth + 1)

    def _find(self, name: str) -> TreeFile | None:
        if name.startswith("/"):
            file = self.tree.lookup(name)
            if file is not None and not wants_path(file.path):
                self.known[file.path] = None  # nobody has looked at it
            return file if file is not None and file.type != "directory" else None
        return self.files.get(name)


_CONTROLS = frozenset({"required", "requisite", "sufficient", "optional", "include", "substack"})


def _is_service(name: str) -> bool:
    """Tell a service's file from what package managers and editors leave beside it."""
    return (
        not name.startswith(".") and not name.endswith(("~", ".bak", ".orig", ".rej", ".swp")) and ".dpkg-" not in name
    )


def together(services: Iterable[str]) -> str:
    """Return services as one text, for the scope of what holds for all of them."""
    names = list(services)
    return ", ".join(names[:SERVICES]) + (f" and {len(names) - SERVICES} more" if len(names) > SERVICES else "")


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield the effective stack of each service: key SERVICE/TYPE/NN in order, value control, module and arguments.

    Path and line are those of the line that stands there; `basis` says where it was included. An inclusion that cannot
    be followed stands as a line of its own. The scope names the substack that `done` and `die` end, if any.

    Raises:
        LimitReached: inclusions multiply beyond what is followed; what is before stands.
    """
    stacks = Stacks(tree)
    if not stacks.there:
        return
    for service, kind, entries, others in stacks.reported():
        for number, entry in enumerate(entries, 1):
            notes = [f"no {kind} line of {service}: those of {OTHER}"] if others else []
            notes += [f"included by {entry.via}"] if entry.via else []
            notes += [entry.note] if entry.note else []
            notes += ["a module that is not there is not reported"] if entry.line.key.startswith("-") else []
            yield Setting(
                subsystem="pam",
                key=f"{service}/{kind}/{number:02}",
                value=entry.value,
                origin="file",
                scope=f"substack {entry.substack}" if entry.substack else "",
                basis="; ".join(notes) or None,
                path=entry.file.path,
                line=entry.line.line,
            )
    if stacks.cut:
        raise LimitReached("pam_lines", WORK)


def wants_path(path: str) -> bool:
    """Tell whether a file is PAM's configuration."""
    return "/pam." in path and (
        path.endswith("/etc/pam.conf") or path.rpartition("/")[0].endswith(("/etc/pam.d", "/lib/pam.d"))
    )


INSPECTOR = ContentInspector(
    name="pam",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/pam.",),
    wants_path=wants_path,
    max_size=1 << 20,
    unseen=(
        "whether a program that would ask for a service is there, and asks PAM at all",
        "files included by an absolute path outside the directories of PAM",
    ),
)

SETTINGS = TreeInspector(
    name="pam-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "what a module does with its arguments, or whether it is there",
        "services built to read another directory (pam_start_confdir), and libpam built to read /etc/pam.conf, too",
    ),
)
