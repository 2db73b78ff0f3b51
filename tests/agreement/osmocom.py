"""Osmocom: what running programs say of their configuration on their VTY, and which TCP and UDP sockets they opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .base import Program, write
from .vty import ask

PORTS = {"osmo-hlr": 4258, "osmo-mgw": 4243, "osmo-sgsn": 4245, "osmo-stp": 4239}
"""Programs that run without SCTP, which not every kernel has, and their VTY's port."""

KEYS = {
    "line vty": ("login",),
    "hlr / gsup": ("bind ip",),
    "mgcp": ("bind ip", "bind port", "rtp bind-ip", "rtp ip-probing", "rtp ip-dscp", "number endpoints", "osmux"),
    "sgsn": ("encryption gea", "auth-policy", "gsup remote-ip", "gsup remote-port", "gtp local-ip"),
    "ns / bind udp local": ("listen", "accept-ipaccess"),
    "cs7 instance 0": ("xua rkm routing-key-allocation",),
    "cs7 instance 0 / listen m3ua 2905": ("accept-asp-connections",),
}
"""Nodes, and the commands in them that are compared."""

SGSN = "sgsn\n gtp local-ip {gtp}\n encryption gea 0\n auth-policy {policy}\n gsup remote-ip 127.0.0.1\n"


def packaged(root: Path) -> None:
    """As the packages have it."""


def hardened(root: Path) -> None:
    """Subscribers from the HLR alone, everything on addresses of this machine. (The packages come without ciphers.)"""
    write(root, "/etc/osmocom/osmo-sgsn.cfg", SGSN.format(gtp="127.0.0.1", policy="remote"))
    write(root, "/etc/osmocom/osmo-hlr.cfg", "ctrl\n bind 127.0.0.1\nhlr\n gsup\n  bind ip 127.0.0.1\n")
    write(root, "/etc/osmocom/osmo-mgw.cfg", "mgcp\n bind ip 127.0.0.1\n bind port 2428\n no rtp ip-probing\n")
    write(root, "/etc/osmocom/osmo-stp.cfg", "cs7 instance 0\n xua rkm routing-key-allocation dynamic-permitted\n")


def careless(root: Path) -> None:
    """Open on all addresses, nothing ciphered, everybody accepted; commands given twice."""
    write(
        root,
        "/etc/osmocom/osmo-sgsn.cfg",
        "line vty\n no login\n bind 0.0.0.0\nctrl\n bind 0.0.0.0\n"
        + SGSN.format(gtp="127.0.0.1", policy="closed")
        + " auth-policy accept-all\nns\n bind udp local\n  listen 0.0.0.0 23000\n  accept-ipaccess\n",
    )
    write(root, "/etc/osmocom/osmo-hlr.cfg", "line vty\n bind 0.0.0.0\nctrl\n bind 0.0.0.0\nhlr\n")
    write(root, "/etc/osmocom/osmo-mgw.cfg", "! nothing set\n")
    write(
        root,
        "/etc/osmocom/osmo-stp.cfg",
        "line vty\n no login\ncs7 instance 0\n xua rkm routing-key-allocation dynamic-permitted\n"
        " listen m3ua 2905\n  accept-asp-connections dynamic-permitted\n",
    )


def says(root: Path) -> dict[str, str]:
    """Start each program in turn and ask it."""
    found = {}
    for name, port in PORTS.items():
        lines, sockets = ask(root, port, f"/usr/bin/{name}", "-c", f"/etc/osmocom/{name}.cfg")
        nodes: list[str] = []
        for line in lines:
            depth = len(line) - len(line.lstrip(" "))
            nodes[depth:] = [line.strip()]
            section = " / ".join(nodes[:-1])
            for key in KEYS.get(section, ()):
                if f"{line.strip().removeprefix('no ')} ".startswith(f"{key} "):
                    found[f"{name}: {section} / {key}"] = line.strip()
        found[f"{name}: sockets"] = ", ".join(sorted(sockets))
    return found


def ours(db: sqlite3.Connection) -> dict[str, str]:
    """Return what the record says, as lines of a configuration."""
    found = {}
    query = "SELECT subsystem, key, value FROM setting WHERE subsystem LIKE 'osmo-%' AND scope = '' ORDER BY id"
    for name, path, value in db.execute(query):
        section, _, key = path.rpartition(" / ")
        if name in PORTS and key in KEYS.get(section, ()):
            found[f"{name}: {path}"] = f"no {key}" if value == "no" else f"{key} {value}".strip()
    for name in PORTS:
        rows = db.execute(
            "SELECT protocol || ' ' || address || ' ' || port FROM listener WHERE program = ? AND protocol <> 'sctp'",
            (name,),
        )
        found[f"{name}: sockets"] = ", ".join(sorted({row[0] for row in rows}))
    return found


PROGRAM = Program(
    name="osmocom",
    packages=tuple(PORTS),
    states={"as packaged": packaged, "hardened": hardened, "careless": careless},
    says=says,
    ours=ours,
    how="`show running-config` on the VTY, and /proc/net/tcp and udp",
)
