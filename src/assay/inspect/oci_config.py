"""The configuration of a container image: whom it runs as, what it starts, which ports it declares, what was built how.

Source: OCI image-spec 1.1, config.md; docker image save format v1.2 (the same fields).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from assay.facts import ContentFact
from assay.facts.access import Credential, KnownPassword
from assay.facts.network import ExposedPort
from assay.facts.service import Directive

from .base import Content, ContentInspector
from .exposed_ports import exposed
from .known_passwords import Secret, known
from .secrecy import WITHHELD, withhold
from .workload_secrets import credential, is_literal, says_secret, tried

DIALECT = "oci-config"
LIMIT = 4 << 20
MOST = 1_000
"""Variables, ports or steps of one image."""


class Settings(msgspec.Struct):
    """`config` of an image: the parameters of a container run from it."""

    user: str = msgspec.field(name="User", default="")
    ports: dict[str, object] | None = msgspec.field(name="ExposedPorts", default=None)
    environment: list[str] | None = msgspec.field(name="Env", default=None)
    entrypoint: list[str] | str | None = msgspec.field(name="Entrypoint", default=None)
    command: list[str] | str | None = msgspec.field(name="Cmd", default=None)
    volumes: dict[str, object] | None = msgspec.field(name="Volumes", default=None)
    directory: str = msgspec.field(name="WorkingDir", default="")
    signal: str | None = msgspec.field(name="StopSignal", default=None)
    health: dict[str, object] | None = msgspec.field(name="Healthcheck", default=None)


class Step(msgspec.Struct):
    """One layer's making."""

    created_by: str = ""


class Configuration(msgspec.Struct):
    """An image configuration, as far as it is told here."""

    architecture: str = ""
    os: str = ""
    created: str | None = None
    config: Settings | None = None
    history: list[Step] | None = None


def inspect(content: Content) -> Iterator[ContentFact]:
    """Yield a directive for each parameter, and the secrets that variables hold in the clear.

    An image without a user says so: key `user` with an empty value, which runs as root (config.md, User). Of a variable
    whose name says secret only the name is told.

    Raises:
        msgspec.DecodeError: it is no image configuration after all, or broken.
    """
    found = msgspec.json.decode(bytes(content.data), type=Configuration)
    if not found.architecture or not found.os:
        return
    secrets: list[Secret] = []
    config = found.config or Settings()
    yield _directive("platform", f"{found.os}/{found.architecture}")
    if found.created:
        yield _directive("created", found.created)
    yield _directive("user", config.user)
    for port in list(config.ports or ())[:MOST]:
        yield _directive("exposed-port", port)
        yield from exposed(port, DIALECT, "image")
    for variable in (config.environment or [])[:MOST]:
        name, _, value = variable.partition("=")
        if says_secret(name) and value:
            yield _directive("env", f"{name}={WITHHELD}")
            if is_literal(value):
                yield credential("environment", name, value, None)
                known_one = tried("", value, None)
                secrets += [known_one] if known_one else []
        else:
            yield _directive("env", variable)
    for key, words in (("entrypoint", config.entrypoint), ("cmd", config.command)):
        if words:
            yield _directive(key, words if isinstance(words, str) else " ".join(words))
    for volume in list(config.volumes or ())[:MOST]:
        yield _directive("volume", volume)
    if config.directory:
        yield _directive("working-dir", config.directory)
    if config.signal:
        yield _directive("stop-signal", config.signal)
    if config.health:
        yield _directive("healthcheck", msgspec.json.encode(config.health).decode())
    for step in (found.history or [])[:MOST]:
        if step.created_by:
            yield _directive("history", " ".join(step.created_by.split()))
    yield from known(secrets)


def _directive(key: str, value: str) -> Directive:
    return Directive(dialect=DIALECT, key=key, value=withhold(value[:1000]))


def _is_configuration(head: bytes) -> bool:
    return (
        head[:1] == b"{"
        and b'"architecture"' in head
        and b'"os"' in head
        and b'"layers":' not in head
        and (b'"diff_ids"' in head or b'"history"' in head)
    )


INSPECTOR = ContentInspector(
    name="oci-config",
    version=3,
    families=(Directive, Credential, KnownPassword, ExposedPort),
    inspect=inspect,
    head_begins=(b"{",),
    wants_head=_is_configuration,
    max_size=LIMIT,
    text_only=True,
    unseen=(
        "which container is run with other parameters than the image's own (see workload)",
        "configurations whose first 68 KiB do not show what they are",
    ),
)
