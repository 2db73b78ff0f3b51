"""YAML 1.1 documents as PyYAML nodes with their places: composed without recursion, within limits, nothing constructed.

libyaml splits the text into events; the nodes are put together here, because a deeply nested text must not exhaust the
stack and an alias must not multiply. Tags (`!!python/...`) stay words in a node. Reference: YAML 1.1; PyYAML 6.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yaml import MappingNode, Node, ScalarNode

MAX_TEXT = 4 << 20
"""Characters of a text."""
MAX_DEPTH = 64
"""Nodes around a node."""
MAX_NODES = 200_000
"""Nodes of a text, and nodes visited by `flatten`: an alias counts each time it is followed."""
MAX_ALIASES = 2_000
"""Aliases in a text."""

Path = tuple[str | int, ...]
"""Keys and positions (from 0) that lead to a node, outermost first."""


def prepare() -> None:
    """Load what parsing needs, before workers are forked and confined."""
    import yaml

    # The first use of the parser loads its codec and its tables.
    for event in yaml.parse("a: [1]", Loader=yaml.CSafeLoader):
        assert event is not None


def documents(text: str) -> Iterator[Node]:
    """Yield the root node of each document of a text; an empty document yields nothing.

    Nodes are yaml.ScalarNode, SequenceNode and MappingNode. An alias is the node that it names, the same object again;
    scalars have the tag that is written or, unwritten, the one that YAML 1.1 resolves it to (`tag:yaml.org,2002:bool`).

    Raises:
        ValueError: the text is not YAML, or has more than a limit allows; documents before the fault have been yielded.
    """
    import yaml

    if len(text) > MAX_TEXT:
        raise ValueError(f"YAML text of more than {MAX_TEXT} characters")
    resolve: Any = yaml.resolver.Resolver().resolve
    loader = yaml.CSafeLoader(text)
    anchors: dict[str, Node] = {}
    pending: list[tuple[Node, str | None]] = []
    """Collections that are open, outermost first, each with its anchor: it can be named only once it is complete."""
    keys: list[list[Node]] = []
    """Of each open collection, the key that waits for its value."""
    root: Node | None = None
    nodes = aliases = 0
    try:
        while True:
            event: Any = loader.get_event()
            start, end = event.start_mark, event.end_mark
            if isinstance(event, yaml.ScalarEvent):
                tag = event.tag
                if tag is None or tag == "!":
                    tag = resolve(yaml.ScalarNode, event.value, event.implicit)
                node: Node = yaml.ScalarNode(tag, event.value, start, end, event.style)
                if event.anchor is not None:
                    anchors[event.anchor] = node
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                kind = yaml.MappingNode if isinstance(event, yaml.MappingStartEvent) else yaml.SequenceNode
                tag = event.tag
                if tag is None or tag == "!":
                    tag = resolve(kind, None, event.implicit)
                pending.append((kind(tag, [], start, end, event.flow_style), event.anchor))
                keys.append([])
                if len(pending) > MAX_DEPTH:
                    raise ValueError(f"YAML deeper than {MAX_DEPTH} levels at line {start.line + 1}")
                continue
            elif isinstance(event, yaml.CollectionEndEvent):
                node, anchor = pending.pop()
                keys.pop()
                node.end_mark = end
                if anchor is not None:
                    anchors[anchor] = node
            elif isinstance(event, yaml.AliasEvent):
                aliases += 1
                if aliases > MAX_ALIASES:
                    raise ValueError(f"YAML with more than {MAX_ALIASES} aliases")
                if event.anchor not in anchors:
                    raise ValueError(f"YAML alias to no complete node at line {start.line + 1}")
                node = anchors[event.anchor]
            elif isinstance(event, yaml.DocumentEndEvent):
                if root is not None and not _is_nothing(root):
                    yield root
                root = None
                anchors.clear()
                continue
            elif isinstance(event, yaml.StreamEndEvent):
                return
            else:
                continue
            nodes += 1
            if nodes > MAX_NODES:
                raise ValueError(f"YAML with more than {MAX_NODES} nodes")
            if not pending:
                root = node
            elif isinstance(pending[-1][0], yaml.SequenceNode):
                pending[-1][0].value.append(node)
            elif keys[-1]:
                pending[-1][0].value.append((keys[-1].pop(), node))
            else:
                keys[-1].append(node)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {_one_line(error)}") from None
    finally:
        loader.dispose()


def pairs(mapping: MappingNode) -> Iterator[tuple[str, ScalarNode, Node]]:
    """Yield (key, key's node, value's node) of a mapping in order, keys that are not scalars left out.

    What a merge key (`<<`) brings comes last, and only keys that the mapping does not have itself (YAML merge key
    1.1, 2005): at most one level of mappings is merged into it.
    """
    import yaml

    own = set()
    merged: list[Node] = []
    for key, value in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.tag == "tag:yaml.org,2002:merge":
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        else:
            own.add(key.value)
            yield key.value, key, value
    for other in merged:
        if isinstance(other, yaml.MappingNode):
            for key, value in other.value:
                if isinstance(key, yaml.ScalarNode) and key.value not in own and not key.tag.endswith(":merge"):
                    own.add(key.value)
                    yield key.value, key, value


def flatten(node: Node) -> Iterator[tuple[Path, ScalarNode, int]]:
    """Yield every scalar value under a node, in the order of the text: its path, the scalar, its line (from 1).

    Empty collections yield nothing. The line is that of the scalar itself, also where an alias leads to it.

    Raises:
        ValueError: more nodes than the limit, aliases followed.
    """
    import yaml

    visited = 0
    todo: list[tuple[Path, Node]] = [((), node)]
    while todo:
        path, here = todo.pop()
        visited += 1
        if visited > MAX_NODES:
            raise ValueError(f"YAML with more than {MAX_NODES} nodes, aliases followed")
        if isinstance(here, yaml.ScalarNode):
            yield path, here, here.start_mark.line + 1
            continue
        below: list[tuple[Path, Node]]
        if isinstance(here, yaml.MappingNode):
            below = [((*path, key), value) for key, _, value in pairs(here)]
        else:
            below = [((*path, position), value) for position, value in enumerate(here.value)]
        if visited + len(todo) + len(below) > MAX_NODES:
            raise ValueError(f"YAML with more than {MAX_NODES} nodes, aliases followed")
        todo += reversed(below)


def dotted(path: Path) -> str:
    """Return a path as text: keys joined by dots, positions in brackets (`amf.sbi.server[0].address`)."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _is_nothing(node: Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null" and node.value == ""


def _one_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    where = f" at line {mark.line + 1}" if mark is not None else ""
    return " ".join(f"{problem}{where}".split())[:200]
