"""Sockets that systemd opens for services.

Looks at .socket units and their drop-ins. Source: systemd.socket(5).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.network import Listener

from .base import Tree, TreeInspector
from .late import late
from .starting import ANY
from .startup import SYSTEMD, words
from .systemd_services import reach, triggered
from .systemd_units import Unit, Units, is_instance

KINDS = {"ListenStream": "tcp", "ListenDatagram": "udp", "ListenSequentialPacket": "seqpacket"}

_ADDRESS = late(r"\[([^\]]*)\](?:%(\S+?))?:(\d{1,5})|([\d.]+):(\d{1,5})|(\d{1,5})")


def listeners(tree: Tree) -> Iterator[Listener]:
    """Yield one listener for each address of each socket unit that is not masked; instances of templates not.

    Raises:
        LimitReached: the units hold more lines, or pull in more units, than any real system's.
    """
    units = Units(tree)
    reached = reach(units)
    manager = any(tree.lookup(path) is not None for path in SYSTEMD) and units.load("default.target") is not None
    for name in sorted({units.own_name(name) for name in units.files if name.endswith(".socket")} | {
        name for name in reached if name.endswith(".socket")
    }):  # fmt: skip
        unit = units.load(name)
        if unit is None or unit.masked or ("@." in name and not is_instance(name)):
            continue
        yield from _sockets(units, unit, enabled=(name in reached) if manager else None)


def _sockets(units: Units, unit: Unit, *, enabled: bool | None) -> Iterator[Listener]:
    service = triggered(unit, "Socket", "Service")
    target = units.load(service)
    starts = target.every("Service", "ExecStart") if target is not None else []
    word = words(starts[0][1].value, 1) if starts else []
    program = posixpath.basename(word[0].lstrip("@-:+!|")) if word else service.removesuffix(".service").rstrip("@")
    device = unit.last("Socket", "BindToDevice")
    protocol = {"sctp": "sctp", "udplite": "udp"}.get(unit.last("Socket", "SocketProtocol") or "")
    only = unit.last("Socket", "BindIPv6Only") == "ipv6-only"
    for key, kind in KINDS.items():
        for file, line in unit.every("Socket", key):
            text = unit.expand(line.value)
            if text is None:
                continue
            found = _ADDRESS.fullmatch(text)
            places: list[tuple[str, str, int | None, str | None]] = []
            if text.startswith(("/", "@")):
                places = [("unix", text, None, None)]
            elif found is None:
                continue  # vsock, or a name
            elif found[6]:
                both = ANY[1:] if only else ANY
                places = [(protocol or kind, address, int(found[6]), device) for address, _ in both]
            elif found[4]:
                places = [(protocol or kind, found[4], int(found[5]), device)]
            else:
                places = [(protocol or kind, found[1], int(found[3]), found[2] or device)]
            for each, address, port, interface in places:
                yield Listener(
                    program=program, protocol=each, address=address, port=port, interface=interface,
                    service=service if target is not None else None, enabled=enabled, origin="unit",
                    path=file.path, line=line.line,
                )  # fmt: skip
    for file, line in unit.every("Socket", "ListenNetlink"):
        yield Listener(
            program=program, protocol="netlink", address=line.value, service=service if target is not None else None,
            enabled=enabled, origin="unit", path=file.path, line=line.line,
        )  # fmt: skip


LISTENERS = TreeInspector(
    name="systemd-sockets",
    version=1,
    families=(Listener,),
    inspect=listeners,
    unseen=(
        "Sockets of users' managers, of templates without a named instance, vsock, FIFOs, special files.",
        "What the service does with a connection: TLS is not to be told.",
        "The kernel setting net.ipv6.bindv6only where a unit gives only a port and no BindIPv6Only.",
    ),
)
