"""7-Zip as a reference program: what it lists in an image."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def listing(image: Path, kind: str = "*") -> dict[str, int | None]:
    """Return the size of each file by its path, None for directories; skip the test where there is no 7z."""
    tool = shutil.which("7z")
    if tool is None:
        pytest.skip("needs 7z")
    done = subprocess.run(
        [tool, "l", "-slt", "-sccUTF-8", f"-t{kind}", image], capture_output=True, text=True, errors="replace"
    )
    found: dict[str, int | None] = {}
    for block in done.stdout.split("----------", 1)[1].split("\n\n"):
        fields = dict(line.partition(" = ")[::2] for line in block.strip().splitlines())
        if "Path" in fields:
            folder = fields.get("Folder") == "+" or fields.get("Attributes", "").startswith("D")
            found[fields["Path"]] = None if folder else int(fields.get("Size") or 0)
    return found
