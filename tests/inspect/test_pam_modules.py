"""Options in force of PAM modules: argument before file before default, and the scope that they hold for."""

from __future__ import annotations

from typing import Any

from assay.facts.package import Package
from assay.facts.service import Setting
from assay.inspect import login_defs, login_lists, pam, pam_modules
from assay.inspect.base import ContentInspector
from tests.support.memory_tree import MemoryTree


def package(name: str, version: str) -> ContentInspector:
    return ContentInspector(
        name="test-package",
        version=1,
        families=(Package,),
        inspect=lambda _: [Package(manager="dpkg", name=name, version=version)],
        wants_path=lambda path: path == "/var/lib/dpkg/status",
    )


def tree(files: dict[str, str], *inspectors: ContentInspector, unread: tuple[str, ...] = ()) -> MemoryTree:
    files = {"/usr/lib/libpam.so.0": "\x7fELF", "/var/lib/dpkg/status": "status"} | files
    specs = {path: (0o644, 0, 0, text.encode()) for path, text in files.items()}
    ours = [pam.INSPECTOR, pam_modules.INSPECTOR, login_defs.INSPECTOR, login_lists.INSPECTOR]
    return MemoryTree(specs, [*ours, *inspectors], unread=unread)


def short(found: Any) -> list[tuple[str, str, str, str | None, int | None, str | None]]:
    return [(s.key, s.value, s.origin, s.path, s.line, s.basis) for s in found]


PASSWD, CONF = "/etc/pam.d/passwd", "/etc/security/pwquality.conf"


def test_argument_before_file_before_default() -> None:
    found = tree(
        {
            PASSWD: "password requisite pam_pwquality.so retry=2 minlen=12 enforce_for_root\n",
            CONF: "# demands\nminlen = 9\nminclass=7\ndictcheck = 0 # off\nlocal_users_only\n",
            f"{CONF}.d/50-a.conf": "minclass = 2\nmaxrepeat = 3\n",
        },
        package("libpwquality1", "1.4.5-1"),
    )
    standing = f"pam_pwquality at {PASSWD}:1"
    default = f"pwquality.conf(5) (1.4), for {standing}"
    argument = "argument of pam_pwquality"
    settings = list(pam_modules.settings(found))
    assert {(s.subsystem, s.scope) for s in settings} == {("pwquality", "passwd/password")}
    assert short(settings) == [
        ("difok", "1", "default", None, None, default),
        ("minlen", "12", "file", PASSWD, 1, f"{argument}, overrides {CONF}:2"),
        *((f"{which}credit", "0", "default", None, None, default) for which in "dulo"),
        ("minclass", "4", "file", CONF, 3,
         f"for {standing}, overrides {CONF}.d/50-a.conf:1; 7 is lowered to the most that is taken"),
        ("maxrepeat", "3", "file", f"{CONF}.d/50-a.conf", 2, f"for {standing}"),
        ("maxclassrepeat", "0", "default", None, None, default),
        ("maxsequence", "0", "default", None, None, default),
        ("gecoscheck", "0", "default", None, None, default),
        ("dictcheck", "0", "file", CONF, 4, f"for {standing}"),
        ("usercheck", "1", "default", None, None, default),
        ("usersubstr", "0", "default", None, None, default),
        ("enforcing", "1", "default", None, None, default),
        ("retry", "2", "file", PASSWD, 1, argument),
        ("enforce_for_root", "yes", "file", PASSWD, 1, argument),
        ("local_users_only", "yes", "file", CONF, 5, f"for {standing}"),
    ]  # fmt: skip


def test_defaults_that_changed_need_a_version() -> None:
    line = {PASSWD: "password requisite pam_pwquality.so\n"}
    assert "minlen" not in {s.key for s in pam_modules.settings(tree(line))}
    old = pam_modules.settings(tree(line, package("libpwquality", "1.2.3-5.el7")))
    assert {s.key: s.value for s in old if s.key in ("minlen", "difok", "ucredit")} == {
        "difok": "5", "minlen": "9", "ucredit": "1",
    }  # fmt: skip


def test_a_file_that_was_not_read_leaves_its_options_open() -> None:
    found = tree({PASSWD: "password requisite pam_pwquality.so retry=2\n", CONF: "minlen=3\n"}, unread=(CONF,))
    assert short(pam_modules.settings(found)) == [("retry", "2", "file", PASSWD, 1, "argument of pam_pwquality")]


def test_one_line_holds_for_all_services_that_include_it() -> None:
    found = tree(
        {
            "/etc/pam.d/common-password": "password [success=1 default=ignore] pam_unix.so obscure use_authtok sha512 "
            "rounds=65536\n",
            "/etc/pam.d/common-auth": "auth sufficient pam_unix.so nullok_secure\n",
            "/etc/pam.d/login": "@include common-auth\n@include common-password\n",
            "/etc/pam.d/passwd": "@include common-password\n",
        },
        package("libpam-modules", "1.5.2-6"),
    )
    settings = list(pam_modules.settings(found))
    assert {(s.key, s.value, s.scope) for s in settings} == {
        ("nullok", "secure", "login/auth"),
        ("nodelay", "no", "login/auth"),
        ("nullok", "no", "login/password, passwd/password"),
        ("remember", "0", "login/password, passwd/password"),
        ("obscure", "yes", "login/password, passwd/password"),
        ("minlen", "6", "login/password, passwd/password"),
        ("rounds", "65536", "login/password, passwd/password"),
        ("hash", "sha512", "login/password, passwd/password"),
    }


def test_the_hash_of_login_defs() -> None:
    found = tree({PASSWD: "password required pam_unix.so\n", "/etc/login.defs": "ENCRYPT_METHOD YESCRYPT\n"})
    assert [s for s in pam_modules.settings(found) if s.key == "hash"] == [
        Setting(
            subsystem="pam_unix",
            key="hash",
            value="yescrypt",
            origin="file",
            scope="passwd/password",
            basis=f"ENCRYPT_METHOD, for pam_unix at {PASSWD}:1",
            path="/etc/login.defs",
            line=1,
        )
    ]


def test_locks() -> None:
    found = tree(
        {
            "/etc/pam.d/login": "auth required pam_faillock.so preauth deny=5\nauth required pam_tally2.so deny=4\n",
            "/etc/security/faillock.conf": "deny = 3\nroot_unlock_time = 60\nunlock_time=never\n",
        },
        package("libpam-modules", "1.5.2-6"),
    )
    faillock = {s.key: (s.value, s.origin) for s in pam_modules.settings(found) if "faillock" in (s.basis or "")}
    assert faillock == {
        "deny": ("5", "file"),
        "fail_interval": ("900", "default"),
        "unlock_time": ("never", "file"),
        "even_deny_root": ("yes", "file"),
        "root_unlock_time": ("60", "file"),
        "audit": ("no", "default"),
        "silent": ("no", "default"),
        "no_log_info": ("no", "default"),
        "local_users_only": ("no", "default"),
        "nodelay": ("no", "default"),
        "dir": ("/var/run/faillock", "default"),
    }
    tally = {s.key: s.value for s in pam_modules.settings(found) if "pam_tally2" in (s.basis or "")}
    assert tally == {
        "deny": "4", "unlock_time": "never", "even_deny_root": "no", "magic_root": "no", "onerr": "fail",
        "serialize": "no",
    }  # fmt: skip


def test_lists_hold_where_their_module_stands() -> None:
    files = {
        "/etc/security/limits.conf": "# limits\n* hard core 0\n@adm soft nofile 10 # ten\nroot -\n",
        "/etc/security/limits.d/10-a.conf": "* hard core unlimited\n",
        "/etc/security/access.conf": "+ : root : LOCAL\n-:ALL EXCEPT wheel:ALL\n",
        "/etc/securetty": "console\nttyS0\n",
        "/etc/shells": "# shells\n/bin/sh\n",
    }

    def row(
        subsystem: str, key: str, value: str, path: str, line: int, scope: str, basis: str | None = None
    ) -> Setting:
        return Setting(
            subsystem=subsystem, key=key, value=value, origin="file", scope=scope, basis=basis, path=path, line=line
        )

    shell = row("shells", "shell", "/bin/sh", "/etc/shells", 2, "")
    assert list(login_lists.settings(tree(files))) == [shell]
    limits = "/etc/security/limits.conf"
    services = {
        "/etc/pam.d/login": "auth required pam_securetty.so\naccount required pam_access.so\n"
        "session required pam_limits.so\n",
        "/etc/pam.d/su": "session required pam_limits.so\n",
    }
    both = "login/session, su/session"
    assert list(login_lists.settings(tree(files | services))) == [
        row("limits.conf", "*/hard/core", "unlimited", "/etc/security/limits.d/10-a.conf", 1, both,
            f"overrides {limits}:2"),
        row("limits.conf", "@adm/soft/nofile", "10", limits, 3, both),
        row("limits.conf", "root/-", "unlimited", limits, 4, both),
        row("access.conf", "01", "+ : root : LOCAL", "/etc/security/access.conf", 1, "login/account"),
        row("access.conf", "02", "- : ALL EXCEPT wheel : ALL", "/etc/security/access.conf", 2, "login/account"),
        row("securetty", "tty", "console", "/etc/securetty", 1, "login/auth"),
        row("securetty", "tty", "ttyS0", "/etc/securetty", 2, "login/auth"),
        shell,
    ]  # fmt: skip
