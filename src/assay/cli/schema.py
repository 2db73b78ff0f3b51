"""`assay schema`: every family of facts with its columns, units and source."""

from __future__ import annotations

import json

import click

from ._common import json_option


def markdown(families: list[dict[str, object]]) -> str:
    """Return the families as the reference page shows them."""
    out = ["# Facts", "", "Every family is a table of the record; a view is a table that is computed when read.", ""]
    about = {
        "record": "About the examination.",
        "content": "About a content, wherever its bytes appear.",
        "tree": "About a root file system.",
        "view": "A view.",
    }
    for family in families:
        out += [f"## {family['name']}", "", f"{family['text']} {about[str(family['about'])]}", ""]
        if family["source"] and family["about"] != "view":
            out += [f"Source: {family['source']}.", ""]
        columns = family["columns"]
        assert isinstance(columns, list)
        if columns:
            out += ["| column | type | what |", "| --- | --- | --- |"]
            for column in columns:
                unit = f" [{column['unit']}]" if column["unit"] else ""
                null = ", may be empty" if column["null"] else ""
                text = str(column["text"]).replace("|", "\\|")
                out.append(f"| {column['name']} | {column['type']}{null} | {text}{unit} |")
            out.append("")
    return "\n".join(out)


@click.command()
@click.argument("family", required=False)
@json_option
def command(family: str | None, as_json: bool) -> int:
    """Print every family of facts (or FAMILY): its columns with units, and the source that defines them."""
    from assay.record import describe

    from . import Fault

    listed = [f for f in describe() if family in (None, f["name"])]
    if not listed:
        raise Fault(f"{family}: no such family; there are {', '.join(str(f['name']) for f in describe())}")
    click.echo(json.dumps(listed, indent=1) if as_json else markdown(listed))
    return 0
