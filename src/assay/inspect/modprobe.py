"""Kernel modules: what modprobe is told of each, and which ones are loaded at boot.

Source: modprobe.d(5), modprobe(8) of kmod 30; modules-load.d(5), systemd-modules-load.service(8); modules(5) of Debian.

Files of all directories apply in order of file name, a name in an earlier directory hiding the same name in a later
one.
Blanks in a module's name and the two spellings - and _ are the same. Options add up; of several install (or remove)
commands for a module the first counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .dropins import Reader, joined
from .late import late
from .secrecy import withhold

DIALECT = "modprobe"
LOAD = "modules-load"

DIRECTORIES = (
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
)
LOAD_DIRECTORIES = (
    "/etc/modules-load.d",
    "/run/modules-load.d",
    "/usr/local/lib/modules-load.d",
    "/usr/lib/modules-load.d",
    "/lib/modules-load.d",
)

FIELDS = {"alias": 2, "blacklist": 1, "install": 2, "options": 2, "remove": 2, "softdep": 2, "weakdep": 2}
"""Commands, and how many words each needs; modprobe passes over other lines."""

FIRST_COUNTS = ("install", "remove")

_LOAD = late(r"/modules-load\.d/[^/]+\.conf$|^/etc/modules$")
_BRACKET = late(r"\[[^\]]{0,64}\]|-")


def underscored(name: str) -> str:
    """Return a module's name with underscores, as kmod compares it; what stands in brackets is a pattern and stays."""
    return _BRACKET.sub(lambda match: "_" if match[0] == "-" else match[0], name) if "-" in name else name


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a command: the module (for an alias, the alias) as section, the rest of the line as value."""
    for number, line in joined(content.text()):
        words = line.split(None, 2)
        if len(words) <= FIELDS.get(words[0], len(words)):
            continue
        value = words[2] if len(words) > 2 else ""
        value = underscored(value) if words[0] == "alias" else withhold(" ".join(value.split()))
        yield Directive(dialect=DIALECT, section=underscored(words[1]), key=words[0], value=value, line=number)


def inspect_load(content: Content) -> Iterator[Directive]:
    """Yield one directive for each module that is loaded at boot, its options as value."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.partition("#")[0].strip()
        if line and line[0] != ";":
            name, _, options = line.partition(" ")
            yield Directive(
                dialect=LOAD, section=underscored(name), key="load", value=withhold(options.strip()), line=number
            )


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield what holds for each module, as `COMMAND MODULE`, in order of module; then `load MODULE`.

    A blacklisted module has the value "yes". Nothing is said of install and remove commands behind a file that could
    not be read: an earlier one would count.
    """
    reader = Reader(tree, DIALECT)
    found: dict[tuple[str, str], Setting] = {}
    values: dict[tuple[str, str], list[str]] = {}
    for file in reader.merged(DIRECTORIES, ".conf"):
        for line in reader.lines(file):
            module = line.section or ""
            place = module, line.key
            value = "yes" if line.key == "blacklist" else line.value
            known = values.setdefault(place, [])
            known.append(f"{file.path}:{line.line}" if line.key in (*FIRST_COUNTS, "blacklist") else value)
            if place not in found and (reader.certain or line.key not in FIRST_COUNTS):
                found[place] = Setting(
                    subsystem=DIALECT,
                    key=f"{line.key} {module}",
                    value=value,
                    origin="file",
                    path=file.path,
                    line=line.line,
                )
    for place in sorted(found):
        setting, known = found[place], values[place]
        if len(known) > 1 and place[1] in (*FIRST_COUNTS, "blacklist"):
            yield _with(setting, setting.value, f"also in {', '.join(known[1:100])}")
        elif len(known) > 1:
            every = known if place[1] == "options" else list(dict.fromkeys(known))
            separator = " " if place[1] == "options" else "; "
            yield _with(setting, separator.join(every[:100]), f"{len(known)} lines together, the first is shown")
        else:
            yield setting
    yield from _loads(tree)


def _with(setting: Setting, value: str, basis: str) -> Setting:
    return Setting(
        subsystem=setting.subsystem,
        key=setting.key,
        value=value,
        origin=setting.origin,
        basis=basis,
        path=setting.path,
        line=setting.line,
    )


def _loads(tree: Tree) -> Iterator[Setting]:
    reader = Reader(tree, LOAD)
    files = reader.merged(LOAD_DIRECTORIES, ".conf")
    listed = reader.file("/etc/modules")
    files += [listed] if listed is not None and all(tree.lookup(file.path) != listed for file in files) else []
    seen = set()
    for file in files:
        for line in reader.lines(file):
            if line.section not in seen:
                seen.add(line.section)
                yield Setting(
                    subsystem=DIALECT,
                    key=f"load {line.section}",
                    value=line.value or "yes",
                    origin="file",
                    path=file.path,
                    line=line.line,
                )


INSPECTOR = ContentInspector(
    name="modprobe",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/modprobe.d/",),
    wants_path=lambda path: "/modprobe.d/" in path and path.endswith(".conf"),
    max_size=1 << 20,
    text_only=True,
    unseen=("commands other than those of modprobe.d(5), and lines with too few words, which modprobe passes over",),
)

LOADED = ContentInspector(
    name="modules-load",
    version=1,
    families=(Directive,),
    inspect=inspect_load,
    path_has=("/modules",),
    wants_path=lambda path: "/modules" in path and _LOAD.search(path) is not None,
    max_size=1 << 20,
    text_only=True,
    unseen=("modules that a script or an initial RAM disk loads",),
)

SETTINGS = TreeInspector(
    name="modprobe-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "aliases that modules carry themselves (modules.alias), and whether a module is there or built in",
        "module_blacklist= and MODULE.PARAMETER= of the kernel's command line: see subsystem kernel-cmdline",
        "insmod and modprobe in scripts, with what they are told there",
        "the configuration of an initial RAM disk, where it differs from that of the root file system",
    ),
)
