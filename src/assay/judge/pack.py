"""Rule packs: folders of TOML files, read and checked as a whole.

The format is described in docs/reference/rules.md; the tables `PACK` and `RULE` below are the format.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.facts import families

from .sql import CLOSED, OPEN, JudgeError, check, needed

HOME = Path(__file__).parent.parent / "packs"
"""Where the packs that come with Assay lie."""

CRITERIA = frozenset({"national-security", "economic-security", "privacy", "intellectual-property", "human-rights"})
CLASSES = frozenset("SCLDP")
POWERS = frozenset({"decide", "decide-with-D", "refute", "support", "none"})
SEVERITIES = frozenset({"critical", "high", "medium", "low", "info"})

PLACE = frozenset({"tree", "file", "path", "line", "offset", "rank"})

MAX_FILE = 1 << 20
"""Bytes of a pack's file beyond which it is not read."""


class PackError(JudgeError):
    """A pack that cannot be used: one line for each thing that is wrong, with its file and key."""


@dataclass(frozen=True)
class Key:
    """What one key of a TOML table may hold."""

    type: type[Any]
    required: bool = True
    vocabulary: frozenset[str] | None = None
    """For a text or a list: the words possible. For a table: the keys possible, each with a text."""
    table: Mapping[str, Key] | None = None
    """For a table: its keys."""


KINDS: dict[type[Any], str] = {str: "text", list: "list of texts", dict: "table"}

TEXT, LINES = Key(str), Key(list)

PACK = {
    "name": TEXT,
    "title": TEXT,
    "document": TEXT,
    "version": TEXT,
    "notes": Key(str, required=False),
    "shared": Key(dict, required=False),
}
"""Keys of pack.toml."""

RULE = {
    "id": TEXT,
    "title": TEXT,
    "clause": Key(str, required=False),
    "test_case": Key(str, required=False),
    "document": Key(str, required=False),
    "criteria": Key(list, vocabulary=CRITERIA),
    "classes": Key(list, vocabulary=CLASSES),
    "power": Key(str, vocabulary=POWERS),
    "severity": Key(str, vocabulary=SEVERITIES),
    "check": TEXT,
    "limits": TEXT,
    "remedy": TEXT,
    "references": LINES,
    "families": Key(list, vocabulary=frozenset(families())),
    "reads": Key(list, required=False),
    "observers": Key(list, required=False),
    "applies": Key(dict, table={"sql": TEXT, "noun": TEXT, "none": TEXT}),
    "looked": Key(dict, required=False, table={"sql": TEXT, "noun": TEXT}),
    "findings": Key(dict, table={"sql": TEXT}),
    "undecided": Key(dict, required=False, table={"sql": TEXT}),
    "missing": Key(dict, required=False, vocabulary=CLASSES),
}
"""Keys of a rule's file."""

COLUMNS = {
    "applies": (frozenset[str](), frozenset[str]()),
    "looked": (frozenset[str](), frozenset[str]()),
    "findings": (frozenset({"message", "evidence"}), frozenset({"message", "evidence"}) | PLACE),
    "undecided": (frozenset({"reason"}), frozenset({"reason"})),
}
"""For each question of a rule: the columns it must have, and all that it may have (empty: any)."""


@dataclass(frozen=True)
class Rule:
    """One rule, checked."""

    pack: str
    id: str
    digest: str
    """SHA-256 of the rule's file, followed by the text of the shared queries that it uses."""
    title: str
    criteria: tuple[str, ...]
    classes: tuple[str, ...]
    power: str
    severity: str
    check: str
    limits: str
    remedy: str
    references: tuple[str, ...]
    families: tuple[str, ...]
    reads: tuple[str, ...]
    observers: tuple[str, ...]
    """Inspectors that it rests on; empty for all that look for its families."""
    sql: Mapping[str, str]
    """Its questions: applies, findings, and where it has them looked and undecided."""
    noun: str
    """What `looked` (or else `applies`) counts, in the plural."""
    none: str
    """Why it does not apply where `applies` finds nothing."""
    missing: Mapping[str, str]
    """Evidence class to a sentence on how to get it."""
    document: str | None = None
    clause: str | None = None
    test_case: str | None = None
    shared: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Pack and identifier, as in the record: pack/id."""
        return f"{self.pack}/{self.id}"


@dataclass(frozen=True)
class Pack:
    """A folder of rules."""

    name: str
    title: str
    document: str
    version: str
    notes: str
    path: Path
    rules: tuple[Rule, ...]
    """By identifier, numbers in their order (4.3.2.6 before 4.3.2.10)."""


def available_packs() -> dict[str, Path]:
    """Return the packs that come with Assay: name to folder, by name."""
    return {path.parent.name: path.parent for path in sorted(HOME.glob("*/pack.toml"))}


def load_pack(pack: Path | str) -> Pack:
    """Read a pack and check all of it.

    Args:
        pack: the name of a pack that comes with Assay, or a folder. A name that is one of ours means ours; a folder of
            the same name is reached as ./NAME.

    Raises:
        PackError: no such pack, or anything wrong in its files; every error is named in one go.
    """
    folder = available_packs().get(str(pack), Path(pack)) if isinstance(pack, str) else pack
    if not (folder / "pack.toml").is_file():
        names = ", ".join(available_packs())
        raise PackError(f"{pack}: no such pack; there are {names}, or give a folder that has a pack.toml")
    errors: list[str] = []
    head, _ = _read(folder / "pack.toml", PACK, errors)
    shared: dict[str, str] = {}
    for name, sql in head.get("shared", {}).items() if not errors else ():
        if name in OPEN | CLOSED or not name.isidentifier():
            errors.append(f"{folder / 'pack.toml'}: shared.{name}: has to be a new name of letters, digits and _")
        elif problem := check(sql, shared, frozenset(), frozenset()):
            errors.append(f"{folder / 'pack.toml'}: shared.{name}: {problem}")
        else:
            shared[name] = sql
    document = f"{head.get('document')} {head.get('version')}"
    rules = []
    for path in sorted(folder.glob("*.toml"), key=lambda path: _order(path.stem)):
        if path.name != "pack.toml":
            before = len(errors)
            raw, text = _read(path, RULE, errors)
            if len(errors) == before:
                errors += [f"{path}: {problem}" for problem in _problems(raw, path.stem, shared)]
            if len(errors) == before:
                rules.append(_rule(str(head.get("name")), document, raw, text, shared))
    if not rules and not errors:
        errors.append(f"{folder}: has no rules")
    if errors:
        raise PackError("\n".join(errors))
    return Pack(
        head["name"], head["title"], head["document"], head["version"], head.get("notes", ""), folder, tuple(rules)
    )


def _order(stem: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", stem)]


def _read(path: Path, keys: Mapping[str, Key], errors: list[str]) -> tuple[dict[str, Any], bytes]:
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_FILE + 1)
        if len(text) > MAX_FILE:
            errors.append(f"{path}: is larger than {MAX_FILE} bytes")
            return {}, b""
        raw = tomllib.loads(text.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        errors.append(f"{path}: {error}")
        return {}, b""
    errors += [f"{path}: {problem}" for problem in _compare(raw, keys, "")]
    return raw, text


def _compare(raw: Mapping[str, Any], keys: Mapping[str, Key], prefix: str) -> Iterator[str]:
    """Yield what is wrong with a table: unknown and missing keys, types, words."""
    for name in sorted(raw.keys() - keys.keys()):
        yield f"{prefix}{name}: unknown key; possible are {', '.join(keys)}"
    for name, key in keys.items():
        where = f"{prefix}{name}"
        value: Any = raw.get(name)
        if value is None:
            if key.required:
                yield f"{where}: is missing"
        elif not isinstance(value, key.type):
            yield f"{where}: has to be a {KINDS[key.type]}"
        elif not value or (isinstance(value, str) and not value.strip()):
            yield f"{where}: is empty"
        elif isinstance(value, dict) and key.table is not None:
            yield from _compare(value, key.table, f"{where}.")
        else:
            words: list[Any] = [value] if isinstance(value, str) else list(value)
            texts = list(value.values()) if isinstance(value, dict) else words
            if not all(isinstance(text, str) and text.strip() for text in texts):
                yield f"{where}: has to hold texts that are not empty"
            elif key.vocabulary is not None:
                for word in words:
                    if word not in key.vocabulary:
                        yield f"{where}: '{word}' is none of {', '.join(sorted(key.vocabulary))}"


def _problems(raw: Mapping[str, Any], stem: str, shared: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with a rule whose keys are all there."""
    if raw["id"] != stem:
        yield f"id: '{raw['id']}' is not the file's name '{stem}'"
    if "clause" in raw and not stem.startswith(raw["clause"]):
        yield f"clause: the file's name does not begin with '{raw['clause']}'"
    missing = raw.get("missing", {})
    if (raw["power"] != "decide" or "undecided" in raw) and not missing:
        yield f"missing: needed for power {raw['power']}{' with undecided' if 'undecided' in raw else ''}"
    if raw["power"] == "decide-with-D" and "D" not in missing:
        yield "missing: D is needed for power decide-with-D"
    for part, (required, allowed) in COLUMNS.items():
        if part in raw and (problem := check(raw[part]["sql"], shared, required, allowed)):
            yield f"{part}.sql: {problem}"


def _rule(pack: str, document: str, raw: Mapping[str, Any], text: bytes, shared: Mapping[str, str]) -> Rule:
    sql = {part: raw[part]["sql"] for part in COLUMNS if part in raw}
    used = needed(" ".join(sql.values()), shared)
    texts = {name: query for name, query in shared.items() if name in used}
    digest = hashlib.sha256(text + "".join(f"\0{name}\0{query}" for name, query in texts.items()).encode())
    return Rule(
        pack=pack,
        id=raw["id"],
        digest=digest.hexdigest(),
        title=raw["title"],
        criteria=tuple(raw["criteria"]),
        classes=tuple(raw["classes"]),
        power=raw["power"],
        severity=raw["severity"],
        check=" ".join(raw["check"].split()),
        limits=" ".join(raw["limits"].split()),
        remedy=" ".join(raw["remedy"].split()),
        references=tuple(raw["references"]),
        families=tuple(raw["families"]),
        reads=tuple(raw.get("reads", ["*"])),
        observers=tuple(raw.get("observers", ())),
        sql=sql,
        noun=raw.get("looked", raw["applies"])["noun"],
        none=" ".join(raw["applies"]["none"].split()),
        missing=raw.get("missing", {}),
        document=raw.get("document", document),
        clause=raw.get("clause"),
        test_case=raw.get("test_case"),
        shared=texts,
    )
