"""OpenSSH server: its configuration as `sshd -T` prints it, and for a connection that a Match line is about."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .base import Program, run, write

MATCH = ("admin", "192.0.2.7", "Match User admin Address 192.0.2.0/24")
"""User and address of a connection, and the scope of what holds for it."""

NOT_STATED = frozenset(
    {
        "gssapicleanupcredentials", "gssapikexalgorithms", "gssapikeyexchange", "gssapistorecredentialsonrekey",
        "gssapistrictacceptorcheck", "ipqos", "kerberosorlocalpasswd", "kerberosticketcleanup", "modulifile", "pidfile",
        "xauthlocation",
    }
)  # fmt: skip
"""Keywords whose default depends on how sshd was built, or is a patch of Debian's: no default is claimed."""

NO_ORDER = frozenset({"listenaddress", "port", "hostkey", "acceptenv", "allowusers", "denyusers", "allowgroups"})
"""Keywords of which sshd -T prints a line each."""


def _packaged(root: Path) -> None:
    write(root, "/etc/ssh/sshd_config", (root / "usr/share/openssh/sshd_config").read_text())
    _prepare(root)


def _hardened(root: Path) -> None:
    write(
        root,
        "/etc/ssh/sshd_config",
        "Include /etc/ssh/sshd_config.d/*.conf\nPort 22\nPort 830\nListenAddress 192.0.2.1\nPermitRootLogin yes\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nX11Forwarding no\nAllowTcpForwarding no\n"
        "Ciphers aes256-gcm@openssh.com,aes256-ctr\nMACs -*sha1*\nMaxAuthTries 3\nLoginGraceTime 30\n"
        "ClientAliveInterval 5m\nAllowUsers admin ops@192.0.2.0/24\nSubsystem sftp internal-sftp\n"
        "Match User admin Address 192.0.2.0/24\n  PasswordAuthentication yes\n  MaxSessions 2\n",
    )
    write(root, "/etc/ssh/sshd_config.d/10-root.conf", "PermitRootLogin no # never\nRekeyLimit 1G 1h\n")
    _prepare(root)


def _careless(root: Path) -> None:
    write(
        root,
        "/etc/ssh/sshd_config",
        "permitrootlogin=yes\nPermitEmptyPasswords YES\nUsePAM yes\nStrictModes no\nPermitUserEnvironment yes\n"
        'Banner "/etc/issue.net"\nChallengeResponseAuthentication yes\nCiphers +3des-cbc\nHostKeyAlgorithms +ssh-rsa\n'
        "KexAlgorithms curve25519-sha256,diffie-hellman-group14-sha1\n"
        "MaxStartups 100\nLogLevel debug\nTCPKeepAlive yes\nGatewayPorts clientspecified\n",
    )
    _prepare(root)


def _prepare(root: Path) -> None:
    """Give sshd what it looks for before it says anything: its account, its directory and a host key."""
    (root / "run/sshd").mkdir(parents=True, exist_ok=True)
    write(root, "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n")
    if not (root / "etc/ssh/ssh_host_ed25519_key").exists():
        run(root, "/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/etc/ssh/ssh_host_ed25519_key")


def _said(text: str) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return {key: _spelled(key, values) for key, values in found.items()}


def _spelled(key: str, values: list[str]) -> str:
    """Return values as sshd -T prints them: words in lower case, times in seconds, addresses with their port."""
    out = []
    for each in values:
        value = each
        if key == "listenaddress":
            value = value.removesuffix(":22").removesuffix(":830").strip("[]")
        if value.lower() in ("without-password", "prohibit-password"):
            value = "without-password"
        if key in ("syslogfacility", "loglevel", "fingerprinthash"):
            value = value.lower()
        if key == "rekeylimit":
            value = {"default none": "0 0", "1G 1h": "1073741824 3600"}.get(value, value)
        if key == "maxstartups" and ":" not in value:
            value = f"{value}:30:{value}"
        if key in ("allowusers", "denyusers", "acceptenv"):
            out += value.split()
        else:
            out.append(value)
    return " ".join(sorted(set(out)) if key in NO_ORDER else out)


def _says(root: Path) -> dict[str, str]:
    found = _said(run(root, "/usr/sbin/sshd", "-T"))
    user, address, _ = MATCH
    matched = _said(
        run(root, "/usr/sbin/sshd", "-T", "-C", f"user={user},addr={address},host=h,laddr=192.0.2.1,lport=22")
    )
    found |= {f"{key} of {user}": value for key, value in matched.items() if found.get(key) != value}
    return {key: value for key, value in found.items() if key not in NOT_STATED}


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for key, value, scope in record.execute(
        "SELECT key, value, scope FROM setting WHERE subsystem = 'sshd' ORDER BY id"
    ):
        if scope in ("", MATCH[2]):
            found.setdefault(f"{key} of {MATCH[0]}" if scope else key, []).append(value)
    return {key: _spelled(key.partition(" of ")[0], values) for key, values in found.items()}


PROGRAM = Program(
    name="sshd",
    packages=("openssh-server",),
    states={"as packaged": _packaged, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="sshd -T, and sshd -T -C user=admin,addr=192.0.2.7",
)
