"""PAM: lines as libpam reads them, stacks with inclusions, what stands for a missing type, hostile configurations."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.facts.service import Directive, Setting
from assay.inspect import pam
from assay.unpack.base import LimitReached
from tests.support.memory_tree import MemoryTree, inspect

LIBRARY = {"/lib/x86_64-linux-gnu/libpam.so.0": "\x7fELF"}


def tree(files: dict[str, str], *, unread: tuple[str, ...] = ()) -> MemoryTree:
    specs = {path: (0o644, 0, 0, text.encode()) for path, text in (files | LIBRARY).items()}
    return MemoryTree(specs, [pam.INSPECTOR], unread=unread)


def row(key: str, value: str, path: str, line: int, basis: str | None = None, scope: str = "") -> Setting:
    return Setting(subsystem="pam", key=key, value=value, origin="file", scope=scope, basis=basis, path=path, line=line)


def test_directives_are_what_is_written() -> None:
    text = b"""#%PAM-1.0
AUTH  Required  pam_unix.so nullok # empty
-session optional pam_systemd.so
auth [success=1 default=ignore] \\
     pam_x.so [a b] \\

@include common-auth
account required pam_mysql.so user=pam passwd=hunter2
"""

    def directive(key: str, value: str, line: int) -> Directive:
        return Directive(dialect="pam", key=key, value=value, line=line)

    assert inspect(pam.INSPECTOR, text) == [
        directive("auth", "Required pam_unix.so nullok", 2),
        directive("-session", "optional pam_systemd.so", 3),
        directive("auth", "[success=1 default=ignore] pam_x.so [a b] @include common-auth", 4),
        directive("account", "required pam_mysql.so user=pam passwd=[withheld]", 8),
    ]


def test_a_line_without_a_type_is_said_to_be_wrong() -> None:
    inspector = pam.INSPECTOR.inspect
    content = pam.Content(b"auth required a.so\nnonsense here\n", b"", "text")
    found = []
    with pytest.raises(ValueError, match="line 2: no module type that PAM knows"):
        for fact in inspector(content):
            found.append(fact)  # noqa: PERF402 - it raises at the end
    assert len(found) == 1


def test_inclusions_stand_in_place_and_name_their_line() -> None:
    found = tree(
        {
            "/etc/pam.d/sshd": "auth required pam_first.so\n@include common-auth\nauth substack system-auth\n"
            "account include system-auth\nsession include gone\n",
            "/etc/pam.d/common-auth": "auth sufficient pam_unix.so\naccount required pam_c.so\n",
            "/etc/pam.d/system-auth": "auth required pam_deny.so\naccount required pam_s.so\n",
            "/etc/pam.d/other": "password requisite pam_deny.so\n",
            "/etc/pam.d/login": "auth required pam_l.so\n-account optional pam_q.so\n",
            "/etc/pam.d/login.dpkg-old": "auth required pam_old.so\n",
        }
    )
    sshd, common, system = "/etc/pam.d/sshd", "/etc/pam.d/common-auth", "/etc/pam.d/system-auth"
    other = "no password line of login: those of other"
    assert list(pam.settings(found)) == [
        row("login/auth/01", "required pam_l.so", "/etc/pam.d/login", 1),
        row("login/account/01", "optional pam_q.so", "/etc/pam.d/login", 2,
            "a module that is not there is not reported"),
        row("login/password/01", "requisite pam_deny.so", "/etc/pam.d/other", 1, other),
        row("other/password/01", "requisite pam_deny.so", "/etc/pam.d/other", 1),
        row("sshd/auth/01", "required pam_first.so", sshd, 1),
        row("sshd/auth/02", "sufficient pam_unix.so", common, 1, f"included by {sshd}:2"),
        row("sshd/auth/03", "required pam_deny.so", system, 1, f"included by {sshd}:3", "substack system-auth"),
        row("sshd/account/01", "required pam_c.so", common, 2, f"included by {sshd}:2"),
        row("sshd/account/02", "required pam_s.so", system, 2, f"included by {sshd}:4"),
        row("sshd/session/01", "include gone", sshd, 5, "gone is not in this tree"),
    ]  # fmt: skip


def test_pam_conf_counts_only_without_a_directory() -> None:
    conf = "login auth required pam_unix.so\nLOGIN session optional pam_s.so\nother auth required pam_deny.so\n"
    assert list(pam.settings(tree({"/etc/pam.conf": conf}))) == [
        row("login/auth/01", "required pam_unix.so", "/etc/pam.conf", 1),
        row("login/session/01", "optional pam_s.so", "/etc/pam.conf", 2),
        row("other/auth/01", "required pam_deny.so", "/etc/pam.conf", 3),
    ]
    both = tree({"/etc/pam.conf": conf, "/usr/lib/pam.d/su": "auth required pam_v.so\n"})
    assert list(pam.settings(both)) == [row("su/auth/01", "required pam_v.so", "/usr/lib/pam.d/su", 1)]


def test_what_was_not_read_is_not_guessed() -> None:
    found = tree(
        {
            "/etc/pam.d/su": "auth include secret\n",
            "/etc/pam.d/secret": "auth required pam_permit.so\n",
            "/etc/pam.d/other": "account required pam_deny.so\n",
        },
        unread=("/etc/pam.d/secret",),
    )
    assert list(pam.settings(found)) == [
        row("other/account/01", "required pam_deny.so", "/etc/pam.d/other", 1),
        row("su/auth/01", "include secret", "/etc/pam.d/su", 1, "secret was not read"),
    ]


def test_without_libpam_no_line_counts() -> None:
    specs = {"/etc/pam.d/su": (0o644, 0, 0, b"auth required pam_unix.so\n")}
    assert list(pam.settings(MemoryTree(specs, [pam.INSPECTOR]))) == []


def test_inclusions_that_multiply_end() -> None:
    text = "@include a\n@include b\n" * 8
    found = tree({"/etc/pam.d/a": text, "/etc/pam.d/b": text + "auth required pam_x.so\n"})
    with pytest.raises(LimitReached):
        list(pam.settings(found))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="auth [](){}\\#\n\t-=@include.so", max_size=200))
def test_any_text_ends_in_facts_or_a_clear_error(text: str) -> None:
    found = tree({"/etc/pam.d/x": text, "/etc/pam.d/include": text})
    assert all(isinstance(error, ValueError) for _, _, error in found.failures)
    assert all(setting.subsystem == "pam" for setting in pam.settings(found))


def test_brackets_that_do_not_end_take_no_square_of_time() -> None:
    text = "auth " + "[a " * 100_000
    assert len(inspect(pam.INSPECTOR, text.encode())) == 1
