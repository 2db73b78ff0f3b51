"""Templates of charts: the idioms of published charts, subcharts and their conditions, and what stops a template."""

# ruff: noqa: E501 - a template, its values and its text stand in one line

from __future__ import annotations

import contextlib
import io
import tarfile
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from assay.facts import ContentFact
from assay.facts.service import Directive
from assay.facts.workload import Workload
from assay.inspect import helm
from assay.inspect.helm_language import Templates
from assay.inspect.helm_template import Run
from assay.inspect.helm_values import NotRendered, Value, decoded, to_yaml
from assay.unpack.base import Unsupported
from tests.support.hostile import mangled
from tests.support.memory_tree import content_of, inspect

HELPERS = """{{/*
Expand the name of the chart.
*/}}
{{- define "upf.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "upf.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "upf.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "upf.labels" -}}
helm.sh/chart: {{ include "upf.chart" . }}
{{ include "upf.selectorLabels" . }}
{{- if .Chart.AppVersion }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "upf.selectorLabels" -}}
app.kubernetes.io/name: {{ include "upf.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "upf.image" -}}
{{- $registry := .imageRoot.registry -}}
{{- if .global }}{{- if .global.imageRegistry }}{{- $registry = .global.imageRegistry -}}{{- end -}}{{- end -}}
{{- printf "%s/%s:%s" $registry .imageRoot.repository (.imageRoot.tag | toString) -}}
{{- end -}}
"""

DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "upf.fullname" . }}
  labels:
    {{- include "upf.labels" . | nindent 4 }}
spec:
  {{- if not .Values.autoscaling.enabled }}
  replicas: {{ .Values.replicaCount }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "upf.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      {{- with .Values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      labels:
        {{- include "upf.selectorLabels" . | nindent 8 }}
    spec:
      {{- with .Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or .Values.hostNetwork (eq .Values.mode "host") }}
      hostNetwork: true
      {{- end }}
      securityContext:
        {{- toYaml .Values.podSecurityContext | nindent 8 }}
      containers:
        - name: {{ .Chart.Name }}
          securityContext:
            {{- toYaml .Values.securityContext | nindent 12 }}
          image: {{ include "upf.image" (dict "imageRoot" .Values.image "global" .Values.global) }}
          env:
            {{- range $key, $value := .Values.env }}
            - name: {{ $key | upper }}
              value: {{ $value | quote }}
            {{- end }}
          ports:
            {{- range $i, $port := .Values.ports }}
            - name: {{ printf "%s-%d" ($port.name | lower) $i }}
              containerPort: {{ $port.number | int }}
              protocol: {{ $port.protocol | default "TCP" }}
            {{- else }}
            []
            {{- end }}
          {{- if and .Values.resources .Values.resources.limits }}
          resources:
            {{- toYaml .Values.resources | nindent 12 }}
          {{- end }}
          volumeMounts:
            {{- if .Values.extraVolumeMounts }}
            {{- toYaml .Values.extraVolumeMounts | nindent 12 }}
            {{- end }}
            - {name: config, mountPath: /etc/upf}
      volumes:
        - name: host
          hostPath: {path: {{ .Values.hostPath }}}
        - name: config
          configMap: {name: {{ tpl .Values.configName $ }}}
      {{- with .Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
"""

VALUES = """replicaCount: 2
nameOverride: ""
fullnameOverride: ""
mode: host
hostNetwork: false
autoscaling: {enabled: false}
image: {registry: docker.io, repository: core/upf, tag: 1.5}
global: {imageRegistry: registry.example}
podAnnotations: {a.example/b: "c d"}
imagePullSecrets: []
podSecurityContext: {}
securityContext:
  privileged: true
  capabilities: {add: [NET_ADMIN, SYS_ADMIN], drop: [ALL]}
env: {log_level: info, interval: 10}
ports:
  - {name: PFCP, number: 8805, protocol: UDP}
  - {name: Metrics, number: 9090}
resources: {limits: {memory: 1Gi, cpu: 2}}
extraVolumeMounts: [{name: host, mountPath: /host}]
hostPath: /var/lib/upf
configName: "{{ .Release.Name }}-config"
nodeSelector: {}
"""

SERVICE = """{{- if .Values.service -}}
kind: Service
{{- end -}}
"""

CHART = "apiVersion: v2\nname: upf\nversion: 1.2.3+4\nappVersion: '2.0'\n"


def packed(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, text in files.items():
            header = tarfile.TarInfo(path)
            header.size = len(text.encode())
            archive.addfile(header, io.BytesIO(text.encode()))
    return out.getvalue()


def rendered(files: dict[str, str]) -> tuple[list[ContentFact], str]:
    found: list[ContentFact] = []
    missed = ""
    try:
        found.extend(helm.PACKED.inspect(content_of(helm.PACKED, packed(files), "gzip")))
    except Unsupported as error:
        missed = str(error)
    return found, missed


def test_a_chart_as_helm_makes_one() -> None:
    found, missed = rendered(
        {
            "upf/Chart.yaml": CHART,
            "upf/values.yaml": VALUES,
            "upf/templates/_helpers.tpl": HELPERS,
            "upf/templates/deployment.yaml": DEPLOYMENT,
            "upf/templates/service.yaml": SERVICE,
        }
    )
    assert missed == ""
    assert [fact for fact in found if isinstance(fact, Workload)] == [
        Workload(
            dialect="helm",
            kind="Deployment",
            name="release-name-upf",
            container="upf",
            image="registry.example/core/upf:1.5",
            pinned=False,
            privileged=True,
            capabilities=["NET_ADMIN", "SYS_ADMIN"],
            dropped=["ALL"],
            host=["network"],
            mounts=["/var/lib/upf"],
            ports=["8805/udp", "9090/tcp"],
            limits=True,
        )
    ]
    assert [fact.value for fact in found if isinstance(fact, Directive) and fact.key == "renders"] == [
        "upf/templates/deployment.yaml",
        "upf/templates/service.yaml",
    ]


def text_of(template: str, values: str = "", **more: Value) -> str:
    chart = helm.Chart("c", "c", {"name": "c", "version": "1.0.0", "appVersion": "2"}, decoded(values))
    templates = Templates()
    body = templates.read(template)
    return Run(templates, {**helm.root(chart, "c/templates/t.yaml"), **more}).render(body)


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("a {{- 1 }} b {{ 2 -}} c", "", "a1 b 2c"),
        ("a\n  {{- /* note */ -}}\n  b", "", "ab"),
        ("{{ if .Values.a }}x{{ else if .Values.b }}y{{ else }}z{{ end }}", "b: 1", "y"),
        ("{{ if and .Values.a (not .Values.b) }}x{{ end }}{{ if or .Values.b .Values.a }}y{{ end }}", "a: 1", "xy"),
        ("{{ range .Values.a }}{{ . }},{{ end }}{{ range .Values.b }}x{{ else }}none{{ end }}", "a: [1, b]", "1,b,none"),
        ("{{ range $k, $v := .Values.a }}{{ $k }}={{ $v }};{{ end }}", "a: {z: 1, b: 2}", "b=2;z=1;"),
        ("{{ range $i, $v := .Values.a }}{{ if eq $i 1 }}{{ continue }}{{ end }}{{ $v }}{{ end }}", "a: [a, b, c]", "ac"),
        ("{{ range until 9 }}{{ if gt . 2 }}{{ break }}{{ end }}{{ . }}{{ end }}", "", "012"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x := 3 }}{{ end }}{{ $x }}", "", "2"),
        ("{{ with .Values.a }}{{ .b }}{{ $.Values.c }}{{ else }}no{{ end }}", "a: {b: 1}\nc: 2", "12"),
        ('{{ define "t" }}[{{ . }}]{{ end }}{{ template "t" "x" }}{{ include "t" .Values.a | upper }}', "a: b", "[x][B]"),
        ('{{ block "t" .Values.a }}({{ . }}){{ end }}', "a: b", "(b)"),
        ("{{ .Values.none }}{{ .Values.a.b | default 5 }}{{ .Values.a | empty }}", "a: {c: 1}", "5false"),
        ("{{ .Values.zero | default 5 }}{{ .Values.off | default true }}", "zero: 0\noff: false", "5true"),
        ('{{ printf "%s:%d %v %q %5.1f%%" "a" 3 .Values.n "b" 2.55 }}', "n: 7", 'a:3 7 "b"   2.5%'),
        ("{{ .Values.a | quote }}{{ .Values.b | squote }}{{ .Values.c | quote }}", "a: 1\nb: 'x'", "\"1\"'x'"),
        ('{{ "A-b" | lower | replace "-" "_" | trunc 2 }}{{ trunc -1 "xyz" }}{{ trimSuffix "-" "a-" }}', "", "a_za"),
        ("a:{{ toYaml .Values.a | nindent 2 }}", "a: {b: [1, {c: x y}], d: {}}", 'a:\n  b:\n  - 1\n  - c: "x y"\n  d: {}'),
        ('{{ join "," .Values.a }}{{ len .Values.a }}{{ index .Values.a 1 }}{{ first .Values.a }}', "a: [x, y]", "x,y2yx"),
        ('{{ $d := dict "a" 1 }}{{ $_ := set $d "b" 2 }}{{ range $k, $v := $d }}{{ $k }}{{ $v }}{{ end }}', "", "a1b2"),
        ('{{ hasKey .Values "a" }}{{ get .Values "a" }}{{ ternary "x" "y" (eq .Values.a "b") }}', "a: b", "truebx"),
        ("{{ add 1 2 (int .Values.a) }}{{ sub 5 3 }}{{ mul 2 3 }}{{ div 7 2 }}{{ mod 7 2 }}{{ max 1 9 }}", "a: 4", "726319"),
        ('{{ (merge (dict "a" 1) .Values.m).b }}{{ (index .Values.l 0).n }}', "m: {a: 2, b: 3}\nl: [{n: x}]", "3x"),
        ('{{ semverCompare ">=1.19-0" .Capabilities.KubeVersion.GitVersion }}{{ semverCompare "<1.14-0" "v1.31.0" }}', "",
         "truefalse"),
        ('{{ .Capabilities.APIVersions.Has "policy/v1" }}{{ .Capabilities.APIVersions.Has "x.example/v1" }}', "", "truefalse"),
        ('{{ tpl "{{ .Values.a }}-{{ .Release.Name }}" . }}{{ coalesce .Values.n "" .Values.a }}', "a: b", "b-release-nameb"),
        ('{{ $x := .Values.a | default "d" -}} {{ $x }}{{ `raw "x"` }}{{ kindIs "map" .Values }}', "", 'draw "x"true'),
        ("{{ b64enc \"a\" }}{{ list 1 2 | has 2 }}{{ splitList \",\" \"a,b\" | last }}{{ .Release.IsInstall }}", "", "YQ==truebtrue"),
        ('{{ range tuple "a" "b" }}{{ . }}{{ end }}{{ (fromYaml "x: {y: 1}").x.y }}{{ toJson .Values.a }}', "a: [1]", "ab1[1]"),
        ("{{ if .Values.a }}{{ fail \"x\" }}{{ end }}{{ required \"need\" .Values.b }}{{ lookup \"v1\" \"S\" \"\" \"\" | empty }}",
         "b: 1", "1true"),
        ("{{ .Chart.Name }}{{ .Chart.Version }}{{ .Chart.AppVersion }}{{ .Release.Service }}{{ .Template.Name }}", "",
         "c1.0.02Helmc/templates/t.yaml"),
        ("{{ int .Values.a }}{{ int64 \"010\" }}{{ float64 2 }}{{ .Values.b }}", "a: '12'\nb: 0.5", "12820.5"),
    ],
)  # fmt: skip
def test_what_templates_render_to(template: str, values: str, expected: str) -> None:
    assert text_of(template, values) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("\n{{ .Values.image }}", "line 2: .Values.image is not a single value"),
        ("{{ .Values.big }}", "line 1: .Values.big is a number that may print otherwise"),
        ("{{ .Values.none.below }}", "line 1: .Values.none has no default"),
        ("{{ .Values.a.below }}", "line 1: .Values.a has no fields"),
        ('{{ .Files.Get "x" }}', "line 1: .Files is not known here"),
        ("{{ randAlphaNum 8 }}", "line 1: the function randAlphaNum is not known here"),
        ('{{ include "x" . }}', "line 1: the template 'x' is not known"),
        ("{{ $x }}", "line 1: $x is not known"),
        ("{{ if eq .Values.port 1 }}{{ end }}", "line 1: eq: values that cannot be compared"),
        ('{{ printf "%d" .Values.port }}', "line 1: printf: %d of another kind of value"),
        ('{{ printf "%d" }}', "line 1: printf: fewer values than the format has"),
        ("{{ upper 1 }}", "line 1: upper: a text is wanted"),
        ("{{ index .Values.list 9 }}", "line 1: index: it cannot have these arguments"),
        ('{{ required "say x" .Values.none }}', "line 1: required: the chart refuses its default values: say x"),
        ("{{ range .Values.a }}{{ end }}", "line 1: a loop over what is no list"),
        ("{{ .Values.a 1 }}", "line 1: arguments for what is no function"),
        ("{{ end }}", "line 1: end without a beginning"),
        ("{{ if .a }}", "line 1: if without end"),
        ("{{ ( 1 }}", "line 1: a parenthesis is not closed"),
        ("{{ 1 | }}", "line 1: a value is missing"),
        ("{{ a ~ }}", "line 1: '{{ a ~ }}' is not read"),
        ('{{ define "r" }}{{ include "r" . }}{{ end }}{{ include "r" . }}', "line 1: templates in one another, deeper than 30"),
        ('{{ range until 9000 }}{{ range until 9000 }}{{ end }}{{ end }}', "line 1: more than 200000 steps"),
        ('{{ $x := "aaaaaaaaaa" }}{{ range until 99 }}{{ $x = printf "%s%s" $x $x }}{{ end }}',
         "line 1: text of more than 1048576 characters"),
        ('{{ repeat 99999999 "ab" }}', "line 1: repeat: text of more than 1048576 characters"),
        ('{{ indent 999 "a" }}', "line 1: indent: text of more than 1048576 characters"),
        ('{{ $d := dict }}{{ $_ := set $d "a" $d }}{{ toYaml $d }}', "line 1: toYaml: a value of more than 40 levels"),
        ('{{ $l := list 1 }}{{ range until 99 }}{{ $l = concat $l $l }}{{ end }}',
         "line 1: concat: a list of more than 10000 items"),
        ("{{ if 1 }}" * 40 + "{{ end }}" * 40, "line 1: nested deeper than 30"),
        ("{{ " + "(" * 99, "line 1: '{{ " + "(" * 99 + "' is not read"),
        ("{{ continue }}", "break or continue outside of a loop"),
    ],
)  # fmt: skip
def test_what_stops_a_template(template: str, message: str) -> None:
    values = "a: b\nport: 80\nbig: 30000000\nimage: {tag: x}\nlist: [1]\n"
    with pytest.raises(NotRendered) as stopped:
        text_of(template, values)
    assert str(stopped.value) == message


POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {containers: [{name: c, image: %s}]}\n"


def test_subcharts_conditions_tags_and_other_names() -> None:
    image = "'{{ .Values.global.registry }}/{{ .Values.image }}'"
    files = {
        "top/Chart.yaml": "apiVersion: v2\nname: top\nversion: 1.0.0\ndependencies:\n"
        "- {name: on, condition: 'none.enabled,on.enabled'}\n- {name: off, condition: off.enabled}\n"
        "- {name: tagged, tags: [front, back]}\n- {name: many, alias: one}\n- {name: many, alias: two}\n"
        "- {name: lib, version: 1}\n",
        "top/values.yaml": "on: {enabled: true, image: ours}\noff: {enabled: false}\ntags: {front: false, back: false}\n"
        "global: {registry: r}\ntwo: {image: second}\nname: '{{ include \"lib.name\" . }}'\n",
        "top/templates/a.yaml": POD % ('{{ include "lib.name" . }}', "{{ .Values.one.image }}"),
        "top/charts/lib/Chart.yaml": "name: lib\nversion: 1.0.0\ntype: library\n",
        "top/charts/lib/templates/_name.tpl": '{{ define "lib.name" }}{{ .Chart.Name }}-{{ .Release.Name }}{{ end }}',
        "top/charts/lib/templates/x.yaml": POD % ("never", "x"),
    }
    for name in ("on", "off", "tagged", "many", "unlisted"):
        files[f"top/charts/{name}/Chart.yaml"] = f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n"
        files[f"top/charts/{name}/values.yaml"] = f"image: {name}\nglobal: {{registry: theirs}}\n"
        files[f"top/charts/{name}/templates/p.yaml"] = POD % ("{{ .Chart.Name }}", image)
    files["top/charts/on/charts/deep/Chart.yaml"] = "name: deep\nversion: 1.0.0\n"
    files["top/charts/on/charts/deep/values.yaml"] = "image: deep\n"
    files["top/charts/on/charts/deep/templates/p.yaml"] = POD % ("{{ .Chart.Name }}", image)
    found, missed = rendered(files)
    assert missed == ""
    assert [(fact.name, fact.image) for fact in found if isinstance(fact, Workload)] == [
        ("top-release-name", "many"),
        ("one", "r/many"),
        ("two", "r/second"),
        ("on", "r/ours"),
        ("deep", "r/deep"),
        ("unlisted", "r/unlisted"),
    ]


def test_work_is_bounded_for_all_templates_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helm, "MAX_WORK", 100)
    loop = "{{ range until 200 }}{{ end }}"
    _, missed = rendered({"a/Chart.yaml": "name: a\n", "a/templates/a.yaml": loop, "a/templates/b.yaml": loop})
    assert missed == "1 templates not rendered: a/templates/b.yaml (the chart takes more than 100 steps)"


def test_charts_in_one_another_end() -> None:
    files = {"a/Chart.yaml": "name: a\nversion: 1.0.0\n"}
    base = "a"
    for _ in range(9):
        base += "/charts/a"
        files[f"{base}/Chart.yaml"] = files["a/Chart.yaml"]
    _, missed = rendered(files)
    assert missed == (
        "1 templates not rendered: a/charts/a/charts/a/charts/a/charts/a/charts/a/charts/a "
        "(subcharts in one another, deeper than 5)"
    )


values_of_yaml = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)


@given(values_of_yaml)
def test_yaml_that_is_printed_is_read_as_the_same(value: Value) -> None:
    assert yaml.safe_load(to_yaml(value)) == value


@given(st.text('{}-$.|() \n"`/*:=,axV1ifendrangewithdefinelse', max_size=150))
def test_any_template(text: str) -> None:
    for whole in (text, "{{ " + text + " }}", "{{ if .Values.a }}" + text + "{{ end }}"):
        with contextlib.suppress(NotRendered):
            text_of(whole, "a: {x: 1}")


def test_broken_templates() -> None:
    for variant in mangled(DEPLOYMENT.encode(), count=150):
        templates = Templates()
        templates.read(HELPERS)
        with contextlib.suppress(NotRendered):
            body = templates.read(variant.decode("utf-8", "backslashreplace"))
            chart = helm.Chart("c", "c", {"name": "c"}, decoded(VALUES))
            Run(templates, helm.root(chart, "t")).render(body)


@pytest.mark.parametrize(
    "piece",
    ["{{ ", "{{/*", "{{ if 1 }}", "{{ 1 }}", '{{ "', "{{ (", "{{- -}}", '{{ define "a" }}', "{{ $x := 1 }}{{ $x }}",
     "{{ toYaml .Values | fromYaml | toYaml | len }}"],
)  # fmt: skip
def test_time_is_bounded(piece: str) -> None:
    begun = time.process_time()
    with contextlib.suppress(NotRendered):
        text_of(piece * ((1 << 16) // len(piece)), "a: [" + "x, " * 500 + "x]")
    assert time.process_time() - begun < 5


def test_nothing_of_other_archives() -> None:
    assert inspect(helm.PACKED, packed({"a/readme": "x"}), "gzip") == []
