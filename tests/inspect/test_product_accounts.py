"""Accounts of applications: stores made by the programs themselves, seeds as projects publish them, and broken ones."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.facts import ContentFact
from assay.facts.access import KnownPassword, ProductAccount
from assay.inspect import (
    account_entry,
    known_passwords,
    product_accounts,
    product_accounts_objects,
    product_accounts_sql,
)
from assay.inspect.base import ContentInspector
from assay.unpack.base import LimitReached, Malformed, Truncated, UnpackError
from tests.support.hostile import mangled
from tests.support.memory_tree import content_of, inspect, wanted

known_passwords.prepare()
product_accounts_objects.prepare()

TEXT = product_accounts.INSPECTOR
JSON, YAML, BSON = product_accounts_objects.JSON, product_accounts_objects.YAML, product_accounts_objects.BSON
SQLITE, SQL = product_accounts_sql.SQLITE, product_accounts_sql.SQL


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def accounts(facts: list[ContentFact]) -> list[ProductAccount]:
    return [fact for fact in facts if isinstance(fact, ProductAccount)]


def brief(facts: list[ContentFact]) -> list[tuple[str | None, ...]]:
    return [(fact.container, fact.name, fact.password, fact.scheme) for fact in accounts(facts)]


def known(facts: list[ContentFact]) -> list[str]:
    return [fact.account for fact in facts if isinstance(fact, KnownPassword)]


def tool(*command: str, stdin: str = "") -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout


def test_htpasswd_of_the_program_itself() -> None:
    lines = {
        "apr1": tool("htpasswd", "-nbm", "admin", "admin").strip(),
        "bcrypt": tool("htpasswd", "-nbB", "-C4", "op", "Xq7-unlisted").strip(),
        "ldap-sha": tool("htpasswd", "-nbs", "sha", "password").strip(),
        "descrypt": tool("htpasswd", "-nbd", "old", "123456").strip(),
        "sha512crypt": tool("htpasswd", "-nb5", "six", "Xq7-unlisted").strip(),
        "clear": tool("htpasswd", "-nbp", "plain", "letmein").strip(),
    }
    text = "# who may in\n" + "\n".join(lines.values()) + "\n"
    found = inspect(TEXT, text.encode())
    expected = []
    for number, (scheme, line) in enumerate(lines.items(), 2):
        name, _, secret = line.partition(":")
        clear = scheme == "clear"
        expected.append(
            ProductAccount(
                store="htpasswd",
                container=None,
                name=name,
                password="clear" if clear else "hash",
                scheme=None if clear else scheme,
                fingerprint=sha(secret),
                offset=text.index(line),
                line=number,
            )
        )
    assert accounts(found) == expected
    # Hashes that name their scheme are another inspector's, which sees the same bytes.
    assert sorted(known(found)) == ["old", "plain", "sha"]
    assert known(inspect(known_passwords.INSPECTOR, text.encode())) == ["admin"]


@pytest.mark.parametrize(
    ("path", "data", "expected"),
    [
        ("/etc/nginx/.htpasswd", b"a:b\n", True),
        ("/srv/users", b"admin:$apr1$abcdefgh$" + b"a" * 22 + b"\n", True),
        ("/srv/users", b"admin:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=\n", True),
        ("/srv/digest", b"admin:Realm of all:" + b"0" * 32 + b"\n", True),
        ("/etc/openldap/base", b"# x\n\nversion: 1\ndn: dc=example\n", True),
        ("/etc/config/rpcd", b"config login\n", True),
        ("/etc/shadow", b"root:$6$abcdefgh$" + b"a" * 86 + b":1:0:9:7:::\n", False),
        ("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", False),
        ("/etc/x.conf", b"key: value\nurl:http://x\n", False),
        ("/bin/x", b"#!/bin/sh\na:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=\n", False),
    ],
)
def test_what_is_looked_at(path: str, data: bytes, expected: bool) -> None:
    assert wanted(TEXT, content_of(TEXT, data), [path]) is expected


def test_htdigest() -> None:
    digest = hashlib.md5(b"admin:Web UI:1423").hexdigest()
    text = f"admin:Web UI:{digest}\n"
    assert inspect(TEXT, text.encode()) == [
        ProductAccount(
            store="htdigest",
            container="Web UI",
            name="admin",
            password="hash",
            scheme="htdigest",
            fingerprint=sha(digest),
            offset=0,
            line=1,
        ),
        KnownPassword(
            account="admin",
            scheme="htdigest",
            fingerprint=sha(digest),
            origin=known_passwords.ORIGIN,
            entry=dict(known_passwords.candidates("admin"))["1423"],
            offset=0,
            line=1,
        ),
    ]


def test_ldif() -> None:
    crypt = "$1$saltsalt$" + "a" * 22
    text = (
        "version: 1\n\ndn: cn=admin,dc=example\nobjectClass: person\ncn: admin\n"
        "userPassword:: e1NTSEF9MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5\n\n"
        "# folded\ndn: uid=op,dc=exa\n mple\nuid: op\nmemberOf: cn=ops\nuserPassword: secr\n et\n\n"
        f"dn: olcDatabase={{1}}mdb\nolcRootDN: cn=manager\nolcRootPW: {{CRYPT}}{crypt}\n\n"
        "dn: uid=none,dc=example\nuid: none\njpegPhoto:< file:///x\n"
    )
    found = inspect(TEXT, text.encode())
    assert accounts(found) == [
        ProductAccount(
            store="ldif",
            container="cn=admin,dc=example",
            name="admin",
            password="hash",
            scheme="ldap-ssha",
            fingerprint=sha("{SSHA}012345678901234567890123456789"),
            offset=text.index("userPassword::"),
            line=6,
        ),
        ProductAccount(
            store="ldif",
            container="uid=op,dc=example",
            name="op",
            role="cn=ops",
            password="clear",
            fingerprint=sha("secret"),
            offset=text.index("userPassword: "),
            line=13,
        ),
        ProductAccount(
            store="ldif",
            container="olcDatabase={1}mdb",
            name="cn=manager",
            password="hash",
            scheme="md5crypt",
            fingerprint=sha(crypt),
            offset=text.index("olcRootPW"),
            line=18,
        ),
    ]
    assert known(found) == ["op"]


def test_uci() -> None:
    text = (
        "config rpcd\n\toption socket /var/run/ubus.sock\n\nconfig login\n\toption username 'root'\n"
        "\toption password '$p$root'\n\tlist read '*'\n\tlist write '*'\n\n"
        "config login 'web'\n\toption username \"admin\"\n\toption password admin\n\tlist read unauthenticated\n"
    )
    found = inspect(TEXT, text.encode())
    assert accounts(found) == [
        ProductAccount(
            store="uci",
            container="login",
            name="root",
            role="read *; write *",
            password="unknown",
            offset=text.index("config login"),
            line=4,
        ),
        ProductAccount(
            store="uci",
            container="login",
            name="admin",
            role="read unauthenticated",
            password="clear",
            fingerprint=sha("admin"),
            offset=text.index("config login 'web'"),
            line=10,
        ),
    ]
    assert known(found) == ["admin"]


def database(path: Path, script: str, mode: str = "delete") -> bytes:
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.execute(f"PRAGMA journal_mode={mode}")
        made.executescript(script)
        made.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


TABLES = """
CREATE TABLE user (id INTEGER PRIMARY KEY, "Login" TEXT, password BLOB, is_admin INT, disabled INT, note TEXT);
INSERT INTO user VALUES (1, 'admin', '21232f297a57a5a743894a0e4a801fc3', 1, 0, 'x'), (2, NULL, NULL, 0, 1, NULL),
  (3, 'svc', 'changeme', 0, 0, NULL);
CREATE TABLE files (name TEXT, hash TEXT);
INSERT INTO files VALUES ('a', 'b');
CREATE TABLE connections (host TEXT, username TEXT, password TEXT);
INSERT INTO connections VALUES ('a', 'b', 'c');
CREATE VIEW users AS SELECT * FROM user;
CREATE TABLE "odd ""name" (user_name TEXT, passwd TEXT, full TEXT GENERATED ALWAYS AS (user_name || 'x'));
INSERT INTO "odd ""name" (user_name, passwd) VALUES ('y', '');
"""


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_sqlite(tmp_path: Path, mode: str) -> None:
    found = inspect(SQLITE, database(tmp_path / "x.db", TABLES, mode))
    assert accounts(found) == [
        ProductAccount(
            store="sqlite",
            container="user",
            name="admin",
            role="isadmin=1",
            password="hash",
            scheme="hex-128",
            fingerprint=sha("21232f297a57a5a743894a0e4a801fc3"),
            enabled=True,
        ),
        ProductAccount(store="sqlite", container="user", name="", role="isadmin=0", password="absent", enabled=False),
        ProductAccount(
            store="sqlite",
            container="user",
            name="svc",
            role="isadmin=0",
            password="clear",
            fingerprint=sha("changeme"),
            enabled=True,
        ),
        ProductAccount(store="sqlite", container='odd "name', name="y", password="empty"),
    ]
    assert sorted(known(found)) == ["admin", "svc"]


def test_sqlite_of_the_program_itself(tmp_path: Path) -> None:
    tool("sqlite3", str(tmp_path / "x.db"), TABLES.replace("GENERATED ALWAYS AS (user_name || 'x')", ""))
    assert len(accounts(inspect(SQLITE, (tmp_path / "x.db").read_bytes()))) == 4


def test_a_database_cannot_take_all_time_or_run_its_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product_accounts_sql, "CPU_SECONDS", 0.3)
    monkeypatch.setattr(account_entry, "MAX_ACCOUNTS", 1 << 40)
    monkeypatch.setattr(product_accounts_sql, "MAX_ACCOUNTS", 1 << 40)
    rows = ",".join(f"('u{number}', 'x')" for number in range(400))
    # Every row is read through a column that computes for ever, as far as the schema is trusted.
    endless = "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c)"
    script = (
        f"CREATE TABLE users (username TEXT, password TEXT); INSERT INTO users VALUES {rows};"
        f"CREATE VIEW accounts AS SELECT {endless} AS username, 1 AS password;"
    )
    data = database(tmp_path / "x.db", script)
    begun = time.process_time()
    assert len(accounts(inspect(SQLITE, data))) == 400
    # A table whose description is swapped for that of the view.
    broken = data.replace(
        b"CREATE TABLE users (username TEXT, password TEXT)", b"CREATE VIEW users AS SELECT 1, 2 FROM sql"
    )
    with contextlib.suppress(UnpackError):
        inspect(SQLITE, broken)
    assert time.process_time() - begun < 2


def test_broken_databases(tmp_path: Path) -> None:
    data = database(tmp_path / "x.db", "PRAGMA page_size=512;" + TABLES)
    with pytest.raises(Malformed):
        inspect(SQLITE, data[:300])
    for variant in mangled(data, count=150):
        begun = time.process_time()
        with contextlib.suppress(UnpackError):
            inspect(SQLITE, variant)
        assert time.process_time() - begun < 3


def test_mysql_and_postgresql_dumps() -> None:
    text = (
        r"""-- MySQL dump 10.19
CREATE TABLE `users` (
  `id` int(11) NOT NULL, `username` varchar(20) DEFAULT 'a,b', `password` enum('a','b'), `role` text,
  PRIMARY KEY (`id`)
);
INSERT INTO `users` VALUES (1,'ad''min','x\'y',NULL),
 (2,'root','root','super'),(3,now(),'a;b','');
INSERT INTO log (message, hash) VALUES ('password', 'x');
INSERT IGNORE INTO app.accounts (email, pass_hash, password_hash) VALUES ('a@b', 'q', '$2y$10$"""
        + "a" * 53
        + r"""');
COPY public.admin_users (id, login, encrypted_password, active) FROM stdin;
1	boss	\N	t
2	clerk	letmein	f
\.
replace into "users" (user_name, pwd) values ("x", "unfinished
"""
    )
    found = inspect(SQL, text.encode())
    assert [(f.container, f.name, f.role, f.password, f.scheme, f.enabled, f.line) for f in accounts(found)] == [
        ("users", "ad'min", None, "clear", None, None, 6),
        ("users", "root", "super", "clear", None, None, 7),
        ("users", "now()", None, "clear", None, None, 7),
        ("accounts", "a@b", None, "hash", "bcrypt", None, 9),
        ("admin_users", "boss", None, "absent", None, True, 11),
        ("admin_users", "clerk", None, "clear", None, False, 12),
    ]
    assert accounts(found)[0].fingerprint == sha("x'y")
    assert known(found) == ["root", "clerk"]


def test_json_seeds() -> None:
    value = {
        "users": [
            {"username": "admin", "password": "free5gc", "roles": ["admin", "ops"]},
            {"username": "dev", "password": "${DEV_PASSWORD}"},
            {"username": "nobody", "password": ""},
        ],
        "accounts": {"op": {"passwd": "!", "enabled": False}, "form": {"password": "Password"}},
        "database": {"host": "db", "user": "root", "password": "root"},
        "databases": [{"host": "db", "user": "root", "password": "root"}],
        "i18n": {"user": {"name": "Name", "password": "Password"}},
        "basic_auth_users": {"metrics": "$2y$10$" + "b" * 53, "other": "words"},
        "schema": {"users": [{"username": {"type": "string"}, "password": {"type": "string"}}]},
        "plain": {"username": "u", "password": "p"},
        "files": [{"name": "a", "hash": "21232f297a57a5a743894a0e4a801fc3"}],
    }
    text = json.dumps(value, indent=1)
    found = inspect(JSON, text.encode())
    assert accounts(found) == [
        ProductAccount(
            store="json",
            container="users",
            name="admin",
            role="admin, ops",
            password="clear",
            fingerprint=sha("free5gc"),
            offset=text.index('"admin"'),
            line=4,
        ),
        ProductAccount(
            store="json",
            container="users",
            name="dev",
            password="unknown",
            offset=text.index('"dev"'),
            line=12,
        ),
        ProductAccount(
            store="json",
            container="users",
            name="nobody",
            password="empty",
            offset=text.index('"nobody"'),
            line=16,
        ),
        ProductAccount(
            store="json",
            container="accounts",
            name="op",
            password="locked",
            enabled=False,
            offset=text.index('"op"'),
            line=21,
        ),
        ProductAccount(
            store="json",
            container="basic_auth_users",
            name="metrics",
            password="hash",
            scheme="bcrypt",
            fingerprint=sha("$2y$10$" + "b" * 53),
            offset=text.index('"metrics"'),
            line=48,
        ),
    ]
    assert known(found) == ["admin"]


def test_fixtures_and_lines_of_json() -> None:
    fixture = [
        {
            "model": "auth.user",
            "pk": 1,
            "fields": {"username": "a", "password": "md5$x$" + "0" * 32, "is_active": True},
        },
        {"model": "app.thing", "pk": 1, "fields": {"name": "a"}},
    ]
    (found,) = accounts(inspect(JSON, json.dumps(fixture).encode()))
    assert (found.container, found.name, found.scheme, found.enabled) == ("auth.user", "a", "salted-hex", True)
    lines = b'{"_id": 1, "username": "a", "hash": "b", "salt": "c"}\n{"username": "d", "password": null, "role": "x"}\n'
    assert brief(inspect(JSON, lines)) == [(None, "a", "clear", None), (None, "d", "absent", None)]


def test_yaml_seeds() -> None:
    text = (
        "users:\n  - &a\n    name: admin\n    password: admin123\n    role: root\n"
        "  - <<: *a\n    name: second\n"
        "---\nbasic_auth_users:\n  prom: $2b$12$" + "c" * 53 + "\n"
    )
    found = inspect(YAML, text.encode())
    assert [(f.container, f.name, f.role, f.password, f.line) for f in accounts(found)] == [
        ("users", "admin", "root", "clear", 3),
        ("users", "second", "root", "clear", 7),
        ("basic_auth_users", "prom", None, "hash", 10),
    ]
    assert known(found) == ["admin", "second"]
    assert inspect(YAML, b"users:\n {{ range }}\n  password: x\n") == []
    with pytest.raises(ValueError, match="not YAML"):
        inspect(YAML, b"users: [\npassword: }")


def test_bson_dump() -> None:
    documents = [
        {"_id": bson.ObjectId(), "username": "admin", "roles": ["admin"], "salt": "aa", "hash": "bb" * 512},
        {"_id": bson.ObjectId(), "username": "admin", "EncryptedPassword": "$2a$12$" + "d" * 53},
        {"imsi": "001010000000001", "security": {"k": "x"}},
    ]
    data = b"".join(map(bson.encode, documents))
    first = len(bson.encode(documents[0]))
    found = inspect(BSON, data)
    assert accounts(found) == [
        ProductAccount(
            store="bson",
            container=None,
            name="admin",
            role="admin",
            password="unknown",
            fingerprint=sha("bb" * 512),
            offset=0,
        ),
        ProductAccount(
            store="bson",
            container=None,
            name="admin",
            password="hash",
            scheme="bcrypt",
            fingerprint=sha("$2a$12$" + "d" * 53),
            offset=first,
        ),
    ]
    with pytest.raises(Truncated):
        inspect(BSON, data[:-1])
    with pytest.raises(Malformed):
        inspect(BSON, data + b"\x01\0\0\0")


def test_no_fact_holds_its_secret(tmp_path: Path) -> None:
    secret = "s3cr3t-Of-Mine"
    texts: list[tuple[ContentInspector, bytes]] = [
        (TEXT, f"a:{secret}\n".encode()),
        (TEXT, f"dn: uid=a\nuid: a\nuserPassword: {secret}\n".encode()),
        (JSON, json.dumps({"users": [{"username": "a", "password": secret}]}).encode()),
        (YAML, f"users:\n- user: a\n  password: {secret}\n".encode()),
        (BSON, bson.encode({"username": "a", "password": secret})),
        (SQL, f"INSERT INTO users (login, password) VALUES ('a', '{secret}');".encode()),
        (
            SQLITE,
            database(tmp_path / "x.db", f"CREATE TABLE u (login, password); INSERT INTO u VALUES ('a', '{secret}')"),
        ),
    ]
    for inspector, data in texts:
        (found,) = inspect(inspector, data)
        assert isinstance(found, ProductAccount)
        assert (found.name, found.password, found.fingerprint) == ("a", "clear", sha(secret)), inspector.name
        assert secret not in repr(found)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_entry, "MAX_ACCOUNTS", 3)
    kept: list[ContentFact] = []
    with pytest.raises(LimitReached, match="product_accounts 3"):
        kept.extend(TEXT.inspect(content_of(TEXT, b"a:admin\n" * 9)))
    assert len(accounts(kept)) == 3
    assert known(kept) == ["a"] * 3, "what was read is tried"
    monkeypatch.setattr(product_accounts_objects, "MAX_NODES", 10)
    with pytest.raises(LimitReached):
        inspect(JSON, json.dumps({"user": [[{}] * 20], "password": 1}).encode())


HOSTILE: list[tuple[ContentInspector, Callable[[int], bytes]]] = [
    (TEXT, lambda n: b"a:" * n),
    (TEXT, lambda n: b"dn: x\n" + b" y\n" * n),
    (TEXT, lambda n: b"config a\n" * (n // 4)),
    (JSON, lambda n: b'{"user":"pass",' + b'"a":[' * n),
    (JSON, lambda n: b'["user","pass"' + b",[]" * n + b"]"),
    (YAML, lambda n: b"users:\n password:\n" + b"- " * n),
    (YAML, lambda n: b"a: &a [user, pass]\n" + b"".join(b"b%d: &b%d [*a, *a]\n" % (i, i) for i in range(n // 20))),
    (SQL, lambda n: b"INSERT INTO users (login, password) VALUES ('" * (n // 40)),
    (SQL, lambda n: b"INSERT INTO users (login, password) VALUES " + b"('a','" + b"\\'" * n),
    (SQL, lambda n: b"CREATE TABLE users (" * (n // 20) + b"INSERT INTO users VALUES (1) password"),
    (SQL, lambda n: b"CREATE TABLE users (a" + b",b" * n + b" INSERT INTO users VALUES (1) password"),
    (SQL, lambda n: b"password INSERT INTO " + b" " * n),
    (SQL, lambda n: b"pass INSERT OR " + b"INSERT OR a" * (n // 8)),
    (SQL, lambda n: b"INSERT INTO users (login, pass) VALUES " + b"('a','b'),\n" * (n // 10)),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_repeated_beginnings_stay_cheap(number: int) -> None:
    inspector, make = HOSTILE[number]
    data = make(200_000)
    begun = time.process_time()
    with contextlib.suppress(UnpackError, ValueError, RecursionError):
        inspect(inspector, data, "text")
    assert time.process_time() - begun < 2


@given(st.binary(max_size=200), st.sampled_from([TEXT, JSON, YAML, BSON, SQL, SQLITE]))
def test_any_bytes(data: bytes, inspector: ContentInspector) -> None:
    with contextlib.suppress(UnpackError, ValueError, RecursionError):
        inspect(inspector, data, "text")


@given(st.text("abc():,'\"\\ \nINSERTOVALUEuserpwd=$1{}[]", max_size=200))
def test_any_sql(text: str) -> None:
    list(product_accounts_sql.sql(text))
