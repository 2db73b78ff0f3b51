"""nftables: what `nft` lists after loading the files, chain by chain."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from .base import Program, run, write

PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
"""Names that nft takes and prints for numbers (nft(8))."""


def _hardened(root: Path) -> None:
    write(
        root,
        "/etc/nftables.conf",
        """#!/usr/sbin/nft -f
flush ruleset
define admin = 192.0.2.0/24
define ports = { 22, 830 }
include "/etc/nftables.d/*.nft"
table inet filter {
	set blocked {
		type ipv4_addr
		elements = { 203.0.113.7, 203.0.113.9 }
	}
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept # answers
		iif "lo" accept
		ip saddr @blocked drop
		ip saddr $admin tcp dport $ports accept
		log prefix "in; { " drop
	}
	chain forward { type filter hook forward priority 0; policy drop; }
	chain output {
		type filter hook output priority 0
		jump early
	}
	chain early {
		udp dport 53 \\
			accept
	}
}
add rule inet filter early tcp dport 853 accept
insert rule inet filter early oif "lo" accept
""",
    )
    write(
        root,
        "/etc/nftables.d/10-raw.nft",
        "table ip raw {\n chain pre { type filter hook prerouting priority raw; policy accept;\n"
        "  tcp flags syn tcp sport 1-1023 counter drop\n }\n}\n",
    )


def _careless(root: Path) -> None:
    write(
        root,
        "/etc/nftables.conf",
        "table ip old {\n chain input { type filter hook input priority 0; policy drop; }\n}\n"
        "delete table ip old\n"
        "add table inet open\nadd chain inet open input { type filter hook input priority -1; }\n"
        "add rule inet open input tcp dport { 23, 80 } accept\nadd rule inet open input accept\n"
        "flush chain inet open input\nadd rule inet open input counter accept\n",
    )


def _says(root: Path) -> dict[str, str]:
    listed = run(root, "/bin/sh", "-c", "nft -f /etc/nftables.conf && nft list ruleset")
    found: dict[str, str] = {}
    table = chain = ""
    lines: list[str] = []
    for raw in listed.splitlines():
        line = raw.strip()
        if line.startswith("table "):
            table = line.split(" ", 1)[1].removesuffix(" {")
        elif raw.startswith("\t}"):
            found[f"{table} {chain}"] = _plain("\n".join(lines))
        elif raw.startswith("\t") and not raw.startswith("\t\t"):
            chain, lines = line.removesuffix(" {").removeprefix("chain "), []
        elif line and line != "}":
            lines.append(line)
    return found


def _ours(record: sqlite3.Connection) -> dict[str, str]:
    rows = record.execute("SELECT key, value FROM setting WHERE subsystem = 'nftables' AND key <> 'started'")
    return {key: _plain(value) for key, value in rows}


def _plain(text: str) -> str:
    """Return a chain without what is only spelling: names of priorities, counters' state, quotes, order in sets."""
    text = text.replace(" packets 0 bytes 0", "").replace('"', "").rstrip(";\n").replace(";\n", "\n")
    text = re.sub(r"(?<=priority )[a-z]+", lambda name: str(PRIORITIES.get(name[0], name[0])), text)
    text = re.sub(r"(\d+) ([+-]) (\d+)(?=; policy)", lambda sum: str(int(sum[1]) + int(sum[2] + sum[3])), text)
    text = re.sub(r"(?<=ct state )[\w,]+", lambda words: ",".join(sorted(words[0].split(","))), text)
    return re.sub(r"\s+", " ", text).strip()


PROGRAM = Program(
    name="nftables",
    packages=("nftables", "dash"),
    states={"as packaged": lambda _: None, "hardened": _hardened, "careless": _careless},
    says=_says,
    ours=_ours,
    how="nft -f /etc/nftables.conf; nft list ruleset (in a network namespace)",
)
