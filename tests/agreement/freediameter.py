"""freeDiameter: the configuration that the daemon prints as it starts."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from pathlib import Path

from .base import Program, run, write

MAIN = "/etc/freeDiameter/freeDiameter.conf"
TLS = 'TLS_Cred = "/etc/freeDiameter/c.pem", "/etc/freeDiameter/k.pem";\nTLS_CA = "/etc/freeDiameter/c.pem";\n'

NAMES = {
    "Diameter Identity": "Identity",
    "Diameter Realm": "Realm",
    "Tc Timer": "TcTimer",
    "Tw Timer": "TwTimer",
    "Local port": "Port",
    "Local secure port": "SecPort",
    "Number of SCTP streams": "SCTP_streams",
    "Number of app threads": "AppServThreads",
    "- IP": "No_IP",
    "- IPv6": "No_IPv6",
    "- Relay app": "NoRelay",
    "- TCP": "No_TCP",
    "- SCTP": "No_SCTP",
    "- Pref. proto": "Prefer_TCP",
    "- TLS method": "TLS_old_method",
    "- Priority": "TLS_Prio",
    "- DH bits": "TLS_DH_Bits",
}
"""What the daemon calls each setting, and the file."""

FLAGS = {"Enabled": "no", "DISABLED": "yes", "SCTP": "no", "TCP": "yes", "Separate port": "no", "INBAND": "yes"}

_LINE = re.compile(r"NOTI\s+(?:Flags : |TLS : +)?(.*?) \.+ *: (.*)")


def _certificate(root: Path, name: str) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}.localdomain",
         "-keyout", root / "etc/freeDiameter/k.pem", "-out", root / "etc/freeDiameter/c.pem"],
        check=True, capture_output=True,
    )  # fmt: skip


def packaged(root: Path) -> None:
    """As the package has it, with the certificate that it needs to start, and without its test extension."""
    text = (root / MAIN.lstrip("/")).read_text()
    write(root, MAIN, text.replace("LoadExtension", "# LoadExtension") + TLS)
    _certificate(root, "peer1")


def hardened(root: Path) -> None:
    """TLS alone, and long parameters; what is said in an included file."""
    write(
        root,
        MAIN,
        'Identity = "hss.localdomain"; # me\nRealm = "localdomain";\nNoRelay;\nNo_SCTP;\n'
        f'TLS_DH_Bits = 2048;\nTLS_Prio = "SECURE256";\nSecPort = 5868;\ninclude "/etc/freeDiameter/more.conf"\n{TLS}',
    )
    write(root, "/etc/freeDiameter/more.conf", "AppServThreads = 8;\nTcTimer = 60;\n")
    _certificate(root, "hss")


def careless(root: Path) -> None:
    """Peers without TLS, and TLS in the old way on the same port."""
    write(
        root,
        MAIN,
        'Identity = "mme.localdomain";\nRealm = "localdomain";\nPort = 3870;\nSecPort = 0;\nTLS_old_method;\nNo_IPv6;\n'
        'Prefer_TCP;\nListenOn = "127.0.0.1";\n'
        f'{TLS}ConnectPeer = "hss.localdomain" {{ ConnectTo = "127.0.0.8"; No_TLS; port = 3868; }};\n',
    )
    _certificate(root, "mme")


def says(root: Path) -> dict[str, str]:
    """Start the daemon: it prints what it has read, and ends, for it finds no address to listen on."""
    out = run(root, "/usr/bin/timeout", "-k", "1", "5", "/usr/bin/freeDiameterd", "-c", MAIN, ok=tuple(range(256)))
    found = {}
    for name, value in _LINE.findall(out):
        if name in NAMES:
            plain = value.partition(" (l:")[0].strip().removeprefix("(default: '").removesuffix("')").strip("'")
            found[NAMES[name]] = FLAGS.get(plain, plain)
    if "Identity" not in found:
        raise RuntimeError(f"freeDiameterd: {out[-2000:]}")
    return found


def ours(db: sqlite3.Connection) -> dict[str, str]:
    """Return the same settings of the record."""
    query = "SELECT key, value FROM setting WHERE subsystem = 'freediameter' ORDER BY id"
    return {key: value for key, value in db.execute(query) if key in NAMES.values()}


PROGRAM = Program(
    name="freeDiameter",
    packages=("freediameterd", "coreutils"),
    states={"as packaged": packaged, "hardened": hardened, "careless": careless},
    says=says,
    ours=ours,
    how="what `freeDiameterd` prints as it starts",
)
