"""modprobe: commands, order and hiding of files, modules that are loaded at boot."""

from __future__ import annotations

from typing import Any

from assay.facts.service import Directive, Setting
from assay.inspect import modprobe
from tests.support.memory_tree import MemoryTree, inspect


def tree(files: dict[str, str], **more: Any) -> MemoryTree:
    specs: dict[str, Any] = {
        path: (0o777, 0, 0, text[3:]) if text.startswith("-> ") else (0o644, 0, 0, text.encode())
        for path, text in files.items()
    }
    return MemoryTree(specs, [modprobe.INSPECTOR, modprobe.LOADED], **more)


def row(key: str, value: str, path: str, line: int, basis: str | None = None) -> Setting:
    return Setting(subsystem="modprobe", key=key, value=value, origin="file", basis=basis, path=path, line=line)


def test_commands_are_what_is_written() -> None:
    text = (
        b"# comment\nblacklist usb-storage\ninstall  dccp\t/bin/true\noptions kvm-intel nested=0 \\\n  ept=1\n"
        b"alias net-pf-[a-c]-31 blue-tooth\nblacklist\ninstall alone\nunknown thing x\noptions net password=x\n"
    )

    def command(key: str, module: str, value: str, line: int) -> Directive:
        return Directive(dialect="modprobe", section=module, key=key, value=value, line=line)

    assert inspect(modprobe.INSPECTOR, text) == [
        command("blacklist", "usb_storage", "", 2),
        command("install", "dccp", "/bin/true", 3),
        command("options", "kvm_intel", "nested=0 ept=1", 4),
        command("alias", "net_pf_[a-c]_31", "blue_tooth", 6),
        command("options", "net", "password=[withheld]", 10),
    ]


def test_order_and_hiding() -> None:
    found = tree(
        {
            "/etc/modprobe.d/b.conf": "install sctp /bin/false\noptions kvm a=2\nblacklist pcspkr\n",
            "/run/modprobe.d/a.conf": "install sctp /bin/true\noptions kvm a=1\n",
            "/usr/lib/modprobe.d/b.conf": "blacklist hidden\n",
            "/usr/lib/modprobe.d/c.conf": "blacklist pcspkr\n",
            "/usr/lib/modprobe.d/d.conf": "blacklist masked\n",
            "/etc/modprobe.d/d.conf": "-> /dev/null",
            "/etc/modprobe.d/e.txt": "blacklist other\n",
            "/lib": "-> usr/lib",
        }
    )
    a, b, c = "/run/modprobe.d/a.conf", "/etc/modprobe.d/b.conf", "/usr/lib/modprobe.d/c.conf"
    assert list(modprobe.settings(found)) == [
        row("options kvm", "a=1 a=2", a, 2, "2 lines together, the first is shown"),
        row("blacklist pcspkr", "yes", b, 3, f"also in {c}:1"),
        row("install sctp", "/bin/true", a, 1, f"also in {b}:1"),
    ]


def test_behind_an_unreadable_file_no_install_command_is_the_first() -> None:
    found = tree(
        {
            "/etc/modprobe.d/a.conf": "install before /bin/true\n",
            "/etc/modprobe.d/b.conf": "x",
            "/etc/modprobe.d/c.conf": "install after /bin/true\nblacklist after\n",
        },
        unread=("/etc/modprobe.d/b.conf",),
    )
    assert [s.key for s in modprobe.settings(found)] == ["blacklist after", "install before"]


def test_modules_loaded_at_boot() -> None:
    found = tree(
        {
            "/etc/modules": "# list\nloop\nbr_netfilter\n",
            "/etc/modules-load.d/modules.conf": "-> ../modules",
            "/usr/lib/modules-load.d/a.conf": "; off\nnf-conntrack hashsize=1\nloop\n",
        }
    )
    assert list(modprobe.settings(found)) == [
        row("load nf_conntrack", "hashsize=1", "/usr/lib/modules-load.d/a.conf", 2),
        row("load loop", "yes", "/usr/lib/modules-load.d/a.conf", 3),
        row("load br_netfilter", "yes", "/etc/modules-load.d/modules.conf", 3),
    ]
