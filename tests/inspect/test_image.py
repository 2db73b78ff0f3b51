from __future__ import annotations

import contextlib
import hashlib
import json

import pytest

from assay.facts.identity import Identity
from assay.facts.service import ImageManifest
from assay.inspect import image

from ..support.hostile import mangled
from ..support.memory_tree import MemoryTree, inspect

A, B, C = (c * 64 for c in "abc")
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": f"sha256:{C}", "size": 7},
    "layers": [
        {"mediaType": TAR, "digest": f"sha256:{A}", "size": 1},
        {"mediaType": TAR, "digest": f"sha512:{B}{B}", "size": 2},
    ],
    "annotations": {"org.opencontainers.image.vendor": "Example Vendor", "other": "x"},
}


def blob(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()


def test_oci_layout() -> None:
    manifest = blob(MANIFEST)
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    index = blob(
        {
            "schemaVersion": 2,
            "manifests": [
                {"digest": digest, "size": 1, "annotations": {"org.opencontainers.image.ref.name": "registry/amf:1.0"}}
            ],
        }
    )
    tree = MemoryTree(
        {
            f"/blobs/sha256/{digest[7:]}": (0o644, 0, 0, manifest),
            "/index.json": (0o644, 0, 0, index),
            f"/blobs/sha256/{A}": (0o644, 0, 0, b"{ layers config }"),
        },
        [image.OCI_MANIFEST, image.OCI_INDEX, image.DOCKER],
    )
    assert not tree.failures
    assert [fact for _, fact in tree.all(ImageManifest)] == [
        ImageManifest(
            format="oci",
            name=digest,
            layers=[f"/blobs/sha256/{A}", f"/blobs/sha512/{B}{B}"],
            config=f"/blobs/sha256/{C}",
        )
    ]
    assert [fact for _, fact in tree.all(Identity)] == [
        Identity(subject=f"image:{digest}", attribute="vendor", value="Example Vendor"),
        Identity(subject=f"image:{digest}", attribute="name", value="registry/amf:1.0"),
    ]


def test_manifest_of_other_things() -> None:
    chart = MANIFEST | {"layers": [{"mediaType": "application/vnd.in-toto+json", "digest": f"sha256:{A}"}]}
    assert inspect(image.OCI_MANIFEST, blob(chart)) == []


@pytest.mark.parametrize("digest", ["sha256:../../etc", f"sha256:{A.upper()}", f"md5:{A[:32]}", f"sha256:{A}\n", ""])
def test_digests_are_checked(digest: str) -> None:
    bad = MANIFEST | {"layers": [{"mediaType": TAR, "digest": digest}]}
    with pytest.raises(ValueError, match="not a digest"):
        inspect(image.OCI_MANIFEST, blob(bad))


def test_docker_save() -> None:
    saved = [
        {"Config": f"{C}.json", "RepoTags": ["amf:1.0", "amf:latest"], "Layers": ["1/layer.tar", "./2/layer.tar"]},
        {"Config": "x.json", "RepoTags": None, "Layers": ["../up/layer.tar", "/abs.tar"]},
    ]
    assert inspect(image.DOCKER, blob(saved)) == [
        ImageManifest(format="docker", name="1", layers=["/1/layer.tar", "/2/layer.tar"], config=f"/{C}.json"),
        Identity(subject="image:1", attribute="name", value="amf:1.0"),
        Identity(subject="image:1", attribute="name", value="amf:latest"),
        ImageManifest(format="docker", name="2", layers=["../up/layer.tar", "/abs.tar"], config="/x.json"),
    ]
    assert inspect(image.DOCKER, b'{"name": "web application"}') == []


def test_damage_ends_in_facts_or_value_errors() -> None:
    for inspector, good in ((image.OCI_MANIFEST, blob(MANIFEST)), (image.DOCKER, blob([{"Config": "", "Layers": []}]))):
        for broken in [*mangled(good, count=200), b"[" * 100_000]:
            with contextlib.suppress(ValueError, RecursionError):
                inspect(inspector, broken)
