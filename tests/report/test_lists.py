"""The lists: every one can be asked of every record, and says what its columns are."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.facts import families
from assay.facts.access import Escalation, KnownPassword, ProductAccount
from assay.facts.code import CallSites
from assay.facts.network import Endpoint, Listener
from assay.facts.service import Service
from assay.facts.structure import Artefact, Collector, Container, Content, Coverage, File, Run
from assay.record import Record, now, reader
from assay.report.lists import LISTS, Listing


def file(tree: int, seq: int, path: str, mode: int, content: int) -> File:
    """Return a regular file."""
    return File(
        container=tree, seq=seq, path=path, raw_path=None, type="regular", mode=mode, uid=None, gid=None, owner=None,
        group_name=None, size=9, mtime=None, atime=None, ctime=None, content=content,
    )  # fmt: skip


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record with a tree, one binary, and some facts on them."""
    path = tmp_path_factory.mktemp("lists") / "r.assay"
    with Record(path, write=True) as r:
        run = r.add(Run(command="examine", version="1", started=now()))
        by = r.add(Collector(name="test", version=1, run=run))
        artefact = r.add(Artefact(sha256=None, size=None, format="directory"))
        tree = r.add(
            Container(artefact=artefact, parent=None, file=None, format="directory", path="", depth=0, size=None)
        )
        content = r.add(Content(sha256="1" * 64, size=9, kind="elf"))
        for seq, (name, mode) in enumerate((("/bin/su", 0o4755), ("/usr/bin/tool", 0o755))):
            r.add(file(tree, seq, name, mode, content))
        r.add(Service(name="s.service", manager="systemd", enabled=None, path="/s.service", line=3), tree, None, by)
        r.add(Service(name="off", manager="systemd", enabled=False), tree, None, by)
        r.add(Listener(program="sshd", protocol="tcp", address="0.0.0.0", port=22, tls=True), tree, None, by)
        r.add(Escalation(mechanism="sudo", who="%wheel", target="ALL", command="ALL", password=False), tree, None, by)
        r.add(Endpoint(kind="url", value="http://a.example/x", host="a.example", purpose="update"), content, by)
        r.add(Endpoint(kind="host", value="a.example", host="a.example"), content, by)
        r.add(CallSites(function="strcpy", family="strcpy", variant="unbounded", sites=3), content, by)
        r.add(CallSites(function="stpcpy", family="strcpy", variant="unbounded", sites=None), content, by)
        r.add(ProductAccount(store="sqlite", name="admin", password="hash", line=4), content, by)
        r.add(KnownPassword(account="admin", scheme="clear", fingerprint="f", origin="list 1", entry=7), content, by)
        r.add(Coverage(family="endpoint", collector=by, tree=None, looked=2))
        r.index()
    return path


@pytest.mark.parametrize("listing", LISTS, ids=lambda listing: listing.name)
def test_each_can_be_asked(record: Path, listing: Listing) -> None:
    assert {*listing.families, *listing.truths} <= {*families(), *listing.columns}
    with reader(record) as db:
        rows = list(listing.rows(db))
        assert listing.count(db) == len(rows)
        assert len(db.execute(listing.sql).description) == len(listing.columns)
        assert listing.looked(db) == (2 if listing.name == "way-out" else 0)
    assert all(len(row) == len(listing.columns) for row in rows)


def test_what_they_say(record: Path) -> None:
    with reader(record) as db:
        told = {listing.name: list(listing.rows(db)) for listing in LISTS}
    assert told["way-in"] == [
        ["known-password", "admin", "entry 7 of list 1", "unknown", "clear", "/bin/su"],
        ["known-password", "admin", "entry 7 of list 1", "unknown", "clear", "/usr/bin/tool"],
        ["listener", "sshd", "tcp/22 on 0.0.0.0, protected", "unknown", "file", ""],
        ["product-account", "admin", "password hash", "unknown", "sqlite", "/bin/su:4"],
        ["product-account", "admin", "password hash", "unknown", "sqlite", "/usr/bin/tool:4"],
    ]
    ((host, *_, contents, _, _),) = told["way-out"]
    assert (host, contents) == ("a.example", 2)
    assert told["start"] == [["s.service", "systemd", "unknown", "boot", "unknown", None, "/s.service"]]
    assert told["unsafe-call"] == [
        ["strcpy", "unbounded", 3, "strcpy,stpcpy", "/bin/su"],
        ["strcpy", "unbounded", 3, "strcpy,stpcpy", "/usr/bin/tool"],
    ]
    assert told["escalation"] == [
        ["setuid", "everyone", "", "/bin/su", "no", "yes", "/bin/su"],
        ["sudo", "%wheel", "ALL", "ALL", "no", "unknown", ""],
    ]
