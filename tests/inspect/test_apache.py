"""Apache HTTP Server: directives, conditions, merging by server and directory, .htaccess; damaged and endless input."""

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
from assay.inspect import apache, apache_settings
from assay.unpack.base import UnpackError
from tests.support.memory_tree import MemoryTree, content_of, inspect

MAIN = "/etc/apache2/apache2.conf"


def tree(files: dict[str, str], *, unread: tuple[str, ...] = ()) -> MemoryTree:
    specs = {path: (0o644, 0, 0, text.encode()) for path, text in files.items()}
    return MemoryTree(specs, [apache.INSPECTOR], unread=unread)


def rows(found: MemoryTree, subsystem: str, origin: str = "file") -> list[tuple[str, str, str, str | None, int | None]]:
    return [
        (fact.scope, fact.key, fact.value, fact.path, fact.line)
        for fact in apache_settings.inspect(found)
        if isinstance(fact, Setting) and fact.subsystem == subsystem and fact.origin == origin
    ]


def test_directives_are_what_is_written() -> None:
    text = b"""# comment \\
continued comment
Listen 80
  DocumentRoot\t"/var/www/x y" \\
   z
<VirtualHost *:443>
<IfModule mod_ssl.c>
SSLEngine on
</ifmodule>
SetEnv DB_PASSWORD hunter2
AuthLDAPBindPassword abc
RequestHeader set Authorization "Basic x"
</VirtualHost>
ProxyPass / http://u:pw@h/
"""
    host, inner = "<virtualhost *:443", "<virtualhost *:443 > <ifmodule mod_ssl.c"
    assert inspect(apache.INSPECTOR, text) == [
        Directive(dialect="apache", section=section, key=key, value=value, line=line)
        for key, section, value, line in [
            ("listen", None, "80", 3),
            ("documentroot", None, '"/var/www/x y"    z', 4),
            ("<virtualhost", None, "*:443", 6),
            ("<ifmodule", host, "mod_ssl.c", 7),
            ("sslengine", inner, "on", 8),
            ("setenv", host, "DB_PASSWORD [withheld]", 10),
            ("authldapbindpassword", host, "[withheld]", 11),
            ("requestheader", host, "set Authorization [withheld]", 12),
            ("proxypass", None, "/ http://u:[withheld]@h/", 14),
        ]
    ]
    variables = inspect(
        apache.INSPECTOR, b"unset HOME\nexport APACHE_RUN_USER=www # c\nSUFFIX=\nif x; then\nA=$(id)\nfi\n"
    )
    assert [(fact.dialect, fact.key, fact.value) for fact in variables if isinstance(fact, Directive)] == [
        ("apache-envvars", "APACHE_RUN_USER", "www"),
        ("apache-envvars", "SUFFIX", ""),
        ("apache-envvars", "A", "$(id)"),
    ]


@pytest.mark.parametrize(
    ("text", "error", "before"),
    [
        ("A 1\n<B x>\n", "the file ends within a section or line", 2),
        ("A 1\n</B>\n", "line 2: </b> without its beginning", 1),
        ("<A", "line 1: a section without '>'", 0),
        ("A 1\n{% x %}", "line 2: not a directive", 1),
        ("<A x>\n" * 40, "line 33: more than 32 sections in sections", 33),
        ("A\n" * 50_001, "line 50001: more than 50000 directives", 50_000),
    ],
)
def test_what_is_no_configuration_is_said(text: str, error: str, before: int) -> None:
    facts: list[Directive] = []
    with pytest.raises(ValueError, match=re.escape(error)):
        for fact in apache.inspect(content_of(apache.INSPECTOR, text.encode())):
            facts.append(fact)  # noqa: PERF402 - what stands before the error counts
    assert len(facts) == before


def test_conditions_variables_and_includes() -> None:
    found = tree(
        {
            "/etc/apache2/envvars": "export APACHE_RUN_USER=www-data\nSUFFIX=\nexport APACHE_RUN_DIR=/run/a$SUFFIX\n",
            MAIN: "User ${APACHE_RUN_USER}\nDefine ROOT /srv\nIncludeOptional mods/*.conf\nInclude ports.conf\n"
            "<IfModule !mod_a.c>\nTimeout 1\n</IfModule>\n<IfModule a_module>\nTimeout 2\n</IfModule>\n"
            "<IfDefine ROOT>\nDocumentRoot ${ROOT}/${NONE}\n</IfDefine>\n<IfDefine !ROOT>\nTimeout 3\n</IfDefine>\n"
            "PidFile ${APACHE_RUN_DIR}/pid\nIncludeOptional nothing/*.conf\n"
            "<IfVersion >= 2.4>\nKeepAlive Off\n</IfVersion>\n",
            "/etc/apache2/mods/a.conf": "LoadModule a_module mod_a.so\nTimeout 9\n",
            "/etc/apache2/ports.conf": "Listen 127.0.0.1:81\n",
        }
    )
    assert rows(found, "apache") == [
        ("", "user", "www-data", MAIN, 1),
        ("", "loadmodule", "a_module mod_a.so", "/etc/apache2/mods/a.conf", 1),
        ("", "timeout", "2", MAIN, 9),
        ("", "listen", "127.0.0.1:81", "/etc/apache2/ports.conf", 1),
        ("", "documentroot", "/srv/${NONE}", MAIN, 12),
        ("", "pidfile", "/run/a/pid", MAIN, 17),
        ("", "keepalive", "Off", MAIN, 20),
    ]
    by_key = {fact.key: fact for fact in apache_settings.inspect(found) if isinstance(fact, Setting)}
    assert by_key["timeout"].basis == "overrides /etc/apache2/mods/a.conf:2"
    assert by_key["keepalive"].basis == "if ifversion >= 2.4 holds"
    assert not rows(found, "apache", "default")  # a condition could not be tried


def test_servers_directories_and_htaccess() -> None:
    found = tree(
        {
            MAIN: "LoadModule autoindex_module m.so\nLoadModule include_module m.so\nServerTokens Prod\nListen 443\n"
            "Header set X-A 1\n"
            "<Directory />\nOptions FollowSymLinks\nAllowOverride None\nRequire all denied\n</Directory>\n"
            "<Directory /srv>\nOptions +Indexes -FollowSymLinks\nAllowOverride Options=All AuthConfig\n"
            "<LimitExcept GET POST>\nRequire all denied\n</LimitExcept>\n</Directory>\n"
            "<VirtualHost *:443>\nServerName a.example\nSSLEngine on\nSSLProtocol all -TLSv1 -TLSv1.1\n"
            "SSLCipherSuite TLSv1.3 X:Y\nHeader always set X-B 2\nScriptAlias /cgi-bin/ /usr/lib/cgi-bin/\n"
            "<Directory /srv/a>\nOptions +Includes\n</Directory>\n"
            "<Location /status>\nSetHandler server-status\n</Location>\n</VirtualHost>\n",
            "/srv/b/.htaccess": 'Options Indexes\nSetHandler cgi-script\nAuthType Basic\nAuthName "x y"\n',
            "/opt/.htaccess": "Options All\n",
        }
    )
    host, b = "VirtualHost *:443 a.example", "/srv/b/.htaccess"
    native = [row for row in rows(found, "apache") if row[1] not in ("loadmodule", "listen")]
    assert native == [
        ("", "servertokens", "Prod", MAIN, 3),
        ("", "header", "set X-A 1", MAIN, 5),
        ("Directory /", "allowoverride", "None", MAIN, 8),
        ("Directory /", "options", "FollowSymLinks", MAIN, 7),
        ("Directory /", "require", "all denied", MAIN, 9),
        ("Directory /srv", "allowoverride", "Options=All AuthConfig", MAIN, 13),
        ("Directory /srv", "options", "Indexes", MAIN, 12),
        ("Directory /srv/b", "options", "Indexes", b, 1),
        ("Directory /srv/b", "authtype", "Basic", b, 3),
        ("Directory /srv/b", "authname", '"x y"', b, 4),
        (host, "header", "set X-A 1", MAIN, 5),
        (host, "header", "always set X-B 2", MAIN, 23),
        (host, "servername", "a.example", MAIN, 19),
        (host, "sslengine", "on", MAIN, 20),
        (host, "sslprotocol", "all -TLSv1 -TLSv1.1", MAIN, 21),
        (host, "sslciphersuite", "TLSv1.3 X:Y", MAIN, 22),
        (host, "scriptalias", "/cgi-bin/ /usr/lib/cgi-bin/", MAIN, 24),
        (f"{host} Directory /srv/a", "options", "Includes Indexes", MAIN, 26),
        (f"{host} Location /status", "sethandler", "server-status", MAIN, 29),
    ]
    assert rows(found, "tls") == [
        (f"apache {host}", "protocols", "TLSv1.2 TLSv1.3", MAIN, 21),
        (f"apache {host}", "ciphersuites", "X:Y", MAIN, 22),
    ]
    web = {(scope, key): value for scope, key, value, _, _ in rows(found, "web")}
    assert web == {
        ("apache", "server-header"): "name",
        ("apache", "header x-a"): "1",
        ("apache Directory /", "directory-listing"): "off",
        ("apache Directory /", "ssi"): "off",
        ("apache Directory /", "ssi-exec"): "off",
        ("apache Directory /srv", "directory-listing"): "on",
        ("apache Directory /srv", "ssi"): "off",
        ("apache Directory /srv", "ssi-exec"): "off",
        ("apache Directory /srv", "methods"): "GET POST",
        ("apache Directory /srv/b", "directory-listing"): "on",
        ("apache Directory /srv/b", "ssi"): "off",
        ("apache Directory /srv/b", "ssi-exec"): "off",
        ("apache Directory /srv/b", "authentication"): "basic x y",
        (f"apache {host}", "server-header"): "name",
        (f"apache {host}", "header x-a"): "1",
        (f"apache {host}", "header x-b"): "2",
        (f"apache {host}", "scripts"): "cgi /cgi-bin/ /usr/lib/cgi-bin/",
        (f"apache {host} Directory /srv/a", "directory-listing"): "on",
        (f"apache {host} Directory /srv/a", "ssi"): "on",
        (f"apache {host} Directory /srv/a", "ssi-exec"): "on",
        (f"apache {host} Location /status", "status-page"): "server-status",
    }
    assert [fact for fact in apache_settings.inspect(found) if isinstance(fact, Listener)] == [
        Listener(program="apache", protocol="tcp", address="::", port=443, purpose="https", tls=True, path=MAIN, line=4)
    ]


@pytest.mark.parametrize("include", ["/etc/apache2/x.conf", "/opt/x", "/etc/apache2/absent.conf"])
def test_what_a_file_not_read_could_have_changed_is_not_said(include: str) -> None:
    files = {MAIN: f"Include {include}\nListen 80\n", "/etc/apache2/x.conf": "Timeout 1\n", "/opt/x": "Timeout 1\n"}
    found = tree(files, unread=("/etc/apache2/x.conf",))
    facts: list[object] = []
    with pytest.raises(ValueError, match=f"{MAIN}:1: {include} "):
        for fact in apache_settings.inspect(found):
            facts.append(fact)  # noqa: PERF402 - what stands before the error counts
    assert facts == [
        Setting(subsystem="apache", key="listen", value="80", origin="file", path=MAIN, line=2),
        Listener(program="apache", protocol="tcp", address="::", port=80, purpose="http", tls=None, path=MAIN, line=2),
    ]


def test_includes_that_include_themselves_end() -> None:
    with pytest.raises(UnpackError):
        list(apache_settings.inspect(tree({MAIN: "Include apache2.conf\n" * 4})))
    many = "<VirtualHost *>\n<Directory /a/b>\nDav On\n</Directory>\n</VirtualHost>\n" * 4000
    above = "".join(f"<Directory /{n}>\nDav Off\n</Directory>\n" for n in range(4000))
    before = time.process_time()
    list(apache_settings.inspect(tree({MAIN: above + many})))
    with pytest.raises(UnpackError):  # a long value that holds everywhere
        list(apache_settings.inspect(tree({MAIN: f"Header set A {'x' * 100_000}\n" + many})))
    assert time.process_time() - before < 8
    assert list(apache_settings.inspect(tree({"/etc/httpd/conf.d/x.conf": "Listen 80\n"}))) == []


SAMPLE = b"""LoadModule a_module a.so
Include /etc/apache2/*.conf
<VirtualHost *:443 [::1]:443>
 SSLEngine on
 SSLProtocol -all +TLSv1.2
 <Directory "/srv">
  Options -Indexes +All
  <RequireAny>
   Require ip 10.0.0.0/8
  </RequireAny>
  <Limit PUT>
   Deny from all
  </Limit>
 </Directory>
 Header always append X "a b"
</VirtualHost>
Define A ${A}${A}
Options ${A}
"""


def look_at(data: bytes) -> None:
    found = MemoryTree(dict.fromkeys((MAIN, "/srv/.htaccess"), (420, 0, 0, data)), [apache.INSPECTOR])
    for _, _, error in found.failures:
        assert isinstance(error, ValueError), error
    with contextlib.suppress(ValueError, UnpackError):
        list(apache_settings.inspect(found))


def test_damage() -> None:
    rng = random.Random(9)
    for cut in range(0, len(SAMPLE), 5):
        look_at(SAMPLE[:cut])
    for _ in range(80):
        data = bytearray(SAMPLE)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        look_at(bytes(data))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300) | st.lists(st.sampled_from(SAMPLE.split(b"\n")), max_size=30).map(b"\n".join))
def test_anything(data: bytes) -> None:
    look_at(data)


@pytest.mark.parametrize(
    "unit", [b"a", b"a\\\n", b"<a ", b"<a >", b'a "', b"a \n", b"setenv a ", b"Define A ${A}${A}\n", b"header a=b "]
)
def test_time_stays_in_bounds(unit: bytes) -> None:
    data = unit * ((1 << 18) // len(unit))
    before = time.process_time()
    look_at(data)
    assert time.process_time() - before < 4
