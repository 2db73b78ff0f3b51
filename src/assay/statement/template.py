"""A statement to be filled in: every field with its meaning, and, of a record, what was found."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Mapping

import msgspec

from .document import TOPICS, Document, Topic

NAMES = {"port": "port", "account": "name", "service": "name", "software": "name", "role": "name", "egress": "host"}
"""Of topics whose key is a single field: that field."""


FIRST = {
    "assay_statement": "assay_statement = 1",
    "product": 'product = ""',
    "version": 'version = ""',
    "supplier": 'supplier = ""',
    "date": "# date = 2026-01-31",
    "complete": "complete = []",
}
"""How the fields about the statement itself stand in the template."""


def template(found: Mapping[str, Iterable[str]] | None = None) -> str:
    """Return a statement in TOML.

    Args:
        found: keys that a record has, by topic (its view `found`): an entry is written for each, with its purpose left
            empty; without, an example of each topic stands in comments.
    """
    out = ["# A statement on a release, filled in by whoever supplies it, given to `assay examine --statement`."]
    out += ["# What is declared is compared with what is found; nothing is taken for true because it stands here.", ""]
    topics = {topic.topic for topic in TOPICS}
    for field in msgspec.structs.fields(Document):
        if field.name not in topics:
            out += [f"# {_meaning(field)}", FIRST[field.name]]
    for topic in TOPICS:
        out += ["", f"# {' '.join((topic.__doc__ or '').split())}"]
        out += [f"#   {field.name}: {_meaning(field)}" for field in msgspec.structs.fields(topic)]
        keys = list(found.get(topic.topic, ())) if found is not None else []
        for key in keys:
            out += ["", f"[[{topic.topic}]]", *_entry(topic, key)]
        if not keys:
            out += ["#", f"# [[{topic.topic}]]", *(f"# {line}" for line in topic.example.splitlines())]
    return "\n".join(out) + "\n"


def _meaning(field: msgspec.structs.FieldInfo) -> str:
    texts = [meta.description for meta in getattr(field.type, "__metadata__", ()) if meta.description]
    return (texts[-1] if texts else "") + choices(field) + ("" if field.required else " (may be left out)")


def choices(field: msgspec.structs.FieldInfo) -> str:
    """Return the values that a field may have, if they are few."""
    kind = typing.get_args(field.type)[0] if hasattr(field.type, "__metadata__") else field.type
    if typing.get_origin(kind) is list:
        kind = typing.get_args(kind)[0]
    values = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    return f": {', '.join(map(str, values))}" if len(values) > 1 else ""


def _entry(topic: type[Topic], key: str) -> list[str]:
    """Return the lines of an entry with this key; its purpose is for somebody else to state."""
    first, _, rest = key.partition("/")
    if topic.topic == "port":
        lines = [f"protocol = {json.dumps(first)}", f"port = {int(rest)}"]
    elif topic.topic == "account":
        lines = [f"kind = {json.dumps(first)}", f"name = {json.dumps(rest)}"]
    elif topic.topic == "escalation":
        mechanism, _, what = key.partition(":")
        lines = [f"mechanism = {json.dumps(mechanism)}", f"what = {json.dumps(what)}"]
    else:
        lines = [f"{NAMES[topic.topic]} = {json.dumps(key)}"]
    return [*lines, 'purpose = ""']
