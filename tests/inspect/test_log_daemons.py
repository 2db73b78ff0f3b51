"""auditd and its rules, logrotate, syslog-ng."""

from __future__ import annotations

import pytest

from assay.facts.service import Setting
from assay.inspect import auditd, logrotate, syslog_ng
from assay.inspect.shared_secret import credential, mark
from tests.support.daemons import built_in, rows, sockets, tree
from tests.support.memory_tree import MemoryTree, inspect

RULES = "/etc/audit/rules.d"
UNIT = "/usr/lib/systemd/system/auditd.service"


def audited(files: dict[str, str]) -> MemoryTree:
    return tree(
        files,
        auditd.INSPECTOR,
        auditd.RULES_INSPECTOR,
        programs=["/usr/sbin/auditd", "/usr/sbin/auditctl", "/usr/sbin/augenrules"],
    )


def test_auditd() -> None:
    conf = "/etc/audit/auditd.conf"
    found = audited({conf: "# c\nlog_file = /l\nMAX_LOG_FILE_ACTION = keep_logs\ntcp_listen_port = 60\nflush = sync\n"})
    assert rows(auditd.SETTINGS, found) == [
        ("log_file", "/l", "", f"{conf}:2"),
        ("max_log_file_action", "keep_logs", "", f"{conf}:3"),
        ("tcp_listen_port", "60", "", f"{conf}:4"),
        ("flush", "sync", "", f"{conf}:5"),
    ]
    assert built_in(auditd.SETTINGS, found) == {
        default.key: default.value
        for default in auditd.DEFAULTS
        if default.key not in ("flush", "max_log_file_action") and not default.since
    }
    assert sockets(auditd.SETTINGS, found) == ["tcp 0.0.0.0:60 audit events", "tcp :::60 audit events"]


def test_rules_are_merged_as_augenrules_does() -> None:
    found = audited(
        {
            f"{RULES}/10-a.rules": "-D\n-b 1\n-w /a -p wa\n-e 1\n",
            f"{RULES}/9-b.rules": "## c\n  -w   /b\n-f 2\n",
            f"{RULES}/99-c.rules": "-b 2\n-e 2\n-a always,exit -S all -k k\n",
            f"{RULES}/no.txt": "-w /no\n",
            "/etc/audit/audit.rules": "-w /other\n",
            UNIT: "[Service]\nExecStartPost=-/sbin/augenrules --load\n",
        }
    )
    assert rows(auditd.SETTINGS, found) == [
        ("-D", "", "", f"{RULES}/10-a.rules:1"),
        ("-b", "2", "", f"{RULES}/99-c.rules:1"),
        ("-f", "2", "", f"{RULES}/9-b.rules:3"),
        ("rule", "-w /b", "", f"{RULES}/9-b.rules:2"),
        ("rule", "-w /a -p wa", "", f"{RULES}/10-a.rules:3"),
        ("rule", "-a always,exit -S all -k k", "", f"{RULES}/99-c.rules:3"),
        ("-e", "2", "", f"{RULES}/99-c.rules:2"),
    ]
    assert {row.basis for row in auditd.settings(found) if isinstance(row, Setting)} == {
        f"merged by augenrules: {UNIT}:2"
    }


def test_rules_as_they_are_where_nothing_merges_them() -> None:
    found = audited({f"{RULES}/a.rules": "-w /no\n", "/etc/audit/audit.rules": "-w /a\n-e 2\n-w /late\n"})
    assert [(row.key, row.value, row.basis) for row in auditd.settings(found) if isinstance(row, Setting)] == [
        ("rule", "-w /a", "audit.rules as it is"),
        ("-e", "2", "audit.rules as it is"),
        ("rule", "-w /late", "audit.rules as it is; not loaded: locked by /etc/audit/audit.rules:2"),
    ]


def test_logrotate() -> None:
    main = "/etc/logrotate.conf"
    found = tree(
        {
            main: "weekly\nrotate 4\ncreate\ninclude /etc/logrotate.d\n/var/log/last { compress }\n",
            "/etc/logrotate.d/a": '/var/log/a\n"/var/log/b c" {\n  daily\n  create 0640 root adm\n  postrotate\n'
            "    rm -r }\n  endscript\n  nocompress\n}\n/var/log/d {\n size=10k\n}\n",
            "/etc/logrotate.d/a.dpkg-old": "/var/log/no { daily\n}\n",
        },
        logrotate.INSPECTOR,
        programs=["/usr/sbin/logrotate"],
    )
    a = "/etc/logrotate.d/a"
    assert rows(logrotate.SETTINGS, found, defaults=True) == [
        ("rotate", "4", "/var/log/a /var/log/b c", f"{main}:2"),
        ("create", "0640 root adm", "/var/log/a /var/log/b c", f"{a}:4"),
        ("frequency", "daily", "/var/log/a /var/log/b c", f"{a}:3"),
        ("compress", "no", "/var/log/a /var/log/b c", f"{a}:8"),
        ("rotate", "4", "/var/log/d", f"{main}:2"),
        ("create", "yes", "/var/log/d", f"{main}:3"),
        ("size", "10k", "/var/log/d", f"{a}:11"),
        ("compress", "no", "/var/log/d", f"{main}:2"),
        ("frequency", "weekly", "/var/log/last", f"{main}:1"),
        ("rotate", "4", "/var/log/last", f"{main}:2"),
        ("create", "yes", "/var/log/last", f"{main}:3"),
        ("compress", "yes", "/var/log/last", f"{main}:5"),
    ]
    with pytest.raises(ValueError, match="line 1: postrotate does not end"):
        inspect(logrotate.INSPECTOR, b"/x {\npostrotate\nx\n")


SYSLOG_NG = """@version: 3.38
@include "conf.d/*.conf"
options { perm(0644); owner("root"); };
source s_net {
    network(ip("10.0.0.1") port(6514) transport("tls")
        tls(key-file("/k") cert_file("/c") peer-verify(optional-untrusted)));
    udp();
    internal();
};
destination d { tcp("logs.example" port(1514)); };
log { source(s_net); destination(d); };
"""


def test_syslog_ng() -> None:
    main = "/etc/syslog-ng/syslog-ng.conf"
    found = tree(
        {main: SYSLOG_NG, "/etc/syslog-ng/conf.d/1.conf": "options { create-dirs(yes); perm(0600); };\n"},
        syslog_ng.INSPECTOR,
        programs=["/usr/sbin/syslog-ng"],
    )
    tls = (
        'ip("10.0.0.1") port(6514) transport("tls") tls(key-file("/k") cert_file("/c") peer-verify(optional-untrusted))'
    )
    assert rows(syslog_ng.SETTINGS, found) == [
        ("@version:", "3.38", "", f"{main}:1"),
        ("options.create-dirs", "yes", "", "/etc/syslog-ng/conf.d/1.conf:1"),
        ("options.perm", "0644", "", f"{main}:3"),
        ("options.owner", "root", "", f"{main}:3"),
        ("network", tls, "source s_net", f"{main}:5"),
        ("source.network.address", "10.0.0.1", "source s_net", f"{main}:5"),
        ("source.network.port", "6514", "source s_net", f"{main}:5"),
        ("source.network.transport", "tls", "source s_net", f"{main}:5"),
        ("source.network.tls", "yes", "source s_net", f"{main}:5"),
        ("source.network.peer-verify", "optional-untrusted", "source s_net", f"{main}:5"),
        ("source.network.ip-protocol", "4", "source s_net", f"{main}:5"),
        ("udp", "", "source s_net", f"{main}:7"),
        ("source.udp.port", "514", "source s_net", f"{main}:7"),
        ("source.udp.transport", "udp", "source s_net", f"{main}:7"),
        ("source.udp.tls", "no", "source s_net", f"{main}:7"),
        ("source.udp.ip-protocol", "4", "source s_net", f"{main}:7"),
        ("internal", "", "source s_net", f"{main}:8"),
        ("tcp", '"logs.example" port(1514)', "destination d", f"{main}:10"),
        ("destination.tcp.address", "logs.example", "destination d", f"{main}:10"),
        ("destination.tcp.port", "1514", "destination d", f"{main}:10"),
        ("destination.tcp.transport", "tcp", "destination d", f"{main}:10"),
        ("destination.tcp.tls", "no", "destination d", f"{main}:10"),
        ("destination.tcp.ip-protocol", "4", "destination d", f"{main}:10"),
    ]
    assert sockets(syslog_ng.SETTINGS, found) == ["tcp 10.0.0.1:6514 syslog tls", "udp 0.0.0.0:514 syslog"]


def test_secrets_of_syslog_ng() -> None:
    found = inspect(syslog_ng.INSPECTOR, b'destination d { sql(username("u") password("s3"), table("t")); };\n')
    assert found[0] == credential("s3", "passphrase", "syslog-ng", 1)
    assert f"password({mark('s3')})" in getattr(found[1], "value", "")
    assert "s3" not in getattr(found[1], "value", "").replace(mark("s3"), "")
