"""libarchive (BSD), used to decompress what no library of Python's own does: the methods of 7z, RAR, cabinet and LHA.

Readers list an archive themselves, from its headers, and give libarchive only the bytes that an entry is decoded from,
with just enough of a header around them (`Joined`): so nothing that it keeps to itself is lost, and nothing depends on
the locale or the time zone. The few functions of the library that are needed are bound here, because a confined worker
cannot make callbacks any more: there is one set of them, made when this module is loaded.

Where the library is not installed, archives are listed, and `Archive` says what is missing.
"""

from __future__ import annotations

import ctypes
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_ssize_t, c_void_p
from itertools import count
from typing import Any

from .base import (
    CHUNK,
    Encrypted,
    Limits,
    Malformed,
    Source,
    Truncated,
    UnpackError,
    Unsupported,
    guarded,
)

MISSING = "needs libarchive.so.13 (Debian package libarchive13)"
_PIECE = 256 << 10
"""Bytes handed to the library at a time."""
_EOF, _WARN, _FATAL = 1, -20, -30
_END = 2
"""SEEK_END; SEEK_CUR is 1."""


class Joined(Source):
    """Sources one after the other, as one.

    Args:
        parts: each a source, or bytes.
    """

    def __init__(self, parts: Sequence[Source | bytes]) -> None:
        self._parts: list[tuple[int, int, Source | bytes]] = []
        self.size = 0
        for part in parts:
            length = len(part) if isinstance(part, bytes) else part.size
            self._parts.append((self.size, self.size + length, part))
            self.size += length

    def pread(self, offset: int, length: int) -> bytes:
        """See `Source.pread`."""
        found = b""
        for start, end, part in self._parts:
            at = offset + len(found)
            if length > len(found) and start <= at < end:
                most = min(length - len(found), end - at)
                piece = part[at - start :][:most] if isinstance(part, bytes) else part.pread(at - start, most)
                found += piece
                if len(piece) < most:
                    break
        return found


class _Input:
    """Where an archive that the library has open stands in its source."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.at = 0
        self.held = b""


_inputs: dict[int, _Input] = {}
_numbers = count(1)


def _read(_archive: int, number: int, buffer: Any) -> int:  # noqa: ANN401 - a pointer to a pointer
    state = _inputs[number]
    try:
        state.held = state.source.pread(state.at, _PIECE)
    except OSError:
        return _FATAL
    buffer[0] = ctypes.cast(c_char_p(state.held), c_void_p)
    state.at += len(state.held)
    return len(state.held)


def _skip(_archive: int, number: int, request: int) -> int:
    state = _inputs[number]
    skipped = max(0, min(request, state.source.size - state.at))
    state.at += skipped
    return skipped


def _seek(_archive: int, number: int, offset: int, whence: int) -> int:
    state = _inputs[number]
    at = offset + {1: state.at, _END: state.source.size}.get(whence, 0)
    if not 0 <= at <= state.source.size:
        return _FATAL
    state.at = at
    return at


_READ = CFUNCTYPE(c_ssize_t, c_void_p, c_void_p, POINTER(c_void_p))
_SKIP = CFUNCTYPE(c_int64, c_void_p, c_void_p, c_int64)
_SEEK = CFUNCTYPE(c_int64, c_void_p, c_void_p, c_int64, c_int)
_callbacks = _READ(_read), _SKIP(_skip), _SEEK(_seek)


def _load() -> Any:  # noqa: ANN401 - a library has no type
    """Return the library, or None if it is not installed."""
    try:
        library = ctypes.CDLL("libarchive.so.13")
    except OSError:
        return None
    handle, entry = c_void_p, c_void_p
    functions: tuple[tuple[Any, ...], ...] = (
        ("archive_read_new", handle),
        ("archive_read_free", c_int, handle),
        ("archive_read_set_read_callback", c_int, handle, _READ),
        ("archive_read_set_skip_callback", c_int, handle, _SKIP),
        ("archive_read_set_seek_callback", c_int, handle, _SEEK),
        ("archive_read_set_callback_data", c_int, handle, c_void_p),
        ("archive_read_open1", c_int, handle),
        ("archive_read_next_header", c_int, handle, POINTER(entry)),
        ("archive_read_data_block", c_int, handle, POINTER(c_void_p), POINTER(c_size_t), POINTER(c_int64)),
        ("archive_error_string", c_char_p, handle),
        *((f"archive_read_support_format_{kind}", c_int, handle) for kind in ("7zip", "cab", "lha", "rar", "rar5")),
    )
    for name, result, *arguments in functions:
        function = getattr(library, name, None)
        if function is not None:
            function.restype, function.argtypes = result, arguments
    return library


_library = _load()


def _free(library: Any, handle: int, number: int) -> None:  # noqa: ANN401 - see `_load`
    library.archive_read_free(handle)
    _inputs.pop(number, None)


_SAYS: tuple[tuple[str, type[UnpackError]], ...] = (
    ("ncrypt", Encrypted),
    ("nsupported|not supported|unavailable|not available|Unexpected codec|Unknown codec", Unsupported),
    ("runcated|Premature end|Unexpected end", Truncated),
)


class Archive:
    """An archive, read from front to back.

    Args:
        source: the bytes, from the archive's first on.
        kind: the library's name for the format: 7zip, cab, lha, rar, rar5.

    Raises:
        UnpackError: the library is not there, or does not take the archive.
    """

    def __init__(self, source: Source, kind: str) -> None:
        if _library is None:
            raise Unsupported(MISSING)
        self._handle = _library.archive_read_new()
        if not self._handle:
            raise MemoryError
        number = next(_numbers)
        _inputs[number] = _Input(source)
        self.close = weakref.finalize(self, _free, _library, self._handle, number)
        """Give back what the library holds. It is also done when nothing refers to this any more."""
        try:
            support: Callable[[Any], int] = getattr(_library, f"archive_read_support_format_{kind}")
        except AttributeError:
            raise Unsupported(f"this libarchive does not read {kind}") from None
        support(self._handle)
        read, skip, seek = _callbacks
        _library.archive_read_set_read_callback(self._handle, read)
        _library.archive_read_set_skip_callback(self._handle, skip)
        _library.archive_read_set_seek_callback(self._handle, seek)
        _library.archive_read_set_callback_data(self._handle, number)
        self._check(_library.archive_read_open1(self._handle))

    def _check(self, result: int, worst: int = _WARN) -> bool:
        """Return whether there is more; raise what the library complains of, if it is worse than `worst`."""
        if result >= worst:
            return result != _EOF
        text = (_library.archive_error_string(self._handle) or b"no reason given").decode("utf-8", "replace")
        text = " ".join(text.split())
        if "memory" in text:
            raise MemoryError(f"libarchive: {text}")
        raise next((kind for words, kind in _SAYS if re.search(words, text)), Malformed)(f"libarchive: {text}")

    def next(self) -> bool:
        """Go to the next entry, the first one at first; return whether there is one.

        Raises:
            UnpackError: the library cannot go on.
        """
        return self.close.alive and self._check(_library.archive_read_next_header(self._handle, byref(c_void_p())))

    def data(self) -> Iterator[bytes]:
        """Yield the bytes of the entry.

        Raises:
            UnpackError: the library cannot go on; what came before was decoded without complaint.
        """
        buffer, size, offset = c_void_p(), c_size_t(), c_int64()
        at = 0
        while self.close.alive and self._check(
            _library.archive_read_data_block(self._handle, byref(buffer), byref(size), byref(offset)), 0
        ):
            if not size.value:
                continue
            if offset.value != at:
                raise Malformed(f"libarchive: bytes at offset {offset.value} of an entry follow offset {at}")
            for piece in range(0, size.value, CHUNK):
                yield ctypes.string_at((buffer.value or 0) + piece, min(CHUNK, size.value - piece))
            at += size.value


def first(source: Source, kind: str, limits: Limits, source_bytes: int) -> Iterator[bytes]:
    """Yield the bytes of an archive's first entry.

    Args:
        source: the archive.
        kind: see `Archive`.
        limits: limits in force.
        source_bytes: compressed bytes, for the limit on ratio.

    Raises:
        UnpackError: as `Archive` raises it.
    """
    archive = Archive(source, kind)
    if not archive.next():
        raise Malformed("libarchive: finds no entry")
    yield from guarded(archive.data(), limits, source_bytes)
    archive.close()
