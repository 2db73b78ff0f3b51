"""SARIF, for tools that read static-analysis results. Streams.

Source: OASIS Static Analysis Results Interchange Format (SARIF) Version 2.1.0 Plus Errata 01; section numbers below are
from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import assay

from .base import Report, dumps, opened, utc
from .evidence import findings
from .summary import Judged, Summary, summarise

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}
KINDS = {"fail": "fail", "pass": "pass", "undetermined": "open", "not-applicable": "notApplicable"}
"""A verdict's result kind, section 3.27.9."""


def write(record: Path, out: TextIO) -> None:
    """Write the report; see `Report.write`."""
    with opened(record) as db:
        summary = summarise(db, record)
        driver = {
            "name": "Assay",
            "version": assay.__version__,
            "semanticVersion": assay.__version__,
            "rules": [_rule(rule) for rule in summary.rules],
        }
        run = {
            "tool": {"driver": driver},
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {"RELEASE": {"description": {"text": "The examined release."}}},
            "properties": {"title": summary.title},
        }
        out.write(f'{{"$schema":{dumps(SCHEMA)},"version":"2.1.0","runs":[{dumps(run)[:-1]},"results":[')
        containers = {
            number: (path, format) for number, path, format in db.execute("SELECT id, path, format FROM container")
        }
        separator = "\n"
        for result in _results(summary, findings(db), containers):
            out.write(separator + dumps(result))
            separator = ",\n"
        out.write('],"invocations":[')
        out.write(dumps(_invocation(summary))[:-1])
        out.write(',"toolExecutionNotifications":[')
        separator = "\n"
        for path, scope, reason, limit, detail, entries in db.execute(
            'SELECT path, scope, reason, "limit", detail, entries FROM unread ORDER BY id'
        ):
            text = ": ".join(part for part in (f"unread ({scope})", reason, limit, detail) if part)
            notification: dict[str, Any] = {
                "descriptor": {"id": f"unread/{reason}"},
                "level": "warning",
                "message": {"text": text},
                "properties": {"entries": entries},
            }
            if path:
                notification["locations"] = [_location(path, [])]
            out.write(separator + dumps(notification))
            separator = ",\n"
        out.write("]}]}]}\n")


def _rule(rule: Judged) -> dict[str, Any]:
    """Return a reportingDescriptor, section 3.49."""
    out: dict[str, Any] = {
        "id": rule.name,
        "shortDescription": {"text": rule.title or rule.name},
        "defaultConfiguration": {"level": LEVELS.get(rule.severity, "warning")},
        "properties": {
            "pack": rule.pack,
            "document": rule.document,
            "clause": rule.clause,
            "testCase": rule.test_case,
            "criterion": rule.criteria,
            "evidenceClasses": rule.classes,
            "power": rule.power,
            "severity": rule.severity,
            "digest": rule.digest,
            "references": rule.references,
        },
    }
    if rule.check:
        out["fullDescription"] = {"text": rule.check}
    help_ = "\n\n".join(
        f"{title}: {text}" for title, text in (("Remedy", rule.remedy), ("Limits", rule.limits)) if text
    )
    if help_:
        out["help"] = {"text": help_}
    return out


def _results(
    summary: Summary,
    found: Iterator[tuple[tuple[Any, ...], list[tuple[str, int]]]],
    containers: dict[int, tuple[str, str]],
) -> Iterator[dict[str, Any]]:
    """Yield one result a finding, then one for each rule that has none or whose verdict is not fail."""
    index = {rule.id: (i, rule) for i, rule in enumerate(summary.rules)}
    failing = set()
    for (number, rule_id, message, path, line, offset, tree, _), facts in found:
        i, rule = index[rule_id]
        kind = "fail" if rule.verdict == "fail" else "review"
        result = _result(i, rule, kind, message)
        # Neither line nor offset: what stays the same from one release to the next identifies a result (3.27.17).
        identity = "\0".join((rule.name, path, message)).encode()
        result["partialFingerprints"] = {"assayFinding/v1": hashlib.sha256(identity).hexdigest()}
        result["properties"] |= {
            "finding": number,
            "evidence": [{"family": family, "fact": fact} for family, fact in facts],
        }
        chain = _chain(*containers[tree]) if tree in containers else []
        location = _location(path, chain)
        region = {}
        if line is not None and line > 0:
            region["startLine"] = line
        if offset is not None and offset >= 0:
            region["byteOffset"] = offset
        if region and "physicalLocation" in location:
            location["physicalLocation"]["region"] = region
        if location:
            result["locations"] = [location]
        if kind == "fail":
            failing.add(rule_id)
        yield result
    for i, rule in index.values():
        if rule.id not in failing:
            text = rule.reason or f"{rule.title or rule.name}: {rule.verdict}"
            result = _result(i, rule, KINDS.get(rule.verdict, "informational"), text)
            if rule.missing:
                result["properties"]["missing"] = rule.missing
            yield result


def _result(index: int, rule: Judged, kind: str, text: str) -> dict[str, Any]:
    return {
        "ruleId": rule.name,
        "ruleIndex": index,
        "kind": kind,
        # Any other kind than fail has level none, section 3.27.10.
        "level": LEVELS.get(rule.severity, "warning") if kind == "fail" else "none",
        "message": {"text": text},
        "properties": {
            "criterion": rule.criteria,
            "pack": rule.pack,
            "clause": rule.clause,
            "severity": rule.severity,
            "verdict": rule.verdict,
        },
    }


def _chain(path: str, format: str) -> list[dict[str, Any]]:
    """Return the containers around a place as logical locations, section 3.33, the outermost first."""
    names = path.split("!")[:-1]
    out: list[dict[str, Any]] = []
    whole = ""
    for i, name in enumerate(names):
        whole += f"{name}!"
        out.append({"name": name, "fullyQualifiedName": whole, "kind": "container"})
        if i == len(names) - 1:
            out[-1]["kind"] = format
    return out


def _location(path: str, chain: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a location, section 3.28; one without a file URI where the path would climb out of the release."""
    out: dict[str, Any] = {}
    relative = path.lstrip("/")
    if relative and not {"..", "."} & set(relative.replace("!", "/").split("/")):
        uri = quote(relative, safe="/!")
        out["physicalLocation"] = {"artifactLocation": {"uri": uri, "uriBaseId": "RELEASE"}}
    logical = [*chain, {"fullyQualifiedName": path, "kind": "file"}] if path else chain
    if logical:
        out["logicalLocations"] = logical
    return out


def _invocation(summary: Summary) -> dict[str, Any]:
    """Return the invocation, section 3.20, without its notifications."""
    out: dict[str, Any] = {"executionSuccessful": all(run.finished is not None for run in summary.runs)}
    if summary.runs:
        times = {"startTimeUtc": utc(summary.runs[0].started), "endTimeUtc": utc(summary.runs[-1].finished)}
        out |= {name: time for name, time in times.items() if time}
    return out


REPORT = Report("sarif", "SARIF 2.1.0, for tools that read static-analysis results", ".sarif", write)
