"""Under what terms: licences as texts, tags and databases state them."""

from typing import Annotated, ClassVar

from .base import ContentFact, doc


class Licence(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A statement on licence in a content."""

    source: ClassVar = "SPDX specification 2.3 Annex D, SPDX License List; DEP-5 (machine-readable debian/copyright)"
    index: ClassVar = ("expression",)

    expression: Annotated[
        str, doc("SPDX licence expression; LicenseRef-... where the list has no identifier; NOASSERTION")
    ]
    evidence: Annotated[
        str,
        doc(
            "tag (SPDX-License-Identifier), text (the licence itself), notice (words that name it), field (a database)"
        ),
    ]
    stated: Annotated[str | None, doc("as written, for a field; at most 200 characters")] = None
    scope: Annotated[str | None, doc("files that a DEP-5 paragraph covers, or package or module it is about")] = None
    match: Annotated[
        float | None,
        doc("for text: share of an even sample of the licence's word sequences that stands there", unit="ratio"),
    ] = None


class KnownCode(ContentFact, frozen=True, kw_only=True, array_like=True):
    """Published code recognised in a content by what only it contains: names, texts, tables."""

    source: ClassVar = "the inspector's table: project, distinguishing marks, and where they are published"

    project: Annotated[str, doc("project, as package-url name")]
    expression: Annotated[str, doc("SPDX licence expression of the project at that place")]
    role: Annotated[str, doc("contains (linked in or copied), is")] = "contains"
    marks: Annotated[list[str], doc("marks that were found, as JSON array")] = []
    notice: Annotated[bool, doc("a copyright or licence notice of the project stands in the same content")] = False
