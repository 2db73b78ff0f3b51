"""YAML documents as plain objects that know their lines: for readers that walk over keys rather than over nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .yaml_format import MAX_NODES, pairs

if TYPE_CHECKING:
    from yaml import Node


class Text(str):
    """A scalar as written, with its line."""

    __slots__ = ("line",)
    line: int


class Map(dict[str, Any]):
    """A mapping, with the line of its first key."""

    __slots__ = ("line",)
    line: int


def value(root: Node) -> object:
    """Return a node of `yaml_format.documents` as Map, list, Text or None (for null).

    What an alias names again is the same object again, so that nothing multiplies. Depth is limited by `yaml_format`.

    Raises:
        ValueError: more values than `yaml_format.MAX_NODES`, those behind aliases counted each time.
    """
    import yaml

    made: dict[int, tuple[object, int]] = {}

    def of(node: Node) -> tuple[object, int]:
        if id(node) in made:
            return made[id(node)]
        size = 1
        found: object
        if isinstance(node, yaml.ScalarNode):
            found = None
            if node.tag != "tag:yaml.org,2002:null":
                found = Text(node.value)
                found.line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            found = Map()
            found.line = node.start_mark.line + 1
            for key, _, below in pairs(node):
                found[key], count = of(below)
                size += count
        else:
            below_all = [of(below) for below in node.value]
            found = [below for below, _ in below_all]
            size += sum(count for _, count in below_all)
        if size > MAX_NODES:
            raise ValueError(f"YAML with more than {MAX_NODES} values, aliases followed")
        made[id(node)] = found, size
        return found, size

    return of(root)[0]


def line(found: object) -> int | None:
    """Return the line of a value, where it has one."""
    return found.line if isinstance(found, (Text, Map)) else None


def at(found: object, *keys: str) -> Any:  # noqa: ANN401 - whatever the text holds there
    """Return what stands under keys, one in another; None if there is nothing."""
    for key in keys:
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return found


def mapping(found: object) -> dict[str, Any]:
    """Return a mapping, or an empty one in place of anything else."""
    return found if isinstance(found, dict) else {}


def items(found: object) -> list[Any]:
    """Return a list, or an empty one in place of anything else."""
    return found if isinstance(found, list) else []


def scalar(found: object) -> str | None:
    """Return a scalar's text; None for anything else."""
    return str(found) if isinstance(found, (str, int, float)) else None


def flag(found: object) -> bool | None:
    """Return a boolean of YAML 1.1 (true, yes, on, ...); None for anything else."""
    if not isinstance(found, str):
        return None
    return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(found.lower())
