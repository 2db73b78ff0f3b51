"""What the documentation shows exists: links, commands, options, make targets, tables and columns."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from assay.cli import cli
from assay.record.schema import ddl

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [
    ROOT / "README.md",
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if "reference" not in p.relative_to(ROOT).parts),
]


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    assert [t for t in targets if t and "://" not in t and not (page.parent / t).exists()] == []


def commands() -> set[str]:
    """Return every `assay VERB --options` that the pages show."""
    text = "\n".join(page.read_text() for page in PAGES)
    return set(re.findall(r"^\$ (assay [a-z]+[^\n\"]*)", text, re.MULTILINE))


def test_commands_and_options_exist() -> None:
    wrong = []
    for verb in sorted({command.split()[1] for command in commands()}):
        helped = CliRunner().invoke(cli, [verb, "--help"])
        parts = getattr(cli.get_command(click.Context(cli), verb), "commands", {})
        output = helped.output + "".join(CliRunner().invoke(cli, [verb, part, "--help"]).output for part in parts)
        options = {
            option
            for command in commands()
            if command.split()[1] == verb
            for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", command)
        }
        known = set(re.findall(r"--?[a-z][a-z-]*", output))
        wrong += [f"{verb} {option}" for option in options - known] if helped.exit_code == 0 else [verb]
    assert wrong == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"(?:`|\$ )make ([a-z]+)", "\n".join(page.read_text() for page in PAGES)))
    assert shown - targets == set()


def test_every_page_of_how_to_is_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    pages = [page for page in PAGES if page.parent.name == "how-to"]
    assert [name for name in names(pages) if name not in readme] == []


def test_queries_run_on_a_record() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    blocks = re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    queries = [query for block in blocks for query in block.split(";") if query.strip()]
    queries += re.findall(r'^\$ assay query \S+ "([^"]*)"', text, re.MULTILINE)
    with sqlite3.connect(":memory:") as record:
        for part in ddl():
            for statement in part:
                record.execute(statement)
        for query in queries:
            if "..." not in query:
                record.execute(query).fetchall()
    record.close()
    assert len(queries) >= 9
