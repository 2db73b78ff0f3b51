"""Write the reference pages from the code, so that they cannot say something else than it does.

tools/reference.py           write docs/reference/{facts,formats,inspectors,commands,limits,packs/*}.md
tools/reference.py --check   exit with 1 if a page is not what would be written
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from pathlib import Path

import click
import msgspec

from assay import statement
from assay.cli import cli
from assay.cli.limits import limits
from assay.cli.schema import markdown
from assay.inspect import inspectors
from assay.judge import available_packs, load_pack
from assay.record import describe
from assay.statement import TOPICS, Document
from assay.statement.template import choices
from assay.unpack import formats

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- written by tools/reference.py from the code; edit there -->\n\n"


def cell(text: str) -> str:
    """Return a text for a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


def formats_page() -> str:
    """Return the page of container formats."""
    out = ["# Formats", "", "What Assay opens, with the documents behind each reader and what it does not read.", ""]
    for name, format in sorted(formats().items()):
        out += [f"## {name}", "", f"{format.title}. Reader version {format.version}.", ""]
        out += [f"- Reference: [{r.title}]({r.url})" if r.url else f"- Reference: {r.title}" for r in format.references]
        out += [f"- Not read: {text}" for text in format.limitations] or ["- Not read: nothing that we know of."]
        out.append("")
    return "\n".join(out)


def inspectors_page() -> str:
    """Return the page of inspectors."""
    out = ["# Inspectors", "", "Who observes which family of facts.", ""]
    for title, found in zip(("One content at a time", "A whole root file system"), inspectors(), strict=True):
        out += [f"## {title}", "", "| inspector | version | families | looks at |", "| --- | --- | --- | --- |"]
        for name, inspector in sorted(found.items()):
            text = (sys.modules[inspector.inspect.__module__].__doc__ or "").split("\n\n")[0]
            families = ", ".join(family.table() for family in inspector.families)
            out.append(f"| [{name}](#{name}) | {inspector.version} | {families} | {cell(text)} |")
        out.append("")
    for found in inspectors():
        for name, inspector in sorted(found.items()):
            text = inspect.cleandoc(sys.modules[inspector.inspect.__module__].__doc__ or "")
            out += [f"## {name}", "", text, ""]
            if inspector.unseen:
                out += [*(f"- Cannot see: {line}" for line in inspector.unseen), ""]
    return "\n".join(out)


def commands_page() -> str:
    """Return the page of commands: the help text of each."""
    out = ["# Commands", "", inspect.cleandoc(cli.help or ""), ""]
    context = click.Context(cli, info_name="assay", **cli.context_settings)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        out += command_text(name, command, context)
    return "\n".join(out)


def command_text(name: str, command: click.Command, parent: click.Context) -> list[str]:
    """Return the section of a command, and of its own commands if it has any."""
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100)
    text = command.get_help(context)
    out = [f"## {context.command_path}", "", "```text", *[line.rstrip() for line in text.splitlines()], "```", ""]
    for part, inner in sorted(getattr(command, "commands", {}).items()):
        out += command_text(part, inner, context)
    return out


def statement_page() -> str:
    """Return the page of statements: the fields of the document and of each topic."""
    topics = {topic.topic for topic in TOPICS}
    out = ["# Statement", "", " ".join((statement.__doc__ or "").split()), ""]
    out += ["A statement is TOML or JSON. Unknown fields are refused; text is at most 2,000 characters.", ""]
    out += _fields([field for field in msgspec.structs.fields(Document) if field.name not in topics])
    for topic in TOPICS:
        out += [f"## {topic.topic}", "", " ".join((topic.__doc__ or "").split()), ""]
        out += _fields(msgspec.structs.fields(topic))
        out += ["```toml", f"[[{topic.topic}]]", *topic.example.splitlines(), "```", ""]
    out += ["## SBOM", "", "CycloneDX and SPDX in JSON declare `sbom` entries: name, version, purl, licences.", ""]
    return "\n".join(out)


def _fields(fields: Iterable[msgspec.structs.FieldInfo]) -> list[str]:
    out = ["| field | needed | meaning |", "| --- | --- | --- |"]
    for field in fields:
        texts = [meta.description for meta in getattr(field.type, "__metadata__", ()) if meta.description]
        meaning = cell((texts[-1] if texts else "") + choices(field))
        out.append(f"| {field.name} | {'yes' if field.required else 'no'} | {meaning} |")
    return [*out, ""]


def limits_page() -> str:
    """Return the page of limits."""
    out = [
        "# Limits",
        "",
        "What is limited while reading hostile input. `assay examine --limit NAME=VALUE` sets one.",
        "",
    ]
    out += ["| name | default | what |", "| --- | --- | --- |"]
    out += [f"| {name} | {value:,} | {cell(text)} |" for name, value, text in limits()]
    return "\n".join([*out, ""])


def pack_page(name: str) -> str:
    """Return the page of a rule pack."""
    pack = load_pack(name)
    out = [f"# {pack.name}", "", pack.title, "", pack.notes.strip(), ""]
    for rule in pack.rules:
        out += [f"## {rule.id}", "", f"**{rule.title}**", ""]
        facts = {
            "Clause": " ".join(filter(None, (rule.document, rule.clause, rule.test_case))),
            "Criteria": ", ".join(rule.criteria),
            "Evidence it can use": ", ".join(rule.classes),
            "Power of an image": rule.power,
            "Severity": rule.severity,
            "Facts it reads": ", ".join(rule.families),
            "Digest": rule.digest,
        }
        out += [f"- {key}: {value}" for key, value in facts.items() if value] + [""]
        out += [f"What it checks: {cell(rule.check)}", "", f"What it cannot see: {cell(rule.limits)}", ""]
        out += [f"What clears a finding: {cell(rule.remedy)}", ""]
        out += [f"Missing {letter}: {cell(text)}\n" for letter, text in rule.missing.items()]
        out += [f"- {cell(reference)}" for reference in rule.references] + [""]
    return "\n".join(out)


def pages() -> dict[Path, str]:
    """Return every page by its file."""
    found = {
        FOLDER / "facts.md": markdown(describe()),
        FOLDER / "formats.md": formats_page(),
        FOLDER / "inspectors.md": inspectors_page(),
        FOLDER / "commands.md": commands_page(),
        FOLDER / "limits.md": limits_page(),
        FOLDER / "statement.md": statement_page(),
    }
    found |= {FOLDER / "packs" / f"{name}.md": pack_page(name) for name in available_packs()}
    return {path: NOTE + text.rstrip() + "\n" for path, text in found.items()}


def main(check: bool) -> int:
    """Write the pages, or check that they are what would be written; return the exit code."""
    stale = 0
    for path, text in pages().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            sys.stderr.write(f"{path}: is not up to date; run tools/reference.py\n")
            stale = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
