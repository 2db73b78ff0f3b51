"""What listens, and what is called: the ways in and out by network, as an image states them."""

from typing import Annotated, ClassVar

from .base import ContentFact, TreeFact, doc


class Listener(TreeFact, frozen=True, kw_only=True, array_like=True):
    """A socket that a program opens by its configuration, its unit, or its built-in default."""

    source: ClassVar = "the configuration manual of each program, named by its inspector; systemd.socket(5)"
    index: ClassVar = ("port",)

    program: Annotated[str, doc("program or network function: sshd, nginx, open5gs-amfd, kamailio, ...")]
    protocol: Annotated[str, doc("tcp, udp, sctp, dccp, unix, raw, netlink")]
    address: Annotated[
        str,
        doc("address as the program would bind it: 0.0.0.0 and :: for all, a path for unix; empty if stated nowhere"),
    ] = ""
    port: Annotated[int | None, doc("port; empty for protocols without, and where it cannot be told")] = None
    interface: Annotated[str | None, doc("network interface, where it is bound by name")] = None
    purpose: Annotated[
        str | None,
        doc("what for, in the program's words or as 3GPP interface: sbi, n2, n3, n4, s1ap, metrics, admin, ..."),
    ] = None
    tls: Annotated[bool | None, doc("TLS, DTLS or SSH stands in front of it; empty if it cannot be told")] = None
    service: Annotated[str | None, doc("`service.name` of what starts the program, where one was found")] = None
    enabled: Annotated[bool | None, doc("that service starts at boot; empty if it cannot be told")] = None
    origin: Annotated[str, doc("file, default (built in), unit (systemd socket), inetd")] = "file"
    installed: Annotated[
        bool | None,
        doc(
            "the program is in this tree; 0: it is configured here, and nothing here would serve it; empty: not looked for"
        ),
    ] = None


class ExposedPort(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A port that a container image, a workload or a service of an orchestrator is told to open or to publish."""

    source: ClassVar = (
        "OCI image-spec config.md (ExposedPorts), Dockerfile reference (EXPOSE), Kubernetes API reference (ContainerPort, "
        "ServicePort), Compose Specification (ports, expose)"
    )
    index: ClassVar = ("port",)

    dialect: Annotated[str, doc("oci-config, dockerfile, kubernetes, helm, compose")]
    of: Annotated[
        str, doc("Kind/name/container, Service/name, a Compose service, a build stage; empty for an image")
    ] = ""
    how: Annotated[
        str,
        doc(
            "image (declared, opens nothing by itself), container (in the container's network), service (in the cluster), "
            "node (on every node), host (on the host that runs it)"
        ),
    ]
    protocol: Annotated[str, doc("tcp, udp, sctp")]
    port: Annotated[int | None, doc("port, the first of a range; empty where a variable or the engine decides")]
    until: Annotated[int | None, doc("last port of a range")] = None
    address: Annotated[str, doc("address of the host that it is bound to; empty for all")] = ""
    name: Annotated[str | None, doc("name of the port, where it has one")] = None


class Endpoint(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A name or address of something outside that stands in a content. Nothing is resolved or called."""

    source: ClassVar = "RFC 3986, RFC 1123, RFC 4291; IANA root zone; Public Suffix List"
    index: ClassVar = ("host",)

    kind: Annotated[str, doc("url, host, ipv4, ipv6, mail")]
    value: Annotated[
        str, doc("as it stands there, without user information, query and fragment; at most 300 characters")
    ]
    scheme: Annotated[str | None, doc("scheme of a URL, in lower case")] = None
    host: Annotated[str | None, doc("host in lower case; empty where it is filled in at run time (%s)")] = None
    port: Annotated[int | None, doc("port, where stated")] = None
    domain: Annotated[str | None, doc("registrable domain: public suffix and one label")] = None
    suffix: Annotated[str | None, doc("public suffix")] = None
    scope: Annotated[
        str,
        doc(
            "global, private, loopback, link-local, multicast, documentation, reserved, local (name without public suffix), "
            "unknown (filled in at run time)"
        ),
    ] = "global"
    purpose: Annotated[
        str | None,
        doc(
            "what the words around it show: update, time, telemetry, licence, test, documentation, namespace, certificate"
        ),
    ] = None
    context: Annotated[str | None, doc("the word, key or line beginning that shows the purpose")] = None
    count: Annotated[int, doc("how often it stands in this content")] = 1
