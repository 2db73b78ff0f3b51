"""Kernel build configuration: the file beside a kernel, /proc/config.gz, and what a kernel keeps inside itself.

Source: Documentation/kbuild/kconfig.rst; kernel/configs.c and scripts/extract-ikconfig for CONFIG_IKCONFIG: the text,
gzip-compressed, between the marks IKCFG_ST and IKCFG_ED.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Expression, Tree, TreeFile, TreeInspector
from .boot_files import boot_files
from .dropins import Reader
from .kernel_config_options import OPTIONS
from .late import late

DIALECT = "kernel_config"

VERSION = "version"
"""Key of the line that says which kernel a whole configuration is of."""

LARGEST = 4 << 20
"""Bytes of a configuration, unpacked: ten times the largest there is."""

EMBEDDED = 16
"""Configurations inside one content that are looked at."""

_PATH = late(
    r"/boot/(?:.{0,256}/)?\.?config[^/]*$|/lib/modules/[^/]+/(?:build/)?\.?config$|/kernel\.config$|/proc/config\.gz$"
)
_LINE = late(r"^(?:(CONFIG_\w+)=(.*)|# (CONFIG_\w+) is not set|# (Linux/\S+ \S+) Kernel Configuration)$")
_TITLE = late(rb"#\n# (?:Automatically generated[^\n]*\n# )?Linux/\S+ \S+ Kernel Configuration\n")
_MARK = b"IKCFG_ST\x1f\x8b\x08"


def wants_head(head: bytes) -> bool:
    """Tell whether a content begins as the kernel's build writes its configuration."""
    return head.startswith(b"#\n# ") and _TITLE.match(head[:256]) is not None


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an option; "is not set" is the value n. What a compressed text says has no line number.

    Raises:
        ValueError: a compressed configuration is damaged, or larger than any.
    """
    if content.head.startswith(b"\x1f\x8b"):
        yield from _lines(_unpacked(bytes(content.data[: LARGEST + 1])), offset=0)
    elif content.kind in ("text", "script"):
        yield from _lines(content.text(LARGEST), offset=None)


def inspect_embedded(content: Content) -> Iterator[Directive]:
    """Yield one directive an option of each configuration inside a kernel image or module, with where that begins.

    Raises:
        ValueError: one is damaged, or larger than any.
    """
    for end, _ in content.hits.places[:EMBEDDED]:
        start = end - len(_MARK) + len(b"IKCFG_ST")
        yield from _lines(_unpacked(bytes(content.data[start : start + LARGEST])), offset=start)


def _unpacked(data: bytes) -> str:
    unpack = zlib.decompressobj(wbits=31)
    try:
        text = unpack.decompress(data, LARGEST)
    except zlib.error as error:
        raise ValueError(f"the compressed configuration is damaged: {error}") from None
    if not unpack.eof:
        raise ValueError(f"the compressed configuration has no end, or is larger than {LARGEST} bytes")
    return text.decode("utf-8", "backslashreplace")


def _lines(text: str, offset: int | None) -> Iterator[Directive]:
    match = _LINE.match
    for number, line in enumerate(text.split("\n"), 1):
        if found := match(line):
            name, value, unset, version = found[1], found[2], found[3], found[4]
            if version:
                name, value = VERSION, version
            yield Directive(
                dialect=DIALECT,
                key=name or unset,
                value="n" if unset else value[1:-1] if value[:1] == '"' == value[-1:] and len(value) > 1 else value,
                line=number if offset is None else None,
                offset=offset,
            )


def configurations(tree: Tree) -> Iterator[tuple[TreeFile, list[Directive]]]:
    """Yield the files of a tree that hold a kernel's configuration, with its lines; one that is there twice, once."""
    reader = Reader(tree, DIALECT)
    files = boot_files(tree)
    for pattern in ("/lib/modules/*/conf*", "/usr/lib/modules/*/conf*", "*/kernel.config", "/proc/config.gz"):
        files += tree.glob(pattern)
    seen = set()
    for file in files:
        if file.type in ("regular", "hardlink") and file.content is not None and file.content not in seen:
            seen.add(file.content)
            if lines := reader.lines(file):
                yield file, lines


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield the options that security rules look at, of each configuration; the scope is the kernel's version.

    An option that a whole configuration (one that names its kernel) does not mention is not built: value "n", with that
    as basis.
    """
    for file, lines in configurations(tree):
        version = next((line.value for line in lines if line.key == VERSION), None)
        said = {line.key: line for line in lines}
        for option in OPTIONS:
            line = said.get(option)
            if line is None and version is None:
                continue
            yield Setting(
                subsystem="kernel-config",
                key=option,
                value=line.value if line else "n",
                origin="file",
                scope=version or file.path,
                basis=None if line else "not mentioned: the kernel does not know it, or its conditions are not met",
                path=file.path,
                line=line.line if line else None,
            )


INSPECTOR = ContentInspector(
    name="kernel-config",
    version=2,
    families=(Directive,),
    inspect=inspect,
    path_has=("config",),
    head_begins=(b"#\n# ",),
    wants_path=lambda path: "config" in path and _PATH.search(path) is not None,
    wants_head=wants_head,
    max_size=LARGEST,
    containers=True,
    unseen=("a configuration that is not shipped with its kernel",),
)

INSIDE = ContentInspector(
    name="kernel-config-embedded",
    version=1,
    families=(Directive,),
    inspect=inspect_embedded,
    binary_only=True,
    only_hits=True,
    expressions=(Expression(rb"IKCFG_ST\x1f\x8b\x08"),),
    unseen=(
        "a kernel image that unpacks itself (bzImage, zImage), unless a container format has unpacked it",
        "a compressed module configs.ko.xz belongs to a container of its own, not to the root file system",
    ),
)

SETTINGS = TreeInspector(
    name="kernel-config-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "whether the kernel that starts is the one that a configuration is of",
        "options that have no influence on what security rules look at: their lines are directives",
    ),
)
