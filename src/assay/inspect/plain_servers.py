"""Servers without a configuration file of their own: telnetd, tftpd and ftpd started by themselves.

Looks at the commands of services, and at /etc/default/tftpd-hpa (or /etc/sysconfig, /etc/conf.d). Source: telnetd(8) of
BusyBox (-p, -b) and of inetutils, in.tftpd(8) of tftp-hpa 5.2 (--listen, --address, --secure, --create).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Service, Setting

from .base import Tree, TreeInspector
from .effective import configured
from .environment_file import variables
from .starting import ANY, served, services
from .startup import words

TELNET = ("telnetd", "in.telnetd", "utelnetd")

TFTP = ("in.tftpd",)

OPTIONS = {
    "--create": "create",
    "-c": "create",
    "--secure": "secure",
    "-s": "secure",
    "--permissive": "permissive",
    "-p": "permissive",
}

_VARIABLES = ("$", "`")


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield the options of tftpd, and the sockets of tftpd and of telnet servers that services start directly."""
    for row in services(tree):
        yield from _telnet(row)
    known = variables(tree, "tftpd-hpa")
    if known and configured(tree, *TFTP, beside=("/etc/default/tftpd-hpa",)):
        for name, key in (("TFTP_DIRECTORY", "directory"), ("TFTP_USERNAME", "user"), ("TFTP_ADDRESS", "address")):
            if name in known:
                value, file, line = known[name]
                yield Setting(subsystem="tftpd", key=key, value=value, origin="file", path=file.path, line=line)
        if "TFTP_OPTIONS" in known:
            value, file, line = known["TFTP_OPTIONS"]
            stated = {OPTIONS[word] for word in words(value) if word in OPTIONS}
            for key in ("create", "permissive", "secure"):
                yield Setting(
                    subsystem="tftpd", key=key, value="yes" if key in stated else "no",
                    origin="file" if key in stated else "default",
                    basis=None if key in stated else "in.tftpd(8)", path=file.path, line=line,
                )  # fmt: skip
        if "TFTP_ADDRESS" in known:
            value, file, line = known["TFTP_ADDRESS"]
            host, colon, port = value.rpartition(":")
            host = host.strip("[]") if colon else value
            yield from served(
                tree,
                TFTP,
                iter(
                    Listener(
                        program="in.tftpd", protocol="udp", address=address,
                        port=int(port) if colon and port.isdecimal() else 69, purpose="tftp", tls=False,
                        path=file.path, line=line,
                    )
                    for address in ([host] if host else [any_address for any_address, _ in ANY])
                ),
            )  # fmt: skip


def _telnet(row: Service) -> Iterator[Listener]:
    command = words(row.command or "")
    program = posixpath.basename(row.executable or (command[0] if command else ""))
    if program in ("busybox", "start-stop-daemon") or (command and posixpath.basename(command[0]) in TELNET):
        names = [posixpath.basename(word) for word in command[:2]]
        program = next((name for name in names if name in TELNET), program)
    if program not in TELNET or "-i" in command:
        return
    port: int | None = 23
    address = ""
    for option, value in zip(command, [*command[1:], ""], strict=True):
        if option == "-p":
            port = int(value) if value.isdecimal() else None
        elif option == "-b":
            host, colon, stated = value.rpartition(":")
            address = host.strip("[]") if colon else value
            port = int(stated) if colon and stated.isdecimal() else port
    if any(mark in (row.command or "") for mark in _VARIABLES):
        port = None
    for each in [address] if address else [any_address for any_address, _ in ANY]:
        yield Listener(
            program=program, protocol="tcp", address=each, port=port, purpose="telnet", tls=False, service=row.name,
            enabled=row.enabled, origin="file" if "-p" in command or address else "default",
            path=row.path, line=row.line,
        )  # fmt: skip


SETTINGS = TreeInspector(
    name="plain-servers",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "Servers that a line inside a start script starts, other than by start-stop-daemon or procd.",
        "BusyBox' tftpd and ftpd, which a super-server starts: they are its listeners.",
    ),
)
