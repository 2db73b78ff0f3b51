"""Ways in by the system's own means: accounts that let somebody in, keys, consoles, agents, shells, web scripts.

Each rests on what is named in `evidence`: an account database or a unit that was read, or no more than a program's
name. Listeners, product accounts and known passwords are families of their own; the view `way_in` has them all.

Source: passwd(5), shadow(5), sshd(8) "AUTHORIZED_KEYS FILE FORMAT", agetty(8), inittab(5), systemd-getty-generator(8);
RFC 3875 (CGI); the programs' own manuals for what they are.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from assay.facts.access import Account, Credential, Entrance
from assay.facts.service import Service

from .base import Tree, TreeFile, TreeInspector
from .entrances_tables import AGENTS
from .late import late
from .startup import words

GETTYS = frozenset({"getty", "agetty", "mingetty", "mgetty", "fgetty", "ngetty", "uugetty"})
SHELLS = frozenset({"sh", "ash", "bash", "dash", "ksh", "zsh", "login", "sulogin"})
TERMINAL = late(r"^(?:/dev/)?((?:tty|hvc|hvsi|ttyS|ttyAMA|ttyUSB|ttymxc|ttyPS|console|xvc|pts/)[\w/]*)$")
AUTOLOGIN = late(r"(?:^|\s)(?:--autologin[= ]|-a\s?|-n\s+-l\s+\S*/?sh\b|--skip-login\b|-f\s)(\S*)")
CGI = late(r"/(?:cgi-bin|cgi)/[^/]+$|\.cgi$")
MOST = 5_000
"""Entrances of a kind that are told one by one."""


def entrances(tree: Tree) -> Iterator[Entrance]:
    """Yield each way in.

    Args:
        tree: the tree; its accounts and services are those that the inspectors before this one have found.
    """
    services = tree.derived(Service)
    yield from _accounts(tree.derived(Account))
    yield from _keys(tree, tree.derived(Account))
    yield from _consoles(services)
    yield from _agents(tree, services)
    yield from _scripts(tree)


def _accounts(accounts: list[Account]) -> Iterator[Entrance]:
    for account in accounts:
        if account.path == "/etc/shadow" or account.password in ("locked", "invalid", "missing"):
            continue
        means = {
            "empty": "no password",
            "hash": f"password hash {account.scheme or 'of unknown scheme'}",
            "unknown": "shadow could not be read",
        }.get(account.password, account.password)
        yield Entrance(
            kind="os-account",
            name=account.name,
            detail=f"{means}; uid {account.uid}; shell {account.shell}",
            active=None if account.password == "unknown" else account.login_shell,  # noqa: S105 - a state
            evidence="parsed",
            path=account.shadow_path or account.path,
            line=account.shadow_line or account.line,
        )


def _keys(tree: Tree, accounts: list[Account]) -> Iterator[Entrance]:
    homes: dict[str, list[Account]] = {}
    for account in accounts:
        if account.home and account.path != "/etc/shadow":
            homes.setdefault(account.home.rstrip("/"), []).append(account)
    told = 0
    for pattern in ("*/authorized_keys", "*/authorized_keys2", "/etc/ssh/authorized_keys/*"):
        for file in tree.glob(pattern):
            for fact in tree.facts(Credential, file):
                if fact.kind != "authorized-key" or told >= MOST:
                    continue
                told += 1
                home = file.path.rpartition("/.ssh/")[0]
                owners = homes.get(home, [])
                who = ", ".join(sorted(owner.name for owner in owners)) or posixpath.basename(home) or "unknown"
                yield Entrance(
                    kind="ssh-key",
                    name=who,
                    detail=f"{fact.scheme} key {(fact.fingerprint or '')[:16]}",
                    active=any(owner.login_shell for owner in owners) if owners else None,
                    evidence="parsed",
                    path=file.path,
                    line=fact.line,
                )


def _consoles(services: list[Service]) -> Iterator[Entrance]:
    for service in services:
        found = words(service.command or "")
        while found and found[0].lstrip("-@+!:") in ("exec", "/sbin/start-stop-daemon"):
            found = found[1:]
        program = posixpath.basename(found[0].lstrip("-@+!:")) if found else ""
        getty = program in GETTYS or service.name.startswith(("getty@", "serial-getty@", "console-getty"))
        shell = program in SHELLS and service.trigger == "console"
        if not (getty or shell) and service.name != "debug-shell.service":
            continue
        automatic = AUTOLOGIN.search(service.command or "") if getty else None
        terminal = next((m[1] for word in found[1:] if (m := TERMINAL.match(word))), None)
        if terminal is None and "@" in service.name:
            terminal = service.name.partition("@")[2].removesuffix(".service") or None
        opens = service.name == "debug-shell.service" or (shell and program not in ("login", "sulogin"))
        detail = "a shell without a login" if opens else "a login"
        if automatic:
            detail = f"logs in by itself{f' as {automatic[1]}' if automatic[1] else ''}"
        yield Entrance(
            kind="debug-shell" if opens or automatic else "console",
            name=terminal or service.name,
            detail=f"{detail}: {service.command or service.name}"[:300],
            active=service.enabled,
            evidence="unit",
            path=service.path,
            line=service.line,
        )


def _agents(tree: Tree, services: list[Service]) -> Iterator[Entrance]:
    """Yield programs that are made to let somebody in from outside, by their names."""
    started: dict[str, list[Service]] = {}
    for service in services:
        if service.executable:
            started.setdefault(service.executable, []).append(service)
    for name, (kind, what) in AGENTS.items():
        for file in tree.glob(f"*/{name}"):
            if not _runs(tree, file):
                continue
            target = tree.lookup(file.path)
            by = started.get(target.path if target is not None else file.path, []) or started.get(file.path, [])
            states = {service.enabled for service in by}
            active = True if True in states else None if None in states or not by else False
            units = f"; started by {', '.join(sorted({service.name for service in by}))}" if by else ""
            yield Entrance(kind=kind, name=name, detail=what + units, active=active, evidence="name", path=file.path)


def _runs(tree: Tree, file: TreeFile) -> bool:
    """Tell whether a file, or what a link leads to, is a program, and not its documentation or a directory."""
    if file.path.startswith("/etc/") or ("/share/" in file.path and "/bin/" not in file.path):
        return False
    target = tree.lookup(file.path) if file.type == "symlink" else file
    if target is None:
        return False
    return target.type in ("regular", "hardlink") and (target.mode is None or bool(target.mode & 0o111))


def _scripts(tree: Tree) -> Iterator[Entrance]:
    told: set[str] = set()
    for pattern in ("*/cgi-bin/*", "*/cgi/*", "*.cgi"):
        for file in tree.glob(pattern):
            if len(told) < MOST and file.path not in told and CGI.search(file.path) and _runs(tree, file):
                told.add(file.path)
                yield Entrance(
                    kind="web-script",
                    name=posixpath.basename(file.path),
                    detail="a program in a place from which web servers run programs",
                    active=None,
                    evidence="name",
                    path=file.path,
                )


INSPECTOR = TreeInspector(
    name="entrances",
    version=1,
    families=(Entrance,),
    inspect=entrances,
    after=("accounts", "inetd-services", "inittab-services", "systemd-services", "sysv-services", "xinetd-services"),
    unseen=(
        "accounts in LDAP, RADIUS or Kerberos; keys that AuthorizedKeysCommand gives",
        "agents under another name than the table has, or linked into a larger program",
        "consoles that the kernel command line adds at boot, and hardware debug ports",
    ),
)
