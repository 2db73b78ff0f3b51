"""Ports of images, workloads and services: each form in which they are written, and what the views make of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.examine import examine
from assay.facts.network import ExposedPort
from assay.inspect import compose, dockerfile, kubernetes, oci_config
from assay.inspect.base import ContentInspector
from assay.inspect.exposed_ports import exposed, published
from assay.record import query
from tests.support.memory_tree import inspect

IMAGE = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "config": {"ExposedPorts": {"8080/tcp": {}, "53/udp": {}, "9000": {}, "1-3/tcp": {}, "x": {}, "99999/tcp": {}}},
        "history": [],
    }
)

COMPOSE = """services:
  web:
    image: a
    expose: ["3000", "4000/udp"]
    ports:
      - "8001:8000"
      - "127.0.0.1:53:5353/udp"
      - 9090
      - "[::1]:6000-6002:7000-7002"
      - "${PORT:-80}:81"
      - {target: 443, published: "8443", protocol: tcp, host_ip: 10.0.0.1, name: https}
"""

MANIFEST = """apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
    - name: c
      ports:
        - {containerPort: 8805, protocol: UDP, name: pfcp}
        - containerPort: 38412
          protocol: SCTP
          hostPort: 38412
          hostIP: 10.0.0.2
        - {containerPort: 1, hostPort: 0}
---
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {type: NodePort, ports: [{port: 80, targetPort: 8080, nodePort: 30080, name: http}]}
"""


def told(inspector: ContentInspector, text: str) -> list[tuple[str, str, str, str, str, str | None, int | None]]:
    return [
        (
            fact.of,
            fact.how,
            fact.protocol,
            f"{fact.port}" + (f"-{fact.until}" if fact.until else ""),
            fact.address,
            fact.name,
            fact.line,
        )
        for fact in inspect(inspector, text.encode())
        if isinstance(fact, ExposedPort)
    ]


def test_images() -> None:
    assert told(oci_config.INSPECTOR, IMAGE) == [
        ("", "image", "tcp", "8080", "", None, None),
        ("", "image", "udp", "53", "", None, None),
        ("", "image", "tcp", "9000", "", None, None),
        ("", "image", "tcp", "1-3", "", None, None),
    ]
    text = "FROM a AS build\nEXPOSE 80 53/udp\nFROM b\nEXPOSE $PORT 7000-7005/sctp x\n"
    assert told(dockerfile.INSPECTOR, text) == [
        ("build", "image", "tcp", "80", "", None, 2),
        ("build", "image", "udp", "53", "", None, 2),
        ("1", "image", "tcp", "None", "", None, 4),
        ("1", "image", "sctp", "7000-7005", "", None, 4),
    ]


def test_compose_files() -> None:
    assert told(compose.INSPECTOR, COMPOSE) == [
        ("web", "container", "tcp", "3000", "", None, 4),
        ("web", "container", "udp", "4000", "", None, 4),
        ("web", "container", "tcp", "8000", "", None, 6),
        ("web", "host", "tcp", "8001", "", None, 6),
        ("web", "container", "udp", "5353", "", None, 7),
        ("web", "host", "udp", "53", "127.0.0.1", None, 7),
        ("web", "container", "tcp", "9090", "", None, 8),
        ("web", "host", "tcp", "None", "", None, 8),
        ("web", "container", "tcp", "7000-7002", "", None, 9),
        ("web", "host", "tcp", "6000-6002", "::1", None, 9),
        ("web", "container", "tcp", "81", "", None, 10),
        ("web", "host", "tcp", "None", "", None, 10),
        ("web", "container", "tcp", "443", "", "https", 11),
        ("web", "host", "tcp", "8443", "10.0.0.1", "https", 11),
    ]


def test_manifests() -> None:
    assert told(kubernetes.INSPECTOR, MANIFEST) == [
        ("Pod/p/c", "container", "udp", "8805", "", "pfcp", 8),
        ("Pod/p/c", "container", "sctp", "38412", "", None, 9),
        ("Pod/p/c", "host", "sctp", "38412", "10.0.0.2", None, 11),
        ("Pod/p/c", "container", "tcp", "1", "", None, 13),
        ("Service/s", "service", "tcp", "80", "", "http", 18),
        ("Service/s", "node", "tcp", "30080", "", "http", 18),
    ]


@pytest.mark.parametrize("text", ["", ":", "::", "a:b", "70000", "1:70000", "1/tcp/udp", "80/icmp", "[::1", "\u0661"])
def test_what_is_no_port(text: str) -> None:
    assert [fact for fact in published(text, "compose", "x", None) if fact.port is not None] == []


@given(st.text("0123456789:-/[]${}tcpud.", max_size=40))
def test_any_text(text: str) -> None:
    for fact in (*published(text, "compose", "x", 1), *exposed(text, "dockerfile", "image")):
        assert fact.port is None or 0 <= fact.port <= 65535


def test_views(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/pod.yaml").write_text(MANIFEST)
    polkit = root / "usr/share/polkit-1/actions"
    polkit.mkdir(parents=True)
    (polkit / "a.policy").write_text(
        "<policyconfig><action id='org.example.a'><defaults><allow_any>yes</allow_any></defaults></action>"
        "<action id='org.example.b'><defaults><allow_active>auth_admin</allow_active></defaults></action>"
        "</policyconfig>"
    )
    examine([root], tmp_path / "r.assay")
    _, rows = query(tmp_path / "r.assay", "SELECT name, detail FROM way_in WHERE kind = 'exposed-port' ORDER BY fact")
    assert list(rows) == [
        ("Pod/p/c", "udp/8805 of the container for pfcp"),
        ("Pod/p/c", "sctp/38412 of the container"),
        ("Pod/p/c", "sctp/38412 on the host at 10.0.0.2"),
        ("Pod/p/c", "tcp/1 of the container"),
        ("Service/s", "tcp/80 of the service for http"),
        ("Service/s", "tcp/30080 on every node for http"),
    ]
    _, rows = query(tmp_path / "r.assay", "SELECT DISTINCT topic, key FROM found ORDER BY topic, key")
    assert list(rows) == [
        ("escalation", "polkit:org.example.a"),
        ("escalation", "polkit:org.example.b"),
        ("port", "sctp/38412"),
        ("port", "tcp/1"),
        ("port", "tcp/30080"),
        ("port", "tcp/80"),
        ("port", "udp/8805"),
    ]
