"""What whoever supplies the release states about it. Statements are facts about statements, not about the release."""

from typing import Annotated, ClassVar

from .base import RecordFact, doc


class Statement(RecordFact, frozen=True, kw_only=True, array_like=True):
    """One statement file that was given with a release."""

    source: ClassVar = "docs/reference/statement"

    run: Annotated[int, doc("run that read it")]
    sha256: Annotated[str, doc("SHA-256 of the file")]
    format: Annotated[str, doc("assay-toml, assay-json, cyclonedx, spdx")]
    version: Annotated[str | None, doc("version of the format")] = None
    dated: Annotated[str | None, doc("date that it states, ISO 8601")] = None
    topics: Annotated[
        list[str], doc("topics that it declares completely: what is absent is declared absent; JSON array")
    ] = []


class Declared(RecordFact, frozen=True, kw_only=True, array_like=True):
    """One thing that a statement declares."""

    source: ClassVar = "docs/reference/statement"
    index: ClassVar = ("topic,key",)

    statement: Annotated[int, doc("statement")]
    topic: Annotated[str, doc("port, account, service, software, role, escalation, support, interface, egress, sbom")]
    key: Annotated[str, doc("what identifies it, in the form of the topic: tcp/22, root, ssh.service, openssl, ...")]
    value: Annotated[dict[str, object], doc("the other fields, as JSON")] = {}
    pointer: Annotated[str | None, doc("where in the file it stands, as JSON pointer (RFC 6901)")] = None
