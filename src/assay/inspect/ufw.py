"""ufw: its policies, its rules, and the chains that they come to.

Source: ufw(8), ufw-framework(8) of ufw 0.36.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.service import Directive, Setting

from .assignment import assignments
from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .boot_links import started
from .dropins import Reader
from .iptables import DIALECT as IPTABLES
from .iptables import chains
from .systemd_units import Units

DIALECT = "ufw"

CONFIGURATION = ("/etc/default/ufw", "/etc/ufw/ufw.conf")

RULES = ("before", "user", "after")
"""Rule files, in the order in which ufw-init loads them; with 6 behind the name for IPv6."""

_TUPLE = "### tuple ### "


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an assignment, or, of a rule file, one for each rule as ufw keeps it (key "tuple")."""
    text = content.text()
    if "\n*filter" in text or text.startswith("*filter"):
        for number, line in enumerate(text.split("\n"), 1):
            if line.startswith(_TUPLE):
                yield Directive(dialect=DIALECT, key="tuple", value=line[len(_TUPLE) :].strip(), line=number)
        return
    for number, name, value in assignments(text):
        yield Directive(dialect=DIALECT, key=name, value=value, line=number)


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield the configuration's keywords, each rule (`rule ip`, `rule ip6`), and each chain (`ip filter CHAIN`).

    Raises:
        ValueError: what a rule file comes to cannot be told.
    """
    reader = Reader(tree, DIALECT)
    if reader.file("/usr/sbin/ufw", "/sbin/ufw") is None and reader.file("/etc/ufw/ufw.conf") is None:
        return
    found: dict[str, Setting] = {}
    for path in CONFIGURATION:
        file = reader.file(path)
        for line in reader.lines(file) if file else ():
            found[line.key] = Setting(
                subsystem=DIALECT, key=line.key, value=line.value, origin="file", path=path, line=line.line
            )
    yield from found.values()
    for family, six in (("ip", ""), ("ip6", "6")):
        rules = Reader(tree, IPTABLES)
        lines: list[tuple[TreeFile, Directive]] = []
        for name in RULES:
            file = reader.file(f"/etc/ufw/{name}{six}.rules", f"/lib/ufw/{name}{six}.rules")
            if file is None:
                continue
            lines += ((file, line) for line in rules.lines(file))
            for line in reader.lines(file):
                yield Setting(
                    subsystem=DIALECT,
                    key=f"rule {family}",
                    value=line.value,
                    origin="file",
                    path=file.path,
                    line=line.line,
                )
        if rules.certain:
            for key, chain in chains(lines).items():
                yield chain.setting(DIALECT, f"{family} {key}")
    on, shown = started(tree, Units(tree), "ufw.service")
    if on is not None:
        yield Setting(subsystem=DIALECT, key="started", value="yes" if on else "no", origin="file", basis=shown)


def wants_path(path: str) -> bool:
    """Tell whether a path is one of ufw's files."""
    if "ufw" not in path:
        return False
    name = posixpath.basename(path)
    return path.endswith(("/default/ufw", "/ufw/ufw.conf")) or ("/ufw/" in path and name.endswith(".rules"))


INSPECTOR = ContentInspector(
    name="ufw",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("ufw",),
    wants_path=wants_path,
    max_size=4 << 20,
    text_only=True,
    unseen=("application profiles (/etc/ufw/applications.d)",),
)

SETTINGS = TreeInspector(
    name="ufw-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "what before.init and after.init would run",
        "the chains that ufw-init makes around those of the rule files (policies are DEFAULT_*_POLICY)",
    ),
)
