"""Start scripts and inittab: directives, and the services of System V, BusyBox, OpenWrt and OpenRC trees."""

from __future__ import annotations

from typing import Any

import pytest

from assay.facts.service import Directive, Service
from assay.inspect import initscript, inittab, sysv
from tests.support.memory_tree import MemoryTree, inspect

LSB = """#!/bin/sh
### BEGIN INIT INFO
# Provides: {0}
# Default-Start: 2 3 4 5
### END INIT INFO
DAEMON=/usr/sbin/{0}
"""


def tree(files: dict[str, str | tuple[int, str]], *, unread: tuple[str, ...] = ()) -> MemoryTree:
    specs: dict[str, Any] = {}
    for path, what in files.items():
        mode, text = what if isinstance(what, tuple) else (0o755, what)
        specs[path] = (0o777, 0, 0, text[3:]) if text.startswith("-> ") else (mode, 0, 0, text.encode())
    return MemoryTree(specs, [initscript.INSPECTOR, inittab.INSPECTOR], unread=unread)


def row(name: str, manager: str = "sysv", **more: Any) -> Service:
    values: dict[str, Any] = {
        "enabled": True,
        "enabled_by": None,
        "trigger": "boot" if more.get("enabled", True) is not False else "on-demand",
        "user": "root",
        "user_origin": "default",
        "command": f"/etc/init.d/{name} start",
        "path": f"/etc/init.d/{name}",
    }
    return Service(name=name, manager=manager, **(values | more))


def test_directives_of_a_script() -> None:
    text = rb"""#!/bin/sh /etc/rc.common
# chkconfig: 2345 55 25
### BEGIN INIT INFO
# Provides:          thing
# Required-Start:    $network $syslog
# Default-Start:     2 3 4 5
### END INIT INFO
# Provides: not in the header
START=90
USE_PROCD=1
DAEMON="/usr/sbin/thing"
command_user="web:www"
start-stop-daemon --start --quiet \
    --chuid thing:grp --exec $DAEMON -- --token=abc123
start-stop-daemon -S -c other -x /usr/bin/o
procd_set_param command /usr/bin/p -f
procd_set_param user nobody
daemon --user=rpc /sbin/rpcd
su - alice -c "run"
su -c 'run me' bob
runuser -u carol -- x
sudo -u dave x
chpst -u erin x
for i in /etc/init.d/S??* /etc/rc.d/S*; do . /etc/rc.local; done
"""

    def directive(key: str, value: str, line: int, section: str | None = None) -> Directive:
        return Directive(dialect="initscript", section=section, key=key, value=value, line=line)

    assert inspect(initscript.INSPECTOR, text) == [
        directive("interpreter", "/bin/sh /etc/rc.common", 1),
        directive("chkconfig", "2345 55 25", 2),
        directive("Provides", "thing", 4, "INIT INFO"),
        directive("Required-Start", "$network $syslog", 5, "INIT INFO"),
        directive("Default-Start", "2 3 4 5", 6, "INIT INFO"),
        directive("START", "90", 9),
        directive("USE_PROCD", "1", 10),
        directive("DAEMON", "/usr/sbin/thing", 11),
        directive("user-hint", "web:www", 12, "openrc"),
        directive("user-hint", "thing:grp", 13, "start-stop-daemon"),
        directive("exec", "$DAEMON", 13, "start-stop-daemon"),
        directive("user-hint", "other", 15, "start-stop-daemon"),
        directive("exec", "/usr/bin/o", 15, "start-stop-daemon"),
        directive("exec", "/usr/bin/p -f", 16, "procd"),
        directive("user-hint", "nobody", 17, "procd"),
        directive("user-hint", "rpc", 18, "daemon"),
        directive("user-hint", "alice", 19, "su"),
        directive("user-hint", "bob", 20, "su"),
        directive("user-hint", "carol", 21, "runuser"),
        directive("user-hint", "dave", 22, "sudo"),
        directive("user-hint", "erin", 23, "chpst"),
        directive("runs", "/etc/init.d/S??*", 24),
        directive("runs", "/etc/rc.d/S*", 24),
        directive("runs", "/etc/rc.local", 24),
    ]


SYSV: dict[str, str | tuple[int, str]] = {
    "/sbin/init": "\x7fELF",
    "/usr/sbin/one": "\x7fELF",
    "/etc/inittab": "id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\nl2:2:wait:/etc/init.d/rc 2\n"
    "l5:5:wait:/etc/init.d/rc 5\n",
    "/etc/init.d/rc": "#!/bin/sh\n",
    "/etc/init.d/README": (0o644, "text\n"),
    "/etc/init.d/one": LSB.format("one"),
    "/etc/init.d/two": LSB.format("two") + "start-stop-daemon --start --chuid two:grp --exec $DAEMON\n",
    "/etc/init.d/five": LSB.format("five") + "su - five -c x\n",
    "/etc/init.d/early": LSB.format("early") + "start-stop-daemon --start -c $USER --exec x\n",
    "/etc/init.d/never": LSB.format("never"),
    "/etc/init.d/flat": (0o644, LSB.format("flat")),
    "/etc/rc2.d/S10one": "-> ../init.d/one",
    "/etc/rc2.d/S20two": "-> ../init.d/two",
    "/etc/rc2.d/K20never": "-> ../init.d/never",
    "/etc/rc2.d/S30flat": "-> ../init.d/flat",
    "/etc/rc5.d/S10five": "-> ../init.d/five",
    "/etc/rcS.d/S01early": "-> ../init.d/early",
}


def test_system_v() -> None:
    assert list(sysv.services(tree(SYSV))) == [
        row("early", enabled_by="/etc/rcS.d/S01early", user=None, user_origin=None, line=7),
        row("five", enabled=False, user=None, user_origin=None, line=7),
        row("flat", enabled=False),
        row("never", enabled=False),
        row("one", enabled_by="/etc/rc2.d/S10one", executable="/usr/sbin/one"),
        row("two", enabled_by="/etc/rc2.d/S20two", user="two", group_name="grp", user_origin="line", line=7),
    ]


def test_a_script_that_cannot_be_read_leaves_its_account_open() -> None:
    found = {service.name: service for service in sysv.services(tree(SYSV, unread=("/etc/init.d/one",)))}
    assert found["one"] == row("one", enabled_by="/etc/rc2.d/S10one", user=None, user_origin=None)


def test_no_init_leaves_linked_scripts_open() -> None:
    files = {path: what for path, what in SYSV.items() if path not in ("/sbin/init", "/etc/inittab")}
    assert [(service.name, service.enabled) for service in sysv.services(tree(files))] == [
        ("early", None),
        ("five", None),
        ("flat", False),
        ("never", False),
        ("one", None),
        ("two", None),
    ]


def test_systemd_runs_scripts_that_no_unit_replaces() -> None:
    files = {path: what for path, what in SYSV.items() if path not in ("/sbin/init", "/etc/inittab")} | {
        "/sbin/init": "-> /lib/systemd/systemd",
        "/lib/systemd/systemd": "\x7fELF",
        "/lib/systemd/system-generators/systemd-sysv-generator": "\x7fELF",
        "/lib/systemd/system/two.service": "[Service]\nExecStart=/bin/two\n",
    }
    assert [(service.name, service.enabled, service.enabled_by) for service in sysv.services(tree(files))] == [
        ("early", False, None),
        ("five", True, "/etc/rc5.d/S10five"),
        ("flat", False, None),
        ("never", False, None),
        ("one", True, "/etc/rc2.d/S10one"),
        ("two", False, None),
    ]


@pytest.mark.parametrize(
    ("more", "by"),
    [({}, "BusyBox init's own default"), ({"/etc/inittab": "::sysinit:/etc/init.d/rcS\n"}, "/etc/inittab:1")],
)
def test_busybox(more: dict[str, str | tuple[int, str]], by: str) -> None:
    found = tree(
        {
            "/bin/busybox": "\x7fELF",
            "/sbin/init": "-> ../bin/busybox",
            "/etc/init.d/rcS": "#!/bin/sh\nfor i in /etc/init.d/S??* ;do $i start; done\n",
            "/etc/init.d/S50dropbear": "#!/bin/sh\nstart-stop-daemon -S -q -p /run/d.pid --exec /usr/sbin/dropbear\n",
            "/etc/init.d/other": "#!/bin/sh\n",
            "/etc/rc.local": "#!/bin/sh\n",
        }
        | more
    )
    assert list(sysv.services(found)) == [
        row("S50dropbear", "rc", enabled_by="/etc/init.d/rcS:2"),
        row("other", enabled=False),
        row("rcS", "rc", enabled_by=by, command="/etc/init.d/rcS"),
        row("rc.local", "rc", enabled=None, command="/etc/rc.local", path="/etc/rc.local"),
    ]


def test_openwrt() -> None:
    found = tree(
        {
            "/sbin/init": "\x7fELF",
            "/sbin/procd": "\x7fELF",
            "/usr/sbin/dropbear": "\x7fELF",
            "/etc/inittab": "::sysinit:/etc/init.d/rcS S boot\n::askconsole:/usr/libexec/login.sh\n",
            "/etc/rc.common": "#!/bin/sh\n",
            "/etc/init.d/dropbear": "#!/bin/sh /etc/rc.common\nSTART=19\nUSE_PROCD=1\nPROG=/usr/sbin/dropbear\n",
            "/etc/init.d/dnsmasq": "#!/bin/sh /etc/rc.common\nSTART=19\nprocd_set_param user dnsmasq\n",
            "/etc/init.d/idle": "#!/bin/sh /etc/rc.common\nSTART=99\n",
            "/etc/init.d/done": "#!/bin/sh /etc/rc.common\nSTART=95\n[ -f /etc/rc.local ] && . /etc/rc.local\n",
            "/etc/rc.d/S19dropbear": "-> ../init.d/dropbear",
            "/etc/rc.d/S19dnsmasq": "-> ../init.d/dnsmasq",
            "/etc/rc.d/S95done": "-> ../init.d/done",
            "/etc/rc.d/K50dropbear": "-> ../init.d/dropbear",
            "/etc/rc.local": (0o644, "exit 0\n"),
        }
    )
    assert list(sysv.services(found)) == [
        row("dnsmasq", "rc", enabled_by="/etc/rc.d/S19dnsmasq", user="dnsmasq", user_origin="line", line=3),
        row("done", "rc", enabled_by="/etc/rc.d/S95done"),
        row("dropbear", "rc", enabled_by="/etc/rc.d/S19dropbear", executable="/usr/sbin/dropbear"),
        row("idle", "rc", enabled=False),
        row("rc.local", "rc", enabled_by="/etc/init.d/done", command="/etc/rc.local", path="/etc/rc.local"),
    ]


def test_openrc() -> None:
    found = tree(
        {
            "/bin/busybox": "\x7fELF",
            "/sbin/init": "-> ../bin/busybox",
            "/usr/sbin/nginx": "\x7fELF",
            "/etc/inittab": "::sysinit:/sbin/openrc sysinit\n::wait:/sbin/openrc default\n",
            "/etc/init.d/nginx": '#!/sbin/openrc-run\ncommand="/usr/sbin/nginx"\ncommand_user="nginx:www"\n',
            "/etc/init.d/idle": "#!/sbin/openrc-run\n",
            "/etc/runlevels/default/nginx": "-> /etc/init.d/nginx",
        }
    )
    assert list(sysv.services(found)) == [
        row("idle", "openrc", enabled=False),
        row(
            "nginx",
            "openrc",
            enabled_by="/etc/runlevels/default/nginx",
            user="nginx",
            group_name="www",
            user_origin="line",
            line=3,
            executable="/usr/sbin/nginx",
        ),
    ]


INITTAB = """# System V
id:3:initdefault:
si::sysinit:/etc/init.d/rcS
1:2345:respawn:/sbin/getty 38400 tty1
x:5:respawn:/usr/bin/xdm -nodaemon
app:35:once:+/opt/app --api-key 1234
ca:12345:ctrlaltdel:/sbin/shutdown -t1 -a -r now
T0:23:off:/sbin/getty -L ttyS0
bad line
"""


def line(name: str, number: int, command: str, **more: Any) -> Service:
    values: dict[str, Any] = {
        "enabled": True,
        "trigger": "boot",
        "user": "root",
        "user_origin": "default",
        "path": "/etc/inittab",
    }
    values |= more
    by = f"/etc/inittab:{number}" if values["enabled"] is not False else None
    return Service(name=name, manager="inittab", command=command, enabled_by=by, line=number, **values)


def test_inittab_of_system_v() -> None:
    found = tree({"/sbin/init": "\x7fELF", "/sbin/getty": "\x7fELF", "/etc/inittab": INITTAB})
    getty = "/sbin/getty"
    assert list(inittab.services(found)) == [
        line("si", 3, "/etc/init.d/rcS"),
        line("1", 4, "/sbin/getty 38400 tty1", trigger="console", executable=getty),
        line("x", 5, "/usr/bin/xdm -nodaemon", enabled=False),
        line("app", 6, "+/opt/app --api-key [withheld]"),
        line("ca", 7, "/sbin/shutdown -t1 -a -r now", enabled=False, trigger="on-demand"),
        line("T0", 8, "/sbin/getty -L ttyS0", enabled=False, trigger="on-demand", executable=getty),
    ]


def test_inittab_of_busybox_and_of_nobody() -> None:
    files: dict[str, str | tuple[int, str]] = {
        "/etc/inittab": "::sysinit:/etc/init.d/rcS\nttyS0::askfirst:-/bin/sh\n::shutdown:/bin/umount -a\n"
    }
    busybox: dict[str, str | tuple[int, str]] = {"/bin/busybox": "\x7fELF", "/bin/sh": "-> busybox"}
    assert list(inittab.services(tree(files | busybox | {"/sbin/init": "-> ../bin/busybox"}))) == [
        line("rcS", 1, "/etc/init.d/rcS"),
        line("ttyS0", 2, "-/bin/sh", trigger="console", executable="/bin/busybox"),
        line("umount", 3, "/bin/umount -a", enabled=False, trigger="on-demand"),
    ]
    assert [service.enabled for service in inittab.services(tree(files))] == [None, None, False]
    systemd: dict[str, str | tuple[int, str]] = {"/lib/systemd/systemd": "\x7fELF"}
    assert [service.enabled for service in inittab.services(tree(files | systemd))] == [False, False, False]
