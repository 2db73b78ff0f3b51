"""snmpd, dropbear, FTP, file shares, DNS and DHCP servers: secrets, merging, sockets."""

from __future__ import annotations

from types import ModuleType

import pytest

from assay.facts.access import Credential
from assay.facts.network import Listener
from assay.facts.service import Directive
from assay.inspect import bind, dhcpd, dnsmasq, dropbear, exports, plain_servers, proftpd, samba, snmpd, vsftpd
from assay.inspect.shared_secret import credential, mark
from tests.support.daemons import built_in, rows, sockets, tree
from tests.support.memory_tree import MemoryTree, inspect


@pytest.mark.parametrize(
    ("inspector", "files", "program"),
    [
        (snmpd, {"/etc/snmp/snmpd.conf": "agentaddress udp:161\n"}, "/usr/sbin/snmpd"),
        (dnsmasq, {"/etc/dnsmasq.conf": "port=53\n"}, "/usr/sbin/dnsmasq"),
        (proftpd, {"/etc/proftpd/proftpd.conf": "Port 21\n"}, "/usr/libexec/proftpd"),
        (vsftpd, {"/etc/vsftpd.conf": "listen=YES\n"}, "/opt/ftp/bin/vsftpd"),
        (samba, {"/etc/samba/smb.conf": "[global]\nsmb ports = 445\n"}, "/usr/sbin/smbd"),
        (dhcpd, {"/etc/dhcp/dhcpd.conf": "authoritative;\n"}, "/usr/sbin/dhcpd"),
    ],
)
def test_what_is_configured_says_whether_its_program_is_there(
    inspector: ModuleType, files: dict[str, str], program: str
) -> None:
    for programs, installed in (([], False), ([program], True)):
        found = tree(files, inspector.INSPECTOR, programs=programs)
        rows = [row for row in inspector.SETTINGS.inspect(found) if isinstance(row, Listener)]
        assert rows
        assert {row.installed for row in rows} == {installed}


def test_an_applet_is_not_the_program_that_is_configured() -> None:
    found = tree({"/etc/vsftpd.conf": "listen=YES\n", "/bin/busybox": "x"}, vsftpd.INSPECTOR)
    assert [row for row in vsftpd.SETTINGS.inspect(found) if isinstance(row, Listener)]
    linked = MemoryTree(
        {
            "/etc/vsftpd.conf": (0o644, 0, 0, b"listen=YES\n"),
            "/bin/busybox": (0o755, 0, 0, b"x"),
            "/usr/sbin/vsftpd": (0o777, 0, 0, "/bin/busybox"),
        },
        [vsftpd.INSPECTOR],
    )
    assert list(vsftpd.SETTINGS.inspect(linked)) == []


def test_secrets_of_snmpd_are_fingerprints() -> None:
    text = b"""rocommunity public # anybody
rwCommunity6 "pri vate" fe80::/10 .1.3
com2sec -Cn ctx ro default com
createUser -e 0x80 admin SHA-256 "auth pass" AES privpass
createUser plain MD5 -m 0xcc
trap2sink 10.0.0.9 trapc
trapsess -v 3 -A apw -X xpw h
usmUser 1 3 0x80 "u" "u" NULL .1.3.6.1.6.3.10.1.1.3 0xaa .1.3.6.1.6.3.10.1.2.4 0xbb ""
"""

    def line(key: str, value: str, number: int) -> Directive:
        return Directive(dialect="snmpd", key=key, value=value, line=number)

    assert inspect(snmpd.INSPECTOR, text) == [
        credential("public", "community", "snmp read", 1),
        line("rocommunity", mark("public"), 1),
        credential("pri vate", "community", "snmp write", 2, "fe80::/10"),
        line("rwcommunity6", f"{mark('pri vate')} fe80::/10 .1.3", 2),
        credential("com", "community", "snmp", 3, "ro"),
        line("com2sec", f"-Cn ctx ro default {mark('com')}", 3),
        credential("auth pass", "passphrase", "usm auth SHA-256", 4, "admin"),
        credential("privpass", "passphrase", "usm priv AES", 4, "admin"),
        line("createuser", f"-e 0x80 admin SHA-256 {mark('auth pass')} AES {mark('privpass')}", 4),
        credential("0xcc", "passphrase", "usm auth MD5", 5, "plain"),
        line("createuser", f"plain MD5 -m {mark('0xcc')}", 5),
        credential("trapc", "community", "snmp trap", 6, "10.0.0.9"),
        line("trap2sink", f"10.0.0.9 {mark('trapc')}", 6),
        credential("apw", "passphrase", "snmp trapsess", 7),
        credential("xpw", "passphrase", "snmp trapsess", 7),
        line("trapsess", f"-v 3 -A {mark('apw')} -X {mark('xpw')} h", 7),
        credential("0xaa", "shared-key", "usm auth key", 8, "u"),
        credential("0xbb", "shared-key", "usm priv key", 8, "u"),
        line(
            "usmuser",
            f'1 3 0x80 u u NULL .1.3.6.1.6.3.10.1.1.3 {mark("0xaa")} .1.3.6.1.6.3.10.1.2.4 {mark("0xbb")} ""',
            8,
        ),
    ]


def test_snmpd() -> None:
    conf = "/etc/snmp/snmpd.conf"
    found = tree(
        {
            conf: "agentaddress udp:161,[::1]:1161\nagentAddress tcp:10.0.0.1:162\nrocommunity c\nrouser a\n"
            "rwuser -s usm b noauth .1\nincludeDir /etc/snmp/snmpd.conf.d\nsysServices 1\nsysServices 72\n",
            "/etc/snmp/snmpd.conf.d/x.conf": "rwcommunity d 10.0.0.0/8\n",
        },
        snmpd.INSPECTOR,
        programs=["/usr/sbin/snmpd"],
    )
    c, d = mark("c"), mark("d")
    assert rows(snmpd.SETTINGS, found) == [
        ("agentaddress", "udp:161,[::1]:1161", "", f"{conf}:1"),
        ("agentaddress", "tcp:10.0.0.1:162", "", f"{conf}:2"),
        ("rocommunity", c, "", f"{conf}:3"),
        ("read", f"community {c} from default, level noAuthNoPriv, of everything", "", f"{conf}:3"),
        ("rouser", "a", "", f"{conf}:4"),
        ("read", "user a, level authNoPriv, of everything", "", f"{conf}:4"),
        ("rwuser", "-s usm b noauth .1", "", f"{conf}:5"),
        ("write", "user b, level noAuthNoPriv, of .1", "", f"{conf}:5"),
        ("rwcommunity", f"{d} 10.0.0.0/8", "", "/etc/snmp/snmpd.conf.d/x.conf:1"),
        (
            "write",
            f"community {d} from 10.0.0.0/8, level noAuthNoPriv, of everything",
            "",
            "/etc/snmp/snmpd.conf.d/x.conf:1",
        ),
        ("sysservices", "72", "", f"{conf}:8"),
    ]
    assert sockets(snmpd.SETTINGS, found) == [
        "udp 0.0.0.0:161 snmp",
        "udp ::1:1161 snmp",
        "tcp 10.0.0.1:162 snmp",
    ]
    assert sockets(snmpd.SETTINGS, tree({conf: "sysServices 1\n"}, snmpd.INSPECTOR)) == ["udp 0.0.0.0:161 snmp"]
    assert list(snmpd.SETTINGS.inspect(tree({}, programs=["/usr/sbin/snmpd"]))) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("161", ("udp", "0.0.0.0", 161, False)),
        ("127.0.0.1", ("udp", "127.0.0.1", 161, False)),
        ("127.0.0.1:1", ("udp", "127.0.0.1", 1, False)),
        ("udp6:161", ("udp", "::", 161, False)),
        ("udp6:[fe80::1]:9", ("udp", "fe80::1", 9, False)),
        ("tlstcp:10161", ("tcp", "0.0.0.0", 10161, True)),
        ("dtlsudp:h", ("udp", "h", 10161, True)),
        ("unix:/run/x", ("unix", "/run/x", None, False)),
        ("/run/x", ("unix", "/run/x", None, False)),
        ("ipx:1", None),
    ],
)
def test_addresses_of_snmpd(text: str, expected: tuple[str, str, int | None, bool] | None) -> None:
    assert snmpd._listener(text) == expected


def test_dropbear_of_debian() -> None:
    found = tree(
        {"/etc/default/dropbear": 'DROPBEAR_PORT=2222\nDROPBEAR_EXTRA_ARGS="-sg -p 127.0.0.1:22 -I 60 -K30"\n'},
        programs=["/usr/sbin/dropbear"],
    )
    at = "/etc/default/dropbear:2"
    assert rows(dropbear.SETTINGS, found) == [
        ("passwordauth", "no", "", at),
        ("rootpasswordauth", "no", "", at),
        ("idletimeout", "60", "", at),
        ("keepalive", "30", "", at),
        ("port", "2222", "", at),
        ("port", "127.0.0.1:22", "", at),
    ]
    assert built_in(dropbear.SETTINGS, found)["rootlogin"] == "yes"
    assert sockets(dropbear.SETTINGS, found) == [
        "tcp 0.0.0.0:2222 ssh tls",
        "tcp :::2222 ssh tls",
        "tcp 127.0.0.1:22 ssh tls",
    ]


def test_dropbear_of_openwrt() -> None:
    text = (
        "config dropbear\n\toption PasswordAuth 'on'\n\toption RootPasswordAuth 'off'\n\toption Port '22'\n"
        "config dropbear wan\n option Interface wan\n option enable '0'\n option Port 2022\n"
    )
    found = tree({"/etc/config/dropbear": text, "/etc/init.d/dropbear": "#!/bin/sh\n"}, programs=["/usr/sbin/dropbear"])
    assert [row[:3] for row in rows(dropbear.SETTINGS, found)] == [
        ("passwordauth", "yes", "dropbear #1"),
        ("rootpasswordauth", "no", "dropbear #1"),
        ("port", "22", "dropbear #1"),
        ("interface", "wan", "dropbear wan #2"),
        ("enable", "no", "dropbear wan #2"),
        ("port", "2022", "dropbear wan #2"),
    ]
    assert sockets(dropbear.SETTINGS, found) == ["tcp 0.0.0.0:22 ssh tls", "tcp :::22 ssh tls"]


def test_dropbear_says_nothing_where_nothing_says_how_it_starts() -> None:
    assert list(dropbear.SETTINGS.inspect(tree({}, programs=["/usr/sbin/dropbear"]))) == []


def test_vsftpd() -> None:
    found = tree(
        {
            "/etc/vsftpd.conf": "# c\nlisten=yes\nanonymous_enable=TRUE\nlisten_port=2121\nssl_enable=NO\n"
            "local_umask=022\n"
        },
        vsftpd.INSPECTOR,
        programs=["/usr/sbin/vsftpd"],
        installed=("vsftpd", "3.0.3-13"),
    )
    assert [row[:2] for row in rows(vsftpd.SETTINGS, found)] == [
        ("listen", "YES"),
        ("anonymous_enable", "YES"),
        ("listen_port", "2121"),
        ("ssl_enable", "NO"),
        ("local_umask", "022"),
    ]
    assert built_in(vsftpd.SETTINGS, found) == {
        key: value
        for key, value in vsftpd.BUILT_IN.items()
        if key not in ("anonymous_enable", "listen_port", "ssl_enable", "local_umask")
    }
    assert sockets(vsftpd.SETTINGS, found) == ["tcp 0.0.0.0:2121 ftp"]


def test_proftpd() -> None:
    conf = "/etc/proftpd/proftpd.conf"
    text = (
        "Port 21\nUserPassword u x\n<IfModule mod_tls.c>\nTLSEngine on\n</IfModule>\n"
        "<Global>\nRootLogin \\\n on\n</Global>\n"
        "<Anonymous ~ftp>\nUser ftp\n</Anonymous>\n<VirtualHost 10.0.0.5>\nPort 990\nTLSOptions UseImplicitSSL\n"
        "</VirtualHost>\n"
    )
    found = tree({conf: text}, proftpd.INSPECTOR, programs=["/usr/sbin/proftpd"])
    assert rows(proftpd.SETTINGS, found) == [
        ("port", "21", "", f"{conf}:1"),
        ("userpassword", "[withheld]", "", f"{conf}:2"),
        ("tlsengine", "on", "", f"{conf}:4"),
        ("rootlogin", "on", "", f"{conf}:7"),
        ("user", "ftp", "Anonymous ~ftp", f"{conf}:11"),
        ("port", "990", "VirtualHost 10.0.0.5", f"{conf}:14"),
        ("tlsoptions", "UseImplicitSSL", "VirtualHost 10.0.0.5", f"{conf}:15"),
    ]
    assert sockets(proftpd.SETTINGS, found) == ["tcp 0.0.0.0:21 ftp", "tcp :::21 ftp", "tcp 10.0.0.5:990 ftp tls"]


def test_samba() -> None:
    conf = "/etc/samba/smb.conf"
    text = (
        "[Global]\n server Min  Protocol = NT1\n map to guest = Bad User\n include = /etc/samba/x.conf\n"
        "[pub]\n path = /srv\n public = 1\n writeable = yes\n"
    )
    found = tree({conf: text, "/etc/samba/x.conf": "smb ports = 445\n"}, samba.INSPECTOR, programs=["/usr/sbin/smbd"])
    assert rows(samba.SETTINGS, found) == [
        ("server min protocol", "NT1", "", f"{conf}:2"),
        ("map to guest", "Bad User", "", f"{conf}:3"),
        ("smb ports", "445", "", "/etc/samba/x.conf:1"),
        ("path", "/srv", "pub", f"{conf}:6"),
        ("guest ok", "Yes", "pub", f"{conf}:7"),
        ("read only", "No", "pub", f"{conf}:8"),
    ]
    assert built_in(samba.SETTINGS, found)["ntlm auth"] == "ntlmv2-only"
    assert sockets(samba.SETTINGS, found) == ["tcp 0.0.0.0:445 smb", "tcp :::445 smb"]
    lost = tree({conf: "[global]\nlog level = 1\ninclude = /x/%m.conf\n"}, samba.INSPECTOR, programs=["/usr/sbin/smbd"])
    assert list(samba.SETTINGS.inspect(lost)) == []


def test_exports() -> None:
    found = tree(
        {
            "/etc/exports": '/a *(rw,no_root_squash) 10.0.0.0/8(ro) # c\n"/b c" -sec=krb5p,rw \\\n host\n/d\n',
            "/etc/exports.d/x.exports": "/e *(async,insecure)\n",
        },
        exports.INSPECTOR,
        programs=["/usr/sbin/exportfs"],
    )
    assert rows(exports.SETTINGS, found) == [
        ("/a", "rw,sync,no_root_squash,secure,no_subtree_check,wdelay,hide,sec=sys", "*", "/etc/exports:1"),
        ("/a", "ro,sync,root_squash,secure,no_subtree_check,wdelay,hide,sec=sys", "10.0.0.0/8", "/etc/exports:1"),
        ("/b c", "rw,sync,root_squash,secure,no_subtree_check,wdelay,hide,sec=krb5p", "host", "/etc/exports:2"),
        ("/d", "ro,sync,root_squash,secure,no_subtree_check,wdelay,hide,sec=sys", "*", "/etc/exports:4"),
        ("/e", "ro,async,root_squash,insecure,no_subtree_check,wdelay,hide,sec=sys", "*", "/etc/exports.d/x.exports:1"),
    ]
    assert sockets(exports.SETTINGS, found) == ["tcp 0.0.0.0:2049 nfs", "tcp :::2049 nfs"]


def test_bind() -> None:
    conf = "/etc/bind/named.conf"
    text = """acl x { 10/8; !10.1/16; };
options { directory "/var"; allow-query { any; }; listen-on port 5353 { 10.0.0.1; x; }; // c
  listen-on-v6 { none; }; };
include "/etc/bind/extra.conf";
key "k" { algorithm hmac-sha256; secret "abc="; };
controls { inet * port 953 allow { any; } keys { "k"; }; };
"""
    found = tree(
        {conf: text, "/etc/bind/extra.conf": 'zone "e" { type primary; allow-transfer { key k; }; };\n'},
        bind.INSPECTOR,
        programs=["/usr/sbin/named"],
    )
    assert rows(bind.SETTINGS, found) == [
        ("acl", "x { 10/8; !10.1/16; }", "", f"{conf}:1"),
        ("directory", "/var", "", f"{conf}:2"),
        ("allow-query", "{ any; }", "", f"{conf}:2"),
        ("listen-on", "port 5353 { 10.0.0.1; x; }", "", f"{conf}:2"),
        ("listen-on-v6", "{ none; }", "", f"{conf}:3"),
        ("zone", "e", "", "/etc/bind/extra.conf:1"),
        ("type", "primary", "zone e", "/etc/bind/extra.conf:1"),
        ("allow-transfer", "{ key k; }", "zone e", "/etc/bind/extra.conf:1"),
        ("key", "k", "", f"{conf}:5"),
        ("algorithm", "hmac-sha256", "key k", f"{conf}:5"),
        ("secret", mark("abc="), "key k", f"{conf}:5"),
        ("inet", "* port 953 allow { any; }", "controls", f"{conf}:6"),
        ("keys", "{ k; }", "controls", f"{conf}:6"),
    ]
    assert built_in(bind.SETTINGS, found) == {"recursion": "yes"}
    assert sockets(bind.SETTINGS, found) == [
        "udp 10.0.0.1:5353 dns",
        "tcp 10.0.0.1:5353 dns",
        "udp :5353 dns",
        "tcp :5353 dns",
        "tcp 0.0.0.0:953 rndc",
    ]
    assert credential("abc=", "shared-key", "tsig", 5, "k") in inspect(bind.INSPECTOR, text.encode())


def test_an_open_resolver_by_default() -> None:
    found = tree({"/etc/named.conf": "options { };\n"}, bind.INSPECTOR, programs=["/usr/sbin/named"])
    assert built_in(bind.SETTINGS, found) == {
        "allow-query": "{ any; }",
        "allow-recursion": "{ localnets; localhost; }",
        "recursion": "yes",
    }
    assert sockets(bind.SETTINGS, found) == [
        "udp 0.0.0.0:53 dns",
        "tcp 0.0.0.0:53 dns",
        "udp :::53 dns",
        "tcp :::53 dns",
    ]


def test_dnsmasq() -> None:
    conf = "/etc/dnsmasq.conf"
    found = tree(
        {
            conf: "port=5353 # c\nconf-dir=/etc/dnsmasq.d,*.conf\nserver=1.1.1.1\nserver=9.9.9.9\nenable-tftp\n",
            "/etc/dnsmasq.d/a.conf": "interface=eth0,eth1\nbind-interfaces\n",
            "/etc/dnsmasq.d/a.bak": "port=0\n",
        },
        dnsmasq.INSPECTOR,
        programs=["/usr/sbin/dnsmasq"],
    )
    assert rows(dnsmasq.SETTINGS, found) == [
        ("port", "5353", "", f"{conf}:1"),
        ("interface", "eth0,eth1", "", "/etc/dnsmasq.d/a.conf:1"),
        ("bind-interfaces", "", "", "/etc/dnsmasq.d/a.conf:2"),
        ("server", "1.1.1.1", "", f"{conf}:3"),
        ("server", "9.9.9.9", "", f"{conf}:4"),
        ("enable-tftp", "", "", f"{conf}:5"),
    ]
    assert sockets(dnsmasq.SETTINGS, found) == [
        "udp :5353 dns eth0",
        "udp :5353 dns eth1",
        "tcp :5353 dns eth0",
        "tcp :5353 dns eth1",
        "udp :69 tftp eth0",
        "udp :69 tftp eth1",
    ]


def test_dhcpd() -> None:
    conf = "/etc/dhcp/dhcpd.conf"
    found = tree(
        {
            conf: "not authoritative;\nsubnet 10.0.0.0 netmask 255.0.0.0 { range 10.0.0.2 10.0.0.9; authoritative; }\n"
            'omapi-port 7911;\nkey k { secret "s"; }\n',
            "/etc/default/isc-dhcp-server": 'INTERFACESv4="eth0 eth1"\nINTERFACESv6=""\n',
            "/etc/dhcp/dhcpd6.conf": "allow leasequery;\n",
        },
        dhcpd.INSPECTOR,
        programs=["/usr/sbin/dhcpd"],
    )
    subnet = "subnet 10.0.0.0 netmask 255.0.0.0"
    assert rows(dhcpd.SETTINGS, found) == [
        ("authoritative", "no", "", f"{conf}:1"),
        ("subnet", "10.0.0.0 netmask 255.0.0.0", "", f"{conf}:2"),
        ("range", "10.0.0.2 10.0.0.9", subnet, f"{conf}:2"),
        ("authoritative", "yes", subnet, f"{conf}:2"),
        ("omapi-port", "7911", "", f"{conf}:3"),
        ("key", "k", "", f"{conf}:4"),
        ("secret", mark("s"), "key k", f"{conf}:4"),
        ("allow", "leasequery", "dhcpd -6", "/etc/dhcp/dhcpd6.conf:1"),
    ]
    assert sockets(dhcpd.SETTINGS, found) == [
        "udp 0.0.0.0:67 dhcp eth0",
        "udp 0.0.0.0:67 dhcp eth1",
        "tcp 0.0.0.0:7911 omapi",
    ]
    assert [fact for fact in inspect(dhcpd.INSPECTOR, b'key k { secret "s"; }') if isinstance(fact, Credential)] == [
        credential("s", "shared-key", "tsig", 1, "key k")
    ]


def test_telnet_and_tftp_servers() -> None:
    found = tree(
        {
            "/usr/lib/systemd/system/telnet.service": "[Service]\nExecStart=/usr/sbin/telnetd -F -p 2323 -b 10.0.0.1\n",
            "/etc/default/tftpd-hpa": 'TFTP_ADDRESS=":69"\nTFTP_OPTIONS="--secure --create"\n',
        },
        programs=["/usr/sbin/telnetd", "/usr/sbin/in.tftpd"],
    )
    assert sockets(plain_servers.SETTINGS, found) == [
        "tcp 10.0.0.1:2323 telnet",
        "udp 0.0.0.0:69 tftp",
        "udp :::69 tftp",
    ]
    assert [row[:2] for row in rows(plain_servers.SETTINGS, found, defaults=True)] == [
        ("address", ":69"),
        ("create", "yes"),
        ("permissive", "no"),
        ("secure", "yes"),
    ]
