"""The report as one HTML file: no network, no framework, works from a disk, quick with tens of thousands of findings.

What stands in the page itself (overview, rules, what was not seen, how we know) is there without a script; the script
adds the lists of findings and binaries. A content security policy lets nothing run or load but the page's own style and
script, each by its digest. Everything from the record goes through Jinja's escaping, or, in the script, textContent.

Source: HTML Living Standard; Content Security Policy Level 3; WCAG 2.2 level AA.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TextIO

import jinja2
from jinja2.bccache import Bucket
from markupsafe import Markup

import assay
from assay.folders import cache_folder
from assay.report.base import (
    CLASSES,
    SEVERITIES,
    VERDICTS,
    Report,
    counted,
    dumps,
    opened,
    place,
    quantity,
    shortened,
    visible,
)
from assay.report.lists import LISTS
from assay.report.summary import MEASURES, STATES, summarise

from .payload import prose, write_facts, write_index
from .pictures import byte_maps

SPLIT = "@@DATA@@"
"""Where the streamed data stand in the template's output."""


def _finalize(value: object) -> object:
    """Make every plain text that the template puts out harmless to look at; markup is the template's own."""
    return visible(value) if type(value) is str else value


def _plain(value: object) -> str:
    """Return an option's value: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else dumps(value)


class _Compiled(jinja2.FileSystemBytecodeCache):
    """Keeps the compiled template for the next run, where a folder can be written: compiling it takes longer than all
    that is done with it.
    """

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it, or not."""
        with contextlib.suppress(OSError):
            super().dump_bytecode(bucket)


def _compiled() -> _Compiled | None:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return _Compiled(str(folder), "page-%s.jinja")


@cache
def _template() -> tuple[jinja2.Template, str, str]:
    """Return the template, the style sheet and the script."""
    here = files(__name__)
    texts = [here.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")]
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({"page.html": texts[0]}),
        bytecode_cache=_compiled(),
        autoescape=True,
        finalize=_finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"quantity": quantity, "short": shortened, "prose": prose, "plain": _plain}
    environment.globals |= {"counted": counted, "place": place}
    return environment.get_template("page.html"), texts[1], texts[2]


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def write(record: Path, out: TextIO) -> None:
    """Write the report; see `Report.write`."""
    template, style, script = _template()
    with opened(record) as db:
        summary = summarise(db, record)
        page = template.render(
            summary=summary,
            maps=byte_maps(db, summary),
            unread_places=db.execute(
                """SELECT path, scope, reason, "limit", detail, entries FROM unread
                    ORDER BY scope = 'inspection', id LIMIT 300"""
            ).fetchall(),
            unknown=db.execute(
                """SELECT coalesce(c.path, 'artefact:' || r.artefact), r."offset", r.length, r.entropy
                     FROM region AS r LEFT JOIN container AS c ON c.id = r.container
                    WHERE r.kind = 'unknown' ORDER BY r.length DESC, r.id LIMIT 50"""
            ).fetchall(),
            unread_rows=db.execute("SELECT count(*) FROM unread").fetchone()[0],
            lists=[
                {"name": listing.name, "title": listing.title, "rows": listing.count(db), "looked": listing.looked(db)}
                for listing in LISTS
            ],
            version=assay.__version__,
            classes=CLASSES,
            severities=SEVERITIES,
            verdicts=VERDICTS,
            measures=MEASURES,
            states=STATES,
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            style_digest=_digest(style),
            script_digest=_digest(script),
            split=SPLIT,
        )
        # The marks are looked for from the end: what stands behind them is the template's own.
        before, between, after = page.rsplit(SPLIT, 2)
        out.write(before)
        write_index(db, summary, out)
        out.write(between)
        write_facts(db, out)
        out.write(after)


REPORT = Report("html", "one self-contained page with every finding and its evidence", ".html", write)
