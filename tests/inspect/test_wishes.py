"""An inspector is asked about a path or a beginning only where it may want it: the texts it names are really needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.inspect import inspectors
from assay.inspect.base import ContentInspector
from assay.inspect.wishes import Wishes

CONTENTS = inspectors()[0]
WISHES = Wishes(CONTENTS)


def constants(predicate: Callable[..., bool]) -> Iterator[Any]:
    """Yield the texts and expressions that a predicate, and the functions that it calls, work with."""
    seen: set[str] = set()

    def inside(value: Any) -> Iterator[Any]:
        if isinstance(value, str | bytes):
            yield value
        elif isinstance(value, tuple | frozenset | set | list):
            for item in value:
                yield from inside(item)
        elif isinstance(value, dict):
            yield from inside(list(value))
        elif isinstance(value, CodeType):
            yield from code(value, predicate.__globals__)
        elif hasattr(value, "pattern"):  # an expression, compiled or to be compiled
            yield re.compile(value.pattern, getattr(value, "flags", 0) & ~re.UNICODE)

    def code(body: CodeType, names: dict[str, Any]) -> Iterator[Any]:
        yield from inside(body.co_consts)
        for name in body.co_names:
            value = names.get(name)
            if name in seen or value is None:
                continue
            seen.add(name)
            if hasattr(value, "__code__") and hasattr(value, "__globals__"):
                yield from code(value.__code__, value.__globals__)
            else:
                yield from inside(value)

    yield from code(predicate.__code__, predicate.__globals__)
    for cell in predicate.__closure__ or ():
        yield from inside(cell.cell_contents)


def pieces(predicate: Callable[..., bool], kind: type) -> st.SearchStrategy[Any]:
    """Return texts of which a predicate may want some: its own words and what its expressions match, in any order."""
    empty = kind()
    texts: list[st.SearchStrategy[Any]] = [st.just(b"/" if kind is bytes else "/"), st.just(empty)]
    for constant in constants(predicate):
        if isinstance(constant, kind):
            texts.append(st.just(constant))
        elif isinstance(constant, re.Pattern) and isinstance(constant.pattern, kind):
            texts.append(st.from_regex(constant))
    return st.lists(st.one_of(texts), min_size=1, max_size=6).map(empty.join)


def named(has: Callable[[ContentInspector], bool]) -> list[Any]:
    return [pytest.param(i, id=i.name) for i in CONTENTS.values() if has(i)]


SOME = settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("inspector", named(lambda i: i.wants_path is not None and bool(i.path_has)))
def test_a_path_without_the_texts_is_not_wanted(inspector: ContentInspector) -> None:
    wants = inspector.wants_path
    assert wants is not None
    wanted = 0

    @SOME
    @given(pieces(wants, str))
    def check(path: str) -> None:
        nonlocal wanted
        if wants(path):
            wanted += 1
            assert any(text in path for text in inspector.path_has), path
            assert inspector.name in WISHES.by_path([path])

    check()
    assert wanted, "no path was made that it wants: the test would show nothing"


@pytest.mark.parametrize("inspector", named(lambda i: i.wants_head is not None and bool(i.head_begins)))
def test_a_head_that_begins_otherwise_is_not_wanted(inspector: ContentInspector) -> None:
    wants = inspector.wants_head
    assert wants is not None

    @SOME
    @given(pieces(wants, bytes))
    def check(head: bytes) -> None:
        if wants(head):
            assert head.startswith(inspector.head_begins), head

    check()


def test_an_inspector_is_asked_what_it_wants_of_each_path() -> None:
    paths = ["/etc/ssh/sshd_config", "/usr/share/doc/x", "/srv/app.yaml"]
    assert WISHES.by_path(paths[1:2]) == []
    every = {key for path in paths for key, i in CONTENTS.items() if i.wants_path is not None and i.wants_path(path)}
    assert WISHES.by_path(paths) == [key for key in CONTENTS if key in every]


def test_size_and_kind_decide_beside_the_wish() -> None:
    by_path = WISHES.by_path(["/etc/fstab"])
    assert WISHES.fitting(by_path, b"proc /proc", 8, text=True, claimed=False)[0] == by_path
    assert "fstab" not in WISHES.fitting(by_path, b"proc /proc", 8, text=False, claimed=False)[0]
    assert "fstab" not in WISHES.fitting(by_path, b"proc /proc", 1 << 40, text=True, claimed=False)[0]
    assert "elf" in WISHES.fitting([], b"\x7fELF", 64, text=False, claimed=True)[1]
    assert "elf" not in WISHES.fitting([], b"\x7fELG", 64, text=False, claimed=True)[1]
