"""free5GC: the YAML files of its network functions and of its web console.

Looked at: NAMEcfg.yaml, where NAME is one of its functions. Source: the project's configuration files and the package
`factory` of each function, versions 3.0 to 4.1. Its functions refuse a configuration without scheme, so that there is
no default for it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .late import late
from .mobile_function import Function, View, complete, configurations, installed, plmn, port, said, yaml_directives
from .yaml_format import prepare as prepare  # noqa: PLC0414 - workers look for it here

DIALECT = "free5gc"

_NAME = late(r"(amf|ausf|bsf|chf|n3iwf|nef|nrf|nssf|pcf|scp|smf|tngf|udm|udr|upf|webui)cfg[^/]*\.ya?ml")

NGAP, PFCP, GTPU = 38412, 8805, 2152
SBI = 8000


def wants_path(path: str) -> bool:
    """Tell whether a file is named as a configuration of free5GC."""
    return path.endswith((".yaml", ".yml")) and "cfg" in path and _NAME.match(posixpath.basename(path)) is not None


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a scalar; passwords are left out."""
    yield from yaml_directives(DIALECT, content)


def observe(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield settings and listeners of each configuration file."""
    version = installed(tree, "free5gc")
    document = "free5GC 3.4 as published" + (f"; package version {version}" if version else "; version unknown")
    for file, view in configurations(tree, DIALECT):
        match = _NAME.match(posixpath.basename(file.path))
        if match is None:
            continue
        name = match[1]
        usual = file.path.endswith(f"/config/{name}cfg.yaml")
        function = Function(f"free5gc-{name}", file, usual=usual, document=document)
        whole = complete(tree, file)
        # The user plane function has no section of its own in newer files.
        here = view.at("configuration") or view
        yield from _security(function, name, here, whole=whole)
        yield from _listeners(function, name, here)
        yield from _identity(function, here)
        yield from _logging(function, view.at("logger"))


def _security(function: Function, name: str, here: View, *, whole: bool) -> Iterator[Setting]:
    for key, words in (("nas.ciphering", "cipheringOrder"), ("nas.integrity", "integrityOrder")):
        yield from function.setting(key, here.at("security", words).leaves())
    yield from function.setting("sbi.scheme", [here.at("sbi", "scheme").leaf], here.at("sbi", "scheme").text.lower())
    yield from function.setting("nrf", [here.at("nrfUri").leaf])
    database = here.first("MongoDBUrl", "mongoDBUrl") or here.at("mongodb", "url")
    yield from function.setting("database", [database.leaf])
    if name == "nrf":
        oauth = here.at("sbi", "oauth")
        yield from function.setting("sbi.oauth2", [oauth.leaf], said(oauth.text))
        if whole and not oauth and here.at("sbi"):
            yield function.default("sbi.oauth2", "no")


def _listeners(function: Function, name: str, here: View) -> Iterator[Listener]:
    sbi = here.at("sbi")
    for leaf in sbi.first("bindingIPv4", "bindingIP", "bindingIPv6").leaves():
        scheme = sbi.at("scheme").text.lower()
        tls = scheme == "https" if scheme else None
        yield function.listener("tcp", leaf.value, port(sbi.at("port").text, SBI), "sbi", leaf.line, tls=tls)
    for leaf in here.at("ngapIpList").leaves():
        yield function.listener("sctp", leaf.value, port(here.at("ngapPort").text, NGAP), "n2", leaf.line)
    pfcp = here.at("pfcp")
    for entry in pfcp.each():
        for leaf in entry.first("listenAddr", "addr").leaves():
            yield function.listener("udp", leaf.value, PFCP, "n4", leaf.line)
    for entry in here.at("gtpu", "ifList").each():
        for leaf in entry.at("addr").leaves():
            yield function.listener("udp", leaf.value, GTPU, entry.at("type").text.lower() or "gtp-u", leaf.line)
    for leaf in here.first("GTPBindAddress", "gtpBindAddress").leaves():
        yield function.listener("udp", leaf.value, GTPU, "n3", leaf.line)
    for leaf in here.first("IKEBindAddress", "ikeBindAddress").leaves():
        yield function.listener("udp", leaf.value, 500, "nwu", leaf.line)
        yield function.listener("udp", leaf.value, 4500, "nwu", leaf.line)
    web = here.first("webServer", "WebServer")
    for leaf in web.first("ipv4Address", "IPv4").leaves():
        tls = web.first("scheme", "protocol").text.lower() == "https"
        yield function.listener(
            "tcp", leaf.value, port(web.first("port", "PORT").text, 5000), "webui", leaf.line, tls=tls
        )
    metrics = here.at("metrics")
    if metrics and said(metrics.at("enable").text) != "no":
        for leaf in metrics.first("bindingIPv4", "bindingIP").leaves():
            tls = metrics.at("scheme").text.lower() == "https"
            number = port(metrics.at("port").text)
            yield function.listener("tcp", leaf.value, number, "metrics", leaf.line, tls=tls)
    for key, purpose in (("abmfDiameter", "ro"), ("rfDiameter", "rf")):
        for leaf in here.at(key, "hostIPv4").leaves():
            protocol = here.at(key, "protocol").text.lower() or "tcp"
            yield function.listener(protocol, leaf.value, port(here.at(key, "port").text), purpose, leaf.line)
    ees = here.at("ees")
    if name == "upf" and ees and said(ees.at("enabled").text) != "no":
        for leaf in ees.at("ip").leaves():
            yield function.listener("tcp", leaf.value, port(ees.at("port").text), "event-exposure", leaf.line)


def _identity(function: Function, here: View) -> Iterator[Setting]:
    for area in here.at("supportTaiList").each():
        identity = area.at("plmnId")
        if identity.at("mcc") and identity.at("mnc"):
            value = plmn(identity.at("mcc").text, identity.at("mnc").text)
            yield from function.setting("plmn", [identity.at("mcc").leaf], value)
        yield from function.setting("tac", area.at("tac").leaves())


def _logging(function: Function, logger: View) -> Iterator[Setting]:
    yield from function.setting("log.level", [logger.at("level").leaf])
    yield from function.setting("log.file", [logger.at("file").leaf])
    for domain, view in logger.below.items():  # before 3.3 each domain has its own
        level = view.first("debugLevel", "level")
        if level.leaf is not None:
            yield from function.setting("log.level", [level.leaf], f"{level.text}:{domain}")


INSPECTOR = ContentInspector(
    name="free5gc",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("cfg",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=(
        "configuration under another file name than NAMEcfg.yaml, or in a Kubernetes ConfigMap",
        "subscribers and the console's accounts in MongoDB, unless a dump of it is in the release",
    ),
)

SETTINGS = TreeInspector(
    name="free5gc-settings",
    version=1,
    families=(Setting, Listener),
    inspect=observe,
    unseen=("options on the command line (-l, -c), which name log files and other configurations",),
)
