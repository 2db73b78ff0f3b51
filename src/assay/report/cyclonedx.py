"""A bill of materials: packages, executables and libraries, keys. Streams, and is the same for the same record.

Source: ECMA-424 (CycloneDX 1.6), JSON form; package URLs after the package-url specification and its types deb, rpm,
apk and generic.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from sqlite3 import Connection
from typing import Any, TextIO
from urllib.parse import quote

import assay

from .base import Report, dumps, loads, opened, utc
from .summary import Artefact, Summary, summarise

NAMESPACE = uuid.UUID("8f2b1d0a-6c6e-5a3f-9d0e-2f6b6a1c7e55")
"""Under which the serial number of a document is made from the document's own content."""
OCCURRENCES = 100
"""Places listed for one component; a property counts those beyond."""
PURL_TYPES = {"dpkg": "deb", "rpm": "rpm", "apk": "apk"}
KEYS = {"private-key": "private-key", "authorized-key": "public-key"}
ROOT = "release"

PACKAGES = """
    SELECT manager, name, version, coalesce(architecture, ''), licence, depends, source_name, source_version, status,
           p.path, p.container, package."offset", package.line
      FROM package LEFT JOIN place AS p ON p.content = package.content
     WHERE status <> 'removed' ORDER BY 1, 2, 3, 4, p.path, package.id"""
BINARIES = """
    SELECT content.sha256, elf.id, content.size, elf.role, elf.machine, elf.soname, elf.build_id, p.path, o.package
      FROM elf JOIN content ON content.id = elf.content LEFT JOIN place AS p ON p.content = elf.content
      LEFT JOIN ownership AS o ON o.file = p.file
     WHERE elf.role IN ('executable', 'library') ORDER BY 1, 2, p.path"""
CREDENTIALS = """
    SELECT coalesce(fingerprint, content.sha256 || '@' || coalesce("offset", line, 0)), credential.kind, scheme, bits,
           fingerprint, encrypted, p.path, credential."offset", credential.line
      FROM credential JOIN content ON content.id = credential.content LEFT JOIN place AS p ON p.content = content.id
     WHERE credential.kind IN ('private-key', 'authorized-key') ORDER BY 2, 1, p.path, credential.id"""


class Document:
    """A JSON object written member by member, which knows the digest of what has been written."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.digest = hashlib.sha256()

    def write(self, text: str) -> None:
        """Write a piece."""
        self.digest.update(text.encode())
        self.out.write(text)

    def array(self, name: str, values: Iterator[object]) -> None:
        """Write a member that is an array, after members that are there already."""
        self.write(f',\n"{name}":[')
        separator = "\n"
        for value in values:
            self.write(separator + dumps(value))
            separator = ",\n"
        self.write("]")


def write(record: Path, out: TextIO) -> None:
    """Write the report; see `Report.write`."""
    with opened(record) as db:
        summary = summarise(db, record)
        document = Document(out)
        head = {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": _metadata(summary),
        }
        document.write(dumps(head)[:-1])
        depends: dict[str, list[tuple[str, int | None, list[str]]]] = {}
        names: dict[tuple[str, int | None, str], set[str]] = {}
        document.array("components", _components(db, depends, names))
        document.array("dependencies", _dependencies(depends, names))
        seen = summary.completeness
        # Never "complete": what is linked into a binary without a package that says so has not been named.
        aggregate = "incomplete" if seen.unread or seen.unfinished or seen.inspections_failed else "unknown"
        document.array("compositions", iter([{"aggregate": aggregate, "assemblies": [ROOT]}]))
        serial = uuid.uuid5(NAMESPACE, document.digest.hexdigest())
        out.write(f',\n"serialNumber":"urn:uuid:{serial}"}}\n')


def _metadata(summary: Summary) -> dict[str, Any]:
    out: dict[str, Any] = {}
    times = [time for run in summary.runs if (time := utc(run.finished or run.started))]
    if times:
        out["timestamp"] = times[-1]
    out["tools"] = {"components": [{"type": "application", "name": "assay", "version": assay.__version__}]}
    artefacts = summary.artefacts
    if len(artefacts) == 1:
        out["component"] = _artefact(artefacts[0], summary.title) | {"bom-ref": ROOT}
    else:
        out["component"] = {"type": "firmware", "bom-ref": ROOT, "name": summary.title}
        if artefacts:
            out["component"]["components"] = [_artefact(a, a.name or f"artefact {a.id}") for a in artefacts]
    seen = summary.completeness
    out["properties"] = _properties(
        {
            "assay:entries:listed": seen.listed,
            "assay:entries:declared": seen.declared,
            "assay:entries:unread": seen.unread,
            "assay:containers": seen.containers,
            "assay:containers:unfinished": seen.unfinished,
        }
    )
    return out


def _artefact(artefact: Artefact, name: str) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "firmware", "bom-ref": f"artefact:{artefact.id}", "name": name}
    if artefact.vendor:
        out["supplier"] = {"name": artefact.vendor}
    if artefact.sha256:
        out["hashes"] = [{"alg": "SHA-256", "content": artefact.sha256}]
    out["properties"] = _properties({"assay:format": artefact.format, "assay:size": artefact.size})
    return out


def _properties(values: dict[str, object]) -> list[dict[str, str]]:
    return [{"name": name, "value": str(value)} for name, value in values.items() if value is not None]


def _components(
    db: Connection,
    depends: dict[str, list[tuple[str, int | None, list[str]]]],
    names: dict[tuple[str, int | None, str], set[str]],
) -> Iterator[dict[str, Any]]:
    """Yield components; fill what packages depend on, and which package has which name in which container."""
    for (manager, name, version, architecture), rows in groupby(db.execute(PACKAGES), itemgetter(0, 1, 2, 3)):
        url = purl(manager, name, version, architecture or None)
        ref = url
        while ref in depends:  # names that differ only where package URLs do not
            ref += "#"
        places = _Places()
        licences: set[str] = set()
        first: tuple[Any, ...] = ()
        for row in rows:
            first = first or row
            if row[4]:
                licences.add(row[4])
            places.add(row[9], row[11], row[12])
            names.setdefault((manager, row[10], name), set()).add(ref)
            depends.setdefault(ref, []).append((manager, row[10], [d for d in loads(row[5], []) if isinstance(d, str)]))
        identity = {
            "field": "purl",
            "confidence": 1,
            "methods": [{"technique": "manifest-analysis", "confidence": 1, "value": manager}],
        }
        yield {
            "type": "library",
            "bom-ref": ref,
            "name": name,
            "version": version[:1024],
            "purl": url,
            # What a database has in its licence field is often no SPDX identifier, so it stands as a name.
            **({"licenses": [{"license": {"name": licence}} for licence in sorted(licences)]} if licences else {}),
            "evidence": {"identity": [identity], **places.member()},
            "properties": _properties(
                {
                    "assay:package:manager": manager,
                    "assay:package:architecture": architecture or None,
                    "assay:package:source": first[6],
                    "assay:package:source-version": first[7],
                    "assay:package:status": first[8],
                    **places.property(),
                }
            ),
        }
    for sha256, rows in groupby(db.execute(BINARIES), itemgetter(0)):
        yield _binary(sha256, rows)
    for (_, _), rows in groupby(db.execute(CREDENTIALS), itemgetter(1, 0)):
        yield _key(rows)


def _binary(sha256: str, rows: Iterator[tuple[Any, ...]]) -> dict[str, Any]:
    places = _Places()
    owners: set[str] = set()
    first: tuple[Any, ...] = ()
    for row in rows:
        first = first or row
        places.add(row[7], None, None)
        if row[8]:
            owners.add(row[8])
    _, _, size, role, machine, soname, build_id, path, _ = first
    properties = {
        "assay:elf:role": role,
        "assay:elf:machine": machine,
        "assay:elf:soname": soname,
        "assay:elf:build-id": build_id,
        "assay:size": size,
        **places.property(),
    }
    return {
        "type": "file",
        "bom-ref": f"sha256:{sha256}",
        "name": (path or "").rpartition("/")[2] or sha256,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "evidence": places.member(),
        "properties": _properties(properties)
        + [{"name": "assay:package", "value": owner} for owner in sorted(owners)[:OCCURRENCES]],
    }


def _key(rows: Iterator[tuple[Any, ...]]) -> dict[str, Any]:
    places = _Places()
    first: tuple[Any, ...] = ()
    for row in rows:
        first = first or row
        places.add(row[6], row[7], row[8])
    number, kind, scheme, bits, fingerprint, encrypted, *_ = first
    material: dict[str, Any] = {"type": KEYS[kind]}
    if fingerprint:
        material["id"] = fingerprint
    if bits is not None:
        material["size"] = bits
    if encrypted:
        material["securedBy"] = {"mechanism": "passphrase"}
    return {
        "type": "cryptographic-asset",
        "bom-ref": f"{kind}:{number}",
        "name": f"{scheme} {kind.replace('-', ' ')}",
        "evidence": places.member(),
        "cryptoProperties": {"assetType": "related-crypto-material", "relatedCryptoMaterialProperties": material},
        "properties": _properties(places.property()),
    }


class _Places:
    """Occurrences of a component, each place once, the first `OCCURRENCES` of them."""

    def __init__(self) -> None:
        self.listed: dict[tuple[str, int | None, int | None], dict[str, Any]] = {}
        self.beyond = 0

    def add(self, path: str | None, offset: int | None, line: int | None) -> None:
        key = (path or "", offset, line)
        if path is None or key in self.listed:
            return
        if len(self.listed) == OCCURRENCES:
            self.beyond += 1
            return
        occurrence: dict[str, Any] = {"location": path}
        if line is not None and line >= 0:
            occurrence["line"] = line
        if offset is not None and offset >= 0:
            occurrence["offset"] = offset
        self.listed[key] = occurrence

    def member(self) -> dict[str, Any]:
        return {"occurrences": list(self.listed.values())} if self.listed else {}

    def property(self) -> dict[str, object]:
        return {"assay:occurrences:not-listed": self.beyond or None}


def _dependencies(
    depends: dict[str, list[tuple[str, int | None, list[str]]]],
    names: dict[tuple[str, int | None, str], set[str]],
) -> Iterator[dict[str, Any]]:
    """Yield what each package needs, where a package of that name lies in the same container."""
    yield {"ref": ROOT, "dependsOn": sorted(depends)}
    for ref, needs in sorted(depends.items()):
        found = {
            target
            for manager, container, wanted in needs
            for name in wanted
            for target in names.get((manager, container, name), ())
        }
        yield {"ref": ref, "dependsOn": sorted(found - {ref})}


def purl(manager: str, name: str, version: str, architecture: str | None) -> str:
    """Return a package URL.

    Without a namespace: a package database does not say which distribution's packages it holds. opkg has no type of its
    own and comes as generic. An rpm's epoch is a qualifier, as its type demands.

    Args:
        manager: dpkg, rpm, apk or opkg.
        name: as the manager writes it.
        version: as the manager writes it.
        architecture: as the manager writes it, if it does.
    """
    qualifiers = {"arch": architecture}
    if manager == "rpm" and ":" in version:
        qualifiers["epoch"], _, version = version.partition(":")
    if manager in ("dpkg", "apk"):
        name = name.lower()
    listed = "&".join(f"{key}={quote(value, safe=':')}" for key, value in sorted(qualifiers.items()) if value)
    kind = PURL_TYPES.get(manager, "generic")
    return f"pkg:{kind}/{quote(name, safe='')}@{quote(version, safe=':')}" + (f"?{listed}" if listed else "")


REPORT = Report("cyclonedx", "CycloneDX 1.6 bill of materials", ".cdx.json", write)
