"""Samba: protocol versions, signing, guests, shares, and where it listens.

Looks at smb.conf and what it includes. Source: smb.conf(5) of Samba 4.11 to 4.21.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .effective import Default, Effective, configured
from .secrecy import WITHHELD
from .starting import ANY, served

DIALECT = "samba"

MAIN = ("/etc/samba/smb.conf", "/usr/local/samba/etc/smb.conf")

PACKAGES = ("samba", "samba-common-bin")

DEFAULTS = (
    Default("bind interfaces only", "No"),
    Default("client min protocol", "SMB2_02"),
    Default("client signing", "default"),
    Default("disable netbios", "No"),
    Default("encrypt passwords", "Yes"),
    Default("guest account", "nobody"),
    Default("hosts allow", ""),
    Default("interfaces", ""),
    Default("lanman auth", "No"),
    Default("log level", "0"),
    Default("map to guest", "Never"),
    Default("null passwords", "No"),
    Default("ntlm auth", "ntlmv2-only"),
    Default("restrict anonymous", "0"),
    Default("server min protocol", "SMB2_02"),
    Default("server signing", "default"),
    Default("server smb encrypt", "default", (4, 14)),
    Default("smb ports", "445 139"),
    Default("unix extensions", "Yes", (), (4, 19)),
    Default("usershare allow guests", "No"),
)

SHARE_DEFAULTS = {"guest ok": "No", "read only": "Yes", "guest only": "No", "browseable": "Yes"}

SYNONYMS = {
    "allow hosts": "hosts allow",
    "browsable": "browseable",
    "deny hosts": "hosts deny",
    "directory": "path",
    "debuglevel": "log level",
    "max protocol": "server max protocol",
    "min protocol": "server min protocol",
    "only guest": "guest only",
    "protocol": "server max protocol",
    "public": "guest ok",
    "smb encrypt": "server smb encrypt",
}

INVERSE = {"writable": "read only", "writeable": "read only", "write ok": "read only"}

BOOLEANS = {"yes": "Yes", "true": "Yes", "1": "Yes", "on": "Yes", "no": "No", "false": "No", "0": "No", "off": "No"}

NAMES = {
    "map to guest": {word.lower(): word for word in ("Never", "Bad User", "Bad Password", "Bad Uid")},
    "ntlm auth": {"yes": "ntlmv1-permitted", "no": "ntlmv2-only"},
    "server min protocol": {"smb3_11": "SMB3"},
    "server signing": {"mandatory": "required", "force": "required", "forced": "required"},
}
"""Values that have several names: the one that testparm prints."""

NOT_BOOLEAN = frozenset({"log level", "max log size", "restrict anonymous", "deadtime", "server role"})


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a parameter: section the share in lower case, key in lower case with single blanks."""
    section: str | None = None
    parts: list[str] = []
    first = 0
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.strip()
        if not parts:
            first = number
            if not line or line[0] in "#;":
                continue
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        whole, parts = " ".join([*parts, line]).strip(), []
        if whole[:1] == "[" and "]" in whole:
            section = whole[1 : whole.index("]")].strip().lower()
            continue
        key, equals, value = whole.partition("=")
        if equals:
            name = " ".join(key.lower().split())
            if "password" in name.split() and name.endswith("password"):
                value = WITHHELD if value.strip() else ""
            yield Directive(dialect=DIALECT, section=section, key=name, value=value.strip().strip('"'), line=first)


def read(tree: Tree) -> Effective:
    """Return the configuration as Samba reads it: includes in place, the last value wins; the scope is the share."""
    reading = Effective(tree, "samba", DIALECT, wants=INSPECTOR.wants_path)
    main = next((file for path in MAIN if (file := tree.lookup(path))), None)
    if main is not None:
        _read(reading, main, "global", 0)
    return reading


def _read(reading: Effective, file: TreeFile, section: str, depth: int) -> None:
    for line in reading.lines(file, depth):
        section = line.section or section
        if line.key in ("include", "config file"):
            if "%" in line.value or line.value == "registry":
                reading.lose()  # another file for each client, or the registry's database
            else:
                for found in reading.matches(line.value if line.value.startswith("/") else f"/{line.value}"):
                    _read(reading, found, section, depth + 1)
            continue
        key = SYNONYMS.get(line.key, line.key)
        value = line.value
        if key not in NOT_BOOLEAN:
            value = BOOLEANS.get(value.lower(), value)
        value = NAMES.get(key, {}).get(value.lower(), value)
        if key in INVERSE:
            key, value = INVERSE[key], {"Yes": "No", "No": "Yes"}.get(value, value)
        scope = "" if section in ("global", "globals") else section
        reading.put(key, value, file, line.line, scope=scope)


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield the effective settings, global ones with an empty scope, and the sockets."""
    if not configured(tree, "smbd", beside=MAIN) or not any(tree.lookup(path) for path in MAIN):
        return
    reading = read(tree)
    yield from reading.settings()
    yield from reading.defaults(DEFAULTS, "smb.conf(5)", PACKAGES)
    if reading.certain:
        for scope in filter(None, reading.scopes()):
            for key, value in SHARE_DEFAULTS.items():
                if reading.value(key, scope) is None and reading.value(key) is None:
                    yield Setting(
                        subsystem="samba", key=key, value=value, origin="default", scope=scope, basis="smb.conf(5)"
                    )
        yield from served(tree, ("smbd",), _listeners(reading))


def _listeners(reading: Effective) -> Iterator[Listener]:
    stated = reading.every("smb ports")
    setting = stated[0] if stated else None
    narrow = reading.value("bind interfaces only") == "Yes"
    ports = (setting.value if setting else "445 139").replace(",", " ").split()
    if reading.value("disable netbios") == "Yes" and setting is None:
        ports = ["445"]
    for port in ports[:64]:
        for address in [""] if narrow else [any_address for any_address, _ in ANY]:
            yield Listener(
                program="smbd", protocol="tcp", address=address, port=int(port) if port.isdecimal() else None,
                interface=reading.value("interfaces") if narrow else None, purpose="smb", tls=False,
                origin="file" if setting else "default",
                path=setting.path if setting else None, line=setting.line if setting else None,
            )  # fmt: skip


INSPECTOR = ContentInspector(
    name="samba",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/smb.conf", "/etc/samba/"),
    wants_path=lambda path: path.endswith(".conf") and ("/smb.conf" in path or "/etc/samba/" in path),
    max_size=1 << 20,
    text_only=True,
)

SETTINGS = TreeInspector(
    name="samba-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "Parameters in the registry (include = registry), files with a variable in the name, shares of users.",
        "nmbd's sockets (UDP 137 and 138); what `copy` takes over from another share.",
    ),
)
