r"""udev rules: what is done when a device appears.

Source: udev(7) of systemd 252.

A rule is a line of conditions (==, !=) and assignments (=, +=, -=, :=). Settings are the assignments that act beyond
udev's own database: programs that are run, units that are started, permissions of device nodes, attributes of devices
that are written (authorized of USB ports), and what udisks is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .dropins import Reader, joined
from .late import late
from .secrecy import withhold

DIALECT = "udev"

DIRECTORIES = (
    "/etc/udev/rules.d",
    "/run/udev/rules.d",
    "/usr/local/lib/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
)

ACTS = late(
    r"""(RUN(?:\{(?:program|builtin)\})?|PROGRAM|IMPORT\{program\}|MODE|OWNER|GROUP|ATTR\{[^"]{1,256}\}|SYSCTL\{[^"]{1,256}\}|"""
    r"""ENV\{(?:SYSTEMD_WANTS|SYSTEMD_USER_WANTS|SYSTEMD_ALIAS|SYSTEMD_MOUNT_WHERE|UDISKS_[A-Z_]{1,64}|ID_[A-Z_]{0,64}SEAT)\})"""
)
"""Assignments that are settings. PROGRAM and IMPORT{program} run a program while the rule is matched."""

_TOKEN = late(r"""\s*,?\s*([A-Z_]{1,32}(?:\{[^}"]{1,256}\})?)\s*(==|!=|\+=|-=|:=|=)\s*(e?"(?:[^"\\]|\\.)*")""")


def tokens(rule: str) -> Iterator[tuple[str, str, str]]:
    """Yield (key, operator, value with its quotes) of a rule; ends at what is not of that form."""
    position = 0
    while found := _TOKEN.match(rule, position):
        yield found[1], found[2], found[3]
        position = found.end()


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a rule, the whole rule as value; what udev could not parse has the key "invalid"."""
    for number, line in joined(content.text()):
        found = _TOKEN.match(line)
        yield Directive(dialect=DIALECT, key="rule" if found else "invalid", value=withhold(line), line=number)


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield the assignments that act, in the order in which udev comes to them; the rule's conditions are the scope."""
    reader = Reader(tree, DIALECT)
    for file in reader.merged(DIRECTORIES, ".rules"):
        for line in reader.lines(file):
            if line.key != "rule":
                continue
            conditions: list[str] = []
            acts: list[tuple[str, str]] = []
            for key, operator, value in tokens(line.value):
                if operator in ("==", "!="):
                    conditions.append(f"{key}{operator}{value}")
                    if key in ("PROGRAM", "IMPORT{program}"):
                        acts.append((key, value))
                elif key not in ("PROGRAM", "IMPORT{program}") or operator != "-=":
                    acts.append((key, value if operator != "-=" else f"not {value}"))
            for key, value in acts:
                if ACTS.fullmatch(key):
                    yield Setting(
                        subsystem=DIALECT,
                        key=key,
                        value=value[1:-1] if value[0] == '"' else value,
                        origin="file",
                        scope=", ".join(conditions),
                        path=file.path,
                        line=line.line,
                    )


INSPECTOR = ContentInspector(
    name="udev",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/udev/rules.d/",),
    wants_path=lambda path: path.endswith(".rules") and "/udev/rules.d/" in path,
    max_size=1 << 20,
    text_only=True,
    unseen=("what follows in a line after something that is no condition or assignment",),
)

SETTINGS = TreeInspector(
    name="udev-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "GOTO: the scope of a setting is the conditions of its own line, not those of jumps that lead to or around it",
        "whether a later rule replaces an assignment for the same device (the last one counts, := is final)",
        "mdev and other device managers, hotplug scripts",
    ),
)
