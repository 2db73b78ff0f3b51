"""Values in DER: type, length, content, without reading more than what is asked for.

Reference: ITU-T X.690, clause 8 and 10; lengths are definite, tags of one byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

INTEGER, OCTETS, OID, SEQUENCE, SET = 0x02, 0x04, 0x06, 0x30, 0x31
MOST = 20_000
"""Values directly inside another."""


class NotDer(ValueError):
    """Bytes that are no value, or another one than was expected."""


class Value(NamedTuple):
    """One value."""

    data: bytes
    """What it stands in."""
    at: int
    """Where its tag stands."""
    start: int
    """Where its content begins."""
    end: int

    @property
    def tag(self) -> int:
        """First byte of it: class, form and number."""
        return self.data[self.at]

    @property
    def content(self) -> bytes:
        """Bytes of its content."""
        return self.data[self.start : self.end]

    @property
    def raw(self) -> bytes:
        """All of its bytes."""
        return self.data[self.at : self.end]

    def inside(self) -> list[Value]:
        """Return the values that it is made of.

        Raises:
            NotDer: it is not made of values.
        """
        return list(self._inside())

    def _inside(self) -> Iterator[Value]:
        at = self.start
        for _ in range(MOST):
            if at >= self.end:
                return
            value = read(self.data, at, self.end)
            yield value
            at = value.end
        raise NotDer(f"more than {MOST} values")

    def expect(self, *tags: int) -> Value:
        """Return itself if it is of one of these tags.

        Raises:
            NotDer: it is another.
        """
        if self.tag not in tags:
            raise NotDer(f"tag {self.tag:#04x} at offset {self.at}")
        return self

    def number(self) -> int:
        """Return an integer."""
        return int.from_bytes(self.expect(INTEGER).content, "big", signed=True)

    def oid(self) -> str:
        """Return an object identifier, dotted.

        Raises:
            NotDer: it is none.
        """
        content = self.expect(OID).content
        if not content or len(content) > 64 or content[-1] & 0x80:
            raise NotDer("an object identifier of impossible length")
        numbers, value = [], 0
        for byte in content:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                numbers.append(value)
                value = 0
        first = min(numbers[0] // 40, 2)
        return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def read(data: bytes, at: int = 0, end: int | None = None) -> Value:
    """Return the value that begins at a place.

    Raises:
        NotDer: there is none that ends where it should.
    """
    end = len(data) if end is None else end
    if at + 2 > end:
        raise NotDer(f"cut off at offset {at}")
    length, start = data[at + 1], at + 2
    if data[at] & 0x1F == 0x1F or length == 0x80 or length > 0x84:
        raise NotDer(f"an indefinite or very long value at offset {at}")
    if length > 0x80:
        start += length - 0x80
        length = int.from_bytes(data[at + 2 : start], "big")
    if start + length > end:
        raise NotDer(f"cut off: a value at offset {at} ends behind {end}")
    return Value(data, at, start, start + length)
