"""Start scripts: what their headers and plain lines state, without running them.

Source: Linux Standard Base 5.0 Core, 22.2 "Init Scripts" (comment conventions); start-stop-daemon(8); OpenWrt's
/etc/rc.common (START, USE_PROCD, procd_set_param); OpenRC's openrc-run(8) (command, command_user).

Keys besides LSB's own (section INIT INFO) and assignments (START, DAEMON, ...):

- `user-hint`: an account that a command in the script changes to; the section names the command.
- `exec`: a program that start-stop-daemon or procd is told to run; the section names which.
- `runs`: other scripts that the script starts: /etc/rc.local, or a pattern such as /etc/init.d/S??*.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.service import Directive

from .base import Content, ContentInspector
from .late import late
from .secrecy import withhold

DIALECT = "initscript"

LINE = 1024
"""Characters of a line that are looked at."""

_PATHS = ("/etc/init.d/", "/etc/rc.d/")
_LSB = late(r"#\s*([A-Z][A-Za-z-]{1,40}):\s*(.*)")
_CHKCONFIG = late(r"#\s*chkconfig:\s*(\S.*)")
_ASSIGNMENT = late(
    r"""\s*(?:export\s+|readonly\s+)?(START|STOP|USE_PROCD|DAEMON|PROG|prog|exec|daemon|command|command_user)="""
    r"""("[^"]*"|'[^']*'|[^\s;#&|]*)"""
)
_COMMAND = late(r"daemon\b|procd_set_param|\bsu\s|runuser|sudo|chpst|setuidgid")
_CHANGES = (
    ("start-stop-daemon", late(r"\bstart-stop-daemon\b.*?\s(?:--chuid[= ]\s*|-c\s*)(\S+)")),
    ("procd", late(r"\bprocd_set_param\s+user\s+(\S+)")),
    ("daemon", late(r"\bdaemon\s(?:[^|;&]*\s)?--user[= ]\s*(\S+)")),
    ("su", late(r"(?:^|[\s;&|(/])su\s+(?:-l?\s+|-s\s+\S+\s+)*([\w$\"'{][^\s;]*)\s.*?-c\b")),
    ("su", late(r"(?:^|[\s;&|(/])su\s+(?:-\s+)?-c\s+(?:\"[^\"]*\"|'[^']*'|[^\s\"']+)\s+(?:-\s+)?([\w$][^\s;]*)")),
    ("runuser", late(r"\brunuser\s.*?-u\s*(\S+)")),
    ("sudo", late(r"\bsudo\s.*?-u\s*(\S+)")),
    ("chpst", late(r"\bchpst\s.*?-u\s*(\S+)")),
    ("setuidgid", late(r"\bsetuidgid\s+(\S+)")),
)
_EXEC = (
    ("start-stop-daemon", late(r"\bstart-stop-daemon\b.*?\s(?:--exec[= ]|--startas[= ]|-x\s|-a\s)\s*(\S+)")),
    ("procd", late(r"\bprocd_set_param\s+command\s+(.+)")),
)
_RUNS = late(r"(/etc/(?:init\.d|rc[S0-6]?\.d|rc\.d)/S(?:\?\?|\[0-9\]\[0-9\]|\[0-9\]\*|\?)?\*|/etc/rc\.local\b)")


def inspect(content: Content) -> Iterator[Directive]:
    """Yield what a script states on when and as whom it starts what."""
    header = False
    for number, line in _lines(content.text()):
        if line.startswith("#"):
            if line.startswith("#!") and number == 1:
                yield Directive(dialect=DIALECT, key="interpreter", value=line[2:].strip(), line=1)
            elif line.startswith("### BEGIN INIT INFO"):
                header = True
            elif line.startswith("### END INIT INFO"):
                header = False
            elif header and (found := _LSB.match(line)):
                yield Directive(dialect=DIALECT, section="INIT INFO", key=found[1], value=found[2].strip(), line=number)
            elif found := _CHKCONFIG.match(line):
                yield Directive(dialect=DIALECT, key="chkconfig", value=found[1].strip(), line=number)
            continue
        if "=" in line and (found := _ASSIGNMENT.match(line)):
            value = found[2].strip("\"'")
            if found[1] == "command_user":
                yield Directive(dialect=DIALECT, section="openrc", key="user-hint", value=value, line=number)
            else:
                yield Directive(dialect=DIALECT, key=found[1], value=withhold(value), line=number)
        if "/etc/" in line:
            for runs in dict.fromkeys(_RUNS.findall(line)):
                yield Directive(dialect=DIALECT, key="runs", value=runs, line=number)
        if _COMMAND.search(line) is None:
            continue
        for command, pattern in _CHANGES:
            if found := pattern.search(line):
                yield Directive(
                    dialect=DIALECT, section=command, key="user-hint", value=found[1].strip("\"'"), line=number
                )
        for command, pattern in _EXEC:
            if found := pattern.search(line):
                value = withhold(found[1].strip().strip("\"'"))
                yield Directive(dialect=DIALECT, section=command, key="exec", value=value, line=number)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of lines that are not empty, continued ones joined, each cut to LINE characters."""
    parts: list[str] = []
    first = 0
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not parts:
            first = number
        if line.endswith("\\") and not line.startswith("#"):
            parts.append(line[:-1])
            continue
        whole = " ".join([*parts, line]) if parts else line
        parts = []
        if whole:
            yield first, whole[:LINE]


INSPECTOR = ContentInspector(
    name="initscript",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/etc/init.d/", "/etc/rc."),
    wants_path=lambda path: "/etc/" in path and (path.startswith(_PATHS) or path == "/etc/rc.local"),
    max_size=1 << 20,
    text_only=True,
)
