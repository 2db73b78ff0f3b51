"""What happens when a device is plugged in: udev, USBGuard, udisks, the automounter."""

from __future__ import annotations

from typing import Any

from assay.facts.service import Directive, Setting
from assay.inspect import autofs, systemd, udev, udisks, usbguard
from tests.support.memory_tree import MemoryTree, inspect

INSPECTORS = [udev.INSPECTOR, usbguard.INSPECTOR, udisks.INSPECTOR, autofs.INSPECTOR, systemd.INSPECTOR]


def tree(files: dict[str, str], **more: Any) -> MemoryTree:
    specs: dict[str, Any] = {
        path: (0o777, 0, 0, text[3:]) if text.startswith("-> ") else (0o644, 0, 0, text.encode())
        for path, text in files.items()
    }
    return MemoryTree(specs, INSPECTORS, **more)


def row(subsystem: str, key: str, value: str, path: str | None, line: int | None, **more: str) -> Setting:
    more.setdefault("origin", "file")
    return Setting(subsystem=subsystem, key=key, value=value, path=path, line=line, **more)


def test_udev_rules() -> None:
    text = (
        b'# comment\nKERNEL=="sd*", \\\n  ACTION=="add", RUN+="/bin/mount %N /mnt"\nnonsense\n'
        b'SUBSYSTEM=="usb", ATTR{authorized}="0"\n'
    )
    assert inspect(udev.INSPECTOR, text) == [
        Directive(
            dialect="udev", key="rule", value='KERNEL=="sd*",   ACTION=="add", RUN+="/bin/mount %N /mnt"', line=2
        ),
        Directive(dialect="udev", key="invalid", value="nonsense", line=4),
        Directive(dialect="udev", key="rule", value='SUBSYSTEM=="usb", ATTR{authorized}="0"', line=5),
    ]


def test_udev_assignments_that_act() -> None:
    found = tree(
        {
            "/etc/udev/rules.d/50-a.rules": 'KERNEL=="x", MODE="0666", SYMLINK+="y"\n',
            "/usr/lib/udev/rules.d/50-a.rules": 'RUN+="hidden"\n',
            "/usr/lib/udev/rules.d/60-b.rules": 'ENV{ID_FS_USAGE}!="", PROGRAM="/bin/p %k", GOTO="end"\n'
            'ENV{UDISKS_IGNORE}="1"\nTAG+="z", ENV{SYSTEMD_WANTS}+="m.service"\nTEST=="a", RUN{builtin}-="b"\n',
        }
    )
    b = "/usr/lib/udev/rules.d/60-b.rules"
    assert list(udev.settings(found)) == [
        row("udev", "MODE", "0666", "/etc/udev/rules.d/50-a.rules", 1, scope='KERNEL=="x"'),
        row("udev", "PROGRAM", "/bin/p %k", b, 1, scope='ENV{ID_FS_USAGE}!=""'),
        row("udev", "ENV{UDISKS_IGNORE}", "1", b, 2),
        row("udev", "ENV{SYSTEMD_WANTS}", "m.service", b, 3),
        row("udev", "RUN{builtin}", 'not "b"', b, 4, scope='TEST=="a"'),
    ]


def test_usbguard() -> None:
    main, rules = "/etc/usbguard/usbguard-daemon.conf", "/etc/usbguard/rules.conf"
    found = tree(
        {
            main: f"# c\nRuleFile={rules}\nImplicitPolicyTarget=allow\n",
            rules: "allow id 1d6b:0002\nreject with-interface all-of { 08:*:* 03:00:* }\n",
            "/usr/lib/systemd/system/usbguard.service": "[Service]\nExecStart=/usr/sbin/usbguard-daemon\n",
            "/etc/systemd/system/multi-user.target.wants/usbguard.service": "-> ../x/usbguard.service",
        }
    )
    basis = "usbguard-daemon.conf(5) of USBGuard 1.1.2"
    assert list(usbguard.settings(found)) == [
        row("usbguard", "RuleFile", rules, main, 2),
        row("usbguard", "ImplicitPolicyTarget", "allow", main, 3),
        row("usbguard", "PresentDevicePolicy", "apply-policy", None, None, origin="default", basis=basis),
        row("usbguard", "PresentControllerPolicy", "keep", None, None, origin="default", basis=basis),
        row("usbguard", "InsertedDevicePolicy", "apply-policy", None, None, origin="default", basis=basis),
        row("usbguard", "RestoreControllerDeviceState", "false", None, None, origin="default", basis=basis),
        row("usbguard", "rule allow", "id 1d6b:0002", rules, 1),
        row("usbguard", "rule reject", "with-interface all-of { 08:*:* 03:00:* }", rules, 2),
        row(
            "usbguard", "started", "yes", None, None,
            basis="/etc/systemd/system/multi-user.target.wants/usbguard.service",
        ),
    ]  # fmt: skip
    assert list(usbguard.settings(tree({"/etc/passwd": ""}))) == []
    unread = tree({main: "ImplicitPolicyTarget=allow\n"}, unread=(main,))
    assert list(usbguard.settings(unread)) == []


def test_udisks() -> None:
    path = "/etc/udisks2/mount_options.conf"
    found = tree(
        {
            "/usr/libexec/udisks2/udisksd": "\x7fELF",
            path: "[defaults]\n# x=1\ndefaults=ro,noexec\n[/dev/disk/by-label/EFI]\nvfat_defaults=umask=111\n",
        }
    )
    *stated, always = udisks.settings(found)
    assert stated == [
        row("udisks2", "defaults defaults", "ro,noexec", path, 3),
        row("udisks2", "vfat_defaults", "umask=111", path, 5, scope="/dev/disk/by-label/EFI"),
    ]
    assert (always.key, always.value, always.origin) == ("mount always", "nodev,nosuid", "default")
    assert list(udisks.settings(tree({path: "[defaults]\ndefaults=ro\n"}))) == []


def test_automounter() -> None:
    found = tree(
        {
            "/usr/sbin/automount": "\x7fELF",
            "/etc/auto.master": "/media /etc/auto.media --timeout=5\n/- auto.direct\n+dir:/etc/auto.master.d\n"
            "/media x\n+nis\n",
            "/etc/auto.master.d/a.autofs": "/net -hosts\n/p program:/etc/auto.sh\n",
            "/etc/auto.media": "# c\nusb -fstype=auto,nosuid,nodev :/dev/sdb1\n+other\n",
            "/etc/auto.direct": "/srv/x -ro,password=y host:/x\n",
            "/etc/auto.sh": "#!/bin/sh\necho\n",
        }
    )
    extra = "/etc/auto.master.d/a.autofs"
    assert list(autofs.settings(found)) == [
        row(
            "autofs", "/media/usb", "--timeout=5 -fstype=auto,nosuid,nodev :/dev/sdb1", "/etc/auto.media", 2,
            basis="map of /etc/auto.master:1",
        ),
        row(
            "autofs", "/srv/x", "-ro,password=[withheld] host:/x", "/etc/auto.direct", 1,
            basis="map of /etc/auto.master:2",
        ),
        row("autofs", "/net map", "-hosts", extra, 1),
        row("autofs", "/p map", "program:/etc/auto.sh", extra, 2),
    ]  # fmt: skip
    loop = tree({"/usr/sbin/automount": "x", "/etc/auto.master": "+dir:/etc/auto.master.d\n" * 9} | {
        f"/etc/auto.master.d/{n}.autofs": "+/etc/auto.master\n" * 3 for n in range(3)
    })  # fmt: skip
    assert list(autofs.settings(loop)) == []
