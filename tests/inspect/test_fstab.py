"""fstab and systemd's mount units: lines, what ranks higher, what options come to."""

from __future__ import annotations

from typing import Any

import pytest

from assay.facts.service import Directive, Setting
from assay.inspect import fstab, mounts, systemd
from tests.support.memory_tree import MemoryTree, inspect

TABLE = """# comment
/dev/sda1 / ext4 errors=remount-ro 0 1
tmpfs\t/tmp tmpfs nosuid,nodev,noexec
LABEL=my\\040data /srv/my\\040data xfs user,exec,noauto 0 2
//s/x /mnt cifs username=u,password=geheim,credentials=/etc/c 0 0
broken /line
"""


def line(section: str, value: str, number: int, key: str = "mount") -> Directive:
    return Directive(dialect="fstab", section=section or None, key=key, value=value, line=number)


def tree(files: dict[str, str], **more: Any) -> MemoryTree:
    specs: dict[str, Any] = {
        path: (0o777, 0, 0, text[3:]) if text.startswith("-> ") else (0o644, 0, 0, text.encode())
        for path, text in files.items()
    }
    return MemoryTree(specs, [fstab.INSPECTOR, systemd.INSPECTOR], **more)


def rows(found: MemoryTree) -> dict[str, tuple[str, str, str]]:
    return {s.key: (s.value, f"{s.path}:{s.line}", s.scope) for s in mounts.settings(found) if s.origin == "file"}


def test_lines_are_what_is_written_without_secrets() -> None:
    assert inspect(fstab.INSPECTOR, TABLE.encode()) == [
        line("/", "/dev/sda1 / ext4 errors=remount-ro 0 1", 2),
        line("/tmp", "tmpfs /tmp tmpfs nosuid,nodev,noexec", 3),
        line("/srv/my data", "LABEL=my\\040data /srv/my\\040data xfs user,exec,noauto 0 2", 4),
        line("/mnt", "//s/x /mnt cifs username=u,password=[withheld],credentials=/etc/c 0 0", 5),
        line("", "broken /line", 6, "invalid"),
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("defaults", "rw,suid,dev,exec"),
        ("ro,nosuid", "ro,nosuid,dev,exec"),
        ("user", "rw,nosuid,nodev,noexec"),
        ("user,exec,dev", "rw,nosuid,dev,exec"),
        ("nodev,defaults", "rw,suid,dev,exec"),
        ("group,noexec,exec", "rw,nosuid,nodev,exec"),
        ("", "rw,suid,dev,exec"),
    ],
)
def test_flags(options: str, expected: str) -> None:
    assert mounts.flags(options) == expected


def test_without_systemd_only_fstab_counts() -> None:
    path = "/etc/fstab"
    found = tree({path: TABLE, "/usr/lib/systemd/system/tmp.mount": "[Mount]\nWhat=tmpfs\nWhere=/tmp\n"})
    assert list(mounts.settings(found))[:4] == [
        Setting(subsystem="mount", key=f"/ {key}", value=value, origin="file", path=path, line=2)
        for key, value in (
            ("source", "/dev/sda1"),
            ("type", "ext4"),
            ("options", "errors=remount-ro"),
            ("flags", "rw,suid,dev,exec"),
        )
    ]
    expected = {key: value for key, value in rows(found).items() if key.startswith(("/tmp", "/srv"))}
    assert expected == {
        "/tmp source": ("tmpfs", f"{path}:3", ""),
        "/tmp type": ("tmpfs", f"{path}:3", ""),
        "/tmp options": ("nosuid,nodev,noexec", f"{path}:3", ""),
        "/tmp flags": ("rw,nosuid,nodev,noexec", f"{path}:3", ""),
        "/srv/my data source": ("LABEL=my data", f"{path}:4", "on request (noauto)"),
        "/srv/my data type": ("xfs", f"{path}:4", "on request (noauto)"),
        "/srv/my data options": ("user,exec,noauto", f"{path}:4", "on request (noauto)"),
        "/srv/my data flags": ("rw,nosuid,nodev,exec", f"{path}:4", "on request (noauto)"),
    }


UNITS = {
    "/usr/lib/systemd/systemd": "\x7fELF",
    "/usr/lib/systemd/system/tmp.mount": "[Mount]\nWhat=tmpfs\nWhere=/tmp\nType=tmpfs\nOptions=mode=1777,nosuid\n",
    "/usr/lib/systemd/system/local-fs.target.wants/tmp.mount": "-> ../tmp.mount",
    "/etc/systemd/system/data.mount": "[Mount]\nWhat=/dev/sdb1\nWhere=/data/\n",
    "/etc/systemd/system/var-log.mount": "-> /dev/null",
    "/etc/systemd/system/usb.mount": "[Mount]\nWhat=/dev/sdc1\nWhere=/usb\nOptions=nosuid\n",
    "/etc/systemd/system/usb.automount": "[Automount]\nWhere=/usb\n",
    "/etc/systemd/system/multi-user.target.wants/usb.automount": "-> ../usb.automount",
}


def test_units_of_systemd_above_and_below_fstab() -> None:
    table = "/dev/sda2 /data ext4 nosuid\n/dev/sda3 /var/log ext4 nodev\n"
    options = {key: value for key, value in rows(tree(UNITS | {"/etc/fstab": table})).items() if "options" in key}
    place = "/etc/systemd/system"
    assert options == {
        "/data options": ("defaults", f"{place}/data.mount:3", "once data.mount is started"),
        "/tmp options": ("mode=1777,nosuid", "/usr/lib/systemd/system/tmp.mount:3", ""),
        "/usb options": ("nosuid", f"{place}/usb.mount:3", "on first access (usb.automount)"),
    }
    over = rows(tree(UNITS | {"/etc/fstab": "tmpfs /tmp tmpfs noexec\n"}))
    assert over["/tmp options"] == ("noexec", "/etc/fstab:1", "")


def test_what_systemd_mounts_by_itself() -> None:
    found = [
        s for s in mounts.settings(tree(UNITS | {"/etc/fstab": "tmpfs /dev/shm tmpfs rw\n"})) if s.origin == "default"
    ]
    assert {s.key: s.value for s in found if s.key.endswith("flags")} == {
        "/proc flags": "rw,nosuid,nodev,noexec",
        "/sys flags": "rw,nosuid,nodev,noexec",
    }


def test_an_unreadable_table_leaves_open_what_it_could_change() -> None:
    found = tree(UNITS | {"/etc/fstab": "x"}, unread=("/etc/fstab",))
    assert {s.key.split()[0] for s in mounts.settings(found)} == {"/data", "/usb"}
