"""The kernel's own values of parameters that no file sets, for the parameters that security rules look at.

Source: Documentation/networking/ip-sysctl.rst, Documentation/admin-guide/sysctl/kernel.rst and fs.rst,
Documentation/admin-guide/LSM/Yama.rst; initial values in net/ipv4/devinet.c and net/ipv6/addrconf.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from assay.facts.service import Directive, Setting

from .base import Tree, TreeFile

IP = "Documentation/networking/ip-sysctl.rst"
KERNEL = "Documentation/admin-guide/sysctl/kernel.rst"
FS = "Documentation/admin-guide/sysctl/fs.rst"
YAMA = "Documentation/admin-guide/LSM/Yama.rst"


class Default(NamedTuple):
    """A parameter's value in a kernel that nobody has configured."""

    document: str
    value: str
    """Value, or the value with the option off where `option` is named."""
    option: str | None = None
    """Build option that decides."""
    chosen: str = ""
    """Value with the option on (y); empty: the option's own value."""


def _table() -> dict[str, Default]:
    table = {
        "net.ipv4.tcp_syncookies": Default(IP, "absent", "CONFIG_SYN_COOKIES", "1"),
        "net.ipv4.icmp_echo_ignore_broadcasts": Default(IP, "1"),
        "net.ipv4.ip_forward": Default(IP, "0"),
        "net.ipv6.conf.all.forwarding": Default(IP, "0"),
        "kernel.randomize_va_space": Default(KERNEL, "2", "CONFIG_COMPAT_BRK", "1"),
        "kernel.dmesg_restrict": Default(KERNEL, "0", "CONFIG_SECURITY_DMESG_RESTRICT", "1"),
        "kernel.kptr_restrict": Default(KERNEL, "0"),
        "kernel.sysrq": Default(KERNEL, "absent", "CONFIG_MAGIC_SYSRQ_DEFAULT_ENABLE"),
        "kernel.unprivileged_bpf_disabled": Default(KERNEL, "0", "CONFIG_BPF_UNPRIV_DEFAULT_OFF", "2"),
        "kernel.yama.ptrace_scope": Default(YAMA, "absent", "CONFIG_SECURITY_YAMA", "1"),
        "fs.suid_dumpable": Default(FS, "0"),
        "fs.protected_symlinks": Default(FS, "0"),
        "fs.protected_hardlinks": Default(FS, "0"),
        "fs.protected_fifos": Default(FS, "0"),
        "fs.protected_regular": Default(FS, "0"),
    }
    for scope in ("all", "default"):
        four = {
            "rp_filter": "0",
            # The template of new interfaces starts with it, the switch over all of them without.
            "accept_source_route": "0" if scope == "all" else "1",
            "accept_redirects": "1",
            "send_redirects": "1",
            "secure_redirects": "1",
            "proxy_arp": "0",
            "log_martians": "0",
            "mc_forwarding": "0",
        }
        six = {"accept_ra": "1", "accept_redirects": "1", "accept_source_route": "0"}
        table |= {f"net.ipv4.conf.{scope}.{key}": Default(IP, value) for key, value in four.items()}
        table |= {f"net.ipv6.conf.{scope}.{key}": Default(IP, value) for key, value in six.items()}
    return dict(sorted(table.items()))


DEFAULTS = _table()


def _options(tree: Tree) -> dict[str, list[tuple[TreeFile, Directive]]]:
    """Return what the kernel configurations of a tree say on the options of the table."""
    wanted = {default.option for default in DEFAULTS.values() if default.option}
    said: dict[str, list[tuple[TreeFile, Directive]]] = {"": []}
    patterns = ("/boot/*config*", "/lib/modules/*/config", "/usr/lib/modules/*/config", "*/kernel.config")
    for file in {file.id: file for pattern in patterns for file in tree.glob(pattern)}.values():
        lines = [line for line in tree.facts(Directive, file) if line.dialect == "kernel_config"]
        if lines:
            said[""].append((file, lines[0]))
        for line in lines:
            if line.key in wanted:
                said.setdefault(line.key, []).append((file, line))
    return said


def kernel_defaults(tree: Tree) -> Iterator[Setting]:
    """Yield the defaults, those that a build option decides by the kernel configuration in the tree.

    Where there is no configuration, or several disagree, the value is "unknown" and the basis says what would decide. A
    parameter that the configuration leaves out of the kernel is not a setting.
    """
    said = _options(tree)
    for key, default in DEFAULTS.items():
        if default.option is None:
            yield Setting(subsystem="sysctl", key=key, value=default.value, origin="default", basis=default.document)
            continue
        lines = said.get(default.option, [])
        values = {_value(default, line.value) for _, line in lines}
        if said[""] and len(lines) < len(said[""]):
            values.add(default.value)  # an option that a configuration does not name is off
        what = f"with {default.option} " + (
            f"{default.chosen}, else {default.value}" if default.chosen else "its value"
        )
        if len(values) == 1:
            value = values.pop()
            file, line = lines[0] if lines else (said[""][0][0], None)
            if value != "absent":
                yield Setting(
                    subsystem="sysctl",
                    key=key,
                    value=value,
                    origin="kernel-config",
                    basis=f"{default.document}; {default.option}={line.value if line else 'n'}",
                    path=file.path,
                    line=line.line if line else None,
                )
        else:
            why = "kernel configurations disagree" if values else "no kernel configuration in this tree"
            yield Setting(
                subsystem="sysctl",
                key=key,
                value="unknown",
                origin="default",
                basis=f"{default.document}; {what}; {why}",
            )


def _value(default: Default, option: str) -> str:
    if option == "n":
        return default.value
    if default.chosen:
        return default.chosen
    return str(int(option, 16)) if option[:2] == "0x" and len(option) < 20 and option[2:].isalnum() else option
