"""lighttpd: directives, merging, conditions, includes, listeners; damaged and endless input."""

from __future__ import annotations

import contextlib
import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting
from assay.inspect import lighttpd, lighttpd_settings
from assay.unpack.base import UnpackError
from tests.support.memory_tree import MemoryTree, content_of, inspect

MAIN = "/etc/lighttpd/lighttpd.conf"


def tree(files: dict[str, str], *, unread: tuple[str, ...] = ()) -> MemoryTree:
    specs = {path: (0o644, 0, 0, text.encode()) for path, text in files.items()}
    return MemoryTree(specs, [lighttpd.INSPECTOR], unread=unread)


def rows(found: MemoryTree, subsystem: str, origin: str = "file") -> list[tuple[str, str, str, str | None, int | None]]:
    return [
        (fact.scope, fact.key, fact.value, fact.path, fact.line)
        for fact in lighttpd_settings.inspect(found)
        if isinstance(fact, Setting) and fact.subsystem == subsystem and fact.origin == origin
    ]


def test_directives_are_what_is_written() -> None:
    text = b"""server.modules = ( "mod_a", # first
  "mod_b",
)
server.port = 80 # x
var.x := "a" +
  "b#"
$HTTP["host"] =~ "a\\"b" {
  url.x += ( "/a" => ( "method" => "basic", "password" => "hunter2" ) )
  $HTTP["url"] =^ "/x" { dir-listing.activate = "enable" }
  else $HTTP["url"] == "/y" {
  }
}
else { a.b = 1 }
global { c.d = "e" }
include "conf.d/*.conf"
include_shell "/bin/x " + server.port
my.password = "abc"
"""
    host = '$HTTP["host"] =~ "a\\"b"'
    assert inspect(lighttpd.INSPECTOR, text) == [
        Directive(dialect="lighttpd", section=section, key=key, value=value, line=line)
        for key, section, value, line in [
            ("server.modules", None, '("mod_a", "mod_b",)', 1),
            ("server.port", None, "80", 4),
            ("var.x :=", None, '"a" + "b#"', 5),
            ('$HTTP["host"]', None, '=~ "a\\"b"', 7),
            ("url.x +=", host, '("/a" => ("method" => "basic", "password" => "[withheld]"))', 8),
            ('$HTTP["url"]', host, '=^ "/x"', 9),
            ("dir-listing.activate", f'{host} > $HTTP["url"] =^ "/x"', '"enable"', 9),
            ('else $HTTP["url"]', host, '== "/y"', 10),
            ("else", None, "", 13),
            ("a.b", "else", "1", 13),
            ("global", None, "", 14),
            ("c.d", "global", '"e"', 14),
            ("include", None, '"conf.d/*.conf"', 15),
            ("include_shell", None, '"/bin/x " + server.port', 16),
            ("my.password", None, "[withheld]", 17),
        ]
    ]


@pytest.mark.parametrize(
    ("text", "error", "before"),
    [
        ('a = 1\n$HTTP["x"] == "y" {\n', "line 3: the file ends within a block or value", 2),
        ("a = 1\n}", "line 2: unexpected '}'", 1),
        ('a = 1\nb = "c', "line 2: not a configuration", 1),
        ("a = 1\nb c d\n", "line 2: not a directive: b", 1),
        ("a = 1\nb {\n}", "line 2: not a condition: b", 1),
        ("global {\n" * 40, "line 33: unexpected '{'", 32),
        ("a=1\n" * 50_001, "line 50001: more than 50000 directives", 50_000),
    ],
)
def test_what_is_no_configuration_is_said(text: str, error: str, before: int) -> None:
    facts: list[Directive] = []
    with pytest.raises(ValueError, match=re.escape(error)):
        for fact in lighttpd.inspect(content_of(lighttpd.INSPECTOR, text.encode())):
            facts.append(fact)  # noqa: PERF402 - what stands before the error counts
    assert len(facts) == before


def test_settings_are_merged_as_the_server_merges_them() -> None:
    found = tree(
        {
            MAIN: 'var.root = "/srv"\nserver.document-root = var.root + "/www"\nserver.port = 8080\n'
            'server.tag = ""\nindex-file.names = ("a")\ninclude "conf.d/*.conf"\nserver.port = 8081\n'
            'ssl.pemfile = "/p"\n',
            "/etc/lighttpd/conf.d/x.conf": '$HTTP["host"] == "a" {\nindex-file.names += ("b")\n'
            '$HTTP["url"] =~ "^/d" {\ndir-listing.activate = "enable"\n}\n}\n'
            'global {\ncgi.assign = (".cgi" => "/usr/bin/perl", ".sh" => "")\n}\n'
            '$SERVER["socket"] == "[::]:443" {\nssl.engine = "enable"\n'
            'ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "TLSv1", "MaxProtocol" => "TLSv1.2", '
            '"Options" => "-SessionTicket")\n'
            'setenv.add-response-header = ("X-A" => "1")\n}\n',
        }
    )
    x = "/etc/lighttpd/conf.d/x.conf"
    host, socket = '$HTTP["host"] == "a"', '$SERVER["socket"] == "[::]:443"'
    command = '("MinProtocol" => "TLSv1", "MaxProtocol" => "TLSv1.2", "Options" => "-SessionTicket")'
    assert rows(found, "lighttpd") == [
        ("", "server.port", "8081", MAIN, 7),
        ("", "server.document-root", '"/srv/www"', MAIN, 2),
        ("", "server.tag", '""', MAIN, 4),
        ("", "index-file.names", '("a")', MAIN, 5),
        ("", "cgi.assign", '(".cgi" => "/usr/bin/perl", ".sh" => "")', x, 8),
        ("", "ssl.pemfile", '"/p"', MAIN, 8),
        (host, "index-file.names", '("a", "b")', x, 2),
        (f'{host} and $HTTP["url"] =~ "^/d"', "dir-listing.activate", '"enable"', x, 4),
        (socket, "ssl.engine", '"enable"', x, 11),
        (socket, "ssl.openssl.ssl-conf-cmd", command, x, 12),
        (socket, "setenv.add-response-header", '("X-A" => "1")', x, 13),
    ]
    assert rows(found, "web") == [
        ("lighttpd", "document-root", "/srv/www", MAIN, 2),
        ("lighttpd", "server-header", "none", MAIN, 4),
        ("lighttpd", "scripts", "cgi .cgi /usr/bin/perl", x, 8),
        ("lighttpd", "scripts", "cgi .sh", x, 8),
        (f'lighttpd {host} and $HTTP["url"] =~ "^/d"', "directory-listing", "on", x, 4),
        (f"lighttpd {socket}", "header x-a", "1", x, 13),
    ]
    assert rows(found, "tls") == [
        (f"lighttpd {socket}", "protocols", "TLSv1 TLSv1.1 TLSv1.2", x, 12),
        (f"lighttpd {socket}", "session-tickets", "off", x, 12),
        (f"lighttpd {socket}", "certificate", "/p", MAIN, 8),
    ]
    assert [fact for fact in lighttpd_settings.inspect(found) if isinstance(fact, Listener)] == [
        Listener(
            program="lighttpd",
            protocol="tcp",
            address="0.0.0.0",
            port=8081,
            purpose="http",
            tls=False,
            path=MAIN,
            line=7,
        ),
        Listener(
            program="lighttpd", protocol="tcp", address="::", port=443, purpose="https", tls=True, path=x, line=10
        ),
    ]


@pytest.mark.parametrize(
    "line", ['include "/etc/lighttpd/x.conf"', 'include "/opt/x"', 'include "absent.conf"', 'include_shell "/bin/x"',
             "include env.HOME"]
)  # fmt: skip
def test_what_could_not_be_read_is_said_and_no_default_told(line: str) -> None:
    found = tree(
        {MAIN: f"{line}\nserver.port = 81\n", "/etc/lighttpd/x.conf": "a.b = 1\n", "/opt/x": "a.b = 1\n"},
        unread=("/etc/lighttpd/x.conf",),
    )
    facts: list[object] = []
    with pytest.raises(ValueError, match=f"^{MAIN}:1: "):
        for fact in lighttpd_settings.inspect(found):
            facts.append(fact)  # noqa: PERF402 - what stands before the error counts
    assert facts == [
        Setting(subsystem="lighttpd", key="server.port", value="81", origin="file", path=MAIN, line=2),
        Listener(
            program="lighttpd", protocol="tcp", address="0.0.0.0", port=81, purpose="http", tls=False, path=MAIN, line=2
        ),
    ]


def test_includes_and_texts_that_grow_end() -> None:
    with pytest.raises(UnpackError):
        list(lighttpd_settings.inspect(tree({MAIN: 'include "lighttpd.conf"\n' * 4})))
    before = time.process_time()
    list(lighttpd_settings.inspect(tree({MAIN: 'var.a = "aaaa"\n' + "var.a = var.a + var.a\n" * 200})))
    list(lighttpd_settings.inspect(tree({MAIN: 'a.b = ("aaaaaaaa")\n' + 'a.b += ("aaaaaaaa")\n' * 5000})))
    assert time.process_time() - before < 4


SAMPLE = b"""server.modules += ( "a" )
include "/etc/lighttpd/*.conf"
$SERVER["socket"] == ":443" { ssl.engine = "enable"
 ssl.openssl.ssl-conf-cmd = ("Protocol" => "ALL, -TLSv1", "Options" => "x") }
$HTTP["url"] =~ "x" { auth.require = ( "" => ( "method" => "basic", "realm" => "r" ) ) }
else $HTTP["url"] =~ "y" { a.b = 1 + 2 + var.x } else { c.d = "e" }
fastcgi.server = ( ".php" => (( "socket" => "/x" )) )
"""


def look_at(data: bytes) -> None:
    found = MemoryTree({MAIN: (0o644, 0, 0, data)}, [lighttpd.INSPECTOR])
    for _, _, error in found.failures:
        assert isinstance(error, ValueError), error
    with contextlib.suppress(ValueError, UnpackError):
        list(lighttpd_settings.inspect(found))


def test_damage() -> None:
    rng = random.Random(3)
    for cut in range(0, len(SAMPLE), 5):
        look_at(SAMPLE[:cut])
    for _ in range(80):
        data = bytearray(SAMPLE)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        look_at(bytes(data))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300) | st.lists(st.sampled_from(SAMPLE.split(b" ")), max_size=40).map(b" ".join))
def test_anything(data: bytes) -> None:
    look_at(data)


@pytest.mark.parametrize(
    "unit", [b"a", b"a = (\n", b'"', b"a = b + ", b"a += 1\n", b'a = "b" + var.a\n', b"( ", b"# \n"]
)
def test_time_stays_in_bounds(unit: bytes) -> None:
    before = time.process_time()
    look_at(unit * ((1 << 18) // len(unit)))
    assert time.process_time() - before < 4
