from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from assay.examine.worker import kind_of

from .support import examined, rows


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "empty"),
        (b"\x7fELF\1", "elf"),
        (b"#!/bin/sh\n", "script"),
        ("größer\n".encode() * 900, "text"),
        ("größer ÿ\n".encode("latin-1") * 900, "text"),
        (b"text\0", "data"),
        (b"text\1", "data"),
        (b"\xff" * 8192, "data"),
        (b"env=1\n" + b"\xff" * 8192, "data"),
    ],
)
def test_at_first_sight(head: bytes, kind: str) -> None:
    assert kind_of(head, len(head)) == kind


def test_a_dump_that_begins_erased_is_searched(tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(b"\xff" * 70_000 + gzip.compress(b"found " * 9000, mtime=0) + b"\xff" * 333)
    examined(tmp_path / "dump", tmp_path / "record")
    assert (54_000,) in rows(tmp_path / "record", "SELECT size FROM content")
