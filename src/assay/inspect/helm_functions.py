"""Functions that templates of charts call: those that most charts use, with the results that Helm gives.

A function that is not here, and every call that Helm itself would refuse, stops the template. Results are bounded in
size: text may not multiply without end.

Source: Go text/template, "Functions"; Sprig 3; Helm 3, "Template Function List", "Built-in Objects".
"""

from __future__ import annotations

import base64
import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Iterable

from .helm_values import (
    LONGEST,
    MOST,
    NotRendered,
    Value,
    copied,
    decoded,
    integer,
    merged,
    shown,
    to_json,
    to_yaml,
    truth,
)


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise NotRendered("a text is wanted")
    return value


def _list(value: Value) -> list[Value]:
    if not isinstance(value, list):
        raise NotRendered("a list is wanted")
    return value


def _map(value: Value) -> dict[str, Value]:
    if not isinstance(value, dict):
        raise NotRendered("a mapping is wanted")
    return value


def _some(items: Iterable[Value]) -> list[Value]:
    found = list(items)
    if len(found) > MOST:
        raise NotRendered(f"a list of more than {MOST} items")
    return found


_VERB = re.compile(r"%([-+ 0#]*\d{0,3}(?:\.\d{1,3})?)([%sdvqtxf])")


def _printf(form: str, *values: Value) -> str:
    rest = iter(values)

    def one(match: re.Match[str]) -> str:
        verb = match[2]
        if verb == "%":
            return "%"
        value = next(rest)
        if verb == "d" and isinstance(value, int) and not isinstance(value, bool):
            return f"%{match[1]}d" % value
        if verb == "f" and isinstance(value, float):
            return f"%{match[1]}f" % value
        if verb in ("v", "q") or (verb == "s" and isinstance(value, str)) or (verb == "t" and isinstance(value, bool)):
            text = _quoted(_text(value)) if verb == "q" else shown(value)
            return f"%{match[1]}s" % text
        raise NotRendered(f"%{verb} of another kind of value")

    try:
        made = _VERB.sub(one, _text(form))
    except StopIteration:
        raise NotRendered("fewer values than the format has") from None
    if next(rest, rest) is not rest or "%" in _VERB.sub("", form):
        raise NotRendered("a format that is not read")
    return made


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _equal(first: Value, *others: Value) -> bool:
    return any(_same(first, other) for other in others)


def _same(one: Value, other: Value) -> bool:
    if one is None or other is None:
        return one is other
    if type(one) is not type(other) or isinstance(one, list | dict):
        raise NotRendered("values that cannot be compared")
    return bool(one == other)


def _less(one: Value, other: Value) -> bool:
    if type(one) is not type(other) or not isinstance(one, str | int | float) or isinstance(one, bool):
        raise NotRendered("values that cannot be compared")
    return bool(one < other)


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(_text(key))
        else:
            value = _list(value)[key if isinstance(key, int) and key >= 0 else MOST * 1000]
    return value


def _replace(old: str, new: str, text: str) -> str:
    if len(_text(text)) + text.count(_text(old)) * len(_text(new)) > LONGEST:
        raise NotRendered(f"text of more than {LONGEST} characters")
    return text.replace(old, new)


def _indent(count: Value, text: str) -> str:
    width = integer(count)
    if not 0 <= width <= 200 or len(_text(text)) + (text.count("\n") + 1) * width > LONGEST:
        raise NotRendered(f"text of more than {LONGEST} characters")
    return " " * width + text.replace("\n", "\n" + " " * width)


def _repeat(count: Value, text: str) -> str:
    if integer(count) * len(_text(text)) > LONGEST:
        raise NotRendered(f"text of more than {LONGEST} characters")
    return text * integer(count)


def _trunc(count: Value, text: str) -> str:
    width = integer(count)
    return _text(text)[:width] if width >= 0 else text[width:] if len(text) > -width else text


def _joined(separator: str, items: Value) -> str:
    texts = [shown(item) for item in items if item is not None] if isinstance(items, list) else [shown(items)]
    if sum(map(len, texts)) + len(separator) * len(texts) > LONGEST:
        raise NotRendered(f"text of more than {LONGEST} characters")
    return separator.join(texts)


def _print(*values: Value) -> str:
    out = ""
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            out += " "
        out += shown(value)
    return out


def _dict(*items: Value) -> dict[str, Value]:
    return {shown(items[at]): items[at + 1] if at + 1 < len(items) else "" for at in range(0, len(items), 2)}


def _set(where: Value, key: str, value: Value) -> Value:
    if len(_map(where)) >= MOST:
        raise NotRendered(f"a mapping of more than {MOST} keys")
    where[_text(key)] = value
    return where


def _merge(target: Value, *sources: Value, how: str = "fill") -> Value:
    whole = _map(target)
    for source in sources:
        whole = merged(whole, _map(source), how)
    target.update(whole)
    return target


_CONSTRAINT = re.compile(r"\s*(>=|<=|!=|=|>|<|\^|~|)\s*v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(?:[-+][\w.+-]*)?\s*")


def _version(text: str) -> tuple[int, int, int]:
    match = _CONSTRAINT.fullmatch(_text(text))
    if match is None or match[1]:
        raise NotRendered("a version that is not read")
    return int(match[2]), int(match[3] or 0), int(match[4] or 0)


def _semver(constraint: str, version: str) -> bool:
    is_at = _version(version)

    def holds(part: str) -> bool:
        match = _CONSTRAINT.fullmatch(part)
        if match is None:
            raise NotRendered("a constraint of versions that is not read")
        wanted = int(match[2]), int(match[3] or 0), int(match[4] or 0)
        fixed = 1 if match[1] == "^" and wanted[0] else 2 if match[3] or match[1] == "^" else 1
        same = is_at[:fixed] == wanted[:fixed]
        return {
            ">=": is_at >= wanted, "<=": is_at <= wanted, ">": is_at > wanted, "<": is_at < wanted,
            "!=": is_at != wanted, "^": same and is_at >= wanted, "~": same and is_at >= wanted,
        }.get(match[1], is_at == wanted)  # fmt: skip

    return any(all(holds(part) for part in way.split(",")) for way in _text(constraint)[:500].split("||"))


def _kind(value: Value) -> str:
    kinds = {
        str: "string",
        bool: "bool",
        int: "int",
        float: "float64",
        dict: "map",
        list: "slice",
        type(None): "invalid",
    }
    return kinds.get(type(value), "struct")


def _until(start: Value, stop: Value, step: Value) -> list[int]:
    return _some(range(integer(start), min(integer(stop), integer(start) + MOST + 1), max(1, integer(step))))


def _fail(text: str) -> Value:
    raise NotRendered(f"the chart refuses its default values: {_text(text)[:100]}")


def _divide(one: Value, other: Value) -> int:
    quotient = abs(integer(one)) // abs(integer(other))
    return quotient if (integer(one) < 0) == (integer(other) < 0) else -quotient


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "not": lambda value: not truth(value),
    "eq": _equal, "ne": lambda one, other: not _same(one, other),
    "lt": _less, "gt": lambda one, other: _less(other, one),
    "le": lambda one, other: not _less(other, one), "ge": lambda one, other: not _less(one, other),
    "len": lambda value: len(value) if isinstance(value, str | list | dict) else len(_list(value)),
    "index": _index, "print": _print, "printf": _printf,
    "default": lambda given, value=None: value if truth(value) else given,
    "empty": lambda value: not truth(value),
    "coalesce": lambda *values: next((value for value in values if truth(value)), None),
    "ternary": lambda yes, no, which: yes if which is True else no,
    "all": lambda *values: all(map(truth, values)), "any": lambda *values: any(map(truth, values)),
    "quote": lambda *values: " ".join(_quoted(shown(value)) for value in values if value is not None),
    "squote": lambda *values: " ".join(f"'{shown(value)}'" for value in values if value is not None),
    "toString": lambda value: "<nil>" if value is None else shown(value),
    "upper": lambda text: _text(text).upper(), "lower": lambda text: _text(text).lower(),
    "title": lambda text: re.sub(r"(?<!\w)[a-z]", lambda first: first[0].upper(), _text(text)),
    "trim": lambda text: _text(text).strip(), "nospace": lambda text: re.sub(r"\s", "", _text(text)),
    "trimAll": lambda chars, text: _text(text).strip(_text(chars)),
    "trimSuffix": lambda suffix, text: _text(text).removesuffix(_text(suffix)),
    "trimPrefix": lambda prefix, text: _text(text).removeprefix(_text(prefix)),
    "trunc": _trunc, "replace": _replace, "indent": _indent, "repeat": _repeat,
    "nindent": lambda count, text: "\n" + _indent(count, text),
    "contains": lambda part, text: _text(part) in _text(text),
    "hasPrefix": lambda prefix, text: _text(text).startswith(_text(prefix)),
    "hasSuffix": lambda suffix, text: _text(text).endswith(_text(suffix)),
    "cat": lambda *values: " ".join(shown(value) for value in values if value is not None),
    "join": _joined, "splitList": lambda separator, text: _some(_text(text).split(_text(separator))),
    "split": lambda separator, text: {f"_{at}": part for at, part in enumerate(_some(_text(text).split(separator)))},
    "toYaml": to_yaml, "toJson": to_json, "fromYaml": lambda text: decoded(_text(text)),
    "fromYamlArray": lambda text: decoded(_text(text)), "fromJson": lambda text: decoded(_text(text)),
    "b64enc": lambda text: base64.b64encode(_text(text).encode()).decode(),
    "b64dec": lambda text: base64.b64decode(_text(text)).decode("utf-8", "replace"),
    "sha256sum": lambda text: hashlib.sha256(_text(text).encode()).hexdigest(),
    "base": lambda text: posixpath.basename(_text(text)), "dir": lambda text: posixpath.dirname(_text(text)) or ".",
    "int": integer, "int64": integer, "atoi": integer,
    "float64": lambda value: float(value) if isinstance(value, int | float) else float(integer(value)),
    "add": lambda *values: integer(sum(map(integer, values))), "add1": lambda value: integer(integer(value) + 1),
    "sub": lambda one, other: integer(integer(one) - integer(other)),
    "mul": lambda one, *others: integer(_product([one, *others])), "div": _divide,
    "mod": lambda one, other: integer(one) - integer(other) * _divide(one, other),
    "max": lambda *values: max(map(integer, values)), "min": lambda *values: min(map(integer, values)),
    "list": lambda *values: _some(values), "tuple": lambda *values: _some(values), "dict": _dict,
    "get": lambda where, key: _map(where).get(_text(key), ""), "set": _set,
    "unset": lambda where, key: (_map(where).pop(_text(key), None), where)[1],
    "hasKey": lambda where, key: _text(key) in _map(where),
    "keys": lambda *wheres: _some(key for where in wheres for key in _map(where)),
    "values": lambda where: _some(_map(where).values()),
    "pick": lambda where, *keys: {key: value for key, value in _map(where).items() if key in keys},
    "omit": lambda where, *keys: {key: value for key, value in _map(where).items() if key not in keys},
    "dig": lambda *path: _dig(path),
    "merge": _merge, "mergeOverwrite": lambda target, *sources: _merge(target, *sources, how="over"),
    "deepCopy": copied,
    "append": lambda items, item: _some([*_list(items), item]),
    "prepend": lambda items, item: _some([item, *_list(items)]),
    "concat": lambda *lists: _some(item for items in lists for item in _list(items)),
    "first": lambda items: _list(items)[0] if items else None,
    "last": lambda items: _list(items)[-1] if items else None,
    "rest": lambda items: _list(items)[1:], "initial": lambda items: _list(items)[:-1],
    "has": lambda item, items: any(_same(one, item) for one in _list(items) if type(one) is type(item)),
    "without": lambda items, *those: [
        one for one in _list(items) if not any(_same(one, other) for other in those if type(one) is type(other))
    ],
    "compact": lambda items: [one for one in _list(items) if truth(one)],
    "uniq": lambda items: list(dict.fromkeys(_text(one) for one in _list(items))),
    "sortAlpha": lambda items: sorted(shown(one) for one in _list(items)), "reverse": lambda items: _list(items)[::-1],
    "until": lambda stop: _until(0, stop, 1), "untilStep": _until,
    "kindOf": _kind, "kindIs": lambda kind, value: _kind(value) == kind, "typeOf": _kind,
    "typeIs": lambda kind, value: _kind(value) == kind, "semverCompare": _semver, "fail": _fail,
    "lookup": lambda *_: {},
}  # fmt: skip
"""By name, with arguments as templates give them."""


def _product(values: list[Value]) -> int:
    product = 1
    for value in values:
        product = integer(product * integer(value))
    return product


def _dig(path: tuple[Value, ...]) -> Value:
    *keys, given, where = path
    for key in keys:
        where = _map(where)
        if key not in where:
            return given
        where = where[key]
    return where
