"""The engine: asks a record each rule's questions, concludes, and adds what it concluded to the record.

All of one judging is one transaction: a record holds a whole run's verdicts or none of it. Judging again adds a run.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

import assay
from assay.facts import families
from assay.facts.structure import Run
from assay.facts.verdict import Evidence, Finding, Verdict
from assay.facts.verdict import Rule as RuleFact
from assay.record import Record, now, reader

from .conclude import Counts, conclude
from .gaps import gaps
from .pack import Pack, PackError, Rule, load_pack
from .sql import Guard, JudgeError, compose

SECONDS = 60.0
"""Time that one question of a rule may take."""

STEPS = 100_000
"""SQLite instructions between two looks at the clock."""

BATCH = 5_000
"""Rows kept before they are handed to SQLite."""

PLACE = "(SELECT c.path || f.path FROM file AS f JOIN container AS c ON c.id = f.container WHERE f.id = r.file)"
"""Full path of a finding's file, for rules that give no path of their own."""

NAMED = 3
"""Reasons that a verdict quotes."""


@dataclass(frozen=True)
class Judged:
    """One rule's verdict, as it was added to the record."""

    rule: Rule
    verdict: str
    """pass, fail, not-applicable or undetermined."""
    missing: tuple[str, ...]
    reason: str
    findings: int


class _Stopped(Exception):
    """A question reached the time limit."""


class _Asker:
    """Asks one record the questions of rules."""

    interrupted = False

    def __init__(self, path: Path, seconds: float) -> None:
        self.guard = Guard()
        self.db = reader(path, self.guard)
        self.seconds = seconds

    def ask(self, rule: Rule, part: str, select: str, limited: bool = True) -> Iterator[tuple[object, ...]]:
        """Yield the rows of `select`, in which {} stands for the rule's question.

        Raises:
            _Stopped: the time limit, if `limited`.
            JudgeError: a question that cannot be asked; names the rule.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        deadline = time.monotonic() + self.seconds if limited else float("inf")
        self.db.set_progress_handler(lambda: int(time.monotonic() > deadline), STEPS)
        try:
            yield from self.db.execute(select.format(compose(rule.sql[part], rule.shared)))
        except (sqlite3.Error, sqlite3.Warning) as error:
            if self.interrupted:
                raise KeyboardInterrupt from error
            if str(error) == "interrupted":
                raise _Stopped from error
            text = self.guard.explain(error) if isinstance(error, sqlite3.Error) else str(error)
            raise JudgeError(f"{rule.name}: {part}.sql: {text}") from error
        finally:
            self.db.set_progress_handler(None, STEPS)

    def count(self, rule: Rule, part: str) -> int:
        """Return how many rows a question has; 0 if the rule does not ask it."""
        if part not in rule.sql:
            return 0
        ((number,),) = self.ask(rule, part, "SELECT count(*) FROM {}")
        assert isinstance(number, int)
        return number

    def undecided(self, rule: Rule) -> list[str]:
        """Return the first reasons why the evidence is ambiguous, by text."""
        select = f"SELECT DISTINCT reason FROM {{}} ORDER BY reason LIMIT {NAMED}"  # noqa: S608 - our own constant
        return [str(reason) for (reason,) in self.ask(rule, "undecided", select)]

    def findings(self, rule: Rule, verdict: int) -> Iterator[tuple[Finding, list[tuple[str, int]]]]:
        """Yield a rule's findings for a verdict, each with the facts behind it; by rank, in an order that stays."""
        names = self._columns(rule)
        message, evidence, path, *place = [
            f"r.{name}" if name in names else "NULL"
            for name in ("message", "evidence", "path", "line", "offset", "tree", "file")
        ]
        if "file" in names:
            path = f"coalesce({path}, {PLACE})"
        rank = "r.rank, " if "rank" in names else ""
        order = f"ORDER BY {rank}1, 2, 3, 6, 7, 4, 5"
        select = f"SELECT {', '.join([path, *place, message, evidence])} FROM {{}} AS r {order}"  # noqa: S608
        for path_, line, offset, tree, file, text, facts in self.ask(rule, "findings", select, limited=False):
            try:
                finding = msgspec.convert((verdict, text, path_ or "", line, offset, tree, file), Finding)
            except msgspec.ValidationError as error:
                raise JudgeError(f"{rule.name}: findings.sql: {error}") from error
            yield finding, _evidence(rule, facts)

    def _columns(self, rule: Rule) -> frozenset[str]:
        cursor = self.db.execute(f"SELECT * FROM {compose(rule.sql['findings'], rule.shared)} LIMIT 0")  # noqa: S608
        return frozenset(column[0] for column in cursor.description)


def _evidence(rule: Rule, text: object) -> list[tuple[str, int]]:
    """Return the facts that a finding names as 'family:id,family:id'."""
    found = []
    for part in str(text or "").split(","):
        family, _, number = part.strip().partition(":")
        if family not in families() or not number.isdecimal():
            raise JudgeError(f"{rule.name}: findings.sql: evidence '{part}' is not family:id")
        found.append((family, int(number)))
    return found


def judge(record_path: Path, packs: Sequence[Path | str], *, seconds: float = SECONDS) -> list[Judged]:
    """Judge a record by rule packs, and add rules, verdicts, findings and their evidence to it as one run.

    Args:
        record_path: the record. No other process may be writing it.
        packs: names of packs that come with Assay, or folders.
        seconds: time that one question of a rule may take; a rule that reaches it is undetermined.

    Returns:
        The verdicts, in the order of packs and rules.

    Raises:
        PackError: a pack cannot be used.
        JudgeError: a rule asks what it may not (identity, for one), or cannot be run; nothing is added.
        RecordError: not a record, or another process is writing it.
    """
    loaded = [load_pack(pack) for pack in packs]
    names = [pack.name for pack in loaded]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PackError(f"the pack {', '.join(twice)} is asked for twice")
    if not record_path.is_file():
        Record(record_path).close()
    with Record(record_path, write=True) as record:
        record.index()
        asker = _Asker(record_path, seconds)
        try:
            with _interruptible(asker):
                return _run(record, asker, loaded)
        finally:
            asker.db.close()


@contextmanager
def _interruptible(asker: _Asker) -> Iterator[None]:
    """Let Ctrl-C stop the question that is being asked.

    Raised inside one of SQLite's callbacks, a KeyboardInterrupt would be lost and the question refused instead.
    """
    if threading.current_thread() is not threading.main_thread() or (
        signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def stop(_number: int, _frame: object) -> None:
        asker.interrupted = True
        asker.db.interrupt()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if asker.interrupted:
        raise KeyboardInterrupt


def _run(record: Record, asker: _Asker, packs: Sequence[Pack]) -> list[Judged]:
    options: dict[str, object] = {"packs": [pack.name for pack in packs], "seconds": asker.seconds}
    run = record.add(Run(command="judge", version=assay.__version__, started=now(), options=options))
    judged = [_judge(record, asker, run, rule) for pack in packs for rule in pack.rules]
    record.update(Run, run, finished=now())
    return judged


def _judge(record: Record, asker: _Asker, run: int, rule: Rule) -> Judged:
    unseen, first = gaps(asker.db, rule.families, rule.reads, rule.observers)
    looked, reasons = 0, []
    try:
        counts = Counts(
            asker.count(rule, "applies"), asker.count(rule, "findings"), asker.count(rule, "undecided"), unseen
        )
        looked = asker.count(rule, "looked") if "looked" in rule.sql else counts.applies
        reasons = asker.undecided(rule) if counts.undecided else []
    except _Stopped:
        counts = Counts(0, 0, 0, unseen + 1)
        first = [f"the rule reached its time limit of {asker.seconds:g} s", *first]
    verdict, missing = conclude(rule.power, counts, tuple(rule.missing))
    reason = _explain(rule, verdict, counts, looked, (first, reasons))
    fact = RuleFact(
        run=run,
        pack=rule.pack,
        name=rule.name,
        digest=rule.digest,
        title=rule.title,
        document=rule.document,
        clause=rule.clause,
        test_case=rule.test_case,
        criteria=list(rule.criteria),
        classes=list(rule.classes),
        power=rule.power,
        severity=rule.severity,
        check=rule.check,
        limits=rule.limits,
        remedy=rule.remedy,
        references=list(rule.references),
    )
    number = record.add(
        Verdict(
            run=run,
            rule=record.add(fact),
            verdict=verdict,
            missing=list(missing),
            reason=reason,
            looked=looked,
            findings=counts.findings,
        )
    )
    for finding, evidence in asker.findings(rule, number) if counts.findings else ():
        row = record.add(finding)
        for family, fact_id in evidence:
            record.add(Evidence(finding=row, family=family, fact=fact_id))
        if record.pending >= BATCH:
            record.flush()
    return Judged(rule, verdict, missing, reason, counts.findings)


def _explain(rule: Rule, verdict: str, counts: Counts, looked: int, why: tuple[Sequence[str], Sequence[str]]) -> str:
    """Return in a few sentences why a rule has this verdict and no other; `why`: first gaps, first ambiguities."""
    unseen, undecided = why
    at = f"{looked:,} {rule.noun} looked at"
    if verdict == "not-applicable":
        return f"{rule.none}."
    if verdict == "pass":
        return f"{at}, nothing found."
    said = [f"{at}, {counts.findings:,} found." if counts.findings else f"{at}, nothing found."]
    if undecided:
        said.append(_listed("Undecided", undecided, counts.undecided))
    if unseen:
        said.append(_listed("Not seen", unseen, counts.gaps))
    elif verdict == "undetermined":
        said += [f"Missing {name}: {text.strip().rstrip('.')}." for name, text in rule.missing.items()]
    return " ".join(said)


def _listed(word: str, named: Sequence[str], count: int) -> str:
    more = f"; {count - len(named):,} more" if count > len(named) else ""
    return f"{word}: {'; '.join(named)}{more}."


def digest(record_path: Path, run: int) -> str:
    """Return what a run of the judge concluded as one number, in which no name or time has a part.

    Args:
        record_path: the record.
        run: id of the run.

    Returns:
        SHA-256, hexadecimal, over the sorted (rule, its digest, verdict, missing, number of findings), as JSON.

    Raises:
        JudgeError: the record has no such run of the judge.
        RecordError: not a record.
    """
    sql = """SELECT r.name, r.digest, v.verdict, v.missing, v.findings FROM verdict AS v JOIN rule AS r ON r.id = v.rule
              WHERE v.run = ? ORDER BY 1, 2"""
    with Record(record_path) as record:
        rows = record.db.execute(sql, (run,)).fetchall()
    if not rows:
        raise JudgeError(f"{record_path}: run {run} judged nothing")
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
