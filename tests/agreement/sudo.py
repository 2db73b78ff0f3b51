"""sudo: privileges as `cvtsudoers -e -f json` understands them, parameters as `sudo -V` shows them to root."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .base import Program, run, write

FLAGS = {
    "Require users to authenticate by default": "authenticate",
    "Root may run sudo": "root_sudo",
    "Allow some information gathering to give useful error messages": "path_info",
    "Require fully-qualified hostnames in the sudoers file": "fqdn",
    "Insult the user when they enter an incorrect password": "insults",
    "Only allow the user to run sudo if they have a tty": "requiretty",
    "Reset the environment to a default set of variables": "env_reset",
    "Prompt for root's password, not the users's": "rootpw",
    "Prompt for the runas_default user's password, not the users's": "runaspw",
    "Prompt for the target user's password, not the users's": "targetpw",
    "Allow users to set arbitrary environment variables": "setenv",
    "Preload the sudo_noexec library which replaces the exec functions": "noexec",
    "Allow sudo to prompt for a password even if it would be visible": "visiblepw",
    "Provide visual feedback at the password prompt when there is user input": "pwfeedback",
    "Log user's input for the command being run": "log_input",
    "Log the output of the command being run": "log_output",
    "Send mail if user authentication fails": "mail_badpass",
    "If sudo is invoked with no arguments, start a shell": "shell_noargs",
    "Always run commands in a pseudo-tty": "use_pty",
}
VALUES = {
    "Authentication timestamp timeout": "timestamp_timeout",
    "Password prompt timeout": "passwd_timeout",
    "Number of tries to enter a password": "passwd_tries",
    "Default user to run commands as": "runas_default",
    "Type of authentication timestamp record": "timestamp_type",
    "Path to log file": "logfile",
    "Value to override user's $PATH with": "secure_path",
}
UNSET = ("logfile",)
"""Parameters that sudo shows only if they are set."""

HARDENED = """\
Defaults use_pty, env_reset, requiretty
Defaults timestamp_timeout=0, passwd_tries = 1
Defaults logfile="/var/log/sudo.log"
Defaults log_input,log_output
Defaults secure_path=/usr/sbin:/usr/bin
Defaults!/usr/bin/less noexec
User_Alias  OPERATORS = alice, \\
            bob
Cmnd_Alias  LOGS = /usr/bin/journalctl, /usr/bin/less /var/log/*, !/usr/bin/less /var/log/auth.log
root        ALL = (ALL : ALL) ALL
OPERATORS   ALL = (root) NOEXEC: LOGS
%adm        h1, 10.0.0.0/8 = (www-data : adm) /usr/bin/id -u : h2 = (:adm) /usr/bin/true ""
"""

CARELESS = """\
Defaults !authenticate, rootpw, visiblepw
Defaults targetpw, !rootpw
Defaults    timestamp_timeout = -1
Defaults:alice  runas_default=nobody
#include /etc/sudoers.d/00-vendor
@includedir /etc/sudoers.d
root ALL=(ALL:ALL) ALL
"""


def hardened(root: Path) -> None:
    """A short policy, with everything logged."""
    write(root, "/etc/sudoers", HARDENED, 0o440)


def careless(root: Path) -> None:
    """Nobody is asked for a password, over several files."""
    write(root, "/etc/sudoers", CARELESS, 0o440)
    write(root, "/etc/sudoers.d/00-vendor", "#1000, %#27 ALL = NOPASSWD: ALL, !/bin/su\nDefaults insults\n", 0o440)
    write(root, "/etc/sudoers.d/90-cloud", "support ALL=(ALL) NOPASSWD:SETENV: ALL\n%wheel ALL = PASSWD: ALL\n", 0o440)
    write(root, "/etc/sudoers.d/old.bak", "mallory ALL=(ALL) NOPASSWD: ALL\n", 0o440)


def says(root: Path) -> dict[str, str]:
    """Ask both programs."""
    return {**_parameters(run(root, "/usr/bin/sudo", "-V")), **_privileges(root)}


def _parameters(text: str) -> dict[str, str]:
    lines = set(text.splitlines())
    found = {name: "yes" if line in lines else "no" for line, name in FLAGS.items()}
    found |= dict.fromkeys(UNSET, "none")
    for line in lines:
        name, colon, value = line.partition(": ")
        if colon and name in VALUES:
            found[VALUES[name]] = value.removesuffix(" minutes").removesuffix(".0")
    return found


def _privileges(root: Path) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    # cvtsudoers reads one file as it stands: includes are followed
    policy = json.loads(run(root, "/usr/bin/cvtsudoers", "-e", "-f", "json", "/etc/sudoers"))
    default = "root"
    asks = True
    for entry in policy.get("Defaults", []):
        for option in entry["Options"] if "Binding" not in entry else ():
            asks = option.get("authenticate", asks)
    for spec in policy.get("User_Specs", []):
        hosts = ", ".join(_name(host) for host in spec["Host_List"])
        for part in spec["Cmnd_Specs"]:
            options = {name: value for option in part.get("Options", []) for name, value in option.items()}
            targets = [_name(user) for user in part.get("runasusers", [])] or ["" if "runasgroups" in part else default]
            groups = ", ".join(_name(group) for group in part.get("runasgroups", []))
            for who in _positive(spec["User_List"]):
                for target in targets:
                    for command in _positive(part["Commands"]):
                        password = options.get("authenticate", asks) and who != "root"
                        value = f"password={'yes' if password else 'no'} noexec={options.get('noexec', False)}"
                        found.setdefault(f"{who} as {target}:{groups} on {hosts}: {command}", set()).add(value)
    return {key: "; ".join(sorted(values)) for key, values in found.items()}


def _positive(members: list[dict[str, Any]]) -> Iterator[str]:
    yield from (_name(member) for member in members if not member.get("negated"))


def _name(member: dict[str, Any]) -> str:
    prefix = {"usergroup": "%", "userid": "#", "usergid": "%#", "netgroup": "+"}
    kind, value = next((kind, value) for kind, value in member.items() if kind not in ("negated", "sha256"))
    return "ALL" if value == "ALL" else f"{prefix.get(kind, '')}{value}"


def ours(db: sqlite3.Connection) -> dict[str, str]:
    """Return what the record says, in the same words."""
    named = {*FLAGS.values(), *VALUES.values()}
    rows = db.execute("SELECT key, value FROM setting WHERE subsystem = 'sudoers' AND scope = ''")
    found = {key: value for key, value in rows if key in named}
    means: dict[str, set[str]] = {}
    for who, target, group, condition, command, password, options in db.execute(
        """SELECT who, target, target_group, condition, command, password, options FROM escalation
            WHERE mechanism = 'sudo'"""
    ):
        groups = ", ".join(name if name == "ALL" else f"%{name}" for name in (group or "").split(", ") if name)
        hosts = (condition or "on ALL").removeprefix("on ")
        value = f"password={'yes' if password else 'no'} noexec={'NOEXEC' in json.loads(options)}"
        means.setdefault(f"{who} as {target}:{groups} on {hosts}: {command}", set()).add(value)
    return found | {key: "; ".join(sorted(values)) for key, values in means.items()}


PROGRAM = Program(
    name="sudo",
    packages=("sudo",),
    states={"as packaged": lambda _: None, "hardened": hardened, "careless": careless},
    says=says,
    ours=ours,
    how="cvtsudoers -e -f json; sudo -V",
)
