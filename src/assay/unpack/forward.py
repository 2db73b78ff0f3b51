"""Bytes that can only be had from front to back, of which several entries are parts: folders of solid archives."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .base import Truncated, UnpackError


class Forward:
    """One decoded stream; reading its parts in order costs one pass, going back begins again.

    Args:
        start: begins the stream.
    """

    def __init__(self, start: Callable[[], Iterator[bytes]]) -> None:
        self._start = start
        self._chunks: Iterator[bytes] | None = None
        self._piece = b""
        self._at = 0
        self._failed: tuple[int, UnpackError] | None = None

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of a part. Parts may be read by turns.

        Raises:
            Truncated: the stream ends before.
            UnpackError: as the stream raises it; what lies before the damage is still to be had.
        """
        at, end = offset, offset + length
        while at < end:
            piece = self._reach(at)[at - self._at :][: end - at]
            yield piece
            at += len(piece)

    def _reach(self, at: int) -> bytes:
        """Return the piece of the stream that holds the byte at an offset; `_at` is where it begins."""
        if self._failed and at >= self._failed[0]:
            raise self._failed[1]
        if self._chunks is None or at < self._at:
            self._chunks, self._piece, self._at = self._start(), b"", 0
        while at >= self._at + len(self._piece):
            self._at += len(self._piece)
            self._piece = b""
            try:
                self._piece = next(self._chunks)
            except StopIteration:
                self._fail(Truncated(f"the decoded bytes end at offset {self._at}"))
            except UnpackError as error:
                self._fail(error)
        return self._piece

    def _fail(self, error: UnpackError) -> None:
        self._failed = self._at, error
        self._chunks = None
        raise error
