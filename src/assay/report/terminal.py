"""The report for a person at a terminal, or for a log file: one screen or two, plain where it is not a terminal.

Source: none; the layout is our own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .base import CLASSES, SEVERITIES, VERDICTS, Report, counted, opened, place, quantity, shortened
from .lists import LISTS
from .summary import Artefact, Summary, summarise

STYLES = {
    "critical": "bold red",
    "high": "red",
    "medium": "yellow",
    "low": "cyan",
    "info": "dim",
    "fail": "red",
    "undetermined": "yellow",
    "pass": "green",
    "not-applicable": "dim",
}
PATH, SENTENCE = 120, 300
"""Characters of a path and of a sentence that are shown; the other formats have the whole."""
ARTEFACTS = 12
"""Artefacts that are named one by one."""


class Page:
    """A stream that takes headings, lines and tables, all of untrusted text."""

    def __init__(self, out: TextIO) -> None:
        self.rich = out.isatty()
        self.encoding = getattr(out, "encoding", None) or "utf-8"
        width = None if self.rich else 10_000
        self.console = Console(
            file=out, width=width, highlight=False, markup=False, emoji=False, soft_wrap=not self.rich
        )
        self.out = out

    def text(self, text: str, limit: int = SENTENCE, style: str = "") -> Text:
        """Return a text that is safe to show: nothing in it is a control sequence or markup."""
        shown = shortened(text, limit).encode(self.encoding, "backslashreplace").decode(self.encoding)
        return Text(shown, style=style)

    def line(self, text: str, style: str = "", indent: int = 0) -> None:
        """Write one line."""
        if self.rich:
            self.console.print(Padding(self.text(text, style=style), (0, 0, 0, indent)))
        else:
            self.out.write(f"{' ' * indent}{self.text(text).plain}\n")

    def heading(self, text: str) -> None:
        """Write a heading with a blank line before it."""
        self.line("")
        self.line(text, "bold")

    def table(self, columns: list[str], rows: list[list[str]], limits: dict[str, int] | None = None) -> None:
        """Write a table: numbers to the right, verdicts and severities in their colours.

        Args:
            columns: titles; one that begins with '#' (not shown) is a column of numbers.
            rows: as many texts each.
            limits: characters shown in a column, by title; `SENTENCE` in the others.
        """
        cells = [
            [self.text(value, (limits or {}).get(column, SENTENCE)) for column, value in zip(columns, row, strict=True)]
            for row in rows
        ]
        titles = [column.removeprefix("#") for column in columns]
        if not self.rich:
            widths = [max([len(t), *(len(row[i].plain) for row in cells)]) for i, t in enumerate(titles)]
            for texts in [titles, *([cell.plain for cell in row] for row in cells)]:
                aligned = (
                    text.rjust(width) if column[:1] == "#" else text.ljust(width)
                    for text, width, column in zip(texts, widths, columns, strict=True)
                )
                self.out.write(f"  {'  '.join(aligned).rstrip()}\n")
            return
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim", expand=False)
        for column, title in zip(columns, titles, strict=True):
            table.add_column(title, justify="right" if column[:1] == "#" else "left", overflow="fold")
        for row in cells:
            for cell in row:
                cell.stylize(STYLES.get(cell.plain, ""))
            table.add_row(*row)
        self.console.print(Padding(table, (0, 0, 0, 2)))

    def findings(self, rows: list[tuple[str, str, str, str]]) -> None:
        """Write findings (severity, rule, message, place) as a table, or where that is too wide one below the other."""
        widest = [max(len(row[i]) for row in rows) for i in range(4)]
        if not self.rich or sum(widest) + 12 <= self.console.width:
            self.table(["severity", "rule", "finding", "place"], [list(row) for row in rows], {"place": PATH})
            return
        for severity, rule, message, where in rows:
            head = self.text(f"{severity:8}", style=STYLES.get(severity, ""))
            self.console.print(Padding(Text.assemble(head, "  ", self.text(rule)), (0, 0, 0, 2)))
            self.line(message, indent=12)
            self.console.print(Padding(self.text(where, PATH, "dim"), (0, 0, 0, 12)))


def write(record: Path, out: TextIO) -> None:
    """Write the report; see `Report.write`."""
    with opened(record) as db:
        summary = summarise(db, record)
        shown = [(listing.title, listing.count(db), listing.looked(db)) for listing in LISTS]
    page = Page(out)
    page.line(summary.title, "bold")
    for artefact in summary.artefacts[:ARTEFACTS]:
        mark = f"[{artefact.id}] " if len(summary.artefacts) > 1 else ""  # as the places of its findings begin
        page.line(mark + _artefact(artefact), indent=2)
    if len(summary.artefacts) > ARTEFACTS:
        page.line(f"and {len(summary.artefacts) - ARTEFACTS:,} more in the record", "dim", indent=2)
    _completeness(page, summary)
    _verdicts(page, summary)
    page.heading("What it shows")
    page.line(" · ".join(f"{title} {rows:,}" for title, rows, _ in shown if rows) or "nothing", indent=2)
    if blank := [title for title, rows, looked in shown if not rows and not looked]:
        page.line(f"not looked for: {', '.join(blank)}", "dim", indent=2)
    _unseen(page, summary)
    page.heading("Where it is")
    page.line(f"record  {record}", indent=2)
    name = getattr(out, "name", None)
    if isinstance(name, str) and not name.startswith("<"):
        page.line(f"report  {name}", indent=2)


def _artefact(artefact: Artefact) -> str:
    parts = [
        artefact.name or f"artefact {artefact.id}",
        artefact.format or artefact.content or "no known format",
        quantity(artefact.size) if artefact.size is not None else "directory",
        f"sha256 {artefact.sha256}" if artefact.sha256 else "no digest",
    ]
    return "  ".join(shortened(part, PATH) for part in parts)


def _completeness(page: Page, summary: Summary) -> None:
    seen = summary.completeness
    page.heading("Completeness")
    declared = (
        "no container declares how many entries it has"
        if seen.declared is None
        else f"{seen.declared:,} entries declared, {seen.declared_listed:,} of them listed"
    )
    page.line(f"{counted(seen.containers, 'container')} ({seen.unfinished:,} unfinished), {declared}", indent=2)
    page.line(
        f"{seen.listed:,} listed in all; {seen.read:,} of {counted(seen.regular, 'regular file')} read, "
        f"{counted(seen.unread, 'entry')} unread, {counted(seen.inspections_failed, 'failed inspection')}; "
        f"{counted(seen.contents, 'distinct content')}, {quantity(seen.content_bytes)}",
        indent=2,
    )
    sized = [artefact for artefact in summary.artefacts if artefact.size]
    shown = sized if len(sized) <= ARTEFACTS else [artefact for artefact in sized if artefact.unknown][:ARTEFACTS]
    if len(shown) < len(sized):
        page.line(_shares("all artefacts", "their", sized), indent=2)
    for artefact in shown:
        page.line(_shares(f"artefact {artefact.id}", "its", [artefact]), indent=2)


def _shares(name: str, whose: str, artefacts: list[Artefact]) -> str:
    size = sum(artefact.size or 0 for artefact in artefacts)
    explained = _share(sum(artefact.explained for artefact in artefacts), size)
    padding = _share(sum(artefact.padding for artefact in artefacts), size)
    unknown = _share(sum(artefact.unknown for artefact in artefacts), size)
    return f"{name}: {explained} of {whose} bytes explained, {padding} padding, {unknown} unknown"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _verdicts(page: Page, summary: Summary) -> None:
    page.heading("Verdicts by criterion")
    if not summary.rules:
        page.line("Not judged: no rule has run on this record.", indent=2)
        return
    page.table(
        ["criterion", *(f"#{verdict}" for verdict in VERDICTS), "#findings"],
        [
            [c.name, *(f"{c.verdicts.get(verdict, 0):,}" for verdict in VERDICTS), f"{c.findings:,}"]
            for c in summary.criteria
        ],
    )
    total = sum(summary.severities.values())
    page.heading(
        f"Findings: {total:,} ({', '.join(f'{summary.severities.get(s, 0):,} {s}' for s in SEVERITIES)})"
        if total
        else "Findings: none"
    )
    if summary.worst:
        page.findings([(w.severity, w.rule, w.message, place(w.path, w.line, w.offset)) for w in summary.worst])
        if total > len(summary.worst):
            page.line(f"and {total - len(summary.worst):,} more in the record", "dim", indent=2)


def _unseen(page: Page, summary: Summary) -> None:
    page.heading("What was not seen")
    seen = summary.completeness
    if seen.unknown_regions:
        stretches = counted(seen.unknown_regions, "stretch")
        page.line(f"{quantity(seen.unknown_bytes)} in {stretches} that no format explains", indent=2)
    if summary.unread:
        page.table(
            ["reason", "scope", "#entries", "for example", "detail"],
            [
                [u.reason + (f" ({u.limit})" if u.limit else ""), u.scope, f"{u.entries:,}", u.example, u.detail]
                for u in summary.unread
            ],
            {"for example": PATH, "detail": PATH},
        )
    else:
        page.line("Nothing is recorded as unread.", indent=2)
    for letter, count in summary.missing.items():
        name, how = CLASSES.get(letter, ("unknown class", "see the rule"))
        page.line(f"{counted(count, 'verdict')} undetermined for want of {letter} ({name}): needs {how}", indent=2)
    for run in summary.runs:
        if run.finished is None:
            page.line(
                f"run {run.id} ({run.command}) has not finished: the record is a part of what it would be", indent=2
            )
        elif run.command == "examine" and not run.sandbox:
            page.line(f"run {run.id} ({run.command}) worked without a sandbox", indent=2)


REPORT = Report("terminal", "summary for a terminal or a log", ".txt", write)
