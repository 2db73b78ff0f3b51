"""Osmocom programs: nodes by indentation, what holds, what the programs do unasked."""

from __future__ import annotations

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting
from assay.inspect import osmocom
from tests.support.memory_tree import MemoryTree, inspect

MSC = """\
! a comment
line vty
 login
 password hunter2
 bind 10.0.0.1 4300
network
 # another
 network country code 1
 encryption a5 0
 encryption a5 3 1
 authentication required
msc
 mgw remote-ip 127.0.0.1
smpp
 local-tcp-ip 127.0.0.1 2776
 esme test
  password secret
"""


def test_directives() -> None:
    assert inspect(osmocom.INSPECTOR, MSC.encode()) == [
        Directive(dialect="osmocom-vty", section=section, key=key, value=value, line=line)
        for section, key, value, line in (
            (None, "line", "vty", 2),
            ("line vty", "login", "", 3),
            ("line vty", "password", "[withheld]", 4),
            ("line vty", "bind", "10.0.0.1 4300", 5),
            (None, "network", "", 6),
            ("network", "network country code", "1", 8),
            ("network", "encryption a5", "0", 9),
            ("network", "encryption a5", "3 1", 10),
            ("network", "authentication", "required", 11),
            (None, "msc", "", 12),
            ("msc", "mgw remote-ip", "127.0.0.1", 13),
            (None, "smpp", "", 14),
            ("smpp", "local-tcp-ip", "127.0.0.1 2776", 15),
            ("smpp", "esme", "test", 16),
            ("smpp / esme test", "password", "[withheld]", 17),
        )
    ]


def facts(files: dict[str, str]) -> tuple[list[Setting], list[Listener]]:
    tree = MemoryTree({path: (0o644, 0, 0, text.encode()) for path, text in files.items()}, [osmocom.INSPECTOR])
    assert not tree.failures
    found = list(osmocom.SETTINGS.inspect(tree))
    return (
        [fact for fact in found if isinstance(fact, Setting)],
        [fact for fact in found if isinstance(fact, Listener)],
    )


def test_settings() -> None:
    settings, listeners = facts({"/etc/osmocom/osmo-msc.cfg": MSC, "/usr/share/doc/osmo-msc/osmo-msc.cfg": MSC})
    path = "/etc/osmocom/osmo-msc.cfg"
    assert [(fact.key, fact.value, fact.line, fact.basis) for fact in settings if fact.origin == "file"] == [
        ("line vty / login", "", 3, None),
        ("line vty / password", "[withheld]", 4, None),
        ("line vty / bind", "10.0.0.1 4300", 5, None),
        ("network / network country code", "1", 8, None),
        ("network / encryption a5", "3 1", 10, f"overrides {path}:9"),
        ("network / authentication", "required", 11, None),
        ("msc / mgw remote-ip", "127.0.0.1", 13, None),
        ("smpp / local-tcp-ip", "127.0.0.1 2776", 15, None),
        ("smpp / esme test / password", "[withheld]", 17, None),
    ]
    basis = "osmo-msc 1.9.0 as published; version unknown"
    assert [fact for fact in settings if fact.origin == "default"] == [
        Setting(subsystem="osmo-msc", key=key, value=value, origin="default", basis=basis)
        for key, value in (
            ("network / encryption uea", "1 2"),
            ("network / rrlp mode", "none"),
            ("network / mobile network code", "01"),
            ("hlr / remote-ip", "127.0.0.1"),
            ("hlr / remote-port", "4222"),
            ("smpp / policy", "closed"),
        )
    ]
    assert [(fact.protocol, fact.address, fact.port, fact.purpose, fact.line, fact.origin) for fact in listeners] == [
        ("tcp", "10.0.0.1", 4300, "vty", 5, "file"),
        ("tcp", "127.0.0.1", 4255, "ctrl", None, "default"),
        ("tcp", "127.0.0.1", 2776, "smpp", 15, "file"),
        ("sctp", "0.0.0.0", 29118, "sgs", None, "default"),
    ]


def test_other_programs() -> None:
    ggsn = "ggsn ggsn0\n gtp bind-ip 127.0.0.6\n{}shutdown ggsn\n"
    files = {
        "/etc/osmocom/osmo-ggsn.cfg": ggsn.format(" no "),
        "/opt/osmo-ggsn.cfg": ggsn.format(" "),
        "/etc/osmocom/osmo-stp.cfg": "cs7 instance 0\n listen m3ua 2905\n  local-ip 10.0.0.3\n  local-ip 10.0.0.4\n",
        "/etc/osmocom/osmo-sgsn.cfg": "ns\n bind udp local\n  listen 127.0.0.1 23000\nsgsn\n gtp local-ip 127.0.0.1\n",
        "/etc/osmocom/osmo-hlr.cfg": "! nothing\n",
    }
    _, listeners = facts(files)
    assert [
        (fact.program, f"{fact.protocol} {fact.address} {fact.port} {fact.purpose}")
        for fact in listeners
        if fact.purpose not in ("vty", "ctrl")
    ] == [
        ("osmo-ggsn", "udp 127.0.0.6 2123 gtp-c"),
        ("osmo-ggsn", "udp 127.0.0.6 2152 gtp-u"),
        ("osmo-ggsn", "udp 127.0.0.6 3386 gtp-0"),
        ("osmo-hlr", "tcp 0.0.0.0 4222 gsup"),
        ("osmo-sgsn", "udp 127.0.0.1 2123 gtp-c"),
        ("osmo-sgsn", "udp 127.0.0.1 2152 gtp-u"),
        ("osmo-sgsn", "udp 127.0.0.1 3386 gtp-0"),
        ("osmo-sgsn", "udp 127.0.0.1 23000 gb"),
        ("osmo-stp", "sctp 10.0.0.3 2905 m3ua"),
        ("osmo-stp", "sctp 10.0.0.4 2905 m3ua"),
    ]


def test_no_default_of_what_could_not_be_read() -> None:
    deep = "".join(f"{' ' * at}a\n" for at in range(40))
    tree = MemoryTree({"/etc/osmocom/osmo-msc.cfg": (0o644, 0, 0, deep.encode())}, [osmocom.INSPECTOR])
    assert len(tree.failures) == 1
    found = list(osmocom.SETTINGS.inspect(tree))
    assert {fact.origin for fact in found} == {"file"}
