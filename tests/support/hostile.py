"""Broken variants of a good input, and what a reader has to do with them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

from assay.unpack.base import BytesSource, Entry, Format, Limits, NotThisFormat, Problem, UnpackError

THOROUGH = bool(os.environ.get("ASSAY_THOROUGH"))
LIMITS = Limits(entries=10_000, entry_bytes=64 << 20, ratio_from=1 << 20, metadata_bytes=16 << 20)


def mangled(data: bytes, *, seed: int = 1, count: int = 200, hot: range | None = None) -> Iterator[bytes]:
    """Yield cut, flipped and overwritten variants of an input.

    Args:
        data: a good input.
        seed: of the random choices.
        count: variants to make in a thorough run; a third of them otherwise. `make fuzz` makes many more.
        hot: offsets at which most of the damage is done (headers, tables).
    """
    chance = random.Random(seed)
    where = hot or range(len(data))
    if not THOROUGH:
        count = max(12, count // 3)
    for number in range(count):
        if number % 4 == 0:
            yield data[: chance.randrange(len(data))]
            continue
        broken = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 8))):
            at = chance.choice(where)
            what = chance.randrange(4)
            if what == 0:
                broken[at] ^= 1 << chance.randrange(8)
            elif what == 1:
                broken[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"))
            elif what == 2:
                broken[at : at + 8] = chance.randbytes(8)
            else:
                other = chance.choice(where)
                broken[at : at + 16] = broken[other : other + 16]
            del broken[len(data) :]
            broken += data[len(broken) :]
        yield bytes(broken)


def survives(format: Format, data: bytes, *, seconds: float = 2.0) -> None:
    """Read everything of an input; fail if that takes long or raises what a reader must not raise."""
    begun = time.process_time()
    try:
        reader = format.open(BytesSource(data), LIMITS)
        found = _listing(reader.entries())
        for claim in reader.claims():
            assert claim.offset >= 0
            assert claim.length >= 0
        for item in found:
            if isinstance(item, Entry) and item.locator is not None:
                try:
                    for _ in reader.open(item.locator):
                        pass
                except UnpackError:
                    pass
                reader.stored(item.locator)
                span = reader.span(item.locator)
                assert span is None or span[0] >= 0
    except NotThisFormat:
        pass
    except UnpackError:
        pass
    assert time.process_time() - begun < seconds


def _listing(entries: Iterator[Entry | Problem]) -> list[Entry | Problem]:
    found = []
    try:
        for item in entries:
            found.append(item)  # noqa: PERF402 - what came before an error stands
    except UnpackError:
        pass
    return found


def bounded(work: Callable[[], object], seconds: float) -> float:
    """Run something, fail if it takes longer than so many CPU seconds, return how many it took."""
    begun = time.process_time()
    work()
    took = time.process_time() - begun
    assert took < seconds, f"{took:.2f} s of CPU"
    return took
