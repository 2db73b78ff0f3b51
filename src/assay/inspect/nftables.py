"""nftables rule files: tables, chains and rules as written.

Source: nft(8) of nftables 1.0: lexical conventions, include files, symbolic variables, tables, chains, rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.service import Directive

from .base import Content, ContentInspector
from .late import late

DIALECT = "nftables"

FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")

VERBS = ("add", "create")

STATEMENTS = 200_000
"""Statements of one file."""

_TOKEN = late(r"""\\\r?\n|#[^\n]*|"[^"\n]*"|[{};\n]|[^\\#"{};\n]+|[\\"]""")
_BEGINNINGS = (b"table ", b"add table ", b"flush ruleset")
_HEAD = late(rb"flush ruleset\s|(?:add )?table (?:inet|ip6?|arp|bridge|netdev) [\w-]+\s*\{")


def wants_head(head: bytes) -> bool:
    """Tell whether a content begins like a script of nft, or like a set of rules that it wrote."""
    if head[:2] == b"#!":
        return b"nft" in head[2:32]
    return head.startswith(_BEGINNINGS) and _HEAD.match(head[:256]) is not None


def named(words: list[str], parts: int) -> tuple[str, list[str]]:
    """Return the full name (family, then `parts` words) that words begin with, and the words after it."""
    family, rest = (words[0], words[1:]) if words[:1] and words[0] in FAMILIES else ("ip", words)
    return " ".join([family, *rest[:parts]]), rest[parts:]


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a statement.

    Outside of blocks the first word is the key. Opening a block gives its kind (table, chain, set, ...) as key and the
    name as value; what stands in it has the section `FAMILY TABLE`, `FAMILY TABLE CHAIN`, or `FAMILY TABLE set NAME`.
    In a chain the keys are type (with hook and priority), policy, and rule.

    Raises:
        ValueError: a block is not closed, or one is closed that was not opened.
    """
    section: list[str] = []  # of the open blocks
    kinds: list[str] = []
    parts: list[str] = []
    inner = 0  # braces open inside the statement
    line = first = 1
    made = 0
    for match in _TOKEN.finditer(content.text()):
        piece = match[0]
        if piece[0] == "#":
            continue
        if piece in "\n;":
            if inner:
                parts.append(" ")
            elif parts:
                yield from _statement(section, kinds, "".join(parts), first)
                parts = []
                made += 1
        elif piece == "{":
            words = [] if inner else "".join(parts).split()
            words = words[1:] if words[:1] and words[0] in VERBS and not kinds else words
            if words and _opens(kinds, words[0]):
                name = _name(section, kinds, words)
                yield Directive(
                    dialect=DIALECT, section=section[-1] if section else None, key=words[0], value=name[0], line=first
                )
                section.append(name[1])
                kinds.append(words[0])
                parts = []
                made += 1
            else:
                inner += 1
                parts.append(" { ")
        elif piece == "}":
            if inner:
                inner -= 1
                parts.append(" } ")
            else:
                if parts:
                    yield from _statement(section, kinds, "".join(parts), first)
                    parts = []
                if not kinds:
                    raise ValueError(f"line {line}: a block is closed that was not opened")
                section.pop()
                kinds.pop()
        elif piece[0] == "\\":
            parts.append(" ")
        elif piece.strip():
            if not parts:
                first = line
            parts.append(piece)
        elif parts:
            parts.append(" ")
        line += piece.count("\n")
        if made > STATEMENTS:
            raise ValueError(f"line {line}: more than {STATEMENTS} statements")
    if parts and not inner:
        yield from _statement(section, kinds, "".join(parts), first)
    if kinds or inner:
        raise ValueError(f"line {line}: the block opened last is not closed")


def _opens(kinds: list[str], word: str) -> bool:
    """Tell whether a brace after a statement that begins with this word opens a block of statements."""
    if not kinds:
        return word in ("table", "chain", "set", "map", "flowtable", "counter", "quota", "limit")
    return kinds == ["table"]


def _name(section: list[str], kinds: list[str], words: list[str]) -> tuple[str, str]:
    """Return what a block's opening says after its kind, and the section of what stands in it."""
    if kinds:
        # ct helper NAME, ct timeout NAME, ...: the kind is two words
        name = " ".join(words[1:])
        return name, f"{section[-1]} {name}" if words[0] == "chain" else f"{section[-1]} {words[0]} {name}"
    full, _ = named(words[1:], 1 if words[0] == "table" else 2)
    if words[0] in ("table", "chain"):
        return full, full
    table, _, name = full.rpartition(" ")
    return full, f"{table} {words[0]} {name}"


def _statement(section: list[str], kinds: list[str], text: str, line: int) -> Iterator[Directive]:
    value = _blanks(text)
    if not value:
        return
    word, _, rest = value.partition(" ")
    where = section[-1] if section else None
    if kinds and kinds[-1] == "chain" and word not in ("type", "policy", "include", "define", "comment", "devices"):
        word, rest = "rule", value
    yield Directive(dialect=DIALECT, section=where, key=word, value=rest, line=line)


_QUOTED = late(r'("[^"]*")')


def _blanks(text: str) -> str:
    """Return the text with one blank where there are several, and none before commas; strings stay."""
    if '"' not in text:
        return " ".join(text.split()).replace(" ,", ",")
    pieces = [
        piece if piece[:1] == '"' else re.sub(r"\s+", " ", piece).replace(" ,", ",") for piece in _QUOTED.split(text)
    ]
    return "".join(pieces).strip()


INSPECTOR = ContentInspector(
    name="nftables",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=(".nft", "nftables"),
    head_begins=(b"#!", b"table ", b"add table ", b"flush ruleset"),
    wants_path=lambda path: (
        path.endswith((".nft", "/nftables.conf", "/nftables/rules-save"))
        or "/nftables.d/" in path
        or ("/nftables/" in path and "/etc/" in path)
    ),
    wants_head=wants_head,
    max_size=8 << 20,
    text_only=True,
    unseen=("rules that a script or program adds by nft's command line or netlink", "rules in JSON (nft -j -f)"),
)
