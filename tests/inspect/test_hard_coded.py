"""Credentials written into scripts and configuration: each way to write one, and what only looks like one."""

from __future__ import annotations

import base64
import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.facts.access import Credential
from assay.inspect import hard_coded
from assay.inspect.base import Content, ContentInspector
from assay.unpack.base import LimitReached
from tests.support.hostile import mangled
from tests.support.memory_tree import content_of, inspect

LINES = [
    (b'if [ "$pw" = "letmein" ]; then\n', "comparison", "$pw", b"letmein"),
    (b"RUN echo user:hunter2 | chpasswd\n", "argument", "chpasswd", b"hunter2"),
    (b"RUN usermod -p hunter2 root\n", "argument", "useradd -p", b"hunter2"),
    (b"useradd -m -p $(openssl passwd -1 hunter2) bob\n", "argument", "openssl passwd", b"hunter2"),
    (b"openssl passwd -6 -salt xy 'hunter2'\n", "argument", "openssl passwd", b"hunter2"),
    (b'printf "%s:%s\\n" admin letmein | chpasswd\n', "argument", "chpasswd", b"letmein"),
    (b"chpasswd -e <<'EOF'\nroot:changeit9\nEOF\n", "argument", "chpasswd", b"changeit9"),
    (b"password=hunter2\n", "assignment", "password", b"hunter2"),
    (b"password = password\n", "assignment", "password", b"password"),
    (b"export DB_PASS=openfive\n", "assignment", "DB_PASS", b"openfive"),
    (b"MYSQL_ROOT_PASSWORD=root # default\n", "assignment", "MYSQL_ROOT_PASSWORD", b"root"),
    (b'db:\n  db_password: "abc-def"\n', "assignment", "db_password", b"abc-def"),
    (b"password: trustno1\n", "assignment", "password", b"trustno1"),
    (b'{"password": "admin",\n', "assignment", "password", b"admin"),
    (b'"api_key": "a8f5f167f44f4964e6c998dee827110c"\n', "assignment", "api_key", b"a8f5f167f44f4964e6c998dee827110c"),
    (b"secret = testing123\r\n", "assignment", "secret", b"testing123"),
    (b'Environment="DB_PASSWORD=abc12"\n', "assignment", "DB_PASSWORD", b"abc12"),
    (b"wpa_passphrase=12345678\n", "assignment", "wpa_passphrase", b"12345678"),
    (b"set wireless.default.key='abc12345'\n", "assignment", "wireless.default.key", b"abc12345"),
    (b"config wifi\n\toption key 'wifi-pa55'\n", "assignment", "key", b"wifi-pa55"),
    (b"config x\n\toption password 's3cr'\n", "assignment", "password", b"s3cr"),
    (b"requirepass foobared\n", "assignment", "requirepass", b"foobared"),
    (b"!\nenable password zebra\n", "assignment", "password", b"zebra"),
    (b"PASS=${PASS:-secret99}\n", "assignment", "PASS", b"secret99"),
    (b'[ "$PASS" = "letme1n" ] && ok\n', "comparison", "$PASS", b"letme1n"),
    (b"<password>Zx9-abc</password>\n", "element", "password", b"Zx9-abc"),
    (b'conn="Server=a;Uid=sa;Pwd=Sa1234;"\n', "connection-string", "Pwd", b"Sa1234"),
    (b"u=jdbc:mysql://h/db?user=root&password=root123\n", "connection-string", "password", b"root123"),
    (b"PGPASSWORD=abc123 psql -h x\n", "assignment", "PGPASSWORD", b"abc123"),
    (b'sshpass -p "Adm!n" ssh x\n', "argument", "sshpass -p", b"Adm!n"),
    (b"sshpass -pAdm1n ssh x\n", "argument", "sshpass -p", b"Adm1n"),
    (b"curl -s -u admin:adm1n http://x\n", "argument", "curl -u", b"adm1n"),
    (b"mysql -uroot -pR00t db\n", "argument", "mysql -p", b"R00t"),
    (b"wget --user=x --password=geheim http://x\n", "argument", "wget --password", b"geheim"),
    (b"snmpget -v2c -c public 1.2.3.4\n", "argument", "snmp -c", b"public"),
    (b"snmpwalk -v3 -u x -A authpw12 host\n", "argument", "snmp -A", b"authpw12"),
    (b"snmpwalk -v3 -u x -X 'privpw12' host\n", "argument", "snmp -X", b"privpw12"),
    (b"ldapsearch -D cn=x -w ldappw -b y\n", "argument", "ldap -w", b"ldappw"),
    (b"openssl rsa -passin pass:tree88 -in x\n", "argument", "openssl pass:", b"tree88"),
    (b"openssl enc -aes-256-cbc -k Zte521 -in x\n", "argument", "openssl -k", b"Zte521"),
    (b"ipmitool -I lanplus -H h -U root -P calvin power\n", "argument", "ipmitool -P", b"calvin"),
    (b"htpasswd -bc /etc/x admin admin12\n", "argument", "htpasswd -b", b"admin12"),
    (b'echo "root:toor" | chpasswd\n', "argument", "chpasswd", b"toor"),
    (b'chpasswd <<< "root:abc"\n', "argument", "chpasswd", b"abc"),
    (b'echo "s3cret" | passwd --stdin root\n', "argument", "passwd --stdin", b"s3cret"),
    (b"echo -e 'pw12\\npw12' | passwd root\n", "argument", "passwd --stdin", b"pw12"),
]

CODE = [
    (b'if pw == "Op3n-Sesame":\n', "comparison", "pw", b"Op3n-Sesame"),
    (b"if user == 'a' and pw == 'backdoor':\n", "comparison", "pw", b"backdoor"),
    (b"if 'hunter22' == pw:\n", "comparison", "pw", b"hunter22"),
    (b"if ('s3same' != self.passwd) {\n", "comparison", "self.passwd", b"s3same"),
    (b"if (\"let22me\" === $_POST['pass']) {\n", "comparison", "pass", b"let22me"),
    (b"if secret == 'tr0ub4dor':\n", "comparison", "secret", b"tr0ub4dor"),
    (b'if ($_POST["pw"] == "letmein1") {}\n', "comparison", "pw", b"letmein1"),
    (b'password = "hunter2"\n', "assignment", "password", b"hunter2"),
    (b"$dbpass='x9y8z7';\n", "assignment", "$dbpass", b"x9y8z7"),
    (b"$cfg['password'] = 'adm1n';\n", "assignment", "password", b"adm1n"),
    (b"<script>var pwd='admin';</script>\n", "assignment", "pwd", b"admin"),
    (b"my $h = { password => 'toor' };\n", "assignment", "password", b"toor"),
    (b'const pw = process.env.DB_PASSWORD || "pgadm1n";\n', "assignment", "process.env.DB_PASSWORD", b"pgadm1n"),
    (b'os.system("PGPASSWORD=abc psql")\n', "assignment", "PGPASSWORD", b"abc"),
    (b"define('DB_PASSWORD', 'abc123');\n", "default", "DB_PASSWORD", b"abc123"),
    (b'os.environ.get("ADMIN_PASSWORD", "admin123")\n', "default", "ADMIN_PASSWORD", b"admin123"),
    (b'if (pass == "b4ckd00r") {\n', "comparison", "pass", b"b4ckd00r"),
    (b"if ($_POST['pass'] === 'sh3ll') {\n", "comparison", "pass", b"sh3ll"),
    (b'ftp.login("u", "pw1234")\n', "argument", "login", b"pw1234"),
    (b"mysql_connect('h','root','root');\n", "argument", "mysql_connect", b"root"),
    (b'auth=HTTPBasicAuth("u", "pw-123")\n', "argument", "HTTPBasicAuth", b"pw-123"),
    (b'expect "*assword:"\nsend "tree55\\r"\n', "expect", "send", b"tree55"),
    (b'child.expect("assword")\nchild.sendline("tree55")\n', "expect", "send", b"tree55"),
    (b'c = "Server=a;Uid=sa;Pwd=Sa1234;"\n', "connection-string", "Pwd", b"Sa1234"),
]

NOTHING_IN_LINES = [
    b"openssl passwd -1 -stdin\n", b"chpasswd <<EOF\nroot:$PW\nEOF\n", b"cpw=hunter\n", b'[ "$pw" = "" ]\n',
    b"password: ${X}\n", b"password=$X\n", b"password=xxxx\n", b"password=****\n", b"password = <password>\n",
    b"password=\n", b'password=""\n', b"password=%s\n", b"password={{ pw }}\n", b"password=@PASSWORD@\n",
    b"# password=abc1\n", b"; password = abc1\n", b"x=1 # password=abc1\n", b"<!-- <password>abc1</password> -->\n",
    b"passwd: files\n", b"passwd: files systemd\n", b"passwd = files\n", b"password required pam_unix.so\n",
    b"password\trequisite\n", b"password=/etc/pw\n", b"password_file=abc1\n", b"token: abc\n", b"kpasswd\t\t464/tcp\n",
    b"mysql -u root -p$PASS\n", b"mysql -u root -p db\n", b'curl -u "$U:$P" x\n', b"sshpass -p %s ssh\n",
    b"sshpass -e ssh x\n", b"echo $PW | passwd --stdin root\n", b"PWD=abc123\n", b"bypass=abc123\n",
    b"reset_password=abc123\n", b"password = your-password\n", b"the password is abc123\n", b"password=$(cat x)\n",
    b"password=`cat x`\n",
]  # fmt: skip

NOTHING_IN_CODE = [
    b"if mode == 'password':\n", b"if 'label' == pwd_field:\n", b"if pass == 'second':\n", b"if secret == 'shared':\n",
    b"if 'password' == password_type:\n", b"if pwd == cwd:\n", b"if 'x' == check(pw):\n", b'if "get%s" == pw(1):\n',
    b'password: "Wachtwoord"\n', b'PASSWORD: "Mot de passe"\n', b"password = getpass()\n", b"password = other\n",
    b'password = "abc1" + x\n', b'password = "%s" % x\n', b'password = os.environ["PASSWORD"]\n', b'pwd = "/etc"\n',
    b'x = "password=" + y\n', b'"""doc\npassword = "abc1"\n"""\n', b'/* password = "abc1" */\n',
    b'>>> password = "abc1"\n',
    b'// var password = "abc1"\n', b"=head1 X\n\npassword => 'abc1'\n\n=cut\n", b'password: "changePassword"\n',
    b'password: "#password-field"\n', b'token = "IDENTIFIER"\n', b'token == "abc123def456ghi"\n', b'send "pass1\\r"\n',
    b"'Test2::Event::Pass' => '1.302175'\n", b'password: "Password1"\n', b'login("u", get("p"))\n', b'login(a, b)\n',
    b'password = f"{x}1"\n', b'secret_key = settings.KEY\n', b'password == ""\n',
    b'NextContinuationToken: "1w41l63U0xa8q7smH50vCxyTQqdxo69O3"\n',
]  # fmt: skip


def fact(data: bytes, scheme: str, subject: str, secret: bytes) -> Credential:
    at = data.rindex(secret)
    if scheme == "argument" and subject == "passwd --stdin":
        at = data.index(secret)
    return Credential(
        offset=at,
        line=data.count(b"\n", 0, at) + 1,
        kind="hard-coded",
        scheme=scheme,
        fingerprint=hashlib.sha256(secret).hexdigest(),
        subject=subject,
        evidence="pattern",
    )


@pytest.mark.parametrize(("data", "scheme", "subject", "secret"), LINES)
def test_configuration_and_shell_scripts(data: bytes, scheme: str, subject: str, secret: bytes) -> None:
    expected = fact(data, scheme, subject, secret)
    if data.startswith((b"mysql", b"htpasswd")) or b"MYSQL" in data:
        expected = fact(data[: data.rindex(secret) + len(secret)], scheme, subject, secret)
    assert inspect(hard_coded.LINES, data) == [expected]


@pytest.mark.parametrize(("data", "scheme", "subject", "secret"), CODE)
def test_scripts(data: bytes, scheme: str, subject: str, secret: bytes) -> None:
    assert inspect(hard_coded.CODE, data) == [fact(data, scheme, subject, secret)]


@pytest.mark.parametrize("data", NOTHING_IN_LINES)
def test_no_credentials_in_lines(data: bytes) -> None:
    assert inspect(hard_coded.LINES, data) == []


@pytest.mark.parametrize("data", NOTHING_IN_CODE)
def test_no_credentials_in_code(data: bytes) -> None:
    assert inspect(hard_coded.CODE, data) == []


def test_a_basic_header_is_told_by_its_password() -> None:
    data = b"x\nAuthorization: Basic " + base64.b64encode(b"admin:adm1n") + b"\n"
    expected = Credential(
        offset=data.index(b"YW"),
        line=2,
        kind="hard-coded",
        scheme="http-basic",
        fingerprint=hashlib.sha256(b"adm1n").hexdigest(),
        subject="admin",
        evidence="pattern",
    )
    assert inspect(hard_coded.LINES, data) == [expected]
    assert inspect(hard_coded.CODE, b"Basic abcdefghijkl\nBasic AAAAAAAAAAAA\n") == []


def test_password_stores() -> None:
    netrc = b"machine ftp.example login joe password j0e\n\ndefault\n login anonymous password x@y\n"
    assert inspect(hard_coded.STORES, netrc) == [
        fact(netrc, "netrc", "ftp.example", b"j0e"),
        fact(netrc, "netrc", "default", b"x@y"),
    ]
    pgpass = b"# host:port:database:user:password\nlocalhost:5432:*:post\\:gres:s3:cret\n"
    assert inspect(hard_coded.STORES, pgpass) == [fact(pgpass, "pgpass", "localhost:5432:*:post\\:gres", b"s3:cret")]


@pytest.mark.parametrize(
    ("path", "code", "lines"),
    [
        ("/usr/lib/x/a.py", True, False),
        ("/www/login.php", True, False),
        ("/etc/app/app", False, True),
        ("/build/Dockerfile", False, True),
        ("/x/app.dockerfile", False, True),
        ("/etc/app/app.py", True, False),
        ("/opt/x/app.yaml", False, True),
        ("/usr/share/doc/x/app.conf", False, False),
        ("/usr/share/locale/de/x.js", False, False),
        ("/usr/share/x/CHANGELOG.json", False, False),
        ("/usr/share/man/man1/x.1", False, False),
        ("/usr/share/locale/de/LC_MESSAGES/x.po", False, False),
        ("/usr/bin/x", False, False),
    ],
)
def test_which_files(path: str, code: bool, lines: bool) -> None:
    for inspector, expected in ((hard_coded.CODE, code), (hard_coded.LINES, lines)):
        assert inspector.wants_path is not None
        assert inspector.wants_path(path) is expected


def test_which_interpreters() -> None:
    def wants(head: bytes) -> tuple[bool, bool]:
        assert hard_coded.CODE.wants_head is not None
        assert hard_coded.LINES.wants_head is not None
        return hard_coded.CODE.wants_head(head), hard_coded.LINES.wants_head(head)

    assert wants(b"#!/bin/sh\n") == (False, True)
    assert wants(b"#!/usr/bin/env bash\n") == (False, True)
    assert wants(b"#!/usr/bin/python3\n") == (True, False)
    assert wants(b"#!/usr/bin/expect -f\n") == (True, False)
    assert wants(b"\x7fELF") == (False, False)


def test_a_script_is_told_once_whatever_its_name_ends_in() -> None:
    shell, python = b"#!/bin/sh\nmysql -pR00t db\n", b'#!/usr/bin/python3\npassword = "R00t"\n'
    told = [[len(inspect(i, data)) for i in (hard_coded.CODE, hard_coded.LINES)] for data in (shell, python)]
    assert told == [[0, 1], [1, 0]]


def test_too_many_are_said_to_be_too_many() -> None:
    found = []
    with pytest.raises(LimitReached):
        for item in hard_coded.LINES.inspect(content(hard_coded.LINES, b"password=abc123\n" * 3000)):
            found.append(item)  # noqa: PERF402 - what came before the error stands
    assert len(found) == hard_coded.MAX_FACTS


def content(inspector: ContentInspector, data: bytes) -> Content:
    return content_of(inspector, data, "text")


def outcome(inspector: ContentInspector, data: bytes) -> None:
    try:
        found = list(inspector.inspect(content(inspector, data)))
    except LimitReached:
        return
    for item in found:
        assert isinstance(item, Credential)
        assert item.offset is not None


def test_broken_input() -> None:
    whole = b"".join(data for data, *_ in LINES + CODE) + b"".join(NOTHING_IN_LINES + NOTHING_IN_CODE)
    for data in mangled(whole, count=100):
        outcome(hard_coded.LINES, data)
        outcome(hard_coded.CODE, data)
        outcome(hard_coded.STORES, data)


@given(st.binary(max_size=300))
def test_any_input(data: bytes) -> None:
    for around in (b"password='", b"sshpass ", b"Basic ", b"login(", b"machine x login y password "):
        outcome(hard_coded.LINES, around + data)
        outcome(hard_coded.CODE, data + around + data)
        outcome(hard_coded.STORES, around + data)


@pytest.mark.parametrize(
    "piece",
    [b"password=a", b"password='", b"curl -u ", b"sshpass  ", b"mysql -", b"echo a:b|chpasswd ", b"login(a,",
     b"Basic AAAAAAAA", b'expect "assword" send "a', b"<password>a", b"/* ",
     b'"""password="ab1"', b"htpasswd -b a ", b"a.password ", b"\\" * 20],
)  # fmt: skip
def test_time_is_bounded(piece: bytes) -> None:
    data = piece * ((1 << 16) // len(piece))
    for inspector in (hard_coded.LINES, hard_coded.CODE, hard_coded.STORES):
        begun = time.process_time()
        outcome(inspector, data)
        assert time.process_time() - begun < 2
