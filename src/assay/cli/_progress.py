"""Progress on a terminal: bytes, files, what is being read, time left. Nothing where standard error is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.examine import Progress


@contextmanager
def shown(quiet: bool = False) -> Iterator[Progress | None]:
    """Show progress while the body runs."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Display:
        """Hands what the scheduler tells to the bar. No thread: it is redrawn when told something."""

        def __init__(self, bar: Bar) -> None:
            self.bar = bar
            self.begun = False
            self.task = bar.add_task("", total=None, files="", what=Text(""))

        def update(self, done: int, total: int, files: int, files_total: int, what: str) -> None:
            name = "".join(c if c.isprintable() else "?" for c in what)
            room = max(10, bar.console.width - 90)
            shown = name if len(name) <= room else "…" + name[-room + 1 :]
            told = Text(shown, style="dim", no_wrap=True)
            if files_total or not self.begun:
                self.begun = bool(files_total)
                counted = f"{files:,}/{max(files, files_total):,} files"
                self.bar.update(self.task, completed=done, total=max(total, done) or None, files=counted, what=told)
            else:  # every file is read, and what follows has no bytes to count: the figures stay
                self.bar.update(self.task, what=told)
            self.bar.refresh()

    class What(TextColumn):
        """The place being read: text from an image, so never markup."""

        def render(self, task: object) -> Text:
            found = task.fields["what"]  # type: ignore[attr-defined]
            assert isinstance(found, Text)
            return found

    bar = Bar(
        BarColumn(bar_width=24),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[files]}"),
        What(""),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
    )
    with bar:
        yield Display(bar)
