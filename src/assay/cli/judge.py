"""`assay judge`: judge a record again, by other packs or newer rules; the image is not needed."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ._common import exit_code, fail_on_option, json_option, judged, packs_option, record_argument


@click.command()
@record_argument
@packs_option
@fail_on_option
@json_option
def command(record: Path, packs: tuple[str, ...], fail_on: str, as_json: bool) -> int:
    """Judge RECORD by rule packs and add the verdicts to it.

    A verdict is pass, fail, not-applicable, or undetermined with the evidence that is missing. Earlier verdicts stay in
    the record.
    """
    from assay.report.base import CLASSES, counted

    verdicts = judged(record, packs)
    if as_json:
        rows = [
            {
                "rule": v.rule.name,
                "title": v.rule.title,
                "severity": v.rule.severity,
                "verdict": v.verdict,
                "missing": v.missing,
                "reason": v.reason,
                "findings": v.findings,
            }
            for v in verdicts
        ]
        click.echo(json.dumps(rows, indent=1))
    else:
        width = max((len(v.rule.name) for v in verdicts), default=0)
        for v in verdicts:
            needs = ", ".join(CLASSES[letter][0] if letter in CLASSES else letter for letter in v.missing)
            more = f" ({counted(v.findings, 'finding')})" if v.findings else f" (needs: {needs})" if needs else ""
            click.echo(f"{v.verdict:14}  {v.rule.name:{width}}  {v.rule.title}{more}")
    return exit_code(verdicts, fail_on)
