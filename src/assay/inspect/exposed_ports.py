"""Ports that images, workloads and services are told to open, out of the texts that say so."""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.network import ExposedPort

from .late import late

_PORTS = late(r"(?P<first>\d{1,5})(?:-(?P<last>\d{1,5}))?(?:/(?P<protocol>[A-Za-z]{3,4}))?", re.ASCII)
_SHORT = late(r"(?:(?P<address>\[[^\]]*\]|[^:\[\]]*):)?(?:(?P<published>\d{0,5}(?:-\d{1,5})?):)?(?P<target>[^:]+)")
_VARIABLE = late(r"\$\{[^}]{0,200}\}")
_PROTOCOLS = ("tcp", "udp", "sctp")
HIGHEST = 65535


def exposed(
    text: str,
    dialect: str,
    how: str,
    *,
    of: str = "",
    protocol: str = "tcp",
    address: str = "",
    name: str | None = None,
    line: int | None = None,
) -> Iterator[ExposedPort]:
    """Yield the port of a text like `80`, `53/udp` or `8000-8010/tcp`; one without a number for a variable.

    Args:
        text: the port or range, with its protocol if that is not `protocol`.
        dialect: who says so.
        how: image, container, service, node, host.
        of: what opens it.
        protocol: where the text names none.
        address: of the host.
        name: of the port.
        line: where it stands.
    """
    found = _PORTS.fullmatch(text)
    stated = (found["protocol"] if found else text.rpartition("/")[2] if "/" in text else "") or protocol
    first = int(found["first"]) if found else None
    last = int(found["last"]) if found and found["last"] else None
    if (
        stated.lower() not in _PROTOCOLS
        or (first or 0) > HIGHEST
        or (last or 0) > HIGHEST
        or (not found and "$" not in text)
    ):
        return
    yield ExposedPort(
        dialect=dialect, of=of, how=how, protocol=stated.lower(), port=first, until=last if last != first else None,
        address=address, name=name, line=line,
    )  # fmt: skip


def published(text: str, dialect: str, of: str, line: int | None) -> Iterator[ExposedPort]:
    """Yield the ports of Compose's short form, [[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL]: of the container, of the host.

    A published port of 0, or none, is chosen by the engine.
    """
    target, slash, protocol = _VARIABLE.sub("$", text).partition("/")
    target, protocol = (target, protocol) if slash else (target, "tcp")
    found = _SHORT.fullmatch(target)
    if found is None:
        return
    address, outer = (found["address"] or "").strip("[]"), found["published"]
    if outer is None and (address.isdecimal() or "-" in address or "$" in address):
        address, outer = "", address  # two parts: the first one is the published port
    inner = list(exposed(found["target"], dialect, "container", of=of, protocol=protocol, line=line))
    yield from inner
    if outer and outer != "0" and inner:
        yield from exposed(outer, dialect, "host", of=of, protocol=protocol, address=address, line=line)
    elif inner:
        yield ExposedPort(
            dialect=dialect, of=of, how="host", protocol=protocol.lower(), port=None, address=address, line=line
        )
