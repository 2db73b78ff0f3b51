"""Kernel build configuration: /boot/config-VERSION and /usr/lib/modules/VERSION/config."""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.service import Directive

from .base import Content, ContentInspector

DIALECT = "kernel_config"

_PATH = re.compile(r"/boot/(?:.{0,256}/)?\.?config[^/]*$|/lib/modules/[^/]+/(?:build/)?\.?config$|/kernel\.config$")
_LINE = re.compile(r"^(?:(CONFIG_\w+)=(.*)|# (CONFIG_\w+) is not set)$")


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an option, as Documentation/kbuild/kconfig.rst has it; "is not set" is the value n."""
    match = _LINE.match
    for number, line in enumerate(content.text().split("\n"), 1):
        if found := match(line):
            name, value, unset = found.groups()
            yield Directive(
                dialect=DIALECT,
                key=name or unset,
                value="n" if unset else value[1:-1] if value[:1] == '"' == value[-1:] and len(value) > 1 else value,
                line=number,
            )


INSPECTOR = ContentInspector(
    name="kernel-config",
    version=1,
    families=(Directive,),
    inspect=inspect,
    wants_path=lambda path: "config" in path and _PATH.search(path) is not None,
    max_size=4 << 20,
    text_only=True,
)
