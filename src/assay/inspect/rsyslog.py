"""rsyslogd: modules, inputs, what is written where and with which mode, what is forwarded to whom and how protected.

Looks at /etc/rsyslog.conf and what it includes, in RainerScript and in the old format. Source: the description of
rsyslog's configuration for version 8 (`rsyslog_format`), and of imtcp, imudp, imptcp, imrelp, omfwd, omfile.

A setting of an input or action is named `module.parameter`, stands at the place of its statement (path and line join
what belongs together), and has the rule set and filter that it stands in as scope; that of a module has the scope
`module`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.access import Credential
from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .effective import Default, Effective, configured
from .late import late
from .rsyslog_format import statements
from .shared_secret import credential, mark
from .starting import ANY, served

DIALECT = "rsyslog"

MAIN = "/etc/rsyslog.conf"

PACKAGES = ("rsyslog",)

DEFAULTS = (
    Default("defaultnetstreamdriver", "ptcp"),
    Default("maxmessagesize", "8k"),
    Default("preservefqdn", "off"),
)

ACTION_DEFAULTS = {
    "omfile": {"filecreatemode": "0644", "dircreatemode": "0700", "createdirs": "on"},
    "omfwd": {"port": "514", "protocol": "udp", "streamdriver.mode": "0"},
    "omrelp": {"port": "514", "tls": "off"},
}

INPUT_DEFAULTS = {"imrelp": {"tls": "off"}, "imtcp": {"streamdriver.mode": "0"}}

ALIASES = {
    "streamdriver": "streamdriver.name",
    "streamdrivermode": "streamdriver.mode",
    "streamdriverauthmode": "streamdriver.authmode",
    "streamdriverpermittedpeers": "streamdriver.permittedpeers",
    "permittedpeer": "permittedpeers",
    "server": "address",
    "serveraddress": "address",
}
"""Other names of parameters."""

GLOBALS = {
    "privdroptouser": "privdrop.user.name",
    "privdroptouserid": "privdrop.user.id",
    "privdroptogroup": "privdrop.group.name",
    "privdroptogroupid": "privdrop.group.id",
    "defaultnetstreamdrivercafile": "defaultnetstreamdrivercafile",
}
"""Old directives whose new name is not just theirs without the dollar sign."""

OLD_ACTION = {
    "filecreatemode": ("omfile", "filecreatemode"),
    "dircreatemode": ("omfile", "dircreatemode"),
    "createdirs": ("omfile", "createdirs"),
    "fileowner": ("omfile", "fileowner"),
    "filegroup": ("omfile", "filegroup"),
    "dirowner": ("omfile", "dirowner"),
    "dirgroup": ("omfile", "dirgroup"),
    "actionsendstreamdriver": ("omfwd", "streamdriver.name"),
    "actionsendstreamdrivermode": ("omfwd", "streamdriver.mode"),
    "actionsendstreamdriverauthmode": ("omfwd", "streamdriver.authmode"),
    "actionsendstreamdriverpermittedpeer": ("omfwd", "streamdriver.permittedpeers"),
}
"""Old directives that hold for the actions of selector lines behind them."""

OLD_INPUT = {
    "inputtcpserverstreamdrivermode": ("imtcp", "streamdriver.mode"),
    "inputtcpserverstreamdriverauthmode": ("imtcp", "streamdriver.authmode"),
    "inputtcpserverstreamdriverpermittedpeer": ("imtcp", "permittedpeers"),
    "inputtcpserverinputname": ("imtcp", "name"),
    "udpserveraddress": ("imudp", "address"),
    "inputptcpserverlistenip": ("imptcp", "address"),
}

OLD_LISTENER = {
    "inputtcpserverrun": "imtcp",
    "udpserverrun": "imudp",
    "inputptcpserverrun": "imptcp",
    "inputrelpserverrun": "imrelp",
}

RESET = "resetconfigvariables"

PROTOCOLS = {"imtcp": "tcp", "imptcp": "tcp", "imrelp": "tcp", "imudp": "udp", "imdtls": "udp"}

REPEATED = frozenset({"allowedsender"})

_SECRET = late(r"pwd|passw|passphrase|token|secret|httpheader|(?:^|\.)pass$|api_?key", re.IGNORECASE)
_PAIR = late(r'([\w.\-]+)="((?:[^"\\]|\\.)*)"', re.DOTALL)


def wants_path(path: str) -> bool:
    """Tell whether a file is, or is usually included by, a configuration of rsyslogd."""
    return "/etc/rsyslog" in path and (path.endswith("/rsyslog.conf") or "/rsyslog.d/" in path)


def inspect(content: Content) -> Iterator[Directive | Credential]:
    """Yield one directive a statement: key its name, value its parameters in the order written, section its scope.

    A secret parameter's value is a fingerprint, and a `credential` fact.

    Raises:
        ValueError: the text cannot be read on at some line.
    """
    for statement in statements(content.text()):
        section = statement.scope or None
        if list(statement.parameters) == ["value"]:
            value = statement.parameters["value"]
            if value and _SECRET.search(statement.name):
                yield credential(value, "passphrase", "rsyslog", statement.line, statement.name)
                value = mark(value)
            yield Directive(dialect=DIALECT, section=section, key=statement.name, value=value, line=statement.line)
            continue
        parts = []
        for name, value in statement.parameters.items():
            shown = value
            if value and _SECRET.search(name):
                yield credential(value, "passphrase", "rsyslog", statement.line, name)
                shown = mark(value)
            escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'{name}="{escaped}"')
        yield Directive(
            dialect=DIALECT, section=section, key=statement.name, value=" ".join(parts), line=statement.line
        )


def parameters(value: str) -> dict[str, str]:
    """Return the parameters that a directive's value holds, names in their usual form."""
    return {
        ALIASES.get(name, name): re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL) for name, text in _PAIR.findall(value)
    }


class Reading:
    """The configuration as rsyslogd reads it, statement by statement."""

    def __init__(self, tree: Tree) -> None:
        self.effective = Effective(tree, "rsyslog", DIALECT, wants=wants_path)
        self.statements: list[tuple[TreeFile, Directive, str]] = []
        """Everything but includes, in order, with the scope of the include around it."""
        self.listeners: list[Listener] = []
        self._old: dict[tuple[str, str], str] = {}
        self._modules: dict[str, dict[str, str]] = {}
        self._count = 0
        self._driver: tuple[TreeFile, Directive, str] | None = None
        main = tree.lookup(MAIN)
        if main is not None:
            self._read(main, "", 0)

    def _read(self, file: TreeFile, outer: str, depth: int) -> None:
        lines = self.effective.lines(file, depth)
        if not self.effective.certain:
            self._old.clear()
            self._driver = None
        for line in lines:
            scope = " and ".join(filter(None, (outer, line.section)))
            pattern = None
            if line.key == "$includeconfig":
                pattern = line.value
            elif line.key == "include":
                stated = parameters(line.value)
                pattern = stated.get("file")
                if pattern is None or pattern.startswith("`"):
                    self.effective.lose()  # text or the environment, not a file
                    continue
            if pattern is None:
                self.statements.append((file, line, scope))
                self._take(file, line, scope)
                continue
            for found in self.effective.matches(pattern):
                inside = self.effective.directory(found.path) if found.type == "directory" else [found]
                for each in inside:
                    self._read(each, scope, depth + 1)

    def _take(self, file: TreeFile, line: Directive, scope: str) -> None:
        put = self.effective.put
        if line.key.startswith("$"):
            self._directive(file, line, scope)
        elif line.key == "global":
            for name, value in parameters(line.value).items():
                put(name, value, file, line.line)
                if name == "defaultnetstreamdriver":
                    self._driver = file, line, value
        elif line.key == "module":
            stated = parameters(line.value)
            name = stated.pop("load", "").removeprefix("builtin:")
            put("module", name, file, line.line, which=name)
            self._modules.setdefault(name, {}).update(stated)
            for key, value in stated.items():
                put(f"{name}.{key}", value, file, line.line, scope="module")
        elif line.key in ("action", "line-action"):
            self._action(file, line, scope)
        elif line.key == "input":
            stated = parameters(line.value)
            self._input(stated.pop("type", ""), stated, file, line, scope)
        elif line.key in ("ruleset", "main_queue"):
            stated = parameters(line.value)
            name = stated.pop("name", "")
            for key, value in stated.items():
                put(f"{line.key}.{key}", value, file, line.line, scope=name, which=f"{file.path}:{line.line}")

    def _directive(self, file: TreeFile, line: Directive, scope: str) -> None:
        name, value = line.key[1:], line.value
        if name == RESET:
            self._old.clear()
        elif name == "modload":
            module = value.rpartition("/")[2].removesuffix(".so")
            self._modules.setdefault(module, {})
            self.effective.put("module", module, file, line.line, which=module)
        elif name in OLD_ACTION:
            self._old[OLD_ACTION[name]] = value
        elif name in OLD_INPUT:
            self._old[OLD_INPUT[name]] = value
        elif name in OLD_LISTENER:
            module = OLD_LISTENER[name]
            stated = {key: text for (of, key), text in self._old.items() if of == module}
            self._input(module, {"port": value} | stated, file, line, scope)
        else:
            if name == "defaultnetstreamdriver":
                self._driver = file, line, value
            which = value if name in REPEATED else None
            self.effective.put(GLOBALS.get(name, name), value, file, line.line, which=which)

    def _action(self, file: TreeFile, line: Directive, scope: str) -> None:
        stated = parameters(line.value)
        module = stated.pop("type", "")
        inherited = {
            key: value for key, value in self._modules.get(module, {}).items() if key in ACTION_DEFAULTS.get(module, {})
        }
        if line.key == "line-action":
            inherited = {key: value for (of, key), value in self._old.items() if of == module}
        if module == "omfwd" and (stated | inherited).get("protocol") == "tcp" and self._driver is not None:
            inherited.setdefault("streamdriver.name", self._driver[2])
        self._rows(module, inherited | stated, ACTION_DEFAULTS.get(module, {}), file, line, scope)

    def _input(self, module: str, stated: dict[str, str], file: TreeFile, line: Directive, scope: str) -> None:
        of_module = {
            key: value
            for key, value in self._modules.get(module, {}).items()
            if key.startswith(("streamdriver.", "permittedpeers", "tls"))
        }
        every = of_module | stated
        self._rows(module, every, INPUT_DEFAULTS.get(module, {}), file, line, scope)
        protocol = PROTOCOLS.get(module)
        if protocol is None:
            if module == "imuxsock" and "socket" in every:
                self._listen(module, "unix", every["socket"], None, None, file, line)
            return
        tls: bool | None = False
        if module == "imtcp":
            tls = every.get("streamdriver.mode", "0") == "1" or (None if not self.effective.certain else False)
        elif module == "imrelp":
            tls = every.get("tls", "off").lower() == "on"
        elif module == "imdtls":
            tls = True
        address = every.get("address", "*")
        for port in every.get("port", "514" if module == "imudp" else "").split(","):
            for each in [address] if address != "*" else [any_address for any_address, _ in ANY]:
                self._listen(module, protocol, each, int(port) if port.isdecimal() else None, tls, file, line)

    def _listen(
        self,
        module: str,
        protocol: str,
        address: str,
        port: int | None,
        tls: bool | None,
        file: TreeFile,
        line: Directive,
    ) -> None:
        self.listeners.append(
            Listener(
                program="rsyslogd", protocol=protocol, address=address, port=port, purpose=f"syslog ({module})",
                tls=tls, path=file.path, line=line.line,
            )
        )  # fmt: skip

    def _rows(
        self, module: str, stated: dict[str, str], defaults: dict[str, str], file: TreeFile, line: Directive, scope: str
    ) -> None:
        """Take what a statement comes to; each statement's own, however often the same is said."""
        self._count += 1
        which = str(self._count)
        for key, value in stated.items():
            self.effective.put(f"{module}.{key}", value, file, line.line, scope=scope, which=which)
        if not stated:
            self.effective.put(module, "", file, line.line, scope=scope, which=which)
        if self.effective.certain:
            for key, value in defaults.items():
                if key not in stated:
                    self.effective.builtin(
                        f"{module}.{key}", value, file, line.line, scope=scope, which=which, basis=f"{module}, built in"
                    )


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield the effective settings, and the sockets of the inputs."""
    if not configured(tree, "rsyslogd", beside=(MAIN,)):
        return
    reading = Reading(tree)
    yield from reading.effective.settings()
    if tree.lookup(MAIN) is not None:
        yield from reading.effective.defaults(DEFAULTS, "rsyslog 8", PACKAGES)
    yield from served(tree, ("rsyslogd",), iter(reading.listeners))


INSPECTOR = ContentInspector(
    name="rsyslog",
    version=1,
    families=(Directive, Credential),
    inspect=inspect,
    path_has=("/etc/rsyslog",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=(
        "Templates and look-up tables: what of a message is written.",
        "Values in backticks (environment variables, commands).",
    ),
)

SETTINGS = TreeInspector(
    name="rsyslog-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "A main file named on the command line (-f), files included from elsewhere than rsyslog.d directories.",
        "The local log socket (/dev/log): with systemd it is journald's.",
        "Which conditions of if-then-else hold: their text is the scope.",
    ),
)
