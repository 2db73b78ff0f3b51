"""The main job from end to end: artefacts in, a record with all facts out."""

from __future__ import annotations

import gc
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from assay import __version__
from assay.facts.identity import Identity
from assay.facts.structure import Artefact, Collector, Run
from assay.folders import cache_folder
from assay.record import Record, now
from assay.unpack.base import Limits
from assay.unpack.secrets import Secrets, holding

from .cache import FactCache
from .coverage import write_coverage
from .examination import Changed, Examination
from .images import compose_images
from .ledger import Ledger
from .pool import Pool
from .scheduler import Progress, Scheduler
from .tree_stage import TreeStage


class ExamineError(Exception):
    """The examination cannot be done (on); one line that says what, where, and what to do."""


@dataclass(frozen=True)
class Given:
    """An artefact as it was given."""

    path: Path
    size: int | None
    mtime: int

    def key(self) -> str:
        """Return a digest by which a continued run knows that it is the same: where it lies stays out of the record."""
        text = f"{self.path.resolve()}\0{self.size}\0{self.mtime}"
        return hashlib.sha256(os.fsencode(text)).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """How an examination ended."""

    record: Path
    artefacts: int
    containers: int
    files: int
    contents: int
    bytes_read: int
    unread: int
    """Entries that could not be read."""
    cached: int
    """Contents whose facts came from the cache."""
    seconds: float
    resumed: bool


def examine(
    paths: Sequence[Path],
    output: Path,
    *,
    limits: Limits | None = None,
    workers: int | None = None,
    sandbox: bool = True,
    cache: Path | None = None,
    spool: Path | None = None,
    progress: Progress | None = None,
    secrets: Secrets | None = None,
) -> Outcome:
    """Examine artefacts into a record; continue a record whose examination of the same artefacts was cut short.

    Args:
        paths: artefacts: files or directories.
        output: the record to make or to continue.
        limits: limits on the work; kept in the record.
        workers: worker processes; by default one for each processor.
        sandbox: refuse to work unless workers can be fully confined.
        cache: folder of the fact cache; None for no cache.
        spool: folder for nameless temporary files; by default the system's.
        progress: told what goes on.
        secrets: passwords and keys to open with what is encrypted, and to verify with what is signed. What they open
            stays out of the cache, and what the cache holds was seen without them: a run that has some uses none.

    Returns:
        Counts of what was read and what was not.

    Raises:
        ExamineError: an artefact cannot be read, the record would lie in one, or holds a finished or another
            examination.
        RecordError: the record cannot be written.
        SandboxUnavailable: workers cannot be confined, and `sandbox`.
        KeyboardInterrupt: interrupted; the record can be continued.
    """
    limits = limits or Limits()
    secrets = secrets or Secrets()
    started = time.monotonic()
    given: list[Given] = []
    for path in paths:
        try:
            if not path.is_dir():
                with path.open("rb"):
                    pass
        except OSError as error:
            raise ExamineError(f"{path}: cannot be read: {error.strerror}") from error
        if not (path.is_dir() or path.is_file()):
            raise ExamineError(f"{path}: is neither a file nor a directory")
        given.append(Given(path, path.stat().st_size if path.is_file() else None, path.stat().st_mtime_ns))
    keep_apart(paths, [output])
    fresh = not output.exists()
    collecting = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)  # millions of small objects, hardly a cycle: inherited by the workers
    with holding(secrets):  # workers are forked from what is forked here
        pool = Pool(limits, required=sandbox, folder=cache_folder())
    examination = None
    try:
        with Record(output, write=True) as record:
            run, numbers, resumed = _begin(record, given, limits, secrets)
            if resumed:
                record.index()
            facts = FactCache(None if secrets else cache)
            ledger = Ledger(record, facts, run)
            examination = Examination(ledger, limits, resumed=resumed)
            try:
                scheduler = Scheduler(
                    examination, ledger, pool, limits, progress, most=workers or os.cpu_count() or 1, spool_folder=spool
                )
                record.update(Run, run, sandbox=scheduler.start_worker().sandbox)
                for number, path in zip(numbers, paths, strict=True):
                    examination.give(number, path, "" if len(paths) == 1 else f"[{number}]")
                scheduler.loop()
                compose_images(record)
                TreeStage(ledger, pool, progress).run()
                write_coverage(record, ledger.collector)
                record.update(Run, run, finished=now())
            except Changed as error:
                raise ExamineError(
                    f"{error}: has changed since the record {output} was begun; remove that, or choose another by -o"
                ) from error
            finally:
                facts.close()
            return _outcome(record, examination, started, resumed)
    except BaseException:
        if fresh and output.exists() and (examination is None or not examination.ledger.contents):
            output.unlink()
        raise
    finally:
        pool.close()
        gc.set_threshold(*collecting)


def keep_apart(paths: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Refuse to write over what is examined, or into it.

    Args:
        paths: artefacts.
        outputs: files that are to be written.

    Raises:
        ExamineError: an output is an artefact, or lies in one.
    """
    for path in [path.resolve() for path in paths]:
        for output in outputs:
            if output.resolve().is_relative_to(path):
                raise ExamineError(
                    f"{output}: would be written over or into what is to be examined; choose another place with -o"
                )


def _begin(record: Record, given: list[Given], limits: Limits, secrets: Secrets) -> tuple[int, list[int], bool]:
    """Enter the run and its artefacts, or find those of the run to be continued."""
    keys = [g.key() for g in given]
    old = record.db.execute(
        "SELECT id, finished, options FROM run WHERE command = 'examine' ORDER BY id DESC LIMIT 1"
    ).fetchone()
    if old is not None:
        number, finished, stated = old
        if finished is not None:
            raise ExamineError(
                f"{record.path}: holds a finished examination; choose another name with -o, or remove it"
            )
        kept = msgspec.json.decode(stated)
        if kept.get("artefacts") != keys:
            raise ExamineError(
                f"{record.path}: holds an unfinished examination of other artefacts (or they have changed since); "
                "choose another name with -o, or remove it"
            )
        if kept.get("secrets", {}) != secrets.counts():
            raise ExamineError(
                f"{record.path}: holds an unfinished examination with {_told(kept.get('secrets', {}))}; give the same "
                "again, choose another name with -o, or remove it"
            )
        numbers = [row[0] for row in record.db.execute("SELECT id FROM artefact ORDER BY id")]
        return number, numbers, True
    options: dict[str, object] = {"artefacts": keys, "limits": msgspec.structs.asdict(limits)}
    if secrets:
        options["secrets"] = secrets.counts()  # never more than how many
    run = record.add(Run(command="examine", version=__version__, started=now(), options=options))
    collector = record.add(Collector(name="examine", version=1, run=run))
    numbers = []
    for g in given:
        number = record.add(Artefact(sha256=None, size=g.size, format="directory" if g.size is None else None))
        name = os.fsencode(g.path.resolve().name).decode("utf-8", "backslashreplace")
        record.add(Identity(subject=f"artefact:{number}", attribute="name", value=name), None, collector)
        numbers.append(number)
    record.commit()
    return run, numbers, False


def _told(counts: dict[str, int]) -> str:
    return f"{counts.get('passwords', 0)} passwords and {counts.get('keys', 0)} keys"


def _outcome(record: Record, examination: Examination, started: float, resumed: bool) -> Outcome:
    def count(sql: str) -> int:
        return int(record.db.execute(sql).fetchone()[0] or 0)

    record.commit()
    return Outcome(
        record=record.path,
        artefacts=count("SELECT count(*) FROM artefact"),
        containers=count("SELECT count(*) FROM container"),
        files=count("SELECT count(*) FROM file"),
        contents=count("SELECT count(*) FROM content"),
        bytes_read=examination.done_bytes,
        unread=count("SELECT sum(max(entries, 1)) FROM unread"),
        cached=examination.ledger.cached,
        seconds=time.monotonic() - started,
        resumed=resumed,
    )
