"""From what a rule's questions counted to its verdict: one pure function."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """What the record answered to one rule."""

    applies: int
    """Things that the rule applies to."""
    findings: int
    """Things that break it."""
    undecided: int
    """Things whose evidence can be read both ways."""
    gaps: int
    """Places where the rule would have looked and that nobody could look at."""


def conclude(power: str, counts: Counts, missing: tuple[str, ...] = ()) -> tuple[str, tuple[str, ...]]:
    """Return a rule's verdict and, for undetermined, the evidence classes that would decide it.

    What was found stands, however little was seen: a finding fails the rule even if the rest was not readable. Nothing
    else can be said of what was not seen: neither pass nor not-applicable. Evidence that merely supports can neither
    fail nor pass.

    Args:
        power: what static evidence can do: decide, decide-with-D, refute, support, none.
        counts: what the record answered.
        missing: classes that the rule asks for when it stays undetermined.

    Returns:
        (pass, fail, not-applicable or undetermined; classes out of S, C, L, D, P).
    """
    if counts.findings and power not in ("support", "none"):
        return "fail", ()
    if counts.findings or counts.undecided:
        return "undetermined", ("S", *(c for c in missing if c != "S")) if counts.gaps else missing
    if counts.gaps:
        return "undetermined", ("S",)
    if not counts.applies:
        return "not-applicable", ()
    if power == "decide":
        return "pass", ()
    if power == "decide-with-D":
        return "undetermined", ("D",)
    return "undetermined", missing
