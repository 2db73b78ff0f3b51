"""systemd-resolved: name resolution, and what it listens on (stub, LLMNR, multicast DNS).

Looks at resolved.conf and its drop-ins. Source: resolved.conf(5) of systemd 247 to 257.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Setting

from .base import Tree, TreeInspector
from .effective import Effective, present
from .starting import ANY, served
from .systemd_conf import merged

YES = ("1", "yes", "y", "true", "t", "on")


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield what files set, then the sockets that are certain."""
    if not present(tree, "/usr/lib/systemd/systemd-resolved", "/lib/systemd/systemd-resolved"):
        return
    reading = merged(tree, "resolved.conf", "resolved", "Resolve", ("DNS", "FallbackDNS", "DNSStubListenerExtra"))
    yield from reading.settings()
    yield from served(tree, ("systemd-resolved",), _listeners(reading))


def _listeners(reading: Effective) -> Iterator[Listener]:
    stub = reading.value("DNSStubListener")
    where = reading.every("DNSStubListener")
    if stub is not None or reading.certain:
        mode = (stub or "yes").lower()
        for protocol in ("udp", "tcp"):
            if mode in YES or mode == protocol:
                yield Listener(
                    program="systemd-resolved", protocol=protocol, address="127.0.0.53", port=53, purpose="dns stub",
                    tls=False, origin="file" if where else "default",
                    path=where[0].path if where else None, line=where[0].line if where else None,
                )  # fmt: skip
    for key, port, protocols in (("LLMNR", 5355, ("udp", "tcp")), ("MulticastDNS", 5353, ("udp",))):
        for setting in reading.every(key):
            if setting.value.lower() in (*YES, "resolve"):
                for protocol in protocols:
                    for address, _ in ANY:
                        yield Listener(
                            program="systemd-resolved", protocol=protocol, address=address, port=port,
                            purpose=key.lower(), tls=False, path=setting.path, line=setting.line,
                        )  # fmt: skip


SETTINGS = TreeInspector(
    name="resolved-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "Defaults that distributions choose when building: LLMNR, MulticastDNS, DNSSEC, DNSOverTLS, FallbackDNS.",
        "Links that switch LLMNR or multicast DNS off for themselves; DNSStubListenerExtra as a listener.",
    ),
)
