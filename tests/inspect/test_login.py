"""login.defs, useradd's defaults and the start files of shells."""

from __future__ import annotations

from assay.facts.service import Directive, Setting
from assay.inspect import login_defs, login_profile
from tests.support.memory_tree import MemoryTree, inspect


def tree(files: dict[str, str], *, unread: tuple[str, ...] = ()) -> MemoryTree:
    specs = {path: (0o644, 0, 0, text.encode()) for path, text in files.items()}
    return MemoryTree(specs, [login_defs.INSPECTOR, login_profile.INSPECTOR], unread=unread)


DEFS = "/etc/login.defs"
FILES = {
    "/usr/sbin/useradd": "\x7fELF",
    DEFS: '# site\nPASS_MAX_DAYS 90\n  UMASK\t"027"\nPASS_MAX_DAYS 60\n#PASS_MIN_DAYS 1\n',
    "/etc/default/useradd": "# INACTIVE=3\nINACTIVE=\nSHELL=/bin/sh\n",
}


def test_the_last_value_holds_and_defaults_fill_the_rest() -> None:
    def row(subsystem: str, key: str, value: str, line: int, path: str, basis: str | None = None) -> Setting:
        return Setting(subsystem=subsystem, key=key, value=value, origin="file", basis=basis, path=path, line=line)

    found = list(login_defs.settings(tree(FILES)))
    useradd = "/etc/default/useradd"
    assert [s for s in found if s.origin == "file"] == [
        row("login.defs", "PASS_MAX_DAYS", "60", 4, DEFS, f"overrides {DEFS}:2"),
        row("login.defs", "UMASK", "027", 3, DEFS),
        row("useradd", "INACTIVE", "-1", 2, useradd, "an empty value is no number: useradd takes -1"),
        row("useradd", "SHELL", "/bin/sh", 3, useradd),
    ]
    defaults = {(s.subsystem, s.key): (s.value, s.basis) for s in found if s.origin == "default"}
    assert defaults == {
        ("login.defs", d.key): (d.value, "login.defs(5) of shadow 4.13")
        for d in login_defs.DEFAULTS
        if d.key not in ("PASS_MAX_DAYS", "UMASK")
    } | {
        ("useradd", d.key): (d.value, "useradd(8) of shadow 4.13")
        for d in login_defs.USERADD_DEFAULTS
        if d.key != "INACTIVE"
    }


def test_what_was_not_read_and_what_is_not_there() -> None:
    assert {s.subsystem for s in login_defs.settings(tree(FILES, unread=(DEFS,)))} == {"useradd"}
    assert list(login_defs.settings(tree({DEFS: FILES[DEFS]}))) == []
    bare = login_defs.settings(tree({"/usr/bin/chage": "\x7fELF"}))
    assert {s.basis for s in bare} == {"login.defs(5) of shadow 4.13; no such file in this tree"}


def test_assignments_are_read_without_running_them() -> None:
    text = b"""# TMOUT=1
TMOUT=900; export TMOUT
readonly TMOUT
declare -xr TMOUT="600" # idle
if [ "$UID" -gt 199 ]; then
    umask 002
else
    umask u=rwx,g=rx
fi
umask 027
echo "umask 000" 'TMOUT=5'
[ -n "$X" ] && TMOUT=$X
umask -S
MYTMOUT=4
f() {
  umask 077
}
"""

    def directive(key: str, value: str, line: int, section: str | None = None) -> Directive:
        return Directive(dialect="profile", section=section, key=key, value=value, line=line)

    assert inspect(login_profile.INSPECTOR, text) == [
        directive("TMOUT", "900", 2),
        directive("readonly", "TMOUT", 3),
        directive("TMOUT", "600", 4),
        directive("readonly", "TMOUT", 4),
        directive("umask", "002", 6, "if"),
        directive("umask", "u=rwx,g=rx", 8, "if"),
        directive("umask", "027", 10),
        directive("TMOUT", "$X", 12, "if"),
        directive("umask", "077", 16, "if"),
    ]


def test_start_files_count_where_a_shell_reads_them() -> None:
    part = {"/etc/profile.d/a.sh": "TMOUT=600\n", "/etc/bash.bashrc": "umask 077\n"}

    def row(key: str, value: str, path: str, line: int, scope: str, basis: str | None = None) -> Setting:
        return Setting(
            subsystem="profile", key=key, value=value, origin="file", scope=scope, basis=basis, path=path, line=line
        )

    bashrc = row("umask", "077", "/etc/bash.bashrc", 1, "interactive bash")
    assert list(login_profile.settings(tree({"/etc/profile": "true\n"} | part))) == [bashrc]
    profile = "for i in /etc/profile.d/*.sh; do . $i; done\nif true; then TMOUT=5; fi\nreadonly TMOUT\n"
    assert list(login_profile.settings(tree({"/etc/profile": profile} | part))) == [
        row("TMOUT", "5", "/etc/profile", 2, "login shells, under a condition", "also set at /etc/profile.d/a.sh:1"),
        row("readonly TMOUT", "yes", "/etc/profile", 3, "login shells"),
        row("TMOUT", "600", "/etc/profile.d/a.sh", 1, "login shells", "also set at /etc/profile:2"),
        bashrc,
    ]
