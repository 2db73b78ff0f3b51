"""A slice of `make fuzz`: every format's reader, given broken images of one small seed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from assay.unpack import formats
from assay.unpack.base import BytesSource, Limits

from ..fuzz.attempt import LIMITS, attempt
from ..fuzz.mutate import Mutant, Seed
from ..fuzz.repairs import REPAIRS
from ..fuzz.run import Case, fuzz
from ..fuzz.seeds import SEEDS, Absent, seeds

INPUTS = 50
SLOW = ("btrfs", "f2fs", "xfs")
"""Formats whose tools make images of many megabytes only."""


def test_every_format_has_seeds() -> None:
    assert sorted(SEEDS) == sorted(formats())


@pytest.mark.parametrize("name", [name for name in formats() if name not in SLOW])
def test_a_slice(name: str, tmp_path: Path) -> None:
    made = [seed for seed in itertools.islice(seeds(name, tmp_path), 1) if not isinstance(seed[1], Absent)]
    if not made:
        pytest.skip("the seed's tool is not installed")
    case = Case(formats()[name], made)
    assert case.absent == []
    result = fuzz(case, INPUTS, 10)
    assert result.findings == []
    assert result.read + result.refused + result.other == result.inputs


def test_mutants_are_what_their_number_says(tmp_path: Path) -> None:
    case = Case(formats()["tar"], seeds("tar", tmp_path))
    first, again = case.input(7), case.input(7)
    whole = first.pread(0, first.size)
    assert whole == again.pread(0, again.size)
    assert len(whole) == first.size
    assert whole[100:999] == first.pread(100, 899)
    assert any(case.input(number).pread(0, 1 << 20) != whole for number in range(3))


def test_patches_lie_over_the_seed_and_over_each_other() -> None:
    made = Mutant(b"0123456789", None, [(2, b"abc"), (4, b"X"), (9, b"yz")])
    assert (made.size, made.pread(0, 99), made.pread(3, 3)) == (11, b"01abX5678yz", b"bX5")
    assert made.pread(11, 4) == b""
    assert Mutant(b"0123", 2, [(1, b"abc")]).pread(0, 9) == b"0a"


def test_repairs_leave_good_images_as_they_are(tmp_path: Path) -> None:
    for name in sorted(set(REPAIRS) - set(SLOW)):
        for index, (kind, data) in enumerate(seeds(name, tmp_path)):
            if index or isinstance(data, Absent):
                continue
            seed = Seed.of(formats()[name], kind, data, LIMITS)
            touched = [at for at, _ in seed.hot[:4]]
            changed = [at for at, raw in REPAIRS[name](BytesSource(data), touched) if data[at : at + len(raw)] != raw]
            assert changed == [], name


def test_a_finding_is_told() -> None:
    format = formats()["gzip"]

    class Broken(BytesSource):
        def pread(self, offset: int, length: int) -> bytes:
            raise KeyError(offset, length)

    outcome, finding = attempt(format, Broken(b"\x1f\x8b\x08" + bytes(99)))
    assert outcome == "read"
    assert finding is not None
    assert finding.kind == "KeyError"
    assert Limits() != LIMITS
