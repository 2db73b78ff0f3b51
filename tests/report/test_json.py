from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from assay.facts.verdict import Rule, Verdict
from assay.record import Record
from assay.report import render

from .records import hostile, realistic, sha


def document(record: Path) -> dict[str, Any]:
    stream = io.StringIO()
    render(record, "json", stream)
    return json.loads(stream.getvalue())


def test_members(tmp_path: Path) -> None:
    found = document(realistic(tmp_path / "r.assay"))
    assert found["form"] == "assay-report/1"
    assert found["title"] == "rtr-2.1.0.img"
    assert found["verdicts"] == {"fail": 3, "undetermined": 1, "pass": 1, "not-applicable": 1}
    assert found["severities"] == {"critical": 1, "high": 1, "medium": 2}
    assert found["classes_missing"] == {"L": 1, "P": 1}
    assert found["completeness"] == {
        "containers": 2,
        "unfinished": 1,
        "declared": 14,
        "declared_listed": 13,
        "listed": 9,
        "regular": 9,
        "read": 7,
        "unread": 2,
        "inspections_failed": 0,
        "contents": 8,
        "content_bytes": (8 << 20) + 4 * 200_000 + 5000 + 1700 + 900,
        "unknown_regions": 1,
        "unknown_bytes": 1 << 20,
    }
    assert found["hardening"] == {
        "pie": {"yes": 1, "partial": 0, "no": 2, "unknown": 1},
        "nx": {"yes": 3, "partial": 0, "no": 1, "unknown": 0},
        "relro": {"yes": 1, "partial": 2, "no": 1, "unknown": 0},
        "canary": {"yes": 2, "partial": 0, "no": 1, "unknown": 1},
        "fortify": {"yes": 1, "partial": 1, "no": 1, "unknown": 1},
    }
    assert found["artefacts"] == [
        {
            "id": 1,
            "name": "rtr-2.1.0.img",
            "vendor": "Example Works",
            "format": "gpt",
            "content": None,
            "sha256": sha("image"),
            "size": 8 << 20,
            "containers": 2,
            "files": 9,
            "unread": 2,
            "explained": 17408 * 2 + (5 << 20),
            "padding": 900_000 + (1 << 20) - 17408,
            "unknown": 1 << 20,
        }
    ]
    assert [place["reason"] for place in found["unread_places"]] == ["malformed", "truncated"]


def test_a_finding_whole(tmp_path: Path) -> None:
    assert document(realistic(tmp_path / "r.assay"))["findings"][1] == {
        "id": 2,
        "rule": "3gpp-33.117-18.1/4.3.3.1.1",
        "severity": "critical",
        "verdict": "fail",
        "criteria": ["national-security"],
        "message": "PermitRootLogin is yes",
        "path": "/rootfs!/etc/ssh/sshd_config",
        "line": 33,
        "offset": None,
        "tree": 2,
        "file": 8,
        "evidence": [
            {
                "family": "setting",
                "id": 1,
                "fact": {
                    "id": 1,
                    "tree": 2,
                    "file": 8,
                    "collector": 5,
                    "path": "/etc/ssh/sshd_config",
                    "line": 33,
                    "subsystem": "sshd",
                    "key": "permitrootlogin",
                    "value": "yes",
                    "origin": "file",
                    "scope": "",
                    "basis": None,
                },
                "collector": {"name": "services", "version": 1, "run": 1},
            }
        ],
    }


def test_only_the_newest_verdict_of_a_rule_counts(tmp_path: Path) -> None:
    record = realistic(tmp_path / "r.assay")
    with Record(record, write=True) as r:
        (older,) = r.facts(Rule, "id = 2")
        rule = r.add(older)
        r.add(Verdict(run=2, rule=rule, verdict="pass", reason="changed", looked=1))
    found = document(record)
    assert [f["id"] for f in found["findings"]] == [1, 3, 4]
    assert found["verdicts"] == {"fail": 2, "undetermined": 1, "pass": 2, "not-applicable": 1}


def test_facts_that_do_not_exist_are_null(tmp_path: Path) -> None:
    found = document(hostile(tmp_path / "r.assay"))
    assert [e["fact"] is None for e in found["findings"][-1]["evidence"]] == [False, True, True]
