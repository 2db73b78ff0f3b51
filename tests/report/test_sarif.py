from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from assay.record import Record
from assay.report import render

from .records import hostile, large, realistic, sha


def document(record: Path) -> dict[str, Any]:
    stream = io.StringIO()
    render(record, "sarif", stream)
    return json.loads(stream.getvalue())


def check(found: dict[str, Any]) -> None:
    """The rules of the specification that this writer could break, by section."""
    assert found["version"] == "2.1.0"  # 3.13.2
    (run,) = found["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)  # 3.19.23
    for rule in rules:
        assert rule["shortDescription"]["text"]  # 3.49.9
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]  # 3.27.6
        assert result["kind"] in ("fail", "pass", "open", "notApplicable", "review", "informational")  # 3.27.9
        assert (result["level"] == "none") == (result["kind"] != "fail")  # 3.27.10
        assert result["message"]["text"]  # 3.11
        for location in result.get("locations", ()):
            physical = location.get("physicalLocation")
            if physical:
                uri = physical["artifactLocation"]["uri"]
                assert re.fullmatch(r"[A-Za-z0-9._~!/%-]+", uri)  # RFC 3986, relative reference
                assert not uri.startswith("/")
                assert ".." not in unquote(uri).replace("!", "/").split("/")
                assert physical["artifactLocation"]["uriBaseId"] in run["originalUriBaseIds"]
                region = physical.get("region")
                assert region is None or region.get("startLine", 1) >= 1  # 3.30.5
            assert all("fullyQualifiedName" in logical for logical in location["logicalLocations"])
    (invocation,) = run["invocations"]
    assert isinstance(invocation["executionSuccessful"], bool)  # 3.20.14


@pytest.mark.parametrize("build", [realistic, hostile, lambda path: large(path, 100)])
def test_structure(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    check(document(build(tmp_path / "r.assay")))


def test_an_empty_record(tmp_path: Path) -> None:
    Record(tmp_path / "r.assay", write=True).close()
    check(document(tmp_path / "r.assay"))


def test_results(tmp_path: Path) -> None:
    results = document(realistic(tmp_path / "r.assay"))["runs"][0]["results"]
    assert [(r["ruleId"].rpartition("/")[2], r["kind"], r["level"], r["message"]["text"]) for r in results] == [
        ("4.2.3.2.3", "fail", "error", "Private key RSA, 2048 bits, not encrypted"),
        ("4.3.3.1.1", "fail", "error", "PermitRootLogin is yes"),
        ("hardening", "fail", "warning", "No RELRO, no PIE"),
        ("hardening", "fail", "warning", "Stack is executable"),
        ("4.2.2", "pass", "none", "every package is needed by another or starts"),
        ("4.2.6.2", "open", "none", "an image does not show it"),
        ("4.4.1", "notApplicable", "none", "no web server of that kind"),
    ]
    assert results[5]["properties"]["missing"] == ["L", "P"]
    identity = ("3gpp-33.117-18.1/4.3.3.1.1", "/rootfs!/etc/ssh/sshd_config", "PermitRootLogin is yes")
    assert results[1] == {
        "ruleId": "3gpp-33.117-18.1/4.3.3.1.1",
        "ruleIndex": 3,
        "kind": "fail",
        "level": "error",
        "message": {"text": "PermitRootLogin is yes"},
        "properties": {
            "criterion": ["national-security"],
            "pack": "3gpp-33.117-18.1",
            "clause": "4.3.3.1.1",
            "severity": "critical",
            "verdict": "fail",
            "finding": 2,
            "evidence": [{"family": "setting", "fact": 1}],
        },
        "partialFingerprints": {"assayFinding/v1": sha("\0".join(identity))},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "rootfs!/etc/ssh/sshd_config", "uriBaseId": "RELEASE"},
                    "region": {"startLine": 33},
                },
                "logicalLocations": [
                    {"name": "/rootfs", "fullyQualifiedName": "/rootfs!", "kind": "squashfs"},
                    {"fullyQualifiedName": "/rootfs!/etc/ssh/sshd_config", "kind": "file"},
                ],
            }
        ],
    }


def test_what_was_not_read_is_notified(tmp_path: Path) -> None:
    (invocation,) = document(realistic(tmp_path / "r.assay"))["runs"][0]["invocations"]
    assert (invocation["startTimeUtc"], invocation["endTimeUtc"]) == ("2026-03-01T10:00:00Z", "2026-03-01T10:01:01Z")
    assert [n["message"]["text"] for n in invocation["toolExecutionNotifications"]] == [
        "unread (entry): malformed: xz: data are corrupt at offset 131072",
        "unread (rest): truncated: inode table ends early",
    ]


def test_a_fingerprint_outlives_a_move_within_the_file(tmp_path: Path) -> None:
    def prints(record: Path) -> list[str]:
        return [
            result["partialFingerprints"]["assayFinding/v1"]
            for result in document(record)["runs"][0]["results"]
            if "partialFingerprints" in result
        ]

    one, other = realistic(tmp_path / "a.assay"), realistic(tmp_path / "b.assay")
    with Record(other, write=True) as r:
        r.db.execute('UPDATE finding SET line = line + 7, "offset" = 4')
    assert prints(one) == prints(other)
    assert len(set(prints(one))) == 4
