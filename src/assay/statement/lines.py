"""On which line of a statement something stands: for messages to whoever fills it in.

Looked for in the text once reading has failed; a place that is not found has no line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

Step = str | int
"""A key, or a position in a list."""

LARGEST = 16 << 20
"""Bytes of the largest JSON that is looked through."""

_STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]")
_PLACE = re.compile(r"`\$([^`]*)`\Z")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_TABLE = re.compile(r"\s*(\[\[?)\s*([\w.-]+|\"[^\"]*\")\s*\]")
_KEY = re.compile(r"\s*(?:\"([^\"]*)\"|'([^']*)'|([\w-]+))\s*=")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_BYTE = re.compile(r"\(byte (\d+)\)")


def steps_of(message: str) -> list[Step]:
    """Return the place that a message of validation ends with (at `$.port[0].tls`); of an unknown field its own."""
    place = _PLACE.search(message)
    steps: list[Step] = [found[1] or int(found[2]) for found in _STEP.finditer(place[1])] if place else []
    unknown = _UNKNOWN.search(message)
    return [*steps, unknown[1]] if unknown else steps


def line_of(data: bytes, steps: Sequence[Step]) -> int | None:
    """Return the line of a value in TOML or JSON, from 1; of what holds it if that is all that is found, else None."""
    if not steps:
        return None
    if data.lstrip()[:1] != b"{":
        return _in_toml(data.decode("utf-8", "replace"), steps)
    if len(data) > LARGEST:
        return None
    offsets = dict(_in_json(data))
    for length in range(len(steps), 0, -1):
        if (offset := offsets.get(tuple(steps[:length]))) is not None:
            return data.count(b"\n", 0, offset) + 1
    return None


def line_of_byte(data: bytes, message: str) -> int | None:
    """Return the line of the byte that a decoder's message names."""
    found = _BYTE.search(message)
    return data.count(b"\n", 0, int(found[1])) + 1 if found else None


def _in_toml(text: str, steps: Sequence[Step]) -> int | None:
    table, count, key = steps[0], steps[1] if len(steps) > 1 else None, steps[2] if len(steps) > 2 else None
    best: int | None = None
    current: tuple[str, int] | None = None
    seen: dict[str, int] = {}
    quoted = ""
    for number, line in enumerate(text.split("\n"), 1):
        if quoted:
            quoted = quoted if line.count(quoted) % 2 == 0 else ""
            continue
        quoted = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), "")
        if header := _TABLE.match(line):
            name = header[2].strip('"')
            current = name, seen.get(name, 0)
            seen[name] = current[1] + 1
            if current == (table, count if isinstance(count, int) else 0):
                best = number
        elif found := _KEY.match(line):
            name = found[1] or found[2] or found[3] or ""
            if current is None and name == table:
                best = number
            elif key is not None and name == key and current == (table, count):
                return number
    return best


def _in_json(data: bytes) -> Iterator[tuple[tuple[Step, ...], int]]:
    """Yield every key and list item with its offset."""
    stack: list[Step | None] = []
    path: list[Step] = []
    key: str | None = None
    for token in _TOKEN.finditer(data):
        text = token[0]
        if stack and isinstance(stack[-1], int) and text not in (b"]", b","):
            path[-1] = stack[-1]
            yield tuple(path), token.start()
        if text in (b"{", b"["):
            stack.append(None if text == b"{" else 0)
            path.append("" if text == b"{" else 0)
        elif text in (b"}", b"]"):
            if stack:
                stack.pop()
                path.pop()
        elif text == b",":
            if stack and isinstance(stack[-1], int):
                stack[-1] += 1
        elif text == b":" and stack and key is not None:
            path[-1] = key
        elif text[:1] == b'"':
            key = text[1:-1].decode("utf-8", "replace")
            if stack and stack[-1] is None:
                yield (*path[:-1], key), token.start()
