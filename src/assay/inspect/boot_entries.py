"""Small boot loaders' files: SYSLINUX and extlinux menus, boot loader entries, systemd-boot, kernel command lines.

Source: SYSLINUX configuration (doc/syslinux.txt, doc/menu.txt of SYSLINUX 6.03); UAPI Boot Loader Specification (type
1); loader.conf(5); kernel-install(8) for /etc/kernel/cmdline; dracut.cmdline(7) for /etc/cmdline.d; U-Boot
doc/README.distro.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from assay.facts.access import ProductAccount
from assay.facts.service import Directive

from .base import Content, ContentInspector
from .crypt_format import scheme
from .late import late
from .secrecy import WITHHELD, withhold

SYSLINUX = "syslinux"
ENTRY = "boot-entry"
LOADER = "systemd-boot"
CMDLINE = "cmdline"

_SYSLINUX = late(
    r"/(?:extlinux|syslinux|isolinux)[^/]*/[^/]+\.(?:conf|cfg)$|/(?:ext|sys|iso)linux\.(?:conf|cfg)$|/pxelinux\.cfg/"
)
_CMDLINE = late(r"/boot/(?:firmware/)?cmdline\.txt$|^/cmdline\.txt$|/etc/kernel/cmdline$|/etc/cmdline\.d/[^/]+\.conf$")


def inspect_syslinux(content: Content) -> Iterator[Directive | ProductAccount]:
    """Yield one directive a line: its keyword in lower case, and what follows; under a LABEL, that is the section."""
    section = None
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        words = line.split(None, 1)
        key, value = words[0].lower(), words[1] if len(words) > 1 else ""
        if key == "menu" and value:
            first, *rest = value.split(None, 1)
            if first.lower() == "master" and rest and rest[0].lower().startswith("passwd"):
                first, rest = "master passwd", rest[0].split(None, 1)[1:]
            key, value = f"menu {first.lower()}", rest[0] if rest else ""
        if key in ("menu passwd", "menu master passwd") and value:
            hashed = value[:1] == "$"
            yield ProductAccount(
                store="syslinux",
                name=section or "",
                password="hash" if hashed else "clear",
                scheme=(scheme(value) or "unknown") if hashed else None,
                fingerprint=hashlib.sha256(value.encode()).hexdigest(),
                line=number,
            )
            value = WITHHELD
        if key == "label":
            section = value
        yield Directive(dialect=SYSLINUX, section=section, key=key, value=withhold(value), line=number)


def inspect_entry(content: Content) -> Iterator[Directive]:
    """Yield one directive a line of an entry or of loader.conf: the first word as key."""
    yield from _pairs(content, ENTRY)


def inspect_loader(content: Content) -> Iterator[Directive]:
    """Yield one directive a line of loader.conf."""
    yield from _pairs(content, LOADER)


def _pairs(content: Content, dialect: str) -> Iterator[Directive]:
    for number, raw in enumerate(content.text().split("\n"), 1):
        words = raw.split(None, 1)
        if words and words[0][0] != "#":
            value = words[1].strip() if len(words) > 1 else ""
            yield Directive(dialect=dialect, key=words[0], value=withhold(value), line=number)


def inspect_cmdline(content: Content) -> Iterator[Directive]:
    """Yield one directive a line that is no comment."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if line and line[0] != "#":
            yield Directive(dialect=CMDLINE, key="cmdline", value=withhold(line), line=number)


MENUS = ContentInspector(
    name="syslinux",
    version=1,
    families=(Directive, ProductAccount),
    inspect=inspect_syslinux,
    path_has=("linux",),
    wants_path=lambda path: "linux" in path and _SYSLINUX.search(path) is not None,
    max_size=1 << 20,
    text_only=True,
    unseen=("files that a menu includes count as menus of their own",),
)

ENTRIES = ContentInspector(
    name="boot-entry",
    version=1,
    families=(Directive,),
    inspect=inspect_entry,
    path_has=("/loader/entries/",),
    wants_path=lambda path: "/loader/entries/" in path and path.endswith(".conf"),
    max_size=1 << 20,
    text_only=True,
    unseen=("unified kernel images (type 2), whose command line is in the image",),
)

LOADERS = ContentInspector(
    name="systemd-boot",
    version=1,
    families=(Directive,),
    inspect=inspect_loader,
    path_has=("/loader/loader.conf",),
    wants_path=lambda path: path.endswith("/loader/loader.conf"),
    max_size=1 << 20,
    text_only=True,
    unseen=("what EFI variables change",),
)

CMDLINES = ContentInspector(
    name="kernel-cmdline-file",
    version=1,
    families=(Directive,),
    inspect=inspect_cmdline,
    path_has=("cmdline",),
    wants_path=lambda path: "cmdline" in path and _CMDLINE.search(path) is not None,
    max_size=1 << 16,
    text_only=True,
    unseen=("command lines kept under other names",),
)
