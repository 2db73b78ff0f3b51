"""What update and application packages state about themselves: who made what, and the digests of their files."""

from typing import Annotated, ClassVar

from .base import ContentFact, doc


class PackageStatement(ContentFact, frozen=True, kw_only=True, array_like=True):
    """What a package's own descriptor or manifest says the package is."""

    source: ClassVar = (
        "ETSI GS NFV-SOL 004, SOL 001; O-RAN application service descriptor; DMTF DSP0243 (OVF); SWUpdate; RAUC; Mender"
    )
    index: ClassVar = ("name",)

    kind: Annotated[str, doc("csar, oran, ovf, swupdate, rauc, mender")]
    name: Annotated[str | None, doc("product or artefact, as stated")] = None
    version: Annotated[str | None, doc("its version, as stated")] = None
    provider: Annotated[str | None, doc("who provides it, as stated")] = None
    format: Annotated[str | None, doc("version or variant of the package format, as stated")] = None
    created: Annotated[str | None, doc("time or tool of its making, as stated")] = None
    compatible: Annotated[list[str], doc("devices or hardware that it is for, as JSON array, as stated")] = []
    signature: Annotated[
        str | None, doc("signature in the same file: cms; empty if there is none (it may be in a file beside)")
    ] = None


class ManifestEntry(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A file that a package's manifest names, with the digest that it states; whether it is right is in `manifest_check`."""

    source: ClassVar = PackageStatement.source

    kind: Annotated[str, doc("csar, oran, ovf, swupdate, rauc, mender")]
    name: Annotated[str, doc("file, as the manifest names it")]
    algorithm: Annotated[str | None, doc("digest algorithm in lower case, as sha256; empty if no digest is stated")] = (
        None
    )
    digest: Annotated[str | None, doc("digest as stated, in lower case")] = None
    size: Annotated[int | None, doc("length that the manifest states", unit="bytes")] = None
    signature: Annotated[
        str | None, doc("cms: the manifest has a signature in itself; file: it names one for this file; else empty")
    ] = None
