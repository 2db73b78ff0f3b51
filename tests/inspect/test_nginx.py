"""nginx: directives, effective settings by server and location, listeners; damaged and endless input."""

from __future__ import annotations

import contextlib
import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.facts.network import Listener
from assay.facts.package import Package
from assay.facts.service import Directive, Setting
from assay.inspect import nginx, nginx_settings
from assay.inspect.base import ContentInspector
from assay.unpack.base import UnpackError
from tests.support.memory_tree import MemoryTree, content_of, inspect

MAIN = "/etc/nginx/nginx.conf"


def tree(files: dict[str, str], *, unread: tuple[str, ...] = (), version: str | None = None) -> MemoryTree:
    inspectors = [nginx.INSPECTOR]
    specs: dict[str, tuple[int, int, int, bytes | str | None]] = {
        path: (0o644, 0, 0, text.encode()) for path, text in files.items()
    }
    if version:
        specs["/var/lib/dpkg/status"] = (0o644, 0, 0, b"status")
        inspectors.append(
            ContentInspector(
                name="test-package",
                version=1,
                families=(Package,),
                inspect=lambda _: [Package(manager="dpkg", name="nginx", version=version)],
                wants_path=lambda path: path == "/var/lib/dpkg/status",
            )
        )
    return MemoryTree(specs, inspectors, unread=unread)


def rows(found: MemoryTree, subsystem: str, origin: str = "file") -> list[tuple[str, str, str, str | None, int | None]]:
    return [
        (fact.scope, fact.key, fact.value, fact.path, fact.line)
        for fact in nginx_settings.inspect(found)
        if isinstance(fact, Setting) and fact.subsystem == subsystem and fact.origin == origin
    ]


def test_directives_are_what_is_written() -> None:
    text = rb"""
user  www-data   adm; # comment
http { add_header X "a;b{\"c" always; map $a $b { default 1; "~x{2}" y; }
  server { listen 80; location ~ \.(php|cgi)$ { set $api_token abc123; proxy_set_header Authorization "Basic QQ==";
    proxy_pass http://u:secret@h/${x}y; content_by_lua_block { ngx.say("}") -- }
    local t = {} } } }
  server {
  }
}
"""
    place = "http > server"
    location = rf"{place} > location ~ \.(php|cgi)$"
    rest = [
        ("http", None, "", 3),
        ("add_header", "http", r'X "a;b{\"c" always', 3),
        ("map", "http", "$a $b", 3),
        ("server", "http", "", 4),
        ("listen", place, "80", 4),
        ("location", place, r"~ \.(php|cgi)$", 4),
        ("set", location, "$api_token [withheld]", 4),
        ("proxy_set_header", location, "Authorization [withheld]", 4),
        ("proxy_pass", location, "http://u:[withheld]@h/${x}y", 5),
        ("content_by_lua_block", location, "", 5),
        ("server", "http", "", 7),
    ]
    assert inspect(nginx.INSPECTOR, text) == [
        Directive(dialect="nginx", section=section, key=key, value=value, line=line)
        for key, section, value, line in [("user", None, "www-data adm", 2), *rest]
    ]


@pytest.mark.parametrize(
    ("text", "error", "before"),
    [
        ("a b;\nc {\nd", "line 3: the file ends within a directive or block", 2),
        ("a b; }", "line 1: unexpected '}'", 1),
        ("{{ x }}", "line 1: unexpected '{'", 0),
        ('a b;\nc "d', "line 2: a quoted text or an escape has no end", 1),
        ("a {" * 40, "line 1: more than 32 blocks in blocks", 33),
        ("x_by_lua_block { {", "line 1: a block of Lua code has no end", 1),
        ("a;" * 50_001, "line 1: more than 50000 directives", 50_000),
    ],
)
def test_what_is_no_configuration_is_said(text: str, error: str, before: int) -> None:
    facts: list[Directive] = []
    with pytest.raises(ValueError, match=re.escape(error)):
        for fact in nginx.inspect(content_of(nginx.INSPECTOR, text.encode())):
            facts.append(fact)  # noqa: PERF402 - what stands before the error counts
    assert len(facts) == before


def test_settings_are_inherited_as_documented() -> None:
    found = tree(
        {
            MAIN: "user www web;\nhttp {\nserver_tokens off;\nadd_header X-A 1;\nautoindex on;\n"
            "include conf.d/*.conf;\n}\n",
            "/etc/nginx/conf.d/a.conf": "server {\nlisten 443 ssl;\nlisten unix:/run/x;\nserver_name a.example b;\n"
            "ssl_protocols TLSv1 TLSv1.2;\nssl_certificate_key /k;\nroot /srv;\n"
            "location /x {\nadd_header X-B 2;\nautoindex off;\nlimit_except GET { deny all; }\n"
            "location /x/y { fastcgi_pass unix:/f; }\n}\n}\n",
            "/etc/nginx/conf.d/.hidden.conf": "server { listen 1; }",
        }
    )
    a = "/etc/nginx/conf.d/a.conf"
    server = "server a.example:443"
    assert rows(found, "nginx") == [
        ("", "user", "www web", MAIN, 1),
        (server, "autoindex", "on", MAIN, 5),
        (server, "root", "/srv", a, 7),
        (server, "server_tokens", "off", MAIN, 3),
        (server, "add_header", "X-A 1", MAIN, 4),
        (server, "listen", "443 ssl", a, 2),
        (server, "listen", "unix:/run/x", a, 3),
        (server, "server_name", "a.example b", a, 4),
        (server, "ssl_protocols", "TLSv1 TLSv1.2", a, 5),
        (server, "ssl_certificate_key", "/k", a, 6),
        (f"{server} location /x", "autoindex", "off", a, 10),
        (f"{server} location /x", "add_header", "X-B 2", a, 9),
        (f"{server} location /x limit_except GET", "deny", "all", a, 11),
        (f"{server} location /x location /x/y", "fastcgi_pass", "unix:/f", a, 12),
    ]
    whole = f"nginx {server}"
    assert rows(found, "web") == [
        ("nginx", "user", "www", MAIN, 1),
        ("nginx", "group", "web", MAIN, 1),
        (whole, "directory-listing", "on", MAIN, 5),
        (whole, "document-root", "/srv", a, 7),
        (whole, "server-header", "name", MAIN, 3),
        (whole, "header x-a", "1", MAIN, 4),
        (f"{whole} location /x", "directory-listing", "off", a, 10),
        (f"{whole} location /x", "header x-b", "2", a, 9),
        (f"{whole} location /x", "methods", "GET HEAD", a, 11),
        (f"{whole} location /x", "header x-a", "", a, 9),
        (f"{whole} location /x location /x/y", "scripts", "fastcgi unix:/f", a, 12),
    ]
    assert rows(found, "tls") == [(whole, "key", "/k", a, 6), (whole, "protocols", "TLSv1 TLSv1.2", a, 5)]
    assert [fact for fact in nginx_settings.inspect(found) if isinstance(fact, Listener)] == [
        Listener(
            program="nginx", protocol="tcp", address="0.0.0.0", port=443, purpose="https", tls=True, path=a, line=2
        ),
        Listener(program="nginx", protocol="unix", address="/run/x", purpose="https", tls=True, path=a, line=3),
    ]


@pytest.mark.parametrize(
    ("version", "protocols"),
    [
        ("1.22.1-9+deb12u1", "TLSv1 TLSv1.1 TLSv1.2"),
        ("1.26.0", "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3"),
        ("1.28.0", "TLSv1.2 TLSv1.3"),
        ("9.0.0", None),
        (None, None),
    ],
)
def test_defaults_follow_the_version(version: str | None, protocols: str | None) -> None:
    found = tree({MAIN: "http { server { listen 443 ssl; } }"}, version=version)
    said = {key: value for _, key, value, _, _ in rows(found, "tls", "default")}
    assert said.get("protocols") == protocols
    assert said.get("ciphers") == (None if version == "9.0.0" else "HIGH:!aNULL:!MD5")


@pytest.mark.parametrize("how", ["unread", "elsewhere", "absent"])
def test_what_a_file_not_read_could_have_changed_is_not_said(how: str) -> None:
    include = {"unread": "/etc/nginx/x.conf", "elsewhere": "/opt/x", "absent": "/run/nginx/x.conf"}[how]
    files = {MAIN: f"http {{ autoindex on; server_tokens off; server {{ include {include}; server_tokens on; }} }}"}
    if how != "absent":
        files[include] = "autoindex off;"
    found = tree(files, unread=(include,) if how == "unread" else ())
    facts: list[object] = []
    with pytest.raises(ValueError, match=f"{MAIN}:1: {include} "):
        for fact in nginx_settings.inspect(found):
            facts.append(fact)  # noqa: PERF402 - what stands before the error counts
    assert [(fact.subsystem, fact.key, fact.value) for fact in facts if isinstance(fact, Setting)] == [
        ("nginx", "server_tokens", "on"),
        ("web", "server-header", "version"),
    ]
    assert not any(isinstance(fact, Listener) for fact in facts)  # the file may say what the server listens on


def test_another_configuration_holds_for_a_server_started_with_it() -> None:
    found = tree({"/opt/web/nginx.conf": "http { server { listen [::1]:81; } }"})
    assert rows(found, "nginx") == [
        ("nginx -c /opt/web/nginx.conf server _:81", "listen", "[::1]:81", "/opt/web/nginx.conf", 1)
    ]
    assert list(nginx_settings.inspect(tree({"/usr/share/doc/nginx.conf": "http { server { } }"}))) == []


def test_includes_that_include_themselves_end() -> None:
    found = tree({MAIN: "include nginx.conf;\n" * 4 + "user a;"})
    with pytest.raises(UnpackError):
        list(nginx_settings.inspect(found))
    many = tree({MAIN: "http { server { " + "location /x { autoindex on; }\n" * 20_000 + "} }"})
    before = time.process_time()
    assert len(list(nginx_settings.inspect(many))) < 50_000
    assert time.process_time() - before < 5


SAMPLE = rb"""user a;
http { include /etc/nginx/*.conf; add_header X "a b"; server { listen 443 ssl; ssl_protocols TLSv1;
location ~ \.x$ { deny all; if ($a = b) { return 1; } limit_except GET { deny all; } } } }
stream { server { listen [::]:1 udp; } } # c
"""


def look_at(data: bytes) -> None:
    found = MemoryTree({MAIN: (0o644, 0, 0, data)}, [nginx.INSPECTOR])
    for _, _, error in found.failures:
        assert isinstance(error, ValueError), error
    with contextlib.suppress(ValueError, UnpackError):
        list(nginx_settings.inspect(found))


def test_damage() -> None:
    rng = random.Random(7)
    for cut in range(0, len(SAMPLE), 3):
        look_at(SAMPLE[:cut])
    for _ in range(100):
        data = bytearray(SAMPLE)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        look_at(bytes(data))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300) | st.lists(st.sampled_from(SAMPLE.split(b" ")), max_size=40).map(b" ".join))
def test_anything(data: bytes) -> None:
    look_at(data)


@pytest.mark.parametrize("unit", [b"a", b"\\a", b'"', b"'x' ", b"${", b"# \n", b"a{", b"a;", b" ", b"a {}", b"set a "])
def test_time_stays_in_bounds(unit: bytes) -> None:
    data = unit * ((1 << 18) // len(unit))
    before = time.process_time()
    with contextlib.suppress(ValueError):
        inspect(nginx.INSPECTOR, data)
    assert time.process_time() - before < 3
