"""Expressions that are compiled at their first use."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

import assay.inspect
from assay.inspect.late import Late, late


def test_it_is_what_re_compile_returns() -> None:
    shape = late(r"(\w+)=(\d+)", re.IGNORECASE)
    compiled = re.compile(r"(\w+)=(\d+)", re.IGNORECASE)
    assert shape.findall("a=1 b=2") == compiled.findall("a=1 b=2") == [("a", "1"), ("b", "2")]
    assert (shape.pattern, shape.groups, shape.flags) == (compiled.pattern, compiled.groups, compiled.flags)
    assert shape.sub("x", "a=1") == "x"
    assert shape.match is shape.match


def test_an_error_shows_at_the_first_use() -> None:
    with pytest.raises(re.error):
        late("(").search("x")
    with pytest.raises(AttributeError):
        _ = late("x").nothing  # type: ignore[attr-defined]


def test_all_late_expressions_compile() -> None:
    count = 0
    for found in pkgutil.iter_modules(assay.inspect.__path__):
        module = importlib.import_module(f"assay.inspect.{found.name}")
        for value in vars(module).values():
            if isinstance(value, Late):
                count += 1
                assert value.groups >= 0
    assert count > 200
