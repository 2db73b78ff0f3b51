"""Records for tests of the judge: trees as tables, their facts by the real inspectors, written as an examination does.

Nothing is unpacked here, so that what the judge does is tested apart from the readers of containers; `test_examined`
judges real images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from assay.facts import TreeFact
from assay.facts.structure import Artefact, Collector, Container, Content, Coverage, File, Run, Unread
from assay.inspect import inspectors
from assay.inspect.base import TreeFile
from assay.record import Record
from tests.support.memory_tree import MemoryTree, Spec, kind_of

Tree = Mapping[str, Spec]


def write(
    path: Path,
    trees: Iterable[Tree],
    *,
    formats: Mapping[int, str] | None = None,
    unread: Iterable[Unread] = (),
    incomplete: Iterable[int] = (),
    without: Iterable[str] = (),
) -> Path:
    """Write a record of trees, each one a container.

    Args:
        path: the record.
        trees: the trees; see `tests.support.memory_tree`.
        formats: format of the container of a tree, by its number from 0; squashfs if not given.
        unread: places to be stated as unread.
        incomplete: numbers of trees whose container was not listed to its end.
        without: families for which no coverage is stated.
    """
    contents, tree_inspectors = inspectors()
    with Record(path, write=True) as record:
        run = record.add(Run(command="examine", version="0", started="2026-01-01T00:00:00+00:00"))
        artefact = record.add(Artefact(sha256="0" * 64, size=1))
        collectors = {
            name: record.add(Collector(name=name, version=1, run=run)) for name in (*contents, *tree_inspectors)
        }
        known: dict[bytes, int] = {}
        for number, files in enumerate(trees):
            container = record.add(
                Container(
                    artefact=artefact,
                    parent=None,
                    file=None,
                    format=(formats or {}).get(number, "squashfs"),
                    path=f"/part{number}!" if number else "",
                    depth=0,
                    size=1,
                    complete=number not in set(incomplete),
                )
            )
            tree = MemoryTree(files, contents.values())
            ids = {}
            for seq, file in enumerate(sorted(tree.glob("*"), key=lambda file: file.path)):
                if file.path not in files:
                    continue
                content = _content(record, tree, file, files[file.path][3], (known, collectors, contents))
                ids[file.path] = record.add(
                    File(
                        container=container,
                        seq=seq,
                        path=file.path,
                        raw_path=None,
                        type=file.type,
                        mode=file.mode,
                        uid=file.uid,
                        gid=file.gid,
                        size=file.size,
                        link_target=file.link_target,
                        content=content,
                    )
                )
            for name, inspector in tree_inspectors.items():
                facts: list[TreeFact] = list(inspector.inspect(tree))
                for fact in facts:
                    record.add(fact, container, ids.get(fact.path or ""), collectors[name])
                for family in inspector.families:
                    if family.table() not in without:
                        record.add(
                            Coverage(
                                family=family.table(), collector=collectors[name], tree=container, looked=1,
                                facts=len(facts),
                            )
                        )  # fmt: skip
        for name, inspected in contents.items():
            for family_ in inspected.families:
                if family_.table() not in without:
                    record.add(
                        Coverage(family=family_.table(), collector=collectors[name], tree=None, looked=len(known))
                    )
        for place in unread:
            record.add(place)
        record.index()
    return path


def _content(
    record: Record,
    tree: MemoryTree,
    file: TreeFile,
    data: object,
    state: tuple[dict[bytes, int], dict[str, int], object],
) -> int | None:
    known, collectors, contents = state
    if not isinstance(data, bytes) or file.content is None:
        return None
    if data not in known:
        known[data] = number = record.add(
            Content(sha256=hashlib.sha256(data).hexdigest(), size=len(data), kind=kind_of(data))
        )
        by_family = {family: name for name, i in contents.items() for family in i.families}  # type: ignore[attr-defined]
        for family in by_family:
            for fact in tree.facts(family, file):
                record.add(fact, number, collectors[by_family[family]])
    return known[data]
