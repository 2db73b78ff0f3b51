"""One comparison: what a program says of a root file system, and what a record of it says."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from assay.record import reader
from tests import agreement

from . import root
from .base import Program


@dataclass(frozen=True)
class Result:
    """What came of it."""

    program: Program
    state: str
    agreed: int
    differences: tuple[tuple[str, str | None, str | None], ...]
    """(key, what the program says, what the record says), None where one of them is silent."""

    @property
    def keys(self) -> int:
        """How many keys either of them has."""
        return self.agreed + len(self.differences)


def programs() -> list[Program]:
    """Return every program that can be asked, by name."""
    modules = [
        importlib.import_module(f"{agreement.__name__}.{m.name}") for m in pkgutil.iter_modules(agreement.__path__)
    ]
    return sorted(
        (module.PROGRAM for module in modules if hasattr(module, "PROGRAM")), key=lambda program: program.name
    )


def compare(program: Program, state: str) -> Result:
    """Make the state, ask the program, examine the root with the command that a user types, and compare.

    Raises:
        root.Unavailable: the root file system cannot be had here.
        RuntimeError: the program or the examination failed.
    """
    pristine = root.build(program.packages)
    with tempfile.TemporaryDirectory(prefix="state-", dir=root.HOME) as folder:
        place = Path(folder)
        with root.copy(pristine, place / "root") as copied:
            program.states[state](copied)
            theirs = program.says(copied)
            record = place / "record.assay"
            command = [Path(sys.executable).parent / "assay", "examine", "--quiet", "--no-judge", "--no-report"]
            done = subprocess.run(
                [*command, "--cache", root.HOME / "cache", "--output", record, copied],
                capture_output=True, text=True, check=False, timeout=600,
                env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            )  # fmt: skip
            if done.returncode not in (0, 3):
                raise RuntimeError(f"assay examine: exit code {done.returncode}: {done.stderr}")
            with reader(record) as db:
                ours = program.ours(db)
    agreed = [key for key, value in theirs.items() if ours.get(key) == value]
    different = sorted((theirs.keys() | ours.keys()) - set(agreed))
    return Result(program, state, len(agreed), tuple((key, theirs.get(key), ours.get(key)) for key in different))
