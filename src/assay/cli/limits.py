"""`assay limits`: what is limited while reading hostile input."""

from __future__ import annotations

import ast
import inspect
import json

import click

from ._common import json_option


def limits() -> list[tuple[str, int, str]]:
    """Return every limit: name, default, and what it limits (the text beside its declaration)."""
    from assay.unpack.base import Limits

    (tree,) = ast.parse(inspect.getsource(Limits)).body
    assert isinstance(tree, ast.ClassDef)
    texts = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            texts[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    default = Limits()
    return [(name, getattr(default, name), texts.get(name, "")) for name in Limits.__struct_fields__]


@click.command()
@json_option
def command(as_json: bool) -> int:
    """Print every limit on hostile input, with its default. `assay examine --limit NAME=VALUE` sets one."""
    if as_json:
        click.echo(json.dumps([dict(zip(("name", "default", "text"), row, strict=True)) for row in limits()], indent=1))
    else:
        for name, value, text in limits():
            click.echo(f"{name:16} {value:>15}  {text}")
    return 0
