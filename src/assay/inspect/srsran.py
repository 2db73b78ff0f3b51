"""srsRAN: the programs of srsRAN 4G (INI files: srsenb, srsepc, srsue) and of srsRAN Project (YAML: gnb, CU, DU).

Looked at: enb.conf, epc.conf and ue.conf; gnb*, cu* and du* as YAML; others under a path that says srsran or srslte.
Source: the example configurations and the options' help texts of srsRAN 4G 23.11 and srsRAN Project 23.5 to 24.10.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .late import late
from .mobile_function import Function, View, complete, configurations, plmn, port, said, shown, yaml_directives
from .yaml_format import prepare as prepare  # noqa: PLC0414 - workers look for it here

DIALECT = "srsran"
"""For both: a key is section.name, or the path in the YAML file."""

_NAME = late(r"(?:gnb|cu|du|cu_cp|cu_up)(?:[_.-][^/]*)?\.ya?ml")
_YAML = late(r"^(?:ru_sdr|ru_ofh|cell_cfg|cu_cp|cu_up|gnb_id|amf|f1ap)[ \t]*:", re.MULTILINE)
_SECTIONS = late(r"^\[(enb|mme|hss|spgw|usim|rf)\][ \t]*$", re.MULTILINE)
_LINE = late(r"\s*([\w.-]+)\s*=\s*(.*)")

DOCUMENT_4G = "srsRAN 4G 23.11, help texts of its options; version unknown"
DOCUMENT = "srsRAN Project 23.5 to 24.10, help texts of its options; version unknown"


def wants_path(path: str) -> bool:
    """Tell whether a file can be a configuration of srsRAN."""
    if not path.endswith((".conf", ".yml", ".yaml")):
        return False
    if "srsran" in path or "srslte" in path:
        return True
    return (
        path.endswith(("/enb.conf", "/epc.conf", "/ue.conf")) or _NAME.fullmatch(posixpath.basename(path)) is not None
    )


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a value; what is of neither form yields nothing. Subscriber keys are left out."""
    text = content.text()
    if _SECTIONS.search(text):
        section = ""
        for number, raw in enumerate(text.split("\n"), 1):
            line = raw.partition("#")[0].strip()
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1][:64]
            elif match := _LINE.fullmatch(line):
                key = f"{section}.{match[1]}"
                yield Directive(dialect=DIALECT, key=key, value=shown(key, match[2].strip()), line=number)
    elif _YAML.search(text):
        yield from yaml_directives(DIALECT, content)


def observe(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield settings and listeners of each configuration."""
    for file, view in configurations(tree, DIALECT):
        whole = complete(tree, file)
        if view.at("mme"):
            yield from _epc(Function("srsepc", file, usual=True, document=DOCUMENT_4G), view, whole=whole)
        elif view.at("enb"):
            yield from _enb(Function("srsenb", file, usual=True, document=DOCUMENT_4G), view, whole=whole)
        elif view.at("usim"):
            yield from _common(Function("srsue", file, usual=True, document=DOCUMENT_4G), view)
        else:
            yield from _station(Function("srsran-gnb", file, usual=True, document=DOCUMENT), view, whole=whole)


def _common(function: Function, root: View) -> Iterator[Setting]:
    yield from function.setting("log.level", [root.at("log", "all_level").leaf])
    yield from function.setting("log.file", [root.at("log", "filename").leaf])
    for name, switch in root.at("pcap").below.items():
        if name.endswith("enable") and said(switch.text) == "yes":
            file = root.at("pcap", name.replace("enable", "filename"))
            yield from function.setting("capture", [file.leaf or switch.leaf])


def _listed(function: Function, key: str, view: View, default: str, *, whole: bool) -> Iterator[Setting]:
    """Yield an order of algorithms that is written as one text."""
    if view:
        yield from function.setting(key, [view.leaf], " ".join(view.text.replace(",", " ").upper().split()))
    elif whole:
        yield function.default(key, default)


def _network(function: Function, here: View) -> Iterator[Setting]:
    if here.at("mcc") and here.at("mnc"):
        yield from function.setting("plmn", [here.at("mcc").leaf], plmn(here.at("mcc").text, here.at("mnc").text))


def _epc(function: Function, root: View, *, whole: bool) -> Iterator[Setting | Listener]:
    yield from _listed(function, "nas.ciphering", root.at("mme", "encryption_algo"), "EEA0", whole=whole)
    yield from _listed(function, "nas.integrity", root.at("mme", "integrity_algo"), "EIA1", whole=whole)
    yield from _network(function, root.at("mme"))
    yield from function.setting("tac", root.at("mme", "tac").leaves())
    yield from function.setting("database", [root.at("hss", "db_file").leaf])
    yield from _common(function, root)
    for leaf in root.at("mme", "mme_bind_addr").leaves():
        yield function.listener("sctp", leaf.value, 36412, "s1ap", leaf.line)
    for leaf in root.at("spgw", "gtpu_bind_addr").leaves():
        yield function.listener("udp", leaf.value, 2152, "s1-u", leaf.line)


def _enb(function: Function, root: View, *, whole: bool) -> Iterator[Setting | Listener]:
    expert = root.at("expert")
    yield from _listed(function, "as.ciphering", expert.at("eea_pref_list"), "EEA0 EEA2 EEA1", whole=whole)
    yield from _listed(function, "as.integrity", expert.at("eia_pref_list"), "EIA2 EIA1 EIA0", whole=whole)
    yield from _network(function, root.at("enb"))
    yield from _common(function, root)
    for leaf in root.at("enb", "gtp_bind_addr").leaves():
        yield function.listener("udp", leaf.value, 2152, "s1-u", leaf.line)


def _station(function: Function, root: View, *, whole: bool) -> Iterator[Setting | Listener]:
    security = root.at("cu_cp", "security")
    control = bool(root.at("amf") or root.at("cu_cp"))  # a DU alone protects nothing
    yield from _listed(
        function, "as.ciphering", security.at("nea_pref_list"), "NEA0 NEA2 NEA1", whole=whole and control
    )
    if security.at("nia_pref_list"):
        yield from _listed(function, "as.integrity", security.at("nia_pref_list"), "", whole=False)
    yield from function.setting("up.ciphering", [security.at("confidentiality").leaf])
    yield from function.setting("up.integrity", [security.at("integrity").leaf])
    for cell in (root.at("cell_cfg"), *root.at("cells").each()):
        network = cell.at("plmn")
        if network:
            yield from function.setting("plmn", [network.leaf], plmn(network.text[:3], network.text[3:]))
        yield from function.setting("tac", cell.at("tac").leaves())
    yield from _common(function, root)
    for section, usual, purpose in (("f1ap", 38472, "f1-c"), ("e1ap", 38462, "e1")):
        for leaf in root.at("cu_cp", section, "bind_addr").leaves():
            yield function.listener("sctp", leaf.value, usual, purpose, leaf.line)
    for section, purpose in (("ngu", "n3"), ("f1u", "f1-u")):
        for socket in root.at("cu_up", section, "socket").each():
            for leaf in socket.at("bind_addr").leaves():
                yield function.listener("udp", leaf.value, port(socket.at("bind_port").text, 2152), purpose, leaf.line)
    remote = root.at("remote_control")
    enabled = remote.at("enabled").leaf
    if enabled is not None and said(enabled.value) == "yes":
        address = remote.at("bind_addr").text or "127.0.0.1"
        yield function.listener("tcp", address, port(remote.at("port").text, 8001), "admin", enabled.line)


INSPECTOR = ContentInspector(
    name="srsran",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=(".conf", ".y"),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=("configurations under other names, or in a Kubernetes ConfigMap",),
)

SETTINGS = TreeInspector(
    name="srsran-settings",
    version=1,
    families=(Setting, Listener),
    inspect=observe,
    unseen=(
        "options on the command line, and several YAML files given together (-c a.yml -c b.yml)",
        "the order of integrity algorithms of a gnb that does not state it: its documents disagree",
    ),
)
