"""Account databases and the accounts that they make together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.facts.access import Account, AccountEntry, Credential
from assay.facts.base import ContentFact
from assay.inspect import accounts, authorized_keys
from assay.inspect.base import ContentInspector
from assay.inspect.crypt_format import scheme
from assay.unpack.base import LimitReached, Unsupported
from tests.support.memory_tree import MemoryTree, inspect

SHA512 = "$6$saltsalt$" + "a" * 86
YESCRYPT = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJfVN7vNzTzSgnRLfsQWYBDgGL8hBSPYNjQ7ojsnX+Vs"
INSPECTORS = [accounts.PASSWD, accounts.SHADOW, accounts.GROUP, accounts.GSHADOW, authorized_keys.INSPECTOR]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def facts(inspector: ContentInspector, text: str) -> list[ContentFact]:
    return inspect(inspector, text.encode())


def test_passwd() -> None:
    text = (
        "# comment\n\nroot:x:0:0:root:/root:/bin/bash\nold:abcdefghijklm:5:5::/home/old:\nodd:plain:6:6:a:/:/bin/sh\n"
    )
    entry = {"database": "passwd"}
    assert facts(accounts.PASSWD, text) == [
        AccountEntry(
            **entry, offset=11, line=3, name="root", uid=0, gid=0, home="/root", shell="/bin/bash", password="elsewhere"
        ),
        AccountEntry(
            **entry,
            offset=43,
            line=4,
            name="old",
            uid=5,
            gid=5,
            home="/home/old",
            shell="",
            password="hash",
            scheme="descrypt",
        ),
        Credential(
            offset=47,
            line=4,
            kind="password-hash",
            scheme="descrypt",
            fingerprint=digest("abcdefghijklm"),
            subject="old",
            evidence="field",
        ),
        AccountEntry(
            **entry, offset=77, line=5, name="odd", uid=6, gid=6, home="/", shell="/bin/sh", password="invalid"
        ),
    ]


def test_lines_as_the_c_library_reads_them() -> None:
    text = "short::7:7\nnonumber:x:a:b:::\njust text\n+::::::\n-bob\n+@staff:x:::::/bin/false\nlast:*:8:8:::/bin/sh"
    assert [
        (f.name, f.uid, f.gid, f.home, f.shell, f.password, f.line)
        for f in facts(accounts.PASSWD, text)
        if isinstance(f, AccountEntry)
    ] == [
        ("short", 7, 7, None, None, "empty", 1),
        ("+", None, None, "", "", "empty", 4),
        ("-bob", None, None, None, None, "none", 5),
        ("+@staff", None, None, "", "/bin/false", "elsewhere", 6),
        ("last", 8, 8, "", "/bin/sh", "locked", 7),
    ]


def test_shadow() -> None:
    text = f"root:!{SHA512}:19000:0:99999:7:::\nnull::::::::\nstar:*:1:0:90:7::20000:\nodd:$6$short:::::::\n"
    assert facts(accounts.SHADOW, text) == [
        AccountEntry(
            offset=0,
            line=1,
            database="shadow",
            name="root",
            password="hash",
            scheme="sha512crypt",
            locked=True,
            last_change=19000,
            max_days=99999,
        ),
        Credential(
            offset=6,
            line=1,
            kind="password-hash",
            scheme="sha512crypt",
            fingerprint=digest(SHA512),
            subject="root",
            evidence="field",
        ),
        AccountEntry(offset=text.index("null"), line=2, database="shadow", name="null", password="empty"),
        AccountEntry(
            offset=text.index("star"),
            line=3,
            database="shadow",
            name="star",
            password="locked",
            last_change=1,
            max_days=90,
            expires=20000,
        ),
        AccountEntry(offset=text.index("odd"), line=4, database="shadow", name="odd", password="invalid"),
    ]


def test_group_and_gshadow() -> None:
    assert facts(accounts.GROUP, "wheel:x:10:root,bob\nempty:x:11:\nbroken:x\n") == [
        AccountEntry(
            offset=0, line=1, database="group", name="wheel", gid=10, password="elsewhere", members=["root", "bob"]
        ),
        AccountEntry(offset=20, line=2, database="group", name="empty", gid=11, password="elsewhere"),
    ]
    assert facts(accounts.GSHADOW, "wheel:!::root\n") == [
        AccountEntry(offset=0, line=1, database="gshadow", name="wheel", password="locked", members=["root"])
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abcdefghijklm", "descrypt"),
        ("_J9..CCCCXBrJUJV154M", "bsdicrypt"),
        ("$1$abc$" + "a" * 22, "md5crypt"),
        ("$2b$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe", "bcrypt"),
        ("$3$$8846f7eaee8fb117ad06bdd830b7586c", "nt"),
        ("$5$rounds=5000$abc$" + "a" * 43, "sha256crypt"),
        (SHA512, "sha512crypt"),
        ("$7$CU..../....2Q9obwLhin8qvQl6sisAO/$E1HizYWxBmnIH4sdPkd1UOML9t62Gf.wvNTnt5XFzs8", "scrypt"),
        (YESCRYPT, "yescrypt"),
        (YESCRYPT.replace("$y$", "$gy$"), "gost-yescrypt"),
        ("$md5,rounds=5000$GUBv0xjJ$$mSwgIswdjlTY0YxV7HBVm0", "sunmd5"),
        ("$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A", "unknown"),
        ("$6$saltsalt$" + "a" * 85, None),
        ("password", None),
        ("", None),
    ],
)
def test_schemes(text: str, expected: str | None) -> None:
    assert scheme(text) == expected


def test_schemes_of_the_machines_own_crypt() -> None:
    openssl = pytest.importorskip("shutil").which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    import subprocess

    for option, expected in (("-1", "md5crypt"), ("-5", "sha256crypt"), ("-6", "sha512crypt"), ("-apr1", "apr1")):
        made = subprocess.run([openssl, "passwd", option, "secret"], capture_output=True, text=True)
        assert scheme(made.stdout.strip()) == expected


def wants(inspector: ContentInspector, path: str, head: bytes = b"") -> bool:
    assert inspector.wants_path is not None
    return inspector.wants_path(path) or bool(inspector.wants_head and inspector.wants_head(head))


def test_what_is_wanted() -> None:
    assert wants(accounts.PASSWD, "/etc/passwd")
    assert wants(accounts.PASSWD, "/rom/etc/passwd-")
    assert not wants(accounts.PASSWD, "/usr/bin/passwd")
    assert wants(accounts.PASSWD, "/backup.txt", b"root:x:0:0:root:/root:/bin/sh\n")
    assert wants(accounts.SHADOW, "/backup.txt", f"root:{SHA512}:19000:0:99999:7:::\n".encode())
    assert not wants(accounts.SHADOW, "/backup.txt", b"root:x:0:0:root:/root:/bin/sh\n")
    assert not wants(accounts.PASSWD, "/notes", b"a:b:c:d\n")


def tree(
    files: dict[str, str | None], *, links: dict[str, str] | None = None, unread: Iterable[str] = ()
) -> MemoryTree:
    specs: dict[str, tuple[int, int, int, bytes | str | None]] = {
        path: (0o644, 0, 0, None if text is None else text.encode()) for path, text in files.items()
    }
    specs |= {path: (0o777, 0, 0, target) for path, target in (links or {}).items()}
    return MemoryTree(specs, INSPECTORS, unread=unread)


def test_accounts() -> None:
    found = list(
        accounts.ACCOUNTS.inspect(
            tree(
                {
                    "/etc/passwd": "root:x:0:0::/root:\n"
                    "toor::0:0::/root:/bin/sh\n"
                    "daemon:*:1:1::/:/usr/sbin/nologin\n"
                    "gone:x:9:9::/nowhere:/opt/none/sh\n"
                    "root:x:0:0::/root:/bin/absent\n"
                    "+::::::\n",
                    "/etc/shadow": f"root:{YESCRYPT}:19000:0:99999:7:::\nghost:!:1::::::\nroot::1::::::\n",
                    "/etc/group": "wheel:x:10:root,toor\nadm:x:4:root\n",
                    "/root/.ssh/authorized_keys": f"{KEY} a\n{KEY} b\n",
                    "/etc/dropbear/authorized_keys": f'command="x y" {KEY} c\n',
                    "/bin/busybox": "x",
                    "/usr/sbin": None,
                },
                links={"/bin/sh": "busybox"},
            )
        )
    )
    root = Account(
        path="/etc/passwd",
        line=1,
        name="root",
        uid=0,
        gid=0,
        home="/root",
        shell="/bin/sh",
        login_shell=True,
        shell_exists=True,
        password="hash",
        scheme="yescrypt",
        groups=["wheel", "adm"],
        authorized_keys=3,
        shadow_path="/etc/shadow",
        shadow_line=1,
    )
    nobody = {"groups": [], "authorized_keys": 0, "scheme": None, "shadow_path": None, "shadow_line": None}
    assert found == [
        root,
        Account(
            path="/etc/passwd",
            line=2,
            name="toor",
            uid=0,
            gid=0,
            home="/root",
            shell="/bin/sh",
            login_shell=True,
            shell_exists=True,
            password="empty",
            scheme=None,
            groups=["wheel"],
            authorized_keys=3,
            shadow_path=None,
            shadow_line=None,
        ),
        Account(
            path="/etc/passwd",
            line=3,
            name="daemon",
            uid=1,
            gid=1,
            home="/",
            shell="/usr/sbin/nologin",
            login_shell=False,
            shell_exists=False,
            password="locked",
            **nobody,
        ),
        Account(
            path="/etc/passwd",
            line=4,
            name="gone",
            uid=9,
            gid=9,
            home="/nowhere",
            shell="/opt/none/sh",
            login_shell=True,
            shell_exists=None,
            password="missing",
            **nobody,
        ),
        Account(
            path="/etc/passwd",
            line=5,
            name="root",
            uid=0,
            gid=0,
            home="/root",
            shell="/bin/absent",
            login_shell=True,
            shell_exists=False,
            password="hash",
            scheme="yescrypt",
            groups=["wheel", "adm"],
            authorized_keys=3,
            shadow_path="/etc/shadow",
            shadow_line=1,
        ),
        Account(
            path="/etc/shadow",
            line=2,
            name="ghost",
            uid=None,
            gid=None,
            home=None,
            shell=None,
            login_shell=False,
            shell_exists=None,
            password="locked",
            scheme=None,
            shadow_path="/etc/shadow",
            shadow_line=2,
        ),
    ]


@pytest.mark.parametrize(
    ("field", "shadow", "expected"),
    [
        ("x", "root::::::::", "empty"),
        ("x", f"root:!{SHA512}:::::::", "locked"),
        ("x", "root:x:::::::", "invalid"),
        ("x", "other:*:::::::", "missing"),
        ("x", None, "missing"),
        ("*", "root::::::::", "empty"),
        ("*", None, "locked"),
        ("", "root:*:::::::", "empty"),
        (SHA512, "root:*:::::::", "hash"),
    ],
)
def test_password_states(field: str, shadow: str | None, expected: str) -> None:
    files: dict[str, str | None] = {"/etc/passwd": f"root:{field}:0:0::/:/bin/sh\n"}
    if shadow is not None:
        files["/etc/shadow"] = shadow + "\n"
    (account, *_) = accounts.ACCOUNTS.inspect(tree(files))
    assert isinstance(account, Account)
    assert account.password == expected


def test_what_cannot_be_read_is_not_called_missing() -> None:
    files: dict[str, str | None] = {"/etc/passwd": "root:x:0:0::/:/bin/sh\n", "/etc/shadow": "root::::::::\n"}
    (account,) = accounts.ACCOUNTS.inspect(tree(files, unread=["/etc/shadow"]))
    assert isinstance(account, Account)
    assert account.password == "unknown"
    (account,) = accounts.ACCOUNTS.inspect(tree({"/etc/passwd": files["/etc/passwd"]}, links={"/etc/shadow": "/tmp/s"}))
    assert isinstance(account, Account)
    assert account.password == "unknown"
    with pytest.raises(Unsupported):
        list(accounts.ACCOUNTS.inspect(tree(files, unread=["/etc/passwd"])))
    with pytest.raises(Unsupported):
        list(accounts.ACCOUNTS.inspect(tree({}, links={"/etc/passwd": "/tmp/passwd"})))
    assert list(accounts.ACCOUNTS.inspect(tree({}))) == []


def test_a_database_longer_than_the_limit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "MAX_BYTES", 20)
    with pytest.raises(LimitReached):
        facts(accounts.PASSWD, "a:x:1:1:::\n" * 3)
    monkeypatch.setattr(accounts, "MAX_GROUPS", 3)
    files: dict[str, str | None] = {"/etc/passwd": "a::1:1\n" * 2, "/etc/group": "g:x:1:a\nh:x:2:a\n"}
    with pytest.raises(LimitReached):
        list(accounts.ACCOUNTS.inspect(tree(files)))


@given(st.lists(st.binary(max_size=60) | st.text("a:x0,*!$+-#\n/", max_size=40).map(str.encode), max_size=8))
def test_any_bytes_are_facts(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    for inspector in INSPECTORS:
        for fact in inspect(inspector, data, "text"):
            assert fact.line is not None
            assert fact.offset is not None
            assert data.count(b"\n", 0, fact.offset) + 1 == fact.line
