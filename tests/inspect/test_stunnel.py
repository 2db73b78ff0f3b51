"""stunnel: settings and listeners by service; damaged input."""

from __future__ import annotations

import contextlib
import random

import pytest

from assay.facts.network import Listener
from assay.facts.service import Setting
from assay.inspect import stunnel
from tests.support.memory_tree import MemoryTree, inspect

PATH = "/etc/stunnel/stunnel.conf"

TEXT = """; comment
setuid = stunnel4
sslVersionMin = TLSv1
cert = /etc/c.pem
[https]
accept = 0.0.0.0:443
connect = 127.0.0.1:80
sslVersionMax = TLSv1.2
verify = 2

[out]
client = yes
accept = ::1:25
sslVersion = TLSv1.3
"""


def tree(text: str) -> MemoryTree:
    return MemoryTree({PATH: (0o644, 0, 0, text.encode())}, [stunnel.INSPECTOR])


def test_services() -> None:
    found = list(stunnel.settings(tree(TEXT)))
    rows = [
        (fact.subsystem, fact.scope, fact.key, fact.value, fact.line)
        for fact in found
        if isinstance(fact, Setting) and fact.subsystem in ("web", "tls")
    ]
    https = f"stunnel {PATH} [https]"
    assert rows == [
        ("web", f"stunnel {PATH}", "user", "stunnel4", 2),
        ("tls", https, "certificate", "/etc/c.pem", 4),
        ("tls", https, "protocols", "TLSv1 TLSv1.1 TLSv1.2", 8),
        ("tls", https, "verify-client", "on", 9),
        ("tls", f"stunnel {PATH} [out]", "certificate", "/etc/c.pem", 4),
        ("tls", f"stunnel {PATH} [out]", "protocols", "TLSv1.3", 14),
    ]
    assert [fact for fact in found if isinstance(fact, Listener)] == [
        Listener(
            program="stunnel", protocol="tcp", address="0.0.0.0", port=443, purpose="https", tls=True, path=PATH, line=6
        ),
        Listener(
            program="stunnel", protocol="tcp", address="::1", port=25, purpose="out", tls=False, path=PATH, line=13
        ),
    ]


def test_what_is_not_followed_or_read_is_said() -> None:
    with pytest.raises(ValueError, match="what it includes is not followed"):
        list(stunnel.settings(tree("include = /etc/stunnel/conf.d\n")))
    with pytest.raises(ValueError, match="line 2: not an option"):
        inspect(stunnel.INSPECTOR, b"a = b\nnonsense\n")
    with pytest.raises(ValueError, match="could not be read as a whole"):
        list(stunnel.settings(tree("nonsense\n")))


def test_damage() -> None:
    rng = random.Random(2)
    for _ in range(80):
        data = bytearray(TEXT.encode())
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(ValueError):
            list(stunnel.settings(MemoryTree({PATH: (0o644, 0, 0, bytes(data))}, [stunnel.INSPECTOR])))
