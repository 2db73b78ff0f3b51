"""Kubernetes manifests and Helm charts: what runs how, what opens, which secrets lie in the clear."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import tarfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.facts import ContentFact
from assay.facts.access import Credential, KnownPassword
from assay.facts.service import Directive
from assay.facts.workload import Workload
from assay.inspect import helm, known_passwords, kubernetes
from assay.unpack.base import LimitReached, UnpackError, Unsupported
from tests.support.hostile import mangled
from tests.support.memory_tree import content_of, inspect, wanted

kubernetes.prepare()
known_passwords.prepare()

K8S = kubernetes.INSPECTOR
POD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: amf}
spec:
  template:
    spec:
      hostNetwork: true
      hostPID: yes
      serviceAccountName: amf
      securityContext:
        runAsUser: 1000
        runAsNonRoot: true
        seccompProfile: {type: RuntimeDefault}
      volumes:
        - name: sock
          hostPath: {path: /var/run/docker.sock}
        - {name: data, emptyDir: {}}
      initContainers:
        - name: setup
          image: registry/x@sha256:aa
          securityContext: {privileged: true, runAsUser: 0, runAsNonRoot: false}
      containers:
        - name: amf
          image: registry/amf:1.0
          args: ["--password", "hunter2", "-c"]
          ports:
            - {containerPort: 38412, protocol: SCTP, hostPort: 38412}
            - containerPort: 7777
          env:
            - {name: DB_PASSWORD, value: changeme}
            - {name: TOKEN_FILE, value: /run/token}
            - {name: API_TOKEN, valueFrom: {secretKeyRef: {name: a, key: b}}}
            - {name: OTHER_SECRET, value: $(FROM_ELSEWHERE)}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {add: [NET_ADMIN], drop: [ALL]}
            seccompProfile: {type: Localhost, localhostProfile: a.json}
          resources: {limits: {memory: 1Gi}}
          volumeMounts:
            - {name: sock, mountPath: /s}
            - {name: data, mountPath: /d}
"""


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def workloads(found: list[ContentFact]) -> list[Workload]:
    return [fact for fact in found if isinstance(fact, Workload)]


def directives(found: list[ContentFact]) -> list[tuple[str | None, str, str, int | None]]:
    return [(fact.section, fact.key, fact.value, fact.line) for fact in found if isinstance(fact, Directive)]


def test_a_deployment_whole() -> None:
    found = inspect(K8S, POD.encode())
    assert workloads(found) == [
        Workload(
            dialect="kubernetes",
            kind="Deployment",
            name="amf",
            container="setup",
            init=True,
            image="registry/x@sha256:aa",
            pinned=True,
            privileged=True,
            user="0",
            non_root=False,
            host=["network", "pid"],
            limits=False,
            seccomp="RuntimeDefault",
            line=19,
        ),
        Workload(
            dialect="kubernetes",
            kind="Deployment",
            name="amf",
            container="amf",
            image="registry/amf:1.0",
            pinned=False,
            user="1000",
            non_root=True,
            escalation=False,
            read_only=True,
            capabilities=["NET_ADMIN"],
            dropped=["ALL"],
            host=["network", "pid", "ports"],
            mounts=["/var/run/docker.sock"],
            secrets=["DB_PASSWORD"],
            ports=["38412/sctp", "7777/tcp"],
            limits=True,
            seccomp="Localhost/a.json",
            line=23,
        ),
    ]
    assert [fact for fact in found if isinstance(fact, Credential)] == [
        Credential(
            kind="secret",
            scheme="environment",
            fingerprint=sha("changeme"),
            subject="Deployment/amf/amf: DB_PASSWORD",
            evidence="field",
            line=30,
        )
    ]
    assert [(fact.fingerprint, fact.line) for fact in found if isinstance(fact, KnownPassword)] == [
        (sha("changeme"), 30)
    ]
    assert directives(found) == [
        ("Deployment/amf", "serviceAccountName", "amf", 9),
        ("Deployment/amf/amf", "command", "--password [withheld] -c", 23),
    ]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Pod", ["spec"]),
        ("DaemonSet", ["spec", "template", "spec"]),
        ("StatefulSet", ["spec", "template", "spec"]),
        ("ReplicaSet", ["spec", "template", "spec"]),
        ("ReplicationController", ["spec", "template", "spec"]),
        ("Job", ["spec", "template", "spec"]),
        ("CronJob", ["spec", "jobTemplate", "spec", "template", "spec"]),
        ("PodTemplate", ["template", "spec"]),
        ("Rollout", ["spec", "template", "spec"]),
    ],
)
def test_every_kind_with_a_pod_in_yaml_and_json(kind: str, path: list[str]) -> None:
    value: object = {"containers": [{"name": "c", "image": "i"}]}
    for key in reversed(path):
        value = {key: value}
    assert isinstance(value, dict)
    manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "n"}, **value}
    listed = {"apiVersion": "v1", "kind": "List", "items": [manifest, manifest]}
    (found,) = workloads(inspect(K8S, json.dumps(manifest, indent=2).encode()))
    assert (found.kind, found.name, found.container, found.image, found.pinned) == (kind, "n", "c", "i", False)
    assert (found.privileged, found.user, found.escalation, found.limits) == (None, None, None, False)
    assert len(workloads(inspect(K8S, json.dumps(listed).encode()))) == 2
    text = "---\n".join(json.dumps(manifest).replace("{", "{ ") + "\n" for _ in range(3))
    assert len(workloads(inspect(K8S, text.encode()))) == 3


def test_what_stands_around() -> None:
    encoded = base64.b64encode(b"admin").decode()
    text = f"""\
apiVersion: v1
kind: Secret
metadata: {{name: db}}
type: Opaque
data:
  username: {encoded}
  password: {encoded}
  ca.crt: {encoded}
  broken: "!"
stringData: {{key: a-long-and-unknown-value, later: "${{LATER}}"}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: NodePort
  ports:
    - {{port: 80, targetPort: 8080, nodePort: 30080, name: http}}
    - {{port: 53, protocol: UDP}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: in}}
spec:
  rules:
    - host: a.example
      http: {{paths: [{{path: /x, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: np}}
spec: {{podSelector: {{}}, policyTypes: [Ingress], ingress: [{{}}]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: all}}
roleRef: {{kind: ClusterRole, name: cluster-admin}}
subjects: [{{kind: ServiceAccount, name: default, namespace: core}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: wide}}
rules: [{{verbs: ["*"], resources: ["*"], apiGroups: [""]}}]
"""
    found = inspect(K8S, text.encode())
    assert directives(found) == [
        ("Secret/db", "type", "Opaque", 4),
        ("Service/web", "type", "NodePort", 16),
        ("Service/web", "port", "80/tcp name=http targetPort=8080 nodePort=30080", 18),
        ("Service/web", "port", "53/udp", 19),
        ("Ingress/in", "rule", "a.example/x -> web:80", 27),
        ("NetworkPolicy/np", "podSelector", "all pods", 32),
        ("NetworkPolicy/np", "policyType", "Ingress", 32),
        ("NetworkPolicy/np", "ingress", "1 rules", 32),
        ("NetworkPolicy/np", "ingress", "a rule without condition: everything", 32),
        ("ClusterRoleBinding/all", "roleRef", "ClusterRole/cluster-admin", 37),
        ("ClusterRoleBinding/all", "subject", "ServiceAccount core/default", 38),
        ("ClusterRole/wide", "rule", "verbs=* resources=* apiGroups=", 43),
    ]
    assert [(f.scheme, f.subject, f.fingerprint, f.line) for f in found if isinstance(f, Credential)] == [
        ("kubernetes-secret", "db/password", sha("admin"), 7),
        ("kubernetes-secret", "db/key", sha("a-long-and-unknown-value"), 10),
    ]
    assert [(f.account, f.line) for f in found if isinstance(f, KnownPassword)] == [("admin", 7)]
    assert "a-long-and-unknown-value" not in repr(found)


def test_other_texts_and_templates() -> None:
    assert inspect(K8S, b"kind: x\nname: y\n") == []
    assert inspect(K8S, b"# apiVersion: v1, kind: Pod\na: [\n") == []
    for text in ("image: {{ .Values.image }}", 'image: "{{ .Values.image }}"', "{{- if .Values.x }}"):
        with pytest.raises(Unsupported, match=r"a template, whose values stand elsewhere: .* at line 3"):
            inspect(K8S, f"apiVersion: v1\nkind: Pod\n{text}\n".encode())
    alert = "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: |\n    {{ range .Alerts }}{{ $labels.x }}{{ end }}\n"
    assert inspect(K8S, alert.encode()) == []
    with pytest.raises(ValueError, match="not YAML"):
        inspect(K8S, b"apiVersion: v1\nkind: Pod\n---\na: [\n")
    assert wanted(K8S, content_of(K8S, b"a: b\n"), ["/etc/kubernetes/manifests/x.yaml"])
    assert not wanted(K8S, content_of(K8S, b"a: b\n"), ["/etc/x.conf"])


def test_shapes_that_are_not_as_they_should_be() -> None:
    odd = "{containers: [{ports: [{containerPort: {}}], volumeMounts: 2, securityContext: []}], volumes: [3]}"
    for spec in (
        "1",
        "[]",
        "{containers: 1}",
        "{containers: [1, [], {}]}",
        "{containers: [{env: [1, {name: []}]}]}",
        odd,
    ):
        inspect(K8S, f"apiVersion: v1\nkind: Pod\nspec: {spec}\n".encode())
    for kind in ("Secret", "Service", "Ingress", "NetworkPolicy", "RoleBinding", "Role", "ServiceAccount", "List"):
        for body in (
            "spec: 1\ndata: []\nitems: [1]",
            "spec: {ports: 1, rules: {}}\nrules: 3\nsubjects: [4]\nroleRef: []",
        ):
            inspect(K8S, f"apiVersion: v1\nkind: {kind}\n{body}\n".encode())
    inspect(K8S, b"apiVersion: v1\nkind: [1]\nmetadata: 3\n")


def test_limits_and_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = "apiVersion: v1\nkind: Pod\na0: &a0 [x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    with pytest.raises(ValueError, match="aliases followed"):
        inspect(K8S, bomb.encode())
    for variant in mangled(POD.encode(), count=150):
        begun = time.process_time()
        with contextlib.suppress(ValueError, UnpackError):
            inspect(K8S, variant, "text")
        assert time.process_time() - begun < 1
    monkeypatch.setattr(kubernetes, "MAX_FACTS", 2)
    with pytest.raises(LimitReached):
        inspect(K8S, POD.encode())


@given(st.text(alphabet="apiVersion:kd {}[]&*a-\n\"'!<>|", max_size=200))
def test_any_text(text: str) -> None:
    with contextlib.suppress(ValueError, UnpackError):
        inspect(K8S, ("apiVersion: v1\nkind: Pod\n" + text).encode())


def packed(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, text in files.items():
            header = tarfile.TarInfo(path)
            header.size = len(text.encode())
            archive.addfile(header, io.BytesIO(text.encode()))
    return out.getvalue()


CHART = {
    "upf/Chart.yaml": (
        "apiVersion: v2\nname: upf\nversion: 1.2.3\nappVersion: '2.0'\n"
        "dependencies:\n- {name: maybe, condition: maybe.on}\n"
    ),
    "upf/values.yaml": (
        "image: {repository: reg/upf, tag: '2.7'}\nport: 8805\nbig: 30000000\n"
        "privileged: true\nadmin: {password: admin}\n"
        "sub: {user: '7'}\nempty: ''\nnothing:\n"
    ),
    "upf/templates/pod.yaml": (
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Release.Name }}-{{ .Chart.Name }}  {{/* a note */}}\n"
        "spec:\n  containers:\n    - name: upf\n"
        '      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"\n'
        "      env: [{name: DB_PASSWORD, value: {{ .Values.admin.password | quote }}}]\n"
        "      ports: [{containerPort: {{ .Values.port | int }}, protocol: UDP}]\n"
        "      securityContext: {privileged: {{ .Values.privileged }}, runAsUser: {{ .Values.empty | default 5 }}}\n"
    ),
    "upf/templates/if.yaml": "{{ if .Values.x }}\nkind: Pod\n{{ end }}\n",
    "upf/templates/files.yaml": "a: 1\nb: {{ .Files.Get \"x\" }}\n",
    "upf/templates/big.yaml": "a: {{ .Values.big }}\n",
    "upf/templates/_helpers.tpl": '{{ define "x" }}{{ end }}\n',
    "upf/templates/NOTES.txt": "{{ if }}\n",
    "upf/charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 0.1.0\n",
    "upf/charts/sub/values.yaml": "user: '1'\n",
    "upf/charts/sub/templates/p.yaml": (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: s}\n"
        "spec: {containers: [{name: c, securityContext: {runAsUser: {{ .Values.user }}}}]}\n"
    ),
    "upf/charts/maybe/Chart.yaml": "name: maybe\nversion: 0.1.0\n",
    "upf/charts/maybe/templates/p.yaml": "apiVersion: v1\nkind: Pod\n",
}  # fmt: skip


def test_a_packed_chart_with_its_defaults() -> None:
    data = packed(CHART)
    content = content_of(helm.PACKED, data, "gzip")
    assert wanted(helm.PACKED, content, ["/charts/upf-1.2.3.tgz"])
    found: list[ContentFact] = []
    with pytest.raises(Unsupported) as raised:
        found.extend(helm.PACKED.inspect(content))
    assert str(raised.value) == (
        "2 templates not rendered: upf/templates/big.yaml (line 1: .Values.big is a number that may print otherwise); "
        "upf/templates/files.yaml (line 2: .Files is not known here)"
    )
    assert workloads(found) == [
        Workload(
            dialect="helm",
            kind="Pod",
            name="release-name-upf",
            container="upf",
            image="reg/upf:2.7",
            pinned=False,
            privileged=True,
            user="5",
            secrets=["DB_PASSWORD"],
            ports=["8805/udp"],
            limits=False,
        ),
        Workload(dialect="helm", kind="Pod", name="s", container="c", user="7", limits=False),
    ]
    assert directives(found) == [
        ("upf", "renders", "upf/templates/if.yaml", None),
        ("upf", "renders", "upf/templates/pod.yaml", None),
        ("maybe", "renders", "upf/charts/maybe/templates/p.yaml", None),
        ("sub", "renders", "upf/charts/sub/templates/p.yaml", None),
    ]
    assert [(f.fingerprint, f.line) for f in found if isinstance(f, KnownPassword)] == [(sha("admin"), None)]


def test_default_values_as_facts() -> None:
    text = "image: {tag: x}\nadmin:\n  password: admin\n  existingSecret: ''\ntokenFile: /x\n"
    text += "auth: {passwordEnabled: true}\n"
    found = inspect(helm.VALUES, text.encode())
    assert directives(found) == [
        (None, "image.tag", "x", 1),
        (None, "admin.password", "[withheld]", 3),
        (None, "admin.existingSecret", "", 4),
        (None, "tokenFile", "/x", 5),
        (None, "auth.passwordEnabled", "true", 6),
    ]
    assert [(f.subject, f.fingerprint, f.line) for f in found if isinstance(f, Credential)] == [
        ("admin.password", sha("admin"), 3)
    ]


def test_damaged_and_other_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inspect(helm.PACKED, packed({"a/readme": "x"}), "gzip") == []
    for variant in mangled(packed(CHART), count=100):
        with contextlib.suppress(UnpackError, ValueError):
            inspect(helm.PACKED, variant, "gzip")
    monkeypatch.setattr(helm, "MAX_UNPACKED", 4096)
    with pytest.raises(LimitReached):
        inspect(helm.PACKED, packed({"a/Chart.yaml": "name: a\n", "a/values.yaml": "x" * 9000}), "gzip")
