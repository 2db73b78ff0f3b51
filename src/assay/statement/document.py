"""A statement's document: one class a topic. The reader, the template and the reference page are made from these."""

# No `from __future__ import annotations`: msgspec resolves the types when the classes are made.

import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from assay.facts import doc

FORMAT = 1
"""Version of the document."""

Text = Annotated[str, Meta(max_length=2_000)]


class Topic(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the topics: one thing that is declared."""

    topic: ClassVar[str]
    """Name in the record, and of the table in the file."""
    example: ClassVar[str]
    """An entry, as the template shows it."""

    def key(self) -> str:
        """Return what identifies it, in the form of the view `found`."""
        raise NotImplementedError

    def identity(self) -> str:
        """Return what no two entries of a topic have in common."""
        return self.key()


class Port(Topic, frozen=True, kw_only=True):
    """A port on which the release listens."""

    topic: ClassVar = "port"
    example: ClassVar = 'protocol = "sctp"\nport = 38412\npurpose = "N2"\ninterface = "control"\ntls = false'

    protocol: Annotated[Literal["tcp", "udp", "sctp"], doc("transport")]
    port: Annotated[int, Meta(ge=0, le=65535), doc("port")]
    purpose: Annotated[Text, doc("what for")]
    service: Annotated[Text, doc("service that opens it, as its manager names it")] = ""
    interface: Annotated[Text, doc("interface it belongs to: management, control, user, charging, ...")] = ""
    tls: Annotated[bool | None, doc("TLS, DTLS or SSH protects it")] = None

    def key(self) -> str:
        """See `Topic.key`."""
        return f"{self.protocol}/{self.port}"


class Account(Topic, frozen=True, kw_only=True):
    """An account that the release has when it is delivered."""

    topic: ClassVar = "account"
    example: ClassVar = 'name = "root"\nkind = "os"\npurpose = "console only"\nlogin = true\nchange_password = true'

    name: Annotated[Text, doc("account name")]
    kind: Annotated[Literal["os", "product"], doc("of the operating system, or of the product")] = "os"
    purpose: Annotated[Text, doc("what for")]
    login: Annotated[bool | None, doc("a person can log in with it")] = None
    change_password: Annotated[bool | None, doc("its password must be changed at first use")] = None

    def key(self) -> str:
        """See `Topic.key`."""
        return f"{self.kind}/{self.name}"


class Service(Topic, frozen=True, kw_only=True):
    """A service that starts at boot."""

    topic: ClassVar = "service"
    example: ClassVar = 'name = "ssh.service"\npurpose = "maintenance"\nuser = "root"\nneeded = true'

    name: Annotated[Text, doc("as its manager names it; .service may be left out")]
    purpose: Annotated[Text, doc("what for")]
    user: Annotated[Text, doc("account it runs as")] = ""
    needed: Annotated[bool | None, doc("the product does not work without it")] = None

    def key(self) -> str:
        """See `Topic.key`."""
        return self.name.removesuffix(".service")


class Software(Topic, frozen=True, kw_only=True):
    """Software that the release needs."""

    topic: ClassVar = "software"
    example: ClassVar = 'name = "openssh-server"\nversion = "1:9.2p1-2"\npurpose = "maintenance"\nneeded = true'

    name: Annotated[Text, doc("package name")]
    version: Annotated[Text, doc("version, as its package manager writes it")] = ""
    purpose: Annotated[Text, doc("what for")] = ""
    needed: Annotated[bool | None, doc("the product does not work without it")] = None

    def key(self) -> str:
        """See `Topic.key`."""
        return self.name


class Role(Topic, frozen=True, kw_only=True):
    """A role of the product's users."""

    topic: ClassVar = "role"
    example: ClassVar = 'name = "auditor"\npurpose = "reads the security log"\nrights = ["log.read"]'

    name: Annotated[Text, doc("role or group")]
    purpose: Annotated[Text, doc("what for")]
    rights: Annotated[list[Text], doc("what it may do")] = []

    def key(self) -> str:
        """See `Topic.key`."""
        return self.name


class Escalation(Topic, frozen=True, kw_only=True):
    """A means to act with other rights than one's own."""

    topic: ClassVar = "escalation"
    example: ClassVar = 'mechanism = "setuid"\nwhat = "/usr/bin/sudo"\npurpose = "maintenance"'

    mechanism: Annotated[
        Literal["setuid", "file-capability", "sudo", "doas", "polkit", "su"], doc("how the rights are gained")
    ]
    what: Annotated[
        Text,
        doc(
            "the file, for setuid and file-capability; the action, for polkit, and behind it who may, if not everyone; "
            "else who may: account, %group, ALL"
        ),
    ]
    purpose: Annotated[Text, doc("what for")]

    def key(self) -> str:
        """See `Topic.key`."""
        return f"{self.mechanism}:{self.what}"


class Egress(Topic, frozen=True, kw_only=True):
    """Something outside that the release calls by itself."""

    topic: ClassVar = "egress"
    example: ClassVar = 'host = "updates.example.com"\nport = 443\npurpose = "update"'

    host: Annotated[Text, doc("host name or address")]
    port: Annotated[int | None, doc("port")] = None
    purpose: Annotated[Text, doc("what for")]

    def key(self) -> str:
        """See `Topic.key`."""
        return self.host.lower()


class Support(Topic, frozen=True, kw_only=True):
    """Until when something is supported. Nothing in a release shows it."""

    topic: ClassVar = "support"
    example: ClassVar = 'name = "release 4"\nuntil = 2031-12-31\nkind = "security"'

    name: Annotated[Text, doc("product, release or component")]
    until: Annotated[datetime.date, doc("last day")]
    kind: Annotated[Text, doc("of what: security, full, ...")] = "security"

    def key(self) -> str:
        """See `Topic.key`."""
        return self.name

    def identity(self) -> str:
        """See `Topic.identity`: one thing can have several kinds of support."""
        return f"{self.name}: {self.kind}"


class Document(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A statement: who states it about what, and what is declared."""

    assay_statement: Annotated[Literal[1], doc("version of this format")]
    product: Annotated[Text, doc("product that it is about")] = ""
    version: Annotated[Text, doc("release that it is about")] = ""
    supplier: Annotated[Text, doc("who states it; kept in `identity`, where no rule can read it")] = ""
    date: Annotated[datetime.date | None, doc("when it was made")] = None
    complete: Annotated[
        list[Literal["port", "account", "service", "software", "role", "escalation", "egress"]],
        doc("topics that are declared completely: what is not declared is stated not to be there"),
    ] = []
    port: list[Port] = []
    account: list[Account] = []
    service: list[Service] = []
    software: list[Software] = []
    role: list[Role] = []
    escalation: list[Escalation] = []
    egress: list[Egress] = []
    support: list[Support] = []


TOPICS: tuple[type[Topic], ...] = (Port, Account, Service, Software, Role, Escalation, Egress, Support)
"""The topics, in the order of the file."""
