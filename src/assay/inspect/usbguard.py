"""USBGuard: which USB devices are let in.

Source: usbguard-daemon.conf(5), usbguard-rules.conf(5), usbguard-daemon(8) of USBGuard 1.1.2.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .boot_links import started
from .dropins import Reader
from .systemd_units import Units

DIALECT = "usbguard"
MAIN = "/etc/usbguard/usbguard-daemon.conf"

DEFAULTS = {
    "ImplicitPolicyTarget": "block",
    "PresentDevicePolicy": "apply-policy",
    "PresentControllerPolicy": "keep",
    "InsertedDevicePolicy": "apply-policy",
    "RestoreControllerDeviceState": "false",
}
"""From the manual page of 1.1.2, the same since 0.7.5."""

TARGETS = ("allow", "block", "reject", "match", "device")


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line: keyword and value of a configuration, or the target and the rest of a rule."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        word, _, rest = line.partition(" ")
        if word in TARGETS:
            yield Directive(dialect=DIALECT, section="rule", key=word, value=rest.strip(), line=number)
        else:
            key, equals, value = line.partition("=")
            if equals:
                yield Directive(dialect=DIALECT, key=key.strip(), value=value.strip(), line=number)


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield keywords of the daemon, its defaults, its rules in order, and whether it is started."""
    reader = Reader(tree, DIALECT)
    main = reader.file(MAIN)
    if main is None and reader.file("/usr/sbin/usbguard-daemon", "/sbin/usbguard-daemon") is None:
        return
    stated: dict[str, Directive] = {}
    for line in reader.lines(main) if main else ():
        if line.section is None:
            stated[line.key] = line
    for key, line in stated.items():
        yield Setting(subsystem=DIALECT, key=key, value=line.value, origin="file", path=MAIN, line=line.line)
    if not reader.certain:
        return
    for key, value in DEFAULTS.items():
        if key not in stated:
            basis = "usbguard-daemon.conf(5) of USBGuard 1.1.2"
            yield Setting(subsystem=DIALECT, key=key, value=value, origin="default", basis=basis)
    files = []
    if "RuleFile" in stated:
        files += reader.matching(stated["RuleFile"].value)
    if "RuleFolder" in stated:
        files += reader.matching(stated["RuleFolder"].value.rstrip("/") + "/*")
    for file in files:
        for line in reader.lines(file):
            if line.section == "rule":
                yield Setting(
                    subsystem=DIALECT,
                    key=f"rule {line.key}",
                    value=line.value,
                    origin="file",
                    path=file.path,
                    line=line.line,
                )
    on, shown = started(tree, Units(tree), "usbguard.service")
    if on is not None:
        yield Setting(subsystem=DIALECT, key="started", value="yes" if on else "no", origin="file", basis=shown)


INSPECTOR = ContentInspector(
    name="usbguard",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/usbguard/",),
    wants_path=lambda path: "/usbguard/" in path and "/etc/" in path and path.endswith(".conf"),
    max_size=1 << 20,
    text_only=True,
    unseen=("rules that are kept under other names than *.conf",),
)

SETTINGS = TreeInspector(
    name="usbguard-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=("devices that are let in while the daemon runs", "another configuration, named on the command line (-c)"),
)
