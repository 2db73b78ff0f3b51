"""Reading a statement or an SBOM, and adding what it declares to a record.

Sources: `document` for statements in TOML 1.0 and JSON; CycloneDX 1.2 to 1.7 in JSON (components, nested ones too);
SPDX 2.2 and 2.3 in JSON (packages).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from assay import __version__
from assay.facts.identity import Identity
from assay.facts.statement import Declared, Statement
from assay.facts.structure import Collector, Run
from assay.record import Record, now

from .document import TOPICS, Document
from .lines import Step, line_of, line_of_byte, steps_of

LARGEST = 256 << 20
"""Bytes of the largest file that is read."""
DEEPEST = 64
"""Components within components."""


class StatementError(Exception):
    """A statement that cannot be read; the message says where and what to do."""


@dataclass(frozen=True)
class Given:
    """A statement as it was read."""

    path: Path
    sha256: str
    format: str
    version: str | None
    dated: str | None
    topics: list[str]
    declared: list[tuple[str, str, dict[str, object], str]]
    """(topic, key, other fields, JSON pointer)."""
    names: list[tuple[str, str]]
    """(attribute, value): who states it, about what."""


def read(path: Path) -> Given:
    """Return what a file declares.

    Args:
        path: a statement in TOML or JSON, or an SBOM (CycloneDX or SPDX) in JSON.

    Raises:
        StatementError: it cannot be read, or says what no statement can say.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise StatementError(f"{path}: larger than a statement can be ({LARGEST >> 20} MiB)")
        data = path.read_bytes()
    except OSError as error:
        raise StatementError(f"{path}: cannot be read: {error.strerror}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    content = _decoded(path, data)
    if content.get("bomFormat") == "CycloneDX":
        return _cyclonedx(path, sha256, content)
    if "spdxVersion" in content:
        return _spdx(path, sha256, content)
    if "assay_statement" not in content:
        raise StatementError(
            f"{path}: is neither a statement (assay_statement = 1) nor CycloneDX nor SPDX in JSON; "
            "`assay statement new` writes a template"
        )
    try:
        document = msgspec.convert(content, Document)
    except msgspec.ValidationError as error:
        raise StatementError(f"{_at(path, data, steps_of(str(error)))}: {error}") from error
    _check(path, data, document, content)
    declared = []
    for topic in TOPICS:
        for n, entry in enumerate(getattr(document, topic.topic)):
            fields = {k: v for k, v in msgspec.to_builtins(entry).items() if v not in (None, "", [])}
            declared.append((topic.topic, entry.key(), fields, f"/{topic.topic}/{n}"))
    names = [("supplier", document.supplier), ("name", document.product), ("version", document.version)]
    return Given(
        path, sha256, "assay-json" if data.lstrip()[:1] == b"{" else "assay-toml", str(document.assay_statement),
        document.date.isoformat() if document.date else None, sorted(set(document.complete)), declared,
        [(attribute, value) for attribute, value in names if value],
    )  # fmt: skip


def _at(path: Path, data: bytes, steps: Sequence[Step]) -> str:
    """Return a file's name with the line of a place in it, if that is found."""
    line = line_of(data, steps)
    return f"{path}:{line}" if line else str(path)


def _check(path: Path, data: bytes, document: Document, content: dict[str, Any]) -> None:
    """Refuse what is declared twice, and a purpose that is left empty.

    Raises:
        StatementError: the first of them, with its line.
    """
    for topic in TOPICS:
        first: dict[str, int] = {}
        for n, entry in enumerate(getattr(document, topic.topic)):
            which = f"{topic.topic} {entry.key()}"
            stated = content[topic.topic][n].get("purpose")
            if stated is not None and not stated.strip():
                place = _at(path, data, (topic.topic, n, "purpose"))
                raise StatementError(
                    f"{place}: the purpose of {which} is empty; say what it is for, or strike the entry"
                )
            if first.setdefault(entry.identity(), n) != n:
                earlier = line_of(data, (topic.topic, first[entry.identity()]))
                before = f", on line {earlier} before" if earlier else ""
                raise StatementError(f"{_at(path, data, (topic.topic, n))}: {which} is declared twice{before}")


def _decoded(path: Path, data: bytes) -> dict[str, Any]:
    try:
        if data.lstrip()[:1] == b"{":
            return msgspec.json.decode(data, type=dict[str, Any])
        return tomllib.loads(data.decode())
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        kind = "JSON" if data.lstrip()[:1] == b"{" else "TOML"
        line = line_of_byte(data, str(error))
        hint = f" (line {line})" if line else ""
        hint += "; XML and tag-value forms are not read, convert it to JSON" if data.lstrip()[:1] == b"<" else ""
        raise StatementError(f"{path}: is not {kind}: {error}{hint}") from error


def _cyclonedx(path: Path, sha256: str, content: dict[str, Any]) -> Given:
    if not isinstance(content.get("components", []), list):
        raise StatementError(f"{path}: components is not a list")
    declared: list[tuple[str, str, dict[str, object], str]] = []
    for pointer, part in _components(content.get("components"), "/components", 0):
        name = _text(part.get("name"))
        version = _text(part.get("version"))
        if not name:
            continue
        fields: dict[str, object] = {
            "name": name,
            "version": version,
            "purl": _text(part.get("purl")),
            "type": _text(part.get("type")),
        }
        fields["licences"] = _licences(part.get("licenses"))
        declared.append(("sbom", _component_key(name, version), {k: v for k, v in fields.items() if v}, pointer))
    metadata = content.get("metadata")
    dated = _text(metadata.get("timestamp")) if isinstance(metadata, dict) else None
    return Given(path, sha256, "cyclonedx", _text(content.get("specVersion")), dated, ["sbom"], declared, [])


def _components(parts: object, pointer: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(parts, list) or depth > DEEPEST:
        return
    for n, part in enumerate(parts):
        if isinstance(part, dict):
            yield f"{pointer}/{n}", part
            yield from _components(part.get("components"), f"{pointer}/{n}/components", depth + 1)


def _licences(stated: object) -> list[str]:
    found = []
    for choice in stated if isinstance(stated, list) else []:
        if isinstance(choice, dict):
            licence = choice.get("license")
            inner = licence if isinstance(licence, dict) else {}
            text = _text(choice.get("expression")) or _text(inner.get("id")) or _text(inner.get("name"))
            found += [text] if text else []
    return found


def _spdx(path: Path, sha256: str, content: dict[str, Any]) -> Given:
    declared = []
    packages = content.get("packages", [])
    if not isinstance(packages, list):
        raise StatementError(f"{path}: packages is not a list")
    for n, part in enumerate(packages):
        name = _text(part.get("name")) if isinstance(part, dict) else None
        if not name:
            continue
        version = _text(part.get("versionInfo"))
        fields: dict[str, object] = {"name": name, "version": version}
        for reference in part.get("externalRefs") if isinstance(part.get("externalRefs"), list) else []:
            if isinstance(reference, dict) and reference.get("referenceType") == "purl":
                fields["purl"] = _text(reference.get("referenceLocator"))
        licence = _text(part.get("licenseDeclared"))
        fields["licences"] = [licence] if licence and licence not in ("NOASSERTION", "NONE") else []
        declared.append(
            ("sbom", _component_key(name, version), {k: v for k, v in fields.items() if v}, f"/packages/{n}")
        )
    created = content.get("creationInfo")
    dated = _text(created.get("created")) if isinstance(created, dict) else None
    return Given(path, sha256, "spdx", _text(content.get("spdxVersion")), dated, ["sbom"], declared, [])


def _component_key(name: str, version: str | None) -> str:
    return f"{name}@{version}" if version else name


def _text(value: object) -> str | None:
    return value[:2_000] if isinstance(value, str) and value else None


def add(record_path: Path, given: Given) -> bool:
    """Add what a statement declares to a record; tell whether it was not there yet.

    Args:
        record_path: the record; what it holds stays as it is.
        given: the statement.

    Raises:
        RecordError: the record cannot be written.
    """
    with Record(record_path, write=True) as record:
        if record.db.execute("SELECT 1 FROM statement WHERE sha256 = ?", (given.sha256,)).fetchone():
            return False
        run = record.add(Run(command="statement", version=__version__, started=now(), finished=now()))
        number = record.add(
            Statement(
                run=run, sha256=given.sha256, format=given.format, version=given.version, dated=given.dated,
                topics=given.topics,
            )
        )  # fmt: skip
        for topic, key, fields, pointer in given.declared:
            record.add(Declared(statement=number, topic=topic, key=key, value=fields, pointer=pointer))
        collector = record.add(Collector(name="statement", version=1, run=run))
        for attribute, value in given.names:
            record.add(Identity(subject=f"statement:{number}", attribute=attribute, value=value), None, collector)
        record.commit()
    return True
