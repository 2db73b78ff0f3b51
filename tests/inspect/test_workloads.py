"""Compose files, Dockerfiles, image configurations and cloud-init: as projects write them, and broken."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.facts import ContentFact
from assay.facts.access import Credential, KnownPassword, ProductAccount
from assay.facts.service import Directive
from assay.facts.workload import Workload
from assay.inspect import cloud_init, compose, dockerfile, known_passwords, oci_config
from assay.inspect.base import ContentInspector
from assay.inspect.workload_secrets import is_literal, says_secret
from assay.unpack.base import UnpackError, Unsupported
from tests.support.hostile import mangled
from tests.support.memory_tree import content_of, inspect, wanted

compose.prepare()
known_passwords.prepare()


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def directives(found: list[ContentFact]) -> list[tuple[str | None, str, str, int | None]]:
    return [(fact.section, fact.key, fact.value, fact.line) for fact in found if isinstance(fact, Directive)]


def secrets(found: list[ContentFact]) -> list[tuple[str, str | None, str | None, int | None]]:
    return [(f.scheme, f.subject, f.fingerprint, f.line) for f in found if isinstance(f, Credential)]


def known(found: list[ContentFact]) -> list[int | None]:
    return [fact.line for fact in found if isinstance(fact, KnownPassword)]


COMPOSE = """\
version: "3.8"
x-base: &base
  restart: always
  cap_drop: [ALL]
services:
  amf:
    <<: *base
    image: reg/amf@sha256:00
    container_name: my-amf
    privileged: true
    user: "0:0"
    read_only: true
    network_mode: host
    pid: host
    security_opt: ["no-new-privileges:true", "seccomp:unconfined"]
    cap_add: [NET_ADMIN]
    environment:
      DB_PASSWORD: admin
      OTHER_PASSWORD: ${FROM_OUTSIDE}
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock
      - data:/data
      - {type: bind, source: ./conf, target: /etc/x}
    ports:
      - "127.0.0.1:8080:80"
      - 38412:38412/sctp
      - {target: 53, published: 5353, protocol: udp}
    expose: ["7777"]
    env_file: .env
    command: ["run", "--token", "abc"]
    deploy: {resources: {limits: {memory: 1G}}}
  db:
    image: mongo
    environment:
      - MONGO_INITDB_ROOT_PASSWORD=s3cret-unlisted
      - PLAIN
secrets:
  key: {file: ./key.pem}
"""


def test_compose_whole() -> None:
    found = inspect(compose.INSPECTOR, COMPOSE.encode())
    assert [fact for fact in found if isinstance(fact, Workload)] == [
        Workload(
            dialect="compose",
            kind="service",
            name="amf",
            container="my-amf",
            image="reg/amf@sha256:00",
            pinned=True,
            privileged=True,
            user="0:0",
            escalation=False,
            read_only=True,
            capabilities=["NET_ADMIN"],
            dropped=["ALL"],
            host=["network", "pid", "ports"],
            mounts=["/var/run/docker.sock", "./conf"],
            secrets=["DB_PASSWORD"],
            ports=["80/tcp", "38412/sctp", "53/udp", "7777/tcp"],
            limits=True,
            seccomp="unconfined",
            line=7,
        ),
        Workload(
            dialect="compose",
            kind="service",
            name="db",
            container="db",
            image="mongo",
            pinned=False,
            secrets=["MONGO_INITDB_ROOT_PASSWORD"],
            limits=False,
            line=33,
        ),
    ]
    assert directives(found) == [
        ("amf", "ports", "127.0.0.1:8080:80", 25),
        ("amf", "ports", "38412:38412/sctp", 26),
        ("amf", "ports", "target=53 published=5353 protocol=udp", 27),
        ("amf", "env_file", ".env", 29),
        ("amf", "command", "run --token [withheld]", 7),
        ("secret key", "file", "./key.pem", 38),
    ]
    assert secrets(found) == [
        ("environment", "amf: DB_PASSWORD", sha("admin"), 18),
        ("environment", "db: MONGO_INITDB_ROOT_PASSWORD", sha("s3cret-unlisted"), 35),
    ]
    assert known(found) == [18]
    assert "s3cret-unlisted" not in repr(found)


def test_compose_that_goes_on_elsewhere() -> None:
    found: list[ContentFact] = []
    text = b"include: [a.yml]\nservices:\n  x:\n    extends: {file: b.yml, service: y}\n    image: i\n"
    with pytest.raises(Unsupported, match=r"not followed: service x extends b.yml; include a.yml"):
        found.extend(compose.INSPECTOR.inspect(content_of(compose.INSPECTOR, text)))
    assert [fact.name for fact in found if isinstance(fact, Workload)] == ["x"]
    (old,) = inspect(compose.INSPECTOR, b"web:\n  image: i\n")
    assert isinstance(old, Workload)
    for path, expected in (("/a/docker-compose.prod.yml", True), ("/compose.yaml", True), ("/compose/x.yml", False)):
        assert wanted(compose.INSPECTOR, content_of(compose.INSPECTOR, text), [path]) is expected


def test_dockerfile() -> None:
    text = (
        "# syntax=docker/dockerfile:1\nARG VERSION=1\nFROM debian:12 AS build\n"
        "ENV DB_PASSWORD=changeme HOME=/root\nENV API_TOKEN some value\n"
        "RUN apt-get update && \\\n  # a comment\n\n  curl --password abc http://x\n"
        "RUN <<EOF\nUSER root\nEOF\nfrom scratch\nCOPY --from=build /a /b\nUSER 1000:1000\nEXPOSE 80/tcp 38412/sctp\n"
        'CMD ["run"]\nnot an instruction\n'
    )
    found = inspect(dockerfile.INSPECTOR, text.encode())
    assert directives(found) == [
        (None, "arg", "VERSION=1", 2),
        ("build", "from", "debian:12 AS build", 3),
        ("build", "env", "DB_PASSWORD=[withheld] HOME=/root", 4),
        ("build", "env", "API_TOKEN [withheld]", 5),
        ("build", "run", "apt-get update &&    curl --password [withheld] http://x", 6),
        ("build", "run", "<<EOF", 10),
        ("1", "from", "scratch", 13),
        ("1", "copy", "--from=build /a /b", 14),
        ("1", "user", "1000:1000", 15),
        ("1", "expose", "80/tcp 38412/sctp", 16),
        ("1", "cmd", '["run"]', 17),
    ]
    assert secrets(found) == [
        ("environment", "DB_PASSWORD", sha("changeme"), 4),
        ("environment", "API_TOKEN", sha("some value"), 5),
    ]
    assert known(found) == [4]
    for path, expected in (("/x/Dockerfile", True), ("/Dockerfile.dev", True), ("/a.dockerfile", True),
                           ("/x/Containerfile", True), ("/x/dockerfiles/a.txt", False), ("/etc/x", False)):  # fmt: skip
        assert wanted(dockerfile.INSPECTOR, content_of(dockerfile.INSPECTOR, text.encode()), [path]) is expected


def test_image_configuration() -> None:
    value = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {
            "ExposedPorts": {"38412/sctp": {}},
            "Env": ["PATH=/usr/bin", "DB_PASSWORD=admin", "API_TOKEN=${X}"],
            "Entrypoint": ["/amf"],
            "Cmd": ["-c", "/etc/amf.yaml"],
            "Volumes": {"/data": {}},
            "WorkingDir": "/srv",
            "Healthcheck": None,
        },
        "history": [{"created_by": "/bin/sh -c #(nop) ENV  API_TOKEN=abcdef"}, {"empty_layer": True}],
        "rootfs": {"type": "layers", "diff_ids": ["sha256:00"]},
    }
    data = json.dumps(value).encode()
    assert wanted(oci_config.INSPECTOR, content_of(oci_config.INSPECTOR, data), ["/blobs/sha256/00"])
    found = inspect(oci_config.INSPECTOR, data)
    assert directives(found) == [
        (None, "platform", "linux/amd64", None),
        (None, "created", "2026-01-01T00:00:00Z", None),
        (None, "user", "", None),
        (None, "exposed-port", "38412/sctp", None),
        (None, "env", "PATH=/usr/bin", None),
        (None, "env", "DB_PASSWORD=[withheld]", None),
        (None, "env", "API_TOKEN=[withheld]", None),
        (None, "entrypoint", "/amf", None),
        (None, "cmd", "-c /etc/amf.yaml", None),
        (None, "volume", "/data", None),
        (None, "working-dir", "/srv", None),
        (None, "history", "/bin/sh -c #(nop) ENV API_TOKEN=[withheld]", None),
    ]
    assert secrets(found) == [("environment", "DB_PASSWORD", sha("admin"), None)]
    assert known(found) == [None]
    for other in ({"architecture": "amd64", "os": "linux"}, {"layers": [], "history": [], "os": 1, "architecture": 2}):
        assert not wanted(oci_config.INSPECTOR, content_of(oci_config.INSPECTOR, json.dumps(other).encode()), ["/x"])


def test_cloud_init() -> None:
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(32)
    key = f"ssh-ed25519 {base64.b64encode(blob).decode()} me@host"
    text = f"""#cloud-config
password: admin
ssh_pwauth: true
users:
  - default
  - name: op
    groups: [wheel, adm]
    sudo: ALL=(ALL) NOPASSWD:ALL
    lock_passwd: false
    plain_text_passwd: letmein
    ssh_authorized_keys: ["{key}"]
  - name: locked
    lock_passwd: true
    passwd: $6$abcdefgh${"a" * 86}
chpasswd:
  expire: false
  list: |
    root:root
    x:RANDOM
  users:
    - {{name: y, password: s3cr3t-own, type: text}}
system_info:
  default_user: {{name: cloud, lock_passwd: true, gecos: X}}
"""
    found = inspect(cloud_init.INSPECTOR, text.encode())
    assert [
        (f.container, f.name, f.role, f.password, f.scheme, f.line) for f in found if isinstance(f, ProductAccount)
    ] == [
        ("users", "cloud", None, "clear", None, 2),
        ("users", "op", "wheel, adm, sudo ALL=(ALL) NOPASSWD:ALL", "clear", None, 6),
        ("users", "locked", None, "locked", "sha512crypt", 12),
        ("chpasswd", "y", None, "clear", None, 21),
        ("chpasswd", "root", None, "clear", None, 18),
        ("chpasswd", "x", None, "unknown", None, 19),
    ]
    assert [fact for fact in found if isinstance(fact, Credential)] == [
        Credential(
            kind="authorized-key",
            scheme="Ed25519",
            fingerprint=hashlib.sha256(blob).hexdigest(),
            bits=256,
            subject="op",
            line=11,
        )
    ]
    assert known(found) == [2, 6, 18]
    shown = directives(found)
    assert shown[:3] == [
        (None, "password", "[withheld]", 2),
        (None, "ssh_pwauth", "true", 3),
        (None, "users[0]", "default", 4 + 1),
    ]
    assert (None, "users[1].plain_text_passwd", "[withheld]", 10) in shown
    assert (None, "chpasswd.list", "[withheld]", 17) in shown
    for secret in ("letmein", "s3cr3t-own", "root:root", "aaaaaaaa"):
        assert secret not in repr(found)
    for path, expected in (("/etc/cloud/cloud.cfg", True), ("/etc/cloud/cloud.cfg.d/05.cfg", True), ("/x", True)):
        assert wanted(cloud_init.INSPECTOR, content_of(cloud_init.INSPECTOR, text.encode()), [path]) is expected
    with pytest.raises(ValueError, match="not YAML"):
        inspect(cloud_init.INSPECTOR, b"## template: jinja\n#cloud-config\nusers:\n{% if x %}\n- a\n{% endif %}\n")


def test_names_and_values_of_secrets() -> None:
    yes = ("DB_PASSWORD", "apiKey", "secret", "AUTH_TOKEN", "mysql-pass", "PASS", "AWS_SECRET_ACCESS_KEY", "psk")
    no = ("PASSWORD_FILE", "tokenPath", "SECRET_NAME", "compass", "bypass", "existingSecret", "imagePullSecrets",
          "TOKEN_TTL", "passwordPolicy", "KEY", "TOKEN_URL")  # fmt: skip
    assert [name for name in (*yes, *no) if says_secret(name)] == list(yes)
    assert [
        value for value in ("a", "${A}", "<x>", "", "/run/secrets/x", "true", "$(A)", "{{ a }}") if is_literal(value)
    ] == ["a"]


ALL = [
    (compose.INSPECTOR, COMPOSE.encode()),
    (dockerfile.INSPECTOR, b'FROM a AS b\nENV A_TOKEN="x\\" y" B=c\nRUN a \\\n b\nCOPY <<X /y\nX\n'),
    (oci_config.INSPECTOR, b'{"architecture":"a","os":"b","config":{"Env":["A=b"],"User":"x"},"history":[]}'),
    (
        cloud_init.INSPECTOR,
        b"#cloud-config\nusers: [{name: a, passwd: b}]\nchpasswd: {list: [a:b], users: [{name: c}]}\n",
    ),
]


@pytest.mark.parametrize("number", range(len(ALL)))
def test_damage(number: int) -> None:
    inspector, data = ALL[number]
    for variant in mangled(data, count=120):
        begun = time.process_time()
        with contextlib.suppress(ValueError, UnpackError):
            inspect(inspector, variant, "text")
        assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    "unit",
    [b"ENV A_TOKEN=x ", b'ENV A="', b"ENV a\\\n", b"RUN <<A ", b"ARG " + b"a" * 50, b"\\\n", b"A=\\", b"FROM x AS "],
)
def test_dockerfiles_stay_cheap(unit: bytes) -> None:
    begun = time.process_time()
    inspect(dockerfile.INSPECTOR, b"ENV " + unit * (200_000 // len(unit)))
    assert time.process_time() - begun < 2


@given(st.sampled_from([inspector for inspector, _ in ALL]), st.text(max_size=200))
def test_any_text(inspector: ContentInspector, text: str) -> None:
    with contextlib.suppress(ValueError, UnpackError):
        inspect(inspector, text.encode("utf-8", "replace"), "text")
