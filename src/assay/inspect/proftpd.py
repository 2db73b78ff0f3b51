"""ProFTPD: access, encryption, and where it listens.

Looks at proftpd.conf and what it includes. Source: ProFTPD 1.3 Directive List, "Configuration File Syntax".
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .effective import Default, Effective, configured
from .secrecy import WITHHELD
from .starting import ANY, served

DIALECT = "proftpd"

MAIN = ("/etc/proftpd/proftpd.conf", "/etc/proftpd.conf", "/usr/local/etc/proftpd.conf")

PACKAGES = ("proftpd-core", "proftpd-basic", "proftpd")

DEFAULTS = (
    Default("port", "21"),
    Default("rootlogin", "off"),
    Default("requirevalidshell", "on"),
    Default("servertype", "standalone"),
)

SECRETS = ("userpassword", "sqlconnectinfo", "ldapbinddn", "grouppassword", "tlspassphraseprovider")

REPEATED = frozenset({"allow", "allowuser", "defaultroot", "deny", "denyuser", "loadmodule", "useralias", "setenv"})


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line: key in lower case, section the blocks around it (`<IfModule mod_tls.c>`, ...).

    Raises:
        ValueError: a block ends that did not begin, or one does not end.
    """
    blocks: list[str] = []
    parts: list[str] = []
    number = first = 0
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if not parts:
            first = number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        whole, parts = " ".join([*parts, line]).strip(), []
        if not whole or whole[0] == "#":
            continue
        if whole.startswith("</"):
            if not blocks:
                raise ValueError(f"line {number}: {whole[:80]} without its beginning")
            blocks.pop()
        elif whole[0] == "<":
            if len(blocks) >= 60:
                raise ValueError(f"line {number}: more than 60 blocks in blocks")
            blocks.append(" ".join(whole.strip("<>").split())[:500])
        else:
            key, *rest = whole.split(None, 1)
            value = rest[0] if rest else ""
            yield Directive(
                dialect=DIALECT, section=" / ".join(blocks) or None, key=key.lower(),
                value=WITHHELD if key.lower() in SECRETS else value, line=first,
            )  # fmt: skip
    if blocks:
        raise ValueError(f"line {number}: <{blocks[-1][:80]}> does not end")


def _scope(section: str | None) -> str:
    """Return the blocks that make a condition; those that hold for the main server, or for all, make none."""
    parts = (section or "").split(" / ")
    return " / ".join(part for part in parts if part and part != "Global" and not part.startswith("IfModule mod_"))


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield what files set, scope the blocks around it, and the sockets of the main server and virtual hosts.

    A block `IfModule` is taken to hold: modules are built in or loaded by a line of the same files.
    """
    main = next((file for path in MAIN if (file := tree.lookup(path))), None)
    if main is None or not configured(tree, "proftpd", beside=MAIN):
        return
    reading = Effective(tree, "proftpd", DIALECT, wants=INSPECTOR.wants_path)
    _read(reading, main, "", 0)
    yield from reading.settings()
    yield from reading.defaults(DEFAULTS, "ProFTPD directive list", PACKAGES)
    yield from served(tree, ("proftpd",), _listeners(reading))


def _read(reading: Effective, file: TreeFile, outer: str, depth: int) -> None:
    for line in reading.lines(file, depth):
        scope = " / ".join(filter(None, (outer, _scope(line.section))))
        if line.key == "include":
            for found in reading.matches(line.value.strip('"')):
                inside = reading.directory(found.path) if found.type == "directory" else [found]
                for each in inside:
                    _read(reading, each, scope, depth + 1)
        else:
            which = line.value if line.key in REPEATED else None
            reading.put(line.key, line.value, file, line.line, scope=scope, which=which)


def _listeners(reading: Effective) -> Iterator[Listener]:
    if (reading.value("servertype") or "standalone").lower() != "standalone":
        return
    for scope in [
        "",
        *(scope for scope in reading.scopes() if scope.startswith("VirtualHost ") and " / " not in scope),
    ]:
        stated = reading.every("port", scope) or reading.every("port")
        setting = stated[0] if stated else None
        if setting is None and not reading.certain:
            continue
        port = setting.value if setting else "21"
        address = scope.partition(" ")[2] if scope else reading.value("defaultaddress") or ""
        implicit = "useimplicitssl" in (reading.value("tlsoptions", scope) or "").lower()
        for each in [address] if address else [any_address for any_address, _ in ANY]:
            if port != "0":
                yield Listener(
                    program="proftpd", protocol="tcp", address=each, port=int(port) if port.isdecimal() else None,
                    purpose="ftp", tls=implicit, origin="file" if setting else "default",
                    path=setting.path if setting else None, line=setting.line if setting else None,
                )  # fmt: skip


INSPECTOR = ContentInspector(
    name="proftpd",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/etc/proftpd",),
    wants_path=lambda path: path.endswith(".conf") and "/etc/proftpd" in path,
    max_size=1 << 20,
    text_only=True,
)

SETTINGS = TreeInspector(
    name="proftpd-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=("Whether the condition of an IfModule, IfDefine or IfVersion block holds; files named by .ftpaccess.",),
)
