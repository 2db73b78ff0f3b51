"""Known passwords: hashes that real programs made, costs that are not paid, and what is said of what was not tried."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import shutil
import subprocess
import time

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.facts.access import KnownPassword
from assay.inspect import known_passwords, password_check
from assay.inspect.known_passwords import ORIGIN, NotTried, Secret, candidates, entries, known
from assay.inspect.password_check import fits, milliseconds
from assay.inspect.password_format import Password, read
from assay.unpack.base import LimitReached, Unsupported
from tests.support.hostile import mangled
from tests.support.memory_tree import content_of, inspect

known_passwords.prepare()

needs_crypt = pytest.mark.skipif(milliseconds("md5crypt", "") is None, reason="needs crypt(3) with crypt_r")


def line_of(account: str, password: str) -> int:
    return dict(candidates(account))[password]


def openssl(scheme: str, password: str) -> str:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    return subprocess.run(
        ["openssl", "passwd", f"-{scheme}", "-stdin"], input=password, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_list_is_sound() -> None:
    found = entries()
    assert len(found) > 120
    assert len({(entry.account, entry.password) for entry in found}) == len(found)
    text = known_passwords.LIST.read_text()
    lines = text.splitlines()
    named = {line.split()[1] for line in lines if line.startswith("#   ")}
    used = {line.split("\t")[2] for line in lines if not line.startswith("#")}
    assert used == named, "each source is explained, and used"
    assert f"Version {ORIGIN.split()[1]}" in text
    for wanted in (
        "root/root",
        "admin/admin",
        "admin/1423",
        "admin/free5gc",
        "pi/raspberry",
        "root/toor",
        "root/calvin",
    ):
        account, password = wanted.split("/")
        assert password in dict(candidates(account)), wanted
    assert {"", "password", "123456"} <= dict(candidates("anyone")).keys()


@needs_crypt
@pytest.mark.parametrize(
    ("option", "scheme"), [("1", "md5crypt"), ("5", "sha256crypt"), ("6", "sha512crypt"), ("apr1", "apr1")]
)
def test_hashes_of_openssl(option: str, scheme: str) -> None:
    value = openssl(option, "toor")
    text = f"# accounts\nroot:{value}:19000:0:99999:7:::\n"
    expected = KnownPassword(
        account="root",
        scheme=scheme,
        fingerprint=hashlib.sha256(value.encode()).hexdigest(),
        origin=ORIGIN,
        entry=line_of("root", "toor"),
        offset=text.index(value),
        line=2,
    )
    assert inspect(known_passwords.INSPECTOR, text.encode()) == [expected]
    assert inspect(known_passwords.INSPECTOR, f"x root:{openssl(option, 'Xq7-unlisted')}".encode()) == []


@needs_crypt
def test_hashes_of_mkpasswd() -> None:
    if shutil.which("mkpasswd") is None:
        pytest.skip("needs mkpasswd")
    for method in ("descrypt", "bsdicrypt", "bcrypt", "scrypt", "yescrypt", "gost-yescrypt", "nt", "sunmd5"):
        cost = {"bcrypt": ["-R", "5"], "yescrypt": ["-R", "1"], "gost-yescrypt": ["-R", "1"]}.get(method, [])
        value = subprocess.run(
            ["mkpasswd", "-m", method, *cost, "calvin"], capture_output=True, text=True, check=True
        ).stdout.strip()
        scheme = read(value, short=True).scheme
        assert scheme == method
        cost_ms = milliseconds(scheme, value)
        assert cost_ms is not None
        assert cost_ms < 300
        begun = time.process_time()
        assert fits(scheme, value, "calvin")
        assert time.process_time() - begun < 10 * cost_ms / 1000 + 0.05
        assert not fits(scheme, value, "Calvin")


@needs_crypt
def test_fields_of_shadow_are_tried_traditional_hashes_too() -> None:
    empty = password_check._crypt[0]("", "$1$salt$")
    text = (
        f"root:{empty}:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n"
        "old:ab6TRGT20sY26:19000:0:99999:7:::\nlocked:!ab6TRGT20sY26:19000::::::\n"
    )
    found = inspect(known_passwords.INSPECTOR, text.encode())
    assert sorted((f.account, f.scheme, f.entry, f.empty, f.line) for f in found if isinstance(f, KnownPassword)) == [
        ("locked", "descrypt", line_of("locked", "root"), False, 4),
        ("old", "descrypt", line_of("old", "root"), False, 3),
        ("root", "md5crypt", line_of("root", ""), True, 1),
    ]
    (locked,) = (f for f in found if isinstance(f, KnownPassword) and f.account == "locked")
    assert locked.offset == text.index("ab6", text.index("locked"))


def test_clear_passwords() -> None:
    secrets = [
        Secret("admin", "clear", "1423", 4, 2),
        Secret("x", "clear", "x"),
        Secret("admin", "clear", "unlisted-1"),
        Secret("", "clear", ""),
    ]
    assert [(f.account, f.scheme, f.entry, f.offset, f.line) for f in known(secrets)] == [
        ("admin", "clear", line_of("admin", "1423"), 4, 2),
        ("x", "clear", line_of("x", "x"), None, None),
    ]


SALTED = hashlib.sha1(b"admin" + b"salt").digest() + b"salt"


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("21232f297a57a5a743894a0e4a801fc3", "hex-128"),
        (hashlib.sha1(b"admin").hexdigest().upper(), "hex-160"),
        (hashlib.sha256(b"admin").hexdigest(), "hex-256"),
        (hashlib.sha512(b"admin").hexdigest(), "hex-512"),
        ("{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=", "ldap-sha"),
        ("{SSHA}" + base64.b64encode(SALTED).decode(), "ldap-ssha"),
        ("*4ACFE3202A5FF5CF467898FC58AAB1D615029441", "mysql41"),
        ("md5" + hashlib.md5(b"adminadmin").hexdigest(), "postgres-md5"),
        ("sha1$abc$" + hashlib.sha1(b"abcadmin").hexdigest(), "salted-hex"),
        (
            "pbkdf2_sha256$1000$abc$"
            + base64.b64encode(hashlib.pbkdf2_hmac("sha256", b"admin", b"abc", 1000)).decode(),
            "pbkdf2",
        ),
        ("pbkdf2:sha256:1000$abc$" + hashlib.pbkdf2_hmac("sha256", b"admin", b"abc", 1000).hex(), "pbkdf2"),
        ("scrypt:2048:8:1$abc$" + hashlib.scrypt(b"admin", salt=b"abc", n=2048, r=8, p=1).hex(), "scrypt-phc"),
    ],
)
def test_hashes_of_applications(text: str, scheme: str) -> None:
    assert read(text) == Password("hash", scheme, text)
    assert [(f.scheme, f.entry) for f in known([Secret("admin", scheme, text)])] == [
        (scheme, line_of("admin", "admin"))
    ]
    assert not fits(scheme, text, "Admin", "admin")


def test_bcrypt_as_another_implementation_makes_it() -> None:
    value = bcrypt.hashpw(b"raspberry", bcrypt.gensalt(4)).decode()
    if milliseconds("bcrypt", value) is None:
        pytest.skip("needs crypt(3)")
    assert [f.entry for f in known([Secret("pi", "bcrypt", value)])] == [line_of("pi", "raspberry")]


def test_what_cannot_be_computed_is_named_after_what_was_found() -> None:
    argon = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b0dWRWJTmaaeEwrrRnIb2ZF0/o"
    found = []
    with pytest.raises(Unsupported, match="argon2"):
        found.extend(known([Secret("a", "argon2", argon), Secret("admin", "clear", "admin")]))
    assert len(found) == 1


@needs_crypt
@pytest.mark.parametrize(
    "text",
    [
        "$6$rounds=999999999$saltsalt$" + "a" * 86,
        "$5$rounds=999999999$saltsalt$" + "a" * 43,
        "$2b$31$" + "a" * 53,
        "$y$jFT$" + "a" * 22 + "$" + "a" * 43,
        "$y$zzzzzz$" + "a" * 22 + "$" + "a" * 43,
        "$7$zzzzzzzzzzzzzzz$" + "a" * 43,
        "$md5,rounds=4294963199$salt$" + "a" * 22,
        "_zzzz" + "a" * 15,
    ],
)
def test_hashes_that_ask_for_hours_are_not_computed(text: str) -> None:
    scheme = read(text, short=True).scheme
    assert scheme is not None
    begun = time.process_time()
    with pytest.raises(NotTried, match=f"too slow to compute, not tried: {scheme}"):
        list(known([Secret("root", scheme, text)]))
    assert time.process_time() - begun < 0.5


@needs_crypt
def test_time_for_one_content_is_limited_and_likely_passwords_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_passwords, "CPU_SECONDS", 0.3)
    unknown = openssl("6", "Xq7-unlisted")
    secrets = [Secret(f"u{number}", "sha512crypt", f"{unknown[:-2]}{number:02}") for number in range(40)]
    hit = Secret("root", "sha512crypt", openssl("6", "root"))
    found = []
    begun = time.process_time()
    with pytest.raises(
        NotTried, match=r"known_password_cpu_seconds 0.3: 40 hashes tried with the first \d+ of"
    ) as seen:
        found.extend(known([*secrets, hit]))
    assert time.process_time() - begun < 1
    assert isinstance(seen.value, LimitReached)
    assert [f.account for f in found] == ["root"]
    monkeypatch.setattr(known_passwords, "CPU_SECONDS", 60)
    monkeypatch.setattr(known_passwords, "MAX_SECRETS", 3)
    cheap = [Secret(f"u{number}", "hex-128", f"{number:032x}") for number in range(5)]
    with pytest.raises(NotTried, match="2 hashes not tried"):
        list(known(cheap))


def test_no_fact_holds_a_password() -> None:
    found = list(known([Secret("admin", "clear", "changeme")]))
    assert "changeme" not in repr(found)


def test_without_crypt_the_schemes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_check, "_crypt", [])
    with pytest.raises(Unsupported, match="sha512crypt"):
        list(known([Secret("root", "sha512crypt", "$6$a$" + "a" * 86)]))


def test_broken_hashes_end_well() -> None:
    good = b"root:$6$saltsalt$" + b"a" * 86 + b":19000:0:99999:7:::\nx:$y$j75$abcdefgh$" + b"a" * 43 + b"\n"
    for number, variant in enumerate(mangled(good, count=60)):
        begun = time.process_time()
        content = content_of(known_passwords.INSPECTOR, variant, "text")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(known_passwords, "CPU_SECONDS", 0.02)
            with contextlib.suppress(LimitReached, Unsupported):
                list(known_passwords.INSPECTOR.inspect(content))
        assert time.process_time() - begun < 1, number


@given(
    st.sampled_from(sorted({*password_check.CRYPT, "pbkdf2", "scrypt-phc", "apr1", "ldap-ssha"})), st.text(max_size=60)
)
def test_any_text_as_a_hash(scheme: str, text: str) -> None:
    try:
        cost = milliseconds(scheme, text)
    except (ValueError, IndexError):
        return
    if cost is not None and cost < 1:
        fits(scheme, text, "x")
