"""Apache HTTP Server: the configuration in force, as mod_info dumps it, its modules, account and virtual hosts."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from assay.inspect.apache_defaults import NOISE

from .base import Program, run, write

MODULES = (
    "access_compat", "alias", "auth_basic", "authn_core", "authn_file", "authz_core", "authz_host", "authz_user",
    "autoindex", "deflate", "dir", "env", "filter", "info", "mime", "mpm_event", "negotiation", "reqtimeout",
    "setenvif", "status",
)  # fmt: skip
"""What Debian enables when it installs the server, and mod_info, which tells the configuration."""

CONFIGURATIONS = ("charset", "localized-error-pages", "other-vhosts-access-log", "security", "serve-cgi-bin")

PASSED_OVER = ("<limit", "<limitexcept", "<require")
"""Sections whose lines are no settings of their own."""

READ_AT_ONCE = frozenset({"loadmodule", "defaultruntimedir", "serverroot"})
"""Directives that the server takes while it reads: the dump has them no more."""

_PLACE = re.compile(r"#\s+(\d+):")


def _link(root: Path, folder: str, names: list[str]) -> None:
    for name in names:
        if (root / f"etc/apache2/{folder}-available/{name}").exists():
            link = root / f"etc/apache2/{folder}-enabled/{name}"
            link.parent.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(f"../{folder}-available/{name}")


def _packaged(root: Path) -> None:
    _link(root, "mods", [f"{name}.{kind}" for name in MODULES for kind in ("load", "conf")])
    _link(root, "conf", [f"{name}.conf" for name in CONFIGURATIONS])
    _link(root, "sites", ["000-default.conf"])
    for folder in ("run/apache2", "var/log/apache2", "run/lock/apache2", "var/www/html"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for folder, target in (("var/run", "/run"), ("var/lock", "/run/lock")):
        if not (root / folder).exists():
            (root / folder).symlink_to(target)


def _hardened(root: Path) -> None:
    _packaged(root)
    _link(root, "mods", ["headers.load"])
    write(
        root,
        "/etc/apache2/conf-enabled/zz.conf",
        "ServerName x.example\nServerTokens Prod\nServerSignature Off\nTraceEnable off\nLimitRequestBody 65536\n"
        "<IfModule headers_module>\nHeader always set X-Frame-Options DENY\n</IfModule>\n"
        "<IfModule !headers_module>\nTimeout 5\n</IfModule>\n"
        "<Directory /var/www>\nOptions None\nAllowOverride None\n</Directory>\n",
    )


def _careless(root: Path) -> None:
    _packaged(root)
    _link(
        root,
        "mods",
        ["cgid.load", "cgid.conf", "dav.load", "dav_fs.load", "dav_fs.conf", "include.load", "headers.load"],
    )
    write(root, "/etc/apache2/ports.conf", "Listen 80\nDefine PORT 8080\nListen 127.0.0.1:${PORT}\n")
    write(root, "/etc/apache2/conf-enabled/more/a.conf", "KeepAliveTimeout 99\n")
    write(
        root,
        "/etc/apache2/sites-enabled/z.conf",
        "ServerName x.example\nInclude conf-enabled/more\nTraceEnable extended\n"
        "<VirtualHost *:${PORT}>\nServerName b.example\nDocumentRoot /srv/b\nHeader set X-A \"1 2\"\n"
        "ScriptAlias /cgi-bin/ /usr/lib/cgi-bin/\n"
        "<Directory /srv/b>\nOptions Indexes Includes ExecCGI\nAllowOverride All\nRequire all granted\n</Directory>\n"
        "<Directory /srv/b/dav>\nDav On\n<Limit PUT>\nRequire valid-user\n</Limit>\n</Directory>\n"
        "<Location \"/info here\">\nSetHandler server-info\n</Location>\n"
        "<IfDefine PORT>\nSetEnv A b\n</IfDefine>\n<IfDefine !PORT>\nSetEnv C d\n</IfDefine>\n</VirtualHost>\n",
    )  # fmt: skip


def _says(root: Path) -> dict[str, str]:
    told = run(root, "/usr/sbin/apache2ctl", "-t", "-D", "DUMP_RUN_CFG", "-D", "DUMP_MODULES")
    found = {
        "account": " ".join(re.findall(r'^(?:User|Group): name="([^"]*)"', told, re.MULTILINE)),
        "modules": " ".join(sorted(re.findall(r"^ (\w+) \(shared\)", told, re.MULTILINE))),
    }
    path, number, opened = "", "", list[str]()
    for raw in run(root, "/usr/sbin/apache2ctl", "-t", "-D", "DUMP_CONFIG").splitlines():
        line = raw.strip()
        if line.startswith("# In file: "):
            path = line.removeprefix("# In file: ")
        elif place := _PLACE.fullmatch(line):
            number = place[1]
        elif line.startswith("</"):
            opened.pop()
        elif line.startswith("<"):
            opened.append(line.strip("<>"))
        elif line and line[0] != "#":
            directive, _, value = line.partition(" ")
            key = directive.lower()
            inside = [f"<{section}".lower() for section in opened]
            if key not in NOISE and not any(section.startswith(PASSED_OVER) for section in inside):
                _add(found, opened, key, value, f"{path}:{number}")
    return found


def _add(found: dict[str, str], opened: list[str], key: str, value: str, place: str) -> None:
    """Add a directive; one of which the last counts replaces the one before it in the same section."""
    scope = " ".join(section.removesuffix("/") if len(section) > 11 else section for section in opened).replace('"', "")
    last = f"{scope} {key}".strip()
    if key in ("keepalivetimeout", "hostnamelookups", "servertokens", "serversignature", "traceenable", "servername",
               "timeout", "allowoverride", "options", "documentroot"):  # fmt: skip
        for old in [old for old in found if old.startswith(f"{last} at ")]:
            del found[old]
    if key == "options":
        given = value.replace("Symlinks", "SymLinks").split()
        if any(word[0] in "+-" for word in given):  # changes what `Directory /` has
            given = sorted({"FollowSymLinks", *(word[1:] for word in given if word[0] == "+")})
        value = " ".join(sorted(given))
    found[f"{last} at {place}"] = " ".join(value.split())


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    one = {
        key: " ".join(value for (value,) in record.execute(query))
        for key, query in {
            "account": "SELECT value FROM setting WHERE subsystem = 'web' AND key IN ('user', 'group') "
            "AND scope = 'apache' ORDER BY key = 'group'",
            "modules": "SELECT substr(value, 1, instr(value, ' ') - 1) FROM setting WHERE subsystem = 'apache' "
            "AND key = 'loadmodule' ORDER BY 1",
        }.items()
    }
    seen = set()
    rows = record.execute(
        "SELECT scope, key, value, path, line FROM setting WHERE subsystem = 'apache' AND origin = 'file' ORDER BY id"
    )
    for scope, key, value, path, line in rows:
        place = key, f"{path}:{line}"
        if key in READ_AT_ONCE or place in seen:  # what holds in a server because it stands outside of it
            continue
        seen.add(place)
        # the scope of a virtual host ends with its name, which the dump has in another place
        plain = re.sub(r"^(VirtualHost \S+)(?: (?!Directory |Location )\S+)?", r"\1", scope).replace('"', "")
        one[f"{plain} {key} at {place[1]}".strip()] = " ".join(value.split())
    return one


PROGRAM = Program(
    name="apache",
    packages=("apache2",),
    states={"as packaged": _packaged, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="apache2ctl -t -D DUMP_CONFIG, -D DUMP_RUN_CFG -D DUMP_MODULES",
)
