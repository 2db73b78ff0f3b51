"""A source as a file object, for native libraries that read through `read`, `seek` and `tell`."""

from __future__ import annotations

import io
import os

from .base import Source


class SourceFile(io.RawIOBase):
    """A source, read as a binary file opened for reading.

    Args:
        source: the bytes; it stays the caller's.
        most: bytes handed out by one `read`, so that a size field of a hostile image does not become an allocation.
    """

    def __init__(self, source: Source, most: int = 16 << 20) -> None:
        super().__init__()
        self._source = source
        self._most = most
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to `offset` from the start, the position or the end, and return the new position in bytes.

        Raises:
            ValueError: it would lie before the start.
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset}")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes from the position on, all that follow if it is negative; never more than `most`."""
        length = self._source.size - self._at if size is None or size < 0 else size
        data = self._source.pread(self._at, min(length, self._most))
        self._at += len(data)
        return data

    def get_size(self) -> int:
        """Return the number of bytes; the libyal libraries ask for it by this name."""
        return self._source.size
