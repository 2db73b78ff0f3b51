"""Container images: which layers make an image, in order, in an OCI layout or a `docker save` archive."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from assay.facts import ContentFact
from assay.facts.identity import Identity
from assay.facts.service import ImageManifest

from .base import Content, ContentInspector
from .late import late

LIMIT = 4 << 20
"""Longest manifest, in bytes, that registries take (OCI distribution-spec, "Pushing manifests")."""

# OCI image-spec, descriptor.md, "Registered algorithms".
DIGEST = late(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})")
# OCI image-spec, annotations.md: the keys that say who and what.
ANNOTATIONS = {
    "org.opencontainers.image.ref.name": "name",
    "io.containerd.image.name": "name",
    "org.opencontainers.image.title": "name",
    "org.opencontainers.image.vendor": "vendor",
    "org.opencontainers.image.authors": "author",
    "org.opencontainers.image.url": "homepage",
}
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")


class Descriptor(msgspec.Struct):
    """Points at a blob (OCI image-spec, descriptor.md)."""

    digest: str
    media_type: str = msgspec.field(name="mediaType", default="")
    annotations: dict[str, str] | None = None


class Manifest(msgspec.Struct):
    """An image manifest (OCI image-spec, manifest.md; the same fields in Docker's schema 2)."""

    config: Descriptor
    layers: list[Descriptor]
    media_type: str = msgspec.field(name="mediaType", default=MANIFESTS[0])
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct):
    """An image index (OCI image-spec, image-index.md)."""

    manifests: list[Descriptor]


class Saved(msgspec.Struct):
    """One image of a `docker save` archive (moby, image/spec/v1.2.md)."""

    config: str = msgspec.field(name="Config")
    layers: list[str] = msgspec.field(name="Layers")
    tags: list[str] | None = msgspec.field(name="RepoTags", default=None)


def blob(digest: str) -> str:
    """Return the path of a blob in an OCI layout (image-layout.md).

    Raises:
        ValueError: it is not a digest of a registered algorithm.
    """
    match = DIGEST.fullmatch(digest)
    if not match:
        raise ValueError(f"not a digest: {digest[:100]!r}")
    return f"/blobs/{match[1] or match[3]}/{match[2] or match[4]}"


def makers(image: str, annotations: dict[str, str] | None) -> Iterator[Identity]:
    """Yield what annotations say on who made an image and what they call it."""
    for key, attribute in ANNOTATIONS.items():
        value = (annotations or {}).get(key)
        if value:
            yield Identity(subject=f"image:{image}", attribute=attribute, value=value)


def inspect_manifest(content: Content) -> Iterator[ContentFact]:
    """Yield the image of an OCI manifest; nothing for a manifest of other things (signatures, charts, attestations).

    Raises:
        msgspec.DecodeError: it is not a manifest after all.
        ValueError: a digest is none.
    """
    data = bytes(content.data)
    manifest = msgspec.json.decode(data, type=Manifest)
    # A layer is a tar archive of some kind (media types in layer.md; "rootfs" in Docker's).
    kinds = [layer.media_type for layer in manifest.layers]
    if manifest.media_type not in MANIFESTS or not all("tar" in kind or "rootfs" in kind for kind in kinds):
        return
    name = f"sha256:{hashlib.sha256(data).hexdigest()}"
    yield ImageManifest(
        format="oci",
        name=name,
        layers=[blob(layer.digest) for layer in manifest.layers],
        config=blob(manifest.config.digest),
    )
    yield from makers(name, manifest.annotations)


def inspect_index(content: Content) -> Iterator[ContentFact]:
    """Yield the names that an OCI index gives to its images.

    Raises:
        msgspec.DecodeError: it is not an index after all.
        ValueError: a digest is none.
    """
    for descriptor in msgspec.json.decode(bytes(content.data), type=Index).manifests:
        blob(descriptor.digest)
        yield from makers(descriptor.digest, descriptor.annotations)


def inspect_saved(content: Content) -> Iterator[ContentFact]:
    """Yield the images of a `docker save` archive, named by their position from 1, and their tags.

    Raises:
        msgspec.DecodeError: an image's entry is not as it should be.
    """
    entries = msgspec.json.decode(bytes(content.data))
    if not isinstance(entries, list):  # a web application's manifest.json is an object
        return
    for position, entry in enumerate(entries, 1):
        saved = msgspec.convert(entry, Saved)
        yield ImageManifest(
            format="docker",
            name=str(position),
            layers=[place(layer) for layer in saved.layers],
            config=place(saved.config),
        )
        for tag in saved.tags or ():
            yield Identity(subject=f"image:{position}", attribute="name", value=tag)


def place(path: str) -> str:
    """Return a path as files of an archive are named: from '/', without './', and as it is if it climbs out."""
    while path.startswith("./"):
        path = path[2:]
    return path if ".." in path.split("/") else "/" + path.lstrip("/")


def _is_manifest(head: bytes) -> bool:
    return head[:16].lstrip()[:1] == b"{" and b'"layers"' in head and b'"config"' in head and b'"digest"' in head


def _is_index(head: bytes) -> bool:
    return head[:16].lstrip()[:1] == b"{" and b'"manifests"' in head and b'"digest"' in head


OCI_MANIFEST = ContentInspector(
    name="oci-manifest",
    version=1,
    families=(ImageManifest, Identity),
    inspect=inspect_manifest,
    wants_head=_is_manifest,
    max_size=LIMIT,
    text_only=True,
)

OCI_INDEX = ContentInspector(
    name="oci-index",
    version=1,
    families=(Identity,),
    inspect=inspect_index,
    wants_head=_is_index,
    max_size=LIMIT,
    text_only=True,
)

DOCKER = ContentInspector(
    name="docker-manifest",
    version=1,
    families=(ImageManifest, Identity),
    inspect=inspect_saved,
    path_has=("/manifest.json",),
    wants_path=lambda path: path == "/manifest.json",
    max_size=LIMIT,
    text_only=True,
)
