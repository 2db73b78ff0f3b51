"""Following chains of clusters through a file allocation table: what FAT and exFAT have in common."""

from __future__ import annotations

from collections.abc import Sequence


class Chain(list[tuple[int, int]]):
    """Stretches of clusters (first, number) of a file."""

    fault: str | None = None
    """Why there are no more: None if it ended by itself, empty if it ended where it was to, else what is wrong."""


def follow(
    table: Sequence[int], top: int, mask: int, first: int, most: int, parts: bytearray | None = None, mark: int = 0
) -> Chain:
    """Return a chain of clusters.

    A cycle ends where a stretch begins for the second time, so no more than one lap is walked in vain.

    Args:
        table: the next cluster of each; the eight highest values end a chain.
        top: number beyond the last cluster.
        mask: bits of an entry that count.
        first: where it begins.
        most: clusters after which it ends.
        parts: a byte for each cluster. The chain's get `mark`, and it ends where one is not zero.
        mark: see `parts`.
    """
    chain = Chain()
    starts: set[int] = set()
    cluster, total = first, 0
    while total < most:
        if not 2 <= cluster < top:
            if cluster < mask - 7:
                chain.fault = f"cluster {cluster} of {top} after {total}"
            return chain
        if cluster in starts:
            chain.fault = f"the chain returns to cluster {cluster}"
            return chain
        starts.add(cluster)
        begin = at = cluster
        room = most - total
        while True:
            if parts is not None:
                if parts[at]:
                    chain.fault = f"cluster {at} is also of another file or place"
                    break
                parts[at] = mark
            cluster = table[at] & mask
            at += 1
            if cluster != at or at >= top or at - begin >= room:
                break
        if at > begin:
            chain.append((begin, at - begin))
            total += at - begin
        if chain.fault:
            return chain
    chain.fault = "" if cluster >= mask - 7 else f"the chain goes on after {total} clusters"
    return chain
