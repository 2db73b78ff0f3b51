"""Compose files: the services that an engine is told to run.

Anchors and merge keys are resolved, variables (${X}) stay as they stand: their values come from elsewhere. What another
file would add (extends, include, override files) is not followed. Source: Compose Specification (services, 2024-11);
Compose file reference, versions 2 and 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from assay.facts import ContentFact
from assay.facts.access import Credential, KnownPassword
from assay.facts.network import ExposedPort
from assay.facts.service import Directive
from assay.facts.workload import Workload
from assay.unpack.base import Unsupported

from . import yaml_format, yaml_values
from .base import Content, ContentInspector
from .exposed_ports import exposed, published
from .known_passwords import known
from .kubernetes import Found
from .late import late
from .workload_secrets import is_literal, says_secret
from .yaml_values import at, flag, items, line, mapping, scalar

_SHARED = (("network_mode", "network"), ("pid", "pid"), ("ipc", "ipc"), ("userns_mode", "users"))
_PORT = late(r"(?:.*:)?(\d{1,5}(?:-\d{1,5})?)(?:/(tcp|udp|sctp))?")


def inspect(content: Content) -> Iterator[ContentFact]:
    """Yield a workload for each service, its published ports and environment files, and secrets in the clear.

    Raises:
        ValueError: the text is not YAML; what is before stands.
        Unsupported: a service or the file continues in another one, which is named.
    """
    found = Found("compose")
    elsewhere: list[str] = []
    for document in yaml_format.documents(content.text()):
        root = yaml_values.value(document)
        services = at(root, "services")
        if services is None and at(root, "version") is None and isinstance(root, dict):
            # Version 1 had the services at the top.
            services = root if root and all(at(value, "image") or at(value, "build") for value in root.values()) else {}
        for name, service in mapping(services).items():
            if isinstance(service, dict):
                yield from _service(name, service, found)
                if "extends" in service:
                    other = at(service, "extends", "file") or at(service, "extends", "service") or service["extends"]
                    elsewhere.append(f"service {name} extends {scalar(other)}")
        for entry in [*items(at(root, "include")), *([at(root, "include")] if scalar(at(root, "include")) else [])]:
            elsewhere.append(f"include {scalar(entry) or scalar(at(entry, 'path'))}")  # noqa: PERF401
        for name, entry in mapping(at(root, "secrets")).items():
            yield from found.directive(f"secret {name}", "file", at(entry, "file"), at(entry, "file"))
    yield from known(found.secrets)
    if elsewhere:
        raise Unsupported(f"not followed: {'; '.join(elsewhere[:5])}")


def environment(value: object) -> Iterator[tuple[str, str, int | None]]:
    """Yield (name, value, line) of an environment, which is a mapping or a list of NAME=value."""
    if isinstance(value, dict):
        for name, entry in value.items():
            if (text := scalar(entry)) is not None:
                yield name, text, line(entry)
    for entry in items(value):
        name, equals, written = (scalar(entry) or "").partition("=")
        if equals:
            yield name, written, line(entry)


def _service(name: str, here: dict[str, Any], found: Found) -> Iterator[ContentFact]:
    image = scalar(here.get("image"))
    options = [text for entry in items(here.get("security_opt")) if (text := scalar(entry)) is not None]
    denied = [option.lower() for option in options if option.lower().startswith("no-new-privileges")]
    seccomp = [re.split(r"[:=]", option, maxsplit=1)[1] for option in options if re.match(r"seccomp[:=]", option)]
    names = []
    for variable, value, place in environment(here.get("environment")):
        if says_secret(variable) and is_literal(value):
            names.append(variable)
            yield from found.secret("environment", "", f"{name}: {variable}", value, place)
    host = [shared for key, shared in _SHARED if scalar(here.get(key)) == "host"]
    limits = mapping(at(here, "deploy", "resources", "limits"))
    yield Workload(
        dialect="compose",
        kind="service",
        name=name,
        container=scalar(here.get("container_name")) or name,
        image=image,
        pinned=None if image is None else "@sha256:" in image,
        privileged=flag(here.get("privileged")),
        user=scalar(here.get("user")),
        escalation=None if not denied else denied[-1].endswith("false"),
        read_only=flag(here.get("read_only")),
        capabilities=[text for entry in items(here.get("cap_add")) if (text := scalar(entry)) is not None],
        dropped=[text for entry in items(here.get("cap_drop")) if (text := scalar(entry)) is not None],
        host=[*host, *(["ports"] if items(here.get("ports")) else [])],
        mounts=[source for entry in items(here.get("volumes")) if (source := _bound(entry)) is not None],
        secrets=names,
        ports=list(dict.fromkeys([*_ports(here.get("ports")), *_ports(here.get("expose"))])),
        limits=bool(limits.get("memory") or limits.get("cpus") or here.get("mem_limit") or here.get("cpus")),
        seccomp=seccomp[-1] if seccomp else None,
        line=line(here),
    )
    for entry in items(here.get("expose")):
        yield from exposed(scalar(entry) or "", "compose", "container", of=name, line=line(entry))
    for entry in items(here.get("ports")):
        if isinstance(entry, dict):
            yield from _long(name, entry)
        else:
            yield from published(scalar(entry) or "", "compose", name, line(entry))
        if isinstance(entry, dict):
            parts = [f"{key}={text}" for key, value in entry.items() if (text := scalar(value)) is not None]
            yield from found.directive(name, "ports", " ".join(parts), entry)
        else:
            yield from found.directive(name, "ports", entry, entry)
    files = here.get("env_file")
    for entry in files if isinstance(files, list) else [files]:
        path = at(entry, "path") or entry
        yield from found.directive(name, "env_file", path, path)
    for key in ("command", "entrypoint"):
        started = here.get(key)
        words = [text for word in items(started) if (text := scalar(word)) is not None]
        yield from found.directive(name, key, " ".join(words) if words else started, here)
    for entry in items(here.get("devices")):
        yield from found.directive(name, "devices", entry, entry)


def _long(name: str, entry: dict[str, Any]) -> Iterator[ExposedPort]:
    """Yield the ports of an entry in the long form: the container's, and the host's if one is published."""
    protocol = scalar(entry.get("protocol")) or "tcp"
    called, place = scalar(entry.get("name")), line(entry)
    yield from exposed(
        scalar(entry.get("target")) or "", "compose", "container", of=name, protocol=protocol, name=called, line=place
    )
    outer = scalar(entry.get("published"))
    if outer is not None:
        address = scalar(entry.get("host_ip")) or ""
        yield from exposed(
            outer, "compose", "host", of=name, protocol=protocol, address=address, name=called, line=place
        )


def _bound(entry: object) -> str | None:
    """Return the path of the host that a volume binds; None for a volume with a name or none."""
    if isinstance(entry, dict):
        return scalar(entry.get("source")) if scalar(entry.get("type")) == "bind" else None
    source, colon, _ = (scalar(entry) or "").partition(":")
    return source if colon and source.startswith(("/", ".", "~", "${")) else None


def _ports(value: object) -> list[str]:
    """Return the container's ports of an entry of `ports` or `expose`."""
    found = []
    for entry in items(value):
        if isinstance(entry, dict):
            target = scalar(entry.get("target"))
            if target is not None:
                found.append(f"{target}/{scalar(entry.get('protocol')) or 'tcp'}")
        elif (match := _PORT.fullmatch(scalar(entry) or "")) is not None:
            found.append(f"{match[1]}/{match[2] or 'tcp'}")
    return found


def prepare() -> None:
    """Load what parsing needs, before workers are forked and confined."""
    yaml_format.prepare()


INSPECTOR = ContentInspector(
    name="compose",
    version=2,
    families=(Workload, Directive, Credential, KnownPassword, ExposedPort),
    inspect=inspect,
    path_has=("compose",),
    wants_path=lambda path: path.endswith((".yml", ".yaml")) and "compose" in path[path.rfind("/") :],
    max_size=yaml_format.MAX_TEXT,
    text_only=True,
    unseen=(
        "values of variables (${X}), which come from the environment or .env, and what env_file holds",
        "what extends, include and override files add; a file that is not named compose or docker-compose",
    ),
)
