"""What the kernel is told when it starts: the command line of every boot entry of a tree.

Source: Documentation/admin-guide/kernel-parameters.rst; GNU GRUB manual 2.06; UAPI Boot Loader Specification; SYSLINUX
configuration; U-Boot documentation (bootargs); Kconfig help of CONFIG_CMDLINE.

A setting is one parameter of one entry: its name as key, what follows `=` as value (empty for a word alone), the entry
as scope. A parameter that stands more than once is a setting each time: for most the last counts, for some all do.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from assay.facts.service import Directive, Setting

from . import boot_entries, grub, kernel_config, uboot
from .assignment import fill
from .base import Tree, TreeFile, TreeInspector
from .boot_files import boot_files
from .dropins import Reader
from .late import late

SUBSYSTEM = "kernel-cmdline"

ENTRIES = 500
"""Boot entries of one tree."""

PARAMETERS = 500
"""Parameters of one entry: the kernel's own line is at most 2048 to 4096 characters long."""

_FORCE = ("CONFIG_CMDLINE_OVERRIDE", "CONFIG_CMDLINE_FORCE")
"""Options with which the kernel does not listen to the boot loader."""

_PARAMETER = late(r'(?:[^\s"]|"[^"]*"?)+')


class Line(NamedTuple):
    """One command line."""

    entry: str
    text: str
    path: str
    line: int | None
    basis: str | None = None


def parameters(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of a command line, up to `--`, behind which words are the first program's."""
    for found, _ in zip(_PARAMETER.finditer(text), range(PARAMETERS), strict=False):
        word = found[0]
        if word == "--":
            return
        name, _, value = word.replace('"', "").partition("=")
        if name != "---":  # the Debian installer's mark for what it is to pass on
            yield name, value


def _files(tree: Tree, *patterns: str) -> list[TreeFile]:
    """Return files that a machine starts from whose path matches one of some patterns."""
    return [file for file in boot_files(tree) if any(fnmatchcase(file.path, pattern) for pattern in patterns)]


def grub_lines(tree: Tree) -> Iterator[Line]:
    """Yield the command lines of GRUB's menus; where there is no menu, those that its defaults would come to."""
    reader, environment = Reader(tree, grub.DIALECT), _environment(tree)
    menus = _files(tree, "*/grub.cfg")
    for file in menus:
        for line in reader.lines(file):
            if line.key in grub.LINUX and line.section:
                text = fill(line.value.partition(" ")[2], environment)
                yield Line(f"grub: {line.section}", text, file.path, line.line)
    legacy = Reader(tree, grub.LEGACY)
    for file in _files(tree, "*/menu.lst", "*/grub.conf"):
        for line in legacy.lines(file):
            if line.key == "kernel" and line.section:
                yield Line(f"grub: {line.section}", line.value.partition(" ")[2], file.path, line.line)
    if menus:
        return
    stated = grub_defaults(tree)
    always = stated.get("GRUB_CMDLINE_LINUX")
    usual = stated.get("GRUB_CMDLINE_LINUX_DEFAULT")
    for name, setting in (("GRUB_CMDLINE_LINUX", always), ("GRUB_CMDLINE_LINUX_DEFAULT", usual)):
        if setting is not None and setting.path is not None:
            yield Line("grub: as grub-mkconfig would write it", setting.value, setting.path, setting.line, name)


def grub_defaults(tree: Tree) -> dict[str, Setting]:
    """Return what /etc/default/grub and /etc/default/grub.d come to, by name; nothing if a file is unreadable."""
    reader = Reader(tree, grub.DEFAULT)
    main = reader.file("/etc/default/grub")
    files = ([main] if main else []) + reader.matching("/etc/default/grub.d/*.cfg")
    values: dict[str, str] = {}
    found: dict[str, Setting] = {}
    for file in files:
        for line in reader.lines(file):
            name = line.key.removesuffix("+")
            value = fill(line.value, values)
            values[name] = (values.get(name, "") + value)[: 1 << 16] if name != line.key else value
            found[name] = Setting(
                subsystem="grub", key=name, value=values[name], origin="file", path=file.path, line=line.line
            )
    return found if reader.certain else {}


def _environment(tree: Tree) -> dict[str, str]:
    reader = Reader(tree, grub.ENVIRONMENT)
    return {line.key: line.value for file in _files(tree, "*/grubenv") for line in reader.lines(file)}


def entry_lines(tree: Tree) -> Iterator[Line]:
    """Yield the command lines of boot loader entries, SYSLINUX menus and files of their own."""
    reader, environment = Reader(tree, boot_entries.ENTRY), _environment(tree)
    for file in _files(tree, "*/loader/entries/*.conf"):
        title = posixpath.basename(file.path).removesuffix(".conf")
        for line in reader.lines(file):
            if line.key == "options":
                yield Line(f"entry: {title}", fill(line.value, environment), file.path, line.line)
    reader = Reader(tree, boot_entries.SYSLINUX)
    for file in _files(tree, "*linux.conf", "*linux.cfg", "*linux/*.cfg", "*/pxelinux.cfg/*"):
        for line in reader.lines(file):
            if line.key in ("append", "kernel", "linux", "localappend"):
                text = line.value if "append" in line.key else line.value.partition(" ")[2]
                yield Line(f"syslinux: {line.section or 'every entry'}", text, file.path, line.line)
    reader = Reader(tree, boot_entries.CMDLINE)
    own = reader.matching("/etc/kernel/cmdline") + reader.matching("/etc/cmdline.d/*.conf")
    for file in [*_files(tree, "*cmdline.txt"), *own]:
        for line in reader.lines(file):
            yield Line(f"file: {file.path}", line.value, file.path, line.line)


def board_lines(tree: Tree) -> Iterator[Line]:
    """Yield what U-Boot's scripts and environments in files set as bootargs, and what is built into the kernel."""
    for dialect, patterns in (
        (uboot.SCRIPT, ("*.scr", "*.scr.uimg")),
        (uboot.TEXT, ("*/uEnv.txt", "*Env.txt")),
        (uboot.ENVIRONMENT, ("*.env", "*/u-boot*", "*env*.bin", "*env*.img")),
    ):
        reader = Reader(tree, dialect)
        for file in _files(tree, *patterns):
            for line in reader.lines(file):
                name, text = line.key, line.value
                if line.key in ("setenv", "env") and dialect == uboot.SCRIPT:
                    name, _, text = line.value.removeprefix("set ").partition(" ")
                if name == "bootargs":
                    where = f", {line.section}" if line.section else ""
                    yield Line(f"u-boot: {file.path}{where}", text.strip("'\""), file.path, line.line)
    for file, lines in kernel_config.configurations(tree):
        said = {line.key: line for line in lines}
        built = said.get("CONFIG_CMDLINE")
        if built is not None and built.value and said.get("CONFIG_CMDLINE_BOOL", built).value != "n":
            forced = any(option in said and said[option].value == "y" for option in _FORCE)
            basis = "CONFIG_CMDLINE, in place of the boot loader's" if forced else "CONFIG_CMDLINE"
            yield Line("built into the kernel", built.value, file.path, built.line, basis)


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield one setting for each parameter of each command line."""
    lines = (line for source in (grub_lines, entry_lines, board_lines) for line in source(tree))
    for line, _ in zip(lines, range(ENTRIES), strict=False):
        for name, value in parameters(line.text):
            yield Setting(
                subsystem=SUBSYSTEM,
                key=name,
                value=value,
                origin="file",
                scope=line.entry,
                basis=line.basis,
                path=line.path,
                line=line.line,
            )


def menus(tree: Tree) -> Iterator[Setting]:
    """Yield what holds for the menus of GRUB and systemd-boot: users, passwords, who may start or change an entry.

    Keys of subsystem grub: the names of /etc/default/grub; superusers, timeout, check_signatures; `password USER`
    (scheme and rounds, or that it is in the clear); `entry TITLE` with what restricts it, where a menu has superusers.
    """
    yield from grub_defaults(tree).values()
    reader = Reader(tree, grub.DIALECT)
    for file in _files(tree, "*/grub.cfg", "*/custom.cfg"):
        lines = reader.lines(file)
        guarded = any(line.key == "set" and line.value.startswith("superusers=") for line in lines)
        for line in lines:
            if found := _grub(line, guarded=guarded):
                key, value, basis = found
                yield Setting(
                    subsystem="grub", key=key, value=value, origin="file", basis=basis, path=file.path, line=line.line
                )
    reader = Reader(tree, boot_entries.LOADER)
    for file in _files(tree, "*/loader/loader.conf"):
        lines = reader.lines(file)
        for line in lines:
            yield Setting(
                subsystem="systemd-boot", key=line.key, value=line.value, origin="file", path=file.path, line=line.line
            )
        if reader.certain and all(line.key != "editor" for line in lines):
            yield Setting(subsystem="systemd-boot", key="editor", value="yes", origin="default", basis="loader.conf(5)")


def _grub(line: Directive, *, guarded: bool) -> tuple[str, str, str | None] | None:
    if line.key == "set":
        name, _, value = line.value.partition("=")
        if name in ("superusers", "timeout", "check_signatures", "default") and line.section is None:
            return name, value, None
    elif line.key in ("password", "password_pbkdf2"):
        user, _, shown = line.value.partition(" ")
        return f"password {user}", shown if line.key == "password_pbkdf2" else "clear", None
    elif line.key in ("menuentry", "submenu") and guarded:
        if "--unrestricted" in line.value:
            return f"entry {line.section}", "unrestricted", None
        users = re.search(r"--users[= ]+(\S+)", line.value)
        basis = None if users else "no --unrestricted: superusers only"
        return f"entry {line.section}", f"users {grub.unquote(users[1])}" if users else "superusers", basis
    return None


SETTINGS = TreeInspector(
    name="kernel-cmdline",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "which entry is started, and what a person or a variable of the boot loader adds",
        "command lines in unified kernel images, FIT images and device trees, and U-Boot environments outside of files",
        "what conditions in a menu would choose",
    ),
)

MENUS = TreeInspector(
    name="boot-menus",
    version=1,
    families=(Setting,),
    inspect=menus,
    unseen=("passwords of firmware set-up, and whether the firmware checks the boot loader (Secure Boot)",),
)
