"""PAM: the modules that libpam loads for a service, the order in which it runs them, and what pwquality demands.

libpam cannot show a stack. So the loader is asked which modules libpam opens for a service; in services made of
`pam_echo`, what is printed is the order in which the lines of all their files run. libpwquality is asked by giving it a
password that is too short.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from .base import Program, run, write

COMMON = {
    "account": "[success=1 new_authtok_reqd=done default=ignore] pam_unix.so\naccount requisite pam_deny.so\n"
    "account required pam_permit.so\n",
    "auth": "[success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
    "password": "[success=1 default=ignore] pam_unix.so obscure yescrypt\npassword requisite pam_deny.so\n"
    "password required pam_permit.so\n",
    "session": "[default=1] pam_permit.so\nsession requisite pam_deny.so\nsession required pam_permit.so\n"
    "session required pam_unix.so\n",
}
"""What pam-auth-update writes on a new system."""

OPERATIONS = {"auth": "authenticate", "account": "acct_mgmt", "session": "open_session", "password": "chauthtok"}

_LOADED = re.compile(r"file=(?:\S*/)?(pam_\w+)\.so \[0\];\s+dynamically loaded by")
_SHORT = re.compile(r"shorter than (\d+) characters")


def packaged(root: Path) -> None:
    """What the scripts of the packages write."""
    for kind, line in COMMON.items():
        write(root, f"/etc/pam.d/common-{kind}", f"# {kind}\n{kind} {line}")
    write(root, "/etc/pam.d/common-session-noninteractive", "session required pam_unix.so\n")


def hardened(root: Path) -> None:
    """Counted failures, long passwords, and a wheel for su."""
    packaged(root)
    write(
        root,
        "/etc/pam.d/common-auth",
        "auth required pam_faillock.so preauth audit deny=5\nauth sufficient pam_unix.so\n"
        "auth [default=die] pam_faillock.so authfail deny=5\nauth required pam_deny.so\n",
    )
    write(
        root,
        "/etc/pam.d/common-password",
        "password requisite pam_pwquality.so retry=3\npassword required pam_pwhistory.so remember=5 use_authtok\n"
        "password required pam_unix.so use_authtok sha512 \\\n   rounds=65536\n",
    )
    write(root, "/etc/security/pwquality.conf", "minlen = 10 # at least\nminclass=9\n")
    write(root, "/etc/security/pwquality.conf.d/10-site.conf", "minlen = 20\ndcredit = -1\n")
    write(root, "/etc/pam.d/su", "auth sufficient pam_rootok.so\nauth required pam_wheel.so\n@include common-auth\n")


def careless(root: Path) -> None:
    """Services of echoes: inclusion of every kind, lines that go on, words in any case, the rest left to `other`."""
    packaged(root)
    write(root, "/etc/security/pwquality.conf", "minlen=2\n")
    write(root, "/etc/pam.d/echo-order", """\
#%PAM-1.0
AUTH  Optional  pam_echo.so one   # comment
auth optional pam_echo.so \\
      two # three
auth optional pam_echo.so goes \\

  # on
  on
auth include echo-part
auth [success=ok default=ignore] pam_echo.so [four in brackets]
auth substack echo-sub
-auth optional pam_not_here.so
auth\tsufficient\t/lib/x86_64-linux-gnu/security/pam_permit.so
auth optional pam_echo.so five
@include echo-all
account required pam_permit.so
account optional pam_echo.so six
""")  # fmt: skip
    part = "auth optional pam_echo.so part\naccount optional pam_echo.so no\n@include echo-all\n"
    every = "session optional pam_echo.so all\nsession required pam_permit.so\nauth optional pam_echo.so everyone\n"
    write(root, "/etc/pam.d/echo-part", part)
    write(root, "/etc/pam.d/echo-all", every)
    write(root, "/etc/pam.d/echo-sub", "auth optional pam_echo.so sub\nauth required pam_permit.so\n")
    write(root, "/etc/pam.d/echo-rest", "account required pam_permit.so\naccount optional pam_echo.so own\n")
    write(root, "/etc/pam.d/other", "".join(
        f"{kind} required pam_permit.so\n{kind} optional pam_echo.so other {kind}\n" for kind in OPERATIONS
    ))  # fmt: skip


def says(root: Path) -> dict[str, str]:
    """Load every service, run those of echoes, and offer a short password."""
    found = {}
    for service in sorted(path.name for path in (root / "etc/pam.d").iterdir() if not path.name.startswith("common-")):
        debug = "LD_DEBUG_OUTPUT=/tmp/loaded"
        command = ["/usr/bin/env", "LD_DEBUG=files", debug, "/usr/bin/pamtester", service, "root"]
        if service.startswith("echo-"):
            for kind, operation in OPERATIONS.items():
                text = run(root, *command[:1], *command[3:], operation, ok=(0, 1))
                lines = [line for line in text.splitlines() if not line.startswith("pamtester:")]
                found[f"{service}/{kind}"] = " | ".join(lines)
        run(root, *command, "acct_mgmt", ok=(0, 1))
        logs = list((root / "tmp").glob("loaded.*"))
        loaded = {name for log in logs for name in _LOADED.findall(log.read_text())}
        for log in logs:
            log.unlink()
        found[service] = " ".join(sorted(loaded))
    short = _SHORT.search(run(root, "/bin/sh", "-c", "echo aB1- | /usr/bin/pwscore 2>&1; true"))
    return found | (
        {"pwquality minlen": short[1]} if short and (root / "etc/security/pwquality.conf.d").is_dir() else {}
    )


def ours(db: sqlite3.Connection) -> dict[str, str]:
    """Return what the record says, in the same words."""
    stacks: dict[str, dict[str, list[list[str]]]] = {}
    for key, value in db.execute("SELECT key, value FROM setting WHERE subsystem = 'pam' ORDER BY id"):
        service, kind, _ = key.split("/")
        words = re.findall(r"\[[^\]]*\]|\S+", value)
        stacks.setdefault(service, {}).setdefault(kind, []).append(words)
    shared = {
        path.rpartition("/")[2]
        for (path,) in db.execute("SELECT path FROM file WHERE path GLOB '*/etc/pam.d/*' AND type = 'regular'")
    }
    other = {name for lines in stacks.get("other", {}).values() for name in _modules(lines)}
    found = {}
    for service in sorted(shared):
        stack = stacks.get(service)
        if stack is None:  # only included: its lines are those of the services that include it
            continue
        found[service] = " ".join(sorted({name for lines in stack.values() for name in _modules(lines)} | other))
        if service.startswith("echo-"):
            for kind in OPERATIONS:
                found[f"{service}/{kind}"] = " | ".join(_printed(stack.get(kind, [])))
    for (value,) in db.execute("SELECT value FROM setting WHERE subsystem = 'pwquality' AND key = 'minlen'"):
        found["pwquality minlen"] = value
    return found


def _modules(lines: list[list[str]]) -> list[str]:
    return [words[1].rpartition("/")[2].removesuffix(".so") for words in lines]


def _printed(lines: list[list[str]]) -> list[str]:
    printed = []
    for words in lines:
        if words[1] == "pam_echo.so":
            printed.append(" ".join(word.strip("[]") for word in words[2:]))
        elif words[0] == "sufficient":
            break
    return printed


PROGRAM = Program(
    name="pam",
    packages=("libpam-modules", "libpam-modules-bin", "libpam-runtime", "libpam-pwquality", "libpwquality-tools",
              "pamtester", "login", "passwd", "sudo"),
    states={"as packaged": packaged, "hardened": hardened, "careless": careless},
    says=says,
    ours=ours,
    how="pamtester with LD_DEBUG=files, and pam_echo; pwscore",
)  # fmt: skip
