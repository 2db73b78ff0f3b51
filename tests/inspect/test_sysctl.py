"""sysctl files: directives, merging as systemd-sysctl and procps do, kernel defaults."""

from __future__ import annotations

from typing import Any

from assay.facts.service import Directive, Setting
from assay.inspect import kernel_config, sysctl
from assay.inspect.sysctl_defaults import DEFAULTS
from tests.support.memory_tree import MemoryTree, inspect

DOCUMENTS = {key: default.document for key, default in DEFAULTS.items()}


def tree(files: dict[str, str]) -> MemoryTree:
    specs: dict[str, Any] = {
        path: (0o777, 0, 0, text[3:]) if text.startswith("-> ") else (0o644, 0, 0, text.encode())
        for path, text in files.items()
    }
    return MemoryTree(specs, [sysctl.INSPECTOR, kernel_config.INSPECTOR])


def row(key: str, value: str, path: str, line: int, basis: str | None = None) -> Setting:
    return Setting(subsystem="sysctl", key=key, value=value, origin="file", basis=basis, path=path, line=line)


def test_directives_are_what_is_written() -> None:
    text = b"""# comment
; comment
net.ipv4.ip_forward = 1
-net/ipv4/conf/eth0.5/rp_filter=2
-net.ipv4.conf.all.rp_filter
kernel.core_pattern=|/bin/x %p=%u
no assignment
=
kernel.empty =
"""

    def directive(key: str, value: str, line: int) -> Directive:
        return Directive(dialect="sysctl", key=key, value=value, line=line)

    assert inspect(sysctl.INSPECTOR, text) == [
        directive("net.ipv4.ip_forward", "1", 3),
        directive("net.ipv4.conf.eth0/5.rp_filter", "2", 4),
        directive("-net.ipv4.conf.all.rp_filter", "", 5),
        directive("kernel.core_pattern", "|/bin/x %p=%u", 6),
        directive("kernel.empty", "", 9),
    ]


CONTAINER = {
    "/etc/sysctl.d/50-a.conf": "kernel.sysrq = 1\n",
    "/usr/lib/sysctl.d/50-a.conf": "kernel.sysrq = 2\nkernel.panic = 5\n",
    "/usr/lib/sysctl.d/60-b.conf": "kernel.sysrq = 3\nfs.suid_dumpable = 2\n",
    "/usr/lib/sysctl.d/60-b.txt": "kernel.sysrq = 9\n",
    "/lib": "-> usr/lib",
    "/etc/sysctl.conf": "fs.suid_dumpable = 0\n",
}


def test_same_name_hides_and_later_name_wins() -> None:
    assert list(sysctl.settings(tree(CONTAINER))) == [
        row("fs.suid_dumpable", "0", "/etc/sysctl.conf", 1, "overrides /usr/lib/sysctl.d/60-b.conf:2"),
        row("kernel.sysrq", "3", "/usr/lib/sysctl.d/60-b.conf", 1, "overrides /etc/sysctl.d/50-a.conf:1"),
    ]


def test_systemd_reads_sysctl_conf_through_a_link_only() -> None:
    def dumpable(more: dict[str, str]) -> list[Setting]:
        found = sysctl.settings(tree(CONTAINER | {"/usr/lib/systemd/systemd": "\x7fELF"} | more))
        return [setting for setting in found if setting.key == "fs.suid_dumpable"]

    assert dumpable({}) == [row("fs.suid_dumpable", "2", "/usr/lib/sysctl.d/60-b.conf", 2)]
    assert dumpable({"/etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf"}) == [
        row("fs.suid_dumpable", "0", "/etc/sysctl.d/99-sysctl.conf", 1, "overrides /usr/lib/sysctl.d/60-b.conf:2")
    ]


def test_a_pattern_counts_for_the_keys_that_nothing_names() -> None:
    path = "/usr/lib/sysctl.d/50-default.conf"
    found = tree(
        {
            path: "net.ipv4.conf.default.rp_filter = 2\nnet.ipv4.conf.*.rp_filter = 1\n-net.ipv4.conf.eth0.rp_filter\n"
            "net.ipv4.conf.*.send_redirects = 0\n-net.ipv4.conf.all.send_redirects\n"
        }
    )
    assert list(sysctl.settings(found)) == [
        row("net.ipv4.conf.*.rp_filter", "1", path, 2),
        row("net.ipv4.conf.*.send_redirects", "0", path, 4),
        row("net.ipv4.conf.all.rp_filter", "1", path, 2, "pattern net.ipv4.conf.*.rp_filter"),
        row("net.ipv4.conf.default.rp_filter", "2", path, 1),
        row("net.ipv4.conf.default.send_redirects", "0", path, 4, "pattern net.ipv4.conf.*.send_redirects"),
    ]


def test_defaults_only_where_a_kernel_starts() -> None:
    found = list(sysctl.settings(tree({"/sbin/init": "\x7fELF", "/etc/sysctl.conf": "kernel.kptr_restrict=2\n"})))
    assert found[0] == row("kernel.kptr_restrict", "2", "/etc/sysctl.conf", 1)
    assert {setting.key: setting.value for setting in found[1:]} == {
        key: "unknown" if default.option else default.value
        for key, default in DEFAULTS.items()
        if key != "kernel.kptr_restrict"
    }
    assert {(setting.origin, setting.path) for setting in found[1:]} == {("default", None)}
    assert list(sysctl.settings(tree({"/bin/app": "\x7fELF"}))) == []


def test_the_kernel_configuration_decides() -> None:
    config = (
        "CONFIG_SYN_COOKIES=y\n# CONFIG_COMPAT_BRK is not set\nCONFIG_MAGIC_SYSRQ_DEFAULT_ENABLE=0x01b6\n"
        'CONFIG_SECURITY_DMESG_RESTRICT=y\nCONFIG_DEFAULT_HOSTNAME="(none)"\n'
    )
    path = "/boot/config-6.1.0"
    found = sysctl.settings(tree({path: config, "/boot/vmlinuz-6.1.0": "MZ"}))

    def decided(key: str, value: str, option: str, line: int | None) -> Setting:
        return Setting(
            subsystem="sysctl",
            key=key,
            value=value,
            origin="kernel-config",
            basis=f"{DOCUMENTS[key]}; {option}",
            path=path,
            line=line,
        )

    assert [setting for setting in found if setting.origin != "default"] == [
        decided("kernel.dmesg_restrict", "1", "CONFIG_SECURITY_DMESG_RESTRICT=y", 4),
        decided("kernel.randomize_va_space", "2", "CONFIG_COMPAT_BRK=n", 2),
        decided("kernel.sysrq", "438", "CONFIG_MAGIC_SYSRQ_DEFAULT_ENABLE=0x01b6", 3),
        decided("kernel.unprivileged_bpf_disabled", "0", "CONFIG_BPF_UNPRIV_DEFAULT_OFF=n", None),
        decided("net.ipv4.tcp_syncookies", "1", "CONFIG_SYN_COOKIES=y", 1),
    ]


def test_kernel_configurations_that_disagree_leave_it_open() -> None:
    found = sysctl.settings(
        tree({"/boot/config-1": "CONFIG_SYN_COOKIES=y\n", "/usr/lib/modules/2/config": "CONFIG_INET=y\n"})
    )
    assert [setting for setting in found if setting.key == "net.ipv4.tcp_syncookies"] == [
        Setting(
            subsystem="sysctl",
            key="net.ipv4.tcp_syncookies",
            value="unknown",
            origin="default",
            basis=f"{DOCUMENTS['net.ipv4.tcp_syncookies']}; with CONFIG_SYN_COOKIES 1, else absent; "
            "kernel configurations disagree",
        )
    ]


def test_kernel_options() -> None:
    text = (
        b'#\n# Linux/x86 6.1.0\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D="x y"\nCONFIG_E=0x10\nnoise\n'
    )
    assert inspect(kernel_config.INSPECTOR, text) == [
        Directive(dialect="kernel_config", key=f"CONFIG_{key}", value=value, line=line)
        for key, value, line in (("A", "y", 3), ("B", "m", 4), ("C", "n", 5), ("D", "x y", 6), ("E", "0x10", 7))
    ]
