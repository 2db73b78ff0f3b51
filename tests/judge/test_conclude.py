"""The verdict's truth table, whole."""

from __future__ import annotations

import itertools

from assay.judge import Counts, conclude

ASK = ("L", "D")
N = ("not-applicable", ())
S = ("undetermined", ("S",))
U = ("undetermined", ASK)
SU = ("undetermined", ("S", *ASK))
F = ("fail", ())

# (applies, findings, undecided, gaps) as present or not -> verdict for decide, decide-with-D, refute, support, none
TABLE = {
    (0, 0, 0, 0): (N, N, N, N, N),
    (0, 0, 0, 1): (S, S, S, S, S),
    (0, 0, 1, 0): (U, U, U, U, U),
    (0, 0, 1, 1): (SU, SU, SU, SU, SU),
    (0, 1, 0, 0): (F, F, F, U, U),
    (0, 1, 0, 1): (F, F, F, SU, SU),
    (0, 1, 1, 0): (F, F, F, U, U),
    (0, 1, 1, 1): (F, F, F, SU, SU),
    (1, 0, 0, 0): (("pass", ()), ("undetermined", ("D",)), U, U, U),
    (1, 0, 0, 1): (S, S, S, S, S),
    (1, 0, 1, 0): (U, U, U, U, U),
    (1, 0, 1, 1): (SU, SU, SU, SU, SU),
    (1, 1, 0, 0): (F, F, F, U, U),
    (1, 1, 0, 1): (F, F, F, SU, SU),
    (1, 1, 1, 0): (F, F, F, U, U),
    (1, 1, 1, 1): (F, F, F, SU, SU),
}
POWERS = ("decide", "decide-with-D", "refute", "support", "none")


def test_every_combination_has_one_verdict() -> None:
    got = {
        key: tuple(conclude(power, Counts(*key), ASK) for power in POWERS)
        for key in itertools.product((0, 1), repeat=4)
    }
    assert got == TABLE


def test_numbers_above_one_count_as_one() -> None:
    for key, verdicts in TABLE.items():
        counts = Counts(*(value * 70_000 for value in key))
        assert tuple(conclude(power, counts, ASK) for power in POWERS) == verdicts


def test_an_evidence_class_is_named_once() -> None:
    assert conclude("refute", Counts(1, 0, 1, 1), ("L", "S")) == ("undetermined", ("S", "L"))
