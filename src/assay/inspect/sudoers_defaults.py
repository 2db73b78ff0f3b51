"""Built-in values of sudo's Defaults: data only.

From sudoers(5) as published, for the parameters that say who may do what, and what is kept of it. A distribution may
have built in others: values that are known to be changed in the build (a time stamp's life, a time limit for the
password) are stated only for packages of which the manual is known.
"""

from __future__ import annotations

from typing import NamedTuple

Version = tuple[int, int, int]


class Default(NamedTuple):
    """What a parameter is when no line sets it."""

    name: str
    value: str
    since: Version | None = None
    """First version of which it is stated."""
    until: Version | None = None
    """First version of which it is no longer stated."""


DEFAULTS = (
    Default("authenticate", "yes"),
    Default("closefrom", "3"),
    Default("env_reset", "yes"),
    Default("exempt_group", "none"),
    Default("insults", "no"),
    Default("lecture", "once"),
    Default("log_input", "no"),
    Default("log_output", "no"),
    Default("logfile", "none"),
    Default("mail_badpass", "no"),
    Default("noexec", "no"),
    Default("passwd_tries", "3"),
    Default("path_info", "yes"),
    Default("pwfeedback", "no"),
    Default("requiretty", "no"),
    Default("root_sudo", "yes"),
    Default("rootpw", "no"),
    Default("runas_default", "root"),
    Default("runaspw", "no"),
    Default("setenv", "no"),
    Default("shell_noargs", "no"),
    Default("targetpw", "no"),
    Default("timestamp_type", "tty", (1, 8, 21)),
    Default("use_pty", "no", None, (1, 9, 14)),
    Default("use_pty", "yes", (1, 9, 14)),
    Default("visiblepw", "no"),
)

DPKG = (Default("fqdn", "yes"), Default("passwd_timeout", "0"), Default("timestamp_timeout", "15"))
"""As the manual page in Debian's package says; published are no, 5 and 5, which other distributions change, too."""


def defaults(version: Version | None, dpkg: bool) -> list[Default]:
    """Return the defaults of a version; of an unknown one, those that hold in all."""
    found = [
        default
        for default in DEFAULTS
        if (default.since is None and default.until is None)
        or (
            version is not None
            and (default.since or version) <= version
            and (not default.until or version < default.until)
        )
    ]
    return [*found, *(DPKG if dpkg else ())]
