"""nftables: statements, and the chains that a file with its includes comes to."""

from __future__ import annotations

from typing import Any

import pytest

from assay.facts.service import Directive, Setting
from assay.inspect import nftables, nftables_chains, systemd
from tests.support.memory_tree import MemoryTree, inspect

RULES = """#!/usr/sbin/nft -f
flush ruleset
define lan = 10.0.0.0/8
include "./more.nft"
table inet filter {
  set bad { type ipv4_addr; elements = { 192.0.2.1,
      192.0.2.2 } }
  chain input {
    type filter hook input priority 0; policy drop;
    iif lo accept; ip saddr @bad drop # why
    ip saddr $lan tcp dport { 22, 830 } \\
      accept
    log prefix "a; { b  " drop
  }
}
add rule inet filter input accept
"""


def tree(files: dict[str, str], **more: Any) -> MemoryTree:
    specs: dict[str, Any] = {
        path: (0o777, 0, 0, text[3:]) if text.startswith("-> ") else (0o644, 0, 0, text.encode())
        for path, text in files.items()
    }
    return MemoryTree(specs, [nftables.INSPECTOR, systemd.INSPECTOR], **more)


def row(key: str, value: str, line: int | None, path: str = "/etc/nftables.conf", basis: str | None = None) -> Setting:
    return Setting(subsystem="nftables", key=key, value=value, origin="file", basis=basis, path=path, line=line)


def test_statements_are_what_is_written() -> None:
    def said(section: str | None, key: str, value: str, line: int) -> Directive:
        return Directive(dialect="nftables", section=section, key=key, value=value, line=line)

    chain = "inet filter input"
    assert inspect(nftables.INSPECTOR, RULES.encode()) == [
        said(None, "flush", "ruleset", 2),
        said(None, "define", "lan = 10.0.0.0/8", 3),
        said(None, "include", '"./more.nft"', 4),
        said(None, "table", "inet filter", 5),
        said("inet filter", "set", "bad", 6),
        said("inet filter set bad", "type", "ipv4_addr", 6),
        said("inet filter set bad", "elements", "= { 192.0.2.1, 192.0.2.2 }", 6),
        said("inet filter", "chain", "input", 8),
        said(chain, "type", "filter hook input priority 0", 9),
        said(chain, "policy", "drop", 9),
        said(chain, "rule", "iif lo accept", 10),
        said(chain, "rule", "ip saddr @bad drop", 10),
        said(chain, "rule", "ip saddr $lan tcp dport { 22, 830 } accept", 11),
        said(chain, "rule", 'log prefix "a; { b  " drop', 13),
        said(None, "add", "rule inet filter input accept", 16),
    ]


@pytest.mark.parametrize("text", ["table ip x {\n", "table ip x {\n}\n}\n", "table ip x { chain y { tcp dport { 1\n"])
def test_blocks_that_do_not_close(text: str) -> None:
    with pytest.raises(ValueError, match=r"^line \d+: "):
        inspect(nftables.INSPECTOR, text.encode())


def test_what_is_loaded() -> None:
    more = "table ip nat { chain out { type nat hook postrouting priority srcnat; masquerade; }; }\n"
    unit = "/usr/lib/systemd/system/nftables.service"
    link = "/etc/systemd/system/sysinit.target.wants/nftables.service"
    found = tree(
        {
            "/etc/nftables.conf": RULES,
            "/more.nft": more,
            unit: "[Service]\nExecStart=/usr/sbin/nft -f /etc/nftables.conf\n",
            link: f"-> {unit}",
        }
    )
    assert list(nftables_chains.settings(found)) == [
        row(
            "ip nat out",
            "type nat hook postrouting priority srcnat; policy accept\nmasquerade",
            1,
            "/more.nft",
            "no policy is stated: nft(8) accepts",
        ),
        row("inet filter set bad", "type ipv4_addr\nelements = { 192.0.2.1, 192.0.2.2 }", 6),
        row(
            "inet filter input",
            "type filter hook input priority 0; policy drop\niif lo accept\nip saddr @bad drop\n"
            'ip saddr 10.0.0.0/8 tcp dport { 22, 830 } accept\nlog prefix "a; { b  " drop\naccept',
            8,
        ),
        row("started", "yes", None, basis=link),
    ]


def test_commands_apply_in_order() -> None:
    text = (
        "add chain ip t c { type filter hook input priority 0; policy accept; }\n"
        "add rule t c one\ninsert rule ip t c two\ntable ip6 gone { chain c { }\n}\ndelete table ip6 gone\n"
        "add chain t empty\nadd rule t empty x\nflush chain t empty\n"
    )
    found = tree({"/etc/nftables.conf": text})
    assert [(setting.key, setting.value) for setting in nftables_chains.settings(found)] == [
        ("ip t c", "type filter hook input priority 0; policy accept\ntwo\none"),
        ("ip t empty", ""),
    ]


@pytest.mark.parametrize(
    "text",
    [
        'include "missing.nft"\n',
        'include "/etc/secret.nft"\n',
        "add rule ip t c handle 4 drop\n",
        "delete rule ip t c handle 4\n",
        'include "/etc/nftables.conf"\n',
    ],
)
def test_what_cannot_be_told_is_an_error(text: str) -> None:
    found = tree({"/etc/nftables.conf": text, "/etc/secret.nft": "x"}, unread=("/etc/secret.nft",))
    with pytest.raises(ValueError, match="cannot be told"):
        list(nftables_chains.settings(found))


def test_other_contents_are_not_taken_for_rules() -> None:
    assert not nftables.wants_head(b"table inet is nice\n")
    assert not nftables.wants_head(b"the table inet is { nice }\n")
    assert not nftables.wants_head(b"#!/bin/sh\nflush ruleset\n")
    assert nftables.wants_head(b"#!/usr/bin/env nft\n")
    assert nftables.wants_head(b"table inet filter {\n")
