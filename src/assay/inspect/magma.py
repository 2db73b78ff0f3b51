"""Magma access gateway: service configurations (YAML), the service registry, and the template of its MME.

Looked at: *.yml and *.template under /etc/magma and other directories named magma. Source: the configurations that come
with Magma 1.6 to 1.9 (lte/gateway/configs) and orc8r/gateway. A template's conditions and loops are left out, so that
its values are those of every way through it; what is filled in at run time stands as `{{ name }}`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .late import late
from .mobile_function import Function, View, configurations, port, said, yaml_directives
from .openair import libconfig_directives, mme
from .yaml_format import prepare as prepare  # noqa: PLC0414 - workers look for it here

DIALECT = "magma"

_BLOCK = late(r"\{%[^%]{0,500}%\}|\{#[^#]{0,2000}#\}")
_SECTION = late(r"^[ \t]*MME\s*:", re.MULTILINE)


def wants_path(path: str) -> bool:
    """Tell whether a file is a configuration of Magma."""
    return "/magma/" in path and path.endswith((".yml", ".yaml", "/mme.conf.template", "/mme.conf"))


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a scalar of a service's YAML file, or of the MME's configuration or its template."""
    text = content.text()
    if _SECTION.search(text):
        # Line ends inside of what is left out stay, so that lines keep their numbers.
        yield from libconfig_directives(DIALECT, _BLOCK.sub(lambda match: "\n" * match[0].count("\n"), text))
    else:
        yield from yaml_directives(DIALECT, content)


def observe(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield settings of each service, and the listeners of the registry and the control proxy."""
    for file, view in configurations(tree, DIALECT):
        base = posixpath.basename(file.path)
        name = base.partition(".")[0]
        usual = file.path.startswith("/etc/magma/")
        function = Function(
            f"magma-{name}", file, usual=usual, document="Magma 1.6 to 1.9 as published; version unknown"
        )
        if view.at("MME"):
            yield from mme(function, view.at("MME"))
            continue
        if name == "service_registry":
            for service, entry in view.at("services").below.items():
                yield from _service(Function(f"magma-{service}", file, usual=usual, document=function.document), entry)
            continue
        yield from function.setting("log.level", [view.at("log_level").leaf])
        for key in ("print_grpc_payload", "enable_gtpu_private_ip_correction", "allow_http_proxy"):
            yield from function.setting(key, [view.at(key).leaf], said(view.at(key).text))
        if name == "control_proxy":
            yield from _proxy(function, view)


def _service(function: Function, entry: View) -> Iterator[Listener]:
    for leaf in entry.at("ip_address").leaves():
        yield function.listener("tcp", leaf.value, port(entry.at("port").text), "grpc", leaf.line)


def _proxy(function: Function, view: View) -> Iterator[Setting | Listener]:
    for key in ("cloud_address", "bootstrap_address", "proxy_cloud_connections"):
        yield from function.setting(key, [view.at(key).leaf])
    local = view.at("local_port").leaf
    if local is not None:
        yield function.listener("tcp", "", port(local.value), "proxy", local.line)


INSPECTOR = ContentInspector(
    name="magma",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/magma/",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
    unseen=("gateway.mconfig (JSON), which the orchestrator sends and which holds the network's own values",),
)

SETTINGS = TreeInspector(
    name="magma-settings",
    version=1,
    families=(Setting, Listener),
    inspect=observe,
    unseen=("values that a template gets at run time, and which way through it is taken", "built-in defaults"),
)
