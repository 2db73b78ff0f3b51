"""The vocabulary: every family is documented, its columns have SQL types, and facts survive every form they take."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from assay.examine.protocol import Facts, decode_facts, encode
from assay.facts import ContentFact, Fact, RecordFact, TreeFact, columns, families
from assay.record.schema import SQL_TYPES, ddl, describe, implied, sql_type

FAMILIES = list(families().items())


@pytest.mark.parametrize(("name", "family"), FAMILIES)
def test_a_family_is_documented(name: str, family: type[Fact]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
    assert sum(issubclass(family, base) for base in (RecordFact, ContentFact, TreeFact)) == 1
    assert family.__doc__ is not None
    assert family.__doc__.strip().endswith("."), family.__doc__
    assert "\n\n" not in family.__doc__.strip()
    for column, kind, text, unit in columns(family):
        assert text, column
        assert not text.endswith(".") or text.endswith("..."), (column, text)
        assert unit is None or unit.strip() == unit
        declared, nullable = sql_type(kind)
        assert declared in SQL_TYPES.values()
        assert nullable == ("None" in str(kind)), column
    names = [column for column, *_ in columns(family)]
    assert len(set(names) | {"id", *implied(family)}) == len(names) + 1 + len(implied(family))


@pytest.mark.parametrize(("name", "family"), FAMILIES)
def test_indices_are_on_columns_that_there_are(name: str, family: type[Fact]) -> None:
    there = {column for column, *_ in columns(family)} | set(implied(family))
    for group in family.index:
        assert {part.strip() for part in group.split(",")} <= there
    made = [statement for statement in ddl()[1] if f' ON "{name}" ' in statement]
    assert len(made) == len(family.index) + len({"content", "tree"} & set(implied(family)))


def sample(kind: Any) -> Any:
    """Return a value of a column's type."""
    text = str(kind)
    for word, value in (
        ("list[", ["a", "\u202e\x1b"]), ("dict[", {"a": [1, None, {"b": "c"}]}), ("bool", True), ("int", -(2**63)),
        ("bytes", b"\0\xff"), ("float", 7.5), ("str", "text\n\x1b[2J'\"\\"),
    ):  # fmt: skip
        if word in text:
            return value
    raise AssertionError(text)


@pytest.mark.parametrize(("name", "family"), FAMILIES)
def test_a_fact_survives_the_way_between_processes(name: str, family: type[Fact]) -> None:
    fact = family(**{column: sample(kind) for column, kind, *_ in columns(family)})
    packed = msgspec.msgpack.encode(fact)
    assert msgspec.msgpack.decode(packed, type=family) == fact
    if issubclass(family, RecordFact):
        return
    message = decode_facts(encode({name: [fact, fact]}))
    assert isinstance(message, Facts)
    assert getattr(message, name) == [fact, fact]
    assert all(
        getattr(message, other) == [] for other, f in FAMILIES if not issubclass(f, RecordFact) and other != name
    )


def test_the_description_has_everything() -> None:
    described = {family["name"]: family for family in describe()}
    assert set(families()) <= set(described)
    for name, family in FAMILIES:
        assert described[name]["source"] == family.source
        listed = described[name]["columns"]
        assert isinstance(listed, list)
        assert [column["name"] for column in listed] == ["id", *implied(family), *(c for c, *_ in columns(family))]


def test_content_and_tree_families_say_where_they_are_defined() -> None:
    silent = [name for name, family in FAMILIES if not issubclass(family, RecordFact) and not family.source]
    assert silent == ["ownership"]


def test_types_without_a_column_type_are_refused() -> None:
    for kind in (set[str], complex, int | str, tuple[int, ...]):
        with pytest.raises(TypeError, match="no column type"):
            sql_type(kind)
