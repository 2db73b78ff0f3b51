"""Endpoints: what is an address, what only looks like one, and what is told of it."""

from __future__ import annotations

import contextlib
import ipaddress
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from publicsuffixlist import PublicSuffixList  # type: ignore[import-untyped]  # the oracle

from assay.facts.network import Endpoint
from assay.inspect import endpoints, scan
from assay.inspect.endpoints_tables import SCOPES, STEMS, WORDS_BEFORE, suffix_of
from assay.unpack.base import LimitReached
from tests.support.hostile import mangled
from tests.support.memory_tree import content_of, inspect


def find(data: bytes | str, kind: str | None = None) -> list[Endpoint]:
    found = inspect(endpoints.INSPECTOR, data.encode() if isinstance(data, str) else data, kind)
    assert all(isinstance(fact, Endpoint) for fact in found)
    return found  # type: ignore[return-value]


def values(data: bytes | str, kind: str | None = None) -> list[str]:
    return [fact.value for fact in find(data, kind)]


def test_a_url_in_a_binary() -> None:
    data = b"\x7fELF\0\1\2https://fota.vendor.com.cn:8443/v1/check?sn=%s&model=x#f\0x\0http://10.1.2.3/a\0"
    assert find(data) == [
        Endpoint(
            offset=7,
            kind="url",
            value="https://fota.vendor.com.cn:8443/v1/check",
            scheme="https",
            host="fota.vendor.com.cn",
            port=8443,
            domain="vendor.com.cn",
            suffix="com.cn",
            purpose="update",
            context="/fota.",
        ),
        Endpoint(
            offset=data.index(b"http://10"),
            kind="url",
            value="http://10.1.2.3/a",
            scheme="http",
            host="10.1.2.3",
            scope="private",
        ),
    ]


def test_settings_in_a_text_are_counted_once_with_their_lines() -> None:
    text = "[Time]\nNTP=0.pool.ntp.org\nFallbackNTP=time.vendor.de 0.pool.ntp.org\nname=x\n"
    assert find(text) == [
        Endpoint(
            offset=11, line=2, kind="host", value="0.pool.ntp.org", host="0.pool.ntp.org",
            domain="ntp.org", suffix="org", purpose="time", context="NTP", count=2,
        ),
        Endpoint(
            offset=38, line=3, kind="host", value="time.vendor.de", host="time.vendor.de",
            domain="vendor.de", suffix="de", purpose="time", context="FallbackNTP",
        ),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("see http://a.org/x).", "http://a.org/x"),
        ("(http://a.org/x_(y))", "http://a.org/x_(y)"),
        ("<http://user:secret@a.org/>", "http://a.org/"),
        ("[t](https://a.org/b)](https://c.org/)", "https://a.org/b"),
        (r"http://git\-scm.com/a\-b", "http://git-scm.com/a-b"),
        (r'"http:\/\/a.org\/x"', "http://a.org/x"),
        ("http://[2001:db8::1]:80/", "http://[2001:db8::1]:80/"),
        ("HTTPS://A.org", "https://A.org"),
        ("myproto://a.example.org/x", "myproto://a.example.org/x"),
        ("URL=http://%s:%d/update", "http://%s:%d/update"),
        ("https://${HOST}.vendor.com/x", "https://${HOST}.vendor.com/x"),
        ("xhttp://a.org", "http://a.org"),
    ],
)
def test_where_a_url_ends(text: str, value: str) -> None:
    assert values(text, "text")[0] == value


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc/passwd", "c://x y", "a = b ://c", "://", "http://", "http:///x", "foo://bar", "std::://x",
        "libfoo.so main.py a.out run.sh README.md x.pl lib.rs a.zip", "com.sun.x org.freedesktop.DBus.net",
        "java.net.Socket", "import os.path; self.net = x.org", "_ZN4boost3netE.com", "obj.com(1)", "VERSION.ORG",
        "version 1.2.3.4", "v1.2.3.4", "libfoo-1.2.3.4", "1.2.3.4-5", "1.2.3.4.5", "1.3.6.1.4.1.311", "OID 1.3.6.1",
        "256.1.1.1", "01.2.3.4", "0.0.0.0", "255.255.255.0", "(>= 10.2.3.4)", "Section 4.2.3.2", "std::abc::def",
        "12:34:56:78", "feed::add", "face:b00c", "getty@tty1.service", "foo@GLIBC_2.2.5", "aes256-gcm@openssh.com",
        "name@host", "a@b.so", "nodejs.org:node-version",
        '"zoo\n  at sourceforge.net"', "gitlab.com at x", "curve25519-sha256@libssh.org", "10.0.0.0.0/8",
        "joe at example.com>",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    for kind, data in (("text", text), ("script", f"x = {text}\n"), ("elf", f"\0{text}\0")):
        assert values(data, kind) == []


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("remote-ip 1.2.3.4", "text", ("ipv4", "1.2.3.4", "global")),
        ("nameserver 8.8.8.8\n", "text", ("ipv4", "8.8.8.8", "global")),
        ("\0" + "87.98.157.38" + "\0", "elf", ("ipv4", "87.98.157.38", "global")),
        ("x 192.168.1.1,", "text", ("ipv4", "192.168.1.1", "private")),
        ("x 1.2.3.4:5060;", "text", ("ipv4", "1.2.3.4:5060", "global")),
        ("allow 100.64.0.0/10", "text", ("ipv4", "100.64.0.0/10", "private")),
        ("addr=198.51.100.7", "text", ("ipv4", "198.51.100.7", "documentation")),
        ("group 239.1.1.1:5000", "text", ("ipv4", "239.1.1.1:5000", "multicast")),
        ("at 169.254.1.1", "text", ("ipv4", "169.254.1.1", "link-local")),
        ("broadcast 255.255.255.255", "text", None),
        ("bind 240.0.0.1", "text", ("ipv4", "240.0.0.1", "reserved")),
        ("dns 2001:4860:4860::8888\n", "text", ("ipv6", "2001:4860:4860::8888", "global")),
        ("x fe80::1%eth0", "text", ("ipv6", "fe80::1", "link-local")),
        ("x fd00:1::/64", "text", ("ipv6", "fd00:1::/64", "private")),
        ("x 2001:DB8::1", "text", ("ipv6", "2001:db8::1", "documentation")),
        ("http://localhost:80/", "text", ("url", "http://localhost:80/", "loopback")),
        ("http://master/x", "text", ("url", "http://master/x", "local")),
        ("server=mme.lan\n", "text", ("host", "mme.lan", "local")),
        ("x \"a.example.com\"", "text", ("host", "a.example.com", "documentation")),
        ("\0update.vendor.cn\0", "elf", ("host", "update.vendor.cn", "global")),
        ("mqtt.vendor.com:1883", "text", ("host", "mqtt.vendor.com:1883", "global")),
        ("<joe@vendor.de>", "text", ("mail", "joe@vendor.de", "global")),
        ("http://%s/x", "text", ("url", "http://%s/x", "unknown")),
    ],
)  # fmt: skip
def test_scopes(text: str, kind: str, expected: tuple[str, str, str] | None) -> None:
    assert [(f.kind, f.value, f.scope) for f in find(text, kind)] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("text", "purpose"),
    [
        ('<a xmlns="http://vendor.com/schema">', "namespace"),
        ("http://www.w3.org/2001/XMLSchema", "namespace"),
        ("x http://crl.vendor.com/root.crl", "certificate"),
        ("firmware_url=https://x.vendor.com/a", "update"),
        ("crash_report_host = https://x.vendor.com/a", "telemetry"),
        ("https://telemetry.vendor.com/v1", "telemetry"),
        ("license_server=https://x.vendor.com/a", "licence"),
        ("server 0.pool.ntp.org iburst", "time"),
        ("Report bugs to <https://x.vendor.com/a>", "documentation"),
        ("# http://x.vendor.com/a", "documentation"),
        ("deb http://x.vendor.com/a stable main", "update"),
        ("test_url=http://x.vendor.com/", "test"),
        ("callback=https://x.vendor.com/a", None),
    ],
)
def test_purposes(text: str, purpose: str | None) -> None:
    assert [fact.purpose for fact in find(text, "text")] == [purpose]


@pytest.mark.parametrize(
    ("head", "context"),
    [
        ('.\\" comment\n.TH X 1\n', "manual page"),
        ("pkg (1.0-1) unstable; urgency=low\n", "changelog"),
        ("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n", "copyright"),
        ("<!DOCTYPE html>\n", "web page"),
        ("It is a text that people read.\n" * 8, "prose"),
    ],
)
def test_contents_that_people_read(head: str, context: str) -> None:
    fact = find(f"{head}\nupdate from http://x.vendor.com/a\n", "text")[-1]
    assert (fact.value, fact.purpose, fact.context) == ("http://x.vendor.com/a", "documentation", context)


def test_settings_are_not_prose() -> None:
    fact = find("port=1\nname=x\nfirmware=http://x.vendor.com/a\n" * 5, "text")[-1]
    assert (fact.purpose, fact.count) == ("update", 5)


def test_suffixes_agree_with_the_lists_own_reader() -> None:
    oracle = PublicSuffixList(accept_unknown=False)
    chance = random.Random(1)
    endings = [
        "com",
        "co.uk",
        "com.cn",
        "ck",
        "www.ck",
        "kawasaki.jp",
        "city.kawasaki.jp",
        "github.io",
        "so",
        "lan",
        "us",
    ]
    endings += ["xn--p1ai", "compute.amazonaws.com", "s3.dualstack.eu-west-1.amazonaws.com", "k12.ca.us", "bd", "np"]
    for ending in endings:
        for _ in range(20):
            host = ".".join([*(chance.choice(("a", "www", "x-y")) for _ in range(chance.randrange(1, 4))), ending])
            assert suffix_of(host) == (oracle.privatesuffix(host), oracle.publicsuffix(host)), host


def test_certificates_in_a_binary() -> None:
    data = b"\x06\x01\x86\x18http://ocsp.vendor.com0\x1e\x06\x86\x1ahttp://crl.vendor.com/a.crl0\x0d"
    assert values(data, "data") == ["http://ocsp.vendor.com", "http://crl.vendor.com/a.crl"]
    assert values(b"\x0b\x147www.vendor.com/CPS incorp", "data") == []
    assert values(b"**--//3366::??DD \0//2668::=?\0", "elf") == []


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MAX_FACTS", 5)
    kept: list[Endpoint] = []
    data = b"".join(b"http://h%d.vendor.com/\n" % n for n in range(20))
    with pytest.raises(LimitReached):
        kept.extend(endpoints.INSPECTOR.inspect(content_of(endpoints.INSPECTOR, data)))
    assert len(kept) == 5
    monkeypatch.setattr(scan, "MAX_HITS", 3)
    with pytest.raises(LimitReached):
        find(data)


@pytest.mark.parametrize(
    "unit",
    [b"://a", b"://{", b"http://a:", b"a.com", b"a.com ", b"server=", b"1.1.1.1", b"2001:0:", b"a@bc.d", b"<" * 50 + b"://a",
     b"a." * 30 + b"com\n", b"\\-://a", b"a@" + b"b." * 60],
)  # fmt: skip
def test_repetition_stays_cheap(unit: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_HITS", 5_000)
    for kind in ("text", "elf"):
        begun = time.process_time()
        with contextlib.suppress(LimitReached):
            find(unit * (200_000 // len(unit)), kind)
        assert time.process_time() - begun < 2


def test_broken_contents_end_well() -> None:
    data = b"https://a.vendor.com:1/x\0server=b.org\0002001:db8::1\0addr 1.2.3.4\0joe@c.de\0http://[::1]/" * 3
    for variant in mangled(data, count=300):
        for kind in ("text", "elf"):
            find(variant, kind)


@settings(deadline=None)  # the first call compiles the expressions
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    find(b"http://" + data + b".com a@b.com 1.1.1.1")


@settings(deadline=None)
@given(st.one_of([st.from_regex(words) for _, words in WORDS_BEFORE]))
def test_what_shows_a_purpose_holds_one_of_the_stems(text: str) -> None:
    assert any(stem in text for stem in STEMS)


def test_an_address_for_every_scope() -> None:
    """All ranges begin and end where the standard module has them, whose answers differ between its versions."""
    scopes = {scope: [at for at, one in SCOPES if one == scope] for _, scope in SCOPES}
    assert [at for at, _ in SCOPES] == sorted({at for at, _ in SCOPES})
    for at in scopes["loopback"]:
        assert ipaddress.IPv4Address(at).is_loopback
        assert not ipaddress.IPv4Address(at - 1).is_loopback
    for at in scopes["private"]:
        if at != int(ipaddress.IPv4Address("100.64.0.0")):
            assert ipaddress.IPv4Address(at).is_private
    for at in scopes["global"]:
        assert ipaddress.IPv4Address(at).is_global
    assert all(ipaddress.IPv4Address(at).is_multicast for at in scopes["multicast"])
    assert all(ipaddress.IPv4Address(at).is_link_local for at in scopes["link-local"])
