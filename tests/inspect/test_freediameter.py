"""freeDiameter: statements, peers, includes; what holds and where it listens."""

from __future__ import annotations

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting
from assay.inspect import freediameter
from tests.support.memory_tree import MemoryTree, inspect

TEXT = """\
# a comment
Identity = "mme.localdomain";
Realm = "localdomain"; # another
No_SCTP;
SecPort = 0;
ListenOn = "10.0.0.2"; ListenOn = "fd00::2";
TLS_Cred = "c.pem",
   "k.pem";
include "/etc/freeDiameter/more/*.conf"
LoadExtension = "dict_s6a.fdx" : "s6a.conf";
ConnectPeer = "hss.localdomain" { ConnectTo = "10.0.0.8"; No_TLS; port = 3868; };
"""


def test_directives() -> None:
    assert inspect(freediameter.INSPECTOR, TEXT.encode()) == [
        Directive(dialect="freediameter", section=section, key=key, value=value, line=line)
        for section, key, value, line in (
            (None, "Identity", "mme.localdomain", 2),
            (None, "Realm", "localdomain", 3),
            (None, "No_SCTP", "yes", 4),
            (None, "SecPort", "0", 5),
            (None, "ListenOn", "10.0.0.2", 6),
            (None, "ListenOn", "fd00::2", 6),
            (None, "TLS_Cred", "c.pem, k.pem", 7),
            (None, "include", "/etc/freeDiameter/more/*.conf", 9),
            (None, "LoadExtension", "dict_s6a.fdx : s6a.conf", 10),
            (None, "ConnectPeer", "hss.localdomain", 11),
            ("ConnectPeer hss.localdomain", "ConnectTo", "10.0.0.8", 11),
            ("ConnectPeer hss.localdomain", "No_TLS", "yes", 11),
            ("ConnectPeer hss.localdomain", "port", "3868", 11),
        )
    ]


def test_what_holds() -> None:
    files = {
        "/etc/freeDiameter/mme.conf": TEXT,
        "/etc/freeDiameter/more/a.conf": "Port = 3870;\n",
        "/etc/freeDiameter/acl_wl.conf": "ALLOW_OLD_TLS *.localdomain\n",
    }
    tree = MemoryTree({path: (0o644, 0, 0, text.encode()) for path, text in files.items()}, [freediameter.INSPECTOR])
    assert not tree.failures
    found = list(freediameter.SETTINGS.inspect(tree))
    scope = "configuration /etc/freeDiameter/mme.conf"
    settings = [fact for fact in found if isinstance(fact, Setting)]
    assert {fact.scope for fact in settings} == {scope}
    assert [(fact.key, fact.value, fact.path, fact.line) for fact in settings if fact.origin == "file"] == [
        ("Identity", "mme.localdomain", "/etc/freeDiameter/mme.conf", 2),
        ("Realm", "localdomain", "/etc/freeDiameter/mme.conf", 3),
        ("No_SCTP", "yes", "/etc/freeDiameter/mme.conf", 4),
        ("SecPort", "0", "/etc/freeDiameter/mme.conf", 5),
        ("ListenOn", "10.0.0.2", "/etc/freeDiameter/mme.conf", 6),
        ("ListenOn", "fd00::2", "/etc/freeDiameter/mme.conf", 6),
        ("TLS_Cred", "c.pem, k.pem", "/etc/freeDiameter/mme.conf", 7),
        ("Port", "3870", "/etc/freeDiameter/more/a.conf", 1),
        ("LoadExtension", "dict_s6a.fdx : s6a.conf", "/etc/freeDiameter/mme.conf", 10),
        ("ConnectPeer", "hss.localdomain", "/etc/freeDiameter/mme.conf", 11),
        ("ConnectPeer hss.localdomain ConnectTo", "10.0.0.8", "/etc/freeDiameter/mme.conf", 11),
        ("ConnectPeer hss.localdomain No_TLS", "yes", "/etc/freeDiameter/mme.conf", 11),
        ("ConnectPeer hss.localdomain port", "3868", "/etc/freeDiameter/mme.conf", 11),
    ]
    assert {fact.key: fact.value for fact in settings if fact.origin == "default"} == {
        key: value for key, value in freediameter.DEFAULTS.items() if key not in ("Port", "SecPort", "No_SCTP")
    }
    assert [fact for fact in found if isinstance(fact, Listener)] == [
        Listener(
            program="freediameter", protocol="tcp", address=address, port=3870, purpose="diameter", tls=False,
            path="/etc/freeDiameter/mme.conf", line=6,
        )
        for address in ("10.0.0.2", "fd00::2")
    ]  # fmt: skip


def test_a_relative_include_leaves_defaults_open() -> None:
    text = 'Identity = "a.b";\ninclude "more.conf"\n'
    files = {"/etc/freeDiameter/freeDiameter.conf": text, "/etc/freeDiameter/more.conf": "Port = 3870;\n"}
    tree = MemoryTree({path: (0o644, 0, 0, data.encode()) for path, data in files.items()}, [freediameter.INSPECTOR])
    assert list(freediameter.SETTINGS.inspect(tree)) == [
        Setting(
            subsystem="freediameter", key="Identity", value="a.b", origin="file",
            path="/etc/freeDiameter/freeDiameter.conf", line=1,
        )
    ]  # fmt: skip


def test_what_does_not_end() -> None:
    text = 'Identity = "a.b";\nRealm = "b'
    tree = MemoryTree({"/etc/freeDiameter/freeDiameter.conf": (0o644, 0, 0, text.encode())}, [freediameter.INSPECTOR])
    assert [str(failure[2]) for failure in tree.failures] == ["string at line 2 does not end"]
    found = list(freediameter.SETTINGS.inspect(tree))
    assert [(fact.key, fact.origin) for fact in found if isinstance(fact, Setting)] == [("Identity", "file")]
    assert [fact for fact in found if isinstance(fact, Listener)] == []
