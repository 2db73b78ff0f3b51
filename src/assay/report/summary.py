"""A record in short: plain data, computed once by SQL, that the terminal, HTML and JSON reports share."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from .base import CLASSES, VERDICTS, loads

WORST, WORST_OF_RULE = 10, 3
"""Findings that a summary names, in all and of one rule: the first rule's do not hide the others'."""
LISTED = 200
"""Rows of an open-ended list that a summary keeps; `unlisted` counts beside it say how many there are beyond."""


class Plain(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the summary's parts."""


class Artefact(Plain, frozen=True, kw_only=True):
    """One delivered thing. Bytes count the artefact's own, not those inside its containers."""

    id: int
    name: str | None
    vendor: str | None
    format: str | None
    """Of a container; None if it is none that is known."""
    content: str | None
    """What explains all bytes of an artefact that is no container: elf, text, ..."""
    sha256: str | None
    size: int | None
    containers: int
    files: int
    unread: int
    explained: int
    padding: int
    unknown: int


class Completeness(Plain, frozen=True, kw_only=True):
    """How much of the release has been seen. Entries unless said otherwise."""

    containers: int
    unfinished: int
    """Containers of which not every entry has been read or named as unread."""
    declared: int | None
    """By the headers of containers whose format has a count; None if none has."""
    declared_listed: int
    """Found while listing those same containers."""
    listed: int
    regular: int
    read: int
    unread: int
    """Entries named as unread (of which some were never listed)."""
    inspections_failed: int
    contents: int
    content_bytes: int
    unknown_regions: int
    """Stretches of artefacts and of what they hold that no format explains."""
    unknown_bytes: int


class Unread(Plain, frozen=True, kw_only=True):
    """What could not be read, by reason and scope."""

    scope: str
    reason: str
    limit: str | None
    places: int
    entries: int
    example: str
    detail: str


class Judged(Plain, frozen=True, kw_only=True):
    """A rule with its newest verdict. Field names as in the families `rule` and `verdict`."""

    id: int
    pack: str
    name: str
    digest: str
    title: str
    document: str | None
    clause: str | None
    test_case: str | None
    criteria: list[str]
    classes: list[str]
    power: str
    severity: str
    check: str
    limits: str
    remedy: str
    references: list[str]
    verdict: str
    missing: list[str]
    reason: str
    looked: int
    findings: int
    run: int


class Criterion(Plain, frozen=True, kw_only=True):
    """Verdicts of the rules that serve one criterion. A rule that serves several counts in each."""

    name: str
    verdicts: dict[str, int]
    findings: int
    severities: dict[str, int]
    """Findings of rules with verdict fail, by severity."""


class Worst(Plain, frozen=True, kw_only=True):
    """One of the worst findings."""

    severity: str
    verdict: str
    rule: str
    message: str
    path: str
    line: int | None
    offset: int | None


class Service(Plain, frozen=True, kw_only=True):
    """A service that starts at boot as root."""

    name: str
    manager: str
    command: str | None
    place: str


class Looked(Plain, frozen=True, kw_only=True):
    """Who looked for a family of facts, and how far."""

    family: str
    collector: str
    version: int
    looked: int
    failed: int
    facts: int


class Run(Plain, frozen=True, kw_only=True):
    """One command that added to the record."""

    id: int
    command: str
    version: str
    started: str
    finished: str | None
    options: dict[str, Any]
    sandbox: dict[str, Any]


class Summary(Plain, frozen=True, kw_only=True):
    """The whole."""

    title: str
    artefacts: list[Artefact]
    completeness: Completeness
    unread: list[Unread]
    rules: list[Judged]
    criteria: list[Criterion]
    verdicts: dict[str, int]
    severities: dict[str, int]
    worst: list[Worst]
    hardening: dict[str, dict[str, int]]
    """Measure to state (as `Binary` has them) to number of executables and libraries."""
    binaries: int
    root_services: list[Service]
    root_services_count: int
    root_services_unknown: int
    """Services that run as root of which it cannot be told whether they start at boot."""
    credentials: list[dict[str, Any]]
    coverage: list[Looked]
    runs: list[Run]

    @property
    def missing(self) -> dict[str, int]:
        """Undetermined verdicts by evidence class that would decide them."""
        found = Counter(letter for rule in self.rules if rule.verdict == "undetermined" for letter in rule.missing)
        return {letter: found[letter] for letter in sorted(found, key=lambda c: (*CLASSES, c).index(c))}


class Binary(Plain, frozen=True, kw_only=True):
    """An executable or library with what its headers state: yes, partial, no, or unknown if it cannot be told."""

    path: str
    machine: str
    role: str
    pie: str
    nx: str
    relro: str
    canary: str
    fortify: str


MEASURES = ("pie", "nx", "relro", "canary", "fortify")
STATES = ("yes", "partial", "no", "unknown")

_HARDENING = """
    SELECT {head} role, machine,
           CASE WHEN role <> 'executable' OR pie IS NULL THEN 'unknown' WHEN pie THEN 'yes' ELSE 'no' END AS pie,
           CASE WHEN nx IS NULL THEN 'unknown' WHEN nx THEN 'yes' ELSE 'no' END AS nx,
           CASE relro WHEN 'full' THEN 'yes' WHEN 'partial' THEN 'partial' WHEN 'none' THEN 'no'
                      ELSE 'unknown' END AS relro,
           CASE WHEN canary IS NULL THEN 'unknown' WHEN canary THEN 'yes' ELSE 'no' END AS canary,
           CASE WHEN coalesce(fortify_checked, 0) + coalesce(fortify_unchecked, 0) = 0 THEN 'unknown'
                WHEN coalesce(fortify_unchecked, 0) = 0 THEN 'yes'
                WHEN coalesce(fortify_checked, 0) = 0 THEN 'no' ELSE 'partial' END AS fortify
      FROM elf {join} WHERE role IN ('executable', 'library') {tail}"""


def summarise(db: sqlite3.Connection, path: Path) -> Summary:
    """Return the summary of an opened record (see `base.opened`).

    Args:
        db: the record.
        path: where it lies; its name stands for the release where the artefacts have no names.
    """
    artefacts = _artefacts(db)
    named = [artefact.name for artefact in artefacts if artefact.name]
    rules = _rules(db)
    severities: Counter[str] = Counter()
    for rule in rules:
        if rule.verdict == "fail":
            severities[rule.severity] += rule.findings
    verdicts = Counter(rule.verdict for rule in rules)
    root = db.execute("SELECT count(*) FROM service WHERE enabled AND user IN ('root', '0')").fetchone()[0]
    hardening = _hardening(db)
    return Summary(
        title=", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "") or path.stem,
        artefacts=artefacts,
        completeness=_completeness(db),
        unread=_unread(db),
        rules=rules,
        criteria=_criteria(rules),
        verdicts={name: verdicts[name] for name in (*VERDICTS, *sorted(set(verdicts) - set(VERDICTS)))},
        severities=dict(severities),
        worst=_worst(db),
        hardening=hardening,
        binaries=sum(hardening["nx"].values()),
        root_services=[
            Service(name=name, manager=manager, command=command, place=place)
            for name, manager, command, place in db.execute(
                f"""SELECT s.name, s.manager, s.command, c.path || coalesce(s.path, '')
                      FROM service AS s JOIN container AS c ON c.id = s.tree
                     WHERE s.enabled AND s.user IN ('root', '0') ORDER BY s.name, s.id LIMIT {LISTED}"""  # noqa: S608
            )
        ],
        root_services_count=root,
        root_services_unknown=db.execute(
            "SELECT count(*) FROM service WHERE enabled IS NULL AND user IN ('root', '0')"
        ).fetchone()[0],
        credentials=[
            {"kind": kind, "scheme": scheme, "distinct": distinct, "found": found, "encrypted": encrypted}
            for kind, scheme, distinct, found, encrypted in db.execute(
                f"""SELECT kind, scheme, count(DISTINCT fingerprint), count(*), coalesce(sum(encrypted), 0)
                      FROM credential GROUP BY kind, scheme ORDER BY kind, scheme LIMIT {LISTED}"""  # noqa: S608
            )
        ],
        coverage=[
            Looked(family=family, collector=name, version=version, looked=looked, failed=failed, facts=facts)
            for family, name, version, looked, failed, facts in db.execute(
                """SELECT c.family, k.name, k.version, sum(c.looked), sum(c.failed), sum(c.facts)
                     FROM coverage AS c JOIN collector AS k ON k.id = c.collector
                    GROUP BY c.family, k.name, k.version ORDER BY c.family, k.name, k.version"""
            )
        ],
        runs=[
            Run(
                id=number,
                command=command,
                version=version,
                started=started,
                finished=finished,
                options=loads(options, {}),
                sandbox=loads(sandbox, {}),
            )
            for number, command, version, started, finished, options, sandbox in db.execute(
                "SELECT id, command, version, started, finished, options, sandbox FROM run ORDER BY id"
            )
        ],
    )


def _artefacts(db: sqlite3.Connection) -> list[Artefact]:
    stated: dict[tuple[str, str], str] = {}
    for subject, attribute, value in db.execute(
        """SELECT subject, attribute, value FROM identity
            WHERE subject GLOB 'artefact:*' AND attribute IN ('name', 'vendor') ORDER BY id"""
    ):
        stated.setdefault((subject, attribute), value)
    inside = {
        artefact: (containers, files)
        for artefact, containers, files in db.execute(
            """SELECT c.artefact, count(*), coalesce(sum(f.files), 0) FROM container AS c
                 LEFT JOIN (SELECT container, count(*) AS files FROM file GROUP BY container) AS f ON f.container = c.id
                GROUP BY c.artefact"""
        )
    }
    unread = dict(db.execute("SELECT artefact, sum(entries) FROM unread WHERE scope <> 'inspection' GROUP BY artefact"))
    kinds = {
        (artefact, kind): length
        for artefact, kind, length in db.execute(
            "SELECT artefact, kind, sum(length) FROM accounted WHERE container IS NULL GROUP BY artefact, kind"
        )
    }
    whole = {
        (artefact, length): by
        for artefact, length, by in db.execute(
            """SELECT artefact, length, "by" FROM region
                WHERE container IS NULL AND kind = 'explained' AND "offset" = 0"""
        )
    }
    return [
        Artefact(
            id=number,
            name=stated.get((f"artefact:{number}", "name")),
            vendor=stated.get((f"artefact:{number}", "vendor")),
            format=format,
            content=None if format else whole.get((number, size)),
            sha256=sha256,
            size=size,
            containers=inside.get(number, (0, 0))[0],
            files=inside.get(number, (0, 0))[1],
            unread=unread.get(number, 0),
            explained=kinds.get((number, "explained"), 0),
            padding=kinds.get((number, "padding"), 0),
            unknown=kinds.get((number, "unknown"), 0),
        )
        for number, format, sha256, size in db.execute("SELECT id, format, sha256, size FROM artefact ORDER BY id")
    ]


def _completeness(db: sqlite3.Connection) -> Completeness:
    containers, unfinished, declared, declared_listed = db.execute(
        """SELECT count(*), coalesce(sum(NOT complete), 0), sum(declared),
                  coalesce(sum(CASE WHEN declared IS NOT NULL THEN listed END), 0) FROM container"""
    ).fetchone()
    listed, regular, read = db.execute(
        """SELECT count(*), coalesce(sum(type = 'regular'), 0),
                  coalesce(sum(type = 'regular' AND content IS NOT NULL), 0) FROM file"""
    ).fetchone()
    unread, failed = db.execute(
        """SELECT coalesce(sum(CASE WHEN scope <> 'inspection' THEN entries END), 0),
                  coalesce(sum(scope = 'inspection'), 0) FROM unread"""
    ).fetchone()
    unknown, unknown_bytes = db.execute(
        "SELECT count(*), coalesce(sum(length), 0) FROM region WHERE kind = 'unknown'"
    ).fetchone()
    contents, size = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM content").fetchone()
    return Completeness(
        containers=containers,
        unfinished=unfinished,
        declared=declared,
        declared_listed=declared_listed,
        listed=listed,
        regular=regular,
        read=read,
        unread=unread,
        inspections_failed=failed,
        contents=contents,
        content_bytes=size,
        unknown_regions=unknown,
        unknown_bytes=unknown_bytes,
    )


def _unread(db: sqlite3.Connection) -> list[Unread]:
    return [
        Unread(
            scope=scope,
            reason=reason,
            limit=limit,
            places=places,
            entries=entries,
            example=example,
            detail=detail or "",
        )
        for scope, reason, limit, places, entries, example, detail, _ in db.execute(
            f"""SELECT scope, reason, "limit", count(*), sum(entries), path, detail, min(id)
                  FROM unread GROUP BY scope, reason, "limit"
                 ORDER BY scope = 'inspection', sum(entries) DESC, reason LIMIT {LISTED}"""  # noqa: S608
        )
    ]


def _rules(db: sqlite3.Connection) -> list[Judged]:
    return [
        Judged(
            id=row[0],
            pack=row[1],
            name=row[2],
            digest=row[3],
            title=row[4],
            document=row[5],
            clause=row[6],
            test_case=row[7],
            criteria=loads(row[8], []),
            classes=loads(row[9], []),
            power=row[10],
            severity=row[11],
            check=row[12],
            limits=row[13],
            remedy=row[14],
            references=loads(row[15], []),
            verdict=row[16],
            missing=loads(row[17], []),
            reason=row[18],
            looked=row[19],
            findings=row[20],
            run=row[21],
        )
        for row in db.execute(
            """SELECT r.id, r.pack, r.name, r.digest, r.title, r.document, r.clause, r.test_case, r.criteria, r.classes,
                      r.power, r.severity, r."check", r.limits, r.remedy, r."references",
                      v.verdict, v.missing, v.reason, v.looked, v.findings, v.run
                 FROM current AS c JOIN verdict AS v ON v.id = c.verdict JOIN rule AS r ON r.id = c.rule
                ORDER BY r.pack, r.name"""
        )
    ]


def _criteria(rules: list[Judged]) -> list[Criterion]:
    verdicts: dict[str, Counter[str]] = {}
    severities: dict[str, Counter[str]] = {}
    findings: Counter[str] = Counter()
    for rule in rules:
        for criterion in rule.criteria or ["none stated"]:
            verdicts.setdefault(criterion, Counter())[rule.verdict] += 1
            severities.setdefault(criterion, Counter())
            findings[criterion] += rule.findings
            if rule.verdict == "fail":
                severities[criterion][rule.severity] += rule.findings
    return [
        Criterion(name=name, verdicts=dict(verdicts[name]), findings=findings[name], severities=dict(severities[name]))
        for name in sorted(verdicts)
    ]


def _worst(db: sqlite3.Connection) -> list[Worst]:
    out: list[Worst] = []
    for number, severity, verdict, rule in db.execute(
        """SELECT v.id, r.severity, v.verdict, r.name
             FROM current AS c JOIN verdict AS v ON v.id = c.verdict JOIN rule AS r ON r.id = c.rule
            WHERE v.verdict = 'fail' ORDER BY c.rank, v.id"""
    ):
        for message, path, line, offset in db.execute(
            'SELECT message, path, line, "offset" FROM finding WHERE verdict = ? ORDER BY id LIMIT ?',
            (number, min(WORST_OF_RULE, WORST - len(out))),
        ):
            out.append(
                Worst(
                    severity=severity, verdict=verdict, rule=rule, message=message, path=path, line=line, offset=offset
                )
            )
    return out


def _hardening(db: sqlite3.Connection) -> dict[str, dict[str, int]]:
    out = {measure: dict.fromkeys(STATES, 0) for measure in MEASURES}
    inner = _HARDENING.format(head="", join="", tail="")
    for *states, count in db.execute(
        f"SELECT pie, nx, relro, canary, fortify, count(*) FROM ({inner}) GROUP BY 1, 2, 3, 4, 5"  # noqa: S608
    ):
        for measure, state in zip(MEASURES, states, strict=True):
            out[measure][state] += count
    return out


def binaries(db: sqlite3.Connection) -> Iterator[Binary]:
    """Yield every executable and library, each distinct content once, with the first of its paths."""
    sql = _HARDENING.format(
        head="min(c.path || f.path) AS path,",
        join="LEFT JOIN file AS f ON f.content = elf.content LEFT JOIN container AS c ON c.id = f.container",
        tail="GROUP BY elf.id ORDER BY 1",
    )
    for path, role, machine, pie, nx, relro, canary, fortify in db.execute(sql):
        yield Binary(
            path=path or "", role=role, machine=machine, pie=pie, nx=nx, relro=relro, canary=canary, fortify=fortify
        )
