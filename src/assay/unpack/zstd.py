"""Zstandard: frames of blocks, each block at most 128 KiB decoded; skippable frames may stand between.

    u32 magic = fd2fb528; u8 descriptor; [u8 window]; [dictionary id]; [content size]; blocks; [u32 xxh64]
    block: u24 = size << 3 | type << 1 | last; type 0 raw, 1 one repeated byte, 2 compressed
    skippable: u32 magic = 184d2a50 to 184d2a5f; u32 length; data

Blocks are given to the decoder one by one: a frame's end is then known, and no step gives more than one block.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import zstandard

from .base import (
    Format,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Reader,
    Reference,
    Source,
    Truncated,
    Unsupported,
)
from .stream import StreamReader

_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = [bytes((0x50 | i, 0x2A, 0x4D, 0x18)) for i in range(16)]

_SKIPPED = 1 << 16
"""Skippable frames passed in a row: they may be empty, so their number is the input's to choose."""


class _Header(NamedTuple):
    length: int
    window: int
    size: int | None
    dictionary: int
    check: bool


def _header(source: Source, offset: int) -> _Header:
    descriptor = source.exactly(offset + 4, 1)[0]
    if descriptor & 8:
        raise Malformed(f"the frame at offset {offset} sets a reserved bit")
    single = bool(descriptor & 0x20)
    window_bytes = 0 if single else 1
    id_bytes = (0, 1, 2, 4)[descriptor & 3]
    size_bytes = (int(single), 2, 4, 8)[descriptor >> 6]
    rest = source.exactly(offset + 5, window_bytes + id_bytes + size_bytes)
    size = None
    if size_bytes:
        size = int.from_bytes(rest[-size_bytes:], "little") + (256 if size_bytes == 2 else 0)
    if single:
        window = size or 0
    else:
        window = 1 << (10 + (rest[0] >> 3))
        window += (window >> 3) * (rest[0] & 7)
    dictionary = int.from_bytes(rest[window_bytes : window_bytes + id_bytes], "little")
    return _Header(5 + len(rest), window, size, dictionary, bool(descriptor & 4))


def _skip(source: Source, offset: int) -> int:
    """Return the offset after the skippable frames at `offset`."""
    for _ in range(_SKIPPED):
        if source.pread(offset, 4) not in _SKIPPABLE:
            break
        length = int.from_bytes(source.pread(offset + 4, 4), "little")
        if offset + 8 + length > source.size:
            break
        offset += 8 + length
    return offset


def _frame(source: Source, offset: int, limits: Limits) -> Generator[bytes, None, int]:
    header = _header(source, offset)
    if header.dictionary:
        raise Unsupported(f"the frame at offset {offset} needs dictionary {header.dictionary}")
    if header.window > limits.memory // 4:
        raise LimitReached("memory", limits.memory)
    decoder = zstandard.ZstdDecompressor(max_window_size=max(limits.memory // 4, 1 << 10)).decompressobj()
    try:
        decoder.decompress(source.pread(offset, header.length))
        offset += header.length
        last = False
        while not last:
            word = int.from_bytes(source.exactly(offset, 3), "little")
            last, kind, length = bool(word & 1), word >> 1 & 3, word >> 3
            if kind == 3:
                raise Malformed(f"the block at offset {offset} has a reserved type")
            stored = 3 + (1 if kind == 1 else length)
            if chunk := decoder.decompress(source.exactly(offset, stored)):
                yield chunk
            offset += stored
        if header.check:
            decoder.decompress(source.exactly(offset, 4))
            offset += 4
    except zstandard.ZstdError as error:
        raise Malformed(f"{error}, at offset {offset}") from error
    if not decoder.eof:
        raise Malformed(f"the decoder sees no end at offset {offset}, where the frame ends")
    return offset


def _decoded(source: Source, limits: Limits) -> Generator[bytes, None, int]:
    offset = _skip(source, 0)
    while source.pread(offset, 4) == _MAGIC:
        offset = _skip(source, (yield from _frame(source, offset, limits)))
    return offset


def _open(source: Source, limits: Limits) -> Reader:
    start = _skip(source, 0)
    if source.pread(start, 4) != _MAGIC:
        raise NotThisFormat
    try:
        header = _header(source, start)
    except Truncated:
        raise Truncated("the source ends inside the first frame's header") from None
    detail: dict[str, str | int | bool | None] = {
        "window": header.window,
        "size": header.size,
        "check": header.check,
        "dictionary": header.dictionary or None,
    }
    return StreamReader(FORMAT, source, limits, start + header.length, _decoded, detail=detail)


FORMAT = Format(
    name="zstd",
    title="Zstandard compressed stream",
    open=_open,
    magics=[(0, _MAGIC), *((0, magic) for magic in _SKIPPABLE)],
    references=[
        Reference("RFC 8878: Zstandard compression", "https://www.rfc-editor.org/rfc/rfc8878"),
    ],
    limitations=["frames that need a dictionary"],
    stream=True,
)
