"""Boot loaders' menus, and the command lines that a kernel would get from them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from assay.facts.access import ProductAccount
from assay.facts.service import Directive, Setting
from assay.inspect import boot_entries, grub, kernel_cmdline, kernel_config, uboot
from assay.inspect.assignment import assignments, fill
from tests.support.memory_tree import MemoryTree, inspect

INSPECTORS = [
    grub.INSPECTOR,
    boot_entries.MENUS,
    boot_entries.ENTRIES,
    boot_entries.LOADERS,
    boot_entries.CMDLINES,
    kernel_config.INSPECTOR,
    uboot.TEXTS,
]

HASH = "grub.pbkdf2.sha512.10000." + "A" * 128 + "." + "B" * 128
MENU = f"""set default="0"
if [ x${{feature}} = xy ]; then
  set timeout=5
fi
set superusers="root admin"
password_pbkdf2 root {HASH}
password admin geheim
menuentry 'Linux' --class x --unrestricted $menuentry_id_option 'a' {{
	insmod ext2
	linux	/boot/vmlinuz-6.1 root=UUID=1 ro quiet "a b=c d" password=geheim
	initrd	/boot/initrd.img
}}
submenu "More options" --users "admin" {{
	menuentry 'Rescue' {{
		linux /boot/vmlinuz single
	}}
}}
"""


def tree(files: dict[str, str], **more: Any) -> MemoryTree:
    return MemoryTree({path: (0o644, 0, 0, text.encode()) for path, text in files.items()}, INSPECTORS, **more)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def test_grub_menu() -> None:
    def said(section: str | None, key: str, value: str, line: int) -> Directive:
        return Directive(dialect="grub", section=section, key=key, value=value, line=line)

    rescue = "More options>Rescue"
    assert inspect(grub.INSPECTOR, MENU.encode()) == [
        said(None, "set", "default=0", 1),
        said(None, "set", "timeout=5", 3),
        said(None, "set", "superusers=root admin", 5),
        ProductAccount(
            store="grub", name="root", password="hash", scheme="grub.pbkdf2.sha512", fingerprint=digest(HASH), line=6
        ),
        said(None, "password_pbkdf2", "root grub.pbkdf2.sha512.10000", 6),
        ProductAccount(store="grub", name="admin", password="clear", fingerprint=digest("geheim"), line=7),
        said(None, "password", "admin [withheld]", 7),
        said("Linux", "menuentry", "--class x --unrestricted $menuentry_id_option 'a'", 8),
        said("Linux", "insmod", "ext2", 9),
        said("Linux", "linux", "/boot/vmlinuz-6.1 root=UUID=1 ro quiet a b=c d password=[withheld]", 10),
        said("Linux", "initrd", "/boot/initrd.img", 11),
        said("More options", "submenu", '--users "admin"', 13),
        said(rescue, "menuentry", "", 14),
        said(rescue, "linux", "/boot/vmlinuz single", 15),
    ]


def test_parts_of_menus_and_environment_blocks() -> None:
    part = f"#!/bin/sh\nset -e\ncat << EOF\nset superusers=root\npassword_pbkdf2 root {HASH}\nlinux x y\nEOF\n"
    assert [type(fact) for fact in inspect(grub.INSPECTOR, part.encode())] == [Directive, ProductAccount, Directive]
    block = "# GRUB Environment Block\nsaved_entry=x\nkernelopts=root=/dev/sda1 ro\n" + "#" * 100
    assert inspect(grub.INSPECTOR, block.encode()) == [
        Directive(dialect="grubenv", key="saved_entry", value="x", line=2),
        Directive(dialect="grubenv", key="kernelopts", value="root=/dev/sda1 ro", line=3),
    ]
    assert inspect(grub.INSPECTOR, f"GRUB2_PASSWORD={HASH}\n".encode()) == [
        ProductAccount(
            store="grub", name="", password="hash", scheme="grub.pbkdf2.sha512", fingerprint=digest(HASH), line=1
        ),
        Directive(dialect="grub-default", key="GRUB2_PASSWORD", value="grub.pbkdf2.sha512.10000", line=1),
    ]


def test_grub_legacy() -> None:
    text = (
        "timeout=5\npassword --md5 $1$ab$0123456789012345678901\ntitle Old\n  root (hd0,0)\n  kernel /vmlinuz ro x=1\n"
    )
    secret = "$1$ab$0123456789012345678901"
    assert inspect(grub.INSPECTOR, text.encode()) == [
        Directive(dialect="grub-legacy", key="timeout", value="5", line=1),
        ProductAccount(store="grub", name="", password="hash", scheme="md5crypt", fingerprint=digest(secret), line=2),
        Directive(dialect="grub-legacy", key="password", value="--md5 [withheld]", line=2),
        Directive(dialect="grub-legacy", section="Old", key="title", value="Old", line=3),
        Directive(dialect="grub-legacy", section="Old", key="root", value="(hd0,0)", line=4),
        Directive(dialect="grub-legacy", section="Old", key="kernel", value="/vmlinuz ro x=1", line=5),
    ]


def row(key: str, value: str, path: str | None, line: int | None, subsystem: str = "grub", **more: str) -> Setting:
    more.setdefault("origin", "file")
    return Setting(subsystem=subsystem, key=key, value=value, path=path, line=line, **more)


def test_who_may_start_and_change_entries() -> None:
    path = "/boot/grub/grub.cfg"
    loader = "/boot/efi/loader/loader.conf"
    found = tree({path: MENU, loader: "timeout 3\n", "/etc/default/grub": "GRUB_DISABLE_RECOVERY=true\n"})
    only = "no --unrestricted: superusers only"
    assert list(kernel_cmdline.menus(found)) == [
        row("GRUB_DISABLE_RECOVERY", "true", "/etc/default/grub", 1),
        row("default", "0", path, 1),
        row("timeout", "5", path, 3),
        row("superusers", "root admin", path, 5),
        row("password root", "grub.pbkdf2.sha512.10000", path, 6),
        row("password admin", "clear", path, 7),
        row("entry Linux", "unrestricted", path, 8),
        row("entry More options", "users admin", path, 13),
        row("entry More options>Rescue", "superusers", path, 14, basis=only),
        row("timeout", "3", loader, 1, "systemd-boot"),
        row("editor", "yes", None, None, "systemd-boot", origin="default", basis="loader.conf(5)"),
    ]


def lines(found: MemoryTree) -> list[tuple[str, str, str, str]]:
    settings = list(kernel_cmdline.settings(found))
    assert {setting.subsystem for setting in settings} <= {"kernel-cmdline"}
    return [(s.scope, s.key, s.value, f"{s.path}:{s.line}") for s in settings]


def test_command_lines_of_menus() -> None:
    grub_cfg, entry = "/boot/grub2/grub.cfg", "/boot/loader/entries/a-6.1.conf"
    menu = "/boot/extlinux/extlinux.conf"
    found = tree(
        {
            grub_cfg: "menuentry 'A' {\n linux /v root=/dev/sda1 console=ttyS0 console=tty0 -- single\n}\n",
            "/boot/grub2/grubenv": "# GRUB Environment Block\nkernelopts=mitigations=off\n",
            entry: "title A\noptions $kernelopts quiet\n",
            menu: "APPEND always\nLABEL l\n  KERNEL /z\n  append ro lsm=apparmor\n",
            "/boot/cmdline.txt": "console=serial0 init=/bin/sh\n",
            "/boot/uEnv.txt": "bootargs='rw debug'\n",
            "/boot/config-1": 'CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE="nokaslr"\nCONFIG_CMDLINE_OVERRIDE=y\n',
            "/etc/default/grub": "GRUB_CMDLINE_LINUX=unused\n",
            "/usr/share/doc/grub.cfg": "menuentry 'x' {\n linux /v example\n}\n",
        }
    )
    assert lines(found) == [
        ("grub: A", "root", "/dev/sda1", f"{grub_cfg}:2"),
        ("grub: A", "console", "ttyS0", f"{grub_cfg}:2"),
        ("grub: A", "console", "tty0", f"{grub_cfg}:2"),
        ("entry: a-6.1", "mitigations", "off", f"{entry}:2"),
        ("entry: a-6.1", "quiet", "", f"{entry}:2"),
        ("syslinux: every entry", "always", "", f"{menu}:1"),
        ("syslinux: l", "ro", "", f"{menu}:4"),
        ("syslinux: l", "lsm", "apparmor", f"{menu}:4"),
        ("file: /boot/cmdline.txt", "console", "serial0", "/boot/cmdline.txt:1"),
        ("file: /boot/cmdline.txt", "init", "/bin/sh", "/boot/cmdline.txt:1"),
        ("u-boot: /boot/uEnv.txt", "rw", "", "/boot/uEnv.txt:1"),
        ("u-boot: /boot/uEnv.txt", "debug", "", "/boot/uEnv.txt:1"),
        ("built into the kernel", "nokaslr", "", "/boot/config-1:2"),
    ]


def test_command_lines_that_a_menu_would_get() -> None:
    more = "/etc/default/grub.d/50-x.cfg"
    files = {
        "/etc/default/grub": 'GRUB_CMDLINE_LINUX="audit=1"\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n',
        more: 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX lsm=x"\nGRUB_CMDLINE_LINUX_DEFAULT=\n',
    }
    scope = "grub: as grub-mkconfig would write it"
    assert lines(tree(files)) == [(scope, "audit", "1", f"{more}:1"), (scope, "lsm", "x", f"{more}:1")]
    assert lines(tree(files, unread=(more,))) == []


def test_syslinux_menu_passwords() -> None:
    text = b"MENU MASTER PASSWD geheim\nLABEL a\n MENU PASSWD $1$ab$0123456789012345678901\n"
    assert inspect(boot_entries.MENUS, text) == [
        ProductAccount(store="syslinux", name="", password="clear", fingerprint=digest("geheim"), line=1),
        Directive(dialect="syslinux", key="menu master passwd", value="[withheld]", line=1),
        Directive(dialect="syslinux", section="a", key="label", value="a", line=2),
        ProductAccount(
            store="syslinux",
            name="a",
            password="hash",
            scheme="md5crypt",
            fingerprint=digest("$1$ab$0123456789012345678901"),
            line=3,
        ),
        Directive(dialect="syslinux", section="a", key="menu passwd", value="[withheld]", line=3),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=b c\n", [(1, "A", "b")]),
        ("export A='b c'\"d $X\"e # no\n", [(1, "A", "b cd $Xe")]),
        ('A="x\\"y\\$z"\nB+=\\ q\n', [(1, "A", 'x"y$z'), (2, "B+", " q")]),
        ("# A=1\nif A=1\nA =1\nA=a#b;c\n", [(4, "A", "a#b")]),
        ("A=a\\\nb\n", [(1, "A", "ab")]),
        ("A='open\n", [(1, "A", "")]),
        ("A=`b -c | d`$(e f)$G$ x\n", [(1, "A", "`b -c | d`$(e f)$G$")]),
    ],
)
def test_assignments(text: str, expected: list[tuple[int, str, str]]) -> None:
    assert list(assignments(text)) == expected


def test_variables() -> None:
    assert fill("a $B ${B}c $C", {"B": "x"}) == "a x xc $C"
    assert len(fill("$B" * 100, {"B": "x" * 60_000})) < 300
