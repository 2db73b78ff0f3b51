"""`assay report`: write a report from a record."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from . import Fault
from ._common import record_argument


@click.command()
@record_argument
@click.option("--format", "form", default="html", show_default=True, help="html, cyclonedx, sarif, json, terminal.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The file [NAME and the format's suffix]; - for stdout."
)
def command(record: Path, form: str, output: Path | None) -> int:
    """Write a report on RECORD."""
    from assay.report import render, reports

    if form not in reports():
        raise Fault(f"--format {form}: no such format; there are {', '.join(reports())}")
    if str(output) == "-" or (output is None and form == "terminal"):
        render(record, form, sys.stdout)
        return 0
    if output is not None and not output.parent.is_dir():
        raise Fault(f"{output.parent}: no such folder; make it, or choose another with -o")
    path = output or record.with_suffix(reports()[form].suffix)
    try:
        render(record, form, path)
    except OSError as error:
        raise Fault(f"{path}: cannot be written: {error.strerror}; choose another place with -o") from error
    click.echo(path)
    return 0
