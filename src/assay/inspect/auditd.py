"""The Linux audit system: how its log is kept, and the rules that are loaded at boot.

Looks at /etc/audit/auditd.conf, /etc/audit/rules.d and /etc/audit/audit.rules. Source: auditd.conf(5), audit.rules(7),
augenrules(8), auditctl(8) of audit 2.3 to 4.0.

Where something in the tree runs augenrules, the files of rules.d count, merged as it merges them; else audit.rules as
it is. A rule that stands after `-e 2` is not loaded: the kernel refuses it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .effective import Default, Effective, configured, present
from .late import late
from .starting import ANY, served

DIALECT = "auditd"

RULES = "audit.rules"
"""Dialect, and subsystem, of the rules."""

CONFIGURATION = "/etc/audit/auditd.conf"
MAIN = "/etc/audit/audit.rules"
DIRECTORY = "/etc/audit/rules.d"

PACKAGES = ("auditd", "audit")

DEFAULTS = (
    Default("action_mail_acct", "root"),
    Default("admin_space_left_action", "IGNORE"),
    Default("disk_error_action", "SYSLOG"),
    Default("disk_full_action", "IGNORE"),
    Default("enable_krb5", "no"),
    Default("flush", "NONE"),
    Default("freq", "0"),
    Default("local_events", "yes", (2, 5)),
    Default("max_log_file", "0"),
    Default("max_log_file_action", "IGNORE"),
    Default("name_format", "NONE"),
    Default("num_logs", "0"),
    Default("priority_boost", "4"),
    Default("space_left_action", "IGNORE"),
    Default("tcp_listen_queue", "5"),
    Default("tcp_max_per_addr", "1"),
    Default("write_logs", "yes", (2, 5)),
)

CONTROLS = ("-D", "-b", "-f", "-r", "-e", "-c", "-i", "--backlog_wait_time", "--loginuid-immutable", "--reset-lost")
"""Options of a rules file that set something, rather than add a rule."""

LAST = ("-D", "-b", "-f", "-e")
"""Of these augenrules keeps the last."""

_NUMBER = late(r"(\d{1,18})")


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an assignment of auditd.conf: key in lower case."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        key, equals, value = line.partition("=")
        if equals and line[0] != "#":
            yield Directive(dialect=DIALECT, key=key.strip().lower(), value=value.strip(), line=number)


def inspect_rules(content: Content) -> Iterator[Directive]:
    """Yield one directive a line of a rules file: key its first option, value the whole line with single blanks."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        words = raw.split()
        if words and words[0][0] != "#":
            key = words[0]
            if key[0] == "-" and key[1:2] != "-" and len(key) > 2:
                key = key[:2]  # -e2
            yield Directive(dialect=RULES, key=key, value=" ".join(words), line=number)


def _order(file: TreeFile) -> tuple[list[tuple[int, int, str]], str]:
    """Sort names as `ls -v` does: numbers by value."""
    name = posixpath.basename(file.path)
    parts = _NUMBER.split(name)
    key = [(1, int(part), "") if at % 2 else (0, 0, part) for at, part in enumerate(parts)]
    return key, name


def rules(tree: Tree) -> tuple[Effective, list[tuple[TreeFile, Directive]], str]:
    """Return the lines that are loaded at boot, in order, and by what it is known that these files count."""
    reading = Effective(tree, RULES, RULES, wants=RULES_INSPECTOR.wants_path)
    files = sorted(
        (file for file in reading.directory(DIRECTORY, (".rules",)) if file.type in ("regular", "hardlink", "symlink")),
        key=_order,
    )
    starts = _starts(tree)
    if not files or starts is None:
        main = tree.lookup(MAIN)
        lines = [(main, line) for line in reading.lines(main)] if main else []
        return reading, lines, "audit.rules as it is"
    lines = [(file, line) for file in files for line in reading.lines(file)]
    kept = {key: [place for place in lines if place[1].key == key][-1:] for key in LAST}
    rest = [place for place in lines if place[1].key not in LAST]
    return reading, kept["-D"] + kept["-b"] + kept["-f"] + rest + kept["-e"], f"merged by augenrules: {starts}"


def _starts(tree: Tree) -> str | None:
    """Return what runs augenrules at boot; None if nothing does."""
    if not present(tree, "augenrules"):
        return None
    for name in ("auditd.service", "audit-rules.service"):
        for place in ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"):
            unit = tree.lookup(f"{place}/{name}")
            if unit is not None:
                for line in tree.facts(Directive, unit):
                    if line.key.startswith("ExecStart") and "augenrules" in line.value:
                        return f"{unit.path}:{line.line}"
                break
    return None


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield the daemon's settings, the socket for other machines' events, and the rules (subsystem audit.rules).

    A rule is a setting with the key `rule`, in the order of loading; an option that sets something has itself as key.
    """
    if configured(tree, "auditd", beside=(CONFIGURATION,)):
        main = tree.lookup(CONFIGURATION)
        if main is not None:
            reading = Effective(tree, "auditd", DIALECT, wants=INSPECTOR.wants_path)
            for line in reading.lines(main):
                reading.put(line.key, line.value, main, line.line)
            yield from reading.settings()
            yield from reading.defaults(DEFAULTS, "auditd.conf(5), clear_config()", PACKAGES)
            yield from served(tree, ("auditd",), _listeners(reading))
    if present(tree, "auditctl", beside=(MAIN,)):
        reading, lines, why = rules(tree)
        locked = None
        for count, (file, line) in enumerate(lines):
            if line.key in CONTROLS:
                value = line.value[len(line.key) :].strip()
            elif line.key in ("-a", "-A", "-w", "-d", "-W"):
                value = line.value
            else:
                continue
            basis = why if locked is None else f"{why}; not loaded: locked by {locked}"
            yield Setting(
                subsystem=RULES, key=line.key if line.key in CONTROLS else "rule", value=value, origin="file",
                basis=basis, path=file.path, line=line.line,
            )  # fmt: skip
            if line.key == "-e" and value == "2" and count < len(lines) - 1:
                locked = f"{file.path}:{line.line}"


def _listeners(reading: Effective) -> Iterator[Listener]:
    for port in reading.every("tcp_listen_port"):
        if port.value.isdecimal() and int(port.value):
            transport = (reading.value("transport") or "tcp").upper()
            krb5 = (reading.value("enable_krb5") or "no").lower() == "yes" or transport == "KRB5"
            for address, _ in ANY:
                yield Listener(
                    program="auditd", protocol="tcp", address=address, port=int(port.value),
                    purpose="audit events" + (" (Kerberos)" if krb5 else ""), tls=False,
                    path=port.path, line=port.line,
                )  # fmt: skip


INSPECTOR = ContentInspector(
    name="auditd",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/audit/auditd.conf",),
    wants_path=lambda path: path.endswith("/audit/auditd.conf"),
    max_size=1 << 20,
    text_only=True,
)

RULES_INSPECTOR = ContentInspector(
    name="audit-rules",
    version=1,
    families=(Directive,),
    inspect=inspect_rules,
    path_has=("/audit/",),
    wants_path=lambda path: path.endswith(".rules") and "/audit/" in path,
    max_size=4 << 20,
    text_only=True,
    unseen=("Whether the kernel accepts a rule.",),
)

SETTINGS = TreeInspector(
    name="auditd-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "log_format where no file sets it: versions differ.",
        "System V start scripts that run augenrules: only units are looked at.",
        "Plug-ins of the dispatcher (/etc/audit/plugins.d), the kernel command line (audit=, audit_backlog_limit=).",
    ),
)
