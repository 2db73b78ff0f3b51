"""`assay query`: ask a record in SQL."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ._common import record_argument


def _text(value: object) -> str:
    """Return a value for a table: bytes as hexadecimal, control characters visible, nothing for NULL."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    from assay.report.base import visible

    return visible(str(value))


@click.command()
@record_argument
@click.argument("sql")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How rows are printed; a table is tabs where output is no terminal.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--seconds", type=float, help="Stop the query after this time.")
def command(record: Path, sql: str, form: str, as_json: bool, seconds: float | None) -> int:
    """Run a SELECT on RECORD. Tables and columns: `assay schema`. Nothing can be changed this way."""
    from assay.record import query

    names, rows = query(record, sql, seconds)
    if as_json or form == "json":
        _json(names, rows)
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([value.hex() if isinstance(value, bytes) else value for value in row] for row in rows)
    else:
        _table(names, rows)
    return 0


def _json(names: list[str], rows: Iterator[tuple[object, ...]]) -> None:
    lead = "["
    for row in rows:
        values = (value.hex() if isinstance(value, bytes) else value for value in row)
        sys.stdout.write(lead + "\n " + json.dumps(dict(zip(names, values, strict=True))))
        lead = ","
    sys.stdout.write("[]\n" if lead == "[" else "\n]\n")


def _table(names: list[str], rows: Iterator[tuple[object, ...]]) -> None:
    if not sys.stdout.isatty():
        # for pipes: tabs, as they come
        sys.stdout.write("\t".join(names) + "\n")
        for row in rows:
            sys.stdout.write("\t".join(map(_text, row)) + "\n")
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(Text(_text(name)), overflow="fold")
    for row in rows:
        table.add_row(*[Text(_text(value)) for value in row])
    Console().print(table)
