"""Broken inputs made from good ones, without copying them: a seed, and what is different.

A seed may be a disk of many megabytes, so an input is a `Mutant`: the seed's bytes with patches laid over them. Most
damage is done where the format's own reader says that structure is, and most values are those at which arithmetic
breaks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from assay.unpack.base import BytesSource, Format, Limits, Source

Patch = tuple[int, bytes]
Repair = Callable[[Source, Sequence[int]], Iterator[Patch]]
"""Yields patches that make checksums right again: of the input, and the offsets that were changed."""

WHOLE = 128 << 10
"""Seeds of up to so many bytes are also shifted: bytes put in, taken out, and taken from another seed."""
BOUNDARIES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
FAR = (0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF, 1 << 40, 1 << 56)


class Mutant(Source):
    """A seed with patches over it; the last patch wins."""

    def __init__(self, data: bytes | memoryview, size: int | None = None, patches: Sequence[Patch] = ()) -> None:
        self.base = BytesSource(data)
        self.patches = list(patches)
        end = max((at + len(raw) for at, raw in self.patches), default=0)
        self.size = max(self.base.size, end) if size is None else size

    def pread(self, offset: int, length: int) -> bytes:
        """See `Source.pread`."""
        length = min(length, self.size - offset)
        if offset < 0 or length <= 0:
            return b""
        data = self.base.pread(offset, length)
        end, out = offset + length, None
        for at, raw in self.patches:
            if at < end and at + len(raw) > offset:
                if out is None:
                    out = bytearray(data.ljust(length, b"\0"))
                first, last = max(at, offset), min(at + len(raw), end)
                out[first - offset : last - offset] = raw[first - at : last - at]
        return data.ljust(length, b"\0") if out is None else bytes(out)


@dataclass
class Seed:
    """A good image of a format.

    Args:
        name: what kind of image it is.
        data: its bytes.
        hot: stretches (offset, length) that hold structure.
    """

    name: str
    data: bytes | memoryview
    hot: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def of(cls, format: Format, name: str, data: bytes | memoryview, limits: Limits) -> Seed:
        """Return a seed whose structure is where the reader of the format says that it is.

        Raises:
            UnpackError: the reader does not read it.
            NotThisFormat: it is of another format.
        """
        reader = format.open(BytesSource(data), limits)
        for _ in reader.entries():
            pass
        claims = [claim for claim in reader.claims() if not claim.padding and claim.length > 0]
        hot = [(c.offset, c.length) for c in claims if not any(word in c.what for word in ("data", "content", "file"))]
        hot = [(at, min(length, 1 << 16)) for at, length in hot if at < len(data)]
        return cls(name, data, hot or [(0, min(len(data), 4096))])

    def spot(self, chance: random.Random) -> int:
        """Return an offset: one time in three in the first bytes, one in six anywhere, else in structure."""
        what = chance.randrange(6)
        if what < 2:
            return chance.randrange(min(len(self.data), 512))
        if what == 2:
            return chance.randrange(len(self.data))
        at, length = chance.choice(self.hot)
        # What is long is densest at its beginning.
        offset = chance.randrange(length) if chance.random() < 0.5 else chance.randrange(min(length, 256))
        return min(at + offset, len(self.data) - 1)


def mutant(seed: Seed, others: Sequence[Seed], chance: random.Random, repair: Repair | None = None) -> Mutant:
    """Return a broken variant.

    Args:
        seed: the good image.
        others: of the same format, to take bytes from.
        chance: decides everything.
        repair: makes the checksums of the format right again; used two times in three.
    """
    patches = [_patch(seed, others, chance) for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5, 9)))]
    size = len(seed.data)
    if chance.randrange(12) == 0:
        size = chance.randrange(size + 1)
    shift = chance.randrange(12)
    if shift < 2 and len(seed.data) <= WHOLE:
        at = seed.spot(chance)
        rest = bytes(seed.data[at:])
        if shift == 0:
            more = chance.choice((chance.randbytes(chance.randrange(1, 64)), rest[: chance.randrange(1, 4096)]))
            rest = more + rest
        else:
            rest = rest[chance.randrange(1, 4096) :]
        size = min(size, len(seed.data)) if size < len(seed.data) else at + len(rest)
        patches.insert(0, (at, rest))
    made = Mutant(seed.data, size, patches)
    if repair is not None and chance.randrange(3):
        touched = [at for at, _ in patches if at < size]
        made.patches += [(at, raw) for at, raw in repair(made, touched) if at + len(raw) <= size]
    return made


def _patch(seed: Seed, others: Sequence[Seed], chance: random.Random) -> Patch:
    data, at = seed.data, seed.spot(chance)
    match chance.randrange(10):
        case 0:
            return at, bytes((data[at] ^ 1 << chance.randrange(8),))
        case 1:
            return at, chance.randbytes(chance.choice((1, 2, 4, 8, 16)))
        case 2 | 3 | 4 | 5:
            width = chance.choice((1, 2, 4, 4, 8))
            at -= at % chance.choice((1, width))
            order: Literal["little", "big"] = "little" if chance.randrange(2) else "big"
            if chance.randrange(2):
                number = chance.choice(
                    (*BOUNDARIES, *FAR, len(data), len(data) - 1, 0xFFFFFFFF // chance.randrange(2, 9))
                )
            else:  # a number near the one that stands there
                stands = int.from_bytes(data[at : at + width], order)
                number = stands + chance.choice((-1, 1, 2, -2, stands, 16, -16, 512, 4096, 1 << chance.randrange(32)))
            return at, (number & (1 << 8 * width) - 1).to_bytes(width, order)
        case 6:
            return at, bytes((chance.choice((0, 0xFF, 0x20, 0x2F, 0x30)),)) * chance.choice((4, 16, 64, 512))
        case 7 | 8:  # bytes from elsewhere in the image: offsets that point back, repeated structures
            other, length = seed.spot(chance), chance.choice((2, 4, 8, 16, 64, 256, 1024))
            at -= at % chance.choice((1, 4, 8))
            return at, bytes(data[other : other + length])
        case _:
            image = chance.choice(others).data
            return at, bytes(image[at : at + chance.choice((4, 64, 1024))])
