"""systemd-journald: what of the log is kept, where, and who else gets it.

Looks at journald.conf and its drop-ins. Source: journald.conf(5) of systemd 246 to 257.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from assay.facts.service import Setting

from .base import Tree, TreeInspector
from .effective import Default, present
from .systemd_conf import merged

DEFAULTS = (
    Default("Audit", "yes", (246,), (258,)),
    Default("Compress", "yes"),
    Default("ForwardToConsole", "no"),
    Default("ForwardToKMsg", "no"),
    Default("ForwardToWall", "yes"),
    Default("LineMax", "48K"),
    Default("MaxFileSec", "1month"),
    Default("MaxLevelConsole", "info"),
    Default("MaxLevelKMsg", "notice"),
    Default("MaxLevelStore", "debug"),
    Default("MaxLevelSyslog", "debug"),
    Default("MaxLevelWall", "emerg"),
    Default("MaxRetentionSec", "0"),
    Default("RateLimitBurst", "10000"),
    Default("RateLimitIntervalSec", "30s"),
    Default("ReadKMsg", "yes", (235,)),
    Default("Seal", "yes"),
    Default("SplitMode", "uid"),
    Default("Storage", "auto"),
    Default("SyncIntervalSec", "5m"),
    Default("TTYPath", "/dev/console"),
)


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield the effective settings; to Storage=auto is added whether the tree brings the directory that decides."""
    if not present(tree, "/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald"):
        return
    reading = merged(tree, "journald.conf", "journald", "Journal")
    directory = tree.lookup("/var/log/journal")
    note = f"auto keeps logs over a restart only if /var/log/journal is there: {'it is' if directory else 'it is not'}"
    for setting in (*reading.settings(), *reading.defaults(DEFAULTS, "journald.conf(5)", ("systemd",))):
        if setting.key == "Storage" and setting.value.lower() == "auto":
            yield msgspec.structs.replace(setting, basis="; ".join(filter(None, (setting.basis, note))))
        else:
            yield setting


SETTINGS = TreeInspector(
    name="journald-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "ForwardToSyslog where no file sets it: distributions build it in differently.",
        "Journal namespaces (journald@NAME.conf), the kernel command line (systemd.journald.*), credentials.",
        "What a directory made at first boot (/var/log/journal) changes.",
    ),
)
