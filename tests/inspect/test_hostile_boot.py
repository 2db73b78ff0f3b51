"""Inspectors of storage, boot and packet filters on damaged and random input: facts or an error, in bounded time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.inspect import (
    autofs,
    boot_entries,
    firewalld,
    fstab,
    grub,
    iptables,
    kernel_cmdline,
    kernel_config,
    modprobe,
    mounts,
    nftables,
    nftables_chains,
    sshd,
    systemd,
    uboot,
    udev,
    udisks,
    ufw,
    usbguard,
)
from assay.inspect.base import ContentInspector, Tree, TreeInspector
from assay.unpack.base import UnpackError
from tests.support.memory_tree import MemoryTree, inspect

MODULES = (autofs, boot_entries, firewalld, fstab, grub, iptables, kernel_cmdline, kernel_config, modprobe, mounts,
           nftables, nftables_chains, sshd, uboot, udev, udisks, ufw, usbguard)  # fmt: skip

CONTENTS = [value for module in MODULES for value in vars(module).values() if isinstance(value, ContentInspector)]
TREES = [value for module in MODULES for value in vars(module).values() if isinstance(value, TreeInspector)]

SAMPLE = b"""#!/usr/sbin/nft -f
<zone target="DROP"><rule><accept/></rule></zone>
include "/etc/nftables.conf"
define a = $a$a
table inet filter { chain input { type filter hook input priority 0; policy drop; tcp dport { 22 } accept
} }
*filter
:INPUT DROP [0:0]
-A INPUT -j ACCEPT
-D INPUT 1
menuentry 'a' --users x {
 linux /v $kernelopts a=b
}
password_pbkdf2 root grub.pbkdf2.sha512.1.A.B
GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX$GRUB_CMDLINE_LINUX"
title x
label x
append y="z
options $kernelopts
/dev/sda1 /tmp ext4 user,nosuid 0 0
install usb-storage /bin/true
alias a-[b-c]-* d
KERNEL=="sd*", RUN+="/bin/x", PROGRAM="y"
+dir:/etc
/- /etc/auto.master
RuleFolder=/etc
bootcmd=x
setenv bootargs a
[Mount]
Where=/tmp
What=tmpfs
"""

PATHS = (
    "/etc/auto.master", "/usr/sbin/automount", "/etc/firewalld/zones/a.xml", "/etc/firewalld/firewalld.conf",
    "/etc/fstab", "/boot/grub/grub.cfg", "/boot/grub/grubenv", "/etc/default/grub", "/etc/default/grub.d/a.cfg",
    "/boot/grub/menu.lst", "/etc/iptables/rules.v4", "/boot/config-1", "/boot/extlinux/extlinux.conf",
    "/boot/loader/entries/a.conf", "/boot/loader/loader.conf", "/etc/modprobe.d/a.conf", "/etc/modules",
    "/usr/lib/systemd/systemd", "/boot/uEnv.txt", "/etc/systemd/system/tmp.mount", "/etc/nftables.conf",
    "/etc/udev/rules.d/a.rules", "/etc/default/ufw", "/etc/ufw/ufw.conf", "/etc/ufw/user.rules",
    "/etc/usbguard/usbguard-daemon.conf", "/usr/libexec/udisks2/udisksd", "/etc/udisks2/udisks2.conf",
    "/etc/ssh/sshd_config",
)  # fmt: skip


def survives(work: Callable[[], object]) -> None:
    try:
        work()
    except (ValueError, UnpackError) as error:
        assert str(error)


def look_through(inspector: TreeInspector, tree: Tree) -> None:
    survives(lambda: list(inspector.inspect(tree)))


def look_at(data: bytes) -> None:
    for inspector in CONTENTS:
        survives(lambda inspector=inspector: inspect(inspector, data))  # type: ignore[misc]
    tree = MemoryTree(dict.fromkeys(PATHS, (0o644, 0, 0, data)), [*CONTENTS, systemd.INSPECTOR])
    assert all(isinstance(error, (ValueError, UnpackError)) for _, _, error in tree.failures)
    for each in TREES:
        look_through(each, tree)


def test_every_module_has_one() -> None:
    assert len(CONTENTS) >= 20
    assert all(inspector.unseen for inspector in TREES)


def test_damage() -> None:
    rng = random.Random(7)
    for cut in range(0, len(SAMPLE), 41):
        look_at(SAMPLE[:cut])
    for _ in range(25):
        data = bytearray(SAMPLE)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        look_at(bytes(data))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300) | st.lists(st.sampled_from(SAMPLE.split(b"\n")), max_size=30).map(b"\n".join))
def test_anything(data: bytes) -> None:
    look_at(data)


@pytest.mark.parametrize(
    "unit",
    [b"a", b" ", b'"', b"'", b"\\\n", b"{", b"}", b"a{", b"$a", b"define a = $a$a\n", b'KERNEL=="', b"-A a ", b"<a>",
     b"=",
     b"a=", b"menuentry 'a' {\n", b"submenu a {", b"\\040", b"user,", b"alias a[-", b"bootcmd=", b"pass=", b"a-b.",
     b"include \"*\"\n", b"-I a 1 b\n", b"A+=$A$A\n", b"\0", b"GRUB_A=\"$GRUB_A$GRUB_A\"\n", b"# ", b"title x\n",
     b"key=/"],
)  # fmt: skip
def test_time_stays_in_bounds(unit: bytes) -> None:
    for text in (unit * ((1 << 15) // len(unit)), (unit * 40 + b"\n") * ((1 << 15) // (len(unit) * 40 + 1))):
        for inspector in CONTENTS:
            before = time.process_time()
            survives(lambda inspector=inspector, text=text: inspect(inspector, text))  # type: ignore[misc]
            assert time.process_time() - before < 1, inspector.name
    tree = MemoryTree(dict.fromkeys(PATHS, (0o644, 0, 0, text)), [*CONTENTS, systemd.INSPECTOR])
    for each in TREES:
        before = time.process_time()
        look_through(each, tree)
        assert time.process_time() - before < 3, each.name
