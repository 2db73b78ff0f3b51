"""`assay examine`: a release goes in; a record, verdicts and a report come out."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import click
import msgspec

from assay.unpack.base import Limits
from assay.unpack.secrets import Secrets

from . import INTERRUPTED, SHORTFALL, Fault
from ._common import exit_code, fail_on_option, json_option, judged, packs_option, usable
from ._progress import shown


def _limits(pairs: tuple[str, ...]) -> Limits:
    values = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in Limits.__struct_fields__:
            raise Fault(f"--limit {pair}: no such limit; there are {', '.join(Limits.__struct_fields__)}")
        if not value.isdecimal() or int(value) < 1:
            raise Fault(f"--limit {pair}: needs a whole number above 0, as in --limit {name}=1000")
        values[name] = int(value)
    return msgspec.structs.replace(Limits(), **values)


MAX_SECRET = 1 << 20
"""Bytes of one file of passwords, or of one key file."""


def _secrets(password_files: tuple[Path, ...], passwords: tuple[str, ...], keys: tuple[Path, ...]) -> Secrets:
    def read(option: str, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                data = file.read(MAX_SECRET + 1)
        except OSError as error:
            raise Fault(f"{option} {path}: cannot be read: {error.strerror}") from error
        if len(data) > MAX_SECRET:
            raise Fault(f"{option} {path}: is larger than {MAX_SECRET} bytes; no such file of secrets is expected")
        return data

    lines = [line.removesuffix(b"\r") for path in password_files for line in read("--password-file", path).split(b"\n")]
    given = [*(line for line in lines if line), *(os.fsencode(text) for text in passwords)]
    return Secrets(tuple(dict.fromkeys(given)), tuple(read("--key", path) for path in keys))


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The record [NAME.assay, in this folder].")
@click.option("--replace", is_flag=True, help="Replace a finished record (an unfinished one is always continued).")
@packs_option
@click.option("--no-judge", is_flag=True, help="Collect facts only.")
@click.option(
    "--report", "reports", multiple=True, metavar="FORMAT", help="Also write NAME.FORMAT; may be repeated [html]."
)
@click.option("--no-report", is_flag=True, help="Write no report.")
@click.option(
    "--statement", "statements", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="What the supplier declares: a statement (`assay statement new`), CycloneDX or SPDX; may be repeated.",
)  # fmt: skip
@fail_on_option
@click.option("--limit", multiple=True, metavar="NAME=VALUE", help="Set a limit; may be repeated. See `assay limits`.")
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes [one a processor].")
@click.option(
    "--no-sandbox", is_flag=True, help="Work even where workers cannot be fully confined (the record says so)."
)
@click.option("--cache", type=click.Path(path_type=Path), help="Folder of the fact cache [~/.cache/assay].")
@click.option("--no-cache", is_flag=True, help="Neither use nor fill the fact cache.")
@click.option(
    "--password-file", "password_files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Passwords for what is encrypted, one a line; may be repeated.",
)  # fmt: skip
@click.option(
    "--password", "passwords", multiple=True, metavar="TEXT",
    help="A password; may be repeated. Other users of this machine can see it: better use --password-file.",
)  # fmt: skip
@click.option(
    "--key", "keys", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="A key file to open with what is encrypted, or a public key or certificate to verify signatures with; may be "
    "repeated.",
)  # fmt: skip
@click.option("--spool", type=click.Path(path_type=Path), help="Folder for temporary files [the system's].")
@json_option
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def command(
    paths: tuple[Path, ...],
    output: Path | None,
    replace: bool,
    packs: tuple[str, ...],
    no_judge: bool,
    reports: tuple[str, ...],
    no_report: bool,
    statements: tuple[Path, ...],
    fail_on: str,
    limit: tuple[str, ...],
    workers: int | None,
    no_sandbox: bool,
    cache: Path | None,
    no_cache: bool,
    password_files: tuple[Path, ...],
    passwords: tuple[str, ...],
    keys: tuple[Path, ...],
    spool: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Examine a release: one or more files or directories.

    Everything in it is unpacked in place, every fact goes into one record, the record is judged by rule packs, and a
    report is written beside it. An examination that was interrupted is continued by the same command.
    """
    from assay.examine import ExamineError, SandboxUnavailable, examine, keep_apart
    from assay.folders import cache_folder
    from assay.report import render
    from assay.report import reports as known
    from assay.statement import StatementError, add, read

    limits = _limits(limit)
    secrets = _secrets(password_files, passwords, keys)
    formats = () if no_report else (reports or ("html",))
    for name in formats:
        if name not in known():
            raise Fault(f"--report {name}: no such format; there are {', '.join(known())}")
    record = output or Path(_stem(paths[0]) + ".assay")
    if record.parent != Path() and not record.parent.is_dir():
        raise Fault(f"{record.parent}: no such folder; make it, or choose another with -o")
    if not no_judge:
        usable(packs)
    try:
        given = [read(path) for path in statements]
    except StatementError as error:
        raise Fault(str(error)) from error
    try:
        keep_apart(paths, [record, *(record.with_suffix(known()[name].suffix) for name in formats)])
    except ExamineError as error:
        raise Fault(str(error)) from error
    if record.is_file() and _finished(record):
        if not replace:
            raise Fault(
                f"{record}: holds a finished examination; --replace makes it anew, -o chooses another name, "
                f"`assay judge` and `assay report` work on it as it is"
            )
        record.unlink()
    try:
        with shown(quiet) as progress:
            outcome = examine(
                paths,
                record,
                limits=limits,
                workers=workers,
                sandbox=not no_sandbox,
                cache=None if no_cache else (cache or cache_folder()),
                spool=spool,
                progress=progress,
                secrets=secrets,
            )
    except ExamineError as error:
        raise Fault(str(error)) from error
    except SandboxUnavailable as error:
        raise Fault(
            f"workers cannot be confined here ({error}); allow it, or work without by --no-sandbox (the record says so)"
        ) from error
    except KeyboardInterrupt:
        click.echo(f"assay: interrupted; the same command continues {record}", err=True)
        return INTERRUPTED
    written = []
    try:
        for statement in given:
            add(record, statement)
        verdicts = [] if no_judge else judged(record, packs)
        for name in formats:
            path = record.with_suffix(known()[name].suffix)
            render(record, name, path)
            written.append(path)
    except KeyboardInterrupt:
        click.echo(
            f"assay: interrupted after the examination, which {record} holds whole; "
            "`assay judge` and `assay report` do the rest",
            err=True,
        )
        return INTERRUPTED
    if as_json:
        summary = {**dataclasses.asdict(outcome), "record": str(record), "reports": [str(p) for p in written]}
        summary["verdicts"] = [
            {"rule": v.rule.name, "verdict": v.verdict, "missing": v.missing, "findings": v.findings} for v in verdicts
        ]
        click.echo(json.dumps(summary))
    elif not quiet:
        render(record, "terminal", sys.stdout)
        for path in written:
            click.echo(f"  report  {path}")
    return SHORTFALL if outcome.unread else exit_code(verdicts, fail_on)


def _stem(path: Path) -> str:
    name = path.resolve().name or "release"
    for suffix in (".gz", ".xz", ".zst", ".bz2"):
        name = name.removesuffix(suffix)
    return name.rpartition(".")[0] if "." in name.lstrip(".") and not path.is_dir() else name


def _finished(record: Path) -> bool:
    from assay.record import Record

    with Record(record) as opened:
        sql = "SELECT count(*) FROM run WHERE command = 'examine' AND finished IS NOT NULL"
        return bool(opened.db.execute(sql).fetchone()[0])
