"""The benchmarks' ruler: all that a program starts is counted, and a limit ends it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .support import ROOT

MEASURE = """
import json, sys
sys.path.insert(0, {benchmarks!r})
from measure import run
from pathlib import Path
used = run([sys.executable, "-c", {program!r}], Path({output!r}), limit={limit})
print(json.dumps([used.cpu, used.wall, used.memory, used.code, used.cut]))
"""

# A child of a child that its parent does not wait for uses half a second of CPU time and 64 MiB.
ORPHAN = """
import subprocess, sys, time
busy = "import time; held = bytearray(64 << 20)\\nwhile time.process_time() < 0.5: pass"
subprocess.Popen([sys.executable, "-c", f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy!r}])"])
time.sleep(2.5)
"""


def measured(tmp_path: Path, program: str, limit: float) -> list[float]:
    """Measure in a process of its own: the ruler waits for all children of the process that it is in."""
    code = MEASURE.format(
        benchmarks=str(ROOT / "benchmarks"), program=program, output=str(tmp_path / "log"), limit=limit
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    values: list[float] = json.loads(done.stdout)
    return values


def test_orphans_are_counted(tmp_path: Path) -> None:
    cpu, _, memory, code, cut = measured(tmp_path, ORPHAN, 30)
    assert cpu >= 0.5
    assert memory >= 64 << 20
    assert (code, cut) == (0, False)


def test_a_limit_ends_the_run(tmp_path: Path) -> None:
    _, wall, _, code, cut = measured(tmp_path, "import time; time.sleep(60)", 0.5)
    assert wall < 10
    assert (code, cut) == (-9, True)
