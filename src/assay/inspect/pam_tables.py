"""Options of the PAM modules that ask for good passwords and count bad ones, with their defaults: data only.

From the manual pages: pam_pwquality(8), pwquality.conf(5) (libpwquality 1.2.3 to 1.4.5); pam_cracklib(8), pam_tally2(8)
(Linux-PAM 1.1.8 to 1.4.0); pam_faillock(8), faillock.conf(5), pam_pwhistory(8), pwhistory.conf(5), pam_unix(8)
(Linux-PAM 1.1.8 to 1.6.0, and 1.5.2 of Debian).
"""

from __future__ import annotations

from typing import NamedTuple

Version = tuple[int, int]


class Option(NamedTuple):
    """An option of a module."""

    name: str
    default: str | None = None
    """None where the manual states none."""
    since: Version | None = None
    """First version of the module's package with this default; only stated for a known version."""
    until: Version | None = None
    least: int | None = None
    """What a lower number is raised to."""
    most: int | None = None
    """What a higher number is lowered to."""


class Module(NamedTuple):
    """A module and where its options come from."""

    subsystem: str
    kinds: tuple[str, ...]
    """Types of line on which the options count."""
    options: tuple[Option, ...]
    manual: str
    conf: str | None = None
    """Configuration file, which its arguments override."""
    folder: str | None = None
    """Directory of files read before it."""
    packages: tuple[str, ...] = ()
    """Names of the package whose version decides."""
    conf_since: Version | None = None
    """First version that reads the file."""


FLAG = "no"
"""Default of an option that is on by being named."""

_NEW = (1, 4)
_PWQUALITY = ("libpwquality1", "libpwquality", "libpam-pwquality")
_PAM = ("libpam-modules", "pam", "linux-pam", "libpam0g")

_CLASSES = (
    Option("minclass", "0", most=4),
    Option("maxrepeat", "0"),
    Option("maxclassrepeat", "0"),
    Option("maxsequence", "0"),
)

MODULES = {
    "pam_pwquality": Module(
        "pwquality",
        ("password",),
        (
            Option("difok", "5", until=_NEW),
            Option("difok", "1", since=_NEW),
            Option("minlen", "9", until=_NEW, least=6),
            Option("minlen", "8", since=_NEW, least=6),
            *(Option(f"{which}credit", "1", until=_NEW) for which in "dulo"),
            *(Option(f"{which}credit", "0", since=_NEW) for which in "dulo"),
            *_CLASSES,
            Option("gecoscheck", "0"),
            Option("dictcheck", "1", since=(1, 3)),
            Option("usercheck", "1", since=_NEW),
            Option("usersubstr", "0", since=_NEW),
            Option("enforcing", "1", since=_NEW),
            Option("badwords"),
            Option("dictpath"),
            Option("retry", "1"),
            Option("enforce_for_root", FLAG),
            Option("local_users_only", FLAG),
        ),
        "pwquality.conf(5)",
        "/etc/security/pwquality.conf",
        "/etc/security/pwquality.conf.d",
        _PWQUALITY,
    ),
    "pam_cracklib": Module(
        "pwquality",
        ("password",),
        (
            Option("difok", "5"),
            Option("minlen", "9"),
            *(Option(f"{which}credit", "1") for which in "dulo"),
            *_CLASSES,
            Option("retry", "1"),
            Option("gecoscheck", FLAG),
            Option("reject_username", FLAG),
            Option("enforce_for_root", FLAG),
            Option("dictpath"),
        ),
        "pam_cracklib(8)",
    ),
    "pam_faillock": Module(
        "faillock",
        ("auth", "account"),
        (
            Option("deny", "3"),
            Option("fail_interval", "900"),
            Option("unlock_time", "600"),
            Option("even_deny_root", FLAG),
            Option("root_unlock_time"),
            Option("admin_group"),
            Option("audit", FLAG),
            Option("silent", FLAG),
            Option("no_log_info", FLAG),
            Option("local_users_only", FLAG),
            Option("nodelay", FLAG),
            Option("dir", "/var/run/faillock"),
        ),
        "faillock.conf(5)",
        "/etc/security/faillock.conf",
        packages=_PAM,
        conf_since=(1, 4),
    ),
    "pam_tally2": Module(
        "faillock",
        ("auth", "account"),
        (
            Option("deny"),
            Option("lock_time"),
            Option("unlock_time", "never"),
            Option("even_deny_root", FLAG),
            Option("root_unlock_time"),
            Option("magic_root", FLAG),
            Option("onerr", "fail"),
            Option("serialize", FLAG),
        ),
        "pam_tally2(8)",
    ),
    "pam_pwhistory": Module(
        "pwhistory",
        ("password",),
        (
            Option("remember", "10"),
            Option("retry", "1"),
            Option("enforce_for_root", FLAG),
            Option("file", "/etc/security/opasswd"),
        ),
        "pam_pwhistory(8)",
        "/etc/security/pwhistory.conf",
        packages=_PAM,
        conf_since=(1, 6),
    ),
    "pam_unix": Module(
        "pam_unix",
        ("auth", "password"),
        (Option("nullok", FLAG),),
        "pam_unix(8)",
        packages=_PAM,
    ),
}

UNIX = {
    "auth": (Option("nodelay", FLAG),),
    "password": (Option("remember", "0"), Option("obscure", FLAG), Option("minlen"), Option("rounds")),
}
"""Options of pam_unix that count on lines of one type only."""

UNIX_MINLEN_DPKG = "6"
"""Default of pam_unix's minlen as Debian patches it; Linux-PAM as published states none."""

HASHES = ("md5", "bigcrypt", "sha256", "sha512", "blowfish", "gost_yescrypt", "yescrypt")
"""Arguments of pam_unix that choose the hash."""
