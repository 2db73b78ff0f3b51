"""compress (.Z): LZW codes of 9 bits and more, up to 16, the compressed files of Unix before gzip.

    u8 magic[2] = 1f 9d; u8 flags: most bits of a code (10 to 16) in the lower 5, bit 7: code 256 clears the table

Codes begin at the lowest bit and are written eight at a time: where their width changes, the rest of the eight is
skipped. There is no length, no check and no end mark: codes go on to the end of the source.
"""

from __future__ import annotations

from collections.abc import Generator

from .base import CHUNK, Format, Limits, Malformed, NotThisFormat, Reader, Reference, Source, UnpackError
from .stream import PIECE, StreamReader

_MAGIC = b"\x1f\x9d"
_CLEAR = 256
_TAIL = 256
"""Bytes of a string kept with its code; what comes before them is the string of another code."""
_TRIAL = 512
"""Compressed bytes that have to decode before a header is believed."""
_SINGLE = [bytes([byte]) for byte in range(256)]


def _string(tails: list[bytes], before: list[int], code: int) -> bytes:
    """Return a code's string.

    Args:
        tails: the last bytes of each code's string, at most `_TAIL`. Strings may have 64 KiB each, so that whole ones
            would need gigabytes.
        before: the code whose string comes before them, or -1.
        code: the code.
    """
    parts = []
    while code >= 0:
        parts.append(tails[code])
        code = before[code]
    parts.reverse()
    return b"".join(parts)


def _codes(source: Source, most: int, block: bool) -> Generator[bytes, None, None]:
    """Yield the decoded bytes in pieces of at most `CHUNK`.

    Args:
        source: the stream, from its header on.
        most: bits of the widest code.
        block: code 256 clears the table.

    Raises:
        Malformed: a code that does not exist yet; what came before has been yielded.
    """
    begin = 257 if block else 256
    tails, before = [*_SINGLE, b""][:begin], [-1] * begin
    width, last, held = 9, -1, 0
    previous = b""
    full = 1 << most
    out: list[bytes] = []
    data, at, following = b"", 0, 3
    while True:
        if len(data) - at < width:
            more = source.pread(following, PIECE)
            data, at, following = data[at:] + more, 0, following + len(more)
        count = min(8, (len(data) - at) * 8 // width)
        if not count:
            break
        word = int.from_bytes(data[at : at + width], "little")
        at += width
        mask = (1 << width) - 1
        for _ in range(count):
            code = word & mask
            word >>= width
            if code == _CLEAR and block:
                del tails[begin:], before[begin:]
                width, last = 9, -1
                break
            free = len(tails)
            if code < free and (last >= 0 or code < 256):
                text = tails[code] if before[code] < 0 else _string(tails, before, code)
            elif code == free and last >= 0 and free < full:
                # The code that is about to be added: the string before, and its first byte again.
                text = previous + previous[:1]
            else:
                yield from _pieces(out)
                raise Malformed(f"code {code} where {free} are known, near offset {following - len(data) + at}")
            out.append(text)
            held += len(text)
            if last >= 0 and free < full:
                tail = tails[last]
                if len(tail) < _TAIL:
                    tails.append(tail + text[:1])
                    before.append(before[last])
                else:
                    tails.append(text[:1])
                    before.append(last)
                if free >= mask and width < most:
                    width += 1
                    last, previous = code, text
                    break
            last, previous = code, text
        if held >= CHUNK // 2:  # eight strings have half a MiB at most
            yield from _pieces(out)
            out, held = [], 0
    yield from _pieces(out)


def _pieces(out: list[bytes]) -> Generator[bytes, None, None]:
    data = b"".join(out)
    for at in range(0, len(data), CHUNK):
        yield data[at : at + CHUNK]


def _decoded(source: Source, limits: Limits) -> Generator[bytes, None, int]:  # noqa: ARG001 - needs 20 MB at most
    flags = source.exactly(2, 1)[0]
    yield from _codes(source, flags & 31, bool(flags & 0x80))
    return source.size


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, 3)
    if len(head) < 3 or head[:2] != _MAGIC or head[2] & 0x60 or not 10 <= head[2] & 31 <= 16:
        raise NotThisFormat
    most, block = head[2] & 31, bool(head[2] & 0x80)
    try:
        for _ in _codes(source.window(0, _TRIAL), most, block):
            pass
    except UnpackError:
        raise NotThisFormat from None
    return StreamReader(FORMAT, source, limits, 3, _decoded, detail={"bits": most, "block_mode": block})


FORMAT = Format(
    name="compress",
    title="compress (.Z), LZW",
    open=_open,
    magics=[(0, _MAGIC)],
    references=[
        Reference(
            "POSIX.1-2024, compress",
            "https://pubs.opengroup.org/onlinepubs/9799919799/utilities/compress.html",
        ),
    ],
    limitations=[
        "the format has no end and no check: what follows in the source is decoded too, and damage may not be noticed",
        "streams of at most 9 bits: no tool reads back what is written with that option",
    ],
    stream=True,
    anywhere=False,
)
