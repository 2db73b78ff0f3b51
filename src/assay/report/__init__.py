"""Reports, one file per format, all out of the record alone. See `base` for the contract."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import TextIO

from assay.record import RecordError

from .base import Report


@cache
def reports() -> dict[str, Report]:
    """Return every report format by name.

    Raises:
        ValueError: two modules define the same format.
    """
    found: dict[str, Report] = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        for value in vars(loaded).values():
            if isinstance(value, Report) and found.setdefault(value.name, value) is not value:
                raise ValueError(f"report {value.name} is defined twice")
    return dict(sorted(found.items()))


def render(record: Path, format: str, out: Path | TextIO) -> None:
    """Write a report.

    Args:
        record: the record's file.
        format: name of the format, one of `reports()`.
        out: a file, which is replaced only when the report is whole; or a text stream.

    Raises:
        KeyError: there is no such format.
        RecordError: not a record, or a damaged one.
        OSError: the file cannot be written.
    """
    report = reports()[format]
    if not isinstance(out, Path):
        _write(report, record, out)
        return
    number, unfinished = tempfile.mkstemp(dir=out.parent, prefix=".assay-report-")
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="\n") as stream:
            _write(report, record, stream)
        Path(unfinished).replace(out)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def _write(report: Report, record: Path, out: TextIO) -> None:
    try:
        report.write(record, out)
    except UnicodeEncodeError:
        raise  # the stream's encoding, not the record
    except (sqlite3.Error, TypeError, ValueError) as error:
        # A column of a damaged or meddled record can hold anything at all, whatever type it is declared with.
        raise RecordError(f"{record}: is damaged: {error}") from error


__all__ = ["Report", "render", "reports"]
