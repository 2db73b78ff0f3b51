from __future__ import annotations

import stat
from collections.abc import Iterator

from assay.facts.service import Directive
from assay.inspect.base import Content, ContentInspector, Tree

from .memory_tree import MemoryTree


def lines(content: Content) -> Iterator[Directive]:
    if content.data[:4] == b"boom":
        raise ValueError("boom")
    for number, line in enumerate(content.text().splitlines(), 1):
        yield Directive(dialect="test", key=line, value="", line=number)


LINES = ContentInspector("lines", 1, [Directive], lines, wants_path=lambda path: path.endswith(".conf"))


def test_links_are_followed_inside_the_tree() -> None:
    tree: Tree = MemoryTree(
        {
            "/bin": (0o777, 0, 0, "usr/bin"),
            "/usr/bin/sh": (0o755, 0, 0, b"#!"),
            "/usr/bin/up": (0o777, 0, 0, "../../../../usr/bin/sh"),
            "/a": (0o777, 0, 0, "/b"),
            "/b": (0o777, 0, 0, "a"),
            "/dev/null": (stat.S_IFCHR | 0o666, 0, 0, None),
        }
    )
    assert [file.path if (file := tree.lookup(path)) else None for path in ("/bin/up", "/a", "/bin/sh/x", "/..")] == [
        "/usr/bin/sh",
        None,
        None,
        "/",
    ]
    assert [file.path for file in tree.listdir("/bin")] == ["/usr/bin/sh", "/usr/bin/up"]
    assert [file.path for file in tree.glob("/usr/*")] == ["/usr/bin", "/usr/bin/sh", "/usr/bin/up"]
    assert [(file.path, file.type) for file in tree.glob("/dev/[^x]*")] == [("/dev/null", "chardev")]
    assert [file.path for file in tree.regular()] == ["/usr/bin/sh"]


def test_each_content_is_inspected_once_and_stands_at_all_its_paths() -> None:
    tree = MemoryTree(
        {
            "/a.conf": (0o644, 0, 0, b"one\ntwo\n"),
            "/b": (0o644, 0, 0, b"one\ntwo\n"),
            "/c": (0o644, 0, 0, b"three\n"),
            "/d.conf": (0o777, 0, 0, "b"),
            "/e.conf": (0o644, 0, 0, b"boom"),
            "/f.conf": (0o644, 0, 0, b"hidden\n"),
        },
        [LINES],
        unread=["/f.conf"],
    )
    assert [(file.path, fact.key, fact.line) for file, fact in tree.all(Directive)] == [
        ("/a.conf", "one", 1),
        ("/a.conf", "two", 2),
        ("/b", "one", 1),
        ("/b", "two", 2),
    ]
    link = tree.get("/d.conf")
    assert link is not None
    assert [fact.key for fact in tree.facts(Directive, link)] == ["one", "two"]
    assert [(path, name) for path, name, _ in tree.failures] == [("/e.conf", "lines")]
    assert [tree.unread(path) for path in ("/a.conf", "/e.conf", "/f.conf", "/g")] == [False, True, True, False]
