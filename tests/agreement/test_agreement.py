"""Effective settings as the programs themselves state them; docs/agreement.md has the table of all states.

A program's last state is compared here; `make agreement` compares all and writes the table.
"""

from __future__ import annotations

import pytest

from .base import Program
from .compare import compare, programs
from .root import Unavailable


@pytest.mark.parametrize("program", programs(), ids=lambda program: program.name)
def test_the_record_says_what_the_program_says(program: Program) -> None:
    try:
        result = compare(program, list(program.states)[-1])
    except Unavailable as error:
        pytest.skip(str(error))
    assert result.agreed > 0
    assert result.differences == ()
