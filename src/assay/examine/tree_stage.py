"""Running the tree inspectors, when all contents of a record have been seen.

They see facts only, but facts that stem from an image: so they run in a confined worker too, which reads the record and
nothing else.
"""

from __future__ import annotations

from collections import deque

import msgspec

from assay.facts import TreeFact, families
from assay.inspect import inspectors

from .ledger import FACT_FAMILIES, Ledger, failure
from .pool import Pool, WorkerHandle
from .protocol import Closed, TreeFacts, TreeTask, decode_facts, decode_reply
from .scheduler import Progress, cause
from .state import Box, Job
from .trees import roots
from .worker import PAGE

TREE_FAMILIES = tuple(name for name, family in families().items() if issubclass(family, TreeFact))


class TreeStage:
    """The tree inspectors' turn.

    Args:
        ledger: where facts go.
        pool: gives the worker.
        progress: told which tree is looked at.
    """

    def __init__(self, ledger: Ledger, pool: Pool, progress: Progress | None) -> None:
        self.ledger = ledger
        self.pool = pool
        self.progress = progress

    def run(self) -> None:
        """Run the tree inspectors on every root file system of the record."""
        self.ledger.record.index()
        known = {
            row[0] for row in self.ledger.record.db.execute("SELECT DISTINCT tree FROM coverage WHERE tree IS NOT NULL")
        }
        for name in TREE_FAMILIES:  # of a run that was cut short here
            self.ledger.record.db.execute(
                f'DELETE FROM "{name}" WHERE tree NOT IN (SELECT tree FROM coverage WHERE tree IS NOT NULL)'  # noqa: S608
            )
        self.ledger.record.db.execute(
            """DELETE FROM unread WHERE scope = 'inspection' AND file IS NULL AND container NOT IN
               (SELECT tree FROM coverage WHERE tree IS NOT NULL)"""
        )
        jobs: deque[Job] = deque()
        names = list(inspectors()[1])
        for number, artefact, path in self.ledger.record.db.execute(
            "SELECT id, artefact, path FROM container WHERE listed > 1 ORDER BY id"
        ).fetchall():
            if number not in known:
                found = roots(self.ledger.record.db, number)
                if found:
                    jobs.append(Job(Box(number, artefact, path, 0), roots=found, inspectors=names))
        self.ledger.record.commit()
        worker: WorkerHandle | None = None
        try:
            while jobs:
                job = jobs.popleft()
                if worker is None:
                    worker = self.pool.start(self.ledger.record.path)
                    worker.channel.sock.settimeout(self.pool.limits.wall_seconds)
                worker.context = job
                assert job.roots is not None
                if self.progress is not None:
                    self.progress.update(0, 0, 0, 0, f"tree {job.box.path or '/'}")
                task = TreeTask(job.box.id, job.roots, job.inspectors, self.pool.limits.cpu_seconds)
                try:
                    worker.channel.send(task)
                    self.tree_facts(worker, job)
                    self.ledger.record.commit()
                except (Closed, msgspec.DecodeError) as error:
                    _, step, _ = PAGE.unpack_from(worker.page)
                    wall = isinstance(error.__cause__, TimeoutError)
                    problem = cause(self.pool.end(worker, kill=True), self.pool.limits, wall=wall)
                    worker = None
                    self.ledger.rollback()
                    culprit = job.inspectors[(step - 1) % len(job.inspectors)] if step else job.inspectors[0]
                    self.ledger.unread(job.box, failure(culprit, problem), scope="inspection", inspector=_key(culprit))
                    left = [name for name in job.inspectors if name != culprit]
                    if left:
                        jobs.appendleft(Job(job.box, roots=job.roots, inspectors=left))
        finally:
            if worker is not None:  # it reads the record: nobody can close it while that lasts
                self.pool.end(worker, kill=True)

    def tree_facts(self, worker: WorkerHandle, job: Job) -> None:
        """Take the facts on one container's trees."""
        sql = "SELECT path, id FROM file WHERE container = ? ORDER BY seq"
        files: dict[str, int] = dict(self.ledger.record.db.execute(sql, (job.box.id,)).fetchall())
        while True:
            reply = decode_reply(worker.channel.receive()[0])
            if not isinstance(reply, TreeFacts):
                raise Closed("not a tree worker's answer")
            if reply.last:
                return
            facts = decode_facts(reply.facts)
            collector = self.ledger.collector(f"{reply.inspector}@{reply.version}")
            for name in FACT_FAMILIES:
                for fact in getattr(facts, name):
                    assert isinstance(fact, TreeFact)
                    self.ledger.record.add(fact, job.box.id, files.get(fact.path or ""), collector)
            if reply.error is not None:
                why = failure(reply.inspector, reply.error)
                inspector = f"{reply.inspector}@{reply.version}"
                self.ledger.unread(job.box, why, scope="inspection", inspector=inspector)


def _key(name: str) -> str:
    """Return a tree inspector as records name it."""
    return f"{name}@{inspectors()[1][name].version}"
