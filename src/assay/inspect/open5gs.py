"""Open5GS: the YAML files of its network functions, in the form of 2.7 and in those before.

Looked at: files *.yaml under a directory named open5gs. Source: the project's configuration files and lib/app, lib/sbi,
lib/pfcp, lib/gtp, lib/metrics of versions 2.2 to 2.7; 3GPP TS 29.281, 29.274, 29.244, 38.412, 36.412 for ports.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .mobile_function import Function, View, complete, configurations, installed, plmn, port, said, yaml_directives
from .yaml_format import prepare as prepare  # noqa: PLC0414 - workers look for it here

DIALECT = "open5gs"

FUNCTIONS = (
    "amf", "ausf", "bsf", "eir", "hss", "lmf", "mme", "nrf", "nssf", "pcf", "pcrf", "scp", "sepp", "sgwc", "sgwu",
    "smf", "smsf", "udm", "udr", "upf",
)  # fmt: skip


class Server(NamedTuple):
    """A server that a function opens under one of its keys."""

    key: str
    protocol: str
    port: int
    purpose: str


SERVERS = {
    "ngap": Server("ngap", "sctp", 38412, "n2"),
    "s1ap": Server("s1ap", "sctp", 36412, "s1ap"),
    "pfcp": Server("pfcp", "udp", 8805, "n4"),
    "gtpc": Server("gtpc", "udp", 2123, "gtp-c"),
    "gtpu": Server("gtpu", "udp", 2152, "gtp-u"),
    "metrics": Server("metrics", "tcp", 9090, "metrics"),
}
PURPOSES = {("sgwc", "pfcp"): "sxa", ("sgwu", "pfcp"): "sxa", ("upf", "gtpu"): "n3", ("mme", "gtpc"): "s11"}
"""Interface where the function says which one of several that a server is for."""


def wants_path(path: str) -> bool:
    """Tell whether a file is a configuration of Open5GS."""
    return path.endswith((".yaml", ".yml")) and "/open5gs/" in path


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a scalar; keys of subscribers and passwords are left out."""
    yield from yaml_directives(DIALECT, content)


def observe(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield settings and listeners of each configuration file, of every function that it has a section for."""
    version = installed(tree, "open5gs", "open5gs-common")
    document = "Open5GS 2.7 as published" + (f"; package version {version}" if version else "; version unknown")
    for file, view in configurations(tree, DIALECT):
        name = posixpath.basename(file.path).partition(".")[0].rstrip("0123456789")
        sections = [name] if name in FUNCTIONS else [function for function in FUNCTIONS if function in view.below]
        for name in sections:  # an older file of one function has sections for those that it calls, too
            if view.at(name):
                usual = file.path == f"/etc/open5gs/{name}.yaml"
                function = Function(f"open5gs-{name}", file, usual=usual, document=document)
                yield from _function(function, name, view, view.at(name), whole=complete(tree, file))


def _function(function: Function, name: str, root: View, here: View, *, whole: bool) -> Iterator[Setting | Listener]:
    for key, words in (("nas.ciphering", "ciphering_order"), ("nas.integrity", "integrity_order")):
        yield from function.setting(key, here.at("security", words).leaves())
    yield from _sbi(function, root, here, whole=whole)
    for key, server in SERVERS.items():
        for entry in (here.at(key, "server") or here.at(key)).each():
            purpose = PURPOSES.get((name, key), server.purpose)
            yield from _listeners(function, entry, server, purpose, tls=False if key == "metrics" else None)
    yield from _areas(function, here)
    logger = root.at("logger")
    for target in logger.at("file").each():
        yield from function.setting("log.file", [(target.at("path") or target).leaf])
    level = logger.at("level") or logger.at("file", "level")
    yield from function.setting("log.level", [level.leaf])
    if whole and not level:
        yield function.default("log.level", "info")
    yield from function.setting("database", [root.at("db_uri").leaf])


def _sbi(function: Function, root: View, here: View, *, whole: bool) -> Iterator[Setting | Listener]:
    # The form of 2.7 has the function's own defaults; that of 2.5 and 2.6 has sections for the whole file.
    common = here.at("default", "tls", "server")
    older = root.at("tls", "server")
    for purpose, servers in (("sbi", here.at("sbi", "server") or here.at("sbi")), ("n32", here.at("n32", "server"))):
        for entry in servers.each():
            for server, tag in ((entry, purpose), (entry.at("n32f"), "n32f")):
                if not server.first("address", "addr", "name", "dev"):
                    continue
                stated = server.at("scheme") or common.at("scheme")
                scheme, leaf = stated.text.lower(), stated.leaf
                if not stated and server.at("tls"):
                    scheme, leaf = "https", next(iter(server.at("tls").below.values())).leaf
                elif not stated and older and said(root.at("sbi", "server", "no_tls").text) != "yes":
                    scheme, leaf = "https", next(iter(older.below.values())).leaf
                key = "sbi.scheme" if tag == "sbi" else "n32.scheme"
                if leaf is not None:
                    yield from function.setting(key, [leaf], scheme)
                elif whole:
                    scheme = "http"
                    yield function.default(key, scheme)
                opened = Server(tag, "tcp", 443 if scheme == "https" else 80, tag)
                yield from _listeners(function, server, opened, tag, tls=scheme == "https" if scheme else None)
    if here.at("sbi"):
        for key, view in (
            ("sbi.verify-client", common.at("verify_client")),
            ("sbi.client-scheme", here.at("default", "tls", "client", "scheme")),
            ("sbi.key-log", common.at("sslkeylogfile")),
            ("sbi.key-log", here.at("default", "tls", "client", "client_sslkeylogfile")),
        ):
            yield from function.setting(key, [view.leaf], said(view.text) if key == "sbi.verify-client" else None)
        if whole and not common.at("verify_client") and not older:
            yield function.default("sbi.verify-client", "no")
        skip = here.at("default", "tls", "client", "insecure_skip_verify")
        yield from function.setting(
            "sbi.verify-server", [skip.leaf], {"yes": "no", "no": "yes"}.get(said(skip.text) or "", skip.text)
        )
        client = here.at("sbi", "client")
        for entry in client.at("nrf").each():
            yield from function.setting("nrf", [entry.at("uri").leaf])


def _listeners(
    function: Function, entry: View, server: Server, purpose: str, *, tls: bool | None
) -> Iterator[Listener]:
    number = port(entry.at("port").text, server.port)
    device = entry.at("dev")
    addresses = [leaf for name in ("address", "addr", "name") for leaf in entry.at(name).leaves()]
    for leaf in addresses:
        yield function.listener(server.protocol, leaf.value, number, purpose, leaf.line, tls=tls)
    if device.leaf is not None and not addresses:
        yield function.listener(
            server.protocol, "", number, purpose, device.leaf.line, tls=tls, interface=device.text.removeprefix("dev:")
        )


def _areas(function: Function, here: View) -> Iterator[Setting]:
    for area in here.at("tai").each():
        for identity in area.at("plmn_id").each():
            mcc, mnc = identity.at("mcc"), identity.at("mnc")
            if mcc and mnc:
                yield from function.setting("plmn", [mcc.leaf], plmn(mcc.text, mnc.text))
        yield from function.setting("tac", area.at("tac").leaves())


INSPECTOR = ContentInspector(
    name="open5gs",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/open5gs/",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=(
        "configuration that stands in a Kubernetes ConfigMap or comes from the environment",
        "subscribers in MongoDB, unless a dump of it is in the release",
        "configuration outside a directory named open5gs",
    ),
)

SETTINGS = TreeInspector(
    name="open5gs-settings",
    version=1,
    families=(Setting, Listener),
    inspect=observe,
    unseen=(
        "options on the command line (-e, -m, -d) that change logging",
        "OAuth 2.0 on the service-based interface: no key of the configuration says it",
        "the port of the web interface, which is an environment variable (PORT)",
    ),
)
