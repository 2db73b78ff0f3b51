"""Kamailio's script: statements, conditions, includes, definitions; what holds and where it listens."""

from __future__ import annotations

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting
from assay.inspect import kamailio
from tests.support.memory_tree import MemoryTree, inspect

SCRIPT = """\
#!KAMAILIO
# comment "with a quote
/* block
   children=99 */
import_file "local.cfg"
#!trydef DBURL "mysql://kamailio:rw@localhost/kamailio"
#!substdef "!MY_IP!10.0.0.1!g"
#!ifdef WITH_TLS
enable_tls=yes
#!else
enable_tls=no
#!endif
children=4 // eight
children=8
debug=LEVEL
log_prefix="{$mt} "
route_locks_size = 256
pstn.gw_ip = "" desc "Gateway"
listen=udp:MY_IP:5060 advertise 192.0.2.1:5060
listen=eth0
loadmodule "tls.so"
loadmodule "ctl.so"
modparam("nathelper|registrar", "received_avp", "$avp(RECEIVED)")
modparam("acc", "log_extra",
\t"a=$fU;"
\t"b=$tU")
modparam("auth_db", "db_url", DBURL)
modparam("x", "api_password", "hunter2")
modparam("ctl", "binrpc", "tcp:127.0.0.1:2046")
request_route {
    $ru = $(ru{re.subst,/;transport=[A-Za-z]*//g});
    if (a) { xlog("}"); }
#!ifdef X
    if (b) {
#!else
    if (c) {
#!endif
    }
}
event_route [xhttp:request]
{
    children=77;
}
"""
LOCAL = "#!define WITH_TLS\n#!define LEVEL 3\n"
PROFILES = (
    "# c\n[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\n[client:10.0.0.2:5061]\ncertificate = c.pem\n"
)


def test_statements() -> None:
    assert inspect(kamailio.INSPECTOR, SCRIPT.encode()) == [
        Directive(dialect="kamailio", section=section, key=key, value=value, line=line)
        for section, key, value, line in (
            (None, "import_file", "local.cfg", 5),
            (None, "trydef", "DBURL mysql://kamailio:[withheld]@localhost/kamailio", 6),
            (None, "substdef", "MY_IP 10.0.0.1", 7),
            ("WITH_TLS", "enable_tls", "yes", 9),
            ("not WITH_TLS", "enable_tls", "no", 11),
            (None, "children", "4", 13),
            (None, "children", "8", 14),
            (None, "debug", "LEVEL", 15),
            (None, "log_prefix", "{$mt} ", 16),
            (None, "route_locks_size", "256", 17),
            (None, "pstn.gw_ip", "", 18),
            (None, "listen", "udp:MY_IP:5060 advertise 192.0.2.1:5060", 19),
            (None, "listen", "eth0", 20),
            (None, "loadmodule", "tls.so", 21),
            (None, "loadmodule", "ctl.so", 22),
            (None, "modparam nathelper received_avp", "$avp(RECEIVED)", 23),
            (None, "modparam registrar received_avp", "$avp(RECEIVED)", 23),
            (None, "modparam acc log_extra", "a=$fU; b=$tU", 24),
            (None, "modparam auth_db db_url", "DBURL", 27),
            (None, "modparam x api_password", "[withheld]", 28),
            (None, "modparam ctl binrpc", "tcp:127.0.0.1:2046", 29),
            (None, "route", "request_route", 30),
            (None, "route", "event_route[xhttp:request]", 40),
        )
    ]


def facts(files: dict[str, str]) -> tuple[list[Setting], list[Listener]]:
    tree = MemoryTree({path: (0o644, 0, 0, text.encode()) for path, text in files.items()}, [kamailio.INSPECTOR])
    assert not tree.failures
    found = list(kamailio.SETTINGS.inspect(tree))
    return (
        [fact for fact in found if isinstance(fact, Setting)],
        [fact for fact in found if isinstance(fact, Listener)],
    )


FILES = {"/etc/kamailio/kamailio.cfg": SCRIPT, "/etc/kamailio/local.cfg": LOCAL, "/etc/kamailio/tls.cfg": PROFILES}


def test_what_holds() -> None:
    settings, listeners = facts(FILES)
    assert [(fact.key, fact.value, fact.scope, fact.line) for fact in settings if fact.origin == "file"] == [
        ("enable_tls", "yes", "", 9),
        ("children", "8", "", 14),
        ("debug", "3", "", 15),
        ("log_prefix", "{$mt} ", "", 16),
        ("route_locks_size", "256", "", 17),
        ("pstn.gw_ip", "", "", 18),
        ("listen", "udp:10.0.0.1:5060 advertise 192.0.2.1:5060", "", 19),
        ("listen", "eth0", "", 20),
        ("loadmodule", "tls.so", "", 21),
        ("loadmodule", "ctl.so", "", 22),
        ("modparam nathelper received_avp", "$avp(RECEIVED)", "", 23),
        ("modparam registrar received_avp", "$avp(RECEIVED)", "", 23),
        ("modparam acc log_extra", "a=$fU; b=$tU", "", 24),
        ("modparam auth_db db_url", "mysql://kamailio:[withheld]@localhost/kamailio", "", 27),
        ("modparam x api_password", "[withheld]", "", 28),
        ("modparam ctl binrpc", "tcp:127.0.0.1:2046", "", 29),
        ("route", "request_route", "", 30),
        ("route", "event_route[xhttp:request]", "", 40),
        ("tls method", "TLSv1.2+", "[server:default]", 3),
        ("tls verify_certificate", "no", "[server:default]", 4),
        ("tls certificate", "c.pem", "[client:10.0.0.2:5061]", 6),
    ]
    assert {fact.key: fact.value for fact in settings if fact.origin == "default"} == {
        key: value for key, value in kamailio.DEFAULTS.items() if key not in ("enable_tls", "children", "debug")
    }
    assert next(fact.basis for fact in settings if fact.key == "children") == "overrides /etc/kamailio/kamailio.cfg:13"
    assert [
        (fact.protocol, fact.address, fact.interface, fact.port, fact.purpose, fact.tls, fact.line)
        for fact in listeners
    ] == [
        ("udp", "10.0.0.1", None, 5060, "sip", False, 19),
        ("udp", "", "eth0", 5060, "sip", False, 20),
        ("tcp", "", "eth0", 5060, "sip", False, 20),
        ("tcp", "", "eth0", 5061, "sip", True, 20),
        ("tcp", "127.0.0.1", None, 2046, "admin", False, 29),
    ]


def test_nothing_said_of_sockets_means_all() -> None:
    _, listeners = facts({"/etc/kamailio/kamailio.cfg": "#!KAMAILIO\nport=5070\ndisable_tcp=yes\n"})
    assert listeners == [
        Listener(
            program="kamailio",
            protocol="udp",
            address="0.0.0.0",
            port=5070,
            purpose="sip",
            tls=False,
            origin="default",
            path="/etc/kamailio/kamailio.cfg",
        )
    ]


def test_no_default_where_an_include_is_missing() -> None:
    settings, listeners = facts({"/opt/kamailio/kamailio.cfg": '#!KAMAILIO\ninclude_file "gone.cfg"\nchildren=2\n'})
    assert [(fact.key, fact.scope) for fact in settings] == [("children", "kamailio -f /opt/kamailio/kamailio.cfg")]
    assert listeners == []


def test_samples_and_included_files_are_no_configuration_of_their_own() -> None:
    settings, _ = facts(FILES | {"/usr/share/doc/kamailio/examples/kamailio.cfg": SCRIPT})
    assert {fact.path for fact in settings if fact.origin == "file"} == {
        "/etc/kamailio/kamailio.cfg",
        "/etc/kamailio/tls.cfg",
    }
