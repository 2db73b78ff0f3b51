"""Writing down what workers report: contents, the facts on them, and what could not be read.

Each distinct content is entered once, with the facts of every inspector that wanted it, found by a worker in this run
or kept in the cache from an earlier one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from assay import unpack
from assay.facts import ContentFact, TreeFact, families
from assay.facts.structure import Collector, Content, Region, Unread
from assay.record import Record
from assay.unpack.base import Problem

from .cache import SMALL, FactCache
from .protocol import NOTHING, Answer, AskContents, AskStored, Known, Result, Stretch, decode_facts
from .state import Box, Claimed, ContentState, Group, Job

FACT_FAMILIES = tuple(name for name, family in families().items() if issubclass(family, ContentFact | TreeFact))


def failure(inspector: str, problem: Problem) -> Problem:
    """Return why an inspector could not finish, as it is written down: no entry is lost by it."""
    return Problem(problem.reason, f"{inspector}: {problem.detail}", entries=0, limit=problem.limit)


class Ledger:
    """The record as the scheduler writes it.

    Args:
        record: the record, open for writing.
        cache: facts of earlier runs.
        run: the run's fact.
    """

    def __init__(self, record: Record, cache: FactCache, run: int) -> None:
        self.record = record
        self.cache = cache
        self.run = run
        self.formats = unpack.formats()
        self.collectors = self._collectors()
        self.cached = 0
        self.claimed: dict[bytes, set[str]] = {}
        self._shared: dict[frozenset[str], frozenset[str]] = {}
        self._listed: dict[frozenset[str], str] = {}
        self.contents: dict[bytes, ContentState] = {}
        for number, sha, size, kind, inspected in record.db.execute(
            "SELECT id, sha256, size, kind, inspected FROM content"
        ):
            state = ContentState(number, size, kind, self.shared(inspected.split()), added=True)
            self.contents[bytes.fromhex(sha)] = state

    def _collectors(self) -> dict[str, int]:
        sql = "SELECT id, name, version FROM collector WHERE run = ?"
        return {f"{name}@{version}": number for number, name, version in self.record.db.execute(sql, (self.run,))}

    def rollback(self) -> None:
        """Forget what has been added since the last commit."""
        self.record.rollback()
        self.collectors = self._collectors()

    def shared(self, names: Iterable[str]) -> frozenset[str]:
        """Return a set of names, the same object for equal sets: a million contents have a few dozen."""
        names = frozenset(names)
        return self._shared.setdefault(names, names)

    def content(self, sha256: bytes, size: int, kind: str) -> ContentState:
        """Return the state of a content, new or known."""
        state = self.contents.get(sha256)
        if state is None:
            state = self.contents[sha256] = ContentState(self.record.reserve(Content), size, kind)
        return state

    def ensure(self, sha256: bytes, state: ContentState) -> None:
        """Enter a content into the record, or complete which inspectors have seen it."""
        inspected = self._listed.get(state.applied)
        if inspected is None:
            inspected = self._listed[state.applied] = " ".join(sorted(state.applied))
        if not state.added:
            fact = Content(sha256=sha256.hex(), size=state.size, kind=state.kind, inspected=inspected)
            self.record.add(fact, number=state.id)
            state.added = True
        else:
            self.record.update(Content, state.id, inspected=inspected)

    def apply(self, job: Job, group: Group, state: ContentState, result: Result) -> None:
        """Write down what inspectors found in a content."""
        assert result.sha256 is not None
        box = job.box
        failed = False
        heard: set[str] = set()
        for inspection in result.inspections:
            if inspection.inspector in state.applied or inspection.inspector in heard:
                continue
            heard.add(inspection.inspector)
            self.facts(state, inspection.inspector, inspection.facts)
            if inspection.error is None and result.size > SMALL:
                claimed = job.claims.get(result.sha256)
                by_head = claimed is not None and inspection.inspector in claimed.heads
                self.cache.add_facts(result.sha256, inspection.inspector, by_head, inspection.facts)
            if inspection.error is not None:
                failed = True
                why = failure(inspection.inspector, inspection.error)
                self.unread_group(box, group, why, "inspection", inspection.inspector)
        if heard:
            state.applied = self.shared(state.applied | heard)
        if result.inspections or not state.added:
            self.ensure(result.sha256, state)
        if not failed and result.size > SMALL and (result.inspections or result.stored is not None):
            # What holds a container must be read again for it: it is not to be recognised by its stored form.
            stored = None if result.nested is not None else result.stored
            self.cache.add(result.sha256, result.size, result.kind, stored)
            if result.inner is not None:
                self.cache.add_inner(result.sha256, result.inner)

    def facts(self, state: ContentState, inspector: str, packed: bytes) -> None:
        """Add an inspector's facts on a content."""
        collector = self.collector(inspector)
        if packed == NOTHING:
            return
        facts = decode_facts(packed)
        for name in FACT_FAMILIES:
            for fact in getattr(facts, name):
                self.record.add(fact, state.id, collector)

    def collector(self, key: str) -> int:
        """Return the collector fact of an inspector in this run."""
        number = self.collectors.get(key)
        if number is None:
            name, _, version = key.partition("@")
            number = self.record.add(Collector(name=name, version=int(version), run=self.run))
            self.collectors[key] = number
        return number

    def from_cache(self, sha256: bytes, state: ContentState, cached: dict[str, tuple[bool, bytes]]) -> None:
        """Add facts that an earlier run has found."""
        fresh = {key: facts for key, (_, facts) in cached.items() if key not in state.applied}
        if fresh or not state.added:
            self.cached += not state.added
            state.applied = self.shared(state.applied | fresh.keys())
            for key, packed in fresh.items():
                self.facts(state, key, packed)
            self.ensure(sha256, state)

    def unread(
        self,
        box: Box,
        problem: Problem,
        *,
        scope: str = "entry",
        path: str = "",
        file: int | None = None,
        inspector: str | None = None,
    ) -> None:
        """Add an `unread` fact."""
        self.record.add(
            Unread(
                artefact=box.artefact,
                container=box.id if box.id > 0 else None,
                file=file,
                path=box.path + path,
                scope=scope,
                reason=problem.reason,
                limit=problem.limit,
                detail=problem.detail,
                entries=problem.entries,
                inspector=inspector,
            )
        )

    def unread_group(
        self, box: Box, group: Group, problem: Problem, scope: str = "entry", inspector: str | None = None
    ) -> None:
        """Add an `unread` fact for each file of a group."""
        if not group.files:  # the artefact itself
            self.unread(box, problem, scope=scope, inspector=inspector)
            return
        for number, path in zip(group.files, group.paths, strict=True):
            self.unread(box, problem, scope=scope, path=path, file=number, inspector=inspector)

    def regions(self, box: Box, stretches: Iterable[Stretch]) -> None:
        """Add what explains the bytes of a container, or of the artefact if it is one."""
        nested = box.id if box.id > 0 and box.parent is not None else None
        for s in stretches:
            self.record.add(
                Region(
                    artefact=box.artefact, container=nested, offset=s.offset, length=s.length, kind=s.kind, by=s.by,
                    entropy=s.entropy,
                )
            )  # fmt: skip

    def answer_stored(self, question: AskStored) -> Answer:
        """Recognise contents by their stored form."""
        stored = self.cache.by_stored([digest for digest in question.digests if digest is not None])
        streams = [sha256 for sha256, _, kind in stored.values() if question.inline and kind in self.formats]
        inners = self.cache.inner(streams)
        came_out = [inner.result.sha256 for inner in inners.values() if inner.result.sha256 is not None]
        facts = self.cache.facts([*(sha256 for sha256, _, _ in stored.values()), *came_out])
        if not self.cache.usable:
            return Answer([None] * len(question.digests))
        answers: list[Known | None] = []
        for digest, wanted in zip(question.digests, question.wanted, strict=True):
            row = stored.get(digest) if digest is not None else None
            inner = inners.get(row[0]) if row is not None else None
            if (
                row is None
                or (row[2] in self.formats and inner is None)
                or (inner is not None and not self.recall(inner.result, inner.wanted, facts))
                or not self.recall(Result(0, *row), wanted, facts)
            ):
                answers.append(None)
                continue
            answers.append(Known(*row, [], inner))
        return Answer(answers)

    def recall(
        self, result: Result, wanted: Collection[str], facts: Mapping[bytes, dict[str, tuple[bool, bytes]]]
    ) -> bool:
        """Add what earlier runs found in a content, if the cache has every inspector that wants it; tell whether so."""
        assert result.sha256 is not None
        cached = facts.get(result.sha256, {})
        if any(key not in cached for key in wanted):
            return False
        state = self.content(result.sha256, result.size, result.kind)
        self.from_cache(result.sha256, state, {k: v for k, v in cached.items() if v[0] or k in wanted})
        return True

    def release(self, job: Job) -> None:
        """Let go of what a job had claimed for its worker."""
        for sha256, claim in job.claims.items():
            left = self.claimed.get(sha256, set())
            left -= claim.inspectors
            if not left:
                self.claimed.pop(sha256, None)
        job.claims.clear()

    def answer_contents(self, job: Job, question: AskContents) -> Answer:
        """Say which inspectors must still look at contents."""
        answers: list[Known | None] = []
        facts = self.cache.facts([content[0] for content in question.contents if content[1] > SMALL])
        for sha256, size, kind, by_path, by_head in question.contents:
            state = self.content(sha256, size, kind)
            wanted = {*by_path, *by_head}
            todo = wanted - state.applied - self.claimed.get(sha256, set())
            if todo:
                cached = facts.get(sha256, {})
                hits = {key: cached[key] for key in todo if key in cached}
                if hits:
                    self.from_cache(sha256, state, hits)
                    todo -= hits.keys()
            if todo:
                self.claimed.setdefault(sha256, set()).update(todo)
                job.claims[sha256] = Claimed(todo, self.shared(by_head))
            answers.append(Known(sha256, size, kind, sorted(todo)))
        return Answer(answers)
