"""Where inetd and xinetd listen: one socket a service of theirs that is not disabled.

Source: inetd.conf(5), xinetd.conf(5); ports of names from the IANA service name registry.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Service

from . import inetd, xinetd
from .base import Tree, TreeFile, TreeInspector
from .late import late
from .starting import ANY

PORTS = {
    "auth": 113, "bootps": 67, "chargen": 19, "daytime": 13, "discard": 9, "domain": 53, "echo": 7, "exec": 512,
    "finger": 79, "ftp": 21, "ftps": 990, "git": 9418, "http": 80, "https": 443, "ident": 113, "imap": 143,
    "imap2": 143, "imaps": 993, "klogin": 543, "kshell": 544, "login": 513, "microsoft-ds": 445, "netbios-ns": 137,
    "netbios-ssn": 139, "ntalk": 518, "pop3": 110, "pop3s": 995, "rsync": 873, "shell": 514, "smtp": 25, "snmp": 161,
    "ssh": 22, "sunrpc": 111, "swat": 901, "systat": 11, "talk": 517, "telnet": 23, "telnets": 992, "tftp": 69,
    "time": 37, "vnc": 5900,
}  # fmt: skip

_ADDRESS = late(r"(?:(\[[^\]]*\]|[^:]*):)?([^:]+)")


def listeners(tree: Tree) -> Iterator[Listener]:
    """Yield one listener a service and address, enabled as its service is."""
    for service in inetd.services(tree):
        yield from _inetd(service)
    blocks = dict(_xinetd(tree))
    for service in xinetd.services(tree):
        if (place := (service.path, service.line)) in blocks:
            yield from _of_xinetd(service, blocks[place])


def _inetd(service: Service) -> Iterator[Listener]:
    name, _, protocol = service.name.rpartition("/")
    kind = protocol.rstrip("46")
    if kind not in ("tcp", "udp", "sctp") or "/rpc/" in service.name:
        return  # a local socket, or a port that rpcbind hands out
    match = _ADDRESS.fullmatch(name)
    if match is None:
        return
    address, word = (match[1] or "").strip("[]"), match[2]
    if address in ("*", ""):
        addresses = [ANY[1][0]] if protocol.endswith("6") and not protocol.endswith("46") else [ANY[0][0]]
        if protocol.endswith("46"):
            addresses = [any_address for any_address, _ in ANY]
    else:
        addresses = [address]
    for each in addresses:
        yield _listener(service, kind, each, word, name, "inetd")


def _listener(service: Service, protocol: str, address: str, port: str, purpose: str, origin: str) -> Listener:
    words = (service.command or service.name).split(None, 2)
    if posixpath.basename(words[0]) == "tcpd" and len(words) > 1:
        words = words[1:]  # behind a TCP wrapper, the wrapped one
    program = service.executable or words[0]
    return Listener(
        program=posixpath.basename(program), protocol=protocol, address=address,
        port=int(port) if port.isdecimal() else PORTS.get(port), purpose=purpose, service=service.name,
        enabled=service.enabled, origin=origin, path=service.path, line=service.line,
        installed=None if service.command in (None, "internal") else service.executable is not None,
    )  # fmt: skip


def _xinetd(tree: Tree) -> Iterator[tuple[tuple[str | None, int | None], dict[str, str]]]:
    """Yield the attributes of each block, by path and line of its beginning."""
    files: dict[str, TreeFile] = {}
    for file, line in tree.all(Directive):
        if line.dialect == xinetd.DIALECT:
            files.setdefault(file.path, file)
    for path, file in files.items():
        head: tuple[str | None, int | None] | None = None
        values: dict[str, str] = {}
        for line in tree.facts(Directive, file):
            if line.dialect == xinetd.DIALECT and line.key == "service":
                if head is not None:
                    yield head, values
                head, values = (path, line.line), {"service": line.value}
            elif head is not None and line.section == values["service"]:
                values[line.key] = line.value
        if head is not None:
            yield head, values


def _of_xinetd(service: Service, values: dict[str, str]) -> Iterator[Listener]:
    kind = values.get("socket_type", "stream")
    protocol = values.get("protocol") or {"stream": "tcp", "dgram": "udp"}.get(kind, kind)
    kinds = values.get("type", "").upper().split()
    if protocol not in ("tcp", "udp", "sctp") or "RPC" in kinds or "TCPMUX" in kinds or "TCPMUXPLUS" in kinds:
        return
    flags = values.get("flags", "").upper().split()
    address = values.get("bind") or values.get("interface")
    addresses = [address] if address else [ANY["IPV6" in flags][0]]
    for each in addresses:
        yield _listener(service, protocol, each, values.get("port", values["service"]), values["service"], "inetd")


LISTENERS = TreeInspector(
    name="superserver-listeners",
    version=2,
    families=(Listener,),
    inspect=listeners,
    unseen=(
        "Ports that /etc/services gives to names of a vendor's own: the port is left empty.",
        "RPC services, whose port rpcbind hands out; xinetd's bind address in its defaults.",
    ),
)
