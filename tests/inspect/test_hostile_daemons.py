"""The readers of daemons' configurations on damaged and random input: facts or a clear error, in bounded time."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.facts.access import Credential
from assay.facts.service import Directive
from assay.inspect import (
    auditd,
    bind,
    chrony,
    dhcpd,
    dnsmasq,
    dropbear,
    effective,
    environment_file,
    exports,
    inetd,
    journald,
    logrotate,
    ntpd,
    plain_servers,
    proftpd,
    resolved,
    rsyslog,
    samba,
    snmpd,
    sshd_listeners,
    superserver_listeners,
    syslog_ng,
    systemd_sockets,
    timesyncd,
    vsftpd,
    xinetd,
)
from assay.inspect.base import ContentInspector
from tests.support.daemons import PROGRAM
from tests.support.memory_tree import MemoryTree, inspect

MODULES = (
    auditd, bind, chrony, dhcpd, dnsmasq, environment_file, exports, logrotate, ntpd, proftpd, rsyslog, samba, snmpd,
    syslog_ng, vsftpd,
)  # fmt: skip

CONTENTS: list[ContentInspector] = [module.INSPECTOR for module in MODULES] + [auditd.RULES_INSPECTOR, ntpd.KEYS]

TREES = (
    *(module.SETTINGS for module in MODULES if module is not environment_file),
    *(module.SETTINGS for module in (dropbear, journald, plain_servers, resolved, timesyncd)),
    *(module.LISTENERS for module in (sshd_listeners, superserver_listeners, systemd_sockets)),
)

SAMPLE = b"""# a
$FileCreateMode 0640
module(load="imtcp" StreamDriver.Mode="1")
input(type="imtcp" port=["1","2"])
if $x == 'y' then { action(type="omfwd" target="h") } else stop
*.* @@h:514
include /etc/x.conf
include(file="/etc/rsyslog.d/*")
confdir /etc /x
options { listen-on port 5 { any; }; }; // c
zone "x" { type master; };
@include "x"
source s { network(ip(1.2.3.4) port(5) tls(key-file("k") password("p"))); };
/var/log/x {
  postrotate
  x
  endscript
}
rocommunity public 10.0.0.0/8
createUser u MD5 "pass word" AES -l 0x12
agentaddress udp:161,[::1]:5,tcp6:x:y
-a always,exit -F arch=b64 -k x
-e 2
<IfModule x>
Port 21
</IfModule>
[global]
 smb ports = 1 2
/srv *(rw) -sec=sys host
interface listen eth0
listen_port=99999999
server h key 1
DROPBEAR_EXTRA_ARGS="-p 1:2 -s"
config x 'y'
 option Port '1'
key k { secret "s"; };
1 MD5 secret
ListenStream=[::1]:5
"""

PATHS = (
    "/etc/rsyslog.conf",
    "/etc/rsyslog.d/x",
    "/etc/chrony/chrony.conf",
    "/etc/bind/named.conf",
    "/etc/dhcp/dhcpd.conf",
    "/etc/dnsmasq.conf",
    "/etc/default/dropbear",
    "/etc/default/tftpd-hpa",
    "/etc/exports",
    "/etc/logrotate.conf",
    "/etc/ntp.conf",
    "/etc/ntp.keys",
    "/etc/proftpd/proftpd.conf",
    "/etc/samba/smb.conf",
    "/etc/snmp/snmpd.conf",
    "/etc/syslog-ng/syslog-ng.conf",
    "/etc/vsftpd.conf",
    "/etc/audit/auditd.conf",
    "/etc/audit/rules.d/x.rules",
    "/etc/ssh/sshd_config",
    "/etc/inetd.conf",
    "/etc/xinetd.conf",
    "/etc/systemd/journald.conf",
    "/etc/systemd/timesyncd.conf",
    "/etc/systemd/resolved.conf",
    "/usr/lib/systemd/system/x.socket",
)

PROGRAMS = (
    "rsyslogd", "chronyd", "named", "dhcpd", "dnsmasq", "dropbear", "in.tftpd", "exportfs", "logrotate", "ntpd",
    "proftpd", "smbd", "snmpd", "syslog-ng", "vsftpd", "auditd", "auditctl", "augenrules",
)  # fmt: skip

DAEMONS = ("journald", "timesyncd", "resolved")


@pytest.fixture(autouse=True, scope="module")
def _less_work() -> Iterator[None]:
    """Includes of includes are followed to their bound in nearly every sample: take a small one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effective, "WORK", 1000)
        yield


def look_at(data: bytes) -> None:
    for inspector in CONTENTS:
        try:
            for fact in inspect(inspector, data):
                assert isinstance(fact, Directive | Credential)
                assert fact.line is not None
                assert 1 <= fact.line <= data.count(b"\n") + 1
        except ValueError as error:
            assert "\n" not in str(error)
    files = dict.fromkeys(PATHS, (0o644, 0, 0, data))
    files |= {f"/usr/sbin/{name}": (0o755, 0, 0, PROGRAM.encode()) for name in PROGRAMS}
    files |= {f"/usr/lib/systemd/systemd-{name}": (0o755, 0, 0, PROGRAM.encode()) for name in DAEMONS}
    tree = MemoryTree(files, [*CONTENTS, inetd.INSPECTOR, xinetd.INSPECTOR])
    assert all(isinstance(error, ValueError) for _, _, error in tree.failures)
    for inspector in TREES:
        list(inspector.inspect(tree))


def test_damage() -> None:
    rng = random.Random(6)
    for cut in range(0, len(SAMPLE), 41):
        look_at(SAMPLE[:cut])
    for _ in range(25):
        data = bytearray(SAMPLE)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        look_at(bytes(data))


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=300) | st.lists(st.sampled_from(SAMPLE.split(b"\n")), max_size=20).map(b"\n".join))
def test_anything(data: bytes) -> None:
    look_at(data)


@pytest.mark.parametrize(
    "unit",
    [b"a", b" ", b'"', b"'", b"\\\n", b"/*", b"*.", b"if ", b'a="', b"[", b"{", b"}", b"a{", b"(", b"action(", b"set ",
     b"foreach ", b"@", b"@include ", b"password(", b"tls(", b"include *\n", b"<a>", b"a,", b";", b"a;", b":a,", b"&",
     b"$", b"-a ", b"x=\\\n", b"/x ", b"1 a ", b"template(x=\"\") {", b"`"],
)  # fmt: skip
@pytest.mark.parametrize("lines", [1, 256])
def test_time_stays_in_bounds(unit: bytes, lines: int) -> None:
    size = 1 << 15
    line = unit * (size // lines // len(unit)) + b"\n"
    for inspector in CONTENTS:
        before = time.process_time()
        with contextlib.suppress(ValueError):
            inspect(inspector, line * lines)
        assert time.process_time() - before < 1, inspector.name
