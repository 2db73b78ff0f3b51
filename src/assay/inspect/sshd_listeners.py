"""Where the OpenSSH server listens, by its effective settings. Source: sshd_config(5), Port and ListenAddress."""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Setting

from .base import Tree, TreeInspector
from .late import late
from .sshd import settings
from .starting import served

_SCOPE = late(r"sshd -f \S+")
_ADDRESS = late(r"\[(?P<six>[^\]]*)\](?::(?P<port6>\w+))?|(?P<four>[^:\s]*)(?::(?P<port4>\w+))?|(?P<bare>\S*)")


def listeners(tree: Tree) -> Iterator[Listener]:
    """Yield one listener for each address and port."""
    yield from served(tree, ("sshd",), _listeners(tree))


def _listeners(tree: Tree) -> Iterator[Listener]:
    servers: dict[str, dict[str, list[Setting]]] = {}
    for setting in settings(tree):
        if setting.key in ("port", "listenaddress") and (not setting.scope or _SCOPE.fullmatch(setting.scope)):
            servers.setdefault(setting.scope, {}).setdefault(setting.key, []).append(setting)
    for found in servers.values():
        for address in found.get("listenaddress", ()):
            match = _ADDRESS.fullmatch(address.value.split(None, 1)[0] if address.value else "")
            if match is None:
                continue
            own = match["port6"] or match["port4"]
            host = match["six"] or match["four"] or match["bare"] or ""
            ports = [(own, address)] if own else [(port.value, port) for port in found.get("port", ())]
            for port, proof in ports:
                shown = address if address.origin == "file" else proof
                yield Listener(
                    program="sshd", protocol="tcp", address=host, port=int(port) if port.isdecimal() else None,
                    purpose="ssh", tls=True, origin="file" if shown.origin == "file" else "default",
                    path=shown.path, line=shown.line,
                )  # fmt: skip


LISTENERS = TreeInspector(
    name="sshd-listeners",
    version=3,
    families=(Listener,),
    inspect=listeners,
    unseen=(
        "Ports on the command line (-p); a socket unit that starts sshd is a listener of its own.",
        "A server whose main file is not in its tree: where it listens is not known.",
    ),
)
