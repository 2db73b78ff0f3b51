"""One pass for all inspectors' expressions: the same hits as one pass each, whatever the others do."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.inspect import inspectors, scan
from assay.inspect.base import Content, Expression, Hits

WORDS = {"first": (Expression(b"ab"), Expression(b"b.c")), "second": (Expression(b"AB", caseless=True),)}


def naive(expressions: tuple[Expression, ...], data: bytes) -> list[tuple[int, int]]:
    """Return each place where an expression (of fixed length) ends, one by one."""
    places = []
    for number, expression in enumerate(expressions):
        flags = re.DOTALL | (re.IGNORECASE if expression.caseless else 0)
        exact = re.compile(b"(?=(%b))" % expression.pattern, flags)
        places += [(match.end(1), number) for match in exact.finditer(data)]
    return sorted(places)


@given(st.lists(st.sampled_from([b"a", b"b", b"A", b"c", b"\n"]), max_size=60).map(b"".join))
def test_hits_are_those_of_each_expression_alone(data: bytes) -> None:
    found = SCANNER.scan(data)
    assert {key: sorted(hits.places) for key, hits in found.items()} == {
        key: places for key, words in WORDS.items() if (places := naive(words, data))
    }


SCANNER = scan.Scanner(WORDS)


def test_blocks_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "BLOCK", 4096)
    monkeypatch.setattr(scan, "OVERLAP", 1024)
    chance = random.Random(5)
    data = bytearray(b"." * 40_000)
    for at in (chance.randrange(39_000) for _ in range(200)):
        data[at : at + 4] = b"abcc"
    found = SCANNER.scan(bytes(data))
    assert {key: sorted(hits.places) for key, hits in found.items()} == {
        key: naive(words, bytes(data)) for key, words in WORDS.items()
    }


def test_one_inspector_with_too_many_hits_does_not_blind_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "BLOCK", 4096)
    monkeypatch.setattr(scan, "OVERLAP", 1024)
    monkeypatch.setattr(scan, "MAX_HITS", 100)
    data = b"." * 3000 + b"b.c" + b"." * 5000 + b"AB" * 2000 + b"." * 9000 + b"ab"
    assert SCANNER.scan(data) == {
        "first": Hits([(3003, 1), (len(data), 0)]),
        "second": Hits([(8005 + 2 * n, 0) for n in range(100)], cut=True),
    }


def test_every_inspector_may_have_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_HITS", 10)
    assert SCANNER.scan(b"ab" * 50) == {
        "first": Hits([(2 * n, 0) for n in range(1, 11)], cut=True),
        "second": Hits([(2 * n, 0) for n in range(1, 11)], cut=True),
    }


def test_compiled_expressions_are_kept_and_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    data = b"ab b.c Ab"
    expected = SCANNER.scan(data)
    assert scan.Scanner(WORDS, tmp_path).scan(data) == expected
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    scan._database.cache_clear()
    assert scan.Scanner(WORDS, tmp_path).scan(data) == expected
    for damaged in (b"", whole[:100], whole[:-40] + b"x" * 40):
        kept.write_bytes(damaged)
        scan._database.cache_clear()
        assert scan.Scanner(WORDS, tmp_path).scan(data) == expected
        assert kept.read_bytes()[:16] == whole[:16]
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize("at", [0, 3, 8, 11, 15])
def test_the_text_around_a_place(at: int) -> None:
    content = Content(b"\0\0a name\0\nother", b"", "data")
    expected = {0: (0, b""), 3: (2, b"a name"), 8: (2, b"a name"), 11: (10, b"other"), 15: (10, b"other")}
    assert content.string(at) == expected[at]
    assert content.string(5, most=2) == (3, b" nam")


@given(st.binary(max_size=300))
def test_who_says_that_only_hits_count_has_nothing_to_say_without_one(data: bytes) -> None:
    for inspector in inspectors()[0].values():
        if inspector.only_hits:
            for kind in ("text", "data"):
                assert not list(inspector.inspect(Content(data, data, kind)))
