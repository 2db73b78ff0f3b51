"""Containers and their files, from listing to the last byte: what is to be read, and the account of what has been.

Every entry that a container lists ends as read, or as an `unread` fact with its reason. A container is complete when
all its files are, and all containers among them. A run that was killed is continued by listing again what is not
complete and reading only what the record lacks.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

import msgspec

from assay.facts.structure import Artefact, Container, File, Xattr
from assay.unpack.base import FileSource, Limits, Problem
from assay.unpack.carved import SMALLEST

from . import directory
from .ledger import Ledger
from .listing import canonical, file_fact, text
from .protocol import MAX_FDS, Listed, Listing, Opened, Result, Stretch, encode
from .state import Box, Group, Handle, Job, Spool
from .stretches import gap

BATCH_BYTES = 8 << 20
BATCH_ITEMS = 512
RESTS = 1_000
"""Stretches of one container that are searched, of those that it does not explain."""


class Changed(Exception):
    """What is examined is no longer what it was when the run began; the message is the place."""


class Examination:
    """The containers of one run, and the jobs that are left to do on them.

    Args:
        ledger: where facts go.
        limits: limits on depth and spool.
        resumed: the record holds a part of this run already.
    """

    def __init__(self, ledger: Ledger, limits: Limits, *, resumed: bool = False) -> None:
        self.ledger = ledger
        self.limits = limits
        self.resumed = resumed
        self.spool = Spool()
        self.jobs: deque[Job] = deque()
        self.done_bytes = self.total_bytes = self.done_files = self.total_files = 0
        self.given: Counter[int] = Counter()
        """Bytes of each artefact, as given."""
        self.output: Counter[int] = Counter()
        """Bytes read from all entries of each artefact, however deep."""

    def give(self, number: int, path: Path, prefix: str) -> None:
        """Take up an artefact: list a directory, or queue a file to be hashed, recognised and opened.

        Args:
            number: the artefact's fact.
            path: where it lies.
            prefix: container path that its entries get.
        """
        if path.is_dir():
            box = self.open_box(Box(0, number, prefix, 0, folder=path, format="directory"), file=None)
            if box is not None:
                self.list_folder(box)
            return
        seen, unfinished = self.ledger.record.db.execute(
            """SELECT content IS NOT NULL OR EXISTS (SELECT 1 FROM unread WHERE artefact = a.id AND container IS NULL),
                      EXISTS (SELECT 1 FROM container WHERE artefact = a.id AND file IS NULL AND NOT complete)
                 FROM artefact AS a WHERE id = ?""",
            (number,),
        ).fetchone()
        if seen and not unfinished:
            return
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        box = Box(-number, number, prefix, 0, handle=Handle(fd), size=os.fstat(fd).st_size)
        self.total_bytes += box.size
        self.given[number] = box.size
        box.groups[0] = Group(0, [], [text(os.fsencode(path.name))], encode(0), box.size, only_container=bool(seen))
        box.listed = True
        self.queue_reads(box, [box.groups[0]])

    def list_folder(self, box: Box) -> None:
        """List a directory artefact."""
        assert box.folder is not None
        batch = Listing([], [], [], [])
        for seq, entry in enumerate(directory.entries(box.folder)):
            if isinstance(entry, Problem):
                batch.problems.append(entry)
                continue
            batch.xattrs += [(len(batch.files), name, value) for name, value in entry.xattrs.items()]
            batch.files.append(file_fact(box.id, seq, entry))
            batch.locators.append(None if entry.locator is None else entry.path)
            if len(batch.files) >= 1000:
                self.on_listing(box, batch)
                batch = Listing([], [], [], [])
        self.on_listing(box, batch)
        self.on_listed(box, Listed([]))

    def open_box(self, box: Box, file: int | None) -> Box | None:
        """Enter a container into the record and return it, or None if an earlier run has completed it.

        Args:
            box: the container; its id is given here.
            file: the file that it is; None for an artefact.
        """
        row = (
            self.resumed
            and self.ledger.record.db.execute(
                """SELECT id, complete, listed FROM container
                    WHERE artefact = ? AND file IS ? AND path = ? AND format != 'image'""",
                (box.artefact, file, box.path),
            ).fetchone()
        )
        if row:
            box.id, complete, listed = row
            if complete:
                return None
            if listed is None:  # killed while listing: list it again
                self.ledger.record.commit()
                for table in (
                    "xattr WHERE file IN (SELECT id FROM file WHERE container = ?)",
                    "unread WHERE container = ?",
                    "region WHERE container = ?",
                    "file WHERE container = ?",
                ):
                    self.ledger.record.db.execute(f"DELETE FROM {table}", (box.id,))  # noqa: S608
            else:
                box.relisted = True
                sql = """SELECT seq, id, content, id IN (SELECT file FROM unread WHERE scope = 'entry'),
                                path, type, size, mtime FROM file WHERE container = ?"""
                box.known = {
                    r[0]: (r[1], r[2], bool(r[3]), r[4:]) for r in self.ledger.record.db.execute(sql, (box.id,))
                }
                sql = "SELECT file FROM container WHERE parent = ? AND NOT complete AND file IS NOT NULL"
                box.unfinished = {row[0] for row in self.ledger.record.db.execute(sql, (box.id,))}
            return box
        box.id = self.ledger.record.add(
            Container(
                artefact=box.artefact,
                parent=box.parent.id if box.parent is not None and box.parent.id > 0 else None,
                file=file,
                format=box.format,
                path=box.path,
                offset=box.offset,
                depth=box.depth,
                size=None if box.folder is not None else box.size,
            )
        )
        return box

    def on_opened(self, box: Box, opened: Opened) -> None:
        """Note that a reader has claimed a container."""
        box.format = opened.format
        if box.relisted:
            return
        values: dict[str, object] = {"format": opened.format, "detail": opened.detail}
        if opened.declared is not None:
            values["declared"] = opened.declared
        self.ledger.record.update(Container, box.id, **values)

    def on_listing(self, box: Box, listing: Listing) -> None:
        """Enter some entries of a container.

        Raises:
            Changed: it was listed before, and otherwise.
        """
        numbers = []
        for fact, locator in zip(listing.files, listing.locators, strict=True):
            known = box.known.get(fact.seq)
            if known is not None:
                number, content, unread, was = known
                if was != (fact.path, fact.type, fact.size, fact.mtime):
                    raise Changed(box.path + fact.path)
            else:
                number, content, unread = self.ledger.record.add(fact), None, False
            numbers.append(number)
            box.seen += 1
            if fact.type == "hardlink":
                if content is None and not unread:
                    box.links.append((fact.seq, number, fact.path, fact.link_target or ""))
            elif fact.type != "regular":
                box.bare.add(fact.path)
            else:
                box.stored += fact.size or 0
                again = number in box.unfinished
                if again or (content is None and not unread):
                    shared = fact.nlink != 1 and fact.nlink is not None
                    key = -1 - fact.seq if not shared else hash(("shared", locator))
                    group = box.groups.get(key)
                    if group is not None and group.locator == locator:
                        group.files.append(number)
                        group.paths.append(fact.path)
                    else:
                        box.groups[key] = Group(fact.seq, [number], [fact.path], locator, fact.size, again)
        if not box.relisted:
            for position, name, value in listing.xattrs:
                self.ledger.record.add(Xattr(file=numbers[position], name=name, value=value))
            for problem in listing.problems:
                path = canonical(problem.path)[0] if problem.path else ""
                self.ledger.unread(box, problem, path=path)

    def on_listed(self, box: Box, listed: Listed, *, queue: bool = True) -> None:
        """End a container's listing and queue its files.

        Raises:
            Changed: it was listed before, and had more entries.
        """
        if box.relisted and listed.error is None and box.seen != len(box.known):
            raise Changed(box.path or "/")
        if listed.error is not None and not (box.relisted and self.told(box)):
            self.ledger.unread(box, listed.error, scope="rest")
        if not box.relisted:
            self.regions(box, listed.stretches)
            self.ledger.record.update(Container, box.id, listed=box.seen, stored=box.stored)
            if listed.detail:
                self.ledger.record.update(Container, box.id, detail=listed.detail)
        else:
            self.resume_rests(box)
        groups = sorted(box.groups.values(), key=lambda group: group.seq)
        box.groups = {group.seq: group for group in groups}
        self.resolve_links(box, groups)
        box.listed = True
        self.total_files += len(groups)
        self.total_bytes += sum(group.size or 0 for group in groups)
        if box.folder is not None:
            self.given[box.artefact] = box.stored
        for group in groups:
            if group.locator is None:
                self.ledger.unread_group(
                    box, group, Problem("unsupported", "the container does not say where its bytes are")
                )
                del box.groups[group.seq]
        if queue:
            self.queue_reads(box, [group for group in groups if group.locator is not None])
        self.finish_box(box)

    def told(self, box: Box) -> bool:
        """Tell whether the record says already that a container's listing could not go on to the end."""
        sql = "SELECT 1 FROM unread WHERE container = ? AND scope = 'rest'"
        return self.ledger.record.db.execute(sql, (box.id,)).fetchone() is not None

    def resolve_links(self, box: Box, groups: Sequence[Group]) -> None:
        """Add each hard link to the group of the entry that it names: the last of that name before it, link or not."""
        if not box.links:
            return
        anywhere = {path: group for group in reversed(groups) for path in group.paths}
        before: dict[str, Group] = {}
        passed = 0
        for seq, number, path, target in box.links:
            while passed < len(groups) and groups[passed].seq < seq:
                before.update(dict.fromkeys(groups[passed].paths, groups[passed]))
                passed += 1
            named = canonical(os.fsencode(target))[0]
            group = before.get(named) or anywhere.get(named)
            if group is not None:
                group.files.append(number)
                group.paths.append(path)
                before[path] = group
            elif named in box.bare:
                box.bare.add(path)
            elif not box.relisted:
                missing = Problem("malformed", f"hard link to a file that the container does not list: {target}")
                self.ledger.unread(box, missing, path=path, file=number)
        box.links.clear()
        box.bare.clear()

    def queue_reads(self, box: Box, groups: Sequence[Group]) -> None:
        """Queue files in batches that keep neighbours together, those of inner containers before what waits."""
        batches: list[list[Group]] = []
        weight = 0
        most = MAX_FDS - 10 if box.folder is not None else BATCH_ITEMS
        for group in groups:
            size = BATCH_BYTES if group.size is None else group.size
            if not batches or weight + size > BATCH_BYTES or len(batches[-1]) >= most:
                batches.append([])
                weight = 0
            batches[-1].append(group)
            weight += size
        inner = box.depth > 0
        for batch in reversed(batches) if inner else batches:
            self.queue(Job(box, batch), first=inner)

    def queue(self, job: Job, *, first: bool = False) -> None:
        """Queue a job; `first` for inner containers: depth first, so that little waits and spools are soon let go."""
        job.box.outstanding += 1
        if first:
            self.jobs.appendleft(job)
        else:
            self.jobs.append(job)

    def finish_job(self, box: Box) -> None:
        """One job of a container is over."""
        box.outstanding -= 1
        self.finish_box(box)

    def finish_box(self, box: Box | None) -> None:
        """Mark a container complete if nothing of it is outstanding, and so on outwards."""
        while box is not None and box.listed and box.outstanding == 0:
            box.handle = None
            box.listed = False  # only once
            if box.id > 0:
                self.ledger.record.update(Container, box.id, complete=1)
            box = box.parent
            if box is not None:
                box.outstanding -= 1

    def on_result(self, job: Job, result: Result) -> None:
        """One file has been read, or not."""
        box = job.box
        group = box.groups.pop(result.seq, None)
        if group is None:
            return
        self.done_files += max(1, len(group.files))
        self.done_bytes += group.size if group.size is not None else result.size
        self.output[box.artefact] += result.size
        handed_over = group.only_container and (result.nested is not None or result.inner is not None)
        if result.problem is not None and not handed_over:  # then it is in the record already
            self.ledger.unread_group(box, group, result.problem)
        if result.sha256 is not None and not group.only_container:
            state = self.ledger.content(result.sha256, result.size, result.kind)
            self.ledger.apply(job, group, state, result)
            if box.id <= 0:
                values = {"sha256": result.sha256.hex(), "content": state.id}
                self.ledger.record.update(Artefact, box.artefact, **values)
                if result.nested is None and result.inner is None:
                    self.ledger.regions(box, [self.whole(box, result.kind)])
            for number in group.files:
                self.ledger.record.update(File, number, content=state.id)
        if not group.only_container:
            # What a limit kept from being decoded is no remainder: it is named as unread.
            stopped = result.problem is not None and result.problem.reason != "malformed"
            self.regions(box, result.stretches, search=not stopped)
        if result.nested is not None or result.inner is not None:
            self.enter(job, group, result)

    def regions(self, box: Box, stretches: Sequence[Stretch], *, search: bool = True) -> None:
        """Write down what explains a container's bytes, and have the bytes searched that nothing explains."""
        rests: list[Stretch] = []
        if search and box.format != "carved" and box.handle is not None and box.depth + 1 < self.limits.depth:
            rests = [s for s in stretches if s.kind == "unknown" and s.length >= SMALLEST][:RESTS]
        for rest in rests:
            rest.kind, rest.by, rest.entropy = "explained", f"carved: @{rest.offset:#x}", None
        self.ledger.regions(box, stretches)
        for rest in rests:
            self.search(box, rest.offset, rest.length)

    def search(self, box: Box, offset: int, length: int) -> None:
        """Have bytes of a container searched that it does not explain."""
        child = Box(
            0, box.artefact, f"{box.path}/@{offset:#x}!", box.depth + 1, handle=box.handle, start=box.start + offset,
            size=length, format="carved", parent=box, offset=offset,
        )  # fmt: skip
        opened = self.open_box(child, None)
        if opened is not None:
            box.outstanding += 1
            self.queue(Job(opened), first=True)

    def resume_rests(self, box: Box) -> None:
        """Go on with the bytes of a container that an earlier part of the run began to search."""
        sql = "SELECT offset, size FROM container WHERE parent = ? AND offset IS NOT NULL AND NOT complete"
        for offset, size in self.ledger.record.db.execute(sql, (box.id,)).fetchall():
            self.search(box, offset, size)

    def account(self, job: Job) -> None:
        """Name what a finished job has not reported: nothing that was listed may be passed over."""
        for group in job.groups or ():
            if job.box.groups.get(group.seq) is group:
                self.ledger.unread_group(job.box, group, Problem("crash", "its worker did not report on it"))
                del job.box.groups[group.seq]

    def exhausted(self, box: Box) -> str | None:
        """Return the limit (name=value) that an artefact's output as a whole has reached, or None."""
        out, limits = self.output[box.artefact], self.limits
        if out > limits.output_bytes:
            return f"output_bytes={limits.output_bytes}"
        if out > limits.output_from and out > limits.ratio * self.given[box.artefact]:
            return f"ratio={limits.ratio}"
        return None

    def give_up(self, job: Job, limit: str) -> None:
        """Name what a job would have read as unread, because its artefact's output has reached a limit."""
        problem = Problem("limit", f"what came out of the artefact reached the limit {limit}", limit=limit)
        if job.groups is None:
            self.on_listed(job.box, Listed([], problem))
        for group in job.groups or ():
            self.ledger.unread_group(job.box, group, problem)
            job.box.groups.pop(group.seq, None)
        self.finish_job(job.box)

    def whole(self, box: Box, kind: str) -> Stretch:
        """Return what the bytes of an artefact are that no container format claims."""
        if kind in ("elf", "text", "script") or box.handle is None or not box.size:
            return Stretch(0, box.size, "explained", kind)
        return gap(FileSource(box.handle.fd), 0, box.size)

    def enter(self, job: Job, group: Group, result: Result) -> None:
        """Take up a file that is a container: queue it to be opened, or enter what has been read of it at once."""
        box = job.box
        raw = box.id <= 0
        # Containers found in bytes are as deep as these bytes: to lie at an offset is no layer.
        depth = 0 if raw else box.depth + (box.format != "carved")
        if depth >= self.limits.depth:
            text = f"is a container ({result.kind}) {depth} deep; not opened"
            problem = Problem("limit", text, entries=0, limit=f"depth={self.limits.depth}")
            self.ledger.unread_group(box, group, problem)
            return
        handle, start, size = box.handle, 0, result.size
        if result.nested is not None:
            in_spool, start, size = result.nested
            if in_spool:
                handle = job.spool
                assert handle is not None
                handle.count()
                if self.spool.total > self.limits.spool_bytes:
                    limit = f"spool_bytes={self.limits.spool_bytes}"
                    self.ledger.unread_group(
                        box, group, Problem("limit", "no room to spool it", entries=0, limit=limit)
                    )
                    return
            elif box.folder is not None:
                assert group.locator is not None
                try:
                    handle = Handle(directory.open_file(box.folder, group.locator))
                except OSError as error:
                    problem = Problem("denied", f"cannot be opened again: {error.strerror or error}", entries=0)
                    self.ledger.unread_group(box, group, problem)
                    return
        path = box.path if raw else f"{box.path}{group.paths[0]}!"
        child = Box(
            0, box.artefact, path, depth, handle=handle, start=start, size=size, format=result.kind,
            parent=None if raw else box,
        )  # fmt: skip
        if raw:
            self.ledger.record.update(Artefact, box.artefact, format=result.kind)
        opened = self.open_box(child, group.files[0] if group.files else None)
        if opened is None:
            return
        box.outstanding += not raw
        if result.inner is None:
            self.queue(Job(opened), first=True)
            return
        child.outstanding += 1
        self.on_opened(child, result.inner.opened)
        file = msgspec.structs.replace(result.inner.file, container=child.id)
        self.on_listing(child, Listing([file], [b""], [], []))
        self.on_listed(child, Listed([]), queue=False)
        self.on_result(Job(child, spool=job.spool, claims=job.claims), result.inner.result)
        self.finish_job(child)
