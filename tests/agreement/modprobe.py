"""modprobe: its whole configuration, as `modprobe --showconfig` prints it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .base import Program, run, write

KEYS = ("alias", "blacklist", "install", "options", "remove", "softdep")


def _hardened(root: Path) -> None:
    write(
        root,
        "/etc/modprobe.d/hardening.conf",
        "# storage and rare protocols\ninstall usb-storage /bin/false\nblacklist usb-storage\n"
        "install dccp /bin/true\ninstall   sctp\t/bin/true\ninstall sctp /bin/false\n"
        "options kvm-intel nested=0 \\\n  ept=1\noptions kvm_intel flexpriority=0\n",
    )
    write(root, "/lib/modprobe.d/hardening.conf", "blacklist hidden-by-the-other\n")


def _careless(root: Path) -> None:
    write(
        root,
        "/etc/modprobe.d/vendor.conf",
        "alias net-pf-31 bluetooth\nalias char-major-10-* misc-[a-c]-x\nblacklist\ninstall onlyname\nremove a-b c\n"
        "softdep foo-bar pre: b-c d\nnonsense here\noptions a-b x=1\n",
    )
    write(root, "/etc/modprobe.d/ignored.txt", "blacklist nobody\n")
    write(root, "/run/modprobe.d/zz.conf", "blacklist from_run\n")


def _says(root: Path) -> dict[str, str]:
    said: dict[str, list[str]] = {}
    shown = run(root, "/bin/sh", "-c", "mkdir -p /proc && modprobe --showconfig")
    for line in shown.partition("\n# End of configuration files.")[0].splitlines():
        key, _, rest = line.partition(" ")
        module, _, value = rest.partition(" ")
        if key in KEYS:
            said.setdefault(f"{key} {module}", []).append(value)
    return {key: _together(key, values) for key, values in said.items()}


def _together(key: str, values: list[str]) -> str:
    word = key.partition(" ")[0]
    if word == "blacklist":
        return "yes"
    if word in ("install", "remove"):
        return values[0]
    values = [" ".join(value.split()) for value in values]  # modprobe keeps the blanks of continued lines
    return " ".join(values) if word == "options" else "; ".join(dict.fromkeys(values))


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    rows = record.execute("SELECT key, value FROM setting WHERE subsystem = 'modprobe' AND key NOT LIKE 'load %'")
    return dict(rows)


PROGRAM = Program(
    name="modprobe",
    packages=("kmod", "dash", "coreutils"),
    states={"as packaged": lambda _: None, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="modprobe --showconfig",
)
