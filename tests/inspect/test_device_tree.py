"""What device trees and FIT images say about starting the machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from assay.facts.identity import Identity
from assay.facts.service import Directive
from assay.inspect.device_tree import INSPECTOR
from assay.unpack.base import UnpackError
from tests.support.hostile import mangled
from tests.support.memory_tree import inspect

pytestmark = pytest.mark.skipif(not shutil.which("dtc"), reason="dtc (device-tree-compiler) is not installed")

BOARD = """/dts-v1/;
/ {
    model = "Vendor Board 5";
    compatible = "vendor,board5", "vendor,soc";
    #address-cells = <1>; #size-cells = <1>;
    chosen { bootargs = "console=ttyS0 root=/dev/mtdblock3 token=geheim";
        stdout-path = "serial0"; rng-seed = [00 01]; };
    config { bootcmd = "bootm 0x1000"; bootdelay = <3>; };
    signature { required-mode = "any";
        key-dev { required = "conf"; algo = "sha256,rsa2048"; rsa,num-bits = <2048>; }; };
    firmware { android { fstab {
        system { dev = "/dev/x"; type = "ext4"; fsmgr_flags = "wait"; status = "okay"; }; }; }; };
    soc { flash@0 { partitions { compatible = "fixed-partitions"; #address-cells = <1>; #size-cells = <1>;
        partition@0 { label = "u-boot"; reg = <0 0x40000>; read-only; };
        partition@40000 { label = "rootfs"; reg = <0x40000 0xfc0000>; }; }; };
        led { label = "green"; }; };
};
"""

FIT = """/dts-v1/;
/ {
    images { kernel-1 { data = "x"; type = "kernel"; load = <0x80000>; hash-1 { algo = "sha256"; value = <1>; }; }; };
    configurations { default = "conf-1";
        conf-1 { kernel = "kernel-1";
        signature-1 { algo = "sha256,rsa2048"; key-name-hint = "dev"; value = <5>; }; }; };
};
"""


def compiled(folder: Path, source: str) -> bytes:
    (folder / "x.dts").write_text(source)
    subprocess.run(["dtc", "-q", "-O", "dtb", "-o", "x.dtb", "x.dts"], cwd=folder, check=True)
    return (folder / "x.dtb").read_bytes()


def said(facts: Sequence[object]) -> list[tuple[str | None, str, str]]:
    return [(fact.section, fact.key, fact.value) for fact in facts if isinstance(fact, Directive)]


def test_a_board(tmp_path: Path) -> None:
    data = compiled(tmp_path, BOARD)
    facts = inspect(INSPECTOR, data)
    assert said(facts) == [
        ("/chosen", "bootargs", "console=ttyS0 root=/dev/mtdblock3 token=[withheld]"),
        ("/chosen", "stdout-path", "serial0"),
        ("/chosen", "rng-seed", "2 bytes"),
        ("/config", "bootcmd", "bootm 0x1000"),
        ("/config", "bootdelay", "3"),
        ("/signature", "required-mode", "any"),
        ("/signature/key-dev", "required", "conf"),
        ("/signature/key-dev", "algo", "sha256,rsa2048"),
        ("/signature/key-dev", "rsa,num-bits", "2048"),
        ("/firmware/android/fstab/system", "dev", "/dev/x"),
        ("/firmware/android/fstab/system", "type", "ext4"),
        ("/firmware/android/fstab/system", "fsmgr_flags", "wait"),
        ("/soc/flash@0/partitions/partition@0", "label", "u-boot"),
        ("/soc/flash@0/partitions/partition@0", "read-only", ""),
        ("/soc/flash@0/partitions/partition@0", "reg", "00000000 00040000"),
        ("/soc/flash@0/partitions/partition@40000", "label", "rootfs"),
        ("/soc/flash@0/partitions/partition@40000", "reg", "00040000 00fc0000"),
    ]
    assert [fact for fact in facts if isinstance(fact, Identity)] == [
        Identity(subject="device-tree", attribute="name", value="Vendor Board 5", offset=data.index(b"Vendor Board")),
        Identity(
            subject="device-tree", attribute="label", value="vendor,board5, vendor,soc", offset=data.index(b"vendor,b")
        ),
    ]
    bootargs = next(fact for fact in facts if isinstance(fact, Directive))
    assert (bootargs.dialect, bootargs.offset) == ("device-tree", data.index(b"console="))


def test_a_fit(tmp_path: Path) -> None:
    assert said(inspect(INSPECTOR, compiled(tmp_path, FIT))) == [
        ("/images/kernel-1", "type", "kernel"),
        ("/images/kernel-1", "load", "524288"),
        ("/images/kernel-1/hash-1", "algo", "sha256"),
        ("/configurations", "default", "conf-1"),
        ("/configurations/conf-1", "kernel", "kernel-1"),
        ("/configurations/conf-1/signature-1", "algo", "sha256,rsa2048"),
        ("/configurations/conf-1/signature-1", "key-name-hint", "dev"),
    ]


def test_hostile(tmp_path: Path) -> None:
    data = compiled(tmp_path, BOARD)
    assert inspect(INSPECTOR, b"\xd0\x0d\xfe\xed and something else") == []
    for broken in mangled(data, count=300):
        with suppress(UnpackError):
            inspect(INSPECTOR, broken)
