"""nginx: every directive of the configuration in force, as `nginx -T` prints it, by file and line."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from .base import Program, run, write

_HEAD = re.compile(r"# configuration file (\S+):")
_LINE = re.compile(r"(\w+)\s+(.*);")

ELSEWHERE = frozenset({"events", "types", "upstream", "map"})
"""Blocks that hold no settings of a server."""


def _packaged(root: Path) -> None:
    site = root / "etc/nginx/sites-enabled/default"
    site.unlink(missing_ok=True)
    site.symlink_to("/etc/nginx/sites-available/default")
    (root / "var/log/nginx").mkdir(parents=True, exist_ok=True)
    (root / "var/lib/nginx").mkdir(parents=True, exist_ok=True)


def _hardened(root: Path) -> None:
    _packaged(root)
    (root / "etc/nginx/sites-enabled/default").unlink()
    write(root, "/etc/nginx/conf.d/tokens.conf", "server_tokens off;\nautoindex off;\n")
    write(
        root,
        "/etc/nginx/sites-enabled/hardened",
        "server {\nlisten 127.0.0.1:8080;\nserver_name a.example b.example;\n"
        'add_header X-Frame-Options "DENY" always;\n'
        "client_max_body_size 8k;\nif ($request_method = TRACE) {\nreturn 405;\n}\n"
        "location /api/ {\nlimit_except GET {\ndeny all;\n}\nproxy_pass http://127.0.0.1:1;\n}\n}\n",
    )


def _careless(root: Path) -> None:
    _packaged(root)
    write(root, "/etc/nginx/snippets/headers.conf", 'add_header X-A 1;\nadd_header X-B "2 3";\n')
    write(
        root,
        "/etc/nginx/conf.d/careless.conf",
        "server {\nlisten 8081;\nlisten [::]:8081;\ninclude snippets/headers.conf;\nroot /;\nautoindex on;\nssi on;\n"
        "location ~ \\.(php|cgi)$ {\nfastcgi_pass unix:/run/x;\nfastcgi_param A $uri;\n}\n"
        "location /dav/ {\ndav_methods PUT DELETE;\n"
        "auth_basic \"closed site\";\nauth_basic_user_file /etc/nginx/users;\n"
        "location /dav/deep {\nadd_header X-C 4;\nstub_status;\n}\n}\n}\n",
    )  # fmt: skip


def _says(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    path, number, opened = "", 0, list[str]()
    for raw in run(root, "/usr/sbin/nginx", "-T", "-q").splitlines():
        if head := _HEAD.match(raw):
            path, number = head[1], 0
            continue
        number += 1
        line = raw.partition("#")[0].strip()
        if line.endswith("{"):
            opened.append(line.split()[0])
        elif line == "}":
            opened.pop()
        elif (match := _LINE.fullmatch(line)) and match[1] != "include" and not ELSEWHERE & set(opened):
            found[f"{path}:{number} {match[1]}"] = " ".join(match[2].split())
        elif line == "stub_status;":
            found[f"{path}:{number} stub_status"] = ""
    return found


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    rows = record.execute(
        "SELECT path, line, key, value FROM setting WHERE subsystem = 'nginx' AND origin = 'file' ORDER BY id"
    )
    return {f"{path}:{line} {key}": value for path, line, key, value in rows}


PROGRAM = Program(
    name="nginx",
    packages=("nginx",),
    states={"as packaged": _packaged, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="nginx -T",
)
