"""Which bytes of a sequential archive are explained, and a quick sum of bytes: what tar, cpio and ar have in common."""

from __future__ import annotations

from zlib import adler32

from .base import Claim

MOST = 1 << 16
"""Stretches kept. What would need more is left unclaimed: to explain less is safe, to explain too much is not."""


class Stretches:
    """Claims on a source that is read from front to back; neighbours of the same kind become one."""

    def __init__(self) -> None:
        self._claims: list[Claim] = []

    def add(self, start: int, end: int, what: str) -> None:
        """Explain the bytes from `start` up to `end` as `what`. Both only grow from call to call."""
        if end <= start:
            return
        if self._claims:
            last = self._claims[-1]
            if last.what == what and last.offset + last.length == start:
                last.length = end - last.offset
                return
        if len(self._claims) < MOST:
            self._claims.append(Claim(start, end - start, what))

    def claims(self) -> list[Claim]:
        """Return what has been explained, in order."""
        return list(self._claims)


def byte_sum(data: bytes) -> int:
    """Return the sum of all bytes.

    The low half of an Adler-32 is one more than the sum of the bytes modulo 65521, so up to 256 bytes it is exact, and
    it is computed natively.
    """
    return sum((adler32(data[at : at + 256]) & 0xFFFF) - 1 for at in range(0, len(data), 256))
