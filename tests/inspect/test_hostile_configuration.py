"""Every inspector of this group on damaged and random input: facts or nothing, in bounded time."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.facts.service import Directive
from assay.inspect import inetd, initscript, inittab, kernel_config, sshd, sysctl, systemd, sysv, xinetd
from assay.inspect.systemd_services import services
from tests.support.memory_tree import MemoryTree, inspect

INSPECTORS = [module.INSPECTOR for module in (inetd, initscript, inittab, kernel_config, sshd, sysctl, systemd, xinetd)]

SAMPLE = b"""#!/bin/sh
### BEGIN INIT INFO
# Provides: x
### END INIT INFO
DAEMON="/usr/sbin/x"
start-stop-daemon --start --chuid a:b --exec $DAEMON \\
  -- --password 'x y' su - q -c "z"
service s
{
 user = root
}
[Service]
ExecStart=@/bin/x \\
 y
Match User a
Port 22
net/ipv4.x = 1
-a.b
CONFIG_X=y
1:2:respawn:/sbin/getty
telnet stream tcp nowait root /usr/sbin/tcpd in.telnetd
"""

PATHS = (
    "/etc/inetd.conf",
    "/etc/init.d/x",
    "/etc/inittab",
    "/boot/config-1",
    "/etc/ssh/sshd_config",
    "/etc/sysctl.d/x.conf",
    "/usr/lib/systemd/system/default.target",
    "/etc/xinetd.conf",
)

TREES = (inetd.SERVICES, inittab.SERVICES, sshd.SETTINGS, sysctl.SETTINGS, sysv.SERVICES, xinetd.SERVICES)


def look_at(data: bytes) -> None:
    for inspector in INSPECTORS:
        for fact in inspect(inspector, data):
            assert isinstance(fact, Directive)
            assert fact.line is not None
            assert 1 <= fact.line <= data.count(b"\n") + 1
    tree = MemoryTree(dict.fromkeys(PATHS, (0o755, 0, 0, data)), INSPECTORS)
    assert not tree.failures
    for inspector in TREES:
        list(inspector.inspect(tree))
    list(services(tree))


def test_damage() -> None:
    rng = random.Random(5)
    for cut in range(0, len(SAMPLE), 7):
        look_at(SAMPLE[:cut])
    for _ in range(60):
        data = bytearray(SAMPLE)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        look_at(bytes(data))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400) | st.lists(st.sampled_from(SAMPLE.split(b"\n")), max_size=30).map(b"\n".join))
def test_anything(data: bytes) -> None:
    look_at(data)


@pytest.mark.parametrize(
    "unit",
    [b"a", b" ", b'"', b"'", b"\\\n", b"-a ", b"su -c ", b"daemon ", b"start-stop-daemon --", b"%i", b"://a:", b"pass",
     b"Include *\n", b"[a]\n", b"a=\\\n", b"token ", b"= ", b"{", b"#", b"sudo -u", b"/etc/rc.d/S", b"A=\"", b"-",
     b"*"],
)  # fmt: skip
@pytest.mark.parametrize("lines", [1, 256])
def test_time_stays_in_bounds(unit: bytes, lines: int) -> None:
    size = 1 << 17
    line = unit * (size // lines // len(unit)) + b"\n"
    data = b"[Service]\nExecStart=" + line * lines
    for inspector in INSPECTORS:
        before = time.process_time()
        inspect(inspector, data)
        assert time.process_time() - before < 2, inspector.name
