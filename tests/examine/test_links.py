"""Hard links that a container states by name: the same bytes as what they name, or as little."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from .support import assert_accounted, examined, rows, unread


def tar(entries: list[tuple[str, bytes, bytes | str]]) -> bytes:
    """Return a tar of (name, type, body or link target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, type, body in entries:
            entry = tarfile.TarInfo(name)
            entry.type = type
            if isinstance(body, str):
                entry.linkname = body
            else:
                entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body if isinstance(body, bytes) else b""))
    return out.getvalue()


def test_a_hard_link_has_the_bytes_of_the_last_entry_of_that_name_before_it(tmp_path: Path) -> None:
    file, link, fifo, symlink = tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE
    image = tmp_path / "image.tar"
    image.write_bytes(
        tar([
            ("a", file, b"bytes of a"),
            ("to-a", link, "a"),
            ("to-link", link, "./to-a"),
            ("symlink", symlink, "a"),
            ("to-symlink", link, "symlink"),
            ("to-that", link, "to-symlink"),
            ("fifo", fifo, b""),
            ("to-fifo", link, "fifo"),
            ("twice", file, b"first"),
            ("to-first", link, "twice"),
            ("twice", file, b"second"),
            ("to-second", link, "twice"),
            ("to-nothing", link, "nothing"),
            ("to-itself", link, "to-itself"),
            ("to-later", link, "later"),
            ("later", file, b"later"),
        ])
    )  # fmt: skip
    record = tmp_path / "r.assay"
    examined(image, record)
    sizes = rows(record, "SELECT f.path, c.size FROM file AS f LEFT JOIN content AS c ON c.id = f.content ORDER BY seq")
    assert sizes == [
        ("/a", 10), ("/to-a", 10), ("/to-link", 10), ("/symlink", None), ("/to-symlink", None), ("/to-that", None),
        ("/fifo", None), ("/to-fifo", None), ("/twice", 5), ("/to-first", 5), ("/twice", 6), ("/to-second", 6),
        ("/to-nothing", None), ("/to-itself", None), ("/to-later", 5), ("/later", 5),
    ]  # fmt: skip
    assert unread(record) == [("/to-itself", "entry", "malformed", None), ("/to-nothing", "entry", "malformed", None)]
    assert_accounted(record)
