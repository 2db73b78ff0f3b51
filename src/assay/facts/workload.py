"""Containers that an orchestrator is told to run."""

from typing import Annotated, ClassVar

from .base import ContentFact, doc


class Workload(ContentFact, frozen=True, kw_only=True, array_like=True):
    """One container of a Kubernetes object or Compose service, as written or as its chart renders it by default."""

    source: ClassVar = "Kubernetes API reference (Pod v1 core), Compose Specification, Helm chart template guide"

    dialect: Annotated[str, doc("kubernetes, helm, compose")]
    kind: Annotated[str, doc("Pod, Deployment, DaemonSet, StatefulSet, Job, CronJob, service, ...")]
    name: Annotated[str, doc("object's name, or the service's")]
    container: Annotated[str, doc("container's name")]
    init: Annotated[bool, doc("it is an init container")] = False
    image: Annotated[str | None, doc("image reference as written")] = None
    pinned: Annotated[bool | None, doc("the reference has a digest")] = None
    privileged: Annotated[bool | None, doc("as written; empty if not stated (the default is false)")] = None
    user: Annotated[str | None, doc("user it is told to run as; empty if the image decides")] = None
    non_root: Annotated[bool | None, doc("runAsNonRoot, of the container or its pod")] = None
    escalation: Annotated[bool | None, doc("allowPrivilegeEscalation; Compose: no-new-privileges, negated")] = None
    read_only: Annotated[bool | None, doc("root file system is read-only")] = None
    capabilities: Annotated[list[str], doc("added capabilities, as JSON array")] = []
    dropped: Annotated[list[str], doc("dropped capabilities, as JSON array")] = []
    host: Annotated[list[str], doc("what of the host it shares: network, pid, ipc, users, ports; JSON array")] = []
    mounts: Annotated[list[str], doc("paths of the host that it mounts, as JSON array")] = []
    secrets: Annotated[
        list[str], doc("environment variables set to a literal whose name says secret; names only, JSON array")
    ] = []
    ports: Annotated[list[str], doc("ports as port/protocol, JSON array")] = []
    limits: Annotated[bool | None, doc("memory or processor limits are set")] = None
    seccomp: Annotated[str | None, doc("seccomp profile as written")] = None
