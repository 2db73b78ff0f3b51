"""What Osmocom programs do where their configuration says nothing: data only.

From the programs themselves, as packaged for Debian 12 (osmo-msc 1.9.0, osmo-hlr 1.5.0, osmo-sgsn 1.9.0, osmo-ggsn
1.9.0, osmo-mgw 1.10.0, osmo-stp 1.6.0), started with an empty configuration and asked by `show running-config`, with
the sockets that they then opened. Of other programs only what the common library does is here: its ports are in
libosmocore, vty/ports.h and ctrl/ports.h.
"""

from __future__ import annotations

from typing import NamedTuple


class Default(NamedTuple):
    """A command's effect where the configuration does not have it."""

    section: str
    key: str
    value: str


class Opened(NamedTuple):
    """A server that a program opens."""

    purpose: str
    protocol: str
    section: str
    address: str
    """Command in the section that says the address."""
    default_address: str | None
    """Where there is no such command; None if the server is then not opened."""
    port: str
    """Command that says the port; empty if none does."""
    default_port: int


class Program(NamedTuple):
    """What is known of one program."""

    release: str
    """Release whose defaults these are."""
    vty: int | None
    ctrl: int | None = None
    defaults: tuple[Default, ...] = ()
    servers: tuple[Opened, ...] = ()


COMMON = (Default("line vty", "login", "no"), Default("line vty", "bind", "127.0.0.1"))
"""For every program with a VTY: `no login` lets in who connects."""

ANY = "0.0.0.0"  # noqa: S104 - what the programs do

LIBRARY = "libosmocore 1.7"
"""Release for programs that were not asked themselves."""

PROGRAMS = {
    "osmo-msc": Program(
        "osmo-msc 1.9.0", 4254, 4255,
        (
            Default("network", "encryption a5", "1 3"),
            Default("network", "encryption uea", "1 2"),
            Default("network", "authentication", "optional"),
            Default("network", "rrlp mode", "none"),
            Default("network", "network country code", "001"),
            Default("network", "mobile network code", "01"),
            Default("hlr", "remote-ip", "127.0.0.1"),
            Default("hlr", "remote-port", "4222"),
            Default("smpp", "policy", "closed"),
        ),
        (
            Opened("smpp", "tcp", "smpp", "local-tcp-ip", ANY, "local-tcp-port", 2775),
            Opened("sgs", "sctp", "sgs", "local-ip", ANY, "local-port", 29118),
        ),
    ),
    "osmo-hlr": Program(
        "osmo-hlr 1.5.0", 4258, 4259, (),
        (Opened("gsup", "tcp", "hlr / gsup", "bind ip", ANY, "", 4222),),
    ),
    "osmo-sgsn": Program(
        "osmo-sgsn 1.9.0", 4245, 4251,
        (
            Default("sgsn", "encryption gea", "0"),
            Default("sgsn", "auth-policy", "closed"),
            Default("sgsn", "gsup remote-port", "4222"),
        ),
        (
            Opened("gtp-c", "udp", "sgsn", "gtp local-ip", None, "", 2123),
            Opened("gtp-u", "udp", "sgsn", "gtp local-ip", None, "", 2152),
            Opened("gtp-0", "udp", "sgsn", "gtp local-ip", None, "", 3386),
        ),
    ),
    "osmo-ggsn": Program("osmo-ggsn 1.9.0", 4260, 4257),
    "osmo-mgw": Program(
        "osmo-mgw 1.10.0", 4243, 4267,
        (
            Default("mgcp", "bind ip", ANY),
            Default("mgcp", "bind port", "2427"),
            Default("mgcp", "rtp ip-probing", "no"),
            Default("mgcp", "rtp ip-dscp", "0"),
            Default("mgcp", "number endpoints", "512"),
            Default("mgcp", "osmux", "off"),
        ),
        (Opened("mgcp", "udp", "mgcp", "bind ip", ANY, "bind port", 2427),),
    ),
    "osmo-stp": Program("osmo-stp 1.6.0", 4239),
    "osmo-bsc": Program(LIBRARY, 4242, 4249),
    "osmo-bts": Program(LIBRARY, 4241, 4238),
    "osmo-pcu": Program(LIBRARY, 4240),
    "osmo-hnbgw": Program(LIBRARY, 4261, 4262),
    "osmo-gbproxy": Program(LIBRARY, 4246, 4263),
    "osmo-sip-connector": Program(LIBRARY, 4256),
    "osmo-trx": Program(LIBRARY, 4237, 4236),
}  # fmt: skip
"""Programs by the name of their configuration file."""

PHRASES = ("encryption a5", "encryption gea", "encryption uea", "listen m3ua", "rtp ip-probing", "shutdown ggsn")
"""Commands that do not end where the first word with a digit, or the last word, begins."""

SINGLE = frozenset(
    {"bind", "login", "authentication", "auth-policy", "remote-ip", "remote-port", "local-ip", "local-port", "policy",
     "bind ip", "bind port", "encryption a5", "encryption gea", "encryption uea", "rrlp mode", "network country code",
     "mobile network code", "local-tcp-port", "local-tcp-ip", "gsup remote-ip", "gsup remote-port", "gtp local-ip",
     "short name", "long name", "osmux", "rtp ip-probing", "rtp ip-dscp", "number endpoints"}
)  # fmt: skip
"""Commands of which the last one in a node holds; others stand beside each other."""
