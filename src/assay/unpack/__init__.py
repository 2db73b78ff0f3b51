"""Containers, one file per format: bytes in, entries out. See `base` for the contract."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from .base import Format, Limits, NotThisFormat, Reader, Source, UnpackError

HEAD = 68 * 1024
"""Bytes from the start of a source in which magics are looked for (ISO 9660 at 32 KiB and btrfs at 64 KiB fit)."""


@cache
def formats() -> dict[str, Format]:
    """Return every format by name, the ones to be tried first at the front.

    Raises:
        ValueError: two modules define the same format.
    """
    found: dict[str, Format] = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        for value in vars(loaded).values():
            if isinstance(value, Format) and found.setdefault(value.name, value) is not value:
                raise ValueError(f"format {value.name} is defined twice")
    return dict(sorted(found.items(), key=lambda item: (-item[1].priority, item[0])))


@cache
def _by_magic() -> tuple[dict[int, dict[bytes, list[Format]]], dict[int, list[int]], list[Format]]:
    table: dict[int, dict[bytes, list[Format]]] = {}
    lengths: dict[int, set[int]] = {}
    tails = []
    for format in formats().values():
        for offset, magic in format.magics:
            table.setdefault(offset, {}).setdefault(magic, []).append(format)
            lengths.setdefault(offset, set()).add(len(magic))
        if format.tail is not None:
            tails.append(format)
    return table, {offset: sorted(sizes) for offset, sizes in lengths.items()}, tails


def candidates(head: bytes) -> list[Format]:
    """Return the formats whose magic matches the first bytes of a source, the ones to be tried first at the front."""
    table, lengths, _ = _by_magic()
    found: dict[str, Format] = {}
    size = len(head)
    for offset, magics in table.items():
        if offset < size:
            for length in lengths[offset]:
                for format in magics.get(head[offset : offset + length], ()):
                    found[format.name] = format
    return sorted(found.values(), key=lambda format: -format.priority) if len(found) > 1 else list(found.values())


def identify(source: Source, limits: Limits, head: bytes | None = None) -> Reader | None:
    """Open a source with the first format that claims it.

    Args:
        source: the bytes.
        limits: limits for the reader.
        head: its first `HEAD` bytes, if they are at hand.

    Returns:
        A reader, or None if no format claims the source.

    Raises:
        UnpackError: a format (named in the error's `format`) claims the source but cannot open it.
    """
    if head is None:
        head = source.pread(0, HEAD)
    seen = candidates(head)
    whole = source.size <= len(head)
    tails = [
        format
        for format in _by_magic()[2]
        if source.size >= format.smallest
        and not (whole and format.tail is not None and format.tail not in head)
        and format not in seen
    ]
    for format in sorted([*seen, *tails], key=lambda format: -format.priority):
        try:
            return format.open(source, limits)
        except NotThisFormat:
            continue
        except UnpackError as error:
            error.format = format.name
            raise
    return None
