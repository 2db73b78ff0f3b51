"""logrotate: which logs are kept how long, and with which mode new ones are made.

Looks at logrotate.conf and what it includes. Source: logrotate.conf(5) of 3.8 to 3.22.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .effective import Effective, present
from .late import late

DIALECT = "logrotate"

MAIN = "/etc/logrotate.conf"

SCRIPTS = frozenset({"prerotate", "postrotate", "firstaction", "lastaction", "preremove"})

FREQUENCIES = frozenset({"hourly", "daily", "weekly", "monthly", "yearly"})

SWITCHES = {
    "nocompress": ("compress", "no"),
    "nocopytruncate": ("copytruncate", "no"),
    "nocopy": ("copy", "no"),
    "nocreate": ("create", "no"),
    "nocreateolddir": ("createolddir", "no"),
    "nodateext": ("dateext", "no"),
    "nodelaycompress": ("delaycompress", "no"),
    "nomail": ("mail", "no"),
    "nomissingok": ("missingok", "no"),
    "noolddir": ("olddir", "no"),
    "nosharedscripts": ("sharedscripts", "no"),
    "noshred": ("shred", "no"),
    "notifempty": ("ifempty", "no"),
}

DEFAULTS = {"compress": "no", "create": "no", "rotate": "0"}
"""What holds for a log where nothing is said; the frequency is then a size of 1 MiB."""

SKIPPED = (",v", ".cfsaved", ".disabled", ".dpkg-bak", ".dpkg-del", ".dpkg-dist", ".dpkg-new", ".dpkg-old", ".dpkg-tmp",
    ".rhn-cfg-tmp-", ".rpmnew", ".rpmorig", ".rpmsave", ".swp", ".ucf-dist", ".ucf-new", ".ucf-old", "~")  # fmt: skip
"""Endings of names that a directory's include passes over (taboo extensions)."""

PATTERN = 1000
"""Characters of a list of logs that are kept."""

_WORD = late(r'"([^"]*)"|\'([^\']*)\'|([^\s"\'{]+)')


def wants_path(path: str) -> bool:
    """Tell whether a file is, or is usually included by, a configuration of logrotate."""
    return "/logrotate." in path and (path.endswith("/logrotate.conf") or "/logrotate.d/" in path)


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line, section the logs that it holds for; of scripts only that there is one.

    Raises:
        ValueError: a script or a block does not end.
    """
    section: str | None = None
    names: list[str] = []
    script: str | None = None
    begun = 0
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if script is not None:
            if line.split(None, 1)[:1] == ["endscript"]:
                script = None
            continue
        if not line or line[0] == "#":
            continue
        if section is None and (line[0] in "/\"'{~" or names or line.endswith("{")):
            before, brace, line = line.partition("{")
            names += [next(group for group in match.groups() if group is not None) for match in _WORD.finditer(before)]
            if not brace:
                continue
            section, names, begun = " ".join(names)[:PATTERN], [], number
            line = line.strip()
        closes = section is not None and line.endswith("}")
        line = line.removesuffix("}").strip() if closes else line
        if line:
            key, *rest = re.split(r"[\s=]+", line, maxsplit=1)
            yield Directive(
                dialect=DIALECT, section=section, key=key.lower(), value=rest[0].strip() if rest else "", line=number
            )
            if key in SCRIPTS:
                script = key
        if closes:
            section = None
    if script is not None or section is not None or names:
        raise ValueError(f"line {begun}: {script or 'a list of options'} does not end")


def _option(line: Directive) -> tuple[str, str]:
    """Return an option in one spelling: its key and value."""
    if line.key in FREQUENCIES:
        return "frequency", line.key
    if line.key in SWITCHES:
        return SWITCHES[line.key]
    if line.key in ("size", "maxsize", "minsize"):
        return line.key, line.value
    return line.key, line.value or "yes"


class Reading:
    """The configuration as logrotate reads it: options outside of blocks hold for the blocks behind them."""

    def __init__(self, tree: Tree, main: TreeFile) -> None:
        self.effective = Effective(tree, "logrotate", DIALECT, wants=wants_path)
        self._count = 0
        self._read(main, {}, 0)

    def _read(self, file: TreeFile, general: dict[str, tuple[str, TreeFile, int | None]], depth: int) -> None:
        block: dict[str, tuple[str, TreeFile, int | None]] = {}
        section: str | None = None
        for line in self.effective.lines(file, depth):
            if line.section != section:
                self._block(section, block)
                section, block = line.section, dict(general)
            if line.key == "include":
                for found in self.effective.matches(line.value):
                    inside = self.effective.directory(found.path) if found.type == "directory" else [found]
                    for each in inside:
                        if not each.path.endswith(SKIPPED):
                            self._read(each, general, depth + 1)
                continue
            if line.key in SCRIPTS:
                continue
            key, value = _option(line)
            place = value, file, line.line
            target = general if section is None else block
            if key in ("frequency", "size"):  # the last of them counts
                target.pop("frequency", None)
                target.pop("size", None)
            target[key] = place
        self._block(section, block)

    def _block(self, section: str | None, block: dict[str, tuple[str, TreeFile, int | None]]) -> None:
        if section is None or not block:
            return
        self._count += 1
        which = str(self._count)
        for key, (value, file, line) in block.items():
            self.effective.put(key, value, file, line, scope=section, which=which)
        if self.effective.certain:
            _, file, line = next(iter(block.values()))
            more = {} if "frequency" in block or "size" in block else {"size": "1M"}
            for key, value in {**DEFAULTS, **more}.items():
                if key not in block:
                    self.effective.builtin(
                        key, value, file, line, scope=section, which=which, basis="logrotate.conf(5)"
                    )


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield, for each list of logs (the scope), the options that hold for it, inherited and built-in ones included."""
    main = tree.lookup(MAIN)
    if main is not None and present(tree, "logrotate", beside=(MAIN,)):
        yield from Reading(tree, main).effective.settings()


INSPECTOR = ContentInspector(
    name="logrotate",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/logrotate.",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=("What scripts do.",),
)

SETTINGS = TreeInspector(
    name="logrotate-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "What starts logrotate and how often: its timer or cron job is a service of its own.",
        "`tabooext` and `taboopat` that change which names a directory's include passes over.",
    ),
)
