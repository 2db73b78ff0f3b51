"""What the compressed streams have in common: one entry, decoded lazily, whose end only decoding finds.

Decoding works in steps of bounded input and output, so that neither a bomb nor a large source costs memory. If a
decoder fails, the step that failed is done again byte by byte: everything before the damage comes out (but for one
byte, where the library checks a sum while it gives the last byte).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .base import (
    CHUNK,
    Claim,
    Entry,
    Format,
    Limits,
    Locator,
    Malformed,
    Problem,
    Reader,
    Source,
    Truncated,
    UnpackError,
    guarded,
)

PIECE = 128 << 10
"""Compressed bytes given to a decoder at a time."""


class Decoder(Protocol):
    """The shape that the standard library gave its incremental decoders, and others took over."""

    @property
    def eof(self) -> bool:
        """The member's end has been seen."""

    @property
    def needs_input(self) -> bool:
        """No more output without more input."""

    @property
    def unused_data(self) -> bytes:
        """Input after the end."""

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        """Return at most `max_length` decoded bytes."""


@dataclass(frozen=True)
class Codec:
    """How one member of a stream is decoded.

    Args:
        new: makes a decoder in its first state.
        errors: what the decoder raises on bad input.
        explain: turns such an error into the reader's own.
    """

    new: Callable[[], Decoder]
    errors: tuple[type[Exception], ...]
    explain: Callable[[Exception], UnpackError] = lambda error: Malformed(str(error))


class Member(NamedTuple):
    """A member that has been decoded to its end."""

    end: int
    """Offset in the source of the first byte after it."""
    size: int
    """Bytes that came out."""
    decoder: Decoder


def decode(source: Source, start: int, codec: Codec) -> Generator[bytes, None, Member]:
    """Yield the bytes of the member at `start` in chunks of at most `CHUNK`; return where and how it ended.

    Raises:
        Truncated: the source ends before the member.
        UnpackError: as `codec.explain` has it; the bytes before the damage have been yielded.
    """
    decoder = codec.new()
    offset, size, steps = start, 0, 0
    while not decoder.eof:
        try:
            chunk, offset = _step(decoder, source, offset, CHUNK)
        except codec.errors as error:
            if good := _before_damage(source, start, codec, steps):
                yield good
            raise codec.explain(error) from error
        steps += 1
        if chunk:
            size += len(chunk)
            yield chunk
    return Member(offset - len(decoder.unused_data), size, decoder)


def _step(decoder: Decoder, source: Source, offset: int, most: int) -> tuple[bytes, int]:
    data = b""
    if decoder.needs_input:
        data = source.pread(offset, PIECE)
        if not data:
            raise Truncated(f"the compressed data go on beyond the end of the source at offset {source.size}")
    return decoder.decompress(data, most), offset + len(data)


def _before_damage(source: Source, start: int, codec: Codec, steps: int) -> bytes:
    """Return the bytes that the failed step (the one after `steps` good ones) decoded before it failed."""
    decoder, offset = codec.new(), start
    for _ in range(steps):
        _, offset = _step(decoder, source, offset, CHUNK)
    out = bytearray()
    try:
        while len(out) < CHUNK and not decoder.eof:
            byte, offset = _step(decoder, source, offset, 1)
            out += byte
    except codec.errors:
        pass
    return bytes(out)


def zeros(source: Source, offset: int) -> int:
    """Return how many zero bytes there are from `offset` on; known holes are not read."""
    for start, length in source.filled(offset, source.size - offset):
        at = start
        for chunk in source.chunks(start, length):
            rest = len(chunk.lstrip(b"\0"))
            if rest:
                return at + len(chunk) - rest - offset
            at += len(chunk)
    return max(0, source.size - offset)


class StreamReader(Reader):
    """One compressed stream.

    Args:
        format: the format that claimed the source.
        source: the bytes.
        limits: limits in force.
        header: length of the first header, in bytes.
        decoded: yields the decoded bytes of all members and returns the offset at which the last one ends.
        detail: see `Reader.detail`.
        name: the name that the stream keeps of what it holds.
        mtime: its time, in nanoseconds.
    """

    def __init__(
        self,
        format: Format,
        source: Source,
        limits: Limits,
        header: int,
        decoded: Callable[[Source, Limits], Generator[bytes, None, int]],
        *,
        detail: dict[str, str | int | bool | None],
        name: bytes = b"data",
        mtime: int | None = None,
    ) -> None:
        self.format = format
        self.source = source
        self.limits = limits
        self.header = header
        self.decoded = decoded
        self.detail = detail
        self.cut = False
        self.entry = Entry(name, "regular", locator=0, mtime=mtime)

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. Nothing is decoded, so the size is not known."""
        yield self.entry

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`."""
        if locator != 0:
            raise Malformed(f"no such entry in a stream: {locator!r}")
        return guarded(self._used(), self.limits, self.source.size)

    def _used(self) -> Iterator[bytes]:
        self.consumed = None
        self.cut = False
        try:
            self.consumed = yield from self.decoded(self.source, self.limits)
        except Truncated:
            self.cut = True
            raise

    def claims(self) -> list[Claim]:
        """See `Reader.claims` and `Reader.consumed`."""
        if self.cut:
            return [Claim(0, self.source.size, "stream without its end")]
        if self.consumed is None:
            return [Claim(0, self.header, "header")]
        found = [Claim(0, self.consumed, "stream")]
        if padding := zeros(self.source, self.consumed):
            found.append(Claim(self.consumed, padding, "padding"))
        return found
