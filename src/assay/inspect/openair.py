"""OpenAirInterface: core functions (one YAML file for all, or mme.conf) and radio stations (libconfig).

Looked at: *.conf and *.yaml under a path that says oai or openair, and contents that begin as a radio station's
configuration does (Active_gNBs). Source: the commented configurations of oai-cn5g-fed 2.0 and 2.1, openair-mme, and
openairinterface5g 2023.w30 to 2.2; 3GPP TS 38.412, 38.472, 29.244, 29.281 for ports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .late import late
from .libconfig_format import scalars
from .mobile_function import Function, View, configurations, plmn, port, shown, yaml_directives
from .yaml_format import prepare as prepare  # noqa: PLC0414 - workers look for it here

DIALECT = "openair"

_STATION = late(r"^[ \t]*(?:Active_[ge]NBs|[ge]NBs|MACRLCs|MME|uicc\d+)\s*[=:]", re.MULTILINE)
_CORE = late(r"^nfs:[ \t]*(?:#.*)?$", re.MULTILINE)

INTERFACES = {"sbi": "tcp", "n2": "sctp", "n3": "udp", "n4": "udp", "n9": "udp"}
"""Interfaces of core functions on which they listen."""


def wants_path(path: str) -> bool:
    """Tell whether a file can be a configuration of OpenAirInterface."""
    return path.endswith((".conf", ".yaml", ".yml")) and ("oai" in path or "openair" in path)


def wants_head(head: bytes) -> bool:
    """Tell whether a content begins as the configuration of a radio station does."""
    at = head.find(b"Active_", 0, 256)
    return at >= 0 and head[at + 8 : at + 11] == b"NBs"


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a scalar; what is neither form yields nothing. Keys and passwords are left out."""
    text = content.text()
    if _CORE.search(text):
        yield from yaml_directives(DIALECT, content)
    elif _STATION.search(text):
        yield from libconfig_directives(DIALECT, text)


def libconfig_directives(dialect: str, text: str) -> Iterator[Directive]:
    """Yield one directive a scalar of a libconfig text."""
    for path, value, line in scalars(text):
        yield Directive(dialect=dialect, key=path, value=shown(path, value), line=line)


def observe(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield settings and listeners of each configuration, of every function that it speaks of."""
    document = "OpenAirInterface as published; version unknown"
    for file, view in configurations(tree, DIALECT):
        for name, here in view.at("nfs").below.items():
            yield from _core(Function(f"oai-{name}", file, usual=True, document=document), name, here, view)
        for key in ("gNBs", "eNBs"):
            function = Function(f"oai-{key[:3].lower()}", file, usual=True, document=document)
            for station in view.at(key).each():
                yield from _station(function, station)
            if view.at(key):
                yield from _protection(function, view)
        if view.at("MME"):
            yield from mme(Function("oai-mme", file, usual=True, document=document), view.at("MME"))


def _core(function: Function, name: str, here: View, root: View) -> Iterator[Setting | Listener]:
    for interface, protocol in INTERFACES.items():
        entry = here.at(interface)
        number = entry.at("port").leaf
        if number is not None:
            device = entry.at("interface_name").text or None
            yield function.listener(protocol, "", port(number.value), interface, number.line, interface=device)
    own = root.at(name)
    yield from function.setting("nas.ciphering", own.at("supported_encryption_algorithms").leaves())
    yield from function.setting("nas.integrity", own.at("supported_integrity_algorithms").leaves())
    level = root.at("log_level", name) or root.at("log_level", "general")
    yield from function.setting("log.level", [level.leaf])
    if name in ("amf", "udr"):
        yield from function.setting("database", [root.at("database", "host").leaf])
    for area in own.at("plmn_support_list").each():
        yield from _network(function, area)
        yield from function.setting("tac", area.at("tac").leaves())


def _network(function: Function, here: View) -> Iterator[Setting]:
    if here.at("mcc") and here.at("mnc"):
        mnc = here.at("mnc").text
        digits = here.at("mnc_length").text
        mnc = mnc.zfill(int(digits)) if digits in ("2", "3") else mnc
        yield from function.setting("plmn", [here.at("mcc").leaf], plmn(here.at("mcc").text, mnc))


def _station(function: Function, here: View) -> Iterator[Setting | Listener]:
    for network in here.at("plmn_list").each():
        yield from _network(function, network)
    yield from function.setting("tac", here.at("tracking_area_code").leaves())
    interfaces = here.at("NETWORK_INTERFACES")
    for words, ports in (
        ("GNB_IPV4_ADDRESS_FOR_NGU", ("GNB_PORT_FOR_NGU", "GNB_PORT_FOR_S1U")),
        ("ENB_IPV4_ADDRESS_FOR_S1U", ("ENB_PORT_FOR_S1U",)),
    ):
        for leaf in interfaces.at(words).leaves():
            number = port(interfaces.first(*ports).text, 2152)
            purpose = "n3" if "NGU" in words else "s1-u"
            device = interfaces.first("GNB_INTERFACE_NAME_FOR_NGU", "ENB_INTERFACE_NAME_FOR_S1U").text or None
            yield function.listener("udp", leaf.value.partition("/")[0], number, purpose, leaf.line, interface=device)
    if here.at("tr_s_preference").text == "f1":
        for leaf in here.at("local_s_address").leaves():
            yield function.listener("udp", leaf.value, port(here.at("local_s_portd").text, 2153), "f1-u", leaf.line)


def _protection(function: Function, root: View) -> Iterator[Setting]:
    security = root.at("security")
    for key, words in (("as.ciphering", "ciphering_algorithms"), ("as.integrity", "integrity_algorithms")):
        leaves = security.at(words).leaves()
        yield from function.setting(key, leaves, " ".join(leaf.value.upper() for leaf in leaves))
    yield from function.setting("up.ciphering", [security.at("drb_ciphering").leaf])
    yield from function.setting("up.integrity", [security.at("drb_integrity").leaf])
    yield from function.setting("log.level", [root.at("log_config", "global_log_level").leaf])


def mme(function: Function, here: View) -> Iterator[Setting | Listener]:
    """Yield settings and listeners of an MME section (mme.conf), which other projects have taken over."""
    nas = here.at("NAS")
    yield from function.setting("nas.ciphering", nas.at("ORDERED_SUPPORTED_CIPHERING_ALGORITHM_LIST").leaves())
    yield from function.setting("nas.integrity", nas.at("ORDERED_SUPPORTED_INTEGRITY_ALGORITHM_LIST").leaves())
    yield from function.setting("unauthenticated", [here.at("UNAUTHENTICATED_IMSI_SUPPORTED").leaf])
    for identity in here.at("TAI_LIST").each():
        if identity.at("MCC") and identity.at("MNC"):
            value = plmn(identity.at("MCC").text, identity.at("MNC").text)
            yield from function.setting("plmn", [identity.at("MCC").leaf], value)
        yield from function.setting("tac", identity.at("TAC").leaves())
    yield from function.setting("log.file", [here.at("LOGGING", "OUTPUT").leaf])
    yield from function.setting("log.level", [here.at("LOGGING", "NAS_LOG_LEVEL").leaf])
    interfaces = here.at("NETWORK_INTERFACES")
    for name, protocol, number, purpose in (("S1_MME", "sctp", 36412, "s1ap"), ("S11_MME", "udp", 2123, "s11")):
        device = interfaces.at(f"MME_INTERFACE_NAME_FOR_{name}").text or None
        for leaf in interfaces.first(f"MME_IPV4_ADDRESS_FOR_{name}", f"MME_IPV4_ADDRESS_FOR_{name[:3]}").leaves():
            stated = port(interfaces.at(f"MME_PORT_FOR_{name}").text, number)
            address = leaf.value.partition("/")[0]
            yield function.listener(protocol, address, stated, purpose, leaf.line, interface=device)


INSPECTOR = ContentInspector(
    name="openair",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("oai", "openair"),
    wants_path=wants_path,
    wants_head=wants_head,
    max_size=1 << 20,
    text_only=True,
    unseen=(
        "configurations of core functions in a Kubernetes ConfigMap, or under a path that says neither oai nor openair",
    ),
)

SETTINGS = TreeInspector(
    name="openair-settings",
    version=1,
    families=(Setting, Listener),
    inspect=observe,
    unseen=(
        "which functions are started with a file that speaks of all: every one in it is taken",
        "files that a configuration includes (@include)",
        "options on the command line, among them --telnetsrv, which opens a console; built-in defaults",
    ),
)
