"""Small web servers of firmware: their one file, and what it comes to.

uhttpd (OpenWrt, UCI), boa, thttpd, mini_httpd, BusyBox httpd. Each has one file of simple lines without inclusion.

Source: OpenWrt "uHTTPd web server configuration" and UCI syntax; boa.conf of boa 0.94; thttpd(8) 2.29 (-C);
mini_httpd(8) 1.30 (-C); BusyBox httpd.c (comment on httpd.conf). Defaults are those of the manual pages, for the keys
that every version has.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .blocks import MOST, is_secret
from .late import late
from .secrecy import WITHHELD, withhold
from .superserver import started
from .tls_settings import UNSEEN
from .web_settings import Item, Rows, Values

_PATH = late(
    r"/(?:config/(?P<uhttpd>uhttpd)|(?P<boa>boa)\.conf|(?P<thttpd>thttpd)\.conf|(?P<mini_httpd>mini_httpd)\.conf"
    r"|etc/(?P<busybox>httpd)\.conf)$"
)
_UCI = late(r"""\s*(config|option|list)\s+(\S+)(?:\s+(?:'([^']*)'|"([^"]*)"|(\S+)))?\s*$""")
_PAIR = late(r"\s*([A-Za-z_]\w*)\s*(?:=\s*(.*?)\s*)?$")


class Dialect(NamedTuple):
    """How a server's keys translate."""

    plain: dict[str, str]
    """Key to common word."""
    ports: dict[str, bool | None]
    """Keys that make it listen, and whether with TLS; None where another key says it."""
    defaults: dict[str, str]
    manual: str


DIALECTS = {
    "uhttpd": Dialect(
        {"home": "document-root", "cert": "tls certificate", "key": "tls key"},
        {"listen_http": False, "listen_https": True},
        {"no_dirlists": "0", "cgi_prefix": "/cgi-bin", "no_symlinks": "0"},
        "uhttpd, usage",
    ),
    "boa": Dialect({"user": "user", "group": "group", "documentroot": "document-root"}, {"port": False}, {}, ""),
    "thttpd": Dialect(
        {"user": "user", "dir": "document-root"}, {"port": False}, {"port": "80", "user": "nobody"}, "thttpd(8)"
    ),
    "mini_httpd": Dialect(
        {"user": "user", "dir": "document-root", "certfile": "tls certificate", "cipher": "tls ciphers"},
        {"port": None},
        {"user": "nobody"},
        "mini_httpd(8)",
    ),
    "busybox-httpd": Dialect({"h": "document-root"}, {}, {}, ""),
}


def dialect(path: str) -> str | None:
    """Return whose configuration a path is, None if it is none."""
    match = _PATH.search(path)
    if match is None:
        return None
    name = next(name for name, found in match.groupdict().items() if found)
    return "busybox-httpd" if name == "busybox" else name


def wants_path(path: str) -> bool:
    """Tell whether a file is a configuration of one of the servers."""
    return ("httpd" in path or "boa.conf" in path) and dialect(path) is not None


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a line. Which server it is shows in the text's own form.

    Raises:
        ValueError: more lines than a configuration may have.
    """
    lines = content.text().split("\n")
    if len(lines) > MOST:
        raise ValueError(f"more than {MOST} lines")
    if any(line.startswith(("config uhttpd", "config 'uhttpd'", "config cert")) for line in lines):
        yield from _uci(lines)
        return
    for number, raw in enumerate(lines, 1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        if pair := _PAIR.match(line):  # thttpd, mini_httpd
            yield _directive("key=value", None, pair[1], pair[2] or "", number)
        elif ":" in line and not line[0].isspace() and " " not in line.partition(":")[0]:  # BusyBox
            key, _, value = line.partition(":")
            if key.startswith("/"):  # a path that asks for an account: user:password
                value = f"{value.partition(':')[0]}:{WITHHELD}"
            yield _directive("key:value", None, key, value, number)
        else:  # boa
            key, _, value = line.replace("\t", " ").partition(" ")
            yield _directive("key value", None, key.lower(), value.strip(), number)


def _uci(lines: list[str]) -> Iterator[Directive]:
    section = None
    for number, line in enumerate(lines, 1):
        if match := _UCI.match(line.partition(" #")[0]):
            kind, key = match[1], match[2].strip("'\"")
            value = next((group for group in match.groups()[2:] if group is not None), "")
            if kind == "config":
                section = f"{key} {value}".strip()
            else:
                yield _directive("uci", section, key, value, number)


def _directive(form: str, section: str | None, key: str, value: str, line: int) -> Directive:
    shown = WITHHELD if value and is_secret(key) else withhold(value)
    return Directive(dialect=f"small-web {form}", section=section, key=key, value=shown, line=line)


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield the settings and listeners of each configuration; the scope is `PROGRAM -c FILE`, of uhttpd its section."""
    for file in [*tree.glob("*httpd"), *tree.glob("*httpd.conf"), *tree.glob("*/boa.conf")][:200]:
        target = tree.lookup(file.path)
        name = dialect(file.path)
        if name is None or target is None or target.type not in ("regular", "hardlink"):
            continue
        if file.path.startswith(("/usr/share/", "/usr/lib/")):
            continue
        sections: dict[str | None, Values] = {}
        for fact in tree.facts(Directive, file):
            if fact.dialect.startswith("small-web "):
                key = fact.key.lower() if name == "busybox-httpd" and not fact.key.startswith("/") else fact.key
                item = Item(fact.value, file.path, fact.line)
                sections.setdefault(fact.section, {}).setdefault(key, []).append(item)
        for section, values in sections.items():
            if name != "uhttpd" or (section or "").startswith("uhttpd"):
                yield from _one(tree, file, name, section, values)


def _one(tree: Tree, file: TreeFile, name: str, section: str | None, stated: Values) -> Iterator[Setting | Listener]:
    known = DIALECTS[name]
    scope = section or f"{name} -c {file.path}"
    rows = Rows(name)
    base: Values = {}
    if not tree.unread(file.path):
        basis = f"{known.manual}; version unknown"
        base = {key: [Item(value, basis=basis)] for key, value in known.defaults.items()}
    values = base | stated
    yield from rows.own(scope, values, {})
    tls = _on(values, "ssl") or "listen_https" in values
    common: Values = {}
    for key, word in known.plain.items():
        if key in values and (tls or not word.startswith("tls ")):
            common[word] = [values[key][-1]]
    if name == "uhttpd" and "no_dirlists" in values:
        item = values["no_dirlists"][-1]
        common["directory-listing"] = [item._replace(value="off" if _on(values, "no_dirlists") else "on")]
    if scripts := list(_scripts(name, values)):
        common["scripts"] = scripts
    accounts = [
        item for key, items in values.items() if key.startswith("/") and name == "busybox-httpd" for item in items
    ]
    if accounts:
        common["authentication"] = [item._replace(value="basic") for item in accounts]
    yield from rows.common(scope, common, {})
    enabled, service = started(tree, frozenset({name, "httpd"} if name == "busybox-httpd" else {name}))
    for key, speaks in known.ports.items():
        for item in values.get(key, ()):
            address, _, port = item.value.rpartition(":")
            host = address or values.get("host", values.get("listen", [Item("")]))[-1].value
            if port.isdigit() and len(port) < 6 and int(port) < 65536:
                yield Listener(
                    program=name,
                    protocol="tcp",
                    address=host.strip("[]") or "0.0.0.0",  # noqa: S104 - what it does, not what we do
                    port=int(port),
                    purpose="https" if (tls if speaks is None else speaks) else "http",
                    tls=tls if speaks is None else speaks,
                    service=service,
                    enabled=enabled,
                    origin="file" if item.path else "default",
                    path=item.path,
                    line=item.line,
                )


def _on(values: Values, key: str) -> bool:
    return key in values and values[key][-1].value.lower() in ("1", "yes", "on", "true", "enabled", "")


def _scripts(name: str, values: Values) -> Iterator[Item]:
    """Yield what runs programs or scripts, in common words."""
    for key, kind in (("cgi_prefix", "cgi"), ("cgipat", "cgi"), ("scriptalias", "cgi"), ("lua_prefix", "lua"),
                      ("ucode_prefix", "ucode"), ("ubus_prefix", "ubus"), ("interpreter", "interpreter")):  # fmt: skip
        for item in values.get(key, ()):
            if item.value:
                yield item._replace(value=f"{kind} {item.value}")
    if name == "busybox-httpd":
        for key, items in values.items():
            if key.startswith("*."):
                yield from (item._replace(value=f"interpreter {key} {item.value}") for item in items)
    if name == "boa":
        for item in values.get("addtype", ()):
            if "x-httpd-cgi" in item.value:
                yield item._replace(value=f"cgi {posixpath.basename(item.value.replace(' ', '/'))}")


INSPECTOR = ContentInspector(
    name="small-web-config",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("httpd", "boa.conf"),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
)

SETTINGS = TreeInspector(
    name="small-web-settings",
    version=1,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "options on the command line, which these servers are mostly started with: port, root, CGI pattern",
        "what is compiled in (thttpd and mini_httpd list directories and run CGI as they were built)",
        *UNSEEN,
    ),
)
