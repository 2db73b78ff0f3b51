"""LZ4: frames, and the older kind that kernels and their initial file systems are compressed with.

    frame: u32 magic = 184d2204; u8 flags, block size; [u64 size]; [u32 dictionary]; u8 checksum of these, of XXH32;
        blocks: u32 length, bit 31 if it is not compressed, 0 at the end; data; [u32 XXH32]; [u32 XXH32 of all data]
    skippable frame: u32 magic = 184d2a50 to 184d2a5f; u32 length; data
    older: u32 magic = 184c2102; blocks: u32 length; data. Each gives 8 MiB, the last one less

The older kind has no end mark: it ends after the first block that gives less, or where no length of a block follows.
"""

from __future__ import annotations

from collections.abc import Generator

import lz4.block
import lz4.frame

from .base import (
    CHUNK,
    Format,
    Limits,
    Malformed,
    NotThisFormat,
    Reader,
    Reference,
    Source,
    Truncated,
    UnpackError,
    Unsupported,
)
from .stream import Codec, StreamReader, decode

_FRAME, _LEGACY = b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"
_SKIPPABLE = [bytes((0x50 | i, 0x2A, 0x4D, 0x18)) for i in range(16)]
_SKIPPED = 1 << 16
"""Skippable frames passed in a row: they may be empty, so their number is the input's to choose."""
_BLOCK = 8 << 20
_LONGEST = _BLOCK + _BLOCK // 255 + 16
"""Most bytes that a block of the older kind takes."""
_VERSION, _INDEPENDENT, _BLOCK_SUM, _SIZE, _CONTENT_SUM, _RESERVED, _DICTIONARY = 0xC0, 32, 16, 8, 4, 2, 1


class _Decoder:
    """The library's decoder, in the shape of the standard library's."""

    def __init__(self) -> None:
        self._decoder = lz4.frame.LZ4FrameDecompressor()

    @property
    def eof(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._decoder.needs_input)

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data or b""

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        return bytes(self._decoder.decompress(data, max_length))


def _explain(error: Exception) -> UnpackError:
    return Malformed(f"liblz4: {str(error).rpartition(': ')[2]}")


_CODEC = Codec(new=_Decoder, errors=(RuntimeError,), explain=_explain)


def _header(source: Source, offset: int) -> tuple[int, int]:
    """Return the flags of the frame at an offset and the length of its header.

    Raises:
        NotThisFormat: there is none, or its checksum is wrong.
        Unsupported: it needs a dictionary.
    """
    head = source.pread(offset, 19)
    if head[:4] != _FRAME or len(head) < 7:
        raise NotThisFormat
    try:
        lz4.frame.get_frame_info(head)
    except RuntimeError:
        raise NotThisFormat from None
    if head[4] & _DICTIONARY:
        raise Unsupported("a frame that needs a dictionary")
    return head[4], 15 if head[4] & _SIZE else 7


def _frames(source: Source, limits: Limits) -> Generator[bytes, None, int]:  # noqa: ARG001 - needs a block's memory
    end = offset = 0
    while True:
        try:
            _header(source, offset)
        except NotThisFormat:
            return end  # what follows the last frame is not part of the stream
        end = (yield from decode(source, offset, _CODEC)).end
        offset = end
        for _ in range(_SKIPPED):
            head = source.pread(offset, 8)
            if head[:4] not in _SKIPPABLE or len(head) < 8:
                break
            offset += 8 + int.from_bytes(head[4:], "little")


def _legacy(source: Source, limits: Limits) -> Generator[bytes, None, int]:  # noqa: ARG001 - needs a block's memory
    at = 4
    while True:
        head = source.pread(at, 4)
        length = int.from_bytes(head, "little")
        if head == _LEGACY:
            at += 4
            continue
        if len(head) < 4 or not 0 < length <= _LONGEST:
            return at
        data = source.pread(at + 4, length)
        if len(data) < length:
            raise Truncated(f"the block at offset {at} ends {length - len(data)} bytes beyond the source")
        try:
            out = lz4.block.decompress(data, uncompressed_size=_BLOCK)
        except lz4.block.LZ4BlockError as error:
            raise Malformed(f"the block at offset {at}: {error}") from error
        for piece in range(0, len(out), CHUNK):
            yield out[piece : piece + CHUNK]
        at += 4 + length
        if len(out) < _BLOCK and source.pread(at, 4) != _LEGACY:
            return at


def _open(source: Source, limits: Limits) -> Reader:
    if source.pread(0, 4) == _LEGACY:
        length = int.from_bytes(source.pread(4, 4), "little")
        if not 0 < length <= _LONGEST:
            raise NotThisFormat
        return StreamReader(FORMAT, source, limits, 4, _legacy, detail={"variant": "legacy"})
    flags, length = _header(source, 0)
    return StreamReader(
        FORMAT,
        source,
        limits,
        length,
        _frames,
        detail={
            "variant": "frame",
            "independent_blocks": bool(flags & _INDEPENDENT),
            "block_checksums": bool(flags & _BLOCK_SUM),
            "content_checksum": bool(flags & _CONTENT_SUM),
            "content_bytes": int.from_bytes(source.pread(6, 8), "little") if flags & _SIZE else None,
        },
    )


FORMAT = Format(
    name="lz4",
    title="LZ4 compressed stream: frames, or the older kind of the Linux kernel",
    open=_open,
    magics=[(0, _FRAME), (0, _LEGACY)],
    references=[
        Reference("LZ4 Frame Format Description", "https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md")
    ],
    limitations=["frames that need a dictionary"],
    stream=True,
)
