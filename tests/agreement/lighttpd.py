"""lighttpd: the configuration as it has read and merged it, as `lighttpd -p` prints it."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from .base import Program, run, write

_ASSIGNMENT = re.compile(r"([\w.-]+)\s+= (.*)", re.DOTALL)
_PREFIX = re.compile(r'=~ "\^([\w/-]+)"')


def _without_scripts(root: Path) -> None:
    """Take out the two scripts of Debian's configuration: they need Perl, which the root has not."""
    text = (root / "etc/lighttpd/lighttpd.conf").read_text()
    write(root, "/etc/lighttpd/lighttpd.conf", re.sub(r"(?m)^include_shell.*\n", "", text))


def _enable(root: Path, *names: str) -> None:
    for name in names:
        link = root / f"etc/lighttpd/conf-enabled/{name}.conf"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(f"../conf-available/{name}.conf")


def _packaged(root: Path) -> None:
    _without_scripts(root)
    _enable(root, "90-debian-doc")


def _hardened(root: Path) -> None:
    _without_scripts(root)
    write(
        root,
        "/etc/lighttpd/conf-enabled/50-hard.conf",
        'server.tag = ""\nserver.modules += ("mod_setenv")\nserver.port := 8080\ndir-listing.activate = "disable"\n'
        'setenv.add-response-header = ("X-Frame-Options" => "DENY")\nvar.base = "/srv"\n'
        'server.document-root := var.base + "/www"\n'
        '$SERVER["socket"] == "127.0.0.1:8443" {\n  url.access-deny += (".bak")\n}\n',
    )


def _careless(root: Path) -> None:
    _without_scripts(root)
    _enable(root, "10-cgi", "10-dir-listing", "10-status", "10-userdir", "90-debian-doc")
    write(
        root,
        "/etc/lighttpd/conf-enabled/95-careless.conf",
        'server.username := "root"\nstatus.status-url = "/status"\n'
        '$HTTP["host"] == "a.example" {\n  server.document-root = "/a"\n  index-file.names += ("x.html")\n'
        '  $HTTP["url"] =~ "^/list" { dir-listing.activate = "enable" }\n'
        '  else $HTTP["url"] =~ "^/dav" { webdav.activate = "enable" }\n'
        '  else { server.follow-symlink = "enable" }\n}\n'
        'cgi.assign += (".cgi" => "/usr/bin/perl")\nglobal { server.max-keep-alive-idle = 60 * 1 }\n'.replace(
            " * 1", ""
        ),
    )


def _spelled(value: str) -> str:
    """Return a value in one line, with lists spelled alike."""
    text = re.sub(r"\s+", " ", value)
    text = re.sub(r"\(\s+", "(", re.sub(r",?\s*\)", ")", text))
    return re.sub(r"\s*(=>|,)\s*", r"\1", text)


def _says(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    opened: list[str] = []
    pending = ""
    for raw in run(root, "/usr/sbin/lighttpd", "-p", "-f", "/etc/lighttpd/lighttpd.conf").splitlines():
        line = raw.strip()
        if not pending and (not line or line.startswith("#") or line == "config {"):
            continue
        if not pending and line.endswith("{"):
            opened.append(line[:-1].strip())
        elif not pending and line.startswith("}"):
            if opened:
                opened.pop()
        else:
            pending = f"{pending}\n{line}" if pending else line
            if pending.count("(") <= pending.count(")") and (match := _ASSIGNMENT.fullmatch(pending)):
                if not match[1].startswith("var."):
                    found[f"{' and '.join(opened)} {match[1]}".strip()] = _spelled(match[2])
                pending = ""
    return found


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    rows = record.execute(
        "SELECT scope, key, value FROM setting WHERE subsystem = 'lighttpd' AND origin = 'file' ORDER BY id"
    )
    return {_PREFIX.sub(r'=^ "\1"', f"{scope} {key}".strip()): _spelled(value) for scope, key, value in rows}


PROGRAM = Program(
    name="lighttpd",
    packages=("lighttpd",),
    states={"as packaged": _packaged, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="lighttpd -p",
)
