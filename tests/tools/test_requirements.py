"""The pinned requirements install anywhere: hashed, without an address or a path of the machine that made them."""

from __future__ import annotations

import re

import pytest

from .support import ROOT

FILES = ("requirements.txt", "requirements-dev.txt", "requirements-bench.txt")


def pins(name: str) -> dict[str, tuple[str, int]]:
    """Return version and number of hashes of every pinned distribution."""
    text = (ROOT / name).read_text()
    found = re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)((?:[^\n]*\\\n\s+--hash=sha256:[0-9a-f]{64})+)", text, re.M)
    return {project: (version, hashes.count("--hash=")) for project, version, hashes in found}


@pytest.mark.parametrize("name", FILES)
def test_no_place_of_the_making_machine_is_named(name: str) -> None:
    text = (ROOT / name).read_text()
    assert (
        re.findall(r"\S*(?:://|file:/|/opt/|/root/|/home/|/tmp/|--index|--extra-index|--find-links|--trusted)\S*", text)
        == []
    )


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_a_pin_a_hash_or_a_comment(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    kind = re.compile(r"[a-z0-9][a-z0-9._-]*==\S+ (?:; \S.* )?\\|    --hash=sha256:[0-9a-f]{64}(?: \\)?|\s*#.*|")
    assert [line for line in lines if not kind.fullmatch(line)] == []
    assert pins(name)


def test_the_tests_run_with_the_versions_that_users_get() -> None:
    runtime, development = pins("requirements.txt"), pins("requirements-dev.txt")
    assert {project: development.get(project) for project in runtime} == runtime


def test_native_wheels_are_listed_for_more_than_one_machine() -> None:
    runtime = pins("requirements.txt")
    assert {project for project in ("hyperscan", "msgspec", "zstandard", "lz4") if runtime[project][1] < 6} == set()
