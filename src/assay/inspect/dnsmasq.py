"""dnsmasq: name service, DHCP and TFTP, to whom and where.

Looks at dnsmasq.conf and what it includes (conf-file, conf-dir). Source: dnsmasq(8) of 2.76 to 2.90.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .effective import Default, Effective, configured
from .starting import ANY, served

DIALECT = "dnsmasq"

MAIN = "/etc/dnsmasq.conf"

PACKAGES = ("dnsmasq-base", "dnsmasq")

DEFAULTS = (Default("port", "53"),)

SINGLE = frozenset(
    {
        "cache-size",
        "dhcp-leasefile",
        "dhcp-script",
        "dns-forward-max",
        "domain",
        "edns-packet-max",
        "group",
        "local-ttl",
        "log-facility",
        "max-port",
        "min-port",
        "neg-ttl",
        "pid-file",
        "port",
        "query-port",
        "tftp-max",
        "tftp-mtu",
        "tftp-root",
        "user",
    }
)
"""Options of which one value counts."""

_SKIPPED = ("~", ".bak", ".dpkg-dist", ".dpkg-old", ".dpkg-new", ".dpkg-tmp")


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line: key a long option's name, value its argument."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if line and line[0] != "#":
            key, _, value = line.partition("=")
            # a comment begins at a '#' behind a blank
            yield Directive(
                dialect=DIALECT, key=key.split(" #", 1)[0].split("\t#", 1)[0].strip(),
                value=value.split(" #", 1)[0].split("\t#", 1)[0].strip(), line=number,
            )  # fmt: skip


def read(tree: Tree) -> Effective:
    """Return the configuration as dnsmasq reads it."""
    reading = Effective(tree, "dnsmasq", DIALECT, wants=INSPECTOR.wants_path)
    main = tree.lookup(MAIN)
    if main is not None:
        _read(reading, main, 0)
    return reading


def _read(reading: Effective, file: TreeFile, depth: int) -> None:
    for line in reading.lines(file, depth):
        if line.key == "conf-file":
            for found in reading.matches(line.value):
                _read(reading, found, depth + 1)
        elif line.key == "conf-dir":
            path, *patterns = line.value.split(",")
            wanted = tuple(pattern[1:] for pattern in patterns if pattern.startswith("*"))
            unwanted = tuple(pattern for pattern in patterns if pattern and not pattern.startswith("*"))
            for found in reading.directory(path, wanted or ("",)):
                name = posixpath.basename(found.path)
                if not name.endswith((*unwanted, "~")) and not (name[0] == "#" == name[-1]):
                    _read(reading, found, depth + 1)
        else:
            reading.put(line.key, line.value, file, line.line, which=None if line.key in SINGLE else f"{line.value}")


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield what files set, and the sockets."""
    if not configured(tree, "dnsmasq", beside=(MAIN,)) or tree.lookup(MAIN) is None:
        return
    reading = read(tree)
    yield from reading.settings()
    yield from reading.defaults(DEFAULTS, "dnsmasq(8)", PACKAGES)
    yield from served(tree, ("dnsmasq",), _listeners(reading))


def _listeners(reading: Effective) -> Iterator[Listener]:
    bound = any(reading.every(key) for key in ("bind-interfaces", "bind-dynamic"))
    addresses: list[tuple[str, str | None, Setting | None]] = []
    if bound:
        # Without one of these the wildcard is bound, and packets for others are dropped.
        for setting in reading.every("listen-address"):
            addresses += [(each.strip(), None, setting) for each in setting.value.split(",")]
        for setting in reading.every("interface"):
            addresses += [("", each.strip(), setting) for each in setting.value.split(",")]
    if not addresses and reading.certain:
        addresses = [("" if bound else address, None, None) for address, _ in (ANY[:1] if bound else ANY)]
    services: list[tuple[str, tuple[str, ...], int, Setting | None]] = []
    port = reading.value("port") or "53"
    if port.isdecimal() and int(port):
        services.append(("dns", ("udp", "tcp"), int(port), next(iter(reading.every("port")), None)))
    if ranges := reading.every("dhcp-range"):
        services.append(("dhcp", ("udp",), 67, ranges[0]))
    if tftp := reading.every("enable-tftp"):
        services.append(("tftp", ("udp",), 69, tftp[0]))
    for purpose, protocols, number, why in services:
        for protocol in protocols:
            for address, interface, proof in addresses[:256]:
                if purpose == "dhcp" and ":" in address:
                    continue
                shown = proof or why
                yield Listener(
                    program="dnsmasq", protocol=protocol, address=address, port=number, interface=interface,
                    purpose=purpose, tls=False, origin="file" if shown else "default",
                    path=shown.path if shown else None, line=shown.line if shown else None,
                )  # fmt: skip


INSPECTOR = ContentInspector(
    name="dnsmasq",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/etc/dnsmasq",),
    wants_path=lambda path: "/etc/dnsmasq" in path and (path.endswith(".conf") or "/dnsmasq.d/" in path),
    max_size=4 << 20,
    text_only=True,
)

SETTINGS = TreeInspector(
    name="dnsmasq-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "Options of the command line: Debian's start script adds --local-service and the directory dnsmasq.d.",
        "OpenWrt, which writes the file at boot from /etc/config/dhcp; libvirt's and others' own instances.",
    ),
)
