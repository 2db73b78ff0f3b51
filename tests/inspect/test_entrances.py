"""Ways in: who and what lets somebody in, whether it is open at start, and what that rests on."""

from __future__ import annotations

from assay.facts.access import Entrance
from assay.inspect import inspectors
from assay.inspect.entrances import INSPECTOR
from tests.support.memory_tree import MemoryTree

CONTENTS, TREES = inspectors()
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIq5Yu5CAqAMyPyjIQw5u3eMX4MfQwWTlH2t+Nn2cX8k {}\n"

PASSWD = b"""\
root:x:0:0::/root:/bin/sh
guest::9:9::/home/g:/bin/sh
daemon:x:1:1::/:/sbin/nologin
svc:$1$abcdefgh$0123456789012345678901:5:5::/:/bin/sh
"""
INITTAB = b"""\
::sysinit:/etc/init.d/rcS
ttyS0::askfirst:-/bin/sh
tty1::respawn:/sbin/getty 38400 tty1
tty2::respawn:/sbin/getty -n -l /bin/sh 38400 tty2
::once:/usr/sbin/telnetd -l /bin/sh
"""
FILES = {
    "/etc/passwd": (0o644, 0, 0, PASSWD),
    "/etc/shadow": (0o600, 0, 0, b"root:*:1::::::\nguest::1::::::\ndaemon:*:1::::::\n"),
    "/bin/sh": (0o755, 0, 0, b"\x7fELF"),
    "/root/.ssh/authorized_keys": (0o600, 0, 0, KEY.format("somebody").encode()),
    "/etc/inittab": (0o644, 0, 0, INITTAB),
    "/sbin/init": (0o777, 0, 0, "../bin/busybox"),
    "/bin/busybox": (0o755, 0, 0, b"\x7fELF busybox"),
    "/sbin/getty": (0o777, 0, 0, "../bin/busybox"),
    "/usr/sbin/telnetd": (0o755, 0, 0, b"\x7fELF telnetd"),
    "/usr/bin/gdbserver": (0o755, 0, 0, b"\x7fELF gdbserver"),
    "/usr/share/doc/openvpn": (0o755, 0, 0, None),
    "/usr/share/bash-completion/completions/openvpn": (0o644, 0, 0, b"complete"),
    "/www/cgi-bin/ping.cgi": (0o755, 0, 0, b"#!/bin/sh\nping -c1 $QUERY_STRING\n"),
    "/www/cgi-bin/readme": (0o644, 0, 0, b"not a program"),
}


def found() -> list[Entrance]:
    """Return the entrances of the tree above."""
    trees = [TREES[name] for name in INSPECTOR.after]
    tree = MemoryTree(FILES, CONTENTS.values(), trees=trees, kinds={"/bin/busybox": "elf"})
    return list(INSPECTOR.inspect(tree))  # type: ignore[arg-type]


def test_every_way_in_is_told() -> None:
    told = [(e.kind, e.name, e.active, e.evidence, e.path, e.line) for e in found()]
    assert told == [
        ("os-account", "guest", True, "parsed", "/etc/passwd", 2),
        ("os-account", "svc", True, "parsed", "/etc/passwd", 4),
        ("ssh-key", "root", True, "parsed", "/root/.ssh/authorized_keys", 1),
        ("debug-shell", "ttyS0", True, "unit", "/etc/inittab", 2),
        ("console", "tty1", True, "unit", "/etc/inittab", 3),
        ("debug-shell", "tty2", True, "unit", "/etc/inittab", 4),
        ("remote-management", "telnetd", True, "name", "/usr/sbin/telnetd", None),
        ("debug-shell", "gdbserver", None, "name", "/usr/bin/gdbserver", None),
        ("web-script", "ping.cgi", None, "name", "/www/cgi-bin/ping.cgi", None),
    ]


def test_no_detail_holds_a_hash() -> None:
    assert not [e for e in found() if "$1$" in e.detail]


def test_what_builds_on_others_runs_after_them() -> None:
    order = list(TREES)
    assert all(order.index(name) < order.index("entrances") for name in INSPECTOR.after)
