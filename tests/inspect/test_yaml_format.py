"""YAML as nodes with places: what PyYAML composes, within limits."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.inspect import yaml_format
from assay.inspect.yaml_format import documents, dotted, flatten

TEXT = """\
%YAML 1.1
---
base: &base {a: 1, b: [x, "y: z"]}
other:
  <<: *base
  a: 2
again: *base
empty: {}
nothing:
text: |
  two
  lines
...
---
# only a comment
---
- 'yes'
- on
- !custom tagged
- - nested
"""


def test_scalars_have_paths_and_lines() -> None:
    found = [
        [(dotted(path), scalar.value, scalar.tag.rpartition(":")[2], line) for path, scalar, line in flatten(root)]
        for root in documents(TEXT)
    ]
    assert found == [
        [
            ("base.a", "1", "int", 3),
            ("base.b[0]", "x", "str", 3),
            ("base.b[1]", "y: z", "str", 3),
            ("other.a", "2", "int", 6),
            ("other.b[0]", "x", "str", 3),
            ("other.b[1]", "y: z", "str", 3),
            ("again.a", "1", "int", 3),
            ("again.b[0]", "x", "str", 3),
            ("again.b[1]", "y: z", "str", 3),
            ("nothing", "", "null", 9),
            ("text", "two\nlines\n", "str", 10),
        ],
        [
            ("[0]", "yes", "str", 17),
            ("[1]", "on", "bool", 18),
            ("[2]", "tagged", "!custom", 19),
            ("[3][0]", "nested", "str", 20),
        ],
    ]


def test_nodes_are_those_of_pyyaml() -> None:
    def shape(node: yaml.Node) -> object:
        place = node.start_mark.line, node.start_mark.column, node.end_mark.line, node.end_mark.column
        if isinstance(node, yaml.ScalarNode):
            return node.tag, node.value, node.style, place
        if isinstance(node, yaml.MappingNode):
            return node.tag, [(shape(key), shape(value)) for key, value in node.value], place
        return node.tag, [shape(item) for item in node.value], place

    theirs = [node for node in yaml.compose_all(TEXT, Loader=yaml.CSafeLoader) if node.value != ""]
    assert [shape(node) for node in documents(TEXT)] == [shape(node) for node in theirs]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [1", "not YAML: did not find expected ',' or ']' at line 2"),
        ("a: {{ .Values.x }}: b", "not YAML: "),
        ("a: *nowhere", "YAML alias to no complete node at line 1"),
        ("a: &a [*a]", "YAML alias to no complete node at line 1"),
        ("\0", "not YAML: "),
        ("- " * 100, "YAML deeper than 64 levels at line 1"),
        ("[" * 100_000, "YAML deeper than 64 levels at line 1"),
        ("- " * 100_000, "YAML deeper than 64 levels at line 1"),
        ("- a\n" * 250_000, "YAML with more than 200000 nodes"),
        ("- &a b\n" + "- *a\n" * 2_001, "YAML with more than 2000 aliases"),
        ("x" * (4 << 20) + "x", "YAML text of more than 4194304 characters"),
    ],
)
def test_limits(text: str, why: str) -> None:
    before = time.process_time()
    with pytest.raises(ValueError, match=why):
        list(documents(text))
    assert time.process_time() - before < 8


def test_an_alias_bomb_ends() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20))
    (root,) = documents(text)
    with pytest.raises(ValueError, match="aliases followed"):
        list(flatten(root))


def test_documents_before_a_fault_are_there() -> None:
    found = []
    with pytest.raises(ValueError, match="at line 3"):
        found += [dotted(path) for root in documents("a: 1\n---\n]\n") for path, _, _ in flatten(root)]
        pytest.fail("no fault")
    seen = documents("a: 1\n---\n]\n")
    assert [scalar.value for _, scalar, _ in flatten(next(seen))] == ["1"]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(TEXT.split("\n")), max_size=30).map("\n".join))
def test_anything(text: str) -> None:
    try:
        for root in documents(text):
            for path, _, line in flatten(root):
                assert 1 <= line <= len(text) + 1
                dotted(path)
    except ValueError as error:
        assert "\n" not in str(error)


def test_prepared() -> None:
    yaml_format.prepare()
