"""uhttpd, boa, thttpd, mini_httpd, BusyBox httpd: settings and listeners; damaged input."""

from __future__ import annotations

import random
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting
from assay.inspect import small_web
from tests.support.memory_tree import MemoryTree

FILES = {
    "/etc/config/uhttpd": "# web\nconfig uhttpd 'main'\n"
    "\tlist listen_http '0.0.0.0:80'\n\tlist listen_https '[::]:443'\n"
    "\toption home '/www'\n\toption cert '/etc/uhttpd.crt'\n\toption cgi_prefix '/cgi-bin'\n\toption no_dirlists 1\n\n"
    "config cert 'defaults'\n\toption days 730\n",
    "/etc/boa.conf": "Port 80\nUser root # bad?\nGroup 0\nDocumentRoot /home/httpd\nScriptAlias /cgi-bin/ /www/cgi/\n",
    "/etc/thttpd.conf": "port=8080\ndir=/www\ncgipat=**.cgi\nnochroot\n",
    "/etc/mini_httpd.conf": "port=8443\nssl\ncertfile=/etc/m.pem\nuser=root\n",
    "/etc/httpd.conf": "A:192.168.\nD:*\nH:/srv\n/adm:admin:hunter2\n*.php:/usr/bin/php\n",
}


def tree(files: dict[str, str]) -> MemoryTree:
    return MemoryTree({path: (0o644, 0, 0, text.encode()) for path, text in files.items()}, [small_web.INSPECTOR])


def test_settings_in_common_words() -> None:
    found = [fact for fact in small_web.settings(tree(FILES)) if isinstance(fact, Setting)]
    thttpd = "thttpd -c /etc/thttpd.conf"
    rows = {
        (fact.subsystem, fact.scope, fact.key, fact.value, fact.path, fact.line)
        for fact in found
        if fact.subsystem in ("web", "tls")
    }
    busybox = "busybox-httpd busybox-httpd -c /etc/httpd.conf"
    assert rows == {
        ("web", "uhttpd uhttpd main", "document-root", "/www", "/etc/config/uhttpd", 5),
        ("web", "uhttpd uhttpd main", "directory-listing", "off", "/etc/config/uhttpd", 8),
        ("web", "uhttpd uhttpd main", "scripts", "cgi /cgi-bin", "/etc/config/uhttpd", 7),
        ("tls", "uhttpd uhttpd main", "certificate", "/etc/uhttpd.crt", "/etc/config/uhttpd", 6),
        ("web", "boa boa -c /etc/boa.conf", "user", "root", "/etc/boa.conf", 2),
        ("web", "boa boa -c /etc/boa.conf", "group", "0", "/etc/boa.conf", 3),
        ("web", "boa boa -c /etc/boa.conf", "document-root", "/home/httpd", "/etc/boa.conf", 4),
        ("web", "boa boa -c /etc/boa.conf", "scripts", "cgi /cgi-bin/ /www/cgi/", "/etc/boa.conf", 5),
        ("web", f"thttpd {thttpd}", "user", "nobody", None, None),
        ("web", f"thttpd {thttpd}", "document-root", "/www", "/etc/thttpd.conf", 2),
        ("web", f"thttpd {thttpd}", "scripts", "cgi **.cgi", "/etc/thttpd.conf", 3),
        ("web", "mini_httpd mini_httpd -c /etc/mini_httpd.conf", "user", "root", "/etc/mini_httpd.conf", 4),
        (
            "tls",
            "mini_httpd mini_httpd -c /etc/mini_httpd.conf",
            "certificate",
            "/etc/m.pem",
            "/etc/mini_httpd.conf",
            3,
        ),
        ("web", busybox, "document-root", "/srv", "/etc/httpd.conf", 3),
        ("web", busybox, "scripts", "interpreter *.php /usr/bin/php", "/etc/httpd.conf", 5),
        ("web", busybox, "authentication", "basic", "/etc/httpd.conf", 4),
    }
    assert "hunter2" not in repr(found)


def test_listeners() -> None:
    found = [fact for fact in small_web.settings(tree(FILES)) if isinstance(fact, Listener)]
    assert {(fact.program, fact.address, fact.port, fact.tls, fact.line) for fact in found} == {
        ("uhttpd", "0.0.0.0", 80, False, 3),
        ("uhttpd", "::", 443, True, 4),
        ("boa", "0.0.0.0", 80, False, 1),
        ("thttpd", "0.0.0.0", 8080, False, 1),
        ("mini_httpd", "0.0.0.0", 8443, True, 1),
    }


def test_nothing_without_a_server() -> None:
    assert list(small_web.settings(tree({"/etc/apache2/httpd.conf": "Port 80\n", "/usr/sbin/httpd": "x"}))) == []


def look_at(data: bytes) -> None:
    found = MemoryTree(dict.fromkeys(FILES, (0o644, 0, 0, data)), [small_web.INSPECTOR])
    assert not found.failures
    for fact in small_web.settings(found):
        assert isinstance(fact, Setting | Listener)


def test_damage() -> None:
    rng = random.Random(1)
    for text in FILES.values():
        for _ in range(15):
            data = bytearray(text.encode())
            for _ in range(rng.randint(1, 6)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            look_at(bytes(data))
    before = time.process_time()
    for unit in (b"a" * 9 + b"\n", b"a=", b" ", b"config uhttpd 'x'\n", b"/a:b:c\n"):
        list(small_web.inspect(_content(unit * 8000)))
    assert time.process_time() - before < 4


def _content(data: bytes) -> small_web.Content:
    return small_web.Content(data, data[:4096], "text")


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_anything(data: bytes) -> None:
    look_at(data)
    assert all(isinstance(fact, Directive) for fact in small_web.inspect(_content(data)))
