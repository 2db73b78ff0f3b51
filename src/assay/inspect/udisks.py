"""udisks: how removable media are mounted for a user.

Source: udisks2.conf(5), mount_options.conf and "Default mount options" of the udisks 2.9 reference manual.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .dropins import Reader
from .secrecy import withhold

DIALECT = "udisks2"
MAIN = ("/etc/udisks2/udisks2.conf", "/etc/udisks2/mount_options.conf")
PROGRAMS = ("/usr/libexec/udisks2/udisksd", "/usr/lib/udisks2/udisksd", "/usr/lib/udisks/udisksd")


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an assignment, with the group (or block device) that it stands under as section."""
    section = None
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if line[:1] == "[" and line[-1:] == "]":
            section = line[1:-1]
            continue
        key, equals, value = line.partition("=")
        if equals and line[0] != "#":
            key = key.rstrip()
            yield Directive(dialect=DIALECT, section=section, key=key, value=withhold(value.lstrip()), line=number)


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield what the files set, and the options that udisks adds to every mount, where the tree has udisks.

    Keys of [defaults] in mount_options.conf hold for all devices; of another group, for the device that it names.
    """
    reader = Reader(tree, DIALECT)
    if reader.file(*PROGRAMS) is None:
        return
    for path in MAIN:
        file = reader.file(path)
        last: dict[tuple[str | None, str], Directive] = {}
        for line in reader.lines(file) if file else ():
            last[line.section, line.key] = line
        for (section, key), line in last.items():
            block = section is not None and section.startswith("/dev/")
            yield Setting(
                subsystem=DIALECT,
                key=key if block or section is None else f"{section} {key}",
                value=line.value,
                origin="file",
                scope=section if block and section else "",
                path=path,
                line=line.line,
            )
    yield Setting(
        subsystem=DIALECT,
        key="mount always",
        value="nodev,nosuid",
        origin="default",
        basis="udisks 2 adds them before all other options (src/udiskslinuxmountoptions.c, udiskslinuxfilesystem.c); "
        "file systems that /etc/fstab names are mounted with the options there",
    )


INSPECTOR = ContentInspector(
    name="udisks",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/udisks2/",),
    wants_path=lambda path: "/udisks2/" in path and path.endswith(".conf"),
    max_size=1 << 20,
    text_only=True,
    unseen=("configuration of udisks 1, which has none of these files",),
)

SETTINGS = TreeInspector(
    name="udisks-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "who may mount: rules of polkit decide",
        "UDISKS_MOUNT_OPTIONS of udev rules: see subsystem udev",
        "built-in options by file system type that no file replaces",
    ),
)
