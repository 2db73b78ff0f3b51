from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from assay.record import Record
from assay.report import render
from assay.report.cyclonedx import purl

from .records import hostile, large, realistic, sha


def document(record: Path) -> dict[str, Any]:
    stream = io.StringIO()
    render(record, "cyclonedx", stream)
    return json.loads(stream.getvalue())


@pytest.fixture(scope="module")
def validator() -> Any:
    library = pytest.importorskip("cyclonedx", reason="cyclonedx-python-lib carries the official schema")
    schemas = pytest.importorskip("jsonschema_rs")
    folder = Path(library.__file__).parent / "schema" / "_res"
    known = {}
    for name in ("spdx", "jsf-0.82"):
        schema = json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8"))
        known[schema["$id"]] = schema
    registry = schemas.Registry([*known.items()])
    whole = json.loads((folder / "bom-1.6.SNAPSHOT.schema.json").read_text(encoding="utf-8"))
    # The schema refers to the two others by the names of these files.
    text = json.dumps(whole)
    for schema_id, short in zip(known, ("spdx", "jsf-0.82"), strict=True):
        text = text.replace(f'"{short}.SNAPSHOT.schema.json', f'"{schema_id}').replace(
            f'"{short}.schema.json', f'"{schema_id}'
        )
    return schemas.Draft7Validator(json.loads(text), registry=registry, validate_formats=True)


@pytest.mark.parametrize("build", [realistic, hostile, lambda path: large(path, 10)])
def test_it_is_valid_by_the_official_schema(tmp_path: Path, validator: Any, build: Callable[[Path], Path]) -> None:
    found = document(build(tmp_path / "r.assay"))
    validator.validate(found)
    refs = [component["bom-ref"] for component in found["components"]]
    assert len(refs) == len(set(refs))
    known = {*refs, "release"}
    assert {d["ref"] for d in found["dependencies"]} <= known
    assert {ref for d in found["dependencies"] for ref in d["dependsOn"]} <= known


def test_the_schema_is_really_applied(tmp_path: Path, validator: Any) -> None:
    found = document(realistic(tmp_path / "r.assay"))
    found["components"][0]["type"] = "nonsense"
    assert not validator.is_valid(found)


def test_an_empty_record_is_valid(tmp_path: Path, validator: Any) -> None:
    Record(tmp_path / "r.assay", write=True).close()
    validator.validate(document(tmp_path / "r.assay"))


def test_the_library_reads_what_was_written(tmp_path: Path) -> None:
    model = pytest.importorskip("cyclonedx.model.bom")
    found = document(realistic(tmp_path / "r.assay"))
    bom = model.Bom.from_json(data=found)
    assert sorted(str(c.purl) for c in bom.components if c.purl) == sorted(
        c["purl"] for c in found["components"] if "purl" in c
    )
    assert {(str(c.type.value), c.name, c.version) for c in bom.components} == {
        (c["type"], c["name"], c.get("version")) for c in found["components"]
    }
    assert bom.metadata.component.name == "rtr-2.1.0.img"
    assert str(bom.serial_number) == found["serialNumber"].removeprefix("urn:uuid:")
    assert bom.metadata.timestamp == datetime.fromisoformat("2026-03-01T10:01:01+00:00")


def test_components_whole(tmp_path: Path) -> None:
    found = document(realistic(tmp_path / "r.assay"))
    components = {c["bom-ref"]: c for c in found["components"]}
    ssh = "pkg:deb/openssh-server@1:9.2p1-2%2Bdeb12u3?arch=arm64"
    libc, ssl = "pkg:deb/libc6@2.36-9?arch=arm64", "pkg:deb/libssl3@3.0.11-1~deb12u2?arch=arm64"
    assert list(components) == [
        libc,
        ssl,
        ssh,
        *sorted(f"sha256:{sha(p)}" for p in ("/bin/busybox", "/usr/sbin/sshd", "/usr/bin/httpd", "/lib/libc.so.6")),
        f"private-key:{sha('key')}",
    ]
    assert components[libc] == {
        "type": "library",
        "bom-ref": libc,
        "name": "libc6",
        "version": "2.36-9",
        "purl": libc,
        "licenses": [{"license": {"name": "LGPL-2.1+"}}],
        "evidence": {
            "identity": [
                {
                    "field": "purl",
                    "confidence": 1,
                    "methods": [{"technique": "manifest-analysis", "confidence": 1, "value": "dpkg"}],
                }
            ],
            "occurrences": [{"location": "/rootfs!/var/lib/dpkg/status", "line": 20}],
        },
        "properties": [
            {"name": "assay:package:manager", "value": "dpkg"},
            {"name": "assay:package:architecture", "value": "arm64"},
            {"name": "assay:package:status", "value": "installed"},
        ],
    }
    sshd = f"sha256:{sha('/usr/sbin/sshd')}"
    assert components[sshd] == {
        "type": "file",
        "bom-ref": sshd,
        "name": "sshd",
        "hashes": [{"alg": "SHA-256", "content": sha("/usr/sbin/sshd")}],
        "evidence": {"occurrences": [{"location": "/rootfs!/usr/sbin/sshd"}]},
        "properties": [
            {"name": "assay:elf:role", "value": "executable"},
            {"name": "assay:elf:machine", "value": "aarch64"},
            {"name": "assay:size", "value": "200000"},
            {"name": "assay:package", "value": "openssh-server"},
        ],
    }
    assert components[f"private-key:{sha('key')}"] == {
        "type": "cryptographic-asset",
        "bom-ref": f"private-key:{sha('key')}",
        "name": "RSA private key",
        "evidence": {"occurrences": [{"location": "/rootfs!/etc/ssh/ssh_host_rsa_key", "line": 1, "offset": 0}]},
        "cryptoProperties": {
            "assetType": "related-crypto-material",
            "relatedCryptoMaterialProperties": {"type": "private-key", "id": sha("key"), "size": 2048},
        },
        "properties": [],
    }
    assert found["dependencies"] == [
        {"ref": "release", "dependsOn": [libc, ssl, ssh]},
        {"ref": libc, "dependsOn": []},
        {"ref": ssl, "dependsOn": [libc]},
        {"ref": ssh, "dependsOn": [libc, ssl]},
    ]
    assert found["compositions"] == [{"aggregate": "incomplete", "assemblies": ["release"]}]


def test_the_serial_number_follows_the_content(tmp_path: Path) -> None:
    one = document(realistic(tmp_path / "a.assay"))["serialNumber"]
    assert one == document(realistic(tmp_path / "b.assay"))["serialNumber"]
    assert one != document(realistic(tmp_path / "c.assay", name="another"))["serialNumber"]


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        (("rpm", "curl", "1:7.50.3-1.fc25", "i386"), "pkg:rpm/curl@7.50.3-1.fc25?arch=i386&epoch=1"),
        (("rpm", "bash", "5.1-2", None), "pkg:rpm/bash@5.1-2"),
        (("apk", "Musl", "1.2.4-r2", "x86_64"), "pkg:apk/musl@1.2.4-r2?arch=x86_64"),
        (("opkg", "base-files", "1-r1", "mips_24kc"), "pkg:generic/base-files@1-r1?arch=mips_24kc"),
        (("dpkg", "a/b?c#d", "1~2+3 4%", "all"), "pkg:deb/a%2Fb%3Fc%23d@1~2%2B3%204%25?arch=all"),
    ],
)
def test_package_urls(package: tuple[str, str, str, str | None], expected: str) -> None:
    assert purl(*package) == expected
