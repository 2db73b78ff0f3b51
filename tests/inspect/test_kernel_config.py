"""Kernel configurations: beside a kernel, compressed, and inside a content."""

from __future__ import annotations

import gzip

import pytest

from assay.facts.service import Directive, Setting
from assay.inspect import kernel_config
from assay.inspect.kernel_config_options import OPTIONS
from tests.support.memory_tree import MemoryTree, inspect

TEXT = (
    b"#\n# Automatically generated file; DO NOT EDIT.\n# Linux/arm64 6.1.55 Kernel Configuration\n#\n"
    b"CONFIG_STRICT_DEVMEM=y\n# CONFIG_MODULE_SIG is not set\n"
)
SAID = (("version", "Linux/arm64 6.1.55", 3), ("CONFIG_STRICT_DEVMEM", "y", 5), ("CONFIG_MODULE_SIG", "n", 6))


def test_text_and_compressed_text() -> None:
    assert inspect(kernel_config.INSPECTOR, TEXT) == [
        Directive(dialect="kernel_config", key=key, value=value, line=line) for key, value, line in SAID
    ]
    assert inspect(kernel_config.INSPECTOR, gzip.compress(TEXT, mtime=0), "gzip") == [
        Directive(dialect="kernel_config", key=key, value=value, offset=0) for key, value, _ in SAID
    ]
    assert kernel_config.wants_head(TEXT)
    assert not kernel_config.wants_head(
        b"#\n# Automatically generated make config: don't edit\n# Busybox version: 1.36\n"
    )


def test_inside_a_kernel() -> None:
    image = b"\x00" * 1000 + b"IKCFG_ST" + gzip.compress(TEXT, mtime=0) + b"IKCFG_ED" + b"\xff" * 100
    assert inspect(kernel_config.INSIDE, image) == [
        Directive(dialect="kernel_config", key=key, value=value, offset=1008) for key, value, _ in SAID
    ]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (gzip.compress(TEXT, mtime=0)[:-9], "has no end"),
        (gzip.compress(bytes(5 << 20), mtime=0), "larger than"),
        (gzip.compress(TEXT, mtime=0)[:30] + b"\xff" * 60, "damaged"),
    ],
)
def test_damage_is_an_error(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        inspect(kernel_config.INSPECTOR, data, "gzip")
    with pytest.raises(ValueError, match=why):
        inspect(kernel_config.INSIDE, b"IKCFG_ST" + data)


def test_settings() -> None:
    tree = MemoryTree(
        {
            "/boot/config-6.1.55": (0o644, 0, 0, TEXT),
            "/proc/config.gz": (0o444, 0, 0, gzip.compress(b"CONFIG_USER_NS=y\nCONFIG_OTHER=y\n", mtime=0)),
            "/boot/again": (0o644, 0, 0, TEXT),
        },
        [kernel_config.INSPECTOR],
        kinds={"/proc/config.gz": "gzip"},
    )
    assert not tree.failures
    version = "Linux/arm64 6.1.55"
    basis = "not mentioned: the kernel does not know it, or its conditions are not met"
    stated = {"CONFIG_STRICT_DEVMEM": ("y", 5), "CONFIG_MODULE_SIG": ("n", 6)}
    assert list(kernel_config.settings(tree)) == [
        Setting(
            subsystem="kernel-config",
            key=option,
            value=stated[option][0] if option in stated else "n",
            origin="file",
            scope=version,
            basis=None if option in stated else basis,
            path="/boot/again",
            line=stated[option][1] if option in stated else None,
        )
        for option in OPTIONS
    ] + [
        Setting(
            subsystem="kernel-config",
            key="CONFIG_USER_NS",
            value="y",
            origin="file",
            scope="/proc/config.gz",
            path="/proc/config.gz",
        )
    ]
