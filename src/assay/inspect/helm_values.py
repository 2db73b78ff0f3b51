"""Values of charts as templates see them: what Go's decoder makes of YAML, and how Go and Helm print it.

Numbers of values files are floats, those of templates ints. Texts and values are bounded in size and depth.

Source: Go fmt, encoding/json; sigs.k8s.io/yaml; Sprig 3 (int, merge); YAML 1.1.
"""

from __future__ import annotations

import json
import re
from typing import Any

from . import yaml_format
from .late import late

LONGEST = 1 << 20
"""Characters of a text, and of all that is printed of a value."""
MOST = 10_000
"""Items of a list or mapping that a function makes."""
DEEPEST = 40
"""Levels of a value that are printed, merged or copied."""

Value = Any
"""str, bool, int, float, None, list of values, or dict of str to values."""


class NotRendered(Exception):
    """A template cannot be rendered here; the message says by what."""


class Unseen:
    """Something that is not known here: files of the chart, the cluster."""

    def __init__(self, name: str) -> None:
        self.name = name


def truth(value: Value) -> bool:
    """Tell whether a value counts as true: not false, zero, nil or empty."""
    return bool(value)


def shown(value: Value) -> str:
    """Return a single value as Go prints it.

    Raises:
        NotRendered: a list, a mapping, or a number of which Go's text is not certain.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if value and not 1e-4 <= abs(value) < 1e6:
            raise NotRendered("a number that may print otherwise")
        return repr(value).removesuffix(".0")
    raise NotRendered("not a single value")


def bounded(text: str) -> str:
    """Return a text that is not too long.

    Raises:
        NotRendered: it is.
    """
    if len(text) > LONGEST:
        raise NotRendered(f"text of more than {LONGEST} characters")
    return text


_LEADING = re.compile(r"[+-]?0\d+")


def integer(value: Value) -> int:
    """Return a value as the functions `int` and `int64` do: 0 for what is no number."""
    if isinstance(value, bool | int | float):
        number = int(value)
    else:
        text = value if isinstance(value, str) else ""
        text = re.sub(r"\.0+\Z", "", text)[:40]
        try:
            number = int(text, 8) if _LEADING.fullmatch(text) else int(text, 0)
        except ValueError:
            return 0
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def decoded(text: str) -> Value:
    """Return the first document of a YAML text as Go's decoder makes it; an empty mapping of none.

    Raises:
        ValueError: it is not YAML, or has more than `yaml_format` allows.
    """
    for node in yaml_format.documents(text):
        return _of_node(node, {}, [0])
    return {}


def _of_node(node: Any, made: dict[int, Value], count: list[int]) -> Value:  # noqa: ANN401 - a node of PyYAML
    import yaml

    count[0] += 1
    if count[0] > yaml_format.MAX_NODES:
        raise ValueError(f"YAML with more than {yaml_format.MAX_NODES} nodes")
    if id(node) not in made:
        if isinstance(node, yaml.MappingNode):
            made[id(node)] = {key: _of_node(below, made, count) for key, _, below in yaml_format.pairs(node)}
        elif isinstance(node, yaml.SequenceNode):
            made[id(node)] = [_of_node(below, made, count) for below in node.value]
        else:
            made[id(node)] = _scalar(node.tag.rpartition(":")[2], node.value)
    return made[id(node)]


def _scalar(kind: str, text: str) -> Value:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("true", "yes", "on", "y")
    if kind == "int" and len(text) < 30:
        plain = text.replace("_", "")
        try:
            return float(int(plain, 8) if _LEADING.fullmatch(plain) else int(plain, 0))
        except ValueError:
            return text
    if kind == "float":
        try:
            return float(text.replace("_", ""))
        except ValueError:
            return text
    return text


_PLAIN = late(r"[A-Za-z/][A-Za-z0-9_./-]*")
_WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))


def _quoted(text: str) -> str:
    whole = json.dumps(text, ensure_ascii=False)
    return whole if whole.isprintable() else "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in whole)


def to_yaml(value: Value) -> str:
    """Return a value as block YAML, keys by name, without a line end at its end.

    Raises:
        NotRendered: it is too large or too deep.
    """
    lines: list[str] = []
    left = LONGEST

    def scalar(value: Value) -> str:
        if isinstance(value, str):
            plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
            return value if plain else _quoted(value)
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
            return str(int(value))
        if isinstance(value, Unseen) or callable(value):
            raise NotRendered("something that is not known here")
        return json.dumps(value)

    def add(line: str) -> None:
        nonlocal left
        left -= len(line) + 1
        if left < 0:
            raise NotRendered(f"YAML of more than {LONGEST} characters")
        lines.append(line)

    def block(value: Value, pad: str, first: str) -> None:
        """Add a value that is not empty; the text before its first line is `first`."""
        if len(pad) > 2 * DEEPEST:
            raise NotRendered(f"a value of more than {DEEPEST} levels")
        entries = (
            [("- ", item) for item in value]
            if isinstance(value, list)
            else [(f"{scalar(str(key))}:", value[key]) for key in sorted(value)]
        )
        for head, item in entries:
            if isinstance(item, list | dict) and item:
                if head == "- ":
                    block(item, f"{pad}  ", f"{first}- ")
                else:
                    add(first + head)
                    below = pad if isinstance(item, list) else f"{pad}  "
                    block(item, below, below)
            else:
                add(f"{first}{head}{scalar(item)}" if head == "- " else f"{first}{head} {scalar(item)}")
            first = pad

    if isinstance(value, list | dict) and value:
        block(value, "", "")
    else:
        add(scalar(value))
    return "\n".join(lines)


def to_json(value: Value) -> str:
    """Return a value as JSON, keys by name.

    Raises:
        NotRendered: it is too large or too deep.
    """
    to_yaml(value)  # the same bounds
    return json.dumps(_whole(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _whole(value: Value) -> Value:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(below) for key, below in value.items()}
    return [_whole(below) for below in value] if isinstance(value, list) else value


class _Budget:
    """Values that may still be looked at: what is shared must not multiply."""

    def __init__(self) -> None:
        self.left = MOST * 10

    def take(self, number: int, depth: int) -> None:
        """Take a number of values at a depth.

        Raises:
            NotRendered: there are no more, or it is too deep.
        """
        self.left -= number + 1
        if self.left < 0 or depth > DEEPEST:
            raise NotRendered("values that are too large or too deep")


def merged(target: Value, source: Value, how: str) -> Value:
    """Return a mapping with what another has besides it, deep.

    Args:
        target: the mapping.
        source: the other one.
        how: what holds where both have a value. fill: the first, if it is not empty (merge of Sprig); over: the second
            (mergeOverwrite); given: the second, and its null takes the value away (values that are given to a chart).

    Raises:
        NotRendered: they are too deep or too large.
    """
    return _merged(target, source, how, 0, _Budget())


def _merged(target: Value, source: Value, how: str, depth: int, budget: _Budget) -> Value:
    budget.take(len(target) + len(source), depth)
    out = dict(target)
    for key, value in source.items():
        mine = out.get(key)
        if isinstance(mine, dict) and isinstance(value, dict):
            out[key] = _merged(mine, value, how, depth + 1, budget)
        elif how == "given" and value is None and key in target:
            del out[key]
        elif key not in out or how != "fill" or not truth(mine):
            out[key] = value
    return out


def copied(value: Value) -> Value:
    """Return a copy of a value that shares no mapping or list with it.

    Raises:
        NotRendered: it is too deep or too large.
    """
    return _copied(value, 0, _Budget())


def _copied(value: Value, depth: int, budget: _Budget) -> Value:
    if not isinstance(value, dict | list):
        return value
    budget.take(len(value), depth)
    if isinstance(value, list):
        return [_copied(item, depth + 1, budget) for item in value]
    return {key: _copied(item, depth + 1, budget) for key, item in value.items()}
