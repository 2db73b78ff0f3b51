"""Who made and supplied it. Kept apart: the judge's connection refuses every read of this family."""

from typing import Annotated, ClassVar

from .base import ContentFact, doc


class Identity(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A statement on who made, built, maintains or supplies something. Readable by reports, never by rules."""

    source: ClassVar = "the field of the format that states it, named in attribute"

    subject: Annotated[str, doc("what it is about: artefact:1, package:NAME, image:NAME, elf")]
    attribute: Annotated[str, doc("name, vendor, maintainer, homepage, packager, build-host, author, label")]
    value: Annotated[str, doc("as stated")]
