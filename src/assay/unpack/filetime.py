"""Times as Windows counts them, which archives from there keep."""

from __future__ import annotations

EPOCH = 116_444_736_000_000_000
"""1970-01-01 in units of 100 ns since 1601-01-01."""


def filetime(value: int | None) -> int | None:
    """Return nanoseconds since 1970-01-01 UTC of a count of 100 ns since 1601-01-01, None for 0.

    >>> filetime(116_444_736_000_000_001)
    100
    """
    return (value - EPOCH) * 100 if value else None
