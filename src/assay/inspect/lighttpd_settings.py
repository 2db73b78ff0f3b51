"""What lighttpd configurations come to: settings in general and under conditions, and listeners.

Source: redmine.lighttpd.net, "Configuration" (conditions, merging, +=), and the options of each module; defaults of
1.4.40 to 1.4.79.

The scope is empty for what holds in general, else the conditions: `$HTTP["host"] == "a" and $HTTP["url"] =~ "^/x"`. A
row stands under a condition for what it states; everything else holds as in general. An `else` stands as such in the
scope. Output of include_shell is not seen, as nothing is run: no default is told for what it could set.
"""

from __future__ import annotations

import posixpath
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping

import msgspec

from assay.facts.network import Listener
from assay.facts.service import Setting
from assay.unpack.base import LimitReached

from .base import Tree, TreeFile, TreeInspector
from .blocks import DEPTH, LONGEST, Budget, Node, is_pattern, matches, opened
from .late import late
from .lighttpd import DIALECT, INSPECTOR, TOKEN
from .superserver import started
from .tls_settings import UNSEEN, between, changed, protocols
from .web_settings import Default, Item, Names, Rows, Values, Version, defaults, version

MAIN = ("/etc/lighttpd/lighttpd.conf", "/usr/local/etc/lighttpd/lighttpd.conf", "/etc/lighttpd.conf")

FIRST: Version = (1, 4, 40)
LAST: Version = (1, 4, 79)

DEFAULTS = (
    Default("dir-listing.activate", '"disable"'),
    Default("server.follow-symlink", '"enable"'),
    Default("server.port", "80"),
    Default("ssi.exec", '"enable"'),
    Default("ssl.engine", '"disable"'),
)

TLS = (Default("ssl.openssl.ssl-conf-cmd", '("MinProtocol" => "TLSv1.2")', (1, 4, 56)),)

KNOWN_SHELL = {
    "/usr/share/lighttpd/create-mime.conf.pl": "mimetype.assign",
    "/usr/share/lighttpd/use-ipv6.pl": "a listener on the same port of IPv6",
}
"""Scripts that Debian has in its configuration, and the one thing that they set."""

PLAIN = {
    "server.username": "user",
    "server.groupname": "group",
    "server.document-root": "document-root",
    "dir-listing.activate": "directory-listing",
    "server.dir-listing": "directory-listing",
    "webdav.activate": "webdav",
    "status.status-url": "status-page",
    "auth.backend.htpasswd.userfile": "user-file",
    "auth.backend.plain.userfile": "user-file",
    "auth.backend.htdigest.userfile": "user-file",
    "ssl.pemfile": "tls certificate",
    "ssl.privkey": "tls key",
    "ssl.cipher-list": "tls ciphers",
    "ssl.ec-curve": "tls groups",
    "ssl.honor-cipher-order": "tls prefer-server-ciphers",
    "ssl.ca-file": "tls client-ca",
    "ssl.verifyclient.ca-file": "tls client-ca",
}
SWITCH = {"enable": "on", "disable": "off"}

_PAIR = late(r'"((?:[^"\\]|\\.)*)"\s*=>\s*(?:"((?:[^"\\]|\\.)*)"|\(|(\d+))')
_TEXT = late(r'"((?:[^"\\]|\\.)*)"')
_SOCKET = late(r"(?:(.*):)?(\d{1,5})$")


class Reading:
    """One configuration: a main file and what it includes."""

    def __init__(self, tree: Tree, main: TreeFile, outer: str) -> None:
        self.tree = tree
        self.main = main
        self.outer = outer
        self.budget = Budget()
        self.missing: list[str] = []
        self.rows = Rows("lighttpd")
        self.names = Names()
        self.variables: dict[str, str] = {}
        self.blocks: list[tuple[str, Node, Values]] = []
        """Conditions in order, each with its scope and what it states."""
        self.general: Values = {}
        self.tls: Values = {}
        """Defaults of what speaks TLS."""
        self._block(self._file(main, None), self.general, "", (), 0)

    def read(self) -> Iterator[Setting]:
        """Yield the settings."""
        of = version(self.tree, frozenset({"lighttpd"}))
        if not self.missing:
            self.general = defaults(DEFAULTS, of, FIRST, LAST, "lighttpd options") | self.general
            self.tls = defaults(TLS, of, FIRST, LAST, "lighttpd, TLS options")
        yield from self.rows.own(self.outer, self.general, {})
        tls = on(self.general.get("ssl.engine"))
        yield from self.rows.common(self.outer, in_common(self.tls | self.general, self.general, tls=tls), {})
        for scope, node, values in self.blocks:
            name = self.names.name(f"{self.outer} {scope}".strip(), node.path, node.line)
            yield from self.rows.own(name, values, {})
            effective = ChainMap(values, self.general)
            speaks = on(effective.get("ssl.engine"))
            common = in_common(values, effective, tls=speaks)
            if speaks and "ssl.engine" in values:  # what is said of TLS in general comes to hold here
                whole = in_common(ChainMap(values, self.general, self.tls), effective, tls=True)
                common |= {key: items for key, items in whole.items() if key.startswith("tls ")}
            yield from self.rows.common(name, common, {})

    def listeners(self) -> Iterator[Listener]:
        """Yield what the server listens on."""
        tls = on(self.general.get("ssl.engine"))
        port = self.general.get("server.port", [])
        bind = self.general.get("server.bind", [Item("")])[0]
        for item in port:
            if item.path is not None or not self.missing:
                address = text(bind.value)
                unix = address.startswith("/")
                yield _listener(
                    "" if unix else address, None if unix else item.value, tls, item, address if unix else None
                )
        for _, node, values in self.blocks:
            if node.key.endswith('$SERVER["socket"]') and node.value.startswith("=="):
                where = text(node.value[2:].strip())
                found = _SOCKET.match(where)
                item = Item("", node.path, node.line)
                speaks = on(values["ssl.engine"]) if "ssl.engine" in values else tls
                yield _listener(
                    found[1] or "" if found else where, found[2] if found else None, speaks, item,
                    where if where.startswith("/") else None,
                )  # fmt: skip

    def _file(self, file: TreeFile, by: Node | None) -> list[Node]:
        found, why = opened(self.tree, file, by, DIALECT, INSPECTOR, self.budget, "lighttpd")
        self.missing += [why] if why else []
        return found

    def _block(self, given: list[Node], into: Values, scope: str, outside: tuple[Values, ...], depth: int) -> None:
        if depth > DEPTH:
            raise LimitReached("includes and blocks in one another", DEPTH)
        for node in given:
            if node.key == "include":
                for child in self._included(node):
                    self._block(child, into, scope, outside, depth + 1)
            elif node.key == "include_shell":
                shown = _TEXT.match(node.value)
                script = shown[1].split(" ")[0] if shown else ""
                if script not in KNOWN_SHELL:
                    self.missing.append(f"{node.path}:{node.line}: what include_shell {node.value} writes is not seen")
            elif node.key == "global":
                self._block(node.children, self.general, "", (), depth + 1)
            elif "$" in node.key or node.key == "else":
                condition = f"{node.key} {node.value}".strip()
                inner = (f"{scope} and {condition}" if scope else condition)[:LONGEST]
                values: Values = {}
                self.blocks.append((inner, node, values))
                self._block(node.children, values, inner, (into, *outside), depth + 1)
            else:
                self._assign(node, into, outside)

    def _assign(self, node: Node, into: Values, outside: tuple[Values, ...]) -> None:
        key, _, sign = node.key.partition(" ")
        value = self._value(node.value)
        notes = None
        before = next((values[key][0] for values in (into, *outside) if key in values), None)
        if before is not None and sign == "+=":
            value = appended(before.value, value)[:100_000]
            notes = f"adds to {before.path}:{before.line}"
        elif before is not None and key in into:
            notes = f"overrides {before.path}:{before.line}"
        if key.startswith("var."):
            self.variables[key] = value[:1000]
            return
        into[key] = [Item(value, node.path, node.line, notes)]

    def _value(self, value: str) -> str:
        """Return a value with variables filled in and texts joined; as written where a variable is not known."""
        if "+" not in value and "var." not in value and "env." not in value and not value.startswith("server."):
            return value
        tokens = [(match.lastgroup, match[0]) for match in TOKEN.finditer(value) if match.lastgroup != "gap"]
        out: list[str] = []
        join = False
        for kind, token in tokens[:10_000]:
            if kind == "word" and not token.isdigit():
                known = self.variables.get(token) or self.variables.get(f"var.{token}")
                stated = self.general.get(token, [Item("")])[0].value
                piece = known or stated or token
            else:
                piece = token
            if (kind, token) == ("mark", "+"):
                join = True
            elif join and out:
                out[-1] = appended(out[-1], piece)[:10_000]
                join = False
            else:
                out.append(piece)
        return " ".join(out).replace("( ", "(").replace(" )", ")").replace(" ,", ",")[:10_000]

    def _included(self, node: Node) -> Iterator[list[Node]]:
        value = self._value(node.value)
        match = _TEXT.fullmatch(value)
        if match is None:
            self.missing.append(f"{node.path}:{node.line}: what is included depends on {value[:100]}")
            return
        pattern = posixpath.join(posixpath.dirname(self.main.path), match[1])
        found = [
            file
            for file in matches(self.tree, pattern, self.budget)
            if (target := self.tree.lookup(file.path)) is None or target.type != "directory"
        ]
        if not found and not is_pattern(pattern):
            self.missing.append(f"{node.path}:{node.line}: {pattern} is not in this tree")
        for file in found:
            yield self._file(file, node)


def appended(before: str, value: str) -> str:
    """Return a text, number or list with another added to it, in the configuration's own spelling."""
    if before.startswith("(") and before.endswith(")"):
        inner = before[1:-1].strip().rstrip(",")
        more = value[1:-1].strip() if value.startswith("(") and value.endswith(")") else value
        return f"({', '.join(part for part in (inner, more) if part)})"
    if before[:1] == '"' or value[:1] == '"':
        return f'"{text(before)}{text(value)}"'
    return (
        str(int(before) + int(value)) if before.isdigit() and value.isdigit() and len(before + value) < 30 else before
    )


def text(value: str) -> str:
    """Return a text without its quotes."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def on(items: list[Item] | None) -> bool:
    """Tell whether a switch is enabled."""
    return items is not None and text(items[0].value).lower() in ("enable", "true", "1")


def in_common(values: Mapping[str, list[Item]], effective: Mapping[str, list[Item]], *, tls: bool) -> Values:
    """Return settings in the words of `web_settings` and, for a server that speaks TLS, of `tls_settings`.

    Args:
        values: what is stated here.
        effective: what holds here.
        tls: whether TLS is spoken here.
    """
    found: Values = {}
    for key, name in PLAIN.items():
        if key in values and (tls or not name.startswith("tls ")):
            said = text(values[key][0].value)
            found[name] = [values[key][0]._replace(value=SWITCH.get(said, said))]
    if item := _first(values, "server.tag"):
        said = text(item.value)
        found["server-header"] = [item._replace(value=f"text: {said}" if said else "none")]
    scripts = []
    for key, kind in (("cgi.assign", "cgi"), ("fastcgi.server", "fastcgi"), ("scgi.server", "scgi")):
        if item := _first(values, key):
            scripts += [
                item._replace(value=f"{kind} {match[1] or 'any'} {match[2] or ''}".rstrip())
                for match in _PAIR.finditer(item.value)
                if kind == "cgi" or (match[1].startswith((".", "/")) and match[2] is None)
            ][:100]
    if scripts:
        found["scripts"] = scripts
    if item := _first(values, "ssi.extension"):
        found["ssi"] = [item._replace(value="on")]
        command = effective.get("ssi.exec", [])
        found["ssi-exec"] = [said._replace(value=SWITCH.get(text(said.value), said.value)) for said in command]
    if item := _first(values, "auth.require"):
        methods = re.findall(r'"method"\s*=>\s*"([^"]*)"', item.value)[:100]
        realms = re.findall(r'"realm"\s*=>\s*"([^"]*)"', item.value)[:100]
        pairs = zip(methods, realms, strict=False)
        found["authentication"] = [item._replace(value=f"{method} {realm}") for method, realm in pairs]
    if (item := _first(values, "server.max-request-size")) and item.value.isdigit():
        found["body-limit"] = [item._replace(value=str(int(item.value[:12]) << 10))]
    for key in ("setenv.add-response-header", "setenv.set-response-header"):
        if item := _first(values, key):
            for match in list(_PAIR.finditer(item.value))[:200]:
                found[f"header {match[1].lower()[:100]}"] = [item._replace(value=match[2] or "")]
    if tls:
        if item := _first(values, "ssl.openssl.ssl-conf-cmd"):
            found |= _commands(item)
        if item := _first(values, "ssl.verifyclient.activate"):
            enforce = on(effective.get("ssl.verifyclient.enforce", [Item("enable")]))
            said = ("on" if enforce else "optional") if on([item]) else "off"
            found["tls verify-client"] = [item._replace(value=said)]
    return found


def _first(values: Mapping[str, list[Item]], key: str) -> Item | None:
    return values[key][0] if key in values else None


def _commands(item: Item) -> Values:
    """Return what SSL_CONF_cmd(3) commands come to; protocols only where they give both bounds or a list."""
    given = {match[1].lower(): match[2] or "" for match in _PAIR.finditer(item.value)}
    found: Values = {}
    everything = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
    chosen = None
    if "protocol" in given:
        chosen = changed(re.split(r"[,\s]+", given["protocol"]), everything)
    if "minprotocol" in given or "maxprotocol" in given:
        # since 1.4.56 TLSv1.2 is the oldest unless it is stated; with only a newest, the oldest depends on the version
        limits = between(given.get("minprotocol", "TLSv1.2"), given.get("maxprotocol"), everything)
        chosen = limits if chosen is None else chosen & limits
    if chosen is not None and ("minprotocol" in given or "protocol" in given):
        found["tls protocols"] = [item._replace(value=protocols(chosen))]
    for command, name in (
        ("ciphersuites", "ciphersuites"),
        ("cipherstring", "ciphers"),
        ("curves", "groups"),
        ("groups", "groups"),
    ):
        if command in given:
            found[f"tls {name}"] = [item._replace(value=given[command])]
    if "options" in given:
        words = given["options"].lower().replace(",", " ").split()
        for word, name in (
            ("sessionticket", "session-tickets"),
            ("serverpreference", "prefer-server-ciphers"),
            ("compression", "compression"),
        ):
            if word in words or f"-{word}" in words or f"+{word}" in words:
                found[f"tls {name}"] = [item._replace(value="off" if f"-{word}" in words else "on")]
    return found


def _listener(address: str, port: str | None, tls: bool, item: Item, unix: str | None) -> Listener:
    number = int(port) if port is not None and port.isdigit() and len(port) < 6 else None
    return Listener(
        program="lighttpd",
        protocol="unix" if unix else "tcp",
        address=unix or address.strip("[]") or "0.0.0.0",  # noqa: S104
        port=number if number is None or number < 65536 else None,
        purpose="https" if tls else "http",
        tls=tls,
        origin="file" if item.path else "default",
        path=item.path,
        line=item.line,
    )


def inspect(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield the settings and listeners of every lighttpd configuration of a tree.

    The main file is the first of MAIN; another lighttpd.conf holds only for a server started with it, and has the scope
    `lighttpd -f PATH`.

    Raises:
        ValueError: something that is included could not be read; all that could be said has been.
    """
    mains = [file for path in MAIN if (file := tree.lookup(path)) is not None][:1]
    others = [
        file
        for file in tree.glob("*/lighttpd.conf")
        if file.type != "directory"
        and (real := tree.lookup(file.path)) is not None
        and all(real.path != main.path for main in mains)
        and not file.path.startswith(("/usr/share/", "/usr/lib/"))
    ]
    missing: list[str] = []
    for file in [*mains, *others][:100]:
        reading = Reading(tree, file, "" if file in mains else f"lighttpd -f {file.path}")
        yield from reading.read()
        enabled, service = started(tree, frozenset({"lighttpd"})) if file in mains else (None, None)
        for listener in dict.fromkeys(reading.listeners()):
            yield msgspec.structs.replace(listener, service=service, enabled=enabled)
        missing += reading.missing
    if missing:
        raise ValueError("; ".join(dict.fromkeys(missing[:10])))


SETTINGS = TreeInspector(
    name="lighttpd-settings",
    version=1,
    families=(Setting, Listener),
    inspect=inspect,
    unseen=(
        "output of include_shell (nothing is run); what Debian's two scripts set (types, a port of IPv6) is left out",
        "which conditions a request meets, and what follows where several do",
        "options on the command line (-f, -m), and what is compiled in",
        *UNSEEN,
    ),
)
