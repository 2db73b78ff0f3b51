"""Descriptors of network functions in TOSCA: VNFD, PNFD, NSD of ETSI, and O-RAN's application service descriptor.

Source: ETSI GS NFV-SOL 001 V4.3.1, clauses 6.8.1 (VNF), 7.8 (NS), 8.8 (PNF); O-RAN ASD node type `tosca.nodes.asd`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from assay.facts.manifest import PackageStatement

from . import yaml_format
from .base import Content, ContentInspector
from .yaml_values import at, line, mapping, scalar, value

MOST = 200
"""Descriptors of one text that are told."""

_TYPES = (("tosca.nodes.nfv.", "csar"), ("tosca.nodes.asd", "oran"))
_NAMES = ("product_name", "application_name", "asd_name", "name")
_VERSIONS = ("software_version", "application_version", "asd_application_version", "version", "descriptor_version")
_PROVIDERS = ("provider", "asd_provider", "application_provider", "designer")


def prepare() -> None:
    """Load what parsing needs, before workers are forked and confined."""
    yaml_format.prepare()


def inspect(content: Content) -> Iterator[PackageStatement]:
    """Yield what the nodes of a service template say of what they describe.

    A node counts that states a provider, or is of O-RAN's type; its type may be the vendor's own, derived from ETSI's.

    Raises:
        ValueError: the text is not YAML, or has more than a limit allows.
    """
    text = content.text(4 << 20)
    if "tosca_definitions_version" not in text:
        return
    told = 0
    for root in yaml_format.documents(text):
        whole = value(root)
        parents = {
            name: scalar(at(made, "derived_from")) or "" for name, made in mapping(at(whole, "node_types")).items()
        }
        for node in mapping(at(whole, "topology_template", "node_templates")).values():
            found = _statement(node, parents)
            if found is not None and told < MOST:
                told += 1
                yield found


def _statement(node: Any, parents: dict[str, str]) -> PackageStatement | None:  # noqa: ANN401 - whatever stands there
    own = scalar(at(node, "type")) or ""
    kind = next(
        (kind for name in (own, parents.get(own, "")) for start, kind in _TYPES if name.startswith(start)), None
    )
    properties = mapping(at(node, "properties"))
    if kind is None and not {"descriptor_id", "provider", "product_name"} <= properties.keys():
        return None

    def first(names: tuple[str, ...]) -> str | None:
        return next((text[:500] for name in names if (text := scalar(properties.get(name)))), None)

    provider = first(_PROVIDERS)
    if provider is None and kind != "oran":
        return None  # a part of the function: compute, connection point, ...
    return PackageStatement(
        kind=kind or "csar",
        name=first(_NAMES),
        version=first(_VERSIONS),
        provider=provider,
        format=own or None,
        line=line(properties) or line(node),
    )


INSPECTOR = ContentInspector(
    name="tosca",
    version=1,
    families=(PackageStatement,),
    inspect=inspect,
    wants_path=lambda path: path.endswith((".yaml", ".yml")),
    wants_head=None,
    max_size=4 << 20,
    text_only=True,
    unseen=("templates that a descriptor imports, and properties that it computes (get_input)",),
)
