"""`assay statement`: what whoever supplies a release declares about it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from . import Fault
from ._common import json_option, record_argument


@click.group()
def command() -> None:
    """Write, check and add statements: what a supplier declares about a release."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--record", type=click.Path(path_type=Path), help="Begin with what this record found, to be explained or denied."
)
def new(file: Path | None, record: Path | None) -> int:
    """Write a template (to FILE, or to standard output) with every field explained."""
    from assay.record import reader
    from assay.statement import template

    found: dict[str, list[str]] | None = None
    if record is not None:
        found = {}
        with reader(record) as db:
            for topic, key in db.execute("SELECT DISTINCT topic, key FROM found ORDER BY topic, key"):
                found.setdefault(topic, []).append(key)
    text = template(found)
    if file is None:
        click.echo(text, nl=False)
        return 0
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as error:
        raise Fault(f"{file}: is there already; choose another name, or remove it") from error
    click.echo(f"{file}: a template; `assay statement check {file}` reads it when it is filled in")
    return 0


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def check(file: Path, as_json: bool) -> int:
    """Read a statement or an SBOM, and say what it declares."""
    from assay.statement import StatementError, read

    try:
        given = read(file)
    except StatementError as error:
        raise Fault(str(error)) from error
    counts: dict[str, int] = {}
    for topic, *_ in given.declared:
        counts[topic] = counts.get(topic, 0) + 1
    if as_json:
        click.echo(
            json.dumps({"file": str(file), "format": given.format, "complete": given.topics, "declared": counts})
        )
    else:
        listed = ", ".join(f"{n} {topic}" for topic, n in counts.items()) or "nothing"
        click.echo(f"{file}: {given.format}, declares {listed}; complete: {', '.join(given.topics) or 'no topic'}")
    return 0


@command.command()
@record_argument
@click.argument("file", type=click.Path(path_type=Path))
def add(record: Path, file: Path) -> int:
    """Add a statement or an SBOM to a record. What the record holds stays as it is; judge it again afterwards."""
    from assay.statement import StatementError, read
    from assay.statement import add as put

    if not record.is_file():
        raise Fault(f"{record}: no such record; `assay examine` makes one")
    try:
        given = read(file)
    except StatementError as error:
        raise Fault(str(error)) from error
    added = put(record, given)
    click.echo(f"{record}: {f'declared: {len(given.declared)}' if added else 'has this statement already'}")
    return 0
