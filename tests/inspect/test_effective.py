"""What the readers of daemons' configurations have in common: includes, merging, versions, presence, what starts it."""

from __future__ import annotations

import pytest

from assay.inspect import chrony, starting
from assay.inspect.effective import Default, Effective, present, stated, version
from tests.support.daemons import PROGRAM, tree

TABLE = (Default("a", "1"), Default("b", "old", (), (3, 0)), Default("b", "new", (3, 0)))


@pytest.mark.parametrize(
    ("installed", "expected"),
    [(None, {"a": "1"}), ("1:2.9-1", {"a": "1", "b": "old"}), ("3.0", {"a": "1", "b": "new"}), ("git", {"a": "1"})],
)
def test_defaults_follow_the_version(installed: str | None, expected: dict[str, str]) -> None:
    found = tree({}, installed=("x", installed) if installed else None)
    assert {default.key: default.value for default in stated(found, TABLE, "x(5)", ("x", "y"))[0]} == expected


def test_version_of_a_package() -> None:
    assert version(tree({}, installed=("x", "2:252.36-1~deb12u1")), ("x",)) == (252, 36)
    assert version(tree({}, installed=("x", "2")), ("y",)) is None


def test_a_program_is_present_by_itself_by_link_or_elsewhere_beside_its_configuration() -> None:
    assert present(tree({}, programs=["/usr/sbin/x"]), "x")
    assert present(tree({"/usr/sbin/x": "-> /mnt/data/x"}), "x")
    assert present(tree({"/sbin": "-> usr/bin"}, programs=["/usr/bin/x"]), "x")
    assert not present(tree({"/usr/sbin/x": "-> /bin/busybox", "/bin/busybox": PROGRAM}), "x")
    assert not present(tree({"/usr/sbin/x": "-> /dev/null"}), "x")
    assert not present(tree({}, programs=["/opt/v/sbin/x"]), "x", beside=("/etc/x.conf",))
    assert present(tree({"/etc/x.conf": ""}, programs=["/opt/v/sbin/x"]), "x", beside=("/etc/x.conf",))


def test_matches_as_glob_does() -> None:
    found = tree({"/e/a/2.conf": "", "/e/b/1.conf": "", "/e/b/.c.conf": "", "/e/b/d": "", "/e/l": "-> b"})
    reading = Effective(found, "x", "x")
    assert [file.path for file in reading.matches("/e/[ab]/*.conf")] == ["/e/a/2.conf", "/e/b/1.conf"]
    assert [file.path for file in reading.matches("/e/l/1.conf")] == ["/e/b/1.conf"]
    assert reading.matches("/e/none*") == []


def test_what_a_lost_file_could_have_changed_is_not_stated() -> None:
    found = tree({"/etc/a": "x"})
    file = found.lookup("/etc/a")
    assert file is not None
    last = Effective(found, "x", "x")
    last.put("k", "1", file, 1)
    last.put("list", "1", file, 2, which="1")
    last.lose()
    last.put("m", "2", file, 3)
    assert [(row.key, row.value) for row in last.settings()] == [("list", "1"), ("m", "2")]
    assert list(last.defaults(TABLE, "x(5)")) == []
    first = Effective(found, "x", "x", first=True)
    first.put("k", "1", file, 1)
    first.lose()
    first.put("m", "2", file, 3)
    assert [(row.key, row.value) for row in first.settings()] == [("k", "1")]


def test_an_included_file_that_no_reader_knows_counts_as_unread() -> None:
    files = {"/etc/chrony.conf": "port 1\ninclude /opt/x\ncmdport 2\n", "/opt/x": "port 3\n"}
    reading = chrony.read(tree(files, chrony.INSPECTOR))
    assert reading is not None
    assert [(row.key, row.value) for row in reading.settings()] == [("cmdport", "2")]
    assert not reading.certain


def test_includes_without_end_stop() -> None:
    files = {f"/etc/chrony.d/{n}.conf": "include /etc/chrony.d/*.conf\n" * 9 for n in range(9)}
    found = tree(files | {"/etc/chrony.conf": "include /etc/chrony.d/*.conf\nport 1\n"}, chrony.INSPECTOR)
    reading = chrony.read(found)
    assert reading is not None
    assert not reading.certain


def test_the_service_that_starts_at_boot_is_named() -> None:
    units = "/usr/lib/systemd/system"
    found = tree(
        {
            f"{units}/a.service": "[Service]\nExecStart=/usr/sbin/x -a\n",
            f"{units}/b.service": "[Service]\nExecStart=/usr/sbin/x -b\n",
            f"{units}/default.target": "[Unit]\nWants=b.service\n",
        },
        programs=["/usr/sbin/x", "/usr/lib/systemd/systemd"],
    )
    row = starting.starter(found, ("x",))
    assert row is not None
    assert (row.name, row.enabled) == ("b.service", True)
    assert starting.starter(found, ("y",)) is None
