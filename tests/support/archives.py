"""What every reader of an archive has to do with a good one."""

from __future__ import annotations

import random
from pathlib import Path

from assay.unpack.base import BytesSource, Entry, Format, Limits, Problem, Reader, Window

NOISE = random.Random(5).randbytes(200_000)


def tree(folder: Path) -> dict[bytes, bytes | None]:
    """Make a folder of files; return the contents by name, None for directories."""
    (folder / "dir" / "deeper").mkdir(parents=True)
    files = {
        "dir/text": b"".join(b"line %d of a text\n" % number for number in range(60_000)),
        "dir/empty": b"",
        "dir/deeper/noise": NOISE,
        "dir/deeper/zeros": bytes(300_000),
        "dir/small": b"x",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {b"dir": None, b"dir/deeper": None} | {name.encode(): data for name, data in files.items()}


def content(reader: Reader, entry: Entry) -> bytes | None:
    """Return an entry's bytes, None if it has none; its chunks are not too long."""
    if entry.locator is None:
        return None
    chunks = list(reader.open(entry.locator))
    assert all(0 < len(chunk) <= 1 << 20 for chunk in chunks)
    return b"".join(chunks)


def stands(format: Format, data: bytes, limits: Limits | None = None) -> list[tuple[Entry | Problem, bytes | None]]:
    """Return the listing with the bytes of each entry, after a check of all that does not depend on the format.

    It is read as it is and at an odd offset of something bigger, which changes neither entries nor claims, and the
    claims end where the archive does; backwards, by a reader that has listed nothing; and what it says lies in place
    does.
    """
    limits = limits or Limits()
    reader = format.open(BytesSource(data), limits)
    listed = list(reader.entries())
    assert list(reader.entries()) == listed
    found = [(item, content(reader, item) if isinstance(item, Entry) else None) for item in listed]
    claims = reader.claims()
    assert max(claim.offset + claim.length for claim in claims) == len(data)

    bigger = BytesSource(NOISE[:1001] + data + b"PK\5\6 something else " + NOISE[:5000])
    inside = format.open(Window(bigger, 1001, bigger.size), limits)
    assert list(inside.entries()) == listed
    assert inside.claims() == claims

    fresh = format.open(Window(bigger, 1001, bigger.size), limits)
    for item, expected in reversed(found):
        if isinstance(item, Entry) and item.locator is not None:
            assert content(fresh, item) == expected
            assert item.size in (None, len(expected or b""))
            span = fresh.span(item.locator)
            assert span is None or data[span[0] : sum(span)] == expected
            assert fresh.stored(item.locator) == reader.stored(item.locator)
    return found


def contents(found: list[tuple[Entry | Problem, bytes | None]]) -> dict[bytes, bytes | None]:
    """Return the bytes of each regular file by its path, None for directories."""
    assert not [item for item, _ in found if isinstance(item, Problem)]
    return {item.path: data for item, data in found if isinstance(item, Entry)}
