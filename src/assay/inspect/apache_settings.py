"""What Apache HTTP Server configurations come to: settings by virtual host, directory and location, and listeners.

Source: httpd.apache.org 2.4, "Configuration Sections" (order and merging), core and module directives; default of each.

Scopes: empty for the main server, whose values also hold in a virtual host that has no row of its own;
`VirtualHost ADDRESS NAME`; then the section (`Directory /var/www`, `Location /status`). A directory has what the
directories above it have, unless it states it (Options with + and - change it); sections by pattern, by file name or by
location stand for themselves, as they are laid over a directory that only a request gives. An .htaccess file counts
where AllowOverride lets its directives in. Where a file could not be read or a condition not tried, no default is told.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

import msgspec

from assay.facts.network import Listener
from assay.facts.service import Setting

from .apache import DIALECT, words
from .apache_defaults import ADDED, ALONE, FIRST, GLOBAL, LAST, NOISE, OVERRIDES, SERVER, SINGLE, TLS
from .apache_reading import Reading
from .base import Tree, TreeFile, TreeInspector
from .blocks import LONGEST, Node, is_pattern, nodes
from .late import late
from .superserver import started
from .tls_settings import UNSEEN, changed, protocols
from .web_settings import Item, Names, Rows, Values, Version, defaults, version

MAIN = {
    "/etc/apache2/apache2.conf": "/etc/apache2",
    "/etc/httpd/conf/httpd.conf": "/etc/httpd",
    "/etc/apache2/httpd.conf": "/etc/apache2",
    "/usr/local/apache2/conf/httpd.conf": "/usr/local/apache2",
    "/etc/apache/httpd.conf": "/etc/apache",
}
"""Main files of distributions and of the project itself, each with the ServerRoot compiled in."""

PACKAGES = frozenset({"apache2-bin", "httpd", "httpd-core", "apache2", "apache"})

ALL_OPTIONS = ("execcgi", "followsymlinks", "includes", "indexes")
OPTION_NAMES = {"execcgi": "ExecCGI", "followsymlinks": "FollowSymLinks", "includes": "Includes", "indexes": "Indexes",
                "includesnoexec": "IncludesNOEXEC", "multiviews": "MultiViews",
                "symlinksifownermatch": "SymLinksIfOwnerMatch"}  # fmt: skip

PLAIN = {
    "documentroot": "document-root",
    "serversignature": "server-signature",
    "traceenable": "trace",
    "limitrequestbody": "body-limit",
    "user": "user",
    "group": "group",
    "authuserfile": "user-file",
    "authdbmuserfile": "user-file",
    "allowmethods": "methods",
    "dav": "webdav",
    "sslcertificatefile": "tls certificate",
    "sslcertificatekeyfile": "tls key",
    "sslhonorcipherorder": "tls prefer-server-ciphers",
    "sslcacertificatefile": "tls client-ca",
    "sslcacertificatepath": "tls client-ca",
    "sslsessiontickets": "tls session-tickets",
    "sslcompression": "tls compression",
}
"""What is the same in common words."""

LOWER = frozenset(
    {"serversignature", "traceenable", "dav", "sslhonorcipherorder", "sslsessiontickets", "sslcompression"}
)

MODULES = {"directory-listing": "autoindex_module", "ssi": "include_module", "ssi-exec": "include_module"}
"""What Options allow only where a module does it."""

SECTIONS = {
    "<directory": "Directory",
    "<directorymatch": "DirectoryMatch",
    "<files": "Files",
    "<filesmatch": "FilesMatch",
    "<location": "Location",
    "<locationmatch": "LocationMatch",
    "<if": "If",
    "<elseif": "ElseIf",
    "<else": "Else",
    "<proxy": "Proxy",
    "<proxymatch": "ProxyMatch",
}

VERIFY = {"none": "off", "require": "on"}

_HEADER = late(r"(?:always\s+|onsuccess\s+)?(\w+\??)\s+(.*)", re.IGNORECASE | re.DOTALL)


class Server:
    """One configuration, and the rows that it makes."""

    def __init__(self, tree: Tree, reading: Reading, outer: str, of: Version | None) -> None:
        self.tree = tree
        self.reading = reading
        self.outer = outer
        self.rows = Rows("apache")
        self.names = Names()
        sure = not reading.missing and not reading.uncertain
        self.defaults = defaults(SERVER, of, FIRST, LAST, "httpd.apache.org directive index") if sure else {}
        self.tls_defaults = defaults(TLS, of, FIRST, LAST, "httpd.apache.org, mod_ssl") if sure else {}
        self.hosts: list[tuple[list[str], bool]] = []
        """Addresses of each virtual host, and whether it speaks TLS."""
        self.tls = False

    def read(self) -> Iterator[Setting]:
        """Yield the settings; `hosts` is complete then."""
        own = stated(self.reading.nodes)
        main = merged(self.defaults, own)
        self.tls = engine(main)
        if self.tls:
            main = merged(self.tls_defaults, main)
        yield from self.rows.own(self.outer, main, {})
        common = self._common(main, (), tls=self.tls)
        yield from self.rows.common(self.outer, common, {})
        below = [node for node in self.reading.nodes if node.key in SECTIONS]
        yield from self._sections(below, {}, self.outer, main, common)
        above = by_directory(below)
        for node in self.reading.nodes:
            if node.key == "<virtualhost":
                yield from self._host(node, main, above)

    def _host(self, node: Node, main: Values, above: dict[str, list[Node]]) -> Iterator[Setting]:
        own = stated(node.children)
        name = (words(own["servername"][0].value, 1) or [""])[0] if "servername" in own else ""
        scope = self.names.name(f"{self.outer} VirtualHost {node.value} {name}".strip(), node.path, node.line)
        values = merged({key: items for key, items in main.items() if key not in GLOBAL}, own)
        tls = engine(values)
        if tls:
            values = merged(self.tls_defaults, values)
        self.hosts.append((words(node.value), tls))
        yield from self.rows.own(scope, values, main)
        common = self._common({key: main[key] for key in ("servertokens",) if key in main} | values, (), tls=tls)
        yield from self.rows.common(scope, common, {})
        inner = [child for child in node.children if child.key in SECTIONS]
        yield from self._sections(inner, above, scope, values, common)

    def _sections(
        self, given: list[Node], above: dict[str, list[Node]], outer: str, held: Values, common: Values
    ) -> Iterator[Setting]:
        """Yield what sections state, and for directories what they have from those above them.

        Args:
            given: sections of this server.
            above: sections of the main server, which a virtual host's are laid over.
            outer: scope of the server.
            held: the server's values.
            common: the same in common words.
        """
        mine = by_directory(given)
        wanted = {path for own in mine for path in _upwards(own) if path in mine or path in above}
        effective: dict[str, tuple[Values, Values]] = {}
        for path in sorted(wanted, key=lambda path: (path.count("/"), path)):
            parent = self._parent(path, effective)
            values, before = effective[parent] if parent is not None else (held, common)
            here_stated = [*above.get(path, ()), *mine.get(path, ())]
            for node in here_stated:
                values = merged(values, stated(node.children), before=values.get("options"))
            here = self._common(values, here_stated)
            effective[path] = values, here
            if path in mine:
                scope = f"{outer} Directory {path}".strip()
                outside = effective[parent][0] if parent is not None else held
                yield from self.rows.own(scope, values, outside)
                yield from self.rows.common(scope, here, before)
        for path in list(effective):
            if path in mine:
                yield from self._htaccess(path, effective, outer)
        for node in given:
            scope = f"{outer} {SECTIONS[node.key]} {node.value}".strip()[:LONGEST]
            if _directory(node) is None:
                values = merged({}, stated(node.children))
                name = self.names.name(scope, node.path, node.line)
                yield from self.rows.own(name, values, {})
                yield from self.rows.common(name, self._common(values, [node]), {})
            if inner := [child for child in node.children if child.key in SECTIONS]:
                yield from self._sections(inner, {}, scope, {}, {})

    def _parent(self, path: str, effective: dict[str, tuple[Values, Values]]) -> str | None:
        return next((above for above in list(_upwards(path))[1:] if above in effective), None)

    def _common(self, values: Values, sections: Iterable[Node], *, tls: bool = False) -> Values:
        found = in_common(values, tls=tls)
        for key, module in MODULES.items():
            if key in found and self.reading.lacks(module):
                found[key] = [item._replace(value="off", basis=f"{module} is not loaded") for item in found[key]]
        for node in (node for part in sections for node in part.children if node.key in ("<limit", "<limitexcept")):
            rules = {(rule.key, rule.value.lower()) for rule in node.children}
            if rules & {("require", "all denied"), ("deny", "from all")}:
                names = node.value if node.key == "<limitexcept" else f"not {node.value}"
                found["methods"] = [Item(names, node.path, node.line, node.note)]
        return found

    def _htaccess(self, path: str, effective: dict[str, tuple[Values, Values]], outer: str) -> Iterator[Setting]:
        """Yield what .htaccess files state under a directory, of which it is the nearest section."""
        held, common = effective[path]
        allowed = {
            word.lower().partition("=")[0] for item in held.get("allowoverride", ()) for word in words(item.value)
        }
        names = words(held["accessfilename"][0].value) if "accessfilename" in held else [".htaccess"]
        if not allowed or allowed == {"none"} or ".htaccess" not in names:
            return
        literal = "".join(f"[{c}]" if c in "*?[" else c for c in path.rstrip("/"))
        for file in self.tree.glob(f"{literal}/*.htaccess")[:1000]:
            directory = posixpath.dirname(file.path)
            if posixpath.basename(file.path) != ".htaccess":
                continue
            if directory != path and self._parent(directory + "/x", effective) != path:
                continue
            given = [node for node in nodes(self.tree, file, DIALECT) if _lets(allowed, node.key)]
            values = merged(held, stated(given), before=held.get("options"))
            scope = f"{outer} Directory {directory}".strip()
            yield from self.rows.own(scope, {k: v for k, v in values.items() if v != held.get(k)}, {})
            yield from self.rows.common(scope, self._common(values, given), common)


def _lets(allowed: set[str], key: str) -> bool:
    return "all" in allowed or any(key in OVERRIDES.get(name, ()) for name in allowed)


def _directory(node: Node) -> str | None:
    """Return the directory of a section that names one; None for other sections and for patterns."""
    given = words(node.value, 2)
    if node.key != "<directory" or len(given) != 1 or is_pattern(given[0]) or not given[0].startswith("/"):
        return None
    return posixpath.normpath("/" + given[0].lstrip("/"))


def by_directory(given: Iterable[Node]) -> dict[str, list[Node]]:
    """Return the sections that name a directory, by its path."""
    found: dict[str, list[Node]] = {}
    for node in given:
        if (path := _directory(node)) is not None:
            found.setdefault(path, []).append(node)
    return found


def _upwards(path: str) -> Iterator[str]:
    """Yield a directory and those above it, at most 100."""
    for _ in range(100):
        yield path
        if path in ("", "/"):
            return
        path = posixpath.dirname(path)


def stated(given: Iterable[Node]) -> Values:
    """Return the directives that stand here, of which all or the last one counts; Require containers as one text."""
    found: Values = {}
    for node in given:
        key, value = node.key, node.value
        if key in ("<requireall", "<requireany", "<requirenone"):
            key, value = "require", _requirement(node, 0)
        elif key.startswith("<") or key in NOISE:
            continue
        item = Item(value, node.path, node.line, node.note)
        if key == "options":
            found[key] = [options(found.get(key), item)]
        elif key in SINGLE and key in found:
            before = found[key][0]
            notes = [node.note, before.basis, f"overrides {before.path}:{before.line}"]
            found[key] = [item._replace(basis="; ".join(note for note in notes if note)[:1000])]
        else:
            found.setdefault(key, []).append(item)
    return found


def _requirement(node: Node, depth: int) -> str:
    if depth > 8:
        return "..."
    inner = [
        _requirement(child, depth + 1) if child.key.startswith("<require") else f"{child.key} {child.value}"
        for child in node.children[:50]
    ]
    name = {"<requireall": "all", "<requireany": "any", "<requirenone": "none"}.get(node.key, node.key[1:])
    return f"{name}({'; '.join(inner)})"[:1000]


def options(before: list[Item] | None, item: Item) -> Item:
    """Return what an Options line comes to after another, in the manual's spelling, sorted."""
    given = [word.lower() for word in words(item.value)]
    if not any(word[:1] in "+-" for word in given):
        chosen = set(given)
    elif before is None:
        return item
    else:
        chosen = {word.lower() for word in before[0].value.split()}
        if any(word[:1] in "+-" for word in chosen):
            return item._replace(value=f"{before[0].value} {item.value}")
        for word in given:
            name = word.lstrip("+-")
            names = set(ALL_OPTIONS) if name == "all" else {name}
            chosen = chosen - names if word.startswith("-") else chosen | names
            chosen -= {"none"}
    if "all" in chosen:
        chosen = chosen - {"all"} | set(ALL_OPTIONS)
    text = " ".join(sorted(OPTION_NAMES.get(name, name) for name in chosen if name != "none"))
    return item._replace(value=text or "None")


def merged(outer: Values, own: Values, *, before: list[Item] | None = None) -> Values:
    """Return what holds where `own` is stated inside of `outer`.

    Args:
        outer: what holds outside.
        own: what is stated inside.
        before: the options of the directory above, which Options with + and - change; None where there is none.
    """
    found = {key: items for key, items in outer.items() if key not in ALONE}
    for key, items in own.items():
        if key == "options" and before:
            found[key] = [options(before, items[0])]
        else:
            found[key] = outer[key] + items if key in ADDED and key in outer else items
    return found


def engine(values: Values) -> bool:
    """Tell whether a server speaks TLS."""
    return any(item.value.lower() in ("on", "optional") for item in values.get("sslengine", ()))


def in_common(values: Values, *, tls: bool) -> Values:
    """Return settings in the words of `web_settings` and, for a server that speaks TLS, of `tls_settings`."""
    found: Values = {}
    for key, name in PLAIN.items():
        if key in values and (tls or not name.startswith("tls ")):
            said = [item._replace(value=" ".join(words(item.value))) for item in values[key]]
            found.setdefault(name, []).extend(
                item._replace(value=item.value.lower()) if key in LOWER else item for item in said
            )
    for item in values.get("options", ()):
        chosen = set(item.value.lower().split())
        if not any(word[:1] in "+-" for word in chosen):
            ssi, noexec = "includes" in chosen, "includesnoexec" in chosen
            for name, on in (("directory-listing", "indexes" in chosen), ("ssi", ssi or noexec), ("ssi-exec", ssi)):
                found[name] = [item._replace(value="on" if on else "off")]
    for item in values.get("servertokens", ()):
        name = item.value.lower()
        found["server-header"] = [item._replace(value="name" if name in ("prod", "productonly") else "version")]
    scripts = [
        item._replace(value=f"cgi {' '.join(words(item.value))}")
        for key in ("scriptalias", "scriptaliasmatch")
        for item in values.get(key, ())
    ]
    for key in ("addhandler", "sethandler"):
        for item in values.get(key, ()):
            name = (words(item.value, 1) or [""])[0].lower()
            if name in ("server-status", "server-info"):
                found["status-page"] = [item._replace(value=name)]
            elif name in ("cgi-script", "fcgid-script", "wsgi-script", "lua-script", "fastcgi-script"):
                which = " ".join(words(item.value)[1:])
                scripts.append(item._replace(value=f"{name.removesuffix('-script')} {which}".rstrip()))
            elif "php" in name or "fcgi://" in name or "uwsgi://" in name or "scgi://" in name:
                scripts.append(item._replace(value=" ".join(words(item.value))))
    if scripts:
        found["scripts"] = scripts
    for item in values.get("authtype", ()):
        realm = " ".join(" ".join(words(name.value)) for name in values.get("authname", ())[:1])
        scheme = item.value.lower()
        found["authentication"] = [item._replace(value=scheme if scheme == "none" else f"{scheme} {realm}".rstrip())]
    for item in values.get("header", ()):
        if match := _HEADER.match(item.value):
            header, *rest = [*words(match[2]), ""]
            name, action = f"header {header.lower()[:100]}", match[1].lower()
            if action in ("set", "append", "add", "merge", "setifempty", "unset"):
                kept = found.get(name, []) if action in ("append", "add", "merge") else []
                found[name] = [*kept, item._replace(value="" if action == "unset" else rest[0])]
    if tls:
        for item in values.get("sslprotocol", ()):
            offered = changed(words(item.value), ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"), replace=True)
            found["tls protocols"] = [item._replace(value=protocols(offered))]
        for item in values.get("sslciphersuite", ()):
            *kind, suites = words(item.value) or [""]
            name = "tls ciphersuites" if [part.lower() for part in kind] == ["tlsv1.3"] else "tls ciphers"
            found[name] = [item._replace(value=suites)]
        for item in values.get("sslverifyclient", ()):
            name = item.value.lower()
            found["tls verify-client"] = [item._replace(value=VERIFY.get(name, name))]
    return found


def _listeners(server: Server) -> Iterator[Listener]:
    for node in server.reading.nodes:
        if node.key != "listen":
            continue
        given = words(node.value, 2) or [""]
        address, _, port = given[0].rpartition(":")
        if not port.isdigit() or len(port) > 5:
            continue
        named = [tls for hosts, tls in server.hosts for host in hosts if host.rpartition(":")[2] in (port, "*")]
        tls = any(named) if named else server.tls
        yield Listener(
            program="apache",
            protocol="tcp",
            address=address.strip("[]") if address not in ("", "*") else "::",
            port=int(port) if int(port) < 65536 else None,
            purpose="https" if tls else "http",
            tls=tls if server.reading.nodes and not server.reading.missing else tls or None,
            path=node.path,
            line=node.line,
        )


def inspect(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield the settings and listeners of every Apache configuration of a tree.

    The main file is the first of MAIN; another httpd.conf in a folder `conf` holds only for a server started with it,
    and has the scope `httpd -f PATH`.

    Raises:
        ValueError: a file that is included could not be read; all that could be said has been.
    """
    found: list[tuple[TreeFile, str, str]] = []
    for path, root in MAIN.items():
        if (file := tree.lookup(path)) is not None and file.type in ("regular", "hardlink"):
            found.append((file, root, ""))
            break
    for file in tree.glob("*/conf/httpd.conf")[:100]:
        if (
            file.path not in MAIN
            and file.type != "directory"
            and not file.path.startswith(("/usr/share/", "/usr/lib/"))
        ):
            root = posixpath.dirname(posixpath.dirname(file.path))
            found.append((file, root, f"httpd -f {file.path}"))
    missing: list[str] = []
    of = version(tree, PACKAGES) if found else None
    for file, root, outer in found:
        reading = Reading(tree, file, root, of)
        server = Server(tree, reading, outer, of)
        yield from server.read()
        enabled, service = started(tree, frozenset({"apache2", "httpd"})) if not outer else (None, None)
        for listener in _listeners(server):
            yield msgspec.structs.replace(listener, service=service, enabled=enabled)
        missing += reading.missing
    if missing:
        raise ValueError("; ".join(dict.fromkeys(missing[:10])))


SETTINGS = TreeInspector(
    name="apache-settings",
    version=1,
    families=(Setting, Listener),
    inspect=inspect,
    unseen=(
        "options on the command line (-D, -c, -C), and what is compiled in: modules, account, paths",
        "macros (mod_macro), expressions (If), and which sections a request meets",
        ".htaccess files where another name is set by AccessFileName",
        *UNSEEN,
    ),
)
