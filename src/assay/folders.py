"""Where Assay keeps what it may lose."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return where caches lie: $XDG_CACHE_HOME/assay, or ~/.cache/assay (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "assay"
