"""sudoers: directives, Defaults, privileges with aliases and exceptions, includes, hostile policies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.facts.access import Escalation
from assay.facts.service import Directive, Setting
from assay.inspect import sudoers
from assay.inspect.base import Content
from assay.unpack.base import LimitReached
from tests.support.memory_tree import MemoryTree, inspect

SUDO = {"/usr/bin/sudo": "\x7fELF"}


def tree(files: dict[str, str], *, unread: tuple[str, ...] = ()) -> MemoryTree:
    specs = {path: (0o440, 0, 0, text.encode()) for path, text in (files | SUDO).items()}
    return MemoryTree(specs, [sudoers.INSPECTOR], unread=unread)


def means(who: str, target: str, command: str, line: int, password: bool | None, **more: Any) -> Escalation:
    more.setdefault("path", "/etc/sudoers")
    more.setdefault("installed", True)
    return Escalation(mechanism="sudo", who=who, target=target, command=command, password=password, line=line, **more)


def test_directives_are_what_is_written() -> None:
    text = b"""# comment
#include /etc/sudoers.local
@includedir "/etc/sudoers.d"
Defaults:bob  !lecture, env_keep += "A B" # more
User_Alias OPS = alice, \\
    %adm : WEB = www
root ALL = ALL, NOPASSWD: /bin/mysql --password=hunter2
#1000 ALL = (ALL) ALL
"""

    def directive(key: str, value: str, line: int, section: str | None = None) -> Directive:
        return Directive(dialect="sudoers", section=section, key=key, value=value, line=line)

    assert inspect(sudoers.INSPECTOR, text) == [
        directive("@include", "/etc/sudoers.local", 2),
        directive("@includedir", "/etc/sudoers.d", 3),
        directive("Defaults", '!lecture, env_keep += "A B"', 4, ":bob"),
        directive("User_Alias", "OPS = alice,     %adm : WEB = www", 5),
        directive("privilege", "root ALL = ALL, NOPASSWD: /bin/mysql --password=[withheld]", 7),
        directive("privilege", "#1000 ALL = (ALL) ALL", 8),
    ]


def test_a_line_that_is_none_is_said_to_be_wrong() -> None:
    found = []
    with pytest.raises(ValueError, match=r"line 1: '=' expected at column 10"):
        for fact in sudoers.inspect(Content(b"root ALL ALL\nbob ALL = ALL\n", b"", "text")):
            found.append(fact.value)  # noqa: PERF401 - it raises at the end
    assert found == ["bob ALL = ALL"]


def test_privileges_with_aliases_tags_and_exceptions() -> None:
    found = tree(
        {
            "/etc/sudoers": "User_Alias OPS = alice, %adm, !carol\nCmnd_Alias SH = /bin/sh, !/bin/bash\n"
            "root ALL=(ALL:ALL) ALL\n"
            "OPS ALL = (root, www) NOPASSWD: NOEXEC: SH, PASSWD: sha256:aGFzaA== /bin/x a\\,b\n"
            "bob h1, h2 = ALL, !SH : h3 = (:adm) /bin/y\n"
        }
    )
    ops = [
        means(who, target, command, 4, password, options=options, excepting=out)
        for command, password, options, out in (
            ("/bin/sh", False, ["NOPASSWD", "NOEXEC"], ["user carol", "command /bin/bash"]),
            ("/bin/x a,b", True, ["PASSWD", "NOEXEC", "sha256:aGFzaA=="], ["user carol"]),
        )
        for who in ("alice", "%adm")
        for target in ("root", "www")
    ]
    assert list(sudoers.escalations(found)) == [
        means("root", "ALL", "ALL", 3, False, target_group="ALL"),
        *ops,
        means("bob", "root", "ALL", 5, True, condition="on h1, h2", excepting=["command /bin/sh"]),
        means("bob", "root", "/bin/bash", 5, True, condition="on h1, h2"),
        means("bob", "", "/bin/y", 5, True, condition="on h3", target_group="adm"),
    ]


@pytest.mark.parametrize(
    ("defaults", "who", "asked"),
    [
        ("", "alice", True),
        ("Defaults !authenticate\n", "alice", False),
        ("Defaults:alice !authenticate\n", "alice", False),
        ("Defaults:bob !authenticate\n", "alice", True),
        ("Defaults:%ops !authenticate\n", "alice", None),
        ("Defaults@host !authenticate\n", "alice", None),
        ("Defaults exempt_group=admin\n", "%admin", False),
        ("Defaults exempt_group=admin\n", "alice", None),
    ],
)
def test_whether_a_password_is_asked_for(defaults: str, who: str, asked: bool | None) -> None:
    found = sudoers.escalations(tree({"/etc/sudoers": f"{defaults}{who} ALL = ALL\n"}))
    assert [escalation.password for escalation in found] == [asked]


def test_defaults_and_includes_in_order() -> None:
    found = tree(
        {
            "/etc/sudoers": 'Defaults env_reset, passwd_tries=5\nDefaults env_keep = "A B"\n@includedir sudoers.d\n'
            "Defaults passwd_tries=1\n",
            "/etc/sudoers.d/10-a": "Defaults env_keep += C\nDefaults!/bin/less noexec\nops ALL = ALL\n",
            "/etc/sudoers.d/b.conf": "Defaults !authenticate\n",
            "/etc/sudoers.d/c~": "Defaults !authenticate\n",
        }
    )

    def row(key: str, value: str, line: int, path: str = "/etc/sudoers", **more: Any) -> Setting:
        return Setting(subsystem="sudoers", key=key, value=value, origin="file", path=path, line=line, **more)

    all_settings = list(sudoers.settings(found))
    assert [setting for setting in all_settings if setting.origin == "file"] == [
        row("env_reset", "yes", 1),
        row("passwd_tries", "1", 4, basis="overrides /etc/sudoers:1"),
        row("env_keep", "A B C", 1, "/etc/sudoers.d/10-a", basis="with /etc/sudoers:2"),
        row("noexec", "yes", 2, "/etc/sudoers.d/10-a", scope="Defaults!/bin/less"),
    ]
    basis = "sudoers(5) of sudo; version unknown, the same in 1.8 and 1.9, as published"
    assert Setting(subsystem="sudoers", key="authenticate", value="yes", origin="default", basis=basis) in all_settings
    assert {s.key for s in all_settings} & {"use_pty", "timestamp_timeout", "fqdn"} == set()
    assert list(sudoers.escalations(found)) == [means("ops", "root", "ALL", 3, True, path="/etc/sudoers.d/10-a")]


def test_what_was_not_read_leaves_defaults_open() -> None:
    files = {
        "/etc/sudoers": "@include /etc/sudoers.d/x\nbob ALL = ALL\n",
        "/etc/sudoers.d/x": "Defaults !authenticate\n",
    }
    found = tree(files, unread=("/etc/sudoers.d/x",))
    assert list(sudoers.settings(found)) == []
    assert list(sudoers.escalations(found)) == [means("bob", "root", "ALL", 2, None)]


def test_a_policy_stands_without_sudo() -> None:
    specs = {"/etc/sudoers": (0o440, 0, 0, b"Defaults passwd_tries=1\nroot ALL = ALL\n")}
    found = MemoryTree(specs, [sudoers.INSPECTOR])
    assert list(sudoers.settings(found)) == [
        Setting(subsystem="sudoers", key="passwd_tries", value="1", origin="file", path="/etc/sudoers", line=1)
    ]
    assert list(sudoers.escalations(found)) == [means("root", "root", "ALL", 2, False, installed=False)]


def test_aliases_and_includes_that_multiply_end() -> None:
    lines = [f"User_Alias A{n} = {', '.join([f'A{n + 1}'] * 10)}" for n in range(10)]
    found = tree({"/etc/sudoers": "\n".join([*lines, "User_Alias A10 = A0, x", "A0 ALL = ALL"])})
    with pytest.raises(LimitReached):
        list(sudoers.escalations(found))
    text = "@includedir /etc/sudoers.d\n" * 3
    loop = tree({"/etc/sudoers": text, "/etc/sudoers.d/a": text, "/etc/sudoers.d/b": text})
    with pytest.raises(LimitReached):
        list(sudoers.settings(loop))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([
    "root", "ALL", "=", "(", ")", ":", ",", "!", " ", "\n", "\\", '"', "#", "%", "^", "$", "/bin/x", "NOPASSWD:",
    "Defaults", "User_Alias", "Cmnd_Alias", "A", "sha256:ab", "@include", "+=", "x", "1",
]), max_size=40))  # fmt: skip
def test_any_text_ends_in_facts_or_a_clear_error(parts: list[str]) -> None:
    found = tree({"/etc/sudoers": "".join(parts)})
    assert all(isinstance(error, ValueError) for _, _, error in found.failures)
    for run in (sudoers.settings, sudoers.escalations):
        try:
            list(run(found))  # type: ignore[arg-type, operator]
        except (ValueError, LimitReached):
            continue
