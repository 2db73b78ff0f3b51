"""Kamailio: the configuration as it prints it with includes in place and conditions decided."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from pathlib import Path

from .base import Program, write

MAIN = "/etc/kamailio/kamailio.cfg"

_COMMENT = re.compile(r"/\*.*?\*/|^[ \t]*#(?!!)[^\n]*|[ \t]#(?!!)[^\n\"]*$", re.DOTALL | re.MULTILINE)
_PARAMETER = re.compile(r"^(\w+)[ \t]*=[ \t]*([^\n;]+?)[ \t]*;?[ \t]*$", re.MULTILINE)
_MODPARAM = re.compile(r"^modparam\(\s*\"([^\"]+)\"\s*,\s*\"([^\"]+)\"\s*,\s*(\"[^)]*\"|[^)\s]+)\s*\)", re.MULTILINE)
_MODULE = re.compile(r"^loadmodule[ (]*\"([^\"]+)\"", re.MULTILINE)
_DEFINE = re.compile(r"^#!(?:try|re)?def(?:ine)?\s+(\w+)[ \t]*([^\n]*)", re.MULTILINE)


def packaged(root: Path) -> None:
    """As the package has it."""


def hardened(root: Path) -> None:
    """TLS alone, and a local file that is imported first."""
    write(
        root,
        "/etc/kamailio/kamailio-local.cfg",
        "#!define WITH_TLS\n#!define WITH_ANTIFLOOD\n#!define MY_PORT 5071\ndisable_tcp=no\n"
        "listen=tls:127.0.0.1:MY_PORT\nserver_signature=no\n",
    )
    write(root, "/etc/kamailio/tls.cfg", "[server:default]\nmethod = TLSv1.2+\nverify_certificate = yes\n")


def careless(root: Path) -> None:
    """Everything on, debugging too, and a parameter that is set twice."""
    write(
        root,
        "/etc/kamailio/kamailio-local.cfg",
        "#!define WITH_DEBUG\n#!define WITH_MYSQL\n#!define WITH_AUTH\n#!define WITH_JSONRPC\n"
        "listen=udp:127.0.0.1:5060 advertise 192.0.2.1:5060\nlisten=tcp:127.0.0.1:5060\nmemdbg=1\n#!ifndef WITH_TLS\n"
        "log_stderror=yes\n#!else\nlog_stderror=no\n#!endif\n",
    )


def says(root: Path) -> dict[str, str]:
    """Ask for the configuration as it is after preprocessing; resolve its own definitions."""
    namespaces = ["--net", "--pid", "--mount", "--fork"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    # It wants a /dev/zero that can be mapped.
    script = 'mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
    command = ["/usr/sbin/kamailio", "-c", "--cfg-print", "-f", MAIN]
    done = subprocess.run(
        ["unshare", *namespaces, "sh", "-c", script, str(root), *command],
        capture_output=True, text=True, errors="replace", timeout=60, check=False,
    )  # fmt: skip
    text = _COMMENT.sub("", done.stdout)
    if "request_route" not in text:
        raise RuntimeError(f"kamailio --cfg-print: {done.stderr[-2000:]}")
    text = text[: re.search(r"^request_route", text, re.MULTILINE).start()]  # type: ignore[union-attr]  # it is there
    defined: dict[str, str] = {}
    for name, value in _DEFINE.findall(text):
        defined.setdefault(name, value.strip().strip('"'))

    def resolved(value: str) -> str:
        if value.startswith('"'):
            return " ".join(re.findall(r'"([^"]*)"', value))
        return ":".join(defined.get(part, part) for part in value.split(":"))

    found = {name: resolved(value) for name, value in _PARAMETER.findall(text) if name != "listen"}
    for modules, name, value in _MODPARAM.findall(text):
        found |= {f"modparam {module} {name}": resolved(value) for module in modules.split("|")}
    found["loadmodule"] = " ".join(sorted(_MODULE.findall(text)))
    found["listen"] = " | ".join(
        sorted(resolved(value) for name, value in _PARAMETER.findall(text) if name == "listen")
    )
    return {key: re.sub(r"(?<=:)kamailiorw(?=@)", "[withheld]", value) for key, value in found.items()}


def ours(db: sqlite3.Connection) -> dict[str, str]:
    """Return what the record says that the file says."""
    found: dict[str, str] = {}
    lists: dict[str, list[str]] = {"loadmodule": [], "listen": []}
    query = "SELECT key, value FROM setting WHERE subsystem = 'kamailio' AND origin = 'file' ORDER BY id"
    for key, value in db.execute(query):
        if key in lists:
            lists[key].append(value)
        elif key != "route" and not key.startswith("tls "):
            found[key] = value
    return found | {"loadmodule": " ".join(sorted(lists["loadmodule"])), "listen": " | ".join(sorted(lists["listen"]))}


PROGRAM = Program(
    name="kamailio",
    packages=("kamailio", "kamailio-tls-modules", "kamailio-mysql-modules"),
    states={"as packaged": packaged, "hardened": hardened, "careless": careless},
    says=says,
    ours=ours,
    how="`kamailio -c --cfg-print`",
)
