"""systemd units: directives, and services with what starts them; systemd as oracle where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from assay.facts.service import Directive, Service
from assay.inspect import systemd
from assay.inspect.systemd_services import reach, services
from assay.inspect.systemd_units import Units
from tests.support.memory_tree import MemoryTree, inspect

ETC, LIB = "/etc/systemd/system", "/usr/lib/systemd/system"

BASE = {
    "/lib": "-> usr/lib",
    "/usr/lib/systemd/systemd": "\x7fELF",
    "/usr/bin/daemon": "\x7fELF",
    f"{LIB}/default.target": "-> graphical.target",
    f"{LIB}/graphical.target": "[Unit]\nRequires=multi-user.target\n",
    f"{LIB}/multi-user.target": "[Unit]\nRequires=basic.target\n",
    f"{LIB}/basic.target": "[Unit]\nRequires=sysinit.target\nWants=sockets.target timers.target paths.target\n",
    f"{LIB}/sysinit.target": "[Unit]\n",
    f"{LIB}/sockets.target": "[Unit]\n",
    f"{LIB}/timers.target": "[Unit]\n",
}
WANTS = f"{ETC}/multi-user.target.wants"
DAEMON = "[Service]\nExecStart=/usr/bin/daemon\n"


def tree(files: dict[str, str], *, unread: tuple[str, ...] = ()) -> MemoryTree:
    specs: dict[str, Any] = {
        path: (0o777, 0, 0, text[3:]) if text.startswith("-> ") else (0o644, 0, 0, text.encode())
        for path, text in files.items()
    }
    return MemoryTree(specs, [systemd.INSPECTOR], unread=unread)


def row(name: str, **more: Any) -> Service:
    values: dict[str, Any] = {
        "manager": "systemd",
        "enabled": True,
        "enabled_by": None,
        "trigger": "boot",
        "user": "root",
        "user_origin": "default",
        "command": "/usr/bin/daemon",
        "executable": "/usr/bin/daemon",
        "path": f"{LIB}/{name}",
        "line": 2,
    }
    return Service(name=name, **(values | more))


def test_directives_are_what_is_written() -> None:
    text = b"""\xef\xbb\xbf# comment
[Unit]
Description = A \\
  # a comment inside
  long one
; comment
[Service]
ExecStart=
ExecStart=/bin/x --password=hunter2 --url http://u:pw@h/ -v
Environment="DB_PASSWORD=hunter2" PATH=/bin
stray
User=a\r
"""

    def directive(section: str, key: str, value: str, line: int) -> Directive:
        return Directive(dialect="systemd", section=section, key=key, value=value, line=line)

    assert inspect(systemd.INSPECTOR, text) == [
        directive("Unit", "Description", "A  long one", 3),
        directive("Service", "ExecStart", "", 8),
        directive("Service", "ExecStart", "/bin/x --password=[withheld] --url http://u:[withheld]@h/ -v", 9),
        directive("Service", "Environment", "DB_PASSWORD= PATH=", 10),
        directive("Service", "User", "a", 12),
    ]
    assert inspect(systemd.INSPECTOR, b"# p\nenable a.service\ndisable *\nwhatever\n") == [
        Directive(dialect="systemd-preset", key="enable", value="a.service", line=2),
        Directive(dialect="systemd-preset", key="disable", value="*", line=3),
    ]


def test_every_way_to_be_started() -> None:
    files = BASE | {
        f"{LIB}/linked.service": DAEMON + "User=app\nGroup=grp\n[Install]\nWantedBy=multi-user.target\n",
        f"{WANTS}/linked.service": f"-> {LIB}/linked.service",
        f"{LIB}/pulled.service": DAEMON,
        f"{ETC}/linked.service.d/10-more.conf": "[Unit]\nRequires=pulled.service\n[Service]\nUser=\nDynamicUser=yes\n",
        f"{LIB}/idle.service": DAEMON + "[Install]\nWantedBy=multi-user.target\n",
        f"{LIB}/off.service": DAEMON,
        f"{ETC}/off.service": "-> /dev/null",
        f"{WANTS}/off.service": f"-> {LIB}/off.service",
        f"{ETC}/sockets.target.wants/s.socket": f"-> {LIB}/s.socket",
        f"{LIB}/s.socket": "[Socket]\nListenStream=1\n",
        f"{LIB}/s.service": DAEMON,
        f"{ETC}/sockets.target.wants/each.socket": f"-> {LIB}/each.socket",
        f"{LIB}/each.socket": "[Socket]\nAccept=yes\n",
        f"{LIB}/each@.service": DAEMON,
        f"{LIB}/timers.target.wants/t.timer": "-> ../t.timer",
        f"{LIB}/t.timer": "[Timer]\nUnit=job.service\n",
        f"{LIB}/job.service": DAEMON,
        f"{LIB}/inst@.service": "[Service]\nExecStart=-/usr/bin/daemon %i\nUser=u-%i\n",
        f"{WANTS}/inst@one.service": f"-> {LIB}/inst@.service",
        f"{ETC}/alias.service": f"-> {LIB}/real.service",
        f"{LIB}/real.service": DAEMON,
        f"{LIB}/dbus.socket": "[Socket]\n",
        f"{LIB}/sockets.target.wants/dbus.socket": "-> ../dbus.socket",
        "/usr/share/dbus-1/system-services/org.b.service": "[D-BUS Service]\nSystemdService=alias.service\n",
        f"{ETC}/dev-x.device.wants/hot.service": f"-> {LIB}/hot.service",
        f"{LIB}/hot.service": DAEMON,
    }
    assert list(services(tree(files))) == [
        row("each@.service", trigger="socket", enabled_by="each.socket"),
        row("hot.service", enabled=None, trigger="device", enabled_by=f"{ETC}/dev-x.device.wants/hot.service"),
        row("idle.service", enabled=False, trigger="on-demand"),
        row(
            "inst@.service",
            enabled=False,
            trigger="on-demand",
            user="u-",
            user_origin="directive",
            command="-/usr/bin/daemon %i",
        ),
        row(
            "inst@one.service",
            enabled_by=f"{WANTS}/inst@one.service",
            user="u-one",
            user_origin="directive",
            command="-/usr/bin/daemon %i",
            path=f"{LIB}/inst@.service",
        ),
        row("job.service", trigger="timer", enabled_by="t.timer"),
        row(
            "linked.service",
            enabled_by=f"{WANTS}/linked.service",
            user="linked",
            user_origin="directive",
            group_name="grp",
        ),
        row(
            "off.service",
            enabled=False,
            trigger="on-demand",
            user=None,
            user_origin=None,
            command=None,
            executable=None,
            path=f"{ETC}/off.service",
            line=None,
        ),
        row("pulled.service", trigger="dependency", enabled_by="linked.service"),
        row("real.service", trigger="dbus", enabled_by="/usr/share/dbus-1/system-services/org.b.service"),
        row("s.service", trigger="socket", enabled_by="s.socket"),
    ]


def test_precedence_resets_and_drop_ins() -> None:
    files = BASE | {
        f"{LIB}/a-b.service": "[Service]\nExecStart=/usr/bin/old\nUser=old\n",
        f"{ETC}/a-b.service": "[Service]\nExecStart=/usr/bin/daemon\nUser=etc\n",
        f"{LIB}/service.d/10.conf": "[Service]\nUser=all\n",
        f"{LIB}/a-.service.d/20.conf": "[Service]\nUser=prefix\n",
        f"{LIB}/a-b.service.d/20.conf": "[Service]\nUser=own\n",
        f"{ETC}/a-b.service.d/30.conf": "[Service]\nExecStart=\nExecStart=@/usr/bin/daemon d -x\nExecStart=daemon\n",
        f"{LIB}/a-b.service.d/40.conf": "[Service]\nUser=masked\n",
        f"{ETC}/a-b.service.d/40.conf": "-> /dev/null",
        f"{WANTS}/a-b.service": f"-> {ETC}/a-b.service",
    }
    assert list(services(tree(files))) == [
        row(
            "a-b.service",
            enabled_by=f"{WANTS}/a-b.service",
            user="own",
            user_origin="directive",
            command="@/usr/bin/daemon d -x ; daemon",
            path=f"{ETC}/a-b.service",
            line=None,
        )
    ]


def test_presets_leave_it_open_where_nothing_is_enabled_yet() -> None:
    install = DAEMON + "[Install]\nWantedBy=multi-user.target\n"
    files = BASE | {f"{LIB}/{name}.service": install for name in ("yes", "no", "other")}
    files[f"{LIB}/static.service"] = DAEMON
    preset = "/usr/lib/systemd/system-preset/90-default.preset"
    files[preset] = "enable yes.service\ndisable no*\n"

    def state(more: dict[str, str]) -> list[tuple[str, bool | None, str | None]]:
        return [(service.name, service.enabled, service.enabled_by) for service in services(tree(files | more))]

    assert state({}) == [
        ("no.service", False, None),
        ("other.service", None, "preset enable, by systemd's own default"),
        ("static.service", False, None),
        ("yes.service", None, f"preset enable, {preset}:1"),
    ]
    assert state({f"{WANTS}/other.service": f"-> {LIB}/other.service"}) == [
        ("no.service", False, None),
        ("other.service", True, f"{WANTS}/other.service"),
        ("static.service", False, None),
        ("yes.service", False, None),
    ]


def test_without_systemd_nothing_is_claimed() -> None:
    files = {path: text for path, text in BASE.items() if not path.endswith("/systemd")}
    files |= {f"{LIB}/a.service": DAEMON, f"{WANTS}/a.service": f"-> {LIB}/a.service"}
    assert list(services(tree(files))) == [row("a.service", enabled=None, enabled_by=f"{WANTS}/a.service")]


def test_without_any_target_the_links_that_boot_would_follow_are_named() -> None:
    files = {"/usr/bin/daemon": "\x7fELF", f"{LIB}/a.service": DAEMON, f"{LIB}/b.service": DAEMON}
    files[f"{WANTS}/a.service"] = f"-> {LIB}/a.service"
    assert list(services(tree(files))) == [
        row("a.service", enabled=None, enabled_by=f"{WANTS}/a.service"),
        row("b.service", enabled=None, enabled_by=None, trigger="on-demand"),
    ]


def test_unreadable_unit_leaves_its_account_open() -> None:
    files = BASE | {f"{LIB}/a.service": DAEMON, f"{WANTS}/a.service": f"-> {LIB}/a.service"}
    found = list(services(tree(files, unread=(f"{LIB}/a.service",))))
    assert found == [
        row(
            "a.service",
            enabled_by=f"{WANTS}/a.service",
            user=None,
            user_origin=None,
            command=None,
            executable=None,
            line=None,
        )
    ]


def test_loops_and_endless_names_end() -> None:
    files = BASE | {
        f"{LIB}/a.service": f"-> {LIB}/b.service",
        f"{LIB}/b.service": f"-> {LIB}/a.service",
        f"{LIB}/grow@.service": "[Unit]\nWants=grow@%i%i.service grow@x%i.service\n",
        f"{WANTS}/grow@x.service": f"-> {LIB}/grow@.service",
        f"{LIB}/self.service": "[Unit]\nWants=self.service\nRequires=self.service\n",
        f"{WANTS}/self.service": f"-> {LIB}/self.service",
    }
    assert max(len(service.name) for service in services(tree(files))) <= 255


UNIT_DIRECTORIES = (ETC, LIB, "/lib/systemd/system")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
def test_systemd_itself_reaches_the_same_units(tmp_path: Path) -> None:
    """The unit files of this machine, with a few of our own, against the start transaction that systemd computes."""
    for place in UNIT_DIRECTORIES:
        if Path(place).is_dir() and not Path(place).parent.parent.is_symlink():
            shutil.copytree(place, tmp_path / place[1:], symlinks=True, dirs_exist_ok=True)
    unit = tmp_path / ("lib" if (tmp_path / "lib/systemd/system").is_dir() else "usr/lib") / "systemd/system"
    wants = tmp_path / WANTS[1:]
    wants.mkdir(parents=True, exist_ok=True)
    run = "[Service]\nExecStart=/bin/true\n"
    (unit / "assay-a.service").write_text("[Unit]\nWants=assay-b.service assay-t@x.service assay-m.service\n" + run)
    (unit / "assay-b.service").write_text("[Unit]\nWants=assay-n.service\n" + run)
    (unit / "assay-t@.service").write_text("[Unit]\nWants=assay-u@%i.service\n" + run)
    (unit / "assay-u@.service").write_text(run)
    (unit / "assay-m.service").write_text(run)
    (unit / "assay-n.service").write_text(run)
    (tmp_path / ETC[1:] / "assay-m.service").symlink_to("/dev/null")
    (tmp_path / ETC[1:] / "assay-n.service").symlink_to("assay-c.service")
    (unit / "assay-c.service").write_text(run)
    (wants / "assay-a.service").symlink_to("/lib/systemd/system/assay-a.service")
    done = subprocess.run(
        ["systemd-analyze", f"--root={tmp_path}", "--man=no", "verify", "default.target"],
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "debug", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    jobs = set(re.findall(r"Installed new job (\S+)/start as", done.stdout + done.stderr))
    if "assay-a.service" not in jobs:
        pytest.skip("systemd-analyze computes no transaction here")
    specs: dict[str, Any] = {}
    for directory, names, files in os.walk(tmp_path):
        for name in names + files:
            path = Path(directory, name)
            inside = f"/{path.relative_to(tmp_path)}"
            if path.is_symlink():
                specs[inside] = (0o777, 0, 0, str(path.readlink()))
            else:
                specs[inside] = (0o755, 0, 0, None if path.is_dir() else path.read_bytes())
    found = reach(Units(MemoryTree(specs, [systemd.INSPECTOR])))
    ours = {name for name, how in found.items() if how.trigger in ("boot", "dependency")}

    def comparable(names: set[str]) -> set[str]:
        # systemd adds slices by itself, and drops a job's further wishes once one of them does not exist.
        return {name for name in names if not name.endswith(".slice")}

    missing = set(re.findall(r"^(\S+): Cannot add dependency job", done.stderr, re.MULTILINE))
    dropped = {name for name in ours - jobs if found[name].by in missing}
    assert comparable(ours - dropped) == comparable(jobs)
