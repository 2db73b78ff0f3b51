"""Which bytes of an image are explained, told in any order: for images whose parts lie anywhere."""

from __future__ import annotations

from .base import Claim, Source

MOST = 1 << 18
"""Stretches kept of one kind. What would need more is left unclaimed: to explain less is safe, too much is not."""


class Cover:
    """Stretches of an image, each with the part of the format that it is."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[int, int]]] = {}
        self._merge_at: dict[str, int] = {}

    def add(self, start: int, end: int, what: str) -> None:
        """Explain the bytes from `start` up to `end` as `what`."""
        if end <= start:
            return
        spans = self._parts.setdefault(what, [])
        if spans and spans[-1][1] == start:
            spans[-1] = spans[-1][0], end
            return
        spans.append((start, end))
        if len(spans) >= self._merge_at.get(what, MOST):
            spans[:] = merged(spans)[:MOST]
            self._merge_at[what] = len(spans) + MOST

    def end(self) -> int:
        """Return the end of the last stretch, 0 if there is none."""
        return max((stop for spans in self._parts.values() for _, stop in spans), default=0)

    def claims(self, source: Source, end: int) -> list[Claim]:
        """Return what has been explained, none of it beyond `end` or the source, by parts and in order.

        Args:
            source: the image. Gaps between the parts that hold only zeros are claimed too, as padding.
            end: where the image ends, by its own account.
        """
        end = min(end, source.size)
        found = [
            Claim(start, min(stop, end) - start, what)
            for what, spans in self._parts.items()
            for start, stop in merged(spans)
            if start < end
        ]
        at = 0
        for start, stop in [*merged([span for spans in self._parts.values() for span in spans]), (end, end)]:
            if at < min(start, end) and _blank(source, at, min(start, end)):
                found.append(Claim(at, min(start, end) - at, "padding"))
            at = max(at, stop)
        return found


def merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (start, end) stretches in order, those that touch or overlap as one."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if found and start <= found[-1][1]:
            if stop > found[-1][1]:
                found[-1] = found[-1][0], stop
        else:
            found.append((start, stop))
    return found


def _blank(source: Source, start: int, end: int) -> bool:
    """Tell whether a stretch holds only zeros; its ends are looked at first, since most that do not show it there."""
    if source.pread(start, 1) != b"\0" or source.pread(end - 1, 1) != b"\0":
        return False
    return all(
        data.count(0) == len(data)
        for offset, length in source.filled(start, end - start)
        for data in source.chunks(offset, length)
    )
