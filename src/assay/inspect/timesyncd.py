"""systemd-timesyncd: the servers that the clock is set by.

Looks at timesyncd.conf and its drop-ins. Source: timesyncd.conf(5) of systemd 239 to 257. Without NTS or keys: SNTP as
this program speaks it is not authenticated.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.service import Setting

from .base import Tree, TreeInspector
from .effective import Default, present
from .systemd_conf import merged

DEFAULTS = (
    Default("ConnectionRetrySec", "30s", (248,)),
    Default("PollIntervalMaxSec", "34min 8s"),
    Default("PollIntervalMinSec", "32s"),
    Default("RootDistanceMaxSec", "5s"),
    Default("SaveIntervalSec", "60s", (250,)),
)


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield the effective settings, one a server for NTP and FallbackNTP."""
    if not present(tree, "/usr/lib/systemd/systemd-timesyncd", "/lib/systemd/systemd-timesyncd"):
        return
    reading = merged(tree, "timesyncd.conf", "timesyncd", "Time", ("NTP", "FallbackNTP"))
    yield from reading.settings()
    yield from reading.defaults(DEFAULTS, "timesyncd.conf(5)", ("systemd-timesyncd", "systemd"))


SETTINGS = TreeInspector(
    name="timesyncd-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "FallbackNTP where no file sets it: distributions build in their own servers.",
        "Servers that a network hands out (DHCP) or that a .network file names.",
    ),
)
