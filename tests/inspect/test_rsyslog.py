"""rsyslog: both formats, order and inheritance, inputs and their TLS."""

from __future__ import annotations

import pytest

from assay.facts.access import Credential
from assay.facts.service import Directive
from assay.inspect import rsyslog
from assay.inspect.rsyslog_format import statements
from assay.inspect.shared_secret import fingerprint
from tests.support.daemons import rows, sockets, tree
from tests.support.memory_tree import MemoryTree, inspect

MAIN = "/etc/rsyslog.conf"


def made(files: dict[str, str]) -> MemoryTree:
    return tree(files, rsyslog.INSPECTOR, programs=["/usr/sbin/rsyslogd"])


def test_statements_of_all_kinds() -> None:
    text = """# comment
$ModLoad imuxsock # local
module(load="imtcp" StreamDriver.Mode="1") /* a
comment */ input(type="imtcp" port=["514", "601"])
template(name="t" type="list") { constant(value="}") property(name="msg") }
ruleset(name="r") { action(type="omfile" file="/var/log/r") }
if $programname == 'then' and ($msg contains "x") then {
  action(type="omfwd" target="h"
         protocol="tcp")
  stop
} else if $x == 1 then /var/log/else
else { stop }
set $.x = "a;b";
auth,authpriv.*  /var/log/auth.log
*.*;auth.none    -/var/log/syslog;tpl
mail.err \\
   @@(o)[2001:db8::1]:601;tpl
& stop
:msg, contains, "foo" ~
*.emerg :omusrmsg:*
local0.* { /var/log/a
 @h
}
mail.* >h,db,user,secret
"""
    condition = "if $programname == 'then' and ($msg contains \"x\")"
    assert [tuple(statement) for statement in statements(text)] == [
        ("$modload", {"value": "imuxsock"}, "", 2),
        ("module", {"load": "imtcp", "streamdriver.mode": "1"}, "", 3),
        ("input", {"type": "imtcp", "port": "514,601"}, "", 4),
        ("template", {"name": "t", "type": "list"}, "", 5),
        ("ruleset", {"name": "r"}, "", 6),
        ("action", {"type": "omfile", "file": "/var/log/r"}, "ruleset r", 6),
        ("action", {"type": "omfwd", "target": "h", "protocol": "tcp"}, condition, 8),
        ("stop", {"value": ""}, condition, 10),
        ("line-action", {"type": "omfile", "file": "/var/log/else"}, f"else of {condition} and if $x == 1", 11),
        ("stop", {"value": ""}, f"else of else of {condition}", 12),
        ("line-action", {"type": "omfile", "file": "/var/log/auth.log"}, "auth,authpriv.*", 14),
        ("line-action", {"type": "omfile", "file": "/var/log/syslog"}, "*.*;auth.none", 15),
        (
            "line-action",
            {"type": "omfwd", "target": "2001:db8::1", "port": "601", "protocol": "tcp", "options": "o"},
            "mail.err",
            17,
        ),
        ("stop", {"value": ""}, "mail.err", 18),
        ("line-action", {"type": "discard"}, ':msg, contains, "foo"', 19),
        ("line-action", {"type": "omusrmsg", "value": "*"}, "*.emerg", 20),
        ("line-action", {"type": "omfile", "file": "/var/log/a"}, "local0.*", 21),
        ("line-action", {"type": "omfwd", "target": "h", "port": "514", "protocol": "udp"}, "local0.*", 22),
        ("line-action", {"type": "ommysql", "value": "h"}, "mail.*", 24),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('module(load="x', "line 1: module(): a value was expected"),
        ("*.* /var/log/x\naction(type)", "line 2: action(): a parameter was expected"),
        ("\nif $x == 1 {", "line 2: an `if` without `then`"),
        ("}", "line 1: a closing brace without a block"),
        ("*.* {\n/x\n", "line 3: a block does not end"),
        ("/* x", "line 1: a comment does not end"),
        ('ruleset(name="a") {' * 70, "line 1: more than 60 blocks in blocks"),
    ],
)
def test_what_cannot_be_parsed_is_said(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="line") as raised:
        list(statements(text))
    assert str(raised.value) == message


def test_secrets_are_fingerprints() -> None:
    line = b'action(type="omelasticsearch" server="h" uid="u" pwd="s3cret")'
    assert inspect(rsyslog.INSPECTOR, line) == [
        Credential(
            kind="passphrase", scheme="rsyslog", fingerprint=fingerprint("s3cret"), subject="pwd", evidence="field",
            line=1,
        ),
        Directive(
            dialect="rsyslog",
            key="action",
            value=f'type="omelasticsearch" server="h" uid="u" pwd="sha256:{fingerprint("s3cret")}"',
            line=1,
        ),
    ]  # fmt: skip


def test_old_directives_hold_for_the_lines_behind_them_includes_in_place() -> None:
    found = made(
        {
            MAIN: "$FileCreateMode 0640\n*.* /var/log/a\n$IncludeConfig /etc/rsyslog.d/*.conf\n*.* /var/log/b\n"
            'action(type="omfile" file="/var/log/c")\n$Umask 0022\n$Umask 0077\n',
            "/etc/rsyslog.d/10.conf": "$FileCreateMode 0600\n",
            "/etc/rsyslog.d/20.conf": "$ActionSendStreamDriverMode 1\n*.* @@h:6514\n",
            "/etc/rsyslog.d/20.txt": "$FileCreateMode 0777\n",
        }
    )
    extra = "/etc/rsyslog.d/20.conf:2"
    assert [row for row in rows(rsyslog.SETTINGS, found, defaults=True) if not row[0].endswith("createdirs")] == [
        ("omfile.filecreatemode", "0640", "*.*", f"{MAIN}:2"),
        ("omfile.file", "/var/log/a", "*.*", f"{MAIN}:2"),
        ("omfile.dircreatemode", "0700", "*.*", f"{MAIN}:2"),
        ("omfwd.streamdriver.mode", "1", "*.*", extra),
        ("omfwd.target", "h", "*.*", extra),
        ("omfwd.port", "6514", "*.*", extra),
        ("omfwd.protocol", "tcp", "*.*", extra),
        ("omfile.filecreatemode", "0600", "*.*", f"{MAIN}:4"),
        ("omfile.file", "/var/log/b", "*.*", f"{MAIN}:4"),
        ("omfile.dircreatemode", "0700", "*.*", f"{MAIN}:4"),
        ("omfile.file", "/var/log/c", "", f"{MAIN}:5"),
        ("omfile.filecreatemode", "0644", "", f"{MAIN}:5"),
        ("omfile.dircreatemode", "0700", "", f"{MAIN}:5"),
        ("umask", "0077", "", f"{MAIN}:7"),
        ("defaultnetstreamdriver", "ptcp", "", "-"),
        ("maxmessagesize", "8k", "", "-"),
        ("preservefqdn", "off", "", "-"),
    ]


def test_inputs_inherit_from_their_module_and_open_sockets() -> None:
    found = made(
        {
            MAIN: 'module(load="imtcp" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")\n'
            'input(type="imtcp" port="6514")\ninput(type="imudp" address="10.0.0.1" port=["514","515"])\n'
            'input(type="imrelp" port="2514" tls="on")\n$UDPServerAddress 127.0.0.1\n$UDPServerRun 5140\n'
            '$InputTCPServerRun 601\ninclude(file="/etc/rsyslog.d/x.conf")\n',
            "/etc/rsyslog.d/x.conf": 'input(type="imptcp" port="10514")\n',
        }
    )
    assert sockets(rsyslog.SETTINGS, found) == [
        "tcp 0.0.0.0:6514 syslog (imtcp) tls",
        "tcp :::6514 syslog (imtcp) tls",
        "udp 10.0.0.1:514 syslog (imudp)",
        "udp 10.0.0.1:515 syslog (imudp)",
        "tcp 0.0.0.0:2514 syslog (imrelp) tls",
        "tcp :::2514 syslog (imrelp) tls",
        "udp 127.0.0.1:5140 syslog (imudp)",
        "tcp 0.0.0.0:601 syslog (imtcp) tls",
        "tcp :::601 syslog (imtcp) tls",
        "tcp 0.0.0.0:10514 syslog (imptcp)",
        "tcp :::10514 syslog (imptcp)",
    ]


def test_a_file_that_could_not_be_read_leaves_open_what_it_could_set() -> None:
    found = made(
        {
            MAIN: "$FileCreateMode 0600\n$Umask 0022\n$IncludeConfig /etc/rsyslog.d/x.conf\n*.* /var/log/a\n",
            "/etc/rsyslog.d/x.conf": "*.* /x\n} broken",
        }
    )
    assert found.failures
    assert rows(rsyslog.SETTINGS, found, defaults=True) == [
        ("omfile.file", "/x", "*.*", "/etc/rsyslog.d/x.conf:1"),
        ("omfile.file", "/var/log/a", "*.*", f"{MAIN}:4"),
    ]


def test_a_configuration_stands_without_the_program() -> None:
    found = tree({MAIN: "*.* /x\n"}, rsyslog.INSPECTOR)
    assert rows(rsyslog.SETTINGS, found) == rows(
        rsyslog.SETTINGS, tree({MAIN: "*.* /x\n"}, rsyslog.INSPECTOR, programs=["/usr/sbin/rsyslogd"])
    )
