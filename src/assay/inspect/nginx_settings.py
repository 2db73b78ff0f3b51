"""What nginx configurations come to: effective settings by server and location, and what they listen on.

Source: nginx.org, references of ngx_core_module, ngx_http_core_module, ngx_http_ssl_module and the other modules of the
distribution, 1.0 to 1.28; ngx_conf_file.c for include.

A directive holds in all blocks inside, unless it stands there again: then what stood outside is gone, all of it (a
list of headers is replaced, not added to). Handlers (return, proxy_pass, ...) hold in their own block only. Scopes:
empty for what stands outside of any server; `server NAME:PORT`; `server NAME:PORT location /x`, where a row stands only
for what differs from the server. Where a file that is included could not be read, nothing is said that it could have
changed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

import msgspec

from assay.facts.network import Listener
from assay.facts.service import Setting
from assay.unpack.base import LimitReached

from .base import Tree, TreeFile, TreeInspector
from .blocks import DEPTH, Budget, Node, is_pattern, matches, opened
from .late import late
from .nginx import DIALECT, INSPECTOR, wants_path, words
from .nginx_defaults import FIRST, LAST, SERVER, TLS
from .superserver import started
from .tls_settings import UNSEEN, protocols
from .web_settings import Item, Names, Rows, Values, defaults, size, version

MAIN = (
    "/etc/nginx/nginx.conf",
    "/usr/local/nginx/conf/nginx.conf",
    "/usr/local/openresty/nginx/conf/nginx.conf",
    "/usr/local/etc/nginx/nginx.conf",
    "/opt/nginx/conf/nginx.conf",
)
"""Compiled-in places of the main file, as distributions and the project itself build it."""

PACKAGES = frozenset(
    {"nginx", "nginx-core", "nginx-light", "nginx-full", "nginx-extras", "nginx-ssl", "nginx-all-module"}
)

LOCAL = frozenset({
    "alias", "break", "content_by_lua", "content_by_lua_block", "content_by_lua_file", "empty_gif", "fastcgi_pass",
    "flv", "grpc_pass", "hls", "internal", "js_content", "limit_except", "listen", "memcached_pass", "perl",
    "proxy_pass", "return", "rewrite", "rewrite_by_lua", "rewrite_by_lua_block", "rewrite_by_lua_file", "scgi_pass",
    "server_name", "set", "stub_status", "try_files", "uwsgi_pass",
})  # fmt: skip
"""Directives that do not hold in blocks inside."""

TOGETHER = {"allow": "deny", "deny": "allow"}
"""Directives of one list: either, in a block, replaces both of outside."""

AUTHENTICATION = {
    "auth_request": "subrequest",
    "auth_jwt": "jwt",
    "auth_pam": "pam",
    "auth_digest": "digest",
    "auth_gssapi": "negotiate",
    "access_by_lua": "lua",
    "access_by_lua_block": "lua",
    "access_by_lua_file": "lua",
    "js_access": "javascript",
}
"""What lets a request in besides auth_basic."""

SCRIPTS = ("fastcgi_pass", "uwsgi_pass", "scgi_pass", "content_by_lua", "content_by_lua_block", "content_by_lua_file",
           "js_content", "perl")  # fmt: skip

PLAIN = {
    "autoindex": "directory-listing",
    "root": "document-root",
    "alias": "document-root",
    "ssi": "ssi",
    "auth_basic_user_file": "user-file",
    "ssl_ciphers": "tls ciphers",
    "ssl_ecdh_curve": "tls groups",
    "ssl_prefer_server_ciphers": "tls prefer-server-ciphers",
    "ssl_certificate": "tls certificate",
    "ssl_certificate_key": "tls key",
    "ssl_verify_client": "tls verify-client",
    "ssl_client_certificate": "tls client-ca",
    "ssl_trusted_certificate": "tls client-ca",
    "ssl_session_tickets": "tls session-tickets",
    "ssl_early_data": "tls early-data",
}
"""What is the same in common words."""

TOKENS = {"on": "version", "build": "version", "off": "name", "": "none"}

_LISTEN = late(r"(?:(?P<address>\[[^\]]*\]|[^:]*):)?(?P<port>\d{1,5})$")


class Reading:
    """One configuration: a main file and what it includes."""

    def __init__(self, tree: Tree, main: TreeFile, outer: str) -> None:
        self.tree = tree
        self.main = main
        self.outer = outer
        self.budget = Budget()
        self.missing: list[str] = []
        """Files that are included, and could not be read: a line each."""
        self.rows = Rows("nginx")
        self.names = Names()
        of = version(tree, PACKAGES)
        self.server_defaults = defaults(SERVER, of, FIRST, LAST, "nginx.org module reference")
        self.tls_defaults = defaults(TLS, of, FIRST, LAST, "nginx.org, ngx_http_ssl_module")
        self.listeners: list[Listener] = []

    def read(self) -> Iterator[Setting]:
        """Yield the settings; `listeners` and `missing` are complete then."""
        given = self._file(self.main, None)
        readable = not self.missing
        own, blocks, sure = self._level(given, 0)
        sure = sure and readable
        yield from self.rows.own(self.outer, own, {})
        user = own.get("user", [])
        if user:
            account = words(user[0].value, 2)
            named = {"user": [user[0]._replace(value=account[0] if account else "")]}
            if len(account) > 1:
                named["group"] = [user[0]._replace(value=account[1])]
            yield from self.rows.common(self.outer, named, {})
        for block in blocks:
            if block.key in ("http", "stream", "mail"):
                held, inner, certain = self._level(block.children, 0)
                for server in inner:
                    if server.key == "server":
                        yield from self._server(server, block.key, held, sure and certain)

    def _file(self, file: TreeFile, by: Node | None) -> list[Node]:
        found, why = opened(self.tree, file, by, DIALECT, INSPECTOR, self.budget, "nginx")
        self.missing += [why] if why else []
        return found

    def _level(self, given: list[Node], depth: int) -> tuple[Values, list[Node], bool]:
        """Return a block's own directives, the blocks in it, and whether all that is included could be read."""
        own: Values = {}
        blocks: list[Node] = []
        before = len(self.missing)
        if depth > DEPTH:
            raise LimitReached("includes in includes", DEPTH)
        for node in given:
            if node.key == "include":
                for child in self._included(node):
                    inner, more, _ = self._level([child], depth + 1)
                    for key, items in inner.items():
                        own.setdefault(key, []).extend(items)
                    blocks += more
            elif node.children or node.key in ("server", "location", "if", "limit_except", "http", "stream", "mail"):
                blocks.append(node)
            else:
                own.setdefault(node.key, []).append(Item(node.value, node.path, node.line))
        return own, blocks, len(self.missing) == before

    def _included(self, node: Node) -> Iterator[Node]:
        pattern = posixpath.join(posixpath.dirname(self.main.path), (words(node.value, 1) or [""])[0])
        found = list(matches(self.tree, pattern, self.budget))
        if not found and not is_pattern(pattern) and posixpath.basename(pattern) != "mime.types":
            self.missing.append(f"{node.path}:{node.line}: {pattern} is not in this tree")
        for file in found:
            if posixpath.basename(file.path) == "mime.types":
                continue  # types only
            yield from self._file(file, node)

    def _server(self, node: Node, kind: str, held: Values, sure: bool) -> Iterator[Setting]:
        own, blocks, certain = self._level(node.children, 0)
        sure = sure and certain
        listens = own.get("listen") or ([Item("80", node.path, node.line)] if kind == "http" and certain else [])
        tls = any(item.value == "on" for item in own.get("ssl", held.get("ssl", [])))
        for item in listens:
            tls = self._listen(item, kind, stated="listen" in own, on=tls) or tls
        named = (words(own["server_name"][0].value, 1) or [""])[0] if own.get("server_name") else ""
        port = (words(listens[0].value, 1) or [""])[0].rpartition(":")[2] if listens else ""
        if listens and listens[0].value.startswith("unix:"):
            port = words(listens[0].value, 1)[0]
        prefix = "server" if kind == "http" else f"{kind} server"
        scope = self.names.name(f"{self.outer} {prefix} {named or '_'}:{port}".lstrip(), node.path, node.line)
        base: Values = {}
        if sure and kind == "http":
            base |= self.server_defaults
        if sure and tls:
            base |= self.tls_defaults
        values = inherited(base | (held if certain else {}), own)
        yield from self.rows.own(scope, values, {})
        common = in_common(values, tls=tls)
        yield from self.rows.common(scope, common, {})
        for block in blocks:
            yield from self._inner(block, scope, values, common, certain, 0)

    def _inner(
        self, node: Node, outer: str, held: Values, held_common: Values, sure: bool, depth: int
    ) -> Iterator[Setting]:
        if node.key not in ("location", "if", "limit_except") or depth > DEPTH:
            return
        scope = self.names.name(f"{outer} {node.key} {node.value}", node.path, node.line)
        own, blocks, certain = self._level(node.children, 0)
        values = inherited(held, own)
        if not certain:
            values = {key: items for key, items in values.items() if key in own}
        yield from self.rows.own(scope, values, held)
        common = in_common(values, tls=False)
        if methods := allowed(blocks):
            common["methods"] = [methods]
        if own_headers := own.get("add_header"):
            cut = own_headers[0]._replace(value="", basis="add_header in this block replaces those outside")
            lost = [key for key in held_common if key.startswith("header ") and key not in common]
            common |= {key: [cut] for key in lost}
        yield from self.rows.common(scope, common, held_common)
        for block in blocks:
            yield from self._inner(block, scope, values, held_common | common, sure and certain, depth + 1)

    def _listen(self, item: Item, kind: str, *, stated: bool, on: bool) -> bool:
        """Note a listener; return whether it speaks TLS."""
        first, *options = words(item.value) or [""]
        tls = on or "ssl" in options or "quic" in options
        protocol, address, port = "udp" if "udp" in options or "quic" in options else "tcp", first, None
        if first.startswith("unix:"):
            protocol, address = "unix", first[5:]
        else:
            match = _LISTEN.match(first)
            if match:
                address, port = match["address"] or "*", int(match["port"])
            elif kind == "http" and "$" not in first:
                port = 80
            address = "0.0.0.0" if address == "*" else address.strip("[]")  # noqa: S104
        self.listeners.append(
            Listener(
                program="nginx",
                protocol=protocol,
                address=address,
                port=port if port is None or port < 65536 else None,
                purpose={"http": "https" if tls else "http"}.get(kind, kind),
                tls=tls,
                origin="file" if stated else "default",
                path=item.path,
                line=item.line,
            )
        )
        return tls


def inherited(outer: Values, own: Values) -> Values:
    """Return what holds in a block, from what holds outside and what stands in it."""
    gone = {TOGETHER[key] for key in own if key in TOGETHER}
    return {key: items for key, items in outer.items() if key not in LOCAL and key not in gone} | own


def in_common(values: Values, *, tls: bool) -> Values:
    """Return settings in the words of `web_settings` and, for a server that speaks TLS, of `tls_settings`."""
    found: Values = {}
    for key, name in PLAIN.items():
        if key in values and (tls or not name.startswith("tls ")):
            found.setdefault(name, [])
            found[name] = [item._replace(value=" ".join(words(item.value))) for item in values[key]]
    for item in values.get("server_tokens", ()):
        text = " ".join(words(item.value))
        found["server-header"] = [item._replace(value=TOKENS.get(text, f"text: {text}"))]
    scripts = [
        item._replace(value=f"{key.partition('_pass')[0]} {item.value}".rstrip())
        for key in SCRIPTS
        for item in values.get(key, ())
    ]
    if scripts:
        found["scripts"] = scripts
    for item in values.get("dav_methods", ()):
        found["webdav"] = [item]
    for item in values.get("stub_status", ()):
        found["status-page"] = [item._replace(value="stub_status")]
    for item in values.get("auth_basic", ()):
        realm = " ".join(words(item.value))
        found["authentication"] = [item._replace(value="none" if realm == "off" else f"basic {realm}")]
    for key, scheme in AUTHENTICATION.items():
        for item in values.get(key, ()):
            if item.value != "off":
                found["authentication"] = [item._replace(value=f"{scheme} {item.value}".rstrip())]
    for item in values.get("client_max_body_size", ()):
        found["body-limit"] = [item._replace(value=size(item.value))]
    for item in values.get("add_header", ()):
        name, *rest = [*words(item.value), ""]
        found.setdefault(f"header {name.lower()[:100]}", []).append(item._replace(value=rest[0]))
    if tls:
        for item in values.get("ssl_protocols", ()):
            found["tls protocols"] = [item._replace(value=protocols(words(item.value)))]
    return found


def allowed(blocks: list[Node]) -> Item | None:
    """Return the methods that a location allows, where the others are denied to all."""
    for block in blocks:
        rules = {child.key: child.value for child in block.children if child.key in ("allow", "deny")}
        if block.key == "limit_except" and rules == {"deny": "all"}:
            names = words(block.value)
            names += ["HEAD"] if "GET" in names and "HEAD" not in names else []
            return Item(" ".join(names), block.path, block.line)
    return None


def inspect(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield the settings and listeners of every nginx configuration of a tree.

    The main file is the first of MAIN; another nginx.conf holds only for a server started with it, and has the scope
    `nginx -c PATH`.

    Raises:
        ValueError: a file that is included could not be read; all that could be said has been.
    """
    mains = [file for path in MAIN if (file := tree.lookup(path)) is not None][:1]
    others = [
        file
        for file in tree.glob("*/nginx.conf")
        if file.type != "directory"
        and wants_path(file.path)
        and (real := tree.lookup(file.path)) is not None
        and real.path not in MAIN
        and not file.path.startswith(("/usr/share/", "/usr/lib/", "/var/lib/dpkg/"))
    ]
    missing: list[str] = []
    for file in [*mains, *others][:100]:
        outer = "" if file in mains else f"nginx -c {file.path}"
        reading = Reading(tree, file, outer)
        yield from reading.read()
        enabled, service = started(tree, frozenset({"nginx", "openresty"})) if file in mains else (None, None)
        for listener in dict.fromkeys(reading.listeners):
            yield msgspec.structs.replace(listener, service=service, enabled=enabled)
        missing += reading.missing
    if missing:
        raise ValueError("; ".join(dict.fromkeys(missing[:10])))


SETTINGS = TreeInspector(
    name="nginx-settings",
    version=1,
    families=(Setting, Listener),
    inspect=inspect,
    unseen=(
        "options on the command line (-g, -p), and values that are compiled in: account, prefix, modules",
        "values that hold variables, which only a request gives",
        "which location a request meets: regular expressions are not tried",
        *UNSEEN,
    ),
)
