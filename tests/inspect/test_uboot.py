"""U-Boot: environments with and without a checksum, scripts, text environments; its own tools where they are."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from assay.facts.service import Directive
from assay.inspect import uboot
from tests.support.hostile import mangled
from tests.support.memory_tree import inspect

VARIABLES = ["baudrate=115200", "bootargs=console=ttyS0 root=/dev/mtdblock2", "bootcmd=run boot_nand", "bootdelay=3"]
VARIABLES += ["admin_password=geheim", "serverip=192.0.2.1"]


def environment(size: int, order: str = "<", flag: bytes = b"", variables: list[str] = VARIABLES) -> bytes:
    body = b"".join(variable.encode() + b"\0" for variable in variables) + b"\0"
    body += b"\xff" * (size - 4 - len(flag) - len(body))
    return struct.pack(f"{order}I", zlib.crc32(body)) + flag + body


def said(section: str, at: int, dialect: str = "u-boot-environment") -> list[Directive]:
    found = []
    for variable in VARIABLES:
        name, _, value = variable.partition("=")
        value = "[withheld]" if name == "admin_password" else value
        found.append(Directive(dialect=dialect, section=section, key=name, value=value, offset=at))
        at += len(variable) + 1
    return found


@pytest.mark.parametrize("size", [0x400, 0x2000, 0x10000, 0x40000, 0x3000])
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_environment_alone(size: int, order: str) -> None:
    found = inspect(uboot.INSPECTOR, environment(size, order))
    assert found == said(f"environment at 0, {size} bytes, CRC-32 right", 4)


def test_environments_in_a_flash_image() -> None:
    rng = random.Random(3)
    flash = bytearray(rng.randbytes(0x40000))
    flash[0x10000:0x20000] = environment(0x10000, flag=b"\x01")
    flash[0x20000:0x30000] = environment(0x10000, flag=b"\x00")
    assert inspect(uboot.INSPECTOR, bytes(flash)) == [
        *said(f"environment at {0x10000}, 65536 bytes, CRC-32 right, redundant, flag 1", 0x10005),
        *said(f"environment at {0x20000}, 65536 bytes, CRC-32 right, redundant, flag 0", 0x20005),
    ]


def test_checksum_bytes_that_look_like_letters() -> None:
    for number in range(100_000):
        whole = environment(0x400, variables=[*VARIABLES, f"n={number}"])
        if whole[:4].isalpha():
            break
    found = inspect(uboot.INSPECTOR, bytes(64) + whole)
    assert found[:-1] == said("environment at 64, 1024 bytes, CRC-32 right", 68)


def test_variables_compiled_into_a_program() -> None:
    body = b"\x7fELF\x01\x02" + bytes(50) + b"".join(variable.encode() + b"\0" for variable in VARIABLES) + bytes(500)
    assert inspect(uboot.INSPECTOR, body) == said("variables at 56, no CRC-32 fits", 56)
    assert inspect(uboot.INSPECTOR, b"\0usage: bootcmd=%s\n\0other\0\0") == []


@pytest.mark.skipif(shutil.which("mkenvimage") is None, reason="no mkenvimage (package u-boot-tools)")
def test_an_image_of_mkenvimage(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("\n".join(VARIABLES) + "\n")
    image = tmp_path / "image"
    subprocess.run(["mkenvimage", "-r", "-b", "-s", "0x4000", "-o", image, tmp_path / "text"], check=True)
    found = inspect(uboot.INSPECTOR, image.read_bytes())
    assert found == said("environment at 0, 16384 bytes, CRC-32 right, redundant, flag 1", 5)


SCRIPT = "setenv bootargs console=ttyS0 rdinit=/bin/sh\nif test 1; then\n  run a; bootm 0x1000\nfi\n# end\nreset\n"
COMMANDS = [
    ("setenv", "bootargs console=ttyS0 rdinit=/bin/sh", 1),
    ("if", "test 1", 2),
    ("run", "a", 3),
    ("bootm", "0x1000", 3),
]


def script(text: str) -> bytes:
    body = struct.pack(">II", len(text), 0) + text.encode()
    header = struct.pack(">7I4B32s", 0x27051956, 0, 0, len(body), 0, 0, zlib.crc32(body), 5, 2, 6, 0, b"boot")
    return header + body


def test_boot_script() -> None:
    expected = [Directive(dialect="u-boot-script", key=key, value=value, line=line) for key, value, line in COMMANDS]
    assert inspect(uboot.SCRIPTS, script(SCRIPT)) == expected
    assert inspect(uboot.TEXTS, SCRIPT.encode()) == expected
    with pytest.raises(ValueError, match="the image header promises 106 bytes, there are 96"):
        inspect(uboot.SCRIPTS, script(SCRIPT)[:-10])


@pytest.mark.skipif(shutil.which("mkimage") is None, reason="no mkimage (package u-boot-tools)")
def test_a_script_of_mkimage(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(SCRIPT)
    image = tmp_path / "boot.scr"
    subprocess.run(["mkimage", "-A", "arm", "-T", "script", "-d", tmp_path / "text", image], check=True)
    assert [(line.key, line.value, line.line) for line in inspect(uboot.SCRIPTS, image.read_bytes())] == COMMANDS


def test_text_environment() -> None:
    text = b"# c\nbootargs=quiet init=/bin/sh\nwifi_psk=x\n"
    assert inspect(uboot.TEXTS, text) == [
        Directive(dialect="u-boot-text", key="bootargs", value="quiet init=/bin/sh", line=2),
        Directive(dialect="u-boot-text", key="wifi_psk", value="[withheld]", line=3),
    ]


def test_damage_and_many_places() -> None:
    for broken in mangled(environment(0x1000), count=200):
        inspect(uboot.INSPECTOR, broken)
    for broken in mangled(script(SCRIPT), count=100):
        try:
            inspect(uboot.SCRIPTS, broken)
        except ValueError:
            continue
    for unit in (b"bootcmd=", b"a=\0bootcmd=", b"a=bootcmd=\0", b"bootcmd=\0\0", b"x" * 60 + b"=bootcmd="):
        begun = time.process_time()
        try:
            inspect(uboot.INSPECTOR, unit * ((1 << 20) // len(unit)))
        except Exception as error:
            assert str(error) in ("places 64", "places 50000")
        assert time.process_time() - begun < 3, unit
