"""Kubernetes manifests: the containers that an object runs, and the objects around them that open or guard something.

Every kind with a pod, Lists, several documents in a text; YAML and JSON. A manifest is told by `apiVersion` and `kind`.
What only the cluster knows (admission, defaults of a namespace) is not here. Source: Kubernetes API reference v1.31
(Pod v1 core, Secret, Service, Ingress, NetworkPolicy, RBAC v1); Kubernetes documentation, "Pod Security Standards".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from assay.facts import ContentFact
from assay.facts.access import Credential, KnownPassword
from assay.facts.network import ExposedPort
from assay.facts.service import Directive
from assay.facts.workload import Workload
from assay.unpack.base import LimitReached, Unsupported

from . import yaml_format, yaml_values
from .base import Content, ContentInspector
from .exposed_ports import exposed
from .known_passwords import Secret, known
from .late import late
from .secrecy import withhold
from .workload_secrets import credential, is_literal, says_secret, tried
from .yaml_values import at, flag, items, line, mapping, scalar

DIALECT = "kubernetes"
MAX_BYTES = yaml_format.MAX_TEXT
MAX_FACTS = 20_000

_VERSION = late(rb"""["']?[ \t]*:\s*["']?(?:[a-z0-9.-]{1,253}/)?v[0-9]""")
_KEY = late(rb"""(?:.*[{,])?[ \t-]*["']?""", re.DOTALL)
_KIND = late(rb"""["']?[ \t]*:\s*["']?[A-Z]""")
_TEMPLATE = late(rb"\{\{-?[^{}\n]{0,80}?(?:\.Values|\.Release\.|\.Chart\.|\.Capabilities|include |toYaml )")
_POD_PATHS = (
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
    ("template", "spec"),
)
_BINDINGS = ("ClusterRoleBinding", "RoleBinding")


class Found:
    """Facts of one content, and the passwords to look for when they are all there.

    Args:
        dialect: of the facts.
    """

    def __init__(self, dialect: str = DIALECT) -> None:
        self.dialect = dialect
        self.secrets: list[Secret] = []

    def directive(self, section: str, key: str, value: object, place: object) -> Iterator[Directive]:
        """Yield a directive, if there is a value."""
        text = scalar(value)
        if text is not None and text != "":
            yield Directive(
                dialect=self.dialect, section=section, key=key, value=withhold(text[:1000]), line=line(place)
            )

    def secret(self, scheme: str, account: str, subject: str, value: str, place: int | None) -> Iterator[Credential]:
        """Yield a secret in the clear, and keep it to be looked for on the list."""
        yield credential(scheme, subject, value, place)
        found = tried(account, value, place)
        if found is not None:
            self.secrets.append(found)


def objects(document: object) -> Iterator[dict[str, Any]]:
    """Yield the objects of a document: itself, or the items of a List."""
    todo = [document]
    while todo:
        here = todo.pop()
        if isinstance(here, dict) and "kind" in here and "apiVersion" in here:
            listed = here.get("items")
            if isinstance(listed, list) and str(here["kind"]).endswith("List"):
                todo += reversed(listed)
            else:
                yield here


def facts(document: object, found: Found) -> Iterator[ContentFact]:
    """Yield what the objects of a document say."""
    for here in objects(document):
        kind = scalar(here["kind"]) or ""
        name = scalar(at(here, "metadata", "name")) or scalar(at(here, "metadata", "generateName")) or ""
        section = f"{kind}/{name}"
        if kind == "Pod":
            yield from _pod(here.get("spec"), kind, name, found)
        elif kind == "Secret":
            yield from _secret(here, section, found)
        elif kind == "Service":
            yield from _service(here, section, found)
        elif kind == "Ingress":
            yield from _ingress(here, section, found)
        elif kind == "NetworkPolicy":
            yield from _policy(here, section, found)
        elif kind in _BINDINGS:
            yield from _binding(here, section, found)
        elif kind in ("ClusterRole", "Role"):
            yield from _role(here, section, found)
        elif kind in ("ServiceAccount", "Namespace"):
            key = "automountServiceAccountToken"
            yield from found.directive(section, key, here.get(key), here.get(key))
            for label, value in mapping(at(here, "metadata", "labels")).items():
                if label.startswith("pod-security.kubernetes.io/"):
                    yield from found.directive(section, label, value, value)
        else:
            for path in _POD_PATHS:
                pod = at(here, *path)
                if isinstance(at(pod, "containers"), list):
                    yield from _pod(pod, kind, name, found)
                    break


def _pod(pod: object, kind: str, name: str, found: Found) -> Iterator[ContentFact]:
    section = f"{kind}/{name}"
    for key in ("serviceAccountName", "automountServiceAccountToken", "runtimeClassName", "shareProcessNamespace"):
        yield from found.directive(section, key, at(pod, key), at(pod, key))
    host = [
        shared
        for key, shared in (("hostNetwork", "network"), ("hostPID", "pid"), ("hostIPC", "ipc"), ("hostUsers", "users"))
        if flag(at(pod, key))
    ]
    volumes = {
        scalar(at(volume, "name")): scalar(at(volume, "hostPath", "path"))
        for volume in items(at(pod, "volumes"))
        if at(volume, "hostPath") is not None
    }
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for container in items(at(pod, key)):
            if isinstance(container, dict):
                yield from _container(container, pod, kind, name, key == "initContainers", host, volumes, found)


def _container(
    here: dict[str, Any],
    pod: object,
    kind: str,
    name: str,
    init: bool,
    host: list[str],
    volumes: dict[str | None, str | None],
    found: Found,
) -> Iterator[ContentFact]:
    own, outer = mapping(here.get("securityContext")), mapping(at(pod, "securityContext"))
    image = scalar(here.get("image"))
    container = scalar(here.get("name")) or ""
    profile = at(own, "seccompProfile") or at(outer, "seccompProfile")
    seccomp = scalar(at(profile, "type"))
    local = scalar(at(profile, "localhostProfile"))
    ports = [
        f"{port}/{(scalar(at(entry, 'protocol')) or 'TCP').lower()}"
        for entry in items(here.get("ports"))
        if (port := scalar(at(entry, "containerPort"))) is not None
    ]
    published = any(scalar(at(entry, "hostPort")) not in (None, "0") for entry in items(here.get("ports")))
    names = []
    for entry in items(here.get("env")):
        variable, value = scalar(at(entry, "name")), scalar(at(entry, "value"))
        if variable is not None and value is not None and says_secret(variable) and is_literal(value):
            names.append(variable)
            subject = f"{kind}/{name}/{container}: {variable}"
            yield from found.secret("environment", "", subject, value, line(at(entry, "value")))
    limits = mapping(at(here, "resources", "limits"))
    yield Workload(
        dialect=found.dialect,
        kind=kind,
        name=name,
        container=container,
        init=init,
        image=image,
        pinned=None if image is None else "@sha256:" in image,
        privileged=flag(own.get("privileged")),
        user=scalar(own["runAsUser"] if "runAsUser" in own else outer.get("runAsUser")),
        non_root=flag(own["runAsNonRoot"] if "runAsNonRoot" in own else outer.get("runAsNonRoot")),
        escalation=flag(own.get("allowPrivilegeEscalation")),
        read_only=flag(own.get("readOnlyRootFilesystem")),
        capabilities=_texts(at(own, "capabilities", "add")),
        dropped=_texts(at(own, "capabilities", "drop")),
        host=[*host, *(["ports"] if published else [])],
        mounts=[
            path
            for mount in [*items(here.get("volumeMounts")), *items(here.get("volumeDevices"))]
            if (path := volumes.get(scalar(at(mount, "name")))) is not None
        ],
        secrets=names,
        ports=ports,
        limits=bool(limits.get("memory") or limits.get("cpu")),
        seccomp=f"{seccomp}/{local}" if seccomp and local else seccomp,
        line=line(here),
    )
    for entry in items(here.get("ports")):
        for key, how in (("containerPort", "container"), ("hostPort", "host")):
            address = (scalar(at(entry, "hostIP")) or "") if how == "host" else ""
            yield from _opened(entry, key, how, f"{kind}/{name}/{container}", found, address)
    words = [text for key in ("command", "args") for word in items(here.get(key)) if (text := scalar(word)) is not None]
    if words:
        section = f"{kind}/{name}/{container}"
        yield from found.directive(section, "command", " ".join(words), here)


def _opened(entry: object, key: str, how: str, of: str, found: Found, address: str = "") -> Iterator[ExposedPort]:
    """Yield the port that an entry has under a key; 0 is none."""
    port = scalar(at(entry, key))
    if port not in (None, "0"):
        yield from exposed(
            port, found.dialect, how, of=of, protocol=scalar(at(entry, "protocol")) or "tcp", address=address,
            name=scalar(at(entry, "name")), line=line(at(entry, key)),
        )  # fmt: skip


def _texts(value: object) -> list[str]:
    return [text for item in items(value) if (text := scalar(item)) is not None]


def _secret(here: dict[str, Any], section: str, found: Found) -> Iterator[ContentFact]:
    name = section.partition("/")[2]
    values = {key: (value, True) for key, value in mapping(here.get("data")).items()}
    values |= {key: (value, False) for key, value in mapping(here.get("stringData")).items()}
    account = ""
    for key in ("username", "user", "login"):
        if key in values:
            account = _decoded(*values[key]) or ""
            break
    yield from found.directive(section, "type", here.get("type"), here.get("type"))
    for key, (value, encoded) in values.items():
        text = _decoded(value, encoded)
        if not text:
            continue
        if text.startswith("-----BEGIN CERTIFICATE") or (key in ("username", "user", "login", "ca.crt", "tls.crt")):
            continue  # what everybody may know
        if is_literal(text) or len(text) > 64:
            yield from found.secret("kubernetes-secret", account, f"{name}/{key}", text, line(value))


def _decoded(value: object, encoded: bool) -> str | None:
    text = scalar(value)
    if text is None or not encoded:
        return text
    try:
        return base64.b64decode(text, validate=False).decode("utf-8", "surrogateescape")
    except ValueError:
        return None


def _service(here: dict[str, Any], section: str, found: Found) -> Iterator[ContentFact]:
    spec = here.get("spec")
    yield from found.directive(section, "type", at(spec, "type"), at(spec, "type"))
    for entry in items(at(spec, "ports")):
        text = f"{scalar(at(entry, 'port'))}/{(scalar(at(entry, 'protocol')) or 'TCP').lower()}"
        for key in ("name", "targetPort", "nodePort"):
            value = scalar(at(entry, key))
            text += f" {key}={value}" if value is not None else ""
        yield from found.directive(section, "port", text, entry)
        yield from _opened(entry, "port", "service", section, found)
        yield from _opened(entry, "nodePort", "node", section, found)
    for key in ("externalIPs", "loadBalancerSourceRanges"):
        for value in items(at(spec, key)):
            yield from found.directive(section, key, value, value)


def _ingress(here: dict[str, Any], section: str, found: Found) -> Iterator[ContentFact]:
    spec = here.get("spec")
    secured = [host for entry in items(at(spec, "tls")) for host in _texts(at(entry, "hosts"))]
    for host in secured:
        yield from found.directive(section, "tls", host, at(spec, "tls", "hosts") or here)
    for rule in items(at(spec, "rules")):
        host_name = scalar(at(rule, "host")) or "*"
        for entry in items(at(rule, "http", "paths")):
            backend = at(entry, "backend", "service")
            port = scalar(at(backend, "port", "number")) or scalar(at(backend, "port", "name"))
            target = f"{scalar(at(backend, 'name')) or scalar(at(entry, 'backend', 'serviceName'))}"
            text = f"{host_name}{scalar(at(entry, 'path')) or ''} -> {target}{f':{port}' if port else ''}"
            yield from found.directive(section, "rule", text, entry)


def _policy(here: dict[str, Any], section: str, found: Found) -> Iterator[ContentFact]:
    spec = here.get("spec")
    labels = mapping(at(spec, "podSelector", "matchLabels"))
    more = " and expressions" if at(spec, "podSelector", "matchExpressions") else ""
    selected = ", ".join(f"{key}={scalar(value)}" for key, value in labels.items()) or ("" if more else "all pods")
    yield from found.directive(section, "podSelector", (selected + more).strip(), spec)
    for value in items(at(spec, "policyTypes")):
        yield from found.directive(section, "policyType", value, value)
    for way in ("ingress", "egress"):
        if isinstance(at(spec, way), list):
            yield from found.directive(section, way, f"{len(at(spec, way))} rules", spec)
            if any(not rule for rule in at(spec, way)):
                yield from found.directive(section, way, "a rule without condition: everything", spec)


def _binding(here: dict[str, Any], section: str, found: Found) -> Iterator[ContentFact]:
    role = here.get("roleRef")
    yield from found.directive(section, "roleRef", f"{scalar(at(role, 'kind'))}/{scalar(at(role, 'name'))}", role)
    for subject in items(here.get("subjects")):
        space = scalar(at(subject, "namespace"))
        text = f"{scalar(at(subject, 'kind'))} {f'{space}/' if space else ''}{scalar(at(subject, 'name'))}"
        yield from found.directive(section, "subject", text, subject)


def _role(here: dict[str, Any], section: str, found: Found) -> Iterator[ContentFact]:
    for rule in items(here.get("rules")):
        parts = [
            f"{key}={','.join(_texts(at(rule, key)))}"
            for key in ("verbs", "resources", "apiGroups", "nonResourceURLs", "resourceNames")
            if at(rule, key)
        ]
        yield from found.directive(section, "rule", " ".join(parts), rule)


def is_manifest(data: bytes) -> bool:
    """Tell whether a text holds objects of Kubernetes: cheap, before it is parsed."""
    return _has(data, b"apiVersion", _VERSION) and _has(data, b"kind", _KIND)


def _has(data: bytes, word: bytes, value: re.Pattern[bytes]) -> bool:
    """Tell whether a word stands as a key, with such a value: at the head of a line, or behind a brace or comma."""
    at = data.find(word)
    while at >= 0:
        before = data[max(0, at - 32, data.rfind(b"\n", max(0, at - 32), at) + 1) : at]
        if value.match(data, at + len(word)) and _KEY.fullmatch(before):
            return True
        at = data.find(word, at + 1)
    return False


def inspect(content: Content) -> Iterator[ContentFact]:
    """Yield the workloads of the manifests in a text, what stands around them, and the secrets in the clear.

    Raises:
        ValueError: a document cannot be parsed; the documents before stand.
        Unsupported: it is a template (Helm), of which nothing is told: what stands around its values is not what runs.
        LimitReached: more facts than one content may have.
    """
    data = bytes(content.data)
    if not is_manifest(data):
        return
    template = _TEMPLATE.search(data)
    if template is not None:
        number = data.count(b"\n", 0, template.start()) + 1
        shown = template[0].decode("utf-8", "backslashreplace")
        raise Unsupported(f"a template, whose values stand elsewhere: {shown} at line {number}")
    found = Found()
    count = 0
    for document in yaml_format.documents(content.text()):
        for fact in facts(yaml_values.value(document), found):
            if count >= MAX_FACTS:
                raise LimitReached("kubernetes_facts", MAX_FACTS)
            count += 1
            yield fact
    yield from known(found.secrets)


def prepare() -> None:
    """Load what parsing needs, before workers are forked and confined."""
    yaml_format.prepare()


INSPECTOR = ContentInspector(
    name="kubernetes",
    version=2,
    families=(Workload, Directive, Credential, KnownPassword, ExposedPort),
    inspect=inspect,
    path_has=(".y", ".json"),
    wants_path=lambda path: path.endswith((".yaml", ".yml", ".json")),
    max_size=MAX_BYTES,
    text_only=True,
    unseen=(
        "what a cluster adds: defaults of a namespace, admission controllers, security policies, operators",
        "templates and overlays (Helm outside of a packed chart, Kustomize): they are named as unread where not YAML",
        "kinds of others (custom resources) whose pods do not stand at spec.template.spec",
    ),
)
