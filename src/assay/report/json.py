"""The judged record as one JSON document: summary, rules, findings with their facts, unread places. Streams.

Source: our own form, named in its `form` member; member names are those of the fact families.
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import msgspec

import assay

from .base import Report, dumps, opened
from .evidence import decoded, fact, fields, findings, selection
from .lists import LISTS
from .summary import summarise

FORM = "assay-report/1"


def write(record: Path, out: TextIO) -> None:
    """Write the report; see `Report.write`."""
    with opened(record) as db:
        summary = summarise(db, record)
        head = dumps(
            {"form": FORM, "assay": assay.__version__, "classes_missing": summary.missing}
            | msgspec.structs.asdict(summary)
        )
        out.write(head[:-1])
        names = {rule.id: rule for rule in summary.rules}
        collectors = {
            number: {"name": name, "version": version, "run": run}
            for number, name, version, run in db.execute("SELECT id, name, version, run FROM collector")
        }
        out.write(',"findings":[')
        separator = "\n"
        for (number, rule, message, path, line, offset, tree, file), facts in findings(db):
            evidence = []
            for family, fact_id in facts:
                found = fact(db, family, fact_id)
                evidence.append({"family": family, "id": fact_id, "fact": found})
                if found is not None and "collector" in found:
                    evidence[-1]["collector"] = collectors.get(found["collector"])
            judged = names[rule]
            finding = {
                "id": number,
                "rule": judged.name,
                "severity": judged.severity,
                "verdict": judged.verdict,
                "criteria": judged.criteria,
                "message": message,
                "path": path,
                "line": line,
                "offset": offset,
                "tree": tree,
                "file": file,
                "evidence": evidence,
            }
            out.write(separator + dumps(finding))
            separator = ",\n"
        out.write('],"unread_places":[')
        separator = "\n"
        for row in db.execute(f"{selection('unread')} ORDER BY id"):
            out.write(separator + dumps(dict(zip(fields("unread"), decoded("unread", row), strict=True))))
            separator = ",\n"
        out.write('],"lists":{')
        separator = "\n"
        for listing in LISTS:
            about = {"columns": listing.columns, "looked": listing.looked(db)}
            out.write(f'{separator}"{listing.name}":{dumps(about)[:-1]},"rows":[')
            between = ""
            for row in listing.rows(db):
                out.write(between + dumps(row))
                between = ","
            out.write("]}")
            separator = ",\n"
        out.write("}}\n")


REPORT = Report("json", "everything that was judged, with the facts behind it", ".json", write)
